//! What comes from PyPI: Python programs, each in a virtual environment of this working copy, and libraries in a wheel.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::{
    versions,
    workspace::{self, run_silently},
};

/// The file that marks a complete installation, and holds its version.
const STAMP: &str = "ringfence-version";

/// Where sipvicious's programs are (`bin/sipvicious_svmap`, ...), once the group `Traffic` is set up.
pub(crate) fn sipvicious() -> PathBuf {
    workspace::tools().join("sipvicious")
}

/// Whether the pinned version is installed completely.
pub(super) fn sipvicious_is_installed() -> bool {
    fs::read_to_string(sipvicious().join(STAMP)).is_ok_and(|text| text == versions::SIPVICIOUS)
}

/// Installs sipvicious into a virtual environment, so that its dependencies do not touch the system's.
pub(super) fn install_sipvicious() -> Result<()> {
    let folder = sipvicious();
    // An interrupted installation may have left something.
    workspace::remove_folder(&folder)?;
    run_silently(Command::new(python()).args(["-m", "venv"]).arg(&folder))?;
    run_silently(
        Command::new(folder.join("bin/python"))
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
            .arg(format!("sipvicious=={}", versions::SIPVICIOUS)),
    )?;
    let stamp = folder.join(STAMP);
    fs::write(&stamp, versions::SIPVICIOUS).with_context(|| format!("failed to write {}", stamp.display()))
}

/// Where PJSIP's libraries are, once the group `Servers` is set up.
fn pjsip() -> PathBuf {
    workspace::tools().join("pjsip")
}

/// Whether the pinned version is installed completely.
pub(super) fn pjsip_is_installed() -> bool {
    fs::read_to_string(pjsip().join(STAMP)).is_ok_and(|text| text == versions::PJSIP)
}

/// Unpacks PJSIP's shared libraries from a Python wheel. Nothing of Python in it is used.
pub(super) fn install_pjsip() -> Result<()> {
    let folder = pjsip();
    let work = tempfile::tempdir().context("failed to create a temporary folder")?;
    let environment = work.path().join("python");
    run_silently(Command::new(python()).args(["-m", "venv"]).arg(&environment))?;
    let python = environment.join("bin/python");
    run_silently(
        Command::new(&python)
            .args(["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"])
            // The libraries do not depend on Python, so the host's version of it does not matter.
            .args(["--only-binary=:all:", "--platform", "manylinux_2_28_x86_64", "--python-version", "3.11"])
            .args(["--implementation", "cp", "--abi", "cp311", "--dest"])
            .arg(work.path())
            .arg(format!("pjsua2-pybind11=={}", versions::PJSIP)),
    )?;
    let is_wheel = |path: &PathBuf| path.extension().is_some_and(|end| end == "whl");
    let entries = fs::read_dir(work.path()).context("failed to list the download")?;
    let wheel = entries.flatten().map(|entry| entry.path()).find(is_wheel).context("pip downloaded no wheel")?;
    let unpacked = work.path().join("wheel");
    run_silently(Command::new(&python).args(["-m", "zipfile", "-e"]).args([&wheel, &unpacked]))?;
    fs::create_dir_all(&folder).with_context(|| format!("failed to create {}", folder.display()))?;
    for entry in fs::read_dir(unpacked.join("pjsua2_pybind11.libs")).context("the wheel has no libraries")? {
        let path = entry?.path();
        fs::copy(&path, folder.join(path.file_name().unwrap_or_default()))
            .with_context(|| format!("failed to copy {}", path.display()))?;
    }
    let stamp = folder.join(STAMP);
    fs::write(&stamp, versions::PJSIP).with_context(|| format!("failed to write {}", stamp.display()))
}

/// The distribution's Python, if there is one: python3-venv belongs to that one, not to a Python of the user's own.
pub(crate) fn python() -> &'static str {
    if Path::new("/usr/bin/python3").exists() { "/usr/bin/python3" } else { "python3" }
}

pub(super) fn python_makes_environments() -> bool {
    run_silently(Command::new(python()).args(["-c", "import ensurepip, venv"])).is_ok()
}
