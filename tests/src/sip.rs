//! Real SIP software on both ends: Kamailio with a SIPp called party behind it, SIPp callers, SIPVicious scanners.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;

use crate::netns::{Namespace, Wire};
use crate::process::{Spawned, wait_until};

/// The signalling port of everything here.
pub const SIP_PORT: u16 = 5060;

/// A user agent no list names.
pub const ORDINARY_AGENT: &str = "Yealink SIP-T54W 96.86.0.45";

/// How long a server may take until it answers.
const START_LIMIT: Duration = Duration::from_secs(20);

/// The protected server: Kamailio relays calls to a SIPp called party on loopback, answers OPTIONS, challenges REGISTER, and
/// logs every request it receives.
#[derive(Debug)]
pub struct Server {
    kamailio: Spawned,
    called_party: Spawned,
}

impl Server {
    /// Starts both in the wire's server namespace and waits until they listen. `limit` bounds their lives should nobody
    /// stop them.
    ///
    /// # Errors
    /// Kamailio or SIPp is not installed, or does not start: its log is part of the error.
    pub fn start(wire: &Wire, scratch: &Path, limit: Duration) -> Result<Self> {
        let called_party = {
            let scenario = write(scratch, "called-party.xml", include_str!("../scenarios/called-party.xml"))?;
            let mut command = wire.server.command("sipp");
            command.arg("-sf").arg(&scenario).args(["-i", "127.0.0.1", "-p", "5070", "-nostdin"]);
            command.args(["-timeout", &limit.as_secs().to_string()]);
            command.current_dir(scratch);
            Spawned::start("called-party", command, scratch)?
        };
        let configuration = write(scratch, "kamailio.cfg", include_str!("../scenarios/kamailio.cfg"))?;
        let mut command = wire.server.command("kamailio");
        command.args(["-DD", "-E", "-m", "32", "-M", "8", "-f"]).arg(&configuration);
        command.arg("-P").arg(scratch.join("kamailio.pid")).arg("-Y").arg(scratch);
        for address in [Wire::SERVER_IPV4.to_owned(), format!("[{}]", Wire::SERVER_IPV6), "127.0.0.1".to_owned()] {
            command.args(["-l", &format!("udp:{address}:{SIP_PORT}"), "-l", &format!("tcp:{address}:{SIP_PORT}")]);
        }
        command.current_dir(scratch);
        let kamailio = Spawned::start("kamailio", command, scratch)?;
        let mut server = Self { kamailio, called_party };
        server.await_port(&wire.server, SIP_PORT)?;
        server.await_port(&wire.server, 5070)?;
        Ok(server)
    }

    /// How many requests Kamailio has logged, by the address they came from.
    ///
    /// # Errors
    /// A line of its log cannot be read.
    pub fn requests_by_source(&self) -> Result<BTreeMap<IpAddr, u64>> {
        let mut requests = BTreeMap::new();
        for line in self.kamailio.stderr().lines() {
            let Some((_, fields)) = line.split_once("request ") else { continue };
            let Some(source) = fields.split_whitespace().skip_while(|word| *word != "from").nth(1) else { continue };
            let source = source.trim_matches(['[', ']']).parse().with_context(|| format!("an address in {line:?}"))?;
            *requests.entry(source).or_default() += 1;
        }
        Ok(requests)
    }

    /// Whether both servers still run.
    ///
    /// # Errors
    /// One has ended: its log is part of the error.
    pub fn check(&mut self) -> Result<()> {
        for process in [&mut self.kamailio, &mut self.called_party] {
            if let Some(status) = process.poll()? {
                bail!("{} has ended ({status}); it said:\n{}", process.name(), process.last_words());
            }
        }
        Ok(())
    }

    fn await_port(&mut self, namespace: &Namespace, port: u16) -> Result<()> {
        let what = format!("server on port {port}");
        wait_until(&what, START_LIMIT, || {
            self.check()?;
            let mut command = namespace.command("ss");
            command.args(["-Hlun", "sport", "=", &format!(":{port}")]);
            Ok((!crate::process::run(command)?.trim().is_empty()).then_some(()))
        })
    }
}

/// One row of what callers dial.
#[derive(Clone, Debug)]
pub struct Call {
    /// User part of From.
    pub calling: String,
    /// User part of the Request-URI.
    pub called: String,
    /// User-Agent.
    pub user_agent: String,
    /// Subject; a long one makes the INVITE longer than a packet, as signatures do.
    pub subject: String,
}

impl Call {
    /// A call by a user agent that no list names.
    #[must_use]
    pub fn new(calling: &str, called: &str) -> Self {
        Self {
            calling: calling.to_owned(),
            called: called.to_owned(),
            user_agent: ORDINARY_AGENT.to_owned(),
            subject: "call".to_owned(),
        }
    }

    /// The same call by another user agent.
    #[must_use]
    pub fn by(mut self, user_agent: &str) -> Self {
        user_agent.clone_into(&mut self.user_agent);
        self
    }

    /// The same call with an INVITE that does not fit an Ethernet frame: over UDP it travels in fragments.
    #[must_use]
    pub fn in_fragments(mut self) -> Self {
        self.subject = "long ".repeat(400);
        self
    }
}

/// Which scenario a caller plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// A whole call: INVITE, ACK, half a second, BYE. Retransmits as RFC 3261 section 17 says.
    Ordinary,
    /// One INVITE; if it is answered within two seconds, ACK and BYE at once.
    Unwanted,
}

/// What a SIPp caller is to do.
#[derive(Clone, Debug)]
pub struct Calling<'a> {
    /// Name of its logs, unique in the scratch folder.
    pub name: &'a str,
    /// What is played.
    pub scenario: Scenario,
    /// Where it calls from; an address of the network's end.
    pub source: IpAddr,
    /// What is dialled, over and over.
    pub calls: &'a [Call],
    /// Calls a second.
    pub rate: u32,
    /// Calls in all.
    pub count: u32,
    /// TCP (one connection for all calls) instead of UDP.
    pub tcp: bool,
}

/// SIPp placing calls from the network's end.
#[derive(Debug)]
pub struct Caller {
    process: Spawned,
    statistics: PathBuf,
    errors: PathBuf,
}

/// What a caller achieved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallCounts {
    /// Calls begun.
    pub started: u64,
    /// Calls whose scenario was played to its end.
    pub completed: u64,
    /// Calls that failed.
    pub failed: u64,
}

impl Caller {
    /// Starts calling.
    ///
    /// # Errors
    /// SIPp is not installed, or its input files cannot be written.
    pub fn start(wire: &Wire, scratch: &Path, calling: &Calling<'_>) -> Result<Self> {
        ensure!(!calling.calls.is_empty() && calling.rate > 0, "{}: nothing to dial", calling.name);
        let (file, text) = match calling.scenario {
            Scenario::Ordinary => ("caller.xml", include_str!("../scenarios/caller.xml")),
            Scenario::Unwanted => ("unwanted-caller.xml", include_str!("../scenarios/unwanted-caller.xml")),
        };
        let scenario = write(scratch, &format!("{}-{file}", calling.name), text)?;
        let mut rows = String::from("SEQUENTIAL\n");
        for call in calling.calls {
            rows += &format!("{};{};{};{}\n", call.calling, call.called, call.user_agent, call.subject);
        }
        let rows = write(scratch, &format!("{}.csv", calling.name), &rows)?;
        let statistics = scratch.join(format!("{}-statistics.csv", calling.name));

        // Timer H, 32 s (RFC 3261 section 17.2.1), is what the last call may take on top.
        let limit = calling.count / calling.rate + 40;
        let mut command = wire.network.command("sipp");
        command.arg("-sf").arg(&scenario).arg("-inf").arg(&rows);
        command.args(["-i", &calling.source.to_string(), "-t", if calling.tcp { "t1" } else { "u1" }]);
        command.args(["-r", &calling.rate.to_string(), "-m", &calling.count.to_string(), "-l", "10000"]);
        command.args(["-timeout", &limit.to_string(), "-nostdin", "-trace_stat", "-fd", "1"]);
        // On a busy machine an answer to a retransmission comes after the call has moved on: no reason to give it up.
        command.args(["-default_behaviors", "all,-abortunexp"]);
        command.arg("-stf").arg(&statistics);
        let errors = scratch.join(format!("{}-errors.log", calling.name));
        command.args(["-trace_err", "-error_file"]).arg(&errors);
        command.arg(server_address(calling.source).to_string());
        command.current_dir(scratch);
        Ok(Self { process: Spawned::start(calling.name, command, scratch)?, statistics, errors })
    }

    /// Whether it has placed all its calls and ended.
    ///
    /// # Errors
    /// The kernel refuses to say.
    pub fn has_ended(&mut self) -> Result<bool> {
        Ok(self.process.poll()?.is_some())
    }

    /// What SIPp has to say about calls that failed; empty if none did.
    #[must_use]
    pub fn errors(&self) -> String {
        std::fs::read(&self.errors).map(|text| String::from_utf8_lossy(&text).into_owned()).unwrap_or_default()
    }

    /// Waits for the end of the last call.
    ///
    /// # Errors
    /// It takes longer than `limit`, or SIPp's statistics cannot be read.
    pub fn finish(&mut self, limit: Duration) -> Result<CallCounts> {
        self.process.wait(limit)?;
        self.counts().with_context(|| format!("{} said:\n{}", self.process.name(), self.process.last_words()))
    }

    /// Begins no more calls, and waits for the end of those under way.
    ///
    /// # Errors
    /// As [`Self::finish`].
    pub fn wind_down(&mut self, limit: Duration) -> Result<CallCounts> {
        // SIPp's way to be asked for it.
        self.process.signal(Signal::USR1)?;
        self.finish(limit)
    }

    /// What SIPp last wrote into its statistics.
    ///
    /// # Errors
    /// The file is not there yet or lacks a column.
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

/// SIPVicious scanning the server: `svmap` looks for SIP devices, `svwar` tries extensions. Both say `friendly-scanner`.
#[derive(Debug)]
pub struct Scanner {
    tools: PathBuf,
    source: IpAddr,
    scratch: PathBuf,
    running: Vec<(ScanTool, Spawned)>,
    rounds: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ScanTool {
    /// Asks for OPTIONS, a hundred times a second.
    Svmap { requests: usize },
    /// Tries extensions with REGISTER. Sends one request and waits ten seconds where it is not answered.
    Svwar,
}

impl Scanner {
    /// Starts both tools from `source`, an IPv4 address. `tools` is the folder that holds `sipvicious_svmap` and
    /// `sipvicious_svwar`.
    ///
    /// # Errors
    /// SIPVicious is not there.
    pub fn start(wire: &Wire, scratch: &Path, tools: &Path, source: IpAddr) -> Result<Self> {
        let mut scanner = Self::new(wire, scratch, tools, source)?;
        for tool in [ScanTool::Svmap { requests: 500 }, ScanTool::Svwar] {
            scanner.launch(wire, tool)?;
        }
        Ok(scanner)
    }

    /// Looks for the server once, with so many OPTIONS requests, and waits for the end of it.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn look_once(wire: &Wire, scratch: &Path, tools: &Path, source: IpAddr, requests: usize) -> Result<()> {
        let mut scanner = Self::new(wire, scratch, tools, source)?;
        scanner.launch(wire, ScanTool::Svmap { requests })?;
        for (_, process) in &mut scanner.running {
            process.wait(Duration::from_secs(60))?;
        }
        Ok(())
    }

    /// Starts a tool again when it has ended: what scans comes back.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn keep_going(&mut self, wire: &Wire) -> Result<()> {
        for (tool, mut process) in std::mem::take(&mut self.running) {
            if process.poll()?.is_some() {
                self.launch(wire, tool)?;
            } else {
                self.running.push((tool, process));
            }
        }
        Ok(())
    }

    /// Ends it now.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn stop(mut self) -> Result<()> {
        for (_, process) in &mut self.running {
            process.stop()?;
        }
        Ok(())
    }

    fn new(wire: &Wire, scratch: &Path, tools: &Path, source: IpAddr) -> Result<Self> {
        ensure!(source.is_ipv4(), "svmap 0.3.8 sends nothing to an IPv6 address");
        // svwar takes --bindingip and sends from elsewhere all the same.
        wire.send_from(source)?;
        let (tools, scratch) = (tools.to_owned(), scratch.to_owned());
        Ok(Self { tools, source, scratch, running: Vec::new(), rounds: 0 })
    }

    fn launch(&mut self, wire: &Wire, tool: ScanTool) -> Result<()> {
        let (name, arguments, targets): (_, &[&str], _) = match tool {
            ScanTool::Svmap { requests } => {
                ("svmap", &["-m", "OPTIONS", "-p", "5060", "-P", "5070", "-t", "0.01"], requests)
            }
            ScanTool::Svwar => ("svwar", &["-m", "REGISTER", "-e", "100-999", "-P", "5080", "-t", "0.01"], 1),
        };
        let program = self.tools.join(format!("sipvicious_{name}"));
        ensure!(program.exists(), "{} is missing: run cargo xtask setup", program.display());
        let mut command = wire.network.command(path_text(&program)?);
        let source = self.source.to_string();
        command.args(arguments).args(["-b", &source, "-x", &source]);
        command.args(vec![server_address(self.source).ip().to_string(); targets]);
        command.env("HOME", &self.scratch).current_dir(&self.scratch);
        let process = Spawned::start(&format!("{name}-{}", self.rounds), command, &self.scratch)?;
        self.rounds += 1;
        self.running.push((tool, process));
        Ok(())
    }
}

/// Where the server is for a sender of this address family.
#[must_use]
pub fn server_address(source: IpAddr) -> SocketAddr {
    let address = match source {
        IpAddr::V4(_) => Wire::SERVER_IPV4,
        IpAddr::V6(_) => Wire::SERVER_IPV6,
    };
    SocketAddr::new(address.parse().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)), SIP_PORT)
}

fn write(folder: &Path, name: &str, text: &str) -> Result<PathBuf> {
    let path = folder.join(name);
    std::fs::write(&path, text).with_context(|| format!("failed to write {}", path.display()))?;
    Ok(path)
}

fn path_text(path: &Path) -> Result<&str> {
    AsRef::<OsStr>::as_ref(path).to_str().with_context(|| format!("{} is not UTF-8", path.display()))
}
