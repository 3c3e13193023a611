//! Packet captures on one end of a wire, counted by sender.
//!
//! On the server's end, a capture sees exactly what the XDP program passed: a packet that XDP drops never becomes a socket
//! buffer. So these counts do not depend on what the filter says about itself.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;

use crate::{
    netns::Namespace,
    process::{Spawned, run},
};

/// UDP and TCP of either family, fragments and tagged packets included. Not ICMP, which quotes the packets it is about.
/// Applied when the file is read, because the kernel's own filters cannot follow a second VLAN tag.
const FILTER: &str = "(ip or ipv6) and not icmp and not icmpv6 and not igmp";

/// A dumpcap that writes to a file.
#[derive(Debug)]
pub struct Capture {
    process: Spawned,
    file: PathBuf,
}

/// A packet of a capture.
#[derive(Clone, Debug)]
pub struct Packet {
    /// Source address of the IP header.
    pub source: IpAddr,
    /// A one-line summary, for failure messages.
    pub summary: String,
}

impl Capture {
    /// Starts a capture on `interface` and waits until it sees packets.
    ///
    /// # Errors
    /// dumpcap is not installed, or there is no such interface.
    pub fn start(name: &str, namespace: &Namespace, interface: &str, scratch: &Path) -> Result<Self> {
        let file = scratch.join(format!("{name}.pcapng"));
        let mut command = namespace.command("dumpcap");
        // A ring of 32 MiB, so that it loses nothing on a busy machine.
        command.args(["-q", "-i", interface, "-B", "32", "-s", "1000", "-w"]).arg(&file);
        let mut process = Spawned::start(name, command, scratch)?;
        // It prints the name of its file once the socket is open.
        process.wait_until("start of the capture", Duration::from_secs(20), |dumpcap| {
            Ok(dumpcap.stderr().contains("File:").then_some(()))
        })?;
        Ok(Self { process, file })
    }

    /// Stops the capture and reads it.
    ///
    /// # Errors
    /// The capture lost packets, or its file cannot be read.
    pub fn finish(mut self) -> Result<Vec<Packet>> {
        // Packets stay in the ring until the reader's next tick.
        std::thread::sleep(Duration::from_millis(500));
        self.process.signal(Signal::INT)?;
        self.process.wait(Duration::from_secs(20))?;
        let report = self.process.stderr();
        // "Packets received/dropped on interface 'sip0': 25/0 (pcap:0/dumpcap:0/flushed:0/ps_ifdrop:0) (100.0%)"
        let dropped = report.rsplit_once("': ").and_then(|(_, counts)| counts.split(['/', ' ']).nth(1));
        ensure!(dropped == Some("0"), "the capture lost packets:\n{report}");
        read(&self.file)
    }
}

/// The number of packets by sender.
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
    // No name lookups, and no reassembly: each line is one packet.
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
