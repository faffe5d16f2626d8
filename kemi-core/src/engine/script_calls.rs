//! The running script's services for the native function that it has called.

use std::time::Duration;

use super::contract::Interpreter;
use super::runtime::Runtime;
use crate::callback::{CallbackId, Outcome, RouteId};
use crate::error::{ErrorCode, Location, ScriptError, nearest};
use crate::export::{Caller, ContextType};
use crate::value::{Arg, Function};

/// The number of callbacks named at run time that an interpreter caches.
const MAX_NAMED_CALLBACKS: usize = 64;

/// An interpreter that calls a native function, and its runtime.
pub(crate) struct ScriptCaller<'a> {
    pub(crate) runtime: &'a Runtime,
    pub(crate) interpreter: &'a dyn Interpreter,
}

impl Caller for ScriptCaller<'_> {
    fn context(&self) -> ContextType {
        self.runtime.registry().context()
    }

    fn call(&self, callback: CallbackId, context: *mut (), args: &[Arg<'_>]) -> Result<Outcome, ScriptError> {
        self.runtime.run(self.interpreter, callback, context, args)
    }

    fn route(&self, name: &str) -> Option<RouteId> {
        self.runtime.registry().route(name)
    }

    fn callback(&self, route: RouteId, name: &str) -> Result<CallbackId, ScriptError> {
        self.runtime.named_callback(self.interpreter, route, name)
    }

    fn defines(&self, name: &str) -> bool {
        let _around = self.runtime.without_context();
        self.interpreter.resolve(name)
    }

    fn place(&self) -> Option<Location> {
        let _around = self.runtime.without_context();
        self.interpreter.place()
    }

    fn call_function(
        &self,
        function: &Function,
        route: Option<RouteId>,
        context: *mut (),
        args: &[Arg<'_>],
    ) -> Result<Outcome, ScriptError> {
        self.runtime.run_function(self.interpreter, function, route, context, args)
    }

    fn first_index(&self) -> usize {
        self.runtime.first_index()
    }

    fn may_wait(&self, waited: Duration) -> Option<Duration> {
        self.runtime.may_wait(waited)
    }
}

impl std::fmt::Debug for ScriptCaller<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.runtime.fmt(f)
    }
}

impl Runtime {
    /// Finds a function of the script by its name, to be called in no route.
    pub(crate) fn function_named(&self, interpreter: &dyn Interpreter, name: &str) -> Result<CallbackId, ScriptError> {
        let registry = self.registry();
        if let Some(declared) = registry.callback(name) {
            return Ok(declared);
        }
        if !self.look_up(|| interpreter.resolve(name)) {
            let mut error = self.look_up(|| missing_callback(name, interpreter));
            error.engine = self.engine;
            return Err(error);
        }
        self.intern(registry.no_route(), name)
    }

    /// Finds the callback for a function name that a script gives at run time.
    fn named_callback(
        &self,
        interpreter: &dyn Interpreter,
        route: RouteId,
        name: &str,
    ) -> Result<CallbackId, ScriptError> {
        if let Some(id) = self.interned(route, name) {
            return Ok(id);
        }
        {
            let _around = self.without_context();
            if !interpreter.resolve(name) {
                return Err(missing_callback(name, interpreter));
            }
        }
        self.intern(route, name)
    }

    /// Returns the id of a name that this interpreter has given before.
    fn interned(&self, route: RouteId, name: &str) -> Option<CallbackId> {
        let known = |(of, known, _): &&(RouteId, Box<str>, CallbackId)| *of == route && **known == *name;
        self.named_callbacks.borrow().iter().find(known).map(|(_, _, id)| *id)
    }

    /// Returns the id of a name, made by its first use and cached here.
    pub(super) fn intern(&self, route: RouteId, name: &str) -> Result<CallbackId, ScriptError> {
        if let Some(id) = self.interned(route, name) {
            return Ok(id);
        }
        let id = self.registry().state().names().intern(route, name)?;
        let mut named = self.named_callbacks.borrow_mut();
        if named.len() < MAX_NAMED_CALLBACKS {
            named.push((route, name.into(), id));
        }
        Ok(id)
    }
}

/// Builds the error of a script that replaced parts of the root object.
pub(crate) fn replaced(names: &[String]) -> ScriptError {
    let message = format!("the script replaced {}", names.join(", "));
    ScriptError::new(ErrorCode::RootReplaced, message)
        .with_hint("it belongs to the host: give what the script defines another name")
}

/// Builds the error for a callback that the script does not define, with the nearest name that it does define.
pub(crate) fn missing_callback(name: &str, interpreter: &dyn Interpreter) -> ScriptError {
    let functions = interpreter.functions();
    let error = ScriptError::missing_callback(name);
    match nearest(name, functions.iter().map(String::as_str)) {
        Some(near) => error.with_hint(format!("did you mean '{near}'?")),
        None => error,
    }
}
