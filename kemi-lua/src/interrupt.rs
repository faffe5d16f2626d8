//! The way from the watchdog's thread into a running script: a signal that sets a hook.
//!
//! `lua_sethook` is made to be called in the middle of anything by the thread that runs the state, and by no other. So
//! the watchdog sends SIGURG to that thread, and the handler there sets the hook. While nothing is over its time this
//! costs a callback two stores.

use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::io;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use kemi_core::Interrupt;
use mlua::ffi;

use crate::ending;

/// Where a core says which of its states runs.
pub(crate) type Running = AtomicPtr<ffi::lua_State>;

thread_local! {
    /// The innermost core that runs a script on this thread; null when none does.
    static INNERMOST: AtomicPtr<Running> = const { AtomicPtr::new(ptr::null_mut()) };

    /// Until when the handler rests on this thread. Only the handler uses it, and it is not interrupted by itself.
    static RESTS_UNTIL: Cell<Option<Instant>> = const { Cell::new(None) };

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

/// Makes a core the innermost of this thread, or none; returns which one was. The core must stay where it is until
/// the former one is put back.
#[inline]
pub(crate) fn set_innermost(running: *mut Running) -> *mut Running {
    INNERMOST.with(|innermost| {
        let former = innermost.load(Ordering::Relaxed);
        innermost.store(running, Ordering::Release);
        former
    })
}

/// Makes what interrupts the scripts of the calling thread, from any other one.
///
/// # Errors
/// The system's, if it refuses the signal handler.
pub(crate) fn for_this_thread() -> io::Result<Interrupt> {
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

/// Sets the hook on the state that runs on this thread, if one does. Runs between any two instructions of the thread,
/// so it uses nothing but atomics, the clock, `lua_sethook`, and what was there before.
extern "C" fn handle(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    if !is_resting() {
        let began = Instant::now();
        watch_running();
        rest_after(began);
    }
    if let Some(former) = FORMER.get() {
        pass_on(former, signal, info, context);
    }
}

/// How many times as long as it worked the handler rests.
const REST: u32 = 4;

/// Setting a hook walks over all calls in progress. In a deep recursion that takes longer than it takes the watchdog to
/// send the next signal, and the script would never come to the instruction that ends it.
fn is_resting() -> bool {
    RESTS_UNTIL.get().is_some_and(|until| Instant::now() < until)
}

fn rest_after(began: Instant) {
    let now = Instant::now();
    RESTS_UNTIL.set(now.checked_add(now.duration_since(began).saturating_mul(REST)));
}

fn watch_running() {
    let running = INNERMOST.with(|innermost| innermost.load(Ordering::Acquire));
    // SAFETY: a core that is set is pinned and alive until the one before it is put back. Its running state is alive:
    // only this thread could free it, and a coroutine stands there only while it is being resumed, which keeps it on
    // the resumer's stack, with no way out (not even by an error) that does not put the resumer back first. This is
    // the thread that runs the state, so nothing here is a data race; `lua_sethook` is written to be called in a
    // signal handler: Lua's own `lua.c` does it on SIGINT. An assignment that it comes between and that is lost for
    // that reason does not matter, since the watchdog sends the signal again and again, and neither does a hook that is
    // set too much, since it removes itself.
    unsafe {
        if let Some(running) = running.as_ref() {
            ending::set_interrupt_hook(running.load(Ordering::Acquire));
        }
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
