//! One call of a function of the script, by the host or by a native function that the script has called.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use kemi_core::engine::{Interpreter, Runtime};
use kemi_core::{Arg, CallbackId, ErrorCode, Location, NativeExit, ScriptError, Value};
use rhai::{Dynamic, Engine, EvalAltResult, GlobalRuntimeState, NativeCallContext, Position};

use crate::error::ErrorContext;
use crate::functions::KeptFunctions;
use crate::objects::Refusals;
use crate::parse::Parser;
use crate::program::{Program, line_of, place_of};
use crate::stack::StackUse;
use crate::terminate::script_error;
use crate::value::{arg_to_dynamic, result_value};

/// The state that all calls of one interpreter share. The engine is not in here, since it owns the native functions, which
/// refer to this.
pub(crate) struct CallState {
    runtime: Rc<Runtime>,
    parser: Rc<Parser>,
    stack: Rc<StackUse>,
    program: Program,
    functions: KeptFunctions,
    refusals: Refusals,
}

impl CallState {
    pub(crate) fn new(
        runtime: Rc<Runtime>,
        parser: Rc<Parser>,
        stack: Rc<StackUse>,
        global: GlobalRuntimeState,
    ) -> CallState {
        let (program, functions, refusals) = (Program::new(global), KeptFunctions::default(), Refusals::default());
        CallState { runtime, parser, stack, program, functions, refusals }
    }

    #[inline]
    pub(crate) fn runtime(&self) -> &Rc<Runtime> {
        &self.runtime
    }

    pub(crate) fn program(&self) -> &Program {
        &self.program
    }

    /// Returns the functions that the host keeps.
    pub(crate) fn functions(&self) -> &KeptFunctions {
        &self.functions
    }

    /// Returns what objects have refused.
    pub(crate) fn refusals(&self) -> &Refusals {
        &self.refusals
    }

    /// Drops all that the script holds.
    pub(crate) fn clear(&self, global: GlobalRuntimeState) {
        self.functions.clear();
        self.program.clear(global);
    }

    /// Returns what an error of the script is described by.
    pub(crate) fn errors(&self) -> ErrorContext<'_> {
        ErrorContext::new(self.runtime.registry(), &self.parser, &self.stack, &self.program, &self.refusals)
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

/// What is called: a function's name, what it sees beside its parameters, and its place.
#[derive(Clone, Copy)]
struct Callee<'a> {
    name: &'a str,
    global: &'a GlobalRuntimeState,
    file: &'a str,
    position: Position,
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

    /// Converts as many arguments as a function has parameters for.
    #[inline(always)]
    fn arguments(&self, name: &str, params: usize, args: &[Arg<'_>]) -> Result<Vec<Dynamic>, ScriptError> {
        if let Some(arg) = args.iter().find(|arg| matches!(arg, Arg::Foreign(_))) {
            let message = format!("the host passes a {} to '{name}'", arg.type_name());
            return Err(ScriptError::new(ErrorCode::ValueNotConvertible, message));
        }
        let mut values = Vec::with_capacity(params);
        for arg in args.iter().take(params) {
            values.push(arg_to_dynamic(self.state, arg)?);
        }
        Ok(values)
    }

    /// Calls a function that is defined at a place, and converts its result.
    #[inline(always)]
    fn run(&self, callee: &Callee<'_>, args: &mut [Dynamic]) -> Result<Value, ScriptError> {
        let &Callee { name, global, file, position } = callee;
        let mut args: Vec<&mut Dynamic> = args.iter_mut().collect();
        // What a native function panics with never comes here; this keeps a fault of the interpreter from the host.
        let result = catch_unwind(AssertUnwindSafe(|| {
            let _frame = CallFrame::enter(self.state);
            NativeCallContext::new_with_all_fields(self.engine, name, None, global, position)
                .call_fn_raw(name, false, false, &mut args)
        }));
        match result {
            Ok(Ok(value)) => self.state.runtime.host_side(|| result_value(self.state, &value)).map_err(|error| {
                match line_of(position) {
                    Some(line) => error.at(file, line),
                    None => error,
                }
            }),
            Ok(Err(error)) => self.ended(*error, callee),
            Err(_) => Err(ScriptError::new(ErrorCode::Runtime, "the interpreter itself panicked")
                .with_hint("this is a bug in the Rhai engine; its message is on the standard error output")),
        }
    }

    /// Tells how a call has ended that gave no value.
    fn ended(&self, error: EvalAltResult, callee: &Callee<'_>) -> Result<Value, ScriptError> {
        let file = callee.file;
        let (runtime, errors) = (&self.state.runtime, self.state.errors());
        match script_error(runtime, error, |error| errors.describe(error, file, None).place.take()) {
            None => Ok(Value::Nil),
            Some(error) if matches!(error.unwrap_inner(), EvalAltResult::Exit(..)) => {
                runtime.request_exit(NativeExit::Exit);
                Ok(Value::Nil)
            }
            Some(error) => {
                let mut error = errors.describe(error, file, None);
                // Rhai does not tell where it finds a variable in use: somewhere in the innermost function that is known.
                if error.place.is_none() {
                    let within = error.traceback.iter().find_map(|frame| frame.place.clone());
                    let defined = || Some(Location { file: file.to_owned(), line: line_of(callee.position)? });
                    error.place = within.or_else(defined);
                }
                Err(error)
            }
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
        let program = &self.state.program;
        let function = program.callback(self.state.runtime.registry(), id)?;
        let name = function.name();
        let (params, file, position) = function.overload(0, args.len())?;
        let mut args = self.arguments(name, params, args)?;
        self.run(&Callee { name, global: &program.global(), file, position }, &mut args)
    }

    fn call_function(&self, slot: u32, args: &[Arg<'_>]) -> Result<Value, ScriptError> {
        let program = &self.state.program;
        let kept = self.state.functions.get(slot)?;
        let name = kept.name();
        let captured = kept.captured();
        let function = kept.function(program);
        let (params, file, position) = match &function {
            Some(function) => function.overload(captured.len(), args.len())?,
            // One of Rhai's library gets all arguments.
            None => {
                let (file, position) = kept.passed_at();
                (args.len(), file, position)
            }
        };
        let mut values = captured.to_vec();
        values.append(&mut self.arguments(name, params, args)?);
        self.run(&Callee { name, global: &kept.global(program), file, position }, &mut values)
    }

    fn release_functions(&self, slots: &[u32]) {
        self.state.functions.release(&self.state.runtime, slots);
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
