//! Reading single headers and the body: Privacy, Content-Length, and what is missing or wrong.

use crate::{
    find::{Blank, LineEnd, LineFeed, NotLineEnd, STRIDE, SemicolonComma, find, find_near, mark, skip_blank},
    header::read_name,
    host::{Function, FunctionKind, Host, Step},
    layout::{Method, Transport, anomaly, privacy},
    limits::INSPECTED_LENGTH,
    lists,
    message::{CRLF, is_folded, is_unknown},
    scratch::{Header, Scratch, Span},
    start_line::find_mark,
    swar::{LETTERS, ONES, equal, filled_after, first, text},
    text::BODY_LENGTH,
};

/// Reads what Privacy asks to be withheld (RFC 3323 section 4.2, RFC 3325 section 9.3, RFC 7044 section 7).
#[inline(always)]
pub fn read_privacy<'m, H: Host<'m>>(host: H, s: &mut Scratch) {
    if s.message.has(Header::Privacy) {
        read_privacy_values(host, s);
    }
}

#[inline(never)]
fn read_privacy_values<'m, H: Host<'m>>(host: H, s: &mut Scratch) {
    let value = s.message.header(Header::Privacy);
    s.cursors.value_at = value.start as u32;
    s.cursors.value_line_end = value.end as u32;
    s.cursors.further_line = 0;
    host.repeat(&mut Privacy { host, s });
}

struct Privacy<'s, H> {
    host: H,
    s: &'s mut Scratch,
}

impl<'m, H: Host<'m>> Step for Privacy<'_, H> {
    const TIMES: u32 = INSPECTED_LENGTH as u32;

    #[inline(always)]
    fn step(&mut self, _index: u32) -> bool {
        let (host, s) = (self.host, &mut *self.s);
        let (from, end) = (s.cursors.value_at, s.cursors.value_line_end);
        let start = skip_blank(host, s, from, end);
        if start >= end {
            return !lists::next_line(host, s, Header::Privacy);
        }
        let value_end = find::<SemicolonComma, H>(host, s, start, end);
        s.cursors.value_at = value_end + 1;
        const ID: u64 = text(b"id\0\0\0\0\0\0");
        const HEADER: u64 = text(b"header\0\0");
        const SESSION: u64 = text(b"session\0");
        const USER: u64 = text(b"user\0\0\0\0");
        const HISTORY: u64 = text(b"history\0");
        const CRITICAL: u64 = text(b"critical");
        let length = value_end.wrapping_sub(start);
        let value = filled_after(s.word(start) | LETTERS, length, 0);
        s.message.privacy |= match value {
            _ if length > 8 => 0,
            ID => privacy::ID,
            HEADER => privacy::HEADER,
            SESSION => privacy::SESSION,
            USER => privacy::USER,
            HISTORY => privacy::HISTORY,
            CRITICAL => privacy::CRITICAL,
            _ => 0,
        };
        false
    }
}

/// Headers that every message has (RFC 3261 section 8.1.1, but for Max-Forwards, which RFC 2543's messages lack).
const MANDATORY: u32 =
    Header::From.bit() | Header::To.bit() | Header::CallId.bit() | Header::CSeq.bit() | Header::Via.bit();

/// Notes missing headers and a Content-Length that does not fit.
#[inline(never)]
pub fn note_anomalies<'m, H: Host<'m>>(host: H, s: &mut Scratch) {
    if s.message.body != 0 && s.message.seen & MANDATORY != MANDATORY {
        s.message.anomalies |= anomaly::MISSING_HEADER;
    }
    host.call::<NoteOpenPairs>(s, 0, 0);
    let has_length = s.message.has(Header::ContentLength);
    if has_length {
        read_content_length(host, s);
    }
    // In a stream, a message without it has no body for those that accept it (RFC 3261 section 20.14). A fragment's datagram continues
    // in the next packet.
    if (has_length || s.packet.transport != Transport::Udp) && s.message.body != 0 && s.packet.fragment == 0 {
        let claimed = if has_length { s.message.content_length } else { 0 };
        compare_content_length(host, s, claimed);
    }
}

/// The function of the host that looks for a `[` in the start line and the headers, and for the `(` of a comment, that are not closed
/// on their line. PJSIP looks for the other half in all that follows, and takes what is after it, in the body too, for headers.
pub struct NoteOpenPairs;

impl Function for NoteOpenPairs {
    const KIND: FunctionKind = FunctionKind::NoteOpenPairs;

    #[inline(always)]
    fn run<'m, H: Host<'m>>(host: H, s: &mut Scratch, _: u32, _: u32) -> u32 {
        s.cursors.register = 0;
        s.cursors.left = 0;
        s.cursors.line = 0;
        s.cursors.value = 0;
        host.repeat(&mut OpenPairs { host, s });
        0
    }
}

/// Where the headers end, or what is inspected of them.
#[inline(always)]
fn head_end(s: &Scratch) -> u32 {
    if s.message.body != 0 && s.message.body < s.message.length { s.message.body } else { s.message.length }
}

/// Goes from each opening byte to the one that closes it, or to the end of its line, and then over the lines up to there, to see which
/// it is. `register` is where it is, `left` the byte that is open, and [`IN_LINES`].
///
/// One loop, not one in another: the kernel allows eight frames.
struct OpenPairs<'s, H> {
    host: H,
    s: &'s mut Scratch,
}

/// Set in `left` while the line is looked for. `value_at` is its end, `line` where it begins, and `value` how far the lines have been
/// looked at: each of them once, however many bytes are open.
const IN_LINES: u32 = 0x100;

impl<'m, H: Host<'m>> Step for OpenPairs<'_, H> {
    const TIMES: u32 = 3 * INSPECTED_LENGTH as u32;

    #[inline(always)]
    fn step(&mut self, _index: u32) -> bool {
        let (host, s) = (self.host, &mut *self.s);
        if s.cursors.left & IN_LINES == 0 {
            let (from, end) = (s.cursors.register, head_end(s));
            let is_open = s.cursors.left != 0;
            let stop = if is_open { find::<LineEnd, H>(host, s, from, end) } else { end };
            // Through memory: the verifier follows one path.
            s.cursors.value_at = stop;
            host.fence();
            to_pair(host, s);
            let at = s.cursors.register;
            let byte = s.byte(at);
            s.cursors.register = at + 1;
            if !is_open {
                if byte == b'[' || byte == b'(' {
                    s.cursors.left = byte as u32;
                }
                return at >= end;
            }
            if byte as u32 == s.cursors.left + if s.cursors.left == b'[' as u32 { 2 } else { 1 } {
                s.cursors.left = 0;
            } else if byte <= b'\r' || at >= end {
                s.cursors.left |= IN_LINES;
            }
            return false;
        }
        let (from, end) = (s.cursors.value, s.cursors.value_at);
        let line_end = find::<LineEnd, H>(host, s, from, end);
        if line_end < end {
            let next = find::<NotLineEnd, H>(host, s, line_end, end);
            s.cursors.value = next;
            if !is_folded(s.byte(next)) {
                s.cursors.line = next;
            }
            return false;
        }
        let matters = pair_matters(host, s);
        s.cursors.register = end + 1;
        s.cursors.left = 0;
        if matters {
            s.message.anomalies |= anomaly::MALFORMED_HEADER;
        }
        matters
    }
}

/// Moves `register` on to the next byte of a pair, or to the end of the search at `value_at`.
#[inline(always)]
fn to_pair<'m, H: Host<'m>>(host: H, s: &mut Scratch) {
    host.repeat(&mut ToPair { s });
    // In the last window, it may be past the end.
    if s.cursors.register > s.cursors.value_at {
        s.cursors.register = s.cursors.value_at;
    }
}

/// Marks what opens or closes a pair that some server closes on another line. Exact up to the first one.
#[inline(always)]
const fn pairs(word: u64) -> u64 {
    equal(word, b'[') | equal(word, b']') | equal(word & !ONES, b'(')
}

/// Goes from window to window. Not a search by `find`, which takes a call for each window: most messages are searched from end to end.
struct ToPair<'s> {
    s: &'s mut Scratch,
}

impl Step for ToPair<'_> {
    const TIMES: u32 = (INSPECTED_LENGTH as u32 / STRIDE).next_multiple_of(Self::BATCH);
    const BATCH: u32 = 2;

    #[inline(always)]
    fn step(&mut self, _index: u32) -> bool {
        let at = self.s.cursors.register;
        if at >= self.s.cursors.value_at {
            return true;
        }
        let (offset, marks) = mark(self.s, at, pairs);
        self.s.cursors.register = at + if marks == 0 { STRIDE } else { offset + first(marks) };
        marks != 0
    }
}

/// True if the byte that is open counts in the header at `line`: a comment in Via and Retry-After, a bracket anywhere but in a text.
#[inline(always)]
fn pair_matters<'m, H: Host<'m>>(host: H, s: &mut Scratch) -> bool {
    let line = s.cursors.line;
    let read = read_name(s, line);
    // Through memory: after this, the verifier follows one path, not one for each name.
    s.cursors.name = read.header;
    s.cursors.register = read.length;
    host.fence();
    let after = s.byte(line + s.cursors.register);
    let name = if is_unknown(s.cursors.name, after) { Header::Other } else { s.cursors.name };
    if s.cursors.left & !IN_LINES == b'(' as u32 {
        return name == Header::Via || name == Header::Other && s.byte(line) | 0x20 == b'r';
    }
    name == Header::Other || name.bit() & TEXTS == 0
}

/// Headers in which a bracket is a letter like others.
const TEXTS: u32 = Header::CallId.bit() | Header::Server.bit() | Header::Subject.bit() | Header::UserAgent.bit();

/// Digits of a Content-Length that are read; a value with more of them counts as no number.
const MAX_CONTENT_LENGTH_DIGITS: u32 = 9;

#[inline(always)]
fn read_content_length<'m, H: Host<'m>>(host: H, s: &mut Scratch) {
    let value = s.message.header(Header::ContentLength);
    let (start, end) = (value.start as u32, value.end as u32);
    let first = skip_blank(host, s, start, end);
    let last = find_near::<Blank, H>(host, s, first, end);
    s.message.content_length = 0;
    s.cursors.at = first;
    for _ in 0..host.bound(MAX_CONTENT_LENGTH_DIGITS) {
        host.fence();
        let at = s.cursors.at;
        let digit = s.byte(at).wrapping_sub(b'0');
        if at >= last || digit > 9 {
            break;
        }
        s.message.content_length = s.message.content_length.wrapping_mul(10).wrapping_add(digit as u32);
        s.cursors.at = at + 1;
    }
    if first == last || s.cursors.at != last || !is_blank_until(host, s, last, end) {
        s.message.content_length = u32::MAX;
    }
}

/// True if nothing but white space is in `at..end`. Mostly it is a line end.
#[inline(always)]
fn is_blank_until<'m, H: Host<'m>>(host: H, s: &mut Scratch, at: u32, end: u32) -> bool {
    let is_line_end = at + 2 == end && s.word(at) as u16 == CRLF;
    is_line_end || skip_blank(host, s, at, end) == end
}

/// Compares Content-Length with what the packet has after the headers (RFC 3261 section 18.3).
#[inline(always)]
fn compare_content_length<'m, H: Host<'m>>(host: H, s: &mut Scratch, claimed: u32) {
    let available = s.packet.payload_length.wrapping_sub(s.message.body);
    if claimed == available {
        return;
    }
    let mut after = s.message.body.wrapping_add(claimed);
    if claimed > available {
        // In a stream, the rest comes with the next segment.
        if claimed == u32::MAX || s.packet.transport == Transport::Udp {
            s.message.anomalies |= anomaly::CONTENT_LENGTH_MISMATCH;
        }
        if claimed != u32::MAX {
            return;
        }
        // To a server that makes some number of it, the body may end anywhere.
        after = s.message.body;
    }
    // Something follows the message: line ends are padding, and where a version is, another message.
    let extra = find::<NotLineEnd, H>(host, s, after, s.message.length);
    if extra >= s.message.length {
        if s.message.length == s.packet.payload_length {
            return;
        }
        s.message.anomalies |= anomaly::CONTENT_LENGTH_MISMATCH;
        return;
    }
    s.message.anomalies |= if find_mark(host, s, extra, s.message.length) < s.message.length {
        anomaly::SEVERAL_MESSAGES
    } else {
        anomaly::CONTENT_LENGTH_MISMATCH
    };
}

/// Lines that a body can have.
const MAX_BODY_LINES: u32 = (INSPECTED_LENGTH as u32).next_multiple_of(BODY_LINES_BATCH);

/// The session name is mostly the third line. A larger batch would save a call, but Linux 7.3's verifier has no room for it.
const BODY_LINES_BATCH: u32 = 2;

/// Notes the places of the body of a MESSAGE and of the session name of a session description.
#[inline(never)]
pub fn read_body<'m, H: Host<'m>>(host: H, s: &mut Scratch) {
    let body = s.message.body;
    if body == 0 || body >= s.message.length {
        return;
    }
    if s.message.method == Method::Message {
        let end = if s.message.length - body > BODY_LENGTH { body + BODY_LENGTH } else { s.message.length };
        s.message.note(Header::Body, Span { start: body as u16, end: end as u16 });
    }
    s.cursors.at = body;
    host.repeat(&mut SdpLines { host, s });
}

struct SdpLines<'s, H> {
    host: H,
    s: &'s mut Scratch,
}

impl<'m, H: Host<'m>> Step for SdpLines<'_, H> {
    const TIMES: u32 = MAX_BODY_LINES;
    const BATCH: u32 = BODY_LINES_BATCH;

    #[inline(always)]
    fn step(&mut self, _index: u32) -> bool {
        let s = &mut *self.s;
        let line = s.cursors.at;
        if line >= s.message.length {
            return true;
        }
        let end = find_near::<LineFeed, H>(self.host, s, line, s.message.length);
        s.cursors.at = end + 1;
        if s.word(line) as u16 != u16::from_le_bytes(*b"s=") {
            return false;
        }
        s.message.note(Header::SdpSession, Span { start: (line + 2) as u16, end: end as u16 });
        true
    }
}

const _: () = assert!(INSPECTED_LENGTH <= u16::MAX as usize);
