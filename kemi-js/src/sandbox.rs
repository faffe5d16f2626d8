//! Built-ins that make something large in one step, or take long for one: each is asked before how much that will be.
//!
//! Nothing can stop a built-in while it works, and what the system's allocator refuses ends the process. So where a
//! few bytes of a script can ask for any amount, a function of the same name and length estimates the result and the
//! steps from the arguments, and ends the call by the limit that there is no room for; else it calls the built-in, or
//! something that does the same in a better way.

use boa_engine::object::{FunctionObjectBuilder, JsObject};
use boa_engine::property::PropertyDescriptor;
use boa_engine::{Context, JsArgs, JsNativeError, JsResult, JsString, JsSymbol, JsValue, NativeFunction, js_string};
use kemi_core::Limit;

use crate::interpreter::Core;
use crate::library::{flat, json, search};
use crate::trampoline::ending;

/// How many bytes an element of an array takes, with the room that a growing one has left over.
const ELEMENT: u64 = 32;

/// How many bytes a short string takes that is made for an element or a key.
const SHORT_STRING: u64 = 48;

/// How many bytes an array with a key and a value takes.
const ENTRY: u64 = 300;

/// How many bytes the system may well refuse.
const MOST: u64 = 1 << 32;

/// How many steps a built-in takes in a millisecond, at the most that can be hoped for.
const STEPS_PER_MS: u64 = 20_000;

/// From how many elements on `sort` compares by a function that can be ended.
const MANY: u64 = 1 << 12;

/// What a built-in is called with. What an estimate converts is put back, so that no conversion runs twice.
pub(crate) struct Call {
    pub(crate) this: JsValue,
    pub(crate) args: Vec<JsValue>,
    /// How many bytes it may take.
    room: u64,
}

/// What a call will take.
#[derive(Clone, Copy, Default)]
struct Cost {
    bytes: u64,
    steps: u64,
}

impl From<u64> for Cost {
    fn from(bytes: u64) -> Cost {
        Cost { bytes, steps: 0 }
    }
}

/// Tells what a call will take at least, or nothing where the built-in itself refuses it.
type Estimate = fn(&mut Call, &mut Context) -> JsResult<Cost>;

/// Does what the built-in does; `None` leaves it to that.
type Instead = fn(&Core, &mut Call, &mut Context) -> JsResult<Option<JsValue>>;

/// Where the built-ins are, and their names, dots between names; `@@` stands for nothing but what is reached by it.
type Names = (&'static str, &'static [&'static str]);

const TYPED: &str = "Uint8Array.__proto__.prototype";

/// What is estimated.
const GUARDS: &[(Names, Estimate)] = &[
    (("String.prototype", &["repeat"]), repeated),
    (("String.prototype", &["padStart", "padEnd"]), padded),
    (("String.prototype", &["concat"]), concatenated),
    (("Array", &["from"]), from_length),
    (("Array.prototype", &["join", "toLocaleString"]), joined),
    ((TYPED, &["join", "toLocaleString"]), joined),
    (("Array.prototype", &["concat", "slice", "splice", "toReversed", "toSpliced", "with"]), copied),
    (
        (
            "Array.prototype",
            &["fill", "includes", "indexOf", "lastIndexOf", "reverse", "shift", "unshift", "copyWithin"],
        ),
        walked,
    ),
    (("Array.prototype", &["every", "filter", "find", "findIndex", "findLast", "findLastIndex"]), visited),
    (("Array.prototype", &["flatMap", "forEach", "map", "reduce", "reduceRight", "some"]), visited),
    ((TYPED, &["copyWithin", "every", "fill", "filter", "find", "findIndex", "findLast", "findLastIndex"]), visited),
    ((TYPED, &["forEach", "includes", "indexOf", "lastIndexOf", "map", "reduce", "reduceRight", "reverse"]), visited),
    ((TYPED, &["set", "slice", "some", "toReversed", "with"]), visited_both),
    (("Uint8Array.__proto__", &["from"]), first_visited),
    (("String", &["raw"]), raw),
    (("Function.prototype", &["apply"]), second_listed),
    (("Reflect", &["construct"]), second_listed),
    (("Reflect", &["apply"]), third_listed),
    (("Object", &["keys", "values", "getOwnPropertyNames"]), keys),
    (("Object", &["entries", "getOwnPropertyDescriptors"]), entries),
    (("Reflect", &["ownKeys"]), keys),
    (("BigInt.prototype", &["toString", "toLocaleString"]), digits),
];

/// What is estimated, and done here where the built-in would take long.
const REPLACED: &[(Names, Estimate, Instead)] = &[
    (("Array.prototype", &["sort", "toSorted"]), copied, sort),
    ((TYPED, &["sort", "toSorted"]), visited, sort),
    (("String.prototype", &["replaceAll"]), replaced, search::replace_all),
    (("String.prototype", &["replace"]), replaced, search::replace),
    (("String.prototype", &["split"]), split, search::split),
    (("String.prototype", &["includes"]), free, search::includes),
    (("String.prototype", &["indexOf"]), free, search::index_of),
    (("String.prototype", &["lastIndexOf"]), free, search::last_index_of),
    (("JSON", &["parse"]), free, json::parse),
    (("JSON", &["stringify"]), free, json::stringify),
];

/// Puts a guard in front of each built-in.
pub(crate) fn install(core: *const Core, context: &mut Context) -> JsResult<()> {
    for ((path, names), estimate) in GUARDS {
        let Some(holder) = holder(path, context)? else { continue };
        for name in *names {
            put(core, &holder, name, *estimate, None, context)?;
        }
    }
    for ((path, names), estimate, instead) in REPLACED {
        let Some(holder) = holder(path, context)? else { continue };
        for name in *names {
            put(core, &holder, name, *estimate, Some(*instead), context)?;
        }
    }
    flat::install(core, context)
}

/// Finds what a path names.
fn holder(path: &str, context: &mut Context) -> JsResult<Option<JsObject>> {
    let mut holder = context.global_object();
    for name in path.split('.') {
        let next = match name {
            "__proto__" => holder.prototype(),
            _ => holder.get(js_string!(name), context)?.as_object(),
        };
        let Some(next) = next else { return Ok(None) };
        holder = next;
    }
    Ok(Some(holder))
}

fn put(
    core: *const Core,
    holder: &JsObject,
    name: &str,
    estimate: Estimate,
    instead: Option<Instead>,
    context: &mut Context,
) -> JsResult<()> {
    let Some(original) = holder.get(js_string!(name), context)?.as_callable() else { return Ok(()) };
    let call = move |this: &JsValue, args: &[JsValue], original: &JsObject, context: &mut Context| {
        // SAFETY: function objects of this context run only while the core that owns it is alive.
        let core = unsafe { &*core };
        core.collect_if_due();
        let room = core.runtime().memory_room().unwrap_or(u64::MAX);
        let mut call = Call { this: this.clone(), args: args.to_vec(), room };
        let cost = estimate(&mut call, context)?;
        if cost.bytes > MOST && room == u64::MAX {
            // The system refuses so much, which would end the process, also where no memory is limited.
            return Err(JsNativeError::range().with_message("the result would be too large").into());
        }
        if cost.bytes > room || cost.steps > steps(core) {
            let limit = if cost.bytes > room { Limit::Memory } else { Limit::Time };
            core.runtime().exhaust(limit, core.place_in(context));
            return Err(ending());
        }
        if let Some(instead) = instead
            && let Some(result) = instead(core, &mut call, context)?
        {
            return Ok(result);
        }
        original.call(&call.this, &call.args, context)
    };
    replace(holder, name, original, call, context)
}

/// Returns how many steps there is time for, all in all.
fn steps(core: &Core) -> u64 {
    /// This is done in no time.
    const FEW: u64 = 1 << 20;
    let limits = core.runtime().registry().limits();
    match (limits.max_time_ms, limits.max_load_time_ms) {
        (0, _) | (_, 0) => u64::MAX,
        (call, load) => call.max(load).saturating_mul(STEPS_PER_MS).max(FEW),
    }
}

/// Replaces a built-in by a function of the same name and length, which captures it first of all.
pub(crate) fn replace<T: boa_gc::Trace + 'static>(
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

/// Tells whether a value is an array, or a proxy of one.
pub(crate) fn is_array(value: &JsValue, context: &mut Context) -> JsResult<bool> {
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

/// Makes `sort` of many elements without a function call one for each comparison, where the script can be ended.
fn sort(core: &Core, call: &mut Call, context: &mut Context) -> JsResult<Option<JsValue>> {
    let many = elements(&call.this, context)?.0 > MANY;
    let typed =
        call.this.as_object().is_some_and(|object| object.is::<boa_engine::builtins::typed_array::TypedArray>());
    if many && !typed && call.args.get_or_undefined(0).is_undefined() {
        let core: *const Core = core;
        let compare = NativeFunction::from_copy_closure(move |_, args, context| {
            // SAFETY: function objects of this context run only while the core that owns it is alive.
            if unsafe { &*core }.runtime().over().is_some() {
                return Err(ending());
            }
            let a = args.get_or_undefined(0).to_string(context)?;
            let b = args.get_or_undefined(1).to_string(context)?;
            Ok(JsValue::new(a.cmp(&b) as i32))
        });
        call.args = vec![compare.to_js_function(context.realm()).into()];
    }
    Ok(None)
}

impl Call {
    /// Converts the receiver to a string; `None` where the built-in refuses it.
    pub(crate) fn text(&mut self, context: &mut Context) -> JsResult<Option<JsString>> {
        if self.this.is_null_or_undefined() {
            return Ok(None);
        }
        let text = self.this.to_string(context)?;
        self.this = text.clone().into();
        Ok(Some(text))
    }

    pub(crate) fn arg(&self, index: usize) -> JsValue {
        self.args.get(index).cloned().unwrap_or_default()
    }

    pub(crate) fn set_arg(&mut self, index: usize, value: impl Into<JsValue>) {
        if let Some(arg) = self.args.get_mut(index) {
            *arg = value.into();
        }
    }
}

fn bytes_of(text: &JsString) -> u64 {
    let unit = if text.as_str().is_latin1() { 1 } else { 2 };
    text.len() as u64 * unit
}

fn repeated(call: &mut Call, context: &mut Context) -> JsResult<Cost> {
    let Some(text) = call.text(context)? else { return Ok(Cost::default()) };
    let count = call.arg(0).to_number(context)?;
    call.set_arg(0, count);
    // The built-in keeps a slice for each copy. Infinity and less than nothing are its own errors.
    let each = bytes_of(&text) + ELEMENT;
    Ok(if count.is_finite() && !text.is_empty() { (count.max(0.0) as u64).saturating_mul(each) } else { 0 }.into())
}

fn padded(call: &mut Call, context: &mut Context) -> JsResult<Cost> {
    /// Units of two bytes on the way, then two copies of the result.
    const UNIT: u64 = 6;
    let Some(text) = call.text(context)? else { return Ok(Cost::default()) };
    let length = call.arg(0).to_length(context)?;
    call.set_arg(0, length as f64);
    let nothing = call.arg(1).as_string().is_some_and(|filler| filler.is_empty());
    Ok(if nothing { 0 } else { length.saturating_sub(text.len() as u64).saturating_mul(UNIT) }.into())
}

fn concatenated(call: &mut Call, context: &mut Context) -> JsResult<Cost> {
    let Some(text) = call.text(context)? else { return Ok(Cost::default()) };
    let mut bytes = bytes_of(&text);
    for arg in &mut call.args {
        let text = arg.to_string(context)?;
        bytes = bytes.saturating_add(bytes_of(&text));
        *arg = text.into();
    }
    Ok(bytes.into())
}

fn replaced(call: &mut Call, context: &mut Context) -> JsResult<Cost> {
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
    Ok(result(matches(&text, &call.arg(0), call.room / each.max(1), context)?).into())
}

fn split(call: &mut Call, context: &mut Context) -> JsResult<Cost> {
    let Some(text) = call.text(context)? else { return Ok(Cost::default()) };
    let each = ELEMENT + SHORT_STRING;
    if (text.len() as u64 + 1).saturating_mul(each) <= call.room {
        return Ok(Cost::default());
    }
    Ok(matches(&text, &call.arg(0), call.room / each, context)?.saturating_mul(each).into())
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
    Ok(search::positions(text, &pattern, false, usize::try_from(most).unwrap_or(usize::MAX), &mut || true)
        .map_or(0, |all| all.len() as u64))
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
fn walked(call: &mut Call, context: &mut Context) -> JsResult<Cost> {
    let (length, own) = elements(&call.this, context)?;
    Ok(Cost { bytes: (length - own).saturating_mul(ELEMENT), steps: length })
}

/// What goes through all elements and makes nothing of the holes.
fn visited(call: &mut Call, context: &mut Context) -> JsResult<Cost> {
    Ok(Cost { bytes: 0, steps: elements(&call.this, context)?.0 })
}

/// As [`visited`], and through those of the first argument.
fn visited_both(call: &mut Call, context: &mut Context) -> JsResult<Cost> {
    let steps = elements(&call.this, context)?.0.saturating_add(elements(&call.arg(0), context)?.0);
    Ok(Cost { bytes: 0, steps })
}

fn first_visited(call: &mut Call, context: &mut Context) -> JsResult<Cost> {
    Ok(Cost { bytes: 0, steps: elements(&call.arg(0), context)?.0 })
}

fn second_listed(call: &mut Call, context: &mut Context) -> JsResult<Cost> {
    listed(&call.arg(1), context)
}

fn third_listed(call: &mut Call, context: &mut Context) -> JsResult<Cost> {
    listed(&call.arg(2), context)
}

/// What makes a list of arguments.
fn listed(of: &JsValue, context: &mut Context) -> JsResult<Cost> {
    let length = elements(of, context)?.0;
    Ok(Cost { bytes: length.saturating_mul(ELEMENT), steps: length })
}

fn raw(call: &mut Call, context: &mut Context) -> JsResult<Cost> {
    let Some(template) = call.arg(0).as_object() else { return Ok(Cost::default()) };
    let raw = template.get(js_string!("raw"), context)?;
    Ok(Cost { bytes: 0, steps: elements(&raw, context)?.0 })
}

/// What writes a number of many digits, whose time grows with the square of their count.
fn digits(call: &mut Call, _: &mut Context) -> JsResult<Cost> {
    /// How many bits one step does.
    const BITS: u64 = 1 << 11;
    let bits = call.this.as_bigint().map_or(0, |number| number.as_inner().bits()) / BITS;
    Ok(Cost { bytes: 0, steps: bits.saturating_mul(bits) })
}

/// What costs nothing to speak of, or is measured where it is done.
fn free(_: &mut Call, _: &mut Context) -> JsResult<Cost> {
    Ok(Cost::default())
}

/// What makes a new array of all elements.
fn copied(call: &mut Call, context: &mut Context) -> JsResult<Cost> {
    let mut length = elements(&call.this, context)?.0;
    for arg in call.args.iter().filter(|arg| arg.is_object()) {
        length = length.saturating_add(elements(arg, context)?.0);
    }
    Ok(Cost { bytes: length.saturating_mul(ELEMENT), steps: length })
}

fn from_length(call: &mut Call, context: &mut Context) -> JsResult<Cost> {
    let Some(object) = call.arg(0).as_object() else { return Ok(Cost::default()) };
    // What an iterator gives is asked for one after the other, where the script can be ended.
    if !object.get(JsSymbol::iterator(), context)?.is_null_or_undefined() {
        return Ok(Cost::default());
    }
    let length = length(&object, context)?;
    Ok(Cost { bytes: length.saturating_mul(ELEMENT), steps: length })
}

fn joined(call: &mut Call, context: &mut Context) -> JsResult<Cost> {
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

fn keys(call: &mut Call, _: &mut Context) -> JsResult<Cost> {
    Ok(own_length(&call.arg(0)).saturating_mul(ELEMENT + SHORT_STRING).into())
}

fn entries(call: &mut Call, _: &mut Context) -> JsResult<Cost> {
    Ok(own_length(&call.arg(0)).saturating_mul(ENTRY).into())
}

/// Returns how many keys a string or an array has.
fn own_length(of: &JsValue) -> u64 {
    match of.as_string() {
        Some(text) => text.len() as u64,
        None => of.as_object().map_or(0, |object| object.borrow().properties().index_property_keys().len() as u64),
    }
}
