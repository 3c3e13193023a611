//! Rules that block addresses which the policy trusts elsewhere.

use std::{net::IpAddr, sync::Arc};

use super::{
    Linter,
    cover::{COMPARED_ENTRIES, covers_address},
    traffic::{Traffic, acts_always, blocks},
};
use crate::{
    language::diagnostics::Code,
    model::{AddressEntry, AddressList, Condition, Test},
};

impl Linter<'_> {
    pub(super) fn own_peers(&mut self) {
        let trusted: Vec<&Arc<AddressList>> =
            self.policy.never_ban.iter().chain(&self.policy.numbering.asserted_identity_from).collect();
        for (index, (rule, written)) in self.rules().enumerate() {
            // A rule about certain messages of a peer, or about too many of them, is intended.
            if !blocks(rule) || !acts_always(rule) || rule.conditions.iter().any(is_about_messages) {
                continue;
            }
            for (condition, condition_written) in rule.conditions.iter().zip(&written.conditions) {
                let (Test::Source(lists), false) = (&condition.test, condition.negated) else { continue };
                let before = &self.policy.rules[..index];
                let peer = trusted
                    .iter()
                    .filter(|peers| !Traffic::FromEach(peers).has_pinhole(before, rule.stage))
                    .find_map(|peers| lists.iter().find_map(|list| overlap(list, peers)));
                if let Some(peer) = peer {
                    let message = format!("this includes {}/{}, which the policy trusts", peer.address, peer.prefix);
                    let help = "remove it from the list, or add a pinhole for your own peers before this rule";
                    self.warn(Code::BlocksOwnPeers, &condition_written.values.span, message, help);
                }
            }
        }
    }
}

/// True for a condition on what a packet carries or a message says, its method aside.
fn is_about_messages(condition: &Condition) -> bool {
    condition.test.is_about_payload() && !matches!(condition.test, Test::Method(_))
}

/// The first entry of `peers` that shares an address with an entry of `list`.
pub(super) fn overlap(list: &AddressList, peers: &AddressList) -> Option<AddressEntry> {
    // The peers' entries by their first address, each with the last address of all entries up to it: lists hold millions of
    // entries, and there may be many peers.
    let mut ranges: Vec<((bool, u128), u128)> = peers.entries.iter().map(range).collect();
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
        let ((is_ipv6, first), last) = range(entry);
        let before = ranges.partition_point(|(start, _)| *start <= (is_ipv6, last));
        ranges[..before].last().is_some_and(|((other, _), end)| *other == is_ipv6 && *end >= first)
    };
    // Two networks share an address only if one contains the other.
    let meeting: Vec<&AddressEntry> = list.entries.iter().filter(meets).take(COMPARED_ENTRIES).collect();
    let is_met = |entry: &&AddressEntry| {
        meeting.iter().any(|other| covers_address(other, entry) || covers_address(entry, other))
    };
    peers.entries.iter().find(is_met).copied()
}

/// The addresses of an entry: whether they are IPv6, the first, and the last.
fn range(entry: &AddressEntry) -> ((bool, u128), u128) {
    let (is_ipv6, first, width) = match entry.address {
        IpAddr::V4(address) => (false, u128::from(address.to_bits()), 32),
        IpAddr::V6(address) => (true, address.to_bits(), 128_u32),
    };
    let host_bits = width - u32::from(entry.prefix).min(width);
    let last = if host_bits == 128 { u128::MAX } else { first | ((1_u128 << host_bits) - 1) };
    ((is_ipv6, first), last)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use proptest::prelude::*;

    use super::*;
    use crate::model::Origin;

    fn list(entries: Vec<(bool, u8, u8)>) -> AddressList {
        let entry = |(is_ipv6, bits, prefix): (bool, u8, u8)| {
            let prefix = prefix % 9;
            let bits = bits & u8::MAX.checked_shl(8 - u32::from(prefix)).unwrap_or(0);
            // The bits that differ are in the middle of the address.
            let (address, shift) = if is_ipv6 {
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
                .find(|entry| one.entries.iter().any(|held| covers_address(held, entry) || covers_address(entry, held)));
            prop_assert_eq!(overlap(&one, &other), expected.copied());
        }
    }
}
