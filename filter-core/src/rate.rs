//! Limits: whether a rule's `over` is exceeded.

mod calls;
pub mod cell;
pub mod table;

use crate::{
    hash,
    host::{Function, FunctionKind, Host, Step, Words},
    layout::{Count, Method, Per, Rule},
    limits::{BUCKET_WORDS, CALL_BUCKETS, RATE_BUCKETS, WAYS},
    scratch::{Header, NumberOf, Scratch},
    text::{self, Text},
    upstream,
};

/// In place of a [`Per`]: what has no number, text or upstream to count by is counted by its source.
const BY_SOURCE: u32 = 0xff;

/// Counts this packet for the rule at this index, if the rule counts it. True if its limit is exceeded.
#[inline(always)]
pub fn exceeded<'m, H: Host<'m>>(host: H, s: &mut Scratch, index: u32) -> bool {
    host.call::<IsOver>(s, index, 0) != 0
}

/// The function of the host that does so for the rule at index `a`.
///
/// It calls the others one after the other: calls are at most eight deep, and their frames share 512 bytes.
pub struct IsOver;

impl Function for IsOver {
    const KIND: FunctionKind = FunctionKind::IsOver;

    #[inline(always)]
    fn run<'m, H: Host<'m>>(host: H, s: &mut Scratch, index: u32, _: u32) -> u32 {
        let counts = host.call::<NoteKey>(s, index, 0);
        if counts == NOTHING {
            return 0;
        }
        if s.limit.by == Per::UserAgent.number() as u32 {
            let agent = text::span(&s.message, Text::UserAgent).unwrap_or_default();
            hash::absorb_text(host, s, agent);
        }
        s.limit.key[3] = hash::finish(&s.limit.hash);
        let call = if counts == A_CALL {
            let called = s.message.header(Header::RequestUri);
            hash::absorb_text(host, s, called);
            let call_id = s.message.header(Header::CallId);
            hash::absorb_text(host, s, call_id);
            host.call::<FindCall>(s, 0, 0)
        } else {
            UNKNOWN_HERE
        };
        if call <= WAS_OVER {
            return call;
        }
        let mut count = host.call::<CountKnown>(s, index, 0);
        if count == NO_WAY {
            count = host.call::<CountNew>(s, index, 0);
            if count == NO_WAY {
                // Another processor has given it one meanwhile.
                count = host.call::<CountKnown>(s, index, 0);
            }
        }
        let is_over = (count != WITHIN) as u32;
        if call == IS_NEW {
            host.call::<NoteCall>(s, is_over, 0);
        }
        is_over
    }
}

/// Answers of [`NoteKey`].
const NOTHING: u32 = 0;
const A_PACKET: u32 = 1;
const A_CALL: u32 = 2;

/// Answers of [`FindCall`]: what became of the call; that it is new, and its bucket locked; that it cannot be remembered.
const WAS_WITHIN: u32 = 0;
const WAS_OVER: u32 = 1;
const IS_NEW: u32 = 2;
const UNKNOWN_HERE: u32 = 3;

/// Answers of [`CountKnown`] and [`CountNew`].
const WITHIN: u32 = 0;
const OVER: u32 = 1;
/// Of the former: the key has no way. Of the latter: it has one after all.
const NO_WAY: u32 = 2;

/// The function of the host that notes what the rule at index `a` counts the packet by, and says what it counts.
pub struct NoteKey;

impl Function for NoteKey {
    const KIND: FunctionKind = FunctionKind::NoteKey;

    #[inline(always)]
    fn run<'m, H: Host<'m>>(host: H, s: &mut Scratch, index: u32, _: u32) -> u32 {
        let Some(rule) = host.rule(index) else { return NOTHING };
        let counts_calls = rule.over_count == Count::Calls.number();
        if counts_calls && (s.message.method != Method::Invite || s.message.to_tag != 0) {
            return NOTHING;
        }
        s.now(host);
        note_key(host, s, rule);
        host.forget(s);
        let Some(secret) = secret(host) else { return NOTHING };
        let mut state = hash::begin(secret);
        hash::absorb(&mut state, s.limit.key[0]);
        hash::absorb(&mut state, s.limit.key[1]);
        hash::absorb(&mut state, s.limit.key[2]);
        hash::absorb(&mut state, rule.slot as u64 | (s.limit.by as u64) << 32);
        s.limit.hash = state;
        // A request without a Call-ID is none that a server answers.
        if counts_calls && s.message.has(Header::CallId) { A_CALL } else { A_PACKET }
    }
}

/// The function of the host that finds what became of the call's first INVITE.
pub struct FindCall;

impl Function for FindCall {
    const KIND: FunctionKind = FunctionKind::FindCall;

    #[inline(always)]
    fn run<'m, H: Host<'m>>(host: H, s: &mut Scratch, _: u32, _: u32) -> u32 {
        let mut state = s.limit.hash;
        let [high, low] = halves(&s.packet.source);
        hash::absorb(&mut state, high);
        hash::absorb(&mut state, low);
        s.limit.call = hash::finish(&state);
        let Some(words) = call_bucket(host, s) else { return UNKNOWN_HERE };
        // Its copies may come on several processors at once.
        if !table::lock(host, words) {
            return UNKNOWN_HERE;
        }
        let known = calls::known(host, s, words);
        if known == IS_NEW {
            s.limit.call_way = s.limit.way;
        } else {
            table::unlock(words);
        }
        known
    }
}

/// The function of the host that remembers the call, which was over the limit if `a` is not 0, and unlocks its bucket.
pub struct NoteCall;

impl Function for NoteCall {
    const KIND: FunctionKind = FunctionKind::NoteCall;

    #[inline(always)]
    fn run<'m, H: Host<'m>>(host: H, s: &mut Scratch, is_over: u32, _: u32) -> u32 {
        if let Some(words) = call_bucket(host, s) {
            s.limit.way = s.limit.call_way;
            calls::remember(host, s, words, is_over != 0);
            table::unlock(words);
        }
        0
    }
}

#[inline(always)]
fn call_bucket<'m, H: Host<'m>>(host: H, s: &Scratch) -> Option<H::Words> {
    host.bucket(RATE_BUCKETS as u32 + (s.limit.call as u32 & (CALL_BUCKETS as u32 - 1)))
}

/// The function of the host that counts the key in the scratch memory for the rule at index `a`.
pub struct CountKnown;

impl Function for CountKnown {
    const KIND: FunctionKind = FunctionKind::CountKnown;

    #[inline(always)]
    fn run<'m, H: Host<'m>>(host: H, s: &mut Scratch, index: u32, _: u32) -> u32 {
        let (Some(rule), Some(words)) = (host.rule(index), rate_bucket(host, s)) else { return WITHIN };
        let tag = table::tag(s.limit.key[3], rule.over_size);
        if !table::find(host, s, words, tag) {
            return NO_WAY;
        }
        let way = host.masked::<7>(s.limit.way);
        let (interval, tolerance) = (rule.over_interval, rule.over_burst);
        let mut step = CountAt { words, way, tag, now: cell::scaled(s.now), interval, tolerance, answer: OVER };
        host.repeat(&mut step);
        step.answer
    }
}

/// Counts in a cell that the key has.
struct CountAt<W> {
    words: W,
    way: usize,
    tag: u64,
    now: u64,
    interval: u64,
    tolerance: u64,
    answer: u32,
}

impl<W: Words> Step for CountAt<W> {
    // Each time, another processor has counted in the cell, and let its packet through.
    const TIMES: u32 = 65;
    const AHEAD: u32 = 1;

    #[inline(always)]
    fn step(&mut self, _: u32) -> bool {
        let at = table::VALUES + (self.way & 7);
        let cell = self.words.get(at);
        // If the key has been thrown out meanwhile, this is another one's cell.
        if !table::is_same(self.words.get(self.way & 7), self.tag) {
            return true;
        }
        let Some(next) = cell::count(cell, self.now, self.interval, self.tolerance) else {
            return true;
        };
        let is_counted = self.words.exchange(at, cell, next);
        if is_counted {
            self.answer = WITHIN;
        }
        is_counted
    }
}

/// As [`CountKnown`], for a key that has no way.
pub struct CountNew;

impl Function for CountNew {
    const KIND: FunctionKind = FunctionKind::CountNew;

    #[inline(always)]
    fn run<'m, H: Host<'m>>(host: H, s: &mut Scratch, index: u32, _: u32) -> u32 {
        let (Some(rule), Some(words)) = (host.rule(index), rate_bucket(host, s)) else { return WITHIN };
        // Over the limit, rather than let through without being counted.
        if !table::lock(host, words) {
            return OVER;
        }
        let now = cell::scaled(s.now);
        let tag = table::tag(s.limit.key[3], rule.over_size);
        let is_found = table::find(host, s, words, tag);
        if !is_found {
            table::choose(host, s, words, |tag, cell| cell::used(cell, now, table::note(tag)));
            table::note_eviction(s, words);
            table::take(host, s, words, tag, now.saturating_add(rule.over_interval));
        }
        table::unlock(words);
        if is_found { NO_WAY } else { WITHIN }
    }
}

#[inline(always)]
fn rate_bucket<'m, H: Host<'m>>(host: H, s: &Scratch) -> Option<H::Words> {
    host.bucket(s.limit.key[3] as u32 & (RATE_BUCKETS as u32 - 1))
}

/// How many cells of a bucket are ahead of the time: of the others, the whole burst is free.
#[must_use]
pub fn cells_in_use(words: &[u64; BUCKET_WORDS], now: u64) -> usize {
    let is_in_use =
        |way: &usize| cell::used(words[table::VALUES + way], cell::scaled(now), table::note(words[*way])) > 0;
    (0..WAYS).filter(|way| words[*way] != 0).filter(is_in_use).count()
}

/// How many calls of a bucket are still remembered.
#[must_use]
pub fn calls_in_use(words: &[u64; BUCKET_WORDS], now: u64) -> usize {
    let is_in_use = |way: &usize| calls::weight(words[table::VALUES + way], now) > 0;
    (0..WAYS).filter(|way| words[*way] != 0).filter(is_in_use).count()
}

/// The key of the hashes. The first packet draws it: whoever could guess it would know which keys meet.
#[inline(always)]
fn secret<'m, H: Host<'m>>(host: H) -> Option<[u64; 2]> {
    let words = host.bucket((RATE_BUCKETS + CALL_BUCKETS) as u32)?;
    if words.get(0) == 0 {
        let random = (host.random() as u64) << 32 | host.random() as u64;
        words.exchange(1, 0, random | 1);
        let random = (host.random() as u64) << 32 | host.random() as u64;
        words.exchange(0, 0, random | 1);
    }
    Some([words.get(0), words.get(1)])
}

/// Notes what the rule counts by.
#[inline(always)]
fn note_key<'m, H: Host<'m>>(host: H, s: &mut Scratch, rule: &Rule) {
    let [high, low] = halves(&s.packet.source);
    let per = rule.over_per();
    let prefix = rule.over_prefix as u32;
    s.limit.by = per.number() as u32;
    s.limit.key = [high, low, 0, 0];
    match per {
        Per::Source => {}
        Per::SourcePrefix => {
            let bits = if s.packet.ip_version == 4 { prefix + 96 } else { prefix };
            s.limit.key[0] = high & mask(bits);
            s.limit.key[1] = low & mask(bits.saturating_sub(64));
        }
        Per::Destination => {
            let [high, low] = halves(&s.packet.destination);
            s.limit.key = [high, low, 0, 0];
        }
        Per::Calling => note_number(s, NumberOf::Calling, 0),
        Per::Called => note_number(s, NumberOf::Called, 0),
        Per::CallingPrefix => note_number(s, NumberOf::Calling, prefix),
        Per::CalledPrefix => note_number(s, NumberOf::Called, prefix),
        Per::SourceCalled => s.limit.key[2] = s.message.number(NumberOf::Called).key,
        Per::UserAgent => match text::span(&s.message, Text::UserAgent) {
            Some(_) => s.limit.key = [0; 4],
            None => s.limit.by = BY_SOURCE,
        },
        Per::Rule => s.limit.key = [0; 4],
        Per::Upstream => match upstream::key(host, s) {
            0 => s.limit.by = BY_SOURCE,
            key => s.limit.key = [key, 0, 0, 0],
        },
    }
}

/// Notes a number's first digits (0: all of them). What has no number keeps its source.
#[inline(always)]
fn note_number(s: &mut Scratch, of: NumberOf, count: u32) {
    let key = s.message.number(of).key;
    if key == 0 {
        s.limit.by = BY_SOURCE;
    } else {
        s.limit.key = [digits(key, count), 0, 0, 0];
    }
}

/// The first `count` digits of a number's key.
#[inline(always)]
fn digits(key: u64, count: u32) -> u64 {
    if count == 0 || count > 15 { key } else { key & (!0 << (64 - 4 * (count & 15))) }
}

/// An address as two words.
#[inline(always)]
fn halves(address: &[u8; 16]) -> [u64; 2] {
    let mut halves = [[0; 8]; 2];
    halves[0].copy_from_slice(&address[..8]);
    halves[1].copy_from_slice(&address[8..]);
    halves.map(u64::from_be_bytes)
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
    extern crate std;

    use std::{
        sync::atomic::{AtomicU64, Ordering},
        thread,
        vec::Vec,
    };

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    /// Numbers that look random, the same each time.
    struct Random(u64);

    impl Random {
        fn below(&mut self, end: u64) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0 % end
        }
    }

    /// A limit: so many in a period (of nanoseconds), and at once.
    struct Limit {
        count: u64,
        period: u64,
        burst: u64,
        cell: u64,
    }

    impl Limit {
        fn random(random: &mut Random) -> Self {
            let period = [SECOND, 10 * SECOND, 60 * SECOND, 3_600 * SECOND][random.below(4) as usize];
            Self { count: 1 + random.below(1_000), period, burst: 1 + random.below(50), cell: 0 }
        }

        fn interval(&self) -> u64 {
            cell::scaled(self.period).div_ceil(self.count)
        }

        fn is_within(&mut self, now: u64) -> bool {
            let interval = self.interval();
            let counted = cell::count(self.cell, cell::scaled(now), interval, (self.burst - 1) * interval);
            self.cell = counted.unwrap_or(self.cell);
            counted.is_some()
        }
    }

    #[test]
    fn no_window_has_more_than_the_rate_and_the_burst() {
        let mut random = Random(0x5eed);
        let mut refused = 0;
        for _ in 0..300 {
            let mut limit = Limit::random(&mut random);
            let mut now = 1_000_000 * SECOND + random.below(SECOND);
            let mut within: Vec<u64> = Vec::new();
            // Arrivals from many at once to pauses, around the rate.
            for _ in 0..400 {
                if random.below(3) == 0 {
                    now += random.below(4 * limit.period / limit.count);
                }
                if limit.is_within(now) { within.push(now) } else { refused += 1 }
            }
            for (first, from) in within.iter().enumerate() {
                for (last, to) in within.iter().enumerate().skip(first) {
                    let packets = (last - first + 1) as u128;
                    let brought = u128::from(to - from) * u128::from(limit.count);
                    let most = u128::from(limit.burst) * u128::from(limit.period) + brought;
                    assert!(packets * u128::from(limit.period) <= most, "{packets} in {} ns", to - from);
                }
            }
        }
        assert!(refused > 10_000, "{refused}");
    }

    #[test]
    fn what_comes_at_the_rate_or_below_is_never_over_it() {
        let mut random = Random(0xcafe);
        for _ in 0..300 {
            let mut limit = Limit::random(&mut random);
            let mut now = 1_000_000 * SECOND;
            for number in 0..2_000 {
                assert!(limit.is_within(now), "packet {number}");
                let pause = if random.below(2) == 0 { random.below(limit.period) } else { 0 };
                now += limit.period.div_ceil(limit.count) + pause;
            }
            // As many at once as may be, whenever that is what they bring together.
            now += limit.period.div_ceil(limit.count) * limit.burst;
            for _ in 0..100 {
                assert!((0..limit.burst).all(|_| limit.is_within(now)));
                now += limit.period.div_ceil(limit.count) * limit.burst;
            }
        }
    }

    /// A bucket whose words threads share.
    #[derive(Clone, Copy)]
    struct Shared<'a>(&'a [AtomicU64; BUCKET_WORDS]);

    impl Words for Shared<'_> {
        fn get(self, index: usize) -> u64 {
            self.0[index].load(Ordering::SeqCst)
        }

        fn put(self, index: usize, value: u64) {
            self.0[index].store(value, Ordering::SeqCst);
        }

        fn exchange(self, index: usize, old: u64, new: u64) -> bool {
            self.0[index].compare_exchange(old, new, Ordering::SeqCst, Ordering::SeqCst).is_ok()
        }
    }

    #[test]
    fn processors_that_count_at_the_same_time_let_no_more_through_than_one() {
        const BURST: u64 = 20_000;
        let (now, tag) = (cell::scaled(1_000 * SECOND), table::tag(0x1234_5678_9abc_def0, 7));
        let interval = cell::scaled(3_600 * SECOND);
        let words: [AtomicU64; BUCKET_WORDS] = std::array::from_fn(|_| AtomicU64::new(0));
        words[3].store(tag, Ordering::SeqCst);
        let count = || {
            let words = Shared(&words);
            let mut within = 0;
            for _ in 0..BURST {
                let mut step =
                    CountAt { words, way: 3, tag, now, interval, tolerance: (BURST - 1) * interval, answer: OVER };
                while !step.step(0) {}
                within += u64::from(step.answer == WITHIN);
            }
            within
        };
        let within: u64 = thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(count)).collect();
            threads.into_iter().map(|thread| thread.join().expect("it ends")).sum()
        });
        assert_eq!(within, BURST);
    }

    #[test]
    fn a_key_that_has_been_thrown_out_counts_in_no_other_ones_cell() {
        let words: [AtomicU64; BUCKET_WORDS] = std::array::from_fn(|_| AtomicU64::new(0));
        words[3].store(table::tag(1 << 40, 7), Ordering::SeqCst);
        let tag = table::tag(1 << 50, 7);
        let mut step = CountAt { words: Shared(&words), way: 3, tag, now: 1, interval: 1, tolerance: 1, answer: OVER };
        assert!(step.step(0));
        assert_eq!((step.answer, words[table::VALUES + 3].load(Ordering::SeqCst)), (OVER, 0));
    }

    #[test]
    fn prefixes_keep_their_bits_and_digits() {
        assert_eq!([mask(0), mask(1), mask(63), mask(64), mask(96)], [0, 1 << 63, !1, !0, !0]);
        let key = 0x1605_5620_123f_0000;
        assert_eq!([digits(key, 0), digits(key, 4), digits(key, 15), digits(key, 16)], [key, 0x1605 << 48, key, key]);
    }
}
