//! Why a verdict is what it is: one enum that is the counter's index, the metric's label, the event's field and the text of
//! `explain`.

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal => $verdict:ident;)*) => {
        /// The reason of a verdict.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Reason { $($(#[doc = $doc])+ $name,)* }

        impl Reason {
            /// Every reason, in the order of its number.
            pub const ALL: &[Reason] = &[$(Reason::$name,)*];

            /// How many there are.
            pub const COUNT: usize = Self::ALL.len();

            /// The name in counters, metrics, events and output.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Reason::$name => $text,)* }
            }

            /// The one table from reason to verdict.
            #[must_use]
            pub const fn verdict(self) -> Verdict {
                match self { $(Reason::$name => Verdict::$verdict,)* }
            }
        }
    };
}

/// What happens to the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Verdict {
    /// It goes on to the kernel's stack.
    Pass = 0,
    /// It is dropped.
    Drop = 1,
}

impl Reason {
    /// True if a rule decided.
    #[must_use]
    pub const fn is_rule(self) -> bool {
        matches!(self, Self::RuleBan | Self::RuleDivert | Self::RuleDrop | Self::RuleReject | Self::RuleWhitelist)
    }
}

reasons! {
    /// Not IP, or not for a configured signalling port.
    NotSignalling = "not-signalling" => Pass;
    /// No rule ended the walk; the policy's default passes.
    DefaultPass = "default-pass" => Pass;
    /// No rule ended the walk; the policy's default drops.
    DefaultDrop = "default-drop" => Drop;
    /// A rule's whitelist.
    RuleWhitelist = "rule-whitelist" => Pass;
    /// A rule's drop.
    RuleDrop = "rule-drop" => Drop;
    /// A rule's ban: dropped, and the source is banned.
    RuleBan = "rule-ban" => Drop;
    /// A rule's reject: dropped here, answered by the daemon.
    RuleReject = "rule-reject" => Drop;
    /// A rule's divert: dropped here, answered by the daemon.
    RuleDivert = "rule-divert" => Drop;
    /// The source is banned.
    Banned = "banned" => Drop;
    /// A later fragment of a datagram whose first fragment was dropped.
    FragmentOfDropped = "fragment-of-dropped" => Drop;
    /// A later fragment of a datagram that was not dropped (or whose first fragment was not seen).
    FragmentLater = "fragment-later" => Pass;
    /// A segment of a TCP flow in which a segment was dropped.
    FlowOfDropped = "flow-of-dropped" => Drop;
    /// A TCP segment without payload, or on a TLS port: only address rules apply.
    StreamWithoutMessage = "stream-without-message" => Pass;
    /// A TCP segment that does not begin with a start line: passed, never guessed at.
    MidMessage = "mid-message" => Pass;
    /// The Ethernet header, or a VLAN tag, is cut off.
    EthernetTruncated = "ethernet-truncated" => Pass;
    /// More than two VLAN tags.
    VlanTooDeep = "vlan-too-deep" => Pass;
    /// The IPv4 header is cut off.
    Ipv4Truncated = "ipv4-truncated" => Pass;
    /// IPv4 with a version, header length or total length that cannot be.
    Ipv4Malformed = "ipv4-malformed" => Pass;
    /// The IPv6 header or an extension header is cut off.
    Ipv6Truncated = "ipv6-truncated" => Pass;
    /// IPv6 with a version or payload length that cannot be.
    Ipv6Malformed = "ipv6-malformed" => Pass;
    /// More extension headers, or longer ones, than are followed.
    Ipv6TooManyExtensions = "ipv6-too-many-extensions" => Pass;
    /// The UDP header is cut off.
    UdpTruncated = "udp-truncated" => Pass;
    /// A UDP length that is less than its header or more than the IP payload.
    UdpMalformed = "udp-malformed" => Pass;
    /// The TCP header is cut off.
    TcpTruncated = "tcp-truncated" => Pass;
    /// A TCP data offset that cannot be.
    TcpMalformed = "tcp-malformed" => Pass;
    /// The message could not be copied out of the packet.
    PayloadUnreadable = "payload-unreadable" => Pass;
    /// The host lost a map that the engine needs; cannot happen in a loaded policy.
    Internal = "internal" => Pass;
}
