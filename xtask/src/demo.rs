//! `cargo xtask demo`: real SIP traffic, wanted and unwanted, through the filter, in network namespaces of its own.
//!
//! A capture in front of the filter counts what was sent, and one after it what arrived. The filter's own counters are shown
//! next to these, but nothing is decided by them.

mod attack;
mod screen;
mod senders;
mod summary;

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use ringfence_tests::{
    attack::Attack,
    capture::{Capture, by_source},
    filter::{self, Filter, FilterOptions},
    netns::{Wire, WireOptions, ensure_root},
    sip::{CallCounts, Caller, Calling, Scanner, Scenario, Server},
};

use self::{screen::Screen, senders::Sender, summary::Summary};
use crate::{setup, workspace};

/// How long calls may take to end after the last one was placed: 64 * T1 for each of INVITE and BYE (RFC 3261 section 17).
const TAIL: Duration = Duration::from_secs(70);

/// The arguments of `cargo xtask demo`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// How many seconds to send traffic.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub seconds: u32,
    /// Print the summary as one JSON object on the last line of standard output; everything else goes to standard error.
    #[arg(long)]
    pub json: bool,
    /// The policy to enforce; it must block what the sample policy blocks, and contain lists/dno.csv.
    #[arg(long, value_name = "DIR")]
    pub policy: Option<PathBuf>,
    /// Show one attack of docs/tdos.md instead, without a filter and with one: flood, callflood, registers, scan, fragments.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["seconds", "json", "policy"])]
    pub attack: Option<Attack>,
    /// Send the same traffic to the server without a filter, for comparison.
    #[arg(long)]
    pub without_filter: bool,
}

/// Runs the demo.
///
/// # Errors
/// The set-up fails, an ordinary call was lost, or an unwanted packet arrived.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    // Before a build that takes minutes.
    ensure_root()?;
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGHUP, signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&interrupted)).context("failed to catch signals")?;
    }
    let screen = Screen::new(arguments.json);
    setup::ensure(&[setup::Group::Build, setup::Group::Traffic])?;
    let binary = if arguments.without_filter { None } else { Some(filter::build(true)?) };
    if let Some(attack) = arguments.attack {
        return attack::show(attack, binary.as_deref(), &screen, &interrupted);
    }
    let summary = Demo { arguments, screen: &screen, interrupted: &interrupted }.play(binary.as_deref())?;

    screen.say(&summary.table(&screen));
    if arguments.json {
        println!("{}", summary.json());
    }
    summary.judge()
}

struct Demo<'a> {
    arguments: &'a Arguments,
    screen: &'a Screen,
    interrupted: &'a AtomicBool,
}

impl Demo<'_> {
    /// Sets up the network, sends the traffic, and cleans up. `binary` is the filter; without it there is no filter.
    fn play(&self, binary: Option<&Path>) -> Result<Summary> {
        let seconds = self.arguments.seconds;
        let policy = match &self.arguments.policy {
            Some(folder) => folder.canonicalize().with_context(|| format!("no policy in {}", folder.display()))?,
            None => workspace::root().join("policies"),
        };
        let senders = senders::all(&policy)?;

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
                    arguments: &["--detach-on-exit"],
                    ..FilterOptions::new(binary, Wire::SERVER_INTERFACE, &policy)
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
        let scanner = senders.iter().find(|sender| sender.calls.is_none()).context("there is no scanner")?;
        let mut scanner = Scanner::start(&wire, scratch, &ringfence_tests::sipvicious()?, scanner.address)?;
        while start.elapsed() < Duration::from_secs(u64::from(seconds)) {
            self.pause()?;
            scanner.keep_going(&wire)?;
            server.check()?;
            if let Some(filter) = &mut filter
                && let Some(status) = filter.process().poll()?
            {
                bail!("ringfence run has ended ({status}); its output ends with:\n{}", filter.process().last_words());
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

        let status = filter.as_ref().map(|filter| {
            serde_json::from_value(filter.status()?).context("the answer of ringfence status is not as expected")
        });
        let status = status.transpose()?;
        // The captures end before the filter is removed: packets that arrive after that do not count.
        let requests = server.requests_by_source()?;
        let (sent, arrived) = (sent.finish()?, arrived.finish()?);
        drop(filter);
        drop(callers);
        Ok(Summary { seconds, senders, sent: by_source(&sent), arrived, requests, ordinary, errors, answered, status })
    }

    /// Waits until the sender's calls have ended, unless interrupted.
    fn finish(&self, caller: &mut Caller) -> Result<CallCounts> {
        let deadline = Instant::now() + TAIL;
        while !caller.has_ended()? && Instant::now() < deadline {
            self.pause()?;
        }
        caller.finish(Duration::ZERO)
    }

    fn pause(&self) -> Result<()> {
        sleep(Duration::from_millis(100));
        ensure!(!self.interrupted.load(Ordering::Relaxed), "interrupted; everything has been removed again");
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
            text.push_str("\nThere is no filter. Sending ...");
        } else {
            text.push_str(
                "\nThe table below shows live what the filter counts for each rule. Rules in report mode drop nothing:\n\
                 they only count what they would have dropped.\n",
            );
        }
        text
    }
}
