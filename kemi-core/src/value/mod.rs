//! Values that cross between the host and a script, their types, and the policy for bad arguments.

mod arg;
mod budget;
mod coerce;
mod function;
mod object;
mod owned;
mod serde;
mod types;

pub use self::arg::Arg;
pub use self::budget::{ConversionBudget, MAX_VALUE_BYTES, MAX_VALUE_DEPTH, MAX_VALUE_ELEMENTS};
pub use self::coerce::{ArgumentPolicy, CompatCoercions};
pub use self::function::Function;
pub(crate) use self::function::FunctionTable;
pub use self::object::{Class, Handle, Object, ObjectClass, Owner};
pub use self::owned::{ByteString, Map, Value};
pub use self::serde::SerdeError;
pub use self::types::{EnumType, Field, StructType, Type, Variant};
