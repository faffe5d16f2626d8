//! Functions of the language's library that are replaced, one file a subject, and the helpers that they share.

pub(crate) mod clock;
pub(crate) mod flat;
pub(crate) mod json;
pub(crate) mod proxy;
pub(crate) mod regexp;
pub(crate) mod search;
pub(crate) mod size_guards;
pub(crate) mod sort;

use boa_engine::object::{FunctionObjectBuilder, JsObject};
use boa_engine::property::PropertyDescriptor;
use boa_engine::{Context, JsResult, JsString, JsValue, NativeFunction, js_string};
use kemi_core::engine::Runtime;

/// A call of a built-in. Converted arguments are put back, so that no conversion runs twice.
pub(crate) struct BuiltinCall<'a> {
    runtime: &'a Runtime,
    this: JsValue,
    args: Vec<JsValue>,
    /// How many bytes it may take.
    room: u64,
}

/// Does the work of a built-in for plain short arguments; `None` leaves it to what comes next. It runs no code of the script.
pub(crate) type Shortcut = fn(&JsValue, &[JsValue]) -> Option<JsValue>;

/// Does the work of a built-in; `None` leaves it to that.
pub(crate) type Replacement = fn(&Runtime, &mut BuiltinCall<'_>, &mut Context) -> JsResult<Option<JsValue>>;

impl BuiltinCall<'_> {
    /// Converts the receiver to a string; `None` where the built-in refuses it.
    fn text(&mut self, context: &mut Context) -> JsResult<Option<JsString>> {
        if self.this.is_null_or_undefined() {
            return Ok(None);
        }
        let text = self.this.to_string(context)?;
        self.this = text.clone().into();
        Ok(Some(text))
    }

    fn arg(&self, index: usize) -> JsValue {
        self.args.get(index).cloned().unwrap_or_default()
    }

    fn set_arg(&mut self, index: usize, value: impl Into<JsValue>) {
        if let Some(arg) = self.args.get_mut(index) {
            *arg = value.into();
        }
    }
}

/// Replaces a built-in by a function of the same name and length, which captures it first of all.
fn replace<T: boa_gc::Trace + 'static>(
    holder: &JsObject,
    name: &str,
    original: T,
    call: impl Fn(&JsValue, &[JsValue], &T, &mut Context) -> JsResult<JsValue> + Copy + 'static,
    context: &mut Context,
) -> JsResult<()> {
    let length = match holder.get(js_string!(name), context)?.as_object() {
        Some(original) => original.get(js_string!("length"), context)?.to_u32(context)?,
        None => 0,
    };
    let function = NativeFunction::from_copy_closure_with_captures(call, original);
    let function = FunctionObjectBuilder::new(context.realm(), function)
        .name(js_string!(name))
        .length(usize::try_from(length).unwrap_or_default())
        .build();
    let property = PropertyDescriptor::builder().value(function).writable(true).enumerable(false).configurable(true);
    holder.define_property_or_throw(js_string!(name), property, context)?;
    Ok(())
}

/// Returns whether a value is an array, or a proxy of one.
fn is_array(value: &JsValue, context: &mut Context) -> JsResult<bool> {
    let Some(object) = value.as_object() else { return Ok(false) };
    if object.is_array() || object.is_ordinary() {
        return Ok(object.is_array());
    }
    let array = context.intrinsics().constructors().array().constructor();
    match array.get(js_string!("isArray"), context)?.as_callable() {
        Some(ask) => Ok(ask.call(&array.into(), std::slice::from_ref(value), context)?.to_boolean()),
        None => Ok(false),
    }
}

/// Returns the length of an array or what looks like one.
fn length(object: &JsObject, context: &mut Context) -> JsResult<u64> {
    object.get(js_string!("length"), context)?.to_length(context)
}
