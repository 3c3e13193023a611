//! Reading a SIP message: what kind of payload it is, its start line, and where the headers' values stand.
//!
//! RFC 3261 sections 7 and 25.1, read as the SIP servers in use read it, which is more forgiving than the grammar: a
//! message that a server would act on must not be invisible here. What breaks the grammar is read and noted as an anomaly.

use crate::{
    find::{
        Blank, Colon, LineEnd, NameEnd, Needle, NotCarriageReturn, NotLineEnd, NotSpace, STRIDE, find, find_near, mark,
        skip_blank,
    },
    header::read_name,
    host::{Function, FunctionKind, Host, Step},
    identity,
    layout::{Method, anomaly, need},
    limits::{INSPECTED_LENGTH, MAX_HEADER_LINES},
    scratch::{HEADERS, Header, Kind, Scratch, Span, pause},
    swar::{below, first},
};

const fn text(bytes: &[u8; 8]) -> u64 {
    u64::from_le_bytes(*bytes)
}

/// Case bits of a word of letters.
const LETTERS: u64 = 0x2020_2020_2020_2020;

/// Case bits of `SIP/`: with the slash's, a control character would pass for one.
const SIP_LETTERS: u64 = 0x0020_2020;

/// STUN's magic cookie (RFC 8489 section 5), network order at offset 4.
const STUN_COOKIE: u32 = u32::from_le_bytes([0x21, 0x12, 0xa4, 0x42]);

/// Bytes of a STUN header.
const STUN_HEADER: u32 = 20;

/// Reads the payload in the buffer as far as it tells what it is: a message's start line. Its headers are then to be read.
#[inline(always)]
pub fn read_start<'m, H: Host<'m>>(host: H, s: &mut Scratch) {
    s.headers = [Span { start: 0, end: 0 }; HEADERS];
    s.seen = 0;
    s.open_header = Header::Other as u32;
    s.lines = 0;
    s.body = 0;
    let length = s.length;
    if length == 0 {
        s.kind = Kind::Empty as u32;
        return;
    }
    let mut start = if s.byte(0) > b'\r' { 0 } else { find::<NotLineEnd, H>(host, s, 0, length) };
    if start == length {
        s.kind = Kind::KeepAlive as u32;
        return;
    }
    // Bytes below 0x40 cannot begin a method or "SIP/": STUN, NAT keep-alives of zero bytes, and indented start lines.
    if s.byte(start) <= b' ' {
        if s.byte(0) & 0xc0 == 0 && (s.word(0) >> 32) as u32 == STUN_COOKIE && length >= STUN_HEADER {
            s.kind = Kind::Stun as u32;
            return;
        }
        let visible = skip_blank(host, s, start, length);
        if visible == length {
            s.kind = Kind::KeepAlive as u32;
            return;
        }
        s.anomalies |= anomaly::MALFORMED_START_LINE;
        start = visible;
    }
    read_start_line(host, s, start);
    if s.kind == Kind::NotSip as u32 {
        // What looked odd about its start says nothing.
        s.anomalies = anomaly::NOT_SIP;
    }
}

/// Reads the line at `start`: kind, method or status code, Request-URI. Leaves the cursor at its end.
#[inline(always)]
fn read_start_line<'m, H: Host<'m>>(host: H, s: &mut Scratch, start: u32) {
    s.kind = Kind::NotSip as u32;
    let line = match common_request_line(host, s, start) {
        Some(line) => line,
        None => {
            let end = find::<LineEnd, H>(host, s, start, s.length);
            if end == s.length {
                return;
            }
            s.cursor = end;
            if is_sip(s, start) {
                read_status_line(host, s, start, end);
                return;
            }
            match request_line(host, s, start, end) {
                Some(line) => line,
                None => return,
            }
        }
    };
    let RequestLine { method_end, uri, version } = line;
    s.kind = Kind::Request as u32;
    s.headers[Header::Method as usize] = Span { start: start as u16, end: method_end as u16 };
    s.headers[Header::RequestUri as usize] = Span { start: uri as u16, end: version as u16 };
    s.seen |= 1 << Header::RequestUri as u32;
    s.method = method(s, start, method_end.wrapping_sub(start)) as u32;
}

/// Where the parts of a request line are, of which each goes up to the next, with the white space behind it.
struct RequestLine {
    method_end: u32,
    uri: u32,
    version: u32,
}

/// True for `SIP/`, in any case.
#[inline(always)]
fn is_sip(s: &Scratch, at: u32) -> bool {
    (s.word(at) | SIP_LETTERS) as u32 == text(b"sip/\0\0\0\0") as u32
}

/// The start of the line behind the line end at `at`: a line feed, or carriage returns with or without one.
///
/// A carriage return alone ends a line for PJSIP (Asterisk) and Sofia-SIP (FreeSWITCH), not for Kamailio; several in front of
/// a line feed end the headers for the former, a line for the latter. Here every one of them ends a line, and none of the odd
/// forms ends the headers: so no header that any server sees is missed.
#[inline(always)]
fn behind_line_end<'m, H: Host<'m>>(host: H, s: &mut Scratch, at: u32) -> u32 {
    if s.byte(at) == b'\n' {
        return at + 1;
    }
    if s.byte(at + 1) == b'\n' {
        return at + 2;
    }
    let behind = find::<NotCarriageReturn, H>(host, s, at, s.length);
    // The last byte may be half of a line end of which the rest is not there.
    if behind < s.length {
        s.anomalies |= anomaly::CONTROL_CHARACTER;
    }
    if s.byte(behind) == b'\n' { behind + 1 } else { behind }
}

/// `SIP/2.0 SP Status-Code SP Reason-Phrase` (RFC 3261 section 7.2).
#[inline(always)]
fn read_status_line<'m, H: Host<'m>>(host: H, s: &mut Scratch, start: u32, end: u32) {
    let version_end = find_near::<Blank, H>(host, s, start, end);
    let code = skip_blank(host, s, version_end, end);
    let code_end = find::<Blank, H>(host, s, code, end);
    let digit = s.byte(code).wrapping_sub(b'0');
    if code == end || digit > 9 {
        return;
    }
    s.kind = Kind::Response as u32;
    s.method = Method::Response as u32;
    s.headers[Header::StatusCode as usize] = Span { start: code as u16, end: code_end as u16 };
    note_version(s, start, version_end);
    if code_end.wrapping_sub(code) != 3 || code.wrapping_sub(version_end) != 1 {
        s.anomalies |= anomaly::MALFORMED_START_LINE;
    }
}

/// A request line to the letter of RFC 3261 section 7.1, as nearly all are: `Method SP Request-URI SP SIP/2.0 CR`,
/// whatever follows. [`request_line`] reads it the same way, in twice the time.
#[inline(always)]
fn common_request_line<'m, H: Host<'m>>(host: H, s: &mut Scratch, start: u32) -> Option<RequestLine> {
    let method_end = find_near::<Blank, H>(host, s, start, s.length);
    let uri = method_end + 1;
    if s.byte(method_end) != b' ' || s.byte(uri) <= b' ' || s.byte(uri) == b'<' || is_sip(s, start) {
        return None;
    }
    let uri_end = find::<Blank, H>(host, s, uri, s.length);
    let version = uri_end + 1;
    if s.byte(uri_end) != b' ' || s.word(version) != text(b"SIP/2.0\r") {
        return None;
    }
    s.cursor = version + 7;
    Some(RequestLine { method_end, uri, version })
}

/// A request line (RFC 3261 section 7.1), as far as it can be told where its parts are; what is wrong with it is noted.
#[inline(always)]
fn request_line<'m, H: Host<'m>>(host: H, s: &mut Scratch, start: u32, end: u32) -> Option<RequestLine> {
    let method_end = find_near::<Blank, H>(host, s, start, end);
    let uri = skip_blank(host, s, method_end, end);
    if uri == end {
        return None;
    }
    // The version is the line's last word: what stands between may hold spaces, which is an anomaly but is read.
    let uri_end = find::<Blank, H>(host, s, uri, end);
    let last = skip_blank(host, s, uri_end, end);
    let last_end = find_near::<Blank, H>(host, s, last, end);
    let well_formed = uri.wrapping_sub(method_end) == 1 && last.wrapping_sub(uri_end) == 1;
    let (version, version_end) = if is_version(s, last, last_end) {
        (last, last_end)
    } else {
        s.at = last_end;
        host.repeat(&mut LastWord { host, s, end });
        (s.register, s.at)
    };
    if !is_version(s, version, version_end) {
        return None;
    }
    note_version(s, version, version_end);
    if !well_formed || version != last || version_end != end || s.byte(uri) == b'<' {
        s.anomalies |= anomaly::MALFORMED_START_LINE;
    }
    Some(RequestLine { method_end, uri, version })
}

/// Words of a start line that are looked at in search of the version.
const MAX_WORDS: u32 = 32;

/// Goes from word to word until one is a version; `register` holds its start, `at` its end.
struct LastWord<'s, H> {
    host: H,
    s: &'s mut Scratch,
    end: u32,
}

impl<'m, H: Host<'m>> Step for LastWord<'_, H> {
    const TIMES: u32 = MAX_WORDS;

    #[inline(always)]
    fn step(&mut self, _index: u32) -> bool {
        let word = skip_blank(self.host, self.s, self.s.at, self.end);
        let word_end = find::<Blank, H>(self.host, self.s, word, self.end);
        self.s.register = word;
        self.s.at = word_end;
        word == self.end || is_version(self.s, word, word_end)
    }
}

/// True for `SIP/d.d`, in any case.
#[inline(always)]
fn is_version(s: &Scratch, start: u32, end: u32) -> bool {
    let word = s.word(start);
    end.wrapping_sub(start) == 7
        && is_sip(s, start)
        && (word >> 32) as u8 >= b'0'
        && (word >> 32) as u8 <= b'9'
        && (word >> 40) as u8 == b'.'
        && (word >> 48) as u8 >= b'0'
        && (word >> 48) as u8 <= b'9'
}

#[inline(always)]
fn note_version(s: &mut Scratch, start: u32, end: u32) {
    let version = s.word(start) & 0x00ff_ffff_ffff_ffff;
    if end.wrapping_sub(start) != 7 || version >> 32 != text(b"2.0\0\0\0\0\0") {
        s.anomalies |= anomaly::UNSUPPORTED_VERSION;
    }
}

/// The method of a request line. RFC 3261 section 7.1 makes methods case-sensitive; Kamailio and others take `invite` for
/// INVITE, so an INVITE in other letters is read as what it would do.
#[inline(always)]
fn method(s: &Scratch, start: u32, length: u32) -> Method {
    let first = s.word(start) | LETTERS;
    let keep = match length {
        3..=7 => (1u64 << (8 * length)).wrapping_sub(1),
        8 | 9 => !0,
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

/// Steps that the walk over the headers may take: a step of 32 bytes, or a line, of which the first ends the start line.
const HEADER_STEPS: u32 = (INSPECTED_LENGTH as u32 / STRIDE + MAX_HEADER_LINES + 1).next_multiple_of(LINES_BATCH);

const LINES_BATCH: u32 = 8;

/// Walks over the header lines from the cursor on, which stands at the end of the line before, and notes where the known ones'
/// values are. Pauses behind the first header of the kind `pause`: then [`Scratch::pause`] is [`pause::UNFINISHED`], and the next
/// call goes on there.
#[inline(always)]
pub fn read_headers<'m, H: Host<'m>>(host: H, s: &mut Scratch, pause: u32) {
    host.call::<ReadHeaders>(s, pause, 0);
}

/// What [`read_headers`] calls.
pub struct ReadHeaders;

impl Function for ReadHeaders {
    const KIND: FunctionKind = FunctionKind::ReadHeaders;

    #[inline(always)]
    fn run<'m, H: Host<'m>>(host: H, s: &mut Scratch, pause: u32, _: u32) -> u32 {
        s.pause = pause;
        host.repeat(&mut Lines { host, s });
        if s.pause != pause::UNFINISHED && s.body == 0 {
            // The packet, or what is inspected of it, ends within the headers.
            s.anomalies |= anomaly::HEADERS_BEYOND_INSPECTED_LENGTH;
            let end = if s.cursor < s.length { s.cursor } else { s.length };
            close_header(host, s, end);
        }
        0
    }
}

struct Lines<'s, H> {
    host: H,
    s: &'s mut Scratch,
}

impl<'m, H: Host<'m>> Step for Lines<'_, H> {
    const TIMES: u32 = HEADER_STEPS;
    const BATCH: u32 = LINES_BATCH;

    #[inline(always)]
    fn step(&mut self, _index: u32) -> bool {
        let s = &mut *self.s;
        let at = s.cursor;
        if at >= s.length {
            return true;
        }
        // One comparison for both bytes that can end a line. What else it finds, tabs above all, is rare.
        let (mut offset, mut marks) = mark(s, at, |word| below(word, b'\r' + 1));
        if marks == 0 {
            s.cursor = at + STRIDE;
            return false;
        }
        let byte = s.byte(at + offset + first(marks));
        if byte != b'\r' && byte != b'\n' {
            (offset, marks) = mark(s, at, LineEnd::marks);
            if marks == 0 {
                s.cursor = at + STRIDE;
                return false;
            }
        }
        s.at = at + offset + first(marks);
        self.host.fence();
        let end = s.at;
        if end >= s.length {
            // Found behind the end: the line goes on to it.
            s.cursor = s.length;
            return true;
        }
        let line = behind_line_end(self.host, s, end);
        if s.open_header == s.pause && line < s.length && !is_folded(s.byte(line)) {
            close_header(self.host, s, line);
            // This line end is found again when the reading goes on.
            s.pause = pause::UNFINISHED;
            return true;
        }
        s.cursor = line;
        s.lines += 1;
        s.lines > MAX_HEADER_LINES + 1 || begin_line(self.host, s, line)
    }
}

/// True for a byte that a line begins with that belongs to the header before (RFC 3261 section 7.3.1).
#[inline(always)]
const fn is_folded(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

/// Looks at the beginning of a line; true where the headers end.
#[inline(always)]
fn begin_line<'m, H: Host<'m>>(host: H, s: &mut Scratch, line: u32) -> bool {
    if line >= s.length {
        return true;
    }
    let word = s.word(line);
    let byte = word as u8;
    if is_folded(byte) {
        return false;
    }
    close_header(host, s, line);
    if byte == b'\n' || byte == b'\r' {
        s.body = line + if word as u16 == u16::from_le_bytes(*b"\r\n") { 2 } else { 1 };
        return true;
    }
    let read = read_name(s, line, word);
    // Through memory: behind this the verifier follows one path, not one for each name.
    s.name = read.header as u32;
    s.register = read.length;
    host.fence();
    let name_end = line + s.register;
    let byte = s.byte(name_end);
    let ends = byte == b':' || byte == b' ' || byte == b'\t';
    // A longer name is another header.
    if s.name == Header::Other as u32 || !ends {
        if host.config().needs & (need::ANOMALY | need::INSPECT) != 0 {
            note_unknown_line(host, s, line);
        }
        return false;
    }
    // White space before the colon is allowed (RFC 3261 section 7.3.1), another line is not.
    let colon = if byte == b':' { name_end } else { find::<NotSpace, H>(host, s, name_end, s.length) };
    if s.byte(colon) == b':' {
        open_header(s, s.name, colon + 1);
    } else {
        s.anomalies |= anomaly::MALFORMED_HEADER;
    }
    false
}

/// Notes a line of no known header that has no colon, or a control character before it.
#[inline(always)]
fn note_unknown_line<'m, H: Host<'m>>(host: H, s: &mut Scratch, line: u32) {
    let name_end = find_near::<NameEnd, H>(host, s, line, s.length);
    if s.byte(name_end) != b':' {
        note_odd_line(host, s, line);
    }
}

/// Likewise, where the name does not end with its colon.
#[inline(never)]
fn note_odd_line<'m, H: Host<'m>>(host: H, s: &mut Scratch, line: u32) {
    let end = find::<LineEnd, H>(host, s, line, s.length);
    let colon = find::<Colon, H>(host, s, line, end);
    if colon == end {
        s.anomalies |= anomaly::MALFORMED_HEADER;
        return;
    }
    let blank = find::<Blank, H>(host, s, line, colon);
    if blank < colon {
        let byte = s.byte(blank);
        s.anomalies |= if byte == b' ' || byte == b'\t' {
            white_space_in_name(host, s, blank, colon)
        } else {
            anomaly::CONTROL_CHARACTER
        };
    }
}

/// White space is fine in front of the colon, nowhere else.
#[inline(always)]
fn white_space_in_name<'m, H: Host<'m>>(host: H, s: &mut Scratch, blank: u32, colon: u32) -> u32 {
    if skip_blank(host, s, blank, colon) == colon { 0 } else { anomaly::MALFORMED_HEADER }
}

/// Headers of which one message may hold several, or several values.
const MULTIPLE: u32 = 1 << Header::Via as u32
    | 1 << Header::Contact as u32
    | 1 << Header::AssertedIdentity as u32
    | 1 << Header::SecondAssertedIdentity as u32
    | 1 << Header::RemotePartyId as u32
    | 1 << Header::Diversion as u32
    | 1 << Header::HistoryInfo as u32
    | 1 << Header::Identity as u32
    | 1 << Header::Privacy as u32;

/// Begins a header whose value starts at `start`. The first of its kind counts, except where noted.
#[inline(always)]
fn open_header(s: &mut Scratch, header: u32, start: u32) {
    let bit = 1u32 << (header & 31);
    let again = s.seen & bit != 0;
    s.seen |= bit;
    let mut place = header;
    if header == Header::HistoryInfo as u32 {
        // The last line and the one before it are kept.
        s.headers[Header::EarlierHistoryInfo as usize] = s.headers[Header::HistoryInfo as usize];
    } else if again && header != Header::Identity as u32 {
        if header == Header::AssertedIdentity as u32 && s.seen & (1 << Header::SecondAssertedIdentity as u32) == 0 {
            s.seen |= 1 << Header::SecondAssertedIdentity as u32;
            place = Header::SecondAssertedIdentity as u32;
        } else {
            if bit & MULTIPLE == 0 {
                s.anomalies |= anomaly::DUPLICATE_HEADER;
            }
            return;
        }
    }
    s.open_header = place;
    s.headers[place as usize & 31] = Span { start: start as u16, end: start as u16 };
}

/// Ends the header that is open, at the start of the next line.
#[inline(always)]
fn close_header<'m, H: Host<'m>>(host: H, s: &mut Scratch, end: u32) {
    let header = s.open_header;
    if header != Header::Other as u32 {
        s.headers[header as usize & 31].end = end as u16;
        s.open_header = Header::Other as u32;
        // A message can hold several, and only now is it known where this one ends.
        if header == Header::Identity as u32 && host.config().needs & (need::ATTESTATION | need::INSPECT) != 0 {
            identity::read(host, s, s.header(header).start as u32, end);
        }
    }
}
