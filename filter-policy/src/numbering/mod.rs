//! Facts about the world's telephone numbers: country calling codes, lengths, North American area codes.
//!
//! Two of the tables beside this file come from libphonenumber's metadata: `cargo xtask numbering` writes them, with source and
//! date. The others say what that metadata lacks, and name their own sources. Rules of the North American Numbering Plan that the
//! metadata does not enforce are written down here: which area codes and exchanges cannot exist, and which numbers are reserved
//! for fiction.

pub(crate) mod bcd;
pub(crate) mod emergency;

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, LazyLock},
};

use filter_core::{
    layout::{NumberFormat, Numbering},
    limits::MAX_DIGITS,
    trie::SHORT_CODE_DIGITS,
};

use crate::model::{NumberRange, NumberingPlan};

const COUNTRIES: &str = include_str!("countries.tsv");
const AREA_CODES: &str = include_str!("nanp.tsv");

/// Area codes that are in service and that the metadata does not have yet, each with its source. The metadata can lag years behind:
/// without these, honest callers would count as callers from an unassigned area code.
const IN_SERVICE: &str = include_str!("nanp-in-service.tsv");

/// Lengths that the metadata does not have, each with its source.
const LENGTHS: &str = include_str!("country-lengths.tsv");

/// The country codes that are assigned: the metadata has only those of which it knows numbers.
const COUNTRY_CODES: &str = include_str!("country-codes.tsv");

/// Digits of a North American number, country code included.
const NANP_DIGITS: u8 = 11;

/// Regions of the USA and Canada (ISO 3166-2) that share their area codes with others, so the table does not have them.
const OTHER_REGIONS: [&str; 5] = ["CA-NS", "CA-NT", "CA-NU", "CA-PE", "CA-YT"];

struct Country {
    prefix: &'static str,
    country: &'static str,
    digits: (u8, u8),
}

struct AreaCode {
    code: &'static str,
    country: &'static str,
    region: &'static str,
}

/// Reads a table. The tables are checked in and a test reads every row, so a row that does not parse is skipped, without a panic.
fn rows<const COLUMNS: usize>(table: &'static str) -> impl Iterator<Item = [&'static str; COLUMNS]> {
    table
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split('\t').collect::<Vec<_>>().try_into().ok())
}

static TABLES: LazyLock<Tables> = LazyLock::new(|| {
    let lengths = rows::<5>(LENGTHS).map(|[prefix, country, fewest, most, _source]| [prefix, country, fewest, most]);
    let countries: Vec<Country> = rows::<4>(COUNTRIES)
        .chain(lengths)
        .filter_map(|[prefix, country, fewest, most]| {
            Some(Country { prefix, country, digits: (fewest.parse().ok()?, most.parse().ok()?) })
        })
        .collect();
    let in_service =
        rows::<6>(IN_SERVICE).map(|[code, country, region, _kind, _since, _source]| AreaCode { code, country, region });
    let area_codes: Vec<AreaCode> = rows::<4>(AREA_CODES)
        .map(|[code, country, region, _kind]| AreaCode { code, country, region })
        .chain(in_service)
        .collect();

    // No calling code is a prefix of another (E.164), so sorting puts each one directly before the prefixes that extend it.
    let mut sorted: Vec<&Country> = countries.iter().collect();
    sorted.sort_by_key(|country| country.prefix);
    let mut calling_codes = HashMap::from([(1, (NANP_DIGITS, NANP_DIGITS))]);
    let mut last: Option<(&str, u16)> = None;
    for country in sorted {
        let code = match last {
            Some((prefix, code)) if country.prefix.starts_with(prefix) => code,
            _ => country.prefix.parse().unwrap_or(0),
        };
        if last.is_none_or(|(_, known)| known != code) {
            last = Some((country.prefix, code));
        }
        let digits = calling_codes.entry(code).or_insert(country.digits);
        *digits = (digits.0.min(country.digits.0), digits.1.max(country.digits.1));
    }
    let assigned: BTreeSet<&'static str> = rows::<2>(COUNTRY_CODES).map(|[code, _holder]| code).collect();
    for code in assigned.iter().filter_map(|code| code.parse().ok()) {
        calling_codes.entry(code).or_insert(ANY_LENGTH);
    }

    let known = countries.iter().map(|country| country.country).chain(area_codes.iter().map(|area| area.country));
    Tables {
        assigned,
        known_countries: known.filter(|country| !country.is_empty()).collect(),
        known_regions: area_codes.iter().map(|area| area.region).chain(OTHER_REGIONS).collect(),
        countries,
        area_codes,
        calling_codes,
    }
});

/// Fewest and most digits of numbers of which the metadata has none: more than a short code, and as many as E.164 allows.
const ANY_LENGTH: (u8, u8) = (SHORT_CODE_DIGITS as u8 + 1, MAX_DIGITS as u8);

struct Tables {
    countries: Vec<Country>,
    area_codes: Vec<AreaCode>,
    assigned: BTreeSet<&'static str>,
    /// Calling code -> fewest and most digits, over all countries that share it.
    calling_codes: HashMap<u16, (u8, u8)>,
    known_countries: BTreeSet<&'static str>,
    known_regions: BTreeSet<&'static str>,
}

/// A numbering plan as the engine reads it.
#[must_use]
pub fn numbering_plan(plan: &NumberingPlan) -> Numbering {
    let digits = |digits: &str| bcd::pack(digits).unwrap_or(0);
    let (_, fewest_digits, most_digits) =
        lengths(digits(&plan.country_code), plan.country_code.len() as u8).unwrap_or((0, 0, MAX_DIGITS as u8));
    let mut numbering = Numbering {
        country_code: digits(&plan.country_code),
        national_prefix: digits(&plan.national_prefix),
        outside_prefix: digits(&plan.outside_prefix),
        country_code_digits: plan.country_code.len() as u8,
        national_prefix_digits: plan.national_prefix.len() as u8,
        outside_prefix_digits: plan.outside_prefix.len() as u8,
        bare_national: u8::from(plan.bare_national),
        fewest_digits,
        most_digits,
        ..Numbering::EMPTY
    };
    (numbering.international_prefixes, numbering.international_prefix_digits) = prefixes(&plan.international_prefixes);
    (numbering.strip, numbering.strip_digits) = prefixes(&plan.strip);
    numbering
}

/// Prefixes and their lengths, the longest first. What is too much is left out.
fn prefixes<const N: usize>(written: &[String]) -> ([u64; N], [u8; N]) {
    let (mut packed, mut counts) = ([0; N], [0; N]);
    let mut sorted: Vec<&String> = written.iter().collect();
    sorted.sort_by_key(|prefix| std::cmp::Reverse(prefix.len()));
    for (index, prefix) in sorted.into_iter().take(N).enumerate() {
        if let Some(digits) = bcd::pack_dialled(prefix) {
            (packed[index], counts[index]) = (digits, prefix.len() as u8);
        }
    }
    (packed, counts)
}

/// The first `count` digits of a BCD number as a value.
fn leading(digits: u64, count: u8) -> u16 {
    (0..count).fold(0, |value, index| value * 10 + u16::from(bcd::digit(digits, index)))
}

/// The calling code that a number begins with, and the fewest and most digits of its numbers, calling code included.
///
/// `digits` is BCD, `length` the number of digits. None if no such calling code is assigned, or if there are too few digits to
/// tell.
#[must_use]
pub fn lengths(digits: u64, length: u8) -> Option<(u16, u8, u8)> {
    (1..=length.min(3)).find_map(|count| {
        let code = leading(digits, count);
        TABLES.calling_codes.get(&code).map(|(fewest, most)| (code, *fewest, *most))
    })
}

/// A number as people read it, from its key in the number trie: its digits, or the URN of an emergency service. None if there is no
/// number.
#[must_use]
pub fn number_text(key: u64) -> Option<String> {
    if let Some(urn) = emergency::text(key) {
        return Some(urn);
    }
    let digits = (0..16).take_while(|&index| bcd::digit(key, index) <= 9).count();
    (key != 0 && digits > 0).then(|| bcd::text(key, digits as u8))
}

/// True if the digits (BCD) begin with a calling code, or are the beginning of one.
#[must_use]
pub fn may_begin_with(digits: u64, length: u8) -> bool {
    if lengths(digits, length).is_some() {
        return true;
    }
    let missing = u32::from(3_u8.saturating_sub(length));
    if missing == 0 || digits >> 60 == 0 {
        return false;
    }
    let first = leading(digits, length);
    let longer = |digits: u32| {
        let scale = 10_u16.pow(digits);
        (first * scale..(first + 1) * scale).any(|code| TABLES.calling_codes.contains_key(&code))
    };
    (1..=missing).any(longer)
}

/// True if the digits are a country calling code.
#[must_use]
pub fn is_country_code(code: &str) -> bool {
    let plain =
        (1..=3).contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_digit()) && !code.starts_with('0');
    plain && code.parse().is_ok_and(|code: u16| TABLES.calling_codes.contains_key(&code))
}

/// The calling code of a country (ISO 3166-1, upper case).
#[must_use]
pub fn country_code_of(country: &str) -> Option<&'static str> {
    if TABLES.area_codes.iter().any(|area| area.country == country) {
        return Some("1");
    }
    let found = TABLES.countries.iter().find(|known| known.country == country)?;
    (1..=3).map(|digits| &found.prefix[..digits.min(found.prefix.len())]).find(|code| is_country_code(code))
}

/// True for the ISO 3166-1 code (two upper-case letters) of a country that has telephone numbers.
#[must_use]
pub fn is_country(country: &str) -> bool {
    TABLES.known_countries.contains(country)
}

/// True for an ISO 3166-2 code. Only those of the USA and Canada are known individually; for others the form decides.
#[must_use]
pub fn is_region(region: &str) -> bool {
    if matches!(region.get(..3), Some("US-" | "CA-")) {
        return TABLES.known_regions.contains(region);
    }
    region.split_once('-').is_some_and(|(country, part)| {
        is_country(country) && (1..=3).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_alphanumeric())
    })
}

/// The day on which the built-in table of area codes was taken from its source: year, month, day.
#[must_use]
pub fn table_date() -> (u16, u8, u8) {
    let date = AREA_CODES
        .lines()
        .find_map(|line| line.rsplit_once("(Apache-2.0), ").map(|(_, date)| date.trim_end_matches('.')));
    let mut parts = date.unwrap_or_default().split('-').map(|part| part.parse::<u16>().unwrap_or(0));
    let mut next = || parts.next().unwrap_or(0);
    (next(), next() as u8, next() as u8)
}

/// Country and region of an area code that is in use. The region is empty if the area code has none, or several.
#[must_use]
pub fn area_code(code: &str) -> Option<(&'static str, &'static str)> {
    let area = TABLES.area_codes.iter().find(|area| area.code == code)?;
    Some((area.country, area.region))
}

/// True if the built-in table has numbers of this region.
#[must_use]
pub fn has_numbers_of(region: &str) -> bool {
    TABLES.area_codes.iter().any(|area| area.region == region)
}

/// The shortest prefixes with which no assigned country code begins.
fn unassigned_country_codes() -> Vec<String> {
    let assigned = &TABLES.assigned;
    let mut open = vec![String::new()];
    let mut unassigned = Vec::new();
    while let Some(prefix) = open.pop() {
        for digit in '0'..='9' {
            let code = format!("{prefix}{digit}");
            // An assigned code ends here, or one begins here, or neither.
            if assigned.contains(code.as_str()) {
                continue;
            }
            if assigned.range(code.as_str()..).next().is_some_and(|next| next.starts_with(&code)) {
                open.push(code);
            } else {
                unassigned.push(code);
            }
        }
    }
    unassigned
}

/// The built-in table. Longer prefixes come after the ones that they extend.
#[must_use]
pub fn ranges() -> Vec<NumberRange> {
    let mut texts: HashMap<&'static str, Arc<str>> = HashMap::new();
    let mut text = |name: &'static str| -> Option<Arc<str>> {
        (!name.is_empty()).then(|| Arc::clone(texts.entry(name).or_insert_with(|| name.into())))
    };
    let mut ranges: Vec<NumberRange> = TABLES
        .countries
        .iter()
        .map(|row| NumberRange {
            country: text(row.country),
            digits: Some((row.digits.0, row.digits.1.min(MAX_DIGITS as u8))),
            ..range(row.prefix, None)
        })
        .collect();

    // A number of no country has no possible lengths, so it is neither too short nor too long.
    ranges.extend(unassigned_country_codes().iter().map(|prefix| NumberRange {
        digits: Some((1, MAX_DIGITS as u8)),
        ..range(prefix, Some(NumberFormat::UnassignedCountryCode))
    }));

    let assigned: HashMap<&str, &AreaCode> = TABLES.area_codes.iter().map(|area| (area.code, area)).collect();
    // Default for the whole plan: an area code that the loop below does not name cannot exist. None begins with 0 or 1.
    ranges.push(NumberRange {
        digits: Some((NANP_DIGITS, NANP_DIGITS)),
        ..range("1", Some(NumberFormat::InvalidAreaCode))
    });
    for code in 200..1000_u16 {
        let prefix = format!("1{code}");
        if is_impossible_area_code(code) {
            // The default of the whole plan applies.
            continue;
        }
        let Some(area) = assigned.get(&prefix[1..]) else {
            ranges.push(range(&prefix, Some(NumberFormat::UnassignedAreaCode)));
            continue;
        };
        ranges.push(NumberRange {
            country: text(area.country),
            region: text(area.region),
            ..range(&prefix, Some(NumberFormat::Valid))
        });
        for exchange in UNASSIGNABLE_EXCHANGES {
            ranges.push(range(&format!("{prefix}{exchange}"), Some(NumberFormat::UnassignedBlock)));
        }
        ranges.push(range(&format!("{prefix}{FICTIONAL}"), Some(NumberFormat::Fictional)));
    }
    ranges.sort_by_key(|range| range.prefix.len());
    ranges
}

/// Exchanges without subscribers: those that begin with 0 or 1, service codes (N11), and 950, 958 and 959, which are for carrier
/// access and tests.
const UNASSIGNABLE_EXCHANGES: [&str; 13] =
    ["0", "1", "211", "311", "411", "511", "611", "711", "811", "911", "950", "958", "959"];

/// 555-0100 to 555-0199 are reserved for fiction (ATIS-0300115).
const FICTIONAL: &str = "55501";

/// Area codes that the plan cannot assign: service codes (N11), N9X (reserved for longer numbers), and 37X and 96X (reserved as
/// blocks).
fn is_impossible_area_code(code: u16) -> bool {
    let (first_two, last_two) = (code / 10, code % 100);
    last_two == 11 || first_two % 10 == 9 || first_two == 37 || first_two == 96
}

fn range(prefix: &str, format: Option<NumberFormat>) -> NumberRange {
    NumberRange { prefix: prefix.to_owned(), country: None, region: None, spid: None, digits: None, format }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Country, region, format, fewest and most digits.
    type Facts = (Option<String>, Option<String>, Option<NumberFormat>, Option<(u8, u8)>);

    /// What the longest matching prefixes say about a number.
    fn facts(number: &str) -> Facts {
        let mut facts = (None, None, None, None);
        for range in ranges().into_iter().filter(|range| number.starts_with(&range.prefix)) {
            facts.0 = range.country.map(|country| country.to_string()).or(facts.0);
            facts.1 = range.region.map(|region| region.to_string()).or(facts.1);
            facts.2 = range.format.or(facts.2);
            facts.3 = range.digits.or(facts.3);
        }
        facts
    }

    #[test]
    fn every_row_of_the_tables_is_read() {
        let data = |table: &str| table.lines().filter(|line| !line.starts_with('#')).count();
        assert_eq!(TABLES.countries.len(), data(COUNTRIES) + data(LENGTHS));
        assert_eq!(TABLES.assigned.len(), data(COUNTRY_CODES));
        assert_eq!(TABLES.area_codes.len(), data(AREA_CODES) + data(IN_SERVICE));
        assert!(TABLES.countries.len() > 200 && TABLES.area_codes.len() > 400);
    }

    #[test]
    fn north_american_numbers_have_country_region_and_format() {
        for (number, country, region, format) in [
            ("12125559000", Some("US"), Some("US-NY"), NumberFormat::Valid),
            ("16055621234", Some("US"), Some("US-SD"), NumberFormat::Valid),
            ("14165551234", Some("CA"), Some("CA-ON"), NumberFormat::Valid),
            ("18765551234", Some("JM"), None, NumberFormat::Valid),
            ("18002523563", Some("US"), None, NumberFormat::Valid),
            ("12125550123", Some("US"), Some("US-NY"), NumberFormat::Fictional),
            ("12129115678", Some("US"), Some("US-NY"), NumberFormat::UnassignedBlock),
            ("12129501234", Some("US"), Some("US-NY"), NumberFormat::UnassignedBlock),
            ("12121234567", Some("US"), Some("US-NY"), NumberFormat::UnassignedBlock),
            ("15925551234", None, None, NumberFormat::InvalidAreaCode),
            ("19115551234", None, None, NumberFormat::InvalidAreaCode),
            ("13725551234", None, None, NumberFormat::InvalidAreaCode),
            ("19625551234", None, None, NumberFormat::InvalidAreaCode),
            ("10125551234", None, None, NumberFormat::InvalidAreaCode),
            ("12335551234", None, None, NumberFormat::UnassignedAreaCode),
        ] {
            let facts = facts(number);
            assert_eq!((facts.0.as_deref(), facts.1.as_deref(), facts.2), (country, region, Some(format)), "{number}");
            assert_eq!(facts.3, Some((11, 11)), "{number}");
        }
    }

    #[test]
    fn area_codes_that_the_metadata_lacks_are_in_service() {
        for (number, region) in [("18615551234", "US-IL"), ("14365551234", "US-OH"), ("16795551234", "US-MI")] {
            let facts = facts(number);
            assert_eq!((facts.1.as_deref(), facts.2), (Some(region), Some(NumberFormat::Valid)), "{number}");
        }
        assert_eq!(facts("17105551234").2, Some(NumberFormat::Valid), "GETS");
        for [code, ..] in rows::<6>(IN_SERVICE) {
            let listed = rows::<4>(AREA_CODES).any(|[known, ..]| known == code);
            assert!(!listed, "libphonenumber has {code} now: delete its line in nanp-in-service.tsv");
        }
    }

    #[test]
    fn the_table_says_when_it_was_made() {
        let (year, month, day) = table_date();
        assert!(year >= 2026 && (1..=12).contains(&month) && (1..=31).contains(&day), "{year}-{month}-{day}");
    }

    #[test]
    fn foreign_numbers_have_country_and_lengths() {
        for (number, country, digits) in [
            ("442079460123", Some("GB"), (9, 12)),
            ("441534123456", Some("JE"), (12, 12)),
            ("77011234567", Some("KZ"), (11, 15)),
            ("37120000000", Some("LV"), (11, 11)),
            ("870123456789", None, (12, 15)),
        ] {
            let facts = facts(number);
            assert_eq!((facts.0.as_deref(), facts.3), (country, Some(digits)), "{number}");
        }
    }

    #[test]
    fn a_number_of_no_country_has_a_format_of_its_own() {
        for number in [
            "0000000000",
            "0123456789",
            "2100123456",
            "9990123456",
            "2800000000",
            "8310000000",
            "9970000000",
            "0",
            "999",
        ] {
            let facts = facts(number);
            assert_eq!(
                (facts.0, facts.2, facts.3),
                (None, Some(NumberFormat::UnassignedCountryCode), Some((1, 15))),
                "{number}"
            );
        }
        for number in [
            "80012345678",
            "870123456789",
            "8835100012345",
            "9791234567",
            "991001234567",
            "37912345678",
            "970591234567",
        ] {
            assert_ne!(facts(number).2, Some(NumberFormat::UnassignedCountryCode), "{number}");
        }
    }

    #[test]
    fn every_prefix_is_of_an_assigned_country_code_or_of_none() {
        let unassigned = unassigned_country_codes();
        for number in 0..1000 {
            let digits = format!("{number:03}");
            let is_assigned = (1..=3).any(|length| TABLES.assigned.contains(&digits[..length]));
            let is_unassigned = unassigned.iter().any(|prefix| digits.starts_with(prefix));
            assert_ne!(is_assigned, is_unassigned, "{digits}");
        }
        for country in &TABLES.countries {
            let known =
                (1..=3).any(|length| country.prefix.get(..length).is_some_and(|code| TABLES.assigned.contains(code)));
            assert!(known, "libphonenumber has numbers of {}: is its code assigned now?", country.prefix);
        }
    }

    #[test]
    fn mobile_numbers_have_the_lengths_that_networks_send() {
        for (number, digits) in [
            ("5215512345678", (13, 13)),
            ("525512345678", (12, 12)),
            ("5491123456789", (13, 13)),
            ("541123456789", (12, 13)),
        ] {
            assert_eq!(facts(number).3, Some(digits), "{number}");
        }
        let packed = bcd::pack("5215512345678").expect("they are digits");
        assert_eq!(lengths(packed, 13), Some((52, 12, 13)));
    }

    #[test]
    fn only_calling_codes_are_accepted_as_such() {
        for code in ["1", "7", "44", "49", "371", "599", "590"] {
            assert!(is_country_code(code), "{code}");
        }
        for code in ["", "0", "2", "44x", "999", "4412", "+1", "210"] {
            assert!(!is_country_code(code), "{code}");
        }
        assert_eq!(country_code_of("US"), Some("1"));
        assert_eq!(country_code_of("GB"), Some("44"));
        assert_eq!(country_code_of("JE"), Some("44"));
        assert_eq!(country_code_of("XX"), None);
    }

    #[test]
    fn a_prefix_may_be_shorter_than_a_calling_code() {
        let packed = |digits: &str| bcd::pack(digits).expect("they are digits");
        for digits in ["1", "2", "37", "371", "4420"] {
            assert!(may_begin_with(packed(digits), digits.len() as u8), "{digits}");
        }
        for digits in ["0", "210", "9991"] {
            assert!(!may_begin_with(packed(digits), digits.len() as u8), "{digits}");
        }
    }

    #[test]
    fn countries_and_regions_are_recognized_by_their_codes() {
        assert!(is_country("US") && is_country("LV") && !is_country("UK") && !is_country("us"));
        assert!(is_region("US-SD") && is_region("CA-NS") && !is_region("US-XX") && !is_region("SD"));
        assert!(has_numbers_of("US-SD") && !has_numbers_of("CA-NS"));
    }
}
