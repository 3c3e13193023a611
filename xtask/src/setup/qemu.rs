//! QEMU: installed, or unpacked beside what is installed where its packages conflict with one that this system has.

use std::{env, fs, path::PathBuf, process::Command};

use anyhow::{Context as _, Result, bail};

use crate::workspace::{self, find_program, run_silently};

/// The Debian package.
pub(super) const PACKAGE: &str = "qemu-system-x86";

const PROGRAM: &str = "qemu-system-x86_64";

/// The file that marks a complete unpacking.
const STAMP: &str = "ringfence-unpacked";

/// The folders of a Debian system in which QEMU looks for libraries, and for firmware.
const LIBRARIES: [&str; 2] = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"];
const FIRMWARE: [&str; 2] = ["usr/share/qemu", "usr/share/seabios"];

fn unpacked() -> PathBuf {
    workspace::tools().join("qemu")
}

/// Whether there is a QEMU: the system's or this working copy's.
pub(super) fn is_installed() -> bool {
    find_program(PROGRAM).is_some() || unpacked().join(STAMP).exists()
}

/// Unpacks the package into a folder of this working copy. Another package may keep it from being installed (backports' `qemu-utils` and
/// stable's `qemu-system-common` share a file), and nothing of the user's is removed for it.
pub(super) fn unpack() -> Result<()> {
    let folder = &unpacked();
    workspace::remove_folder(folder)?;
    fs::create_dir_all(folder).with_context(|| format!("failed to create {}", folder.display()))?;
    // What apt would install, were it allowed to remove packages.
    let plan = run_silently(Command::new("apt-get").args(["-s", "--no-install-recommends", "install", PACKAGE]))?;
    let packages = to_install(&plan);
    if packages.is_empty() {
        bail!("apt would install nothing for {PACKAGE}");
    }
    let work = tempfile::tempdir().context("failed to create a temporary folder")?;
    run_silently(Command::new("apt-get").current_dir(work.path()).args(["-qq", "download"]).args(&packages))?;
    for entry in fs::read_dir(work.path()).context("failed to list the download")? {
        run_silently(Command::new("dpkg-deb").arg("-x").arg(entry?.path()).arg(folder))?;
    }
    let stamp = folder.join(STAMP);
    fs::write(&stamp, "").with_context(|| format!("failed to write {}", stamp.display()))?;
    let mut version = Command::new("env");
    add_to(&mut version);
    let started = run_silently(version.arg("-version"));
    if started.is_err() {
        fs::remove_file(&stamp).with_context(|| format!("failed to remove {}", stamp.display()))?;
    }
    started.map(|_| ())
}

/// The packages, each with its version, that a simulated installation lists: `Inst NAME [OLD] (VERSION ...`.
fn to_install(plan: &str) -> Vec<String> {
    let package = |line: &str| {
        let (name, rest) = line.strip_prefix("Inst ")?.split_once(' ')?;
        let version = rest.split_once('(')?.1.split(' ').next()?;
        Some(format!("{name}={version}"))
    };
    plan.lines().filter_map(package).collect()
}

/// Adds the program to a command that starts it (`setpriv`, `env`), and where it finds its libraries and its firmware.
pub(crate) fn add_to(command: &mut Command) {
    let folder = unpacked();
    if find_program(PROGRAM).is_some() || !folder.join(STAMP).exists() {
        command.arg(PROGRAM);
        return;
    }
    let inherited = env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
    let libraries = LIBRARIES.iter().map(|name| folder.join(name)).chain(env::split_paths(&inherited));
    if let Ok(paths) = env::join_paths(libraries) {
        command.env("LD_LIBRARY_PATH", paths);
    }
    command.arg(folder.join("usr/bin").join(PROGRAM));
    for name in FIRMWARE {
        command.arg("-L").arg(folder.join(name));
    }
}

#[cfg(test)]
mod tests {
    use super::to_install;

    #[test]
    fn a_simulated_installation_names_packages_and_versions() {
        let plan = "Reading package lists...\n\
                    Remv qemu-utils [1:10.0.2+ds-2]\n\
                    Inst libfdt1 (1.6.1-4+b1 Debian:12.15/oldstable [amd64])\n\
                    Inst seabios [1.14-1] (1.16.2-1 Debian:12.15/oldstable [all])\n\
                    Conf libfdt1 (1.6.1-4+b1 Debian:12.15/oldstable [amd64])\n";
        assert_eq!(to_install(plan), ["libfdt1=1.6.1-4+b1", "seabios=1.16.2-1"]);
    }
}
