//! Interrupts of an interpreter: a record of what runs on a thread, and the signal that gets there.
//!
//! For authors of engines whose interpreter can be stopped from the middle of anything, but only by the thread that runs
//! it. Such an engine sets the [`Running`] interpreter of its thread by [`set_innermost`], and passes the interrupt of
//! [`for_this_thread`] to [`Runtime::on_interrupt`](crate::engine::Runtime::on_interrupt). When a call's time is over, the
//! watchdog sends SIGURG to the thread, whose handler wakes that interpreter. When the call's memory is used up, the
//! [`CountingAllocator`](crate::CountingAllocator) does so on the spot. Until then this costs a callback two stores.

use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

#[cfg(not(unix))]
pub use elsewhere::for_this_thread;
#[cfg(unix)]
pub use signal::for_this_thread;
#[cfg(unix)]
pub(crate) use signal::forked;

/// The function that the watchdog calls, on its own thread, when a call's time is over.
pub type Interrupt = Box<dyn Fn() + Send + Sync>;

/// Whether an interrupt from [`for_this_thread`] reaches the thread.
///
/// Without signals it does nothing. An engine that relies on it then says so when it loads a script, or checks the
/// [clock](crate::engine::Runtime::poll) often enough.
pub const INTERRUPTS_THREADS: bool = cfg!(unix);

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

    /// Changes the state that `wake` gets.
    #[inline]
    pub fn set(&self, state: *mut ()) {
        self.state.store(state, Ordering::Release);
    }
}

/// Makes an interpreter the innermost of this thread, or none; returns the former one.
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

#[cfg(not(unix))]
mod elsewhere {
    use std::io;

    use super::Interrupt;

    /// Makes an interrupt for the scripts of the calling thread, which does nothing on this system.
    ///
    /// # Errors
    /// None here.
    pub fn for_this_thread() -> io::Result<Interrupt> {
        Ok(Box::new(|| ()))
    }
}

#[cfg(unix)]
mod signal {
    use std::ffi::{c_int, c_void};
    use std::io;
    use std::mem::MaybeUninit;
    use std::ptr;
    use std::sync::{Mutex, OnceLock, PoisonError};

    use super::Interrupt;
    use super::target::Target;

    thread_local! {
        static OWN: Own = Own(Target::this_thread());
    }

    /// The calling thread, until it ends.
    struct Own(Target);

    impl Drop for Own {
        fn drop(&mut self) {
            self.0.ends();
        }
    }

    /// Makes an interrupt for the scripts of the calling thread; any other thread may call it.
    ///
    /// On a thread that is about to end, while its thread-locals are dropped, it still does on Linux; on other systems it
    /// then does nothing.
    ///
    /// # Errors
    /// The system's, if it refuses the signal handler.
    pub fn for_this_thread() -> io::Result<Interrupt> {
        install()?;
        // The handler reads this one; in a library that was loaded later its first use may allocate.
        super::INNERMOST.with(|_| ());
        let target = OWN.try_with(|own| own.0.clone()).unwrap_or_else(|_| Target::ending_thread());
        Ok(Box::new(move || target.interrupt()))
    }

    /// Notes, in the child of a fork, that its thread has another number.
    pub(crate) fn forked() {
        let _ = OWN.try_with(|own| own.0.renew());
    }

    /// The former handler of the signal; set before the handler that reads it is installed.
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

    /// Runs between any two instructions of the thread, so it uses nothing but atomics and the former handler.
    extern "C" fn handle(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
        // SAFETY: the system passes the signal's record, and asks for nothing.
        if unsafe { super::target::is_ours(info) } {
            super::wake();
        }
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

/// A thread by its number, which Linux gives to no other thread of another process. A signal to one that has ended goes
/// astray or to a thread for which it means nothing, so the end of the thread needs no record.
#[cfg(any(target_os = "linux", target_os = "android"))]
mod target {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicI32, Ordering};

    #[derive(Clone)]
    pub(super) struct Target(Arc<AtomicI32>);

    impl Target {
        pub(super) fn this_thread() -> Target {
            Target(Arc::new(AtomicI32::new(number())))
        }

        /// The calling thread while its thread-locals are dropped.
        pub(super) fn ending_thread() -> Target {
            Target::this_thread()
        }

        pub(super) fn ends(&self) {}

        pub(super) fn renew(&self) {
            self.0.store(number(), Ordering::Relaxed);
        }

        pub(super) fn interrupt(&self) {
            let number = libc::c_long::from(self.0.load(Ordering::Relaxed));
            // By their numbers, since not each C library has functions for this.
            // SAFETY: numbers of the process, a thread and a signal, of which the system checks each.
            unsafe {
                let process = libc::c_long::from(libc::getpid());
                libc::syscall(libc::SYS_tgkill, process, number, libc::c_long::from(libc::SIGURG));
            }
        }
    }

    fn number() -> i32 {
        // SAFETY: no demands.
        let number = unsafe { libc::syscall(libc::SYS_gettid) };
        i32::try_from(number).unwrap_or(i32::MAX)
    }

    /// Returns whether a thread of this process has sent the signal to this very thread.
    ///
    /// Others get to any thread, also one that has never run a script: in a library that was loaded while the process ran,
    /// such a thread has no place for [`INNERMOST`](super::INNERMOST) yet, and a signal handler must not allocate it.
    ///
    /// # Safety
    /// It is what the system has given the signal's handler.
    pub(super) unsafe fn is_ours(info: *const libc::siginfo_t) -> bool {
        // SAFETY: as the caller's. `tgkill` sets the sender, and so does whatever else has this code.
        unsafe { (*info).si_code == libc::SI_TKILL && (*info).si_pid() == libc::getpid() }
    }
}

/// A thread by its handle, for as long as it runs.
#[cfg(all(unix, not(any(target_os = "linux", target_os = "android"))))]
mod target {
    use std::sync::{Arc, Mutex, PoisonError};

    /// A pointer on some systems.
    struct Handle(libc::pthread_t);

    // SAFETY: a thread's handle is there to be passed to other threads; none of them looks into it.
    unsafe impl Send for Handle {}

    #[derive(Clone)]
    pub(super) struct Target(Arc<Mutex<Option<Handle>>>);

    impl Target {
        pub(super) fn this_thread() -> Target {
            // SAFETY: no demands.
            Target(Arc::new(Mutex::new(Some(Handle(unsafe { libc::pthread_self() })))))
        }

        /// The calling thread while its thread-locals are dropped: nothing, since nobody would say that it is gone.
        pub(super) fn ending_thread() -> Target {
            Target(Arc::new(Mutex::new(None)))
        }

        pub(super) fn ends(&self) {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }

        pub(super) fn renew(&self) {}

        pub(super) fn interrupt(&self) {
            let thread = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(Handle(thread)) = &*thread {
                // SAFETY: the thread lives: before it ends it takes the lock held here to say so.
                unsafe { libc::pthread_kill(*thread, libc::SIGURG) };
            }
        }
    }

    /// Returns whether the signal may be one of [`Target::interrupt`]; here nothing tells them apart.
    ///
    /// # Safety
    /// None here.
    pub(super) unsafe fn is_ours(_info: *const libc::siginfo_t) -> bool {
        true
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

    /// An interpreter that counts how often it is woken.
    #[cfg(target_os = "linux")]
    fn counting(counter: &std::sync::atomic::AtomicU32) -> Running {
        // SAFETY: `count` needs no more than the counter, which outlives it.
        unsafe { Running::new(count, ptr::from_ref(counter).cast_mut().cast()) }
    }

    #[cfg(target_os = "linux")]
    fn wait_until(done: impl Fn() -> bool) {
        let start = std::time::Instant::now();
        while !done() {
            assert!(start.elapsed() < std::time::Duration::from_secs(60));
            std::thread::yield_now();
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn an_interrupt_reaches_a_thread_whose_thread_locals_are_being_dropped_and_none_that_has_ended() {
        use std::sync::atomic::AtomicU32;
        use std::sync::mpsc::{Sender, channel};

        static WOKEN: AtomicU32 = AtomicU32::new(0);
        /// A script that runs while its thread ends.
        struct Last(Sender<crate::limits::Interrupt>);
        impl Drop for Last {
            fn drop(&mut self) {
                let running = counting(&WOKEN);
                // SAFETY: it lives until none is put back.
                unsafe { set_innermost(&raw const running) };
                let _ = self.0.send(for_this_thread().unwrap());
                wait_until(|| WOKEN.load(Ordering::Relaxed) > 0);
                // SAFETY: there was none before.
                unsafe { set_innermost(ptr::null()) };
            }
        }
        thread_local!(static LAST: std::cell::OnceCell<Last> = const { std::cell::OnceCell::new() });
        let (sender, interrupts) = channel();
        let thread = std::thread::spawn(move || {
            // Before the thread's own record, so it is dropped after that.
            LAST.with(|last| drop(last.set(Last(sender.clone()))));
            sender.send(for_this_thread().unwrap()).unwrap();
        });
        let (first, second) = (interrupts.recv().unwrap(), interrupts.recv().unwrap());
        second();
        thread.join().unwrap();
        assert_eq!(WOKEN.load(Ordering::Relaxed), 1);
        first();
        second();
    }

    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[test]
    fn a_signal_from_elsewhere_wakes_nobody() {
        let counter = std::sync::atomic::AtomicU32::new(0);
        let running = counting(&counter);
        let interrupt = for_this_thread().unwrap();
        // SAFETY: it lives until none is put back. The signal has a handler, and a record of a kind that anybody may send
        // to a thread of its own process.
        unsafe {
            set_innermost(&raw const running);
            libc::pthread_sigqueue(libc::pthread_self(), libc::SIGURG, libc::sigval { sival_ptr: ptr::null_mut() });
            assert_eq!(counter.load(Ordering::Relaxed), 0);
            interrupt();
            assert_eq!(counter.load(Ordering::Relaxed), 1);
            set_innermost(ptr::null());
        }
    }
}
