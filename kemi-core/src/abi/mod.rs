//! Parameters and results of a native call as engines pass them: machine words, and their shapes.

mod raw;
mod ret;
mod shape;

pub use self::raw::{RawArg, RawBytes, RawObject, RawOut, RawRet};
pub use self::ret::{Out, Ret, arg_of};
#[doc(hidden)]
pub use self::shape::has_shape;
pub use self::shape::{Kind, Shape};
