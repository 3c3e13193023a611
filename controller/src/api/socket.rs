//! The daemon's socket.

use std::{
    fs::{self, DirBuilder, Metadata, Permissions},
    io,
    os::unix::{
        fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _, chown},
        net::UnixStream,
    },
    path::{Path, PathBuf},
};

use filter_policy::{files::what_it_is, language::printable};
use tokio::net::UnixListener;

use super::group;

/// The daemon's socket unless another is named.
pub const DEFAULT_SOCKET: &str = "/run/ringfence/ringfence.sock";

/// Why the socket could not be made.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// The system refused.
    #[error("failed to make the socket {}: {error}", printable::path(path))]
    Bind {
        /// Where the socket was to be made.
        path: PathBuf,
        /// The error of the system call.
        error: io::Error,
    },
    /// The directory of the socket could not be made.
    #[error("failed to make the directory {} for the socket: {error}", printable::path(directory))]
    Directory {
        /// The directory.
        directory: PathBuf,
        /// The error of the system call.
        error: io::Error,
    },
    /// Something else has the path. It is not touched.
    #[error("{} is {what}, not a socket; it is left as it is", printable::path(path))]
    NotASocket {
        /// The path.
        path: PathBuf,
        /// What is there.
        what: &'static str,
    },
    /// Another daemon answers there.
    #[error("another daemon answers at {}", printable::path(.0))]
    Taken(PathBuf),
}

impl SocketError {
    /// What the operator can do about it.
    #[must_use]
    pub fn help(&self) -> String {
        match self {
            Self::Bind { path, error } if error.kind() == io::ErrorKind::PermissionDenied => {
                let directory = path.parent().unwrap_or(path);
                format!(
                    "the daemon's user must be able to write to {}: `ls -ld {0}` shows its owner; or choose another \
                     socket: `--socket PATH`",
                    printable::path(directory)
                )
            }
            Self::Bind { .. } => "choose another socket: `--socket PATH`, at most 107 bytes long".to_owned(),
            Self::Directory { directory, .. } => {
                let directory = printable::path(directory);
                format!("make it as root, and give it to the daemon's user: `install -d -m 0750 -o USER {directory}`")
            }
            Self::NotASocket { path, .. } => format!(
                "`ls -ld {0}` shows it; move it away (`mv {0} {0}.old`), or choose another socket: `--socket PATH`",
                printable::path(path)
            ),
            Self::Taken(_) => {
                "`ringfence status` shows it; a second daemon needs its own `--socket` and `--pin-dir`".to_owned()
            }
        }
    }
}

/// The socket, bound. Two daemons never answer at one path.
#[derive(Debug)]
pub struct Socket {
    pub(super) listener: UnixListener,
    pub(super) file: SocketFile,
}

impl Socket {
    /// Binds it, for the daemon's user and the members of the group [`ringfence`](super::GROUP), if there is that group. Makes its directory
    /// if only that is missing. Replaces the socket of a daemon that was killed, and nothing else.
    ///
    /// # Errors
    /// Another daemon answers there, something that is no socket has the path, or the system refuses.
    pub fn bind(path: &Path) -> Result<Self, SocketError> {
        let group = group::id().unwrap_or_else(|error| {
            tracing::warn!("failed to look up the group {}: {error}", group::GROUP);
            None
        });
        Self::bind_for(path, group)
    }

    /// As [`Self::bind`], for a group of this id.
    fn bind_for(path: &Path, group: Option<u32>) -> Result<Self, SocketError> {
        let failed = |error| SocketError::Bind { path: path.to_path_buf(), error };
        make_directory(path, group)?;
        match fs::symlink_metadata(path) {
            Ok(found) => ensure_stale(path, &found)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        let listener = UnixListener::bind(path).map_err(failed)?;
        let file = SocketFile::new(path).map_err(failed)?;
        let mode = if given_to(path, group) { 0o660 } else { 0o600 };
        fs::set_permissions(path, Permissions::from_mode(mode)).map_err(failed)?;
        Ok(Self { listener, file })
    }
}

/// Makes the directory of the socket, unless it exists. Those above it are not the daemon's.
fn make_directory(path: &Path, group: Option<u32>) -> Result<(), SocketError> {
    // A name without a directory is in the working directory.
    let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) else { return Ok(()) };
    let failed = |error| SocketError::Directory { directory: directory.to_path_buf(), error };
    match DirBuilder::new().mode(0o750).create(directory) {
        Ok(()) => {
            // Without the group, the socket's own permissions say who may use it.
            let mode = if given_to(directory, group) { 0o750 } else { 0o755 };
            fs::set_permissions(directory, Permissions::from_mode(mode)).map_err(failed)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        // It may be there all the same, and not be the daemon's to make: binding says more.
        Err(_) if directory.is_dir() => Ok(()),
        Err(error) => Err(failed(error)),
    }
}

/// Gives a file to the group. False if there is none, or it cannot be given.
fn given_to(path: &Path, group: Option<u32>) -> bool {
    let Some(group) = group else { return false };
    chown(path, None, Some(group))
        .inspect_err(|error| {
            tracing::warn!("failed to give {} to the group {}: {error}", printable::path(path), group::GROUP);
        })
        .is_ok()
}

/// Removes the socket of a daemon that was killed. Anything else at the path is an error.
fn ensure_stale(path: &Path, found: &Metadata) -> Result<(), SocketError> {
    let failed = |error| SocketError::Bind { path: path.to_path_buf(), error };
    if !found.file_type().is_socket() {
        return Err(SocketError::NotASocket { path: path.to_path_buf(), what: what_it_is(found.file_type()) });
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(SocketError::Taken(path.to_path_buf())),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path).map_err(failed),
        // Its daemon has just ended.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed(error)),
    }
}

/// The socket's file, removed on drop, unless something else has its path by then.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    /// The device and the inode.
    id: (u64, u64),
}

impl SocketFile {
    fn new(path: &Path) -> io::Result<Self> {
        let facts = fs::symlink_metadata(path)?;
        Ok(Self { path: path.to_path_buf(), id: (facts.dev(), facts.ino()) })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let is_own = fs::symlink_metadata(&self.path)
            .is_ok_and(|facts| facts.file_type().is_socket() && (facts.dev(), facts.ino()) == self.id);
        if is_own {
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bind_for(path: &Path, group: Option<u32>) -> Result<Socket, SocketError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        let _context = runtime.enter();
        Socket::bind_for(path, group)
    }

    fn bind(path: &Path) -> Result<Socket, SocketError> {
        bind_for(path, None)
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn a_socket_that_nobody_answers_at_is_replaced_and_one_in_use_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "the file of a killed daemon");
        let socket = bind(&path).unwrap();
        assert!(matches!(bind(&path), Err(SocketError::Taken(taken)) if taken == path));
        drop(socket);
        assert!(!path.exists());
    }

    #[test]
    fn what_is_not_a_socket_stays_and_the_error_says_what_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("directory");
        fs::create_dir(&directory).unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "precious").unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        for (path, expected) in [(&directory, "a directory"), (&file, "a file"), (&link, "a symbolic link")] {
            let error = bind(path).unwrap_err();
            assert!(matches!(error, SocketError::NotASocket { what, .. } if what == expected), "{error}");
            assert!(error.help().contains(&format!("`mv {0} {0}.old`", path.display())), "{}", error.help());
            assert!(path.symlink_metadata().is_ok(), "{expected} is still there");
        }
        assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
    }

    #[test]
    fn what_has_taken_the_sockets_place_meanwhile_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let socket = bind(&path).unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, "precious").unwrap();
        drop(socket);
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
        fs::remove_file(&path).unwrap();
        let first = bind(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let second = bind(&path).unwrap();
        drop(first);
        assert!(path.exists(), "another daemon's");
        drop(second);
        assert!(!path.exists());
    }

    #[test]
    fn the_directory_is_made_but_not_those_above_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ringfence/socket");
        let socket = bind(&path).unwrap();
        assert_eq!((mode(&folder.path().join("ringfence")), mode(&path)), (0o755, 0o600));
        drop(socket);
        assert!(bind(&path).is_ok(), "a directory that is there will do");
        let error = bind(&folder.path().join("not/there/socket")).unwrap_err();
        assert!(matches!(error, SocketError::Directory { .. }), "{error}");
        assert!(error.help().contains("not/there`"), "{}", error.help());
    }

    #[test]
    fn a_group_gets_the_socket_and_the_directory_that_was_made_for_it() {
        let folder = tempfile::tempdir().unwrap();
        // A group that this process may give files to, whoever runs the test.
        let own = fs::metadata(folder.path()).unwrap().gid();
        let path = folder.path().join("ringfence/socket");
        let _socket = bind_for(&path, Some(own)).unwrap();
        assert_eq!((mode(&folder.path().join("ringfence")), mode(&path)), (0o750, 0o660));
        assert_eq!(fs::metadata(&path).unwrap().gid(), own);
    }
}
