//! Errors of scripts and native functions, and a native function's exit or drop.
//!
//! The lowest room: it knows no other.

mod native_error;
mod nearest;
mod script_error;

pub use self::native_error::{IntoNativeError, NativeError, NativeExit};
pub use self::nearest::nearest;
pub(crate) use self::script_error::Trace;
pub use self::script_error::{BadArgument, ErrorCode, ErrorFields, Frame, Location, ScriptError};
