//! The engine in user space: the lines that run in the kernel, over a policy's image in vectors.
//!
//! Behind `inspect`, `explain`, `replay` and `test`, behind the check of a freshly loaded program, and behind every test that
//! compares the two hosts.

mod explanation;
mod facts;
mod frame;
mod host;
mod inspection;
mod reading;
mod verdict;

pub use explanation::{Entry, Explainer, address, entry, value};
pub use facts::Facts;
pub use frame::{Endpoints, MAX_DATAGRAM, datagram, frame};
pub use host::{Memory, UserHost};
pub use inspection::inspection;
pub use reading::Reading;
pub use verdict::decision_json;

use filter_core::{engine, layout::NO_RULE, reason::Reason, scratch::Scratch};
use zerocopy::FromZeros as _;

use crate::image::Image;

/// What the engine decided about a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Why, and so what.
    pub reason: Reason,
    /// Index of the rule that decided.
    pub rule: Option<usize>,
    /// Indices of the report-mode rules that matched on the way.
    pub would: Vec<usize>,
    /// Indices of all rules that matched, pinholes included, in order.
    pub matched: Vec<usize>,
}

/// An engine with a policy, and what it remembers from packet to packet: fragments, flows, counters.
pub struct Engine<'a> {
    image: &'a Image,
    memory: Memory,
    scratch: Box<Scratch>,
}

impl<'a> Engine<'a> {
    /// An engine that has seen nothing yet.
    ///
    /// # Panics
    /// No memory.
    #[must_use]
    pub fn new(image: &'a Image) -> Self {
        let scratch = Scratch::new_box_zeroed().expect("memory for the engine's scratch");
        Self { image, memory: Memory::default(), scratch }
    }

    /// Sets the time that packets arrive at, in nanoseconds of a monotonic clock.
    pub fn set_time(&mut self, nanoseconds: u64) {
        self.memory.set_time(nanoseconds);
    }

    /// Decides about a packet, from its Ethernet header on.
    pub fn decide(&mut self, packet: &[u8]) -> Decision {
        self.memory.begin();
        // Results of the packet before must not be taken for this one's where it is not read that far.
        self.scratch.rule = NO_RULE;
        self.scratch.ip_version = 0;
        self.scratch.destination_port = 0;
        self.scratch.anomalies = 0;
        let host = UserHost::new(self.image, &self.memory, packet);
        let reason = engine::decide(host, &mut self.scratch);
        let matched = self.memory.matched();
        let is_report = |rule: &usize| {
            self.image.rules.get(*rule).is_some_and(|rule| rule.flags & filter_core::layout::rule_flag::REPORT != 0)
        };
        let would = matched.iter().copied().filter(is_report).collect();
        let decided = reason.is_rule() && self.scratch.rule != NO_RULE;
        Decision { reason, rule: decided.then_some(self.scratch.rule as usize), would, matched }
    }

    /// What the engine read in the packet that was decided last.
    #[must_use]
    pub fn reading(&self) -> Reading<'_> {
        Reading::new(&self.scratch)
    }

    /// The engine's working memory after the last packet.
    #[must_use]
    pub fn scratch(&self) -> &Scratch {
        &self.scratch
    }
}
