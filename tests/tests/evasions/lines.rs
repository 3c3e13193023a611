//! Lines: folding, line ends, too many or too long.

use ringfence_tests::message::CALLER;

use crate::{BLOCKED, blocked_call, blocks, call, has_anomaly};

#[test]
fn folded_from() {
    blocks(call().set("From", &format!("\r\n <sip:{BLOCKED}@h>;tag=1")));
    blocks(call().set("From", &format!("\"a\"\r\n\t\r\n <sip:{BLOCKED}@h>\r\n ;tag=1")));
}

#[test]
fn header_hidden_in_a_folded_line() {
    let outcome = blocks(blocked_call().add_first("Subject", &format!("x\r\n From: <sip:{CALLER}@h>")));
    assert_eq!(outcome.field("anomalies"), "malformed-header");
    for before_colon in [" ", "\t", "\r\n "] {
        let outcome =
            blocks(blocked_call().add_first("Subject", &format!("x\r\n\tFrom{before_colon}: <sip:{CALLER}@h>")));
        assert_eq!(outcome.field("anomalies"), "malformed-header", "{before_colon:?}");
    }
    let outcome = blocks(blocked_call().add_first("Subject", "x\r\n that is: folded"));
    assert_eq!(outcome.field("anomalies"), "");
}

#[test]
fn bare_line_feeds() {
    blocks(blocked_call().line_end("\n"));
}

#[test]
fn mixed_line_ends() {
    let text = String::from_utf8(blocked_call().bytes()).unwrap();
    blocks(text.replacen("\r\n", "\n", 3).into_bytes());
    blocks(text.replacen("\r\nTo", "\nTo", 1).into_bytes());
}

#[test]
fn bare_carriage_returns() {
    let outcome = blocks(blocked_call().line_end("\r"));
    assert!(outcome.field("anomalies").contains("control-character"), "{outcome:?}");
}

#[test]
fn header_hidden_after_a_bare_carriage_return() {
    let text = format!("x\rFrom: <sip:{BLOCKED}@h>;tag=1");
    blocks(call().without("From").add_first("Subject", &text));
    // With another From after it, servers differ: both show as anomalies.
    has_anomaly(call().add_first("Subject", &text), "duplicate-header");
    has_anomaly(blocked_call().add_first("Subject", &format!("x\rFrom: <sip:{CALLER}@h>")), "control-character");
}

#[test]
fn carriage_returns_in_front_of_a_line_feed() {
    let text = String::from_utf8(blocked_call().bytes()).unwrap();
    let outcome = blocks(text.replacen("\r\n", "\r\r\n", 1).into_bytes());
    assert!(outcome.field("anomalies").contains("control-character"), "{outcome:?}");
}

#[test]
fn tabs_by_the_hundred_in_front_of_from() {
    blocks(blocked_call().add_first("Subject", &"\t".repeat(1000)));
    blocks(blocked_call().add_first("Subject", &"\0".repeat(1000)));
}

#[test]
fn blank_line_of_line_feeds_among_others() {
    let text = String::from_utf8(call().bytes()).unwrap();
    let hidden = format!("\n\nX: y\r\nP-Asserted-Identity: <sip:{BLOCKED}@h>\r\nTo:");
    has_anomaly(text.replacen("\r\nTo:", &hidden, 1).into_bytes(), "malformed-header");
}

#[test]
fn no_blank_line_at_the_end() {
    let outcome = blocks(blocked_call().unfinished());
    assert!(outcome.field("anomalies").contains("headers-beyond-inspected-length"), "{outcome:?}");
}

#[test]
fn many_header_lines() {
    let many = (0..300).fold(call().without("From"), |message, _| message.add("X", "y"));
    blocks(many.add("From", &format!("<sip:{BLOCKED}@h>")));
    let folds = "\r\n ".repeat(300);
    blocks(call().set("From", &format!("{folds}<sip:{BLOCKED}@h>;tag=1")));
}

#[test]
fn headers_beyond_the_inspected_length() {
    let long = (0..230).fold(call().without("From"), |message, _| message.add("X", &"y".repeat(70)));
    let outcome = has_anomaly(long.add("From", &format!("<sip:{BLOCKED}@h>")), "headers-beyond-inspected-length");
    assert_eq!(outcome.rule.as_deref(), Some("unreadable"));
}

#[test]
fn line_without_a_colon() {
    let outcome = has_anomaly(blocked_call().line_first("this is no header"), "malformed-header");
    assert_eq!(outcome.rule.as_deref(), Some("calling"));
}
