//! One call of a function of the script, by the host or by a native function that the script has called.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use kemi_core::engine::{Interpreter, Runtime};
use kemi_core::{Arg, CallbackId, ErrorCode, Location, NativeExit, ScriptError, Value};
use rhai::{Dynamic, Engine, EvalAltResult, GlobalRuntimeState, NativeCallContext, Position};

use crate::error::ErrorContext;
use crate::parse::Parser;
use crate::program::{Function, Program, line_of, place_of};
use crate::stack::StackUse;
use crate::terminate::script_error;
use crate::value::{arg_to_dynamic, to_value};

/// The state that all calls of one interpreter share. The engine is not in here, since it owns the native functions, which
/// refer to this.
pub(crate) struct CallState {
    runtime: Rc<Runtime>,
    parser: Rc<Parser>,
    stack: Rc<StackUse>,
    program: Program,
}

impl CallState {
    pub(crate) fn new(
        runtime: Rc<Runtime>,
        parser: Rc<Parser>,
        stack: Rc<StackUse>,
        global: GlobalRuntimeState,
    ) -> CallState {
        CallState { runtime, parser, stack, program: Program::new(global) }
    }

    #[inline]
    pub(crate) fn runtime(&self) -> &Rc<Runtime> {
        &self.runtime
    }

    pub(crate) fn program(&self) -> &Program {
        &self.program
    }

    /// Returns what an error of the script is described by.
    pub(crate) fn errors(&self) -> ErrorContext<'_> {
        ErrorContext::new(self.runtime.registry(), &self.parser, &self.stack, &self.program)
    }
}

/// Code of the script is running; the stack that it uses is measured from the outermost such frame on.
pub(crate) struct CallFrame<'a> {
    stack: &'a StackUse,
    former_base: usize,
}

impl CallFrame<'_> {
    pub(crate) fn enter(state: &CallState) -> CallFrame<'_> {
        CallFrame { stack: &state.stack, former_base: state.stack.begin() }
    }
}

impl Drop for CallFrame<'_> {
    fn drop(&mut self) {
        self.stack.end(self.former_base);
    }
}

/// The interpreter as the host sees it, or a native function from the call it is in.
pub(crate) struct CallView<'a> {
    engine: &'a Engine,
    state: &'a CallState,
    call: Option<&'a NativeCallContext<'a>>,
}

impl<'a> CallView<'a> {
    pub(crate) fn of_host(engine: &'a Engine, state: &'a CallState) -> CallView<'a> {
        CallView { engine, state, call: None }
    }

    pub(crate) fn of_call(state: &'a CallState, call: &'a NativeCallContext<'a>) -> CallView<'a> {
        CallView { engine: call.engine(), state, call: Some(call) }
    }

    fn run(
        &self,
        function: &Function,
        params: usize,
        position: Position,
        args: &[Arg<'_>],
    ) -> Result<Dynamic, Box<EvalAltResult>> {
        let mut values: Vec<Dynamic> = args.iter().take(params).filter_map(arg_to_dynamic).collect();
        let mut values: Vec<&mut Dynamic> = values.iter_mut().collect();
        let global = self.state.program.global();
        let _frame = CallFrame::enter(self.state);
        NativeCallContext::new_with_all_fields(self.engine, function.name(), None, &global, position).call_fn_raw(
            function.name(),
            false,
            false,
            &mut values,
        )
    }

    /// Tells how a call has ended that gave no value.
    fn ended(&self, error: EvalAltResult, file: &str) -> Result<Value, ScriptError> {
        let (runtime, errors) = (&self.state.runtime, self.state.errors());
        match script_error(runtime, error, |error| errors.describe(error, file, None).place.take()) {
            None => Ok(Value::Nil),
            Some(error) if matches!(error.unwrap_inner(), EvalAltResult::Exit(..)) => {
                runtime.request_exit(NativeExit::Exit);
                Ok(Value::Nil)
            }
            Some(error) => Err(errors.describe(error, file, None)),
        }
    }
}

impl Interpreter for CallView<'_> {
    fn resolve(&self, name: &str) -> bool {
        self.state.program.has(name)
    }

    fn functions(&self) -> Vec<String> {
        self.state.program.names()
    }

    fn call(&self, id: CallbackId, args: &[Arg<'_>]) -> Result<Value, ScriptError> {
        let function = self.state.program.callback(self.state.runtime.registry(), id)?;
        if let Some(arg) = args.iter().find(|arg| matches!(arg, Arg::Foreign(_))) {
            let message = format!("the host passes a {} to '{}'", arg.type_name(), function.name());
            return Err(ScriptError::new(ErrorCode::ValueNotConvertible, message));
        }
        let (params, file, position) = function.overload(args.len())?;
        // What a native function panics with never comes here; this keeps a fault of the interpreter from the host.
        match catch_unwind(AssertUnwindSafe(|| self.run(&function, params, position, args))) {
            Ok(Ok(value)) => {
                self.state.runtime.host_side(|| to_value(&value)).map_err(|error| match line_of(position) {
                    Some(line) => error.at(file, line),
                    None => error,
                })
            }
            Ok(Err(error)) => self.ended(*error, file),
            Err(_) => Err(ScriptError::new(ErrorCode::Runtime, "the interpreter itself panicked")
                .with_hint("this is a bug in the Rhai engine; its message is on the standard error output")),
        }
    }

    fn place(&self) -> Option<Location> {
        place_of(self.call?)
    }

    fn definition(&self, callback: CallbackId) -> Option<Location> {
        self.state.program.callback(self.state.runtime.registry(), callback).ok()?.definition()
    }

    fn accepts(&self, name: &str, arguments: usize) -> Result<(), ScriptError> {
        self.state.program.accepts(name, arguments)
    }
}
