//! Telephone numbers as lists and policies write them.

use std::ops::Range;

use filter_core::{limits::MAX_DIGITS, trie::SHORT_CODE_DIGITS};

use super::Mistake;
use crate::{
    language::diagnostics::Code,
    model::NumberEntry,
    numbering::{self, bcd, emergency},
};

/// How the numbers of a list are written.
#[derive(Clone, Debug)]
pub struct NumberForm<'a> {
    /// True: national numbers of the country; false: E.164.
    pub national: bool,
    /// The country code's digits.
    pub country_code: &'a str,
    /// The national prefix's digits; empty for none.
    pub national_prefix: &'a str,
}

/// Parses a number prefix or, with a `$` after it, an exact number. The line and score of the entry are 0.
///
/// # Errors
///
/// What is wrong with it, and where.
pub(crate) fn number(text: &[u8], form: &NumberForm<'_>) -> Result<NumberEntry, Mistake> {
    const MOST: usize = MAX_DIGITS as usize;
    let bad = |span: Range<usize>, message: String| Mistake::new(Code::BadNumber, span, message);
    let (body, exact) = match text.strip_suffix(b"$") {
        Some(body) => (body, true),
        None => (text, false),
    };
    let (body, plus) = match body.strip_prefix(b"+") {
        Some(rest) => (rest, true),
        None => (body, false),
    };
    let mut digits = [0_u8; MOST];
    let mut count = 0;
    for (at, &byte) in body.iter().enumerate() {
        match byte {
            b'0'..=b'9' => {
                if let Some(digit) = digits.get_mut(count) {
                    *digit = byte;
                }
                count += 1;
            }
            b' ' | b'\t' | b'-' | b'.' | b'(' | b')' => {}
            _ => {
                let at = at + usize::from(plus);
                let shown = String::from_utf8_lossy(text);
                return Err(bad(at..at + 1, format!("`{shown}` is not a number")).help(help(byte)));
            }
        }
    }
    let whole = 0..text.len();
    if count == 0 {
        return Err(bad(whole, "a number without digits".into()));
    }
    if count > MOST {
        return Err(bad(whole, format!("{count} digits: numbers have at most {MOST} (E.164)")));
    }
    let digits = &digits[..count];
    // A national number of the NANP begins with 2 to 9: a 1 in front is already the country code.
    let national = form.national && !plus && !(form.country_code == "1" && digits[0] == b'1');
    let (code, rest) = if national {
        let prefix = form.national_prefix.as_bytes();
        (form.country_code.as_bytes(), digits.strip_prefix(prefix).unwrap_or(digits))
    } else {
        (&[][..], digits)
    };
    let length = code.len() + rest.len();
    if length > MOST {
        return Err(bad(whole, format!("{length} digits with the country code: numbers have at most {MOST} (E.164)")));
    }
    if rest.is_empty() {
        return Err(bad(whole, "no digits remain after the national prefix".into()));
    }
    if form.national
        && digits.len() <= form.country_code.len()
        && form.country_code.as_bytes().starts_with(digits)
        && !national
    {
        return Err(bad(whole, "this is every number of the country".into())
            .help("lists of national numbers hold area codes, or more digits"));
    }
    let packed = code.iter().chain(rest).fold(0_u64, |packed, digit| packed << 4 | u64::from(digit - b'0'));
    // `length` is at least 1 and at most 15, so the shift is 4 to 60 bits.
    let packed = packed << (64 - 4 * length);
    Ok(NumberEntry { digits: packed, length: length as u8, exact, score: 0, line: 0 })
}

/// How to fix a number that has this byte in it.
fn help(byte: u8) -> &'static str {
    match byte {
        b'*' | b'x' | b'X' | b'?' => "a number without `$` is already a prefix: leave the placeholder out",
        b'$' => "put the `$` at the end, for exactly this number",
        b'@' => "name a set in a rule's condition, not among the entries of a list",
        _ => {
            "digits, with `+` in front, white space and `-.()` between them, and `$` at the end for exactly this number"
        }
    }
}

/// The warning about a number that cannot be dialled. Short codes and numbers in area codes that do not exist are fine: lists
/// name them because no one should call from them.
#[must_use]
pub(crate) fn impossible(entry: &NumberEntry, span: Range<usize>) -> Option<Mistake> {
    let is_service = emergency::text(entry.digits).is_some();
    if is_service || (u32::from(entry.length) <= SHORT_CODE_DIGITS && entry.exact) {
        return None;
    }
    let warning = |message: String| Mistake::new(Code::ImpossibleNumber, span.clone(), message);
    if bcd::digit(entry.digits, 0) == 0 {
        return Some(warning("no E.164 number begins with 0".into()).help(
            "write the country code, without a national or international prefix; or set `format = \"national\"` in the set",
        ));
    }
    let Some((country, fewest, most)) = numbering::lengths(entry.digits, entry.length) else {
        return (!numbering::may_begin_with(entry.digits, entry.length)).then(|| {
            warning("no country code begins with these digits".into())
                .help("numbers are written with their country code first, in E.164 form")
        });
    };
    if entry.length > most {
        return Some(warning(format!("{} digits, but numbers of +{country} have at most {most}", entry.length)));
    }
    if entry.exact && entry.length < fewest {
        return Some(
            warning(format!("{} digits, but numbers of +{country} have at least {fewest}", entry.length))
                .help("leave the `$` out to mean every number that begins with these digits"),
        );
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::lists::test_lists::{E164, GERMAN, NATIONAL, digits};

    #[test]
    fn numbers_are_read_in_all_their_spellings() {
        for (written, form, read) in [
            ("12025550100$", &E164, "12025550100$"),
            ("+1 (202) 555-01.00$", &E164, "12025550100$"),
            ("1605562", &E164, "1605562"),
            ("911$", &E164, "911$"),
            ("2025550100$", &NATIONAL, "12025550100$"),
            ("605", &NATIONAL, "1605"),
            ("12025550100$", &NATIONAL, "12025550100$"),
            ("+442079460123$", &NATIONAL, "442079460123$"),
            ("030 1234", &GERMAN, "49301234"),
            ("301234", &GERMAN, "49301234"),
            ("123456789012345", &E164, "123456789012345"),
        ] {
            let entry = number(written.as_bytes(), form).unwrap_or_else(|mistake| panic!("{written}: {mistake:?}"));
            assert_eq!(digits(&entry), read, "{written}");
        }
    }

    #[test]
    fn a_mistake_in_a_number_is_reported_at_its_place() {
        for (written, form, at) in [
            ("12x", &E164, 2..3),
            ("+12x", &E164, 3..4),
            ("1$2", &E164, 1..2),
            ("1234567890123456", &E164, 0..16),
            ("12345678901234", &GERMAN, 0..14),
            ("$", &E164, 0..1),
            ("+", &E164, 0..1),
            ("0", &GERMAN, 0..1),
            ("1", &NATIONAL, 0..1),
            ("++1", &E164, 1..2),
        ] {
            let mistake = number(written.as_bytes(), form).expect_err(written);
            assert_eq!((mistake.code, mistake.span), (Code::BadNumber, at), "{written}");
        }
    }

    proptest! {
        #[test]
        fn separators_between_digits_do_not_matter(text in "[0-9]([-. ()]?[0-9]){0,14}") {
            let entry = number(text.as_bytes(), &E164).expect("it has 1 to 15 digits");
            prop_assert_eq!(digits(&entry), text.replace(['-', '.', ' ', '(', ')'], ""));
        }
    }
}
