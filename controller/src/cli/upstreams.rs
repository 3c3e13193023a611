//! `ringfence upstreams`: who sends calls, by the policy in force.

use std::process::ExitCode;

use super::{Place, ask, print};
use filter_policy::language::printable;

/// List the upstreams of the policy in force: their trunks, filings and contacts, what their caps have counted, and their packets of the last minute
///
/// What a cap has counted is exact: INVITEs of calls that were over it, copies included, since its rule first was in force. Packets are
/// estimated from samples, as in `ringfence top --by upstream`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Exit status:
  0  success
  3  no daemon answers, or it has not read the policy in force

Examples:
  ringfence upstreams
  ringfence upstreams --json")]
pub struct UpstreamsArgs {
    /// Print one JSON object a line, for each upstream
    #[arg(long)]
    pub json: bool,
    #[expect(missing_docs, reason = "each field has its own help")]
    #[command(flatten)]
    pub place: Place,
}

/// Runs `ringfence upstreams`.
///
/// # Errors
/// No daemon answers, or it has not read the policy in force.
pub fn run(args: UpstreamsArgs) -> anyhow::Result<ExitCode> {
    let found = args.place.find()?;
    let list = ask(&found, async |client| client.upstreams().await)?.required(&found)?;
    let text = if args.json {
        list.upstreams.iter().map(|row| printable::json_line(row) + "\n").collect()
    } else {
        list.render()
    };
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}
