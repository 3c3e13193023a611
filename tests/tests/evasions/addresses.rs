//! Display names and addresses.

use ringfence_tests::message::CALLER;

use crate::{BLOCKED, blocked_call, blocks, call, from, has_anomaly};

#[test]
fn number_in_the_display_name() {
    blocks(from(&format!("\"{CALLER}\" <sip:{BLOCKED}@h>;tag=1")));
    blocks(from(&format!("{CALLER} <sip:{BLOCKED}@h>;tag=1")));
}

#[test]
fn uri_in_a_quoted_display_name() {
    blocks(from(&format!("\"<sip:{CALLER}@h>\" <sip:{BLOCKED}@h>;tag=1")));
}

#[test]
fn escaped_quotes_in_the_display_name() {
    blocks(from(&format!("\"\\\" <sip:{CALLER}@h>\" <sip:{BLOCKED}@h>;tag=1")));
    blocks(from(&format!("\"a\\\\\" <sip:{BLOCKED}@h>;x=\"<sip:{CALLER}@h>\"")));
}

#[test]
fn backslash_outside_of_quotes() {
    blocks(from(&format!("\\<sip:{BLOCKED}@h>;tag=1")));
    blocks(from(&format!("\\\"a\\\" <sip:{BLOCKED}@h>;tag=1")));
}

#[test]
fn display_name_that_looks_like_a_uri() {
    blocks(from(&format!("sip:{CALLER}@h <sip:{BLOCKED}@h>;tag=1")));
}

#[test]
fn quote_that_never_ends() {
    let outcome = has_anomaly(from(&format!("\"a <sip:{BLOCKED}@h>;tag=1")), "malformed-uri");
    assert_eq!(outcome.field("from_user"), "");
}

#[test]
fn address_without_angle_brackets() {
    blocks(from(&format!("sip:{BLOCKED}@h;tag=1")));
    let outcome = blocks(from(&format!("sip:{BLOCKED}@h;x=\"<sip:{CALLER}@h>\"")));
    assert_eq!(outcome.field("from_user"), BLOCKED);
}

#[test]
fn display_name_before_an_address_without_angle_brackets() {
    blocks(from(&format!("\"A & B\" sip:{BLOCKED};otg=trunk@h")));
}

#[test]
fn white_space_inside_angle_brackets() {
    blocks(from(&format!("< sip:{BLOCKED}@h >;tag=1")));
}

#[test]
fn two_addresses_in_from() {
    blocks(from(&format!("<sip:{BLOCKED}@h>, <sip:{CALLER}@h>;tag=1")));
}

#[test]
fn two_from_headers() {
    let outcome = blocks(blocked_call().add("From", &format!("<sip:{CALLER}@h>;tag=2")));
    assert!(outcome.field("anomalies").contains("duplicate-header"), "{outcome:?}");
    let outcome = has_anomaly(call().add("f", &format!("<sip:{BLOCKED}@h>;tag=2")), "duplicate-header");
    assert_eq!(outcome.rule.as_deref(), Some("unreadable"));
}

#[test]
fn brackets_in_brackets() {
    for value in
        ["<<sip:+16055620123@h>>", "<> <sip:+16055620123@h>", "'a<b' <sip:+16055620123@h>", "a:b <sip:+16055620123@h>"]
    {
        let outcome = blocks(from(&format!("{value};tag=1")));
        assert_eq!(outcome.field("anomalies"), "malformed-uri", "{value}");
    }
}

#[test]
fn hundreds_of_escapes_in_the_display_name() {
    blocks(from(&format!("\"{}\" <sip:+16055620123@h>;tag=1", "\\a".repeat(600))));
}
