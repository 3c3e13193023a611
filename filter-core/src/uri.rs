//! Reading the URI of a name-addr or addr-spec (RFC 3261 section 25.1).
//!
//! Addresses and URIs as nearly all software writes them are read at once. What is odd about the others is left to functions of
//! their own, which read what the most forgiving of the SIP servers in use reads, and flag it.

mod common;
mod odd;
mod parameter;

pub use common::ReadCommonUri;
pub use odd::{NoteEnd, ReadName, ReadScheme, ReadUser, TrimTel};
pub use parameter::{FindParameter, JoinContext, Parameter};
pub(crate) use parameter::{find_parameter, is_word};

use crate::{
    digits,
    find::{
        AngleClose, AngleSemicolon, BareEnd, Blank, ClosingAngle, CommaQuoteAngle, DisplayDelimiter, HostEnd,
        NotPlainBlank, NotSpace, OpeningAngle, PasswordDelimiter, QuoteBackslash, QuoteBackslashAngle, TelDelimiter,
        UserDelimiter, UserParameterDelimiter, find, find_near, skip_blank,
    },
    host::{Function, FunctionKind, Host, Step},
    layout::anomaly,
    limits::INSPECTED_LENGTH,
    named::named_number,
    number, numbers,
    scratch::{Header, Scheme, Scratch, Span, Uri, UriOf, uri_flag},
    swar::{LETTERS, text},
    wanted,
};

/// Reads the URIs of headers with one value whose bits (of [`UriOf`]) are set. Those that the message does not have become
/// [`Uri::EMPTY`].
#[inline(always)]
pub fn read<'m, H: Host<'m>>(host: H, s: &mut Scratch, wanted: u32) {
    for (of, header, _) in UriOf::SINGLE {
        if wanted & of.bit() != 0 {
            read_one(host, s, of, header);
        }
    }
}

/// Reads a URI, and the number of its user part.
#[inline(always)]
pub(crate) fn read_one<'m, H: Host<'m>>(host: H, s: &mut Scratch, of: UriOf, header: Header) {
    *s.message.uri_mut(of) = Uri::EMPTY;
    if !s.message.has(header) {
        return;
    }
    // A Contact mostly has a name, or is followed by parameters.
    let is_common = of != UriOf::Contact && host.call::<ReadCommonUri>(s, of.number(), header.number()) != 0;
    if !is_common {
        host.call::<ReadUri>(s, of.number(), header.number());
        // Not from within that function: the frames of nested calls share 512 bytes.
        if !s.uri().user.is_empty() {
            host.call::<ReadNumber>(s, 0, 0);
        }
        if s.uri().flags & uri_flag::MALFORMED != 0 {
            s.message.anomalies |= anomaly::MALFORMED_URI;
        }
    }
}

/// Where the parameters of a header begin, after the URI that was read in its value.
#[inline(always)]
pub(crate) fn after<'m, H: Host<'m>>(host: H, s: &mut Scratch, of: UriOf, value: Span) -> u32 {
    let uri = s.message.uri(of);
    let (flags, host_end) = (uri.flags, uri.host.end as u32);
    if flags & uri_flag::PRESENT == 0 {
        value.start as u32
    } else if flags & uri_flag::BARE == 0 && s.byte(host_end) == b'>' && host_end < value.end as u32 {
        host_end
    } else if flags & uri_flag::BARE != 0 {
        find::<BareEnd, H>(host, s, host_end, value.end as u32)
    } else {
        find::<ClosingAngle, H>(host, s, host_end, value.end as u32)
    }
}

/// The function of the host that finds the parts of a URI, with numbers of [`UriOf`] and [`Header`].
///
/// Which URI it is, and where it is in it, is kept in the cursors, for the functions that it calls. Kept in registers, it would be
/// spilled in the frame that they share.
pub struct ReadUri;

impl Function for ReadUri {
    const KIND: FunctionKind = FunctionKind::ReadUri;

    #[inline(always)]
    fn run<'m, H: Host<'m>>(host: H, s: &mut Scratch, of: u32, header: u32) -> u32 {
        let of = UriOf::from_number(of);
        let value = s.message.header(Header::from_number(header));
        s.cursors.uri = of;
        s.cursors.uri_at = value.start as u32;
        s.cursors.uri_limit = value.end as u32;
        if of == UriOf::Request {
            s.cursors.uri_form = Form::Request;
            s.cursors.uri_at += (s.byte(value.start as u32) == b'<') as u32;
        } else {
            locate(host, s);
        }
        host.fence();
        if s.cursors.uri_form != Form::None {
            read_uri(host, s);
        }
        0
    }
}

named_number! {
    /// What ends a URI.
    pub struct Form: u32 {
        /// There is no URI.
        None = 0;
        /// The Request-URI: white space.
        Request = 1;
        /// In angle brackets: the closing one.
        Enclosed = 2;
        /// A bare addr-spec: white space, or a semicolon, since what follows that belongs to the header.
        Bare = 3;
    }
}

/// Finds the URI in the value of a header of the form `name-addr / addr-spec`, and notes the display name.
///
/// A function of its own: its registers must not be spilled in the frame of the functions that follow.
#[inline(never)]
fn locate<'m, H: Host<'m>>(host: H, s: &mut Scratch) {
    let (start, end) = (s.cursors.uri_at, s.cursors.uri_limit);
    let first = skip_blank(host, s, start, end);
    if first == end {
        return set_place(s, end, Form::None);
    }
    if is_odd_blank(s.byte(start)) || first > start + 1 && has_odd_gap(host, s, start, first) {
        s.flag_uri();
    }
    if s.byte(first) == b'<' {
        s.uri_mut().display = Span { start: first as u16, end: first as u16 };
        return set_place(s, first + 1, Form::Enclosed);
    }
    if has_scheme(s, first) {
        // An addr-spec, unless angle brackets follow before its parameters: then servers take the URI in them, and this was a
        // display name that looks like a URI.
        let stop = find::<AngleSemicolon, H>(host, s, first, end);
        if stop == end || s.byte(stop) == b';' {
            return set_place(s, first, Form::Bare);
        }
        if s.cursors.uri == UriOf::Contact && find::<CommaQuoteAngle, H>(host, s, first, stop) < stop {
            // That is in the next value.
            return set_place(s, first, Form::Bare);
        }
        let bracket = if s.byte(stop) == b'<' { stop } else { find::<OpeningAngle, H>(host, s, stop, end) };
        s.flag_uri();
        if bracket == end {
            return set_place(s, first, Form::Bare);
        }
        s.uri_mut().display = Span { start: first as u16, end: bracket as u16 };
        return set_place(s, bracket + 1, Form::Enclosed);
    }
    if s.byte(first) == b'"' {
        // Mostly it is one string without escapes, then the bracket. The walk below would find the same in twice the time.
        let close = find::<QuoteBackslash, H>(host, s, first + 1, end);
        if close < end && s.byte(close) == b'"' {
            let bracket = skip_blank(host, s, close + 1, end);
            if bracket < end && s.byte(bracket) == b'<' {
                let has_more = bracket > close + 2;
                let begins_oddly = begins_oddly(host, s, first + 1);
                if begins_oddly
                    || is_odd_blank(s.byte(close + 1))
                    || has_more && has_odd_gap(host, s, close + 1, bracket)
                {
                    s.flag_uri();
                }
                s.uri_mut().display = Span { start: (first + 1) as u16, end: close as u16 };
                return set_place(s, bracket + 1, Form::Enclosed);
            }
        }
    }
    s.cursors.uri_at = first;
    s.cursors.at = first;
    s.cursors.register = IN_TOKEN;
    host.repeat(&mut DisplayName { host, s });
    end_display(host, s);
}

/// True for a control character that is no white space. Servers that do not skip it begin to read elsewhere.
#[inline(always)]
pub(crate) const fn is_odd_blank(byte: u8) -> bool {
    byte < b' ' && !matches!(byte, b'\t' | b'\r' | b'\n')
}

/// True if the first byte in quotes that is no white space is a control character.
#[inline(always)]
fn begins_oddly<'m, H: Host<'m>>(host: H, s: &mut Scratch, from: u32) -> bool {
    let end = s.cursors.uri_limit;
    s.byte(from) <= b' ' && {
        let start = find::<NotSpace, H>(host, s, from, end);
        is_odd_blank(s.byte(start))
    }
}

/// True if there is anything but plain white space in `from..end`, where a value begins, or between a display name and the bracket after it.
#[inline(always)]
fn has_odd_gap<'m, H: Host<'m>>(host: H, s: &mut Scratch, from: u32, end: u32) -> bool {
    find::<NotPlainBlank, H>(host, s, from, end) < end
}

/// Finds the URI after the walk over a display name.
#[inline(always)]
fn end_display<'m, H: Host<'m>>(host: H, s: &mut Scratch) {
    let (first, at, end) = (s.cursors.uri_at, s.cursors.at, s.cursors.uri_limit);
    let quoted_end = s.uri().display.end as u32;
    if s.cursors.register == FOUND {
        if quoted_end == 0 {
            s.uri_mut().display = Span { start: first as u16, end: at as u16 };
            // A colon or an at sign outside of quotes: some servers begin to read the URI before them.
            if wanted::anomalies(host.config().needs) && find::<DisplayDelimiter, H>(host, s, first, at) < at {
                s.flag_uri();
            }
        } else if s.uri().display.start as u32 != first + 1
            || begins_oddly(host, s, first + 1)
            || has_odd_gap(host, s, quoted_end + 1, at)
        {
            // Something before or after the quotes, or several strings: libre takes a bracket in them for the URI's, or a URI after them.
            s.flag_uri();
        }
        set_place(s, at + 1, Form::Enclosed);
    } else if s.cursors.register == IN_TOKEN && at >= end {
        // No angle bracket: an addr-spec of another scheme, or a real-world `"name" sip:user@host`.
        let mut start = first;
        if quoted_end > first {
            s.flag_uri();
            start = quoted_end + 1;
        }
        set_place(s, start, Form::Bare);
    } else {
        // A string that does not end.
        s.uri_mut().display = Span::default();
        s.flag_uri();
        set_place(s, end, Form::None);
    }
}

#[inline(always)]
fn set_place(s: &mut Scratch, at: u32, form: Form) {
    s.cursors.uri_at = at;
    s.cursors.uri_form = form;
}

/// States of the walk over a display name, in `register`.
const IN_TOKEN: u32 = 0;
const IN_QUOTES: u32 = 1;
const FOUND: u32 = 2;

/// Goes from quote to quote until it finds an angle bracket outside of quotes.
struct DisplayName<'s, H> {
    host: H,
    s: &'s mut Scratch,
}

impl<'m, H: Host<'m>> Step for DisplayName<'_, H> {
    const TIMES: u32 = INSPECTED_LENGTH as u32;

    #[inline(always)]
    fn step(&mut self, _index: u32) -> bool {
        let (host, s) = (self.host, &mut *self.s);
        let (from, end) = (s.cursors.at, s.cursors.uri_limit);
        if s.cursors.register == IN_QUOTES {
            let at = find::<QuoteBackslash, H>(host, s, from, end);
            if at >= end {
                return true;
            }
            if s.byte(at) == b'\\' {
                s.cursors.at = at + 2;
                return false;
            }
            s.uri_mut().display.end = at as u16;
            s.cursors.register = IN_TOKEN;
            s.cursors.at = at + 1;
            return false;
        }
        let at = find::<QuoteBackslashAngle, H>(host, s, from, end);
        if at >= end {
            return true;
        }
        s.cursors.at = at;
        match s.byte(at) {
            b'<' => {
                s.cursors.register = FOUND;
                true
            }
            b'"' => {
                s.uri_mut().display.start = (at + 1) as u16;
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
pub(crate) fn has_scheme(s: &Scratch, at: u32) -> bool {
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

/// Reads the URI at the cursor: scheme, user part, host part.
#[inline(always)]
fn read_uri<'m, H: Host<'m>>(host: H, s: &mut Scratch) {
    let (from, end) = (s.cursors.uri_at, s.cursors.uri_limit);
    let start = skip_blank(host, s, from, end);
    if is_odd_blank(s.byte(from)) {
        // PJSIP reads no value with a NUL there.
        s.flag_uri();
    }
    let (scheme, skip) = scheme(s.word(start));
    let bare = if s.cursors.uri_form == Form::Bare { uri_flag::BARE } else { 0 };
    let uri = s.uri_mut();
    uri.scheme = scheme;
    uri.flags |= uri_flag::PRESENT | bare;
    uri.host = Span { start: start as u16, end: start as u16 };
    if start == end {
        if s.cursors.uri_form != Form::Bare {
            s.flag_uri();
        }
        return;
    }
    let is_star = s.byte(start) == b'*' && s.cursors.uri == UriOf::Contact;
    if is_star && skip_blank(host, s, start + 1, end) == end {
        // All of a user's registrations (RFC 3261 section 20.10).
        return;
    }
    s.cursors.uri_at = start + skip;
    let next = s.byte(start + skip);
    if skip == 0 || next <= b' ' || next == b'/' || has_scheme(s, start + skip) {
        s.cursors.uri_at = start;
        if host.call::<ReadScheme>(s, 0, 0) == 0 {
            let at = s.cursors.uri_at as u16;
            s.uri_mut().host = Span { start: at, end: at };
            return;
        }
    }
    match s.uri().scheme {
        Scheme::Tel => read_tel(host, s),
        Scheme::Other => {
            host.call::<ReadUser>(s, 0, 0);
            // Some servers take all that follows the scheme for the user part, whatever it means there.
            if s.uri().user.is_empty() {
                s.flag_uri();
            }
        }
        Scheme::Urn => _ = host.call::<ReadUser>(s, 0, 0),
        _ => read_userinfo(host, s),
    }
    host.fence();
    read_host(host, s);
}

/// Reads the number of a `tel:` URI.
#[inline(always)]
fn read_tel<'m, H: Host<'m>>(host: H, s: &mut Scratch) {
    let (user, end) = (s.cursors.uri_at, s.cursors.uri_limit);
    let from = odd::after_slashes(s, user);
    let delimiter = find::<TelDelimiter, H>(host, s, from, end);
    let user = s.cursors.uri_at;
    // Most servers end the number at any of these. Some call what follows, too.
    let byte = s.byte(delimiter);
    // Without brackets, a comma ends the header's value.
    let is_odd = matches!(byte, b'@' | b':' | b'#' | b'/') || byte == b',' && s.cursors.uri_form != Form::Bare;
    if delimiter == user || delimiter < end && is_odd {
        s.flag_uri();
    }
    set_user(s, user, delimiter, delimiter);
    s.cursors.uri_at = delimiter;
    if find::<Blank, H>(host, s, user, delimiter) < delimiter {
        host.call::<TrimTel>(s, 0, 0);
    }
}

/// Reads `userinfo = user [ ":" password ] "@"` (RFC 3261 section 25.1), and moves to where the host part begins. A semicolon before
/// the @ belongs to the user part.
#[inline(always)]
fn read_userinfo<'m, H: Host<'m>>(host: H, s: &mut Scratch) {
    let (user, end) = (s.cursors.uri_at, s.cursors.uri_limit);
    let mut at = find_near::<UserDelimiter, H>(host, s, user, end);
    let number_end = at;
    let mut user_end = at;
    if at < end && s.byte(at) == b';' {
        at = find::<UserParameterDelimiter, H>(host, s, at, end);
        user_end = at;
    }
    if at < end && s.byte(at) == b':' {
        at = find::<PasswordDelimiter, H>(host, s, at, end);
    }
    let (user, end) = (s.cursors.uri_at, s.cursors.uri_limit);
    if number_end == user || at >= end || s.byte(at) != b'@' {
        // A user part that is empty or has white space in it, or an angle bracket, or no user part.
        host.call::<ReadUser>(s, 0, 0);
        return;
    }
    set_user(s, user, user_end, number_end);
    // In a bare addr-spec a semicolon begins the header's parameters, which may contain an @. But after a number, real gateways
    // mean its user parameters.
    if user_end != number_end && s.byte(number_end) == b';' && s.cursors.uri_form == Form::Bare {
        let of = s.cursors.uri;
        let number = odd::after_slashes(s, user);
        digits::read(host, s, of, number, number_end);
        if s.uri().flags & uri_flag::NUMBER == 0 {
            s.uri_mut().user = Span::default();
            s.uri_mut().number_end = 0;
            return;
        }
    }
    s.cursors.uri_at = at + 1;
}

/// Finds the end of a URI whose host part begins at the cursor. Notes what is wrong there and after it.
#[inline(always)]
fn read_host<'m, H: Host<'m>>(host: H, s: &mut Scratch) {
    let (at, end) = (s.cursors.uri_at, s.cursors.uri_limit);
    let mut uri_end = if s.cursors.uri_form == Form::Bare {
        find::<BareEnd, H>(host, s, at, end)
    } else {
        find_near::<HostEnd, H>(host, s, at, end)
    };
    let end = s.cursors.uri_limit;
    if s.byte(uri_end) == b'@' && uri_end < end {
        // Some servers end the user part at the last one.
        s.flag_uri();
        uri_end = find::<AngleClose, H>(host, s, uri_end + 1, end);
    }
    let at = s.cursors.uri_at;
    let is_anonymous = is_anonymous_host(s, at, uri_end);
    let uri = s.uri_mut();
    uri.host = Span { start: at as u16, end: uri_end as u16 };
    if is_anonymous {
        uri.flags |= uri_flag::ANONYMOUS;
    }
    if wanted::anomalies(host.config().needs) {
        let after = s.byte(uri_end + 1);
        let end = s.cursors.uri_limit;
        let is_last = after == b'\r' && uri_end + 3 >= end;
        let is_plain = s.cursors.uri_form == Form::Enclosed && is_closed(s, uri_end) && (after == b';' || is_last);
        if !is_plain || !is_last && find::<OpeningAngle, H>(host, s, uri_end, end) < end {
            host.call::<NoteEnd>(s, 0, 0);
        }
    }
}

/// True if a closing angle bracket is at `at`, within the value.
#[inline(always)]
fn is_closed(s: &Scratch, at: u32) -> bool {
    s.byte(at) == b'>' && at < s.cursors.uri_limit
}

/// Sets the user part, and the end of its number.
#[inline(always)]
fn set_user(s: &mut Scratch, user: u32, user_end: u32, number_end: u32) {
    let uri = s.uri_mut();
    uri.user = Span { start: user as u16, end: user_end as u16 };
    uri.number_end = number_end as u16;
}

/// The function of the host that reads the number of a URI's user part. A user part that is no number is examined for words.
pub struct ReadNumber;

impl Function for ReadNumber {
    const KIND: FunctionKind = FunctionKind::ReadNumber;

    #[inline(always)]
    fn run<'m, H: Host<'m>>(host: H, s: &mut Scratch, _: u32, _: u32) -> u32 {
        let of = s.cursors.uri;
        let uri = s.uri();
        let (user, number_end) = (uri.user.start as u32, uri.number_end as u32);
        let user = odd::after_slashes(s, user);
        if s.uri().scheme != Scheme::Urn {
            digits::read(host, s, of, user, number_end);
        }
        let uri = s.uri_mut();
        if uri.flags & uri_flag::NUMBER != 0
            && uri.flags & uri_flag::PLUS != 0
            && number::spells_withheld(uri.digits, uri.digit_count)
        {
            uri.flags = uri.flags & !(uri_flag::NUMBER | uri_flag::PLUS) | uri_flag::ANONYMOUS;
            return 0;
        }
        let uri = s.uri();
        let (number_end, uri_end) = (uri.number_end as u32, uri.host.end as u32);
        if uri.flags & uri_flag::NUMBER == 0 {
            if uri.scheme == Scheme::Tel {
                // Some servers call the digits before what is no part of a number.
                s.flag_uri();
            }
            host.call::<ReadName>(s, 0, 0);
        } else if uri.flags & uri_flag::PLUS == 0 && uri.digit_count > 3 && s.byte(number_end) == b';' {
            // A local number may have a global context (RFC 3966 section 5.1.5). Three digits or fewer are service codes, such as 911.
            let context = find_parameter(host, s, Parameter::PhoneContext, number_end, uri_end);
            let is_whole = s.uri().digit_count as u32 >= number::whole_digits(numbers::plan(host, s));
            if context != 0 && s.byte(context) == b'+' && !is_whole {
                host.call::<JoinContext>(s, context, 0);
            }
        }
        0
    }
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
