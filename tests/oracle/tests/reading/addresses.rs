//! Values with an address.

use filter_core::{layout::Text, scratch::UriOf};
use ringfence_tests::message::Message;

use crate::{from, message, number, start, udp};

const MALFORMED: &[&str] = &["malformed-uri"];

#[track_caller]
fn reads(value: &str, user: &str, anomalies: &[&str]) {
    assert_eq!(from(value).has(anomalies).user(UriOf::From), user, "{value:?}");
}

#[test]
fn any_number_of_quotes_and_backslashes() {
    for pairs in [r"\a", "\\\"", r"\\"] {
        let display = pairs.repeat(400);
        let reading = from(&format!("\"{display}\" <sip:12@h>;tag=1")).has(&[]);
        assert_eq!((reading.user(UriOf::From), reading.text(Text::FromDisplay)), ("12".to_owned(), display));
    }
    reads(&format!("{} <sip:12@h>", "\"a\"".repeat(400)), "12", MALFORMED);
    let list =
        message(Message::invite().add("P-Asserted-Identity", &format!("{}<sip:12@h>", "<sip:a@h>,".repeat(400))));
    assert_eq!(number(&list.0.numbers.asserted), "12");
}

#[test]
fn a_run_of_brackets() {
    reads("<<sip:12@h>>;tag=1", "12", MALFORMED);
    reads("<<sip:12@h>;tag=1", "12", MALFORMED);
    reads("< <\r\n <sip:12@h>", "12", MALFORMED);
    reads("<> <sip:12@h>;tag=1", "12", MALFORMED);
    reads("\"a\" <>  <><sip:12@h>;tag=1", "12", MALFORMED);
    reads("<>;tag=1", "", MALFORMED);
    reads("< sip:12@h>;tag=1", "12", &[]);
}

#[test]
fn the_closing_bracket() {
    reads("<sip:12@h;tag=1", "12", MALFORMED);
    reads("<tel:12;tag=1", "12", MALFORMED);
    reads("<alice", "", MALFORMED);
    reads("<sip:12@h>", "12", &[]);
    reads("<sip:12@h> \t\r\n ;tag=1", "12", &[]);
    reads("<sip:12@h>?x=y", "12", MALFORMED);
    reads("<sip:12@h>x;tag=1", "12", MALFORMED);
    reads("<sip:12@h> \"x\"", "12", MALFORMED);
    reads("<sip:12@h> <sip:13@h>", "12", MALFORMED);
    reads("sip:12@h> x", "12", MALFORMED);
    reads("sip:12@h>", "12", MALFORMED);
    reads("tel:12>;tag=1", "12", MALFORMED);
    // It may be in another packet.
    for (end, anomalies) in [
        ("", &["headers-beyond-inspected-length"][..]),
        ("\r\nX:", &["headers-beyond-inspected-length", "malformed-uri"]),
        ("\r\n\r\n", &["missing-header", "malformed-uri"]),
    ] {
        udp(format!("INVITE sip:1@h SIP/2.0\r\nFrom: <sip:12@h{end}")).has(anomalies);
    }
}

#[test]
fn unquoted_display_names() {
    for (display, anomalies) in [
        ("Alice B", &[][..]),
        ("a;b", &[]),
        ("a>b", &[]),
        ("(x)", &[]),
        ("=?utf-8?q?x?=", &[]),
        ("it's", &[]),
        ("sip:good@h", MALFORMED),
        ("tel:+13125550147", MALFORMED),
        ("a:b", MALFORMED),
        ("a@b", MALFORMED),
        ("\"it's a@b:c\"", &[]),
    ] {
        reads(&format!("{display} <sip:12@h>;tag=1"), "12", anomalies);
    }
    // A bracket in it is not the URI's.
    reads("'a<b' <sip:12@h>;tag=1", "12", MALFORMED);
    reads("'a<b<c' <sip:12@h>;tag=1", "12", MALFORMED);
}

#[test]
fn what_is_between_a_quoted_name_and_its_bracket() {
    for value in [" \u{0}<sip:12@h>", " \u{0} <sip:12@h>", "\u{1}sip:12@h"] {
        reads(value, "12", &["control-character", "malformed-uri"]);
    }
    reads("<\u{0}sip:12@h>", "12", MALFORMED);
    for name in ["\"a\"", "\"a \\\" <sip:1@h>\""] {
        for gap in ["", " ", "  ", "\t", "\r\n ", " \t \r\n\t"] {
            reads(&format!("{name}{gap}<sip:12@h>"), "12", &[]);
        }
        for gap in ["\0", " \0", " \0 ", "\u{7f}", "  x ", " \u{b}\t", " tel:13 , "] {
            reads(&format!("{name}{gap}<sip:12@h>"), "12", MALFORMED);
        }
    }
}

#[test]
fn addresses_without_brackets() {
    reads("sip:12@h;tag=1", "12", &[]);
    reads("sip:12@h ;tag=1", "12", &[]);
    reads("sip:12@h\r\n\t;tag=1", "12", &[]);
    reads("sip:12@h \r\n ", "12", &[]);
    reads("sip:12@h x;tag=1", "12", MALFORMED);
    reads("sip:12@h <sip:13@h>", "13", MALFORMED);
    reads("\"a\" sip:12@h;tag=1", "12", MALFORMED);
    reads("Alice", "", MALFORMED);
    reads("Alice ;tag=1", "", MALFORMED);
    reads("Alice Smith", "", MALFORMED);
    reads("tel:12 ;tag=1", "12", &[]);
    reads("tel:12 x", "12 x", MALFORMED);
    reads("tel:12\r\n x", "12", MALFORMED);
}

#[test]
fn lists() {
    let asserted = |value: &str| {
        let reading = message(Message::invite().add("P-Asserted-Identity", value));
        let identities = reading.0.numbers.identities[1..].join(" ");
        (identities, reading.anomalies())
    };
    for (value, identities, anomalies) in [
        ("<sip:12@h>,<sip:13@h>", "12 13", &[][..]),
        ("sip:12@h, <sip:13@h>", "12 13", &[]),
        ("tel:12,tel:13", "12 13", &[]),
        ("\"a, b\" <sip:12@h>;x, \"c\" <sip:13@h>", "12 13", &[]),
        // Values without anything are none.
        (",, <sip:12@h> ,\r\n ,<sip:13@h>,", "12 13", &[]),
        // A bracket ends with its other one.
        ("<sip:12;a,b@h>, <sip:13@h>", "12 13", &[]),
        ("<sip:12 ,b@h>, <sip:13@h>", "13", MALFORMED),
        ("<sip:12@h, <sip:13@h>", "12", MALFORMED),
    ] {
        assert_eq!(asserted(value), (identities.to_owned(), anomalies.to_vec()), "{value}");
    }
}

#[test]
fn two_addresses_where_there_may_be_one() {
    for value in ["<sip:12@h>, <sip:13@h>", "<sip:12@h>,", "sip:12@h, sip:h2", "sip:12@h ,x", "tel:12, tel:13"] {
        reads(value, "12", MALFORMED);
        let to = message(Message::invite().set("To", value)).has(MALFORMED);
        assert_eq!(to.user(UriOf::To), "12");
        let list = message(Message::invite().set("Contact", value));
        assert_eq!(list.has(&[]).user(UriOf::Contact), "12");
    }
    let reading = start("INVITE <sip:12@h>,<sip:13@h> SIP/2.0").has(&["malformed-start-line", "malformed-uri"]);
    assert_eq!(reading.user(UriOf::Request), "12");
    // In a Request-URI a comma is a character like others.
    assert_eq!(start("INVITE sip:12,3@h SIP/2.0").has(&[]).user(UriOf::Request), "12,3");
}

#[test]
fn a_malformed_address_in_any_header() {
    for name in
        ["P-Asserted-Identity", "P-Preferred-Identity", "Remote-Party-ID", "Diversion", "History-Info", "Contact", "To"]
    {
        let call = |value: &str| {
            let call = Message::invite();
            message(if ["Contact", "To"].contains(&name) { call.set(name, value) } else { call.add(name, value) })
        };
        call("<sip:12@h>").has(&[]);
        call("<sip:12@h").has(MALFORMED);
        call("<sip:12\u{1}@h>").has(&["control-character"]);
        // In any value but Contact's further ones.
        let anomalies = if name == "Contact" { &[] } else { MALFORMED };
        call("<sip:12@h>, <sip:13@h").has(anomalies);
    }
    let call = message(Message::invite().add("Diversion", "<sip:12@h>").add("Diversion", "<sip:13@h>, <sip:14 @h>"));
    call.has(MALFORMED);
    // Of an entity that is called too, which is not the caller.
    message(Message::invite().add("Remote-Party-ID", "<sip:12 @h>;party=called")).has(MALFORMED);
}

#[test]
fn the_request_uri() {
    for (line, user, anomalies) in [
        ("INVITE <sip:12@h> SIP/2.0", "12", &["malformed-start-line"][..]),
        ("INVITE < sip:12@h > SIP/2.0", "12", &["malformed-start-line", "malformed-uri"]),
        ("INVITE <sip:12@h SIP/2.0", "12", &["malformed-start-line", "malformed-uri"]),
        ("INVITE sip:12 @h SIP/2.0", "12 ", &["malformed-start-line", "malformed-uri"]),
        ("INVITE sip :12@h SIP/2.0", "12", &["malformed-start-line", "malformed-uri"]),
        ("INVITE sip:12@h; lr SIP/2.0", "12", &["malformed-start-line", "malformed-uri"]),
        ("INVITE tel:12 SIP/2.0", "12", &[]),
        ("INVITE sip:12@ SIP/2.0", "12", &[]),
    ] {
        assert_eq!(start(line).has(anomalies).user(UriOf::Request), user, "{line}");
    }
}

#[test]
fn quotes_that_do_not_end_in_a_list() {
    for value in ["<sip:12@h>;a=\"b, sip:14@h", "<sip:12@h>;a=\"b\", \"c\" <sip:14@h>;x=\"\\\""] {
        let call = Message::invite().add("P-Asserted-Identity", value);
        message(call).has(&["malformed-uri"]);
    }
    message(Message::invite().add("Diversion", "<sip:12@h>;a=\"b,\", <sip:14@h>")).has(&[]);
}
