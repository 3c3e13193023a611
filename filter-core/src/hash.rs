//! A keyed hash (SipHash-1-3) of a few words and texts. Whoever does not know the key cannot make two values meet.

use crate::{
    host::{Function, FunctionKind, Host, Step},
    scratch::{Scratch, Span},
};

/// Eight-byte words of a text that are hashed.
const TEXT_WORDS: u32 = 32;

/// The state of a hash.
pub type State = [u64; 4];

/// The state before the first word.
#[inline(always)]
#[must_use]
pub const fn begin(key: [u64; 2]) -> State {
    [
        key[0] ^ 0x736f_6d65_7073_6575,
        key[1] ^ 0x646f_7261_6e64_6f6d,
        key[0] ^ 0x6c79_6765_6e65_7261,
        key[1] ^ 0x7465_6462_7974_6573,
    ]
}

/// Takes in a word.
#[inline(always)]
pub const fn absorb(state: &mut State, word: u64) {
    state[3] ^= word;
    round(state);
    state[0] ^= word;
}

/// The hash of the words so far. They must say themselves how many they are.
#[inline(always)]
#[must_use]
pub const fn finish(state: &State) -> u64 {
    let mut state = *state;
    state[2] ^= 0xff;
    round(&mut state);
    round(&mut state);
    round(&mut state);
    state[0] ^ state[1] ^ state[2] ^ state[3]
}

#[inline(always)]
const fn round(state: &mut State) {
    let [mut a, mut b, mut c, mut d] = *state;
    a = a.wrapping_add(b);
    b = b.rotate_left(13) ^ a;
    a = a.rotate_left(32);
    c = c.wrapping_add(d);
    d = d.rotate_left(16) ^ c;
    a = a.wrapping_add(d);
    d = d.rotate_left(21) ^ a;
    c = c.wrapping_add(b);
    b = b.rotate_left(17) ^ c;
    c = c.rotate_left(32);
    *state = [a, b, c, d];
}

/// Takes a piece of the message into [`Limit::hash`](crate::scratch::Limit::hash): its length, and its first 256 bytes.
#[inline(always)]
pub fn absorb_text<'m, H: Host<'m>>(host: H, s: &mut Scratch, text: Span) {
    host.call::<HashText>(s, text.start as u32, text.end as u32);
}

/// The function of the host that does so.
pub struct HashText;

impl Function for HashText {
    const KIND: FunctionKind = FunctionKind::HashText;

    #[inline(always)]
    fn run<'m, H: Host<'m>>(host: H, s: &mut Scratch, start: u32, end: u32) -> u32 {
        let length = end.saturating_sub(start);
        absorb(&mut s.limit.hash, length as u64);
        if length > 0 {
            host.repeat(&mut HashWords { s, start, length });
        }
        0
    }
}

struct HashWords<'s> {
    s: &'s mut Scratch,
    start: u32,
    length: u32,
}

impl Step for HashWords<'_> {
    const TIMES: u32 = TEXT_WORDS;
    // A larger batch would save calls, but Linux 7.3's verifier has no room for it.
    const BATCH: u32 = 2;

    #[inline(always)]
    fn step(&mut self, index: u32) -> bool {
        let at = 8 * index;
        if at >= self.length {
            return true;
        }
        let left = self.length - at;
        let word = self.s.word(self.start + at);
        // What follows the text is none of it.
        absorb(&mut self.s.limit.hash, if left < 8 { word & !(!0 << (8 * (left & 7))) } else { word });
        false
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::hash::Hasher as _;

    use super::*;

    #[test]
    fn it_is_siphash() {
        // The standard library's is SipHash-1-3 with a key of zeroes. It ends with a word that has the length in its top byte.
        for words in [&[] as &[u64], &[1], &[0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908, !0]] {
            let mut known = std::collections::hash_map::DefaultHasher::new();
            let mut state = begin([0, 0]);
            for word in words {
                known.write_u64(*word);
                absorb(&mut state, *word);
            }
            absorb(&mut state, (8 * words.len() as u64) << 56);
            assert_eq!(finish(&state), known.finish());
        }
    }
}
