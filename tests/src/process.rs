//! Processes that end with their owner: bounded, logged, and never left running.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, waitid};

/// How long a process has to exit after SIGTERM before it is killed.
const GRACE: Duration = Duration::from_secs(3);

/// How often a condition is checked while waiting for it.
const POLL: Duration = Duration::from_millis(20);

/// A child process that leads its own process group. Dropping it ends the whole group.
///
/// The group keeps a terminal's Ctrl-C from reaching the children, so that their owner decides in which order they end. It
/// also catches what a server forks.
#[derive(Debug)]
pub struct Spawned {
    name: String,
    child: Child,
    ended: Option<ExitStatus>,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Spawned {
    /// Starts `command` without standard input; its output goes to `NAME.out` and `NAME.err` in the folder `logs`.
    ///
    /// # Errors
    /// The logs cannot be created, or the program cannot be started.
    pub fn start(name: &str, command: Command, logs: &Path) -> Result<Self> {
        let stdout = log_file(&logs.join(format!("{name}.out")))?;
        Self::start_with_output(name, command, logs, stdout.into())
    }

    /// As [`Self::start`], but sends standard output to `output`, for example the terminal, instead of a file.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_with_output(name: &str, mut command: Command, logs: &Path, output: Stdio) -> Result<Self> {
        use std::os::unix::process::CommandExt;

        let stderr = logs.join(format!("{name}.err"));
        command.stdin(Stdio::null()).stdout(output).stderr(log_file(&stderr)?).process_group(0);
        let child = command.spawn().with_context(|| format!("failed to start {name}"))?;
        let stdout = logs.join(format!("{name}.out"));
        Ok(Self { name: name.to_owned(), child, ended: None, stdout, stderr })
    }

    /// Its name in logs.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has written to standard output so far; empty if that is not a file.
    #[must_use]
    pub fn stdout(&self) -> String {
        read_lossy(&self.stdout)
    }

    /// What it has written to standard error so far.
    #[must_use]
    pub fn stderr(&self) -> String {
        read_lossy(&self.stderr)
    }

    /// Its exit status, if it has exited.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn poll(&mut self) -> Result<Option<ExitStatus>> {
        if self.ended.is_none() && self.has_exited()? {
            // Kill what it forked before reaping it: afterwards another process group could have its number.
            let _ = kill_process_group(self.pid(), Signal::KILL);
            self.ended = Some(self.child.wait().with_context(|| format!("failed to reap {}", self.name))?);
        }
        Ok(self.ended)
    }

    /// Waits until it exits by itself, for at most `limit`.
    ///
    /// # Errors
    /// It has not exited by then; it runs on until it is dropped.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.poll()? {
                return Ok(status);
            }
            if Instant::now() >= deadline {
                bail!("{} has not exited within {limit:?}; its output ends with:\n{}", self.name, self.last_words());
            }
            sleep(POLL);
        }
    }

    /// Waits until `ready` returns a value, for at most `limit`.
    ///
    /// # Errors
    /// The process exits first, the time is up, or `ready` fails.
    pub fn wait_until<T>(
        &mut self,
        what: &str,
        limit: Duration,
        mut ready: impl FnMut(&Self) -> Result<Option<T>>,
    ) -> Result<T> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(found) = ready(self)? {
                return Ok(found);
            }
            if let Some(status) = self.poll()? {
                // The condition may have become true between the last check and the exit.
                if let Some(found) = ready(self)? {
                    return Ok(found);
                }
                bail!("{} exited ({status}) before {what}; its output ends with:\n{}", self.name, self.last_words());
            }
            if Instant::now() >= deadline {
                bail!("{}: no {what} within {limit:?}; its output ends with:\n{}", self.name, self.last_words());
            }
            sleep(POLL);
        }
    }

    /// Sends `signal` to the process, not to its group.
    ///
    /// # Errors
    /// It has already exited.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        if let Some(status) = self.poll()? {
            bail!("{} has already exited ({status}); its output ends with:\n{}", self.name, self.last_words());
        }
        kill_process(self.pid(), signal).with_context(|| format!("failed to signal {}", self.name))
    }

    /// Stops it: SIGTERM, then SIGKILL after three seconds.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn stop(&mut self) -> Result<ExitStatus> {
        if let Some(status) = self.poll()? {
            return Ok(status);
        }
        let _ = kill_process_group(self.pid(), Signal::TERM);
        if let Ok(status) = self.wait(GRACE) {
            return Ok(status);
        }
        let _ = kill_process_group(self.pid(), Signal::KILL);
        self.wait(GRACE)
    }

    /// The last lines of its output, for error messages.
    #[must_use]
    pub fn last_words(&self) -> String {
        let text = self.stdout() + &self.stderr();
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        lines[lines.len().saturating_sub(15)..].iter().map(|line| format!("    {line}\n")).collect()
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Whether it has exited, without reaping it.
    fn has_exited(&self) -> Result<bool> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let status =
            waitid(WaitId::Pid(self.pid()), options).with_context(|| format!("failed to wait for {}", self.name))?;
        Ok(status.is_some())
    }
}

impl Drop for Spawned {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            eprintln!("failed to stop {}: {error:#}", self.name);
        }
    }
}

/// Runs `command` to its end and returns its standard output.
///
/// # Errors
/// It cannot be started, or its exit status is not 0: its output is part of the error.
pub fn run(mut command: Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("failed to start {command:?}"))?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!("{command:?} failed ({}): {}{}", output.status, stdout.trim(), stderr.trim());
    }
    Ok(stdout)
}

/// Calls `ready` every 20 ms until it returns a value, for at most `limit`.
///
/// # Errors
/// The time is up, or `ready` fails.
pub fn wait_until<T>(what: &str, limit: Duration, mut ready: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = ready()? {
            return Ok(found);
        }
        if Instant::now() >= deadline {
            bail!("no {what} within {limit:?}");
        }
        sleep(POLL);
    }
}

fn log_file(path: &Path) -> Result<File> {
    File::create(path).with_context(|| format!("failed to create {}", path.display()))
}

fn read_lossy(path: &Path) -> String {
    std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}
