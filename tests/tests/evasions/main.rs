//! Ways to hide from a filter, one test each, in user space and in the kernel. For each, docs/evasions.md says where it is
//! known from and why our reading is the safe one.

mod addresses;
mod headers;
mod identities;
mod lengths;
mod lines;
mod packets;
mod start_lines;
mod tcp;
mod users;

use std::{collections::BTreeSet, env, fs, process::Command, sync::LazyLock};

use filter_core::reason::Reason;
use ringfence_hosts::{Outcome, Shared, policy};
use ringfence_tests::{message::Message, packet::Packet, workspace};

/// A policy that uses every scope.
static POLICY: LazyLock<Shared> = LazyLock::new(|| Shared::new(policy::everything()));

/// A number that the policy blocks as the calling number.
const BLOCKED: &str = "+16055620123";

fn decide(packet: &Packet) -> Outcome {
    POLICY.decide(packet.frame())
}

fn call() -> Message {
    Message::invite()
}

/// A call from the blocked number, in every field that servers read.
fn blocked_call() -> Message {
    call().calling(BLOCKED)
}

/// A call with this From.
fn from(value: &str) -> Message {
    call().set("From", value)
}

#[track_caller]
fn blocks(message: impl Into<Vec<u8>>) -> Outcome {
    blocks_packet(&Packet::udp(message))
}

#[track_caller]
fn blocks_packet(packet: &Packet) -> Outcome {
    let outcome = decide(packet);
    assert!(outcome.is_drop() && outcome.rule.as_deref() == Some("calling"), "{outcome:?}");
    outcome
}

#[track_caller]
fn has_anomaly(message: impl Into<Vec<u8>>, anomaly: &str) -> Outcome {
    let outcome = decide(&Packet::udp(message));
    assert!(outcome.field("anomalies").split(' ').any(|name| name == anomaly), "{outcome:?}");
    outcome
}

#[track_caller]
fn passes(packet: &Packet, reason: Reason) -> Outcome {
    let outcome = decide(packet);
    assert_eq!(outcome.reason, reason, "{outcome:?}");
    assert!(!outcome.is_drop(), "{outcome:?}");
    outcome
}

/// The names of the tests in the modules of this program, from its harness.
fn tests() -> BTreeSet<String> {
    let program = env::current_exe().expect("this program has a path");
    let output = Command::new(program).arg("--list").output().expect("this program can be started");
    let list = String::from_utf8(output.stdout).expect("names are text");
    let paths = list.lines().filter_map(|line| line.strip_suffix(": test"));
    paths.filter_map(|path| path.split_once("::")).map(|(_, name)| name.to_owned()).collect()
}

#[test]
fn each_row_of_the_table_has_its_test_and_each_test_its_row() {
    let text = fs::read_to_string(workspace().join("docs/evasions.md")).expect("docs/evasions.md exists");
    let (_, table) = text.split_once("## All known evasions").expect("docs/evasions.md has the table");
    let rows: Vec<&str> = table.lines().filter(|line| line.starts_with("| ") && line.contains('`')).collect();
    let named: Vec<String> = rows
        .iter()
        .map(|row| row.trim_end_matches([' ', '|']).rsplit_once("| `").expect("a test's name in the last column").1)
        .map(|name| name.trim_end_matches('`').to_owned())
        .collect();
    let unique: BTreeSet<String> = named.iter().cloned().collect();
    assert_eq!(unique.len(), named.len(), "a test is in two rows");
    let tests = tests();
    let untested: Vec<_> = unique.difference(&tests).collect();
    let unnamed: Vec<_> = tests.difference(&unique).collect();
    assert!(untested.is_empty(), "rows without a test: {untested:?}");
    assert!(unnamed.is_empty(), "tests without a row: {unnamed:?}");
    assert!(rows.len() >= 40, "{} rows", rows.len());
}
