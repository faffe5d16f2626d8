//! The Rhai engine of KEMI for Rust.
//!
//! Call [`link`] once in the host, and the setting `cfgengine = "rhai"` finds it. Scripts call native functions as
//! `KSR.pv.get("$rm")`, like scripts of the other languages; the host calls plain functions of the script.
//!
#![doc = include_str!("../docs/values.md")]
#![doc = include_str!("../docs/limits.md")]

mod bind;
mod call;
mod engine;
mod error;
mod error_object;
mod import;
mod integrity;
mod interpreter;
mod interrupt;
mod library;
mod parse;
mod references;
mod reserved;
mod sandbox;
mod string;
mod trampoline;
mod value;

pub use engine::{RhaiEngine, link};
