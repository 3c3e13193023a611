//! The policies that were in force, with their files, so that one of them can come back.
//!
//! ```text
//! STATE/history/PINS/generations/N.json   what generation N was, and the hash of each of its files
//! STATE/history/PINS/files/HASH           a file's content, shared by all generations that have it
//! STATE/history/PINS/hold.json            the generation that is held
//! ```
//!
//! The files are kept, not what was compiled from them: so a later version of the program can still use them.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Component, Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use filter_policy::files::{Files, too_large};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::{Digest as _, Sha256};

use super::Contents;
use crate::telemetry::Hold;

/// How many generations are kept.
pub const KEPT: usize = 20;

/// Bytes of files beyond which older generations are dropped earlier.
const LARGEST: u64 = 1 << 30;

/// How many generations are kept whatever their size.
const LEAST: usize = 2;

/// The history of one filter.
#[derive(Clone, Debug)]
pub struct History {
    directory: PathBuf,
    /// For names of files that are being written.
    count: Arc<AtomicU64>,
}

/// A generation that was in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its number.
    pub generation: u64,
    /// Where the policy came from.
    pub policy: String,
    /// Hash of the policy.
    pub policy_hash: String,
    /// The commit that it was from.
    pub commit: Option<String>,
    /// Whether it was in report mode as a whole.
    #[serde(default)]
    pub report: bool,
    /// Who or what put it in force.
    pub by: String,
    /// When, RFC 3339.
    pub since: String,
    /// The generation that was brought back, if it was a rollback.
    #[serde(default)]
    pub rollback_of: Option<u64>,
    /// Each file with the hash of its content, hexadecimal; none if not all could be kept.
    pub files: Option<BTreeMap<String, String>>,
}

impl History {
    /// The history of the filter in these pins. `state` is the state directory.
    #[must_use]
    pub fn new(state: &Path, pins: &Path) -> Self {
        let parts = pins.components().filter_map(|part| match part {
            Component::Normal(name) => Some(name.to_string_lossy()),
            Component::CurDir | Component::ParentDir | Component::Prefix(_) | Component::RootDir => None,
        });
        let name = parts.collect::<Vec<_>>().join(":");
        Self { directory: state.join("history").join(name), count: Arc::default() }
    }

    /// The generations that are kept, oldest first. Files that cannot be read are left out.
    #[must_use]
    pub fn entries(&self) -> Vec<Entry> {
        let files = fs::read_dir(self.generations()).into_iter().flatten().flatten();
        let mut entries: Vec<Entry> = files.filter_map(|file| read(&file.path())).collect();
        entries.sort_by_key(|entry| entry.generation);
        entries
    }

    /// Keeps a file's content.
    pub(super) fn keep(&self, hash: &[u8; 32], content: &[u8]) -> io::Result<()> {
        let path = self.files().join(hexadecimal(hash));
        if fs::metadata(&path).is_ok_and(|facts| facts.len() == content.len() as u64) {
            return Ok(());
        }
        self.write(&path, content)
    }

    /// Notes a generation that has come in force, and drops the oldest ones.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn record(&self, entry: &Entry) -> io::Result<()> {
        let path = self.path_of(entry.generation);
        let result =
            serde_json::to_vec_pretty(entry).map_err(io::Error::from).and_then(|text| self.write(&path, &text));
        // Also where that failed: perhaps because the disk is full.
        self.prune(entry.generation);
        result
    }

    /// The files of a generation.
    #[must_use]
    pub fn kept(&self, entry: &Entry) -> Option<Kept> {
        let files = entry.files.as_ref()?.iter();
        Some(Kept {
            files: files.map(|(path, hash)| (PathBuf::from(path), hash.clone())).collect(),
            directory: self.files(),
        })
    }

    /// The generation that is held, if one is.
    #[must_use]
    pub fn hold(&self) -> Option<Hold> {
        read(&self.hold_path())
    }

    /// Holds a generation; none releases it.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn set_hold(&self, hold: Option<&Hold>) -> io::Result<()> {
        let Some(hold) = hold else {
            return match fs::remove_file(self.hold_path()) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            };
        };
        self.write(&self.hold_path(), &serde_json::to_vec_pretty(hold)?)
    }

    fn generations(&self) -> PathBuf {
        self.directory.join("generations")
    }

    fn files(&self) -> PathBuf {
        self.directory.join("files")
    }

    fn hold_path(&self) -> PathBuf {
        self.directory.join("hold.json")
    }

    fn path_of(&self, generation: u64) -> PathBuf {
        self.generations().join(format!("{generation}.json"))
    }

    /// Writes a file in one step: after a crash, it is the old one or the new one.
    fn write(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        let directory = path.parent().unwrap_or(&self.directory);
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        let new = directory.join(format!(".new-{}-{count}", std::process::id()));
        let written = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&new)
            .and_then(|mut file| file.write_all(content).and_then(|()| file.sync_all()))
            .and_then(|()| fs::rename(&new, path));
        if written.is_err() {
            let _ = fs::remove_file(&new);
        }
        written?;
        File::open(directory)?.sync_all()
    }

    /// Drops what is too old or too much, but neither the generation in force nor the one that is held.
    fn prune(&self, in_force: u64) {
        let mut entries = self.entries();
        let held = self.hold().map(|hold| hold.generation);
        let size = |hash: &String| fs::metadata(self.files().join(hash)).map_or(0, |facts| facts.len());
        let used = |entries: &[Entry]| -> BTreeSet<String> {
            entries.iter().filter_map(|entry| entry.files.as_ref()).flat_map(BTreeMap::values).cloned().collect()
        };
        loop {
            let is_too_much = entries.len() > KEPT || used(&entries).iter().map(size).sum::<u64>() > LARGEST;
            if !is_too_much || entries.len() <= LEAST {
                break;
            }
            let is_droppable = |entry: &Entry| entry.generation != in_force && Some(entry.generation) != held;
            // First those whose policy came back later: a daemon that is started again and again must not push out the
            // policies that differ.
            let came_back = |index: usize| {
                let is_same = |later: &Entry| later.policy_hash == entries[index].policy_hash && later.files.is_some();
                entries[index + 1..].iter().any(is_same)
            };
            let droppable: Vec<usize> = (0..entries.len()).filter(|&index| is_droppable(&entries[index])).collect();
            let first = droppable.iter().copied().find(|&index| came_back(index));
            let Some(oldest) = first.or(droppable.first().copied()) else { break };
            let entry = entries.remove(oldest);
            if fs::remove_file(self.path_of(entry.generation)).is_err() {
                break;
            }
        }
        let used = used(&entries);
        for file in fs::read_dir(self.files()).into_iter().flatten().flatten() {
            if !file.file_name().to_str().is_some_and(|name| used.contains(name)) {
                let _ = fs::remove_file(file.path());
            }
        }
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> Option<T> {
    let is_json = path.extension().is_some_and(|extension| extension == "json");
    let content = is_json.then(|| fs::read(path).ok()).flatten()?;
    serde_json::from_slice(&content)
        .inspect_err(|error| tracing::warn!("{} cannot be read: {error}", path.display()))
        .ok()
}

pub(super) fn hexadecimal(hash: &[u8]) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The names of files with the hashes of their contents, as they are noted.
pub(super) fn noted(contents: &Contents) -> Option<BTreeMap<String, String>> {
    let files = contents.0.iter().filter_map(|(path, hash)| Some((path, (*hash)?)));
    files.map(|(path, hash)| Some((path.to_str()?.to_owned(), hexadecimal(&hash)))).collect()
}

/// The files of a generation.
#[derive(Clone, Debug)]
pub struct Kept {
    files: BTreeMap<PathBuf, String>,
    directory: PathBuf,
}

impl Files for Kept {
    fn read(&self, path: &Path, limit: u64) -> io::Result<Cow<'_, [u8]>> {
        let missing = || io::Error::new(io::ErrorKind::NotFound, "no such file in the generation");
        let hash = self.files.get(path).ok_or_else(missing)?;
        let mut content = Vec::new();
        File::open(self.directory.join(hash))?.take(limit.saturating_add(1)).read_to_end(&mut content)?;
        if content.len() as u64 > limit {
            return Err(too_large(limit));
        }
        if hexadecimal(&Sha256::digest(&content)) != *hash {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the file that was kept is damaged"));
        }
        Ok(Cow::Owned(content))
    }

    fn names(&self) -> Vec<String> {
        self.files.keys().map(|path| path.display().to_string()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(content: &str) -> [u8; 32] {
        Sha256::digest(content).into()
    }

    /// Records a generation whose policy file has this content.
    fn record(history: &History, generation: u64, content: &str) -> Entry {
        history.keep(&hash(content), content.as_bytes()).unwrap();
        let entry = Entry {
            generation,
            policy: "/etc/policy".to_owned(),
            policy_hash: format!("hash of {content}"),
            commit: None,
            report: false,
            by: "start".to_owned(),
            since: "2026-01-31T06:00:00.000Z".to_owned(),
            rollback_of: None,
            files: Some([("policy.toml".to_owned(), hexadecimal(&hash(content)))].into()),
        };
        history.record(&entry).unwrap();
        entry
    }

    fn text(history: &History, entry: &Entry) -> io::Result<String> {
        let kept = history.kept(entry).unwrap();
        kept.read(Path::new("policy.toml"), 1_000).map(|content| String::from_utf8(content.into_owned()).unwrap())
    }

    fn history() -> (tempfile::TempDir, History) {
        let folder = tempfile::tempdir().unwrap();
        let history = History::new(folder.path(), Path::new("/sys/fs/bpf/ringfence"));
        (folder, history)
    }

    #[test]
    fn the_files_of_a_generation_come_back_as_they_were() {
        let (folder, history) = history();
        let first = record(&history, 1, "one");
        let second = record(&history, 2, "two");
        let later = History::new(folder.path(), Path::new("/sys/fs/bpf/ringfence"));
        assert_eq!(later.entries(), [first.clone(), second]);
        assert_eq!(text(&later, &first).unwrap(), "one");
        let other = History::new(folder.path(), Path::new("/sys/fs/bpf/other"));
        assert!(other.entries().is_empty(), "another filter's history is another one");
    }

    #[test]
    fn the_oldest_generations_are_dropped_with_their_files_but_not_the_one_that_is_held() {
        let (_folder, history) = history();
        let held = record(&history, 1, "held");
        let hold = Hold { generation: 1, since: "x".to_owned(), by: "y".to_owned() };
        history.set_hold(Some(&hold)).unwrap();
        for generation in 2..=KEPT as u64 + 3 {
            record(&history, generation, &generation.to_string());
        }
        let kept: Vec<u64> = history.entries().iter().map(|entry| entry.generation).collect();
        assert_eq!((kept.len(), kept[0], kept[1]), (KEPT, 1, 5));
        assert_eq!(text(&history, &held).unwrap(), "held");
        assert!(history.entries().iter().all(|entry| text(&history, entry).is_ok()));
        let files = fs::read_dir(history.files()).unwrap().count();
        assert_eq!(files, KEPT, "one for each");
    }

    #[test]
    fn a_policy_that_is_put_in_force_again_and_again_pushes_out_no_other_one() {
        let (_folder, history) = history();
        let other = record(&history, 1, "other");
        for generation in 2..50 {
            record(&history, generation, "same");
        }
        let entries = history.entries();
        assert_eq!((entries.len(), &entries[0]), (KEPT, &other));
        assert_eq!(text(&history, &other).unwrap(), "other");
        assert_eq!(fs::read_dir(history.files()).unwrap().count(), 2, "the same file is there once");
    }

    #[test]
    fn a_hold_lasts_until_it_is_released() {
        let (_folder, history) = history();
        assert_eq!(history.hold(), None);
        let hold = Hold { generation: 4, since: "x".to_owned(), by: "y".to_owned() };
        history.set_hold(Some(&hold)).unwrap();
        assert_eq!(history.hold(), Some(hold));
        history.set_hold(None).unwrap();
        history.set_hold(None).unwrap();
        assert_eq!(history.hold(), None);
    }

    #[test]
    fn what_is_damaged_is_an_error_and_never_another_policy() {
        let (_folder, history) = history();
        let entry = record(&history, 1, "one");
        fs::write(history.files().join(hexadecimal(&hash("one"))), "two").unwrap();
        assert_eq!(text(&history, &entry).unwrap_err().kind(), io::ErrorKind::InvalidData);
        fs::write(history.path_of(2), "{\"generation\":").unwrap();
        assert_eq!(history.entries(), [entry], "half a file is left out");
    }

    #[test]
    fn an_entry_of_an_earlier_version_is_understood() {
        let text =
            r#"{"generation":3,"policy":"p","policy_hash":"ab","commit":null,"by":"start","since":"x","files":null}"#;
        let entry: Entry = serde_json::from_str(text).unwrap();
        assert_eq!((entry.generation, entry.rollback_of, entry.report), (3, None, false));
    }
}
