//! Where a running interpreter looks at the limits of the call: before each operation, and in long loops of the library.

use std::rc::Rc;

use kemi_core::engine::{Interpreter, Runtime};
use kemi_core::{Arg, CallbackId, ErrorCode, Location, ScriptError, Value};
use rhai::{Dynamic, Engine, EvalAltResult, ImmutableString, NativeCallContext};

use crate::program::place_of;
use crate::stack::StackUse;
use crate::terminate::terminated;

/// How many steps of a loop pass between two looks at the clock.
const STEPS: u32 = 256;

/// Makes the interpreter look at its limits before each operation.
pub(crate) fn install(engine: &mut Engine, runtime: &Rc<Runtime>, stack: &Rc<StackUse>) {
    let counts = runtime.registry().limits().max_instructions != 0;
    let (runtime, stack) = (runtime.clone(), stack.clone());
    engine.on_progress(move |_operations| {
        let over = (counts && runtime.use_instructions(1, BETWEEN_OPERATIONS))
            || runtime.poll(BETWEEN_OPERATIONS)
            || stack.is_exceeded();
        over.then_some(Dynamic::UNIT)
    });
}

/// Looks at the limits of a call now and then, for a loop of the library.
pub(crate) struct LimitCheck<'a> {
    runtime: &'a Runtime,
    call: &'a NativeCallContext<'a>,
    steps: u32,
}

impl<'a> LimitCheck<'a> {
    pub(crate) fn new(runtime: &'a Runtime, call: &'a NativeCallContext<'a>) -> LimitCheck<'a> {
        LimitCheck { runtime, call, steps: 0 }
    }

    /// Takes a step of the loop.
    ///
    /// # Errors
    /// The end of the call.
    #[inline]
    pub(crate) fn step(&mut self) -> Result<(), Box<EvalAltResult>> {
        self.steps += 1;
        if self.steps < STEPS {
            return Ok(());
        }
        self.steps = 0;
        self.look()
    }

    /// Looks at the limits now.
    ///
    /// # Errors
    /// The end of the call.
    pub(crate) fn look(&self) -> Result<(), Box<EvalAltResult>> {
        if self.runtime.poll(&NoInterpreter { call: Some(self.call) }) {
            return Err(terminated(self.call.call_position()));
        }
        Ok(())
    }

    /// Returns the call of the library.
    pub(crate) fn call(&self) -> &'a NativeCallContext<'a> {
        self.call
    }

    /// Returns the engine.
    pub(crate) fn engine(&self) -> &'a Engine {
        self.call.engine()
    }

    /// Makes an error of the script.
    #[cold]
    pub(crate) fn error<T>(&self, message: impl Into<ImmutableString>) -> Result<T, Box<EvalAltResult>> {
        Err(EvalAltResult::ErrorRuntime(message.into().into(), self.call.call_position()).into())
    }
}

/// The interpreter as seen from where it can call nothing.
#[derive(Debug)]
pub(crate) struct NoInterpreter<'a> {
    /// The call of the library that it is in; Rhai does not tell the place between two operations.
    call: Option<&'a NativeCallContext<'a>>,
}

/// The interpreter between two operations.
pub(crate) const BETWEEN_OPERATIONS: &NoInterpreter<'static> = &NoInterpreter { call: None };

impl Interpreter for NoInterpreter<'_> {
    fn resolve(&self, _name: &str) -> bool {
        false
    }

    fn functions(&self) -> Vec<String> {
        Vec::new()
    }

    fn call(&self, _callback: CallbackId, _args: &[Arg<'_>]) -> Result<Value, ScriptError> {
        Err(ScriptError::new(ErrorCode::MissingCallback, "no callback can be called between two operations"))
    }

    fn place(&self) -> Option<Location> {
        place_of(self.call?)
    }
}
