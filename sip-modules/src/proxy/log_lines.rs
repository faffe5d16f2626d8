//! How many lines of the process's log were lost. A process has one log, and its host writes it.

use std::sync::atomic::{AtomicU64, Ordering};

static LOST: AtomicU64 = AtomicU64::new(0);

/// Counts lines that could not be written.
pub fn lose(lines: u64) {
    LOST.fetch_add(lines, Ordering::Relaxed);
}

/// Returns how many lines were lost since the start; among the [`Metrics`](crate::proxy::Metrics), too.
#[must_use]
pub fn lost() -> u64 {
    LOST.load(Ordering::Relaxed)
}
