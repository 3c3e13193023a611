//! A flood over a veth pair, compared with other filters.
//!
//! A sender offers nine scanner packets for each ordinary one. The filter under test is at the other end of the pair, and
//! after it a socket counts what the filter lets through. On a veth pair the sender's own CPU does the receiver's work up
//! to the socket, so the rate that the sender reaches shows the cost of the filter.

mod sink;

use std::{
    fs,
    net::Ipv4Addr,
    path::Path,
    sync::atomic::Ordering,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use ringfence_tests::{
    filter,
    netns::{Wire, WireOptions},
    process::Spawned,
    sip::{Call, Caller, Calling, Scenario, Server},
};

use self::sink::Sink;
use crate::{
    arguments::Part,
    document::Section,
    filters::{AFTER_KAMAILIO, Kind, put, remark},
    messages::{SCANNER, frame, mixed, scanner_message},
    micro::thousands,
    report::{Table, Target},
};

/// The address that SIPp calls from.
const PHONE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 40);

/// Packets per second of the paced runs.
const PACE: u32 = 20_000;

/// The timing of a run.
#[derive(Clone, Copy)]
struct Times {
    settle: Duration,
    window: Duration,
    rounds: u32,
}

/// Runs all comparisons.
pub(crate) fn run(quick: bool, say: &dyn Fn(&Table)) -> Result<Section> {
    let binary = filter::build(true)?;
    let times = if quick {
        Times { settle: Duration::from_millis(500), window: Duration::from_secs(1), rounds: 1 }
    } else {
        Times { settle: Duration::from_secs(1), window: Duration::from_secs(2), rounds: 3 }
    };
    let mut tables = Vec::new();
    let full = at_rate(&binary, None, times, say, &mut tables)?;
    let mut targets = targets(&full);
    if quick {
        targets.iter_mut().for_each(|target| target.note += "; one short round");
    } else {
        at_rate(&binary, Some(PACE), Times { rounds: 1, ..times }, say, &mut tables)?;
        calls(&binary, say, &mut tables)?;
    }
    Ok(Section {
        part: Part::Flood,
        title: "A flood",
        command: "cargo xtask bench flood",
        text: "trafgen on one end of a veth pair sends nine INVITEs of 900 bytes from a scanner (`User-Agent: friendly-scanner`, the \
               headers in SIPVicious's order) for each ordinary INVITE; a socket on the other end counts what the filter lets \
               through. On a veth pair the sender's CPU does the receiver's work up to the socket, so the rate that it can offer \
               falls as the filter's cost rises. `softirq` is the share of one CPU that the kernel spent in soft interrupts, \
               according to /proc/stat. Other work on the machine takes CPU time from the sender: `offered per CPU second` \
               counts only the time in which the sender and ksoftirqd ran. The targets are judged by it.",
        tables,
        targets,
    })
}

/// The result of a run.
#[derive(Clone, Debug, Default)]
struct Outcome {
    /// Packets per second that left the sender's interface.
    offered: f64,
    /// The share of ordinary packets that was received.
    survived: f64,
    /// The share of scanner packets that was received.
    leaked: f64,
    /// Packets offered per second of CPU time of the sender and the kernel's softirq threads: the rate on a machine that
    /// does nothing else.
    for_cpu_second: f64,
    /// Share of one CPU.
    softirq: f64,
    /// The most memory that the daemon has had, in KiB, if there is one.
    peak: Option<u64>,
}

type Outcomes = Vec<(Kind, Result<Outcome>)>;

/// Runs all filters in turn, in several rounds. Of each filter, the round with the median rate per CPU second counts.
fn at_rate(
    binary: &Path,
    rate: Option<u32>,
    times: Times,
    say: &dyn Fn(&Table),
    tables: &mut Vec<Table>,
) -> Result<Vec<(Kind, Outcome)>> {
    let title =
        rate.map_or_else(|| "At full rate".to_owned(), |rate| format!("At {} packets/s", thousands(rate as usize)));
    let mut table = Table::new(
        title,
        "",
        &[
            "filter",
            "offered packets/s",
            "offered per CPU second",
            "scanner packets stopped",
            "ordinary packets received",
            "softirq",
        ],
    );
    let mut rounds: Vec<Outcomes> = Vec::new();
    for _ in 0..times.rounds {
        rounds.push(Kind::ALL.into_iter().map(|kind| (kind, one(binary, kind, rate, times))).collect());
    }
    let mut good = Vec::new();
    let mut remarks: Vec<_> =
        Kind::ALL.iter().filter_map(|kind| Some(format!("{}: {}", kind.name(), remark(*kind)?))).collect();
    for (index, kind) in Kind::ALL.into_iter().enumerate() {
        let mut outcomes = Vec::new();
        let mut problem = String::new();
        for round in &rounds {
            match &round[index].1 {
                Ok(outcome) => outcomes.push(outcome.clone()),
                Err(error) => problem = format!("{error:#}"),
            }
        }
        outcomes.sort_by(|one, other| one.for_cpu_second.total_cmp(&other.for_cpu_second));
        let Some(outcome) = outcomes.get(outcomes.len() / 2).cloned() else {
            let cells = [kind.name(), "not available", "-", "-", "-", "-"];
            table.row(cells.map(str::to_owned));
            // The first line of the error for the table, and all of it for whoever fixes the problem.
            let first = problem.lines().next().unwrap_or_default();
            eprintln!("{}: {problem}", kind.name());
            remarks.push(format!("{}: {}", kind.name(), first.chars().take(200).collect::<String>()));
            continue;
        };
        let percent = |share: f64| format!("{:.1} %", 100.0 * share);
        table.row([
            kind.name().to_owned(),
            thousands(outcome.offered as usize),
            thousands(outcome.for_cpu_second as usize),
            percent(1.0 - outcome.leaked),
            percent(outcome.survived),
            percent(outcome.softirq),
        ]);
        good.push((kind, outcome));
    }
    table.text = remarks.iter().map(|remark| format!("- {remark}")).collect::<Vec<_>>().join("\n");
    say(&table);
    tables.push(table);
    Ok(good)
}

fn targets(full: &[(Kind, Outcome)]) -> Vec<Target> {
    let offered = |kind: Kind| full.iter().find(|(other, _)| *other == kind).map(|(_, outcome)| outcome.for_cpu_second);
    let target = |against: Kind, limit: f64| {
        let name = format!(
            "flood at full rate, offered packets/s with Ringfence dropping by user agent, against {}",
            against.name()
        );
        match (offered(Kind::Sample), offered(against)) {
            (Some(ours), Some(theirs)) if theirs > 0.0 => {
                let mut note = "sample policy; per CPU second, medians of the rounds".to_owned();
                if let Some(ceiling) = offered(Kind::XdpDrop).filter(|_| against != Kind::XdpDrop) {
                    // The upper limit of every XDP program.
                    note += &format!("; bare XDP_DROP: {:.2} x", ceiling / theirs);
                }
                Target::at_least(&name, ours / theirs, limit, " x").noted(note)
            }
            _ => Target::left_out(&name, &format!(">= {limit} x"), "one of the two is not available"),
        }
    };
    let mut targets = vec![target(Kind::XdpDrop, 0.85), target(Kind::Iptables, 1.3)];
    let name = "flood at full rate, offered packets/s with all outputs, against none";
    targets.push(match (offered(Kind::Outputs), offered(Kind::Sample)) {
        (Some(all), Some(none)) if none > 0.0 => Target::at_least(name, all / none, 0.97, " x"),
        _ => Target::left_out(name, ">= 0.97 x", "one of the two is not available"),
    });
    let name = "memory of the daemon in a flood at full rate with all outputs";
    let peak = full.iter().find(|(kind, _)| *kind == Kind::Outputs).and_then(|(_, outcome)| outcome.peak);
    targets.push(match peak {
        Some(peak) => Target::at_most(name, peak as f64 / 1024.0, 100.0, " MiB"),
        None => Target::left_out(name, "<= 100 MiB", "not available"),
    });
    targets
}

/// How often a run is tried. trafgen gives up when the kernel has no room for its next packet ("Flushing TX_RING failed:
/// Resource temporarily unavailable"), which happens at full rate.
const TRIES: u32 = 6;

/// Runs a filter, several times if the sender gives up.
fn one(binary: &Path, kind: Kind, rate: Option<u32>, times: Times) -> Result<Outcome> {
    let mut tries = 1;
    loop {
        match once(binary, kind, rate, times) {
            Err(error) if tries < TRIES && error.is::<SenderGaveUp>() => tries += 1,
            outcome => return outcome,
        }
    }
}

/// The end of trafgen's output.
#[derive(Debug)]
struct SenderGaveUp(String);

impl std::fmt::Display for SenderGaveUp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "trafgen has ended {TRIES} times: {}", self.0)
    }
}

impl std::error::Error for SenderGaveUp {}

fn once(binary: &Path, kind: Kind, rate: Option<u32>, times: Times) -> Result<Outcome> {
    let folder = ringfence_tests::scratch()?;
    let scratch = folder.path();
    let wire = Wire::new(&WireOptions::default())?;
    let filter = put(kind, &wire, scratch, binary)?;
    let port = if kind == Kind::Secfilter { AFTER_KAMAILIO } else { 5060 };
    let address = if kind == Kind::Secfilter { "127.0.0.1" } else { Wire::SERVER_IPV4 };
    let sink = Sink::start(&wire.server.path(), &format!("{address}:{port}"))?;
    let mut sender = sender(&wire, scratch, &mixed(&wire)?, rate)?;
    thread::sleep(times.settle);
    let before = Snapshot::take(&wire, &sink, sender.id())?;
    thread::sleep(times.window);
    let after = Snapshot::take(&wire, &sink, sender.id())?;
    if let Some(status) = sender.poll()? {
        return Err(SenderGaveUp(format!("{status}, {}", sender.last_words())).into());
    }
    sender.stop()?;
    let seconds = (after.at - before.at).as_secs_f64();
    let offered = (after.offered - before.offered) as f64;
    Ok(Outcome {
        offered: offered / seconds,
        for_cpu_second: offered / (after.cpu - before.cpu).as_secs_f64().max(1e-9),
        survived: (after.ordinary - before.ordinary) as f64 / (offered / 10.0),
        leaked: (after.scanner - before.scanner) as f64 / (offered * 0.9),
        softirq: (after.softirq - before.softirq) as f64 / CLOCK_TICKS / seconds,
        peak: filter.peak(),
    })
}

/// Clock ticks per second in /proc/stat, on all architectures that are supported.
const CLOCK_TICKS: f64 = 100.0;

/// The counters at one moment.
struct Snapshot {
    at: Instant,
    offered: u64,
    ordinary: u64,
    scanner: u64,
    softirq: u64,
    /// CPU time so far of the sender and the kernel's softirq threads.
    cpu: Duration,
}

impl Snapshot {
    fn take(wire: &Wire, sink: &Sink, sender: u32) -> Result<Self> {
        let text = wire.network.ip(&["-s", "-j", "link", "show", "dev", Wire::NETWORK_INTERFACE])?;
        let facts: serde_json::Value = serde_json::from_str(&text).context("failed to parse the output of ip")?;
        let sent = &facts[0]["stats64"]["tx"];
        let count = |name: &str| sent[name].as_u64().with_context(|| format!("no {name} in {sent}"));
        let stat = fs::read_to_string("/proc/stat")?;
        let softirq = stat.lines().next().and_then(|line| line.split_whitespace().nth(7)?.parse().ok());
        Ok(Self {
            at: Instant::now(),
            offered: count("packets")? + count("dropped")?,
            ordinary: sink.ordinary.load(Ordering::Relaxed),
            scanner: sink.scanner.load(Ordering::Relaxed),
            softirq: softirq.context("/proc/stat has no softirq column")?,
            cpu: cpu_of(sender)?,
        })
    }
}

/// The CPU time so far of the processes in a group, and of the kernel's softirq threads: these continue the work of a
/// sender whose time slice is used up.
fn cpu_of(group: u32) -> Result<Duration> {
    let mut nanoseconds = 0;
    for entry in fs::read_dir("/proc").context("failed to read /proc")?.flatten() {
        // A process that has ended meanwhile is not one of ours.
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        // pid (name) state ppid pgrp ...: the name may contain any character.
        let Some((name, rest)) = stat.rsplit_once(')') else { continue };
        let in_group = rest.split_whitespace().nth(2).is_some_and(|word| word == group.to_string());
        if in_group || name.contains("(ksoftirqd/") {
            let runs = fs::read_to_string(entry.path().join("schedstat")).unwrap_or_default();
            nanoseconds += runs.split(' ').next().and_then(|word| word.parse::<u64>().ok()).unwrap_or(0);
        }
    }
    Ok(Duration::from_nanos(nanoseconds))
}

/// trafgen on the network's end, which sends these frames in a loop.
fn sender(wire: &Wire, scratch: &Path, frames: &[Vec<u8>], rate: Option<u32>) -> Result<Spawned> {
    let mut text = String::new();
    for frame in frames {
        let bytes: Vec<_> = frame.iter().map(|byte| format!("0x{byte:02x}")).collect();
        text += &format!("{{ {} }}\n", bytes.join(", "));
    }
    let file = scratch.join("flood.cfg");
    fs::write(&file, text)?;
    let mut command = wire.network.command("trafgen");
    command
        .args(["--dev", Wire::NETWORK_INTERFACE, "--cpus", "1", "--no-sock-mem", "--no-cpu-stats", "--conf"])
        .arg(&file);
    if let Some(rate) = rate {
        command.args(["--rate", &format!("{rate}pps")]);
    }
    command.current_dir(scratch);
    Spawned::start("trafgen", command, scratch)
}

/// Places calls through a real server during a flood.
fn calls(binary: &Path, say: &dyn Fn(&Table), tables: &mut Vec<Table>) -> Result<()> {
    let mut table = Table::new(
        format!("Calls through Kamailio during {} scanner packets/s", thousands(PACE as usize)),
        "SIPp places 20 calls per second for five seconds through a Kamailio that relays them, during the flood of scanner INVITEs.",
        &["filter", "calls started", "calls completed", "softirq"],
    );
    for kind in [Kind::None, Kind::Iptables, Kind::Nftables, Kind::Sample, Kind::Large] {
        let (started, completed, softirq) = calls_through(binary, kind).with_context(|| kind.name().to_owned())?;
        table.row([
            kind.name().to_owned(),
            started.to_string(),
            completed.to_string(),
            format!("{:.1} %", 100.0 * softirq),
        ]);
    }
    say(&table);
    tables.push(table);
    Ok(())
}

fn calls_through(binary: &Path, kind: Kind) -> Result<(u64, u64, f64)> {
    const CALLS: u32 = 100;
    let folder = ringfence_tests::scratch()?;
    let scratch = folder.path();
    let wire = Wire::new(&WireOptions::default())?;
    wire.add_sender(PHONE.into())?;
    let mut server = Server::start(&wire, scratch, Duration::from_secs(120))?;
    let _filter = put(kind, &wire, scratch, binary)?;
    let mut sender = sender(&wire, scratch, &[frame(&wire, SCANNER, &scanner_message())?], Some(PACE))?;
    thread::sleep(Duration::from_secs(1));
    let call = [Call::new("+14158675310", "+12128675310")];
    let calling = Calling {
        name: "calls",
        scenario: Scenario::Ordinary,
        source: PHONE.into(),
        calls: &call,
        rate: 20,
        count: CALLS,
        tcp: false,
    };
    let softirq = || -> Result<u64> {
        let stat = fs::read_to_string("/proc/stat")?;
        stat.lines().next().and_then(|line| line.split_whitespace().nth(7)?.parse().ok()).context("no softirq column")
    };
    let (before, start) = (softirq()?, Instant::now());
    let mut caller = Caller::start(&wire, scratch, &calling)?;
    // A call that has not been completed by then will not be.
    while !caller.has_ended()? && start.elapsed() < Duration::from_secs(15) {
        thread::sleep(Duration::from_millis(100));
    }
    let share = (softirq()? - before) as f64 / CLOCK_TICKS / start.elapsed().as_secs_f64();
    let counts = caller.counts()?;
    sender.stop()?;
    server.check()?;
    Ok((counts.started, counts.completed, share))
}
