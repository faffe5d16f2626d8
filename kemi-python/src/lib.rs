//! **The Python engine of KEMI: scripts run in the CPython that the program is linked with.**
//!
//! A host calls [`link()`] once and asks for the engine by the name `python`; the engine itself is [`PythonEngine`].
//!
#![doc = include_str!("../docs/scripts.md")]
#![doc = include_str!("../docs/values.md")]
#![doc = include_str!("../docs/limits.md")]
#![doc = include_str!("../docs/hosts.md")]

mod attach;
mod bind;
mod call;
mod console;
mod current;
mod engine;
mod error;
mod functions;
mod import;
mod integrity;
mod interpreter;
mod interrupt;
mod library;
mod memory;
mod objects;
mod prelude;
mod references;
mod reserved;
mod sandbox;
mod signal;
mod string;
mod terminate;
mod trampoline;
mod value;

pub use attach::{attached, detached};
pub use engine::PythonEngine;

/// Makes sure that the engine is linked: a crate that a program never mentions is left out.
pub fn link() {}
