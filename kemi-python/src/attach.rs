//! Attaching threads to the one Python interpreter of the process.

use pyo3::ffi;
use pyo3::prelude::*;

/// Runs a closure with the thread attached to Python: calls into scripts inside it need not attach, which is most of
/// what a call of a short callback costs.
///
/// A worker thread wraps its whole loop in it, and its waits in [`detached`]. Python is initialised if need be, without
/// signal handlers.
///
/// ```no_run
/// # fn next_event() -> Option<u32> { None }
/// kemi_python::attached(|| {
///     while let Some(event) = kemi_python::detached(next_event) {
///         // Call the instance with the event.
///         # let _ = event;
///     }
/// });
/// ```
pub fn attached<R>(run: impl FnOnce() -> R) -> R {
    Python::initialize();
    Python::attach(|_| run())
}

/// Runs a closure that does not touch Python, such as a wait, and lets other threads run Python meanwhile.
///
/// Where the thread is not attached it just runs the closure. The closure may call into scripts again; it is attached
/// for such a call.
pub fn detached<R: Send>(run: impl FnOnce() -> R + Send) -> R {
    // SAFETY: both functions may be called at any time, by any thread.
    let attached = unsafe { ffi::Py_IsInitialized() != 0 && ffi::PyGILState_Check() != 0 };
    if attached { Python::attach(|py| py.detach(run)) } else { run() }
}

/// Keeps the calling thread's Python state from now until the thread ends.
///
/// A thread that attaches without one gets a fresh state each time, and a fresh stack with its first frame: two system
/// calls and a page fault for each callback.
pub(crate) fn keep_thread_state(_py: Python<'_>) {
    thread_local! {
        static KEPT: Kept = Kept::new();
    }
    // Not on a thread that is about to end; there is nothing left to keep it for.
    let _ = KEPT.try_with(|_| ());
}

/// One count on the thread's state that is not given back while this lives.
struct Kept(ffi::PyGILState_STATE);

impl Kept {
    fn new() -> Kept {
        // SAFETY: the caller is attached, so this only raises the count of the state it has.
        Kept(unsafe { ffi::PyGILState_Ensure() })
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        // SAFETY: Python is never finalised. The count kept is given back while the thread is attached by another one,
        // whose release then lets go of the state.
        unsafe {
            let attached = ffi::PyGILState_Ensure();
            ffi::PyGILState_Release(self.0);
            ffi::PyGILState_Release(attached);
        }
    }
}
