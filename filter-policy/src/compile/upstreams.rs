//! Upstreams: the numbers by which the engine knows them.
//!
//! Those whose callers are listed come first, so that their numbers are places in a row of bits.

use std::{collections::BTreeMap, sync::Arc};

use filter_core::{
    layout::{Per, RuleSet, address_flag::MAX_UPSTREAM},
    limits::MAX_RULES,
};
use sha2::{Digest as _, Sha256};

use super::{CompileError, CompileErrorKind, rule_set};
use crate::model::{AddressList, NumberList, Policy, Test};

/// The upstreams that a policy's rules ask about: none, unless some rule does.
#[derive(Default)]
pub(super) struct Upstreams<'a> {
    /// In the order in which a source is looked for in them: the first one has it.
    by_source: Vec<Upstream<'a>>,
    /// The upstreams' lists of callers, by their number less one.
    callers: Vec<&'a [Arc<NumberList>]>,
    /// True if a rule asks for the callers.
    pub(super) asks_callers: bool,
    /// True if a limit is counted by upstream.
    pub(super) counts: bool,
}

/// An upstream: an `[[upstream]]`, or a label.
struct Upstream<'a> {
    name: &'a str,
    sources: Vec<&'a Arc<AddressList>>,
    /// Its number, from 1.
    number: u32,
}

impl<'a> Upstreams<'a> {
    pub(super) fn new(policy: &'a Policy, errors: &mut Vec<CompileError>) -> Self {
        let conditions = policy.rules.iter().flat_map(|rule| &rule.conditions);
        let asks_callers = conditions.into_iter().any(|condition| matches!(condition.test, Test::CallerAllowed(_)));
        let counts = policy.rules.iter().any(|rule| rule.over.as_ref().is_some_and(|over| over.per == Per::Upstream));
        let mut upstreams = Self { asks_callers, counts, ..Self::default() };
        if !asks_callers && !counts {
            return upstreams;
        }
        let listed = policy.upstreams.iter().filter(|upstream| upstream.callers.is_some()).count();
        let (mut with_list, mut without) = (0, listed);
        for upstream in &policy.upstreams {
            let number = if upstream.callers.is_some() { &mut with_list } else { &mut without };
            *number += 1;
            upstreams.callers.resize(listed, &[]);
            if let Some(callers) = &upstream.callers {
                upstreams.callers[*number - 1] = callers;
            }
            let sources = upstream.trunks.iter().collect();
            upstreams.by_source.push(Upstream { name: &upstream.name, sources, number: *number as u32 });
        }
        // A label is an upstream of which nothing else is known.
        let mut labels: BTreeMap<&str, Vec<&Arc<AddressList>>> = BTreeMap::new();
        for list in policy.labelled.iter().filter(|_| counts) {
            labels.entry(list.label.as_deref().unwrap_or_default()).or_default().push(list);
        }
        for (name, sources) in labels {
            let known =
                upstreams.by_source.iter().find(|upstream| upstream.name == name).map(|upstream| upstream.number);
            without += usize::from(known.is_none());
            let number = known.unwrap_or(without as u32);
            upstreams.by_source.push(Upstream { name, sources, number });
        }
        for (count, most, with) in
            [(if asks_callers { listed } else { 0 }, MAX_RULES, " with `callers`"), (without, MAX_UPSTREAM, "")]
        {
            if count > most {
                errors.push(CompileErrorKind::TooManyUpstreams { count, most, with }.about_policy());
            }
        }
        upstreams
    }

    /// The sources of each, with its number, in the order in which they are looked for.
    pub(super) fn sources(&self) -> impl Iterator<Item = (u32, &[&'a Arc<AddressList>])> {
        self.by_source.iter().map(|upstream| (upstream.number, upstream.sources.as_slice()))
    }

    /// The lists of the numbers that upstreams may use, by their number less one; none if no rule asks.
    pub(super) fn callers(&self) -> &[&'a [Arc<NumberList>]] {
        if self.asks_callers { &self.callers } else { &[] }
    }

    /// For each number from 1 on: a row that begins with what limits know the upstream by.
    pub(super) fn keys(&self) -> Vec<RuleSet> {
        let count = self.by_source.iter().map(|upstream| upstream.number).max().unwrap_or(0);
        let mut rows = vec![rule_set::NONE; count as usize];
        for upstream in &self.by_source {
            rows[upstream.number as usize - 1][0] = key(upstream.name);
        }
        rows
    }
}

/// What limits know an upstream by: it depends on its name alone, so that its limits go on when the policy is replaced, and is not 0.
fn key(name: &str) -> u64 {
    let digest = Sha256::digest(name);
    let first: [u8; 8] = std::array::from_fn(|index| digest[index]);
    u64::from_be_bytes(first) | 1
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn upstreams_have_keys_of_their_own_that_are_never_zero() {
        let keys: BTreeSet<u64> = (0..10_000).map(|index| key(&format!("upstream-{index}"))).collect();
        assert_eq!((keys.len(), keys.contains(&0)), (10_000, false));
    }
}
