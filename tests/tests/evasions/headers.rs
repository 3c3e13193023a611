//! Header names written in ways that could hide a header.

use filter_core::reason::Reason;
use ringfence_tests::{
    message::{CALLER, Message},
    packet::Packet,
};

use crate::{blocked_call, blocks, call, decide, has_anomaly, passes};

#[test]
fn compact_from() {
    blocks(blocked_call().rename("From", "f"));
}

#[test]
fn compact_names_of_every_header() {
    let message = call()
        .rename("Via", "v")
        .rename("From", "f")
        .rename("To", "t")
        .rename("Call-ID", "i")
        .rename("Contact", "m")
        .add("s", "a subject");
    let outcome = passes(&Packet::udp(message), Reason::DefaultPass);
    assert_eq!(outcome.field("from_user"), CALLER);
    assert_eq!(outcome.field("call_id"), "a84b4c76e66710@192.0.2.1");
    assert_eq!(outcome.field("contact"), "<sip:192.0.2.1:5060>");
    assert_eq!(outcome.field("subject"), "a subject");
    assert_eq!(outcome.field("anomalies"), "");
}

#[test]
fn header_name_in_odd_case() {
    blocks(blocked_call().rename("From", "fRoM"));
    let scan = Message::request("OPTIONS").set("User-Agent", "friendly-scanner").rename("User-Agent", "uSER-aGENT");
    assert_eq!(decide(&Packet::udp(scan)).rule.as_deref(), Some("scanner"));
}

#[test]
fn white_space_before_the_colon() {
    blocks(blocked_call().rename("From", "From \t\t  "));
    blocks(blocked_call().rename("From", "f "));
}

#[test]
fn no_white_space_after_the_colon() {
    let text = String::from_utf8(blocked_call().bytes()).unwrap().replace("From: ", "From:");
    blocks(text.into_bytes());
}

#[test]
fn a_name_that_begins_like_another() {
    let outcome = blocks(blocked_call().add_first("From-Number", "<sip:+14155552671@h>"));
    assert_eq!(outcome.field("anomalies"), "");
    blocks(blocked_call().add_first("Fromage", "<sip:+14155552671@h>"));
}

#[test]
fn control_character_in_a_header_name() {
    has_anomaly(call().add("X\u{1}From", "<sip:a@b>"), "control-character");
}

#[test]
fn bracket_that_the_body_closes() {
    let body = "]\r\nFrom: <sip:+14155552671@h>;tag=1\r\nTo: <sip:1@h>\r\nCall-ID: 2@h\r\n\r\nv=0\r\n";
    let flagged = |message: Message| has_anomaly(message.body("application/sdp", body), "malformed-header");
    flagged(call().set("Via", "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1;x=["));
    flagged(call().set("Via", "SIP/2.0/UDP [2001:db8::1"));
    flagged(call().set("Via", "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1 (a comment"));
    flagged(call().add("Via", "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n (a comment"));
    for name in ["Record-Route", "Content-Type", "X-Other"] {
        flagged(call().add(name, "<sip:192.0.2.1;lr>;x=["));
    }
    flagged(call().add("Retry-After", "1 (a"));
    has_anomaly(call().line_first("X: [\r\nY: ]"), "malformed-header");
    // Thousands of others do not use up the steps.
    let others = "X: (\r\n".repeat(2_500);
    has_anomaly(call().add("Via", "a (").line_first(others.trim_end()), "malformed-header");
}

#[test]
fn brackets_that_are_letters() {
    let message = call()
        .set("Via", "SIP/2.0/UDP [2001:db8::1]:5060 (a [comment);branch=z9hG4bK1")
        .set("User-Agent", "PBX [x (y")
        .set("Call-ID", "a[b(c@h")
        .add("Subject", "a [ and :-(")
        .add("X-Other", ":-(");
    let outcome = passes(&Packet::udp(message), Reason::DefaultPass);
    assert_eq!(outcome.field("anomalies"), "");
}

#[test]
fn folded_line_between_a_name_and_its_colon() {
    for name in ["From\r\n ", "f\r\n\t", "From \r\n \r\n "] {
        let message = call().without("From").line_first(&format!("{name}: <sip:+16055620123@h>;tag=1"));
        let outcome = blocks(message);
        assert_eq!(outcome.field("anomalies"), "malformed-header", "{name:?}");
    }
    let outcome = decide(&Packet::udp(call().line_first("From\r\n : <sip:+16055620123@h>;tag=1")));
    assert!(outcome.field("anomalies").contains("duplicate-header"), "{outcome:?}");
}

#[test]
fn more_lines_of_lists_than_are_kept() {
    let lines = |count: usize| {
        let lines = (0..count).fold(Message::invite(), |message, number| {
            message.add("P-Asserted-Identity", &format!("<sip:user{number}@h>"))
        });
        lines.add("P-Asserted-Identity", "<sip:+16055630000@h>")
    };
    assert_eq!(decide(&Packet::udp(lines(32))).rule.as_deref(), Some("asserted-number"));
    has_anomaly(lines(33), "duplicate-header");
    has_anomaly(lines(33), "malformed-header");
}
