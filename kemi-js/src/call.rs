//! The state of a call: who has the context, its limits, and the frames that Rust runs the script's code in.

use std::cell::{Cell, RefCell};
use std::path::Path;
use std::ptr::NonNull;

use boa_engine::object::JsObject;
use boa_engine::vm::RuntimeLimits;
use boa_engine::{Context, JsError, JsResult, JsValue, NativeFunction, Script};
use kemi_core::Limits;

use crate::source::ENGINE_FILE;

/// How deep functions may call each other at most; a call through a built-in such as `forEach` counts twice.
///
/// Such a call takes native stack as well, and running out of that ends the process. Measured without optimisation,
/// this many levels of the worst built-in fit into 1.5 MiB: a thread with Rust's default of 2 MiB is safe.
const RECURSION: usize = 512;

/// How many levels there are beyond those of the script: nested callbacks take some each.
const SPARE: usize = 112;

/// How many values the interpreter's stack may hold.
const STACK: usize = 64 * 1024;

/// How many loop turns and nested calls a look-up may take outside of any call.
const LOOKUP: u64 = 32;

/// How deep Boa takes a frame of [`CallFrame::in_own_frame`] to be: itself, and the call from Rust that makes it.
const OWN_FRAME: usize = 2;

/// The state of the calls of one interpreter, which each call saves and puts back.
pub(crate) struct CallFrame {
    /// The context; empty while somebody has it.
    context: Cell<Option<NonNull<Context>>>,
    /// Set while a top-level call runs.
    is_running: Cell<bool>,
    limits: ContextLimits,
    /// The job of the next frame of `in_own_frame`.
    job: Cell<Option<Job>>,
    /// The function that makes such a frame, and the argument that makes it run the job.
    own_frame: RefCell<Option<(JsObject, JsValue)>>,
}

/// A pointer to the closure that `in_own_frame` runs, which lives until that returns.
type Job = NonNull<dyn FnMut(&mut Context)>;

impl CallFrame {
    /// Makes the state of a context in which no code runs, and sets its limits.
    ///
    /// # Safety
    /// The context lives, and is used by nothing else but what runs in [`with_context`](Self::with_context), until
    /// [`close`](Self::close).
    pub(crate) unsafe fn new(limits: &Limits, mut context: NonNull<Context>) -> CallFrame {
        // SAFETY: nothing else uses the context yet.
        let limits = ContextLimits::new(limits, unsafe { context.as_mut() });
        CallFrame {
            context: Cell::new(Some(context)),
            is_running: Cell::new(false),
            limits,
            job: Cell::default(),
            own_frame: RefCell::default(),
        }
    }

    /// Makes the function whose frames [`in_own_frame`](Self::in_own_frame) uses.
    ///
    /// # Safety
    /// The value stays where it is as long as code runs in the context.
    pub(crate) unsafe fn install(&self, context: &mut Context) -> JsResult<()> {
        let frame: *const CallFrame = self;
        let enter = NativeFunction::from_copy_closure(move |_, _, context| {
            // SAFETY: the caller keeps the value.
            if let Some(mut job) = unsafe { &*frame }.job.take() {
                // SAFETY: `in_own_frame` keeps the job while this runs, and taking it out made this its only use.
                let job = unsafe { job.as_mut() };
                job(context);
            }
            Ok(JsValue::undefined())
        });
        let enter = enter.to_js_function(context.realm());
        // `in_own_frame` relies on it: this function returns normally, whatever it runs.
        let source = boa_engine::Source::from_bytes("enter => { enter(); }").with_path(Path::new(ENGINE_FILE));
        let around = Script::parse(source, None, context)?.evaluate(context)?.as_object();
        self.own_frame.replace(around.map(|around| (around, enter.into())));
        Ok(())
    }

    /// Returns whether a top-level call runs.
    pub(crate) fn is_running(&self) -> bool {
        self.is_running.get()
    }

    /// Begins a top-level call, which ends when the result is dropped.
    pub(crate) fn begin(&self) -> ResetOnDrop<'_, bool> {
        ResetOnDrop { slot: &self.is_running, value: self.is_running.replace(true) }
    }

    /// Returns the limits of the context.
    pub(crate) fn limits(&self) -> &ContextLimits {
        &self.limits
    }

    /// Makes the context reachable for the interpreter's methods while a native function runs.
    pub(crate) fn lend_context<R>(&self, context: &mut Context, run: impl FnOnce() -> R) -> R {
        let _reset = ResetOnDrop { slot: &self.context, value: self.context.replace(Some(NonNull::from(context))) };
        run()
    }

    /// Takes the context; `None` while somebody else has it.
    pub(crate) fn with_context<R>(&self, run: impl FnOnce(&mut Context) -> R) -> Option<R> {
        let pointer = self.context.take()?;
        let _reset = ResetOnDrop { slot: &self.context, value: Some(pointer) };
        // SAFETY: the slot holds the owned context while no code runs in it, or what `lend_context` was given for as long
        // as that borrow lasts and is not used otherwise; taking it out of the slot makes this the only use.
        Some(run(unsafe { &mut *pointer.as_ptr() }))
    }

    /// Runs something in a frame of its own, whose end puts the interpreter's stack back as it was.
    ///
    /// When an exit, a limit or an error ends a function that Rust has called, Boa may leave values of it on the stack.
    /// That is harmless while the error goes on to the script, but whoever takes it for something else and lets the
    /// script go on must have run the function in here: the script may be in the middle of a call, whose callee and
    /// arguments Boa then looks for in the wrong place.
    ///
    /// # Errors
    /// The error that ended the frame itself, or nothing if none can be made.
    #[inline]
    pub(crate) fn in_own_frame<R>(
        &self,
        context: &mut Context,
        run: impl FnOnce(&mut Context) -> R,
    ) -> Result<R, Option<JsError>> {
        // Borrowed for as long as code runs in the context, which `close` ends.
        let own_frame = self.own_frame.borrow();
        let Some((around, enter)) = &*own_frame else {
            return Err(None);
        };
        let limits = &self.limits;
        let outside = limits.get();
        // A panic of the engine shall not leave more.
        let _reset = ResetOnDrop { slot: &limits.0, value: outside };
        let (mut run, mut done) = (Some(run), None);
        let mut job = |context: &mut Context| {
            // The frame itself does not count: what it runs may be as deep as it could be without.
            let mut inside = outside;
            inside.set_recursion_limit(outside.recursion_limit().saturating_add(OWN_FRAME));
            limits.set(inside, context);
            done = run.take().map(|run| run(context));
        };
        let job: NonNull<dyn FnMut(&mut Context) + '_> = NonNull::from(&mut job);
        // SAFETY: only the life time differs; the slot is emptied below, before what the job borrows goes.
        let job = unsafe { std::mem::transmute::<NonNull<dyn FnMut(&mut Context) + '_>, Job>(job) };
        let result = {
            let _reset = ResetOnDrop { slot: &self.job, value: None };
            self.job.set(Some(job));
            // A limit that stops the frame itself would leave it on the stack.
            limits.raise(context);
            around.call(&JsValue::undefined(), std::slice::from_ref(enter), context)
        };
        limits.set(outside, context);
        match (done, result) {
            (Some(done), _) => Ok(done),
            (None, Err(error)) => Err(Some(error)),
            (None, Ok(_)) => Err(None),
        }
    }

    /// Drops all objects. The context cannot be reached any more.
    pub(crate) fn close(&self) {
        self.context.set(None);
        self.own_frame.take();
    }
}

/// The limits that a context has while nothing has interrupted it.
pub(crate) struct ContextLimits(Cell<RuntimeLimits>);

impl ContextLimits {
    /// Makes a context's limits from those of the host.
    pub(crate) fn new(limits: &Limits, context: &mut Context) -> ContextLimits {
        let depth = usize::try_from(limits.max_depth).unwrap_or(usize::MAX);
        let mut own = RuntimeLimits::default();
        // Each level may be a call through a built-in.
        let recursion =
            if depth == 0 { RECURSION } else { depth.saturating_mul(2).saturating_add(SPARE).min(RECURSION) };
        own.set_recursion_limit(recursion);
        own.set_stack_size_limit(STACK);
        // It ends a loop in a function that a built-in calls, which is not counted.
        own.set_loop_iteration_limit(if limits.max_instructions == 0 { u64::MAX } else { limits.max_instructions });
        context.set_runtime_limits(own);
        ContextLimits(Cell::new(own))
    }

    /// Returns the limits, whatever an interrupt has made of the context's.
    pub(crate) fn get(&self) -> RuntimeLimits {
        self.0.get()
    }

    /// Sets the limits, and those of the context.
    pub(crate) fn set(&self, limits: RuntimeLimits, context: &mut Context) {
        self.0.set(limits);
        context.set_runtime_limits(limits);
    }

    /// Sets the limits of a look-up, on which no clock runs, and which may run the script's getters.
    pub(crate) fn restrict_to_lookup(&self, context: &mut Context) {
        let mut few = self.get();
        few.set_loop_iteration_limit(LOOKUP);
        few.set_recursion_limit(few.recursion_limit().min(LOOKUP as usize));
        self.set(few, context);
    }

    /// Raises the limits by what the engine needs for a step of its own.
    pub(crate) fn raise(&self, context: &mut Context) {
        const FRAMES: usize = 4;
        const VALUES: usize = 64;
        let mut limits = self.get();
        limits.set_recursion_limit(limits.recursion_limit().saturating_add(FRAMES));
        limits.set_stack_size_limit(limits.stack_size_limit().saturating_add(VALUES));
        self.set(limits, context);
    }
}

/// Puts a value back when it is dropped.
pub(crate) struct ResetOnDrop<'a, T: Copy> {
    slot: &'a Cell<T>,
    value: T,
}

impl<T: Copy> Drop for ResetOnDrop<'_, T> {
    fn drop(&mut self) {
        self.slot.set(self.value);
    }
}
