//! `ringfence bans`: the sources that are banned, and lists of them from and for other tools.

mod export;
mod import;

use std::process::ExitCode;

use super::{Place, print};
use crate::{deploy::BanBook, telemetry::BanList};
use filter_policy::language::printable;

/// Show which sources are banned, by which rule, until when, and how many packets that has dropped
///
/// Without a daemon, or if it does not answer within two seconds, the bans are read from the kernel. Comments of bans that were made by
/// hand are in the daemon's memory: they end with it.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_long_help = "\
Exit status:
  0  the bans were printed
  3  the system refused, there is no filter, or the daemon's answer cannot be read

Examples:
  ringfence bans
  ringfence bans --json
  ringfence bans export --format crowdsec
  ringfence bans import banned.txt --for 1d"
)]
pub struct BansArgs {
    /// What to do, if not to show them.
    #[command(subcommand)]
    command: Option<BansCommand>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    #[expect(missing_docs, reason = "each field has its own help")]
    #[command(flatten)]
    pub place: Place,
}

/// What is done with bans, all together.
#[derive(Debug, clap::Subcommand)]
enum BansCommand {
    Export(export::ExportArgs),
    Import(import::ImportArgs),
}

/// Runs `ringfence bans`.
///
/// # Errors
/// The daemon's answer cannot be read, the pins cannot, or a list cannot be imported.
pub fn run(args: BansArgs) -> anyhow::Result<ExitCode> {
    match args.command {
        Some(BansCommand::Export(args)) => return export::run(&args),
        Some(BansCommand::Import(args)) => return import::run(args),
        None => {}
    }
    let bans = bans(&args.place)?;
    print(&if args.json { printable::json_line(&bans) + "\n" } else { bans.render() })?;
    Ok(ExitCode::SUCCESS)
}

/// The bans in force: the daemon's answer, or what the kernel has.
fn bans(place: &Place) -> anyhow::Result<BanList> {
    let found = place.find()?;
    let asked = super::ask(&found, async |client| client.bans().await)?;
    Ok(asked.or_without(&found, || BanBook::new(found.pins.clone()).list())?)
}
