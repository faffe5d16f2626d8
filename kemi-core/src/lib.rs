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

mod callback;
mod checks;
mod compiled;
mod control;
mod convert;
mod engine;
mod error;
mod error_log;
mod expansion;
mod export;
mod insight;
mod instance;
pub mod interrupt;
mod limits;
mod log;
mod memory;
mod metrics;
mod policy;
mod program;
mod references;
mod registry;
mod runtime;
mod settings;
mod source;
#[cfg(feature = "stack")]
pub mod stack;
mod suggest;
mod throttle;
mod types;
mod value;
mod waiting;
mod watch;

pub use callback::{CallbackDecl, CallbackId, Callbacks, Presence, RouteId};
pub use compiled::{Compiled, CompiledFn};
pub use convert::{CallbackName, FromArg, IntoRet, IntoValue, Mismatch, Rest};
pub use engine::{Engine, Interpreter, NameRole, UnknownEngine, engines, find_engine};
pub use error::{BadArgument, Control, ErrorCode, ErrorFields, Fault, Frame, IntoFault, Place, ScriptError};
pub use error_log::ErrorLog;
pub use export::{
    Call, ContextType, Deprecated, EXPORTS, ExportDef, NoContext, Out, Param, RawArg, RawBytes, RawOut, RawRet, Ret,
    Shape, Thunk, Typed,
};
pub use insight::Insight;
pub use instance::Instance;
pub use limits::{Limit, Limits};
pub use log::log_guarded;
pub use memory::{CountingAllocator, held_bytes};
pub use metrics::{CallbackMetrics, Durations, ExportMetrics, Metrics, MetricsCollector};
pub use policy::{Coercions, Policy};
pub use program::{Program, ProgramStatus, Reloaded, Wake, Worker, WorkerStatus};
pub use references::Reference;
pub use registry::{Export, Registry, RegistryBuilder, RegistryData, RegistryError};
pub use runtime::{MAX_NESTED_CALLBACKS, Outcome, Runtime, Script};
pub use settings::{LoadError, Settings};
pub use source::Source;
pub use suggest::nearest;
pub use types::{Kind, Type};
pub use value::{Arg, ByteString, ConversionBudget, MAX_VALUE_BYTES, MAX_VALUE_DEPTH, MAX_VALUE_ELEMENTS, Map, Value};
pub use waiting::while_waiting;
pub use watch::Interrupt;

/// The lock that the interpreters of a language share; for authors of engines.
pub mod interpreter_lock {
    pub use crate::waiting::{Held, InterpreterLock, enter};
}

// Not public API. Used by generated code.
#[doc(hidden)]
pub mod __private {
    pub use crate::engine::Announcement;
    pub use crate::expansion::*;
    pub use inventory;
    pub use linkme;
}
