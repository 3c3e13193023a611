//! Builds the XDP program and gathers the sample policy, so that both lie inside the `ringfence` binary.

#[expect(dead_code, reason = "some of it serves only `cargo xtask`")]
mod bpf;

use std::{
    env,
    error::Error,
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // One line: cargo shows it as the error of this package.
            println!("cargo::error={}", error.to_string().replace('\n', " "));
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let workspace = PathBuf::from(variable("CARGO_MANIFEST_DIR")?)
        .parent()
        .ok_or("the package does not lie in a workspace")?
        .to_path_buf();
    let out_dir = PathBuf::from(variable("OUT_DIR")?);
    rerun_if_changed(Path::new("build"));
    // One object a build now. A second one with logging (`run --trace-packets`) is a second call with its feature and
    // its file name.
    build_object(&workspace, &out_dir, &out_dir.join("ringfence.bpf.o"))?;
    embed_sample_policy(&workspace.join("policies"), &out_dir.join("sample_policy.rs"))
}

/// Builds the XDP program, or takes the one the environment names, and puts it at `object`.
fn build_object(workspace: &Path, out_dir: &Path, object: &Path) -> Result<()> {
    for name in [bpf::ENV_OBJECT, bpf::ENV_RUSTC, bpf::ENV_TOOLCHAIN] {
        println!("cargo::rerun-if-env-changed={name}");
    }
    if let Some(prebuilt) = env::var_os(bpf::ENV_OBJECT).filter(|value| !value.is_empty()) {
        let prebuilt = PathBuf::from(prebuilt);
        rerun_if_changed(&prebuilt);
        return fs::copy(&prebuilt, object)
            .map(|_| ())
            .map_err(|error| format!("failed to read {} ({}): {error}", prebuilt.display(), bpf::ENV_OBJECT).into());
    }
    for name in ["Cargo.toml", "Cargo.lock", "filter-core/Cargo.toml", "filter-core/src", "filter-ebpf"] {
        rerun_if_changed(&workspace.join(name));
    }
    let compiler = bpf::Compiler::find()?;
    compiler.files().iter().for_each(|file| rerun_if_changed(file));
    rerun_if_changed(&bpf::linker()?);
    compiler.build(bpf::FILTER, workspace, out_dir, object)
}

/// Writes a table of every file under `folder`: `&[(path in the folder, content)]`, sorted by path.
fn embed_sample_policy(folder: &Path, table: &Path) -> Result<()> {
    let mut files = Vec::new();
    if folder.is_dir() {
        // Cargo reads a folder's files by itself. One that does not exist would make it build anew each time.
        rerun_if_changed(folder);
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

fn rerun_if_changed(path: &Path) {
    println!("cargo::rerun-if-changed={}", path.display());
}

fn variable(name: &str) -> Result<String> {
    env::var(name).map_err(|error| format!("{name}: {error}").into())
}
