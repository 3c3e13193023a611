//! `ringfence test`: runs a policy repository's own test cases.

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use filter_core::layout::Transport;
use jiff::Timestamp;
use serde_json::json;

use super::{EXIT_NO, EXIT_USAGE, enforced_policy, shown_diagnostics, signalling_port, unless_closed};
use filter_policy::{
    Built,
    cases::{self, Arrival, Expectation, LONGEST_AGO, PreparedCase},
    engine::{Endpoints, Engine, datagram},
    language::printable,
};

/// Run the policy repository's own test cases, tests/*.toml
///
/// Each case is a message, or a few fields to make one from, and the expected verdict. Messages may come before it, and its source may be
/// banned.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Exit status:
  0  every case passes
  1  a case fails, or the policy has errors
  2  the cases cannot be read, or there are none

Examples:
  ringfence test policies
  ringfence test --only emergency policies")]
pub struct TestArgs {
    /// The policy repository
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
    /// Run only cases whose name contains this text
    #[arg(long, value_name = "TEXT")]
    pub only: Option<String>,
    /// Print JSON, one object per case; the last one has the totals
    #[arg(long)]
    pub json: bool,
}

/// The outcome of a case.
struct Outcome {
    verdict: &'static str,
    reason: &'static str,
    rule: Option<String>,
    would: Vec<String>,
    /// The rules that match in everything but their rate.
    within_rate: Vec<String>,
    /// The rule whose ban dropped the message.
    banned_by: Option<String>,
}

/// Runs `ringfence test`.
///
/// # Errors
/// There is no such directory, or the result cannot be written.
pub fn run(args: TestArgs) -> anyhow::Result<ExitCode> {
    let built = match enforced_policy(Some(&args.directory), args.json)? {
        Ok((built, _)) => built,
        Err(code) => return Ok(code),
    };
    let cases = match cases::read(&args.directory) {
        Ok(cases) => cases,
        Err(diagnostics) => {
            shown_diagnostics(&diagnostics, Some(&args.directory), args.json);
            return Ok(ExitCode::from(EXIT_USAGE));
        }
    };
    if cases.is_empty() {
        // CI must not pass because there is nothing to test.
        eprintln!("ringfence: {} has no test cases in tests/*.toml", printable::path(&args.directory));
        return Ok(ExitCode::from(EXIT_USAGE));
    }
    let cases: Vec<&PreparedCase> =
        cases.iter().filter(|case| args.only.as_ref().is_none_or(|only| case.name.contains(only))).collect();
    if cases.is_empty() {
        eprintln!("ringfence: no test case has {:?} in its name", args.only.unwrap_or_default());
        return Ok(ExitCode::from(EXIT_USAGE));
    }
    let mut tried = Vec::with_capacity(cases.len());
    for case in cases {
        match packets(&built, case) {
            Ok(packets) => tried.push((case, packets)),
            Err(error) => {
                eprintln!("ringfence: {}:{}: case {:?}: {error}", printable::path(&case.file), case.line, case.name);
                return Ok(ExitCode::from(EXIT_USAGE));
            }
        }
    }
    let mut output = io::stdout().lock();
    let mut failed = 0;
    for (case, packets) in &tried {
        let outcome = decide(&built, case, packets);
        let complaint = complaint(&built, case, &outcome);
        failed += u64::from(complaint.is_some());
        let written = if args.json {
            let object = json!({
                "case": case.name,
                "file": case.file.display().to_string(),
                "line": case.line,
                "passed": complaint.is_none(),
                "verdict": outcome.verdict,
                "reason": outcome.reason,
                "rule": outcome.rule,
                "would": outcome.would,
                "within_rate": outcome.within_rate,
                "banned_by": outcome.banned_by,
                "message": complaint,
            });
            writeln!(output, "{}", printable::json_line(&object))
        } else {
            match &complaint {
                None => writeln!(output, "ok      {}", printable::escaped(&case.name)),
                Some(complaint) => {
                    writeln!(
                        output,
                        "FAILED  {} ({}:{}): {complaint}",
                        printable::escaped(&case.name),
                        printable::path(&case.file),
                        case.line
                    )
                }
            }
        };
        unless_closed(written).context("failed to write the result")?;
    }
    let passed = tried.len() as u64 - failed;
    let written = if args.json {
        writeln!(output, "{}", json!({ "passed": passed, "failed": failed }))
    } else {
        writeln!(output, "{passed} passed, {failed} failed")
    };
    unless_closed(written).context("failed to write the result")?;
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::from(EXIT_NO) })
}

/// A packet, and how long before the last one it arrives, in nanoseconds.
struct Packet {
    ago: u64,
    bytes: Arc<Vec<u8>>,
}

/// The packets of a case, in the order in which they arrive.
fn packets(built: &Built, case: &PreparedCase) -> Result<Vec<Packet>, String> {
    let mut packets: Vec<Packet> = Vec::with_capacity(case.arrivals.len());
    let mut last: Option<&Arrival> = None;
    for arrival in &case.arrivals {
        let bytes = match (last, packets.last()) {
            // Thousands of equal messages are one in memory.
            (Some(last), Some(packet)) if Arrival { ago: arrival.ago, ..last.clone() } == *arrival => {
                Arc::clone(&packet.bytes)
            }
            _ => {
                let port = signalling_port(&built.policy, Transport::Udp, arrival.port)?;
                let endpoints = Endpoints::from_source(arrival.source, port);
                Arc::new(datagram(&endpoints, &case.payloads[arrival.payload]))
            }
        };
        packets.push(Packet { ago: arrival.ago, bytes });
        last = Some(arrival);
    }
    Ok(packets)
}

/// Runs a case with a fresh engine.
fn decide(built: &Built, case: &PreparedCase, packets: &[Packet]) -> Outcome {
    let mut engine = Engine::new(&built.image);
    if let Some(source) = case.source().filter(|_| case.banned) {
        engine.ban(source);
    }
    let at = case.at.unwrap_or_else(Timestamp::now);
    let mut decision = None;
    let mut clock = None;
    for Packet { ago, bytes } in packets {
        let now = at.checked_sub(Duration::from_nanos(*ago)).unwrap_or(at);
        // The hours of rules are in minutes.
        if clock.replace(now.as_second() / 60) != Some(now.as_second() / 60) {
            engine.set_clock(now);
        }
        engine.set_time(2 * LONGEST_AGO - ago);
        decision = Some(engine.decide(bytes));
    }
    let name = |rule: usize| built.image.rule_names.get(rule).cloned().unwrap_or_default();
    let decision = decision.expect("a case has a message");
    Outcome {
        verdict: decision.reason.verdict_name(),
        reason: decision.reason.name(),
        rule: decision.rule.map(name),
        would: decision.would.iter().copied().map(name).collect(),
        within_rate: engine.within_rate().into_iter().map(name).collect(),
        banned_by: engine.banned_by().map(name),
    }
}

/// What is not as expected, and why that may be.
fn complaint(built: &Built, case: &PreparedCase, outcome: &Outcome) -> Option<String> {
    let expect = &case.expect;
    let rule = outcome.rule.as_deref();
    let by = match (rule, &outcome.banned_by) {
        (Some(rule), _) => format!("rule {rule}"),
        (None, Some(banned_by)) => format!("a ban that an earlier message earned from rule {banned_by}"),
        (None, None) => outcome.reason.to_owned(),
    };
    let difference = if expect.verdict != outcome.verdict {
        format!("expected {}, but got {} by {by}", expect.verdict, outcome.verdict)
    } else if let Some(expected) = expect.rule.as_deref().filter(|expected| rule.unwrap_or_default() != *expected) {
        let expected = if expected.is_empty() { "no rule".to_owned() } else { format!("rule {expected}") };
        format!("expected {} by {expected}, but got it by {by}", expect.verdict)
    } else if let Some(expected) = expect.reason.as_deref().filter(|expected| outcome.reason != *expected) {
        format!("expected {} because of {expected}, but got it because of {}", expect.verdict, outcome.reason)
    } else if let Some(expected) = expect.would.as_ref().filter(|expected| outcome.would != **expected) {
        format!("expected report-mode rules {expected:?} to match, but these do: {:?}", outcome.would)
    } else {
        return None;
    };
    Some(difference + &remarks(built, expect, outcome))
}

/// What else a failed case may be about: a rule that does not exist, or one whose rate is not exceeded.
fn remarks(built: &Built, expect: &Expectation, outcome: &Outcome) -> String {
    let mut text = String::new();
    let named = expect.rule.iter().chain(expect.would.iter().flatten()).filter(|name| !name.is_empty());
    for name in named.filter(|name| !built.image.rule_names.contains(name)) {
        text.push_str(&format!("; the policy has no rule {name}"));
    }
    for name in &outcome.within_rate {
        let rule = built.policy.rules.iter().find(|rule| rule.name == *name);
        let Some(over) = rule.and_then(|rule| rule.over.as_ref()) else { continue };
        text.push_str(&format!(
            "; rule {name} matches, but its rate is not exceeded ({over}): `before = [{{ count = {} }}]` exceeds it",
            over.burst
        ));
    }
    text
}
