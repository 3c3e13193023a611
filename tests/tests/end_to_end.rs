//! Real SIP traffic through `ringfence run` on a real interface. The control without a filter is in control.rs.

mod foreign;

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context, Result};
use ringfence_tests::capture::{Capture, by_source};
use ringfence_tests::filter::{self, Filter, FilterOptions, unique_pins};
use ringfence_tests::message::Message;
use ringfence_tests::netns::{Wire, WireOptions};
use ringfence_tests::packet::Packet;
use ringfence_tests::process::{Spawned, wait_until};
use ringfence_tests::sip::{Call, CallCounts, Caller, Calling, ORDINARY_AGENT, Scanner, Scenario, Server};
use ringfence_tests::{raw, scratch, sipvicious};
use serde_json::Value;
use tempfile::TempDir;

const CALLER: &str = "10.20.0.10";
const ROBOCALLER: &str = "10.20.0.77";
const SCANNER: &str = "10.20.0.66";
const CALLER_IPV6: &str = "2001:db8:20::10";
const ROBOCALLER_IPV6: &str = "2001:db8:20::77";
const SCANNER_IPV6: &str = "2001:db8:20::66";

/// Long enough for a last call, retransmissions included.
const CALLS_LIMIT: Duration = Duration::from_secs(70);
/// A policy's way from the changed file to the interface, on a machine that does other things too.
const RELOAD_LIMIT: Duration = Duration::from_secs(120);

/// Scanners by user agent, one number by calling number.
const POLICY: &str = r#"version = 1
default = "pass"

[network]
udp = [5060]
tcp = [5060]

[numbering]
country_code = "1"
international_prefix = "011"

[sets.scanners]
user_agents = "lists/scanners.txt"

[[rule]]
name = "emergency"
match.called = ["911$"]
action = "whitelist"

[[rule]]
name = "scanners"
match.user_agent = "@scanners"
action = "drop"

[[rule]]
name = "do-not-originate"
match = { method = "INVITE", calling = ["12125559000$"] }
action = "drop"
"#;

/// One rule more, against whatever the robocaller sends.
const BLOCK_ROBOCALLER: &str = r#"
[[rule]]
name = "robocaller"
match.source = ["10.20.0.77"]
action = "drop"
"#;

/// A rule that nothing meets.
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
fn generic_mode_decides_alike() -> Result<()> {
    drops_the_unwanted_and_passes_calls(&Scene::new(&WireOptions::default())?, "generic", [CALLER, ROBOCALLER, SCANNER])
}

#[test]
fn ipv6_is_filtered_alike() -> Result<()> {
    let senders = [CALLER_IPV6, ROBOCALLER_IPV6, SCANNER_IPV6];
    drops_the_unwanted_and_passes_calls(&Scene::new(&WireOptions::default())?, "native", senders)
}

#[test]
fn calls_on_a_vlan_are_filtered_on_the_interface_below() -> Result<()> {
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
    // The 8021q driver has no XDP of its own.
    assert_eq!(filter.mode()?, "generic");
    let mut dno = scene.unwanted("dno", ROBOCALLER, &[dno_call()])?;
    let mut ordinary = scene.ordinary("ordinary", CALLER, 10)?;
    assert_all_completed(ordinary.finish(CALLS_LIMIT)?, 10, &ordinary);
    assert_eq!(dno.finish(CALLS_LIMIT)?.completed, 0);
    assert_eq!(filter.packets("do-not-originate")?, 10);
    Ok(())
}

#[test]
fn tagged_packets_are_read_behind_their_tags() -> Result<()> {
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
fn invites_in_fragments_are_judged_whole() -> Result<()> {
    let scene = Scene::new(&WireOptions::default())?;
    let capture = Capture::start("arrived", &scene.wire.server, Wire::SERVER_INTERFACE, scene.path())?;
    let filter = scene.filter(Wire::SERVER_INTERFACE, &[])?;
    let calls = [ordinary_call().in_fragments()];
    let calling = scene.calling("ordinary", Scenario::Ordinary, CALLER, &calls, 10);
    let mut ordinary = Caller::start(&scene.wire, scene.path(), &calling)?;
    let mut dno = scene.unwanted("dno", ROBOCALLER, &[dno_call().in_fragments()])?;
    assert_all_completed(ordinary.finish(CALLS_LIMIT)?, 10, &ordinary);
    assert_eq!(dno.finish(CALLS_LIMIT)?.completed, 0);
    assert_eq!(filter.packets("do-not-originate")?, 10, "each first fragment meets the rule");
    let arrived = by_source(&capture.finish()?);
    assert_eq!(arrived.get(&address(ROBOCALLER)), None, "later fragments get through: {arrived:?}");
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
    assert_eq!(before.finish(CALLS_LIMIT)?.completed, 10, "no rule of the first policy is against these calls");

    // Calls for as long as it takes, at most five minutes.
    let mut ordinary = scene.ordinary("ordinary", CALLER, 3000)?;
    let old = filter.policy_hash()?;
    fs::write(scene.policy.join("policy.toml"), POLICY.to_owned() + BLOCK_ROBOCALLER)?;
    await_another_policy(&filter, &old)?;
    let mut after = scene.unwanted("after", ROBOCALLER, &[ordinary_call()])?;
    assert_eq!(after.finish(CALLS_LIMIT)?.completed, 0);
    assert_eq!(filter.packets("robocaller")?, 10);
    let counts = ordinary.wind_down(CALLS_LIMIT)?;
    assert!(counts.started > 10, "hardly a call while the policy changed: nothing is shown");
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
fn a_killed_daemon_leaves_the_filter_dropping_the_next_one_adopts_it_and_detach_takes_it_off() -> Result<()> {
    let scene = Scene::new(&WireOptions::default())?;
    let mut filter = scene.filter(Wire::SERVER_INTERFACE, &[])?;
    let mut dno = scene.unwanted("first", ROBOCALLER, &[dno_call()])?;
    assert_eq!(dno.finish(CALLS_LIMIT)?.completed, 0);
    assert_eq!(filter.packets("do-not-originate")?, 10);

    filter.kill()?;
    let mut dno = scene.unwanted("second", ROBOCALLER, &[dno_call()])?;
    let mut ordinary = scene.ordinary("ordinary", CALLER, 10)?;
    assert_eq!(dno.finish(CALLS_LIMIT)?.completed, 0, "nobody filters once the daemon is dead");
    assert_all_completed(ordinary.finish(CALLS_LIMIT)?, 10, &ordinary);

    filter.restart(&scene.wire, scene.path(), &scene.options(Wire::SERVER_INTERFACE, &[]))?;
    assert_eq!(filter.packets("do-not-originate")?, 20, "counters go on while no daemon runs, and are adopted");
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
    assert_eq!(dno.finish(CALLS_LIMIT)?.completed, 10, "the filter is still there");
    Ok(())
}

#[test]
fn the_counters_of_a_rule_go_on_over_a_change_of_policy() -> Result<()> {
    let scene = Scene::new(&WireOptions::default())?;
    let filter = scene.filter(Wire::SERVER_INTERFACE, &[])?;
    let mut dno = scene.unwanted("first", ROBOCALLER, &[dno_call()])?;
    dno.finish(CALLS_LIMIT)?;
    let old = filter.policy_hash()?;
    // Before all others, so that every rule is at another place than it was.
    fs::write(scene.policy.join("policy.toml"), POLICY.replacen("[[rule]]", &(SPARE.to_owned() + "[[rule]]"), 1))?;
    await_another_policy(&filter, &old)?;
    let mut dno = scene.unwanted("second", ROBOCALLER, &[dno_call()])?;
    dno.finish(CALLS_LIMIT)?;
    assert_eq!(filter.packets("do-not-originate")?, 20);
    assert_eq!(filter.packets("spare")?, 0);
    Ok(())
}

#[test]
fn events_say_who_called_whom_and_which_rule_was_against_it() -> Result<()> {
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
fn a_policy_with_errors_is_not_begun_with() -> Result<()> {
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
fn a_daemon_that_is_asked_to_end_leaves_the_filter_dropping() -> Result<()> {
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
fn an_interface_that_is_not_there_is_refused() -> Result<()> {
    let scene = Scene::new(&WireOptions::default())?;
    let (code, text) = refused(&scene, "sip9")?;
    assert_eq!(code, Some(3), "{text}");
    assert!(text.contains("sip9") && text.contains("ip -br"), "no command that helps: {text}");
    Ok(())
}

#[test]
fn a_user_without_rights_is_refused() -> Result<()> {
    use std::os::unix::fs::PermissionsExt;

    let scene = Scene::new(&WireOptions::default())?;
    // The build's folder may be closed to others: the binary goes where they can reach it.
    let public =
        tempfile::Builder::new().prefix("ringfence-").permissions(fs::Permissions::from_mode(0o755)).tempdir()?;
    let program = public.path().join("ringfence");
    fs::copy(binary()?, &program)?;
    let mut command = scene.wire.server.command("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(&program);
    command.args(["run", "--interface", Wire::SERVER_INTERFACE, "--pin-dir"]).arg(unique_pins());
    command.arg("--socket").arg(public.path().join("socket")).current_dir("/");
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
    // An emergency call goes through whoever makes it.
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
    // INVITE, ACK and BYE; some of them again, should the machine be busy.
    assert!(requests.get(&address(caller)).is_some_and(|count| *count >= 90), "{requests:?}");
    let arrived = by_source(&capture.finish()?);
    for unwanted in [robocaller, scanner] {
        assert_eq!(requests.get(&address(unwanted)), None, "{requests:?}");
        assert_eq!(arrived.get(&address(unwanted)), None, "{arrived:?}");
    }
    Ok(())
}

/// A server on a wire, senders, and a policy of its own. Declare a [`Filter`] after it, so that it ends before.
struct Scene {
    server: Server,
    wire: Wire,
    policy: PathBuf,
    scratch: TempDir,
}

impl Scene {
    fn new(options: &WireOptions) -> Result<Self> {
        let scratch = scratch()?;
        let wire = Wire::new(options)?;
        for sender in [CALLER, ROBOCALLER, SCANNER, CALLER_IPV6, ROBOCALLER_IPV6, SCANNER_IPV6] {
            wire.add_sender(address(sender))?;
        }
        let policy = scratch.path().join("policy");
        fs::create_dir_all(policy.join("lists"))?;
        fs::write(policy.join("policy.toml"), POLICY)?;
        fs::write(policy.join("lists/scanners.txt"), "friendly-scanner\n")?;
        let server = Server::start(&wire, scratch.path(), Duration::from_secs(600))?;
        Ok(Self { server, wire, policy, scratch })
    }

    fn path(&self) -> &Path {
        self.scratch.path()
    }

    fn options<'a>(&'a self, interface: &'a str, arguments: &'a [&'a str]) -> FilterOptions<'a> {
        let binary = binary().expect("the binary has been built for the first filter");
        FilterOptions { binary, interface, policy: &self.policy, arguments }
    }

    fn filter(&self, interface: &str, arguments: &[&str]) -> Result<Filter> {
        binary()?;
        Filter::start(&self.wire, self.path(), &self.options(interface, arguments))
    }

    fn calling<'a>(
        &self,
        name: &'a str,
        scenario: Scenario,
        source: &str,
        calls: &'a [Call],
        count: u32,
    ) -> Calling<'a> {
        Calling { name, scenario, source: address(source), calls, rate: 10, count, tcp: false }
    }

    /// Ten ordinary calls a second.
    fn ordinary(&self, name: &str, source: &str, count: u32) -> Result<Caller> {
        let calls = [ordinary_call()];
        Caller::start(&self.wire, self.path(), &self.calling(name, Scenario::Ordinary, source, &calls, count))
    }

    /// Ten calls of one INVITE each, within a second.
    fn unwanted(&self, name: &str, source: &str, calls: &[Call]) -> Result<Caller> {
        Caller::start(&self.wire, self.path(), &self.calling(name, Scenario::Unwanted, source, calls, 10))
    }
}

/// What `ringfence run` answers where it must refuse, on pins of its own.
fn refused(scene: &Scene, interface: &str) -> Result<(Option<i32>, String)> {
    let mut command = scene.wire.server.command(&binary()?.to_string_lossy());
    let pins = unique_pins();
    command.args(["run", "--interface", interface, "--policy"]).arg(&scene.policy).arg("--pin-dir").arg(&pins);
    command.arg("--socket").arg(scene.path().join("refused.sock"));
    let mut process = Spawned::start("refused", command, scene.path())?;
    let status = process.wait(Duration::from_secs(60))?;
    assert!(!pins.exists(), "{} is left behind", pins.display());
    Ok((status.code(), process.stdout() + &process.stderr()))
}

fn assert_all_completed(counts: CallCounts, started: u64, caller: &Caller) {
    assert_eq!(counts, CallCounts { started, completed: started, failed: 0 }, "SIPp says:\n{}", caller.errors());
}

fn await_another_policy(filter: &Filter, old: &str) -> Result<()> {
    wait_until("other policy in force", RELOAD_LIMIT, || Ok((filter.policy_hash()? != old).then_some(())))
}

fn ordinary_call() -> Call {
    Call::new("+14158675309", "+12128675310")
}

fn dno_call() -> Call {
    Call::new("2125559000", "+12128675310")
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// The binary, of the profile that these tests are built with.
fn binary() -> Result<&'static Path> {
    static BINARY: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let built = BINARY.get_or_init(|| filter::build(!cfg!(debug_assertions)).map_err(|error| format!("{error:#}")));
    built.as_deref().map_err(|error| anyhow::anyhow!("{error}"))
}
