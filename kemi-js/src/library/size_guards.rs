//! Estimates of the cost of built-ins: a call for which there is no room is ended before it begins.

use boa_engine::object::JsObject;
use boa_engine::{Context, JsNativeError, JsResult, JsString, JsSymbol, JsValue, js_string};
use kemi_core::engine::Runtime;
use kemi_core::limits::Limit;

use super::{BuiltinCall, Replacement, Shortcut, length, replace, search};
use crate::bind::InstanceRef;
use crate::terminate::terminated;

/// How many bytes an element of an array takes, with the room that a growing one has left over.
const ELEMENT: u64 = 32;

/// How many bytes a short string takes that is made for an element or a key.
const SHORT_STRING: u64 = 48;

/// How many bytes an array with a key and a value takes.
const ENTRY: u64 = 300;

/// How many bytes the system may well refuse.
const REFUSED: u64 = 1 << 32;

/// How many steps a built-in takes in a millisecond, at the most that can be hoped for.
const STEPS_PER_MS: u64 = 20_000;

/// The cost of a call.
#[derive(Clone, Copy, Default)]
pub(crate) struct Cost {
    bytes: u64,
    steps: u64,
}

impl From<u64> for Cost {
    fn from(bytes: u64) -> Cost {
        Cost { bytes, steps: 0 }
    }
}

/// Estimates the cost of a call from below: nothing where the built-in itself refuses it.
pub(crate) type Estimate = fn(&mut BuiltinCall<'_>, &mut Context) -> JsResult<Cost>;

/// Replaces a built-in by a function that estimates each call, then does its work or calls it.
pub(crate) fn install(
    instance: InstanceRef,
    holder: &JsObject,
    name: &str,
    estimate: Estimate,
    shortcut: Option<Shortcut>,
    replacement: Option<Replacement>,
    context: &mut Context,
) -> JsResult<()> {
    let Some(original) = holder.get(js_string!(name), context)?.as_callable() else { return Ok(()) };
    let call = move |this: &JsValue, args: &[JsValue], original: &JsObject, context: &mut Context| {
        if let Some(result) = shortcut.and_then(|shortcut| shortcut(this, args)) {
            return Ok(result);
        }
        // SAFETY: a function object of the instance's context runs this.
        let state = unsafe { instance.state() };
        state.collect_if_due();
        let room = state.runtime().memory_room().unwrap_or(u64::MAX);
        let mut call = BuiltinCall { runtime: state.runtime(), this: this.clone(), args: args.to_vec(), room };
        let cost = estimate(&mut call, context)?;
        if cost.bytes > REFUSED && room == u64::MAX {
            // The system refuses so much, which would end the process, also where no memory is limited.
            return Err(JsNativeError::range().with_message("the result would be too large").into());
        }
        if cost.bytes > room || cost.steps > available_steps(state.runtime()) {
            let limit = if cost.bytes > room { Limit::Memory } else { Limit::Time };
            state.runtime().hit_limit(limit, state.place_in(context));
            return Err(terminated());
        }
        if let Some(replacement) = replacement
            && let Some(result) = replacement(state.runtime(), &mut call, context)?
        {
            return Ok(result);
        }
        original.call(&call.this, &call.args, context)
    };
    replace(holder, name, original, call, context)
}

/// Returns how many steps there is time for, all in all.
fn available_steps(runtime: &Runtime) -> u64 {
    /// So many steps are done in no time.
    const LEAST: u64 = 1 << 20;
    let limits = runtime.registry().limits();
    match (limits.max_time_ms, limits.max_load_time_ms) {
        (0, _) | (_, 0) => u64::MAX,
        (call, load) => call.max(load).saturating_mul(STEPS_PER_MS).max(LEAST),
    }
}

fn bytes_of(text: &JsString) -> u64 {
    let unit = if text.as_str().is_latin1() { 1 } else { 2 };
    text.len() as u64 * unit
}

pub(crate) fn repeated(call: &mut BuiltinCall, context: &mut Context) -> JsResult<Cost> {
    let Some(text) = call.text(context)? else { return Ok(Cost::default()) };
    let count = call.arg(0).to_number(context)?;
    call.set_arg(0, count);
    // The built-in keeps a slice for each copy. Infinity and less than nothing are its own errors.
    let each = bytes_of(&text) + ELEMENT;
    Ok(if count.is_finite() && !text.is_empty() { (count.max(0.0) as u64).saturating_mul(each) } else { 0 }.into())
}

pub(crate) fn padded(call: &mut BuiltinCall, context: &mut Context) -> JsResult<Cost> {
    /// Units of two bytes on the way, then two copies of the result.
    const UNIT: u64 = 6;
    let Some(text) = call.text(context)? else { return Ok(Cost::default()) };
    let length = call.arg(0).to_length(context)?;
    call.set_arg(0, length as f64);
    let nothing = call.arg(1).as_string().is_some_and(|filler| filler.is_empty());
    Ok(if nothing { 0 } else { length.saturating_sub(text.len() as u64).saturating_mul(UNIT) }.into())
}

pub(crate) fn concatenated(call: &mut BuiltinCall, context: &mut Context) -> JsResult<Cost> {
    let Some(text) = call.text(context)? else { return Ok(Cost::default()) };
    let mut bytes = bytes_of(&text);
    for arg in &mut call.args {
        let text = arg.to_string(context)?;
        bytes = bytes.saturating_add(bytes_of(&text));
        *arg = text.into();
    }
    Ok(bytes.into())
}

pub(crate) fn replaced(call: &mut BuiltinCall, context: &mut Context) -> JsResult<Cost> {
    let with = call.arg(1);
    // A function is called for each match, where the script can be ended.
    if with.is_callable() {
        return Ok(Cost::default());
    }
    let Some(text) = call.text(context)? else { return Ok(Cost::default()) };
    let with = with.to_string(context)?;
    call.set_arg(1, with.clone());
    let text_bytes = bytes_of(&text);
    let signs = with.as_str().iter().filter(|&unit| unit == u16::from(b'$')).count() as u64;
    // `$&` and `$1` come to the text once each, however many matches there are; what is before or after a match may
    // be the whole text each time.
    let around = |sign: char| u64::from(with.as_str().index_of(js_string!(&*format!("${sign}")).as_str(), 0).is_some());
    let each = bytes_of(&with) + signs * (around('`') + around('\'')).min(1) * text_bytes;
    let result = |matches: u64| matches.saturating_mul(each).saturating_add(text_bytes * (signs + 1));
    // Matches are counted only where it matters.
    if result(text.len() as u64 + 1) <= call.room {
        return Ok(Cost::default());
    }
    Ok(result(matches(call, &text, call.room / each.max(1), context)?).into())
}

pub(crate) fn split(call: &mut BuiltinCall, context: &mut Context) -> JsResult<Cost> {
    let Some(text) = call.text(context)? else { return Ok(Cost::default()) };
    let each = ELEMENT + SHORT_STRING;
    if (text.len() as u64 + 1).saturating_mul(each) <= call.room {
        return Ok(Cost::default());
    }
    Ok(matches(call, &text, call.room / each, context)?.saturating_mul(each).into())
}

/// Counts how often the pattern of a call, its first argument, is found in a text, up to somewhat more than `most`.
fn matches(call: &BuiltinCall<'_>, text: &JsString, most: u64, context: &mut Context) -> JsResult<u64> {
    let pattern = call.arg(0);
    if let Some(regexp) = pattern.as_object() {
        if !regexp.get(js_string!("global"), context)?.to_boolean() {
            return Ok(1);
        }
        let Some(find) = regexp.get(JsSymbol::r#match(), context)?.as_callable() else { return Ok(1) };
        let found = find.call(&pattern, &[text.clone().into()], context)?;
        return found.as_object().map_or(Ok(0), |found| length(&found, context));
    }
    let pattern = pattern.to_string(context)?;
    if pattern.is_empty() {
        return Ok(text.len() as u64 + 1);
    }
    let go_on = &mut || call.runtime.pending_limit().is_none();
    let found = search::positions(text, &pattern, false, usize::try_from(most).unwrap_or(usize::MAX), go_on);
    found.map(|all| all.len() as u64).ok_or_else(terminated)
}

/// Returns how many elements there are by the length, and how many of them the object has itself.
pub(super) fn elements(of: &JsValue, context: &mut Context) -> JsResult<(u64, u64)> {
    let Some(object) = of.as_object() else { return Ok((0, 0)) };
    let length = length(&object, context)?;
    let own = object.borrow().properties().index_property_keys().len() as u64;
    Ok((length, own.min(length)))
}

/// Goes through all elements; the script has not paid for the holes.
pub(crate) fn walked(call: &mut BuiltinCall, context: &mut Context) -> JsResult<Cost> {
    let (length, own) = elements(&call.this, context)?;
    Ok(Cost { bytes: (length - own).saturating_mul(ELEMENT), steps: length })
}

/// Goes through all elements and makes nothing of the holes.
pub(crate) fn visited(call: &mut BuiltinCall, context: &mut Context) -> JsResult<Cost> {
    Ok(Cost { bytes: 0, steps: elements(&call.this, context)?.0 })
}

/// Goes through all elements and those of the first argument.
pub(crate) fn visited_both(call: &mut BuiltinCall, context: &mut Context) -> JsResult<Cost> {
    let steps = elements(&call.this, context)?.0.saturating_add(elements(&call.arg(0), context)?.0);
    Ok(Cost { bytes: 0, steps })
}

pub(crate) fn first_visited(call: &mut BuiltinCall, context: &mut Context) -> JsResult<Cost> {
    Ok(Cost { bytes: 0, steps: elements(&call.arg(0), context)?.0 })
}

pub(crate) fn second_listed(call: &mut BuiltinCall, context: &mut Context) -> JsResult<Cost> {
    listed(&call.arg(1), context)
}

pub(crate) fn third_listed(call: &mut BuiltinCall, context: &mut Context) -> JsResult<Cost> {
    listed(&call.arg(2), context)
}

/// Makes a list of arguments.
fn listed(of: &JsValue, context: &mut Context) -> JsResult<Cost> {
    let length = elements(of, context)?.0;
    Ok(Cost { bytes: length.saturating_mul(ELEMENT), steps: length })
}

pub(crate) fn raw(call: &mut BuiltinCall, context: &mut Context) -> JsResult<Cost> {
    let Some(template) = call.arg(0).as_object() else { return Ok(Cost::default()) };
    let raw = template.get(js_string!("raw"), context)?;
    Ok(Cost { bytes: 0, steps: elements(&raw, context)?.0 })
}

/// Writes a number of many digits: the time grows with the square of their count.
pub(crate) fn digits(call: &mut BuiltinCall, _: &mut Context) -> JsResult<Cost> {
    /// How many bits one step does.
    const BITS: u64 = 1 << 11;
    let bits = call.this.as_bigint().map_or(0, |number| number.as_inner().bits()) / BITS;
    Ok(Cost { bytes: 0, steps: bits.saturating_mul(bits) })
}

/// Costs nothing to speak of, or is measured where it is done.
pub(crate) fn free(_: &mut BuiltinCall, _: &mut Context) -> JsResult<Cost> {
    Ok(Cost::default())
}

/// Makes a new array of all elements.
pub(crate) fn copied(call: &mut BuiltinCall, context: &mut Context) -> JsResult<Cost> {
    let mut length = elements(&call.this, context)?.0;
    for arg in call.args.iter().filter(|arg| arg.is_object()) {
        length = length.saturating_add(elements(arg, context)?.0);
    }
    Ok(Cost { bytes: length.saturating_mul(ELEMENT), steps: length })
}

pub(crate) fn from_length(call: &mut BuiltinCall, context: &mut Context) -> JsResult<Cost> {
    let Some(object) = call.arg(0).as_object() else { return Ok(Cost::default()) };
    // What an iterator gives is asked for one after the other, where the script can be ended.
    if !object.get(JsSymbol::iterator(), context)?.is_null_or_undefined() {
        return Ok(Cost::default());
    }
    let length = length(&object, context)?;
    Ok(Cost { bytes: length.saturating_mul(ELEMENT), steps: length })
}

pub(crate) fn joined(call: &mut BuiltinCall, context: &mut Context) -> JsResult<Cost> {
    let Some(object) = call.this.as_object() else { return Ok(Cost::default()) };
    let length = length(&object, context)?;
    let separator = call.arg(0);
    let separator = if separator.is_undefined() { js_string!(",") } else { separator.to_string(context)? };
    if !call.args.is_empty() {
        call.set_arg(0, separator.clone());
    }
    let mut bytes = length.saturating_mul(ELEMENT.saturating_add(bytes_of(&separator)));
    for value in object.borrow().properties().index_property_values() {
        let text = value.value().and_then(JsValue::as_string);
        bytes = bytes.saturating_add(text.map_or(0, |text| bytes_of(&text)));
    }
    Ok(Cost { bytes, steps: length })
}

pub(crate) fn keys(call: &mut BuiltinCall, _: &mut Context) -> JsResult<Cost> {
    Ok(own_length(&call.arg(0)).saturating_mul(ELEMENT + SHORT_STRING).into())
}

pub(crate) fn entries(call: &mut BuiltinCall, _: &mut Context) -> JsResult<Cost> {
    Ok(own_length(&call.arg(0)).saturating_mul(ENTRY).into())
}

/// Returns how many keys a string or an array has.
fn own_length(of: &JsValue) -> u64 {
    match of.as_string() {
        Some(text) => text.len() as u64,
        None => of.as_object().map_or(0, |object| object.borrow().properties().index_property_keys().len() as u64),
    }
}
