//! What there is to report about where the policy comes from.

use std::fmt::{self, Display, Write as _};

use filter_policy::language::printable;
use serde::{Deserialize, Serialize};

use super::{short, short_commit};

/// A policy in a git repository elsewhere, in the status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceStatus {
    /// The repository's URL, without a password.
    pub url: String,
    /// What is followed: `branch main`.
    pub reference: String,
    /// The policy's directory in the repository; none if it is the root.
    pub path: Option<String>,
    /// The newest commit that was fetched, whether or not it is in force.
    pub commit: Option<String>,
    /// When that commit was made, RFC 3339.
    pub committed: Option<String>,
    /// When the repository last answered, RFC 3339; none if it has not answered this daemon.
    pub fetched: Option<String>,
    /// Seconds since then.
    pub age: Option<u64>,
    /// Why nothing newer can be had, or why the newest commit may not come in force; none if all is well.
    pub error: Option<String>,
    /// Since when it has been so, RFC 3339.
    pub failing_since: Option<String>,
}

impl SourceStatus {
    /// True if all is well, and the newest commit is the one in force.
    pub(super) fn is_current(&self, in_force: Option<&str>) -> bool {
        self.error.is_none() && self.commit.is_some() && self.commit.as_deref() == in_force
    }

    /// Its lines in the status. `in_force` is the commit in force.
    pub(super) fn render(&self, in_force: Option<&str>) -> String {
        let mut text = String::new();
        let commit = self.commit.as_deref().map_or("none", short);
        let committed = self.committed.as_deref().map_or_else(String::new, |time| format!(" of {time}"));
        let fetched = match (&self.fetched, self.age) {
            (Some(_), Some(age)) => format!("looked {age} s ago"),
            _ => "no answer from the repository yet".to_owned(),
        };
        let _ = writeln!(text, "newest commit: {commit}{committed}, {fetched}");
        if let Some(error) = &self.error {
            let since = self.failing_since.as_deref().unwrap_or("?");
            let _ = writeln!(text, "the source is failing since {since}: {}", printable::escaped(error));
        } else if !self.is_current(in_force) {
            let _ = writeln!(text, "the newest commit is not in force");
        }
        text
    }
}

/// See [`Notice::SourceError`](super::Notice::SourceError).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceError {
    /// Where the policy comes from.
    pub source: String,
    /// What went wrong, in a line.
    pub message: String,
    /// The last commit that may be in force.
    pub commit: Option<String>,
}

/// See [`Notice::SourceRestored`](super::Notice::SourceRestored).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceRestored {
    /// Where the policy comes from.
    pub source: String,
    /// Its newest commit.
    pub commit: Option<String>,
}

/// See [`Notice::SourceRewritten`](super::Notice::SourceRewritten).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceRewritten {
    /// Where the policy comes from.
    pub source: String,
    /// What was rewritten: `branch main`.
    pub reference: String,
    /// The commit before.
    pub from: String,
    /// The commit now.
    pub to: String,
}

/// See [`Notice::Unchanged`](super::Notice::Unchanged).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unchanged {
    /// Hash of the policy in force.
    pub policy_hash: String,
    /// Its commit.
    pub commit: Option<String>,
    /// Number of the generation in force.
    pub generation: u64,
    /// Where the policy comes from.
    #[serde(skip)]
    pub policy: String,
}

impl Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { source, message, commit } = self;
        write!(f, "the policy {}: {}", printable::escaped(source), printable::escaped(message))?;
        match commit {
            Some(commit) => write!(f, "; commit {} stays", short(commit)),
            None => Ok(()),
        }
    }
}

impl Display for SourceRestored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let commit = self.commit.as_deref().map_or("none", short);
        write!(f, "the policy {} can be fetched again, newest commit {commit}", printable::escaped(&self.source))
    }
}

impl Display for SourceRewritten {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { source, reference, from, to } = self;
        write!(
            f,
            "the policy {}: {} was rewritten: commit {} is not among the ancestors of {}, which is taken",
            printable::escaped(source),
            printable::escaped(reference),
            short(from),
            short(to)
        )
    }
}

/// A policy, with where it comes from. That is not in a notice that was read from JSON.
pub(super) fn named(policy: &str) -> String {
    if policy.is_empty() { "the policy".to_owned() } else { format!("policy {}", printable::escaped(policy)) }
}

impl Display for Unchanged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { policy_hash, commit, generation, policy } = self;
        let commit = commit.as_deref().map_or_else(String::new, |commit| format!(", commit {}", short_commit(commit)));
        write!(f, "{} ({}{commit}) is in force already, generation {generation}", named(policy), short(policy_hash))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status() -> SourceStatus {
        SourceStatus {
            url: "ssh://git@git.example.net/policy.git".to_owned(),
            reference: "branch main".to_owned(),
            path: None,
            commit: Some("b".repeat(40)),
            committed: Some("2026-01-31T06:00:00Z".to_owned()),
            fetched: Some("2026-01-31T07:00:00.000Z".to_owned()),
            age: Some(12),
            error: None,
            failing_since: None,
        }
    }

    #[test]
    fn the_status_says_what_is_newest_how_old_that_is_and_what_is_wrong() {
        let newest = "newest commit: bbbbbbbbbbbb of 2026-01-31T06:00:00Z, looked 12 s ago\n";
        assert_eq!(status().render(Some(&"b".repeat(40))), newest);
        let other = format!("{newest}the newest commit is not in force\n");
        assert_eq!(status().render(Some(&"a".repeat(40))), other);
        let failing = SourceStatus {
            error: Some("failed to fetch: no route\u{1b}[2J".to_owned()),
            failing_since: Some("2026-01-31T06:30:00.000Z".to_owned()),
            ..status()
        };
        assert!(!failing.is_current(Some(&"b".repeat(40))));
        let expected = format!(
            "{newest}the source is failing since 2026-01-31T06:30:00.000Z: failed to fetch: no route\\u{{1b}}[2J\n"
        );
        assert_eq!(failing.render(Some(&"b".repeat(40))), expected);
    }
}
