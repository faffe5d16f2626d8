//! The threads of a Lua state that take part in the running call, and their hooks.
//!
//! A hook is a function of the engine that Lua calls before an instruction of one thread. On Lua 5.4 each thread has its
//! own; on LuaJIT all threads share one.

use std::cell::Cell;
use std::ffi::c_int;
use std::ptr;

use kemi_core::limits::interrupt::{self, Running};

use crate::ffi::{self, LuaThread};

/// A hook as Lua calls it.
pub(crate) type Hook = unsafe extern "C-unwind" fn(LuaThread, *mut ffi::lua_Debug);

/// The threads of one state that matter to the running call.
pub(crate) struct Threads {
    /// The thread that called the running native function, or that the hook runs on.
    current: Cell<LuaThread>,
    /// The thread that runs, at any instant: the signal handler reads it. On LuaJIT it is the callback's, since there
    /// all threads share one hook.
    running: Running,
    /// The thread that the innermost callback was started on.
    base: Cell<LuaThread>,
    /// The hook that checks the limits.
    hook: Hook,
    /// The number of instructions between two calls of the hook while no call is to end; 0 for no hook.
    idle_step: c_int,
    /// Whether the hook that terminates a call is set.
    armed: Cell<bool>,
    /// The thread on which a hook has raised an error that nobody has caught yet: its hooks are off until then.
    #[cfg(not(luajit))]
    hookless: Cell<LuaThread>,
    /// Whether LuaJIT's compiler is on: compiled code calls no hook and keeps no frames.
    #[cfg(luajit)]
    compiled: Cell<bool>,
}

/// The threads before a callback, for [`Threads::leave`] to put back.
#[derive(Debug)]
pub(crate) struct SavedThreads {
    base: LuaThread,
    current: LuaThread,
    running: *mut (),
    innermost: *const Running,
}

impl Threads {
    /// Describes a fresh state that has only its main thread.
    pub(crate) fn new(main: LuaThread, running: Running, hook: Hook, idle_step: c_int) -> Threads {
        Threads {
            current: Cell::new(main),
            running,
            base: Cell::new(main),
            hook,
            idle_step,
            armed: Cell::new(false),
            #[cfg(not(luajit))]
            hookless: Cell::new(ptr::null_mut()),
            #[cfg(luajit)]
            compiled: Cell::new(true),
        }
    }

    /// Returns the thread that called the running native function, or that the hook runs on.
    #[inline]
    pub(crate) fn current(&self) -> LuaThread {
        self.current.get()
    }

    /// Runs a closure with another [current](Self::current) thread.
    #[inline]
    pub(crate) fn with_current<R>(&self, l: LuaThread, run: impl FnOnce() -> R) -> R {
        let outer = self.current.replace(l);
        let result = run();
        self.current.set(outer);
        result
    }

    /// Returns the thread that runs.
    pub(crate) fn running(&self) -> LuaThread {
        self.running.get().cast()
    }

    /// Begins a callback on a thread.
    ///
    /// # Safety
    /// `self` does not move before [`leave`](Self::leave) gets the result.
    #[inline(always)]
    pub(crate) unsafe fn enter(&self, l: LuaThread) -> SavedThreads {
        let saved = SavedThreads {
            base: self.base.replace(l),
            current: self.current.replace(l),
            running: self.running.get(),
            // SAFETY: as the caller's.
            innermost: unsafe { interrupt::set_innermost(&raw const self.running) },
        };
        self.running.set(l.cast());
        saved
    }

    /// Ends a callback.
    ///
    /// # Safety
    /// The threads that were innermost before [`enter`](Self::enter) are still there.
    #[inline(always)]
    pub(crate) unsafe fn leave(&self, saved: &SavedThreads) {
        // SAFETY: as the caller's.
        unsafe { interrupt::set_innermost(saved.innermost) };
        self.running.set(saved.running);
        self.base.set(saved.base);
        self.current.set(saved.current);
    }

    /// Has the hook called before every further instruction of the thread and of all that wait for it, until
    /// [`disarm`](Self::disarm).
    pub(crate) fn arm(&self, l: LuaThread) {
        self.armed.set(true);
        self.hook_chain(l);
    }

    /// Removes the hooks of [`arm`](Self::arm) where the callback began. Other coroutines that had them have died of the
    /// error.
    #[inline]
    pub(crate) fn disarm(&self, l: LuaThread) {
        if self.armed.replace(false) {
            #[cfg(not(luajit))]
            self.hook_runs(l);
            // SAFETY: it is the thread that the callback ran on.
            unsafe { self.reset_hook(l) };
        }
    }

    /// Has the hook called before the next instruction of the script. The allocator may call it: it touches nothing but
    /// the hooks.
    pub(crate) fn request_check(&self) {
        self.hook_chain(self.running());
    }

    /// Has the hook called before the next instruction of one thread.
    ///
    /// # Safety
    /// The thread is alive.
    pub(crate) unsafe fn request_check_on(&self, l: LuaThread) {
        // SAFETY: as the caller's.
        unsafe { self.set_hook(l, Some(self.hook), ffi::LUA_MASKCOUNT, 1) };
    }

    /// Sets the hook to what it is while no call is to end: none, or the one that counts. Coroutines inherit it.
    ///
    /// # Safety
    /// The thread is alive.
    pub(crate) unsafe fn reset_hook(&self, l: LuaThread) {
        // SAFETY: as the caller's.
        unsafe {
            match self.idle_step {
                0 => self.set_hook(l, None, 0, 0),
                step => self.set_hook(l, Some(self.hook), ffi::LUA_MASKCOUNT, step),
            }
        }
    }

    /// Runs something that an interrupt must not come between. One that comes meanwhile is lost; the watchdog sends more.
    pub(crate) fn uninterrupted(&self, run: impl FnOnce()) {
        let running = self.running.get();
        self.running.set(ptr::null_mut());
        run();
        self.running.set(running);
    }

    #[cfg_attr(luajit, expect(unused_mut, reason = "the loop has one round there"))]
    fn hook_chain(&self, l: LuaThread) {
        let mut thread = l;
        loop {
            // SAFETY: the thread runs or waits in `resume`, so it is alive.
            unsafe { self.request_check_on(thread) };
            // On LuaJIT all coroutines share one hook.
            if cfg!(luajit) || thread == self.base.get() {
                return;
            }
            #[cfg(not(luajit))]
            {
                thread = parent(thread);
            }
            if thread.is_null() {
                return;
            }
        }
    }

    /// Sets the hook of a thread, and keeps interrupts from doing so in the middle of that: on LuaJIT they would leave
    /// its dispatch table in a state that later ones do not mend.
    ///
    /// # Safety
    /// The thread is alive.
    unsafe fn set_hook(&self, l: LuaThread, hook: Option<Hook>, mask: c_int, count: c_int) {
        self.uninterrupted(|| {
            // SAFETY: as the caller's.
            unsafe { ffi::lua_sethook(l, hook, mask, count) };
        });
    }
}

#[cfg(not(luajit))]
impl Threads {
    /// Begins to run a coroutine: notes who resumes it, and that it runs.
    ///
    /// # Safety
    /// The thread is alive until [`resumed`](Self::resumed) is called.
    pub(crate) unsafe fn resume(&self, thread: LuaThread, from: LuaThread) {
        // SAFETY: as the caller's.
        unsafe { set_parent(thread, from) };
        self.running.set(thread.cast());
    }

    /// Ends to run a coroutine: the one that has resumed it runs again.
    pub(crate) fn resumed(&self, from: LuaThread) {
        self.running.set(from.cast());
    }

    /// Notes that a hook runs on a thread, so that its hooks are on.
    pub(crate) fn hook_runs(&self, l: LuaThread) {
        if self.hookless.get() == l {
            self.hookless.set(ptr::null_mut());
        }
    }

    /// Notes that a hook is about to raise an error on a thread.
    pub(crate) fn hook_raises(&self, l: LuaThread) {
        self.hookless.set(l);
    }

    /// Tells whether a hook has raised an error on a thread that nobody has caught yet.
    pub(crate) fn is_hookless(&self, l: LuaThread) -> bool {
        self.hookless.get() == l
    }

    /// Notes that the error which a hook has raised was caught where the thread was resumed; tells whether it was one.
    pub(crate) fn take_hookless(&self, l: LuaThread) -> bool {
        let hookless = self.is_hookless(l);
        self.hook_runs(l);
        hookless
    }
}

#[cfg(luajit)]
impl Threads {
    /// Notes whether the compiler is on.
    pub(crate) fn set_compiled(&self, on: bool) {
        self.compiled.set(on);
    }

    /// Tells whether the compiler is on.
    pub(crate) fn is_compiled(&self) -> bool {
        self.compiled.get()
    }
}

/// Remembers who resumes a coroutine. Valid while the coroutine runs: it is set before each time.
///
/// # Safety
/// The thread is alive.
#[cfg(not(luajit))]
pub(crate) unsafe fn set_parent(l: LuaThread, parent: LuaThread) {
    // SAFETY: the extra space is a pointer's size before the thread, and nothing else uses it.
    unsafe { ffi::lua_getextraspace(l).cast::<LuaThread>().write(parent) };
}

#[cfg(not(luajit))]
fn parent(l: LuaThread) -> LuaThread {
    // SAFETY: written when the thread was resumed, or copied from the main one's null.
    unsafe { ffi::lua_getextraspace(l).cast::<LuaThread>().read() }
}
