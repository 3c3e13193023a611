//! Gathers the sample policy, so that it lies inside the `ringfence` binary.

use std::{
    env,
    error::Error,
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    let policies = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("../policies");
    embed_sample_policy(&policies, &Path::new(&env::var("OUT_DIR")?).join("sample_policy.rs"))
}

/// Writes a table of every file under `folder`: `&[(path in the folder, content)]`, sorted by path.
fn embed_sample_policy(folder: &Path, table: &Path) -> Result<()> {
    let mut files = Vec::new();
    if folder.is_dir() {
        // Cargo watches every file in a folder. A folder that does not exist would make it rebuild every time.
        println!("cargo::rerun-if-changed={}", folder.display());
        files_below(folder, &mut files)?;
    }
    files.sort();
    let mut text = String::from("&[\n");
    for file in files {
        let name = file.strip_prefix(folder)?.to_str().ok_or("a file name in policies/ is not UTF-8")?;
        let path = file.to_str().ok_or("the path of the workspace is not UTF-8")?;
        writeln!(text, "    ({name:?}, include_bytes!({path:?})),")?;
    }
    text.push_str("]\n");
    Ok(fs::write(table, text)?)
}

/// All files below a folder but hidden ones (an editor's, git's).
fn files_below(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with('.') {
            continue;
        }
        let path = entry.path();
        if path.is_dir() { files_below(&path, files)? } else { files.push(path) }
    }
    Ok(())
}
