//! The forced end of a call, which no script can catch: a trace function that raises on every line.

use std::cell::Cell;
use std::ffi::c_int;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

use pyo3::exceptions::PySystemExit;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyCFunction, PyDict, PyTuple, PyType};

use crate::current;
use crate::error;
use crate::prelude::Prelude;
use crate::signal;

/// The purpose of a thread's trace function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tracing {
    /// It is not set.
    Off,
    /// It counts instructions of the byte code for `max_instructions`.
    Instructions,
    /// It ends the call.
    Termination,
}

/// The modules of Python's own library that release locks, which other threads would wait for, while a call ends.
///
/// Others might wait for something themselves, such as an event loop for the tasks that it cancels.
const LOCKING_MODULES: &[&str] = &["importlib._bootstrap", "_frozen_importlib", "logging", "threading", "queue"];

/// The number of lines that they may run in all.
const MAX_LOCKING_LINES: u32 = 10_000;

thread_local! {
    /// The purpose of the trace function on this thread, for which Python keeps it as well.
    static TRACING: Cell<Tracing> = const { Cell::new(Tracing::Off) };
    /// The number of lines that [`LOCKING_MODULES`] may still run.
    static LOCKING_LINES: Cell<u32> = const { Cell::new(0) };
}

/// Returns whether the script that runs on this thread is being ended.
pub(crate) fn is_terminating() -> bool {
    TRACING.get() == Tracing::Termination
}

/// Raises `SystemExit`, and sees to it that nothing a script does about it gets further than its next line.
pub(crate) fn raise(py: Python<'_>) {
    begin(py);
    PySystemExit::new_err(()).restore(py);
}

/// Raises the end of the innermost call on this thread if that is over a limit; for whatever has woken up code in C.
///
/// # Errors
/// `SystemExit`, for Python to carry out of that code.
pub(crate) fn raise_if_due(py: Python<'_>) -> PyResult<()> {
    if current::with_innermost(|view| view.must_end()).unwrap_or(false) {
        if is_terminating() && releases_lock(py) {
            return Ok(());
        }
        begin(py);
        return Err(PySystemExit::new_err(()));
    }
    Ok(())
}

/// Raises the end of the innermost call on this thread if that is over its time; returns whether it has.
///
/// For functions that Python calls often: it costs a look at a word while no call of the process is late.
#[inline(always)]
pub(crate) fn raise_if_late() -> bool {
    /// Does so where a call of the process is late.
    #[cold]
    fn raise() -> bool {
        // A panic must not reach Python's frames.
        catch_unwind(|| {
            // SAFETY: Python calls on attached threads.
            let py = unsafe { Python::assume_attached() };
            match raise_if_due(py) {
                Ok(()) => false,
                Err(error) => {
                    error.restore(py);
                    true
                }
            }
        })
        .unwrap_or(false)
    }
    signal::is_any_call_late() && raise()
}

fn begin(py: Python<'_>) {
    // Without a call of ours around it nobody would take the trace function off again.
    if current::depth() > 0 && TRACING.replace(Tracing::Termination) != Tracing::Termination {
        LOCKING_LINES.set(MAX_LOCKING_LINES);
        set(py);
    }
}

/// Returns the class of what is set on a thread whose script has exceeded a limit.
///
/// Python makes the exception itself only where something may catch it, on the script's thread and before any more of
/// the script runs; that is native, and ends the call.
///
/// # Errors
/// What Python raised.
pub(crate) fn exception_class(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static CLASS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let class = CLASS.get_or_try_init(py, || {
        let init = PyCFunction::new_closure(
            py,
            Some(c"__init__"),
            None,
            |args: &Bound<'_, PyTuple>, _named: Option<&Bound<'_, PyDict>>| {
                let py = args.py();
                if current::with_innermost(|view| view.exception_arrives()).unwrap_or(false) {
                    begin(py);
                }
                // Python insists on None; the unit type would become an empty tuple.
                py.None()
            },
        )?;
        let scope = PyDict::new(py);
        scope.set_item("__init__", init)?;
        scope.set_item("__module__", "kemi")?;
        let class = py.get_type::<PyType>().call1(("Ended", (py.get_type::<PySystemExit>(),), scope))?;
        Ok::<_, PyErr>(class.unbind())
    })?;
    Ok(class.bind(py))
}

/// Installs the hook that leaves generators and destructors which an end cuts short out of Python's reports, once per
/// process.
///
/// The hook is native: one in Python would be cut short as well.
///
/// # Errors
/// What Python raised.
pub(crate) fn install_unraisable_hook(py: Python<'_>) -> PyResult<()> {
    static INSTALLED: PyOnceLock<()> = PyOnceLock::new();
    let install = || {
        let sys = py.import("sys")?;
        let original = sys.getattr("unraisablehook")?.unbind();
        let hook = PyCFunction::new_closure(
            py,
            Some(c"unraisablehook"),
            None,
            move |args: &Bound<'_, PyTuple>, _named: Option<&Bound<'_, PyDict>>| -> PyResult<()> {
                if !is_terminating() {
                    original.bind(args.py()).call1(args.clone())?;
                }
                Ok(())
            },
        )?;
        sys.setattr("unraisablehook", hook)
    };
    INSTALLED.get_or_try_init(py, install).copied()
}

/// Raises an exception that was set on this thread, if that has not happened yet, and drops it.
///
/// No new one can be set: the caller has noted that the call is over or held back.
pub(crate) fn drain_exception(py: Python<'_>) {
    let former = set_tracing(py, Tracing::Off);
    // Whatever comes out is what was set.
    let _ = Prelude::get(py).and_then(|prelude| prelude.call(py, "idle", ()));
    set_tracing(py, former);
}

/// Sets what is traced on this thread; returns what was before.
#[inline]
pub(crate) fn set_tracing(py: Python<'_>, tracing: Tracing) -> Tracing {
    let former = TRACING.replace(tracing);
    if former != tracing {
        change_tracing(py, former, tracing);
    }
    former
}

#[cold]
#[inline(never)]
fn change_tracing(py: Python<'_>, former: Tracing, tracing: Tracing) {
    match (former, tracing) {
        (_, Tracing::Off) => clear(py),
        (Tracing::Off, _) => set(py),
        _ => {}
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
    frame: *mut ffi::PyFrameObject,
    event: c_int,
    arg: *mut ffi::PyObject,
) -> c_int {
    // A panic must not reach Python's frames.
    // SAFETY: Python calls the trace function on an attached thread, with a frame that is alive.
    let goes_on = catch_unwind(AssertUnwindSafe(|| unsafe { may_go_on(frame, event, arg) }));
    if goes_on.unwrap_or(false) {
        return 0;
    }
    // SAFETY: as above.
    unsafe { ffi::PyErr_SetNone(ffi::PyExc_SystemExit) };
    -1
}

/// Returns whether a frame that Python traces may go on.
///
/// # Safety
/// The thread is attached, and the frame is alive; the argument is Python's.
unsafe fn may_go_on(frame: *mut ffi::PyFrameObject, event: c_int, arg: *mut ffi::PyObject) -> bool {
    // A frame that an exception leaves is on its way out already.
    let unwinding = event == ffi::PyTrace_EXCEPTION || (event == ffi::PyTrace_RETURN && arg.is_null());
    if unwinding {
        return true;
    }
    match TRACING.get() {
        Tracing::Off => true,
        Tracing::Instructions => {
            if event == ffi::PyTrace_CALL {
                // SAFETY: as the caller's.
                unsafe { trace_instructions(frame) };
            }
            let over = event == ffi::PyTrace_OPCODE
                && current::with_innermost(|view| view.count_instruction()).unwrap_or(false);
            if over {
                TRACING.set(Tracing::Termination);
                LOCKING_LINES.set(MAX_LOCKING_LINES);
            }
            !over
        }
        // SAFETY: as the caller's.
        Tracing::Termination => unsafe { may_release_lock(frame) },
    }
}

/// Makes Python call the trace function for every instruction of a frame: a line that jumps to itself begins only once.
///
/// # Safety
/// The thread is attached, and the frame is alive.
unsafe fn trace_instructions(frame: *mut ffi::PyFrameObject) {
    // SAFETY: see above; the attribute is a flag of the frame.
    unsafe {
        if ffi::PyObject_SetAttrString(frame.cast(), c"f_trace_opcodes".as_ptr(), ffi::Py_True()) != 0 {
            ffi::PyErr_Clear();
        }
    }
}

/// Returns whether the code in C that was woken up in a call that is being ended may go on since it may release a lock.
fn releases_lock(_py: Python<'_>) -> bool {
    // What waits there itself is not let wait for long.
    LOCKING_LINES.set(LOCKING_LINES.get().saturating_sub(MAX_LOCKING_LINES / 10));
    // SAFETY: the thread is attached; the result is a borrowed frame or null.
    unsafe {
        let frame = ffi::PyEval_GetFrame();
        !frame.is_null() && may_release_lock(frame)
    }
}

/// Returns whether a frame may go on since it may release a lock.
///
/// # Safety
/// The thread is attached, and the frame is alive.
unsafe fn may_release_lock(frame: *mut ffi::PyFrameObject) -> bool {
    let left = LOCKING_LINES.get();
    if left == 0 {
        return false;
    }
    // SAFETY: see above.
    let py = unsafe { Python::assume_attached() };
    // SAFETY: see above; the frame is borrowed.
    let frame = unsafe { Bound::from_borrowed_ptr(py, frame.cast()) };
    let module = frame.getattr("f_globals").and_then(|globals| globals.get_item("__name__"));
    let known = module.is_ok_and(|name| LOCKING_MODULES.iter().any(|known| name.eq(known).unwrap_or(false)));
    if !known || error::of_script(&frame) {
        return false;
    }
    LOCKING_LINES.set(left - 1);
    true
}
