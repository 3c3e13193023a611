//! Source and destination addresses: from lists to classes.

use std::{net::IpAddr, sync::Arc};

use filter_core::layout::{RuleSet, Trie, address_flag};

use super::{
    MAX_CLASSES,
    conditions::{Lists, same},
    error::{CompileError, CompileErrorKind},
    rule_set,
    sets::{Interned, Sets},
    stretches::{Entry, Stretch, flatten, relabel, values_of},
    trie::Tries,
    upstreams::Upstreams,
};
use crate::model::{AddressList, Policy, Test};

/// Everything that the engine can learn about an address: the meaning of a class.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct AddressClass {
    /// Rules that it satisfies as a source.
    pub source: RuleSet,
    /// Rules that it satisfies as a destination.
    pub destination: RuleSet,
    /// [`address_flag`] bits.
    pub flags: u32,
}

/// The address tries, with what they were built from.
pub(super) struct AddressCache {
    /// The lists, by id.
    lists: Vec<Arc<AddressList>>,
    /// Sets of lists that have an address in common.
    sets: Sets,
    /// The sets that some address is in, as ids. The others only arose on the way.
    used: Vec<u32>,
    class_of_set: Vec<u32>,
    pub tries: Tries,
}

/// Puts the address tries into the cache, unless they are there already. Returns what each class means.
pub(super) fn compile(
    policy: &Policy,
    upstreams: &Upstreams<'_>,
    cache: &mut Option<AddressCache>,
    errors: &mut Vec<CompileError>,
) -> Result<Vec<AddressClass>, CompileErrorKind> {
    let mut lists = Lists::<AddressList>::default();
    let mut sources = Vec::new();
    let mut destinations = Vec::new();
    for (rule, conditions) in policy.rules.iter().enumerate() {
        for condition in &conditions.conditions {
            let (scope, values) = match &condition.test {
                Test::Source(values) => (&mut sources, values),
                Test::Destination(values) => (&mut destinations, values),
                Test::Anomaly(_)
                | Test::AnyIdentity(_)
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
                | Test::Number(..)
                | Test::Port(_)
                | Test::Region(..)
                | Test::Reputation(..)
                | Test::Spid(..)
                | Test::Text(..)
                | Test::Transport(_)
                | Test::Verstat(_) => continue,
            };
            scope.push((rule, lists.ids(values), condition.negated));
        }
    }
    let believed = lists.ids(&policy.numbering.asserted_identity_from);
    let never_banned = lists.ids(&policy.never_ban);
    let plans = policy.numbering.plans.iter().map(|(sources, _)| lists.ids(sources)).collect();

    let upstreams =
        upstreams.sources().map(|(number, sources)| (number, sources.iter().map(|list| lists.id(list)).collect()));
    let upstreams = upstreams.collect();
    let rules = policy.rules.len();
    let conditions = Conditions { rules, sources, destinations, believed, never_banned, plans, upstreams };
    // The cached tries are dropped before new ones are built, which take as much memory again.
    if let Some(mut last) = cache.take()
        && same(last.lists.iter(), lists.lists.iter(), |list| &list.entries)
    {
        let (classes, class_of_set) = conditions.classes(&last.sets, &last.used)?;
        if class_of_set == last.class_of_set {
            last.lists = lists.lists;
            *cache = Some(last);
            return Ok(classes);
        }
    }

    // In practice nearly all are IPv4; capacity that stays unused takes no memory.
    let count = lists.lists.iter().map(|list| list.entries.len()).sum();
    let (mut ipv4, mut ipv6) = (Vec::with_capacity(count), Vec::new());
    for (id, list) in lists.lists.iter().enumerate() {
        for entry in &list.entries {
            let (entries, width, address) = match entry.address {
                IpAddr::V4(address) => (&mut ipv4, 32, u128::from(u32::from(address)) << 96),
                IpAddr::V6(address) => (&mut ipv6, 128, u128::from(address)),
            };
            if entry.prefix > width || address & u128::MAX.checked_shr(u32::from(entry.prefix)).unwrap_or(0) != 0 {
                let what = "not a network: bits are set after its prefix length";
                errors.push(CompileErrorKind::BadEntry { line: entry.line, what }.at(&list.origin));
                continue;
            }
            entries.push(Entry { key: address, length: entry.prefix, item: id as u32 });
        }
    }

    let mut sets = Sets::new();
    let mut stretches: [(Trie, Vec<Stretch>); 2] = [
        (Trie::Ipv4, flatten(ipv4, 0, |set, list| sets.with(set, list))),
        (Trie::Ipv6, flatten(ipv6, 0, |set, list| sets.with(set, list))),
    ];
    let used = values_of(stretches.iter().flat_map(|(_, stretches)| stretches), sets.len());
    let (classes, class_of_set) = conditions.classes(&sets, &used)?;
    let mut tries = Tries::new();
    for (trie, stretches) in &mut stretches {
        relabel(stretches, |set| class_of_set[set as usize]);
        tries.build(*trie, stretches);
    }
    tries.finish();
    // Without errors only: a rejected entry is reported on every build.
    if errors.is_empty() {
        *cache = Some(AddressCache { lists: lists.lists, sets, used, class_of_set, tries });
    }
    Ok(classes)
}

/// All conditions on addresses: rule, ids of its lists, whether it is negated.
struct Conditions {
    rules: usize,
    sources: Vec<(usize, Vec<u32>, bool)>,
    destinations: Vec<(usize, Vec<u32>, bool)>,
    believed: Vec<u32>,
    never_banned: Vec<u32>,
    /// The lists of the sources of each numbering plan but the first.
    plans: Vec<Vec<u32>>,
    /// The number and the lists of each upstream. The first one that has a source counts.
    upstreams: Vec<(u32, Vec<u32>)>,
}

impl Conditions {
    /// The classes of the sets in `used`, and the class of each set (0 for unused ones).
    fn classes(&self, sets: &Sets, used: &[u32]) -> Result<(Vec<AddressClass>, Vec<u32>), CompileErrorKind> {
        let all = rule_set::first(self.rules);
        let mut classes = Interned::new();
        let mut class_of_set = vec![0; sets.len()];
        // The empty set comes first, whether it occurs or not: class 0 is "in no list".
        for set in std::iter::once(0).chain(used.iter().copied()) {
            let items = sets.items(set);
            let is_in = |ids: &[u32]| ids.iter().any(|id| items.binary_search(id).is_ok());
            let row = |conditions: &[(usize, Vec<u32>, bool)]| {
                let mut row = all;
                for (rule, ids, negated) in conditions {
                    if is_in(ids) == *negated {
                        rule_set::remove(&mut row, *rule);
                    }
                }
                row
            };
            let mut flags = 0;
            if is_in(&self.believed) {
                flags |= address_flag::ASSERTED_BELIEVED;
            }
            if is_in(&self.never_banned) {
                flags |= address_flag::NEVER_BAN;
            }
            // The first plan is that of all other sources.
            let plan = self.plans.iter().position(|ids| is_in(ids)).map_or(0, |index| index as u32 + 1);
            flags |= plan << address_flag::PLAN;
            let upstream = self.upstreams.iter().find(|(_, ids)| is_in(ids)).map_or(0, |(number, _)| *number);
            flags |= upstream << address_flag::UPSTREAM;
            let class = AddressClass { source: row(&self.sources), destination: row(&self.destinations), flags };
            class_of_set[set as usize] = classes.intern(class);
            if classes.values().len() > MAX_CLASSES {
                return Err(CompileErrorKind::TooManyClasses { of: "addresses" });
            }
        }
        Ok((classes.values().to_vec(), class_of_set))
    }
}

impl Lists<AddressList> {
    fn ids(&mut self, values: &[Arc<AddressList>]) -> Vec<u32> {
        values.iter().map(|list| self.id(list)).collect()
    }
}
