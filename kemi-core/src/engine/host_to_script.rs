//! The way from the host into a script: saves the outer call, runs the callback, counts and times it.

use std::time::{Duration, Instant};

use super::call_state::{CallState, RestoreCall};
use super::contract::Interpreter;
use super::runtime::{MAX_NESTED_CALLBACKS, Runtime};
use super::script_calls::{missing_callback, replaced};
use crate::callback::{CallbackId, Outcome};
use crate::error::{ErrorCode, Location, NativeExit, ScriptError};
use crate::registry::IDLE_ROUTE;
use crate::telemetry::{Ending, log_guarded, span_guarded};
use crate::value::{Arg, Value};

/// One call of a callback.
#[derive(Clone, Copy)]
struct CallRequest<'a> {
    interpreter: &'a dyn Interpreter,
    callback: CallbackId,
    /// The slot of a kept function; `None` for the callback's own name.
    function: Option<u32>,
    context: *mut (),
    args: &'a [Arg<'a>],
}

impl Runtime {
    /// Runs a callback with a context in the slot, then restores the outer call and the root object.
    pub(crate) fn run(
        &self,
        interpreter: &dyn Interpreter,
        callback: CallbackId,
        context: *mut (),
        args: &[Arg<'_>],
    ) -> Result<Outcome, ScriptError> {
        let request = CallRequest { interpreter, callback, function: None, context, args };
        if callback.stamp() != self.stamp {
            return Err(self.foreign_callback());
        }
        if self.call.get().depth > 0 {
            return self.nested(&request);
        }
        self.prepare(interpreter);
        let result = if tracing::enabled!(target: "kemi", tracing::Level::DEBUG) {
            self.in_span(&request)
        } else if self.diagnostics.is_to_be_timed() {
            self.timed(&request)
        } else {
            self.plain(&request)
        };
        self.with_root_restored(&request, result)
    }

    /// Runs the kept function of a slot in the place of a callback, as [`run`](Self::run) does; each is timed.
    pub(super) fn run_slot(
        &self,
        interpreter: &dyn Interpreter,
        callback: CallbackId,
        slot: u32,
        context: *mut (),
        args: &[Arg<'_>],
    ) -> Result<Outcome, ScriptError> {
        let request = CallRequest { interpreter, callback, function: Some(slot), context, args };
        if self.call.get().depth > 0 {
            return self.nested(&request);
        }
        self.prepare(interpreter);
        let in_span = tracing::enabled!(target: "kemi", tracing::Level::DEBUG);
        let result = if in_span { self.in_span(&request) } else { self.timed(&request) };
        self.with_root_restored(&request, result)
    }

    /// Begins a top-level call.
    #[inline(always)]
    fn prepare(&self, interpreter: &dyn Interpreter) {
        if self.functions.any_dropped() {
            self.release_functions(interpreter);
        }
        if self.let_go.any() {
            self.let_go.drop_all();
        }
        self.start_budget(self.registry().limits().max_time_ms);
    }

    /// Restores what a top-level call has replaced of the root object.
    #[inline(always)]
    fn with_root_restored(
        &self,
        request: &CallRequest<'_>,
        mut result: Result<Outcome, ScriptError>,
    ) -> Result<Outcome, ScriptError> {
        let &CallRequest { interpreter, callback, .. } = request;
        let replaced = interpreter.restore_root(result.is_err());
        if !replaced.is_empty() {
            self.tell_replaced(&replaced, &mut result, interpreter.definition(callback), callback);
        }
        result
    }

    /// Runs a callback within another one.
    #[inline(never)]
    fn nested(&self, request: &CallRequest<'_>) -> Result<Outcome, ScriptError> {
        if self.call.get().depth >= MAX_NESTED_CALLBACKS {
            return Err(self.nested_too_deep(request.callback));
        }
        let _side = self.budget.memory.side(true);
        let in_span = tracing::enabled!(target: "kemi", tracing::Level::DEBUG);
        let run = if in_span { Self::in_span } else { Self::timed };
        // A native function that waits has stopped the clock; a script that it calls again runs.
        self.while_clock_goes(|| run(self, request))
    }

    #[cold]
    pub(crate) fn foreign_callback(&self) -> ScriptError {
        let mut error = ScriptError::new(ErrorCode::ForeignId, "the callback belongs to another registry");
        error.engine = self.engine;
        error.with_hint("take the id from the `Callbacks` that this registry was built with")
    }

    #[cold]
    fn nested_too_deep(&self, callback: CallbackId) -> ScriptError {
        let message = format!("callbacks nest deeper than {MAX_NESTED_CALLBACKS}");
        self.complete(ScriptError::new(ErrorCode::NestedTooDeep, message), callback)
    }

    /// Runs the callback in a span, and native calls in spans of their own if a subscriber wants those.
    #[cold]
    fn in_span(&self, request: &CallRequest<'_>) -> Result<Outcome, ScriptError> {
        let around = self.diagnostics.spans.replace(tracing::enabled!(target: "kemi", tracing::Level::TRACE));
        let name = self.registry().callback_name(request.callback).unwrap_or_default();
        let _span =
            span_guarded(|| tracing::debug_span!(target: "kemi", "callback", engine = self.engine, %name).entered());
        let result = self.timed(request);
        self.diagnostics.spans.set(around);
        result
    }

    /// Runs the callback and times it. Nested callbacks are rare, so each of them is timed.
    #[inline(never)]
    fn timed(&self, request: &CallRequest<'_>) -> Result<Outcome, ScriptError> {
        let started = Instant::now();
        let outcome = self.enter(request);
        let took = started.elapsed();
        if let Some(recorder) = &self.diagnostics.recorder {
            recorder.callback_took(request.callback, took);
        }
        // An error has its own line in the log, which says more.
        if took >= self.diagnostics.slow_callback && outcome.is_ok() {
            self.slow_callback(request.callback, took, request.interpreter);
        }
        outcome
    }

    /// Runs the callback without reading a clock; the watchdog flags a slow one.
    #[inline]
    fn plain(&self, request: &CallRequest<'_>) -> Result<Outcome, ScriptError> {
        let outcome = self.enter(request);
        if let Some(took) = self.watch.last_took_ms() {
            let took = Duration::from_millis(took);
            if took >= self.diagnostics.slow_callback && outcome.is_ok() {
                self.slow_callback(request.callback, took, request.interpreter);
            }
        }
        outcome
    }

    fn enter(&self, request: &CallRequest<'_>) -> Result<Outcome, ScriptError> {
        let &CallRequest { interpreter, callback, function, context, args } = request;
        let around = self.call.get();
        let restore = RestoreCall { runtime: self, call: around, watch: self.watch.enter(callback) };
        self.call.set(CallState {
            context,
            route_mask: self.route_mask_of(callback),
            exit: None,
            callback: Some(callback),
            depth: around.depth + 1,
            phase: around.phase,
        });
        self.show_route_mask();
        let result = match function {
            None => interpreter.call(callback, args),
            Some(slot) => interpreter.call_function(slot, args),
        };
        let outcome = self.outcome(request, result);
        drop(restore);
        self.count(callback, &outcome);
        outcome
    }

    fn count(&self, callback: CallbackId, outcome: &Result<Outcome, ScriptError>) {
        let Some(recorder) = &self.diagnostics.recorder else { return };
        let ending = match outcome {
            Ok(Outcome::Value(_)) => Ending::Value,
            Ok(Outcome::Exit) => Ending::Exit,
            Ok(Outcome::Drop) => Ending::Drop,
            Err(error) => {
                self.registry().state().aggregator().callback_failed(callback, error.code.as_str());
                Ending::Error
            }
        };
        recorder.callback_ended(callback, ending);
    }

    fn outcome(&self, request: &CallRequest<'_>, result: Result<Value, ScriptError>) -> Result<Outcome, ScriptError> {
        if self.budget.limit_hit.get().is_some()
            && let Some(error) = self.limit_error()
        {
            return Err(self.complete(error, request.callback));
        }
        match self.call.get().exit {
            Some(NativeExit::Exit) => Ok(Outcome::Exit),
            Some(NativeExit::Drop) => Ok(Outcome::Drop),
            None => result.map(Outcome::Value).map_err(|error| self.failed(request, error)),
        }
    }

    /// Completes the error of a callback; to the one of a callback that the script does not define it adds the nearest name.
    #[cold]
    fn failed(&self, request: &CallRequest<'_>, error: ScriptError) -> ScriptError {
        // An error of a nested callback has its engine and its hint already.
        if error.code != ErrorCode::MissingCallback || !error.engine.is_empty() || error.hint.is_some() {
            return self.complete(error, request.callback);
        }
        let name = self.registry().callback_name(request.callback).unwrap_or_default();
        let _around = self.without_context();
        self.complete(missing_callback(&name, request.interpreter), request.callback)
    }

    #[cold]
    fn slow_callback(&self, callback: CallbackId, took: Duration, interpreter: &dyn Interpreter) {
        let Some(left_out) = self.registry().state().slow_calls().admit((Some(callback), None), Instant::now()) else {
            return;
        };
        let name = self.registry().callback_name(callback).unwrap_or_default();
        let place =
            interpreter.definition(callback).map_or_else(|| "unknown place".to_owned(), |place| place.to_string());
        let (took_ms, limit) = (took.as_millis(), self.registry().telemetry().slow_callback_ms);
        log_guarded(|| {
            tracing::warn!(
                target: "kemi",
                engine = self.engine,
                left_out,
                "slow: {place}: {name} took {took_ms} ms (slow_callback_ms is {limit})"
            );
        });
    }

    /// Reports the parts of the root object that a callback had replaced: in its own error, else in the log.
    #[cold]
    fn tell_replaced(
        &self,
        names: &[String],
        result: &mut Result<Outcome, ScriptError>,
        definition: Option<Location>,
        callback: CallbackId,
    ) {
        match result {
            Err(error) => error.add_hint(format!("the script had replaced {}, which is put back", names.join(", "))),
            Ok(_) => {
                let mut error = self.complete(replaced(names), callback);
                error.place = definition;
                self.diagnostics.replaced.report(&error, "it is put back");
            }
        }
    }

    fn complete(&self, mut error: ScriptError, callback: CallbackId) -> ScriptError {
        error.engine = self.engine;
        if error.callback.is_none() {
            error.callback = self.registry().callback_name(callback).map(|name| name.to_string());
        }
        if self.budget.memory.counts() {
            // The script's side made the error, and the host frees it.
            return self.host_side(|| error.clone());
        }
        error
    }

    fn route_mask_of(&self, callback: CallbackId) -> u64 {
        let mut masks = self.route_masks.borrow_mut();
        if let Some(&mask) = masks.get(callback.index())
            && mask != 0
        {
            return mask;
        }
        let mask = self.registry().state().names().get(callback).map_or(IDLE_ROUTE, |(route, _)| route.bit());
        if masks.len() <= callback.index() {
            masks.resize(callback.index() + 1, 0);
        }
        if let Some(slot) = masks.get_mut(callback.index()) {
            *slot = mask;
        }
        mask
    }
}
