//! Uses of an interpreter beside callbacks: loading, looking something up, ending.
//!
//! Each is a call with a budget, in which the script may run: its top level, getters, finalizers. None of them but the top level
//! may have a context, so a native function that the script calls finds the slot empty.

use std::path::Path;
use std::ptr;
use std::time::Duration;

use super::call_state::{CallState, Phase};
use super::runtime::Runtime;
use super::source::read_file;
use crate::error::ScriptError;
use crate::limits::SavedWatch;
use crate::telemetry::log_guarded;

impl Runtime {
    /// Runs the script's top level, or another step of loading, as one call, with a context in the slot or without one.
    ///
    /// An exit that the script asks for at its top level is forgotten.
    ///
    /// # Errors
    /// The error of `run`, or the limit that it has exceeded, which goes first.
    pub(crate) fn load<R>(
        &self,
        context: *mut (),
        run: impl FnOnce() -> Result<R, ScriptError>,
    ) -> Result<R, ScriptError> {
        let limit = self.registry().limits().max_load_time_ms;
        let (result, exceeded) = self.enter_beside_calls(Phase::Loading, limit, context, run);
        match exceeded {
            // The limit explains the error that followed from it.
            Some(error) => Err(error),
            None => result,
        }
    }

    /// Runs a look-up of the host in the interpreter: as a call of its own, or within the one that runs.
    pub(crate) fn look_up<R>(&self, run: impl FnOnce() -> R) -> R {
        if self.call.get().depth > 0 {
            let _around = self.without_context();
            return self.while_clock_goes(run);
        }
        let (result, exceeded) =
            self.enter_beside_calls(Phase::LookingUp, self.registry().limits().max_time_ms, ptr::null_mut(), run);
        if let Some(error) = exceeded {
            log_guarded(
                || tracing::error!(target: "kemi", engine = self.engine, "while the host looked something up: {error}"),
            );
        }
        result
    }

    /// Begins the end of the interpreter; [`closed`](Self::closed) ends it.
    ///
    /// Finalizers of the script run in between, within a budget. They can call no native function any more.
    pub(crate) fn closing(&self) {
        self.change_call(|call| {
            call.phase = Phase::Closing;
            call.context = ptr::null_mut();
        });
        self.start_budget(self.registry().limits().max_time_ms);
        self.change_call(|call| call.depth = 1);
        self.show_route_mask();
    }

    /// Ends the call that [`closing`](Self::closing) began.
    pub(crate) fn closed(&self) {
        let exceeded = self.limit_error();
        self.finish(Phase::Closing);
        if let Some(error) = exceeded {
            log_guarded(
                || tracing::error!(target: "kemi", engine = self.engine, "while the script was ended: {error}"),
            );
        }
    }

    /// Empties the slot and hides the running native function, until the result is dropped.
    pub(crate) fn without_context(&self) -> WithoutContext<'_> {
        let context = self.call.get().context;
        self.change_call(|call| call.context = ptr::null_mut());
        WithoutContext { runtime: self, context, watch: self.watch.set_aside() }
    }

    /// Reads a file for the script, such as a module that it imports, within the time that a call or load may take.
    ///
    /// # Errors
    /// [`ErrorCode::Unreadable`](crate::ErrorCode::Unreadable) with the path and the reason.
    pub fn read_file(&self, path: &Path) -> Result<Vec<u8>, ScriptError> {
        let limits = self.registry().limits();
        let time = if self.call.get().phase == Phase::Loading { limits.max_load_time_ms } else { limits.max_time_ms };
        read_file(path, time_of(time))
    }

    fn enter_beside_calls<R>(
        &self,
        phase: Phase,
        time_ms: u64,
        context: *mut (),
        run: impl FnOnce() -> R,
    ) -> (R, Option<ScriptError>) {
        /// Restores the state even if an engine panics.
        struct Finish<'a>(&'a Runtime, Phase);
        impl Drop for Finish<'_> {
            fn drop(&mut self) {
                self.0.finish(self.1);
            }
        }
        let before = self.call.get().phase;
        self.change_call(|call| call.phase = phase);
        self.start_budget(time_ms);
        self.change_call(|call| {
            call.depth = 1;
            call.context = context;
        });
        self.show_route_mask();
        let finish = Finish(self, before);
        let result = run();
        let exceeded = self.limit_error();
        drop(finish);
        (result, exceeded)
    }

    fn finish(&self, phase: Phase) {
        self.watch.end();
        self.forget_memory();
        self.forget();
        self.call.set(CallState { callback: self.call.get().callback, ..CallState::idle(phase) });
        self.show_route_mask();
    }

    /// Explains why there is no context.
    pub(super) fn without_context_because(&self) -> &'static str {
        if self.call.get().callback.is_some() {
            return "needs the host's context, which a native function further up holds";
        }
        match self.call.get().phase {
            Phase::Loading => "needs the host's context, and there is none while the script is being loaded",
            Phase::LookingUp => "needs the host's context, and there is none while the host looks something up",
            Phase::Closing => "needs the host's context, and there is none while the script is being ended",
            Phase::Calling => "needs the host's context, and there is none between two calls of the host",
        }
    }
}

/// Returns a limit as a duration; 0 stands for no limit.
pub(crate) fn time_of(milliseconds: u64) -> Duration {
    if milliseconds == 0 { Duration::MAX } else { Duration::from_millis(milliseconds) }
}

/// A guard that keeps the slot empty although a call runs; see [`Runtime::without_context`].
pub(crate) struct WithoutContext<'a> {
    runtime: &'a Runtime,
    context: *mut (),
    watch: SavedWatch,
}

impl Drop for WithoutContext<'_> {
    fn drop(&mut self) {
        self.runtime.change_call(|call| call.context = self.context);
        self.runtime.watch.leave(self.watch);
    }
}

/// A guard that is dropped after the interpreter, and ends the call in which its finalizers ran.
pub(crate) struct Closed(pub(crate) std::rc::Rc<Runtime>);

impl Drop for Closed {
    fn drop(&mut self) {
        self.0.closed();
    }
}
