//! Readings of single headers and of the body: Privacy, Content-Length, what is missing or wrong.

use crate::{
    find::{Blank, LineFeed, find, find_near, skip_blank},
    host::{Host, Step},
    layout::{Method, Transport, anomaly},
    limits::INSPECTED_LENGTH,
    scratch::{Header, Kind, Scratch, Span, UriOf, uri_flag},
    text::BODY_LENGTH,
};

const fn word(bytes: &[u8; 8]) -> u64 {
    u64::from_le_bytes(*bytes)
}

/// Privacy values that are looked at.
const MAX_PRIVACY: u32 = 16;

/// Reads whether Privacy asks for the identity to be withheld: a value `id` (RFC 3325 section 9.3).
#[inline(never)]
pub fn read_privacy<'m, H: Host<'m>>(host: H, s: &mut Scratch) {
    if s.seen >> Header::Privacy as u32 & 1 == 0 {
        return;
    }
    let value = s.header(Header::Privacy as u32);
    s.at = value.start as u32;
    host.repeat(&mut Privacy { host, s, end: value.end as u32 });
}

struct Privacy<'s, H> {
    host: H,
    s: &'s mut Scratch,
    end: u32,
}

impl<'m, H: Host<'m>> Step for Privacy<'_, H> {
    const TIMES: u32 = MAX_PRIVACY;

    #[inline(always)]
    fn step(&mut self, _index: u32) -> bool {
        let s = &mut *self.s;
        let from = s.at;
        let start = skip_blank(self.host, s, from, self.end);
        if start == self.end {
            return true;
        }
        let after = s.byte(start + 2);
        let ends = after <= b' ' || after == b';' || after == b',';
        if (s.word(start) as u16 | 0x2020) == u16::from_le_bytes(*b"id") && ends {
            s.privacy = 1;
            return true;
        }
        let semicolon = find::<crate::find::Semicolon, H>(self.host, s, start, self.end);
        s.at = semicolon + 1;
        false
    }
}

/// Headers that every message has (RFC 3261 section 8.1.1; Max-Forwards is left out in RFC 2543's messages).
const MANDATORY: u32 = 1 << Header::From as u32
    | 1 << Header::To as u32
    | 1 << Header::CallId as u32
    | 1 << Header::CSeq as u32
    | 1 << Header::Via as u32;

/// Notes what is missing, and what does not fit.
#[inline(never)]
pub fn note_anomalies<'m, H: Host<'m>>(host: H, s: &mut Scratch) {
    if s.body != 0 && s.seen & MANDATORY != MANDATORY {
        s.anomalies |= anomaly::MISSING_HEADER;
    }
    let uris = s.uri(UriOf::From as u32).flags | s.uri(UriOf::To as u32).flags | s.uri(UriOf::Request as u32).flags;
    if uris & uri_flag::MALFORMED != 0 {
        s.anomalies |= anomaly::MALFORMED_URI;
    }
    if s.seen >> Header::ContentLength as u32 & 1 != 0 {
        read_content_length(host, s);
        // A fragment's datagram goes on in the next packet.
        if s.body != 0 && s.fragment == 0 {
            compare_content_length(host, s);
        }
    }
}

/// Digits of a Content-Length that are read; more than fit the number are no number.
const MAX_CONTENT_LENGTH_DIGITS: u32 = 9;

#[inline(always)]
fn read_content_length<'m, H: Host<'m>>(host: H, s: &mut Scratch) {
    let value = s.header(Header::ContentLength as u32);
    let (start, end) = (value.start as u32, value.end as u32);
    let first = skip_blank(host, s, start, end);
    let last = find::<Blank, H>(host, s, first, end);
    s.content_length = 0;
    s.at = first;
    host.repeat(&mut ContentLength { s, end: last });
    if first == last || s.at != last || skip_blank(host, s, last, end) != end {
        s.content_length = u32::MAX;
    }
}

struct ContentLength<'s> {
    s: &'s mut Scratch,
    end: u32,
}

impl Step for ContentLength<'_> {
    const TIMES: u32 = MAX_CONTENT_LENGTH_DIGITS + 1;
    const BATCH: u32 = Self::TIMES;

    #[inline(always)]
    fn step(&mut self, index: u32) -> bool {
        let s = &mut *self.s;
        let at = s.at;
        let digit = s.byte(at).wrapping_sub(b'0');
        if at >= self.end || digit > 9 || index >= MAX_CONTENT_LENGTH_DIGITS {
            return true;
        }
        s.content_length = s.content_length.wrapping_mul(10).wrapping_add(digit as u32);
        s.at = at + 1;
        false
    }
}

/// Content-Length against what the packet has behind the headers (RFC 3261 section 18.3).
#[inline(always)]
fn compare_content_length<'m, H: Host<'m>>(host: H, s: &mut Scratch) {
    let available = s.payload_length.wrapping_sub(s.body);
    let claimed = s.content_length;
    if claimed == available {
        return;
    }
    if claimed > available {
        // In a stream the rest comes with the next segment.
        if claimed == u32::MAX || s.transport == Transport::Udp as u32 {
            s.anomalies |= anomaly::CONTENT_LENGTH_MISMATCH;
        }
        return;
    }
    // More than the message follows: line ends are padding, a start line is another message.
    let body = s.body;
    let extra = find::<crate::find::NotLineEnd, H>(host, s, body + claimed, s.length);
    if extra >= s.length {
        if s.length == s.payload_length {
            return;
        }
        s.anomalies |= anomaly::CONTENT_LENGTH_MISMATCH;
        return;
    }
    let line_end = find::<LineFeed, H>(host, s, extra, s.length);
    let is_response = s.word(extra) as u32 == word(b"SIP/\0\0\0\0") as u32;
    // "... SIP/2.0\r\n": the version ends eight bytes, or nine with a carriage return, before the next line.
    let back = if s.byte(line_end.wrapping_sub(1)) == b'\r' { 8 } else { 7 };
    let version = line_end.wrapping_sub(back);
    let is_request =
        line_end < s.length && line_end > extra + back && s.word(version) & 0x00ff_ffff_ffff_ffff == word(b"SIP/2.0\0");
    s.anomalies |= if is_response || is_request { anomaly::SEVERAL_MESSAGES } else { anomaly::CONTENT_LENGTH_MISMATCH };
}

/// Lines of a body that are looked at in search of the session name.
const MAX_BODY_LINES: u32 = 64;

/// Notes where the body of a MESSAGE and the session name of a session description are.
#[inline(never)]
pub fn read_body<'m, H: Host<'m>>(host: H, s: &mut Scratch) {
    let body = s.body;
    if body == 0 || body >= s.length {
        return;
    }
    if s.method == Method::Message as u32 {
        let end = if s.length - body > BODY_LENGTH { body + BODY_LENGTH } else { s.length };
        s.headers[Header::Body as usize] = Span { start: body as u16, end: end as u16 };
        s.seen |= 1 << Header::Body as u32;
    }
    s.at = body;
    host.repeat(&mut SdpLines { host, s });
}

struct SdpLines<'s, H> {
    host: H,
    s: &'s mut Scratch,
}

impl<'m, H: Host<'m>> Step for SdpLines<'_, H> {
    const TIMES: u32 = MAX_BODY_LINES;
    const BATCH: u32 = 4;

    #[inline(always)]
    fn step(&mut self, _index: u32) -> bool {
        let s = &mut *self.s;
        let line = s.at;
        if line >= s.length {
            return true;
        }
        let end = find_near::<LineFeed, H>(self.host, s, line, s.length);
        s.at = end + 1;
        if s.word(line) as u16 != u16::from_le_bytes(*b"s=") {
            return false;
        }
        s.headers[Header::SdpSession as usize] = Span { start: (line + 2) as u16, end: end as u16 };
        s.seen |= 1 << Header::SdpSession as u32;
        true
    }
}

const _: () = assert!(INSPECTED_LENGTH <= u16::MAX as usize && Kind::Request as u32 == 1);
