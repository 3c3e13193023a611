//! Telephone numbers as lists and policies write them.

use std::ops::Range;

use filter_core::{
    digits,
    layout::Numbering,
    limits::MAX_DIGITS,
    number::{normalise, normalise_prefix, without_trunk_zero},
    trie::SHORT_CODE_DIGITS,
};

use super::Mistake;
use crate::{
    language::diagnostics::Code,
    model::{NumberEntry, NumberingPlan},
    numbering::{self, bcd, emergency, numbering_plan},
};

/// How the numbers of a list are written.
#[derive(Clone, Debug)]
pub struct NumberForm<'a> {
    /// True: as they are dialled in the plan's country; false: E.164.
    pub(crate) national: bool,
    /// The plan by which national numbers become E.164.
    pub(crate) plan: &'a NumberingPlan,
    /// The plan as the engine reads it. What is not dialled with a prefix is national.
    numbering: Numbering,
}

impl<'a> NumberForm<'a> {
    /// Numbers as they are dialled in the plan's country, if `national`; otherwise E.164.
    #[must_use]
    pub fn new(national: bool, plan: &'a NumberingPlan) -> Self {
        Self { national, plan, numbering: Numbering { bare_national: 1, ..numbering_plan(plan) } }
    }
}

/// Parses a number prefix or, with a `$` after it, an exact number. The line and score of the entry are 0.
///
/// The engine reads the digits, and makes national numbers E.164: so an entry is about the numbers that messages write like it.
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
    let control = body.iter().position(|&byte| byte.is_ascii_control() && byte != b'\t');
    let read = control.map_or_else(|| digits::read_text(body), Err).map_err(|at| {
        let shown = String::from_utf8_lossy(text);
        bad(at..at + 1, format!("`{shown}` is not a number")).help(help(body[at]))
    })?;
    let whole = 0..text.len();
    let count = usize::from(read.digit_count);
    if count == 0 {
        return Err(bad(whole, "a number without digits".into()));
    }
    if count > MOST {
        return Err(bad(whole, format!("{count} digits: numbers have at most {MOST} (E.164)")));
    }
    if !form.national {
        return Ok(NumberEntry { digits: read.digits, length: count as u8, exact, score: 0, line: 0 });
    }
    let is_whole = exact || count > SHORT_CODE_DIGITS as usize;
    let number =
        if is_whole { normalise(&form.numbering, &read, false) } else { normalise_prefix(&form.numbering, &read) };
    let length = usize::from(number.digits);
    if length > MOST {
        return Err(bad(whole, format!("{length} digits with the country code: numbers have at most {MOST} (E.164)")));
    }
    let digits = number.key & !0 << (64 - 4 * length);
    // (Only if there are so few digits: lists are long, and this allocates.)
    let is_country = number.short_code == 0
        && length <= form.plan.country_code.len()
        && form.plan.country_code.starts_with(&bcd::text(digits, number.digits));
    if is_country {
        let is_prefix = form.plan.national_prefix == bcd::text(read.digits, read.digit_count as u8);
        return Err(if is_prefix {
            bad(whole, "no digits remain after the national prefix".into())
        } else {
            bad(whole, "this is every number of the country".into())
                .help("lists of national numbers hold area codes, or more digits")
        });
    }
    Ok(NumberEntry { digits, length: length as u8, exact, score: 0, line: 0 })
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
    let (without, length) = without_trunk_zero(entry.digits, entry.length.into());
    if length != u32::from(entry.length) {
        return Some(
            warning(format!("numbers of +{country} are looked up without the 0 after the country code"))
                .help(format!("write `{}`", bcd::text(without, length as u8))),
        );
    }
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
            // As the engine reads them in messages.
            ("49305550102$", &GERMAN, "49305550102$"),
            ("305550102$", &GERMAN, "49305550102$"),
            ("030 5550102$", &GERMAN, "49305550102$"),
            ("+49 (0)30 5550102$", &GERMAN, "49305550102$"),
            ("+49 (0)30 5550102$", &E164, "49305550102$"),
            ("+39 (0)6 12345678$", &GERMAN, "390612345678$"),
            ("0049 30 5550102$", &GERMAN, "49305550102$"),
            ("0044 20", &GERMAN, "4420"),
            ("011 44 20 7946 0123$", &NATIONAL, "442079460123$"),
            ("+011 44 20 7946 0123$", &NATIONAL, "442079460123$"),
            ("911$", &NATIONAL, "911$"),
            ("110$", &GERMAN, "110$"),
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
            ("12\u{1}3", &E164, 2..3),
            ("12*3", &E164, 2..3),
            ("49", &GERMAN, 0..2),
            ("+49", &GERMAN, 0..3),
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
