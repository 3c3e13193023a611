//! The package installed, upgraded and purged in a root that debootstrap has made.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail, ensure};

use super::{VERSION, folder, package, write_deb};
use crate::{
    stages::Outcome,
    workspace::{self, run_silently},
};

/// The releases of Debian.
const SUITES: &[&str] = &["bookworm", "trixie"];

/// What the minimal set of packages lacks: the daemon fetches policies with git.
const INCLUDED: &str = "systemd,util-linux,mount,git";

/// A version that is newer than every other.
const NEXT: &str = "9999.0.0";

/// Tests each release. One that cannot be had is left out, unless it is all of them.
pub(super) fn run() -> Result<Outcome> {
    ensure!(run_silently(Command::new("id").arg("-u"))? == "0", "this needs root");
    let (old, new) = (package(VERSION), folder().join("next.deb"));
    ensure!(old.exists(), "there is no {}: `cargo xtask package` makes it", old.display());
    write_deb(&new, NEXT)?;
    let (mut passed, mut left_out) = (Vec::new(), Vec::new());
    for suite in SUITES {
        match base(suite) {
            Ok(archive) => {
                test(&archive, &old, &new).with_context(|| format!("Debian {suite}"))?;
                passed.push(*suite);
            }
            Err(error) => {
                eprintln!("package: no root of Debian {suite}: {error:#}");
                left_out.push(*suite);
            }
        }
    }
    if passed.is_empty() {
        bail!("no root of {} could be made", SUITES.join(" or "));
    }
    let left_out = if left_out.is_empty() { String::new() } else { format!("; LEFT OUT: {}", left_out.join(", ")) };
    Ok(Outcome::Done(format!("{}{left_out}", passed.join(", "))))
}

/// An archive of a minimal root. It is kept: making one takes minutes, and a mirror.
fn base(suite: &str) -> Result<PathBuf> {
    let archive = folder().join(format!("{suite}.tar"));
    if archive.exists() {
        return Ok(archive);
    }
    eprintln!("package: debootstrap {suite} ...");
    let scratch = tempfile::tempdir()?;
    let root = scratch.path().join("root");
    run_silently(Command::new("debootstrap").args(["--variant=minbase", "--include", INCLUDED, suite]).arg(&root))?;
    // Renamed once it is whole.
    let part = archive.with_extension("part");
    let mut tar = Command::new("tar");
    run_silently(
        tar.args(["--create", "--numeric-owner", "--file"]).arg(&part).arg("--directory").arg(&root).arg("."),
    )?;
    fs::rename(&part, &archive)?;
    Ok(archive)
}

/// Runs the scripts, each in a fresh copy. The namespaces, with every mount and interface in them, end with the scripts.
fn test(archive: &Path, old: &Path, new: &Path) -> Result<()> {
    let scripts = workspace::root().join("packaging/deb");
    let scratch = tempfile::tempdir()?;
    let root = fresh(archive, &scratch.path().join("chroot"))?;
    let mut unshare = Command::new("unshare");
    unshare.args(["--mount", "--net", "--pid", "--fork", "--kill-child", "--propagation", "private"]);
    unshare.arg(scripts.join("test-install")).arg(&root).arg(old).arg(new);
    workspace::run(unshare.stdin(Stdio::null()))?;
    let root = fresh(archive, &scratch.path().join("boot"))?;
    let mut boot = Command::new(scripts.join("test-boot"));
    workspace::run(boot.arg(&root).arg(old).arg(new).stdin(Stdio::null()))
}

/// A root as debootstrap made it.
fn fresh(archive: &Path, root: &Path) -> Result<PathBuf> {
    fs::create_dir(root)?;
    let mut tar = Command::new("tar");
    run_silently(tar.args(["--extract", "--numeric-owner", "--file"]).arg(archive).arg("--directory").arg(root))?;
    Ok(root.to_owned())
}
