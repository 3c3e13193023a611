//! What another version of a policy changes, in the words of its file.
//!
//! Keys are compared as they are written, so that every key of the language is covered, and people find what they read in the
//! file. Entries of sets are compared one by one, wherever they are written.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    path::Path,
    sync::Arc,
};

use serde::Serialize;
use toml::{Table, Value};

use crate::{
    Built, POLICY_FILE,
    bounds::POLICY_BYTES,
    files::Files,
    language::printable::escaped,
    model::{NumberEntry, NumberRange, Policy, Test},
    numbering::{bcd, emergency},
};

/// Entries that are listed for each set.
const LISTED: usize = 5;

/// Keys that say nothing about packets.
const REMARKS: [&str; 3] = ["comment", "description", "review"];

/// What another version of a policy changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// True if both compile to the same: nothing changes for any packet.
    pub same_effect: bool,
    /// Keys outside rules: of the policy, `[network]`, `[numbering]` and `[sets]`.
    pub keys: Vec<ChangedKey>,
    /// Names of rules that are new, in file order.
    pub added: Vec<String>,
    /// Names of rules that are gone.
    pub removed: Vec<String>,
    /// Rules that are written otherwise.
    pub changed: Vec<ChangedRule>,
    /// Names of rules that come earlier or later among the others.
    pub moved: Vec<String>,
    /// Sets that rules or other keys use, and whose entries are others.
    pub sets: Vec<ChangedSet>,
}

/// A key with another value. The values are TOML.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ChangedKey {
    /// The key with its sections, such as `network.udp`.
    pub key: String,
    /// Its value before; none if it was not there.
    pub from: Option<String>,
    /// Its value now; none if it is not there.
    pub to: Option<String>,
}

/// A rule that is written otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ChangedRule {
    /// Its name.
    pub rule: String,
    /// The keys that differ.
    pub keys: Vec<ChangedKey>,
}

/// A set with other entries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ChangedSet {
    /// Its name; `[numbering]` for the numbering tables.
    pub set: String,
    /// How many entries are new.
    pub added: usize,
    /// How many are gone.
    pub removed: usize,
    /// The first of the new ones.
    pub first_added: Vec<String>,
    /// The first of those that are gone.
    pub first_removed: Vec<String>,
}

/// A policy with the file that it is from.
pub struct Version<'a> {
    /// The policy.
    pub built: &'a Built,
    /// Its `policy.toml`.
    pub file: Table,
}

impl<'a> Version<'a> {
    /// A policy that was built from these files.
    #[must_use]
    pub fn new(built: &'a Built, files: &dyn Files) -> Self {
        // It has been parsed before: the file is TOML, unless it has changed since.
        let content = files.read(Path::new(POLICY_FILE), POLICY_BYTES).ok();
        let file = content.and_then(|content| str::from_utf8(&content).ok()?.parse().ok()).unwrap_or_default();
        Self { built, file }
    }
}

impl Difference {
    /// What `to` changes.
    #[must_use]
    pub fn between(from: &Version<'_>, to: &Version<'_>) -> Self {
        let (before, after) = (rules(&from.file), rules(&to.file));
        let find = |rules: &[(String, Flat)], name: &str| rules.iter().position(|(known, _)| known == name);
        let added = after.iter().filter(|(name, _)| find(&before, name).is_none());
        let removed = before.iter().filter(|(name, _)| find(&after, name).is_none());
        let changed = after.iter().filter_map(|(name, keys)| {
            let keys = changes(&before[find(&before, name)?].1, keys);
            (!keys.is_empty()).then(|| ChangedRule { rule: name.clone(), keys })
        });
        let common: Vec<usize> = after.iter().filter_map(|(name, _)| find(&before, name)).collect();
        let stay = increasing(&common);
        let moved = common.iter().filter(|index| !stay.contains(index)).map(|index| before[*index].0.clone());
        Self {
            same_effect: from.built.image.hash == to.built.image.hash,
            keys: changes(&outside_rules(&from.file), &outside_rules(&to.file)),
            added: added.map(|(name, _)| name.clone()).collect(),
            removed: removed.map(|(name, _)| name.clone()).collect(),
            changed: changed.collect(),
            moved: moved.collect(),
            sets: sets(&from.built.policy, &to.built.policy),
        }
    }

    /// True if nothing differs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Self { same_effect, keys, added, removed, changed, moved, sets } = self;
        *same_effect
            && keys.is_empty()
            && changed.is_empty()
            && sets.is_empty()
            && [added, removed, moved].iter().all(|names| names.is_empty())
    }

    /// The text for people, one change in each line.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = String::new();
        for key in &self.keys {
            let _ = writeln!(text, "{key}");
        }
        for (sign, word, names) in
            [('+', "is new", &self.added), ('-', "is gone", &self.removed), ('~', "has another place", &self.moved)]
        {
            for name in names {
                let _ = writeln!(text, "{sign} rule {}: {word}", escaped(name));
            }
        }
        for rule in &self.changed {
            for key in &rule.keys {
                let _ = writeln!(text, "~ rule {}: {}", escaped(&rule.rule), key.without_sign());
            }
        }
        for set in &self.sets {
            let _ = writeln!(text, "~ {}: {} new, {} gone", escaped(&set.set), set.added, set.removed);
            for (sign, count, first) in [('+', set.added, &set.first_added), ('-', set.removed, &set.first_removed)] {
                for entry in first {
                    let _ = writeln!(text, "    {sign} {}", escaped(entry));
                }
                if count > first.len() {
                    let _ = writeln!(text, "    {sign} {} more", count - first.len());
                }
            }
        }
        match (text.is_empty(), self.same_effect) {
            (true, true) => text += "nothing changes\n",
            (false, true) => text += "none of this changes what happens to a packet\n",
            // Such as entries that have expired meanwhile.
            (true, false) => text += "the files say the same, and the policy compiles to another one\n",
            (false, false) => {}
        }
        text
    }
}

impl ChangedKey {
    fn without_sign(&self) -> String {
        let key = escaped(&self.key);
        match (self.from.as_deref().map(escaped), self.to.as_deref().map(escaped)) {
            (Some(from), Some(to)) => format!("{key} = {from} -> {to}"),
            (Some(from), None) => format!("{key} = {from} is gone"),
            (None, to) => format!("{key} = {} is new", to.unwrap_or_default()),
        }
    }
}

impl std::fmt::Display for ChangedKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sign = match (&self.from, &self.to) {
            (Some(_), Some(_)) => '~',
            (Some(_), None) => '-',
            (None, _) => '+',
        };
        write!(f, "{sign} {}", self.without_sign())
    }
}

/// Keys with their sections, and their values as TOML.
type Flat = BTreeMap<String, String>;

/// Each rule with its keys, in file order.
fn rules(file: &Table) -> Vec<(String, Flat)> {
    let rules = file.get("rule").and_then(Value::as_array).into_iter().flatten();
    let rules = rules.filter_map(|rule| {
        let mut keys = Flat::new();
        flatten("", rule.as_table()?, &mut keys);
        let name = rule.get("name")?.as_str()?.to_owned();
        keys.remove("name");
        Some((name, keys))
    });
    rules.collect()
}

/// All keys outside rules, except for entries of sets that are written there: those are compared one by one.
fn outside_rules(file: &Table) -> Flat {
    let mut keys = Flat::new();
    for (key, value) in file.iter().filter(|(key, _)| *key != "rule") {
        match value.as_array().filter(|_| key == "upstream") {
            None => flatten("", &Table::from_iter([(key.clone(), value.clone())]), &mut keys),
            // Each by its name, as rules are.
            Some(upstreams) => upstreams.iter().filter_map(Value::as_table).for_each(|upstream| {
                let name = upstream.get("name").and_then(Value::as_str).unwrap_or_default();
                flatten(&format!("{key}.{name}"), upstream, &mut keys);
            }),
        }
    }
    keys.retain(|key, value| !(key.starts_with("sets.") && value.starts_with('[')));
    keys
}

fn flatten(above: &str, table: &Table, keys: &mut Flat) {
    for (key, value) in table.iter().filter(|(key, _)| !REMARKS.contains(&key.as_str())) {
        let key = if above.is_empty() { key.clone() } else { format!("{above}.{key}") };
        match value {
            Value::Table(table) => flatten(&key, table, keys),
            Value::Array(_)
            | Value::Boolean(_)
            | Value::Datetime(_)
            | Value::Float(_)
            | Value::Integer(_)
            | Value::String(_) => drop(keys.insert(key, written(value))),
        }
    }
}

/// A value as TOML, in one line.
fn written(value: &Value) -> String {
    match value {
        Value::Array(values) => format!("[{}]", values.iter().map(written).collect::<Vec<_>>().join(", ")),
        Value::Boolean(value) => value.to_string(),
        Value::Datetime(value) => value.to_string(),
        Value::Float(value) => value.to_string(),
        Value::Integer(value) => value.to_string(),
        Value::String(value) => format!("\"{value}\""),
        Value::Table(table) => {
            let keys = table.iter().map(|(key, value)| format!("{key} = {}", written(value)));
            format!("{{ {} }}", keys.collect::<Vec<_>>().join(", "))
        }
    }
}

fn changes(from: &Flat, to: &Flat) -> Vec<ChangedKey> {
    let keys: BTreeSet<&String> = from.keys().chain(to.keys()).collect();
    let changed = keys.into_iter().filter(|key| from.get(*key) != to.get(*key));
    changed.map(|key| ChangedKey { key: key.clone(), from: from.get(key).cloned(), to: to.get(key).cloned() }).collect()
}

/// A longest increasing subsequence: what stays where it was, if the rest is moved.
fn increasing(values: &[usize]) -> Vec<usize> {
    let mut best: Vec<(usize, Option<usize>)> = Vec::new();
    for (index, value) in values.iter().enumerate() {
        let before = (0..index).filter(|&earlier| values[earlier] < *value).max_by_key(|&earlier| best[earlier].0);
        best.push((before.map_or(1, |before| best[before].0 + 1), before));
    }
    let mut at = (0..values.len()).max_by_key(|&index| best[index].0);
    let mut sequence = Vec::new();
    while let Some(index) = at {
        sequence.push(values[index]);
        at = best[index].1;
    }
    sequence
}

/// The entries of a set, of one of three kinds.
#[derive(Default)]
struct Entries<'a> {
    addresses: Vec<ipnet::IpNet>,
    numbers: Vec<(u64, u8, bool, u32)>,
    patterns: Vec<&'a str>,
}

/// The sets that a policy uses, by name.
fn entries(policy: &Policy) -> BTreeMap<&str, Entries<'_>> {
    let mut sets: BTreeMap<&str, Entries<'_>> = BTreeMap::new();
    let numbering = &policy.numbering;
    let outside_rules = policy.never_ban.iter().chain(&numbering.asserted_identity_from);
    let mut addresses: Vec<_> = outside_rules.chain(numbering.plans.iter().flat_map(|(from, _)| from)).collect();
    addresses.extend(policy.upstreams.iter().flat_map(|upstream| &upstream.trunks));
    let mut numbers: Vec<_> =
        policy.upstreams.iter().filter_map(|upstream| upstream.callers.as_ref()).flatten().collect();
    let mut patterns = Vec::new();
    for condition in policy.rules.iter().flat_map(|rule| &rule.conditions) {
        match &condition.test {
            Test::Destination(lists) | Test::Source(lists) => addresses.extend(lists),
            Test::AnyIdentity(lists) | Test::Number(_, lists) | Test::Reputation(lists, ..) => numbers.extend(lists),
            Test::Text(_, lists) => patterns.extend(lists),
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
            | Test::Verstat(_) => {}
        }
    }
    addresses.dedup_by(|one, other| Arc::ptr_eq(one, other));
    for list in addresses {
        if let Some(name) = &list.name {
            sets.entry(name).or_default().addresses.extend(list.entries.iter().map(|entry| entry.network()));
        }
    }
    for list in numbers {
        if let Some(name) = &list.name {
            let key = |entry: &NumberEntry| (entry.digits, entry.length, entry.exact, entry.score);
            sets.entry(name).or_default().numbers.extend(list.entries.iter().map(key));
        }
    }
    for list in patterns {
        if let Some(name) = &list.name {
            sets.entry(name).or_default().patterns.extend(list.entries.iter().map(|entry| entry.pattern.as_str()));
        }
    }
    for set in sets.values_mut() {
        // A set that is used several times is there several times.
        set.addresses.sort_unstable();
        set.addresses.dedup();
        set.numbers.sort_unstable();
        set.numbers.dedup();
        set.patterns.sort_unstable();
        set.patterns.dedup();
    }
    sets
}

fn sets(from: &Policy, to: &Policy) -> Vec<ChangedSet> {
    let (before, after) = (entries(from), entries(to));
    let names: BTreeSet<&&str> = before.keys().chain(after.keys()).collect();
    let none = Entries::default();
    let mut changed = Vec::new();
    for name in names {
        let (from, to) = (before.get(*name).unwrap_or(&none), after.get(*name).unwrap_or(&none));
        let mut set = ChangedSet::empty(format!("@{name}"));
        set.compare(&from.addresses, &to.addresses, |network| {
            if network.prefix_len() == network.max_prefix_len() {
                network.addr().to_string()
            } else {
                network.to_string()
            }
        });
        set.compare(&from.numbers, &to.numbers, number);
        set.compare(&from.patterns, &to.patterns, |pattern| (*pattern).to_owned());
        changed.push(set);
    }
    if from.numbering.ranges != to.numbering.ranges {
        let mut set = ChangedSet::empty("[numbering]".to_owned());
        let sorted = |ranges: &[NumberRange]| {
            let mut ranges: Vec<String> = ranges.iter().map(range).collect();
            ranges.sort_unstable();
            ranges
        };
        set.compare(&sorted(&from.numbering.ranges), &sorted(&to.numbering.ranges), Clone::clone);
        changed.push(set);
    }
    changed.retain(|set| set.added + set.removed > 0);
    changed
}

impl ChangedSet {
    fn empty(set: String) -> Self {
        Self { set, added: 0, removed: 0, first_added: Vec::new(), first_removed: Vec::new() }
    }

    /// Counts what is in only one of two sorted lists.
    fn compare<T: Ord>(&mut self, from: &[T], to: &[T], text: impl Fn(&T) -> String) {
        let (mut old, mut new) = (from.iter().peekable(), to.iter().peekable());
        loop {
            let order = match (old.peek(), new.peek()) {
                (Some(old), Some(new)) => old.cmp(new),
                (Some(_), None) => std::cmp::Ordering::Less,
                (None, Some(_)) => std::cmp::Ordering::Greater,
                (None, None) => return,
            };
            let (entry, count, first) = match order {
                std::cmp::Ordering::Equal => {
                    old.next();
                    new.next();
                    continue;
                }
                std::cmp::Ordering::Greater => (new.next(), &mut self.added, &mut self.first_added),
                std::cmp::Ordering::Less => (old.next(), &mut self.removed, &mut self.first_removed),
            };
            *count += 1;
            first.extend(entry.filter(|_| *count <= LISTED).map(&text));
        }
    }
}

fn number(&(digits, length, exact, score): &(u64, u8, bool, u32)) -> String {
    let end = if exact { "$" } else { "" };
    let score = if score > 0 { format!(" (score {score})") } else { String::new() };
    format!("{}{end}{score}", emergency::text(digits).unwrap_or_else(|| bcd::text(digits, length)))
}

fn range(range: &NumberRange) -> String {
    let facts = [&range.country, &range.region, &range.spid].into_iter().flatten();
    let format = range.format.map(|format| format!(" {}", format.name())).unwrap_or_default();
    let digits = range.digits.map(|(fewest, most)| format!(" {fewest} to {most} digits")).unwrap_or_default();
    facts.fold(range.prefix.clone(), |text, fact| format!("{text} {fact}")) + &format + &digits
}
