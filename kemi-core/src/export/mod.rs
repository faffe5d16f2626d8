//! One native function: its description, its two entries, and the conversions of its parameters and its result.

mod call;
mod convert;
mod def;
mod entry;
mod exit;
pub(crate) mod expansion;
mod panic;
mod script;

pub use self::call::{Call, bad_argument};
pub use self::convert::{CallbackName, FromArg, IntoRet, IntoValue, Mismatch, Rest};
pub use self::def::{ContextType, Deprecated, EXPORTS, ExportDef, NoContext, Param};
pub use self::entry::{Thunk, Typed};
pub(crate) use self::exit::MODULE;
pub use self::panic::caught;
pub(crate) use self::panic::panic_text;
pub(crate) use self::script::Caller;
pub use self::script::Script;
