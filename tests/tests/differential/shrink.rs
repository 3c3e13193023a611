//! Shrinks a failing case.

use filter_policy::model::Policy;
use ringfence_oracle::generate::frame::Packet;

use crate::{
    compare::{Difference, Seen, check},
    fixture::fixture,
};

/// The number of smaller cases to try if each try loads a program.
const TRIES: usize = 150;

/// Shrinks a failing case and returns it as text.
pub(crate) fn shrink(
    mut policy: Policy,
    inspect: bool,
    mut packets: Vec<Packet>,
    mut difference: Difference,
) -> String {
    // Most differences show without the kernel, and trying is then a hundred times faster.
    let differs = |policy: &Policy, packets: &[Packet], kernel: bool| {
        let frames: Vec<Vec<u8>> = packets.iter().map(Packet::frame).collect();
        check(policy, inspect, &frames, kernel, &mut Seen::default()).err()
    };
    let kernel = differs(&policy, &packets, false).is_none();
    let mut tries = if kernel { TRIES } else { 20 * TRIES };
    let mut fails = |policy: &Policy, packets: &[Packet], difference: &mut Difference| {
        tries = tries.saturating_sub(1);
        match (tries > 0).then(|| differs(policy, packets, kernel)).flatten() {
            Some(smaller) => {
                *difference = smaller;
                true
            }
            None => false,
        }
    };
    if let Some(index) = difference.index {
        packets.truncate(index + 1);
        let last = vec![packets[index].clone()];
        if fails(&policy, &last, &mut difference) {
            packets = last;
        }
    }
    // Remove packets: halves first, then one by one.
    let mut size = packets.len() / 2;
    while size > 0 {
        let mut at = 0;
        while at < packets.len() && packets.len() > 1 {
            let mut fewer = packets.clone();
            fewer.drain(at..(at + size).min(packets.len()));
            if !fewer.is_empty() && fails(&policy, &fewer, &mut difference) {
                packets = fewer;
            } else {
                at += size;
            }
        }
        size /= 2;
    }
    for rule in (0..policy.rules.len()).rev() {
        let mut smaller = policy.clone();
        smaller.rules.remove(rule);
        if fails(&smaller, &packets, &mut difference) {
            policy = smaller;
        }
    }
    for rule in 0..policy.rules.len() {
        for condition in (0..policy.rules[rule].conditions.len()).rev() {
            let mut smaller = policy.clone();
            smaller.rules[rule].conditions.remove(condition);
            if fails(&smaller, &packets, &mut difference) {
                policy = smaller;
            }
        }
    }
    for clear in [
        |policy: &mut Policy| policy.numbering.ranges.clear(),
        |policy: &mut Policy| policy.numbering.plans.clear(),
        |policy: &mut Policy| policy.numbering.asserted_identity_from.clear(),
        |policy: &mut Policy| policy.never_ban.clear(),
    ] {
        let mut smaller = policy.clone();
        clear(&mut smaller);
        if fails(&smaller, &packets, &mut difference) {
            policy = smaller;
        }
    }
    for index in 0..packets.len() {
        let simpler: [fn(&mut Packet); 8] = [
            |packet| packet.tags.clear(),
            |packet| packet.options = 0,
            |packet| packet.extensions.clear(),
            |packet| packet.fragment = None,
            |packet| packet.lies = (0, 0),
            |packet| packet.padding = 0,
            |packet| packet.cut = None,
            |packet| packet.flips.clear(),
        ];
        for simpler in simpler {
            let mut smaller = packets.clone();
            simpler(&mut smaller[index]);
            if fails(&policy, &smaller, &mut difference) {
                packets = smaller;
            }
        }
        let mut pieces = packets[index].pieces.clone();
        let all = packets.clone();
        shrink_pieces(&mut pieces, &mut |pieces| {
            let mut smaller = all.clone();
            smaller[index].pieces = pieces.to_vec();
            fails(&policy, &smaller, &mut difference)
        });
        packets[index].pieces = pieces;
    }
    fixture(&policy, inspect, &packets, &difference)
}

/// Removes everything that is not needed for the failure: pieces, then runs of bytes.
pub(crate) fn shrink_pieces(pieces: &mut Vec<Vec<u8>>, fails: &mut dyn FnMut(&[Vec<u8>]) -> bool) {
    for index in (0..pieces.len()).rev() {
        let mut smaller = pieces.clone();
        smaller.remove(index);
        if fails(&smaller) {
            *pieces = smaller;
        }
    }
    for index in 0..pieces.len() {
        let mut size = pieces[index].len();
        while size > 0 {
            let mut at = 0;
            while at < pieces[index].len() {
                let mut smaller = pieces.clone();
                let end = (at + size).min(pieces[index].len());
                smaller[index].drain(at..end);
                if fails(&smaller) {
                    *pieces = smaller;
                } else {
                    at += size;
                }
            }
            size /= 2;
        }
    }
}
