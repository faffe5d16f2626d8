//! The Lua engine of KEMI: scripts in Lua 5.4 (feature `lua54`, the default), or in LuaJIT 2.1 with the feature `luajit`
//! alone. If both features are asked for, it is Lua 5.4: one program has one of them.
//!
//! Call [`link`] once in a host; then the engine is found as `"lua"`. Every instance has an interpreter of its own.
//!
//! - A script sees the registry as the root object, which is made of nested plain tables. A lookup that misses gives `nil`, so
//!   `if root.module then … end` works; calling what is not there is an error that names the nearest function. Modules in modules
//!   are tables in tables, and constants plain values; what a script has put in their place is put back after a call that failed.
//! - The exits of the root object and `os.exit()` end the innermost callback. No `pcall`, `xpcall`, coroutine,
//!   comparator or metamethod can catch that. At a script's top level they end the loading of all files without an error.
//! - Which libraries a script has is the host's choice, by [`Profile`](kemi_core::Profile). In `open` all are there and `require` looks in
//!   the folders of the scripts first; C libraries cannot be loaded. Of `debug` there are
//!   `traceback` and `getinfo`; `os.setlocale` (it would change the whole process) and binary chunks are taken out.
//! - `print` and `warn` write to `tracing` under the target `script`.
//! - On LuaJIT the compiler is on only where no limit needs it off (see below), the `ffi` library is not there, and numbers are doubles.
//!
#![doc = include_str!("../docs/values.md")]
#![doc = include_str!("../docs/limits.md")]

mod bind;
mod call;
mod console;
mod engine;
mod error;
mod error_object;
mod ffi;
mod frames;
mod functions;
mod import;
mod integrity;
mod interpreter;
mod interrupt;
mod library;
mod memory;
mod objects;
mod references;
mod reserved;
mod sandbox;
mod string;
mod terminate;
mod threads;
mod trampoline;
mod value;

pub use engine::LuaEngine;

/// Makes sure that the engine is linked into the program.
///
/// A crate that is only listed as a dependency is not linked, and its engine stays unknown.
pub fn link() {
    std::hint::black_box(LuaEngine);
}
