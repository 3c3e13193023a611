//! Header lines.

use filter_core::{layout::Text, limits::INSPECTED_LENGTH, scratch::UriOf};
use ringfence_tests::message::Message;

use crate::{message, udp};

const MALFORMED: &str = "malformed-header";

#[test]
fn blanks_and_folds_before_the_colon() {
    for (name, anomalies) in [
        ("From ", &[][..]),
        ("From\t \t", &[]),
        ("f\t", &[]),
        ("From\r\n ", &[MALFORMED]),
        ("From \r\n\t", &[MALFORMED]),
        ("f\r\n ", &[MALFORMED]),
        ("FROM\n \n\t ", &[MALFORMED]),
        ("From\r ", &["control-character", MALFORMED]),
    ] {
        let reading = message(Message::invite().set("From", "<sip:12@h>").rename("From", name)).has(anomalies);
        assert_eq!(reading.user(UriOf::From), "12", "{name:?}");
    }
    let reading = message(Message::invite().rename("User-Agent", "User-Agent\r\n ")).has(&[MALFORMED]);
    assert_eq!(reading.text(Text::UserAgent), "Example-PBX/4.2");
}

#[test]
fn a_header_with_a_folded_name_counts_for_duplicates() {
    let reading = message(Message::invite().add_first("From\r\n ", "<sip:12@h>")).has(&["duplicate-header", MALFORMED]);
    assert_eq!(reading.user(UriOf::From), "12");
}

#[test]
fn a_line_end_that_is_no_fold_ends_the_name() {
    let reading = message(Message::invite().rename("From", "From\r\n")).has(&["missing-header", MALFORMED]);
    assert_eq!(reading.user(UriOf::From), "");
    // A fold, and something else than a colon.
    let reading = message(Message::invite().rename("From", "From\r\n x")).has(&["missing-header", MALFORMED]);
    assert_eq!(reading.user(UriOf::From), "");
}

#[test]
fn names_with_bytes_that_no_token_has() {
    for byte in
        ["\"", "#", "$", "&", ",", "/", ";", "<", "=", ">", "?", "@", "[", "\\", "]", "^", "{", "|", "}", "\u{7f}", "é"]
    {
        for name in
            [format!("User-Agent{byte}"), format!("User{byte}-Agent"), format!("X{byte} "), format!("{byte}Contact")]
        {
            message(Message::invite().add(&name, "x")).has(&[MALFORMED]);
        }
    }
    for name in ["X(y)", "X-.!%*_+`'~9", "X-y ", "Z\t"] {
        message(Message::invite().add(name, "x@h, \"y\" <é>")).has(&[]);
    }
    message(Message::invite().add("X\u{1},", "x")).has(&["control-character"]);
}

#[test]
fn a_header_in_a_folded_line() {
    let subject = |value: &str| message(Message::invite().add("Subject", value));
    for value in
        ["a\r\n From: <sip:12@h>", "a\r\n\t f\t: x", "a\r\n b\r\n p-preferred-identity:", "a\r\n From \r\n : x"]
    {
        let reading = subject(value).has(&[MALFORMED]);
        assert_eq!(reading.user(UriOf::From), "+14155552671");
        assert!(reading.text(Text::Subject).contains(value.split(' ').next_back().unwrap_or_default()));
    }
    for value in ["a\r\n From \u{1}x", "a\r\n Fromm: x", "a\r\n sip:x", "a\r\n x From: y", "a\r\n : x", "a\r\n  \r\n x"]
    {
        subject(value).has(&[]);
    }
}

#[test]
fn odd_blank_lines() {
    let headers = "Via: x\r\nFrom: <sip:1@h>\r\nTo: <sip:2@h>\r\nCall-ID: x\r\nCSeq: 1 INVITE";
    let end = |end: &str, blank: &str| udp(format!("INVITE sip:2@h SIP/2.0\r\n{headers}{end}{blank}"));
    for (line_end, blank, anomalies) in [
        ("\r\n", "\r\n", &[][..]),
        // To belle-sip the second one ends no headers whose first line ends otherwise.
        ("\n", "\n", &[MALFORMED]),
        ("\n", "\r\n", &[MALFORMED]),
        ("\r\n", "\n", &[MALFORMED]),
        ("\r\r\n", "\n", &["control-character", MALFORMED]),
        ("\r\n", "\r", &[]),
        ("\r\n", "\rbody", &["control-character"]),
        ("\r\n", "\r\r\n", &["control-character"]),
    ] {
        end(line_end, blank).has(anomalies);
    }
    udp(format!("INVITE sip:2@h SIP/2.0\r\n{headers}\n\n").replace("\r\n", "\n")).has(&[]);
    // After the start line too.
    udp("INVITE sip:2@h SIP/2.0\r\n\nFrom: <sip:1@h>\r\n\r\n").has(&["missing-header", MALFORMED]);
}

#[test]
fn any_number_of_lines_is_read() {
    for lines in ["k: x\r\n".repeat(1000), format!("Subject: a\r\n{}", " b\r\n".repeat(1000))] {
        let bytes = Message::invite().rename("From", &format!("{lines}From")).bytes();
        assert!(bytes.len() < INSPECTED_LENGTH, "{}", bytes.len());
        assert_eq!(udp(bytes).has(&[]).user(UriOf::From), "+14155552671");
    }
    let long = Message::invite().rename("From", &format!("{}From", "k: x\r\n".repeat(INSPECTED_LENGTH / 6)));
    assert_eq!(message(long).has(&["headers-beyond-inspected-length"]).user(UriOf::From), "");
}

#[test]
fn control_characters_where_a_value_begins() {
    for value in ["\u{1}x", " \t\u{1f}x", "\r\n \u{b}x", "x\r\n\t\u{1}"] {
        message(Message::invite().add("Subject", value)).has(&["control-character"]);
    }
    message(Message::invite().add("Subject", "x\u{1}")).has(&[]);
    for name in ["\"\u{1}A\" ", "\" \t\u{7f}\u{1}A\" "] {
        let is_odd = name.starts_with("\"\u{1}");
        let from = Message::invite().set("From", &format!("{name}<sip:12@h>"));
        message(from).has(if is_odd { &["malformed-uri"] } else { &[] });
    }
}
