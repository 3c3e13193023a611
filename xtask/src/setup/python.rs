//! Python programs, each in a virtual environment of this working copy.

use std::{
    fs, io,
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
    match fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("failed to remove {}", folder.display()));
        }
        _ => {}
    }
    run_silently(Command::new(python()).args(["-m", "venv"]).arg(&folder))?;
    run_silently(
        Command::new(folder.join("bin/python"))
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
            .arg(format!("sipvicious=={}", versions::SIPVICIOUS)),
    )?;
    let stamp = folder.join(STAMP);
    fs::write(&stamp, versions::SIPVICIOUS).with_context(|| format!("failed to write {}", stamp.display()))
}

/// The distribution's Python, if there is one: python3-venv belongs to that one, not to a Python of the user's own.
pub(crate) fn python() -> &'static str {
    if Path::new("/usr/bin/python3").exists() { "/usr/bin/python3" } else { "python3" }
}

pub(super) fn python_makes_environments() -> bool {
    run_silently(Command::new(python()).args(["-c", "import ensurepip, venv"])).is_ok()
}
