//! JSON schemas (draft 2020-12) of `policy.toml` and of `tests/*.toml`, for editors.
//!
//! They are generated from the parser's own tables, and a test compares the rest, so that an editor offers what
//! `ringfence check` accepts. A schema sees one file and no lists: it accepts much that `check` rejects.

use filter_core::{
    layout::{
        Attestation, Count, Dialog, Method, NumberFormat, Payload, Transport, Verstat, anomaly, passport, privacy,
    },
    limits::{INTERNATIONAL_PREFIXES, MAX_PORTS, MAX_RULES, NUMBERING_PLANS, STRIP_PREFIXES},
    reason::Reason,
};
use serde_json::{Map, Value, json};

use crate::{
    cases::MAX_EARLIER,
    language::action::Action,
    language::scope::{SCOPES, Scope},
    language::source::{DAYS, LONG_DAYS, LONGEST_NAME, SetKind, VERSION},
    language::stage::Stage,
    language::tcp::OnTcp,
    language::upstream::{CapKind, FILING_DIGITS, FILING_PREFIX, Filing, REGISTRATION_DIGITS, UpstreamKind},
};

const DRAFT: &str = "https://json-schema.org/draft/2020-12/schema";

/// The schema of `policy.toml`.
#[must_use]
pub fn policy() -> Value {
    json!({
        "$schema": DRAFT,
        "title": "Ringfence policy",
        "description": "What is filtered, and how. The reference is docs/policy.md.",
        "type": "object",
        "properties": {
            "version": { "description": "The version of the policy language.", "const": VERSION },
            "default": described(words(&["pass", "drop"]), "What happens to packets that no rule decides."),
            "mode": described(
                words(&["enforce", "report"]),
                "`report` drops nothing: every rule counts and reports what it would have done. `enforce` is the default.",
            ),
            "never_ban": described(strings(), "Sources that are never banned: addresses, CIDRs, address sets."),
            "allow_emergency": {
                "description": "Whether emergency calls come before bans.",
                "type": "boolean",
                "default": true,
            },
            "network": network(),
            "numbering": numbering(),
            "sets": {
                "description": "Named lists. Rules refer to them as `@name`.",
                "type": "object",
                "propertyNames": { "$ref": "#/$defs/name" },
                "additionalProperties": { "$ref": "#/$defs/set" },
            },
            "upstream": {
                "description": "Who sends calls, from which addresses, under which conditions.",
                "type": "array",
                "items": { "$ref": "#/$defs/upstream" },
            },
            "rule": {
                "description": "The rules, tried in file order. The first one that matches acts.",
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
            "numbering_plan": source_plan(),
            "set": set(),
            "upstream": upstream(),
            "contact": contact(),
            "cap": cap(),
            "rule": rule(),
            "action": Action::schema(),
            "over": over(),
            "hours": hours(),
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
        "description": "Messages and their expected verdicts, which `ringfence test` checks.",
        "type": "object",
        "properties": {
            "case": { "type": "array", "items": { "$ref": "#/$defs/case" } },
        },
        "additionalProperties": false,
        "$defs": {
            "case": with_message(json!({
                "type": "object",
                "properties": {
                    "name": text("What the case shows, as a sentence."),
                    "at": text("When the message arrives, such as 2026-11-27T18:30:00-05:00; now if it is left out. Rules with `hours` depend on it."),
                    "banned": { "description": "True: the source is banned before the first message.", "type": "boolean" },
                    "before": {
                        "description": "Messages that come before it, for rates and bans. They are like that of the case in all that they do not say themselves.",
                        "type": "array",
                        "items": { "$ref": "#/$defs/earlier" },
                    },
                    "expect": {
                        "description": "The expected result. What is left out may be anything.",
                        "type": "object",
                        "properties": {
                            "verdict": { "enum": ["pass", "drop", "reject", "divert"] },
                            "reason": described(words(&Reason::NAMES), "The reason, such as `banned`."),
                            "rule": text("The rule that decides; \"\" if none does."),
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
            })),
            "earlier": with_message(json!({
                "type": "object",
                "properties": {
                    "count": {
                        "description": "How many of these messages arrive; 1 by default.",
                        "type": "integer",
                        "minimum": 1,
                        "maximum": MAX_EARLIER,
                    },
                    "every": text("The time between two of them, such as 250ms or 2s; none by default."),
                    "ago": text("How long before the message of the case the first of them arrives; `count` times `every` by default."),
                },
                "additionalProperties": false,
            })),
        },
    })
}

/// The keys of a test case's table that describe a message.
fn message() -> Value {
    let text = |description: &str| json!({ "description": description, "type": "string" });
    json!({
        "source": text("The source address."),
        "port": { "description": "The signalling port that the message is sent to.", "type": "integer", "minimum": 0, "maximum": 65_535 },
        "message": text("A file with the whole message, relative to this file."),
        "method": text("The method; INVITE by default."),
        "calling": text("The user part of From, as on the wire."),
        "called": text("The user part of the Request-URI and of To."),
        "asserted": text("The user part of P-Asserted-Identity."),
        "forwarded": text("The user part of Diversion."),
        "user_agent": text("User-Agent."),
        "attestation": { "description": "The attestation claimed by an Identity header.", "enum": ["A", "B", "C"] },
        "from_display": text("The display name of From."),
        "headers": {
            "description": "More header lines, each `Name: value`.",
            "type": "array",
            "items": { "type": "string" },
        },
        "body": text("The body."),
    })
}

/// A table with the keys of a message, and others.
fn with_message(mut table: Value) -> Value {
    if let (Some(properties), Value::Object(message)) = (table["properties"].as_object_mut(), message()) {
        properties.extend(message);
    }
    table
}

fn described(mut schema: Value, description: &str) -> Value {
    schema["description"] = description.into();
    schema
}

/// One of a few words, in exactly this spelling.
fn words(words: &[&str]) -> Value {
    json!({ "enum": words })
}

/// One of a few words, which the program accepts in upper or lower case. Editors offer them in this spelling.
fn names(names: &[&str]) -> Value {
    let patterns: Vec<String> = names.iter().map(|name| any_case(name)).collect();
    json!({ "anyOf": [words(names), { "type": "string", "pattern": format!("^({})$", patterns.join("|")) }] })
}

/// A pattern of a word in upper or lower case.
fn any_case(word: &str) -> String {
    let letter = |character: char| {
        let (lower, upper) = (character.to_ascii_lowercase(), character.to_ascii_uppercase());
        if lower == upper { character.to_string() } else { format!("[{upper}{lower}]") }
    };
    word.chars().map(letter).collect()
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
        "description": "The signalling ports: nothing else is filtered. Without this section, UDP and TCP port 5060.",
        "type": "object",
        "properties": {
            "udp": ports("SIP over UDP."),
            "tcp": ports("SIP over TCP."),
            "tls": ports("SIP over TLS: encrypted, so only rules about addresses apply."),
        },
        "additionalProperties": false,
    })
}

fn numbering() -> Value {
    let mut properties = numbering_plan();
    let own = json!({
        "called_from": described(words(&["request", "to"]), "Where the called number is: in the Request-URI (in To if that has no user part), or always in To."),
        "neighbor_digits": {
            "description": "How many first digits neighbours share. If absent, those of the country code and six more: in North America, area code and exchange.",
            "type": "integer",
            "minimum": 1,
            "maximum": 15,
        },
        "asserted_identity_from": described(strings(), "Sources whose P-Asserted-Identity is trusted (RFC 3325)."),
        "ranges": described(strings(), "Numbering tables in addition to the built-in one, as `ringfence import nanpa` writes them."),
        "plan": {
            "description": "Plans of sources that send numbers in another form. Keys that a plan lacks are as in `[numbering]`.",
            "type": "array",
            "maxItems": NUMBERING_PLANS - 1,
            "items": { "$ref": "#/$defs/numbering_plan" },
        },
    });
    properties.extend(own.as_object().cloned().unwrap_or_default());
    json!({
        "description": "How the digits in messages become E.164 numbers.",
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
    })
}

/// A plan of `[[numbering.plan]]`.
fn source_plan() -> Value {
    let mut properties = numbering_plan();
    properties.insert("from".to_owned(), described(strings(), "The sources that send numbers in this form."));
    json!({
        "description": "How the digits in messages of some sources become E.164 numbers.",
        "type": "object",
        "properties": properties,
        "required": ["from"],
        "additionalProperties": false,
    })
}

/// The keys that `[numbering]` and its plans have in common.
fn numbering_plan() -> Map<String, Value> {
    let digits =
        |description: &str| json!({ "description": description, "type": "string", "pattern": "^[0-9]{0,15}$" });
    let several = |description: &str, characters: &str, most: usize| {
        let one = json!({ "type": "string", "pattern": format!("^[{characters}]{{0,15}}$") });
        let many = json!({ "type": "array", "items": { "type": "string", "pattern": format!("^[{characters}]{{1,15}}$") }, "maxItems": most });
        json!({ "description": description, "anyOf": [one, many] })
    };
    let mut properties = Map::new();
    properties.insert(
        "country_code".to_owned(),
        json!({
            "description": "The country code that bare national numbers belong to.",
            "type": "string",
            "pattern": "^[1-9][0-9]{0,2}$",
            "default": "1",
        }),
    );
    let described_words =
        described(words(&["national", "e164"]), "What other digits are: national numbers, or E.164 without the plus.");
    for (key, value) in [
        (
            "international_prefix",
            several("Dialled before international numbers; one, or several.", "0-9", INTERNATIONAL_PREFIXES),
        ),
        ("national_prefix", digits("Dialled before national numbers, where there is such a prefix.")),
        ("outside_prefix", digits("Dialled for an outside line. It is taken off the called number.")),
        ("strip", several("Technical prefixes, taken off first; one, or several.", "0-9*#,", STRIP_PREFIXES)),
        ("bare", described_words),
    ] {
        properties.insert(key.to_owned(), value);
    }
    properties
}

fn set() -> Value {
    let entries = json!({ "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }] });
    let about = |kind| match kind {
        SetKind::Addresses => "A file with one address or CIDR per line, or an array of them.",
        SetKind::Numbers => {
            "A file with one number or prefix per line, a CSV file with a column `number`, or an array of numbers."
        }
        SetKind::Patterns => "A file with one regular expression per line, or an array of them.",
        SetKind::UserAgents => "For user agents: a file with one regular expression per line, or an array of them.",
    };
    let mut properties = Map::new();
    for kind in SetKind::ALL {
        properties.insert(kind.key().to_owned(), described(entries.clone(), about(kind)));
    }
    properties.insert(
        "format".to_owned(),
        described(words(&["national", "e164"]), "The form of numbers without a plus; only for sets of numbers."),
    );
    properties.insert(
        "label".to_owned(),
        json!({ "description": "The peer that the addresses belong to, for `upstream`; only for sets of addresses.", "type": "string" }),
    );
    properties.insert(
        "max_errors".to_owned(),
        json!({
            "description": "How many entries of its file may be unreadable: they are left out with a warning.",
            "type": "integer",
            "minimum": 0,
            "default": 0,
        }),
    );
    properties.insert(
        "allow_empty".to_owned(),
        json!({
            "description": "Whether the set may be empty. Otherwise that is a warning; for a set of trusted sources, an error.",
            "type": "boolean",
            "default": false,
        }),
    );
    for key in ["description", "comment"] {
        properties.insert(key.to_owned(), json!({ "description": "For readers only.", "type": "string" }));
    }
    json!({
        "type": "object",
        "properties": properties,
        "oneOf": SetKind::ALL.map(|kind| json!({ "required": [kind.key()] })),
        "dependentRequired": {
            "format": [SetKind::Numbers.key()],
            "label": [SetKind::Addresses.key()],
        },
        "additionalProperties": false,
    })
}

fn upstream() -> Value {
    let text = |description: &str| json!({ "description": description, "type": "string" });
    let code =
        |description: &str| json!({ "description": description, "type": "string", "pattern": "^[A-Za-z0-9]{4}$" });
    let tables = |description: &str, of: &str| {
        let table = json!({ "$ref": format!("#/$defs/{of}") });
        json!({ "description": description, "anyOf": [table, { "type": "array", "items": table }] })
    };
    json!({
        "description": "Who sends calls, from which addresses, under which conditions.",
        "type": "object",
        "properties": {
            "name": { "$ref": "#/$defs/name" },
            "description": text("For readers only."),
            "comment": text("For readers only."),
            "kind": described(words(&UpstreamKind::NAMES), "A carrier hands over calls of others, those of a customer begin here, and a gateway brings them from abroad."),
            "trunks": described(strings(), "The addresses that its calls come from: addresses, CIDRs, address sets. No other upstream may have one of them."),
            "frn": {
                "description": "Its registration number at the FCC (FRN), a string of ten digits.",
                "type": "string",
                "pattern": format!("^[0-9]{{{REGISTRATION_DIGITS}}}$"),
            },
            "rmd": {
                "description": "The number of its filing in the Robocall Mitigation Database.",
                "type": "string",
                "pattern": format!("^{FILING_PREFIX}[0-9]{{{FILING_DIGITS}}}$"),
            },
            "ocn": code("Its operating company number."),
            "spc": code("The service provider code in the certificates that it signs calls with."),
            "contacts": tables("Who answers for it.", "contact"),
            "callers": described(strings(), "The numbers that its calls may come from, for `caller_allowed`: numbers and number sets."),
            "caps": tables("How many calls it may send. Each cap is a rule after all others.", "cap"),
        },
        "required": ["name", "trunks"],
        "additionalProperties": false,
    })
}

fn contact() -> Value {
    let text = |description: &str| json!({ "description": description, "type": "string" });
    json!({
        "type": "object",
        "properties": {
            "role": text("What they are asked about, such as `noc` or `traceback`."),
            "name": text("The name of a person or a department."),
            "email": json!({ "description": "An address for mail.", "type": "string", "pattern": "^[^@ ]+@[^@ ]+$" }),
            "telephone": json!({ "description": "A telephone number.", "type": "string", "pattern": "^[+]?[-0-9 ().]+$" }),
        },
        "minProperties": 1,
        "additionalProperties": false,
    })
}

fn cap() -> Value {
    json!({
        "description": "A limit of the upstream's calls: `calls_per_second`, `calls_per_day` or `rate`, or several of them.",
        "type": "object",
        "properties": {
            "calls_per_second": { "description": "Calls in a second.", "type": "integer", "minimum": 1, "maximum": 1_000_000 },
            "calls_per_day": { "description": "Calls in a day; a whole day's may come at once.", "type": "integer", "minimum": 1, "maximum": u32::MAX },
            "rate": rate(),
            "burst": burst(),
            "mode": described(words(&["enforce", "report"]), "`report`, the default, counts the calls over the cap, and lets them pass. `enforce` acts."),
            "action": { "$ref": "#/$defs/action" },
            "until": until("The last day (UTC) on which the cap acts, or a time with its offset from UTC at which it ends."),
        },
        "anyOf": CapKind::ALL.map(|kind| json!({ "required": [kind.key()] })),
        "additionalProperties": false,
    })
}

fn rule() -> Value {
    let text = |description: &str| json!({ "description": description, "type": "string" });
    json!({
        "type": "object",
        "properties": {
            "name": { "$ref": "#/$defs/name" },
            "description": text("For readers only."),
            "comment": text("For readers only."),
            "stage": {
                "description": "The stage of the rule. A pinhole skips the remaining rules of its own stage.",
                "enum": Stage::ALL.map(Stage::name),
                "default": Stage::default().name(),
            },
            "match": { "$ref": "#/$defs/match" },
            "action": { "$ref": "#/$defs/action" },
            "mode": described(words(&["enforce", "report"]), "`report` counts what the rule would have done, and continues with the next rule."),
            "over": { "$ref": "#/$defs/over" },
            "basis": text("The legal basis, which is part of its events and metrics."),
            "review": {
                "description": "After this date, `check` warns if the rule is still in report mode.",
                "type": "string",
                "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}",
            },
            "until": until("The last day (UTC) on which the rule acts, or a time with its offset from UTC at which it ends. After that, the rule is off, and `check` warns of it."),
            "tcp": described(words(&OnTcp::NAMES), "What becomes of a message over TCP that the rule drops. If absent, the connection is dropped, unless the policy trusts its source."),
            "hours": {
                "description": "When the rule is on: one window, or several.",
                "anyOf": [
                    { "$ref": "#/$defs/hours" },
                    { "type": "array", "items": { "$ref": "#/$defs/hours" }, "minItems": 1 },
                ],
            },
        },
        "required": ["name", "action"],
        "additionalProperties": false,
    })
}

/// The value of `until`.
fn until(description: &str) -> Value {
    json!({
        "description": description,
        "type": "string",
        "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}([Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2}))?$",
    })
}

/// The value of `rate`.
fn rate() -> Value {
    json!({
        "description": "A count and a period: \"5/s\", \"100/m\", \"20/10s\".",
        "type": "string",
        "pattern": "^ *[0-9]+ */ *([smhd]|([0-9]+[smhd])+) *$",
    })
}

/// The value of `burst`.
fn burst() -> Value {
    json!({
        "description": "How many may come at once. If absent, as many as the rate lets through in its period.",
        "type": "integer",
        "minimum": 1,
        "maximum": 1_000_000,
    })
}

fn over() -> Value {
    json!({
        "description": "The rule matches only while this rate is exceeded.",
        "type": "object",
        "properties": {
            "rate": rate(),
            "burst": burst(),
            "per": {
                "description": "What is counted separately: `source/24` is a prefix of bits, `called/6` one of digits.",
                "anyOf": [
                    words(&["rule", "source", "destination", "calling", "called", "source+called", "user-agent", "upstream"]),
                    { "type": "string", "pattern": "^(source|calling|called)/[0-9]{1,3}$" },
                ],
            },
            "count": described(words(&Count::NAMES), "What is counted: `calls` are requests INVITE outside of a dialog, each once."),
        },
        "required": ["rate"],
        "additionalProperties": false,
    })
}

fn hours() -> Value {
    let day = format!("({})", DAYS.iter().chain(&LONG_DAYS).map(|day| any_case(day)).collect::<Vec<_>>().join("|"));
    let days = json!({ "type": "string", "pattern": format!("^{day}(-{day})?$") });
    let time = |description: &str| json!({ "description": description, "type": "string", "pattern": "^([01][0-9]|2[0-3]):[0-5][0-9]$|^24:00$" });
    json!({
        "description": "A part of each of some days.",
        "type": "object",
        "properties": {
            "days": {
                "description": "The days on which it begins: names, or ranges such as `mon-fri`. Every day, if it is left out.",
                "anyOf": [days.clone(), { "type": "array", "items": days, "minItems": 1 }],
            },
            "from": time("When it begins; 00:00 if it is left out."),
            "to": time("When it ends; 24:00 if it is left out. It is on the next day if it is not after `from`."),
            "timezone": {
                "description": "The time zone, a name of the IANA database such as `America/New_York`.",
                "type": "string",
            },
        },
        "required": ["timezone"],
        "additionalProperties": false,
    })
}

/// A header's name.
const HEADER: &str = "[-.!%*_+`'~0-9A-Za-z]{2,40}";

/// The conditions of a rule. Those after `not` cannot be negated again.
fn conditions(with_not: bool) -> Value {
    let mut properties = Map::new();
    let mut headers = Map::new();
    // Keys of several parts may also be quoted: `"header.subject" = ...`. Editors need not offer that.
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
    let named_header = described(strings(), "the first line of the header of this name");
    quoted.insert(format!("^header\\.{HEADER}$"), named_header.clone());
    if with_not {
        quoted.insert(format!("^not\\.header\\.{HEADER}$"), named_header.clone());
    }
    properties.insert(
        "header".to_owned(),
        json!({
            "description": "Regular expressions for a header, or a part of one.",
            "type": "object",
            "properties": headers,
            "patternProperties": { (format!("^{HEADER}$")): named_header },
            "additionalProperties": false,
        }),
    );
    let description = if with_not {
        properties.insert("not".to_owned(), json!({ "$ref": "#/$defs/not" }));
        "All conditions must hold. Of several values, one must match."
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
        Scope::AnyIdentity
        | Scope::Destination
        | Scope::Number(_)
        | Scope::Source
        | Scope::Text(_)
        | Scope::Upstream => strings(),
        Scope::UpstreamKind => one_or_more(&names(&UpstreamKind::NAMES)),
        Scope::UpstreamRmd => {
            let filing = any_case(FILING_PREFIX) + &format!("[0-9]{{{FILING_DIGITS}}}");
            let words = Filing::NAMES.map(any_case).join("|");
            let text = json!({ "type": "string", "pattern": format!("^({words}|{filing})$") });
            one_or_more(&json!({ "anyOf": [self::words(&Filing::NAMES), text] }))
        }
        Scope::Attestation => one_or_more(&names(&Attestation::NAMES)),
        Scope::CallingPrivacy => flags(&privacy::NAMES),
        Scope::Country(_) => pattern(COUNTRY),
        Scope::Dialog => one_or_more(&names(&Dialog::NAMES)),
        Scope::Format(_) => one_or_more(&names(&NumberFormat::NAMES)),
        // The first is for packets without a message.
        Scope::Method => one_or_more(&names(&Method::NAMES[Method::Response.index()..])),
        Scope::CallerAllowed | Scope::Neighbor => one_or_single(json!({ "type": "boolean" })),
        Scope::Passport => flags(&passport::NAMES),
        // The first is for packets about which nothing can be said.
        Scope::Payload => one_or_more(&names(&Payload::NAMES[Payload::Sip.index()..])),
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

/// Names of bits, or `none`.
fn flags(bits: &[&str]) -> Value {
    one_or_more(&names(&[&["none"], bits].concat()))
}

/// One value, by itself or alone in an array.
fn one_or_single(value: Value) -> Value {
    json!({ "anyOf": [value.clone(), { "type": "array", "minItems": 1, "maxItems": 1, "items": value }] })
}
