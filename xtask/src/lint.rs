//! `cargo xtask lint`: what is checked without running anything.

use std::env;

use anyhow::{Context, Result, bail};

use crate::{
    bpf, setup,
    stages::{self, Outcome, Stage},
    workspace,
};

const STAGES: &[Stage] = &[
    Stage {
        name: "setup",
        about: "install what the build and the lints need",
        needed_by_the_rest: true,
        run: || setup::ensure(&[setup::Group::Build, setup::Group::Lint]).map(Outcome::Done),
    },
    Stage { name: "format", about: "cargo fmt --check", needed_by_the_rest: false, run: format },
    Stage { name: "clippy", about: "clippy on the crates of the host", needed_by_the_rest: false, run: clippy },
    Stage {
        name: "clippy-bpf",
        about: "clippy on the programs for the kernel",
        needed_by_the_rest: false,
        run: clippy_bpf,
    },
    Stage {
        name: "deny",
        about: "licences, sources and duplicates of dependencies",
        needed_by_the_rest: false,
        run: deny,
    },
];

/// Runs the stages that `only` names, or all.
pub fn run(only: &[String]) -> Result<()> {
    stages::run("lint", STAGES, only)
}

fn format() -> Result<Outcome> {
    workspace::run(&mut workspace::cargo(["fmt", "--all", "--check"]))?;
    Ok(Outcome::Done(String::new()))
}

fn clippy() -> Result<Outcome> {
    let hosts = ["--workspace", "--exclude", "bench-ebpf", "--exclude", "filter-ebpf"];
    let checks = ["--all-targets", "--keep-going", "--", "-D", "warnings"];
    workspace::run(&mut workspace::cargo(["clippy"].iter().chain(&hosts).chain(&checks)))?;
    Ok(Outcome::Done(String::new()))
}

/// `cargo clippy` would be the host toolchain's, which cannot build `core`: this is what it does, with the compiler of the
/// XDP program.
fn clippy_bpf() -> Result<Outcome> {
    let compiler = bpf::Compiler::find()?;
    let driver = compiler.clippy_driver();
    if !driver.exists() {
        bail!("{} is missing: run `cargo xtask setup`", driver.display());
    }
    for object in [bpf::FILTER, bpf::BENCH] {
        let mut check = compiler
            .cargo("check", object, workspace::root(), &workspace::target().join("bpf"), env::consts::ARCH)
            .context("failed to prepare the check")?;
        // The separator is clippy-driver's own. Arguments for the workspace's crates alone: in RUSTFLAGS they would turn a
        // warning inside `core` into an error.
        check
            .env("RUSTC_WORKSPACE_WRAPPER", &driver)
            .env("CLIPPY_ARGS", "-D__CLIPPY_HACKERY__warnings__CLIPPY_HACKERY__");
        workspace::run(&mut check)?;
    }
    Ok(Outcome::Done(String::new()))
}

fn deny() -> Result<Outcome> {
    if workspace::run_silently(&mut workspace::cargo(["deny", "--version"])).is_err() {
        return Ok(Outcome::Skipped("cargo-deny is not installed (see the set-up above)".into()));
    }
    // Not `advisories`: their database is fetched from a git host, which not every builder can reach. Run
    // `cargo deny check advisories` where it can be.
    workspace::run(&mut workspace::cargo(["deny", "check", "bans", "licenses", "sources"]))?;
    Ok(Outcome::Done(String::new()))
}
