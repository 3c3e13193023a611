//! `cargo xtask package`: a Debian package, and the file system of a container image.

mod checks;
mod image;
mod install;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::{
    setup,
    stages::{self, Outcome, Stage},
    workspace,
};

/// The arguments of `cargo xtask package`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Also install, upgrade and purge the package in a root made by debootstrap; needs root, and Debian's mirror.
    #[arg(long)]
    test: bool,
    /// Run only this stage; can be given several times.
    #[arg(long, value_name = "STAGE")]
    only: Vec<String>,
}

const STAGES: &[Stage] = &[
    Stage {
        name: "setup",
        about: "install what packaging needs",
        needed_by_the_rest: true,
        run: || setup::ensure(&[setup::Group::Build, setup::Group::Package]).map(Outcome::Done),
    },
    Stage { name: "build", about: "the optimised binary, pages and completions", needed_by_the_rest: true, run: build },
    Stage { name: "deb", about: "the Debian package", needed_by_the_rest: true, run: deb },
    Stage {
        name: "check",
        about: "contents, size, C library and lintian",
        needed_by_the_rest: false,
        run: || checks::all(&package(VERSION)).map(Outcome::Done),
    },
    Stage {
        name: "image",
        about: "the file system of a container image",
        needed_by_the_rest: false,
        run: || image::make(&package(VERSION), &folder().join("ringfence-image.tar")).map(Outcome::Done),
    },
];

const TEST: &[Stage] = &[Stage {
    name: "install",
    about: "installed, upgraded and purged in roots of Debian 12 and 13",
    needed_by_the_rest: false,
    run: install::run,
}];

/// The version of all crates of the workspace.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Makes the packages.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let names: Vec<_> = STAGES.iter().chain(TEST).map(|stage| stage.name).collect();
    if let Some(unknown) = arguments.only.iter().find(|name| !names.contains(&name.as_str())) {
        bail!("no stage {unknown:?}; the stages are: {}", names.join(", "));
    }
    let of = |stages: &[Stage]| -> Vec<String> {
        arguments.only.iter().filter(|name| stages.iter().any(|stage| stage.name == **name)).cloned().collect()
    };
    if arguments.only.is_empty() || !of(STAGES).is_empty() {
        stages::run("package", STAGES, &of(STAGES))?;
    }
    if arguments.test || !of(TEST).is_empty() {
        stages::run("package test", TEST, &[])?;
    }
    Ok(())
}

/// Where everything is made. Assets in controller/Cargo.toml name it.
fn folder() -> PathBuf {
    workspace::root().join("target/package")
}

/// The Debian package of a version.
fn package(version: &str) -> PathBuf {
    folder().join(format!("ringfence_{version}-1_{}.deb", architecture()))
}

/// Debian's name of this machine's architecture.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// The binary, and what it says about itself in the forms that a package has.
fn build() -> Result<Outcome> {
    workspace::run(&mut workspace::cargo(["build", "--release", "--locked", "--package", "ringfence"]))?;
    let binary = workspace::target().join("release/ringfence");
    let folder = folder();
    for old in ["man", "policy"] {
        workspace::remove_folder(&folder.join(old))?;
    }
    fs::create_dir_all(&folder)?;
    let ringfence =
        |arguments: &[&str]| workspace::run_silently(Command::new(&binary).current_dir(&folder).args(arguments));
    ringfence(&["man", "man"])?;
    let pages = fs::read_dir(folder.join("man"))?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    workspace::run_silently(Command::new("gzip").args(["--best", "--no-name"]).args(&pages))?;
    for shell in ["bash", "zsh", "fish"] {
        fs::write(folder.join(format!("ringfence.{shell}")), ringfence(&["completions", shell])? + "\n")?;
    }
    // As `init` writes it: in report mode.
    ringfence(&["init", "policy"])?;
    fs::copy(workspace::root().join("CHANGELOG.md"), folder.join("CHANGELOG.md"))?;
    workspace::run_silently(
        Command::new("gzip").args(["--best", "--no-name", "--force"]).arg(folder.join("CHANGELOG.md")),
    )?;
    Ok(Outcome::Done(format!("{}, {} manual pages", workspace::size_of_file(&binary)?, pages.len())))
}

fn deb() -> Result<Outcome> {
    let path = package(VERSION);
    write_deb(&path, VERSION)?;
    Ok(Outcome::Done(format!("{} ({})", path.display(), workspace::size_of_file(&path)?)))
}

/// Packs what was built as this version: an upgrade needs two.
fn write_deb(path: &Path, version: &str) -> Result<()> {
    let mut cargo = workspace::cargo(["deb", "--no-build", "--package", "ringfence", "--strip", "--deb-version"]);
    cargo.arg(format!("{version}-1")).arg("--output").arg(path);
    workspace::run_silently(&mut cargo).map(drop).with_context(|| format!("failed to make {}", path.display()))
}
