//! **Write a Rust function once; call it from any script language.**
//!
//! This crate is the part that knows neither a language nor a protocol:
//!
//! 1. An *export* is a Rust function that `#[kemi_export]` has described in an [`ExportDef`](export::ExportDef).
//! 2. A [`Registry`] is the sorted, checked table of the exports of one host, with its [`Callbacks`].
//! 3. An [`Engine`] binds a registry into an interpreter; [`find_engine`] gives the linked ones by name.
//! 4. An [`Instance`] is a loaded script on one thread: the host calls its callbacks, the script calls exports.
//! 5. A [`Program`] is the script of all workers of a host, which can be replaced while they work.
//!
//! A call ends in an [`Outcome`] or a [`ScriptError`]. Most users name the facade crate `kemi`, which re-exports this
//! one; authors of modules and engines depend on this one alone.
//!
//! # Where to find what
//!
//! The names at the root are those that a host and its functions need. Each lives in a room with its kin, and no room knows
//! the ones above it:
//!
//! | room | what is in it |
//! |---|---|
//! | `threads` | scripts on threads of their own: a pool, an actor; with the feature `pool` |
//! | [`program`] | loaded scripts: one on its thread, and the versions that all workers run |
//! | [`engine`] | the contract with an interpreter, for authors of engines |
//! | [`registry`] | the table of everything a script may call |
//! | [`limits`] | how much a call may use, the watchdog, the counting allocator |
//! | [`export`] | one native function: its description, its entries, its conversions |
//! | [`telemetry`] | what is counted, timed and logged |
//! | [`callback`] | the functions of a script that the host calls |
//! | [`abi`] | parameters and results as machine words, for authors of engines |
//! | [`value`] | values, their types, the policy for bad arguments |
//! | [`error`] | errors, and how a native function ends without a result |

extern crate self as kemi_core;

// A panic of a native function ends its call, not the host: with `panic = "abort"` nothing could keep that promise.
const _: () = assert!(
    cfg!(panic = "unwind"),
    "KEMI needs `panic = \"unwind\"`: a panic of a native function becomes an error of the script that called it"
);

pub mod abi;
pub mod callback;
pub mod engine;
pub mod error;
pub mod export;
pub mod limits;
pub mod program;
pub mod registry;
pub mod telemetry;
#[cfg(feature = "pool")]
pub mod threads;
pub mod value;

pub use self::callback::{CallbackId, Callbacks, Outcome, RouteId};
pub use self::engine::{Engine, NativeEngine, Source, engines, find_engine, while_waiting};
pub use self::error::{ErrorCode, Location, NativeError, NativeExit, ScriptError};
pub use self::export::{Blob, CallArgs, CallbackName, FromOutcome, Lent, Script, Serde};
pub use self::limits::{CountingAllocator, Limits, Profile};
pub use self::program::{Instance, Program, Settings, Worker};
pub use self::registry::Registry;
pub use self::telemetry::TelemetryConfig;
#[cfg(feature = "pool")]
pub use self::threads::{Actor, Pool};
pub use self::value::{Arg, ArgumentPolicy, ByteString, Function, Handle, Map, Object, Owner, Value};

// Not public API. Used by generated code.
#[doc(hidden)]
pub mod __private {
    pub use crate::abi::{RawArg, RawObject, RawRet, Ret, arg_of, has_shape};
    pub use crate::engine::Announcement;
    pub use crate::error::NativeError;
    pub use crate::export::derived::{Fields, MapBuilder, Named, carrying};
    pub use crate::export::expansion::*;
    pub use crate::export::{
        CLASSES, CONSTANTS, Call, ClassMember, ConstantDef, ContextType, Deprecated, EXPORTS, ExportDef, FromArg,
        IntoRet, IntoValue, Mismatch, NoContext, Operator, OwnedResult, Param, Role, Sealed, Slot, Thunk, Typed,
        bad_argument, caught, on_raw_object, on_raw_object_mut,
    };
    pub use crate::registry::LanguageNames;
    pub use crate::value::{Class, EnumType, Field, Handle, ObjectClass, StructType, Type, Variant};
    pub use inventory;
    pub use linkme;
}
