//! TCP connections through the filter: what others can do to them, and what their senders can do with them.

use std::{thread::sleep, time::Duration};

use anyhow::{Context as _, Result};
use ringfence_tests::{
    message::Message,
    process::{Spawned, wait_until},
};
use serde_json::Value;

use crate::{
    line::{CARRIER, LIMIT, Line, Peer},
    scene::{CALLER, POLICY, ROBOCALLER, SCANNER},
};

/// Longer than the first times after which TCP sends a segment again: 0.2, 0.4 and 0.8 s.
const SEVERAL_COPIES: Duration = Duration::from_millis(1_600);

fn call(name: &str) -> Message {
    Message::invite().set("Call-ID", name)
}

/// Dropped by [`POLICY`].
fn blocked(name: &str) -> Message {
    call(name).calling("+12125559000")
}

/// Its calling number is in the sample policy's list of numbers that place no calls.
fn listed(name: &str) -> Message {
    call(name).calling("+12025550100")
}

fn scan(name: &str) -> Message {
    call(name).set("User-Agent", "friendly-scanner")
}

fn names(run: &str, numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers.map(|number| format!("{run}-{number}")).collect()
}

/// Sends messages one after the other, each when the one before it has arrived.
fn deliver(line: &Line, peer: &mut Peer, source: &str, calls: &[String]) -> Result<()> {
    for name in calls {
        peer.send(&call(name).bytes())?;
        line.server.await_call(source, name)?;
    }
    Ok(())
}

#[test]
fn forged_segments_outside_the_window_cost_a_peer_none_of_its_messages() -> Result<()> {
    let mut line = Line::with(POLICY)?;
    assert_eq!(line.send_and_explain(CALLER, &blocked("explained"))?.1.as_deref(), Some("do-not-originate"));

    let mut peer = line.connect(CALLER)?;
    let control = names("control", 0..8);
    deliver(&line, &mut peer, CALLER, &control)?;
    assert_eq!(line.server.calls(CALLER), control);

    let mut peer = line.connect(CALLER)?;
    let attacked = names("attacked", 0..8);
    for (index, name) in attacked.iter().enumerate() {
        deliver(&line, &mut peer, CALLER, std::slice::from_ref(name))?;
        // 1 GiB ahead, 1 GiB behind, and as near as an attacker can come without a good guess.
        let offset = match index {
            1 => 1 << 30,
            3 => 0u32.wrapping_sub(1 << 30),
            5 => 0u32.wrapping_sub(1 << 17),
            _ => continue,
        };
        let before = line.filter.packets("do-not-originate")?;
        line.forge(&peer, offset, &blocked("forged"))?;
        wait_until("drop of the forged segment", LIMIT, || {
            Ok((line.filter.packets("do-not-originate")? == before + 1).then_some(()))
        })?;
    }
    assert_eq!(line.server.calls(CALLER)[8..], attacked);
    assert_eq!(line.reasons()?.get("flow-of-dropped"), None, "a segment of the peer was dropped, and sent again");
    line.replay()?;
    Ok(())
}

#[test]
fn a_listed_call_on_a_carriers_connection_is_counted_and_costs_no_other_call() -> Result<()> {
    let mut line = Line::with_sample_policy()?;
    // A datagram costs no other call: it is dropped.
    assert_eq!(line.send_and_explain(CARRIER, &listed("explained"))?.1.as_deref(), Some("do-not-originate"));
    let counts = |line: &Line| -> Result<_> {
        Ok((line.count("do-not-originate", "packets")?, line.count("do-not-originate", "spared")?))
    };
    assert_eq!(counts(&line)?, (1, 0));

    let mut trunk = line.connect(CARRIER)?;
    let good = names("trunk", 0..8);
    deliver(&line, &mut trunk, CARRIER, &good[..4])?;
    trunk.send(&listed("listed").bytes())?;
    line.server.await_call(CARRIER, "listed")?;
    deliver(&line, &mut trunk, CARRIER, &good[4..])?;
    assert_eq!(line.server.calls(CARRIER).iter().filter(|name| good.contains(name)).count(), 8);
    assert_eq!(counts(&line)?, (2, 1));
    assert_eq!(line.reasons()?.get("flow-of-dropped"), None);

    // The same from a stranger.
    let mut stranger = line.connect(ROBOCALLER)?;
    let calls = names("stranger", 0..8);
    deliver(&line, &mut stranger, ROBOCALLER, &calls[..4])?;
    stranger.send(&listed("listed").bytes())?;
    wait_until("drop of the listed call", LIMIT, || Ok((counts(&line)? == (3, 1)).then_some(())))?;
    for name in &calls[4..] {
        stranger.send(&call(name).bytes())?;
    }
    sleep(SEVERAL_COPIES);
    assert_eq!(line.server.calls(ROBOCALLER), calls[..4]);
    assert!(line.reasons()?.get("flow-of-dropped").is_some_and(|&count| count >= 4));
    assert_eq!(counts(&line)?, (3, 1), "copies of the dropped call are not new calls");
    line.replay()?;
    Ok(())
}

#[test]
fn a_scanners_message_in_small_segments_is_dropped_and_a_slow_carriers_arrives() -> Result<()> {
    let mut line = Line::with_sample_policy()?;
    let mut events = Spawned::start("events", line.filter.command("events", &["--follow", "--json"]), line.path())?;
    events.wait_until("connected reader of events", LIMIT, |events| {
        assert_eq!(line.send_and_explain(SCANNER, &scan("explained"))?.1.as_deref(), Some("scanners"));
        Ok((!events.stdout().is_empty()).then_some(()))
    })?;

    // Whole messages of the same sender: the honest one arrives.
    let mut scanner = line.connect(SCANNER)?;
    deliver(&line, &mut scanner, SCANNER, &["honest".to_owned()])?;
    scanner.send(&scan("whole").bytes())?;
    let mut scanner = line.connect(SCANNER)?;
    scanner.send_in_pieces(&scan("split"))?;
    sleep(SEVERAL_COPIES);
    assert_eq!(line.server.calls(SCANNER), ["honest"]);
    assert_eq!(line.filter.packets("not-sip-from-strangers")?, 1);

    let is_split = |event: &Value, anomalies: &Value| {
        let anomalies = anomalies.as_array().context("no anomalies")?;
        Ok(event["rule"] == "not-sip-from-strangers" && anomalies.contains(&Value::from("split-message")))
    };
    events.wait_until("event of the first segment", LIMIT, |events| {
        for text in events.stdout().split_inclusive('\n').filter(|text| text.ends_with('\n')) {
            let event: Value = serde_json::from_str(text)?;
            if is_split(&event, &event["anomalies"])? {
                return Ok(Some(()));
            }
        }
        Ok(None)
    })?;

    let mut trunk = line.connect(CARRIER)?;
    trunk.send_in_pieces(&call("slow"))?;
    line.server.await_call(CARRIER, "slow")?;
    assert_eq!(line.filter.packets("not-sip-from-strangers")?, 1);

    let replayed = line.replay()?;
    let split = replayed.iter().filter(|packet| packet["rule"] == "not-sip-from-strangers");
    let split: Vec<bool> = split.map(|packet| is_split(packet, &packet["scopes"]["anomaly"])).collect::<Result<_>>()?;
    assert_eq!(split, [true]);
    Ok(())
}
