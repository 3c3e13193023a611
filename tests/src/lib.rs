//! What the tests and the demo share: namespaces, processes that end, real SIP software, captures.

pub mod capture;
pub mod filter;
pub mod message;
pub mod netns;
pub mod packet;
pub mod process;
pub mod raw;
pub mod sip;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// A folder for logs and captures, removed on drop unless `RINGFENCE_KEEP_LOGS` is set: then it stays, and says where.
///
/// # Errors
/// The temporary folder cannot be written to.
pub fn scratch() -> Result<tempfile::TempDir> {
    let mut folder =
        tempfile::Builder::new().prefix("ringfence-").tempdir().context("failed to create a scratch folder")?;
    if std::env::var_os("RINGFENCE_KEEP_LOGS").is_some() {
        folder.disable_cleanup(true);
        eprintln!("logs and captures stay in {}", folder.path().display());
    }
    Ok(folder)
}

/// The folder of the SIPVicious programs that the set-up has put into the workspace.
///
/// # Errors
/// They are not there.
pub fn sipvicious() -> Result<PathBuf> {
    let folder = workspace().join("target/tools/sipvicious/bin");
    ensure!(folder.join("sipvicious_svmap").exists(), "no SIPVicious in {}: run cargo xtask setup", folder.display());
    Ok(folder)
}

/// Says something past the test harness, which keeps the output of a test that passes to itself.
pub fn say(line: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// The root of the workspace.
#[must_use]
pub fn workspace() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}
