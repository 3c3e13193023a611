//! Reading the start line of a message (RFC 3261 section 7).
//!
//! A line to the letter of the RFC is read at once. All others are left to a function of its own, which takes for a start line what
//! some SIP server takes for one, and flags it: other versions, white space around the slash, folded lines.

use crate::{
    find::{At, Blank, LineEnd, Slash, Space, find, find_near, skip_blank},
    host::{Function, FunctionKind, Host, Step},
    layout::{Method, Transport, anomaly},
    limits::INSPECTED_LENGTH,
    message::{after_line_end, is_folded},
    scratch::{Header, Kind, Scratch, Span},
    swar::{LETTERS, below, exactly, first, first_bytes, text},
    uri::{has_scheme, is_odd_blank},
};

/// Reads the line at `start`: kind, method or status code, Request-URI. Leaves the cursor at its end.
#[inline(always)]
pub fn read<'m, H: Host<'m>>(host: H, s: &mut Scratch, start: u32) {
    s.message.kind = Kind::NotSip;
    if !read_common(host, s, start) {
        host.call::<ReadStartLine>(s, start, 0);
        // Others may hold line ends in the Request-URI.
        if s.message.kind != Kind::Response {
            s.message.folded = 1;
        }
    }
}

/// Reads a request line to the letter of RFC 3261 section 7.1, as nearly all are: `Method SP Request-URI SP SIP/2.0 CRLF`. [`ReadStartLine`] reads it the same way, in more than twice the time. False if it is another line.
#[inline(always)]
fn read_common<'m, H: Host<'m>>(host: H, s: &mut Scratch, start: u32) -> bool {
    let method_end = find_near::<Blank, H>(host, s, start, s.message.length);
    let uri = method_end + 1;
    let method = method(s, start, method_end.wrapping_sub(start));
    if method == Method::Other || s.byte(method_end) != b' ' || s.byte(uri) <= b' ' || s.byte(uri) == b'<' {
        return false;
    }
    let uri_end = find::<Blank, H>(host, s, uri, s.message.length);
    let version = uri_end + 1;
    if s.byte(uri_end) != b' ' || s.word(version) != text(b"SIP/2.0\r") || s.byte(version + 8) != b'\n' {
        return false;
    }
    s.cursors.line = version + 7;
    note_request(
        s,
        method,
        Span { start: start as u16, end: method_end as u16 },
        Span { start: uri as u16, end: uri_end as u16 },
    );
    true
}

#[inline(always)]
fn note_request(s: &mut Scratch, method: Method, name: Span, uri: Span) {
    s.message.kind = Kind::Request;
    s.message.method = method;
    s.message.headers[Header::MethodOrCode.index()] = name;
    s.message.note(Header::RequestUri, uri);
}

/// The function of the host that reads any start line, at this position.
pub struct ReadStartLine;

/// Lines that are read as a datagram's start line, if the ones before are none: the first two, and the one that [`FindRequest`] finds.
const MAX_START_LINES: u32 = 3;

impl Function for ReadStartLine {
    const KIND: FunctionKind = FunctionKind::ReadStartLine;

    #[inline(always)]
    fn run<'m, H: Host<'m>>(host: H, s: &mut Scratch, start: u32, _: u32) -> u32 {
        let mut start = start;
        for index in 0..host.bound(MAX_START_LINES) {
            let end = line_end(host, s, start);
            read_line(host, s, start, end);
            if s.message.kind != Kind::NotSip || end == s.message.length {
                break;
            }
            let is_datagram = s.packet.transport == Transport::Udp;
            start = if is_datagram && index == 0 {
                skip_blank(host, s, end, s.message.length)
            } else {
                host.call::<FindRequest>(s, end, 0)
            };
            if start == s.message.length {
                break;
            }
            // Whatever is found there has junk before it. But a segment can begin anywhere: that may be the end of another message.
            s.message.anomalies |= if is_datagram { anomaly::MALFORMED_START_LINE } else { anomaly::SEVERAL_MESSAGES };
        }
        0
    }
}

/// The function of the host that looks for a request's start line from this line end on: a known method, another word, and a version
/// after its first byte. It returns the line's position, or the message's end.
///
/// Servers that find no message at the beginning of a datagram or stream go on looking; and a segment may hold the end of one message
/// and the beginning of the next.
pub struct FindRequest;

impl Function for FindRequest {
    const KIND: FunctionKind = FunctionKind::FindRequest;

    #[inline(always)]
    fn run<'m, H: Host<'m>>(host: H, s: &mut Scratch, from: u32, _: u32) -> u32 {
        s.cursors.line = from;
        s.cursors.value_line_end = 0;
        host.repeat(&mut JunkLines { host, s });
        s.cursors.line
    }
}

/// Goes from line to line; the cursor is at the end of the one before. In a line that begins with a method, it goes from one `SIP` to the
/// next: then `value_line_end` is the line's end. One loop, not one in another, for the kernel allows eight frames.
struct JunkLines<'s, H> {
    host: H,
    s: &'s mut Scratch,
}

impl<'m, H: Host<'m>> Step for JunkLines<'_, H> {
    // A step goes on by a byte at least, or begins a line.
    const TIMES: u32 = 2 * INSPECTED_LENGTH as u32;

    #[inline(always)]
    fn step(&mut self, _index: u32) -> bool {
        let (host, s) = (self.host, &mut *self.s);
        let end = s.cursors.value_line_end;
        if end != 0 {
            if (Marks { host, s, end }).step(0) {
                if s.cursors.register < end {
                    return true;
                }
                s.cursors.line = end;
                s.cursors.value_line_end = 0;
            }
            return false;
        }
        let from = s.cursors.line;
        let start = skip_blank(host, s, from, s.message.length);
        s.cursors.line = start;
        if start == s.message.length {
            return true;
        }
        let end = find::<LineEnd, H>(host, s, start, s.message.length);
        let start = s.cursors.line;
        let method_end = find_near::<Blank, H>(host, s, start, end);
        let start = s.cursors.line;
        if method(s, start, method_end.wrapping_sub(start)) == Method::Other {
            s.cursors.line = end;
        } else {
            s.cursors.register = skip_blank(host, s, method_end, end) + 1;
            s.cursors.value_line_end = end;
        }
        false
    }
}

/// The end of the line at `start`, folded lines included; the message's end if nothing ends it.
#[inline(always)]
fn line_end<'m, H: Host<'m>>(host: H, s: &mut Scratch, start: u32) -> u32 {
    s.cursors.register = start;
    host.repeat(&mut Folds { host, s });
    s.cursors.register
}

/// Goes from fold to fold; `register` is where it is.
struct Folds<'s, H> {
    host: H,
    s: &'s mut Scratch,
}

impl<'m, H: Host<'m>> Step for Folds<'_, H> {
    const TIMES: u32 = INSPECTED_LENGTH as u32 / 2;

    #[inline(always)]
    fn step(&mut self, _index: u32) -> bool {
        let s = &mut *self.s;
        let from = s.cursors.register;
        let end = find::<LineEnd, H>(self.host, s, from, s.message.length);
        s.cursors.register = end;
        if end == s.message.length {
            return true;
        }
        let next = after_line_end(self.host, s, end);
        // oSIP reads on over a carriage return alone.
        let is_line_end = s.byte(next.wrapping_sub(1)) == b'\n';
        if next >= s.message.length || is_line_end && !is_folded(s.byte(next)) {
            return true;
        }
        s.cursors.register = next;
        false
    }
}

/// Reads the line `start..end`, if it is a start line.
#[inline(always)]
fn read_line<'m, H: Host<'m>>(host: H, s: &mut Scratch, start: u32, end: u32) {
    let is_ended = end < s.message.length;
    if !is_ended && s.packet.fragment != 0 && s.packet.transport == Transport::Udp {
        return;
    }
    let method_end = find::<Blank, H>(host, s, start, end);
    let uri = skip_blank(host, s, method_end, end);
    let mark = find_mark(host, s, start, end);
    if mark < method_end {
        s.cursors.register = end;
        host.call::<ReadStatusLine>(s, start, mark);
        if s.message.kind == Kind::NotSip && !is_ended {
            note_cut(s, start, Method::Other);
        }
        return;
    }
    let method = method(s, start, method_end.wrapping_sub(start));
    if uri >= end {
        if skip_blank(host, s, method_end, s.message.length) == s.message.length {
            note_cut(s, start, method);
        } else if is_ended {
            host.call::<ReadOverLineEnds>(s, start, method_end);
        }
        return;
    }
    // belle-sip skips what is in no token, such as the mark that editors put before a text.
    let name = if method == Method::Other { host.call::<FindMethod>(s, start, method_end) } else { start };
    let known = self::method(s, name, method_end.wrapping_sub(name));
    let uri_end = find::<Blank, H>(host, s, uri, end);
    let third = skip_blank(host, s, uri_end, end);
    let later = if mark < uri_end { find_mark(host, s, uri_end, end) } else { mark };
    let version = if later < end {
        later
    } else if mark < end && (mark > uri || is_ended && third == end && uri.wrapping_sub(method_end) > 1) {
        // Kamailio reads an empty URI between two blanks.
        mark
    } else if is_other_protocol(host, s, known, uri, uri_end, third, end) {
        s.message.anomalies |= anomaly::UNSUPPORTED_VERSION;
        third
    } else if known != Method::Other && has_scheme(s, uri) && if is_ended { third < end } else { is_cut(s) } {
        // Sofia-SIP reads on over a control character in the URI.
        end
    } else if is_ended {
        host.call::<ReadOverLineEnds>(s, start, method_end);
        return;
    } else {
        // Not before other words than a version: that is text. But no text has a control character or an @ in its second word, and Sofia-SIP
        // takes any protocol's version.
        if is_cut(s) && method != Method::Other && s.packet.fragment == 0 {
            let is_odd = is_odd_blank(s.byte(uri_end)) || find::<At, H>(host, s, uri, uri_end) < uri_end;
            if is_odd || is_beginning(s, third) {
                s.message.anomalies |= anomaly::CUT_START_LINE;
            }
        }
        return;
    };
    let version_end = find::<Blank, H>(host, s, version, end);
    if version < end {
        note_version(s, version, version_end);
    }
    let well_formed = s.byte(method_end) == b' '
        && uri.wrapping_sub(method_end) == 1
        && s.byte(uri_end) == b' '
        && version.wrapping_sub(uri_end) == 1
        && find::<Slash, H>(host, s, version, version_end) < version_end
        && (version_end == end || matches!(s.byte(version_end), b'\r' | b'\n'))
        && s.byte(uri) != b'<'
        && name == start
        && (method != Method::Other || is_token(host, s, start, method_end));
    if !well_formed {
        s.message.anomalies |= anomaly::MALFORMED_START_LINE;
    }
    let value_end = if version == third { uri_end } else { version };
    note_request(
        s,
        known,
        Span { start: name as u16, end: method_end as u16 },
        Span { start: uri as u16, end: value_end as u16 },
    );
    s.cursors.line = find::<LineEnd, H>(host, s, version, s.message.length);
}

/// The function of the host that finds where a known method begins that ends the word `a..b`, after a byte that is in no token. It returns `a` if
/// there is none.
pub struct FindMethod;

impl Function for FindMethod {
    const KIND: FunctionKind = FunctionKind::FindMethod;

    #[inline(always)]
    fn run<'m, H: Host<'m>>(host: H, s: &mut Scratch, start: u32, end: u32) -> u32 {
        s.cursors.register = start;
        host.repeat(&mut Names { s, start, end });
        s.cursors.register
    }
}

/// Tries one length after the other.
struct Names<'s> {
    s: &'s mut Scratch,
    start: u32,
    end: u32,
}

impl Step for Names<'_> {
    const TIMES: u32 = LONGEST_NAME - SHORTEST_NAME + 1;

    #[inline(always)]
    fn step(&mut self, index: u32) -> bool {
        let s = &mut *self.s;
        let length = SHORTEST_NAME + index;
        let name = self.end.wrapping_sub(length);
        if self.start.wrapping_add(length) >= self.end || name > self.end {
            return true;
        }
        let is_name = method(s, name, length) != Method::Other && !is_token_byte(s.byte(name.wrapping_sub(1)));
        if is_name {
            s.cursors.register = name;
        }
        is_name
    }
}

/// Bytes of the shortest name of a method that is known, and of the longest.
const SHORTEST_NAME: u32 = 3;
const LONGEST_NAME: u32 = 9;

/// The function of the host that reads a request line as oSIP does, to which only spaces separate its words: line ends are part of the
/// Request-URI. The second space is the first one after that, and a version with a line end follows it. Takes the positions of the line
/// and of its method's end.
pub struct ReadOverLineEnds;

impl Function for ReadOverLineEnds {
    const KIND: FunctionKind = FunctionKind::ReadOverLineEnds;

    #[inline(always)]
    fn run<'m, H: Host<'m>>(host: H, s: &mut Scratch, start: u32, method_end: u32) -> u32 {
        let end = s.message.length;
        let method = method(s, start, method_end.wrapping_sub(start));
        let uri = skip_blank(host, s, method_end, end);
        // A fold is a space, too.
        let is_fold = matches!(s.byte(method_end), b'\r' | b'\n') && is_folded(s.byte(uri.wrapping_sub(1)));
        if method == Method::Other || s.byte(method_end) != b' ' && !is_fold {
            return 0;
        }
        let uri_end = find::<Space, H>(host, s, if is_fold { uri } else { method_end + 1 }, end);
        let version = uri_end + 1;
        let version_end = find::<Blank, H>(host, s, version, end);
        let (word, keep) = (s.word(version), first_bytes(4));
        // With the case bit, a control character may look like the slash. `SIP/2.0/UDP` is the beginning of a Via.
        let is_version = (word | LETTERS) & keep == text(b"sip/\0\0\0\0")
            && below(word | !keep, b' ') == 0
            && find::<Slash, H>(host, s, version + 4, version_end) == version_end;
        let is_last = version_end < end && matches!(s.byte(version_end), b'\r' | b'\n');
        if !is_version || !is_last || uri >= uri_end {
            if is_stream(s) && (uri_end >= end || is_beginning(s, version)) {
                s.message.anomalies |= anomaly::CUT_START_LINE;
            }
            return 0;
        }
        note_version(s, version, version_end);
        s.message.anomalies |= anomaly::MALFORMED_START_LINE;
        note_request(
            s,
            method,
            Span { start: start as u16, end: method_end as u16 },
            Span { start: uri as u16, end: uri_end as u16 },
        );
        s.cursors.line = version_end;
        0
    }
}

/// True if the message goes on where the inspected bytes end: in the next segment, or beyond what is inspected.
#[inline(always)]
fn is_cut(s: &Scratch) -> bool {
    s.packet.transport != Transport::Udp || s.packet.payload_length > s.message.length
}

/// True if more of a stream may follow this packet's part of it.
#[inline(always)]
fn is_stream(s: &Scratch) -> bool {
    s.packet.transport != Transport::Udp && s.packet.fragment == 0
}

/// True if a third word such as `HTTP/1.1` follows a URI that only SIP has, or a method of SIP and what no other protocol with that
/// method sends. Sofia-SIP takes any protocol's version for SIP's.
#[inline(always)]
fn is_other_protocol<'m, H: Host<'m>>(
    host: H,
    s: &mut Scratch,
    method: Method,
    uri: u32,
    uri_end: u32,
    third: u32,
    end: u32,
) -> bool {
    let third_end = find::<Blank, H>(host, s, third, end);
    let slash = find::<Slash, H>(host, s, third, third_end);
    if slash == third_end || slash == third {
        return false;
    }
    let scheme = s.word(uri) as u32 | LETTERS as u32;
    let is_web = scheme == text(b"http\0\0\0\0") as u32 || scheme == text(b"rtsp\0\0\0\0") as u32;
    // HTTP and SSDP have `NOTIFY *` and `SUBSCRIBE /path`. `OPTIONS http://host` may be SIP: Sofia-SIP answers it.
    let is_call = method != Method::Other && !matches!(s.byte(uri), b'/' | b'*');
    has_scheme(s, uri) || is_call || !is_web && find::<At, H>(host, s, uri, uri_end) < uri_end
}

/// Notes a TCP segment that holds nothing but the first bytes of a start line, of which the first word is this method.
#[inline(always)]
fn note_cut(s: &mut Scratch, start: u32, method: Method) {
    if is_stream(s) && (method != Method::Other || is_beginning(s, start)) {
        s.message.anomalies |= anomaly::CUT_START_LINE;
    }
}

/// True if the message's bytes from `start` on are the beginning of `SIP/2.0 `, or of a known method and a space.
#[inline(always)]
fn is_beginning(s: &Scratch, start: u32) -> bool {
    let length = s.message.length.wrapping_sub(start);
    if length > 10 {
        return false;
    }
    let (word, rest) = (s.word(start), s.word(start + 8));
    let (keep, keep_rest) = (first_bytes(length), first_bytes(length.saturating_sub(8)));
    // With the case bit, a control character may look like a space, a digit, or the slash.
    if below(word | !keep, b' ') | below(rest | !keep_rest, b' ') != 0 {
        return false;
    }
    let (word, rest) = (word | LETTERS, rest | LETTERS);
    // No byte is zero with the case bit: a name does not go on after its space.
    let is = |name: u64, name_rest: u64| (word ^ name) & keep == 0 && (rest ^ name_rest) & keep_rest == 0;
    is(text(b"sip/2.0 "), 0)
        || is(text(b"ack \0\0\0\0"), 0)
        || is(text(b"bye \0\0\0\0"), 0)
        || is(text(b"cancel \0"), 0)
        || is(text(b"info \0\0\0"), 0)
        || is(text(b"invite \0"), 0)
        || is(text(b"message "), 0)
        || is(text(b"notify \0"), 0)
        || is(text(b"options "), 0)
        || is(text(b"prack \0\0"), 0)
        || is(text(b"publish "), 0)
        || is(text(b"refer \0\0"), 0)
        || is(text(b"register"), text(b" \0\0\0\0\0\0\0"))
        || is(text(b"subscrib"), text(b"e \0\0\0\0\0\0"))
        || is(text(b"update \0"), 0)
}

/// The position of the first `SIP`, blanks, `/` in `from..end`, or `end`.
#[inline(always)]
pub(crate) fn find_mark<'m, H: Host<'m>>(host: H, s: &mut Scratch, from: u32, end: u32) -> u32 {
    host.call::<FindMark>(s, from, end)
}

/// The function of the host that searches for a version.
pub struct FindMark;

impl Function for FindMark {
    const KIND: FunctionKind = FunctionKind::FindMark;

    #[inline(always)]
    fn run<'m, H: Host<'m>>(host: H, s: &mut Scratch, from: u32, end: u32) -> u32 {
        s.cursors.register = from;
        host.repeat(&mut Marks { host, s, end });
        let at = s.cursors.register;
        if at < end { at } else { end }
    }
}

/// Goes from one `SIP` to the next; `register` is where it is.
struct Marks<'s, H> {
    host: H,
    s: &'s mut Scratch,
    end: u32,
}

impl<'m, H: Host<'m>> Step for Marks<'_, H> {
    const TIMES: u32 = INSPECTED_LENGTH as u32 / 3 + 1;

    #[inline(always)]
    fn step(&mut self, _index: u32) -> bool {
        let (host, s, end) = (self.host, &mut *self.s, self.end);
        let at = s.cursors.register;
        if at >= end {
            return true;
        }
        let letter = |offset: u32, byte: u8| exactly(s.word(at + offset) | LETTERS, byte);
        let marks = letter(0, b's') & letter(1, b'i') & letter(2, b'p');
        if marks == 0 {
            s.cursors.register = at + 8;
            return false;
        }
        let mark = at + first(marks);
        s.cursors.register = mark;
        let slash = slash_after(host, s, mark, end);
        if slash < end && s.byte(slash) == b'/' {
            return true;
        }
        s.cursors.register = mark + 3;
        false
    }
}

/// Where the slash of a version that begins at `mark` is: after `SIP` or `SIPS`, and blanks.
#[inline(always)]
fn slash_after<'m, H: Host<'m>>(host: H, s: &mut Scratch, mark: u32, end: u32) -> u32 {
    let name_end = mark + 3 + (s.byte(mark + 3) | 0x20 == b's') as u32;
    skip_blank(host, s, name_end, end)
}

/// The function of the host that reads `SIP/2.0 SP Status-Code SP Reason-Phrase` (RFC 3261 section 7.2). Takes the positions of the line and
/// of its version; `register` is the line's end.
pub struct ReadStatusLine;

impl Function for ReadStatusLine {
    const KIND: FunctionKind = FunctionKind::ReadStatusLine;

    #[inline(always)]
    fn run<'m, H: Host<'m>>(host: H, s: &mut Scratch, start: u32, mark: u32) -> u32 {
        let end = s.cursors.register;
        let slash = slash_after(host, s, mark, end);
        let digits = skip_blank(host, s, slash + 1, end);
        let version_end = find::<Blank, H>(host, s, digits, end);
        // PJSIP needs no blank after the version.
        let is_joined = s.word(digits) as u32 & 0xff_ffff == text(b"2.0\0\0\0\0\0") as u32 && is_digit(s, digits + 3);
        let code = if is_joined { digits + 3 } else { skip_blank(host, s, version_end, end) };
        let code_end = find::<Blank, H>(host, s, code, end);
        // oSIP takes a number with a sign. `SIP/2.0/UDP` is the beginning of a Via, which a TCP segment may start with.
        let signs = matches!(s.byte(code), b'-' | b'+') as u32;
        let is_number = code < end && is_digit(s, code + signs);
        if !is_number || find::<Slash, H>(host, s, digits + 1, version_end) < version_end {
            return 0;
        }
        s.message.kind = Kind::Response;
        s.message.method = Method::Response;
        s.message.headers[Header::MethodOrCode.index()] = Span { start: code as u16, end: code_end as u16 };
        note_version(s, mark, version_end);
        let well_formed = mark == start
            && digits.wrapping_sub(mark) == 4
            && s.byte(version_end) == b' '
            && code.wrapping_sub(version_end) == 1
            && code_end.wrapping_sub(code) == 3
            && is_digit(s, code)
            && is_digit(s, code + 1)
            && is_digit(s, code + 2);
        if !well_formed {
            s.message.anomalies |= anomaly::MALFORMED_START_LINE;
        }
        s.cursors.line = find::<LineEnd, H>(host, s, mark, s.message.length);
        0
    }
}

#[inline(always)]
fn is_digit(s: &Scratch, at: u32) -> bool {
    s.byte(at).wrapping_sub(b'0') <= 9
}

#[inline(always)]
fn note_version(s: &mut Scratch, start: u32, end: u32) {
    let version = (s.word(start) | 0x0020_2020) & first_bytes(7);
    if end.wrapping_sub(start) != 7 || version != text(b"sip/2.0\0") {
        s.message.anomalies |= anomaly::UNSUPPORTED_VERSION;
    }
}

/// Bytes of an unknown method that are examined. Every method in use is shorter.
const MAX_METHOD_LENGTH: u32 = 64;

/// True if the method is a token (RFC 3261 section 25.1).
#[inline(always)]
fn is_token<'m, H: Host<'m>>(host: H, s: &mut Scratch, start: u32, end: u32) -> bool {
    s.cursors.register = start;
    host.repeat(&mut Token { s, end });
    s.cursors.register == end
}

/// True for a character of a token (RFC 3261 section 25.1).
#[inline(always)]
fn is_token_byte(byte: u8) -> bool {
    let letter = (byte | 0x20).wrapping_sub(b'a') < 26;
    let digit = byte.wrapping_sub(b'0') < 10;
    letter || digit || matches!(byte, b'-' | b'.' | b'!' | b'%' | b'*' | b'_' | b'+' | b'`' | b'\'' | b'~')
}

struct Token<'s> {
    s: &'s mut Scratch,
    end: u32,
}

impl Step for Token<'_> {
    const TIMES: u32 = MAX_METHOD_LENGTH;

    #[inline(always)]
    fn step(&mut self, _index: u32) -> bool {
        let s = &mut *self.s;
        let at = s.cursors.register;
        if at >= self.end || !is_token_byte(s.byte(at)) {
            return true;
        }
        s.cursors.register = at + 1;
        false
    }
}

/// The method of a request line. RFC 3261 section 7.1 makes methods case-sensitive, but Kamailio and others accept `invite` as
/// INVITE, so the letters' case does not matter here either.
#[inline(always)]
fn method(s: &Scratch, start: u32, length: u32) -> Method {
    let first = s.word(start) | LETTERS;
    let keep = match length {
        3..=9 => first_bytes(length),
        _ => return Method::Other,
    };
    let word = first & keep;
    const ACK: u64 = text(b"ack\0\0\0\0\0");
    const BYE: u64 = text(b"bye\0\0\0\0\0");
    const CANCEL: u64 = text(b"cancel\0\0");
    const INFO: u64 = text(b"info\0\0\0\0");
    const INVITE: u64 = text(b"invite\0\0");
    const MESSAGE: u64 = text(b"message\0");
    const NOTIFY: u64 = text(b"notify\0\0");
    const OPTIONS: u64 = text(b"options\0");
    const PRACK: u64 = text(b"prack\0\0\0");
    const PUBLISH: u64 = text(b"publish\0");
    const REFER: u64 = text(b"refer\0\0\0");
    const REGISTER: u64 = text(b"register");
    const SUBSCRIBE: u64 = text(b"subscrib");
    const UPDATE: u64 = text(b"update\0\0");
    match word {
        ACK => Method::Ack,
        BYE => Method::Bye,
        CANCEL => Method::Cancel,
        INFO => Method::Info,
        INVITE => Method::Invite,
        MESSAGE => Method::Message,
        NOTIFY => Method::Notify,
        OPTIONS => Method::Options,
        PRACK => Method::Prack,
        PUBLISH => Method::Publish,
        REFER => Method::Refer,
        REGISTER if length == 8 => Method::Register,
        SUBSCRIBE if length == 9 && s.byte(start + 8) | 0x20 == b'e' => Method::Subscribe,
        UPDATE => Method::Update,
        _ => Method::Other,
    }
}
