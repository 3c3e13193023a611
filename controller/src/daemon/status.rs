//! What `ringfence status` says: the pins' account, and the daemon's where one runs.

use std::{fmt::Write as _, path::PathBuf};

use serde::{Deserialize, Serialize};

use super::{
    event::rfc3339,
    table::{Reasons, RuleRow, TableEvent, Tables},
};
use crate::kernel::{Counts, Error, Pins, State};
use filter_policy::language::printable;

/// The answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// `running` or `not running`.
    pub daemon: String,
    /// The daemon's process id.
    pub pid: Option<u32>,
    /// The version of what answers.
    pub version: String,
    /// Where the pins are.
    pub pin_dir: PathBuf,
    /// `attached`, or `not attached`.
    pub filter: String,
    /// Where it is.
    pub interfaces: Vec<InterfaceStatus>,
    /// Where the daemon reads its policy.
    pub policy: Option<String>,
    /// Hash of the policy in force.
    pub policy_hash: Option<String>,
    /// Commit of the policy's repository when it was loaded.
    pub commit: Option<String>,
    /// Counts up with each policy put in force.
    pub generation: Option<u64>,
    /// When it was put in force, RFC 3339.
    pub loaded: Option<String>,
    /// Instructions the verifier walked through for it.
    pub verified_instructions: Option<u32>,
    /// Policies that did not come in force since the daemon began, because something was wrong with them.
    pub policy_errors: u64,
    /// The error of the last try, none if that worked.
    pub policy_error: Option<String>,
    /// Rules in file order.
    pub rules: Vec<RuleRow>,
    /// Packets by reason.
    pub reasons: Reasons,
    /// Signalling packets that went on to the host.
    pub passed: u64,
    /// Packets that were dropped.
    pub dropped: u64,
    /// Events that found the ring full.
    pub events_lost: u64,
    /// Events that their rule's limit kept back.
    pub events_suppressed: u64,
}

/// An interface in [`Status`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceStatus {
    /// Its name.
    pub interface: String,
    /// `native` or `generic`.
    pub mode: String,
    /// False once the interface is gone.
    pub attached: bool,
}

/// What only the daemon knows.
#[derive(Clone, Debug, Default)]
pub struct DaemonFacts {
    /// Where it reads its policy.
    pub policy: String,
    /// See [`Status::policy_errors`].
    pub policy_errors: u64,
    /// See [`Status::policy_error`].
    pub policy_error: Option<String>,
    /// Its last table, for the rates.
    pub table: Option<TableEvent>,
}

impl Status {
    /// Reads the pins, and adds what the daemon knows.
    ///
    /// # Errors
    /// No permission, or pins of another version.
    pub fn read(pins: &Pins, daemon: Option<&DaemonFacts>) -> Result<Self, Error> {
        let state = State::read(pins)?;
        let counts = state.as_ref().map(|_| Counts::read(pins)).transpose()?.unwrap_or_default();
        let mut table = Tables::default().next(std::time::Duration::ZERO, &counts);
        if let Some(last) = daemon.and_then(|daemon| daemon.table.as_ref()) {
            for row in &mut table.rules {
                row.rate = last.rules.iter().find(|known| known.rule == row.rule).and_then(|known| known.rate);
            }
        }
        let interfaces: Vec<InterfaceStatus> = state
            .iter()
            .flat_map(|state| &state.deployments)
            .map(|deployment| InterfaceStatus {
                interface: deployment.interface.clone(),
                mode: deployment.mode.name().to_owned(),
                attached: deployment.attached,
            })
            .collect();
        let attached = interfaces.iter().any(|interface| interface.attached);
        Ok(Self {
            daemon: if daemon.is_some() { "running" } else { "not running" }.to_owned(),
            pid: daemon.map(|_| std::process::id()),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pin_dir: pins.root().to_path_buf(),
            filter: if attached { "attached" } else { "not attached" }.to_owned(),
            interfaces,
            policy: daemon.map(|daemon| daemon.policy.clone()),
            policy_hash: state.as_ref().map(|state| state.policy_hash.clone()),
            commit: state.as_ref().and_then(|state| state.commit.clone()),
            generation: state.as_ref().map(|state| state.generation),
            loaded: state.as_ref().map(|state| rfc3339(i128::from(state.loaded) * 1_000_000_000)),
            verified_instructions: state.as_ref().map(|state| state.verified_instructions),
            policy_errors: daemon.map_or(0, |daemon| daemon.policy_errors),
            policy_error: daemon.and_then(|daemon| daemon.policy_error.clone()),
            rules: table.rules,
            reasons: table.reasons,
            passed: table.passed,
            dropped: table.dropped,
            events_lost: table.events_lost,
            events_suppressed: table.events_suppressed,
        })
    }

    /// True if packets are being filtered.
    #[must_use]
    pub fn is_filtering(&self) -> bool {
        self.filter == "attached"
    }

    /// The answer for people.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = String::new();
        let pid = self.pid.map_or_else(String::new, |pid| format!(" (process {pid})"));
        let _ = writeln!(text, "daemon: {}{pid}, filter: {}", self.daemon, self.filter);
        for interface in &self.interfaces {
            let gone = if interface.attached { "" } else { ", the interface is gone" };
            let _ = writeln!(text, "interface: {} ({} mode{gone})", interface.interface, interface.mode);
        }
        if let Some(hash) = &self.policy_hash {
            let from =
                self.policy.as_deref().map_or_else(String::new, |policy| format!("{} ", printable::escaped(policy)));
            let commit =
                self.commit.as_deref().map_or_else(String::new, |commit| format!(", commit {}", short(commit)));
            let _ = writeln!(text, "policy: {from}{}{commit}", short(hash));
            let _ = writeln!(
                text,
                "generation {}, in force since {}, {} instructions verified",
                self.generation.unwrap_or(0),
                self.loaded.as_deref().unwrap_or("?"),
                self.verified_instructions.unwrap_or(0)
            );
        }
        if let Some(error) = &self.policy_error {
            let _ = writeln!(text, "the policy has changed since, but cannot be used: {error}");
        }
        if self.policy_hash.is_some() {
            let table = TableEvent {
                event: "table".to_owned(),
                seconds: 0.0,
                rules: self.rules.clone(),
                reasons: self.reasons.clone(),
                passed: self.passed,
                dropped: self.dropped,
                events_lost: self.events_lost,
                events_suppressed: self.events_suppressed,
            };
            let _ = write!(text, "\n{}", table.render(usize::MAX, usize::MAX));
        }
        text
    }
}

/// The start of a hash, as much as people compare.
pub fn short(hash: &str) -> &str {
    hash.get(..12).unwrap_or(hash)
}
