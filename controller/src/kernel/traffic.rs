//! The counters of packets, by interface and reason.
//!
//! The program finds an interface's counters, its slot, by the lowest bits of the interface's index, which costs it nothing. No counter is
//! ever set back. Whoever puts the program on an interface notes what its slot holds: that is of interfaces that are gone. Two
//! interfaces that are filtered at once and share a slot are counted together.

use std::collections::BTreeMap;

use filter_core::{
    layout::{InterfaceCounts, PacketCount},
    limits::{INTERFACE_SLOTS, REASON_PLACES},
    reason::Reason,
};

use super::{Error, Pins, bpf, snapshot::link, table::Table};

/// The map that the program counts in.
const COUNTERS: &str = "REASON_COUNTERS";

/// The map of what is in each slot, but not of the interfaces that are filtered now. Only user space uses it.
const BASELINES: &str = "BASELINES";

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
        let table = Table::open(&pins.map(COUNTERS))?;
        let mut names: BTreeMap<u32, Vec<String>> = BTreeMap::new();
        for name in pins.interfaces()? {
            if let Some(index) = index_of(pins, &name)? {
                names.entry(slot(index)).or_default().push(name);
            }
        }
        // After the names, whose baselines are there before them, and before the counters, which only rise.
        let baselines = Baselines::read(pins)?;
        let mut reasons = [NONE; REASON_PLACES];
        let mut interfaces = Vec::new();
        for slot in 0..table.len() {
            let counts = sum(&table.per_cpu(slot)?);
            for (all, count) in reasons.iter_mut().zip(&counts.reasons) {
                add(all, count);
            }
            if let Some(names) = names.get_mut(&slot) {
                names.sort_unstable();
                interfaces.push(InterfaceCount::new(names.join(" "), &baselines.since(slot, &counts)));
            }
        }
        interfaces.sort_by(|one, other| one.interface.cmp(&other.interface));
        Ok(Self { reasons, interfaces })
    }
}

/// Before the program is put on an interface with this index: what its slot holds is of interfaces that are gone, unless one is filtered
/// that shares it.
pub(super) fn begin(pins: &Pins, index: u32) -> Result<(), Error> {
    let path = pins.map(COUNTERS);
    if !path.exists() {
        return Ok(());
    }
    for name in pins.interfaces()? {
        if index_of(pins, &name)?.is_some_and(|other| slot(other) == slot(index)) {
            return Ok(());
        }
    }
    let before = sum(&Table::open(&path)?.per_cpu(slot(index))?);
    let path = pins.map(BASELINES);
    let baselines = if path.exists() {
        Table::open(&path)?
    } else {
        Table::create_pinned(&path, size_of::<InterfaceCounts>(), INTERFACE_SLOTS)?
    };
    baselines.set(slot(index), &before)
}

/// What each slot held when the program was put on the interface that has it now.
struct Baselines(Vec<InterfaceCounts>);

impl Baselines {
    fn read(pins: &Pins) -> Result<Self, Error> {
        let path = pins.map(BASELINES);
        if !path.exists() {
            return Ok(Self(Vec::new()));
        }
        let table = Table::open(&path)?;
        (0..table.len()).map(|slot| table.get(slot)).collect::<Result<_, _>>().map(Self)
    }

    /// What has been counted in a slot since then.
    fn since(&self, slot: u32, counts: &InterfaceCounts) -> InterfaceCounts {
        let mut since = *counts;
        let Some(before) = self.0.get(slot as usize) else { return since };
        let counts = since.reasons.iter_mut().chain([&mut since.would]);
        for (count, before) in counts.zip(before.reasons.iter().chain([&before.would])) {
            count.packets = count.packets.saturating_sub(before.packets);
            count.bytes = count.bytes.saturating_sub(before.bytes);
        }
        since
    }
}

/// The index of a filtered interface; none if it is gone.
fn index_of(pins: &Pins, name: &str) -> Result<Option<u32>, Error> {
    // (Of a link of another kind, the kernel says something else in that place.)
    let link = link(pins, name)?.filter(|link| link.kind == bpf::LINK_TYPE_XDP);
    Ok(link.map(|link| link.interface).filter(|index| *index != 0))
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
    fn what_was_counted_before_is_taken_off_and_a_slot_without_a_baseline_is_as_it_is() {
        let counts = |packets| {
            let mut counts = InterfaceCounts::NONE;
            counts.reasons[usize::from(Reason::RuleDrop.number())] = PacketCount { packets, bytes: 100 * packets };
            counts.would = PacketCount { packets: 2 * packets, bytes: packets };
            counts
        };
        let baselines = Baselines(vec![counts(5)]);
        let of = |counts: InterfaceCounts| (counts.reasons[usize::from(Reason::RuleDrop.number())], counts.would);
        assert_eq!(of(baselines.since(0, &counts(7))), of(counts(2)));
        assert_eq!(of(baselines.since(1, &counts(7))), of(counts(7)));
    }

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
