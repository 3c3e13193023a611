//! `ringfence bans`: the sources that are banned.

use std::process::ExitCode;

use super::{Place, print};
use crate::deploy::BanBook;
use filter_policy::language::printable;

/// Show which sources are banned, by which rule, until when, and how many packets that has dropped
///
/// Without a daemon, or if it does not answer within two seconds, the bans are read from the kernel. Comments of bans that were made by
/// hand are in the daemon's memory: they end with it.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Exit status:
  0  the bans were printed
  3  the system refused, there is no filter, or the daemon's answer cannot be read

Examples:
  ringfence bans
  ringfence bans --json")]
pub struct BansArgs {
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    #[expect(missing_docs, reason = "each field has its own help")]
    #[command(flatten)]
    pub place: Place,
}

/// Runs `ringfence bans`.
///
/// # Errors
/// The daemon's answer cannot be read, or the pins cannot.
pub fn run(args: BansArgs) -> anyhow::Result<ExitCode> {
    let found = args.place.find()?;
    let asked = super::ask(&found, async |client| client.bans().await)?;
    let bans = asked.or_without(&found, || BanBook::new(found.pins.clone()).list())?;
    print(&if args.json { printable::json_line(&bans) + "\n" } else { bans.render() })?;
    Ok(ExitCode::SUCCESS)
}
