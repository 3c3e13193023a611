//! User parts: numbers, escapes, parameters.

use filter_core::reason::Reason;
use ringfence_tests::{message::Message, packet::Packet};

use crate::{blocks, call, decide, from, has_anomaly, passes};

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
fn password_after_the_user() {
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
fn number_in_place_of_the_host() {
    for uri in ["sip:+16055620123", "sip:.16055620123", "sip:(605)5620123", "sip:1-605-562-0123", "1605:5620123@h"] {
        has_anomaly(call().set("From", &format!("<{uri};phone-context=+1>;tag=1")), "malformed-uri");
    }
    let outcome = decide(&Packet::udp(call().set("From", "<sip:192.0.2.1;lr>;tag=1")));
    assert_eq!(outcome.field("anomalies"), "");
}

#[test]
fn nul_in_the_user_part() {
    // Libraries in C end the number there, others read on: it does not hide the number.
    let outcome = blocks(from("<sip:+16055620123%00@h>;tag=1"));
    assert_eq!(outcome.field("anomalies"), "malformed-uri");
    let outcome = blocks(from("<sip:+1605562\u{0}0123@h>;tag=1"));
    assert_eq!(outcome.field("anomalies"), "control-character");
}

#[test]
fn escaped_semicolon_after_a_number() {
    let outcome = blocks(from("<sip:+16055620123%3Bx=1@h>;tag=1"));
    assert_eq!(outcome.field("anomalies"), "malformed-uri");
    let name = decide(&Packet::udp(from("<sip:alice%3bx@h>;tag=1")));
    assert_eq!(name.field("anomalies"), "");
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
    // More separators than anyone writes hide no number.
    blocks(call().calling(&format!("+1605562{}0123", "-".repeat(300))));
}

#[test]
fn anonymous_in_odd_forms() {
    for value in ["<sip:ANONYMOUS@x>", "<sip:%41nonymous@x>", "<sip:+Restricted@x>", "<tel:unavailable>"] {
        let outcome = decide(&Packet::udp(from(value).set("CSeq", "1 INVITE")));
        assert_eq!(outcome.field("calling_format"), "anonymous", "{value}: {outcome:?}");
        assert!(outcome.is_drop());
    }
    // A number is judged as a number, whatever else its sender says of it.
    blocks(from("\"x\" <sip:+16055620123@Anonymous.Invalid>"));
    let outcome = decide(&Packet::udp(from("<sip:+14155552671@anonymous.invalid>")));
    assert_eq!(outcome.field("calling_format"), "valid");
    assert_eq!(outcome.field("calling_privacy"), "anonymous-uri");
}

#[test]
fn injection_in_the_user_part() {
    for (value, rule) in [("<sip:a'or'1@h>", "injection"), ("<sip:a%27or%271@h>", "injection")] {
        let outcome = decide(&Packet::udp(Message::request("REGISTER").set("From", value)));
        assert_eq!(outcome.rule.as_deref(), Some(rule));
    }
}

#[test]
fn another_scheme_or_none() {
    for uri in ["im:+16055620123@h", "pres:+16055620123@h"] {
        let outcome = blocks(from(&format!("<{uri}>;tag=1")));
        assert_eq!(outcome.field("anomalies"), "", "{uri}");
    }
    for uri in [
        "+16055620123@h",
        "sip :+16055620123@h",
        "s%69p:+16055620123@h",
        "sip: +16055620123@h",
        "sip:sip:+16055620123@h",
        "sip://+16055620123@h",
        "tels:+16055620123",
    ] {
        let outcome = blocks(from(&format!("<{uri}>;tag=1")));
        assert_eq!(outcome.field("anomalies"), "malformed-uri", "{uri}");
    }
}

#[test]
fn blank_in_the_user_part() {
    for (user, anomaly) in [
        ("+1605562 0123", "malformed-uri"),
        ("+16055620123\t", "malformed-uri"),
        ("+16055620123\r\n ", "malformed-uri"),
        ("\u{1}+16055620123", "malformed-uri"),
        ("+16055620123\u{1}", "control-character"),
        ("+1605\u{b}5620123", "control-character"),
    ] {
        let outcome = blocks(from(&format!("<sip:{user}@h>;tag=1")));
        assert_eq!(outcome.field("anomalies"), anomaly, "{user:?}");
    }
}

#[test]
fn delimiter_before_the_user_part() {
    for user in ["@+12125553456", ";+12125553456", ">+12125553456"] {
        let outcome = decide(&Packet::udp(call().request_uri(&format!("sip:{user}@h"))));
        assert_eq!(outcome.field("called"), "12125553456", "{user}: {outcome:?}");
        assert!(outcome.field("anomalies").contains("malformed-uri"), "{user}");
    }
}

#[test]
fn end_of_a_tel_number() {
    for rest in [":x", "#x", "/x", "@h"] {
        let outcome = blocks(from(&format!("<tel:+16055620123{rest}>;tag=1")));
        assert_eq!(outcome.field("anomalies"), "malformed-uri", "{rest}");
    }
}

#[test]
fn local_number_with_a_global_context() {
    blocks(from("<tel:5620123;phone-context=+1605>;tag=1"));
    // No server reads a context: these are whole without one.
    for context in ["+44", "+1", "+1605"] {
        blocks(from(&format!("<tel:16055620123;phone-context={context}>;tag=1")));
        blocks(from(&format!("<sip:6055620123;phone-context={context}@h;user=phone>;tag=1")));
    }
    blocks(from("<sip:562-0123;phone-context=+1-605@h;user=phone>;tag=1"));
    // A service code stays one.
    let outcome = decide(&Packet::udp(call().request_uri("tel:911;phone-context=+1")));
    assert_eq!(outcome.field("called"), "911");
}

#[test]
fn national_prefix_after_the_country_code() {
    for user in ["+4402071838750", "+44(0)2071838750", "011 44 (0)20 7183 8750", "4402071838750", "+011(44)02071838750"]
    {
        let outcome = decide(&Packet::udp(call().request_uri(&format!("sip:{}@h", user.replace(' ', "%20")))));
        assert_eq!(outcome.field("called"), "442071838750", "{user}");
    }
    // An Italian number begins with a 0, and after two zeros comes something else.
    for user in ["390655501", "49001234567", "2250701234567", "35812345678"] {
        let outcome = decide(&Packet::udp(call().request_uri(&format!("sip:+{user}@h"))));
        assert_eq!(outcome.field("called"), user);
    }
}

#[test]
fn bad_escape_in_the_user_part() {
    for user in ["+16055620123%", "%zz+16055620123", "alice%4"] {
        let outcome = decide(&Packet::udp(from(&format!("<sip:{user}@h>;tag=1"))));
        assert_eq!(outcome.field("anomalies"), "malformed-uri", "{user}");
    }
}
