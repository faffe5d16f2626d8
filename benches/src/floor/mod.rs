//! The same functions bound by hand as an expert would, and by each binding crate's usual way.
//!
//! The hand-written bindings do what ours do as far as the script can tell: they check the number and types of the
//! arguments and the encoding of text. They have no limits, no gates, and no place for an error but the script.

pub mod js;
pub mod lua;
pub mod python;
pub mod rhai;

use crate::{Language, Subject};

/// How the functions are bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// By hand, at the level of the interpreter's own interface.
    Floor,
    /// As the binding crate's documentation suggests.
    Idiomatic,
}

/// Loads the bench script into a fresh interpreter of a language.
///
/// # Panics
/// If it does not load.
#[must_use]
pub fn subject(language: Language, way: Way) -> Box<dyn Subject> {
    match language {
        Language::Lua => Box::new(lua::Lua::new(way)),
        Language::Python => Box::new(python::Python::new(way)),
        Language::Rhai => Box::new(rhai::Rhai::new(way)),
        Language::Js => Box::new(js::Js::new(way)),
    }
}
