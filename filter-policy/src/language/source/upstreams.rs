//! `[[upstream]]`: who sends calls, from where, and how many.

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    CAP_KEYS, CONTACT_KEYS, Cap, Contact, Located, Reader, UPSTREAM_KEYS, Upstream, fields, reader::type_name,
};
use crate::language::{
    action::Action,
    diagnostics::Code,
    upstream::{CapKind, UpstreamKind},
};

impl Reader<'_> {
    pub(super) fn upstreams(&mut self, key: &str, value: &Spanned<DeValue<'_>>) -> Vec<Upstream> {
        let DeValue::Array(array) = value.get_ref() else {
            let help = Some("write `[[upstream]]` with double brackets: it is an array".to_owned());
            let found = type_name(value.get_ref());
            let message = format!("`{key}` must be an array of sections, not {found}");
            self.error(Code::WrongType, &value.span(), message, help);
            return Vec::new();
        };
        array.iter().filter_map(|upstream| self.upstream(key, upstream)).collect()
    }

    fn upstream(&mut self, key: &str, value: &Spanned<DeValue<'_>>) -> Option<Upstream> {
        let table = self.table(key, value)?;
        let mut upstream = Upstream {
            span: value.span(),
            name: Located { value: String::new(), span: value.span() },
            trunks: None,
            kind: None,
            frn: None,
            rmd: None,
            ocn: None,
            spc: None,
            contacts: Vec::new(),
            callers: None,
            caps: Vec::new(),
        };
        let name = table.get("name").and_then(|name| name.get_ref().as_str());
        let of = name.map_or("the upstream".to_owned(), |name| format!("the upstream `{name}`"));
        let (mut has_name, mut has_trunks) = (false, false);
        for (key, span, value) in fields(table) {
            match key {
                "name" => {
                    has_name = true;
                    if let Some(name) = self.string(key, value) {
                        self.check_name("an upstream", &name);
                        upstream.name = name;
                    }
                }
                "description" | "comment" => {
                    self.string(key, value);
                }
                "trunks" => {
                    has_trunks = true;
                    upstream.trunks = self.values(key, value);
                }
                "kind" => {
                    let kind = |name: &str| UpstreamKind::ALL.into_iter().find(|kind| kind.name() == name);
                    upstream.kind = self.word(key, value, &UpstreamKind::NAMES).and_then(|word| kind(&word.value));
                }
                "frn" => upstream.frn = self.digits(key, value),
                "rmd" => upstream.rmd = self.digits(key, value),
                "ocn" => upstream.ocn = self.digits(key, value),
                "spc" => upstream.spc = self.digits(key, value),
                "callers" => upstream.callers = self.values(key, value),
                "contacts" => upstream.contacts = self.tables(key, value, CONTACT, Self::contact),
                "caps" => upstream.caps = self.tables(key, value, CAP, Self::cap),
                _ => self.unknown_key(key, &span, &of, UPSTREAM_KEYS),
            }
        }
        if !has_name {
            let help = "add a `name`: rules, reports and commands refer to the upstream by it".to_owned();
            self.error(Code::MissingKey, &upstream.span, "an upstream has no `name`", Some(help));
        }
        if !has_trunks {
            let help = "add `trunks = \"@set\"`: the addresses that its calls come from".to_owned();
            self.error(Code::MissingKey, &upstream.span, format!("{of} has no `trunks`"), Some(help));
        }
        Some(upstream)
    }

    /// One table, or an array of them.
    fn tables<T>(
        &mut self,
        key: &str,
        value: &Spanned<DeValue<'_>>,
        example: &str,
        read: fn(&mut Self, &DeTable<'_>, &Spanned<DeValue<'_>>) -> Option<T>,
    ) -> Vec<T> {
        let one = std::slice::from_ref(value);
        let entries: &[Spanned<DeValue<'_>>] = match value.get_ref() {
            DeValue::Array(array) => array,
            DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Float(_)
            | DeValue::Integer(_)
            | DeValue::String(_)
            | DeValue::Table(_) => one,
        };
        let mut found = Vec::with_capacity(entries.len());
        for entry in entries {
            if let DeValue::Table(table) = entry.get_ref() {
                found.extend(read(self, table, entry));
            } else {
                let message = format!("`{key}` must be an array of tables, not {}", type_name(entry.get_ref()));
                self.error(Code::WrongType, &entry.span(), message, Some(format!("write `{example}`")));
            }
        }
        found
    }

    fn contact(&mut self, table: &DeTable<'_>, value: &Spanned<DeValue<'_>>) -> Option<Contact> {
        let mut contact = Contact { span: value.span(), role: None, name: None, email: None, telephone: None };
        for (key, span, value) in fields(table) {
            match key {
                "role" => contact.role = self.string(key, value),
                "name" => contact.name = self.string(key, value),
                "email" => contact.email = self.string(key, value),
                "telephone" => contact.telephone = self.digits(key, value),
                _ => self.unknown_key(key, &span, "`contacts`", CONTACT_KEYS),
            }
        }
        Some(contact)
    }

    fn cap(&mut self, table: &DeTable<'_>, value: &Spanned<DeValue<'_>>) -> Option<Cap> {
        let mut cap = Cap { limits: Vec::new(), burst: None, action: None, is_enforced: false, until: None };
        let mut is_complete = true;
        for (key, span, value) in fields(table) {
            match key {
                "calls_per_second" | "calls_per_day" => {
                    let kind = if key == "calls_per_day" { CapKind::Day } else { CapKind::Second };
                    let count = self.integer(key, value);
                    is_complete &= count.is_some();
                    let text = |count: Located<i64>| Located { value: count.value.to_string(), span: count.span };
                    cap.limits.extend(count.map(|count| (kind, text(count))));
                }
                "rate" => {
                    let rate = self.string(key, value);
                    is_complete &= rate.is_some();
                    cap.limits.extend(rate.map(|rate| (CapKind::Rate, rate)));
                }
                "concurrent" => {
                    is_complete = false;
                    let help = "cap `calls_per_second` and `calls_per_day`: with calls of a usual length, they bound how many are in \
                                progress";
                    let message = "calls in progress cannot be capped: the filter does not see when a call ends";
                    self.error(Code::UnknownKey, &span, message, Some(help.to_owned()));
                }
                "burst" => cap.burst = self.integer(key, value),
                "action" => cap.action = Action::read(self, value),
                "mode" => {
                    let mode = self.word(key, value, &["enforce", "report"]);
                    cap.is_enforced = mode.is_some_and(|word| word.value == "enforce");
                }
                "until" => cap.until = self.day_or_time(key, value),
                _ => {
                    is_complete = false;
                    self.unknown_key(key, &span, "`caps`", CAP_KEYS);
                }
            }
        }
        if cap.limits.is_empty() && is_complete {
            let message = "a cap without `calls_per_second`, `calls_per_day` or `rate` limits nothing";
            self.error(Code::MissingKey, &value.span(), message, Some(format!("write `{CAP}`")));
        }
        if let Some(burst) = cap.burst.as_ref().filter(|_| is_complete && cap.limits.len() > 1) {
            let help = Some("write two caps, each with its own `burst`".to_owned());
            self.error(Code::BadValue, &burst.span, "`burst` can only be of one limit, and this cap has several", help);
        }
        Some(cap)
    }
}

/// How a contact is written.
const CONTACT: &str =
    "contacts = [{ role = \"noc\", name = \"...\", email = \"noc@example.net\", telephone = \"+1...\" }]";

/// How a cap is written.
const CAP: &str = "caps = [{ calls_per_second = 10, until = 2027-01-31 }]";
