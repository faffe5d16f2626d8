//! The Rhai engine of KEMI for Rust.
//!
//! Call [`link`] once in the host, and it is found by the name `rhai`. Scripts call native functions as members of the root
//! object, `root.module.function(…)`, like scripts of the other languages; the host calls plain functions of the script.
//!
#![doc = include_str!("../docs/values.md")]
#![doc = include_str!("../docs/limits.md")]

mod bind;
mod call;
mod console;
mod engine;
mod error;
mod error_object;
mod functions;
mod import;
mod integrity;
mod interpreter;
mod interrupt;
mod library;
mod memory;
mod objects;
mod parse;
mod program;
mod references;
mod reserved;
mod sandbox;
mod stack;
mod string;
mod terminate;
mod trampoline;
mod value;

pub use engine::{RhaiEngine, link};
