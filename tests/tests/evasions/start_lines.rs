//! The start line.

use filter_core::reason::Reason;
use ringfence_tests::packet::Packet;

use crate::{blocked_call, blocks, call, has_anomaly, passes};

#[test]
fn line_ends_in_front_of_the_start_line() {
    blocks([&b"\r\n\r\n\r\n"[..], &blocked_call().bytes()].concat());
}

#[test]
fn white_space_in_front_of_the_start_line() {
    let outcome = blocks([&b" \t"[..], &blocked_call().bytes()].concat());
    assert!(outcome.field("anomalies").contains("malformed-start-line"), "{outcome:?}");
    blocks([&b"\0"[..], &blocked_call().bytes()].concat());
}

#[test]
fn method_in_odd_case() {
    blocks(blocked_call().start_line("invite sip:+12125553456@h SIP/2.0"));
    blocks(blocked_call().start_line("InViTe sip:+12125553456@h SIP/2.0"));
}

#[test]
fn several_spaces_in_the_start_line() {
    let outcome = blocks(blocked_call().start_line("INVITE   sip:+12125553456@h \t SIP/2.0"));
    assert!(outcome.field("anomalies").contains("malformed-start-line"), "{outcome:?}");
}

#[test]
fn spaces_in_the_request_uri() {
    let message = call().start_line("INVITE sip:+16055670000@h; lr SIP/2.0");
    let outcome = has_anomaly(message, "malformed-start-line");
    assert_eq!(outcome.rule.as_deref(), Some("called"));
}

#[test]
fn request_uri_in_angle_brackets() {
    let message = call().start_line("INVITE <sip:+16055670000@h> SIP/2.0");
    let outcome = has_anomaly(message, "malformed-start-line");
    assert_eq!(outcome.rule.as_deref(), Some("called"));
}

#[test]
fn version_in_odd_case_or_of_the_future() {
    blocks(blocked_call().start_line("INVITE sip:+12125553456@h sip/2.0"));
    let outcome = blocks(blocked_call().start_line("INVITE sip:+12125553456@h SIP/7.0"));
    assert!(outcome.field("anomalies").contains("unsupported-version"), "{outcome:?}");
}

#[test]
fn unknown_method() {
    let message = blocked_call().start_line("INVITE2 sip:+12125553456@h SIP/2.0");
    let outcome = passes(&Packet::udp(message), Reason::DefaultPass);
    assert_eq!(outcome.field("method"), "INVITE2");
}
