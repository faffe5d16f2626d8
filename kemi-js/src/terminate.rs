//! The forced end of a call by an exit, a drop or a limit: an error that no `catch` and no `finally` sees.

use boa_engine::error::{EngineError, RuntimeLimitError};
use boa_engine::{Context, JsError, JsNativeError};
use kemi_core::engine::Runtime;
use kemi_core::limits::Limit;
use kemi_core::{Location, NativeError};

use crate::error::{self, Diagnostics};
use crate::interrupt::counts_instructions;

/// Makes the error that a native function returns to end the callback: Boa unwinds everything for it, `finally` included.
///
/// [`Runtime::pending_exit`](kemi_core::engine::Runtime::pending_exit) tells it from a limit that was really reached.
pub(crate) fn terminated() -> JsError {
    JsError::from(EngineError::RuntimeLimit(RuntimeLimitError::LoopIteration))
}

/// Turns a native error into the error that the script gets.
pub(crate) fn raise(diagnostics: &Diagnostics, fault: NativeError, context: &mut Context) -> JsError {
    match fault {
        NativeError::Exit | NativeError::Drop => terminated(),
        NativeError::Error(error) => {
            let native = JsNativeError::error().with_message(error::text_of(&error));
            diagnostics.carry(native, error, context)
        }
    }
}

/// Ends the top-level call if the error stands for a limit of it, with the place where that was reached.
pub(crate) fn note_limit(runtime: &Runtime, diagnostics: &Diagnostics, error: &JsError, context: &mut Context) {
    if !error::is_limit(error) {
        return;
    }
    // What a native function raises to end the callback looks the same.
    let looped = counts_instructions(runtime) && runtime.pending_exit().is_none() && error::is_loop_limit(error);
    if let Some(limit) = runtime.pending_limit().or(looped.then_some(Limit::Instructions)) {
        let mut error = diagnostics.script_error(error.clone(), context);
        // Code made by the script itself is in no file; what made it is.
        let in_file = |place: &&Location| !place.file.starts_with("eval at") && !place.file.starts_with("unknown at");
        let mut places = error.traceback.iter().filter_map(|frame| frame.place.as_ref());
        let place = places.find(in_file).cloned().or_else(|| error.place.take());
        runtime.hit_limit(limit, place);
    }
}
