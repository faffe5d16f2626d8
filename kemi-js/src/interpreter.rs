//! One interpreter: Boa's context, who may use it when, and how code in it is run.

use std::cell::{Cell, Ref, RefCell};
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::pin::Pin;
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};

use boa_engine::builtins::promise::PromiseState;
use boa_engine::module::IdleModuleLoader;
use boa_engine::object::JsObject;
use boa_engine::object::builtins::{JsPromise, JsWeakMap};
use boa_engine::vm::RuntimeLimits;
use boa_engine::{Context, JsError, JsResult, JsValue, NativeFunction, Script, js_string};
use kemi_core::{
    Arg, CallbackId, ErrorCode, Interpreter, Limit, Limits, Place, Runtime, ScriptError, Source, Value, held_bytes,
    log_guarded,
};

use crate::import::Modules;
use crate::interrupt::Brake;
use crate::jobs::Jobs;
use crate::library::{proxy, regexp};
use crate::slices::Driver;
use crate::source::Texts;
use crate::value::{self, Trouble};
use crate::{bind, console, error, memory, nesting, references, sandbox, source, stack, string};

/// How deep functions may call each other at most; a call through a built-in such as `forEach` counts twice.
///
/// Such a call takes native stack as well, and running out of that ends the process. Measured without optimisation,
/// this many levels of the worst built-in fit into 1.5 MiB: a thread with Rust's default of 2 MiB is safe.
const RECURSION: usize = 512;

/// How many levels there are beyond those of the script: nested callbacks take some each.
const SPARE: usize = 112;

/// How deep Boa takes a frame of [`Core::sealed`] to be: itself, and the call from Rust that makes it.
const SEAL: usize = 2;

/// How many values the interpreter's stack may hold.
const STACK: usize = 64 * 1024;

/// How many loop turns and nested calls a lookup may take outside of any call.
const FEW: u64 = 32;

/// How many times garbage is collected while the limit of memory is allocated.
const COLLECTIONS: u64 = 4;

/// The file name of the interpreter's own code, which tracebacks leave out.
pub(crate) const OWN: &str = "kemi-js";

/// What a native function is bound to, and what runs the script.
pub(crate) struct Core {
    runtime: Rc<Runtime>,
    /// Where the context may be reached now: empty while somebody has it.
    current: Cell<Option<NonNull<Context>>>,
    /// The context; `None` once the interpreter is closed.
    owned: Cell<Option<NonNull<Context>>>,
    depth: Cell<u32>,
    jobs: Rc<Jobs>,
    modules: Modules,
    driver: Driver,
    brake: Pin<Box<Brake>>,
    /// What the context's limits are while nothing has pulled the brake.
    limits: Cell<RuntimeLimits>,
    /// What the thread holds when the next collection of garbage is due.
    collect_at: Cell<i64>,
    handles: RefCell<Handles>,
    /// What the next frame of `sealed` is to run.
    job: Cell<Option<Job>>,
    /// The last unknown name that was looked up.
    unknown: RefCell<String>,
    texts: RefCell<Texts>,
}

/// Objects that are looked up once.
#[derive(Default)]
struct Handles {
    /// The function that makes the frame of [`Core::sealed`], and the argument that makes it run the job.
    enter: Option<(JsObject, JsValue)>,
    stack_of_error: Option<JsObject>,
    /// By error object: the error of the host that it carries.
    carriers: Option<JsWeakMap>,
    callbacks: Vec<Option<JsObject>>,
    /// Functions that are bound by `let` or `const`, which only code can look up.
    lexical: HashMap<String, JsObject>,
    /// What could be such a function, for suggestions.
    candidates: Vec<String>,
    builtin: Vec<String>,
}

/// Points to what `sealed` runs, which lives until that returns.
type Job = NonNull<dyn FnMut(&mut Context)>;

impl Core {
    /// Creates an interpreter with everything bound, and no script yet.
    pub(crate) fn new(runtime: Rc<Runtime>, sources: &[Source]) -> Result<Rc<Core>, ScriptError> {
        if !memory::is_there() {
            return Err(ScriptError::new(
                ErrorCode::Runtime,
                "no JavaScript is loaded on a thread that is about to end",
            ));
        }
        stack::run(|| Core::set_up(runtime, sources))
    }

    fn set_up(runtime: Rc<Runtime>, sources: &[Source]) -> Result<Rc<Core>, ScriptError> {
        let jobs = Rc::new(Jobs::default());
        let context = Context::builder()
            .job_executor(jobs.queue())
            .host_hooks(jobs.clone())
            .module_loader(Rc::new(IdleModuleLoader))
            .can_block(false)
            .build()
            .map_err(|error| ScriptError::new(ErrorCode::Runtime, format!("cannot set up JavaScript: {error}")))?;
        let mut owned = NonNull::from(Box::leak(Box::new(context)));
        // SAFETY: nothing else refers to the context yet, which stays in its box as long as the core lives.
        let brake = unsafe { Brake::new(runtime.clone(), owned.as_mut()) };
        let limits = limits(runtime.registry().limits());
        let core = Rc::new(Core {
            runtime,
            current: Cell::new(Some(owned)),
            owned: Cell::new(Some(owned)),
            depth: Cell::new(0),
            jobs,
            modules: Modules::new(sources),
            driver: Driver::default(),
            brake,
            limits: Cell::new(limits),
            collect_at: Cell::new(i64::MAX),
            handles: RefCell::default(),
            job: Cell::default(),
            unknown: RefCell::default(),
            texts: RefCell::default(),
        });
        memory::enter(&core);
        core.jobs.serve(&core);
        core.lend(|context| {
            core.set_limits(limits, context);
            core.prepare(context).map_err(|error| error::script_error(&core, error, context))
        })
        .unwrap_or_else(|| Err(busy()))?;
        core.arm()?;
        Ok(core)
    }

    /// Runs the sources' top level in order.
    ///
    /// An exit ends the loading: sources after it are not run.
    pub(crate) fn run(&self, sources: &[Source]) -> Result<(), ScriptError> {
        for source in sources {
            if self.runtime.ending().is_some() {
                break;
            }
            let name = source.name();
            let bytes = source.read()?;
            let code = source::utf8(&bytes, &name)?;
            let result = self.guarded(|context| {
                let script = self.compile(code, code, &name, context)?;
                self.handles.borrow_mut().candidates.extend(source::lexical_names(code));
                self.outermost(context, |context| script.evaluate(context).map(|_| JsValue::undefined()))
            });
            self.tidy();
            result?;
        }
        Ok(())
    }

    /// Makes the limits on time and memory hold.
    fn arm(&self) -> Result<(), ScriptError> {
        let limits = self.runtime.registry().limits();
        if self.runtime.count_memory() {
            self.plan_collection();
        } else {
            warn_uncounted();
        }
        #[cfg(unix)]
        if limits.max_time_ms != 0 || limits.max_load_time_ms != 0 || limits.max_memory != 0 {
            let interrupt = kemi_core::interrupt::for_this_thread().map_err(|error| {
                let message = format!("cannot limit the script's time: no handler for the signal SIGURG: {error}");
                ScriptError::new(ErrorCode::Runtime, message)
            })?;
            self.runtime.on_interrupt(Some(interrupt));
        }
        Ok(())
    }

    /// Sets the interpreter's own limits, as they are to be unless something pulls the brake.
    fn set_limits(&self, limits: RuntimeLimits, context: &mut Context) {
        self.limits.set(limits);
        context.set_runtime_limits(limits);
    }

    pub(crate) fn brake(&self) -> &Brake {
        &self.brake
    }

    /// Returns whether instructions are counted.
    pub(crate) fn counts(&self) -> bool {
        self.runtime.registry().limits().max_instructions != 0
    }

    /// Returns whether callbacks run in slices: to be counted, and where no signal can stop them.
    fn slices(&self) -> bool {
        self.counts() || (cfg!(not(unix)) && self.runtime.registry().limits().max_time_ms != 0)
    }

    /// Collects garbage if much has been allocated since the last time.
    ///
    /// Boa does so by what its objects take themselves, whatever strings and elements they hold.
    #[inline]
    pub(crate) fn collect_if_due(&self) {
        if held_bytes() > self.collect_at.get() {
            self.collect();
        }
    }

    #[cold]
    fn collect(&self) {
        memory::collect(&self.runtime);
        self.plan_collection();
    }

    /// Plans the next collection of garbage in a call: when it has allocated a step from now on.
    fn plan_collection(&self) {
        let step = i64::try_from(self.collection_step()).unwrap_or(i64::MAX);
        self.collect_at.set(held_bytes().saturating_add(step));
    }

    /// Returns how many bytes may be allocated between two collections of garbage.
    fn collection_step(&self) -> u64 {
        match self.runtime.registry().limits().max_memory {
            0 => u64::MAX,
            most => most / COLLECTIONS,
        }
    }

    pub(crate) fn driver(&self) -> &Driver {
        &self.driver
    }

    pub(crate) fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// Returns the list of error objects that carry an error of the host.
    #[cold]
    pub(crate) fn carriers(&self, context: &mut Context) -> JsWeakMap {
        self.handles.borrow_mut().carriers.get_or_insert_with(|| JsWeakMap::new(context)).clone()
    }

    pub(crate) fn modules(&self) -> &Modules {
        &self.modules
    }

    /// Makes the context reachable for the interpreter's methods while a native function runs.
    pub(crate) fn during<R>(&self, context: &mut Context, run: impl FnOnce() -> R) -> R {
        self.collect_if_due();
        let _back = Back { slot: &self.current, value: self.current.replace(Some(NonNull::from(context))) };
        run()
    }

    /// Takes the context; `None` while somebody else has it.
    fn lend<R>(&self, run: impl FnOnce(&mut Context) -> R) -> Option<R> {
        let pointer = self.current.take()?;
        let _back = Back { slot: &self.current, value: Some(pointer) };
        // SAFETY: the slot holds the owned context while no code runs in it, or what `during` was given for as long
        // as that borrow lasts and is not used otherwise; taking it out of the slot makes this the only use.
        Some(run(unsafe { &mut *pointer.as_ptr() }))
    }

    fn prepare(self: &Rc<Self>, context: &mut Context) -> JsResult<()> {
        let core = Rc::as_ptr(self);
        let enter = NativeFunction::from_copy_closure(move |_, _, context| {
            // SAFETY: function objects of this context run only while the core that owns it is alive.
            if let Some(mut job) = unsafe { &*core }.job.take() {
                // SAFETY: `sealed` keeps the job while this runs, and taking it out made this its only use.
                let job = unsafe { job.as_mut() };
                job(context);
            }
            Ok(JsValue::undefined())
        });
        let enter = enter.to_js_function(context.realm());
        // What `sealed` is about: this function returns normally, whatever it runs.
        let source = boa_engine::Source::from_bytes("(function (enter) { enter(); })").with_path(Path::new(OWN));
        let around = Script::parse(source, None, context)?.evaluate(context)?.as_object();
        let error = context.intrinsics().constructors().error().prototype();
        let stack = error.borrow().properties().get(&js_string!("stack").into());
        {
            let mut handles = self.handles.borrow_mut();
            handles.enter = around.map(|around| (around, enter.into()));
            handles.stack_of_error = stack.and_then(|stack| stack.get().and_then(JsValue::as_object));
        }
        bind::root(self, context)?;
        Driver::install(core, context)?;
        console::install(self, context)?;
        self.modules.install(self, context)?;
        regexp::install(core, context)?;
        sandbox::install(core, context)?;
        proxy::install(context)?;
        self.handles.borrow_mut().builtin = global_names(context)?;
        Ok(())
    }

    /// Runs something in a frame of its own, whose end puts the interpreter's stack back as it was.
    ///
    /// When an exit, a limit or an error ends a function that Rust has called, Boa may leave values of it on the stack.
    /// That is harmless while the error goes on to the script, but whoever takes it for something else and lets the
    /// script go on must have run the function in here: the script may be in the middle of a call, whose callee and
    /// arguments Boa then looks for in the wrong place.
    pub(crate) fn sealed<R>(
        &self,
        context: &mut Context,
        run: impl FnOnce(&mut Context) -> R,
    ) -> Result<R, ScriptError> {
        let Some((around, enter)) = self.handles.borrow().enter.clone() else {
            return Err(busy());
        };
        let limits = self.limits.get();
        // A panic of the engine shall not leave more.
        let _limits = Back { slot: &self.limits, value: limits };
        let (mut run, mut done) = (Some(run), None);
        let mut job = |context: &mut Context| {
            // The frame itself does not count: what it runs may be as deep as it could be without.
            let mut inside = limits;
            inside.set_recursion_limit(limits.recursion_limit().saturating_add(SEAL));
            self.set_limits(inside, context);
            done = run.take().map(|run| run(context));
        };
        let job: NonNull<dyn FnMut(&mut Context) + '_> = NonNull::from(&mut job);
        // SAFETY: only the life time differs; the slot is emptied below, before what the job borrows goes.
        let job = unsafe { std::mem::transmute::<NonNull<dyn FnMut(&mut Context) + '_>, Job>(job) };
        let result = {
            let _back = Back { slot: &self.job, value: None };
            self.job.set(Some(job));
            // A limit that stops the frame itself would leave it on the stack.
            self.set_limits(with_room(limits), context);
            around.call(&JsValue::undefined(), &[enter], context)
        };
        self.set_limits(limits, context);
        match (done, result) {
            (Some(done), _) => Ok(done),
            (None, Err(error)) => {
                self.note_limit(&error, context);
                Err(error::script_error(self, error, context))
            }
            (None, Ok(_)) => Err(busy()),
        }
    }

    /// Runs code of the script from outside of any script, then the job queue.
    fn outermost(
        &self,
        context: &mut Context,
        run: impl FnOnce(&mut Context) -> JsResult<JsValue>,
    ) -> Result<Value, ScriptError> {
        let _deeper = Back { slot: &self.depth, value: self.depth.replace(1) };
        if let Some(room) = self.runtime.memory_room() {
            if room < self.collection_step() {
                memory::collect_again(&self.runtime);
            }
            memory::run_script();
            self.plan_collection();
        }
        let result = run(context);
        self.jobs.run(self, context);
        let result = self.finish(result, context);
        if result.is_ok() {
            // An async function that a limit has ended ends without an error.
            self.runtime.poll(self);
        }
        result
    }

    /// Collects what a top-level call has left behind, if that is worth it; by now nothing of it is on the stack.
    fn tidy(&self) {
        match self.runtime.exhausted() {
            Some(Limit::Memory) => memory::collect(&self.runtime),
            _ => memory::collect_if_grown(&self.runtime),
        }
    }

    /// Turns how a function ended into the callback's result.
    fn finish(&self, result: JsResult<JsValue>, context: &mut Context) -> Result<Value, ScriptError> {
        if let Err(error) = &result {
            self.note_limit(error, context);
        }
        if self.runtime.ending().is_some() {
            return Ok(Value::Nil);
        }
        let value = result.map_err(|error| error::script_error(self, error, context))?;
        let value = match value.as_object().map(JsPromise::from_object) {
            Some(Ok(promise)) => self.settled(&promise, context)?,
            _ => value,
        };
        match value::to_host(&value, &self.runtime, context) {
            Ok(value) => Ok(value),
            Err(Trouble::Error(mut error)) => {
                error.message = format!("the result of the callback cannot be used: {}", error.message);
                Err(error)
            }
            Err(Trouble::Thrown(error)) => {
                // Getters may end the callback as well.
                self.note_limit(&error, context);
                match self.runtime.ending() {
                    Some(_) => Ok(Value::Nil),
                    None => Err(error::script_error(self, error, context)),
                }
            }
        }
    }

    /// Ends the top-level call if the error stands for a limit of it, and tells where that was.
    pub(crate) fn note_limit(&self, error: &JsError, context: &mut Context) {
        if !error::is_limit(error) {
            return;
        }
        // What a native function raises to end the callback looks the same.
        let looped = self.counts() && self.runtime.ending().is_none() && error::is_loop_limit(error);
        if let Some(limit) = self.runtime.over().or(looped.then_some(Limit::Instructions)) {
            let mut error = error::script_error(self, error.clone(), context);
            // Code made by the script itself is in no file; what made it is.
            let in_file = |place: &&Place| !place.file.starts_with("eval at") && !place.file.starts_with("unknown at");
            let mut places = error.traceback.iter().filter_map(|frame| frame.place.as_ref());
            let place = places.find(in_file).cloned().or_else(|| error.place.take());
            self.runtime.exhaust(limit, place);
        }
    }

    /// Returns what the promise of an async callback is fulfilled with.
    fn settled(&self, promise: &JsPromise, context: &mut Context) -> Result<JsValue, ScriptError> {
        match promise.state() {
            PromiseState::Fulfilled(value) => Ok(value),
            PromiseState::Rejected(reason) => {
                self.jobs.handled(&JsObject::from(promise.clone()));
                Err(error::script_error(self, JsError::from_opaque(reason), context))
            }
            PromiseState::Pending => {
                let message = "the async callback waits for a promise that nothing is left to settle";
                Err(ScriptError::new(ErrorCode::ValueNotConvertible, message)
                    .with_hint("a callback that is called by a native function cannot await"))
            }
        }
    }

    fn callback(&self, callback: CallbackId, context: &mut Context) -> Result<JsObject, ScriptError> {
        let cached = self.handles.borrow().callbacks.get(callback.index()).cloned().flatten();
        if let Some(function) = cached {
            return Ok(function);
        }
        let name = self.runtime.registry().callback_name(callback).unwrap_or_default();
        let Some(function) = self.function(&name, context) else {
            let message = format!("the script defines no function '{name}'");
            return Err(ScriptError::new(ErrorCode::MissingCallback, message));
        };
        let callbacks = &mut self.handles.borrow_mut().callbacks;
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
        if let Some(function) = self.handles.borrow().lexical.get(name) {
            return Some(function.clone());
        }
        // The name comes from anywhere; nothing but a name is ever run as code.
        if !source::is_name(name) {
            return None;
        }
        let source = boa_engine::Source::from_bytes(name).with_path(Path::new(OWN));
        let value = Script::parse(source, None, context).and_then(|script| script.evaluate(context)).ok()?;
        let function = value.as_callable()?;
        self.handles.borrow_mut().lexical.insert(name.to_owned(), function.clone());
        Some(function)
    }

    /// Returns where the script is, while a native function of it runs.
    pub(crate) fn place_in(&self, context: &mut Context) -> Option<Place> {
        let stack_of_error = self.handles.borrow().stack_of_error.clone()?;
        let error = context.intrinsics().constructors().error().constructor();
        // As in `sealed`. No code of the script runs here, so nothing else can fail.
        let limits = self.limits.get();
        self.set_limits(with_room(limits), context);
        let error = error.construct(&[], None, context);
        let stack = error.and_then(|error| stack_of_error.call(&error.into(), &[], context));
        self.set_limits(limits, context);
        let stack = string::lossy(&stack.ok()?.as_string()?);
        error::Trace::read(&stack).place()
    }

    /// Notes that the script looked up a name that does not exist.
    pub(crate) fn note_unknown(&self, module: &str, function: Option<&str>) {
        self.runtime.note_unknown(module, function);
        function.unwrap_or(module).clone_into(&mut self.unknown.borrow_mut());
    }

    /// Returns the last unknown name that was looked up.
    pub(crate) fn unknown(&self) -> String {
        self.unknown.borrow().clone()
    }

    pub(crate) fn texts(&self) -> Ref<'_, Texts> {
        self.texts.borrow()
    }

    /// Compiles a classic script; `shown` is what its lines look like in the file.
    pub(crate) fn compile(
        &self,
        code: &str,
        shown: &str,
        name: &str,
        context: &mut Context,
    ) -> Result<Script, ScriptError> {
        self.texts.borrow_mut().insert(name, shown);
        if !nesting::is_short(code.len()) {
            let checked = nesting::check(code, nesting::Goal::Script, nesting::DEPTH_THERE, Some(&self.runtime));
            checked.map_err(|stop| self.stopped(stop, name))?;
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
        references::refuse_replaced(shown, name, self.runtime.registry())?;
        Ok(script)
    }

    /// Tells why a text was not read to its end.
    fn stopped(&self, stop: nesting::Stop, name: &str) -> ScriptError {
        if stop == nesting::Stop::Over {
            self.runtime.poll(self);
        }
        stop.error(name)
    }

    /// Lets go of everything that lives in the thread's heap, once nothing runs in it any more.
    pub(crate) fn close(&self) {
        let Some(owned) = self.owned.take() else { return };
        self.current.set(None);
        stack::run(|| {
            self.handles.take();
            self.driver.clear();
            self.modules.clear();
            self.jobs.clear();
            // SAFETY: it came from a box, nothing runs in the context any more, and both slots are empty now.
            drop(unsafe { Box::from_raw(owned.as_ptr()) });
        });
    }

    fn guarded<R>(&self, run: impl FnOnce(&mut Context) -> Result<R, ScriptError>) -> Result<R, ScriptError> {
        let sealed = || self.lend(|context| self.brake.as_ref().during(|| self.sealed(context, run)));
        let result = catch_unwind(AssertUnwindSafe(|| stack::run(sealed)));
        match result {
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
}

impl Interpreter for Core {
    fn resolve(&self, name: &str) -> bool {
        let found = self.guarded(|context| {
            if self.depth.get() == 0 {
                // No clock runs, and what is looked up may be the script's getter.
                let mut few = self.limits.get();
                few.set_loop_iteration_limit(FEW);
                few.set_recursion_limit(few.recursion_limit().min(FEW as usize));
                self.set_limits(few, context);
            }
            Ok(self.function(name, context).is_some())
        });
        found.unwrap_or(false)
    }

    fn functions(&self) -> Vec<String> {
        let names = self.guarded(|context| {
            let handles = self.handles.borrow();
            let global = global_names(context).unwrap_or_default();
            let own = global.into_iter().filter(|name| !handles.builtin.contains(name));
            Ok(own.chain(handles.candidates.iter().cloned()).collect::<Vec<String>>())
        });
        let mut names = names.unwrap_or_default();
        names.retain(|name| self.resolve(name));
        names.sort();
        names.dedup();
        names
    }

    fn call(&self, callback: CallbackId, args: &[Arg<'_>]) -> Result<Value, ScriptError> {
        let result = self.guarded(|context| {
            let function = self.callback(callback, context)?;
            let args = args.iter().map(|arg| value::from_arg(arg, context)).collect::<JsResult<Vec<JsValue>>>();
            let args = args.map_err(|error| error::script_error(self, error, context))?;
            let run = |context: &mut Context| match self.slices() {
                true => self.driver.call(self, &function, &args, context),
                false => function.call(&JsValue::undefined(), &args, context),
            };
            if self.depth.get() == 0 {
                return self.outermost(context, run);
            }
            let result = run(context);
            self.finish(result, context)
        });
        if self.depth.get() == 0 {
            self.tidy();
        }
        result
    }

    fn place(&self) -> Option<Place> {
        if self.depth.get() == 0 {
            return None;
        }
        self.lend(|context| self.place_in(context)).flatten()
    }

    fn definition(&self, callback: CallbackId) -> Option<Place> {
        self.texts().definition(&self.runtime.registry().callback_name(callback)?)
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        if self.owned.get().is_some() {
            self.close();
            memory::leave(self, &self.runtime);
        }
    }
}

/// The handle that the host gets.
pub(crate) struct Owner(pub(crate) Rc<Core>);

impl Interpreter for Owner {
    fn resolve(&self, name: &str) -> bool {
        self.0.resolve(name)
    }

    fn functions(&self) -> Vec<String> {
        self.0.functions()
    }

    fn call(&self, callback: CallbackId, args: &[Arg<'_>]) -> Result<Value, ScriptError> {
        self.0.call(callback, args)
    }

    fn place(&self) -> Option<Place> {
        self.0.place()
    }

    fn definition(&self, callback: CallbackId) -> Option<Place> {
        self.0.definition(callback)
    }
}

/// Puts a value back when it goes.
struct Back<'a, T: Copy> {
    slot: &'a Cell<T>,
    value: T,
}

impl<T: Copy> Drop for Back<'_, T> {
    fn drop(&mut self) {
        self.slot.set(self.value);
    }
}

fn global_names(context: &mut Context) -> JsResult<Vec<String>> {
    let keys = context.global_object().own_property_keys(context)?;
    Ok(keys
        .into_iter()
        .filter_map(|key| match key {
            boa_engine::property::PropertyKey::String(name) => Some(string::lossy(&name)),
            _ => None,
        })
        .collect())
}

fn limits(given: &Limits) -> RuntimeLimits {
    let depth = usize::try_from(given.max_depth).unwrap_or(usize::MAX);
    let mut limits = RuntimeLimits::default();
    // Each level may be a call through a built-in.
    let recursion = if depth == 0 { RECURSION } else { depth.saturating_mul(2).saturating_add(SPARE).min(RECURSION) };
    limits.set_recursion_limit(recursion);
    limits.set_stack_size_limit(STACK);
    // It ends a loop in a function that a built-in calls, which is not counted.
    limits.set_loop_iteration_limit(if given.max_instructions == 0 { u64::MAX } else { given.max_instructions });
    limits
}

/// Raises the limits by what the interpreter needs for a step of its own.
fn with_room(mut limits: RuntimeLimits) -> RuntimeLimits {
    const FRAMES: usize = 4;
    const VALUES: usize = 64;
    limits.set_recursion_limit(limits.recursion_limit().saturating_add(FRAMES));
    limits.set_stack_size_limit(limits.stack_size_limit().saturating_add(VALUES));
    limits
}

/// Says once that a limit does not hold.
fn warn_uncounted() {
    static WARNED: AtomicBool = AtomicBool::new(false);
    if !WARNED.swap(true, Ordering::Relaxed) {
        log_guarded(|| {
            tracing::warn!(
                target: "kemi",
                "max_memory holds only for single steps in JavaScript: the program has not installed kemi_core::CountingAllocator \
                 as its #[global_allocator]"
            )
        });
    }
}

#[cold]
fn busy() -> ScriptError {
    ScriptError::new(ErrorCode::Runtime, "the interpreter cannot be entered from here").with_hint(
        "call back into the script only through the Script that the native function was given, and not while the thread ends",
    )
}
