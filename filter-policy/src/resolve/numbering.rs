//! `[numbering]`: how digits become E.164 numbers, and what is known about number ranges.

use std::{path::PathBuf, sync::Arc};

use filter_core::limits::{INTERNATIONAL_PREFIXES, NUMBERING_PLANS, STRIP_PREFIXES};

use super::Resolver;
use crate::{
    language::{
        diagnostics::Code,
        source::{Located, PlanKeys, Source, Values},
    },
    lists,
    model::{NumberRange, Numbering, NumberingPlan},
    numbering,
};

/// The longest prefix that the filter can take off.
const LONGEST_PREFIX: usize = 15;

impl Resolver<'_> {
    /// All of `[numbering]`, but for the addresses in it: sets are read afterwards, by its first plan.
    pub(super) fn numbering(&mut self, source: &Source) -> Numbering {
        let written = &source.numbering;
        if let Some(plan) = written.plans.get(NUMBERING_PLANS - 1) {
            let help = format!(
                "the filter holds {NUMBERING_PLANS}, and `[numbering]` is one of them: sources that send numbers in the same \
                 form can share a plan"
            );
            let message = format!("{} numbering plans are too many", written.plans.len() + 1);
            self.error(Code::TooManyPlans, &plan.span, message, Some(help));
        }
        let plan = self.plan(&written.plan, None);
        let plans = written.plans.iter().map(|own| (Vec::new(), self.plan(&own.plan, Some((&plan, &written.plan)))));
        let plans = plans.collect();
        let neighbor_digits = self.neighbor_digits(written.neighbor_digits.as_ref(), &plan.country_code);
        Numbering {
            plan,
            plans,
            called_from_to: written.called_from.as_ref().is_some_and(|word| word.value == "to"),
            neighbor_digits,
            asserted_identity_from: Vec::new(),
            ranges: self.ranges(source),
        }
    }

    /// The sources that numbering depends on.
    pub(super) fn numbering_sources(&mut self, source: &Source, numbering: &mut Numbering) {
        if let Some(values) = &source.numbering.asserted_identity_from {
            numbering.asserted_identity_from = self.addresses("asserted_identity_from", values);
        }
        for (plan, written) in numbering.plans.iter_mut().zip(&source.numbering.plans) {
            if let Some(values) = &written.from {
                plan.0 = self.addresses("from", values);
            }
        }
    }

    /// A plan. What is not written is as in `base`, the plan of `[numbering]`, resolved and as written.
    fn plan(&mut self, written: &PlanKeys, base: Option<(&NumberingPlan, &PlanKeys)>) -> NumberingPlan {
        let inherited = base.map(|(plan, _)| plan);
        let country_code = match (&written.country_code, inherited) {
            (None, Some(plan)) => plan.country_code.clone(),
            (code, _) => self.country_code(code.as_ref()),
        };
        let international_prefixes = match (&written.international_prefix, base) {
            (Some(values), _) => self.prefixes("international_prefix", values, INTERNATIONAL_PREFIXES, "0123456789"),
            (None, Some((plan, keys))) if keys.international_prefix.is_some() => plan.international_prefixes.clone(),
            // Also for a plan that only sets another country code.
            (None, _) => vec![if country_code == "1" { "011" } else { "00" }.to_owned()],
        };
        let strip = match (&written.strip, inherited) {
            (Some(values), _) => self.prefixes("strip", values, STRIP_PREFIXES, "0123456789*#,"),
            (None, plan) => plan.map(|plan| plan.strip.clone()).unwrap_or_default(),
        };
        let national_prefix = self.prefix("national_prefix", written.national_prefix.as_ref());
        let outside_prefix = self.prefix("outside_prefix", written.outside_prefix.as_ref());
        let bare_national = written.bare.as_ref().map(|word| word.value == "national");
        NumberingPlan {
            country_code,
            international_prefixes,
            national_prefix: national_prefix.or(inherited.map(|plan| plan.national_prefix.clone())).unwrap_or_default(),
            outside_prefix: outside_prefix.or(inherited.map(|plan| plan.outside_prefix.clone())).unwrap_or_default(),
            strip,
            bare_national: bare_national.or(inherited.map(|plan| plan.bare_national)).unwrap_or(false),
        }
    }

    /// A prefix of digits, which may be empty. None if it is not written, or wrong.
    fn prefix(&mut self, key: &str, text: Option<&Located<String>>) -> Option<String> {
        let text = text?;
        let text = Located { value: text.value.as_str(), span: text.span.clone() };
        self.check_prefix(key, &text, "0123456789").then(|| text.value.to_owned())
    }

    /// Several prefixes of these characters, none of them empty.
    fn prefixes(&mut self, key: &str, values: &Values, most: usize, characters: &str) -> Vec<String> {
        if let Some(value) = values.value.get(most) {
            let message = format!("`{key}` has {} values", values.value.len());
            self.error(Code::BadValue, &value.span, message, Some(format!("the filter holds {most} for each plan")));
        }
        let mut prefixes = Vec::new();
        for text in self.strings(key, values) {
            // An empty string in place of an array: there is none.
            if text.value.is_empty() && text.span == values.span {
                continue;
            }
            if text.value.is_empty() {
                let help = Some("remove it".to_owned());
                self.error(Code::BadValue, &text.span, format!("`{key}` has an empty prefix"), help);
            } else if self.check_prefix(key, &text, characters) {
                prefixes.push(text.value.to_owned());
            }
        }
        prefixes
    }

    /// True if a prefix has these characters only, and is short enough.
    fn check_prefix(&mut self, key: &str, text: &Located<&str>, characters: &str) -> bool {
        if text.value.len() <= LONGEST_PREFIX && text.value.chars().all(|character| characters.contains(character)) {
            return true;
        }
        let help = match text.value.strip_prefix('+') {
            Some(rest) if !rest.is_empty() => format!("remove the `+`: `{key} = \"{rest}\"`"),
            _ if characters.contains('*') => format!("use at most {LONGEST_PREFIX} digits, `*`, `#` and `,`"),
            _ => format!("use at most {LONGEST_PREFIX} digits"),
        };
        let message = format!("`{}` is not a valid `{key}`", text.value);
        self.error(Code::BadValue, &text.span, message, Some(help));
        false
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

    /// By default, country code, area code and exchange: those of a North American number have six digits after the country code. With
    /// fewer, a whole city would be the called party's neighbour.
    fn neighbor_digits(&mut self, value: Option<&Located<i64>>, country_code: &str) -> u8 {
        const AREA_AND_EXCHANGE: u8 = 6;
        let default = country_code.len() as u8 + AREA_AND_EXCHANGE;
        let Some(value) = value else { return default };
        let digits = u8::try_from(value.value).ok().filter(|digits| (1..=15).contains(digits));
        digits.unwrap_or_else(|| {
            let help = "use 1 to 15; in North America, 7 is country code, area code and exchange".to_owned();
            let message = format!("`neighbor_digits` cannot be {}", value.value);
            self.error(Code::BadValue, &value.span, message, Some(help));
            default
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
                if lists::ensure_text(&file, &content, self.diagnostics) {
                    let read = lists::ranges(&file, &content, self.entries_left, self.diagnostics);
                    self.entries_left -= read.len();
                    ranges.extend(read);
                }
            }
        }
        ranges.sort_by_key(|range| range.prefix.len());
        ranges
    }
}
