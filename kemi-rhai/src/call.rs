//! What a call runs on: one large stack for each thread, since Rhai works down nested values by recursion.
//!
//! To free, copy or measure an array of arrays of arrays, Rhai goes down level by level, and so it does for a closure that
//! has captured a closure that has captured another one. A thread's own stack of 2 MiB ends the process at some ten thousand
//! levels.

use kemi_core::stack::GuardedStack;

thread_local! {
    static STACK: GuardedStack = const {
        GuardedStack::new(if cfg!(target_pointer_width = "64") { 4 << 30 } else { 64 << 20 })
    };
}

/// Runs something on the thread's stack for scripts, if the system has given one.
#[inline]
pub(crate) fn on_stack<R>(run: impl FnOnce() -> R) -> R {
    GuardedStack::on_stack(&STACK, run)
}
