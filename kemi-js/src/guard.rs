//! Built-ins that make something large in one step: each is asked before how much that will be.
//!
//! Nothing can stop a built-in while it works, and what the system's allocator refuses ends the process. So where a
//! few bytes of a script can ask for any amount, a function of the same name and length estimates the result from the
//! arguments, and ends the call by the memory limit if there is no room for it; else it calls the built-in.

use boa_engine::object::{FunctionObjectBuilder, JsObject};
use boa_engine::property::PropertyDescriptor;
use boa_engine::string::JsStrVariant;
use boa_engine::{Context, JsResult, JsString, JsSymbol, JsValue, NativeFunction, js_string};
use kemi_core::Limit;

use crate::core::Core;
use crate::trampoline::ending;

/// How many bytes an element of an array takes, with the room that a growing one has left over.
const ELEMENT: u64 = 32;

/// How many bytes a short string takes that is made for an element or a key.
const SHORT_STRING: u64 = 48;

/// How many bytes an array with a key and a value takes.
const ENTRY: u64 = 300;

/// What a built-in is called with. What an estimate converts is put back, so that no conversion runs twice.
struct Call {
    this: JsValue,
    args: Vec<JsValue>,
    /// How many bytes it may take.
    room: u64,
}

/// Tells how many bytes a call will take, or 0 where the built-in itself refuses it.
type Estimate = fn(&mut Call, &mut Context) -> JsResult<u64>;

/// Where the built-ins are, their names, and what they take.
const GUARDS: &[(&str, &[&str], Estimate)] = &[
    ("String.prototype", &["repeat"], repeated),
    ("String.prototype", &["padStart", "padEnd"], padded),
    ("String.prototype", &["concat"], concatenated),
    ("String.prototype", &["replace", "replaceAll"], replaced),
    ("String.prototype", &["split"], split),
    ("Array", &["from"], from_length),
    ("Array.prototype", &["join", "toLocaleString"], joined),
    ("Uint8Array.__proto__.prototype", &["join", "toLocaleString"], joined),
    ("Array.prototype", &["concat", "slice", "splice", "toReversed", "toSorted", "toSpliced", "with"], copied),
    ("Array.prototype", &["fill", "includes", "indexOf", "lastIndexOf", "reverse", "shift", "unshift"], walked),
    ("Array.prototype", &["copyWithin", "flat"], walked),
    ("Object", &["keys", "values", "getOwnPropertyNames"], keys),
    ("Object", &["entries", "getOwnPropertyDescriptors"], entries),
    ("Reflect", &["ownKeys"], keys),
];

/// Puts a guard in front of each built-in.
pub(crate) fn install(core: *const Core, context: &mut Context) -> JsResult<()> {
    for (path, names, estimate) in GUARDS {
        let mut holder = context.global_object();
        for name in path.split('.') {
            let next = match name {
                "__proto__" => holder.prototype(),
                _ => holder.get(js_string!(name), context)?.as_object(),
            };
            let Some(next) = next else { continue };
            holder = next;
        }
        for name in *names {
            put(core, &holder, name, *estimate, context)?;
        }
    }
    put_replacer(context)
}

fn put(core: *const Core, holder: &JsObject, name: &str, estimate: Estimate, context: &mut Context) -> JsResult<()> {
    let Some(original) = holder.get(js_string!(name), context)?.as_callable() else { return Ok(()) };
    let call = move |this: &JsValue, args: &[JsValue], original: &JsObject, context: &mut Context| {
        // SAFETY: function objects of this context run only while the core that owns it is alive.
        let core = unsafe { &*core };
        core.collect_if_due();
        let room = core.runtime().memory_room().unwrap_or(u64::MAX);
        let mut call = Call { this: this.clone(), args: args.to_vec(), room };
        if estimate(&mut call, context)? > room {
            core.runtime().exhaust(Limit::Memory, core.place_in(context));
            return Err(ending());
        }
        original.call(&call.this, &call.args, context)
    };
    replace(holder, name, original, call, context)
}

/// Makes `JSON.stringify` call a function for each value, where a script's own call would have none: it is then ended as
/// any loop is, however often a structure contains the same objects.
fn put_replacer(context: &mut Context) -> JsResult<()> {
    let Some(json) = context.global_object().get(js_string!("JSON"), context)?.as_object() else { return Ok(()) };
    let Some(original) = json.get(js_string!("stringify"), context)?.as_callable() else { return Ok(()) };
    let same = NativeFunction::from_fn_ptr(|_, args, _| Ok(args.get(1).cloned().unwrap_or_default()));
    let same = JsObject::from(same.to_js_function(context.realm()));
    let call = |this: &JsValue, args: &[JsValue], (original, same): &(JsObject, JsObject), context: &mut Context| {
        let mut args = args.to_vec();
        args.resize(args.len().max(2), JsValue::undefined());
        if let Some(replacer) = args.get_mut(1).filter(|replacer| !replacer.is_object()) {
            *replacer = same.clone().into();
        }
        original.call(this, &args, context)
    };
    replace(&json, "stringify", (original, same), call, context)
}

/// Replaces a built-in by a function of the same name and length, which captures it first of all.
fn replace<T: Originals + boa_gc::Trace + 'static>(
    holder: &JsObject,
    name: &str,
    captures: T,
    call: impl Fn(&JsValue, &[JsValue], &T, &mut Context) -> JsResult<JsValue> + Copy + 'static,
    context: &mut Context,
) -> JsResult<()> {
    let length = captures.original().get(js_string!("length"), context)?.to_u32(context)?;
    let function = NativeFunction::from_copy_closure_with_captures(call, captures);
    let function = FunctionObjectBuilder::new(context.realm(), function)
        .name(js_string!(name))
        .length(usize::try_from(length).unwrap_or_default())
        .build();
    let property = PropertyDescriptor::builder().value(function).writable(true).enumerable(false).configurable(true);
    holder.define_property_or_throw(js_string!(name), property, context)?;
    Ok(())
}

/// What a replaced function captures.
trait Originals {
    fn original(&self) -> &JsObject;
}

impl Originals for JsObject {
    fn original(&self) -> &JsObject {
        self
    }
}

impl Originals for (JsObject, JsObject) {
    fn original(&self) -> &JsObject {
        &self.0
    }
}

impl Call {
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

fn bytes_of(text: &JsString) -> u64 {
    let unit = if text.as_str().is_latin1() { 1 } else { 2 };
    text.len() as u64 * unit
}

fn repeated(call: &mut Call, context: &mut Context) -> JsResult<u64> {
    let Some(text) = call.text(context)? else { return Ok(0) };
    let count = call.arg(0).to_number(context)?;
    call.set_arg(0, count);
    // The built-in keeps a slice for each copy. Infinity and less than nothing are its own errors.
    let each = bytes_of(&text) + ELEMENT;
    Ok(if count.is_finite() && !text.is_empty() { (count.max(0.0) as u64).saturating_mul(each) } else { 0 })
}

fn padded(call: &mut Call, context: &mut Context) -> JsResult<u64> {
    /// Units of two bytes on the way, then two copies of the result.
    const UNIT: u64 = 6;
    let Some(text) = call.text(context)? else { return Ok(0) };
    let length = call.arg(0).to_length(context)?;
    call.set_arg(0, length as f64);
    let nothing = call.arg(1).as_string().is_some_and(|filler| filler.is_empty());
    Ok(if nothing { 0 } else { length.saturating_sub(text.len() as u64).saturating_mul(UNIT) })
}

fn concatenated(call: &mut Call, context: &mut Context) -> JsResult<u64> {
    let Some(text) = call.text(context)? else { return Ok(0) };
    let mut bytes = bytes_of(&text);
    for arg in &mut call.args {
        let text = arg.to_string(context)?;
        bytes = bytes.saturating_add(bytes_of(&text));
        *arg = text.into();
    }
    Ok(bytes)
}

fn replaced(call: &mut Call, context: &mut Context) -> JsResult<u64> {
    let with = call.arg(1);
    // A function is called for each match, where the script can be ended.
    if with.is_callable() {
        return Ok(0);
    }
    let Some(text) = call.text(context)? else { return Ok(0) };
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
        return Ok(0);
    }
    Ok(result(matches(&text, &call.arg(0), call.room / each.max(1), context)?))
}

fn split(call: &mut Call, context: &mut Context) -> JsResult<u64> {
    let Some(text) = call.text(context)? else { return Ok(0) };
    let each = ELEMENT + SHORT_STRING;
    if (text.len() as u64 + 1).saturating_mul(each) <= call.room {
        return Ok(0);
    }
    Ok(matches(&text, &call.arg(0), call.room / each, context)?.saturating_mul(each))
}

/// Counts how often a pattern is found in a text, up to somewhat more than `most`.
fn matches(text: &JsString, pattern: &JsValue, most: u64, context: &mut Context) -> JsResult<u64> {
    if let Some(regexp) = pattern.as_object() {
        if !regexp.get(js_string!("global"), context)?.to_boolean() {
            return Ok(1);
        }
        let Some(find) = regexp.get(JsSymbol::r#match(), context)?.as_callable() else { return Ok(1) };
        let found = find.call(pattern, &[text.clone().into()], context)?;
        return found.as_object().map_or(Ok(0), |found| length(&found, context));
    }
    let pattern = pattern.to_string(context)?;
    if pattern.is_empty() {
        return Ok(text.len() as u64 + 1);
    }
    Ok(match (text.as_str().variant(), pattern.as_str().variant()) {
        (JsStrVariant::Latin1(text), JsStrVariant::Latin1(pattern)) => occurrences(text, pattern, most),
        (JsStrVariant::Utf16(text), _) => occurrences(text, &pattern.to_vec(), most),
        // It may be narrower than it is kept.
        (JsStrVariant::Latin1(text), JsStrVariant::Utf16(pattern)) => {
            let narrow: Result<Vec<u8>, _> = pattern.iter().map(|&unit| u8::try_from(unit)).collect();
            narrow.map_or(0, |pattern| occurrences(text, &pattern, most))
        }
    })
}

fn occurrences<T: PartialEq>(mut text: &[T], pattern: &[T], most: u64) -> u64 {
    let mut count = 0;
    while count <= most
        && let Some(at) = text.windows(pattern.len()).position(|window| window == pattern)
    {
        count += 1;
        text = text.get(at + pattern.len()..).unwrap_or_default();
    }
    count
}

fn length(object: &JsObject, context: &mut Context) -> JsResult<u64> {
    object.get(js_string!("length"), context)?.to_length(context)
}

/// Returns how many elements there are by the length, and how many of them the object has itself.
fn elements(of: &JsValue, context: &mut Context) -> JsResult<(u64, u64)> {
    let Some(object) = of.as_object() else { return Ok((0, 0)) };
    let length = length(&object, context)?;
    let own = object.borrow().properties().index_property_keys().len() as u64;
    Ok((length, own.min(length)))
}

/// What goes through all elements: the holes are none that the script has paid for.
fn walked(call: &mut Call, context: &mut Context) -> JsResult<u64> {
    let (length, own) = elements(&call.this, context)?;
    Ok((length - own).saturating_mul(ELEMENT))
}

/// What makes a new array of all elements.
fn copied(call: &mut Call, context: &mut Context) -> JsResult<u64> {
    let mut length = elements(&call.this, context)?.0;
    for arg in call.args.iter().filter(|arg| arg.is_object()) {
        length = length.saturating_add(elements(arg, context)?.0);
    }
    Ok(length.saturating_mul(ELEMENT))
}

fn from_length(call: &mut Call, context: &mut Context) -> JsResult<u64> {
    let Some(object) = call.arg(0).as_object() else { return Ok(0) };
    // What an iterator gives is asked for one after the other, where the script can be ended.
    if !object.get(JsSymbol::iterator(), context)?.is_null_or_undefined() {
        return Ok(0);
    }
    Ok(length(&object, context)?.saturating_mul(ELEMENT))
}

fn joined(call: &mut Call, context: &mut Context) -> JsResult<u64> {
    let Some(object) = call.this.as_object() else { return Ok(0) };
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
    Ok(bytes)
}

fn keys(call: &mut Call, context: &mut Context) -> JsResult<u64> {
    Ok(own_length(&call.arg(0), context)?.saturating_mul(ELEMENT + SHORT_STRING))
}

fn entries(call: &mut Call, context: &mut Context) -> JsResult<u64> {
    Ok(own_length(&call.arg(0), context)?.saturating_mul(ENTRY))
}

/// Returns how many keys a string or an array has.
fn own_length(of: &JsValue, context: &mut Context) -> JsResult<u64> {
    match of.as_string() {
        Some(text) => Ok(text.len() as u64),
        None if of.is_object() => Ok(elements(of, context)?.1),
        None => Ok(0),
    }
}
