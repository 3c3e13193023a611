//! Tables of which a flood of new keys throws nobody out who matters: buckets of a few ways, in one array.
//!
//! A key is known by its keyed hash. Its lowest bits name the bucket, and its upper 55 are the way's tag: within a
//! bucket, 48 of them can differ. A key that has no way takes the one
//! that matters least. Ways are changed by compare and exchange, so that no processor's count is lost; they get a new key only under
//! the bucket's lock, so that no key has two.

use crate::{
    host::{Host, Step, Words},
    limits::WAYS,
    scratch::Scratch,
};

/// The word of a bucket that is not 0 while its keys change. The words before it are tags, those from `VALUES` on values.
pub const LOCK: usize = WAYS;

/// The first value.
pub const VALUES: usize = 8;

/// The word that counts the keys that lost their way while they mattered. It changes under the lock.
pub const EVICTIONS: usize = VALUES + WAYS;

/// The bits of a tag that tell keys apart. The lower ones are a note.
const KEY: u64 = !0xff;

/// The tag of a way while its key changes. No key has it.
const CHANGING: u64 = 1;

const _: () = assert!(WAYS == 7, "seven tags, a lock, seven values, a count: two cache lines");

/// The tag of a key.
#[inline(always)]
#[must_use]
pub const fn tag(hash: u64, note: u8) -> u64 {
    // The bit makes it different from an empty way's, and from `CHANGING`.
    hash & KEY | 1 << 8 | note as u64
}

/// The note in a tag.
#[inline(always)]
#[must_use]
pub const fn note(tag: u64) -> u8 {
    tag as u8
}

/// True if both are of the same key.
#[inline(always)]
#[must_use]
pub const fn is_same(tag: u64, other: u64) -> bool {
    (tag ^ other) & KEY == 0
}

/// Finds the key's way, and notes it in the scratch memory. False if it has none.
#[inline(always)]
pub fn find<'m, H: Host<'m>>(host: H, s: &mut Scratch, words: H::Words, tag: u64) -> bool {
    let mut way = WAYS;
    for index in 0..WAYS {
        if is_same(words.get(index), tag) {
            way = index;
        }
    }
    s.limit.way = way as u32;
    // Loaded again: in a register, the verifier would follow each of the ways.
    host.forget(s);
    s.limit.way < WAYS as u32
}

/// Locks the bucket. False if another processor keeps it locked for too long: a virtual one that does not run.
#[inline(always)]
pub fn lock<'m, H: Host<'m>>(host: H, words: H::Words) -> bool {
    let mut step = Lock { words, is_locked: false };
    host.repeat(&mut step);
    step.is_locked
}

struct Lock<W> {
    words: W,
    is_locked: bool,
}

impl<W: Words> Step for Lock<W> {
    // It is held for some hundred nanoseconds.
    const TIMES: u32 = 1025;
    const AHEAD: u32 = 1;

    #[inline(always)]
    fn step(&mut self, _: u32) -> bool {
        self.is_locked = self.words.exchange(LOCK, 0, 1);
        self.is_locked
    }
}

/// Unlocks it.
#[inline(always)]
pub fn unlock<W: Words>(words: W) {
    words.put(LOCK, 0);
}

/// Notes the way that matters least: the first of those for which `weigh` is least.
#[inline(always)]
pub fn choose<'m, H: Host<'m>>(host: H, s: &mut Scratch, words: H::Words, weigh: impl Fn(u64, u64) -> u64) {
    s.limit.way = 0;
    s.limit.least = u64::MAX;
    for index in 0..host.bound(WAYS as u32) {
        let index = host.masked::<7>(index);
        let tag = words.get(index);
        let weight = if tag == 0 { 0 } else { weigh(tag, words.get(VALUES + index)) };
        if weight < s.limit.least {
            s.limit.least = weight;
            s.limit.way = index as u32;
        }
        host.forget(s);
    }
}

/// Counts the key that has the noted way, if it matters: it is about to lose it. The bucket must be locked.
#[inline(always)]
pub fn note_eviction<W: Words>(s: &Scratch, words: W) {
    if s.limit.least != 0 {
        words.put(EVICTIONS, words.get(EVICTIONS).wrapping_add(1));
    }
}

/// Gives the noted way to a key. The bucket must be locked.
#[inline(always)]
pub fn take<'m, H: Host<'m>>(host: H, s: &Scratch, words: H::Words, tag: u64, value: u64) {
    let way = host.masked::<7>(s.limit.way);
    // In this order: whoever sees a tag before and after the value has that key's value.
    words.put(way, CHANGING);
    words.put(VALUES + way, value);
    words.put(way, tag);
}
