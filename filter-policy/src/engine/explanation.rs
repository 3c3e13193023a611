//! The explanation of a verdict, condition by condition.
//!
//! This is not a second evaluator: each condition is compiled as its own rule, in report mode, and the engine reports which of
//! them match. So the explanation of a condition is what the engine makes of it in the policy.

use std::{net::IpAddr, sync::Arc};

use filter_core::{
    limits::MAX_RULES,
    scratch::{Number, NumberOf, Scratch, Span},
};
use regex_automata::meta;

use super::{Engine, Facts, Reading, facts::filing, reading::IDENTITIES};
use crate::{
    compile::{CompileError, compile},
    image::Image,
    language::scope::Scope,
    lists,
    model::{AddressList, Condition, Identity, NumberList, Origin, PatternList, Policy, Rule, Test},
    numbering::{bcd, emergency},
};

/// A policy's conditions, compiled one by one.
pub struct Explainer {
    images: Vec<Image>,
    /// For each condition in order, the index of its rule and its index in the rule.
    conditions: Vec<(usize, usize)>,
}

/// The list entry that contains a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name of the set; None for values in the rule itself.
    pub set: Option<String>,
    /// File and line.
    pub origin: Origin,
    /// The entry as it would be written in a list.
    pub text: String,
}

impl Explainer {
    /// Compiles the conditions of a policy, which must itself compile.
    ///
    /// # Errors
    /// A condition does not compile by itself.
    pub fn new(policy: &Policy) -> Result<Self, Vec<CompileError>> {
        let conditions: Vec<(usize, usize)> = policy
            .rules
            .iter()
            .enumerate()
            .flat_map(|(rule, r)| (0..r.conditions.len()).map(move |condition| (rule, condition)))
            .collect();
        let images = conditions
            .chunks(MAX_RULES)
            .map(|chunk| {
                let rules = chunk
                    .iter()
                    .map(|&(rule, condition)| {
                        let rule = &policy.rules[rule];
                        Rule {
                            name: format!("{}/{condition}", rule.name),
                            conditions: vec![rule.conditions[condition].clone()],
                            report: true,
                            over: None,
                            hours: Vec::new(),
                            until: None,
                            ..rule.clone()
                        }
                    })
                    .collect();
                compile(&Policy { rules, default_drop: false, report: false, ..policy.clone() })
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { images, conditions })
    }

    /// For each condition of each rule, whether it holds for this packet, after those that came before it.
    #[must_use]
    pub fn conditions(&self, policy: &Policy, before: &[Vec<u8>], packet: &[u8]) -> Vec<Vec<bool>> {
        let mut holds: Vec<Vec<bool>> = policy.rules.iter().map(|rule| vec![false; rule.conditions.len()]).collect();
        for (image, chunk) in self.images.iter().zip(self.conditions.chunks(MAX_RULES)) {
            for matched in Engine::new(image).decide_after(before, packet).would {
                if let Some(&(rule, condition)) = chunk.get(matched) {
                    holds[rule][condition] = true;
                }
            }
        }
        holds
    }
}

/// The entry in a condition's lists that contains the message's value, if any.
#[must_use]
pub fn entry(condition: &Condition, scratch: &Scratch, facts: &Facts<'_>) -> Option<Entry> {
    match &condition.test {
        Test::Source(lists) => address_entry(lists, address(&scratch.packet.source, scratch.packet.ip_version)),
        Test::Destination(lists) => {
            address_entry(lists, address(&scratch.packet.destination, scratch.packet.ip_version))
        }
        Test::AnyIdentity(lists) => {
            IDENTITIES.into_iter().find_map(|identity| number_entry(lists, scratch.message.number(identity)))
        }
        Test::Number(identity, lists) => number_entry(lists, scratch.message.number(number_of(*identity))),
        Test::Reputation(lists, _, _) => number_entry(lists, scratch.message.number(NumberOf::Calling)),
        Test::Text(text, lists) => pattern_entry(lists, scratch, facts.span(&scratch.message, *text)?),
        Test::Anomaly(_)
        | Test::Attestation(_)
        | Test::CallerAllowed(_)
        | Test::CallingPrivacy(_)
        | Test::Country(..)
        | Test::Dialog(_)
        | Test::Format(..)
        | Test::Method(_)
        | Test::Neighbor(_)
        | Test::Passport(_)
        | Test::Payload(_)
        | Test::Port(_)
        | Test::Region(..)
        | Test::Spid(..)
        | Test::Transport(_)
        | Test::Verstat(_) => None,
    }
}

/// The value that a condition looks at, as text. For facts about a number (country, score, ...), with the number.
#[must_use]
pub fn value(condition: &Condition, scratch: &Scratch, facts: &Facts<'_>) -> Option<String> {
    let reading = Reading::new(scratch);
    if condition.scope == Scope::Upstream {
        return Some(facts.upstream_names(scratch).join(" ")).filter(|names| !names.is_empty());
    }
    if condition.scope == Scope::UpstreamKind {
        return facts.upstream(scratch)?.kind.map(|kind| kind.name().to_owned());
    }
    if condition.scope == Scope::UpstreamRmd {
        return facts.upstream(scratch).map(|upstream| filing(upstream).to_owned());
    }
    let of_number = |of, known: Option<String>| {
        let number = reading.number(of);
        let number = number.as_deref().unwrap_or("no number");
        Some(format!("{} ({number})", known.as_deref().unwrap_or("none")))
    };
    let place = |identity| {
        let of = number_of(identity);
        (of, facts.place(&reading, of))
    };
    let sip = reading.is_sip();
    let owned = |text: &str| Some(text.to_owned());
    match &condition.test {
        Test::Source(_) => Some(address(&scratch.packet.source, scratch.packet.ip_version).to_string()),
        Test::Destination(_) => Some(address(&scratch.packet.destination, scratch.packet.ip_version).to_string()),
        Test::Port(_) => Some(scratch.packet.destination_port.to_string()),
        Test::Transport(_) => Some(scratch.packet.transport.name().to_owned()),
        Test::Anomaly(_) => Some(reading.anomalies().join(" ")),
        Test::Payload(_) => reading.payload().map(str::to_owned),
        _ if !sip => None,
        Test::Method(_) => owned(reading.method_class()),
        Test::Text(text, _) => facts.text(scratch, *text),
        Test::Number(identity, _) => reading.number(number_of(*identity)),
        Test::AnyIdentity(_) => Some(reading.identities().join(" ")).filter(|numbers| !numbers.is_empty()),
        Test::Country(identity, _) => {
            let (of, place) = place(*identity);
            of_number(of, place.country.map(str::to_owned))
        }
        Test::Region(identity, _) => {
            let (of, place) = place(*identity);
            of_number(of, place.region.map(str::to_owned))
        }
        Test::Spid(identity, _) => {
            let (of, place) = place(*identity);
            of_number(of, place.spid.map(str::to_owned))
        }
        Test::Reputation(..) => {
            let score = reading.number(NumberOf::Calling).and_then(|number| facts.scores.of(&number));
            of_number(NumberOf::Calling, score.map(|score| score.to_string()))
        }
        Test::Format(identity, _) => reading.format(number_of(*identity)).map(str::to_owned),
        Test::Attestation(_) => owned(reading.attestation()),
        Test::Verstat(_) => owned(reading.verstat()),
        Test::CallerAllowed(_) => facts.caller_allowed(scratch).map(|allowed| allowed.to_string()),
        Test::Neighbor(_) => Some(reading.neighbor().to_string()),
        Test::CallingPrivacy(_) => Some(reading.privacy().join(" ")),
        Test::Dialog(_) => owned(reading.dialog()),
        Test::Passport(_) => Some(reading.passports().join(" ")),
    }
}

fn number_of(identity: Identity) -> NumberOf {
    match identity {
        Identity::Asserted => NumberOf::Asserted,
        Identity::Called => NumberOf::Called,
        Identity::Calling => NumberOf::Calling,
        Identity::Forwarded => NumberOf::Forwarded,
        Identity::From => NumberOf::From,
        Identity::Preferred => NumberOf::Preferred,
        Identity::To => NumberOf::To,
    }
}

/// An address, from its form in the scratch.
#[must_use]
pub fn address(bytes: &[u8; 16], version: u32) -> IpAddr {
    match (version, bytes) {
        (4, [.., a, b, c, d]) => IpAddr::from([*a, *b, *c, *d]),
        _ => IpAddr::from(*bytes),
    }
}

fn at(origin: &Origin, line: u32) -> Origin {
    Origin { file: Arc::clone(&origin.file), line }
}

/// The entry with the longest prefix that contains the address.
fn address_entry(lists: &[Arc<AddressList>], address: IpAddr) -> Option<Entry> {
    lists
        .iter()
        .flat_map(|list| list.entries.iter().map(move |entry| (list, entry)))
        .filter(|(_, entry)| entry.network().contains(&address))
        .max_by_key(|(_, entry)| entry.prefix)
        .map(|(list, entry)| Entry {
            set: list.name.clone(),
            origin: at(&list.origin, entry.line),
            text: format!("{}/{}", entry.address, entry.prefix),
        })
}

/// The longest entry that contains the number.
pub(super) fn number_entry(lists: &[Arc<NumberList>], number: &Number) -> Option<Entry> {
    if number.key == 0 {
        return None;
    }
    lists
        .iter()
        .flat_map(|list| list.entries.iter().map(move |entry| (list, entry)))
        .filter(|(_, entry)| {
            let shift = 64 - 4 * u32::from(entry.length);
            let prefix =
                (number.key ^ entry.digits).checked_shr(shift).unwrap_or(0) == 0 && entry.length <= number.digits;
            prefix && (!entry.exact || entry.length == number.digits)
        })
        .max_by_key(|(_, entry)| (entry.length, entry.exact))
        .map(|(list, entry)| {
            let digits = emergency::text(entry.digits).unwrap_or_else(|| bcd::text(entry.digits, entry.length));
            Entry {
                set: list.name.clone(),
                origin: at(&list.origin, entry.line),
                text: format!("{digits}{}", if entry.exact { "$" } else { "" }),
            }
        })
}

/// The first pattern that matches the text.
fn pattern_entry(lists: &[Arc<PatternList>], scratch: &Scratch, span: Span) -> Option<Entry> {
    let value: Vec<u8> = scratch
        .trimmed(span)
        .iter()
        .filter(|byte| !matches!(byte, b'\r' | b'\n'))
        .map(|&byte| if byte == b'\t' { b' ' } else { byte })
        .collect();
    let matches = |pattern: &str| {
        meta::Regex::builder().syntax(lists::syntax()).build(pattern).is_ok_and(|regex| regex.is_match(&value))
    };
    lists
        .iter()
        .flat_map(|list| list.entries.iter().map(move |entry| (list, entry)))
        .find(|(_, entry)| matches(&entry.pattern))
        .map(|(list, entry)| Entry {
            set: list.name.clone(),
            origin: at(&list.origin, entry.line),
            text: entry.pattern.clone(),
        })
}
