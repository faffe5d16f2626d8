//! Panics of native functions, turned into errors of the script.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::def::ExportDef;
use crate::error::{ErrorCode, NativeError, ScriptError};
use crate::telemetry::discard;

/// Runs a native function and turns its panic into a native error; used by expansions.
///
/// # Errors
/// The error of the function, or its panic.
#[doc(hidden)]
#[inline(always)]
pub fn caught<R>(
    export: &'static ExportDef,
    run: impl FnOnce() -> Result<R, Box<NativeError>>,
) -> Result<R, Box<NativeError>> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|payload| Err(panicked(export, payload)))
}

#[cold]
fn panicked(export: &ExportDef, payload: Box<dyn std::any::Any + Send>) -> Box<NativeError> {
    let (file, line, text) = (export.file, export.line, panic_text(&*payload));
    let message = format!("the native function ({file}:{line}) panicked: {text}");
    discard(payload);
    ScriptError::new(ErrorCode::NativePanic, message).with_hint("this is a bug in the host, not in the script").into()
}

pub(crate) fn panic_text(payload: &(dyn std::any::Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}
