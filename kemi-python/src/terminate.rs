//! How a callback ends where the script would catch everything: a trace function that raises on every line.

use std::cell::Cell;
use std::ffi::c_int;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

use pyo3::exceptions::PySystemExit;
use pyo3::ffi;
use pyo3::prelude::*;

use crate::error;
use crate::interpreter::Inner;
use crate::library::cleanup;
use crate::memory::Counting;
use crate::prelude::Prelude;

/// What the trace function is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// It is not set.
    Off,
    /// It counts instructions of the byte code for `max_instructions`.
    Count,
    /// It ends the callback.
    End,
}

/// The modules of Python's own library that release locks, which other threads would wait for, while a callback ends.
///
/// Others might wait for something themselves, such as an event loop for the tasks that it cancels.
const LOCKING: &[&str] = &["importlib._bootstrap", "_frozen_importlib", "logging", "threading", "queue"];

/// How many lines they may run in all.
const SPARED: u32 = 10_000;

thread_local! {
    /// Why the trace function is set on this thread. Python keeps it per thread as well.
    static MODE: Cell<Mode> = const { Cell::new(Mode::Off) };
    /// How many lines of these modules may still run.
    static LEFT: Cell<u32> = const { Cell::new(0) };
    /// How many calls into scripts run on this thread.
    static CALLS: Cell<u32> = const { Cell::new(0) };
    /// Whether a call was ended since the outermost one began.
    static ENDED: Cell<bool> = const { Cell::new(false) };
    /// The instance whose call is innermost; null if there is none. Set by guards only.
    static CURRENT: Cell<*const Inner> = const { Cell::new(ptr::null()) };
}

/// Returns whether the script that runs on this thread is being ended.
pub(crate) fn armed() -> bool {
    MODE.get() == Mode::End
}

/// Raises `SystemExit`, and sees to it that nothing a script does about it gets further than its next line.
pub(crate) fn raise(py: Python<'_>) {
    arm(py);
    PySystemExit::new_err(()).restore(py);
}

/// Ends the running call if an exception was set on this thread for it; Python calls it while it makes that.
pub(crate) fn strike(py: Python<'_>) {
    if current(|inner| inner.struck()).unwrap_or(false) {
        arm(py);
    }
}

/// Raises the end of the innermost call on this thread if that is over a limit; for whatever has woken up code in C.
///
/// # Errors
/// `SystemExit`, for Python to carry out of that code.
pub(crate) fn interrupted(py: Python<'_>) -> PyResult<()> {
    if current(|inner| inner.runtime.poll(inner)).unwrap_or(false) {
        if armed() && releases_lock(py) {
            return Ok(());
        }
        arm(py);
        return Err(PySystemExit::new_err(()));
    }
    Ok(())
}

fn arm(py: Python<'_>) {
    // Without a call of ours around it nobody would take the trace function off again.
    if CALLS.get() > 0 && MODE.replace(Mode::End) != Mode::End {
        LEFT.set(SPARED);
        set(py);
    }
}

/// Returns the instance whose call is innermost on this thread.
///
/// # Safety
/// The result is not used after that call.
#[inline]
pub(crate) unsafe fn innermost<'a>() -> Option<&'a Inner> {
    // SAFETY: the guard that has set it borrows the instance, and puts back what was there before it goes.
    unsafe { CURRENT.get().as_ref() }
}

fn current<R>(run: impl FnOnce(&Inner) -> R) -> Option<R> {
    // SAFETY: the call does not end while the closure runs.
    unsafe { innermost() }.map(run)
}

/// Surrounds a call into a script, or what the engine itself does in Python: what ends inside does not end what is
/// outside.
pub(crate) struct Guard<'a, 'py> {
    py: Python<'py>,
    inner: Option<&'a Inner>,
    /// What was innermost before.
    around: *const Inner,
    /// Whether exceptions for the one around, and for this one, were held back before.
    held: (bool, bool),
    outermost: bool,
    mode: Mode,
    pending: Option<PyErr>,
    /// Where no limit holds.
    alone: Option<NoCollections<'py>>,
    memory: Option<Counting<'a>>,
}

impl<'a, 'py> Guard<'a, 'py> {
    /// Begins a call of an instance, for which its limits hold.
    pub(crate) fn call(py: Python<'py>, inner: &'a Inner) -> Guard<'a, 'py> {
        Guard::enter(py, Some(inner))
    }

    /// Begins work of the engine's own, which no limit ends.
    pub(crate) fn own(py: Python<'py>) -> Guard<'a, 'py> {
        Guard::enter(py, None)
    }

    fn enter(py: Python<'py>, inner: Option<&'a Inner>) -> Guard<'a, 'py> {
        let pending = if PyErr::occurred(py) { PyErr::take(py) } else { None };
        let around = CURRENT.get();
        let same = ptr::eq(around, inner.map_or(ptr::null(), ptr::from_ref));
        let mut held = (false, false);
        if !same {
            held.0 = current(|around| {
                let held = around.alarm.suspend(true);
                if around.alarm.was_set() {
                    drain(py);
                }
                held
            })
            .unwrap_or(false);
        }
        CURRENT.set(inner.map_or(ptr::null(), ptr::from_ref));
        let outermost = inner.is_some_and(|inner| inner.alarm.begin());
        if let Some(inner) = inner {
            held.1 = inner.alarm.suspend(false);
        }
        let limits = inner.map(|inner| inner.runtime.registry().limits());
        let most = limits.map_or(0, |limits| limits.max_memory);
        let memory = match inner {
            Some(inner) if outermost => Some(Counting::of(&inner.holding, most, &inner.alarm)),
            _ if same => None,
            Some(inner) => Some(Counting::within(&inner.holding, most, &inner.alarm)),
            None => Some(Counting::unlimited()),
        };
        let counts = limits.is_some_and(|limits| limits.max_instructions != 0);
        let mode = MODE.get();
        change(py, if counts { Mode::Count } else { Mode::Off });
        CALLS.set(CALLS.get() + 1);
        if let Some(inner) = inner
            && outermost
            && inner.holding.is_tight(most)
        {
            // Whatever comes of it, the call begins.
            inner.holding.relieve(most, || drop(Prelude::get(py).and_then(|prelude| prelude.call(py, "collect", ()))));
        }
        let alone = inner.is_none().then(|| NoCollections::begin(py));
        Guard { py, inner, around, held, outermost, mode, pending, alone, memory }
    }
}

impl Drop for Guard<'_, '_> {
    fn drop(&mut self) {
        CALLS.set(CALLS.get() - 1);
        self.memory.take();
        self.alone.take();
        let late = match self.inner {
            Some(inner) => {
                inner.alarm.suspend(self.held.1);
                self.outermost && inner.alarm.end()
            }
            None => false,
        };
        if late {
            drain(self.py);
        }
        if armed() {
            ENDED.set(true);
        }
        change(self.py, self.mode);
        if CALLS.get() == 0 && ENDED.replace(false) {
            cleanup::after_termination(self.py);
        }
        CURRENT.set(self.around);
        if !ptr::eq(self.around, self.inner.map_or(ptr::null(), ptr::from_ref)) {
            current(|around| around.alarm.suspend(self.held.0));
        }
        if let Some(pending) = self.pending.take() {
            pending.restore(self.py);
        }
    }
}

/// Keeps Python from collecting garbage until it goes: a collection runs finalizers of any script, which have a clock in
/// calls only.
pub(crate) struct NoCollections<'py> {
    _py: Python<'py>,
    before: bool,
}

impl<'py> NoCollections<'py> {
    pub(crate) fn begin(py: Python<'py>) -> NoCollections<'py> {
        #[cfg(Py_3_10)]
        // SAFETY: the thread is attached.
        let before = unsafe { ffi::PyGC_Disable() } != 0;
        #[cfg(not(Py_3_10))]
        let before = false;
        NoCollections { _py: py, before }
    }
}

impl Drop for NoCollections<'_> {
    fn drop(&mut self) {
        #[cfg(Py_3_10)]
        if self.before {
            // SAFETY: the thread is attached.
            unsafe { ffi::PyGC_Enable() };
        }
    }
}

/// Lets an exception that was set on this thread come out, if it has not yet, and drops it.
///
/// No new one can be set: the caller has noted that the call is over or suspended.
fn drain(py: Python<'_>) {
    let mode = MODE.get();
    change(py, Mode::Off);
    // Whatever comes out is what was set.
    let _ = Prelude::get(py).and_then(|prelude| prelude.call(py, "idle", ()));
    change(py, mode);
}

fn change(py: Python<'_>, mode: Mode) {
    let before = MODE.replace(mode);
    match (before, mode) {
        (Mode::Off, Mode::Off) => {}
        (_, Mode::Off) => clear(py),
        (Mode::Off, _) => set(py),
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
    match MODE.get() {
        Mode::Off => true,
        Mode::Count => {
            if event == ffi::PyTrace_CALL {
                // SAFETY: as the caller's.
                unsafe { count_in(frame) };
            }
            let ended = event == ffi::PyTrace_OPCODE && current(|inner| inner.runtime.spend(1, inner)).unwrap_or(false);
            if ended {
                MODE.set(Mode::End);
                LEFT.set(SPARED);
            }
            !ended
        }
        // SAFETY: as the caller's.
        Mode::End => unsafe { spared(frame) },
    }
}

/// Makes Python call the trace function for every instruction of a frame: a line that jumps to itself begins only once.
///
/// # Safety
/// The thread is attached, and the frame is alive.
unsafe fn count_in(frame: *mut ffi::PyFrameObject) {
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
    LEFT.set(LEFT.get().saturating_sub(SPARED / 10));
    // SAFETY: the thread is attached; the result is a borrowed frame or null.
    unsafe {
        let frame = ffi::PyEval_GetFrame();
        !frame.is_null() && spared(frame)
    }
}

/// Returns whether a frame may go on since it may release a lock.
///
/// # Safety
/// The thread is attached, and the frame is alive.
unsafe fn spared(frame: *mut ffi::PyFrameObject) -> bool {
    let left = LEFT.get();
    if left == 0 {
        return false;
    }
    // SAFETY: see above.
    let py = unsafe { Python::assume_attached() };
    // SAFETY: see above; the frame is borrowed.
    let frame = unsafe { Bound::from_borrowed_ptr(py, frame.cast()) };
    let module = frame.getattr("f_globals").and_then(|globals| globals.get_item("__name__"));
    let known = module.is_ok_and(|name| LOCKING.iter().any(|known| name.eq(known).unwrap_or(false)));
    if !known || error::of_script(&frame) {
        return false;
    }
    LEFT.set(left - 1);
    true
}
