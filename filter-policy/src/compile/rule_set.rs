//! Sets of rules, one bit for each rule.

use filter_core::{layout::RuleSet, limits::RULE_WORDS};

/// No rule.
pub(super) const NONE: RuleSet = [0; RULE_WORDS];

/// Every bit, including those after the last rule.
pub(super) const ALL_BITS: RuleSet = [u64::MAX; RULE_WORDS];

/// The first `count` rules.
pub(super) fn first(count: usize) -> RuleSet {
    let mut set = NONE;
    (0..count).for_each(|rule| insert(&mut set, rule));
    set
}

/// Puts a rule into the set.
pub(super) fn insert(set: &mut RuleSet, rule: usize) {
    set[rule / 64] |= 1 << (rule % 64);
}

/// Takes a rule out of the set.
pub(super) fn remove(set: &mut RuleSet, rule: usize) {
    set[rule / 64] &= !(1 << (rule % 64));
}

/// The first rule of the set.
pub(super) fn lowest(set: &RuleSet) -> Option<usize> {
    let word = set.iter().position(|word| *word != 0)?;
    Some(word * 64 + set[word].trailing_zeros() as usize)
}

/// Adds the rules of another set.
pub(super) fn unite(set: &mut RuleSet, other: &RuleSet) {
    set.iter_mut().zip(other).for_each(|(word, other)| *word |= other);
}
