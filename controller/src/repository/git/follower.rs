//! Follows a remote repository in a thread of its own.

use std::{
    io,
    path::Path,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use jiff::Timestamp;

use super::{
    Remote, Tree,
    command::GitError,
    mirror::{Commit, Fetched, Mirror, directory_in},
};
use crate::telemetry::{Notice, SourceError, SourceRestored, SourceRewritten, SourceStatus};

/// How long one wait of the thread is at most: the time in which it notices an end.
const PATIENCE: Duration = Duration::from_secs(3600);

/// A thread that fetches, and what it has found. Dropping the last owner ends it.
#[derive(Debug)]
pub(in crate::repository) struct Follower {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    remote: Remote,
    mirror: Mirror,
    state: Mutex<State>,
    changed: Condvar,
    stop: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    /// The newest commit that may come in force.
    accepted: Option<Commit>,
    /// The newest commit of all.
    newest: Option<Commit>,
    /// When the remote repository last answered.
    fetched: Option<Timestamp>,
    /// What went wrong the last time.
    failure: Option<Failure>,
    /// Looks that were asked for, and that are done.
    asked: u64,
    done: u64,
    /// What has not been reported.
    notices: Vec<Notice>,
}

#[derive(Clone, Debug)]
struct Failure {
    message: String,
    since: Timestamp,
}

impl Follower {
    /// Begins to follow a repository, with what an earlier process has fetched. `state` is the state directory.
    pub(in crate::repository) fn start(remote: Remote, state: &Path) -> io::Result<Self> {
        let mirror = Mirror::open(remote.clone(), &directory_in(state))?;
        let stop = AtomicBool::new(false);
        let accepted = mirror.accepted(&stop);
        let state = State { newest: accepted.clone(), accepted, asked: 1, ..State::default() };
        let shared = Arc::new(Shared { remote, mirror, state: Mutex::new(state), changed: Condvar::new(), stop });
        let thread = Arc::clone(&shared);
        thread::Builder::new().name("git".to_owned()).spawn(move || thread.follow())?;
        Ok(Self { shared })
    }

    /// Looks now, and waits for the end of that look.
    pub(in crate::repository) fn refresh(&self) -> Result<(), SourceError> {
        let mut state = self.shared.lock();
        state.asked += 1;
        let round = state.asked;
        self.shared.changed.notify_all();
        while state.done < round && !self.shared.has_stopped() {
            state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let stopped = (state.done < round).then(|| GitError::Stopped.to_string());
        match stopped.or_else(|| state.failure.as_ref().map(|failure| failure.message.clone())) {
            Some(message) => Err(self.shared.error(&state, message)),
            None => Ok(()),
        }
    }

    /// Waits until a commit can be read, or the first look has failed.
    pub(in crate::repository) fn await_first(&self) {
        let mut state = self.shared.lock();
        while state.accepted.is_none() && state.done == 0 && !self.shared.has_stopped() {
            state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The newest commit that may come in force, with its files; otherwise why there is none.
    pub(in crate::repository) fn commit(&self) -> Result<(String, Tree), String> {
        let state = self.shared.lock();
        match (&state.accepted, &state.failure) {
            (Some(commit), _) => Ok((commit.id.clone(), self.shared.mirror.tree(&commit.id))),
            (None, Some(failure)) => Err(failure.message.clone()),
            (None, None) => Err("nothing has been fetched yet".to_owned()),
        }
    }

    /// The ID of the newest commit that may come in force.
    pub(in crate::repository) fn id(&self) -> Option<String> {
        self.shared.lock().accepted.as_ref().map(|commit| commit.id.clone())
    }

    /// What has happened since the last call.
    pub(in crate::repository) fn notices(&self) -> Vec<Notice> {
        std::mem::take(&mut self.shared.lock().notices)
    }

    /// How it is.
    pub(in crate::repository) fn status(&self) -> SourceStatus {
        let state = self.shared.lock();
        let remote = &self.shared.remote;
        SourceStatus {
            url: remote.shown_url(),
            reference: remote.reference.to_string(),
            path: remote.path.as_ref().map(|path| path.display().to_string()),
            commit: state.newest.as_ref().map(|commit| commit.id.clone()),
            committed: state
                .newest
                .as_ref()
                .and_then(|commit| Timestamp::from_second(commit.time?).ok())
                .map(|time| format!("{time:.0}")),
            fetched: state.fetched.map(|time| format!("{time:.3}")),
            age: state.fetched.map(|time| Timestamp::now().duration_since(time).as_secs().unsigned_abs()),
            error: state.failure.as_ref().map(|failure| failure.message.clone()),
            failing_since: state.failure.as_ref().map(|failure| format!("{:.3}", failure.since)),
        }
    }

    /// Ends the thread and whatever git does for it.
    pub(in crate::repository) fn stop(&self) {
        // With the lock: whoever is about to wait sees it, or is woken.
        let _state = self.shared.lock();
        self.shared.stop.store(true, Ordering::Relaxed);
        self.shared.changed.notify_all();
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn follow(&self) {
        let mut last = Instant::now();
        loop {
            let mut state = self.lock();
            while state.asked == state.done && !self.has_stopped() && last.elapsed() < self.remote.poll {
                let left = self.remote.poll.saturating_sub(last.elapsed()).min(PATIENCE);
                state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
            }
            if self.has_stopped() {
                return;
            }
            let round = state.asked;
            drop(state);
            let result = self.mirror.fetch(&self.stop);
            last = Instant::now();
            if result.as_ref().err() == Some(&GitError::Stopped) {
                return;
            }
            let mut state = self.lock();
            self.record(&mut state, result);
            state.done = round;
            self.changed.notify_all();
        }
    }

    fn record(&self, state: &mut State, result: Result<Fetched, GitError>) {
        let message = match result {
            Ok(Fetched { newest, refused, rewritten }) => {
                state.fetched = Some(Timestamp::now());
                state.newest = Some(newest.clone());
                if refused.is_none() {
                    if let Some(from) = rewritten {
                        state.notices.push(Notice::SourceRewritten(SourceRewritten {
                            source: self.remote.to_string(),
                            reference: self.remote.reference.to_string(),
                            from,
                            to: newest.id.clone(),
                        }));
                    }
                    state.accepted = Some(newest);
                }
                refused
            }
            Err(error) => Some(format!("failed to fetch: {error}{}", self.advice(&error))),
        };
        let Some(message) = message else {
            if state.failure.take().is_some() {
                let commit = state.accepted.as_ref().map(|commit| commit.id.clone());
                let restored = SourceRestored { source: self.remote.to_string(), commit };
                state.notices.push(Notice::SourceRestored(restored));
            }
            return;
        };
        let since = state.failure.as_ref().map_or_else(Timestamp::now, |failure| failure.since);
        let is_new = state.failure.as_ref().is_none_or(|failure| failure.message != message);
        state.failure = Some(Failure { message: message.clone(), since });
        if is_new {
            let notice = Notice::SourceError(self.error(state, message));
            state.notices.push(notice);
        }
    }

    fn error(&self, state: &State, message: String) -> SourceError {
        let commit = state.accepted.as_ref().map(|commit| commit.id.clone());
        SourceError { source: self.remote.to_string(), message, commit }
    }

    /// How to fix a broken copy.
    fn advice(&self, error: &GitError) -> String {
        let text = error.to_string();
        let is_broken = ["corrupt", "bad object", "not a git repository", "unable to read"];
        if is_broken.iter().any(|words| text.contains(words)) {
            format!("; if it stays so, remove {} and it is fetched again", self.mirror.directory().display())
        } else {
            String::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf, process::Command};

    use filter_policy::files::Files as _;

    use super::*;
    use crate::repository::git::Reference;

    /// A repository, a bare one that it is pushed to, and a state directory.
    struct Scene {
        folder: tempfile::TempDir,
    }

    impl Scene {
        fn new() -> Self {
            let scene = Self { folder: tempfile::tempdir().unwrap() };
            scene.git(scene.folder.path(), &["init", "--quiet", "--bare", "remote.git"]);
            scene.git(scene.folder.path(), &["init", "--quiet", "--initial-branch=main", "work"]);
            scene
        }

        fn at(&self, name: &str) -> PathBuf {
            self.folder.path().join(name)
        }

        fn git(&self, directory: &Path, arguments: &[&str]) -> String {
            let mut command = Command::new("git");
            command.current_dir(directory).env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_SYSTEM", "/dev/null");
            for (name, value) in [("AUTHOR", "a"), ("COMMITTER", "c")] {
                command.env(format!("GIT_{name}_NAME"), value).env(format!("GIT_{name}_EMAIL"), "x@example.net");
            }
            let output = command.args(arguments).output().unwrap();
            assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).unwrap().trim().to_owned()
        }

        /// Commits a file, and pushes.
        fn push(&self, name: &str, content: &str, options: &[&str]) -> String {
            let work = self.at("work");
            fs::create_dir_all(work.join(name).parent().unwrap()).unwrap();
            fs::write(work.join(name), content).unwrap();
            self.publish(options)
        }

        /// Commits and pushes the working copy.
        fn publish(&self, options: &[&str]) -> String {
            let work = self.at("work");
            self.git(&work, &["add", "--all"]);
            let commit = [&["commit", "--quiet", "--allow-empty", "--message=x"], options].concat();
            self.git(&work, &commit);
            self.git(&work, &["push", "--quiet", "--force", "../remote.git", "HEAD:refs/heads/main"]);
            self.git(&work, &["rev-parse", "HEAD"])
        }

        fn remote(&self) -> Remote {
            Remote {
                poll: Duration::from_secs(3600),
                ..Remote::new(format!("file://{}", self.at("remote.git").display()))
            }
        }

        fn follow(&self, remote: Remote) -> Follower {
            let follower = Follower::start(remote, &self.at("state")).unwrap();
            follower.await_first();
            follower
        }
    }

    fn read(follower: &Follower, path: &str) -> Result<String, String> {
        let (_, tree) = follower.commit()?;
        let content = tree.read(Path::new(path), 1_000).map_err(|error| error.to_string())?;
        Ok(String::from_utf8(content.into_owned()).unwrap())
    }

    #[test]
    fn a_pushed_commit_is_read_after_a_look_and_an_earlier_one_stays_readable() {
        let scene = Scene::new();
        let first = scene.push("list.txt", "1\n", &[]);
        let follower = scene.follow(scene.remote());
        assert_eq!(follower.commit().map(|(id, _)| id), Ok(first));
        let (_, old) = follower.commit().unwrap();
        let second = scene.push("list.txt", "2\n", &[]);
        follower.refresh().unwrap();
        assert_eq!((follower.id(), read(&follower, "./list.txt").as_deref()), (Some(second), Ok("2\n")));
        assert_eq!(&*old.read(Path::new("list.txt"), 1_000).unwrap(), b"1\n", "a commit's files never change");
        assert!(follower.notices().is_empty());
        let status = follower.status();
        assert_eq!((status.reference.as_str(), &status.error), ("branch main", &None));
        assert!(status.fetched.is_some() && status.committed.is_some(), "{status:?}");
    }

    #[test]
    fn links_inside_the_repository_are_followed_and_those_that_leave_it_are_errors() {
        use std::os::unix::fs::symlink;
        let scene = Scene::new();
        scene.push("shared/list.txt", "1\n", &[]);
        let edge = scene.at("work").join("edges/fra1");
        fs::create_dir_all(&edge).unwrap();
        symlink("../../shared/list.txt", edge.join("inside")).unwrap();
        symlink("/etc/passwd", edge.join("absolute")).unwrap();
        symlink("../../../../etc/passwd", edge.join("above")).unwrap();
        symlink("self", edge.join("self")).unwrap();
        scene.publish(&[]);
        let follower = scene.follow(Remote { path: Some("edges/fra1".into()), ..scene.remote() });
        assert_eq!(read(&follower, "inside").as_deref(), Ok("1\n"));
        for leaving in ["absolute", "above"] {
            assert_eq!(read(&follower, leaving), Err("a symbolic link leads out of the repository".to_owned()));
        }
        assert!(read(&follower, "self").is_err());
        assert_eq!(read(&follower, "none.txt"), Err("no such file in the commit".to_owned()));
        assert_eq!(follower.commit().unwrap().1.names().len(), 4);
    }

    #[test]
    fn a_rewritten_branch_is_accepted_and_reported_once() {
        let scene = Scene::new();
        scene.push("list.txt", "1\n", &[]);
        let from = scene.push("list.txt", "2\n", &[]);
        let follower = scene.follow(scene.remote());
        let to = scene.push("list.txt", "3\n", &["--amend"]);
        follower.refresh().unwrap();
        assert_eq!(read(&follower, "list.txt").as_deref(), Ok("3\n"));
        let notices = follower.notices();
        let [Notice::SourceRewritten(notice)] = notices.as_slice() else { panic!("{notices:?}") };
        assert_eq!((&notice.from, &notice.to), (&from, &to));
        follower.refresh().unwrap();
        assert!(follower.notices().is_empty());
    }

    #[test]
    fn while_the_remote_is_gone_or_lacks_the_branch_the_last_commit_stays_and_the_error_is_reported_once() {
        let scene = Scene::new();
        let commit = scene.push("list.txt", "1\n", &[]);
        let follower = scene.follow(scene.remote());
        fs::rename(scene.at("remote.git"), scene.at("away.git")).unwrap();
        for _ in 0..2 {
            let error = follower.refresh().unwrap_err();
            assert!(error.message.starts_with("failed to fetch: "), "{error:?}");
            assert_eq!(error.commit.as_ref(), Some(&commit));
        }
        assert!(matches!(follower.notices().as_slice(), [Notice::SourceError(_)]));
        assert_eq!(read(&follower, "list.txt").as_deref(), Ok("1\n"));
        assert!(follower.status().failing_since.is_some());

        fs::rename(scene.at("away.git"), scene.at("remote.git")).unwrap();
        follower.refresh().unwrap();
        assert!(matches!(follower.notices().as_slice(), [Notice::SourceRestored(_)]));
        scene.git(&scene.at("remote.git"), &["update-ref", "-d", "refs/heads/main"]);
        let error = follower.refresh().unwrap_err();
        assert_eq!(error.message, "failed to fetch: there is no branch main in the repository");
        assert_eq!(follower.id(), Some(commit));
    }

    #[test]
    fn a_remote_whose_objects_are_broken_changes_nothing() {
        let scene = Scene::new();
        let commit = scene.push("list.txt", "1\n", &[]);
        let follower = scene.follow(scene.remote());
        scene.push("list.txt", "2\n", &[]);
        let blob = scene.git(&scene.at("work"), &["rev-parse", "HEAD:list.txt"]);
        let object = scene.at("remote.git").join("objects").join(&blob[..2]).join(&blob[2..]);
        fs::remove_file(&object).unwrap();
        fs::write(&object, "rubbish").unwrap();
        assert!(follower.refresh().is_err());
        assert_eq!((follower.id(), read(&follower, "list.txt").as_deref()), (Some(commit), Ok("1\n")));
    }

    #[test]
    fn without_the_network_a_start_uses_the_commit_that_was_fetched_last() {
        let scene = Scene::new();
        let commit = scene.push("list.txt", "1\n", &[]);
        drop(scene.follow(scene.remote()));
        fs::remove_dir_all(scene.at("remote.git")).unwrap();
        let follower = scene.follow(scene.remote());
        assert_eq!((follower.id(), read(&follower, "list.txt").as_deref()), (Some(commit), Ok("1\n")));
        let other = Remote { reference: Reference::Branch("other".to_owned()), ..scene.remote() };
        assert!(scene.follow(other).commit().is_err(), "that was another branch");
    }

    #[test]
    fn the_copy_is_closed_to_other_users() {
        use std::os::unix::fs::MetadataExt as _;
        let scene = Scene::new();
        scene.push("list.txt", "1\n", &[]);
        let follower = scene.follow(scene.remote());
        let directory = follower.shared.mirror.directory();
        for path in [directory, directory.parent().unwrap()] {
            assert_eq!(fs::metadata(path).unwrap().mode() & 0o777, 0o700, "{}", path.display());
        }
    }

    #[test]
    fn nothing_of_a_repository_is_executed() {
        let scene = Scene::new();
        let proof = scene.at("ran");
        let work = scene.at("work");
        fs::write(work.join(".gitattributes"), "* filter=run diff=run\n").unwrap();
        let modules = format!("[submodule \"x\"]\n\tpath = x\n\turl = ext::touch {}\n", proof.display());
        fs::write(work.join(".gitmodules"), modules).unwrap();
        fs::write(work.join("list.txt"), "1\n").unwrap();
        scene.git(&work, &["add", "--all"]);
        let empty = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";
        scene.git(&work, &["update-index", "--add", "--cacheinfo", &format!("160000,{empty},x")]);
        scene.git(&work, &["commit", "--quiet", "--message=x"]);
        scene.git(&work, &["push", "--quiet", "../remote.git", "HEAD:refs/heads/main"]);
        let follower = scene.follow(scene.remote());
        // Hooks that someone has put into the copy do not run either.
        let hooks = follower.shared.mirror.directory().join("hooks");
        fs::create_dir_all(&hooks).unwrap();
        let hook = hooks.join("reference-transaction");
        fs::write(&hook, format!("#!/bin/sh\ntouch {}\n", proof.display())).unwrap();
        fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        scene.git(&work, &["commit", "--quiet", "--allow-empty", "--message=y"]);
        scene.git(&work, &["push", "--quiet", "../remote.git", "HEAD:refs/heads/main"]);
        let _ = follower.refresh();
        assert_eq!(read(&follower, "list.txt").as_deref(), Ok("1\n"));
        assert!(read(&follower, "x").is_err(), "a submodule is not a file");
        assert!(!proof.exists());
    }

    /// A key, and its line for a file of allowed signers.
    fn key(scene: &Scene, name: &str) -> String {
        let path = scene.at(name);
        let made =
            Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f"]).arg(&path).status();
        assert!(made.unwrap().success());
        format!("{name}@example.net {}", fs::read_to_string(path.with_extension("pub")).unwrap())
    }

    #[test]
    fn only_commits_signed_by_an_allowed_key_count() {
        let scene = Scene::new();
        let (good, _) = (key(&scene, "good"), key(&scene, "bad"));
        let signers = scene.at("allowed_signers");
        fs::write(&signers, good).unwrap();
        let work = scene.at("work");
        scene.git(&work, &["config", "gpg.format", "ssh"]);
        let sign = |key: &str| format!("--gpg-sign={}", scene.at(key).display());
        let remote = Remote { allowed_signers: Some(signers.clone()), ..scene.remote() };
        let signed = scene.push("list.txt", "1\n", &[&sign("good")]);
        let follower = scene.follow(remote.clone());
        assert_eq!((follower.id(), follower.status().error), (Some(signed.clone()), None));

        for (content, options) in [("2\n", vec![]), ("3\n", vec![sign("bad")])] {
            let options: Vec<&str> = options.iter().map(String::as_str).collect();
            let newest = scene.push("list.txt", content, &options);
            let error = follower.refresh().unwrap_err();
            let expected = format!("commit {} is not signed by a key in {}", &newest[..12], signers.display());
            assert!(error.message.contains(&expected), "{error:?}");
            assert_eq!((follower.id().as_ref(), follower.status().commit), (Some(&signed), Some(newest)));
        }
        let again = scene.push("list.txt", "4\n", &[&sign("good")]);
        follower.refresh().unwrap();
        assert_eq!(follower.id(), Some(again));
        drop(follower);

        // A key that has been removed from the file: what was fetched before does not count any more.
        fs::write(&signers, "").unwrap();
        assert!(scene.follow(remote).commit().is_err());
    }

    #[test]
    fn an_end_does_not_wait_for_a_remote_that_does_not_answer() {
        let scene = Scene::new();
        // It accepts connections, and says nothing.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("https://{}/policy.git", listener.local_addr().unwrap());
        let follower = Arc::new(Follower::start(Remote::new(url), &scene.at("state")).unwrap());
        let waiting = Arc::clone(&follower);
        let refresh = thread::spawn(move || waiting.refresh());
        let connected = listener.accept();
        follower.stop();
        let error = refresh.join().unwrap().unwrap_err();
        assert_eq!(error.message, "the daemon is ending");
        drop(connected);
    }
}
