//! The functions of a script that the host keeps: which slots are taken, and how they are called and freed.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use super::contract::Interpreter;
use super::runtime::Runtime;
use crate::callback::{CallbackId, Outcome, RouteId};
use crate::error::{ErrorCode, ScriptError};
use crate::value::{Arg, Function, FunctionTable};

/// The name of a function without one, in counters, spans and errors.
const NAMELESS: &str = "(function)";

/// The table of kept functions of one interpreter, as far as it is the core's: the engine has the functions themselves.
#[derive(Default)]
pub(super) struct Functions {
    table: Arc<FunctionTable>,
    free: RefCell<Vec<u32>>,
    next: Cell<u32>,
}

impl Functions {
    /// Notes that the interpreter is gone.
    pub(super) fn close(&self) {
        self.table.close();
    }

    #[inline]
    pub(super) fn any_dropped(&self) -> bool {
        self.table.any_dropped()
    }
}

impl Runtime {
    /// Keeps a function of the script for the host; the engine stores its own handle under the slot.
    ///
    /// The slot is free again when the engine is told so by
    /// [`Interpreter::release_functions`](super::Interpreter::release_functions).
    ///
    /// # Errors
    /// [`ErrorCode::ValueNotConvertible`] if the host keeps as many functions as there are numbers.
    pub fn keep_function(&self) -> Result<(u32, Function), ScriptError> {
        let functions = &self.functions;
        let slot = match functions.free.borrow_mut().pop() {
            Some(slot) => slot,
            None => {
                let slot = functions.next.get();
                let next = slot.checked_add(1).ok_or_else(|| {
                    ScriptError::new(ErrorCode::ValueNotConvertible, "the host keeps too many functions of the script")
                })?;
                functions.next.set(next);
                slot
            }
        };
        Ok((slot, Function::new(slot, &functions.table)))
    }

    /// Returns the slot of a function of this interpreter's script, to call it or to give it back to the script.
    ///
    /// # Errors
    /// [`ErrorCode::FunctionGone`] if its interpreter is gone, [`ErrorCode::ForeignId`] if it is another one.
    pub fn function_slot(&self, function: &Function) -> Result<u32, ScriptError> {
        function.slot_of(&self.functions.table).ok_or_else(|| unreachable_function(function))
    }

    /// Frees the functions that nobody has any more, as a call with a budget: finalizers may run.
    #[cold]
    pub(super) fn release_functions(&self, interpreter: &dyn Interpreter) {
        let slots = self.functions.table.take_dropped();
        self.look_up(|| interpreter.release_functions(&slots));
        self.functions.free.borrow_mut().extend(slots);
    }

    /// Calls a kept function as a callback of a route, or of none.
    pub(crate) fn run_function(
        &self,
        interpreter: &dyn Interpreter,
        function: &Function,
        route: Option<RouteId>,
        context: *mut (),
        args: &[Arg<'_>],
    ) -> Result<Outcome, ScriptError> {
        let slot = self.function_slot(function).map_err(|error| self.stamped(error))?;
        let callback = self.nameless(route)?;
        self.run_slot(interpreter, callback, slot, context, args)
    }

    /// Returns the id under which functions without a name are counted.
    fn nameless(&self, route: Option<RouteId>) -> Result<CallbackId, ScriptError> {
        let route = route.unwrap_or_else(|| self.registry().no_route());
        self.intern(route, NAMELESS).map_err(|error| self.stamped(error))
    }

    fn stamped(&self, mut error: ScriptError) -> ScriptError {
        error.engine = self.engine;
        error
    }
}

#[cold]
fn unreachable_function(function: &Function) -> ScriptError {
    if function.is_gone() {
        return ScriptError::new(
            ErrorCode::FunctionGone,
            "the function belongs to a script that has been reloaded or has ended",
        )
        .with_hint("let the new version of the script pass its own function to the host");
    }
    ScriptError::new(ErrorCode::ForeignId, "the function belongs to the interpreter of another instance")
        .with_hint("call it where it was passed to the host; each worker has functions of its own")
}
