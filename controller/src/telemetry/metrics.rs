//! Metrics: their names, types, labels and help, and how they are read.
//!
//! [`Metric`] is the list that the exposition is made from, and that docs/telemetry.md is compared with. The text is Prometheus' own
//! format (version 0.0.4), which every scraper reads and `promtool check metrics` checks. (In OpenMetrics the family of a counter has
//! another name than its samples, which `promtool` reports as mistakes; the crate prometheus-client writes nothing else.)

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use filter_core::{
    layout::{Action, Observed, PacketCount, STRATA},
    reason::{Reason, Verdict},
};

use filter_policy::facts::PolicyFacts;

use super::{
    DaemonFacts, Fate, RuleMode, TopRow,
    bus::{CAPTURES, READERS},
};
use crate::kernel::{Cost, Counts, InterfaceCount, Occupancy, RuleCount, State};

/// The type of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricType {
    /// Only grows, until it begins again at zero.
    Counter,
    /// Any number.
    Gauge,
}

impl MetricType {
    /// Its name in the format.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
        }
    }
}

macro_rules! metrics {
    ($($metric:ident $name:literal $type:ident [$($label:literal),*] $help:literal;)*) => {
        /// A metric that the exporter can send.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Metric {
            $(#[doc = $help] $metric,)*
        }

        impl Metric {
            /// Every metric, in the order of the exposition.
            pub const ALL: &[Self] = &[$(Self::$metric,)*];

            /// Its name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$metric => $name,)* }
            }

            /// Its type.
            #[must_use]
            pub const fn kind(self) -> MetricType {
                match self { $(Self::$metric => MetricType::$type,)* }
            }

            /// The names of its labels.
            #[must_use]
            pub const fn labels(self) -> &'static [&'static str] {
                match self { $(Self::$metric => &[$($label),*],)* }
            }

            /// What it is, in a sentence.
            #[must_use]
            pub const fn help(self) -> &'static str {
                match self { $(Self::$metric => $help,)* }
            }
        }
    };
}

metrics! {
    BuildInfo "ringfence_build_info" Gauge ["version", "edge"] "The daemon's version and the host's name in its configuration; always 1.";
    InterfaceUp "ringfence_interface_up" Gauge ["interface"] "Whether packets are filtered on the interface.";
    InterfaceInfo "ringfence_interface_info" Gauge ["interface", "mode"] "How the program runs on the interface; always 1.";
    PolicyInfo "ringfence_policy_info" Gauge ["commit", "hash", "generation", "report"] "The policy in force; always 1.";
    PolicyGeneration "ringfence_policy_generation" Gauge [] "Number of the policy in force, which grows with each one.";
    PolicyLoaded "ringfence_policy_loaded_timestamp_seconds" Gauge [] "When the policy in force was put in force.";
    PolicyRules "ringfence_policy_rules" Gauge [] "Rules of the policy in force.";
    PolicyReport "ringfence_policy_report_mode" Gauge [] "Whether the policy is in report mode as a whole: nothing is dropped.";
    PolicyHeld "ringfence_policy_held" Gauge [] "Whether a generation is held by a rollback.";
    PolicyCurrent "ringfence_policy_current" Gauge [] "Whether the newest policy is the one in force, as far as is known.";
    SourceFetched "ringfence_source_fetched_timestamp_seconds" Gauge [] "When the policy's git repository last answered.";
    ReloadErrors "ringfence_reload_errors_total" Counter ["kind"] "Policies that did not come in force since the daemon began.";
    Packets "ringfence_packets_total" Counter ["reason", "verdict"] "Packets, by why they passed or were dropped.";
    Bytes "ringfence_bytes_total" Counter ["reason", "verdict"] "Bytes of these packets, from the Ethernet header on.";
    InterfacePackets "ringfence_interface_packets_total" Counter ["interface", "fate"] "Packets on an interface, by what became of them.";
    InterfaceBytes "ringfence_interface_bytes_total" Counter ["interface", "fate"] "Bytes of these packets, from the Ethernet header on.";
    RulePackets "ringfence_rule_packets_total" Counter ["rule", "action", "mode"] "Packets that a rule matched.";
    RuleBytes "ringfence_rule_bytes_total" Counter ["rule", "action", "mode"] "Bytes of these packets.";
    RuleSpared "ringfence_rule_spared_packets_total" Counter ["rule"] "Of the packets that a rule in force matched, those that passed because they came over TCP.";
    RuleInfo "ringfence_rule_info" Gauge ["rule", "action", "mode", "basis"] "A rule in force, its mode now and its legal basis; always 1.";
    UpstreamRecent "ringfence_upstream_recent_packets" Gauge ["upstream", "fate"] "Packets of the last minute by the upstream of their source, estimated from samples.";
    EventsLost "ringfence_events_lost_total" Counter ["rule"] "Packet events that the ring buffer had no room for.";
    EventsSuppressed "ringfence_events_suppressed_total" Counter ["rule"] "Packet events beyond their rule's limit.";
    Samples "ringfence_samples_total" Counter ["fate"] "Sampled packets, by what became of them.";
    SamplesLost "ringfence_samples_lost_total" Counter ["fate"] "Of the sampled packets, those that the ring buffer had no room for.";
    Captures "ringfence_captures_total" Counter ["fate", "result"] "Packets that were to be captured with their bytes.";
    Answers "ringfence_answers_total" Counter ["code"] "Answers to packets that rules reject or divert.";
    AnswersSuppressed "ringfence_answers_suppressed_total" Counter ["cause"] "Packets that rules reject or divert, and that got no answer.";
    OutputLost "ringfence_output_lost_total" Counter ["output"] "Messages that an output lost because its reader was too slow.";
    OutputLeftOut "ringfence_output_left_out_total" Counter ["output"] "Messages that an output left out because they are not for it.";
    TableEntries "ringfence_table_entries" Gauge ["table"] "Entries of a table that have an effect.";
    TableLimit "ringfence_table_entries_limit" Gauge ["table"] "The most entries that fit into the table.";
    TableEvictions "ringfence_table_evictions_total" Counter ["table"] "Entries that lost their place to others.";
    ProgramRuns "ringfence_program_runs_total" Counter [] "Packets that the program in force was run for, while the kernel measured.";
    ProgramSeconds "ringfence_program_run_seconds_total" Counter [] "The time that these runs took.";
    ApiClients "ringfence_api_clients_total" Counter ["result"] "Connections to the daemon's API.";
    Scrapes "ringfence_scrapes_total" Counter ["result"] "Requests to this exporter.";
}

/// Why a policy did not come in force.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReloadErrors {
    /// Policies that the kernel refused.
    pub kernel: u64,
    /// Policies with errors in their files.
    pub policy: u64,
    /// Times in which the policy could not be fetched, or its newest commit may not come in force.
    pub source: u64,
}

/// Requests to the exporter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scrapes {
    /// Those that were answered.
    pub answered: u64,
    /// Those for which the filter could not be read.
    pub failed: u64,
    /// Those that were refused, since too many clients were connected.
    pub refused: u64,
    /// Those that took too long.
    pub timed_out: u64,
}

impl Scrapes {
    /// Those that got nothing, though the filter could have been read.
    #[must_use]
    pub const fn lost(&self) -> u64 {
        self.refused + self.timed_out
    }
}

/// Connections to the API.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clients {
    /// Those that got a place.
    pub accepted: u64,
    /// Those that were refused, since too many clients were connected.
    pub refused: u64,
    /// Those that were closed, since the client neither asked nor read.
    pub stalled: u64,
}

/// Counts of [`Clients`] that grow.
#[derive(Debug, Default)]
pub struct ClientCounts {
    accepted: AtomicU64,
    refused: AtomicU64,
    stalled: AtomicU64,
}

impl ClientCounts {
    /// Counts one that gets a place.
    pub fn accept(&self) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts one that is refused.
    pub fn refuse(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts one that is closed, since it neither asked nor read.
    pub fn drop_stalled(&self) {
        self.stalled.fetch_add(1, Ordering::Relaxed);
    }

    /// The counts now.
    #[must_use]
    pub fn read(&self) -> Clients {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Clients { accepted: read(&self.accepted), refused: read(&self.refused), stalled: read(&self.stalled) }
    }
}

/// What became of a request to the exporter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scrape {
    /// It was answered.
    Answered,
    /// The filter could not be read.
    Failed,
    /// Too many clients were connected.
    Refused,
    /// It took too long.
    TimedOut,
}

/// Counts of [`Scrapes`] that grow.
#[derive(Debug, Default)]
pub struct ScrapeCounts {
    answered: AtomicU64,
    failed: AtomicU64,
    refused: AtomicU64,
    timed_out: AtomicU64,
}

impl ScrapeCounts {
    /// Counts one.
    pub fn count(&self, scrape: Scrape) {
        let counter = match scrape {
            Scrape::Answered => &self.answered,
            Scrape::Failed => &self.failed,
            Scrape::Refused => &self.refused,
            Scrape::TimedOut => &self.timed_out,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// The counts now.
    #[must_use]
    pub fn read(&self) -> Scrapes {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Scrapes {
            answered: read(&self.answered),
            failed: read(&self.failed),
            refused: read(&self.refused),
            timed_out: read(&self.timed_out),
        }
    }
}

/// Everything that a scrape is made from.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// What only the daemon knows.
    pub facts: DaemonFacts,
    /// What is in force; none before the first policy.
    pub state: Option<State>,
    /// The counters.
    pub counts: Counts,
    /// How full the tables are.
    pub tables: Vec<Occupancy>,
    /// What the program costs, if the kernel measures it.
    pub cost: Option<Cost>,
    /// Packets that were sampled and captured.
    pub observed: Observed,
    /// What the policy in force says beyond what the kernel decides by.
    pub policy: Option<Arc<PolicyFacts>>,
    /// The packets of the last minute, by the upstream of their source.
    pub upstreams: Vec<TopRow>,
    /// What the exporter has answered so far.
    pub scrapes: Scrapes,
}

impl Reading {
    /// The metrics as text.
    #[must_use]
    pub fn text(&self) -> String {
        let mut samples = Samples::default();
        self.about_the_daemon(&mut samples);
        if let Some(state) = &self.state {
            self.about_the_policy(state, &mut samples);
            self.about_packets(&mut samples);
            self.counts.rules.iter().for_each(|rule| self.about_a_rule(rule, &mut samples));
            self.about_observed_packets(&mut samples);
        }
        for table in &self.tables {
            samples.add(Metric::TableEntries, &[table.table.name()], table.entries as f64);
            samples.add(Metric::TableLimit, &[table.table.name()], table.limit as f64);
            samples.add(Metric::TableEvictions, &[table.table.name()], table.evictions as f64);
        }
        if let Some(cost) = &self.cost {
            samples.add(Metric::ProgramRuns, &[], cost.runs as f64);
            samples.add(Metric::ProgramSeconds, &[], cost.time.as_secs_f64());
        }
        samples.text()
    }

    fn about_the_daemon(&self, samples: &mut Samples) {
        let Self { facts, scrapes, .. } = self;
        let edge = facts.edge.as_deref().unwrap_or_default();
        samples.add(Metric::BuildInfo, &[env!("CARGO_PKG_VERSION"), edge], 1.0);
        let interfaces = self.state.iter().flat_map(|state| &state.deployments);
        for deployment in interfaces.clone() {
            samples.add(Metric::InterfaceUp, &[&deployment.interface], flag(deployment.attached));
            if deployment.attached {
                samples.add(Metric::InterfaceInfo, &[&deployment.interface, deployment.mode.name()], 1.0);
            }
        }
        for gone in facts.gone.iter().filter(|gone| interfaces.clone().all(|known| known.interface != **gone)) {
            samples.add(Metric::InterfaceUp, &[gone], 0.0);
        }
        let fetched = facts.source.as_ref().and_then(|source| source.fetched.as_deref()).and_then(seconds);
        if let Some(fetched) = fetched {
            samples.add(Metric::SourceFetched, &[], fetched);
        }
        let errors = facts.reload_errors;
        for (kind, count) in [("kernel", errors.kernel), ("policy", errors.policy), ("source", errors.source)] {
            samples.add(Metric::ReloadErrors, &[kind], count as f64);
        }
        for output in &facts.outputs {
            samples.add(Metric::OutputLost, &[&output.output], output.lost as f64);
            samples.add(Metric::OutputLeftOut, &[&output.output], output.left_out as f64);
        }
        // In the status they are only there once one has missed something.
        for readers in [CAPTURES, READERS] {
            if facts.outputs.iter().all(|output| output.output != readers) {
                samples.add(Metric::OutputLost, &[readers], 0.0);
            }
        }
        if let Some(answers) = &facts.answers {
            for (code, count) in &answers.sent {
                samples.add(Metric::Answers, &[&code.to_string()], *count as f64);
            }
            for (cause, count) in &answers.suppressed {
                samples.add(Metric::AnswersSuppressed, &[cause], *count as f64);
            }
        }
        let clients = facts.clients;
        for (result, count) in
            [("accepted", clients.accepted), ("refused", clients.refused), ("stalled", clients.stalled)]
        {
            samples.add(Metric::ApiClients, &[result], count as f64);
        }
        for (result, count) in [
            ("answered", scrapes.answered),
            ("failed", scrapes.failed),
            ("refused", scrapes.refused),
            ("timed-out", scrapes.timed_out),
        ] {
            samples.add(Metric::Scrapes, &[result], count as f64);
        }
    }

    fn about_the_policy(&self, state: &State, samples: &mut Samples) {
        let commit = state.commit.as_deref().unwrap_or_default();
        let (generation, report) = (state.generation.to_string(), state.report.to_string());
        samples.add(Metric::PolicyInfo, &[commit, &state.policy_hash, &generation, &report], 1.0);
        samples.add(Metric::PolicyGeneration, &[], state.generation as f64);
        samples.add(Metric::PolicyLoaded, &[], state.loaded as f64);
        samples.add(Metric::PolicyRules, &[], self.counts.rules.len() as f64);
        samples.add(Metric::PolicyReport, &[], flag(state.report));
        samples.add(Metric::PolicyHeld, &[], flag(self.facts.held.is_some()));
        samples.add(Metric::PolicyCurrent, &[], flag(self.facts.is_current(state.commit.as_deref())));
    }

    /// Each reason, also those that never occurred: a counter that appears with its first packet has no rate for it.
    fn about_packets(&self, samples: &mut Samples) {
        for reason in Reason::ALL {
            let count = self.counts.reasons.iter().find(|count| count.reason == reason);
            let (packets, bytes) = count.map_or((0, 0), |count| (count.packets, count.bytes));
            let labels = [reason.name(), reason.verdict_name()];
            samples.add(Metric::Packets, &labels, packets as f64);
            samples.add(Metric::Bytes, &labels, bytes as f64);
        }
        for InterfaceCount { interface, passed, would, dropped } in &self.counts.interfaces {
            for (fate, PacketCount { packets, bytes }) in Fate::ALL.into_iter().zip([passed, would, dropped]) {
                samples.add(Metric::InterfacePackets, &[interface, fate.name()], *packets as f64);
                samples.add(Metric::InterfaceBytes, &[interface, fate.name()], *bytes as f64);
            }
        }
    }

    fn about_observed_packets(&self, samples: &mut Samples) {
        let observed = &self.observed;
        for (fate, stratum) in Fate::ALL.into_iter().zip(0..STRATA) {
            samples.add(Metric::Samples, &[fate.name()], observed.sampled[stratum] as f64);
            samples.add(Metric::SamplesLost, &[fate.name()], observed.samples_lost[stratum] as f64);
            for (result, counts) in [
                ("captured", observed.captured),
                ("lost", observed.captures_lost),
                ("suppressed", observed.captures_suppressed),
            ] {
                samples.add(Metric::Captures, &[fate.name(), result], counts[stratum] as f64);
            }
        }
        for row in &self.upstreams {
            let upstream = row.key.as_deref().unwrap_or_default();
            for (fate, packets) in Fate::ALL.into_iter().zip([row.passed, row.would, row.dropped]) {
                samples.add(Metric::UpstreamRecent, &[upstream, fate.name()], packets);
            }
        }
    }

    fn about_a_rule(&self, count: &RuleCount, samples: &mut Samples) {
        let RuleCount { rule, action, report, packets, bytes, spared, reported, reported_bytes, .. } = count;
        for (mode, packets, bytes) in [
            (RuleMode::Enforce, packets.saturating_sub(*reported), bytes.saturating_sub(*reported_bytes)),
            (RuleMode::Report, *reported, *reported_bytes),
        ] {
            samples.add(Metric::RulePackets, &[rule, action, mode.name()], packets as f64);
            samples.add(Metric::RuleBytes, &[rule, action, mode.name()], bytes as f64);
        }
        let basis = self.policy.as_ref().and_then(|policy| policy.basis(rule)).unwrap_or_default();
        samples.add(Metric::RuleInfo, &[rule, action, RuleMode::of(*report).name(), basis], 1.0);
        // The others have neither events nor anything to spare.
        if Action::from_name(action)
            .is_some_and(|action| action.reason().is_some_and(|reason| reason.verdict() == Verdict::Drop))
        {
            samples.add(Metric::RuleSpared, &[rule], *spared as f64);
            samples.add(Metric::EventsLost, &[rule], count.events_lost as f64);
            samples.add(Metric::EventsSuppressed, &[rule], count.events_suppressed as f64);
        }
    }
}

fn flag(value: bool) -> f64 {
    f64::from(u8::from(value))
}

/// RFC 3339 as seconds since 1970.
fn seconds(time: &str) -> Option<f64> {
    let time: jiff::Timestamp = time.parse().ok()?;
    Some(Duration::from_millis(u64::try_from(time.as_millisecond()).ok()?).as_secs_f64())
}

/// The samples of each metric.
#[derive(Debug, Default)]
struct Samples(BTreeMap<Metric, Vec<(String, f64)>>);

impl Samples {
    /// Adds a sample with the values of the metric's labels, in their order.
    fn add(&mut self, metric: Metric, values: &[&str], value: f64) {
        debug_assert_eq!(values.len(), metric.labels().len(), "{}", metric.name());
        let pairs = metric.labels().iter().zip(values).map(|(label, value)| format!("{label}=\"{}\"", escaped(value)));
        let pairs: Vec<String> = pairs.collect();
        let labels = if pairs.is_empty() { String::new() } else { format!("{{{}}}", pairs.join(",")) };
        self.0.entry(metric).or_default().push((labels, value));
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for (metric, samples) in &self.0 {
            let name = metric.name();
            let _ = writeln!(text, "# HELP {name} {}\n# TYPE {name} {}", metric.help(), metric.kind().name());
            for (labels, value) in samples {
                let _ = writeln!(text, "{name}{labels} {value}");
            }
        }
        text
    }
}

/// A label's value: backslashes, quotes and line ends are escaped, and nothing else.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::{
        kernel::{Deployment, Mode, ReasonCount, StateTable},
        telemetry::{Answers, Estimate, OutputStatus, SourceStatus},
    };

    fn rule(name: &str, action: &'static str) -> RuleCount {
        RuleCount {
            rule: name.to_owned(),
            slot: 0,
            action,
            report: false,
            packets: 100,
            bytes: 50_000,
            spared: 7,
            reported: 60,
            reported_bytes: 30_000,
            events_lost: 3,
            events_suppressed: 4,
        }
    }

    /// A reading with something of everything.
    pub(in crate::telemetry) fn full() -> Reading {
        let source = SourceStatus {
            url: "ssh://h/p".to_owned(),
            reference: "branch main".to_owned(),
            path: None,
            commit: Some("c".repeat(40)),
            committed: None,
            fetched: Some("1970-01-01T00:01:00.500Z".to_owned()),
            age: Some(1),
            error: None,
            failing_since: None,
        };
        let deployment = |interface: &str, attached| Deployment {
            interface: interface.to_owned(),
            mode: Mode::Native,
            attached,
            link: None,
        };
        Reading {
            facts: DaemonFacts {
                edge: Some("fra1-sbc2".to_owned()),
                gone: ["eth1", "eth2"].map(str::to_owned).into(),
                source: Some(source),
                reload_errors: ReloadErrors { kernel: 1, policy: 2, source: 3 },
                outputs: vec![
                    OutputStatus { output: "stdout".to_owned(), lost: 5, listen: None, left_out: 0 },
                    OutputStatus { output: "hep".to_owned(), lost: 0, listen: None, left_out: 6 },
                ],
                answers: Some(Answers { sent: [(603, 7)].into(), suppressed: [("rate-source".to_owned(), 8)].into() }),
                ..DaemonFacts::default()
            },
            state: Some(State {
                generation: 4,
                policy_hash: "0123".to_owned(),
                commit: Some("c".repeat(40)),
                started: 10,
                loaded: 1_800_000_000,
                verified_instructions: 9,
                report: false,
                deployments: vec![deployment("eth0", true), deployment("eth1", false)],
            }),
            counts: Counts {
                rules: vec![rule("scan\\n\"ers", "drop"), rule("trunks", "continue")],
                reasons: vec![
                    ReasonCount { reason: Reason::DefaultPass, packets: 7, bytes: 700 },
                    ReasonCount { reason: Reason::WouldRuleDrop, packets: 60, bytes: 30_000 },
                ],
                interfaces: vec![InterfaceCount {
                    interface: "eth0".to_owned(),
                    passed: PacketCount { packets: 71, bytes: 7_100 },
                    would: PacketCount { packets: 72, bytes: 7_200 },
                    dropped: PacketCount { packets: 73, bytes: 7_300 },
                }],
                ..Counts::default()
            },
            tables: vec![
                Occupancy { table: StateTable::Bans, entries: 2, limit: 65_536, evictions: 0 },
                Occupancy { table: StateTable::Rates, entries: 3, limit: 458_752, evictions: 4 },
            ],
            cost: Some(Cost { runs: 1_000, time: Duration::from_micros(350) }),
            observed: Observed {
                sampled: [11, 12, 13, 0],
                represented: [21, 22, 23, 0],
                samples_lost: [31, 32, 33, 0],
                captured: [41, 42, 43, 0],
                captures_suppressed: [51, 52, 53, 0],
                captures_lost: [61, 62, 63, 0],
                entered: [71, 72, 73, 0],
            },
            policy: None,
            upstreams: vec![upstream(Some("carrier-one"), 21.0), upstream(None, 22.0)],
            scrapes: Scrapes { answered: 1, failed: 2, refused: 3, timed_out: 4 },
        }
    }

    fn upstream(key: Option<&str>, dropped: f64) -> TopRow {
        let packets = Estimate { packets: 3.0 + dropped, low: 3.0, high: 100.0 };
        TopRow { key: key.map(str::to_owned), packets, passed: 1.0, would: 2.0, dropped, series: None }
    }

    /// The value of a sample.
    fn sample(text: &str, series: &str) -> Option<String> {
        text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ').map(str::to_owned))
    }

    #[test]
    fn every_metric_can_be_sent_and_each_series_once() {
        let text = full().text();
        let families: Vec<&str> =
            text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
        assert_eq!(families, Metric::ALL.iter().map(|metric| metric.name()).collect::<Vec<_>>());
        let series: Vec<&str> = text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| Some(line.rsplit_once(' ')?.0))
            .collect();
        assert_eq!(series.iter().collect::<BTreeSet<_>>().len(), series.len(), "{text}");
        for metric in Metric::ALL {
            let is_counter = metric.kind() == MetricType::Counter;
            assert_eq!(metric.name().ends_with("_total"), is_counter, "{}", metric.name());
            assert!(metric.help().ends_with('.') && !metric.help().contains(['\\', '\n']), "{}", metric.name());
        }
    }

    #[test]
    fn what_was_done_and_what_would_have_been_done_are_counted_apart() {
        let text = full().text();
        let scanners = r#"{rule="scan\\n\"ers",action="drop""#;
        for (series, expected) in [
            (format!("ringfence_rule_packets_total{scanners},mode=\"enforce\"}}"), "40"),
            (format!("ringfence_rule_packets_total{scanners},mode=\"report\"}}"), "60"),
            (format!("ringfence_rule_bytes_total{scanners},mode=\"enforce\"}}"), "20000"),
            (format!("ringfence_rule_bytes_total{scanners},mode=\"report\"}}"), "30000"),
            (r#"ringfence_packets_total{reason="default-pass",verdict="pass"}"#.to_owned(), "7"),
            (r#"ringfence_packets_total{reason="would-rule-drop",verdict="pass"}"#.to_owned(), "60"),
            (r#"ringfence_packets_total{reason="rule-drop",verdict="drop"}"#.to_owned(), "0"),
            (r#"ringfence_packets_total{reason="rule-reject",verdict="reject"}"#.to_owned(), "0"),
            ("ringfence_program_run_seconds_total".to_owned(), "0.00035"),
            (r#"ringfence_answers_total{code="603"}"#.to_owned(), "7"),
            (r#"ringfence_answers_suppressed_total{cause="rate-source"}"#.to_owned(), "8"),
            (r#"ringfence_interface_packets_total{interface="eth0",fate="would"}"#.to_owned(), "72"),
            (r#"ringfence_interface_bytes_total{interface="eth0",fate="dropped"}"#.to_owned(), "7300"),
            (r#"ringfence_table_evictions_total{table="rates"}"#.to_owned(), "4"),
            (r#"ringfence_output_left_out_total{output="hep"}"#.to_owned(), "6"),
            (r#"ringfence_samples_total{fate="would"}"#.to_owned(), "12"),
            (r#"ringfence_captures_total{fate="dropped",result="suppressed"}"#.to_owned(), "53"),
            (r#"ringfence_upstream_recent_packets{upstream="",fate="dropped"}"#.to_owned(), "22"),
            ("ringfence_policy_loaded_timestamp_seconds".to_owned(), "1800000000"),
            ("ringfence_source_fetched_timestamp_seconds".to_owned(), "60.5"),
        ] {
            assert_eq!(sample(&text, &series).as_deref(), Some(expected), "{series} in\n{text}");
        }
        assert!(!text.contains(r#"ringfence_events_lost_total{rule="trunks"}"#), "only rules that drop have events");
    }

    #[test]
    fn an_interface_is_up_only_while_it_is_filtered() {
        let text = full().text();
        let up = |interface: &str| sample(&text, &format!("ringfence_interface_up{{interface=\"{interface}\"}}"));
        assert_eq!([up("eth0"), up("eth1"), up("eth2")].map(Option::unwrap_or_default), ["1", "0", "0"]);
        assert_eq!(text.matches("ringfence_interface_info{").count(), 1, "{text}");
    }

    #[test]
    fn a_policy_that_is_refused_or_held_is_not_current() {
        let current = |reading: &Reading| sample(&reading.text(), "ringfence_policy_current").unwrap_or_default();
        assert_eq!(current(&full()), "1");
        let mut refused = full();
        refused.facts.policy_error = Some("1 error".to_owned());
        assert_eq!(current(&refused), "0");
        let mut behind = full();
        behind.facts.source.as_mut().expect("it has one").commit = Some("d".repeat(40));
        assert_eq!(current(&behind), "0");
    }

    #[test]
    fn before_the_first_policy_only_the_daemon_is_reported() {
        let text = Reading { state: None, tables: Vec::new(), cost: None, ..full() }.text();
        assert!(text.contains("ringfence_build_info{") && text.contains("ringfence_interface_up{"), "{text}");
        assert!(!text.contains("ringfence_packets_total") && !text.contains("ringfence_policy_"), "{text}");
    }
}
