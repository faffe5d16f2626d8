//! One interpreter with one script, ready to be called by the host.

use std::fmt;
use std::marker::PhantomData;
use std::ptr;
use std::rc::Rc;

use crate::callback::{CallbackId, Presence};
use crate::engine::{Engine, Interpreter};
use crate::error::{ErrorCode, ScriptError};
use crate::lexis::Mention;
use crate::registry::Registry;
use crate::runtime::{Outcome, Runtime, missing_callback, replaced};
use crate::source::Source;
use crate::value::Arg;

/// A loaded script of any language, whose native functions work on a context of type `C`.
///
/// Belongs to the thread that loaded it; give each worker its own.
pub struct Instance<C: 'static> {
    interpreter: Box<dyn Interpreter>,
    runtime: Rc<Runtime>,
    context: PhantomData<fn(&mut C)>,
}

impl<C: 'static> Instance<C> {
    /// Loads a script into a fresh interpreter and checks that it defines what the host requires.
    ///
    /// # Errors
    /// What [`Engine::load`] reports, [`ErrorCode::RootReplaced`] if the top level replaced something of the root object,
    /// or [`ErrorCode::MissingCallback`] naming every required function that is missing.
    pub fn load(engine: &dyn Engine, registry: &Registry<C>, sources: &[Source]) -> Result<Instance<C>, ScriptError> {
        let runtime = Rc::new(Runtime::new(registry.data().clone(), engine.name(), engine.coercions()));
        let stamp = |mut error: ScriptError| {
            error.engine = engine.name();
            error
        };
        runtime.loading();
        let loaded = engine.load(runtime.clone(), sources);
        // A limit explains whatever error the engine made of it.
        runtime.loaded().map_err(stamp)?;
        let interpreter = loaded.map_err(stamp)?;

        check(&*interpreter, registry).map_err(|error| stamp(name_files(error, sources)))?;
        Ok(Instance { interpreter, runtime, context: PhantomData })
    }

    /// Returns the error for a callback that the script names but does not define.
    pub(crate) fn missing(&self, mention: &Mention, file: &str) -> Option<ScriptError> {
        if self.interpreter.resolve(&mention.name) {
            return None;
        }
        let mut error = missing_callback(&mention.name, &*self.interpreter).at(file, mention.line);
        error.export = Some(mention.export.clone());
        Some(error)
    }

    /// Returns whether the script defines a callback.
    #[must_use]
    pub fn has(&self, callback: CallbackId) -> bool {
        self.runtime.registry().callback_name(callback).is_some_and(|name| self.interpreter.resolve(&name))
    }

    /// Calls a callback of the script.
    ///
    /// # Errors
    /// What the script raised; [`ErrorCode::MissingCallback`] if it does not define the callback.
    pub fn call(&self, callback: CallbackId, context: &mut C, args: &[Arg<'_>]) -> Result<Outcome, ScriptError> {
        self.runtime.run(&*self.interpreter, callback, ptr::from_mut(context).cast(), args)
    }

    /// Returns the names of all declared callbacks that the script defines.
    #[must_use]
    pub fn defined(&self) -> Vec<String> {
        let declared = self.runtime.registry().declared_callbacks();
        declared.filter(|(_, name)| self.interpreter.resolve(name)).map(|(_, name)| name.to_owned()).collect()
    }

    /// Returns the state shared with the native functions, for its counters.
    #[must_use]
    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }
}

impl<C: 'static> fmt::Debug for Instance<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Instance").field("runtime", &self.runtime).finish_non_exhaustive()
    }
}

/// Checks what a loaded script has made of the root object, and that it defines what the host requires.
fn check<C: 'static>(interpreter: &dyn Interpreter, registry: &Registry<C>) -> Result<(), ScriptError> {
    let names = interpreter.repair(true);
    if !names.is_empty() {
        return Err(replaced(&names));
    }
    let required = registry.callbacks().iter().filter(|decl| decl.presence == Presence::Required);
    let missing: Vec<&str> =
        required.map(|decl| decl.name.as_str()).filter(|name| !interpreter.resolve(name)).collect();
    match missing.as_slice() {
        [] => Ok(()),
        [name] => Err(missing_callback(name, interpreter)),
        names => {
            let message = format!("the script lacks the functions {}", names.join(", "));
            Err(ScriptError::new(ErrorCode::MissingCallback, message))
        }
    }
}

/// Names the files in an error that has no place in one of them.
fn name_files(mut error: ScriptError, sources: &[Source]) -> ScriptError {
    if !sources.is_empty() {
        let names: Vec<String> = sources.iter().map(Source::name).collect();
        error.message = format!("{} ({})", error.message, names.join(", "));
    }
    error
}
