//! Upstreams of a policy in both hosts: caps on their calls, limits that are counted by upstream, and the numbers that they may call from.

use filter_core::reason::Reason;
use ringfence_hosts::{Hosts, policy};
use ringfence_tests::{
    message::{CALLED, Message},
    packet::Packet,
};

/// Two trunks of one upstream, the only one of another, one with a label, and two that are nobody's.
const SOURCES: &str = "[network]\nudp = [5060]\ntcp = [5060]\n[numbering]\ncountry_code = \"1\"\n\
                       asserted_identity_from = \"192.0.2.4\"\n\
                       [sets.labelled]\naddresses = [\"192.0.2.5\", \"2001:db8:5::/48\"]\nlabel = \"beta\"\n\
                       [[upstream]]\nname = \"acme\"\ntrunks = [\"192.0.2.1\", \"2001:db8:1::/48\"]\n\
                       callers = [\"1605562\", \"16055630100$\"]\n";

fn call(id: u32, source: &str) -> Packet {
    call_to(CALLED, id, source)
}

fn call_to(called: &str, id: u32, source: &str) -> Packet {
    Packet::udp(Message::invite().called(called).set("Call-ID", &format!("call-{id}@example.net"))).from(source)
}

#[test]
fn a_cap_holds_for_all_trunks_together_and_only_for_what_it_says() {
    let text = format!(
        "version = 1\n{SOURCES}caps = [{{ calls_per_day = 3, mode = \"enforce\" }}, {{ rate = \"2/d\" }}]\n\
         [[upstream]]\nname = \"other\"\ntrunks = \"192.0.2.4\"\ncaps = {{ calls_per_day = 1, mode = \"enforce\" }}\n"
    );
    let built = policy::text(&text);
    let mut hosts = Hosts::new(&built.image).expect("the program loads");
    let mut matched = |packet: Packet| hosts.matched(&packet.frame()).expect("both hosts agree");
    let (day, rate) = ("upstream:acme:calls-per-day", "upstream:acme:rate");
    // It comes first: it is not even counted.
    assert!(matched(call_to("911", 90, "192.0.2.1")).is_empty());
    for (id, source, expected) in [
        (1, "192.0.2.1", &[][..]),
        (2, "2001:db8:1::7", &[]),
        // In report mode: it passes.
        (3, "192.0.2.1", &[rate]),
        (4, "2001:db8:1:2::1", &[day]),
        // A copy of the first one, and one of the call that was over the cap.
        (1, "192.0.2.1", &[]),
        (4, "2001:db8:1:2::1", &[day]),
        (5, "192.0.2.1", &[day]),
        (6, "192.0.2.9", &[]),
        (7, "192.0.2.4", &[]),
        (8, "192.0.2.4", &["upstream:other:calls-per-day"]),
    ] {
        assert_eq!(matched(call(id, source)), expected, "call {id} from {source}");
    }
    for called in ["911", "112", "933"] {
        assert!(matched(call_to(called, 91, "192.0.2.1")).is_empty(), "{called}");
    }
    let service = Message::invite().request_uri("urn:service:sos").set("Call-ID", "call-92@example.net");
    assert!(matched(Packet::udp(service).from("192.0.2.1")).is_empty());
    // 911 and more digits is a number like any other.
    assert_eq!(matched(call_to("9115550100", 93, "192.0.2.1")), [day]);
    let within = Message::invite().set("Call-ID", "call-94@example.net").set("To", "<sip:1@h>;tag=2");
    for other in [Message::request("OPTIONS"), Message::request("BYE"), within] {
        assert!(matched(Packet::udp(other).from("192.0.2.1")).is_empty());
    }
}

#[test]
fn what_a_cap_drops_is_a_rules_and_what_it_rejects_is_rejected() {
    let text = format!(
        "version = 1\n{SOURCES}caps = {{ calls_per_day = 1, mode = \"enforce\", action = {{ reject = 503 }} }}\n"
    );
    let built = policy::text(&text);
    let mut hosts = Hosts::new(&built.image).expect("the program loads");
    let mut run = |id| hosts.run(&call(id, "192.0.2.1").frame()).expect("both hosts agree");
    assert_eq!(run(1).reason, Reason::DefaultPass);
    let over = run(2);
    assert_eq!((over.reason, over.rule.as_deref()), (Reason::RuleReject, Some("upstream:acme:calls-per-day")));
}

#[test]
fn a_limit_by_upstream_is_shared_by_its_trunks_and_by_nobody_else() {
    let text = format!(
        "version = 1\n{SOURCES}[[rule]]\nname = \"limit\"\nmatch.method = \"INVITE\"\naction = \"drop\"\n\
         over = {{ rate = \"2/d\", per = \"upstream\", count = \"calls\" }}\n"
    );
    let built = policy::text(&text);
    let mut hosts = Hosts::new(&built.image).expect("the program loads");
    let mut id = 0;
    let mut is_dropped = |source: &str| {
        id += 1;
        hosts.run(&call(id, source).frame()).expect("both hosts agree").is_drop()
    };
    // The upstream, and then the label: two trunks each.
    for [one, other] in [["192.0.2.1", "2001:db8:1::7"], ["192.0.2.5", "2001:db8:5::7"]] {
        assert_eq!([one, other, one, other].map(&mut is_dropped), [false, false, true, true], "{one}");
    }
    // Without an upstream, each source has its own.
    assert_eq!(["192.0.2.8", "192.0.2.9"].map(&mut is_dropped), [false; 2]);
    assert_eq!(["192.0.2.8", "192.0.2.9"].map(&mut is_dropped), [false; 2]);
    assert_eq!(["192.0.2.8", "192.0.2.9"].map(&mut is_dropped), [true; 2]);
}

#[test]
fn without_a_list_neither_a_condition_on_allowed_callers_nor_its_negation_holds() {
    let mut text = format!("version = 1\n{SOURCES}[[upstream]]\nname = \"unlisted\"\ntrunks = \"192.0.2.6\"\n");
    for (name, condition) in [
        ("allowed", "caller_allowed = true"),
        ("foreign", "caller_allowed = false"),
        ("not-allowed", "not.caller_allowed = true"),
        ("not-foreign", "not.caller_allowed = false"),
    ] {
        text += &format!("[[rule]]\nname = \"{name}\"\nmatch.{condition}\naction = \"drop\"\nmode = \"report\"\n");
    }
    let built = policy::text(&text);
    let mut hosts = Hosts::new(&built.image).expect("the program loads");
    let mut matched = |from: &str, source: &str| {
        let packet = Packet::udp(Message::invite().set("From", &format!("<{from}>;tag=1"))).from(source);
        hosts.matched(&packet.frame()).expect("both hosts agree")
    };
    for from in ["sip:+16055620123@h", "sip:6055630100@h", "tel:+1-605-562-0000"] {
        assert_eq!(matched(from, "192.0.2.1"), ["allowed", "not-foreign"], "{from}");
    }
    for from in ["sip:+16055630101@h", "sip:alice@h", "sip:anonymous@anonymous.invalid", "sip:h"] {
        assert_eq!(matched(from, "2001:db8:1::7"), ["foreign", "not-allowed"], "{from}");
    }
    for source in ["192.0.2.6", "192.0.2.9", "192.0.2.5"] {
        assert!(matched("sip:+16055620123@h", source).is_empty(), "{source}");
    }
    // Not a message: nothing is asked about it.
    let keep_alive = Packet::udp("\r\n\r\n").from("192.0.2.1");
    assert!(hosts.matched(&keep_alive.frame()).expect("both hosts agree").is_empty());
}
