//! What a running daemon says of packets: events, captured packets, and who sent most, through a real interface.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use ringfence_tests::{
    capture::{Capture, by_source},
    filter::{self, Filter, Site},
    message::Message,
    netns::Wire,
    packet::Packet,
    process::{Spawned, run, wait_until},
    raw,
};
use serde_json::{Value, json};

const HEAD: &str = r#"version = 1
default = "pass"

[network]
udp = [5060]

[numbering]
country_code = "1"

[sets.trunks]
addresses = "trunks.txt"
label = "carrier-one"
"#;

const RULES: &str = r#"
[[rule]]
name = "scanners"
basis = "scanner"
match.user_agent = ["friendly-scanner"]
action = "drop"

[[rule]]
name = "dear"
match = { called = ["1900"], not.source = "@trunks" }
action = "drop"
mode = "report"
"#;

/// How long the daemon may take for anything that is waited for.
const LIMIT: Duration = Duration::from_secs(20);

struct Scene {
    filter: Filter,
    wire: Wire,
    scratch: tempfile::TempDir,
}

impl Scene {
    fn new() -> Result<Self> {
        Self::of(RULES)
    }

    fn of(rules: &str) -> Result<Self> {
        let site = Site::new(&[("policy.toml", &format!("{HEAD}{rules}")), ("trunks.txt", "198.51.100.0/24\n")])?;
        let filter = site.start(&[])?;
        let Site { wire, scratch, .. } = site;
        Ok(Self { filter, wire, scratch })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    fn send(&self, frames: &[Vec<u8>]) -> Result<()> {
        raw::send(&self.wire.network, Wire::NETWORK_INTERFACE, frames)
    }

    /// Starts `ringfence capture`, and waits until it captures.
    fn capture(&self, name: &str, arguments: &[&str]) -> Result<Spawned> {
        let file = self.path(name);
        let arguments = [&["--write", file.to_str().context("a path in UTF-8")?], arguments].concat();
        let mut capture = Spawned::start(name, self.filter.command("capture", &arguments), self.scratch.path())?;
        capture.wait_until("start of the capture", LIMIT, |capture| {
            Ok(capture.stderr().contains("capturing to").then_some(()))
        })?;
        Ok(capture)
    }

    fn json(&self, subcommand: &str, arguments: &[&str]) -> Result<Value> {
        let arguments = [arguments, &["--json"]].concat();
        Ok(serde_json::from_str(&run(self.filter.command(subcommand, &arguments))?)?)
    }

    /// Packets by rule, and passed and dropped ones.
    fn status(&self) -> Result<Value> {
        self.filter.status()
    }
}

fn invite(source: &str, called: &str, agent: &str, index: usize) -> Vec<u8> {
    let message = Message::invite()
        .calling("+13125550100")
        .called(called)
        .set("User-Agent", agent)
        .set("Call-ID", &format!("call-{index}@example.net"));
    Packet::udp(message.bytes()).from(source).frame()
}

/// So many scans, calls that would be dropped, and calls that pass.
fn frames([scans, dear, ordinary]: [usize; 3]) -> Vec<Vec<u8>> {
    let scans = (0..scans).map(|index| invite("192.0.2.66", "+12125550142", "friendly-scanner", index));
    let dear = (0..dear).map(|index| invite("192.0.2.77", "+19005550142", "phone", 1_000 + index));
    let ordinary = (0..ordinary).map(|index| invite("198.51.100.9", "+12125550142", "phone", 2_000 + index));
    scans.chain(dear).chain(ordinary).collect()
}

/// A column of a capture, as tshark reads it.
fn tshark(file: &Path, fields: &[&str]) -> Result<Vec<Vec<String>>> {
    let mut command = Command::new("tshark");
    command.args(["-n", "-T", "fields"]).args(fields.iter().flat_map(|field| ["-e", field])).arg("-r").arg(file);
    Ok(run(command)?.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect())
}

#[test]
fn captured_packets_are_a_file_for_wireshark_and_nothing_is_missing_in_it() -> Result<()> {
    let scene = Scene::new()?;
    let mut dropped = scene.capture("dropped.pcapng", &["--seconds", "3"])?;
    let mut all = scene.capture("all.pcapng", &["--passed", "--seconds", "3"])?;
    let mut filtered = scene.capture("filtered.pcapng", &["--rule", "dear", "--count", "5"])?;
    let sent = frames([30, 10, 20]);
    scene.send(&sent)?;
    for (capture, expected) in
        [(&mut dropped, "40 packets captured, 0 lost"), (&mut all, "60 packets captured, 0 lost")]
    {
        ensure!(capture.wait(LIMIT)?.success(), "{}", capture.last_words());
        assert!(capture.stderr().contains(expected), "{}", capture.stderr());
    }
    ensure!(filtered.wait(LIMIT)?.success(), "{}", filtered.last_words());
    assert!(filtered.stderr().contains("5 packets captured, 0 lost"), "{}", filtered.stderr());

    let file = scene.path("all.pcapng");
    assert_eq!(fs::metadata(&file)?.permissions().mode() & 0o777, 0o600, "it holds what callers sent");
    let rows = tshark(&file, &["frame.comment", "ip.src", "sip.Call-ID", "frame.len", "frame.interface_name"])?;
    let mut counts = BTreeMap::new();
    for row in &rows {
        *counts.entry((row[0].as_str(), row[1].as_str())).or_insert(0) += 1;
        assert_eq!(row[4], Wire::SERVER_INTERFACE);
    }
    let expected = [
        (("ringfence: drop, rule scanners, reason rule-drop, basis scanner", "192.0.2.66"), 30),
        (("ringfence: pass, reason default-pass, upstream carrier-one", "198.51.100.9"), 20),
        (("ringfence: would drop, rule dear, reason rule-drop", "192.0.2.77"), 10),
    ];
    assert_eq!(counts, BTreeMap::from(expected));
    let mut call_ids: Vec<&str> = rows.iter().map(|row| row[2].as_str()).collect();
    call_ids.sort_unstable();
    call_ids.dedup();
    assert_eq!(call_ids.len(), 60, "every packet is there once, with its own message");
    let lengths: Vec<usize> = rows.iter().map(|row| row[3].parse().unwrap_or(0)).collect();
    let mut expected: Vec<usize> = sent.iter().map(Vec::len).collect();
    let mut found = lengths;
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected);
    // Our own reader opens it too: the same verdicts again.
    let policy = scene.path("policy");
    let mut replay = Command::new(filter::build(!cfg!(debug_assertions))?);
    replay.arg("replay").arg("--policy").arg(&policy).arg("--json").arg(&file);
    let replayed = run(replay)?;
    let packets = replayed.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let drops = packets.filter(|line| line["packet"].is_u64() && line["verdict"] == "drop").count();
    assert_eq!(drops, 30);
    Ok(())
}

#[test]
fn what_a_capture_loses_is_counted_in_it() -> Result<()> {
    let scene = Scene::new()?;
    let mut capture = scene.capture("flood.pcapng", &["--seconds", "4"])?;
    // More than the program captures in a second.
    let sent = frames([6_000, 0, 0]);
    scene.send(&sent)?;
    ensure!(capture.wait(LIMIT)?.success(), "{}", capture.last_words());
    let last = capture.stderr().lines().last().unwrap_or_default().to_owned();
    let numbers: Vec<u64> = last.split(|c: char| !c.is_ascii_digit()).filter_map(|word| word.parse().ok()).collect();
    let [captured, lost] = numbers[..] else { panic!("{last}") };
    assert_eq!(captured + lost, 6_000, "{last}");
    assert!(captured >= 500, "{last}");
    assert_eq!(tshark(&scene.path("flood.pcapng"), &["frame.number"])?.len() as u64, captured);
    Ok(())
}

#[test]
fn an_event_says_what_the_policy_knows_of_the_packet() -> Result<()> {
    let scene = Scene::new()?;
    scene.send(&frames([1, 1, 1]))?;
    let events = wait_until("two events", LIMIT, || {
        let output = run(scene.filter.command("events", &["--json"]))?;
        let events: Vec<Value> = output.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
        Ok((events.len() == 2).then_some(events))
    })?;
    let of = |rule: &str| events.iter().find(|event| event["rule"] == rule).context("no event of the rule");
    let scan = of("scanners")?;
    let expected = json!({
        "interface": Wire::SERVER_INTERFACE,
        "basis": "scanner",
        "verdict": "drop",
        "mode": "enforce",
        "upstream": null,
        "commit": null,
    });
    for (field, value) in expected.as_object().context("an object")? {
        assert_eq!(&scan[field], value, "{field} of {scan}");
    }
    let dear = of("dear")?;
    assert_eq!((dear["called"].as_str(), dear["mode"].as_str()), (Some("19005550142"), Some("report")));
    assert_eq!((&dear["basis"], dear["called_format"].as_str()), (&Value::Null, Some("fictional")));
    Ok(())
}

#[test]
fn who_sends_most_is_known_of_what_passes_too() -> Result<()> {
    let scene = Scene::new()?;
    scene.send(&frames([30, 10, 20]))?;
    let top = |arguments: &[&str]| scene.json("top", arguments);
    let all = wait_until("sixty samples", LIMIT, || {
        let all = top(&[])?;
        Ok((all["samples"] == 60).then_some(all))
    })?;
    assert_eq!(all["packets"], json!({ "packets": 60.0, "low": 60.0, "high": 60.0 }), "every packet was sampled");
    let rows = |top: &Value| -> Vec<(String, f64)> {
        let row = |row: &Value| {
            (row["key"].as_str().unwrap_or("-").to_owned(), row["packets"]["packets"].as_f64().unwrap_or(0.0))
        };
        top["rows"].as_array().map_or_else(Vec::new, |rows| rows.iter().map(row).collect())
    };
    let expect = |found: &Value, expected: &[(&str, f64)]| {
        let expected: Vec<_> = expected.iter().map(|(key, packets)| ((*key).to_owned(), *packets)).collect();
        assert_eq!(rows(found), expected);
    };
    expect(&all, &[("192.0.2.66", 30.0), ("198.51.100.9", 20.0), ("192.0.2.77", 10.0)]);
    expect(&top(&["--by", "prefix", "--fate", "passed"])?, &[("198.51.100.0/24", 20.0)]);
    expect(&top(&["--by", "called", "--rule", "dear"])?, &[("19005550142", 10.0)]);
    expect(&top(&["--by", "rule"])?, &[("scanners", 30.0), ("-", 20.0), ("dear", 10.0)]);
    expect(&top(&["--by", "set"])?, &[("-", 40.0), ("trunks", 20.0)]);
    expect(&top(&["--by", "agent", "--reason", "rule-drop"])?, &[("friendly-scanner", 30.0)]);
    let status = scene.status()?;
    assert_eq!(status["filter"], "attached");
    Ok(())
}

/// No rule reads a message, or uses the set.
const ADDRESSES: &str = r#"
[[rule]]
name = "pests"
match.source = ["192.0.2.66"]
action = "drop"
"#;

#[test]
fn what_no_rule_asks_for_is_reported_nevertheless() -> Result<()> {
    let scene = Scene::of(ADDRESSES)?;
    let mut capture = scene.capture("number.pcapng", &["--passed", "--number", "19005550142", "--count", "10"])?;
    let mut sent = frames([30, 10, 20]);
    // What passes and is no request is not sampled.
    sent.push(
        Packet::udp("SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP h\r\nCSeq: 1 INVITE\r\n\r\n").from("198.51.100.9").frame(),
    );
    scene.send(&sent)?;
    ensure!(capture.wait(LIMIT)?.success(), "{}", capture.last_words());
    let top = |arguments: &[&str]| scene.json("top", arguments);
    wait_until("sixty samples", LIMIT, || Ok((top(&[])?["samples"] == 60).then_some(())))?;
    for (by, expected) in [
        ("called", vec![(json!("12125550142"), 50.0), (json!("19005550142"), 10.0)]),
        ("calling", vec![(json!("13125550100"), 60.0)]),
        ("agent", vec![(json!("friendly-scanner"), 30.0), (json!("phone"), 30.0)]),
        ("method", vec![(json!("INVITE"), 60.0)]),
        ("upstream", vec![(Value::Null, 40.0), (json!("carrier-one"), 20.0)]),
    ] {
        let found = top(&["--by", by])?;
        let row = |row: &Value| (row["key"].clone(), row["packets"]["packets"].as_f64().unwrap_or(0.0));
        let rows: Vec<_> = found["rows"].as_array().context("no rows")?.iter().map(row).collect();
        assert_eq!(rows, expected, "{by}");
    }
    let event: Value = wait_until("an event", LIMIT, || {
        let output = run(scene.filter.command("events", &["--json"]))?;
        Ok(output.lines().next().map(serde_json::from_str).transpose()?)
    })?;
    let expected = json!({
        "rule": "pests",
        "method": "INVITE",
        "calling": "13125550100",
        "called": "12125550142",
        "from": "13125550100",
        "user_agent": "friendly-scanner",
        "called_format": "fictional",
    });
    for (field, value) in expected.as_object().context("an object")? {
        assert_eq!(&event[field], value, "{field} of {event}");
    }
    assert!(event["call_id"].as_str().is_some_and(|call| call.starts_with("call-")), "{event}");
    Ok(())
}

#[test]
fn a_victim_is_named_though_no_rule_asks_who_is_called() -> Result<()> {
    let scene = Scene::of(ADDRESSES)?;
    attack(&scene, 4)?;
    let suggestions = scene.json("suggest", &["--last", "10s"])?;
    let rules = suggestions["rules"].as_array().context("no rules")?;
    let about = rules.iter().find(|rule| rule["by"] == "called").with_context(|| suggestions.to_string())?;
    assert_eq!(about["key"], VICTIM.trim_start_matches('+'));
    let rule = about["rule"].as_str().context("no text")?;
    assert!(rule.contains("not.source = [\"@trunks\"]"), "{rule}");
    Ok(())
}

/// Calls that arrive at the server, by source network: those of the trunk, and all others.
struct Arrived {
    trunk: usize,
    strangers: usize,
}

/// So many seconds of twenty ordinary calls of the trunk, and two hundred of strangers at one number, in each.
fn attack(scene: &Scene, seconds: usize) -> Result<()> {
    let begin = Instant::now();
    for tenth in 0..10 * seconds {
        let mut frames = Vec::new();
        for index in 0..20 {
            let call = tenth * 20 + index;
            let source = format!("203.0.{}.{}", call % 113, call % 251 + 1);
            frames.push(invite(&source, VICTIM, "phone", 100_000 + call));
        }
        for index in 0..2 {
            let call = tenth * 2 + index;
            frames.push(invite("198.51.100.9", &format!("+1212555{:04}", 1_000 + call % 40), "phone", 200_000 + call));
        }
        // The trunk calls that number, too.
        if tenth % 10 == 0 {
            frames.push(invite("198.51.100.9", VICTIM, "phone", 300_000 + tenth));
        }
        scene.send(&frames)?;
        let next = Duration::from_millis(100 * (tenth as u64 + 1));
        std::thread::sleep(next.saturating_sub(begin.elapsed()));
    }
    Ok(())
}

const VICTIM: &str = "+12125550142";

#[test]
fn in_a_flood_of_calls_the_number_is_named_and_the_suggested_rule_stops_it() -> Result<()> {
    const SECONDS: usize = 8;
    let scene = Scene::new()?;
    let arrivals = |name: &str, work: &dyn Fn() -> Result<()>| -> Result<Arrived> {
        let capture = Capture::start(name, &scene.wire.server, Wire::SERVER_INTERFACE, scene.scratch.path())?;
        work()?;
        let counts = by_source(&capture.finish()?);
        let trunk = counts.iter().filter(|(source, _)| source.to_string() == "198.51.100.9");
        let trunk: u64 = trunk.map(|(_, packets)| packets).sum();
        let all: u64 = counts.iter().filter(|(source, _)| source.is_ipv4()).map(|(_, packets)| packets).sum();
        Ok(Arrived { trunk: usize::try_from(trunk)?, strangers: usize::try_from(all - trunk)? })
    };
    let before = arrivals("before", &|| attack(&scene, SECONDS))?;
    assert_eq!((before.strangers, before.trunk), (200 * SECONDS, 21 * SECONDS), "without a rule, everything arrives");

    let top = scene.json("top", &["--by", "called", "--fate", "passed", "--last", "10s"])?;
    assert_eq!(top["rows"][0]["key"], VICTIM.trim_start_matches('+'), "{top}");
    let suggestions = scene.json("suggest", &["--last", "10s"])?;
    let rules = suggestions["rules"].as_array().context("no rules")?;
    let about = rules.iter().find(|rule| rule["by"] == "called").context("nothing about the number")?;
    assert_eq!(about["key"], VICTIM.trim_start_matches('+'));
    assert_eq!(about["hurts"], json!({}), "{about}");

    // As an operator would: pasted into the policy.
    let policy = scene.path("policy").join("policy.toml");
    let rule = about["rule"].as_str().context("no text")?;
    fs::write(&policy, format!("{HEAD}{RULES}\n{rule}"))?;
    run(scene.filter.command("reload", &[]))?;
    let after = arrivals("after", &|| attack(&scene, SECONDS))?;
    assert_eq!(after.trunk, 21 * SECONDS, "no call of the trunk is lost");
    let stopped = 200 * SECONDS - after.strangers;
    assert!(stopped * 100 >= 200 * SECONDS * 99, "{stopped} of {} are stopped", 200 * SECONDS);
    // What it stops, and whom: strangers alone.
    let name = rule.lines().find_map(|line| line.strip_prefix("name = ")).context("no name")?.trim_matches('"');
    let hurt = scene.json("top", &["--by", "set", "--rule", name, "--last", "10s"])?;
    assert_eq!(hurt["rows"].as_array().map(Vec::len), Some(1), "{hurt}");
    assert_eq!(hurt["rows"][0]["key"], Value::Null, "{hurt}");
    Ok(())
}
