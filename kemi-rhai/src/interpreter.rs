//! A loaded script: how it is made of its sources, and what the host holds of it.

use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use kemi_core::engine::{Interpreter, Runtime};
use kemi_core::{Arg, CallbackId, ErrorCode, Location, ScriptError, Source, Value};
use rhai::{
    AST, Caches, Engine, EvalAltResult, EvalContext, Expr, Expression, GlobalRuntimeState, Module, Position, Scope,
    StmtBlock,
};

use crate::bind::{BoundExport, root_module};
use crate::call::{CallFrame, CallState, CallView};
use crate::error::{refused, unparsed};
use crate::error_object;
use crate::import::Imports;
use crate::interrupt;
use crate::memory;
use crate::objects;
use crate::parse::Parser;
use crate::sandbox;
use crate::stack::{self, StackUse, on_stack};
use crate::terminate::script_error;
use crate::trampoline::function_objects;

/// A loaded script with its own engine.
pub(crate) struct RhaiInterpreter {
    engine: Engine,
    state: Rc<CallState>,
}

impl RhaiInterpreter {
    /// Makes an interpreter and runs the top level of the sources in it.
    pub(crate) fn load(runtime: Rc<Runtime>, sources: &[Source]) -> Result<RhaiInterpreter, ScriptError> {
        let (mut engine, parser, state) = new_engine(&runtime);
        // All sources are parsed before the first one runs, so that a mistake in the last leaves nothing half done.
        let scripts = sources.iter().map(|source| parse(&engine, &parser, source)).collect::<Result<Vec<_>, _>>()?;
        if let Some((index, position, message)) = objects::hidden_method(&state, &scripts) {
            let file = sources.get(index).map(Source::name).unwrap_or_default();
            return Err(refused(&file, position, message));
        }
        let mut top_level = TopLevel::new(&engine);
        for script in &scripts {
            state.program().define(&mut top_level.global, script);
            top_level.run(&engine, &state, script)?;
        }
        top_level.finish(&mut engine, &state);
        Ok(RhaiInterpreter { engine, state })
    }

    fn view(&self) -> CallView<'_> {
        CallView::of_host(&self.engine, &self.state)
    }
}

impl Interpreter for RhaiInterpreter {
    fn resolve(&self, name: &str) -> bool {
        self.view().resolve(name)
    }

    fn functions(&self) -> Vec<String> {
        self.view().functions()
    }

    fn call(&self, callback: CallbackId, args: &[Arg<'_>]) -> Result<Value, ScriptError> {
        on_stack(|| self.view().call(callback, args))
    }

    fn call_function(&self, slot: u32, args: &[Arg<'_>]) -> Result<Value, ScriptError> {
        on_stack(|| self.view().call_function(slot, args))
    }

    fn release_functions(&self, slots: &[u32]) {
        on_stack(|| self.view().release_functions(slots));
    }

    fn place(&self) -> Option<Location> {
        None
    }

    fn definition(&self, callback: CallbackId) -> Option<Location> {
        self.view().definition(callback)
    }

    fn accepts(&self, name: &str, arguments: usize) -> Result<(), ScriptError> {
        self.view().accepts(name, arguments)
    }
}

impl Drop for RhaiInterpreter {
    /// Frees the values of the script, which may be nested deep, where there is room for it.
    fn drop(&mut self) {
        on_stack(|| {
            self.state.clear(self.engine.new_global_runtime_state());
            drop(mem::replace(&mut self.engine, Engine::new_raw()));
        });
    }
}

/// Makes an engine with its limits, the changed library and the root object.
fn new_engine(runtime: &Rc<Runtime>) -> (Engine, Rc<Parser>, Rc<CallState>) {
    let registry = runtime.registry();
    let mut engine = Engine::new();
    let parser = Rc::new(Parser::new(runtime));
    let stack = Rc::new(StackUse::default());
    let global = engine.new_global_runtime_state();
    let state = Rc::new(CallState::new(runtime.clone(), parser.clone(), stack.clone(), global));
    stack::limit_calls(&mut engine, registry.limits());
    memory::limit_values(&mut engine, registry.limits());
    Parser::limit(&mut engine);
    interrupt::install(&mut engine, runtime, &stack);
    sandbox::install(&mut engine, runtime);
    error_object::install(&mut engine);
    engine.set_module_resolver(Imports::new(&state, &parser));
    let root = root_module(&state, |export| function_objects(&Rc::new(BoundExport::new(&state, export))));
    engine.register_static_module(registry.root(), root.into());
    objects::install(&mut engine, &state);
    // Where the host counts, the sum of all values is limited as well.
    runtime.count_memory();
    parser.install(&mut engine);
    (engine, parser, state)
}

fn parse(engine: &Engine, parser: &Parser, source: &Source) -> Result<AST, ScriptError> {
    let name = source.name();
    let bytes = source.read()?;
    parser.parse(engine, &name, &bytes).map_err(|error| unparsed(parser, &name, &error))
}

/// The top level that all sources of a script share.
struct TopLevel {
    global: GlobalRuntimeState,
    scope: Scope<'static>,
}

impl TopLevel {
    fn new(engine: &Engine) -> TopLevel {
        let mut global = engine.new_global_runtime_state();
        global.constants = Some(Rc::default());
        TopLevel { global, scope: Scope::new() }
    }

    /// Runs the top level of a source.
    fn run(&mut self, engine: &Engine, state: &CallState, script: &AST) -> Result<(), ScriptError> {
        // Once the script has asked for its end, its other files only define functions.
        if script.statements().is_empty() || state.runtime().pending_exit().is_some() {
            return Ok(());
        }
        let file = script.source().unwrap_or_default();
        let block = StmtBlock::new(script.statements().iter().cloned(), Position::NONE, Position::NONE);
        let block = Expr::Stmt(Box::new(block));
        self.global.source = Some(file.into());
        let result = catch_unwind(AssertUnwindSafe(|| {
            let _frame = CallFrame::enter(state);
            let mut caches = Caches::new();
            let mut context = EvalContext::new(engine, &mut self.global, &mut caches, &mut self.scope, None);
            #[allow(deprecated)]
            context.eval_expression_tree_raw(&Expression::from(&block), false)
        }));
        self.global.source = None;
        match result {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => ended(state, *error, file),
            Err(_) => Err(ScriptError::new(ErrorCode::Runtime, format!("the interpreter itself panicked in {file}"))
                .with_hint("this is a bug in the Rhai engine; its message is on the standard error output")),
        }
    }

    /// Leaves to the callbacks what they see of the top level: functions, imported modules and constants.
    fn finish(self, engine: &mut Engine, state: &CallState) {
        let mut constants = Module::new();
        for (name, _, value) in self.scope.iter().filter(|(_, constant, _)| *constant) {
            constants.set_var(name, value);
        }
        // Rhai gives a function its script's constants as `global::NAME`; as a module of the engine they are plain names.
        engine.register_global_module(constants.into());
        state.program().finish(self.global, &self.scope);
    }
}

/// Tells how a top level has ended that did not come to its last statement.
fn ended(state: &CallState, error: EvalAltResult, file: &str) -> Result<(), ScriptError> {
    let errors = state.errors();
    match script_error(state.runtime(), error, |error| errors.describe(error, file, None).place.take()) {
        None => Ok(()),
        Some(error) => match error.unwrap_inner() {
            EvalAltResult::Return(..) | EvalAltResult::Exit(..) => Ok(()),
            _ => Err(errors.describe(error, file, Some("top level"))),
        },
    }
}
