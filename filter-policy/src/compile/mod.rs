//! The compiler: a resolved policy to an [`Image`].
//!
//! Every value a rule can ask about becomes a class, every class a row: the set of rules that the value satisfies. The
//! engine intersects the rows. Values are told apart only as far as some rule does, so that the classes stay few however
//! long the lists are.

pub mod dfa;
pub mod error;

mod addresses;
mod conditions;
mod numbers;
mod rows;
mod rule_set;
mod sets;
mod texts;
mod trie;

use std::{panic::resume_unwind, thread};

use filter_core::{
    layout::{
        Action, Attestation, Config, DIMENSIONS, Dimension, Method, NumberFormat, Per, Rule, RuleSet, Text, Transport,
        Trie, Verstat, address_flag, anomaly, need, rule_flag,
    },
    limits::{MAX_PORTS, MAX_RULES},
};

pub use self::error::{CompileError, CompileErrorKind};
use self::{
    addresses::{AddressCache, AddressClass},
    numbers::{NumberCache, Numbers},
    rows::Rows,
    texts::Texts,
    trie::Tries,
};
use crate::{
    image::Image,
    model::{self, Condition, Identity, Policy, Test},
};

/// Classes of addresses, and of numbers, that an image may have.
pub const MAX_CLASSES: usize = 1 << 16;

/// Rows that an image may have: 64 MiB of kernel memory.
pub const MAX_ROWS: usize = 1 << 20;

/// Events that a rule may emit a second and CPU, unless the daemon sets another limit.
pub const EVENTS_PER_SECOND: u32 = 20;

/// The stage that `bypass-fraud-control` skips.
const FRAUD_STAGE: &str = "fraud";

/// Compiles a resolved policy.
///
/// # Errors
///
/// Everything that keeps the policy from being compiled, in the order of the rules as far as possible.
pub fn compile(policy: &Policy) -> Result<Image, Vec<CompileError>> {
    compile_cached(policy, &mut CompileCache::default())
}

/// What one compilation leaves for the next: its tries, with everything that they were built from.
#[derive(Default)]
pub struct CompileCache {
    addresses: Option<AddressCache>,
    numbers: Option<NumberCache>,
}

/// As [`compile`], reusing what the compilation before left in `cache`: the image is the same, sooner.
///
/// # Errors
///
/// As for [`compile`].
pub fn compile_cached(policy: &Policy, cache: &mut CompileCache) -> Result<Image, Vec<CompileError>> {
    let mut errors = limits(policy);
    if !errors.is_empty() {
        // The rest could not even be written down.
        return Err(errors);
    }
    let all = rule_set::first(policy.rules.len());

    let rules = rules(policy, &mut errors);
    let (needs, message_rules) = needs(policy);
    // Lists of millions of each: one takes about as long as the other.
    let mut number_errors = Vec::new();
    let (addresses, numbers) = thread::scope(|scope| {
        let numbers = scope.spawn(|| numbers::compile(policy, &mut cache.numbers, &mut number_errors));
        let addresses = addresses::compile(policy, &mut cache.addresses, &mut errors);
        (addresses, numbers.join().unwrap_or_else(|panic| resume_unwind(panic)))
    });
    let addresses = note(addresses, &mut errors);
    errors.append(&mut number_errors);
    let numbers = note(numbers, &mut errors);
    // A dimension that no rule looks at has the table at row 0, where every class satisfies every rule.
    let classes =
        addresses.as_ref().map_or(0, Vec::len).max(numbers.as_ref().map_or(0, |numbers| numbers.classes.len()));
    let mut rows = Rows::new(classes, all);
    let texts = texts::compile(policy, &mut rows, &mut errors);
    let mut tables = [0; DIMENSIONS];
    if let Some(addresses) = &addresses {
        address_rows(addresses, needs, &mut rows, &mut tables);
    }
    if let Some(numbers) = &numbers {
        number_rows(numbers, needs, &mut rows, &mut tables);
    }
    value_rows(policy, &mut rows, &mut tables, &mut errors);
    let anomaly_row = anomaly_rows(policy, &mut rows, &mut errors);
    let message_row = rows.push(message_rules);
    if rows.len() > MAX_ROWS {
        errors.push(CompileError { origin: None, kind: CompileErrorKind::TooManyRows(rows.len()) });
    }

    let (Some(addresses), Some(numbers), true) = (addresses, numbers, errors.is_empty()) else {
        return Err(errors);
    };
    let mut tries = Tries::new();
    tries.append(&cache.addresses.as_ref().expect("without errors it is cached").tries, &[Trie::Ipv4, Trie::Ipv6]);
    tries.append(&cache.numbers.as_ref().expect("without errors it is cached").tries, &[Trie::Number]);
    let Texts { texts, text_rows, text_dfas, dfas } = texts;
    let mut config = Config {
        needs,
        texts,
        words: policy.rules.len().div_ceil(64).max(1) as u32,
        default_drop: u32::from(policy.default_drop),
        events_per_second: EVENTS_PER_SECOND,
        rows: tables,
        text_rows,
        text_dfas,
        anomaly_row,
        message_row,
        numbering: numbering(&policy.numbering),
        ..Config::EMPTY
    };
    config.set_ports(&policy.ports);
    let mut image = Image {
        config,
        roots: tries.roots,
        nodes: tries.nodes,
        leaves: tries.leaves,
        address_classes: addresses
            .iter()
            .map(|class| class.flags | decider(policy, &rules, &class.source) << address_flag::DECIDER)
            .collect(),
        number_classes: numbers.classes,
        rows: rows.into_rows(),
        rules,
        dfas,
        rule_names: policy.rules.iter().map(|rule| rule.name.clone()).collect(),
        countries: numbers.countries,
        regions: numbers.regions,
        hash: String::new(),
    };
    image.hash = image.digest();
    Ok(image)
}

/// What [`address_flag::DECIDER`] says of a source that satisfies these rules.
fn decider(policy: &Policy, rules: &[Rule], satisfied: &RuleSet) -> u32 {
    let Some(first) = rule_set::lowest(satisfied) else { return 0 };
    let asks_for_more =
        policy.rules[first].conditions.iter().any(|condition| !matches!(condition.test, Test::Source(_)));
    let decides = rules[first].flags & (rule_flag::FINAL | rule_flag::REPORT | rule_flag::OVER) == rule_flag::FINAL;
    if decides && !asks_for_more { first as u32 + 1 } else { 0 }
}

/// Notes an error that concerns the policy as a whole.
fn note<T>(result: Result<T, CompileErrorKind>, errors: &mut Vec<CompileError>) -> Option<T> {
    result.map_err(|kind| errors.push(CompileError { origin: None, kind })).ok()
}

/// What does not fit into the layout at all.
fn limits(policy: &Policy) -> Vec<CompileError> {
    let mut errors = Vec::new();
    if let Some(rule) = policy.rules.get(MAX_RULES) {
        let kind = CompileErrorKind::TooManyRules(policy.rules.len());
        errors.push(CompileError { origin: Some(rule.origin.clone()), kind });
    }
    if policy.ports.len() > MAX_PORTS {
        errors.push(CompileError { origin: None, kind: CompileErrorKind::TooManyPorts(policy.ports.len()) });
    }
    errors
}

fn numbering(numbering: &model::Numbering) -> filter_core::layout::Numbering {
    let digits = |digits: &str| numbers::packed(digits).unwrap_or(0);
    filter_core::layout::Numbering {
        country_code: digits(&numbering.country_code),
        international_prefix: digits(&numbering.international_prefix),
        national_prefix: digits(&numbering.national_prefix),
        country_code_digits: numbering.country_code.len() as u8,
        international_prefix_digits: numbering.international_prefix.len() as u8,
        national_prefix_digits: numbering.national_prefix.len() as u8,
        bare_national: u8::from(numbering.bare_national),
        neighbor_digits: numbering.neighbor_digits,
        reserved: [0; 3],
    }
}

/// What is left of the rules once their conditions are bits in rows.
fn rules(policy: &Policy, errors: &mut Vec<CompileError>) -> Vec<Rule> {
    let mut compiled = Vec::with_capacity(policy.rules.len());
    for rule in &policy.rules {
        let mut flags = 0;
        if rule.report {
            flags |= rule_flag::REPORT;
        } else if rule.action.ends_walk() {
            flags |= rule_flag::FINAL;
        }
        if needs_message(rule) || rule.conditions.iter().any(|condition| matches!(condition.test, Test::Anomaly(_))) {
            flags |= rule_flag::MESSAGE;
        }
        if is_late(rule) {
            flags |= rule_flag::LATE;
        }
        let (mut over_interval, mut over_burst, mut over_per, mut over_prefix) = (0, 0, 0, 0);
        if let Some(over) = &rule.over {
            flags |= rule_flag::OVER;
            match over.period.checked_div(u64::from(over.count)) {
                Some(interval) if interval > 0 => {
                    over_interval = interval;
                    over_burst = interval.saturating_mul(u64::from(over.burst));
                }
                _ => errors.push(CompileError {
                    origin: Some(rule.origin.clone()),
                    kind: CompileErrorKind::ZeroRate(rule.name.clone()),
                }),
            }
            (over_per, over_prefix) = (over.per as u8, over.prefix);
        }
        compiled.push(Rule {
            after: after(policy, rule),
            action: rule.action.number(),
            flags,
            slot: 0,
            argument: rule.argument,
            over_interval,
            over_burst,
            over_per,
            over_prefix,
            reserved: [0; 6],
        });
    }
    compiled
}

/// The rules that remain in the walk after this one acted.
fn after(policy: &Policy, rule: &model::Rule) -> RuleSet {
    if rule.report {
        return rule_set::ALL_BITS;
    }
    if rule.action.ends_walk() {
        return rule_set::NONE;
    }
    let mut after = rule_set::ALL_BITS;
    for (index, other) in policy.rules.iter().enumerate() {
        let skipped =
            other.stage == rule.stage || (rule.action == Action::BypassFraudControl && other.stage == FRAUD_STAGE);
        if skipped {
            rule_set::remove(&mut after, index);
        }
    }
    after
}

/// True if the rule can only match a message: it has a condition (an anomaly aside) or a rate about what a message says.
fn needs_message(rule: &model::Rule) -> bool {
    let condition = |condition: &Condition| match condition.test {
        Test::Anomaly(_) | Test::Destination(_) | Test::Port(_) | Test::Source(_) | Test::Transport(_) => false,
        Test::Attestation(_)
        | Test::Country(..)
        | Test::Format(..)
        | Test::Method(_)
        | Test::Neighbor(_)
        | Test::Number(..)
        | Test::Region(..)
        | Test::Reputation(..)
        | Test::Spid(..)
        | Test::Text(..)
        | Test::Verstat(_) => true,
    };
    rule.conditions.iter().any(condition) || rule.over.as_ref().is_some_and(|over| per_number(over.per).is_some())
}

/// True if the first reading of a message cannot answer all that the rule asks, see [`rule_flag::LATE`].
fn is_late(rule: &model::Rule) -> bool {
    let condition = |condition: &Condition| match &condition.test {
        Test::Destination(_) | Test::Method(_) | Test::Port(_) | Test::Source(_) | Test::Transport(_) => false,
        Test::Country(identity, _)
        | Test::Format(identity, _)
        | Test::Number(identity, _)
        | Test::Region(identity, _)
        | Test::Spid(identity, _) => *identity != Identity::Called,
        Test::Text(text, _) => *text != Text::UserAgent,
        Test::Anomaly(_) | Test::Attestation(_) | Test::Neighbor(_) | Test::Reputation(..) | Test::Verstat(_) => true,
    };
    let rate = rule.over.as_ref().and_then(|over| per_number(over.per));
    rule.conditions.iter().any(condition) || rate.is_some_and(|identity| identity != Identity::Called)
}

/// The number that a rate is counted by.
fn per_number(per: Per) -> Option<Identity> {
    match per {
        Per::Called | Per::CalledPrefix => Some(Identity::Called),
        Per::Calling | Per::CallingPrefix => Some(Identity::Calling),
        Per::Destination | Per::Rule | Per::Source | Per::SourcePrefix => None,
    }
}

/// Bits of [`need`] that the policy has, and the rules that need the message read.
fn needs(policy: &Policy) -> (u32, RuleSet) {
    let mut needs = 0;
    let mut message_rules = rule_set::NONE;
    for (index, rule) in policy.rules.iter().enumerate() {
        for condition in &rule.conditions {
            needs |= match &condition.test {
                Test::Anomaly(_) => need::ANOMALY | need::MESSAGE,
                Test::Attestation(_) => need::ATTESTATION,
                Test::Country(identity, _)
                | Test::Number(identity, _)
                | Test::Region(identity, _)
                | Test::Spid(identity, _) => number_need(*identity),
                Test::Destination(_) => need::DESTINATION,
                // A format is a property of the number's class, so the number is looked up.
                Test::Format(Identity::Called, _) => need::CALLED_FORMAT | need::CALLED,
                Test::Format(..) => need::CALLING_FORMAT | need::CALLING,
                Test::Method(_) => need::METHOD,
                Test::Neighbor(_) => need::NEIGHBOR | need::CALLING | need::CALLED,
                Test::Port(_) | Test::Transport(_) => need::SERVICE,
                Test::Reputation(..) => need::CALLING,
                Test::Source(_) => need::SOURCE,
                Test::Text(..) => 0,
                Test::Verstat(_) => need::VERSTAT,
            };
        }
        if let Some(over) = &rule.over {
            needs |= need::RATES | per_number(over.per).map_or(0, number_need);
        }
        if rule.action == Action::Ban {
            needs |= need::BANS;
        }
        if needs_message(rule) {
            needs |= need::MESSAGE | need::METHOD;
            rule_set::insert(&mut message_rules, index);
            if !rule.report && rule.action.ends_walk() && !is_late(rule) {
                needs |= need::FIRST_READING;
            }
        }
    }
    if needs & (need::CALLING | need::VERSTAT) != 0 && !policy.numbering.asserted_identity_from.is_empty() {
        // Whether it is believed is a property of the source.
        needs |= need::ASSERTED_IDENTITY | need::SOURCE;
    }
    if needs & need::BANS != 0 && !policy.never_ban.is_empty() {
        needs |= need::SOURCE;
    }
    if policy.ports.iter().any(|&(_, transport)| transport != Transport::Udp) {
        needs |= need::TCP;
    }
    (needs, message_rules)
}

fn number_need(identity: Identity) -> u32 {
    match identity {
        Identity::Asserted => need::ASSERTED_NUMBER,
        Identity::Called => need::CALLED,
        Identity::Calling => need::CALLING,
        Identity::Forwarded => need::FORWARDED,
        Identity::From => need::FROM_NUMBER,
    }
}

fn address_rows(classes: &[AddressClass], needs: u32, rows: &mut Rows, tables: &mut [u32; DIMENSIONS]) {
    if needs & need::SOURCE != 0 {
        tables[Dimension::Source as usize] = rows.push_table(classes.iter().map(|class| class.source));
    }
    if needs & need::DESTINATION != 0 {
        tables[Dimension::Destination as usize] = rows.push_table(classes.iter().map(|class| class.destination));
    }
}

fn number_rows(numbers: &Numbers, needs: u32, rows: &mut Rows, tables: &mut [u32; DIMENSIONS]) {
    let dimensions = [
        (Identity::Calling, Dimension::Calling),
        (Identity::Called, Dimension::Called),
        (Identity::Forwarded, Dimension::Forwarded),
        (Identity::From, Dimension::FromNumber),
        (Identity::Asserted, Dimension::AssertedNumber),
    ];
    for (identity, dimension) in dimensions {
        if needs & number_need(identity) != 0 {
            let place = numbers::place(identity);
            tables[dimension as usize] = rows.push_table(numbers.rows.iter().map(|rows| rows[place]));
        }
    }
}

/// The tables of the scopes whose values are few and need no look-up.
fn value_rows(policy: &Policy, rows: &mut Rows, tables: &mut [u32; DIMENSIONS], errors: &mut Vec<CompileError>) {
    for rule in &policy.rules {
        for condition in &rule.conditions {
            if matches!(&condition.test, Test::Format(identity, _) if !matches!(identity, Identity::Called | Identity::Calling))
            {
                let kind = CompileErrorKind::NoFormat(rule.name.clone());
                errors.push(CompileError { origin: Some(condition.origin.clone()), kind });
            }
        }
    }
    // A table of `count` rows: a condition that `holds` knows says whether it holds for the value of that index.
    let mut table = |dimension: Dimension, count: usize, holds: &dyn Fn(&Test, usize) -> Option<bool>| {
        tables[dimension as usize] = rows.push_table((0..count).map(|value| {
            let mut row = rule_set::first(policy.rules.len());
            for (index, rule) in policy.rules.iter().enumerate() {
                let fails = |condition: &Condition| holds(&condition.test, value) == Some(condition.negated);
                if rule.conditions.iter().any(fails) {
                    rule_set::remove(&mut row, index);
                }
            }
            row
        }));
    };
    table(Dimension::Service, policy.ports.len(), &|test, service| {
        let (port, transport) = policy.ports[service];
        match test {
            Test::Port(ports) => Some(ports.contains(&port)),
            Test::Transport(transports) => Some(transports.contains(&transport)),
            _ => None,
        }
    });
    table(Dimension::Method, Method::COUNT, &|test, method| match test {
        Test::Method(methods) => Some(methods.iter().any(|name| name.0 as usize == method)),
        _ => None,
    });
    table(Dimension::CallingFormat, NumberFormat::COUNT, &|test, format| match test {
        Test::Format(Identity::Calling, formats) => Some(formats.iter().any(|&named| named as usize == format)),
        _ => None,
    });
    table(Dimension::CalledFormat, NumberFormat::COUNT, &|test, format| match test {
        Test::Format(Identity::Called, formats) => Some(formats.iter().any(|&named| named as usize == format)),
        _ => None,
    });
    table(Dimension::Attestation, Attestation::COUNT, &|test, attestation| match test {
        Test::Attestation(named) => Some(named.iter().any(|&named| named as usize == attestation)),
        _ => None,
    });
    table(Dimension::Verstat, Verstat::COUNT, &|test, verstat| match test {
        Test::Verstat(named) => Some(named.iter().any(|&named| named as usize == verstat)),
        _ => None,
    });
    table(Dimension::Neighbor, 2, &|test, neighbor| match test {
        Test::Neighbor(wanted) => Some(usize::from(*wanted) == neighbor),
        _ => None,
    });
}

/// The rows of anomalies, see [`Config::anomaly_row`]; returns the first one's index.
fn anomaly_rows(policy: &Policy, rows: &mut Rows, errors: &mut Vec<CompileError>) -> u32 {
    let mut table = vec![rule_set::NONE; 1 + 2 * anomaly::COUNT as usize];
    table[0] = rule_set::first(policy.rules.len());
    for (index, rule) in policy.rules.iter().enumerate() {
        let mut asked = false;
        for condition in &rule.conditions {
            let Test::Anomaly(bits) = condition.test else { continue };
            if !condition.negated {
                if asked {
                    let kind = CompileErrorKind::SeveralPositive { rule: rule.name.clone(), scope: "anomaly" };
                    errors.push(CompileError { origin: Some(condition.origin.clone()), kind });
                    continue;
                }
                asked = true;
                rule_set::remove(&mut table[0], index);
            }
            for bit in (0..anomaly::COUNT as usize).filter(|bit| bits & (1 << bit) != 0) {
                rule_set::insert(&mut table[1 + 2 * bit + usize::from(condition.negated)], index);
            }
        }
    }
    rows.push_table(table)
}
