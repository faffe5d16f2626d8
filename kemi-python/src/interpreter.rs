//! A loaded script: its state, and the host's calls into it.

use std::cell::{Cell, OnceCell, RefCell};
use std::mem::ManuallyDrop;
use std::ptr;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use kemi_core::engine::{Interpreter, Runtime};
use kemi_core::registry::{FirstArgument, ScriptObject};
use kemi_core::telemetry::log_guarded;
use kemi_core::{Arg, CallbackId, ErrorCode, Location, NativeExit, ScriptError, Source, Value};
use pyo3::exceptions::PySystemExit;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};

use crate::attach::attach;
use crate::bind::{self, InstanceRef};
use crate::call::CallFrame;
use crate::current::CallView;
use crate::functions::{is_function, not_kept};
use crate::import::Namespace;
use crate::integrity::RootCheck;
use crate::interrupt::Interrupt;
use crate::objects::Objects;
use crate::prelude::{GcPause, Prelude};
use crate::{error, sandbox, string, trampoline, value};

/// Up to how many arguments, that of methods included, are passed without a tuple.
const FEW: usize = 8;

/// The host's handle of a loaded script; unloads it.
///
/// It is not the state itself: a native function may drop it in the middle of a call, and the state stays until that is
/// over.
pub(crate) struct PythonInterpreter(ManuallyDrop<Rc<State>>);

/// The state of a loaded script.
struct State {
    view: CallView,
    instance: Arc<InstanceRef>,
    namespace: Namespace,
    root: RootCheck,
    /// The object whose methods are the callbacks, if the script has one.
    object: OnceCell<Py<PyAny>>,
    /// How the script may make one.
    script_object: Option<ScriptObject>,
    /// The first argument of its methods.
    method_argument: Option<Py<PyAny>>,
    handles: RefCell<Vec<Option<Py<PyAny>>>>,
    /// Whether the script ended its own top level.
    load_ended: Cell<bool>,
}

impl PythonInterpreter {
    /// Creates an instance's namespace.
    ///
    /// # Errors
    /// What Python raised, such as being out of memory.
    pub(crate) fn new(py: Python<'_>, runtime: Rc<Runtime>, sources: &[Source]) -> PyResult<PythonInterpreter> {
        let _no_collections = GcPause::begin(py);
        let instance = InstanceRef::new();
        let registry = runtime.registry();
        sandbox::install(py)?;
        let objects = Objects::new(instance.clone(), &trampoline::ENTRIES);
        let tree = bind::root_object(py, &runtime, &objects)?;
        let namespace = Namespace::new(py, registry.root(), &tree, sources, &runtime)?;
        let root = RootCheck::new(&PyString::intern(py, registry.root()), &tree, namespace.globals(py));
        let script_object = registry.dialect().script_object;
        let method_argument = match script_object.and_then(|object| object.first_argument) {
            Some(FirstArgument { name, instead }) => {
                let instead = instead.replace("{root}", registry.root());
                Some(Prelude::get(py)?.call(py, "Placeholder", (name, instead))?.unbind())
            }
            None => None,
        };
        sandbox::install_limits(py, registry.limits())?;
        let interrupt = Interrupt::new();
        let of_watchdog = interrupt.clone();
        runtime.on_interrupt(Some(Box::new(move || of_watchdog.time_is_over())));
        let state = Rc::new_cyclic(|state: &Weak<State>| State {
            // SAFETY: the pointer leads to the state, of which this is a field.
            view: unsafe { CallView::new(runtime, interrupt, objects, state.as_ptr()) },
            instance,
            namespace,
            root,
            object: OnceCell::new(),
            script_object,
            method_argument,
            handles: RefCell::new(Vec::new()),
            load_ended: Cell::new(false),
        });
        // SAFETY: `drop` disconnects before it lets go of the state.
        unsafe { state.instance.connect(&state.view) };
        Ok(PythonInterpreter(ManuallyDrop::new(state)))
    }

    /// Runs the sources' top level, then makes the object of a script of methods.
    ///
    /// # Errors
    /// What the script raised.
    pub(crate) fn start(&self, py: Python<'_>, sources: &[Source]) -> Result<(), ScriptError> {
        let state = &**self.0;
        for source in sources {
            let text = string::from_source(py, source)?;
            state.top_level(py, |py| state.namespace.run(py, &source.name(), text))?;
            if state.load_ended.get() {
                break;
            }
        }
        if let Some(script_object) = state.script_object
            && let Ok(Some(factory)) = state.namespace.globals(py).get_item(script_object.factory)
            && is_function(factory.as_borrowed())
        {
            state.start_object(py, script_object, &factory)?;
        }
        state.view.held_memory().is_loaded();
        Ok(())
    }
}

impl Drop for PythonInterpreter {
    fn drop(&mut self) {
        self.0.instance.disconnect();
        let runtime = self.0.view.runtime().clone();
        attach(&runtime, |py| {
            let object = Rc::get_mut(&mut self.0).and_then(|state| state.object.take());
            {
                // What is freed here may have finalizers, which have the time that a call has.
                let _frame = CallFrame::of_script(py, &self.0.view);
                drop(object);
                drop(self.0.handles.take());
                drop(self.0.view.functions().take_all());
                drop(self.0.view.objects().take_classes());
                self.0.namespace.empty(py);
            }
            // SAFETY: dropped once, here, where the thread is attached; nothing uses it afterwards.
            unsafe { ManuallyDrop::drop(&mut self.0) };
        });
    }
}

impl State {
    /// Runs a part of loading, where `exit()` ends the loading well and `sys.exit("reason")` makes it fail.
    fn top_level<'py>(
        &self,
        py: Python<'py>,
        run: impl FnOnce(Python<'py>) -> PyResult<Bound<'py, PyAny>>,
    ) -> Result<Option<Bound<'py, PyAny>>, ScriptError> {
        let _frame = CallFrame::of_script(py, &self.view);
        let result = run(py);
        self.check_memory(py, &result, None);
        let raised = match result {
            Ok(_) if self.view.runtime().pending_exit().is_some() => {
                self.load_ended.set(true);
                return Ok(None);
            }
            Ok(result) => return Ok(Some(result)),
            Err(raised) => raised,
        };
        if self.view.runtime().pending_exit().is_some() || exit_code(py, &raised).is_some_and(|code| code.is_none()) {
            self.view.runtime().request_exit(NativeExit::Exit);
            self.load_ended.set(true);
            return Ok(None);
        }
        Err(self.explain(py, &raised))
    }

    /// Makes the object whose methods are the callbacks.
    fn start_object(
        &self,
        py: Python<'_>,
        ScriptObject { factory, started, .. }: ScriptObject,
        function: &Bound<'_, PyAny>,
    ) -> Result<(), ScriptError> {
        let fail = |message: String| {
            let error = ScriptError::new(ErrorCode::Runtime, message);
            match place_of(function) {
                Some(Location { file, line }) => error.at(file, line),
                None => error,
            }
        };
        let object = match self.top_level(py, |_| function.call0())? {
            Some(object) if !object.is_none() => object,
            Some(_) => {
                return Err(fail(format!(
                    "{factory} returned None; it must return the object whose methods are the callbacks"
                )));
            }
            None => return Err(fail(format!("the script ended before {factory} returned an object"))),
        };
        if let Some(started) = started
            && let Ok(Some(start)) = object.getattr_opt(started)
        {
            let result = self.top_level(py, |_| start.call1((1,)))?;
            match result.and_then(|result| result.extract::<i64>().ok()) {
                Some(code) if code < 0 => return Err(fail(format!("{started} returned {code}"))),
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
            None => self.namespace.globals(py).get_item(name).ok()?,
        };
        found.filter(|found| is_function(found.as_borrowed()))
    }

    /// Returns the function of a callback, which is looked up once.
    fn handle<'py>(&self, py: Python<'py>, callback: CallbackId) -> Result<Bound<'py, PyAny>, ScriptError> {
        if let Some(Some(handle)) = self.handles.borrow().get(callback.index()) {
            return Ok(handle.bind(py).clone());
        }
        let name = self.view.runtime().registry().callback_name(callback).unwrap_or_default();
        let Some(function) = self.find(py, &name) else {
            return Err(ScriptError::missing_callback(&name));
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

    /// Calls a function of the script, with what its methods get first if it is one, and makes a result of what comes of it.
    fn run<'py>(
        &self,
        py: Python<'py>,
        function: &Bound<'py, PyAny>,
        own: Option<&Py<PyAny>>,
        args: &[Arg<'_>],
    ) -> Result<Value, ScriptError> {
        let result = self.invoke(py, function, own, args);
        self.check_memory(py, &result, Some(function));
        self.root.restore_global(py);
        self.finish(py, function, result)
    }

    fn invoke<'py>(
        &self,
        py: Python<'py>,
        function: &Bound<'py, PyAny>,
        own: Option<&Py<PyAny>>,
        args: &[Arg<'_>],
    ) -> PyResult<Bound<'py, PyAny>> {
        let own = own.map(|argument| argument.bind(py).clone());
        if own.is_none() && args.is_empty() {
            return function.call0();
        }
        let objects = own.map(Ok).into_iter().chain(args.iter().map(|arg| value::from_arg(py, &self.view, arg)));
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
        match bind::explain_unknown(self.view.runtime().registry(), self.root.root(py), raised) {
            Some(error) => error::traced(py, error, raised),
            None => error::explain(py, raised),
        }
    }

    /// Ends the call that has just returned if memory was refused to it, whatever it made of that.
    fn check_memory<T>(&self, py: Python<'_>, result: &PyResult<T>, function: Option<&Bound<'_, PyAny>>) {
        if self.view.interrupt().memory_was_refused() {
            self.view.end_for_memory(|| {
                let raised = result.as_ref().err().and_then(|raised| error::place_of(py, raised));
                raised.or_else(|| function.and_then(place_of))
            });
        }
    }

    /// Turns what a function has returned or raised into its result.
    fn finish(
        &self,
        py: Python<'_>,
        function: &Bound<'_, PyAny>,
        result: PyResult<Bound<'_, PyAny>>,
    ) -> Result<Value, ScriptError> {
        match result {
            _ if self.view.runtime().pending_exit().is_some() => Ok(Value::Nil),
            // What most callbacks return.
            Ok(result) if result.is_none() => Ok(Value::Nil),
            Ok(result) => value::to_result(&self.view, &result).map_err(|mut error| {
                error.place = place_of(function);
                error
            }),
            Err(raised) if raised.is_instance_of::<PySystemExit>(py) => {
                if let Some(Some(reason)) = exit_code(py, &raised) {
                    log_guarded(|| {
                        tracing::warn!(target: "script", engine = self.view.runtime().engine(), "the script exited: {reason}");
                    });
                }
                self.view.runtime().request_exit(NativeExit::Exit);
                Ok(Value::Nil)
            }
            Err(raised) => Err(self.explain(py, &raised)),
        }
    }
}

impl Interpreter for State {
    fn resolve(&self, name: &str) -> bool {
        attach(self.view.runtime(), |py| {
            // A property may stand behind the name.
            let _frame = CallFrame::of_script(py, &self.view);
            self.find(py, name).is_some()
        })
    }

    fn accepts(&self, name: &str, arguments: usize) -> Result<(), ScriptError> {
        attach(self.view.runtime(), |py| {
            let _frame = CallFrame::of_script(py, &self.view);
            let Some(function) = self.find(py, name) else { return Ok(()) };
            let first_argument = self.object.get().and(self.script_object).and_then(|object| object.first_argument);
            let first_argument = first_argument.map(|argument| argument.name);
            let own = usize::from(first_argument.is_some());
            let refused = Prelude::get(py)
                .and_then(|prelude| prelude.call(py, "refused", (&function, arguments + own)))
                .and_then(|refused| refused.extract::<Option<(String, Option<String>, u32)>>());
            match refused {
                Ok(Some((parameters, file, line))) => {
                    Err(refusal(name, &parameters, arguments, first_argument, file, line))
                }
                // Whatever cannot be looked into is called as it is.
                Ok(None) | Err(_) => Ok(()),
            }
        })
    }

    fn functions(&self) -> Vec<String> {
        attach(self.view.runtime(), |py| {
            let _frame = CallFrame::of_script(py, &self.view);
            let names = match self.object.get() {
                Some(object) => object.bind(py).dir().map(|names| names.into_any()),
                None => Ok(self.namespace.globals(py).keys().into_any()),
            };
            let names: Vec<String> = names.and_then(|names| names.extract()).unwrap_or_default();
            let mut names: Vec<String> =
                names.into_iter().filter(|name| !name.starts_with('_') && self.find(py, name).is_some()).collect();
            names.sort();
            names
        })
    }

    fn call(&self, callback: CallbackId, args: &[Arg<'_>]) -> Result<Value, ScriptError> {
        attach(self.view.runtime(), |py| {
            let _frame = CallFrame::of_script(py, &self.view);
            let function = self.handle(py, callback)?;
            self.run(py, &function, self.object.get().and(self.method_argument.as_ref()), args)
        })
    }

    fn call_function(&self, slot: u32, args: &[Arg<'_>]) -> Result<Value, ScriptError> {
        attach(self.view.runtime(), |py| {
            let _frame = CallFrame::of_script(py, &self.view);
            let function = self.view.functions().get(py, slot).ok_or_else(not_kept)?;
            self.run(py, &function, None, args)
        })
    }

    fn release_functions(&self, slots: &[u32]) {
        attach(self.view.runtime(), |py| {
            let _frame = CallFrame::of_script(py, &self.view);
            drop(self.view.functions().take(slots));
        });
    }

    fn place(&self) -> Option<Location> {
        attach(self.view.runtime(), error::place)
    }

    fn definition(&self, callback: CallbackId) -> Option<Location> {
        attach(self.view.runtime(), |py| {
            let _frame = CallFrame::of_engine(py);
            place_of(self.handles.borrow().get(callback.index())?.as_ref()?.bind(py))
        })
    }

    fn restore_root(&self, thorough: bool) -> Vec<String> {
        if !thorough && !self.root.was_replaced() {
            return Vec::new();
        }
        let runtime = self.view.runtime();
        let below = if thorough {
            attach(runtime, |py| self.root.restore_tree(py, &self.namespace, runtime.engine()))
        } else {
            Vec::new()
        };
        let root = self.root.take_replaced().then(|| runtime.registry().root().to_owned());
        root.into_iter().chain(below).collect()
    }
}

impl Interpreter for PythonInterpreter {
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

    fn restore_root(&self, thorough: bool) -> Vec<String> {
        self.0.restore_root(thorough)
    }
}

/// Makes the error for a function that cannot be called with the host's arguments.
fn refusal(
    name: &str,
    parameters: &str,
    arguments: usize,
    first_argument: Option<&str>,
    file: Option<String>,
    line: u32,
) -> ScriptError {
    let plural = if arguments == 1 { "" } else { "s" };
    let passed = match first_argument {
        Some(first) => format!("the {first} and {arguments} argument{plural}"),
        None => format!("{arguments} argument{plural}"),
    };
    let text = format!("the host calls '{name}' with {passed}, and it is defined as {name}{parameters}");
    let error = ScriptError::new(ErrorCode::ArgumentCount, text);
    match file {
        Some(file) => error.at(file, line),
        None => error,
    }
}

fn place_of(function: &Bound<'_, PyAny>) -> Option<Location> {
    let code = function.getattr("__code__").ok()?;
    let file = code.getattr("co_filename").ok()?.extract().ok()?;
    Some(Location { file, line: code.getattr("co_firstlineno").ok()?.extract().ok()? })
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
