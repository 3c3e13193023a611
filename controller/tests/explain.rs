//! `ringfence explain`: the values that were read, including those that only the policy's tables know.

use std::{path::Path, process::Output};

use filter_policy::language::scope::SCOPES;
use serde_json::Value;

fn explain(policy: &str, arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().expect("a temporary directory");
    std::fs::write(folder.path().join("policy.toml"), policy).expect("it can be written");
    std::fs::write(folder.path().join("scored.csv"), "number,score\n1312555,30\n13125550199$,90\n").expect("likewise");
    std::fs::write(folder.path().join("ranges.csv"), "prefix,country,region,ocn,assigned\n1312555,US,US-IL,9206,yes\n")
        .expect("likewise");
    let message = Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies/tests/sql-in-to.sip");
    let text = std::fs::read_to_string(message).expect("it is checked in");
    // Swap the two numbers, so that the calling one has a score.
    let text =
        text.replace("+14155552671", "+13125550199").replace("INVITE sip:+13125550199", "INVITE sip:+16052250100");
    let message = folder.path().join("message.sip");
    std::fs::write(&message, text).expect("it can be written");
    std::process::Command::new(env!("CARGO_BIN_EXE_ringfence"))
        .args(["explain", "--policy"])
        .arg(folder.path())
        .arg(&message)
        .args(["--source", "192.0.2.10"])
        .args(arguments)
        .output()
        .expect("the program runs")
}

const POLICY: &str = r#"version = 1
default = "pass"

[network]
udp = [5060]
tls = [5061]

[numbering]
country_code = "1"
ranges = "ranges.csv"

[sets.carrier]
addresses = ["192.0.2.0/28"]
label = "carrier-a"

[sets.scored]
numbers = "scored.csv"

[[rule]]
name = "peers"
match = { upstream = "carrier-a", called_region = "US-IA" }
action = "continue"

[[rule]]
name = "bad"
match.calling_reputation = ">= 80"
action = "drop"
"#;

#[test]
fn every_scope_of_the_language_is_shown_with_its_value() {
    let output = explain(POLICY, &["--json"]);
    let object: Value = serde_json::from_slice(&output.stdout).expect("one object");
    let scopes = object["scopes"].as_object().expect("an object");
    for (scope, ..) in SCOPES {
        assert!(scopes.contains_key(*scope), "{scope} is not shown");
    }
    assert_eq!((&object["verdict"], &object["rule"]), (&"drop".into(), &"bad".into()));
    for (scope, value) in [
        ("calling", "13125550199"),
        ("calling_country", "US"),
        ("calling_region", "US-IL"),
        ("calling_spid", "9206"),
        ("called_region", "US-SD"),
    ] {
        assert_eq!(scopes[scope], value, "{scope}");
    }
    assert_eq!(scopes["calling_reputation"], 90);
    assert_eq!(scopes["upstream"], serde_json::json!(["carrier-a"]));
    assert_eq!((&scopes["forwarded_country"], &scopes["called_spid"]), (&Value::Null, &Value::Null));
}

#[test]
fn a_condition_on_a_region_shows_the_region_that_was_read() {
    let output = explain(POLICY, &[]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("US-SD (16052250100)"), "{text}");
    assert!(text.contains("90 (13125550199)"), "{text}");
}

#[test]
fn a_port_without_udp_signalling_is_refused() {
    for port in ["5061", "9999"] {
        let output = explain(POLICY, &["--port", port]);
        assert_eq!(output.status.code(), Some(2));
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(error.contains(&format!("port {port} is not a UDP signalling port of the policy (5060)")), "{error}");
    }
}

#[test]
fn a_rule_outside_its_hours_is_shown_as_off() {
    let hours = "hours = { days = \"mon-fri\", from = \"08:00\", to = \"18:00\", timezone = \"America/New_York\" }\n";
    let policy = format!("{POLICY}{hours}");
    let at = |time: &str| String::from_utf8_lossy(&explain(&policy, &["--at", time]).stdout).into_owned();
    let off = at("2026-11-27T18:00:00-05:00");
    assert!(off.contains("bad (drop): off at this time") && off.starts_with("pass"), "{off}");
    let on = at("2026-11-27T17:59:59-05:00");
    assert!(on.contains("bad (drop): decided") && on.starts_with("drop"), "{on}");
}

#[test]
fn a_skipped_rule_names_the_pinhole_that_skipped_it() {
    // Now the pinhole matches: the call goes to South Dakota.
    let policy = POLICY.replace("US-IA", "US-SD");
    let text = String::from_utf8_lossy(&explain(&policy, &[]).stdout).into_owned();
    assert!(text.contains("bad (drop): skipped by peers"), "{text}");
    let object: Value = serde_json::from_slice(&explain(&policy, &["--json"]).stdout).expect("one object");
    let rules = object["rules"].as_array().expect("an array");
    assert_eq!((&rules[1]["outcome"], &rules[1]["skipped_by"]), (&"skipped".into(), &"peers".into()));
    assert_eq!((&rules[0]["outcome"], &rules[0]["skipped_by"]), (&"matched".into(), &Value::Null));
}

const BANS: &str = r#"version = 1
default = "pass"

[network]
udp = [5060]
tcp = [5060]

[[rule]]
name = "once"
match.called = "+12125550100"
action = { ban = "1h" }
"#;

#[test]
fn a_banned_source_is_dropped_before_the_rules_about_messages() {
    let text = |arguments: &[&str]| String::from_utf8_lossy(&explain(BANS, arguments).stdout).into_owned();
    assert!(text(&[]).starts_with("pass (default-pass)"), "{}", text(&[]));
    let banned = text(&["--banned"]);
    assert!(banned.starts_with("drop (banned)"), "{banned}");
    assert!(
        explain(&BANS.replace("[network]", "never_ban = [\"192.0.2.0/24\"]\n[network]"), &["--banned"])
            .stdout
            .starts_with(b"pass (default-pass)")
    );
}

#[test]
fn what_an_earlier_message_leads_to_is_shown() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let earlier = folder.path().join("earlier.sip");
    let call = "INVITE sip:+12125550100@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.10;branch=z9hG4bK1\r\n\
                From: <sip:+13125550199@example.com>;tag=1\r\nTo: <sip:+12125550100@example.com>\r\nCall-ID: 1\r\n\
                CSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n";
    std::fs::write(&earlier, call).expect("it can be written");
    let earlier = earlier.to_str().expect("text");
    let policy = |action: &str| BANS.replace("{ ban = \"1h\" }", action);
    let text = |action: &str, arguments: &[&str]| {
        String::from_utf8_lossy(&explain(&policy(action), arguments).stdout).into_owned()
    };
    let over_udp = text("{ ban = \"1h\" }", &["--after", earlier]);
    assert!(over_udp.starts_with("drop (banned)"), "{over_udp}");
    let over_tcp = text("\"drop\"", &["--transport", "tcp", "--after", earlier]);
    assert!(
        over_tcp.starts_with("drop (flow-of-dropped)") && over_tcp.contains("once (drop): not reached"),
        "{over_tcp}"
    );
    assert!(text("\"drop\"", &["--after", earlier]).starts_with("pass (default-pass)"));
    assert!(text("\"drop\"", &["--transport", "tcp"]).starts_with("pass (default-pass)"));
}

/// Each is a test of addresses to the engine. What is shown is what the rule says.
#[test]
fn conditions_on_upstreams_are_shown_as_they_are_written() {
    let upstream = "\n[[upstream]]\nname = \"acme\"\nkind = \"customer\"\ntrunks = \"@carrier\"\ncallers = \"1605\"\n\
                    caps = { calls_per_day = 5 }\n\n[[rule]]\nname = \"asked\"\naction = \"drop\"\nmode = \"report\"\n\
                    match = { upstream = \"acme\", upstream_kind = \"customer\", upstream_rmd = \"none\", caller_allowed = false }\n";
    let output = explain(&format!("{POLICY}{upstream}"), &["--json"]);
    let object: Value = serde_json::from_slice(&output.stdout).expect("one object");
    let scopes = &object["scopes"];
    assert_eq!(scopes["upstream"], serde_json::json!(["acme", "carrier-a"]));
    assert_eq!((&scopes["upstream_kind"], &scopes["upstream_rmd"]), (&"customer".into(), &"none".into()));
    assert_eq!(scopes["caller_allowed"], false);
    let rules = object["rules"].as_array().expect("all rules");
    let rule = |name: &str| rules.iter().find(|rule| rule["rule"] == name).unwrap_or_else(|| panic!("{name}"));
    let conditions = rule("asked")["conditions"].as_array().expect("its conditions");
    let shown: Vec<_> = conditions.iter().map(|shown| (&shown["scope"], &shown["value"], &shown["holds"])).collect();
    for (shown, (scope, value)) in shown.into_iter().zip([
        ("upstream", "acme carrier-a"),
        ("upstream_kind", "customer"),
        ("upstream_rmd", "none"),
        ("caller_allowed", "false"),
    ]) {
        assert_eq!(shown, (&scope.into(), &value.into(), &true.into()));
    }
    let cap = rule("upstream:acme:calls-per-day");
    assert_eq!((&cap["mode"], &cap["stage"]), (&"report".into(), &"fraud".into()));
}
