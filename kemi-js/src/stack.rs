//! The stack that scripts run on: large, with a zone that tells when a script has used its part of it.
//!
//! An interpreter that works down nested things by recursion soon fills a thread's own stack of 2 MiB, which ends the
//! process. On this one the [`OverflowHandler`] ends the script, on what is left of the stack.

use std::cell::Cell;
use std::ptr;
use std::thread;

use kemi_core::limits::stack::GuardedStack;

/// How large the stack is where the system gives so much address space.
const SIZE: usize = if cfg!(target_pointer_width = "64") { 1 << 30 } else { 64 << 20 };

/// How much of the stack a script may use; the rest is for code that cannot be stopped at once.
const SCRIPTS: usize = 64 << 20;

thread_local! {
    static STACK: GuardedStack = const { stack() };
    /// The handler of what runs, or null. It needs neither initialisation nor a destructor.
    static HANDLER: Cell<*const OverflowHandler> = const { Cell::new(ptr::null()) };
}

const fn stack() -> GuardedStack {
    // SAFETY: `overflow` reads a thread-local that needs no initialisation; `OverflowHandler::new` demands the rest of what
    // it calls.
    unsafe { GuardedStack::with_overflow_zone(SIZE, SCRIPTS, overflow) }
}

fn overflow() {
    // SAFETY: `with_overflow_handler` borrows it until the former one is put back; `OverflowHandler::new` says what its
    // function may be called for.
    unsafe {
        if let Some(handler) = HANDLER.get().as_ref() {
            (handler.call)(handler.data);
        }
    }
}

/// A function that is called when a script has used up its stack, to end it on what is left.
pub(crate) struct OverflowHandler {
    call: unsafe fn(*mut ()),
    data: *mut (),
}

impl OverflowHandler {
    /// Makes a handler that calls a function with some data.
    ///
    /// # Safety
    /// While [`with_overflow_handler`] runs something with it, the function may be called in a signal handler, between any
    /// two instructions of that thread: it neither allocates nor locks nor unwinds, and its data can be used until then.
    pub(crate) const unsafe fn new(call: unsafe fn(*mut ()), data: *mut ()) -> OverflowHandler {
        OverflowHandler { call, data }
    }
}

/// Makes the thread's stack. Thread-locals that are first used later are dropped earlier.
pub(crate) fn prepare() {
    GuardedStack::prepare(&STACK);
}

/// Runs something on the thread's stack for scripts.
#[inline]
pub(crate) fn run<R>(run: impl FnOnce() -> R) -> R {
    GuardedStack::on_stack(&STACK, run)
}

/// Runs something on the thread's stack for scripts, and gives the payload of its panic.
#[inline]
pub(crate) fn catch<R>(run: impl FnOnce() -> R) -> thread::Result<R> {
    GuardedStack::catch_on_stack(&STACK, run)
}

/// Runs something on a stack of at least so many bytes, made for it unless the present one will do; `None` if the system
/// gives none.
pub(crate) fn on_large<R>(bytes: usize, run: impl FnOnce() -> R) -> Option<R> {
    GuardedStack::with_room(&STACK, bytes, run)
}

/// Returns how many bytes of the present stack can be used; `None` on a stack that is not one of these.
pub(crate) fn remaining() -> Option<usize> {
    GuardedStack::remaining(&STACK)
}

/// Returns whether the script that runs has used up the stack.
pub(crate) fn has_overflowed() -> bool {
    GuardedStack::has_overflowed(&STACK)
}

/// Lets the next overflow be told like the first, where the script that had one has ended and others on the stack go on.
#[inline]
pub(crate) fn rearm() {
    GuardedStack::rearm(&STACK);
}

/// Runs something during which the handler is called when the stack is used up.
#[inline]
pub(crate) fn with_overflow_handler<R>(handler: &OverflowHandler, run: impl FnOnce() -> R) -> R {
    struct ResetHandler(*const OverflowHandler);
    impl Drop for ResetHandler {
        fn drop(&mut self) {
            HANDLER.set(self.0);
        }
    }
    let _reset = ResetHandler(HANDLER.replace(handler));
    run()
}
