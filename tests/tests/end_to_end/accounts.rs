//! Every output accounts for every packet: what it has delivered, and what it says that it has lost, is what was sent.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpListener,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use ringfence_tests::{
    filter::Filter,
    message::Message,
    netns::{Wire, WireOptions},
    packet::Packet,
    process::{Spawned, run, wait_until},
    raw,
};
use serde_json::Value;

use crate::{
    prometheus::{EXPORTER, Prometheus},
    scene::{CALLER, CALLS_LIMIT, SCANNER, Scene, assert_all_completed},
};

/// How long calls and scans go on.
const SECONDS: u32 = 60;

/// Scans in each tenth of a second: more than events are sent for, and fewer than are captured.
const STEADY: u64 = 25;

/// Scans at once, now and then: more than are captured in a second, and more than the rings hold.
const BURST: u64 = 20_000;

const LIMIT: Duration = Duration::from_secs(60);

/// A server for HEP3 over TCP that counts what it receives.
struct Homer {
    port: u16,
    received: Arc<AtomicU64>,
}

impl Homer {
    fn start(scene: &Scene) -> Result<Self> {
        let listener = scene.wire.server.within(|| Ok(TcpListener::bind("127.0.0.1:0")?))?;
        let port = listener.local_addr()?.port();
        let received = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&received);
        // It ends with the daemon's connection.
        thread::spawn(move || -> Result<()> {
            let (mut stream, _) = listener.accept()?;
            loop {
                let mut head = [0; 6];
                stream.read_exact(&mut head)?;
                ensure!(&head[..4] == b"HEP3", "{head:?} begins no message");
                let length = usize::from(u16::from_be_bytes([head[4], head[5]]));
                let mut chunks = vec![0; length.checked_sub(head.len()).context("a length")?];
                stream.read_exact(&mut chunks)?;
                let has = |text: &[u8]| chunks.windows(text.len()).any(|window| window == text);
                if has(b"User-Agent: friendly-scanner\r\n") && has(b"scanners") {
                    count.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        Ok(Self { port, received })
    }

    fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }
}

/// Sends scans for as long as the calls go on. Returns how many.
fn scan(scene: &Scene) -> Result<u64> {
    let message = Message::request("OPTIONS").set("User-Agent", "friendly-scanner");
    let packet = Packet::udp(message.bytes()).from(SCANNER).to(Wire::SERVER_IPV4);
    let frame = packet.between([2, 0, 0, 0, 0, 0x99], [0xff; 6]).frame();
    let begin = Instant::now();
    let mut sent = 0;
    for tenth in 0..10 * (SECONDS - 4) {
        let count = if tenth % 150 == 100 { BURST } else { STEADY };
        raw::send(&scene.wire.network, Wire::NETWORK_INTERFACE, &vec![frame.clone(); usize::try_from(count)?])?;
        sent += count;
        thread::sleep((Duration::from_millis(100) * (tenth + 1)).saturating_sub(begin.elapsed()));
    }
    Ok(sent)
}

/// How many events of the rule are in the file.
fn lines(text: &str) -> u64 {
    let events = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    events.filter(|event| event["event"] == "packet" && event["rule"] == "scanners").count() as u64
}

/// The packets in a capture file, as tshark counts them.
fn packets(file: &std::path::Path) -> Result<u64> {
    let mut command = Command::new("tshark");
    command.args(["-n", "-T", "fields", "-e", "frame.number", "-r"]).arg(file);
    Ok(run(command)?.lines().count() as u64)
}

fn start(scene: &Scene, homer: &Homer) -> Result<Filter> {
    let configuration = scene.path().join("ringfence.toml");
    let mut file = fs::File::create(&configuration)?;
    write!(
        file,
        "version = 1\n[[interface]]\nname = \"{}\"\n[policy]\ndirectory = \"policy\"\n\
         [outputs.prometheus]\nlisten = \"127.0.0.1:{EXPORTER}\"\n[outputs.file]\npath = \"events.jsonl\"\n\
         [outputs.hep]\nto = \"tcp:127.0.0.1:{}\"\n",
        Wire::SERVER_INTERFACE,
        homer.port
    )?;
    let configuration = configuration.to_str().context("a path in UTF-8")?;
    scene.filter(Wire::SERVER_INTERFACE, &["--config", configuration])
}

#[test]
fn in_a_minute_of_calls_and_scans_each_output_has_delivered_or_counts_as_lost_what_was_sent() -> Result<()> {
    let scene = Scene::new(&WireOptions::default())?;
    let homer = Homer::start(&scene)?;
    let filter = start(&scene, &homer)?;
    let prometheus = Prometheus::start(&scene)?;
    let capture_file = scene.path().join("dropped.pcapng");
    let mut capture = filter.command("capture", &["--rule", "scanners", "--seconds", &SECONDS.to_string(), "--write"]);
    capture.arg(&capture_file);
    let mut capture = Spawned::start("capture", capture, scene.path())?;
    capture.wait_until("start of the capture", LIMIT, |capture| {
        Ok(capture.stderr().contains("capturing to").then_some(()))
    })?;

    let calls = 10 * (SECONDS - 5);
    let mut ordinary = scene.ordinary("ordinary", CALLER, calls)?;
    let sent = scan(&scene)?;
    ensure!(capture.wait(LIMIT)?.success(), "{}", capture.last_words());
    assert_all_completed(ordinary.finish(CALLS_LIMIT)?, calls.into(), &ordinary);

    // Prometheus: what the rule has dropped, and all that was dropped.
    let rule = r#"ringfence_rule_packets_total{rule="scanners",mode="enforce"}"#;
    prometheus.wait_for(rule, sent as f64)?;
    assert_eq!(prometheus.value(r#"sum(ringfence_packets_total{verdict="drop"})"#)?, sent as f64);
    let passed = prometheus.value(r#"sum(ringfence_packets_total{verdict="pass",reason="default-pass"})"#)?;
    assert!(passed >= f64::from(3 * calls), "INVITE, ACK and BYE of each call have passed: {passed}");

    // (Whole numbers far below 2^53.)
    let value = |query: &str| prometheus.value(query).map(|value| value as u64);
    let output_lost = |output: &str| value(&format!("ringfence_output_lost_total{{output=\"{output}\"}}"));
    let captures = |result: &str| value(&format!("ringfence_captures_total{{fate=\"dropped\",result=\"{result}\"}}"));

    // Events: lines in the file, and those that the kernel held back or the daemon lost.
    let unsent = value(r#"ringfence_events_lost_total{rule="scanners"}"#)?
        + value(r#"ringfence_events_suppressed_total{rule="scanners"}"#)?;
    let events = scene.path().join("events.jsonl");
    // (The daemon may still be at work on the last ones, and lose some.)
    let written = wait_until("lines of events", LIMIT, || {
        let written = lines(&fs::read_to_string(&events)?);
        let all = written + output_lost("file")? + unsent;
        ensure!(all <= sent, "{written} written, {unsent} not sent: {all} of {sent}");
        Ok((all == sent).then_some(written))
    })?;
    ensure!(unsent > 0 && written > 100, "{unsent} of {sent} were not sent, {written} written");

    // HEP: messages that have arrived, and packets that were not captured or not handed on.
    let (captured, lost, suppressed) = (captures("captured")?, captures("lost")?, captures("suppressed")?);
    assert_eq!(captured + lost + suppressed, sent, "each was captured, or counted as lost");
    let received = wait_until("messages over HEP", LIMIT, || {
        let received = homer.received();
        let all = received + output_lost("hep")?;
        // (What was lost is scraped, and so a second old.)
        Ok((all == captured).then_some(received))
    })
    .with_context(|| format!("{} received, {captured} captured", homer.received()))?;
    ensure!(suppressed > 0 && received > 10_000, "{suppressed} suppressed, {received} received");

    // The capture: packets in the file, and those that it says are missing.
    let last = capture.stderr().lines().last().unwrap_or_default().to_owned();
    let numbers: Vec<u64> = last.split(|c: char| !c.is_ascii_digit()).filter_map(|word| word.parse().ok()).collect();
    let [written, missing] = numbers[..] else { panic!("{last}") };
    assert_eq!(written + missing, sent, "{last}");
    assert_eq!(packets(&capture_file)?, written);
    Ok(())
}
