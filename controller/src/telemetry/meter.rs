//! Reads the kernel's counters and events, and makes telemetry of them.

use std::{collections::HashMap, sync::Arc, time::Instant};

use filter_core::{
    layout::{Action, Event, Method},
    reason::Reason,
};
use filter_policy::{engine::MessageReader, facts::PolicyFacts};

use super::{CapturedPacket, Fate, PacketEvent, RuleMode, Sample, Table, Tables, clock::Clock};
use crate::kernel::{self, Counts, OwnedSlot, Pins, State, interface_name};

/// Makes a [`Table`] of the counters each time it is asked.
#[derive(Debug)]
pub struct Meter {
    pins: Pins,
    began: Instant,
    tables: Tables,
}

impl Meter {
    /// A meter whose tables count the time from now on.
    #[must_use]
    pub fn new(pins: Pins) -> Self {
        Self { pins, began: Instant::now(), tables: Tables::default() }
    }

    /// The counters now, with rates since the last call.
    ///
    /// # Errors
    /// There is no filter, or no permission.
    pub fn read(&mut self) -> Result<Table, kernel::Error> {
        let counts = Counts::read(&self.pins)?;
        Ok(self.tables.next(self.began.elapsed(), &counts))
    }
}

/// Nobody has read what a sampled packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unread;

/// Makes [`PacketEvent`]s of the program's events, [`Sample`]s of its samples, and [`CapturedPacket`]s of what it captures.
#[derive(Debug)]
pub struct EventReader {
    pins: Pins,
    /// The host's name in events.
    edge: Option<String>,
    /// Rules by counter slot.
    slots: Vec<OwnedSlot>,
    /// The commit of the policy in force.
    commit: Option<String>,
    /// What that policy says beyond what the kernel decides by; none if this process has not read it.
    facts: Option<Arc<PolicyFacts>>,
    /// Reads messages as that policy says; none likewise.
    messages: Option<MessageReader>,
    /// Names of interfaces by index.
    interfaces: HashMap<u32, Option<String>>,
    clock: Clock,
}

impl EventReader {
    /// A reader for the policy that is in force now, on the host of this name.
    #[must_use]
    pub fn new(pins: Pins, edge: Option<String>, facts: Option<Arc<PolicyFacts>>) -> Self {
        let mut reader = Self {
            pins,
            edge,
            slots: Vec::new(),
            commit: None,
            facts: None,
            messages: None,
            interfaces: HashMap::new(),
            clock: Clock::now(),
        };
        reader.read_policy(facts);
        reader
    }

    /// Reads what the pins say of the policy again; call it when another one has come in force.
    pub fn read_policy(&mut self, facts: Option<Arc<PolicyFacts>>) {
        self.slots = kernel::rule_slots(&self.pins).unwrap_or_else(|error| {
            tracing::warn!("failed to read the rule names: {error}");
            Vec::new()
        });
        self.commit = State::read(&self.pins).ok().flatten().and_then(|state| state.commit);
        self.messages = facts.as_ref().and_then(|facts| facts.messages()).map(MessageReader::new);
        self.facts = facts;
    }

    /// Reads the clocks and the names of interfaces again; call it now and then, as clocks are stepped, and interfaces renamed.
    pub fn read_clock(&mut self) {
        self.clock = Clock::now();
        self.interfaces.clear();
    }

    /// An event as the program wrote it, with its rule's name, wall-clock time, what the message in its packet says, and what the policy
    /// says of it.
    #[must_use]
    pub fn read(&mut self, mut event: Event, frame: &[u8]) -> PacketEvent {
        self.read_message(&mut event, frame);
        self.describe(&event)
    }

    /// Reads what the program has not read, since no rule asks for it.
    fn read_message(&mut self, event: &mut Event, frame: &[u8]) {
        if let Some(messages) = &mut self.messages {
            messages.read(event, frame);
        }
    }

    fn describe(&mut self, event: &Event) -> PacketEvent {
        let slot = self.slot(event.slot);
        let mut read = PacketEvent::new(event, slot.map(|slot| slot.name.as_str()), &self.clock);
        read.edge.clone_from(&self.edge);
        read.commit.clone_from(&self.commit);
        read.interface = match event.interface {
            0 => None,
            index => self.interfaces.entry(index).or_insert_with(|| interface_name(index)).clone(),
        };
        if let Some(facts) = &self.facts {
            read.basis = read.rule.as_deref().and_then(|rule| facts.basis(rule)).map(str::to_owned);
            read.reputation = read.calling.as_deref().and_then(|number| facts.score(number));
            read.upstream = facts.upstream(read.source).map(str::to_owned);
        }
        read
    }

    /// A sampled packet; none if it passed and is no request. The program samples such packets where the policy reads no messages.
    ///
    /// # Errors
    /// It passed, and nobody has read whether it is a request: the packet is too long to come with its record.
    pub fn read_sample(&mut self, mut event: Event, frame: &[u8]) -> Result<Option<Sample>, Unread> {
        self.read_message(&mut event, frame);
        let would: Vec<_> = self.would(&event).map(|slot| slot.name.clone()).collect();
        let packet = self.describe(&event);
        let reason = Reason::from_number(event.reason);
        let fate = if reason.is_some_and(|reason| reason.verdict().drops()) {
            Fate::Dropped
        } else if !would.is_empty() || reason.is_some_and(Reason::is_reported) {
            Fate::Would
        } else {
            Fate::Passed
        };
        if fate == Fate::Passed && matches!(event.method, Method::None | Method::Response) {
            let is_unread = event.method == Method::None && frame.len() < event.length as usize;
            return if is_unread { Err(Unread) } else { Ok(None) };
        }
        let sets = self.facts.as_ref().map_or_else(Vec::new, |facts| facts.sets(packet.source));
        let sets = sets.into_iter().map(str::to_owned).collect();
        Ok(Some(Sample {
            packet,
            monotonic: event.time,
            weight: event.weight,
            fate,
            numbers: [event.calling, event.called],
            would,
            sets,
            within_dialog: event.within_dialog != 0,
        }))
    }

    /// A captured packet. One that passed, and would have been dropped, is reported for the first rule that would have.
    #[must_use]
    pub fn read_captured(&mut self, mut event: Event, frame: Vec<u8>) -> CapturedPacket {
        self.read_message(&mut event, &frame);
        let would: Vec<OwnedSlot> = self.would(&event).cloned().collect();
        let rules = would.iter().map(|slot| slot.name.clone()).collect();
        let drops = Reason::from_number(event.reason).is_some_and(|reason| reason.verdict().drops());
        let mut packet = self.describe(&event);
        if let Some(OwnedSlot { name, action }) = would.into_iter().next().filter(|_| !drops) {
            let reason = action.and_then(Action::reason);
            packet.mode = RuleMode::Report;
            packet.verdict = reason.map_or("drop", Reason::verdict_name).to_owned();
            packet.reason = reason.map_or("unknown", Reason::name).to_owned();
            packet.action = action.map(|action| action.name().to_owned());
            packet.basis = self.facts.as_ref().and_then(|facts| facts.basis(&name)).map(str::to_owned);
            packet.rule = Some(name);
        } else if let Some(reason) = Reason::from_number(event.reason).filter(|reason| reason.is_reported()) {
            packet.mode = RuleMode::Report;
            packet.verdict = reason.enforced().verdict_name().to_owned();
            packet.reason = reason.enforced().name().to_owned();
        }
        let start = usize::from(event.payload_offset);
        let payload = start..start + usize::from(event.payload_length);
        CapturedPacket {
            event: packet,
            would: rules,
            nanoseconds: self.clock.nanoseconds(event.time),
            length: event.length.max(u32::try_from(frame.len()).unwrap_or(u32::MAX)),
            frame,
            payload,
            interface: event.interface,
            has_link_header: true,
        }
    }

    /// The rules that would have dropped the packet.
    fn would<'a>(&'a self, event: &'a Event) -> impl Iterator<Item = &'a OwnedSlot> {
        let slots = event.would.iter().take(usize::from(event.would_count));
        slots.filter_map(|&slot| self.slot(u32::from(slot)))
    }

    fn slot(&self, slot: u32) -> Option<&OwnedSlot> {
        usize::try_from(slot).ok().and_then(|slot| self.slots.get(slot))
    }
}
