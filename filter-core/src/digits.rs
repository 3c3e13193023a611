//! Reading the number in a URI's user part.

use crate::{
    host::{Host, Step},
    layout::need,
    limits::INSPECTED_LENGTH,
    number, numbers,
    scratch::{Scratch, Span, Uri, UriOf, uri_flag},
    swar::{all_digits, filled_after, pack_digits},
};

/// Reads the digits in `start..end` into the URI's number.
#[inline(always)]
pub fn read<'m, H: Host<'m>>(host: H, s: &mut Scratch, of: UriOf, start: u32, end: u32) {
    let plus = s.byte(start) == b'+';
    let digits = if plus { start + 1 } else { start };
    let count = end.wrapping_sub(digits);
    if end <= digits {
        return;
    }
    if let Some(packed) = pack(s, digits, count) {
        set(host, s, of, packed, count, plus);
        return;
    }
    let uri = s.message.uri_mut(of);
    uri.digits = 0;
    uri.more_digits = 0;
    uri.digit_count = 0;
    uri.flags &= !(uri_flag::NUMBER | uri_flag::PLUS);
    if (s.byte(start) | 0x20).wrapping_sub(b'a') < 26 {
        // A name: the walk would end at once.
        return;
    }
    s.cursors.at = start;
    s.cursors.register = NUMBER_SO_FAR;
    s.cursors.prefix_digits = 0;
    // A constant to the verifier: where no plan takes prefixes off, a symbol is no part of a number.
    let symbols = host.config().needs & need::STRIP != 0;
    host.repeat(&mut Digits { s, of, end, symbols });
    let complete = s.cursors.at >= end;
    let good = s.cursors.register != NOT_A_NUMBER && complete;
    let uri = s.message.uri_mut(of);
    if good && uri.digit_count != 0 {
        uri.flags |= uri_flag::NUMBER;
        strip(host, s, of);
    }
}

/// Sets up to sixteen digits, as BCD.
#[inline(always)]
pub(crate) fn set<'m, H: Host<'m>>(host: H, s: &mut Scratch, of: UriOf, packed: u64, count: u32, plus: bool) {
    s.cursors.prefix_digits = 0;
    let uri = s.message.uri_mut(of);
    (uri.digits, uri.more_digits, uri.digit_count) = (packed, 0, count as u16);
    uri.flags |= uri_flag::NUMBER | if plus { uri_flag::PLUS } else { 0 };
    strip(host, s, of);
}

/// The common case, sixteen digits at a time: the `count` bytes at `at` as BCD, if they are 1 to 16 digits. Bytes after the end count as
/// zeroes.
#[inline(always)]
pub(crate) fn pack(s: &Scratch, at: u32, count: u32) -> Option<u64> {
    if count.wrapping_sub(1) >= 16 {
        return None;
    }
    let first_count = if count < 8 { count } else { 8 };
    let first = filled_after(s.word(at), first_count, b'0');
    let second = filled_after(s.word(at + 8), count - first_count, b'0');
    if all_digits(first) && all_digits(second) { Some(pack_digits(first) << 32 | pack_digits(second)) } else { None }
}

/// Takes a technical prefix off the number, if a plan of the policy has any.
#[inline(always)]
fn strip<'m, H: Host<'m>>(host: H, s: &mut Scratch, of: UriOf) {
    let (prefix, count) = (s.cursors.prefix, s.cursors.prefix_digits);
    let strips = host.config().needs & need::STRIP != 0;
    if !strips && count == 0 {
        return;
    }
    let plan = numbers::plan(host, s);
    let is_number = !strips || number::strip(plan, s.message.uri_mut(of));
    if !is_number || count != 0 && !number::may_precede_plus(plan, prefix, count) {
        s.message.uri_mut(of).flags &= !uri_flag::NUMBER;
    }
}

/// The most digits of a text that are counted.
const MOST_IN_TEXT: u16 = 1000;

/// Reads the digits in a text as those of a user part, without escapes.
///
/// # Errors
///
/// The index of the first byte that is no part of a number.
pub fn read_text(text: &[u8]) -> Result<Uri, usize> {
    let mut uri = Uri { user: Span { start: 0, end: 1 }, ..Uri::EMPTY };
    let mut state = NUMBER_SO_FAR;
    for (index, &byte) in text.iter().enumerate() {
        if uri.digit_count > MOST_IN_TEXT {
            return Err(index);
        }
        take(&mut uri, &mut state, byte, false);
        if state == NOT_A_NUMBER {
            return Err(index);
        }
    }
    if uri.digit_count != 0 {
        uri.flags |= uri_flag::NUMBER;
    }
    Ok(uri)
}

/// States of the walk over a number, in `register`.
const NUMBER_SO_FAR: u32 = 0;
const NOT_A_NUMBER: u32 = 1;
/// As [`NUMBER_SO_FAR`], directly after a `(` that may be that of `(0)`.
const OPENED: u32 = 2;
/// As [`OPENED`], after the 0.
const OPENED_ZERO: u32 = 3;
/// There are symbols among the digits: it is a number if they belong to a technical prefix.
const WITH_SYMBOLS: u32 = 4;

/// Takes a byte (or a %-escape) of a number: digits count, visual separators (RFC 3966 section 3) and blanks do not. Servers
/// read a number with blanks or control characters in it, so these must not hide it.
struct Digits<'s> {
    s: &'s mut Scratch,
    of: UriOf,
    end: u32,
    symbols: bool,
}

impl Step for Digits<'_> {
    const TIMES: u32 = INSPECTED_LENGTH as u32;

    #[inline(always)]
    fn step(&mut self, _index: u32) -> bool {
        let s = &mut *self.s;
        let at = s.cursors.at;
        if at >= self.end {
            return true;
        }
        let mut byte = s.byte(at);
        let mut next = at + 1;
        if byte == b'%' {
            let (high, low) = (hex(s.byte(at + 1)), hex(s.byte(at + 2)));
            if high > 15 || low > 15 || at + 3 > self.end {
                // oSIP drops a bad escape, and takes what is left for the number.
                byte = 0;
            } else {
                byte = high << 4 | low;
                next = at + 3;
                if byte == b';' {
                    // Servers that decode first find the user part's parameters here.
                    s.message.uri_mut(self.of).flags |= uri_flag::MALFORMED;
                    s.cursors.at = self.end;
                    return true;
                }
            }
            // Libraries in C end the number at an escaped NUL.
            if byte < b' ' {
                s.message.uri_mut(self.of).flags |= uri_flag::MALFORMED;
            }
        }
        s.cursors.at = next;
        let symbols = self.symbols;
        let Scratch { message, cursors, .. } = s;
        let uri = message.uri_mut(self.of);
        if byte == b'+' && (1..=15).contains(&uri.digit_count) && uri.flags & uri_flag::PLUS == 0 {
            // What is before it may be a prefix that a plan takes off.
            (cursors.prefix, cursors.prefix_digits) = (uri.digits, uri.digit_count as u32);
            (uri.digits, uri.more_digits, uri.digit_count) = (0, 0, 0);
            uri.flags |= uri_flag::PLUS;
            cursors.register = NUMBER_SO_FAR;
            return false;
        }
        take(uri, &mut cursors.register, byte, symbols);
        cursors.register == NOT_A_NUMBER
    }
}

/// Takes a character of a number. `state` is one of the states above.
#[inline(always)]
fn take(uri: &mut Uri, state: &mut u32, byte: u8, symbols: bool) {
    let before = *state;
    *state = if before == WITH_SYMBOLS { WITH_SYMBOLS } else { NUMBER_SO_FAR };
    let digit = byte.wrapping_sub(b'0');
    if digit <= 9 {
        push(uri, digit);
        if digit == 0 && before == OPENED {
            *state = OPENED_ZERO;
        }
        return;
    }
    match byte {
        // After the country code of a number with a plus, `(0)` is the national prefix, which is not dialled from abroad. Italian
        // numbers begin with a 0 of their own.
        b'(' if before != WITH_SYMBOLS && uri.flags & uri_flag::PLUS != 0 => {
            let is_italian = uri.digit_count == 2 && uri.digits >> 56 == 0x39;
            if (1..=3).contains(&uri.digit_count) && !is_italian {
                *state = OPENED;
            }
        }
        b')' if before == OPENED_ZERO => uri.digit_count -= 1,
        b'-' | b'.' | b'(' | b')' | 0..=b' ' => {}
        b'+' if uri.digit_count == 0 && uri.flags & uri_flag::PLUS == 0 => uri.flags |= uri_flag::PLUS,
        b'*' | b'#' | b',' if symbols && (uri.digit_count as u32) < number::KEPT => {
            push(
                uri,
                match byte {
                    b'*' => number::STAR,
                    b'#' => number::HASH,
                    _ => number::COMMA,
                },
            );
            *state = WITH_SYMBOLS;
        }
        _ => *state = NOT_A_NUMBER,
    }
}

/// Puts a digit or a symbol after the digits.
#[inline(always)]
fn push(uri: &mut Uri, nibble: u8) {
    let count = uri.digit_count as u32;
    let bits = (nibble as u64) << (60 - 4 * (count & 15));
    if count < 16 {
        uri.digits |= bits;
    } else if count < number::KEPT {
        uri.more_digits |= bits;
    }
    uri.digit_count += 1;
}

/// The value of a hexadecimal digit; 16 and more for any other byte.
#[inline(always)]
pub(crate) fn hex(byte: u8) -> u8 {
    let digit = byte.wrapping_sub(b'0');
    if digit <= 9 {
        return digit;
    }
    let letter = (byte | 0x20).wrapping_sub(b'a');
    if letter <= 5 { letter + 10 } else { 16 }
}
