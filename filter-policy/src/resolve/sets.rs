//! `[sets.*]`: reading the lists of a policy, and looking sets up by name.

use std::{collections::BTreeSet, io, path::Path, sync::Arc};

use super::Resolver;
use crate::{
    cache::{CachedEntries, CachedList, ListKey},
    files::stays_inside,
    language::{
        diagnostics::{Code, Diagnostic, Diagnostics, Severity, closest, suggest},
        source::{Entries, Located, Set, SetKind, Source},
    },
    lists::{self, NumberForm},
    model::{AddressList, NumberList, Numbering, Origin, PatternList, Rule, Test},
};

/// A set whose list has been read.
pub(super) struct SetState {
    kind: SetKind,
    pub(super) list: List,
    pub(super) used: bool,
}

impl SetState {
    /// Its addresses, if it has a label.
    pub(super) fn labelled(&self) -> Option<Arc<AddressList>> {
        match &self.list {
            List::Addresses(list) if list.label.is_some() => Some(Arc::clone(list)),
            List::Addresses(_) | List::Numbers { .. } | List::Patterns(_) => None,
        }
    }
}

/// A set's entries.
pub(super) enum List {
    Addresses(Arc<AddressList>),
    Numbers { list: Arc<NumberList>, scored: bool },
    Patterns(Arc<PatternList>),
}

impl List {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Addresses(list) => list.entries.len(),
            Self::Numbers { list, .. } => list.entries.len(),
            Self::Patterns(list) => list.entries.len(),
        }
    }
}

impl Resolver<'_> {
    pub(super) fn read_sets(&mut self, source: &Source, numbering: &Numbering) {
        for set in &source.sets {
            if self.bounds.cancel.is_cancelled() {
                return;
            }
            let form = NumberForm::new(set.national, &numbering.plan);
            let list = match &set.entries {
                // A list that several sets name is read once for each: their formats may differ, and it is rare.
                Entries::File(path) => match self.read(path) {
                    Some(content) => {
                        let (list, reported) = self.list(set, Path::new(&path.value), &content, &form);
                        self.entries_left = self.entries_left.saturating_sub(list.len());
                        self.report_list(reported, set.max_errors, list.len() == 0);
                        list
                    }
                    // The set still exists, so that rules that name it have no error of their own.
                    None => self.empty_list(set),
                },
                Entries::Inline(values) => self.inline_list(set, values, &form),
            };
            self.sets.insert(set.name.value.clone(), SetState { kind: set.kind, list, used: false });
        }
    }

    /// Reports sets that hold nothing, or much less than in the policy before: an export that failed, a disk that was full. What keeps
    /// peers from being dropped must not vanish without a word.
    pub(super) fn emptied_sets(
        &mut self,
        source: &Source,
        never_ban: &[Arc<AddressList>],
        believed: &[Arc<AddressList>],
        rules: &[Rule],
    ) {
        if self.diagnostics.has_errors() {
            return;
        }
        let passing = rules.iter().filter(|rule| !rule.action.kind().drops()).flat_map(|rule| &rule.conditions);
        let passed = passing.filter(|condition| !condition.negated).filter_map(|condition| {
            let Test::Source(lists) = &condition.test else { return None };
            Some(lists)
        });
        let protecting = never_ban.iter().chain(believed).chain(passed.flatten());
        let protecting: BTreeSet<&str> = protecting.filter_map(|list| list.name.as_deref()).collect();
        let trunks = self.upstreams.iter().flat_map(|upstream| &upstream.trunks);
        let trunks: BTreeSet<String> = trunks.filter_map(|list| list.name.clone()).collect();
        for set in source.sets.iter().filter(|set| !set.allow_empty) {
            let name = set.name.value.as_str();
            let Some(now) = self.sets.get(name).map(|state| state.list.len()) else { continue };
            let span = match &set.entries {
                Entries::File(path) => &path.span,
                Entries::Inline(_) => &set.name.span,
            };
            let place = self.file.place(span.clone());
            let before = self.cache.size(name);
            if now == 0 {
                let what = if protecting.contains(name) {
                    ": it says which sources are trusted"
                } else if trunks.contains(name) {
                    ": it says which sources are an upstream's"
                } else {
                    ""
                };
                let was = before.filter(|before| *before > 0).map(|before| format!("; it had {before} before"));
                let message = format!("the set `{name}` is empty{}{what}", was.unwrap_or_default(),);
                let new = if what.is_empty() { Diagnostic::warning } else { Diagnostic::error };
                let help = "fill the list; if it may be empty, write `allow_empty = true` in the set";
                self.diagnostics.push(new(Code::EmptiedSet, message).at(place).help(help));
            } else if let Some(before) = before.filter(|before| 2 * now < *before) {
                let message = format!("the set `{name}` has {now} entries; it had {before} before");
                let help = "if that is a mistake, restore the list: the policy is in force with what it has now";
                self.diagnostics.push(Diagnostic::warning(Code::EmptiedSet, message).at(place).help(help));
            }
        }
    }

    /// Reads a set's file, unless it is in the cache; returns what is to be reported about it, too.
    fn list(&mut self, set: &Set, path: &Path, content: &[u8], form: &NumberForm<'_>) -> (List, Diagnostics) {
        let file = Arc::new(path.to_owned());
        let name = Some(set.name.value.clone());
        let origin = Origin { file: Arc::clone(&file), line: 1 };
        let mut reported = Diagnostics::default();
        if !lists::ensure_text(&file, content, &mut reported) {
            return (self.empty_list(set), reported);
        }
        let most = self.entries_left;
        if matches!(set.kind, SetKind::Patterns | SetKind::UserAgents) {
            let entries = lists::patterns(&file, content, most, &mut reported);
            return (List::Patterns(Arc::new(PatternList { name, entries, origin })), reported);
        }
        let key = ListKey::new(set, path, content, form, self.today);
        let read = self.cache.get(&key).unwrap_or_else(|| {
            let entries = if set.kind == SetKind::Addresses {
                let label = set.label.as_ref().map(|label| label.value.clone());
                let entries = lists::addresses(&file, content, most, &mut reported);
                CachedEntries::Addresses(Arc::new(AddressList { name, label, entries, origin }))
            } else {
                let read = lists::numbers(&file, content, form, self.today, most, &mut reported);
                let list = Arc::new(NumberList { name, entries: read.entries, origin });
                CachedEntries::Numbers { list, scored: read.scored }
            };
            let read = CachedList { entries, diagnostics: reported };
            self.cache.insert(key, read.clone());
            read
        });
        let list = match read.entries {
            CachedEntries::Addresses(list) => List::Addresses(list),
            CachedEntries::Numbers { list, scored } => List::Numbers { list, scored },
        };
        (list, read.diagnostics)
    }

    /// Reports what is wrong with a list. If the set tolerates that many errors, they are warnings and the entries are left
    /// out; but not if nothing of the list can be read.
    fn report_list(&mut self, reported: Diagnostics, max_errors: u64, is_empty: bool) {
        let is_tolerated = !is_empty && reported.count(Severity::Error) <= max_errors;
        self.diagnostics.append(if is_tolerated { reported.into_warnings() } else { reported });
    }

    fn inline_list(&mut self, set: &Set, values: &[Located<String>], form: &NumberForm<'_>) -> List {
        let name = Some(set.name.value.clone());
        let origin = self.origin(&set.name.span);
        match set.kind {
            SetKind::Addresses => {
                let label = set.label.as_ref().map(|label| label.value.clone());
                let entries = values.iter().filter_map(|value| self.address(value)).collect();
                List::Addresses(Arc::new(AddressList { name, label, entries, origin }))
            }
            SetKind::Numbers => {
                let entries = values.iter().flat_map(|value| self.number(value, form)).collect();
                List::Numbers { list: Arc::new(NumberList { name, entries, origin }), scored: false }
            }
            SetKind::Patterns | SetKind::UserAgents => {
                let entries = values.iter().filter_map(|value| self.pattern(value)).collect();
                List::Patterns(Arc::new(PatternList { name, entries, origin }))
            }
        }
    }

    /// Stands in for a list whose file cannot be read.
    fn empty_list(&mut self, set: &Set) -> List {
        let name = Some(set.name.value.clone());
        let origin = self.origin(&set.name.span);
        match set.kind {
            SetKind::Addresses => {
                List::Addresses(Arc::new(AddressList { name, label: None, entries: Vec::new(), origin }))
            }
            SetKind::Numbers => {
                List::Numbers { list: Arc::new(NumberList { name, entries: Vec::new(), origin }), scored: true }
            }
            SetKind::Patterns | SetKind::UserAgents => {
                List::Patterns(Arc::new(PatternList { name, entries: Vec::new(), origin }))
            }
        }
    }

    /// Reads a file of the repository.
    pub(super) fn read(&mut self, path: &Located<String>) -> Option<Vec<u8>> {
        if path.value.contains("://") {
            let help = "put the list into the repository: what filters calls must be reviewed, and must not change on its \
                        own";
            let message = format!("`{}` is a URL, not a path", path.value);
            self.error(Code::OutsidePolicy, &path.span, message, Some(help.to_owned()));
            return None;
        }
        if path.value.is_empty() || !stays_inside(Path::new(&path.value)) {
            let help = "lists are part of the policy repository: use a path relative to it, without `..`";
            let message = format!("`{}` is outside the policy's directory", path.value);
            self.error(Code::OutsidePolicy, &path.span, message, Some(help.to_owned()));
            return None;
        }
        match self.files.read(Path::new(&path.value), self.bytes_left) {
            Ok(content) => {
                self.bytes_left -= content.len() as u64;
                Some(content.into_owned())
            }
            Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
                let (limit, left) = (self.bounds.list_bytes, self.bytes_left);
                let rest = if left < limit {
                    format!(" together with the lists before it ({left} are left)")
                } else {
                    String::new()
                };
                let message = format!("the list `{}` has more than {limit} bytes{rest}", path.value);
                let help = "all lists of a policy together have at most that; `max_list_bytes` in the daemon's configuration is the limit";
                self.error(Code::TooLarge, &path.span, message, Some(help.to_owned()));
                None
            }
            Err(error) => {
                let help = if error.kind() == io::ErrorKind::NotFound {
                    let names = self.files.names();
                    Some(match closest(&path.value, names.iter().map(String::as_str)) {
                        Some(name) => format!("did you mean `{name}`?"),
                        None => "paths are relative to the policy's directory".to_owned(),
                    })
                } else {
                    readable(&error).map(str::to_owned)
                };
                let message = format!("cannot read the list `{}`: {}", path.value, reason(&error));
                let code =
                    if error.kind() == io::ErrorKind::InvalidInput { Code::OutsidePolicy } else { Code::MissingFile };
                self.error(code, &path.span, message, help);
                None
            }
        }
    }

    /// Looks up a set for a scope or key that takes sets of the `wanted` kinds, and marks it used.
    pub(super) fn set(&mut self, key: &str, name: &Located<&str>, wanted: &[SetKind]) -> Option<&SetState> {
        let set_name = name.value.strip_prefix('@').unwrap_or(name.value);
        let Some(kind) = self.sets.get(set_name).map(|set| set.kind) else {
            if self.broken_sets.iter().any(|broken| broken == set_name) {
                return None;
            }
            let known: Vec<String> = self.sets.keys().cloned().collect();
            let help = match suggest(set_name, known.iter().map(String::as_str)) {
                Some(help) => help,
                None => format!("define it: `[sets.{set_name}]` with `{} = \"lists/{set_name}.txt\"`", wanted[0].key()),
            };
            self.error(Code::UnknownSet, &name.span, format!("there is no set `{set_name}`"), Some(help));
            return None;
        };
        if !wanted.contains(&kind) {
            let wanted: Vec<String> = wanted.iter().map(|kind| format!("`{}`", kind.key())).collect();
            let message = format!("the set `{set_name}` holds `{}`, which `{key}` does not take", kind.key());
            let help = format!("`{key}` takes sets of {}", wanted.join(" or "));
            self.error(Code::WrongSet, &name.span, message, Some(help));
            return None;
        }
        let set = self.sets.get_mut(set_name)?;
        set.used = true;
        Some(set)
    }
}

/// An I/O error without the operating system's error number.
pub(crate) fn reason(error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::NotFound {
        "no such file".to_owned()
    } else if error.kind() == io::ErrorKind::PermissionDenied {
        "permission denied".to_owned()
    } else {
        error.to_string()
    }
}

/// How to make a file readable that is there and is not read.
pub(crate) fn readable(error: &io::Error) -> Option<&'static str> {
    let fixes = [
        (io::ErrorKind::ResourceBusy, "write a list under another name first, then rename it"),
        (io::ErrorKind::Unsupported, "put an ordinary file in its place"),
        (io::ErrorKind::InvalidInput, "put the file itself into the policy's directory, and not a link to it"),
        (
            io::ErrorKind::PermissionDenied,
            "let this user read the file (`chmod a+r FILE`) and enter its directories (`chmod a+x DIR`)",
        ),
    ];
    fixes.iter().find(|(kind, _)| *kind == error.kind()).map(|(_, fix)| *fix)
}
