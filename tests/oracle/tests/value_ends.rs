//! Where a value ends: the engine, which reads words of bytes, and the naive oracle, which reads slices, read nothing past it.
//!
//! Each message goes through both, as a datagram and as a TCP segment; they must agree on everything. Needs no root.

use filter_core::limits::{INSPECTED_LENGTH, MAX_HEADER_LINES};
use ringfence_oracle::fuzz;
use ringfence_tests::message::Message;

/// A claim of full attestation.
const TOKEN: &str = "eyJhbGciOiJFUzI1NiJ9.eyJhdHRlc3QiOiJBIiwiZGVzdCI6e30.c2ln;ppt=shaken";

/// A message whose last header line, `last`, is cut at the inspected length.
fn cut_at_the_inspected_length(start_line: &str, last: &str) -> Vec<u8> {
    let mut message = format!("{start_line}\r\n").into_bytes();
    loop {
        let left = INSPECTED_LENGTH - message.len() - last.len();
        if left == 0 {
            break;
        }
        let line = if left > 140 { 70 } else { left };
        message.extend_from_slice(format!("X: {}\r\n", "x".repeat(line - 5)).as_bytes());
    }
    message.extend_from_slice(last.as_bytes());
    assert_eq!(message.len(), INSPECTED_LENGTH);
    message
}

/// Compares the readings of a message that is cut there, and of longer ones.
fn read_alike_when_cut(start_line: &str, last: &str) {
    let message = cut_at_the_inspected_length(start_line, last);
    for rest in ["", "\r\n\r\n", "x\r\n\r\n"] {
        fuzz::message(&[&message, rest.as_bytes()].concat());
    }
}

#[test]
fn an_identity_of_control_characters_ends_before_a_line_that_begins_with_nul() {
    for line_end in ["\r\n", "\n", "\r"] {
        for value in ["", "\u{1}", "\u{1}\t\u{2}", "\r\n \u{1}"] {
            let message = Message::invite().add("Identity", value).add(&format!("\0{TOKEN}"), "x");
            fuzz::message(&message.line_end(line_end).bytes());
        }
    }
}

#[test]
fn an_empty_last_identity_ends_before_the_body() {
    for line_end in ["\r\n", "\n", "\r"] {
        for body in [TOKEN.to_owned(), format!(" {TOKEN}"), format!("\r\n{TOKEN}"), format!("\0{TOKEN}")] {
            let length = body.len().to_string();
            let message = Message::invite().body("text/plain", body).add("Content-Length", &length).add("Identity", "");
            fuzz::message(&message.line_end(line_end).bytes());
        }
    }
}

#[test]
fn an_identity_ends_with_the_last_header_line_that_is_read() {
    for lines in MAX_HEADER_LINES - 3..MAX_HEADER_LINES + 3 {
        let start = "INVITE sip:a@b SIP/2.0\r\n".to_owned() + &"X: y\r\n".repeat(lines as usize);
        fuzz::message(format!("{start}Identity:\r\n {TOKEN}\r\n\r\n").as_bytes());
        fuzz::message(format!("{start}Identity:\r\n \r {TOKEN}\r\n\r\n").as_bytes());
    }
}

#[test]
fn an_identity_is_followed_over_as_many_folded_lines_as_are_read() {
    for lines in MAX_HEADER_LINES - 3..MAX_HEADER_LINES + 3 {
        let folded = "\r\n ".repeat(lines as usize);
        fuzz::message(format!("INVITE sip:a@b SIP/2.0\r\nIdentity:{folded}{TOKEN}\r\n\r\n").as_bytes());
    }
}

#[test]
fn a_value_at_the_end_of_what_is_inspected_does_not_continue_at_its_start() {
    read_alike_when_cut("INVITE sip:a@b SIP/2.0", "Privacy: id");
    read_alike_when_cut("INVITE sip:a@b SIP/2.0", "Privacy: header;id");
    read_alike_when_cut("INVITE sip:a@b SIP/2.0", "From: <sip:+16055620123@h");
    read_alike_when_cut("0123 sip:a@b SIP/2.0", "From: <tel:+1605562");
    read_alike_when_cut("\n0123 sip:a@b SIP/2.0", "From: <tel:+1605562\r");
    read_alike_when_cut("@h sip:a@b SIP/2.0", "From: <sip:+16055620123");
    read_alike_when_cut("<sip:x@y> sip:a@b SIP/2.0", "From: ");
    read_alike_when_cut("sip:x@y sip:a@b SIP/2.0", "From:");
    read_alike_when_cut("\"x\" sip:a@b SIP/2.0", "From: \\");
    read_alike_when_cut("7 sip:a@b SIP/2.0", "Content-Length: 1");
    read_alike_when_cut("7 sip:a@b SIP/2.0", "P-Asserted-Identity: <sip:%2");
    read_alike_when_cut("B sip:a@b SIP/2.0", "Identity: e30.eyJhdHRlc3QiOiJ");
}

#[test]
fn a_host_at_the_end_of_what_is_inspected_does_not_continue_at_its_start() {
    read_alike_when_cut("s.invalid sip:a@b SIP/2.0", "From: <sip:+16055620123@anonymou");
}
