//! How an interpreter is interrupted: what runs on a thread, and the signal by which the watchdog gets there.
//!
//! For authors of engines whose interpreter can be stopped from the middle of anything, but only by the thread that runs
//! it. Such an engine says with [`set_innermost`] which [`Running`] interpreter its thread is in, and passes what
//! [`for_this_thread`] returns to [`Runtime::on_interrupt`](crate::Runtime::on_interrupt). When a call's time is over, the
//! watchdog sends SIGURG to the thread, whose handler wakes that interpreter; when the call's memory is used up, the
//! [`CountingAllocator`](crate::CountingAllocator) does so on the spot. Until then this costs a callback two stores.

use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

#[cfg(unix)]
pub use signal::for_this_thread;

thread_local! {
    /// The innermost interpreter that runs a script on this thread; null when none does.
    static INNERMOST: AtomicPtr<Running> = const { AtomicPtr::new(ptr::null_mut()) };
}

/// An interpreter that can be interrupted, as its engine describes it.
#[derive(Debug)]
pub struct Running {
    wake: unsafe fn(*mut ()),
    state: AtomicPtr<()>,
}

impl Running {
    /// Describes an interpreter: `wake` is called with what [`set`](Self::set) has set last, unless that is null.
    ///
    /// # Safety
    /// While the value is [innermost](set_innermost), `wake` may be called with its state of that moment, on the thread it
    /// is innermost of, between any two instructions and in the middle of an allocation: it neither allocates nor locks
    /// nor unwinds.
    #[must_use]
    pub const unsafe fn new(wake: unsafe fn(*mut ()), state: *mut ()) -> Running {
        Running { wake, state: AtomicPtr::new(state) }
    }

    /// Returns the state that `wake` gets.
    #[must_use]
    #[inline]
    pub fn get(&self) -> *mut () {
        self.state.load(Ordering::Relaxed)
    }

    /// Changes the state that `wake` gets: what runs now.
    #[inline]
    pub fn set(&self, state: *mut ()) {
        self.state.store(state, Ordering::Release);
    }
}

/// Makes an interpreter the innermost of this thread, or none; returns which one was.
///
/// # Safety
/// It stays where it is until the former one is put back.
#[inline]
pub unsafe fn set_innermost(running: *const Running) -> *const Running {
    INNERMOST.with(|innermost| {
        let former = innermost.load(Ordering::Relaxed);
        innermost.store(running.cast_mut(), Ordering::Release);
        former
    })
}

/// Wakes the innermost interpreter of this thread, if one runs. Signal handlers and allocators may call it.
pub(crate) fn wake() {
    let running = INNERMOST.with(|innermost| innermost.load(Ordering::Acquire));
    // SAFETY: who made it innermost keeps it where it is; `Running::new` says what may be done with its state here.
    unsafe {
        if let Some(running) = running.as_ref() {
            let state = running.state.load(Ordering::Acquire);
            if !state.is_null() {
                (running.wake)(state);
            }
        }
    }
}

#[cfg(unix)]
mod signal {
    use std::ffi::{c_int, c_void};
    use std::io;
    use std::mem::MaybeUninit;
    use std::ptr;
    use std::sync::{Arc, Mutex, OnceLock, PoisonError};

    use crate::watch::Interrupt;

    thread_local! {
        static WORKER: Worker = Worker(Arc::new(Mutex::new(Some(this_thread()))));
    }

    /// The thread that a signal can be sent to, as long as it lives.
    struct Worker(Arc<Mutex<Option<libc::pthread_t>>>);

    impl Drop for Worker {
        fn drop(&mut self) {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }

    fn this_thread() -> libc::pthread_t {
        // SAFETY: no demands.
        unsafe { libc::pthread_self() }
    }

    /// Makes what interrupts the scripts of the calling thread, from any other one.
    ///
    /// # Errors
    /// The system's, if it refuses the signal handler.
    pub fn for_this_thread() -> io::Result<Interrupt> {
        install()?;
        let worker = WORKER.with(|worker| worker.0.clone());
        Ok(Box::new(move || {
            let thread = worker.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(thread) = *thread {
                // SAFETY: the thread lives: before it ends it takes the lock held here to say so.
                unsafe { libc::pthread_kill(thread, libc::SIGURG) };
            }
        }))
    }

    /// What handled the signal before; set before the handler that reads it is installed.
    static FORMER: OnceLock<libc::sigaction> = OnceLock::new();

    /// Installs the handler, once in the process, and lets the calling thread receive the signal.
    fn install() -> io::Result<()> {
        static INSTALLED: Mutex<bool> = Mutex::new(false);
        let mut installed = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
        if !*installed {
            // SAFETY: all fields are integers and pointers, for which zero is valid; the calls get records that live on.
            unsafe {
                let mut former: libc::sigaction = MaybeUninit::zeroed().assume_init();
                if libc::sigaction(libc::SIGURG, ptr::null(), &raw mut former) != 0 {
                    return Err(io::Error::last_os_error());
                }
                FORMER.get_or_init(|| former);
                let mut action: libc::sigaction = MaybeUninit::zeroed().assume_init();
                let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) = handle;
                action.sa_sigaction = handler as usize;
                action.sa_flags = libc::SA_RESTART | libc::SA_SIGINFO | libc::SA_ONSTACK;
                libc::sigemptyset(&raw mut action.sa_mask);
                if libc::sigaction(libc::SIGURG, &raw const action, ptr::null_mut()) != 0 {
                    return Err(io::Error::last_os_error());
                }
            }
            *installed = true;
        }
        // SAFETY: as above.
        let status = unsafe {
            let mut set: libc::sigset_t = MaybeUninit::zeroed().assume_init();
            libc::sigemptyset(&raw mut set);
            libc::sigaddset(&raw mut set, libc::SIGURG);
            libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const set, ptr::null_mut())
        };
        if status == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(status)) }
    }

    /// Runs between any two instructions of the thread, so it uses nothing but atomics and what was there before.
    extern "C" fn handle(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
        super::wake();
        if let Some(former) = FORMER.get() {
            pass_on(former, signal, info, context);
        }
    }

    fn pass_on(former: &libc::sigaction, signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
        let handler = former.sa_sigaction;
        // What is left to the system is nothing: it ignores the signal by default.
        if handler == libc::SIG_DFL || handler == libc::SIG_IGN {
            return;
        }
        // SAFETY: the system gave this address as that of a handler, of the kind that the flag tells.
        unsafe {
            if former.sa_flags & libc::SA_SIGINFO != 0 {
                let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) = std::mem::transmute(handler);
                handler(signal, info, context);
            } else {
                let handler: extern "C" fn(c_int) = std::mem::transmute(handler);
                handler(signal);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    unsafe fn count(state: *mut ()) {
        // SAFETY: the test keeps a counter there.
        let counter = unsafe { &*state.cast::<std::sync::atomic::AtomicU32>() };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    #[test]
    fn only_the_innermost_interpreter_is_woken() {
        let counts = [const { std::sync::atomic::AtomicU32::new(0) }; 2];
        // SAFETY: `count` needs no more than the counters, which outlive both.
        let [outer, inner] = [0, 1].map(|i| unsafe { Running::new(count, (&raw const counts[i]).cast_mut().cast()) });
        let seen = || [0, 1].map(|i: usize| counts[i].load(Ordering::Relaxed));
        wake();
        // SAFETY: both live until `none` is put back.
        unsafe {
            let none = set_innermost(&raw const outer);
            assert!(none.is_null());
            wake();
            assert_eq!(seen(), [1, 0]);
            let former = set_innermost(&raw const inner);
            assert_eq!(former, &raw const outer);
            wake();
            assert_eq!(seen(), [1, 1]);
            inner.set(ptr::null_mut());
            wake();
            set_innermost(former);
            wake();
            set_innermost(none);
        }
        wake();
        assert_eq!(seen(), [2, 1]);
    }
}
