//! Whether a policy's files have changed, without reading them.

use std::{
    fs::{self, Metadata},
    os::unix::fs::MetadataExt as _,
    path::Path,
};

/// What a source looked like at one moment. It differs when a file has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint(u64);

impl Fingerprint {
    /// Of a source that never changes.
    pub(super) const CONSTANT: Self = Self(0);

    /// Of a commit, if there is one.
    pub(super) fn of_commit(commit: Option<&str>) -> Self {
        let mut hash = Fnv::default();
        hash.add(commit.unwrap_or_default().as_bytes());
        Self(hash.0)
    }

    /// Of everything below a directory except hidden files (git's, an editor's).
    pub(super) fn of(directory: &Path) -> Self {
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
                // Follows links: a list may be a link into another folder of the repository.
                let Ok(facts) = fs::metadata(entry.path()) else { continue };
                hash.add(entry.path().as_os_str().as_encoded_bytes());
                if facts.is_dir() {
                    // A link to a folder above would make this loop forever; policies do not need links to folders.
                    if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                        folders.push(entry.path());
                    }
                } else {
                    hash.add_facts(&facts);
                }
            }
        }
        Self(hash.0)
    }
}

/// FNV-1a. Good enough to notice a change; it need not resist an attacker.
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
