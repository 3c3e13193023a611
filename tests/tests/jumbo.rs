//! An interface with an MTU of 9,000 bytes: packets come in several buffers, and messages are read across them.

use std::{
    fs::{self, File},
    net::UdpSocket,
    os::fd::AsFd as _,
    sync::mpsc,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use ringfence_tests::{
    filter::{self, Filter, FilterOptions},
    message::Message,
    netns::{Namespace, Wire, WireOptions},
    packet::Packet,
    raw, scratch,
};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

const POLICY: &str = r#"version = 1
default = "pass"

[network]
udp = [5060]

[numbering]
country_code = "1"

[[rule]]
name = "do-not-originate"
match = { method = "INVITE", calling = ["12025550100$"] }
action = "drop"
"#;

/// How long packets may take to cross the wire.
const ARRIVAL: Duration = Duration::from_secs(5);

#[test]
fn a_message_in_a_second_buffer_is_read_in_the_driver() -> Result<()> {
    is_read_in("native")
}

#[test]
fn a_message_in_a_second_buffer_is_read_in_generic_mode() -> Result<()> {
    is_read_in("generic")
}

fn is_read_in(mode: &str) -> Result<()> {
    let scratch = scratch()?;
    let policy = scratch.path().join("policy");
    fs::create_dir(&policy)?;
    fs::write(policy.join("policy.toml"), POLICY)?;
    let wire = Wire::new(&WireOptions { mtu: 9000, ..WireOptions::default() })?;
    let binary = filter::build(!cfg!(debug_assertions))?;
    let arguments = ["--mode", mode];
    let options =
        FilterOptions { arguments: &arguments, ..FilterOptions::new(&binary, Wire::SERVER_INTERFACE, &policy) };
    let filter = Filter::start(&wire, scratch.path(), &options)?;
    ensure!(filter.mode()? == mode, "the filter runs in {} mode", filter.mode()?);
    let inbox = receive(&wire.server)?;

    let (dno, caller) = ("+12025550100", "+14155552671");
    let mut wanted = Vec::new();
    let mut frames = Vec::new();
    // From is the last header: in the first buffer, around the end of the first page, and at the end of the second.
    for length in [600, 3_500, 4_096, 4_500, 8_100] {
        frames.push(frame(&message(dno, length)));
        let ordinary = message(caller, length);
        frames.push(frame(&ordinary));
        wanted.push(ordinary);
    }
    raw::send(&wire.network, Wire::NETWORK_INTERFACE, &frames)?;
    for (index, message) in wanted.iter().enumerate() {
        let arrived = inbox.recv_timeout(ARRIVAL).with_context(|| format!("ordinary call {index} has not arrived"))?;
        ensure!(arrived == *message, "call {index}: {} bytes arrived of {}", arrived.len(), message.len());
    }
    // Packets stay in order: an unwanted one that got through would have come before the last wanted one.
    ensure!(filter.packets("do-not-originate")? == 5, "{}", filter.status()?);
    Ok(())
}

/// A call of about this many bytes, with From as its last header.
fn message(from: &str, length: usize) -> Vec<u8> {
    let mut message = Message::invite().without("From");
    while message.bytes().len() + 150 < length {
        message = message.add("X-Filler", &"x".repeat(60));
    }
    message.add("From", &format!("<sip:{from}@carrier.example.com>;tag=1")).bytes()
}

/// From an address that is not configured anywhere: the server does not have to answer.
fn frame(message: &[u8]) -> Vec<u8> {
    Packet::udp(message).from("10.20.0.10").to(Wire::SERVER_IPV4).between([2, 0, 0, 0, 0, 0x99], [0xff; 6]).frame()
}

/// Receives datagrams on the server's signalling port, until the receiver is dropped or none has come for a while.
fn receive(namespace: &Namespace) -> Result<mpsc::Receiver<Vec<u8>>> {
    let file = File::open(namespace.path()).context("failed to open the namespace")?;
    let (ready, is_ready) = mpsc::channel();
    let (sender, receiver) = mpsc::channel();
    // A thread cannot leave a namespace it has entered: this one ends with the datagrams.
    thread::spawn(move || {
        let open = || -> Result<UdpSocket> {
            move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))?;
            let socket = UdpSocket::bind((Wire::SERVER_IPV4, 5060))?;
            socket.set_read_timeout(Some(2 * ARRIVAL))?;
            Ok(socket)
        };
        let socket = match open() {
            Ok(socket) => socket,
            Err(error) => return ready.send(Err(error)).unwrap_or_default(),
        };
        ready.send(Ok(())).unwrap_or_default();
        let mut buffer = [0; 65_536];
        while let Ok(length) = socket.recv(&mut buffer) {
            if sender.send(buffer[..length].to_vec()).is_err() {
                return;
            }
        }
    });
    is_ready.recv().context("the receiving thread has ended")?.context("failed to listen in the namespace")?;
    Ok(receiver)
}
