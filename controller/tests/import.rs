//! `ringfence import`: exit status, what is printed, the file that is written, and what a policy makes of it.

use std::{
    fs,
    io::Write as _,
    path::Path,
    process::{Command, Output, Stdio},
};

use filter_policy::files::Directory;

fn import(arguments: &[&str], folder: &Path, input: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_ringfence"))
        .arg("import")
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    // A command line with a mistake in it is refused before the input is read.
    let _ = child.stdin.take().expect("there is a pipe").write_all(input);
    child.wait_with_output().expect("it ends")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

/// Everything in a folder, by name.
fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .expect("it can be listed")
        .map(|entry| entry.expect("it can be listed").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn a_list_goes_from_standard_input_to_standard_output_and_the_summary_beside_it() {
    let folder = folder();
    for arguments in [&["cidr"][..], &["cidr", "-"]] {
        let output = import(arguments, folder.path(), b"192.0.2.9\r\n192.0.2.1\r\nx\r\n");
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        assert_eq!(text(&output.stdout).lines().skip(1).collect::<Vec<_>>(), ["192.0.2.1", "192.0.2.9"]);
        let summary = text(&output.stderr);
        assert!(summary.contains("standard input:3: left out: `x` is not an IP address"), "{summary}");
        assert!(summary.contains("2 entries (0 duplicates or covered by others, 1 unreadable)"), "{summary}");
    }
}

#[test]
fn a_file_is_written_once_and_then_left_alone() {
    let folder = folder();
    fs::write(folder.path().join("drop.txt"), "; DROP\n192.0.2.0/24 ; SBL1\n192.0.2.4\n").expect("it can be written");
    let run = || import(&["spamhaus-drop", "drop.txt", "-o", "list.txt", "--json"], folder.path(), b"");
    let summary = |output: &Output| -> serde_json::Value {
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", text(&output.stderr)))
    };
    let first = run();
    assert_eq!(first.status.code(), Some(0));
    assert_eq!(
        summary(&first).to_string(),
        r#"{"format":"spamhaus-drop","input":"drop.txt","output":"list.txt","changed":true,"entries":1,"duplicates":1,"rare":0,"unreadable":0,"problems":[],"noted":0,"notes":[]}"#
    );
    let written = fs::read_to_string(folder.path().join("list.txt")).expect("it is there");
    assert!(written.ends_with("\n192.0.2.0/24 # SBL1\n"), "{written}");
    let times = |path: &Path| fs::metadata(path).and_then(|data| data.modified()).expect("it is there");
    let before = times(&folder.path().join("list.txt"));
    assert_eq!(summary(&run())["changed"], false);
    assert_eq!(times(&folder.path().join("list.txt")), before);
    assert_eq!(names(folder.path()), ["drop.txt", "list.txt"]);
}

#[test]
fn an_input_that_is_no_list_leaves_the_file_as_it_was() {
    let folder = folder();
    let list = folder.path().join("list.txt");
    fs::write(&list, "192.0.2.1\n").expect("it can be written");
    for (format, input, says) in [
        ("cidr", &b""[..], "empty"),
        ("cidr", b"<html><body>please log in</body></html>", "web page"),
        ("cidr", b"\x7fELF\x00\x00", "binary"),
        ("spamhaus-drop", b"{\"cidr\":\"192.0.2.0/24\"}\n{\"cidr\":\"19", "middle of its JSON"),
        ("apiban", b"{\"ipaddress\":[\"192.0.2.1\",", "middle of its JSON"),
        ("apiban", b"{\"ipaddress\":[\"rate limit exceeded\"],\"ID\":\"unauthorized\"}", "rate limit exceeded"),
        ("fail2ban", b"[{'sshd': ['192.0", "middle of the list"),
        ("fail2ban", b"These IP addresses/networks are ignored:\n`- 192.0.2.10\n", "never bans"),
        ("fail2ban", b"2026-11-20 13:22:46,1 fail2ban.actions [8]: NOTICE [a] Unban 192.0.2.10\n", "a log of fail2ban"),
        ("fail2ban", b"add a 192.0.2.1 timeout 0 comment \"by 192.0.2.10\"\n", "a set of ipset"),
        ("fail2ban", b"-A f2b-a -s 192.0.2.1/32 -j REJECT\n", "iptables"),
        ("cidr", b"\xff\xfe1\x009\x002\x00", "UTF-16"),
        ("cidr", b"<?xml version=\"1.0\"?><a>192.0.2.1</a>", "XML"),
        ("crowdsec", b"id,scope,value,reason,country\n1,Ip,192.0.2.1,x,\n", "alerts"),
        ("ipset", b"create a hash:ip\nadd a 192.0.2.1\ncreate b hash:ip\nadd b 192.0.2.2\n", "2 sets"),
        ("ipset", b"create a hash:ip,port\nadd a 192.0.2.1,udp:5060\n", "hash:ip,port"),
        ("nft", b"table ip t {\n\tset s {\n\t\ttype ipv4_addr\n\t\telements = { 192.0.2.1,", "middle of a table"),
        ("nft", b"{\"nftables\": [{\"set\": {", "middle of its JSON"),
        ("nanpa", b"a\tb\tc\n", "NPA-NXX"),
        ("numbers", b"no such list\n", "no column of numbers"),
        ("numbers", b"5550199\n", "7 digits"),
        ("scores", b"2125550100\n", "no column of scores"),
    ] {
        let output = import(&[format, "-o", "list.txt"], folder.path(), input);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{format}: {error}");
        assert!(error.contains("failed to import standard input") && error.contains(says), "{format}: {error}");
        assert!(error.contains("\nhelp: "), "{format}: {error}");
        assert_eq!(fs::read_to_string(&list).expect("it is there"), "192.0.2.1\n", "{format}");
    }
    let wrong = "x\n".repeat(4) + "192.0.2.7\n";
    let output = import(&["cidr", "--max-errors", "3", "-o", "list.txt"], folder.path(), wrong.as_bytes());
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("--max-errors"), "{}", text(&output.stderr));
    assert_eq!(fs::read_to_string(&list).expect("it is there"), "192.0.2.1\n");
    assert_eq!(names(folder.path()), ["list.txt"], "nothing is left behind");
}

#[test]
fn bad_usage_and_files_that_are_not_there_exit_2() {
    let folder = folder();
    for arguments in [
        &["cidr", "none.txt"][..],
        &["cidr", "."],
        &["cidr", "-o", "."],
        &["cidr", "-o", "none/list.txt"],
        &["unheard-of"],
        &["numbers", "--country-code", "+1"],
        &["numbers", "--national-prefix", "x"],
        &["scores", "--max-score", "0"],
        &["cidr", "--separator", "||"],
        &["numbers", "--min-count", "x"],
    ] {
        let output = import(arguments, folder.path(), b"192.0.2.1\n");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", text(&output.stderr));
        assert!(!output.stderr.is_empty(), "{arguments:?}");
    }
    assert!(names(folder.path()).is_empty());
}

#[test]
fn the_target_of_a_link_is_replaced_and_keeps_its_permissions() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = folder();
    let list = folder.path().join("list.txt");
    fs::write(&list, "old\n").expect("it can be written");
    fs::set_permissions(&list, fs::Permissions::from_mode(0o640)).expect("it is ours");
    std::os::unix::fs::symlink("list.txt", folder.path().join("link.txt")).expect("it can be linked");
    let output = import(&["cidr", "-o", "link.txt"], folder.path(), b"192.0.2.1\n");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(fs::symlink_metadata(folder.path().join("link.txt")).expect("it is there").is_symlink());
    assert!(fs::read_to_string(&list).expect("it is there").ends_with("192.0.2.1\n"));
    assert_eq!(fs::metadata(&list).expect("it is there").permissions().mode() & 0o777, 0o640);
}

#[test]
fn what_an_entry_becomes_is_said_beside_the_list() {
    let folder = folder();
    for (arguments, input, list, says) in [
        (
            &["numbers", "--min-count", "2"][..],
            "number\n303\n2025550101\n2025550101\n303\n3125550110\n",
            &["+12025550101$", "+1303"][..],
            &[
                "standard input:2: read as a prefix",
                "2 entries (2 duplicates or covered by others, 0 unreadable, 1 with too few rows)",
            ][..],
        ),
        (
            &["ipset", "--set", "a"],
            "create a hash:net\nadd a 192.0.2.0/31\nadd a 192.0.2.1 nomatch\ncreate b hash:ip\nadd b 192.0.2.9\n",
            &["192.0.2.0"],
            &["standard input:3: left out: 192.0.2.1/32 is an exception"],
        ),
        (
            &["cidr", "--column", "2", "--separator", ";"],
            "x;::ffff:192.0.2.1\n",
            &["192.0.2.1"],
            &["1 entry (0 duplicates"],
        ),
    ] {
        let output = import(arguments, folder.path(), input.as_bytes());
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{said}");
        let listed = text(&output.stdout);
        assert_eq!(listed.lines().filter(|line| !line.starts_with('#') && *line != "number").collect::<Vec<_>>(), list);
        for says in says {
            assert!(said.contains(says), "{said}");
        }
    }
}

/// One list of every format, in the policy that it is for: `check` finds nothing to say of it, and its cases pass.
#[test]
fn imported_lists_decide() {
    let repository = folder();
    let root = repository.path();
    fs::create_dir_all(root.join("lists")).and_then(|()| fs::create_dir(root.join("tests"))).expect("it is ours");
    for (arguments, input) in [
        (
            &["nanpa", "-o", "lists/numbering.csv"][..],
            "State\tNPA-NXX\tOCN\tCompany\tRateCenter\tEffectiveDate\tUse\tAssignDate\tInitial/Growth\tPooled Code\n\
             SD\t605-562\t6529\tMARTIN\tMARTIN\t\tAS\t\t\tN\nSD\t605-225\t9631\tQWEST\tABERDEEN\t\tAS\t\t\tN\n\
             SD\t605-226\t\t\t\t\tUA\t\t\t\n",
        ),
        (&["numbers", "-o", "lists/dno.csv"], "Telephone Number,Owner\n202-555-0143,bank\n303,\n"),
        (&["scores", "-o", "lists/scores.csv"], "phone,score\n2125559080,80\n2125559020,20\n"),
        (&["spamhaus-drop", "-o", "lists/drop.txt"], "; DROP\n198.51.100.0/25 ; SBL1\n"),
        (&["cidr", "-o", "lists/bogons.txt"], "203.0.113.64/26\n203.0.113.65\n"),
        (&["apiban", "-o", "lists/apiban.txt"], "{\"ipaddress\":[\"203.0.113.5\"],\"ID\":\"1\"}"),
        (&["fail2ban", "-o", "lists/banned.txt"], "[{'asterisk': ['2001:db8::5']}]\n"),
    ] {
        let output = import(arguments, root, input.as_bytes());
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", text(&output.stderr));
    }
    let policy = r#"
        version = 1

        [network]
        udp = [5060]

        [numbering]
        country_code = "1"
        ranges = "lists/numbering.csv"

        [sets.dno]
        numbers = "lists/dno.csv"
        [sets.scores]
        numbers = "lists/scores.csv"
        [sets.drop]
        addresses = "lists/drop.txt"
        [sets.bogons]
        addresses = "lists/bogons.txt"
        [sets.apiban]
        addresses = "lists/apiban.txt"
        [sets.banned]
        addresses = "lists/banned.txt"

        [[rule]]
        name = "emergency"
        match.called = ["911$", "urn:service:sos"]
        action = "whitelist"

        [[rule]]
        name = "addresses"
        match.source = ["@drop", "@bogons", "@apiban", "@banned"]
        action = "drop"

        [[rule]]
        name = "do-not-originate"
        match.calling = "@dno"
        action = "drop"

        [[rule]]
        name = "reputation"
        match.calling_reputation = ">= 80"
        action = "drop"

        [[rule]]
        name = "unassigned"
        match.calling_format = "unassigned-block"
        action = "drop"

        [[rule]]
        name = "holder"
        match.calling_spid = "6529"
        action = "drop"

        [[rule]]
        name = "state"
        match.calling_region = "US-SD"
        action = "drop"
    "#;
    fs::write(root.join("policy.toml"), policy).expect("it is ours");
    let mut cases = String::new();
    for (name, fields, rule) in [
        ("in a network of Spamhaus", "source = \"198.51.100.9\"", "addresses"),
        ("beside it", "source = \"198.51.100.129\"", ""),
        ("in a network that covers another entry", "source = \"203.0.113.66\"", "addresses"),
        ("an address of APIBAN", "source = \"203.0.113.5\"", "addresses"),
        ("an address that fail2ban banned", "source = \"2001:db8::5\"", "addresses"),
        ("a listed number", "calling = \"+12025550143\"", "do-not-originate"),
        ("its neighbour", "calling = \"+12024560143\"", ""),
        ("a listed area code", "calling = \"+13035550199\"", "do-not-originate"),
        ("a high score", "calling = \"+12125559080\"", "reputation"),
        ("a low score", "calling = \"+12125559020\"", ""),
        ("an exchange that nobody holds", "calling = \"+16052260199\"", "unassigned"),
        ("an exchange that the report does not name", "calling = \"+16057770199\"", "unassigned"),
        ("an area code that the report does not name", "calling = \"+17015620199\"", ""),
        ("a holder", "calling = \"+16055620199\"", "holder"),
        ("another holder in the state", "calling = \"+16052250199\"", "state"),
    ] {
        let verdict = if rule.is_empty() { "pass" } else { "drop" };
        cases += &format!(
            "[[case]]\nname = \"{name}\"\n{fields}\ncalled = \"+13125557788\"\nexpect = {{ verdict = \"{verdict}\", rule = \"{rule}\" }}\n"
        );
    }
    fs::write(root.join("tests/cases.toml"), cases).expect("it is ours");

    let files = Directory::new(root).expect("it is there");
    match filter_policy::build(&files, (2026, 11, 21)) {
        Ok(built) => assert!(built.diagnostics.is_empty(), "{}", built.diagnostics),
        Err(diagnostics) => panic!("{diagnostics}"),
    }
    let output = Command::new(env!("CARGO_BIN_EXE_ringfence")).arg("test").arg(root).output().expect("the binary runs");
    assert_eq!(output.status.code(), Some(0), "{}{}", text(&output.stdout), text(&output.stderr));
}
