//! The global part of `kamailio.cfg`: preprocessor, parser and a check against what the host knows.
//!
//! Routing lives in a script; what is read here is everything around it: `name=value`, `listen=`,
//! `loadmodule`, `modparam`, `cfgengine`, and the preprocessor (`#!define`, `#!ifdef`,
//! `include_file` …). Reading has two stages, and each reports all its errors at once:
//!
//! 1. [`parse_file`] (or [`parse_str`], [`parse_bytes`], [`parse_with`]) gives a [`Config`]: what the
//!    text says, each item with its [`Place`].
//! 2. [`Schema::check`] compares it with the parameters and modules of this host and gives
//!    [`Settings`]: typed lookups that need no further checks.
//!
//! # Preprocessor
//!
//! A directive is first on its line and starts with `#!`, `//!` or `!!`. A false `#!ifdef` block may
//! hold any text. Where a defined name stands as a word in a statement, the text of its value takes
//! its place, again with all names in it replaced; a name directly before `=` is a parameter's name
//! and stays.
//!
//! A name defined twice in files is an error (`#!trydef` and `#!redef` exist for that). A name given
//! on the command line exists before the file is read **and wins**: a `#!define` or `#!redef` of it
//! in a file is skipped with a note in [`Config::notes`]. This is an extension; it lets an
//! unmodified file run with another script or database.
//!
//! # Examples
//!
//! ```
//! # use sip_modules::config::{self, Defines, Module, Param, Schema};
//! let schema = Schema::new()
//!     .global(Param::int("children", 1, 64).default_int(2).doc("Worker threads."))
//!     .module(Module::new("tm").param(Param::int("fr_timer", 1, 600_000).default_int(30_000)))
//!     .engine("lua", &[]);
//! let text = "children=4\nloadmodule \"tm.so\"\ncfgengine \"lua\"\n";
//! let config = config::parse_str(text, "proxy.cfg", &Defines::new())?;
//! let settings = schema.check(&config)?;
//! assert_eq!(settings.int("children"), Some(4));
//! assert_eq!(settings.module_int("tm", "fr_timer"), Some(30_000));
//!
//! let config = config::parse_str("childern=4", "proxy.cfg", &Defines::new())?;
//! assert_eq!(
//!     schema.check(&config).unwrap_err().to_string(),
//!     "proxy.cfg:1: unknown parameter 'childern': did you mean 'children'?",
//! );
//! # Ok::<(), config::ConfigErrors>(())
//! ```

mod address;
mod ast;
mod check;
mod define;
mod error;
mod help;
mod lexer;
mod parser;
mod place;
mod preprocess;
mod schema;
mod settings;
mod suggest;

pub use address::{Address, Protocol};
pub use ast::{Alias, Config, EngineChoice, Listen, LoadModule, ModParam, Note, Setting, Value};
pub use define::Defines;
pub use error::{ConfigError, ConfigErrors, ErrorKind};
pub use parser::{parse_bytes, parse_file, parse_str, parse_with};
pub use place::Place;
pub use schema::{Kind, Module, Param, Schema};
pub use settings::Settings;

#[cfg(test)]
mod tests;
