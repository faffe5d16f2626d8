//! Conversion of values, both ways.

use boa_engine::builtins::error::Error;
use boa_engine::builtins::promise::Promise;
use boa_engine::object::JsObject;
use boa_engine::object::builtins::JsArray;
use boa_engine::property::PropertyKey;
use boa_engine::value::JsVariant;
use boa_engine::{Context, JsBigInt, JsError, JsResult, JsString, JsValue};
use kemi_core::abi::Ret;
use kemi_core::engine::Runtime;
use kemi_core::value::ConversionBudget;
use kemi_core::{Arg, ErrorCode, Map, ScriptError, Value};

use crate::string::{self, Text};

/// The greatest integer up to which every integer is a double: 2^53.
const EXACT: i64 = 1 << 53;

/// The reason why a value cannot be converted.
pub(crate) enum ConvertError {
    /// A getter or proxy threw.
    Thrown(JsError),
    /// The value has no counterpart.
    Unconvertible(ScriptError),
}

impl From<JsError> for ConvertError {
    fn from(error: JsError) -> ConvertError {
        ConvertError::Thrown(error)
    }
}

impl From<ScriptError> for ConvertError {
    fn from(error: ScriptError) -> ConvertError {
        ConvertError::Unconvertible(error)
    }
}

/// An argument of a native function, with the memory that it borrows from.
pub(crate) enum HeldArg {
    Plain(Arg<'static>),
    Text(Text),
    Value(Value),
}

impl HeldArg {
    /// Takes an argument of a native call; arrays and objects are converted at once.
    pub(crate) fn new(
        value: &JsValue,
        budget: &mut ConversionBudget,
        context: &mut Context,
    ) -> Result<HeldArg, ConvertError> {
        Ok(match value.variant() {
            JsVariant::String(string) => HeldArg::Text(Text::new(string)),
            JsVariant::Object(object) => match foreign(&object) {
                Some(kind) => HeldArg::Plain(Arg::Foreign(kind)),
                None => HeldArg::Value(Converter::new(budget).object(&object, context)?),
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

/// Converts any value of the script.
pub(crate) fn to_value(value: &JsValue, context: &mut Context) -> Result<Value, ConvertError> {
    Converter::new(&mut ConversionBudget::new()).value(value, context)
}

/// Converts the result of a callback. It is the host's to hold and to free.
pub(crate) fn to_host(value: &JsValue, runtime: &Runtime, context: &mut Context) -> Result<Value, ConvertError> {
    if !value.is_object() {
        return runtime.host_side(|| to_value(value, context));
    }
    // The script's getters may run, so this is on its side; its result is freed there, and the copy is the host's.
    let given = to_value(value, context)?;
    Ok(runtime.host_side(|| given.clone()))
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
pub(crate) fn from_value(value: &Value, context: &mut Context) -> JsResult<JsValue> {
    Ok(match value {
        Value::Nil | Value::Function(_) => JsValue::null(),
        Value::Bool(b) => JsValue::new(*b),
        Value::Int(i) => from_int(*i),
        Value::Float(x) => JsValue::new(*x),
        Value::Str(s) | Value::Bytes(s) => JsValue::new(string::to_js(s)),
        Value::Array(items) => from_items(items, context)?,
        Value::Map(map) => {
            let object = JsObject::with_object_proto(context.intrinsics());
            for (key, item) in map {
                let item = from_value(item, context)?;
                object.create_data_property_or_throw(string::to_js(key), item, context)?;
            }
            object.into()
        }
    })
}

/// Converts an argument of a callback.
pub(crate) fn from_arg(arg: &Arg<'_>, context: &mut Context) -> JsResult<JsValue> {
    match arg {
        Arg::Nil => Ok(JsValue::null()),
        Arg::Bool(b) => Ok(JsValue::new(*b)),
        Arg::Int(i) => Ok(from_int(*i)),
        Arg::Float(x) => Ok(JsValue::new(*x)),
        Arg::Str(s) => Ok(string::to_js(s).into()),
        other => from_value(&other.to_value().unwrap_or_default(), context),
    }
}

/// Converts the result of a native call; bytes are copied at once, before anything uses the host's context.
pub(crate) fn from_ret(ret: Ret, runtime: &Runtime, context: &mut Context) -> JsResult<JsValue> {
    Ok(match ret {
        Ret::Nil => JsValue::null(),
        Ret::Bool(b) => JsValue::new(b),
        Ret::Int(i) => from_int(i),
        Ret::Float(x) => JsValue::new(x),
        // SAFETY: the native call has just returned, and neither script nor host has run since.
        Ret::Bytes(bytes) => string::to_js(unsafe { bytes.bytes() }).into(),
        Ret::Value(value) => {
            let result = from_value(&value, context);
            runtime.host_side(|| drop(value));
            result?
        }
        Ret::Tuple(items) => {
            let result = from_items(&items, context);
            runtime.host_side(|| drop(items));
            result?
        }
    })
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
        JsVariant::Object(object) => match to_value(value, context) {
            Ok(value) => value.to_string(),
            Err(_) => format!("[{}]", foreign(&object).unwrap_or("object")),
        },
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

fn from_items(items: &[Value], context: &mut Context) -> JsResult<JsValue> {
    let items = items.iter().map(|item| from_value(item, context)).collect::<JsResult<Vec<JsValue>>>()?;
    Ok(JsArray::from_iter(items, context).into())
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

/// Names the kind of an object that no export can take.
fn foreign(object: &JsObject) -> Option<&'static str> {
    if object.is_callable() {
        Some("function")
    } else if object.is_array() || object.is_ordinary() {
        None
    } else if object.is::<Promise>() {
        Some("promise")
    } else if object.is::<Error>() {
        Some("error object")
    } else {
        Some("special object")
    }
}

/// Converts one value with all it contains.
struct Converter<'a> {
    above: Vec<JsObject>,
    budget: &'a mut ConversionBudget,
}

impl<'a> Converter<'a> {
    fn new(budget: &'a mut ConversionBudget) -> Converter<'a> {
        Converter { above: Vec::new(), budget }
    }

    fn value(&mut self, value: &JsValue, context: &mut Context) -> Result<Value, ConvertError> {
        match value.variant() {
            JsVariant::Object(object) => match foreign(&object) {
                Some(kind) => Err(unconvertible(format!("a {kind} cannot be passed to the host")).into()),
                None => self.object(&object, context),
            },
            other => {
                if let JsVariant::String(text) = &other {
                    self.budget.bytes(text.len())?;
                }
                scalar(&other).map_err(|kind| unconvertible(format!("a {kind} cannot be passed to the host")).into())
            }
        }
    }

    fn object(&mut self, object: &JsObject, context: &mut Context) -> Result<Value, ConvertError> {
        if self.above.iter().any(|above| JsObject::equals(above, object)) {
            return Err(unconvertible("the value contains itself".to_owned()).into());
        }
        self.budget.enter()?;
        self.above.push(object.clone());
        let result = if object.is_array() { self.array(object, context) } else { self.map(object, context) };
        self.above.pop();
        self.budget.leave();
        result
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

fn unconvertible(message: String) -> ScriptError {
    ScriptError::new(ErrorCode::ValueNotConvertible, message)
}
