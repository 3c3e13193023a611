//! The daemon's socket.

use std::{
    fs, io,
    os::unix::{fs::PermissionsExt as _, net::UnixStream},
    path::{Path, PathBuf},
};

use tokio::net::UnixListener;

/// The daemon's socket unless another is named.
pub const DEFAULT_SOCKET: &str = "/run/ringfence.sock";

/// Why the socket could not be made.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// The system refused.
    #[error("failed to make the socket {}: {error}", path.display())]
    Bind {
        /// Where the socket was to be made.
        path: PathBuf,
        /// The error of the system call.
        error: io::Error,
    },
    /// Another daemon answers there.
    #[error("another daemon answers at {}", .0.display())]
    Taken(PathBuf),
}

/// The socket, bound. Two daemons never answer at one path.
#[derive(Debug)]
pub struct Socket {
    pub(super) listener: UnixListener,
    pub(super) file: SocketFile,
}

impl Socket {
    /// Binds it; replaces the file of a daemon that was killed.
    ///
    /// # Errors
    /// Another daemon answers there, or the system refuses.
    pub fn bind(path: &Path) -> Result<Self, SocketError> {
        let failed = |error| SocketError::Bind { path: path.to_path_buf(), error };
        if path.exists() {
            match UnixStream::connect(path) {
                Ok(_) => return Err(SocketError::Taken(path.to_path_buf())),
                // Left over from a daemon that was killed.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    fs::remove_file(path).map_err(failed)?;
                }
                Err(error) => return Err(failed(error)),
            }
        }
        let listener = UnixListener::bind(path).map_err(failed)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(failed)?;
        Ok(Self { listener, file: SocketFile(path.to_path_buf()) })
    }
}

/// The socket's file, removed on drop.
#[derive(Debug)]
pub(super) struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bind(path: &Path) -> Result<Socket, SocketError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        let _context = runtime.enter();
        Socket::bind(path)
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
}
