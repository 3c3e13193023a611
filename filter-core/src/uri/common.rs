//! The addresses and Request-URIs of nearly all calls, read without a call: `"name" <sip:+digits@host>`, with or without the name
//! and the plus.

use super::{is_anonymous_host, scheme};
use crate::{
    digits,
    find::{HostEnd, Needle, OpeningAngle, QuoteBackslash, STRIDE, UserDelimiter, mark},
    host::{Function, FunctionKind, Host},
    number,
    scratch::{Header, Scheme, Scratch, Span, UriOf, uri_flag},
    swar::first,
    wanted,
};

/// The function of the host that reads a URI with a number if it is to the letter, with numbers of [`UriOf`] and [`Header`]. It returns
/// 0, and has read nothing, if it is another one: [`ReadUri`](super::ReadUri) and [`ReadNumber`](super::ReadNumber) read all of them.
///
/// It calls nothing, since most of what a URI costs is calls. What it has found is kept in the cursors: after each of these, the verifier
/// follows one path.
pub struct ReadCommonUri;

impl Function for ReadCommonUri {
    const KIND: FunctionKind = FunctionKind::ReadCommonUri;

    #[inline(always)]
    fn run<'m, H: Host<'m>>(host: H, s: &mut Scratch, of: u32, header: u32) -> u32 {
        let of = UriOf::from_number(of);
        let value = s.message.header(Header::from_number(header));
        (s.cursors.uri, s.cursors.uri_at, s.cursors.uri_limit) = (of, value.start as u32, value.end as u32);
        if !find_scheme(s, of == UriOf::Request) {
            return 0;
        }
        host.fence();
        let start = s.cursors.uri_at;
        let (scheme, skip) = scheme(s.word(start));
        if !matches!(scheme, Scheme::Sip | Scheme::Sips) {
            return 0;
        }
        s.cursors.state = scheme.number() as u32;
        s.cursors.uri_at = start + skip;
        host.fence();
        if !find_at(s) {
            return 0;
        }
        host.fence();
        if !find_end(host, s) {
            return 0;
        }
        host.fence();
        set(host, s)
    }
}

/// Moves to the scheme, and notes the display name.
#[inline(always)]
fn find_scheme(s: &mut Scratch, is_request: bool) -> bool {
    let start = s.cursors.uri_at;
    (s.cursors.text_start, s.cursors.text_end) = (0, 0);
    if is_request {
        return true;
    }
    let first_byte = start + (s.byte(start) == b' ') as u32;
    let mut bracket = first_byte;
    let mut display = (first_byte, first_byte);
    if s.byte(first_byte) == b'"' {
        let text = first_byte + 1;
        let (offset, marks) = mark(s, text, QuoteBackslash::marks);
        let close = text + offset + first(marks);
        if marks == 0 || s.byte(close) != b'"' || s.byte(text) <= b' ' {
            return false;
        }
        bracket = close + 1;
        bracket += (s.byte(bracket) == b' ') as u32;
        display = (text, close);
    }
    (s.cursors.text_start, s.cursors.text_end) = display;
    s.cursors.uri_at = bracket + 1;
    s.byte(bracket) == b'<'
}

/// Finds the @ after the number.
#[inline(always)]
fn find_at(s: &mut Scratch) -> bool {
    let user = s.cursors.uri_at;
    let [near, next] = s.words(user);
    let (near, next) = (UserDelimiter::marks(near), UserDelimiter::marks(next));
    let at = if near != 0 { user + first(near) } else { user + 8 + first(next) };
    s.cursors.at = at;
    near | next != 0 && s.byte(at) == b'@'
}

/// Finds the end of the URI. False if the general reading has to look at what follows.
#[inline(always)]
fn find_end<'m, H: Host<'m>>(host: H, s: &mut Scratch) -> bool {
    let from = s.cursors.at + 1;
    let (offset, marks) = mark(s, from, HostEnd::marks);
    if marks == 0 {
        return false;
    }
    s.cursors.register = from + offset + first(marks);
    host.fence();
    let (uri_end, end) = (s.cursors.register, s.cursors.uri_limit);
    if s.cursors.uri == UriOf::Request {
        return uri_end == end;
    }
    if s.byte(uri_end) != b'>' || uri_end >= end {
        return false;
    }
    if !wanted::anomalies(host.config().needs) {
        return true;
    }
    let next = uri_end + 1;
    match s.byte(next) {
        _ if next == end => true,
        b'\r' => next + 2 >= end,
        b';' => has_no_bracket(s, next, end),
        _ => false,
    }
}

/// True if there is no opening angle bracket in `from..end`. False if that is too long to tell.
#[inline(always)]
fn has_no_bracket(s: &Scratch, from: u32, end: u32) -> bool {
    let mut at = from;
    let (mut offset, mut marks) = mark(s, at, OpeningAngle::marks);
    if marks == 0 {
        at += STRIDE;
        (offset, marks) = mark(s, at, OpeningAngle::marks);
    }
    if marks == 0 { at + STRIDE >= end } else { at + offset + first(marks) >= end }
}

/// Sets what has been found, if the user part is a number. Returns what [`ReadCommonUri`] does.
#[inline(always)]
fn set<'m, H: Host<'m>>(host: H, s: &mut Scratch) -> u32 {
    let (user, at) = (s.cursors.uri_at, s.cursors.at);
    let plus = s.byte(user) == b'+';
    let start = if plus { user + 1 } else { user };
    let count = at.wrapping_sub(start);
    let Some(packed) = digits::pack(s, start, count) else { return 0 };
    if plus && number::spells_withheld(packed, count as u16) {
        return 0;
    }
    let uri_end = s.cursors.register;
    let anonymous = if is_anonymous_host(s, at + 1, uri_end) { uri_flag::ANONYMOUS } else { 0 };
    let display = Span { start: s.cursors.text_start as u16, end: s.cursors.text_end as u16 };
    let scheme = Scheme::from_number(s.cursors.state as u8);
    let uri = s.uri_mut();
    (uri.user, uri.number_end) = (Span { start: user as u16, end: at as u16 }, at as u16);
    uri.host = Span { start: (at + 1) as u16, end: uri_end as u16 };
    (uri.display, uri.scheme) = (display, scheme);
    uri.flags = uri_flag::PRESENT | anonymous;
    digits::set(host, s, s.cursors.uri, packed, count, plus);
    1
}
