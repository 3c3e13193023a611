//! What a list or a condition holds as one value: a number, a range of numbers, or an emergency service.

use std::ops::Range;

use super::{Mistake, NumberForm, numbers::number};
use crate::{
    language::diagnostics::Code,
    model::NumberEntry,
    numbering::{self, bcd, emergency},
};

/// Entries that a range may have, written out.
const MAX_ENTRIES: u64 = 10_000;

/// From this many digits on, two groups of as many digits are the ends of a range, and not one number.
const WHOLE_NUMBER: usize = 7;

/// A value.
#[derive(Debug)]
pub(crate) enum NumberValue {
    /// A prefix, an exact number, or an emergency service.
    One(NumberEntry),
    /// A range.
    Range {
        /// Its lower end, as it would be written alone.
        low: NumberEntry,
        /// All of it, in as few entries as possible.
        entries: Vec<NumberEntry>,
    },
}

impl NumberValue {
    /// The number as written; of a range, its lower end.
    pub(crate) fn written(&self) -> &NumberEntry {
        match self {
            Self::One(entry) | Self::Range { low: entry, .. } => entry,
        }
    }

    /// The entries that it stands for.
    pub(crate) fn entries(&self) -> &[NumberEntry] {
        match self {
            Self::One(entry) => std::slice::from_ref(entry),
            Self::Range { entries, .. } => entries,
        }
    }
}

/// Parses a value. The lines and scores of its entries are 0.
///
/// # Errors
///
/// What is wrong with it, and where.
pub(crate) fn number_value(text: &[u8], form: &NumberForm<'_>) -> Result<NumberValue, Mistake> {
    if let Some(service) = emergency_service(text) {
        return service.map(NumberValue::One);
    }
    let number = number(text, form);
    match range(text, &number, form) {
        Some(range) => range,
        None => number.map(NumberValue::One),
    }
}

/// None if the text is no URN.
fn emergency_service(text: &[u8]) -> Option<Result<NumberEntry, Mistake>> {
    let (urn, exact) = without_dollar(text);
    let urn = std::str::from_utf8(urn).ok()?;
    let entry = |(digits, length)| NumberEntry { digits, length, exact, score: 0, line: 0 };
    let mistake = |mistake| {
        let message = match mistake {
            emergency::Mistake::NotEmergency => format!("`{urn}` is not an emergency service"),
            emergency::Mistake::UnknownService => {
                format!("`{urn}` can only be matched together with all other emergency services")
            }
        };
        Mistake::new(Code::BadNumber, 0..urn.len(), message).help(emergency::help())
    };
    Some(emergency::parse(urn)?.map(entry).map_err(mistake))
}

/// A range, such as `+1605562 0100-0199` or `16055620100-16055620199`. None if the text is none: hyphens are also written inside
/// numbers. What can be read as a number is one, unless whole numbers are on both sides of the hyphen.
fn range(
    text: &[u8],
    as_number: &Result<NumberEntry, Mistake>,
    form: &NumberForm<'_>,
) -> Option<Result<NumberValue, Mistake>> {
    let (body, exact) = without_dollar(text);
    let hyphen = body.iter().position(|&byte| byte == b'-')?;
    let is_number = |text: &[u8]| !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    let low_end = trimmed(body, 0..hyphen);
    let high_end = trimmed(body, hyphen + 1..body.len());
    let high = body[high_end.clone()].strip_prefix(b"+").unwrap_or(&body[high_end.clone()]);
    // In the short form, the digits that both ends begin with come first, as a word of their own.
    let words = low_end.start + body[low_end.clone()].iter().rposition(u8::is_ascii_whitespace).map_or(0, |at| at + 1);
    let common = &body[low_end.start..words];
    let low = &body[words..low_end.end];
    let low = if common.is_empty() { low.strip_prefix(b"+").unwrap_or(low) } else { low };
    if !is_number(low) || !is_number(high) {
        return None;
    }
    let are_whole = common.is_empty() && low.len() == high.len() && low.len() >= WHOLE_NUMBER;
    if !are_whole && as_number.as_ref().is_ok_and(has_possible_length) {
        return None;
    }
    let whole = 0..text.len();
    let mistake = |message: String, help: &str| Mistake::new(Code::BadNumber, whole.clone(), message).help(help);
    if low.len() != high.len() {
        let message = format!("the ends of this range have {} and {} digits", low.len(), high.len());
        return Some(Err(mistake(message, "write both ends with all their digits, such as `+1605562 0100-0199`")));
    }
    let ends = number(&body[low_end.clone()], form).and_then(|low| {
        let high = [common, &body[high_end.clone()]].concat();
        Ok((low, number(&high, form)?))
    });
    let (low, high) = match ends {
        Ok(ends) => ends,
        Err(end) => return Some(Err(Mistake { span: whole, ..end })),
    };
    if low.length != high.length {
        let message = format!("the ends of this range have {} and {} digits", low.length, high.length);
        return Some(Err(mistake(message, "write both ends in the same form")));
    }
    let (first, last) = (value(&low), value(&high));
    if first > last {
        return Some(Err(mistake("this range ends before it begins".to_owned(), "write the lower number first")));
    }
    if exact && last - first >= MAX_ENTRIES {
        let message = format!("{} numbers: a range of exact numbers has at most {MAX_ENTRIES}", last - first + 1);
        return Some(Err(mistake(message, "leave the `$` out to mean every number that begins with these digits")));
    }
    let low = NumberEntry { exact, ..low };
    let entries = if exact {
        (first..=last).map(|number| entry(number, low.length, true)).collect()
    } else {
        prefixes(first, last, low.length)
    };
    Some(Ok(NumberValue::Range { low, entries }))
}

/// The fewest prefixes that begin all numbers from `first` to `last`, and no others of this many digits.
fn prefixes(mut first: u64, last: u64, length: u8) -> Vec<NumberEntry> {
    let mut entries = Vec::new();
    while first <= last {
        let (mut size, mut digits) = (1_u64, length);
        while digits > 1 && first.is_multiple_of(size * 10) && last - first >= size * 10 - 1 {
            size *= 10;
            digits -= 1;
        }
        entries.push(entry(first / size, digits, false));
        first += size;
    }
    entries
}

fn entry(value: u64, length: u8, exact: bool) -> NumberEntry {
    let digits = bcd::pack(&format!("{value:0>width$}", width = usize::from(length))).unwrap_or(0);
    NumberEntry { digits, length, exact, score: 0, line: 0 }
}

/// The digits as a number.
fn value(entry: &NumberEntry) -> u64 {
    (0..entry.length).fold(0, |value, index| value * 10 + u64::from(bcd::digit(entry.digits, index)))
}

/// True if numbers with the entry's country code can be this long.
fn has_possible_length(entry: &NumberEntry) -> bool {
    numbering::lengths(entry.digits, entry.length).is_none_or(|(_, _, most)| entry.length <= most)
}

fn without_dollar(text: &[u8]) -> (&[u8], bool) {
    text.strip_suffix(b"$").map_or((text, false), |body| (body, true))
}

/// The range without the white space at both of its ends.
fn trimmed(text: &[u8], range: Range<usize>) -> Range<usize> {
    let part = &text[range.clone()];
    let start = range.start + (part.len() - part.trim_ascii_start().len());
    start..start + part.trim_ascii().len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::lists::test_lists::{E164, GERMAN, NATIONAL, digits};

    fn written_out(text: &str, form: &NumberForm<'_>) -> Vec<String> {
        let value = number_value(text.as_bytes(), form).unwrap_or_else(|mistake| panic!("{text}: {mistake:?}"));
        value.entries().iter().map(digits).collect()
    }

    #[test]
    fn a_range_becomes_the_fewest_prefixes() {
        for (text, form, entries) in [
            ("+1605562 0100-0199", &E164, &["160556201"][..]),
            ("16055620100-16055620199", &E164, &["160556201"]),
            ("+16055620100 - +16055620199", &E164, &["160556201"]),
            ("605562 0100-0199", &NATIONAL, &["160556201"]),
            ("6055620100-6055620199", &NATIONAL, &["160556201"]),
            ("4930123-4930126", &E164, &["4930123", "4930124", "4930125", "4930126"]),
            ("0301200000-0301299999", &GERMAN, &["493012"]),
            (
                "16055620098-16055620201",
                &E164,
                &["16055620098", "16055620099", "160556201", "16055620200", "16055620201"],
            ),
            ("1605562 0100-0100", &E164, &["16055620100"]),
            ("1000000-9999999", &E164, &["1", "2", "3", "4", "5", "6", "7", "8", "9"]),
            ("16055620100-16055620102$", &E164, &["16055620100$", "16055620101$", "16055620102$"]),
        ] {
            assert_eq!(written_out(text, form), entries, "{text}");
        }
    }

    #[test]
    fn a_number_with_hyphens_is_a_number() {
        for (text, form, entry) in [
            ("+1 202-555-0100", &E164, "12025550100"),
            ("+1 (202) 555-0100$", &E164, "12025550100$"),
            ("+49 30 1234-5678", &E164, "493012345678"),
            ("030 1234-5678", &GERMAN, "493012345678"),
            ("555-0100", &E164, "5550100"),
            ("605-562", &NATIONAL, "1605562"),
        ] {
            assert_eq!(written_out(text, form), [entry], "{text}");
        }
    }

    #[test]
    fn a_mistake_in_a_range_says_what_is_wrong() {
        for (text, form, message) in [
            ("+1605562 0199-0100", &E164, "this range ends before it begins"),
            ("16055620100-160556201", &E164, "the ends of this range have 11 and 9 digits"),
            ("+1605562 0100-199", &E164, "the ends of this range have 4 and 3 digits"),
            ("16055620000-16055629999$", &E164, ""),
            ("16055620000-16055630000$", &E164, "10001 numbers: a range of exact numbers has at most 10000"),
            ("1234567890123456-1234567890123457", &E164, "16 digits: numbers have at most 15 (E.164)"),
        ] {
            let found = number_value(text.as_bytes(), form).map_or_else(|mistake| mistake.message, |_| String::new());
            assert_eq!(found, message, "{text}");
        }
    }

    #[test]
    fn an_emergency_service_is_a_value() {
        for (text, digits, length, exact) in [
            ("urn:service:sos", 0xaa << 56, 2, false),
            ("urn:service:sos$", 0xaa << 56, 2, true),
            ("urn:service:sos.police", 0xaa9 << 52, 3, false),
        ] {
            let value =
                number_value(text.as_bytes(), &NATIONAL).unwrap_or_else(|mistake| panic!("{text}: {mistake:?}"));
            let entry = value.written();
            assert_eq!((entry.digits, entry.length, entry.exact), (digits, length, exact), "{text}");
        }
        let mistake = number_value(b"urn:service:sos.plumber$", &E164).expect_err("no service has this name");
        assert_eq!((mistake.code, mistake.span), (Code::BadNumber, 0..23));
    }

    proptest! {
        #[test]
        fn the_prefixes_of_a_range_are_its_numbers_and_no_others(one in 0..100_000_u64, other in 0..100_000_u64) {
            let (first, last) = (one.min(other), one.max(other));
            let entries = prefixes(first, last, 5);
            for number in [0, first.saturating_sub(1), first, first.midpoint(last), last, last + 1, 99_999] {
                let text = format!("{number:05}");
                if text.len() > 5 {
                    continue;
                }
                let count = entries.iter().filter(|entry| text.starts_with(&digits(entry))).count();
                prop_assert_eq!(count, usize::from((first..=last).contains(&number)), "{}", text);
            }
            prop_assert!(entries.len() <= 2 * 9 * 5);
        }

        #[test]
        fn any_bytes_are_a_value_or_a_mistake(text in "[+0-9 $-]{0,36}") {
            for form in [&E164, &NATIONAL, &GERMAN] {
                if let Ok(value) = number_value(text.as_bytes(), form) {
                    prop_assert!((1..=10_000).contains(&value.entries().len()));
                }
            }
        }
    }
}
