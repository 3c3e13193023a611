//! Patterns over a text: running a compiled automaton, and what its matches do to the candidates.

use crate::{
    host::{Function, FunctionKind, Host, Step},
    layout::{DFA_MATCHES, Dfa, TEXTS, Text},
    limits::{DFA_TABLE, INSPECTED_LENGTH, RULE_WORDS},
    scratch::{Header, Kind, Scratch, Span, UriOf},
    swar::{equal_any, filled_behind, first},
};

/// Bytes that the automaton takes in one step of the loop, behind those that it skips.
const STRIDE: u32 = 8;

/// Bytes of a MESSAGE's body that patterns see.
pub const BODY_LENGTH: u32 = 512;

/// Narrows the candidates by the patterns over those of the texts (bits `1 << Text`) that have some.
#[inline(always)]
pub fn narrow<'m, H: Host<'m>>(host: H, s: &mut Scratch, texts: u32) {
    let texts = host.config().texts & texts;
    if texts != 0 {
        host.call::<NarrowTexts>(s, texts, 0);
    }
}

/// What [`narrow`] calls.
pub struct NarrowTexts;

impl Function for NarrowTexts {
    const KIND: FunctionKind = FunctionKind::NarrowTexts;

    #[inline(always)]
    fn run<'m, H: Host<'m>>(host: H, s: &mut Scratch, texts: u32, _: u32) -> u32 {
        s.left = texts;
        host.repeat(&mut Texts { host, s });
        0
    }
}

struct Texts<'s, H> {
    host: H,
    s: &'s mut Scratch,
}

impl<'m, H: Host<'m>> Step for Texts<'_, H> {
    const TIMES: u32 = TEXTS as u32;
    const BATCH: u32 = 2;

    #[inline(always)]
    fn step(&mut self, _index: u32) -> bool {
        let (host, s) = (self.host, &mut *self.s);
        let config = host.config();
        let Some(text) = s.take_left() else { return true };
        let text = text & (TEXTS as u32 - 1);
        s.hits = [0; RULE_WORDS];
        if let Some(span) = span_of(s, text)
            && let Some(dfa) = host.dfa(config.text_dfas[text as usize])
        {
            s.at = span.start as u32;
            s.state = dfa.start;
            host.repeat(&mut Walk { host, s, dfa, end: span.end as u32 });
            if s.state != dfa.home || dfa.home_matches_at_end != 0 {
                s.state = next(host, dfa, s.state, dfa.end_class);
                host.fence();
                if s.state >= dfa.first_match {
                    collect(host, s, dfa);
                }
            }
        }
        let Some(base) = host.row(config.text_rows[text as usize]) else { return true };
        let words = config.words as usize;
        for word in 0..RULE_WORDS {
            if word < words {
                s.candidates[word] &= base[word] | s.hits[word];
            }
        }
        s.left == 0
    }
}

/// Where a text stands; none where the message has no such value.
#[inline(always)]
#[must_use]
pub fn span(s: &Scratch, text: Text) -> Option<Span> {
    span_of(s, text as u32)
}

#[inline(always)]
fn span_of(s: &Scratch, text: u32) -> Option<Span> {
    const USER_AGENT: u32 = Text::UserAgent as u32;
    const CALL_ID: u32 = Text::CallId as u32;
    const SUBJECT: u32 = Text::Subject as u32;
    const CONTACT: u32 = Text::Contact as u32;
    const VIA: u32 = Text::Via as u32;
    const SERVER: u32 = Text::Server as u32;
    const BODY: u32 = Text::Body as u32;
    const SDP_SESSION: u32 = Text::SdpSession as u32;
    const FROM_DISPLAY: u32 = Text::FromDisplay as u32;
    const FROM_USER: u32 = Text::FromUser as u32;
    const FROM_HOST: u32 = Text::FromHost as u32;
    const TO_USER: u32 = Text::ToUser as u32;
    const REQUEST_USER: u32 = Text::RequestUser as u32;
    const REQUEST_HOST: u32 = Text::RequestHost as u32;
    let header = match text {
        USER_AGENT => {
            if s.seen >> Header::UserAgent as u32 & 1 == 0 && s.kind == Kind::Response as u32 {
                Header::Server
            } else {
                Header::UserAgent
            }
        }
        CALL_ID => Header::CallId,
        SUBJECT => Header::Subject,
        CONTACT => Header::Contact,
        VIA => Header::Via,
        SERVER => Header::Server,
        BODY => Header::Body,
        SDP_SESSION => Header::SdpSession,
        FROM_DISPLAY => return non_empty(s.uri(UriOf::From as u32).display),
        FROM_USER => return non_empty(s.uri(UriOf::From as u32).user),
        FROM_HOST => return non_empty(s.uri(UriOf::From as u32).host),
        TO_USER => return non_empty(s.uri(UriOf::To as u32).user),
        REQUEST_USER => return non_empty(s.uri(UriOf::Request as u32).user),
        REQUEST_HOST => return non_empty(s.uri(UriOf::Request as u32).host),
        _ => return None,
    } as u32;
    if s.seen >> (header & 31) & 1 == 0 { None } else { Some(s.header(header)) }
}

#[inline(always)]
fn non_empty(span: Span) -> Option<Span> {
    if span.is_empty() { None } else { Some(span) }
}

struct Walk<'s, 'm, H> {
    host: H,
    s: &'s mut Scratch,
    dfa: &'m Dfa,
    end: u32,
}

impl<'m, H: Host<'m>> Step for Walk<'_, 'm, H> {
    // A step ends with a match: in the worst case behind each byte.
    const TIMES: u32 = INSPECTED_LENGTH as u32;
    const BATCH: u32 = 4;

    #[inline(always)]
    fn step(&mut self, _index: u32) -> bool {
        let (host, s, dfa, end) = (self.host, &mut *self.s, self.dfa, self.end);
        let at = s.at;
        if at >= end {
            return true;
        }
        let mut word = word_until(s, at, end);
        let mut state = s.state;
        if state == dfa.home {
            if dfa.home_is_last != 0 {
                s.at = end;
                return true;
            }
            let leaving =
                if dfa.few_leave != 0 { equal_any(word, &dfa.leaving, &dfa.folds) } else { leaving_home(dfa, word) };
            if leaving == 0 {
                s.at = at + STRIDE;
                return s.at >= end;
            }
            s.at = at + first(leaving);
            host.fence();
            word = word_until(s, s.at, end);
        }
        let mut behind = s.at + STRIDE;
        for index in 0..STRIDE {
            let class = dfa.class[word as u8 as usize] as u32;
            word >>= 8;
            state = next(host, dfa, state, class);
            if state >= dfa.first_match {
                behind = s.at + index + 1;
                break;
            }
            if state == dfa.home && dfa.few_leave != 0 && equal_any(word, &dfa.leaving, &dfa.folds) == 0 {
                // None of what is left of the eight leads out again. (Nor would the zeroes behind it, where they do not count.)
                break;
            }
        }
        s.at = behind;
        s.state = state;
        host.fence();
        if s.state >= dfa.first_match {
            collect(host, s, dfa);
        }
        s.at >= end
    }
}

/// Eight bytes at `at`, those from `end` on as carriage returns, which leave every state as it is.
#[inline(always)]
fn word_until(s: &Scratch, at: u32, end: u32) -> u64 {
    filled_behind(s.word(at), end.wrapping_sub(at), b'\r')
}

/// Marks those of the eight bytes that lead out of the home state: by eight loads that do not wait for each other, instead of
/// eight transitions that do.
#[inline(always)]
fn leaving_home(dfa: &Dfa, word: u64) -> u64 {
    let mark = |byte: u32| (dfa.leaves_home[(word >> (8 * byte)) as u8 as usize] as u64) << (8 * byte);
    mark(0) | mark(1) | mark(2) | mark(3) | mark(4) | mark(5) | mark(6) | mark(7)
}

/// One transition.
#[inline(always)]
fn next<'m, H: Host<'m>>(host: H, dfa: &'m Dfa, state: u32, class: u32) -> u32 {
    let entry = (state << (dfa.shift & 15)) | class;
    dfa.table[host.masked::<{ DFA_TABLE as u32 - 1 }>(entry)] as u32
}

/// Collects what matches in the state that the automaton is in.
#[inline(always)]
fn collect<'m, H: Host<'m>>(host: H, s: &mut Scratch, dfa: &'m Dfa) {
    let state = s.state;
    let row = dfa.accept[host.masked::<{ DFA_MATCHES as u32 - 1 }>(state - dfa.first_match)];
    let words = host.config().words as usize;
    if let Some(hits) = host.row(row) {
        for word in 0..RULE_WORDS {
            if word < words {
                s.hits[word] |= hits[word];
            }
        }
    }
    if let Some(vetoes) = host.row(row + 1) {
        for word in 0..RULE_WORDS {
            if word < words {
                s.candidates[word] &= !vetoes[word];
            }
        }
    }
}
