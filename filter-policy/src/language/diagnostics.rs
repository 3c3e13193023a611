//! Errors and warnings about a policy, with the place they are about and the way out.
//!
//! A [`Diagnostic`] carries the one source line it shows, so that rendering needs no file and a list of a million lines
//! costs nothing.

use std::{
    collections::BTreeMap,
    fmt,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal;)*) => {
        /// What kind of mistake a diagnostic is about; the names are stable, editors and pipelines filter on them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Code { $($(#[doc = $doc])+ $name,)* }

        impl Code {
            /// Every code.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The name in output.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// What it means.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc),+).trim_ascii(),)* }
            }
        }
    };
}

codes! {
    /// An action that does not exist, or is written in the wrong form.
    BadAction = "bad-action";
    /// An address or CIDR that cannot be read.
    BadAddress = "bad-address";
    /// A country calling code that does not exist.
    BadCountryCode = "bad-country-code";
    /// A CSV list that cannot be read.
    BadCsv = "bad-csv";
    /// A date that is none.
    BadDate = "bad-date";
    /// A duration that cannot be read.
    BadDuration = "bad-duration";
    /// A number that cannot be read.
    BadNumber = "bad-number";
    /// A regular expression that cannot be read.
    BadPattern = "bad-pattern";
    /// A rate that cannot be read.
    BadRate = "bad-rate";
    /// A score that is not between 0 and 100.
    BadScore = "bad-score";
    /// A value that a key or scope cannot have.
    BadValue = "bad-value";
    /// A rule drops or bans the default gateway of the host that the policy is checked on.
    BlocksGateway = "blocks-gateway";
    /// A rule drops or bans addresses that the policy itself trusts.
    BlocksOwnPeers = "blocks-own-peers";
    /// An address set that holds every address.
    CoversEverything = "covers-everything";
    /// Two rules of one name.
    DuplicateRule = "duplicate-rule";
    /// The same port twice.
    DuplicatePort = "duplicate-port";
    /// A condition or list without values.
    Empty = "empty";
    /// An emergency number behind a rule that can drop the call.
    EmergencyTooLate = "emergency-too-late";
    /// List entries past their date are left out.
    ExpiredEntries = "expired-entries";
    /// Host bits set behind a CIDR's prefix length.
    HostBits = "host-bits";
    /// A number that cannot be dialled.
    ImpossibleNumber = "impossible-number";
    /// A pattern that matches every value.
    MatchesEverything = "matches-everything";
    /// A file that cannot be read.
    MissingFile = "missing-file";
    /// A key that must be there.
    MissingKey = "missing-key";
    /// Numbers that look national in a list that is read as E.164.
    NationalLooking = "national-looking";
    /// No rule lets emergency calls through.
    NoEmergencyPinhole = "no-emergency-pinhole";
    /// A rule bans sources, and no source is exempt.
    NoNeverBan = "no-never-ban";
    /// No port to filter on.
    NoPorts = "no-ports";
    /// A reputation condition without a scored list.
    NoScores = "no-scores";
    /// A condition that only an imported numbering table can answer.
    NoNumberingTable = "no-numbering-table";
    /// Number rules without a `[numbering]` section.
    NumberingAssumed = "numbering-assumed";
    /// A path that leaves the policy's directory.
    OutsidePolicy = "outside-policy";
    /// A rule names a port or transport that is not among the signalling ports.
    PortNotConfigured = "port-not-configured";
    /// A report-mode rule past its review date.
    ReviewOverdue = "review-overdue";
    /// A short code written as a prefix.
    ShortCodeAsPrefix = "short-code-as-prefix";
    /// TOML that cannot be read.
    Syntax = "syntax";
    /// More ports than the filter can hold.
    TooManyPorts = "too-many-ports";
    /// More rules than the filter can hold.
    TooManyRules = "too-many-rules";
    /// The compiled form would be too large.
    TooLarge = "too-large";
    /// Reject and divert drop without an answer.
    UnansweredCalls = "unanswered-calls";
    /// An anomaly that does not exist.
    UnknownAnomaly = "unknown-anomaly";
    /// A country that does not exist.
    UnknownCountry = "unknown-country";
    /// A format that does not exist.
    UnknownFormat = "unknown-format";
    /// A header that patterns cannot run over.
    UnknownHeader = "unknown-header";
    /// A key that does not exist.
    UnknownKey = "unknown-key";
    /// A method that does not exist.
    UnknownMethod = "unknown-method";
    /// A region that does not exist.
    UnknownRegion = "unknown-region";
    /// A scope that does not exist.
    UnknownScope = "unknown-scope";
    /// A set that does not exist.
    UnknownSet = "unknown-set";
    /// A stage that does not exist.
    UnknownStage = "unknown-stage";
    /// An upstream label that no set has.
    UnknownUpstream = "unknown-upstream";
    /// A rule that can never match.
    Unreachable = "unreachable";
    /// A policy version that this program does not read.
    UnsupportedVersion = "unsupported-version";
    /// A set that no rule uses.
    UnusedSet = "unused-set";
    /// A set whose entries are of another kind than the scope's values.
    WrongSet = "wrong-set";
    /// A value of the wrong TOML type.
    WrongType = "wrong-type";
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The policy cannot be used.
    Error,
    /// The policy can be used, and probably does not do what was meant.
    Warning,
}

/// The word for this many.
pub const fn plural(count: u64, one: &'static str, several: &'static str) -> &'static str {
    if count == 1 { one } else { several }
}

impl Severity {
    /// The word for this many.
    const fn plural(self, count: u64) -> &'static str {
        match self {
            Self::Error => plural(count, "error", "errors"),
            Self::Warning => plural(count, "warning", "warnings"),
        }
    }

    /// The name in output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// A file's text with what is needed to find lines in it.
#[derive(Debug)]
pub struct SourceFile {
    /// Path relative to the policy's directory.
    pub path: Arc<PathBuf>,
    /// The whole text.
    pub text: String,
    line_starts: Vec<usize>,
}

impl SourceFile {
    /// Takes a file's text.
    #[must_use]
    pub fn new(path: &Path, text: String) -> Self {
        let line_starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { path: Arc::new(path.to_owned()), text, line_starts }
    }

    /// The line, from 1, that holds the byte `offset`.
    #[must_use]
    pub fn line(&self, offset: usize) -> u32 {
        u32::try_from(self.line_starts.partition_point(|&start| start <= offset)).unwrap_or(u32::MAX)
    }

    /// The place of a span of bytes; one over several lines is cut at the end of its first line.
    #[must_use]
    pub fn place(&self, span: Range<usize>) -> Place {
        let start = span.start.min(self.text.len());
        let line = self.line(start);
        let line_start = self.line_starts[line as usize - 1];
        let line_end = self.text[line_start..].find('\n').map_or(self.text.len(), |length| line_start + length);
        let text = self.text[line_start..line_end].trim_end_matches('\r');
        Place::new(&self.path, line, text.as_bytes(), start - line_start..span.end.saturating_sub(line_start))
    }
}

/// A place in a file: one line, and a part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Path relative to the policy's directory.
    pub file: Arc<PathBuf>,
    /// Line, from 1.
    pub line: u32,
    /// First column, from 1, in characters.
    pub column: u32,
    /// First column behind the span.
    pub end_column: u32,
    /// The line, or as much of it as is worth showing.
    source: String,
    /// The span in `source`.
    span: Range<usize>,
}

impl Place {
    /// Characters of a line that are shown on each side of the span's start.
    const SHOWN: usize = 120;

    /// The place of `span` (bytes) in a line; bytes that are not UTF-8 are shown as U+FFFD.
    #[must_use]
    pub fn new(file: &Arc<PathBuf>, line: u32, text: &[u8], span: Range<usize>) -> Self {
        let start = span.start.min(text.len());
        let end = span.end.clamp(start, text.len());
        let before = String::from_utf8_lossy(&text[..start]);
        let inside = String::from_utf8_lossy(&text[start..end]);
        let after = String::from_utf8_lossy(&text[end..]);
        let characters = |part: &str| u32::try_from(part.chars().count()).unwrap_or(u32::MAX);
        let column = characters(&before).saturating_add(1);
        let end_column = column.saturating_add(characters(&inside).max(1));

        let kept_before = before.char_indices().rev().nth(Self::SHOWN - 1).map_or(0, |(at, _)| at);
        let kept = |part: &str| part.char_indices().nth(Self::SHOWN).map_or(part.len(), |(at, _)| at);
        let before = &before[kept_before..];
        let inside = &inside[..kept(&inside)];
        let after = &after[..kept(&after)];
        let span = before.len()..before.len() + inside.len();
        Self { file: Arc::clone(file), line, column, end_column, source: format!("{before}{inside}{after}"), span }
    }
}

/// One error or warning.
#[derive(Clone, Debug)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// What kind of mistake it is.
    pub code: Code,
    /// What is wrong, one line.
    pub message: String,
    /// Where; none for what concerns no file.
    pub place: Option<Place>,
    /// What stands under the underlined span.
    pub label: Option<String>,
    /// How to mend it.
    pub help: Option<String>,
}

impl Diagnostic {
    fn new(severity: Severity, code: Code, message: impl Into<String>) -> Self {
        Self { severity, code, message: printable(message.into()), place: None, label: None, help: None }
    }

    /// An error.
    #[must_use]
    pub fn error(code: Code, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, code, message)
    }

    /// A warning.
    #[must_use]
    pub fn warning(code: Code, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, code, message)
    }

    /// Says where.
    #[must_use]
    pub fn at(mut self, place: Place) -> Self {
        self.place = Some(place);
        self
    }

    /// Says what the underlined span is.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(printable(label.into()));
        self
    }

    /// Says how to mend it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(printable(help.into()));
        self
    }

    /// Says how to mend it, if there is a way.
    #[must_use]
    pub fn maybe_help(mut self, help: Option<String>) -> Self {
        self.help = help.map(printable);
        self
    }

    fn render(&self, renderer: &Renderer, directory: Option<&Path>) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let title = level.primary_title(&self.message).id(self.code.name());
        let mut group = match &self.place {
            None => title.elements(Vec::<annotate_snippets::Message<'_>>::new()),
            Some(place) => {
                let path = directory.map_or_else(|| place.file.to_path_buf(), |directory| directory.join(&*place.file));
                title.element(
                    Snippet::source(place.source.as_str())
                        .line_start(place.line as usize)
                        .path(path.display().to_string())
                        .annotation(AnnotationKind::Primary.span(place.span.clone()).label(self.label.as_deref())),
                )
            }
        };
        if let Some(help) = &self.help {
            group = group.element(Level::HELP.message(help));
        }
        renderer.render(&[group])
    }

    /// One JSON object: `severity, code, message, file, line, column, end_column, help`; `null` where there is none.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        let place = self.place.as_ref();
        serde_json::json!({
            "severity": self.severity.name(),
            "code": self.code.name(),
            "message": match &self.label {
                Some(label) => format!("{}: {label}", self.message),
                None => self.message.clone(),
            },
            "file": place.map(|place| place.file.display().to_string()),
            "line": place.map(|place| place.line),
            "column": place.map(|place| place.column),
            "end_column": place.map(|place| place.end_column),
            "help": self.help,
        })
    }
}

/// Texts come from files that anyone may have sent in a pull request: what would steer a terminal is shown as an escape.
fn printable(text: String) -> String {
    let steers = |character: char| {
        character.is_control() || matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if !text.contains(steers) {
        return text;
    }
    text.chars().fold(String::new(), |mut shown, character| {
        if steers(character) {
            shown.extend(character.escape_default())
        } else {
            shown.push(character)
        }
        shown
    })
}

/// Everything that was found in a policy.
#[derive(Clone, Debug, Default)]
pub struct Diagnostics {
    entries: Vec<Diagnostic>,
    /// What was found in a file but is not listed, since there is too much of it.
    unlisted: BTreeMap<(PathBuf, Severity), u64>,
}

impl Diagnostics {
    /// Adds one.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        self.entries.push(diagnostic);
    }

    /// Counts what is not listed.
    pub fn count_unlisted(&mut self, file: &Path, severity: Severity, count: u64) {
        if count > 0 {
            *self.unlisted.entry((file.to_owned(), severity)).or_default() += count;
        }
    }

    /// Adds everything that was found elsewhere.
    pub fn append(&mut self, other: Self) {
        self.entries.extend(other.entries);
        for ((file, severity), count) in other.unlisted {
            self.count_unlisted(&file, severity, count);
        }
    }

    /// Makes warnings of errors: what is wrong is left out, and the rest can be used.
    #[must_use]
    pub fn into_warnings(mut self) -> Self {
        self.entries.iter_mut().for_each(|entry| entry.severity = Severity::Warning);
        for ((file, _), count) in std::mem::take(&mut self.unlisted) {
            self.count_unlisted(&file, Severity::Warning, count);
        }
        self
    }

    /// Those listed.
    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.entries.iter()
    }

    /// How many there are of a severity, unlisted ones included.
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

    /// By file (`first` before the others), then line and column; errors before warnings of the same place.
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
        // One mistake can be met on two ways (a value that serves two rules): it is told once.
        self.entries
            .dedup_by(|one, other| one.code == other.code && one.place == other.place && one.message == other.message);
    }

    /// The text for people, as compilers print it: each diagnostic with its source line, then the totals. Paths are shown
    /// below `directory`, if given, so that editors and terminals can follow them.
    #[must_use]
    pub fn render(&self, styled: bool, directory: Option<&Path>) -> String {
        let renderer = if styled { Renderer::styled() } else { Renderer::plain() };
        let mut text = String::new();
        for entry in &self.entries {
            text.push_str(entry.render(&renderer, directory).trim_end());
            text.push_str("\n\n");
        }
        for ((file, severity), count) in &self.unlisted {
            text.push_str(&format!("{}: {count} more {}, not listed\n\n", file.display(), severity.plural(*count)));
        }
        text
    }

    /// `2 errors, 1 warning`; empty if nothing was found.
    #[must_use]
    pub fn totals(&self) -> String {
        [Severity::Error, Severity::Warning]
            .into_iter()
            .map(|severity| (self.count(severity), severity))
            .filter(|(count, _)| *count > 0)
            .map(|(count, severity)| format!("{count} {}", severity.plural(count)))
            .collect::<Vec<_>>()
            .join(", ")
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.render(false, None))?;
        formatter.write_str(&self.totals())
    }
}

impl std::error::Error for Diagnostics {}

/// The name among `known` that was probably meant.
#[must_use]
pub fn did_you_mean<'a>(unknown: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let unknown = unknown.to_ascii_lowercase().replace('-', "_");
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&unknown, &name.to_ascii_lowercase().replace('-', "_")), name))
        .filter(|(distance, name)| *distance <= (name.len().min(unknown.len()) / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// "did you mean `x`?", or else the whole choice if it is short enough to be read.
#[must_use]
pub fn mend_name<'a>(unknown: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> Option<String> {
    if let Some(name) = did_you_mean(unknown, known.clone()) {
        return Some(format!("did you mean `{name}`?"));
    }
    let names: Vec<String> = known.into_iter().map(|name| format!("`{name}`")).collect();
    (!names.is_empty() && names.len() <= 24).then(|| format!("one of {}", names.join(", ")))
}
