//! The policy language: what each form of it means.

use std::fmt::Write as _;

use filter_core::layout::{
    Attestation, Count, Dialog, Method, NumberFormat, Payload, Per, Text, Transport, Verstat, anomaly, passport,
    privacy,
};
use filter_policy::{
    files::Table,
    language::{
        action::Action,
        diagnostics::{Code, Diagnostics, Severity},
        scope::SCOPES,
    },
    model::{Comparison, Condition, Flags, Identity, MethodName, Policy, Test},
    testing,
    timetable::Window,
};

const SCORED: &str = "number,score\n12125559080$,80\n";
const SETS: &str = r#"
[sets.trunks]
addresses = ["192.0.2.10", "2001:db8::/64"]
label = "carrier"
[sets.dno]
numbers = ["2025550100$", "605"]
format = "national"
[sets.scored]
numbers = "lists/scored.csv"
[sets.scanners]
user_agents = ["sipvicious"]
[sets.spam]
patterns = ["viagra"]
"#;

fn load(text: &str) -> Result<(Policy, Diagnostics), Diagnostics> {
    testing::load(&[("policy.toml", text), ("lists/scored.csv", SCORED)])
}

fn policy(text: &str) -> Policy {
    load(text).unwrap_or_else(|diagnostics| panic!("{text}\n{diagnostics}")).0
}

/// The conditions of one rule.
fn conditions(lines: &str) -> Vec<Condition> {
    let text = format!("version = 1\n{SETS}\n[[rule]]\nname = \"r\"\naction = \"drop\"\n{lines}\n");
    policy(&text).rules.remove(0).conditions
}

fn condition(line: &str) -> Condition {
    let mut conditions = conditions(line);
    assert_eq!(conditions.len(), 1, "{line}");
    conditions.remove(0)
}

/// A test in one line, to be compared.
fn shown(condition: &Condition) -> String {
    let mut shown = if condition.negated { "not ".to_owned() } else { String::new() };
    let number = |digits: u64, length: u8, exact: bool| {
        format!("{:x}{}", digits >> (64 - 4 * u32::from(length)), if exact { "$" } else { "" })
    };
    let written = match &condition.test {
        Test::Source(lists) | Test::Destination(lists) => {
            let kind = if matches!(condition.test, Test::Source(_)) { "source" } else { "destination" };
            write!(shown, "{kind}").and_then(|()| {
                lists
                    .iter()
                    .flat_map(|list| &list.entries)
                    .try_for_each(|entry| write!(shown, " {}/{}", entry.address, entry.prefix))
            })
        }
        Test::AnyIdentity(lists) => write!(shown, "any identity").and_then(|()| {
            lists
                .iter()
                .flat_map(|list| &list.entries)
                .try_for_each(|entry| write!(shown, " {}", number(entry.digits, entry.length, entry.exact)))
        }),
        Test::Number(identity, lists) => write!(shown, "{identity:?}").and_then(|()| {
            lists
                .iter()
                .flat_map(|list| &list.entries)
                .try_for_each(|entry| write!(shown, " {}", number(entry.digits, entry.length, entry.exact)))
        }),
        Test::Text(text, lists) => write!(shown, "{text:?}").and_then(|()| {
            lists.iter().flat_map(|list| &list.entries).try_for_each(|entry| write!(shown, " {}", entry.pattern))
        }),
        Test::Reputation(lists, comparison, threshold) => {
            write!(shown, "{comparison:?} {threshold} in {} lists", lists.len())
        }
        other @ (Test::Anomaly(_)
        | Test::Attestation(_)
        | Test::CallerAllowed(_)
        | Test::CallingPrivacy(_)
        | Test::Country(..)
        | Test::Dialog(_)
        | Test::Format(..)
        | Test::Method(_)
        | Test::Neighbor(_)
        | Test::Passport(_)
        | Test::Payload(_)
        | Test::Port(_)
        | Test::Region(..)
        | Test::Spid(..)
        | Test::Transport(_)
        | Test::Verstat(_)) => write!(shown, "{other:?}"),
    };
    written.expect("writing to a string cannot fail");
    shown
}

#[test]
fn each_scope_reads_its_values() {
    for (line, meaning) in [
        ("match.source = \"@trunks\"", "source 192.0.2.10/32 2001:db8::/64".to_owned()),
        (
            "match.source = [\"@trunks\", \"203.0.113.0/24\"]",
            "source 192.0.2.10/32 2001:db8::/64 203.0.113.0/24".to_owned(),
        ),
        ("match.destination = \"2001:db8::1\"", "destination 2001:db8::1/128".to_owned()),
        (
            "match.transport = [\"udp\", \"tls\"]",
            format!("{:?}", Test::Transport(vec![Transport::Udp, Transport::Tls])),
        ),
        ("match.port = 5060", "Port([5060])".to_owned()),
        (
            "match.method = [\"INVITE\", \"response\", \"other\"]",
            format!("{:?}", Test::Method([Method::Invite, Method::Response, Method::Other].map(MethodName).to_vec())),
        ),
        ("match.user_agent = [\"@scanners\", \"^friendly\"]", "UserAgent sipvicious ^friendly".to_owned()),
        ("match.user_agent = \"@spam\"", "UserAgent viagra".to_owned()),
        ("match.calling = [\"@dno\", \"+44 20\"]", "Calling 12025550100$ 1605 4420".to_owned()),
        ("match.called = [\"911$\", \"112$\"]", "Called 911$ 112$".to_owned()),
        ("match.forwarded = \"1900\"", "Forwarded 1900".to_owned()),
        ("match.from_number = \"1900\"", "From 1900".to_owned()),
        ("match.asserted_number = \"1900\"", "Asserted 1900".to_owned()),
        ("match.preferred_number = \"1900\"", "Preferred 1900".to_owned()),
        ("match.to_number = \"1900$\"", "To 1900$".to_owned()),
        ("match.any_identity = [\"@dno\", \"1900\"]", "any identity 12025550100$ 1605 1900".to_owned()),
        (
            "match.calling_privacy = [\"none\", \"ID\", \"anonymous-uri\"]",
            format!("{:?}", Test::CallingPrivacy(Flags { none: true, bits: privacy::ID | privacy::ANONYMOUS_URI })),
        ),
        ("match.passport = \"div\"", format!("{:?}", Test::Passport(Flags { none: false, bits: passport::DIV }))),
        ("match.dialog = \"within\"", format!("{:?}", Test::Dialog(vec![Dialog::Within]))),
        (
            "match.payload = [\"keep-alive\", \"sip\"]",
            format!("{:?}", Test::Payload(vec![Payload::KeepAlive, Payload::Sip])),
        ),
        (
            "match.calling_country = [\"lv\", \"CU\"]",
            format!("{:?}", Test::Country(Identity::Calling, vec!["LV".into(), "CU".into()])),
        ),
        ("match.called_region = \"US-SD\"", format!("{:?}", Test::Region(Identity::Called, vec!["US-SD".into()]))),
        ("match.forwarded_spid = \"652f\"", format!("{:?}", Test::Spid(Identity::Forwarded, vec!["652F".into()]))),
        (
            "match.called_format = [\"too-long\", \"fictional\"]",
            format!("{:?}", Test::Format(Identity::Called, vec![NumberFormat::TooLong, NumberFormat::Fictional])),
        ),
        ("match.calling_reputation = \">= 80\"", format!("{:?} 80 in 1 lists", Comparison::AtLeast)),
        ("match.calling_reputation = \"<20\"", format!("{:?} 20 in 1 lists", Comparison::Less)),
        (
            "match.attestation = [\"C\", \"unknown\"]",
            format!("{:?}", Test::Attestation(vec![Attestation::C, Attestation::Unknown])),
        ),
        ("match.verstat = \"TN-Validation-Failed\"", format!("{:?}", Test::Verstat(vec![Verstat::TnValidationFailed]))),
        ("match.neighbor = true", "Neighbor(true)".to_owned()),
        ("match.body = \"@spam\"", format!("{:?} viagra", Text::Body)),
        (
            "match.anomaly = [\"not-sip\", \"missing-header\"]",
            format!("{:?}", Test::Anomaly(anomaly::NOT_SIP | anomaly::MISSING_HEADER)),
        ),
        ("match.upstream = \"carrier\"", "source 192.0.2.10/32 2001:db8::/64".to_owned()),
        ("match.header.from-display = 'sip\\.vicious'", "FromDisplay sip\\.vicious".to_owned()),
        ("match.\"header.subject\" = \"@spam\"", "Subject viagra".to_owned()),
    ] {
        assert_eq!(shown(&condition(line)), meaning, "{line}");
    }
}

#[test]
fn every_scope_of_the_table_can_be_written() {
    for (name, ..) in SCOPES {
        let values = [
            "\"192.0.2.1\"",
            "\"udp\"",
            "5060",
            "\"INVITE\"",
            "\"US\"",
            "\"US-SD\"",
            "\"6529\"",
            "\"valid\"",
            "\">= 80\"",
            "\"A\"",
            "\"none\"",
            "true",
            "\"not-sip\"",
            "\"carrier\"",
            "\"initial\"",
            "\"sip\"",
            "\"1605\"",
        ];
        let read = |value: &&str| {
            load(&format!("version = 1\n{SETS}\n[[rule]]\nname = \"r\"\naction = \"drop\"\nmatch.{name} = {value}\n"))
                .is_ok()
        };
        assert!(values.iter().any(read), "no value suits `{name}`");
    }
}

#[test]
fn a_condition_is_negated_in_every_form() {
    for line in [
        "match.not.source = \"@trunks\"",
        "match = { not.source = \"@trunks\" }",
        "match = { not = { source = \"@trunks\" } }",
        "match = { \"not.source\" = \"@trunks\" }",
        "match.\"not.source\" = \"@trunks\"",
        "[rule.match]\nnot.source = \"@trunks\"",
        "[rule.match.not]\nsource = \"@trunks\"",
    ] {
        assert_eq!(shown(&condition(line)), "not source 192.0.2.10/32 2001:db8::/64", "{line}");
    }
    assert_eq!(shown(&condition("match.not.header.subject = \"@spam\"")), "not Subject viagra");
}

#[test]
fn one_scope_can_be_in_two_conditions_of_a_rule() {
    let found = conditions("match = { method = \"INVITE\", calling = \"1605\", not.calling = \"16055550123$\" }");
    let shown: Vec<_> = found.iter().map(shown).collect();
    assert_eq!(shown[1..], ["Calling 1605", "not Calling 16055550123$"]);
}

#[test]
fn each_action_reads_its_argument() {
    for (line, action, argument) in [
        ("\"drop\"", Action::Drop, 0),
        ("\"continue\"", Action::Continue, 0),
        ("\"bypass-fraud-control\"", Action::BypassFraudControl, 0),
        ("\"whitelist\"", Action::Whitelist, 0),
        ("{ ban = \"10m\" }", Action::Ban { seconds: 600, prefix4: 32, prefix6: 64 }, 600),
        (
            "{ ban = \"1h30m\", prefix6 = 48, prefix4 = 24 }",
            Action::Ban { seconds: 5_400, prefix4: 24, prefix6: 48 },
            5_400,
        ),
        ("{ reject = 603 }", Action::Reject { status: 603 }, 603),
        ("{ divert = \"sip:captcha@example.com\" }", Action::Divert { uri: "sip:captcha@example.com".to_owned() }, 0),
    ] {
        let policy = policy(&format!("version = 1\n[[rule]]\nname = \"r\"\naction = {line}\n"));
        let rule = &policy.rules[0];
        assert_eq!((&rule.action, rule.action.argument()), (&action, argument), "{line}");
    }
}

#[test]
fn a_rule_past_its_last_day_is_left_out() {
    let rule = |name: &str, until: &str| {
        format!("[[rule]]\nname = \"{name}\"\nmatch.source = \"192.0.2.1\"\naction = \"drop\"\nuntil = {until}\n")
    };
    // The same conditions would make the later rules unreachable.
    let text = format!("{EMERGENCY}{}{}", rule("yesterday", "2026-11-20"), rule("today", "2026-11-21"));
    let (policy, diagnostics) = load(&text).unwrap_or_else(|diagnostics| panic!("{diagnostics}"));
    let names: Vec<&str> = policy.rules.iter().map(|rule| rule.name.as_str()).collect();
    assert_eq!(names, ["emergency", "today"]);
    let codes: Vec<Code> = diagnostics.iter().map(|one| one.code).collect();
    assert_eq!(codes, [Code::ExpiredRule]);
    let pinhole = EMERGENCY.replace("name = \"emergency\"", "name = \"emergency\"\nuntil = 2026-01-31");
    assert_eq!(
        warnings(&format!("{pinhole}{}", rule("today", "2026-12-31"))),
        [Code::ExpiredRule, Code::NoEmergencyPinhole]
    );
}

#[test]
fn hours_are_windows_of_days_and_times_in_a_time_zone() {
    let windows = |hours: &str| {
        let rule = "version = 1\n[[rule]]\nname = \"r\"\naction = \"drop\"\n";
        let hours = policy(&format!("{rule}hours = {hours}\n")).rules.remove(0).hours;
        let window = |window: &Window| {
            let zone = window.zone.iana_name().unwrap_or_default().to_owned();
            (window.days, window.from, window.to, zone)
        };
        hours.iter().map(window).collect::<Vec<_>>()
    };
    let zone = |name: &str| name.to_owned();
    for (written, days, from, to) in [
        ("", 0b111_1111, 0, 1440),
        ("days = \"mon-fri\", from = \"08:00\", to = \"18:00\",", 0b001_1111, 480, 1080),
        ("days = [\"Sat\", \"sunday\"], from = \"22:30\", to = \"06:00\",", 0b110_0000, 1350, 360),
        ("days = [\"fri-mon\", \"wed\"], to = \"24:00\",", 0b111_0101, 0, 1440),
        ("days = \"sun\", from = \"12:00\", to = \"00:00\",", 0b100_0000, 720, 0),
    ] {
        let hours = format!("{{ {written} timezone = \"America/New_York\" }}");
        assert_eq!(windows(&hours), [(days, from, to, zone("America/New_York"))], "{hours}");
    }
    let several = "[{ days = \"mon\", timezone = \"utc\" }, { from = \"20:00\", timezone = \"europe/berlin\" }]";
    let expected = [(1, 0, 1440, zone("UTC")), (0b111_1111, 1200, 1440, zone("Europe/Berlin"))];
    assert_eq!(windows(several), expected);
}

#[test]
fn a_rule_with_hours_makes_no_other_unreachable_and_is_no_pinhole() {
    let rule = |name: &str, key: &str| {
        format!("[[rule]]\nname = \"{name}\"\nmatch.source = \"192.0.2.1\"\naction = \"drop\"\n{key}\n")
    };
    let hours = "hours = { from = \"08:00\", to = \"18:00\", timezone = \"UTC\" }";
    assert_eq!(warnings(&format!("{EMERGENCY}{}{}", rule("a", ""), rule("b", ""))), [Code::Unreachable]);
    assert_eq!(warnings(&format!("{EMERGENCY}{}{}", rule("a", hours), rule("b", ""))), []);
    assert_eq!(warnings(&format!("{EMERGENCY}{}{}", rule("a", "until = 2026-12-31"), rule("b", ""))), []);
    let pinhole = EMERGENCY.replace("name = \"emergency\"", &format!("name = \"emergency\"\n{hours}"));
    assert_eq!(warnings(&format!("{pinhole}{}", rule("a", ""))), [Code::NoEmergencyPinhole]);
}

#[test]
fn rates_have_a_period_a_burst_and_a_key() {
    const SECOND: u64 = 1_000_000_000;
    for (line, expected) in [
        ("{ rate = \"5/s\", burst = 20, per = \"called\" }", (5, SECOND, 20, Per::Called, 0)),
        ("{ rate = \"100/m\", per = \"source/24\" }", (100, 60 * SECOND, 100, Per::SourcePrefix, 24)),
        ("{ rate = \"1000/h\", burst = 1 }", (1000, 3_600 * SECOND, 1, Per::Rule, 0)),
        ("{ rate = \"1/s\", per = \"source+called\" }", (1, SECOND, 1, Per::SourceCalled, 0)),
        ("{ rate = \"1/s\", per = \"user-agent\" }", (1, SECOND, 1, Per::UserAgent, 0)),
        ("{ rate = \"20/10s\", per = \"calling/6\" }", (20, 10 * SECOND, 20, Per::CallingPrefix, 6)),
        ("{ rate = \"1/d\", per = \"called/7\" }", (1, 86_400 * SECOND, 1, Per::CalledPrefix, 7)),
    ] {
        let policy = policy(&format!("version = 1\n[[rule]]\nname = \"r\"\naction = \"drop\"\nover = {line}\n"));
        let over = policy.rules[0].over.as_ref().expect(line);
        assert_eq!((over.count, over.period, over.burst, over.per, over.prefix), expected, "{line}");
        assert_eq!(over.counts, Count::Packets, "{line}");
    }
}

#[test]
fn the_mode_at_the_head_puts_the_whole_policy_into_report_mode_and_changes_no_rule() {
    let with = |head: &str| policy(&format!("version = 1\n{head}\n[[rule]]\nname = \"r\"\naction = \"drop\"\n"));
    for (head, report) in [("mode = \"report\"", true), ("mode = \"enforce\"", false), ("", false)] {
        let policy = with(head);
        assert_eq!((policy.report, policy.rules[0].report), (report, false), "{head}");
    }
    let image = |head: &str| filter_policy::compile::compile(&with(head)).expect("it compiles");
    let (mut enforced, reported) = (image(""), image("mode = \"report\""));
    assert!(reported.is_report() && !enforced.is_report());
    assert_ne!(enforced.hash, reported.hash);
    enforced.set_report(true);
    assert_eq!(enforced.hash, reported.hash, "whoever asked for it, it is the same policy");
}

#[test]
fn what_is_left_out_has_a_default() {
    let policy = policy("version = 1\n[[rule]]\nname = \"r\"\naction = \"drop\"\n");
    assert!(!policy.default_drop);
    assert_eq!(policy.ports, [(5060, Transport::Udp), (5060, Transport::Tcp)]);
    let numbering = &policy.numbering;
    let plan = &numbering.plan;
    assert_eq!((plan.country_code.as_str(), &plan.international_prefixes[..]), ("1", &["011".to_owned()][..]));
    assert_eq!((plan.outside_prefix.as_str(), plan.strip.len(), numbering.plans.len()), ("", 0, 0));
    assert_eq!((plan.national_prefix.as_str(), plan.bare_national, numbering.neighbor_digits), ("", false, 7));
    let rule = &policy.rules[0];
    assert_eq!((rule.stage.name(), rule.report, rule.basis.as_deref()), ("blacklist", false, None));
    assert_eq!((rule.origin.file.as_os_str().to_str(), rule.origin.line), (Some("policy.toml"), 3));
}

#[test]
fn a_section_network_lists_all_ports() {
    let policy = policy("version = 1\n[network]\nudp = [5080, 5060]\ntls = 5061\n");
    assert_eq!(policy.ports, [(5060, Transport::Udp), (5061, Transport::Tls), (5080, Transport::Udp)]);
}

#[test]
fn numbering_of_another_country_is_read() {
    let text = "version = 1\n[numbering]\ncountry_code = \"49\"\nnational_prefix = \"0\"\nbare = \"national\"\nneighbor_digits = 5\n";
    let numbering = policy(text).numbering;
    let plan = &numbering.plan;
    assert_eq!((plan.country_code.as_str(), &plan.international_prefixes[..]), ("49", &["00".to_owned()][..]));
    assert_eq!((plan.national_prefix.as_str(), plan.bare_national, numbering.neighbor_digits), ("0", true, 5));
    assert!(numbering.ranges.iter().any(|range| range.prefix == "49" && range.country.as_deref() == Some("DE")));
}

#[test]
fn an_imported_numbering_table_follows_the_built_in_one() {
    let table = "prefix,country,region,ocn,assigned\n1605562,US,US-SD,6529,yes\n1605,US,US-ND,,\n";
    let text = "version = 1\n[numbering]\nranges = \"numbering.csv\"\n";
    let (policy, _) = testing::load(&[("policy.toml", text), ("numbering.csv", table)]).expect("it is right");
    let about =
        |prefix: &str| policy.numbering.ranges.iter().rfind(|range| range.prefix == prefix).expect("it is there");
    assert_eq!(about("1605562").spid.as_deref(), Some("6529"));
    assert_eq!(about("1605").region.as_deref(), Some("US-ND"));
    assert!(policy.numbering.ranges.is_sorted_by_key(|range| range.prefix.len()));
}

/// The codes of the warnings about a policy without errors.
fn warnings(text: &str) -> Vec<Code> {
    load(text)
        .unwrap_or_else(|diagnostics| panic!("{diagnostics}"))
        .1
        .iter()
        .map(|diagnostic| diagnostic.code)
        .collect()
}

const EMERGENCY: &str = "version = 1\n[numbering]\ncountry_code = \"1\"\n[[rule]]\nname = \"emergency\"\nmatch.called = [\"911$\", \"urn:service:sos\"]\naction = \"whitelist\"\n";

#[test]
fn rules_after_drop_everything_are_reachable_through_a_pinhole_of_another_stage() {
    let drop_all = "[[rule]]\nname = \"all-others\"\naction = \"drop\"\n";
    let shield = "[[rule]]\nname = \"shield\"\nstage = \"shield\"\nmatch.calling = \"1900\"\naction = \"drop\"\n";
    let trunks = "[[rule]]\nname = \"trunks\"\nmatch.source = \"192.0.2.1\"\naction = \"continue\"\n";
    assert_eq!(warnings(&format!("{EMERGENCY}{trunks}{drop_all}{shield}")), []);
    assert_eq!(warnings(&format!("{EMERGENCY}{drop_all}{shield}")), [Code::Unreachable]);
}

#[test]
fn a_rule_is_reachable_after_one_that_reports_or_has_a_rate_or_is_narrower() {
    let last = "[[rule]]\nname = \"last\"\nmatch.called = \"1605\"\naction = \"drop\"\n";
    for first in [
        "match.called = \"1605\"\naction = \"drop\"\nmode = \"report\"",
        "match.called = \"1605\"\naction = \"drop\"\nover = { rate = \"5/s\", per = \"called\" }",
        "match.called = \"1605562\"\naction = \"drop\"",
        "match = { called = \"1605\", method = \"INVITE\" }\naction = \"drop\"",
        "match.not.called = \"1605\"\naction = \"drop\"",
        "match.calling = \"1605\"\naction = \"drop\"",
        "match.called = \"1605\"\naction = \"continue\"\nstage = \"shield\"",
    ] {
        assert_eq!(warnings(&format!("{EMERGENCY}[[rule]]\nname = \"first\"\n{first}\n{last}")), [], "{first}");
    }
    for first in [
        "match.called = \"1605\"\naction = \"drop\"",
        "match.called = [\"1900\", \"160\"]\naction = \"continue\"",
        "action = \"whitelist\"",
    ] {
        let text = format!("{EMERGENCY}[[rule]]\nname = \"first\"\n{first}\n{last}");
        assert_eq!(warnings(&text), [Code::Unreachable], "{first}");
    }
}

#[test]
fn a_number_in_any_identity_includes_that_in_each_header_of_the_caller() {
    let rules = |first: &str, last: &str| {
        let rule = |name: &str, condition: &str| {
            format!("[[rule]]\nname = \"{name}\"\nmatch.{condition}\naction = \"drop\"\n")
        };
        warnings(&format!("{EMERGENCY}{}{}", rule("first", first), rule("last", last)))
    };
    for header in ["any_identity", "calling", "from_number", "asserted_number", "preferred_number"] {
        let last = format!("{header} = \"1605562\"");
        assert_eq!(rules("any_identity = \"1605\"", &last), [Code::Unreachable], "{last}");
    }
    assert_eq!(rules("any_identity = \"1605\"", "forwarded = \"1605562\""), []);
    assert_eq!(rules("calling = \"1605\"", "any_identity = \"1605562\""), []);
    assert_eq!(rules("not.calling = \"1605562\"", "not.any_identity = \"1605\""), [Code::Unreachable]);
    assert_eq!(rules("passport = [\"none\", \"div\"]", "passport = \"none\""), [Code::Unreachable]);
    assert_eq!(rules("passport = \"div\"", "passport = [\"none\", \"div\"]"), []);
}

#[test]
fn an_emergency_pinhole_is_only_missing_where_something_can_drop_the_calls() {
    let head = "version = 1\n[numbering]\ncountry_code = \"1\"\n";
    for rule in [
        "match.user_agent = \"x\"\naction = \"drop\"\nmode = \"report\"",
        "match.method = \"REGISTER\"\naction = \"drop\"",
        "match.payload = \"other\"\naction = \"drop\"",
        "match.dialog = \"within\"\naction = \"drop\"",
        "match.called = \"1605562\"\naction = \"drop\"",
        "match.source = \"192.0.2.1\"\naction = \"continue\"",
    ] {
        assert_eq!(warnings(&format!("{head}[[rule]]\nname = \"r\"\n{rule}\n")), [], "{rule}");
    }
    for rule in ["match.user_agent = \"x\"\naction = \"drop\"", "match.not.method = \"REGISTER\"\naction = \"drop\""] {
        assert_eq!(warnings(&format!("{head}[[rule]]\nname = \"r\"\n{rule}\n")), [Code::NoEmergencyPinhole], "{rule}");
    }
    assert_eq!(warnings(&format!("default = \"drop\"\n{head}")), [Code::NoEmergencyPinhole]);
}

#[test]
fn an_emergency_pinhole_needs_the_urn_where_something_can_drop_calls_to_it() {
    let head = |called: &str| {
        format!(
            "version = 1\n[numbering]\ncountry_code = \"1\"\n[[rule]]\nname = \"emergency\"\nmatch.called = {called}\naction = \"whitelist\"\n"
        )
    };
    let rule = |conditions: &str| format!("[[rule]]\nname = \"r\"\n{conditions}\naction = \"drop\"\n");
    let (digits, both) = (head("\"911$\""), head("[\"911$\", \"urn:service:sos\"]"));
    assert_eq!(warnings(&format!("{digits}{}", rule("match.user_agent = \"x\""))), [Code::EmergencyWithoutUrn]);
    assert_eq!(warnings(&format!("default = \"drop\"\n{digits}")), [Code::EmergencyWithoutUrn]);
    assert_eq!(warnings(&format!("{digits}{}", rule("match.called = \"1605562\""))), []);
    assert_eq!(warnings(&format!("{both}{}", rule("match.user_agent = \"x\""))), []);
    // One service is not all of them.
    let police = head("[\"911$\", \"urn:service:sos.police\"]");
    assert_eq!(warnings(&format!("{police}{}", rule("match.user_agent = \"x\""))), [Code::EmergencyWithoutUrn]);
}

#[test]
fn a_missing_policy_file_is_one_plain_error() {
    let diagnostics = testing::load(&[]).expect_err("there is no policy");
    assert_eq!(
        diagnostics.to_string(),
        "error[missing-file]: cannot read policy.toml: no such file\n |\n = help: a policy repository is a directory that \
         contains `policy.toml`\n\n1 error"
    );
}

#[test]
fn a_policy_as_windows_editors_write_it_is_read_and_utf_16_is_one_plain_error() {
    let text = format!("version = 1\n{SETS}\n[[rule]]\nname = \"r\"\nmatch.source = \"@trunks\"\naction = \"drop\"\n");
    let windows = format!("\u{feff}{}", text.replace('\n', "\r\n"));
    assert_eq!(policy(&windows).rules.len(), 1);
    let utf_16: Vec<u8> = windows.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let files = [("policy.toml", &utf_16[..])];
    let Err(error) = filter_policy::build(&Table(&files), filter_policy::today()) else {
        panic!("it is no text in UTF-8")
    };
    let error = error.to_string();
    assert!(error.contains("not valid UTF-8") && error.contains("save the file as UTF-8"), "{error}");
    assert!(error.ends_with("1 error"), "{error}");
}

#[test]
fn terminal_escapes_are_shown_and_not_sent() {
    let diagnostics = load("version = 1\n\"\\u001b[31mx\" = 1\n").expect_err("the key is unknown");
    let text = diagnostics.render(false, None);
    assert!(!text.contains('\u{1b}') && text.contains("\\u{1b}[31mx"), "{text}");
}

#[test]
fn invisible_characters_are_shown_in_messages_lines_and_file_names() {
    let policy =
        "version = 1\n[sets.a]\naddresses = \"a\u{200b}.txt\"\n[sets.b]\naddresses = [\"192.0.2.1\u{200b}\"]\n";
    let list = "192.0.2.2\u{200b}\n192.0.2.3\u{1b}[2J\n\u{202e}192.0.2.4\n192.0.2.\u{feff}5\r\n";
    let files = [("policy.toml", policy), ("a\u{200b}.txt", list)];
    let diagnostics = testing::load(&files).expect_err("none of the addresses is valid");
    let text = diagnostics.render(true, Some("\u{200b}policies".as_ref()));
    for character in ['\u{200b}', '\u{202e}', '\u{feff}'] {
        assert!(!text.contains(character), "{text:?}");
    }
    let plain = diagnostics.render(false, None);
    assert!(!plain.contains('\u{1b}'), "{plain:?}");
    for shown in
        ["--> a\\u{200b}.txt:1:1\n", "`192.0.2.2\\u{200b}`", "1 | 192.0.2.2\\u{200b}\n", "3 | \\u{202e}192.0.2.4\n"]
    {
        assert!(plain.contains(shown), "{shown}: {plain}");
    }
}

#[test]
fn a_span_after_invisible_characters_is_underlined_where_it_is_shown() {
    let text = "version = 1\n[[rule]]\nname = \"r\"\naction = \"drop\"\nmatch.header.subject = [\"\u{200b}\", '(']\n";
    let diagnostics = load(text).expect_err("the pattern cannot be read");
    let place = diagnostics.iter().find_map(|one| one.place.clone()).expect("it has a place");
    assert_eq!((place.line, place.column, place.end_column), (5, 31, 32));
    let plain = diagnostics.render(false, None);
    let lines: Vec<&str> = plain.lines().collect();
    assert_eq!(lines[1], " --> policy.toml:5:31");
    assert_eq!(lines[3], "5 | match.header.subject = [\"\\u{200b}\", '(']");
    assert_eq!(lines[4].find('^'), lines[3].find('('));
}

#[test]
fn the_column_of_a_mistake_far_into_a_line_is_that_of_the_file() {
    let padding = " ".repeat(300);
    let diagnostics = load(&format!("version = 1\nnever_ban = [{padding}\"x\"]\n")).expect_err("no address");
    assert!(diagnostics.render(false, None).contains(" --> policy.toml:2:315\n"), "{diagnostics}");
}

#[test]
fn a_pinhole_protects_peers_only_if_it_always_lets_them_through() {
    let policy = |pinhole: &str| {
        format!(
            "version = 1\nnever_ban = \"@trunks\"\n[numbering]\ncountry_code = \"1\"\n\
             [sets.trunks]\naddresses = [\"192.0.2.10\", \"192.0.2.11\"]\n\
             [[rule]]\nname = \"emergency\"\nmatch.called = [\"911$\", \"urn:service:sos\"]\naction = \"whitelist\"\n\
             [[rule]]\nname = \"pinhole\"\n{pinhole}\n\
             [[rule]]\nname = \"r\"\nmatch.source = \"192.0.2.0/24\"\naction = \"drop\"\n"
        )
    };
    for pinhole in [
        "match.source = \"@trunks\"\naction = \"continue\"",
        "match.source = \"@trunks\"\naction = \"whitelist\"\nstage = \"shield\"",
        "match.source = [\"192.0.2.10\", \"192.0.2.11\"]\naction = \"bypass-fraud-control\"",
    ] {
        assert_eq!(warnings(&policy(pinhole)), [], "{pinhole}");
    }
    for pinhole in [
        "match.source = \"@trunks\"\naction = \"continue\"\nover = { rate = \"100/s\" }",
        "match.source = \"@trunks\"\naction = \"continue\"\nmode = \"report\"",
        "match.source = \"@trunks\"\naction = \"continue\"\nstage = \"shield\"",
        "match = { source = \"@trunks\", method = \"OPTIONS\" }\naction = \"continue\"",
        "match.source = \"192.0.2.10\"\naction = \"continue\"",
    ] {
        assert_eq!(warnings(&policy(pinhole)), [Code::BlocksOwnPeers], "{pinhole}");
    }
}

#[test]
fn a_set_may_allow_unreadable_entries_of_its_list() {
    let with_list = |keys: &str, list: &str| {
        let text = format!(
            "version = 1\n[sets.a]\naddresses = \"a.txt\"\n{keys}\n[[rule]]\nname = \"r\"\nmatch.source = \"@a\"\naction = \"drop\"\n"
        );
        testing::load(&[("policy.toml", &text), ("a.txt", list)])
    };
    let list = "192.0.2.1\nx\n192.0.2.2\ny\n";
    let lines = |diagnostics: &Diagnostics, severity| {
        let found = diagnostics.iter().filter(|one| one.severity == severity && one.code == Code::BadAddress);
        found.filter_map(|one| one.place.as_ref()).map(|place| place.line).collect::<Vec<_>>()
    };
    let (policy, diagnostics) = with_list("max_errors = 2", list).unwrap_or_else(|diagnostics| panic!("{diagnostics}"));
    let Test::Source(lists) = &policy.rules[0].conditions[0].test else { panic!("it is about the source") };
    assert_eq!(lists[0].entries.iter().map(|entry| entry.line).collect::<Vec<_>>(), [1, 3]);
    assert_eq!(lines(&diagnostics, Severity::Warning), [2, 4]);
    for (keys, list) in [("max_errors = 1", list), ("", list), ("max_errors = 9", "x\ny\n")] {
        let diagnostics = with_list(keys, list).expect_err(keys);
        assert_eq!(lines(&diagnostics, Severity::Error).len(), 2, "{keys}: {diagnostics}");
    }
    let many = with_list("max_errors = 300", &format!("192.0.2.1\n{}", "x\n".repeat(300)));
    assert_eq!(many.unwrap_or_else(|diagnostics| panic!("{diagnostics}")).1.count(Severity::Warning), 301);
    assert!(with_list("max_errors = -1", list).is_err_and(|found| found.iter().any(|one| one.code == Code::BadValue)));
    let inline = "version = 1\n[sets.a]\naddresses = [\"192.0.2.1\"]\nmax_errors = 1\n";
    assert!(load(inline).is_err_and(|found| found.iter().any(|one| one.code == Code::UnknownKey)));
}

#[test]
fn names_have_at_most_64_bytes_and_a_longer_one_is_reported_at_its_place() {
    let named = |length: usize| {
        let name = "n".repeat(length);
        load(&format!("version = 1\n[[rule]]\nname = \"{name}\"\nmatch.method = \"INFO\"\naction = \"drop\"\n"))
    };
    assert!(named(64).is_ok());
    let found = named(65).expect_err("it is too long");
    let place =
        found.iter().find(|one| one.code == Code::BadValue).and_then(|one| one.place.clone()).expect("it has a place");
    assert_eq!((place.line, place.column, place.end_column), (3, 8, 8 + 65 + 2));
}
