//! The script that runs, as native functions see it.

use std::any::TypeId;
use std::fmt;
use std::ptr;

use super::{Outcome, Runtime};
use crate::callback::{CallbackId, RouteId};
use crate::engine::Interpreter;
use crate::error::{ErrorCode, Place, ScriptError};
use crate::registry::RegistryData;
use crate::value::Arg;

/// How many callbacks chosen by name are kept at hand.
const MAX_CHOSEN: usize = 64;

/// The running script, as a native function sees it.
///
/// Take it as `script: &Script<'_>` after the context to call back into the script.
pub struct Script<'a> {
    pub(super) runtime: &'a Runtime,
    pub(super) interpreter: &'a dyn Interpreter,
}

impl Script<'_> {
    /// Calls a callback from within a native function, in the same interpreter.
    ///
    /// An exit or drop in it ends the callback only; it comes back as the outcome.
    ///
    /// # Errors
    /// What the script raised; [`ErrorCode::NoContext`] if `C` is not the registry's context type.
    pub fn call<C: 'static>(
        &self,
        callback: CallbackId,
        context: &mut C,
        args: &[Arg<'_>],
    ) -> Result<Outcome, ScriptError> {
        if TypeId::of::<C>() != self.runtime.registry.context().id() {
            let (given, own) = (std::any::type_name::<C>(), self.runtime.registry.context().name());
            let message = format!("callback with a context of type {given} in a registry of {own}");
            return Err(ScriptError::new(ErrorCode::NoContext, message));
        }
        self.runtime.run(self.interpreter, callback, ptr::from_mut(context).cast(), args)
    }

    /// Finds the callback for a function name that a script gives at run time.
    ///
    /// # Errors
    /// [`ErrorCode::MissingCallback`] if the script defines no such function, with the nearest name it does define;
    /// [`ErrorCode::ForeignId`] for a route of another registry.
    pub fn callback(&self, route: RouteId, name: &str) -> Result<CallbackId, ScriptError> {
        let known = |(of, known, _): &&(RouteId, Box<str>, CallbackId)| *of == route && **known == *name;
        if let Some((_, _, id)) = self.runtime.chosen.borrow().iter().find(known) {
            return Ok(*id);
        }
        {
            let _around = self.runtime.without_context();
            if !self.interpreter.resolve(name) {
                return Err(missing_callback(name, self.interpreter));
            }
        }
        let id = self.runtime.registry.names().intern(route, name)?;
        let mut chosen = self.runtime.chosen.borrow_mut();
        if chosen.len() < MAX_CHOSEN {
            chosen.push((route, name.into(), id));
        }
        Ok(id)
    }

    /// Returns whether the script defines a function.
    #[must_use]
    pub fn defines(&self, name: &str) -> bool {
        let _around = self.runtime.without_context();
        self.interpreter.resolve(name)
    }

    /// Returns where in the script the native function was called from.
    #[must_use]
    pub fn place(&self) -> Option<Place> {
        let _around = self.runtime.without_context();
        self.interpreter.place()
    }

    /// Returns the registry.
    #[must_use]
    pub fn registry(&self) -> &RegistryData {
        &self.runtime.registry
    }
}

impl fmt::Debug for Script<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Script").field("runtime", &self.runtime).finish_non_exhaustive()
    }
}

/// The error of a script that replaced parts of the root object.
pub(crate) fn replaced(names: &[String]) -> ScriptError {
    let message = format!("the script replaced {}", names.join(", "));
    ScriptError::new(ErrorCode::RootReplaced, message)
        .with_hint("it belongs to the host: give what the script defines another name")
}

pub(crate) fn missing_callback(name: &str, interpreter: &dyn Interpreter) -> ScriptError {
    let functions = interpreter.functions();
    let error = ScriptError::new(ErrorCode::MissingCallback, format!("the script defines no function '{name}'"));
    match crate::suggest::nearest(name, functions.iter().map(String::as_str)) {
        Some(near) => error.with_hint(format!("did you mean '{near}'?")),
        None => error,
    }
}
