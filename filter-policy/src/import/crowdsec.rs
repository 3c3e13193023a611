//! CrowdSec's decisions, as `cscli decisions list` prints them with `-o raw` (CSV: `id,source,ip,reason,action,...`, where `ip`
//! is `Ip:192.0.2.1` or `Range:192.0.2.0/24`) or with `-o json` (alerts, each with its `decisions`).
//!
//! Only bans of addresses and ranges are for a list. Captchas, simulated and ended decisions, and those about countries, networks
//! by AS number or users are left out, which is noted.

use serde_json::Value;

use super::{
    ImportError, Imported,
    addresses::Addresses,
    bans::Lasts,
    input::{self, column_key, is_json},
};
use crate::lists::Records;

const HELP: &str = "pass what `cscli decisions list -o raw --limit 0` prints, unchanged";

/// Reads either form. It is not an error if there are no decisions.
pub(super) fn import(content: &[u8]) -> Result<Imported, ImportError> {
    let mut addresses = Addresses::default();
    let decisions = read(content, &mut addresses)?;
    Ok(addresses.finish("crowdsec", decisions == 0))
}

/// Reads either form; returns how many decisions there are.
pub(super) fn read(content: &[u8], addresses: &mut Addresses) -> Result<u64, ImportError> {
    if is_json(content) || content.trim_ascii() == b"null" { json(content, addresses) } else { raw(content, addresses) }
}

/// A decision, as it is written.
struct Decision<'a> {
    line: u32,
    /// All of it, for the report.
    text: &'a [u8],
    scope: &'a str,
    value: &'a str,
    action: &'a str,
    /// How long it lasts, such as `3h59m51.5s`; negative if it has ended.
    duration: &'a str,
    is_simulated: bool,
    scenario: &'a str,
}

impl Decision<'_> {
    fn read(&self, addresses: &mut Addresses) {
        let &Self { line, text, scope, value, action, duration, .. } = self;
        let is = |text: &str, word: &str| text.eq_ignore_ascii_case(word);
        let left_out = if self.is_simulated || action.starts_with("(simul)") {
            "the decision is simulated".to_owned()
        } else if !is(action, "ban") {
            format!("the decision is `{action}`, no ban")
        } else if !is(scope, "ip") && !is(scope, "range") {
            format!("the decision is about `{scope}`, no address")
        } else {
            match seconds(duration) {
                None => {
                    return addresses.problems.add(line, text, format!("`{duration}` is not a duration such as 3h59m"));
                }
                Some(seconds) if seconds <= 0.0 => "the decision has ended".to_owned(),
                Some(seconds) => {
                    // (A part of a second is one: a ban of none is no ban. What does not fit is too long anyway.)
                    let lasts = Lasts::Seconds(seconds.ceil() as u64);
                    let comment = input::comment(self.scenario.as_bytes());
                    return addresses.add_for(line, value.as_bytes(), comment, lasts);
                }
            }
        };
        addresses.notes.add(line, text, format!("left out: `{scope}:{value}`: {left_out}"));
    }
}

/// The seconds of a duration of Go (`-1h2m3.5s`); None if it is not one.
fn seconds(duration: &str) -> Option<f64> {
    const UNITS: [(&str, f64); 8] = [
        ("ns", 1e-9),
        ("us", 1e-6),
        ("\u{b5}s", 1e-6),
        ("ms", 1e-3),
        ("h", 3600.0),
        ("m", 60.0),
        ("s", 1.0),
        ("d", 86400.0),
    ];
    let (is_negative, mut rest) = duration.strip_prefix('-').map_or((false, duration), |rest| (true, rest));
    let mut sum = 0.0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let number = rest.find(|character: char| !character.is_ascii_digit() && character != '.').unwrap_or(rest.len());
        let unit = UNITS.iter().find(|(unit, _)| rest[number..].starts_with(unit));
        let value: f64 = rest[..number].parse().ok()?;
        match unit {
            Some((unit, length)) => {
                sum += value * length;
                rest = &rest[number + unit.len()..];
            }
            None if rest == "0" => rest = "",
            None => return None,
        }
    }
    Some(if is_negative { -sum } else { sum })
}

/// Reads CSV; returns how many decisions there are.
fn raw(content: &[u8], addresses: &mut Addresses) -> Result<u64, ImportError> {
    let mut records = Records::new(content, b',', |line| line.trim_ascii().is_empty());
    let names: Vec<String> = records.names().into_iter().flatten().map(|name| column_key(&name)).collect();
    let column = |wanted: &str| names.iter().position(|name| name == wanted);
    let (Some(target), Some(action), Some(expiration)) = (column("ip"), column("action"), column("expiration")) else {
        return Err(ImportError::new("the first line does not name the columns `ip`, `action` and `expiration`")
            .with_help(HELP));
    };
    let (simulated, reason) = (column("simulated"), column("reason"));
    let mut decisions = 0;
    while let Some(record) = records.read() {
        decisions += 1;
        let record = match record {
            Ok(record) => record,
            Err((line, text, mistake)) => {
                addresses.problems.add(line, text, mistake.message);
                continue;
            }
        };
        if record.len() < names.len() {
            let reason = format!("{} columns, but the header has {}", record.len(), names.len());
            addresses.problems.add(record.line, record.text, reason);
            continue;
        }
        let field = |column: Option<usize>| {
            column
                .and_then(|column| record.field(column))
                .and_then(|field| std::str::from_utf8(field).ok())
                .unwrap_or_default()
        };
        let Some((scope, value)) = field(Some(target)).split_once(':') else {
            addresses.problems.add(record.line, record.text, "the column `ip` is not such as `Ip:192.0.2.1`");
            continue;
        };
        let decision = Decision {
            line: record.line,
            text: record.text,
            scope,
            value,
            action: field(Some(action)),
            duration: field(Some(expiration)),
            is_simulated: field(simulated) == "true",
            scenario: field(reason),
        };
        decision.read(addresses);
    }
    Ok(decisions)
}

/// Reads JSON; returns how many decisions there are.
fn json(content: &[u8], addresses: &mut Addresses) -> Result<u64, ImportError> {
    let alerts: Value = serde_json::from_slice(content).map_err(|error| {
        let what =
            if error.is_eof() { "ends in the middle of its JSON".to_owned() } else { format!("is not JSON: {error}") };
        ImportError::new(format!("the input {what}")).with_help(HELP)
    })?;
    let alerts = match &alerts {
        // What cscli prints if there are no decisions.
        Value::Null => return Ok(0),
        Value::Array(alerts) => alerts,
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
            return Err(ImportError::new("the input is not an array of alerts").with_help(HELP));
        }
    };
    let mut count = 0;
    let mut lines = Lines { rest: std::str::from_utf8(content).unwrap_or_default(), line: 1 };
    for alert in alerts {
        // What `cscli decisions import` takes has no alerts around its decisions.
        let decisions = match alert["decisions"].as_array() {
            Some(decisions) => &decisions[..],
            None if alert["value"].is_string() => std::slice::from_ref(alert),
            None => return Err(ImportError::new("an alert has no member `decisions`").with_help(HELP)),
        };
        for decision in decisions {
            count += 1;
            let text = |name: &str| decision[name].as_str().unwrap_or_default();
            let decision = Decision {
                line: lines.of(text("value")),
                text: text("value").as_bytes(),
                scope: text("scope"),
                value: text("value"),
                action: text("type"),
                duration: text("duration"),
                is_simulated: decision["simulated"] == true,
                scenario: if decision["scenario"].is_string() { text("scenario") } else { text("reason") },
            };
            decision.read(addresses);
        }
    }
    Ok(count)
}

/// Finds the lines of values: the parser of JSON does not say them.
struct Lines<'a> {
    rest: &'a str,
    line: u32,
}

impl Lines<'_> {
    /// The line of the next string with this value; that of the last one if there is none, as of a value with escapes in it.
    fn of(&mut self, value: &str) -> u32 {
        let quoted = format!("\"{value}\"");
        if let Some((passed, rest)) = self.rest.split_once(&quoted) {
            let lines = passed.bytes().filter(|&byte| byte == b'\n').count();
            self.line = self.line.saturating_add(u32::try_from(lines).unwrap_or(u32::MAX));
            self.rest = rest;
        }
        self.line
    }
}
