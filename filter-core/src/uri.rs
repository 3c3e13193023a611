//! Reading the URI of a name-addr or addr-spec (RFC 3261 section 25.1), and the number in its user part.

use crate::{
    find::{
        AngleClose, AngleSemicolon, BareEnd, CommaQuoteAngle, PasswordDelimiter, QuoteBackslash, QuoteBackslashAngle,
        Semicolon, TelDelimiter, UserDelimiter, UserParameterDelimiter, find, find_near, skip_blank,
    },
    host::{Function, FunctionKind, Host, Step},
    limits::INSPECTED_LENGTH,
    scratch::{Header, Scheme, Scratch, Span, Uri, UriOf, uri_flag},
    swar::{all_digits, filled_behind, pack_digits},
};

const fn text(bytes: &[u8; 8]) -> u64 {
    u64::from_le_bytes(*bytes)
}

/// Case bits of a word of letters.
const LETTERS: u64 = 0x2020_2020_2020_2020;

/// Quotes and backslashes that are followed in one header value; a value with more of them is malformed.
const MAX_SPECIALS: u32 = 256;

/// Bytes of a user part that are looked at for a number.
const MAX_NUMBER_BYTES: u32 = 256;

/// Values of one header line that are looked at.
const MAX_VALUES: u32 = 64;

/// Where the value of each URI's header is.
const HEADER_OF: [u32; 8] = [
    Header::RequestUri as u32,
    Header::From as u32,
    Header::To as u32,
    Header::AssertedIdentity as u32,
    Header::SecondAssertedIdentity as u32,
    Header::RemotePartyId as u32,
    Header::Diversion as u32,
    Header::HistoryInfo as u32,
];

/// Reads the URIs whose bits (`1 << UriOf`) are set; those that the message does not have become [`Uri::EMPTY`].
#[inline(always)]
pub fn read<'m, H: Host<'m>>(host: H, s: &mut Scratch, wanted: u32) {
    for (index, &header) in HEADER_OF.iter().enumerate() {
        if wanted >> index & 1 != 0 {
            s.uris[index] = Uri::EMPTY;
            if s.seen >> (header & 31) & 1 != 0 {
                host.call::<ReadUri>(s, index as u32, header);
            }
        }
    }
}

/// What [`read`] calls: takes [`UriOf`] and [`Header`].
pub struct ReadUri;

impl Function for ReadUri {
    const KIND: FunctionKind = FunctionKind::ReadUri;

    #[inline(always)]
    fn run<'m, H: Host<'m>>(host: H, s: &mut Scratch, index: u32, header: u32) -> u32 {
        let value = s.header(header);
        let (start, end) = (value.start as u32, value.end as u32);
        let (uri, form) = if index == UriOf::Request as u32 {
            (if s.byte(start) == b'<' { start + 1 } else { start }, Form::Request)
        } else {
            locate(host, s, index, start, end)
        };
        if form != Form::None {
            read_uri(host, s, index, uri, end, form);
        }
        0
    }
}

/// How the end of a URI is told.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// The Request-URI: by white space.
    Request,
    /// In angle brackets.
    Enclosed,
    /// A bare addr-spec: by white space, and what follows a semicolon belongs to the header.
    Bare,
    /// There is none.
    None,
}

/// Finds the URI in the value of a header of the form `name-addr / addr-spec`, and notes the display name.
#[inline(always)]
fn locate<'m, H: Host<'m>>(host: H, s: &mut Scratch, index: u32, start: u32, end: u32) -> (u32, Form) {
    let first = skip_blank(host, s, start, end);
    if first == end {
        return (end, Form::None);
    }
    if s.byte(first) == b'<' {
        s.uri_mut(index).display = Span { start: first as u16, end: first as u16 };
        return (first + 1, Form::Enclosed);
    }
    if has_scheme(s, first) {
        // An addr-spec, unless angle brackets follow before its parameters: then servers take what they enclose, and this was
        // a display name that looks like a URI.
        let stop = find::<AngleSemicolon, H>(host, s, first, end);
        if stop == end || s.byte(stop) != b'<' {
            return (first, Form::Bare);
        }
        s.uri_mut(index).display = Span { start: first as u16, end: stop as u16 };
        return (stop + 1, Form::Enclosed);
    }
    if s.byte(first) == b'"' {
        // Mostly one string without escapes, and the bracket behind it: what the walk below finds too, in twice the time.
        let close = find::<QuoteBackslash, H>(host, s, first + 1, end);
        if close < end && s.byte(close) == b'"' {
            let bracket = skip_blank(host, s, close + 1, end);
            if bracket < end && s.byte(bracket) == b'<' {
                s.uri_mut(index).display = Span { start: (first + 1) as u16, end: close as u16 };
                return (bracket + 1, Form::Enclosed);
            }
        }
    }
    s.at = first;
    s.register = IN_TOKEN;
    host.repeat(&mut DisplayName { host, s, end, index });
    let at = s.at;
    let quoted_end = s.uri(index).display.end as u32;
    if s.register == FOUND {
        if quoted_end == 0 {
            s.uri_mut(index).display = Span { start: first as u16, end: at as u16 };
        }
        (at + 1, Form::Enclosed)
    } else if s.register == IN_TOKEN && at >= end {
        // No angle bracket: an addr-spec of another scheme, or a real-world `"name" sip:user@host`.
        (if quoted_end > first { quoted_end + 1 } else { first }, Form::Bare)
    } else {
        // A string that does not end, or more of them than are followed.
        let uri = s.uri_mut(index);
        uri.display = Span::default();
        uri.flags |= uri_flag::MALFORMED;
        (end, Form::None)
    }
}

/// States of the walk over a display name, in `register`.
const IN_TOKEN: u32 = 0;
const IN_QUOTES: u32 = 1;
const FOUND: u32 = 2;

/// Goes from quote to quote until an angle bracket stands outside of quotes.
struct DisplayName<'s, H> {
    host: H,
    s: &'s mut Scratch,
    end: u32,
    index: u32,
}

impl<'m, H: Host<'m>> Step for DisplayName<'_, H> {
    const TIMES: u32 = MAX_SPECIALS;
    const BATCH: u32 = 4;

    #[inline(always)]
    fn step(&mut self, _index: u32) -> bool {
        let (host, s, end) = (self.host, &mut *self.s, self.end);
        let from = s.at;
        if s.register == IN_QUOTES {
            let at = find::<QuoteBackslash, H>(host, s, from, end);
            if at == end {
                return true;
            }
            if s.byte(at) == b'\\' {
                s.at = at + 2;
                return false;
            }
            s.uri_mut(self.index).display.end = at as u16;
            s.register = IN_TOKEN;
            s.at = at + 1;
            return false;
        }
        let at = find::<QuoteBackslashAngle, H>(host, s, from, end);
        if at == end {
            return true;
        }
        s.at = at;
        match s.byte(at) {
            b'<' => {
                s.register = FOUND;
                true
            }
            b'"' => {
                s.uri_mut(self.index).display.start = (at + 1) as u16;
                s.register = IN_QUOTES;
                s.at = at + 1;
                false
            }
            _ => {
                // Outside of quotes a backslash escapes nothing (RFC 3261 section 25.1), so it must not hide a bracket. But
                // there are senders that write `\"name\" <sip:...>`: those quotes open nothing.
                s.at = at + if s.byte(at + 1) == b'"' { 2 } else { 1 };
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
fn read_uri<'m, H: Host<'m>>(host: H, s: &mut Scratch, index: u32, from: u32, end: u32, form: Form) {
    let start = skip_blank(host, s, from, end);
    let (scheme, skip) = scheme(s.word(start));
    let uri = s.uri_mut(index);
    uri.scheme = scheme as u8;
    uri.flags |= uri_flag::PRESENT | if form == Form::Bare { uri_flag::BARE } else { 0 };
    if skip == 0 || start == end {
        return;
    }
    let user = start + skip;
    if scheme as u8 == Scheme::Tel as u8 {
        let user_end = find::<TelDelimiter, H>(host, s, user, end);
        set_user(host, s, index, user, user_end, user_end);
        let uri_end = uri_end(host, s, user_end, end, form);
        s.uri_mut(index).host = Span { start: user_end as u16, end: uri_end as u16 };
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
        // In a bare addr-spec a semicolon begins the header's parameters, in which an @ may stand; but where a number stands
        // before it, real gateways mean its user parameters.
        let mut is_user = true;
        if parameters && form == Form::Bare {
            read_number(host, s, index, user, number_end);
            is_user = s.uri(index).flags & uri_flag::NUMBER != 0;
        }
        if is_user {
            set_user(host, s, index, user, user_end, number_end);
            at + 1
        } else {
            user
        }
    } else {
        user
    };
    let uri_end = uri_end(host, s, host_start, end, form);
    let is_anonymous = is_anonymous_host(s, host_start);
    let uri = s.uri_mut(index);
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

/// Sets the user part, and reads the number in it.
#[inline(always)]
fn set_user<'m, H: Host<'m>>(host: H, s: &mut Scratch, index: u32, user: u32, user_end: u32, number_end: u32) {
    let is_anonymous = is_anonymous_user(s, user, number_end);
    let uri = s.uri_mut(index);
    uri.user = Span { start: user as u16, end: user_end as u16 };
    uri.number_end = number_end as u16;
    if is_anonymous {
        uri.flags |= uri_flag::ANONYMOUS;
    }
    read_number(host, s, index, user, number_end);
}

/// `anonymous`, in any case.
#[inline(always)]
fn is_anonymous_user(s: &Scratch, start: u32, end: u32) -> bool {
    end.wrapping_sub(start) == 9 && s.word(start) | LETTERS == text(b"anonymou") && s.byte(start + 8) | 0x20 == b's'
}

/// `anonymous.invalid` (RFC 3323 section 4.1.1.3), in any case.
#[inline(always)]
fn is_anonymous_host(s: &Scratch, start: u32) -> bool {
    s.word(start) | LETTERS == text(b"anonymou")
        && s.word(start + 8) | 0x2020_2020_2020_0020 == text(b"s.invali")
        && s.byte(start + 16) | 0x20 == b'd'
}

/// Reads the digits in `start..end` into the URI's number.
#[inline(always)]
fn read_number<'m, H: Host<'m>>(host: H, s: &mut Scratch, index: u32, start: u32, end: u32) {
    let plus = s.byte(start) == b'+';
    let digits = if plus { start + 1 } else { start };
    let count = end.wrapping_sub(digits);
    if end <= digits {
        return;
    }
    if count <= 16 {
        // The common case, sixteen digits at a time: bytes behind the end count as zeroes, and are masked off.
        let (first, second) = (s.word(digits), s.word(digits + 8));
        let first_count = if count < 8 { count } else { 8 };
        let second_count = count - first_count;
        let first = filled_behind(first, first_count, b'0');
        let second = filled_behind(second, second_count, b'0');
        if all_digits(first) && all_digits(second) {
            let packed = pack_digits(first) << 32 | pack_digits(second);
            let uri = s.uri_mut(index);
            uri.digits = packed;
            uri.more_digits = 0;
            uri.digit_count = count as u16;
            uri.flags |= uri_flag::NUMBER | if plus { uri_flag::PLUS } else { 0 };
            return;
        }
    }
    let uri = s.uri_mut(index);
    uri.digits = 0;
    uri.more_digits = 0;
    uri.digit_count = 0;
    uri.flags &= !(uri_flag::NUMBER | uri_flag::PLUS);
    s.at = start;
    s.register = NUMBER_SO_FAR;
    host.repeat(&mut Digits { s, index, end });
    let complete = s.at >= end;
    let good = s.register == NUMBER_SO_FAR && complete;
    let uri = s.uri_mut(index);
    if good && uri.digit_count != 0 {
        uri.flags |= uri_flag::NUMBER;
    }
}

/// States of the walk over a number, in `register`.
const NUMBER_SO_FAR: u32 = 0;
const NOT_A_NUMBER: u32 = 1;

/// Takes a byte (or a %-escape) of a number: digits count, visual separators (RFC 3966 section 3) do not.
struct Digits<'s> {
    s: &'s mut Scratch,
    index: u32,
    end: u32,
}

impl Step for Digits<'_> {
    const TIMES: u32 = MAX_NUMBER_BYTES;

    #[inline(always)]
    fn step(&mut self, _index: u32) -> bool {
        let s = &mut *self.s;
        let at = s.at;
        if at >= self.end {
            return true;
        }
        let mut byte = s.byte(at);
        let mut next = at + 1;
        if byte == b'%' {
            let (high, low) = (hex(s.byte(at + 1)), hex(s.byte(at + 2)));
            if high > 15 || low > 15 || at + 3 > self.end {
                s.register = NOT_A_NUMBER;
                return true;
            }
            byte = high << 4 | low;
            next = at + 3;
        }
        s.at = next;
        let digit = byte.wrapping_sub(b'0');
        let uri = s.uri_mut(self.index);
        if digit <= 9 {
            let count = uri.digit_count;
            if count < 16 {
                uri.digits |= (digit as u64) << (60 - 4 * (count as u32 & 15));
            } else if count < 32 {
                uri.more_digits |= (digit as u64) << (60 - 4 * (count as u32 & 15));
            }
            uri.digit_count = count + 1;
            return false;
        }
        match byte {
            b'-' | b'.' | b'(' | b')' | b' ' => false,
            b'+' if uri.digit_count == 0 && uri.flags & uri_flag::PLUS == 0 => {
                uri.flags |= uri_flag::PLUS;
                false
            }
            _ => {
                s.register = NOT_A_NUMBER;
                true
            }
        }
    }
}

/// The value of a hexadecimal digit; 16 and more for any other byte.
#[inline(always)]
fn hex(byte: u8) -> u8 {
    let digit = byte.wrapping_sub(b'0');
    if digit <= 9 {
        return digit;
    }
    let letter = (byte | 0x20).wrapping_sub(b'a');
    if letter <= 5 { letter + 10 } else { 16 }
}

/// Finds the History-Info entry before the last one (RFC 7044 section 5: the last is the current target), and the second
/// value of P-Asserted-Identity where it stands in the first one's line.
#[inline(never)]
pub fn split_values<'m, H: Host<'m>>(host: H, s: &mut Scratch) {
    let last = s.header(Header::HistoryInfo as u32);
    if s.seen >> Header::HistoryInfo as u32 & 1 != 0 {
        let earlier = s.header(Header::EarlierHistoryInfo as u32);
        s.headers[Header::HistoryInfo as usize] = Span::default();
        s.seen &= !(1 << Header::HistoryInfo as u32);
        // `cursor` and `lines` have done their work: the last two entries' starts live in them.
        s.cursor = 0;
        s.lines = 0;
        if !earlier.is_empty() {
            walk_values(host, s, earlier, false);
        }
        walk_values(host, s, last, false);
        if s.lines != 0 {
            let start = s.lines;
            let end = if start < earlier.end as u32 && start >= earlier.start as u32 { earlier.end } else { last.end };
            s.headers[Header::HistoryInfo as usize] = Span { start: start as u16, end };
            s.seen |= 1 << Header::HistoryInfo as u32;
        }
    }
    let asserted = s.header(Header::AssertedIdentity as u32);
    if !asserted.is_empty() && s.seen & (1 << Header::SecondAssertedIdentity as u32) == 0 {
        s.cursor = 0;
        s.lines = 0;
        walk_values(host, s, asserted, true);
        if s.lines != 0 {
            s.headers[Header::SecondAssertedIdentity as usize] = Span { start: s.cursor as u16, end: asserted.end };
            s.seen |= 1 << Header::SecondAssertedIdentity as u32;
        }
    }
}

/// Goes over the comma-separated values of a header, or only to the second one; `cursor` ends at the start of the last one,
/// `lines` at the one before (0 for none).
#[inline(always)]
fn walk_values<'m, H: Host<'m>>(host: H, s: &mut Scratch, span: Span, to_second: bool) {
    s.lines = s.cursor;
    s.cursor = span.start as u32;
    s.at = span.start as u32;
    s.register = IN_TOKEN;
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
        let from = s.at;
        if s.register == IN_QUOTES {
            let at = find::<QuoteBackslash, H>(host, s, from, end);
            if at == end {
                return true;
            }
            if s.byte(at) == b'\\' {
                s.at = at + 2;
            } else {
                s.register = IN_TOKEN;
                s.at = at + 1;
            }
            return false;
        }
        let at = find::<CommaQuoteAngle, H>(host, s, from, end);
        if at == end {
            return true;
        }
        match s.byte(at) {
            b',' => {
                s.lines = s.cursor;
                s.cursor = at + 1;
                s.at = at + 1;
                return self.to_second;
            }
            b'"' => {
                s.register = IN_QUOTES;
                s.at = at + 1;
            }
            b'<' => {
                let close = find::<AngleClose, H>(host, s, at + 1, end);
                s.at = close + 1;
            }
            _ => s.at = at + if s.byte(at + 1) == b'"' { 2 } else { 1 },
        }
        false
    }
}

/// Looks for the `verstat` parameter (3GPP TS 24.229 section 7.2A.20) in a URI's user part and behind its host.
#[inline(never)]
pub fn read_verstat<'m, H: Host<'m>>(host: H, s: &mut Scratch, index: u32) {
    let uri = *s.uri(index);
    // Also where the host part is empty: then it ends at the @.
    let end = uri.host.end as u32;
    s.at = uri.number_end as u32;
    if s.at == 0 {
        s.at = uri.host.start as u32;
    }
    host.repeat(&mut VerstatSearch { host, s, end });
}

struct VerstatSearch<'s, H> {
    host: H,
    s: &'s mut Scratch,
    end: u32,
}

impl<'m, H: Host<'m>> Step for VerstatSearch<'_, H> {
    const TIMES: u32 = MAX_VALUES;

    #[inline(always)]
    fn step(&mut self, _index: u32) -> bool {
        use crate::layout::Verstat;
        const PASSED: u64 = text(b"ation-p\0");
        const FAILED: u64 = text(b"ation-f\0");
        let s = &mut *self.s;
        let from = s.at;
        let at = find::<Semicolon, H>(self.host, s, from, self.end);
        if at == self.end {
            return true;
        }
        s.at = at + 1;
        // The equals sign has its case bit set already.
        if s.word(at + 1) | 0x0020_2020_2020_2020 != text(b"verstat=") {
            return false;
        }
        let (value, rest) = (s.word(at + 9), s.word(at + 17));
        s.verstat = if value | 0x2020_2020_2000_2020 == text(b"tn-valid") {
            match (rest | 0x0020_0020_2020_2020) & 0x00ff_ffff_ffff_ffff {
                PASSED => Verstat::TnValidationPassed as u32,
                FAILED => Verstat::TnValidationFailed as u32,
                _ => Verstat::Other as u32,
            }
        } else if value | 0x2020_0020_2000_2020 == text(b"no-tn-va") {
            Verstat::NoTnValidation as u32
        } else {
            Verstat::Other as u32
        };
        true
    }
}

const _: () = assert!(INSPECTED_LENGTH <= u16::MAX as usize);
