//! Interrupts a thread that waits for datagrams.

use std::{
    fs::File,
    io::{self, Read, Write},
    os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use super::error::TransportError;

/// Ends another thread's [`recv_batch`](super::UdpSocket::recv_batch); clones wake the same thread.
#[derive(Clone, Debug)]
pub struct Waker {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// An eventfd: readable while a wake-up is pending.
    event: File,
    /// The same in memory, so that a busy receiver sees it without a system call.
    pending: AtomicBool,
}

impl Waker {
    /// Makes a waker without a wake-up pending.
    ///
    /// # Errors
    ///
    /// [`TransportError::Waker`] when the system has no event to give.
    pub fn new() -> Result<Self, TransportError> {
        // SAFETY: eventfd takes two integers and no pointer.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(TransportError::Waker(io::Error::last_os_error()));
        }
        // SAFETY: the call succeeded, so `fd` is open, and nobody else has it.
        let event = File::from(unsafe { OwnedFd::from_raw_fd(fd) });
        Ok(Self { shared: Arc::new(Shared { event, pending: AtomicBool::new(false) }) })
    }

    /// Wakes the receiver now, or its next wait if it is busy; several calls before that count once.
    pub fn wake(&self) {
        if !self.shared.pending.swap(true, Ordering::AcqRel) {
            // The counter is at most a few wake-ups high, so the write cannot fail for being full.
            let _ = (&self.shared.event).write(&1u64.to_ne_bytes());
        }
    }

    /// Takes a pending wake-up, if there is one.
    pub(super) fn take(&self) -> bool {
        if !self.shared.pending.load(Ordering::Acquire) {
            return false;
        }
        // The flag is cleared before the event is read, so that no wake-up in between is lost.
        self.shared.pending.store(false, Ordering::Release);
        self.drain();
        true
    }

    /// Empties an event that is readable although no wake-up is pending.
    ///
    /// That happens when [`take`](Self::take) comes between the two steps of [`wake`](Self::wake); left alone, it would
    /// end every later wait. A wake-up that is lost from the event here has set the flag, which is looked at next.
    pub(super) fn discard_stray(&self) {
        if !self.shared.pending.load(Ordering::Acquire) {
            self.drain();
        }
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.shared.event.as_fd()
    }

    fn drain(&self) {
        let mut count = [0; 8];
        // Not readable means already empty.
        let _ = (&self.shared.event).read(&mut count);
    }
}
