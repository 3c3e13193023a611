//! Reads the kernel's counters and events, and makes telemetry of them.

use std::time::Instant;

use filter_core::layout::Event;

use super::{PacketEvent, Table, Tables, clock::Clock};
use crate::kernel::{self, Counts, Pins};

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

/// Makes [`PacketEvent`]s of the program's events.
#[derive(Debug)]
pub struct EventReader {
    pins: Pins,
    /// The host's name in events.
    edge: Option<String>,
    /// Rule names by counter slot.
    rules: Vec<String>,
    clock: Clock,
}

impl EventReader {
    /// A reader for the policy that is in force now, on the host of this name.
    #[must_use]
    pub fn new(pins: Pins, edge: Option<String>) -> Self {
        let mut reader = Self { pins, edge, rules: Vec::new(), clock: Clock::now() };
        reader.read_rules();
        reader
    }

    /// Reads the rule names again; call it when another policy has come in force.
    pub fn read_rules(&mut self) {
        self.rules = kernel::rule_names(&self.pins).unwrap_or_else(|error| {
            tracing::warn!("failed to read the rule names: {error}");
            Vec::new()
        });
    }

    /// Reads the clocks again; call it now and then, as the wall clock may be stepped.
    pub fn read_clock(&mut self) {
        self.clock = Clock::now();
    }

    /// An event as the program wrote it, with its rule's name and wall-clock time.
    #[must_use]
    pub fn read(&self, event: &Event) -> PacketEvent {
        let rule = usize::try_from(event.slot).ok().and_then(|slot| self.rules.get(slot));
        PacketEvent { edge: self.edge.clone(), ..PacketEvent::new(event, rule.map(String::as_str), &self.clock) }
    }
}
