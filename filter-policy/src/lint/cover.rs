//! Which values include which others.

use std::sync::Arc;

use crate::model::{
    AddressEntry, AddressList, Comparison, Condition, Identity, NumberEntry, NumberList, PatternEntry, PatternList,
    Test,
};

/// Lists with more entries are not compared entry by entry: only the same list is known to cover them.
pub(super) const COMPARED_ENTRIES: usize = 256;

/// True if `wider` certainly holds wherever `narrower` does.
pub(super) fn implies(narrower: &Condition, wider: &Condition) -> bool {
    match (narrower.negated, wider.negated) {
        (false, false) => covers(&wider.test, &narrower.test),
        (true, true) => covers(&narrower.test, &wider.test),
        (false, true) | (true, false) => false,
    }
}

/// True if the `wide` lists certainly hold every address of the `narrow` ones.
pub(super) fn covers_addresses(wide: &[Arc<AddressList>], narrow: &[Arc<AddressList>]) -> bool {
    covers_lists(wide, narrow, |list| &list.entries, covers_address)
}

pub(super) fn covers_address(wide: &AddressEntry, narrow: &AddressEntry) -> bool {
    wide.network().contains(&narrow.network())
}

pub(super) fn covers_number(wide: &NumberEntry, narrow: &NumberEntry) -> bool {
    if wide.exact {
        return narrow.exact && wide.length == narrow.length && wide.digits == narrow.digits;
    }
    wide.length <= narrow.length && (wide.digits ^ narrow.digits) >> (64 - 4 * u32::from(wide.length)) == 0
}

/// True if every value of `narrow` is certainly one of `wide`.
fn covers(wide: &Test, narrow: &Test) -> bool {
    fn subset<T: PartialEq>(wide: &[T], narrow: &[T]) -> bool {
        narrow.iter().all(|value| wide.contains(value))
    }
    match (wide, narrow) {
        (Test::Anomaly(wide), Test::Anomaly(narrow)) => wide & narrow == *narrow,
        // Each of the numbers is that of one of the identities.
        (
            Test::AnyIdentity(wide),
            Test::AnyIdentity(narrow)
            | Test::Number(Identity::Asserted | Identity::Calling | Identity::From | Identity::Preferred, narrow),
        ) => covers_lists(wide, narrow, |list: &NumberList| &list.entries, covers_number),
        (Test::Attestation(wide), Test::Attestation(narrow)) => subset(wide, narrow),
        (Test::CallingPrivacy(wide), Test::CallingPrivacy(narrow)) | (Test::Passport(wide), Test::Passport(narrow)) => {
            wide.bits & narrow.bits == narrow.bits && (wide.none || !narrow.none)
        }
        (Test::Country(identity, wide), Test::Country(other, narrow))
        | (Test::Region(identity, wide), Test::Region(other, narrow))
        | (Test::Spid(identity, wide), Test::Spid(other, narrow)) => identity == other && subset(wide, narrow),
        (Test::Destination(wide), Test::Destination(narrow)) | (Test::Source(wide), Test::Source(narrow)) => {
            covers_addresses(wide, narrow)
        }
        (Test::Dialog(wide), Test::Dialog(narrow)) => subset(wide, narrow),
        (Test::Format(identity, wide), Test::Format(other, narrow)) => identity == other && subset(wide, narrow),
        (Test::Method(wide), Test::Method(narrow)) => subset(wide, narrow),
        (Test::CallerAllowed(wide), Test::CallerAllowed(narrow)) | (Test::Neighbor(wide), Test::Neighbor(narrow)) => {
            wide == narrow
        }
        (Test::Number(identity, wide), Test::Number(other, narrow)) => {
            identity == other && covers_lists(wide, narrow, |list: &NumberList| &list.entries, covers_number)
        }
        (Test::Payload(wide), Test::Payload(narrow)) => subset(wide, narrow),
        (Test::Port(wide), Test::Port(narrow)) => subset(wide, narrow),
        (Test::Reputation(_, comparison, threshold), Test::Reputation(_, other, narrow)) => {
            let (from, to) = scores(*comparison, *threshold);
            let (narrow_from, narrow_to) = scores(*other, *narrow);
            from <= narrow_from && narrow_to <= to
        }
        (Test::Text(text, wide), Test::Text(other, narrow)) => {
            let is_same = |wide: &PatternEntry, narrow: &PatternEntry| wide.pattern == narrow.pattern;
            text == other && covers_lists(wide, narrow, |list: &PatternList| &list.entries, is_same)
        }
        (Test::Transport(wide), Test::Transport(narrow)) => subset(wide, narrow),
        (Test::Verstat(wide), Test::Verstat(narrow)) => subset(wide, narrow),
        (
            Test::Anomaly(_)
            | Test::AnyIdentity(_)
            | Test::Attestation(_)
            | Test::CallerAllowed(_)
            | Test::CallingPrivacy(_)
            | Test::Country(..)
            | Test::Destination(_)
            | Test::Dialog(_)
            | Test::Format(..)
            | Test::Method(_)
            | Test::Neighbor(_)
            | Test::Number(..)
            | Test::Passport(_)
            | Test::Payload(_)
            | Test::Port(_)
            | Test::Region(..)
            | Test::Reputation(..)
            | Test::Source(_)
            | Test::Spid(..)
            | Test::Text(..)
            | Test::Transport(_)
            | Test::Verstat(_),
            _,
        ) => false,
    }
}

/// True if each entry of the `narrow` lists is covered by one of the `wide` lists.
fn covers_lists<L, E>(
    wide: &[Arc<L>],
    narrow: &[Arc<L>],
    entries: impl Fn(&L) -> &Vec<E>,
    covers: impl Fn(&E, &E) -> bool,
) -> bool {
    let is_small = |lists: &[Arc<L>]| lists.iter().map(|list| entries(list).len()).sum::<usize>() <= COMPARED_ENTRIES;
    narrow.iter().all(|list| {
        if wide.iter().any(|other| Arc::ptr_eq(other, list)) {
            return true;
        }
        let comparable = entries(list).len() <= COMPARED_ENTRIES && is_small(wide);
        // An empty list is covered by every other, but that is not worth a warning.
        comparable
            && !entries(list).is_empty()
            && entries(list)
                .iter()
                .all(|entry| wide.iter().flat_map(|list| entries(list)).any(|other| covers(other, entry)))
    })
}

/// The first and the last score for which a comparison holds.
fn scores(comparison: Comparison, threshold: u32) -> (u32, u32) {
    match comparison {
        Comparison::AtLeast => (threshold, u32::MAX),
        Comparison::AtMost => (0, threshold),
        Comparison::Equal => (threshold, threshold),
        Comparison::Less => (0, threshold.saturating_sub(1)),
        Comparison::More => (threshold.saturating_add(1), u32::MAX),
    }
}
