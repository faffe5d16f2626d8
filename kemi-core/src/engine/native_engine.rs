//! Callbacks written in Rust and compiled into the host, behind the same traits as a script.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use super::contract::{Confinement, Engine, Interpreter};
use super::runtime::Runtime;
use super::source::Source;
use crate::callback::CallbackId;
use crate::error::{ErrorCode, Location, NativeError, NativeExit, ScriptError};
use crate::export::Script;
use crate::value::{Arg, Value};

/// A callback in Rust: the counterpart of a script function.
pub type NativeCallback<C> = fn(&mut C, &Script<'_>, &[Arg<'_>]) -> Result<Value, Box<NativeError>>;

/// An engine whose "script" is Rust code of the host: its default behaviour, or a baseline to measure interpreters against.
///
/// A host makes it and passes it to [`Instance::load`](crate::Instance::load) with no sources; it is not announced.
///
/// ```
/// use kemi_core::{Callbacks, NativeEngine, Instance, Outcome, Registry, Value};
///
/// let mut callbacks = Callbacks::new();
/// let start = callbacks.required("start", "on_start", &[]);
/// let registry = Registry::<u32>::builder().root("app").callbacks(callbacks).build()?;
/// let engine = NativeEngine::new("rust").callback("on_start", |count: &mut u32, _script, _args| {
///     *count += 1;
///     Ok(Value::Nil)
/// });
/// let instance = Instance::load(&engine, &registry, &[])?;
/// let mut count = 41;
/// assert_eq!(instance.call(start, &mut count, &[])?, Outcome::Value(Value::Nil));
/// assert_eq!(count, 42);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct NativeEngine<C: 'static> {
    name: &'static str,
    functions: Arc<BTreeMap<&'static str, NativeCallback<C>>>,
}

impl<C: 'static> NativeEngine<C> {
    /// Creates an engine without callbacks.
    #[must_use]
    pub fn new(name: &'static str) -> NativeEngine<C> {
        NativeEngine { name, functions: Arc::default() }
    }

    /// Adds a callback.
    #[must_use]
    pub fn callback(mut self, name: &'static str, function: NativeCallback<C>) -> NativeEngine<C> {
        let mut functions = BTreeMap::clone(&self.functions);
        functions.insert(name, function);
        self.functions = Arc::new(functions);
        self
    }
}

impl<C: 'static> fmt::Debug for NativeEngine<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NativeEngine").field("name", &self.name).field("functions", &self.functions.keys()).finish()
    }
}

impl<C: 'static> Engine for NativeEngine<C> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn language(&self) -> String {
        "Rust, compiled in".to_owned()
    }

    /// There is no script: what runs is the host's own code.
    fn confinement(&self) -> Confinement {
        Confinement::Kept
    }

    fn load(&self, runtime: Rc<Runtime>, sources: &[Source]) -> Result<Box<dyn Interpreter>, ScriptError> {
        if let Some(source) = sources.first() {
            let message = format!("engine '{}' is compiled in and takes no script, got {}", self.name, source.name());
            return Err(ScriptError::new(ErrorCode::Unreadable, message));
        }
        Ok(Box::new(NativeInterpreter {
            runtime,
            functions: self.functions.clone(),
            resolved: RefCell::new(Vec::new()),
        }))
    }
}

struct NativeInterpreter<C: 'static> {
    runtime: Rc<Runtime>,
    functions: Arc<BTreeMap<&'static str, NativeCallback<C>>>,
    resolved: RefCell<Vec<Option<NativeCallback<C>>>>,
}

impl<C: 'static> NativeInterpreter<C> {
    fn function(&self, callback: CallbackId) -> Option<NativeCallback<C>> {
        let mut resolved = self.resolved.borrow_mut();
        if resolved.len() <= callback.index() {
            resolved.resize(callback.index() + 1, None);
        }
        let slot = resolved.get_mut(callback.index())?;
        if slot.is_none() {
            *slot = self.functions.get(&*self.runtime.registry().callback_name(callback)?).copied();
        }
        *slot
    }
}

impl<C: 'static> Interpreter for NativeInterpreter<C> {
    fn resolve(&self, name: &str) -> bool {
        self.functions.contains_key(name)
    }

    fn functions(&self) -> Vec<String> {
        self.functions.keys().map(|&name| name.to_owned()).collect()
    }

    fn call(&self, callback: CallbackId, args: &[Arg<'_>]) -> Result<Value, ScriptError> {
        let Some(function) = self.function(callback) else {
            let name = self.runtime.registry().callback_name(callback).unwrap_or_default();
            return Err(ScriptError::new(ErrorCode::MissingCallback, format!("there is no callback '{name}'")));
        };
        let result = self.runtime.with_context(self, |context: &mut C, script| function(context, script, args))?;
        match result {
            Ok(value) => Ok(value),
            Err(fault) => match *fault {
                NativeError::Exit => {
                    self.runtime.request_exit(NativeExit::Exit);
                    Ok(Value::Nil)
                }
                NativeError::Drop => {
                    self.runtime.request_exit(NativeExit::Drop);
                    Ok(Value::Nil)
                }
                NativeError::Error(error) => Err(error),
            },
        }
    }

    fn place(&self) -> Option<Location> {
        None
    }
}
