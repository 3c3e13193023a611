//! Interfaces that come and go, are taken off one by one, or belong to another program.

use std::{fs, process::Command, time::Duration};

use anyhow::{Context as _, Result};
use ringfence_tests::{
    filter::unique_pins,
    netns::Wire,
    process::{Spawned, wait_until},
};
use serde_json::Value;

use super::host::{Host, START_LIMIT, errors, lossy, succeed};

/// A second interface in the server's namespace.
const SECOND: &str = "sip1";

/// A host whose configuration has both interfaces; the second one does not exist yet.
fn host() -> Result<Host> {
    Host::with(None, &[Wire::SERVER_INTERFACE, SECOND])
}

fn add_second(host: &Host) -> Result<()> {
    host.wire.server.ip(&["link", "add", SECOND, "type", "veth", "peer", "name", "far1"])?;
    host.wire.server.ip(&["link", "set", SECOND, "up"]).map(drop)
}

fn remove_second(host: &Host) -> Result<()> {
    host.wire.server.ip(&["link", "delete", SECOND]).map(drop)
}

/// Whether an XDP program is on an interface.
fn is_filtered(host: &Host, interface: &str) -> Result<bool> {
    Ok(host.wire.server.ip(&["-details", "link", "show", "dev", interface])?.contains("prog/xdp"))
}

/// The exit status of `ringfence status`, and what it says is not filtered.
fn unfiltered(host: &Host) -> Result<(Option<i32>, Vec<String>)> {
    let output = host.ringfence(&["status", "--json"]).output()?;
    let status: Value = serde_json::from_slice(&output.stdout).with_context(|| errors(&output))?;
    let names = status["unfiltered"].as_array().context("no list of interfaces")?;
    Ok((output.status.code(), names.iter().filter_map(|name| name.as_str().map(str::to_owned)).collect()))
}

fn wait_for(what: &str, mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
    wait_until(what, Duration::from_secs(30), || Ok(holds()?.then_some(())))
}

/// The events of the daemon's JSON output, in order, without tables.
fn events(daemon: &Spawned) -> Vec<String> {
    let lines = daemon.stdout();
    let values = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    values.filter_map(|value| value["event"].as_str().map(str::to_owned)).filter(|event| event != "table").collect()
}

#[test]
fn one_that_disappears_is_named_and_filtered_again_when_it_is_back() -> Result<()> {
    let host = host()?;
    // It does not hold up the start.
    let daemon = host.start("daemon")?;
    assert_eq!(unfiltered(&host)?, (Some(1), vec![SECOND.to_owned()]));
    let text = lossy(&host.ringfence(&["status"]).output()?.stdout);
    assert!(text.contains(&format!("NOT FILTERED: {SECOND}")), "{text}");

    for round in 2..=3 {
        add_second(&host)?;
        wait_for("the second interface filtered", || is_filtered(&host, SECOND))?;
        wait_for("status 0", || Ok(unfiltered(&host)? == (Some(0), Vec::new())))?;
        remove_second(&host)?;
        wait_for("status 1", || Ok(unfiltered(&host)? == (Some(1), vec![SECOND.to_owned()])))?;
        assert!(is_filtered(&host, Wire::SERVER_INTERFACE)?);
        // The daemon looks ten times a second: one that is back by then was never gone.
        wait_for("the event", || Ok(events(&daemon).iter().filter(|event| *event == "gone").count() == round))?;
    }
    let said = events(&daemon);
    let changes: Vec<&str> =
        said.iter().map(String::as_str).filter(|event| ["gone", "reattached"].contains(event)).collect();
    assert_eq!(changes, ["gone", "reattached", "gone", "reattached", "gone"], "each change once");
    Ok(())
}

#[test]
fn a_policy_comes_in_force_while_an_interface_is_gone_and_is_the_one_that_filters_when_it_is_back() -> Result<()> {
    let host = host()?;
    add_second(&host)?;
    let _daemon = host.start("daemon")?;
    remove_second(&host)?;
    let before = host.ringfence(&["status", "--json"]).output()?;
    let before: Value = serde_json::from_slice(&before.stdout)?;
    let path = host.path("policy/policy.toml");
    fs::write(&path, fs::read_to_string(&path)?.replace("OPTIONS", "REGISTER"))?;
    wait_for("the new policy in force", || {
        let status = host.ringfence(&["status", "--json"]).output()?;
        let status: Value = serde_json::from_slice(&status.stdout)?;
        Ok(status["generation"] != before["generation"])
    })?;
    add_second(&host)?;
    wait_for("status 0", || Ok(unfiltered(&host)?.0 == Some(0)))?;
    let program = |interface: &str| -> Result<String> {
        let text = host.wire.server.ip(&["-details", "link", "show", "dev", interface])?;
        let line = text.lines().find(|line| line.contains("prog/xdp")).context("no program")?;
        Ok(line.trim().to_owned())
    };
    assert_eq!(program(SECOND)?, program(Wire::SERVER_INTERFACE)?);
    Ok(())
}

#[test]
fn a_reload_of_an_unchanged_policy_while_an_interface_is_gone_is_no_other_generation() -> Result<()> {
    let host = host()?;
    let _daemon = host.start("daemon")?;
    assert_eq!(unfiltered(&host)?, (Some(1), vec![SECOND.to_owned()]));
    for _ in 0..2 {
        let text = succeed(&mut host.ringfence(&["reload", "--json"]))?;
        let notice: Value = serde_json::from_str(&text)?;
        assert_eq!((&notice["event"], &notice["generation"]), (&"unchanged".into(), &1.into()), "{notice}");
    }
    Ok(())
}

#[test]
fn detach_takes_one_off_with_a_daemon_and_without() -> Result<()> {
    let host = host()?;
    add_second(&host)?;
    let mut daemon = host.start("daemon")?;
    succeed(&mut host.ringfence(&["detach", SECOND]))?;
    assert!(!is_filtered(&host, SECOND)? && is_filtered(&host, Wire::SERVER_INTERFACE)?);
    // The configuration still names it.
    assert_eq!(unfiltered(&host)?, (Some(1), vec![SECOND.to_owned()]));
    let last = host.ringfence(&["detach", Wire::SERVER_INTERFACE]).output()?;
    assert_eq!(last.status.code(), Some(1), "{last:?}");
    assert!(errors(&last).contains("the only interface"), "{last:?}");
    let absent = host.ringfence(&["detach", "absent0"]).output()?;
    assert_eq!(absent.status.code(), Some(1), "{absent:?}");

    daemon.signal(rustix::process::Signal::KILL)?;
    daemon.wait(Duration::from_secs(5))?;
    let mut daemon = host.start("next")?;
    assert!(is_filtered(&host, SECOND)?, "the next start filters there again");
    daemon.signal(rustix::process::Signal::KILL)?;
    daemon.wait(Duration::from_secs(5))?;
    succeed(&mut host.ringfence(&["detach", SECOND]))?;
    assert!(!is_filtered(&host, SECOND)? && is_filtered(&host, Wire::SERVER_INTERFACE)?);
    let last = host.ringfence(&["detach", Wire::SERVER_INTERFACE]).output()?;
    assert_eq!(last.status.code(), Some(1), "{last:?}");
    let all = succeed(&mut host.ringfence(&["detach"]))?;
    assert_eq!(all.trim(), format!("the filter was removed from {}", Wire::SERVER_INTERFACE));
    Ok(())
}

#[test]
fn the_daemon_and_detach_say_the_same_at_the_end() -> Result<()> {
    let host = Host::new(None)?;
    let mut daemon = host.start("daemon")?;
    let said = succeed(&mut host.ringfence(&["detach"]))?;
    assert_eq!(
        said.trim(),
        format!("the filter was removed from {}, and the daemon has ended", Wire::SERVER_INTERFACE)
    );
    assert!(daemon.wait(Duration::from_secs(20))?.success());
    let output = daemon.stdout();
    let last = output.lines().last().unwrap_or_default();
    assert_eq!(last, r#"{"event":"stopped","filter":"not attached","report":false}"#);
    Ok(())
}

#[test]
fn another_filter_is_named_with_its_pins() -> Result<()> {
    let host = Host::new(None)?;
    let _daemon = host.start("daemon")?;
    let socket = host.path("other.sock");
    let pins = unique_pins();
    let mut command = host.ringfence(&["run"]);
    let output = command.arg("--socket").arg(socket).arg("--pin-dir").arg(&pins).output()?;
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let owner = format!("held by the pins in {}", host.path("bpf/filter").display());
    // Only filters beside its own pins, and in /sys/fs/bpf, are looked for.
    let text = errors(&output);
    assert!(text.contains("already has an XDP program") && !pins.exists(), "{text}");
    let beside = host.path("bpf/other");
    let mut command = host.ringfence(&["run"]);
    let output = command.arg("--socket").arg(host.path("other.sock")).arg("--pin-dir").arg(beside).output()?;
    assert!(errors(&output).contains(&owner), "{output:?}");
    Ok(())
}

#[test]
fn pins_that_end_with_their_mount_namespace_are_refused_unless_the_filter_is_to_end_too() -> Result<()> {
    let host = Host::new(None)?;
    let run = |arguments: &str| {
        let ringfence = host.ringfence(&["run"]);
        let words = [ringfence.get_program()].into_iter().chain(ringfence.get_args());
        let line: Vec<String> = words.map(|word| format!("'{}'", word.to_string_lossy())).collect();
        let at = host.path("bpf");
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c"]);
        command.arg(format!("mount -t bpf bpf {} && exec {} {arguments}", at.display(), line.join(" ")));
        command
    };
    let output = run("").output()?;
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let text = errors(&output);
    assert!(text.contains("exists in this mount namespace only") && text.contains("--detach-on-exit"), "{text}");
    assert!(!is_filtered(&host, Wire::SERVER_INTERFACE)?);

    let mut daemon = Spawned::start("daemon", run("--detach-on-exit"), host.scratch.path())?;
    daemon.wait_until("filter in force", START_LIMIT, |_| {
        Ok(is_filtered(&host, Wire::SERVER_INTERFACE)?.then_some(()))
    })?;
    Ok(())
}
