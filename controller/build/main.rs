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
    let without = without_debug_information(&whole)
        .map_err(|error| format!("failed to take the debug information out of {}: {error}", object.display()))?;
    Ok(fs::write(object, without)?)
}

/// The object without its DWARF, which is most of its bytes and which no loader reads. The BTF that was made from it stays, with the lines that
/// the verifier's log quotes.
fn without_debug_information(object: &[u8]) -> object::build::Result<Vec<u8>> {
    let mut builder = Builder::read(object)?;
    for section in &mut builder.sections {
        section.delete = section.name.starts_with(b".debug_") || section.name.starts_with(b".rel.debug_");
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

fn rerun_if_changed(path: &Path) {
    println!("cargo::rerun-if-changed={}", path.display());
}

fn variable(name: &str) -> Result<String> {
    env::var(name).map_err(|error| format!("{name}: {error}").into())
}
