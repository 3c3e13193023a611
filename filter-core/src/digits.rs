//! Reading the number in a URI's user part.

use crate::{
    host::{Host, Step},
    limits::INSPECTED_LENGTH,
    scratch::{Scratch, UriOf, uri_flag},
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
    if count <= 16 {
        // The common case, sixteen digits at a time: bytes after the end count as zeroes, and are masked off.
        let (first, second) = (s.word(digits), s.word(digits + 8));
        let first_count = if count < 8 { count } else { 8 };
        let second_count = count - first_count;
        let first = filled_after(first, first_count, b'0');
        let second = filled_after(second, second_count, b'0');
        if all_digits(first) && all_digits(second) {
            let packed = pack_digits(first) << 32 | pack_digits(second);
            let uri = s.message.uri_mut(of);
            uri.digits = packed;
            uri.more_digits = 0;
            uri.digit_count = count as u16;
            uri.flags |= uri_flag::NUMBER | if plus { uri_flag::PLUS } else { 0 };
            return;
        }
    }
    let uri = s.message.uri_mut(of);
    uri.digits = 0;
    uri.more_digits = 0;
    uri.digit_count = 0;
    uri.flags &= !(uri_flag::NUMBER | uri_flag::PLUS);
    s.cursors.at = start;
    s.cursors.register = NUMBER_SO_FAR;
    host.repeat(&mut Digits { s, of, end });
    let complete = s.cursors.at >= end;
    let good = s.cursors.register == NUMBER_SO_FAR && complete;
    let uri = s.message.uri_mut(of);
    if good && uri.digit_count != 0 {
        uri.flags |= uri_flag::NUMBER;
    }
}

/// States of the walk over a number, in `register`.
const NUMBER_SO_FAR: u32 = 0;
const NOT_A_NUMBER: u32 = 1;

/// Takes a byte (or a %-escape) of a number: digits count, visual separators (RFC 3966 section 3) and blanks do not. Servers
/// read a number with blanks or control characters in it, so these must not hide it.
struct Digits<'s> {
    s: &'s mut Scratch,
    of: UriOf,
    end: u32,
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
            }
            // Libraries in C end the number at an escaped NUL.
            if byte < b' ' {
                s.message.uri_mut(self.of).flags |= uri_flag::MALFORMED;
            }
        }
        s.cursors.at = next;
        let digit = byte.wrapping_sub(b'0');
        let uri = s.message.uri_mut(self.of);
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
            b'-' | b'.' | b'(' | b')' | 0..=b' ' => false,
            b'+' if uri.digit_count == 0 && uri.flags & uri_flag::PLUS == 0 => {
                uri.flags |= uri_flag::PLUS;
                false
            }
            _ => {
                s.cursors.register = NOT_A_NUMBER;
                true
            }
        }
    }
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
