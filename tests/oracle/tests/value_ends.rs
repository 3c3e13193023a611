//! Where a value ends: the engine, which reads words of bytes, and the naive oracle, which reads slices, read nothing past it.
//!
//! Each message goes through both, as a datagram and as a TCP segment; they must agree on everything. Needs no root.

use filter_core::limits::INSPECTED_LENGTH;
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

/// Numbers of lines, none of which is a limit: steps of a loop end somewhere, and the lines fill what is inspected.
fn numbers_of_lines(bytes: usize) -> impl Iterator<Item = usize> {
    let full = INSPECTED_LENGTH / bytes;
    [60, 64, 124, 128, 252, 256, 508, 512, 1020, 1024, full - 40, full - 4]
        .into_iter()
        .flat_map(|lines| lines..lines + 6)
}

#[test]
fn an_identity_after_any_number_of_header_lines_ends_with_its_line() {
    for lines in numbers_of_lines("X: y\r\n".len()) {
        let start = "INVITE sip:a@b SIP/2.0\r\n".to_owned() + &"X: y\r\n".repeat(lines);
        fuzz::message(format!("{start}Identity:\r\n {TOKEN}\r\n\r\n").as_bytes());
        fuzz::message(format!("{start}Identity:\r\n \r {TOKEN}\r\n\r\n").as_bytes());
    }
}

#[test]
fn an_identity_is_followed_over_any_number_of_folded_lines() {
    for lines in numbers_of_lines("\r\n ".len()) {
        let folded = "\r\n ".repeat(lines);
        fuzz::message(format!("INVITE sip:a@b SIP/2.0\r\nIdentity:{folded}{TOKEN}\r\n\r\n").as_bytes());
    }
}

#[test]
fn a_name_is_followed_over_any_number_of_folded_lines() {
    for lines in numbers_of_lines("\r\n ".len()) {
        let folded = "\r\n ".repeat(lines);
        fuzz::message(format!("INVITE sip:a@b SIP/2.0\r\nFrom{folded}: <sip:12@h>\r\n\r\n").as_bytes());
        fuzz::message(format!("INVITE{folded}sip:a@b{folded}SIP/2.0\r\nFrom: <sip:12@h>\r\n\r\n").as_bytes());
    }
}

#[test]
fn any_number_of_quotes_and_values_comes_before_the_last() {
    for pairs in numbers_of_lines(8) {
        for (pair, rest) in
            [("\\\"", "\" <sip:12@h>"), ("\"\"", "<sip:12@h>"), ("<>,", "<sip:12@h>"), ("<<", "sip:12@h>")]
        {
            let value = format!("{}{}{rest}", if pair == "\\\"" { "\"" } else { "" }, pair.repeat(pairs));
            let headers = format!("From: {value}\r\nP-Asserted-Identity: {value}\r\n");
            fuzz::message(format!("INVITE sip:a@b SIP/2.0\r\n{headers}\r\n").as_bytes());
        }
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
    read_alike_when_cut(": sip:a@b SIP/2.0", "From");
    read_alike_when_cut(": sip:a@b SIP/2.0", "From\r\n ");
    read_alike_when_cut("=shaken sip:a@b SIP/2.0", "Identity: x;ppt");
    read_alike_when_cut("shaken sip:a@b SIP/2.0", "Identity: x;ppt=");
    read_alike_when_cut("=x sip:a@b SIP/2.0", "To: <sip:a@b>;tag");
    read_alike_when_cut("x sip:a@b SIP/2.0", "To: <sip:a@b>;tag=");
    read_alike_when_cut("called sip:a@b SIP/2.0", "Remote-Party-ID: <sip:12@h>;party=");
    read_alike_when_cut("+1 sip:a@b SIP/2.0", "From: <tel:5550100;phone-context=");
    read_alike_when_cut("> sip:a@b SIP/2.0", "From: <sip:12@h");
    read_alike_when_cut("sos sip:a@b SIP/2.0", "From: <urn:service:");
}

#[test]
fn a_host_at_the_end_of_what_is_inspected_does_not_continue_at_its_start() {
    read_alike_when_cut("s.invalid sip:a@b SIP/2.0", "From: <sip:+16055620123@anonymou");
}
