//! The clean-up after functions of the library that were ended in the middle.

use kemi_core::telemetry::log_guarded;
use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyString;

/// Cleans up a thread on which a call was terminated and no call runs any more.
pub(crate) fn after_termination(py: Python<'_>) {
    reset_running_loop(py);
    release_import_lock(py);
}

/// Takes back asyncio's mark that a loop runs on this thread: a loop whose clean-up was cut short leaves it behind, and no
/// other one could run on the thread.
fn reset_running_loop(py: Python<'_>) {
    if let Some(asyncio) = loaded(intern!(py, "_asyncio"))
        && let Err(error) = asyncio.call_method1(intern!(py, "_set_running_loop"), (py.None(),))
    {
        log_guarded(|| tracing::warn!(target: "kemi", "asyncio's running loop cannot be reset: {error}"));
    }
}

/// Gives the import lock back. An end that comes between the taking of it and the `try` behind that leaves it with this
/// thread, and every later import in the process would wait for ever.
fn release_import_lock(py: Python<'_>) {
    let Some(imp) = loaded(intern!(py, "_imp")) else { return };
    // It is an error for a thread that does not hold it, which is nearly always the case. No call runs on this one.
    while imp.call_method0(intern!(py, "release_lock")).is_ok() {
        log_guarded(|| tracing::debug!(target: "kemi", "a call that was ended had left the import lock behind"));
    }
}

/// Returns a module if it is loaded.
fn loaded<'py>(name: &Bound<'py, PyString>) -> Option<Bound<'py, PyAny>> {
    // SAFETY: it looks the name up among the modules that are loaded and gives a new reference or none.
    unsafe { Bound::from_owned_ptr_or_opt(name.py(), ffi::PyImport_GetModule(name.as_ptr())) }
}
