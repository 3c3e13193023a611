//! Builds the programs that Ringfence's is compared with.

#[path = "../controller/build/bpf.rs"]
#[expect(dead_code, reason = "`cargo xtask` uses the rest")]
mod bpf;

use std::{env, error::Error, path::PathBuf, process::ExitCode};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("cargo::error={}", error.to_string().replace('\n', " "));
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let package = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let workspace = package.parent().ok_or("the package is not in a workspace")?;
    let out_dir = PathBuf::from(env::var("OUT_DIR")?);
    for name in ["build.rs", "../bench-ebpf", "../controller/build", "../Cargo.lock"] {
        println!("cargo::rerun-if-changed={name}");
    }
    for name in [bpf::ENV_RUSTC, bpf::ENV_TOOLCHAIN] {
        println!("cargo::rerun-if-env-changed={name}");
    }
    let compiler = bpf::Compiler::find()?;
    bpf::linker()?;
    compiler.build(bpf::BENCH, workspace, &out_dir, &out_dir.join("bench.bpf.o"))
}
