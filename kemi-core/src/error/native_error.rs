//! The end of a native function without a result: an error, an exit or a drop.

use std::fmt;

use super::script_error::{ErrorCode, ScriptError};

/// The reason why a native call returns no value to the script.
#[derive(Debug)]
pub enum NativeError {
    /// The callback ends here, quietly.
    Exit,
    /// The callback ends here, and the host drops the subject of the call.
    Drop,
    /// An error to raise in the script.
    Error(ScriptError),
}

impl<E: std::error::Error + Send + Sync + 'static> From<E> for Box<NativeError> {
    /// Raises an error in the script, with this one as its source; a [`ScriptError`] is raised as it is.
    fn from(error: E) -> Box<NativeError> {
        Box::new(NativeError::Error(ScriptError::native(Box::new(error))))
    }
}

/// A native function's request to end the callback that called it.
///
/// Return it as the error of a `Result`; no script construct can catch it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NativeExit {
    /// End the innermost callback.
    Exit,
    /// End the innermost callback, and let the host drop the subject of the call.
    Drop,
}

/// A type that an export may return as the error of its `Result`: anything that can be displayed, or [`NativeExit`].
///
/// Its text becomes the message. An error type that is `Send` and `Sync`, a text, or a box of such an error also becomes the
/// [`source`](std::error::Error::source) of the [`ScriptError`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the error of an exported function",
    label = "not an error that a script can receive",
    note = "return an error type, `String`, `&'static str`, whatever else can be displayed, `ScriptError` or `NativeExit`"
)]
pub trait IntoNativeError {
    /// Converts into the native error of the call.
    fn into_native_error(self) -> Box<NativeError>;
}

// Whether `E` is an error type is not to be asked here; `ScriptError::native` keeps it for those who know.
impl<E: fmt::Display + 'static> IntoNativeError for E {
    fn into_native_error(self) -> Box<NativeError> {
        // A nested callback's error goes on as it is; its place and traceback are worth more than its text.
        let error: Box<dyn std::any::Any> = Box::new(self);
        let error = match error.downcast::<ScriptError>() {
            Ok(error) => return (*error).into(),
            Err(other) => other,
        };
        match error.downcast::<Box<dyn std::error::Error + Send + Sync>>() {
            Ok(error) => ScriptError::native(*error).into(),
            Err(other) => {
                let message = other.downcast_ref::<E>().map(ToString::to_string).unwrap_or_default();
                ScriptError::new(ErrorCode::NativeError, message).into()
            }
        }
    }
}

impl IntoNativeError for NativeExit {
    fn into_native_error(self) -> Box<NativeError> {
        Box::new(match self {
            NativeExit::Exit => NativeError::Exit,
            NativeExit::Drop => NativeError::Drop,
        })
    }
}

impl IntoNativeError for Box<NativeError> {
    fn into_native_error(self) -> Box<NativeError> {
        self
    }
}
