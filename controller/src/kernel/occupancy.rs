//! How full the tables are that outlive a policy.

use filter_core::{
    layout::{Ban, BanKey, FlowKey, FragmentKey, RateCell, RateKey, Remembered},
    limits::{FLOW_TIME, REASSEMBLY_TIME},
};
use zerocopy::FromBytes;

use super::{Error, Pins, bans, table::Table};

/// A table whose entries packets make. When one is full, the kernel evicts what was used longest ago.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateTable {
    /// Banned prefixes.
    Bans,
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
}

impl Occupancy {
    /// Reads all tables. That takes some milliseconds for each hundred thousand entries.
    ///
    /// # Errors
    /// There are no pins, or no permission.
    pub fn read(pins: &Pins) -> Result<Vec<Self>, Error> {
        let now = bans::now();
        StateTable::ALL.into_iter().map(|table| table.read(pins, now)).collect()
    }
}

impl StateTable {
    /// Every table.
    pub const ALL: [Self; 4] = [Self::Bans, Self::Flows, Self::Fragments, Self::Rates];

    /// Its name in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bans => "bans",
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
            Self::Rates => ("RATES", size_of::<RateKey>(), size_of::<RateCell>()),
        }
    }

    fn read(self, pins: &Pins, now: u64) -> Result<Occupancy, Error> {
        let (name, key_size, value_size) = self.map();
        let map = Table::open(&pins.map(name))?;
        map.ensure_hash(key_size, value_size)?;
        let mut entries = 0;
        map.each(|_, value| entries += u64::from(self.is_in_use(value, now)))?;
        Ok(Occupancy { table: self, entries, limit: u64::from(map.len()) })
    }

    /// Whether an entry with this value has an effect.
    fn is_in_use(self, value: &[u8], now: u64) -> bool {
        let is_younger_than = |time: u64| {
            Remembered::read_from_bytes(value).is_ok_and(|remembered| now.saturating_sub(remembered.since) < time)
        };
        match self {
            Self::Bans => Ban::read_from_bytes(value).is_ok_and(|ban| ban.until > now),
            Self::Flows => is_younger_than(FLOW_TIME),
            Self::Fragments => is_younger_than(REASSEMBLY_TIME),
            // Of a cell whose time is over, the whole burst is free again, as if it were not there.
            Self::Rates => RateCell::read_from_bytes(value).is_ok_and(|cell| cell.next > now),
        }
    }
}

#[cfg(test)]
mod tests {
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
            (StateTable::Rates, RateCell { next: now + 1 }.as_bytes().to_vec(), true),
            (StateTable::Rates, RateCell { next: now }.as_bytes().to_vec(), false),
        ] {
            assert_eq!(table.is_in_use(&value, now), expected, "{table:?} {value:?}");
        }
    }
}
