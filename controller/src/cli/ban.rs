//! `ringfence ban`: bans sources by hand.

use std::process::ExitCode;

use super::{Place, print};
use crate::{
    api::BanRequest,
    deploy::{BanBook, LONGEST_COMMENT},
    kernel::Prefix,
    telemetry::Notice,
};
use filter_policy::language::action::ban_seconds;

/// Ban an address or a network for a time: its packets to the signalling ports are dropped
///
/// Rules that let everything from a source pass, `never_ban` and, unless the policy says otherwise, emergency calls come before bans.
/// A ban outlives the daemon. Its comment is in the daemon's memory, and ends with it.
///
/// For an IPv6 address, its /64 is banned: a network has all addresses of it. Give a length to ban less or more.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Exit status:
  0  it is banned
  1  it cannot be banned: the policy exempts it, or prefixes of too many lengths are banned
  2  bad usage
  3  the system refused, or there is no filter

Examples:
  ringfence ban 192.0.2.7 --for 1h
  ringfence ban 2001:db8::/48 --for 7d --comment \"ticket 4711\"")]
pub struct BanArgs {
    /// The address or network
    #[arg(value_name = "ADDR|CIDR", value_parser = Prefix::to_ban)]
    pub prefix: Prefix,
    /// For how long: 90s, 10m, 1h, 7d; at most a year
    #[arg(long = "for", value_name = "TIME", value_parser = seconds)]
    pub seconds: u32,
    /// A note that `ringfence bans` shows
    #[arg(long, value_name = "TEXT", value_parser = comment)]
    pub comment: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    #[expect(missing_docs, reason = "each field has its own help")]
    #[command(flatten)]
    pub place: Place,
}

/// Runs `ringfence ban`.
///
/// # Errors
/// It cannot be banned, or the system refuses.
pub fn run(args: BanArgs) -> anyhow::Result<ExitCode> {
    let BanArgs { prefix, seconds, comment, json, place } = args;
    let request = BanRequest { prefix: prefix.to_string(), seconds, comment };
    let found = place.find()?;
    let asked = super::ask(&found, async |client| client.ban(&request).await)?;
    let notice = asked.or_without(&found, || {
        if request.comment.is_some() {
            eprintln!("the comment is not kept: it would be in the memory of a daemon");
        }
        BanBook::new(found.pins.clone()).ban(prefix, seconds, None).map(Notice::Banned)
    })?;
    print(&(if json { notice.json_line() } else { notice.to_string() } + "\n"))?;
    Ok(ExitCode::SUCCESS)
}

/// Reads a ban's time.
pub(super) fn seconds(text: &str) -> Result<u32, String> {
    ban_seconds(text)
        .ok_or_else(|| "give a whole number followed by s, m, h or d, such as 10m; at most a year".to_owned())
}

fn comment(text: &str) -> Result<String, String> {
    if text.len() > LONGEST_COMMENT {
        return Err(format!("a comment has at most {LONGEST_COMMENT} bytes"));
    }
    Ok(text.to_owned())
}
