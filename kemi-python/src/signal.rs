//! The way to code in C that looks for signals and not for exceptions: regular expressions, arithmetic on huge integers,
//! waits of every kind.
//!
//! Python runs the handlers of signals on its main thread only, and only there does such code look for them. No script
//! runs on that thread, see [`crate::attach::initialize`]. So a thread whose call is over its time takes its part until
//! the call has ended, one thread after the other, and gets a signal, which also ends the system call that it waits in.
//! The main thread's number is a word in Python's own state. Its place differs from version to version; it is
//! looked for, and proved by what changing it does, before it is used.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use kemi_core::telemetry::log_guarded;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

/// The time that a thread stands for the main thread while others wait for that: it may need Python's lock first.
const TURN: Duration = Duration::from_millis(25);

/// The time from one signal to the next: what the thread has raised may have been caught by a wait in C.
const AGAIN: Duration = Duration::from_millis(5);

/// A thread as it is called by Python and by the system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ThreadNumbers {
    /// `PyThread_get_thread_ident`.
    pub(crate) python: usize,
    /// `gettid`; 0 where signals are not used.
    system: i32,
}

impl ThreadNumbers {
    /// Returns the calling thread's.
    pub(crate) fn own() -> ThreadNumbers {
        // SAFETY: may be called at any time.
        let python = unsafe { pyo3::ffi::PyThread_get_thread_ident() };
        ThreadNumbers { python: python as usize, system: platform::own() }
    }
}

/// Python's number of the thread that has initialised it, if this crate knows it.
static MAIN_THREAD: AtomicUsize = AtomicUsize::new(0);

/// Notes that the calling thread has initialised Python.
pub(crate) fn note_main_thread() {
    MAIN_THREAD.store(ThreadNumbers::own().python, Ordering::Relaxed);
}

/// Returns Python's number of its main thread.
#[cfg(target_os = "linux")]
fn main_thread(py: Python<'_>) -> Option<usize> {
    match MAIN_THREAD.load(Ordering::Relaxed) {
        0 => {
            // The host has initialised Python.
            let thread = py.import("threading").and_then(|threading| threading.call_method0("main_thread"));
            thread.and_then(|thread| thread.getattr("ident")).and_then(|ident| ident.extract()).ok()
        }
        known => Some(known),
    }
}

/// A thread whose call is over its time.
struct LateCall {
    thread: ThreadNumbers,
    /// Returns whether that call still runs.
    goes_on: Box<dyn Fn() -> bool + Send>,
}

/// The threads whose calls are over their time; the first one stands for the main thread.
struct Turns {
    threads: VecDeque<LateCall>,
    since: Option<Instant>,
}

impl Turns {
    const fn new() -> Turns {
        Turns { threads: VecDeque::new(), since: None }
    }

    fn add(&mut self, late: LateCall) {
        match self.threads.iter_mut().find(|known| known.thread == late.thread) {
            Some(known) => *known = late,
            None => self.threads.push_back(late),
        }
    }

    /// Returns whose turn it is, and forgets calls that are over.
    fn next(&mut self, now: Instant) -> Option<ThreadNumbers> {
        let before = self.threads.front().map(|late| late.thread);
        self.threads.retain(|late| (late.goes_on)());
        let same = before.is_some() && self.threads.front().map(|late| late.thread) == before;
        match self.since {
            Some(since) if same && now.saturating_duration_since(since) < TURN => {}
            Some(_) if same => {
                self.threads.rotate_left(1);
                self.since = Some(now);
            }
            _ => self.since = Some(now),
        }
        self.threads.front().map(|late| late.thread)
    }

    fn remove(&mut self, thread: ThreadNumbers) {
        if self.threads.front().is_some_and(|late| late.thread == thread) {
            self.since = None;
        }
        self.threads.retain(|late| late.thread != thread);
    }

    /// Sends a signal to the thread whose turn it is.
    fn send(&mut self) {
        let next = self.next(Instant::now());
        LATE.store(self.threads.len(), Ordering::Relaxed);
        match next {
            Some(thread) if platform::send(thread.python, thread.system) => {}
            // It has ended.
            Some(thread) => self.remove(thread),
            None => platform::restore(),
        }
    }
}

static TURNS: Mutex<Turns> = Mutex::new(Turns::new());
static ADDED: Condvar = Condvar::new();

/// The number of threads in [`TURNS`].
static LATE: AtomicUsize = AtomicUsize::new(0);

fn turns() -> MutexGuard<'static, Turns> {
    TURNS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns whether any call in the process is over its time.
#[inline(always)]
pub(crate) fn is_any_call_late() -> bool {
    LATE.load(Ordering::Relaxed) != 0
}

/// Makes a thread whose call is over its time look for that, again and again as long as `goes_on` says that it runs.
///
/// For the watchdog, so it waits for nothing. After [`call_has_ended`] nothing reaches the thread any more.
pub(crate) fn interrupt(thread: ThreadNumbers, goes_on: Box<dyn Fn() -> bool + Send>) {
    let mut turns = turns();
    turns.add(LateCall { thread, goes_on });
    turns.send();
    drop(turns);
    ADDED.notify_one();
}

/// Notes that a thread's call has ended.
#[cold]
pub(crate) fn call_has_ended(thread: ThreadNumbers) {
    let mut turns = turns();
    turns.remove(thread);
    turns.send();
}

/// Gives each late thread its turn; on a thread of its own, which never waits for Python's lock.
fn serve() {
    loop {
        let turns = turns();
        let late = |turns: &mut Turns| turns.threads.is_empty();
        let mut turns = ADDED.wait_while(turns, late).unwrap_or_else(PoisonError::into_inner);
        turns.send();
        drop(turns);
        thread::sleep(AGAIN);
    }
}

/// The function that a signal runs on the thread that it reaches.
pub(crate) type Handler = fn(Python<'_>) -> PyResult<()>;

/// Finds out once how signals reach other threads than the main one; says so in the log if they do not.
pub(crate) fn prepare(py: Python<'_>, handler: Handler) {
    static PREPARED: PyOnceLock<()> = PyOnceLock::new();
    PREPARED.get_or_init(py, || {
        let server = || thread::Builder::new().name("kemi signals".to_owned()).spawn(serve);
        let prepared = platform::prepare(py, handler);
        if let Err(why) = prepared.and_then(|()| server().map_err(|error| error.to_string())) {
            log_guarded(|| {
                tracing::warn!(
                    target: "kemi",
                    engine = "python",
                    "waits, regular expressions and arithmetic of Python scripts cannot be interrupted: {why}"
                );
            });
        }
    });
}

#[cfg(target_os = "linux")]
mod platform {
    use std::ffi::c_int;
    use std::mem::MaybeUninit;
    use std::ptr;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use pyo3::ffi;
    use pyo3::prelude::*;
    use pyo3::types::{PyCFunction, PyDict, PyTuple};

    use super::Handler;
    use crate::prelude::Prelude;

    unsafe extern "C" {
        /// Python's own state, of which only the beginning is looked at.
        #[link_name = "_PyRuntime"]
        static RUNTIME: AtomicUsize;
    }

    /// The findings of `prepare`.
    struct Signal {
        /// Python's number of its main thread.
        main: &'static AtomicUsize,
        /// Its value when no call is over its time.
        home: usize,
        number: c_int,
    }

    static SIGNAL: OnceLock<Signal> = OnceLock::new();

    pub(super) fn own() -> i32 {
        // SAFETY: no demands.
        unsafe { libc::gettid() }
    }

    /// Gives a thread the main thread's part and sends it the signal; returns whether there is such a thread.
    pub(super) fn send(python: usize, system: i32) -> bool {
        let Some(signal) = SIGNAL.get() else { return true };
        signal.main.store(python, Ordering::SeqCst);
        // SAFETY: no demands; a thread that has ended is not found, and the signal has a handler.
        unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), system, signal.number) == 0 }
    }

    /// Puts the main thread's own number back.
    pub(super) fn restore() {
        if let Some(signal) = SIGNAL.get() {
            signal.main.store(signal.home, Ordering::SeqCst);
        }
    }

    /// Returns how many words of Python's state there are at least, among which is the main thread's number.
    fn words(py: Python<'_>) -> Option<usize> {
        match (py.version_info().major, py.version_info().minor) {
            (3, 10) => Some(84),
            (3, 11..) => Some(256),
            _ => None,
        }
    }

    pub(super) fn prepare(py: Python<'_>, handler: Handler) -> Result<(), String> {
        let why = |error: PyErr| error.to_string();
        let words = words(py).ok_or("this version of Python is not supported")?;
        let prelude = Prelude::get(py).map_err(why)?;
        // SAFETY: no demands.
        let own = unsafe { ffi::PyThread_get_thread_ident() } as usize;
        let is_main = || is_main(py, prelude);
        let home = if is_main() { own } else { super::main_thread(py).ok_or("its main thread is not known")? };
        let word = |index| {
            // SAFETY: the state is a static that is larger than that, see `words`. Whatever stands there, an integer can be
            // read from it.
            unsafe { &*(&raw const RUNTIME).add(index) }
        };
        let is_it = |word: &AtomicUsize| {
            if word.load(Ordering::SeqCst) != home {
                return false;
            }
            // The thread has Python's lock, so nobody else asks meanwhile.
            word.store(if home == own { 0 } else { own }, Ordering::SeqCst);
            let changed = is_main() != (home == own);
            word.store(home, Ordering::SeqCst);
            changed
        };
        let main = (0..words).map(word).find(|word| is_it(word)).ok_or("the main thread's number was not found")?;
        let number = unused().ok_or("every signal is in use")?;
        let handler = PyCFunction::new_closure(
            py,
            Some(c"interrupt"),
            None,
            move |args: &Bound<'_, PyTuple>, _named: Option<&Bound<'_, PyDict>>| handler(args.py()),
        )
        .map_err(why)?;
        main.store(own, Ordering::SeqCst);
        let set = prelude.call(py, "set_signal", (number, handler));
        main.store(home, Ordering::SeqCst);
        set.map_err(why)?;
        let _ = SIGNAL.set(Signal { main, home, number });
        Ok(())
    }

    /// Asks Python whether this is its main thread: only there may one change what this puts back at once.
    fn is_main(py: Python<'_>, prelude: &Prelude) -> bool {
        match prelude.call(py, "set_wakeup_fd", (-1,)) {
            Ok(before) => {
                if before.extract::<i64>().is_ok_and(|before| before != -1) {
                    let _ = prelude.call(py, "set_wakeup_fd", (before,));
                }
                true
            }
            Err(_) => false,
        }
    }

    /// Finds a signal that nobody handles, among those without a meaning of their own.
    fn unused() -> Option<c_int> {
        (libc::SIGRTMIN()..=libc::SIGRTMAX()).rev().find(|number| {
            let mut action = MaybeUninit::<libc::sigaction>::zeroed();
            // SAFETY: nothing is changed; what it was is written to `action`.
            unsafe {
                libc::sigaction(*number, ptr::null(), action.as_mut_ptr()) == 0
                    && action.assume_init().sa_sigaction == libc::SIG_DFL
            }
        })
    }
}

#[cfg(not(target_os = "linux"))]
mod platform {
    use pyo3::prelude::*;

    use super::Handler;

    pub(super) fn own() -> i32 {
        0
    }

    pub(super) fn send(_python: usize, _system: i32) -> bool {
        true
    }

    pub(super) fn restore() {}

    pub(super) fn prepare(_py: Python<'_>, _handler: Handler) -> Result<(), String> {
        Err("this platform is not supported".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn threads_whose_calls_are_late_take_turns_until_their_calls_end() {
        let [a, b] = [1, 2].map(|python| ThreadNumbers { python, system: -1 });
        let over = Arc::new(AtomicUsize::new(0));
        let late = |thread: ThreadNumbers| {
            let over = over.clone();
            LateCall { thread, goes_on: Box::new(move || over.load(Ordering::Relaxed) != thread.python) }
        };
        let mut turns = Turns::new();
        let start = Instant::now();
        turns.add(late(a));
        turns.add(late(a));
        assert_eq!(turns.next(start), Some(a));
        assert_eq!(turns.next(start + 10 * TURN), Some(a));
        turns.add(late(b));
        let start = start + 10 * TURN;
        assert_eq!(turns.next(start + TURN / 2), Some(a));
        assert_eq!(turns.next(start + TURN), Some(b));
        assert_eq!(turns.next(start + TURN * 2), Some(a));
        turns.remove(a);
        assert_eq!(turns.next(start + TURN * 2), Some(b));
        turns.add(late(a));
        over.store(b.python, Ordering::Relaxed);
        assert_eq!(turns.next(start + TURN * 2), Some(a));
        turns.remove(a);
        assert_eq!(turns.next(start), None);
    }
}
