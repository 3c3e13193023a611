//! A flood over a veth pair, against what an operator would use instead.
//!
//! One sender offers nine scanner packets to one ordinary one. The filter that is tried stands on the other end; behind it a
//! socket counts what comes through. On a veth pair the sender's own CPU does the receiver's work up to the socket: so how much
//! the sender gets rid of tells what the filter costs.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use ringfence_tests::{
    filter::{self, Filter, FilterOptions},
    netns::{Wire, WireOptions},
    process::{Spawned, run as output_of},
    sip::{Call, Caller, Calling, Scenario, Server},
};
use rustix::net::sockopt;

use crate::{
    arguments::Part,
    document::Section,
    driver, generate,
    micro::thousands,
    namespace::enter,
    policies::{self, Lists},
    report::{Table, Target},
};

pub const SCANNER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 7);
const CALLER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 23);
/// Where SIPp calls from.
const PHONE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 40);

/// Packets a second of the paced runs.
const PACE: u32 = 20_000;

/// Bytes of the INVITEs, without IP and UDP headers.
const INVITE: usize = 900;

/// What stands in front of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    None,
    Iptables,
    Nftables,
    XdpFilter,
    XdpDrop,
    Secfilter,
    Sample,
    Large,
}

impl Kind {
    const ALL: [Self; 8] = [
        Self::None,
        Self::Iptables,
        Self::Nftables,
        Self::XdpFilter,
        Self::XdpDrop,
        Self::Secfilter,
        Self::Sample,
        Self::Large,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::None => "no filter",
            Self::Iptables => "iptables, string match",
            Self::Nftables => "nftables, fixed offset",
            Self::XdpFilter => "xdp-filter, whole port",
            Self::XdpDrop => "bare XDP_DROP",
            Self::Secfilter => "Kamailio's secfilter",
            Self::Sample => "Ringfence, sample policy",
            Self::Large => "Ringfence, large policy",
        }
    }
}

/// How long is looked at.
#[derive(Clone, Copy)]
struct Times {
    settle: Duration,
    window: Duration,
    rounds: u32,
}

/// Everything of this kind.
pub fn run(quick: bool, say: &dyn Fn(&Table)) -> Result<Section> {
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
               headers in SIPVicious's order) to one ordinary INVITE; a socket on the other end counts what the filter lets \
               through. On a veth pair the sender's CPU does the receiver's work up to the socket, so what it can offer at full \
               rate falls as the filter's cost rises. `softirq` is the share of one CPU that the kernel spent there, by \
               /proc/stat. Other work on the machine takes CPU from the sender: `offered for a CPU second` counts only the \
               time that the sender and ksoftirqd ran, and is what the targets are judged by.",
        tables,
        targets,
    })
}

/// What came of a run.
#[derive(Clone, Debug, Default)]
struct Outcome {
    /// Packets a second, out of the sender's interface.
    offered: f64,
    /// Of the ordinary ones, how many were received.
    survived: f64,
    /// Of the scanner's, how many were received.
    leaked: f64,
    /// Packets offered for a second of CPU that the sender and the kernel's softirq threads got: what the rate is on a machine
    /// that does nothing else.
    for_cpu_second: f64,
    /// Share of one CPU.
    softirq: f64,
}

type Outcomes = Vec<(Kind, Result<Outcome>)>;

/// All filters in turn, several rounds; the median round by what was offered for a second of CPU counts.
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
            "offered for a CPU second",
            "scanner packets stopped",
            "ordinary packets that survived",
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
            let cells = [kind.name(), "cannot be run here", "-", "-", "-", "-"];
            table.row(cells.map(str::to_owned));
            // What it said first: the rest is for whoever mends it.
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

/// What a filter cannot do that a reader would take for done.
fn remark(kind: Kind) -> Option<&'static str> {
    Some(match kind {
        Kind::None => "what is lost here, is lost in front of a socket that is full",
        Kind::Iptables => {
            "`-t raw -A PREROUTING -m string --algo bm`; finds the text anywhere in the packet, also where it is no user agent"
        }
        Kind::Nftables => {
            "at the netdev ingress hook; matches only at a fixed offset below 256 bytes, which works here since all packets of \
             this flood are alike, and against no other flood"
        }
        Kind::XdpFilter => "knows ports and addresses only: it drops the ordinary packets too",
        Kind::XdpDrop => "drops everything: the ceiling",
        Kind::Secfilter => "drops behind the socket; what a full socket loses, Kamailio has not read",
        Kind::Sample | Kind::Large => return None,
    })
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
                let mut note = "sample policy; for a second of CPU, medians of the rounds".to_owned();
                if let Some(ceiling) = offered(Kind::XdpDrop).filter(|_| against != Kind::XdpDrop) {
                    // What no XDP program can be above.
                    note += &format!("; bare XDP_DROP: {:.2} x", ceiling / theirs);
                }
                Target::at_least(&name, ours / theirs, limit, " x").noted(note)
            }
            _ => Target::left_out(&name, &format!(">= {limit} x"), "one of the two cannot be run here"),
        }
    };
    vec![target(Kind::XdpDrop, 0.85), target(Kind::Iptables, 1.3)]
}

/// A filter in place; gone when it is dropped.
enum InPlace {
    /// It is in the namespace, and goes with it.
    Namespace,
    Ringfence {
        _filter: Filter,
    },
    Program {
        _program: Box<dyn std::any::Any>,
    },
    XdpFilter {
        unload: Option<Command>,
    },
    Kamailio {
        _process: Spawned,
    },
}

impl Drop for InPlace {
    fn drop(&mut self) {
        // Its pins are one folder for all namespaces: they would outlive this one.
        if let Self::XdpFilter { unload } = self
            && let Some(command) = unload.take()
            && let Err(error) = output_of(command)
        {
            eprintln!("failed to take xdp-filter off: {error:#}");
        }
        // libxdp's folder of pins, if nothing of anybody else's lies in it.
        if matches!(self, Self::XdpFilter { .. }) {
            let _ = fs::remove_dir("/sys/fs/bpf/xdp");
        }
    }
}

/// How often a run is begun anew. trafgen gives up when the kernel for once has no room for its next packet ("Flushing TX_RING
/// failed: Resource temporarily unavailable"), which at full rate it sometimes has not.
const TRIES: u32 = 6;

/// One filter, one run.
fn one(binary: &Path, kind: Kind, rate: Option<u32>, times: Times) -> Result<Outcome> {
    let mut tries = 1;
    loop {
        match once(binary, kind, rate, times) {
            Err(error) if tries < TRIES && error.is::<SenderGaveUp>() => tries += 1,
            outcome => return outcome,
        }
    }
}

/// What trafgen said last.
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
    let _filter = put(kind, &wire, scratch, binary)?;
    let port = if kind == Kind::Secfilter { BEHIND_KAMAILIO } else { 5060 };
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
    })
}

/// Of /proc/stat a second, on every architecture that matters here.
const CLOCK_TICKS: f64 = 100.0;

/// Counters at one moment.
struct Snapshot {
    at: Instant,
    offered: u64,
    ordinary: u64,
    scanner: u64,
    softirq: u64,
    /// That the sender and the kernel's softirq threads had so far.
    cpu: Duration,
}

impl Snapshot {
    fn take(wire: &Wire, sink: &Sink, sender: u32) -> Result<Self> {
        let text = wire.network.ip(&["-s", "-j", "link", "show", "dev", Wire::NETWORK_INTERFACE])?;
        let facts: serde_json::Value = serde_json::from_str(&text).context("failed to read what ip says")?;
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

/// What the processes of a group have run so far, and the kernel's softirq threads: they go on with the work of a sender whose
/// time slice is used up.
fn cpu_of(group: u32) -> Result<Duration> {
    let mut nanoseconds = 0;
    for entry in fs::read_dir("/proc").context("failed to read /proc")?.flatten() {
        // What ends meanwhile is none of ours.
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        // pid (name) state ppid pgrp ...: the name may hold anything.
        let Some((name, rest)) = stat.rsplit_once(')') else { continue };
        let in_group = rest.split_whitespace().nth(2).is_some_and(|word| word == group.to_string());
        if in_group || name.contains("(ksoftirqd/") {
            let runs = fs::read_to_string(entry.path().join("schedstat")).unwrap_or_default();
            nanoseconds += runs.split(' ').next().and_then(|word| word.parse::<u64>().ok()).unwrap_or(0);
        }
    }
    Ok(Duration::from_nanos(nanoseconds))
}

/// Puts the filter in front of the server.
fn put(kind: Kind, wire: &Wire, scratch: &Path, binary: &Path) -> Result<InPlace> {
    let interface = Wire::SERVER_INTERFACE;
    let inside = |program: &str, words: &[&str]| {
        let mut command = wire.server.command(program);
        command.args(words);
        command
    };
    Ok(match kind {
        Kind::None => InPlace::Namespace,
        Kind::Iptables => {
            let rule = "-t raw -A PREROUTING -p udp --dport 5060 -m string --algo bm --string friendly-scanner -j DROP";
            output_of(inside("iptables", &rule.split(' ').collect::<Vec<_>>()))?;
            InPlace::Namespace
        }
        Kind::Nftables => {
            let place = scanner_message().find(AGENT).context("no user agent in the message")? + "User-Agent: ".len();
            // From the UDP header on, in bits.
            let agent: String = "friendly-scanner".bytes().map(|byte| format!("{byte:02x}")).collect();
            let rules = format!(
                "table netdev bench {{\n  chain in {{\n    type filter hook ingress device \"{interface}\" priority 0;\n    \
                 udp dport 5060 @th,{},128 0x{agent} drop\n  }}\n}}\n",
                (8 + place) * 8,
            );
            let file = scratch.join("rules.nft");
            fs::write(&file, rules)?;
            let mut command = wire.server.command("nft");
            command.arg("-f").arg(&file);
            output_of(command)?;
            InPlace::Namespace
        }
        Kind::XdpFilter => {
            output_of(inside("xdp-filter", &["load", interface]))?;
            let in_place = InPlace::XdpFilter { unload: Some(inside("xdp-filter", &["unload", interface])) };
            output_of(inside("xdp-filter", &["port", "-p", "udp", "-m", "dst", "5060"]))?;
            in_place
        }
        Kind::XdpDrop => {
            let path = wire.server.path();
            let attached = thread::spawn(move || {
                enter(&path)?;
                driver::attach("drop_all", interface)
            });
            InPlace::Program { _program: Box::new(attached.join().expect("attaching panicked")?) }
        }
        Kind::Secfilter => InPlace::Kamailio { _process: kamailio(wire, scratch)? },
        Kind::Sample | Kind::Large => {
            let policy = if kind == Kind::Sample {
                Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies")
            } else {
                let folder = scratch.join("policy");
                large().write(&folder)?;
                folder
            };
            let options = FilterOptions { binary, interface, policy: &policy, arguments: &["--interval", "60"] };
            InPlace::Ringfence { _filter: Filter::start(wire, scratch, &options)? }
        }
    })
}

fn large() -> policies::Repository {
    policies::all_scopes(&Lists {
        sources: generate::address_list(&generate::ipv4_prefixes(100_000), 4),
        numbers: generate::number_list(&generate::numbers(100_000, 1)),
        prefixes: generate::prefix_list(10_000),
        patterns: generate::pattern_list(50),
    })
}

/// Where Kamailio hands on what it has not dropped.
const BEHIND_KAMAILIO: u16 = 5071;

/// Kamailio with its secfilter module: drops by user agent, and hands everything else on.
fn kamailio(wire: &Wire, scratch: &Path) -> Result<Spawned> {
    let tables = scratch.join("dbtext");
    fs::create_dir_all(&tables)?;
    fs::write(tables.join("version"), "table_name(string) table_version(int)\nsecfilter:1\n")?;
    // Action 0: blacklist; type 0: user agent.
    fs::write(tables.join("secfilter"), "id(int,auto) action(int) type(int) data(string)\n1:0:0:friendly-scanner\n")?;
    let configuration = scratch.join("secfilter.cfg");
    fs::write(
        &configuration,
        format!(
            "#!KAMAILIO\ndebug=0\nlog_stderror=yes\nfork=yes\nchildren=2\nauto_aliases=no\ndisable_tcp=yes\n\
             loadmodule \"db_text.so\"\nloadmodule \"sl.so\"\nloadmodule \"pv.so\"\nloadmodule \"secfilter.so\"\n\
             modparam(\"secfilter\", \"db_url\", \"text://{}\")\n\
             request_route {{\n    if (!secf_check_ua()) exit;\n    if ($retcode < 0) exit;\n\
             \x20   $du = \"sip:127.0.0.1:{BEHIND_KAMAILIO}\";\n    forward();\n}}\n",
            tables.display()
        ),
    )?;
    let mut command = wire.server.command("kamailio");
    command.args(["-DD", "-E", "-m", "64", "-M", "8", "-f"]).arg(&configuration);
    command.arg("-P").arg(scratch.join("kamailio.pid")).arg("-Y").arg(scratch);
    command.args(["-l", &format!("udp:{}:5060", Wire::SERVER_IPV4)]);
    command.current_dir(scratch);
    let mut process = Spawned::start("kamailio", command, scratch)?;
    process.wait_until("Kamailio's port", Duration::from_secs(20), |_| {
        let mut sockets = wire.server.command("ss");
        sockets.args(["-Hlun", "sport", "=", ":5060"]);
        Ok((!output_of(sockets)?.trim().is_empty()).then_some(()))
    })?;
    Ok(process)
}

/// How long the counting socket is left alone. A server under load does not sleep; waking one that does, on another CPU, costs
/// the sender as much as two packets, most of all on a virtual machine.
const SINK_PAUSE: Duration = Duration::from_millis(2);

/// What the socket holds meanwhile, in bytes.
const SINK_BUFFER: usize = 16 << 20;

/// A socket that counts, in a thread of its own.
struct Sink {
    stop: Arc<AtomicBool>,
    ordinary: Arc<AtomicU64>,
    scanner: Arc<AtomicU64>,
    thread: Option<thread::JoinHandle<Result<()>>>,
}

impl Sink {
    fn start(namespace: &Path, address: &str) -> Result<Self> {
        let address: SocketAddr = address.parse()?;
        let [ordinary, scanner] = [(); 2].map(|()| Arc::new(AtomicU64::new(0)));
        let stop = Arc::new(AtomicBool::new(false));
        let (bound, is_bound) = mpsc::channel();
        let thread = {
            let (stop, ordinary, scanner) = (stop.clone(), ordinary.clone(), scanner.clone());
            let namespace = namespace.to_path_buf();
            thread::spawn(move || {
                enter(&namespace)?;
                let socket = UdpSocket::bind(address).context("failed to open the server's socket")?;
                socket.set_nonblocking(true)?;
                sockopt::set_socket_recv_buffer_size_force(&socket, SINK_BUFFER)
                    .context("failed to give the server's socket room")?;
                let _ = bound.send(());
                let mut buffer = [0; 2048];
                while !stop.load(Ordering::Relaxed) {
                    let Ok(length) = socket.recv(&mut buffer) else {
                        thread::sleep(SINK_PAUSE);
                        continue;
                    };
                    // The ordinary INVITE says so in its first line, wherever it comes from.
                    let line = &buffer[..length.min(32)];
                    let counter = if line.windows(8).any(|word| word == b"ordinary") { &ordinary } else { &scanner };
                    counter.fetch_add(1, Ordering::Relaxed);
                }
                Ok(())
            })
        };
        let sink = Self { stop, ordinary, scanner, thread: Some(thread) };
        if is_bound.recv().is_err() {
            bail!("the server's socket cannot be opened");
        }
        Ok(sink)
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(Err(error)) = self.thread.take().map(|thread| thread.join().expect("the sink panicked")) {
            eprintln!("the server's socket: {error:#}");
        }
    }
}

const AGENT: &str = "User-Agent: friendly-scanner";

/// An INVITE as SIPVicious orders its headers.
pub fn scanner_message() -> String {
    message("100", AGENT, SCANNER)
}

fn ordinary_message() -> String {
    message("ordinary", "User-Agent: ExamplePhone/4.2", CALLER)
}

fn message(user: &str, agent: &str, source: Ipv4Addr) -> String {
    let head = format!(
        "INVITE sip:{user}@10.20.0.1 SIP/2.0\r\n\
         Via: SIP/2.0/UDP {source}:5060;branch=z9hG4bK-3017\r\n\
         {agent}\r\n\
         From: \"caller\" <sip:caller@{source}>;tag=3136\r\n\
         To: <sip:{user}@10.20.0.1>\r\n\
         Contact: <sip:caller@{source}:5060>\r\n\
         Call-ID: 301702964093@{source}\r\n\
         CSeq: 1 INVITE\r\n\
         Max-Forwards: 70\r\n\
         Content-Type: application/sdp\r\n"
    );
    // Three digits of length and the blank line.
    let body = INVITE - head.len() - "Content-Length: 000\r\n\r\n".len();
    let line = "a=rtpmap:101 telephone-event/8000\r\n";
    let mut description = format!(
        "v=0\r\no=- 1 1 IN IP4 {source}\r\ns=-\r\nc=IN IP4 {source}\r\nt=0 0\r\nm=audio 49172 RTP/AVP 0 101\r\n"
    );
    while description.len() + line.len() <= body {
        description += line;
    }
    description += &"x".repeat(body - description.len());
    format!("{head}Content-Length: {body}\r\n\r\n{description}")
}

/// Nine of the scanner's packets and an ordinary one.
fn mixed(wire: &Wire) -> Result<Vec<Vec<u8>>> {
    let (scanner, ordinary) = (frame(wire, SCANNER, &scanner_message())?, frame(wire, CALLER, &ordinary_message())?);
    let mut frames = vec![scanner; 9];
    frames.insert(4, ordinary);
    Ok(frames)
}

/// The message in a datagram in a frame that the server's interface takes.
fn frame(wire: &Wire, source: Ipv4Addr, message: &str) -> Result<Vec<u8>> {
    let mac = |namespace: &ringfence_tests::netns::Namespace, interface: &str| -> Result<Vec<u8>> {
        let text = namespace.ip(&["-j", "link", "show", "dev", interface])?;
        let facts: serde_json::Value = serde_json::from_str(&text).context("failed to read what ip says")?;
        let address = facts[0]["address"].as_str().context("an interface without address")?;
        address.split(':').map(|byte| u8::from_str_radix(byte, 16).context("no MAC address")).collect()
    };
    let mut frame = generate::udp(4, 5060, message.as_bytes());
    frame[..6].copy_from_slice(&mac(&wire.server, Wire::SERVER_INTERFACE)?);
    frame[6..12].copy_from_slice(&mac(&wire.network, Wire::NETWORK_INTERFACE)?);
    frame[26..30].copy_from_slice(&source.octets());
    frame[30..34].copy_from_slice(&Wire::SERVER_IPV4.parse::<Ipv4Addr>()?.octets());
    let sum: u32 = frame[14..34].chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    frame[24..26].copy_from_slice(&(!((folded & 0xffff) + (folded >> 16)) as u16).to_be_bytes());
    Ok(frame)
}

/// trafgen on the network's end, which sends these over and over.
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

/// Calls through a real server while the scanner's packets come in.
fn calls(binary: &Path, say: &dyn Fn(&Table), tables: &mut Vec<Table>) -> Result<()> {
    let mut table = Table::new(
        format!("Calls through Kamailio during {} scanner packets/s", thousands(PACE as usize)),
        "SIPp places 20 calls a second for five seconds through a Kamailio that relays them, while the scanner's INVITEs come in.",
        &["filter", "calls begun", "calls completed", "softirq"],
    );
    for kind in [Kind::None, Kind::Iptables, Kind::Nftables, Kind::Sample, Kind::Large] {
        let (begun, completed, softirq) = calls_behind(binary, kind).with_context(|| kind.name().to_owned())?;
        table.row([
            kind.name().to_owned(),
            begun.to_string(),
            completed.to_string(),
            format!("{:.1} %", 100.0 * softirq),
        ]);
    }
    say(&table);
    tables.push(table);
    Ok(())
}

fn calls_behind(binary: &Path, kind: Kind) -> Result<(u64, u64, f64)> {
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
    // What has not come about by then will not.
    while !caller.has_ended()? && start.elapsed() < Duration::from_secs(15) {
        thread::sleep(Duration::from_millis(100));
    }
    let share = (softirq()? - before) as f64 / CLOCK_TICKS / start.elapsed().as_secs_f64();
    let counts = caller.counts()?;
    sender.stop()?;
    server.check()?;
    Ok((counts.started, counts.completed, share))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_as_long_as_the_tables_say() {
        assert_eq!(scanner_message().len(), INVITE);
        assert_eq!(ordinary_message().len(), INVITE);
    }

    #[test]
    fn nftables_can_reach_the_user_agent() {
        assert!(8 + scanner_message().find(AGENT).unwrap() + AGENT.len() < 256);
    }
}
