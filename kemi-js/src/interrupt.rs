//! The interrupt of a running script, and slices where no interrupt comes.
//!
//! Boa asks its limits before every loop turn and every call, also in functions that its built-ins call, in generators
//! and in promise jobs. With both limits at 0 the script ends at the next of these by an error that nothing catches. The
//! thread itself sets them: in the handler of the watchdog's signal, in the allocator when the memory is used up, and in
//! the handler of the stack's overflow. A recursion that takes neither a call nor a loop turn goes on: that along prototypes
//! fits into the rest of the stack, since a chain of them costs more memory than stack and cannot be made circular
//! (`library/proxy.rs`); built-ins that recurse like that are replaced (`library/flat.rs`, `library/json.rs`).
//!
//! Boa counts instructions only in code that it evaluates asynchronously, which yields after a number of them. Callbacks
//! run in such slices where instructions are limited, and on systems without signals.

use std::cell::RefCell;
use std::future::Future;
use std::path::Path;
use std::pin::{Pin, pin};
use std::ptr::{self, NonNull};
use std::rc::Rc;
use std::task::{self, Poll, Waker};

use boa_engine::object::{FunctionObjectBuilder, JsObject};
use boa_engine::property::PropertyDescriptor;
use boa_engine::vm::RuntimeLimits;
use boa_engine::{Context, JsResult, JsValue, NativeFunction, Script, js_string};
use kemi_core::engine::{Interpreter, Runtime};
use kemi_core::limits::interrupt::{Running, set_innermost};
use kemi_core::{ErrorCode, ScriptError};

use crate::source::SLICES_FILE;
use crate::stack::{self, OverflowHandler};
use crate::string;

/// The interrupt of one context.
pub(crate) struct Interrupt {
    /// Called by the watchdog's signal and by the allocator.
    running: Running,
    /// Called when the stack is used up.
    overflow: OverflowHandler,
    runtime: Rc<Runtime>,
    /// In the context, which stays where it is.
    limits: NonNull<RuntimeLimits>,
}

impl Interrupt {
    /// Makes the interrupt of a context.
    ///
    /// # Safety
    /// The context stays where it is as long as the interrupt is used.
    pub(crate) unsafe fn new(runtime: Rc<Runtime>, context: &mut Context) -> Pin<Box<Interrupt>> {
        let limits = NonNull::from(context.runtime_limits_mut());
        // SAFETY: `wake` only reads the clock's atomics and the fields of the interrupt, which are never changed, and calls
        // `stop`.
        let running = unsafe { Running::new(wake, ptr::null_mut()) };
        // SAFETY: `stop` only writes the limits of the context, which the caller keeps where it is.
        let overflow = unsafe { OverflowHandler::new(stop, limits.as_ptr().cast()) };
        let interrupt = Box::pin(Interrupt { running, overflow, runtime, limits });
        interrupt.running.set(ptr::from_ref(&*interrupt).cast_mut().cast());
        interrupt
    }

    /// Runs a script that interrupts can stop.
    pub(crate) fn interruptible<R>(self: Pin<&Self>, run: impl FnOnce() -> R) -> R {
        struct ResetInnermost(*const Running);
        impl Drop for ResetInnermost {
            fn drop(&mut self) {
                // SAFETY: it was innermost before, so who made it so has not put back yet what was before that.
                unsafe { set_innermost(self.0) };
            }
        }
        // SAFETY: the interrupt is pinned and borrowed until the former one is back.
        let _reset = ResetInnermost(unsafe { set_innermost(&raw const self.running) });
        stack::with_overflow_handler(&self.overflow, run)
    }

    /// Ends what runs in the context at its next loop turn or call.
    fn stop(&self) {
        // SAFETY: the limits are those of the context, which stays where it is as long as this is used.
        unsafe { stop(self.limits.as_ptr().cast()) };
    }
}

/// Ends what runs in a context at its next loop turn or call: sets the context's limits for both to 0.
///
/// # Safety
/// It points to the limits of a context of this thread.
unsafe fn stop(limits: *mut ()) {
    let limits = limits.cast::<RuntimeLimits>();
    // SAFETY: the limits are three counters and a length in the context, which does not move, and this is the thread
    // that runs it. The interpreter may be in the middle of anything and hold the context as `&mut`; that it is
    // written to meanwhile is outside of what Rust's aliasing rules describe, as for any memory that a debugger or a
    // device changes. What the argument rests on is how Boa 0.22 uses the limits: nothing but `set_runtime_limits`
    // writes them, which only this crate calls; `check_runtime_limits` and the instruction for a loop turn read each
    // once, into a register, and reach the next reading only through a call by pointer from the table of instructions,
    // over which no compiler can keep a value that the callee may change. So a reading gives the old or the new value,
    // and both are good ones: each is an aligned word. A write of this crate's own that the interrupt comes between
    // may undo it; the watchdog's next interrupt repeats it.
    //
    // Three callers come from the middle of anything: the handler of SIGURG, the allocator, and the handler of SIGSEGV
    // and SIGBUS for the zone below the script's stack. The argument is the same for the last
    // one: the fault is raised by the thread's own access, so this runs on the thread of the context, on the stack for
    // signal handlers. What is written here lies in the context on the heap, never in the zone, so the access that
    // faulted is not one to the limits. A handler may come between another one's reading and writing, or that of a call
    // from `Slices`: all write the same values, so the order does not matter. A write that undoes what the fault did comes
    // where a frame has ended that was above the zone; `stack::rearm` then lets the next access fault again.
    unsafe {
        let mut stopped = limits.read_volatile();
        stopped.set_loop_iteration_limit(0);
        stopped.set_recursion_limit(0);
        limits.write_volatile(stopped);
    }
}

/// # Safety
/// It is an interrupt that is alive.
unsafe fn wake(interrupt: *mut ()) {
    // SAFETY: as the caller's.
    let interrupt = unsafe { &*interrupt.cast_const().cast::<Interrupt>() };
    // A late signal may be for a call that is over.
    if interrupt.runtime.pending_limit().is_some() {
        interrupt.stop();
    }
}

/// Makes the watchdog interrupt the scripts of a runtime on this thread, if anything is limited.
///
/// # Errors
/// The system refuses the handler of the signal.
pub(crate) fn arm(runtime: &Runtime) -> Result<(), ScriptError> {
    let limits = runtime.registry().limits();
    if cfg!(unix) && (limits.max_time_ms != 0 || limits.max_load_time_ms != 0 || limits.max_memory != 0) {
        let interrupt = kemi_core::limits::interrupt::for_this_thread().map_err(|error| {
            let message = format!("cannot limit the script's time: no handler for the signal SIGURG: {error}");
            ScriptError::new(ErrorCode::Runtime, message)
        })?;
        runtime.on_interrupt(Some(interrupt));
    }
    Ok(())
}

/// Returns whether instructions are counted.
pub(crate) fn counts_instructions(runtime: &Runtime) -> bool {
    runtime.registry().limits().max_instructions != 0
}

/// Returns whether callbacks run in slices: to be counted, and where no signal can stop them.
pub(crate) fn needs_slices(runtime: &Runtime) -> bool {
    counts_instructions(runtime) || (cfg!(not(unix)) && runtime.registry().limits().max_time_ms != 0)
}

/// The global from which a calling script gets the callback and its arguments, one after the other.
const NEXT: &str = "__kemi_next";

/// How many instructions a slice has, in Boa's unit of cost: some tenths of a millisecond.
const SLICE: u32 = 10_000;

/// Callbacks in slices. Only a script can be evaluated in slices, hence a callback is called by a small script.
#[derive(Default)]
pub(crate) struct Slices {
    /// The scripts that call a callback, by number of arguments.
    calls: RefCell<Vec<Option<Script>>>,
    /// The callback and its arguments, the last one first.
    values: RefCell<Vec<JsValue>>,
}

impl Slices {
    /// Defines the global that the calling scripts need.
    ///
    /// # Safety
    /// The value stays where it is as long as code runs in the context.
    pub(crate) unsafe fn install(&self, context: &mut Context) -> JsResult<()> {
        let slices: *const Slices = self;
        let next = NativeFunction::from_copy_closure(move |_, _, _| {
            // SAFETY: the caller keeps the value.
            let slices = unsafe { &*slices };
            Ok(slices.values.borrow_mut().pop().unwrap_or_default())
        });
        let next = FunctionObjectBuilder::new(context.realm(), next).name(js_string!("next")).build();
        let fixed = PropertyDescriptor::builder().value(next).writable(false).enumerable(false).configurable(false);
        context.global_object().define_property_or_throw(string::to_js(NEXT.as_bytes()), fixed, context)?;
        Ok(())
    }

    /// Drops all objects.
    pub(crate) fn clear(&self) {
        self.calls.take();
        self.values.take();
    }

    /// Calls a callback; the budget is looked at after each slice.
    pub(crate) fn call(
        &self,
        interrupt: &Interrupt,
        interpreter: &dyn Interpreter,
        function: &JsObject,
        args: &[JsValue],
        context: &mut Context,
    ) -> JsResult<JsValue> {
        let script = self.script(args.len(), context)?;
        let values = args.iter().rev().cloned().chain([function.clone().into()]).collect();
        self.values.replace(values);
        let result = run_in_slices(interrupt, interpreter, &script, context);
        self.values.borrow_mut().clear();
        result
    }

    fn script(&self, args: usize, context: &mut Context) -> JsResult<Script> {
        if let Some(Some(script)) = self.calls.borrow().get(args) {
            return Ok(script.clone());
        }
        let code = format!("{NEXT}()({})", vec![format!("{NEXT}()"); args].join(", "));
        let source = boa_engine::Source::from_bytes(&code).with_path(Path::new(SLICES_FILE));
        let script = Script::parse(source, None, context)?;
        let mut calls = self.calls.borrow_mut();
        if calls.len() <= args {
            calls.resize(args + 1, None);
        }
        if let Some(slot) = calls.get_mut(args) {
            *slot = Some(script.clone());
        }
        Ok(script)
    }
}

fn run_in_slices(
    interrupt: &Interrupt,
    interpreter: &dyn Interpreter,
    script: &Script,
    context: &mut Context,
) -> JsResult<JsValue> {
    let runtime = &interrupt.runtime;
    let counts = counts_instructions(runtime);
    let mut slices = pin!(script.evaluate_async_with_budget(context, SLICE));
    let mut task = task::Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(result) = slices.as_mut().poll(&mut task) {
            return result;
        }
        let used_up = counts && runtime.use_instructions(SLICE.into(), interpreter);
        if used_up || runtime.poll(interpreter) {
            interrupt.stop();
        }
    }
}
