//! `ringfence unban`: lifts bans.

use std::process::ExitCode;

use super::{EXIT_NO, Place, print};
use crate::{
    api::UnbanRequest,
    deploy::BanBook,
    kernel::{Prefix, PrefixError},
    telemetry::Notice,
};

/// Lift every ban that covers an address or a part of a network, or all bans
///
/// A rule bans a source again when it matches again. To exempt it, add it to the policy's `never_ban`: that lifts its bans, too.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Exit status:
  0  nothing of it is banned any more
  1  no ban covered it
  2  bad usage
  3  the system refused, or there is no filter

Examples:
  ringfence unban 192.0.2.7
  ringfence unban 2001:db8::/48
  ringfence unban all")]
pub struct UnbanArgs {
    /// The address or network, or `all`
    #[arg(value_name = "ADDR|CIDR|all", value_parser = sources)]
    pub sources: Sources,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    #[expect(missing_docs, reason = "each field has its own help")]
    #[command(flatten)]
    pub place: Place,
}

/// Whose bans are lifted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sources {
    /// Everyone's.
    All,
    /// Those of these sources.
    In(Prefix),
}

/// Runs `ringfence unban`.
///
/// # Errors
/// The daemon's answer cannot be read, or the system refuses.
pub fn run(args: UnbanArgs) -> anyhow::Result<ExitCode> {
    let UnbanArgs { sources, json, place } = args;
    let prefix = match sources {
        Sources::All => None,
        Sources::In(prefix) => Some(prefix),
    };
    let request = UnbanRequest { prefix: prefix.map(|prefix| prefix.to_string()) };
    let found = place.find()?;
    let asked = super::ask(&found, async |client| client.unban(&request).await)?;
    let notice = asked.or_without(&found, || BanBook::new(found.pins.clone()).unban(prefix).map(Notice::Unbanned))?;
    let is_nothing = matches!(&notice, Notice::Unbanned(unbanned) if unbanned.count == 0);
    print(&(if json { notice.json_line() } else { notice.to_string() } + "\n"))?;
    Ok(if is_nothing { ExitCode::from(EXIT_NO) } else { ExitCode::SUCCESS })
}

fn sources(text: &str) -> Result<Sources, PrefixError> {
    if text == "all" { Ok(Sources::All) } else { Prefix::exactly(text).map(Sources::In) }
}
