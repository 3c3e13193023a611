//! Generations on a real interface: listed, brought back, held across changes and restarts, and released.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, ensure};
use ringfence_tests::{
    filter::{self, Filter, FilterOptions, Site},
    message::Message,
    netns::Wire,
    packet::Packet,
    process::wait_until,
    raw,
};
use serde_json::Value;

/// Long enough for a policy to come in force, on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

const SENDER: &str = "10.20.0.66";

/// A policy whose rule does this with what comes from the addresses in the list.
fn policy(action: &str) -> String {
    format!(
        "version = 1\ndefault = \"pass\"\n[network]\nudp = [5060]\n[numbering]\ncountry_code = \"1\"\n\
         international_prefix = \"011\"\n[sets.bad]\naddresses = \"bad.txt\"\n[[rule]]\nname = \"bad\"\n\
         match.source = \"@bad\"\naction = \"{action}\"\n"
    )
}

/// A wire and a policy. Declare a [`Filter`] after it, so that the filter is dropped first.
struct Scene {
    wire: Wire,
    binary: PathBuf,
    policy: PathBuf,
    scratch: tempfile::TempDir,
}

impl Scene {
    fn new() -> Result<Self> {
        let sender = format!("{SENDER}\n");
        let Site { wire, policy, scratch } =
            Site::new(&[("policy.toml", &self::policy("drop")), ("bad.txt", &sender)])?;
        Ok(Self { wire, binary: filter::build(false)?, policy, scratch })
    }

    fn write(&self, text: &str) -> Result<()> {
        Ok(fs::write(self.policy.join("policy.toml"), text)?)
    }

    fn options(&self) -> FilterOptions<'_> {
        let (binary, policy) = (&self.binary, &self.policy);
        FilterOptions { arguments: &["--json"], ..FilterOptions::new(binary, Wire::SERVER_INTERFACE, policy) }
    }

    fn start(&self) -> Result<Filter> {
        Filter::start(&self.wire, self.scratch.path(), &self.options())
    }

    fn restart(&self, filter: &mut Filter) -> Result<()> {
        filter.restart(&self.wire, self.scratch.path(), &self.options())
    }

    /// Sends packets that the rule is about, and waits until they are counted.
    fn send(&self, filter: &Filter, count: u64) -> Result<()> {
        let message = Message::request("OPTIONS");
        let packet = Packet::udp(message.bytes()).from(SENDER).to(Wire::SERVER_IPV4);
        let frame = packet.between([2, 0, 0, 0, 0, 0x99], [0xff; 6]).frame();
        let before = filter.packets("bad")?;
        raw::send(&self.wire.network, Wire::NETWORK_INTERFACE, &vec![frame; count as usize])?;
        wait_until("packets", LIMIT, || Ok((filter.packets("bad")? == before + count).then_some(())))
    }
}

/// The answer of a command with `--json`, and its exit status.
fn ask(filter: &Filter, command: &str, arguments: &[&str]) -> Result<(Option<i32>, Value)> {
    let output = filter.command(command, &[&["--json"], arguments].concat()).output()?;
    let answer = serde_json::from_slice(&output.stdout)
        .with_context(|| format!("{command}: no answer: {}", String::from_utf8_lossy(&output.stderr)))?;
    Ok((output.status.code(), answer))
}

fn await_generation(filter: &Filter, generation: u64) -> Result<Value> {
    wait_until(&format!("generation {generation}"), LIMIT, || {
        let status = filter.status()?;
        // The daemon notes it a moment after the kernel.
        Ok((status["generation"] == generation && status["policy_error"].is_null()).then_some(status))
    })
}

/// What is in the history: each generation with who or what put it in force, and what it brought back.
fn generations(list: &Value) -> Vec<(u64, String, Option<u64>)> {
    let list = list["generations"].as_array().cloned().unwrap_or_default();
    let row = |row: &Value| {
        let by = row["by"].as_str().unwrap_or_default().to_owned();
        (row["generation"].as_u64().unwrap_or(0), by, row["rollback_of"].as_u64())
    };
    list.iter().map(row).collect()
}

#[test]
fn a_rollback_is_at_once_and_holds_across_changes_and_restarts_until_it_is_released() -> Result<()> {
    let scene = Scene::new()?;
    let mut filter = scene.start()?;
    let first = filter.policy_hash()?;
    scene.send(&filter, 3)?;
    scene.write(&policy("whitelist"))?;
    let status = await_generation(&filter, 2)?;
    scene.send(&filter, 2)?;
    assert_eq!(filter.packets("bad")?, 5, "the counter of a rule goes on, whatever it does");
    let second = status["policy_hash"].clone();

    let (code, notice) = ask(&filter, "rollback", &[])?;
    assert_eq!((code, &notice["event"]), (Some(0), &"rolled-back".into()), "{notice}");
    assert_eq!((&notice["to"], &notice["generation"]), (&1.into(), &3.into()), "{notice}");
    let status = filter.status()?;
    assert_eq!(
        (&status["policy_hash"], &status["held"]["generation"]),
        (&first.as_str().into(), &1.into()),
        "{status}"
    );
    let before = status["dropped"].as_u64().unwrap_or(0);
    scene.send(&filter, 4)?;
    assert_eq!(filter.status()?["dropped"], before + 4, "it drops again");
    assert_eq!(filter.packets("bad")?, 9);

    // A change is noticed and not loaded; a reload says why.
    scene.write(&policy("continue"))?;
    filter.process().wait_until("notice", LIMIT, |daemon| {
        Ok(daemon.stdout().contains(r#"{"event":"held","generation":1"#).then_some(()))
    })?;
    let (code, notice) = ask(&filter, "reload", &[])?;
    assert_eq!((code, &notice["event"], &notice["generation"]), (Some(1), &"held".into(), &1.into()), "{notice}");
    let output = filter.command("status", &[]).output()?;
    let text = String::from_utf8(output.stdout)?;
    assert!(output.status.code() == Some(1) && text.contains("held at generation 1 since "), "{text}");

    // Neither a killed daemon nor a reboot, which leaves no pins, ends it.
    filter.kill()?;
    scene.restart(&mut filter)?;
    let status = await_generation(&filter, 4)?;
    assert_eq!(
        (&status["policy_hash"], &status["held"]["generation"]),
        (&first.as_str().into(), &1.into()),
        "{status}"
    );
    filter.kill()?;
    fs::remove_dir_all(filter.pins())?;
    scene.restart(&mut filter)?;
    let status = await_generation(&filter, 5)?;
    assert_eq!(
        (&status["policy_hash"], &status["held"]["generation"]),
        (&first.as_str().into(), &1.into()),
        "{status}"
    );

    let (code, notice) = ask(&filter, "rollback", &["--release"])?;
    assert_eq!((code, &notice["event"], &notice["generation"]), (Some(0), &"reloaded".into(), &6.into()), "{notice}");
    let status = filter.status()?;
    assert!(status["held"].is_null(), "{status}");
    assert!(status["policy_hash"] != first.as_str() && status["policy_hash"] != second, "it is the third policy");

    let (_, list) = ask(&filter, "history", &[])?;
    let by = |text: &str| text.to_owned();
    let expected = vec![
        (6, by("release, user 0"), None),
        (5, by("start"), Some(1)),
        (4, by("start"), Some(1)),
        (3, by("rollback to generation 1, user 0"), Some(1)),
        (2, by("change"), None),
        (1, by("start"), None),
    ];
    assert_eq!(generations(&list), expected, "{list}");
    assert_eq!(list["generations"][0]["in_force"], true);
    // By number; and numbers that are not there.
    let (code, notice) = ask(&filter, "rollback", &["2"])?;
    assert_eq!((code, &notice["policy_hash"]), (Some(0), &second), "{notice}");
    let output = filter.command("rollback", &["99"]).output()?;
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.code() == Some(1) && text.contains("generation 99 is not kept"), "{text}");

    // Without the daemon, the list is read from its directory.
    filter.kill()?;
    let state = filter.state().display().to_string();
    let (code, list) = ask(&filter, "history", &["--state-dir", &state])?;
    assert_eq!((code, &list["held"]["generation"]), (Some(0), &2.into()), "{list}");
    let output = filter.command("rollback", &[]).output()?;
    assert_eq!(output.status.code(), Some(3));
    Ok(())
}

#[test]
fn a_start_whose_policy_has_errors_takes_the_last_one_that_was_in_force() -> Result<()> {
    let scene = Scene::new()?;
    let mut filter = scene.start()?;
    let good = filter.policy_hash()?;
    scene.write("version = 1\n[[rule]]\n")?;
    wait_until("error", LIMIT, || Ok(filter.status()?["policy_error"].is_string().then_some(())))?;
    // A reboot.
    filter.kill()?;
    fs::remove_dir_all(filter.pins())?;
    scene.restart(&mut filter)?;
    let status = filter.status()?;
    assert_eq!((&status["policy_hash"], &status["generation"]), (&good.as_str().into(), &2.into()), "{status}");
    assert!(status["policy_error"].is_string() && status["held"].is_null(), "{status}");
    // As soon as the policy is good again, it is loaded.
    scene.write(&policy("whitelist"))?;
    let status = await_generation(&filter, 3)?;
    assert!(status["policy_error"].is_null() && status["policy_hash"] != good.as_str(), "{status}");
    Ok(())
}

#[test]
fn where_no_history_can_be_kept_the_filter_works_without_one() -> Result<()> {
    let scene = Scene::new()?;
    let mut filter = scene.start()?;
    filter.kill()?;
    // In the place of the directory.
    let history = filter.state().join("history");
    fs::remove_dir_all(&history)?;
    fs::write(&history, "")?;
    scene.restart(&mut filter)?;
    let generation = filter.status()?["generation"].as_u64().context("no generation")?;
    scene.write(&policy("whitelist"))?;
    await_generation(&filter, generation + 1)?;
    let (_, list) = ask(&filter, "history", &[])?;
    ensure!(generations(&list).is_empty(), "{list}");
    let output = filter.command("rollback", &[]).output()?;
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.code() == Some(1) && text.contains("no earlier generation"), "{text}");
    Ok(())
}

#[test]
fn the_next_policy_is_compared_with_the_one_in_force() -> Result<()> {
    let scene = Scene::new()?;
    let filter = scene.start()?;
    let state = filter.state().display().to_string();
    let directory = scene.policy.display().to_string();
    let diff = || -> Result<(Option<i32>, String)> {
        let output = filter.command("diff", &["--state-dir", &state, &directory]).output()?;
        ensure!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok((output.status.code(), String::from_utf8(output.stdout)?))
    };
    assert_eq!(diff()?, (Some(0), "nothing changes\n".to_owned()));
    // Held, so that the change below does not come in force.
    ask(&filter, "rollback", &["1"])?;
    fs::write(scene.policy.join("bad.txt"), format!("{SENDER}\n192.0.2.1\n"))?;
    assert_eq!(diff()?, (Some(1), "~ @bad: 1 new, 0 gone\n    + 192.0.2.1\n".to_owned()));
    Ok(())
}
