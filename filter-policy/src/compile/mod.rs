//! The compiler: from a resolved policy to an [`Image`].
//!
//! Every value that a rule can ask about has a class, and every class a row: the set of rules that the value satisfies. The
//! engine intersects the rows. Values get different classes only if some rule distinguishes them, so there are few classes
//! however long the lists are.

mod addresses;
mod conditions;
mod dfa;
mod error;
mod numbers;
mod rows;
mod rule_set;
mod rules;
mod sets;
mod stretches;
mod tables;
mod texts;
mod trie;
mod upstreams;

use std::{panic::resume_unwind, thread};

use filter_core::{
    layout::{BanLengths, Config, DIMENSIONS, Dimension, Numbering, Trie, address_flag, need},
    limits::{MAX_PORTS, MAX_RULES, NAMED_HEADERS, NUMBERING_PLANS},
    scratch::Header,
};

pub use self::error::{CompileError, CompileErrorKind};
use self::{
    addresses::AddressCache,
    numbers::NumberCache,
    rows::Rows,
    rules::{decider, needs, rules},
    tables::{address_rows, anomaly_rows, identity_rows, number_rows, value_rows},
    texts::Texts,
    trie::Tries,
    upstreams::Upstreams,
};
use crate::{
    bounds::Cancel,
    image::Image,
    language::header::HeaderName,
    model::{self, Policy},
    numbering::numbering_plan,
    timetable::Timetable,
};

/// The most classes of addresses, and of numbers, in an image.
const MAX_CLASSES: usize = 1 << 16;

/// The most rows in an image: 64 MiB of kernel memory.
const MAX_ROWS: usize = 1 << 20;

/// Events that a rule may emit per second and CPU, unless the daemon sets another limit.
const EVENTS_PER_SECOND: u32 = 20;

/// Compiles a resolved policy.
///
/// # Errors
///
/// Everything that prevents the policy from being compiled, in the order of the rules as far as possible.
pub fn compile(policy: &Policy) -> Result<Image, Vec<CompileError>> {
    compile_cached(policy, &Cancel::default(), &mut CompileCache::default())
}

/// The lengths of the prefixes that the rules ban.
fn ban_lengths(policy: &Policy, errors: &mut Vec<CompileError>) -> BanLengths {
    let mut lengths = Config::EMPTY.ban_lengths;
    for rule in &policy.rules {
        let (ipv4, ipv6) = rules::ban_lengths(&rule.action);
        for (list, length) in [(&mut lengths.ipv4, ipv4), (&mut lengths.ipv6, ipv6)] {
            if length == 0 || list.contains(&length) {
                continue;
            }
            match list.iter_mut().find(|entry| **entry == 0) {
                Some(free) => *free = length,
                None => errors.push(CompileErrorKind::TooManyBanPrefixes(rule.name.clone()).at(&rule.origin)),
            }
        }
    }
    lengths
}

/// What one compilation leaves for the next: its tries, with everything that they were built from.
#[derive(Default)]
pub(crate) struct CompileCache {
    addresses: Option<AddressCache>,
    numbers: Option<NumberCache>,
}

/// As [`compile`], reusing what the compilation before left in `cache`: the image is the same, sooner.
///
/// # Errors
///
/// As for [`compile`].
pub(crate) fn compile_cached(
    policy: &Policy,
    cancel: &Cancel,
    cache: &mut CompileCache,
) -> Result<Image, Vec<CompileError>> {
    let mut errors = limits(policy);
    if !errors.is_empty() {
        // The rest does not even fit the layout.
        return Err(errors);
    }
    let all = rule_set::first(policy.rules.len());

    let rules = rules(policy, &mut errors);
    let ban_lengths = ban_lengths(policy, &mut errors);
    let (needs, message_rules) = needs(policy);
    let upstreams = Upstreams::new(policy, &mut errors);
    // With millions of entries each, the two take about the same time.
    let mut number_errors = Vec::new();
    let (addresses, numbers) = thread::scope(|scope| {
        let numbers = scope.spawn(|| numbers::compile(policy, &upstreams, &mut cache.numbers, &mut number_errors));
        let addresses = addresses::compile(policy, &upstreams, &mut cache.addresses, &mut errors);
        (addresses, numbers.join().unwrap_or_else(|panic| resume_unwind(panic)))
    });
    let addresses = ok_or_push(addresses, &mut errors);
    errors.append(&mut number_errors);
    let numbers = ok_or_push(numbers, &mut errors);
    // A dimension that no rule looks at uses the table at row 0, where every class satisfies every rule.
    let classes =
        addresses.as_ref().map_or(0, Vec::len).max(numbers.as_ref().map_or(0, |numbers| numbers.classes.len()));
    let mut rows = Rows::new(classes, all);
    if cancel.is_cancelled() {
        return Err(errors);
    }
    let texts = texts::compile(policy, &mut rows, &mut errors);
    let mut tables = [0; DIMENSIONS];
    if let Some(addresses) = &addresses {
        address_rows(addresses, needs, &mut rows, &mut tables);
    }
    let (mut identity_row, mut callers_row, mut upstream_row) = (0, 0, 0);
    if upstreams.counts {
        upstream_row = rows.push_table(upstreams.keys());
    }
    if let Some(numbers) = &numbers {
        number_rows(numbers, needs, &mut rows, &mut tables);
        if needs & need::ANY_IDENTITY != 0 {
            identity_row = identity_rows(policy, numbers, &mut rows, &mut errors);
        }
        if upstreams.asks_callers {
            callers_row = rows.push_table(numbers.callers.iter().copied());
        }
    }
    value_rows(policy, &mut rows, &mut tables, &mut errors);
    let anomaly_row = anomaly_rows(policy, &mut rows, &mut errors);
    let message_row = rows.push(message_rules);
    let timetable = Timetable::new(policy);
    if !timetable.is_empty() {
        tables[Dimension::Time.index()] = rows.push(all);
    }
    if rows.len() > MAX_ROWS {
        errors.push(CompileErrorKind::TooManyRows(rows.len()).about_policy());
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
        report: u32::from(policy.report),
        events_per_second: EVENTS_PER_SECOND,
        rows: tables,
        text_rows,
        text_dfas,
        anomaly_row,
        identity_row,
        callers_row,
        callers: upstreams.callers().len() as u32,
        upstream_row,
        message_row,
        neighbor_digits: policy.numbering.neighbor_digits.into(),
        numbering: numbering(&policy.numbering),
        ..Config::EMPTY
    };
    config.set_ports(&policy.ports);
    set_headers(&mut config, &policy.headers);
    config.ban_lengths = ban_lengths;
    // A policy that reads no messages cannot tell an emergency call, and does not begin to read them for its bans.
    config.ban_passes_emergency = u32::from(policy.allow_emergency && needs & (need::MESSAGE | need::ANOMALY) != 0);
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
        timetable,
        hash: String::new(),
    };
    image.hash = image.digest();
    Ok(image)
}

/// Turns an error, which concerns the policy as a whole, into None and an element of `errors`.
fn ok_or_push<T>(result: Result<T, CompileErrorKind>, errors: &mut Vec<CompileError>) -> Option<T> {
    result.map_err(|kind| errors.push(kind.about_policy())).ok()
}

/// Errors about what does not fit into the layout at all.
fn limits(policy: &Policy) -> Vec<CompileError> {
    let mut errors = Vec::new();
    if let Some(rule) = policy.rules.get(MAX_RULES) {
        let kind = CompileErrorKind::TooManyRules(policy.rules.len());
        errors.push(kind.at(&rule.origin));
    }
    if policy.headers.len() > NAMED_HEADERS {
        errors.push(CompileErrorKind::TooManyHeaders(policy.headers.len()).about_policy());
    }
    if policy.numbering.plans.len() >= NUMBERING_PLANS {
        errors.push(CompileErrorKind::TooManyPlans(policy.numbering.plans.len() + 1).about_policy());
    }
    if policy.ports.len() > MAX_PORTS {
        errors.push(CompileErrorKind::TooManyPorts(policy.ports.len()).about_policy());
    }
    errors
}

/// The headers that rules name, in the order of their indices.
pub(crate) fn set_headers(config: &mut Config, headers: &[HeaderName]) {
    config.named_headers = headers.len().min(NAMED_HEADERS) as u32;
    for (index, (entry, name)) in config.headers.iter_mut().zip(headers).enumerate() {
        // One that is read for every policy keeps its place, and its own rules about several lines.
        let place = name.place().unwrap_or_else(|| {
            let own = Header::named(index as u32);
            *entry = name.layout();
            config.repeated_headers |= if name.is_list() { own.bit() } else { 0 };
            own
        });
        config.header_places |= u64::from(place.number() as u8) << (8 * index);
    }
}

/// The numbering plans, in the order of their indices in address classes. Those that no source has are empty.
fn numbering(numbering: &model::Numbering) -> [Numbering; NUMBERING_PLANS] {
    let mut plans = [Numbering::EMPTY; NUMBERING_PLANS];
    let written = std::iter::once(&numbering.plan).chain(numbering.plans.iter().map(|(_, plan)| plan));
    for (plan, written) in plans.iter_mut().zip(written) {
        *plan = numbering_plan(written);
    }
    plans
}
