//! Ways to hide from a filter, one test each; docs/evasions.md says of each where it is known from and why our reading is the
//! safe one. Each runs in user space and in the kernel.

mod hosts;

use std::{collections::BTreeSet, fs, sync::LazyLock};

use filter_core::reason::Reason;
use hosts::{Outcome, Shared};
use ringfence_tests::{
    message::{CALLER, Message},
    packet::{Extension, Packet, flag},
    workspace,
};

/// A policy that uses every scope.
static POLICY: LazyLock<Shared> =
    LazyLock::new(|| Shared::new(hosts::policy_text(include_str!("hosts/everything.toml"))));

/// A number that the policy blocks as the calling one.
const BLOCKED: &str = "+16055620123";

fn decide(packet: &Packet) -> Outcome {
    POLICY.decide(packet.frame())
}

fn call() -> Message {
    Message::invite()
}

/// A call that is from the blocked number, in all that servers look at.
fn blocked_call() -> Message {
    call().calling(BLOCKED)
}

/// A call with this value of From.
fn from(value: &str) -> Message {
    call().set("From", value)
}

#[track_caller]
fn blocks(message: impl Into<Vec<u8>>) -> Outcome {
    blocks_packet(&Packet::udp(message))
}

#[track_caller]
fn blocks_packet(packet: &Packet) -> Outcome {
    let outcome = decide(packet);
    assert!(outcome.is_drop() && outcome.rule.as_deref() == Some("calling"), "{outcome:?}");
    outcome
}

#[track_caller]
fn has_anomaly(message: impl Into<Vec<u8>>, anomaly: &str) -> Outcome {
    let outcome = decide(&Packet::udp(message));
    assert!(outcome.field("anomalies").split(' ').any(|name| name == anomaly), "{outcome:?}");
    outcome
}

#[track_caller]
fn passes(packet: &Packet, reason: Reason) -> Outcome {
    let outcome = decide(packet);
    assert_eq!(outcome.reason, reason, "{outcome:?}");
    assert!(!outcome.is_drop(), "{outcome:?}");
    outcome
}

// ---------------------------------------------------------------------------------------------------------- header names

#[test]
fn compact_from() {
    blocks(blocked_call().rename("From", "f"));
}

#[test]
fn compact_names_of_all_that_is_read() {
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
fn no_white_space_behind_the_colon() {
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

// --------------------------------------------------------------------------------------------------------- line structure

#[test]
fn folded_from() {
    blocks(call().set("From", &format!("\r\n <sip:{BLOCKED}@h>;tag=1")));
    blocks(call().set("From", &format!("\"a\"\r\n\t\r\n <sip:{BLOCKED}@h>\r\n ;tag=1")));
}

#[test]
fn header_hidden_in_a_folded_line() {
    let outcome = blocks(blocked_call().add_first("Subject", &format!("x\r\n From: <sip:{CALLER}@h>")));
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
fn header_hidden_behind_a_bare_carriage_return() {
    let text = format!("x\rFrom: <sip:{BLOCKED}@h>;tag=1");
    blocks(call().without("From").add_first("Subject", &text));
    // With another From behind it, servers differ; the message is told as what it is.
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
fn no_blank_line_at_the_end() {
    let outcome = blocks(blocked_call().unfinished());
    assert!(outcome.field("anomalies").contains("headers-beyond-inspected-length"), "{outcome:?}");
}

#[test]
fn more_header_lines_than_are_read() {
    let many = (0..300).fold(call().without("From"), |message, _| message.add("X", "y"));
    let outcome = has_anomaly(many.add("From", &format!("<sip:{BLOCKED}@h>")), "headers-beyond-inspected-length");
    assert_eq!(outcome.rule.as_deref(), Some("unreadable"));
}

#[test]
fn headers_behind_the_inspected_length() {
    let long = (0..130).fold(call().without("From"), |message, _| message.add("X", &"y".repeat(70)));
    let outcome = has_anomaly(long.add("From", &format!("<sip:{BLOCKED}@h>")), "headers-beyond-inspected-length");
    assert_eq!(outcome.rule.as_deref(), Some("unreadable"));
}

#[test]
fn line_without_a_colon() {
    let outcome = has_anomaly(blocked_call().line_first("this is no header"), "malformed-header");
    assert_eq!(outcome.rule.as_deref(), Some("calling"));
}

// ------------------------------------------------------------------------------------------------------------- start line

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
fn method_that_nobody_knows() {
    let message = blocked_call().start_line("INVITE2 sip:+12125553456@h SIP/2.0");
    let outcome = passes(&Packet::udp(message), Reason::DefaultPass);
    assert_eq!(outcome.field("method"), "INVITE2");
}

// -------------------------------------------------------------------------------------------------------- name and address

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

// --------------------------------------------------------------------------------------------------------------- user part

#[test]
fn escaped_digits() {
    blocks(from("<sip:%2B%31%36055620123@h>;tag=1"));
    blocks(from("<sip:+1605562%30%31%32%33@h>;tag=1"));
}

#[test]
fn visual_separators() {
    blocks(from("<tel:+1-605.562(0123)>;tag=1"));
    blocks(from("<sip:+1%20605%20562-0123@h>;tag=1"));
}

#[test]
fn number_without_its_plus_or_country_code() {
    for user in ["16055620123", "6055620123", "01116055620123"] {
        blocks(call().calling(user));
    }
}

#[test]
fn parameters_in_the_user_part() {
    blocks(from("<sip:+16055620123;npdi;rn=+14155552671@h>;tag=1"));
    blocks(from("<sip:+16055620123;phone-context=+1415@h;user=phone>;tag=1"));
}

#[test]
fn password_behind_the_user() {
    blocks(from("<sip:+16055620123:+14155552671@h>;tag=1"));
}

#[test]
fn scheme_in_odd_case() {
    blocks(from("<SiP:+16055620123@h>;tag=1"));
    blocks(from("<SIPS:+16055620123@h>;tag=1"));
    blocks(from("<Tel:+16055620123>;tag=1"));
}

#[test]
fn host_that_is_an_ipv6_reference() {
    blocks(from("<sip:+16055620123@[2001:db8::1]:5060>;tag=1"));
    let outcome =
        passes(&Packet::udp(Message::request("OPTIONS").set("From", "<sip:[::1]:5060>")), Reason::DefaultPass);
    assert_eq!(outcome.field("from_user"), "");
}

#[test]
fn nul_in_the_user_part() {
    let outcome = decide(&Packet::udp(from("<sip:+16055620123%00@h>;tag=1")));
    assert_eq!(outcome.rule.as_deref(), Some("no-number"));
    let outcome = decide(&Packet::udp(from("<sip:+1605562\u{0}0123@h>;tag=1")));
    assert_eq!(outcome.field("calling"), "", "{outcome:?}");
}

#[test]
fn letters_among_the_digits() {
    for user in ["+1605562O123", "1-605-JOB-0123", "\u{ff11}605562012", "+1605562*0123"] {
        let outcome = decide(&Packet::udp(call().calling(user)));
        assert_eq!(outcome.field("calling_format"), "not-a-number", "{user}: {outcome:?}");
        assert_eq!(outcome.rule.as_deref(), Some("no-number"));
    }
}

#[test]
fn digits_without_end() {
    let outcome = decide(&Packet::udp(call().called(&format!("+1605567{}", "0".repeat(40)))));
    assert_eq!(outcome.field("called_format"), "too-long");
    assert!(outcome.is_drop(), "{outcome:?}");
    // More separators than anybody writes: no number any more, whatever a server makes of it.
    let outcome = decide(&Packet::udp(call().calling(&format!("+1605562{}0123", "-".repeat(300)))));
    assert_eq!(outcome.rule.as_deref(), Some("no-number"));
}

#[test]
fn anonymous_in_odd_forms() {
    for value in
        ["<sip:ANONYMOUS@x>", "\"x\" <sip:+16055620123@Anonymous.Invalid>", "<sip:+14155552671@anonymous.invalid>"]
    {
        let outcome = decide(&Packet::udp(from(value).set("CSeq", "1 INVITE")));
        assert_eq!(outcome.field("calling_format"), "anonymous", "{value}: {outcome:?}");
        assert!(outcome.is_drop());
    }
}

#[test]
fn injection_in_the_user_part() {
    for (value, rule) in [("<sip:a'or'1@h>", "injection"), ("<sip:a%27or%271@h>", "injection")] {
        let outcome = decide(&Packet::udp(Message::request("REGISTER").set("From", value)));
        assert_eq!(outcome.rule.as_deref(), Some(rule));
    }
}

// --------------------------------------------------------------------------------------------------------------- identities

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
        // Whatever it claims, the number is blocked.
        assert_eq!(outcome.rule.as_deref(), Some("calling"));
    }
}

#[test]
fn shaken_identity_behind_a_div_one() {
    let div = "e30.eyJkZXN0Ijp7InRuIjpbIjEyMTI1NTUiXX0.c2ln;ppt=div";
    let shaken = "e30.eyJhdHRlc3QiOiJDIiwiZGVzdCI6e30.c2ln;ppt=shaken";
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
fn second_user_agent() {
    let scan = Message::request("OPTIONS").add("User-Agent", "friendly-scanner");
    has_anomaly(scan, "duplicate-header");
}

// ------------------------------------------------------------------------------------------------------------------ lengths

#[test]
fn content_length_that_lies() {
    for length in ["5", "65535", "-1", "x", "99999999999999999999"] {
        let outcome = has_anomaly(blocked_call().add("Content-Length", length), "content-length-mismatch");
        assert_eq!(outcome.rule.as_deref(), Some("calling"));
    }
}

#[test]
fn second_message_in_the_datagram() {
    let two = [Message::request("OPTIONS").bytes(), blocked_call().bytes()].concat();
    let outcome = has_anomaly(two, "several-messages");
    assert_eq!(outcome.rule.as_deref(), Some("unreadable"));
}

#[test]
fn udp_length_shorter_than_the_packet() {
    // Sockets get what UDP says: the rest of the packet is nobody's.
    let packet = Packet::udp([&b"\r\n\r\n"[..], &blocked_call().bytes()].concat()).claim_udp_length(12);
    assert_eq!(passes(&packet, Reason::DefaultPass).field("kind"), "keep-alive");
}

#[test]
fn udp_length_of_zero() {
    blocks_packet(&Packet::udp(blocked_call()).over_ipv6().claim_udp_length(0));
    passes(&Packet::udp(blocked_call()).claim_udp_length(0), Reason::UdpMalformed);
}

#[test]
fn ipv6_length_of_zero() {
    let packet = Packet::udp(blocked_call()).over_ipv6().extension(Extension::HopByHop(8)).claim_ip_length(0);
    blocks_packet(&packet);
}

// ------------------------------------------------------------------------------------------------------ below the transport

#[test]
fn extension_headers_in_a_row() {
    for count in [2, 9, 100] {
        let packet = (0..count).fold(Packet::udp(blocked_call()).over_ipv6(), |packet, _| {
            packet.extension(Extension::DestinationOptions(8))
        });
        blocks_packet(&packet);
    }
}

#[test]
fn atomic_fragment() {
    blocks_packet(&Packet::udp(blocked_call()).over_ipv6().extension(Extension::AtomicFragment(5)));
}

#[test]
fn ip_options() {
    blocks_packet(&Packet::udp(blocked_call()).ipv4_options(&[1; 40]));
}

#[test]
fn vlan_tags() {
    blocks_packet(&Packet::udp(blocked_call()).vlan(0));
    blocks_packet(&Packet::udp(blocked_call()).qinq(0, 0));
    passes(&Packet::udp(blocked_call()).qinq(0, 0).vlan(0), Reason::VlanTooDeep);
}

#[test]
fn blocked_source_by_its_other_family() {
    for source in ["203.0.113.66", "2001:db8:bad::66"] {
        assert_eq!(decide(&Packet::udp(call()).from(source)).rule.as_deref(), Some("blocked-source"));
    }
    // Linux takes no packet from such a source.
    passes(&Packet::udp(call()).from("::ffff:203.0.113.66"), Reason::DefaultPass);
}

#[test]
fn from_in_a_later_fragment() {
    let message = call().without("From").add("X", &"x".repeat(200)).add("From", &format!("<sip:{BLOCKED}@h>;tag=1"));
    let outcomes = POLICY.run(&Packet::udp(message).id(1001).fragments(304));
    assert_eq!(outcomes[0].rule.as_deref(), Some("unreadable"));
    assert_eq!(outcomes[1].reason, Reason::FragmentOfDropped);
}

#[test]
fn first_fragment_without_the_start_line() {
    for (id, size) in [(1011, 8), (1012, 16), (1013, 48)] {
        let outcomes = POLICY.run(&Packet::udp(blocked_call()).id(id).fragments(size));
        assert_eq!(outcomes[0].rule.as_deref(), Some("unreadable"), "{outcomes:?}");
        assert!(outcomes[0].field("anomalies").contains("tiny-first-fragment"));
        assert_eq!(outcomes[1].reason, Reason::FragmentOfDropped);
    }
}

#[test]
fn first_fragment_of_line_ends() {
    let message = [&b"\r\n".repeat(12)[..], &blocked_call().bytes()].concat();
    let outcomes = POLICY.run(&Packet::udp(message).id(1021).over_ipv6().fragments(24));
    assert!(outcomes[0].field("anomalies").contains("tiny-first-fragment"), "{outcomes:?}");
    assert!(outcomes[1].is_drop());
}

#[test]
fn tcp_header_in_two_fragments() {
    let packet = Packet::tcp(blocked_call()).from_port(42_001).id(1031);
    let outcomes = POLICY.run(&packet.clone().fragments(8));
    assert!(outcomes[0].field("anomalies").contains("tiny-first-fragment"), "{outcomes:?}");
    assert!(outcomes.iter().all(Outcome::is_drop));
    let outcomes = POLICY.run(&packet.clone().id(1032).fragments(32));
    assert_eq!(outcomes[0].rule.as_deref(), Some("unreadable"), "{outcomes:?}");
    assert!(outcomes[1].is_drop());
    let outcomes = POLICY.run(&packet.id(1033).from("203.0.113.66").fragments(8));
    assert_eq!(outcomes[0].rule.as_deref(), Some("blocked-source"));
}

#[test]
fn later_fragment_first() {
    let [first, later] = Packet::udp(blocked_call()).id(1041).fragments(304);
    let outcomes = POLICY.run(&[later, first]);
    // Without the first, the later one is never put together to anything.
    assert_eq!(outcomes[0].reason, Reason::FragmentLater);
    assert!(outcomes[1].is_drop());
}

// ---------------------------------------------------------------------------------------------------------------------- TCP

#[test]
fn retransmission_after_a_drop() {
    let packet = Packet::tcp(blocked_call()).from_port(42_002);
    let outcomes = POLICY.run(&[packet.frame(), packet.frame(), Packet::tcp(call()).from_port(42_002).frame()]);
    assert_eq!(outcomes[0].rule.as_deref(), Some("calling"));
    assert_eq!(outcomes[1].reason, Reason::FlowOfDropped);
    assert_eq!(outcomes[2].reason, Reason::FlowOfDropped);
}

#[test]
fn message_in_the_segment_that_opens_the_connection() {
    blocks_packet(&Packet::tcp(blocked_call()).from_port(42_003).flags(flag::SYN));
}

#[test]
fn syn_in_the_middle_of_a_dropped_connection() {
    let message = Packet::tcp(blocked_call()).from_port(42_004);
    let syn = Packet::tcp("").from_port(42_004).flags(flag::SYN);
    let outcomes = POLICY.run(&[message.frame(), syn.frame(), message.frame(), message.frame()]);
    // It is let through to the server, whose TCP still waits for the bytes that were dropped; sent again, they drop again.
    assert_eq!(outcomes[1].reason, Reason::StreamWithoutMessage);
    assert_eq!(outcomes[2].rule.as_deref(), Some("calling"));
    assert_eq!(outcomes[3].reason, Reason::FlowOfDropped);
}

#[test]
fn message_cut_into_segments() {
    let message = blocked_call().bytes();
    let segment = |bytes: &[u8]| Packet::tcp(bytes).from_port(42_005);
    // Streams are not put together here: what starts mid-message is passed, counted, and never guessed at.
    passes(&segment(&message[40..]), Reason::MidMessage);
    passes(&segment(&message[..20]), Reason::MidMessage);
    // But a start line and From in one segment are enough.
    blocks_packet(&segment(&message[..250]));
}

#[test]
fn second_message_in_the_segment() {
    let two = [Message::request("OPTIONS").bytes(), blocked_call().bytes()].concat();
    let outcome = decide(&Packet::tcp(two).from_port(42_006));
    assert_eq!(outcome.rule.as_deref(), Some("unreadable"));
    assert!(outcome.field("anomalies").contains("several-messages"));
}

#[test]
fn keep_alive_in_front_of_the_message_in_a_segment() {
    blocks_packet(&Packet::tcp([&b"\r\n\r\n"[..], &blocked_call().bytes()].concat()).from_port(42_007));
}

// ------------------------------------------------------------------------------------------------------------------- the list

/// The tests of this file, as its text has them.
fn tests() -> BTreeSet<&'static str> {
    include_str!("evasions.rs")
        .split("#[test]\nfn ")
        .skip(1)
        .filter_map(|text| text.split_once('(').map(|(name, _)| name))
        .filter(|name| *name != "each_row_of_the_table_has_its_test_and_each_test_its_row")
        .collect()
}

#[test]
fn each_row_of_the_table_has_its_test_and_each_test_its_row() {
    let text = fs::read_to_string(workspace().join("docs/evasions.md")).expect("docs/evasions.md is there");
    let (_, table) = text.split_once("## The table").expect("it has the table");
    let rows: Vec<&str> = table.lines().filter(|line| line.starts_with("| ") && line.contains('`')).collect();
    let named: Vec<&str> = rows
        .iter()
        .map(|row| row.trim_end_matches([' ', '|']).rsplit_once("| `").expect("a test's name in the last column").1)
        .map(|name| name.trim_end_matches('`'))
        .collect();
    let unique: BTreeSet<&str> = named.iter().copied().collect();
    assert_eq!(unique.len(), named.len(), "a test stands in two rows");
    let tests = tests();
    let untested: Vec<_> = unique.difference(&tests).collect();
    let unnamed: Vec<_> = tests.difference(&unique).collect();
    assert!(untested.is_empty(), "rows without a test: {untested:?}");
    assert!(unnamed.is_empty(), "tests without a row: {unnamed:?}");
    assert!(rows.len() >= 40, "{} rows", rows.len());
}
