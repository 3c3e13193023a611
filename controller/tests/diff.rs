//! `ringfence diff`: what it says another version of a policy changes.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Output},
};

use serde_json::{Value, json};

const POLICY: &str = r#"version = 1
default = "pass"
[network]
udp = [5060]
[numbering]
country_code = "1"
international_prefix = "011"
[sets.bad]
addresses = "bad.txt"
[sets.dno]
numbers = ["12125559000$", "1900"]
[[rule]]
name = "first"
match.source = "@bad"
action = "drop"
[[rule]]
name = "second"
match = { method = "INVITE", calling = "@dno" }
action = "drop"
[[rule]]
name = "third"
match.user_agent = ["friendly-scanner"]
action = "drop"
"#;

struct Scene {
    folder: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        let scene = Self { folder: tempfile::tempdir().expect("a temporary directory") };
        scene.policy("old", POLICY, "192.0.2.1\n198.51.100.0/24\n");
        scene
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn policy(&self, name: &str, text: &str, list: &str) {
        fs::create_dir_all(self.path(name)).expect("it is ours");
        fs::write(self.path(name).join("policy.toml"), text).expect("it is ours");
        fs::write(self.path(name).join("bad.txt"), list).expect("it is ours");
    }

    fn diff(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringfence"));
        command.current_dir(self.folder.path()).args(["diff", "--state-dir", "state"]);
        // Nothing of this host.
        command.arg("--pin-dir").arg(self.path("pins")).args(arguments);
        command.output().expect("the program runs")
    }
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn every_kind_of_change_is_said_in_a_line() {
    let scene = Scene::new();
    let new = POLICY
        .replace("udp = [5060]", "udp = [5060, 5080]\ntcp = [5060]")
        .replace("international_prefix = \"011\"\n", "")
        .replace("\"1900\"]", "\"1976\", \"1900\"]")
        .replace("method = \"INVITE\"", "method = [\"INVITE\", \"MESSAGE\"]")
        .replace(
            "match.user_agent = [\"friendly-scanner\"]\naction = \"drop\"",
            "match.user_agent = [\"friendly-scanner\"]\naction = { ban = \"1h\" }",
        )
        .replace("name = \"first\"", "name = \"1st\"");
    scene.policy("new", &new, "192.0.2.2\n198.51.100.0/24\n");
    let output = scene.diff(&["--from", "old", "new"]);
    let expected = "\
+ network.tcp = [5060] is new
~ network.udp = [5060] -> [5060, 5080]
- numbering.international_prefix = \"011\" is gone
+ rule 1st: is new
- rule first: is gone
~ rule second: match.method = \"INVITE\" -> [\"INVITE\", \"MESSAGE\"]
~ rule third: action = \"drop\" is gone
~ rule third: action.ban = \"1h\" is new
~ @bad: 1 new, 1 gone
    + 192.0.2.2
    - 192.0.2.1
~ @dno: 1 new, 0 gone
    + 1976
";
    assert_eq!((out(&output).as_str(), output.status.code()), (expected, Some(1)), "{}", err(&output));

    let output = scene.diff(&["--json", "--from", "old", "new"]);
    let answer: Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    assert_eq!(
        (&answer["added"], &answer["removed"], &answer["same_effect"]),
        (&json!(["1st"]), &json!(["first"]), &json!(false))
    );
    let set =
        json!({"set": "@bad", "added": 1, "removed": 1, "first_added": ["192.0.2.2"], "first_removed": ["192.0.2.1"]});
    assert_eq!(answer["sets"][0], set);
}

#[test]
fn long_lists_are_counted_and_the_first_entries_named() {
    let scene = Scene::new();
    let list: String = (1..=200).map(|last| format!("203.0.113.{last}\n")).collect();
    scene.policy("new", POLICY, &format!("192.0.2.1\n198.51.100.0/24\n{list}"));
    let text = out(&scene.diff(&["--from", "old", "new"]));
    assert!(text.starts_with("~ @bad: 200 new, 0 gone\n    + 203.0.113.1\n"), "{text}");
    assert!(text.ends_with("    + 203.0.113.5\n    + 195 more\n"), "{text}");
}

#[test]
fn the_order_of_rules_matters_and_remarks_do_not() {
    let scene = Scene::new();
    let (head, rules) = POLICY.split_once("[[rule]]").expect("it has rules");
    let rules: Vec<&str> = rules.split("[[rule]]").collect();
    let rotated = format!("{head}[[rule]]{}[[rule]]{}[[rule]]{}", rules[1], rules[2], rules[0]);
    scene.policy("new", &rotated, "192.0.2.1\n198.51.100.0/24\n");
    assert_eq!(out(&scene.diff(&["--from", "old", "new"])), "~ rule first: has another place\n");

    let remark = POLICY.replace("name = \"first\"", "name = \"first\" # a remark\ncomment = \"see the ticket\"");
    scene.policy("new", &remark, "# A remark.\n198.51.100.0/24\n192.0.2.1\n");
    let output = scene.diff(&["--from", "old", "new"]);
    assert_eq!((out(&output).as_str(), output.status.code()), ("nothing changes\n", Some(0)));
    let explicit = POLICY.replace(
        "action = \"drop\"\n[[rule]]\nname = \"second\"",
        "action = \"drop\"\nmode = \"enforce\"\n[[rule]]\nname = \"second\"",
    );
    scene.policy("new", &explicit, "192.0.2.1\n198.51.100.0/24\n");
    let output = scene.diff(&["--from", "old", "new"]);
    let expected = "~ rule first: mode = \"enforce\" is new\nnone of this changes what happens to a packet\n";
    assert_eq!((out(&output).as_str(), output.status.code()), (expected, Some(1)));
}

/// A capture of one request from each of these addresses.
fn pcap(sources: &[[u8; 4]]) -> Vec<u8> {
    let message = b"OPTIONS sip:100@192.0.2.100 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK-1\r\n\
                    From: <sip:100@192.0.2.1>;tag=1\r\nTo: <sip:100@192.0.2.100>\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\n\
                    Content-Length: 0\r\n\r\n";
    let mut file = Vec::new();
    for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65_535, 1] {
        file.extend(word.to_le_bytes());
    }
    for source in sources {
        let mut frame = vec![0; 42];
        frame[12] = 8;
        frame[14] = 0x45;
        frame[16..18].copy_from_slice(&(28 + message.len() as u16).to_be_bytes());
        frame[22..24].copy_from_slice(&[64, 17]);
        frame[26..30].copy_from_slice(source);
        frame[30..34].copy_from_slice(&[192, 0, 2, 100]);
        frame[34..38].copy_from_slice(&[0x13, 0xc4, 0x13, 0xc4]);
        frame[38..40].copy_from_slice(&(8 + message.len() as u16).to_be_bytes());
        frame.extend_from_slice(message);
        for word in [1_700_000_000, 0, frame.len() as u32, frame.len() as u32] {
            file.extend(word.to_le_bytes());
        }
        file.extend(frame);
    }
    file
}

#[test]
fn a_capture_shows_the_packets_whose_verdict_changes() {
    let scene = Scene::new();
    let capture = scene.path("capture.pcap");
    fs::write(&capture, pcap(&[[192, 0, 2, 1], [192, 0, 2, 2], [192, 0, 2, 3]])).expect("it is ours");
    let everything = POLICY.replace("match.source = \"@bad\"", "match.source = \"0.0.0.0/0\"");
    scene.policy("new", &everything, "192.0.2.1\n198.51.100.0/24\n");
    let capture = capture.to_str().expect("it is text");
    let output = scene.diff(&["--json", "--from", "old", "new", "--capture", capture]);
    let lines: Vec<Value> = out(&output).lines().map(|line| serde_json::from_str(line).expect("it is JSON")).collect();
    assert_eq!(output.status.code(), Some(1), "{}", err(&output));
    let changed: Vec<&Value> = lines.iter().filter(|line| line["packet"].is_u64()).collect();
    // The first one is dropped by both.
    assert_eq!(changed.len(), 2, "{lines:?}");
    for line in &changed {
        assert_eq!((&line["verdict"], &line["against"]["rule"]), (&"pass".into(), &"first".into()), "{line}");
    }
    assert_eq!(lines.last().expect("totals")["totals"]["changed"], changed.len());
}

#[test]
fn what_cannot_be_compared_exits_with_2_as_diff_does() {
    let scene = Scene::new();
    scene.policy("broken", "version = 1\n[[rule]]\n", "");
    let output = scene.diff(&["--from", "old", "broken"]);
    assert!(
        output.status.code() == Some(2) && err(&output).contains("the policy broken cannot be used"),
        "{}",
        err(&output)
    );
    let output = scene.diff(&["--from", "old", "none"]);
    assert!(output.status.code() == Some(2) && err(&output).contains("failed to open"), "{}", err(&output));
    let output = scene.diff(&["old"]);
    assert!(output.status.code() == Some(2) && err(&output).contains("`--from DIR`"), "{}", err(&output));
    let output = scene.diff(&["--from", "old", "--config", "none.toml"]);
    assert_eq!(output.status.code(), Some(2), "{}", err(&output));
}

#[test]
fn a_branch_that_is_not_in_force_yet_is_fetched_and_compared() {
    let scene = Scene::new();
    let git = |arguments: &[&str]| {
        let settings = ["-c", "user.name=x", "-c", "user.email=x@example.net"];
        let output = Command::new("git").current_dir(scene.path("repo")).args(settings).args(arguments).output();
        let output = output.expect("git runs");
        assert!(output.status.success(), "git {arguments:?}: {}", err(&output));
    };
    scene.policy("repo/edge", &POLICY.replace("udp = [5060]", "udp = [5062]"), "192.0.2.1\n198.51.100.0/24\n");
    git(&["init", "--quiet", "--initial-branch=next"]);
    git(&["add", "--all"]);
    git(&["commit", "--quiet", "--message=x"]);
    let url = format!("file://{}", scene.path("repo").display());
    let arguments = ["--from", "old", "--policy-git", &url, "--branch", "next", "--policy-path", "edge"];
    let output = scene.diff(&arguments);
    let expected = "~ network.udp = [5060] -> [5062]\n";
    assert_eq!((out(&output).as_str(), output.status.code()), (expected, Some(1)), "{}", err(&output));
    let output = scene.diff(&["--from", "old", "--policy-git", &url, "--branch", "none"]);
    assert!(output.status.code() == Some(2) && err(&output).contains("there is no branch none"), "{}", err(&output));
}
