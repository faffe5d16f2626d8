//! Values between Rhai and the host.

use kemi_core::abi::Ret;
use kemi_core::engine::Runtime;
use kemi_core::registry::Export;
use kemi_core::value::ConversionBudget;
use kemi_core::{Arg, ByteString, ErrorCode, Map as KemiMap, ScriptError, Value};
use rhai::{Array, Blob, Dynamic, DynamicReadLock, ImmutableString, Map};

use crate::error_object::ErrorObject;
use crate::string;

/// Converts a value of the script.
///
/// # Errors
/// [`ErrorCode::ValueNotConvertible`] for a function, a value of another type without counterpart, and one that is
/// nested too deep or too large.
pub(crate) fn to_value(value: &Dynamic) -> Result<Value, ScriptError> {
    convert(value, &mut ConversionBudget::new())
}

/// Converts the result of a native call.
pub(crate) fn ret_to_dynamic(runtime: &Runtime, ret: Ret) -> Dynamic {
    match ret {
        Ret::Nil => Dynamic::UNIT,
        Ret::Bool(b) => b.into(),
        Ret::Int(i) => i.into(),
        Ret::Float(x) => x.into(),
        // SAFETY: the engine calls this right after the native function returned, before the context is used again.
        Ret::Bytes(bytes) => bytes_to_dynamic(unsafe { bytes.bytes() }),
        Ret::Value(value) => {
            let converted = value_to_dynamic(&value);
            runtime.host_side(|| drop(value));
            converted
        }
        Ret::Tuple(items) => {
            let converted = Dynamic::from_array(items.iter().map(value_to_dynamic).collect());
            runtime.host_side(|| drop(items));
            converted
        }
    }
}

/// Converts a host's argument to a callback; `None` for one that stands for no value.
pub(crate) fn arg_to_dynamic(arg: &Arg<'_>) -> Option<Dynamic> {
    Some(match *arg {
        Arg::Nil => Dynamic::UNIT,
        Arg::Bool(b) => b.into(),
        Arg::Int(i) => i.into(),
        Arg::Float(x) => x.into(),
        Arg::Str(bytes) => bytes_to_dynamic(bytes),
        Arg::Value(value) => value_to_dynamic(value),
        _ => return None,
    })
}

/// Makes a string of the script.
pub(crate) fn bytes_to_dynamic(bytes: &[u8]) -> Dynamic {
    ImmutableString::from(&*string::encode(bytes)).into()
}

fn value_to_dynamic(value: &Value) -> Dynamic {
    match value {
        Value::Nil | Value::Function(_) => Dynamic::UNIT,
        Value::Bool(b) => (*b).into(),
        Value::Int(i) => (*i).into(),
        Value::Float(x) => (*x).into(),
        Value::Str(bytes) | Value::Bytes(bytes) => bytes_to_dynamic(bytes),
        Value::Array(items) => Dynamic::from_array(items.iter().map(value_to_dynamic).collect()),
        Value::Map(map) => Dynamic::from_map(
            map.iter().map(|(key, item)| ((&*string::encode(key)).into(), value_to_dynamic(item))).collect(),
        ),
    }
}

/// The most parameters of any type that Rhai resolves.
const MAX_PARAMETERS: usize = rhai::default_limits::MAX_DYNAMIC_PARAMETERS;

/// How many arguments each function can at least be called with, so that too many are its own error.
const LEAST_ARITIES: usize = 6;

/// Returns how many arguments a function can be called with before Rhai itself says that there is no such function.
pub(crate) fn most_arguments(export: &Export) -> usize {
    export.def().max_args().map_or(MAX_PARAMETERS, |most| (most + 1).clamp(LEAST_ARITIES, MAX_PARAMETERS))
}

/// One argument of a native call, which must outlive the call's start.
pub(crate) enum HeldArg<'a> {
    Scalar(Arg<'static>),
    Text(DynamicReadLock<'a, ImmutableString>),
    Owned(Value),
}

impl<'a> HeldArg<'a> {
    /// Looks at an argument.
    ///
    /// # Errors
    /// As [`to_value`]; a function is no error here but an argument that no export takes.
    pub(crate) fn of(value: &'a Dynamic, budget: &mut ConversionBudget) -> Result<HeldArg<'a>, ScriptError> {
        if let Some(held) = HeldArg::plain(value) {
            return Ok(held);
        }
        match foreign(value) {
            Some(name) => Ok(HeldArg::Scalar(Arg::Foreign(name))),
            None => convert(value, budget).map(HeldArg::Owned),
        }
    }

    /// Looks at an argument that need not be copied.
    pub(crate) fn plain(value: &'a Dynamic) -> Option<HeldArg<'a>> {
        if let Ok(i) = value.as_int() {
            return Some(HeldArg::Scalar(Arg::Int(i)));
        }
        if let Some(text) = value.read_lock::<ImmutableString>() {
            return (!string::may_hold_escapes(&text)).then_some(HeldArg::Text(text));
        }
        if let Ok(b) = value.as_bool() {
            return Some(HeldArg::Scalar(Arg::Bool(b)));
        }
        if let Ok(x) = value.as_float() {
            return Some(HeldArg::Scalar(Arg::Float(x)));
        }
        value.is_unit().then_some(HeldArg::Scalar(Arg::Nil))
    }

    /// Lends the argument.
    pub(crate) fn arg(&self) -> Arg<'_> {
        match self {
            HeldArg::Scalar(arg) => *arg,
            HeldArg::Text(text) => Arg::Str(text.as_bytes()),
            HeldArg::Owned(value) => value.into(),
        }
    }
}

/// Names the type of a value that has no counterpart; containers, texts and scalars have one.
fn foreign(value: &Dynamic) -> Option<&'static str> {
    if value.is_fnptr() {
        return Some("function");
    }
    let convertible = value.is_array()
        || value.is_map()
        || value.is_blob()
        || value.is_char()
        || value.is_string()
        || value.is::<ErrorObject>();
    // A shared value that is being written to shows no type that can be read.
    (!convertible && !value.is_shared()).then(|| match value.type_name() {
        "timestamp" => "timestamp",
        "range" | "core::ops::range::Range<i64>" | "core::ops::range::RangeInclusive<i64>" => "range",
        _ => "object",
    })
}

fn convert(value: &Dynamic, budget: &mut ConversionBudget) -> Result<Value, ScriptError> {
    Ok(if value.is_unit() {
        Value::Nil
    } else if let Ok(b) = value.as_bool() {
        Value::Bool(b)
    } else if let Ok(i) = value.as_int() {
        Value::Int(i)
    } else if let Ok(x) = value.as_float() {
        Value::Float(x)
    } else if let Ok(c) = value.as_char() {
        Value::Str(copied(&string::decode(c.encode_utf8(&mut [0; 4])), budget)?)
    } else if let Some(text) = value.read_lock::<ImmutableString>() {
        Value::Str(copied(&string::decode(&text), budget)?)
    } else if let Some(blob) = value.read_lock::<Blob>() {
        Value::Str(copied(&blob, budget)?)
    } else if let Some(items) = value.read_lock::<Array>() {
        budget.enter()?;
        let mut list = Vec::new();
        for item in items.iter() {
            budget.element()?;
            list.push(convert(item, budget)?);
        }
        budget.leave();
        Value::Array(list)
    } else if let Some(entries) = value.read_lock::<Map>() {
        budget.enter()?;
        let mut map = KemiMap::new();
        for (key, item) in entries.iter() {
            budget.element()?;
            let key = copied(&string::decode(key), budget)?;
            map.insert(key, convert(item, budget)?);
        }
        budget.leave();
        Value::Map(map)
    } else if let Some(error) = value.read_lock::<ErrorObject>() {
        Value::Str(copied(&string::decode(error.text()), budget)?)
    } else {
        let name = foreign(value).unwrap_or("value that is in use");
        return Err(refuse(format!("a {name} has no counterpart outside of the script")));
    })
}

fn copied(bytes: &[u8], budget: &mut ConversionBudget) -> Result<ByteString, ScriptError> {
    budget.bytes(bytes.len())?;
    Ok(bytes.into())
}

fn refuse(message: String) -> ScriptError {
    ScriptError::new(ErrorCode::ValueNotConvertible, message)
}
