//! What a call costs: each bench asks one question and has its baseline beside it.
//!
//! [`natives`] are the functions that scripts call; [`ours`] exports them by KEMI, [`floor`] binds the same by hand and
//! by each binding crate's usual way. All of them are a [`Subject`], whose loops run inside the script.

pub mod floor;
pub mod memory;
pub mod micro;
pub mod natives;
pub mod ours;
pub mod questions;
pub mod route;
pub mod scripts;
pub mod timing;

use scripts::HostCall;

/// An interpreter with the bench script of its language, bound in one way.
pub trait Subject {
    /// Runs the script's loop of a name, `loop_<shape>` or `loop_empty`, with so many turns.
    fn repeat(&mut self, name: &str, turns: u64);

    /// Calls a function of the script that many times from outside.
    fn call(&mut self, callback: HostCall, times: u64);
}

/// A script language.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// Lua 5.4.
    Lua,
    /// CPython 3.
    Python,
    /// Rhai.
    Rhai,
    /// JavaScript on Boa.
    Js,
}

impl Language {
    /// All of them.
    pub const ALL: [Language; 4] = [Language::Lua, Language::Python, Language::Rhai, Language::Js];

    /// Returns the engine's name, as `cfgengine` takes it.
    #[must_use]
    pub fn engine(self) -> &'static str {
        match self {
            Language::Lua => "lua",
            Language::Python => "python",
            Language::Rhai => "rhai",
            Language::Js => "js",
        }
    }

    /// Returns the ending of script files.
    #[must_use]
    pub fn ending(self) -> &'static str {
        match self {
            Language::Python => "py",
            other => other.engine(),
        }
    }
}
