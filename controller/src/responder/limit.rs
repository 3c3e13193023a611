//! How many answers are sent, in all and to each source.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    time::{Duration, Instant},
};

use filter_core::rate::cell;

/// So many in a time; as many may come at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many.
    pub count: u32,
    /// In which time.
    pub period: Duration,
}

impl Rate {
    /// So many in a second.
    #[must_use]
    pub const fn per_second(count: u32) -> Self {
        Self { count, period: Duration::from_secs(1) }
    }
}

/// What an answer was refused by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    Source,
    Total,
}

/// A rate in the terms of a limit's cell, whose arithmetic is the engine's.
#[derive(Clone, Copy, Debug)]
struct Pace {
    interval: u64,
    tolerance: u64,
}

impl Pace {
    fn of(rate: Rate) -> Self {
        let period = u64::try_from(rate.period.as_nanos()).unwrap_or(u64::MAX);
        // No rate is zero, see `quantity::rate`.
        let interval = cell::interval(rate.count, period).unwrap_or(u64::MAX);
        Self { interval, tolerance: cell::tolerance(interval, rate.count) }
    }

    /// What the cell then holds; none if it is over the limit.
    fn count(self, cell: u64, now: u64) -> Option<u64> {
        cell::count(cell, now, self.interval, self.tolerance)
    }
}

/// Sources that are remembered. The limit in all keeps them fewer, unless it is set very high.
const MOST_SOURCES: usize = 1 << 16;

/// The answers that may be sent.
#[derive(Debug)]
pub(super) struct Limits {
    total: Pace,
    per_source: Pace,
    /// When the clock of the cells began.
    start: Instant,
    in_all: u64,
    sources: HashMap<IpAddr, u64>,
}

impl Limits {
    pub(super) fn new(total: Rate, per_source: Rate, now: Instant) -> Self {
        Self {
            total: Pace::of(total),
            per_source: Pace::of(per_source),
            start: now,
            in_all: 0,
            sources: HashMap::new(),
        }
    }

    /// Whether a source may be sent an answer now. A source that is over its own limit takes nothing from the others.
    pub(super) fn check(&self, source: IpAddr, now: Instant) -> Result<(), Refused> {
        let now = self.time(now);
        let cell = self.sources.get(&network(source)).copied().unwrap_or_default();
        if self.per_source.count(cell, now).is_none() {
            return Err(Refused::Source);
        }
        if self.total.count(self.in_all, now).is_none() {
            return Err(Refused::Total);
        }
        Ok(())
    }

    /// Counts an answer that [`Self::check`] allows.
    pub(super) fn take(&mut self, source: IpAddr, now: Instant) {
        let now = self.time(now);
        self.in_all = self.total.count(self.in_all, now).unwrap_or(self.in_all);
        if self.sources.len() >= MOST_SOURCES {
            // Of a cell in the past, the whole burst is free: it is as good as a new one.
            self.sources.retain(|_, cell| *cell > now);
        }
        if self.sources.len() >= MOST_SOURCES {
            // Only the limit in all is left. It is what bounds this, too.
            self.sources.clear();
        }
        let cell = self.sources.entry(network(source)).or_default();
        *cell = self.per_source.count(*cell, now).unwrap_or(*cell);
    }

    fn time(&self, now: Instant) -> u64 {
        let nanoseconds = now.saturating_duration_since(self.start).as_nanos();
        cell::scaled(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
    }
}

/// What is one source: an IPv4 address, or the /64 of an IPv6 address, of which its owner has all addresses.
fn network(source: IpAddr) -> IpAddr {
    match source {
        IpAddr::V4(_) => source,
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !0 << 64).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(total: u32, per_source: u32) -> (Limits, Instant) {
        let now = Instant::now();
        (Limits::new(Rate::per_second(total), Rate::per_second(per_source), now), now)
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// How many of these requests are answered.
    fn answered(limits: &mut Limits, source: &str, requests: u32, now: Instant) -> u32 {
        (0..requests)
            .map(|_| u32::from(limits.check(address(source), now).map(|()| limits.take(address(source), now)).is_ok()))
            .sum()
    }

    #[test]
    fn a_source_gets_its_rate_and_takes_nothing_from_others() {
        let (mut limits, start) = limits(10, 3);
        assert_eq!(answered(&mut limits, "192.0.2.1", 1_000, start), 3);
        assert_eq!(limits.check(address("192.0.2.1"), start), Err(Refused::Source));
        assert_eq!(answered(&mut limits, "192.0.2.2", 2, start), 2);
        let later = start + Duration::from_millis(334);
        assert_eq!(answered(&mut limits, "192.0.2.1", 5, later), 1, "a third of a second, a third of the rate");
        assert_eq!(
            answered(&mut limits, "192.0.2.1", 5, later + Duration::from_secs(3_600)),
            3,
            "no more than at once"
        );
    }

    #[test]
    fn forged_sources_are_limited_in_all() {
        let (mut limits, start) = limits(5, 2);
        let sum: u32 = (0..100).map(|last| answered(&mut limits, &format!("192.0.2.{last}"), 2, start)).sum();
        assert_eq!(sum, 5);
        assert_eq!(limits.check(address("198.51.100.1"), start), Err(Refused::Total));
        assert_eq!(limits.sources.len(), 3, "only those that were answered are remembered");
        assert!(limits.check(address("198.51.100.1"), start + Duration::from_millis(200)).is_ok());
    }

    #[test]
    fn an_ipv6_network_is_one_source() {
        let (mut limits, start) = limits(10, 1);
        assert_eq!(answered(&mut limits, "2001:db8::1", 2, start), 1);
        assert_eq!(answered(&mut limits, "2001:db8::ffff:2", 2, start), 0);
        assert_eq!(answered(&mut limits, "2001:db8:0:1::1", 2, start), 1);
    }

    #[test]
    fn a_clock_that_goes_back_refills_nothing() {
        let (mut limits, start) = limits(10, 1);
        let later = start + Duration::from_secs(1);
        assert_eq!(answered(&mut limits, "192.0.2.1", 2, later), 1);
        assert_eq!(answered(&mut limits, "192.0.2.1", 2, start), 0);
        assert_eq!(answered(&mut limits, "192.0.2.1", 2, later), 0);
    }

    #[test]
    fn the_memory_of_sources_is_bounded() {
        let (mut limits, start) = limits(u32::MAX, 1);
        for number in 0..=MOST_SOURCES {
            limits.take(Ipv6Addr::from_bits((number as u128) << 64).into(), start);
        }
        assert!(limits.sources.len() <= MOST_SOURCES);
        let later = start + Duration::from_secs(2);
        for number in 0..=MOST_SOURCES {
            limits.take(Ipv6Addr::from_bits((number as u128) << 64).into(), later);
        }
        assert!(limits.sources.len() <= MOST_SOURCES);
    }
}
