//! The engines that are linked into the program, by name.

use std::fmt;

use super::contract::Engine;
use crate::error::nearest;

/// An announced engine; see [`announce_engine!`](crate::announce_engine).
#[doc(hidden)]
#[derive(Debug)]
pub struct Announcement(pub &'static dyn Engine);

inventory::collect!(Announcement);

/// Announces an engine to every program that links the crate.
///
/// A crate that is only listed as a dependency is not linked: give it a `link()` function for hosts to call.
#[macro_export]
macro_rules! announce_engine {
    ($engine:expr) => {
        $crate::__private::inventory::submit! { $crate::__private::Announcement($engine) }
        $crate::__private::inventory::submit! {
            $crate::__private::LanguageNames {
                engine: || $crate::Engine::name($engine),
                reserved: |name, role| $crate::Engine::reserved($engine, name, role),
            }
        }
    };
}

/// Returns the announced engines, sorted by name.
#[must_use]
pub fn engines() -> Vec<&'static dyn Engine> {
    let mut engines: Vec<&'static dyn Engine> = inventory::iter::<Announcement>().map(|a| a.0).collect();
    engines.sort_by_key(|engine| engine.name());
    engines
}

/// Finds an announced engine by its name or an alias; case does not matter.
///
/// # Errors
/// [`UnknownEngine`] with the engines that are linked.
pub fn find_engine(name: &str) -> Result<&'static dyn Engine, UnknownEngine> {
    let wanted = name.to_ascii_lowercase();
    let all = engines();
    all.iter()
        .copied()
        .find(|engine| engine.name() == wanted || engine.aliases().contains(&wanted.as_str()))
        .ok_or_else(|| UnknownEngine {
            name: name.to_owned(),
            linked: all.iter().map(|engine| engine.name()).collect(),
            near: nearest(&wanted, all.iter().flat_map(|e| e.aliases().iter().copied().chain([e.name()])))
                .map(str::to_owned),
        })
}

/// No engine of that name is linked into the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownEngine {
    /// The name asked for.
    pub name: String,
    /// The names of the linked engines.
    pub linked: Vec<&'static str>,
    near: Option<String>,
}

impl fmt::Display for UnknownEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "there is no script engine '{}'", self.name)?;
        if let Some(near) = &self.near {
            write!(f, "; did you mean '{near}'?")?;
        }
        if self.linked.is_empty() {
            f.write_str("; no engine is linked into this program: enable one of its features and call `link()`")
        } else {
            write!(f, "; linked engines: {}", self.linked.join(", "))
        }
    }
}

impl std::error::Error for UnknownEngine {}
