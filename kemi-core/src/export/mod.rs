//! One native function: its description, its two entries, and the conversions of its parameters and its result.

mod call;
mod class;
mod constant;
mod convert;
mod def;
pub(crate) mod derived;
mod entry;
mod exit;
pub(crate) mod expansion;
mod host_function;
mod panic;
mod script;
mod typed_call;
mod waiting;

pub use self::call::{Call, bad_argument};
pub use self::class::{CLASSES, ClassMember, Operator, Role};
#[doc(hidden)]
pub use self::class::{on_raw_object, on_raw_object_mut};
pub use self::constant::{CONSTANTS, ConstantDef};
#[doc(hidden)]
pub use self::convert::sealed::Sealed;
pub use self::convert::{Blob, CallbackName, FromArg, IntoRet, IntoValue, MapKey, Mismatch, OwnedResult, Rest, Serde};
pub use self::def::{ContextType, Deprecated, EXPORTS, ExportDef, NoContext, Param};
pub use self::entry::{Thunk, Typed};
pub(crate) use self::exit::MODULE;
pub(crate) use self::host_function::HostClosure;
pub use self::host_function::{HostFunction, WithContext};
pub use self::panic::caught;
pub(crate) use self::panic::panic_text;
pub(crate) use self::script::Caller;
pub use self::script::Script;
pub use self::typed_call::{CallArgs, FromOutcome, IntoArg};
pub use self::waiting::Lent;
#[doc(hidden)]
pub use self::waiting::Slot;
