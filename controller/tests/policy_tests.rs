//! `ringfence test` on the sample policy.

use std::path::Path;

use filter_policy::{files, language::action::Action};

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
    let without = ["registers-from-strangers", "tdos-per-called-number"];
    let cases = filter_policy::cases::read(&directory).expect("the cases can be read");
    let files = files::Directory::new(&directory).expect("the sample is checked in");
    let built = filter_policy::build(&files, (2026, 11, 21)).unwrap_or_else(|diagnostics| panic!("{diagnostics}"));
    for rule in &built.policy.rules {
        // A pinhole decides nothing: its cases are those that pass.
        let is_pinhole = matches!(rule.action, Action::Continue | Action::BypassFraudControl);
        let is_expected = cases.iter().map(|case| &case.case.expect).any(|expect| {
            expect.rule.as_ref() == Some(&rule.name)
                || expect.would.as_ref().is_some_and(|would| would.contains(&rule.name))
        });
        assert!(is_pinhole || is_expected || without.contains(&rule.name.as_str()), "{} has no case", rule.name);
    }
}
