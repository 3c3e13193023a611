//! The generations that were in force, and the one that is held.

use std::fmt::{self, Display, Write as _};

use filter_policy::language::printable::escaped;
use serde::{Deserialize, Serialize};

use super::{short, short_commit, table::REPORT_MODE};

/// A generation that stays in force until it is released, whatever becomes of the policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// The generation that was brought back.
    pub generation: u64,
    /// Since when it is held, RFC 3339.
    pub since: String,
    /// Who asked for it.
    pub by: String,
}

/// See [`Notice::Held`](super::Notice::Held).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// The generation that was brought back.
    pub generation: u64,
    /// Since when it is held, RFC 3339.
    pub since: String,
    /// Who asked for it.
    pub by: String,
    /// The newest commit of the policy, which is not loaded; none if it is in no repository.
    pub newest: Option<String>,
}

/// See [`Notice::RolledBack`](super::Notice::RolledBack).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolledBack {
    /// The generation whose policy was brought back, and is held.
    pub to: u64,
    /// Number of the generation that is in force now.
    pub generation: u64,
    /// Hash of the policy.
    pub policy_hash: String,
    /// The commit that it is from.
    pub commit: Option<String>,
    /// Since when it is held, RFC 3339.
    pub since: String,
    /// Who asked for it.
    pub by: String,
    /// Why the next start of the daemon would not know that it is held; none if it would.
    pub note: Option<String>,
}

/// The answer of `ringfence history`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryList {
    /// The generation that is held, if one is.
    pub held: Option<Hold>,
    /// The generations that are kept, newest first.
    pub generations: Vec<Generation>,
}

/// A generation in [`HistoryList`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generation {
    /// Its number.
    pub generation: u64,
    /// Whether it is in force now.
    pub in_force: bool,
    /// Hash of the policy.
    pub policy_hash: String,
    /// The commit that it was from.
    pub commit: Option<String>,
    /// Whether it was in report mode as a whole.
    pub report: bool,
    /// Who or what put it in force.
    pub by: String,
    /// When, RFC 3339.
    pub since: String,
    /// How long it was in force, in seconds; so far, if it is.
    pub seconds: u64,
    /// The generation that was brought back, if it was a rollback.
    pub rollback_of: Option<u64>,
    /// Whether its files are kept, so that it can be brought back.
    pub kept: bool,
    /// Where the policy came from.
    pub policy: String,
}

impl HistoryList {
    /// The list as text for people.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = String::new();
        if self.generations.is_empty() {
            return "no generation is kept\n".to_owned();
        }
        let _ =
            writeln!(text, "{:>10}  {:<24}  {:>9}  {:<12}  {:<18}  BY", "GENERATION", "SINCE", "FOR", "HASH", "COMMIT");
        for generation in &self.generations {
            let mark = if generation.in_force { "* " } else { "" };
            let commit = generation.commit.as_deref().map_or_else(|| "-".to_owned(), short_commit);
            let mut notes = String::new();
            if generation.report {
                let _ = write!(notes, "; {REPORT_MODE}");
            }
            if !generation.kept {
                notes += "; its files could not be kept";
            }
            let _ = writeln!(
                text,
                "{:>10}  {:<24}  {:>9}  {:<12}  {:<18}  {}{notes}",
                format!("{mark}{}", generation.generation),
                generation.since,
                duration(generation.seconds),
                short(&generation.policy_hash),
                commit,
                escaped(&generation.by),
            );
        }
        if let Some(Hold { generation, since, by }) = &self.held {
            let _ = writeln!(
                text,
                "\nheld at generation {generation} since {since}, by {}; `ringfence rollback --release` loads the newest policy",
                escaped(by)
            );
        }
        text
    }
}

/// A time in its two largest units.
fn duration(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m{}s", seconds % 60),
        (0, ..) => format!("{hours}h{minutes}m"),
        _ => format!("{days}d{hours}h"),
    }
}

impl Held {
    /// What is held, in the status.
    pub(super) fn render(&self) -> String {
        format!("held at generation {} since {}, by {}", self.generation, self.since, escaped(&self.by))
    }
}

impl Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render())?;
        if let Some(newest) = &self.newest {
            write!(f, "; the newest is commit {}", short_commit(newest))?;
        }
        f.write_str("; the policy is not loaded until `ringfence rollback --release`")
    }
}

impl Display for RolledBack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { to, generation, policy_hash, commit, since, by, note } = self;
        let commit = commit.as_deref().map_or_else(String::new, |commit| format!(", commit {}", short_commit(commit)));
        write!(
            f,
            "the policy of generation {to} ({}{commit}) is in force as generation {generation}, and held since {since}, by {}; \
             `ringfence rollback --release` loads the newest one",
            short(policy_hash),
            escaped(by)
        )?;
        note.iter().try_for_each(|note| write!(f, "; {}", escaped(note)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_shows_what_was_in_force_for_how_long_and_what_is_held() {
        let generation = Generation {
            generation: 3,
            in_force: true,
            policy_hash: "0123456789abcdef".to_owned(),
            commit: Some(format!("{}-dirty", "c".repeat(40))),
            report: true,
            by: "rollback to generation 1 (user 0)".to_owned(),
            since: "2026-01-31T06:00:00.000Z".to_owned(),
            seconds: 3_725,
            rollback_of: Some(1),
            kept: true,
            policy: "/etc/policy".to_owned(),
        };
        let first = Generation {
            generation: 1,
            in_force: false,
            commit: None,
            report: false,
            by: "start".to_owned(),
            seconds: 59,
            rollback_of: None,
            kept: false,
            ..generation.clone()
        };
        let held = Hold { generation: 1, since: "2026-01-31T06:00:00.000Z".to_owned(), by: "user 0".to_owned() };
        let list = HistoryList { held: Some(held), generations: vec![generation, first] };
        let expected = "\
GENERATION  SINCE                           FOR  HASH          COMMIT              BY
       * 3  2026-01-31T06:00:00.000Z       1h2m  0123456789ab  cccccccccccc-dirty  rollback to generation 1 (user 0); report mode: nothing is dropped
         1  2026-01-31T06:00:00.000Z        59s  0123456789ab  -                   start; its files could not be kept

held at generation 1 since 2026-01-31T06:00:00.000Z, by user 0; `ringfence rollback --release` loads the newest policy
";
        assert_eq!(list.render(), expected);
        let json = serde_json::to_string(&list).unwrap();
        assert_eq!(serde_json::from_str::<HistoryList>(&json).unwrap(), list);
    }

    #[test]
    fn times_have_two_units() {
        let times: Vec<String> = [0, 61, 7_260, 90_000].into_iter().map(duration).collect();
        assert_eq!(times, ["0s", "1m1s", "2h1m", "1d1h"]);
    }
}
