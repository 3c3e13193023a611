//! `ringfence doctor`: can this host filter, and what does it cost?

use std::process::ExitCode;

use super::{EXIT_NO, Place, print};
use crate::doctor::{self, Level};
use filter_policy::language::printable;

/// Check whether this host, its kernel and its network cards can run the filter, and what would make it cheaper
///
/// One line for each check: `ok`, `warn` (it works, but costs more or shows less) or `fail` (it cannot work), and what fixes it. Nothing
/// is changed. Without root, some checks see less, and say so.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Exit status:
  0  the filter can work; there may be warnings
  1  something fails
  2  bad usage

Examples:
  ringfence doctor eth0
  ringfence doctor --config /etc/ringfence/ringfence.toml
  ringfence doctor eth0 eth1 --json")]
pub struct DoctorArgs {
    /// Network interfaces to look at [default: those of the configuration]
    #[arg(value_name = "INTERFACE")]
    pub interfaces: Vec<String>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    #[expect(missing_docs, reason = "each field has its own help")]
    #[command(flatten)]
    pub place: Place,
}

/// Runs `ringfence doctor`.
///
/// # Errors
/// The result cannot be written.
pub fn run(args: DoctorArgs) -> anyhow::Result<ExitCode> {
    let report = doctor::examine(&args.place.examined(args.interfaces));
    print(&if args.json { printable::json_line(&report) + "\n" } else { report.render() })?;
    Ok(if report.result == Level::Fail { ExitCode::from(EXIT_NO) } else { ExitCode::SUCCESS })
}
