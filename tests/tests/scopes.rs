//! Every scope of the policy language, in both hosts: packets for which a condition on it holds, and packets for which its
//! negation holds. No scope may be missing.

use std::collections::BTreeMap;

use filter_core::reason::Reason;
use filter_policy::{engine::Engine, language::scope::SCOPES};
use ringfence_hosts::{Hosts, policy};
use ringfence_tests::{message::Message, packet::Packet};
use serde_json::Value;

/// The policy without its rules.
const BASE: &str = r#"version = 1
default = "pass"

[network]
udp = [5060, 5070]
tcp = [5060]
tls = [5061]

[numbering]
country_code = "1"
international_prefix = "011"
neighbor_digits = 7
asserted_identity_from = ["192.0.2.10"]
ranges = "ranges.csv"

[sets.carrier]
addresses = ["192.0.2.10", "2001:db8:a::/64"]
label = "carrier-a"

[sets.scored]
numbers = "scored.csv"

[[upstream]]
name = "one"
kind = "customer"
trunks = ["192.0.2.20", "2001:db8:20::/48"]
rmd = "RMD0001410"
callers = ["1605562", "16055640100$", "988$"]

[[upstream]]
name = "two"
kind = "gateway"
trunks = "192.0.2.21"

[[upstream]]
name = "three"
trunks = "192.0.2.22"
callers = "4420"

[[upstream]]
name = "four"
kind = "carrier"
trunks = "@carrier"
"#;

const RANGES: &str = "prefix,country,region,ocn,assigned\n\
                      1605562,US,US-SD,6529,yes\n\
                      1605563,US,US-SD,,no\n\
                      1312555,US,US-IL,9206,yes\n\
                      4930,DE,DE-BE,,yes\n";

const SCORED: &str = "number,score\n16055620,90\n160556201,40\n160556300,40\n";

/// An Identity value that claims A, B or C: in base64url, the payload's sixteenth character is B, C or D.
fn identity(letter: char) -> String {
    format!(
        "eyJhbGciOiJFUzI1NiJ9.eyJhdHRlc3QiOiJ{letter}IiwiZGVzdCI6e30.c2ln;info=<https://c.example/p.cer>;ppt=shaken"
    )
}

fn call() -> Message {
    Message::invite()
}

fn from(user: &str) -> Packet {
    Packet::udp(call().calling(user))
}

fn to(user: &str) -> Packet {
    Packet::udp(call().called(user))
}

fn diverted_by(user: &str) -> Packet {
    Packet::udp(call().add("Diversion", &format!("<sip:{user}@h>;reason=unconditional")))
}

fn with(name: &str, value: &str) -> Packet {
    Packet::udp(call().add(name, value))
}

fn setting(name: &str, value: &str) -> Packet {
    Packet::udp(call().set(name, value))
}

fn signed(letter: char) -> Packet {
    with("Identity", &identity(letter))
}

fn text(body: &str) -> Packet {
    Packet::udp(Message::request("MESSAGE").body("text/plain", body))
}

fn session(name: &str) -> Packet {
    Packet::udp(call().body("application/sdp", format!("v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns={name}\r\nt=0 0\r\n")))
}

/// A scope, the values of a condition on it in the policy's syntax, and packets for which the condition does and does not hold.
type Row = (&'static str, &'static str, Vec<Packet>, Vec<Packet>);

fn addresses() -> Vec<Row> {
    let call = || Packet::udp(call());
    vec![
        (
            "source",
            r#"["198.51.100.0/25", "203.0.113.7", "2001:db8:bad::/48"]"#,
            vec![call().from("198.51.100.127"), call().from("203.0.113.7"), call().from("2001:db8:bad:1::9")],
            vec![call().from("198.51.100.128"), call().from("203.0.113.8"), call().from("2001:db8:bae::1")],
        ),
        (
            "destination",
            r#"["192.0.2.99", "2001:db8:99::/48"]"#,
            vec![call().to("192.0.2.99"), call().over_ipv6().to("2001:db8:99::1")],
            vec![call().to("192.0.2.98"), call().over_ipv6().to("2001:db8:98::1")],
        ),
        (
            "transport",
            r#"["tcp", "tls"]"#,
            vec![Packet::tcp(Message::invite()), Packet::tcp([0x16, 3, 1, 0, 5]).to_port(5061)],
            vec![call()],
        ),
        ("port", "[5070, 5061]", vec![call().to_port(5070), Packet::tcp([0x16, 3, 1]).to_port(5061)], vec![call()]),
        (
            "upstream",
            r#""carrier-a""#,
            vec![call().from("192.0.2.10"), call().from("2001:db8:a::7")],
            vec![call(), call().over_ipv6()],
        ),
        (
            "upstream",
            r#"["one", "four"]"#,
            vec![call().from("192.0.2.20"), call().from("2001:db8:20::7"), call().from("192.0.2.10")],
            vec![call(), call().from("192.0.2.21"), call().over_ipv6()],
        ),
        (
            "upstream_kind",
            r#"["customer", "gateway"]"#,
            vec![call().from("192.0.2.20"), call().from("192.0.2.21")],
            vec![call(), call().from("192.0.2.22"), call().from("192.0.2.10")],
        ),
        ("upstream_rmd", r#""filed""#, vec![call().from("192.0.2.20")], vec![call(), call().from("192.0.2.21")]),
        ("upstream_rmd", r#""RMD0001410""#, vec![call().from("192.0.2.20")], vec![call(), call().from("192.0.2.21")]),
        (
            "upstream_rmd",
            r#""none""#,
            vec![call().from("192.0.2.21"), call().from("192.0.2.10")],
            vec![call(), call().from("192.0.2.20")],
        ),
    ]
}

fn numbers() -> Vec<Row> {
    let asserted = |user: &str| with("P-Asserted-Identity", &format!("<sip:{user}@h>"));
    let preferred = |user: &str| with("P-Preferred-Identity", &format!("<sip:{user}@h>"));
    let remote_party = |value: &str| with("Remote-Party-ID", value);
    vec![
        (
            "calling",
            r#"["1605562", "4930123$", "911$"]"#,
            vec![from("+16055620123"), from("6055629999"), from("+4930123"), from("911"), from("011-49-30123")],
            vec![from("+16055630123"), from("+49301234"), from("9115"), from("alice")],
        ),
        (
            "called",
            r#""1605562""#,
            vec![to("+16055620123"), to("6055620123"), to("%2B16055620123")],
            vec![to("+16055610123"), to("bob"), from("+16055620123")],
        ),
        (
            "forwarded",
            r#""1605562""#,
            vec![
                diverted_by("+16055620123"),
                Packet::udp(
                    call()
                        .add("History-Info", "<sip:+16055620123@h>;index=1")
                        .add("History-Info", "<sip:+12125553456@h>;index=1.1"),
                ),
            ],
            vec![diverted_by("+16055630123"), from("+16055620123"), to("+16055620123")],
        ),
        (
            "from_number",
            r#""1605562""#,
            vec![
                from("+16055620123"),
                Packet::udp(call().calling("+16055620123").add("P-Asserted-Identity", "<sip:+14155550000@h>"))
                    .from("192.0.2.10"),
            ],
            vec![from("+16055630123"), asserted("+16055620123")],
        ),
        (
            "asserted_number",
            r#""1605562""#,
            vec![asserted("+16055620123"), asserted("+16055620123").from("192.0.2.10")],
            vec![asserted("+16055630123"), from("+16055620123")],
        ),
        (
            "preferred_number",
            r#""1605562""#,
            vec![preferred("+16055620123"), with("P-Preferred-Identity", "<sip:alice@h>, <tel:+1-605-562-0123>")],
            vec![preferred("+16055630123"), from("+16055620123"), asserted("+16055620123")],
        ),
        (
            "to_number",
            r#"["1605562", "911$"]"#,
            vec![setting("To", "<sip:+16055620123@h>"), setting("To", "<tel:911>;tag=1")],
            vec![
                setting("To", "<sip:9115@h>"),
                setting("To", "<sip:h>"),
                Packet::udp(call().request_uri("sip:+16055620123@h")),
                from("+16055620123"),
            ],
        ),
        (
            "any_identity",
            r#"["1605562", "4930123$"]"#,
            vec![
                from("+16055620123"),
                from("+4930123"),
                asserted("+16055620123"),
                asserted("+16055620123").from("192.0.2.10"),
                preferred("6055620123"),
                remote_party("<sip:+16055620123@h>;party=calling"),
                remote_party("<sip:+16055620123@h>"),
                with("P-Asserted-Identity", "<sip:+16055610000@h>, <tel:+16055620123>"),
                Packet::udp(
                    call()
                        .add("P-Asserted-Identity", "<sip:+16055610000@h>")
                        .add("P-Asserted-Identity", "<sip:+16055610001@h>, <sip:alice@h>, <sip:+16055620123@h>"),
                ),
                Packet::udp(call().calling("+16055620123").add("P-Asserted-Identity", "<sip:+14155550000@h>"))
                    .from("192.0.2.10"),
            ],
            vec![
                Packet::udp(call()),
                from("alice"),
                from("+49301234"),
                remote_party("<sip:+16055620123@h>;party=called"),
                to("+16055620123"),
                diverted_by("+16055620123"),
            ],
        ),
        (
            "calling_country",
            r#"["GB", "CA"]"#,
            vec![from("+442079460123"), from("+14165550123"), from("011442079460123")],
            vec![from("+14155552671"), from("+33123456789"), from("2000")],
        ),
        ("called_country", r#""CU""#, vec![to("+5378881234"), to("0115378881234")], vec![to("+12125553456"), to("53")]),
        (
            "forwarded_country",
            r#""GB""#,
            vec![diverted_by("+442079460123")],
            vec![diverted_by("+33123456789"), from("+442079460123"), to("+442079460123")],
        ),
        (
            "calling_region",
            r#"["US-SD", "DE-BE"]"#,
            vec![from("+16052250100"), from("+4930123456")],
            vec![from("+15152440100"), from("+4989123456")],
        ),
        ("called_region", r#""US-IA""#, vec![to("+15152440100")], vec![to("+16052250100"), from("+15152440100")]),
        (
            "forwarded_region",
            r#""US-MN""#,
            vec![diverted_by("+16123330100")],
            vec![diverted_by("+16052250100"), from("+16123330100"), to("+16123330100")],
        ),
        (
            "calling_spid",
            r#"["6529", "0001"]"#,
            vec![from("+16055620123")],
            vec![from("+13125550123"), from("+16055610123")],
        ),
        ("called_spid", r#""6529""#, vec![to("+16055620123")], vec![to("+13125550123"), from("+16055620123")]),
        (
            "forwarded_spid",
            r#""9206""#,
            vec![diverted_by("+13125550123")],
            vec![diverted_by("+16055620123"), from("+13125550123"), to("+13125550123")],
        ),
        (
            "calling_reputation",
            r#"">= 80""#,
            // If several entries contain the number, the highest score counts.
            vec![from("+16055620999"), from("6055620124")],
            vec![from("+16055630023"), from("+14155552671"), from("alice")],
        ),
        (
            "caller_allowed",
            "true",
            vec![
                from("+16055620123").from("192.0.2.20"),
                from("6055620123").from("2001:db8:20::1"),
                from("+16055640100").from("192.0.2.20"),
                from("988").from("192.0.2.20"),
                from("+442079460123").from("192.0.2.22"),
            ],
            vec![
                from("+16055630123").from("192.0.2.20"),
                from("+16055620123").from("192.0.2.22"),
                from("+442079460123").from("192.0.2.20"),
                from("alice").from("192.0.2.20"),
                // The identity of a source that is not believed does not count.
                Packet::udp(call().calling("+16055630123").add("P-Asserted-Identity", "<sip:+16055620123@h>"))
                    .from("192.0.2.20"),
            ],
        ),
        (
            "neighbor",
            "true",
            vec![Packet::udp(call().calling("+13125550001").called("+13125559999"))],
            vec![Packet::udp(call().calling("+13125560001").called("+13125559999")), from("alice")],
        ),
    ]
}

/// Each format of a number, for the calling and for the called number.
fn formats() -> Vec<Row> {
    let each: [(&str, &str, &str); 9] = [
        ("valid", "+14155552671", "alice"),
        ("not-a-number", "alice", "+14155552671"),
        ("too-short", "+1415555267", "+14155552671"),
        ("too-long", "+141555526711", "+14155552671"),
        ("unassigned-country-code", "+9995552671", "+14155552671"),
        ("invalid-area-code", "+15925552671", "+14155552671"),
        ("unassigned-area-code", "+12325552671", "+14155552671"),
        ("unassigned-block", "+16055632671", "+16055622671"),
        ("fictional", "+14155550123", "+14155552671"),
    ];
    let no_user = || setting("From", "<sip:carrier.example.com>;tag=1");
    let anonymous = || setting("From", "\"Anonymous\" <sip:anonymous@anonymous.invalid>;tag=1");
    let mut rows: Vec<Row> = vec![
        ("calling_format", r#""missing""#, vec![no_user()], vec![from("+14155552671"), anonymous()]),
        (
            "calling_format",
            r#""anonymous""#,
            vec![anonymous(), from("Restricted"), from("%61nonymous")],
            vec![
                from("+14155552671"),
                with("Privacy", "id"),
                setting("From", "<sip:+14155552671@anonymous.invalid>"),
                no_user(),
            ],
        ),
        (
            "called_format",
            r#""missing""#,
            vec![Packet::udp(call().request_uri("sip:h").set("To", "<sip:h>").set("From", "<sip:h>;tag=1"))],
            vec![to("+14155552671"), Packet::udp(call().request_uri("sip:h"))],
        ),
    ];
    for (format, has, has_not) in each {
        let values: &'static str = format!("{format:?}").leak();
        rows.push(("calling_format", values, vec![from(has)], vec![from(has_not)]));
        rows.push(("called_format", values, vec![to(has)], vec![to(has_not)]));
    }
    rows
}

fn signatures() -> Vec<Row> {
    let verified = |value: &str| setting("From", &format!("<sip:+14155552671;verstat={value}@h>;tag=1"));
    vec![
        ("attestation", r#""A""#, vec![signed('B')], vec![signed('C'), signed('D'), Packet::udp(call())]),
        ("attestation", r#"["B", "C"]"#, vec![signed('C'), signed('D')], vec![signed('B'), with("Identity", "x.y.z")]),
        ("attestation", r#""none""#, vec![Packet::udp(call())], vec![signed('B'), with("y", "x.y.z")]),
        (
            "attestation",
            r#""unknown""#,
            vec![with("Identity", "x..z"), with("y", "x.y.z")],
            vec![signed('D'), Packet::udp(call())],
        ),
        (
            "verstat",
            r#""TN-Validation-Failed""#,
            vec![verified("TN-Validation-Failed"), verified("TN-Validation-Failed-B")],
            vec![verified("TN-Validation-Passed-A"), verified("No-TN-Validation"), Packet::udp(call())],
        ),
    ]
}

/// What the caller withholds, and where the message belongs.
fn circumstances() -> Vec<Row> {
    let call = || Packet::udp(call());
    let privacy = |value: &str| with("Privacy", value);
    let anonymous = || setting("From", "\"Anonymous\" <sip:anonymous@anonymous.invalid>;tag=1");
    let pass = |ppt: &str| with("Identity", &format!("a.b.c;info=<https://c.example/p.cer>;alg=ES256{ppt}"));
    let stun = [&b"\0\x01\0\0\x21\x12\xa4\x42"[..], &[7; 12]].concat();
    vec![
        (
            "calling_privacy",
            r#""none""#,
            vec![call(), privacy("none"), privacy("critical")],
            vec![privacy("id"), privacy("session;critical"), anonymous()],
        ),
        (
            "calling_privacy",
            r#"["id", "header"]"#,
            vec![privacy("id"), privacy("critical; ID"), privacy("user, header")],
            vec![call(), privacy("session"), privacy("ide"), privacy("none"), anonymous()],
        ),
        (
            "calling_privacy",
            r#""anonymous-uri""#,
            vec![
                anonymous(),
                from("Restricted"),
                with("P-Asserted-Identity", "<sip:+16055620123@anonymous.invalid>").from("192.0.2.10"),
            ],
            vec![
                call(),
                privacy("id"),
                setting("From", "\"anonymous\" <sip:+14155552671@h>;tag=1"),
                with("P-Asserted-Identity", "<sip:+16055620123@anonymous.invalid>"),
            ],
        ),
        ("calling_privacy", r#"["session", "user"]"#, vec![privacy("session"), privacy("user")], vec![privacy("id")]),
        ("calling_privacy", r#""history""#, vec![privacy("history")], vec![privacy("header")]),
        ("calling_privacy", r#""critical""#, vec![privacy("id;critical")], vec![call(), privacy("id")]),
        ("passport", r#""none""#, vec![call()], vec![signed('B'), pass("")]),
        ("passport", r#""shaken""#, vec![signed('B'), pass(";ppt=SHAKEN")], vec![call(), pass(";ppt=div"), pass("")]),
        (
            "passport",
            r#"["div", "rph"]"#,
            vec![
                pass(";ppt=\"div\""),
                pass(";ppt=rph"),
                Packet::udp(self::call().add("Identity", &identity('B')).add("y", "a.b.c;info=<https://c>;ppt=div")),
            ],
            vec![call(), signed('B'), pass(";ppt=div-o")],
        ),
        ("passport", r#""other""#, vec![pass(""), pass(";ppt=div-o")], vec![call(), signed('B'), pass(";ppt=rph")]),
        (
            "dialog",
            r#""within""#,
            vec![
                setting("To", "<sip:+12125553456@h>;tag=2"),
                setting("To", "sip:+12125553456@h ; x=y; Tag = 2"),
                Packet::udp(Message::response(200, "OK").set("To", "<sip:1@h>;tag=2")),
            ],
            vec![
                call(),
                setting("To", "<sip:+12125553456@h;tag=2>"),
                setting("To", "\";tag=2\" <sip:+12125553456@h>"),
                Packet::udp(Message::response(100, "Trying")),
            ],
        ),
        ("dialog", r#""initial""#, vec![call()], vec![setting("To", "<sip:+12125553456@h>;tag=2")]),
        (
            "payload",
            r#"["sip", "stun"]"#,
            vec![call(), Packet::udp(Message::response(200, "OK")), Packet::udp(stun), Packet::tcp(Message::invite())],
            vec![Packet::udp("\r\n\r\n"), Packet::udp("hello"), Packet::tcp("\r\n\r\n")],
        ),
        (
            "payload",
            r#""keep-alive""#,
            vec![Packet::udp("\r\n\r\n"), Packet::udp([0; 4]), Packet::tcp("\r\n\r\n")],
            vec![call(), Packet::udp("hello")],
        ),
        (
            "payload",
            r#""other""#,
            vec![Packet::udp("hello"), Packet::udp([0x80; 12])],
            vec![call(), Packet::udp("\r\n")],
        ),
    ]
}

fn texts() -> Vec<Row> {
    let scanner = r#"["^friendly-scanner", "sip(vicious|cli)"]"#;
    let server = Packet::udp(Message::response(200, "OK").without("User-Agent").add("Server", "sipcli/1.8"));
    let response = || Message::response(200, "OK");
    vec![
        (
            "user_agent",
            scanner,
            vec![setting("User-Agent", "Friendly-Scanner"), setting("User-Agent", "x SIPVicious"), server],
            vec![setting("User-Agent", "a friendly-scanner"), Packet::udp(call().without("User-Agent"))],
        ),
        ("body", r#""free +money""#, vec![text("get FREE  money now")], vec![text("freemoney"), text("")]),
        (
            "header.call-id",
            r#""^sip-scan""#,
            vec![setting("Call-ID", "sip-scan-1@h")],
            vec![setting("Call-ID", "x-sip-scan")],
        ),
        (
            "header.contact",
            r#""nm@nm""#,
            vec![setting("Contact", "<sip:nm@nm>")],
            vec![setting("Contact", "<sip:mn@nm>")],
        ),
        (
            "header.contact-host",
            r#""^198[.]51[.]100[.]7([:;>]|$)""#,
            vec![
                setting("Contact", "<sip:1@198.51.100.7:5070;transport=tcp>"),
                setting("Contact", "\"<sip:1@h>\" <sip:198.51.100.7>, <sip:1@h>"),
                setting("Contact", "sip:1@198.51.100.7;expires=60"),
            ],
            vec![
                setting("Contact", "<sip:198.51.100.7@h>"),
                setting("Contact", "<sip:1@h>, <sip:1@198.51.100.7>"),
                setting("Contact", "*"),
                Packet::udp(call().without("Contact")),
                from("198.51.100.7"),
            ],
        ),
        (
            "header.from-display",
            r#""^sipvicious$""#,
            vec![setting("From", "\"sipvicious\" <sip:1@h>;tag=1"), setting("From", "sipvicious <sip:1@h>;tag=1")],
            vec![setting("From", "\"a sipvicious\" <sip:1@h>;tag=1"), setting("From", "<sip:sipvicious@h>;tag=1")],
        ),
        (
            "header.from-host",
            r#""^1[.]1[.]1[.]1""#,
            vec![setting("From", "<sip:1@1.1.1.1>;tag=1")],
            vec![from("1.1.1.1")],
        ),
        ("header.from-user", r#""%27""#, vec![from("1%27or")], vec![from("1or"), to("1%27or")]),
        (
            "header.request-host",
            r#""maddr=""#,
            vec![Packet::udp(call().request_uri("sip:1@h;maddr=10.0.0.1"))],
            vec![to("maddr=")],
        ),
        ("header.request-user", r#""%27""#, vec![to("1%27or")], vec![to("1or"), from("1%27or")]),
        ("header.sdp-session", r#""^sipsak""#, vec![session("sipsak 1")], vec![session("call"), Packet::udp(call())]),
        (
            "header.server",
            r#""evil""#,
            vec![Packet::udp(response().add("Server", "evil/1"))],
            vec![Packet::udp(response()), Packet::udp(response().add("Server", "good"))],
        ),
        (
            "header.subject",
            r#""lottery""#,
            vec![with("Subject", "The Lottery"), with("s", "lottery")],
            vec![with("Subject", "x")],
        ),
        (
            "header.to-user",
            r#""^sipvicious$""#,
            vec![setting("To", "<sip:sipvicious@h>")],
            vec![setting("To", "<sip:1@sipvicious>"), Packet::udp(call().request_uri("sip:sipvicious@h"))],
        ),
        (
            "header.via",
            r#""branch=z9hG4bK-0{8}""#,
            vec![setting("Via", "SIP/2.0/UDP h;branch=z9hG4bK-00000000")],
            vec![with("Via", "SIP/2.0/UDP h;branch=z9hG4bK-00000000")],
        ),
        (
            "method",
            r#"["OPTIONS", "response"]"#,
            vec![Packet::udp(Message::request("OPTIONS")), Packet::udp(response())],
            vec![Packet::udp(call()), Packet::udp(Message::request("OPTION"))],
        ),
        ("method", r#""other""#, vec![Packet::udp(Message::request("OPTION"))], vec![Packet::udp(call())]),
        (
            "anomaly",
            r#"["duplicate-header", "unsupported-version"]"#,
            vec![with("From", "<sip:2@h>;tag=2"), Packet::udp(call().start_line("INVITE sip:1@h SIP/3.0"))],
            vec![Packet::udp(call())],
        ),
    ]
}

/// Headers that have no scope of their own.
fn named_headers() -> Vec<Row> {
    let call = || Packet::udp(call());
    let two = |name: &str, first: &str, second: &str| Packet::udp(self::call().add(name, first).add(name, second));
    vec![
        (
            "header.x-tenant",
            r#""^acme$""#,
            vec![with("X-Tenant", "acme"), with("x-TENANT \t", "acme\r\n "), with("X-Tenant\r\n ", "acme")],
            vec![
                call(),
                with("X-Tenant-Id", "acme"),
                with("X-Tenan", "acme"),
                with("x", "acme"),
                with("Subject", "acme"),
            ],
        ),
        (
            "header.X-T",
            r#""acme""#,
            vec![with("x-t", "acme"), with("X-T", "acme\r\n x-tenant: other")],
            vec![call(), with("x-tenant", "acme"), with("x-", "acme")],
        ),
        (
            "header.refer-to",
            r#""<sip:900""#,
            vec![with("Refer-To", "<sip:9001@h>"), with("r", "<sip:9001@h>"), with("R ", "<sip:9001@h>")],
            vec![call(), with("Referred-By", "<sip:9001@h>"), with("b", "<sip:9001@h>"), with("rr", "<sip:9001@h>")],
        ),
        (
            "header.supported",
            r#""100rel""#,
            vec![with("Supported", "timer, 100rel"), with("k", "100rel"), two("Supported", "100rel", "timer")],
            vec![call(), with("Require", "100rel"), two("Supported", "timer", "100rel")],
        ),
        (
            "header.diversion",
            r#""reason=unconditional""#,
            vec![diverted_by("1")],
            vec![call(), with("Diversion", "<sip:1@h>;reason=user-busy")],
        ),
        (
            "header.from",
            r#""tag=scan""#,
            vec![
                setting("From", "<sip:1@h>;tag=scan"),
                Packet::udp(self::call().rename("From", "f").set("f", "<sip:1@h>;tag=scan")),
            ],
            vec![call(), with("X", "tag=scan")],
        ),
        (
            "header.x-a-name-of-forty-characters-no-more--xx",
            r#""acme""#,
            vec![with("X-A-Name-Of-Forty-Characters-No-More--XX", "acme")],
            vec![
                with("X-A-Name-Of-Forty-Characters-No-More--XXX", "acme"),
                with("X-A-Name-Of-Forty-Characters-No-More--X", "acme"),
            ],
        ),
    ]
}

fn rows() -> Vec<Row> {
    [addresses(), numbers(), formats(), signatures(), circumstances(), texts(), named_headers()].concat()
}

#[test]
fn a_condition_on_each_scope_holds_when_it_should_and_its_negation_otherwise() {
    let rows = rows();
    let mut text = BASE.to_owned();
    for (index, (scope, values, ..)) in rows.iter().enumerate() {
        for not in ["", "not."] {
            text += &format!("\n[[rule]]\nname = \"{index}-{not}{scope}\"\nmatch = {{ {not}{scope} = {values} }}\n");
            text += "action = \"drop\"\nmode = \"report\"\n";
        }
    }
    let mut built = policy::files(&[("policy.toml", &text), ("ranges.csv", RANGES), ("scored.csv", SCORED)]);
    // A counter for each rule, as when the filter is installed.
    for (slot, rule) in (0..).zip(&mut built.image.rules) {
        rule.slot = slot;
    }
    let mut hosts = Hosts::new(&built.image).expect("the program loads");
    let mut wrong = Vec::new();
    for (index, (scope, values, holding, others)) in rows.iter().enumerate() {
        let names = [format!("{index}-{scope}"), format!("{index}-not.{scope}")];
        for (packets, expected) in [(holding, [true, false]), (others, [false, true])] {
            for packet in packets {
                let frame = packet.frame();
                let matched = hosts.matched(&frame).unwrap_or_else(|error| panic!("{scope}: {error:#}"));
                let found = names.each_ref().map(|name| matched.contains(&name.as_str()));
                if found != expected {
                    let payload = String::from_utf8_lossy(&frame[packet.payload_offset()..]).into_owned();
                    wrong
                        .push(format!("{scope} = {values} (and its negation): {found:?}, not {expected:?}\n{payload}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_scope_has_a_packet_that_matches_and_one_that_does_not() {
    let mut tested: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for (scope, _, holding, others) in rows() {
        let counts = tested.entry(scope).or_default();
        *counts = (counts.0 + holding.len(), counts.1 + others.len());
    }
    for (scope, ..) in SCOPES {
        let (holding, others) = tested.remove(scope).unwrap_or_default();
        assert!(holding > 0 && others > 0, "{scope} has {holding} packets that match and {others} that do not");
    }
    for (scope, ..) in named_headers() {
        let (holding, others) = tested.remove(scope).unwrap_or_default();
        assert!(holding > 0 && others > 0, "{scope} has {holding} packets that match and {others} that do not");
    }
    assert!(tested.is_empty(), "not scopes of the language: {tested:?}");
}

/// Where a segment is the rest of a message, encrypted or empty, nothing can be said about its payload.
#[test]
fn neither_a_condition_on_the_payload_nor_its_negation_holds_for_what_cannot_be_read() {
    let mut text = "version = 1\n[network]\nudp = [5060]\ntcp = [5060]\ntls = [5061]\n".to_owned();
    for condition in ["payload", "not.payload"] {
        text += &format!(
            "[[rule]]\nname = \"{condition}\"\nmatch.{condition} = \"stun\"\naction = \"drop\"\nmode = \"report\"\n"
        );
    }
    let mut built = policy::text(&text);
    for (slot, rule) in (0..).zip(&mut built.image.rules) {
        rule.slot = slot;
    }
    let mut hosts = Hosts::new(&built.image).expect("the program loads");
    let packets = [
        Packet::udp(Vec::new()),
        Packet::tcp(Vec::new()),
        Packet::tcp("c=IN IP4 192.0.2.1\r\n"),
        Packet::tcp([0x16, 3, 1, 0, 5]).to_port(5061),
    ];
    for packet in packets {
        let matched = hosts.matched(&packet.frame()).expect("both hosts agree");
        assert!(matched.is_empty(), "{matched:?}");
    }
}

/// Values that could not be read are missing: they are not those of the previous packet.
#[test]
fn a_reading_shows_nothing_of_the_previous_packet() {
    let built = policy::text(
        "version = 1\n[network]\nudp = [5060, 5070]\ntls = [5061]\n\
         [[rule]]\nname = \"calls\"\nmatch.method = \"INVITE\"\naction = \"continue\"\n",
    );
    let mut engine = Engine::new(&built.image);
    let mut shown = |packet: Packet| {
        let reason = engine.decide(&packet.frame()).reason;
        let scopes = engine.reading().scopes();
        (reason, ["source", "transport", "port", "method"].map(|name| scopes[name].clone()))
    };
    let other = || Packet::udp(call()).from("198.51.100.7").to_port(5070);
    let values = |source: Value, transport: Value, port: Value, method: Value| [source, transport, port, method];
    let none = || Value::Null;
    let call = Packet::udp(call()).from("192.0.2.66");
    let whole = values("192.0.2.66".into(), "udp".into(), 5060.into(), "INVITE".into());
    assert_eq!(shown(call.clone()), (Reason::DefaultPass, whole));
    let malformed = values("198.51.100.7".into(), "udp".into(), 5070.into(), none());
    assert_eq!(shown(other().claim_udp_length(7)), (Reason::UdpMalformed, malformed));
    let tls = Packet::tcp(Vec::new()).from("198.51.100.8").to_port(5061).claim_tcp_header_words(4);
    let malformed = values("198.51.100.8".into(), "tls".into(), 5061.into(), none());
    assert_eq!(shown(tls), (Reason::TcpMalformed, malformed));
    let malformed = values("192.0.2.66".into(), none(), none(), none());
    assert_eq!(shown(call.claim_ip_length(19)), (Reason::Ipv4Malformed, malformed));
}
