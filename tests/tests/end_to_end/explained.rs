//! `ringfence explain` says what the kernel does: with bans, dropped connections and trusted sources too. Each situation is made in
//! the kernel by packets, and described to `explain` by its options.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};
use filter_core::reason::Reason;
use ringfence_hosts::{Hosts, policy};
use ringfence_tests::{message::Message, packet::Packet};

use crate::scene::binary;

const STRANGER: &str = "203.0.113.9";
const TRUNK: &str = "192.0.2.10";
const CUSTOMER: &str = "198.51.100.7";

const POLICY: &str = r#"version = 1
never_ban = ["198.51.100.0/24"]

[network]
udp = [5060]
tcp = [5060]

[numbering]
country_code = "1"
asserted_identity_from = ["192.0.2.0/24"]

[[rule]]
name = "scanner"
match = { user_agent = "friendly-scanner", transport = "udp" }
action = { ban = "1h" }

[[rule]]
name = "listed"
match = { method = "INVITE", called = "1900" }
action = "drop"

[[rule]]
name = "pieces"
match = { anomaly = "split-message", not.source = "192.0.2.0/24" }
action = "drop"
"#;

/// A SYN, before any payload.
const SYN: u8 = 0x02;

fn scan() -> Vec<u8> {
    Message::request("OPTIONS").set("User-Agent", "friendly-scanner").into()
}

fn call(number: &str) -> Vec<u8> {
    Message::invite().called(number).into()
}

/// What happened before, and the payload that is asked about.
struct Situation {
    name: &'static str,
    source: &'static str,
    is_tcp: bool,
    before: Vec<Vec<u8>>,
    payload: Vec<u8>,
    allow_emergency: bool,
    expected: Reason,
}

fn situations() -> Vec<Situation> {
    let ordinary = || call("+13125550199");
    let listed = || call("+19005550100");
    let emergency = || call("911");
    let situation = |name, source, is_tcp, before: &[Vec<u8>], payload, expected| Situation {
        name,
        source,
        is_tcp,
        before: before.to_vec(),
        payload,
        allow_emergency: true,
        expected,
    };
    vec![
        situation("nothing before", STRANGER, false, &[], ordinary(), Reason::DefaultPass),
        situation("a scan", STRANGER, false, &[], scan(), Reason::RuleBan),
        situation("banned", STRANGER, false, &[scan()], ordinary(), Reason::Banned),
        situation("banned, and calls for help", STRANGER, false, &[scan()], emergency(), Reason::DefaultPass),
        Situation {
            allow_emergency: false,
            ..situation("banned even for emergencies", STRANGER, false, &[scan()], emergency(), Reason::Banned)
        },
        situation(
            "banned, after a call for help",
            STRANGER,
            false,
            &[scan(), emergency()],
            ordinary(),
            Reason::DefaultPass,
        ),
        situation("never banned", CUSTOMER, false, &[scan()], ordinary(), Reason::DefaultPass),
        situation("a stranger's dropped connection", STRANGER, true, &[listed()], ordinary(), Reason::FlowOfDropped),
        situation("a trunk's listed call", TRUNK, true, &[], listed(), Reason::DefaultPass),
        situation("a trunk's connection after one", TRUNK, true, &[listed()], ordinary(), Reason::DefaultPass),
        situation("the first piece of a message", STRANGER, true, &[], ordinary()[..200].to_vec(), Reason::RuleDrop),
        situation("a trunk's piece", TRUNK, true, &[], ordinary()[..200].to_vec(), Reason::DefaultPass),
        situation(
            "the second piece",
            STRANGER,
            true,
            &[ordinary()[..200].to_vec()],
            ordinary()[200..].to_vec(),
            Reason::FlowOfDropped,
        ),
    ]
}

/// What the kernel decides, as does the engine in user space.
fn in_kernel(policy: &str, situation: &Situation) -> Result<(Reason, Option<String>)> {
    let built = policy::text(policy);
    let mut hosts = Hosts::new(&built.image)?;
    let mut sequence = 1;
    let mut packet = |payload: &[u8]| {
        if !situation.is_tcp {
            return Packet::udp(payload).from(situation.source);
        }
        let packet = Packet::tcp(payload).from(situation.source).sequence(sequence);
        sequence += payload.len() as u32;
        packet
    };
    if situation.is_tcp {
        hosts.run(&Packet::tcp("").from(situation.source).flags(SYN).sequence(0).frame())?;
    }
    for payload in &situation.before {
        hosts.run(&packet(payload).frame())?;
    }
    let outcome = hosts.run(&packet(&situation.payload).frame())?;
    Ok((outcome.reason, outcome.rule))
}

/// The first line of what `ringfence explain` prints.
fn explained(folder: &Path, situation: &Situation, more: &[&str]) -> Result<String> {
    let file = |name: String, content: &[u8]| -> Result<_> {
        let path = folder.join(name);
        fs::write(&path, content)?;
        Ok(path)
    };
    let mut command = Command::new(binary()?);
    command.args(["explain", "--source", situation.source, "--policy"]).arg(folder).args(more);
    if situation.is_tcp {
        command.args(["--transport", "tcp"]);
    }
    if more.is_empty() {
        for (index, payload) in situation.before.iter().enumerate() {
            command.arg("--after").arg(file(format!("before-{index}.sip"), payload)?);
        }
    }
    let output = command.arg(file("message.sip".to_owned(), &situation.payload)?).output()?;
    let text = String::from_utf8(output.stdout)?;
    ensure!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    Ok(text.lines().next().context("it prints nothing")?.to_owned())
}

#[test]
fn explain_agrees_with_the_kernel_about_bans_connections_and_trusted_sources() -> Result<()> {
    for situation in situations() {
        let name = situation.name;
        let policy = if situation.allow_emergency {
            POLICY.to_owned()
        } else {
            POLICY.replace("never_ban", "allow_emergency = false\nnever_ban")
        };
        let folder = tempfile::tempdir()?;
        fs::write(folder.path().join("policy.toml"), &policy)?;
        let (reason, rule) = in_kernel(&policy, &situation).with_context(|| name.to_owned())?;
        assert_eq!(reason, situation.expected, "{name}");
        let said = explained(folder.path(), &situation, &[])?;
        let verdict = reason.verdict_name();
        let expected = match &rule {
            Some(rule) => format!("{verdict} ({}: {rule})", reason.name()),
            None => format!("{verdict} ({})", reason.name()),
        };
        assert_eq!(said, expected, "{name}");
        if situation.before == [scan()] {
            // A ban by hand does the same as one that was earned.
            assert_eq!(explained(folder.path(), &situation, &["--banned"])?, expected, "{name}, by hand");
        }
    }
    Ok(())
}
