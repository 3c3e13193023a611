//! Packet captures of one end of a wire, counted by sender.
//!
//! On the server's end a capture sees what the XDP program let through, and nothing else: a packet that XDP drops never
//! becomes a socket buffer. So these counts do not depend on what the filter says about itself.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;

use crate::netns::Namespace;
use crate::process::{Spawned, run};

/// UDP and TCP, fragments of either family, behind any tags; no ICMP, which quotes the packets that it is about. Applied when
/// the file is read: the kernel's own filters lose their way behind a second VLAN tag.
const FILTER: &str = "(ip or ipv6) and not icmp and not icmpv6 and not igmp";

/// A running capture.
#[derive(Debug)]
pub struct Capture {
    process: Spawned,
    file: PathBuf,
}

/// A packet of a capture.
#[derive(Clone, Debug)]
pub struct Packet {
    /// Where it came from.
    pub source: IpAddr,
    /// What it says in one line, for reports.
    pub summary: String,
}

impl Capture {
    /// Starts to capture on `interface` and waits until packets are seen.
    ///
    /// # Errors
    /// tshark is not installed, or the interface is not there.
    pub fn start(name: &str, namespace: &Namespace, interface: &str, scratch: &Path) -> Result<Self> {
        let file = scratch.join(format!("{name}.pcapng"));
        let mut command = namespace.command("dumpcap");
        // 32 MiB of ring: a busy machine must not make it lose what it is there to count.
        command.args(["-q", "-i", interface, "-B", "32", "-s", "1000", "-w"]).arg(&file);
        let mut process = Spawned::start(name, command, scratch)?;
        // It names its file once the socket is open.
        process.wait_until("start of the capture", Duration::from_secs(20), |dumpcap| {
            Ok(dumpcap.stderr().contains("File:").then_some(()))
        })?;
        Ok(Self { process, file })
    }

    /// Ends the capture and reads it.
    ///
    /// # Errors
    /// Packets were lost to the capture, or it cannot be read.
    pub fn finish(mut self) -> Result<Vec<Packet>> {
        // Packets wait in the ring for up to a tick of the reader.
        std::thread::sleep(Duration::from_millis(500));
        self.process.signal(Signal::INT)?;
        self.process.wait(Duration::from_secs(20))?;
        let report = self.process.stderr();
        // "Packets received/dropped on interface 'sip0': 25/0 (pcap:0/dumpcap:0/flushed:0/ps_ifdrop:0) (100.0%)"
        let dropped = report.rsplit_once("': ").and_then(|(_, counts)| counts.split(['/', ' ']).nth(1));
        ensure!(dropped == Some("0"), "the capture is not complete:\n{report}");
        read(&self.file)
    }
}

/// Packets by sender.
#[must_use]
pub fn by_source(packets: &[Packet]) -> BTreeMap<IpAddr, u64> {
    let mut counts = BTreeMap::new();
    for packet in packets {
        *counts.entry(packet.source).or_default() += 1;
    }
    counts
}

fn read(file: &Path) -> Result<Vec<Packet>> {
    let mut command = Command::new("tshark");
    // -n and no reassembly: each line is one packet, and nobody is asked for a name.
    command.args([
        "-n",
        "-o",
        "ip.defragment:FALSE",
        "-o",
        "ipv6.defragment:FALSE",
        "-T",
        "fields",
        "-E",
        "occurrence=f",
    ]);
    command.args(["-e", "ip.src", "-e", "ipv6.src", "-e", "_ws.col.Info", "-Y", FILTER, "-r"]).arg(file);
    let mut packets = Vec::new();
    for line in run(command)?.lines() {
        let mut fields = line.split('\t');
        let (ipv4, ipv6) = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
        let source = if ipv4.is_empty() { ipv6 } else { ipv4 };
        let source = source.parse().with_context(|| format!("no source address in {line:?}"))?;
        packets.push(Packet { source, summary: fields.next().unwrap_or_default().to_owned() });
    }
    Ok(packets)
}
