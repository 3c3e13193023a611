//! What few messages have: other schemes, blanks and control characters in a URI, brackets in odd places, escapes.
//!
//! All of it is read as the most forgiving of the SIP servers in use reads it, and flagged.

use super::{Form, is_closed, scheme, set_user};
use crate::{
    digits::{self, hex},
    find::{
        AngleClose, At, BareEnd, Blank, ClosingAngle, Colon, CommaQuoteAngle, Dot, Letter, LineEnd, NotBlank,
        OddInOtherUser, OddInUser, OpeningAngle, ParameterEnd, Percent, QuestionMark, SchemeDelimiter, UrnDelimiter,
        UserSeparator, find,
    },
    host::{Function, FunctionKind, Host, Step},
    layout::anomaly,
    limits::INSPECTED_LENGTH,
    scratch::{Header, Scheme, Scratch, UriOf, uri_flag},
    swar::{LETTERS, filled_after, first_bytes, text},
};

/// The function of the host that reads any scheme but a plain `sip:`, `sips:` or `tel:`, at the cursor, which it moves to what
/// follows. It returns 0 if nothing that has a user part follows.
pub struct ReadScheme;

/// Angle brackets before a scheme that are skipped: `<<sip:`, `<> <sip:`.
const MAX_BRACKETS: u32 = 4;

impl Function for ReadScheme {
    const KIND: FunctionKind = FunctionKind::ReadScheme;

    #[inline(always)]
    fn run<'m, H: Host<'m>>(host: H, s: &mut Scratch, _: u32, _: u32) -> u32 {
        let end = s.cursors.uri_limit;
        let mut delimiter = end;
        for _ in 0..host.bound(MAX_BRACKETS) {
            let start = s.cursors.uri_at;
            delimiter = find::<SchemeDelimiter, H>(host, s, start, end);
            let byte = s.byte(delimiter);
            if delimiter == end || byte != b'<' && byte != b'>' {
                break;
            }
            s.flag_uri();
            // The URI is in the bracket after this one.
            let bracket = if byte == b'<' { delimiter } else { find::<OpeningAngle, H>(host, s, delimiter, end) };
            if bracket == end || s.cursors.uri_form == Form::Request && byte == b'>' {
                return 0;
            }
            s.cursors.uri_at = bracket + 1;
        }
        let from = s.cursors.uri_at;
        let start = find::<NotBlank, H>(host, s, from, delimiter);
        let (known, skip) = scheme(s.word(start));
        if skip != 0 {
            s.uri_mut().scheme = known;
            s.cursors.uri_at = start + skip;
        } else if delimiter < end && s.byte(delimiter) == b':' {
            s.uri_mut().scheme = other_scheme(host, s, start, delimiter);
            s.cursors.uri_at = delimiter + 1;
        } else {
            // No scheme at all. Servers do not agree about what this is.
            s.flag_uri();
            s.uri_mut().scheme = Scheme::None;
            s.cursors.uri_at = start;
            return (delimiter < end && s.byte(delimiter) == b'@') as u32;
        }
        skip_after_scheme(host, s);
        1
    }
}

/// What kind of scheme `start..end` is.
#[inline(always)]
fn other_scheme<'m, H: Host<'m>>(host: H, s: &mut Scratch, start: u32, end: u32) -> Scheme {
    // A scheme begins with a letter (RFC 3986 section 3.1): before a password, what is here is a number to some.
    let is_odd = (s.byte(start) | 0x20).wrapping_sub(b'a') >= 26
        || start == end
        || find::<Blank, H>(host, s, start, end) < end
        || find::<Percent, H>(host, s, start, end) < end;
    if is_odd {
        s.flag_uri();
    }
    const URN: u32 = text(b"urn\0\0\0\0\0") as u32;
    let is_urn = end.wrapping_sub(start) == 3 && (s.word(start) as u32 | 0x2020_2020) & 0xff_ffff == URN;
    if is_urn { Scheme::Urn } else { Scheme::Other }
}

/// Skips white space and a second scheme after a scheme. Slashes, as in `http://`, stay in the user part.
#[inline(always)]
fn skip_after_scheme<'m, H: Host<'m>>(host: H, s: &mut Scratch) {
    let (from, end) = (s.cursors.uri_at, s.cursors.uri_limit);
    let mut rest = find::<NotBlank, H>(host, s, from, end);
    let is_moved = rest != s.cursors.uri_at;
    s.cursors.uri_at = rest;
    if rest >= s.cursors.uri_limit {
        return;
    }
    if is_moved {
        s.flag_uri();
    }
    let (second, skip) = scheme(s.word(rest));
    if skip != 0 {
        // `sip:sip:`, `urn:tel:`.
        s.flag_uri();
        s.uri_mut().scheme = second;
        rest += skip;
    }
    s.cursors.uri_at = rest;
    if has_slashes(s, rest) && s.uri().scheme != Scheme::Other {
        s.flag_uri();
    }
}

/// The function of the host that reads a user part with white space or angle brackets in it, an empty one, and that of a URN, at
/// the cursor, which it moves to where the host part begins.
pub struct ReadUser;

/// Labels of a host part that are counted: one more than an IPv4 address has.
const MAX_LABELS: u32 = 5;

/// Delimiters before a user part that are skipped: `sip:@user@host`, `sip:;user@host`.
const MAX_LEADING: u32 = 4;

impl Function for ReadUser {
    const KIND: FunctionKind = FunctionKind::ReadUser;

    #[inline(always)]
    fn run<'m, H: Host<'m>>(host: H, s: &mut Scratch, _: u32, _: u32) -> u32 {
        let (user, end) = (s.cursors.uri_at, s.cursors.uri_limit);
        if s.uri().scheme == Scheme::Urn || s.uri().scheme == Scheme::Other && is_opaque(host, s) {
            if s.uri().scheme == Scheme::Other {
                // To Sofia-SIP it has no user part.
                s.flag_uri();
            }
            let user_end = find::<UrnDelimiter, H>(host, s, user, end);
            let is_at = s.byte(user_end) == b'@' && user_end < end;
            if is_at {
                // Kamailio and libre read a password after the first colon.
                s.flag_uri();
            }
            let user = s.cursors.uri_at;
            set_user(s, user, user_end, user_end);
            s.cursors.uri_at = user_end + is_at as u32;
            return 0;
        }
        let close = find::<ClosingAngle, H>(host, s, user, end);
        // In a Request-URI, an angle bracket ends nothing.
        let limit = if s.cursors.uri_form == Form::Request { end } else { close };
        let mut at = find::<At, H>(host, s, user, limit);
        if at == limit {
            if is_odd_host(host, s, limit) {
                s.flag_uri();
            }
            return 0;
        }
        let mut brackets = 0;
        for _ in 0..host.bound(MAX_LEADING) {
            let user = s.cursors.uri_at;
            let byte = s.byte(user);
            let mut next = user + 1;
            if byte != b'@' && byte != b':' && byte != b';' {
                // In a Request-URI, what is before an angle bracket is no part of the user part either.
                next = find::<ClosingAngle, H>(host, s, user, at) + 1;
                // One just before the @ ends the user part.
                if brackets != 0
                    || next > at
                    || next == at && next.wrapping_sub(user) > 1
                    || find::<LineEnd, H>(host, s, user, next) < next
                {
                    break;
                }
                brackets = 1;
            }
            s.cursors.uri_at = next;
            at = find::<At, H>(host, s, next, limit);
            if at == limit {
                return 0;
            }
            s.flag_uri();
        }
        end_user(host, s, at);
        0
    }
}

/// True if what is there instead of `user@host` is hardly a host: it has white space, an escape or slashes in it, or it begins like a
/// telephone number.
#[inline(always)]
fn is_odd_host<'m, H: Host<'m>>(host: H, s: &mut Scratch, end: u32) -> bool {
    let start = s.cursors.uri_at;
    let word = s.word(start);
    let digits = |at: u32| ((word >> (8 * at)) as u8).wrapping_sub(b'0') <= 9;
    let is_number = matches!(word as u8, b'+' | b'*' | b'#') || digits(0) && digits(1) && digits(2) && digits(3);
    if start < s.cursors.uri_limit && (is_number || has_slashes(s, start)) {
        return true;
    }
    if (digits(0) || matches!(word as u8, b'.' | b'-' | b'(')) && start < end && is_dialled(host, s, start, end) {
        return true;
    }
    // What follows a bare URI's host is looked at later.
    let end = match s.cursors.uri_form {
        Form::Enclosed => end,
        Form::Bare => find::<BareEnd, H>(host, s, start, end),
        _ => find::<AngleClose, H>(host, s, start, end),
    };
    find::<Blank, H>(host, s, start, end) < end || find::<Percent, H>(host, s, start, end) < end
}

/// True if a host part has no letter, and is no IPv4 address: four labels of at most three digits.
#[inline(always)]
fn is_dialled<'m, H: Host<'m>>(host: H, s: &mut Scratch, start: u32, end: u32) -> bool {
    let end = find::<ParameterEnd, H>(host, s, start, end);
    if s.message.is_cut_at(end) || find::<Letter, H>(host, s, start, end) < end {
        return false;
    }
    let mut label = start;
    let mut dots = 0;
    for _ in 0..host.bound(MAX_LABELS) {
        let dot = find::<Dot, H>(host, s, label, end);
        if dot == label || dot.wrapping_sub(label) > 3 {
            return true;
        }
        if dot == end {
            break;
        }
        dots += 1;
        label = dot + 1;
    }
    dots != 3
}

/// Where a number begins that may follow `//`.
#[inline(always)]
pub(super) fn after_slashes(s: &Scratch, at: u32) -> u32 {
    if has_slashes(s, at) { at + 2 } else { at }
}

/// True if `//` is at `at`.
#[inline(always)]
pub(super) fn has_slashes(s: &Scratch, at: u32) -> bool {
    s.word(at) as u16 == u16::from_le_bytes(*b"//")
}

/// True if a number follows a scheme without an @: `tels:+16055620123`.
#[inline(always)]
fn is_opaque<'m, H: Host<'m>>(host: H, s: &mut Scratch) -> bool {
    let (rest, end) = (s.cursors.uri_at, s.cursors.uri_limit);
    s.byte(rest) == b'+' && find::<At, H>(host, s, rest, end) == end
}

/// Notes what kind of blank is in a user part, at `at`.
#[inline(always)]
pub(super) fn note_blank(s: &mut Scratch, at: u32) {
    match s.byte(at) {
        b' ' | b'\t' | b'\r' | b'\n' => s.flag_uri(),
        _ => s.message.anomalies |= anomaly::CONTROL_CHARACTER,
    }
}

/// Sets the user part that ends before the @ at `at`.
#[inline(always)]
fn end_user<'m, H: Host<'m>>(host: H, s: &mut Scratch, at: u32) {
    // Some servers end the user part where its line ends.
    let user = s.cursors.uri_at;
    let is_bracket = s.cursors.uri_form == Form::Request && user + 1 < at && s.byte(at.wrapping_sub(1)) == b'>';
    let end = at.wrapping_sub(is_bracket as u32);
    if is_bracket {
        s.flag_uri();
    }
    let line_end = find::<LineEnd, H>(host, s, user, end);
    let is_folded = line_end < end;
    let number_end = find::<UserSeparator, H>(host, s, user, line_end);
    let user_end = if s.byte(number_end) == b':' && number_end < line_end {
        number_end
    } else {
        find::<Colon, H>(host, s, number_end, line_end)
    };
    let is_bare = s.cursors.uri_form == Form::Bare && number_end < user_end;
    if is_bare && s.byte(number_end) == b';' {
        // There a semicolon begins the header's parameters, unless a number is before it.
        let of = s.cursors.uri;
        let user = after_slashes(s, s.cursors.uri_at);
        digits::read(host, s, of, user, number_end);
        if s.uri().flags & uri_flag::NUMBER == 0 {
            return;
        }
    }
    let user = s.cursors.uri_at;
    let blank = find::<Blank, H>(host, s, user, at);
    if blank < at {
        note_blank(s, blank);
        if is_folded {
            s.flag_uri();
        }
    }
    if user_end < line_end && s.uri().scheme == Scheme::Other {
        // Sofia-SIP knows no passwords in URIs of other schemes.
        s.flag_uri();
    }
    set_user(s, user, user_end, number_end);
    s.cursors.uri_at = at + 1;
}

/// The function of the host that examines a number in a `tel:` URI with white space in it, or after it.
pub struct TrimTel;

impl Function for TrimTel {
    const KIND: FunctionKind = FunctionKind::TrimTel;

    #[inline(always)]
    fn run<'m, H: Host<'m>>(host: H, s: &mut Scratch, _: u32, _: u32) -> u32 {
        let (user, user_end) = (s.uri().user.start as u32, s.cursors.uri_at);
        let blank = find::<Blank, H>(host, s, user, user_end);
        if blank < user_end {
            if find::<NotBlank, H>(host, s, blank, user_end) == user_end {
                let user = s.uri().user.start as u32;
                set_user(s, user, blank, blank);
                let request = s.message.header(Header::RequestUri).start as u32;
                let is_open = s.cursors.uri_form == Form::Request && s.byte(request) == b'<';
                if s.cursors.uri_form != Form::Enclosed && !is_open {
                    return 0;
                }
            }
            note_blank(s, blank);
        }
        0
    }
}

/// The function of the host that notes what is wrong at the end of a URI and after it.
pub struct NoteEnd;

impl Function for NoteEnd {
    const KIND: FunctionKind = FunctionKind::NoteEnd;

    #[inline(always)]
    fn run<'m, H: Host<'m>>(host: H, s: &mut Scratch, _: u32, _: u32) -> u32 {
        if is_odd_end(host, s) {
            s.flag_uri();
        }
        0
    }
}

#[inline(always)]
fn is_odd_end<'m, H: Host<'m>>(host: H, s: &mut Scratch) -> bool {
    let (uri_end, end) = (s.uri().host.end as u32, s.cursors.uri_limit);
    let form = s.cursors.uri_form;
    if form == Form::Request {
        // White space within the value, or a bracket that nothing closes or opens.
        let is_open = s.byte(s.message.header(Header::RequestUri).start as u32) == b'<';
        let is_closed = is_closed(s, uri_end);
        let rest = uri_end + is_closed as u32;
        let next = find::<NotBlank, H>(host, s, rest, end);
        return is_open != is_closed || next < end && !(is_closed && s.byte(next) == b';');
    }
    if form == Form::Enclosed && !is_closed(s, uri_end) {
        return !(uri_end == end && s.message.is_cut_at(end));
    }
    if form == Form::Bare {
        let host_start = s.uri().host.start as u32;
        // Some servers end the user part at the last @ of a value.
        let limit =
            if s.cursors.uri == UriOf::Contact { find::<CommaQuoteAngle, H>(host, s, uri_end, end) } else { end };
        if is_closed(s, uri_end) || find::<At, H>(host, s, host_start, limit) < limit {
            return true;
        }
    }
    let from = uri_end + is_closed(s, uri_end) as u32;
    let next = find::<NotBlank, H>(host, s, from, end);
    if next < end {
        match s.byte(next) {
            b';' => {}
            // Lists end each of their values there.
            b',' if s.cursors.uri != UriOf::From && s.cursors.uri != UriOf::To => {}
            _ => return true,
        }
    }
    // An address in a parameter. Contact is the one header whose values are not read one by one.
    s.cursors.uri != UriOf::Contact && find::<OpeningAngle, H>(host, s, next, end) < end
}

/// The function of the host that examines a user part that is no number: the words for an anonymous caller, bad escapes, and bytes
/// where some servers end it.
pub struct ReadName;

/// The longest of the words for an anonymous caller, every letter escaped.
const LONGEST_WORD: u32 = 3 * 14;

impl Function for ReadName {
    const KIND: FunctionKind = FunctionKind::ReadName;

    #[inline(always)]
    fn run<'m, H: Host<'m>>(host: H, s: &mut Scratch, _: u32, _: u32) -> u32 {
        let (start, end) = (after_slashes(s, s.uri().user.start as u32), s.uri().number_end as u32);
        // `+anonymous`: some gateways put a plus before everything.
        let plus = (s.byte(start) == b'+') as u32;
        let is_other = matches!(s.uri().scheme, Scheme::Other | Scheme::Urn);
        let odd = if is_other {
            find::<OddInOtherUser, H>(host, s, start, end)
        } else {
            find::<OddInUser, H>(host, s, start, end)
        };
        // RFC 3261 allows a question mark. But some servers end the user part at it, and what is before it may be a number.
        let is_name = (s.byte(start) | 0x20).wrapping_sub(b'a') < 26;
        if odd < end || !is_name && find::<QuestionMark, H>(host, s, start, end) < end {
            s.flag_uri();
        }
        let mut is_escaped = false;
        if find::<Percent, H>(host, s, start, end) < end {
            is_escaped = true;
            s.cursors.at = s.uri().user.start as u32;
            host.repeat(&mut Escapes { host, s });
        }
        let (start, end) = (after_slashes(s, s.uri().user.start as u32) + plus, s.uri().number_end as u32);
        let length = end.wrapping_sub(start);
        let (mut first, mut second, mut letters) = (s.word(start), s.word(start + 8), length);
        if is_escaped && length <= LONGEST_WORD {
            let uri = s.uri_mut();
            // The digits are those of no number: they are free for the decoded word.
            (uri.digits, uri.more_digits, uri.digit_count) = (0, 0, 0);
            s.cursors.at = start;
            host.repeat(&mut Decode { s });
            let uri = s.uri_mut();
            (first, second, letters) = (uri.digits, uri.more_digits, uri.digit_count as u32);
            (uri.digits, uri.more_digits, uri.digit_count) = (0, 0, 0);
        }
        if is_anonymous(first, second, letters) {
            s.uri_mut().flags |= uri_flag::ANONYMOUS;
        }
        0
    }
}

/// The words that large providers and common software put in place of a number that is withheld or unknown.
#[inline(always)]
fn is_anonymous(first: u64, second: u64, letters: u32) -> bool {
    const HYPHEN: u64 = (b'-' as u64) << 24;
    let (hyphen, gap) = (first & 0xff << 24 == HYPHEN, matches!((first >> 56) as u8, b' ' | b'-' | b'_'));
    let first = filled_after(first | LETTERS, letters, 0);
    let second = filled_after(second | LETTERS, letters.saturating_sub(8), 0);
    let is_short = |word: u64| word == text(b"unknown\0") || word == text(b"private\0") || word == text(b"blocked\0");
    let seven = first & first_bytes(7);
    match letters {
        6 => first == text(b"hidden\0\0"),
        7 => is_short(first),
        8 => first == text(b"withheld"),
        9 => first == text(b"anonymou") && second == text(b"s\0\0\0\0\0\0\0"),
        10 => (first == text(b"restrict") || first == text(b"suppress")) && second == text(b"ed\0\0\0\0\0\0"),
        11 => first == text(b"unavaila") && second == text(b"ble\0\0\0\0\0"),
        12 => first == text(b"notavail") && second == text(b"able\0\0\0\0"),
        13 => {
            hyphen && first == text(b"not-avai") && second == text(b"lable\0\0\0")
                || is_short(seven) && first >> 56 == b'n' as u64 && second == text(b"umber\0\0\0")
        }
        // `private number`, with a blank or another separator.
        14 => gap && is_short(seven) && second == text(b"number\0\0"),
        _ => false,
    }
}

/// Goes from escape to escape, and flags a bad one, one of a control character, where some servers end the user part, and one of a
/// percent sign, which makes another escape for whoever decodes twice.
struct Escapes<'s, H> {
    host: H,
    s: &'s mut Scratch,
}

impl<'m, H: Host<'m>> Step for Escapes<'_, H> {
    const TIMES: u32 = INSPECTED_LENGTH as u32 / 3;

    #[inline(always)]
    fn step(&mut self, _index: u32) -> bool {
        let (host, s) = (self.host, &mut *self.s);
        let (from, end) = (s.cursors.at, s.uri().number_end as u32);
        let at = find::<Percent, H>(host, s, from, end);
        if at >= end {
            return true;
        }
        s.cursors.at = at + 3;
        let (high, low) = (hex(s.byte(at + 1)), hex(s.byte(at + 2)));
        if high > 15 || low > 15 || at + 3 > end || high < 2 || high == 2 && low == 5 {
            s.flag_uri();
            return true;
        }
        false
    }
}

/// Takes a letter, or an escape of one, into the digits of a URI that has none.
struct Decode<'s> {
    s: &'s mut Scratch,
}

impl Step for Decode<'_> {
    const TIMES: u32 = LONGEST_WORD;

    #[inline(always)]
    fn step(&mut self, _index: u32) -> bool {
        let s = &mut *self.s;
        let at = s.cursors.at;
        if at >= s.uri().number_end as u32 {
            return true;
        }
        let mut byte = s.byte(at);
        let mut next = at + 1;
        if byte == b'%' {
            byte = hex(s.byte(at + 1)) << 4 | hex(s.byte(at + 2)) & 15;
            next = at + 3;
        }
        s.cursors.at = next;
        let uri = s.uri_mut();
        let count = uri.digit_count as u32;
        let letter = (byte as u64) << (8 * (count & 7));
        if count < 8 {
            uri.digits |= letter;
        } else if count < 16 {
            uri.more_digits |= letter;
        }
        uri.digit_count = count as u16 + 1;
        false
    }
}
