//! What can go wrong with a socket.

use std::{io, net::SocketAddr};

/// A socket operation that failed as a whole.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// The socket could not be opened; usually the address is in use, or not one of this machine.
    #[error("UDP socket {addr}: cannot {step}: {source}")]
    Bind {
        /// The address asked for.
        addr: SocketAddr,
        /// The step that failed.
        step: &'static str,
        /// The system's answer.
        source: io::Error,
    },
    /// Waiting for datagrams or reading them failed; the socket can be tried again.
    #[error("UDP socket {addr}: cannot receive: {source}")]
    Receive {
        /// The local address.
        addr: SocketAddr,
        /// The system's answer.
        source: io::Error,
    },
    /// The waker's event could not be made; usually the process has no file descriptors left.
    #[error("cannot make the event that wakes a worker: {0}")]
    Waker(io::Error),
}

/// A datagram that could not be sent; the others of its batch are not affected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// It is longer than UDP can carry; use a stream transport.
    #[error("datagram of {len} bytes to {dest} is longer than UDP's {max}")]
    TooLong {
        /// Where it was to go.
        dest: SocketAddr,
        /// Its length.
        len: usize,
        /// The most that UDP carries to such an address.
        max: usize,
    },
    /// The system refused it.
    #[error("cannot send to {dest}: {source}")]
    Refused {
        /// Where it was to go.
        dest: SocketAddr,
        /// The system's answer; `WouldBlock` when the send buffer stayed full.
        source: io::Error,
    },
}

impl SendError {
    /// Returns whether the same datagram may pass a moment later: a buffer was full.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::TooLong { .. } => false,
            Self::Refused { source, .. } => {
                source.kind() == io::ErrorKind::WouldBlock || source.raw_os_error() == Some(libc::ENOBUFS)
            }
        }
    }

    /// Where the datagram was to go.
    pub fn dest(&self) -> SocketAddr {
        match self {
            Self::TooLong { dest, .. } | Self::Refused { dest, .. } => *dest,
        }
    }
}
