//! Lengths.

use filter_core::reason::Reason;
use ringfence_tests::{
    message::Message,
    packet::{Extension, Packet},
};

use crate::{blocked_call, blocks_packet, decide, has_anomaly, passes};

#[test]
fn content_length_that_lies() {
    for length in ["5", "65535", "-1", "x", "99999999999999999999"] {
        let outcome = has_anomaly(blocked_call().add("Content-Length", length), "content-length-mismatch");
        assert_eq!(outcome.rule.as_deref(), Some("calling"));
    }
}

#[test]
fn second_message_in_the_datagram() {
    let two = [Message::request("OPTIONS").bytes(), blocked_call().bytes()].concat();
    let outcome = has_anomaly(two, "several-messages");
    assert_eq!(outcome.rule.as_deref(), Some("unreadable"));
}

#[test]
fn second_message_with_an_odd_version() {
    let invite = String::from_utf8(blocked_call().bytes()).expect("it is ASCII");
    for version in ["sip/2.0", "SIP/2.0 ", "SIP/2.0x", "SIP/2.00", "SIP/2.0\r", "SIP /2.0", "SIP/2.0\t"] {
        let second = invite.replacen("SIP/2.0", version, 1);
        let two = [&Message::request("OPTIONS").bytes(), second.as_bytes()].concat();
        has_anomaly(two, "several-messages");
    }
}

#[test]
fn second_message_after_an_odd_length() {
    for length in ["4294967296", "18446744073709551616", "00000000000", "0 285", "x", "-1"] {
        let first = Message::request("OPTIONS").add("Content-Length", length).bytes();
        let two = [&first[..], &blocked_call().bytes()].concat();
        has_anomaly(two, "several-messages");
    }
    // In a stream, a message without it has no body.
    let first = String::from_utf8(Message::request("OPTIONS").bytes()).expect("it is ASCII");
    let two = [first.replace("Content-Length: 0\r\n", "").as_bytes(), &blocked_call().bytes()].concat();
    let outcome = decide(&Packet::tcp(two).from_port(42_114));
    assert!(outcome.field("anomalies").contains("several-messages"), "{outcome:?}");
}

#[test]
fn udp_length_shorter_than_the_packet() {
    // A socket receives what the UDP length says, not the rest of the packet.
    let packet = Packet::udp([&b"\r\n\r\n"[..], &blocked_call().bytes()].concat()).claim_udp_length(12);
    assert_eq!(passes(&packet, Reason::DefaultPass).field("kind"), "keep-alive");
}

#[test]
fn udp_length_of_zero() {
    blocks_packet(&Packet::udp(blocked_call()).over_ipv6().claim_udp_length(0));
    passes(&Packet::udp(blocked_call()).claim_udp_length(0), Reason::UdpMalformed);
}

#[test]
fn ipv6_length_of_zero() {
    let packet = Packet::udp(blocked_call()).over_ipv6().extension(Extension::HopByHop(8)).claim_ip_length(0);
    blocks_packet(&packet);
}
