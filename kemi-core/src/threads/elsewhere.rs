//! Work that blocks, for callers that must not.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// Runs a closure on a thread of its own and waits for it as a task.
///
/// It goes on if nobody waits any more. Where the system gives no thread it runs here.
pub(super) async fn elsewhere<R: Send + 'static>(name: &str, run: impl FnOnce() -> R + Send + 'static) -> R {
    let (reply, answer) = oneshot::channel();
    let work = Arc::new(Mutex::new(Some(move || {
        // Whoever waited may have gone.
        let _ = reply.send(catch_unwind(AssertUnwindSafe(run)));
    })));
    let take = |work: &Mutex<Option<_>>| work.lock().unwrap_or_else(PoisonError::into_inner).take();
    let there = work.clone();
    let started = thread::Builder::new().name(name.to_owned()).spawn(move || {
        if let Some(work) = take(&there) {
            work();
        }
    });
    if started.is_err()
        && let Some(work) = take(&work)
    {
        work();
    }
    match answer.await {
        Ok(Ok(result)) => result,
        Ok(Err(payload)) => resume_unwind(payload),
        Err(_) => unreachable!("the closure sends what it ends with"),
    }
}
