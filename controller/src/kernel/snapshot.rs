//! What the pins tell: which policy is in force where, and what it has counted.

use std::os::fd::AsFd as _;

use filter_core::{
    layout::{Action, Counter, Rule, rule_flag},
    reason::{Reason, Verdict},
};

use super::{
    Error, Mode, Pins, bpf,
    error::Context as _,
    filter::read_meta,
    pins,
    state::{self, Slot},
    table::Table,
};

/// The filter as its pins tell it.
#[derive(Clone, Debug)]
pub struct State {
    /// Number of the generation in force.
    pub generation: u64,
    /// Hash of its policy.
    pub policy_hash: String,
    /// Commit of the policy repository, if it came from one.
    pub commit: Option<String>,
    /// When the pins were made, seconds since 1970.
    pub started: u64,
    /// When the policy came in force, seconds since 1970.
    pub loaded: u64,
    /// Instructions the verifier walked through.
    pub verified_instructions: u32,
    /// Where the filter is.
    pub deployments: Vec<Deployment>,
}

/// An interface in [`State`].
#[derive(Clone, Debug)]
pub struct Deployment {
    /// Its name.
    pub interface: String,
    /// The mode it was attached in.
    pub mode: Mode,
    /// True if the program is on the interface right now; false once the interface is gone.
    pub attached: bool,
}

impl State {
    /// Reads it; none where no filter is.
    ///
    /// # Errors
    /// No permission, or pins of another schema version.
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
            let attached = is_attached(pins, &interface)?;
            let mode = if entry.mode == Mode::Native.number() { Mode::Native } else { Mode::Generic };
            deployments.push(Deployment { interface, mode, attached });
        }
        Ok(Some(Self {
            generation: meta.generation,
            policy_hash: meta.policy_hash(),
            commit: meta.commit(),
            started: meta.started,
            loaded: meta.loaded,
            verified_instructions: meta.verified_instructions,
            deployments,
        }))
    }
}

/// Whether an interface's link is still tied to an interface (of whichever network namespace).
fn is_attached(pins: &Pins, interface: &str) -> Result<bool, Error> {
    let pin = pins.link(interface);
    if !pin.exists() {
        return Ok(false);
    }
    let link = bpf::get(&pin).context(|| format!("open {}", pin.display()))?;
    let info = bpf::link_info(link.as_fd()).context(|| format!("ask about {}", pin.display()))?;
    Ok(info.interface != 0)
}

/// What a rule of the policy in force has counted since its name first appeared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleCount {
    /// Its name.
    pub rule: String,
    /// Its counter slot.
    pub slot: u16,
    /// Name of its action.
    pub action: &'static str,
    /// True in report mode.
    pub report: bool,
    /// Packets it matched.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// What was decided for one reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReasonCount {
    /// The reason.
    pub reason: Reason,
    /// Packets.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// All counters at one time.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// The rules in force, in file order.
    pub rules: Vec<RuleCount>,
    /// Reasons that occurred.
    pub reasons: Vec<ReasonCount>,
    /// Events that found the ring full.
    pub events_lost: u64,
    /// Events that their rule's limit kept back.
    pub events_suppressed: u64,
}

impl Counts {
    /// Reads the counters of the policy in force.
    ///
    /// # Errors
    /// There is none, or no permission.
    pub fn read(pins: &Pins) -> Result<Self, Error> {
        let rules = Table::open(&pins.generation(pins::CURRENT).join("RULES"))?;
        let slots = Table::open(&pins.map("SLOTS"))?;
        let rule_counters = Table::open(&pins.map("RULE_COUNTERS"))?;
        let reason_counters = Table::open(&pins.map("REASON_COUNTERS"))?;
        let meta = read_meta(pins, &Table::open(&pins.map("META"))?)?;
        let mut counts = Self::default();
        // A new generation may be coming in force: its rules are there a moment before its meta data.
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
                report: rule.flags & rule_flag::REPORT != 0,
                packets: sum.packets,
                bytes: sum.bytes,
            });
        }
        for reason in Reason::ALL {
            let sum = sum(&reason_counters, reason as u32)?;
            counts.events_lost += sum.events_lost;
            counts.events_suppressed += sum.events_suppressed;
            if sum.packets > 0 {
                counts.reasons.push(ReasonCount { reason, packets: sum.packets, bytes: sum.bytes });
            }
        }
        Ok(counts)
    }

    /// Packets that were passed and dropped. What was no signalling is not among them.
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

fn sum(table: &Table, index: u32) -> Result<Counter, Error> {
    let mut sum = Counter { packets: 0, bytes: 0, events_suppressed: 0, events_lost: 0, window: 0, window_events: 0 };
    for counter in table.per_cpu::<Counter>(index)? {
        sum.packets += counter.packets;
        sum.bytes += counter.bytes;
        sum.events_suppressed += counter.events_suppressed;
        sum.events_lost += counter.events_lost;
    }
    Ok(sum)
}
