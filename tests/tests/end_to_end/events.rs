//! The filters of `ringfence events`, which the daemon applies: to the events that it keeps and to those that come.

use std::{
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    process::Output,
    time::Duration,
};

use anyhow::{Result, ensure};
use ringfence_tests::{
    filter::Filter,
    message::Message,
    netns::{Wire, WireOptions},
    packet::Packet,
    process::{Spawned, wait_until},
    raw,
    sip::ORDINARY_AGENT,
};
use serde_json::Value;

use crate::scene::{ROBOCALLER, SCANNER, Scene};

/// Sends a request that the filter drops.
fn send(scene: &Scene, source: &str, message: &Message) -> Result<()> {
    let packet = Packet::udp(message.bytes()).from(source).to(Wire::SERVER_IPV4);
    let frame = packet.between([2, 0, 0, 0, 0, 0x99], [0xff; 6]).frame();
    raw::send(&scene.wire.network, Wire::NETWORK_INTERFACE, &[frame])
}

fn scan() -> Message {
    Message::request("OPTIONS").set("User-Agent", "friendly-scanner")
}

/// A call from the number that must not call.
fn spoofed_call() -> Message {
    Message::request("INVITE").set("User-Agent", ORDINARY_AGENT).set("From", "<sip:+12125559000@example.net>;tag=1")
}

fn events(filter: &Filter, arguments: &[&str]) -> Result<Output> {
    Ok(filter.command("events", &[&["--json"], arguments].concat()).output()?)
}

fn printed(filter: &Filter, arguments: &[&str]) -> Result<Vec<Value>> {
    let output = events(filter, arguments)?;
    ensure!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout)?.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

#[test]
fn filters_choose_among_the_events_that_are_kept_and_among_those_that_come() -> Result<()> {
    let scene = Scene::new(&WireOptions::default())?;
    let filter = scene.filter(Wire::SERVER_INTERFACE, &[])?;
    for _ in 0..3 {
        send(&scene, SCANNER, &scan())?;
    }
    send(&scene, ROBOCALLER, &scan())?;
    send(&scene, ROBOCALLER, &spoofed_call())?;
    wait_until("events", Duration::from_secs(10), || Ok((printed(&filter, &[])?.len() == 5).then_some(())))?;

    for (arguments, expected) in [
        (vec!["--source", SCANNER], 3),
        (vec!["--source", "10.20.0.64/29"], 3),
        (vec!["--source", "10.20.0.64/29", "--source", ROBOCALLER], 5),
        (vec!["--rule", "scanners"], 4),
        (vec!["--rule", "scanners", "--source", ROBOCALLER], 1),
        (vec!["--rule", "scanners", "--last", "2"], 2),
        (vec!["--number", "+1-212-555-9"], 1),
        (vec!["--number", "49"], 0),
        (vec!["--reason", "rule-drop", "--verdict", "drop", "--mode", "enforce"], 5),
        (vec!["--mode", "report"], 0),
        (vec!["--verdict", "divert"], 0),
    ] {
        assert_eq!(printed(&filter, &arguments)?.len(), expected, "{arguments:?}");
    }
    let last = printed(&filter, &["--last", "1", "--rule", "do-not-originate"])?;
    assert_eq!((&last[0]["calling"], &last[0]["source"]), (&"12125559000".into(), &ROBOCALLER.into()));

    let arguments = ["--json", "--follow", "--last", "0", "--rule", "do-not-originate"];
    let mut follower = Spawned::start("follower", filter.command("events", &arguments), scene.path())?;
    let line = follower.wait_until("event", Duration::from_secs(20), |follower| {
        // It may not be listening yet.
        send(&scene, SCANNER, &scan())?;
        send(&scene, ROBOCALLER, &spoofed_call())?;
        Ok(follower.stdout().split_once('\n').map(|(line, _)| line.to_owned()))
    })?;
    let event: Value = serde_json::from_str(&line)?;
    assert_eq!(event["rule"], "do-not-originate", "{event}");
    assert!(!follower.stdout().contains("friendly-scanner"), "{}", follower.stdout());
    Ok(())
}

#[test]
fn a_filter_that_is_wrong_is_an_error_that_says_what_to_write() -> Result<()> {
    let scene = Scene::new(&WireOptions::default())?;
    let filter = scene.filter(Wire::SERVER_INTERFACE, &[])?;
    for (arguments, expected) in [
        (["--rule", "scaners"], "did you mean `scanners`?"),
        (["--verdict", "dorp"], "drop"),
        (["--mode", "reprot"], "report"),
        (["--reason", "rule-dorp"], "rule-drop"),
        (["--source", "10.20.0.66/24"], "write 10.20.0.0/24"),
        (["--source", "scanner.example"], "no address such as"),
        (["--number", "alice"], "first digits"),
    ] {
        let output = events(&filter, &arguments)?;
        let error = String::from_utf8(output.stderr)?;
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {error}");
        assert!(error.contains(expected), "{arguments:?}: {error}");
    }
    // Whoever asks the API itself is told, too.
    let mut connection = UnixStream::connect(filter.state().with_extension("sock"))?;
    connection.write_all(b"GET /events?ruel=scanners HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer)?;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(answer.contains("there is no parameter `ruel`: did you mean `rule`?"), "{answer}");
    Ok(())
}
