//! Access to a policy's files: in a directory, or in a table inside the binary.

use std::{
    borrow::Cow,
    fs,
    io::{self, Read as _},
    path::{Component, Path, PathBuf},
};

/// The files of one policy repository. Paths are relative to it and have passed [`stays_inside`].
pub trait Files {
    /// The whole content of a file.
    ///
    /// # Errors
    ///
    /// The file cannot be read; `InvalidInput` if a symbolic link leads out of the repository.
    fn read(&self, path: &Path) -> io::Result<Cow<'_, [u8]>>;

    /// All files of the repository, for "did you mean". May be empty or incomplete.
    fn names(&self) -> Vec<String>;
}

/// True if a path, before symbolic links are resolved, cannot leave the directory that it is relative to.
#[must_use]
pub fn stays_inside(path: &Path) -> bool {
    path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
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
            return Err(io::Error::new(io::ErrorKind::NotADirectory, "not a directory"));
        }
        Ok(Self { root })
    }

    /// The whole content of a file that has at most `limit` bytes. The path is relative to the repository and may have `..` in it.
    ///
    /// # Errors
    ///
    /// The file cannot be read; `InvalidInput` if it is outside of the repository; `FileTooLarge` if it has more bytes.
    pub fn read_bounded(&self, path: &Path, limit: usize) -> io::Result<Vec<u8>> {
        let path = self.resolve(path)?;
        let mut content = Vec::new();
        // Read, and not asked for: a file can grow.
        fs::File::open(path)?.take(limit as u64 + 1).read_to_end(&mut content)?;
        if content.len() > limit {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it has more than {limit} bytes")));
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
        if !fs::metadata(&real)?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        Ok(real)
    }
}

impl Files for Directory {
    fn read(&self, path: &Path) -> io::Result<Cow<'_, [u8]>> {
        fs::read(self.resolve(path)?).map(Cow::Owned)
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
    fn read(&self, path: &Path) -> io::Result<Cow<'_, [u8]>> {
        // `./lists/x` and `lists/x` are the same file.
        let wanted: PathBuf = path.components().filter(|part| *part != Component::CurDir).collect();
        self.0
            .iter()
            .find(|(name, _)| Path::new(name) == wanted)
            .map(|(_, content)| Cow::Borrowed(*content))
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no such file"))
    }

    fn names(&self) -> Vec<String> {
        self.0.iter().map(|(name, _)| (*name).to_owned()).collect()
    }
}
