//! Where the policy comes from, and how a change of it is noticed.

mod commit;
mod fingerprint;
mod watch;

use std::{
    fmt,
    path::{Path, PathBuf},
};

use filter_policy::{
    BuildCache, Built,
    files::{Directory, Files, Table},
    language::diagnostics::Diagnostics,
    sample_policy,
};

pub use self::{
    fingerprint::Fingerprint,
    watch::{LOOK_INTERVAL, Watch},
};

/// Where the policy comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A policy repository on disk.
    Directory(PathBuf),
    /// The sample policy inside the binary.
    Sample,
}

impl Source {
    /// Reads and compiles it.
    ///
    /// # Errors
    /// The policy has errors.
    pub fn build(&self) -> Result<Built, Diagnostics> {
        self.build_cached(&mut BuildCache::default())
    }

    /// Reads and compiles it, reusing what the last build left in `cache`.
    ///
    /// # Errors
    /// As for [`Source::build`].
    pub fn build_cached(&self, cache: &mut BuildCache) -> Result<Built, Diagnostics> {
        let today = filter_policy::today();
        match self {
            Self::Directory(directory) => filter_policy::build_cached(&open(directory)?, today, cache),
            Self::Sample => filter_policy::build_cached(&Table(sample_policy::FILES), today, cache),
        }
    }

    /// The directory, for messages that name files.
    #[must_use]
    pub fn directory(&self) -> Option<&Path> {
        match self {
            Self::Directory(directory) => Some(directory),
            Self::Sample => None,
        }
    }

    /// The commit that is checked out, if the directory is in a git repository.
    #[must_use]
    pub fn commit(&self) -> Option<String> {
        commit::of(self.directory()?)
    }

    /// What the source looks like now.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.directory().map_or(Fingerprint::CONSTANT, Fingerprint::of)
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(directory) => directory.display().fmt(f),
            Self::Sample => f.write_str("the sample policy"),
        }
    }
}

/// The directory's files; a missing directory is a diagnostic like any other mistake in a policy.
fn open(directory: &Path) -> Result<impl Files, Diagnostics> {
    match Directory::new(directory) {
        Ok(files) => Ok(files),
        Err(_) => match filter_policy::load(directory) {
            Err(diagnostics) => Err(diagnostics),
            // It has been created in the meantime.
            Ok(_) => Directory::new(directory).map_err(|_| Diagnostics::default()),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::MetadataExt as _};

    use super::*;

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    #[test]
    fn a_file_replaced_by_rename_changes_the_fingerprint() {
        let folder = folder();
        fs::create_dir(folder.path().join("lists")).unwrap();
        fs::write(folder.path().join("lists/a.txt"), "192.0.2.1\n").unwrap();
        let source = Source::Directory(folder.path().to_owned());
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
        let source = Source::Directory(folder.path().to_owned());
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
        let source = Source::Directory(folder.path().join("policies"));
        assert_eq!(source.commit(), Some("a".repeat(40)));
        fs::write(git.join("refs/heads/main"), format!("{}\n", "b".repeat(40))).unwrap();
        assert_eq!(source.commit(), Some("b".repeat(40)), "a loose reference wins over a packed one");
    }

    #[test]
    fn a_missing_directory_is_a_diagnostic() {
        let source = Source::Directory(PathBuf::from("/nonexistent/policy"));
        let diagnostics = source.build().map(|built| built.image.hash).unwrap_err();
        assert!(diagnostics.has_errors());
    }
}
