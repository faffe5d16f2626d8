//! Conversion of values, both ways.

use std::ops::Range;

use boa_engine::builtins::array_buffer::{ArrayBuffer, SharedArrayBuffer};
use boa_engine::builtins::error::Error;
use boa_engine::builtins::function::OrdinaryFunction;
use boa_engine::builtins::proxy::Proxy;
use boa_engine::builtins::typed_array::TypedArray;
use boa_engine::object::JsObject;
use boa_engine::object::builtins::{AlignedVec, JsArray, JsArrayBuffer, JsDataView, JsSharedArrayBuffer, JsUint8Array};
use boa_engine::property::PropertyKey;
use boa_engine::value::JsVariant;
use boa_engine::{Context, JsBigInt, JsError, JsNativeError, JsResult, JsString, JsValue, js_string};
use kemi_core::abi::Ret;
use kemi_core::value::ConversionBudget;
use kemi_core::{Arg, ErrorCode, Map, ScriptError, Value};

use crate::functions::KeptFunctions;
use crate::interpreter::State;
use crate::objects;
use crate::string::{self, Text};

/// The greatest integer up to which every integer is a double: 2^53.
const EXACT: i64 = 1 << 53;

/// How far up a chain of prototypes the class of an object is looked for.
const MAX_CLASSES: usize = 16;

/// The reason why a value does not cross.
pub(crate) enum ConvertError {
    /// A getter or proxy threw.
    Thrown(JsError),
    /// It is not fit to cross.
    Unfit(Unfit),
}

/// The reason why a value is not fit to cross.
#[derive(Debug)]
pub(crate) enum Unfit {
    /// It is of a kind that has no counterpart.
    Kind(&'static str),
    /// Something in it is.
    PartKind(&'static str),
    /// Another reason.
    Other(ScriptError),
}

impl From<JsError> for ConvertError {
    fn from(error: JsError) -> ConvertError {
        ConvertError::Thrown(error)
    }
}

impl From<ScriptError> for ConvertError {
    fn from(error: ScriptError) -> ConvertError {
        ConvertError::Unfit(Unfit::Other(error))
    }
}

impl From<Unfit> for ConvertError {
    fn from(unfit: Unfit) -> ConvertError {
        ConvertError::Unfit(unfit)
    }
}

impl ConvertError {
    /// Makes an error of Boa.
    #[cold]
    pub(crate) fn into_native(self) -> JsError {
        match self {
            ConvertError::Thrown(error) => error,
            ConvertError::Unfit(unfit) => {
                JsNativeError::typ().with_message(unfit.of("the value").message.clone()).into()
            }
        }
    }
}

impl Unfit {
    /// Makes the error, of which value it is in the message.
    #[cold]
    pub(crate) fn of(self, subject: &str) -> ScriptError {
        let foreign = |verb, kind| {
            let what = article(kind);
            unconvertible(&format!("{subject} {verb} {what}, which has no counterpart outside the script"))
        };
        match self {
            Unfit::Kind(kind) => foreign("is", kind),
            Unfit::PartKind(kind) => foreign("holds", kind),
            Unfit::Other(mut error) => {
                error.message = format!("{subject}: {}", error.message);
                error
            }
        }
    }
}

/// An argument of a native function, with the memory that it borrows from.
pub(crate) enum HeldArg {
    Plain(Arg<'static>),
    Text(Text),
    Value(Value),
}

impl HeldArg {
    /// Takes an argument of a native call; what is neither a scalar nor a string is converted at once.
    pub(crate) fn new(
        value: &JsValue,
        kept: &KeptFunctions,
        budget: &mut ConversionBudget,
        context: &mut Context,
    ) -> Result<HeldArg, ConvertError> {
        Ok(match value.variant() {
            JsVariant::String(string) => HeldArg::Text(Text::new(string)),
            JsVariant::Object(object) => match Converter::new(budget, Some(kept)).object(&object, context) {
                Ok(value) => HeldArg::Value(value),
                // The error names the parameter and what it takes.
                Err(ConvertError::Unfit(Unfit::Kind(kind))) => HeldArg::Plain(Arg::Foreign(kind)),
                Err(error) => return Err(error),
            },
            other => match scalar(&other) {
                Ok(Value::Bool(b)) => HeldArg::Plain(Arg::Bool(b)),
                Ok(Value::Int(i)) => HeldArg::Plain(Arg::Int(i)),
                Ok(Value::Float(x)) => HeldArg::Plain(Arg::Float(x)),
                Ok(_) => HeldArg::Plain(Arg::Nil),
                Err(kind) => HeldArg::Plain(Arg::Foreign(kind)),
            },
        })
    }

    pub(crate) fn arg(&self) -> Arg<'_> {
        match self {
            HeldArg::Plain(arg) => *arg,
            HeldArg::Text(text) => Arg::Str(text.bytes()),
            HeldArg::Value(value) => value.into(),
        }
    }
}

/// Converts the result of a callback. It is the host's to hold and to free.
pub(crate) fn to_host(value: &JsValue, kept: &KeptFunctions, context: &mut Context) -> Result<Value, ConvertError> {
    let convert = |context: &mut Context| {
        let mut budget = ConversionBudget::new();
        Converter::new(&mut budget, Some(kept)).value(value, context)
    };
    if !value.is_object() {
        return kept.runtime().host_side(|| convert(context));
    }
    // The script's getters may run, so this is on its side; its result is freed there, and the copy is the host's.
    let given = convert(context)?;
    Ok(kept.runtime().host_side(|| given.clone()))
}

/// Converts a number as scripts mean it: integral and exactly known is an integer, all else stays a float.
pub(crate) fn number(x: f64) -> Value {
    let negative_zero = x == 0.0 && x.is_sign_negative();
    // NaN and the infinities fail the comparison.
    if x.abs() <= EXACT as f64 && x.fract() == 0.0 && !negative_zero { Value::Int(x as i64) } else { Value::Float(x) }
}

/// Returns the integer that a value is, if it is one and fits.
pub(crate) fn integer(value: &JsValue) -> Option<i64> {
    if let Some(i) = value.as_i32() {
        return Some(i.into());
    }
    match number(value.as_number()?) {
        Value::Int(i) => Some(i),
        _ => None,
    }
}

/// Makes a number where the integer is exact as one, else a `BigInt`.
pub(crate) fn from_int(i: i64) -> JsValue {
    match i32::try_from(i) {
        Ok(small) => JsValue::new(small),
        Err(_) if (-EXACT..=EXACT).contains(&i) => JsValue::new(i as f64),
        Err(_) => JsValue::new(JsBigInt::from(i)),
    }
}

/// Converts a value of the host.
///
/// # Errors
/// It holds a function that is not of this interpreter.
pub(crate) fn from_value(value: &Value, state: &State, context: &mut Context) -> Result<JsValue, ConvertError> {
    Ok(match value {
        Value::Nil => JsValue::null(),
        Value::Bool(b) => JsValue::new(*b),
        Value::Int(i) => from_int(*i),
        Value::Float(x) => JsValue::new(*x),
        Value::Str(s) => JsValue::new(string::to_js(s)),
        Value::Bytes(bytes) => {
            let buffer = JsArrayBuffer::from_byte_block(AlignedVec::from_slice(0, bytes), context)?;
            JsUint8Array::from_array_buffer(buffer, context)?.into()
        }
        Value::Array(items) => from_items(items, state, context)?,
        Value::Map(map) => {
            let object = JsObject::with_object_proto(context.intrinsics());
            for (key, item) in map {
                let item = from_value(item, state, context)?;
                object.create_data_property_or_throw(string::to_js(key), item, context)?;
            }
            object.into()
        }
        Value::Function(function) => state.kept().find(function)?.into(),
        Value::Object(object) => objects::give(object, state, context)?.into(),
    })
}

/// Converts an argument of a callback.
///
/// # Errors
/// As [`from_value`].
#[inline]
pub(crate) fn from_arg(arg: &Arg<'_>, state: &State, context: &mut Context) -> Result<JsValue, ConvertError> {
    match arg {
        Arg::Nil => Ok(JsValue::null()),
        Arg::Bool(b) => Ok(JsValue::new(*b)),
        Arg::Int(i) => Ok(from_int(*i)),
        Arg::Float(x) => Ok(JsValue::new(*x)),
        Arg::Str(s) => Ok(string::to_js(s).into()),
        Arg::Value(value) => from_value(value, state, context),
        other => from_value(&other.to_value().unwrap_or_default(), state, context),
    }
}

/// Converts a scalar or bytes that a native call has returned; bytes are copied at once, before anything uses the host's
/// context.
#[inline]
pub(crate) fn from_plain(ret: Ret) -> JsValue {
    match ret {
        Ret::Bool(b) => JsValue::new(b),
        Ret::Int(i) => from_int(i),
        Ret::Float(x) => JsValue::new(x),
        // SAFETY: the native call has just returned, and neither script nor host has run since.
        Ret::Bytes(bytes) => string::to_js(unsafe { bytes.bytes() }).into(),
        Ret::Nil | Ret::Value(_) | Ret::Tuple(_) => JsValue::null(),
    }
}

/// Converts the result of a native call.
///
/// What it does with a result that does not cross is up to `refuse`.
#[inline]
pub(crate) fn from_ret(
    ret: Ret,
    state: &State,
    context: &mut Context,
    refuse: impl FnOnce(ConvertError, &mut Context) -> JsResult<JsValue>,
) -> JsResult<JsValue> {
    let result = match ret {
        // The commonest of what an export returns as a value of its own.
        Ret::Value(Value::Str(text)) => {
            let string = string::to_js(&text);
            state.runtime().host_side(|| drop(text));
            return Ok(string.into());
        }
        Ret::Value(value) => {
            let result = from_value(&value, state, context);
            state.runtime().host_side(|| drop(value));
            result
        }
        Ret::Tuple(items) => {
            let result = from_items(&items, state, context);
            state.runtime().host_side(|| drop(items));
            result
        }
        plain => return Ok(from_plain(plain)),
    };
    result.or_else(|error| refuse(error, context))
}

/// Describes a value for people, in a log line or an error message.
pub(crate) fn describe(value: &JsValue, context: &mut Context) -> String {
    match value.variant() {
        JsVariant::String(string) => string::lossy(&string),
        JsVariant::Undefined => "undefined".to_owned(),
        JsVariant::Null => "null".to_owned(),
        JsVariant::Symbol(symbol) => string::lossy(&symbol.descriptive_string()),
        JsVariant::BigInt(big) => format!("{big}n"),
        JsVariant::Object(object) if object.is::<Error>() => error_text(&object, context),
        JsVariant::Object(object) => {
            let mut budget = ConversionBudget::new();
            match Converter::new(&mut budget, None).object(&object, context) {
                Ok(value) => value.to_string(),
                Err(ConvertError::Unfit(Unfit::Kind(kind))) => format!("[{kind}]"),
                Err(_) => "[object]".to_owned(),
            }
        }
        _ => value.display().to_string(),
    }
}

/// Returns the name and message of an error object, as its `toString` would.
pub(crate) fn error_text(error: &JsObject, context: &mut Context) -> String {
    let mut part = |name: JsString| match error.get(name, context).map(|value| value.variant()) {
        Ok(JsVariant::String(string)) => string::lossy(&string),
        Ok(JsVariant::Undefined) | Err(_) => String::new(),
        Ok(other) => JsValue::from(other).display().to_string(),
    };
    let (name, message) = (part(boa_engine::js_string!("name")), part(boa_engine::js_string!("message")));
    match (name.is_empty(), message.is_empty()) {
        (true, true) => "Error".to_owned(),
        (true, false) => message,
        (false, true) => name,
        (false, false) => format!("{name}: {message}"),
    }
}

fn from_items(items: &[Value], state: &State, context: &mut Context) -> Result<JsValue, ConvertError> {
    let items: Result<Vec<JsValue>, ConvertError> = items.iter().map(|item| from_value(item, state, context)).collect();
    Ok(JsArray::from_iter(items?, context).into())
}

fn scalar(value: &JsVariant) -> Result<Value, &'static str> {
    match value {
        JsVariant::Null | JsVariant::Undefined => Ok(Value::Nil),
        JsVariant::Boolean(b) => Ok(Value::Bool(*b)),
        JsVariant::Integer32(i) => Ok(Value::Int((*i).into())),
        JsVariant::Float64(x) => Ok(number(*x)),
        JsVariant::String(string) => Ok(Value::Str(string::to_bytes(string).into())),
        // Saturates far outside of 64 bits, which is all that matters here.
        JsVariant::BigInt(big) => i64::try_from(big.to_i128()).map(Value::Int).map_err(|_| "bigint beyond 64 bits"),
        JsVariant::Symbol(_) => Err("symbol"),
        JsVariant::Object(_) => Err("object"),
    }
}

/// Returns whether a function is a class, which can only be called by `new`.
fn is_class(function: &JsObject) -> bool {
    // That of any other function of the script can be written to, unless the script has frozen it.
    let prototype = function.borrow().properties().get(&js_string!("prototype").into());
    prototype.is_some_and(|prototype| prototype.writable() == Some(false))
        && function.is::<OrdinaryFunction>()
        && JsValue::from(function.clone()).display().to_string().starts_with("[class ")
}

/// Names the built-in class of an object.
#[cold]
fn class_name(object: &JsObject, context: &Context) -> &'static str {
    if object.is::<Proxy>() {
        return "Proxy";
    }
    let (constructors, objects) = (context.intrinsics().constructors(), context.intrinsics().objects());
    let classes = [
        ("Date", constructors.date().prototype()),
        ("RegExp", constructors.regexp().prototype()),
        ("Map", constructors.map().prototype()),
        ("Set", constructors.set().prototype()),
        ("WeakMap", constructors.weak_map().prototype()),
        ("WeakSet", constructors.weak_set().prototype()),
        ("WeakRef", constructors.weak_ref().prototype()),
        ("FinalizationRegistry", constructors.finalization_registry().prototype()),
        ("Promise", constructors.promise().prototype()),
        ("Error", constructors.error().prototype()),
        ("String", constructors.string().prototype()),
        ("Number", constructors.number().prototype()),
        ("Boolean", constructors.boolean().prototype()),
        ("BigInt", constructors.bigint().prototype()),
        ("Symbol", constructors.symbol().prototype()),
        ("Int8Array", constructors.typed_int8_array().prototype()),
        ("Uint8ClampedArray", constructors.typed_uint8clamped_array().prototype()),
        ("Int16Array", constructors.typed_int16_array().prototype()),
        ("Uint16Array", constructors.typed_uint16_array().prototype()),
        ("Int32Array", constructors.typed_int32_array().prototype()),
        ("Uint32Array", constructors.typed_uint32_array().prototype()),
        ("BigInt64Array", constructors.typed_bigint64_array().prototype()),
        ("BigUint64Array", constructors.typed_biguint64_array().prototype()),
        ("Float32Array", constructors.typed_float32_array().prototype()),
        ("Float64Array", constructors.typed_float64_array().prototype()),
        ("TypedArray", constructors.typed_array().prototype()),
        ("Generator", objects.generator()),
        ("AsyncGenerator", objects.async_generator()),
        ("Iterator", constructors.iterator().prototype()),
    ];
    let chain = std::iter::successors(object.prototype(), JsObject::prototype).take(MAX_CLASSES);
    let name = |prototype: JsObject| classes.iter().find(|(_, class)| JsObject::equals(class, &prototype));
    chain.map(name).find_map(|class| class).map_or("special object", |(name, _)| name)
}

/// Puts the article before the name of a type.
pub(crate) fn article(name: &str) -> String {
    // A `Uint16Array` begins with another sound.
    let article = if name.starts_with(['A', 'E', 'I', 'O', 'a', 'e', 'i', 'o']) { "an" } else { "a" };
    format!("{article} {name}")
}

/// Converts one value with all it contains.
struct Converter<'a> {
    above: Vec<JsObject>,
    budget: &'a mut ConversionBudget,
    /// Where functions are kept for the host; none if the value is only described.
    kept: Option<&'a KeptFunctions>,
}

impl<'a> Converter<'a> {
    fn new(budget: &'a mut ConversionBudget, kept: Option<&'a KeptFunctions>) -> Converter<'a> {
        Converter { above: Vec::new(), budget, kept }
    }

    fn value(&mut self, value: &JsValue, context: &mut Context) -> Result<Value, ConvertError> {
        match value.variant() {
            JsVariant::Object(object) => self.object(&object, context),
            other => {
                if let JsVariant::String(text) = &other {
                    self.budget.bytes(text.len())?;
                }
                scalar(&other).map_err(|kind| Unfit::Kind(kind).into())
            }
        }
    }

    fn object(&mut self, object: &JsObject, context: &mut Context) -> Result<Value, ConvertError> {
        if object.is_array() || object.is_ordinary() {
            return self.composite(object, context);
        }
        if object.is_callable() {
            return match self.kept {
                Some(kept) if !is_class(object) => Ok(Value::Function(kept.keep(object)?)),
                Some(_) => Err(Unfit::Kind("class").into()),
                None => Err(Unfit::Kind("function").into()),
            };
        }
        match self.bytes(object, context)? {
            Some(bytes) => Ok(Value::Bytes(bytes.into())),
            None => match objects::behind(object) {
                Some(object) => Ok(Value::Object(object)),
                None => Err(Unfit::Kind(class_name(object, context)).into()),
            },
        }
    }

    /// Copies the bytes of an object that holds bytes and nothing else. It runs no code of the script.
    fn bytes(&mut self, object: &JsObject, context: &mut Context) -> Result<Option<Vec<u8>>, ConvertError> {
        let copy = if object.is::<TypedArray>() {
            // The elements of the others are numbers.
            let Ok(array) = JsUint8Array::from_object(object.clone()) else { return Ok(None) };
            self.budget.bytes(array.byte_length(context)?)?;
            array.to_vec(context).ok()
        } else if let Ok(view) = JsDataView::from_object(object.clone()) {
            match view_range(&view, context) {
                Some((buffer, range)) => {
                    self.budget.bytes(range.len())?;
                    buffer_bytes(&buffer, |all| all.get(range).map(<[u8]>::to_vec))
                }
                None => None,
            }
        } else if object.is::<ArrayBuffer>() || object.is::<SharedArrayBuffer>() {
            self.budget.bytes(buffer_bytes(object, |all| Some(all.len())).unwrap_or(0))?;
            buffer_bytes(object, |all| Some(all.to_vec()))
        } else {
            return Ok(None);
        };
        copy.map(Some)
            .ok_or_else(|| unconvertible("its bytes are gone: the ArrayBuffer is detached or too short").into())
    }

    /// Converts an array or an object with properties.
    fn composite(&mut self, object: &JsObject, context: &mut Context) -> Result<Value, ConvertError> {
        if self.above.iter().any(|above| JsObject::equals(above, object)) {
            return Err(unconvertible("the value contains itself").into());
        }
        self.budget.enter()?;
        self.above.push(object.clone());
        let result = if object.is_array() { self.array(object, context) } else { self.map(object, context) };
        self.above.pop();
        self.budget.leave();
        result.map_err(|error| match error {
            ConvertError::Unfit(Unfit::Kind(kind)) => Unfit::PartKind(kind).into(),
            other => other,
        })
    }

    fn array(&mut self, array: &JsObject, context: &mut Context) -> Result<Value, ConvertError> {
        let length = usize::try_from(JsArray::from_object(array.clone())?.length(context)?).unwrap_or(usize::MAX);
        let mut items = Vec::new();
        for i in 0..length {
            self.budget.element()?;
            let item = array.get(i as u64, context)?;
            items.push(self.value(&item, context)?);
        }
        Ok(Value::Array(items))
    }

    fn map(&mut self, object: &JsObject, context: &mut Context) -> Result<Value, ConvertError> {
        let keys = object.own_property_keys(context)?;
        let mut map = Map::new();
        for key in keys {
            let name = match &key {
                PropertyKey::String(name) => string::to_bytes(name),
                PropertyKey::Index(index) => index.get().to_string().into_bytes(),
                PropertyKey::Symbol(_) => continue,
            };
            // A getter of an earlier key may have removed it, so it is looked at only now.
            let enumerable = object.borrow().properties().get(&key).is_some_and(|p| p.enumerable() == Some(true));
            if enumerable {
                self.budget.element()?;
                self.budget.bytes(name.len())?;
                let item = object.get(key, context)?;
                map.insert(name.into(), self.value(&item, context)?);
            }
        }
        Ok(Value::Map(map))
    }
}

/// Returns the buffer of a view and the part of it that the view shows, if it is still there.
fn view_range(view: &JsDataView, context: &mut Context) -> Option<(JsObject, Range<usize>)> {
    let start = usize::try_from(view.byte_offset(context).ok()?).ok()?;
    let length = usize::try_from(view.byte_length(context).ok()?).ok()?;
    Some((view.buffer(context).ok()?.as_object()?, start..start.checked_add(length)?))
}

/// Reads the bytes of an `ArrayBuffer` or a `SharedArrayBuffer`; `None` for anything else, and if they are gone.
fn buffer_bytes<R>(object: &JsObject, read: impl FnOnce(&[u8]) -> Option<R>) -> Option<R> {
    if let Ok(buffer) = JsArrayBuffer::from_object(object.clone()) {
        return buffer.data().and_then(|bytes| read(&bytes));
    }
    let shared = JsSharedArrayBuffer::from_object(object.clone()).ok()?;
    read(&shared.to_vec())
}

fn unconvertible(message: &str) -> ScriptError {
    ScriptError::new(ErrorCode::ValueNotConvertible, message)
}
