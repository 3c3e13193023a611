//! Where a value ends: the engine, which reads words of bytes, and the naive oracle, which reads slices, read nothing past it.
//!
//! Each message goes through both, as a datagram and as a TCP segment; they must agree on everything. Needs no root.

use ringfence_oracle::fuzz;
use ringfence_tests::message::Message;

/// A claim of full attestation.
const TOKEN: &str = "eyJhbGciOiJFUzI1NiJ9.eyJhdHRlc3QiOiJBIiwiZGVzdCI6e30.c2ln;ppt=shaken";

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
