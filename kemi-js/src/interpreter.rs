//! The host's handle of an interpreter, its state, and the calls from the host into the script.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::path::Path;
use std::pin::Pin;
use std::ptr::NonNull;
use std::rc::Rc;

use boa_engine::builtins::promise::PromiseState;
use boa_engine::module::IdleModuleLoader;
use boa_engine::object::JsObject;
use boa_engine::object::builtins::JsPromise;
use boa_engine::property::PropertyKey;
use boa_engine::{Context, JsError, JsResult, JsValue, Script};
use kemi_core::engine::{Interpreter, Runtime};
use kemi_core::limits::Facility;
use kemi_core::{Arg, CallbackId, ErrorCode, Location, ScriptError, Source, Value};

use crate::call::CallFrame;
use crate::error::Diagnostics;
use crate::functions::KeptFunctions;
use crate::interrupt::{Interrupt, Slices};
use crate::jobs::Jobs;
use crate::library::clock;
use crate::memory::{Collector, HeapUser};
use crate::objects::Objects;
use crate::value::{self, ConvertError, Unfit};
use crate::{error, integrity, interrupt, memory, nesting, source, stack, string, terminate};

/// The host's handle of an interpreter, which ends with it.
///
/// A type of its own, since the host owns a box and function objects need an address that its moves leave alone.
pub(crate) struct JsInterpreter(Rc<State>);

impl JsInterpreter {
    /// Makes an interpreter without a script; `install` defines its globals.
    ///
    /// # Errors
    /// Boa refuses to set something up, the system refuses the handler of a signal, or the thread is about to end.
    pub(crate) fn new(
        runtime: Rc<Runtime>,
        install: impl FnOnce(&Rc<State>, &mut Context) -> JsResult<()>,
    ) -> Result<JsInterpreter, ScriptError> {
        if !memory::is_available() {
            return Err(ScriptError::new(
                ErrorCode::Runtime,
                "no JavaScript is loaded on a thread that is about to end",
            ));
        }
        stack::run(|| State::new(runtime, install)).map(JsInterpreter)
    }

    /// Runs the sources' top level in order.
    ///
    /// An exit ends the loading: sources after it are not run.
    ///
    /// # Errors
    /// That of the first source which cannot be read or compiled, or whose top level fails.
    pub(crate) fn run(&self, sources: &[Source]) -> Result<(), ScriptError> {
        self.0.run(sources)
    }
}

impl Interpreter for JsInterpreter {
    fn resolve(&self, name: &str) -> bool {
        self.0.resolve(name)
    }

    fn functions(&self) -> Vec<String> {
        self.0.functions()
    }

    fn call(&self, callback: CallbackId, args: &[Arg<'_>]) -> Result<Value, ScriptError> {
        self.0.call(callback, args)
    }

    fn call_function(&self, slot: u32, args: &[Arg<'_>]) -> Result<Value, ScriptError> {
        self.0.call_function(slot, args)
    }

    fn release_functions(&self, slots: &[u32]) {
        self.0.release_functions(slots);
    }

    fn place(&self) -> Option<Location> {
        self.0.place()
    }

    fn definition(&self, callback: CallbackId) -> Option<Location> {
        self.0.definition(callback)
    }
}

/// The state of one interpreter. Its function objects refer to it.
pub(crate) struct State {
    runtime: Rc<Runtime>,
    /// The context; `None` once the interpreter is closed.
    context: Cell<Option<NonNull<Context>>>,
    frame: CallFrame,
    interrupt: Pin<Box<Interrupt>>,
    slices: Slices,
    collector: Collector,
    jobs: Rc<Jobs>,
    diagnostics: Rc<Diagnostics>,
    functions: RefCell<Functions>,
    kept: KeptFunctions,
    objects: Objects,
}

/// The script's functions that the host has looked up, and names for more.
#[derive(Default)]
struct Functions {
    callbacks: Vec<Option<JsObject>>,
    /// Functions that are bound by `let` or `const`, which only code can look up.
    lexical: HashMap<String, JsObject>,
    /// Names that may be bound to such a function, for suggestions.
    candidates: Vec<String>,
    /// The globals that the script has not made, in lines: a list would take five times as much, in each interpreter.
    builtin: Box<str>,
}

impl State {
    fn new(
        runtime: Rc<Runtime>,
        install: impl FnOnce(&Rc<State>, &mut Context) -> JsResult<()>,
    ) -> Result<Rc<State>, ScriptError> {
        let diagnostics = Rc::new(Diagnostics::new(runtime.clone()));
        let jobs = Rc::new(Jobs::new(runtime.clone(), diagnostics.clone()));
        let mut builder = Context::builder()
            .job_executor(jobs.queue())
            .host_hooks(jobs.clone())
            .module_loader(Rc::new(IdleModuleLoader))
            .can_block(false);
        if !runtime.registry().profile().allows(Facility::Clock) {
            builder = builder.clock(clock::Hidden::new());
        }
        let context = builder
            .build()
            .map_err(|error| ScriptError::new(ErrorCode::Runtime, format!("cannot set up JavaScript: {error}")))?;
        let mut owned = NonNull::from(Box::leak(Box::new(context)));
        // SAFETY: nothing else refers to the context yet, which stays in its box as long as the state lives.
        let interrupt = unsafe { Interrupt::new(runtime.clone(), owned.as_mut()) };
        // SAFETY: as above; `close` drops the context after it has closed the frame, and uses it for nothing else.
        let frame = unsafe { CallFrame::new(runtime.registry().limits(), owned) };
        let state = Rc::new(State {
            kept: KeptFunctions::new(runtime.clone()),
            runtime,
            context: Cell::new(Some(owned)),
            frame,
            interrupt,
            slices: Slices::default(),
            collector: Collector::new(),
            jobs,
            diagnostics,
            functions: RefCell::default(),
            objects: Objects::default(),
        });
        memory::register(&state);
        state.jobs.set_interpreter(&*state);
        let installed = state.frame.with_context(|context| {
            let result = state.install(install, context);
            result.map_err(|error| state.diagnostics.script_error(error, context))
        });
        installed.unwrap_or_else(|| Err(busy()))?;
        state.collector.arm(&state.runtime);
        interrupt::arm(&state.runtime)?;
        Ok(state)
    }

    fn install(
        self: &Rc<Self>,
        install: impl FnOnce(&Rc<State>, &mut Context) -> JsResult<()>,
        context: &mut Context,
    ) -> JsResult<()> {
        // SAFETY: both are in the state, which stays where it is and outlives the context.
        unsafe {
            self.frame.install(context)?;
            self.slices.install(context)?;
        }
        self.diagnostics.install(context);
        install(self, context)?;
        self.functions.borrow_mut().builtin = global_names(context)?.join("\n").into();
        Ok(())
    }

    fn run(&self, sources: &[Source]) -> Result<(), ScriptError> {
        for source in sources {
            if self.runtime.pending_exit().is_some() {
                break;
            }
            let name = source.name();
            let bytes = source.read()?;
            let code = source::utf8(&bytes, &name)?;
            let result = self.enter(|context| {
                let script = self.compile(code, code, &name, context)?;
                self.functions.borrow_mut().candidates.extend(source::lexical_names(code));
                self.outermost(context, |context| script.evaluate(context).map(|_| JsValue::undefined()))
            });
            memory::collect_garbage(&self.runtime);
            result?;
        }
        Ok(())
    }

    pub(crate) fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    pub(crate) fn diagnostics(&self) -> &Diagnostics {
        &self.diagnostics
    }

    /// Returns the functions that the host keeps.
    pub(crate) fn kept(&self) -> &KeptFunctions {
        &self.kept
    }

    /// Returns the objects of the host that the script has.
    pub(crate) fn objects(&self) -> &Objects {
        &self.objects
    }

    /// Collects garbage if much has been allocated since the last time.
    #[inline]
    pub(crate) fn collect_if_due(&self) {
        self.collector.collect_if_due(&self.runtime);
    }

    /// Makes the context reachable for the interpreter's methods while a native function runs.
    pub(crate) fn lend_context<R>(&self, context: &mut Context, run: impl FnOnce() -> R) -> R {
        self.collect_if_due();
        self.frame.lend_context(context, run)
    }

    /// Returns where the script is, while a native function of it runs.
    pub(crate) fn place_in(&self, context: &mut Context) -> Option<Location> {
        self.diagnostics.place(self.frame.limits(), context)
    }

    /// Returns where the script reads a member of an object, while a native function does it.
    #[cold]
    pub(crate) fn place_of_member(&self, name: &str, context: &mut Context) -> Option<Location> {
        self.diagnostics.place_of_member(name, self.frame.limits(), context)
    }

    /// Runs something after which the script may go on, whatever has ended it; see [`CallFrame::in_own_frame`].
    ///
    /// # Errors
    /// There is no room for a frame, or the call is to end.
    pub(crate) fn in_own_frame<R>(
        &self,
        context: &mut Context,
        run: impl FnOnce(&mut Context) -> R,
    ) -> Result<R, ScriptError> {
        let result = self.frame.in_own_frame(context, run).map_err(|error| match error {
            Some(error) => {
                self.note_limit(&error, context);
                self.diagnostics.script_error(error, context)
            }
            None => busy(),
        });
        // What used up the stack has ended, and is described; the frame has set the limits that had stopped it.
        stack::rearm();
        result
    }

    /// Compiles a classic script; `shown` is what its lines look like in the file.
    ///
    /// # Errors
    /// The mistake with its place, or what the script replaces of the root object.
    pub(crate) fn compile(
        &self,
        code: &str,
        shown: &str,
        name: &str,
        context: &mut Context,
    ) -> Result<Script, ScriptError> {
        self.diagnostics.add_text(name, shown);
        if !nesting::is_short(code.len()) {
            let checked = nesting::check(code, nesting::Goal::Script, nesting::DEPTH_THERE, Some(&self.runtime));
            checked.map_err(|stop| {
                if stop == nesting::Stop::Over {
                    self.runtime.poll(self);
                }
                stop.error(name)
            })?;
        }
        let compiled = stack::on_large(nesting::stack_for(code.len()), || {
            // By a reader that Boa has a parser for already: another one would be compiled with this crate, without optimisation.
            let source = boa_engine::Source::from_bytes(code).with_path(Path::new(name));
            let script = Script::parse(source, None, context);
            // Some mistakes, such as two `let` of one name, are found only here.
            let script = script.and_then(|script| script.codeblock(context).map(|_| script));
            script.map_err(|error| error::syntax_error(&error, name, shown))
        });
        let script = compiled.unwrap_or_else(|| Err(nesting::Stop::Deep(1).error(name)))?;
        integrity::refuse_replaced(shown, name, self.runtime.registry())?;
        Ok(script)
    }

    /// Runs something in the interpreter, on the stack for scripts and in a frame of its own.
    fn enter<R>(&self, run: impl FnOnce(&mut Context) -> Result<R, ScriptError>) -> Result<R, ScriptError> {
        let entered = || {
            self.frame.with_context(|context| self.interrupt.as_ref().interruptible(|| self.in_own_frame(context, run)))
        };
        match stack::catch(entered) {
            Ok(Some(result)) => result.flatten(),
            Ok(None) => Err(busy()),
            Err(payload) => {
                // Boa asserts here and there that nothing ends what it runs; what a limit ends is no fault of it.
                self.runtime.poll(self);
                let text = payload.downcast_ref::<&str>().copied();
                let text =
                    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message");
                Err(ScriptError::new(ErrorCode::Runtime, format!("the JavaScript engine panicked: {text}"))
                    .with_hint("this is a bug in the engine, not in the script"))
            }
        }
    }

    /// Runs code of the script from outside of any script, then the job queue.
    fn outermost(
        &self,
        context: &mut Context,
        run: impl FnOnce(&mut Context) -> JsResult<JsValue>,
    ) -> Result<Value, ScriptError> {
        let _running = self.frame.begin();
        self.collector.prepare_call(&self.runtime);
        let result = run(context);
        self.jobs.run(context);
        let result = self.finish(result, context);
        if result.is_ok() {
            // An async function that a limit has ended ends without an error.
            self.runtime.poll(self);
        }
        result
    }

    /// Turns how a function ended into the callback's result.
    fn finish(&self, result: JsResult<JsValue>, context: &mut Context) -> Result<Value, ScriptError> {
        if let Err(error) = &result {
            self.note_limit(error, context);
        }
        if self.runtime.pending_exit().is_some() {
            return Ok(Value::Nil);
        }
        let value = result.map_err(|error| self.diagnostics.script_error(error, context))?;
        let value = match value.as_object().map(JsPromise::from_object) {
            Some(Ok(promise)) => self.settled(&promise, context)?,
            _ => value,
        };
        match value::to_host(&value, &self.kept, context) {
            Ok(value) => Ok(value),
            Err(ConvertError::Unfit(unfit)) => Err(unfit.of("the result")),
            Err(ConvertError::Thrown(error)) => {
                // Getters may end the callback as well.
                self.note_limit(&error, context);
                match self.runtime.pending_exit() {
                    Some(_) => Ok(Value::Nil),
                    None => Err(self.diagnostics.script_error(error, context)),
                }
            }
        }
    }

    fn note_limit(&self, error: &JsError, context: &mut Context) {
        terminate::note_limit(&self.runtime, &self.diagnostics, error, context);
    }

    /// Returns the value that fulfils the promise of an async callback.
    fn settled(&self, promise: &JsPromise, context: &mut Context) -> Result<JsValue, ScriptError> {
        match promise.state() {
            PromiseState::Fulfilled(value) => Ok(value),
            PromiseState::Rejected(reason) => {
                self.jobs.handled(&JsObject::from(promise.clone()));
                Err(self.diagnostics.script_error(JsError::from_opaque(reason), context))
            }
            PromiseState::Pending => {
                let message = "the async callback waits for a promise that nothing is left to settle";
                Err(ScriptError::new(ErrorCode::ValueNotConvertible, message)
                    .with_hint("a callback that is called by a native function cannot await"))
            }
        }
    }

    /// Calls a callback, or a function of no name, that is looked up in the context.
    #[inline]
    fn call_found(
        &self,
        callback: Option<CallbackId>,
        find: impl FnOnce(&mut Context) -> Result<JsObject, ScriptError>,
        args: &[Arg<'_>],
    ) -> Result<Value, ScriptError> {
        let result = self.enter(|context| {
            let function = find(context)?;
            let mut given = Vec::with_capacity(args.len());
            for arg in args {
                match value::from_arg(arg, self, context) {
                    Ok(arg) => given.push(arg),
                    Err(error) => return Err(self.not_given(error, context)),
                }
            }
            let run = |context: &mut Context| match interrupt::needs_slices(&self.runtime) {
                true => self.slices.call(&self.interrupt, self, &function, &given, context),
                false => function.call(&JsValue::undefined(), &given, context),
            };
            let mut result = match self.frame.is_running() {
                false => self.outermost(context, run),
                true => {
                    let result = run(context);
                    self.finish(result, context)
                }
            };
            if let Err(error) = &mut result {
                self.add_place(error, &function, callback, context);
            }
            result
        });
        if !self.frame.is_running() {
            memory::collect_garbage(&self.runtime);
        }
        result
    }

    /// Describes why an argument of a callback has not been given to the script.
    #[cold]
    fn not_given(&self, error: ConvertError, context: &mut Context) -> ScriptError {
        match error {
            ConvertError::Thrown(error) => self.diagnostics.script_error(error, context),
            ConvertError::Unfit(Unfit::Other(error)) => error,
            ConvertError::Unfit(unfit) => unfit.of("the argument"),
        }
    }

    /// Adds the place of a function's definition to an error about its result.
    #[cold]
    fn add_place(
        &self,
        error: &mut ScriptError,
        function: &JsObject,
        callback: Option<CallbackId>,
        context: &mut Context,
    ) {
        if error.code == ErrorCode::ValueNotConvertible && error.place.is_none() {
            let place = self.diagnostics.place_of(function, context);
            error.place = place.or_else(|| self.definition(callback?));
        }
    }

    fn callback(&self, callback: CallbackId, context: &mut Context) -> Result<JsObject, ScriptError> {
        let cached = self.functions.borrow().callbacks.get(callback.index()).cloned().flatten();
        if let Some(function) = cached {
            return Ok(function);
        }
        let name = self.runtime.registry().callback_name(callback).unwrap_or_default();
        let Some(function) = self.function(&name, context) else {
            return Err(ScriptError::missing_callback(&name));
        };
        let callbacks = &mut self.functions.borrow_mut().callbacks;
        if callbacks.len() <= callback.index() {
            callbacks.resize(callback.index() + 1, None);
        }
        if let Some(slot) = callbacks.get_mut(callback.index()) {
            *slot = Some(function.clone());
        }
        Ok(function)
    }

    /// Finds a global function by name.
    fn function(&self, name: &str, context: &mut Context) -> Option<JsObject> {
        let global = context.global_object();
        if let Some(function) = global.get(string::to_js(name.as_bytes()), context).ok().and_then(|v| v.as_callable()) {
            return Some(function);
        }
        if let Some(function) = self.functions.borrow().lexical.get(name) {
            return Some(function.clone());
        }
        // The name comes from anywhere; nothing but a name is ever run as code.
        if !source::is_name(name) {
            return None;
        }
        let source = boa_engine::Source::from_bytes(name).with_path(Path::new(source::ENGINE_FILE));
        let value = Script::parse(source, None, context).and_then(|script| script.evaluate(context)).ok()?;
        let function = value.as_callable()?;
        self.functions.borrow_mut().lexical.insert(name.to_owned(), function.clone());
        Some(function)
    }
}

impl Interpreter for State {
    fn resolve(&self, name: &str) -> bool {
        let found = self.enter(|context| {
            if !self.frame.is_running() {
                self.frame.limits().restrict_to_lookup(context);
            }
            Ok(self.function(name, context).is_some())
        });
        found.unwrap_or(false)
    }

    fn functions(&self) -> Vec<String> {
        let names = self.enter(|context| {
            let functions = self.functions.borrow();
            let global = global_names(context).unwrap_or_default();
            let own = global.into_iter().filter(|name| !functions.builtin.lines().any(|known| known == name));
            Ok(own.chain(functions.candidates.iter().cloned()).collect::<Vec<String>>())
        });
        let mut names = names.unwrap_or_default();
        names.retain(|name| self.resolve(name));
        names.sort();
        names.dedup();
        names
    }

    fn call(&self, callback: CallbackId, args: &[Arg<'_>]) -> Result<Value, ScriptError> {
        self.call_found(Some(callback), |context| self.callback(callback, context), args)
    }

    fn call_function(&self, slot: u32, args: &[Arg<'_>]) -> Result<Value, ScriptError> {
        self.call_found(None, |_| self.kept.get(slot), args)
    }

    fn release_functions(&self, slots: &[u32]) {
        self.kept.release(slots);
    }

    fn place(&self) -> Option<Location> {
        if !self.frame.is_running() {
            return None;
        }
        self.frame.with_context(|context| self.place_in(context)).flatten()
    }

    fn definition(&self, callback: CallbackId) -> Option<Location> {
        self.diagnostics.definition(callback)
    }
}

impl HeapUser for State {
    fn close(&self) {
        let Some(owned) = self.context.take() else { return };
        stack::run(|| {
            self.frame.close();
            self.functions.take();
            self.kept.clear();
            self.objects.clear();
            self.diagnostics.clear();
            self.slices.clear();
            self.jobs.clear();
            // SAFETY: it came from a box, nothing runs in the context any more, and both slots are empty now.
            drop(unsafe { Box::from_raw(owned.as_ptr()) });
        });
    }
}

impl Drop for State {
    fn drop(&mut self) {
        if self.context.get().is_some() {
            self.close();
            memory::unregister(self, &self.runtime);
        }
    }
}

fn global_names(context: &mut Context) -> JsResult<Vec<String>> {
    let keys = context.global_object().own_property_keys(context)?;
    let names = keys.into_iter().filter_map(|key| match key {
        PropertyKey::String(name) => Some(string::lossy(&name)),
        _ => None,
    });
    Ok(names.collect())
}

#[cold]
fn busy() -> ScriptError {
    ScriptError::new(ErrorCode::Runtime, "the interpreter cannot be entered from here").with_hint(
        "call back into the script only through the Script that the native function was given, and not while the thread ends",
    )
}
