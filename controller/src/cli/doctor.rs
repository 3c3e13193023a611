//! `ringfence doctor`: can this host filter, and what does it cost?

use std::{path::PathBuf, process::ExitCode};

use super::{EXIT_NO, place::configuration, print};
use crate::doctor::{self, Level, Options};
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
    /// The daemon's configuration file [default: /etc/ringfence/ringfence.toml, if it exists]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Directory on a BPF file system that holds the filter's state [default: that of the configuration]
    #[arg(long, value_name = "DIR")]
    pub pin_dir: Option<PathBuf>,
    /// Unix socket of the daemon [default: that of the configuration]
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Runs `ringfence doctor`.
///
/// # Errors
/// The result cannot be written.
pub fn run(args: DoctorArgs) -> anyhow::Result<ExitCode> {
    let report = doctor::examine(&Options {
        interfaces: args.interfaces,
        configuration: configuration(args.config),
        pins: args.pin_dir,
        socket: args.socket,
    });
    print(&if args.json { printable::json_line(&report) + "\n" } else { report.render() })?;
    Ok(if report.result == Level::Fail { ExitCode::from(EXIT_NO) } else { ExitCode::SUCCESS })
}
