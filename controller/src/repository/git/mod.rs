//! A policy in a git repository elsewhere: what is followed, and how.

mod command;
mod follower;
mod mirror;
mod objects;

use std::{
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

pub(super) use self::{
    command::{Git, empty_repository},
    follower::Follower,
    objects::Tree,
};

/// The branch that is followed unless another is named.
pub const DEFAULT_BRANCH: &str = "main";

/// The time between two looks at the remote repository, unless another is set.
pub const DEFAULT_POLL: Duration = Duration::from_secs(30);

/// The longest time between two looks, in seconds.
pub const LONGEST_POLL: u64 = 86_400;

/// A policy in a git repository elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    /// The repository, as `git fetch` takes it.
    pub url: String,
    /// What is followed there.
    pub reference: Reference,
    /// The policy's directory in the repository; its root if none.
    pub path: Option<PathBuf>,
    /// Time between two looks.
    pub poll: Duration,
    /// If set, only commits that are signed by a key in this file count (ssh-keygen(1), ALLOWED SIGNERS).
    pub allowed_signers: Option<PathBuf>,
}

/// What is followed in a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    /// A branch.
    Branch(String),
    /// A tag.
    Tag(String),
}

impl Default for Reference {
    fn default() -> Self {
        Self::Branch(DEFAULT_BRANCH.to_owned())
    }
}

impl Reference {
    /// Its whole name, such as `refs/heads/main`.
    fn name(&self) -> String {
        match self {
            Self::Branch(name) => format!("refs/heads/{name}"),
            Self::Tag(name) => format!("refs/tags/{name}"),
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Branch(name) => write!(f, "branch {name}"),
            Self::Tag(name) => write!(f, "tag {name}"),
        }
    }
}

impl Remote {
    /// The branch `main` of a repository.
    #[must_use]
    pub fn new(url: String) -> Self {
        Self { url, reference: Reference::default(), path: None, poll: DEFAULT_POLL, allowed_signers: None }
    }

    /// The URL without a password.
    #[must_use]
    pub fn shown_url(&self) -> String {
        without_password(&self.url)
    }

    /// What is wrong with it, and how to fix that; none if git can be asked for it.
    #[must_use]
    pub fn mistake(&self) -> Option<(String, &'static str)> {
        url_mistake(&self.url, self.allowed_signers.is_some())
            .or_else(|| reference_mistake(&self.reference))
            .or_else(|| self.path.as_deref().and_then(path_mistake))
    }
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}", self.shown_url(), self.reference)?;
        match &self.path {
            Some(path) => write!(f, ", {})", path.display()),
            None => f.write_str(")"),
        }
    }
}

/// What is wrong with a URL. `signed` says that commits must be signed.
#[must_use]
pub fn url_mistake(url: &str, signed: bool) -> Option<(String, &'static str)> {
    const HELP: &str = "use `ssh://USER@HOST/PATH`, `USER@HOST:PATH`, `https://HOST/PATH`, or `file:///PATH`";
    let shown = without_password(url);
    if url.is_empty() || url.starts_with('-') || url.contains(char::is_control) {
        return Some((format!("`{shown}` is not the URL of a git repository"), HELP));
    }
    let scheme = url.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
    match scheme.as_deref() {
        None if url.contains("::") => Some((format!("`{shown}` names a helper program, which is not started"), HELP)),
        None | Some("file" | "https" | "ssh" | "git+ssh" | "ssh+git") => None,
        // Signatures make up for it.
        Some("git" | "http") if signed => None,
        Some("git" | "http") => Some((
            format!("whoever is on the way to `{shown}` could change the policy"),
            "use `https` or `ssh`, or let `allowed_signers` say whose commits count",
        )),
        Some(_) => Some((format!("`{shown}` has a scheme that is not supported"), HELP)),
    }
}

/// What is wrong with the name of a branch or a tag: the rules of git-check-ref-format(1), as far as they matter here.
#[must_use]
pub fn reference_mistake(reference: &Reference) -> Option<(String, &'static str)> {
    let (Reference::Branch(name) | Reference::Tag(name)) = reference;
    let is_odd = |character: char| {
        character.is_control() || matches!(character, ' ' | '~' | '^' | ':' | '?' | '*' | '[' | '\\' | '\u{7f}')
    };
    let is_part = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.ends_with(".lock");
    let is_good = !name.contains(is_odd)
        && !name.contains("..")
        && !name.contains("@{")
        && !name.ends_with('.')
        && !name.starts_with('-')
        && name.split('/').all(is_part);
    (!is_good)
        .then(|| (format!("`{name}` is not a name of a branch or a tag"), "such as `main`, without `refs/heads/`"))
}

/// What is wrong with the path of a policy in a repository.
#[must_use]
pub fn path_mistake(path: &Path) -> Option<(String, &'static str)> {
    let is_good = filter_policy::files::stays_inside(path)
        && !path.as_os_str().is_empty()
        && !path.as_os_str().as_encoded_bytes().contains(&b'\n');
    (!is_good).then(|| {
        (
            format!("`{}` is not a path below the repository's root", path.display()),
            "such as `edges/fra1`; leave it out if `policy.toml` is at the root",
        )
    })
}

/// A URL without the password in it.
fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    match authority.rsplit_once('@') {
        Some((user, host)) if user.contains(':') || matches!(scheme, "http" | "https") => {
            format!("{scheme}://***@{host}{path}")
        }
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_in_a_url_is_never_shown() {
        for (url, shown) in [
            ("https://x:secret@git.example.net/p.git", "https://***@git.example.net/p.git"),
            ("https://token@git.example.net/p.git", "https://***@git.example.net/p.git"),
            ("ssh://git@git.example.net/p.git", "ssh://git@git.example.net/p.git"),
            ("git@git.example.net:p.git", "git@git.example.net:p.git"),
        ] {
            assert_eq!(Remote::new(url.to_owned()).shown_url(), shown);
        }
    }

    #[test]
    fn only_transports_that_cannot_be_tampered_with_are_used_unless_commits_are_signed() {
        for url in ["ssh://git@h/p", "git@h:p", "https://h/p", "file:///srv/p.git", "/srv/p.git"] {
            assert_eq!(url_mistake(url, false), None, "{url}");
        }
        for url in ["ext::sh -c id", "fd::3", "--upload-pack=id", "", "ftp://h/p", "a\nb"] {
            assert!(url_mistake(url, true).is_some(), "{url}");
        }
        for url in ["http://h/p", "git://h/p"] {
            assert!(url_mistake(url, false).is_some() && url_mistake(url, true).is_none(), "{url}");
        }
    }

    #[test]
    fn names_that_git_would_read_as_something_else_are_refused() {
        for name in ["main", "edges/fra1", "v1.2"] {
            assert_eq!(reference_mistake(&Reference::Branch(name.to_owned())), None, "{name}");
        }
        for name in ["", "-x", "a b", "a..b", "a:b", "a*", "a/", "/a", "a.lock", "@{u}", "a^"] {
            assert!(reference_mistake(&Reference::Branch(name.to_owned())).is_some(), "{name}");
        }
        assert!(path_mistake(Path::new("../x")).is_some() && path_mistake(Path::new("/x")).is_some());
        assert_eq!(path_mistake(Path::new("edges/fra1")), None);
    }
}
