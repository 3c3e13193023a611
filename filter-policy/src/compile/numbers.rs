//! Telephone numbers: from lists, scores and number ranges to classes.
//!
//! Everything that a rule can ask about a number is a property of the number's class, so one look-up answers all of it.

use std::{collections::HashMap, sync::Arc};

use filter_core::{
    layout::{NumberClass, NumberFormat, RuleSet, Trie},
    limits::MAX_DIGITS,
    trie::{SHORT_CODE, SHORT_CODE_DIGITS},
};

use super::{
    MAX_CLASSES,
    conditions::{Lists, same},
    error::{CompileError, CompileErrorKind},
    rule_set,
    sets::{Interned, Sets},
    stretches::{Entry, flatten, relabel, values_of},
    trie::Tries,
    upstreams::Upstreams,
};
use crate::{
    model::{Comparison, Identity, NumberEntry, NumberList, NumberRange, Policy, Test},
    numbering::bcd,
};

/// The number of [`Identity`] variants.
pub(super) const IDENTITIES: usize = 7;

/// The index of an identity in [`Numbers::rows`].
pub(super) fn place(identity: Identity) -> usize {
    match identity {
        Identity::Calling => 0,
        Identity::Called => 1,
        Identity::Forwarded => 2,
        Identity::From => 3,
        Identity::Asserted => 4,
        Identity::Preferred => 5,
        Identity::To => 6,
    }
}

/// The result of the compilation.
pub(super) struct Numbers {
    /// By class. Class 0 is an absent number, class 1 a number about which nothing is known.
    pub classes: Vec<NumberClass>,
    /// By class: the rules that the number satisfies, for each identity.
    pub rows: Vec<[RuleSet; IDENTITIES]>,
    /// By class: the rules that ask for an identity with such a number, and those that exclude one.
    pub any_identity: Vec<(RuleSet, RuleSet)>,
    /// By class: the upstreams that may use the number, see [`filter_core::layout::Config::callers_row`].
    pub callers: Vec<RuleSet>,
    /// Countries that rules name; index 0 is none.
    pub countries: Vec<String>,
    /// Regions that rules name; index 0 is none.
    pub regions: Vec<String>,
}

/// The number trie, with what it was built from.
pub(super) struct NumberCache {
    /// By atom: a list, and the score that its entries must have.
    atoms: Vec<(Arc<NumberList>, u32)>,
    ranges: Vec<NumberRange>,
    names: Names,
    states: States,
    /// The states that some number has. The others only arose on the way.
    used: Vec<u32>,
    class_of_state: Vec<u32>,
    pub tries: Tries,
}

impl NumberCache {
    /// True if the trie was built from these lists, scores, ranges and names.
    fn is_built_from(&self, scopes: &Scopes, ranges: &[NumberRange]) -> bool {
        let atoms = scopes.atoms.values();
        let lists: Vec<_> = atoms.iter().map(|atom| &scopes.lists.lists[atom.list as usize]).collect();
        same(self.atoms.iter().map(|(list, _)| list), lists.into_iter(), |list| &list.entries)
            && self.atoms.iter().map(|(_, at_least)| at_least).eq(atoms.iter().map(|atom| &atom.at_least))
            && self.ranges == ranges
            && self.names == scopes.names
    }
}

/// Puts the number trie into the cache, unless it is there already. Returns what each class means.
pub(super) fn compile(
    policy: &Policy,
    upstreams: &Upstreams<'_>,
    cache: &mut Option<NumberCache>,
    errors: &mut Vec<CompileError>,
) -> Result<Numbers, CompileErrorKind> {
    let scopes = Scopes::new(policy, upstreams);
    let ranges = &policy.numbering.ranges;
    // The cached trie is dropped before a new one is built, which takes as much memory again.
    if let Some(mut last) = cache.take()
        && last.is_built_from(&scopes, ranges)
    {
        let (classes, class_of_state) = last.states.classes(&last.used, &scopes, policy.rules.len())?;
        if class_of_state == last.class_of_state {
            last.atoms = scopes.lists_of_atoms();
            *cache = Some(last);
            return Ok(Numbers::new(&classes, scopes.names));
        }
    }

    let mut entries = Vec::new();
    for (item, atom) in scopes.atoms.values().iter().enumerate() {
        let list = &scopes.lists.lists[atom.list as usize];
        entries.reserve(list.entries.len());
        for entry in list.entries.iter().filter(|entry| entry.score >= atom.at_least) {
            if let Err(what) = add_entry(&mut entries, entry, item as u32) {
                errors.push(CompileErrorKind::BadEntry { line: entry.line, what }.at(&list.origin));
            }
        }
    }
    let first_range = scopes.atoms.values().len() as u32;
    for (index, range) in ranges.iter().enumerate() {
        match bcd::pack(&range.prefix) {
            // Ranges are about E.164 numbers, not short codes.
            Some(digits) => entries.push(Entry {
                key: u128::from(digits) << 64,
                length: 4 * range.prefix.len() as u8,
                item: first_range + index as u32,
            }),
            None => errors.push(CompileErrorKind::BadNumberRange(range.prefix.clone()).about_policy()),
        }
    }

    let mut states = States { sets: Sets::new(), facts: Interned::new(), states: Interned::new() };
    let unknown = states.states.intern((0, states.facts.intern(Facts::UNKNOWN)));
    let mut stretches = flatten(entries, unknown, |state, item| {
        let &(set, facts) = states.states.value(state);
        let next = match item.checked_sub(first_range) {
            None => (states.sets.with(set, item), facts),
            Some(range) => {
                let known = states.facts.value(facts).overridden(&ranges[range as usize], &scopes.names);
                (set, states.facts.intern(known))
            }
        };
        states.states.intern(next)
    });
    let used = values_of(stretches.iter(), states.states.values().len());
    let (classes, class_of_state) = states.classes(&used, &scopes, policy.rules.len())?;
    relabel(&mut stretches, |state| class_of_state[state as usize]);
    let mut tries = Tries::new();
    tries.build(Trie::Number, &stretches);
    tries.finish();
    // Without errors only: a rejected entry is reported on every build.
    if errors.is_empty() {
        let (atoms, ranges, names) = (scopes.lists_of_atoms(), ranges.clone(), scopes.names.clone());
        *cache = Some(NumberCache { atoms, ranges, names, states, used, class_of_state, tries });
    }
    Ok(Numbers::new(&classes, scopes.names))
}

impl Numbers {
    fn new(classes: &[Class], names: Names) -> Self {
        Self {
            classes: classes.iter().map(|class| class.facts.number_class()).collect(),
            rows: classes.iter().map(|class| class.rows).collect(),
            any_identity: classes.iter().map(|class| class.any_identity).collect(),
            callers: classes.iter().map(|class| class.callers).collect(),
            countries: by_index(names.countries),
            regions: by_index(names.regions),
        }
    }
}

/// What is known about numbers before rules are considered. A state is the set of atoms that contain a number, with the facts
/// about its range.
struct States {
    sets: Sets,
    facts: Interned<Facts>,
    states: Interned<(u32, u32)>,
}

impl States {
    /// The classes of the states in `used`, and the class of each state (0 for unused ones).
    fn classes(&self, used: &[u32], scopes: &Scopes, rules: usize) -> Result<(Vec<Class>, Vec<u32>), CompileErrorKind> {
        let all = rule_set::first(rules);
        let evaluate = |items: &[u32], facts: &Facts| -> Class {
            let mut rows = [all; IDENTITIES];
            for condition in &scopes.conditions {
                if condition.values.hold(items, facts) == condition.negated {
                    rule_set::remove(&mut rows[condition.identity], condition.rule);
                }
            }
            let mut any_identity = (rule_set::NONE, rule_set::NONE);
            for condition in &scopes.any_identity {
                if condition.values.hold(items, facts) {
                    let (hits, vetoes) = &mut any_identity;
                    rule_set::insert(if condition.negated { vetoes } else { hits }, condition.rule);
                }
            }
            let mut callers = rule_set::NONE;
            for (upstream, values) in scopes.callers.iter().enumerate() {
                if values.hold(items, facts) {
                    rule_set::insert(&mut callers, upstream);
                }
            }
            // Only rules look at the holder.
            Class { rows, any_identity, callers, facts: Facts { spid: 0, ..*facts } }
        };
        let mut classes = Interned::new();
        classes.push(evaluate(&[], &Facts::ABSENT));
        classes.push(evaluate(&[], &Facts::UNKNOWN));
        let mut class_of_state = vec![0; self.states.values().len()];
        for &state in used {
            let &(set, facts) = self.states.value(state);
            class_of_state[state as usize] = classes.intern(evaluate(self.sets.items(set), self.facts.value(facts)));
            if classes.values().len() > MAX_CLASSES {
                return Err(CompileErrorKind::TooManyClasses { of: "numbers" });
            }
        }
        Ok((classes.values().to_vec(), class_of_state))
    }
}

/// Adds a list entry to both key spaces in which it can match, see [`filter_core::trie::number_key`].
fn add_entry(entries: &mut Vec<Entry>, entry: &NumberEntry, item: u32) -> Result<(), &'static str> {
    let digits = u32::from(entry.length);
    if digits == 0 || digits > MAX_DIGITS {
        return Err("not a number of 1 to 15 digits");
    }
    let unused = 64 - 4 * digits;
    if entry.digits & ((1 << unused) - 1) != 0 {
        return Err("not a number: digits are set after its length");
    }
    // An exact number is its digits, then the terminator.
    let (key, nibbles) =
        if entry.exact { (entry.digits | (0xF << (unused - 4)), digits + 1) } else { (entry.digits, digits) };
    if digits <= SHORT_CODE_DIGITS {
        let key = (key >> 4) | (SHORT_CODE << 60);
        entries.push(Entry { key: u128::from(key) << 64, length: 4 * (nibbles as u8 + 1), item });
    }
    entries.push(Entry { key: u128::from(key) << 64, length: 4 * nibbles as u8, item });
    Ok(())
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Class {
    rows: [RuleSet; IDENTITIES],
    any_identity: (RuleSet, RuleSet),
    callers: RuleSet,
    facts: Facts,
}

/// What is known about a number from its range.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Facts {
    /// Index of the country among those that rules name; 0 for any other. Likewise `region` and `spid`.
    country: u16,
    region: u16,
    spid: u16,
    min_digits: u8,
    max_digits: u8,
    format: NumberFormat,
}

impl Facts {
    /// The facts about an absent number.
    const ABSENT: Self =
        Self { country: 0, region: 0, spid: 0, min_digits: 0, max_digits: 0, format: NumberFormat::Missing };
    /// The facts about a number in no range: up to E.164's maximum length; with six digits or fewer it would be a short code.
    const UNKNOWN: Self = Self {
        country: 0,
        region: 0,
        spid: 0,
        min_digits: SHORT_CODE_DIGITS as u8 + 1,
        max_digits: MAX_DIGITS as u8,
        format: NumberFormat::Valid,
    };

    /// The facts in a more specific range.
    fn overridden(mut self, range: &NumberRange, names: &Names) -> Self {
        let index = |known: &HashMap<String, u16>, name: &Arc<str>| known.get(&**name).copied().unwrap_or(0);
        if let Some(country) = &range.country {
            self.country = index(&names.countries, country);
        }
        if let Some(region) = &range.region {
            self.region = index(&names.regions, region);
        }
        if let Some(spid) = &range.spid {
            self.spid = index(&names.spids, spid);
        }
        if let Some((min, max)) = range.digits {
            (self.min_digits, self.max_digits) = (min, max);
        }
        if let Some(format) = range.format {
            self.format = format;
        }
        self
    }

    fn number_class(&self) -> NumberClass {
        NumberClass {
            min_digits: self.min_digits,
            max_digits: self.max_digits,
            format: self.format,
            flags: 0,
            country: self.country,
            region: self.region,
        }
    }
}

/// The entries of a list whose score is high enough.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Atom {
    list: u32,
    at_least: u32,
}

/// All conditions on numbers.
struct Scopes {
    lists: Lists<NumberList>,
    atoms: Interned<Atom>,
    names: Names,
    conditions: Vec<NumberCondition>,
    any_identity: Vec<AnyIdentityCondition>,
    /// The numbers that each upstream may use, by its number less one.
    callers: Vec<Values>,
}

/// Indices, from 1, of what rules name.
#[derive(Clone, Default, PartialEq, Eq)]
struct Names {
    countries: HashMap<String, u16>,
    regions: HashMap<String, u16>,
    spids: HashMap<String, u16>,
}

struct NumberCondition {
    rule: usize,
    identity: usize,
    negated: bool,
    values: Values,
}

/// A condition that any of the caller's identities can meet.
struct AnyIdentityCondition {
    rule: usize,
    negated: bool,
    values: Values,
}

enum Values {
    /// In one of these atoms.
    Any(Vec<u32>),
    /// In one of the first atoms and none of the second ones.
    Between(Vec<u32>, Vec<u32>),
    Country(Vec<u16>),
    Region(Vec<u16>),
    Spid(Vec<u16>),
    /// No number has such a score.
    Never,
}

impl Values {
    fn hold(&self, items: &[u32], facts: &Facts) -> bool {
        let any = |atoms: &[u32]| atoms.iter().any(|atom| items.binary_search(atom).is_ok());
        match self {
            Self::Any(atoms) => any(atoms),
            Self::Between(atoms, above) => any(atoms) && !any(above),
            Self::Country(countries) => countries.contains(&facts.country),
            Self::Region(regions) => regions.contains(&facts.region),
            Self::Spid(spids) => spids.contains(&facts.spid),
            Self::Never => false,
        }
    }
}

impl Scopes {
    fn new(policy: &Policy, upstreams: &Upstreams<'_>) -> Self {
        let mut scopes = Self {
            lists: Lists::default(),
            atoms: Interned::new(),
            names: Names::default(),
            conditions: Vec::new(),
            any_identity: Vec::new(),
            callers: Vec::new(),
        };
        for (rule, conditions) in policy.rules.iter().enumerate() {
            for condition in &conditions.conditions {
                let (identity, values) = match &condition.test {
                    Test::AnyIdentity(lists) => {
                        let values = Values::Any(scopes.atoms(lists, 0));
                        scopes.any_identity.push(AnyIdentityCondition { rule, negated: condition.negated, values });
                        continue;
                    }
                    Test::Number(identity, lists) => (*identity, Values::Any(scopes.atoms(lists, 0))),
                    Test::Reputation(lists, comparison, score) => {
                        (Identity::Calling, scopes.reputation(lists, *comparison, *score))
                    }
                    Test::Country(identity, codes) => {
                        (*identity, Values::Country(indices(&mut scopes.names.countries, codes)))
                    }
                    Test::Region(identity, codes) => {
                        (*identity, Values::Region(indices(&mut scopes.names.regions, codes)))
                    }
                    Test::Spid(identity, codes) => (*identity, Values::Spid(indices(&mut scopes.names.spids, codes))),
                    Test::Anomaly(_)
                    | Test::Attestation(_)
                    | Test::CallerAllowed(_)
                    | Test::CallingPrivacy(_)
                    | Test::Destination(_)
                    | Test::Dialog(_)
                    | Test::Format(..)
                    | Test::Method(_)
                    | Test::Neighbor(_)
                    | Test::Passport(_)
                    | Test::Payload(_)
                    | Test::Port(_)
                    | Test::Source(_)
                    | Test::Text(..)
                    | Test::Transport(_)
                    | Test::Verstat(_) => continue,
                };
                let (identity, negated) = (place(identity), condition.negated);
                scopes.conditions.push(NumberCondition { rule, identity, negated, values });
            }
        }
        for lists in upstreams.callers() {
            let values = Values::Any(scopes.atoms(lists, 0));
            scopes.callers.push(values);
        }
        scopes
    }

    fn lists_of_atoms(&self) -> Vec<(Arc<NumberList>, u32)> {
        let list = |atom: &Atom| (Arc::clone(&self.lists.lists[atom.list as usize]), atom.at_least);
        self.atoms.values().iter().map(list).collect()
    }

    fn atoms(&mut self, lists: &[Arc<NumberList>], at_least: u32) -> Vec<u32> {
        lists.iter().map(|list| self.atoms.intern(Atom { list: self.lists.id(list), at_least })).collect()
    }

    /// The highest score among a number's entries reaches a threshold if any of these entries does. So every comparison comes down
    /// to membership in sets of entries. A number in no list has no score, and no comparison holds for it.
    fn reputation(&mut self, lists: &[Arc<NumberList>], comparison: Comparison, score: u32) -> Values {
        let least = match comparison {
            Comparison::AtLeast | Comparison::Equal => Some(score),
            Comparison::AtMost | Comparison::Less => Some(0),
            Comparison::More => score.checked_add(1),
        };
        let above = match comparison {
            Comparison::AtLeast | Comparison::More => None,
            Comparison::AtMost | Comparison::Equal => score.checked_add(1),
            Comparison::Less => Some(score),
        };
        match (least, above) {
            (None, _) => Values::Never,
            (Some(least), None) => Values::Any(self.atoms(lists, least)),
            (Some(least), Some(above)) => Values::Between(self.atoms(lists, least), self.atoms(lists, above)),
        }
    }
}

/// Indices of names, from 1. New names get the next index.
fn indices(known: &mut HashMap<String, u16>, names: &[String]) -> Vec<u16> {
    let mut index = |name: &String| {
        let next = known.len() as u16 + 1;
        *known.entry(name.clone()).or_insert(next)
    };
    names.iter().map(&mut index).collect()
}

/// Names by index, with an empty name for index 0.
fn by_index(indices: HashMap<String, u16>) -> Vec<String> {
    let mut names = vec![String::new(); indices.len() + 1];
    for (name, index) in indices {
        names[usize::from(index)] = name;
    }
    names
}
