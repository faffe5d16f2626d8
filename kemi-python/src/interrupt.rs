//! The way from another thread to a script that has used up its time or memory.
//!
//! The watchdog must not wait for Python's lock: it calls with a lock of its own held, which a worker that holds
//! Python's takes when its instance goes. It only asks; a thread of this crate takes Python's lock and sets an
//! [exception](crate::terminate::exception_class) on the worker's thread. Making the exception, on that thread, is what
//! ends the call. Code in C sees no exceptions from outside; for that the watchdog itself sends a [signal](crate::signal).

use std::ffi::c_ulong;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use kemi_core::Location;
use kemi_core::telemetry::log_guarded;
use pyo3::ffi;
use pyo3::prelude::*;

use crate::error;
use crate::prelude::GcPause;
use crate::signal::{self, ThreadNumbers};

/// The time from one exception that is set on a call's thread to the next.
const AGAIN: Duration = Duration::from_millis(5);

/// Says in [`Interrupt::sent`] that an exception was set on the worker's thread.
const EXCEPTION: u8 = 1;

/// Says in [`Interrupt::sent`] that signals were sent to it.
const SIGNAL: u8 = 2;

/// The state that one instance shares with the threads that end its calls.
///
/// The worker changes `call` and `held_back` with Python's lock held, and under the same lock the helper reads them:
/// what is set is set for the call that runs.
pub(crate) struct Interrupt {
    /// The worker's thread.
    thread: ThreadNumbers,
    /// The number of the outermost call into the script that runs; 0 while none does.
    call: AtomicU64,
    /// The number of the last one.
    calls: AtomicU64,
    /// Whether a call into another script, or work of the engine itself, is on top of it.
    held_back: AtomicBool,
    /// The call that ran when the watchdog came last.
    notified: AtomicU64,
    /// The call that the helper was asked to end.
    requested: AtomicU64,
    /// Whether memory was refused to the call.
    memory_refused: AtomicBool,
    /// By which ways the call was told to end: [`EXCEPTION`], [`SIGNAL`].
    sent: AtomicU8,
    place: Mutex<Option<Location>>,
}

impl Interrupt {
    /// Creates the interrupt of an instance of the calling thread, which is attached to Python.
    pub(crate) fn new() -> Arc<Interrupt> {
        Arc::new(Interrupt {
            thread: ThreadNumbers::own(),
            call: AtomicU64::new(0),
            calls: AtomicU64::new(0),
            held_back: AtomicBool::new(false),
            notified: AtomicU64::new(0),
            requested: AtomicU64::new(0),
            memory_refused: AtomicBool::new(false),
            sent: AtomicU8::new(0),
            place: Mutex::new(None),
        })
    }

    /// Notes that a call begins; returns whether it is the outermost.
    pub(crate) fn begin_call(&self) -> bool {
        if self.call.load(Ordering::Relaxed) != 0 {
            return false;
        }
        let call = self.calls.load(Ordering::Relaxed) + 1;
        self.calls.store(call, Ordering::Relaxed);
        self.call.store(call, Ordering::Release);
        true
    }

    /// Notes that the outermost call is over; returns whether an exception for it may still be on its way.
    pub(crate) fn end_call(&self) -> bool {
        self.call.store(0, Ordering::Release);
        if self.memory_refused.load(Ordering::Relaxed) {
            self.memory_refused.store(false, Ordering::Relaxed);
        }
        self.sent.load(Ordering::Relaxed) != 0 && self.forget_sent()
    }

    #[cold]
    fn forget_sent(&self) -> bool {
        let sent = self.sent.swap(0, Ordering::Relaxed);
        if sent & SIGNAL != 0 {
            signal::call_has_ended(self.thread);
        }
        sent & EXCEPTION != 0
    }

    /// Holds exceptions back, or lets them be set again; returns the former state.
    pub(crate) fn hold_back(&self, held_back: bool) -> bool {
        let before = self.held_back.load(Ordering::Relaxed);
        self.held_back.store(held_back, Ordering::Relaxed);
        before
    }

    /// Returns whether an exception was set for the call that runs.
    pub(crate) fn exception_was_set(&self) -> bool {
        self.sent.load(Ordering::Relaxed) & EXCEPTION != 0
    }

    /// Returns whether memory was refused to the call that runs.
    #[inline]
    pub(crate) fn memory_was_refused(&self) -> bool {
        self.memory_refused.load(Ordering::Relaxed)
    }

    /// Returns where the script was when the first exception was set.
    pub(crate) fn take_place(&self) -> Option<Location> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Notes that a call's time is over; for the watchdog, so it waits for nothing.
    pub(crate) fn time_is_over(self: &Arc<Interrupt>) {
        let call = self.call.load(Ordering::Acquire);
        // The call that was late may just have made room for another. The watchdog comes again only if this one's time
        // is over, since it looked at the clock after the number was there.
        if call != 0 && self.notified.swap(call, Ordering::AcqRel) == call {
            self.request(call);
            self.sent.fetch_or(SIGNAL, Ordering::AcqRel);
            let interrupt = self.clone();
            signal::interrupt(self.thread, Box::new(move || interrupt.call.load(Ordering::Acquire) == call));
        }
    }

    /// Notes that memory was refused; called by an allocation, so it does not touch Python.
    #[cold]
    pub(crate) fn refuse_memory(self: &Arc<Interrupt>) {
        let call = self.call.load(Ordering::Relaxed);
        if call != 0 && !self.memory_refused.swap(true, Ordering::Relaxed) {
            self.request(call);
        }
    }

    fn request(self: &Arc<Interrupt>, call: u64) {
        if self.requested.swap(call, Ordering::AcqRel) != call
            && let Some(Some(helper)) = HELPER.get()
        {
            // The helper's thread never ends, so there is somebody to receive it.
            let _ = helper.send(Request { interrupt: self.clone(), call, since: Instant::now() });
        }
    }
}

/// Leads to the helper's thread.
static HELPER: OnceLock<Option<Sender<Request>>> = OnceLock::new();

/// Starts the helper's thread, which sets exceptions of this class, if it does not run yet.
pub(crate) fn start(class: &Bound<'_, PyAny>) {
    HELPER.get_or_init(|| {
        let (sender, requests) = mpsc::channel();
        let class = class.clone().unbind();
        match thread::Builder::new().name("kemi python".to_owned()).spawn(move || serve(&requests, &class)) {
            Ok(_) => Some(sender),
            Err(error) => {
                log_guarded(|| {
                    tracing::error!(
                        target: "kemi",
                        engine = "python",
                        "no thread to end scripts with, time and memory limits do not hold in pure Python: {error}"
                    );
                });
                None
            }
        }
    });
}

/// One call to be ended.
struct Request {
    interrupt: Arc<Interrupt>,
    call: u64,
    since: Instant,
}

impl Request {
    fn is_over(&self) -> bool {
        self.interrupt.call.load(Ordering::Acquire) != self.call
    }

    /// Returns whether the signal has had its time, which comes first if there is one: a second end in the middle of the
    /// first one's clean-up would leave that undone.
    fn is_due(&self) -> bool {
        self.interrupt.memory_was_refused() || self.since.elapsed() >= AGAIN
    }

    /// Sets the exception on the worker's thread, unless the call is over or exceptions are held back.
    fn fulfil(&self, py: Python<'_>, class: &Py<PyAny>) {
        if self.is_over() || self.interrupt.held_back.load(Ordering::Relaxed) {
            return;
        }
        if !self.interrupt.exception_was_set() {
            let place = error::place_on(py, self.interrupt.thread.python as c_ulong);
            // Looking for the place may have let the worker run.
            if self.is_over() || self.interrupt.held_back.load(Ordering::Relaxed) {
                return;
            }
            *self.interrupt.place.lock().unwrap_or_else(PoisonError::into_inner) = place;
            self.interrupt.sent.fetch_or(EXCEPTION, Ordering::Relaxed);
        }
        // SAFETY: this thread is attached; the class is one of exceptions, and Python takes its own reference.
        unsafe { ffi::PyThreadState_SetAsyncExc(self.interrupt.thread.python as _, class.as_ptr()) };
    }
}

fn serve(requests: &Receiver<Request>, class: &Py<PyAny>) {
    let mut open: Vec<Request> = Vec::new();
    loop {
        let first = if open.is_empty() {
            requests.recv().map_err(|_| RecvTimeoutError::Disconnected)
        } else {
            requests.recv_timeout(AGAIN)
        };
        match first {
            Ok(request) => open.push(request),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        open.extend(requests.try_iter());
        open.retain(|request| !request.is_over());
        if open.iter().any(Request::is_due) {
            Python::attach(|py| {
                let _no_collections = GcPause::begin(py);
                open.iter().filter(|request| request.is_due()).for_each(|request| request.fulfil(py, class));
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requested(interrupt: &Interrupt) -> u64 {
        interrupt.requested.load(Ordering::Relaxed)
    }

    #[test]
    fn an_interrupt_for_a_call_that_is_over_does_not_hit_the_next() {
        let interrupt = Interrupt::new();
        interrupt.time_is_over();
        assert_eq!(requested(&interrupt), 0);
        for call in 1..5 {
            assert!(interrupt.begin_call());
            assert!(!interrupt.begin_call(), "nested");
            // Comes too late for the call before.
            interrupt.time_is_over();
            assert_eq!(requested(&interrupt), 0, "{call}");
            assert!(!interrupt.end_call());
        }
        interrupt.begin_call();
        interrupt.time_is_over();
        interrupt.time_is_over();
        assert_eq!(requested(&interrupt), 5);
    }
}
