//! How a callback ends where the script would catch everything: a trace function that raises on every line.

use std::cell::Cell;
use std::ffi::c_int;
use std::ptr;

use pyo3::exceptions::PySystemExit;
use pyo3::ffi;
use pyo3::prelude::*;

use crate::prelude::Prelude;

thread_local! {
    /// Whether the trace function is set on this thread. Python keeps it per thread as well.
    static ARMED: Cell<bool> = const { Cell::new(false) };
    /// How many calls into scripts run on this thread.
    static CALLS: Cell<u32> = const { Cell::new(0) };
}

/// Returns whether the script that runs on this thread is being ended.
pub(crate) fn armed() -> bool {
    ARMED.get()
}

/// Raises `SystemExit`, and sees to it that nothing a script does about it gets further than its next line.
pub(crate) fn raise(py: Python<'_>) {
    // Without a call of ours around it nobody would take the trace function off again.
    if CALLS.get() > 0 && !ARMED.replace(true) {
        set(py);
    }
    PySystemExit::new_err(()).restore(py);
}

/// Surrounds a call into a script: what ends inside does not end what is outside.
pub(crate) struct Guard<'py> {
    py: Python<'py>,
    outer: bool,
    pending: Option<PyErr>,
}

impl<'py> Guard<'py> {
    pub(crate) fn enter(py: Python<'py>) -> Guard<'py> {
        let pending = PyErr::take(py);
        let outer = ARMED.replace(false);
        if outer {
            clear(py);
        }
        CALLS.set(CALLS.get() + 1);
        Guard { py, outer, pending }
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        CALLS.set(CALLS.get() - 1);
        if ARMED.replace(self.outer) != self.outer {
            if self.outer { set(self.py) } else { clear(self.py) }
        }
        if let Some(pending) = self.pending.take() {
            pending.restore(self.py);
        }
    }
}

/// Sets the trace function. One that was set before, such as a coverage tool's, is kept as its argument.
fn set(py: Python<'_>) {
    let before = Prelude::get(py).and_then(|prelude| prelude.call(py, "gettrace", ())).ok().filter(|t| !t.is_none());
    let before = before.map_or(ptr::null_mut(), |object| object.as_ptr());
    // SAFETY: the thread is attached; `trace` has the signature asked for, and Python takes its own reference.
    unsafe { ffi::PyEval_SetTrace(Some(trace), before) };
}

/// Takes the trace function off and puts back the one that was set before.
fn clear(py: Python<'_>) {
    let restored = Prelude::get(py).and_then(|prelude| {
        let before = prelude.call(py, "gettrace", ())?;
        prelude.call(py, "settrace", (before,))
    });
    if restored.is_err() {
        // SAFETY: the thread is attached.
        unsafe { ffi::PyEval_SetTrace(None, ptr::null_mut()) };
    }
}

unsafe extern "C" fn trace(
    _before: *mut ffi::PyObject,
    _frame: *mut ffi::PyFrameObject,
    event: c_int,
    arg: *mut ffi::PyObject,
) -> c_int {
    // A frame that an exception leaves is on its way out already.
    let unwinding = event == ffi::PyTrace_EXCEPTION || (event == ffi::PyTrace_RETURN && arg.is_null());
    if unwinding {
        return 0;
    }
    // SAFETY: Python calls the trace function on an attached thread.
    unsafe { ffi::PyErr_SetNone(ffi::PyExc_SystemExit) };
    -1
}
