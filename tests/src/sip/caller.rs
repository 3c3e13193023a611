//! SIPp callers.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;

use super::{ORDINARY_AGENT, server_address, write};
use crate::{netns::Wire, process::Spawned};

/// One call that a caller makes.
#[derive(Clone, Debug)]
pub struct Call {
    /// User part of From.
    pub calling: String,
    /// User part of the Request-URI.
    pub called: String,
    /// User-Agent.
    pub user_agent: String,
    /// Subject; a long one makes the INVITE longer than a packet, as a signature would.
    pub subject: String,
}

impl Call {
    /// A call from a user agent that is on no list.
    #[must_use]
    pub fn new(calling: &str, called: &str) -> Self {
        Self {
            calling: calling.to_owned(),
            called: called.to_owned(),
            user_agent: ORDINARY_AGENT.to_owned(),
            subject: "call".to_owned(),
        }
    }

    /// The same call from another user agent.
    #[must_use]
    pub fn by(mut self, user_agent: &str) -> Self {
        user_agent.clone_into(&mut self.user_agent);
        self
    }

    /// The same call with an INVITE that does not fit into an Ethernet frame: over UDP it is sent in fragments.
    #[must_use]
    pub fn in_fragments(mut self) -> Self {
        self.subject = "long ".repeat(400);
        self
    }
}

/// The scenario of a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// A whole call: INVITE, ACK, half a second, BYE. Retransmits according to RFC 3261 section 17.
    Ordinary,
    /// One INVITE, which must be answered with this status, and an ACK.
    Refused(u16),
    /// One INVITE; if it is answered within two seconds, an immediate ACK and BYE.
    Unwanted,
}

/// What a SIPp caller should do.
#[derive(Clone, Debug)]
pub struct Calling<'a> {
    /// Name of its logs, unique in the scratch folder.
    pub name: &'a str,
    /// What it does in each call.
    pub scenario: Scenario,
    /// Its address, one of the network's end.
    pub source: IpAddr,
    /// The calls, repeated in order.
    pub calls: &'a [Call],
    /// Calls per second.
    pub rate: u32,
    /// Total number of calls.
    pub count: u32,
    /// TCP (one connection for all calls) instead of UDP.
    pub tcp: bool,
}

/// A SIPp caller on the network's end.
#[derive(Debug)]
pub struct Caller {
    process: Spawned,
    statistics: PathBuf,
    errors: PathBuf,
}

/// A caller's results.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallCounts {
    /// Calls started.
    pub started: u64,
    /// Calls whose scenario was completed.
    pub completed: u64,
    /// Calls that failed.
    pub failed: u64,
}

impl Caller {
    /// Starts a SIPp that makes the calls.
    ///
    /// # Errors
    /// SIPp is not installed, or its input files cannot be written.
    pub fn start(wire: &Wire, scratch: &Path, calling: &Calling<'_>) -> Result<Self> {
        ensure!(!calling.calls.is_empty() && calling.rate > 0, "{}: no calls to make", calling.name);
        let (file, text) = match calling.scenario {
            Scenario::Ordinary => ("caller.xml", include_str!("../../scenarios/caller.xml").to_owned()),
            Scenario::Refused(code) => {
                let text = include_str!("../../scenarios/refused-caller.xml");
                ("refused-caller.xml", text.replace("CODE", &code.to_string()))
            }
            Scenario::Unwanted => {
                ("unwanted-caller.xml", include_str!("../../scenarios/unwanted-caller.xml").to_owned())
            }
        };
        let scenario = write(scratch, &format!("{}-{file}", calling.name), &text)?;
        let mut rows = String::from("SEQUENTIAL\n");
        for call in calling.calls {
            rows += &format!("{};{};{};{}\n", call.calling, call.called, call.user_agent, call.subject);
        }
        let rows = write(scratch, &format!("{}.csv", calling.name), &rows)?;
        let statistics = scratch.join(format!("{}-statistics.csv", calling.name));

        // The last call may take timer H, 32 s (RFC 3261 section 17.2.1), longer.
        let limit = calling.count / calling.rate + 40;
        let mut command = wire.network.command("sipp");
        command.arg("-sf").arg(&scenario).arg("-inf").arg(&rows);
        command.args(["-i", &calling.source.to_string(), "-t", if calling.tcp { "t1" } else { "u1" }]);
        command.args(["-r", &calling.rate.to_string(), "-m", &calling.count.to_string(), "-l", "10000"]);
        command.args(["-timeout", &limit.to_string(), "-nostdin", "-trace_stat", "-fd", "1"]);
        // On a busy machine, the answer to a retransmission can come after the call has moved on: the call is still good.
        command.args(["-default_behaviors", "all,-abortunexp"]);
        command.arg("-stf").arg(&statistics);
        let errors = scratch.join(format!("{}-errors.log", calling.name));
        command.args(["-trace_err", "-error_file"]).arg(&errors);
        command.arg(server_address(calling.source).to_string());
        command.current_dir(scratch);
        Ok(Self { process: Spawned::start(calling.name, command, scratch)?, statistics, errors })
    }

    /// Whether it has made all its calls and exited.
    ///
    /// # Errors
    /// The kernel refuses to say.
    pub fn has_ended(&mut self) -> Result<bool> {
        Ok(self.process.poll()?.is_some())
    }

    /// SIPp's messages about failed calls; empty if none failed.
    #[must_use]
    pub fn errors(&self) -> String {
        std::fs::read(&self.errors).map(|text| String::from_utf8_lossy(&text).into_owned()).unwrap_or_default()
    }

    /// Waits until the last call has ended.
    ///
    /// # Errors
    /// It takes longer than `limit`, or SIPp's statistics cannot be read.
    pub fn finish(&mut self, limit: Duration) -> Result<CallCounts> {
        self.process.wait(limit)?;
        self.counts()
            .with_context(|| format!("{}: its output ends with:\n{}", self.process.name(), self.process.last_words()))
    }

    /// Starts no more calls, and waits until those in progress have ended.
    ///
    /// # Errors
    /// As [`Self::finish`].
    pub fn wind_down(&mut self, limit: Duration) -> Result<CallCounts> {
        // SIPp takes SIGUSR1 as this request.
        self.process.signal(Signal::USR1)?;
        self.finish(limit)
    }

    /// The last row of SIPp's statistics.
    ///
    /// # Errors
    /// There is no such file yet, or it lacks a column.
    pub fn counts(&self) -> Result<CallCounts> {
        let path = &self.statistics;
        let text = std::fs::read_to_string(path).with_context(|| format!("failed to read {}", path.display()))?;
        let mut lines = text.lines();
        let header: Vec<&str> = lines.next().context("empty statistics")?.split(';').collect();
        let last: Vec<&str> = lines.next_back().context("no statistics yet")?.split(';').collect();
        let column = |name: &str| -> Result<u64> {
            let index =
                header.iter().position(|column| *column == name).with_context(|| format!("no column {name}"))?;
            let value = last.get(index).with_context(|| format!("no value for {name}"))?;
            value.parse().with_context(|| format!("{name} is {value:?}"))
        };
        Ok(CallCounts {
            started: column("TotalCallCreated")?,
            completed: column("SuccessfulCall(C)")?,
            failed: column("FailedCall(C)")?,
        })
    }
}
