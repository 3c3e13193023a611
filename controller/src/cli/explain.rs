//! `ringfence explain`: the verdict for one message, rule by rule.

use std::{
    fs,
    io::{self, Write},
    net::IpAddr,
    path::PathBuf,
    process::ExitCode,
};

use anyhow::Context as _;
use filter_core::layout::Transport;
use serde_json::{Value, json};

use super::{EXIT_USAGE, policy_or_sample, printable, udp_port};
use filter_policy::{
    Built,
    engine::{self, Endpoints, Engine, Explainer, Facts, datagram, decision_json, inspection},
    image::Image,
    model::Policy,
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
  ringfence explain --policy policies --json - < invite.sip")]
pub struct ExplainArgs {
    /// A file with one message, exactly as one UDP payload; - for standard input
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
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Runs it.
///
/// # Errors
/// The file cannot be read, or the policy has errors.
pub fn run(args: ExplainArgs) -> anyhow::Result<ExitCode> {
    let built = match policy_or_sample(args.policy.as_deref(), args.json)? {
        Ok(built) => built,
        Err(code) => return Ok(code),
    };
    let message = if args.file.as_os_str() == "-" {
        let mut message = Vec::new();
        io::Read::read_to_end(&mut io::stdin().lock(), &mut message).context("failed to read standard input")?;
        message
    } else {
        fs::read(&args.file).with_context(|| format!("failed to read {}", args.file.display()))?
    };
    if message.len() > engine::MAX_DATAGRAM {
        anyhow::bail!("{} is larger than a UDP datagram, {} bytes", args.file.display(), engine::MAX_DATAGRAM);
    }
    let port = match udp_port(&built.policy, args.port) {
        Ok(port) => port,
        Err(error) => {
            eprintln!("ringfence: {error}");
            return Ok(ExitCode::from(EXIT_USAGE));
        }
    };
    let packet = datagram(&Endpoints::from_source(args.source, port), &message);
    let explanation = explain(&built, &packet, port)?;
    let mut output = io::stdout().lock();
    let written = if args.json { writeln!(output, "{explanation}") } else { write_tree(&mut output, &explanation) };
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error).context("failed to write the result"),
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// The explanation as the object that `--json` prints.
fn explain(built: &Built, packet: &[u8], port: u16) -> anyhow::Result<Value> {
    let Built { policy, image, .. } = built;
    let explainer = Explainer::new(policy).map_err(|errors| {
        let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
        anyhow::anyhow!("a condition cannot be compiled by itself: {}", errors.join("; "))
    })?;
    let mut engine = Engine::new(image);
    let decision = engine.decide(packet);
    // A rule without a condition on the message decides before it is read; the reading is shown all the same.
    let readable = inspection(image, &[(port, Transport::Udp)]);
    let mut reader = Engine::new(&readable);
    reader.decide(packet);
    let holds = explainer.conditions(policy, packet);
    let facts = Facts::new(policy);
    let mut object = decision_json(policy, image, &facts, &decision, &reader.reading());
    let rules: Vec<Value> = policy
        .rules
        .iter()
        .enumerate()
        .map(|(index, rule)| {
            let conditions: Vec<Value> = rule
                .conditions
                .iter()
                .zip(&holds[index])
                .map(|(condition, &holds)| {
                    // A list's entry explains why a condition held, or why its negation did not.
                    let entry = engine::entry(condition, reader.scratch()).filter(|_| holds != condition.negated);
                    json!({
                        "scope": condition.test.scope().name(),
                        "negated": condition.negated,
                        "holds": holds,
                        "value": engine::value(&condition.test, reader.scratch(), &facts),
                        "set": entry.as_ref().and_then(|entry| entry.set.clone()),
                        "entry": entry.as_ref().map(|entry| entry.text.clone()),
                        "file": entry.as_ref().map(|entry| entry.origin.file.display().to_string()),
                        "line": entry.as_ref().map(|entry| entry.origin.line),
                    })
                })
                .collect();
            let outcome = outcome(policy, &decision, &holds, index);
            let pinhole = (outcome == "skipped").then(|| pinhole(image, &decision, index)).flatten();
            json!({
                "rule": rule.name,
                "action": rule.action.name(),
                "stage": rule.stage,
                "mode": if rule.report { "report" } else { "enforce" },
                "outcome": outcome,
                "skipped_by": pinhole.map(|pinhole| &policy.rules[pinhole].name),
                "conditions": conditions,
                "line": rule.origin.line,
            })
        })
        .collect();
    object.insert("rules".to_owned(), rules.into());
    Ok(Value::Object(object))
}

/// What became of a rule in the walk.
fn outcome(policy: &Policy, decision: &engine::Decision, holds: &[Vec<bool>], index: usize) -> &'static str {
    if decision.rule == Some(index) {
        return "decided";
    }
    if decision.matched.contains(&index) {
        return if policy.rules[index].report { "would" } else { "matched" };
    }
    if decision.rule.is_some_and(|decided| decided < index) {
        return "not reached";
    }
    match holds.get(index) {
        // All conditions hold, and yet it did not act: a pinhole before it ended its stage, or its rate was not exceeded.
        Some(conditions) if conditions.iter().all(|&holds| holds) => {
            if policy.rules[index].over.is_some() {
                "rate not exceeded"
            } else {
                "skipped"
            }
        }
        _ => "no match",
    }
}

/// The pinhole that kept a rule from being looked at.
fn pinhole(image: &Image, decision: &engine::Decision, index: usize) -> Option<usize> {
    let skips = |&rule: &usize| rule < index && image.rules[rule].after[index / 64] >> (index % 64) & 1 == 0;
    decision.matched.iter().copied().find(skips)
}

/// The explanation as a tree.
fn write_tree(output: &mut dyn Write, explanation: &Value) -> io::Result<()> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    write!(output, "{} ({}", text(&explanation["verdict"]), text(&explanation["reason"]))?;
    match explanation["rule"].as_str() {
        Some(rule) => writeln!(output, ": {rule})")?,
        None => writeln!(output, ")")?,
    }
    for rule in explanation["rules"].as_array().into_iter().flatten() {
        let mark = match rule["outcome"].as_str() {
            Some("decided") => "=>",
            Some("would" | "matched") => " *",
            _ => "  ",
        };
        let mode = if rule["mode"] == "report" { ", report" } else { "" };
        let (name, action, outcome) = (text(&rule["rule"]), text(&rule["action"]), text(&rule["outcome"]));
        let by = rule["skipped_by"].as_str().map(|pinhole| format!(" by {pinhole}")).unwrap_or_default();
        writeln!(output, "{mark} {name} ({action}{mode}): {outcome}{by}")?;
        let conditions: Vec<&Value> = rule["conditions"].as_array().into_iter().flatten().collect();
        for (index, condition) in conditions.iter().enumerate() {
            let branch = if index + 1 == conditions.len() { "`-" } else { "|-" };
            let holds = if condition["holds"] == true { "yes" } else { "no " };
            let not = if condition["negated"] == true { "not " } else { "" };
            let value = condition["value"].as_str().map_or_else(|| "(none)".to_owned(), quoted);
            write!(output, "   {branch} {holds} {not}{}: {value}", text(&condition["scope"]))?;
            if let Some(entry) = condition["entry"].as_str() {
                let set = condition["set"].as_str().map(|set| format!("@{set} ")).unwrap_or_default();
                let file = text(&condition["file"]);
                write!(output, "  matches {}in {set}{file}:{}", quoted(entry) + " ", condition["line"])?;
            }
            writeln!(output)?;
        }
    }
    Ok(())
}

fn quoted(value: &str) -> String {
    if value.is_empty() { "(empty)".to_owned() } else { printable(value) }
}
