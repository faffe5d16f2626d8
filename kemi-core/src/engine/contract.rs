//! The traits that a script engine implements, and the list of engines linked into a program.

use std::fmt;
use std::rc::Rc;

use super::reference::Reference;
use super::runtime::Runtime;
use super::source::Source;
use crate::callback::CallbackId;
use crate::error::{ErrorCode, Location, ScriptError};
use crate::registry::NameRole;
use crate::value::{Arg, CompatCoercions, Value};

/// A script language that a host can choose by name.
///
/// Implement it once per language and announce it with [`announce_engine!`](crate::announce_engine); hosts find it by
/// [`find_engine`](crate::find_engine). An engine that a host builds itself needs no announcement: pass it to
/// [`Instance::load`](crate::Instance::load).
pub trait Engine: Send + Sync + fmt::Debug {
    /// Returns the engine's name in lower case, as [`find_engine`](crate::find_engine) takes it.
    fn name(&self) -> &'static str;

    /// Returns other names of the engine, also in lower case.
    fn aliases(&self) -> &'static [&'static str] {
        &[]
    }

    /// Returns the language with its version, for messages.
    fn language(&self) -> String;

    /// Returns the coercions of [`ArgumentPolicy::Compat`](crate::ArgumentPolicy::Compat) in this language.
    fn coercions(&self) -> CompatCoercions {
        CompatCoercions::default()
    }

    /// Returns the index of a list's first element in the language, for messages such as `items[1]`.
    fn first_index(&self) -> usize {
        0
    }

    /// Returns the meaning of a name in the language, such as `"a keyword"`, if scripts cannot use something of the host under
    /// that name; `None` for all other names.
    ///
    /// A [`Registry`](crate::Registry) with such a name is refused.
    fn reserved(&self, _name: &str, _role: NameRole) -> Option<&'static str> {
        None
    }

    /// Returns whether the engine keeps from scripts what a [`Profile`](crate::Profile) does not allow.
    ///
    /// One that does takes [`RegistryData::profile`](crate::registry::RegistryData::profile) and
    /// [`Runtime::modules`] into account in [`load`](Self::load). The default does not, so a host that demands confinement gets an
    /// error, and the others a line in the log.
    fn confinement(&self) -> Confinement {
        Confinement::Impossible("the engine does not confine scripts")
    }

    /// Lists the script's references to the root object, as the language's own parser sees them.
    ///
    /// They are checked before the script reaches them. Comments and strings are no references. The host calls this after
    /// the script was loaded, within the limits of loading. The default lists nothing.
    ///
    /// # Errors
    /// A source that cannot be parsed, such as one that is nested too deep.
    fn references(&self, _source: &Source, _root: &str) -> Result<Vec<Reference>, ScriptError> {
        Ok(Vec::new())
    }

    /// Creates an interpreter on the calling thread, binds the registry's exports into it and runs the sources' top
    /// level in order.
    ///
    /// # Errors
    /// A file that cannot be read, a syntax error, or an error of the top level. A failed load leaves nothing behind.
    fn load(&self, runtime: Rc<Runtime>, sources: &[Source]) -> Result<Box<dyn Interpreter>, ScriptError>;
}

/// Whether an engine can confine scripts, for [`Engine::confinement`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confinement {
    /// It keeps every profile.
    Kept,
    /// It keeps none but [`Profile::open`](crate::Profile::open), for this reason.
    Impossible(&'static str),
}

impl Engine for &'static dyn Engine {
    fn name(&self) -> &'static str {
        (**self).name()
    }

    fn aliases(&self) -> &'static [&'static str] {
        (**self).aliases()
    }

    fn language(&self) -> String {
        (**self).language()
    }

    fn coercions(&self) -> CompatCoercions {
        (**self).coercions()
    }

    fn first_index(&self) -> usize {
        (**self).first_index()
    }

    fn reserved(&self, name: &str, role: NameRole) -> Option<&'static str> {
        (**self).reserved(name, role)
    }

    fn confinement(&self) -> Confinement {
        (**self).confinement()
    }

    fn references(&self, source: &Source, root: &str) -> Result<Vec<Reference>, ScriptError> {
        (**self).references(source, root)
    }

    fn load(&self, runtime: Rc<Runtime>, sources: &[Source]) -> Result<Box<dyn Interpreter>, ScriptError> {
        (**self).load(runtime, sources)
    }
}

/// A loaded script. It stays on the thread that made it.
///
/// All methods take `&self`, since a native function may call back into the script that called it. Script code that runs
/// while the interpreter is dropped, such as finalizers, has the limits of a call and must be interruptible like one.
pub trait Interpreter {
    /// Returns whether the script defines a function that can be called as a callback.
    fn resolve(&self, name: &str) -> bool;

    /// Checks that the script's function of this name takes so many arguments.
    ///
    /// Called for functions that [`resolve`](Self::resolve) finds. The default accepts any number, for languages that fill
    /// up missing arguments and ignore surplus ones.
    ///
    /// # Errors
    /// The mismatch of the function's parameters, with the place of its definition.
    fn accepts(&self, _name: &str, _arguments: usize) -> Result<(), ScriptError> {
        Ok(())
    }

    /// Returns the names of functions that could be callbacks, for suggestions.
    fn functions(&self) -> Vec<String>;

    /// Calls a callback by the handle cached for it, resolved by name on its first use.
    ///
    /// If the [`Runtime`] has noted an exit or drop, the result does not matter.
    ///
    /// # Errors
    /// The error that the script raised, with place and traceback; [`MissingCallback`](crate::ErrorCode::MissingCallback)
    /// if the script does not define the callback.
    fn call(&self, callback: CallbackId, args: &[Arg<'_>]) -> Result<Value, ScriptError>;

    /// Calls a function that the script has passed to the host and the engine has stored under a slot
    /// ([`Runtime::keep_function`]).
    ///
    /// # Errors
    /// As [`call`](Self::call). The default refuses, for languages without functions as values.
    fn call_function(&self, _slot: u32, _args: &[Arg<'_>]) -> Result<Value, ScriptError> {
        Err(ScriptError::new(ErrorCode::FunctionGone, "the language has no functions as values"))
    }

    /// Forgets the functions stored under slots; the host has dropped them.
    ///
    /// Called between two calls of the host, before the slots are given to others. Finalizers that run have the limits of a
    /// call.
    fn release_functions(&self, _slots: &[u32]) {}

    /// Returns the line of the script that runs now, if the interpreter knows it.
    fn place(&self) -> Option<Location>;

    /// Returns the place of definition of a callback that has been called, if the interpreter knows it.
    fn definition(&self, _callback: CallbackId) -> Option<Location> {
        None
    }

    /// Restores the parts of the root object that the script has replaced, and returns their names.
    ///
    /// Called after the top level and after each top-level callback, so the check of the root itself must be cheap. Only a
    /// `thorough` one compares everything below as well. An interpreter whose scripts cannot replace anything needs none.
    fn restore_root(&self, _thorough: bool) -> Vec<String> {
        Vec::new()
    }
}
