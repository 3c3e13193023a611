//! Rates: whether a rule's `over` is exceeded.

use crate::{
    host::Host,
    layout::{Per, RateCell, RateKey, Rule},
    scratch::{NumberOf, Scratch},
};

/// Counts this packet for the rule's rate. True if the rate is exceeded.
#[inline(never)]
pub fn exceeded<'m, H: Host<'m>>(host: H, s: &mut Scratch, rule: &Rule) -> bool {
    let now = s.now(host);
    let mut key = RateKey { value: [0; 16], slot: rule.slot as u32, per: rule.over_per as u32 };
    key.value = value(s, rule);
    let (interval, burst) = (rule.over_interval, rule.over_burst);
    host.rate(&key, |cell| is_over(cell, now, interval, burst))
}

/// The generic cell rate algorithm: a packet conforms if it does not come earlier than its theoretical arrival time by more
/// than the burst allows. Packets that conform advance that time. Those that do not are over the rate, and leave it unchanged.
#[inline(always)]
pub fn is_over(cell: &mut RateCell, now: u64, interval: u64, burst: u64) -> bool {
    let next = if cell.next > now { cell.next } else { now };
    if next - now > burst {
        return true;
    }
    cell.next = next.wrapping_add(interval);
    false
}

/// The value that the rate is counted by. All messages without such a number share a cell.
#[inline(always)]
fn value(s: &Scratch, rule: &Rule) -> [u8; 16] {
    let prefix = rule.over_prefix as u32;
    match rule.over_per() {
        Per::Source => s.packet.source,
        Per::Destination => s.packet.destination,
        Per::SourcePrefix => masked(&s.packet.source, if s.packet.ip_version == 4 { prefix + 96 } else { prefix }),
        Per::Calling => number(s.message.number(NumberOf::Calling).key),
        Per::Called => number(s.message.number(NumberOf::Called).key),
        Per::CallingPrefix => number(digits(s.message.number(NumberOf::Calling).key, prefix)),
        Per::CalledPrefix => number(digits(s.message.number(NumberOf::Called).key, prefix)),
        Per::Rule => [0; 16],
    }
}

#[inline(always)]
fn number(key: u64) -> [u8; 16] {
    let mut value = [0; 16];
    value[..8].copy_from_slice(&key.to_be_bytes());
    value
}

/// The first `count` digits of a number's key.
#[inline(always)]
fn digits(key: u64, count: u32) -> u64 {
    if count == 0 || count > 15 { key } else { key & (!0 << (64 - 4 * (count & 15))) }
}

/// The first `bits` bits of an address.
#[inline(always)]
fn masked(address: &[u8; 16], bits: u32) -> [u8; 16] {
    let mut halves = [[0; 8]; 2];
    halves[0].copy_from_slice(&address[..8]);
    halves[1].copy_from_slice(&address[8..]);
    let high = u64::from_be_bytes(halves[0]) & mask(bits);
    let low = u64::from_be_bytes(halves[1]) & mask(bits.saturating_sub(64));
    let mut value = [0; 16];
    value[..8].copy_from_slice(&high.to_be_bytes());
    value[8..].copy_from_slice(&low.to_be_bytes());
    value
}

/// A word with its first `bits` bits set.
#[inline(always)]
const fn mask(bits: u32) -> u64 {
    if bits == 0 {
        0
    } else if bits >= 64 {
        !0
    } else {
        !0 << (64 - (bits & 63))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_conforms_and_packets_above_the_rate_do_not() {
        // 5 per second, and a burst of 20 more at once.
        let (interval, burst) = (200_000_000, 20 * 200_000_000);
        let mut cell = RateCell { next: 0 };
        let now = 1_000_000_000_000;
        let conforming = (0..100).filter(|_| !is_over(&mut cell, now, interval, burst)).count();
        assert_eq!(conforming, 21);
        // A second later five more conform, whatever was refused in between.
        let conforming = (0..100).filter(|_| !is_over(&mut cell, now + 1_000_000_000, interval, burst)).count();
        assert_eq!(conforming, 5);
        // After a long silence the burst is there again, and no more.
        let conforming = (0..100).filter(|_| !is_over(&mut cell, now + 3_600_000_000_000, interval, burst)).count();
        assert_eq!(conforming, 21);
    }

    #[test]
    fn an_address_prefix_keeps_its_bits() {
        let address = [0xff; 16];
        assert_eq!(masked(&address, 0), [0; 16]);
        assert_eq!(masked(&address, 128), address);
        assert_eq!(masked(&address, 64)[..9], [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0]);
        assert_eq!(masked(&address, 65)[8], 0x80);
    }
}
