//! The packets that were sampled in the last minutes, for whoever asks who sends most of what.
//!
//! The samples themselves are kept, not counts of them: what is asked (the numbers that a source calls, the sources that a rule would drop)
//! need not be known before. Each stands for as many packets as its rate says, so that sums over samples are estimates without bias. Their
//! bounds follow from the rates; at a rate of one they are exact.

mod intern;
mod suggest;

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use filter_policy::{facts::PolicyFacts, numbering::number_text};
use serde::{Deserialize, Serialize};

use self::intern::{Interner, Key};
pub use self::suggest::{Suggestion, Suggestions};
use super::{Fate, Sample};

/// The longest time that can be asked for.
pub(super) const LONGEST: Duration = Duration::from_secs(600);

/// The most samples that are kept. A flood of each kind for ten minutes leaves more; then what is kept covers less than ten minutes.
const KEPT: usize = 1 << 18;

/// Bits of the prefixes that sources are summed up by.
const PREFIXES: (u8, u8) = (24, 64);

/// The standard normal quantile of bounds that hold 95 times in 100.
const QUANTILE: f64 = 1.96;

/// What rows are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TopBy {
    /// User agents.
    Agent,
    /// Called numbers.
    Called,
    /// Calling numbers.
    Calling,
    /// Methods.
    Method,
    /// /24 of IPv4 sources, /64 of IPv6 sources.
    Prefix,
    /// Reasons of verdicts.
    Reason,
    /// Rules: the one that decided, and those in report mode that would have.
    Rule,
    /// The sets that say whose a source is.
    Set,
    /// Source addresses.
    Source,
    /// Labels of sources.
    Upstream,
}

impl TopBy {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Agent,
        Self::Called,
        Self::Calling,
        Self::Method,
        Self::Prefix,
        Self::Reason,
        Self::Rule,
        Self::Set,
        Self::Source,
        Self::Upstream,
    ];

    /// Its name in options and output.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Called => "called",
            Self::Calling => "calling",
            Self::Method => "method",
            Self::Prefix => "prefix",
            Self::Reason => "reason",
            Self::Rule => "rule",
            Self::Set => "set",
            Self::Source => "source",
            Self::Upstream => "upstream",
        }
    }
}

/// A question to the samples.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopQuery {
    /// What the rows are.
    pub by: TopBy,
    /// How far back, at most [`LONGEST`].
    pub window: Duration,
    /// Only packets that this rule dropped, or would have.
    pub rule: Option<String>,
    /// Only packets with this reason.
    pub reason: Option<String>,
    /// Only packets that this became of.
    pub fate: Option<Fate>,
    /// The most rows.
    pub rows: usize,
}

/// The answer: who sent most.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Top {
    /// What the rows are.
    pub by: TopBy,
    /// The seconds that were asked for.
    pub window_seconds: f64,
    /// The seconds that are covered: fewer if the daemon has not run that long, or if older samples had to go.
    pub covered_seconds: f64,
    /// Samples that were looked at.
    pub samples: u64,
    /// The packets that they stand for.
    pub packets: Estimate,
    /// The rows, the heaviest first.
    pub rows: Vec<TopRow>,
    /// How many more rows there are.
    pub more: u64,
}

/// A row of [`Top`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TopRow {
    /// The source, number, user agent or whatever was asked for; none for packets that have none.
    pub key: Option<String>,
    /// Its packets.
    pub packets: Estimate,
    /// Those that passed.
    pub passed: f64,
    /// Those that passed, but would have been dropped.
    pub would: f64,
    /// Those that were dropped.
    pub dropped: f64,
}

/// A number of packets, estimated from samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The estimate.
    pub packets: f64,
    /// It is at least so many 95 times in 100 ...
    pub low: f64,
    /// ... and at most so many.
    pub high: f64,
}

/// Adds up samples.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    samples: u64,
    packets: f64,
    variance: f64,
    by_fate: [f64; 3],
}

impl Sum {
    /// One in `weight` packets is drawn: the Horvitz-Thompson estimator and its variance.
    fn add(&mut self, weight: u32, fate: Fate) {
        let weight = f64::from(weight);
        self.samples += 1;
        self.packets += weight;
        self.variance += weight * (weight - 1.0);
        self.by_fate[fate as usize] += weight;
    }

    fn estimate(&self) -> Estimate {
        let deviation = QUANTILE * self.variance.sqrt();
        // What was seen was there.
        let low = (self.packets - deviation).max(self.samples as f64);
        Estimate { packets: self.packets, low, high: self.packets + deviation }
    }
}

/// A sample as it is kept.
#[derive(Clone, Copy, Debug)]
struct Item {
    milliseconds: u64,
    numbers: [u64; 2],
    source: IpAddr,
    weight: u32,
    agent: Key,
    rule: Key,
    would: [Key; 2],
    reason: Key,
    upstream: Key,
    sets: Key,
    method: Key,
    fate: Fate,
    is_within_dialog: bool,
}

impl Item {
    fn keys(&self) -> [Key; 8] {
        let [first, second] = self.would;
        [self.agent, self.rule, first, second, self.reason, self.upstream, self.sets, self.method]
    }

    /// The rules that dropped it, or would have.
    fn rules(&self) -> impl Iterator<Item = Key> {
        let [first, second] = self.would;
        [self.rule, first, second].into_iter().filter(|rule| *rule != Key::NONE)
    }
}

/// The samples of the last minutes.
#[derive(Debug, Default)]
pub struct Talkers {
    kept: Mutex<Kept>,
    /// What the policy in force says of sources and rules.
    policy: Mutex<Option<Arc<PolicyFacts>>>,
}

#[derive(Debug, Default)]
struct Kept {
    /// The oldest first.
    items: VecDeque<Item>,
    texts: Interner,
    /// When the first sample came, if it may still be asked for.
    began: Option<u64>,
}

impl Talkers {
    /// Keeps a sample, and lets those go that are too old or too many.
    pub fn note(&self, sample: &Sample) {
        self.lock().note(sample, now());
    }

    /// Answers a question.
    #[must_use]
    pub fn top(&self, query: &TopQuery) -> Top {
        self.lock().top(query, now())
    }

    /// Suggests rules that would stop what has grown in the last `window`, and says whom each would hurt.
    #[must_use]
    pub fn suggest(&self, window: Duration) -> Suggestions {
        let sets = self.policy().map_or_else(Vec::new, |policy| policy.set_names());
        self.lock().suggest(window, &sets, now())
    }

    /// Notes the policy in force.
    pub fn set_policy(&self, policy: Option<Arc<PolicyFacts>>) {
        *self.policy.lock().unwrap_or_else(PoisonError::into_inner) = policy;
    }

    /// What the policy in force says of sources and rules.
    #[must_use]
    pub fn policy(&self) -> Option<Arc<PolicyFacts>> {
        self.policy.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Milliseconds since the epoch.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

impl Kept {
    fn note(&mut self, sample: &Sample, now: u64) {
        while let Some(oldest) = self.items.front()
            && (self.items.len() >= KEPT || is_older(oldest, now, LONGEST))
        {
            let oldest = *oldest;
            self.items.pop_front();
            oldest.keys().into_iter().for_each(|key| self.texts.release(key));
        }
        self.began.get_or_insert(now);
        let packet = &sample.packet;
        let mut key = |text: Option<&str>| text.map_or(Key::NONE, |text| self.texts.key(text));
        let mut would = sample.would.iter().map(String::as_str);
        let sets = (!sample.sets.is_empty()).then(|| sample.sets.join(","));
        let item = Item {
            milliseconds: now,
            numbers: sample.numbers,
            source: packet.source,
            weight: sample.weight,
            agent: key(packet.user_agent.as_deref()),
            rule: key(packet.rule.as_deref()),
            would: [key(would.next()), key(would.next())],
            reason: key(Some(&packet.reason)),
            upstream: key(packet.upstream.as_deref()),
            sets: key(sets.as_deref()),
            method: key(Some(&packet.method)),
            fate: sample.fate,
            is_within_dialog: sample.within_dialog,
        };
        self.items.push_back(item);
    }

    fn top(&self, query: &TopQuery, now: u64) -> Top {
        let window = query.window.min(LONGEST);
        let [rule, reason] = [&query.rule, &query.reason].map(|text| text.as_deref().map(|text| self.texts.find(text)));
        // (A name that no sample has matches none.)
        let is_wanted = |item: &&Item| {
            query.fate.is_none_or(|fate| item.fate == fate)
                && rule.is_none_or(|rule| rule.is_some_and(|rule| item.rules().any(|of| of == rule)))
                && reason.is_none_or(|reason| reason == Some(item.reason))
        };
        let mut all = Sum::default();
        let mut rows: HashMap<Row, Sum> = HashMap::new();
        let recent = self.items.iter().rev().take_while(|item| !is_older(item, now, window));
        for item in recent.filter(is_wanted) {
            all.add(item.weight, item.fate);
            let mut add = |row| rows.entry(row).or_default().add(item.weight, item.fate);
            if query.by == TopBy::Rule && item.rules().next().is_some() {
                item.rules().for_each(|rule| add(Row::Text(rule)));
            } else {
                add(Row::of(item, query.by));
            }
        }
        let mut rows: Vec<(Row, Sum)> = rows.into_iter().collect();
        rows.sort_by(|(one, first), (other, second)| {
            second.packets.total_cmp(&first.packets).then_with(|| one.cmp(other))
        });
        let more = rows.len().saturating_sub(query.rows) as u64;
        rows.truncate(query.rows);
        let row = |(row, sum): (Row, Sum)| {
            let [passed, would, dropped] = sum.by_fate;
            TopRow { key: row.text(&self.texts), packets: sum.estimate(), passed, would, dropped }
        };
        let since =
            if self.items.len() >= KEPT { self.items.front().map(|item| item.milliseconds) } else { self.began };
        let covered = since.map_or(0, |since| now.saturating_sub(since)).min(window.as_millis() as u64);
        Top {
            by: query.by,
            window_seconds: window.as_secs_f64(),
            covered_seconds: covered as f64 / 1_000.0,
            samples: all.samples,
            packets: all.estimate(),
            rows: rows.into_iter().map(row).collect(),
            more,
        }
    }
}

fn is_older(item: &Item, now: u64, window: Duration) -> bool {
    item.milliseconds.saturating_add(window.as_millis() as u64) < now
}

/// What a row is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Row {
    Address(IpAddr),
    Network(IpAddr, u8),
    Number(u64),
    Text(Key),
}

impl Row {
    fn of(item: &Item, by: TopBy) -> Self {
        let [calling, called] = item.numbers;
        match by {
            TopBy::Agent => Self::Text(item.agent),
            TopBy::Called => Self::Number(called),
            TopBy::Calling => Self::Number(calling),
            TopBy::Method => Self::Text(item.method),
            TopBy::Prefix => network(item.source),
            TopBy::Reason => Self::Text(item.reason),
            TopBy::Rule => Self::Text(item.rule),
            TopBy::Set => Self::Text(item.sets),
            TopBy::Source => Self::Address(item.source),
            TopBy::Upstream => Self::Text(item.upstream),
        }
    }

    fn text(self, texts: &Interner) -> Option<String> {
        match self {
            Self::Address(address) => Some(address.to_string()),
            Self::Network(address, length) => Some(format!("{address}/{length}")),
            Self::Number(key) => number_text(key),
            Self::Text(key) => texts.text(key).map(str::to_owned),
        }
    }
}

fn network(source: IpAddr) -> Row {
    let (ipv4, ipv6) = PREFIXES;
    match source {
        IpAddr::V4(address) => {
            let [a, b, c, _] = address.octets();
            Row::Network(IpAddr::from([a, b, c, 0]), ipv4)
        }
        IpAddr::V6(address) => {
            let bits = u128::from(address) & (u128::MAX << (128 - u32::from(ipv6)));
            Row::Network(Ipv6Addr::from(bits).into(), ipv6)
        }
    }
}

impl fmt::Display for Estimate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.low == self.high {
            write!(f, "{:.0}", self.packets)
        } else {
            write!(f, "{:.0} ({:.0} to {:.0})", self.packets, self.low, self.high)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::PacketEvent;

    fn sample(source: &str, weight: u32, fate: Fate) -> Sample {
        let packet = PacketEvent { source: source.parse().unwrap(), rule: None, ..PacketEvent::example() };
        Sample {
            packet,
            nanoseconds: 0,
            weight,
            fate,
            numbers: [0, 0x1312_5550_100f_0000],
            would: Vec::new(),
            sets: Vec::new(),
            within_dialog: false,
        }
    }

    fn query(by: TopBy, seconds: u64) -> TopQuery {
        TopQuery { by, window: Duration::from_secs(seconds), rule: None, reason: None, fate: None, rows: 10 }
    }

    fn rows(top: &Top) -> Vec<(Option<&str>, f64)> {
        top.rows.iter().map(|row| (row.key.as_deref(), row.packets.packets)).collect()
    }

    #[test]
    fn samples_count_as_many_packets_as_they_stand_for_and_old_ones_not_at_all() {
        let mut kept = Kept::default();
        kept.note(&sample("192.0.2.1", 1, Fate::Passed), 0);
        kept.note(&sample("192.0.2.2", 10, Fate::Dropped), 50_000);
        kept.note(&sample("192.0.2.2", 10, Fate::Dropped), 59_000);
        kept.note(&sample("192.0.2.3", 5, Fate::Would), 60_000);
        let top = kept.top(&query(TopBy::Source, 10), 60_000);
        assert_eq!(rows(&top), [(Some("192.0.2.2"), 20.0), (Some("192.0.2.3"), 5.0)]);
        assert_eq!((top.samples, top.packets.packets, top.covered_seconds), (3, 25.0, 10.0));
        assert_eq!((top.rows[0].dropped, top.rows[1].would), (20.0, 5.0));
        let top = kept.top(&query(TopBy::Prefix, 60), 60_000);
        assert_eq!(rows(&top), [(Some("192.0.2.0/24"), 26.0)]);
        let top = kept.top(&TopQuery { fate: Some(Fate::Passed), ..query(TopBy::Called, 60) }, 60_000);
        assert_eq!(rows(&top), [(Some("13125550100"), 1.0)]);
        kept.note(&sample("192.0.2.4", 1, Fate::Passed), 600_001);
        assert_eq!(kept.items.len(), 4, "what is older than ten minutes goes");
    }

    #[test]
    fn a_rule_has_the_packets_that_it_dropped_and_those_that_it_would_have() {
        let mut kept = Kept::default();
        let mut dropped = sample("192.0.2.1", 1, Fate::Dropped);
        dropped.packet.rule = Some("scanners".to_owned());
        let mut would = sample("192.0.2.2", 2, Fate::Would);
        would.would = vec!["wangiri".to_owned(), "scanners".to_owned()];
        for sample in [&dropped, &would] {
            kept.note(sample, 1_000);
        }
        let top = kept.top(&query(TopBy::Rule, 10), 1_000);
        assert_eq!(rows(&top), [(Some("scanners"), 3.0), (Some("wangiri"), 2.0)]);
        let of = |rule: &str| {
            let top = kept.top(&TopQuery { rule: Some(rule.to_owned()), ..query(TopBy::Source, 10) }, 1_000);
            rows(&top).into_iter().map(|(key, packets)| (key.unwrap().to_owned(), packets)).collect::<Vec<_>>()
        };
        assert_eq!(of("scanners"), [("192.0.2.2".to_owned(), 2.0), ("192.0.2.1".to_owned(), 1.0)]);
        assert_eq!(of("wangiri"), [("192.0.2.2".to_owned(), 2.0)]);
        assert!(of("unknown").is_empty());
    }

    #[test]
    fn bounds_are_exact_where_every_packet_is_sampled_and_hold_the_truth_elsewhere() {
        let mut exact = Sum::default();
        (0..7).for_each(|_| exact.add(1, Fate::Passed));
        assert_eq!(exact.estimate(), Estimate { packets: 7.0, low: 7.0, high: 7.0 });
        // 10,000 packets, one in 100 sampled: a count of about 100 with a standard deviation of about 10.
        let mut rough = Sum::default();
        (0..100).for_each(|_| rough.add(100, Fate::Passed));
        let Estimate { packets, low, high } = rough.estimate();
        assert_eq!(packets, 10_000.0);
        assert!((8_000.0..8_100.0).contains(&low) && (11_900.0..12_000.0).contains(&high), "{low} {high}");
    }

    #[test]
    fn a_flood_of_different_texts_does_not_grow_without_bounds() {
        let mut kept = Kept::default();
        for index in 0..100_000_u64 {
            let mut one = sample("192.0.2.1", 1, Fate::Passed);
            one.packet.user_agent = Some(format!("agent {index}"));
            kept.note(&one, index);
        }
        assert!(kept.texts.len() <= intern::MOST, "{}", kept.texts.len());
        let top = kept.top(&query(TopBy::Agent, 600), 100_000);
        assert_eq!(top.packets.packets, 100_000.0, "those without room count together");
        assert_eq!(top.rows[0].key.as_deref(), Some("(others)"));
        // Once they are too old, there is room again.
        kept.note(&sample("192.0.2.1", 1, Fate::Passed), 10_000_000);
        assert!(kept.texts.len() < 10, "{}", kept.texts.len());
    }
}
