//! The instance whose call is innermost on a thread, as the call's way down and its end see it.

use std::cell::Cell;
use std::ops::Deref;
use std::ptr;
use std::rc::Rc;
use std::sync::Arc;

use kemi_core::Location;
use kemi_core::engine::{Interpreter, Runtime};
use kemi_core::limits::Limit;

use crate::functions::KeptFunctions;
use crate::interrupt::Interrupt;
use crate::memory::{self, HeldMemory};
use crate::objects::Objects;

/// The part of an instance's state that a call and its end need.
pub(crate) struct CallView {
    /// Dropped before the runtime, which then ends what they let go.
    objects: Objects,
    runtime: Rc<Runtime>,
    interrupt: Arc<Interrupt>,
    held_memory: HeldMemory,
    functions: KeptFunctions,
    /// The state that this is a part of.
    interpreter: *const dyn Interpreter,
}

impl CallView {
    /// Creates the view of an instance of the calling thread.
    ///
    /// # Safety
    /// `interpreter` leads to the content of an `Rc`, of which the result becomes a field and stays one.
    pub(crate) unsafe fn new(
        runtime: Rc<Runtime>,
        interrupt: Arc<Interrupt>,
        objects: Objects,
        interpreter: *const dyn Interpreter,
    ) -> CallView {
        let (held_memory, functions) = (HeldMemory::default(), KeptFunctions::default());
        CallView { objects, runtime, interrupt, held_memory, functions, interpreter }
    }

    #[inline]
    pub(crate) fn runtime(&self) -> &Rc<Runtime> {
        &self.runtime
    }

    #[inline]
    pub(crate) fn interrupt(&self) -> &Arc<Interrupt> {
        &self.interrupt
    }

    #[inline]
    pub(crate) fn held_memory(&self) -> &HeldMemory {
        &self.held_memory
    }

    /// Returns the functions of the script that the host keeps.
    #[inline]
    pub(crate) fn functions(&self) -> &KeptFunctions {
        &self.functions
    }

    /// Returns the objects of the host that the script holds.
    #[inline]
    pub(crate) fn objects(&self) -> &Objects {
        &self.objects
    }

    /// Returns the instance as the runtime calls it.
    #[inline]
    pub(crate) fn interpreter(&self) -> &dyn Interpreter {
        // SAFETY: whoever borrows the view borrows what it is a field of, see `new`.
        unsafe { &*self.interpreter }
    }

    /// Keeps the instance's state from going.
    pub(crate) fn hold(&self) -> HeldView {
        // SAFETY: the pointer leads to the content of an `Rc`, see `new`, which is alive while its field is borrowed.
        let instance = unsafe {
            Rc::increment_strong_count(self.interpreter);
            Rc::from_raw(self.interpreter)
        };
        HeldView { view: self, _instance: instance }
    }

    /// Returns whether the running call is to end, and notes that it is over its time if it is.
    pub(crate) fn must_end(&self) -> bool {
        self.runtime.poll(self.interpreter())
    }

    /// Counts an instruction; returns whether the running call is to end.
    pub(crate) fn count_instruction(&self) -> bool {
        self.runtime.use_instructions(1, self.interpreter())
    }

    /// Notes that an exception which was set on the thread arrives; returns whether the running call is to end.
    pub(crate) fn exception_arrives(&self) -> bool {
        if self.interrupt.exception_was_set() {
            let place = self.interrupt.take_place();
            if self.interrupt.memory_was_refused() {
                self.end_for_memory(|| place);
            } else if self.runtime.limit_hit().is_none() {
                self.runtime.hit_limit(self.runtime.pending_limit().unwrap_or(Limit::Time), place);
            }
        }
        self.runtime.pending_exit().is_some()
    }

    /// Ends the running call, to which memory was refused.
    #[cold]
    pub(crate) fn end_for_memory(&self, place: impl FnOnce() -> Option<Location>) {
        memory::lift_limit();
        if self.runtime.limit_hit().is_none() {
            self.runtime.hit_limit(Limit::Memory, place());
        }
    }
}

/// A view with the reference that keeps its instance.
pub(crate) struct HeldView {
    view: *const CallView,
    _instance: Rc<dyn Interpreter>,
}

impl Deref for HeldView {
    type Target = CallView;

    fn deref(&self) -> &CallView {
        // SAFETY: the view is a field of the instance that this keeps.
        unsafe { &*self.view }
    }
}

thread_local! {
    /// Null outside of calls.
    static INNERMOST: Cell<*const CallView> = const { Cell::new(ptr::null()) };
    /// The number of calls on this thread, the engine's own work included.
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// Returns the instance whose call is innermost on this thread.
///
/// # Safety
/// The result is not used after that call.
#[inline]
pub(crate) unsafe fn innermost<'a>() -> Option<&'a CallView> {
    // SAFETY: whoever has set it borrows the view until the former one is set again, see `replace`.
    unsafe { INNERMOST.get().as_ref() }
}

/// Runs a closure with the instance whose call is innermost on this thread; `None` outside of calls.
pub(crate) fn with_innermost<R>(run: impl FnOnce(&CallView) -> R) -> Option<R> {
    // SAFETY: the call does not end while the closure runs.
    unsafe { innermost() }.map(run)
}

/// Sets which call is innermost on this thread; null for none. Returns the former one.
///
/// # Safety
/// The view stays until the former one, or null, is set again.
#[inline]
pub(crate) unsafe fn replace(view: *const CallView) -> *const CallView {
    INNERMOST.replace(view)
}

/// Returns which call is innermost on this thread, to be compared.
#[inline]
pub(crate) fn pointer() -> *const CallView {
    INNERMOST.get()
}

#[inline]
pub(crate) fn depth() -> u32 {
    DEPTH.get()
}

#[inline]
pub(crate) fn set_depth(depth: u32) {
    DEPTH.set(depth);
}
