//! What outlives a policy: counters, bans, rates, and the verdicts that fragments and flows share.

use super::layout;
use crate::limits::{BAN_LENGTHS, BUCKET_WORDS, EMERGENCY_TIME, REASON_PLACES};

layout! {
    pub(super) const LAYOUTS;

    /// Packets, and their bytes from the Ethernet header on.
    #[derive(Debug, Default, PartialEq, Eq)]
    pub struct PacketCount {
        /// Packets.
        pub packets: u64,
        /// Bytes.
        pub bytes: u64,
    }

    /// The packets of the interfaces that share a slot, per CPU.
    #[derive(Debug)]
    pub struct InterfaceCounts {
        /// By number of their [`Reason`](crate::reason::Reason).
        pub reasons: [PacketCount; REASON_PLACES],
        /// Of those that passed, the ones that a rule in report mode would have dropped. Those of a policy in report mode as a whole have
        /// reasons of their own.
        pub would: PacketCount,
    }

    /// Counts of a rule, per CPU.
    #[derive(Debug)]
    pub struct Counter {
        /// Packets of the rule.
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
        /// Packets that the rule would have dropped, but passed to keep a TCP connection alive, see
        /// [`rule_flag::TCP_TRUSTED`](super::rule_flag::TCP_TRUSTED). They are among `packets`.
        pub spared: u64,
        /// Packets that the rule only counted, because it or the policy was in report mode. They are among `packets`, and none of
        /// them is among `spared`.
        pub reported: u64,
        /// The bytes of these.
        pub reported_bytes: u64,
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

    /// Key of the verdict cache of TCP flows: a segment that covers or follows a dropped one is dropped too.
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
        /// Of a flow: the sequence number of the dropped segment, or of the connection's first byte.
        pub sequence: u32,
        /// 1 if the policy was in report mode as a whole: then the packet has passed.
        pub reported: u32,
    }

    /// Key of the ban map: a prefix of source addresses.
    #[derive(Debug)]
    pub struct BanKey {
        /// The prefix; IPv4 mapped. The bits after it are zero.
        pub source: [u8; 16],
        /// Its length in bits, 1 to 128: 96 more than in IPv4.
        pub length: u32,
    }

    /// Value of the ban map: until when a prefix is banned, and by which rule.
    #[derive(Debug)]
    pub struct Ban {
        /// Coarse monotonic time at which it ends, ns.
        pub until: u64,
        /// Coarse monotonic time at which it began, ns.
        pub since: u64,
        /// Packets that it has dropped.
        pub packets: u64,
        /// Coarse monotonic time of the last emergency call from there, ns; 0 if there was none. It suspends the ban.
        pub emergency: u64,
        /// Counter slot of the rule that banned, or [`NO_RULE`](super::NO_RULE) for a ban by hand.
        pub slot: u32,
        /// Padding, always zero.
        pub reserved: u32,
    }

    /// The lengths of the prefixes in the ban map, each once; unused entries are zero, and are the last ones.
    #[derive(Debug, PartialEq, Eq)]
    pub struct BanLengths {
        /// Of IPv4 prefixes, as in [`BanKey::length`]: 97 to 128.
        pub ipv4: [u8; BAN_LENGTHS],
        /// Of IPv6 prefixes.
        pub ipv6: [u8; BAN_LENGTHS],
    }

    /// A bucket of the table of limits: what [`crate::rate::table`] says.
    #[derive(Debug)]
    pub struct RateBucket {
        /// Tags, a lock, and values.
        pub words: [u64; BUCKET_WORDS],
    }
}

impl InterfaceCounts {
    /// No packets.
    pub const NONE: Self = Self {
        reasons: [PacketCount { packets: 0, bytes: 0 }; REASON_PLACES],
        would: PacketCount { packets: 0, bytes: 0 },
    };
}

impl Ban {
    /// A ban from `now` on. Of the one that the prefix has already, it keeps when it began and what it has dropped, and the emergency
    /// call that suspends it.
    #[inline(always)]
    #[must_use]
    pub const fn new(old: Option<&Self>, now: u64, until: u64, slot: u32) -> Self {
        let mut ban = Self { until, since: now, packets: 0, emergency: 0, slot, reserved: 0 };
        if let Some(old) = old {
            ban.emergency = old.emergency;
            if old.until > now {
                ban.since = old.since;
                ban.packets = old.packets;
            }
        }
        ban
    }

    /// Until when an emergency call suspends it; none if none does.
    #[inline(always)]
    #[must_use]
    pub const fn suspended_until(&self, now: u64) -> Option<u64> {
        let until = self.emergency.saturating_add(EMERGENCY_TIME);
        if self.emergency != 0 && until > now { Some(until) } else { None }
    }
}
