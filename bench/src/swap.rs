//! The time to put a new policy in force, and what happens to packets meanwhile.
//!
//! The daemon runs on one end of a veth pair. On the other end, two callers send numbered messages in turn. The old policy
//! blocks one of them, the new policy the other one. So the arrival of a message shows which policy judged it, and anything
//! but one clean change from the old to the new policy is detected.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    os::fd::{AsFd as _, AsRawFd as _},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::Sender,
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, ensure};
use aya::{
    maps::MapData,
    programs::links::{FdLink, PinnedLink},
};
use filter_core::{layout::InterfaceCounts, limits::INTERFACE_SLOTS, reason::Reason};
use ringfence_tests::{
    filter::{self, Filter, FilterOptions},
    netns::{Wire, WireOptions},
};
use zerocopy::FromBytes as _;

use crate::{
    arguments::Part,
    document::Section,
    generate,
    micro::thousands,
    namespace::enter,
    policies::{self, Lists},
    report::{Table, Target},
};

/// Messages per second: few enough that no queue of the veth pair overflows on a busy machine.
const RATE: u32 = 4000;

/// The two callers. Neither is in a generated list.
const CALLERS: [Ipv4Addr; 2] = [Ipv4Addr::new(198, 51, 100, 1), Ipv4Addr::new(198, 51, 100, 2)];

/// The time limit for a policy to come into force.
const PATIENCE: Duration = Duration::from_secs(120);

/// Measures swaps with lists of several sizes.
pub(crate) fn run(quick: bool, say: &dyn Fn(&Table)) -> Result<Section> {
    let binary = filter::build(true)?;
    let mut table = Table::new(
        "From a changed file to the new policy on the link",
        "A list of sources and a list of Do-Not-Originate numbers, each with this many entries, used by a policy with \
         64 rules over all scopes. The list of sources, or both lists, are replaced by rename while messages come in; \
         the daemon notices, compiles, loads, verifies and replaces the program. Memory is what the kernel charges for \
         the maps of one generation (`memlock` in fdinfo); the maps that all generations share have the same size for \
         every policy, and are shown separately.",
        &[
            "entries of each list",
            "changed",
            "fastest s",
            "median s",
            "slowest s",
            "policy maps",
            "shared maps",
            "messages sent",
            "judged by neither policy",
            "lost on the wire",
        ],
    );
    let mut targets = Vec::new();
    let lists = [
        (1000, Changed::Sources),
        (100_000, Changed::Sources),
        (1_000_000, Changed::Sources),
        (1_000_000, Changed::Both),
    ];
    for (entries, changed) in lists {
        let swaps = if quick { 2 } else { 5 };
        let result = measure(&binary, entries, changed, swaps).with_context(|| format!("with {entries} entries"))?;
        let seconds = |duration: Duration| format!("{:.2}", duration.as_secs_f64());
        table.row([
            thousands(entries),
            changed.name().to_owned(),
            seconds(result.times[0]),
            seconds(result.median()),
            seconds(result.times[result.times.len() - 1]),
            megabytes(result.policy_memory),
            megabytes(result.shared_memory),
            result.sent.to_string(),
            result.wrong.to_string(),
            result.lost.to_string(),
        ]);
        if changed == Changed::Both {
            let name = "a full swap with 1M sources and 1M numbers, from file change to link update";
            targets.push(
                Target::at_most(name, result.median().as_secs_f64(), 3.0, " s")
                    .noted(format!("median of {swaps}, under traffic, both lists changed")),
            );
            let name = "packets passed or dropped by anything but the old or the new policy during it";
            let note = format!("of {} sent during {swaps} swaps", result.sent);
            targets.push(Target::at_most(name, result.wrong as f64, 0.0, "").noted(note));
        }
    }
    say(&table);
    Ok(Section {
        part: Part::Swap,
        title: "A new policy",
        command: "cargo xtask bench swap",
        text: "The daemon, an optimised build, on a veth pair in its own network namespaces. The time runs from the \
               rename of the changed file until the kernel shows another program on the pinned link. The daemon looks \
               at the files ten times per second, and reads them when they have not changed between two looks. If it \
               has read the policy before, it reads and compiles only the lists that changed.",
        tables: vec![table],
        targets,
    })
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

/// Which lists a swap changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Changed {
    Sources,
    Both,
}

impl Changed {
    fn name(self) -> &'static str {
        match self {
            Self::Sources => "sources",
            Self::Both => "both",
        }
    }
}

struct Swaps {
    /// The time of each swap, sorted.
    times: Vec<Duration>,
    policy_memory: u64,
    shared_memory: u64,
    sent: u64,
    /// Messages that were judged by neither policy.
    wrong: u64,
    /// Messages that no program has seen, because a queue was full.
    lost: u64,
}

impl Swaps {
    fn median(&self) -> Duration {
        self.times[self.times.len() / 2]
    }
}

fn measure(binary: &Path, entries: usize, changed: Changed, swaps: u32) -> Result<Swaps> {
    let folder = ringfence_tests::scratch()?;
    let policy = folder.path().join("policy");
    let sources = generate::address_list(&generate::ipv4_prefixes(entries), 4);
    let blocking = |caller: Ipv4Addr| format!("{sources}{caller}\n");
    let lists = Lists {
        sources: blocking(CALLERS[0]),
        numbers: generate::number_list(&generate::numbers(entries, 1)),
        prefixes: generate::prefix_list(10_000.min(entries)),
        patterns: generate::pattern_list(50),
    };
    policies::all_scopes(&lists).write(&policy)?;

    let wire = Wire::new(&WireOptions::default())?;
    CALLERS.iter().try_for_each(|caller| wire.add_sender(IpAddr::V4(*caller)))?;
    let options = FilterOptions {
        arguments: &["--interval", "60"],
        ..FilterOptions::new(binary, Wire::SERVER_INTERFACE, &policy)
    };
    let filter = Filter::start(&wire, folder.path(), &options)?;
    let link = filter.pins().join(Wire::SERVER_INTERFACE).join("link");
    let (policy_memory, shared_memory) = memory(filter.pins())?;

    let traffic = Traffic::start(&wire)?;
    let mut times = Vec::new();
    let list = policy.join("lists/blocked.txt");
    let numbers = policy.join("lists/dno.csv");
    for swap in 1..=swaps {
        let blocked = CALLERS[swap as usize % 2];
        // Hidden files are not part of a policy: the measurement begins with the rename.
        let new = list.with_file_name(".new");
        fs::write(&new, blocking(blocked))?;
        let new_numbers = numbers.with_file_name(".new-numbers");
        if changed == Changed::Both {
            fs::write(&new_numbers, generate::number_list(&generate::numbers(entries, 1 + u64::from(swap))))?;
        }
        thread::sleep(Duration::from_millis(500));
        let before = program_on(&link)?;
        let start = Instant::now();
        if changed == Changed::Both {
            fs::rename(&new_numbers, &numbers)?;
        }
        fs::rename(&new, &list)?;
        while program_on(&link)? == before {
            ensure!(start.elapsed() < PATIENCE, "the new policy is not in force after {} s", PATIENCE.as_secs());
            thread::sleep(Duration::from_millis(1));
        }
        times.push(start.elapsed());
    }
    let messages = traffic.finish()?;
    let judged = counted(filter.pins())?.saturating_sub(CALLERS.len() as u64);
    times.sort_unstable();
    let sent = messages.len() as u64;
    Ok(Swaps {
        times,
        policy_memory,
        shared_memory,
        sent,
        wrong: wrong(&messages, swaps),
        lost: sent.saturating_sub(judged),
    })
}

/// The number of messages that were judged by neither policy. `arrived` has the messages in the order in which they were
/// sent, and whether each arrived. Those with even numbers come from the first caller, whom the initial policy blocks.
///
/// The arrival of a message shows which policy judged it. Each swap is one change of the policy; each message that was
/// judged by neither adds two changes.
fn wrong(arrived: &[bool], swaps: u32) -> u64 {
    let policy = |index: usize| index.is_multiple_of(2) == arrived[index];
    let changes = (1..arrived.len()).filter(|&index| policy(index) != policy(index - 1)).count() as u64;
    let began_wrong = u64::from(!arrived.is_empty() && policy(0));
    changes.abs_diff(u64::from(swaps)).div_ceil(2) + began_wrong
}

/// The id of the program that a pinned link runs.
fn program_on(link: &Path) -> Result<u32> {
    let link: FdLink = PinnedLink::from_pin(link).with_context(|| format!("no link in {}", link.display()))?.into();
    Ok(link.info()?.program_id())
}

/// Messages that the filter has judged so far, on all CPUs.
fn counted(pins: &Path) -> Result<u64> {
    let slots = aya::maps::PerCpuArray::<_, [u8; size_of::<InterfaceCounts>()]>::try_from(
        aya::maps::Map::PerCpuArray(MapData::from_pin(pins.join("REASON_COUNTERS"))?),
    )?;
    let mut packets = 0;
    for slot in 0..INTERFACE_SLOTS as u32 {
        for value in slots.get(&slot, 0)?.iter() {
            let counts = InterfaceCounts::read_from_bytes(value).map_err(|_| anyhow!("counters of another size"))?;
            for reason in [Reason::DefaultPass, Reason::RuleDrop] {
                packets += counts.reasons[usize::from(reason.number())].packets;
            }
        }
    }
    Ok(packets)
}

/// Bytes that the kernel charges for the maps of the current generation, and for the shared maps.
fn memory(pins: &Path) -> Result<(u64, u64)> {
    let maps_in = |folder: &Path| -> Result<u64> {
        let mut bytes = 0;
        for entry in fs::read_dir(folder).with_context(|| format!("failed to read {}", folder.display()))? {
            let path = entry?.path();
            if path.is_dir() || path.file_name().is_some_and(|name| name == "program") {
                continue;
            }
            bytes += memlock(&path)?;
        }
        Ok(bytes)
    };
    Ok((maps_in(&pins.join("current"))?, maps_in(pins)?))
}

fn memlock(pin: &Path) -> Result<u64> {
    let map = MapData::from_pin(pin).with_context(|| format!("no map in {}", pin.display()))?;
    let number = map.fd().as_fd().as_raw_fd();
    let facts = fs::read_to_string(format!("/proc/self/fdinfo/{number}"))?;
    let memlock = facts.lines().find_map(|line| line.strip_prefix("memlock:"));
    Ok(memlock.context("the kernel does not report the memory of a map")?.trim().parse()?)
}

/// A thread that sends as both callers, and one that receives.
struct Traffic {
    stop: Arc<AtomicBool>,
    sender: thread::JoinHandle<Result<u32>>,
    receiver: thread::JoinHandle<Result<Vec<u32>>>,
}

impl Traffic {
    fn start(wire: &Wire) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let (bound, is_bound) = std::sync::mpsc::channel();
        let receiver = {
            let (stop, namespace) = (stop.clone(), wire.server.path());
            thread::spawn(move || receive(&namespace, &stop, &bound))
        };
        // If the receiver failed instead, `finish` returns its error.
        let _ = is_bound.recv();
        let sender = {
            let (stop, namespace) = (stop.clone(), wire.network.path());
            thread::spawn(move || send(&namespace, &stop))
        };
        Ok(Self { stop, sender, receiver })
    }

    /// Stops the traffic. Returns, for each message that was sent, whether it arrived.
    fn finish(self) -> Result<Vec<bool>> {
        self.stop.store(true, Ordering::Relaxed);
        let sent = self.sender.join().expect("the sender panicked")?;
        let received = self.receiver.join().expect("the receiver panicked")?;
        let mut arrived = vec![false; sent as usize];
        for number in received {
            *arrived.get_mut(number as usize).context("a message arrived that was not sent")? = true;
        }
        Ok(arrived)
    }
}

/// Sends messages from both callers in turn until `stop` is set. Returns how many.
fn send(namespace: &Path, stop: &AtomicBool) -> Result<u32> {
    enter(namespace)?;
    let callers = CALLERS
        .iter()
        .map(|caller| {
            let socket = UdpSocket::bind(SocketAddr::from((*caller, 5060)))?;
            socket.connect((Wire::SERVER_IPV4, 5060))?;
            Ok(socket)
        })
        .collect::<std::io::Result<Vec<_>>>()
        .context("failed to open a caller's socket")?;
    // The hosts have to resolve each other's link-layer addresses first, and queue messages meanwhile.
    for caller in &callers {
        caller.send(b"\r\n\r\n").context("failed to send a keep-alive")?;
    }
    thread::sleep(Duration::from_millis(200));
    let start = Instant::now();
    let mut sent = 0;
    while !stop.load(Ordering::Relaxed) {
        let due = (start.elapsed().as_secs_f64() * f64::from(RATE)) as u32;
        while sent < due {
            // No burst after this thread was not scheduled for a while: queues are short.
            if due - sent > 32 {
                thread::sleep(Duration::from_micros(500));
            }
            callers[sent as usize % 2].send(message(sent).as_bytes()).context("failed to send a message")?;
            sent += 1;
        }
        thread::sleep(Duration::from_micros(500));
    }
    Ok(sent)
}

/// An ordinary request with a number.
fn message(number: u32) -> String {
    format!(
        "OPTIONS sip:server@10.20.0.1 SIP/2.0\r\n\
         Via: SIP/2.0/UDP 198.51.100.1:5060;branch=z9hG4bK-bench{number:010}\r\n\
         From: <sip:caller@198.51.100.1>;tag=1\r\n\
         To: <sip:server@10.20.0.1>\r\n\
         Call-ID: {number:010}\r\n\
         CSeq: 1 OPTIONS\r\n\
         Max-Forwards: 70\r\n\
         Content-Length: 0\r\n\r\n"
    )
}

/// Receives messages until `stop` is set and no more arrive. Returns the messages' numbers.
fn receive(namespace: &Path, stop: &AtomicBool, bound: &Sender<()>) -> Result<Vec<u32>> {
    enter(namespace)?;
    let socket = UdpSocket::bind((Wire::SERVER_IPV4, 5060)).context("failed to open the receiver's socket")?;
    rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, 64 << 20)?;
    socket.set_read_timeout(Some(Duration::from_millis(300)))?;
    let _ = bound.send(());
    let mut numbers = Vec::new();
    let mut buffer = [0; 2048];
    loop {
        match socket.recv(&mut buffer) {
            Ok(length) => {
                let text = std::str::from_utf8(&buffer[..length])?;
                // The keep-alives at the beginning have no number.
                let number = text.lines().find_map(|line| line.strip_prefix("Call-ID: "));
                numbers.extend(number.map(str::parse::<u32>).transpose()?);
            }
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {
                if stop.load(Ordering::Relaxed) {
                    return Ok(numbers);
                }
            }
            Err(error) => return Err(error).context("failed to receive"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::wrong;

    /// Which of 20 messages arrive if the policy changes before these ones.
    fn arrivals(changes: &[usize]) -> Vec<bool> {
        (0..20)
            .map(|index| {
                let second = changes.iter().filter(|change| **change <= index).count() % 2 == 1;
                (index % 2 == 0) == second
            })
            .collect()
    }

    #[test]
    fn clean_changes_leave_nothing_wrong() {
        assert_eq!(wrong(&arrivals(&[]), 0), 0);
        assert_eq!(wrong(&arrivals(&[7]), 1), 0);
        assert_eq!(wrong(&arrivals(&[4, 13]), 2), 0);
    }

    #[test]
    fn a_message_that_neither_policy_judged_is_counted() {
        for index in 1..20 {
            let mut arrived = arrivals(&[7]);
            arrived[index] ^= true;
            // A message next to the change looks as if the other policy had judged it, and is not counted.
            if index != 6 && index != 7 && index != 19 {
                assert_eq!(wrong(&arrived, 1), 1, "message {index}");
            }
        }
    }

    #[test]
    fn a_gap_in_the_filtering_is_counted() {
        // Everything arrives between messages 8 and 11, as without a program.
        let mut arrived = arrivals(&[8]);
        arrived[8..12].fill(true);
        assert_ne!(wrong(&arrived, 1), 0);
    }
}
