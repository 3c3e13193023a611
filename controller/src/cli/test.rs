//! `ringfence test`: runs a policy repository's own test cases.

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::Context as _;
use filter_core::layout::Transport;
use jiff::Timestamp;
use serde_json::json;

use super::{EXIT_NO, EXIT_USAGE, enforced_policy, signalling_port};
use filter_policy::{
    Built,
    cases::{self, PreparedCase},
    engine::{Endpoints, Engine, datagram},
    language::printable,
};

/// Run the policy repository's own test cases, tests/*.toml
///
/// Each case is a message, or a few fields to make one from, and the expected verdict.
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
        Err(errors) => {
            for error in errors {
                eprintln!("ringfence: {error}");
            }
            return Ok(ExitCode::from(EXIT_USAGE));
        }
    };
    if cases.is_empty() {
        // CI must not pass because there is nothing to test.
        eprintln!("ringfence: {} has no test cases in tests/*.toml", printable::path(&args.directory));
        return Ok(ExitCode::from(EXIT_USAGE));
    }
    let cases: Vec<&PreparedCase> =
        cases.iter().filter(|case| args.only.as_ref().is_none_or(|only| case.case.name.contains(only))).collect();
    if cases.is_empty() {
        eprintln!("ringfence: no test case has {:?} in its name", args.only.unwrap_or_default());
        return Ok(ExitCode::from(EXIT_USAGE));
    }
    let mut tried = Vec::with_capacity(cases.len());
    for case in cases {
        match signalling_port(&built.policy, Transport::Udp, case.case.port) {
            Ok(port) => tried.push((case, port)),
            Err(error) => {
                eprintln!("ringfence: {}: case {:?}: {error}", printable::path(&case.file), case.case.name);
                return Ok(ExitCode::from(EXIT_USAGE));
            }
        }
    }
    let mut output = io::stdout().lock();
    let mut failed = 0;
    for (case, port) in &tried {
        let outcome = decide(&built, case, *port);
        let complaint = complaint(case, &outcome);
        failed += u64::from(complaint.is_some());
        let written = if args.json {
            let object = json!({
                "case": case.case.name,
                "file": case.file.display().to_string(),
                "passed": complaint.is_none(),
                "verdict": outcome.verdict,
                "reason": outcome.reason,
                "rule": outcome.rule,
                "would": outcome.would,
                "message": complaint,
            });
            writeln!(output, "{}", printable::json_line(&object))
        } else {
            match &complaint {
                None => writeln!(output, "ok      {}", printable::escaped(&case.case.name)),
                Some(complaint) => {
                    writeln!(
                        output,
                        "FAILED  {} ({}): {complaint}",
                        printable::escaped(&case.case.name),
                        printable::path(&case.file)
                    )
                }
            }
        };
        written.context("failed to write the result")?;
    }
    let passed = tried.len() as u64 - failed;
    if args.json {
        writeln!(output, "{}", json!({ "passed": passed, "failed": failed }))?;
    } else {
        writeln!(output, "{passed} passed, {failed} failed")?;
    }
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::from(EXIT_NO) })
}

/// Runs a case with a fresh engine.
fn decide(built: &Built, case: &PreparedCase, port: u16) -> Outcome {
    let packet = datagram(&Endpoints::from_source(case.case.source, port), &case.payload);
    let mut engine = Engine::new(&built.image);
    engine.set_clock(case.at.unwrap_or_else(Timestamp::now));
    let decision = engine.decide(&packet);
    let name = |rule: &usize| built.image.rule_names.get(*rule).cloned().unwrap_or_default();
    Outcome {
        verdict: decision.reason.verdict_name(),
        reason: decision.reason.name(),
        rule: decision.rule.as_ref().map(name),
        would: decision.would.iter().map(name).collect(),
    }
}

/// What is not as expected.
fn complaint(case: &PreparedCase, outcome: &Outcome) -> Option<String> {
    let expect = &case.case.expect;
    let rule = outcome.rule.as_deref();
    let by = rule.map_or_else(|| outcome.reason.to_owned(), |rule| format!("rule {rule}"));
    if expect.verdict != outcome.verdict {
        return Some(format!("expected {}, but got {} by {by}", expect.verdict, outcome.verdict));
    }
    if let Some(expected) = &expect.rule
        && rule.unwrap_or_default() != expected
    {
        let expected = if expected.is_empty() { "no rule".to_owned() } else { format!("rule {expected}") };
        return Some(format!("expected {} by {expected}, but got it by {by}", expect.verdict));
    }
    if let Some(expected) = &expect.would
        && outcome.would != *expected
    {
        return Some(format!("expected report-mode rules {expected:?} to match, but these do: {:?}", outcome.would));
    }
    None
}
