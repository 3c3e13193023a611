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
    passes(&Packet::udp(blocked_call()).qinq(0, 0).vlan(0), Reason::VlanTooDeep);
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
}
