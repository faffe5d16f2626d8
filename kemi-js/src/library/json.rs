//! `JSON.parse` and `JSON.stringify`, in a form that ends with its call.
//!
//! Boa reads JSON as a script, which takes some hundred bytes and a microsecond for each byte of text, and writes it by a
//! recursion that looks at no limit. Here a text is read as what it is; what is no JSON is left to Boa, which says why.

use std::collections::HashSet;

use boa_engine::object::JsObject;
use boa_engine::object::builtins::JsArray;
use boa_engine::property::PropertyKey;
use boa_engine::value::JsVariant;
use boa_engine::{Context, JsBigInt, JsNativeError, JsResult, JsString, JsValue, js_string};
use kemi_core::engine::Runtime;

use super::{BuiltinCall, is_array, length};
use crate::terminate::terminated;

/// How deep values may stand in each other in a text, as in Boa.
const READ_DEPTH: usize = 127;

/// How deep values may stand in each other to be written.
const WRITE_DEPTH: usize = 10_000;

/// How many values are made between two looks at the limits.
const VALUES: u32 = 1 << 10;

/// Reads a text without a function to revive what is in it.
pub(crate) fn parse(runtime: &Runtime, call: &mut BuiltinCall, context: &mut Context) -> JsResult<Option<JsValue>> {
    if call.arg(1).is_callable() {
        return Ok(None);
    }
    let text = call.arg(0).to_string(context)?;
    if call.args.is_empty() {
        call.args.push(JsValue::undefined());
    }
    call.set_arg(0, text.clone());
    let Ok(text) = text.to_std_string() else { return Ok(None) };
    Reader { runtime, text: text.as_bytes(), at: 0, values: 0 }.read(context)
}

struct Reader<'a> {
    runtime: &'a Runtime,
    text: &'a [u8],
    at: usize,
    values: u32,
}

/// A container that is not complete.
enum Open {
    Array(Vec<JsValue>),
    Object(JsObject, PropertyKey),
}

impl Reader<'_> {
    /// Reads the whole text; `None` where it is no JSON.
    fn read(&mut self, context: &mut Context) -> JsResult<Option<JsValue>> {
        let mut open: Vec<Open> = Vec::new();
        loop {
            self.values += 1;
            if self.values.is_multiple_of(VALUES) && self.runtime.pending_limit().is_some() {
                return Err(terminated());
            }
            // A value begins here.
            self.space();
            let mut value = match self.peek() {
                Some(b'[') => {
                    self.at += 1;
                    self.space();
                    if self.take(b"]") {
                        JsArray::new(context)?.into()
                    } else {
                        open.push(Open::Array(Vec::new()));
                        if open.len() > READ_DEPTH {
                            return Ok(None);
                        }
                        continue;
                    }
                }
                Some(b'{') => {
                    self.at += 1;
                    let object = JsObject::with_object_proto(context.intrinsics());
                    self.space();
                    if self.take(b"}") {
                        object.into()
                    } else {
                        let Some(key) = self.key() else { return Ok(None) };
                        open.push(Open::Object(object, key));
                        if open.len() > READ_DEPTH {
                            return Ok(None);
                        }
                        continue;
                    }
                }
                _ => match self.scalar() {
                    Some(value) => value,
                    None => return Ok(None),
                },
            };
            // It may be the last one of its container, and that of the one around it.
            loop {
                self.space();
                match open.last_mut() {
                    None => return Ok((self.at == self.text.len()).then_some(value)),
                    Some(Open::Array(items)) => {
                        items.push(value);
                        if self.take(b",") {
                            break;
                        }
                        if !self.take(b"]") {
                            return Ok(None);
                        }
                        let items = std::mem::take(items);
                        open.pop();
                        value = JsArray::from_iter(items, context).into();
                    }
                    Some(Open::Object(object, key)) => {
                        object.create_data_property_or_throw(key.clone(), value, context)?;
                        if self.take(b",") {
                            self.space();
                            let Some(next) = self.key() else { return Ok(None) };
                            *key = next;
                            break;
                        }
                        if !self.take(b"}") {
                            return Ok(None);
                        }
                        value = object.clone().into();
                        open.pop();
                    }
                }
            }
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn take(&mut self, wanted: &[u8]) -> bool {
        let found = self.text.get(self.at..).is_some_and(|rest| rest.starts_with(wanted));
        if found {
            self.at += wanted.len();
        }
        found
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn key(&mut self) -> Option<PropertyKey> {
        let key = self.string()?;
        self.space();
        self.take(b":").then(|| key.into())
    }

    fn scalar(&mut self) -> Option<JsValue> {
        match self.peek()? {
            b'"' => self.string().map(JsValue::from),
            b't' => self.take(b"true").then(|| JsValue::new(true)),
            b'f' => self.take(b"false").then(|| JsValue::new(false)),
            b'n' => self.take(b"null").then(JsValue::null),
            _ => self.number(),
        }
    }

    fn digits(&mut self) -> bool {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        self.at > start
    }

    fn number(&mut self) -> Option<JsValue> {
        let start = self.at;
        self.take(b"-");
        if !self.take(b"0") && !self.digits() {
            return None;
        }
        if self.take(b".") && !self.digits() {
            return None;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            if !self.digits() {
                return None;
            }
        }
        let text = std::str::from_utf8(self.text.get(start..self.at)?).ok()?;
        if let Ok(small) = text.parse::<i32>()
            && (small != 0 || !text.starts_with('-'))
        {
            return Some(JsValue::new(small));
        }
        text.parse::<f64>().ok().filter(|number| number.is_finite()).map(JsValue::new)
    }

    fn string(&mut self) -> Option<JsString> {
        if !self.take(b"\"") {
            return None;
        }
        let start = self.at;
        while self.peek().is_some_and(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\') {
            self.at += 1;
        }
        let plain = std::str::from_utf8(self.text.get(start..self.at)?).ok()?;
        if self.take(b"\"") {
            return Some(JsString::from(plain));
        }
        let mut units: Vec<u16> = plain.encode_utf16().collect();
        loop {
            let start = self.at;
            while self.peek().is_some_and(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\') {
                self.at += 1;
            }
            units.extend(std::str::from_utf8(self.text.get(start..self.at)?).ok()?.encode_utf16());
            if self.take(b"\"") {
                // Half a character is no JSON for Boa.
                return char::decode_utf16(units.iter().copied()).all(|c| c.is_ok()).then(|| units.as_slice().into());
            }
            if !self.take(b"\\") {
                return None;
            }
            let escape = self.peek()?;
            self.at += 1;
            units.push(match escape {
                b'"' | b'\\' | b'/' => escape.into(),
                b'b' => 8,
                b'f' => 12,
                b'n' => 10,
                b'r' => 13,
                b't' => 9,
                b'u' => {
                    let digits = self.text.get(self.at..self.at + 4)?;
                    let unit = digits.iter().try_fold(0, |unit: u16, &digit| {
                        Some(unit << 4 | u16::try_from(char::from(digit).to_digit(16)?).ok()?)
                    })?;
                    self.at += 4;
                    unit
                }
                _ => return None,
            });
        }
    }
}

/// Writes a value.
pub(crate) fn stringify(runtime: &Runtime, call: &mut BuiltinCall, context: &mut Context) -> JsResult<Option<JsValue>> {
    let (mut replacer, mut list) = (None, None);
    if let Some(object) = call.arg(1).as_object() {
        if object.is_callable() {
            replacer = Some(object);
        } else if is_array(&call.arg(1), context)? {
            list = Some(listed(runtime, &object, context)?);
        }
    }
    let mut space = call.arg(2);
    if let Some(object) = space.as_object() {
        if object.is::<f64>() {
            space = space.to_number(context)?.into();
        } else if object.is::<JsString>() {
            space = space.to_string(context)?.into();
        }
    }
    let gap = match (space.as_number(), space.as_string()) {
        (Some(count), _) => vec![u16::from(b' '); if count >= 1.0 { count.min(10.0) as usize } else { 0 }],
        (None, Some(text)) => text.iter().take(10).collect(),
        _ => Vec::new(),
    };
    let holder = JsObject::with_object_proto(context.intrinsics());
    holder.create_data_property_or_throw(js_string!(), call.arg(0), context)?;
    let mut writer =
        Writer { runtime, replacer, list, gap, out: Vec::new(), above: Vec::new(), seen: HashSet::new(), values: 0 };
    let value = writer.prepared(js_string!(), &holder, context)?;
    let written = writer.write(value, context)?;
    Ok(Some(match written {
        true => JsString::from(writer.out.as_slice()).into(),
        false => JsValue::undefined(),
    }))
}

/// Reads the names that are to be written.
fn listed(runtime: &Runtime, list: &JsObject, context: &mut Context) -> JsResult<Vec<JsString>> {
    let length = length(list, context)?;
    let (mut names, mut seen) = (Vec::new(), HashSet::new());
    for i in 0..length {
        if i % u64::from(VALUES) == 0 && runtime.pending_limit().is_some() {
            return Err(terminated());
        }
        let name = list.get(i, context)?;
        let is_name = name.is_string()
            || name.is_number()
            || name.as_object().is_some_and(|object| object.is::<JsString>() || object.is::<f64>());
        if is_name {
            let name = name.to_string(context)?;
            if seen.insert(name.clone()) {
                names.push(name);
            }
        }
    }
    Ok(names)
}

/// The form of a value in the text.
enum Prepared {
    Text(JsString),
    Quoted(JsString),
    Array(JsObject),
    Object(JsObject),
    Nothing,
}

/// A container that is being written.
struct Level {
    object: JsObject,
    is_array: bool,
    /// How many elements there are, or which names.
    length: u64,
    keys: Vec<JsString>,
    next: u64,
    is_empty: bool,
}

struct Writer<'a> {
    runtime: &'a Runtime,
    replacer: Option<JsObject>,
    list: Option<Vec<JsString>>,
    gap: Vec<u16>,
    out: Vec<u16>,
    above: Vec<Level>,
    /// The containers of `above`.
    seen: HashSet<JsObject>,
    values: u32,
}

impl Writer<'_> {
    fn ascii(&mut self, text: &str) {
        self.out.extend(text.bytes().map(u16::from));
    }

    /// Reads a value and asks it, and the function that may replace it, what to write.
    fn prepared(&mut self, key: JsString, holder: &JsObject, context: &mut Context) -> JsResult<Prepared> {
        self.values += 1;
        if self.values.is_multiple_of(VALUES) && self.runtime.pending_limit().is_some() {
            return Err(terminated());
        }
        let mut value = holder.get(key.clone(), context)?;
        if value.is_object() || value.is_bigint() {
            let object = value.to_object(context)?;
            // As by the value itself, not by the object made for it.
            let to_json = match value.is_object() {
                true => object.get(js_string!("toJSON"), context)?,
                false => {
                    let prototype = context.intrinsics().constructors().bigint().prototype();
                    prototype.get(js_string!("toJSON"), context)?
                }
            };
            if let Some(to_json) = to_json.as_callable() {
                value = to_json.call(&value, &[key.clone().into()], context)?;
            }
        }
        if let Some(replacer) = &self.replacer {
            value = replacer.call(&holder.clone().into(), &[key.into(), value], context)?;
        }
        if let Some(object) = value.as_object() {
            if object.is::<f64>() {
                value = value.to_number(context)?.into();
            } else if object.is::<JsString>() {
                value = value.to_string(context)?.into();
            } else if let Some(inner) = object.downcast_ref::<bool>() {
                value = JsValue::new(*inner);
            } else if let Some(inner) = object.downcast_ref::<JsBigInt>() {
                value = inner.clone().into();
            } else if self.is_raw(&object, context)? {
                let raw = object.get(js_string!("rawJSON"), context)?;
                return Ok(raw.as_string().map_or(Prepared::Nothing, Prepared::Text));
            }
        }
        Ok(match value.variant() {
            JsVariant::Null => Prepared::Text(js_string!("null")),
            JsVariant::Boolean(true) => Prepared::Text(js_string!("true")),
            JsVariant::Boolean(false) => Prepared::Text(js_string!("false")),
            JsVariant::String(text) => Prepared::Quoted(text),
            JsVariant::Integer32(_) => Prepared::Text(value.to_string(context)?),
            JsVariant::Float64(number) if number.is_finite() => Prepared::Text(value.to_string(context)?),
            JsVariant::Float64(_) => Prepared::Text(js_string!("null")),
            JsVariant::BigInt(_) => {
                return Err(JsNativeError::typ().with_message("cannot serialize bigint to JSON").into());
            }
            JsVariant::Object(object) if !object.is_callable() => match is_array(&value, context)? {
                true => Prepared::Array(object),
                false => Prepared::Object(object),
            },
            JsVariant::Object(_) | JsVariant::Undefined | JsVariant::Symbol(_) => Prepared::Nothing,
        })
    }

    /// Returns whether an object came from `JSON.rawJSON`: frozen, without a prototype, and not made by a script.
    fn is_raw(&self, object: &JsObject, context: &mut Context) -> JsResult<bool> {
        if object.prototype().is_some() || object.is_ordinary() {
            return Ok(false);
        }
        let json = context.intrinsics().objects().json();
        match json.get(js_string!("isRawJSON"), context)?.as_callable() {
            Some(ask) => Ok(ask.call(&JsValue::undefined(), &[object.clone().into()], context)?.to_boolean()),
            None => Ok(false),
        }
    }

    /// Writes a value with all in it; `false` if nothing stands for it.
    fn write(&mut self, value: Prepared, context: &mut Context) -> JsResult<bool> {
        if !self.begin(value, context)? {
            return Ok(false);
        }
        while let Some(level) = self.above.last_mut() {
            if level.next >= level.length {
                let Some(level) = self.above.pop() else { break };
                self.seen.remove(&level.object);
                if !level.is_empty {
                    self.line();
                }
                self.ascii(if level.is_array { "]" } else { "}" });
                continue;
            }
            let (holder, is_array) = (level.object.clone(), level.is_array);
            let index = level.next;
            level.next += 1;
            let key = match is_array {
                true => JsString::from(index.to_string().as_str()),
                false => {
                    let key = usize::try_from(index).ok().and_then(|index| level.keys.get(index));
                    key.cloned().unwrap_or_default()
                }
            };
            let value = self.prepared(key.clone(), &holder, context)?;
            if matches!(value, Prepared::Nothing) && !is_array {
                continue;
            }
            if let Some(level) = self.above.last_mut() {
                let first = std::mem::replace(&mut level.is_empty, false);
                if !first {
                    self.ascii(",");
                }
            }
            self.line();
            if !is_array {
                self.quote(&key);
                self.ascii(if self.gap.is_empty() { ":" } else { ": " });
            }
            if !self.begin(value, context)? {
                self.ascii("null");
            }
        }
        Ok(true)
    }

    /// Begins a line of its own, where there are lines.
    fn line(&mut self) {
        if !self.gap.is_empty() {
            self.ascii("\n");
            for _ in 0..self.above.len() {
                self.out.extend_from_slice(&self.gap);
            }
        }
    }

    /// Writes a value, or begins a container; `false` if nothing stands for it.
    fn begin(&mut self, value: Prepared, context: &mut Context) -> JsResult<bool> {
        let (object, is_array) = match value {
            Prepared::Nothing => return Ok(false),
            Prepared::Text(text) => {
                self.out.extend(text.iter());
                return Ok(true);
            }
            Prepared::Quoted(text) => {
                self.quote(&text);
                return Ok(true);
            }
            Prepared::Array(object) => (object, true),
            Prepared::Object(object) => (object, false),
        };
        if !self.seen.insert(object.clone()) {
            return Err(JsNativeError::typ().with_message("cyclic object value").into());
        }
        if self.above.len() >= WRITE_DEPTH {
            return Err(JsNativeError::range().with_message("the values stand in each other by thousands").into());
        }
        let (mut length, mut keys) = (0, Vec::new());
        if is_array {
            length = super::length(&object, context)?;
        } else {
            keys = match &self.list {
                Some(list) => list.clone(),
                None => own_names(&object, context)?,
            };
            length = length.max(keys.len() as u64);
        }
        self.ascii(if is_array { "[" } else { "{" });
        self.above.push(Level { object, is_array, length, keys, next: 0, is_empty: true });
        Ok(true)
    }

    fn quote(&mut self, text: &JsString) {
        let escape = |out: &mut Vec<u16>, unit: u16| out.extend(format!("\\u{unit:04x}").bytes().map(u16::from));
        self.ascii("\"");
        for c in char::decode_utf16(text.iter()) {
            match c {
                Ok('"') => self.ascii("\\\""),
                Ok('\\') => self.ascii("\\\\"),
                Ok('\u{8}') => self.ascii("\\b"),
                Ok('\t') => self.ascii("\\t"),
                Ok('\n') => self.ascii("\\n"),
                Ok('\u{c}') => self.ascii("\\f"),
                Ok('\r') => self.ascii("\\r"),
                Ok(c) if c < ' ' => escape(&mut self.out, c as u16),
                Ok(c) => self.out.extend_from_slice(c.encode_utf16(&mut [0; 2])),
                Err(lone) => escape(&mut self.out, lone.unpaired_surrogate()),
            }
        }
        self.ascii("\"");
    }
}

/// Returns the names of an object's own enumerable properties, in order.
fn own_names(object: &JsObject, context: &mut Context) -> JsResult<Vec<JsString>> {
    let mut names = Vec::new();
    for key in object.own_property_keys(context)? {
        let name = match &key {
            PropertyKey::String(name) => name.clone(),
            PropertyKey::Index(index) => JsString::from(index.get().to_string().as_str()),
            PropertyKey::Symbol(_) => continue,
        };
        if is_enumerable(object, key, context)? {
            names.push(name);
        }
    }
    Ok(names)
}

fn is_enumerable(object: &JsObject, key: PropertyKey, context: &mut Context) -> JsResult<bool> {
    if object.is_ordinary() || object.is_array() {
        return Ok(object.borrow().properties().get(&key).is_some_and(|slot| slot.enumerable() == Some(true)));
    }
    // Proxies, strings and what else has properties of its own kind.
    let ask =
        context.intrinsics().constructors().object().prototype().get(js_string!("propertyIsEnumerable"), context)?;
    match ask.as_callable() {
        Some(ask) => Ok(ask.call(&object.clone().into(), &[key.into()], context)?.to_boolean()),
        None => Ok(false),
    }
}
