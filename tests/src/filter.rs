//! The `ringfence` binary under test: built, run in a wire's server namespace, and detached again.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::{
    netns::{Wire, WireOptions},
    process::Spawned,
    workspace,
};

/// Where tests and demos put their pins, each in its own folder.
const BPF_FILE_SYSTEM: &str = "/sys/fs/bpf";

/// How long the daemon may take to start filtering: it compiles the policy and loads the program, perhaps on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(120);

/// Builds the binary if it is out of date and returns its path; `release` chooses the profile. If `RINGFENCE_BINARY` is set,
/// it names the binary to use instead, for example that of an installed package.
///
/// # Errors
/// It does not build: the compiler's messages are on standard error.
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
    bail!("cargo reported no executable")
}

/// How to start the daemon.
#[derive(Debug)]
pub struct FilterOptions<'a> {
    /// The binary, see [`build`].
    pub binary: &'a Path,
    /// The interface in the server's namespace.
    pub interface: &'a str,
    /// The policy's folder; an empty path if the arguments say where the policy comes from.
    pub policy: &'a Path,
    /// Further arguments of `run`.
    pub arguments: &'a [&'a str],
    /// Variables of its environment.
    pub environment: &'a [(&'a str, &'a str)],
}

impl<'a> FilterOptions<'a> {
    /// Without further arguments and variables.
    #[must_use]
    pub fn new(binary: &'a Path, interface: &'a str, policy: &'a Path) -> Self {
        Self { binary, interface, policy, arguments: &[], environment: &[] }
    }
}

/// What a filter needs: a wire, and a policy in a folder. Declare a [`Filter`] before it, so that the filter is dropped first.
#[derive(Debug)]
pub struct Site {
    /// The server's interface is the one to filter on.
    pub wire: Wire,
    /// The policy's folder, in `scratch`.
    pub policy: PathBuf,
    /// For logs and everything else.
    pub scratch: tempfile::TempDir,
}

impl Site {
    /// A site with these files in its policy: names and contents.
    ///
    /// # Errors
    /// Not root, or a file cannot be written.
    pub fn new(files: &[(&str, &str)]) -> Result<Self> {
        let scratch = crate::scratch()?;
        let policy = scratch.path().join("policy");
        std::fs::create_dir(&policy)?;
        files.iter().try_for_each(|(name, content)| std::fs::write(policy.join(name), content))?;
        Ok(Self { wire: Wire::new(&WireOptions::default())?, policy, scratch })
    }

    /// Starts the binary of this build there, with further arguments of `run`.
    ///
    /// # Errors
    /// As [`Filter::start`].
    pub fn start(&self, arguments: &[&str]) -> Result<Filter> {
        let binary = build(!cfg!(debug_assertions))?;
        let options = FilterOptions::new(&binary, Wire::SERVER_INTERFACE, &self.policy);
        Filter::start(&self.wire, self.scratch.path(), &FilterOptions { arguments, ..options })
    }
}

/// A `ringfence run` in the server's namespace, with its own pins and socket. Dropping it detaches the filter.
#[derive(Debug)]
pub struct Filter {
    binary: PathBuf,
    pins: PathBuf,
    socket: PathBuf,
    process: Spawned,
}

impl Filter {
    /// Starts the daemon, logs its output, and waits until it filters.
    ///
    /// # Errors
    /// It exits, or does not filter within two minutes: its output is part of the error.
    pub fn start(wire: &Wire, scratch: &Path, options: &FilterOptions<'_>) -> Result<Self> {
        let mut filter = Self::launch(wire, scratch, options, &unique_pins(), None)?;
        filter.await_start()?;
        Ok(filter)
    }

    /// As [`Self::start`], without waiting until it filters.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn begin(wire: &Wire, scratch: &Path, options: &FilterOptions<'_>) -> Result<Self> {
        Self::launch(wire, scratch, options, &unique_pins(), None)
    }

    /// As [`Self::start`], but sends the daemon's standard output to `output`.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_with_output(wire: &Wire, scratch: &Path, options: &FilterOptions<'_>, output: Stdio) -> Result<Self> {
        let mut filter = Self::launch(wire, scratch, options, &unique_pins(), Some(output))?;
        filter.await_start()?;
        Ok(filter)
    }

    /// Kills the daemon with SIGKILL. What it has pinned keeps filtering.
    ///
    /// # Errors
    /// It has already exited.
    pub fn kill(&mut self) -> Result<()> {
        self.process.signal(rustix::process::Signal::KILL)?;
        self.process.wait(Duration::from_secs(5))?;
        Ok(())
    }

    /// Starts a daemon on the pins that an earlier one left, and waits until it is up.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn restart(&mut self, wire: &Wire, scratch: &Path, options: &FilterOptions<'_>) -> Result<()> {
        self.resume(wire, scratch, options)?;
        self.await_start()
    }

    /// As [`Self::restart`], without waiting until it is up.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn resume(&mut self, wire: &Wire, scratch: &Path, options: &FilterOptions<'_>) -> Result<()> {
        self.process.stop()?;
        let mut command = run_command(wire, options, &self.pins, &self.socket);
        command.current_dir(scratch);
        // Killed daemons leave their socket file: starting in spite of it is part of the test.
        self.process = Spawned::start(&log_name(), command, scratch)?;
        Ok(())
    }

    /// The answer of `ringfence status --json`.
    ///
    /// # Errors
    /// The daemon does not answer.
    pub fn status(&self) -> Result<Value> {
        let output = self.command("status", &["--json"]).output().context("failed to start ringfence status")?;
        let text = String::from_utf8_lossy(&output.stdout);
        // 1 says that all is not well, not that there is no status.
        let answered = matches!(output.status.code(), Some(0 | 1));
        ensure!(answered, "ringfence status: {}{text}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_str(text.trim()).with_context(|| format!("ringfence status printed {text:?}"))
    }

    /// Detaches the filter with `ringfence detach`.
    ///
    /// # Errors
    /// The binary cannot be started. Its exit status is for the caller to check.
    pub fn detach(&mut self) -> Result<Output> {
        self.command("detach", &[]).output().context("failed to start ringfence detach")
    }

    /// The mode in which the program is attached, `native` or `generic`.
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

    /// The number of packets that matched `rule`.
    ///
    /// # Errors
    /// The daemon does not answer, or there is no such rule.
    pub fn packets(&self, rule: &str) -> Result<u64> {
        let status = self.status()?;
        let rules = status["rules"].as_array().with_context(|| format!("no rules in {status}"))?;
        let found =
            rules.iter().find(|row| row["rule"] == rule).with_context(|| format!("no rule {rule} in {status}"))?;
        found["packets"].as_u64().with_context(|| format!("no packets in {found}"))
    }

    /// Lets another program's commands talk to this filter from now on.
    pub fn use_program(&mut self, binary: &Path) {
        self.binary = binary.to_owned();
    }

    /// Where this filter's pins are.
    #[must_use]
    pub fn pins(&self) -> &Path {
        &self.pins
    }

    /// The daemon's state directory.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        state(&self.socket)
    }

    /// The daemon's process, to signal it or to read its output.
    pub fn process(&mut self) -> &mut Spawned {
        &mut self.process
    }

    /// The most memory that the daemon has had, in KiB.
    ///
    /// # Errors
    /// It does not run.
    pub fn peak_memory(&self) -> Result<u64> {
        let process = self.status()?["pid"].as_u64().context("no process")?;
        let text = std::fs::read_to_string(format!("/proc/{process}/status"))?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no peak")?;
        line.trim().trim_end_matches("kB").trim().parse().context("no number")
    }

    /// Where the daemon's API answers.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// A subcommand that talks to this filter, or one of its own: `bans import`.
    #[must_use]
    pub fn command(&self, subcommand: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(subcommand.split(' ')).arg("--pin-dir").arg(&self.pins).arg("--socket").arg(&self.socket);
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
        Ok(Self { binary: options.binary.to_owned(), pins: pins.to_owned(), socket, process })
    }

    fn await_start(&mut self) -> Result<()> {
        let mut command = self.command("status", &["--json"]);
        self.process.wait_until("filter in force", START_LIMIT, |_| {
            let output = command.output().context("failed to start ringfence status")?;
            // The pins of an earlier daemon filter too: wait for this one to say that it is running.
            let status: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
            Ok((status["filter"] == "attached" && status["daemon"] == "running").then_some(()))
        })
    }
}

impl Drop for Filter {
    fn drop(&mut self) {
        if let Err(error) = self.process.stop() {
            eprintln!("failed to stop the daemon: {error:#}");
        }
        if !self.pins.exists() {
            return;
        }
        let _ = self.command("detach", &[]).stdout(Stdio::null()).stderr(Stdio::null()).status();
        // A daemon that failed half-way may leave pins that detach does not know. Removing the file removes the pin.
        if self.pins.exists()
            && let Err(error) = std::fs::remove_dir_all(&self.pins)
        {
            eprintln!("failed to remove {}: {error}", self.pins.display());
        }
    }
}

/// A unique folder for pins.
#[must_use]
pub fn unique_pins() -> PathBuf {
    Path::new(BPF_FILE_SYSTEM).join(format!("ringfence-{}-{}", std::process::id(), count()))
}

fn run_command(wire: &Wire, options: &FilterOptions<'_>, pins: &Path, socket: &Path) -> Command {
    let mut command = wire.server.command(&options.binary.to_string_lossy());
    command.args(["run", "--interface", options.interface]);
    if !options.policy.as_os_str().is_empty() {
        command.arg("--policy").arg(options.policy);
    }
    command.arg("--pin-dir").arg(pins).arg("--socket").arg(socket);
    if !options.arguments.contains(&"--state-dir") {
        command.arg("--state-dir").arg(state(socket));
    }
    command.args(options.arguments).envs(options.environment.iter().copied());
    command
}

/// The daemon's state directory, beside its socket.
fn state(socket: &Path) -> PathBuf {
    socket.with_extension("state")
}

fn log_name() -> String {
    format!("ringfence-run-{}", count())
}

fn count() -> u32 {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    COUNT.fetch_add(1, Ordering::Relaxed)
}
