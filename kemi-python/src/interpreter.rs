//! One loaded script.

use std::cell::{Cell, OnceCell, RefCell};
use std::mem::ManuallyDrop;
use std::ptr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kemi_core::{
    Arg, CallbackId, Control, ConversionBudget, ErrorCode, Interpreter, Limit, Place, Runtime, ScriptError, Source,
    Value, log_guarded, nearest,
};
use pyo3::exceptions::PySystemExit;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyCFunction, PyDict, PyModule, PyString, PyTuple, PyType};

use crate::attach::attach;
use crate::bind::{self, Link};
use crate::interrupt::{self, Alarm};
use crate::memory::Holding;
use crate::prelude::Prelude;
use crate::terminate::{Guard, NoCollections};
use crate::{error, library, memory, signal, string, value};

/// Up to how many arguments, the message included, are passed without a tuple.
const FEW: usize = 8;

/// The owner of a loaded script; unloads it.
pub(crate) struct Loaded(ManuallyDrop<Rc<Inner>>);

/// The state of a loaded script, which native calls share while they run.
pub(crate) struct Inner {
    pub(crate) runtime: Rc<Runtime>,
    pub(crate) alarm: Arc<Alarm>,
    link: Arc<Link>,
    /// The `Namespace` of `import.py`.
    space: Py<PyAny>,
    globals: Py<PyDict>,
    /// The root object, and its name in the global scope.
    root: (Py<PyString>, Py<PyModule>),
    /// Whether a callback had replaced it.
    root_replaced: Cell<bool>,
    /// What `mod_init` returned, if the script has one: callbacks are its methods then.
    object: OnceCell<Py<PyAny>>,
    /// The first argument of such callbacks.
    message: Py<PyAny>,
    handles: RefCell<Vec<Option<Py<PyAny>>>>,
    /// Whether the script ended its own top level.
    ended: Cell<bool>,
    pub(crate) holding: Holding,
}

impl Loaded {
    /// Creates an instance's namespace.
    ///
    /// # Errors
    /// What Python raised, such as being out of memory.
    pub(crate) fn new(py: Python<'_>, runtime: Rc<Runtime>, sources: &[Source]) -> PyResult<Loaded> {
        static SERIAL: AtomicU64 = AtomicU64::new(1);
        let _alone = NoCollections::begin(py);
        let link = Link::new();
        let registry = runtime.registry();
        let tree = bind::tree(py, registry, &link)?;
        let mut folders: Vec<String> = Vec::new();
        for folder in sources.iter().filter_map(Source::folder).map(|folder| folder.display().to_string()) {
            if !folders.contains(&folder) {
                folders.push(folder);
            }
        }
        let stem = sources.first().map_or_else(|| "script".to_owned(), |source| stem(&source.name()));
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let root = (PyString::intern(py, registry.root()).unbind(), tree.clone().unbind());
        let args = (serial, registry.root(), tree, stem, folders, log(py, runtime.engine())?);
        let space = Prelude::get(py)?.call(py, "Namespace", args)?;
        let globals = space.getattr("globals")?.cast_into::<PyDict>().map_err(PyErr::from)?.unbind();
        let message = space.getattr("message")?.unbind();
        let space = space.unbind();
        let alarm = Alarm::new();
        let limits = runtime.registry().limits();
        if limits.max_time_ms != 0 || limits.max_load_time_ms != 0 || limits.max_memory != 0 {
            interrupt::start();
            signal::prepare(py);
            library::install(py)?;
        }
        if limits.max_memory != 0 {
            memory::install(py);
        }
        let late = alarm.clone();
        runtime.on_interrupt(Some(Box::new(move || late.late())));
        let inner = Rc::new(Inner {
            runtime,
            alarm,
            link,
            space,
            globals,
            root,
            root_replaced: Cell::new(false),
            object: OnceCell::new(),
            message,
            handles: RefCell::new(Vec::new()),
            ended: Cell::new(false),
            holding: Holding::default(),
        });
        inner.link.set(&inner);
        Ok(Loaded(ManuallyDrop::new(inner)))
    }

    /// Runs the sources' top level, then what a script of methods has to be called for.
    ///
    /// # Errors
    /// What the script raised.
    pub(crate) fn start(&self, py: Python<'_>, sources: &[Source]) -> Result<(), ScriptError> {
        for source in sources {
            let text = string::from_source(py, source)?;
            self.0.top_level(py, |inner, py| inner.run(py, &source.name(), text))?;
            if self.0.ended.get() {
                break;
            }
        }
        let globals = self.0.globals.bind(py);
        match globals.get_item("mod_init") {
            Ok(Some(function)) if is_function(&function) => self.0.start_object(py, &function)?,
            _ => {}
        }
        self.0.holding.is_loaded();
        Ok(())
    }
}

impl Drop for Loaded {
    fn drop(&mut self) {
        self.0.link.cut();
        let runtime = self.0.runtime.clone();
        attach(&runtime, |py| {
            let object = Rc::get_mut(&mut self.0).and_then(|inner| inner.object.take());
            {
                // What is freed here may have finalizers, which have the time that a call has.
                let _guard = Guard::call(py, &self.0);
                drop(object);
                self.0.close(py);
            }
            // SAFETY: dropped once, here, where the thread is attached; nothing uses it afterwards.
            unsafe { ManuallyDrop::drop(&mut self.0) };
        });
    }
}

impl Inner {
    fn run<'py>(&self, py: Python<'py>, name: &str, text: Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        self.space.bind(py).call_method1("run", (stem(name), name, text))
    }

    /// Empties the instance's modules, so that what they hold is freed now and not by a later collection.
    ///
    /// All is done in native code: once the time is over no line of Python runs any more, which is what makes the
    /// finalizers of everything that is left end at once.
    fn close(&self, py: Python<'_>) {
        drop(self.handles.take());
        let scopes = {
            let _guard = Guard::own(py);
            self.space.bind(py).call_method0("retire").and_then(|scopes| scopes.extract::<Vec<Bound<'_, PyDict>>>())
        };
        let scopes = scopes.unwrap_or_else(|error| {
            log_guarded(|| {
                tracing::warn!(target: "kemi", engine = self.runtime.engine(), "unloading a script: {error}");
            });
            Vec::new()
        });
        for scope in scopes {
            for name in scope.keys().iter().rev() {
                if name.extract::<&str>().is_ok_and(|name| name != "__builtins__") {
                    // It fails for want of memory only, and then for all that follows.
                    let _ = scope.set_item(name, py.None());
                }
            }
            scope.clear();
        }
        // What is left in cycles would be collected in another script's call, and have that one's time.
        let finalizes = self.space.bind(py).getattr("finalizes").and_then(|flag| flag.is_truthy());
        if finalizes.unwrap_or(false) {
            let _ = Prelude::get(py).and_then(|prelude| prelude.call(py, "collect", ()));
        }
    }

    /// Runs a part of loading, where `exit()` ends the loading well and `sys.exit("reason")` makes it fail.
    fn top_level<'py>(
        &self,
        py: Python<'py>,
        run: impl FnOnce(&Inner, Python<'py>) -> PyResult<Bound<'py, PyAny>>,
    ) -> Result<Option<Bound<'py, PyAny>>, ScriptError> {
        let _guard = Guard::call(py, self);
        let result = run(self, py);
        self.check_memory(py, &result, None);
        let raised = match result {
            Ok(_) if self.runtime.ending().is_some() => {
                self.ended.set(true);
                return Ok(None);
            }
            Ok(result) => return Ok(Some(result)),
            Err(raised) => raised,
        };
        if self.runtime.ending().is_some() || exit_code(py, &raised).is_some_and(|code| code.is_none()) {
            self.runtime.end(Control::Exit);
            self.ended.set(true);
            return Ok(None);
        }
        Err(self.explain(py, &raised))
    }

    fn start_object(&self, py: Python<'_>, mod_init: &Bound<'_, PyAny>) -> Result<(), ScriptError> {
        let fail = |message: String| {
            let error = ScriptError::new(ErrorCode::Runtime, message);
            match place_of(mod_init) {
                Some(Place { file, line }) => error.at(file, line),
                None => error,
            }
        };
        let object = match self.top_level(py, |_, _| mod_init.call0())? {
            Some(object) if !object.is_none() => object,
            Some(_) => {
                let message = "mod_init returned None; it must return the object whose methods are the callbacks";
                return Err(fail(message.to_owned()));
            }
            None => return Err(fail("the script ended before mod_init returned an object".to_owned())),
        };
        if let Ok(Some(child_init)) = object.getattr_opt("child_init") {
            let result = self.top_level(py, |_, _| child_init.call1((1,)))?;
            match result.and_then(|result| result.extract::<i64>().ok()) {
                Some(code) if code < 0 => return Err(fail(format!("child_init returned {code}"))),
                _ => {}
            }
        }
        let _ = self.object.set(object.unbind());
        Ok(())
    }

    /// Finds what a callback's name stands for.
    fn find<'py>(&self, py: Python<'py>, name: &str) -> Option<Bound<'py, PyAny>> {
        let found = match self.object.get() {
            Some(object) => object.bind(py).getattr_opt(name).ok()?,
            None => self.globals.bind(py).get_item(name).ok()?,
        };
        found.filter(is_function)
    }

    fn handle<'py>(&self, py: Python<'py>, callback: CallbackId) -> Result<Bound<'py, PyAny>, ScriptError> {
        if let Some(Some(handle)) = self.handles.borrow().get(callback.index()) {
            return Ok(handle.bind(py).clone());
        }
        let name = self.runtime.registry().callback_name(callback).unwrap_or_default();
        let Some(function) = self.find(py, &name) else {
            let message = format!("the script defines no function '{name}'");
            let error = ScriptError::new(ErrorCode::MissingCallback, message);
            return Err(match nearest(&name, self.functions().iter().map(String::as_str)) {
                Some(near) => error.with_hint(format!("did you mean '{near}'?")),
                None => error,
            });
        };
        let mut handles = self.handles.borrow_mut();
        if handles.len() <= callback.index() {
            handles.resize_with(callback.index() + 1, || None);
        }
        if let Some(slot) = handles.get_mut(callback.index()) {
            *slot = Some(function.clone().unbind());
        }
        Ok(function)
    }

    fn invoke<'py>(
        &self,
        py: Python<'py>,
        function: &Bound<'py, PyAny>,
        args: &[Arg<'_>],
    ) -> PyResult<Bound<'py, PyAny>> {
        let message = self.object.get().map(|_| self.message.bind(py).clone());
        if message.is_none() && args.is_empty() {
            return function.call0();
        }
        let objects = message.map(Ok).into_iter().chain(args.iter().map(|arg| value::from_arg(py, arg)));
        if args.len() >= FEW {
            return function.call1(PyTuple::new(py, objects.collect::<PyResult<Vec<_>>>()?)?);
        }
        let mut few = [const { None }; FEW];
        let mut pointers = [ptr::null_mut(); FEW];
        let mut count = 0;
        for (object, (slot, pointer)) in objects.zip(few.iter_mut().zip(&mut pointers)) {
            *pointer = slot.insert(object?).as_ptr();
            count += 1;
        }
        // SAFETY: so many pointers are to objects that `few` keeps; the result is a new reference or null with an
        // exception.
        unsafe {
            let result = ffi::PyObject_Vectorcall(function.as_ptr(), pointers.as_ptr(), count, ptr::null_mut());
            Bound::from_owned_ptr_or_err(py, result)
        }
    }

    /// Turns an uncaught exception of the script into the error for the host.
    fn explain(&self, py: Python<'_>, raised: &PyErr) -> ScriptError {
        match bind::unknown(self.runtime.registry(), self.root.1.bind(py), raised) {
            Some(error) => error::traced(py, error, raised),
            None => error::explain(py, raised),
        }
    }

    /// Puts the root object back into the global scope if the script has replaced it.
    fn keep_root(&self, py: Python<'_>) {
        let (name, root) = (self.root.0.bind(py), self.root.1.bind(py));
        let globals = self.globals.bind(py);
        if globals.get_item(name).is_ok_and(|found| found.is_none_or(|found| !found.is(root))) {
            // It fails only for lack of memory; the next call tries again.
            self.root_replaced.set(globals.set_item(name, root).is_ok());
        }
    }

    /// Compares all that was bound with what there is, and puts it back.
    fn repair_tree(&self) -> Vec<String> {
        attach(&self.runtime, |py| {
            let _guard = Guard::own(py);
            self.keep_root(py);
            let replaced = Prelude::get(py)
                .and_then(|prelude| prelude.call(py, "restore_tree", (self.space.bind(py),)))
                .and_then(|names| names.extract());
            replaced.unwrap_or_else(|error| {
                log_guarded(|| {
                    tracing::warn!(target: "kemi", engine = self.runtime.engine(), "comparing the root object: {error}");
                });
                Vec::new()
            })
        })
    }

    /// Ends the running call if an exception was set for it; called while Python makes that.
    pub(crate) fn struck(&self) -> bool {
        if self.alarm.was_set() {
            let place = self.alarm.take_place();
            if self.alarm.was_refused() {
                self.out_of_memory(|| place);
            } else if self.runtime.exhausted().is_none() {
                self.runtime.exhaust(Limit::Time, place);
            }
        }
        self.runtime.ending().is_some()
    }

    /// Ends the running call, to which memory was refused.
    #[cold]
    pub(crate) fn out_of_memory(&self, place: impl FnOnce() -> Option<Place>) {
        memory::lift();
        if self.runtime.exhausted().is_none() {
            self.runtime.exhaust(Limit::Memory, place());
        }
    }

    /// Ends the call that has just returned if memory was refused to it, whatever it made of that.
    fn check_memory<T>(&self, py: Python<'_>, result: &PyResult<T>, function: Option<&Bound<'_, PyAny>>) {
        if self.alarm.was_refused() {
            self.out_of_memory(|| {
                let raised = result.as_ref().err().and_then(|raised| error::place_of(py, raised));
                raised.or_else(|| function.and_then(place_of))
            });
        }
    }

    fn finish(&self, py: Python<'_>, result: PyResult<Bound<'_, PyAny>>) -> Result<Value, ScriptError> {
        match result {
            _ if self.runtime.ending().is_some() => Ok(Value::Nil),
            // What most callbacks return.
            Ok(result) if result.is_none() => Ok(Value::Nil),
            Ok(result) => value::to_value(&result, &mut ConversionBudget::new()).map_err(|mut error| {
                error.message = format!("the callback's result: {}", error.message);
                error
            }),
            Err(raised) if raised.is_instance_of::<PySystemExit>(py) => {
                if let Some(Some(reason)) = exit_code(py, &raised) {
                    log_guarded(|| {
                        tracing::warn!(target: "script", engine = self.runtime.engine(), "the script exited: {reason}");
                    });
                }
                self.runtime.end(Control::Exit);
                Ok(Value::Nil)
            }
            Err(raised) => Err(self.explain(py, &raised)),
        }
    }
}

impl Interpreter for Inner {
    fn resolve(&self, name: &str) -> bool {
        attach(&self.runtime, |py| {
            // A property may stand behind the name.
            let _guard = Guard::call(py, self);
            self.find(py, name).is_some()
        })
    }

    fn accepts(&self, name: &str, arguments: usize) -> Result<(), ScriptError> {
        attach(&self.runtime, |py| {
            let _guard = Guard::call(py, self);
            let Some(function) = self.find(py, name) else { return Ok(()) };
            let message = usize::from(self.object.get().is_some());
            let refused = Prelude::get(py)
                .and_then(|prelude| prelude.call(py, "refused", (&function, arguments + message)))
                .and_then(|refused| refused.extract::<Option<(String, Option<String>, u32)>>());
            match refused {
                Ok(Some((parameters, file, line))) => {
                    Err(refusal(name, &parameters, arguments, message != 0, file, line))
                }
                // Whatever cannot be looked into is called as it is.
                Ok(None) | Err(_) => Ok(()),
            }
        })
    }

    fn functions(&self) -> Vec<String> {
        attach(&self.runtime, |py| {
            let _guard = Guard::call(py, self);
            let names = match self.object.get() {
                Some(object) => object.bind(py).dir().map(|names| names.into_any()),
                None => Ok(self.globals.bind(py).keys().into_any()),
            };
            let names: Vec<String> = names.and_then(|names| names.extract()).unwrap_or_default();
            let mut names: Vec<String> =
                names.into_iter().filter(|name| !name.starts_with('_') && self.find(py, name).is_some()).collect();
            names.sort();
            names
        })
    }

    fn call(&self, callback: CallbackId, args: &[Arg<'_>]) -> Result<Value, ScriptError> {
        attach(&self.runtime, |py| {
            let _guard = Guard::call(py, self);
            let function = self.handle(py, callback)?;
            let result = self.invoke(py, &function, args);
            self.check_memory(py, &result, Some(&function));
            self.keep_root(py);
            self.finish(py, result)
        })
    }

    fn place(&self) -> Option<Place> {
        attach(&self.runtime, error::place)
    }

    fn definition(&self, callback: CallbackId) -> Option<Place> {
        attach(&self.runtime, |py| {
            let _guard = Guard::own(py);
            place_of(self.handles.borrow().get(callback.index())?.as_ref()?.bind(py))
        })
    }

    fn repair(&self, thorough: bool) -> Vec<String> {
        if !thorough && !self.root_replaced.get() {
            return Vec::new();
        }
        let below = if thorough { self.repair_tree() } else { Vec::new() };
        let root = self.root_replaced.take().then(|| self.runtime.registry().root().to_owned());
        root.into_iter().chain(below).collect()
    }
}

impl Interpreter for Loaded {
    fn resolve(&self, name: &str) -> bool {
        self.0.resolve(name)
    }

    fn accepts(&self, name: &str, arguments: usize) -> Result<(), ScriptError> {
        self.0.accepts(name, arguments)
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

    fn repair(&self, thorough: bool) -> Vec<String> {
        self.0.repair(thorough)
    }
}

/// Returns the name under which a source's scope is known to its own modules.
fn stem(name: &str) -> String {
    let stem = std::path::Path::new(name).file_stem().map(|stem| stem.to_string_lossy().replace('.', "_"));
    stem.filter(|stem| !stem.is_empty()).unwrap_or_else(|| "script".to_owned())
}

fn is_function(object: &Bound<'_, PyAny>) -> bool {
    object.is_callable() && !object.is_instance_of::<PyType>()
}

/// Words why a function cannot be called with the host's arguments.
fn refusal(
    name: &str,
    parameters: &str,
    arguments: usize,
    message: bool,
    file: Option<String>,
    line: u32,
) -> ScriptError {
    let plural = if arguments == 1 { "" } else { "s" };
    let passed = if message {
        format!("the message and {arguments} argument{plural}")
    } else {
        format!("{arguments} argument{plural}")
    };
    let text = format!("the host calls '{name}' with {passed}, and it is defined as {name}{parameters}");
    let error = ScriptError::new(ErrorCode::ArgumentCount, text);
    match file {
        Some(file) => error.at(file, line),
        None => error,
    }
}

fn place_of(function: &Bound<'_, PyAny>) -> Option<Place> {
    let code = function.getattr("__code__").ok()?;
    let file = code.getattr("co_filename").ok()?.extract().ok()?;
    Some(Place { file, line: code.getattr("co_firstlineno").ok()?.extract().ok()? })
}

/// Returns what was given to `sys.exit`: `Some(None)` if that means success, `None` if it was not called.
fn exit_code(py: Python<'_>, raised: &PyErr) -> Option<Option<String>> {
    if !raised.is_instance_of::<PySystemExit>(py) {
        return None;
    }
    let code = raised.value(py).getattr("code").ok()?;
    if code.is_none() || code.extract::<i64>().is_ok_and(|code| code == 0) {
        return Some(None);
    }
    Some(Some(code.str().map_or_else(|_| "no reason given".to_owned(), |text| text.to_string_lossy().into_owned())))
}

/// Makes the function behind `print`.
fn log<'py>(py: Python<'py>, engine: &'static str) -> PyResult<Bound<'py, PyCFunction>> {
    PyCFunction::new_closure(
        py,
        Some(c"log"),
        None,
        move |args: &Bound<'_, PyTuple>, _named: Option<&Bound<'_, PyDict>>| -> PyResult<()> {
            let text = args.get_item(0)?;
            let text = text.cast::<PyString>().map_err(PyErr::from)?.to_string_lossy().into_owned();
            let text = text.strip_suffix('\n').unwrap_or(&text);
            let place = error::place(args.py());
            log_guarded(|| match place {
                Some(place) => tracing::info!(target: "script", engine, %place, "{text}"),
                None => tracing::info!(target: "script", engine, "{text}"),
            });
            Ok(())
        },
    )
}
