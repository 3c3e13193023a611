//! One state of a source: its files, and the commit that they are from.

use std::{
    borrow::Cow,
    cell::{Cell, RefCell},
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use filter_policy::{
    BuildCache, Built,
    bounds::{Bounds, Cancel},
    files::{Directory, Files, Table},
    language::{
        diagnostics::{Code, Diagnostic, Diagnostics},
        printable,
    },
    sample_policy,
};
use sha2::{Digest as _, Sha256};

use super::{Entry, History, Kept, commit::Head, git::Tree, history};

/// One state of a source. The files of a commit never change; those of a directory are as they are when they are read.
#[derive(Debug)]
pub struct Snapshot {
    files: Content,
    head: Option<Head>,
    commit: Option<String>,
}

#[derive(Debug)]
enum Content {
    Directory(Directory),
    Kept(Kept),
    /// It cannot be opened, for this reason.
    Missing(String),
    Sample,
    Tree(Tree),
}

/// A policy that was read from a snapshot.
pub struct Reading {
    /// The policy, or what is wrong with it.
    pub built: Result<Built, Diagnostics>,
    /// The files that it is made of.
    pub contents: Contents,
    /// The same as a history notes them; none if they could not be kept.
    pub kept: Option<BTreeMap<String, String>>,
}

/// The content of each file that a policy is made of, as a hash; none for a file that could not be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents(pub(super) BTreeMap<PathBuf, Option<[u8; 32]>>);

impl Snapshot {
    pub(super) fn of_directory(directory: &Path, head: Option<Head>) -> Self {
        let files = match Directory::new(directory) {
            Ok(files) => Content::Directory(files),
            Err(error) => {
                Content::Missing(format!("cannot open the policy directory {}: {error}", directory.display()))
            }
        };
        let commit = head.as_ref().map(|head| head.commit.clone());
        Self { files, head, commit }
    }

    pub(super) fn sample() -> Self {
        Self { files: Content::Sample, head: None, commit: None }
    }

    pub(super) fn of_commit(commit: String, tree: Tree) -> Self {
        Self { files: Content::Tree(tree), head: None, commit: Some(commit) }
    }

    /// A policy that was in force.
    #[must_use]
    pub fn of_generation(entry: &Entry, history: &History) -> Self {
        let Some(kept) = history.kept(entry) else {
            return Self::missing(format!("the files of generation {} could not be kept", entry.generation));
        };
        Self { files: Content::Kept(kept), head: None, commit: entry.commit.clone() }
    }

    pub(super) fn missing(reason: String) -> Self {
        Self { files: Content::Missing(reason), head: None, commit: None }
    }

    /// Reads and compiles the policy within `bounds`, reusing what the last build left in `cache`. Its files are kept in `history`.
    #[must_use]
    pub fn read(&self, bounds: &Bounds, cache: &mut BuildCache, history: Option<&History>) -> Reading {
        let recorder = Recorder {
            files: self,
            cancel: &bounds.cancel,
            contents: RefCell::default(),
            history,
            lacks: Cell::new(history.is_none()),
        };
        let built = match &self.files {
            Content::Missing(reason) => {
                let mut diagnostics = Diagnostics::default();
                diagnostics.push(Diagnostic::error(Code::MissingFile, reason.clone()));
                Err(diagnostics)
            }
            Content::Directory(_) | Content::Kept(_) | Content::Sample | Content::Tree(_) => {
                filter_policy::build_cached(&recorder, filter_policy::today(), bounds, cache)
            }
        };
        let contents = recorder.contents.into_inner();
        let kept = if recorder.lacks.get() { None } else { history::noted(&contents) };
        Reading { built, contents, kept }
    }

    /// True if the files still have these contents. A file that is too large to be read has none.
    #[must_use]
    pub fn has(&self, contents: &Contents, bounds: &Bounds) -> bool {
        let is_missing = matches!(self.files, Content::Missing(_));
        let is_same = |path: &Path, hash: &Option<[u8; 32]>| {
            !bounds.cancel.is_cancelled() && hash_of(&self.read_file(path, bounds.list_bytes, &bounds.cancel)) == *hash
        };
        !is_missing && !contents.0.is_empty() && contents.0.iter().all(|(path, hash)| is_same(path, hash))
    }

    /// The commit that the files are from; with `-dirty` if those with these contents are not as they are in that commit.
    #[must_use]
    pub fn commit(&self, contents: &Contents, bounds: &Bounds) -> Option<String> {
        let commit = self.commit.as_ref()?;
        let Some(head) = &self.head else { return Some(commit.clone()) };
        let tree = head.tree(&bounds.cancel);
        let is_dirty = tree.is_some_and(|tree| {
            let is_other = |path: &Path| hash_of(&tree.read(path, bounds.list_bytes));
            contents.0.iter().any(|(path, hash)| hash.is_some() && is_other(path) != *hash)
        });
        Some(if is_dirty { super::commit::dirty(commit) } else { commit.clone() })
    }

    fn read_file(&self, path: &Path, limit: u64, cancel: &Cancel) -> io::Result<Cow<'_, [u8]>> {
        match &self.files {
            Content::Directory(directory) => directory.read(path, limit),
            Content::Kept(kept) => kept.read(path, limit),
            Content::Missing(reason) => Err(io::Error::other(reason.clone())),
            Content::Sample => {
                Table(sample_policy::FILES).read(path, limit).map(|content| Cow::Owned(content.into_owned()))
            }
            Content::Tree(tree) => {
                tree.clone().unless(cancel).read(path, limit).map(|content| Cow::Owned(content.into_owned()))
            }
        }
    }
}

impl Files for Snapshot {
    fn read(&self, path: &Path, limit: u64) -> io::Result<Cow<'_, [u8]>> {
        self.read_file(path, limit, &Cancel::default())
    }

    fn names(&self) -> Vec<String> {
        match &self.files {
            Content::Directory(directory) => directory.names(),
            Content::Kept(kept) => kept.names(),
            Content::Missing(_) => Vec::new(),
            Content::Sample => Table(sample_policy::FILES).names(),
            Content::Tree(tree) => tree.names(),
        }
    }
}

/// Notes and keeps what is read.
struct Recorder<'a> {
    files: &'a Snapshot,
    cancel: &'a Cancel,
    contents: RefCell<Contents>,
    history: Option<&'a History>,
    /// Whether something could not be kept.
    lacks: Cell<bool>,
}

impl Files for Recorder<'_> {
    fn read(&self, path: &Path, limit: u64) -> io::Result<Cow<'_, [u8]>> {
        if self.cancel.is_cancelled() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let content = self.files.read_file(path, limit, self.cancel);
        let hash = hash_of(&content);
        if let (Some(history), Some(hash), Ok(content)) = (self.history, &hash, &content)
            && let Err(error) = history.keep(hash, content)
        {
            // The filter matters more than its history.
            if !self.lacks.replace(true) {
                tracing::warn!("failed to keep {} for a rollback: {error}", printable::path(path));
            }
        }
        self.contents.borrow_mut().0.insert(path.to_owned(), hash);
        content
    }

    fn names(&self) -> Vec<String> {
        self.files.names()
    }
}

fn hash_of(content: &io::Result<Cow<'_, [u8]>>) -> Option<[u8; 32]> {
    content.as_ref().ok().map(|content| Sha256::digest(content).into())
}
