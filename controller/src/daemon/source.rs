//! Where the policy comes from, and how a change of it is noticed.

use std::{
    fmt,
    fs::{self, Metadata},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use filter_policy::{
    BuildCache, Built,
    files::{Directory, Files, Table},
    language::diagnostics::Diagnostics,
    sample_policy,
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
    /// What is wrong with it.
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

    /// The commit that is checked out, if the directory lies in a git repository.
    #[must_use]
    pub fn commit(&self) -> Option<String> {
        let directory = fs::canonicalize(self.directory()?).ok()?;
        directory.ancestors().find_map(|folder| head_of(&folder.join(".git")))
    }

    /// Changes when a file of the policy does. Hidden files (git's, an editor's) do not count.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        let Some(directory) = self.directory() else { return 0 };
        let mut hash = Fnv::default();
        let mut folders = vec![directory.to_path_buf()];
        while let Some(folder) = folders.pop() {
            let Ok(entries) = fs::read_dir(&folder) else { continue };
            let mut entries: Vec<_> = entries.flatten().collect();
            entries.sort_by_key(fs::DirEntry::file_name);
            for entry in entries {
                if entry.file_name().as_encoded_bytes().starts_with(b".") {
                    continue;
                }
                // Through links: a list may be one, into another folder of the repository.
                let Ok(facts) = fs::metadata(entry.path()) else { continue };
                hash.add(entry.path().as_os_str().as_encoded_bytes());
                if facts.is_dir() {
                    // A link to a folder above would go round for ever; folders are not policy.
                    if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                        folders.push(entry.path());
                    }
                } else {
                    hash.add_facts(&facts);
                }
            }
        }
        hash.0
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
            // It has come to be in between.
            Ok(_) => Directory::new(directory).map_err(|_| Diagnostics::default()),
        },
    }
}

/// The commit that a repository's HEAD names; `.git` may be a file that says where it lies (worktrees, submodules).
///
/// Read by hand, because git refuses to look at repositories that another user owns, which is how a daemon finds them.
fn head_of(git: &Path) -> Option<String> {
    let git = if git.is_file() {
        let text = fs::read_to_string(git).ok()?;
        git.parent()?.join(text.strip_prefix("gitdir:")?.trim())
    } else {
        git.to_path_buf()
    };
    let head = fs::read_to_string(git.join("HEAD")).ok()?;
    let Some(reference) = head.trim().strip_prefix("ref: ") else { return commit(&head) };
    let common = match fs::read_to_string(git.join("commondir")) {
        Ok(text) => git.join(text.trim()),
        Err(_) => git,
    };
    if let Ok(text) = fs::read_to_string(common.join(reference)) {
        return commit(&text);
    }
    let packed = fs::read_to_string(common.join("packed-refs")).ok()?;
    let (found, _) = packed.lines().filter_map(|line| line.split_once(' ')).find(|(_, name)| *name == reference)?;
    commit(found)
}

/// A commit's name: 40 or 64 hexadecimal digits.
fn commit(text: &str) -> Option<String> {
    let text = text.trim();
    (matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| text.to_owned())
}

/// FNV-1a: a change must be noticed, nobody attacks it.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    fn add(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    /// An editor that writes by rename changes the inode, one that writes in place the times or the size.
    fn add_facts(&mut self, facts: &Metadata) {
        for fact in
            [facts.ino(), facts.size(), facts.mtime() as u64, facts.mtime_nsec() as u64, facts.ctime_nsec() as u64]
        {
            self.add(&fact.to_le_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
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
        // Longer than the kernel's tick, by which it gives times.
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
