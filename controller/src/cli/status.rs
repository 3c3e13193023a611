//! `ringfence status`: what runs where, and what it has done.

use std::{path::Path, process::ExitCode};

use super::{EXIT_NO, Place, place::Found, print};
use crate::{
    api::{Client, ClientError},
    telemetry::{DaemonState, Status},
};
use filter_policy::language::printable;

/// Show whether the filter is attached and a daemon runs, which policy is in force, and what it has counted
///
/// Without a daemon, or if it does not answer within two seconds, everything is read from the kernel.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Exit status:
  0  packets are being filtered on every interface, by the newest policy
  1  packets are not being filtered, or not on every interface that the configuration names; or the newest policy is not in
     force, because it has errors, cannot be fetched, or an earlier one is held
  3  the system refused, or the daemon's answer cannot be read

Examples:
  ringfence status
  ringfence status --json")]
pub struct StatusArgs {
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    #[expect(missing_docs, reason = "each field has its own help")]
    #[command(flatten)]
    pub place: Place,
}

/// Runs `ringfence status`.
///
/// # Errors
/// The daemon's answer cannot be read, or the pins cannot.
pub fn run(args: StatusArgs) -> anyhow::Result<ExitCode> {
    let Found { pins, socket, interfaces, .. } = args.place.find()?;
    let answer = super::block_on(async {
        match ask(&socket).await {
            // A daemon with other pins would answer about another filter.
            Ok(status) => Ok(status.filter(|status| status.pin_dir == pins.root()).ok_or(DaemonState::NotRunning)),
            Err(ClientError::NoAnswer { .. }) => Ok(Err(DaemonState::NotAnswering)),
            Err(error) => Err(error),
        }
    })?;
    let status = match answer {
        Ok(status) => status,
        Err(daemon) => Status { daemon, ..Status::read(&pins, None)? },
    };
    let status = status.with_wanted(interfaces.iter().map(|interface| interface.name.as_str()));
    print(&if args.json { printable::json_line(&status) + "\n" } else { status.render() })?;
    Ok(if status.is_filtering() && status.is_current() { ExitCode::SUCCESS } else { ExitCode::from(EXIT_NO) })
}

/// The daemon's answer; none if no daemon runs.
pub(super) async fn ask(socket: &Path) -> Result<Option<Status>, ClientError> {
    match Client::connect(socket).await {
        Ok(client) => client.status().await.map(Some),
        Err(ClientError::NoDaemon { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
