//! A loaded script: its functions, its global state, and how the host calls into it.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use kemi_core::{Arg, CallbackId, Control, ErrorCode, Interpreter, Place, Runtime, ScriptError, Value};
use rhai::{Dynamic, Engine, EvalAltResult, GlobalRuntimeState, NativeCallContext, Position};

use crate::call::on_stack;
use crate::error::describe;
use crate::integrity::Tokens;
use crate::interrupt::{StackGuard, exceeded};
use crate::value::{arg_to_dynamic, to_value};

/// What the interpreter and its native functions share; the engine owns the functions, so it is not in here.
pub(crate) struct Shared {
    pub(crate) runtime: Rc<Runtime>,
    pub(crate) tokens: Rc<Tokens>,
    pub(crate) stack: StackGuard,
    program: RefCell<Program>,
    handles: RefCell<Vec<Option<Rc<Callback>>>>,
}

impl Shared {
    pub(crate) fn new(runtime: Rc<Runtime>, global: GlobalRuntimeState) -> Shared {
        let tokens = Rc::new(Tokens::new(&runtime));
        let program = Program { global: Rc::new(global), functions: BTreeMap::new(), variables: BTreeSet::new() };
        Shared {
            runtime,
            tokens,
            stack: StackGuard::default(),
            program: RefCell::new(program),
            handles: RefCell::default(),
        }
    }

    /// Changes the program, between two sources.
    pub(crate) fn update(&self, change: impl FnOnce(&mut Program)) {
        change(&mut self.program.borrow_mut());
    }

    /// Returns whether the name is one of a variable of the top level.
    pub(crate) fn is_global(&self, name: &str) -> bool {
        self.program.borrow().variables.contains(name)
    }

    /// Lets go of all that the script holds; `global` is what is left.
    fn end(&self, global: GlobalRuntimeState) {
        self.handles.take();
        self.program.replace(Program {
            global: Rc::new(global),
            functions: BTreeMap::new(),
            variables: BTreeSet::new(),
        });
    }

    fn callback(&self, id: CallbackId) -> Result<Rc<Callback>, ScriptError> {
        let mut handles = self.handles.borrow_mut();
        if let Some(Some(callback)) = handles.get(id.index()) {
            return Ok(callback.clone());
        }
        let name = self.runtime.registry().callback_name(id).unwrap_or_else(|| "".into());
        let callback = self.program.borrow().functions.get(&*name).cloned().ok_or_else(|| {
            ScriptError::new(ErrorCode::MissingCallback, format!("the script defines no function '{name}'"))
        })?;
        if handles.len() <= id.index() {
            handles.resize(id.index() + 1, None);
        }
        if let Some(slot) = handles.get_mut(id.index()) {
            *slot = Some(callback.clone());
        }
        Ok(callback)
    }
}

/// What the sources loaded so far have defined.
pub(crate) struct Program {
    /// The state that each call starts from: the functions of each source, imported modules, constants.
    pub(crate) global: Rc<GlobalRuntimeState>,
    pub(crate) functions: BTreeMap<String, Rc<Callback>>,
    pub(crate) variables: BTreeSet<String>,
}

/// The functions of one name, of any number of parameters.
#[derive(Clone, Debug)]
pub(crate) struct Callback {
    pub(crate) name: String,
    /// The numbers of parameters, ascending, with the file and place of each function.
    pub(crate) overloads: BTreeMap<usize, (String, Position)>,
}

impl Callback {
    /// Chooses the function for a number of arguments: of as many parameters, else of the most fewer ones.
    fn overload(&self, given: usize) -> Result<(usize, &str, Position), ScriptError> {
        if let Some((&params, (file, position))) = self.overloads.range(..=given).next_back() {
            return Ok((params, file, *position));
        }
        let (least, place) = self.overloads.iter().next().map_or((0, None), |(least, place)| (*least, Some(place)));
        let message = format!("function '{}' has {least} parameters, but the host passes {given}", self.name);
        let error = ScriptError::new(ErrorCode::ArgumentCount, message);
        Err(match place.and_then(|(file, position)| Some((file, line_of(*position)?))) {
            Some((file, line)) => error.at(file, line),
            None => error,
        })
    }
}

/// A loaded script with its own engine.
pub(crate) struct RhaiInterpreter {
    pub(crate) engine: Engine,
    pub(crate) shared: Rc<Shared>,
}

impl RhaiInterpreter {
    fn view(&self) -> View<'_> {
        View { engine: &self.engine, shared: &self.shared, call: None }
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

    fn place(&self) -> Option<Place> {
        None
    }

    fn definition(&self, callback: CallbackId) -> Option<Place> {
        self.view().definition(callback)
    }

    fn accepts(&self, name: &str, arguments: usize) -> Result<(), ScriptError> {
        match self.shared.program.borrow().functions.get(name) {
            Some(callback) => callback.overload(arguments).map(|_| ()),
            None => Ok(()),
        }
    }
}

impl Drop for RhaiInterpreter {
    /// Frees the values of the script, which may be nested deep, where there is room for it.
    fn drop(&mut self) {
        on_stack(|| {
            self.shared.end(self.engine.new_global_runtime_state());
            drop(mem::replace(&mut self.engine, Engine::new_raw()));
        });
    }
}

/// The interpreter as a native function sees it, from the call it is in.
pub(crate) struct View<'a> {
    engine: &'a Engine,
    shared: &'a Shared,
    call: Option<&'a NativeCallContext<'a>>,
}

impl<'a> View<'a> {
    pub(crate) fn of_call(shared: &'a Shared, call: &'a NativeCallContext<'a>) -> View<'a> {
        View { engine: call.engine(), shared, call: Some(call) }
    }

    fn run(
        &self,
        callback: &Callback,
        params: usize,
        position: Position,
        args: &[Arg<'_>],
    ) -> Result<Dynamic, Box<EvalAltResult>> {
        let mut values: Vec<Dynamic> = args.iter().take(params).filter_map(arg_to_dynamic).collect();
        let mut values: Vec<&mut Dynamic> = values.iter_mut().collect();
        let global = self.shared.program.borrow().global.clone();
        let _running = self.shared.stack.enter();
        NativeCallContext::new_with_all_fields(self.engine, &callback.name, None, &global, position).call_fn_raw(
            &callback.name,
            false,
            false,
            &mut values,
        )
    }

    fn ended(&self, error: EvalAltResult, file: &str) -> Result<Value, ScriptError> {
        if let Some(limit) = exceeded(&self.shared.runtime, &error) {
            let place = describe(self.shared, error, file, None).place.take();
            self.shared.runtime.exhaust(limit, place);
            return Ok(Value::Nil);
        }
        if self.shared.runtime.ending().is_some() {
            return Ok(Value::Nil);
        }
        if let EvalAltResult::Exit(..) = error.unwrap_inner() {
            self.shared.runtime.end(Control::Exit);
            return Ok(Value::Nil);
        }
        Err(describe(self.shared, error, file, None))
    }
}

impl Interpreter for View<'_> {
    fn resolve(&self, name: &str) -> bool {
        self.shared.program.borrow().functions.contains_key(name)
    }

    fn functions(&self) -> Vec<String> {
        self.shared.program.borrow().functions.keys().cloned().collect()
    }

    fn call(&self, id: CallbackId, args: &[Arg<'_>]) -> Result<Value, ScriptError> {
        let callback = self.shared.callback(id)?;
        if let Some(arg) = args.iter().find(|arg| matches!(arg, Arg::Foreign(_))) {
            let message = format!("the host passes a {} to '{}'", arg.type_name(), callback.name);
            return Err(ScriptError::new(ErrorCode::ValueNotConvertible, message));
        }
        let (params, file, position) = callback.overload(args.len())?;
        // What a native function panics with never comes here; this keeps a fault of the interpreter from the host.
        match catch_unwind(AssertUnwindSafe(|| self.run(&callback, params, position, args))) {
            Ok(Ok(value)) => {
                self.shared.runtime.host_side(|| to_value(&value)).map_err(|error| match line_of(position) {
                    Some(line) => error.at(file, line),
                    None => error,
                })
            }
            Ok(Err(error)) => self.ended(*error, file),
            Err(_) => Err(ScriptError::new(ErrorCode::Runtime, "the interpreter itself panicked")
                .with_hint("this is a bug in the Rhai engine; its message is on the standard error output")),
        }
    }

    fn place(&self) -> Option<Place> {
        let call = self.call?;
        let line = line_of(call.call_position())?;
        Some(Place { file: call.call_source().unwrap_or("script").to_owned(), line })
    }

    fn definition(&self, callback: CallbackId) -> Option<Place> {
        let callback = self.shared.callback(callback).ok()?;
        let (file, position) = callback.overloads.values().next_back()?;
        Some(Place { file: file.clone(), line: line_of(*position)? })
    }
}

/// Returns the line of a position, as the host counts lines.
pub(crate) fn line_of(position: Position) -> Option<u32> {
    position.line().and_then(|line| u32::try_from(line).ok())
}
