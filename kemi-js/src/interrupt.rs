//! What stops a running script: an interrupt takes its right to loop and to call away.
//!
//! Boa asks its limits before every loop turn and every call, also in functions that its built-ins call, in generators
//! and in promise jobs. With both limits at 0 the script ends at the next of these by an error that nothing catches. The
//! thread itself sets them: in the handler of the watchdog's signal, or in the allocator when the memory is used up.

use std::pin::Pin;
use std::ptr::{self, NonNull};
use std::rc::Rc;

use boa_engine::Context;
use boa_engine::vm::RuntimeLimits;
use kemi_core::Runtime;
use kemi_core::interrupt::{Running, set_innermost};

use crate::stack;

/// The brake of one context.
pub(crate) struct Brake {
    running: Running,
    runtime: Rc<Runtime>,
    /// In the context, which stays where it is.
    limits: NonNull<RuntimeLimits>,
}

impl Brake {
    /// Makes the brake of a context.
    ///
    /// # Safety
    /// The context stays where it is as long as the brake is used.
    pub(crate) unsafe fn new(runtime: Rc<Runtime>, context: &mut Context) -> Pin<Box<Brake>> {
        // SAFETY: `wake` only reads the clock's atomics and the fields of the brake, which are never changed, and pulls.
        let running = unsafe { Running::new(wake, ptr::null_mut()) };
        let brake = Box::pin(Brake { running, runtime, limits: NonNull::from(context.runtime_limits_mut()) });
        brake.running.set(ptr::from_ref(&*brake).cast_mut().cast());
        brake
    }

    /// Lets interrupts stop the script that `run` runs.
    pub(crate) fn during<R>(self: Pin<&Self>, run: impl FnOnce() -> R) -> R {
        struct Back(*const Running);
        impl Drop for Back {
            fn drop(&mut self) {
                // SAFETY: it was innermost before, so who made it so has not put back yet what was before that.
                unsafe { set_innermost(self.0) };
            }
        }
        // SAFETY: the brake is pinned and borrowed until the former one is back.
        let _back = Back(unsafe { set_innermost(&raw const self.running) });
        stack::with_brake(&self, run)
    }

    /// Ends what runs in the context at its next loop turn or call.
    pub(crate) fn pull(&self) {
        // SAFETY: the limits are three counters and a length in the context, which does not move, and this is the thread
        // that runs it. The interpreter may be in the middle of anything and hold the context as `&mut`; that it is
        // written to meanwhile is outside of what Rust's aliasing rules describe, as for any memory that a debugger or a
        // device changes. What the argument rests on is how Boa 0.22 uses the limits: nothing but `set_runtime_limits`
        // writes them, which only this crate calls; `check_runtime_limits` and the instruction for a loop turn read each
        // once, into a register, and reach the next reading only through a call by pointer from the table of instructions,
        // over which no compiler can keep a value that the callee may change. So a reading gives the old or the new value,
        // and both are good ones: each is an aligned word. A write of this crate's own that the interrupt comes between
        // may undo it; the next interrupt repeats it.
        unsafe {
            let mut limits = self.limits.as_ptr().read_volatile();
            limits.set_loop_iteration_limit(0);
            limits.set_recursion_limit(0);
            self.limits.as_ptr().write_volatile(limits);
        }
    }
}

/// # Safety
/// It is a brake that is alive.
unsafe fn wake(brake: *mut ()) {
    // SAFETY: as the caller's.
    let brake = unsafe { &*brake.cast_const().cast::<Brake>() };
    // A late signal may be for a call that is over.
    if brake.runtime.over().is_some() {
        brake.pull();
    }
}
