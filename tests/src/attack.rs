//! Attacks on a server while ordinary calls go through it, with and without a filter. The filter's policy is that of `docs/tdos.md`.

use std::{
    fmt, fs,
    net::{IpAddr, Ipv4Addr},
    path::Path,
    str::FromStr,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

use crate::{
    filter::{Filter, FilterOptions},
    message::Message,
    netns::{Wire, WireOptions},
    packet::Packet,
    raw::Flood,
    sip::{Call, CallCounts, Caller, Calling, Scenario, Server},
};

/// An attack of `docs/tdos.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attack {
    /// INVITEs from spoofed sources to random numbers, as many as one CPU can send.
    Flood,
    /// 200 calls a second at one number, each from another source and another number.
    CallFlood,
    /// REGISTERs of 50 sources, 1,000 a second.
    Registers,
    /// A scanner's INVITEs from many sources, 2,000 a second.
    Scan,
    /// INVITEs with a number that places no calls, each in two fragments, 1,000 a second.
    Fragments,
}

/// Where the attacks come from: addresses for tests of network devices (RFC 2544 appendix C.2.2).
const SPOOFED: [u8; 2] = [198, 18];

/// The ordinary caller, a customer in `docs/tdos.md`.
pub const CUSTOMER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 40);

/// A carrier, whose calls are not limited.
pub const TRUNK: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);

/// An ordinary caller whom no set knows.
pub const STRANGER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 77);

/// The number that the calls of [`Attack::CallFlood`] are for.
pub const VICTIM: &str = "+12128675309";

/// A number of the list in `docs/tdos.md` that places no calls.
pub const DO_NOT_ORIGINATE: &str = "+12025550100";

/// Ordinary calls of each caller, at [`RATE`].
const CALLS: u32 = 100;

/// Calls a second.
const RATE: u32 = 20;

/// How long the calls have to be completed behind a filter: as long as an INVITE is sent again (RFC 3261 section 17.1.1.2, 64*T1), and
/// some more on a busy machine. A whole one takes half a second.
const LIMIT: Duration = Duration::from_secs(45);

/// The same without a filter, where most of them never are.
const LIMIT_WITHOUT: Duration = Duration::from_secs(12);

/// Different frames of a flood.
const FRAMES: usize = 4_096;

impl Attack {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Flood, Self::CallFlood, Self::Registers, Self::Scan, Self::Fragments];

    /// Its name on a command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Flood => "flood",
            Self::CallFlood => "callflood",
            Self::Registers => "registers",
            Self::Scan => "scan",
            Self::Fragments => "fragments",
        }
    }

    /// What it is, in a line.
    #[must_use]
    pub const fn what(self) -> &'static str {
        match self {
            Self::Flood => "INVITEs from spoofed sources to random numbers, as many as one CPU can send",
            Self::CallFlood => "200 calls a second at one number, each from another source and another number",
            Self::Registers => "1,000 REGISTERs a second from 50 sources",
            Self::Scan => "2,000 of a scanner's INVITEs a second from spoofed sources",
            Self::Fragments => "1,000 INVITEs a second in two fragments each, with a number that places no calls",
        }
    }

    /// Frames a second; as many as possible if none.
    const fn pace(self) -> Option<u32> {
        match self {
            Self::Flood => None,
            Self::CallFlood => Some(200),
            Self::Registers => Some(1_000),
            // Two frames an INVITE.
            Self::Scan | Self::Fragments => Some(2_000),
        }
    }

    /// Frames of a request.
    const fn frames_each(self) -> u64 {
        if matches!(self, Self::Fragments) { 2 } else { 1 }
    }

    fn frames(self, wire: &Wire) -> Result<Vec<Vec<u8>>> {
        let ends = wire.macs()?;
        let mut frames = Vec::with_capacity(FRAMES);
        for index in 0..FRAMES as u32 / self.frames_each() as u32 {
            let sources = if self == Self::Registers { 50 } else { 1 << 16 };
            // A step that is prime to the number of sources: neighbours in time are none in address.
            let [high, low] = ((index * 40_503 % sources) as u16).to_be_bytes();
            let source = Ipv4Addr::from([SPOOFED[0], SPOOFED[1], high, low]).to_string();
            let packet =
                Packet::udp(self.message(index, &source)).from(&source).to(Wire::SERVER_IPV4).between(ends.0, ends.1);
            if self == Self::Fragments {
                frames.extend(packet.fragments(400));
            } else {
                frames.push(packet.frame());
            }
        }
        Ok(frames)
    }

    /// The request at this place of the flood.
    fn message(self, index: u32, source: &str) -> Message {
        let number = |start: &str| format!("{start}{:07}", u64::from(index) * 7_919 % 10_000_000);
        let agent = |message: Message, agent: &str| message.set("User-Agent", agent);
        let invite = Message::invite().calling(&number("+1415")).called(&number("+1312"));
        let message = match self {
            Self::Flood => invite,
            Self::CallFlood => invite.called(VICTIM),
            Self::Registers => {
                agent(Message::request("REGISTER").request_uri("sip:sip.example.net"), "Example-Phone/1")
            }
            Self::Scan => agent(invite, "friendly-scanner"),
            Self::Fragments => invite.calling(DO_NOT_ORIGINATE).add("X-Filler", &"x".repeat(600)),
        };
        message
            .set("Via", &format!("SIP/2.0/UDP {source}:5060;branch=z9hG4bK{index}"))
            .set("Call-ID", &format!("{index}-{}@attack.example", self.name()))
    }
}

impl FromStr for Attack {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let names = Self::ALL.map(Self::name).join(", ");
        Self::ALL.into_iter().find(|attack| attack.name() == text).ok_or_else(|| format!("not one of {names}"))
    }
}

impl fmt::Display for Attack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What came of an attack.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// The calls of [`CUSTOMER`] and [`STRANGER`] to other numbers.
    pub ordinary: CallCounts,
    /// The calls of [`TRUNK`] to [`VICTIM`].
    pub to_victim: CallCounts,
    /// Requests of the attack that were sent.
    pub sent: u64,
    /// Requests of the attack that the server read.
    pub arrived: u64,
    /// How long the attack lasted.
    pub duration: Duration,
    /// Reassembly queues of the server's network that hold fragments.
    pub reassembling: u64,
}

/// Attacks a server, with a filter in front of it or without, while callers place ordinary calls.
///
/// # Errors
/// A program is missing or ends, or the kernel refuses something.
pub fn play(attack: Attack, binary: Option<&Path>) -> Result<Outcome> {
    let folder = crate::scratch()?;
    let scratch = folder.path();
    let policy = scratch.join("policy");
    fs::create_dir(&policy)?;
    let document = crate::workspace().join("docs/tdos.md");
    let text = fs::read_to_string(&document).with_context(|| format!("failed to read {}", document.display()))?;
    fs::write(policy.join("policy.toml"), rules(&text))?;
    let wire = Wire::new(&WireOptions::default())?;
    for address in [CUSTOMER, TRUNK, STRANGER] {
        wire.add_sender(address.into())?;
    }
    // As on the internet, a router takes the answers to all of them: an address that nobody has keeps none in the server's socket.
    let route =
        ["route", "add", "198.18.0.0/16", "via", &CUSTOMER.to_string(), "dev", Wire::SERVER_INTERFACE, "onlink"];
    wire.server.ip(&route)?;
    let mut server = Server::start(&wire, scratch, Duration::from_secs(120))?;
    let start = |binary| Filter::start(&wire, scratch, &FilterOptions::new(binary, Wire::SERVER_INTERFACE, &policy));
    let filter = binary.map(start).transpose()?;
    let flood = Flood::open(&wire.network, Wire::NETWORK_INTERFACE, attack.frames(&wire)?)?;
    let ends = AtomicBool::new(false);
    let (calls, frames, duration) = thread::scope(|scope| -> Result<_> {
        let sending = scope.spawn(|| flood.send_until(&ends, attack.pace()));
        // Whatever happens, the flood ends.
        let _end = End(&ends);
        thread::sleep(Duration::from_millis(500));
        let calls = ordinary_calls(&wire, scratch, attack, if binary.is_some() { LIMIT } else { LIMIT_WITHOUT })?;
        ends.store(true, Ordering::Relaxed);
        let (frames, duration) = sending.join().ok().context("the sender of the attack panicked")??;
        Ok((calls, frames, duration))
    })?;
    server.check()?;
    // What is in the server's queue still counts.
    thread::sleep(Duration::from_millis(300));
    let from_attack = |source: &IpAddr| matches!(source, IpAddr::V4(source) if source.octets()[..2] == SPOOFED);
    let arrived =
        server.requests_by_source()?.iter().filter(|(source, _)| from_attack(source)).map(|entry| entry.1).sum();
    let reassembling = reassembling(&wire)?;
    drop(filter);
    Ok(Outcome {
        ordinary: calls.0,
        to_victim: calls.1,
        sent: frames / attack.frames_each(),
        arrived,
        duration,
        reassembling,
    })
}

struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Places the ordinary calls. Returns the counts of those to other numbers, and of those to the victim.
fn ordinary_calls(wire: &Wire, scratch: &Path, attack: Attack, limit: Duration) -> Result<(CallCounts, CallCounts)> {
    // To more numbers than any of them gets more calls than a limit lets in.
    let ordinary: Vec<_> =
        (0..CALLS / 2).map(|index| Call::new("+14158675310", &format!("+1212867{:04}", 1_000 + index))).collect();
    let to_victim = [Call::new("+16175550123", VICTIM)];
    let mut wanted: Vec<(&str, Ipv4Addr, &[Call], u32)> =
        vec![("customer", CUSTOMER, &ordinary, CALLS), ("trunk", TRUNK, &to_victim, CALLS / 4)];
    // In a flood of packets there are more strangers than the rules let in.
    if attack != Attack::Flood {
        wanted.push(("stranger", STRANGER, &ordinary, CALLS / 4));
    }
    let start = Instant::now();
    let mut callers = Vec::new();
    for (name, source, calls, count) in wanted {
        let (source, rate) = (source.into(), RATE * count / CALLS);
        let calling = Calling { name, scenario: Scenario::Ordinary, source, calls, rate, count, tcp: false };
        callers.push((name, Caller::start(wire, scratch, &calling)?));
    }
    for (_, caller) in &mut callers {
        while !caller.has_ended()? && start.elapsed() < limit {
            thread::sleep(Duration::from_millis(100));
        }
    }
    let mut sums = [CallCounts::default(); 2];
    for (name, caller) in &callers {
        let (counts, sum) = (caller.counts()?, &mut sums[usize::from(*name == "trunk")]);
        sum.started += counts.started;
        sum.completed += counts.completed;
        sum.failed += counts.failed;
    }
    Ok((sums[0], sums[1]))
}

/// The server's reassembly queues, from the line `FRAG: inuse N memory N`.
fn reassembling(wire: &Wire) -> Result<u64> {
    let text = wire.server.within(|| fs::read_to_string("/proc/thread-self/net/sockstat").context("no sockstat"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("FRAG: inuse ")).context("no queues in sockstat")?;
    line.split(' ').next().and_then(|count| count.parse().ok()).context("no count of queues")
}

/// The TOML of a document's blocks, one after the other.
fn rules(text: &str) -> String {
    let blocks = text.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks.collect::<Vec<_>>().join("\n")
}
