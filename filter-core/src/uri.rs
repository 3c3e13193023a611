//! Reading the URI of a name-addr or addr-spec (RFC 3261 section 25.1).

use crate::{
    digits,
    find::{
        AngleClose, AngleSemicolon, BareEnd, PasswordDelimiter, QuoteBackslash, QuoteBackslashAngle, TelDelimiter,
        UserDelimiter, UserParameterDelimiter, find, find_near, skip_blank,
    },
    host::{Function, FunctionKind, Host, Step},
    limits::INSPECTED_LENGTH,
    scratch::{Header, Scheme, Scratch, Span, Uri, UriOf, uri_flag},
};

const fn text(bytes: &[u8; 8]) -> u64 {
    u64::from_le_bytes(*bytes)
}

/// Case bits of a word of letters.
const LETTERS: u64 = 0x2020_2020_2020_2020;

/// Quotes and backslashes that are followed in one header value. A value with more of them is malformed.
const MAX_SPECIALS: u32 = 256;

/// Reads the URIs whose bits (of [`UriOf`]) are set. Those that the message does not have become [`Uri::EMPTY`].
#[inline(always)]
pub fn read<'m, H: Host<'m>>(host: H, s: &mut Scratch, wanted: u32) {
    for of in UriOf::ALL {
        if wanted & of.bit() != 0 {
            *s.message.uri_mut(of) = Uri::EMPTY;
            let header = UriOf::HEADERS[of.index()];
            if s.message.has(header) {
                host.call::<ReadUri>(s, of.number(), header.number());
            }
        }
    }
}

/// The function of the host that [`read`] calls, with numbers of [`UriOf`] and [`Header`].
pub struct ReadUri;

impl Function for ReadUri {
    const KIND: FunctionKind = FunctionKind::ReadUri;

    #[inline(always)]
    fn run<'m, H: Host<'m>>(host: H, s: &mut Scratch, of: u32, header: u32) -> u32 {
        let of = UriOf::from_number(of);
        let value = s.message.header(Header::from_number(header));
        let (start, end) = (value.start as u32, value.end as u32);
        let (uri, form) = if of == UriOf::Request {
            (if s.byte(start) == b'<' { start + 1 } else { start }, Form::Request)
        } else {
            locate(host, s, of, start, end)
        };
        if form != Form::None {
            read_uri(host, s, of, uri, end, form);
        }
        0
    }
}

/// What ends a URI.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// The Request-URI: white space.
    Request,
    /// In angle brackets: the closing one.
    Enclosed,
    /// A bare addr-spec: white space, or a semicolon, since what follows that belongs to the header.
    Bare,
    /// There is no URI.
    None,
}

/// Finds the URI in the value of a header of the form `name-addr / addr-spec`, and notes the display name.
#[inline(always)]
fn locate<'m, H: Host<'m>>(host: H, s: &mut Scratch, of: UriOf, start: u32, end: u32) -> (u32, Form) {
    let first = skip_blank(host, s, start, end);
    if first == end {
        return (end, Form::None);
    }
    if s.byte(first) == b'<' {
        s.message.uri_mut(of).display = Span { start: first as u16, end: first as u16 };
        return (first + 1, Form::Enclosed);
    }
    if has_scheme(s, first) {
        // An addr-spec, unless angle brackets follow before its parameters: then servers take the URI in them, and this was a
        // display name that looks like a URI.
        let stop = find::<AngleSemicolon, H>(host, s, first, end);
        if stop == end || s.byte(stop) != b'<' {
            return (first, Form::Bare);
        }
        s.message.uri_mut(of).display = Span { start: first as u16, end: stop as u16 };
        return (stop + 1, Form::Enclosed);
    }
    if s.byte(first) == b'"' {
        // Mostly it is one string without escapes, then the bracket. The walk below would find the same in twice the time.
        let close = find::<QuoteBackslash, H>(host, s, first + 1, end);
        if close < end && s.byte(close) == b'"' {
            let bracket = skip_blank(host, s, close + 1, end);
            if bracket < end && s.byte(bracket) == b'<' {
                s.message.uri_mut(of).display = Span { start: (first + 1) as u16, end: close as u16 };
                return (bracket + 1, Form::Enclosed);
            }
        }
    }
    s.cursors.at = first;
    s.cursors.register = IN_TOKEN;
    host.repeat(&mut DisplayName { host, s, end, of });
    let at = s.cursors.at;
    let quoted_end = s.message.uri(of).display.end as u32;
    if s.cursors.register == FOUND {
        if quoted_end == 0 {
            s.message.uri_mut(of).display = Span { start: first as u16, end: at as u16 };
        }
        (at + 1, Form::Enclosed)
    } else if s.cursors.register == IN_TOKEN && at >= end {
        // No angle bracket: an addr-spec of another scheme, or a real-world `"name" sip:user@host`.
        (if quoted_end > first { quoted_end + 1 } else { first }, Form::Bare)
    } else {
        // A string that does not end, or more strings than are followed.
        let uri = s.message.uri_mut(of);
        uri.display = Span::default();
        uri.flags |= uri_flag::MALFORMED;
        (end, Form::None)
    }
}

/// States of the walk over a display name, in `register`.
const IN_TOKEN: u32 = 0;
const IN_QUOTES: u32 = 1;
const FOUND: u32 = 2;

/// Goes from quote to quote until it finds an angle bracket outside of quotes.
struct DisplayName<'s, H> {
    host: H,
    s: &'s mut Scratch,
    end: u32,
    of: UriOf,
}

impl<'m, H: Host<'m>> Step for DisplayName<'_, H> {
    const TIMES: u32 = MAX_SPECIALS;
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
                return false;
            }
            s.message.uri_mut(self.of).display.end = at as u16;
            s.cursors.register = IN_TOKEN;
            s.cursors.at = at + 1;
            return false;
        }
        let at = find::<QuoteBackslashAngle, H>(host, s, from, end);
        if at == end {
            return true;
        }
        s.cursors.at = at;
        match s.byte(at) {
            b'<' => {
                s.cursors.register = FOUND;
                true
            }
            b'"' => {
                s.message.uri_mut(self.of).display.start = (at + 1) as u16;
                s.cursors.register = IN_QUOTES;
                s.cursors.at = at + 1;
                false
            }
            _ => {
                // Outside of quotes a backslash escapes nothing (RFC 3261 section 25.1), so it must not hide a bracket. But some
                // senders write `\"name\" <sip:...>`: those quotes open nothing.
                s.cursors.at = at + if s.byte(at + 1) == b'"' { 2 } else { 1 };
                false
            }
        }
    }
}

/// True if a scheme that has a user part begins at `at`.
#[inline(always)]
fn has_scheme(s: &Scratch, at: u32) -> bool {
    scheme(s.word(at)).1 != 0
}

/// The scheme and its length with the colon; length 0 for any other scheme.
#[inline(always)]
fn scheme(word: u64) -> (Scheme, u32) {
    let lower = word | 0x0020_2020;
    if lower as u32 == text(b"sip:\0\0\0\0") as u32 {
        return (Scheme::Sip, 4);
    }
    if lower as u32 == text(b"tel:\0\0\0\0") as u32 {
        return (Scheme::Tel, 4);
    }
    if (word | 0x2020_2020) & 0xff_ffff_ffff == text(b"sips:\0\0\0") {
        return (Scheme::Sips, 5);
    }
    (Scheme::Other, 0)
}

/// Reads the URI at `from`: scheme, user part, host part, number.
#[inline(always)]
fn read_uri<'m, H: Host<'m>>(host: H, s: &mut Scratch, of: UriOf, from: u32, end: u32, form: Form) {
    let start = skip_blank(host, s, from, end);
    let (scheme, skip) = scheme(s.word(start));
    let uri = s.message.uri_mut(of);
    uri.scheme = scheme;
    uri.flags |= uri_flag::PRESENT | if form == Form::Bare { uri_flag::BARE } else { 0 };
    if skip == 0 || start == end {
        return;
    }
    let user = start + skip;
    if scheme == Scheme::Tel {
        let user_end = find::<TelDelimiter, H>(host, s, user, end);
        set_user(host, s, of, user, user_end, user_end);
        let uri_end = uri_end(host, s, user_end, end, form);
        s.message.uri_mut(of).host = Span { start: user_end as u16, end: uri_end as u16 };
        return;
    }
    // userinfo = user [ ":" password ] "@" (RFC 3261 section 25.1). A semicolon before the @ belongs to the user part.
    let mut at = find_near::<UserDelimiter, H>(host, s, user, end);
    let number_end = at;
    let mut user_end = at;
    let mut parameters = false;
    if at < end && s.byte(at) == b';' {
        parameters = true;
        at = find::<UserParameterDelimiter, H>(host, s, at, end);
        user_end = at;
    }
    if at < end && s.byte(at) == b':' {
        at = find::<PasswordDelimiter, H>(host, s, at, end);
    }
    let host_start = if at < end && s.byte(at) == b'@' {
        // In a bare addr-spec a semicolon begins the header's parameters, which may contain an @. But after a number, real
        // gateways mean its user parameters.
        let mut is_user = true;
        if parameters && form == Form::Bare {
            digits::read(host, s, of, user, number_end);
            is_user = s.message.uri(of).flags & uri_flag::NUMBER != 0;
        }
        if is_user {
            set_user(host, s, of, user, user_end, number_end);
            at + 1
        } else {
            user
        }
    } else {
        user
    };
    let uri_end = uri_end(host, s, host_start, end, form);
    let is_anonymous = is_anonymous_host(s, host_start, uri_end);
    let uri = s.message.uri_mut(of);
    uri.host = Span { start: host_start as u16, end: uri_end as u16 };
    if is_anonymous {
        uri.flags |= uri_flag::ANONYMOUS;
    }
}

/// The end of a URI whose host part begins at `at`.
#[inline(always)]
fn uri_end<'m, H: Host<'m>>(host: H, s: &mut Scratch, at: u32, end: u32, form: Form) -> u32 {
    if form == Form::Bare { find::<BareEnd, H>(host, s, at, end) } else { find_near::<AngleClose, H>(host, s, at, end) }
}

/// Sets the user part, and reads its number.
#[inline(always)]
fn set_user<'m, H: Host<'m>>(host: H, s: &mut Scratch, of: UriOf, user: u32, user_end: u32, number_end: u32) {
    let is_anonymous = is_anonymous_user(s, user, number_end);
    let uri = s.message.uri_mut(of);
    uri.user = Span { start: user as u16, end: user_end as u16 };
    uri.number_end = number_end as u16;
    if is_anonymous {
        uri.flags |= uri_flag::ANONYMOUS;
    }
    digits::read(host, s, of, user, number_end);
}

/// `anonymous`, in any case.
#[inline(always)]
fn is_anonymous_user(s: &Scratch, start: u32, end: u32) -> bool {
    end.wrapping_sub(start) == 9 && s.word(start) | LETTERS == text(b"anonymou") && s.byte(start + 8) | 0x20 == b's'
}

/// `anonymous.invalid` (RFC 3323 section 4.1.1.3), in any case.
#[inline(always)]
fn is_anonymous_host(s: &Scratch, start: u32, end: u32) -> bool {
    end.wrapping_sub(start) >= 17
        && s.word(start) | LETTERS == text(b"anonymou")
        && s.word(start + 8) | 0x2020_2020_2020_0020 == text(b"s.invali")
        && s.byte(start + 16) | 0x20 == b'd'
}

const _: () = assert!(INSPECTED_LENGTH <= u16::MAX as usize);
