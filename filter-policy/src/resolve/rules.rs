//! `[[rule]]`: names, actions, rates.

use std::{collections::HashMap, mem};

use filter_core::{
    layout::{Count, Per},
    limits::MAX_RULES,
};
use jiff::{Timestamp, civil::Date, tz::TimeZone};
use toml::value::Datetime;

use super::Resolver;
use crate::{
    language::{
        action::Action,
        diagnostics::{Code, Diagnostic},
        quantity,
        source::{self, Source},
    },
    model::{Numbering, Over, Rule},
};

/// When a rule ends with this `until`: at that time, or when that day is over.
fn end(until: Datetime) -> Option<Timestamp> {
    let text = until.to_string();
    if until.time.is_some() { text.parse().ok() } else { midnight(text.parse::<Date>().ok()?.tomorrow().ok()?) }
}

/// When a day begins, in UTC.
fn midnight(date: Date) -> Option<Timestamp> {
    Some(date.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

impl Resolver<'_> {
    pub(super) fn rules(&mut self, source: &Source, numbering: &Numbering) -> Vec<Rule> {
        if let Some(rule) = source.rules.get(MAX_RULES) {
            let help = format!("the filter holds {MAX_RULES}: put many values into one rule's array, or into a set");
            let message = format!("{} rules are too many", source.rules.len());
            self.error(Code::TooManyRules, &rule.span, message, Some(help));
        }
        let mut seen: HashMap<&str, u32> = HashMap::new();
        let mut rules = Vec::with_capacity(source.rules.len());
        for rule in &source.rules {
            let line = self.file.line(rule.name.span.start);
            if let Some(first) = seen.insert(&rule.name.value, line).filter(|_| !rule.name.value.is_empty()) {
                let message = format!("there is already a rule `{}`, in line {first}", rule.name.value);
                let help = Some("a rule's counters are kept under its name: give each rule its own".to_owned());
                self.error(Code::DuplicateRule, &rule.name.span, message, help);
            }
            rules.push(self.rule(rule, numbering));
        }
        rules
    }

    /// Leaves the rules out whose last day has passed, here and in the source, and warns of each.
    pub(super) fn without_expired(&mut self, source: &mut Source, rules: Vec<Rule>) -> Vec<Rule> {
        let written = mem::take(&mut source.rules);
        let mut kept = Vec::with_capacity(rules.len());
        let (year, month, day) = self.today;
        let today = Date::new(year.cast_signed(), month.cast_signed(), day.cast_signed());
        // A rule that ends in the course of this day is turned off then.
        let today = today.ok().and_then(midnight).unwrap_or(Timestamp::MIN);
        for (rule, written) in rules.into_iter().zip(written) {
            let is_over = rule.until.is_some_and(|end| end <= today);
            let Some(until) = written.until.as_ref().filter(|_| is_over) else {
                kept.push(rule);
                source.rules.push(written);
                continue;
            };
            let last = if until.value.time.is_some() { "it ended at" } else { "its last day was" };
            let message = format!("the rule `{}` is off: {last} {}", rule.name, until.value);
            let place = self.file.place(until.span.clone());
            let help =
                if written.is_cap { "remove the cap, or set a new date" } else { "remove the rule, or set a new date" };
            self.diagnostics.push(Diagnostic::warning(Code::ExpiredRule, message).at(place).help(help));
        }
        kept
    }

    fn rule(&mut self, rule: &source::Rule, numbering: &Numbering) -> Rule {
        let conditions = rule.conditions.iter().filter_map(|condition| self.condition(condition, numbering));
        let mut conditions: Vec<_> = conditions.collect();
        if rule.is_cap {
            conditions.push(Self::no_emergency(&self.origin(&rule.name.span)));
        }
        Rule {
            name: rule.name.value.clone(),
            stage: rule.stage,
            conditions,
            // An action that could not be read is an error already.
            action: rule.action.as_ref().map_or(Action::Drop, |action| action.value.clone()),
            report: rule.report,
            over: rule.over.as_ref().and_then(|over| self.over(over)),
            hours: rule.hours.iter().filter_map(|hours| self.window(hours)).collect(),
            until: rule.until.as_ref().and_then(|until| end(until.value)),
            basis: rule.basis.as_ref().map(|basis| basis.value.clone()),
            tcp: rule.tcp.as_ref().map(|tcp| tcp.value).unwrap_or_default(),
            origin: self.origin(&rule.name.span),
        }
    }

    fn over(&mut self, over: &source::Over) -> Option<Over> {
        const MAX_BURST: u32 = 1_000_000;
        /// Nanoseconds in which a burst must come back: the clock of limits has room for little more.
        const MAX_REFILL: u64 = 366 * 86_400 * 1_000_000_000;
        let Some((count, period)) = quantity::rate(&over.rate.value) else {
            let help = "write a count and a period, such as \"5/s\", \"100/m\", \"1000/h\" or \"20/10s\"; at most \
                        1000000/s";
            let message = format!("`{}` is not a rate", over.rate.value);
            self.error(Code::BadRate, &over.rate.span, message, Some(help.to_owned()));
            return None;
        };
        let burst = match &over.burst {
            // As many at once as in one period.
            None => count,
            Some(burst) => {
                u32::try_from(burst.value).ok().filter(|burst| (1..=MAX_BURST).contains(burst)).unwrap_or_else(|| {
                    let help =
                        Some(format!("use a whole number from 1 to {MAX_BURST}: it is how many may come at once"));
                    self.error(Code::BadRate, &burst.span, format!("`burst` cannot be {}", burst.value), help);
                    count
                })
            }
        };
        let (per, prefix) = match &over.per {
            None => (Per::Rule, 0),
            Some(per) => quantity::rate_key(&per.value).unwrap_or_else(|| {
                let help = "use one of `rule`, `source`, `source/24`, `destination`, `calling`, `calling/6`, `called`, \
                            `called/6`, `source+called`, `user-agent`, `upstream`";
                let message = format!("rates cannot be counted per `{}`", per.value);
                self.error(Code::BadRate, &per.span, message, Some(help.to_owned()));
                (Per::Rule, 0)
            }),
        };
        if let Some(written) = &over.burst
            && u64::from(burst).saturating_mul(period) / u64::from(count.max(1)) > MAX_REFILL
        {
            let help = Some("use a smaller burst, or a higher rate".to_owned());
            let message = format!("at {}, a burst of {burst} takes over a year to come back", over.rate.value);
            self.error(Code::BadRate, &written.span, message, help);
        }
        let counts = match &over.count {
            None => Count::Packets,
            Some(written) => Count::from_name(&written.value).unwrap_or(Count::Packets),
        };
        Some(Over { count, period, burst, counts, per, prefix })
    }
}
