//! The stack that scripts run on, and how much of it they may use.
//!
//! Rhai works down nested values by recursion: to free, copy or measure an array of arrays of arrays, it goes down level by
//! level, and so it does for a closure that has captured a closure that has captured another one. A thread's own stack of
//! 2 MiB ends the process at some ten thousand levels, so scripts run on a large one.

use std::cell::Cell;

use kemi_core::Limits;
use kemi_core::limits::stack::GuardedStack;
use rhai::Engine;

/// The size of the stack.
const SIZE: usize = if cfg!(target_pointer_width = "64") { 4 << 30 } else { 64 << 20 };

/// How many bytes of stack the functions of a script may use, with all callbacks nested in it.
///
/// Leaves room for parsing and for native functions even on a thread of 2 MB, the default of Rust.
const MAX_USED: usize = 3 << 19;

thread_local! {
    static STACK: GuardedStack = const { GuardedStack::new(SIZE) };
}

/// Runs a closure on the thread's stack for scripts, if the system has given one.
#[inline]
pub(crate) fn on_stack<R>(run: impl FnOnce() -> R) -> R {
    GuardedStack::on_stack(&STACK, run)
}

/// Limits how deep functions of the script call each other.
pub(crate) fn limit_calls(engine: &mut Engine, limits: &Limits) {
    // A call takes 4.5 kB of stack without optimisation; whatever is allowed here, `StackUse` has the last word. The host's
    // call of the callback is a level of its own.
    let levels = match limits.max_depth {
        0 => usize::MAX,
        most => usize::try_from(u64::from(most) + 1).unwrap_or(usize::MAX),
    };
    engine.set_max_call_levels(levels);
}

/// Measures how much stack the script uses.
///
/// Counting calls is not enough: a call deep inside an expression takes many times the stack of a plain one, and
/// nested callbacks start counting again.
#[derive(Debug, Default)]
pub(crate) struct StackUse {
    base: Cell<usize>,
    overflown: Cell<bool>,
}

impl StackUse {
    /// Marks where the script begins, unless it is running already; returns what was marked before.
    pub(crate) fn begin(&self) -> usize {
        let before = self.base.get();
        if before == 0 {
            self.base.set(here());
            self.overflown.set(false);
        }
        before
    }

    /// Puts back what [`begin`](Self::begin) has returned.
    pub(crate) fn end(&self, before: usize) {
        self.base.set(before);
    }

    /// Returns whether too much stack is used, and remembers it.
    #[inline]
    pub(crate) fn is_exceeded(&self) -> bool {
        let exceeded = self.base.get().saturating_sub(here()) > MAX_USED;
        if exceeded {
            self.overflown.set(true);
        }
        exceeded
    }

    /// Returns whether the stack was the reason for the end of a call, and forgets it.
    pub(crate) fn take_overflown(&self) -> bool {
        self.overflown.replace(false)
    }
}

/// Returns an address on the stack; stacks grow towards lower ones on every platform Rust runs natively on.
#[inline]
fn here() -> usize {
    let local = 0u8;
    (&raw const local).addr()
}
