//! Packets with their bytes.

use std::ops::Range;

use filter_core::{
    layout::Event,
    reason::{Reason, Verdict},
};

use super::{PacketEvent, RuleMode};

/// A packet with its bytes: dropped, would-be dropped, or a sample of those that passed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CapturedPacket {
    /// What is said of it.
    pub event: PacketEvent,
    /// The rules that would have dropped it, were it not for report mode: the first seven.
    pub would: Vec<String>,
    /// When it came, in nanoseconds since the epoch.
    pub nanoseconds: u64,
    /// The frame from its link header on, cut at what the ring takes.
    pub frame: Vec<u8>,
    /// The frame's whole length.
    pub length: u32,
    /// Where the UDP or TCP payload is in `frame`.
    pub payload: Range<usize>,
    /// Index of the interface it came in on.
    pub interface: u32,
    /// False if the frame begins with the IP header.
    pub has_link_header: bool,
}

/// True if a rule in force has dropped the packet, and asks for an answer.
#[must_use]
pub fn is_answered(event: &Event) -> bool {
    matches!(Reason::from_number(event.reason), Some(Reason::RuleReject | Reason::RuleDivert))
}

impl CapturedPacket {
    /// True if it passed, and no rule would have dropped it.
    #[must_use]
    pub fn has_passed(&self) -> bool {
        self.event.mode == RuleMode::Enforce && self.event.verdict == Verdict::Pass.name()
    }

    /// True if it was dropped, and the rule asks for an answer.
    #[must_use]
    pub fn is_to_be_answered(&self) -> bool {
        let names = [Reason::RuleReject, Reason::RuleDivert].map(Reason::verdict_name);
        self.event.mode == RuleMode::Enforce && names.contains(&self.event.verdict.as_str())
    }

    /// The bytes of the UDP or TCP payload that were captured.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        let end = self.payload.end.min(self.frame.len());
        self.frame.get(self.payload.start..end).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use zerocopy::FromZeros as _;

    use super::*;

    impl CapturedPacket {
        /// A packet for tests, with this payload after a header of 42 bytes.
        pub(crate) fn example(payload: &[u8]) -> Self {
            let frame = [&[0; 42], payload].concat();
            Self {
                event: PacketEvent::example(),
                would: Vec::new(),
                nanoseconds: 1_500_000_000,
                length: u32::try_from(frame.len()).unwrap(),
                payload: 42..frame.len(),
                frame,
                interface: 1,
                has_link_header: true,
            }
        }
    }

    #[test]
    fn only_what_a_rule_in_force_rejects_or_diverts_is_answered() {
        let answered: Vec<&str> = Reason::ALL
            .into_iter()
            .filter(|reason| {
                let mut event = Event::new_zeroed();
                event.reason = reason.number();
                is_answered(&event)
            })
            .map(Reason::name)
            .collect();
        assert_eq!(answered, ["rule-reject", "rule-divert"]);
    }

    #[test]
    fn the_payload_of_a_frame_that_was_cut_is_what_is_there() {
        let mut packet = CapturedPacket::example(b"OPTIONS sip:a SIP/2.0\r\n");
        assert_eq!(packet.payload(), b"OPTIONS sip:a SIP/2.0\r\n");
        packet.frame.truncate(42 + 7);
        assert_eq!(packet.payload(), b"OPTIONS");
        packet.frame.truncate(20);
        assert_eq!(packet.payload(), b"");
    }
}
