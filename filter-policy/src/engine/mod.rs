//! The engine in user space: the code that runs in the kernel, over a policy's image in vectors.
//!
//! `inspect`, `explain`, `replay` and `test` use it, and so do the check of a newly loaded program and every test that compares
//! the two hosts.

mod explanation;
mod facts;
mod frame;
mod host;
mod inspection;
mod message;
mod reading;
mod request;
mod verdict;

pub use explanation::{Entry, Explainer, address, entry, value};
pub use facts::Facts;
pub(crate) use frame::ETHERNET_ADDRESSES;
pub use frame::{Endpoints, MAX_DATAGRAM, datagram, frame, segment};
pub use host::{Memory, UserHost};
pub use inspection::inspection;
pub use message::{MessageReader, MessageTables};
pub use reading::Reading;
pub use request::{NoRequest, Request, RequestReader};
pub use verdict::decision_json;

use std::net::IpAddr;

use filter_core::{
    engine,
    layout::NO_RULE,
    reason::Reason,
    scratch::{Extent, Kind, Scratch},
};
use jiff::Timestamp;
use zerocopy::FromZeros as _;

use crate::image::Image;

/// Reads the host's packet into the scratch. If it is not read that far, nothing of an earlier message stays.
fn read_afresh(host: UserHost<'_>, scratch: &mut Scratch) {
    scratch.message.kind = Kind::Unread;
    scratch.message.extent = Extent::None;
    engine::decide(host, scratch);
}

/// What the engine decided about a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The reason, which implies the verdict.
    pub reason: Reason,
    /// Index of the rule that decided, if one did.
    pub rule: Option<usize>,
    /// Indices of the rules that matched on the way and would have acted, were it not for their report mode, or for the TCP connection
    /// of a source that is trusted.
    pub would: Vec<usize>,
    /// Indices of all rules that matched, including pinholes, in order.
    pub matched: Vec<usize>,
}

/// An engine with a policy, and its state across packets: fragments, flows, bans, rates, counters.
pub struct Engine<'a> {
    image: &'a Image,
    memory: Memory,
    scratch: Box<Scratch>,
}

impl<'a> Engine<'a> {
    /// An engine that has seen nothing yet.
    ///
    /// # Panics
    /// There is no memory for the scratch.
    #[must_use]
    pub fn new(image: &'a Image) -> Self {
        let scratch = Scratch::new_box_zeroed().expect("memory for the engine's scratch");
        Self { image, memory: Memory::default(), scratch }
    }

    /// Sets the time at which packets arrive, in nanoseconds of a monotonic clock.
    pub fn set_time(&mut self, nanoseconds: u64) {
        self.memory.set_time(nanoseconds);
    }

    /// Bans a source for good, as by hand.
    pub fn ban(&mut self, source: IpAddr) {
        self.memory.ban(source);
    }

    /// Sets the time of day at which packets arrive: rules outside their hours, or after their last day, are off. Until then, all
    /// rules are on.
    pub fn set_clock(&mut self, at: Timestamp) {
        self.memory.set_on(self.image.timetable.on(at));
    }

    /// Decides a packet, given from its Ethernet header on.
    pub fn decide(&mut self, packet: &[u8]) -> Decision {
        self.memory.begin();
        // If this packet is not read that far, results of the packet before must not be taken for its own.
        self.scratch.walk.rule = NO_RULE;
        self.scratch.packet.ip_version = 0;
        self.scratch.packet.destination_port = 0;
        self.scratch.message.anomalies = 0;
        let host = UserHost::new(self.image, &self.memory, packet);
        let reason = engine::decide(host, &mut self.scratch);
        let matched = self.memory.matched();
        let would = self.memory.would();
        let decided = reason.is_rule() && self.scratch.walk.rule != NO_RULE;
        Decision { reason, rule: decided.then_some(self.scratch.walk.rule as usize), would, matched }
    }

    /// Decides a packet after those that came before it.
    pub fn decide_after(&mut self, before: &[Vec<u8>], packet: &[u8]) -> Decision {
        for earlier in before {
            self.decide(earlier);
        }
        self.decide(packet)
    }

    /// The rules that matched the last packet in everything but their rate, which it did not exceed.
    #[must_use]
    pub fn within_rate(&self) -> Vec<usize> {
        self.memory.within_rate().into_iter().filter_map(|slot| self.rule_of(slot)).collect()
    }

    /// The rule whose ban dropped the last packet; none if no ban did, or one made by hand.
    #[must_use]
    pub fn banned_by(&self) -> Option<usize> {
        self.memory.banned_by().and_then(|ban| self.rule_of(ban.slot))
    }

    /// True if the last packet earned its source a ban: sources that are never banned earn none.
    #[must_use]
    pub fn has_banned(&self) -> bool {
        self.memory.earned()
    }

    fn rule_of(&self, slot: u32) -> Option<usize> {
        self.image.rules.iter().position(|rule| u32::from(rule.slot) == slot)
    }

    /// What the engine read in the last packet.
    #[must_use]
    pub fn reading(&self) -> Reading<'_> {
        Reading::new(&self.scratch)
    }

    /// The engine's scratch after the last packet.
    #[must_use]
    pub fn scratch(&self) -> &Scratch {
        &self.scratch
    }
}
