//! Reading the pins: which policy is in force on which interfaces, and its counters.

use std::{io, os::fd::AsFd as _};

use filter_core::{
    layout::{Action, Counter, PacketCount, Rule, rule_flag},
    reason::{Reason, Verdict},
};
use zerocopy::FromZeros as _;

use super::{
    Error, Mode, Pins, bans, bpf,
    error::Context as _,
    filter::read_meta,
    pins,
    state::{self, Slot},
    table::Table,
    traffic::{InterfaceCount, Traffic},
};

/// The state of the filter, read from its pins.
#[derive(Clone, Debug)]
pub struct State {
    /// The number of the generation in force.
    pub generation: u64,
    /// Hash of its policy.
    pub policy_hash: String,
    /// Commit of the policy repository, if it came from one.
    pub commit: Option<String>,
    /// When the pins were created, in seconds since 1970.
    pub started: u64,
    /// When the policy came into force, in seconds since 1970.
    pub loaded: u64,
    /// The number of instructions that the verifier processed.
    pub verified_instructions: u32,
    /// True in report mode as a whole: nothing is dropped.
    pub report: bool,
    /// The interfaces of the filter.
    pub deployments: Vec<Deployment>,
}

/// An interface in [`State`].
#[derive(Clone, Debug)]
pub struct Deployment {
    /// Name of the interface, as it was when the program was attached.
    pub interface: String,
    /// The mode in which the program was attached.
    pub mode: Mode,
    /// True if the program is attached to the interface; false if the interface is gone.
    pub attached: bool,
    /// The id of its link, which stays the same when another policy comes in force.
    pub link: Option<u32>,
}

impl State {
    /// Reads the state; none if there is no filter.
    ///
    /// # Errors
    /// No permission, or the pins have another schema version.
    pub fn read(pins: &Pins) -> Result<Option<Self>, Error> {
        let path = pins.map("META");
        if !path.try_exists().context(|| format!("look at {}", path.display()))? {
            return Ok(None);
        }
        let meta = read_meta(pins, &Table::open(&path)?)?;
        if meta.generation == 0 {
            return Ok(None);
        }
        let mut deployments = Vec::new();
        for entry in meta.interfaces.iter().filter(|entry| entry.name[0] != 0) {
            let interface = state::text(&entry.name);
            let link = link(pins, &interface)?;
            let mode = if entry.mode == Mode::Native.number() { Mode::Native } else { Mode::Generic };
            deployments.push(Deployment {
                interface,
                mode,
                attached: link.is_some_and(|link| link.interface != 0),
                link: link.map(|link| link.id),
            });
        }
        Ok(Some(Self {
            generation: meta.generation,
            policy_hash: meta.policy_hash(),
            commit: meta.commit(),
            started: meta.started,
            loaded: meta.loaded,
            verified_instructions: meta.verified_instructions,
            report: meta.report != 0,
            deployments,
        }))
    }
}

/// Whether an interface's link is still attached to an interface, in any network namespace.
pub(super) fn is_attached(pins: &Pins, interface: &str) -> Result<bool, Error> {
    Ok(link(pins, interface)?.is_some_and(|link| link.interface != 0))
}

/// The link of an interface, which may be attached to an interface in any network namespace, or to none any more.
pub(super) fn link(pins: &Pins, interface: &str) -> Result<Option<bpf::LinkInfo>, Error> {
    let pin = pins.link(interface);
    let link = match bpf::get(&pin) {
        Ok(link) => link,
        // Its interface may have been taken off a moment ago.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).context(|| format!("open {}", pin.display())),
    };
    bpf::link_info(link.as_fd()).context(|| format!("ask about {}", pin.display())).map(Some)
}

/// The counters of a rule of the policy in force, since its name first appeared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuleCount {
    /// The rule's name in the policy.
    pub rule: String,
    /// Index of its counters. A rule of the same name keeps it across reloads.
    pub slot: u16,
    /// The name of the action.
    pub action: &'static str,
    /// True in report mode: the rule's own, or the policy's if the rule drops.
    pub report: bool,
    /// The packets that it matched.
    pub packets: u64,
    /// The bytes of these packets.
    pub bytes: u64,
    /// Of these packets, those that passed because they came over TCP: the rule only counted them (`tcp` in a rule).
    pub spared: u64,
    /// Of these packets, those that the rule only counted, because it or the policy was in report mode.
    pub reported: u64,
    /// The bytes of those.
    pub reported_bytes: u64,
    /// Its events that were lost because the ring was full.
    pub events_lost: u64,
    /// Its events that were suppressed by its limit.
    pub events_suppressed: u64,
}

/// The counters of one reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReasonCount {
    /// Why these packets got their verdict.
    pub reason: Reason,
    /// The packets with this reason.
    pub packets: u64,
    /// The bytes of these packets.
    pub bytes: u64,
}

/// All counters at one moment.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// True if the policy is in report mode as a whole.
    pub report: bool,
    /// The rules in force, in file order.
    pub rules: Vec<RuleCount>,
    /// The reasons that have occurred.
    pub reasons: Vec<ReasonCount>,
    /// By interface, of those that are filtered now.
    pub interfaces: Vec<InterfaceCount>,
    /// Events that were lost because the ring was full.
    pub events_lost: u64,
    /// Events that were suppressed by the limit of their rule.
    pub events_suppressed: u64,
    /// Bans in force.
    pub bans: usize,
}

impl Counts {
    /// Reads the counters of the policy in force.
    ///
    /// # Errors
    /// There is no policy in force, or no permission.
    pub fn read(pins: &Pins) -> Result<Self, Error> {
        let rules = Table::open(&pins.generation(pins::CURRENT).join("RULES"))?;
        let slots = Table::open(&pins.map("SLOTS"))?;
        let rule_counters = Table::open(&pins.map("RULE_COUNTERS"))?;
        let meta = read_meta(pins, &Table::open(&pins.map("META"))?)?;
        let mut counts = Self { report: meta.report != 0, bans: bans::count(pins)?, ..Self::default() };
        // A new generation may be coming into force: its rules appear a moment before its metadata.
        for index in 0..meta.rules.min(rules.len()) {
            let rule: Rule = rules.get(index)?;
            let slot: Slot = slots.get(u32::from(rule.slot))?;
            let sum = sum(&rule_counters, u32::from(rule.slot))?;
            counts.events_lost += sum.events_lost;
            counts.events_suppressed += sum.events_suppressed;
            counts.rules.push(RuleCount {
                rule: slot.name(),
                slot: rule.slot,
                action: Action::from_number(rule.action).map_or("unknown", Action::name),
                report: rule.flags & rule_flag::REPORT != 0 || counts.report && rule.action().drops(),
                packets: sum.packets,
                bytes: sum.bytes,
                spared: sum.spared,
                reported: sum.reported,
                reported_bytes: sum.reported_bytes,
                events_lost: sum.events_lost,
                events_suppressed: sum.events_suppressed,
            });
        }
        let traffic = Traffic::read(pins)?;
        for reason in Reason::ALL {
            let PacketCount { packets, bytes } = traffic.reasons[usize::from(reason.number())];
            if packets > 0 {
                counts.reasons.push(ReasonCount { reason, packets, bytes });
            }
        }
        counts.interfaces = traffic.interfaces;
        Ok(counts)
    }

    /// The number of packets that passed only because the policy was in report mode as a whole.
    #[must_use]
    pub fn would_drop(&self) -> u64 {
        self.reasons.iter().filter(|count| count.reason.is_reported()).map(|count| count.packets).sum()
    }

    /// The numbers of packets that were passed and dropped, without packets that were not for a signalling port.
    #[must_use]
    pub fn passed_and_dropped(&self) -> (u64, u64) {
        let sum = |verdict: Verdict| {
            self.reasons
                .iter()
                .filter(|count| count.reason.verdict() == verdict && count.reason != Reason::NotSignalling)
                .map(|count| count.packets)
                .sum()
        };
        (sum(Verdict::Pass), sum(Verdict::Drop))
    }
}

/// The rule names by counter slot, for reading events.
///
/// # Errors
/// There are no pins, or no permission.
pub(crate) fn rule_names(pins: &Pins) -> Result<Vec<String>, Error> {
    let slots = Table::open(&pins.map("SLOTS"))?;
    (0..slots.len()).map(|slot| slots.get::<Slot>(slot).map(|slot| slot.name())).collect()
}

/// The rule that owns a counter slot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct OwnedSlot {
    /// Its name; empty if no rule has owned the slot yet.
    pub(crate) name: String,
    /// What it does; none if it is not in the policy in force.
    pub(crate) action: Option<Action>,
}

/// The rules by counter slot.
///
/// # Errors
/// There are no pins, or no permission.
pub(crate) fn rule_slots(pins: &Pins) -> Result<Vec<OwnedSlot>, Error> {
    let mut slots: Vec<_> = rule_names(pins)?.into_iter().map(|name| OwnedSlot { name, action: None }).collect();
    let rules = Table::open(&pins.generation(pins::CURRENT).join("RULES"))?;
    let meta = read_meta(pins, &Table::open(&pins.map("META"))?)?;
    for index in 0..meta.rules.min(rules.len()) {
        let rule: Rule = rules.get(index)?;
        if let Some(slot) = slots.get_mut(usize::from(rule.slot)) {
            slot.action = Some(rule.action());
        }
    }
    Ok(slots)
}

fn sum(table: &Table, index: u32) -> Result<Counter, Error> {
    let mut sum = Counter::new_zeroed();
    for counter in table.per_cpu::<Counter>(index)? {
        sum.packets += counter.packets;
        sum.bytes += counter.bytes;
        sum.events_suppressed += counter.events_suppressed;
        sum.events_lost += counter.events_lost;
        sum.spared += counter.spared;
        sum.reported += counter.reported;
        sum.reported_bytes += counter.reported_bytes;
    }
    Ok(sum)
}
