//! Calls that a rule rejects or diverts: what the caller gets, over every way that a call can come.

use std::{
    fs,
    io::{ErrorKind, Read as _, Write as _},
    net::{TcpStream, UdpSocket},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use filter_core::layout::capture;
use ringfence::kernel::{Observer, Pins};
use ringfence_tests::{
    capture::Capture,
    filter::Filter,
    message::Message,
    netns::{Wire, WireOptions},
    packet::Packet,
    process::{Spawned, run, wait_until},
    raw,
    sip::{Call, CallCounts, Caller, SIP_PORT, Scenario},
};
use serde_json::Value;

use crate::scene::{
    CALLER, CALLS_LIMIT, POLICY, RELOAD_LIMIT, ROBOCALLER, ROBOCALLER_IPV6, Scene, address, assert_all_completed,
};

/// Long enough for an answer, on a busy machine.
const LIMIT: Duration = Duration::from_secs(10);

/// Rejects calls from one number, and diverts those from another.
const ANSWERS: &str = r#"version = 1
default = "pass"

[network]
udp = [5060]
tcp = [5060]

[numbering]
country_code = "1"
international_prefix = "011"

[[rule]]
name = "emergency"
match.called = ["911$"]
action = "whitelist"

[[rule]]
name = "spam"
basis = "analytics"
match.calling = ["12125559000$"]
action = { reject = 603 }

[[rule]]
name = "captcha"
match.calling = ["12125559001$"]
action = { divert = "sip:captcha@example.com" }
"#;

const REJECTED: &str = "+12125559000";
const DIVERTED: &str = "+12125559001";

/// The daemon's configuration.
const CONFIGURATION: &str =
    "version = 1\n[responder]\nper_source = \"100/s\"\nredress_url = \"https://example.net/blocked\"\n";

fn scene(options: &WireOptions) -> Result<Scene> {
    let scene = Scene::new(options)?;
    fs::write(scene.policy.join("policy.toml"), ANSWERS)?;
    fs::write(scene.path().join("ringfence.toml"), CONFIGURATION)?;
    Ok(scene)
}

fn start(scene: &Scene) -> Result<Filter> {
    let file = scene.path().join("ringfence.toml");
    scene.filter(Wire::SERVER_INTERFACE, &["--config", file.to_str().context("a path")?])
}

/// The answers that were sent, and the packets that got none, by their names in the status.
fn answers(filter: &Filter, kind: &str, name: &str) -> Result<u64> {
    let status = filter.status()?;
    status["answers"][kind][name].as_u64().with_context(|| format!("no {kind} {name} in {status}"))
}

fn await_answers(filter: &Filter, kind: &str, name: &str, count: u64) -> Result<()> {
    let result = wait_until(name, LIMIT, || Ok((answers(filter, kind, name)? == count).then_some(())));
    result
        .with_context(|| filter.status().map_or_else(|error| error.to_string(), |status| status["answers"].to_string()))
}

/// Calls that are refused at their first INVITE, from each source; others complete meanwhile.
fn refused_calls(options: &WireOptions, sources: &[&str]) -> Result<()> {
    let scene = scene(options)?;
    let filter = start(&scene)?;
    let mut ordinary = scene.ordinary("ordinary", CALLER, 10)?;
    for (index, source) in sources.iter().enumerate() {
        for (number, code) in [(REJECTED, 603), (DIVERTED, 302)] {
            let (name, calls) = (format!("refused-{index}-{code}"), [Call::new(number, "+12128675310")]);
            let calling = scene.calling(&name, Scenario::Refused(code), source, &calls, 5);
            let mut caller = Caller::start(&scene.wire, scene.path(), &calling)?;
            let counts = caller.finish(CALLS_LIMIT)?;
            let expected = CallCounts { started: 5, completed: 5, failed: 0 };
            assert_eq!(counts, expected, "{source} {code}: {}\n{}", filter.status()?["answers"], caller.errors());
        }
    }
    assert_all_completed(ordinary.finish(CALLS_LIMIT)?, 10, &ordinary);
    let each = 5 * sources.len() as u64;
    assert_eq!((answers(&filter, "sent", "603")?, answers(&filter, "sent", "302")?), (each, each));
    // Each call has sent one INVITE and one ACK.
    await_answers(&filter, "suppressed", "never", 2 * each)?;
    assert_eq!(filter.packets("spam")?, 2 * each);
    let requests = scene.server.requests_by_source()?;
    assert!(sources.iter().all(|source| !requests.contains_key(&address(source))), "{requests:?}");
    Ok(())
}

#[test]
fn calls_are_refused_at_once_and_the_server_hears_nothing_of_them() -> Result<()> {
    refused_calls(&WireOptions::default(), &[ROBOCALLER, ROBOCALLER_IPV6])
}

#[test]
fn calls_on_a_vlan_are_refused_on_it() -> Result<()> {
    if !Wire::has_vlan_interfaces()? {
        ringfence_tests::say("SKIPPED: this kernel has no 802.1Q interfaces");
        return Ok(());
    }
    refused_calls(&WireOptions { vlan: Some(100), ..WireOptions::default() }, &[ROBOCALLER])
}

#[test]
fn the_answer_to_a_tagged_packet_has_its_tags() -> Result<()> {
    let scene = scene(&WireOptions::default())?;
    let capture = Capture::start("answers", &scene.wire.network, Wire::NETWORK_INTERFACE, scene.path())?;
    let filter = start(&scene)?;
    let call = Packet::udp(Message::invite().calling(REJECTED).bytes()).from(ROBOCALLER).to(Wire::SERVER_IPV4);
    let frame = call.between([2, 0, 0, 0, 0, 0x99], [2, 0, 0, 0, 0, 0x98]).qinq(7, 100).frame();
    raw::send(&scene.wire.network, Wire::NETWORK_INTERFACE, &[frame])?;
    await_answers(&filter, "sent", "603", 1)?;
    capture.finish()?;
    let mut command = Command::new("tshark");
    command.args(["-n", "-Y", "sip.Status-Code == 603", "-T", "fields"]);
    for field in ["eth.dst", "eth.src", "ieee8021ad.id", "vlan.id", "ip.src", "ip.dst", "udp.dstport"] {
        command.args(["-e", field]);
    }
    command.arg("-r").arg(scene.path().join("answers.pcapng"));
    let answer = run(command)?;
    let fields: Vec<&str> = answer.trim().split('\t').collect();
    let (sender, receiver) = ("02:00:00:00:00:99", "02:00:00:00:00:98");
    assert_eq!(fields, [sender, receiver, "7", "100", Wire::SERVER_IPV4, ROBOCALLER, "5060"], "{answer}");
    Ok(())
}

/// A caller that sends its own datagrams.
struct Phone(UdpSocket);

impl Phone {
    fn new(scene: &Scene, source: &str) -> Result<Self> {
        let socket = scene.wire.network.within(|| Ok(UdpSocket::bind((address(source), 0))?))?;
        socket.set_read_timeout(Some(LIMIT))?;
        Ok(Self(socket))
    }

    fn send(&self, message: &Message, to: (&str, u16)) -> Result<()> {
        self.0.send_to(&message.bytes(), to)?;
        Ok(())
    }

    /// The next answer; it must come from where the request was sent.
    fn receive(&self, from: (&str, u16)) -> Result<String> {
        let mut buffer = vec![0; 4096];
        let (length, sender) = self.0.recv_from(&mut buffer).context("no answer")?;
        ensure!((sender.ip(), sender.port()) == (address(from.0), from.1), "an answer from {sender}");
        Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
    }

    /// Fails if something has come.
    fn receive_nothing(&self) -> Result<()> {
        self.0.set_nonblocking(true)?;
        let result = self.0.recv(&mut [0; 4096]);
        self.0.set_nonblocking(false)?;
        ensure!(result.as_ref().is_err_and(|error| error.kind() == ErrorKind::WouldBlock), "{result:?}");
        Ok(())
    }
}

const SERVER: (&str, u16) = (Wire::SERVER_IPV4, SIP_PORT);

#[test]
fn a_copy_gets_the_same_answer_and_what_belongs_to_the_call_gets_none() -> Result<()> {
    let scene = scene(&WireOptions::default())?;
    let filter = start(&scene)?;
    let phone = Phone::new(&scene, ROBOCALLER)?;
    let port = phone.0.local_addr()?.port();
    let via = "SIP/2.0/UDP pc.example.com;rport;branch=z9hG4bK1";
    let call = |method: &str| Message::request(method).calling(REJECTED).set("Via", via);
    phone.send(&call("INVITE"), SERVER)?;
    let answer = phone.receive(SERVER)?;
    assert!(answer.starts_with("SIP/2.0 603 Network Blocked\r\n"), "{answer}");
    let via = format!("Via: SIP/2.0/UDP pc.example.com;rport={port};branch=z9hG4bK1;received={ROBOCALLER}");
    let reason = "Reason: SIP;cause=603;text=\"v=analytics1;url=https://example.net/blocked\";location=RLN";
    for line in [via.as_str(), reason, "Content-Length: 0", ""] {
        assert!(answer.lines().any(|known| known == line), "{line:?} is not in\n{answer}");
    }
    phone.send(&call("INVITE"), SERVER)?;
    assert_eq!(phone.receive(SERVER)?, answer);

    let to = answer.lines().find_map(|line| line.strip_prefix("To: ")).context("no To")?;
    phone.send(&call("ACK").set("To", to), SERVER)?;
    phone.send(&call("CANCEL"), SERVER)?;
    phone.send(&call("BYE").set("To", to), SERVER)?;
    await_answers(&filter, "suppressed", "never", 2)?;
    await_answers(&filter, "suppressed", "within-dialog", 1)?;
    phone.receive_nothing()?;
    assert_eq!(filter.packets("spam")?, 5, "all of them are dropped");
    assert_eq!(answers(&filter, "sent", "603")?, 2);
    let text = String::from_utf8(filter.command("status", &[]).output()?.stdout)?;
    assert!(text.contains("\nanswers: 2 sent; not answered: 1 within-dialog\n"), "{text}");
    Ok(())
}

#[test]
fn a_source_gets_no_more_answers_than_its_rate() -> Result<()> {
    let scene = scene(&WireOptions::default())?;
    fs::write(scene.path().join("ringfence.toml"), "version = 1\n[responder]\nper_source = \"2/d\"\n")?;
    let filter = start(&scene)?;
    let phone = Phone::new(&scene, ROBOCALLER)?;
    for number in 0..5 {
        phone.send(&Message::invite().calling(REJECTED).set("Call-ID", &number.to_string()), SERVER)?;
    }
    await_answers(&filter, "suppressed", "rate-source", 3)?;
    for _ in 0..2 {
        let answer = phone.receive(SERVER)?;
        assert!(
            answer.starts_with("SIP/2.0 603 Decline\r\n") && !answer.contains("Reason"),
            "no redress is known: {answer}"
        );
    }
    phone.receive_nothing()?;
    let other = Phone::new(&scene, CALLER)?;
    other.send(&Message::invite().calling(REJECTED), SERVER)?;
    other.receive(SERVER)?;
    Ok(())
}

#[test]
fn over_tcp_the_caller_reads_the_answer_and_the_connection_is_reset() -> Result<()> {
    let scene = scene(&WireOptions::default())?;
    let filter = start(&scene)?;
    scene.wire.send_from(address(ROBOCALLER))?;
    let mut stream = scene.wire.network.within(|| Ok(TcpStream::connect(SERVER)?))?;
    stream.set_read_timeout(Some(LIMIT))?;
    let call = Message::invite().calling(REJECTED).set("Via", "SIP/2.0/TCP 10.20.0.77;branch=z9hG4bK1");
    stream.write_all(&call.bytes())?;
    let mut answer = Vec::new();
    let error = stream.read_to_end(&mut answer).expect_err("it is reset");
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(answer.starts_with("SIP/2.0 603 Network Blocked\r\nVia: SIP/2.0/TCP 10.20.0.77;"), "{answer}");
    assert!(answer.ends_with("\r\n\r\n"), "{answer}");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
    assert_eq!(answers(&filter, "sent", "603")?, 1);
    let requests = scene.server.requests_by_source()?;
    assert_eq!(requests.get(&address(ROBOCALLER)), None, "{requests:?}");
    Ok(())
}

#[test]
fn a_relay_takes_the_answer_to_its_caller_and_acknowledges_it() -> Result<()> {
    const RELAY: (&str, u16) = (CALLER, 5080);
    let scene = scene(&WireOptions::default())?;
    let filter = start(&scene)?;
    let configuration = scene.path().join("relay.cfg");
    let text = include_str!("../../scenarios/relay.cfg");
    fs::write(&configuration, text.replace("SERVER", &format!("{}:{}", SERVER.0, SERVER.1)))?;
    let mut command = scene.wire.network.command("kamailio");
    command.args(["-DD", "-E", "-m", "32", "-M", "8", "-f"]).arg(&configuration);
    command.arg("-P").arg(scene.path().join("relay.pid")).arg("-Y").arg(scene.path().join("relay"));
    command.args(["-l", &format!("udp:{}:{}", RELAY.0, RELAY.1)]);
    fs::create_dir(scene.path().join("relay"))?;
    let relay = Spawned::start("relay", command, scene.path())?;

    let phone = Phone::new(&scene, ROBOCALLER)?;
    let port = phone.0.local_addr()?.port();
    let via = format!("SIP/2.0/UDP {ROBOCALLER}:{port};rport;branch=z9hG4bK1");
    let call = Message::invite().calling(DIVERTED).set("Via", &via);
    // The relay may not listen yet.
    phone.0.set_read_timeout(Some(Duration::from_millis(500)))?;
    let answer = wait_until("answer of the relay", LIMIT, || {
        phone.send(&call, RELAY)?;
        loop {
            match phone.receive(RELAY) {
                Ok(answer) if answer.starts_with("SIP/2.0 100 ") => {}
                Ok(answer) => return Ok(Some(answer)),
                Err(_) => return Ok(None),
            }
        }
    });
    let answer = answer.with_context(|| relay.last_words())?;
    assert!(answer.starts_with("SIP/2.0 302 Moved Temporarily\r\n"), "{answer}");
    assert_eq!(answer.lines().filter(|line| line.starts_with("Via:")).count(), 1, "the relay's own is gone: {answer}");
    let own = answer.lines().find(|line| line.starts_with("Via:")).context("no Via")?;
    assert!(own.contains(&format!(";rport={port}")) && own.contains(";branch=z9hG4bK1"), "{own}");
    assert!(answer.contains("\r\nContact: <sip:captcha@example.com>\r\n"), "{answer}");
    // The relay's own ACK.
    await_answers(&filter, "suppressed", "never", 1)?;
    assert_eq!(answers(&filter, "sent", "302")?, 1, "it did not have to ask twice");
    Ok(())
}

#[test]
fn packets_are_captured_for_answers_only_while_a_rule_in_force_gives_any() -> Result<()> {
    let scene = scene(&WireOptions::default())?;
    fs::write(scene.policy.join("policy.toml"), POLICY)?;
    let filter = start(&scene)?;
    let observer = Observer::open(&Pins::new(filter.pins()))?;
    let asked = || Ok::<_, anyhow::Error>(observer.asked()?.capture);
    assert_eq!(asked()?, 0);
    assert_eq!(filter.status()?["answers"], Value::Null);
    for (policy, kinds) in [(ANSWERS, capture::DROPPED), (POLICY, 0)] {
        fs::write(scene.policy.join("policy.toml"), policy)?;
        wait_until("another question to the program", RELOAD_LIMIT, || Ok((asked()? == kinds).then_some(())))?;
    }
    Ok(())
}
