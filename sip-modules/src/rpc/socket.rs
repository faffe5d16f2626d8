//! The socket file.

use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Socket, Type};

/// Who may connect: whoever runs the proxy, and root.
const MODE: u32 = 0o600;

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SocketError {
    /// Somebody answers there.
    #[error("cannot listen on {0}: another process listens there; stop it or choose another path")]
    InUse(PathBuf),
    /// Something else has that name.
    #[error("cannot listen on {0}: there is something that is not a socket; remove it or choose another path")]
    NotASocket(PathBuf),
    /// The system refuses.
    #[error("cannot listen on {path}: {error}")]
    System {
        /// The socket's path.
        path: PathBuf,
        /// The system's reason.
        error: io::Error,
    },
}

/// A listening socket; its file goes with it.
#[derive(Debug)]
pub(super) struct SocketFile {
    pub(super) listener: UnixListener,
    path: PathBuf,
    /// Device and inode, to tell the file from one that somebody else has put there since.
    file: (u64, u64),
}

impl SocketFile {
    /// Creates the socket file; one that nobody listens on any more is replaced.
    pub(super) fn bind(path: &Path) -> Result<SocketFile, SocketError> {
        let system = |error| SocketError::System { path: path.to_owned(), error };
        let listener = match listen(path) {
            Err(error) if error.kind() == ErrorKind::AddrInUse => {
                remove_stale(path)?;
                listen(path)
            }
            other => other,
        };
        let listener = listener.map_err(system)?;
        let metadata = fs::symlink_metadata(path).map_err(system)?;
        Ok(SocketFile { listener, path: path.to_owned(), file: (metadata.dev(), metadata.ino()) })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path).is_ok_and(|found| (found.dev(), found.ino()) == self.file);
        if ours && let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(target: "rpc", "cannot remove {}: {error}", self.path.display());
        }
    }
}

fn listen(path: &Path) -> io::Result<UnixListener> {
    // The mode is set before the file exists: there is no moment in which others could connect.
    let file = File::from(OwnedFd::from(Socket::new(Domain::UNIX, Type::STREAM, None)?));
    file.set_permissions(Permissions::from_mode(MODE))?;
    let socket = Socket::from(OwnedFd::from(file));
    socket.bind(&SockAddr::unix(path)?)?;
    socket.listen(64)?;
    Ok(UnixListener::from(OwnedFd::from(socket)))
}

/// Removes a socket file if nobody listens on it.
fn remove_stale(path: &Path) -> Result<(), SocketError> {
    let system = |error| SocketError::System { path: path.to_owned(), error };
    if !fs::symlink_metadata(path).map_err(system)?.file_type().is_socket() {
        return Err(SocketError::NotASocket(path.to_owned()));
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(SocketError::InUse(path.to_owned())),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
            tracing::info!(target: "rpc", "{} is left from a process that is gone; replaced", path.display());
            fs::remove_file(path).map_err(system)
        }
        Err(error) => Err(system(error)),
    }
}
