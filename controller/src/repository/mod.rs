//! Where the policy comes from, and how a change of it is noticed.

mod commit;
mod fingerprint;
mod git;
mod history;
mod snapshot;
mod watch;

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use self::{commit::Head, git::Follower};
pub use self::{
    fingerprint::Fingerprint,
    git::{
        DEFAULT_BRANCH, DEFAULT_POLL, LONGEST_POLL, Reference, Remote, path_mistake, reference_mistake, url_mistake,
    },
    history::{Entry, History, KEPT, Kept},
    snapshot::{Contents, Reading, Snapshot},
    watch::{LOOK_INTERVAL, Watch},
};
use crate::telemetry::{Notice, SourceError, SourceStatus};

/// Where the daemon keeps what it needs across restarts, unless another directory is named.
pub const DEFAULT_STATE: &str = "/var/lib/ringfence";

/// Where the policy comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A policy repository on disk.
    Directory(PathBuf),
    /// A policy in a git repository elsewhere.
    Git(Remote),
    /// The sample policy inside the binary.
    Sample,
}

impl Source {
    /// The directory, for messages that name files.
    #[must_use]
    pub fn directory(&self) -> Option<&Path> {
        match self {
            Self::Directory(directory) => Some(directory),
            Self::Git(_) | Self::Sample => None,
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(directory) => directory.display().fmt(f),
            Self::Git(remote) => remote.fmt(f),
            Self::Sample => f.write_str("the sample policy"),
        }
    }
}

/// A source that is in use. Clones share it, so that what one of them sees the others see.
#[derive(Clone, Debug)]
pub struct Repository {
    source: Source,
    /// For a policy elsewhere.
    follower: Option<Arc<Follower>>,
    /// Where views of other repositories' objects are kept.
    views: PathBuf,
}

impl Repository {
    /// Opens a source. A policy elsewhere is fetched from now on, by a thread. `state` is the state directory.
    ///
    /// # Errors
    /// There is no place for a copy of the repository.
    pub fn open(source: Source, state: &Path) -> io::Result<Self> {
        // Git works in a directory of its own.
        let state = std::path::absolute(state)?;
        let follower = match &source {
            Source::Git(remote) => Some(Arc::new(Follower::start(remote.clone(), &state)?)),
            Source::Directory(_) | Source::Sample => None,
        };
        Ok(Self { source, follower, views: state.join("policy") })
    }

    /// Where the policy comes from.
    #[must_use]
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// Waits until there is something to read, or the first attempt to fetch it has failed.
    pub fn await_first(&self) {
        if let Some(follower) = &self.follower {
            follower.await_first();
        }
    }

    /// Looks for a newer commit now, and waits until that is done. A directory is always as new as it can be.
    ///
    /// # Errors
    /// It cannot be fetched, or may not come in force.
    pub fn refresh(&self) -> Result<(), SourceError> {
        self.follower.as_ref().map_or(Ok(()), |follower| follower.refresh())
    }

    /// Its state now.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        match (&self.source, &self.follower) {
            (Source::Directory(directory), _) => {
                Snapshot::of_directory(directory, Head::of(directory, Some(&self.views)))
            }
            (Source::Git(_), Some(follower)) => match follower.commit() {
                Ok((commit, tree)) => Snapshot::of_commit(commit, tree),
                Err(reason) => Snapshot::missing(reason),
            },
            (Source::Git(_), None) => Snapshot::missing("nothing has been fetched yet".to_owned()),
            (Source::Sample, _) => Snapshot::sample(),
        }
    }

    /// What it looks like now.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        match (&self.source, &self.follower) {
            (Source::Directory(directory), _) => Fingerprint::of(directory),
            (Source::Git(_), Some(follower)) => Fingerprint::of_commit(follower.id().as_deref()),
            (Source::Git(_), None) | (Source::Sample, _) => Fingerprint::CONSTANT,
        }
    }

    /// The newest commit that may come in force, as far as is known without reading anything.
    #[must_use]
    pub fn newest(&self) -> Option<String> {
        match (&self.source, &self.follower) {
            (_, Some(follower)) => follower.id(),
            (Source::Directory(directory), None) => Head::of(directory, None).map(|head| head.commit),
            (Source::Git(_) | Source::Sample, None) => None,
        }
    }

    /// What there is to report since the last call.
    #[must_use]
    pub fn notices(&self) -> Vec<Notice> {
        self.follower.as_ref().map_or_else(Vec::new, |follower| follower.notices())
    }

    /// How a repository elsewhere is; none for other sources.
    #[must_use]
    pub fn status(&self) -> Option<SourceStatus> {
        self.follower.as_ref().map(|follower| follower.status())
    }

    /// Ends what is at work for it.
    pub fn stop(&self) {
        if let Some(follower) = &self.follower {
            follower.stop();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::MetadataExt as _, process::Command};

    use filter_policy::{
        BuildCache,
        bounds::{Bounds, Cancel},
        files::Files as _,
    };

    use super::*;

    fn repository(directory: &Path) -> Repository {
        let state = directory.join(".state");
        Repository::open(Source::Directory(directory.to_owned()), &state).unwrap()
    }

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    #[test]
    fn a_file_replaced_by_rename_changes_the_fingerprint() {
        let folder = folder();
        fs::create_dir(folder.path().join("lists")).unwrap();
        fs::write(folder.path().join("lists/a.txt"), "192.0.2.1\n").unwrap();
        let source = repository(folder.path());
        let before = source.fingerprint();
        assert_eq!(before, source.fingerprint());
        fs::write(folder.path().join("lists/.new"), "192.0.2.2\n").unwrap();
        assert_eq!(before, source.fingerprint(), "hidden files do not count");
        fs::rename(folder.path().join("lists/.new"), folder.path().join("lists/a.txt")).unwrap();
        assert_ne!(before, source.fingerprint());
    }

    #[test]
    fn a_list_changed_in_place_is_noticed_though_its_length_and_its_time_stay() {
        let folder = folder();
        let list = folder.path().join("list.txt");
        fs::write(&list, "192.0.2.1\n").unwrap();
        let source = repository(folder.path());
        let before = (source.fingerprint(), fs::metadata(&list).unwrap());
        // Longer than the tick of the kernel, the resolution of file times.
        std::thread::sleep(std::time::Duration::from_millis(20));
        fs::write(&list, "192.0.2.2\n").unwrap();
        fs::File::options().append(true).open(&list).unwrap().set_modified(before.1.modified().unwrap()).unwrap();
        let facts = fs::metadata(&list).unwrap();
        assert_eq!((facts.len(), facts.mtime_nsec()), (before.1.len(), before.1.mtime_nsec()));
        assert_ne!(source.fingerprint(), before.0);
    }

    #[test]
    fn the_commit_is_found_from_a_folder_inside_the_repository() {
        let folder = folder();
        let git = folder.path().join(".git");
        fs::create_dir_all(git.join("refs/heads")).unwrap();
        fs::create_dir(folder.path().join("policies")).unwrap();
        fs::write(git.join("HEAD"), "ref: refs/heads/main\n").unwrap();
        fs::write(git.join("packed-refs"), format!("# pack-refs\n{} refs/heads/main\n", "a".repeat(40))).unwrap();
        let commit = || Head::of(&folder.path().join("policies"), None).map(|head| head.commit);
        assert_eq!(commit(), Some("a".repeat(40)));
        fs::write(git.join("refs/heads/main"), format!("{}\n", "b".repeat(40))).unwrap();
        assert_eq!(commit(), Some("b".repeat(40)), "a loose reference wins over a packed one");
    }

    const POLICY: &str = "version = 1\ndefault = \"pass\"\n[network]\nudp = [5060]\n[numbering]\ncountry_code = \"1\"\n\
                          international_prefix = \"011\"\n[sets.bad]\naddresses = \"bad.txt\"\n[[rule]]\nname = \"bad\"\n\
                          match.source = \"@bad\"\naction = \"drop\"\n";

    /// A policy and a README, in a directory.
    fn policy(directory: &Path) {
        for (name, content) in [("policy.toml", POLICY), ("bad.txt", "192.0.2.1\n"), ("README.md", "x\n")] {
            fs::write(directory.join(name), content).unwrap();
        }
    }

    #[test]
    fn contents_are_those_of_the_files_that_the_policy_uses() {
        let folder = folder();
        policy(folder.path());
        let repository = repository(folder.path());
        let Reading { built, contents, .. } =
            repository.snapshot().read(&Bounds::default(), &mut BuildCache::default(), None);
        assert!(built.is_ok());
        assert!(repository.snapshot().has(&contents, &Bounds::default()));
        fs::write(folder.path().join("README.md"), "y\n").unwrap();
        fs::write(folder.path().join("bad.txt"), "192.0.2.1\n").unwrap();
        assert!(
            repository.snapshot().has(&contents, &Bounds::default()),
            "a README, and a list that was saved as it was"
        );
        fs::write(folder.path().join("bad.txt"), "192.0.2.2\n").unwrap();
        assert!(!repository.snapshot().has(&contents, &Bounds::default()));
        fs::remove_file(folder.path().join("bad.txt")).unwrap();
        let missing = repository.snapshot().read(&Bounds::default(), &mut BuildCache::default(), None).contents;
        assert!(repository.snapshot().has(&missing, &Bounds::default()), "still missing");
        fs::write(folder.path().join("bad.txt"), "192.0.2.1\n").unwrap();
        assert!(
            !repository.snapshot().has(&missing, &Bounds::default())
                && repository.snapshot().has(&contents, &Bounds::default())
        );
    }

    #[test]
    fn a_commit_is_marked_if_a_file_of_the_policy_is_not_as_it_is_in_the_commit() {
        let folder = folder();
        let git = |arguments: &[&str]| {
            let settings = ["-c", "user.name=x", "-c", "user.email=x@example.net", "-c", "core.fsmonitor=false"];
            let output =
                Command::new("git").current_dir(folder.path()).args(settings).args(arguments).output().unwrap();
            assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        };
        let directory = folder.path().join("edge");
        fs::create_dir(&directory).unwrap();
        policy(&directory);
        git(&["init", "--quiet"]);
        git(&["add", "edge/policy.toml", "edge/bad.txt", "edge/README.md"]);
        git(&["commit", "--quiet", "--message=x"]);
        // A setting that would make `git status` run a program.
        let proof = folder.path().join("ran");
        git(&["config", "core.fsmonitor", &format!("touch {}", proof.display())]);
        let repository = repository(&directory);
        let commit = || {
            let snapshot = repository.snapshot();
            let contents = snapshot.read(&Bounds::default(), &mut BuildCache::default(), None).contents;
            snapshot.commit(&contents, &Bounds::default()).unwrap()
        };
        let clean = commit();
        assert_eq!(clean.len(), 40);
        fs::write(directory.join("README.md"), "y\n").unwrap();
        assert_eq!(commit(), clean, "the policy does not use it");
        fs::write(directory.join("bad.txt"), "192.0.2.2\n").unwrap();
        assert_eq!(commit(), format!("{clean}-dirty"));
        git(&["commit", "--quiet", "--all", "--message=y"]);
        assert_eq!(commit().len(), 40);
        assert!(!proof.exists());
        // A file of a commit is read up to the limit, as one in a directory is.
        let head = Head::of(&directory, Some(&directory.join(".state/policy"))).unwrap();
        let tree = head.tree(&Cancel::default()).unwrap();
        let read = |limit| tree.read(Path::new("bad.txt"), limit).map(std::borrow::Cow::into_owned);
        assert_eq!(read(10).unwrap(), b"192.0.2.2\n");
        assert_eq!(read(9).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        let cancel = Cancel::default();
        cancel.cancel();
        assert!(head.tree(&cancel).is_none_or(|tree| tree.read(Path::new("bad.txt"), 10).is_err()), "it is not wanted");
        assert_eq!(commit::dirty(&"a".repeat(64)).len(), 64);
    }

    #[test]
    fn a_missing_directory_is_a_diagnostic() {
        let source = Source::Directory(PathBuf::from("/nonexistent/policy"));
        let repository = Repository::open(source, Path::new("/nonexistent/state")).unwrap();
        let diagnostics = repository
            .snapshot()
            .read(&Bounds::default(), &mut BuildCache::default(), None)
            .built
            .map(|_| ())
            .unwrap_err();
        assert!(diagnostics.has_errors());
    }
}
