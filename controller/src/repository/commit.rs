//! The commit that is checked out.

use std::{
    fs,
    path::{Path, PathBuf},
};

use filter_policy::bounds::Cancel;

use super::git::{Git, Tree, empty_repository};

/// What a commit's ID ends with if the files are not as they are in the commit.
const DIRTY: &str = "-dirty";

/// Characters of the longest commit that the filter's state in the kernel has room for.
const LONGEST: usize = 64;

/// The commit that is checked out around a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// Its ID.
    pub(super) commit: String,
    /// The repository's objects.
    objects: PathBuf,
    /// The directory, below the root of the working tree.
    path: PathBuf,
    /// An empty repository, through which the objects are read; none if none could be made.
    view: Option<PathBuf>,
}

impl Head {
    /// The commit that is checked out, if the directory is in a git repository. `views` is a directory for what is needed to
    /// read its objects.
    pub(super) fn of(directory: &Path, views: Option<&Path>) -> Option<Self> {
        let directory = fs::canonicalize(directory).ok()?;
        directory.ancestors().find_map(|root| {
            let (commit, objects) = head_of(&root.join(".git"))?;
            let sha256 = commit.len() == 64;
            let view = views.map(|views| views.join(if sha256 { "view-sha256.git" } else { "view.git" }));
            let view = view.filter(|view| view.join("HEAD").exists() || empty_repository(view, sha256).is_ok());
            Some(Self { commit, objects, path: directory.strip_prefix(root).ok()?.to_owned(), view })
        })
    }

    /// The files of the commit.
    ///
    /// Of the repository only its objects are used: its settings could make git run programs, and it may belong to another
    /// user than the daemon's.
    pub(super) fn tree(&self, cancel: &Cancel) -> Option<Tree> {
        let git = Git { directory: self.view.clone()?, objects: Some(self.objects.clone()), insecure: false };
        let tree = Tree::new(git, self.commit.clone(), self.path.clone()).unless(cancel);
        // Without git, or with objects that it cannot read, nothing can be said.
        tree.exists().then_some(tree)
    }
}

/// A commit's ID, marked.
pub(super) fn dirty(commit: &str) -> String {
    let end = commit.len().min(LONGEST - DIRTY.len());
    format!("{}{DIRTY}", &commit[..end])
}

/// The commit that a repository's HEAD names, and where the objects are. `.git` may be a file that names the directory
/// (worktrees, submodules).
///
/// Read by hand: git refuses to read repositories that another user owns, and the daemon's usually are.
fn head_of(git: &Path) -> Option<(String, PathBuf)> {
    let git = if git.is_file() {
        let text = fs::read_to_string(git).ok()?;
        git.parent()?.join(text.strip_prefix("gitdir:")?.trim())
    } else {
        git.to_path_buf()
    };
    let head = fs::read_to_string(git.join("HEAD")).ok()?;
    let common = match fs::read_to_string(git.join("commondir")) {
        Ok(text) => git.join(text.trim()),
        Err(_) => git,
    };
    let objects = common.join("objects");
    let Some(reference) = head.trim().strip_prefix("ref: ") else { return Some((commit(&head)?, objects)) };
    if let Ok(text) = fs::read_to_string(common.join(reference)) {
        return Some((commit(&text)?, objects));
    }
    let packed = fs::read_to_string(common.join("packed-refs")).ok()?;
    let (found, _) = packed.lines().filter_map(|line| line.split_once(' ')).find(|(_, name)| *name == reference)?;
    Some((commit(found)?, objects))
}

/// A commit ID: 40 or 64 hexadecimal digits.
fn commit(text: &str) -> Option<String> {
    let text = text.trim();
    (matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| text.to_owned())
}
