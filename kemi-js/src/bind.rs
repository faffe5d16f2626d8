//! The root object with its modules, and what a name that does not exist reads as.

use std::rc::Rc;

use boa_engine::object::builtins::JsFunction;
use boa_engine::object::{FunctionObjectBuilder, JsObject};
use boa_engine::property::{PropertyDescriptor, PropertyKey};
use boa_engine::{Context, JsArgs, JsResult, JsValue, NativeFunction, js_string};
use kemi_core::Export;

use crate::interpreter::Core;
use crate::string;
use crate::trampoline::Bound;

/// Makes the root object a global.
pub(crate) fn root(core: &Rc<Core>, context: &mut Context) -> JsResult<()> {
    let registry = core.runtime().registry().clone();
    let root = JsObject::with_object_proto(context.intrinsics());
    for (name, exports) in registry.modules() {
        if name.is_empty() {
            fill(core, &root, exports, context)?;
        } else {
            let module = JsObject::with_object_proto(context.intrinsics());
            fill(core, &module, exports, context)?;
            module.set_prototype(Some(misses(core, Some(name), context)?));
            fix(&root, name, module, context)?;
        }
    }
    root.set_prototype(Some(misses(core, None, context)?));
    fix(&context.global_object(), registry.root(), root, context)
}

/// Defines a property that no script can change: an assignment is an error in strict code, and elsewhere does nothing.
fn fix(object: &JsObject, name: &str, value: impl Into<JsValue>, context: &mut Context) -> JsResult<()> {
    let fixed = PropertyDescriptor::builder().value(value).enumerable(true).writable(false).configurable(false);
    object.define_property_or_throw(string::to_js(name.as_bytes()), fixed, context)?;
    Ok(())
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

fn function_object(name: &str, length: usize, function: NativeFunction, context: &mut Context) -> JsFunction {
    let name = string::to_js(name.as_bytes());
    FunctionObjectBuilder::new(context.realm(), function).name(name).length(length).build()
}

fn fill(core: &Rc<Core>, object: &JsObject, exports: &[Export], context: &mut Context) -> JsResult<()> {
    for export in exports {
        // SAFETY: the export is of the core's registry, and this is the core's context.
        let function = unsafe { Bound::new(core, export) }.function();
        let function = function_object(export.def().name, export.def().min_args(), function, context);
        fix(object, export.def().name, function, context)?;
    }
    Ok(())
}

/// Makes a prototype that is asked only for what the object itself lacks: it notes the name, which reads as undefined.
fn misses(core: &Rc<Core>, module: Option<&'static str>, context: &mut Context) -> JsResult<JsObject> {
    let core = Rc::as_ptr(core);
    let get = NativeFunction::from_copy_closure(move |_, args, context| {
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
        // SAFETY: function objects of this context run only while the core that owns it is alive.
        let core = unsafe { &*core };
        match module {
            Some(module) => core.note_unknown(module, Some(&name)),
            None => core.note_unknown(&name, None),
        }
        Ok(JsValue::undefined())
    });
    let handler = JsObject::with_null_proto();
    define(&handler, "get", 3, get, context)?;
    handler.create_data_property_or_throw(js_string!("set"), set_on_receiver(context), context)?;
    let target = JsObject::with_object_proto(context.intrinsics());
    let proxy = context.intrinsics().constructors().proxy().constructor();
    proxy.construct(&[target.into(), handler.into()], None, context)
}

/// Lets a script add a property of its own: a proxy in the chain would otherwise take it.
fn set_on_receiver(context: &mut Context) -> JsValue {
    let set = NativeFunction::from_fn_ptr(|_, args, context| {
        let key = args.get_or_undefined(1).to_property_key(context)?;
        let Some(receiver) = args.get_or_undefined(3).as_object() else { return Ok(JsValue::new(false)) };
        receiver.create_data_property(key, args.get_or_undefined(2).clone(), context).map(JsValue::new)
    });
    set.to_js_function(context.realm()).into()
}
