//! The counters of packets, by interface and reason.
//!
//! The program finds an interface's counters by the lowest bits of its index, which costs it nothing. Whoever puts the program on an interface
//! makes sure that these counters are not those of an interface that is gone. Two that are filtered at once and have the same bits
//! are counted together.

use std::collections::BTreeMap;

use filter_core::{
    layout::{InterfaceCounts, PacketCount},
    limits::{INTERFACE_SLOTS, REASON_PLACES},
    reason::Reason,
};

use super::{Error, Pins, snapshot::link, table::Table};

/// The map.
const MAP: &str = "REASON_COUNTERS";

/// Where the counts are of interfaces that are not filtered any more: the program writes nothing there.
const GONE: u32 = INTERFACE_SLOTS as u32;

/// The packets of an interface, or of several that are counted together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceCount {
    /// Its name; if they are several, theirs with a space between them.
    pub interface: String,
    /// Those that passed, and that no rule would have dropped.
    pub passed: PacketCount,
    /// Those that passed, and would have been dropped, were it not for report mode.
    pub would: PacketCount,
    /// Those that were dropped.
    pub dropped: PacketCount,
}

/// All packets.
#[derive(Debug)]
pub(super) struct Traffic {
    /// By number of their reason.
    pub(super) reasons: [PacketCount; REASON_PLACES],
    /// By interface, sorted by name. Those that are not filtered now are left out.
    pub(super) interfaces: Vec<InterfaceCount>,
}

impl Traffic {
    /// Reads the counters of a filter.
    pub(super) fn read(pins: &Pins) -> Result<Self, Error> {
        let table = Table::open(&pins.map(MAP))?;
        let mut names: BTreeMap<u32, Vec<String>> = BTreeMap::new();
        for name in pins.interfaces()? {
            if let Some(index) = index_of(pins, &name)? {
                names.entry(slot(index)).or_default().push(name);
            }
        }
        let mut reasons = [NONE; REASON_PLACES];
        let mut interfaces = Vec::new();
        for slot in 0..table.len() {
            let counts = sum(&table.per_cpu(slot)?);
            for (all, count) in reasons.iter_mut().zip(&counts.reasons) {
                add(all, count);
            }
            if let Some(names) = names.get_mut(&slot) {
                names.sort_unstable();
                interfaces.push(InterfaceCount::new(names.join(" "), &counts));
            }
        }
        interfaces.sort_by(|one, other| one.interface.cmp(&other.interface));
        Ok(Self { reasons, interfaces })
    }
}

/// Before the program is put on an interface with this index: what its counters hold is of an interface that is gone, unless one is filtered
/// that has the same.
pub(super) fn begin(pins: &Pins, index: u32) -> Result<(), Error> {
    let path = pins.map(MAP);
    if !path.exists() {
        return Ok(());
    }
    for name in pins.interfaces()? {
        if index_of(pins, &name)?.is_some_and(|other| slot(other) == slot(index)) {
            return Ok(());
        }
    }
    let table = Table::open(&path)?;
    let before: Vec<InterfaceCounts> = table.per_cpu(slot(index))?;
    let mut gone: Vec<InterfaceCounts> = table.per_cpu(GONE)?;
    for (gone, before) in gone.iter_mut().zip(&before) {
        *gone = sum(&[*gone, *before]);
    }
    table.set_per_cpu(GONE, &gone)?;
    table.clear_per_cpu(slot(index))
}

/// The index of a filtered interface; none if it is gone.
fn index_of(pins: &Pins, name: &str) -> Result<Option<u32>, Error> {
    Ok(link(pins, name)?.map(|link| link.interface).filter(|index| *index != 0))
}

const fn slot(index: u32) -> u32 {
    index & (INTERFACE_SLOTS as u32 - 1)
}

const NONE: PacketCount = PacketCount { packets: 0, bytes: 0 };

fn add(sum: &mut PacketCount, count: &PacketCount) {
    sum.packets += count.packets;
    sum.bytes += count.bytes;
}

fn sum(all: &[InterfaceCounts]) -> InterfaceCounts {
    let mut sum = InterfaceCounts::NONE;
    for counts in all {
        for (sum, count) in sum.reasons.iter_mut().zip(&counts.reasons) {
            add(sum, count);
        }
        add(&mut sum.would, &counts.would);
    }
    sum
}

impl InterfaceCount {
    fn new(interface: String, counts: &InterfaceCounts) -> Self {
        let (mut passed, mut would, mut dropped) = (NONE, counts.would, NONE);
        for reason in Reason::ALL {
            let count = &counts.reasons[usize::from(reason.number())];
            let fate = if reason.verdict().drops() {
                &mut dropped
            } else if reason.is_reported() {
                &mut would
            } else {
                &mut passed
            };
            add(fate, count);
        }
        // (The counters of a CPU may be read between two of its steps.)
        passed.packets = passed.packets.saturating_sub(counts.would.packets);
        passed.bytes = passed.bytes.saturating_sub(counts.would.bytes);
        Self { interface, passed, would, dropped }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_packet_has_one_fate() {
        let mut counts = InterfaceCounts::NONE;
        let mut set = |reason: Reason, packets| {
            counts.reasons[usize::from(reason.number())] = PacketCount { packets, bytes: 100 * packets };
        };
        set(Reason::NotSignalling, 1);
        set(Reason::DefaultPass, 20);
        set(Reason::RuleDrop, 300);
        set(Reason::WouldRuleDrop, 4_000);
        counts.would = PacketCount { packets: 5, bytes: 500 };
        let count = InterfaceCount::new("eth0".to_owned(), &counts);
        let packets = [count.passed, count.would, count.dropped].map(|count| (count.packets, count.bytes));
        assert_eq!(packets, [(16, 1_600), (4_005, 400_500), (300, 30_000)]);
    }
}
