//! `ringfence support`: an archive with what a bug report needs.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;

use super::{Place, print};
use crate::doctor::support::{self, Part};
use filter_policy::language::printable;

/// Pack what a bug report needs into an archive: versions, checks of this host, status, configuration, errors of the policy
///
/// Telephone numbers and addresses are replaced, and contents of lists left out. Look through it before you send it: names of hosts,
/// rules and files are in it. Run it as root, or much is missing.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Exit status:
  0  the archive has been written
  2  it cannot be written, or there is a file of this name already

Examples:
  ringfence support
  ringfence support -o /tmp/report.tar
  ringfence support --config /etc/ringfence/ringfence.toml")]
pub struct SupportArgs {
    /// Where to write the archive, an uncompressed tar
    #[arg(short, long, value_name = "FILE", default_value = "ringfence-support.tar")]
    pub output: PathBuf,
    #[expect(missing_docs, reason = "each field has its own help")]
    #[command(flatten)]
    pub place: Place,
    /// Leave telephone numbers, addresses and what errors quote of lists in it
    #[arg(long)]
    pub with_numbers: bool,
}

/// Runs `ringfence support`.
///
/// # Errors
/// The archive cannot be written.
pub fn run(args: SupportArgs) -> anyhow::Result<ExitCode> {
    let shown = printable::path(&args.output);
    let failed = || format!("failed to write {shown}");
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&args.output).with_context(failed)?;
    let parts = support::collect(&args.place.examined(Vec::new()), args.with_numbers);
    if let Err(error) = write(file, &parts) {
        // This run has created it.
        let _ = fs::remove_file(&args.output);
        return Err(error).with_context(failed);
    }
    let private = if args.with_numbers {
        "telephone numbers and addresses are in it"
    } else {
        "look through it before you send it"
    };
    print(&format!("{shown} has been written: {private} (`tar --list --file {shown}`)\n"))?;
    Ok(ExitCode::SUCCESS)
}

/// Writes the archive, in a folder of its own.
fn write(file: File, parts: &[Part]) -> io::Result<()> {
    let mut archive = tar::Builder::new(file);
    let now = jiff::Timestamp::now().as_second();
    for part in parts {
        let mut header = tar::Header::new_gnu();
        header.set_size(part.content.len() as u64);
        header.set_mode(0o600);
        header.set_mtime(u64::try_from(now).unwrap_or(0));
        archive.append_data(&mut header, Path::new("ringfence-support").join(part.name), part.content.as_bytes())?;
    }
    archive.into_inner()?.flush()
}
