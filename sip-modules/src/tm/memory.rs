//! How much the transactions hold, and how much they may.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How many milliseconds pass at least before the log says again that there is no room.
const REPORT_EVERY: u64 = 10_000;

/// The memory of all transactions of a proxy.
///
/// Each counts its own [`Share`]. Whether there is room is asked before a transaction is made and nothing is set aside
/// then, so workers that ask at the same time may take more: one transaction each.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    limit: u64,
    held: Arc<Held>,
    next_report: AtomicU64,
}

/// Written by all workers, so apart from what they only read.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Held(AtomicU64);

impl Memory {
    /// Takes the most bytes that all transactions may hold; 0 for no limit.
    pub(crate) fn new(limit: u64) -> Memory {
        Memory { limit, ..Memory::default() }
    }

    /// Returns how many bytes all transactions hold.
    pub(crate) fn held(&self) -> u64 {
        self.held.0.load(Ordering::Relaxed)
    }

    /// Returns whether one more transaction may be made. An eighth is kept for requests within a dialog, so that
    /// calls can be ended while others want to begin some.
    pub(crate) fn has_room(&self, within_dialog: bool) -> bool {
        let kept = if within_dialog { 0 } else { self.limit / 8 };
        self.limit == 0 || self.held() < self.limit - kept
    }

    /// Returns a share of nothing.
    pub(super) fn share(&self) -> Share {
        Share { held: Arc::clone(&self.held), bytes: 0 }
    }

    /// Says in the log that there is no room, unless it was said just before; `now` is the proxy's clock.
    pub(super) fn report(&self, now: u64) {
        let due = self.next_report.load(Ordering::Relaxed);
        let next = now.saturating_add(REPORT_EVERY);
        if now < due || self.next_report.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            return;
        }
        tracing::warn!(
            "the transactions hold {} of the {} bytes that they may (modparam tm max_memory): requests that need one are \
             answered 503 until others have ended; sip_transactions_refused_total counts them",
            self.held(),
            self.limit
        );
    }
}

/// What one transaction holds; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    held: Arc<Held>,
    bytes: u64,
}

impl Share {
    /// Returns how many bytes it is.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Says how many bytes it is now.
    pub(super) fn set(&mut self, bytes: usize) {
        let bytes = bytes as u64;
        if bytes != self.bytes {
            // A difference below zero wraps around, and so does the sum.
            self.held.0.fetch_add(bytes.wrapping_sub(self.bytes), Ordering::Relaxed);
            self.bytes = bytes;
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up_and_are_given_back() {
        let memory = Memory::new(1000);
        let (mut one, mut two) = (memory.share(), memory.share());
        one.set(300);
        two.set(500);
        one.set(100);
        assert_eq!(memory.held(), 600);
        drop(two);
        assert_eq!(memory.held(), 100);
        drop(one);
        assert_eq!(memory.held(), 0);
    }

    #[test]
    fn the_last_eighth_is_for_dialogs() {
        let memory = Memory::new(800);
        let mut share = memory.share();
        for (held, outside, within) in [(0, true, true), (699, true, true), (700, false, true), (800, false, false)] {
            share.set(held);
            assert_eq!((memory.has_room(false), memory.has_room(true)), (outside, within), "{held}");
        }
    }

    #[test]
    fn without_a_limit_there_is_always_room() {
        let memory = Memory::new(0);
        memory.share().set(usize::MAX);
        let mut share = memory.share();
        share.set(usize::MAX);
        assert!(memory.has_room(false) && memory.has_room(true));
    }
}
