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
mod errors;
mod guard;
mod imports;
mod interpreter;
mod json;
mod library;
mod limits;
mod parse;
mod raised;
mod references;
mod reserved;
mod shapes;
mod text;
mod tokens;
mod values;

pub use engine::{RhaiEngine, link};
