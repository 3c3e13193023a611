//! `ringfence run`: the daemon.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use super::Place;
use crate::{
    daemon::{self, Options},
    deploy::Target,
    kernel::ModeChoice,
    repository::Source,
};

/// Run the filter: load a policy, attach it, follow its changes, show what is dropped
///
/// The filter is in the kernel and does not need this process. When the process ends (Ctrl-C, SIGTERM, even SIGKILL), the
/// last policy stays in force, and the next `ringfence run` takes over. `ringfence detach` removes the filter; with
/// --detach-on-exit, it is removed when this process ends.
///
/// When the policy's files change, or on SIGHUP, the new policy comes into force in one step. If it has errors, they are
/// shown and nothing changes.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Exit status:
  0  the daemon was asked to end, and ended
  1  the policy has errors
  2  bad usage or input
  3  the system refused: no permission, no interface, a kernel too old, the verifier

Examples:
  ringfence run --interface eth0 --policy /etc/ringfence/policy --report
  ringfence run --interface eth0 --policy /etc/ringfence/policy
  ringfence run --interface eth0 --interface eth1 --policy policies --json
  ringfence run --interface eth0 --mode generic --detach-on-exit")]
pub struct RunArgs {
    /// Network interface to filter on; may be given several times
    #[arg(short, long = "interface", value_name = "IF", required = true)]
    pub interfaces: Vec<String>,
    /// The policy repository: a directory with a `policy.toml` in it [default: the built-in sample policy]
    #[arg(short, long, value_name = "DIR")]
    pub policy: Option<PathBuf>,
    /// Where the XDP program runs: in the driver (native), or in the network stack (generic)
    #[arg(long, value_enum, default_value_t)]
    pub mode: ModeChoice,
    /// Seconds between tables
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0, value_parser = seconds)]
    pub interval: f64,
    /// Drop nothing: every rule only counts and reports what it would have done, as with `mode = "report"` at the head of the policy
    #[arg(long)]
    pub report: bool,
    /// Remove the filter when this process ends
    #[arg(long)]
    pub detach_on_exit: bool,
    /// Print JSON, one object per line
    #[arg(long)]
    pub json: bool,
    #[expect(missing_docs, reason = "each field has its own help")]
    #[command(flatten)]
    pub place: Place,
}

/// Runs `ringfence run`.
///
/// # Errors
/// The daemon could not start.
pub fn run(args: RunArgs) -> anyhow::Result<ExitCode> {
    let mut interfaces = args.interfaces;
    let mut seen = std::collections::HashSet::new();
    interfaces.retain(|interface| seen.insert(interface.clone()));
    daemon::run(Options {
        target: Target { pins: args.place.pins(), interfaces, mode: args.mode, report: args.report },
        source: args.policy.map_or(Source::Sample, Source::Directory),
        socket: args.place.socket,
        interval: Duration::from_secs_f64(args.interval),
        json: args.json,
        detach_on_exit: args.detach_on_exit,
    })?;
    Ok(ExitCode::SUCCESS)
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.1..=3600.0).contains(&seconds) => Ok(seconds),
        _ => Err("give a number of seconds between 0.1 and 3600".to_owned()),
    }
}
