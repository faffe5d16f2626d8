//! The running script, as native functions see it.

use std::any::TypeId;
use std::fmt;
use std::ptr;
use std::time::Duration;

use super::def::ContextType;
use crate::callback::{CallbackId, Outcome, RouteId};
use crate::error::{ErrorCode, Location, ScriptError};
use crate::value::{Arg, Function};

/// The running script, as a native function sees it.
///
/// Take it as `script: &Script<'_>` after the context to call back into the script.
pub struct Script<'a> {
    caller: &'a dyn Caller,
}

/// The interpreter that has called a native function, as the function sees it.
pub(crate) trait Caller: fmt::Debug {
    /// Returns the type that every context of this interpreter has.
    fn context(&self) -> ContextType;

    /// Calls a callback with a context: a pointer to a value of the type that [`context`](Self::context) names, which nothing
    /// else uses during the call.
    fn call(&self, callback: CallbackId, context: *mut (), args: &[Arg<'_>]) -> Result<Outcome, ScriptError>;

    /// Finds a route by its name.
    fn route(&self, name: &str) -> Option<RouteId>;

    /// Finds the callback for a function name that a script gives at run time.
    fn callback(&self, route: RouteId, name: &str) -> Result<CallbackId, ScriptError>;

    /// Returns whether the script defines a function.
    fn defines(&self, name: &str) -> bool;

    /// Returns the line of the script that runs now.
    fn place(&self) -> Option<Location>;

    /// Calls a kept function in a route, with a context as [`call`](Self::call).
    fn call_function(
        &self,
        function: &Function,
        route: Option<RouteId>,
        context: *mut (),
        args: &[Arg<'_>],
    ) -> Result<Outcome, ScriptError>;

    /// Returns the index of a list's first element in the language of the script.
    fn first_index(&self) -> usize;

    /// Returns how long a native function that has waited so long may go on; `None` if the call is to end.
    fn may_wait(&self, waited: Duration) -> Option<Duration>;
}

impl<'a> Script<'a> {
    pub(crate) fn new(caller: &'a dyn Caller) -> Script<'a> {
        Script { caller }
    }

    /// Calls a callback from within a native function, in the same interpreter.
    ///
    /// An exit or drop in the callback ends only that; it is the outcome.
    ///
    /// # Errors
    /// The error that the script raised; [`ErrorCode::NoContext`] if `C` is not the registry's context type.
    pub fn call<C: 'static>(
        &self,
        callback: CallbackId,
        context: &mut C,
        args: &[Arg<'_>],
    ) -> Result<Outcome, ScriptError> {
        self.check_context::<C>()?;
        self.caller.call(callback, ptr::from_mut(context).cast(), args)
    }

    /// Calls a function that the script has passed to the host, from within a native function, in the same interpreter.
    ///
    /// It may call what is allowed outside of all routes; [`call_function_in`](Self::call_function_in) names a route.
    ///
    /// # Errors
    /// As [`call`](Self::call); [`ErrorCode::FunctionGone`] if the function's interpreter is gone, [`ErrorCode::ForeignId`] if
    /// it belongs to another one.
    pub fn call_function<C: 'static>(
        &self,
        function: &Function,
        context: &mut C,
        args: &[Arg<'_>],
    ) -> Result<Outcome, ScriptError> {
        self.check_context::<C>()?;
        self.caller.call_function(function, None, ptr::from_mut(context).cast(), args)
    }

    /// Calls a function that the script has passed to the host as a callback of a route.
    ///
    /// # Errors
    /// As [`call_function`](Self::call_function); [`ErrorCode::ForeignId`] for a route of another registry.
    pub fn call_function_in<C: 'static>(
        &self,
        function: &Function,
        route: RouteId,
        context: &mut C,
        args: &[Arg<'_>],
    ) -> Result<Outcome, ScriptError> {
        self.check_context::<C>()?;
        self.caller.call_function(function, Some(route), ptr::from_mut(context).cast(), args)
    }

    fn check_context<C: 'static>(&self) -> Result<(), ScriptError> {
        let own = self.caller.context();
        if TypeId::of::<C>() == own.id() {
            return Ok(());
        }
        let (given, own) = (std::any::type_name::<C>(), own.name());
        let message = format!("callback with a context of type {given} in a registry of {own}");
        Err(ScriptError::new(ErrorCode::NoContext, message))
    }

    pub(super) fn may_wait(&self, waited: Duration) -> Option<Duration> {
        self.caller.may_wait(waited)
    }

    pub(super) fn first_index(&self) -> usize {
        self.caller.first_index()
    }

    /// Finds a route that the host has declared by its name.
    #[must_use]
    pub fn route(&self, name: &str) -> Option<RouteId> {
        self.caller.route(name)
    }

    /// Finds the callback for a function name that a script gives at run time.
    ///
    /// # Errors
    /// [`ErrorCode::MissingCallback`] if the script defines no such function, with the nearest name it does define;
    /// [`ErrorCode::ForeignId`] for a route of another registry.
    pub fn callback(&self, route: RouteId, name: &str) -> Result<CallbackId, ScriptError> {
        self.caller.callback(route, name)
    }

    /// Returns whether the script defines a function.
    #[must_use]
    pub fn defines(&self, name: &str) -> bool {
        self.caller.defines(name)
    }

    /// Returns the place in the script that has called the native function.
    #[must_use]
    pub fn place(&self) -> Option<Location> {
        self.caller.place()
    }
}

impl fmt::Debug for Script<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Script").field("caller", &self.caller).finish()
    }
}
