//! Real SIP traffic through `ringfence run` on a real interface. The control without a filter is in control.rs.

mod accounts;
mod answers;
mod attacks;
mod bans;
mod connections;
mod emergency;
mod events;
mod explained;
mod foreign;
mod line;
mod prometheus;
mod reporting;
mod scene;
mod servers;

use std::{fs, time::Duration};

use anyhow::{Context as _, Result};
use ringfence_tests::{
    capture::{Capture, by_source},
    filter::unique_pins,
    message::Message,
    netns::{Wire, WireOptions},
    packet::Packet,
    process::{Spawned, wait_until},
    raw,
    sip::{Call, CallCounts, Caller, Calling, ORDINARY_AGENT, Scanner, Scenario},
    sipvicious,
};
use serde_json::Value;

use crate::scene::{
    CALLER, CALLER_IPV6, CALLS_LIMIT, POLICY, RELOAD_LIMIT, ROBOCALLER, ROBOCALLER_IPV6, SCANNER, SCANNER_IPV6, Scene,
    address, assert_all_completed, await_another_policy, binary, dno_call, ordinary_call, refused,
};

/// One more rule, against everything the robocaller sends.
const BLOCK_ROBOCALLER: &str = r#"
[[rule]]
name = "robocaller"
match.source = ["10.20.0.77"]
action = "drop"
"#;

/// A rule that matches nothing.
const SPARE: &str = r#"
[[rule]]
name = "spare"
match.source = ["10.20.99.99"]
action = "drop"

"#;

#[test]
fn calls_complete_while_a_scan_and_do_not_originate_calls_are_dropped() -> Result<()> {
    drops_the_unwanted_and_passes_calls(&Scene::new(&WireOptions::default())?, "native", [CALLER, ROBOCALLER, SCANNER])
}

#[test]
fn generic_mode_decides_the_same() -> Result<()> {
    drops_the_unwanted_and_passes_calls(&Scene::new(&WireOptions::default())?, "generic", [CALLER, ROBOCALLER, SCANNER])
}

#[test]
fn ipv6_is_filtered_the_same() -> Result<()> {
    let senders = [CALLER_IPV6, ROBOCALLER_IPV6, SCANNER_IPV6];
    drops_the_unwanted_and_passes_calls(&Scene::new(&WireOptions::default())?, "native", senders)
}

#[test]
fn calls_on_a_vlan_are_filtered_on_the_underlying_interface() -> Result<()> {
    if !Wire::has_vlan_interfaces()? {
        ringfence_tests::say("SKIPPED: this kernel has no 802.1Q interfaces");
        return Ok(());
    }
    let scene = Scene::new(&WireOptions { vlan: Some(100), ..WireOptions::default() })?;
    drops_the_unwanted_and_passes_calls(&scene, "native", [CALLER, ROBOCALLER, SCANNER])
}

#[test]
fn a_vlan_interface_is_filtered_in_generic_mode() -> Result<()> {
    if !Wire::has_vlan_interfaces()? {
        ringfence_tests::say("SKIPPED: this kernel has no 802.1Q interfaces");
        return Ok(());
    }
    let scene = Scene::new(&WireOptions { vlan: Some(100), ..WireOptions::default() })?;
    let interface = scene.wire.server_interface();
    let filter = scene.filter(&interface, &[])?;
    // The 8021q driver does not support XDP.
    assert_eq!(filter.mode()?, "generic");
    let mut dno = scene.unwanted("dno", ROBOCALLER, &[dno_call()])?;
    let mut ordinary = scene.ordinary("ordinary", CALLER, 10)?;
    assert_all_completed(ordinary.finish(CALLS_LIMIT)?, 10, &ordinary);
    assert_eq!(dno.finish(CALLS_LIMIT)?.completed, 0);
    assert_eq!(filter.packets("do-not-originate")?, 10);
    Ok(())
}

#[test]
fn tagged_packets_are_read() -> Result<()> {
    for mode in ["native", "generic"] {
        let scene = Scene::new(&WireOptions::default())?;
        let capture = Capture::start("arrived", &scene.wire.server, Wire::SERVER_INTERFACE, scene.path())?;
        let filter = scene.filter(Wire::SERVER_INTERFACE, &["--mode", mode])?;
        let options = |source, agent| {
            let message = Message::request("OPTIONS").set("User-Agent", agent);
            Packet::udp(message.bytes()).from(source).to(Wire::SERVER_IPV4).between([2, 0, 0, 0, 0, 0x99], [0xff; 6])
        };
        let mut frames = Vec::new();
        for packet in [options(ROBOCALLER, "friendly-scanner"), options(CALLER, ORDINARY_AGENT)] {
            frames.extend([packet.clone(), packet.clone().vlan(100), packet.qinq(7, 100)].map(|packet| packet.frame()));
        }
        raw::send(&scene.wire.network, Wire::NETWORK_INTERFACE, &frames)?;
        wait_until("dropped packets", Duration::from_secs(5), || Ok((filter.packets("scanners")? == 3).then_some(())))
            .with_context(|| format!("{mode}: {}", filter.status().unwrap_or_default()))?;
        let arrived = by_source(&capture.finish()?);
        assert_eq!(arrived.get(&address(ROBOCALLER)), None, "{mode}: {arrived:?}");
        assert_eq!(arrived.get(&address(CALLER)), Some(&3), "{mode}: {arrived:?}");
    }
    Ok(())
}

#[test]
fn fragmented_invites_are_judged_as_a_whole() -> Result<()> {
    let scene = Scene::new(&WireOptions::default())?;
    let capture = Capture::start("arrived", &scene.wire.server, Wire::SERVER_INTERFACE, scene.path())?;
    let filter = scene.filter(Wire::SERVER_INTERFACE, &[])?;
    let calls = [ordinary_call().in_fragments()];
    let calling = scene.calling("ordinary", Scenario::Ordinary, CALLER, &calls, 10);
    let mut ordinary = Caller::start(&scene.wire, scene.path(), &calling)?;
    let mut dno = scene.unwanted("dno", ROBOCALLER, &[dno_call().in_fragments()])?;
    assert_all_completed(ordinary.finish(CALLS_LIMIT)?, 10, &ordinary);
    assert_eq!(dno.finish(CALLS_LIMIT)?.completed, 0);
    assert_eq!(filter.packets("do-not-originate")?, 10, "each first fragment matches the rule");
    let arrived = by_source(&capture.finish()?);
    assert_eq!(arrived.get(&address(ROBOCALLER)), None, "later fragments got through: {arrived:?}");
    Ok(())
}

#[test]
fn calls_over_tcp_complete_and_unwanted_ones_are_dropped() -> Result<()> {
    let scene = Scene::new(&WireOptions::default())?;
    let filter = scene.filter(Wire::SERVER_INTERFACE, &[])?;
    let calls = [ordinary_call()];
    let calling = Calling { tcp: true, ..scene.calling("ordinary", Scenario::Ordinary, CALLER, &calls, 10) };
    let mut ordinary = Caller::start(&scene.wire, scene.path(), &calling)?;
    let calls = [dno_call()];
    let calling = Calling { tcp: true, ..scene.calling("dno", Scenario::Unwanted, ROBOCALLER, &calls, 10) };
    let mut dno = Caller::start(&scene.wire, scene.path(), &calling)?;
    assert_all_completed(ordinary.finish(CALLS_LIMIT)?, 10, &ordinary);
    assert_eq!(dno.finish(CALLS_LIMIT)?.completed, 0);
    assert!(filter.packets("do-not-originate")? > 0);
    let requests = scene.server.requests_by_source()?;
    assert_eq!(requests.get(&address(ROBOCALLER)), None, "{requests:?}");
    Ok(())
}

#[test]
fn a_changed_policy_comes_into_force_without_a_lost_call() -> Result<()> {
    let scene = Scene::new(&WireOptions::default())?;
    let filter = scene.filter(Wire::SERVER_INTERFACE, &[])?;
    let mut before = scene.unwanted("before", ROBOCALLER, &[ordinary_call()])?;
    assert_eq!(before.finish(CALLS_LIMIT)?.completed, 10, "the first policy passes these calls");

    // Calls for as long as the change takes, at most five minutes.
    let mut ordinary = scene.ordinary("ordinary", CALLER, 3000)?;
    let old = filter.policy_hash()?;
    fs::write(scene.policy.join("policy.toml"), POLICY.to_owned() + BLOCK_ROBOCALLER)?;
    await_another_policy(&filter, &old)?;
    let mut after = scene.unwanted("after", ROBOCALLER, &[ordinary_call()])?;
    assert_eq!(after.finish(CALLS_LIMIT)?.completed, 0);
    assert_eq!(filter.packets("robocaller")?, 10);
    let counts = ordinary.wind_down(CALLS_LIMIT)?;
    assert!(counts.started > 10, "too few calls during the change to show anything");
    assert_all_completed(counts, counts.started, &ordinary);
    Ok(())
}

#[test]
fn a_changed_list_comes_into_force() -> Result<()> {
    let scene = Scene::new(&WireOptions::default())?;
    let filter = scene.filter(Wire::SERVER_INTERFACE, &[])?;
    let old = filter.policy_hash()?;
    fs::write(scene.policy.join("lists/scanners.txt"), "friendly-scanner\nYealink\n")?;
    await_another_policy(&filter, &old)?;
    let mut calls = scene.unwanted("calls", ROBOCALLER, &[ordinary_call()])?;
    assert_eq!(calls.finish(CALLS_LIMIT)?.completed, 0);
    assert_eq!(filter.packets("scanners")?, 10);
    Ok(())
}

#[test]
fn an_erroneous_edit_leaves_the_policy_in_force_and_shows_where() -> Result<()> {
    let scene = Scene::new(&WireOptions::default())?;
    let mut filter = scene.filter(Wire::SERVER_INTERFACE, &[])?;
    let old = filter.policy_hash()?;
    let wrong = POLICY.replace(r#"action = "drop""#, r#"action = "dorp""#);
    let line = 1 + wrong.lines().position(|line| line.contains("dorp")).context("the error's line")?;
    fs::write(scene.policy.join("policy.toml"), &wrong)?;

    let place = format!("policy.toml:{line}");
    filter.process().wait_until("report of the error", RELOAD_LIMIT, |daemon| {
        Ok((daemon.stdout() + &daemon.stderr()).contains(&place).then_some(()))
    })?;
    assert_eq!(filter.policy_hash()?, old);
    let mut dno = scene.unwanted("dno", ROBOCALLER, &[dno_call()])?;
    assert_eq!(dno.finish(CALLS_LIMIT)?.completed, 0, "the policy in force has been lost");

    fs::write(scene.policy.join("policy.toml"), POLICY.to_owned() + BLOCK_ROBOCALLER)?;
    await_another_policy(&filter, &old)?;
    Ok(())
}

#[test]
fn a_killed_daemon_leaves_the_filter_dropping_and_the_next_one_adopts_it_and_detach_removes_it() -> Result<()> {
    let scene = Scene::new(&WireOptions::default())?;
    let mut filter = scene.filter(Wire::SERVER_INTERFACE, &[])?;
    let mut dno = scene.unwanted("first", ROBOCALLER, &[dno_call()])?;
    assert_eq!(dno.finish(CALLS_LIMIT)?.completed, 0);
    assert_eq!(filter.packets("do-not-originate")?, 10);

    filter.kill()?;
    let mut dno = scene.unwanted("second", ROBOCALLER, &[dno_call()])?;
    let mut ordinary = scene.ordinary("ordinary", CALLER, 10)?;
    assert_eq!(dno.finish(CALLS_LIMIT)?.completed, 0, "nothing filters after the daemon is killed");
    assert_all_completed(ordinary.finish(CALLS_LIMIT)?, 10, &ordinary);

    filter.restart(&scene.wire, scene.path(), &scene.options(Wire::SERVER_INTERFACE, &[]))?;
    assert_eq!(
        filter.packets("do-not-originate")?,
        20,
        "counting continues without a daemon, and the next one adopts the counters"
    );
    let mut dno = scene.unwanted("third", ROBOCALLER, &[dno_call()])?;
    assert_eq!(dno.finish(CALLS_LIMIT)?.completed, 0);
    assert_eq!(filter.packets("do-not-originate")?, 30);

    filter.kill()?;
    let detached = filter.detach()?;
    assert!(detached.status.success(), "{}", String::from_utf8_lossy(&detached.stderr));
    assert!(!filter.pins().exists(), "{} is still there", filter.pins().display());
    assert_eq!(filter.command("status", &[]).output()?.status.code(), Some(1), "nothing is being filtered");
    let link = scene.wire.server.ip(&["-details", "link", "show", Wire::SERVER_INTERFACE])?;
    assert!(!link.contains("xdp"), "{link}");
    let mut dno = scene.unwanted("fourth", ROBOCALLER, &[dno_call()])?;
    assert_eq!(dno.finish(CALLS_LIMIT)?.completed, 10, "the filter is still attached");
    Ok(())
}

#[test]
fn the_counters_of_a_rule_survive_a_change_of_policy() -> Result<()> {
    let scene = Scene::new(&WireOptions::default())?;
    let filter = scene.filter(Wire::SERVER_INTERFACE, &[])?;
    let mut dno = scene.unwanted("first", ROBOCALLER, &[dno_call()])?;
    dno.finish(CALLS_LIMIT)?;
    let old = filter.policy_hash()?;
    // Before all others, so that every rule moves.
    fs::write(scene.policy.join("policy.toml"), POLICY.replacen("[[rule]]", &(SPARE.to_owned() + "[[rule]]"), 1))?;
    await_another_policy(&filter, &old)?;
    let mut dno = scene.unwanted("second", ROBOCALLER, &[dno_call()])?;
    dno.finish(CALLS_LIMIT)?;
    assert_eq!(filter.packets("do-not-originate")?, 20);
    assert_eq!(filter.packets("spare")?, 0);
    Ok(())
}

#[test]
fn events_say_who_called_whom_and_which_rule_dropped_the_call() -> Result<()> {
    let scene = Scene::new(&WireOptions::default())?;
    let filter = scene.filter(Wire::SERVER_INTERFACE, &[])?;
    let mut events = Spawned::start("events", filter.command("events", &["--follow", "--json"]), scene.path())?;
    let mut dno = scene.unwanted("dno", ROBOCALLER, &[dno_call()])?;
    let event: Value = events.wait_until("event", Duration::from_secs(20), |events| {
        Ok(events.stdout().split_once('\n').and_then(|(line, _)| serde_json::from_str(line).ok()))
    })?;
    dno.finish(CALLS_LIMIT)?;
    let wanted = [
        ("rule", "do-not-originate"),
        ("verdict", "drop"),
        ("method", "INVITE"),
        ("source", ROBOCALLER),
        ("calling", "12125559000"),
        ("called", "12128675310"),
        ("user_agent", ORDINARY_AGENT),
    ];
    for (field, value) in wanted {
        assert_eq!(event[field], value, "{field} of {event}");
    }
    Ok(())
}

#[test]
fn the_daemon_does_not_start_with_a_policy_that_has_errors() -> Result<()> {
    let scene = Scene::new(&WireOptions::default())?;
    fs::write(scene.policy.join("policy.toml"), POLICY.replace("version = 1", "version = 1\nversoin = 1"))?;
    let (code, text) = refused(&scene, Wire::SERVER_INTERFACE)?;
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("policy.toml:2"), "{text}");
    let link = scene.wire.server.ip(&["-details", "link", "show", Wire::SERVER_INTERFACE])?;
    assert!(!link.contains("xdp"), "{link}");
    Ok(())
}

#[test]
fn a_daemon_that_is_stopped_leaves_the_filter_dropping() -> Result<()> {
    let scene = Scene::new(&WireOptions::default())?;
    let mut filter = scene.filter(Wire::SERVER_INTERFACE, &[])?;
    let status = filter.process().stop()?;
    assert!(status.success(), "{status}: {}", filter.process().last_words());
    let mut dno = scene.unwanted("dno", ROBOCALLER, &[dno_call()])?;
    assert_eq!(dno.finish(CALLS_LIMIT)?.completed, 0);
    Ok(())
}

#[test]
fn another_program_on_the_interface_is_left_alone() -> Result<()> {
    let scene = Scene::new(&WireOptions::default())?;
    let program = foreign::Program::attach(&scene.wire, scene.path())?;
    let (code, text) = refused(&scene, Wire::SERVER_INTERFACE)?;
    assert_eq!(code, Some(3), "{text}");
    assert!(text.contains(Wire::SERVER_INTERFACE) && text.contains("xdp off"), "no command that helps: {text}");
    let link = scene.wire.server.ip(&["-details", "link", "show", Wire::SERVER_INTERFACE])?;
    assert!(link.contains("xdp") && link.contains(foreign::NAME), "the other program is gone: {link}");
    drop(program);
    Ok(())
}

#[test]
fn another_ringfence_on_the_interface_is_left_alone() -> Result<()> {
    let scene = Scene::new(&WireOptions::default())?;
    let filter = scene.filter(Wire::SERVER_INTERFACE, &[])?;
    let (code, text) = refused(&scene, Wire::SERVER_INTERFACE)?;
    assert_eq!(code, Some(3), "{text}");
    assert!(text.contains("ringfence detach"), "no command that helps: {text}");
    let mut dno = scene.unwanted("dno", ROBOCALLER, &[dno_call()])?;
    assert_eq!(dno.finish(CALLS_LIMIT)?.completed, 0);
    assert_eq!(filter.packets("do-not-originate")?, 10);
    Ok(())
}

#[test]
fn a_missing_interface_is_refused() -> Result<()> {
    let scene = Scene::new(&WireOptions::default())?;
    let (code, text) = refused(&scene, "sip9")?;
    assert_eq!(code, Some(3), "{text}");
    assert!(text.contains("sip9") && text.contains("ip -br"), "no command that helps: {text}");
    Ok(())
}

#[test]
fn an_interface_without_ethernet_headers_is_refused() -> Result<()> {
    let scene = Scene::new(&WireOptions::default())?;
    scene.wire.server.ip(&["tuntap", "add", "dev", "tun0", "mode", "tun"])?;
    let (code, text) = refused(&scene, "tun0")?;
    assert_eq!(code, Some(3), "{text}");
    assert!(text.contains("interface tun0 is not Ethernet (link type tun)"), "{text}");
    assert!(!text.contains("filtering"), "nothing is filtered there: {text}");
    Ok(())
}

#[test]
fn an_unprivileged_user_is_refused() -> Result<()> {
    use std::os::unix::fs::PermissionsExt;

    let scene = Scene::new(&WireOptions::default())?;
    // Other users may have no access to the build's folder: copy the binary to where they do.
    let public =
        tempfile::Builder::new().prefix("ringfence-").permissions(fs::Permissions::from_mode(0o755)).tempdir()?;
    let program = public.path().join("ringfence");
    fs::copy(binary()?, &program)?;
    // The user may make the socket and the state there: the kernel is to refuse.
    std::os::unix::fs::chown(public.path(), Some(65534), Some(65534))?;
    let mut command = scene.wire.server.command("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(&program);
    fs::write(public.path().join("policy.toml"), "version = 1\n")?;
    command.args(["run", "--interface", Wire::SERVER_INTERFACE, "--policy"]).arg(public.path());
    command.arg("--pin-dir").arg(unique_pins());
    command.arg("--socket").arg(public.path().join("socket")).arg("--state-dir").arg(public.path().join("state"));
    command.current_dir("/");
    let output = command.output()?;
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{text}");
    assert!(text.contains("root") || text.contains("sudo"), "no help: {text}");
    Ok(())
}

fn drops_the_unwanted_and_passes_calls(scene: &Scene, wanted_mode: &str, senders: [&str; 3]) -> Result<()> {
    let [caller, robocaller, scanner] = senders;
    let capture = Capture::start("arrived", &scene.wire.server, Wire::SERVER_INTERFACE, scene.path())?;
    let filter = scene.filter(Wire::SERVER_INTERFACE, &["--mode", wanted_mode])?;
    assert_eq!(filter.mode()?, wanted_mode);

    let mut ordinary = scene.ordinary("ordinary", caller, 20)?;
    let mut dno = scene.unwanted("dno", robocaller, &[dno_call()])?;
    // An emergency call passes, whoever makes it.
    let mut emergency =
        scene.unwanted("emergency", caller, &[Call::new("+12125559000", "911").by("friendly-scanner")])?;
    let scans = if address(scanner).is_ipv4() {
        Scanner::look_once(&scene.wire, scene.path(), &sipvicious()?, address(scanner), 10)?;
        10
    } else {
        let mut scan = scene.unwanted("scan", scanner, &[ordinary_call().by("friendly-scanner")])?;
        assert_eq!(scan.finish(CALLS_LIMIT)?.completed, 0);
        10
    };
    assert_all_completed(ordinary.finish(CALLS_LIMIT)?, 20, &ordinary);
    assert_eq!(dno.finish(CALLS_LIMIT)?, CallCounts { started: 10, completed: 0, failed: 10 });
    assert_eq!(emergency.finish(CALLS_LIMIT)?.completed, 10, "{}", emergency.errors());

    assert_eq!(filter.packets("do-not-originate")?, 10);
    assert_eq!(filter.packets("scanners")?, scans);
    let requests = scene.server.requests_by_source()?;
    // INVITE, ACK and BYE; some are retransmitted if the machine is busy.
    assert!(requests.get(&address(caller)).is_some_and(|count| *count >= 90), "{requests:?}");
    let arrived = by_source(&capture.finish()?);
    for unwanted in [robocaller, scanner] {
        assert_eq!(requests.get(&address(unwanted)), None, "{requests:?}");
        assert_eq!(arrived.get(&address(unwanted)), None, "{arrived:?}");
    }
    Ok(())
}
