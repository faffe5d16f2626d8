//! What stands between an interpreter and the native functions: the context slot, the gates, the ways a call ends.

use std::any::TypeId;
use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::callback::{CallbackId, RouteId};
use crate::engine::Interpreter;
use crate::error::{Control, ErrorCode, Fault, Place, ScriptError};
use crate::error_log::ErrorLog;
use crate::export::{Call, Ret};
use crate::limits::{Interrupt, Limit, Standing, Watch, coarse_ms, watch};
use crate::memory;
use crate::metrics::{Ending, Recorder};
use crate::policy::{Coercions, Policy};
use crate::registry::{Export, IDLE_GATE, RegistryData};
use crate::value::{Arg, Value};

/// How deep callbacks may nest: script, native function, script, and so on.
pub const MAX_NESTED_CALLBACKS: u32 = 16;

/// How many callbacks chosen by name are kept at hand.
const MAX_CHOSEN: usize = 64;

/// Which part of its memory a call may use even if former ones have left so much behind that there is none.
const LEAST_ROOM: u64 = 64;

/// How many bytes that a call leaves behind are taken for what native functions keep.
const NATIVE_SHARE: i64 = 256 << 10;

/// How a callback ended, if not with an error.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// It returned.
    Value(Value),
    /// It asked to end here.
    Exit,
    /// It asked to end here and to drop what it was called for.
    Drop,
}

/// The state that one interpreter shares with the native functions it calls.
///
/// An engine keeps it in an `Rc`, passes every native call through [`typed`](Self::typed) or
/// [`invoke`](Self::invoke), and turns the [`Fault`] it gets back into what its language calls an error.
pub struct Runtime {
    registry: Arc<RegistryData>,
    engine: &'static str,
    coercions: Coercions,
    context: Cell<*mut ()>,
    gate: Cell<u64>,
    ending: Cell<Option<Control>>,
    callback: Cell<Option<CallbackId>>,
    depth: Cell<u32>,
    typed_calls: Cell<u64>,
    generic_calls: Cell<u64>,
    raised: RefCell<Option<ScriptError>>,
    unknown: RefCell<Option<(String, Option<String>)>>,
    warned: RefCell<HashSet<u32>>,
    gates: RefCell<Vec<u64>>,
    /// The callbacks that the script has chosen by name, so that each is looked up once.
    chosen: RefCell<Vec<(RouteId, Box<str>, CallbackId)>>,
    watch: Arc<Watch>,
    spent: Cell<u64>,
    exhausted: Cell<Option<Limit>>,
    exhausted_at: RefCell<Option<Place>>,
    counts_memory: Cell<bool>,
    /// What the thread's memory was limited to before the call that runs.
    memory_before: Cell<Option<memory::Former>>,
    /// How many bytes former calls have left behind, where that was much.
    kept: Cell<i64>,
    recorder: Option<Recorder>,
    /// From how many milliseconds on a native call is slow.
    slow_native_ms: u64,
    /// From which duration on a callback is slow.
    slow_callback: Duration,
    /// Whether somebody wants to see spans of native calls.
    spans: Cell<bool>,
    /// What was replaced by callbacks that ended well.
    replaced: ErrorLog,
}

impl Runtime {
    pub(crate) fn new(registry: Arc<RegistryData>, engine: &'static str, coercions: Coercions) -> Runtime {
        let clock = Watch::new(engine, registry.clone());
        watch(&clock);
        let insight = registry.insight();
        let or_never = |milliseconds| if milliseconds == 0 { u64::MAX } else { milliseconds };
        Runtime {
            recorder: insight.metrics.then(|| registry.hub().recorder(insight.sample)),
            slow_native_ms: or_never(insight.slow_native_ms),
            slow_callback: Duration::from_millis(or_never(insight.slow_callback_ms)),
            spans: Cell::new(false),
            watch: clock,
            spent: Cell::new(0),
            exhausted: Cell::new(None),
            exhausted_at: RefCell::new(None),
            counts_memory: Cell::new(false),
            memory_before: Cell::new(None),
            kept: Cell::new(0),
            replaced: ErrorLog::new(),
            registry,
            engine,
            coercions,
            context: Cell::new(ptr::null_mut()),
            gate: Cell::new(IDLE_GATE),
            ending: Cell::new(None),
            callback: Cell::new(None),
            depth: Cell::new(0),
            typed_calls: Cell::new(0),
            generic_calls: Cell::new(0),
            raised: RefCell::new(None),
            unknown: RefCell::new(None),
            warned: RefCell::new(HashSet::new()),
            gates: RefCell::new(Vec::new()),
            chosen: RefCell::default(),
        }
    }

    /// Returns the registry the scripts see.
    #[must_use]
    pub fn registry(&self) -> &Arc<RegistryData> {
        &self.registry
    }

    /// Returns the engine's name.
    #[must_use]
    pub fn engine(&self) -> &'static str {
        self.engine
    }

    /// Returns how many calls took the typed and the generic path.
    #[must_use]
    pub fn calls(&self) -> (u64, u64) {
        (self.typed_calls.get(), self.generic_calls.get())
    }

    /// Returns whether the running callback is to end: by an exit, a drop, or not at all.
    ///
    /// While it is set every native call ends with the same fault again, so a script that catches what an engine
    /// raised gets no further.
    #[must_use]
    #[inline]
    pub fn ending(&self) -> Option<Control> {
        self.ending.get()
    }

    /// Makes the running callback end; for engines whose language has an exit of its own.
    pub fn end(&self, control: Control) {
        // A drop asked for first stands: the exit that follows it is how the script stops.
        if self.ending.get() != Some(Control::Drop) {
            self.ending.set(Some(control));
        }
        self.gate.set(0);
    }

    /// Sets what wakes the interpreter up when a call's time is over.
    ///
    /// It is called on the watchdog's thread and must make the interpreter call [`poll`](Self::poll) soon on its own
    /// thread. It may come late, when the call is over already, and again and again while the call goes on. It is never
    /// called once the runtime is gone, or after `None` was set.
    pub fn on_interrupt(&self, interrupt: Option<Interrupt>) {
        self.watch.set_interrupt(interrupt);
    }

    /// Ends the running top-level call if its time is over; returns whether the running callback is to end.
    ///
    /// Cheap enough for every loop turn. Interpreters call it wherever they can look around.
    #[inline]
    pub fn poll(&self, interpreter: &dyn Interpreter) -> bool {
        if self.watch.expired() && self.exhausted.get().is_none() {
            self.exhaust(self.watch.reason(), interpreter.place());
        }
        self.ending.get().is_some()
    }

    /// Returns the limit that has ended the running top-level call, or is about to: what the watchdog or the allocator
    /// have found counts before [`poll`](Self::poll) has seen it.
    ///
    /// An [interrupt](crate::interrupt) may ask for it, from the middle of anything on the call's own thread.
    #[must_use]
    #[inline]
    pub fn over(&self) -> Option<Limit> {
        if self.watch.expired() {
            self.exhausted.get().or_else(|| Some(self.watch.reason()))
        } else {
            self.exhausted.get()
        }
    }

    /// Makes [`Limits::max_memory`](crate::Limits::max_memory) hold for what is allocated on this thread by Rust's own
    /// allocator, for engines that live on it: the script's top level from now on, then each top-level call, may make the
    /// thread hold so many bytes more, less what former ones have left behind. Native functions count as well.
    ///
    /// Once that is exceeded, [`poll`](Self::poll) and all native calls end the call, and the interpreter is
    /// [woken](crate::interrupt::Running). Returns `false` if nothing is counted, since the program does not use
    /// [`CountingAllocator`](crate::CountingAllocator).
    pub fn count_memory(&self) -> bool {
        if self.registry.limits().max_memory == 0 {
            return true;
        }
        if !memory::is_counted() {
            return false;
        }
        self.counts_memory.set(true);
        if self.registry.limits().max_load_time_ms == 0 {
            self.watch.begin(0, Instant::now());
        }
        self.limit_memory();
        true
    }

    /// Returns how many bytes the running top-level call may still allocate in one step, if they are limited: for an
    /// engine to ask before a step whose size it knows. While nothing counts, it is the whole limit.
    #[must_use]
    pub fn memory_room(&self) -> Option<u64> {
        match self.registry.limits().max_memory {
            0 => None,
            most if self.memory_before.get().is_none() => Some(most),
            _ => Some(memory::room()),
        }
    }

    /// Runs something that takes memory for a moment to free some, such as a collection of garbage: it ends no call.
    pub fn while_freeing<R>(&self, run: impl FnOnce() -> R) -> R {
        memory::without_limit(run)
    }

    fn limit_memory(&self) {
        let most = self.registry.limits().max_memory;
        let left = most.saturating_sub(self.kept.get().unsigned_abs());
        // SAFETY: the watch lives until `forget_memory`, which comes at the latest when this value is dropped. Calls and
        // loads on a thread are nested in each other.
        let former = unsafe { memory::limit(Arc::as_ptr(&self.watch), left.max(most / LEAST_ROOM)) };
        self.memory_before.set(Some(former));
    }

    fn forget_memory(&self) {
        let Some(former) = self.memory_before.take() else { return };
        let grown = memory::restore(former);
        // What native functions keep for a while, such as transactions, is freed when nobody counts.
        let counted = if grown > NATIVE_SHARE { grown - NATIVE_SHARE } else { grown.min(0) };
        self.kept.set(self.kept.get().saturating_add(counted).max(0));
    }

    /// Takes instructions off the budget; returns whether the running callback is to end.
    #[inline]
    pub fn spend(&self, instructions: u64, interpreter: &dyn Interpreter) -> bool {
        let spent = self.spent.get().saturating_add(instructions);
        self.spent.set(spent);
        let limit = self.registry.limits().max_instructions;
        if limit != 0 && spent > limit && self.exhausted.get().is_none() {
            self.exhaust(Limit::Instructions, interpreter.place());
        }
        self.ending.get().is_some()
    }

    /// Notes that the running top-level call has exceeded a limit: it ends like by an exit that nothing can catch, and
    /// so do the callbacks it is nested in.
    ///
    /// Only the first limit counts; a later call adds the place if the first one did not know it.
    #[cold]
    pub fn exhaust(&self, limit: Limit, place: Option<Place>) {
        if self.exhausted.get().is_none() {
            self.exhausted.set(Some(limit));
        }
        let mut exhausted_at = self.exhausted_at.borrow_mut();
        if exhausted_at.is_none() {
            *exhausted_at = place;
        }
        drop(exhausted_at);
        self.end(Control::Exit);
    }

    /// Returns which limit the running top-level call has exceeded.
    #[must_use]
    pub fn exhausted(&self) -> Option<Limit> {
        self.exhausted.get()
    }

    /// Builds the error for the exceeded limit, if there is one.
    fn limit_error(&self) -> Option<ScriptError> {
        let limit = self.exhausted.get()?;
        let loading = self.callback.get().is_none();
        let message = format!("the script {}", limit.message(self.registry.limits(), loading));
        let mut error = ScriptError::new(limit.code(), message);
        error.place = self.exhausted_at.borrow().clone();
        Some(error)
    }

    /// Calls an export by its typed entry.
    ///
    /// `call` gets the context, to be passed to the typed entry and to nothing else. It must not enter the
    /// interpreter in a way that can raise: an error of the interpreter must not cross this frame. `place` tells where in
    /// the script the call stands, should that be wanted.
    ///
    /// # Errors
    /// What the export, its argument conversion or a panic in it came to; pass it to [`settle`](Self::settle).
    #[inline]
    pub fn typed<R>(
        &self,
        export: &Export,
        place: impl FnOnce() -> Option<Place>,
        call: impl FnOnce(*mut ()) -> Result<R, Box<Fault>>,
    ) -> Result<R, Box<Fault>> {
        self.typed_calls.set(self.typed_calls.get().wrapping_add(1));
        self.guarded(export, place, call)
    }

    /// Calls an export by its generic entry: counts and coerces the arguments by policy, calls, settles.
    ///
    /// # Errors
    /// [`Fault::Exit`] or [`Fault::Drop`] when the callback is to end, else the error to raise in the script.
    pub fn invoke(&self, export: &Export, args: &[Arg<'_>], interpreter: &dyn Interpreter) -> Result<Ret, Box<Fault>> {
        self.generic_calls.set(self.generic_calls.get().wrapping_add(1));
        if export.def.deprecated.is_some() {
            self.warn_deprecated(export, interpreter);
        }
        let result = self.checked(export, args, interpreter);
        if self.exhausted.get().is_some() {
            // A nested callback has used up the budget: the one that called it ends, too.
            if self.exhausted_at.borrow().is_none() {
                *self.exhausted_at.borrow_mut() = interpreter.place();
            }
            return Err(Box::new(Fault::Exit));
        }
        result.or_else(|fault| self.settle(export, fault, interpreter))
    }

    fn checked(&self, export: &Export, args: &[Arg<'_>], interpreter: &dyn Interpreter) -> Result<Ret, Box<Fault>> {
        let def = export.def;
        let compat = self.registry.policy() == Policy::Compat;
        let most = def.max_args().unwrap_or(usize::MAX);
        let args = if compat { args.get(..most).unwrap_or(args) } else { args };
        if args.len() < def.min_args() || args.len() > most {
            return Err(wrong_count(export, args.len()));
        }
        let coerced: Vec<(usize, Value)> = if compat {
            let pairs = args.iter().zip(def.params).enumerate();
            pairs.filter_map(|(i, (arg, param))| self.coercions.apply(arg, param.ty).map(|v| (i, v))).collect()
        } else {
            Vec::new()
        };
        let script = Script { runtime: self, interpreter };
        let run = |args: &[Arg<'_>]| {
            self.guarded(
                export,
                || interpreter.place(),
                |context| {
                    let call = Call { args, script: &script, export: def };
                    // SAFETY: `guarded` gives the context of this export, taken out of its slot for the call.
                    unsafe { def.thunk.call(context, &call) }
                },
            )
        };
        if coerced.is_empty() {
            return run(args).map(|result| keep(result, args));
        }
        let mut changed = args.to_vec();
        for (i, value) in &coerced {
            if let Some(arg) = changed.get_mut(*i) {
                *arg = value.into();
            }
        }
        run(&changed).map(|result| keep(result, &changed))
    }

    /// Calls, if the export may be called here and now.
    ///
    /// Inlined into each trampoline: what it does is about as much as the call of a function.
    #[inline(always)]
    fn guarded<R>(
        &self,
        export: &Export,
        place: impl FnOnce() -> Option<Place>,
        call: impl FnOnce(*mut ()) -> Result<R, Box<Fault>>,
    ) -> Result<R, Box<Fault>> {
        if export.gate & self.gate.get() == 0 || self.watch.expired() {
            return Err(self.refuse(export));
        }
        self.spent.set(self.spent.get().wrapping_add(export.def.cost.into()));
        let timed = self.recorder.as_ref().is_some_and(|recorder| recorder.count(export.index));
        if timed || self.spans.get() {
            return self.observed(export, place, call);
        }
        self.lent(export, place, call)
    }

    /// Calls with an eye on the clock, and in a span if somebody wants to see it.
    #[cold]
    #[inline(never)]
    fn observed<R>(
        &self,
        export: &Export,
        place: impl FnOnce() -> Option<Place>,
        call: impl FnOnce(*mut ()) -> Result<R, Box<Fault>>,
    ) -> Result<R, Box<Fault>> {
        let _span = self.spans.get().then(|| {
            let name = self.registry.script_name(export.def);
            tracing::trace_span!(target: "kemi", "native", export = name).entered()
        });
        let started = Instant::now();
        let result = self.lent(export, place, call);
        if let Some(recorder) = &self.recorder {
            recorder.native_took(export.index, started.elapsed());
        }
        result
    }

    /// Takes the context, calls, catches a panic, gives the context back.
    #[inline(always)]
    fn lent<R>(
        &self,
        export: &Export,
        place: impl FnOnce() -> Option<Place>,
        call: impl FnOnce(*mut ()) -> Result<R, Box<Fault>>,
    ) -> Result<R, Box<Fault>> {
        let before = coarse_ms();
        self.watch.native.store(export.index + 1, Ordering::Relaxed);
        let result = if export.def.needs_context {
            let context = self.context.replace(ptr::null_mut());
            if context.is_null() {
                self.watch.native.store(0, Ordering::Relaxed);
                return Err(self.no_context(export));
            }
            let result = catch_unwind(AssertUnwindSafe(|| call(context)));
            self.context.set(context);
            result
        } else {
            catch_unwind(AssertUnwindSafe(|| call(ptr::NonNull::<()>::dangling().as_ptr())))
        };
        self.watch.native.store(0, Ordering::Relaxed);
        let took = coarse_ms().wrapping_sub(before);
        if took >= self.slow_native_ms {
            self.slow_native(export, took, place());
        }
        result.unwrap_or_else(|payload| Err(panicked(export, &*payload)))
    }

    #[cold]
    fn slow_native(&self, export: &Export, took_ms: u64, place: Option<Place>) {
        let callback = self.callback.get();
        let subject = (callback, Some((export.index, place.clone())));
        let Some(left_out) = self.registry.slow().admit(subject, Instant::now()) else { return };
        let name = self.registry.script_name(export.def);
        let of = callback.and_then(|id| self.registry.callback_name(id)).unwrap_or_else(|| "the top level".into());
        let place = place.map_or_else(|| "unknown place".to_owned(), |place| place.to_string());
        let limit = self.slow_native_ms;
        tracing::warn!(
            target: "kemi",
            engine = self.engine,
            left_out,
            "slow: {place}: {name} took about {took_ms} ms, called by {of} (slow_native_ms is {limit})"
        );
    }

    /// Lends the context to a callback that is itself native.
    pub(crate) fn with_context<C: 'static, R>(
        &self,
        interpreter: &dyn Interpreter,
        run: impl FnOnce(&mut C, &Script<'_>) -> R,
    ) -> Result<R, ScriptError> {
        let context = self.context.replace(ptr::null_mut());
        if context.is_null() || TypeId::of::<C>() != self.registry.context().id() {
            let message = format!("there is no context of type {} to lend", std::any::type_name::<C>());
            return Err(ScriptError::new(ErrorCode::NoContext, message));
        }
        let script = Script { runtime: self, interpreter };
        // SAFETY: a slot that is not null holds the `&mut C` that `run` was given for the registry's context type,
        // checked to be `C`; taking it out of the slot makes this the only use.
        let result = catch_unwind(AssertUnwindSafe(|| run(unsafe { &mut *context.cast::<C>() }, &script)));
        self.context.set(context);
        result.map_err(|payload| {
            let message = format!("the callback panicked: {}", panic_text(&*payload));
            ScriptError::new(ErrorCode::NativePanic, message)
        })
    }

    #[cold]
    fn refuse(&self, export: &Export) -> Box<Fault> {
        if self.watch.expired() && self.exhausted.get().is_none() {
            self.exhaust(self.watch.reason(), None);
        }
        match self.ending.get() {
            Some(Control::Exit) => return Box::new(Fault::Exit),
            Some(Control::Drop) => return Box::new(Fault::Drop),
            None => {}
        }
        let here = match self.callback.get().and_then(|id| self.registry.names().get(id)) {
            Some((route, _)) => format!("route '{}'", self.registry.route_name(route)),
            None => "the script's top level".to_owned(),
        };
        let message = format!("may not be called in {here}; allowed in: {}", export.def.callbacks.join(", "));
        ScriptError::new(ErrorCode::NotAllowedHere, message).into()
    }

    #[cold]
    fn no_context(&self, _export: &Export) -> Box<Fault> {
        let message = if self.callback.get().is_none() {
            "needs the host's context, and there is none while the script is being loaded"
        } else {
            "needs the host's context, which a native function further up holds"
        };
        ScriptError::new(ErrorCode::NoContext, message).into()
    }

    /// Finishes a fault of either path: remembers an exit or drop, completes an error, and under
    /// [`Policy::Compat`] turns a bad argument into a log line and the result `false`.
    ///
    /// # Errors
    /// The fault for the engine to raise.
    #[cold]
    pub fn settle(
        &self,
        export: &Export,
        mut fault: Box<Fault>,
        interpreter: &dyn Interpreter,
    ) -> Result<Ret, Box<Fault>> {
        if self.exhausted.get().is_some() && self.exhausted_at.borrow().is_none() {
            *self.exhausted_at.borrow_mut() = interpreter.place();
        }
        if self.spend(0, interpreter) {
            // What the export did not know: the budget is used up.
            fault = Box::new(if self.ending.get() == Some(Control::Drop) { Fault::Drop } else { Fault::Exit });
        }
        match &mut *fault {
            Fault::Exit => self.end(Control::Exit),
            Fault::Drop => self.end(Control::Drop),
            Fault::Error(error) => {
                if self.recorder.is_some() {
                    self.registry.hub().export_failed(export.index, error.code.as_str());
                }
                // An error of a nested callback has its own export already.
                if error.engine.is_empty() && error.export.is_none() {
                    error.export = Some(self.registry.script_name(export.def));
                }
                if error.place.is_none() {
                    error.place = interpreter.place();
                }
                let bad_call = matches!(error.code, ErrorCode::BadArgument | ErrorCode::ArgumentCount);
                if bad_call && self.registry.policy() == Policy::Compat {
                    tracing::error!(target: "kemi", engine = self.engine, "{error}; returning false");
                    return Ok(Ret::Bool(false));
                }
            }
        }
        Err(fault)
    }

    /// Keeps an error's fields while only its text travels through the script.
    ///
    /// Call it just before raising; [`recover`](Self::recover) gives the error back when the same text comes out.
    pub fn stash(&self, error: ScriptError) -> String {
        let text = error_text(&error);
        *self.raised.borrow_mut() = Some(error);
        text
    }

    /// Returns the stashed error if `text`, what the language reports at the end, contains what was raised for it.
    #[must_use]
    pub fn recover(&self, text: &str) -> Option<ScriptError> {
        self.raised.borrow_mut().take_if(|error| text.contains(&error_text(error)))
    }

    /// Notes that a script looked up a name that does not exist; see [`explain_missing`](Self::explain_missing).
    pub fn note_unknown(&self, module: &str, function: Option<&str>) {
        *self.unknown.borrow_mut() = Some((module.to_owned(), function.map(str::to_owned)));
    }

    /// Explains the last unknown name, for an error that says that something nil was called or indexed.
    ///
    /// Returns `None` if the script has looked up no unknown name since the callback began.
    #[must_use]
    pub fn explain_missing(&self) -> Option<ScriptError> {
        let (module, function) = self.unknown.borrow_mut().take()?;
        Some(self.registry.explain_unknown(&module, function.as_deref()))
    }

    fn warn_deprecated(&self, export: &Export, interpreter: &dyn Interpreter) {
        let Some(deprecated) = export.def.deprecated else { return };
        if self.warned.borrow_mut().insert(export.index) {
            let place = interpreter.place().map_or_else(|| "unknown place".to_owned(), |p| p.to_string());
            let name = self.registry.script_name(export.def);
            tracing::warn!(
                target: "kemi",
                engine = self.engine,
                "{place}: {name} is deprecated since {}; use {}",
                deprecated.since,
                deprecated.instead
            );
        }
    }

    /// Runs a callback with a context in the slot, and puts everything back as it was, the root object as well.
    pub(crate) fn run(
        &self,
        interpreter: &dyn Interpreter,
        callback: CallbackId,
        context: *mut (),
        args: &[Arg<'_>],
    ) -> Result<Outcome, ScriptError> {
        let mut result = self.run_nested(interpreter, callback, context, args);
        if self.depth.get() == 0 {
            let replaced = interpreter.repair(result.is_err());
            if !replaced.is_empty() {
                self.tell_replaced(&replaced, &mut result, interpreter.definition(callback), callback);
            }
        }
        result
    }

    /// Says what a callback had replaced: in its own error, else by a line in the log.
    #[cold]
    fn tell_replaced(
        &self,
        names: &[String],
        result: &mut Result<Outcome, ScriptError>,
        definition: Option<Place>,
        callback: CallbackId,
    ) {
        match result {
            Err(error) => error.add_hint(format!("the script had replaced {}, which is put back", names.join(", "))),
            Ok(_) => {
                let mut error = self.complete(replaced(names), callback);
                error.place = definition;
                self.replaced.report(&error, "it is put back");
            }
        }
    }

    fn run_nested(
        &self,
        interpreter: &dyn Interpreter,
        callback: CallbackId,
        context: *mut (),
        args: &[Arg<'_>],
    ) -> Result<Outcome, ScriptError> {
        let depth = self.depth.get();
        if depth >= MAX_NESTED_CALLBACKS {
            let message = format!("callbacks nest deeper than {MAX_NESTED_CALLBACKS}");
            return Err(self.complete(ScriptError::new(ErrorCode::NestedTooDeep, message), callback));
        }
        let started = Instant::now();
        if depth == 0 {
            self.unknown.borrow_mut().take();
            self.raised.borrow_mut().take();
            self.spans.set(tracing::enabled!(target: "kemi", tracing::Level::TRACE));
            self.start_budget(self.registry.limits().max_time_ms, started);
        }
        let _span = self.span_of(callback);
        let _restore = Restore {
            runtime: self,
            context: self.context.replace(context),
            gate: self.gate.replace(self.gate_of(callback)),
            ending: self.ending.replace(None),
            callback: self.callback.replace(Some(callback)),
            depth: self.depth.replace(depth + 1),
            standing: self.watch.enter(callback),
        };
        let result = interpreter.call(callback, args);
        let outcome = self.outcome(callback, result);
        self.callback_took(callback, &outcome, started.elapsed(), interpreter);
        outcome
    }

    fn outcome(&self, callback: CallbackId, result: Result<Value, ScriptError>) -> Result<Outcome, ScriptError> {
        if let Some(error) = self.limit_error() {
            return Err(self.complete(error, callback));
        }
        match self.ending.get() {
            Some(Control::Exit) => Ok(Outcome::Exit),
            Some(Control::Drop) => Ok(Outcome::Drop),
            None => result.map(Outcome::Value).map_err(|error| self.complete(error, callback)),
        }
    }

    fn span_of(&self, callback: CallbackId) -> Option<tracing::span::EnteredSpan> {
        tracing::enabled!(target: "kemi", tracing::Level::DEBUG).then(|| {
            let name = self.registry.callback_name(callback).unwrap_or_default();
            tracing::debug_span!(target: "kemi", "callback", engine = self.engine, %name).entered()
        })
    }

    fn callback_took(
        &self,
        callback: CallbackId,
        outcome: &Result<Outcome, ScriptError>,
        took: Duration,
        interpreter: &dyn Interpreter,
    ) {
        if let Some(recorder) = &self.recorder {
            let ending = match outcome {
                Ok(Outcome::Value(_)) => Ending::Value,
                Ok(Outcome::Exit) => Ending::Exit,
                Ok(Outcome::Drop) => Ending::Drop,
                Err(error) => {
                    self.registry.hub().callback_failed(callback, error.code.as_str());
                    Ending::Error
                }
            };
            recorder.callback_took(callback, ending, took);
        }
        // An error has a line of its own, which says more.
        if took >= self.slow_callback && outcome.is_ok() {
            self.slow_callback(callback, took, interpreter);
        }
    }

    #[cold]
    fn slow_callback(&self, callback: CallbackId, took: Duration, interpreter: &dyn Interpreter) {
        let Some(left_out) = self.registry.slow().admit((Some(callback), None), Instant::now()) else { return };
        let name = self.registry.callback_name(callback).unwrap_or_default();
        let place =
            interpreter.definition(callback).map_or_else(|| "unknown place".to_owned(), |place| place.to_string());
        let (took_ms, limit) = (took.as_millis(), self.registry.insight().slow_callback_ms);
        tracing::warn!(
            target: "kemi",
            engine = self.engine,
            left_out,
            "slow: {place}: {name} took {took_ms} ms (slow_callback_ms is {limit})"
        );
    }

    fn start_budget(&self, time_ms: u64, now: Instant) {
        self.spent.set(0);
        self.exhausted.set(None);
        self.exhausted_at.borrow_mut().take();
        let counts_memory = self.counts_memory.get();
        if time_ms != 0 || counts_memory || self.slow_native_ms != u64::MAX {
            self.watch.begin(time_ms, now);
        }
        if counts_memory {
            self.limit_memory();
        }
    }

    /// Returns what other threads can see of the calls.
    pub(crate) fn watch(&self) -> &Arc<Watch> {
        &self.watch
    }

    /// Starts the clock for the script's top level.
    pub(crate) fn loading(&self) {
        self.start_budget(self.registry.limits().max_load_time_ms, Instant::now());
    }

    fn complete(&self, mut error: ScriptError, callback: CallbackId) -> ScriptError {
        error.engine = self.engine;
        if error.callback.is_none() {
            error.callback = self.registry.callback_name(callback).map(|name| name.to_string());
        }
        error
    }

    fn gate_of(&self, callback: CallbackId) -> u64 {
        let mut gates = self.gates.borrow_mut();
        if let Some(&gate) = gates.get(callback.index())
            && gate != 0
        {
            return gate;
        }
        let gate = self.registry.names().get(callback).map_or(IDLE_GATE, |(route, _)| 1 << route.0);
        if gates.len() <= callback.index() {
            gates.resize(callback.index() + 1, 0);
        }
        if let Some(slot) = gates.get_mut(callback.index()) {
            *slot = gate;
        }
        gate
    }

    /// Forgets an exit that a script asked for at its top level.
    ///
    /// # Errors
    /// The limit that the top level has exceeded.
    pub(crate) fn loaded(&self) -> Result<(), ScriptError> {
        self.watch.end();
        self.forget_memory();
        let exhausted = self.limit_error();
        self.exhausted.set(None);
        self.ending.set(None);
        self.gate.set(IDLE_GATE);
        self.raised.borrow_mut().take();
        self.unknown.borrow_mut().take();
        exhausted.map_or(Ok(()), Err)
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        self.forget_memory();
        // Waits for an interrupt that is running; what it refers to may go with the interpreter.
        self.watch.set_interrupt(None);
    }
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime")
            .field("engine", &self.engine)
            .field("callback", &self.callback.get())
            .field("depth", &self.depth.get())
            .finish_non_exhaustive()
    }
}

struct Restore<'a> {
    runtime: &'a Runtime,
    context: *mut (),
    gate: u64,
    ending: Option<Control>,
    callback: Option<CallbackId>,
    depth: u32,
    standing: Standing,
}

impl Drop for Restore<'_> {
    fn drop(&mut self) {
        self.runtime.context.set(self.context);
        self.runtime.gate.set(self.gate);
        self.runtime.ending.set(self.ending);
        self.runtime.callback.set(self.callback);
        self.runtime.depth.set(self.depth);
        self.runtime.watch.leave(self.standing);
        if self.depth == 0 {
            self.runtime.watch.end();
            self.runtime.forget_memory();
        } else if self.runtime.exhausted.get().is_some() {
            self.runtime.end(Control::Exit);
        }
    }
}

/// Copies a result that borrows from an argument: what the engine or the policy has converted for the call does not
/// outlive it.
fn keep(result: Ret, args: &[Arg<'_>]) -> Ret {
    let Ret::Bytes(out) = result else { return result };
    // SAFETY: the call has just returned; the context has not been used since, and the arguments are still there.
    let bytes: &[u8] = unsafe { out.bytes() };
    let within = |arg: &Arg<'_>| match arg {
        Arg::Str(text) => text.as_ptr_range().contains(&bytes.as_ptr()),
        // Strings lie anywhere inside; not worth a search.
        Arg::Value(_) => true,
        _ => false,
    };
    if args.iter().any(within) { Ret::Value(Value::Str(bytes.into())) } else { result }
}

/// The text of an error as scripts see it: without the place, which languages add in their own way.
fn error_text(error: &ScriptError) -> String {
    match &error.export {
        Some(export) => format!("{export}: {}", error.message),
        None => error.message.clone(),
    }
}

#[cold]
fn wrong_count(export: &Export, given: usize) -> Box<Fault> {
    let (least, most) = (export.def.min_args(), export.def.max_args());
    let takes = match most {
        Some(most) if most == least => format!("{least}"),
        Some(most) => format!("{least} to {most}"),
        None => format!("at least {least}"),
    };
    let names: Vec<&str> = export.def.params.iter().map(|p| p.name).collect();
    let message = format!("takes {takes} argument(s) ({}), got {given}", names.join(", "));
    ScriptError::new(ErrorCode::ArgumentCount, message).into()
}

#[cold]
fn panicked(export: &Export, payload: &(dyn std::any::Any + Send)) -> Box<Fault> {
    let (file, line, text) = (export.def.file, export.def.line, panic_text(payload));
    let message = format!("the native function ({file}:{line}) panicked: {text}");
    ScriptError::new(ErrorCode::NativePanic, message).with_hint("this is a bug in the host, not in the script").into()
}

fn panic_text(payload: &(dyn std::any::Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

/// The running script, as a native function sees it.
///
/// Take it as `script: &Script<'_>` after the context to call back into the script.
pub struct Script<'a> {
    runtime: &'a Runtime,
    interpreter: &'a dyn Interpreter,
}

impl Script<'_> {
    /// Calls a callback from within a native function, in the same interpreter.
    ///
    /// An exit or drop in it ends the callback only; it comes back as the outcome.
    ///
    /// # Errors
    /// What the script raised; [`ErrorCode::NoContext`] if `C` is not the registry's context type.
    pub fn call<C: 'static>(
        &self,
        callback: CallbackId,
        context: &mut C,
        args: &[Arg<'_>],
    ) -> Result<Outcome, ScriptError> {
        if TypeId::of::<C>() != self.runtime.registry.context().id() {
            let (given, own) = (std::any::type_name::<C>(), self.runtime.registry.context().name());
            let message = format!("callback with a context of type {given} in a registry of {own}");
            return Err(ScriptError::new(ErrorCode::NoContext, message));
        }
        self.runtime.run(self.interpreter, callback, ptr::from_mut(context).cast(), args)
    }

    /// Finds the callback for a function name that a script gives at run time.
    ///
    /// # Errors
    /// [`ErrorCode::MissingCallback`] if the script defines no such function, with the nearest name it does define.
    pub fn callback(&self, route: RouteId, name: &str) -> Result<CallbackId, ScriptError> {
        let known = |(of, known, _): &&(RouteId, Box<str>, CallbackId)| *of == route && **known == *name;
        if let Some((_, _, id)) = self.runtime.chosen.borrow().iter().find(known) {
            return Ok(*id);
        }
        if !self.interpreter.resolve(name) {
            return Err(missing_callback(name, self.interpreter));
        }
        let id = self.runtime.registry.names().intern(route, name)?;
        let mut chosen = self.runtime.chosen.borrow_mut();
        if chosen.len() < MAX_CHOSEN {
            chosen.push((route, name.into(), id));
        }
        Ok(id)
    }

    /// Returns whether the script defines a function.
    #[must_use]
    pub fn defines(&self, name: &str) -> bool {
        self.interpreter.resolve(name)
    }

    /// Returns where in the script the native function was called from.
    #[must_use]
    pub fn place(&self) -> Option<Place> {
        self.interpreter.place()
    }

    /// Returns the registry.
    #[must_use]
    pub fn registry(&self) -> &RegistryData {
        &self.runtime.registry
    }
}

impl fmt::Debug for Script<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Script").field("runtime", &self.runtime).finish_non_exhaustive()
    }
}

/// The error of a script that replaced parts of the root object.
pub(crate) fn replaced(names: &[String]) -> ScriptError {
    let message = format!("the script replaced {}", names.join(", "));
    ScriptError::new(ErrorCode::RootReplaced, message)
        .with_hint("it belongs to the host: give what the script defines another name")
}

pub(crate) fn missing_callback(name: &str, interpreter: &dyn Interpreter) -> ScriptError {
    let functions = interpreter.functions();
    let error = ScriptError::new(ErrorCode::MissingCallback, format!("the script defines no function '{name}'"));
    match crate::suggest::nearest(name, functions.iter().map(String::as_str)) {
        Some(near) => error.with_hint(format!("did you mean '{near}'?")),
        None => error,
    }
}
