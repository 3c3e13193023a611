//! Runs the system's `git`: bounded in time and output, and so that nothing a repository contains is executed.

use std::{
    ffi::OsStr,
    io::{self, Read, Write as _},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use filter_policy::language::printable;
use rustix::process::{Pid, Signal, kill_process_group};

/// Bytes of the largest answer, other than the content of a file.
const LARGEST_ANSWER: u64 = 64 << 20;

/// Bytes of error text that are kept.
const LARGEST_ERROR: u64 = 64 << 10;

/// Characters of an error that are shown.
const LONGEST_MESSAGE: usize = 400;

/// Variables that would lead git to another repository, or give it settings that are not the system's or the user's
/// (`git rev-parse --local-env-vars`).
const REMOVED: &[&str] = &[
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_CONFIG",
    "GIT_CONFIG_PARAMETERS",
    "GIT_CONFIG_COUNT",
    "GIT_OBJECT_DIRECTORY",
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_IMPLICIT_WORK_TREE",
    "GIT_GRAFT_FILE",
    "GIT_INDEX_FILE",
    "GIT_NAMESPACE",
    "GIT_NO_REPLACE_OBJECTS",
    "GIT_REPLACE_REF_BASE",
    "GIT_PREFIX",
    "GIT_SHALLOW_FILE",
    "GIT_COMMON_DIR",
    "GIT_EXTERNAL_DIFF",
    "GIT_TRACE",
    "SSH_ASKPASS",
];

/// Settings for every call. Hooks, file system monitors, helpers for other transports and prompts are all off.
const SETTINGS: &[&str] = &[
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.askPass=",
    "fetch.recurseSubmodules=false",
    "submodule.recurse=false",
    "transfer.fsckObjects=true",
    "gc.autoDetach=false",
    "maintenance.autoDetach=false",
    "advice.diverging=false",
];

/// Why git did not do what it was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::repository) enum GitError {
    /// It refused, for this reason.
    #[error("{0}")]
    Failed(String),
    /// It gave more than is read.
    #[error("its answer has more than {0} bytes")]
    TooLarge(u64),
    /// It took too long.
    #[error("no answer within {} s", .0.as_secs())]
    TooSlow(Duration),
    /// It cannot be started.
    #[error("git cannot be started: {0}; is it installed? (`apt install git`)")]
    Unavailable(String),
    /// The daemon ends.
    #[error("the daemon is ending")]
    Stopped,
}

/// How git is run.
#[derive(Clone, Debug)]
pub(in crate::repository) struct Git {
    /// The repository whose settings it reads.
    pub(in crate::repository) directory: PathBuf,
    /// Where its objects are, if not there.
    pub(in crate::repository) objects: Option<PathBuf>,
    /// Whether transports without authentication may be used.
    pub(in crate::repository) insecure: bool,
}

impl Git {
    /// The answer to a command.
    pub(in crate::repository) fn run<S: AsRef<OsStr>>(
        &self,
        arguments: &[S],
        input: &[u8],
        limit: Duration,
        stop: &AtomicBool,
    ) -> Result<Vec<u8>, GitError> {
        self.run_bounded(arguments, input, LARGEST_ANSWER, limit, stop)
    }

    /// The answer to a command, which has at most `largest` bytes.
    pub(super) fn run_bounded<S: AsRef<OsStr>>(
        &self,
        arguments: &[S],
        input: &[u8],
        largest: u64,
        limit: Duration,
        stop: &AtomicBool,
    ) -> Result<Vec<u8>, GitError> {
        let (status, answer, error) = self.output(arguments, input, largest, limit, stop)?;
        if answer.len() as u64 > largest {
            return Err(GitError::TooLarge(largest));
        }
        if status.success() { Ok(answer) } else { Err(GitError::Failed(message(&error, status))) }
    }

    /// True if a command exits with 0, false if it exits with 1.
    pub(super) fn test(&self, arguments: &[&str], limit: Duration, stop: &AtomicBool) -> Result<bool, GitError> {
        let (status, _, error) = self.output(arguments, &[], LARGEST_ANSWER, limit, stop)?;
        match status.code() {
            Some(0) => Ok(true),
            Some(1) => Ok(false),
            _ => Err(GitError::Failed(message(&error, status))),
        }
    }

    fn output<S: AsRef<OsStr>>(
        &self,
        arguments: &[S],
        input: &[u8],
        largest: u64,
        limit: Duration,
        stop: &AtomicBool,
    ) -> Result<(ExitStatus, Vec<u8>, Vec<u8>), GitError> {
        let mut command = self.command();
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = Running(command.spawn().map_err(|error| GitError::Unavailable(error.to_string()))?);
        let answer = collect(child.0.stdout.take(), largest.saturating_add(1));
        let error = collect(child.0.stderr.take(), LARGEST_ERROR);
        if let Some(mut stdin) = child.0.stdin.take() {
            // It is a line; an end of git shows in its status.
            let _ = stdin.write_all(input);
        }
        let status = child.wait(limit, stop)?;
        let text = |reader: Reader| reader.join().unwrap_or_default();
        Ok((status, text(answer), text(error)))
    }

    fn command(&self) -> Command {
        let mut command = Command::new("git");
        for variable in REMOVED {
            command.env_remove(variable);
        }
        let protocols = if self.insecure { "file:git:http:https:ssh" } else { "file:https:ssh" };
        command
            .env("GIT_DIR", &self.directory)
            .env("GIT_ALLOW_PROTOCOL", protocols)
            .env("GIT_ASKPASS", "")
            .env("GIT_NO_LAZY_FETCH", "1")
            .env("GIT_OPTIONAL_LOCKS", "0")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("LC_ALL", "C.UTF-8")
            .env("SSH_ASKPASS_REQUIRE", "never")
            .current_dir("/")
            // A signal to the daemon's terminal is for the daemon alone; and what git has started ends with it.
            .process_group(0);
        if let Some(objects) = &self.objects {
            command.env("GIT_OBJECT_DIRECTORY", objects);
        }
        for setting in SETTINGS {
            command.args(["-c", setting]);
        }
        command
    }
}

/// A process that does not outlive its owner, nor does what it has started.
struct Running(Child);

impl Running {
    fn wait(&mut self, limit: Duration, stop: &AtomicBool) -> Result<ExitStatus, GitError> {
        let start = Instant::now();
        let mut pause = Duration::from_millis(1);
        loop {
            match self.0.try_wait() {
                Ok(Some(status)) => return Ok(status),
                Ok(None) if stop.load(Ordering::Relaxed) => return Err(GitError::Stopped),
                Ok(None) if start.elapsed() > limit => return Err(GitError::TooSlow(limit)),
                Ok(None) => thread::sleep(pause),
                Err(error) => return Err(GitError::Unavailable(error.to_string())),
            }
            pause = (pause * 2).min(Duration::from_millis(20));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Nothing to kill once it has been reaped: its number may be another's.
        if matches!(self.0.try_wait(), Ok(None)) {
            let _ = kill_process_group(Pid::from_child(&self.0), Signal::KILL);
            let _ = self.0.wait();
        }
    }
}

type Reader = thread::JoinHandle<Vec<u8>>;

/// Reads at most `limit` bytes. Git then ends, because nothing reads the rest.
fn collect(from: Option<impl Read + Send + 'static>, limit: u64) -> Reader {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(from) = from {
            let _ = from.take(limit).read_to_end(&mut bytes);
        }
        bytes
    })
}

/// What git and ssh said, as one line.
fn message(error: &[u8], status: ExitStatus) -> String {
    let text = String::from_utf8_lossy(error);
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with("hint:") && !line.starts_with("remote: Enumerating"))
        .map(|line| line.strip_prefix("fatal: ").or_else(|| line.strip_prefix("error: ")).unwrap_or(line))
        .collect();
    if lines.is_empty() {
        return format!("git ended with {status}");
    }
    let line = printable::escaped(&lines.join("; "));
    match line.char_indices().nth(LONGEST_MESSAGE) {
        Some((end, _)) => format!("{} …", &line[..end]),
        None => line,
    }
}

/// An empty repository for the objects of another one: nothing of the other one's settings is read.
pub(in crate::repository) fn empty_repository(directory: &Path, sha256: bool) -> io::Result<()> {
    use std::{fs, os::unix::fs::DirBuilderExt as _};
    for folder in ["objects", "refs"] {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(directory.join(folder))?;
    }
    let format = if sha256 { "[extensions]\n\tobjectFormat = sha256\n" } else { "" };
    let config = format!("[core]\n\trepositoryformatversion = {}\n\tbare = true\n{format}", u8::from(sha256));
    fs::write(directory.join("config"), config)?;
    fs::write(directory.join("HEAD"), "ref: refs/heads/none\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn git(directory: &Path) -> Git {
        Git { directory: directory.to_owned(), objects: None, insecure: false }
    }

    #[test]
    fn a_command_that_takes_too_long_or_is_not_wanted_any_more_is_killed() {
        let folder = tempfile::tempdir().unwrap();
        empty_repository(folder.path(), false).unwrap();
        // An alias of the command line, not of a repository.
        let sleep = ["-c", "alias.nap=!sleep 60", "nap"];
        let go_on = AtomicBool::new(false);
        let limit = Duration::from_millis(50);
        assert_eq!(git(folder.path()).run(&sleep, &[], limit, &go_on), Err(GitError::TooSlow(limit)));
        let stopped = git(folder.path()).run(&sleep, &[], Duration::from_secs(60), &AtomicBool::new(true));
        assert_eq!(stopped, Err(GitError::Stopped));
    }

    #[test]
    fn what_git_says_is_one_printable_line_of_bounded_length() {
        let folder = tempfile::tempdir().unwrap();
        empty_repository(folder.path(), false).unwrap();
        let say = ["-c", "alias.say=!printf 'fatal: a\\nb\\033[2J' >&2; exit 4 #", "say"];
        let error = git(folder.path()).run(&say, &[], Duration::from_secs(60), &AtomicBool::new(false)).unwrap_err();
        assert_eq!(error.to_string(), "a; b\\u{1b}[2J");
        let long = "x".repeat(2 * LONGEST_MESSAGE);
        assert_eq!(message(long.as_bytes(), ExitStatus::default()).chars().count(), LONGEST_MESSAGE + 2);
    }

    #[test]
    fn a_transport_that_runs_a_program_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        empty_repository(folder.path(), false).unwrap();
        let proof = folder.path().join("ran");
        let url = format!("ext::touch {}", proof.display());
        let error = git(folder.path())
            .run(&["fetch", &url], &[], Duration::from_secs(60), &AtomicBool::new(false))
            .unwrap_err();
        assert!(error.to_string().contains("not allowed"), "{error}");
        assert!(!proof.exists());
    }
}
