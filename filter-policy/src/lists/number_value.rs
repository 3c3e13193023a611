//! What a list or a condition holds as one value: a number, a range of numbers, or an emergency service.

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

    /// Whether it is a range.
    pub(crate) fn is_range(&self) -> bool {
        matches!(self, Self::Range { .. })
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

/// A range, such as `+1605562 0100-0199` or `16055620100-16055620199`. None if the text is one number: dashes are also written
/// inside numbers. Where people could read it either way, it is a mistake that says how to write each.
fn range(
    text: &[u8],
    as_number: &Result<NumberEntry, Mistake>,
    form: &NumberForm<'_>,
) -> Option<Result<NumberValue, Mistake>> {
    let (body, exact) = without_dollar(text);
    let split = Split::of(body)?;
    let whole = 0..text.len();
    let mistake = |message: String, help: &str| Mistake::new(Code::BadNumber, whole.clone(), message).help(help);
    match split.reading(Length::of(as_number)) {
        Reading::OneNumber => return None,
        Reading::Doubtful => {
            let (before, after) = (shown(&body[..split.dash]), shown(&body[split.dash + 1..]));
            let dollar = if exact { "$" } else { "" };
            let message = format!("`{}` could be a range, or one number with a dash in it", shown(text));
            let help = format!(
                "for the range, write spaces around the dash: `{before} - {after}{dollar}`; for the number, leave the dash out: \
                 `{before}{after}{dollar}`"
            );
            return Some(Err(mistake(message, &help)));
        }
        Reading::OddLengths => {
            let (low, high) = (count_of(split.low), count_of(split.high));
            let message = format!("the ends of this range have {low} and {high} digits");
            let help = "write both ends with all their digits, such as `+1605562 0100 - 0199`";
            return Some(Err(mistake(message, help)));
        }
        Reading::Range => {}
    }
    let ends = number(&[split.common, split.low].concat(), form).and_then(|low| {
        let high = [split.common, split.high].concat();
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

/// A text with a dash, as the two ends of a range.
#[derive(Debug)]
struct Split<'a> {
    /// The digits that both ends have in front, with what separates them.
    common: &'a [u8],
    /// The rest of the lower end.
    low: &'a [u8],
    /// The rest of the upper end.
    high: &'a [u8],
    /// Where the dash is.
    dash: usize,
    /// White space on both sides of the dash, or a plus after it, say that a range begins and ends there.
    is_marked: bool,
}

/// What a text with a dash says.
enum Reading {
    /// Either of the two.
    Doubtful,
    /// One number.
    OneNumber,
    /// A range whose ends do not fit together.
    OddLengths,
    /// A range.
    Range,
}

/// How the number that a text would be without its dashes fits the numbers of its country.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Length {
    Complete,
    Incomplete,
    TooLong,
}

impl Length {
    fn of(number: &Result<NumberEntry, Mistake>) -> Self {
        let Ok(number) = number else { return Self::TooLong };
        match numbering::lengths(number.digits, number.length) {
            Some((_, _, most)) if number.length > most => Self::TooLong,
            Some((_, fewest, _)) if number.length >= fewest => Self::Complete,
            Some(_) | None => Self::Incomplete,
        }
    }
}

impl<'a> Split<'a> {
    /// The text at the dash that would be the range's; none if no dash can be.
    fn of(body: &'a [u8]) -> Option<Self> {
        // Nearly all texts have none.
        let last = body.iter().rposition(|&byte| byte == b'-')?;
        let dashes = || (0..body.len()).filter(|&at| body[at] == b'-');
        let is_space = |at: Option<usize>| at.and_then(|at| body.get(at)).is_some_and(u8::is_ascii_whitespace);
        let mut spaced = dashes().filter(|&at| is_space(at.checked_sub(1)) && is_space(Some(at + 1)));
        let spaced = spaced.next().filter(|_| spaced.next().is_none());
        let before_plus = || dashes().find(|&at| at > 0 && body[at + 1..].trim_ascii_start().starts_with(b"+"));
        let marked = spaced.or_else(before_plus);
        let dash = marked.unwrap_or(last);
        let (low, high) = (body[..dash].trim_ascii(), body[dash + 1..].trim_ascii());
        // `+44 20 - 7946` has as many digits on both sides by chance.
        let is_group = |text: &[u8]| text.strip_prefix(b"+").unwrap_or(text).iter().all(u8::is_ascii_digit);
        let are_alike = is_group(low) == is_group(high) || count_of(low) >= WHOLE_NUMBER;
        if marked.is_some() && are_alike && count_of(low) == count_of(high) {
            return Some(Self { common: &[], low, high, dash, is_marked: true });
        }
        // In the short form, the digits that both ends have in front are written once.
        let digits = low.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
        let (common, low) = low.split_at(low.len() - digits);
        let is_plain = !low.is_empty() && !high.is_empty() && high.iter().all(u8::is_ascii_digit);
        (is_plain || marked.is_some()).then_some(Self { common, low, high, dash, is_marked: marked.is_some() })
    }

    /// How people read it. A dash separates the digits of one number as often as it stands between the ends of a range, so what
    /// is not clearly one of the two is in doubt.
    fn reading(&self, length: Length) -> Reading {
        let Self { common, low, high, .. } = self;
        let has_common = common.iter().any(u8::is_ascii_digit);
        if self.is_marked {
            // `+1 605 562 - 0100`, but not `10 - 100`.
            let is_one = low.len() != high.len() && has_common && length != Length::TooLong && !high.starts_with(b"+");
            return match count_of(low) == count_of(high) {
                true => Reading::Range,
                false if is_one => Reading::OneNumber,
                false => Reading::OddLengths,
            };
        }
        if low.len() != high.len() {
            return if length == Length::TooLong { Reading::OddLengths } else { Reading::OneNumber };
        }
        if length == Length::TooLong {
            return Reading::Range;
        }
        // A national prefix, or the end of a range before its begin.
        if low > high || low[0] == b'0' && high[0] != b'0' && !is_block(low, high) {
            return Reading::OneNumber;
        }
        if !has_common {
            // A country code and an area code, or an area code and an exchange, are written so, too.
            let may_be_codes = low.len() < 3 || low.len() == 3 && low[0] >= b'2';
            let is_range = low.len() >= WHOLE_NUMBER || is_block(low, high) && !may_be_codes;
            return if is_range { Reading::Range } else { Reading::Doubtful };
        }
        if common.ends_with(b"-") {
            // Dashes everywhere: `1-202-555`.
            let is_doubtful = low.len() == 1 || is_block(low, high);
            return if is_doubtful { Reading::Doubtful } else { Reading::OneNumber };
        }
        match (length, is_block(low, high)) {
            _ if low.len() == 1 => Reading::Range,
            (Length::Complete, false) => Reading::OneNumber,
            (Length::Incomplete, true) => Reading::Range,
            (Length::Complete, true) | (Length::Incomplete, false) | (Length::TooLong, _) => Reading::Doubtful,
        }
    }
}

/// True if the ends are those of a block: after the digits that they share, zeros and nines. `100` and `199`, `2000` and `3999`.
fn is_block(low: &[u8], high: &[u8]) -> bool {
    let zeros = low.iter().rev().take_while(|&&digit| digit == b'0').count();
    let nines = high.iter().rev().take_while(|&&digit| digit == b'9').count();
    let rest = low.len() - zeros.min(nines);
    rest < low.len() && (rest <= 1 || low[..rest - 1] == high[..rest - 1])
}

fn count_of(text: &[u8]) -> usize {
    text.iter().filter(|byte| byte.is_ascii_digit()).count()
}

fn shown(text: &[u8]) -> String {
    String::from_utf8_lossy(text.trim_ascii()).into_owned()
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

fn without_dollar(text: &[u8]) -> (&[u8], bool) {
    text.strip_suffix(b"$").map_or((text, false), |body| (body, true))
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
    fn a_range_is_read_as_people_write_it() {
        for (text, form, entries) in [
            // Blocks.
            ("1000-1999", &E164, &["1"][..]),
            ("100-199", &E164, &["1"]),
            ("2000-2099", &NATIONAL, &["120"]),
            ("+1605562 0-9", &E164, &["1605562"]),
            ("+1605562 2-3", &E164, &["16055622", "16055623"]),
            ("+1605 5620-5629", &E164, &["1605562"]),
            // More digits than a number has.
            ("+1 (605) 562-0100-0199", &E164, &["160556201"]),
            ("+1-605-562 0100-0199", &E164, &["160556201"]),
            ("1-605-562-0100-0199", &E164, &["160556201"]),
            ("605-562-0100-0199", &NATIONAL, &["160556201"]),
            // Marked as one.
            ("911 - 911", &E164, &["911"]),
            ("202 - 204", &E164, &["202", "203", "204"]),
            ("+202-+204", &E164, &["202", "203", "204"]),
            ("605-562-0100 - 605-562-0199", &NATIONAL, &["160556201"]),
            ("+1 (605) 562-0100 - +1 (605) 562-0199", &E164, &["160556201"]),
            ("+1-605-562-0100-+1-605-562-0199", &E164, &["160556201"]),
            ("+1 605 562 0100 - 0199", &E164, &["160556201"]),
            ("+1 605 562-0100 - 0199", &E164, &["160556201"]),
            ("+44 20 79 - 80$", &E164, &["442079$", "442080$"]),
        ] {
            assert_eq!(written_out(text, form), entries, "{text}");
        }
    }

    #[test]
    fn a_number_with_dashes_is_a_number() {
        for (text, form, entry) in [
            ("+1 202-555-0100", &E164, "12025550100"),
            ("1-605-562-0100", &E164, "16055620100"),
            ("1-202-555", &E164, "1202555"),
            ("1-202-555-1", &E164, "12025551"),
            ("202-555-0100$", &NATIONAL, "12025550100$"),
            ("+1 (202) 555-0100$", &E164, "12025550100$"),
            ("+1 605 562 - 0100", &E164, "16055620100"),
            ("+49 30 1234-5678", &E164, "493012345678"),
            ("030 1234-5678", &GERMAN, "493012345678"),
            ("030-123", &GERMAN, "4930123"),
            ("030 1234-56", &GERMAN, "4930123456"),
            ("+33 1-42-68-53-00", &E164, "33142685300"),
            ("+44 20 - 7946", &E164, "44207946"),
            ("555-0100", &E164, "5550100"),
            ("605-562", &NATIONAL, "1605562"),
            ("(202)-555", &NATIONAL, "1202555"),
        ] {
            assert_eq!(written_out(text, form), [entry], "{text}");
        }
    }

    #[test]
    fn what_could_be_either_is_a_mistake_that_says_how_to_write_each() {
        for (text, form, range, number) in [
            ("202-555", &E164, "202 - 555", "202555"),
            ("202-555", &NATIONAL, "202 - 555", "202555"),
            ("911-911", &E164, "911 - 911", "911911"),
            ("33-45", &E164, "33 - 45", "3345"),
            ("1-9$", &E164, "1 - 9$", "19$"),
            ("12345-12399", &E164, "12345 - 12399", "1234512399"),
            ("+44 20 1000-1999", &E164, "+44 20 1000 - 1999", "+44 20 10001999"),
            ("+1605 562-600", &E164, "+1605 562 - 600", "+1605 562600"),
            ("1-605-562-0-9", &E164, "1-605-562-0 - 9", "1-605-562-09"),
        ] {
            let mistake = number_value(text.as_bytes(), form).expect_err(text);
            assert_eq!((mistake.code, mistake.span.clone()), (Code::BadNumber, 0..text.len()), "{text}");
            assert!(mistake.message.ends_with("could be a range, or one number with a dash in it"), "{mistake:?}");
            let help = mistake.help.unwrap_or_default();
            assert!(help.contains(&format!("`{range}`")) && help.contains(&format!("`{number}`")), "{text}: {help}");
            // What it advises is what it says.
            let advised = number_value(range.as_bytes(), form).unwrap_or_else(|mistake| panic!("{range}: {mistake:?}"));
            assert!(matches!(advised, NumberValue::Range { .. }), "{range}");
            assert_eq!(written_out(number, form), [digits(&super::number(number.as_bytes(), form).unwrap())]);
        }
    }

    #[test]
    fn a_mistake_in_a_range_says_what_is_wrong() {
        for (text, form, message) in [
            ("+1605562 0199-0100", &E164, "this range ends before it begins"),
            ("16055620100-160556201", &E164, "the ends of this range have 11 and 9 digits"),
            ("+1605562 0100-199", &E164, "the ends of this range have 4 and 3 digits"),
            ("1-605-562-0100-1-605-562-0199", &E164, "the ends of this range have 3 and 4 digits"),
            ("10 - 100", &E164, "the ends of this range have 2 and 3 digits"),
            ("605 - 562", &E164, "this range ends before it begins"),
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
        fn a_range_with_spaces_around_its_dash_is_one(length in 1..11_usize, one in 0..10_000_000_000_u64, more in 0..1_000_u64) {
            let low = one % 10_u64.pow(length as u32);
            let high = (low + more).min(10_u64.pow(length as u32) - 1);
            let text = format!("{low:0length$} - {high:0length$}");
            let value = number_value(text.as_bytes(), &E164).expect("it is a range");
            let NumberValue::Range { low: written, entries } = value else { panic!("{text} is one number") };
            prop_assert_eq!(digits(&written), format!("{low:0length$}"));
            prop_assert_eq!(entries, prefixes(low, high, length as u8));
        }

        #[test]
        fn a_number_in_groups_is_never_a_range(
            area in "[2-9][0-9]{2}", exchange in "[2-9][0-9]{2}", line in "[0-9]{4}", form in 0..6_usize,
        ) {
            let text = match form {
                0 => format!("1-{area}-{exchange}-{line}"),
                1 => format!("+1-{area}-{exchange}-{line}"),
                2 => format!("+1 {area}-{exchange}-{line}"),
                3 => format!("+1 ({area}) {exchange}-{line}"),
                4 => format!("1.{area}.{exchange}-{line}"),
                _ => format!("1 {area} {exchange} - {line}"),
            };
            prop_assert_eq!(written_out(&text, &E164), [format!("1{area}{exchange}{line}")]);
        }

        #[test]
        fn two_groups_of_as_many_digits_are_one_number_only_if_they_are_no_range(low in "[1-9][0-9]{0,6}", high in "[0-9]{7}") {
            let high = &high[..low.len()];
            let text = format!("{low}-{high}");
            match number_value(text.as_bytes(), &E164) {
                Ok(NumberValue::One(entry)) => {
                    prop_assert!(low.as_str() > high, "{}", text);
                    prop_assert_eq!(digits(&entry), format!("{low}{high}"));
                }
                Ok(NumberValue::Range { low: written, .. }) => {
                    prop_assert!(low.as_str() <= high, "{}", text);
                    prop_assert_eq!(digits(&written), low);
                }
                Err(mistake) => prop_assert!(mistake.help.is_some(), "{:?}", mistake),
            }
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
