//! The contract between the host and an interpreter: the traits that an engine implements, and the runtime that it calls.

mod budget;
mod call_state;
mod contract;
mod diagnostics;
mod find;
mod functions;
mod host_access;
mod host_to_script;
pub mod interpreter_lock;
mod modules;
mod native_engine;
mod objects;
mod reference;
mod runtime;
mod script_calls;
mod script_to_host;
mod source;

pub use self::contract::{Confinement, Engine, Interpreter};
pub use self::find::{Announcement, UnknownEngine, engines, find_engine};
pub(crate) use self::host_access::{Closed, time_of};
pub use self::interpreter_lock::while_waiting;
pub use self::modules::ModuleFolders;
pub use self::native_engine::{NativeCallback, NativeEngine};
pub use self::objects::HeldObject;
pub use self::reference::Reference;
pub use self::runtime::{MAX_NESTED_CALLBACKS, Runtime};
pub(crate) use self::script_calls::{missing_callback, replaced};
pub use self::source::Source;
