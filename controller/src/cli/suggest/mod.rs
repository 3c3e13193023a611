//! `ringfence suggest`: rules that would stop what has grown in the last minutes.

mod against;

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use super::{EXIT_NO, Place, SAMPLING_OFF, print};
use crate::telemetry::{Suggestion, Suggestions};
use filter_policy::language::{printable, quantity};

/// The longest window, in seconds: what came before it must still be there to compare with.
const LONGEST: u64 = 300;

/// Suggest rules that would stop what has grown in the last minutes, and say whom each would hurt
///
/// It looks at the requests that passed: at sources, prefixes, user agents and called numbers that send or get many times as much as before, or as
/// others do. Each suggestion is a rule to paste into policy.toml, with what it would have stopped, and how much of that came from sources in the policy's
/// sets. Nothing is enforced by itself; `mode = "report"` in a rule shows first what it would drop. With --against, each is also judged by the packets
/// of a capture.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Exit status:
  0  there are suggestions
  1  nothing has grown, or the policy has errors
  2  bad usage
  3  no daemon answers

Examples:
  ringfence suggest
  ringfence suggest --last 10s
  ringfence suggest --against yesterday.pcap --policy policies
  ringfence suggest --json")]
pub struct SuggestArgs {
    /// How far back, at most 5m
    #[arg(long, value_name = "TIME", value_parser = window, default_value = "1m")]
    pub last: u64,
    /// Also say what each rule would have dropped in this capture: pcap or pcapng, which may be compressed
    #[arg(long, value_name = "CAPTURE", requires = "policy")]
    pub against: Option<PathBuf>,
    /// The policy repository to which the rules would be added, for --against
    #[arg(long, value_name = "DIR", requires = "against")]
    pub policy: Option<PathBuf>,
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
    let found = match (&args.against, &args.policy) {
        (Some(capture), Some(policy)) => match against::judge(&suggestions.rules, capture, policy)? {
            Ok(found) => Some((capture.as_path(), found)),
            Err(code) => return Ok(code),
        },
        _ => None,
    };
    let found = found.as_ref().map(|(capture, found)| (*capture, found));
    print(&if args.json { json(&suggestions, found)? } else { render(&suggestions, found) })?;
    Ok(if suggestions.rules.is_empty() { ExitCode::from(EXIT_NO) } else { ExitCode::SUCCESS })
}

/// The suggestions as one JSON object. Each has what was found in a capture, if there is one.
fn json(suggestions: &Suggestions, found: Option<(&Path, &against::Found)>) -> anyhow::Result<String> {
    let mut json = serde_json::to_value(suggestions)?;
    if let Some((_, found)) = found {
        for (rule, dropped) in json["rules"].as_array_mut().into_iter().flatten().zip(&found.dropped) {
            rule["against"] = serde_json::to_value(dropped)?;
        }
    }
    Ok(printable::json_line(&json) + "\n")
}

/// The suggestions as comments and rules: the whole output can be pasted.
fn render(suggestions: &Suggestions, found: Option<(&Path, &against::Found)>) -> String {
    if suggestions.sampling_off {
        return format!("# {SAMPLING_OFF}\n");
    }
    let seconds = quantity::duration_text(suggestions.window_seconds.round() as u64);
    let mut text = format!("# {} requests passed in the last {seconds}", suggestions.passed);
    if suggestions.rules.is_empty() {
        text.push_str("; no source, prefix, user agent or called number has grown\n");
        return text;
    }
    text.push('\n');
    for (index, suggestion) in suggestions.rules.iter().enumerate() {
        let _ = write!(text, "\n{}", about(suggestion));
        if let Some((capture, found)) = found
            && let Some(dropped) = found.dropped.get(index)
        {
            let (capture, packets) = (printable::path(capture), dropped.packets);
            let _ = write!(text, "# In {capture} it would have dropped {packets} of {} packets", found.packets);
            for (set, packets) in &dropped.hurts {
                let _ = write!(text, ", {packets} of them from @{}", printable::escaped(set));
            }
            text.push_str(".\n");
        }
        text.push_str(&suggestion.rule);
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
        let set = printable::escaped(set);
        let set = if set.contains(' ') { set } else { format!("@{set}") };
        let _ = writeln!(text, "# It would hurt {set}: {estimate} of them.");
    }
    if *by != crate::telemetry::TopBy::Called && !called.is_empty() {
        let called: Vec<String> = called.iter().map(|(number, estimate)| format!("{number} ({estimate})")).collect();
        let _ = writeln!(text, "# Called: {}", called.join(", "));
    }
    text
}
