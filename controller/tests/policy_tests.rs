//! `ringfence test` on the sample policy.

use std::path::Path;

use filter_policy::{files, language::action::Action};

#[test]
fn a_case_says_when_its_message_arrives() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    std::fs::create_dir(folder.path().join("tests")).expect("it can be made");
    let policy = "version = 1\ndefault = \"pass\"\n[network]\nudp = [5060]\n[[rule]]\nname = \"at-night\"\n\
                  match.method = \"INVITE\"\naction = \"drop\"\n\
                  hours = { from = \"22:00\", to = \"06:00\", timezone = \"Europe/Berlin\" }\n";
    std::fs::write(folder.path().join("policy.toml"), policy).expect("it can be written");
    let run = |cases: &str| {
        std::fs::write(folder.path().join("tests/hours.toml"), cases).expect("it can be written");
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_ringfence"));
        command.arg("test").arg(folder.path()).output().expect("the program runs")
    };
    let case =
        |at: &str, verdict: &str| format!("[[case]]\nname = \"{at}\"\nat = \"{at}\"\nexpect.verdict = \"{verdict}\"\n");
    let cases = [
        case("2026-11-27T21:59:59+01:00", "pass"),
        case("2026-11-27T22:00:00+01:00", "drop"),
        case("2026-11-28T04:59:59Z", "drop"),
        case("2026-11-28T05:00:00Z", "pass"),
    ];
    let output = run(&cases.concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let output = run(&case("yesterday", "pass"));
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("\"yesterday\" is not a time") && text.contains("2026-11-27T18:30:00-05:00"), "{text}");
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
