//! `require`: CommonJS modules from where the script's profile allows them.

use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

use boa_engine::object::JsObject;
use boa_engine::{Context, JsArgs, JsError, JsNativeError, JsResult, JsValue, NativeFunction, js_string};
use boa_gc::{Finalize, Gc, GcRefCell, Trace};
use kemi_core::engine::ModuleFolders;
use kemi_core::limits::{Imports, Needs};
use kemi_core::{ErrorCode, ScriptError};

use crate::bind::{InstanceRef, define};
use crate::interpreter::State;
use crate::source::utf8;
use crate::{error, string};

/// The text before a module's own, on its first line so that line numbers stay right.
const HEAD: &str = "(function (exports, require, module, __filename, __dirname) {";
const TAIL: &str = "\n})";

/// The modules that an interpreter has loaded. Its `require` functions hold them.
#[derive(Trace, Finalize)]
struct Modules {
    /// The `module` objects, by the paths that the system knows them by.
    loaded: GcRefCell<HashMap<PathBuf, JsObject>>,
}

/// The captures of a `require` function.
#[derive(Trace, Finalize)]
struct Require {
    modules: Gc<Modules>,
    /// The folder of the module that it belongs to; none for the scripts, which look in all folders.
    folder: Option<PathBuf>,
}

/// Defines `require` for the scripts.
pub(crate) fn install(state: &Rc<State>, context: &mut Context) -> JsResult<()> {
    let modules = Gc::new(Modules { loaded: GcRefCell::default() });
    let require = Require { modules, folder: None }.function(InstanceRef::new(state));
    define(&context.global_object(), "require", 1, require, context)
}

impl Require {
    fn function(self, instance: InstanceRef) -> NativeFunction {
        let call = move |_: &JsValue, args: &[JsValue], require: &Require, context: &mut Context| {
            // SAFETY: a function object of the instance's context runs this.
            let state = unsafe { instance.state() };
            let Some(name) = args.get_or_undefined(0).as_string() else {
                return Err(JsNativeError::typ().with_message("require takes the name of a module").into());
            };
            let (name, modules) = (string::lossy(&name), state.runtime().modules());
            let profile = state.runtime().registry().profile();
            if *profile.where_from() == Imports::Nothing {
                return Err(failed(state, profile.refuse("require", Needs::Imports), context));
            }
            let folders = require.folder.as_ref().map_or(modules.folders(), std::slice::from_ref);
            let found = find(modules, &name, folders).map_err(|refusal| failed(state, refusal, context))?;
            let (path, real) = found.ok_or_else(|| error(missing(modules, &name, folders)))?;
            let modules = &require.modules;
            load(modules, state, instance, &path, real, context)
        };
        NativeFunction::from_copy_closure_with_captures(call, self)
    }
}

/// Finds the file of a module: the path to show, and the one by which the system knows it.
///
/// # Errors
/// The file is not where modules may come from.
fn find(modules: &ModuleFolders, name: &str, folders: &[PathBuf]) -> Result<Option<(PathBuf, PathBuf)>, ScriptError> {
    for path in candidates(modules, name, folders) {
        if let Some(real) = modules.find(&path)? {
            return Ok(Some((path, real)));
        }
    }
    Ok(None)
}

/// Returns the files that a module may be in.
fn candidates<'a>(
    modules: &'a ModuleFolders,
    name: &'a str,
    folders: &'a [PathBuf],
) -> impl Iterator<Item = PathBuf> + 'a {
    folders.iter().flat_map(move |folder| {
        let base = normalized(&folder.join(name));
        // What has the name of a folder for modules, with an ending, is beside it.
        let is_folder = modules.folders().iter().any(|folder| normalized(folder) == base);
        let endings: &[&str] = if is_folder { &["/index.js"] } else { &["", ".js", ".json", "/index.js"] };
        endings.iter().map(move |ending| PathBuf::from(format!("{}{ending}", base.display())))
    })
}

/// Tells where a module was looked for.
fn missing(modules: &ModuleFolders, name: &str, folders: &[PathBuf]) -> String {
    if folders.is_empty() {
        return format!("cannot require '{name}': the script is not a file, so it has no folder to look in");
    }
    let tried = candidates(modules, name, folders).map(|path| path.display().to_string());
    format!("cannot find module '{name}'; looked for {}", tried.collect::<Vec<_>>().join(", "))
}

fn load(
    modules: &Gc<Modules>,
    state: &State,
    instance: InstanceRef,
    path: &Path,
    real: PathBuf,
    context: &mut Context,
) -> JsResult<JsValue> {
    let exports = js_string!("exports");
    let known = modules.loaded.borrow().get(&real).cloned();
    if let Some(module) = known {
        // Modules that require each other see what has been exported so far.
        return module.get(exports, context);
    }
    let name = path.display().to_string();
    let bytes = state.runtime().read_file(&real).map_err(|error| failed(state, error, context))?;
    let code = utf8(&bytes, &name).map_err(|error| failed(state, error, context))?;
    if real.extension().is_some_and(|ending| ending == "json") {
        return load_json(modules, code, &name, real, context);
    }

    let module = JsObject::with_object_proto(context.intrinsics());
    let empty = JsObject::with_object_proto(context.intrinsics());
    module.create_data_property_or_throw(exports.clone(), empty.clone(), context)?;
    let folder = path.parent().map_or_else(PathBuf::new, Path::to_path_buf);
    let file = string::to_js(name.as_bytes());
    let dir = string::to_js(folder.display().to_string().as_bytes());
    // A first line for the shell is none of the language in the middle of a text.
    let first = if code.starts_with("#!") { "//" } else { "" };
    let wrapped = format!("{HEAD}{first}{code}{TAIL}");
    let script = state.compile(&wrapped, code, &name, context);
    let script = script.map_err(|error| failed(state, error, context))?;
    let function = script.evaluate(context)?;
    let require = Require { modules: modules.clone(), folder: Some(folder) }.function(instance);
    let require = require.to_js_function(context.realm()).into();

    modules.loaded.borrow_mut().insert(real.clone(), module.clone());
    let args = [empty.clone().into(), require, module.clone().into(), file.into(), dir.into()];
    let result = match function.as_callable() {
        Some(function) => function.call(&empty.into(), &args, context),
        None => Err(error(format!("{name} closes the function that is put around a module"))),
    };
    if let Err(error) = result {
        // The next attempt shall fail as well, not find half a module.
        modules.loaded.borrow_mut().remove(&real);
        return Err(error);
    }
    module.get(exports, context)
}

fn load_json(modules: &Modules, code: &str, name: &str, real: PathBuf, context: &mut Context) -> JsResult<JsValue> {
    let json = context.intrinsics().objects().json();
    let parse = json.get(js_string!("parse"), context)?;
    let Some(parse) = parse.as_callable() else { return Err(error("JSON.parse is no function".to_owned())) };
    let text = string::to_js(code.as_bytes());
    let value =
        parse.call(&JsValue::undefined(), &[text.into()], context).map_err(|cause| match cause.as_native() {
            Some(native) => error(format!("{name} is not valid JSON: {}", native.message())),
            None => cause,
        })?;
    let module = JsObject::with_object_proto(context.intrinsics());
    module.create_data_property_or_throw(js_string!("exports"), value.clone(), context)?;
    modules.loaded.borrow_mut().insert(real, module);
    Ok(value)
}

/// Takes `.` and `..` out of a path where that does not change what it names in error messages.
fn normalized(path: &Path) -> PathBuf {
    let mut normalized = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if matches!(normalized.components().next_back(), Some(Component::Normal(_))) => {
                normalized.pop();
            }
            other => normalized.push(other),
        }
    }
    normalized
}

fn error(message: String) -> JsError {
    JsNativeError::error().with_message(message).into()
}

/// Makes an error that a script can catch, and that comes out as the given one if the script does not.
fn failed(state: &State, cause: ScriptError, context: &mut Context) -> JsError {
    let kind = match cause.code {
        ErrorCode::Syntax => JsNativeError::syntax(),
        _ => JsNativeError::error(),
    };
    // A script that catches it sees nothing but the text.
    let place = cause.place.as_ref().map_or_else(String::new, |place| format!("{place}: "));
    let text = format!("{place}{}", error::text_of(&cause));
    state.diagnostics().carry(kind.with_message(text), cause, context)
}
