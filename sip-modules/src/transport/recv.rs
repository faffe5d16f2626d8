//! Receiving many datagrams with one system call.

use std::{
    io,
    mem::{self, MaybeUninit},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6},
    os::fd::{AsRawFd, BorrowedFd},
    ptr,
};

/// How many datagrams one call receives at most.
pub const RECV_BATCH: usize = 32;

/// The longest datagram that is received whole.
pub const MAX_RECEIVED: usize = 65_535;

/// Room for [`RECV_BATCH`] datagrams, reused from call to call.
///
/// Two megabytes of address space, of which the system provides only what datagrams have filled.
pub struct RecvBatch {
    arena: Vec<u8>,
    meta: Vec<Meta>,
    limit: usize,
}

#[derive(Clone, Copy)]
struct Meta {
    buffer: usize,
    len: usize,
    source: SocketAddr,
    truncated: bool,
}

/// A received datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// Its payload.
    pub bytes: &'a [u8],
    /// Who sent it.
    pub source: SocketAddr,
    /// Whether it was longer than the buffer, so that the end is missing.
    pub truncated: bool,
}

/// Why a receiving call came back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Turn {
    /// How many datagrams the batch holds now; none after a time-out.
    pub datagrams: usize,
    /// Whether the waker was used.
    pub woken: bool,
}

impl RecvBatch {
    /// Room for a batch.
    pub fn new() -> Self {
        Self {
            // Zeroed memory of this size comes from the system untouched.
            arena: vec![0; RECV_BATCH * MAX_RECEIVED],
            meta: Vec::with_capacity(RECV_BATCH),
            limit: RECV_BATCH,
        }
    }

    /// Sets how many datagrams a call receives at most from now on: 1 to [`RECV_BATCH`].
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit.clamp(1, RECV_BATCH);
    }

    /// Returns how many datagrams a call receives at most.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// The datagrams of the last call, in the order of arrival.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Datagram<'_>> {
        self.meta.iter().map(|meta| {
            let start = meta.buffer * MAX_RECEIVED;
            Datagram { bytes: &self.arena[start..start + meta.len], source: meta.source, truncated: meta.truncated }
        })
    }

    /// How many datagrams it holds.
    pub fn len(&self) -> usize {
        self.meta.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.meta.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.meta.clear();
    }

    /// Fills the batch with what is there, without waiting.
    pub(super) fn fill(&mut self, socket: BorrowedFd<'_>) -> io::Result<()> {
        self.meta.clear();
        let mut names = [const { MaybeUninit::<libc::sockaddr_storage>::uninit() }; RECV_BATCH];
        let mut parts = [libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 }; RECV_BATCH];
        // SAFETY: a mmsghdr consists of integers and pointers, for which all zeros is a valid value.
        let mut headers: [libc::mmsghdr; RECV_BATCH] = unsafe { mem::zeroed() };
        let limit = self.limit.clamp(1, RECV_BATCH);
        let buffers = self.arena.chunks_exact_mut(MAX_RECEIVED).take(limit);
        for (((header, part), name), buffer) in headers.iter_mut().zip(&mut parts).zip(&mut names).zip(buffers) {
            part.iov_base = buffer.as_mut_ptr().cast();
            part.iov_len = buffer.len();
            header.msg_hdr.msg_iov = part;
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_name = name.as_mut_ptr().cast();
            header.msg_hdr.msg_namelen = mem::size_of::<libc::sockaddr_storage>() as u32;
        }
        // SAFETY: each of the first `limit` headers points to one buffer of the arena and one name, all of the stated lengths, distinct,
        // and alive until after the call; no control data and no time-out are given.
        let received = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                headers.as_mut_ptr(),
                limit as u32,
                libc::MSG_DONTWAIT as _,
                ptr::null_mut(),
            )
        };
        let received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
        for (buffer, (header, name)) in headers.iter().zip(&names).take(received).enumerate() {
            // SAFETY: the kernel has written `msg_namelen` bytes of this datagram's name.
            let source = unsafe { address(name, header.msg_hdr.msg_namelen) };
            // Without a source there is nobody to talk to; UDP over IP always gives one.
            let Some(source) = source else { continue };
            self.meta.push(Meta {
                buffer,
                len: (header.msg_len as usize).min(MAX_RECEIVED),
                source,
                truncated: header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0,
            });
        }
        Ok(())
    }
}

impl Default for RecvBatch {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for RecvBatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// Reads the address that the kernel has written.
///
/// # Safety
///
/// The first `len` bytes of `name` are initialised.
unsafe fn address(name: &MaybeUninit<libc::sockaddr_storage>, len: u32) -> Option<SocketAddr> {
    let len = len as usize;
    if len < mem::size_of::<libc::sa_family_t>() {
        return None;
    }
    // SAFETY: the family comes first in every sockaddr and lies within the `len` bytes of this function's contract.
    let family = unsafe { name.as_ptr().cast::<libc::sa_family_t>().read() };
    match libc::c_int::from(family) {
        libc::AF_INET if len >= mem::size_of::<libc::sockaddr_in>() => {
            // SAFETY: the contract covers a whole sockaddr_in, and the storage is aligned for every sockaddr.
            let addr = unsafe { name.as_ptr().cast::<libc::sockaddr_in>().read() };
            let ip = Ipv4Addr::from(u32::from_be(addr.sin_addr.s_addr));
            Some(SocketAddrV4::new(ip, u16::from_be(addr.sin_port)).into())
        }
        libc::AF_INET6 if len >= mem::size_of::<libc::sockaddr_in6>() => {
            // SAFETY: as above, for a sockaddr_in6.
            let addr = unsafe { name.as_ptr().cast::<libc::sockaddr_in6>().read() };
            let ip = Ipv6Addr::from(addr.sin6_addr.s6_addr);
            let port = u16::from_be(addr.sin6_port);
            Some(SocketAddrV6::new(ip, port, addr.sin6_flowinfo, addr.sin6_scope_id).into())
        }
        _ => None,
    }
}
