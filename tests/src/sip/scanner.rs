//! SIPVicious scanners.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

use super::server_address;
use crate::{netns::Wire, process::Spawned};

/// SIPVicious scanning the server: `svmap` looks for SIP devices, `svwar` tries extensions. Both call themselves
/// `friendly-scanner`.
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
    /// Sends OPTIONS, a hundred times a second.
    Svmap { requests: usize },
    /// Tries extensions with REGISTER. Sends one request and waits ten seconds if there is no answer.
    Svwar,
}

impl Scanner {
    /// Starts both tools from `source`, an IPv4 address. `tools` is the folder that holds `sipvicious_svmap` and
    /// `sipvicious_svwar`.
    ///
    /// # Errors
    /// SIPVicious is not installed.
    pub fn start(wire: &Wire, scratch: &Path, tools: &Path, source: IpAddr) -> Result<Self> {
        let mut scanner = Self::new(wire, scratch, tools, source)?;
        for tool in [ScanTool::Svmap { requests: 500 }, ScanTool::Svwar] {
            scanner.launch(wire, tool)?;
        }
        Ok(scanner)
    }

    /// Runs `svmap` once, with this number of OPTIONS requests, and waits until it exits.
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

    /// Restarts the tools that have exited: scanners come back.
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

    /// Stops both tools.
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
        // svwar accepts --bindingip, but ignores it when sending.
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

fn path_text(path: &Path) -> Result<&str> {
    path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))
}
