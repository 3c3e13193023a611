//! Messages in TCP segments.

use filter_core::reason::Reason;
use ringfence_tests::{
    message::Message,
    packet::{Packet, flag},
};

use crate::{POLICY, blocked_call, blocks_packet, call, decide, passes};

#[test]
fn retransmission_after_a_drop() {
    let packet = Packet::tcp(blocked_call()).from_port(42_002);
    let outcomes = POLICY.run(&[packet.frame(), packet.frame(), Packet::tcp(call()).from_port(42_002).frame()]);
    assert_eq!(outcomes[0].rule.as_deref(), Some("calling"));
    assert_eq!(outcomes[1].reason, Reason::FlowOfDropped);
    assert_eq!(outcomes[2].reason, Reason::FlowOfDropped);
}

#[test]
fn message_in_the_segment_that_opens_the_connection() {
    blocks_packet(&Packet::tcp(blocked_call()).from_port(42_003).flags(flag::SYN));
}

#[test]
fn syn_in_the_middle_of_a_dropped_connection() {
    let message = Packet::tcp(blocked_call()).from_port(42_004);
    let syn = Packet::tcp("").from_port(42_004).flags(flag::SYN);
    let outcomes = POLICY.run(&[message.frame(), syn.frame(), message.frame(), message.frame()]);
    // It reaches the server, whose TCP still waits for the dropped bytes. When they are sent again, they are dropped again.
    assert_eq!(outcomes[1].reason, Reason::StreamWithoutMessage);
    assert_eq!(outcomes[2].rule.as_deref(), Some("calling"));
    assert_eq!(outcomes[3].reason, Reason::FlowOfDropped);
}

#[test]
fn message_cut_into_segments() {
    let message = blocked_call().bytes();
    // Each on a connection of its own.
    let segment = |bytes: &[u8]| Packet::tcp(bytes).from_port(42_100 + bytes.len() as u16);
    // Streams are not reassembled here: a segment that starts mid-message passes, is counted, and is not read.
    passes(&segment(&message[40..]), Reason::MidMessage);
    // The beginning of one is noticed, wherever it is cut.
    for end in [1, 4, 7] {
        let outcome = decide(&segment(&message[..end]));
        assert_eq!(outcome.rule.as_deref(), Some("unreadable"), "{outcome:?}");
        assert_eq!(outcome.field("anomalies"), "cut-start-line");
    }
    let outcome = decide(&segment(&message[..20]));
    assert_eq!(outcome.rule.as_deref(), Some("unreadable"), "{outcome:?}");
    assert!(outcome.field("anomalies").contains("malformed-start-line"));
    // A start line and From in one segment are enough.
    blocks_packet(&segment(&message[..250]));
}

#[test]
fn second_message_in_the_segment() {
    let two = [Message::request("OPTIONS").bytes(), blocked_call().bytes()].concat();
    let outcome = decide(&Packet::tcp(two).from_port(42_006));
    assert_eq!(outcome.rule.as_deref(), Some("unreadable"));
    assert!(outcome.field("anomalies").contains("several-messages"));
}

#[test]
fn keep_alive_in_front_of_the_message_in_a_segment() {
    blocks_packet(&Packet::tcp([&b"\r\n\r\n"[..], &blocked_call().bytes()].concat()).from_port(42_007));
}
