//! `ringfence history`: the generations that were in force.

use std::process::ExitCode;

use super::{PlaceAndState, ask, print};
use crate::{deploy, repository::History};
use filter_policy::language::printable;

/// List the policies that were in force: each generation with its commit, and who or what put it in force, when and for how long
///
/// The last twenty generations are kept with their files. `ringfence rollback` brings one back. Without a daemon, the list is
/// read from the state directory.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Exit status:
  0  success
  3  the system refused

Examples:
  ringfence history
  ringfence history --json")]
pub struct HistoryArgs {
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    #[expect(missing_docs, reason = "each field has its own help")]
    #[command(flatten)]
    pub place: PlaceAndState,
}

/// Runs `ringfence history`.
///
/// # Errors
/// The daemon's answer cannot be read, or the pins cannot.
pub fn run(args: HistoryArgs) -> anyhow::Result<ExitCode> {
    let found = args.place.find()?;
    let asked = ask(&found, async |client| client.history().await)?;
    let list = asked
        .or_without(&found, || deploy::generations(&History::new(&found.state, found.pins.root()), &found.pins))?;
    print(&if args.json { printable::json_line(&list) + "\n" } else { list.render() })?;
    Ok(ExitCode::SUCCESS)
}
