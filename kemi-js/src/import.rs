//! `require`: CommonJS modules from the script's folder.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

use boa_engine::object::JsObject;
use boa_engine::{Context, JsArgs, JsNativeError, JsResult, JsValue, NativeFunction, js_string};
use kemi_core::{ErrorCode, ScriptError, Source};

use crate::bind::define;
use crate::interpreter::Core;
use crate::source::utf8;
use crate::{error, string};

/// What stands before a module's text, on its first line so that line numbers stay right.
const HEAD: &str = "(function (exports, require, module, __filename, __dirname) {";
const TAIL: &str = "\n})";

/// The modules that an interpreter has loaded.
pub(crate) struct Modules {
    /// The folders of the scripts, as given.
    folders: Vec<PathBuf>,
    /// By the path that the system knows them by: the `module` object.
    loaded: RefCell<HashMap<PathBuf, JsObject>>,
}

impl Modules {
    pub(crate) fn new(sources: &[Source]) -> Modules {
        let mut folders: Vec<PathBuf> = Vec::new();
        for folder in sources.iter().filter_map(Source::folder) {
            if !folders.contains(&folder) {
                folders.push(folder);
            }
        }
        Modules { folders, loaded: RefCell::default() }
    }

    /// Defines `require` for the scripts: it looks in the folder of each.
    pub(crate) fn install(&self, core: &Rc<Core>, context: &mut Context) -> JsResult<()> {
        let core = Rc::as_ptr(core);
        let require = NativeFunction::from_copy_closure(move |_, args, context| {
            // SAFETY: function objects of this context run only while the core that owns it is alive.
            let modules = unsafe { &*core }.modules();
            require(core, args, &modules.folders, context)
        });
        define(&context.global_object(), "require", 1, require, context)
    }

    /// Lets go of all objects.
    pub(crate) fn clear(&self) {
        self.loaded.take();
    }

    fn find(&self, name: &str, folders: &[PathBuf]) -> Result<(PathBuf, PathBuf), String> {
        if self.folders.is_empty() {
            return Err(format!("cannot require '{name}': the script is not a file, so it has no folder to look in"));
        }
        let mut tried = Vec::new();
        for folder in folders {
            let base = tidy(&folder.join(name));
            let endings = ["", ".js", ".json", "/index.js"];
            for path in endings.map(|ending| PathBuf::from(format!("{}{ending}", base.display()))) {
                match path.canonicalize() {
                    Ok(real) if real.is_file() => {
                        let inside = self.folders.iter().filter_map(|folder| folder.canonicalize().ok());
                        if inside.into_iter().any(|folder| real.starts_with(folder)) {
                            return Ok((path, real));
                        }
                        return Err(format!(
                            "cannot require '{name}': {} is outside of the script's folder",
                            path.display()
                        ));
                    }
                    _ => tried.push(path.display().to_string()),
                }
            }
        }
        Err(format!("cannot find module '{name}'; looked for {}", tried.join(", ")))
    }

    fn load(&self, core: *const Core, path: &Path, real: PathBuf, context: &mut Context) -> JsResult<JsValue> {
        let exports = js_string!("exports");
        let known = self.loaded.borrow().get(&real).cloned();
        if let Some(module) = known {
            // Modules that require each other see what has been exported so far.
            return module.get(exports, context);
        }
        let name = path.display().to_string();
        // SAFETY: function objects of this context run only while the core that owns it is alive.
        let core = unsafe { &*core };
        let bytes = core.runtime().read_file(path).map_err(|error| failed(core, error, context))?;
        let code = utf8(&bytes, &name).map_err(|error| failed(core, error, context))?;
        if real.extension().is_some_and(|ending| ending == "json") {
            return self.json(code, &name, real, context);
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
        let script = core.compile(&wrapped, code, &name, context);
        let script = script.map_err(|error| failed(core, error, context))?;
        let function = script.evaluate(context)?;
        let require = own_require(core, folder, context);

        self.loaded.borrow_mut().insert(real.clone(), module.clone());
        let args = [empty.clone().into(), require, module.clone().into(), file.into(), dir.into()];
        let result = match function.as_callable() {
            Some(function) => function.call(&empty.into(), &args, context),
            None => Err(error(format!("{name} closes the function that is put around a module"))),
        };
        if let Err(error) = result {
            // The next attempt shall fail as well, not find half a module.
            self.loaded.borrow_mut().remove(&real);
            return Err(error);
        }
        module.get(exports, context)
    }

    fn json(&self, code: &str, name: &str, real: PathBuf, context: &mut Context) -> JsResult<JsValue> {
        let json = context.intrinsics().objects().json();
        let parse = json.get(js_string!("parse"), context)?;
        let Some(parse) = parse.as_callable() else { return Err(error("JSON.parse is no function".to_owned())) };
        let value =
            parse.call(&JsValue::undefined(), &[string::to_js(code.as_bytes()).into()], context).map_err(|cause| {
                match cause.as_native() {
                    Some(native) => error(format!("{name} is not valid JSON: {}", native.message())),
                    None => cause,
                }
            })?;
        let module = JsObject::with_object_proto(context.intrinsics());
        module.create_data_property_or_throw(js_string!("exports"), value.clone(), context)?;
        self.loaded.borrow_mut().insert(real, module);
        Ok(value)
    }
}

/// Makes the `require` of one module, which looks in the module's own folder.
fn own_require(core: *const Core, folder: PathBuf, context: &mut Context) -> JsValue {
    let look =
        move |args: &[JsValue], context: &mut Context| require(core, args, std::slice::from_ref(&folder), context);
    // SAFETY: the closure captures a path and a pointer, nothing that the garbage collector knows.
    let function = unsafe { NativeFunction::from_closure(move |_, args, context| look(args, context)) };
    function.to_js_function(context.realm()).into()
}

fn require(core: *const Core, args: &[JsValue], folders: &[PathBuf], context: &mut Context) -> JsResult<JsValue> {
    // SAFETY: function objects of this context run only while the core that owns it is alive.
    let modules = unsafe { &*core }.modules();
    let Some(name) = args.get_or_undefined(0).as_string() else {
        return Err(JsNativeError::typ().with_message("require takes the name of a module").into());
    };
    let (path, real) = modules.find(&string::lossy(&name), folders).map_err(error)?;
    modules.load(core, &path, real, context)
}

/// Takes `.` and `..` out of a path where that does not change what it names in error messages.
fn tidy(path: &Path) -> PathBuf {
    let mut tidy = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if matches!(tidy.components().next_back(), Some(Component::Normal(_))) => {
                tidy.pop();
            }
            other => tidy.push(other),
        }
    }
    tidy
}

fn error(message: String) -> boa_engine::JsError {
    JsNativeError::error().with_message(message).into()
}

/// Makes an error that a script can catch, and that comes out as the given one if the script does not.
fn failed(core: &Core, cause: ScriptError, context: &mut Context) -> boa_engine::JsError {
    let kind = match cause.code {
        ErrorCode::Syntax => JsNativeError::syntax(),
        _ => JsNativeError::error(),
    };
    // A script that catches it sees nothing but the text.
    let place = cause.place.as_ref().map_or_else(String::new, |place| format!("{place}: "));
    let text = format!("{place}{}", error::text_of(&cause));
    error::carrying(core, kind.with_message(text), cause, context)
}
