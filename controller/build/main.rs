//! Builds the XDP program, which is embedded in the `ringfence` binary.

#[expect(dead_code, reason = "`cargo xtask` uses the rest")]
mod bpf;

use std::{
    env,
    error::Error,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use object::{
    build::elf::{Builder, SectionData},
    elf::SHT_STRTAB,
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
        .ok_or("the package is not in a workspace")?
        .to_path_buf();
    let out_dir = PathBuf::from(variable("OUT_DIR")?);
    rerun_if_changed(Path::new("build"));
    // There is one object per build for now. A second one, with logging (`run --trace-packets`), would be a second call
    // with its feature and its file name.
    build_object(&workspace, &out_dir, &out_dir.join("ringfence.bpf.o"))
}

/// Builds the XDP program, or takes the one that the environment names, and copies it to `object`.
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
    compiler.build(bpf::FILTER, workspace, out_dir, object)?;
    let whole = fs::read(object)?;
    let without = without_debug_information(&whole, keeps_lines()?)
        .map_err(|error| format!("failed to take the debug information out of {}: {error}", object.display()))?;
    Ok(fs::write(object, without)?)
}

/// Whether the program keeps the lines of its source, which the verifier's log quotes. aya copies all of them for each of the program's
/// functions, 36 MB a load, so a release does without.
fn keeps_lines() -> Result<bool> {
    println!("cargo::rerun-if-env-changed={}", bpf::ENV_LINES);
    Ok(env::var_os(bpf::ENV_LINES).is_some() || variable("PROFILE")? != "release")
}

/// The object without its DWARF, which is most of its bytes and which no loader reads, and without the relocations of BTF, which none
/// applies. The BTF itself stays.
fn without_debug_information(object: &[u8], keeps_lines: bool) -> object::build::Result<Vec<u8>> {
    let mut builder = Builder::read(object)?;
    for section in &mut builder.sections {
        let unread: [&[u8]; 3] = [b".debug_", b".rel.debug_", b".rel.BTF"];
        section.delete = unread.iter().any(|start| section.name.starts_with(start));
        if let (false, b".BTF.ext", SectionData::Data(data)) = (keeps_lines, &section.name[..], &mut section.data) {
            *data = without_lines(data).into();
        }
    }
    builder.delete_orphans();
    // LLVM puts the names of sections among those of symbols, which this library does not write.
    let names = builder.sections.add();
    names.name = b".shstrtab"[..].into();
    names.sh_type = SHT_STRTAB;
    names.data = SectionData::SectionString;
    let mut written = Vec::new();
    builder.write(&mut written)?;
    Ok(written)
}

/// A `.BTF.ext` section whose table of lines is empty (Documentation/bpf/btf.rst section 4.2). Its header has, after 8 bytes, the
/// offsets and the lengths of its tables of functions, of lines and of relocations, counted from the header's end.
fn without_lines(section: &[u8]) -> Vec<u8> {
    const LINES_OFFSET: usize = 16;
    const LINES_LENGTH: usize = 20;
    const RELOCATIONS_OFFSET: usize = 24;
    const RELOCATIONS_LENGTH: usize = 28;
    /// The size of a record, with which each table begins.
    const RECORD_SIZE: u32 = 4;

    let word = |at: usize| Some(u32::from_ne_bytes(section.get(at..at + 4)?.try_into().ok()?));
    let mut without = section.to_vec();
    // A table of relocations would come after the lines. The program has none.
    let (Some(header), Some(offset), Some(0)) = (word(4), word(LINES_OFFSET), word(RELOCATIONS_LENGTH)) else {
        return without;
    };
    let end = offset + RECORD_SIZE;
    without.truncate((header + end) as usize);
    for (at, value) in [(LINES_LENGTH, RECORD_SIZE), (RELOCATIONS_OFFSET, end)] {
        without[at..at + 4].copy_from_slice(&value.to_ne_bytes());
    }
    without
}

fn rerun_if_changed(path: &Path) {
    println!("cargo::rerun-if-changed={}", path.display());
}

fn variable(name: &str) -> Result<String> {
    env::var(name).map_err(|error| format!("{name}: {error}").into())
}
