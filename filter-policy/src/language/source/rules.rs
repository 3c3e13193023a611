//! `[[rule]]`: its conditions, stage, rate, and what else it says.

use std::ops::Range;

use filter_core::{layout::Count, limits::NAMED_HEADERS, text::Text};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    Condition, HOURS_KEYS, Hours, Located, OVER_KEYS, Over, RULE_KEYS, Reader, Rule, fields, reader::type_name,
};
use crate::language::{
    action::Action,
    diagnostics::{Code, suggest},
    header::{HeaderName, LONGEST_HEADER},
    scope::{SCOPES, Scope},
    stage::Stage,
    tcp::OnTcp,
};

impl Reader<'_> {
    pub(super) fn rules(&mut self, key: &str, value: &Spanned<DeValue<'_>>) -> Vec<Rule> {
        let DeValue::Array(array) = value.get_ref() else {
            let help = Some("write `[[rule]]` with double brackets: it is an array".to_owned());
            let found = type_name(value.get_ref());
            let message = format!("`{key}` must be an array of sections, not {found}");
            self.error(Code::WrongType, &value.span(), message, help);
            return Vec::new();
        };
        array.iter().filter_map(|rule| self.rule(rule)).collect()
    }

    fn rule(&mut self, value: &Spanned<DeValue<'_>>) -> Option<Rule> {
        let table = self.table("rule", value)?;
        let mut rule = Rule {
            span: value.span(),
            name: Located { value: String::new(), span: value.span() },
            stage: Stage::default(),
            conditions: Vec::new(),
            action: None,
            report: false,
            over: None,
            basis: None,
            review: None,
            until: None,
            tcp: None,
            hours: Vec::new(),
            is_cap: false,
        };
        let name = table.get("name").and_then(|name| name.get_ref().as_str());
        let of = name.map_or("the rule".to_owned(), |name| format!("the rule `{name}`"));
        let (mut has_name, mut has_action) = (false, false);
        for (key, span, value) in fields(table) {
            match key {
                "name" => {
                    has_name = true;
                    if let Some(name) = self.string(key, value) {
                        self.check_name("a rule", &name);
                        rule.name = name;
                    }
                }
                "description" | "comment" => {
                    self.string(key, value);
                }
                "stage" => rule.stage = self.stage(key, value),
                "match" => {
                    if let Some(table) = self.table(key, value) {
                        self.conditions(table, "", false, &mut rule.conditions);
                    }
                }
                "action" => {
                    has_action = true;
                    rule.action = Action::read(self, value);
                }
                "mode" => rule.report = self.is_report(key, value),
                "over" => rule.over = self.over(&span, value),
                "basis" => rule.basis = self.string(key, value),
                "review" => rule.review = self.date(key, value),
                "until" => rule.until = self.day_or_time(key, value),
                "tcp" => {
                    rule.tcp = self
                        .word(key, value, &OnTcp::NAMES)
                        .and_then(|word| Some(Located { value: OnTcp::from_name(&word.value)?, span: word.span }));
                }
                "hours" => rule.hours = self.hours(value),
                // A common mistake: a condition beside `match`.
                _ if Scope::of(key).is_some() => {
                    let help = Some(format!("write `match.{key} = ...`"));
                    let message = format!("the condition `{key}` is outside `match` in {of}");
                    self.error(Code::UnknownKey, &span, message, help);
                }
                _ => self.unknown_key(key, &span, &of, RULE_KEYS),
            }
        }
        if !has_name {
            let help = Some("add a `name`: counters, events and `explain` refer to the rule by it".to_owned());
            self.error(Code::MissingKey, &rule.span, "a rule has no `name`", help);
        }
        if !has_action {
            let names = filter_core::layout::Action::NAMES.join(", ");
            let help = Some(format!("add `action = \"drop\"`, or another of {names}"));
            self.error(Code::MissingKey, &rule.span, format!("{of} has no `action`"), help);
        }
        Some(rule)
    }

    fn stage(&mut self, key: &str, value: &Spanned<DeValue<'_>>) -> Stage {
        let Some(name) = self.string(key, value) else { return Stage::default() };
        Stage::from_name(&name.value).unwrap_or_else(|| {
            let help = suggest(&name.value, Stage::ALL.map(Stage::name));
            self.error(Code::UnknownStage, &name.span, format!("unknown stage `{}`", name.value), help);
            Stage::default()
        })
    }

    fn conditions(&mut self, table: &DeTable<'_>, path: &str, negated: bool, conditions: &mut Vec<Condition>) {
        for (key, span, value) in fields(table) {
            let mut path = if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
            let mut negated = negated;
            if !negated && (path == "not" || path.starts_with("not.")) {
                negated = true;
                path.drain(..path.len().min("not.".len()));
            }
            if let Some(scope) = Scope::of(&path) {
                if let Some(values) = self.values(&path, value) {
                    conditions.push(Condition { scope: Located { value: scope, span }, negated, values });
                }
                continue;
            }
            if let DeValue::Table(table) = value.get_ref()
                && (path.is_empty() || path == "header")
            {
                self.conditions(table, &path, negated, conditions);
            } else if let Some(header) = path.strip_prefix("header.") {
                if let Some(scope) = self.named_header(header, &span)
                    && let Some(values) = self.values(&path, value)
                {
                    conditions.push(Condition { scope: Located { value: scope, span }, negated, values });
                }
            } else {
                self.unknown_scope(&path, &span);
            }
        }
    }

    /// The scope `header.NAME`, for a name that has no scope of its own.
    fn named_header(&mut self, written: &str, span: &Range<usize>) -> Option<Scope> {
        if let Some(name) = HeaderName::of_compact(written) {
            let help = Some(format!("write `header.{name}`: it includes the compact form"));
            self.error(Code::UnknownHeader, span, format!("`{written}` is the compact form of a header's name"), help);
            return None;
        }
        let Some(name) = HeaderName::new(written) else {
            let help = format!("a name has 1 to {LONGEST_HEADER} letters, digits and characters of `-.!%*_+'~`");
            self.error(Code::UnknownHeader, span, format!("`{written}` cannot be a header's name"), Some(help));
            return None;
        };
        // A part of a header that is misspelt is no header: it would never match.
        let parts = SCOPES.iter().filter_map(|(name, ..)| name.strip_prefix("header."));
        if let Some(part) = name.near_miss(parts) {
            let help = Some(format!("did you mean `header.{part}`?"));
            self.error(Code::UnknownHeader, span, format!("`{written}` looks like a misspelt scope"), help);
            return None;
        }
        let index = self.headers.iter().position(|known| *known == name).unwrap_or(self.headers.len());
        if index == NAMED_HEADERS {
            let message = format!("more than {NAMED_HEADERS} headers without a scope of their own are named");
            let help = Some("match on fewer headers: rules that name the same one share its place".to_owned());
            self.error(Code::TooManyHeaders, span, message, help);
            return None;
        }
        if index == self.headers.len() {
            self.headers.push(name);
        }
        Some(Scope::Text(Text::named(index)))
    }

    fn unknown_scope(&mut self, path: &str, span: &Range<usize>) {
        if path.is_empty() {
            let help = Some("write `not.source = \"@trunks\"` or `not = { source = \"@trunks\" }`".to_owned());
            self.error(Code::WrongType, span, "`not` must be followed by a scope", help);
            return;
        }
        if path == "header" {
            let help = Some("write `header.NAME`, such as `header.subject` or `header.x-tenant`".to_owned());
            self.error(Code::UnknownHeader, span, "`header` must be followed by the header's name", help);
            return;
        }
        let help = match path {
            "from" => Some("did you mean `from_number` or `header.from-user`?".to_owned()),
            "to" => Some("did you mean `called` or `header.to-user`?".to_owned()),
            _ => suggest(path, SCOPES.iter().map(|(name, ..)| *name)),
        };
        self.error(Code::UnknownScope, span, format!("unknown scope `{path}`"), help);
    }

    /// One window, or an array of them.
    fn hours(&mut self, value: &Spanned<DeValue<'_>>) -> Vec<Hours> {
        let DeValue::Array(array) = value.get_ref() else { return self.window(value).into_iter().collect() };
        if array.is_empty() {
            let help = Some("without hours a rule is always on: remove the key, or add a window".to_owned());
            self.error(Code::Empty, &value.span(), "`hours` has no windows", help);
        }
        array.iter().filter_map(|window| self.window(window)).collect()
    }

    fn window(&mut self, value: &Spanned<DeValue<'_>>) -> Option<Hours> {
        let help = || {
            let example =
                "`hours = { days = \"mon-fri\", from = \"08:00\", to = \"18:00\", timezone = \"America/New_York\" }`";
            Some(format!("write {example}, or an array of such tables"))
        };
        let DeValue::Table(table) = value.get_ref() else {
            let found = type_name(value.get_ref());
            self.error(Code::WrongType, &value.span(), format!("`hours` must be a table, not {found}"), help());
            return None;
        };
        let (mut days, mut from, mut to, mut timezone, mut has_timezone) = (None, None, None, None, false);
        for (key, span, value) in fields(table) {
            match key {
                "days" => days = self.strings(key, value),
                "from" => from = self.string(key, value),
                "to" => to = self.string(key, value),
                "timezone" => {
                    has_timezone = true;
                    timezone = self.string(key, value);
                }
                _ => self.unknown_key(key, &span, "`hours`", HOURS_KEYS),
            }
        }
        if !has_timezone {
            self.error(Code::MissingKey, &value.span(), "`hours` has no `timezone`", help());
        }
        Some(Hours { span: value.span(), days, from, to, timezone: timezone? })
    }

    /// A string, or an array of at least one.
    fn strings(&mut self, key: &str, value: &Spanned<DeValue<'_>>) -> Option<Vec<Located<String>>> {
        let DeValue::Array(array) = value.get_ref() else { return Some(vec![self.string(key, value)?]) };
        if array.is_empty() {
            let help = Some(format!("remove `{key}`, or add a value"));
            self.error(Code::Empty, &value.span(), format!("`{key}` has no values"), help);
        }
        Some(array.iter().filter_map(|entry| self.string(key, entry)).collect())
    }

    fn over(&mut self, key_span: &Range<usize>, value: &Spanned<DeValue<'_>>) -> Option<Over> {
        let help = || Some("write `over = { rate = \"5/s\", burst = 20, per = \"called\" }`".to_owned());
        let DeValue::Table(table) = value.get_ref() else {
            let found = type_name(value.get_ref());
            self.error(Code::WrongType, &value.span(), format!("`over` must be a table, not {found}"), help());
            return None;
        };
        let (mut rate, mut has_rate, mut burst, mut per, mut count) = (None, false, None, None, None);
        for (key, span, value) in fields(table) {
            match key {
                "rate" => {
                    has_rate = true;
                    rate = self.string(key, value);
                }
                "burst" => burst = self.integer(key, value),
                "per" => per = self.string(key, value),
                "count" => count = self.word(key, value, &Count::NAMES),
                _ => self.unknown_key(key, &span, "`over`", OVER_KEYS),
            }
        }
        if !has_rate {
            self.error(Code::MissingKey, key_span, "`over` has no `rate`", help());
        }
        rate.map(|rate| Over { rate, burst, per, count })
    }
}
