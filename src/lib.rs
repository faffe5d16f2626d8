//! **Write a Rust function once; call it from Lua, Python, JavaScript and Rhai. One config line chooses the language.**
//!
//! ```
//! use kemi::{Callbacks, Registry, kemi_export};
//!
//! /// The host's own context: what its functions work on.
//! struct Counter(i64);
//!
//! /// Adds to the counter.
//! #[kemi_export(module = "counter")]
//! fn add(cx: &mut Counter, n: i64) -> i64 {
//!     cx.0 += n;
//!     cx.0
//! }
//!
//! let mut callbacks = Callbacks::new();
//! let start = callbacks.required("start", "on_start", &[]);
//! let registry = Registry::<Counter>::builder().root("app").all_modules().callbacks(callbacks).build()?;
//! assert!(registry.find("counter", "add").is_some());
//! # let _ = start;
//! # Ok::<(), kemi::registry::RegistryError>(())
//! ```
//!
//! From there a host calls [`link`] once, finds an engine with [`find_engine`], loads a script with
//! [`Instance::load`] and calls its callbacks with [`Instance::call`]. `examples/hello` is the whole of it.
//!
//! This crate is a facade: the types come from `kemi-core`, the attribute from `kemi-macros`, and each engine from a
//! crate of its own behind a feature. Without features no interpreter is built.
//!
//! # Features
//!
//! | feature | engine | names for [`find_engine`] |
//! |---|---|---|
//! | `lua` | Lua 5.4, vendored | `lua`, `luajit` |
//! | `luajit` | LuaJIT 2.1, unless `lua` is asked for as well | the same |
//! | `rhai` | Rhai | `rhai` |
//! | `python` | the CPython 3 found at build time, embedded | `python`, `python3` |
//! | `js` | JavaScript on Boa | `js`, `javascript` |
//!
//! The feature `pool`, on by default, adds [`Pool`] and [`Actor`]: threads that run scripts, for calls from anywhere.
//! The feature `prometheus` adds `RegistryData::metrics_collector` for the crate `prometheus-client`.

// Expansions of the attribute inside this crate name it by this path.
extern crate self as kemi;

pub use kemi_core::*;
pub use kemi_macros::{Value, kemi_export};

/// Links the engines of the enabled features into the program.
///
/// A crate that nothing mentions is not linked, and its engine would not be found. Calling this once, anywhere, is
/// enough.
pub fn link() {
    #[cfg(any(feature = "lua", feature = "luajit"))]
    kemi_lua::link();
    #[cfg(feature = "rhai")]
    kemi_rhai::link();
    #[cfg(feature = "python")]
    kemi_python::link();
    #[cfg(feature = "js")]
    kemi_js::link();
}

/// The guide: how to embed scripts, one page a subject.
#[cfg(any(doc, doctest))]
pub mod guide {
    #[doc = include_str!("../docs/guide/embedding.md")]
    pub mod embedding {}

    #[doc = include_str!("../docs/guide/engines.md")]
    pub mod engines {}

    #[doc = include_str!("../docs/guide/limits.md")]
    pub mod limits {}

    #[doc = include_str!("../docs/guide/modules.md")]
    pub mod modules {}

    #[doc = include_str!("../docs/guide/objects.md")]
    pub mod objects {}

    #[doc = include_str!("../docs/guide/reload.md")]
    pub mod reload {}

    #[doc = include_str!("../docs/guide/testing.md")]
    pub mod testing {}

    #[cfg(feature = "pool")]
    #[doc = include_str!("../docs/guide/threads-and-async.md")]
    pub mod threads_and_async {}

    #[doc = include_str!("../docs/guide/values.md")]
    pub mod values {}
}

/// The README's code is compiled with the documentation's.
#[cfg(all(doctest, feature = "lua", feature = "python", feature = "js", feature = "rhai"))]
#[doc = include_str!("../README.md")]
struct Readme;
