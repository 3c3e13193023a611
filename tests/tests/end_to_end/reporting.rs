//! Report mode as a whole, on a real interface: nothing is dropped, and what would have been is counted apart. And the ways to ask for it.

use std::{fs, process::Command, time::Duration};

use anyhow::{Context as _, Result, ensure};
use ringfence_tests::{
    capture::{Capture, by_source},
    filter::Filter,
    message::Message,
    netns::{Wire, WireOptions},
    packet::Packet,
    process::wait_until,
    raw,
    sip::ORDINARY_AGENT,
};
use serde_json::Value;

use crate::scene::{CALLER, POLICY, ROBOCALLER, SCANNER, Scene, address, await_another_policy, binary};

const NOTICE: &str = "report mode: nothing is dropped";

/// Sends OPTIONS requests, and waits until the filter has counted them.
pub(crate) fn send(scene: &Scene, filter: &Filter, source: &str, agent: &str, count: u64) -> Result<()> {
    let message = Message::request("OPTIONS").set("User-Agent", agent);
    let packet = Packet::udp(message.bytes()).from(source).to(Wire::SERVER_IPV4);
    let frame = packet.between([2, 0, 0, 0, 0, 0x99], [0xff; 6]).frame();
    let seen = || -> Result<u64> {
        let status = filter.status()?;
        Ok(number(&status, "passed")? + number(&status, "dropped")?)
    };
    let before = seen()?;
    raw::send(&scene.wire.network, Wire::NETWORK_INTERFACE, &vec![frame; count as usize])?;
    wait_until("packets", Duration::from_secs(5), || Ok((seen()? >= before + count).then_some(())))?;
    ensure!(seen()? == before + count, "other packets are on the wire");
    Ok(())
}

fn number(status: &Value, field: &str) -> Result<u64> {
    status[field].as_u64().with_context(|| format!("no {field} in {status}"))
}

/// The first packet event of the daemon.
fn event(filter: &Filter) -> Result<Value> {
    wait_until("event", Duration::from_secs(5), || {
        let output = filter.command("events", &["--last", "100", "--json"]).output()?;
        let output = String::from_utf8(output.stdout)?;
        Ok(output.lines().next().map(serde_json::from_str).transpose()?)
    })
}

fn row<'s>(status: &'s Value, rule: &str) -> Result<&'s Value> {
    let rows = status["rules"].as_array().context("rules")?;
    rows.iter().find(|row| row["rule"] == rule).with_context(|| format!("no rule {rule} in {status}"))
}

#[test]
fn run_report_drops_nothing_and_every_rule_counts_what_it_would_have_done() -> Result<()> {
    let scene = Scene::new(&WireOptions::default())?;
    let capture = Capture::start("arrived", &scene.wire.server, Wire::SERVER_INTERFACE, scene.path())?;
    let mut filter = scene.filter(Wire::SERVER_INTERFACE, &["--report", "--json"])?;
    let banned = filter.command("ban", &[SCANNER, "--for", "1h"]).output()?;
    ensure!(banned.status.success(), "{}", String::from_utf8_lossy(&banned.stderr));
    send(&scene, &filter, ROBOCALLER, "friendly-scanner", 3)?;
    send(&scene, &filter, SCANNER, ORDINARY_AGENT, 2)?;
    send(&scene, &filter, CALLER, ORDINARY_AGENT, 1)?;

    let status = filter.status()?;
    assert_eq!(status["report"], true, "{status}");
    for (field, packets) in [("passed", 6), ("dropped", 0), ("would_drop", 5)] {
        assert_eq!(number(&status, field)?, packets, "{field} of {status}");
    }
    let reasons = &status["reasons"];
    assert_eq!((&reasons["would-rule-drop"], &reasons["would-banned"]), (&3.into(), &2.into()), "{status}");
    let scanners = row(&status, "scanners")?;
    assert_eq!(
        (&scanners["mode"], &scanners["packets"], &scanners["reported"]),
        (&"report".into(), &3.into(), &3.into())
    );
    assert_eq!(row(&status, "emergency")?["mode"], "enforce", "a pinhole acts as always");
    let bans: Value = serde_json::from_slice(&filter.command("bans", &["--json"]).output()?.stdout)?;
    assert_eq!(bans["bans"][0]["packets"], 0, "the ban has dropped nothing: {bans}");

    let event = event(&filter)?;
    assert_eq!(
        (&event["rule"], &event["mode"], &event["verdict"]),
        (&"scanners".into(), &"report".into(), &"drop".into())
    );
    let text = String::from_utf8(filter.command("status", &[]).output()?.stdout)?;
    assert!(
        text.contains(NOTICE) && text.contains("passed 6 (5 of them would have been dropped), dropped 0"),
        "{text}"
    );

    // Without the daemon, the pins say the same.
    filter.kill()?;
    let output = filter.command("status", &["--json"]).output()?;
    let offline: Value = serde_json::from_slice(&output.stdout)?;
    assert_eq!((&offline["daemon"], &offline["report"]), (&"not running".into(), &true.into()), "{offline}");
    let arrived = by_source(&capture.finish()?);
    assert_eq!(arrived.get(&address(ROBOCALLER)), Some(&3), "{arrived:?}");
    assert_eq!(arrived.get(&address(SCANNER)), Some(&2), "{arrived:?}");
    Ok(())
}

#[test]
fn what_would_have_been_dropped_and_what_was_dropped_stay_apart_when_a_policy_is_enforced() -> Result<()> {
    let scene = Scene::new(&WireOptions::default())?;
    let file = scene.policy.join("policy.toml");
    fs::write(&file, POLICY.replacen("default =", "mode = \"report\"\ndefault =", 1))?;
    let mut filter = scene.filter(Wire::SERVER_INTERFACE, &[])?;
    filter
        .process()
        .wait_until("notice", Duration::from_secs(5), |daemon| Ok(daemon.stdout().contains(NOTICE).then_some(())))?;
    send(&scene, &filter, SCANNER, "friendly-scanner", 4)?;
    let old = filter.policy_hash()?;
    fs::write(&file, POLICY)?;
    await_another_policy(&filter, &old)?;
    send(&scene, &filter, SCANNER, "friendly-scanner", 3)?;

    let status = filter.status()?;
    assert_eq!(status["report"], false, "{status}");
    for (field, packets) in [("passed", 4), ("dropped", 3), ("would_drop", 4), ("generation", 2)] {
        assert_eq!(number(&status, field)?, packets, "{field} of {status}");
    }
    let reasons = &status["reasons"];
    assert_eq!((&reasons["would-rule-drop"], &reasons["rule-drop"]), (&4.into(), &3.into()), "{status}");
    let scanners = row(&status, "scanners")?;
    assert_eq!(
        (&scanners["mode"], &scanners["packets"], &scanners["reported"]),
        (&"enforce".into(), &7.into(), &4.into())
    );
    // The row for people has what the rule has done; what it would have done is in the line below.
    let text = String::from_utf8(filter.command("status", &[]).output()?.stdout)?;
    let line = text.lines().find(|line| line.starts_with("scanners")).with_context(|| text.clone())?;
    assert_eq!(line.split_whitespace().nth(2), Some("3"), "{text}");
    assert!(!text.contains(NOTICE) && text.contains("in the other mode, and not in its row: 4"), "{text}");

    // And back.
    let old = filter.policy_hash()?;
    fs::write(&file, POLICY.replacen("default =", "mode = \"report\"\ndefault =", 1))?;
    await_another_policy(&filter, &old)?;
    send(&scene, &filter, SCANNER, "friendly-scanner", 1)?;
    let status = filter.status()?;
    assert_eq!((number(&status, "dropped")?, number(&status, "would_drop")?), (3, 5), "{status}");
    Ok(())
}

#[test]
fn a_policy_from_init_runs_at_once_and_only_counts() -> Result<()> {
    let scene = Scene::new(&WireOptions::default())?;
    fs::remove_dir_all(&scene.policy)?;
    let output = Command::new(binary()?).arg("init").arg(&scene.policy).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for command in ["check", "test"] {
        let output = Command::new(binary()?).arg(command).arg(&scene.policy).output()?;
        ensure!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stdout));
    }
    let filter = scene.filter(Wire::SERVER_INTERFACE, &[])?;
    send(&scene, &filter, SCANNER, "friendly-scanner", 3)?;
    let status = filter.status()?;
    assert_eq!((number(&status, "dropped")?, number(&status, "would_drop")?), (0, 3), "{status}");
    assert_eq!(row(&status, "scanners")?["reported"], 3, "{status}");
    Ok(())
}

#[test]
fn the_configuration_names_the_host_and_asks_for_report_mode() -> Result<()> {
    let scene = Scene::new(&WireOptions::default())?;
    let file = scene.path().join("ringfence.toml");
    // The interface is overridden: there is none of this name.
    let text = "version = 1\nedge = \"fra1-sbc2\"\n[[interface]]\nname = \"nowhere\"\n[policy]\nreport = true\n\
                [outputs.stdout]\nformat = \"json\"\n";
    fs::write(&file, text)?;
    let arguments = ["--config", file.to_str().context("the path is no text")?];
    let filter = scene.filter(Wire::SERVER_INTERFACE, &arguments)?;
    send(&scene, &filter, SCANNER, "friendly-scanner", 1)?;
    let status = filter.status()?;
    assert_eq!((&status["edge"], &status["report"]), (&"fra1-sbc2".into(), &true.into()), "{status}");
    let event = event(&filter)?;
    assert_eq!(event["edge"], "fra1-sbc2", "{event}");
    Ok(())
}

#[test]
fn whoever_asks_for_report_mode_is_told_if_the_filter_goes_on_dropping() -> Result<()> {
    let scene = Scene::new(&WireOptions::default())?;
    let mut filter = scene.filter(Wire::SERVER_INTERFACE, &[])?;
    filter.kill()?;
    fs::write(scene.policy.join("policy.toml"), "version = 2\n")?;
    filter.restart(&scene.wire, scene.path(), &scene.options(Wire::SERVER_INTERFACE, &["--report"]))?;
    filter.process().wait_until("notice", Duration::from_secs(5), |daemon| {
        Ok(daemon.stdout().contains("that policy is enforced, and goes on dropping").then_some(()))
    })?;
    assert_eq!(filter.status()?["report"], false);
    Ok(())
}
