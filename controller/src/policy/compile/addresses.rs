//! Source and destination addresses: lists to classes.

use std::{net::IpAddr, sync::Arc};

use filter_core::layout::{RuleSet, Trie, address_flag};

use super::{
    MAX_CLASSES,
    conditions::Lists,
    error::{CompileError, CompileErrorKind},
    rule_set,
    sets::{Interned, Sets},
    trie::{Entry, Stretch, Tries, flatten, relabel},
};
use crate::policy::model::{AddressList, Policy, Test};

/// What the engine can know of an address: all that its class stands for.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct AddressClass {
    /// Rules that it satisfies as a source.
    pub source: RuleSet,
    /// Rules that it satisfies as a destination.
    pub destination: RuleSet,
    /// [`address_flag`] bits.
    pub flags: u32,
}

/// Fills the address tries; returns what each class stands for.
pub fn compile(
    policy: &Policy,
    tries: &mut Tries,
    errors: &mut Vec<CompileError>,
) -> Result<Vec<AddressClass>, CompileErrorKind> {
    let mut lists = Lists::<AddressList>::default();
    let mut sources = Vec::new();
    let mut destinations = Vec::new();
    for (rule, conditions) in policy.rules.iter().enumerate() {
        for condition in &conditions.conditions {
            match &condition.test {
                Test::Source(values) => sources.push((rule, lists.ids(values), condition.negated)),
                Test::Destination(values) => destinations.push((rule, lists.ids(values), condition.negated)),
                _ => {}
            }
        }
    }
    let believed = lists.ids(&policy.numbering.asserted_identity_from);
    let never_banned = lists.ids(&policy.never_ban);

    let (mut ipv4, mut ipv6) = (Vec::new(), Vec::new());
    for (id, list) in lists.lists.iter().enumerate() {
        for entry in &list.entries {
            let (entries, width, address) = match entry.address {
                IpAddr::V4(address) => (&mut ipv4, 32, u128::from(u32::from(address)) << 96),
                IpAddr::V6(address) => (&mut ipv6, 128, u128::from(address)),
            };
            if entry.prefix > width || address & u128::MAX.checked_shr(u32::from(entry.prefix)).unwrap_or(0) != 0 {
                let what = "not a network: bits are set behind its prefix length";
                errors.push(CompileError {
                    origin: Some(list.origin.clone()),
                    kind: CompileErrorKind::BadEntry { line: entry.line, what },
                });
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

    let all = rule_set::first(policy.rules.len());
    let mut classes = Interned::new();
    let mut class_of_set: Vec<Option<u32>> = vec![None; sets.len()];
    // The empty set comes first, whether anything has it or not: class 0 is "in no list".
    let used = stretches.iter().flat_map(|(_, stretches)| stretches.iter().map(|stretch| stretch.value));
    for set in std::iter::once(0).chain(used) {
        class_of_set[set as usize].get_or_insert_with(|| {
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
            if is_in(&believed) {
                flags |= address_flag::ASSERTED_BELIEVED;
            }
            if is_in(&never_banned) {
                flags |= address_flag::NEVER_BAN;
            }
            classes.intern(AddressClass { source: row(&sources), destination: row(&destinations), flags })
        });
        if classes.values().len() > MAX_CLASSES {
            return Err(CompileErrorKind::TooManyClasses { of: "addresses" });
        }
    }
    for (trie, stretches) in &mut stretches {
        relabel(stretches, |set| class_of_set[set as usize].unwrap_or(0));
        tries.build(*trie, stretches);
    }
    Ok(classes.values().to_vec())
}

impl Lists<AddressList> {
    fn ids(&mut self, values: &[Arc<AddressList>]) -> Vec<u32> {
        values.iter().map(|list| self.id(list)).collect()
    }
}
