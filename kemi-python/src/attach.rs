//! Attaching threads to the one Python interpreter of the process.

use std::mem;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Once, mpsc};
use std::thread;

use kemi_core::interpreter_lock::{self, InterpreterLock};
use kemi_core::{Runtime, log_guarded};
use pyo3::ffi;
use pyo3::prelude::*;

use crate::ending;

/// Python's number of the thread that has initialised it, if this crate knows it.
static MAIN_THREAD: AtomicUsize = AtomicUsize::new(0);

/// Initialises Python, without signal handlers, unless that was done.
///
/// It happens on a thread of its own, so that no script runs on the thread that Python takes for its main one: only there
/// could a script change what signals do, and [`crate::signal`] needs that part for others.
pub(crate) fn initialize() {
    static INITIALIZED: Once = Once::new();
    INITIALIZED.call_once(|| {
        // SAFETY: may be called at any time.
        if unsafe { ffi::Py_IsInitialized() } == 0 {
            let (done, wait) = mpsc::channel::<()>();
            let work = move || {
                Python::initialize();
                // SAFETY: no demands.
                MAIN_THREAD.store(unsafe { ffi::PyThread_get_thread_ident() } as usize, Ordering::Relaxed);
                drop(done);
                // The thread stays, since it is part of Python's state.
                loop {
                    thread::park();
                }
            };
            match thread::Builder::new().name("python main".to_owned()).spawn(work) {
                // It comes when the thread is done, or has panicked.
                Ok(_) => drop(wait.recv()),
                Err(error) => log_guarded(|| {
                    tracing::warn!(target: "kemi", engine = "python", "no thread for Python's own: {error}");
                }),
            }
        }
        Python::initialize();
    });
}

/// Returns Python's number of its main thread.
pub(crate) fn main_thread(py: Python<'_>) -> Option<usize> {
    match MAIN_THREAD.load(Ordering::Relaxed) {
        0 => {
            // The host has initialised Python.
            let thread = py.import("threading").and_then(|threading| threading.call_method0("main_thread"));
            thread.and_then(|thread| thread.getattr("ident")).and_then(|ident| ident.extract()).ok()
        }
        known => Some(known),
    }
}

/// Attaches the thread for a call of an instance, whose clock stands as long as other threads have Python's lock.
#[inline]
pub(crate) fn attach<R>(runtime: &Runtime, run: impl FnOnce(Python<'_>) -> R) -> R {
    /// Gives the lock back even if the engine panics.
    struct Release(ffi::PyGILState_STATE);
    impl Drop for Release {
        fn drop(&mut self) {
            // SAFETY: it is the state that `wait` got on this thread.
            unsafe { ffi::PyGILState_Release(self.0) };
        }
    }
    /// Waits for the lock.
    #[cold]
    #[inline(never)]
    fn wait(runtime: &Runtime) -> Release {
        // SAFETY: an instance's thread has kept its state, see `keep_thread_state`, and Python is never finalised.
        Release(runtime.while_clock_stops(|| unsafe { ffi::PyGILState_Ensure() }))
    }
    // SAFETY: may be called at any time.
    let _release = if unsafe { ffi::PyGILState_Check() } == 0 { Some(wait(runtime)) } else { None };
    Python::attach(run)
}

/// Python's lock, for native functions that wait.
struct Lock;

impl InterpreterLock for Lock {
    fn released(&self, run: &mut dyn FnMut()) {
        /// The closure stays on its thread; only Python's lock is let go around it.
        struct Own<'a>(&'a mut dyn FnMut(), Option<&'a Runtime>);
        // SAFETY: see above.
        unsafe impl Send for Own<'_> {}
        impl Own<'_> {
            fn run(self) {
                match self.1 {
                    Some(runtime) => runtime.while_clock_goes(self.0),
                    None => (self.0)(),
                }
            }
        }
        // SAFETY: may be called at any time.
        if unsafe { ffi::Py_IsInitialized() == 0 || ffi::PyGILState_Check() == 0 } {
            return;
        }
        // SAFETY: the instance's call goes on while this runs.
        let runtime = unsafe { ending::innermost() }.map(|inner| &*inner.runtime);
        let own = Own(run, runtime);
        let detach = || Python::attach(|py| py.detach(|| own.run()));
        match runtime {
            // The clock stands while the thread waits for the lock, which is when all in the closure is over.
            Some(runtime) => runtime.while_clock_stops(detach),
            None => detach(),
        }
    }
}

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
///
/// [`while_waiting`](kemi_core::while_waiting) lets go of Python in it, too.
pub fn attached<R>(run: impl FnOnce() -> R) -> R {
    initialize();
    Python::attach(|py| {
        keep_thread_state(py);
        run()
    })
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
        static KEPT: Kept = {
            // What waits on this thread lets Python's lock go, if the thread has it, from now on: that costs calls nothing.
            mem::forget(interpreter_lock::enter(Rc::new(Lock)));
            Kept::new()
        };
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
