//! Parameters of a URI, a header or a user part: `;name=value`.

use crate::{
    digits,
    find::{NotBlank, ParameterEnd, QuoteBackslash, SemicolonQuote, find},
    host::{Function, FunctionKind, Host, Step},
    limits::INSPECTED_LENGTH,
    named::named_number,
    scratch::{Scratch, uri_flag},
    swar::{LETTERS, first_bytes, text},
};

named_number! {
    /// The parameters that are looked for.
    pub struct Parameter: u32 {
        /// `tag` of To (RFC 3261 section 19.3).
        Tag = 0;
        /// `party` of Remote-Party-ID.
        Party = 1;
        /// `ppt` of Identity (RFC 8224 section 4).
        Ppt = 2;
        /// `info` of Identity.
        Info = 3;
        /// `phone-context` of a telephone number (RFC 3966 section 5.1.5).
        PhoneContext = 4;
        /// `verstat` of a URI (3GPP TS 24.229 section 7.2A.20).
        Verstat = 5;
    }
}

/// Bytes of the shortest parameter, `;tag=`.
const SHORTEST: u32 = 5;

/// Where the value of the first such parameter in `start..end` begins; 0 if there is none. Semicolons in quotes begin nothing.
#[inline(always)]
pub(crate) fn find_parameter<'m, H: Host<'m>>(
    host: H,
    s: &mut Scratch,
    parameter: Parameter,
    start: u32,
    end: u32,
) -> u32 {
    if end.wrapping_sub(start) < SHORTEST {
        return 0;
    }
    // Positions have sixteen bits.
    host.call::<FindParameter>(s, parameter.number(), start | end << 16)
}

/// True if the value at `value`, quoted or not, is this word of at most eight letters. The word has to end within the value.
#[inline(always)]
pub(crate) fn is_word(s: &Scratch, value: u32, end: u32, word: u64, letters: u32) -> bool {
    let start = value + (s.byte(value) == b'"') as u32;
    let after = s.byte(start + letters);
    let ends = start + letters >= end || after <= b' ' || matches!(after, b'"' | b';' | b',');
    ends && start + letters <= end && (s.word(start) | LETTERS) & first_bytes(letters) == word
}

/// The function of the host that looks for a parameter, with its number and the two ends of the search.
pub struct FindParameter;

impl Function for FindParameter {
    const KIND: FunctionKind = FunctionKind::FindParameter;

    #[inline(always)]
    fn run<'m, H: Host<'m>>(host: H, s: &mut Scratch, parameter: u32, span: u32) -> u32 {
        let (start, end) = (span & 0xffff, span >> 16);
        s.cursors.at = start;
        s.cursors.state = OUTSIDE;
        s.cursors.register = 0;
        host.repeat(&mut Parameters { host, s, parameter: Parameter::from_number(parameter), end });
        s.cursors.register
    }
}

/// States of the search, in `state`.
const OUTSIDE: u32 = 0;
const IN_QUOTES: u32 = 1;

struct Parameters<'s, H> {
    host: H,
    s: &'s mut Scratch,
    parameter: Parameter,
    end: u32,
}

impl<'m, H: Host<'m>> Step for Parameters<'_, H> {
    const TIMES: u32 = INSPECTED_LENGTH as u32;
    const AHEAD: u32 = 1;

    #[inline(always)]
    fn step(&mut self, _index: u32) -> bool {
        let (host, s, end) = (self.host, &mut *self.s, self.end);
        let from = s.cursors.at;
        if s.cursors.state == IN_QUOTES {
            let at = find::<QuoteBackslash, H>(host, s, from, end);
            s.cursors.at = if s.byte(at) == b'\\' { at + 2 } else { at + 1 };
            s.cursors.state = if s.byte(at) == b'\\' { IN_QUOTES } else { OUTSIDE };
            return at >= end;
        }
        let at = find::<SemicolonQuote, H>(host, s, from, end);
        if at >= end {
            return true;
        }
        s.cursors.at = at + 1;
        if s.byte(at) == b'"' {
            s.cursors.state = IN_QUOTES;
            return false;
        }
        let name = find::<NotBlank, H>(host, s, at + 1, end);
        s.cursors.at = name;
        let length = name_length(s, self.parameter, name);
        if length == 0 {
            return false;
        }
        let equals = find::<NotBlank, H>(host, s, name + length, end);
        s.cursors.at = equals;
        if s.byte(equals) != b'=' || equals >= end {
            return false;
        }
        let value = find::<NotBlank, H>(host, s, equals + 1, end);
        s.cursors.register = value;
        true
    }
}

/// The length of the parameter's name, if it is at `at`; else 0.
#[inline(always)]
fn name_length(s: &Scratch, parameter: Parameter, at: u32) -> u32 {
    let (word, rest) = (s.word(at), s.word(at + 8));
    let (name, length) = match parameter {
        Parameter::Tag => (text(b"tag\0\0\0\0\0"), 3),
        Parameter::Party => (text(b"party\0\0\0"), 5),
        Parameter::Ppt => (text(b"ppt\0\0\0\0\0"), 3),
        Parameter::Info => (text(b"info\0\0\0\0"), 4),
        Parameter::Verstat => (text(b"verstat\0"), 7),
        _ => (text(b"phone-co"), 13),
    };
    if (word | LETTERS) & first_bytes(length) != name {
        return 0;
    }
    if parameter == Parameter::PhoneContext {
        // A carriage return with the case bit is a hyphen.
        let is_rest = (rest | LETTERS) & first_bytes(5) == text(b"ntext\0\0\0");
        return if is_rest && s.byte(at + 5) == b'-' { length } else { 0 };
    }
    length
}

/// The function of the host that puts the global context of a local number before it (RFC 3966 section 5.1.5). Its argument is where
/// the context begins.
pub struct JoinContext;

impl Function for JoinContext {
    const KIND: FunctionKind = FunctionKind::JoinContext;

    #[inline(always)]
    fn run<'m, H: Host<'m>>(host: H, s: &mut Scratch, value: u32, _: u32) -> u32 {
        let end = s.uri().host.end as u32;
        let value_end = find::<ParameterEnd, H>(host, s, value, end);
        let uri = s.uri();
        let (digits, more, count, flags) = (uri.digits, uri.more_digits, uri.digit_count, uri.flags);
        // A context without digits leaves these.
        let uri = s.uri_mut();
        (uri.digit_count, uri.flags) = (0, flags & !uri_flag::NUMBER);
        let of = s.cursors.uri;
        digits::read(host, s, of, value, value_end);
        let uri = s.uri_mut();
        let shift = 4 * (uri.digit_count as u32 & 15);
        // Digits that begin with the context have it already.
        let is_local = (uri.digits ^ digits) >> ((64 - shift) & 63) != 0;
        if uri.flags & uri_flag::NUMBER != 0 && uri.digit_count != 0 && uri.digit_count < 15 && is_local {
            uri.digits |= digits >> shift;
            uri.more_digits = digits << (64 - shift) | more >> shift;
            uri.digit_count += count;
            uri.flags = flags | uri_flag::PLUS;
        } else {
            (uri.digits, uri.more_digits, uri.digit_count, uri.flags) = (digits, more, count, flags);
        }
        0
    }
}
