//! `flat`, which Boa does by a recursion that looks at no limit, and that has no end where an array contains itself.

use boa_engine::object::JsObject;
use boa_engine::{Context, JsArgs, JsNativeError, JsResult, JsValue, js_string};
use kemi_core::engine::Runtime;

use super::{is_array, length, replace};
use crate::bind::InstanceRef;
use crate::terminate::terminated;

/// How deep arrays may stand in each other.
const DEPTH: usize = 10_000;

/// How many elements are looked at between two looks at the limits.
const ELEMENTS: u64 = 1 << 10;

/// Replaces the built-in; it captures `slice`, which knows what kind of array to make.
pub(crate) fn install(instance: InstanceRef, context: &mut Context) -> JsResult<()> {
    let prototype = context.intrinsics().constructors().array().prototype();
    let Some(slice) = prototype.get(js_string!("slice"), context)?.as_callable() else { return Ok(()) };
    let call = move |this: &JsValue, args: &[JsValue], slice: &JsObject, context: &mut Context| {
        // SAFETY: a function object of the instance's context runs this.
        let runtime = unsafe { instance.state() }.runtime();
        flat(runtime, this, args.get_or_undefined(0), slice, context)
    };
    replace(&prototype, "flat", slice, call, context)
}

/// An array whose elements are gone through.
struct Level {
    array: JsObject,
    next: u64,
    length: u64,
}

fn flat(
    runtime: &Runtime,
    this: &JsValue,
    depth: &JsValue,
    slice: &JsObject,
    context: &mut Context,
) -> JsResult<JsValue> {
    let source = this.to_object(context)?;
    let length = length(&source, context)?;
    let depth = if depth.is_undefined() { 1.0 } else { depth.to_number(context)? };
    let depth = if depth.is_nan() { 0.0 } else { depth.trunc() };
    let result = slice.call(&source.clone().into(), &[0.into(), 0.into()], context)?;
    let Some(target) = result.as_object() else { return Ok(result) };
    let mut levels = vec![Level { array: source, next: 0, length }];
    let (mut count, mut steps) = (0u64, 0u64);
    while let Some(level) = levels.last_mut() {
        steps += 1;
        if steps % ELEMENTS == 0 && runtime.pending_limit().is_some() {
            return Err(terminated());
        }
        if level.next >= level.length {
            levels.pop();
            continue;
        }
        let (array, index) = (level.array.clone(), level.next);
        level.next += 1;
        if !array.has_property(index, context)? {
            continue;
        }
        let element = array.get(index, context)?;
        if levels.len() as f64 <= depth
            && is_array(&element, context)?
            && let Some(array) = element.as_object()
        {
            if levels.len() >= DEPTH {
                let message = "flat: an array contains itself, or arrays stand in each other by thousands";
                return Err(JsNativeError::range().with_message(message).into());
            }
            let length = self::length(&array, context)?;
            levels.push(Level { array, next: 0, length });
        } else {
            target.create_data_property_or_throw(count, element, context)?;
            count += 1;
        }
    }
    Ok(result)
}
