//! The answer of `ringfence status`: what the pins say, and what the daemon adds if one runs.

use std::{
    collections::BTreeSet,
    fmt::{self, Write as _},
    path::PathBuf,
};

use serde::{Deserialize, Serialize};

use super::{
    Answers, Clients, Held, Notice, Reattached, ReloadErrors, Removed, RolledBack, SourceStatus, Started,
    clock::rfc3339,
    short, short_commit,
    table::{REPORT_MODE, Reasons, RuleRow, Table, grouped},
};
use crate::kernel::{Counts, Error, InterfaceCount, Mode, Pins, State};
use filter_policy::language::{diagnostics::plural, printable};

/// What `ringfence status` prints. A running daemon answers it; else the command reads it from the pins.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Whether a daemon runs.
    pub daemon: DaemonState,
    /// The daemon's process id; none if no daemon runs.
    pub pid: Option<u32>,
    /// The version of the program that answers.
    pub version: String,
    /// The host's name, if the daemon's configuration gives it one.
    #[serde(default)]
    pub edge: Option<String>,
    /// Where the pins are.
    pub pin_dir: PathBuf,
    /// Whether packets are being filtered.
    pub filter: FilterState,
    /// Where the filter is.
    pub interfaces: Vec<InterfaceStatus>,
    /// The packets on these interfaces since the filter was put there.
    #[serde(default)]
    pub packets: Vec<InterfacePackets>,
    /// The interfaces that should be filtered, and are not.
    #[serde(default)]
    pub unfiltered: Vec<String>,
    /// Where the daemon reads its policy.
    pub policy: Option<String>,
    /// Hash of the policy in force.
    pub policy_hash: Option<String>,
    /// Commit of the policy in force; it ends with `-dirty` if the files are not as they are in the commit.
    pub commit: Option<String>,
    /// True if the policy in force is in report mode as a whole: nothing is dropped.
    #[serde(default)]
    pub report: bool,
    /// Number of the policy in force; it grows with each policy.
    pub generation: Option<u64>,
    /// When it was put in force, RFC 3339.
    pub loaded: Option<String>,
    /// Instructions that the verifier processed for it.
    pub verified_instructions: Option<u32>,
    /// Policies that were refused since the daemon started.
    pub policy_errors: u64,
    /// The error of the last attempt; none if it succeeded.
    pub policy_error: Option<String>,
    /// The git repository that the policy is fetched from; none for a directory.
    #[serde(default)]
    pub source: Option<SourceStatus>,
    /// The generation that is held by `ringfence rollback`; none if the newest policy is loaded when it changes.
    #[serde(default)]
    pub held: Option<Held>,
    /// Rules in file order.
    pub rules: Vec<RuleRow>,
    /// Packets by reason.
    pub reasons: Reasons,
    /// Signalling packets that were passed to the host.
    pub passed: u64,
    /// Packets that were dropped.
    pub dropped: u64,
    /// Of those that were passed, the ones that would have been dropped, had the policy not been in report mode as a whole.
    #[serde(default)]
    pub would_drop: u64,
    /// Events that found the ring full.
    pub events_lost: u64,
    /// Events suppressed by their rule's limit.
    pub events_suppressed: u64,
    /// The daemon's outputs, and what each of them has lost.
    #[serde(default)]
    pub outputs: Vec<OutputStatus>,
    /// Bans in force.
    #[serde(default)]
    pub bans: u64,
    /// What was answered for rules that reject or divert; none if no policy has asked for answers since the daemon started.
    #[serde(default)]
    pub answers: Option<Answers>,
}

/// Whether a daemon runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DaemonState {
    /// A daemon is there, but does not answer; the rest was read from the pins.
    #[serde(rename = "not answering")]
    NotAnswering,
    /// No daemon runs; the filter may still be attached.
    #[serde(rename = "not running")]
    NotRunning,
    /// A daemon runs and has answered.
    #[serde(rename = "running")]
    Running,
    /// A daemon runs, and reads its first policy. What an earlier one left is in force until then.
    #[serde(rename = "starting")]
    Starting,
}

/// Whether the filter is on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FilterState {
    /// On at least one interface.
    #[serde(rename = "attached")]
    Attached,
    /// On no interface.
    #[serde(rename = "not attached")]
    NotAttached,
}

impl fmt::Display for DaemonState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAnswering => "not answering",
            Self::NotRunning => "not running",
            Self::Running => "running",
            Self::Starting => "starting",
        })
    }
}

impl fmt::Display for FilterState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Attached => "attached",
            Self::NotAttached => "not attached",
        })
    }
}

/// An output of the daemon in [`Status`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputStatus {
    /// The output's name, such as `stdout`.
    pub output: String,
    /// Messages it lost because its reader was too slow; of an output that is asked, requests that it refused or that took too long.
    pub lost: u64,
    /// Where it answers requests, `ADDRESS:PORT`; none if it is not asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listen: Option<String>,
    /// Messages that it left out because they are not for it: of HEP, packets that hold no SIP message.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub left_out: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
const fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// The packets of an interface in [`Status`], also those for other ports, which pass.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfacePackets {
    /// Its name; if several are counted together, theirs with a space between them.
    pub interface: String,
    /// Packets that passed, and that no rule would have dropped.
    pub passed: u64,
    /// Packets that passed, and would have been dropped, were it not for report mode.
    pub would: u64,
    /// Packets that were dropped.
    pub dropped: u64,
}

impl InterfacePackets {
    fn new(count: &InterfaceCount) -> Self {
        let [passed, would, dropped] = [count.passed, count.would, count.dropped].map(|fate| fate.packets);
        Self { interface: count.interface.clone(), passed, would, dropped }
    }
}

/// An interface in [`Status`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceStatus {
    /// The interface's name, such as `eth0`.
    pub interface: String,
    /// How the program runs there.
    pub mode: Mode,
    /// False once the interface is gone.
    pub attached: bool,
}

/// What only the daemon knows.
#[derive(Clone, Debug, Default)]
pub struct DaemonFacts {
    /// Whether its first policy is in force.
    pub has_started: bool,
    /// Where it reads its policy.
    pub policy: String,
    /// The host's name in its configuration.
    pub edge: Option<String>,
    /// Interfaces on which it is to filter, and which do not exist.
    pub gone: BTreeSet<String>,
    /// See [`Status::policy_errors`].
    pub policy_errors: u64,
    /// See [`Status::policy_error`].
    pub policy_error: Option<String>,
    /// Policies that did not come in force since the daemon started, by why.
    pub reload_errors: ReloadErrors,
    /// See [`Status::source`].
    pub source: Option<SourceStatus>,
    /// See [`Status::held`].
    pub held: Option<Held>,
    /// Its last table, for the rates.
    pub table: Option<Table>,
    /// Each output, with what it has lost.
    pub outputs: Vec<OutputStatus>,
    /// What has become of the API's clients.
    pub clients: Clients,
    /// See [`Status::answers`].
    pub answers: Option<Answers>,
}

impl DaemonFacts {
    /// Notes what a notice says about the policy and the counters.
    pub(super) fn record(&mut self, notice: &Notice) {
        match notice {
            Notice::PolicyError(error) => {
                self.policy_errors += 1;
                let is_kernel = error.diagnostics.is_empty();
                *if is_kernel { &mut self.reload_errors.kernel } else { &mut self.reload_errors.policy } += 1;
                self.policy_error = Some(error.message.clone());
            }
            Notice::Released(_) => self.held = None,
            Notice::Reloaded(_) | Notice::Unchanged(_) => self.policy_error = None,
            Notice::Held(held) => self.held = Some(held.clone()),
            Notice::RolledBack(RolledBack { to, since, by, .. }) => {
                self.policy_error = None;
                self.held = Some(Held { generation: *to, since: since.clone(), by: by.clone(), newest: None });
            }
            Notice::Gone(gone) => {
                self.gone.insert(gone.interface.clone());
            }
            Notice::Reattached(Reattached { interface, .. })
            | Notice::Removed(Removed { interface })
            | Notice::Started(Started { interface, .. }) => {
                self.gone.remove(interface);
            }
            Notice::SourceError(_) => self.reload_errors.source += 1,
            Notice::Table(table) => self.table = Some(table.clone()),
            Notice::Banned(_)
            | Notice::Detached(_)
            | Notice::Error { .. }
            | Notice::Missed(_)
            | Notice::PolicyWarning(_)
            | Notice::SourceRestored(_)
            | Notice::SourceRewritten(_)
            | Notice::Stopped(_)
            | Notice::Unbanned(_) => {}
        }
    }
}

impl DaemonFacts {
    /// True if the newest policy is the one in force, as far as is known; `in_force` is the commit of that one.
    pub(super) fn is_current(&self, in_force: Option<&str>) -> bool {
        is_current(self.source.as_ref(), in_force, self.policy_error.as_deref(), self.held.as_ref())
    }
}

/// True if the newest policy is the one in force, as far as is known: its last version has no errors, a repository elsewhere answers,
/// and no earlier one is held.
fn is_current(source: Option<&SourceStatus>, in_force: Option<&str>, error: Option<&str>, held: Option<&Held>) -> bool {
    source.is_none_or(|source| source.is_current(in_force)) && error.is_none() && held.is_none()
}

impl Status {
    /// Reads the pins, and adds what the daemon knows.
    ///
    /// # Errors
    /// No permission, or pins of another version.
    pub fn read(pins: &Pins, daemon: Option<&DaemonFacts>) -> Result<Self, Error> {
        let state = State::read(pins)?;
        let counts = state.as_ref().map(|_| Counts::read(pins)).transpose()?.unwrap_or_default();
        let table = Table::of(&counts, daemon.and_then(|daemon| daemon.table.as_ref()));
        let interfaces: Vec<InterfaceStatus> = state
            .iter()
            .flat_map(|state| &state.deployments)
            .map(|deployment| InterfaceStatus {
                interface: deployment.interface.clone(),
                mode: deployment.mode,
                attached: deployment.attached,
            })
            .collect();
        let wanted = daemon.map(|daemon| daemon.gone.clone()).unwrap_or_default();
        let attached = interfaces.iter().any(|interface| interface.attached);
        Ok(Self {
            daemon: daemon.map_or(DaemonState::NotRunning, |daemon| {
                if daemon.has_started { DaemonState::Running } else { DaemonState::Starting }
            }),
            pid: daemon.map(|_| std::process::id()),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            edge: daemon.and_then(|daemon| daemon.edge.clone()),
            pin_dir: pins.root().to_path_buf(),
            filter: if attached { FilterState::Attached } else { FilterState::NotAttached },
            unfiltered: Vec::new(),
            interfaces,
            packets: counts.interfaces.iter().map(InterfacePackets::new).collect(),
            policy: daemon.map(|daemon| daemon.policy.clone()),
            policy_hash: state.as_ref().map(|state| state.policy_hash.clone()),
            commit: state.as_ref().and_then(|state| state.commit.clone()),
            report: state.as_ref().is_some_and(|state| state.report),
            generation: state.as_ref().map(|state| state.generation),
            loaded: state.as_ref().map(|state| rfc3339(i128::from(state.loaded) * 1_000_000_000)),
            verified_instructions: state.as_ref().map(|state| state.verified_instructions),
            policy_errors: daemon.map_or(0, |daemon| daemon.policy_errors),
            policy_error: daemon.and_then(|daemon| daemon.policy_error.clone()),
            source: daemon.and_then(|daemon| daemon.source.clone()),
            held: daemon.and_then(|daemon| daemon.held.clone()),
            rules: table.rules,
            reasons: table.reasons,
            passed: table.passed,
            dropped: table.dropped,
            would_drop: table.would_drop,
            events_lost: table.events_lost,
            events_suppressed: table.events_suppressed,
            outputs: daemon.map_or_else(Vec::new, |daemon| daemon.outputs.clone()),
            bans: table.bans,
            answers: daemon.and_then(|daemon| daemon.answers.clone()),
        }
        .with_wanted(wanted.iter().map(String::as_str)))
    }

    /// Says which of the interfaces that should be filtered are not: of these, and of those that were.
    #[must_use]
    pub fn with_wanted<'a>(mut self, wanted: impl IntoIterator<Item = &'a str>) -> Self {
        let off = self.interfaces.iter().filter(|known| !known.attached).map(|known| known.interface.clone());
        let mut unfiltered: BTreeSet<String> = self.unfiltered.into_iter().chain(off).collect();
        let is_on = |name: &str| self.interfaces.iter().any(|known| known.attached && known.interface == name);
        unfiltered.extend(wanted.into_iter().filter(|name| !is_on(name)).map(ToOwned::to_owned));
        self.unfiltered = unfiltered.into_iter().collect();
        self
    }

    /// True if packets are being filtered on every interface on which they should be.
    #[must_use]
    pub fn is_filtering(&self) -> bool {
        self.filter == FilterState::Attached && self.unfiltered.is_empty()
    }

    /// True if the newest policy is the one in force, as far as is known: its last version has no errors, and a repository
    /// elsewhere answers.
    #[must_use]
    pub fn is_current(&self) -> bool {
        is_current(self.source.as_ref(), self.commit.as_deref(), self.policy_error.as_deref(), self.held.as_ref())
    }

    /// The status as text for people, in several lines.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = String::new();
        if let Some(edge) = &self.edge {
            let _ = writeln!(text, "edge: {}", printable::escaped(edge));
        }
        let pid = self.pid.map_or_else(String::new, |pid| format!(" (process {pid})"));
        let _ = writeln!(text, "daemon: {}{pid}, filter: {}", self.daemon, self.filter);
        for interface in &self.interfaces {
            let gone = if interface.attached { "" } else { ", the interface is gone" };
            let _ = writeln!(text, "interface: {} ({} mode{gone})", interface.interface, interface.mode);
        }
        for InterfacePackets { interface, passed, would, dropped } in &self.packets {
            let [passed, would, dropped] = [passed, would, dropped].map(|count| grouped(*count));
            let _ = writeln!(text, "packets on {interface}: {passed} passed, {would} would drop, {dropped} dropped");
        }
        for interface in &self.unfiltered {
            let _ = writeln!(text, "NOT FILTERED: {}", printable::escaped(interface));
        }
        if self.report {
            let _ = writeln!(text, "{REPORT_MODE}");
        }
        if let Some(hash) = &self.policy_hash {
            let from =
                self.policy.as_deref().map_or_else(String::new, |policy| format!("{} ", printable::escaped(policy)));
            let commit =
                self.commit.as_deref().map_or_else(String::new, |commit| format!(", commit {}", short_commit(commit)));
            let _ = writeln!(text, "policy: {from}{}{commit}", short(hash));
            let _ = writeln!(
                text,
                "generation {}, in force since {}, {} instructions verified",
                self.generation.unwrap_or(0),
                self.loaded.as_deref().unwrap_or("?"),
                self.verified_instructions.unwrap_or(0)
            );
        }
        if let Some(held) = &self.held {
            let _ = writeln!(text, "{held}");
        }
        if let Some(source) = &self.source {
            text += &source.render(self.commit.as_deref());
        }
        if let Some(error) = &self.policy_error {
            let _ = writeln!(text, "the policy has changed since, but the new one cannot be used: {error}");
        }
        for output in &self.outputs {
            let OutputStatus { output, lost, listen, .. } = output;
            match (listen, lost) {
                (None, 0) => {}
                (None, lost) => {
                    let _ = writeln!(text, "output {output}: {lost} messages lost, its reader is too slow");
                }
                (Some(listen), 0) => {
                    let _ = writeln!(text, "output {output}: http://{listen}/metrics");
                }
                (Some(listen), lost) => {
                    let requests = plural(*lost, "request was", "requests were");
                    let _ = writeln!(
                        text,
                        "output {output}: http://{listen}/metrics; {lost} {requests} refused or took too long"
                    );
                }
            }
        }
        if let Some(answers) = &self.answers {
            let _ = writeln!(text, "{}", answers.line());
        }
        if self.policy_hash.is_some() {
            let table = Table {
                seconds: 0.0,
                // The lines above say so.
                report: false,
                rules: self.rules.clone(),
                reasons: self.reasons.clone(),
                passed: self.passed,
                dropped: self.dropped,
                would_drop: self.would_drop,
                events_lost: self.events_lost,
                events_suppressed: self.events_suppressed,
                bans: self.bans,
            };
            let _ = write!(text, "\n{}", table.render(usize::MAX, usize::MAX));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status() -> Status {
        Status {
            daemon: DaemonState::Running,
            pid: Some(7),
            version: "0.1.0".to_owned(),
            edge: Some("fra1-sbc2".to_owned()),
            pin_dir: "/sys/fs/bpf/ringfence".into(),
            filter: FilterState::Attached,
            interfaces: vec![InterfaceStatus { interface: "eth0".to_owned(), mode: Mode::Native, attached: true }],
            packets: vec![InterfacePackets { interface: "eth0".to_owned(), passed: 4_321, would: 2, dropped: 9 }],
            unfiltered: vec!["eth1".to_owned()],
            policy: Some("/etc/policy".to_owned()),
            policy_hash: Some("0123456789abcdef".to_owned()),
            commit: None,
            report: true,
            generation: Some(2),
            loaded: Some("2026-01-31T06:00:00.000Z".to_owned()),
            verified_instructions: Some(122_000),
            policy_errors: 1,
            policy_error: Some("1 error".to_owned()),
            source: None,
            held: None,
            rules: Vec::new(),
            reasons: Reasons::new(),
            passed: 3,
            dropped: 0,
            would_drop: 2,
            events_lost: 0,
            events_suppressed: 0,
            outputs: vec![OutputStatus { output: "stdout".to_owned(), lost: 4, listen: None, left_out: 0 }],
            bans: 5,
            answers: Some(Answers { sent: [(603, 7)].into(), suppressed: [("rate-source".to_owned(), 8)].into() }),
        }
    }

    const JSON: &str = r#"{"daemon":"running","pid":7,"version":"0.1.0","edge":"fra1-sbc2","pin_dir":"/sys/fs/bpf/ringfence","filter":"attached","interfaces":[{"interface":"eth0","mode":"native","attached":true}],"packets":[{"interface":"eth0","passed":4321,"would":2,"dropped":9}],"unfiltered":["eth1"],"policy":"/etc/policy","policy_hash":"0123456789abcdef","commit":null,"report":true,"generation":2,"loaded":"2026-01-31T06:00:00.000Z","verified_instructions":122000,"policy_errors":1,"policy_error":"1 error","source":null,"held":null,"rules":[],"reasons":{},"passed":3,"dropped":0,"would_drop":2,"events_lost":0,"events_suppressed":0,"outputs":[{"output":"stdout","lost":4}],"bans":5,"answers":{"sent":{"603":7},"suppressed":{"rate-source":8}}}"#;

    #[test]
    fn the_json_of_a_status_is_as_documented() {
        assert_eq!(serde_json::to_string(&status()).unwrap(), JSON);
        assert_eq!(serde_json::from_str::<Status>(JSON).unwrap(), status());
    }

    #[test]
    fn an_earlier_daemons_answer_is_understood() {
        let answer = JSON
            .replace(r#","answers":{"sent":{"603":7},"suppressed":{"rate-source":8}}"#, "")
            .replace(r#","outputs":[{"output":"stdout","lost":4}],"bans":5"#, "")
            .replace(r#""report":true,"#, "")
            .replace(r#""edge":"fra1-sbc2","#, "")
            .replace(r#""source":null,"held":null,"#, "")
            .replace(r#""would_drop":2,"#, "")
            .replace(r#""packets":[{"interface":"eth0","passed":4321,"would":2,"dropped":9}],"#, "")
            .replace(r#""unfiltered":["eth1"],"#, "");
        assert_eq!(
            serde_json::from_str::<Status>(&answer).unwrap(),
            Status {
                outputs: Vec::new(),
                bans: 0,
                answers: None,
                edge: None,
                report: false,
                would_drop: 0,
                packets: Vec::new(),
                unfiltered: Vec::new(),
                ..status()
            }
        );
    }

    #[test]
    fn the_text_names_the_refused_policy_and_what_outputs_lost() {
        let text = status().render();
        let expected = "\
edge: fra1-sbc2
daemon: running (process 7), filter: attached
interface: eth0 (native mode)
packets on eth0: 4,321 passed, 2 would drop, 9 dropped
NOT FILTERED: eth1
report mode: nothing is dropped
policy: /etc/policy 0123456789ab
generation 2, in force since 2026-01-31T06:00:00.000Z, 122000 instructions verified
the policy has changed since, but the new one cannot be used: 1 error
output stdout: 4 messages lost, its reader is too slow
answers: 7 sent; not answered: 8 rate-source
";
        assert!(text.starts_with(expected), "{text}");
        assert!(text.contains("bans in force: 5"), "{text}");
    }

    #[test]
    fn the_text_says_where_metrics_are_and_what_was_lost_there() {
        let prometheus = |lost| OutputStatus {
            output: "prometheus".to_owned(),
            lost,
            listen: Some("127.0.0.1:9469".to_owned()),
            left_out: 0,
        };
        let text = |lost| Status { outputs: vec![prometheus(lost)], ..status() }.render();
        assert!(text(0).contains("\noutput prometheus: http://127.0.0.1:9469/metrics\n"), "{}", text(0));
        assert!(text(1).contains("/metrics; 1 request was refused or took too long\n"), "{}", text(1));
        let json = serde_json::to_string(&prometheus(0)).unwrap();
        assert_eq!(json, r#"{"output":"prometheus","lost":0,"listen":"127.0.0.1:9469"}"#);
    }

    #[test]
    fn every_interface_that_should_be_filtered_and_is_not_is_named_once() {
        let on = |name: &str, attached| InterfaceStatus { interface: name.to_owned(), mode: Mode::Native, attached };
        let interfaces = vec![on("eth0", true), on("eth1", false)];
        let status = Status { interfaces, unfiltered: Vec::new(), ..status() };
        assert!(status.clone().with_wanted([]).unfiltered == ["eth1"], "what was filtered and is gone");
        let status = status.with_wanted(["eth0", "eth1", "eth2"]);
        assert_eq!(status.unfiltered, ["eth1", "eth2"]);
        assert!(!status.is_filtering());
        let all = Status { interfaces: vec![on("eth0", true)], unfiltered: Vec::new(), ..status };
        assert!(all.with_wanted(["eth0"]).is_filtering());
    }

    #[test]
    fn a_refused_policy_is_counted_until_one_comes_in_force() {
        use crate::telemetry::{PolicyError, Reloaded};
        let mut facts = DaemonFacts::default();
        let refused = Notice::PolicyError(PolicyError {
            message: "1 error".to_owned(),
            diagnostics: Vec::new(),
            commit: None,
            report: String::new(),
            policy: String::new(),
        });
        facts.record(&refused);
        assert_eq!((facts.policy_errors, facts.policy_error.as_deref()), (1, Some("1 error")));
        assert_eq!(facts.reload_errors, ReloadErrors { kernel: 1, ..ReloadErrors::default() });
        facts.record(&Notice::Reloaded(Reloaded {
            policy_hash: String::new(),
            commit: None,
            generation: 1,
            rules: 0,
            report: false,
            verified_instructions: 0,
            milliseconds: 0,
            policy: String::new(),
        }));
        assert_eq!((facts.policy_errors, facts.policy_error), (1, None));
    }
}
