//! Reading a SIP message: what kind of payload it is, and where the values of its headers are.
//!
//! RFC 3261 sections 7 and 25.1, read as the SIP servers in use read it, which is more forgiving than the grammar: a
//! message that a server would act on must not be invisible here. A message that breaks the grammar is read, and what breaks
//! it is noted as an anomaly.

use crate::{
    find::{
        Blank, Colon, LineEnd, LineFeed, NameEnd, Needle, NotCarriageReturn, NotKeepAlive, NotLineEnd, NotSpace,
        STRIDE, find, find_near, mark, skip_blank,
    },
    header::{ReadNamedHeader, is_gap, read_name},
    host::{Function, FunctionKind, Host, Step},
    layout::anomaly,
    limits::INSPECTED_LENGTH,
    scratch::{FIRST_FURTHER_LINE, FURTHER_LINES, HEADERS, Header, Kind, Scratch, Span, pause},
    start_line,
    swar::{below, first, text},
    uri::is_odd_blank,
    wanted,
};

/// STUN's magic cookie (RFC 8489 section 5), network order at offset 4.
const STUN_COOKIE: u32 = u32::from_le_bytes([0x21, 0x12, 0xa4, 0x42]);

/// The type of a Binding Request (RFC 3489 section 11.1), network order.
const BINDING_REQUEST: u16 = u16::from_le_bytes([0, 1]);

/// Bytes of a STUN header.
const STUN_HEADER: u32 = 20;

/// Reads the start of the payload in the buffer: what it is and, if it is a message, its start line.
#[inline(always)]
pub fn read_start<'m, H: Host<'m>>(host: H, s: &mut Scratch) {
    s.message.begin();
    s.cursors.open_header = Header::Other;
    let length = s.message.length;
    if length == 0 {
        s.message.kind = Kind::Empty;
        return;
    }
    let mut start = if s.byte(0) > b'\r' { 0 } else { find::<NotLineEnd, H>(host, s, 0, length) };
    if start == length {
        s.message.kind = Kind::KeepAlive;
        return;
    }
    // eXosip's keep-alive, with or without the zero at its end.
    if s.word(0) as u32 == text(b"jaK\0\0\0\0\0") as u32 && length <= 4 {
        s.message.kind = Kind::KeepAlive;
        return;
    }
    // Bytes below 0x40 cannot begin a method or "SIP/": STUN, NAT keep-alives of zero bytes, and indented start lines.
    if s.byte(start) <= b' ' {
        // Not if there may be a message after it: belle-sip and others look for one.
        if is_stun(s.word(0), length) && start_line::find_mark(host, s, 0, length) == length {
            s.message.kind = Kind::Stun;
            return;
        }
        let visible = skip_blank(host, s, start, length);
        if visible == length {
            if find::<NotKeepAlive, H>(host, s, start, length) == length {
                s.message.kind = Kind::KeepAlive;
            } else {
                s.message.kind = Kind::NotSip;
                s.message.anomalies |= anomaly::NOT_SIP;
            }
            return;
        }
        s.message.anomalies |= anomaly::MALFORMED_START_LINE;
        start = visible;
    }
    start_line::read(host, s, start);
    if s.message.kind == Kind::NotSip {
        // Then the other anomalies of its start mean nothing.
        s.message.anomalies = s.message.anomalies & anomaly::CUT_START_LINE | anomaly::NOT_SIP;
    }
}

/// True for the first bytes of STUN: two zero bits and the magic cookie, or a Binding Request of RFC 3489, which has no cookie, of just this
/// length.
#[inline(always)]
fn is_stun(word: u64, length: u32) -> bool {
    let declared = (word as u32 >> 16).swap_bytes() >> 16;
    let has_cookie = word & 0xc0 == 0 && (word >> 32) as u32 == STUN_COOKIE;
    let is_request = word as u16 == BINDING_REQUEST && declared + STUN_HEADER == length;
    length >= STUN_HEADER && (has_cookie || is_request)
}

/// The start of the line after the line end at `at`: a line feed, or carriage returns with or without one.
///
/// A carriage return alone ends a line for PJSIP (Asterisk) and Sofia-SIP (FreeSWITCH), but not for Kamailio. Several before a
/// line feed end the headers for the former, and a line for the latter. Here each of them ends a line, and none of these odd
/// forms ends the headers, so no header that any server sees is missed.
#[inline(always)]
pub(crate) fn after_line_end<'m, H: Host<'m>>(host: H, s: &mut Scratch, at: u32) -> u32 {
    if s.byte(at) == b'\n' {
        return at + 1;
    }
    if s.byte(at + 1) == b'\n' {
        return at + 2;
    }
    let after = find::<NotCarriageReturn, H>(host, s, at, s.message.length);
    // The last byte may be half of a line end whose rest is cut off.
    if after < s.message.length {
        s.message.anomalies |= anomaly::CONTROL_CHARACTER;
    }
    if s.byte(after) == b'\n' { after + 1 } else { after }
}

/// Steps that the walk over the headers may take. A step is 32 bytes or a line, and the shortest line that does not end the
/// headers has two bytes.
const HEADER_STEPS: u32 =
    (INSPECTED_LENGTH as u32 / STRIDE + INSPECTED_LENGTH as u32 / 2).next_multiple_of(LINES_BATCH);

/// Each step in a batch is walked by the verifier once more, and 7.3 needs twice as many instructions for it as 6.18.
const LINES_BATCH: u32 = 1;

/// Walks over the header lines and notes where the values of the known ones are. The walk begins at the cursor, which is at the
/// end of the previous line. It pauses after the first header of the kind `pause`: then [`Cursors::pause`] is
/// [`pause::UNFINISHED`], and the next call continues there.
///
/// [`Cursors::pause`]: crate::scratch::Cursors::pause
#[inline(always)]
pub fn read_headers<'m, H: Host<'m>>(host: H, s: &mut Scratch, pause: Header) {
    host.call::<ReadHeaders>(s, pause.number(), 0);
}

/// The function of the host that [`read_headers`] calls, with the number of a [`Header`].
pub struct ReadHeaders;

impl Function for ReadHeaders {
    const KIND: FunctionKind = FunctionKind::ReadHeaders;

    #[inline(always)]
    fn run<'m, H: Host<'m>>(host: H, s: &mut Scratch, pause: u32, _: u32) -> u32 {
        let pause = Header::from_number(pause);
        s.cursors.pause = pause;
        s.cursors.left = 0;
        host.repeat(&mut CommonLines { host, s });
        if s.cursors.left != 0 {
            return 0;
        }
        host.repeat(&mut Lines { host, s });
        if s.cursors.pause != pause::UNFINISHED && s.message.body == 0 {
            // The packet, or what is inspected of it, ends within the headers.
            s.message.anomalies |= anomaly::HEADERS_BEYOND_INSPECTED_LENGTH;
            let end = if s.cursors.line < s.message.length { s.cursors.line } else { s.message.length };
            end_header(s, end);
        }
        0
    }
}

/// Steps that the walk over common lines may take, each of 32 bytes or a line. [`Lines`] reads what is left of a longer message.
const COMMON_STEPS: u32 = 20 * COMMON_BATCH;

/// As [`LINES_BATCH`]: an ordinary INVITE is read in a few batches.
const COMMON_BATCH: u32 = 5;

/// The walk over lines that end with CRLF, and whose name and colon are next to each other: nearly all lines are like this. It ends
/// before any other line, from which [`Lines`] goes on. Sets `left` if there is nothing to go on with.
struct CommonLines<'s, H> {
    host: H,
    s: &'s mut Scratch,
}

impl<'m, H: Host<'m>> Step for CommonLines<'_, H> {
    const TIMES: u32 = COMMON_STEPS;
    const BATCH: u32 = COMMON_BATCH;

    #[inline(always)]
    fn step(&mut self, _index: u32) -> bool {
        let (host, s) = (self.host, &mut *self.s);
        let at = s.cursors.line;
        let (offset, marks) = mark(s, at, |word| below(word, b'\r' + 1));
        if marks == 0 {
            s.cursors.line = at + STRIDE;
            return s.cursors.line >= s.message.length;
        }
        let line = at + offset + first(marks) + 2;
        if s.word(line.wrapping_sub(2)) as u16 != CRLF || line >= s.message.length {
            return true;
        }
        let word = s.word(line);
        if s.cursors.open_header == s.cursors.pause && !is_folded(word as u8) {
            end_header(s, line);
            // This line end is found again when the reading continues.
            s.cursors.pause = pause::UNFINISHED;
            s.cursors.left = 1;
            return true;
        }
        if word as u8 <= b' ' {
            if word as u16 == CRLF {
                s.cursors.line = line;
                end_header(s, line);
                s.message.body = line + 2;
                s.cursors.left = 1;
            }
            return true;
        }
        let name_end = note_name(host, s, line);
        let byte = s.byte(name_end);
        if s.cursors.name != Header::Other && is_gap(byte) {
            return true;
        }
        s.cursors.line = line;
        end_header(s, line);
        if is_unknown(s.cursors.name, byte) {
            if wanted::anomalies(host.config().needs) {
                note_unknown_line(host, s, line);
            }
        } else {
            open_header(host, s, s.cursors.name, name_end + 1);
        }
        false
    }
}

/// A line end to the letter, as the first two bytes of a word.
pub(crate) const CRLF: u16 = u16::from_le_bytes(*b"\r\n");

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
        let at = s.cursors.line;
        if at >= s.message.length {
            return true;
        }
        // One comparison finds both bytes that can end a line. The others that it finds, mostly tabs, are rare.
        let (mut offset, mut marks) = mark(s, at, |word| below(word, b'\r' + 1));
        if marks == 0 {
            s.cursors.line = at + STRIDE;
            return false;
        }
        let byte = s.byte(at + offset + first(marks));
        if byte != b'\r' && byte != b'\n' {
            (offset, marks) = mark(s, at, LineEnd::marks);
            if marks == 0 {
                s.cursors.line = at + STRIDE;
                return false;
            }
        }
        s.cursors.at = at + offset + first(marks);
        self.host.fence();
        let end = s.cursors.at;
        if end >= s.message.length {
            // Found after the end of the message: the line extends to that end.
            s.cursors.line = s.message.length;
            return true;
        }
        let line = after_line_end(self.host, s, end);
        if s.cursors.open_header == s.cursors.pause && line < s.message.length && !is_folded(s.byte(line)) {
            end_header(s, line);
            // This line end is found again when the reading continues.
            s.cursors.pause = pause::UNFINISHED;
            return true;
        }
        s.cursors.line = line;
        begin_line(self.host, s, line)
    }
}

/// True for the first byte of a line that belongs to the header before it (RFC 3261 section 7.3.1).
#[inline(always)]
pub(crate) const fn is_folded(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

/// Reads the beginning of a line. True if the headers end there.
#[inline(always)]
fn begin_line<'m, H: Host<'m>>(host: H, s: &mut Scratch, line: u32) -> bool {
    if line >= s.message.length {
        return true;
    }
    let word = s.word(line);
    let byte = word as u8;
    if is_folded(byte) {
        s.message.folded = 1;
        if wanted::anomalies(host.config().needs) {
            host.call::<NoteFold>(s, line, 0);
        }
        return false;
    }
    end_header(s, line);
    if byte == b'\n' || byte == b'\r' {
        end_headers(host, s, line, word);
        return true;
    }
    let name_end = note_name(host, s, line);
    let byte = s.byte(name_end);
    if is_unknown(s.cursors.name, byte) {
        if wanted::anomalies(host.config().needs) {
            note_unknown_line(host, s, line);
        }
        return false;
    }
    let colon = if byte == b':' { name_end } else { host.call::<ReadColon>(s, name_end, 0) };
    if s.byte(colon) == b':' {
        open_header(host, s, s.cursors.name, colon + 1);
    } else {
        s.message.anomalies |= anomaly::MALFORMED_HEADER;
    }
    false
}

/// Reads the name of the header line at `line`: one that is known, or one that the policy names. Returns where the name ends.
#[inline(always)]
fn note_name<'m, H: Host<'m>>(host: H, s: &mut Scratch, line: u32) -> u32 {
    let read = read_name(s, line);
    // Through memory: after this, the verifier follows one path, not one for each name.
    s.cursors.name = read.header;
    s.cursors.register = read.length;
    host.fence();
    let name_end = line + s.cursors.register;
    // A longer name is another header.
    if is_unknown(s.cursors.name, s.byte(name_end)) && host.config().named_headers != 0 {
        s.cursors.name = Header::Other;
        host.call::<ReadNamedHeader>(s, line, 0);
        host.fence();
        return line + s.cursors.register;
    }
    name_end
}

/// True unless a known name, and no longer one, is before this byte.
#[inline(always)]
pub(crate) fn is_unknown(name: Header, byte: u8) -> bool {
    name == Header::Other || byte != b':' && !is_gap(byte)
}

/// Ends the headers at an empty line, of which `word` holds the first bytes. Some servers read on after an odd one.
#[inline(always)]
fn end_headers<'m, H: Host<'m>>(host: H, s: &mut Scratch, line: u32, word: u64) {
    let is_crlf = word as u16 == CRLF;
    s.message.body = line + if is_crlf { 2 } else { 1 };
    if !is_crlf && word as u8 == b'\r' {
        if line + 1 < s.message.length {
            s.message.anomalies |= anomaly::CONTROL_CHARACTER;
        }
    } else if (s.byte(line.wrapping_sub(2)) == b'\r') != is_crlf {
        // This line ends in one way, and the line before in another.
        s.message.anomalies |= anomaly::MALFORMED_HEADER;
    } else if !is_crlf {
        // To belle-sip, a line feed alone ends no line of a message whose lines end otherwise.
        let first = find::<LineFeed, H>(host, s, 0, line);
        if first != 0 && s.byte(first.wrapping_sub(1)) == b'\r' {
            s.message.anomalies |= anomaly::MALFORMED_HEADER;
        }
    }
}

/// The function of the host that looks for the colon after a name that white space follows, at this position. White space before the
/// colon is allowed (RFC 3261 section 7.3.1); Sofia-SIP and PJSIP also accept a folded line there. It returns the colon's position,
/// or that of something else.
pub struct ReadColon;

impl Function for ReadColon {
    const KIND: FunctionKind = FunctionKind::ReadColon;

    #[inline(always)]
    fn run<'m, H: Host<'m>>(host: H, s: &mut Scratch, name_end: u32, _: u32) -> u32 {
        s.cursors.register = name_end;
        host.repeat(&mut Gap { host, s });
        s.cursors.register
    }
}

/// Goes from fold to fold; `register` is where it is.
struct Gap<'s, H> {
    host: H,
    s: &'s mut Scratch,
}

impl<'m, H: Host<'m>> Step for Gap<'_, H> {
    const TIMES: u32 = INSPECTED_LENGTH as u32 / 2;

    #[inline(always)]
    fn step(&mut self, _index: u32) -> bool {
        let s = &mut *self.s;
        let from = s.cursors.register;
        let at = find::<NotSpace, H>(self.host, s, from, s.message.length);
        s.cursors.register = at;
        if s.byte(at) != b'\r' && s.byte(at) != b'\n' {
            return true;
        }
        let next = after_line_end(self.host, s, at);
        if next >= s.message.length || !is_folded(s.byte(next)) {
            return true;
        }
        s.message.anomalies |= anomaly::MALFORMED_HEADER;
        s.cursors.register = next;
        false
    }
}

/// The function of the host that examines a folded line, at this position. A header's name in it is no name, but libre and Sofia-SIP
/// read it as one if they have no use for the line before.
pub struct NoteFold;

impl Function for NoteFold {
    const KIND: FunctionKind = FunctionKind::NoteFold;

    #[inline(always)]
    fn run<'m, H: Host<'m>>(host: H, s: &mut Scratch, line: u32, _: u32) -> u32 {
        let start = find::<NotSpace, H>(host, s, line, s.message.length);
        let name_end = note_name(host, s, start);
        if !is_unknown(s.cursors.name, s.byte(name_end)) {
            let colon = skip_blank(host, s, name_end, s.message.length);
            if s.byte(colon) == b':' {
                s.message.anomalies |= anomaly::MALFORMED_HEADER;
            }
        }
        note_odd_start(s, start);
        0
    }
}

/// Notes a control character where a value or a folded line begins: a server that drops it sees another value than the patterns do.
#[inline(always)]
fn note_odd_start(s: &mut Scratch, start: u32) {
    if is_odd_blank(s.byte(start)) && start < s.message.length {
        s.message.anomalies |= anomaly::CONTROL_CHARACTER;
    }
}

/// Notes the anomalies of an unknown header's line: no colon, or something before it that no name contains.
#[inline(always)]
fn note_unknown_line<'m, H: Host<'m>>(host: H, s: &mut Scratch, line: u32) {
    let name_end = find_near::<NameEnd, H>(host, s, line, s.message.length);
    if s.byte(name_end) != b':' {
        note_odd_line(host, s, line, name_end);
    }
}

/// As [`note_unknown_line`], for a name that does not end with its colon.
#[inline(never)]
fn note_odd_line<'m, H: Host<'m>>(host: H, s: &mut Scratch, line: u32, name_end: u32) {
    let end = find::<LineEnd, H>(host, s, line, s.message.length);
    let colon = find::<Colon, H>(host, s, line, end);
    // belle-sip drops bytes that no token has, and reads the name that is left: `User-Agent,:`.
    if colon == end || s.byte(name_end) > b' ' {
        s.message.anomalies |= anomaly::MALFORMED_HEADER;
        return;
    }
    let blank = find::<Blank, H>(host, s, line, colon);
    if blank < colon {
        let byte = s.byte(blank);
        s.message.anomalies |= if byte == b' ' || byte == b'\t' {
            white_space_in_name(host, s, blank, colon)
        } else {
            anomaly::CONTROL_CHARACTER
        };
    }
}

/// White space is allowed before the colon, and nowhere else.
#[inline(always)]
fn white_space_in_name<'m, H: Host<'m>>(host: H, s: &mut Scratch, blank: u32, colon: u32) -> u32 {
    if skip_blank(host, s, blank, colon) == colon { 0 } else { anomaly::MALFORMED_HEADER }
}

/// Headers that a message may hold several times, or with several values.
const MULTIPLE: u32 = Header::Via.bit() | Header::Contact.bit() | LISTS;

/// Headers of which every line is kept.
const LISTS: u32 = Header::AssertedIdentity.bit()
    | Header::PreferredIdentity.bit()
    | Header::RemotePartyId.bit()
    | Header::Diversion.bit()
    | Header::HistoryInfo.bit()
    | Header::Identity.bit()
    | Header::Privacy.bit()
    | Header::Route.bit();

/// As [`note_odd_start`], after white space.
#[inline(never)]
fn note_start<'m, H: Host<'m>>(host: H, s: &mut Scratch, start: u32) {
    let visible = find::<NotSpace, H>(host, s, start, s.message.length);
    note_odd_start(s, visible);
}

/// Begins a header whose value starts at `start`. The first of its kind counts, unless noted otherwise.
#[inline(always)]
fn open_header<'m, H: Host<'m>>(host: H, s: &mut Scratch, header: Header, start: u32) {
    let first = s.byte(start + (s.byte(start) == b' ') as u32);
    if first <= b' ' && wanted::anomalies(host.config().needs) {
        note_start(host, s, start);
    }
    let bit = header.bit();
    let again = s.message.seen & bit != 0;
    s.message.seen |= bit;
    let mut place = header.number();
    if again {
        let index = s.message.further_lines;
        if bit & LISTS == 0 || index >= FURTHER_LINES as u32 {
            if bit & LISTS != 0 {
                // A line that is not read may hold an identity.
                s.message.anomalies |= anomaly::DUPLICATE_HEADER | anomaly::MALFORMED_HEADER;
            } else if bit & (MULTIPLE | host.config().repeated_headers) == 0 {
                s.message.anomalies |= anomaly::DUPLICATE_HEADER;
            }
            return;
        }
        s.message.further[index as usize & (FURTHER_LINES - 1)] = header.number() as u8;
        s.message.further_lines = index + 1;
        place = FIRST_FURTHER_LINE + index;
    }
    s.cursors.open_header = Header::from_number(place);
    s.message.headers[place as usize & (HEADERS - 1)] = Span { start: start as u16, end: start as u16 };
}

/// Ends the header that is open, at the start of the next line.
#[inline(always)]
fn end_header(s: &mut Scratch, end: u32) {
    let header = s.cursors.open_header;
    if header != Header::Other {
        s.message.headers[header.index() & (HEADERS - 1)].end = end as u16;
        s.cursors.open_header = Header::Other;
    }
}
