//! A flood of one packet at full rate over a veth pair: what each filter leaves of the sender's rate.
//!
//! The sender is a packet socket on one CPU, which hands its frames straight to the pair. The kernel does the receiver's work on
//! the same CPU. So a packet's time is that of the sender, of the pair and of the filter together.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};
use ringfence_tests::{
    filter,
    netns::{Wire, WireOptions},
    process::wait_until,
    raw::Flood,
};

use crate::{
    arguments::Part,
    compared::{self, BARE, Row, measure, minimum},
    document::Section,
    driver::OneCpu,
    filters::{InPlace, Kind, put, remark},
    messages::{SCANNER, frame, scanner_message},
    namespace::ip_packets,
    report::Table,
};

/// The filters, and no row without one: its packets would not be dropped, and its figure would be that of a socket.
const KINDS: [Kind; 6] = [Kind::XdpDrop, Kind::Iptables, Kind::Nftables, Kind::XdpFilter, Kind::Sample, Kind::Large];

/// How long the counters may lag behind.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs the comparison.
pub(crate) fn run(quick: bool, say: &dyn Fn(&Table)) -> Result<Section> {
    let binary = filter::build(true)?;
    let (rounds, window) = if quick { (2, Duration::from_millis(100)) } else { (9, Duration::from_millis(400)) };
    let folder = ringfence_tests::scratch()?;
    // Before this thread stays on one CPU: the daemons would inherit it, and take time from the sender.
    let mut rows: Vec<_> = KINDS
        .iter()
        .map(|kind| Row::new(kind.name(), Subject::new(*kind, folder.path(), &binary)).remarked(remark(*kind)))
        .collect();
    let _cpu = OneCpu::stay()?;
    measure(&mut rows, rounds, |subject, _| subject.round(window));
    let table = compared::table("A scanner's INVITE of 900 bytes at full rate", "", &rows, BARE);
    say(&table);
    let name = "veth, full rate, scanner flood dropped by user agent, packets/s against bare XDP_DROP";
    let target = compared::target(name, minimum(&rows, Kind::Sample.name()), minimum(&rows, BARE), 0.8);
    Ok(Section {
        part: Part::Veth,
        title: "A veth pair at full rate",
        command: "cargo xtask bench veth",
        text: "A packet socket on one CPU sends the scanner's packet of the flood into a veth pair, 64 per system call and without a \
               queue. The filter is at the other end, and the same CPU does its work: the time per packet is that of the sender, the \
               pair and the filter together. `bare XDP_DROP` is the upper limit of every XDP program. The rows take turns, round by \
               round. After each round, the filter's own counter must have counted every packet that crossed the pair, or the row \
               has no figure; what xdp-filter drops is seen by what arrives after it.",
        tables: vec![table],
        targets: vec![target.noted("sample policy")],
    })
}

/// A filter at the end of its own pair.
struct Subject {
    kind: Kind,
    filter: InPlace,
    flood: Flood,
    // Dropped last: the filter is in it.
    wire: Wire,
}

impl Subject {
    fn new(kind: Kind, scratch: &Path, binary: &Path) -> Result<Self> {
        let wire = Wire::new(&WireOptions::default())?;
        let filter = put(kind, &wire, scratch, binary)?;
        let frame = frame(&wire, SCANNER, &scanner_message())?;
        let flood = Flood::open(&wire.network, Wire::NETWORK_INTERFACE, vec![frame])?;
        Ok(Self { kind, filter, flood, wire })
    }

    /// Sends for as long as the window is. Returns nanoseconds per packet that crossed the pair.
    fn round(&self, window: Duration) -> Result<f64> {
        let before = Counts::read(self)?;
        let time = self.flood.send_for(window)?;
        // What is still in the pair's ring is dropped soon.
        let settled = wait_until("agreement of the counters", PATIENCE, || {
            let now = Counts::read(self)?;
            Ok(now.since(before).agree(self.kind).then_some(now))
        });
        let counts = match settled {
            Ok(now) => now.since(before),
            Err(_) => {
                let Counts { crossed, dropped, in_stack, .. } = Counts::read(self)?.since(before);
                anyhow::bail!(
                    "{crossed} packets crossed, its counter shows {dropped:?}, {in_stack} reached the IP stack"
                );
            }
        };
        let Counts { crossed, lost, .. } = counts;
        // Sending what is lost takes time that would be charged to the others.
        ensure!(
            crossed > 0 && lost <= crossed / 10,
            "{lost} packets were lost before the filter, and {crossed} were not: is the machine busy?"
        );
        Ok(time.as_nanos() as f64 / counts.crossed as f64)
    }
}

#[derive(Clone, Copy)]
struct Counts {
    /// Packets that left the sender's interface and were taken by the receiver's.
    crossed: u64,
    /// Packets for which the pair had no room.
    lost: u64,
    /// Packets that the filter has dropped, if it says so.
    dropped: Option<u64>,
    /// Packets that the IP stack after the filter has received.
    in_stack: u64,
}

impl Counts {
    fn read(subject: &Subject) -> Result<Self> {
        let text = subject.wire.network.ip(&["-s", "-j", "link", "show", "dev", Wire::NETWORK_INTERFACE])?;
        let facts: serde_json::Value = serde_json::from_str(&text).context("failed to parse the output of ip")?;
        let sent = &facts[0]["stats64"]["tx"];
        let count = |name: &str| sent[name].as_u64().with_context(|| format!("no {name} in {sent}"));
        Ok(Self {
            crossed: count("packets")?,
            lost: count("dropped")?,
            dropped: subject.filter.dropped(subject.kind, &subject.wire)?,
            in_stack: subject.wire.server.within(ip_packets)?,
        })
    }

    fn since(self, before: Self) -> Self {
        Self {
            crossed: self.crossed - before.crossed,
            lost: self.lost - before.lost,
            dropped: self.dropped.zip(before.dropped).map(|(now, then)| now - then),
            in_stack: self.in_stack - before.in_stack,
        }
    }

    /// Whether the filter dropped every packet, and did so where it should: iptables in the IP stack, the others before it.
    fn agree(self, kind: Kind) -> bool {
        let in_stack = if kind == Kind::Iptables { self.crossed } else { 0 };
        self.dropped.is_none_or(|dropped| dropped == self.crossed) && self.in_stack == in_stack
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_agree_only_if_every_packet_was_dropped_where_it_should_be() {
        let counts = |dropped, in_stack| Counts { crossed: 64, lost: 0, dropped, in_stack };
        assert!(counts(Some(64), 0).agree(Kind::Sample));
        assert!(!counts(Some(63), 0).agree(Kind::Sample));
        assert!(!counts(Some(64), 1).agree(Kind::Sample));
        assert!(counts(Some(64), 64).agree(Kind::Iptables));
        assert!(!counts(Some(64), 0).agree(Kind::Iptables));
        assert!(counts(None, 0).agree(Kind::XdpFilter));
        assert!(!counts(None, 1).agree(Kind::XdpFilter));
    }
}
