//! From `policy.toml` as written to a [`Policy`]: sets read, names looked up, values parsed.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use filter_core::{
    layout::{Action, Attestation, Method, NumberFormat, Per, Text, Transport, Verstat, anomaly},
    limits::{MAX_PORTS, MAX_RULES},
};

use crate::{
    cache::{CachedEntries, CachedList, ListCache, ListKey},
    files::{Directory, Files, stays_inside},
    language::diagnostics::{Code, Diagnostic, Diagnostics, Severity, SourceFile, mend_name},
    language::scope::Scope,
    language::source::{self, Entries, Located, Scalar, SetKind, Source, Values},
    lint,
    lists::{self, Day, Mistake, NumberForm},
    model::{
        AddressEntry, AddressList, Comparison, Condition, MethodName, NumberEntry, NumberList, NumberRange, Numbering,
        Origin, Over, PatternEntry, PatternList, Policy, Rule, Test,
    },
    numbering,
};

/// The policy file of a repository.
pub const POLICY_FILE: &str = "policy.toml";

/// The stages that rules can be in. The walk is in file order whatever they are; a pinhole ends its own stage.
pub const STAGES: &[&str] = &["blacklist", "shield", "reputation", "fraud"];

/// The stage of a rule that names none.
pub const DEFAULT_STAGE: &str = "blacklist";

/// Loads the policy repository in a directory.
///
/// # Errors
///
/// Everything that is wrong with it, warnings included. A directory that cannot be opened is one diagnostic without place.
pub fn load(directory: &Path) -> Result<(Policy, Diagnostics), Diagnostics> {
    match Directory::new(directory) {
        Ok(files) => load_from(&files, today()),
        Err(error) => {
            let mut diagnostics = Diagnostics::default();
            let message = format!("cannot open the policy directory {}: {error}", directory.display());
            diagnostics.push(Diagnostic::error(Code::MissingFile, message));
            Err(diagnostics)
        }
    }
}

/// Loads a policy repository from anywhere. `today` decides what has expired.
///
/// # Errors
///
/// Everything that is wrong with it, warnings included.
pub fn load_from(files: &dyn Files, today: Day) -> Result<(Policy, Diagnostics), Diagnostics> {
    load_cached(files, today, &mut ListCache::default())
}

/// As [`load_from`]; lists in `cache` are not read again.
pub(super) fn load_cached(
    files: &dyn Files,
    today: Day,
    cache: &mut ListCache,
) -> Result<(Policy, Diagnostics), Diagnostics> {
    let mut diagnostics = Diagnostics::default();
    let path = Path::new(POLICY_FILE);
    let content = match files.read(path) {
        Ok(content) => content,
        Err(error) => {
            let message = format!("cannot read {POLICY_FILE}: {}", reason(&error));
            let help = "a policy repository is a directory with a `policy.toml` in it";
            diagnostics.push(Diagnostic::error(Code::MissingFile, message).help(help));
            return Err(diagnostics);
        }
    };
    let text = match std::str::from_utf8(&content) {
        Ok(text) => text,
        Err(error) => {
            let good = String::from_utf8_lossy(&content[..error.valid_up_to()]).into_owned();
            let end = good.len();
            let place = SourceFile::new(path, good).place(end..end);
            let message = "the policy is not UTF-8 from here on";
            diagnostics.push(Diagnostic::error(Code::Syntax, message).at(place).help("save the file as UTF-8"));
            return Err(diagnostics);
        }
    };
    let file = SourceFile::new(path, text.strip_prefix('\u{feff}').unwrap_or(text).to_owned());
    let source = source::parse(&file, &mut diagnostics);
    let resolver = Resolver {
        file: &file,
        files,
        today,
        cache,
        diagnostics: &mut diagnostics,
        sets: BTreeMap::new(),
        broken_sets: &source.broken_sets,
    };
    let policy = resolver.policy(&source);
    diagnostics.sort(path);
    if diagnostics.has_errors() { Err(diagnostics) } else { Ok((policy, diagnostics)) }
}

/// The day it is, in UTC.
#[must_use]
pub fn today() -> Day {
    let date = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date();
    (date.year().unsigned_abs(), date.month().unsigned_abs(), date.day().unsigned_abs())
}

/// An I/O error without the operating system's number.
fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "no such file".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    }
}

/// A set that has been read.
pub(super) struct SetState {
    pub(super) kind: SetKind,
    pub(super) list: List,
    pub(super) used: bool,
}

/// A set's entries.
pub(super) enum List {
    Addresses(Arc<AddressList>),
    Numbers { list: Arc<NumberList>, scored: bool },
    Patterns(Arc<PatternList>),
}

impl List {
    fn is_empty(&self) -> bool {
        match self {
            Self::Addresses(list) => list.entries.is_empty(),
            Self::Numbers { list, .. } => list.entries.is_empty(),
            Self::Patterns(list) => list.entries.is_empty(),
        }
    }
}

struct Resolver<'a> {
    file: &'a SourceFile,
    files: &'a dyn Files,
    today: Day,
    cache: &'a mut ListCache,
    diagnostics: &'a mut Diagnostics,
    sets: BTreeMap<String, SetState>,
    broken_sets: &'a [String],
}

impl Resolver<'_> {
    fn policy(mut self, source: &Source) -> Policy {
        let mut numbering = self.numbering(source);
        self.read_sets(source, &numbering);
        self.cache.evict_unused();
        if let Some(values) = &source.numbering.asserted_identity_from {
            numbering.asserted_identity_from = self.addresses("asserted_identity_from", values);
        }
        let never_ban = source.never_ban.as_ref().map(|values| self.addresses("never_ban", values)).unwrap_or_default();
        let ports = self.ports(source);
        let rules = self.rules(source, &numbering);
        let policy = Policy { default_drop: source.default_drop, ports, numbering, rules, never_ban };
        // Warnings compare rules with each other: a rule that lost a condition to an error would look like another one.
        if !self.diagnostics.has_errors() {
            lint::lint(&policy, source, self.file, &self.sets, self.today, self.diagnostics);
        }
        policy
    }

    fn error(&mut self, code: Code, span: &Range<usize>, message: impl Into<String>, help: Option<String>) {
        let place = self.file.place(span.clone());
        self.diagnostics.push(Diagnostic::error(code, message).at(place).maybe_help(help));
    }

    fn origin(&self, span: &Range<usize>) -> Origin {
        Origin { file: Arc::clone(&self.file.path), line: self.file.line(span.start) }
    }

    /// Tells a mistake inside a string of the policy: where it stands in the file if the string is written without escapes.
    fn mistake(&mut self, text: &Located<String>, mistake: Mistake, warning: bool) {
        let inside = text.span.start + 1..text.span.end.saturating_sub(1);
        let plain = self.file.text.get(inside.clone()) == Some(text.value.as_str());
        let span =
            if plain { inside.start + mistake.span.start..inside.start + mistake.span.end } else { text.span.clone() };
        let new = if warning { Diagnostic::warning } else { Diagnostic::error };
        let place = self.file.place(span);
        self.diagnostics.push(new(mistake.code, mistake.message).at(place).maybe_help(mistake.help));
    }

    fn ports(&mut self, source: &Source) -> Vec<(u16, Transport)> {
        const SIP: u16 = 5060;
        let Some(network) = &source.network else { return vec![(SIP, Transport::Udp), (SIP, Transport::Tcp)] };
        let mut ports: Vec<(u16, Transport)> = Vec::new();
        let listed = [(&network.udp, Transport::Udp), (&network.tcp, Transport::Tcp), (&network.tls, Transport::Tls)];
        let mut count = 0;
        for (values, transport) in listed {
            for value in values {
                count += 1;
                let Some(port) = u16::try_from(value.value).ok().filter(|port| *port != 0) else {
                    let message = format!("{} is not a port", value.value);
                    self.error(Code::BadValue, &value.span, message, Some("ports go from 1 to 65535".into()));
                    continue;
                };
                let same = |(other, of): &(u16, Transport)| {
                    *other == port && (*of == Transport::Udp) == (transport == Transport::Udp)
                };
                if let Some((_, of)) = ports.iter().find(|entry| same(entry)) {
                    let of = of.name();
                    let help = if transport == Transport::Udp {
                        "remove one of the two".to_owned()
                    } else {
                        format!("remove it here or there: the TCP port {port} is encrypted or it is not")
                    };
                    let message = format!("port {port} is among `{of}` already");
                    self.error(Code::DuplicatePort, &value.span, message, Some(help));
                    continue;
                }
                ports.push((port, transport));
                if count == MAX_PORTS + 1 {
                    let help = format!("the filter holds {MAX_PORTS}: leave out those that no SIP server listens on");
                    self.error(Code::TooManyPorts, &value.span, "too many signalling ports", Some(help));
                }
            }
        }
        if count == 0 && !network.incomplete && !source.incomplete {
            let help = Some("name the ports that the SIP servers listen on, such as `udp = [5060]`".to_owned());
            self.error(Code::NoPorts, &network.span, "`[network]` names no port: nothing would be filtered", help);
        }
        ports.sort_by_key(|(port, transport)| (*port, *transport));
        ports
    }

    fn numbering(&mut self, source: &Source) -> Numbering {
        let written = &source.numbering;
        let digits = |resolver: &mut Self, key: &str, text: &Option<Located<String>>, most: usize, default: &str| {
            let Some(text) = text else { return default.to_owned() };
            if text.value.len() > most || !text.value.bytes().all(|byte| byte.is_ascii_digit()) {
                let help = match text.value.strip_prefix('+') {
                    Some(rest) => format!("leave the `+` out: `{key} = \"{rest}\"`"),
                    None => format!("at most {most} digits"),
                };
                resolver.error(
                    Code::BadValue,
                    &text.span,
                    format!("`{}` cannot be the `{key}`", text.value),
                    Some(help),
                );
                return default.to_owned();
            }
            text.value.clone()
        };
        let country_code = match &written.country_code {
            None => "1".to_owned(),
            Some(text) if numbering::is_country_code(&text.value) => text.value.clone(),
            Some(text) => {
                let help = match text.value.strip_prefix('+') {
                    Some(rest) => Some(format!("leave the `+` out: `country_code = \"{rest}\"`")),
                    None if text.value.len() == 2 && text.value.bytes().all(|byte| byte.is_ascii_alphabetic()) => {
                        numbering::country_code_of(&text.value.to_ascii_uppercase())
                            .map(|code| format!("write the calling code: `country_code = \"{code}\"`"))
                    }
                    None => Some("one to three digits, such as \"1\" or \"49\"".to_owned()),
                };
                let message = format!("`{}` is not a country calling code", text.value);
                self.error(Code::BadCountryCode, &text.span, message, help);
                "1".to_owned()
            }
        };
        let international = if country_code == "1" { "011" } else { "00" };
        let international_prefix =
            digits(self, "international_prefix", &written.international_prefix, 15, international);
        let national_prefix = digits(self, "national_prefix", &written.national_prefix, 15, "");
        let neighbor_digits = match &written.neighbor_digits {
            None => 6,
            Some(value) => {
                u8::try_from(value.value).ok().filter(|digits| (1..=15).contains(digits)).unwrap_or_else(|| {
                    let help =
                        Some("from 1 to 15; 7 is country code, area code and exchange in North America".to_owned());
                    self.error(
                        Code::BadValue,
                        &value.span,
                        format!("`neighbor_digits` cannot be {}", value.value),
                        help,
                    );
                    6
                })
            }
        };
        Numbering {
            country_code,
            international_prefix,
            national_prefix,
            bare_national: written.bare.as_ref().is_some_and(|word| word.value == "national"),
            neighbor_digits,
            asserted_identity_from: Vec::new(),
            ranges: self.ranges(source),
        }
    }

    /// The built-in table, and behind it what the policy's own tables say of the same prefixes.
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

    fn read_sets(&mut self, source: &Source, numbering: &Numbering) {
        // A list of several sets is read once for each, since their formats may differ; that is rare.
        for set in &source.sets {
            let form = NumberForm {
                national: set.national,
                country_code: &numbering.country_code,
                national_prefix: &numbering.national_prefix,
            };
            let name = Some(set.name.value.clone());
            let label = set.label.as_ref().map(|label| label.value.clone());
            let list = match &set.entries {
                Entries::File(path) => {
                    let Some(content) = self.read(path) else {
                        // The set is there, if empty: rules that name it have no mistake of their own.
                        self.insert_empty(set);
                        continue;
                    };
                    let (list, told) = self.list(set, Path::new(&path.value), &content, &form);
                    self.tell_of_list(told, set.max_errors, list.is_empty());
                    list
                }
                Entries::Inline(values) => {
                    let origin = self.origin(&set.name.span);
                    match set.kind {
                        SetKind::Addresses => {
                            let entries = values.iter().filter_map(|value| self.address(value)).collect();
                            List::Addresses(Arc::new(AddressList { name, label, entries, origin }))
                        }
                        SetKind::Numbers => {
                            let entries = values.iter().filter_map(|value| self.number(value, &form)).collect();
                            List::Numbers { list: Arc::new(NumberList { name, entries, origin }), scored: false }
                        }
                        SetKind::Patterns | SetKind::UserAgents => {
                            let entries = values.iter().filter_map(|value| self.pattern(value)).collect();
                            List::Patterns(Arc::new(PatternList { name, entries, origin }))
                        }
                    }
                }
            };
            self.sets.insert(set.name.value.clone(), SetState { kind: set.kind, list, used: false });
        }
    }

    /// What a set's file holds, and what is to be said of it.
    fn list(&mut self, set: &source::Set, path: &Path, content: &[u8], form: &NumberForm<'_>) -> (List, Diagnostics) {
        let file = Arc::new(path.to_owned());
        let name = Some(set.name.value.clone());
        let origin = Origin { file: Arc::clone(&file), line: 1 };
        let mut told = Diagnostics::default();
        if matches!(set.kind, SetKind::Patterns | SetKind::UserAgents) {
            let entries = lists::patterns(&file, content, &mut told);
            return (List::Patterns(Arc::new(PatternList { name, entries, origin })), told);
        }
        let key = ListKey::new(set, path, content, form, self.today);
        let read = self.cache.get(&key).unwrap_or_else(|| {
            let entries = if set.kind == SetKind::Addresses {
                let label = set.label.as_ref().map(|label| label.value.clone());
                let entries = lists::addresses(&file, content, &mut told);
                CachedEntries::Addresses(Arc::new(AddressList { name, label, entries, origin }))
            } else {
                let read = lists::numbers(&file, content, form, self.today, &mut told);
                let list = Arc::new(NumberList { name, entries: read.entries, origin });
                CachedEntries::Numbers { list, scored: read.scored }
            };
            let read = CachedList { entries, diagnostics: told };
            self.cache.insert(key, read.clone());
            read
        });
        let list = match read.entries {
            CachedEntries::Addresses(list) => List::Addresses(list),
            CachedEntries::Numbers { list, scored } => List::Numbers { list, scored },
        };
        (list, read.diagnostics)
    }

    /// Tells what is wrong with a list. As many entries as its set allows may be: those are left out with a warning. A list
    /// of which nothing can be read is another matter.
    fn tell_of_list(&mut self, told: Diagnostics, max_errors: u64, is_empty: bool) {
        let allowed = !is_empty && told.count(Severity::Error) <= max_errors;
        self.diagnostics.append(if allowed { told.into_warnings() } else { told });
    }

    fn insert_empty(&mut self, set: &source::Set) {
        let name = Some(set.name.value.clone());
        let origin = self.origin(&set.name.span);
        let list = match set.kind {
            SetKind::Addresses => {
                List::Addresses(Arc::new(AddressList { name, label: None, entries: Vec::new(), origin }))
            }
            SetKind::Numbers => {
                List::Numbers { list: Arc::new(NumberList { name, entries: Vec::new(), origin }), scored: true }
            }
            SetKind::Patterns | SetKind::UserAgents => {
                List::Patterns(Arc::new(PatternList { name, entries: Vec::new(), origin }))
            }
        };
        self.sets.insert(set.name.value.clone(), SetState { kind: set.kind, list, used: false });
    }

    fn read(&mut self, path: &Located<String>) -> Option<Vec<u8>> {
        if path.value.contains("://") {
            let help =
                "put the list into the repository: what filters calls is reviewed, and does not change by itself";
            let message = format!("`{}` is not a path", path.value);
            self.error(Code::OutsidePolicy, &path.span, message, Some(help.to_owned()));
            return None;
        }
        if path.value.is_empty() || !stays_inside(Path::new(&path.value)) {
            let help = "lists belong to the policy repository: a path relative to it, without `..`";
            let message = format!("`{}` leads out of the policy's directory", path.value);
            self.error(Code::OutsidePolicy, &path.span, message, Some(help.to_owned()));
            return None;
        }
        match self.files.read(Path::new(&path.value)) {
            Ok(content) => Some(content.into_owned()),
            Err(error) => {
                let names = self.files.names();
                let near = crate::language::diagnostics::did_you_mean(&path.value, names.iter().map(String::as_str))
                    .map(|name| format!("did you mean `{name}`?"));
                let help = if error.kind() == io::ErrorKind::NotFound {
                    near.or_else(|| Some("paths are relative to the policy's directory".to_owned()))
                } else {
                    None
                };
                let message = format!("cannot read the list `{}`: {}", path.value, reason(&error));
                let code =
                    if error.kind() == io::ErrorKind::InvalidInput { Code::OutsidePolicy } else { Code::MissingFile };
                self.error(code, &path.span, message, help);
                None
            }
        }
    }

    fn address(&mut self, text: &Located<String>) -> Option<AddressEntry> {
        match lists::address(text.value.as_bytes()) {
            Ok(entry) => {
                if let Some(mistake) = lists::covers_everything(&entry, text.value.len()) {
                    self.mistake(text, mistake, true);
                }
                Some(AddressEntry { line: self.file.line(text.span.start), ..entry })
            }
            Err(mistake) => {
                self.mistake(text, mistake, false);
                None
            }
        }
    }

    fn number(&mut self, text: &Located<String>, form: &NumberForm<'_>) -> Option<NumberEntry> {
        match lists::number(text.value.as_bytes(), form) {
            Ok(entry) => {
                if let Some(mistake) = lists::impossible(&entry, 0..text.value.len()) {
                    self.mistake(text, mistake, true);
                }
                Some(NumberEntry { line: self.file.line(text.span.start), ..entry })
            }
            Err(mistake) => {
                self.mistake(text, mistake, false);
                None
            }
        }
    }

    fn pattern(&mut self, text: &Located<String>) -> Option<PatternEntry> {
        match lists::pattern(text.value.as_bytes()) {
            Ok((pattern, warning)) => {
                if let Some(mistake) = warning {
                    self.mistake(text, mistake, true);
                }
                Some(PatternEntry { pattern, line: self.file.line(text.span.start) })
            }
            Err(mistake) => {
                self.mistake(text, mistake, false);
                None
            }
        }
    }

    /// The strings of a condition, sets apart; a value of another type is told.
    fn strings<'v>(&mut self, key: &str, values: &'v Values) -> Vec<Located<&'v str>> {
        let mut strings = Vec::with_capacity(values.value.len());
        for value in &values.value {
            match &value.value {
                Scalar::String(text) => strings.push(Located { value: text.as_str(), span: value.span.clone() }),
                Scalar::Integer(integer) => {
                    let help = Some(format!("write it as a string: \"{integer}\""));
                    self.error(Code::WrongType, &value.span, format!("values of `{key}` are strings"), help);
                }
                Scalar::Boolean(_) => {
                    self.error(Code::WrongType, &value.span, format!("values of `{key}` are strings"), None);
                }
            }
        }
        strings
    }

    /// Looks a set up for a scope (or key) that takes sets of the `wanted` kinds, and marks it used.
    fn set(&mut self, key: &str, name: &Located<&str>, wanted: &[SetKind]) -> Option<&SetState> {
        let set_name = name.value.strip_prefix('@').unwrap_or(name.value);
        let Some(kind) = self.sets.get(set_name).map(|set| set.kind) else {
            if self.broken_sets.iter().any(|broken| broken == set_name) {
                return None;
            }
            let known: Vec<String> = self.sets.keys().cloned().collect();
            let help = match mend_name(set_name, known.iter().map(String::as_str)) {
                Some(help) => help,
                None => format!("define it: `[sets.{set_name}]` with `{} = \"lists/{set_name}.txt\"`", wanted[0].key()),
            };
            self.error(Code::UnknownSet, &name.span, format!("there is no set `{set_name}`"), Some(help));
            return None;
        };
        if !wanted.contains(&kind) {
            let wanted: Vec<String> = wanted.iter().map(|kind| format!("`{}`", kind.key())).collect();
            let message = format!("the set `{set_name}` holds `{}`, which `{key}` cannot be compared with", kind.key());
            let help = format!("`{key}` takes sets of {}", wanted.join(" or "));
            self.error(Code::WrongSet, &name.span, message, Some(help));
            return None;
        }
        let set = self.sets.get_mut(set_name)?;
        set.used = true;
        Some(set)
    }

    fn addresses(&mut self, key: &str, values: &Values) -> Vec<Arc<AddressList>> {
        let mut found = Vec::new();
        let mut entries = Vec::new();
        for text in self.strings(key, values) {
            if text.value.starts_with('@') {
                if let Some(SetState { list: List::Addresses(list), .. }) = self.set(key, &text, &[SetKind::Addresses])
                {
                    found.push(Arc::clone(list));
                }
            } else {
                entries.extend(self.address(&Located { value: text.value.to_owned(), span: text.span }));
            }
        }
        if !entries.is_empty() {
            let origin = self.origin(&values.span);
            found.push(Arc::new(AddressList { name: None, label: None, entries, origin }));
        }
        found
    }

    fn numbers(&mut self, key: &str, values: &Values, numbering: &Numbering) -> Vec<Arc<NumberList>> {
        let form = NumberForm {
            national: false,
            country_code: &numbering.country_code,
            national_prefix: &numbering.national_prefix,
        };
        let mut found = Vec::new();
        let mut entries = Vec::new();
        for text in self.strings(key, values) {
            if text.value.starts_with('@') {
                if let Some(SetState { list: List::Numbers { list, .. }, .. }) =
                    self.set(key, &text, &[SetKind::Numbers])
                {
                    found.push(Arc::clone(list));
                }
            } else {
                entries.extend(self.number(&Located { value: text.value.to_owned(), span: text.span }, &form));
            }
        }
        if !entries.is_empty() {
            let origin = self.origin(&values.span);
            found.push(Arc::new(NumberList { name: None, entries, origin }));
        }
        found
    }

    fn patterns(&mut self, key: &str, text: Text, values: &Values) -> Vec<Arc<PatternList>> {
        let mut wanted = vec![SetKind::Patterns];
        if matches!(text, Text::UserAgent | Text::Server) {
            wanted.insert(0, SetKind::UserAgents);
        }
        let mut found = Vec::new();
        let mut entries = Vec::new();
        for text in self.strings(key, values) {
            if text.value.starts_with('@') {
                if let Some(SetState { list: List::Patterns(list), .. }) = self.set(key, &text, &wanted) {
                    found.push(Arc::clone(list));
                }
            } else {
                entries.extend(self.pattern(&Located { value: text.value.to_owned(), span: text.span }));
            }
        }
        if !entries.is_empty() {
            let origin = self.origin(&values.span);
            found.push(Arc::new(PatternList { name: None, entries, origin }));
        }
        found
    }

    fn rules(&mut self, source: &Source, numbering: &Numbering) -> Vec<Rule> {
        if let Some(rule) = source.rules.get(MAX_RULES) {
            let help = format!("the filter holds {MAX_RULES}: many values go into one rule's array, or into a set");
            let message = format!("{} rules are too many", source.rules.len());
            self.error(Code::TooManyRules, &rule.span, message, Some(help));
        }
        let mut seen: HashMap<&str, u32> = HashMap::new();
        let mut rules = Vec::with_capacity(source.rules.len());
        for rule in &source.rules {
            let line = self.file.line(rule.name.span.start);
            if let Some(first) = seen.insert(&rule.name.value, line).filter(|_| !rule.name.value.is_empty()) {
                let message = format!("there are two rules named `{}`; the first is in line {first}", rule.name.value);
                let help = Some("a rule's name owns its counters: give each its own".to_owned());
                self.error(Code::DuplicateRule, &rule.name.span, message, help);
            }
            rules.push(self.rule(rule, numbering));
        }
        rules
    }

    fn rule(&mut self, rule: &source::Rule, numbering: &Numbering) -> Rule {
        let stage = match &rule.stage {
            None => DEFAULT_STAGE.to_owned(),
            Some(stage) => {
                if !STAGES.contains(&stage.value.as_str()) {
                    let help = mend_name(&stage.value, STAGES.iter().copied());
                    self.error(Code::UnknownStage, &stage.span, format!("unknown stage `{}`", stage.value), help);
                }
                stage.value.clone()
            }
        };
        let conditions = rule.conditions.iter().filter_map(|condition| self.condition(condition, numbering)).collect();
        let (action, argument, divert_to) = match &rule.action {
            Some(action) => self.action(action),
            None => (Action::Drop, 0, String::new()),
        };
        Rule {
            name: rule.name.value.clone(),
            stage,
            conditions,
            action,
            argument,
            divert_to,
            report: rule.report,
            over: rule.over.as_ref().and_then(|over| self.over(over)),
            basis: rule.basis.as_ref().map(|basis| basis.value.clone()),
            origin: self.origin(&rule.name.span),
        }
    }

    fn action(&mut self, action: &Located<source::Action>) -> (Action, u32, String) {
        /// A year: what is to be blocked for longer belongs into a list.
        const LONGEST_BAN: u64 = 366 * 86_400;
        match &action.value {
            source::Action::Drop => (Action::Drop, 0, String::new()),
            source::Action::Continue => (Action::Continue, 0, String::new()),
            source::Action::BypassFraudControl => (Action::BypassFraudControl, 0, String::new()),
            source::Action::Whitelist => (Action::Whitelist, 0, String::new()),
            source::Action::Ban(text) => {
                let seconds = duration(text).filter(|seconds| (1..=LONGEST_BAN).contains(seconds));
                if seconds.is_none() {
                    let help = "a whole number with s, m, h or d behind it, such as \"10m\"; at most a year";
                    let message = format!("`{text}` is not a duration for a ban");
                    self.error(Code::BadDuration, &action.span, message, Some(help.to_owned()));
                }
                (Action::Ban, seconds.and_then(|seconds| u32::try_from(seconds).ok()).unwrap_or(1), String::new())
            }
            source::Action::Reject(status) => {
                let valid = u32::try_from(*status).ok().filter(|status| (400..=699).contains(status));
                if valid.is_none() {
                    let help = "a final status that refuses, 400 to 699: 603 Decline, 607 Unwanted (RFC 8197), 608 Rejected (RFC 8688)";
                    let message = format!("calls cannot be rejected with {status}");
                    self.error(Code::BadAction, &action.span, message, Some(help.to_owned()));
                }
                (Action::Reject, valid.unwrap_or(603), String::new())
            }
            source::Action::Divert(uri) => {
                let host = ["sip:", "sips:"].iter().find_map(|scheme| uri.strip_prefix(scheme));
                // It is written into a Contact between `<` and `>`.
                let safe = uri.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'<' | b'>' | b'"'));
                const LONGEST: usize = 255;
                if host.is_none_or(str::is_empty) || !safe || uri.len() > LONGEST {
                    let help = "a SIP URI (RFC 3261 section 19.1), such as \"sip:captcha@example.com\"";
                    let message = format!("calls cannot be diverted to `{uri}`");
                    self.error(Code::BadAction, &action.span, message, Some(help.to_owned()));
                }
                (Action::Divert, 0, uri.clone())
            }
        }
    }

    fn over(&mut self, over: &source::Over) -> Option<Over> {
        let Some((count, period)) = rate(&over.rate.value) else {
            let help = "a count and a period, such as \"5/s\", \"100/m\", \"1000/h\" or \"20/10s\"; at most 1000000/s";
            let message = format!("`{}` is not a rate", over.rate.value);
            self.error(Code::BadRate, &over.rate.span, message, Some(help.to_owned()));
            return None;
        };
        let burst = match &over.burst {
            // So many may come at once as may come in a period.
            None => count,
            Some(burst) => u32::try_from(burst.value).ok().filter(|burst| *burst <= 1_000_000).unwrap_or_else(|| {
                let help = Some("a whole number from 0 to 1000000".to_owned());
                self.error(Code::BadRate, &burst.span, format!("`burst` cannot be {}", burst.value), help);
                count
            }),
        };
        let (per, prefix) = match &over.per {
            None => (Per::Rule, 0),
            Some(per) => key_of_rate(&per.value).unwrap_or_else(|| {
                let help =
                    "one of `rule`, `source`, `source/24`, `destination`, `calling`, `calling/6`, `called`, `called/6`";
                let message = format!("rates are not counted per `{}`", per.value);
                self.error(Code::BadRate, &per.span, message, Some(help.to_owned()));
                (Per::Rule, 0)
            }),
        };
        Some(Over { count, period, burst, per, prefix })
    }

    fn condition(&mut self, condition: &source::Condition, numbering: &Numbering) -> Option<Condition> {
        let scope = condition.scope.value;
        let key = scope.name();
        let values = &condition.values;
        let test = match scope {
            Scope::Source => Test::Source(filled(self.addresses(key, values))?),
            Scope::Destination => Test::Destination(filled(self.addresses(key, values))?),
            Scope::Upstream => Test::Source(filled(self.upstreams(values))?),
            Scope::Transport => {
                let transport = |index| Transport::ALL[index];
                Test::Transport(self.named(key, values, Code::BadValue, &Transport::NAMES, transport)?)
            }
            Scope::Port => Test::Port(self.condition_ports(values)?),
            Scope::Method => Test::Method(self.methods(values)?),
            Scope::Text(text) => Test::Text(text, filled(self.patterns(key, text, values))?),
            Scope::Number(identity) => Test::Number(identity, filled(self.numbers(key, values, numbering))?),
            Scope::Country(identity) => Test::Country(identity, self.countries(key, values)?),
            Scope::Region(identity) => Test::Region(identity, self.regions(key, values)?),
            Scope::Spid(identity) => Test::Spid(identity, self.spids(key, values)?),
            Scope::Format(identity) => {
                let formats = |index| NumberFormat::ALL[index];
                Test::Format(identity, self.named(key, values, Code::UnknownFormat, &NumberFormat::NAMES, formats)?)
            }
            Scope::Reputation => self.reputation(values)?,
            Scope::Attestation => {
                let claims = Attestation::ALL;
                Test::Attestation(self.named(key, values, Code::BadValue, &Attestation::NAMES, |index| claims[index])?)
            }
            Scope::Verstat => {
                let all = Verstat::ALL;
                Test::Verstat(self.named(key, values, Code::BadValue, &Verstat::NAMES, |index| all[index])?)
            }
            Scope::Neighbor => match values.value.as_slice() {
                [Located { value: Scalar::Boolean(wanted), .. }] => Test::Neighbor(*wanted),
                _ => {
                    let help = Some("write `neighbor = true`".to_owned());
                    self.error(Code::WrongType, &values.span, "`neighbor` is true or false", help);
                    return None;
                }
            },
            Scope::Anomaly => {
                let bits = self.named(key, values, Code::UnknownAnomaly, &anomaly::NAMES, |index| 1_u32 << index)?;
                Test::Anomaly(bits.into_iter().fold(0, |all, bit| all | bit))
            }
        };
        Some(Condition { test, negated: condition.negated, origin: self.origin(&condition.scope.span) })
    }

    /// Values that are names out of a table.
    fn named<T>(
        &mut self,
        key: &str,
        values: &Values,
        code: Code,
        names: &[&str],
        value: impl Fn(usize) -> T,
    ) -> Option<Vec<T>> {
        let strings = self.strings(key, values);
        let mut found = Vec::with_capacity(strings.len());
        for text in &strings {
            match names.iter().position(|name| name.eq_ignore_ascii_case(text.value)) {
                Some(index) => found.push(value(index)),
                None => {
                    let help = mend_name(text.value, names.iter().copied());
                    self.error(code, &text.span, format!("`{key}` cannot be `{}`", text.value), help);
                }
            }
        }
        (found.len() == values.value.len()).then_some(found)
    }

    fn upstreams(&mut self, values: &Values) -> Vec<Arc<AddressList>> {
        let mut found = Vec::new();
        for text in self.strings("upstream", values) {
            let before = found.len();
            let mut labels = Vec::new();
            for set in self.sets.values_mut() {
                if let List::Addresses(list) = &set.list {
                    labels.extend(list.label.clone());
                    if list.label.as_deref() == Some(text.value) {
                        set.used = true;
                        found.push(Arc::clone(list));
                    }
                }
            }
            if found.len() == before {
                let help = mend_name(text.value, labels.iter().map(String::as_str))
                    .or_else(|| Some(format!("give an address set `label = \"{}\"`", text.value)));
                self.error(Code::UnknownUpstream, &text.span, format!("no set has the label `{}`", text.value), help);
            }
        }
        found
    }

    fn condition_ports(&mut self, values: &Values) -> Option<Vec<u16>> {
        let mut ports = Vec::new();
        for value in &values.value {
            match value.value {
                Scalar::Integer(port) if (1..=65_535).contains(&port) => ports.push(port as u16),
                Scalar::Integer(port) => {
                    let help = Some("ports go from 1 to 65535".to_owned());
                    self.error(Code::BadValue, &value.span, format!("{port} is not a port"), help);
                }
                _ => {
                    let help = Some("write `port = 5060`".to_owned());
                    self.error(Code::WrongType, &value.span, "values of `port` are integers", help);
                }
            }
        }
        filled(ports)
    }

    fn methods(&mut self, values: &Values) -> Option<Vec<MethodName>> {
        const FIRST: usize = Method::Response.index();
        let names = &Method::NAMES[FIRST..];
        let methods =
            self.named("method", values, Code::UnknownMethod, names, |index| MethodName(Method::ALL[FIRST + index]));
        // Methods of other specifications are all `other`: that is worth a word.
        methods
    }

    fn countries(&mut self, key: &str, values: &Values) -> Option<Vec<String>> {
        let mut countries = Vec::new();
        for text in self.strings(key, values) {
            let country = text.value.to_ascii_uppercase();
            if numbering::is_country(&country) {
                countries.push(country);
                continue;
            }
            let help = match country.as_str() {
                "UK" => "did you mean `GB`?".to_owned(),
                "EL" => "did you mean `GR`?".to_owned(),
                _ => "two letters of ISO 3166-1, such as \"US\", \"GB\" or \"LV\"".to_owned(),
            };
            self.error(Code::UnknownCountry, &text.span, format!("there is no country `{}`", text.value), Some(help));
        }
        filled(countries)
    }

    fn regions(&mut self, key: &str, values: &Values) -> Option<Vec<String>> {
        let mut regions = Vec::new();
        for text in self.strings(key, values) {
            let region = text.value.to_ascii_uppercase();
            if numbering::is_region(&region) {
                regions.push(region);
                continue;
            }
            let with_country = format!("US-{region}");
            let help = if numbering::is_region(&with_country) {
                format!("did you mean `{with_country}`?")
            } else {
                "ISO 3166-2 with its country, such as \"US-SD\" or \"CA-ON\"".to_owned()
            };
            self.error(Code::UnknownRegion, &text.span, format!("there is no region `{}`", text.value), Some(help));
        }
        filled(regions)
    }

    fn spids(&mut self, key: &str, values: &Values) -> Option<Vec<String>> {
        let mut spids = Vec::new();
        for text in self.strings(key, values) {
            let spid = text.value.to_ascii_uppercase();
            if lists::is_spid(&spid) {
                spids.push(spid);
                continue;
            }
            let help = Some("four letters and digits, such as \"0123\" or \"6529\"".to_owned());
            self.error(Code::BadValue, &text.span, format!("`{}` is not an OCN or SPID", text.value), help);
        }
        filled(spids)
    }

    fn reputation(&mut self, values: &Values) -> Option<Test> {
        let help = "one comparison with a score from 0 to 100: \">= 80\", \"< 20\", \"= 0\"";
        let parsed = match values.value.as_slice() {
            [Located { value: Scalar::String(text), .. }] => comparison(text),
            _ => None,
        };
        let Some((comparison, threshold)) = parsed else {
            let message = "`calling_reputation` cannot be compared so";
            self.error(Code::BadValue, &values.span, message, Some(help.to_owned()));
            return None;
        };
        let mut lists = Vec::new();
        for set in self.sets.values_mut() {
            if let List::Numbers { list, scored: true } = &set.list {
                set.used = true;
                lists.push(Arc::clone(list));
            }
        }
        if lists.is_empty() {
            let help = "make a set of numbers whose CSV has a column `score`".to_owned();
            self.error(Code::NoScores, &values.span, "no set of numbers has scores", Some(help));
            return None;
        }
        Some(Test::Reputation(lists, comparison, threshold))
    }
}

/// None for a condition all of whose values were mistakes, which have been told.
fn filled<T>(values: Vec<T>) -> Option<Vec<T>> {
    (!values.is_empty()).then_some(values)
}

/// Seconds of `90s`, `10m`, `1h`, `7d`, `1h30m`.
fn duration(text: &str) -> Option<u64> {
    let mut rest = text;
    let mut seconds = 0_u64;
    while !rest.is_empty() {
        let digits = rest.find(|character: char| !character.is_ascii_digit())?;
        let count: u64 = rest[..digits].parse().ok()?;
        let unit = seconds_of(rest[digits..].chars().next()?)?;
        seconds = seconds.checked_add(count.checked_mul(unit)?)?;
        rest = &rest[digits + 1..];
    }
    (seconds > 0).then_some(seconds)
}

fn seconds_of(unit: char) -> Option<u64> {
    match unit {
        's' => Some(1),
        'm' => Some(60),
        'h' => Some(3_600),
        'd' => Some(86_400),
        _ => None,
    }
}

/// Count and nanoseconds of `5/s`, `100/m`, `20/10s`.
fn rate(text: &str) -> Option<(u32, u64)> {
    const NANOSECONDS: u64 = 1_000_000_000;
    const MOST_A_SECOND: u64 = 1_000_000;
    let (count, period) = text.split_once('/')?;
    let count: u32 = count.trim().parse().ok().filter(|count| *count > 0)?;
    let period = period.trim();
    let seconds = match period {
        "s" | "m" | "h" | "d" => seconds_of(period.chars().next()?)?,
        _ => duration(period)?,
    };
    let possible = seconds <= 86_400 && u64::from(count) <= MOST_A_SECOND * seconds;
    possible.then_some((count, seconds * NANOSECONDS))
}

/// The key of a rate and the bits or digits of a prefix.
fn key_of_rate(text: &str) -> Option<(Per, u8)> {
    let (name, prefix) = match text.split_once('/') {
        None => (text, None),
        Some((name, prefix)) => (name, Some(prefix.parse::<u8>().ok().filter(|prefix| *prefix > 0)?)),
    };
    match (name, prefix) {
        ("rule", None) => Some((Per::Rule, 0)),
        ("source", None) => Some((Per::Source, 0)),
        ("source", Some(bits)) if bits <= 128 => Some((Per::SourcePrefix, bits)),
        ("destination", None) => Some((Per::Destination, 0)),
        ("calling", None) => Some((Per::Calling, 0)),
        ("calling", Some(digits)) if digits <= 15 => Some((Per::CallingPrefix, digits)),
        ("called", None) => Some((Per::Called, 0)),
        ("called", Some(digits)) if digits <= 15 => Some((Per::CalledPrefix, digits)),
        _ => None,
    }
}

/// `>= 80` and the like; a bare number is an equality.
fn comparison(text: &str) -> Option<(Comparison, u32)> {
    let text = text.trim();
    let forms = [
        (">=", Comparison::AtLeast),
        ("<=", Comparison::AtMost),
        (">", Comparison::More),
        ("<", Comparison::Less),
        ("==", Comparison::Equal),
        ("=", Comparison::Equal),
        ("", Comparison::Equal),
    ];
    let (rest, comparison) =
        forms.iter().find_map(|(sign, comparison)| text.strip_prefix(sign).map(|rest| (rest, *comparison)))?;
    let score: u32 = rest.trim().parse().ok().filter(|score| *score <= 100)?;
    Some((comparison, score))
}
