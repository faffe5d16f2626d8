//! The JavaScript engine of KEMI for Rust, on [Boa](https://boajs.dev): pure Rust, ECMAScript modules excepted.
//!
//! A script is one or more classic scripts that share one global scope. Callbacks are its global functions, declared
//! by `function`, `var`, or at the top level by `let` and `const`. Exports are functions of the root object, grouped in one
//! object per module.
//!
//! ```
//! use kemi_core::export::NoContext;
//! use kemi_core::{Callbacks, Instance, Outcome, Registry, Source, Value};
//!
//! kemi_js::link();
//! let mut callbacks = Callbacks::new();
//! let start = callbacks.required("start", "on_start", &["name"]);
//! let registry = Registry::<NoContext>::builder().root("app").callbacks(callbacks).build()?;
//! let script = Source::text("hello.js", "function on_start(name) { return `Hello, ${name}!`; }");
//! let instance = Instance::load(kemi_core::find_engine("js")?, &registry, &[script])?;
//! let greeting = instance.call(start, &mut NoContext, &["world".into()])?;
//! assert_eq!(greeting, Outcome::Value(Value::from("Hello, world!")));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![doc = include_str!("../docs/values.md")]
#![doc = include_str!("../docs/scripts.md")]
#![doc = include_str!("../docs/limits.md")]

mod bind;
mod call;
mod console;
mod engine;
mod error;
mod functions;
mod import;
mod integrity;
mod interpreter;
mod interrupt;
mod jobs;
mod library;
mod memory;
mod nesting;
mod objects;
mod references;
mod reserved;
mod sandbox;
mod source;
mod stack;
mod string;
mod terminate;
mod trampoline;
mod value;

pub use engine::JsEngine;

/// Links the engine into the program, so that hosts find it as `js`.
///
/// A crate that is only listed as a dependency is not linked; call this once from the host.
pub fn link() {
    std::hint::black_box(&engine::ENGINE);
}
