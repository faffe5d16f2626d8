//! A panic that is caught for good.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

/// Does some work; `None` if it panics. What it panicked with is not dropped, since that may panic as well.
///
/// The panic hook has said where, so nothing is lost but some bytes.
pub(crate) fn caught<T>(work: impl FnOnce() -> T) -> Option<T> {
    forget(catch_unwind(AssertUnwindSafe(work)))
}

/// Returns what a thread has returned; `None` if it has panicked.
pub(crate) fn forget<T>(result: thread::Result<T>) -> Option<T> {
    result.map_err(|payload: Box<dyn Any + Send>| std::mem::forget(payload)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Bomb;

    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("once more");
        }
    }

    #[test]
    fn a_payload_whose_end_panics_too_ends_nothing() {
        assert_eq!(caught(|| 1), Some(1));
        assert_eq!(caught(|| std::panic::panic_any(Bomb)), None::<()>);
    }
}
