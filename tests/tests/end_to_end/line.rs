//! A filter between senders and a small server that notes whole messages: no SIP software, so that each packet is the test's own.

use std::{
    collections::BTreeMap,
    fs,
    io::{ErrorKind, Read as _, Write as _},
    net::{IpAddr, TcpListener, TcpStream, UdpSocket},
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use ringfence_tests::{
    filter::{Filter, FilterOptions},
    message::Message,
    netns::{Wire, WireOptions},
    packet::Packet,
    process::{run, wait_until},
    raw::{self, Watch},
    scratch, workspace,
};
use serde_json::Value;
use tempfile::TempDir;

use crate::scene::{CALLER, ROBOCALLER, SCANNER, address, binary};

/// A source that the sample policy trusts.
pub(crate) const CARRIER: &str = "203.0.113.241";

/// Long enough for a packet to be counted, or a message to arrive, on a busy machine.
pub(crate) const LIMIT: Duration = Duration::from_secs(10);

const PORT: u16 = 5060;

/// The fields are dropped in this order.
pub(crate) struct Line {
    pub(crate) filter: Filter,
    pub(crate) server: Inbox,
    watch: Watch,
    frames: Vec<Vec<u8>>,
    wire: Wire,
    policy: PathBuf,
    scratch: TempDir,
}

impl Line {
    /// With this policy and the list of scanners that [`crate::scene::POLICY`] needs.
    pub(crate) fn with(policy: &str) -> Result<Self> {
        let scratch = scratch()?;
        let folder = scratch.path().join("policy");
        fs::create_dir_all(folder.join("lists"))?;
        fs::write(folder.join("policy.toml"), policy)?;
        fs::write(folder.join("lists/scanners.txt"), "friendly-scanner\n")?;
        Self::start(scratch, folder)
    }

    pub(crate) fn with_sample_policy() -> Result<Self> {
        Self::start(scratch()?, workspace().join("policies"))
    }

    fn start(scratch: TempDir, policy: PathBuf) -> Result<Self> {
        let wire = Wire::new(&WireOptions::default())?;
        for sender in [CALLER, ROBOCALLER, SCANNER, CARRIER] {
            wire.add_sender(address(sender))?;
        }
        let server = Inbox::open(&wire)?;
        let options = FilterOptions::new(binary()?, Wire::SERVER_INTERFACE, &policy);
        let filter = Filter::start(&wire, scratch.path(), &options)?;
        let watch = Watch::start(&wire.network, Wire::NETWORK_INTERFACE)?;
        Ok(Self { filter, server, watch, frames: Vec::new(), wire, policy, scratch })
    }

    pub(crate) fn path(&self) -> &Path {
        self.scratch.path()
    }

    /// Packets by reason, without those that are not signalling.
    pub(crate) fn reasons(&self) -> Result<BTreeMap<String, u64>> {
        counts(&self.filter.status()?["reasons"])
    }

    /// A number in the row of a rule.
    pub(crate) fn count(&self, rule: &str, field: &str) -> Result<u64> {
        let status = self.filter.status()?;
        let rows = status["rules"].as_array().context("rules")?;
        let row = rows.iter().find(|row| row["rule"] == rule).with_context(|| format!("no rule {rule}"))?;
        row[field].as_u64().with_context(|| format!("no {field} in {row}"))
    }

    /// Sends one datagram, and returns the reason under which the kernel has counted it.
    pub(crate) fn send(&self, source: &str, message: &Message) -> Result<String> {
        let before = self.reasons()?;
        self.wire.network.within(|| {
            let socket = UdpSocket::bind((address(source), 0))?;
            socket.send_to(&message.bytes(), (Wire::SERVER_IPV4, PORT))?;
            Ok(())
        })?;
        wait_until("counted packet", LIMIT, || {
            let after = self.reasons()?;
            let sum = |counts: &BTreeMap<String, u64>| counts.values().sum::<u64>();
            if sum(&after) == sum(&before) {
                return Ok(None);
            }
            ensure!(sum(&after) == sum(&before) + 1, "{before:?} before, {after:?} after one packet");
            Ok(after.into_iter().find(|(reason, count)| before.get(reason) != Some(count)).map(|(reason, _)| reason))
        })
    }

    /// As [`Self::send`], and `explain` must name the same reason, and the rule that has counted the packet, if any.
    pub(crate) fn send_and_explain(&self, source: &str, message: &Message) -> Result<(String, Option<String>)> {
        let file = self.path().join("message.sip");
        fs::write(&file, message.bytes())?;
        let mut command = Command::new(binary()?);
        command.args(["explain", "--json", "--source", source, "--policy"]).arg(&self.policy).arg(&file);
        let explained: Value = serde_json::from_str(&run(command)?)?;
        let rule = explained["rule"].as_str().map(str::to_owned);
        let packets = || rule.as_deref().map_or(Ok(0), |rule| self.filter.packets(rule));
        let before = packets()?;
        let reason = self.send(source, message)?;
        ensure!(explained["reason"] == reason.as_str(), "the kernel says {reason}, explain says {explained}");
        ensure!(packets()? == before + u64::from(rule.is_some()), "not counted by the rule of {explained}");
        Ok((reason, rule))
    }

    /// Opens a connection to the server.
    pub(crate) fn connect(&mut self, source: &str) -> Result<Peer> {
        self.wire.send_from(address(source))?;
        let stream = self.wire.network.within(|| Ok(TcpStream::connect((Wire::SERVER_IPV4, PORT))?))?;
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(LIMIT))?;
        let port = stream.local_addr()?.port();
        self.look()?;
        let is_syn = |frame: &&Vec<u8>| {
            frame.len() >= 54 && frame[12..14] == [8, 0] && frame[34..36] == port.to_be_bytes() && frame[47] & 0x12 == 2
        };
        let syn = self.frames.iter().rfind(is_syn).context("no SYN was sent")?;
        let [destination, macs] = [0, 6].map(|at| <[u8; 6]>::try_from(&syn[at..at + 6]).expect("six bytes"));
        let sequence = u32::from_be_bytes(syn[38..42].try_into()?).wrapping_add(1);
        let packet = Packet::tcp("").from(source).to(Wire::SERVER_IPV4).from_port(port).between(macs, destination);
        Ok(Peer { stream, sequence, packet })
    }

    /// Sends what another host can send in the name of a connection: a segment `offset` bytes after the connection's next one.
    pub(crate) fn forge(&self, peer: &Peer, offset: u32, message: &Message) -> Result<()> {
        let packet = peer.packet.clone().payload(message.bytes()).sequence(peer.sequence.wrapping_add(offset));
        raw::send(&self.wire.network, Wire::NETWORK_INTERFACE, &[packet.frame()])
    }

    fn look(&mut self) -> Result<()> {
        self.frames.extend(self.watch.sent()?);
        Ok(())
    }

    /// What `replay` says of everything that was sent so far: a line for each packet, and one for all of them. Its totals must be
    /// the kernel's, connections that were dropped included.
    pub(crate) fn replay(&mut self) -> Result<Vec<Value>> {
        let file = self.path().join("sent.pcap");
        let mut last = String::new();
        let replayed = wait_until("agreement of kernel and replay", LIMIT, || {
            // A segment may be sent again in between.
            let kernel = self.reasons()?;
            self.frames.extend(self.watch.sent()?);
            fs::write(&file, raw::pcap(&self.frames))?;
            let mut command = Command::new(binary()?);
            command.args(["replay", "--json", "--policy"]).arg(&self.policy).arg(&file);
            let lines: Vec<Value> =
                run(command)?.lines().map(serde_json::from_str).collect::<serde_json::Result<_>>()?;
            let replayed = counts(&lines.last().context("no totals")?["totals"]["reasons"])?;
            last = format!("the kernel says {kernel:?}, replay says {replayed:?}");
            Ok((kernel == replayed).then_some(lines))
        });
        replayed.context(last)
    }
}

fn counts(reasons: &Value) -> Result<BTreeMap<String, u64>> {
    let mut counts: BTreeMap<String, u64> = serde_json::from_value(reasons.clone())?;
    counts.remove("not-signalling");
    Ok(counts)
}

/// One end of a TCP connection to the server.
pub(crate) struct Peer {
    stream: TcpStream,
    /// The sequence number of its next byte.
    sequence: u32,
    packet: Packet,
}

impl Peer {
    pub(crate) fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes).context("failed to send")?;
        self.sequence = self.sequence.wrapping_add(bytes.len() as u32);
        Ok(())
    }

    /// Sends a message in segments of 100 bytes, with pauses, so that each segment is sent by itself.
    pub(crate) fn send_in_pieces(&mut self, message: &Message) -> Result<()> {
        for piece in message.bytes().chunks(100) {
            self.send(piece)?;
            thread::sleep(Duration::from_millis(30));
        }
        Ok(())
    }
}

/// A server that notes each whole message it receives, over UDP and TCP.
pub(crate) struct Inbox {
    received: Arc<Mutex<Vec<(IpAddr, String)>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Inbox {
    fn open(wire: &Wire) -> Result<Self> {
        let (udp, tcp) = wire.server.within(|| {
            let place = (Wire::SERVER_IPV4, PORT);
            Ok((UdpSocket::bind(place)?, TcpListener::bind(place)?))
        })?;
        udp.set_nonblocking(true)?;
        tcp.set_nonblocking(true)?;
        let (received, stop) = (Arc::<Mutex<Vec<_>>>::default(), Arc::<AtomicBool>::default());
        let (notes, stopped) = (Arc::clone(&received), Arc::clone(&stop));
        let thread = thread::spawn(move || {
            let mut connections = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                let mut whole = Vec::new();
                let mut buffer = [0; 4096];
                while let Ok((length, from)) = udp.recv_from(&mut buffer) {
                    whole.push((from.ip(), buffer[..length].to_vec()));
                }
                while let Ok((stream, from)) = tcp.accept() {
                    if stream.set_nonblocking(true).is_ok() {
                        connections.push((stream, from.ip(), Vec::new()));
                    }
                }
                connections.retain_mut(|(stream, from, bytes)| {
                    let is_open = match stream.read(&mut buffer) {
                        Ok(length) => {
                            bytes.extend_from_slice(&buffer[..length]);
                            length > 0
                        }
                        Err(error) => error.kind() == ErrorKind::WouldBlock,
                    };
                    // (No message of these tests has a body.)
                    while let Some(end) = bytes.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                        whole.push((*from, bytes.drain(..end + 4).collect()));
                    }
                    is_open
                });
                let whole = whole.into_iter().map(|(from, message)| (from, call_id(&message)));
                notes.lock().unwrap_or_else(PoisonError::into_inner).extend(whole);
                thread::sleep(Duration::from_millis(2));
            }
        });
        Ok(Self { received, stop, thread: Some(thread) })
    }

    /// The calls of the messages from a source, in the order in which they arrived.
    pub(crate) fn calls(&self, source: &str) -> Vec<String> {
        let received = self.received.lock().unwrap_or_else(PoisonError::into_inner);
        received.iter().filter(|(from, _)| *from == address(source)).map(|(_, call)| call.clone()).collect()
    }

    /// Waits until a message of this call has arrived.
    pub(crate) fn await_call(&self, source: &str, call: &str) -> Result<()> {
        wait_until("message at the server", LIMIT, || {
            Ok(self.calls(source).iter().any(|known| known == call).then_some(()))
        })
        .with_context(|| format!("{call} from {source}; arrived: {:?}", self.calls(source)))
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What the tests call their messages by.
fn call_id(message: &[u8]) -> String {
    let text = String::from_utf8_lossy(message);
    let call = text.lines().find_map(|line| line.strip_prefix("Call-ID: "));
    call.map_or_else(|| format!("{text:?}"), str::to_owned)
}
