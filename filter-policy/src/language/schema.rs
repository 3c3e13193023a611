//! JSON schemas (draft 2020-12) of `policy.toml` and of `tests/*.toml`, for editors.
//!
//! They are made of the tables that the parser itself goes by, and a test compares what is left: what an editor offers is
//! what `ringfence check` takes. A schema knows one file and no lists, so it is content with much that `check` is not.

use filter_core::{
    layout::{Attestation, Method, NumberFormat, Transport, Verstat, anomaly},
    limits::{MAX_PORTS, MAX_RULES},
};
use serde_json::{Map, Value, json};

use crate::{
    language::scope::{SCOPES, Scope},
    language::source::{LONGEST_NAME, SetKind, VERSION},
    resolve::{DEFAULT_STAGE, STAGES},
};

const DRAFT: &str = "https://json-schema.org/draft/2020-12/schema";

/// The schema of `policy.toml`.
#[must_use]
pub fn policy() -> Value {
    json!({
        "$schema": DRAFT,
        "title": "Ringfence policy",
        "description": "What is filtered, and how: docs/policy.md is the reference.",
        "type": "object",
        "properties": {
            "version": { "description": "Version of the policy language.", "const": VERSION },
            "default": described(words(&["pass", "drop"]), "What happens to a packet that no rule decided."),
            "never_ban": described(strings(), "Sources that no rule bans: addresses, CIDRs, address sets."),
            "network": network(),
            "numbering": numbering(),
            "sets": {
                "description": "Named lists; `@name` stands for one in rules.",
                "type": "object",
                "propertyNames": { "$ref": "#/$defs/name" },
                "additionalProperties": { "$ref": "#/$defs/set" },
            },
            "rule": {
                "description": "Rules, tried in file order; the first that matches acts.",
                "type": "array",
                "maxItems": MAX_RULES,
                "items": { "$ref": "#/$defs/rule" },
            },
        },
        "required": ["version"],
        "additionalProperties": false,
        "$defs": {
            "name": {
                "description": "Letters, digits, `-`, `_` and `.`.",
                "type": "string",
                "pattern": format!("^[A-Za-z0-9._-]{{1,{LONGEST_NAME}}}$"),
            },
            "port": { "type": "integer", "minimum": 1, "maximum": 65_535 },
            "set": set(),
            "rule": rule(),
            "action": action(),
            "over": over(),
            "match": conditions(true),
            "not": conditions(false),
        },
    })
}

/// The schema of `tests/*.toml`.
#[must_use]
pub fn tests() -> Value {
    let text = |description: &str| json!({ "description": description, "type": "string" });
    json!({
        "$schema": DRAFT,
        "title": "Ringfence test cases",
        "description": "Messages, and what must become of them: `ringfence test` runs them.",
        "type": "object",
        "properties": {
            "case": { "type": "array", "items": { "$ref": "#/$defs/case" } },
        },
        "additionalProperties": false,
        "$defs": {
            "case": {
                "type": "object",
                "properties": {
                    "name": text("What it shows, as a sentence."),
                    "source": text("The source address."),
                    "port": { "description": "The signalling port it is sent to.", "type": "integer", "minimum": 0, "maximum": 65_535 },
                    "message": text("A file with the whole message, relative to this file."),
                    "method": text("The method; INVITE if not given."),
                    "calling": text("From's user part, as on the wire."),
                    "called": text("The Request-URI's and To's user part."),
                    "asserted": text("P-Asserted-Identity's user part."),
                    "forwarded": text("Diversion's user part."),
                    "user_agent": text("User-Agent."),
                    "attestation": { "description": "The attestation claimed by an Identity header.", "enum": ["A", "B", "C"] },
                    "from_display": text("From's display name."),
                    "headers": {
                        "description": "Further header lines, each `Name: value`.",
                        "type": "array",
                        "items": { "type": "string" },
                    },
                    "body": text("The body."),
                    "expect": {
                        "description": "What must come of it; what is not given may be anything.",
                        "type": "object",
                        "properties": {
                            "verdict": { "enum": ["pass", "drop", "reject", "divert"] },
                            "rule": text("The rule that decides; \"\" for none."),
                            "would": {
                                "description": "The report-mode rules that match, in order.",
                                "type": "array",
                                "items": { "type": "string" },
                            },
                        },
                        "required": ["verdict"],
                        "additionalProperties": false,
                    },
                },
                "required": ["name", "expect"],
                "additionalProperties": false,
            },
        },
    })
}

fn described(mut schema: Value, description: &str) -> Value {
    schema["description"] = description.into();
    schema
}

/// One of a few words, as they stand.
fn words(words: &[&str]) -> Value {
    json!({ "enum": words })
}

/// One of a few words, which the program knows in any case of letters; editors offer them as they are written here.
fn names(names: &[&str]) -> Value {
    let letter = |character: char| {
        let (lower, upper) = (character.to_ascii_lowercase(), character.to_ascii_uppercase());
        if lower == upper { character.to_string() } else { format!("[{upper}{lower}]") }
    };
    let patterns: Vec<String> = names.iter().map(|name| name.chars().map(letter).collect()).collect();
    json!({ "anyOf": [words(names), { "type": "string", "pattern": format!("^({})$", patterns.join("|")) }] })
}

/// One value, or an array of at least one.
fn one_or_more(value: &Value) -> Value {
    json!({ "anyOf": [value, { "type": "array", "minItems": 1, "items": value }] })
}

fn strings() -> Value {
    one_or_more(&json!({ "type": "string" }))
}

fn network() -> Value {
    let ports = |description: &str| {
        let ports = json!({ "type": "array", "maxItems": MAX_PORTS, "items": { "$ref": "#/$defs/port" } });
        json!({ "description": description, "anyOf": [ports, { "$ref": "#/$defs/port" }] })
    };
    json!({
        "description": "The signalling ports; nothing else is looked at. UDP and TCP 5060 if this section is missing.",
        "type": "object",
        "properties": {
            "udp": ports("SIP over UDP."),
            "tcp": ports("SIP over TCP."),
            "tls": ports("Encrypted: only rules about addresses apply."),
        },
        "additionalProperties": false,
    })
}

fn numbering() -> Value {
    let digits = |description: &str, most: u32| json!({ "description": description, "type": "string", "pattern": format!("^[0-9]{{0,{most}}}$") });
    json!({
        "description": "How the digits of a message become E.164 numbers.",
        "type": "object",
        "properties": {
            "country_code": {
                "description": "What a bare national number belongs to.",
                "type": "string",
                "pattern": "^[1-9][0-9]{0,2}$",
                "default": "1",
            },
            "international_prefix": digits("Dialled before an international number.", 15),
            "national_prefix": digits("Dialled before a national number, where there is one.", 15),
            "bare": described(words(&["national", "e164"]), "What any other digits are."),
            "neighbor_digits": {
                "description": "How many first digits neighbours share.",
                "type": "integer",
                "minimum": 1,
                "maximum": 15,
                "default": 6,
            },
            "asserted_identity_from":
                described(strings(), "Sources whose P-Asserted-Identity is believed (RFC 3325)."),
            "ranges": described(strings(), "Numbering tables beside the built-in one, as `ringfence import nanpa` writes them."),
        },
        "additionalProperties": false,
    })
}

fn set() -> Value {
    let entries = json!({ "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }] });
    let about = |kind| match kind {
        SetKind::Addresses => "A file with an address or CIDR a line, or the addresses.",
        SetKind::Numbers => {
            "A file with a number or prefix a line, or a CSV file with a column `number`; or the numbers."
        }
        SetKind::Patterns => "A file with a regular expression a line, or the expressions.",
        SetKind::UserAgents => "A file with a regular expression a line, or the expressions, for user agents.",
    };
    let mut properties = Map::new();
    for (key, kind) in SetKind::KEYS {
        properties.insert(key.to_owned(), described(entries.clone(), about(kind)));
    }
    properties.insert(
        "format".to_owned(),
        described(words(&["national", "e164"]), "How numbers without a plus are written; of number sets only."),
    );
    properties.insert(
        "label".to_owned(),
        json!({ "description": "The peer that the addresses belong to, for `upstream`; of address sets only.", "type": "string" }),
    );
    properties.insert(
        "max_errors".to_owned(),
        json!({
            "description": "Entries of its file that may be unreadable: they are left out with a warning.",
            "type": "integer",
            "minimum": 0,
            "default": 0,
        }),
    );
    for key in ["description", "comment"] {
        properties.insert(key.to_owned(), json!({ "description": "For people.", "type": "string" }));
    }
    json!({
        "type": "object",
        "properties": properties,
        "oneOf": SetKind::KEYS.map(|(key, _)| json!({ "required": [key] })),
        "dependentRequired": {
            "format": [SetKind::Numbers.key()],
            "label": [SetKind::Addresses.key()],
        },
        "additionalProperties": false,
    })
}

fn rule() -> Value {
    let text = |description: &str| json!({ "description": description, "type": "string" });
    json!({
        "type": "object",
        "properties": {
            "name": { "$ref": "#/$defs/name" },
            "description": text("For people."),
            "comment": text("For people."),
            "stage": {
                "description": "A pinhole skips the remaining rules of its own stage.",
                "enum": STAGES,
                "default": DEFAULT_STAGE,
            },
            "match": { "$ref": "#/$defs/match" },
            "action": { "$ref": "#/$defs/action" },
            "mode": described(words(&["enforce", "report"]), "`report` counts what the rule would have done, and goes on."),
            "over": { "$ref": "#/$defs/over" },
            "basis": text("The legal basis: travels with events and metrics."),
            "review": {
                "description": "`check` warns when a report-mode rule is older than this date.",
                "type": "string",
                "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}",
            },
        },
        "required": ["name", "action"],
        "additionalProperties": false,
    })
}

fn action() -> Value {
    let with = |key: &str, argument: Value| {
        let properties = Map::from_iter([(key.to_owned(), argument)]);
        json!({ "type": "object", "properties": properties, "required": [key], "additionalProperties": false })
    };
    let plain = ["drop", "continue", "bypass-fraud-control", "whitelist"];
    json!({
        "description": "What the rule does.",
        "anyOf": [
            words(&plain),
            with("ban", json!({
                "description": "Drop, and ban the source for this long, such as \"10m\"; at most a year.",
                "type": "string",
                "pattern": "^([0-9]+[smhd])+$",
            })),
            with("reject", json!({
                "description": "Drop, and answer with this SIP status.",
                "type": "integer",
                "minimum": 400,
                "maximum": 699,
            })),
            with("divert", json!({
                "description": "Drop, and send the caller to this SIP URI.",
                "type": "string",
                "pattern": "^sips?:[!#-;=?-~]+$",
                "maxLength": 255,
            })),
        ],
    })
}

fn over() -> Value {
    json!({
        "description": "The rule matches only while this rate is exceeded.",
        "type": "object",
        "properties": {
            "rate": {
                "description": "A count and a period: \"5/s\", \"100/m\", \"20/10s\".",
                "type": "string",
                "pattern": "^ *[0-9]+ */ *([smhd]|([0-9]+[smhd])+) *$",
            },
            "burst": {
                "description": "Packets above the rate that may come at once.",
                "type": "integer",
                "minimum": 0,
                "maximum": 1_000_000,
            },
            "per": {
                "description": "What is counted by: `source/24` is a prefix of bits, `called/6` one of digits.",
                "anyOf": [
                    words(&["rule", "source", "destination", "calling", "called"]),
                    { "type": "string", "pattern": "^(source|calling|called)/[0-9]{1,3}$" },
                ],
            },
        },
        "required": ["rate"],
        "additionalProperties": false,
    })
}

/// The conditions of a rule; those behind `not` cannot be negated again.
fn conditions(with_not: bool) -> Value {
    let mut properties = Map::new();
    let mut headers = Map::new();
    // Keys of several parts may also stand in quotation marks: `"header.subject" = ...`. Editors need not offer that.
    let mut quoted = Map::new();
    for (key, scope, about) in SCOPES {
        let schema = described(values(*scope), about);
        let pattern = key.replace('.', "\\.");
        if with_not {
            quoted.insert(format!("^not\\.{pattern}$"), schema.clone());
        }
        match key.strip_prefix("header.") {
            Some(header) => {
                quoted.insert(format!("^{pattern}$"), schema.clone());
                headers.insert(header.to_owned(), schema);
            }
            None => {
                properties.insert((*key).to_owned(), schema);
            }
        }
    }
    properties.insert(
        "header".to_owned(),
        json!({
            "description": "Regular expressions over a header or a part of one.",
            "type": "object",
            "properties": headers,
            "additionalProperties": false,
        }),
    );
    let description = if with_not {
        properties.insert("not".to_owned(), json!({ "$ref": "#/$defs/not" }));
        "All conditions must hold; of several values, any."
    } else {
        "Conditions that must not hold."
    };
    json!({
        "description": description,
        "type": "object",
        "properties": properties,
        "patternProperties": quoted,
        "additionalProperties": false,
    })
}

/// The values of a scope.
fn values(scope: Scope) -> Value {
    const COUNTRY: &str = "^[A-Za-z]{2}$";
    const REGION: &str = "^[A-Za-z]{2}-[A-Za-z0-9]{1,3}$";
    const HOLDER: &str = "^[A-Za-z0-9]{4}$";
    let pattern = |pattern: &str| one_or_more(&json!({ "type": "string", "pattern": pattern }));
    match scope {
        Scope::Anomaly => one_or_more(&names(&anomaly::NAMES)),
        Scope::Attestation => one_or_more(&names(&Attestation::NAMES)),
        Scope::Country(_) => pattern(COUNTRY),
        Scope::Destination | Scope::Number(_) | Scope::Source | Scope::Text(_) | Scope::Upstream => strings(),
        Scope::Format(_) => one_or_more(&names(&NumberFormat::NAMES)),
        // The first is of what is no message.
        Scope::Method => one_or_more(&names(&Method::NAMES[Method::Response.index()..])),
        Scope::Neighbor => one_or_single(json!({ "type": "boolean" })),
        Scope::Port => one_or_more(&json!({ "$ref": "#/$defs/port" })),
        Scope::Region(_) => pattern(REGION),
        Scope::Reputation => {
            one_or_single(json!({ "type": "string", "pattern": "^ *(>=|<=|>|<|==|=)? *([0-9]|[1-9][0-9]|100) *$" }))
        }
        Scope::Spid(_) => pattern(HOLDER),
        Scope::Transport => one_or_more(&names(&Transport::NAMES)),
        Scope::Verstat => one_or_more(&names(&Verstat::NAMES)),
    }
}

/// One value, which may stand in an array alone.
fn one_or_single(value: Value) -> Value {
    json!({ "anyOf": [value.clone(), { "type": "array", "minItems": 1, "maxItems": 1, "items": value }] })
}
