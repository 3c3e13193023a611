//! Lengths.

use filter_core::reason::Reason;
use ringfence_tests::{
    message::Message,
    packet::{Extension, Packet},
};

use crate::{blocked_call, blocks_packet, has_anomaly, passes};

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
