//! A copy of a remote repository on this host, as far as the policy needs it.

use std::{
    fs::{self, DirBuilder, File, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use filter_policy::language::printable;
use sha2::{Digest as _, Sha256};

use super::{
    Remote, Tree,
    command::{Git, GitError},
};

/// How long a fetch may take, if the repository has been fetched before; and the first time.
const FETCH_LIMIT: Duration = Duration::from_secs(120);
const FIRST_FETCH_LIMIT: Duration = Duration::from_secs(600);
/// How long a question to the local copy may take.
const LIMIT: Duration = Duration::from_secs(60);

/// The tip of what is followed, as it was fetched last.
const FETCHED: &str = "refs/ringfence/fetched";
/// The last commit that may come in force: with a signature, where one is asked for.
const ACCEPTED: &str = "refs/ringfence/accepted";

/// A copy of the remote repository.
#[derive(Debug)]
pub(super) struct Mirror {
    remote: Remote,
    git: Git,
}

/// A commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Commit {
    /// Its ID, hexadecimal.
    pub(super) id: String,
    /// When it was made, in seconds since 1970.
    pub(super) time: Option<i64>,
}

/// What a fetch found.
#[derive(Debug)]
pub(super) struct Fetched {
    /// The newest commit.
    pub(super) newest: Commit,
    /// Why it may not come in force, if it may not.
    pub(super) refused: Option<String>,
    /// The commit before, where that is not an ancestor: history was rewritten.
    pub(super) rewritten: Option<String>,
}

impl Mirror {
    /// The copy of this repository below `directory`. It is made, and closed to other users.
    pub(super) fn open(remote: Remote, directory: &Path) -> io::Result<Self> {
        let mut hash = Sha256::new();
        hash.update(remote.url.as_bytes());
        hash.update([0]);
        hash.update(remote.reference.name().as_bytes());
        let name: String = hash.finalize()[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        let directory = directory.join(format!("{name}.git"));
        DirBuilder::new().recursive(true).mode(0o700).create(&directory)?;
        close(&directory)?;
        let insecure = remote.allowed_signers.is_some();
        Ok(Self { remote, git: Git { directory, objects: None, insecure } })
    }

    /// The commit that may come in force, by what was fetched last. A signature is checked again: the keys may have changed.
    pub(super) fn accepted(&self, stop: &AtomicBool) -> Option<Commit> {
        let commit = self.commit(ACCEPTED, stop).ok()?;
        match self.verify(&commit.id, stop) {
            Ok(()) => Some(commit),
            Err(error) => {
                tracing::warn!("the commit that was fetched last is not used: {error}");
                None
            }
        }
    }

    /// Fetches what is new.
    pub(super) fn fetch(&self, stop: &AtomicBool) -> Result<Fetched, GitError> {
        let _lock = self.lock(stop)?;
        let is_first = !self.git.directory.join("HEAD").exists();
        if is_first {
            self.run(&["init", "--quiet", "--bare", "--template="], LIMIT, stop)?;
        }
        let refspec = format!("+{}:{FETCHED}", self.remote.reference.name());
        let mut arguments = self.ssh_settings(stop)?;
        arguments.extend(
            ["fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules", "--end-of-options"]
                .map(str::to_owned),
        );
        arguments.extend([self.remote.url.clone(), refspec]);
        let limit = if is_first { FIRST_FETCH_LIMIT } else { FETCH_LIMIT };
        self.git.run(&arguments, &[], limit, stop).map_err(|error| self.explained(error))?;

        let newest = self.commit(FETCHED, stop)?;
        let before = self.commit(ACCEPTED, stop).ok();
        if before.as_ref().is_some_and(|before| before.id == newest.id) {
            let refused = self.verify(&newest.id, stop).err().map(not_stopped).transpose()?;
            return Ok(Fetched { newest, refused, rewritten: None });
        }
        if let Err(error) = self.verify(&newest.id, stop) {
            return Ok(Fetched { newest, refused: Some(not_stopped(error)?), rewritten: None });
        }
        let rewritten = match before {
            // The old commit may be gone from the object store: then it is no ancestor either.
            Some(before) if !self.is_ancestor(&before.id, &newest.id, stop)? => Some(before.id),
            _ => None,
        };
        self.run(&["update-ref", ACCEPTED, &newest.id], LIMIT, stop)?;
        Ok(Fetched { newest, refused: None, rewritten })
    }

    /// The policy's files in a commit.
    pub(super) fn tree(&self, commit: &str) -> Tree {
        Tree::new(self.git.clone(), commit.to_owned(), self.remote.path.clone().unwrap_or_default())
    }

    /// Where the copy is.
    pub(super) fn directory(&self) -> &Path {
        &self.git.directory
    }

    /// That ssh asks nothing, unless the user has said how it is to be started.
    fn ssh_settings(&self, stop: &AtomicBool) -> Result<Vec<String>, GitError> {
        let is_set = ["GIT_SSH_COMMAND", "GIT_SSH"].iter().any(|name| std::env::var_os(name).is_some())
            || self.git.test(&["config", "--get", "core.sshCommand"], LIMIT, stop)?;
        let setting = ["-c", "core.sshCommand=ssh -o BatchMode=yes -o ConnectTimeout=20"].map(str::to_owned);
        Ok(if is_set { Vec::new() } else { setting.into() })
    }

    /// Checks that a commit is signed by an allowed key, if that is asked for.
    fn verify(&self, commit: &str, stop: &AtomicBool) -> Result<(), GitError> {
        let Some(signers) = &self.remote.allowed_signers else { return Ok(()) };
        let unsigned = |reason: String| {
            let (signers, commit) = (printable::path(signers), &commit[..12]);
            GitError::Failed(format!("commit {commit} is not signed by a key in {signers}: {reason}"))
        };
        match fs::metadata(signers) {
            Ok(facts) if facts.is_file() => {}
            Ok(_) => return Err(unsigned("that is not a regular file".to_owned())),
            Err(error) => return Err(unsigned(format!("the file cannot be read: {error}"))),
        }
        let file = format!("gpg.ssh.allowedSignersFile={}", signers.display());
        let verify = [
            "-c",
            &file,
            // Only what that file says counts: no key of another kind, and no key that it does not name.
            "-c",
            "gpg.minTrustLevel=fully",
            "-c",
            "gpg.ssh.program=ssh-keygen",
            "-c",
            "gpg.program=false",
            "-c",
            "gpg.openpgp.program=false",
            "-c",
            "gpg.x509.program=false",
            "verify-commit",
            commit,
        ];
        self.run(&verify, LIMIT, stop).map(drop).map_err(|error| match error {
            GitError::Failed(text) if text.starts_with("git ended with") => unsigned("it has no signature".to_owned()),
            GitError::Failed(text) => unsigned(text),
            GitError::Stopped | GitError::TooLarge(_) | GitError::TooSlow(_) | GitError::Unavailable(_) => error,
        })
    }

    fn is_ancestor(&self, old: &str, new: &str, stop: &AtomicBool) -> Result<bool, GitError> {
        match self.git.test(&["merge-base", "--is-ancestor", old, new], LIMIT, stop) {
            Err(GitError::Failed(_)) => Ok(false),
            result => result,
        }
    }

    /// The commit that a reference names.
    fn commit(&self, name: &str, stop: &AtomicBool) -> Result<Commit, GitError> {
        let answer = self.run(&["rev-parse", "--verify", "--quiet", &format!("{name}^{{commit}}")], LIMIT, stop)?;
        let id = String::from_utf8_lossy(&answer).trim().to_owned();
        if !(matches!(id.len(), 40 | 64) && id.bytes().all(|byte| byte.is_ascii_hexdigit())) {
            return Err(GitError::Failed(format!("{name} is not a commit")));
        }
        let text = self.run(&["cat-file", "commit", &id], LIMIT, stop)?;
        Ok(Commit { time: committed(&String::from_utf8_lossy(&text)), id })
    }

    fn run(&self, arguments: &[&str], limit: Duration, stop: &AtomicBool) -> Result<Vec<u8>, GitError> {
        self.git.run(arguments, &[], limit, stop)
    }

    /// Two daemons that follow the same branch share the copy.
    fn lock(&self, stop: &AtomicBool) -> Result<File, GitError> {
        let failed = |error: io::Error| GitError::Failed(format!("{}: {error}", self.git.directory.display()));
        let file = File::create(self.git.directory.join("ringfence.lock")).map_err(failed)?;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::Error(error)) => return Err(failed(error)),
                Err(TryLockError::WouldBlock) if stop.load(Ordering::Relaxed) => return Err(GitError::Stopped),
                Err(TryLockError::WouldBlock) => thread::sleep(Duration::from_millis(50)),
            }
        }
    }

    /// An error of a fetch in words that do not need git's, and without the password in the URL.
    fn explained(&self, error: GitError) -> GitError {
        let GitError::Failed(text) = error else { return error };
        let shown = self.remote.shown_url();
        if text.contains("couldn't find remote ref") {
            return GitError::Failed(format!("there is no {} in the repository", self.remote.reference));
        }
        GitError::Failed(text.replace(&printable::escaped(&self.remote.url), &shown))
    }
}

/// An end of the daemon says nothing about a commit.
fn not_stopped(error: GitError) -> Result<String, GitError> {
    if error == GitError::Stopped { Err(error) } else { Ok(error.to_string()) }
}

/// When a commit was made.
fn committed(text: &str) -> Option<i64> {
    let line = text.lines().take_while(|line| !line.is_empty()).find(|line| line.starts_with("committer "))?;
    line.rsplit(' ').nth(1)?.parse().ok()
}

/// Closes a directory to other users. One that belongs to another user cannot be trusted: its settings would be read.
fn close(directory: &Path) -> io::Result<()> {
    let facts = fs::symlink_metadata(directory)?;
    let own = rustix::process::geteuid().as_raw();
    if !facts.is_dir() || facts.uid() != own {
        let message = format!("{} must be a directory of the user that runs ringfence", directory.display());
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, message));
    }
    if facts.mode() & 0o077 != 0 {
        fs::set_permissions(directory, fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}

/// Where the copies are in the state directory.
pub(super) fn directory_in(state: &Path) -> PathBuf {
    state.join("policy")
}
