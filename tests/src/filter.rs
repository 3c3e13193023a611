//! The `ringfence` binary under test: built, run inside a wire's server namespace, and taken off again.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::netns::Wire;
use crate::process::Spawned;
use crate::workspace;

/// Where pins of tests and demos go; each has a folder of its own in it.
const BPF_FILE_SYSTEM: &str = "/sys/fs/bpf";

/// How long the daemon may take until it filters: compiling the policy and loading the program on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(120);

/// Builds the binary if it is not up to date and says where it is. `release` chooses the profile. The environment's
/// `RINGFENCE_BINARY` names one that is there already: an installed package's, say.
///
/// # Errors
/// It does not build: the compiler's messages have gone to standard error.
pub fn build(release: bool) -> Result<PathBuf> {
    if let Some(binary) = std::env::var_os("RINGFENCE_BINARY") {
        return Ok(binary.into());
    }
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(workspace()).args(["build", "--package", "ringfence", "--bin", "ringfence"]);
    cargo.arg("--message-format=json-render-diagnostics").stdin(Stdio::null()).stderr(Stdio::inherit());
    if release {
        cargo.arg("--release");
    }
    let output = cargo.output().context("failed to start cargo")?;
    ensure!(output.status.success(), "ringfence does not build");
    for line in output.stdout.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"{")) {
        let message: Value = serde_json::from_slice(line).context("failed to read cargo's messages")?;
        if let Some(executable) = message["executable"].as_str() {
            return Ok(executable.into());
        }
    }
    bail!("cargo names no executable")
}

/// How the daemon is started.
#[derive(Debug)]
pub struct FilterOptions<'a> {
    /// The binary, see [`build`].
    pub binary: &'a Path,
    /// The interface in the server's namespace.
    pub interface: &'a str,
    /// The policy's folder.
    pub policy: &'a Path,
    /// Arguments of `run` beyond these.
    pub arguments: &'a [&'a str],
}

/// A `ringfence run` in the server's namespace, with pins and a socket of its own. Dropping it takes the filter off.
#[derive(Debug)]
pub struct Filter {
    binary: PathBuf,
    pins: PathBuf,
    socket: PathBuf,
    process: Spawned,
}

impl Filter {
    /// Starts the daemon, its output logged, and waits until it filters.
    ///
    /// # Errors
    /// It ends, or is not up within two minutes: its output is part of the error.
    pub fn start(wire: &Wire, scratch: &Path, options: &FilterOptions<'_>) -> Result<Self> {
        Self::launch(wire, scratch, options, &unique_pins(), None)
    }

    /// As [`Self::start`], with the daemon's standard output handed to `output`.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_with_output(wire: &Wire, scratch: &Path, options: &FilterOptions<'_>, output: Stdio) -> Result<Self> {
        Self::launch(wire, scratch, options, &unique_pins(), Some(output))
    }

    /// Ends the daemon with SIGKILL. What it has pinned goes on filtering.
    ///
    /// # Errors
    /// It has ended already.
    pub fn kill(&mut self) -> Result<()> {
        self.process.signal(rustix::process::Signal::KILL)?;
        self.process.wait(Duration::from_secs(5))?;
        Ok(())
    }

    /// Starts a daemon on the pins that an earlier one has left behind, and waits until it is up.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn restart(&mut self, wire: &Wire, scratch: &Path, options: &FilterOptions<'_>) -> Result<()> {
        self.process.stop()?;
        let mut command = run_command(wire, options, &self.pins, &self.socket);
        command.current_dir(scratch);
        // Killed daemons leave their socket file behind; starting on it is part of what is tested.
        self.process = Spawned::start(&log_name(), command, scratch)?;
        self.await_start()
    }

    /// The answer of `ringfence status --json`.
    ///
    /// # Errors
    /// The daemon does not answer.
    pub fn status(&self) -> Result<Value> {
        let output = self.command("status", &["--json"]).output().context("failed to start ringfence status")?;
        let text = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.success(), "ringfence status: {}{text}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_str(text.trim()).with_context(|| format!("ringfence status printed {text:?}"))
    }

    /// Takes the filter off with `ringfence detach`.
    ///
    /// # Errors
    /// The binary cannot be started; what it answers is the caller's to judge.
    pub fn detach(&mut self) -> Result<Output> {
        self.command("detach", &[]).output().context("failed to start ringfence detach")
    }

    /// The mode that the program was attached in, `native` or `generic`.
    ///
    /// # Errors
    /// The daemon does not answer.
    pub fn mode(&self) -> Result<String> {
        let status = self.status()?;
        let mode = status["interfaces"][0]["mode"].as_str();
        mode.map(str::to_owned).with_context(|| format!("no interface in {status}"))
    }

    /// The hash of the policy in force.
    ///
    /// # Errors
    /// The daemon does not answer.
    pub fn policy_hash(&self) -> Result<String> {
        let status = self.status()?;
        status["policy_hash"].as_str().map(str::to_owned).with_context(|| format!("no policy_hash in {status}"))
    }

    /// Packets that have met `rule`.
    ///
    /// # Errors
    /// The daemon does not answer, or has no such rule.
    pub fn packets(&self, rule: &str) -> Result<u64> {
        let status = self.status()?;
        let rules = status["rules"].as_array().with_context(|| format!("no rules in {status}"))?;
        let found =
            rules.iter().find(|row| row["rule"] == rule).with_context(|| format!("no rule {rule} in {status}"))?;
        found["packets"].as_u64().with_context(|| format!("no packets in {found}"))
    }

    /// Where this filter's pins are.
    #[must_use]
    pub fn pins(&self) -> &Path {
        &self.pins
    }

    /// The daemon.
    pub fn process(&mut self) -> &mut Spawned {
        &mut self.process
    }

    /// A client subcommand that talks to this filter.
    #[must_use]
    pub fn command(&self, subcommand: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.arg(subcommand).arg("--pin-dir").arg(&self.pins).arg("--socket").arg(&self.socket);
        command.args(arguments).stdin(Stdio::null());
        command
    }

    fn launch(
        wire: &Wire,
        scratch: &Path,
        options: &FilterOptions<'_>,
        pins: &Path,
        output: Option<Stdio>,
    ) -> Result<Self> {
        let socket = scratch.join(format!("{}.sock", pins.file_name().unwrap_or_default().display()));
        let mut command = run_command(wire, options, pins, &socket);
        command.current_dir(scratch);
        let process = match output {
            None => Spawned::start(&log_name(), command, scratch)?,
            Some(output) => Spawned::start_with_output(&log_name(), command, scratch, output)?,
        };
        let mut filter = Self { binary: options.binary.to_owned(), pins: pins.to_owned(), socket, process };
        filter.await_start()?;
        Ok(filter)
    }

    fn await_start(&mut self) -> Result<()> {
        let mut command = self.command("status", &["--json"]);
        self.process.wait_until("filter in force", START_LIMIT, |_| {
            let output = command.output().context("failed to start ringfence status")?;
            // What an earlier daemon has left behind filters too: only this one's word counts.
            let status: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
            Ok((output.status.success() && status["daemon"] == "running").then_some(()))
        })
    }
}

impl Drop for Filter {
    fn drop(&mut self) {
        if let Err(error) = self.process.stop() {
            eprintln!("failed to end the daemon: {error:#}");
        }
        if !self.pins.exists() {
            return;
        }
        let _ = self.command("detach", &[]).stdout(Stdio::null()).stderr(Stdio::null()).status();
        // A daemon that failed half-way may have left what detach does not know: a pin ends with its file.
        if self.pins.exists()
            && let Err(error) = std::fs::remove_dir_all(&self.pins)
        {
            eprintln!("failed to remove {}: {error}", self.pins.display());
        }
    }
}

/// A folder for pins that nobody else uses.
#[must_use]
pub fn unique_pins() -> PathBuf {
    Path::new(BPF_FILE_SYSTEM).join(format!("ringfence-{}-{}", std::process::id(), count()))
}

fn run_command(wire: &Wire, options: &FilterOptions<'_>, pins: &Path, socket: &Path) -> Command {
    let mut command = wire.server.command(&options.binary.to_string_lossy());
    command.args(["run", "--interface", options.interface, "--policy"]).arg(options.policy);
    command.arg("--pin-dir").arg(pins).arg("--socket").arg(socket).args(options.arguments);
    command
}

fn log_name() -> String {
    format!("ringfence-run-{}", count())
}

fn count() -> u32 {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    COUNT.fetch_add(1, Ordering::Relaxed)
}
