//! Headers with several values: finding the one that counts.

use crate::{
    find::{AngleClose, CommaQuoteAngle, QuoteBackslash, find},
    host::{Host, Step},
    scratch::{Header, Scratch, Span},
};

/// The most values of one header line that are examined.
const MAX_VALUES: u32 = 64;

/// States of the walk over the values, in `register`.
const IN_TOKEN: u32 = 0;
const IN_QUOTES: u32 = 1;

/// Finds the History-Info entry before the last one (RFC 7044 section 5: the last is the current target), and the second
/// value of P-Asserted-Identity if it is in the first one's line.
#[inline(never)]
pub fn split<'m, H: Host<'m>>(host: H, s: &mut Scratch) {
    let last = s.message.header(Header::HistoryInfo);
    if s.message.has(Header::HistoryInfo) {
        let earlier = s.message.header(Header::EarlierHistoryInfo);
        s.message.headers[Header::HistoryInfo.index()] = Span::default();
        s.message.seen &= !Header::HistoryInfo.bit();
        // The loop over the header lines has ended: its cursors `line` and `lines` now hold the starts of the last two entries.
        s.cursors.line = 0;
        s.cursors.lines = 0;
        if !earlier.is_empty() {
            walk_values(host, s, earlier, false);
        }
        walk_values(host, s, last, false);
        if s.cursors.lines != 0 {
            let start = s.cursors.lines;
            let end = if start < earlier.end as u32 && start >= earlier.start as u32 { earlier.end } else { last.end };
            s.message.note(Header::HistoryInfo, Span { start: start as u16, end });
        }
    }
    let asserted = s.message.header(Header::AssertedIdentity);
    if !asserted.is_empty() && !s.message.has(Header::SecondAssertedIdentity) {
        s.cursors.line = 0;
        s.cursors.lines = 0;
        walk_values(host, s, asserted, true);
        if s.cursors.lines != 0 {
            s.message.note(Header::SecondAssertedIdentity, Span { start: s.cursors.line as u16, end: asserted.end });
        }
    }
}

/// Goes over the comma-separated values of a header, or only to the second one. The cursor `line` ends at the start of the last
/// value, `lines` at the start of the one before (0 for none).
#[inline(always)]
fn walk_values<'m, H: Host<'m>>(host: H, s: &mut Scratch, span: Span, to_second: bool) {
    s.cursors.lines = s.cursors.line;
    s.cursors.line = span.start as u32;
    s.cursors.at = span.start as u32;
    s.cursors.register = IN_TOKEN;
    host.repeat(&mut Values { host, s, end: span.end as u32, to_second });
}

struct Values<'s, H> {
    host: H,
    s: &'s mut Scratch,
    end: u32,
    to_second: bool,
}

impl<'m, H: Host<'m>> Step for Values<'_, H> {
    const TIMES: u32 = MAX_VALUES * 4;
    const BATCH: u32 = 4;

    #[inline(always)]
    fn step(&mut self, _index: u32) -> bool {
        let (host, s, end) = (self.host, &mut *self.s, self.end);
        let from = s.cursors.at;
        if s.cursors.register == IN_QUOTES {
            let at = find::<QuoteBackslash, H>(host, s, from, end);
            if at == end {
                return true;
            }
            if s.byte(at) == b'\\' {
                s.cursors.at = at + 2;
            } else {
                s.cursors.register = IN_TOKEN;
                s.cursors.at = at + 1;
            }
            return false;
        }
        let at = find::<CommaQuoteAngle, H>(host, s, from, end);
        if at == end {
            return true;
        }
        match s.byte(at) {
            b',' => {
                s.cursors.lines = s.cursors.line;
                s.cursors.line = at + 1;
                s.cursors.at = at + 1;
                return self.to_second;
            }
            b'"' => {
                s.cursors.register = IN_QUOTES;
                s.cursors.at = at + 1;
            }
            b'<' => {
                let close = find::<AngleClose, H>(host, s, at + 1, end);
                s.cursors.at = close + 1;
            }
            _ => s.cursors.at = at + if s.byte(at + 1) == b'"' { 2 } else { 1 },
        }
        false
    }
}
