//! Patterns over a text: running a compiled automaton, and what its matches do to the candidates.

use crate::{
    host::{Host, Step},
    layout::{DFA_MATCHES, Dfa, Text},
    limits::{DFA_TABLE, INSPECTED_LENGTH, RULE_WORDS},
    scratch::{Header, Scratch, Span, UriOf},
};

/// Bytes that the automaton takes in one step of the loop.
const STRIDE: u32 = 8;

/// Bytes of a MESSAGE's body that patterns see.
pub const BODY_LENGTH: u32 = 512;

/// Narrows the candidates by the patterns over `text`.
#[inline(always)]
pub fn narrow<'m, H: Host<'m>>(host: H, s: &mut Scratch, text: Text) {
    let config = host.config();
    let which = text as usize;
    if config.texts >> which & 1 == 0 {
        return;
    }
    s.hits = [0; RULE_WORDS];
    if let Some(span) = span(s, text)
        && let Some(dfa) = host.dfa(config.text_dfas[which])
    {
        s.at = span.start as u32;
        s.state = dfa.start;
        let end = span.end as u32;
        let mut walk = Walk { host, s, dfa, end };
        host.repeat(INSPECTED_LENGTH as u32 / STRIDE, &mut walk);
        advance(host, s, dfa, dfa.end_class);
    }
    let Some(base) = host.row(config.text_rows[which]) else { return };
    let words = config.words as usize;
    for word in 0..RULE_WORDS {
        if word < words {
            s.candidates[word] &= base[word] | s.hits[word];
        }
    }
}

/// Where a text stands; none where the message has no such value.
#[inline(always)]
#[must_use]
pub fn span(s: &Scratch, text: Text) -> Option<Span> {
    let header = match text {
        Text::UserAgent => {
            if s.seen >> Header::UserAgent as u32 & 1 != 0 {
                Header::UserAgent
            } else if s.kind == crate::scratch::Kind::Response as u32 {
                Header::Server
            } else {
                return None;
            }
        }
        Text::CallId => Header::CallId,
        Text::Subject => Header::Subject,
        Text::Contact => Header::Contact,
        Text::Via => Header::Via,
        Text::Server => Header::Server,
        Text::Body => Header::Body,
        Text::SdpSession => Header::SdpSession,
        Text::FromDisplay => return non_empty(s.uri(UriOf::From as u32).display),
        Text::FromUser => return non_empty(s.uri(UriOf::From as u32).user),
        Text::FromHost => return non_empty(s.uri(UriOf::From as u32).host),
        Text::ToUser => return non_empty(s.uri(UriOf::To as u32).user),
        Text::RequestUser => return non_empty(s.uri(UriOf::Request as u32).user),
        Text::RequestHost => return non_empty(s.uri(UriOf::Request as u32).host),
    };
    if s.seen >> header as u32 & 1 == 0 {
        return None;
    }
    Some(s.header(header as u32))
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
    #[inline(always)]
    fn step(&mut self, _index: u32) -> bool {
        let at = self.s.at;
        let mut word = self.s.word(at);
        for index in 0..STRIDE {
            if at + index >= self.end {
                return true;
            }
            let class = self.dfa.class[word as u8 as usize] as u32;
            word >>= 8;
            advance(self.host, self.s, self.dfa, class);
        }
        self.s.at = at + STRIDE;
        false
    }
}

/// One transition; collects what matches in the new state.
#[inline(always)]
fn advance<'m, H: Host<'m>>(host: H, s: &mut Scratch, dfa: &'m Dfa, class: u32) {
    let entry = (s.state << (dfa.shift & 15)) | class;
    let state = dfa.table[entry as usize & (DFA_TABLE - 1)] as u32;
    s.state = state;
    if state < dfa.first_match {
        return;
    }
    let row = dfa.accept[(state - dfa.first_match) as usize & (DFA_MATCHES - 1)];
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
