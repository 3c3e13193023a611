//! Shared by the tests and the demo: namespaces, bounded processes, real SIP software, captures.

#![warn(clippy::wildcard_enum_match_arm, unreachable_pub)]

pub mod attack;
pub mod capture;
pub mod filter;
pub mod message;
pub mod netns;
pub mod packet;
pub mod process;
pub mod raw;
pub mod sip;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

/// A folder for logs and captures. It is removed on drop, unless `RINGFENCE_KEEP_LOGS` is set: then its path is printed.
///
/// # Errors
/// The temporary folder cannot be written to.
pub fn scratch() -> Result<tempfile::TempDir> {
    let mut folder =
        tempfile::Builder::new().prefix("ringfence-").tempdir().context("failed to create a scratch folder")?;
    if std::env::var_os("RINGFENCE_KEEP_LOGS").is_some() {
        folder.disable_cleanup(true);
        eprintln!("logs and captures are kept in {}", folder.path().display());
    }
    Ok(folder)
}

/// The folder of the SIPVicious programs that `cargo xtask setup` installs in the workspace.
///
/// # Errors
/// They are not installed.
pub fn sipvicious() -> Result<PathBuf> {
    let folder = workspace().join("target/tools/sipvicious/bin");
    ensure!(folder.join("sipvicious_svmap").exists(), "no SIPVicious in {}: run cargo xtask setup", folder.display());
    Ok(folder)
}

/// Prints a line even if the test passes: the harness captures `eprintln!`, but not this.
pub fn say(line: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// The root of the workspace.
#[must_use]
pub fn workspace() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}
