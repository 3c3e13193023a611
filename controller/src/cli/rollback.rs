//! `ringfence rollback`: an earlier policy, back in force at once.

use std::process::ExitCode;

use super::{Place, ask, reload};
use crate::api::RollbackRequest;

/// Bring an earlier policy back at once, and hold it until it is released
///
/// Without a number, the last generation comes back that had another policy than the one in force. The policy is compiled from
/// the files that were kept, and gets a number of its own. Until `ringfence rollback --release`, also across restarts of the
/// daemon, changes of the policy are not loaded.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Exit status:
  0  the earlier policy is in force; with --release, the newest one is
  1  there is no such generation, or its policy cannot be used: the one in force stays
  3  no daemon answers

Examples:
  ringfence rollback
  ringfence rollback 41
  ringfence rollback --release")]
pub struct RollbackArgs {
    /// The generation, as `ringfence history` numbers them
    #[arg(value_name = "GENERATION")]
    pub generation: Option<u64>,
    /// Hold no generation any more: the newest policy comes in force
    #[arg(long, conflicts_with = "generation")]
    pub release: bool,
    /// Print one JSON object: the notice `rolled-back`; with --release those of `ringfence reload`
    #[arg(long)]
    pub json: bool,
    #[expect(missing_docs, reason = "each field has its own help")]
    #[command(flatten)]
    pub place: Place,
}

/// Runs `ringfence rollback`.
///
/// # Errors
/// No daemon answers, or it declines.
pub fn run(args: RollbackArgs) -> anyhow::Result<ExitCode> {
    let found = args.place.find()?;
    let request = RollbackRequest { generation: args.generation, release: args.release };
    let asked = ask(&found, async |client| client.rollback(&request).await)?;
    reload::shown(&asked.required(&found)?, args.json)
}
