//! `ringfence suggest`: rules that would stop what has grown in the last minutes.

use std::{fmt::Write as _, process::ExitCode};

use super::{EXIT_NO, Place, print};
use crate::telemetry::{Suggestion, Suggestions};
use filter_policy::language::{printable, quantity};

/// The longest window, in seconds: what came before it must still be there to compare with.
const LONGEST: u64 = 300;

/// Suggest rules that would stop what has grown in the last minutes, and say whom each would hurt
///
/// It looks at the requests that passed: at sources, prefixes, user agents and called numbers that send or get many times as much as before, or as
/// others do. Each suggestion is a rule to paste into policy.toml, with what it would have stopped, and how much of that came from sources in the policy's
/// sets. Nothing is enforced by itself; `mode = "report"` in a rule shows first what it would drop.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Exit status:
  0  there are suggestions
  1  nothing has grown
  2  bad usage
  3  no daemon answers

Examples:
  ringfence suggest
  ringfence suggest --last 10s
  ringfence suggest --json")]
pub struct SuggestArgs {
    /// How far back, at most 5m
    #[arg(long, value_name = "TIME", value_parser = window, default_value = "1m")]
    pub last: u64,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    #[expect(missing_docs, reason = "each field has its own help")]
    #[command(flatten)]
    pub place: Place,
}

fn window(text: &str) -> Result<u64, String> {
    quantity::duration(text)
        .filter(|seconds| *seconds <= LONGEST)
        .ok_or_else(|| "write a time such as 10s, 1m or 5m, at most 5m".to_owned())
}

/// Runs `ringfence suggest`.
///
/// # Errors
/// No daemon answers.
pub fn run(args: SuggestArgs) -> anyhow::Result<ExitCode> {
    let found = args.place.find()?;
    let suggestions = super::ask(&found, async |client| client.suggest(args.last).await)?.required(&found)?;
    print(&if args.json { printable::json_line(&suggestions) + "\n" } else { render(&suggestions) })?;
    Ok(if suggestions.rules.is_empty() { ExitCode::from(EXIT_NO) } else { ExitCode::SUCCESS })
}

/// The suggestions as comments and rules: the whole output can be pasted.
fn render(suggestions: &Suggestions) -> String {
    let seconds = quantity::duration_text(suggestions.window_seconds.round() as u64);
    let mut text = format!("# {} requests passed in the last {seconds}", suggestions.passed);
    if suggestions.rules.is_empty() {
        text.push_str("; no source, prefix, user agent or called number has grown\n");
        return text;
    }
    text.push('\n');
    for suggestion in &suggestions.rules {
        let _ = write!(text, "\n{}{}", about(suggestion), suggestion.rule);
    }
    text
}

fn about(suggestion: &Suggestion) -> String {
    let Suggestion { by, key, method, rate, rate_before, stops, hurts, called, .. } = suggestion;
    let before = rate_before.map_or_else(String::new, |before| format!(", {before:.1} before"));
    let key = printable::escaped(key);
    let mut text = format!(
        "# {} {key}: {rate:.1} {method} a second{before}. It would have stopped {stops} requests.\n",
        by.name()
    );
    if hurts.is_empty() {
        text.push_str("# None of them came from a source in one of the policy's sets.\n");
    }
    for (set, estimate) in hurts {
        let _ = writeln!(text, "# It would hurt @{}: {estimate} of them.", printable::escaped(set));
    }
    if *by != crate::telemetry::TopBy::Called && !called.is_empty() {
        let called: Vec<String> = called.iter().map(|(number, estimate)| format!("{number} ({estimate})")).collect();
        let _ = writeln!(text, "# Called: {}", called.join(", "));
    }
    text
}
