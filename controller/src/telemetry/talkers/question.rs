//! Questions to the samples, and their answers.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use crate::telemetry::Fate;

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

/// What rows are sorted by, the largest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TopSort {
    /// Packets that were dropped.
    Dropped,
    /// All packets.
    #[default]
    Packets,
    /// Packets that passed.
    Passed,
    /// Packets that passed, but would have been dropped.
    Would,
}

impl TopSort {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Packets, Self::Dropped, Self::Would, Self::Passed];

    /// Its name in options and output.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Dropped => "dropped",
            Self::Packets => "packets",
            Self::Passed => "passed",
            Self::Would => "would",
        }
    }
}

/// A question to the samples.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopQuery {
    /// What the rows are.
    pub by: TopBy,
    /// How far back, at most [`LONGEST`](super::LONGEST).
    pub window: Duration,
    /// Only packets with each of these keys, which are those of rows; none for packets that have none. For a rule, those that it dropped, or
    /// would have.
    pub only: Vec<(TopBy, Option<String>)>,
    /// Only packets that this became of.
    pub fate: Option<Fate>,
    /// Only rows whose key has this text in it, in letters of either case.
    pub contains: Option<String>,
    /// What the rows are sorted by.
    pub sort: TopSort,
    /// The most rows.
    pub rows: usize,
    /// Parts of the window for which packets are counted apart; 0 for no such series.
    pub buckets: usize,
}

impl TopQuery {
    /// The heaviest of all packets.
    #[must_use]
    pub fn new(by: TopBy, window: Duration, rows: usize) -> Self {
        let sort = TopSort::default();
        Self { by, window, only: Vec::new(), fate: None, contains: None, sort, rows, buckets: 0 }
    }

    /// True if this can be the key of a row of [`TopBy::Prefix`]: a /24, or a /64 in IPv6.
    #[must_use]
    pub fn is_prefix(text: &str) -> bool {
        super::rows::is_prefix(text)
    }
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
    /// True if no packets are sampled, by the configuration: there is nothing to count.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sampling_off: bool,
    /// Samples that were lost meanwhile: if there are any, all numbers are too low.
    #[serde(default)]
    pub lost: u64,
    /// The packets that they stand for.
    pub packets: Estimate,
    /// The rows, the heaviest first.
    pub rows: Vec<TopRow>,
    /// How many more rows there are.
    pub more: u64,
    /// All of these packets over time; none unless it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub series: Option<Series>,
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
    /// Its packets over time; none unless it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub series: Option<Series>,
}

/// Packets in equal parts of the window, the oldest first. The last part ends now.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// Those that passed.
    pub passed: Vec<f64>,
    /// Those that passed, but would have been dropped.
    pub would: Vec<f64>,
    /// Those that were dropped.
    pub dropped: Vec<f64>,
}

impl Series {
    pub(super) fn new(buckets: usize) -> Self {
        let [passed, would, dropped] = [(); 3].map(|()| vec![0.0; buckets]);
        Self { passed, would, dropped }
    }

    pub(super) fn add(&mut self, bucket: usize, weight: u32, fate: Fate) {
        let of_fate = match fate {
            Fate::Passed => &mut self.passed,
            Fate::Would => &mut self.would,
            Fate::Dropped => &mut self.dropped,
        };
        if let Some(packets) = of_fate.get_mut(bucket) {
            *packets += f64::from(weight);
        }
    }

    /// What rows that are sorted by this are about.
    #[must_use]
    pub fn of(&self, sort: TopSort) -> Vec<f64> {
        match sort {
            TopSort::Dropped => self.dropped.clone(),
            TopSort::Passed => self.passed.clone(),
            TopSort::Would => self.would.clone(),
            TopSort::Packets => {
                let parts = self.passed.iter().zip(&self.would).zip(&self.dropped);
                parts.map(|((passed, would), dropped)| passed + would + dropped).collect()
            }
        }
    }
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

impl fmt::Display for Estimate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.low == self.high {
            write!(f, "{:.0}", self.packets)
        } else {
            write!(f, "{:.0} ({:.0} to {:.0})", self.packets, self.low, self.high)
        }
    }
}
