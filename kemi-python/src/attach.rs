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
