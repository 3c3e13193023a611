//! What is allowed, and probably not what was meant.

pub mod gateway;

use std::{collections::BTreeMap, net::IpAddr, ops::Range, sync::Arc};

use filter_core::layout::{Action, Method};

use crate::{
    language::diagnostics::{Code, Diagnostic, Diagnostics, SourceFile},
    language::scope::Scope,
    language::source::{self, Located, Scalar, Source},
    lists::Day,
    model::{
        AddressEntry, AddressList, Comparison, Condition, Identity, MethodName, NumberEntry, NumberList, PatternList,
        Policy, Rule, Test,
    },
    numbering,
    resolve::SetState,
};

/// Entries of two lists that are compared one by one; larger lists only by being the same one.
const COMPARED_ENTRIES: usize = 256;

/// Adds the warnings about a whole policy, which has no errors: `policy` and `source` have the same rules and conditions.
pub(super) fn lint(
    policy: &Policy,
    source: &Source,
    file: &SourceFile,
    sets: &BTreeMap<String, SetState>,
    today: Day,
    diagnostics: &mut Diagnostics,
) {
    let mut linter = Linter { policy, source, file, diagnostics };
    linter.unused_sets(sets);
    linter.numbering_assumed();
    linter.emergency_calls();
    linter.actions();
    linter.reviews(today);
    linter.ports();
    linter.numbering_tables();
    linter.own_peers();
    linter.unreachable_rules();
}

struct Linter<'a> {
    policy: &'a Policy,
    source: &'a Source,
    file: &'a SourceFile,
    diagnostics: &'a mut Diagnostics,
}

impl<'a> Linter<'a> {
    fn warn(&mut self, code: Code, span: &Range<usize>, message: impl Into<String>, help: &str) {
        let place = self.file.place(span.clone());
        self.diagnostics.push(Diagnostic::warning(code, message).at(place).help(help));
    }

    /// The rules, resolved and as written.
    fn rules(&self) -> impl Iterator<Item = (&'a Rule, &'a source::Rule)> + use<'a> {
        self.policy.rules.iter().zip(&self.source.rules)
    }

    /// The conditions of all rules, resolved and as written.
    fn conditions(&self) -> impl Iterator<Item = (&'a Condition, &'a source::Condition)> + use<'a> {
        self.rules().flat_map(|(rule, written)| rule.conditions.iter().zip(&written.conditions))
    }

    fn unused_sets(&mut self, sets: &BTreeMap<String, SetState>) {
        for set in &self.source.sets {
            if sets.get(&set.name.value).is_some_and(|state| !state.used) {
                let message = format!("the set `{}` is not used", set.name.value);
                let help = format!("name it in a rule as \"@{}\", or remove it", set.name.value);
                self.warn(Code::UnusedSet, &set.name.span, message, &help);
            }
        }
    }

    fn numbering_assumed(&mut self) {
        if self.source.numbering.present {
            return;
        }
        let about_numbers = |scope| {
            matches!(
                scope,
                Scope::Number(_) | Scope::Country(_) | Scope::Region(_) | Scope::Format(_) | Scope::Neighbor
            )
        };
        if let Some((_, condition)) = self.conditions().find(|(_, condition)| about_numbers(condition.scope.value)) {
            let message = "numbers are read as North American ones, since there is no `[numbering]`";
            let help = "add `[numbering]` with the `country_code` that a bare national number belongs to";
            self.warn(Code::NumberingAssumed, &condition.scope.span, message, help);
        }
    }

    fn emergency_calls(&mut self) {
        let code = if self.policy.numbering.country_code == "1" { "911" } else { "112" };
        let digits = packed(code);
        let is_pinhole = |rule: &Rule| {
            rule.action == Action::Whitelist
                && !rule.report
                && rule.over.is_none()
                && rule.conditions.iter().all(|condition| calls_number(condition, digits))
        };
        let pinhole = self.policy.rules.iter().position(is_pinhole);
        let blocker = self.policy.rules.iter().position(|rule| can_block_call(rule, digits));
        match (pinhole, blocker) {
            (None, Some(blocker)) => {
                let span = self.source.rules[blocker].name.span.clone();
                let message = "no rule lets emergency calls through, and from this one on they can be dropped";
                let help = format!("let the first rule be: match.called = [\"{code}$\"], action = \"whitelist\"");
                self.warn(Code::NoEmergencyPinhole, &span, message, &help);
            }
            (None, None) if self.policy.default_drop => {
                let message = "no rule lets emergency calls through, and the default drops them".to_owned();
                let help = format!("let the first rule be: match.called = [\"{code}$\"], action = \"whitelist\"");
                self.diagnostics.push(Diagnostic::warning(Code::NoEmergencyPinhole, message).help(help));
            }
            (Some(pinhole), Some(blocker)) if blocker < pinhole => {
                let span = self.source.rules[pinhole].name.span.clone();
                let message = format!(
                    "the rule `{}` stands before this one, and can drop emergency calls",
                    self.policy.rules[blocker].name
                );
                self.warn(Code::EmergencyTooLate, &span, message, "move this rule to the top");
            }
            _ => {}
        }
        self.short_codes_as_prefixes();
    }

    /// `911` without `$` lets all of New Delhi through (+91 11).
    fn short_codes_as_prefixes(&mut self) {
        const SHORT_CODES: [&str; 5] = ["112", "911", "933", "988", "999"];
        for (rule, written) in self.rules() {
            let pinhole = matches!(rule.action, Action::Whitelist | Action::Continue | Action::BypassFraudControl);
            for condition in &written.conditions {
                if !pinhole || condition.scope.value != Scope::Number(Identity::Called) {
                    continue;
                }
                for value in &condition.values.value {
                    let Scalar::String(text) = &value.value else { continue };
                    if SHORT_CODES.contains(&text.as_str()) {
                        let message = format!(
                            "`{text}` is every number that begins so, such as +{} {}...",
                            &text[..2],
                            &text[2..]
                        );
                        let help = format!("write \"{text}$\" for the short code alone");
                        self.warn(Code::ShortCodeAsPrefix, &value.span, message, &help);
                    }
                }
            }
        }
    }

    fn actions(&mut self) {
        for (rule, written) in self.rules() {
            let Some(action) = &written.action else { continue };
            match rule.action {
                Action::Ban if self.policy.never_ban.is_empty() => {
                    let message = "this rule bans sources, and none is exempt: one spoofed packet bans a carrier";
                    let help = "name your trunks at the top of the file: `never_ban = [\"@trunks\"]`";
                    self.warn(Code::NoNeverBan, &action.span, message, help);
                }
                Action::Reject | Action::Divert if !rule.report => {
                    let message = "calls are dropped here, and nothing answers them yet";
                    let help =
                        "the caller hears nothing until its own timeout; where that is meant, say `action = \"drop\"`";
                    self.warn(Code::UnansweredCalls, &action.span, message, help);
                }
                _ => {}
            }
        }
    }

    fn reviews(&mut self, today: Day) {
        for (rule, written) in self.rules() {
            let Some(Located { value: date, span }) = &written.review else { continue };
            if rule.report && (date.year, date.month, date.day) < today {
                let message = format!("the rule `{}` is in report mode past its review date", rule.name);
                let help = "see what it would have dropped, then enforce it, remove it, or set another date";
                self.warn(Code::ReviewOverdue, span, message, help);
            }
        }
    }

    fn ports(&mut self) {
        for (condition, written) in self.conditions() {
            if condition.negated {
                continue;
            }
            match &condition.test {
                Test::Port(ports) => {
                    for (port, value) in ports.iter().zip(&written.values.value) {
                        if !self.policy.ports.iter().any(|(known, _)| known == port) {
                            let message = format!("port {port} is not a signalling port: nothing on it is looked at");
                            self.warn(Code::PortNotConfigured, &value.span, message, "add it to `[network]`");
                        }
                    }
                }
                Test::Transport(transports) => {
                    for (transport, value) in transports.iter().zip(&written.values.value) {
                        if !self.policy.ports.iter().any(|(_, known)| known == transport) {
                            let name = transport.name();
                            let message = format!("there is no signalling port of `{name}`");
                            self.warn(Code::PortNotConfigured, &value.span, message, "add one to `[network]`");
                        }
                    }
                }
                _ => {}
            }
        }
    }

    fn numbering_tables(&mut self) {
        if self.source.numbering.ranges.is_some() {
            return;
        }
        let help = "import a numbering table, and name it in `[numbering]` as `ranges`";
        for (condition, written) in self.conditions() {
            match &condition.test {
                Test::Spid(..) => {
                    let message = "holders of number blocks are not built in: no number has one";
                    self.warn(Code::NoNumberingTable, &written.scope.span, message, help);
                }
                Test::Region(_, regions) => {
                    for (region, value) in regions.iter().zip(&written.values.value) {
                        if !numbering::has_numbers_of(region) {
                            let message = format!("the built-in table has no numbers of `{region}`");
                            self.warn(Code::NoNumberingTable, &value.span, message, help);
                        }
                    }
                }
                _ => {}
            }
        }
    }

    /// A rule that blocks addresses which the policy trusts elsewhere, without a pinhole for them before it.
    fn own_peers(&mut self) {
        let trusted: Vec<&Arc<AddressList>> =
            self.policy.never_ban.iter().chain(&self.policy.numbering.asserted_identity_from).collect();
        for (index, (rule, written)) in self.rules().enumerate() {
            let blocks = matches!(rule.action, Action::Drop | Action::Ban | Action::Reject | Action::Divert);
            // A rule about certain messages of a peer, or too many of them, is meant so.
            let is_about_messages = |condition: &Condition| {
                let test = &condition.test;
                let about_packets =
                    matches!(test, Test::Source(_) | Test::Destination(_) | Test::Transport(_) | Test::Port(_));
                !about_packets && !matches!(test, Test::Method(_))
            };
            if !blocks || rule.report || rule.over.is_some() || rule.conditions.iter().any(is_about_messages) {
                continue;
            }
            for (condition, condition_written) in rule.conditions.iter().zip(&written.conditions) {
                let (Test::Source(lists), false) = (&condition.test, condition.negated) else { continue };
                let peer = trusted
                    .iter()
                    .filter(|peer| !self.has_pinhole(&self.policy.rules[..index], &rule.stage, peer))
                    .find_map(|peer| lists.iter().find_map(|list| overlap(list, peer)));
                if let Some(peer) = peer {
                    let message = format!("this holds {}/{}, which the policy trusts", peer.address, peer.prefix);
                    let help = "take it out of the list, or put a pinhole for your own peers before this rule";
                    self.warn(Code::BlocksOwnPeers, &condition_written.values.span, message, help);
                }
            }
        }
    }

    fn has_pinhole(&self, before: &[Rule], stage: &str, peer: &Arc<AddressList>) -> bool {
        before.iter().any(|rule| {
            let ends = match rule.action {
                Action::Whitelist => true,
                Action::Continue | Action::BypassFraudControl => rule.stage == stage,
                _ => false,
            };
            let for_peer = |condition: &Condition| {
                matches!(&condition.test, Test::Source(lists) if !condition.negated
                    && lists.iter().any(|list| Arc::ptr_eq(list, peer)))
            };
            ends && !rule.report && !rule.conditions.is_empty() && rule.conditions.iter().all(for_peer)
        })
    }

    fn unreachable_rules(&mut self) {
        let rules = &self.policy.rules;
        let mut unreachable = vec![false; rules.len()];
        for (index, (rule, written)) in self.rules().enumerate() {
            let earlier = (0..index).find(|&earlier| {
                !unreachable[earlier]
                    && takes_all(&rules[earlier], rule)
                    && !is_passed_by(&rules[..earlier], &rules[earlier], rule)
            });
            if let Some(earlier) = earlier.map(|earlier| &rules[earlier]) {
                unreachable[index] = true;
                let message = format!(
                    "the rule `{}` can never match: `{}` in line {} takes everything that it could",
                    rule.name, earlier.name, earlier.origin.line
                );
                let help = "put the narrower rule first, or remove it";
                self.warn(Code::Unreachable, &written.name.span, message, help);
            }
        }
    }
}

/// True if `earlier`, where it is tried, ends the walk or takes `later` out of it for all that `later` matches.
fn takes_all(earlier: &Rule, later: &Rule) -> bool {
    keeps_away(earlier, later)
        && !earlier.report
        && earlier.over.is_none()
        && earlier.conditions.iter().all(|wider| later.conditions.iter().any(|narrower| implies(narrower, wider)))
}

/// True if a rule that has acted keeps `other`, behind it, from being tried.
fn keeps_away(rule: &Rule, other: &Rule) -> bool {
    const FRAUD_STAGE: &str = "fraud";
    match rule.action {
        Action::Continue => rule.stage == other.stage,
        Action::BypassFraudControl => rule.stage == other.stage || other.stage == FRAUD_STAGE,
        Action::Drop | Action::Whitelist | Action::Ban | Action::Reject | Action::Divert => true,
    }
}

/// True if a pinhole may lead around `earlier` to `later`: "drop all but the trunks" in one stage leaves the rules of the
/// next one to the trunks.
fn is_passed_by(before: &[Rule], earlier: &Rule, later: &Rule) -> bool {
    before.iter().any(|pinhole| !pinhole.report && keeps_away(pinhole, earlier) && !keeps_away(pinhole, later))
}

/// True if `wider` certainly holds wherever `narrower` does. False where that is not plain to see.
fn implies(narrower: &Condition, wider: &Condition) -> bool {
    match (narrower.negated, wider.negated) {
        (false, false) => covers(&wider.test, &narrower.test),
        (true, true) => covers(&narrower.test, &wider.test),
        _ => false,
    }
}

/// True if every value of `narrow` is one of `wide`.
fn covers(wide: &Test, narrow: &Test) -> bool {
    fn subset<T: PartialEq>(wide: &[T], narrow: &[T]) -> bool {
        narrow.iter().all(|value| wide.contains(value))
    }
    match (wide, narrow) {
        (Test::Source(wide), Test::Source(narrow)) | (Test::Destination(wide), Test::Destination(narrow)) => {
            all_covered(wide, narrow, |list: &AddressList| &list.entries, holds)
        }
        (Test::Transport(wide), Test::Transport(narrow)) => subset(wide, narrow),
        (Test::Port(wide), Test::Port(narrow)) => subset(wide, narrow),
        (Test::Method(wide), Test::Method(narrow)) => subset(wide, narrow),
        (Test::Text(text, wide), Test::Text(other, narrow)) => {
            text == other
                && all_covered(
                    wide,
                    narrow,
                    |list: &PatternList| &list.entries,
                    |wide, narrow| wide.pattern == narrow.pattern,
                )
        }
        (Test::Number(identity, wide), Test::Number(other, narrow)) => {
            identity == other && all_covered(wide, narrow, |list: &NumberList| &list.entries, begins)
        }
        (Test::Country(identity, wide), Test::Country(other, narrow))
        | (Test::Region(identity, wide), Test::Region(other, narrow))
        | (Test::Spid(identity, wide), Test::Spid(other, narrow)) => identity == other && subset(wide, narrow),
        (Test::Format(identity, wide), Test::Format(other, narrow)) => identity == other && subset(wide, narrow),
        (Test::Reputation(_, comparison, threshold), Test::Reputation(_, other, narrow)) => {
            let (from, to) = scores(*comparison, *threshold);
            let (narrow_from, narrow_to) = scores(*other, *narrow);
            from <= narrow_from && narrow_to <= to
        }
        (Test::Attestation(wide), Test::Attestation(narrow)) => subset(wide, narrow),
        (Test::Verstat(wide), Test::Verstat(narrow)) => subset(wide, narrow),
        (Test::Neighbor(wide), Test::Neighbor(narrow)) => wide == narrow,
        (Test::Anomaly(wide), Test::Anomaly(narrow)) => wide & narrow == *narrow,
        _ => false,
    }
}

/// True if each entry of the `narrow` lists is covered by one of the `wide` ones.
fn all_covered<L, E>(
    wide: &[Arc<L>],
    narrow: &[Arc<L>],
    entries: impl Fn(&L) -> &Vec<E>,
    covers: impl Fn(&E, &E) -> bool,
) -> bool {
    let small = |lists: &[Arc<L>]| lists.iter().map(|list| entries(list).len()).sum::<usize>() <= COMPARED_ENTRIES;
    narrow.iter().all(|list| {
        if wide.iter().any(|other| Arc::ptr_eq(other, list)) {
            return true;
        }
        let comparable = entries(list).len() <= COMPARED_ENTRIES && small(wide);
        // Of an empty list nothing can be said that would interest anybody.
        comparable
            && !entries(list).is_empty()
            && entries(list)
                .iter()
                .all(|entry| wide.iter().flat_map(|list| entries(list)).any(|other| covers(other, entry)))
    })
}

fn holds(wide: &AddressEntry, narrow: &AddressEntry) -> bool {
    wide.network().contains(&narrow.network())
}

fn begins(wide: &NumberEntry, narrow: &NumberEntry) -> bool {
    if wide.exact {
        return narrow.exact && wide.length == narrow.length && wide.digits == narrow.digits;
    }
    wide.length <= narrow.length && (wide.digits ^ narrow.digits) >> (64 - 4 * u32::from(wide.length)) == 0
}

/// The scores, first and last, for which a comparison holds.
fn scores(comparison: Comparison, threshold: u32) -> (u32, u32) {
    match comparison {
        Comparison::AtLeast => (threshold, u32::MAX),
        Comparison::AtMost => (0, threshold),
        Comparison::Equal => (threshold, threshold),
        Comparison::Less => (0, threshold.saturating_sub(1)),
        Comparison::More => (threshold.saturating_add(1), u32::MAX),
    }
}

/// The first entry of `peer` that `list` holds, or that holds an entry of it.
fn overlap(list: &AddressList, peer: &AddressList) -> Option<AddressEntry> {
    // Entries of the peer by their first address, with the last address of all up to there: lists hold millions of entries,
    // and peers may be many.
    let mut ranges: Vec<((bool, u128), u128)> = peer.entries.iter().map(range).collect();
    ranges.sort_unstable();
    let mut furthest = (false, 0);
    for (first, last) in &mut ranges {
        if first.0 != furthest.0 {
            furthest = (first.0, 0);
        }
        furthest.1 = furthest.1.max(*last);
        *last = furthest.1;
    }
    let meets = |entry: &&AddressEntry| {
        let ((six, first), last) = range(entry);
        let before = ranges.partition_point(|(start, _)| *start <= (six, last));
        ranges[..before].last().is_some_and(|((other, _), end)| *other == six && *end >= first)
    };
    // Two networks share an address only if one holds the other.
    let meeting: Vec<&AddressEntry> = list.entries.iter().filter(meets).take(COMPARED_ENTRIES).collect();
    peer.entries.iter().find(|entry| meeting.iter().any(|other| holds(other, entry) || holds(entry, other))).copied()
}

/// The addresses of an entry: whether they are IPv6, the first, and the last.
fn range(entry: &AddressEntry) -> ((bool, u128), u128) {
    let (six, first, width) = match entry.address {
        IpAddr::V4(address) => (false, u128::from(address.to_bits()), 32),
        IpAddr::V6(address) => (true, address.to_bits(), 128_u32),
    };
    let behind = width - u32::from(entry.prefix).min(width);
    let last = if behind == 128 { u128::MAX } else { first | ((1_u128 << behind) - 1) };
    ((six, first), last)
}

fn packed(digits: &str) -> NumberEntry {
    let packed = digits.bytes().fold(0_u64, |all, digit| all << 4 | u64::from(digit - b'0'));
    let length = digits.len() as u8;
    NumberEntry { digits: packed << (64 - 4 * u32::from(length)), length, exact: true, score: 0, line: 0 }
}

/// True if a condition holds for calls to exactly this number, whatever else is true of them.
fn calls_number(condition: &Condition, number: NumberEntry) -> bool {
    matches!(&condition.test, Test::Number(Identity::Called, lists) if !condition.negated
        && lists.iter().any(|list| list.entries.iter().any(|entry| begins(entry, &number))))
}

/// True if a rule can drop calls to this number.
fn can_block_call(rule: &Rule, number: NumberEntry) -> bool {
    let blocks = matches!(rule.action, Action::Drop | Action::Ban | Action::Reject | Action::Divert);
    blocks
        && !rule.report
        && rule.conditions.iter().all(|condition| match &condition.test {
            Test::Method(methods) => methods.contains(&MethodName(Method::Invite)) != condition.negated,
            Test::Number(Identity::Called, _) => {
                calls_number(&Condition { negated: false, ..condition.clone() }, number) != condition.negated
            }
            // A short code has no country, no region, no holder.
            Test::Country(Identity::Called, _)
            | Test::Region(Identity::Called, _)
            | Test::Spid(Identity::Called, _) => condition.negated,
            _ => true,
        })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use proptest::prelude::*;

    use super::*;
    use crate::model::Origin;

    fn list(entries: Vec<(bool, u8, u8)>) -> AddressList {
        let entry = |(six, bits, prefix): (bool, u8, u8)| {
            let prefix = prefix % 9;
            let bits = bits & u8::MAX.checked_shl(8 - u32::from(prefix)).unwrap_or(0);
            // The bits that differ stand in the middle of the address.
            let (address, shift) = if six {
                (IpAddr::V6((0x2001_0db8_u128 << 96 | u128::from(bits) << 88).into()), 32)
            } else {
                (IpAddr::V4((0xcb00_0000 | u32::from(bits) << 8).into()), 16)
            };
            AddressEntry { address, prefix: prefix + shift, line: 1 }
        };
        let origin = Origin { file: Arc::new(PathBuf::from("a")), line: 1 };
        AddressList { name: None, label: None, entries: entries.into_iter().map(entry).collect(), origin }
    }

    proptest! {
        #[test]
        fn lists_overlap_where_any_two_of_their_entries_do(
            one in proptest::collection::vec(any::<(bool, u8, u8)>(), 0..12),
            other in proptest::collection::vec(any::<(bool, u8, u8)>(), 0..12),
        ) {
            let (one, other) = (list(one), list(other));
            let expected = other
                .entries
                .iter()
                .find(|entry| one.entries.iter().any(|held| holds(held, entry) || holds(entry, held)));
            prop_assert_eq!(overlap(&one, &other), expected.copied());
        }
    }
}
