//! `RegExp.prototype.exec`, on which all that matches patterns is built, in a form that ends with its call.
//!
//! Boa's matcher tries one way after the other and looks at no limit. Where the form of the pattern and the length of the
//! text say that this is soon over, it is asked as before; else [`matcher`] goes the same ways, but can be stopped.

mod cost;
mod matcher;
mod pattern;
mod set;

use boa_engine::builtins::regexp::RegExp;
use boa_engine::object::JsObject;
use boa_engine::object::builtins::{JsArray, JsWeakMap};
use boa_engine::{Context, JsArgs, JsData, JsError, JsNativeError, JsResult, JsString, JsValue, js_string};
use boa_gc::{Finalize, Trace};
use kemi_core::limits::Limit;

use self::matcher::{Program, Stopped};
use self::pattern::{Flags, Pattern};
use super::replace;
use crate::bind::InstanceRef;
use crate::interpreter::State;
use crate::terminate::terminated;

/// How many steps Boa's matcher may take: some tens of milliseconds.
const CHEAP: f64 = (1 << 24) as f64;

/// A regular expression as the matcher needs it.
#[derive(Trace, Finalize, JsData)]
struct Prepared {
    #[unsafe_ignore_trace]
    pattern: Option<Pattern>,
    /// Made when it is needed first.
    #[unsafe_ignore_trace]
    program: std::cell::OnceCell<Option<Program>>,
    #[unsafe_ignore_trace]
    global: bool,
    #[unsafe_ignore_trace]
    sticky: bool,
    #[unsafe_ignore_trace]
    indices: bool,
}

/// The built-ins that the new functions call, and the list of prepared expressions.
#[derive(Clone, Trace, Finalize)]
struct Originals {
    exec: JsObject,
    compile: JsObject,
    source: JsObject,
    flags: Vec<JsObject>,
    prepared: JsObject,
}

/// The getters of the flags, in the order of [`Originals::flags`].
const FLAGS: [&str; 8] =
    ["hasIndices", "global", "ignoreCase", "multiline", "dotAll", "unicode", "unicodeSets", "sticky"];

/// Replaces `exec`, and `compile`, which may change a prepared expression.
pub(crate) fn install(instance: InstanceRef, context: &mut Context) -> JsResult<()> {
    let prototype = context.intrinsics().constructors().regexp().prototype();
    let getter = |name: &str| {
        let object = prototype.borrow();
        let slot = object.properties().get(&js_string!(name).into());
        slot.and_then(|slot| slot.get().and_then(JsValue::as_object)).ok_or_else(missing)
    };
    let (source, flags) = (getter("source")?, FLAGS.iter().map(|name| getter(name)).collect::<JsResult<Vec<_>>>()?);
    let method =
        |name: &str, context: &mut Context| prototype.get(js_string!(name), context)?.as_object().ok_or_else(missing);
    let (exec_, compile_) = (method("exec", context)?, method("compile", context)?);
    let prepared = JsWeakMap::new(context).into();
    let originals = Originals { exec: exec_, compile: compile_, source, flags, prepared };
    let run = move |this: &JsValue, args: &[JsValue], originals: &Originals, context: &mut Context| {
        // SAFETY: a function object of the instance's context runs this.
        exec(unsafe { instance.state() }, this, args, originals, context)
    };
    replace(&prototype, "exec", originals.clone(), run, context)?;
    let again = |this: &JsValue, args: &[JsValue], originals: &Originals, context: &mut Context| {
        let result = originals.compile.call(this, args, context);
        if let Some(object) = this.as_object() {
            JsWeakMap::from_object(originals.prepared.clone()).map_err(|_| missing())?.delete(&object, context)?;
        }
        result
    };
    replace(&prototype, "compile", originals, again, context)
}

#[cold]
fn missing() -> JsError {
    JsNativeError::error().with_message("a built-in of regular expressions is missing").into()
}

fn exec(
    state: &State,
    this: &JsValue,
    args: &[JsValue],
    originals: &Originals,
    context: &mut Context,
) -> JsResult<JsValue> {
    // Built-ins that call this once for each match look at no limit themselves.
    if state.runtime().pending_limit().is_some() {
        return Err(terminated());
    }
    let Some(object) = this.as_object().filter(|object| object.is::<RegExp>()) else {
        return originals.exec.call(this, args, context);
    };
    let text = args.get_or_undefined(0).to_string(context)?;
    let prepared = prepared(&object, originals, context)?;
    let prepared = prepared.downcast_ref::<Prepared>().ok_or_else(missing)?;
    let cheap =
        prepared.pattern.as_ref().is_none_or(|pattern| cost::steps(pattern, text.len(), prepared.sticky) <= CHEAP);
    if !cheap
        && let Some(pattern) = &prepared.pattern
        && let Some(program) = prepared.program.get_or_init(|| Program::new(pattern))
    {
        return search(state, &object, &text, &prepared, pattern, program, context);
    }
    originals.exec.call(this, &[text.into()], context)
}

/// Finds or makes the prepared form of a regular expression.
fn prepared(object: &JsObject, originals: &Originals, context: &mut Context) -> JsResult<JsObject> {
    let all = JsWeakMap::from_object(originals.prepared.clone()).map_err(|_| missing())?;
    if let Some(known) = all.get(object, context)?.as_object() {
        return Ok(known);
    }
    let this = JsValue::from(object.clone());
    let source = originals.source.call(&this, &[], context)?.to_string(context)?;
    let mut set = [false; FLAGS.len()];
    for (flag, getter) in set.iter_mut().zip(&originals.flags) {
        *flag = getter.call(&this, &[], context)?.to_boolean();
    }
    let [indices, global, icase, multiline, dot_all, unicode, unicode_sets, sticky] = set;
    let flags = Flags { icase, multiline, dot_all, unicode, unicode_sets };
    let units: Vec<u32> = match flags.by_points() {
        true => source.code_points().map(|point| point.as_u32()).collect(),
        false => source.iter().map(u32::from).collect(),
    };
    let pattern = Pattern::read(&units, flags);
    let made = Prepared { pattern, program: std::cell::OnceCell::new(), global, sticky, indices };
    let made = JsObject::from_proto_and_data(None, made).upcast();
    all.set(object, made.clone().into(), context)?;
    Ok(made)
}

/// As the language prescribes, with a matcher that can be stopped.
fn search(
    state: &State,
    object: &JsObject,
    text: &JsString,
    prepared: &Prepared,
    pattern: &Pattern,
    program: &Program,
    context: &mut Context,
) -> JsResult<JsValue> {
    let (last, zero) = (js_string!("lastIndex"), JsValue::from(0));
    let moves = prepared.global || prepared.sticky;
    let mut from = object.get(last.clone(), context)?.to_length(context)?;
    if !moves {
        from = 0;
    }
    let from = usize::try_from(from).unwrap_or(usize::MAX);
    let units = if from <= text.len() { text.to_vec() } else { Vec::new() };
    let found = if from > text.len() {
        None
    } else {
        let found = program.find(&units, from, prepared.sticky, &mut || state.runtime().pending_limit().is_none());
        found.map_err(|stopped| {
            if stopped == Stopped::Memory {
                state.runtime().hit_limit(Limit::Memory, state.place_in(context));
            }
            terminated()
        })?
    };
    let Some(found) = found else {
        if moves {
            object.set(last, zero, true, context)?;
        }
        return Ok(JsValue::null());
    };
    let whole = found.first().cloned().flatten().unwrap_or_default();
    if moves {
        object.set(last, whole.end, true, context)?;
    }
    let pair = |range: &std::ops::Range<usize>, context: &mut Context| {
        JsValue::from(JsArray::from_iter([range.start.into(), range.end.into()], context))
    };
    let part = |range: &std::ops::Range<usize>| JsValue::from(text.get_expect(range.clone()));
    let result = JsObject::from(JsArray::new(context)?);
    result.create_data_property_or_throw(js_string!("index"), whole.start, context)?;
    result.create_data_property_or_throw(js_string!("input"), text.clone(), context)?;
    result.create_data_property_or_throw(0, part(&whole), context)?;
    let indices = JsObject::from(JsArray::new(context)?);
    let first = pair(&whole, context);
    indices.create_data_property_or_throw(0, first, context)?;
    let (mut groups, mut places) = (JsValue::undefined(), JsValue::undefined());
    if !pattern.names.is_empty() {
        let (values, ranges) = (JsObject::with_null_proto(), JsObject::with_null_proto());
        for (name, number) in &pattern.names {
            let units: Vec<u16> = name
                .iter()
                .flat_map(|&c| match (u16::try_from(c), char::from_u32(c)) {
                    (Ok(unit), _) => vec![unit],
                    (_, Some(char)) => char.encode_utf16(&mut [0; 2]).to_vec(),
                    _ => Vec::new(),
                })
                .collect();
            let name = JsString::from(units.as_slice());
            let range = found.get(*number).cloned().flatten();
            let known = values.has_own_property(name.clone(), context)?;
            let (value, place) = match &range {
                Some(range) => (part(range), pair(range, context)),
                None if known => continue,
                None => (JsValue::undefined(), JsValue::undefined()),
            };
            values.create_data_property_or_throw(name.clone(), value, context)?;
            ranges.create_data_property_or_throw(name, place, context)?;
        }
        (groups, places) = (values.into(), ranges.into());
    }
    indices.create_data_property_or_throw(js_string!("groups"), places, context)?;
    result.create_data_property_or_throw(js_string!("groups"), groups, context)?;
    for (i, range) in found.iter().enumerate().skip(1) {
        result.create_data_property_or_throw(i, range.as_ref().map_or(JsValue::undefined(), part), context)?;
        if prepared.indices {
            let place = range.as_ref().map_or(JsValue::undefined(), |range| pair(range, context));
            indices.create_data_property_or_throw(i, place, context)?;
        }
    }
    if prepared.indices {
        result.create_data_property_or_throw(js_string!("indices"), indices, context)?;
    }
    Ok(result.into())
}

#[cfg(test)]
mod tests;
