//! Bans: made by rules and by hand, listed, and lifted. What a ban drops is seen in the counters of a real interface.

use std::{
    fs,
    io::PipeReader,
    os::fd::AsRawFd as _,
    process::Output,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use ringfence_tests::{
    filter::Filter,
    message::Message,
    netns::{Wire, WireOptions},
    packet::Packet,
    process::{Spawned, wait_until},
    raw,
    sip::ORDINARY_AGENT,
};
use rustix::process::Signal;
use serde_json::Value;

use crate::scene::{CALLER, POLICY, SCANNER, Scene, await_another_policy};

const SCANNING: &str = "friendly-scanner";

/// Lets everything from some addresses pass, the scanner's among them; and the beginning of the rule after it.
const PARTNERS: &str = r#"[[rule]]
name = "partners"
match.source = ["10.20.0.64/29"]
action = "whitelist"

[[rule]]"#;

/// As [`POLICY`], but scanners are banned.
fn banning() -> String {
    let drops = "match.user_agent = \"@scanners\"\naction = \"drop\"";
    assert!(POLICY.contains(drops));
    POLICY.replace(drops, "match.user_agent = \"@scanners\"\naction = { ban = \"1h\" }")
}

fn scene() -> Result<Scene> {
    let scene = Scene::new(&WireOptions::default())?;
    fs::write(scene.policy.join("policy.toml"), banning())?;
    Ok(scene)
}

/// Whether the filter passes an OPTIONS request.
fn passes(scene: &Scene, filter: &Filter, source: &str, agent: &str) -> Result<bool> {
    let message = Message::request("OPTIONS").set("User-Agent", agent);
    let server = if source.contains(':') { Wire::SERVER_IPV6 } else { Wire::SERVER_IPV4 };
    let packet = Packet::udp(message.bytes()).from(source).to(server).between([2, 0, 0, 0, 0, 0x99], [0xff; 6]);
    let counts = || -> Result<_> {
        let status = filter.status()?;
        Ok((status["passed"].as_u64().context("passed")?, status["dropped"].as_u64().context("dropped")?))
    };
    let before = counts()?;
    raw::send(&scene.wire.network, Wire::NETWORK_INTERFACE, &[packet.frame()])?;
    let after = wait_until("packet", Duration::from_secs(5), || Ok(Some(counts()?).filter(|after| *after != before)))?;
    ensure!(after.0 + after.1 == before.0 + before.1 + 1, "{before:?} before, {after:?} after one packet");
    Ok(after.0 > before.0)
}

fn output(filter: &Filter, command: &str, arguments: &[&str]) -> Result<Output> {
    filter.command(command, arguments).output().with_context(|| format!("failed to start ringfence {command}"))
}

/// What a command prints, which must succeed.
fn done(filter: &Filter, command: &str, arguments: &[&str]) -> Result<String> {
    let output = output(filter, command, arguments)?;
    ensure!(output.status.success(), "{command} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

fn bans(filter: &Filter) -> Result<Vec<Value>> {
    let list: Value = serde_json::from_str(&done(filter, "bans", &["--json"])?)?;
    list["bans"].as_array().cloned().with_context(|| format!("no bans in {list}"))
}

fn prefixes(filter: &Filter) -> Result<Vec<String>> {
    Ok(bans(filter)?.iter().map(|ban| ban["prefix"].as_str().unwrap_or_default().to_owned()).collect())
}

/// A scene in which the scanner has been banned by a rule.
fn with_banned_scanner() -> Result<(Scene, Filter)> {
    let scene = scene()?;
    let filter = scene.filter(Wire::SERVER_INTERFACE, &[])?;
    assert!(passes(&scene, &filter, SCANNER, ORDINARY_AGENT)?);
    assert!(!passes(&scene, &filter, SCANNER, SCANNING)?);
    assert!(!passes(&scene, &filter, SCANNER, ORDINARY_AGENT)?, "the scanner is not banned");
    Ok((scene, filter))
}

/// Puts a policy in force that must free the scanner, and waits until the daemon says so.
fn frees_the_scanner(policy: &str, reason: &str) -> Result<()> {
    let (scene, mut filter) = with_banned_scanner()?;
    let old = filter.policy_hash()?;
    fs::write(scene.policy.join("policy.toml"), policy)?;
    await_another_policy(&filter, &old)?;
    let notice = format!("1 ban was lifted: {SCANNER} ({reason})");
    filter.process().wait_until("notice of the lifted ban", Duration::from_secs(5), |daemon| {
        Ok(daemon.stdout().contains(&notice).then_some(()))
    })?;
    assert_eq!(bans(&filter)?, [] as [Value; 0]);
    assert!(passes(&scene, &filter, SCANNER, ORDINARY_AGENT)?);
    // The ban is gone from the kernel, not only covered by the policy.
    let old = filter.policy_hash()?;
    fs::write(scene.policy.join("policy.toml"), banning())?;
    await_another_policy(&filter, &old)?;
    assert!(passes(&scene, &filter, SCANNER, ORDINARY_AGENT)?);
    Ok(())
}

#[test]
fn a_banned_source_is_listed_with_its_rule_and_freed_by_hand() -> Result<()> {
    let (scene, filter) = with_banned_scanner()?;
    assert!(passes(&scene, &filter, CALLER, ORDINARY_AGENT)?, "another source is not affected");
    let listed = bans(&filter)?;
    assert_eq!(listed.len(), 1, "{listed:?}");
    for (field, value) in [("prefix", SCANNER), ("rule", "scanners")] {
        assert_eq!(listed[0][field], value, "{field} of {}", listed[0]);
    }
    assert_eq!(listed[0]["packets"], 1, "the packet that made the ban was dropped by the rule");
    assert!(listed[0]["since"].as_str() < listed[0]["until"].as_str(), "{}", listed[0]);
    assert_eq!(filter.status()?["bans"], 1);
    assert!(done(&filter, "status", &[])?.contains("bans in force: 1"));

    let freed = done(&filter, "unban", &[SCANNER])?;
    assert_eq!(freed.trim(), format!("1 ban was lifted: {SCANNER} (by hand)"));
    assert!(passes(&scene, &filter, SCANNER, ORDINARY_AGENT)?);
    assert_eq!(filter.status()?["bans"], 0);
    assert_eq!(output(&filter, "unban", &[SCANNER])?.status.code(), Some(1), "nothing was left to lift");
    Ok(())
}

#[test]
fn a_banned_source_is_freed_by_never_ban() -> Result<()> {
    let policy =
        banning().replacen("default = \"pass\"", &format!("default = \"pass\"\nnever_ban = [\"{SCANNER}\"]"), 1);
    frees_the_scanner(&policy, "the policy's `never_ban` covers it")
}

#[test]
fn a_banned_source_is_freed_by_a_rule_that_lets_everything_from_it_pass() -> Result<()> {
    frees_the_scanner(&banning().replacen("[[rule]]", PARTNERS, 1), "the rule `partners` lets everything from it pass")
}

#[test]
fn a_network_that_is_only_partly_exempt_stays_banned() -> Result<()> {
    let scene = scene()?;
    let filter = scene.filter(Wire::SERVER_INTERFACE, &[])?;
    done(&filter, "ban", &["10.20.0.64/28", "--for", "1h"])?;
    let old = filter.policy_hash()?;
    fs::write(scene.policy.join("policy.toml"), banning().replacen("[[rule]]", PARTNERS, 1))?;
    await_another_policy(&filter, &old)?;
    assert_eq!(prefixes(&filter)?, ["10.20.0.64/28"]);
    assert!(passes(&scene, &filter, SCANNER, ORDINARY_AGENT)?, "a whitelist comes before a ban");
    assert!(!passes(&scene, &filter, CALLER_IN_BAN, ORDINARY_AGENT)?);
    Ok(())
}

/// In 10.20.0.64/28, but not in 10.20.0.64/29.
const CALLER_IN_BAN: &str = "10.20.0.77";

#[test]
fn a_ban_by_hand_drops_its_network_and_nothing_else() -> Result<()> {
    let scene = scene()?;
    let mut filter = scene.filter(Wire::SERVER_INTERFACE, &[])?;
    let inside = ["2001:db8:0:7::1", "2001:db8:0:ffff::2"];
    for source in inside {
        assert!(passes(&scene, &filter, source, ORDINARY_AGENT)?);
    }
    let banned = done(&filter, "ban", &["2001:db8::/48", "--for", "1m", "--comment", "ticket 7"])?;
    assert!(banned.starts_with("2001:db8::/48 is banned until "), "{banned}");
    for source in inside {
        assert!(!passes(&scene, &filter, source, ORDINARY_AGENT)?, "{source}");
    }
    for source in ["2001:db8:1::1", CALLER] {
        assert!(passes(&scene, &filter, source, ORDINARY_AGENT)?, "{source}");
    }
    let listed = bans(&filter)?;
    assert_eq!((&listed[0]["rule"], &listed[0]["comment"]), (&Value::Null, &Value::from("ticket 7")));
    assert_eq!(listed[0]["packets"], 2);
    let text = done(&filter, "bans", &[])?;
    assert!(text.contains("2001:db8::/48  by hand: ticket 7"), "{text}");
    filter.process().wait_until("notice of the ban", Duration::from_secs(5), |daemon| {
        Ok(daemon.stdout().contains("2001:db8::/48 is banned until").then_some(()))
    })?;

    // An address frees whatever covers it.
    done(&filter, "unban", &["2001:db8:0:7::1"])?;
    assert!(passes(&scene, &filter, inside[1], ORDINARY_AGENT)?);

    // Of an IPv6 address, the network is banned.
    done(&filter, "ban", &["2001:db8:5::1", "--for", "1m"])?;
    assert_eq!(prefixes(&filter)?, ["2001:db8:5::/64"]);
    assert!(!passes(&scene, &filter, "2001:db8:5::2", ORDINARY_AGENT)?);
    Ok(())
}

#[test]
fn a_ban_that_has_ended_drops_nothing_and_is_not_listed() -> Result<()> {
    let scene = scene()?;
    let filter = scene.filter(Wire::SERVER_INTERFACE, &[])?;
    done(&filter, "ban", &[CALLER, "--for", "3s"])?;
    assert!(!passes(&scene, &filter, CALLER, ORDINARY_AGENT)?);
    wait_until("end of the ban", Duration::from_secs(10), || Ok(bans(&filter)?.is_empty().then_some(())))?;
    assert!(passes(&scene, &filter, CALLER, ORDINARY_AGENT)?);
    Ok(())
}

#[test]
fn what_cannot_be_banned_is_refused_with_the_reason() -> Result<()> {
    let scene = scene()?;
    let policy = banning().replacen("default = \"pass\"", "default = \"pass\"\nnever_ban = [\"192.0.2.0/24\"]", 1);
    fs::write(scene.policy.join("policy.toml"), policy)?;
    let mut filter = scene.filter(Wire::SERVER_INTERFACE, &[])?;
    let refused = |filter: &Filter, source: &str| -> Result<(Option<i32>, String)> {
        let output = output(filter, "ban", &[source, "--for", "1h"])?;
        Ok((output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned()))
    };
    let (code, text) = refused(&filter, "0.0.0.0/0")?;
    assert!(code == Some(2) && text.contains("every address"), "{code:?} {text}");
    let (code, text) = refused(&filter, "192.0.2.0/24")?;
    assert!(code == Some(1) && text.contains("`never_ban` covers it"), "{code:?} {text}");
    assert_eq!(bans(&filter)?, [] as [Value; 0]);
    done(&filter, "ban", &["192.0.0.0/16", "--for", "1h"]).context("it is exempt in part only")?;

    // The rule's /32, the /16, and two more: there is no room for a fifth length.
    for network in ["198.51.100.0/24", "203.0.113.0/28"] {
        done(&filter, "ban", &[network, "--for", "1h"])?;
    }
    for with_daemon in [true, false] {
        if !with_daemon {
            filter.kill()?;
        }
        let (code, text) = refused(&filter, "203.0.113.128/25")?;
        assert!(code == Some(1) && text.contains("/16, /24, /28, /32 are in use"), "{code:?} {text}");
        done(&filter, "ban", &["198.51.101.0/24", "--for", "1h"]).context("its length is in use already")?;
    }
    Ok(())
}

#[test]
fn a_list_is_imported_as_a_whole_or_not_at_all_and_exported_the_same() -> Result<()> {
    let scene = scene()?;
    let policy = banning().replacen("default = \"pass\"", "default = \"pass\"\nnever_ban = [\"192.0.2.0/24\"]", 1);
    fs::write(scene.policy.join("policy.toml"), policy)?;
    let mut filter = scene.filter(Wire::SERVER_INTERFACE, &[])?;
    let file = scene.path().join("banned.txt");
    let file = file.to_str().context("path")?;
    let import = [file, "--for", "1h"];

    fs::write(file, format!("{CALLER} # ticket 7\n2001:db8:5::/48\n192.0.2.7\n"))?;
    let refused = output(&filter, "bans import", &import)?;
    let text = String::from_utf8_lossy(&refused.stderr);
    assert!(text.contains("line 3: 192.0.2.7 cannot be banned: the policy's `never_ban` covers it"), "{text}");
    assert_eq!(refused.status.code(), Some(1), "{text}");
    fs::write(file, format!("{CALLER} # ticket 7\n192.0.2.\n"))?;
    let refused = output(&filter, "bans import", &import)?;
    let text = String::from_utf8_lossy(&refused.stderr);
    assert!(refused.status.code() == Some(2) && text.contains("banned.txt:2: `192.0.2.`"), "{text}");
    assert_eq!(bans(&filter)?, [] as [Value; 0], "nothing of a bad list is banned");
    assert!(passes(&scene, &filter, CALLER, ORDINARY_AGENT)?);

    fs::write(file, format!("{CALLER} # ticket 7\n2001:db8:5::/48\n"))?;
    assert_eq!(done(&filter, "bans import", &import)?, "2 sources are banned\n");
    assert_eq!(prefixes(&filter)?, [CALLER, "2001:db8:5::/48"]);
    assert_eq!(bans(&filter)?[0]["comment"], "ticket 7");
    for source in [CALLER, "2001:db8:5::9"] {
        assert!(!passes(&scene, &filter, source, ORDINARY_AGENT)?, "{source}");
    }
    let shorter = [file, "--for", "1m"];
    assert_eq!(done(&filter, "bans import", &shorter)?, "0 sources are banned; 2 were banned for longer already\n");

    let exported = done(&filter, "bans export", &[])?;
    assert!(exported.ends_with(&format!("\n{CALLER} # ticket 7\n2001:db8:5::/48\n")), "{exported}");
    let decisions = done(&filter, "bans export", &["--format", "crowdsec"])?;
    done(&filter, "unban", &["all"])?;
    fs::write(file, decisions)?;
    assert_eq!(done(&filter, "bans import", &[file])?, "2 sources are banned\n");
    assert_eq!(prefixes(&filter)?, [CALLER, "2001:db8:5::/48"]);
    assert_eq!(bans(&filter)?[0]["comment"], "ticket 7");
    assert!(!passes(&scene, &filter, CALLER, ORDINARY_AGENT)?);

    // Without a daemon, the list is written to the kernel.
    filter.kill()?;
    done(&filter, "unban", &["all"])?;
    fs::write(file, exported)?;
    assert_eq!(done(&filter, "bans import", &import)?, "2 sources are banned\n");
    assert!(!passes(&scene, &filter, CALLER, ORDINARY_AGENT)?);
    Ok(())
}

#[test]
fn bans_are_made_and_lifted_without_a_daemon() -> Result<()> {
    let (scene, mut filter) = with_banned_scanner()?;
    filter.kill()?;
    assert_eq!(prefixes(&filter)?, [SCANNER]);
    assert!(passes(&scene, &filter, "203.0.113.9", ORDINARY_AGENT)?);
    let banned = output(&filter, "ban", &["203.0.113.0/24", "--for", "1h", "--comment", "ticket 7"])?;
    assert!(banned.status.success());
    let text = String::from_utf8_lossy(&banned.stderr);
    assert!(text.contains("the comment is not kept"), "{text}");
    assert!(!passes(&scene, &filter, "203.0.113.9", ORDINARY_AGENT)?);

    filter.restart(&scene.wire, scene.path(), &scene.options(Wire::SERVER_INTERFACE, &[]))?;
    assert_eq!(prefixes(&filter)?, [SCANNER, "203.0.113.0/24"], "the next daemon finds them");
    assert!(!passes(&scene, &filter, "203.0.113.9", ORDINARY_AGENT)?, "a new program looks its length up, too");
    filter.kill()?;
    let freed = done(&filter, "unban", &["all"])?;
    assert!(freed.starts_with("2 bans were lifted"), "{freed}");
    for source in [SCANNER, "203.0.113.9"] {
        assert!(passes(&scene, &filter, source, ORDINARY_AGENT)?, "{source}");
    }
    Ok(())
}

#[test]
fn a_daemon_that_does_not_answer_keeps_neither_the_status_nor_bans_from_the_operator() -> Result<()> {
    let (_scene, mut filter) = with_banned_scanner()?;
    filter.process().signal(Signal::STOP)?;
    let begin = Instant::now();
    let status = filter.status()?;
    assert_eq!((&status["daemon"], &status["bans"]), (&Value::from("not answering"), &Value::from(1)));
    assert_eq!(prefixes(&filter)?, [SCANNER]);
    done(&filter, "unban", &[SCANNER])?;
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
    filter.process().signal(Signal::CONT)?;
    wait_until("answer of the daemon", Duration::from_secs(10), || {
        Ok((filter.status()?["daemon"] == "running").then_some(()))
    })?;
    assert_eq!(bans(&filter)?, [] as [Value; 0]);
    Ok(())
}

#[test]
fn readers_that_do_not_read_delay_no_reload_and_no_status_and_no_stop() -> Result<()> {
    let scene = scene()?;
    let (reader, writer) = std::io::pipe()?;
    let options = ["--json", "--interval", "0.1"];
    crate::scene::binary()?;
    let mut filter = Filter::start_with_output(
        &scene.wire,
        scene.path(),
        &scene.options(Wire::SERVER_INTERFACE, &options),
        writer.into(),
    )?;
    let mut events = Spawned::start("events", filter.command("events", &["--follow"]), scene.path())?;
    wait_until("connected reader of events", Duration::from_secs(20), || {
        // (Its first output needs an event.)
        let _ = passes(&scene, &filter, CALLER, SCANNING)?;
        Ok((!events.stdout().is_empty()).then_some(()))
    })?;
    events.signal(Signal::STOP)?;
    fill(&reader, &filter)?;

    assert_eq!(filter.status()?["daemon"], "running", "it answers within two seconds");
    let old = filter.policy_hash()?;
    fs::write(scene.policy.join("policy.toml"), POLICY)?;
    await_another_policy(&filter, &old)?;
    assert_eq!(filter.status()?["daemon"], "running");
    // SIGTERM must do: three seconds later it is killed.
    let ended = filter.process().stop()?;
    assert!(ended.success(), "{ended}");
    events.signal(Signal::CONT)?;
    drop(reader);
    Ok(())
}

/// Waits until the daemon cannot write to its standard output any more.
fn fill(reader: &PipeReader, filter: &Filter) -> Result<()> {
    // SAFETY: takes no pointer.
    let size = unsafe { libc::fcntl(reader.as_raw_fd(), libc::F_SETPIPE_SZ, 4096) };
    ensure!(size >= 4096 || rustix::io::ioctl_fionread(reader)? > 4096, "the pipe's size is {size}");
    let mut last = None;
    wait_until("full pipe", Duration::from_secs(120), || {
        let waiting = rustix::io::ioctl_fionread(reader)?;
        let is_full = waiting > 2048 && last.replace(waiting) == Some(waiting);
        // Ten tables, meanwhile.
        sleep(Duration::from_secs(1));
        ensure!(filter.status()?["daemon"] == "running");
        Ok(is_full.then_some(()))
    })
}
