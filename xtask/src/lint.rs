//! `cargo xtask lint`: the checks that run nothing.

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
    Stage { name: "clippy", about: "clippy on the host crates", needed_by_the_rest: false, run: clippy },
    Stage { name: "clippy-bpf", about: "clippy on the XDP programs", needed_by_the_rest: false, run: clippy_bpf },
    Stage { name: "deny", about: "licences and sources of dependencies", needed_by_the_rest: false, run: deny },
];

/// Runs the stages that `only` names, or all.
pub(crate) fn run(only: &[String]) -> Result<()> {
    stages::run("lint", STAGES, only)
}

pub(crate) fn format() -> Result<Outcome> {
    workspace::run(&mut workspace::cargo(["fmt", "--all", "--check"]))?;
    Ok(Outcome::Done(String::new()))
}

fn clippy() -> Result<Outcome> {
    run_clippy(&[])?;
    Ok(Outcome::Done(String::new()))
}

/// Runs clippy on the host crates but these.
pub(crate) fn run_clippy(left_out: &[&str]) -> Result<()> {
    let mut clippy = workspace::cargo(["clippy"]);
    clippy.args(workspace::HOST_CRATES);
    for package in left_out {
        clippy.args(["--exclude", package]);
    }
    workspace::run(clippy.args(["--all-targets", "--keep-going", "--", "-D", "warnings"]))
}

/// `cargo clippy` would use the host toolchain, which cannot build `core`. This does the same with the BPF compiler.
fn clippy_bpf() -> Result<Outcome> {
    let compiler = bpf::Compiler::find()?;
    let driver = compiler.clippy_driver();
    if !driver.exists() {
        bail!("{} is missing: run `cargo xtask setup`", driver.display());
    }
    for object in [bpf::FILTER, bpf::BENCH] {
        let mut check = compiler
            .cargo("check", object, workspace::root(), &workspace::target().join("bpf"), env::consts::ARCH)
            .context("failed to set up the check")?;
        // clippy-driver splits CLIPPY_ARGS at this separator. The arguments apply to the workspace's crates only: in
        // RUSTFLAGS, they would turn a warning inside `core` into an error.
        check
            .env("RUSTC_WORKSPACE_WRAPPER", &driver)
            .env("CLIPPY_ARGS", "-D__CLIPPY_HACKERY__warnings__CLIPPY_HACKERY__");
        workspace::run(&mut check)?;
    }
    Ok(Outcome::Done(String::new()))
}

fn deny() -> Result<Outcome> {
    if workspace::run_silently(&mut workspace::cargo(["deny", "--version"])).is_err() {
        return Ok(Outcome::Skipped("cargo-deny is not installed (see the setup stage above)".into()));
    }
    // Not `advisories`: cargo-deny fetches their database from a git host, which not every builder can reach. Where it can,
    // run `cargo deny check advisories`.
    workspace::run(&mut workspace::cargo(["deny", "check", "bans", "licenses", "sources"]))?;
    Ok(Outcome::Done(String::new()))
}
