//! How full the tables are that outlive a policy.
//!
//! The kernel evicts bans, connections and datagrams without saying so. The program counts what it enters, and the bans of user space are
//! counted here: what is neither in the map any more nor was removed has been evicted.

use std::ops::Range;

use filter_core::{
    layout::{Ban, BanKey, FlowKey, FragmentKey, RateBucket, Remembered, entered},
    limits::{BUCKET_WORDS, CALL_BUCKETS, FLOW_TIME, RATE_BUCKETS, REASSEMBLY_TIME, WAYS},
    rate::{self, table::EVICTIONS},
};
use zerocopy::FromBytes;

use super::{
    Error, Pins,
    bans::{self, Changes},
    observe::Observer,
    table::Table,
};

/// A table whose entries packets make. When one of the kernel's is full, it evicts what was used longest ago.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateTable {
    /// Banned prefixes.
    Bans,
    /// Calls that limits have counted.
    Calls,
    /// TCP connections with a dropped message, or that have just begun.
    Flows,
    /// Datagrams whose first fragment was seen.
    Fragments,
    /// Cells of rates.
    Rates,
}

/// How full a table is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Occupancy {
    /// Which table.
    pub table: StateTable,
    /// Entries that have an effect. Those whose time is over stay in the map until the kernel needs their place, so they are not counted:
    /// evicting one changes no verdict.
    pub entries: u64,
    /// The most entries that fit.
    pub limit: u64,
    /// Entries that lost their place to others. Of calls and rates, those that had an effect then, since the filter was attached. Of the
    /// others, all that the kernel evicted since they were first looked at.
    pub evictions: u64,
}

/// Reads how full the tables are.
#[derive(Debug)]
pub struct OccupancyReader {
    pins: Pins,
    accounts: [Account; entered::TABLES],
}

impl OccupancyReader {
    /// A reader that has not looked yet.
    #[must_use]
    pub fn new(pins: Pins) -> Self {
        Self { pins, accounts: Default::default() }
    }

    /// Reads all tables. That takes some milliseconds for each hundred thousand entries.
    ///
    /// # Errors
    /// There are no pins, or no permission.
    pub fn read(&mut self) -> Result<Vec<Occupancy>, Error> {
        let now = bans::now();
        StateTable::ALL.into_iter().map(|table| table.read(&self.pins, now, &mut self.accounts)).collect()
    }
}

/// What the kernel has evicted from a table.
#[derive(Clone, Copy, Debug, Default)]
struct Account {
    /// What the program had entered at the last look; none before the first one.
    entered: Option<u64>,
    /// What was missing at the first look.
    first: i64,
    evictions: u64,
}

impl Account {
    /// Notes what the program has entered into the table, and how many of all entries that were made are missing there.
    fn note(&mut self, entered: u64, missing: i64) -> u64 {
        // Another version of the program has begun with other maps.
        if self.entered.is_none_or(|before| entered < before) {
            self.first = missing - self.evictions as i64;
        }
        self.entered = Some(entered);
        // Entries that come while the map is read may be among those that are there, and not among those that were entered: they are
        // noted at the next look.
        self.evictions = self.evictions.max((missing - self.first).max(0) as u64);
        self.evictions
    }
}

impl StateTable {
    /// Every table.
    pub const ALL: [Self; 5] = [Self::Bans, Self::Calls, Self::Flows, Self::Fragments, Self::Rates];

    /// Its name in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bans => "bans",
            Self::Calls => "calls",
            Self::Flows => "flows",
            Self::Fragments => "fragments",
            Self::Rates => "rates",
        }
    }

    /// Its map, and the sizes of that one's keys and values.
    const fn map(self) -> (&'static str, usize, usize) {
        match self {
            Self::Bans => (bans::BANS, size_of::<BanKey>(), size_of::<Ban>()),
            Self::Flows => ("FLOWS", size_of::<FlowKey>(), size_of::<Remembered>()),
            Self::Fragments => ("FRAGMENTS", size_of::<FragmentKey>(), size_of::<Remembered>()),
            Self::Calls | Self::Rates => ("RATES", size_of::<u32>(), size_of::<RateBucket>()),
        }
    }

    /// Its place among what the program has entered, if the kernel evicts from it.
    const fn place(self) -> Option<usize> {
        match self {
            Self::Bans => Some(entered::BANS),
            Self::Flows => Some(entered::FLOWS),
            Self::Fragments => Some(entered::FRAGMENTS),
            Self::Calls | Self::Rates => None,
        }
    }

    fn read(self, pins: &Pins, now: u64, accounts: &mut [Account; entered::TABLES]) -> Result<Occupancy, Error> {
        let (name, key_size, value_size) = self.map();
        let map = Table::open(&pins.map(name))?;
        map.ensure_entries(key_size, value_size)?;
        // In this order, whatever happens meanwhile makes what is missing fewer.
        let entered = match self.place() {
            Some(place) => Observer::open(pins)?.observed()?.entered[place],
            None => 0,
        };
        let added = Changes::added();
        let (mut entries, mut held, mut evicted) = (0, 0, 0);
        map.each(|key, value| {
            entries += self.in_use(key, value, now);
            held += 1;
            evicted += self.evicted(key, value);
        })?;
        let removed = Changes::removed();
        let by_hand = if self == Self::Bans { added as i64 - removed as i64 } else { 0 };
        let limit = match self {
            Self::Bans | Self::Flows | Self::Fragments => u64::from(map.len()),
            Self::Calls => (CALL_BUCKETS * WAYS) as u64,
            Self::Rates => (RATE_BUCKETS * WAYS) as u64,
        };
        let evictions = match self.place() {
            Some(place) => accounts[place].note(entered, entered as i64 + by_hand - held),
            None => evicted,
        };
        Ok(Occupancy { table: self, entries, limit, evictions })
    }

    /// The buckets of the table.
    const fn buckets(self) -> Range<usize> {
        match self {
            Self::Calls => RATE_BUCKETS..RATE_BUCKETS + CALL_BUCKETS,
            Self::Rates => 0..RATE_BUCKETS,
            Self::Bans | Self::Flows | Self::Fragments => 0..0,
        }
    }

    /// The bucket, if it is one of the table's.
    fn bucket(self, key: &[u8], value: &[u8]) -> Option<RateBucket> {
        let index = u32::read_from_bytes(key).map_or(usize::MAX, |index| index as usize);
        RateBucket::read_from_bytes(value).ok().filter(|_| self.buckets().contains(&index))
    }

    /// How many entries have lost their place in this bucket.
    fn evicted(self, key: &[u8], value: &[u8]) -> u64 {
        self.bucket(key, value).map_or(0, |bucket| bucket.words[EVICTIONS])
    }

    /// How many entries with an effect this value holds.
    fn in_use(self, key: &[u8], value: &[u8], now: u64) -> u64 {
        let bucket = |count: fn(&[u64; BUCKET_WORDS], u64) -> usize| {
            self.bucket(key, value).map_or(0, |bucket| count(&bucket.words, now)) as u64
        };
        let is_younger_than = |time: u64| {
            Remembered::read_from_bytes(value).is_ok_and(|remembered| now.saturating_sub(remembered.since) < time)
        };
        match self {
            Self::Bans => u64::from(Ban::read_from_bytes(value).is_ok_and(|ban| ban.until > now)),
            Self::Calls => bucket(rate::calls_in_use),
            Self::Flows => u64::from(is_younger_than(FLOW_TIME)),
            Self::Fragments => u64::from(is_younger_than(REASSEMBLY_TIME)),
            // Of a cell whose time is over, the whole burst is free again, as if it were not there.
            Self::Rates => bucket(rate::cells_in_use),
        }
    }
}

#[cfg(test)]
mod tests {
    use filter_core::rate::{cell, table::VALUES};
    use zerocopy::IntoBytes as _;

    use super::*;

    #[test]
    fn an_entry_counts_as_long_as_it_has_an_effect() {
        let second = 1_000_000_000;
        let now = 1_000 * second;
        let remembered =
            |age: u64| Remembered { since: now - age * second, slot: 0, reason: 0, sequence: 0, reported: 0 };
        for (table, value, expected) in [
            (StateTable::Bans, Ban::new(None, now, now + 1, 0).as_bytes().to_vec(), true),
            (StateTable::Bans, Ban::new(None, now, now, 0).as_bytes().to_vec(), false),
            (StateTable::Flows, remembered(179).as_bytes().to_vec(), true),
            (StateTable::Flows, remembered(180).as_bytes().to_vec(), false),
            (StateTable::Fragments, remembered(59).as_bytes().to_vec(), true),
            (StateTable::Fragments, remembered(60).as_bytes().to_vec(), false),
        ] {
            assert_eq!(table.in_use(&[], &value, now), u64::from(expected), "{table:?} {value:?}");
        }
    }

    #[test]
    fn what_is_missing_since_the_first_look_was_evicted_and_the_count_never_goes_back() {
        let mut account = Account::default();
        assert_eq!(account.note(100, 40), 0, "whatever was missing at first");
        assert_eq!(account.note(150, 45), 5);
        assert_eq!(account.note(160, 43), 5, "entries came while it was read");
        assert_eq!(account.note(170, 52), 12);
        assert_eq!(account.note(3, 1), 12, "other maps");
        assert_eq!(account.note(9, 4), 15);
    }

    #[test]
    fn a_bucket_counts_by_what_it_holds() {
        let now = 1_000_000_000_000;
        let mut words = [0; BUCKET_WORDS];
        // Two cells, of which one is ahead of the time.
        (words[0], words[1]) = (0x1234_5688, 0x9999_9988);
        (words[VALUES], words[VALUES + 1]) = (cell::scaled(now) + 1_000, cell::scaled(now));
        let count = |table: StateTable, index: usize| {
            table.in_use((index as u32).as_bytes(), RateBucket { words }.as_bytes(), now)
        };
        assert_eq!((count(StateTable::Rates, 5), count(StateTable::Calls, 5)), (1, 0));
        // Read as calls, they began long ago or will begin.
        assert_eq!((count(StateTable::Rates, RATE_BUCKETS), count(StateTable::Calls, RATE_BUCKETS)), (0, 0));
        words[VALUES] = now >> 20 << 8;
        words[EVICTIONS] = 3;
        let value = RateBucket { words };
        assert_eq!(StateTable::Calls.in_use((RATE_BUCKETS as u32).as_bytes(), value.as_bytes(), now), 1);
        // Those of each table are its own, and the last bucket holds something else.
        for (index, expected) in [(0, [0, 3]), (RATE_BUCKETS, [3, 0]), (RATE_BUCKETS + CALL_BUCKETS, [0, 0])] {
            let evicted = |table: StateTable| table.evicted((index as u32).as_bytes(), value.as_bytes());
            assert_eq!([evicted(StateTable::Calls), evicted(StateTable::Rates)], expected, "bucket {index}");
        }
    }
}
