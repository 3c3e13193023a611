//! `ringfence explain`: the verdict for one message, rule by rule.

use std::{
    borrow::Cow,
    fs,
    io::{self, Write},
    net::IpAddr,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use filter_core::{layout::Transport, reason::Reason, scratch::Kind};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{EXIT_USAGE, enforced_policy, signalling_port, unless_closed};
use filter_policy::{
    Built, capture,
    engine::{self, Endpoints, Engine, Explainer, Facts, datagram, decision_json, inspection, segment},
    image::Image,
    language::{printable, quantity},
    model::{Condition, Policy},
};

/// Explain the verdict for one message: each rule in order, which of its conditions held and which did not
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Exit status:
  0  the verdict was printed, whatever it is
  1  the policy has errors
  2  the file cannot be read, or is not one message

Examples:
  ringfence explain --policy policies --source 203.0.113.9 invite.sip
  ringfence explain --policy policies --at 2026-11-27T18:30:00-05:00 invite.sip
  ringfence explain --policy policies --transport tcp --after invite.sip bye.sip
  ringfence explain --policy policies --json - < invite.sip")]
pub struct ExplainArgs {
    /// A file with one message, exactly the payload of one packet; - for standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The policy repository; the sample policy if not given
    #[arg(long, value_name = "DIR")]
    pub policy: Option<PathBuf>,
    /// The source address that the message comes from
    #[arg(long, value_name = "ADDR", default_value = "192.0.2.1")]
    pub source: IpAddr,
    /// The signalling port it is sent to; the policy's first one if not given
    #[arg(long, value_name = "PORT")]
    pub port: Option<u16>,
    /// When it arrives, such as 2026-11-27T18:30:00-05:00, for rules with hours; now if not given
    #[arg(long, value_name = "TIME")]
    pub at: Option<Timestamp>,
    /// The transport: over tcp, the messages of --after and then this one are sent on one new connection, a segment each
    #[arg(long, value_name = "TRANSPORT", default_value = "udp", value_parser = transport)]
    pub transport: Transport,
    /// A message that the same source sent before: it may have earned a ban, ended the connection, or used up a rate; can be
    /// given several times, in order
    #[arg(long, value_name = "FILE")]
    pub after: Vec<PathBuf>,
    /// The source is banned
    #[arg(long)]
    pub banned: bool,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Runs `ringfence explain`.
///
/// # Errors
/// The file cannot be read, or the policy has errors.
pub fn run(args: ExplainArgs) -> anyhow::Result<ExitCode> {
    let (built, report) = match enforced_policy(args.policy.as_deref(), args.json)? {
        Ok(built) => built,
        Err(code) => return Ok(code),
    };
    let message = read_message(&args.file)?;
    let name = args.file.display().to_string();
    let port = match signalling_port(&built.policy, args.transport, args.port) {
        Ok(port) => port,
        Err(error) => {
            eprintln!("ringfence: {error}");
            return Ok(ExitCode::from(EXIT_USAGE));
        }
    };
    let endpoints = Endpoints::from_source(args.source, port);
    let earlier = args.after.iter().map(|file| read_message(file)).collect::<anyhow::Result<Vec<_>>>()?;
    let (before, packet) = if args.transport == Transport::Tcp {
        let mut before = vec![segment(&endpoints, 0, b"")];
        // The opening segment takes one number (RFC 9293 section 3.4).
        let mut sequence = 1;
        for message in &earlier {
            before.push(segment(&endpoints, sequence, message));
            sequence += message.len() as u32;
        }
        (before, segment(&endpoints, sequence, &message))
    } else {
        (earlier.iter().map(|message| datagram(&endpoints, message)).collect(), datagram(&endpoints, &message))
    };
    let situation = Situation {
        at: args.at.unwrap_or_else(Timestamp::now),
        banned: args.banned.then_some(args.source),
        before,
        service: (port, args.transport),
    };
    let explanation = Explanation { report, ..explain(&built, &packet, &situation)? };
    let is_foreign = explanation.is_foreign;
    let mut output = io::stdout().lock();
    let written = if args.json { write_json(&mut output, explanation) } else { write_tree(&mut output, &explanation) };
    unless_closed(written).context("failed to write the result")?;
    // A segment that follows others may be the rest of a message.
    let may_be_rest = args.transport == Transport::Tcp && !args.after.is_empty();
    if is_foreign && !may_be_rest {
        capture::check_text(&name, &message)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A transport whose payload can be given.
fn transport(text: &str) -> Result<Transport, String> {
    match text {
        "udp" => Ok(Transport::Udp),
        "tcp" => Ok(Transport::Tcp),
        _ => Err("use udp or tcp".to_owned()),
    }
}

fn read_message(file: &Path) -> anyhow::Result<Vec<u8>> {
    let message = if file.as_os_str() == "-" {
        let mut message = Vec::new();
        io::Read::read_to_end(&mut io::stdin().lock(), &mut message).context("failed to read standard input")?;
        message
    } else {
        fs::read(file).with_context(|| format!("failed to read {}", file.display()))?
    };
    capture::check_message(&file.display().to_string(), &message)?;
    if message.len() > engine::MAX_DATAGRAM {
        anyhow::bail!("{} is larger than a packet can be, {} bytes", file.display(), engine::MAX_DATAGRAM);
    }
    Ok(message)
}

/// In what circumstances a packet arrives.
struct Situation {
    at: Timestamp,
    banned: Option<IpAddr>,
    /// The packets that came before it.
    before: Vec<Vec<u8>>,
    service: (u16, Transport),
}

/// Why a message got its verdict.
struct Explanation {
    verdict: &'static str,
    reason: &'static str,
    /// Name of the rule that decided; none if none did.
    rule: Option<String>,
    /// The verdict and the scopes, as `replay --json` prints them.
    head: Map<String, Value>,
    rules: Vec<ExplainedRule>,
    /// True if the payload is not SIP.
    is_foreign: bool,
    /// What bans have to do with it, in words.
    ban: Option<String>,
    /// The rule whose ban dropped the message.
    banned_by: Option<String>,
    /// True if the policy is in report mode as a whole: this is the verdict once it is enforced.
    report: bool,
}

/// A rule, and what happened to it.
#[derive(Serialize)]
struct ExplainedRule {
    rule: String,
    action: &'static str,
    stage: String,
    mode: &'static str,
    outcome: Outcome,
    /// The pinhole because of which it was skipped.
    skipped_by: Option<String>,
    /// The rule's rate, if it matches all else.
    rate: Option<String>,
    conditions: Vec<ExplainedCondition>,
    line: u32,
}

/// A condition of a rule, and whether it holds.
#[derive(Serialize)]
struct ExplainedCondition {
    scope: Cow<'static, str>,
    negated: bool,
    holds: bool,
    /// The value that was read.
    value: Option<String>,
    /// The set, entry, file and line that matched.
    set: Option<String>,
    entry: Option<String>,
    file: Option<String>,
    line: Option<u32>,
}

/// What happened to a rule in the walk.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
enum Outcome {
    #[serde(rename = "decided")]
    Decided,
    #[serde(rename = "matched")]
    Matched,
    #[serde(rename = "no match")]
    NoMatch,
    #[serde(rename = "not reached")]
    NotReached,
    #[serde(rename = "off at this time")]
    Off,
    #[serde(rename = "rate not exceeded")]
    RateNotExceeded,
    #[serde(rename = "skipped")]
    Skipped,
    #[serde(rename = "would")]
    Would,
}

impl Outcome {
    fn name(self) -> &'static str {
        match self {
            Self::Decided => "decided",
            Self::Matched => "matched",
            Self::NoMatch => "no match",
            Self::NotReached => "not reached",
            Self::Off => "off at this time",
            Self::RateNotExceeded => "rate not exceeded",
            Self::Skipped => "skipped",
            Self::Would => "would",
        }
    }
}

fn explain(built: &Built, packet: &[u8], situation: &Situation) -> anyhow::Result<Explanation> {
    let &Situation { at, banned, ref before, service } = situation;
    let Built { policy, image, .. } = built;
    let explainer = Explainer::new(policy).map_err(|errors| {
        let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
        anyhow::anyhow!("a condition cannot be compiled by itself: {}", errors.join("; "))
    })?;
    let mut engine = Engine::new(image);
    engine.set_clock(at);
    if let Some(source) = banned {
        engine.ban(source);
    }
    let decision = engine.decide_after(before, packet);
    let within_rate = engine.within_rate();
    let banned_by = engine.banned_by().map(|rule| policy.rules[rule].name.clone());
    let ban = ban(policy, &decision, engine.has_banned(), banned_by.as_deref());
    // A rule without conditions on the message decides before the message is read. Show what is in it anyway.
    let readable = inspection(image.clone(), &[service]);
    let mut reader = Engine::new(&readable);
    reader.decide_after(before, packet);
    let holds = explainer.conditions(policy, before, packet);
    let facts = Facts::new(policy);
    let explained = |condition: &Condition, holds: bool| {
        // A list's entry explains why a condition held, or why its negation did not.
        let entry = engine::entry(condition, reader.scratch(), &facts).filter(|_| holds != condition.negated);
        ExplainedCondition {
            scope: policy.scope_name(condition.scope),
            negated: condition.negated,
            holds,
            value: engine::value(condition, reader.scratch(), &facts),
            file: entry.as_ref().map(|entry| entry.origin.file.display().to_string()),
            line: entry.as_ref().map(|entry| entry.origin.line),
            set: entry.as_ref().and_then(|entry| entry.set.clone()),
            entry: entry.map(|entry| entry.text),
        }
    };
    let rules = policy.rules.iter().zip(&holds).enumerate().map(|(index, (rule, holds))| {
        let is_on = image.timetable.is_on(index, at);
        let outcome = if within_rate.contains(&index) {
            Outcome::RateNotExceeded
        } else if is_on {
            outcome(&decision, holds, index)
        } else {
            Outcome::Off
        };
        let pinhole = if outcome == Outcome::Skipped { pinhole(image, &decision, index) } else { None };
        let conditions = rule.conditions.iter().zip(holds);
        ExplainedRule {
            rule: rule.name.clone(),
            action: rule.action.name(),
            stage: rule.stage.name().to_owned(),
            mode: if rule.report { "report" } else { "enforce" },
            outcome,
            skipped_by: pinhole.map(|pinhole| policy.rules[pinhole].name.clone()),
            rate: rule.over.as_ref().filter(|_| outcome == Outcome::RateNotExceeded).map(ToString::to_string),
            conditions: conditions.map(|(condition, &holds)| explained(condition, holds)).collect(),
            line: rule.origin.line,
        }
    });
    Ok(Explanation {
        verdict: decision.reason.verdict_name(),
        reason: decision.reason.name(),
        rule: decision.rule.and_then(|rule| image.rule_names.get(rule)).cloned(),
        rules: rules.collect(),
        report: false,
        ban,
        banned_by,
        is_foreign: reader.reading().kind() == Kind::NotSip.name(),
        head: decision_json(policy, image, &facts, &decision, &reader.reading()),
    })
}

/// What bans have to do with the verdict, in words.
fn ban(policy: &Policy, decision: &engine::Decision, is_new: bool, banned_by: Option<&str>) -> Option<String> {
    if decision.reason == Reason::Banned {
        return Some(match banned_by {
            Some(rule) => {
                format!("an earlier message earned the source a ban, by the rule {rule}: other rules are not asked")
            }
            None => "the source is banned: rules are not asked".to_owned(),
        });
    }
    let rule = decision.rule.filter(|_| decision.reason == Reason::RuleBan)?;
    Some(match policy.rules[rule].action.ban_time() {
        Some(seconds) if is_new => format!(
            "the source is banned for {} from here on: all that it sends is dropped (`--after` shows it)",
            quantity::duration_text(seconds.into())
        ),
        _ => "the source is in never_ban: only this message is dropped".to_owned(),
    })
}

fn outcome(decision: &engine::Decision, holds: &[bool], index: usize) -> Outcome {
    if decision.rule == Some(index) {
        return Outcome::Decided;
    }
    if decision.matched.contains(&index) {
        return if decision.would.contains(&index) { Outcome::Would } else { Outcome::Matched };
    }
    // A ban and a dropped connection end the walk after the rules about addresses.
    let is_remembered = matches!(decision.reason, Reason::Banned | Reason::FlowOfDropped);
    if is_remembered || decision.rule.is_some_and(|decided| decided < index) {
        return Outcome::NotReached;
    }
    if !holds.iter().all(|&holds| holds) {
        return Outcome::NoMatch;
    }
    // All conditions hold, but it was not asked: an earlier pinhole ended its stage.
    Outcome::Skipped
}

/// The pinhole that made the walk skip a rule.
fn pinhole(image: &Image, decision: &engine::Decision, index: usize) -> Option<usize> {
    let skips = |&rule: &usize| rule < index && image.rules[rule].after[index / 64] >> (index % 64) & 1 == 0;
    decision.matched.iter().copied().find(skips)
}

/// The explanation as one JSON object.
fn write_json(output: &mut dyn Write, mut explanation: Explanation) -> io::Result<()> {
    let rules = serde_json::to_value(&explanation.rules)?;
    explanation.head.insert("report".to_owned(), explanation.report.into());
    explanation.head.insert("ban".to_owned(), explanation.ban.into());
    explanation.head.insert("banned_by".to_owned(), explanation.banned_by.into());
    explanation.head.insert("rules".to_owned(), rules);
    writeln!(output, "{}", printable::json_line(&explanation.head))
}

/// The explanation as a tree.
fn write_tree(output: &mut dyn Write, explanation: &Explanation) -> io::Result<()> {
    let Explanation { verdict, reason, rule, rules, report, ban, .. } = explanation;
    let by = rule.as_ref().map_or_else(String::new, |rule| format!(": {rule}"));
    writeln!(output, "{verdict} ({reason}{by})")?;
    if *report {
        writeln!(output, "the policy is in report mode as a whole: this is its verdict once it is enforced")?;
    }
    if let Some(ban) = ban {
        writeln!(output, "{ban}")?;
    }
    for ExplainedRule { rule, action, mode, outcome, skipped_by, rate, conditions, .. } in rules {
        let mark = match outcome {
            Outcome::Decided => "=>",
            Outcome::Would | Outcome::Matched => " *",
            Outcome::NoMatch | Outcome::NotReached | Outcome::Off | Outcome::RateNotExceeded | Outcome::Skipped => "  ",
        };
        let mode = if *mode == "report" { ", report" } else { "" };
        let by = skipped_by.as_ref().map_or_else(String::new, |pinhole| format!(" by {pinhole}"));
        let rate =
            rate.as_ref().map_or_else(String::new, |rate| format!(" ({rate}; `--after` gives earlier messages)"));
        writeln!(output, "{mark} {rule} ({action}{mode}): {}{by}{rate}", outcome.name())?;
        for (index, condition) in conditions.iter().enumerate() {
            let branch = if index + 1 == conditions.len() { "`-" } else { "|-" };
            let holds = if condition.holds { "yes" } else { "no " };
            let not = if condition.negated { "not " } else { "" };
            let value = condition.value.as_deref().map_or_else(|| "(none)".to_owned(), quoted);
            write!(output, "   {branch} {holds} {not}{}: {value}", condition.scope)?;
            if let (Some(entry), Some(file), Some(line)) = (&condition.entry, &condition.file, condition.line) {
                let set = condition.set.as_ref().map_or_else(String::new, |set| format!("@{set} "));
                write!(output, "  matches {} in {set}{}:{line}", quoted(entry), printable::escaped(file))?;
            }
            writeln!(output)?;
        }
    }
    Ok(())
}

fn quoted(value: &str) -> String {
    if value.is_empty() { "(empty)".to_owned() } else { printable::escaped(value) }
}
