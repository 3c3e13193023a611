//! Literals, which are found faster than an automaton walks: most texts hold none of them, and then no pattern matches.

use super::patterns::collect;
use crate::{
    host::{Function, FunctionKind, Host},
    layout::{
        DFA_GRAMS, DFA_LITERALS, DFA_PLACES, Dfa, GRAM_CHAIN, LITERAL_NEEDS_AUTOMATON, Place, gram_hash, literal_flag,
    },
    scratch::Scratch,
};

/// The longest text in which literals are looked for. In longer ones, no software writes anything that matters.
const LITERAL_TEXT: u32 = 512;

/// Bytes of a text that one step takes in.
const STRIDE: u32 = 8;

/// Steps of the search: one for each stride, and one for each gram that may be a literal's. A text with more of these is the
/// automaton's, which no text can slow down.
const STEPS: u32 = LITERAL_TEXT / STRIDE + 16;

/// [`SearchLiterals`]: all patterns that match have been collected.
pub(super) const DECIDED: u32 = 1;

/// The function of the host that looks for the literals of the patterns with this index in the text at the cursors, and collects the
/// patterns that match. It returns [`DECIDED`], or something else if only the automaton can tell.
pub struct SearchLiterals;

impl Function for SearchLiterals {
    const KIND: FunctionKind = FunctionKind::SearchLiterals;

    #[inline(always)]
    fn run<'m, H: Host<'m>>(host: H, s: &mut Scratch, index: u32, _: u32) -> u32 {
        let Some(dfa) = host.dfa(index) else { return 0 };
        // The automaton knows that line ends within a value do not count.
        if dfa.literal_reach == 0 || s.message.folded != 0 {
            return 0;
        }
        // Nor does white space around it: here, what nearly every value has.
        let (at, end) = (s.cursors.at, s.cursors.text_end);
        let start = if s.byte(at) == b' ' { at + 1 } else { at };
        let is_line = s.word(end.wrapping_sub(2)) as u16 == u16::from_le_bytes(*b"\r\n");
        let end = if is_line { end.wrapping_sub(2) } else { end };
        if start >= end || end - start > LITERAL_TEXT || s.byte(start) <= b' ' || s.byte(end - 1) <= b' ' {
            return 0;
        }
        let reach = if end - start > dfa.literal_reach { start + dfa.literal_reach } else { end };
        (s.cursors.at, s.cursors.text_start, s.cursors.text_end, s.cursors.text_reach) = (start, start, end, reach);
        s.cursors.text_dfa = index;
        for _ in 0..host.bound(STEPS) {
            host.fence();
            let at = s.cursors.at;
            if at >= s.cursors.text_reach {
                return DECIDED;
            }
            // Side by side: none of these loads waits for another.
            let (low, high) = (s.word(at), s.word(at + 4));
            let (first, second) = (place(host, dfa, low), place(host, dfa, low >> 16));
            let (third, fourth) = (place(host, dfa, high), place(host, dfa, high >> 16));
            if first | second | third | fourth == 0 {
                s.cursors.at = at + STRIDE;
                continue;
            }
            (s.cursors.at, s.cursors.place) = if first != 0 {
                (at, first)
            } else if second != 0 {
                (at + 2, second)
            } else if third != 0 {
                (at + 4, third)
            } else {
                (at + 6, fourth)
            };
            host.fence();
            if host.call::<TryPlaces>(s, s.cursors.at, 0) != DECIDED {
                break;
            }
        }
        // What has been collected is collected again.
        s.cursors.at = s.cursors.text_start;
        0
    }
}

/// The first place in a literal that has the gram at the beginning of a word.
#[inline(always)]
fn place<'m, H: Host<'m>>(host: H, dfa: &'m Dfa, word: u64) -> u32 {
    dfa.grams[host.masked::<{ DFA_GRAMS as u32 - 1 }>(gram_hash(word) as u32)] as u32
}

/// The function of the host that compares the text with the literals of the place at the cursor, and of those after it, whose gram may
/// be at this position. The search goes on after it. It returns [`DECIDED`] unless the automaton has to tell.
pub struct TryPlaces;

impl Function for TryPlaces {
    const KIND: FunctionKind = FunctionKind::TryPlaces;

    #[inline(always)]
    fn run<'m, H: Host<'m>>(host: H, s: &mut Scratch, at: u32, _: u32) -> u32 {
        let Some(dfa) = host.dfa(s.cursors.text_dfa) else { return 0 };
        s.cursors.at = at + 2;
        for _ in 0..host.bound(GRAM_CHAIN) {
            host.fence();
            if s.cursors.place == 0 {
                break;
            }
            let place = &dfa.places[host.masked::<{ DFA_PLACES as u32 - 1 }>(s.cursors.place)];
            s.cursors.place = place.next as u32;
            if !try_place(host, s, dfa, place, at) {
                return 0;
            }
        }
        DECIDED
    }
}

/// Collects the patterns of a literal whose place is at `at`, if it is there. False if the automaton has to tell which they are.
#[inline(always)]
fn try_place<'m, H: Host<'m>>(host: H, s: &mut Scratch, dfa: &'m Dfa, place: &Place, at: u32) -> bool {
    let literal = &dfa.literals[host.masked::<{ DFA_LITERALS as u32 - 1 }>(place.literal as u32)];
    let start = at.wrapping_sub(place.offset as u32);
    let mut differs = 0;
    for index in 0..literal.words.len() {
        let word = s.word(start.wrapping_add(8 * index as u32));
        differs |= (word & literal.used[index] | literal.case[index]) ^ literal.words[index];
    }
    // Before the value's start, the first of these is huge.
    let before = start.wrapping_sub(s.cursors.text_start);
    let length = s.cursors.text_end.wrapping_sub(s.cursors.text_start);
    if differs != 0 || literal.length > length || before > length - literal.length {
        return true;
    }
    if literal.flags & literal_flag::START != 0 && before != 0
        || literal.flags & literal_flag::END != 0 && before != length - literal.length
    {
        return true;
    }
    if literal.row == LITERAL_NEEDS_AUTOMATON {
        return false;
    }
    collect(host, s, literal.row);
    true
}
