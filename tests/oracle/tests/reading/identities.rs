//! Whose numbers a message has, what its sender wants withheld, and its dialog.

use filter_core::layout::{Transport, passport, privacy};
use ringfence_oracle::read::read_payload;
use ringfence_tests::message::{CALLED, CALLER, Message};

use crate::{BUILT, Reading, STRANGER, believed, first_fragment, from, message, number, packet, start, udp};

fn call(headers: &[(&str, &str)]) -> Message {
    headers.iter().fold(Message::invite(), |call, (name, value)| call.add(name, value))
}

#[track_caller]
fn identities(reading: &Reading, expected: &[&str]) {
    assert_eq!(reading.0.numbers.identities, expected, "{reading:?}");
}

#[test]
fn the_caller_of_a_stranger_is_from() {
    let call =
        call(&[("P-Asserted-Identity", "<sip:+12025551201@h>"), ("P-Preferred-Identity", "<sip:+12025551202@h>")]);
    let reading = message(call).has(&[]);
    assert_eq!(number(&reading.0.numbers.calling), &CALLER[1..]);
    assert_eq!(number(&reading.0.numbers.from), &CALLER[1..]);
    assert_eq!(number(&reading.0.numbers.asserted), "12025551201");
    assert_eq!(number(&reading.0.numbers.preferred), "12025551202");
    assert_eq!(number(&reading.0.numbers.to), &CALLED[1..]);
}

#[test]
fn a_believed_identity_is_the_first_with_a_number() {
    let asserted = ("P-Asserted-Identity", "<sip:+12025551201@h>");
    let preferred = ("P-Preferred-Identity", "<sip:+12025551202@h>");
    let remote = ("Remote-Party-ID", "<sip:+12025551203@h>");
    for (headers, calling) in [
        (&[remote, preferred, asserted][..], "12025551201"),
        (&[remote, preferred], "12025551202"),
        (&[remote], "12025551203"),
        (&[("P-Asserted-Identity", "<sip:alice@h>"), remote, preferred], "12025551202"),
        (&[("P-Asserted-Identity", "<sip:alice@h>, <tel:+12025551204>"), preferred], "12025551204"),
        (&[("P-Asserted-Identity", "<sip:alice@h>"), ("P-Asserted-Identity", "<sip:bob@h>"), asserted], "12025551201"),
        (&[("P-Preferred-Identity", "<sip:alice@h>")], &CALLER[1..]),
        (&[("P-Asserted-Identity", "<urn:service:sos>")], &CALLER[1..]),
        (&[], &CALLER[1..]),
    ] {
        assert_eq!(number(&believed(call(headers)).has(&[]).0.numbers.calling), calling, "{headers:?}");
    }
}

#[test]
fn any_identity_is_all_of_them_whoever_sent_them() {
    let call = || {
        call(&[
            ("Remote-Party-ID", "<sip:+12025551203@h>;party=calling"),
            ("P-Asserted-Identity", "\"x\" <sip:alice@h>, <tel:+12025551201>, <sip:+12025551202@h>"),
            ("P-Asserted-Identity", "<sip:+12025551204@h>"),
            ("P-Preferred-Identity", "<sip:+12025551205@h>, <urn:service:sos>"),
            ("Remote-Party-ID", "<sip:+12025551206@h>"),
        ])
    };
    let expected =
        [&CALLER[1..], "12025551201", "12025551202", "12025551204", "12025551205", "aa", "12025551203", "12025551206"];
    identities(&message(call()).has(&[]), &expected);
    identities(&believed(call()).has(&[]), &expected);
    identities(&message(Message::invite().set("From", "<sip:alice@h>")), &[]);
}

#[test]
fn a_remote_party_that_is_called_is_not_the_caller() {
    for parameters in [";party=called", ";screen=yes;PARTY = Called;x", "\r\n ; party=called"] {
        let remote = format!("<sip:+12025551203@h>{parameters}");
        let reading =
            believed(call(&[("Remote-Party-ID", &remote), ("Remote-Party-ID", "<sip:+12025551204@h>")])).has(&[]);
        identities(&reading, &[&CALLER[1..], "12025551204"]);
        assert_eq!(number(&reading.0.numbers.calling), "12025551204");
    }
    for parameters in [";party=calling", ";party=calledx", ";xparty=called", ";party", " party=called"] {
        let remote = format!("<sip:+12025551203@h>{parameters}");
        identities(&believed(call(&[("Remote-Party-ID", &remote)])), &[&CALLER[1..], "12025551203"]);
    }
    // Each value has its own parameters, which are not those of its URI.
    let remote =
        "<sip:+12025551203@h>;party=called, <sip:+12025551204@h;party=called>, sip:+12025551205@h;party=called";
    identities(&message(call(&[("Remote-Party-ID", remote)])), &[&CALLER[1..], "12025551204"]);
}

#[test]
fn further_lines_are_kept_up_to_a_limit() {
    let lines = |further: usize| {
        let mut call = call(&[("Diversion", "<sip:a@h>"), ("P-Preferred-Identity", "<sip:a@h>")]);
        for _ in 0..=further {
            call = call.add("P-Asserted-Identity", "<sip:a@h>");
        }
        call
    };
    let last = ("P-Preferred-Identity", "<sip:+12025551201@h>");
    let reading = message(lines(31).add(last.0, last.1)).has(&[]);
    assert_eq!(number(&reading.0.numbers.preferred), "12025551201");
    let reading = message(lines(32).add(last.0, last.1)).has(&["duplicate-header", "malformed-header"]);
    assert_eq!(number(&reading.0.numbers.preferred), "");
    // A first line is always kept.
    let reading = message(lines(32).add("Remote-Party-ID", "<sip:+12025551203@h>")).has(&[]);
    identities(&reading, &[&CALLER[1..], "12025551203"]);
}

#[test]
fn the_called_number_is_to_s_if_the_request_uri_has_no_user_part() {
    let called = |line: &str, to: &str| {
        let reading = message(Message::invite().start_line(line).set("To", to));
        (number(&reading.0.numbers.called).to_owned(), reading.0.called_format.name())
    };
    let to = "<sip:+12025551201@h>";
    assert_eq!(called("INVITE sip:h:5060 SIP/2.0", to), ("12025551201".to_owned(), "valid"));
    assert_eq!(called("INVITE sip:+12025551202@h SIP/2.0", to), ("12025551202".to_owned(), "valid"));
    assert_eq!(called("INVITE sip:alice@h SIP/2.0", to), (String::new(), "not-a-number"));
    // Of URNs, those of emergency services say who is called.
    assert_eq!(called("INVITE urn:uuid:1 SIP/2.0", to), ("12025551201".to_owned(), "valid"));
    // FreeSWITCH calls the caller if nobody else is named.
    assert_eq!(called("INVITE sip:h SIP/2.0", "<sip:h>"), (CALLER[1..].to_owned(), "valid"));
    assert_eq!(called("OPTIONS sip:h SIP/2.0", "<sip:h>"), (String::new(), "missing"));
    assert_eq!(called("INVITE urn:service:sos SIP/2.0", to), ("aa".to_owned(), "valid"));
    assert_eq!(called("INVITE sip:h SIP/2.0", "<urn:service:sos>"), ("aa".to_owned(), "valid"));
    // To is the registered address.
    assert_eq!(called("REGISTER sip:h SIP/2.0", to), (String::new(), "missing"));
    // A response has no Request-URI.
    assert_eq!(called("SIP/2.0 200 OK", to), (String::new(), "missing"));
}

#[test]
fn the_called_number_of_a_policy_that_routes_by_to() {
    let called = |line: &str| {
        let to = if line.contains("1203") { "<sip:h>" } else { "<sip:+12025551201@h>" };
        let message = Message::invite().start_line(line).set("To", to);
        let mut policy = BUILT.with(Clone::clone);
        policy.numbering.called_from_to = true;
        let read = read_payload(&policy, &packet(Transport::Udp, STRANGER, &message.bytes()));
        number(&read.numbers.called).to_owned()
    };
    assert_eq!(called("INVITE sip:+12025551202@h SIP/2.0"), "12025551201");
    // There is no user part in this one's To.
    assert_eq!(called("INVITE sip:+12025551203@h SIP/2.0"), "12025551203");
    assert_eq!(called("INVITE urn:service:other SIP/2.0"), "12025551201");
    assert_eq!(called("INVITE urn:service:sos SIP/2.0"), "aa");
    assert_eq!(called("SIP/2.0 200 OK"), "");
    assert_eq!(called("REGISTER sip:h SIP/2.0"), "");
}

#[test]
fn the_forwarding_number_is_the_first_one() {
    let first = ("History-Info", "<sip:+12025551201@h>;index=1, <sip:+12025551202@h>;index=1.1");
    let last = ("History-Info", "<sip:+12025551203@h>;index=1.2");
    let nobody = ("Diversion", "<sip:anonymous@anonymous.invalid>;reason=unknown");
    for (headers, forwarded) in [
        (&[("Diversion", "<sip:+12025551204@h>, <sip:+12025551205@h>"), first][..], "12025551204"),
        (&[("Diversion", "<sip:anonymous@h>,<sip:+12025551205@h>"), first, last], "12025551205"),
        (&[nobody, ("Diversion", "<sip:+12025551205@h>"), first], "12025551205"),
        // The last entry is the call itself.
        (&[first, last], "12025551202"),
        (&[nobody, first, last], "12025551202"),
        (&[first], "12025551201"),
        (&[last], ""),
        (&[first, ("History-Info", "<sip:alice@h>"), last], "12025551202"),
        (&[nobody], ""),
        (&[("Diversion", "<urn:service:sos>")], "aa"),
        (&[("Diversion", "<urn:service:sos>, <sip:+12025551204@h>")], "12025551204"),
    ] {
        assert_eq!(number(&message(call(headers)).has(&[]).0.numbers.forwarded), forwarded, "{headers:?}");
    }
}

#[test]
fn privacy_does_not_hide_the_format() {
    let format = |value: &str, headers: &[(&str, &str)]| {
        let reading = message(call(headers).set("From", value));
        (number(&reading.0.numbers.calling).to_owned(), reading.0.calling_format.name())
    };
    let id = [("Privacy", "id")];
    assert_eq!(format("<sip:+12025551201@h>", &id), ("12025551201".to_owned(), "valid"));
    assert_eq!(format("<sip:+12025551201@anonymous.invalid>", &id), ("12025551201".to_owned(), "valid"));
    assert_eq!(format("<sip:+1202555@h>", &id).1, "too-short");
    assert_eq!(format("<sip:anonymous@anonymous.invalid>", &[]).1, "anonymous");
    assert_eq!(format("<sip:Unavailable@h>", &[]).1, "anonymous");
    assert_eq!(format("<sip:alice@anonymous.invalid>", &[]).1, "anonymous");
    assert_eq!(format("<sip:alice@h>", &id).1, "not-a-number");
    assert_eq!(format("<sip:anonymous.invalid>", &id).1, "missing");
    // The format is that of the identity that counts.
    let reading = believed(call(&[("P-Asserted-Identity", "<sip:+1202555@h>")]).set("From", "<sip:anonymous@h>"));
    assert_eq!(reading.0.calling_format.name(), "too-short");
    // Called numbers are never anonymous.
    assert_eq!(start("INVITE sip:anonymous@h SIP/2.0").0.called_format.name(), "not-a-number");
}

#[test]
fn privacy_values() {
    for (value, bits) in [
        ("id", privacy::ID),
        ("ID;critical", privacy::ID | privacy::CRITICAL),
        ("header , user;session", privacy::HEADER | privacy::USER | privacy::SESSION),
        (" \r\n\thistory ;\r\n id", privacy::HISTORY | privacy::ID),
        ("id x", privacy::ID),
        ("x id\tuser", privacy::ID | privacy::USER),
        ("none", 0),
        ("identity;xid;\"id\"", 0),
        ("", 0),
    ] {
        assert_eq!(message(call(&[("Privacy", value)])).has(&[]).0.privacy, bits, "{value:?}");
    }
    let many = format!("{}id", "x;".repeat(300));
    assert_eq!(message(call(&[("Privacy", &many)])).0.privacy, privacy::ID);
    assert_eq!(message(call(&[("Privacy", "user"), ("Privacy", "id")])).0.privacy, privacy::USER | privacy::ID);
}

#[test]
fn an_anonymous_uri_is_from_s_or_the_believed_identity_s() {
    assert_eq!(from("<sip:anonymous@h>").0.privacy, privacy::ANONYMOUS_URI);
    let hidden = || call(&[("P-Asserted-Identity", "<sip:+12025551201@anonymous.invalid>")]);
    assert_eq!(message(hidden()).0.privacy, 0);
    assert_eq!(believed(hidden()).0.privacy, privacy::ANONYMOUS_URI);
    let shown = call(&[("P-Asserted-Identity", "<sip:+12025551201@h>")]).set("From", "<sip:anonymous@h>");
    assert_eq!(believed(shown).0.privacy, privacy::ANONYMOUS_URI);
}

#[test]
fn the_tag_of_to() {
    let tag = |to: &str| message(Message::invite().set("To", to)).0.to_tag;
    for to in [
        "<sip:1@h>;tag=x",
        "<sip:1@h>;x=y;TAG=x",
        "<sip:1@h> ; tag = x",
        "<sip:1@h>\r\n ;tag=x",
        "\"a\" <sip:1@h>;tag=\"x\"",
        "sip:1@h;tag=x",
        "tel:1;tag=x",
        "sip:h;tag=a@b",
        "sip:1;x=y@h;tag=x",
        "<sip:1@h>;x=\"a\\\";\";tag=x",
    ] {
        assert!(tag(to), "{to:?}");
    }
    for to in [
        "<sip:1@h>",
        "<sip:1@h;tag=x>",
        "<sip:1@h;tag=x",
        "<sip:1@h>;x=\"a;tag=x\"",
        "<sip:1@h>;x=\"a\\\";tag=x\"",
        "sip:1;tag=x@h",
        "\";tag=x\" <sip:1@h>",
        "<sip:1@h>;tag",
        "<sip:1@h>;tag=",
        "<sip:1@h>;tag=;x=y",
        "<sip:1@h>;xtag=x",
        "<sip:1@h>;tagx=x",
        "<sip:1@h>;x tag=x",
    ] {
        assert!(!tag(to), "{to:?}");
    }
    let response = message(Message::response(200, "OK").set("To", "<sip:1@h>;tag=x"));
    assert!(response.0.to_tag);
}

#[test]
fn an_attestation_needs_a_whole_identity() {
    const CLAIM: &str = "x.eyJhdHRlc3QiOiJBIiwi.y";
    let attestation = |value: &str| message(call(&[("Identity", value)])).0.attestation.name();
    assert_eq!(attestation(&format!("{CLAIM};info=<https://a>")), "A");
    assert_eq!(attestation(&format!("{CLAIM} ; INFO = <https://a>")), "A");
    // Without the place of its certificate, no verifier can check it.
    for rest in [
        "",
        ";ppt=shaken",
        ";info",
        ";xinfo=x",
        ";info=",
        ";info=;x",
        ";info=<>",
        ";info=< >",
        ";info=\"\"",
        ";info=\" \"",
    ] {
        assert_eq!(attestation(&format!("{CLAIM}{rest}")), "unknown", "{rest}");
    }
    let start = format!("INVITE sip:1@h SIP/2.0\r\nIdentity: {CLAIM};info=<https://a>");
    assert_eq!(udp(format!("{start}\r\n\r\n")).0.attestation.name(), "A");
    for end in ["", "\r\n"] {
        assert_eq!(udp(format!("{start}{end}")).0.attestation.name(), "unknown");
        assert_eq!(first_fragment(&format!("{start}{end}")).0.attestation.name(), "truncated");
    }
    // The first claim counts, wherever it is.
    let values = [("Identity", "x.y.z;info=<https://a>"), ("y", "x.eyJhdHRlc3QiOiJCIiwi.y;info=x"), ("y", CLAIM)];
    assert_eq!(message(call(&values)).0.attestation.name(), "B");
}

#[test]
fn passports() {
    const CLAIM: &str = "eyJhbGciOiJFUzI1NiJ9.eyJhdHRlc3QiOiJBIiwiZGVzdCI6e30.sig";
    const OTHER: &str = "eyJhbGciOiJFUzI1NiJ9.eyJkZXN0Ijp7InRuIjpbXX0.sig";
    for (values, bits) in [
        (&[(CLAIM, ";ppt=shaken")][..], passport::SHAKEN),
        (&[(CLAIM, ";info=<https://a>;alg=ES256;PPT = \"Shaken\" ;x")], passport::SHAKEN),
        (&[(CLAIM, ";info=<https://a>\r\n ; ppt\r\n = div")], passport::DIV),
        (&[(OTHER, ";ppt=\"rph\"")], passport::RPH),
        (&[(OTHER, ";ppt=msgi")], passport::OTHER),
        (&[(OTHER, ";ppt=shakenx")], passport::OTHER),
        (&[(OTHER, ";ppt=")], passport::OTHER),
        // The first counts.
        (&[(OTHER, ";ppt=div;ppt=shaken")], passport::DIV),
        (&[(CLAIM, ";ppt=x;ppt=shaken")], passport::OTHER),
        // Without one, a claim makes a SHAKEN PASSporT.
        (&[(CLAIM, ";info=<https://a>")], passport::SHAKEN),
        (&[(CLAIM, ";info=<https://a>;xppt=div")], passport::SHAKEN),
        (&[(CLAIM, "")], passport::OTHER),
        (&[(OTHER, ";info=<https://a>")], passport::OTHER),
        (&[("", "")], passport::OTHER),
        (
            &[(OTHER, ";ppt=div"), (CLAIM, ";ppt=shaken"), (OTHER, "")],
            passport::DIV | passport::SHAKEN | passport::OTHER,
        ),
        (&[], 0),
    ] {
        let call = values
            .iter()
            .fold(Message::invite(), |call, (token, rest)| call.add("Identity", &format!("{token}{rest}")));
        assert_eq!(message(call).0.passports, bits, "{values:?}");
    }
}
