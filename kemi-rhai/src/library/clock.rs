//! `timestamp` and `sleep`, for scripts that get no clock.

use std::rc::Rc;

use kemi_core::NativeError;
use kemi_core::engine::Runtime;
use kemi_core::limits::{Facility, Needs};
use rhai::{Engine, EvalAltResult, NativeCallContext};

use super::RhaiResult;
use crate::error::raise;

/// Replaces both by functions that refuse.
pub(crate) fn install(engine: &mut Engine, runtime: &Rc<Runtime>) {
    let of = runtime.clone();
    engine.register_fn("timestamp", move |call: NativeCallContext<'_>| -> RhaiResult<()> {
        Err(refusal(&of, "timestamp", &call))
    });
    let of = runtime.clone();
    engine.register_fn("sleep", move |call: NativeCallContext<'_>, _seconds: i64| -> RhaiResult<()> {
        Err(refusal(&of, "sleep", &call))
    });
    let of = runtime.clone();
    engine.register_fn("sleep", move |call: NativeCallContext<'_>, _seconds: f64| -> RhaiResult<()> {
        Err(refusal(&of, "sleep", &call))
    });
}

#[cold]
fn refusal(runtime: &Runtime, what: &str, call: &NativeCallContext<'_>) -> Box<EvalAltResult> {
    let refusal = runtime.registry().profile().refuse(what, Needs::Facility(Facility::Clock));
    raise(runtime, NativeError::Error(refusal), call.call_position())
}
