//! Below the transport: extension headers, options, tags, fragments.

use filter_core::reason::Reason;
use ringfence_hosts::Outcome;
use ringfence_tests::packet::{Extension, Packet};

use crate::{BLOCKED, POLICY, blocked_call, blocks_packet, call, decide, passes};

#[test]
fn many_extension_headers() {
    for count in [2, 9, 100] {
        let packet = (0..count).fold(Packet::udp(blocked_call()).over_ipv6(), |packet, _| {
            packet.extension(Extension::DestinationOptions(8))
        });
        blocks_packet(&packet);
    }
}

#[test]
fn atomic_fragment() {
    blocks_packet(&Packet::udp(blocked_call()).over_ipv6().extension(Extension::AtomicFragment(5)));
}

#[test]
fn ip_options() {
    blocks_packet(&Packet::udp(blocked_call()).ipv4_options(&[1; 40]));
}

#[test]
fn vlan_tags() {
    blocks_packet(&Packet::udp(blocked_call()).vlan(0));
    blocks_packet(&Packet::udp(blocked_call()).qinq(0, 0));
    let tagged = |count: u16| (0..count).fold(Packet::udp(blocked_call()), Packet::vlan);
    blocks_packet(&tagged(3));
    blocks_packet(&tagged(8));
    passes(&tagged(9), Reason::VlanTooDeep);
}

#[test]
fn blocked_source_by_its_other_family() {
    for source in ["203.0.113.66", "2001:db8:bad::66"] {
        assert_eq!(decide(&Packet::udp(call()).from(source)).rule.as_deref(), Some("blocked-source"));
    }
    // Linux drops packets from such a source.
    passes(&Packet::udp(call()).from("::ffff:203.0.113.66"), Reason::DefaultPass);
}

#[test]
fn from_in_a_later_fragment() {
    let message = call().without("From").add("X", &"x".repeat(200)).add("From", &format!("<sip:{BLOCKED}@h>;tag=1"));
    let outcomes = POLICY.run(&Packet::udp(message).id(1001).fragments(304));
    assert_eq!(outcomes[0].rule.as_deref(), Some("unreadable"));
    assert_eq!(outcomes[1].reason, Reason::FragmentOfDropped);
}

#[test]
fn first_fragment_without_the_start_line() {
    for (id, size) in [(1011, 8), (1012, 16), (1013, 48)] {
        let outcomes = POLICY.run(&Packet::udp(blocked_call()).id(id).fragments(size));
        assert_eq!(outcomes[0].rule.as_deref(), Some("unreadable"), "{outcomes:?}");
        assert!(outcomes[0].field("anomalies").contains("tiny-first-fragment"));
        assert_eq!(outcomes[1].reason, Reason::FragmentOfDropped);
    }
}

#[test]
fn first_fragment_of_line_ends() {
    let message = [&b"\r\n".repeat(12)[..], &blocked_call().bytes()].concat();
    let outcomes = POLICY.run(&Packet::udp(message).id(1021).over_ipv6().fragments(24));
    assert!(outcomes[0].field("anomalies").contains("tiny-first-fragment"), "{outcomes:?}");
    assert!(outcomes[1].is_drop());
}

#[test]
fn tcp_header_in_two_fragments() {
    let packet = Packet::tcp(blocked_call()).from_port(42_001).id(1031);
    let outcomes = POLICY.run(&packet.clone().fragments(8));
    assert!(outcomes[0].field("anomalies").contains("tiny-first-fragment"), "{outcomes:?}");
    assert!(outcomes.iter().all(Outcome::is_drop));
    let outcomes = POLICY.run(&packet.clone().id(1032).fragments(32));
    assert_eq!(outcomes[0].rule.as_deref(), Some("unreadable"), "{outcomes:?}");
    assert!(outcomes[1].is_drop());
    let outcomes = POLICY.run(&packet.id(1033).from("203.0.113.66").fragments(8));
    assert_eq!(outcomes[0].rule.as_deref(), Some("blocked-source"));
}

#[test]
fn later_fragment_first() {
    let [first, later] = Packet::udp(blocked_call()).id(1041).fragments(304);
    let outcomes = POLICY.run(&[later, first]);
    // Without the first fragment, the later one is never reassembled.
    assert_eq!(outcomes[0].reason, Reason::FragmentLater);
    assert!(outcomes[1].is_drop());
    let [_, later] = Packet::udp(call()).from("203.0.113.66").id(1042).fragments(304);
    assert_eq!(POLICY.decide(later).rule.as_deref(), Some("blocked-source"));
}

#[test]
fn extension_headers_without_end() {
    let packet = |source: &str| {
        let packet = Packet::udp(blocked_call()).from(source).extension(Extension::HopByHop(2040));
        packet.extension(Extension::DestinationOptions(2040))
    };
    passes(&packet("2001:db8::1"), Reason::Ipv6TooManyExtensions);
    assert_eq!(decide(&packet("2001:db8:bad::66")).rule.as_deref(), Some("blocked-source"));
}

#[test]
fn headers_with_wrong_lengths() {
    let call = || Packet::udp(blocked_call());
    let packets = [
        (call().claim_ip_length(19), Reason::Ipv4Malformed),
        (call().claim_ip_length(4000), Reason::Ipv4Truncated),
        (call().claim_udp_length(4000), Reason::UdpMalformed),
        (Packet::tcp(blocked_call()).from_port(42_010).claim_tcp_header_words(4), Reason::TcpMalformed),
    ];
    for (packet, reason) in packets {
        passes(&packet, reason);
        assert_eq!(decide(&packet.from("203.0.113.66")).rule.as_deref(), Some("blocked-source"));
    }
}
