//! Literals, which are found faster than an automaton walks: most texts hold none of them, and then no pattern matches.

use super::{
    TEXTS, Text,
    patterns::{collect, keep_text},
};
use crate::{
    host::{Function, FunctionKind, Host, Step},
    layout::{
        DFA_GRAMS, DFA_LITERALS, DFA_PLACES, Dfa, GRAM_CHAIN, LITERAL_NEEDS_AUTOMATON, Place, gram_hash, literal_flag,
    },
    limits::RULE_WORDS,
    message::CRLF,
    scratch::Scratch,
};

/// The longest text in which literals are looked for. In longer ones, no software writes anything that matters.
const LITERAL_TEXT: u32 = 512;

/// Bytes of a text that one step takes in.
const STRIDE: u32 = 8;

/// How often a literal may be begun in a text. One in which more are begun is the automaton's, which no text can slow down.
const TRIES: u32 = 16;

/// Steps that a text takes at most: its beginning and its end, the strides and the tries.
const STEPS: u32 = 1 + LITERAL_TEXT / STRIDE + TRIES;

/// [`TryPlaces`]: all patterns that match have been collected.
const DECIDED: u32 = 1;

/// The walk over all texts in which literals are looked for: collects the patterns that match by their literals. Leaves the texts of which
/// only the automaton can tell in `text_rest`.
///
/// One loop, not one for each text: what it costs is mostly the calls of its callback.
pub(super) struct Literals<'s, H> {
    pub host: H,
    pub s: &'s mut Scratch,
}

impl<'m, H: Host<'m>> Step for Literals<'_, H> {
    const TIMES: u32 = (TEXTS as u32 * STEPS + 1).next_multiple_of(Self::BATCH);
    const BATCH: u32 = 16;

    #[inline(always)]
    fn step(&mut self, _index: u32) -> bool {
        let (host, s) = (self.host, &mut *self.s);
        let at = s.cursors.at;
        if at >= s.cursors.text_reach {
            if s.cursors.text_tries != 0 {
                let text = host.masked::<{ TEXTS as u32 - 1 }>(s.cursors.register);
                keep_text(host, s, text);
            }
            let Some(text) = s.cursors.take_left() else { return true };
            s.cursors.register = text;
            begin_text(host, s, text);
            return false;
        }
        let Some(dfa) = host.dfa(s.cursors.text_dfa) else { return true };
        // Side by side: none of these loads waits for another.
        let (low, high) = (s.word(at), s.word(at + 4));
        let (first, second) = (place(host, dfa, low), place(host, dfa, low >> 16));
        let (third, fourth) = (place(host, dfa, high), place(host, dfa, high >> 16));
        if first | second | third | fourth == 0 {
            s.cursors.at = at + STRIDE;
            return false;
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
        let is_decided = host.call::<TryPlaces>(s, s.cursors.at, 0) == DECIDED;
        s.cursors.text_tries = s.cursors.text_tries.wrapping_sub(1);
        host.fence();
        if !is_decided || s.cursors.text_tries == 0 {
            // What has been collected is collected again.
            leave_to_automaton(s, s.cursors.register);
        }
        false
    }
}

/// Begins a text.
#[inline(always)]
fn begin_text<'m, H: Host<'m>>(host: H, s: &mut Scratch, text: u32) {
    let text_index = host.masked::<{ TEXTS as u32 - 1 }>(text);
    let index = host.config().text_dfas[text_index];
    let span = s.cursors.spans[text_index];
    s.walk.hits = [0; RULE_WORDS];
    s.cursors.text_tries = TRIES;
    (s.cursors.at, s.cursors.text_reach) = (0, 0);
    if span.end == 0 || span.start > span.end {
        // The message does not have it: no pattern matches.
        return;
    }
    let Some(dfa) = host.dfa(index) else { return };
    // White space around it does not count: here, what nearly every value has.
    let (at, end) = (span.start as u32, span.end as u32);
    let start = if s.byte(at) == b' ' { at + 1 } else { at };
    let is_line = s.word(end.wrapping_sub(2)) as u16 == CRLF;
    let end = if is_line { end.wrapping_sub(2) } else { end };
    let is_odd = start >= end || end - start > LITERAL_TEXT || s.byte(start) <= b' ' || s.byte(end - 1) <= b' ';
    // The automaton knows that line ends within a value do not count. A body may have any.
    if is_odd || dfa.literal_reach == 0 || s.message.folded != 0 || Text::IN_BODY >> text_index & 1 != 0 {
        return leave_to_automaton(s, text);
    }
    let reach = if end - start > dfa.literal_reach { start + dfa.literal_reach } else { end };
    (s.cursors.at, s.cursors.text_start, s.cursors.text_end, s.cursors.text_reach) = (start, start, end, reach);
    s.cursors.text_dfa = index;
}

/// Ends the search in a text that an automaton has to read.
#[inline(always)]
fn leave_to_automaton(s: &mut Scratch, text: u32) {
    s.cursors.text_rest |= 1 << (text & 31);
    s.cursors.text_tries = 0;
    s.cursors.text_reach = 0;
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
