//! What outlives a policy: counters, bans, rates, and the verdicts that fragments and flows share.

use super::layout;

layout! {
    pub(super) const LAYOUTS;

    /// Counts of a rule or a reason, per CPU.
    #[derive(Debug)]
    pub struct Counter {
        /// Packets of the rule or with the reason.
        pub packets: u64,
        /// Their bytes, from the Ethernet header on.
        pub bytes: u64,
        /// Events that the rule's limit suppressed.
        pub events_suppressed: u64,
        /// Events that were lost because the ring was full.
        pub events_lost: u64,
        /// The second (coarse clock >> 30) that `window_events` counts in.
        pub window: u64,
        /// Events emitted in it.
        pub window_events: u64,
    }

    /// Key of the verdict cache of fragments: later fragments of a dropped datagram are dropped too.
    #[derive(Debug)]
    pub struct FragmentKey {
        /// Source address; IPv4 as in RFC 4291 section 2.5.5.2 (mapped).
        pub source: [u8; 16],
        /// Destination address; IPv4 mapped.
        pub destination: [u8; 16],
        /// Identification (16 bits in IPv4), network order as read.
        pub id: u32,
        /// Protocol of the datagram.
        pub protocol: u32,
    }

    /// Key of the verdict cache of TCP flows: what follows a dropped segment is dropped too.
    #[derive(Debug)]
    pub struct FlowKey {
        /// Source address; IPv4 mapped.
        pub source: [u8; 16],
        /// Destination address; IPv4 mapped.
        pub destination: [u8; 16],
        /// Source port, host order.
        pub source_port: u16,
        /// Destination port, host order.
        pub destination_port: u16,
        /// Padding, always zero.
        pub reserved: u32,
    }

    /// Why a flow or a datagram is dropped: the rule and reason of the verdict that is remembered.
    #[derive(Debug)]
    pub struct Remembered {
        /// Coarse time of the verdict, ns.
        pub since: u64,
        /// Counter slot of the rule, or [`NO_RULE`](super::NO_RULE).
        pub slot: u32,
        /// Number of the [`Reason`](crate::reason::Reason).
        pub reason: u32,
    }

    /// Key of the ban map.
    #[derive(Debug)]
    pub struct BanKey {
        /// Source address; IPv4 mapped.
        pub source: [u8; 16],
    }

    /// Value of the ban map: until when a source is banned, and by which rule.
    #[derive(Debug)]
    pub struct Ban {
        /// Coarse monotonic time at which it ends, ns.
        pub until: u64,
        /// Counter slot of the rule that banned, or [`NO_RULE`](super::NO_RULE) for a ban by hand.
        pub slot: u32,
        /// Padding, always zero.
        pub reserved: u32,
    }

    /// Key of a rate's cell.
    #[derive(Debug)]
    pub struct RateKey {
        /// What the rate is counted by: an address (IPv4 mapped), or a number's key in the first eight bytes. Zero for a rate
        /// of the rule as a whole.
        pub value: [u8; 16],
        /// Counter slot of the rule.
        pub slot: u32,
        /// Number of the [`Per`](super::Per).
        pub per: u32,
    }

    /// A rate's cell: the generic cell rate algorithm (ITU-T I.371) in one number.
    #[derive(Debug)]
    pub struct RateCell {
        /// Theoretical arrival time of the next packet, coarse monotonic ns.
        pub next: u64,
    }
}
