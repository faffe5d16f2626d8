//! One interpreter with one script, ready to be called by the host.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::ptr;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

use super::bound::bad_result;
use super::references::CallbackReference;
use crate::callback::{CallbackId, CallbackKind, Carried, Outcome, RouteId};
use crate::engine::{
    Closed, Confinement, Engine, Interpreter, ModuleFolders, Runtime, Source, missing_callback, replaced, time_of,
};
use crate::error::{ErrorCode, ScriptError};
use crate::export::Mismatch;
use crate::limits::{Profile, Watch};
use crate::registry::Registry;
use crate::telemetry::log_guarded;
use crate::value::{Arg, Function};

/// A loaded script of any language, whose native functions work on a context of type `C`.
///
/// It belongs to the thread that loaded it; give each worker its own. Its drop is a call as well: the script's finalizers may
/// run, for as long as a call may take.
pub struct Instance<C: 'static> {
    interpreter: Box<dyn Interpreter>,
    /// Dropped after the interpreter: it ends the call in which the finalizers ran.
    _closed: Closed,
    runtime: Rc<Runtime>,
    context: PhantomData<fn(&mut C)>,
}

impl<C: 'static> Instance<C> {
    /// Loads a script into a fresh interpreter and checks that it defines the required callbacks.
    ///
    /// # Errors
    /// The errors of [`Engine::load`]; [`ErrorCode::CannotConfine`] if the engine cannot keep the registry's [`Profile`];
    /// [`ErrorCode::RootReplaced`] if the top level replaced something of the root object;
    /// [`ErrorCode::MissingCallback`] with every required function that is missing.
    pub fn load(engine: &dyn Engine, registry: &Registry<C>, sources: &[Source]) -> Result<Instance<C>, ScriptError> {
        Self::load_on(engine, registry, sources, ptr::null_mut())
    }

    /// Loads a script as [`load`](Self::load) does, and lends its top level the context.
    ///
    /// Exports that need the host's context can then be called at the top level: `app.on("order", function(order) … end)`.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_with(
        engine: &dyn Engine,
        registry: &Registry<C>,
        sources: &[Source],
        context: &mut C,
    ) -> Result<Instance<C>, ScriptError> {
        Self::load_on(engine, registry, sources, ptr::from_mut(context).cast())
    }

    /// Loads a script with a context in the slot, or with none.
    fn load_on(
        engine: &dyn Engine,
        registry: &Registry<C>,
        sources: &[Source],
        context: *mut (),
    ) -> Result<Instance<C>, ScriptError> {
        let stamp = |mut error: ScriptError| {
            error.engine = engine.name();
            error
        };
        registry.check_names(engine.name(), &|name, role| engine.reserved(name, role)).map_err(stamp)?;
        confine(engine, registry.profile()).map_err(stamp)?;
        let sources = read(registry, sources).map_err(stamp)?;
        let modules = ModuleFolders::new(registry.profile(), &sources).map_err(stamp)?;
        let runtime = Rc::new(Runtime::new(registry.data().clone(), engine, modules));
        let closed = Closed(runtime.clone());
        let loaded = runtime.load(context, || {
            let interpreter = engine.load(runtime.clone(), &sources)?;
            let checked = check(&*interpreter, registry).map_err(|error| name_files(error, &sources));
            Ok((interpreter, checked))
        });
        let (interpreter, checked) = loaded.map_err(stamp)?;
        let instance = Instance { interpreter, _closed: closed, runtime, context: PhantomData };
        checked.map_err(stamp)?;
        Ok(instance)
    }

    /// Returns the error for a callback that the script names but does not define, or that cannot be called.
    pub(crate) fn unfit(&self, named: &CallbackReference, file: &str) -> Option<ScriptError> {
        let mut error = self.runtime.look_up(|| {
            if !self.interpreter.resolve(&named.name) {
                return Some(missing_callback(&named.name, &*self.interpreter));
            }
            let declared = self.runtime.registry().callbacks().iter();
            let counts = declared.filter(|decl| decl.presence == CallbackKind::Named).map(|decl| decl.params.len());
            let mut refused = counts.map(|count| self.interpreter.accepts(&named.name, count).err());
            // The route that it is for is not known here, so one that fits is enough.
            refused.next()?.filter(|_| refused.all(|error| error.is_some()))
        })?;
        if error.place.is_none() {
            error = error.at(file, named.line);
        }
        error.export = Some(named.export.clone());
        Some(error)
    }

    /// Returns whether the script defines a callback.
    #[must_use]
    pub fn has(&self, callback: CallbackId) -> bool {
        let Some(name) = self.runtime.registry().callback_name(callback) else { return false };
        self.runtime.look_up(|| self.interpreter.resolve(&name))
    }

    /// Calls a callback of the script.
    ///
    /// # Errors
    /// The error that the script raised; [`ErrorCode::MissingCallback`] if it does not define the callback;
    /// [`ErrorCode::ForeignId`] if the callback belongs to another registry.
    pub fn call(&self, callback: CallbackId, context: &mut C, args: &[Arg<'_>]) -> Result<Outcome, ScriptError> {
        self.runtime.run(&*self.interpreter, callback, ptr::from_mut(context).cast(), args)
    }

    /// Calls a function that the script has passed to the host.
    pub(super) fn call_function(
        &self,
        function: &Function,
        route: Option<RouteId>,
        context: &mut C,
        args: &[Arg<'_>],
    ) -> Result<Outcome, ScriptError> {
        let context = ptr::from_mut(context).cast();
        self.runtime.run_function(&*self.interpreter, function, route, context, args)
    }

    /// Checks that a callback can be called with so many arguments.
    pub(super) fn check_bound(&self, callback: CallbackId, count: Option<usize>) -> Result<(), ScriptError> {
        let registry = self.runtime.registry();
        let Some(name) = registry.callback_name(callback) else { return Err(self.runtime.foreign_callback()) };
        let stamp = |mut error: ScriptError| {
            error.engine = self.runtime.engine();
            error.callback = Some(name.to_string());
            error
        };
        let declared = registry.callbacks().iter().find(|decl| *decl.name == *name).map(|decl| decl.params.len());
        if let (Some(declared), Some(count)) = (declared, count)
            && declared != count
        {
            let message = format!("the host declares {declared} parameter(s) for it and binds it with {count}");
            return Err(stamp(ScriptError::new(ErrorCode::ArgumentCount, message)));
        }
        self.runtime.look_up(|| {
            if !self.interpreter.resolve(&name) {
                return Err(stamp(missing_callback(&name, &*self.interpreter)));
            }
            count.map_or(Ok(()), |count| self.interpreter.accepts(&name, count)).map_err(stamp)
        })
    }

    /// Returns the id of a function by its name.
    pub(super) fn named(&self, name: &str) -> Result<CallbackId, ScriptError> {
        self.runtime.function_named(&*self.interpreter, name)
    }

    /// Builds the error for a callback's result of the wrong type.
    #[cold]
    pub(super) fn bad_result(&self, callback: CallbackId, mismatch: &Mismatch) -> ScriptError {
        let mut error = self.bad_function_result(mismatch);
        error.callback = self.runtime.registry().callback_name(callback).map(|name| name.to_string());
        error.place = self.interpreter.definition(callback);
        error
    }

    /// Builds the error for a function's result of the wrong type.
    #[cold]
    pub(super) fn bad_function_result(&self, mismatch: &Mismatch) -> ScriptError {
        let mut error = bad_result(mismatch, self.runtime.first_index());
        error.engine = self.runtime.engine();
        error
    }

    /// Calls a callback with a context, or without one.
    fn call_on(&self, callback: CallbackId, context: Option<&mut C>, args: &[Arg<'_>]) -> Result<Outcome, ScriptError> {
        let context = context.map_or(ptr::null_mut(), |context| ptr::from_mut(context).cast());
        self.runtime.run(&*self.interpreter, callback, context, args)
    }

    /// Takes over the state of an older version, if its script saves one.
    ///
    /// # Errors
    /// The error of one of the two callbacks; a state that this version does not restore, or that cannot leave the old one.
    pub(super) fn take_over(&self, old: &Instance<C>, mut context: Option<&mut C>) -> Result<(), ScriptError> {
        let registry = self.runtime.registry();
        let Some(Carried { save, restore }) = registry.carried().filter(|carried| old.has(carried.save)) else {
            return Ok(());
        };
        let Outcome::Value(state) = old.call_on(save, context.as_deref_mut(), &[])? else { return Ok(()) };
        let named = |id| registry.callback_name(id).unwrap_or_default();
        let refused = |code, message: String| {
            let mut error = ScriptError::new(code, message);
            error.engine = self.runtime.engine();
            Err(error)
        };
        if state.has_function() {
            let message =
                format!("the state that {}() returns has a function in it, which ends with its script", named(save));
            return refused(ErrorCode::ValueNotConvertible, message);
        }
        if !self.has(restore) {
            let (save, restore) = (named(save), named(restore));
            let message =
                format!("the old version has a state ({save}), and the new one no function '{restore}' to take it");
            return refused(ErrorCode::MissingCallback, message);
        }
        self.call_on(restore, context, &[Arg::from(&state)]).map(|_| ())
    }

    /// Returns the names of all declared callbacks that the script defines.
    #[must_use]
    pub fn defined(&self) -> Vec<String> {
        let declared = self.runtime.registry().declared_callbacks();
        // One by one, so that the list does not count as the interpreter's memory.
        let defined = declared.filter(|(_, name)| self.runtime.look_up(|| self.interpreter.resolve(name)));
        defined.map(|(_, name)| name.to_owned()).collect()
    }

    /// Returns how many native calls took the typed and the generic path; nothing is counted if
    /// [`TelemetryConfig::metrics`](crate::TelemetryConfig::metrics) is off.
    #[must_use]
    pub fn calls(&self) -> (u64, u64) {
        self.runtime.calls()
    }

    pub(crate) fn watch(&self) -> &Arc<Watch> {
        self.runtime.watch()
    }

    /// Runs a step of loading the script, within the limits of loading.
    pub(crate) fn while_loading<R>(&self, run: impl FnOnce() -> Result<R, ScriptError>) -> Result<R, ScriptError> {
        self.runtime.load(ptr::null_mut(), run)
    }
}

impl<C: 'static> Drop for Instance<C> {
    fn drop(&mut self) {
        self.runtime.closing();
    }
}

impl<C: 'static> fmt::Debug for Instance<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Instance").field("runtime", &self.runtime).finish_non_exhaustive()
    }
}

/// Checks that the engine keeps the profile that the host demands.
///
/// # Errors
/// It does not. One that is not demanded gives a line in the log instead.
fn confine(engine: &dyn Engine, profile: &Profile) -> Result<(), ScriptError> {
    /// The engines of which the log has told.
    static TOLD: Mutex<Vec<&str>> = Mutex::new(Vec::new());
    let Confinement::Impossible(reason) = engine.confinement() else { return Ok(()) };
    let name = engine.name();
    if profile.is_demanded() {
        let message = format!("engine '{name}' cannot keep the profile '{}': {reason}", profile.name());
        let hint = "give each tenant a process of its own, or take what the engine can keep: Profile::strictest()";
        return Err(ScriptError::new(ErrorCode::CannotConfine, message).with_hint(hint));
    }
    if !profile.is_open() {
        let mut told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
        if !told.contains(&name) {
            told.push(name);
            drop(told);
            log_guarded(|| {
                tracing::warn!(
                    target: "kemi",
                    engine = name,
                    "scripts may use all of their language's library: {reason}; give those of others a process of their own, or \
                     choose Profile::open() if that is meant"
                );
            });
        }
    }
    Ok(())
}

/// Reads the files among the sources in time.
fn read<'a, C: 'static>(registry: &Registry<C>, sources: &'a [Source]) -> Result<Cow<'a, [Source]>, ScriptError> {
    if !sources.iter().any(|source| matches!(source, Source::File(_))) {
        return Ok(Cow::Borrowed(sources));
    }
    let time = time_of(registry.limits().max_load_time_ms);
    sources.iter().map(|source| source.snapshot_within(time)).collect::<Result<_, _>>().map(Cow::Owned)
}

/// Checks a loaded script: its root object is whole, it defines the required callbacks, and they take the host's arguments.
fn check<C: 'static>(interpreter: &dyn Interpreter, registry: &Registry<C>) -> Result<(), ScriptError> {
    let names = interpreter.restore_root(true);
    if !names.is_empty() {
        return Err(replaced(&names));
    }
    let required = registry.callbacks().iter().filter(|decl| decl.presence == CallbackKind::Required);
    let missing: Vec<&str> =
        required.map(|decl| decl.name.as_str()).filter(|name| !interpreter.resolve(name)).collect();
    match missing.as_slice() {
        [] => {}
        [name] => return Err(missing_callback(name, interpreter)),
        names => {
            let message = format!("the script lacks the functions {}", names.join(", "));
            return Err(ScriptError::new(ErrorCode::MissingCallback, message));
        }
    }
    let declared = registry.callbacks().iter().filter(|decl| decl.presence != CallbackKind::Named);
    let mut defined = declared.filter(|decl| interpreter.resolve(&decl.name));
    defined.try_for_each(|decl| interpreter.accepts(&decl.name, decl.params.len()))
}

/// Adds the files' names to an error without a place.
fn name_files(mut error: ScriptError, sources: &[Source]) -> ScriptError {
    if !sources.is_empty() && error.place.is_none() {
        let names: Vec<String> = sources.iter().map(Source::name).collect();
        error.message = format!("{} ({})", error.message, names.join(", "));
    }
    error
}
