//! The engine: how scripts become a loaded interpreter.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::rc::Rc;

use kemi_core::{Coercions, ErrorCode, Interpreter, Reference, Runtime, ScriptError, Source};
use rhai::{
    AST, Caches, Dynamic, Engine, EvalAltResult, EvalContext, Expr, Expression, GlobalRuntimeState, Module, Position,
    Scope, StmtBlock,
};

use crate::bind::root_module;
use crate::call::on_stack;
use crate::error::{describe, syntax};
use crate::error_object;
use crate::import::Imports;
use crate::interpreter::{Callback, RhaiInterpreter, Shared};
use crate::interrupt;
use crate::parse::{self, parse};
use crate::references;
use crate::sandbox;

/// The Rhai engine.
///
/// Each load makes an interpreter of its own; nothing is shared between two of them.
#[derive(Clone, Copy, Debug, Default)]
pub struct RhaiEngine;

kemi_core::announce_engine!(&RhaiEngine);

/// Makes sure that a program which calls it has the engine linked, so that `cfgengine = "rhai"` is valid.
pub fn link() {}

impl kemi_core::Engine for RhaiEngine {
    fn name(&self) -> &'static str {
        "rhai"
    }

    fn aliases(&self) -> &'static [&'static str] {
        &["app_rhai"]
    }

    fn language(&self) -> String {
        "Rhai 1".to_owned()
    }

    fn references(&self, source: &Source, root: &str) -> Result<Vec<Reference>, ScriptError> {
        references::references(&source.name(), &source.read()?, root)
    }

    fn reserved(&self, name: &str, role: kemi_core::NameRole) -> Option<&'static str> {
        crate::reserved::meaning(name, role)
    }

    fn coercions(&self) -> Coercions {
        Coercions {
            text_to_integer: true,
            number_to_text: true,
            nil_to_empty: true,
            bool_to_integer: true,
            float_to_integer: true,
        }
    }

    fn load(&self, runtime: Rc<Runtime>, sources: &[Source]) -> Result<Box<dyn Interpreter>, ScriptError> {
        on_stack(|| load(runtime, sources))
    }
}

fn load(runtime: Rc<Runtime>, sources: &[Source]) -> Result<Box<dyn Interpreter>, ScriptError> {
    references::within(&runtime);
    let mut engine = Engine::new();
    let global = engine.new_global_runtime_state();
    let shared = Rc::new(Shared::new(runtime, global));
    interrupt::set(&mut engine, shared.runtime.registry().limits());
    interrupt::watch(&mut engine, &shared);
    sandbox::install(&mut engine, &shared);
    error_object::install(&mut engine);
    parse::set(&mut engine);
    let folders: Vec<PathBuf> = sources.iter().filter_map(Source::folder).collect();
    engine.set_module_resolver(Imports::new(folders, shared.clone()));
    engine.register_static_module(shared.runtime.registry().root(), root_module(&shared).into());
    // Where the host counts, the sum of all values is limited as well.
    shared.runtime.count_memory();
    let tokens = shared.tokens.clone();
    #[allow(deprecated)]
    engine.on_parse_token(move |token, position, _| tokens.map(token, position));

    // All sources are parsed before the first one runs, so that a mistake in the last leaves nothing half done.
    let scripts = sources.iter().map(|source| compile(&engine, &shared, source)).collect::<Result<Vec<_>, _>>()?;
    let mut scope = Scope::new();
    let mut global = engine.new_global_runtime_state();
    global.constants = Some(Rc::default());
    for script in &scripts {
        define(&shared, &mut global, script);
        run(&engine, &shared, &mut global, &mut scope, script)?;
    }
    finish(&mut engine, &shared, global, &scope);
    Ok(Box::new(RhaiInterpreter { engine, shared }))
}

fn compile(engine: &Engine, shared: &Shared, source: &Source) -> Result<AST, ScriptError> {
    let name = source.name();
    let bytes = source.read()?;
    parse(engine, &shared.tokens, &name, &bytes).map_err(|error| syntax(shared, &name, &error))
}

/// Adds a source's functions; of two with the same name and number of parameters the later one counts.
fn define(shared: &Shared, global: &mut GlobalRuntimeState, script: &AST) {
    global.lib.push(script.shared_lib().clone());
    let file = script.source().unwrap_or_default();
    let state = Rc::new(global.clone());
    shared.update(|program| {
        program.global = state;
        for function in script.iter_fn_def().filter(|function| function.this_type.is_none()) {
            let name = function.name.to_string();
            let callback = program
                .functions
                .entry(name.clone())
                .or_insert_with(|| Rc::new(Callback { name, overloads: BTreeMap::new() }));
            let place = (file.to_owned(), function.body.start_position());
            Rc::make_mut(callback).overloads.insert(function.params.len(), place);
        }
    });
}

/// Runs the top level of a source.
fn run(
    engine: &Engine,
    shared: &Shared,
    global: &mut GlobalRuntimeState,
    scope: &mut Scope<'static>,
    script: &AST,
) -> Result<(), ScriptError> {
    // Once the script has asked for its end, its other files only define functions.
    if script.statements().is_empty() || shared.runtime.ending().is_some() {
        return Ok(());
    }
    let file = script.source().unwrap_or_default();
    let block = StmtBlock::new(script.statements().iter().cloned(), Position::NONE, Position::NONE);
    let block = Expr::Stmt(Box::new(block));
    global.source = Some(file.into());
    let result = catch_unwind(AssertUnwindSafe(|| {
        let _running = shared.stack.enter();
        let mut caches = Caches::new();
        let mut context = EvalContext::new(engine, global, &mut caches, scope, None);
        #[allow(deprecated)]
        context.eval_expression_tree_raw(&Expression::from(&block), false)
    }));
    global.source = None;
    match result {
        Ok(result) => top_level_end(shared, result, file),
        Err(_) => Err(ScriptError::new(ErrorCode::Runtime, format!("the interpreter itself panicked in {file}"))
            .with_hint("this is a bug in the Rhai engine; its message is on the standard error output")),
    }
}

fn top_level_end(shared: &Shared, result: Result<Dynamic, Box<EvalAltResult>>, file: &str) -> Result<(), ScriptError> {
    let error = match result {
        Ok(_) => return Ok(()),
        Err(error) => *error,
    };
    if let Some(limit) = interrupt::exceeded(&shared.runtime, &error) {
        let place = describe(shared, error, file, None).place.take();
        shared.runtime.exhaust(limit, place);
        return Ok(());
    }
    if shared.runtime.ending().is_some() {
        return Ok(());
    }
    match error.unwrap_inner() {
        EvalAltResult::Return(..) | EvalAltResult::Exit(..) => Ok(()),
        _ => Err(describe(shared, error, file, Some("top level"))),
    }
}

/// Keeps what the callbacks see of the top level: functions, imported modules and constants.
fn finish(engine: &mut Engine, shared: &Shared, global: GlobalRuntimeState, scope: &Scope<'_>) {
    let mut constants = Module::new();
    for (name, _, value) in scope.iter().filter(|(_, constant, _)| *constant) {
        constants.set_var(name, value);
    }
    // Rhai gives a function its script's constants as `global::NAME`; as a module of the engine they are plain names.
    engine.register_global_module(constants.into());
    shared.update(|program| {
        program.global = Rc::new(global);
        program.variables = scope.iter().map(|(name, ..)| name.to_owned()).collect();
    });
}
