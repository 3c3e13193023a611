//! Access to a policy's files: in a directory, or in a table inside the binary.

use std::{
    borrow::Cow,
    fs,
    io::{self, Read as _},
    os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Component, Path, PathBuf},
};

/// The files of one policy repository. Paths are relative to it and have passed [`stays_inside`].
pub trait Files {
    /// The whole content of a file that has at most `limit` bytes.
    ///
    /// # Errors
    ///
    /// The file cannot be read; `InvalidInput` if a symbolic link leads out of the repository; `Unsupported` if it is no regular file;
    /// `FileTooLarge` if it has more bytes, which are not read; `ResourceBusy` if it changed meanwhile.
    fn read(&self, path: &Path, limit: u64) -> io::Result<Cow<'_, [u8]>>;

    /// All files of the repository, for "did you mean". May be empty or incomplete.
    fn names(&self) -> Vec<String>;
}

/// True if a path, before symbolic links are resolved, cannot leave the directory that it is relative to.
#[must_use]
pub fn stays_inside(path: &Path) -> bool {
    path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
}

/// The error about a file that has more bytes than the limit.
#[must_use]
pub fn too_large(limit: u64) -> io::Error {
    io::Error::new(io::ErrorKind::FileTooLarge, format!("it has more than {limit} bytes"))
}

/// The error about something that is no regular file. It names what it is, since that is not seen in a list of names.
fn irregular(facts: &fs::Metadata) -> io::Error {
    let what = what_it_is(facts.file_type());
    io::Error::new(io::ErrorKind::Unsupported, format!("it is {what}, not a regular file"))
}

/// What something in a file system is, in words.
#[must_use]
pub fn what_it_is(kind: fs::FileType) -> &'static str {
    if kind.is_dir() {
        "a directory"
    } else if kind.is_symlink() {
        "a symbolic link"
    } else if kind.is_file() {
        "a file"
    } else if kind.is_fifo() {
        "a named pipe"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    }
}

/// A policy repository on disk.
#[derive(Clone, Debug)]
pub struct Directory {
    root: PathBuf,
}

impl Directory {
    /// The repository at `root`.
    ///
    /// # Errors
    ///
    /// There is no such directory.
    pub fn new(root: &Path) -> io::Result<Self> {
        let root = fs::canonicalize(root)?;
        if !root.is_dir() {
            return Err(io::Error::new(
                io::ErrorKind::NotADirectory,
                "not a directory; name the one that holds policy.toml",
            ));
        }
        Ok(Self { root })
    }

    /// The whole content of a file that has at most `limit` bytes. The path is relative to the repository and may have `..` in it.
    ///
    /// # Errors
    ///
    /// As for [`Files::read`].
    pub fn read_bounded(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        let path = self.resolve(path)?;
        // What is opened may be another file than the one that was looked at. Opening must neither follow a link that has just been put
        // there, nor wait for the other end of a pipe.
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;
        let file = fs::File::options().read(true).custom_flags(flags).open(path)?;
        let before = file.metadata()?;
        if !before.is_file() {
            return Err(irregular(&before));
        }
        if before.len() > limit {
            return Err(too_large(limit));
        }
        let mut content = Vec::with_capacity(usize::try_from(before.len()).unwrap_or(0));
        (&file).take(limit + 1).read_to_end(&mut content)?;
        let after = file.metadata()?;
        let facts = |facts: &fs::Metadata| (facts.len(), facts.mtime(), facts.mtime_nsec());
        if facts(&before) != facts(&after) || content.len() as u64 != after.len() {
            // Half of a list is no list.
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, "it changed while it was read"));
        }
        Ok(content)
    }

    /// The path of a regular file in the repository, without links.
    fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        // The repository is untrusted, it may be anyone's pull request: a link must not read other files of this host into
        // diagnostics, and a device or pipe must not block the daemon.
        let real = fs::canonicalize(self.root.join(path))?;
        if !real.starts_with(&self.root) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                if stays_inside(path) {
                    "a symbolic link leads out of the policy's directory"
                } else {
                    "it is outside of the policy's directory"
                },
            ));
        }
        let facts = fs::metadata(&real)?;
        if !facts.is_file() {
            return Err(irregular(&facts));
        }
        Ok(real)
    }
}

impl Files for Directory {
    fn read(&self, path: &Path, limit: u64) -> io::Result<Cow<'_, [u8]>> {
        self.read_bounded(path, limit).map(Cow::Owned)
    }

    fn names(&self) -> Vec<String> {
        const LIMIT: usize = 1000;
        let mut names = Vec::new();
        let mut folders = vec![self.root.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
                match entry.file_type() {
                    Ok(kind) if kind.is_dir() && !hidden => folders.push(entry.path()),
                    Ok(kind) if kind.is_file() => {
                        names.extend(entry.path().strip_prefix(&self.root).map(|path| path.display().to_string()));
                    }
                    _ => {}
                }
                if names.len() + folders.len() > LIMIT {
                    return names;
                }
            }
        }
        names
    }
}

/// A policy repository in memory: paths and contents.
#[derive(Clone, Copy, Debug)]
pub struct Table<'a>(pub &'a [(&'a str, &'a [u8])]);

impl Files for Table<'_> {
    fn read(&self, path: &Path, limit: u64) -> io::Result<Cow<'_, [u8]>> {
        // `./lists/x` and `lists/x` are the same file.
        let wanted: PathBuf = path.components().filter(|part| *part != Component::CurDir).collect();
        let found = self.0.iter().find(|(name, _)| Path::new(name) == wanted);
        let (_, content) = found.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no such file"))?;
        if content.len() as u64 > limit { Err(too_large(limit)) } else { Ok(Cow::Borrowed(*content)) }
    }

    fn names(&self) -> Vec<String> {
        self.0.iter().map(|(name, _)| (*name).to_owned()).collect()
    }
}
