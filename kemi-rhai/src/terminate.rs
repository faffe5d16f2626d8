//! The forced end of a call, which no script can catch: by an exit, a drop or a limit.

use kemi_core::Location;
use kemi_core::engine::Runtime;
use kemi_core::limits::Limit;
use rhai::{Dynamic, EvalAltResult, Position};

/// Makes the error that ends a call; `try` does not see it.
#[cold]
pub(crate) fn terminated(position: Position) -> Box<EvalAltResult> {
    EvalAltResult::ErrorTerminated(Dynamic::UNIT, position).into()
}

/// Returns which limit of the call an error stands for.
pub(crate) fn exceeded_limit(runtime: &Runtime, error: &EvalAltResult) -> Option<Limit> {
    let too_large = matches!(error.unwrap_inner(), EvalAltResult::ErrorDataTooLarge(..));
    runtime.limit_hit().or(too_large.then_some(Limit::Memory))
}

/// Returns an error that came out of a script, unless it is the forced end of the call; the limit is noted then, with the
/// place where it was exceeded.
pub(crate) fn script_error(
    runtime: &Runtime,
    error: EvalAltResult,
    place: impl FnOnce(EvalAltResult) -> Option<Location>,
) -> Option<EvalAltResult> {
    if let Some(limit) = exceeded_limit(runtime, &error) {
        runtime.hit_limit(limit, place(error));
        return None;
    }
    runtime.pending_exit().is_none().then_some(error)
}
