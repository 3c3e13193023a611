//! Errors and warnings about a policy: what is wrong, where, and how to fix it.

mod code;
mod place;
mod render;
mod suggestion;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

pub(crate) use self::suggestion::closest;
pub use self::{
    code::Code,
    place::{Place, SourceFile},
    suggestion::suggest,
};
use super::printable::escaped;

/// Characters of the longest text of a diagnostic: it may quote what is wrong.
const LONGEST_TEXT: usize = 800;

/// The most diagnostics that are listed. Further ones are only counted.
const LISTED: usize = 2_000;

/// A text that can be shown, cut if it is too long.
fn shown(text: &str) -> String {
    match text.char_indices().nth(LONGEST_TEXT) {
        Some((end, _)) => escaped(&text[..end]) + " …",
        None => escaped(text),
    }
}

/// How bad a mistake is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The policy cannot be used.
    Error,
    /// The policy can be used, but probably does not do what was meant.
    Warning,
}

impl Severity {
    /// The lower-case word for it, in text and in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }

    /// The word for `count` of them.
    const fn noun(self, count: u64) -> &'static str {
        match self {
            Self::Error => plural(count, "error", "errors"),
            Self::Warning => plural(count, "warning", "warnings"),
        }
    }
}

/// The singular or the plural, by the count.
pub const fn plural(count: u64, one: &'static str, several: &'static str) -> &'static str {
    if count == 1 { one } else { several }
}

/// One error or warning. Its texts are printable: they quote files that anyone may have sent in a pull request.
#[derive(Clone, Debug)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// What kind of mistake it is.
    pub code: Code,
    /// What is wrong, in one line.
    pub message: String,
    /// Where; none if it is not about a file.
    pub place: Option<Place>,
    /// A note under the underlined span.
    pub label: Option<String>,
    /// How to fix it.
    pub help: Option<String>,
}

impl Diagnostic {
    fn new(severity: Severity, code: Code, message: &str) -> Self {
        Self { severity, code, message: shown(message), place: None, label: None, help: None }
    }

    /// An error without a place, label or help.
    #[must_use]
    pub fn error(code: Code, message: impl AsRef<str>) -> Self {
        Self::new(Severity::Error, code, message.as_ref())
    }

    /// A warning without a place, label or help.
    #[must_use]
    pub fn warning(code: Code, message: impl AsRef<str>) -> Self {
        Self::new(Severity::Warning, code, message.as_ref())
    }

    /// Sets the place.
    #[must_use]
    pub fn at(mut self, place: Place) -> Self {
        self.place = Some(place);
        self
    }

    /// Sets the note under the underlined span.
    #[must_use]
    pub fn label(mut self, label: impl AsRef<str>) -> Self {
        self.label = Some(shown(label.as_ref()));
        self
    }

    /// Sets how to fix it.
    #[must_use]
    pub fn help(mut self, help: impl AsRef<str>) -> Self {
        self.help = Some(shown(help.as_ref()));
        self
    }

    /// Sets how to fix it, if that is known.
    #[must_use]
    pub fn maybe_help(mut self, help: Option<String>) -> Self {
        self.help = help.as_deref().map(shown);
        self
    }
}

/// Everything that was found in a policy.
#[derive(Clone, Debug, Default)]
pub struct Diagnostics {
    entries: Vec<Diagnostic>,
    /// How many more were found in a file, which has too many to list.
    unlisted: BTreeMap<(PathBuf, Severity), u64>,
}

impl Diagnostics {
    /// Adds one. If there are very many, it is only counted.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        if self.entries.len() < LISTED {
            self.entries.push(diagnostic);
            return;
        }
        let file = diagnostic.place.map_or_else(PathBuf::new, |place| place.file.to_path_buf());
        self.count_unlisted(&file, diagnostic.severity, 1);
    }

    /// Counts diagnostics that are not listed.
    pub fn count_unlisted(&mut self, file: &Path, severity: Severity, count: u64) {
        if count > 0 {
            *self.unlisted.entry((file.to_owned(), severity)).or_default() += count;
        }
    }

    /// Adds all of `other`.
    pub fn append(&mut self, other: Self) {
        other.entries.into_iter().for_each(|entry| self.push(entry));
        for ((file, severity), count) in other.unlisted {
            self.count_unlisted(&file, severity, count);
        }
    }

    /// Turns errors into warnings, for a list whose bad entries are left out.
    #[must_use]
    pub fn into_warnings(mut self) -> Self {
        self.entries.iter_mut().for_each(|entry| entry.severity = Severity::Warning);
        for ((file, _), count) in std::mem::take(&mut self.unlisted) {
            self.count_unlisted(&file, Severity::Warning, count);
        }
        self
    }

    /// The diagnostics that are listed one by one, without those that are only counted.
    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.entries.iter()
    }

    /// How many there are of a severity, including those not listed.
    #[must_use]
    pub fn count(&self, severity: Severity) -> u64 {
        let listed = self.entries.iter().filter(|entry| entry.severity == severity).count() as u64;
        listed + self.unlisted.iter().filter(|((_, other), _)| *other == severity).map(|(_, count)| count).sum::<u64>()
    }

    /// True if the policy cannot be used.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.count(Severity::Error) > 0
    }

    /// True if nothing was found.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.unlisted.is_empty()
    }

    /// Sorts by file (`first` before the others), line and column; at the same place errors come before warnings.
    pub fn sort(&mut self, first: &Path) {
        self.entries.sort_by(|one, other| {
            let key = |entry: &Diagnostic| {
                entry
                    .place
                    .as_ref()
                    .map(|place| (*place.file.as_path() != *first, place.file.to_path_buf(), place.line, place.column))
            };
            key(one).cmp(&key(other)).then(one.severity.cmp(&other.severity))
        });
        // The same mistake can be found twice, for example in a value that two rules use: it is reported once.
        self.entries
            .dedup_by(|one, other| one.code == other.code && one.place == other.place && one.message == other.message);
    }

    /// `2 errors, 1 warning`; empty if nothing was found.
    #[must_use]
    pub fn totals(&self) -> String {
        [Severity::Error, Severity::Warning]
            .into_iter()
            .map(|severity| (self.count(severity), severity))
            .filter(|(count, _)| *count > 0)
            .map(|(count, severity)| format!("{count} {}", severity.noun(count)))
            .collect::<Vec<_>>()
            .join(", ")
    }
}

impl std::error::Error for Diagnostics {}
