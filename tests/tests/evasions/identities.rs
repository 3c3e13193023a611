//! Identities, attestation and user agents.

use filter_core::reason::Reason;
use ringfence_tests::{
    message::{CALLER, Message},
    packet::Packet,
};

use crate::{BLOCKED, blocked_call, blocks, blocks_packet, call, decide, has_anomaly, passes};

#[test]
fn asserted_identity_of_a_stranger() {
    let message = blocked_call().add("P-Asserted-Identity", &format!("<sip:{CALLER}@h>"));
    blocks(message.clone());
    let outcome = passes(&Packet::udp(message).from("192.0.2.10"), Reason::DefaultPass);
    assert_eq!(outcome.field("calling"), &CALLER[1..]);
}

#[test]
fn number_in_the_second_asserted_identity() {
    for message in [
        call().add("P-Asserted-Identity", &format!("<sip:front.desk@h>, <tel:{BLOCKED}>")),
        call().add("P-Asserted-Identity", &format!("\"a, <b>\" <sip:front.desk@h> , <tel:{BLOCKED}>")),
        call().add("P-Asserted-Identity", "<sip:front.desk@h>").add("P-Asserted-Identity", &format!("<tel:{BLOCKED}>")),
    ] {
        blocks_packet(&Packet::udp(message).from("192.0.2.10"));
    }
}

#[test]
fn number_in_a_route() {
    let routes = |values: &[&str]| values.iter().fold(call(), |call, value| call.add("Route", value));
    for values in [
        &["<sip:+19005551234@gw.example.com>"][..],
        &["<sip:192.0.2.1;lr>, <sip:+19005551234@gw.example.com>"],
        // To a strict router, the last one is the Request-URI.
        &["<sip:192.0.2.1;lr>", "\"a, b\" <sip:192.0.2.2>,<sips:19005551234@gw.example.com;lr>"],
        &["<tel:+1-900-555-1234>"],
    ] {
        assert_eq!(has_anomaly(routes(values), "number-in-route").field("called"), "12125553456", "{values:?}");
    }
    let ordinary = ["<sip:192.0.2.1;lr;ftag=a1>", "<sip:orig@scscf.example.com:5090;lr>,<sip:[2001:db8::1]>"];
    assert_eq!(decide(&Packet::udp(routes(&ordinary))).field("anomalies"), "");
}

#[test]
fn attestation_claimed_by_anybody() {
    let identity =
        |payload: &str| format!("e30.{payload}IiwiZGVzdCI6e30.c2ln;info=<https://c.example>;alg=ES256;ppt=shaken");
    for (payload, claim) in [
        ("eyJhdHRlc3QiOiJB", "A"),
        ("eyJhdHRlc3QiOiJC", "B"),
        ("eyJhdHRlc3QiOiJD", "C"),
        ("eyJhdHRlc3QiOiJh", "unknown"),
        ("eyAiYXR0ZXN0Ijoi", "unknown"),
    ] {
        let outcome = decide(&Packet::udp(blocked_call().add("Identity", &identity(payload))));
        assert_eq!(outcome.field("attestation"), claim);
        // Whatever it claims, the number stays blocked.
        assert_eq!(outcome.rule.as_deref(), Some("calling"));
    }
}

#[test]
fn shaken_identity_after_a_div_one() {
    let div = "e30.eyJkZXN0Ijp7InRuIjpbIjEyMTI1NTUiXX0.c2ln;info=<https://a>;ppt=div";
    let shaken = "e30.eyJhdHRlc3QiOiJDIiwiZGVzdCI6e30.c2ln;info=<https://a>;ppt=shaken";
    for (first, second) in [(div, shaken), (shaken, div)] {
        let outcome = decide(&Packet::udp(call().add("Identity", first).add("y", second)));
        assert_eq!(outcome.rule.as_deref(), Some("attestation-c"), "{outcome:?}");
    }
}

#[test]
fn identity_in_compact_form_or_cut() {
    for value in ["eyJhbGciOiJFUzI1NiJ9..c2ln;ppt=shaken", "e30.eyJhdHRlc3Qi", "eyJhdHRlc3QiOiJB", "\"\""] {
        let outcome = decide(&Packet::udp(call().add("Identity", value)));
        assert_eq!(outcome.field("attestation"), "unknown", "{value}");
    }
}

#[test]
fn scanner_that_hides_its_name_in_case_and_folding() {
    for agent in ["FRIENDLY-SCANNER", "friendly-\r\n scanner", "\r\n\tx friendly-scanner/1.0", "\tsipvicious"] {
        let scan = Message::request("OPTIONS").set("User-Agent", agent);
        let outcome = decide(&Packet::udp(scan));
        let broken = agent.contains("-\r\n");
        assert_eq!(outcome.rule.as_deref() == Some("scanner"), !broken, "{agent:?}: {outcome:?}");
    }
}

#[test]
fn control_character_before_a_value() {
    let scan = Message::request("OPTIONS").set("User-Agent", "\u{1}friendly-scanner");
    has_anomaly(scan, "control-character");
    has_anomaly(call().add("Subject", "\r\n \u{b}free"), "control-character");
    has_anomaly(call().set("From", "\"\u{1}Bank\" <sip:+12125550100@h>;tag=1"), "malformed-uri");
}

#[test]
fn second_user_agent() {
    let scan = Message::request("OPTIONS").add("User-Agent", "friendly-scanner");
    has_anomaly(scan, "duplicate-header");
}

#[test]
fn number_in_any_of_the_identities() {
    for header in ["P-Asserted-Identity", "P-Preferred-Identity", "Remote-Party-ID"] {
        let one = call().add(header, "<sip:alice@h>").add(header, "\"a, b\" <sip:x@h>, <tel:+16055620123>");
        let outcome = decide(&Packet::udp(one).from("192.0.2.10"));
        assert_eq!(outcome.field("calling"), "16055620123", "{header}: {outcome:?}");
    }
    // The called party's is not the caller's.
    let called = call().add("Remote-Party-ID", "<sip:+16055620123@h>; party = called");
    let outcome = decide(&Packet::udp(called).from("192.0.2.10"));
    assert_ne!(outcome.field("calling"), "16055620123", "{outcome:?}");
}

#[test]
fn anonymous_diversion_before_the_one_with_a_number() {
    for diverted in [
        call().add("Diversion", "<sip:anonymous@anonymous.invalid>, <sip:+16055680000@h>"),
        call().add("Diversion", "<sip:anonymous@h>").add("Diversion", "<sip:+16055680000@h>"),
        call().add("Diversion", "<sip:anonymous@h>").add("History-Info", "<sip:+16055680000@h>, <sip:a@h>, <sip:b@h>"),
    ] {
        assert_eq!(decide(&Packet::udp(diverted)).field("forwarded"), "16055680000");
    }
}
