//! The calls of the last minute, for limits that count calls: copies of an INVITE, and INVITEs with credentials, are no new calls.
//!
//! What is remembered of a call: when its first INVITE came, how many have come, and what became of the first.

use super::{IS_NEW, WAS_OVER, WAS_WITHIN, table};
use crate::{
    host::{Host, Words},
    limits::{CALL_INVITES, CALL_TIME},
    scratch::Scratch,
};

/// log2 of the nanoseconds in which a call's age is counted: about a millisecond.
const AGE_SHIFT: u32 = 20;

/// The same of a call's age in units of its oldest.
const OLDEST: u64 = CALL_TIME >> AGE_SHIFT;

/// The first of the bits of the time; below it, the INVITEs are counted, and the lowest bit is set if the call was over the limit.
const TIME: u32 = 8;

/// A call that has just begun.
#[inline(always)]
const fn begun(now: u64, is_over: bool) -> u64 {
    (now >> AGE_SHIFT) << TIME | 1 << 1 | is_over as u64
}

/// How long ago a call has begun; `OLDEST` or more if that no longer matters.
#[inline(always)]
const fn age(call: u64, now: u64) -> u64 {
    (now >> AGE_SHIFT).wrapping_sub(call >> TIME)
}

#[inline(always)]
const fn invites(call: u64) -> u64 {
    call >> 1 & 0x7f
}

/// How much a call matters: those that were let in more than those that were not, younger ones more than older ones.
#[inline(always)]
pub(super) const fn weight(call: u64, now: u64) -> u64 {
    let age = age(call, now);
    if age >= OLDEST {
        return 0;
    }
    OLDEST - age + if call & 1 == 0 { OLDEST } else { 0 }
}

/// What became of the call's first INVITE. `IS_NEW` if it is not known, or if there are more INVITEs of it than any call's copies: then the way
/// is noted that it may be remembered in. The bucket must be locked.
#[inline(always)]
pub(super) fn known<'m, H: Host<'m>>(host: H, s: &mut Scratch, words: H::Words) -> u32 {
    let now = s.now;
    if !table::find(host, s, words, s.limit.call) {
        table::choose(host, s, words, |_, call| weight(call, now));
        table::note_eviction(s, words);
        return IS_NEW;
    }
    let way = host.masked::<7>(s.limit.way);
    let call = words.get(table::VALUES + way);
    if age(call, now) >= OLDEST || invites(call) >= CALL_INVITES as u64 {
        return IS_NEW;
    }
    words.put(table::VALUES + way, call.wrapping_add(1 << 1));
    if call & 1 == 0 { WAS_WITHIN } else { WAS_OVER }
}

/// Remembers a call in the way that is noted. The bucket must be locked.
#[inline(always)]
pub(super) fn remember<'m, H: Host<'m>>(host: H, s: &Scratch, words: H::Words, is_over: bool) {
    table::take(host, s, words, s.limit.call, begun(s.now, is_over));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_that_were_let_in_matter_most_and_old_ones_not_at_all() {
        let now = 3_600_000_000_000;
        let second = 1_000_000_000;
        let (new, old) = (begun(now - second, false), begun(now - 30 * second, false));
        let (over, past) = (begun(now, true), begun(now - CALL_TIME - second, false));
        let weights = [new, old, over, past, begun(now + second, false)].map(|call| weight(call, now));
        assert!(weights[0] > weights[1] && weights[1] > weights[2] && weights[2] > 0, "{weights:?}");
        assert_eq!(weights[3..], [0, 0]);
    }
}
