//! The file, and its sections `[network]`, `[numbering]` and `[sets.*]`.

use std::ops::Range;

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    Entries, Located, NETWORK_KEYS, NUMBERING_KEYS, Network, Numbering, PLAN_KEYS, Plan, PlanKeys, Reader, SET_KEYS,
    Scalar, Set, SetKind, Source, TOP_KEYS, VERSION, Values, fields, reader::type_name,
};
use crate::language::diagnostics::Code;

impl Reader<'_> {
    pub(super) fn source(&mut self, document: &DeTable<'_>) -> Source {
        let mut source = Source::default();
        let mut has_version = false;
        for (key, span, value) in fields(document) {
            match key {
                "version" => {
                    has_version = true;
                    self.version(value, VERSION, "the policy language", "policy");
                }
                "default" => {
                    source.default_drop =
                        self.word(key, value, &["pass", "drop"]).is_some_and(|word| word.value == "drop");
                }
                "mode" => source.report = self.is_report(key, value),
                "never_ban" => source.never_ban = self.values(key, value),
                "allow_emergency" => source.allow_emergency = self.boolean(key, value),
                "network" => source.network = self.network(key, &span, value),
                "numbering" => source.numbering = self.numbering(key, value),
                "sets" => self.sets(key, value, &mut source),
                "upstream" => source.upstreams = self.upstreams(key, value),
                "rule" => source.rules = self.rules(key, value),
                "rules" | "set" | "upstreams" => {
                    let meant = match key {
                        "set" => "`[sets.NAME]`",
                        "upstreams" => "`[[upstream]]`",
                        _ => "`[[rule]]`",
                    };
                    let help = Some(format!("write {meant}"));
                    self.error(Code::UnknownKey, &span, format!("unknown key `{key}` in the policy"), help);
                }
                _ => self.unknown_key(key, &span, "the policy", TOP_KEYS),
            }
        }
        if !has_version {
            self.missing_version(VERSION, "policy");
        }
        source
    }

    /// Reads a `mode`, the policy's or a rule's. True for `"report"`.
    pub(super) fn is_report(&mut self, key: &str, value: &Spanned<DeValue<'_>>) -> bool {
        self.word(key, value, &["enforce", "report"]).is_some_and(|word| word.value == "report")
    }

    fn network(&mut self, key: &str, span: &Range<usize>, value: &Spanned<DeValue<'_>>) -> Option<Network> {
        let table = self.table(key, value)?;
        let mut network = Network { span: span.clone(), ..Network::default() };
        for (key, span, value) in fields(table) {
            match key {
                "udp" => network.udp = self.integers(key, value),
                "tcp" => network.tcp = self.integers(key, value),
                "tls" => network.tls = self.integers(key, value),
                _ => self.unknown_key(key, &span, "`[network]`", NETWORK_KEYS),
            }
            let written = value.get_ref().as_array().map_or(1, |array| array.len());
            let read = [("udp", network.udp.len()), ("tcp", network.tcp.len()), ("tls", network.tls.len())];
            network.incomplete |= read.iter().all(|(name, count)| *name != key || *count < written);
        }
        Some(network)
    }

    fn numbering(&mut self, key: &str, value: &Spanned<DeValue<'_>>) -> Numbering {
        let mut numbering = Numbering { present: true, ..Numbering::default() };
        let Some(table) = self.table(key, value) else { return numbering };
        for (key, span, value) in fields(table) {
            match key {
                "called_from" => numbering.called_from = self.word(key, value, &["request", "to"]),
                "neighbor_digits" => numbering.neighbor_digits = self.integer(key, value),
                "asserted_identity_from" => numbering.asserted_identity_from = self.values(key, value),
                "ranges" => numbering.ranges = self.values(key, value),
                "plan" => numbering.plans = self.plans(key, value),
                _ if self.plan_key(&mut numbering.plan, key, value) => {}
                _ => self.unknown_key(key, &span, "`[numbering]`", NUMBERING_KEYS),
            }
        }
        numbering
    }

    fn plans(&mut self, key: &str, value: &Spanned<DeValue<'_>>) -> Vec<Plan> {
        let DeValue::Array(array) = value.get_ref() else {
            let help = Some("write `[[numbering.plan]]`, once for each plan".to_owned());
            let found = type_name(value.get_ref());
            self.error(Code::WrongType, &value.span(), format!("`{key}` must be sections, not {found}"), help);
            return Vec::new();
        };
        array.iter().filter_map(|entry| self.plan(key, entry)).collect()
    }

    fn plan(&mut self, key: &str, value: &Spanned<DeValue<'_>>) -> Option<Plan> {
        let table = self.table(key, value)?;
        let mut plan = Plan { span: value.span(), from: None, plan: PlanKeys::default() };
        let mut has_from = false;
        for (key, span, value) in fields(table) {
            match key {
                "from" => {
                    has_from = true;
                    plan.from = self.values(key, value);
                }
                _ if self.plan_key(&mut plan.plan, key, value) => {}
                _ => self.unknown_key(key, &span, "`[[numbering.plan]]`", PLAN_KEYS),
            }
        }
        if !has_from {
            let help = Some("add `from = \"@trunks\"`: the sources that send numbers in this form".to_owned());
            self.error(Code::MissingKey, &plan.span, "this numbering plan has no `from`", help);
        }
        Some(plan)
    }

    /// Reads a key that `[numbering]` and its plans have in common; false if it is none.
    fn plan_key(&mut self, plan: &mut PlanKeys, key: &str, value: &Spanned<DeValue<'_>>) -> bool {
        match key {
            "country_code" => plan.country_code = self.digits(key, value),
            "international_prefix" => plan.international_prefix = self.prefixes(key, value),
            "national_prefix" => plan.national_prefix = self.digits(key, value),
            "outside_prefix" => plan.outside_prefix = self.digits(key, value),
            "strip" => plan.strip = self.prefixes(key, value),
            "bare" => plan.bare = self.word(key, value, &["national", "e164"]),
            _ => return false,
        }
        true
    }

    /// One string or an array of them, which may be empty: then there are none.
    fn prefixes(&mut self, key: &str, value: &Spanned<DeValue<'_>>) -> Option<Values> {
        if let DeValue::Array(array) = value.get_ref() {
            if array.is_empty() {
                return Some(Located { value: Vec::new(), span: value.span() });
            }
            return self.values(key, value);
        }
        let text = self.digits(key, value)?;
        let scalar = Located { value: Scalar::String(text.value), span: text.span };
        Some(Located { value: vec![scalar], span: value.span() })
    }

    fn sets(&mut self, key: &str, value: &Spanned<DeValue<'_>>, source: &mut Source) {
        let Some(table) = self.table(key, value) else { return };
        for (name, span, value) in fields(table) {
            match self.set(name, span, value) {
                Some(set) => source.sets.push(set),
                None => source.broken_sets.push(name.to_owned()),
            }
        }
    }

    fn set(&mut self, name: &str, span: Range<usize>, value: &Spanned<DeValue<'_>>) -> Option<Set> {
        const ENTRY_KEYS: &str = "`addresses`, `numbers`, `user_agents` or `patterns`";
        let DeValue::Table(table) = value.get_ref() else {
            let help = Some(format!("write a section `[sets.{name}]` with {ENTRY_KEYS}"));
            let found = type_name(value.get_ref());
            self.error(Code::WrongType, &span, format!("the set `{name}` must be a section, not {found}"), help);
            return None;
        };
        self.check_name("a set", &Located { value: name.to_owned(), span: span.clone() });
        let of = format!("the set `{name}`");
        let mut entries_key = None;
        let mut entries = None;
        let mut format: Option<(Range<usize>, Option<Located<String>>)> = None;
        let (mut label, mut max_errors, mut has_unknown_key) = (None, None, false);
        let mut allow_empty = false;
        for (key, span, value) in fields(table) {
            match key {
                "format" => format = Some((span, self.word(key, value, &["national", "e164"]))),
                "label" => label = self.string(key, value),
                "max_errors" => max_errors = self.integer(key, value),
                "allow_empty" => allow_empty = self.boolean(key, value).unwrap_or(false),
                "description" | "comment" => {
                    self.string(key, value);
                }
                _ => match SetKind::ALL.into_iter().find(|kind| kind.key() == key) {
                    Some(kind) => {
                        if let Some(first) = entries_key {
                            let help = Some("a set holds entries of one kind: split it into two sets".to_owned());
                            let message = format!("{of} has both `{first}` and `{key}`");
                            self.error(Code::UnknownKey, &span, message, help);
                        } else {
                            entries_key = Some(kind.key());
                            entries = self.entries(key, value).map(|entries| (kind, entries));
                        }
                    }
                    None => {
                        has_unknown_key = true;
                        self.unknown_key(key, &span, &of, SET_KEYS);
                    }
                },
            }
        }
        // An unknown key is probably the missing one, misspelt.
        if entries_key.is_none() && !has_unknown_key {
            let help = Some(format!("add {ENTRY_KEYS}, with a file or an array"));
            self.error(Code::MissingKey, &span, format!("{of} has no entries"), help);
        }
        let (kind, entries) = entries?;
        if let Some((span, _)) = format.as_ref().filter(|_| kind != SetKind::Numbers) {
            let help = Some("remove it".to_owned());
            self.error(Code::UnknownKey, span, "`format` is only for sets of numbers", help);
        }
        if let Some(label) = label.as_ref().filter(|_| kind != SetKind::Addresses) {
            let help = Some("remove it".to_owned());
            self.error(Code::UnknownKey, &label.span, "`label` is only for sets of addresses", help);
        }
        let max_errors = max_errors.map_or(0, |max_errors| self.max_errors(&max_errors, &entries));
        let national = format.and_then(|(_, word)| word).is_some_and(|word| word.value == "national");
        Some(Set {
            name: Located { value: name.to_owned(), span },
            kind,
            entries,
            national,
            label,
            max_errors,
            allow_empty,
        })
    }

    fn max_errors(&mut self, max_errors: &Located<i64>, entries: &Entries) -> u64 {
        if max_errors.value < 0 {
            let message = format!("`max_errors` cannot be {}", max_errors.value);
            let help = Some("use a whole number, 0 or more".to_owned());
            self.error(Code::BadValue, &max_errors.span, message, help);
        } else if matches!(entries, Entries::Inline(_)) {
            let message = "`max_errors` is only for sets whose entries are in a file";
            let help = Some("remove it: mistakes in entries written here can be fixed here".to_owned());
            self.error(Code::UnknownKey, &max_errors.span, message, help);
        }
        u64::try_from(max_errors.value).unwrap_or(0)
    }

    fn entries(&mut self, key: &str, value: &Spanned<DeValue<'_>>) -> Option<Entries> {
        if let DeValue::String(path) = value.get_ref() {
            return Some(Entries::File(Located { value: path.clone().into_owned(), span: value.span() }));
        }
        if let DeValue::Array(array) = value.get_ref() {
            return Some(Entries::Inline(array.iter().filter_map(|entry| self.string(key, entry)).collect()));
        }
        self.wrong_type(key, value, "a path or an array of strings");
        None
    }
}
