//! The files of a policy in a commit, read from git's object store.

use std::{
    borrow::Cow,
    io,
    path::{Path, PathBuf},
    str,
    time::Duration,
};

use filter_policy::{
    bounds::Cancel,
    files::{Files, too_large},
};

use super::command::{Git, GitError};

/// How long reading a file from the local object store may take.
const LIMIT: Duration = Duration::from_secs(300);

/// Bytes of the longest line that git writes before a file's content, and after it.
const LONGEST_HEAD: u64 = 8192;

/// Names that are suggested for a file that does not exist.
const NAMES: usize = 1000;

/// A directory in a commit. What it returns never changes.
#[derive(Clone, Debug)]
pub(in crate::repository) struct Tree {
    git: Git,
    commit: String,
    /// The policy's directory below the repository's root.
    path: PathBuf,
    /// Ends git.
    cancel: Cancel,
}

impl Tree {
    pub(in crate::repository) fn new(git: Git, commit: String, path: PathBuf) -> Self {
        Self { git, commit, path, cancel: Cancel::default() }
    }

    /// True if the commit can be read.
    pub(in crate::repository) fn exists(&self) -> bool {
        self.run(&["cat-file", "-e", &format!("{}^{{tree}}", self.commit)], &[]).is_ok()
    }

    /// The same, as long as it is wanted.
    pub(in crate::repository) fn unless(self, cancel: &Cancel) -> Self {
        Self { cancel: cancel.clone(), ..self }
    }

    fn run(&self, arguments: &[&str], input: &[u8]) -> Result<Vec<u8>, GitError> {
        self.git.run(arguments, input, LIMIT, self.cancel.flag())
    }
}

impl Files for Tree {
    fn read(&self, path: &Path, limit: u64) -> io::Result<Cow<'_, [u8]>> {
        let invalid = |message: &str| io::Error::new(io::ErrorKind::InvalidInput, message);
        let path = self.path.join(path);
        let path = path.components().filter(|part| *part != std::path::Component::CurDir).collect::<PathBuf>();
        let name =
            path.to_str().filter(|name| !name.contains('\n')).ok_or_else(|| invalid("not the name of a file"))?;
        // Git follows links in the commit's own tree, and reports those that leave it.
        let request = format!("{}:{name}\n", self.commit);
        let largest = limit.saturating_add(LONGEST_HEAD);
        let arguments = ["cat-file", "--batch", "--follow-symlinks"];
        let answer = self.git.run_bounded(&arguments, request.as_bytes(), largest, LIMIT, self.cancel.flag());
        let mut answer = match answer {
            Ok(answer) => answer,
            Err(GitError::TooLarge(_)) => return Err(too_large(limit)),
            Err(error) => return Err(io::Error::other(format!("git cannot read it: {error}"))),
        };
        let end = answer.iter().position(|&byte| byte == b'\n').unwrap_or(answer.len());
        let head = str::from_utf8(&answer[..end]).unwrap_or_default().to_owned();
        let mut words = head.rsplit(' ');
        let (last, kind) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        match (kind, last.parse::<usize>()) {
            ("blob", Ok(size)) if size as u64 > limit => Err(too_large(limit)),
            ("blob", Ok(size)) if answer.len() == end + 1 + size + 1 => {
                answer.truncate(end + 1 + size);
                answer.drain(..=end);
                Ok(Cow::Owned(answer))
            }
            ("blob", Ok(_)) => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "git's answer is cut off")),
            _ if head.starts_with("symlink ") => Err(invalid("a symbolic link leads out of the repository")),
            _ if head.starts_with("loop ") => Err(invalid("a symbolic link leads to itself")),
            _ if ["dangling ", "notdir "].iter().any(|kind| head.starts_with(kind)) || head.ends_with(" missing") => {
                Err(io::Error::new(io::ErrorKind::NotFound, "no such file in the commit"))
            }
            _ => Err(io::Error::new(io::ErrorKind::Unsupported, "it is not a regular file")),
        }
    }

    fn names(&self) -> Vec<String> {
        let tree = format!("{}:{}", self.commit, self.path.display());
        let listed = self.run(&["ls-tree", "-r", "-z", "--name-only", &tree], &[]).unwrap_or_default();
        let names = listed.split(|&byte| byte == 0).filter(|name| !name.is_empty());
        names.take(NAMES).map(|name| String::from_utf8_lossy(name).into_owned()).collect()
    }
}
