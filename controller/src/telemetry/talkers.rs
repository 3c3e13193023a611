//! The packets that were sampled in the last minutes, for whoever asks who sends most of what.
//!
//! The samples themselves are kept, not counts of them: what is asked (the numbers that a source calls, the sources that a rule would drop)
//! need not be known before. Each stands for as many packets as its rate says, so that sums over samples are estimates without bias. Their
//! bounds follow from the rates; at a rate of one they are exact.

mod intern;
mod question;
mod rows;
mod suggest;

use std::{
    collections::{HashMap, VecDeque},
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use filter_core::limits::WOULD;
use filter_policy::facts::PolicyFacts;

use self::{
    intern::{Interner, Key},
    rows::{Row, Wanted},
    suggest::Beside,
};
pub use self::{
    question::{Estimate, Series, Top, TopBy, TopQuery, TopRow, TopSort},
    suggest::{Suggestion, Suggestions},
};
use super::{Fate, Sample, clock};

/// The longest time that can be asked for.
pub(super) const LONGEST: Duration = Duration::from_secs(600);

/// The most samples that are kept. A flood of each kind for ten minutes leaves more; then what is kept covers less than ten minutes.
const KEPT: usize = 1 << 18;

/// The standard normal quantile of bounds that hold 95 times in 100.
const QUANTILE: f64 = 1.96;

/// How many rules are kept of those that would have dropped a packet: all that the program names.
const RULES: usize = WOULD - 1;

/// Adds up samples.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    samples: u64,
    packets: f64,
    /// Of the samples that stand for more than one packet: their number, the sum of their weights, and that of their squares.
    drawn: [f64; 3],
    by_fate: [f64; 3],
}

impl Sum {
    /// One in `weight` packets is drawn: the Horvitz-Thompson estimator.
    fn add(&mut self, weight: u32, fate: Fate) {
        let is_drawn = f64::from(u8::from(weight > 1));
        let weight = f64::from(weight);
        self.samples += 1;
        self.packets += weight;
        let [samples, sum, squares] = &mut self.drawn;
        *samples += is_drawn;
        *sum += is_drawn * weight;
        *squares += is_drawn * weight * weight;
        self.by_fate[fate as usize] += weight;
    }

    fn sorted_by(&self, sort: TopSort) -> f64 {
        let [passed, would, dropped] = self.by_fate;
        match sort {
            TopSort::Dropped => dropped,
            TopSort::Packets => self.packets,
            TopSort::Passed => passed,
            TopSort::Would => would,
        }
    }

    /// The bounds are those of a Poisson distribution (Byar's approximation), also where there are few samples. Weights that differ are
    /// scaled to one that gives the same variance.
    fn estimate(&self) -> Estimate {
        let [samples, sum, squares] = self.drawn;
        if samples == 0.0 {
            return Estimate { packets: self.packets, low: self.packets, high: self.packets };
        }
        let exact = self.packets - sum;
        let scale = squares / sum;
        let bound = |count: f64, sign: f64| {
            let root = 1.0 - 1.0 / (9.0 * count) + sign * QUANTILE / (3.0 * count.sqrt());
            scale * count * root.max(0.0).powi(3)
        };
        let count = sum / scale;
        // What was seen was there.
        let low = exact + bound(count, -1.0).max(samples);
        Estimate { packets: self.packets, low, high: exact + bound(count + 1.0, 1.0) }
    }
}

/// A sample as it is kept.
#[derive(Clone, Copy, Debug)]
struct Item {
    /// Milliseconds of the monotonic clock.
    milliseconds: u64,
    numbers: [u64; 2],
    source: IpAddr,
    weight: u32,
    agent: Key,
    rule: Key,
    would: [Key; RULES],
    reason: Key,
    upstream: Key,
    sets: Key,
    method: Key,
    fate: Fate,
    is_within_dialog: bool,
}

impl Item {
    fn keys(&self) -> impl Iterator<Item = Key> {
        let others = [self.agent, self.rule, self.reason, self.upstream, self.sets, self.method];
        others.into_iter().chain(self.would)
    }

    /// The rules that dropped it, or would have, each once: in report mode as a whole, the one that decides is one that would have, too.
    fn rules(&self) -> impl Iterator<Item = Key> {
        let others = self.would.into_iter().filter(|rule| *rule != self.rule);
        std::iter::once(self.rule).chain(others).filter(|rule| *rule != Key::NONE)
    }
}

/// The samples of the last minutes.
#[derive(Debug, Default)]
pub struct Talkers {
    kept: Mutex<Kept>,
    /// What the policy in force says of sources and rules.
    policy: Mutex<Option<Arc<PolicyFacts>>>,
    /// True if no packets are sampled.
    is_off: AtomicBool,
}

#[derive(Debug, Default)]
struct Kept {
    /// The oldest first.
    items: VecDeque<Item>,
    texts: Interner,
    /// When the first sample came.
    began: Option<u64>,
    /// When samples were lost, and how many. The oldest first.
    lost: VecDeque<(u64, u64)>,
}

impl Talkers {
    /// Keeps a sample, and lets those go that are too old or too many.
    pub fn note(&self, sample: &Sample) {
        self.lock().note(sample, sample.monotonic / 1_000_000);
    }

    /// Notes that so many samples were lost just now.
    pub fn note_lost(&self, lost: u64) {
        if lost > 0 {
            self.lock().note_lost(lost, now());
        }
    }

    /// Answers a question.
    #[must_use]
    pub fn top(&self, query: &TopQuery) -> Top {
        Top { sampling_off: self.is_off(), ..self.lock().top(query, now()) }
    }

    /// Suggests rules that would stop what has grown in the last `window`, and says whom each would hurt.
    #[must_use]
    pub fn suggest(&self, window: Duration) -> Suggestions {
        let beside = self.policy().map_or_else(Beside::default, |policy| Beside {
            sets: policy.set_names(),
            rules: policy.rule_names().to_vec(),
        });
        Suggestions { sampling_off: self.is_off(), ..self.lock().suggest(window, &beside, now()) }
    }

    /// Notes whether packets are sampled at all.
    pub fn set_sampled(&self, is_sampled: bool) {
        self.is_off.store(!is_sampled, Ordering::Relaxed);
    }

    fn is_off(&self) -> bool {
        self.is_off.load(Ordering::Relaxed)
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

/// Milliseconds of the monotonic clock, which the program's times are of. The wall clock may be stepped.
fn now() -> u64 {
    clock::monotonic() / 1_000_000
}

impl Kept {
    fn note(&mut self, sample: &Sample, at: u64) {
        while let Some(oldest) = self.items.front()
            && (self.items.len() >= KEPT || is_older(oldest, at, LONGEST))
        {
            let oldest = *oldest;
            self.items.pop_front();
            oldest.keys().for_each(|key| self.texts.release(key));
        }
        self.began.get_or_insert(at);
        let packet = &sample.packet;
        let agent = packet.user_agent.as_deref().map_or(Key::NONE, |agent| self.texts.key_of_sender(agent));
        let mut key = |text: Option<&str>| text.map_or(Key::NONE, |text| self.texts.key(text));
        let mut would = sample.would.iter().map(String::as_str);
        let sets = (!sample.sets.is_empty()).then(|| sample.sets.join(","));
        let item = Item {
            milliseconds: at,
            numbers: sample.numbers,
            source: packet.source,
            weight: sample.weight,
            agent,
            rule: key(packet.rule.as_deref()),
            would: std::array::from_fn(|_| key(would.next())),
            reason: key(Some(&packet.reason)),
            upstream: key(packet.upstream.as_deref()),
            sets: key(sets.as_deref()),
            method: key(Some(&packet.method)),
            fate: sample.fate,
            is_within_dialog: sample.within_dialog,
        };
        self.items.push_back(item);
    }

    fn note_lost(&mut self, lost: u64, at: u64) {
        let longest = LONGEST.as_millis() as u64;
        while self.lost.front().is_some_and(|(then, _)| then.saturating_add(longest) < at) {
            self.lost.pop_front();
        }
        self.lost.push_back((at, lost));
    }

    /// The time up to `now` that samples are kept of, at most `window`.
    fn covered(&self, now: u64, window: Duration) -> Duration {
        let since =
            if self.items.len() >= KEPT { self.items.front().map(|item| item.milliseconds) } else { self.began };
        since.map_or(Duration::ZERO, |since| Duration::from_millis(now.saturating_sub(since))).min(window)
    }

    fn top(&self, query: &TopQuery, now: u64) -> Top {
        let window = query.window.min(LONGEST);
        let mut only: Vec<Wanted> =
            query.only.iter().map(|(by, key)| Wanted::new(*by, key.as_deref(), &self.texts)).collect();
        let mut recent: Vec<&Item> = self.items.iter().rev().take_while(|item| !is_older(item, now, window)).collect();
        recent.retain(|item| {
            query.fate.is_none_or(|fate| item.fate == fate) && only.iter_mut().all(|wanted| wanted.has(item))
        });
        let mut all = Sum::default();
        let mut rows: HashMap<Row, Sum> = HashMap::new();
        for item in &recent {
            all.add(item.weight, item.fate);
            Row::each(item, query.by, |row| rows.entry(row).or_default().add(item.weight, item.fate));
        }
        let mut rows: Vec<(Row, Sum)> = rows.into_iter().collect();
        if let Some(part) = query.contains.as_deref().map(str::to_lowercase) {
            rows.retain(|(row, _)| row.text(&self.texts).is_some_and(|text| text.to_lowercase().contains(&part)));
        }
        rows.sort_by(|(one, first), (other, second)| {
            let [first_key, second_key] = [first, second].map(|sum| sum.sorted_by(query.sort));
            second_key
                .total_cmp(&first_key)
                .then_with(|| second.packets.total_cmp(&first.packets))
                .then_with(|| one.cmp(other))
        });
        let more = rows.len().saturating_sub(query.rows) as u64;
        rows.truncate(query.rows);
        let (series, mut of_rows) = series(query, &rows, &recent, window, now);
        let row = |(row, sum): (Row, Sum)| {
            let [passed, would, dropped] = sum.by_fate;
            let series = of_rows.remove(&row);
            TopRow { key: row.text(&self.texts), packets: sum.estimate(), passed, would, dropped, series }
        };
        let since = now.saturating_sub(window.as_millis() as u64);
        let lost = self.lost.iter().filter(|(then, _)| *then >= since).map(|(_, lost)| lost).sum();
        Top {
            by: query.by,
            window_seconds: window.as_secs_f64(),
            covered_seconds: self.covered(now, window).as_secs_f64(),
            samples: all.samples,
            sampling_off: false,
            lost,
            packets: all.estimate(),
            rows: rows.into_iter().map(row).collect(),
            more,
            series,
        }
    }
}

/// The packets over time: of all samples, and of each row that is shown. The others could be as many as there are samples.
fn series(
    query: &TopQuery,
    rows: &[(Row, Sum)],
    items: &[&Item],
    window: Duration,
    now: u64,
) -> (Option<Series>, HashMap<Row, Series>) {
    if query.buckets == 0 {
        return (None, HashMap::new());
    }
    let mut all = Series::new(query.buckets);
    let mut of_rows: HashMap<Row, Series> = rows.iter().map(|(row, _)| (*row, Series::new(query.buckets))).collect();
    let milliseconds = (window.as_millis() as u64).max(1);
    for item in items {
        let ago = now.saturating_sub(item.milliseconds).min(milliseconds - 1);
        let bucket = query.buckets - 1 - (ago * query.buckets as u64 / milliseconds) as usize;
        all.add(bucket, item.weight, item.fate);
        Row::each(item, query.by, |row| {
            if let Some(series) = of_rows.get_mut(&row) {
                series.add(bucket, item.weight, item.fate);
            }
        });
    }
    (Some(all), of_rows)
}

fn is_older(item: &Item, now: u64, window: Duration) -> bool {
    item.milliseconds.saturating_add(window.as_millis() as u64) < now
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::PacketEvent;

    fn sample(source: &str, weight: u32, fate: Fate) -> Sample {
        let packet = PacketEvent { source: source.parse().unwrap(), rule: None, ..PacketEvent::example() };
        Sample {
            packet,
            monotonic: 0,
            weight,
            fate,
            numbers: [0, 0x1312_5550_100f_0000],
            would: Vec::new(),
            sets: Vec::new(),
            within_dialog: false,
        }
    }

    fn query(by: TopBy, seconds: u64) -> TopQuery {
        TopQuery::new(by, Duration::from_secs(seconds), 10)
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
            let top = kept
                .top(&TopQuery { only: vec![(TopBy::Rule, Some(rule.to_owned()))], ..query(TopBy::Source, 10) }, 1_000);
            rows(&top).into_iter().map(|(key, packets)| (key.unwrap().to_owned(), packets)).collect::<Vec<_>>()
        };
        assert_eq!(of("scanners"), [("192.0.2.2".to_owned(), 2.0), ("192.0.2.1".to_owned(), 1.0)]);
        assert_eq!(of("wangiri"), [("192.0.2.2".to_owned(), 2.0)]);
        assert!(of("unknown").is_empty());
    }

    #[test]
    fn rows_are_chosen_by_every_key_that_a_row_can_have_also_by_none() {
        let mut kept = Kept::default();
        for (source, called, set) in [
            ("192.0.2.1", 0x1312_5550_100f_0000, None),
            ("192.0.2.9", 0x1312_5550_100f_0000, Some("trunks")),
            ("2001:db8::7", 0, Some("trunks")),
        ] {
            let sample = Sample {
                numbers: [0, called],
                sets: set.into_iter().map(str::to_owned).collect(),
                ..sample(source, 1, Fate::Passed)
            };
            kept.note(&sample, 1_000);
        }
        let of = |by: TopBy, key: Option<&str>| {
            let only = vec![(by, key.map(str::to_owned))];
            let top = kept.top(&TopQuery { only, ..query(TopBy::Source, 10) }, 1_000);
            rows(&top).into_iter().map(|(key, _)| key.unwrap().to_owned()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(of(TopBy::Source, Some("192.0.2.9")), "192.0.2.9");
        assert_eq!(of(TopBy::Prefix, Some("192.0.2.0/24")), "192.0.2.1 192.0.2.9");
        assert_eq!(of(TopBy::Prefix, Some("2001:db8::/64")), "2001:db8::7");
        assert_eq!(of(TopBy::Called, Some("13125550100")), "192.0.2.1 192.0.2.9");
        assert_eq!(of(TopBy::Called, None), "2001:db8::7");
        assert_eq!(of(TopBy::Set, Some("trunks")), "192.0.2.9 2001:db8::7");
        assert_eq!(of(TopBy::Set, None), "192.0.2.1");
        assert_eq!(of(TopBy::Rule, None), "192.0.2.1 192.0.2.9 2001:db8::7");
        let nothing = [of(TopBy::Source, None), of(TopBy::Source, Some("x")), of(TopBy::Agent, Some("unknown"))];
        assert_eq!(nothing, ["", "", ""]);
        let only = vec![(TopBy::Called, Some("13125550100".to_owned())), (TopBy::Set, Some("trunks".to_owned()))];
        assert_eq!(rows(&kept.top(&TopQuery { only, ..query(TopBy::Source, 10) }, 1_000)), [(Some("192.0.2.9"), 1.0)]);
        let contains = TopQuery { contains: Some("DB8".to_owned()), ..query(TopBy::Source, 10) };
        let top = kept.top(&contains, 1_000);
        assert_eq!((rows(&top), top.more), (vec![(Some("2001:db8::7"), 1.0)], 0));
    }

    #[test]
    fn rows_are_sorted_before_those_beyond_the_limit_go() {
        let mut kept = Kept::default();
        for (source, weight, fate) in
            [("192.0.2.1", 90, Fate::Passed), ("192.0.2.2", 20, Fate::Dropped), ("192.0.2.3", 40, Fate::Would)]
        {
            kept.note(&sample(source, weight, fate), 1_000);
        }
        let first = |sort| {
            let top = kept.top(&TopQuery { sort, rows: 1, ..query(TopBy::Source, 10) }, 1_000);
            assert_eq!(top.more, 2);
            top.rows[0].key.clone().unwrap()
        };
        assert_eq!(TopSort::ALL.map(first), ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.1"]);
    }

    #[test]
    fn a_series_has_every_packet_once_in_the_part_of_the_window_in_which_it_came() {
        let mut kept = Kept::default();
        for (milliseconds, weight, fate) in
            [(50_000, 1, Fate::Passed), (52_499, 2, Fate::Passed), (52_501, 4, Fate::Would), (60_000, 8, Fate::Dropped)]
        {
            kept.note(&sample("192.0.2.1", weight, fate), milliseconds);
        }
        let asked = TopQuery { buckets: 4, ..query(TopBy::Source, 10) };
        let top = kept.top(&asked, 60_000);
        let expected = Series {
            passed: vec![3.0, 0.0, 0.0, 0.0],
            would: vec![0.0, 4.0, 0.0, 0.0],
            dropped: vec![0.0, 0.0, 0.0, 8.0],
        };
        assert_eq!(expected.of(TopSort::Packets), [3.0, 4.0, 0.0, 8.0]);
        assert_eq!((top.series.as_ref(), top.rows[0].series.as_ref()), (Some(&expected), Some(&expected)));
        assert_eq!(kept.top(&query(TopBy::Source, 10), 60_000).series, None);
        // A packet of two rules is once in the series of each, and once in that of all.
        let mut would = sample("192.0.2.2", 1, Fate::Would);
        would.would = vec!["wangiri".to_owned(), "scanners".to_owned()];
        kept.note(&would, 60_000);
        let top = kept.top(&TopQuery { by: TopBy::Rule, fate: Some(Fate::Would), buckets: 1, ..asked }, 60_000);
        assert_eq!(top.series.unwrap().would, [5.0]);
        let of_rows: Vec<_> = top.rows.iter().map(|row| row.series.clone().unwrap().would).collect();
        assert_eq!(of_rows, [[4.0], [1.0], [1.0]]);
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
        assert!((8_100.0..8_200.0).contains(&low) && (12_100.0..12_200.0).contains(&high), "{low} {high}");
        // One sample is at least one packet, and at most five and a half times what it stands for (Poisson: 0.025 to 5.57).
        let mut single = Sum::default();
        single.add(1_000, Fate::Passed);
        let Estimate { low, high, .. } = single.estimate();
        assert!((1.0..40.0).contains(&low) && (5_400.0..5_700.0).contains(&high), "{low} {high}");
        // What is exact stays so beside it.
        (0..7).for_each(|_| single.add(1, Fate::Passed));
        assert_eq!(single.estimate().low, 7.0 + low);
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

    #[test]
    fn a_rule_that_decides_in_report_mode_counts_a_packet_once_and_all_that_would_have_dropped_it_count_it() {
        let mut kept = Kept::default();
        let mut would = sample("192.0.2.2", 1, Fate::Would);
        would.packet.rule = Some("first".to_owned());
        would.would = ["first", "second", "third", "fourth"].map(str::to_owned).into();
        kept.note(&would, 0);
        let top = kept.top(&query(TopBy::Rule, 10), 0);
        let expected = ["first", "fourth", "second", "third"].map(|rule| (Some(rule), 1.0));
        let mut found = rows(&top);
        found.sort_by_key(|(rule, _)| *rule);
        assert_eq!(found, expected);
    }

    #[test]
    fn no_sender_takes_the_place_of_what_the_policy_names() {
        let mut kept = Kept::default();
        for index in 0..=intern::MOST {
            let mut one = sample("192.0.2.1", 1, Fate::Passed);
            one.packet.user_agent = Some(format!("agent {index}"));
            kept.note(&one, 0);
        }
        let mut late = sample("192.0.2.2", 1, Fate::Dropped);
        late.packet.rule = Some("late".to_owned());
        late.packet.method = "PUBLISH".to_owned();
        kept.note(&late, 0);
        assert_eq!(rows(&kept.top(&query(TopBy::Rule, 10), 0))[1], (Some("late"), 1.0));
        assert!(rows(&kept.top(&query(TopBy::Method, 10), 0)).contains(&(Some("PUBLISH"), 1.0)));
    }

    #[test]
    fn samples_that_were_lost_are_said_of_the_window_that_they_were_lost_in() {
        let mut kept = Kept::default();
        kept.note_lost(3, 0);
        kept.note_lost(4, 50_000);
        let lost = |seconds, now| kept.top(&query(TopBy::Source, seconds), now).lost;
        assert_eq!((lost(60, 50_000), lost(10, 50_000), lost(10, 90_000)), (7, 4, 0));
    }
}
