//! `cargo xtask demo`: real SIP traffic, wanted and unwanted, through the filter, in network namespaces of its own.
//!
//! What arrives is counted by a capture behind the filter, and what was sent by one in front of it; the filter's own counters
//! are shown beside them and are not believed.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use ringfence_tests::capture::{Capture, Packet, by_source};
use ringfence_tests::filter::{self, Filter, FilterOptions};
use ringfence_tests::netns::{Wire, WireOptions, ensure_root};
use ringfence_tests::sip::{Call, CallCounts, Caller, Calling, Scanner, Scenario, Server};
use serde_json::{Map, Value, json};

use crate::{setup, workspace};

/// Calls a second: of phones, of the carrier, from Do-Not-Originate numbers, to the blocked prefix, from a blocked address.
const PHONES: u32 = 10;
const CARRIER: u32 = 5;
const DNO: u32 = 20;
const BLOCKED_PREFIX: u32 = 5;
const BLOCKED_ADDRESS: u32 = 5;

/// What calls under way may take after the last one was begun: 64 * T1 for each of INVITE and BYE (RFC 3261 section 17).
const TAIL: Duration = Duration::from_secs(70);

/// What the demo can be told.
#[derive(clap::Args)]
pub struct Arguments {
    /// How long traffic is sent.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub seconds: u32,
    /// Print the summary as one JSON object on the last line of standard output; all else goes to standard error.
    #[arg(long)]
    pub json: bool,
    /// The policy to enforce; it must block what the sample policy blocks, and hold lists/dno.csv.
    #[arg(long, value_name = "DIR")]
    pub policy: Option<PathBuf>,
    /// Send the same traffic to the bare server, to see what the filter keeps from it.
    #[arg(long)]
    pub without_filter: bool,
}

/// Runs the demo.
///
/// # Errors
/// Something cannot be set up, an ordinary call was lost, or something unwanted arrived.
pub fn run(arguments: &Arguments) -> Result<()> {
    // Before minutes of building.
    ensure_root()?;
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGHUP, signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&interrupted)).context("failed to catch signals")?;
    }
    let screen = Screen::new(arguments.json);
    setup::ensure(&[setup::Group::Build, setup::Group::Traffic])?;
    let binary = if arguments.without_filter { None } else { Some(filter::build(true)?) };
    let summary = Demo { arguments, screen: &screen, interrupted: &interrupted }.play(binary.as_deref())?;

    screen.say(&summary.table(&screen));
    if arguments.json {
        println!("{}", summary.json());
    }
    summary.judge()
}

/// Where progress is shown: standard output, or standard error where that is for the summary alone.
struct Screen {
    json: bool,
    colours: bool,
}

impl Screen {
    fn new(json: bool) -> Self {
        let terminal = if json { std::io::stderr().is_terminal() } else { std::io::stdout().is_terminal() };
        Self { json, colours: terminal && std::env::var_os("NO_COLOR").is_none() }
    }

    fn say(&self, text: &str) {
        // A reader that has gone away is no reason to fail: the exit status still counts.
        let _ = if self.json {
            writeln!(std::io::stderr(), "{text}")
        } else {
            writeln!(std::io::stdout(), "{text}").and_then(|()| std::io::stdout().flush())
        };
    }

    /// What a child process writes its standard output to.
    fn output(&self) -> Result<Stdio> {
        use std::os::fd::AsFd;
        let screen = if self.json {
            std::io::stderr().as_fd().try_clone_to_owned()
        } else {
            std::io::stdout().as_fd().try_clone_to_owned()
        };
        Ok(screen.context("failed to hand the terminal over")?.into())
    }

    fn bold(&self, text: &str) -> String {
        self.styled("1", text)
    }

    fn styled(&self, code: &str, text: &str) -> String {
        if self.colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// Somebody who sends, known by address alone: what is unwanted is decided here and not by reading packets.
struct Sender {
    name: &'static str,
    address: IpAddr,
    wanted: bool,
    what: String,
    /// What is dialled, and how many calls a second; none for the scanner.
    calls: Option<(Vec<Call>, u32)>,
}

struct Demo<'a> {
    arguments: &'a Arguments,
    screen: &'a Screen,
    interrupted: &'a AtomicBool,
}

impl Demo<'_> {
    /// Sets the scene, sends, clears up, and says what came of it. `binary`: the filter's, none to go without.
    fn play(&self, binary: Option<&Path>) -> Result<Summary> {
        let seconds = self.arguments.seconds;
        let policy = match &self.arguments.policy {
            Some(folder) => folder.canonicalize().with_context(|| format!("no policy in {}", folder.display()))?,
            None => workspace::root().join("policies"),
        };
        let senders = senders(&policy)?;

        let scratch = ringfence_tests::scratch()?;
        let scratch = scratch.path();
        let wire = Wire::new(&WireOptions::default())?;
        for sender in &senders {
            wire.add_sender(sender.address)?;
        }
        let mut server = Server::start(&wire, scratch, Duration::from_secs(u64::from(seconds)) + 3 * TAIL)?;
        let sent = Capture::start("sent", &wire.network, Wire::NETWORK_INTERFACE, scratch)?;
        let arrived = Capture::start("arrived", &wire.server, Wire::SERVER_INTERFACE, scratch)?;
        self.screen.say(&self.introduction(&senders));
        let mut filter = match binary {
            None => None,
            Some(binary) => {
                let options = FilterOptions {
                    binary,
                    interface: Wire::SERVER_INTERFACE,
                    policy: &policy,
                    arguments: &["--detach-on-exit"],
                };
                Some(Filter::start_with_output(&wire, scratch, &options, self.screen.output()?)?)
            }
        };

        let start = Instant::now();
        let mut callers = Vec::new();
        for sender in &senders {
            let Some((calls, rate)) = &sender.calls else { continue };
            let calling = Calling {
                name: sender.name,
                scenario: if sender.wanted { Scenario::Ordinary } else { Scenario::Unwanted },
                source: sender.address,
                calls,
                rate: *rate,
                count: rate * seconds,
                tcp: false,
            };
            callers.push((sender, Caller::start(&wire, scratch, &calling)?));
        }
        let scanner = senders.iter().find(|sender| sender.calls.is_none()).context("nobody scans")?;
        let mut scanner = Scanner::start(&wire, scratch, &ringfence_tests::sipvicious()?, scanner.address)?;
        while start.elapsed() < Duration::from_secs(u64::from(seconds)) {
            self.pause()?;
            scanner.keep_going(&wire)?;
            server.check()?;
            if let Some(filter) = &mut filter
                && let Some(status) = filter.process().poll()?
            {
                bail!("ringfence run has ended ({status}); it said:\n{}", filter.process().last_words());
            }
        }
        scanner.stop()?;
        let (mut ordinary, mut errors, mut answered) = (CallCounts::default(), String::new(), 0);
        for (sender, caller) in &mut callers {
            let counts = self.finish(caller)?;
            if sender.wanted {
                ordinary.started += counts.started;
                ordinary.completed += counts.completed;
                ordinary.failed += counts.failed;
                errors += &caller.errors();
            } else {
                answered += counts.completed;
            }
        }

        let status = filter.as_ref().map(Filter::status).transpose()?;
        // Captures end first: what arrives once the filter is gone is not its fault.
        let requests = server.requests_by_source()?;
        let (sent, arrived) = (sent.finish()?, arrived.finish()?);
        drop(filter);
        drop(callers);
        Ok(Summary { seconds, senders, sent: by_source(&sent), arrived, requests, ordinary, errors, answered, status })
    }

    /// Waits for the calls under way, unless interrupted.
    fn finish(&self, caller: &mut Caller) -> Result<CallCounts> {
        let deadline = Instant::now() + TAIL;
        while !caller.has_ended()? && Instant::now() < deadline {
            self.pause()?;
        }
        caller.finish(Duration::ZERO)
    }

    fn pause(&self) -> Result<()> {
        sleep(Duration::from_millis(100));
        ensure!(!self.interrupted.load(Ordering::Relaxed), "interrupted; everything has been taken down again");
        Ok(())
    }

    fn introduction(&self, senders: &[Sender]) -> String {
        let mut text = format!("\n{}\n\n", self.screen.bold("A SIP server under attack"));
        let filter = if self.arguments.without_filter { "no filter" } else { "Ringfence" };
        let _ = writeln!(
            text,
            "    network  net0 ═══ sip0 [{filter}] ─── Kamailio {} ─── called party (SIPp)\n",
            Wire::SERVER_IPV4
        );
        let _ = writeln!(text, "For {} seconds, all at once:", self.arguments.seconds);
        for sender in senders {
            let mark = if sender.wanted { self.screen.styled("32", "+") } else { self.screen.styled("31", "-") };
            let _ = writeln!(text, "  {mark} {:<16}  {:<13}  {}", sender.name, sender.address, sender.what);
        }
        if self.arguments.without_filter {
            text.push_str("\nNothing is in the way. Sending ...");
        } else {
            text.push_str(
                "\nBelow, as it happens, is what the filter counts by rule. Rules in report mode drop nothing:\n\
                 they count what they would have dropped.\n",
            );
        }
        text
    }
}

/// Who takes part. Carrier and blocked address come from the policy's lists, and stay away where it has none.
fn senders(policy: &Path) -> Result<Vec<Sender>> {
    let calls = |name, address, wanted, rate, calls, what: &str| Sender {
        name,
        address,
        wanted,
        what: format!("SIPp, {rate} calls a second{what}"),
        calls: Some((calls, rate)),
    };
    let local = |last| IpAddr::from([10, 20, 0, last]);
    let mut senders = vec![calls(
        "phones",
        local(10),
        true,
        PHONES,
        phone_calls(),
        ": ordinary ones, emergency calls, a PBX on the risky\n                                     \
         list, the one caller let through to +1 605 562",
    )];
    if let Some(address) = first_address(&policy.join("lists/trunks.txt")) {
        senders.push(calls("carrier", address, true, CARRIER, carrier_calls(), " from a trunk on the policy's list"));
    }
    senders.push(Sender {
        name: "scan",
        address: local(66),
        wanted: false,
        what: "SIPVicious: svmap asks for OPTIONS, svwar tries extensions".to_owned(),
        calls: None,
    });
    let what = " from numbers that never place calls";
    senders.push(calls("do-not-originate", local(77), false, DNO, dno_calls(policy)?, what));
    senders.push(calls("blocked-prefix", local(78), false, BLOCKED_PREFIX, prefix_calls(), " to +1 605 562 xxxx"));
    if let Some(address) = first_address(&policy.join("lists/blocked-addresses.txt")) {
        let what = " from an address on the block list";
        senders.push(calls("blocked-address", address, false, BLOCKED_ADDRESS, carrier_calls(), what));
    }
    Ok(senders)
}

/// Calls that must go through, rules or no rules.
fn phone_calls() -> Vec<Call> {
    let mut calls = carrier_calls();
    // National form, and a phone that writes no plus.
    calls.push(Call::new("4158675309", "2128675310"));
    calls.push(Call::new("14158675309", "+442079460123"));
    calls.push(Call::new("+14158675309", "911"));
    calls.push(Call::new("+14158675309", "+12128675311").by("FPBX-16.0.40.8(18.20.0)"));
    calls.push(Call::new("+16055550160", "+16055622000"));
    calls
}

/// Calls that no rule is against.
fn carrier_calls() -> Vec<Call> {
    (0..16).map(|n| Call::new(&format!("+1415867{:04}", 5300 + n), &format!("+1212867{:04}", 5400 + n))).collect()
}

fn prefix_calls() -> Vec<Call> {
    (0..50).map(|n| Call::new(&format!("+1303492{:04}", 1000 + n), &format!("+1605562{:04}", 2000 + n))).collect()
}

/// The first single IPv4 address of a list, if there is such a list.
fn first_address(list: &Path) -> Option<IpAddr> {
    let text = std::fs::read_to_string(list).ok()?;
    let mut entries = text.lines().filter_map(|line| line.split(['#', ' ', '\t']).next());
    entries.find_map(|entry| entry.parse::<std::net::Ipv4Addr>().ok()).map(IpAddr::V4)
}

/// Calls from the policy's Do-Not-Originate list: each entry filled up to a number.
fn dno_calls(policy: &Path) -> Result<Vec<Call>> {
    let path = policy.join("lists/dno.csv");
    let text = std::fs::read_to_string(&path).with_context(|| format!("failed to read {}", path.display()))?;
    let mut rows = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let header = rows.next().with_context(|| format!("{} is empty", path.display()))?;
    let column = header.split(',').position(|name| name.trim() == "number");
    let column = column.with_context(|| format!("no column \"number\" in {}", path.display()))?;
    let calls: Vec<_> = rows
        .filter_map(|row| {
            let digits = row.split(',').nth(column)?.trim().trim_end_matches('$').trim_start_matches('+');
            let national = digits.strip_prefix('1').unwrap_or(digits);
            // A prefix stands for every number that begins with it.
            (!national.is_empty()).then(|| Call::new(&format!("+1{national:2<10}"), "+12128675310"))
        })
        .take(1000)
        .collect();
    ensure!(!calls.is_empty(), "no numbers in {}", path.display());
    Ok(calls)
}

/// What came of it.
struct Summary {
    seconds: u32,
    senders: Vec<Sender>,
    /// Packets in front of the filter, by sender.
    sent: BTreeMap<IpAddr, u64>,
    /// Packets behind the filter.
    arrived: Vec<Packet>,
    /// Requests that the server logged, by sender.
    requests: BTreeMap<IpAddr, u64>,
    ordinary: CallCounts,
    /// What SIPp says about ordinary calls that failed.
    errors: String,
    /// Unwanted calls that were answered.
    answered: u64,
    /// What the filter says about itself; none without it.
    status: Option<Value>,
}

impl Summary {
    /// Unwanted packets behind the filter. The server's log is a second witness: the larger count stands.
    fn unwanted(&self) -> u64 {
        let unwanted =
            |address: &IpAddr| self.senders.iter().any(|sender| sender.address == *address && !sender.wanted);
        let captured = self.arrived.iter().filter(|packet| unwanted(&packet.source)).count() as u64;
        let logged = self.requests.iter().filter(|(address, _)| unwanted(address)).map(|(_, count)| count).sum();
        captured.max(logged)
    }

    fn rules(&self) -> &[Value] {
        self.status.as_ref().and_then(|status| status["rules"].as_array()).map_or(&[], Vec::as_slice)
    }

    /// Packets by rule: of the rules that drop, or of those that would.
    fn dropped(&self, mode: &str) -> Map<String, Value> {
        let drops = |rule: &&Value| rule["mode"] == mode && DROPPING.iter().any(|action| rule["action"] == *action);
        let name = |rule: &Value| rule["rule"].as_str().unwrap_or_default().to_owned();
        self.rules().iter().filter(drops).map(|rule| (name(rule), rule["packets"].clone())).collect()
    }

    fn json(&self) -> Value {
        let arrived = by_source(&self.arrived);
        let by_name = |counts: &BTreeMap<IpAddr, u64>| -> Map<String, Value> {
            let count = |sender: &Sender| counts.get(&sender.address).copied().unwrap_or_default();
            self.senders.iter().map(|sender| (sender.name.to_owned(), count(sender).into())).collect()
        };
        json!({
            "seconds": self.seconds,
            "filter": self.status.is_some(),
            "mode": self.status.as_ref().map_or(&Value::Null, |status| &status["interfaces"][0]["mode"]),
            "offered": by_name(&self.sent),
            "at_server": by_name(&arrived),
            "ordinary_calls": {
                "started": self.ordinary.started,
                "completed": self.ordinary.completed,
            },
            "dropped": self.dropped("enforce"),
            "would_drop": self.dropped("report"),
            "unwanted_calls_answered": self.answered,
            "unwanted_at_server": self.unwanted(),
        })
    }

    fn table(&self, screen: &Screen) -> String {
        let arrived = by_source(&self.arrived);
        let mut text = format!("\n{}\n\n", screen.bold("Summary"));
        let _ = writeln!(text, "  {:<24}{:>14}{:>18}", "packets from", "offered", "reached server");
        for sender in &self.senders {
            let count = |counts: &BTreeMap<IpAddr, u64>| counts.get(&sender.address).copied().unwrap_or_default();
            let _ = writeln!(text, "  {:<24}{:>14}{:>18}", sender.name, count(&self.sent), count(&arrived));
        }
        if self.status.is_some() {
            let _ = writeln!(text, "\n  {:<24}{:>14}", "dropped by rule", "packets");
            for (mode, note) in [("enforce", ""), ("report", "  would have (report mode)")] {
                for (rule, packets) in self.dropped(mode) {
                    // A sample has rules for more than the demo sends.
                    let packets = packets.as_u64().unwrap_or_default();
                    if packets > 0 {
                        let _ = writeln!(text, "  {rule:<24}{packets:>14}{note}");
                    }
                }
            }
        }
        let verdict = |good: bool, line: String| screen.styled(if good { "32" } else { "31" }, &line);
        let CallCounts { started, completed, .. } = self.ordinary;
        let _ = writeln!(text);
        let line = format!("  ordinary calls:                        {started} started, {completed} completed");
        let _ = writeln!(text, "{}", verdict(started == completed, line));
        let line = format!("  unwanted packets at the server:        {}", self.unwanted());
        let _ = writeln!(text, "{}", verdict(self.unwanted() == 0, line));
        text
    }

    fn judge(&self) -> Result<()> {
        let CallCounts { started, completed, failed } = self.ordinary;
        ensure!(started > 0, "no ordinary call was started");
        ensure!(
            started == completed,
            "{} of {started} ordinary calls were lost ({failed} failed); SIPp said:\n{}",
            started - completed,
            self.errors.lines().take(20).collect::<Vec<_>>().join("\n")
        );
        if self.status.is_none() {
            return Ok(());
        }
        for sender in self.senders.iter().filter(|sender| !sender.wanted) {
            ensure!(
                self.sent.contains_key(&sender.address),
                "{} has sent nothing, so that nothing is shown",
                sender.name
            );
        }
        let unwanted = self.unwanted();
        if unwanted > 0 {
            let wanted =
                |packet: &&Packet| self.senders.iter().any(|sender| sender.wanted && sender.address == packet.source);
            let server = |packet: &&Packet| packet.source == Wire::SERVER_IPV4.parse::<IpAddr>().expect("an address");
            let strays = self.arrived.iter().filter(|packet| !wanted(packet) && !server(packet)).take(5);
            let strays: String = strays.map(|packet| format!("\n    {}  {}", packet.source, packet.summary)).collect();
            bail!("{unwanted} unwanted packets reached the server, among them:{strays}");
        }
        Ok(())
    }
}

/// Actions after which a packet is gone.
const DROPPING: [&str; 4] = ["ban", "divert", "drop", "reject"];

#[cfg(test)]
mod tests {
    use super::*;

    const PHONE: [u8; 4] = [10, 20, 0, 10];
    const SCAN: [u8; 4] = [10, 20, 0, 66];

    /// Twenty calls that all went through, and a scan of which nothing arrived.
    fn good() -> Summary {
        let sender = |name, address: [u8; 4], wanted| Sender {
            name,
            address: address.into(),
            wanted,
            what: String::new(),
            calls: None,
        };
        Summary {
            seconds: 2,
            senders: vec![sender("phones", PHONE, true), sender("scan", SCAN, false)],
            sent: BTreeMap::from([(PHONE.into(), 60), (SCAN.into(), 7)]),
            arrived: vec![Packet { source: PHONE.into(), summary: "Request: INVITE sip:x@10.20.0.1".into() }],
            requests: BTreeMap::from([(PHONE.into(), 60)]),
            ordinary: CallCounts { started: 20, completed: 20, failed: 0 },
            errors: String::new(),
            answered: 0,
            status: Some(json!({
                "interfaces": [{"interface": "sip0", "mode": "native"}],
                "rules": [
                    {"rule": "emergency", "mode": "enforce", "action": "whitelist", "packets": 3},
                    {"rule": "scanners", "mode": "enforce", "action": "drop", "packets": 7},
                    {"rule": "scanners-risky", "mode": "report", "action": "drop", "packets": 2},
                ],
            })),
        }
    }

    #[test]
    fn all_calls_completed_and_nothing_unwanted_is_a_success() {
        good().judge().unwrap();
        let json = good().json();
        assert_eq!(json["ordinary_calls"], json!({"started": 20, "completed": 20}));
        assert_eq!(json["dropped"], json!({"scanners": 7}));
        assert_eq!(json["would_drop"], json!({"scanners-risky": 2}));
        assert_eq!(json["unwanted_at_server"], 0);
        assert_eq!(json["mode"], "native");
        assert_eq!(json["offered"], json!({"phones": 60, "scan": 7}));
    }

    #[test]
    fn an_unwanted_packet_behind_the_filter_is_a_failure_that_shows_it() {
        let mut summary = good();
        summary.arrived.push(Packet { source: SCAN.into(), summary: "Request: OPTIONS sip:100@10.20.0.1".into() });
        assert_eq!(summary.json()["unwanted_at_server"], 1);
        let error = summary.judge().unwrap_err().to_string();
        assert!(error.contains("1 unwanted") && error.contains("OPTIONS sip:100"), "{error}");
    }

    #[test]
    fn the_servers_log_is_believed_where_the_capture_has_seen_nothing() {
        let mut summary = good();
        summary.requests.insert(SCAN.into(), 4);
        assert_eq!(summary.unwanted(), 4);
        summary.judge().unwrap_err();
    }

    #[test]
    fn a_lost_call_is_a_failure() {
        let mut summary = good();
        summary.ordinary = CallCounts { started: 20, completed: 19, failed: 1 };
        let error = summary.judge().unwrap_err().to_string();
        assert!(error.contains("1 of 20"), "{error}");
    }

    #[test]
    fn a_sender_that_sent_nothing_proves_nothing() {
        let mut summary = good();
        summary.sent.remove(&IpAddr::from(SCAN));
        summary.judge().unwrap_err();
    }

    #[test]
    fn do_not_originate_prefixes_are_filled_up_to_numbers() {
        let policy = tempfile::tempdir().unwrap();
        std::fs::create_dir(policy.path().join("lists")).unwrap();
        let list = "# comment\nexpires,number\n,2025550147$\n2099-12-31,605555010\n,37\n\n";
        std::fs::write(policy.path().join("lists/dno.csv"), list).unwrap();
        let numbers: Vec<_> = dno_calls(policy.path()).unwrap().into_iter().map(|call| call.calling).collect();
        assert_eq!(numbers, ["+12025550147", "+16055550102", "+13722222222"]);
    }
}
