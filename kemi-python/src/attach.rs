//! Attaching threads to the one Python interpreter of the process.

use std::cell::Cell;
use std::mem;
use std::rc::Rc;
use std::sync::{Once, mpsc};
use std::thread;

use kemi_core::engine::Runtime;
use kemi_core::engine::interpreter_lock::{self, InterpreterLock};
use kemi_core::telemetry::log_guarded;
use pyo3::ffi;
use pyo3::prelude::*;

use crate::{current, signal};

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
                signal::note_main_thread();
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

thread_local! {
    /// Whether this crate has attached the thread, and has not detached it since.
    ///
    /// `false` says nothing: others attach threads, too. `true` saves asking Python. Nothing unsafe rests on it, since
    /// others may have detached the thread: PyO3 keeps a count of its own, and attaches the thread if need be.
    static ATTACHED: Cell<bool> = const { Cell::new(false) };
}

/// Sets [`ATTACHED`], and resets it when dropped.
struct SetAttached {
    former: bool,
}

impl SetAttached {
    #[inline]
    fn to(attached: bool) -> SetAttached {
        SetAttached { former: ATTACHED.replace(attached) }
    }
}

impl Drop for SetAttached {
    #[inline]
    fn drop(&mut self) {
        ATTACHED.set(self.former);
    }
}

/// Returns whether the calling thread is attached, whoever has attached it. Python is initialised.
#[inline]
fn is_attached() -> bool {
    // SAFETY: may be called at any time.
    ATTACHED.get() || unsafe { ffi::PyGILState_Check() } != 0
}

/// Attaches the thread for a call of an instance, whose clock stands as long as other threads have Python's lock.
///
/// Where others have detached a thread that this crate had attached, the clock goes on.
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
    fn wait(runtime: &Runtime) -> (SetAttached, Release) {
        // SAFETY: an instance's thread has kept its state, see `keep_thread_state`, and Python is never finalised.
        let state = runtime.while_clock_stops(|| unsafe { ffi::PyGILState_Ensure() });
        // Dropped in this order.
        (SetAttached::to(true), Release(state))
    }
    let _release = if is_attached() { None } else { Some(wait(runtime)) };
    Python::attach(|py| {
        // SAFETY: may be called at any time.
        debug_assert!(unsafe { ffi::PyGILState_Check() } != 0, "the thread is not attached");
        run(py)
    })
}

/// Python's lock, which native functions that wait release.
struct PythonLock;

impl InterpreterLock for PythonLock {
    fn released(&self, run: &mut dyn FnMut()) {
        /// The closure stays on its thread; only Python's lock is let go around it.
        struct OnThisThread<'a>(&'a mut dyn FnMut(), Option<&'a Runtime>);
        // SAFETY: `Python::detach` runs it on the calling thread.
        unsafe impl Send for OnThisThread<'_> {}
        impl OnThisThread<'_> {
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
        let runtime = unsafe { current::innermost() }.map(|view| &**view.runtime());
        let run = OnThisThread(run, runtime);
        let _detached = SetAttached::to(false);
        let detach = || Python::attach(|py| py.detach(|| run.run()));
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
/// [`while_waiting`](kemi_core::while_waiting) lets go of Python in it, too, and so does PyO3's `Python::detach`; Python's
/// own C functions for that must not be used in it.
pub fn attached<R>(run: impl FnOnce() -> R) -> R {
    initialize();
    Python::attach(|py| {
        keep_thread_state(py);
        let _attached = SetAttached::to(true);
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
    let _detached = SetAttached::to(false);
    if attached { Python::attach(|py| py.detach(run)) } else { run() }
}

/// Keeps the calling thread's Python state from now until the thread ends.
///
/// A thread that attaches without one gets a fresh state each time, and a fresh stack with its first frame: two system
/// calls and a page fault for each callback.
pub(crate) fn keep_thread_state(_py: Python<'_>) {
    thread_local! {
        static STATE: ThreadState = {
            // What waits on this thread lets Python's lock go, if the thread has it, from now on: that costs calls nothing.
            mem::forget(interpreter_lock::enter(Rc::new(PythonLock)));
            ThreadState::hold()
        };
    }
    // Not on a thread that is about to end; there is nothing left to keep it for.
    let _ = STATE.try_with(|_| ());
}

/// A count on the thread's Python state, given back when this is dropped.
struct ThreadState(ffi::PyGILState_STATE);

impl ThreadState {
    fn hold() -> ThreadState {
        // SAFETY: the caller is attached, so this only raises the count of the state it has.
        ThreadState(unsafe { ffi::PyGILState_Ensure() })
    }
}

impl Drop for ThreadState {
    fn drop(&mut self) {
        // SAFETY: Python is never finalised. The count is given back while the thread is attached by another one,
        // whose release then lets go of the state.
        unsafe {
            let attached = ffi::PyGILState_Ensure();
            ffi::PyGILState_Release(self.0);
            ffi::PyGILState_Release(attached);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use kemi_core::engine::Interpreter;
    use kemi_core::{
        CallbackId, Callbacks, Engine, ErrorCode, Instance, Outcome, Registry, ScriptError, Source, Value,
        while_waiting,
    };
    use pyo3::types::{PyCFunction, PyDict, PyTuple};

    use super::*;
    use crate::PythonEngine;

    /// What this crate says of the calling thread; Python must agree if it says anything.
    fn known() -> bool {
        let known = ATTACHED.get();
        // SAFETY: may be called at any time.
        let asked = unsafe { ffi::PyGILState_Check() } != 0;
        assert!(asked || !known, "it is not attached");
        assert_eq!(is_attached(), asked);
        known
    }

    fn load() -> (Instance<()>, CallbackId) {
        let mut callbacks = Callbacks::new();
        let main = callbacks.optional("main", "main", &[]);
        let registry = Registry::<()>::builder().root("KSR").callbacks(callbacks).build().unwrap();
        let source = Source::text("test.py", "def main():\n    return 1\n");
        (Instance::load(&PythonEngine, &registry, &[source]).unwrap(), main)
    }

    fn call((instance, main): &(Instance<()>, CallbackId)) {
        let before = known();
        let outcome = instance.call(*main, &mut (), &[]).unwrap_or_else(|error| panic!("{error:#}"));
        assert_eq!(outcome, Outcome::Value(Value::Int(1)));
        assert_eq!(known(), before);
    }

    /// Runs a function where the engine runs a call.
    #[derive(Debug)]
    struct Within(fn());

    impl Engine for Within {
        fn name(&self) -> &'static str {
            "within"
        }

        fn language(&self) -> String {
            String::new()
        }

        fn load(&self, runtime: Rc<Runtime>, _: &[Source]) -> Result<Box<dyn Interpreter>, ScriptError> {
            attach(&runtime, |py| {
                keep_thread_state(py);
                (self.0)();
            });
            Err(ScriptError::new(ErrorCode::Runtime, "has run"))
        }
    }

    fn within_call(run: fn()) {
        let registry = Registry::<()>::builder().root("KSR").build().unwrap();
        let error = Instance::load(&Within(run), &registry, &[Source::text("test", "")]).unwrap_err();
        assert_eq!(error.message, "has run");
    }

    #[test]
    fn a_thread_is_known_to_be_attached_only_while_this_crate_has_it_attached() {
        initialize();
        assert!(!known());
        let script = load();
        assert!(!known());
        call(&script);
        attached(|| {
            assert!(known());
            call(&script);
            detached(|| {
                assert!(!known());
                attached(|| assert!(known()));
                assert!(!known());
            });
            assert!(known());
            while_waiting(|| {
                assert!(!known());
                call(&script);
                while_waiting(|| assert!(!known()));
                assert!(!known());
            });
            assert!(known());
            let panics = std::panic::catch_unwind(|| detached(|| std::panic::resume_unwind(Box::new(()))));
            assert!(panics.is_err() && known());
        });
        assert!(!known());
        within_call(|| {
            assert!(known());
            while_waiting(|| {
                assert!(!known());
                within_call(|| assert!(known()));
                assert!(!known());
            });
            assert!(known());
        });
        assert!(!known());
    }

    #[test]
    fn a_thread_that_others_attach_or_detach_is_asked() {
        initialize();
        let script = load();
        Python::attach(|_| {
            assert!(!known() && is_attached());
            call(&script);
            while_waiting(|| assert!(!known() && !is_attached()));
            assert!(!known() && is_attached());
        });
        attached(|| {
            Python::attach(|py| {
                assert!(known());
                struct Own<'a>(&'a (Instance<()>, CallbackId));
                // SAFETY: the closure runs on this thread.
                unsafe impl Send for Own<'_> {}
                impl Own<'_> {
                    fn call(self) {
                        let outcome = self.0.0.call(self.0.1, &mut (), &[]).unwrap();
                        assert_eq!(outcome, Outcome::Value(Value::Int(1)));
                    }
                }
                let own = Own(&script);
                py.detach(|| own.call());
                assert!(known());
            });
        });
    }

    #[test]
    fn a_thread_of_the_scripts_is_asked() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let seen_there = seen.clone();
        attached(|| {
            Python::attach(|py| {
                let look = move |_: &Bound<'_, PyTuple>, _: Option<&Bound<'_, PyDict>>| {
                    seen_there.lock().unwrap().push((known(), is_attached()));
                };
                let look = PyCFunction::new_closure(py, None, None, look).unwrap();
                let thread = py.import("threading").unwrap().call_method1("Thread", (py.None(), look)).unwrap();
                thread.call_method0("start").unwrap();
                thread.call_method0("join").unwrap();
            });
            assert!(known());
        });
        assert_eq!(*seen.lock().unwrap(), [(false, true)]);
    }

    #[test]
    #[cfg(unix)]
    fn a_forked_child_knows_what_its_thread_knew() {
        let forked = |expected: bool| {
            Python::attach(|py| {
                let child: i32 = py.import("os").unwrap().call_method0("fork").unwrap().extract().unwrap();
                if child == 0 {
                    // SAFETY: no demands.
                    let right = ATTACHED.get() == expected && unsafe { ffi::PyGILState_Check() } != 0;
                    let works =
                        std::panic::catch_unwind(|| py.eval(c"6 * 7", None, None).unwrap().extract::<i64>().unwrap());
                    // SAFETY: no demands; the child has nothing to clean up.
                    unsafe { libc::_exit(i32::from(!right || works.ok() != Some(42))) };
                }
                let mut status = 0;
                // SAFETY: the child is this process's own; the status is written.
                assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
                assert_eq!(status, 0);
            });
        };
        attached(|| forked(true));
        detached(|| forked(false));
        attached(|| {
            while_waiting(|| forked(false));
            forked(true);
        });
    }
}
