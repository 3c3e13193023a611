//! `policy.toml` as it is written: keys and types checked, every value with its span, nothing looked up yet.
//!
//! The file is walked by hand over the spanned tree instead of being deserialised, so that one run tells every mistake in
//! it, at its place, with what was probably meant.

use std::ops::Range;

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use crate::{
    language::diagnostics::{Code, Diagnostic, Diagnostics, SourceFile, mend_name},
    language::scope::{SCOPES, Scope},
};

/// A value and the bytes of the file that it stands in.
#[derive(Clone, Debug)]
pub struct Located<T> {
    /// The value.
    pub value: T,
    /// Its bytes in the file; of a string with its quotes.
    pub span: Range<usize>,
}

/// The file.
#[derive(Debug, Default)]
pub struct Source {
    /// `default = "drop"`.
    pub default_drop: bool,
    /// `[network]`; none if there is no such section.
    pub network: Option<Network>,
    /// `[numbering]`.
    pub numbering: Numbering,
    /// `never_ban`.
    pub never_ban: Option<Values>,
    /// `[sets.*]`, in file order.
    pub sets: Vec<Set>,
    /// Names of sets that could not be read: what names them has no mistake of its own.
    pub broken_sets: Vec<String>,
    /// `[[rule]]`, in file order.
    pub rules: Vec<Rule>,
    /// True if something in the file could not be read at all: what is missing may be in that part.
    pub incomplete: bool,
}

/// Values of a condition or of a key that takes several.
pub type Values = Located<Vec<Located<Scalar>>>;

/// A value that is no table and no array.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar {
    /// A string.
    String(String),
    /// An integer.
    Integer(i64),
    /// A boolean.
    Boolean(bool),
}

/// `[network]`.
#[derive(Debug, Default)]
pub struct Network {
    /// `udp`.
    pub udp: Vec<Located<i64>>,
    /// `tcp`.
    pub tcp: Vec<Located<i64>>,
    /// `tls`.
    pub tls: Vec<Located<i64>>,
    /// The section's header.
    pub span: Range<usize>,
    /// True if some of it could not be read.
    pub incomplete: bool,
}

/// `[numbering]`.
#[derive(Debug, Default)]
pub struct Numbering {
    /// True if the section is there.
    pub present: bool,
    /// `country_code`.
    pub country_code: Option<Located<String>>,
    /// `international_prefix`.
    pub international_prefix: Option<Located<String>>,
    /// `national_prefix`.
    pub national_prefix: Option<Located<String>>,
    /// `bare`.
    pub bare: Option<Located<String>>,
    /// `neighbor_digits`.
    pub neighbor_digits: Option<Located<i64>>,
    /// `asserted_identity_from`.
    pub asserted_identity_from: Option<Values>,
    /// `ranges`.
    pub ranges: Option<Values>,
}

/// What a set's entries are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SetKind {
    /// `addresses`.
    Addresses,
    /// `numbers`.
    Numbers,
    /// `patterns`.
    Patterns,
    /// `user_agents`.
    UserAgents,
}

impl SetKind {
    /// Every kind and its key.
    pub const KEYS: [(&str, Self); 4] = [
        ("addresses", Self::Addresses),
        ("numbers", Self::Numbers),
        ("patterns", Self::Patterns),
        ("user_agents", Self::UserAgents),
    ];

    /// Its key.
    #[must_use]
    pub fn key(self) -> &'static str {
        Self::KEYS.iter().find(|(_, kind)| *kind == self).map_or("", |(key, _)| key)
    }
}

/// `[sets.NAME]`.
#[derive(Debug)]
pub struct Set {
    /// Its name.
    pub name: Located<String>,
    /// What its entries are.
    pub kind: SetKind,
    /// Where its entries are.
    pub entries: Entries,
    /// `format = "national"`.
    pub national: bool,
    /// `label`.
    pub label: Option<Located<String>>,
    /// `max_errors`: entries of its file that may be unreadable.
    pub max_errors: u64,
}

/// Where a set's entries are.
#[derive(Debug)]
pub enum Entries {
    /// In the policy itself.
    Inline(Vec<Located<String>>),
    /// In a file of the repository.
    File(Located<String>),
}

/// `[[rule]]`.
#[derive(Debug)]
pub struct Rule {
    /// The rule's header.
    pub span: Range<usize>,
    /// `name`.
    pub name: Located<String>,
    /// `stage`.
    pub stage: Option<Located<String>>,
    /// `match`.
    pub conditions: Vec<Condition>,
    /// `action`; none if it could not be read.
    pub action: Option<Located<Action>>,
    /// `mode = "report"`.
    pub report: bool,
    /// `over`; none also if it could not be read.
    pub over: Option<Over>,
    /// `basis`.
    pub basis: Option<Located<String>>,
    /// `review`.
    pub review: Option<Located<toml::value::Date>>,
}

/// One condition.
#[derive(Debug)]
pub struct Condition {
    /// Its scope; the span is that of its key.
    pub scope: Located<Scope>,
    /// `not.`
    pub negated: bool,
    /// Its values.
    pub values: Values,
}

/// An action with its raw argument.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// `drop`.
    Drop,
    /// `continue`.
    Continue,
    /// `bypass-fraud-control`.
    BypassFraudControl,
    /// `whitelist`.
    Whitelist,
    /// `{ ban = "10m" }`.
    Ban(String),
    /// `{ reject = 603 }`.
    Reject(i64),
    /// `{ divert = "sip:..." }`.
    Divert(String),
}

/// `over`.
#[derive(Debug)]
pub struct Over {
    /// `rate`.
    pub rate: Located<String>,
    /// `burst`.
    pub burst: Option<Located<i64>>,
    /// `per`.
    pub per: Option<Located<String>>,
}

/// Keys at the top of the file.
pub const TOP_KEYS: &[&str] = &["version", "default", "never_ban", "network", "numbering", "sets", "rule"];
/// Keys of `[network]`.
pub const NETWORK_KEYS: &[&str] = &["udp", "tcp", "tls"];
/// Keys of `[numbering]`.
pub const NUMBERING_KEYS: &[&str] = &[
    "country_code",
    "international_prefix",
    "national_prefix",
    "bare",
    "neighbor_digits",
    "asserted_identity_from",
    "ranges",
];
/// Keys of `[sets.NAME]`.
pub const SET_KEYS: &[&str] =
    &["addresses", "numbers", "patterns", "user_agents", "format", "label", "max_errors", "description", "comment"];
/// Keys of `[[rule]]`.
pub const RULE_KEYS: &[&str] =
    &["name", "description", "comment", "stage", "match", "action", "mode", "over", "basis", "review"];
/// Keys of `over`.
pub const OVER_KEYS: &[&str] = &["rate", "burst", "per"];
/// Actions, as strings or as the key of a table.
pub const ACTIONS: &[&str] = &["drop", "continue", "bypass-fraud-control", "whitelist", "ban", "reject", "divert"];
/// Bytes of the longest name of a rule or set.
pub const LONGEST_NAME: usize = 64;
/// The version of the language.
pub const VERSION: i64 = 1;

/// Reads the file. What cannot be read is told in `diagnostics` and left out.
#[must_use]
pub fn parse(file: &SourceFile, diagnostics: &mut Diagnostics) -> Source {
    let (document, errors) = DeTable::parse_recoverable(&file.text);
    let mut reader = Reader { file, diagnostics, broken_lines: Vec::new() };
    for error in &errors {
        let place = file.place(error.span().unwrap_or(0..0));
        // One slip of the pen upsets the parser several times; the first complaint about a line is the useful one.
        if !reader.broken_lines.contains(&place.line) {
            reader.broken_lines.push(place.line);
            reader
                .diagnostics
                .push(Diagnostic::error(Code::Syntax, format!("not valid TOML: {}", error.message().trim())).at(place));
        }
    }
    let mut source = reader.source(document.get_ref());
    source.incomplete = !errors.is_empty();
    source
}

/// A table's entries with their keys, in file order.
type Fields<'t, 'i> = Vec<(&'t str, Range<usize>, &'t Spanned<DeValue<'i>>)>;

fn fields<'t, 'i>(table: &'t DeTable<'i>) -> Fields<'t, 'i> {
    let mut fields: Fields<'t, 'i> =
        table.iter().map(|(key, value)| (key.get_ref().as_ref(), key.span(), value)).collect();
    fields.sort_by_key(|(_, span, _)| span.start);
    fields
}

struct Reader<'a> {
    file: &'a SourceFile,
    diagnostics: &'a mut Diagnostics,
    broken_lines: Vec<u32>,
}

impl Reader<'_> {
    fn tell(&mut self, diagnostic: Diagnostic) {
        // What the parser made of a line that it could not read says nothing about what was written.
        let broken = diagnostic.place.as_ref().is_some_and(|place| self.broken_lines.contains(&place.line));
        if !broken {
            self.diagnostics.push(diagnostic);
        }
    }

    fn error(&mut self, code: Code, span: &Range<usize>, message: impl Into<String>, help: Option<String>) {
        let place = self.file.place(span.clone());
        self.tell(Diagnostic::error(code, message).at(place).maybe_help(help));
    }

    fn unknown_key(&mut self, key: &str, span: &Range<usize>, of: &str, known: &[&str]) {
        let help = mend_name(key, known.iter().copied());
        self.error(Code::UnknownKey, span, format!("unknown key `{key}` in {of}"), help);
    }

    fn wrong_type(&mut self, key: &str, value: &Spanned<DeValue<'_>>, wanted: &str) {
        let found = type_name(value.get_ref());
        self.error(Code::WrongType, &value.span(), format!("`{key}` is {wanted}, not {found}"), None);
    }

    fn source(&mut self, document: &DeTable<'_>) -> Source {
        let mut source = Source::default();
        let mut version_seen = false;
        for (key, span, value) in fields(document) {
            match key {
                "version" => {
                    version_seen = true;
                    self.version(value);
                }
                "default" => {
                    source.default_drop =
                        self.word(key, value, &["pass", "drop"]).is_some_and(|word| word.value == "drop");
                }
                "never_ban" => source.never_ban = self.values(key, value),
                "network" => source.network = self.network(key, &span, value),
                "numbering" => source.numbering = self.numbering(key, value),
                "sets" => self.sets(key, value, &mut source),
                "rule" => source.rules = self.rules(key, value),
                "rules" | "set" => {
                    let meant = if key == "set" { "`[sets.NAME]`" } else { "`[[rule]]`" };
                    let help = Some(format!("write {meant}"));
                    self.error(Code::UnknownKey, &span, format!("unknown key `{key}` in the policy"), help);
                }
                _ => self.unknown_key(key, &span, "the policy", TOP_KEYS),
            }
        }
        if !version_seen && self.broken_lines.is_empty() {
            let help = Some(format!("begin the file with `version = {VERSION}`"));
            self.error(Code::MissingKey, &(0..0), "the policy does not say its `version`", help);
        }
        source
    }

    fn version(&mut self, value: &Spanned<DeValue<'_>>) {
        if let Some(version) = self.integer("version", value)
            && version.value != VERSION
        {
            self.error(
                Code::UnsupportedVersion,
                &version.span,
                format!("version {} of the policy language is not known to this program", version.value),
                Some(format!("this program reads version {VERSION}; a newer policy needs a newer ringfence")),
            );
        }
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
                "country_code" => numbering.country_code = self.digits(key, value),
                "international_prefix" => numbering.international_prefix = self.digits(key, value),
                "national_prefix" => numbering.national_prefix = self.digits(key, value),
                "bare" => numbering.bare = self.word(key, value, &["national", "e164"]),
                "neighbor_digits" => numbering.neighbor_digits = self.integer(key, value),
                "asserted_identity_from" => numbering.asserted_identity_from = self.values(key, value),
                "ranges" => numbering.ranges = self.values(key, value),
                _ => self.unknown_key(key, &span, "`[numbering]`", NUMBERING_KEYS),
            }
        }
        numbering
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
        let DeValue::Table(table) = value.get_ref() else {
            let help = Some(format!(
                "write a section `[sets.{name}]` with `addresses`, `numbers`, `user_agents` or `patterns`"
            ));
            let found = type_name(value.get_ref());
            self.error(Code::WrongType, &span, format!("the set `{name}` is a section, not {found}"), help);
            return None;
        };
        self.name_is_plain("set", &Located { value: name.to_owned(), span: span.clone() });
        let of = format!("the set `{name}`");
        let (mut kind, mut national, mut label) = (None, false, None);
        let (mut kind_key, mut complete) = (None, true);
        let (mut format_span, mut unknown, mut max_errors) = (None, false, None);
        for (key, span, value) in fields(table) {
            match key {
                "format" => {
                    national =
                        self.word(key, value, &["national", "e164"]).is_some_and(|word| word.value == "national");
                    format_span = Some(span);
                }
                "label" => label = self.string(key, value),
                "max_errors" => max_errors = self.integer(key, value),
                "description" | "comment" => {
                    self.string(key, value);
                }
                _ => match SetKind::KEYS.iter().find(|(name, _)| *name == key) {
                    Some((key, found)) => {
                        if let Some(first) = kind_key {
                            let help = Some("a set has entries of one kind: make two sets of it".to_owned());
                            let message = format!("{of} has both `{first}` and `{key}`");
                            self.error(Code::UnknownKey, &span, message, help);
                        } else {
                            kind_key = Some(*key);
                            kind = self.entries(key, value).map(|entries| (*found, entries));
                            complete = kind.is_some();
                        }
                    }
                    None => {
                        unknown = true;
                        self.unknown_key(key, &span, &of, SET_KEYS);
                    }
                },
            }
        }
        // A misspelt key was probably the one that is missing.
        if kind_key.is_none() && !unknown {
            let help =
                "say what its entries are: `addresses`, `numbers`, `user_agents` or `patterns`, a file or an array";
            self.error(Code::MissingKey, &span, format!("{of} has no entries"), Some(help.to_owned()));
        }
        let (kind, entries) = kind.filter(|_| complete)?;
        if let Some(format_span) = format_span.filter(|_| kind != SetKind::Numbers) {
            self.error(Code::UnknownKey, &format_span, "`format` belongs to sets of numbers only", None);
        }
        if let Some(label) = label.as_ref().filter(|_| kind != SetKind::Addresses) {
            self.error(Code::UnknownKey, &label.span, "`label` belongs to sets of addresses only", None);
        }
        if let Some(most) = &max_errors {
            if most.value < 0 {
                let message = format!("`max_errors` cannot be {}", most.value);
                self.error(Code::BadValue, &most.span, message, Some("a whole number, 0 or more".to_owned()));
            } else if matches!(entries, Entries::Inline(_)) {
                let message = "`max_errors` belongs to sets whose entries are in a file";
                self.error(
                    Code::UnknownKey,
                    &most.span,
                    message,
                    Some("remove it: entries here can be mended".to_owned()),
                );
            }
        }
        let max_errors = max_errors.and_then(|most| u64::try_from(most.value).ok()).unwrap_or(0);
        Some(Set { name: Located { value: name.to_owned(), span }, kind, entries, national, label, max_errors })
    }

    fn entries(&mut self, key: &str, value: &Spanned<DeValue<'_>>) -> Option<Entries> {
        match value.get_ref() {
            DeValue::String(path) => {
                Some(Entries::File(Located { value: path.clone().into_owned(), span: value.span() }))
            }
            DeValue::Array(array) => {
                let entries = array.iter().filter_map(|entry| self.string(key, entry)).collect();
                Some(Entries::Inline(entries))
            }
            _ => {
                self.wrong_type(key, value, "a path or an array of strings");
                None
            }
        }
    }

    fn rules(&mut self, key: &str, value: &Spanned<DeValue<'_>>) -> Vec<Rule> {
        let DeValue::Array(array) = value.get_ref() else {
            let help = Some("write `[[rule]]` with two brackets: there are several".to_owned());
            let found = type_name(value.get_ref());
            self.error(Code::WrongType, &value.span(), format!("`{key}` is an array of sections, not {found}"), help);
            return Vec::new();
        };
        array.iter().filter_map(|rule| self.rule(rule)).collect()
    }

    fn rule(&mut self, value: &Spanned<DeValue<'_>>) -> Option<Rule> {
        let table = self.table("rule", value)?;
        let mut rule = Rule {
            span: value.span(),
            name: Located { value: String::new(), span: value.span() },
            stage: None,
            conditions: Vec::new(),
            action: None,
            report: false,
            over: None,
            basis: None,
            review: None,
        };
        let named = table.get("name").and_then(|name| name.get_ref().as_str()).map(ToOwned::to_owned);
        let of = named.as_ref().map_or("the rule".to_owned(), |name| format!("the rule `{name}`"));
        let (mut name_seen, mut action_seen) = (false, false);
        for (key, span, value) in fields(table) {
            match key {
                "name" => {
                    name_seen = true;
                    if let Some(name) = self.string(key, value) {
                        self.name_is_plain("rule", &name);
                        rule.name = name;
                    }
                }
                "description" | "comment" => {
                    self.string(key, value);
                }
                "stage" => rule.stage = self.string(key, value),
                "match" => {
                    if let Some(table) = self.table(key, value) {
                        self.conditions(table, "", false, &mut rule.conditions);
                    }
                }
                "action" => {
                    action_seen = true;
                    rule.action = self.action(value);
                }
                "mode" => {
                    rule.report =
                        self.word(key, value, &["enforce", "report"]).is_some_and(|word| word.value == "report");
                }
                "over" => rule.over = self.over(&span, value),
                "basis" => rule.basis = self.string(key, value),
                "review" => rule.review = self.date(key, value),
                // A condition beside `match` is a likely slip, and easily told.
                _ if Scope::of(key).is_some() => {
                    let help = Some(format!("write `match.{key} = ...`"));
                    self.error(
                        Code::UnknownKey,
                        &span,
                        format!("the condition `{key}` stands outside of `match` in {of}"),
                        help,
                    );
                }
                _ => self.unknown_key(key, &span, &of, RULE_KEYS),
            }
        }
        if !name_seen {
            let help = Some("give it a `name`: counters, events and `explain` speak of it by that".to_owned());
            self.error(Code::MissingKey, &rule.span, "a rule without `name`", help);
        }
        if !action_seen {
            let help = Some(format!("add `action = \"drop\"`, or another of {}", ACTIONS.join(", ")));
            self.error(Code::MissingKey, &rule.span, format!("{of} has no `action`"), help);
        }
        Some(rule)
    }

    /// Names are metric labels, keys of counters and words on the command line.
    fn name_is_plain(&mut self, of: &str, name: &Located<String>) {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if name.value.is_empty() || name.value.len() > LONGEST_NAME || !name.value.bytes().all(plain) {
            let help = format!("letters, digits, `-`, `_` and `.`, at most {LONGEST_NAME} of them");
            self.error(
                Code::BadValue,
                &name.span,
                format!("`{}` cannot be the name of a {of}", name.value),
                Some(help),
            );
        }
    }

    fn conditions(&mut self, table: &DeTable<'_>, path: &str, negated: bool, conditions: &mut Vec<Condition>) {
        for (key, span, value) in fields(table) {
            let mut path = if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
            let mut negated = negated;
            if !negated && (path == "not" || path.starts_with("not.")) {
                negated = true;
                path.drain(..path.len().min("not.".len()));
            }
            match (Scope::of(&path), value.get_ref()) {
                (None, DeValue::Table(table)) if path.is_empty() || path == "header" => {
                    self.conditions(table, &path, negated, conditions);
                }
                (Some(scope), _) => {
                    if let Some(values) = self.values(&path, value) {
                        conditions.push(Condition { scope: Located { value: scope, span }, negated, values });
                    }
                }
                (None, _) if path.starts_with("header.") || path == "header" => {
                    let name = path.strip_prefix("header").unwrap_or_default().trim_start_matches('.');
                    let known = SCOPES.iter().filter_map(|(name, ..)| name.strip_prefix("header."));
                    let help = mend_name(name, known);
                    self.error(Code::UnknownHeader, &span, format!("patterns cannot run over `{path}`"), help);
                }
                (None, _) if path.is_empty() => {
                    let help = Some("write `not.source = \"@trunks\"` or `not = { source = \"@trunks\" }`".to_owned());
                    self.error(Code::WrongType, &span, "`not` stands before a scope", help);
                }
                (None, _) => {
                    let mut help = mend_name(&path, SCOPES.iter().map(|(name, ..)| *name));
                    if path == "from" || path == "to" {
                        let meant = if path == "from" {
                            "from_number` or `header.from-user"
                        } else {
                            "called` or `header.to-user"
                        };
                        help = Some(format!("did you mean `{meant}`?"));
                    }
                    self.error(Code::UnknownScope, &span, format!("unknown scope `{path}`"), help);
                }
            }
        }
    }

    fn action(&mut self, value: &Spanned<DeValue<'_>>) -> Option<Located<Action>> {
        let span = value.span();
        let at = |action| Some(Located { value: action, span: span.clone() });
        match value.get_ref() {
            DeValue::String(word) => match word.as_ref() {
                "drop" => at(Action::Drop),
                "continue" => at(Action::Continue),
                "bypass-fraud-control" => at(Action::BypassFraudControl),
                "whitelist" => at(Action::Whitelist),
                "ban" => self.bad_action(&span, "`ban` needs a duration", "write `action = { ban = \"10m\" }`"),
                "reject" => self.bad_action(&span, "`reject` needs a status code", "write `action = { reject = 603 }`"),
                "divert" => self.bad_action(
                    &span,
                    "`divert` needs a URI",
                    "write `action = { divert = \"sip:captcha@example.com\" }`",
                ),
                other => {
                    let help = match other {
                        "pass" | "accept" | "allow" => Some(
                            "`whitelist` lets the packet through at once, `continue` ends this rule's stage".to_owned(),
                        ),
                        _ => mend_name(other, ACTIONS.iter().copied()),
                    };
                    self.error(Code::BadAction, &span, format!("unknown action `{other}`"), help);
                    None
                }
            },
            DeValue::Table(table) => {
                let fields = fields(table);
                let [(key, key_span, argument)] = fields.as_slice() else {
                    return self.bad_action(&span, "an action is one of its kind", "write two rules");
                };
                match *key {
                    "ban" => self.string(key, argument).and_then(|text| at(Action::Ban(text.value))),
                    "reject" => self.integer(key, argument).and_then(|status| at(Action::Reject(status.value))),
                    "divert" => self.string(key, argument).and_then(|uri| at(Action::Divert(uri.value))),
                    "drop" | "continue" | "bypass-fraud-control" | "whitelist" => {
                        let help = format!("write `action = \"{key}\"`");
                        self.bad_action(key_span, &format!("`{key}` takes no argument"), &help)
                    }
                    _ => {
                        let help = mend_name(key, ACTIONS.iter().copied());
                        self.error(Code::BadAction, key_span, format!("unknown action `{key}`"), help);
                        None
                    }
                }
            }
            _ => {
                self.wrong_type("action", value, "a string or a table such as { ban = \"10m\" }");
                None
            }
        }
    }

    fn bad_action(&mut self, span: &Range<usize>, message: &str, help: &str) -> Option<Located<Action>> {
        self.error(Code::BadAction, span, message, Some(help.to_owned()));
        None
    }

    fn over(&mut self, key_span: &Range<usize>, value: &Spanned<DeValue<'_>>) -> Option<Over> {
        let help = "write `over = { rate = \"5/s\", burst = 20, per = \"called\" }`";
        let DeValue::Table(table) = value.get_ref() else {
            let found = type_name(value.get_ref());
            self.error(
                Code::WrongType,
                &value.span(),
                format!("`over` is a table, not {found}"),
                Some(help.to_owned()),
            );
            return None;
        };
        let (mut rate, mut rate_seen, mut burst, mut per) = (None, false, None, None);
        for (key, span, value) in fields(table) {
            match key {
                "rate" => {
                    rate_seen = true;
                    rate = self.string(key, value);
                }
                "burst" => burst = self.integer(key, value),
                "per" => per = self.string(key, value),
                _ => self.unknown_key(key, &span, "`over`", OVER_KEYS),
            }
        }
        if !rate_seen {
            self.error(Code::MissingKey, key_span, "`over` has no `rate`", Some(help.to_owned()));
        }
        rate.map(|rate| Over { rate, burst, per })
    }

    fn table<'t, 'i>(&mut self, key: &str, value: &'t Spanned<DeValue<'i>>) -> Option<&'t DeTable<'i>> {
        if let DeValue::Table(table) = value.get_ref() {
            return Some(table);
        }
        self.wrong_type(key, value, "a section");
        None
    }

    fn string(&mut self, key: &str, value: &Spanned<DeValue<'_>>) -> Option<Located<String>> {
        if let DeValue::String(text) = value.get_ref() {
            return Some(Located { value: text.clone().into_owned(), span: value.span() });
        }
        self.wrong_type(key, value, "a string");
        None
    }

    fn word(&mut self, key: &str, value: &Spanned<DeValue<'_>>, known: &[&str]) -> Option<Located<String>> {
        let word = self.string(key, value)?;
        if known.contains(&word.value.as_str()) {
            return Some(word);
        }
        let help = mend_name(&word.value, known.iter().copied());
        self.error(Code::BadValue, &word.span, format!("`{key}` cannot be `{}`", word.value), help);
        None
    }

    /// Digits are strings, since a number would lose the zeros that it begins with; an integer is told so.
    fn digits(&mut self, key: &str, value: &Spanned<DeValue<'_>>) -> Option<Located<String>> {
        if let DeValue::Integer(integer) = value.get_ref() {
            let help = Some(format!("write it as a string: `{key} = \"{}\"`", integer.as_str()));
            self.error(Code::WrongType, &value.span(), format!("`{key}` is a string of digits, not an integer"), help);
            return None;
        }
        self.string(key, value)
    }

    fn integer(&mut self, key: &str, value: &Spanned<DeValue<'_>>) -> Option<Located<i64>> {
        let DeValue::Integer(integer) = value.get_ref() else {
            self.wrong_type(key, value, "an integer");
            return None;
        };
        let Ok(integer) = i64::from_str_radix(integer.as_str(), integer.radix()) else {
            self.error(Code::BadValue, &value.span(), format!("`{key}` is too large"), None);
            return None;
        };
        Some(Located { value: integer, span: value.span() })
    }

    fn integers(&mut self, key: &str, value: &Spanned<DeValue<'_>>) -> Vec<Located<i64>> {
        match value.get_ref() {
            DeValue::Array(array) => array.iter().filter_map(|entry| self.integer(key, entry)).collect(),
            DeValue::Integer(_) => self.integer(key, value).into_iter().collect(),
            _ => {
                self.wrong_type(key, value, "an array of integers");
                Vec::new()
            }
        }
    }

    /// A date, bare or as a string.
    fn date(&mut self, key: &str, value: &Spanned<DeValue<'_>>) -> Option<Located<toml::value::Date>> {
        let date = match value.get_ref() {
            DeValue::Datetime(datetime) => datetime.date,
            DeValue::String(text) => text.parse::<toml::value::Datetime>().ok().and_then(|datetime| datetime.date),
            _ => None,
        };
        match date {
            Some(date) => Some(Located { value: date, span: value.span() }),
            None => {
                let help = Some(format!("write `{key} = 2027-01-31`"));
                self.error(Code::BadDate, &value.span(), format!("`{key}` is a date"), help);
                None
            }
        }
    }

    fn values(&mut self, key: &str, value: &Spanned<DeValue<'_>>) -> Option<Values> {
        let scalars = match value.get_ref() {
            DeValue::Array(array) => {
                if array.is_empty() {
                    let help = Some("no value can match: leave the condition out, or name one".to_owned());
                    self.error(Code::Empty, &value.span(), format!("`{key}` has no values"), help);
                    return None;
                }
                let scalars: Vec<_> = array.iter().filter_map(|entry| self.scalar(key, entry)).collect();
                if scalars.len() < array.len() {
                    return None;
                }
                scalars
            }
            _ => vec![self.scalar(key, value)?],
        };
        Some(Located { value: scalars, span: value.span() })
    }

    fn scalar(&mut self, key: &str, value: &Spanned<DeValue<'_>>) -> Option<Located<Scalar>> {
        let scalar = match value.get_ref() {
            DeValue::String(text) => Scalar::String(text.clone().into_owned()),
            DeValue::Boolean(value) => Scalar::Boolean(*value),
            DeValue::Integer(_) => Scalar::Integer(self.integer(key, value)?.value),
            _ => {
                self.wrong_type(key, value, "a value or an array of values");
                return None;
            }
        };
        Some(Located { value: scalar, span: value.span() })
    }
}

fn type_name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}
