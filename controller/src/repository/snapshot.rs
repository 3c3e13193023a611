//! One state of a source: its files, and the commit that they are from.

use std::{
    borrow::Cow,
    cell::RefCell,
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use filter_policy::{
    BuildCache, Built,
    files::{Directory, Files, Table},
    language::diagnostics::{Code, Diagnostic, Diagnostics},
    sample_policy,
};
use sha2::{Digest as _, Sha256};

use super::{commit::Head, git::Tree};

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
}

/// The content of each file that a policy is made of, as a hash; none for a file that could not be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents(BTreeMap<PathBuf, Option<[u8; 32]>>);

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

    pub(super) fn missing(reason: String) -> Self {
        Self { files: Content::Missing(reason), head: None, commit: None }
    }

    /// Reads and compiles the policy, reusing what the last build left in `cache`.
    #[must_use]
    pub fn read(&self, cache: &mut BuildCache) -> Reading {
        let recorder = Recorder { files: self, contents: RefCell::default() };
        let built = match &self.files {
            Content::Missing(reason) => {
                let mut diagnostics = Diagnostics::default();
                diagnostics.push(Diagnostic::error(Code::MissingFile, reason.clone()));
                Err(diagnostics)
            }
            Content::Directory(_) | Content::Sample | Content::Tree(_) => {
                filter_policy::build_cached(&recorder, filter_policy::today(), cache)
            }
        };
        Reading { built, contents: recorder.contents.into_inner() }
    }

    /// True if the files still have these contents.
    #[must_use]
    pub fn has(&self, contents: &Contents) -> bool {
        let is_missing = matches!(self.files, Content::Missing(_));
        !is_missing
            && !contents.0.is_empty()
            && contents.0.iter().all(|(path, hash)| hash_of(&self.read_file(path)) == *hash)
    }

    /// The commit that the files are from; with `-dirty` if those with these contents are not as they are in that commit.
    #[must_use]
    pub fn commit(&self, contents: &Contents) -> Option<String> {
        let commit = self.commit.as_ref()?;
        let Some(head) = &self.head else { return Some(commit.clone()) };
        let tree = head.tree();
        let is_dirty = tree.is_some_and(|tree| {
            contents.0.iter().any(|(path, hash)| hash.is_some() && hash_of(&tree.read(path)) != *hash)
        });
        Some(if is_dirty { super::commit::dirty(commit) } else { commit.clone() })
    }

    fn read_file(&self, path: &Path) -> io::Result<Cow<'_, [u8]>> {
        match &self.files {
            Content::Directory(directory) => directory.read(path),
            Content::Missing(reason) => Err(io::Error::other(reason.clone())),
            Content::Sample => Table(sample_policy::FILES).read(path).map(|content| Cow::Owned(content.into_owned())),
            Content::Tree(tree) => tree.read(path),
        }
    }
}

impl Files for Snapshot {
    fn read(&self, path: &Path) -> io::Result<Cow<'_, [u8]>> {
        self.read_file(path)
    }

    fn names(&self) -> Vec<String> {
        match &self.files {
            Content::Directory(directory) => directory.names(),
            Content::Missing(_) => Vec::new(),
            Content::Sample => Table(sample_policy::FILES).names(),
            Content::Tree(tree) => tree.names(),
        }
    }
}

/// Notes what is read.
struct Recorder<'a> {
    files: &'a Snapshot,
    contents: RefCell<Contents>,
}

impl Files for Recorder<'_> {
    fn read(&self, path: &Path) -> io::Result<Cow<'_, [u8]>> {
        let content = self.files.read_file(path);
        self.contents.borrow_mut().0.insert(path.to_owned(), hash_of(&content));
        content
    }

    fn names(&self) -> Vec<String> {
        self.files.names()
    }
}

fn hash_of(content: &io::Result<Cow<'_, [u8]>>) -> Option<[u8; 32]> {
    content.as_ref().ok().map(|content| Sha256::digest(content).into())
}
