//! `ringfence check`: exit status and output.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

fn check(directory: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ringfence"))
        .arg("check")
        .arg(directory)
        .args(arguments)
        .output()
        .expect("the binary runs")
}

fn sample() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies")
}

fn broken(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../filter-policy/tests/broken-policies").join(name)
}

fn objects(output: &Output) -> Vec<serde_json::Value> {
    let text = std::str::from_utf8(&output.stdout).expect("output is UTF-8");
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"))).collect()
}

#[test]
fn a_good_policy_exits_0_and_shows_what_it_costs() {
    let output = check(&sample(), &[]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("can be used, no warnings") && text.contains("46 rules (10 in report mode)"), "{text}");
    assert!(text.contains("of kernel memory"), "{text}");
}

#[test]
fn a_broken_policy_exits_1_with_a_path_that_can_be_opened() {
    let directory = broken("several-mistakes");
    let output = check(&directory, &[]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains(&format!("--> {}:2:1", directory.join("policy.toml").display())), "{text}");
    assert!(!text.contains('\u{1b}'), "colours are for terminals: {text}");
}

#[test]
fn the_programs_log_has_colours_on_a_terminal_only() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringfence"));
    let output = command.env("RINGFENCE_LOG", "debug").arg("check").arg(sample()).output().expect("the binary runs");
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(log.contains("DEBUG policy compiled after=") && !log.contains('\x1b'), "{log:?}");
}

#[test]
fn a_policys_file_in_place_of_its_directory_is_named_as_such() {
    let output = check(&sample().join("policy.toml"), &[]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(error.contains("not a directory; name the one that holds policy.toml"), "{error}");
}

#[test]
fn a_missing_directory_exits_2() {
    let output = check(Path::new("no-such-directory"), &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stdout.is_empty());
    assert!(String::from_utf8_lossy(&output.stderr).contains("no-such-directory"));
}

#[test]
fn json_is_one_object_a_line_and_a_summary() {
    let output = check(&broken("several-mistakes"), &["--json"]);
    assert_eq!(output.status.code(), Some(1));
    let objects = objects(&output);
    let (summary, diagnostics) = objects.split_last().expect("there is a summary");
    assert_eq!(summary["code"], "summary");
    assert_eq!(summary["errors"], diagnostics.len());
    let unknown_set = diagnostics.iter().find(|object| object["code"] == "unknown-set").expect("it is reported");
    assert_eq!(
        unknown_set.to_string(),
        r#"{"severity":"error","code":"unknown-set","message":"there is no set `trunk`","file":"policy.toml","line":12,"column":42,"end_column":50,"help":"did you mean `trunks`?"}"#
    );
}

#[test]
fn json_of_a_good_policy_is_its_summary() {
    let objects = objects(&check(&sample(), &["--json"]));
    assert_eq!(objects.len(), 1);
    assert_eq!((&objects[0]["rules"], &objects[0]["errors"]), (&46.into(), &0.into()));
    assert!(objects[0]["kernel_bytes"].as_u64().is_some_and(|bytes| bytes > 0));
}

#[test]
fn a_link_that_leaves_the_repository_is_not_followed() {
    let repository = tempfile::tempdir().expect("a temporary directory");
    let policy = "version = 1\n[sets.a]\naddresses = \"a.txt\"\n[[rule]]\nname = \"a\"\nmatch.source = \"@a\"\naction = \"drop\"\n";
    std::fs::write(repository.path().join("policy.toml"), policy).expect("it can be written");
    std::os::unix::fs::symlink("/etc/passwd", repository.path().join("a.txt")).expect("it can be linked");
    let output = check(repository.path(), &["--json"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(objects(&output)[0]["code"], "outside-policy");
    assert!(!String::from_utf8_lossy(&output.stdout).contains("root:"), "another file's content was shown");
}

/// A name in a policy repository can hold anything, and so can an error message about it.
#[test]
fn nothing_that_is_printed_steers_a_terminal() {
    let folder = tempfile::tempdir().expect("it can be made");
    let policy = folder.path().join("a\u{1b}[2Jb\u{202e}");
    std::fs::create_dir(&policy).expect("it can be made");
    std::fs::write(
        policy.join("policy.toml"),
        "version = 1\n[[rule]]\nname = \"x\u{200b}\"\nmatch.sourc\u{e9} = \"1\"\n",
    )
    .expect("it can be written");
    for arguments in [&["check"][..], &["check", "--json"], &["test"]] {
        let output = Command::new(env!("CARGO_BIN_EXE_ringfence"))
            .args(arguments)
            .arg(&policy)
            .output()
            .expect("the binary runs");
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8(text).expect("the output is UTF-8");
        assert!(!text.is_empty());
        assert!(!text.contains(['\u{1b}', '\u{202e}', '\u{200b}']), "{arguments:?}: {text:?}");
    }
}

/// Anyone can send a message, and its file can have any name.
#[test]
fn nothing_that_is_printed_of_a_message_steers_a_terminal() {
    let folder = tempfile::tempdir().expect("it can be made");
    let message = folder.path().join("a\u{1b}[2Jb.sip");
    let text = "INVITE sip:1\u{202e}23@h SIP/2.0\r\nFrom: \"\u{1b}[2J\u{200b}\" <sip:x\u{202e}@h>;tag=1\r\nTo: <sip:1@h>\r\n\
                Call-ID: \u{1b}[2J\r\nCSeq: 1 INVITE\r\nVia: SIP/2.0/UDP h\r\nUser-Agent: \u{202e}x\r\n\r\n";
    std::fs::write(&message, text).expect("it can be written");
    for arguments in [&["inspect"][..], &["inspect", "--json"], &["explain"], &["explain", "--json"]] {
        let output = Command::new(env!("CARGO_BIN_EXE_ringfence"))
            .args(arguments)
            .arg(&message)
            .args(if arguments[0] == "explain" { &["--source", "192.0.2.1"][..] } else { &[] })
            .output()
            .expect("the binary runs");
        let text = String::from_utf8([output.stdout, output.stderr].concat()).expect("the output is UTF-8");
        assert!(text.contains("INVITE") || text.contains("user_agent"), "{arguments:?}: {text}");
        assert!(!text.contains(['\u{1b}', '\u{202e}', '\u{200b}']), "{arguments:?}: {text:?}");
    }
}
