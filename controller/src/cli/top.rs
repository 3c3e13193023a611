//! `ringfence top`: who sent most in the last minutes.

use std::{fmt::Write as _, process::ExitCode};

use super::{Place, print};
use crate::{
    api::TopRequest,
    telemetry::{Fate, Top, TopBy, TopRow},
};
use filter_policy::language::{printable, quantity};

/// The longest window, in seconds.
const LONGEST: u64 = 600;

/// Show who sent most: sources, numbers, user agents, of what passed, was dropped, or would have been
///
/// The numbers come from a sample of all packets for signalling ports, drawn at random in the kernel: at a low rate every packet is in it.
/// Where it is not, the bounds in parentheses hold the true number 95 times in 100. What passes, what would have been dropped and what is
/// dropped are sampled apart, so that a flood hides none of the others.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Exit status:
  0  the rows were printed
  2  bad usage
  3  no daemon answers

Examples:
  ringfence top
  ringfence top --by called --fate passed --last 10s
  ringfence top --by source --rule scanners --last 10m
  ringfence top --by agent --json")]
pub struct TopArgs {
    /// What the rows are
    #[arg(long, value_name = "WHAT", value_parser = by, default_value = "source")]
    pub by: TopBy,
    /// How far back, at most 10m
    #[arg(long, value_name = "TIME", value_parser = window, default_value = "1m")]
    pub last: u64,
    /// Only packets that this rule dropped, or would have dropped
    #[arg(long, value_name = "NAME")]
    pub rule: Option<String>,
    /// Only packets with this reason, such as banned or default-pass
    #[arg(long, value_name = "REASON")]
    pub reason: Option<String>,
    /// Only packets that this became of: passed, would (have been dropped), or dropped
    #[arg(long, value_name = "FATE", value_parser = fate)]
    pub fate: Option<Fate>,
    /// The most rows
    #[arg(short = 'n', long, value_name = "COUNT", default_value_t = TopRequest::ROWS)]
    pub rows: usize,
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
/// No daemon answers.
pub fn run(args: TopArgs) -> anyhow::Result<ExitCode> {
    let found = args.place.find()?;
    let request = TopRequest {
        by: Some(args.by),
        seconds: Some(args.last),
        rule: args.rule,
        reason: args.reason,
        fate: args.fate,
        rows: Some(args.rows),
    };
    let top = super::ask(&found, async |client| client.top(&request).await)?.required(&found)?;
    print(&if args.json { printable::json_line(&top) + "\n" } else { render(&top) })?;
    Ok(ExitCode::SUCCESS)
}

/// The answer as a table.
fn render(top: &Top) -> String {
    let mut text = format!("{} packets in {}", top.packets, seconds(top.covered_seconds));
    if top.covered_seconds < top.window_seconds {
        let _ = write!(text, " (all that is kept of the last {})", seconds(top.window_seconds));
    }
    let _ = writeln!(text, ", {} of them sampled", top.samples);
    if top.rows.is_empty() {
        return text;
    }
    let key = |row: &TopRow| row.key.as_deref().map_or_else(|| "-".to_owned(), printable::escaped);
    let keys: Vec<String> = top.rows.iter().map(key).collect();
    let counts: Vec<String> = top.rows.iter().map(|row| row.packets.to_string()).collect();
    let width =
        |texts: &[String], least: usize| texts.iter().map(|text| text.chars().count()).max().unwrap_or(0).max(least);
    let (first, second) = (width(&keys, top.by.name().len()), width(&counts, "packets".len()));
    let _ = writeln!(
        text,
        "\n{:first$}  {:>second$}  {:>10}  {:>10}  {:>10}",
        top.by.name(),
        "packets",
        "passed",
        "would drop",
        "dropped"
    );
    for ((row, key), count) in top.rows.iter().zip(&keys).zip(&counts) {
        let _ = writeln!(
            text,
            "{key:first$}  {count:>second$}  {:>10.0}  {:>10.0}  {:>10.0}",
            row.passed, row.would, row.dropped
        );
    }
    if top.more > 0 {
        let _ = writeln!(text, "and {} more", top.more);
    }
    text
}

fn seconds(seconds: f64) -> String {
    quantity::duration_text(seconds.round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Estimate;

    #[test]
    fn the_table_shows_estimates_with_their_bounds_and_escapes_what_senders_chose() {
        let exact = |packets| Estimate { packets, low: packets, high: packets };
        let row = |key: Option<&str>, packets, passed, dropped| TopRow {
            key: key.map(str::to_owned),
            packets,
            passed,
            would: 0.0,
            dropped,
        };
        let top = Top {
            by: TopBy::Agent,
            window_seconds: 60.0,
            covered_seconds: 12.4,
            samples: 140,
            packets: Estimate { packets: 4012.0, low: 3812.4, high: 4211.6 },
            rows: vec![
                row(Some("friendly\u{1b}[2J"), Estimate { packets: 4000.0, low: 3800.0, high: 4200.0 }, 0.0, 4000.0),
                row(None, exact(12.0), 12.0, 0.0),
            ],
            more: 3,
        };
        let expected = "\
4012 (3812 to 4212) packets in 12s (all that is kept of the last 1m), 140 of them sampled

agent                          packets      passed  would drop     dropped
friendly\\u{1b}[2J  4000 (3800 to 4200)           0           0        4000
-                                   12          12           0           0
and 3 more
";
        assert_eq!(render(&top), expected);
    }
}
