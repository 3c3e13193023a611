//! Patterns over a text: running a compiled automaton, and the effect of its matches on the candidates.

use super::{TEXTS, Text, agent, literals::Literals, note_spans};
use crate::{
    evaluate::{keep_hits, remove, unite},
    host::{Function, FunctionKind, Host, Step},
    layout::{DFA_MATCHES, Dfa},
    limits::{DFA_TABLE, INSPECTED_LENGTH, RULE_WORDS},
    scratch::Scratch,
    swar::{equal_any, filled_after, first},
};

/// Bytes that the automaton takes in one step of the loop, after those that it skips.
const STRIDE: u32 = 8;

/// Narrows the candidates by the patterns over those of the texts (bits of [`Text`]) that have patterns.
#[inline(always)]
pub fn narrow<'m, H: Host<'m>>(host: H, s: &mut Scratch, texts: u32) {
    let texts = host.config().texts & texts;
    if texts != 0 {
        host.call::<NarrowTexts>(s, texts, 0);
    }
}

/// The function of the host that [`narrow`] calls, with bits of [`Text`].
pub struct NarrowTexts;

impl Function for NarrowTexts {
    const KIND: FunctionKind = FunctionKind::NarrowTexts;

    #[inline(always)]
    fn run<'m, H: Host<'m>>(host: H, s: &mut Scratch, texts: u32, _: u32) -> u32 {
        if texts == Text::FIRST {
            s.cursors.spans[Text::UserAgent.index()] = agent(&s.message);
        } else {
            note_spans(host, s);
        }
        s.cursors.left = texts;
        s.cursors.text_rest = 0;
        s.cursors.text_tries = 0;
        (s.cursors.at, s.cursors.text_reach) = (0, 0);
        host.repeat(&mut Literals { host, s });
        if s.cursors.text_rest != 0 {
            s.cursors.left = s.cursors.text_rest;
            host.repeat(&mut Texts { host, s });
        }
        0
    }
}

/// The texts that an automaton reads.
struct Texts<'s, H> {
    host: H,
    s: &'s mut Scratch,
}

impl<'m, H: Host<'m>> Step for Texts<'_, H> {
    const TIMES: u32 = TEXTS as u32;
    const BATCH: u32 = 1;

    #[inline(always)]
    fn step(&mut self, _index: u32) -> bool {
        let (host, s) = (self.host, &mut *self.s);
        let config = host.config();
        let Some(text) = s.cursors.take_left() else { return true };
        let text = host.masked::<{ TEXTS as u32 - 1 }>(text);
        let span = s.cursors.spans[text];
        s.cursors.register = text as u32;
        s.cursors.at = span.start as u32;
        let end = span.end as u32;
        s.walk.hits = [0; RULE_WORDS];
        if let Some(dfa) = host.dfa(config.text_dfas[text]) {
            s.cursors.state = dfa.start;
            host.repeat(&mut Run { host, s, dfa, end });
            if s.cursors.state != dfa.home || dfa.home_matches_at_end != 0 {
                s.cursors.state = next(host, dfa, s.cursors.state, dfa.end_class);
                host.fence();
                if s.cursors.state >= dfa.first_match {
                    collect_state(host, s, dfa);
                }
            }
        }
        let text = host.masked::<{ TEXTS as u32 - 1 }>(s.cursors.register);
        keep_text(host, s, text);
        s.cursors.left == 0
    }
}

/// Keeps the candidates that agree with the patterns that have been collected for a text.
#[inline(always)]
pub(super) fn keep_text<'m, H: Host<'m>>(host: H, s: &mut Scratch, text: usize) {
    if let Some(base) = host.row(host.config().text_rows[text]) {
        keep_hits(host, &mut s.walk, base);
    }
}

/// The automaton's walk over a text.
struct Run<'s, 'm, H> {
    host: H,
    s: &'s mut Scratch,
    dfa: &'m Dfa,
    end: u32,
}

impl<'m, H: Host<'m>> Step for Run<'_, 'm, H> {
    // A step ends with a match: in the worst case after each byte.
    const TIMES: u32 = INSPECTED_LENGTH as u32;

    #[inline(always)]
    fn step(&mut self, _index: u32) -> bool {
        let (host, s, dfa, end) = (self.host, &mut *self.s, self.dfa, self.end);
        let at = s.cursors.at;
        if at >= end {
            return true;
        }
        let mut word = word_until(s, at, end);
        let mut state = s.cursors.state;
        if state == dfa.home {
            if dfa.home_is_last != 0 {
                s.cursors.at = end;
                return true;
            }
            let leaving =
                if dfa.few_leave != 0 { equal_any(word, &dfa.leaving, &dfa.folds) } else { leaving_home(dfa, word) };
            if leaving == 0 {
                s.cursors.at = at + STRIDE;
                return s.cursors.at >= end;
            }
            s.cursors.at = at + first(leaving);
            host.fence();
            word = word_until(s, s.cursors.at, end);
        }
        let mut after = s.cursors.at + STRIDE;
        for index in 0..STRIDE {
            let class = dfa.class[word as u8 as usize] as u32;
            word >>= 8;
            state = next(host, dfa, state, class);
            if state >= dfa.first_match {
                after = s.cursors.at + index + 1;
                break;
            }
            if state == dfa.home && dfa.few_leave != 0 && equal_any(word, &dfa.leaving, &dfa.folds) == 0 {
                // None of the rest of the eight bytes leads out again. (Nor would the zeroes after them, if they do not count.)
                break;
            }
        }
        s.cursors.at = after;
        s.cursors.state = state;
        host.fence();
        if s.cursors.state >= dfa.first_match {
            collect_state(host, s, dfa);
        }
        s.cursors.at >= end
    }
}

/// Eight bytes at `at`. Those from `end` on are replaced by carriage returns, which leave every state as it is.
#[inline(always)]
fn word_until(s: &Scratch, at: u32, end: u32) -> u64 {
    filled_after(s.word(at), end.wrapping_sub(at), b'\r')
}

/// Marks those of the eight bytes that lead out of the home state: by eight loads that do not wait for each other, instead of
/// eight transitions that do.
#[inline(always)]
fn leaving_home(dfa: &Dfa, word: u64) -> u64 {
    let mark = |byte: u32| (dfa.leaves_home[(word >> (8 * byte)) as u8 as usize] as u64) << (8 * byte);
    mark(0) | mark(1) | mark(2) | mark(3) | mark(4) | mark(5) | mark(6) | mark(7)
}

/// The state that follows `state` after a byte of class `class`.
#[inline(always)]
fn next<'m, H: Host<'m>>(host: H, dfa: &'m Dfa, state: u32, class: u32) -> u32 {
    let entry = (state << (dfa.shift & 15)) | class;
    dfa.table[host.masked::<{ DFA_TABLE as u32 - 1 }>(entry)] as u32
}

/// Collects the patterns that match in the state of the automaton.
#[inline(always)]
fn collect_state<'m, H: Host<'m>>(host: H, s: &mut Scratch, dfa: &'m Dfa) {
    let state = s.cursors.state;
    collect(host, s, dfa.accept[host.masked::<{ DFA_MATCHES as u32 - 1 }>(state - dfa.first_match)]);
}

/// Collects the patterns of a pair of rows, see [`Dfa::accept`].
#[inline(always)]
pub(super) fn collect<'m, H: Host<'m>>(host: H, s: &mut Scratch, row: u32) {
    if let Some(hits) = host.row(row) {
        unite(host, &mut s.walk.hits, hits);
    }
    if let Some(vetoes) = host.row(row + 1) {
        remove(host, &mut s.walk.candidates, vetoes);
    }
}
