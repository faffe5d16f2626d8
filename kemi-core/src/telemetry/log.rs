//! Log lines whose subscriber may panic.

use std::any::Any;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};

use tracing::span::EnteredSpan;

/// Runs a closure that writes log lines, and keeps a panic of the log's subscriber from the caller.
///
/// Log lines are written between an interpreter in C and its host, where a panic must not pass, and on threads that all
/// calls depend on. So a panic of the subscriber costs its line only.
///
/// ```
/// kemi_core::telemetry::log_guarded(|| tracing::warn!("the disk is full"));
/// kemi_core::telemetry::log_guarded(|| panic!("and so is the log's"));
/// ```
#[cold]
#[inline(never)]
pub fn log_guarded(run: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(run)) {
        discard(payload);
    }
}

/// Drops the payload of a panic, which may panic again.
#[cold]
pub(crate) fn discard(payload: Box<dyn Any + Send>) {
    if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        // A payload that panics even now is leaked.
        mem::forget(again);
    }
}

/// A span that was entered, as far as the log's subscriber allows.
pub(crate) struct GuardedSpan(Option<EnteredSpan>);

/// Enters a span.
#[cold]
pub(crate) fn span_guarded(enter: impl FnOnce() -> EnteredSpan) -> GuardedSpan {
    let mut span = None;
    log_guarded(|| span = Some(enter()));
    GuardedSpan(span)
}

impl Drop for GuardedSpan {
    fn drop(&mut self) {
        if let Some(span) = self.0.take() {
            log_guarded(|| drop(span));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Panics wherever it can.
    struct Payload;

    impl Drop for Payload {
        fn drop(&mut self) {
            std::panic::panic_any(Payload);
        }
    }

    #[test]
    fn a_panic_ends_with_the_log_line_and_so_does_one_of_its_payload() {
        let mut ran = 0;
        log_guarded(|| ran += 1);
        log_guarded(|| panic!("a subscriber"));
        log_guarded(|| std::panic::panic_any(Payload));
        discard(Box::new(Payload));
        assert_eq!(ran, 1);
    }
}
