//! The sample policy repository, on disk and inside the binary.

use std::path::Path;

use filter_core::layout::{Action, Transport};
use ringfence::{
    policy::{self, files, model::Test},
    sample_policy,
};

const TODAY: (u16, u8, u8) = (2026, 11, 21);

fn on_disk() -> policy::Built {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies");
    let files = files::Directory::new(&root).expect("the sample is checked in");
    policy::build(&files, TODAY).unwrap_or_else(|diagnostics| panic!("{diagnostics}"))
}

#[test]
fn the_sample_has_no_errors_and_no_warnings() {
    let built = on_disk();
    assert!(built.diagnostics.is_empty(), "{}", built.diagnostics);
}

#[test]
fn the_sample_inside_the_binary_is_the_one_on_disk() {
    let embedded = policy::build(&files::Table(sample_policy::FILES), TODAY).unwrap_or_else(|told| panic!("{told}"));
    assert_eq!(embedded.image.hash, on_disk().image.hash);
}

#[test]
fn every_case_of_the_sample_holds_and_every_rule_has_one() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies");
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_ringfence"))
        .args(["test", "--json"])
        .arg(&directory)
        .output()
        .expect("the program runs");
    let text = String::from_utf8(output.stdout).expect("JSON is UTF-8");
    let results: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("one object a line")).collect();
    let cases: Vec<_> = results.iter().filter(|result| result.get("case").is_some()).collect();
    for case in &cases {
        assert_eq!(case["passed"], true, "{case}");
    }
    assert!(output.status.success(), "{text}");
    assert!(cases.len() >= 100, "{} cases", cases.len());
    // A rate is exceeded by many packets; a case is one.
    let without = ["tdos-per-called-number"];
    let cases = policy::cases::read(&directory).expect("the cases can be read");
    for rule in &on_disk().policy.rules {
        // A pinhole decides nothing: its cases are those that pass.
        let is_pinhole = matches!(rule.action, Action::Continue | Action::BypassFraudControl);
        let is_expected = cases.iter().map(|case| &case.case.expect).any(|expect| {
            expect.rule.as_ref() == Some(&rule.name)
                || expect.would.as_ref().is_some_and(|would| would.contains(&rule.name))
        });
        assert!(is_pinhole || is_expected || without.contains(&rule.name.as_str()), "{} has no case", rule.name);
    }
}

#[test]
fn the_sample_is_read_as_it_is_written() {
    let built = on_disk();
    let rules: Vec<_> = built.policy.rules.iter().collect();
    assert_eq!(
        (rules[0].name.as_str(), rules[0].action),
        ("emergency", Action::Whitelist),
        "emergency calls come first"
    );
    let reported: Vec<_> = rules.iter().filter(|rule| rule.report).map(|rule| rule.name.as_str()).collect();
    assert!(["strangers", "scanners-risky", "smuggling"].iter().all(|name| reported.contains(name)), "{reported:?}");
    assert!(!built.policy.default_drop);
    assert_eq!(built.policy.ports, [(5060, Transport::Udp), (5060, Transport::Tcp), (5061, Transport::Tls)]);
    assert_eq!(built.policy.never_ban[0].name.as_deref(), Some("trunks"));
    assert_eq!(built.policy.numbering.asserted_identity_from[0].entries.len(), 4);
}

#[test]
fn do_not_originate_numbers_belong_to_the_country() {
    let built = on_disk();
    let rule = built.policy.rules.iter().find(|rule| rule.name == "do-not-originate").expect("it is there");
    assert_eq!(rule.basis.as_deref(), Some("dno"));
    let lists = rule.conditions.iter().find_map(|condition| match &condition.test {
        Test::Number(_, lists) => Some(lists),
        _ => None,
    });
    let entries = &lists.expect("the rule has numbers")[0].entries;
    assert!(entries.iter().all(|entry| entry.digits >> 60 == 1), "every entry has the country code in front");
    let exact = entries.iter().find(|entry| entry.exact).expect("some are exact");
    assert_eq!((exact.digits >> 20, exact.length), (0x120_2555_0100, 11));
}
