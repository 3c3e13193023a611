//! Notices: what happens to the filter and its policy, while the daemon runs or when a command changes it.
//!
//! Fields marked `skip` are for the text alone: they are not part of the JSON and are empty in a notice that was read
//! from JSON.

use std::{
    fmt::{self, Display},
    path::PathBuf,
};

use filter_policy::language::{
    diagnostics::{Diagnostic, Diagnostics, plural},
    printable,
};
use serde::{Deserialize, Serialize};

use super::{
    Ban, FilterState, Held, Hold, RolledBack, SourceError, SourceRestored, SourceRewritten, Table, Unbanned, Unchanged,
    short, short_commit, source::named, table::REPORT_MODE,
};
use crate::kernel::Mode;

/// Something that happened. Its JSON begins with `"event"`, the kind in kebab case.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Notice {
    /// Sources were banned by hand.
    Banned(Ban),
    /// `ringfence detach` has removed the filter.
    Detached(Detached),
    /// A request to the API failed.
    Error {
        /// Why it failed, in a line.
        message: String,
    },
    /// An interface does not exist: nothing is filtered there.
    Gone(Gone),
    /// A generation is held: the newest policy is not loaded.
    Held(Held),
    /// A reader of the API was too slow.
    Missed(Missed),
    /// A policy was refused. The one in force stays in force.
    PolicyError(PolicyError),
    /// A policy came in force, with warnings.
    PolicyWarning(PolicyWarning),
    /// The generation that was held is not held any more.
    Released(Hold),
    /// The filter was attached to an interface again: the interface was recreated.
    Reattached(Reattached),
    /// Another policy is in force.
    Reloaded(Reloaded),
    /// The filter was removed from an interface that is no longer configured.
    Removed(Removed),
    /// The policy cannot be fetched, or its newest commit may not come in force. What is in force stays.
    SourceError(SourceError),
    /// The policy can be fetched again.
    SourceRestored(SourceRestored),
    /// The history of the branch that is followed was rewritten.
    SourceRewritten(SourceRewritten),
    /// The policy of an earlier generation is in force again, and is held.
    RolledBack(RolledBack),
    /// The daemon filters on an interface.
    Started(Started),
    /// The daemon has ended.
    Stopped(Stopped),
    /// The periodic table of counters.
    Table(Table),
    /// Bans were lifted: by hand, or by a policy that exempts their sources.
    Unbanned(Unbanned),
    /// The policy was read again, and is the one in force.
    Unchanged(Unchanged),
}

/// See [`Notice::Detached`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detached {
    /// The interfaces the filter was on.
    pub interfaces: Vec<String>,
    /// True if a daemon was running, and was stopped.
    pub stopped_daemon: bool,
    /// Where the filter's pins were.
    #[serde(skip)]
    pub pins: PathBuf,
}

/// See [`Notice::Gone`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gone {
    /// Name of the interface.
    pub interface: String,
}

/// See [`Notice::Missed`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missed {
    /// How many events it did not get, since the last such notice. They are older than the event that follows.
    pub events: u64,
    /// How many it did not get since it began to read.
    #[serde(default)]
    pub total: u64,
    /// How many events wait for it.
    #[serde(default)]
    pub behind: u64,
    /// Time of the last event that it got before; none if it got none.
    #[serde(default)]
    pub after: Option<String>,
}

/// See [`Notice::PolicyError`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyError {
    /// What is wrong, in a line: the kernel's error, or how many errors the policy has.
    pub message: String,
    /// The errors and warnings in the policy's files; empty where the kernel refused.
    pub diagnostics: Vec<Finding>,
    /// The commit that it is from.
    #[serde(default)]
    pub commit: Option<String>,
    /// The whole report: diagnostics with their source lines, or the kernel's error and how to fix it.
    #[serde(skip)]
    pub report: String,
    /// Where the policy comes from.
    #[serde(skip)]
    pub policy: String,
}

/// See [`Notice::PolicyWarning`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyWarning {
    /// How many warnings, as text: `2 warnings`.
    pub message: String,
    /// Each warning with its place.
    pub diagnostics: Vec<Finding>,
    /// The warnings with their source lines, as the compiler prints them.
    #[serde(skip)]
    pub report: String,
}

/// See [`Notice::Reattached`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reattached {
    /// Name of the interface whose link was created.
    pub interface: String,
    /// How the program runs there.
    pub mode: Mode,
    /// Why the old link was replaced, or why the program does not run in native mode.
    pub note: String,
}

/// See [`Notice::Reloaded`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloaded {
    /// Hash of the policy.
    pub policy_hash: String,
    /// The commit that it is from.
    #[serde(default)]
    pub commit: Option<String>,
    /// Number of the generation that is in force now.
    pub generation: u64,
    /// Rules of the policy.
    pub rules: usize,
    /// True if it is in report mode as a whole: nothing is dropped.
    #[serde(default)]
    pub report: bool,
    /// Instructions that the verifier processed.
    pub verified_instructions: u32,
    /// How long loading, filling, verifying and replacing took.
    pub milliseconds: u64,
    /// Where the policy comes from.
    #[serde(skip)]
    pub policy: String,
}

/// See [`Notice::Removed`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removed {
    /// Name of the interface, which need not exist any more.
    pub interface: String,
}

/// See [`Notice::Started`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// Name of the interface. The daemon sends one notice for each.
    pub interface: String,
    /// How the program runs there.
    pub mode: Mode,
    /// A remark for the operator, such as why it is not in native mode; none if there is none.
    pub note: Option<String>,
    /// True if the filter was attached before this daemon began.
    pub adopted: bool,
    /// Where the policy comes from; none where the daemon keeps the policy it found in force.
    pub policy: Option<String>,
    /// Hash of the policy.
    pub policy_hash: String,
    /// The commit that it is from.
    #[serde(default)]
    pub commit: Option<String>,
    /// Number of the generation in force.
    pub generation: u64,
    /// Rules of the policy; none where the daemon keeps the policy it found in force.
    pub rules: Option<usize>,
    /// True if the policy is in report mode as a whole: nothing is dropped.
    #[serde(default)]
    pub report: bool,
    /// Instructions that the verifier processed.
    pub verified_instructions: u32,
}

/// See [`Notice::Stopped`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stopped {
    /// Whether the filter is still attached.
    pub filter: FilterState,
    /// True if it is attached in report mode as a whole: it drops nothing.
    #[serde(default)]
    pub report: bool,
    /// The interfaces that the daemon was started for.
    #[serde(skip)]
    pub interfaces: Vec<String>,
    /// The pin directory, unless it is the default one.
    #[serde(skip)]
    pub pins: Option<PathBuf>,
}

/// An error or a warning about a policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// `error` or `warning`.
    pub severity: String,
    /// Name of the kind of finding, such as `unknown-set`.
    pub code: String,
    /// What is wrong.
    pub message: String,
    /// The file, below the policy's directory.
    pub file: Option<String>,
    /// The line, from 1.
    pub line: Option<u32>,
    /// The first column, from 1.
    pub column: Option<u32>,
    /// The column after the last one.
    pub end_column: Option<u32>,
    /// How to fix it.
    pub help: Option<String>,
}

impl Finding {
    /// Everything that was found in a policy and is listed.
    #[must_use]
    pub fn all(diagnostics: &Diagnostics) -> Vec<Self> {
        diagnostics.iter().map(Self::from).collect()
    }
}

impl From<&Diagnostic> for Finding {
    fn from(diagnostic: &Diagnostic) -> Self {
        let place = diagnostic.place.as_ref();
        Self {
            severity: diagnostic.severity.name().to_owned(),
            code: diagnostic.code.name().to_owned(),
            message: match &diagnostic.label {
                Some(label) => format!("{}: {label}", diagnostic.message),
                None => diagnostic.message.clone(),
            },
            file: place.map(|place| place.file.display().to_string()),
            line: place.map(|place| place.line),
            column: place.map(|place| place.column),
            end_column: place.map(|place| place.end_column),
            help: diagnostic.help.clone(),
        }
    }
}

impl Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]: {}", self.severity, self.code, printable::escaped(&self.message))?;
        if let (Some(file), Some(line), Some(column)) = (&self.file, self.line, self.column) {
            write!(f, "\n  --> {}:{line}:{column}", printable::escaped(file))?;
        }
        self.help.iter().try_for_each(|help| write!(f, "\n  help: {}", printable::escaped(help)))
    }
}

impl Notice {
    /// The notice as one line of JSON without its line end, safe to show on a terminal.
    #[must_use]
    pub fn json_line(&self) -> String {
        printable::json_line(self)
    }

    /// What went wrong, if it reports a failure.
    #[must_use]
    pub fn failure(&self) -> Option<&str> {
        match self {
            Self::Error { message } => Some(message),
            Self::PolicyError(error) => Some(&error.message),
            Self::SourceError(error) => Some(&error.message),
            Self::Banned(_)
            | Self::Detached(_)
            | Self::Gone(_)
            | Self::Held(_)
            | Self::Missed(_)
            | Self::PolicyWarning(_)
            | Self::Reattached(_)
            | Self::Released(_)
            | Self::Reloaded(_)
            | Self::Removed(_)
            | Self::RolledBack(_)
            | Self::SourceRestored(_)
            | Self::SourceRewritten(_)
            | Self::Started(_)
            | Self::Stopped(_)
            | Self::Table(_)
            | Self::Unbanned(_)
            | Self::Unchanged(_) => None,
        }
    }
}

/// The text for people; it may have several lines.
impl Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Banned(ban) => ban.fmt(f),
            Self::Detached(notice) => notice.fmt(f),
            Self::Error { message } => f.write_str(message),
            Self::Gone(Gone { interface }) => {
                write!(f, "{interface}: there is no such interface now; it is filtered as soon as it is back")
            }
            Self::Held(notice) => notice.fmt(f),
            Self::Missed(missed) => missed.fmt(f),
            Self::PolicyError(notice) => notice.fmt(f),
            Self::PolicyWarning(notice) => f.write_str(notice.report.trim_end()),
            Self::Reattached(notice) => write!(f, "{}: {}", notice.interface, notice.note),
            Self::Released(Hold { generation, .. }) => write!(f, "generation {generation} is not held any more"),
            Self::Reloaded(notice) => notice.fmt(f),
            Self::Removed(Removed { interface }) => {
                write!(f, "{interface} is no longer among the interfaces: the filter was removed from it")
            }
            Self::RolledBack(notice) => notice.fmt(f),
            Self::SourceError(notice) => notice.fmt(f),
            Self::SourceRestored(notice) => notice.fmt(f),
            Self::SourceRewritten(notice) => notice.fmt(f),
            Self::Started(notice) => notice.fmt(f),
            Self::Stopped(notice) => notice.fmt(f),
            Self::Table(table) => f.write_str(table.render(usize::MAX, usize::MAX).trim_end()),
            Self::Unbanned(notice) => notice.fmt(f),
            Self::Unchanged(notice) => notice.fmt(f),
        }
    }
}

impl Display for Detached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.interfaces.is_empty() {
            return write!(f, "no filter is attached by the pins in {}", self.pins.display());
        }
        write!(f, "the filter was removed from {}", self.interfaces.join(", "))?;
        if self.stopped_daemon { f.write_str(", and the daemon has ended") } else { Ok(()) }
    }
}

impl Display for Missed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { events, total, behind, after } = self;
        write!(f, "missed {events} {}", plural(*events, "event", "events"))?;
        after.iter().try_for_each(|time| write!(f, " after {}", printable::escaped(time)))?;
        write!(f, ": this reader is too slow, {behind} more {} for it", plural(*behind, "waits", "wait"))?;
        if total > events { write!(f, ", and it has missed {total} in all") } else { Ok(()) }
    }
}

impl Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { message, report, policy, commit, .. } = self;
        let commit = at(commit.as_deref());
        let policy = if policy.is_empty() { String::new() } else { format!(" {}", printable::escaped(policy)) };
        write!(f, "{}\nthe policy{policy}{commit} cannot be used: {message}", report.trim_end())
    }
}

impl Display for Reloaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}{} ({}, {}) in force, generation {}, {} instructions verified, {} ms",
            named(&self.policy),
            at(self.commit.as_deref()),
            rules(self.rules),
            short(&self.policy_hash),
            self.generation,
            self.verified_instructions,
            self.milliseconds,
        )?;
        if self.report { write!(f, "; {REPORT_MODE}") } else { Ok(()) }
    }
}

impl Display for Started {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "filtering on {} in {} mode", self.interface, self.mode)?;
        if self.report {
            write!(f, "; {REPORT_MODE}")?;
        }
        let hash = short(&self.policy_hash);
        let (Some(policy), Some(count)) = (&self.policy, self.rules) else {
            write!(f, "; the filter was attached already and keeps its policy ({hash})")?;
            return self.note.iter().try_for_each(|note| write!(f, "; {note}"));
        };
        if self.adopted {
            f.write_str("; the filter was attached already and was taken over")?;
        }
        if let Some(note) = &self.note {
            write!(f, "; {note}")?;
        }
        write!(
            f,
            "\npolicy {}{} ({}, {hash}), {} instructions verified",
            printable::escaped(policy),
            at(self.commit.as_deref()),
            rules(count),
            self.verified_instructions
        )
    }
}

impl Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.interfaces.join(", ");
        match self.filter {
            FilterState::Attached => {
                let does = if self.report { "counting in report mode" } else { "dropping" };
                write!(f, "stopped; the filter stays on {names} and keeps {does}, `ringfence detach")?;
                if let Some(pins) = &self.pins {
                    write!(f, " --pin-dir {}", pins.display())?;
                }
                f.write_str("` removes it")
            }
            FilterState::NotAttached => write!(f, "stopped; the filter was removed from {names}"),
        }
    }
}

/// The commit of a policy, after its name.
fn at(commit: Option<&str>) -> String {
    commit.map_or_else(String::new, |commit| format!(" at commit {}", short_commit(commit)))
}

fn rules(count: usize) -> String {
    format!("{count} {}", plural(count as u64, "rule", "rules"))
}

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(super) use tests::examples;
