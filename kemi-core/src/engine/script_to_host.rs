//! The way from a script into the host: checks a native call, runs it, counts and times it.

use std::any::TypeId;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::time::{Duration, Instant};

use super::contract::Interpreter;
use super::host_access::time_of;
use super::interpreter_lock::while_waiting;
use super::runtime::Runtime;
use super::script_calls::ScriptCaller;
use crate::abi::Ret;
use crate::error::{ErrorCode, Location, NativeError, NativeExit, ScriptError};
use crate::export::{Call, Script, caught, panic_text};
use crate::limits::Limit;
use crate::registry::Export;
use crate::telemetry::{discard, log_guarded, span_guarded};
use crate::value::{Arg, ArgumentPolicy, Value};

impl Runtime {
    /// Calls an export by its typed entry.
    ///
    /// `call` gets the context, to be passed to the typed entry and to nothing else. `place` returns the place
    /// of the call in the script; it runs only if that is needed.
    ///
    /// # Safety
    /// The export is of this runtime's registry, and no native function of this runtime runs but those that have called
    /// the script again: the context in the slot is lent to nobody. `call` does not enter the interpreter.
    ///
    /// # Errors
    /// The error of the export, of its argument conversion, or of a panic in it; for
    /// [`finish_error`](Self::finish_error).
    // Inlined into each trampoline, so only what every call needs stands here.
    #[inline(always)]
    pub unsafe fn typed<R>(
        &self,
        export: &Export,
        place: impl FnOnce() -> Option<Location>,
        call: impl FnOnce(*mut ()) -> Result<R, Box<NativeError>>,
    ) -> Result<R, Box<NativeError>> {
        // The slot keeps the context meanwhile. A typed entry can enter the interpreter only by a handle that the host
        // keeps somewhere; that call lends a context of its own or empties the slot.
        let context = self.call.get().context;
        if export.route_mask() & self.watch.route_mask() == 0 || context.is_null() {
            return self.slow_path(export, place, call);
        }
        if self.counts(export) {
            return self.call_timed(export, context, place, call);
        }
        self.call_watched(export, context, place, call)
    }

    /// Calls an export by its generic entry: counts and coerces the arguments by policy, calls, finishes an error.
    ///
    /// # Errors
    /// [`ErrorCode::ForeignId`] for an export of another registry; [`ErrorCode::NoContext`] if another native function holds
    /// the context that this one needs; [`NativeError::Exit`] or [`NativeError::Drop`] if the callback must end; else the
    /// error to raise in the script.
    pub fn invoke(
        &self,
        export: &Export,
        args: &[Arg<'_>],
        interpreter: &dyn Interpreter,
    ) -> Result<Ret, Box<NativeError>> {
        if export.def().deprecated.is_some() {
            self.warn_deprecated(export, interpreter);
        }
        let result = self.own(export).and_then(|()| self.checked(export, args, interpreter));
        if self.budget.limit_hit.get().is_some() {
            // A nested callback has used up the budget, so the outer one ends as well.
            self.budget.note_place(|| interpreter.place());
            return Err(Box::new(NativeError::Exit));
        }
        result.or_else(|fault| self.finish_error(export, fault, interpreter))
    }

    /// Calls an export as [`invoke`](Self::invoke) does, and copies its result: for engines that want no `unsafe`.
    ///
    /// Text that the export returns borrowed is copied, and several results are an array.
    ///
    /// # Errors
    /// Those of [`invoke`](Self::invoke).
    pub fn invoke_to_value(
        &self,
        export: &Export,
        args: &[Arg<'_>],
        interpreter: &dyn Interpreter,
    ) -> Result<Value, Box<NativeError>> {
        Ok(match self.invoke(export, args, interpreter)? {
            Ret::Nil => Value::Nil,
            Ret::Bool(b) => Value::Bool(b),
            Ret::Int(i) => Value::Int(i),
            Ret::Float(x) => Value::Float(x),
            // SAFETY: the call has just returned; the context has not been used since, and the arguments are still there.
            Ret::Bytes(bytes) => Value::Str(unsafe { bytes.bytes() }.into()),
            Ret::Value(value) => value,
            Ret::Tuple(items) => Value::Array(items),
        })
    }

    /// Checks that an export may be called on the context in the slot.
    fn own(&self, export: &Export) -> Result<(), Box<NativeError>> {
        if export.stamp() != self.stamp {
            return Err(foreign_export(export));
        }
        // A running native function that has not called the script again holds the context, although the slot has it, too.
        if export.def().needs_context && self.watch.in_native() {
            return Err(self.no_context());
        }
        Ok(())
    }

    fn checked(
        &self,
        export: &Export,
        args: &[Arg<'_>],
        interpreter: &dyn Interpreter,
    ) -> Result<Ret, Box<NativeError>> {
        let def = export.def();
        let compat = self.registry().policy() == ArgumentPolicy::Compat;
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
        let caller = ScriptCaller { runtime: self, interpreter };
        let script = Script::new(&caller);
        let run = |args: &[Arg<'_>]| {
            let call = Call { args, script: &script, export: def, closure: export.closure() };
            let lent = |context| {
                let generic = &self.diagnostics.generic_calls;
                generic.set(generic.get().wrapping_add(1));
                // The function may call back into the script, which must not find the context that it holds.
                let slot = def.needs_context.then(|| self.take_context());
                // SAFETY: it is the context of this export, or the one of which the export gets its part, out of its slot for
                // the call.
                let native = || caught(def, || unsafe { def.thunk.call(export.part_of(context), &call) });
                let result = if def.blocking { self.waits(native) } else { native() };
                if let Some(slot) = slot {
                    self.put_context(slot);
                }
                result
            };
            // SAFETY: `own` has checked the export and that nobody has the context; the thunk that `lent` calls enters
            // the interpreter only after the context was taken out of its slot.
            unsafe { self.typed(export, || interpreter.place(), lent) }
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

    /// Runs a native function that waits: without the interpreter's lock, on a clock of its own.
    ///
    /// A call that has waited too long ends when the function returns.
    #[cold]
    fn waits<R>(&self, run: impl FnOnce() -> R) -> R {
        let (result, took) = while_waiting(|| {
            let started = Instant::now();
            (self.while_clock_stops(run), started.elapsed())
        });
        let waited = self.budget.waited.get().saturating_add(took);
        self.budget.waited.set(waited);
        self.dirty.set(true);
        if waited > time_of(self.registry().limits().max_wait_ms) && self.budget.limit_hit.get().is_none() {
            self.hit_limit(Limit::Waiting, None);
        } else if self.watch.expired() && self.budget.limit_hit.get().is_none() {
            self.hit_limit(self.watch.reason(), None);
        }
        result
    }

    /// Returns how long a native function that has waited so long may go on; `None` if the call is to end.
    pub(super) fn may_wait(&self, waited: Duration) -> Option<Duration> {
        if self.watch.expired() {
            return None;
        }
        let all = self.budget.waited.get().saturating_add(waited);
        time_of(self.registry().limits().max_wait_ms).checked_sub(all)
    }

    /// Takes the context out of its slot.
    #[inline]
    fn take_context(&self) -> *mut () {
        let context = self.call.get().context;
        self.put_context(ptr::null_mut());
        context
    }

    /// Puts a context into the slot.
    #[inline]
    fn put_context(&self, context: *mut ()) {
        self.change_call(|call| call.context = context);
    }

    /// Counts a call; returns whether to time it.
    #[inline(always)]
    fn counts(&self, export: &Export) -> bool {
        self.diagnostics.recorder.as_ref().is_some_and(|recorder| recorder.count(export.index()))
    }

    /// Decides by all checks whether the export may be called, after the quick check has failed, and calls it.
    #[cold]
    #[inline(never)]
    fn slow_path<R>(
        &self,
        export: &Export,
        place: impl FnOnce() -> Option<Location>,
        call: impl FnOnce(*mut ()) -> Result<R, Box<NativeError>>,
    ) -> Result<R, Box<NativeError>> {
        if export.route_mask() & self.call.get().route_mask == 0 || self.watch.expired() {
            return Err(self.refuse(export));
        }
        // The watchdog may have cleared the mask for a call that had just ended. So does a fork: the child must start the
        // watchdog again.
        self.watch.revive();
        self.show_route_mask();
        let mut context = self.call.get().context;
        if context.is_null() {
            if export.def().needs_context {
                return Err(self.no_context());
            }
            context = ptr::NonNull::<()>::dangling().as_ptr();
        }
        let used = &self.budget.instructions_used;
        used.set(used.get().saturating_add(export.def().cost.into()));
        if self.counts(export) || self.diagnostics.spans.get() {
            return self.call_timed(export, context, place, call);
        }
        self.call_watched(export, context, place, call)
    }

    /// Calls the export and times it, in a span if a subscriber wants one.
    #[cold]
    #[inline(never)]
    fn call_timed<R>(
        &self,
        export: &Export,
        context: *mut (),
        place: impl FnOnce() -> Option<Location>,
        call: impl FnOnce(*mut ()) -> Result<R, Box<NativeError>>,
    ) -> Result<R, Box<NativeError>> {
        let _span = self.diagnostics.spans.get().then(|| {
            let name = self.registry().script_name(export.def());
            span_guarded(|| tracing::trace_span!(target: "kemi", "native", export = name).entered())
        });
        let started = Instant::now();
        let result = self.call_watched(export, context, place, call);
        if let Some(recorder) = &self.diagnostics.recorder {
            recorder.native_took(export.index(), started.elapsed());
        }
        result
    }

    /// Calls the export, visibly for the watchdog.
    #[inline(always)]
    fn call_watched<R>(
        &self,
        export: &Export,
        context: *mut (),
        place: impl FnOnce() -> Option<Location>,
        call: impl FnOnce(*mut ()) -> Result<R, Box<NativeError>>,
    ) -> Result<R, Box<NativeError>> {
        let watch = &*self.watch;
        watch.enter_native(export.index());
        let result = call(context);
        if watch.leave_native() {
            self.was_seen(export, place);
        }
        result
    }

    /// Logs a native call that the watchdog has seen, if it was slow.
    #[cold]
    #[inline(never)]
    fn was_seen(&self, export: &Export, place: impl FnOnce() -> Option<Location>) {
        let took = self.watch.native_took_ms();
        if took >= self.diagnostics.slow_native_ms {
            // The result may still borrow from the context, and finding the place may run finalizers of the script.
            let _around = self.without_context();
            self.slow_native(export, took, place());
        }
    }

    #[cold]
    fn slow_native(&self, export: &Export, took_ms: u64, place: Option<Location>) {
        let callback = self.call.get().callback;
        let subject = (callback, Some((export.index(), place.clone())));
        let Some(left_out) = self.registry().state().slow_calls().admit(subject, Instant::now()) else { return };
        let name = self.registry().script_name(export.def());
        let of = callback.and_then(|id| self.registry().callback_name(id)).unwrap_or_else(|| "the top level".into());
        let place = place.map_or_else(|| "unknown place".to_owned(), |place| place.to_string());
        let limit = self.diagnostics.slow_native_ms;
        log_guarded(|| {
            tracing::warn!(
                target: "kemi",
                engine = self.engine,
                left_out,
                "slow: {place}: {name} took about {took_ms} ms, called by {of} (slow_native_ms is {limit})"
            );
        });
    }

    /// Lends the context to a callback that is itself native.
    pub(crate) fn with_context<C: 'static, R>(
        &self,
        interpreter: &dyn Interpreter,
        run: impl FnOnce(&mut C, &Script<'_>) -> R,
    ) -> Result<R, ScriptError> {
        let context = self.take_context();
        if context.is_null() || TypeId::of::<C>() != self.registry().context().id() {
            self.put_context(context);
            let message = format!("there is no context of type {} to lend", std::any::type_name::<C>());
            return Err(ScriptError::new(ErrorCode::NoContext, message));
        }
        let caller = ScriptCaller { runtime: self, interpreter };
        let script = Script::new(&caller);
        // SAFETY: a slot that is not null holds the `&mut C` that `run` was given for the registry's context type,
        // checked to be `C`; taking it out of the slot makes this the only use.
        let result = catch_unwind(AssertUnwindSafe(|| run(unsafe { &mut *context.cast::<C>() }, &script)));
        self.put_context(context);
        result.map_err(|payload| {
            let message = format!("the callback panicked: {}", panic_text(&*payload));
            discard(payload);
            ScriptError::new(ErrorCode::NativePanic, message)
        })
    }

    #[cold]
    fn refuse(&self, export: &Export) -> Box<NativeError> {
        if self.watch.expired() && self.budget.limit_hit.get().is_none() {
            self.hit_limit(self.watch.reason(), None);
        }
        match self.call.get().exit {
            Some(NativeExit::Exit) => return Box::new(NativeError::Exit),
            Some(NativeExit::Drop) => return Box::new(NativeError::Drop),
            None => {}
        }
        if let Err(error) = export.check_capability() {
            return error.into();
        }
        let here = match self.call.get().callback.and_then(|id| self.registry().state().names().get(id)) {
            Some((route, _)) if route == self.registry().no_route() => "a function outside of all routes".to_owned(),
            Some((route, _)) => format!("route '{}'", self.registry().route_name(route)),
            None => "the script's top level".to_owned(),
        };
        let message = format!("may not be called in {here}; allowed in: {}", export.def().callbacks.join(", "));
        ScriptError::new(ErrorCode::NotAllowedHere, message).into()
    }

    #[cold]
    fn no_context(&self) -> Box<NativeError> {
        ScriptError::new(ErrorCode::NoContext, self.without_context_because()).into()
    }

    /// Finishes a native error of either path: remembers an exit or drop, completes an error, and under
    /// [`ArgumentPolicy::Compat`] turns a bad argument into a log line and the result `false`.
    ///
    /// # Errors
    /// The native error for the engine to raise.
    #[cold]
    pub fn finish_error(
        &self,
        export: &Export,
        mut fault: Box<NativeError>,
        interpreter: &dyn Interpreter,
    ) -> Result<Ret, Box<NativeError>> {
        if self.budget.limit_hit.get().is_some() {
            self.budget.note_place(|| interpreter.place());
        }
        if self.use_instructions(0, interpreter) {
            // The budget is used up, which the export did not know.
            fault = Box::new(if self.call.get().exit == Some(NativeExit::Drop) {
                NativeError::Drop
            } else {
                NativeError::Exit
            });
        }
        match &mut *fault {
            NativeError::Exit => self.request_exit(NativeExit::Exit),
            NativeError::Drop => self.request_exit(NativeExit::Drop),
            NativeError::Error(error) => {
                if self.diagnostics.recorder.is_some() {
                    self.registry().state().aggregator().export_failed(export.index(), error.code.as_str());
                }
                // An error of a nested callback has its own export already.
                if error.engine.is_empty() && error.export.is_none() {
                    error.export = Some(self.registry().script_name(export.def()));
                }
                if error.place.is_none() {
                    error.place = interpreter.place();
                }
                let bad_call = matches!(error.code, ErrorCode::BadArgument | ErrorCode::ArgumentCount);
                if bad_call && self.registry().policy() == ArgumentPolicy::Compat {
                    log_guarded(|| {
                        tracing::error!(target: "kemi", engine = self.engine, "{error}; returning false");
                    });
                    return Ok(Ret::Bool(false));
                }
            }
        }
        Err(fault)
    }

    fn warn_deprecated(&self, export: &Export, interpreter: &dyn Interpreter) {
        let Some(deprecated) = export.def().deprecated else { return };
        if self.diagnostics.deprecated_warned.borrow_mut().insert(export.index()) {
            let place = interpreter.place().map_or_else(|| "unknown place".to_owned(), |p| p.to_string());
            let name = self.registry().script_name(export.def());
            log_guarded(|| {
                tracing::warn!(
                    target: "kemi",
                    engine = self.engine,
                    "{place}: {name} is deprecated since {}; use {}",
                    deprecated.since,
                    deprecated.instead
                );
            });
        }
    }
}

/// Copies a result that borrows from an argument: a converted argument does not outlive the call.
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

#[cold]
fn foreign_export(export: &Export) -> Box<NativeError> {
    let def = export.def();
    let message = format!("'{}' ({}:{}) was looked up in another registry", def.name, def.file, def.line);
    ScriptError::new(ErrorCode::ForeignId, message).into()
}

#[cold]
fn wrong_count(export: &Export, given: usize) -> Box<NativeError> {
    let (least, most) = (export.def().min_args(), export.def().max_args());
    let takes = match most {
        Some(most) if most == least => format!("{least}"),
        Some(most) => format!("{least} to {most}"),
        None => format!("at least {least}"),
    };
    let names: Vec<&str> = export.def().params.iter().map(|p| p.name).collect();
    let message = format!("takes {takes} argument(s) ({}), got {given}", names.join(", "));
    ScriptError::new(ErrorCode::ArgumentCount, message).into()
}
