//! Numbers in their normal form: E.164 digits, or a short code, as a key of the number trie.

use crate::{
    layout::{NumberFormat, Numbering},
    limits::MAX_DIGITS,
    scratch::{Number, Uri, uri_flag},
    trie::SHORT_CODE_DIGITS,
};

/// Nibble after the digits of a number of at most fifteen digits.
const TERMINATOR: u64 = 0xf;

/// Last nibble of a number of more than fifteen digits.
const OVERFLOW: u64 = 0xe;

/// Brings the number of a URI's user part into its normal form. The key is 0 if there is no number; the format is then final.
/// Otherwise it is `Valid` until the number's class is known.
#[inline(always)]
#[must_use]
pub fn normalise(numbering: &Numbering, uri: &Uri) -> Number {
    let mut number = Number { format: NumberFormat::Missing, ..Number::default() };
    if uri.user.is_empty() {
        return number;
    }
    if uri.flags & uri_flag::NUMBER == 0 {
        number.format = NumberFormat::NotANumber;
        return number;
    }
    let mut digits = uri.digits;
    let more = uri.more_digits;
    let mut count = uri.digit_count as u32;
    if uri.flags & uri_flag::PLUS == 0 && count > SHORT_CODE_DIGITS {
        let international = numbering.international_prefix_digits as u32;
        let national = numbering.national_prefix_digits as u32;
        let first = digits >> 60;
        let nanp = numbering.country_code_digits == 1 && numbering.country_code >> 60 == 1;
        if has_prefix(digits, numbering.international_prefix, international) {
            digits = shift_out(digits, more, international);
            count -= international;
        } else if nanp && count == 10 && first >= 2 {
            digits = with_country_code(numbering, digits);
            count += 1;
        } else if nanp && count == 11 && first == 1 {
            // Already E.164.
        } else if has_prefix(digits, numbering.national_prefix, national) {
            digits = with_country_code(numbering, shift_out(digits, more, national));
            count = count - national + numbering.country_code_digits as u32;
        } else if numbering.bare_national != 0 {
            digits = with_country_code(numbering, digits);
            count += numbering.country_code_digits as u32;
        }
    }
    number.format = NumberFormat::Valid;
    number.digits = if count < 255 { count as u8 } else { 255 };
    number.key = if count > MAX_DIGITS {
        digits & !0xf | OVERFLOW
    } else if count == 0 {
        // Only the international prefix.
        number.format = NumberFormat::NotANumber;
        0
    } else {
        let shift = 60 - 4 * (count & 15);
        digits & (!0xf << shift) | TERMINATOR << shift
    };
    number
}

/// True if `digits` begin with the `count` digits of `prefix`, and there is such a prefix.
#[inline(always)]
fn has_prefix(digits: u64, prefix: u64, count: u32) -> bool {
    count != 0 && (digits ^ prefix) >> (64 - 4 * (count & 15)) == 0
}

/// Takes the first `count` digits (1 to 15) out.
#[inline(always)]
fn shift_out(digits: u64, more: u64, count: u32) -> u64 {
    let shift = 4 * (count & 15);
    digits << shift | more >> (64 - shift)
}

/// Puts the country code in front.
#[inline(always)]
fn with_country_code(numbering: &Numbering, digits: u64) -> u64 {
    numbering.country_code | digits >> (4 * (numbering.country_code_digits as u32 & 15))
}

/// True if the first `count` digits of two keys are the same and both have that many.
#[inline(always)]
#[must_use]
pub fn neighbors(a: &Number, b: &Number, count: u32) -> bool {
    count != 0
        && a.digits as u32 >= count
        && b.digits as u32 >= count
        && (a.key ^ b.key) >> (64 - 4 * (count & 15)) == 0
}
