//! What the program reports of packets: the records of its rings, and what it is asked to report.

use super::{Attestation, Method, NumberFormat, Transport, layout};
use crate::{
    limits::{EVENT_TEXT, WOULD},
    named::named_number,
};

named_number! {
    /// What packets are sampled by: each stratum has a rate of its own, so that a flood that is dropped takes no room from what passes.
    pub struct Stratum: u32 {
        /// Requests that pass, and that no rule would have dropped.
        Passed = 0;
        /// Packets that would have been dropped, were it not for report mode.
        Would = 1;
        /// Packets that are dropped.
        Dropped = 2;
    }
}

/// How many strata there are.
pub const STRATA: usize = Stratum::COUNT;

/// Places for what is counted by stratum: one more than there are, so that a masked number is in bounds without a comparison, which the
/// verifier of Linux 6.1 forgets.
pub const STRATUM_PLACES: usize = 4;

layout! {
    pub(super) const LAYOUTS;

    /// An event: what was dropped, or would have been, and why. Also what is said of a sampled packet, or of a captured one.
    #[derive(Debug)]
    pub struct Event {
        /// Coarse monotonic time, ns.
        pub time: u64,
        /// The calling number: key of the number trie (digits as BCD, terminator), 0 for none.
        pub calling: u64,
        /// The called number, likewise.
        pub called: u64,
        /// The From number, likewise.
        pub from: u64,
        /// The asserted number, likewise.
        pub asserted: u64,
        /// The forwarding number, likewise.
        pub forwarded: u64,
        /// Source address; IPv4 mapped.
        pub source: [u8; 16],
        /// Destination address; IPv4 mapped.
        pub destination: [u8; 16],
        /// Source port, host order.
        pub source_port: u16,
        /// Destination port, host order.
        pub destination_port: u16,
        /// Counter slot of the rule, or [`NO_RULE`](super::NO_RULE).
        pub slot: u32,
        /// The packet's length in bytes.
        pub length: u32,
        /// Bits of [`anomaly`](super::anomaly).
        pub anomalies: u32,
        /// Index of the interface that it came in on; 0 if it is unknown.
        pub interface: u32,
        /// How many packets a sampled one stands for; 0 for one that was not sampled.
        pub weight: u32,
        /// Counter slots of the rules that would have dropped the packet, were it not for report mode, as many as
        /// `would_count` says. Only of a sampled or a captured packet.
        pub would: [u16; WOULD],
        /// Offset of the payload in the packet; 0 if no payload was found.
        pub payload_offset: u16,
        /// Bytes of the payload.
        pub payload_length: u16,
        /// How many places of `would` are used.
        pub would_count: u8,
        /// The calling number's format.
        pub calling_format: NumberFormat,
        /// The called number's format.
        pub called_format: NumberFormat,
        /// 1 if To has a tag: the request is within a dialog.
        pub within_dialog: u8,
        /// Number of the [`Reason`](crate::reason::Reason).
        pub reason: u8,
        /// Number of the rule's [`Action`](super::Action).
        pub action: u8,
        /// 1 for a rule in report mode, which did not end the walk.
        pub report: u8,
        /// Transport of the signalling port.
        pub transport: Transport,
        /// Method of the message.
        pub method: Method,
        /// Attestation that the message claims.
        pub attestation: Attestation,
        /// Bytes used of `user_agent`.
        pub user_agent_length: u8,
        /// Bytes used of `call_id`.
        pub call_id_length: u8,
        /// Start of the User-Agent (or Server).
        pub user_agent: [u8; EVENT_TEXT],
        /// Start of the Call-ID.
        pub call_id: [u8; EVENT_TEXT],
    }

    /// Which packets are to be reported apart from events: the daemon writes it while somebody listens.
    #[derive(Debug, Default, PartialEq, Eq)]
    pub struct Observation {
        /// By [`Stratum`]: one packet in so many is sampled, at random, or fewer for a moment if that would be many; 0 for none, and at most
        /// [`MAX_EVERY`](crate::limits::MAX_EVERY).
        pub every: [u32; STRATA],
        /// Changes when a rate does: then the distance to the next sample is drawn again.
        pub epoch: u32,
        /// Bits of [`capture`](super::capture): which packets are captured, with their bytes.
        pub capture: u32,
        /// The most packets of each [`Stratum`] that a CPU captures in a window of about a second.
        pub captures: u32,
        /// The most bytes that are captured of a packet.
        pub bytes: u32,
        /// Padding, always zero.
        pub reserved: u32,
    }

    /// How many packets were sampled and captured, per CPU, by [`Stratum`], and how many entries they made in tables. The last places are
    /// not used.
    #[derive(Debug, Default, PartialEq, Eq)]
    pub struct Observed {
        /// Packets that were sampled.
        pub sampled: [u64; STRATUM_PLACES],
        /// How many packets these stand for: the sum of their weights.
        pub represented: [u64; STRATUM_PLACES],
        /// Samples that were lost because the ring was full.
        pub samples_lost: [u64; STRATUM_PLACES],
        /// Packets that were captured.
        pub captured: [u64; STRATUM_PLACES],
        /// Packets that were not captured because of [`Observation::captures`].
        pub captures_suppressed: [u64; STRATUM_PLACES],
        /// Captures that were lost because the ring was full, or nobody listened any more.
        pub captures_lost: [u64; STRATUM_PLACES],
        /// Entries that were made in tables which the kernel evicts from: their places are in [`entered`].
        pub entered: [u64; STRATUM_PLACES],
    }
}

/// Places in [`Observed::entered`].
pub mod entered {
    /// Bans.
    pub const BANS: usize = 0;
    /// TCP connections.
    pub const FLOWS: usize = 1;
    /// Datagrams whose first fragment was seen.
    pub const FRAGMENTS: usize = 2;
    /// How many tables there are.
    pub const TABLES: usize = 3;
}
