//! Emergency calls from banned sources.

use anyhow::{Context as _, Result};
use ringfence_tests::message::Message;
use serde_json::Value;

use crate::{
    line::Line,
    scene::{POLICY, SCANNER},
};

fn message(method: &str, name: &str) -> Message {
    Message::request(method).set("Call-ID", name)
}

/// A line on which the scanner has just been banned by a rule.
fn with_banned_scanner(top: &str) -> Result<Line> {
    let drops = "match.user_agent = \"@scanners\"\naction = \"drop\"";
    let policy = POLICY.replacen(drops, "match.user_agent = \"@scanners\"\naction = { ban = \"1h\" }", 1).replacen(
        "default = \"pass\"",
        &format!("default = \"pass\"\n{top}"),
        1,
    );
    let line = Line::with(&policy)?;
    // Before the ban, both calls arrive.
    line.send_and_explain(SCANNER, &message("INVITE", "first"))?;
    line.server.await_call(SCANNER, "first")?;
    let emergency = message("INVITE", "first-emergency").called("911");
    assert_eq!(line.send_and_explain(SCANNER, &emergency)?.1.as_deref(), Some("emergency"));
    line.server.await_call(SCANNER, "first-emergency")?;

    let scan = message("OPTIONS", "scan").set("User-Agent", "friendly-scanner");
    assert_eq!(line.send_and_explain(SCANNER, &scan)?.1.as_deref(), Some("scanners"));
    assert_eq!(line.send(SCANNER, &message("INVITE", "other"))?, "banned");
    assert_eq!(ban(&line)?["suspended_until"], Value::Null);
    Ok(line)
}

fn bans(line: &Line, arguments: &[&str]) -> Result<String> {
    let output = line.filter.command("bans", arguments).output()?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

/// The only ban, which must be the scanner's.
fn ban(line: &Line) -> Result<Value> {
    let list: Value = serde_json::from_str(&bans(line, &["--json"])?)?;
    let listed = list["bans"].as_array().context("no bans")?;
    assert_eq!(listed.len(), 1, "{list}");
    assert_eq!((&listed[0]["prefix"], &listed[0]["rule"]), (&SCANNER.into(), &"scanners".into()), "{list}");
    Ok(listed[0].clone())
}

/// The second of the day.
fn second(time: &Value) -> Result<u32> {
    let text = time.as_str().and_then(|time| time.get(11..19)).with_context(|| format!("no time: {time}"))?;
    text.split(':').try_fold(0, |sum, part| Ok(sum * 60 + part.parse::<u32>()?))
}

#[test]
fn a_banned_source_reaches_an_emergency_number_and_can_finish_the_call() -> Result<()> {
    let line = with_banned_scanner("")?;
    line.send(SCANNER, &message("INVITE", "emergency").called("911"))?;
    line.server.await_call(SCANNER, "emergency")?;
    for method in ["ACK", "BYE"] {
        line.send(SCANNER, &message(method, method))?;
        line.server.await_call(SCANNER, method)?;
    }
    assert_eq!(line.reasons()?.get("banned"), Some(&1), "only the call before the emergency");
    let arrived = line.server.calls(SCANNER);
    assert_eq!(arrived, ["first", "first-emergency", "emergency", "ACK", "BYE"]);

    // Ban and suspension are for one hour each, and the emergency call came a moment later.
    let ban = ban(&line)?;
    assert!(ban["suspended_until"].as_str() > ban["until"].as_str(), "{ban}");
    let later = (86_400 + second(&ban["suspended_until"])? - second(&ban["until"])?) % 86_400;
    assert!(later < 60, "{ban}");
    let text = bans(&line, &[])?;
    assert!(text.contains("suspended by an emergency call until"), "{text}");
    Ok(())
}

#[test]
fn without_allow_emergency_a_ban_drops_emergency_calls_too() -> Result<()> {
    let line = with_banned_scanner("allow_emergency = false")?;
    assert_eq!(line.send(SCANNER, &message("INVITE", "emergency").called("911"))?, "banned");
    assert_eq!(line.send(SCANNER, &message("ACK", "ack"))?, "banned");
    assert_eq!(line.server.calls(SCANNER), ["first", "first-emergency"]);
    assert_eq!(ban(&line)?["suspended_until"], Value::Null);
    Ok(())
}
