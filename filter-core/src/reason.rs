//! The reasons of verdicts: one enum that is the counter's index, the metric's label, the event's field and the text of
//! `explain`.

use crate::{layout::Action, named::named_enum};

named_enum! {
    /// What happens to the packet.
    pub enum Verdict: u8 {
        /// It passes to the kernel's stack.
        Pass = 0, "pass";
        /// It is dropped.
        Drop = 1, "drop";
    }
}

impl Verdict {
    /// True for [`Verdict::Drop`].
    #[inline(always)]
    #[must_use]
    pub const fn drops(self) -> bool {
        matches!(self, Self::Drop)
    }
}

macro_rules! reasons {
    (
        $($(#[doc = $doc:literal])+ $name:ident = $value:literal, $text:literal => $verdict:ident $(as $verdict_name:literal)?;)*
        reported { $($(#[doc = $reported_doc:literal])+ $reported:ident = $reported_value:literal, $reported_text:literal for $enforced:ident;)* }
    ) => {
        named_enum! {
            /// The reason of a verdict. Its name is used in counters, metrics, events and output.
            pub enum Reason: u8 {
                $($(#[doc = $doc])+ $name = $value, $text;)*
                $($(#[doc = $reported_doc])+ $reported = $reported_value, $reported_text;)*
            }
        }

        impl Reason {
            /// The one table from reason to verdict.
            #[inline(always)]
            #[must_use]
            pub const fn verdict(self) -> Verdict {
                match self {
                    $(Self::$name => Verdict::$verdict,)*
                    $(Self::$reported => Verdict::Pass,)*
                }
            }

            /// The reason in report mode as a whole: a packet passes that would have been dropped for this reason.
            #[inline(always)]
            #[must_use]
            pub const fn reported(self) -> Self {
                match self {
                    $(Self::$enforced => Self::$reported,)*
                    other => other,
                }
            }

            /// The reason that the packet would have been dropped for, had the policy been enforced. The inverse of [`Self::reported`].
            #[must_use]
            pub const fn enforced(self) -> Self {
                match self {
                    $(Self::$reported => Self::$enforced,)*
                    other => other,
                }
            }

            /// The verdict as output reports it: the verdict's name, or what the daemon does beyond it (`reject`, `divert`).
            #[must_use]
            pub const fn verdict_name(self) -> &'static str {
                match self {
                    $($(Self::$name => $verdict_name,)?)*
                    other => other.verdict().name(),
                }
            }
        }
    };
}

impl Reason {
    /// True if a rule decided: the reason is that of an action.
    #[must_use]
    pub fn is_rule(self) -> bool {
        Action::ALL.iter().any(|action| action.reason() == Some(self.enforced()))
    }

    /// True if the packet passed only because the policy is in report mode as a whole.
    #[must_use]
    pub fn is_reported(self) -> bool {
        self.enforced() != self
    }
}

reasons! {
    /// Not IP, or not for a configured signalling port.
    NotSignalling = 0, "not-signalling" => Pass;
    /// No rule ended the walk; the policy's default passes.
    DefaultPass = 1, "default-pass" => Pass;
    /// No rule ended the walk; the policy's default drops.
    DefaultDrop = 2, "default-drop" => Drop;
    /// A rule's whitelist.
    RuleWhitelist = 3, "rule-whitelist" => Pass;
    /// A rule's drop.
    RuleDrop = 4, "rule-drop" => Drop;
    /// A rule's ban: dropped, and the source is banned.
    RuleBan = 5, "rule-ban" => Drop;
    /// A rule's reject: dropped here, answered by the daemon.
    RuleReject = 6, "rule-reject" => Drop as "reject";
    /// A rule's divert: dropped here, answered by the daemon.
    RuleDivert = 7, "rule-divert" => Drop as "divert";
    /// The source is banned.
    Banned = 8, "banned" => Drop;
    /// A later fragment of a datagram whose first fragment was dropped.
    FragmentOfDropped = 9, "fragment-of-dropped" => Drop;
    /// A later fragment of a datagram that was not dropped, or whose first fragment was not seen: then address rules apply.
    FragmentLater = 10, "fragment-later" => Pass;
    /// A segment of a TCP flow in which a segment was dropped.
    FlowOfDropped = 11, "flow-of-dropped" => Drop;
    /// A TCP segment without payload, or on a TLS port: only address rules apply.
    StreamWithoutMessage = 12, "stream-without-message" => Pass;
    /// A TCP segment that does not begin with a start line: it passes, since guessing its content would be wrong.
    MidMessage = 13, "mid-message" => Pass;
    /// The Ethernet header, or a VLAN tag, is cut off.
    EthernetTruncated = 14, "ethernet-truncated" => Pass;
    /// More VLAN tags than are followed: the source is unknown.
    VlanTooDeep = 15, "vlan-too-deep" => Pass;
    /// The IPv4 header or the datagram is cut off. If the source is known, address rules apply, as for all reasons from here on.
    Ipv4Truncated = 16, "ipv4-truncated" => Pass;
    /// IPv4 with a version, header length or total length that cannot be.
    Ipv4Malformed = 17, "ipv4-malformed" => Pass;
    /// The IPv6 header or an extension header is cut off.
    Ipv6Truncated = 18, "ipv6-truncated" => Pass;
    /// IPv6 with a version or payload length that cannot be.
    Ipv6Malformed = 19, "ipv6-malformed" => Pass;
    /// More extension headers, or longer ones, than are followed.
    Ipv6TooManyExtensions = 20, "ipv6-too-many-extensions" => Pass;
    /// The UDP header is cut off.
    UdpTruncated = 21, "udp-truncated" => Pass;
    /// A UDP length that is less than its header or more than the IP payload.
    UdpMalformed = 22, "udp-malformed" => Pass;
    /// The TCP header is cut off.
    TcpTruncated = 23, "tcp-truncated" => Pass;
    /// A TCP data offset that cannot be.
    TcpMalformed = 24, "tcp-malformed" => Pass;
    /// The message could not be copied out of the packet.
    PayloadUnreadable = 25, "payload-unreadable" => Pass;
    /// The host lost a map that the engine needs; cannot happen in a loaded policy.
    Internal = 26, "internal" => Pass;

    // Report mode as a whole: each of these packets passed. Reasons of their own, so that no counter mixes them with packets that
    // were dropped.
    reported {
        /// The default would have dropped it.
        WouldDefaultDrop = 27, "would-default-drop" for DefaultDrop;
        /// A rule's drop would have.
        WouldRuleDrop = 28, "would-rule-drop" for RuleDrop;
        /// A rule's ban would have, and the source would have been banned.
        WouldRuleBan = 29, "would-rule-ban" for RuleBan;
        /// A rule's reject would have.
        WouldRuleReject = 30, "would-rule-reject" for RuleReject;
        /// A rule's divert would have.
        WouldRuleDivert = 31, "would-rule-divert" for RuleDivert;
        /// The source is banned.
        WouldBanned = 32, "would-banned" for Banned;
        /// A later fragment of a datagram whose first fragment would have been dropped.
        WouldFragmentOfDropped = 33, "would-fragment-of-dropped" for FragmentOfDropped;
        /// A segment of a TCP flow in which a segment would have been dropped.
        WouldFlowOfDropped = 34, "would-flow-of-dropped" for FlowOfDropped;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_that_drops_has_one_that_passes_in_report_mode_and_no_other_has() {
        for reason in Reason::ALL {
            let reported = reason.reported();
            assert_eq!(reported != reason, reason.verdict().drops(), "{}", reason.name());
            assert_eq!(reported.verdict(), Verdict::Pass, "{}", reason.name());
            assert_eq!(reported.enforced(), if reason.is_reported() { reason.enforced() } else { reason });
            if reason.verdict().drops() {
                assert_eq!(reported.name().strip_prefix("would-"), Some(reason.name()));
            }
        }
    }
}
