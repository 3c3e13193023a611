//! Reading the start line of a message (RFC 3261 section 7).

use crate::{
    find::{Blank, LineEnd, find, find_near, skip_blank},
    host::{Host, Step},
    layout::{Method, anomaly},
    scratch::{Header, Kind, Scratch, Span},
};

const fn text(bytes: &[u8; 8]) -> u64 {
    u64::from_le_bytes(*bytes)
}

/// Case bits of a word of letters.
const LETTERS: u64 = 0x2020_2020_2020_2020;

/// Case bits of `SIP/`: with the slash's, a control character would pass for one.
const SIP_LETTERS: u64 = 0x0020_2020;

/// Reads the line at `start`: kind, method or status code, Request-URI. Leaves the cursor at its end.
#[inline(always)]
pub fn read<'m, H: Host<'m>>(host: H, s: &mut Scratch, start: u32) {
    s.message.kind = Kind::NotSip;
    let line = match common_request_line(host, s, start) {
        Some(line) => line,
        None => {
            let end = find::<LineEnd, H>(host, s, start, s.message.length);
            if end == s.message.length {
                return;
            }
            s.cursors.line = end;
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
    s.message.kind = Kind::Request;
    s.message.headers[Header::Method.index()] = Span { start: start as u16, end: method_end as u16 };
    s.message.note(Header::RequestUri, Span { start: uri as u16, end: version as u16 });
    s.message.method = method(s, start, method_end.wrapping_sub(start));
}

/// Where the parts of a request line are. Each extends to the next one and includes the white space after it.
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
    s.message.kind = Kind::Response;
    s.message.method = Method::Response;
    s.message.headers[Header::StatusCode.index()] = Span { start: code as u16, end: code_end as u16 };
    note_version(s, start, version_end);
    if code_end.wrapping_sub(code) != 3 || code.wrapping_sub(version_end) != 1 {
        s.message.anomalies |= anomaly::MALFORMED_START_LINE;
    }
}

/// A request line to the letter of RFC 3261 section 7.1, as nearly all are: `Method SP Request-URI SP SIP/2.0 CR`,
/// followed by anything. [`request_line`] reads it the same way, in twice the time.
#[inline(always)]
fn common_request_line<'m, H: Host<'m>>(host: H, s: &mut Scratch, start: u32) -> Option<RequestLine> {
    let method_end = find_near::<Blank, H>(host, s, start, s.message.length);
    let uri = method_end + 1;
    if s.byte(method_end) != b' ' || s.byte(uri) <= b' ' || s.byte(uri) == b'<' || is_sip(s, start) {
        return None;
    }
    let uri_end = find::<Blank, H>(host, s, uri, s.message.length);
    let version = uri_end + 1;
    if s.byte(uri_end) != b' ' || s.word(version) != text(b"SIP/2.0\r") {
        return None;
    }
    s.cursors.line = version + 7;
    Some(RequestLine { method_end, uri, version })
}

/// A request line (RFC 3261 section 7.1), if its parts can be found. What is wrong with it is noted.
#[inline(always)]
fn request_line<'m, H: Host<'m>>(host: H, s: &mut Scratch, start: u32, end: u32) -> Option<RequestLine> {
    let method_end = find_near::<Blank, H>(host, s, start, end);
    let uri = skip_blank(host, s, method_end, end);
    if uri == end {
        return None;
    }
    // The version is the line's last word. The part between may contain spaces, which is an anomaly but is read.
    let uri_end = find::<Blank, H>(host, s, uri, end);
    let last = skip_blank(host, s, uri_end, end);
    let last_end = find_near::<Blank, H>(host, s, last, end);
    let well_formed = uri.wrapping_sub(method_end) == 1 && last.wrapping_sub(uri_end) == 1;
    let (version, version_end) = if is_version(s, last, last_end) {
        (last, last_end)
    } else {
        s.cursors.at = last_end;
        host.repeat(&mut LastWord { host, s, end });
        (s.cursors.register, s.cursors.at)
    };
    if !is_version(s, version, version_end) {
        return None;
    }
    note_version(s, version, version_end);
    if !well_formed || version != last || version_end != end || s.byte(uri) == b'<' {
        s.message.anomalies |= anomaly::MALFORMED_START_LINE;
    }
    Some(RequestLine { method_end, uri, version })
}

/// Words of a start line that are searched for the version.
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
        let word = skip_blank(self.host, self.s, self.s.cursors.at, self.end);
        let word_end = find::<Blank, H>(self.host, self.s, word, self.end);
        self.s.cursors.register = word;
        self.s.cursors.at = word_end;
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
        s.message.anomalies |= anomaly::UNSUPPORTED_VERSION;
    }
}

/// The method of a request line. RFC 3261 section 7.1 makes methods case-sensitive, but Kamailio and others accept `invite` as
/// INVITE, so the letters' case does not matter here either.
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
