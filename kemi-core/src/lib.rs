//! **Write a Rust function once; call it from any script language.**
//!
//! This crate is the part that knows neither a language nor a protocol:
//!
//! 1. An *export* is a Rust function that `#[kemi_export]` has described in an [`ExportDef`].
//! 2. A [`Registry`] is the sorted, checked table of the exports of one host, with its [`Callbacks`].
//! 3. An [`Engine`] binds a registry into an interpreter; [`find_engine`] gives the linked ones by name.
//! 4. An [`Instance`] is a loaded script on one thread: the host calls its callbacks, the script calls exports.
//! 5. A [`Program`] is the script of all workers of a host, which can be replaced while they work.
//!
//! A call ends in an [`Outcome`] or a [`ScriptError`]. Most users name the facade crate `kemi`, which re-exports this
//! one; authors of modules and engines depend on this one alone.

extern crate self as kemi_core;

// A panic of a native function ends its call, not the host: with `panic = "abort"` nothing could keep that promise.
const _: () = assert!(
    cfg!(panic = "unwind"),
    "KEMI needs `panic = \"unwind\"`: a panic of a native function becomes an error of the script that called it"
);

mod abi;
mod callback;
mod engine;
mod error;
mod export;
mod limits;
mod program;
mod registry;
mod telemetry;
mod value;

pub use self::abi::{Kind, Out, RawArg, RawBytes, RawOut, RawRet, Ret, Shape};
pub use self::callback::{CallbackDecl, CallbackId, Callbacks, Outcome, Presence, RouteId};
pub use self::engine::{
    Compiled, CompiledFn, Engine, Interpreter, MAX_NESTED_CALLBACKS, Reference, Runtime, Source, UnknownEngine,
    engines, find_engine, interpreter_lock, while_waiting,
};
pub use self::error::{
    BadArgument, Control, ErrorCode, ErrorFields, Fault, Frame, IntoFault, Place, ScriptError, nearest,
};
pub use self::export::{
    Call, CallbackName, ContextType, Deprecated, EXPORTS, ExportDef, FromArg, IntoRet, IntoValue, Mismatch, NoContext,
    Param, Rest, Script, Thunk, Typed,
};
#[cfg(feature = "stack")]
pub use self::limits::stack;
pub use self::limits::{CountingAllocator, Interrupt, Limit, Limits, held_bytes, interrupt};
pub use self::program::{Instance, LoadError, Program, ProgramStatus, Reloaded, Settings, Wake, Worker, WorkerStatus};
pub use self::registry::{Export, NameRole, Registry, RegistryBuilder, RegistryData, RegistryError};
#[cfg(feature = "prometheus")]
pub use self::telemetry::MetricsCollector;
pub use self::telemetry::{CallbackMetrics, Durations, ErrorLog, ExportMetrics, Insight, Metrics, log_guarded};
pub use self::value::{
    Arg, ByteString, Coercions, ConversionBudget, MAX_VALUE_BYTES, MAX_VALUE_DEPTH, MAX_VALUE_ELEMENTS, Map, Policy,
    Type, Value,
};

// Not public API. Used by generated code.
#[doc(hidden)]
pub mod __private {
    pub use crate::abi::has_shape;
    pub use crate::engine::Announcement;
    pub use crate::export::expansion::*;
    pub use crate::export::{bad_argument, caught};
    pub use crate::registry::LanguageNames;
    pub use inventory;
    pub use linkme;
}
