//! `ringfence replay`: the verdict for every packet of a capture.

use std::{
    cell::OnceCell,
    collections::BTreeMap,
    fmt,
    io::{self, BufWriter, IsTerminal as _, Write},
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use filter_core::{layout::need, reason::Reason, scratch::NumberOf};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{enforced_policy, inspect::EngineChoice, is_closed_pipe, unless_closed};
use crate::kernel::Instance;
use filter_policy::{
    Built,
    capture::{self, CapturedPacket},
    engine::{Decision, Engine, Facts, Reading, decision_json},
    language::printable,
};

/// Replay a capture against a policy: the verdict for every packet, and totals by rule
///
/// Packets that are not for a signalling port are counted but not shown. Times are in UTC.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Exit status:
  0  the whole capture was replayed
  1  a policy has errors
  2  the capture cannot be read, or not all of it can be judged
  3  the system refused (with --engine kernel)

Examples:
  ringfence replay --policy policies yesterday.pcap
  ringfence replay --policy policies --against new yesterday.pcap.zst
  ringfence replay --policy policies --against new --summary yesterday.pcap
  tcpdump -i eth0 -s 0 -U -w - port 5060 | ringfence replay --policy policies -")]
pub struct ReplayArgs {
    /// A pcap or pcapng file, which may be compressed (gzip, zstd); `-` for standard input
    #[arg(value_name = "CAPTURE")]
    pub capture: PathBuf,
    /// The policy repository; the sample policy if not given
    #[arg(long, value_name = "DIR")]
    pub policy: Option<PathBuf>,
    /// Show only packets whose verdict differs under this other policy
    #[arg(long, value_name = "DIR")]
    pub against: Option<PathBuf>,
    /// Which host runs the engine
    #[arg(long, value_enum, default_value = "user")]
    pub engine: EngineChoice,
    /// Print only the totals, and with --against how many verdicts change from what to what
    #[arg(long)]
    pub summary: bool,
    /// Print JSON, one object per packet; the last one has the totals
    #[arg(long)]
    pub json: bool,
}

/// `XDP_DROP`, `include/uapi/linux/bpf.h`.
const XDP_DROP: u32 = 1;

/// How often the progress is shown.
const PROGRESS: Duration = Duration::from_millis(200);

/// Loads the policy into the kernel, if requested.
fn in_kernel(built: &Built, choice: EngineChoice) -> anyhow::Result<Option<Instance>> {
    Ok(match choice {
        EngineChoice::User => None,
        EngineChoice::Kernel => Some(Instance::load(&built.image)?),
    })
}

/// A policy with the engine that runs it.
pub(super) struct Candidate<'a> {
    built: &'a Built,
    /// Built on first use: it is as large as the policy's numbering tables.
    facts: OnceCell<Facts<'a>>,
    engine: Engine<'a>,
    kernel: Option<Instance>,
    /// The minute for which the rules that are on have been set.
    minute: Option<u64>,
}

impl<'a> Candidate<'a> {
    pub(super) fn new(built: &'a Built, kernel: Option<Instance>) -> Self {
        Self { built, facts: OnceCell::new(), engine: Engine::new(&built.image), kernel, minute: None }
    }

    /// Decides about a packet. The kernel's verdict must equal that of the user-space engine, which also names the rule.
    pub(super) fn decide(&mut self, time: u64, number: u64, frame: &[u8]) -> anyhow::Result<Decision> {
        self.engine.set_time(time);
        self.set_clock(time)?;
        let decision = self.engine.decide(frame);
        if let Some(kernel) = &self.kernel
            && frame.len() >= ETHERNET_HEADER
        {
            let dropped = kernel.run(frame)?.action == XDP_DROP;
            let expected = decision.reason.verdict_name() != "pass";
            if dropped != expected {
                anyhow::bail!(
                    "packet {number}: the kernel says {}, the engine in user space {}: this is a bug in ringfence, \
                     please report it with the packet",
                    if dropped { "drop" } else { "pass" },
                    decision.reason.name(),
                );
            }
        }
        Ok(decision)
    }

    /// Rules with hours are on as they were when the packet was captured.
    fn set_clock(&mut self, time: u64) -> anyhow::Result<()> {
        let image = &self.built.image;
        let minute = time / 60_000_000_000;
        if image.timetable.is_empty() || self.minute.replace(minute) == Some(minute) {
            return Ok(());
        }
        let at = match time {
            0 => Timestamp::now(),
            time => Timestamp::from_nanosecond(time.into())?,
        };
        self.engine.set_clock(at);
        if let Some(kernel) = &self.kernel {
            kernel.set_clock(image, at)?;
        }
        Ok(())
    }

    /// What was read of the packet that was decided about last.
    pub(super) fn reading(&self) -> Reading<'_> {
        self.engine.reading()
    }

    fn rule_name(&self, decision: &Decision) -> Option<&'a str> {
        decision.rule.and_then(|rule| self.built.image.rule_names.get(rule)).map(String::as_str)
    }
}

/// The kernel runs no packet shorter than this.
const ETHERNET_HEADER: usize = 14;

/// A verdict, and the rule or else its reason.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Verdict {
    name: &'static str,
    reason: &'static str,
    rule: Option<String>,
}

impl Verdict {
    fn new(candidate: &Candidate<'_>, decision: &Decision) -> Self {
        let (name, reason) = (decision.reason.verdict_name(), decision.reason.name());
        Self { name, reason, rule: candidate.rule_name(decision).map(str::to_owned) }
    }

    /// What decided.
    fn by(&self) -> &str {
        self.rule.as_deref().unwrap_or(self.reason)
    }

    fn to_json(&self) -> Value {
        json!({ "verdict": self.name, "reason": self.reason, "rule": self.rule })
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.by())
    }
}

/// What a packet's verdict was and becomes under the other policy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Change {
    from: Verdict,
    to: Verdict,
}

/// The packets with one change.
#[derive(Debug, PartialEq, Eq)]
struct Changed {
    packets: u64,
    /// The number of the first one.
    first: u64,
}

#[derive(Default)]
struct Totals {
    packets: u64,
    passed: u64,
    dropped: u64,
    not_signalling: u64,
    cut: u64,
    unreadable_link: u64,
    changes: BTreeMap<Change, Changed>,
    rules: BTreeMap<String, u64>,
    would: BTreeMap<String, u64>,
    reasons: BTreeMap<&'static str, u64>,
}

/// Runs `ringfence replay`.
///
/// # Errors
/// The capture cannot be read, a policy has errors, or the kernel refuses.
pub fn run(args: ReplayArgs) -> anyhow::Result<ExitCode> {
    let built = match enforced_policy(args.policy.as_deref(), args.json)? {
        Ok((built, _)) => built,
        Err(code) => return Ok(code),
    };
    let other = match &args.against {
        None => None,
        Some(directory) => match enforced_policy(Some(directory), args.json)? {
            Ok((other, _)) => Some(other),
            Err(code) => return Ok(code),
        },
    };
    replay(built, other, &args)?;
    Ok(ExitCode::SUCCESS)
}

/// Replays the capture against policies that are enforced.
///
/// # Errors
/// The capture cannot be read, or the kernel refuses.
pub(super) fn replay(mut built: Built, other: Option<Built>, args: &ReplayArgs) -> anyhow::Result<()> {
    let kernel = in_kernel(&built, args.engine)?;
    if args.json || !args.summary {
        // JSON shows all scopes, and a line the numbers, whether or not a rule needs them.
        built.image.config.needs |= need::INSPECT;
    }
    let mut candidate = Candidate::new(&built, kernel);
    let mut against =
        other.as_ref().map(|other| anyhow::Ok(Candidate::new(other, in_kernel(other, args.engine)?))).transpose()?;
    let mut totals = Totals::default();
    let mut output = BufWriter::new(io::stdout().lock());
    let mut failed = None;
    let mut progress = Progress::new(args);
    let read = capture::for_each_packet(&args.capture, |captured| {
        totals.packets += 1;
        progress.show(&captured);
        if captured.is_cut {
            // A verdict about its beginning would not be that about the packet.
            totals.cut += 1;
            return true;
        }
        let Some(frame) = &captured.frame else {
            totals.unreadable_link += 1;
            return true;
        };
        let mut step = || -> anyhow::Result<()> {
            let decision = candidate.decide(captured.time, captured.number, frame)?;
            let change = match &mut against {
                None => None,
                Some(against) => {
                    let other = against.decide(captured.time, captured.number, frame)?;
                    (other.reason.verdict_name() != decision.reason.verdict_name()).then(|| Change {
                        from: Verdict::new(&candidate, &decision),
                        to: Verdict::new(against, &other),
                    })
                }
            };
            totals.count(&candidate, &decision);
            let is_shown = if against.is_some() { change.is_some() } else { decision.reason != Reason::NotSignalling };
            if is_shown && !args.summary {
                print(&mut output, args.json, &captured, &candidate, &decision, change.as_ref())?;
            }
            if let Some(change) = change {
                totals.changes.entry(change).or_insert(Changed { packets: 0, first: captured.number }).packets += 1;
            }
            Ok(())
        };
        match step() {
            Ok(()) => true,
            Err(error) => {
                failed = Some(error);
                false
            }
        }
    });
    progress.end();
    if let Some(error) = failed {
        return if is_closed_pipe(&error) { Ok(()) } else { Err(error) };
    }
    let read = match read {
        // A file that is no capture has no totals.
        Err(error) if totals.packets == 0 => return Err(error.into()),
        read => read,
    };
    let written = totals.print(&mut output, args.json, args.against.is_some()).and_then(|()| output.flush());
    unless_closed(written).context("failed to write the result")?;
    // The totals of what could be read have been printed, whatever comes of the rest.
    read?.check(&args.capture)?;
    Ok(())
}

fn print(
    output: &mut dyn Write,
    json: bool,
    captured: &CapturedPacket,
    candidate: &Candidate<'_>,
    decision: &Decision,
    change: Option<&Change>,
) -> anyhow::Result<()> {
    let reading = candidate.reading();
    let (number, time) = (captured.number, time(captured.time));
    if json {
        let mut object =
            serde_json::Map::from_iter([("packet".to_owned(), number.into()), ("time".to_owned(), time.into())]);
        object.extend(decision_json(
            &candidate.built.policy,
            &candidate.built.image,
            candidate.facts.get_or_init(|| Facts::new(&candidate.built.policy)),
            decision,
            &reading,
        ));
        if let Some(change) = change {
            object.insert("against".to_owned(), change.to.to_json());
        }
        writeln!(output, "{}", printable::json_line(&object))?;
        return Ok(());
    }
    let by = candidate.rule_name(decision).unwrap_or(decision.reason.name());
    let scopes = reading.scopes();
    let source = scopes["source"].as_str().unwrap_or_default();
    let method = if reading.is_sip() { reading.method_class() } else { reading.kind() };
    let time = time.unwrap_or_else(|| "-".to_owned());
    write!(output, "{number:>8}  {time:<27}  {:<6} {by:<28} {source:<24} {method}", decision.reason.verdict_name())?;
    for (label, of) in [("calling", NumberOf::Calling), ("called", NumberOf::Called)] {
        if let Some(number) = reading.number(of) {
            write!(output, " {label} {number}")?;
        }
    }
    for &would in &decision.would {
        if let Some(name) = candidate.built.image.rule_names.get(would) {
            write!(output, "  would: {name}")?;
        }
    }
    if let Some(change) = change {
        write!(output, "  -> {}", change.to)?;
    }
    writeln!(output)?;
    Ok(())
}

/// When a packet was captured, RFC 3339 in UTC, to the microsecond. None if the capture does not say.
fn time(nanoseconds: u64) -> Option<String> {
    let time = (nanoseconds != 0).then(|| Timestamp::from_nanosecond(nanoseconds.into()).ok())??;
    Some(format!("{time:.6}"))
}

impl Totals {
    fn count(&mut self, candidate: &Candidate<'_>, decision: &Decision) {
        *self.reasons.entry(decision.reason.name()).or_default() += 1;
        if decision.reason == Reason::NotSignalling {
            self.not_signalling += 1;
        } else if decision.reason.verdict().drops() {
            self.dropped += 1;
        } else {
            self.passed += 1;
        }
        for &rule in &decision.matched {
            let Some(name) = candidate.built.image.rule_names.get(rule) else { continue };
            let totals = if decision.would.contains(&rule) { &mut self.would } else { &mut self.rules };
            *totals.entry(name.clone()).or_default() += 1;
        }
    }

    /// The packets whose verdict is another one under the other policy.
    fn changed(&self) -> u64 {
        self.changes.values().map(|changed| changed.packets).sum()
    }

    fn print(&self, output: &mut dyn Write, json: bool, against: bool) -> io::Result<()> {
        if json {
            let mut object = json!({
                "packets": self.packets,
                "passed": self.passed,
                "dropped": self.dropped,
                "not_signalling": self.not_signalling,
                "cut": self.cut,
                "unreadable_link_type": self.unreadable_link,
                "rules": self.rules,
                "would": self.would,
                "reasons": self.reasons,
            });
            if against {
                object["changed"] = self.changed().into();
                object["changes"] = self
                    .changes
                    .iter()
                    .map(|(Change { from, to }, Changed { packets, first })| {
                        json!({ "from": from.to_json(), "to": to.to_json(), "packets": packets, "first": first })
                    })
                    .collect();
            }
            writeln!(output, "{}", json!({ "totals": object }))?;
            return Ok(());
        }
        write!(
            output,
            "{} packets: {} passed, {} dropped, {} not for a signalling port",
            self.packets, self.passed, self.dropped, self.not_signalling
        )?;
        for (packets, what) in [(self.cut, "cut by the capture"), (self.unreadable_link, "without an IP packet")] {
            if packets > 0 {
                write!(output, ", {packets} {what}")?;
            }
        }
        writeln!(output)?;
        if against {
            writeln!(output, "{} with a different verdict", self.changed())?;
            for (Change { from, to }, Changed { packets, first }) in &self.changes {
                writeln!(output, "{packets:>10}  {from} -> {to}, first in packet {first}")?;
            }
        }
        for (name, packets) in &self.rules {
            writeln!(output, "{packets:>10}  {name}")?;
        }
        for (name, packets) in &self.would {
            writeln!(output, "{packets:>10}  {name} (report)")?;
        }
        Ok(())
    }
}

/// A progress line on the terminal.
struct Progress {
    /// Bytes of the capture; 0 for a pipe.
    length: u64,
    started: Instant,
    /// When it was last shown; none if it is not shown at all.
    shown: Option<Instant>,
}

impl Progress {
    fn new(args: &ReplayArgs) -> Self {
        // Packets printed to the terminal show the progress by themselves.
        let wanted = io::stderr().is_terminal() && (args.summary || !io::stdout().is_terminal());
        let length = std::fs::metadata(&args.capture).map_or(0, |file| file.len());
        let started = Instant::now();
        Self { length, started, shown: wanted.then_some(started) }
    }

    fn show(&mut self, captured: &CapturedPacket) {
        if let Some(shown) = &mut self.shown
            && captured.number.is_multiple_of(1024)
            && shown.elapsed() > PROGRESS
        {
            *shown = Instant::now();
            eprint!("\r\x1b[K{}", bar(captured.number, captured.position, self.length, self.started.elapsed()));
        }
    }

    fn end(&self) {
        if self.shown.is_some() {
            eprint!("\r\x1b[K");
        }
    }
}

/// `[=====>              ]  27 %  270000 packets, 190000/s, 4 s to go`; without the bar if the length is not known.
fn bar(packets: u64, position: u64, length: u64, elapsed: Duration) -> String {
    const WIDTH: u64 = 30;
    let seconds = elapsed.as_secs_f64().max(0.001);
    let rate = packets as f64 / seconds;
    let counted = format!("{packets} packets, {rate:.0}/s");
    if length == 0 || position == 0 || position > length {
        return counted;
    }
    let done = (position * WIDTH / length) as usize;
    let left = seconds * (length - position) as f64 / position as f64;
    let percent = position * 100 / length;
    format!("[{:<30}] {percent:>3} %  {counted}, {left:.0} s to go", "=".repeat(done.saturating_sub(1)) + ">")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_shows_the_progress_and_the_time_left() {
        let bar = |position, length| bar(300_000, position, length, Duration::from_secs(3));
        assert_eq!(bar(30, 120), "[======>                       ]  25 %  300000 packets, 100000/s, 9 s to go");
        assert_eq!(bar(120, 120), "[=============================>] 100 %  300000 packets, 100000/s, 0 s to go");
        for (position, length) in [(30, 0), (0, 120), (121, 120)] {
            assert_eq!(bar(position, length), "300000 packets, 100000/s", "a pipe, or a file that grows");
        }
    }
}
