//! The root object with its modules, and the reading of names that do not exist.

use std::rc::Rc;

use boa_engine::object::builtins::{JsArray, JsFunction};
use boa_engine::object::{FunctionObjectBuilder, IntegrityLevel, JsObject};
use boa_engine::property::PropertyKey;
use boa_engine::{Context, JsArgs, JsResult, JsString, JsValue, NativeFunction, js_string};
use kemi_core::Value;
use kemi_core::registry::{Export, Module};

use crate::integrity::define_fixed;
use crate::interpreter::State;
use crate::value::{self, ConvertError};
use crate::{objects, string};

/// The link from a function object to the interpreter that it belongs to.
#[derive(Clone, Copy)]
pub(crate) struct InstanceRef(*const State);

impl InstanceRef {
    /// Makes the link for function objects of the state's context.
    pub(crate) fn new(state: &State) -> InstanceRef {
        InstanceRef(std::ptr::from_ref(state))
    }

    /// Returns the interpreter.
    ///
    /// # Safety
    /// A function object of the interpreter's own context is running, or being made: then the state is alive, which owns
    /// the context.
    pub(crate) unsafe fn state<'a>(self) -> &'a State {
        // SAFETY: made from a reference; the caller vouches for the life time.
        unsafe { &*self.0 }
    }
}

/// The export of a native function object, and the link to its interpreter.
#[derive(Clone, Copy)]
pub(crate) struct BoundExport {
    instance: InstanceRef,
    export: *const Export,
}

impl BoundExport {
    /// Binds an export of the interpreter's registry.
    pub(crate) fn new(instance: InstanceRef, export: &Export) -> BoundExport {
        BoundExport { instance, export }
    }

    /// # Safety
    /// As for [`InstanceRef::state`].
    pub(crate) unsafe fn state<'a>(self) -> &'a State {
        // SAFETY: as the caller's.
        unsafe { self.instance.state() }
    }

    /// # Safety
    /// As for [`InstanceRef::state`]: the state holds the registry, which holds the export at a fixed address.
    pub(crate) unsafe fn export<'a>(self) -> &'a Export {
        // SAFETY: made from a reference; the caller vouches for the life time.
        unsafe { &*self.export }
    }
}

/// Makes the native function of an export.
pub(crate) type MakeFunction = fn(BoundExport) -> NativeFunction;

/// Makes the root object a global.
pub(crate) fn root(state: &Rc<State>, function: MakeFunction, context: &mut Context) -> JsResult<()> {
    let registry = state.runtime().registry();
    let root = module(state, registry.module(), function, context)?;
    define_fixed(&context.global_object(), registry.root(), root, context)
}

/// Makes the object of a module with all in it.
fn module(state: &Rc<State>, module: &Module, function: MakeFunction, context: &mut Context) -> JsResult<JsObject> {
    let instance = InstanceRef::new(state);
    let object = JsObject::with_object_proto(context.intrinsics());
    let registry = state.runtime().registry();
    for export in registry.exports().get(module.exports()).unwrap_or_default() {
        // Properties and operators are reached through objects only.
        if !export.def().is_function() {
            continue;
        }
        let function = function(BoundExport::new(instance, export));
        let function = function_object(export.def().name, export.def().min_args(), function, context);
        define_fixed(&object, export.def().name, function, context)?;
    }
    for constant in module.constants() {
        let name = constant.def().name;
        let value = fixed(constant.value(), state, &within(module.path(), name), context)?;
        define_fixed(&object, name, value, context)?;
    }
    for inner in module.modules() {
        let inner_object = self::module(state, inner, function, context)?;
        define_fixed(&object, inner.name(), inner_object, context)?;
    }
    if let Some(class) = registry.classes().iter().find(|class| class.class().path == module.path()) {
        objects::define_instances(&object, class.class(), context)?;
    }
    object.set_prototype(Some(unknown_names(instance, module.path(), context)?));
    Ok(object)
}

fn within(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// Converts a constant to a value that no script can change; the elements of a `Uint8Array` cannot be fixed.
fn fixed(value: &Value, state: &Rc<State>, path: &str, context: &mut Context) -> JsResult<JsValue> {
    let object: JsObject = match value {
        Value::Array(items) => {
            let items: JsResult<Vec<JsValue>> = items.iter().map(|item| fixed(item, state, path, context)).collect();
            JsArray::from_iter(items?, context).into()
        }
        Value::Map(map) => {
            let object = JsObject::with_object_proto(context.intrinsics());
            for (key, item) in map {
                let item = fixed(item, state, &within(path, &key.to_string()), context)?;
                object.create_data_property_or_throw(string::to_js(key), item, context)?;
            }
            object.set_prototype(Some(unknown_names(InstanceRef::new(state), path, context)?));
            object
        }
        plain => return value::from_value(plain, state, context).map_err(ConvertError::into_native),
    };
    object.set_integrity_level(IntegrityLevel::Frozen, context)?;
    Ok(object.into())
}

/// Defines a function as a property of an object.
pub(crate) fn define(
    object: &JsObject,
    name: &str,
    length: usize,
    function: NativeFunction,
    context: &mut Context,
) -> JsResult<()> {
    let function = function_object(name, length, function, context);
    object.create_data_property_or_throw(string::to_js(name.as_bytes()), function, context)?;
    Ok(())
}

pub(crate) fn function_object(
    name: &str,
    length: usize,
    function: NativeFunction,
    context: &mut Context,
) -> JsFunction {
    let name = string::to_js(name.as_bytes());
    FunctionObjectBuilder::new(context.realm(), function).name(name).length(length).build()
}

/// Makes a prototype that is asked only for what the object itself lacks: it notes the name, which reads as undefined.
fn unknown_names(instance: InstanceRef, path: &str, context: &mut Context) -> JsResult<JsObject> {
    let get = move |_: &JsValue, args: &[JsValue], path: &JsString, context: &mut Context| {
        let (target, key) = (args.get_or_undefined(0), args.get_or_undefined(1));
        let Some(target) = target.as_object() else { return Ok(JsValue::undefined()) };
        let key = key.to_property_key(context)?;
        // `toString` and the like, which every object has.
        if target.has_property(key.clone(), context)? {
            return target.get(key, context);
        }
        let name = match key {
            PropertyKey::String(name) => string::lossy(&name),
            PropertyKey::Index(_) | PropertyKey::Symbol(_) => return Ok(JsValue::undefined()),
        };
        // SAFETY: a function object of the instance's context runs this.
        let diagnostics = unsafe { instance.state() }.diagnostics();
        match path.is_empty() {
            true => diagnostics.note_unknown(&name, None),
            false => diagnostics.note_unknown(&string::lossy(path), Some(&name)),
        }
        Ok(JsValue::undefined())
    };
    let get = NativeFunction::from_copy_closure_with_captures(get, string::to_js(path.as_bytes()));
    let handler = JsObject::with_null_proto();
    define(&handler, "get", 3, get, context)?;
    handler.create_data_property_or_throw(js_string!("set"), set_on_receiver(context), context)?;
    let target = JsObject::with_object_proto(context.intrinsics());
    let proxy = context.intrinsics().constructors().proxy().constructor();
    proxy.construct(&[target.into(), handler.into()], None, context)
}

/// Makes the handler by which a script adds a property of its own: a proxy in the chain would otherwise take it.
fn set_on_receiver(context: &mut Context) -> JsValue {
    let set = NativeFunction::from_fn_ptr(|_, args, context| {
        let key = args.get_or_undefined(1).to_property_key(context)?;
        let Some(receiver) = args.get_or_undefined(3).as_object() else { return Ok(JsValue::new(false)) };
        receiver.create_data_property(key, args.get_or_undefined(2).clone(), context).map(JsValue::new)
    });
    set.to_js_function(context.realm()).into()
}
