//! The records of the event ring.

use super::{Attestation, Method, Transport, layout};
use crate::limits::EVENT_TEXT;

layout! {
    pub(super) const LAYOUTS;

    /// An event: what was dropped, or would have been, and why.
    #[derive(Debug)]
    pub struct Event {
        /// Coarse monotonic time, ns.
        pub time: u64,
        /// The calling number: key of the number trie (digits as BCD, terminator), 0 for none.
        pub calling: u64,
        /// The called number, likewise.
        pub called: u64,
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
}
