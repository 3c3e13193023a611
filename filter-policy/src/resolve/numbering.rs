//! `[numbering]`: how digits become E.164 numbers, and what is known about number ranges.

use std::{path::PathBuf, sync::Arc};

use super::Resolver;
use crate::{
    language::{
        diagnostics::Code,
        source::{Located, Source},
    },
    lists,
    model::{NumberRange, Numbering},
    numbering,
};

impl Resolver<'_> {
    pub(super) fn numbering(&mut self, source: &Source) -> Numbering {
        const LONGEST_PREFIX: usize = 15;
        let written = &source.numbering;
        let country_code = self.country_code(written.country_code.as_ref());
        let international = if country_code == "1" { "011" } else { "00" };
        let mut prefix = |key: &str, text: Option<&Located<String>>, default: &str| {
            let Some(text) = text else { return default.to_owned() };
            if text.value.len() <= LONGEST_PREFIX && text.value.bytes().all(|byte| byte.is_ascii_digit()) {
                return text.value.clone();
            }
            let help = match text.value.strip_prefix('+') {
                Some(rest) => format!("remove the `+`: `{key} = \"{rest}\"`"),
                None => format!("use at most {LONGEST_PREFIX} digits"),
            };
            let message = format!("`{}` is not a valid `{key}`", text.value);
            self.error(Code::BadValue, &text.span, message, Some(help));
            default.to_owned()
        };
        let international_prefix = prefix("international_prefix", written.international_prefix.as_ref(), international);
        let national_prefix = prefix("national_prefix", written.national_prefix.as_ref(), "");
        Numbering {
            country_code,
            international_prefix,
            national_prefix,
            bare_national: written.bare.as_ref().is_some_and(|word| word.value == "national"),
            called_from_to: written.called_from.as_ref().is_some_and(|word| word.value == "to"),
            neighbor_digits: self.neighbor_digits(written.neighbor_digits.as_ref()),
            asserted_identity_from: Vec::new(),
            ranges: self.ranges(source),
        }
    }

    fn country_code(&mut self, text: Option<&Located<String>>) -> String {
        const DEFAULT: &str = "1";
        let Some(text) = text else { return DEFAULT.to_owned() };
        if numbering::is_country_code(&text.value) {
            return text.value.clone();
        }
        let help = match text.value.strip_prefix('+') {
            Some(rest) => Some(format!("remove the `+`: `country_code = \"{rest}\"`")),
            None if text.value.len() == 2 && text.value.bytes().all(|byte| byte.is_ascii_alphabetic()) => {
                numbering::country_code_of(&text.value.to_ascii_uppercase())
                    .map(|code| format!("use the calling code: `country_code = \"{code}\"`"))
            }
            None => Some("use one to three digits, such as \"1\" or \"49\"".to_owned()),
        };
        let message = format!("`{}` is not a country calling code", text.value);
        self.error(Code::BadCountryCode, &text.span, message, help);
        DEFAULT.to_owned()
    }

    fn neighbor_digits(&mut self, value: Option<&Located<i64>>) -> u8 {
        const DEFAULT: u8 = 6;
        let Some(value) = value else { return DEFAULT };
        let digits = u8::try_from(value.value).ok().filter(|digits| (1..=15).contains(digits));
        digits.unwrap_or_else(|| {
            let help = "use 1 to 15; in North America, 7 is country code, area code and exchange".to_owned();
            let message = format!("`neighbor_digits` cannot be {}", value.value);
            self.error(Code::BadValue, &value.span, message, Some(help));
            DEFAULT
        })
    }

    /// The built-in table, followed by the policy's own tables, which override it for the same prefixes.
    fn ranges(&mut self, source: &Source) -> Vec<NumberRange> {
        let mut ranges = numbering::ranges();
        let Some(values) = &source.numbering.ranges else { return ranges };
        for text in self.strings("ranges", values) {
            let path = Located { value: text.value.to_owned(), span: text.span };
            if let Some(content) = self.read(&path) {
                let file = Arc::new(PathBuf::from(&path.value));
                ranges.extend(lists::ranges(&file, &content, self.diagnostics));
            }
        }
        ranges.sort_by_key(|range| range.prefix.len());
        ranges
    }
}
