//! Sending many datagrams with one system call.

use std::{
    io,
    mem::{self, MaybeUninit},
    net::SocketAddr,
    ops::Range,
    os::fd::{AsFd, AsRawFd},
    time::{Duration, Instant},
};

use socket2::SockAddr;

use super::{
    error::SendError,
    udp::{UdpSocket, wait},
};

/// The longest payload UDP carries over IPv4.
pub const MAX_DATAGRAM_V4: usize = 65_507;
/// The longest payload UDP carries over IPv6.
pub const MAX_DATAGRAM_V6: usize = 65_527;

/// How many datagrams one call sends at most.
const CHUNK: usize = 64;
/// How long a flush waits in all for room in the send buffer; a worker must not hang on one.
const PATIENCE: Duration = Duration::from_millis(50);

/// Datagrams that wait to be sent together, in one block of memory that is reused.
///
/// Each has a tag, by which its owner knows it again if it is not sent.
pub struct SendBatch<T = ()> {
    arena: Vec<u8>,
    queue: Vec<Queued<T>>,
}

struct Queued<T> {
    tag: T,
    bytes: Range<usize>,
    dest: SocketAddr,
    name: SockAddr,
}

/// What became of a batch.
#[derive(Debug)]
pub struct Flushed<T = ()> {
    /// How many datagrams were sent.
    pub sent: usize,
    /// The tags of those that were not, with the reason.
    pub errors: Vec<(T, SendError)>,
}

impl<T> Default for SendBatch<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> SendBatch<T> {
    /// An empty batch.
    pub fn new() -> Self {
        Self { arena: Vec::new(), queue: Vec::new() }
    }

    /// Copies a datagram into the batch.
    ///
    /// # Errors
    ///
    /// [`SendError::TooLong`] for one that UDP cannot carry; the batch is as before.
    pub fn queue(&mut self, bytes: &[u8], dest: SocketAddr, tag: T) -> Result<(), SendError> {
        let max = match dest {
            SocketAddr::V4(_) => MAX_DATAGRAM_V4,
            SocketAddr::V6(_) => MAX_DATAGRAM_V6,
        };
        if bytes.len() > max {
            let len = bytes.len();
            return Err(SendError::TooLong { dest, len, max });
        }
        let start = self.arena.len();
        self.arena.extend_from_slice(bytes);
        self.queue.push(Queued { tag, bytes: start..self.arena.len(), dest, name: dest.into() });
        Ok(())
    }

    /// How many datagrams wait.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Hands everything to `sink` instead of sending it, in order, and empties the batch.
    pub fn drain(&mut self, mut sink: impl FnMut(&[u8], SocketAddr)) {
        for queued in &self.queue {
            sink(&self.arena[queued.bytes.clone()], queued.dest);
        }
        self.arena.clear();
        self.queue.clear();
    }

    /// Sends everything in order and empties the batch.
    ///
    /// A datagram that the system refuses is reported and the rest still sent. While the send buffer is full it waits,
    /// 50 ms in all; what does not fit by then is reported as `WouldBlock`, since SIP retransmits what matters.
    pub fn flush(&mut self, socket: &UdpSocket) -> Flushed<T>
    where
        T: Copy,
    {
        let mut flushed = Flushed { sent: 0, errors: Vec::new() };
        let mut deadline = None;
        let mut next = 0;
        while let Some(rest) = self.queue.get(next..).filter(|rest| !rest.is_empty()) {
            let error = match self.send(socket, rest) {
                Ok(sent) => {
                    flushed.sent += sent;
                    next += sent;
                    continue;
                }
                Err(error) => error,
            };
            match error.kind() {
                io::ErrorKind::Interrupted => continue,
                io::ErrorKind::WouldBlock => {
                    let deadline = *deadline.get_or_insert_with(|| Instant::now() + PATIENCE);
                    let left = deadline.saturating_duration_since(Instant::now());
                    let ready = !left.is_zero()
                        && wait([Some((socket.as_fd(), libc::POLLOUT)), None], Some(left))
                            .is_ok_and(|[ready, _]| ready);
                    if ready {
                        continue;
                    }
                    // Whoever comes after would wait for nothing, too.
                    flushed.errors.extend(rest.iter().map(|queued| {
                        let source = io::ErrorKind::WouldBlock.into();
                        queued.refused(source)
                    }));
                    break;
                }
                // The error is about the first of the rest.
                _ => {
                    flushed.errors.extend(rest.first().map(|queued| queued.refused(error)));
                    next += 1;
                }
            }
        }
        self.arena.clear();
        self.queue.clear();
        flushed
    }

    /// Sends the beginning of `rest`; gives how many were sent, at least one.
    fn send(&self, socket: &UdpSocket, rest: &[Queued<T>]) -> io::Result<usize> {
        let mut parts = [const { MaybeUninit::<libc::iovec>::uninit() }; CHUNK];
        let mut headers = [const { MaybeUninit::<libc::mmsghdr>::uninit() }; CHUNK];
        for ((header, part), queued) in headers.iter_mut().zip(&mut parts).zip(rest) {
            let bytes = &self.arena[queued.bytes.clone()];
            let part = part.write(libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() });
            // SAFETY: a mmsghdr consists of integers and pointers, for which all zeros is a valid value.
            let header = header.write(unsafe { mem::zeroed() });
            header.msg_hdr.msg_iov = part;
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_name = queued.name.as_ptr().cast_mut().cast();
            header.msg_hdr.msg_namelen = queued.name.len();
        }
        let count = rest.len().min(CHUNK) as u32;
        // SAFETY: the first `count` headers are written; they point to bytes of the arena and to names in `rest`, with their lengths; the
        // kernel only reads them, and they live until after the call.
        let sent = unsafe {
            libc::sendmmsg(socket.as_fd().as_raw_fd(), headers.as_mut_ptr().cast(), count, libc::MSG_DONTWAIT as _)
        };
        match usize::try_from(sent) {
            // Not documented to happen; taken as a full buffer it cannot make the caller spin.
            Ok(0) => Err(io::ErrorKind::WouldBlock.into()),
            Ok(sent) => Ok(sent),
            Err(_) => Err(io::Error::last_os_error()),
        }
    }
}

impl<T: Copy> Queued<T> {
    fn refused(&self, source: io::Error) -> (T, SendError) {
        (self.tag, SendError::Refused { dest: self.dest, source })
    }
}

impl<T> std::fmt::Debug for SendBatch<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SendBatch").field("datagrams", &self.queue.len()).field("bytes", &self.arena.len()).finish()
    }
}
