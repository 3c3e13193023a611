//! `ringfence top`: who sent most in the last minutes, as a screen or as a table.

mod screen;
mod table;

use std::{
    io::{self, IsTerminal as _},
    net::IpAddr,
    process::ExitCode,
};

use super::{Place, print};
use crate::{
    api::TopRequest,
    telemetry::{Fate, TopBy, TopSort},
};
use filter_policy::language::{printable, quantity};

/// The longest window, in seconds.
const LONGEST: u64 = 600;

/// Show who sent most: sources, numbers, user agents, of what passed, was dropped, or would have been
///
/// In a terminal this is a screen, which asks once a second: `?` shows its keys, `q` ends it. Elsewhere, and with `--once`, it is a table.
///
/// The numbers come from a sample of all packets for signalling ports, drawn at random in the kernel: at a low rate every packet is in it.
/// Where it is not, the bounds in parentheses hold the true number 95 times in 100. What passes, what would have been dropped and what is
/// dropped are sampled apart, so that a flood hides none of the others.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Exit status:
  0  the rows were printed, or the screen was left
  2  bad usage
  3  no daemon answers

Examples:
  ringfence top
  ringfence top --by called --fate passed --last 10s
  ringfence top --once --by source --rule scanners --last 10m
  ringfence top --once --by called --source 192.0.2.66
  ringfence top --by agent --json")]
pub struct TopArgs {
    /// What the rows are [default: source; on the screen: rule]
    #[arg(long, value_name = "WHAT", value_parser = by)]
    pub by: Option<TopBy>,
    /// How far back, at most 10m
    #[arg(long, value_name = "TIME", value_parser = window, default_value = "1m")]
    pub last: u64,
    /// Only packets that this rule dropped, or would have dropped
    #[arg(long, value_name = "NAME")]
    pub rule: Option<String>,
    /// Only packets with this reason, such as banned or default-pass
    #[arg(long, value_name = "REASON")]
    pub reason: Option<String>,
    /// Only packets from this address
    #[arg(long, value_name = "ADDR")]
    pub source: Option<IpAddr>,
    /// Only packets to this number, in digits
    #[arg(long, value_name = "NUMBER")]
    pub called: Option<String>,
    /// Only packets from this number, in digits
    #[arg(long, value_name = "NUMBER")]
    pub calling: Option<String>,
    /// Only packets with this user agent
    #[arg(long, value_name = "TEXT")]
    pub agent: Option<String>,
    /// Only packets that this became of: passed, would (have been dropped), or dropped
    #[arg(long, value_name = "FATE", value_parser = fate)]
    pub fate: Option<Fate>,
    /// What the rows are sorted by: packets, passed, would (have been dropped), or dropped
    #[arg(long, value_name = "WHAT", value_parser = sort, default_value = "packets")]
    pub sort: TopSort,
    /// The most rows of the table
    #[arg(short = 'n', long, value_name = "COUNT", default_value_t = TopRequest::ROWS)]
    pub rows: usize,
    /// Print the table once, also in a terminal
    #[arg(long)]
    pub once: bool,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    #[expect(missing_docs, reason = "each field has its own help")]
    #[command(flatten)]
    pub place: Place,
}

fn by(text: &str) -> Result<TopBy, String> {
    one_of(text, TopBy::ALL, TopBy::name)
}

fn fate(text: &str) -> Result<Fate, String> {
    one_of(text, Fate::ALL, Fate::name)
}

fn sort(text: &str) -> Result<TopSort, String> {
    one_of(text, TopSort::ALL, TopSort::name)
}

fn one_of<T: Copy, const N: usize>(text: &str, all: [T; N], name: fn(T) -> &'static str) -> Result<T, String> {
    all.into_iter().find(|&one| name(one) == text).ok_or_else(|| format!("it is one of {}", all.map(name).join(", ")))
}

fn window(text: &str) -> Result<u64, String> {
    quantity::duration(text)
        .filter(|seconds| *seconds <= LONGEST)
        .ok_or_else(|| "write a time such as 10s, 1m or 10m, at most 10m".to_owned())
}

/// Runs `ringfence top`.
///
/// # Errors
/// No daemon answers, or the terminal cannot be used.
pub fn run(args: TopArgs) -> anyhow::Result<ExitCode> {
    let found = args.place.find()?;
    let request = TopRequest {
        by: args.by,
        seconds: Some(args.last),
        fate: args.fate,
        // (A daemon of an earlier version does not know the parameter.)
        sort: Some(args.sort).filter(|sort| *sort != TopSort::default()),
        rows: Some(args.rows),
        rule: args.rule,
        reason: args.reason,
        source: args.source.map(|source| source.to_string()),
        called: args.called.map(digits),
        calling: args.calling.map(digits),
        agent: args.agent,
        ..TopRequest::default()
    };
    if !args.once && !args.json && has_terminal() {
        return screen::run(&found, request);
    }
    let top = super::ask(&found, async |client| client.top(&request).await)?.required(&found)?;
    print(&if args.json { printable::json_line(&top) + "\n" } else { table::render(&top) })?;
    Ok(ExitCode::SUCCESS)
}

/// A number as rows have it.
fn digits(number: String) -> String {
    number.strip_prefix('+').map_or_else(|| number.clone(), str::to_owned)
}

/// Whether a screen can be shown, and keys can be read.
fn has_terminal() -> bool {
    let is_dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
    io::stdin().is_terminal() && io::stdout().is_terminal() && !is_dumb
}
