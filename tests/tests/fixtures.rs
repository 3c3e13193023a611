//! Packets in words, each through user space and through the kernel (BPF_PROG_TEST_RUN): both give the verdict, the reason,
//! the rule and the reading that the sentence says, and count it.

mod hosts;

use std::sync::LazyLock;

use filter_core::{
    layout::need,
    limits::INSPECTED_LENGTH,
    reason::Reason,
    scratch::{NumberOf, extent},
};
use filter_policy::engine::Engine;
use hosts::{Outcome, Shared};
use ringfence::kernel::Instance;
use ringfence_tests::{
    message::Message,
    packet::{Extension, Packet, flag},
};

/// The policy that everybody starts with.
static SAMPLE: LazyLock<Shared> = LazyLock::new(|| Shared::new(hosts::sample_policy()));

/// One that uses every scope.
static EVERYTHING: LazyLock<Shared> =
    LazyLock::new(|| Shared::new(hosts::policy_text(include_str!("hosts/everything.toml"))));

/// One of a country whose international prefix is 00, with a trunk prefix.
static EUROPE: LazyLock<Shared> = LazyLock::new(|| {
    Shared::new(hosts::policy_text(
        "version = 1\ndefault = \"pass\"\n[network]\nudp = [5060]\n[numbering]\ncountry_code = \"49\"\n\
         international_prefix = \"00\"\nnational_prefix = \"0\"\n[[rule]]\nname = \"blocked\"\n\
         match.calling = [\"1605562\", \"49301234\"]\naction = \"drop\"\n",
    ))
});

/// One that reads nothing of a message.
static ADDRESSES_ONLY: LazyLock<Shared> = LazyLock::new(|| {
    Shared::new(hosts::policy_text(
        "version = 1\ndefault = \"pass\"\n[network]\nudp = [5060]\ntcp = [5060]\ntls = [5061]\n[[rule]]\n\
         name = \"blocked\"\nmatch.source = [\"203.0.113.0/24\", \"2001:db8:bad::/48\"]\naction = \"drop\"\n",
    ))
});

/// A number of the sample policy's Do-Not-Originate list.
const DNO: &str = "+12025550100";

/// A number that the policy of all scopes blocks as the calling one.
const BLOCKED: &str = "+16055620123";

fn call_from(number: &str) -> Packet {
    Packet::udp(Message::invite().calling(number))
}

fn everything(packet: &Packet) -> Outcome {
    EVERYTHING.decide(packet.frame())
}

#[track_caller]
fn assert_dropped(outcome: &Outcome, rule: &str) {
    assert!(outcome.is_drop() && outcome.rule.as_deref() == Some(rule), "{outcome:?}");
}

#[track_caller]
fn assert_passed(outcome: &Outcome, reason: Reason) {
    assert!(!outcome.is_drop(), "{outcome:?}");
    assert_eq!(outcome.reason, reason, "{outcome:?}");
}

// ------------------------------------------------------------------------------------------------------- the way there

#[test]
fn an_invite_from_a_dno_number_is_dropped_by_do_not_originate() {
    assert_dropped(&SAMPLE.decide(call_from(DNO).frame()), "do-not-originate");
}

#[test]
fn an_invite_through_a_vlan_from_a_dno_number_is_dropped_by_do_not_originate() {
    assert_dropped(&SAMPLE.decide(call_from(DNO).vlan(100).frame()), "do-not-originate");
    // A tag of VLAN 0 carries a priority only.
    assert_dropped(&SAMPLE.decide(call_from(DNO).vlan(0).frame()), "do-not-originate");
}

#[test]
fn an_invite_through_qinq_from_a_dno_number_is_dropped_by_do_not_originate() {
    assert_dropped(&SAMPLE.decide(call_from(DNO).qinq(7, 100).frame()), "do-not-originate");
    assert_dropped(&SAMPLE.decide(call_from(DNO).vlan(7).vlan(100).frame()), "do-not-originate");
    assert_dropped(&SAMPLE.decide(call_from(DNO).tag(0x9100, 7).vlan(100).frame()), "do-not-originate");
}

#[test]
fn an_invite_behind_three_tags_passes_with_a_reason_of_its_own() {
    assert_passed(&SAMPLE.decide(call_from(DNO).qinq(7, 100).vlan(3).frame()), Reason::VlanTooDeep);
}

#[test]
fn an_invite_with_ipv4_options_is_read_behind_them() {
    // No Operation, Router Alert, and the longest header there is.
    for options in [&[1, 1, 1, 0][..], &[148, 4, 0, 0], &[1; 40]] {
        assert_dropped(&SAMPLE.decide(call_from(DNO).ipv4_options(options).frame()), "do-not-originate");
    }
}

#[test]
fn an_invite_over_ipv6_from_a_dno_number_is_dropped_by_do_not_originate() {
    assert_dropped(&SAMPLE.decide(call_from(DNO).over_ipv6().frame()), "do-not-originate");
    assert_dropped(&SAMPLE.decide(call_from(DNO).over_ipv6().qinq(7, 100).frame()), "do-not-originate");
}

#[test]
fn an_invite_behind_two_ipv6_extension_headers_is_read() {
    let packet =
        call_from(DNO).over_ipv6().extension(Extension::HopByHop(8)).extension(Extension::DestinationOptions(16));
    assert_dropped(&SAMPLE.decide(packet.frame()), "do-not-originate");
}

#[test]
fn an_invite_behind_every_kind_of_ipv6_extension_header_is_read() {
    let packet = call_from(DNO)
        .over_ipv6()
        .extension(Extension::HopByHop(16))
        .extension(Extension::DestinationOptions(8))
        .extension(Extension::Routing(24))
        .extension(Extension::AtomicFragment(77))
        .extension(Extension::Authentication(24))
        .extension(Extension::Mobility(8));
    assert_dropped(&SAMPLE.decide(packet.frame()), "do-not-originate");
}

#[test]
fn an_invite_behind_as_many_extension_headers_as_a_packet_can_hold_is_read() {
    let headers = |count: usize| {
        (0..count).fold(call_from(DNO).over_ipv6(), |packet, _| packet.extension(Extension::DestinationOptions(8)))
    };
    for count in [8, 9, 64, 140] {
        assert_dropped(&SAMPLE.decide(headers(count).frame()), "do-not-originate");
    }
    let long = call_from(DNO).over_ipv6().extension(Extension::DestinationOptions(1400));
    assert_dropped(&SAMPLE.decide(long.frame()), "do-not-originate");
}

#[test]
fn what_stands_behind_two_kilobytes_of_extension_headers_passes_with_a_reason_of_its_own() {
    let packet = call_from(DNO).over_ipv6().extension(Extension::DestinationOptions(2040));
    assert_passed(&SAMPLE.decide(packet.frame()), Reason::Ipv6TooManyExtensions);
}

#[test]
fn an_ipv6_length_of_zero_with_a_hop_by_hop_header_means_the_rest_of_the_frame() {
    let packet = call_from(DNO).over_ipv6().extension(Extension::HopByHop(8)).claim_ip_length(0);
    assert_dropped(&SAMPLE.decide(packet.frame()), "do-not-originate");
    let packet = call_from(DNO).over_ipv6().claim_ip_length(0);
    assert_passed(&SAMPLE.decide(packet.frame()), Reason::Ipv6Malformed);
}

#[test]
fn a_udp_length_of_zero_means_the_rest_of_an_ipv6_packet_and_nothing_in_ipv4() {
    assert_dropped(&SAMPLE.decide(call_from(DNO).over_ipv6().claim_udp_length(0).frame()), "do-not-originate");
    assert_passed(&SAMPLE.decide(call_from(DNO).claim_udp_length(0).frame()), Reason::UdpMalformed);
}

#[test]
fn padding_behind_the_datagram_is_not_read() {
    let padded = Packet::udp(&b"\r\n\r\n"[..]).padding(Message::invite().calling(BLOCKED));
    let outcome = everything(&padded);
    assert_passed(&outcome, Reason::DefaultPass);
    assert_eq!(outcome.field("kind"), "keep-alive");
}

#[test]
fn what_the_udp_length_leaves_out_is_not_read() {
    let packet = Packet::udp([&b"\r\n\r\n"[..], &Message::invite().calling(BLOCKED).bytes()].concat());
    assert_dropped(&everything(&packet), "calling");
    assert_eq!(everything(&packet.claim_udp_length(12)).field("kind"), "keep-alive");
}

#[test]
fn other_ports_protocols_and_ethertypes_are_none_of_our_business() {
    let frames = [
        call_from(BLOCKED).to_port(5070).frame(),
        call_from(BLOCKED).from("203.0.113.66").to_port(53).frame(),
        Packet::tcp("").to_port(22).from("203.0.113.66").frame(),
        // The same port of another transport is another service.
        Packet::udp(Message::invite()).to_port(5061).from("203.0.113.66").frame(),
        Packet::of_protocol(1, [8, 0, 0, 0, 0, 0, 0, 0]).frame(),
        Packet::of_protocol(132, [0; 20]).over_ipv6().frame(),
        call_from(BLOCKED).claim_ethertype(0x0806).frame(),
    ];
    for outcome in EVERYTHING.run(&frames) {
        assert_passed(&outcome, Reason::NotSignalling);
        assert_eq!(outcome.reading, None);
    }
}

#[test]
fn an_ordinary_call_passes_by_default() {
    for shared in [&SAMPLE, &EVERYTHING, &EUROPE, &ADDRESSES_ONLY] {
        assert_passed(&shared.decide(Packet::udp(Message::invite()).frame()), Reason::DefaultPass);
        assert_passed(&shared.decide(Packet::udp(Message::invite()).over_ipv6().frame()), Reason::DefaultPass);
    }
}

// ------------------------------------------------------------------------------------------------------------ addresses

#[test]
fn each_address_rule_holds_for_ipv4_and_for_its_ipv6_twin() {
    let call = || Packet::udp(Message::invite());
    let twins = [
        ("blocked-source", call().from("203.0.113.66"), call().from("2001:db8::66")),
        ("blocked-source", call().from("203.0.113.191"), call().from("2001:db8:bad:ffff::1")),
        ("blocked-destination", call().to("192.0.2.99"), call().over_ipv6().to("2001:db8::99")),
        ("blocked-destination", call().to("198.51.100.127"), call().over_ipv6().to("2001:db8:64::1")),
        (
            "no-calls-over-tls-from-here",
            Packet::tcp("").to_port(5061).from("203.0.113.5"),
            Packet::tcp("").to_port(5061).from("2001:db8::5"),
        ),
    ];
    for (rule, ipv4, ipv6) in twins {
        assert_dropped(&everything(&ipv4), rule);
        assert_dropped(&everything(&ipv6), rule);
    }
    let neighbours = [
        call().from("203.0.113.65"),
        call().from("203.0.113.192"),
        call().from("203.0.113.127"),
        call().from("2001:db8::67"),
        call().from("2001:db8:bac:ffff::1"),
        call().to("198.51.100.128"),
        call().over_ipv6().to("2001:db8:65::"),
        // An IPv4-mapped source in an IPv6 header is not that IPv4 source (and Linux takes no packet from one).
        call().from("::ffff:203.0.113.66"),
    ];
    for packet in neighbours {
        assert_passed(&everything(&packet), Reason::DefaultPass);
    }
}

#[test]
fn a_policy_of_address_rules_alone_reads_no_message() {
    let passed = ADDRESSES_ONLY.decide(call_from(BLOCKED).frame());
    assert_passed(&passed, Reason::DefaultPass);
    assert_eq!(passed.reading, None);
    assert_dropped(&ADDRESSES_ONLY.decide(call_from(BLOCKED).from("2001:db8:bad::1").frame()), "blocked");
    assert_dropped(&ADDRESSES_ONLY.decide(Packet::tcp("").flags(flag::SYN).from("203.0.113.1").frame()), "blocked");
}

// -------------------------------------------------------------------------------------------------------------- numbers

#[test]
fn every_way_to_write_a_number_is_the_same_number() {
    let forms = [
        "<sip:+16055620123@h>;tag=1",
        "<sip:16055620123@h>;tag=1",
        "<sip:6055620123@h>;tag=1",
        "<sip:01116055620123@h>;tag=1",
        "<sips:+16055620123@h>;tag=1",
        "<SIP:+16055620123@h>;tag=1",
        "<tel:+16055620123>;tag=1",
        "<tel:+1-605-562-0123>;tag=1",
        "<tel:+1(605)562.0123>;tag=1",
        "<tel:6055620123;phone-context=+1>;tag=1",
        "<TEL:+16055620123>;tag=1",
        "<sip:+1-605-562-0123@h;user=phone>;tag=1",
        "<sip:%2B16055620123@h>;tag=1",
        "<sip:+1605562%30123@h>;tag=1",
        "<sip:%2b%31%36%30%35%35%36%32%30%31%32%33@h>;tag=1",
        "<sip:+1%20605%20562%200123@h>;tag=1",
        "<sip:+16055620123;npdi;rn=+15551234567@h>;tag=1",
        "<sip:+16055620123;phone-context=example.com@h>;tag=1",
        "<sip:+16055620123:secret@h>;tag=1",
        "sip:+16055620123@h;tag=1",
        "tel:+16055620123;tag=1",
        "\"Tax Office\" <sip:+16055620123@h>;tag=1",
        "Tax Office <sip:+16055620123@h>;tag=1",
        "\"A & B\" sip:+16055620123;otg=trunk@h",
        "<sip:+16055620123@[2001:db8::1]:5060;transport=udp>;tag=1",
    ];
    for form in forms {
        let outcome = everything(&Packet::udp(Message::invite().set("From", form)));
        assert_eq!(outcome.field("calling"), "16055620123", "{form}: {outcome:?}");
        assert_dropped(&outcome, "calling");
    }
}

#[test]
fn double_zero_and_a_trunk_prefix_count_where_the_country_has_them() {
    for user in ["+16055620123", "0016055620123", "16055620123", "+49301234567", "00 49 30 1234567", "0301234567"] {
        let from = format!("<sip:{}@h>;tag=1", user.replace(' ', "%20"));
        let outcome = EUROPE.decide(Packet::udp(Message::invite().set("From", &from)).frame());
        assert_dropped(&outcome, "blocked");
    }
    // Bare digits are E.164 without its plus, here.
    let outcome = EUROPE.decide(call_from("6055620123").frame());
    assert_passed(&outcome, Reason::DefaultPass);
    assert_eq!(outcome.field("calling"), "6055620123");
}

#[test]
fn a_display_name_that_holds_another_number_does_not_count() {
    let froms = [
        format!("\"+14155552671\" <sip:{BLOCKED}@h>;tag=1"),
        format!("\"<sip:+14155552671@h>\" <sip:{BLOCKED}@h>;tag=1"),
        format!("\"\\\"<sip:+14155552671@h>\" <sip:{BLOCKED}@h>;tag=1"),
        format!("sip:+14155552671@h <sip:{BLOCKED}@h>;tag=1"),
        format!("+14155552671 <sip:{BLOCKED}@h>;tag=1"),
        format!("<sip:{BLOCKED}@h>;tag=1;x=\"<sip:+14155552671@h>\""),
    ];
    for from in froms {
        assert_dropped(&everything(&Packet::udp(Message::invite().set("From", &from))), "calling");
    }
    let innocent = format!("\"<sip:{BLOCKED}@h>\" <sip:+14155552671@h>;tag=1");
    assert_passed(&everything(&Packet::udp(Message::invite().set("From", &innocent))), Reason::DefaultPass);
}

#[test]
fn compact_names_any_case_white_space_and_folding_change_nothing() {
    let blocked = format!("<sip:{BLOCKED}@h>;tag=1");
    let ways = [
        Message::invite().set("From", &blocked).rename("From", "f"),
        Message::invite().set("From", &blocked).rename("From", "F"),
        Message::invite().set("From", &blocked).rename("From", "FROM"),
        Message::invite().set("From", &blocked).rename("From", "fRoM"),
        Message::invite().set("From", &blocked).rename("From", "From \t "),
        Message::invite().set("From", &blocked).rename("From", "f\t"),
        Message::invite().set("From", &format!("\r\n {blocked}")),
        Message::invite().set("From", &format!("\"Tax\r\n\tOffice\"\r\n {blocked}")),
        Message::invite().set("From", &blocked).line_end("\n"),
        Message::invite().set("From", &blocked).line_end("\r"),
        Message::invite().set("From", &blocked).add_first("Subject", "a\r\n From: <sip:+14155552671@h>"),
    ];
    for message in ways {
        let outcome = everything(&Packet::udp(message.clone()));
        assert_dropped(&outcome, "calling");
    }
}

#[test]
fn the_called_number_is_the_request_uris_and_not_tos() {
    let called = Message::invite().request_uri("sip:+16055670000@h");
    assert_dropped(&everything(&Packet::udp(called)), "called");
    let only_to = Message::invite().set("To", "<sip:+16055670000@h>");
    assert_passed(&everything(&Packet::udp(only_to)), Reason::DefaultPass);
    let tel = Message::invite().request_uri("tel:+1-605-567-0000");
    assert_dropped(&everything(&Packet::udp(tel)), "called");
    // Another method is another matter.
    let other = Message::request("OPTIONS").request_uri("sip:+16055670000@h").set("CSeq", "1 OPTIONS");
    let other = other.start_line("OPTIONS sip:+16055670000@h SIP/2.0");
    assert_passed(&everything(&Packet::udp(other)), Reason::DefaultPass);
}

#[test]
fn an_emergency_call_passes_from_a_blocked_number_too() {
    let outcome = SAMPLE.decide(Packet::udp(Message::invite().calling(DNO).called("911")).frame());
    assert_passed(&outcome, Reason::RuleWhitelist);
    assert_eq!(outcome.rule.as_deref(), Some("emergency"));
}

#[test]
fn a_pinhole_lets_one_caller_through_a_blocked_prefix() {
    let call = |from| Packet::udp(Message::invite().calling(from).called("+16055625555")).frame();
    assert_dropped(&SAMPLE.decide(call("+14155552671")), "blocked-called-prefix");
    assert_passed(&SAMPLE.decide(call("+16055550160")), Reason::DefaultPass);
}

// ------------------------------------------------------------------------------------------------------------ identities

#[test]
fn an_asserted_identity_counts_from_a_believed_source_only() {
    let asserted = |number: &str, from: &str| {
        Message::invite().calling(from).add("P-Asserted-Identity", &format!("\"x\" <sip:{number}@carrier.example.com>"))
    };
    let believed = ["192.0.2.10", "2001:db8:a::1"];
    let others = ["192.0.2.11", "2001:db8:b::1"];
    for source in believed {
        assert_dropped(&everything(&Packet::udp(asserted(BLOCKED, "+14155552671")).from(source)), "calling");
        let outcome = everything(&Packet::udp(asserted("+14155552671", BLOCKED)).from(source));
        assert_passed(&outcome, Reason::DefaultPass);
        assert_eq!(outcome.field("calling"), "14155552671");
    }
    for source in others {
        assert_passed(&everything(&Packet::udp(asserted(BLOCKED, "+14155552671")).from(source)), Reason::DefaultPass);
        assert_dropped(&everything(&Packet::udp(asserted("+14155552671", BLOCKED)).from(source)), "calling");
    }
}

#[test]
fn a_believed_identity_without_a_number_gives_way_to_one_with_a_number() {
    let message = |asserted: &str| Message::invite().add("P-Asserted-Identity", asserted);
    let ways = [
        message(&format!("<sip:reception@h>, <tel:{BLOCKED}>")),
        message("<sip:reception@h>").add("P-Asserted-Identity", &format!("<tel:{BLOCKED}>")),
        message("<sip:reception@h>").set("From", &format!("<sip:{BLOCKED}@h>;tag=1")),
        Message::invite().add("Remote-Party-ID", &format!("<sip:{BLOCKED}@h>;party=calling;screen=yes")),
    ];
    for way in ways {
        assert_dropped(&everything(&Packet::udp(way).from("192.0.2.10")), "calling");
    }
}

#[test]
fn the_two_identities_can_be_asked_for_whoever_sent_them() {
    let asserted = Message::invite().add("P-Asserted-Identity", "<sip:+16055630000@h>");
    assert_dropped(&everything(&Packet::udp(asserted)), "asserted-number");
    let from = Message::invite().calling("+16055640000").add("P-Asserted-Identity", "<sip:+14155552671@h>");
    assert_dropped(&everything(&Packet::udp(from).from("192.0.2.10")), "from-number");
}

#[test]
fn an_anonymous_caller_is_anonymous_in_each_of_its_forms() {
    let ways = [
        Message::invite().set("From", "\"Anonymous\" <sip:anonymous@anonymous.invalid>;tag=1"),
        Message::invite().set("From", "<sip:+14155552671@anonymous.invalid>;tag=1"),
        Message::invite().set("From", "<sip:Anonymous@example.com>;tag=1"),
        Message::invite().add("Privacy", "id"),
        Message::invite().add("Privacy", "header;id;critical"),
    ];
    for way in ways {
        assert_dropped(&everything(&Packet::udp(way)), "anonymous");
    }
    assert_passed(&everything(&Packet::udp(Message::invite().add("Privacy", "none"))), Reason::DefaultPass);
}

#[test]
fn a_forwarded_call_is_judged_by_who_forwarded_it() {
    let ways = [
        Message::invite().add("Diversion", "<sip:+16055680000@h>;reason=unconditional"),
        // The first Diversion is the last diversion (RFC 5806).
        Message::invite().add("Diversion", "<tel:+16055680000>, <sip:+14155550000@h>"),
        Message::invite().add("Diversion", "<sip:+16055680000@h>").add("Diversion", "<sip:+14155550000@h>"),
        Message::invite().add("History-Info", "<sip:+16055680000@h>;index=1, <sip:+12125553456@h>;index=1.1"),
        Message::invite()
            .add("History-Info", "<sip:+16055680000@h?Reason=SIP%3Bcause%3D302>;index=1")
            .add("history-info", "<sip:+12125553456@h>;index=1.1"),
    ];
    for way in ways {
        assert_dropped(&everything(&Packet::udp(way)), "forwarded");
    }
    // One entry is the current target: nobody forwarded.
    let direct = Message::invite().add("History-Info", "<sip:+16055680000@h>;index=1");
    assert_passed(&everything(&Packet::udp(direct)), Reason::DefaultPass);
}

/// An Identity value with this payload (base64url of its beginning); the signature is nobody's.
fn identity(payload: &str) -> String {
    format!("eyJhbGciOiJFUzI1NiJ9.{payload}.c2lnbmF0dXJl;info=<https://cert.example.com/p.cer>;alg=ES256;ppt=shaken")
}

/// The beginnings of payloads: `{"attest":"A","d…`, B, C, and a `div` PASSporT's `{"dest":{"tn":[…`.
const ATTEST: [(&str, &str); 4] = [
    ("A", "eyJhdHRlc3QiOiJBIiwiZGVzdCI6e30"),
    ("B", "eyJhdHRlc3QiOiJCIiwiZGVzdCI6e30"),
    ("C", "eyJhdHRlc3QiOiJDIiwiZGVzdCI6e30"),
    ("unknown", "eyJkZXN0Ijp7InRuIjpbIjEyMTI1NTUiXX0"),
];

#[test]
fn the_attestation_that_a_message_claims_is_read() {
    for (claim, payload) in ATTEST {
        for name in ["Identity", "y", "IDENTITY "] {
            let outcome = everything(&Packet::udp(Message::invite().add(name, &identity(payload))));
            assert_eq!(outcome.field("attestation"), claim);
            if claim == "C" {
                assert_dropped(&outcome, "attestation-c");
            } else {
                assert_passed(&outcome, Reason::DefaultPass);
            }
        }
    }
    assert_eq!(everything(&Packet::udp(Message::invite())).field("attestation"), "none");
}

#[test]
fn of_two_identity_headers_the_shaken_one_counts() {
    let [_, _, c, div] = ATTEST.map(|(_, payload)| identity(payload));
    for (first, second) in [(&div, &c), (&c, &div)] {
        let message = Message::invite().add("Identity", first).add("Identity", second);
        assert_dropped(&everything(&Packet::udp(message)), "attestation-c");
    }
}

#[test]
fn a_failed_verification_is_read_in_the_user_part_and_behind_the_host() {
    for uri in ["+14155552671;verstat=TN-Validation-Failed@h", "+14155552671@h;verstat=TN-Validation-Failed;user=phone"]
    {
        let message = Message::invite().set("From", &format!("<sip:{uri}>;tag=1"));
        assert_dropped(&everything(&Packet::udp(message)), "failed-verification");
    }
}

#[test]
fn each_other_action_has_its_reason() {
    for (number, rule, reason) in
        [("+16055650000", "rejected", Reason::RuleReject), ("+16055660000", "diverted", Reason::RuleDivert)]
    {
        let outcome = everything(&call_from(number));
        assert_dropped(&outcome, rule);
        assert_eq!(outcome.reason, reason);
    }
}

#[test]
fn a_banned_source_is_dropped_whatever_it_sends_next_and_one_that_is_never_banned_is_not() {
    let scan = Message::request("OPTIONS").set("User-Agent", "ban me");
    let frames = |source: &str| {
        [
            Packet::udp(scan.clone()).from(source).frame(),
            Packet::udp(Message::invite()).from(source).frame(),
            Packet::tcp("").from(source).flags(flag::SYN).frame(),
        ]
    };
    for source in ["198.51.100.1", "2001:db8:1::1"] {
        let outcomes = EVERYTHING.run(&frames(source));
        assert_eq!(outcomes[0].reason, Reason::RuleBan);
        assert_eq!(outcomes[1].reason, Reason::Banned);
        assert_eq!(outcomes[2].reason, Reason::Banned);
    }
    let outcomes = EVERYTHING.run(&frames("192.0.2.10"));
    assert_eq!(outcomes[0].reason, Reason::RuleBan);
    assert_passed(&outcomes[1], Reason::DefaultPass);
}

#[test]
fn every_text_scope_has_its_rule() {
    let sdp = |name: &str| format!("v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns={name}\r\nt=0 0\r\n");
    let ways = [
        ("scanner", Message::request("OPTIONS").set("User-Agent", "Friendly-Scanner")),
        ("scanner", Message::response(200, "OK").without("User-Agent").add("Server", "friendly-scanner")),
        ("body", Message::request("MESSAGE").body("text/plain", "Get FREE MONEY now")),
        ("call-id", Message::invite().set("Call-ID", "sip-scan-1@x")),
        ("call-id", Message::invite().set("Call-ID", "sip-scan-1@x").rename("Call-ID", "i")),
        ("display", Message::invite().set("From", "\"sipvicious\" <sip:+14155552671@h>;tag=1")),
        ("injection", Message::request("REGISTER").set("From", "<sip:a'or'1'='1@h>;tag=1")),
        ("injection-called", Message::request("OPTIONS").start_line("OPTIONS sip:a%27@h SIP/2.0")),
        ("injection-to", Message::request("OPTIONS").set("To", "<sip:union+select@h>")),
        ("contact", Message::request("OPTIONS").set("Contact", "<sip:nm@nm>").rename("Contact", "m")),
        ("from-host", Message::request("OPTIONS").set("From", "<sip:100@1.1.1.1>;tag=1")),
        ("request-host", Message::request("OPTIONS").start_line("OPTIONS sip:100@h;maddr=10.0.0.1 SIP/2.0")),
        ("subject", Message::invite().add("s", "You won the\r\n Lottery")),
        ("session", Message::invite().body("application/sdp", sdp("sipsak"))),
        ("server", Message::response(200, "OK").add("Server", "evil/1")),
        ("via", Message::invite().set("Via", "SIP/2.0/UDP h;branch=z9hG4bK-00000000").rename("Via", "v")),
    ];
    for (rule, message) in ways {
        assert_dropped(&everything(&Packet::udp(message)), rule);
    }
    let innocent = Message::invite().body("application/sdp", sdp("a call"));
    assert_passed(&everything(&Packet::udp(innocent)), Reason::DefaultPass);
}

#[test]
fn neighbors_are_told_by_their_first_digits() {
    let call = |from: &str| Packet::udp(Message::invite().calling(from).called("+12125553456"));
    assert_dropped(&everything(&call("+12125559999")), "neighbor");
    assert_passed(&everything(&call("+12125569999")), Reason::DefaultPass);
}

// ------------------------------------------------------------------------------------------------------- not a message

#[test]
fn keep_alives_and_stun_pass_and_are_told_apart() {
    let binding = [&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42][..], &[7; 12]].concat();
    let kinds: [(&[u8], &str); 6] = [
        (b"\r\n\r\n", "keep-alive"),
        (b"\r\n", "keep-alive"),
        (b"\0\0\0\0", "keep-alive"),
        (b" ", "keep-alive"),
        (b"", "empty"),
        (&binding, "stun"),
    ];
    for (payload, kind) in kinds {
        for packet in [Packet::udp(payload), Packet::udp(payload).over_ipv6().vlan(9)] {
            let outcome = everything(&packet);
            assert_passed(&outcome, Reason::DefaultPass);
            assert_eq!(outcome.field("kind"), kind, "{outcome:?}");
            assert_eq!(outcome.field("anomalies"), "", "{outcome:?}");
        }
    }
}

#[test]
fn what_is_no_sip_is_a_class_of_its_own() {
    let payloads: [&[u8]; 5] = [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"INVITE",
        b"INVITE sip:a@b\r\n\r\n",
        &[0x41; 1400],
    ];
    for payload in payloads {
        let outcome = everything(&Packet::udp(payload));
        assert_passed(&outcome, Reason::DefaultPass);
        assert_eq!((outcome.field("kind"), outcome.field("anomalies")), ("not-sip".to_owned(), "not-sip".to_owned()));
    }
}

// ------------------------------------------------------------------------------------------------------------------ TCP

#[test]
fn a_message_at_a_segments_start_is_dropped_then_the_rest_of_its_flow() {
    for over_ipv6 in [false, true] {
        let base = |packet: Packet| if over_ipv6 { packet.over_ipv6() } else { packet };
        let segment = |payload: Vec<u8>, flags| base(Packet::tcp(payload)).from_port(41_001).flags(flags).frame();
        let data = flag::ACK | flag::PSH;
        let outcomes = EVERYTHING.run(&[
            segment(Vec::new(), flag::SYN),
            segment(Vec::new(), flag::ACK),
            segment(Message::request("OPTIONS").bytes(), data),
            segment(Message::invite().calling(BLOCKED).bytes(), data),
            segment(Message::invite().bytes(), data),
            segment(Vec::new(), flag::ACK),
            segment(Vec::new(), flag::FIN | flag::ACK),
            // Another connection of the same host.
            base(Packet::tcp(Message::invite())).from_port(41_002).frame(),
        ]);
        let reasons: Vec<Reason> = outcomes.iter().map(|outcome| outcome.reason).collect();
        assert_eq!(
            reasons,
            [
                Reason::StreamWithoutMessage,
                Reason::StreamWithoutMessage,
                Reason::DefaultPass,
                Reason::RuleDrop,
                Reason::FlowOfDropped,
                Reason::FlowOfDropped,
                Reason::FlowOfDropped,
                Reason::DefaultPass,
            ]
        );
    }
}

#[test]
fn a_new_connection_on_the_same_ports_is_forgiven() {
    let segment = |message: Message, flags| Packet::tcp(message).from_port(41_003).flags(flags).frame();
    let syn = || Packet::tcp("").from_port(41_003).flags(flag::SYN).frame();
    let data = flag::ACK | flag::PSH;
    let outcomes = EVERYTHING.run(&[
        syn(),
        segment(Message::invite().calling(BLOCKED), data),
        segment(Message::invite(), data),
        syn(),
        segment(Message::invite(), data),
        segment(Message::invite().calling(BLOCKED), data),
        segment(Message::invite(), data),
    ]);
    let reasons: Vec<Reason> = outcomes.iter().map(|outcome| outcome.reason).collect();
    assert_eq!(
        reasons,
        [
            Reason::StreamWithoutMessage,
            Reason::RuleDrop,
            Reason::FlowOfDropped,
            Reason::StreamWithoutMessage,
            Reason::DefaultPass,
            Reason::RuleDrop,
            Reason::FlowOfDropped,
        ]
    );
}

#[test]
fn a_segment_that_starts_mid_message_is_passed_and_never_guessed_at() {
    let message = Message::invite().calling(BLOCKED).bytes();
    for cut in [40, 100, 200, message.len() - 5] {
        let outcome = everything(&Packet::tcp(&message[cut..]).from_port(41_004));
        assert_passed(&outcome, Reason::MidMessage);
    }
    // What looks like a header of ours is none in the middle of a body.
    let outcome = everything(&Packet::tcp(format!("From: <sip:{BLOCKED}@h>\r\n\r\n").as_bytes()).from_port(41_004));
    assert_passed(&outcome, Reason::MidMessage);
}

#[test]
fn keep_alives_in_a_stream_pass_and_what_follows_them_is_read() {
    let outcome = everything(&Packet::tcp(&b"\r\n\r\n"[..]).from_port(41_005));
    assert_passed(&outcome, Reason::StreamWithoutMessage);
    let behind = [&b"\r\n\r\n"[..], &Message::invite().calling(BLOCKED).bytes()].concat();
    assert_dropped(&everything(&Packet::tcp(behind).from_port(41_005)), "calling");
}

#[test]
fn options_of_tcp_do_not_hide_the_payload() {
    let packet = Packet::tcp(Message::invite().calling(BLOCKED)).from_port(41_006).tcp_options(&[1; 40]);
    assert_dropped(&everything(&packet), "calling");
}

#[test]
fn on_a_tls_port_address_rules_alone_apply() {
    let hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    let packet = |payload: Vec<u8>| Packet::tcp(payload).to_port(5061).from_port(41_007);
    assert_passed(&everything(&packet(hello.to_vec())), Reason::StreamWithoutMessage);
    // Clear text there is not read either.
    let clear = Message::invite().calling(BLOCKED).bytes();
    assert_passed(&everything(&packet(clear.clone())), Reason::StreamWithoutMessage);
    assert_dropped(&everything(&packet(hello.to_vec()).from("203.0.113.66")), "blocked-source");
    assert_dropped(&everything(&packet(clear).from("203.0.113.5")), "no-calls-over-tls-from-here");
}

// ------------------------------------------------------------------------------------------------------------ fragments

#[test]
fn later_fragments_of_a_dropped_datagram_drop_too() {
    let call = || call_from(BLOCKED);
    for packet in [
        call().id(11),
        call().over_ipv6().id(0xdead_beef),
        call().over_ipv6().extension(Extension::HopByHop(8)).id(12),
        call().vlan(7).id(13),
    ] {
        let [first, later] = packet.fragments(304);
        let outcomes = EVERYTHING.run(&[first, later.clone(), later]);
        assert_dropped(&outcomes[0], "calling");
        assert_eq!(outcomes[1].reason, Reason::FragmentOfDropped);
        assert_eq!(outcomes[2].reason, Reason::FragmentOfDropped);
    }
}

#[test]
fn later_fragments_of_another_datagram_are_not_dropped() {
    let [first, _] = call_from(BLOCKED).id(21).fragments(304);
    let [_, later] = call_from(BLOCKED).id(22).fragments(304);
    let [_, elsewhere] = call_from(BLOCKED).id(21).to("192.0.2.3").fragments(304);
    let outcomes = EVERYTHING.run(&[first, later, elsewhere]);
    assert_dropped(&outcomes[0], "calling");
    assert_passed(&outcomes[1], Reason::FragmentLater);
    assert_passed(&outcomes[2], Reason::FragmentLater);
}

#[test]
fn a_later_fragment_that_comes_first_passes_and_is_of_no_use_without_the_first() {
    let [first, later] = call_from(BLOCKED).id(31).fragments(304);
    let outcomes = EVERYTHING.run(&[later, first]);
    assert_passed(&outcomes[0], Reason::FragmentLater);
    assert_dropped(&outcomes[1], "calling");
}

#[test]
fn the_fragments_of_an_ordinary_call_pass() {
    for packet in [Packet::udp(Message::invite()).id(41), Packet::udp(Message::invite()).over_ipv6().id(42)] {
        let outcomes = EVERYTHING.run(&packet.fragments(304));
        // The end of its headers is in the second fragment.
        assert_eq!(outcomes[0].field("anomalies"), "headers-beyond-inspected-length");
        assert_eq!(outcomes[1].reason, Reason::FragmentOfDropped);
        let outcomes = SAMPLE.run(&packet.fragments(304));
        assert_passed(&outcomes[0], Reason::DefaultPass);
        assert_passed(&outcomes[1], Reason::FragmentLater);
    }
}

#[test]
fn a_first_fragment_too_short_for_the_start_line_is_an_anomaly() {
    let keep_alives = [&b"\r\n\r\n\r\n\r\n"[..], &Message::invite().calling(BLOCKED).bytes()].concat();
    let tiny = [
        call_from(BLOCKED).id(51).fragments(8),
        call_from(BLOCKED).id(52).fragments(16),
        call_from(BLOCKED).id(53).over_ipv6().fragments(24),
        Packet::udp(keep_alives).id(54).fragments(16),
        Packet::tcp(Message::invite()).from_port(41_008).id(55).fragments(8),
        Packet::tcp(Message::invite()).from_port(41_009).id(56).over_ipv6().fragments(16),
    ];
    for fragments in tiny {
        let outcomes = EVERYTHING.run(&fragments);
        assert_dropped(&outcomes[0], "unreadable");
        assert_eq!(outcomes[0].field("anomalies").split(' ').next_back(), Some("tiny-first-fragment"));
        assert_eq!(outcomes[1].reason, Reason::FragmentOfDropped);
    }
}

#[test]
fn address_rules_hold_for_the_smallest_fragments_too() {
    for packet in [Packet::udp(Message::invite()), Packet::tcp(Message::invite()), Packet::tcp("").flags(flag::SYN)] {
        for (index, source) in ["203.0.113.66", "2001:db8:bad::66"].into_iter().enumerate() {
            let fragments = packet.clone().from(source).id(61 + index as u32).fragments(8);
            assert_dropped(&ADDRESSES_ONLY.run(&fragments)[0], "blocked");
        }
    }
}

// ---------------------------------------------------------------------------------------------------------- bad packets

/// A full frame of each make.
fn frames_of_each_make() -> Vec<Vec<u8>> {
    let call = || call_from(BLOCKED);
    vec![
        call().frame(),
        call().qinq(7, 100).ipv4_options(&[1; 8]).frame(),
        call().over_ipv6().extension(Extension::HopByHop(8)).extension(Extension::Authentication(24)).frame(),
        Packet::tcp(Message::invite().calling(BLOCKED)).from_port(41_010).tcp_options(&[1; 12]).frame(),
        call().id(71).fragments(304)[0].clone(),
    ]
}

#[test]
fn a_frame_cut_at_any_byte_has_a_named_reason_and_the_same_in_both_hosts() {
    for frame in frames_of_each_make() {
        let cuts: Vec<Vec<u8>> = (0..=frame.len()).map(|length| frame[..length].to_vec()).collect();
        let outcomes = EVERYTHING.run(&cuts);
        // IP says how long it is: what is less than that is never taken for a message.
        for (outcome, cut) in outcomes[..frame.len()].iter().zip(&cuts) {
            assert!(outcome.reading.is_none(), "{} of {} bytes: {outcome:?}", cut.len(), frame.len());
            assert!(!outcome.is_drop(), "{outcome:?}");
        }
        assert!(outcomes[frame.len()].is_drop());
    }
}

#[test]
fn a_message_cut_at_any_byte_is_read_alike_in_both_hosts() {
    let messages = [
        Message::invite().calling(BLOCKED).add("Identity", &identity(ATTEST[0].1)).bytes(),
        Message::invite()
            .set("From", "\"a \\\" <sip:x@y>\"\r\n <sips:%2b1605562(01)23;x=y:pw@[::1]:5060;a=\"b\">;tag=1")
            .rename("From", "f ")
            .add("History-Info", "<sip:a@b>;index=1, \"x,y\" <sip:+16055680000@h>, <sip:c@d>")
            .body("application/sdp", "v=0\r\ns=sipsak\r\n")
            .bytes(),
    ];
    for message in messages {
        let cuts: Vec<Vec<u8>> = (0..=message.len()).map(|length| Packet::udp(&message[..length]).frame()).collect();
        assert_eq!(EVERYTHING.run(&cuts).len(), message.len() + 1);
    }
}

#[test]
fn lengths_that_lie_have_named_reasons_and_are_read_alike() {
    let lies = [0u16, 1, 7, 8, 9, 19, 20, 21, 27, 28, 29, 39, 40, 41, 100, 1500, 9000, 32_767, 32_768, 65_534, 65_535];
    let mut frames = Vec::new();
    for packet in [call_from(BLOCKED), call_from(BLOCKED).over_ipv6(), Packet::udp(&b""[..]), Packet::tcp("")] {
        for lie in lies {
            frames.push(packet.clone().claim_ip_length(lie).frame());
            frames.push(packet.clone().claim_udp_length(lie).frame());
            let hop_by_hop = packet.clone().over_ipv6().extension(Extension::HopByHop(8));
            frames.push(hop_by_hop.clone().claim_ip_length(lie).frame());
            frames.push(hop_by_hop.claim_udp_length(lie).frame());
            frames.extend(packet.clone().claim_udp_length(lie).id(81).fragments(8));
        }
        for nibble in 0..16 {
            frames.push(packet.clone().claim_ipv4_header_words(nibble).frame());
            frames.push(packet.clone().claim_tcp_header_words(nibble).frame());
            frames.push(packet.clone().claim_ip_version(nibble).frame());
        }
    }
    assert_eq!(EVERYTHING.run(&frames).len(), frames.len());

    let reason = |packet: Packet| everything(&packet).reason;
    let call = || call_from(BLOCKED);
    assert_eq!(reason(call().claim_ip_length(19)), Reason::Ipv4Malformed);
    assert_eq!(reason(call().claim_ip_length(65_535)), Reason::Ipv4Truncated);
    assert_eq!(reason(call().claim_ip_length(27)), Reason::UdpTruncated);
    assert_eq!(reason(call().claim_ipv4_header_words(4)), Reason::Ipv4Malformed);
    assert_eq!(reason(call().claim_ip_version(6)), Reason::Ipv4Malformed);
    assert_eq!(reason(call().over_ipv6().claim_ip_length(65_535)), Reason::Ipv6Truncated);
    assert_eq!(reason(call().over_ipv6().claim_ip_length(7)), Reason::UdpTruncated);
    assert_eq!(reason(call().over_ipv6().claim_ip_version(4)), Reason::Ipv6Malformed);
    for lie in [1, 7, 65_535] {
        assert_eq!(reason(call().claim_udp_length(lie)), Reason::UdpMalformed);
        assert_eq!(reason(call().over_ipv6().claim_udp_length(lie)), Reason::UdpMalformed);
    }
    assert_eq!(reason(Packet::tcp("x").claim_tcp_header_words(4)), Reason::TcpMalformed);
    assert_eq!(reason(Packet::tcp("x").claim_tcp_header_words(15)), Reason::TcpMalformed);
    assert_eq!(reason(Packet::tcp("").claim_ip_length(39)), Reason::TcpTruncated);
}

/// Numbers of a fixed sequence (xorshift64*).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 16) as usize % bound
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next() as u8).collect()
    }
}

#[test]
fn garbage_of_any_kind_is_read_alike_and_never_crashes() {
    let mut random = Random(0x5eed_0001);
    let makes = frames_of_each_make();
    let specials = b"\r\n \t\"<>\\;:@,%=?+.-()[]\0\xff";
    let mut frames = Vec::new();
    for _ in 0..400 {
        let length = random.below(200);
        frames.push(random.bytes(length));
        let length = random.below(1400);
        frames.push(Packet::udp(random.bytes(length)).frame());
        // Bytes of a message replaced by what means something in it.
        let mut message = Message::invite().calling(BLOCKED).add("Diversion", "<sip:a@b>, <sip:c@d>").bytes();
        for _ in 0..1 + random.below(12) {
            let at = random.below(message.len());
            message[at] = specials[random.below(specials.len())];
        }
        frames.push(Packet::udp(message.clone()).frame());
        frames.push(Packet::tcp(message).from_port(41_011 + random.below(100) as u16).frame());
        // Bits of the headers in front of it turned.
        let mut frame = makes[random.below(makes.len())].clone();
        for _ in 0..1 + random.below(4) {
            let at = random.below(90);
            frame[at] ^= 1 << random.below(8);
        }
        frames.push(frame);
    }
    assert_eq!(EVERYTHING.run(&frames).len(), frames.len());
}

#[test]
fn a_message_of_control_characters_costs_no_more_steps_than_the_walk_has() {
    for filler in [b'\t', b'\r', b'\n', b' ', 0, 0x0b] {
        let mut message = b"INVITE sip:a@b SIP/2.0\r\nSubject: x".to_vec();
        message.resize(1300, filler);
        message.extend_from_slice(format!("y\r\nFrom: <sip:{BLOCKED}@h>;tag=1\r\n\r\n").as_bytes());
        let outcome = everything(&Packet::udp(message));
        // An empty line has ended the headers long before.
        let ended = filler == b'\n';
        assert_eq!(outcome.field("from_user") == BLOCKED, !ended, "{filler:#x}: {outcome:?}");
    }
}

// -------------------------------------------------------------------------------------------------------- large packets

/// A message of about this many bytes, with From behind all the others.
fn long_message(length: usize) -> Vec<u8> {
    let from = format!("<sip:{BLOCKED}@h>;tag=1");
    let mut message = Message::invite().without("From").add("X-Filler", "");
    let mut left = length.saturating_sub(message.clone().add("From", &from).bytes().len());
    while left > 12 {
        let line = left.min(70) - 4;
        message = message.add("X", &"x".repeat(line.saturating_sub(1)));
        left -= (line + 4).min(left);
    }
    message.add("From", &from).bytes()
}

#[test]
fn a_header_in_the_second_buffer_of_a_large_packet_is_read() {
    // In a run by the kernel the first buffer holds less than a page: a header at 4,000 bytes is in the second one.
    for length in [3_300, 4_200, 6_000, 8_000] {
        let message = long_message(length);
        let at = message.windows(5).position(|window| window == b"From:").unwrap();
        assert!(at + 200 > length, "From stands at {at} of {length}");
        assert_dropped(&everything(&Packet::udp(message.clone())), "calling");
        assert_dropped(&everything(&Packet::udp(message).over_ipv6().qinq(7, 8)), "calling");
    }
}

#[test]
fn large_packets_are_read_as_far_as_inspection_goes() {
    for length in [8_300, 9_000, 16_000, 24_000] {
        let outcome = everything(&Packet::udp(long_message(length)));
        assert_dropped(&outcome, "unreadable");
        assert!(outcome.field("anomalies").contains("headers-beyond-inspected-length"), "{outcome:?}");
        // A body of any size is fine.
        let body = Message::invite().calling(BLOCKED).body("text/plain", vec![b'x'; length]);
        assert_dropped(&everything(&Packet::udp(body)), "calling");
        let body = Message::invite().body("text/plain", vec![b'x'; length]);
        assert_passed(&everything(&Packet::udp(body)), Reason::DefaultPass);
    }
}

#[test]
fn payloads_around_the_inspected_length_are_read_alike() {
    let filler = |length: usize, end: &[u8]| {
        let mut message = b"INVITE sip:a@b SIP/2.0\r\nSubject: ".to_vec();
        message.resize(length - end.len(), b'x');
        message.extend_from_slice(end);
        Packet::udp(message).frame()
    };
    let ends: [&[u8]; 7] = [b"x", b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"\r\nFrom:", b"\r\nf: \"\\"];
    let frames: Vec<Vec<u8>> = (8_150..8_240).flat_map(|length| ends.map(|end| filler(length, end))).collect();
    assert_eq!(EVERYTHING.run(&frames).len(), frames.len());
}

#[test]
fn the_header_that_ends_with_the_inspected_length_is_read_to_its_end() {
    const LINE: usize = 8_120;
    const END: usize = INSPECTED_LENGTH;
    let mut message = b"SIP/2.0 200 OK\r\n".to_vec();
    while message.len() < LINE {
        let value = (LINE - message.len() - 5).min(60);
        message.extend_from_slice(format!("X: {}\r\n", "x".repeat(value)).as_bytes());
    }
    assert_eq!(message.len(), LINE);
    let branch = ";branch=z9hG4bK-00000000";
    let start = "Via: SIP/2.0/UDP ";
    let host = "h".repeat(END - LINE - start.len() - branch.len());
    message.extend_from_slice(format!("{start}{host}{branch}").as_bytes());
    assert_eq!(message.len(), END);
    for rest in ["", "\r\n\r\n", "\r\nX: y\r\n\r\n"] {
        let outcome = everything(&Packet::udp([&message, rest.as_bytes()].concat()));
        assert_dropped(&outcome, "via");
    }
}

#[test]
fn a_rule_decides_before_all_is_read_only_where_no_event_tells_of_it() {
    let built = hosts::policy_text(
        "version = 1\ndefault = \"pass\"\n[network]\nudp = [5060]\n[numbering]\ncountry_code = \"1\"\n\
         [[rule]]\nname = \"emergency\"\nmatch.called = \"911$\"\naction = \"whitelist\"\n\
         [[rule]]\nname = \"scanner\"\nmatch.user_agent = \"friendly-scanner\"\naction = \"drop\"\n\
         [[rule]]\nname = \"caller\"\nmatch.calling = \"1605562\"\naction = \"drop\"\n",
    )
    .unwrap();
    let scanner = Packet::udp(Message::invite().calling(BLOCKED).set("User-Agent", "friendly-scanner")).frame();
    let rescue = Packet::udp(Message::invite().called("911").set("User-Agent", "friendly-scanner")).frame();
    let caller = call_from(BLOCKED).frame();
    for (limit, read) in [(20, extent::WHOLE), (0, extent::FIRST)] {
        let mut image = built.image.clone();
        image.config.events_per_second = limit;
        let instance = Instance::load(&image).unwrap();
        let run = |frame: &[u8]| instance.run_and_read(frame).unwrap();
        let (decision, scratch) = run(&scanner);
        assert_eq!((decision.action, scratch.rule, scratch.message_read), (1, 1, read));
        assert_eq!(scratch.numbers[NumberOf::Calling as usize].key != 0, read == extent::WHOLE);
        let (decision, scratch) = run(&rescue);
        assert_eq!((decision.action, scratch.rule, scratch.message_read), (2, 0, extent::FIRST));
        let (decision, scratch) = run(&caller);
        assert_eq!((decision.action, scratch.rule, scratch.message_read), (1, 2, extent::WHOLE));
    }
}

#[test]
fn a_user_agent_at_the_end_of_what_is_inspected_is_read_in_parts_as_it_is_whole() {
    let built = hosts::policy_text(
        "version = 1\ndefault = \"pass\"\n[network]\nudp = [5060]\n[[rule]]\nname = \"scanner\"\n\
         match.user_agent = \"scanner$\"\naction = \"drop\"\n",
    )
    .unwrap();
    let mut quiet = built.image.clone();
    quiet.config.events_per_second = 0;
    let mut whole = built.image.clone();
    whole.config.needs |= need::INSPECT;
    let instance = Instance::load(&quiet).unwrap();
    let mut dropped = 0;
    for (start, end) in
        [("\n", "\r"), ("\n", "\r\n"), ("", "\r\n"), ("\n", "\r\r"), (" ", "\r\n"), ("", "\r\n\tscanner\r\n")]
    {
        for length in INSPECTED_LENGTH - 12..INSPECTED_LENGTH + 4 {
            let head = format!("{start}OPTIONS sip:a@b SIP/2.0\r\nX: ");
            let agent = format!("\r\nUser-Agent: friendly-scanner{end}");
            let message = format!("{head}{}{agent}\r\n", "x".repeat(length - head.len() - agent.len()));
            let frame = Packet::udp(message).frame();
            let expected = Engine::new(&whole).decide(&frame).rule;
            assert_eq!(Engine::new(&quiet).decide(&frame).rule, expected, "{length} {start:?} {end:?}");
            let action = instance.run(&frame).unwrap().action;
            assert_eq!(action == 1, expected.is_some(), "{length} {start:?} {end:?} in the kernel");
            dropped += u32::from(expected.is_some());
        }
    }
    assert!((30..96).contains(&dropped), "{dropped}");
}

#[test]
fn an_event_about_no_message_says_nothing_of_the_message_before() {
    let built = hosts::policy_text(
        "version = 1\ndefault = \"pass\"\n[network]\nudp = [5060]\ntls = [5061]\n[numbering]\ncountry_code = \"1\"\n\
         [[rule]]\nname = \"called\"\nmatch.called = \"900\"\naction = \"drop\"\n\
         [[rule]]\nname = \"calling\"\nmatch.calling = \"1605562\"\naction = \"drop\"\n\
         [[rule]]\nname = \"agent\"\nmatch.user_agent = \"scanner\"\naction = \"drop\"\n\
         [[rule]]\nname = \"source\"\nmatch.source = \"203.0.113.5\"\naction = \"drop\"\n\
         [[rule]]\nname = \"noise\"\nmatch.anomaly = \"not-sip\"\naction = \"drop\"\n",
    )
    .unwrap();
    let instance = Instance::load(&built.image).unwrap();
    let run = |packet: Packet| {
        let (run, scratch) = instance.run_and_read(&packet.frame()).unwrap();
        assert_eq!(run.action, 1);
        (scratch.rule, scratch.event)
    };
    let call = || Packet::udp(Message::invite().calling(BLOCKED).set("User-Agent", "phone"));
    for (packet, rule) in [
        (Packet::tcp("").to_port(5061).from("203.0.113.5"), 3),
        (Packet::udp("nothing that is known"), 4),
        (Packet::udp("\r\n\r\n").from("203.0.113.5"), 3),
    ] {
        let (of, event) = run(call());
        assert!(of == 1 && event.calling != 0 && event.called != 0, "{event:?}");
        assert!(event.user_agent_length != 0 && event.call_id_length != 0, "{event:?}");
        let (of, event) = run(packet);
        assert_eq!((of, event.calling, event.called), (rule, 0, 0), "{event:?}");
        assert_eq!((event.user_agent_length, event.call_id_length), (0, 0), "{event:?}");
    }
}
