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
    assert!(
        text.contains("`yesterday` is not a time")
            && text.contains("tests/hours.toml:3:6")
            && text.contains("2026-11-27T18:30:00-05:00"),
        "{text}"
    );
}

#[test]
fn a_policy_in_report_mode_is_tested_explained_and_replayed_as_if_it_were_enforced() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    std::fs::create_dir(folder.path().join("tests")).expect("it can be made");
    let rule = "[[rule]]\nname = \"calls\"\nmatch.method = \"INVITE\"\naction = \"drop\"\n";
    std::fs::write(folder.path().join("policy.toml"), format!("version = 1\nmode = \"report\"\n{rule}"))
        .expect("it is ours");
    let case = "[[case]]\nname = \"a call\"\nexpect = { verdict = \"drop\", rule = \"calls\", would = [] }\n";
    std::fs::write(folder.path().join("tests/calls.toml"), case).expect("it is ours");
    let message = folder.path().join("invite.sip");
    let invite = "INVITE sip:1@h SIP/2.0\r\nVia: SIP/2.0/UDP h\r\nFrom: <sip:2@h>;tag=1\r\nTo: <sip:1@h>\r\nCall-ID: 1\r\n\
                  CSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n";
    std::fs::write(&message, invite).expect("it is ours");
    let run = |arguments: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_ringfence"));
        let output = command.args(arguments).arg(folder.path()).output().expect("the program runs");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("it is text")
    };
    assert!(run(&["test"]).contains("1 passed, 0 failed"));
    assert!(run(&["check"]).contains("report mode as a whole: nothing is dropped"));
    let message = message.to_str().expect("it is text");
    let explained = run(&["explain", message, "--policy"]);
    assert!(explained.starts_with("drop (rule-drop: calls)\nthe policy is in report mode as a whole"), "{explained}");
    let explained: serde_json::Value =
        serde_json::from_str(&run(&["explain", "--json", message, "--policy"])).expect("it is JSON");
    assert_eq!((&explained["verdict"], &explained["report"]), (&"drop".into(), &true.into()), "{explained}");

    let capture = folder.path().join("calls.pcap");
    let frame = filter_policy::engine::datagram(
        &filter_policy::engine::Endpoints::from_source("192.0.2.1".parse().expect("an address"), 5060),
        invite.as_bytes(),
    );
    // The file's header (microseconds, Ethernet), and one packet.
    let mut bytes = vec![0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0];
    let length = (frame.len() as u32).to_le_bytes();
    bytes.extend([[0; 4], [0; 4], length, length].concat());
    bytes.extend(&frame);
    std::fs::write(&capture, bytes).expect("it is ours");
    let replayed = run(&["replay", capture.to_str().expect("it is text"), "--policy"]);
    assert!(replayed.contains("1 packets: 0 passed, 1 dropped"), "{replayed}");
}

#[test]
fn a_case_that_fails_says_that_a_rate_or_a_ban_would_have_decided() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    std::fs::create_dir(folder.path().join("tests")).expect("it can be made");
    let policy = "version = 1\n[network]\nudp = [5060]\n\
                  [[rule]]\nname = \"scanners\"\nmatch.user_agent = \"scanner\"\naction = { ban = \"1h\" }\n\
                  [[rule]]\nname = \"flood\"\nmatch.method = \"INVITE\"\naction = \"drop\"\n\
                  over = { rate = \"5/s\", burst = 3, per = \"called\" }\n\
                  [[rule]]\nname = \"slow-flood\"\nmatch.method = \"INVITE\"\naction = \"drop\"\n\
                  over = { rate = \"4/m\", burst = 4, per = \"called\" }\n";
    std::fs::write(folder.path().join("policy.toml"), policy).expect("it is ours");
    let run = |cases: &str, arguments: &[&str]| {
        std::fs::write(folder.path().join("tests/rates.toml"), cases).expect("it is ours");
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_ringfence"));
        let output = command.arg("test").args(arguments).arg(folder.path()).output().expect("the program runs");
        (output.status.code(), String::from_utf8(output.stdout).expect("it is text"))
    };
    let case = |more: &str| format!("[[case]]\nname = \"x\"\ncalled = \"13125550199\"\n{more}\n");
    let good = [
        // Each rule has a rate of its own, also of the same number.
        case("before = [{ count = 3, every = \"1s\" }]\nexpect = { verdict = \"pass\", rule = \"\" }"),
        case("before = [{ count = 3 }]\nexpect = { verdict = \"drop\", rule = \"flood\" }"),
        case("before = [{ count = 4, every = \"1s\" }]\nexpect = { verdict = \"drop\", rule = \"slow-flood\" }"),
        case(
            "before = [{ user_agent = \"scanner\", ago = \"59m\" }]\nexpect = { verdict = \"drop\", reason = \"banned\" }",
        ),
        case("before = [{ user_agent = \"scanner\", ago = \"61m\" }]\nexpect = { verdict = \"pass\" }"),
        case("banned = true\nexpect = { verdict = \"drop\", reason = \"banned\", rule = \"\" }"),
    ];
    let (status, text) = run(&good.concat(), &[]);
    assert_eq!(status, Some(0), "{text}");

    let (status, text) = run(&case("expect = { verdict = \"drop\" }"), &[]);
    assert_eq!(status, Some(1), "{text}");
    let says = "(tests/rates.toml:2): expected drop, but got pass by default-pass; rule flood matches, but its rate is not \
                exceeded (5/s, burst 3, per called): `before = [{ count = 3 }]` exceeds it; rule slow-flood matches";
    assert!(text.contains(says), "{text}");
    let banned = case("before = [{ user_agent = \"scanner\" }]\nexpect = { verdict = \"pass\", rule = \"scaners\" }");
    let (_, text) = run(&banned, &[]);
    assert!(text.contains("got drop by a ban that an earlier message earned from rule scanners"), "{text}");
    assert!(text.contains("; the policy has no rule scaners"), "{text}");
    let (_, text) = run(&banned, &["--json"]);
    assert!(
        text.contains(r#""reason":"banned","rule":null,"would":[],"within_rate":[],"banned_by":"scanners""#),
        "{text}"
    );

    let message = folder.path().join("invite.sip");
    std::fs::write(&message, "INVITE sip:1@h SIP/2.0\r\nUser-Agent: scanner\r\n\r\n").expect("it is ours");
    let call = folder.path().join("call.sip");
    std::fs::write(&call, "INVITE sip:1@h SIP/2.0\r\n\r\n").expect("it is ours");
    let explain = |arguments: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_ringfence"));
        command.args(["explain", "--policy"]).arg(folder.path()).args(arguments);
        String::from_utf8(command.output().expect("the program runs").stdout).expect("it is text")
    };
    let (scan, call) = (message.to_str().expect("it is text"), call.to_str().expect("it is text"));
    let text = explain(&[scan]);
    assert!(text.starts_with("drop (rule-ban: scanners)\nthe source is banned for 1h from here on"), "{text}");
    let text = explain(&["--after", scan, call]);
    assert!(
        text.starts_with("drop (banned)\nan earlier message earned the source a ban, by the rule scanners"),
        "{text}"
    );
    let text = explain(&[call]);
    assert!(text.contains("flood (drop): rate not exceeded (5/s, burst 3, per called; `--after`"), "{text}");
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
    let cases = filter_policy::cases::read(&directory).expect("the cases can be read");
    let files = files::Directory::new(&directory).expect("the sample is checked in");
    let built = filter_policy::build(&files, (2026, 11, 21)).unwrap_or_else(|diagnostics| panic!("{diagnostics}"));
    for rule in &built.policy.rules {
        // A pinhole decides nothing: its cases are those that pass.
        let is_pinhole = matches!(rule.action, Action::Continue | Action::BypassFraudControl);
        let is_expected = cases.iter().map(|case| &case.expect).any(|expect| {
            expect.rule.as_ref() == Some(&rule.name)
                || expect.would.as_ref().is_some_and(|would| would.contains(&rule.name))
        });
        assert!(is_pinhole || is_expected, "{} has no case", rule.name);
    }
}
