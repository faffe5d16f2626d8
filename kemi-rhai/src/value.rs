//! Values between Rhai and the host.

use kemi_core::abi::Ret;
use kemi_core::export::Param;
use kemi_core::registry::Export;
use kemi_core::value::{ConversionBudget, Type};
use kemi_core::{Arg, ByteString, ErrorCode, Map as KemiMap, ScriptError, Value};
use rhai::{Array, Blob, Dynamic, DynamicReadLock, FnPtr, ImmutableString, Map, NativeCallContext};

use crate::call::CallState;
use crate::error_object::ErrorObject;
use crate::objects::{ObjectHandle, object_to_dynamic};
use crate::string;

/// Converts the result of a function of the script.
///
/// # Errors
/// [`ErrorCode::ValueNotConvertible`] for a value of a type without counterpart, and one that is nested too deep or too large.
#[inline]
pub(crate) fn result_value(state: &CallState, value: &Dynamic) -> Result<Value, ScriptError> {
    if value.is_unit() {
        return Ok(Value::Nil);
    }
    ToHost::new("the result", Some(Keeper { state, call: None })).convert(value, Type::Any)
}

/// Converts a value that holds no function.
///
/// # Errors
/// As [`result_value`]; also for functions.
pub(crate) fn plain_value(value: &Dynamic) -> Result<Value, ScriptError> {
    ToHost::new("the value", None).convert(value, Type::Any)
}

/// Converts the result of a native call.
///
/// # Errors
/// [`ErrorCode::FunctionGone`] or [`ErrorCode::ForeignId`] for a function that is not of this interpreter's script.
pub(crate) fn ret_to_dynamic(state: &CallState, ret: Ret) -> Result<Dynamic, ScriptError> {
    Ok(match ret {
        Ret::Nil => Dynamic::UNIT,
        Ret::Bool(b) => b.into(),
        Ret::Int(i) => i.into(),
        Ret::Float(x) => x.into(),
        // SAFETY: the engine calls this right after the native function returned, before the context is used again.
        Ret::Bytes(bytes) => bytes_to_dynamic(unsafe { bytes.bytes() }),
        Ret::Value(value) => {
            let converted = value_to_dynamic(state, &value);
            state.runtime().host_side(|| drop(value));
            converted?
        }
        Ret::Tuple(items) => {
            let converted = items.iter().map(|item| value_to_dynamic(state, item)).collect::<Result<Array, _>>();
            state.runtime().host_side(|| drop(items));
            Dynamic::from_array(converted?)
        }
    })
}

/// Converts a host's argument to a function of the script.
///
/// # Errors
/// As [`ret_to_dynamic`]; an argument that stands for no value.
#[inline]
pub(crate) fn arg_to_dynamic(state: &CallState, arg: &Arg<'_>) -> Result<Dynamic, ScriptError> {
    Ok(match *arg {
        Arg::Nil => Dynamic::UNIT,
        Arg::Bool(b) => b.into(),
        Arg::Int(i) => i.into(),
        Arg::Float(x) => x.into(),
        Arg::Str(bytes) => bytes_to_dynamic(bytes),
        Arg::Value(value) => value_to_dynamic(state, value)?,
        Arg::Object(object) => object_to_dynamic(state, object),
        _ => return Err(refuse(format!("the host passes {}, which is no value", with_article(arg.type_name())))),
    })
}

/// Makes a string of the script.
pub(crate) fn bytes_to_dynamic(bytes: &[u8]) -> Dynamic {
    ImmutableString::from(&*string::encode(bytes)).into()
}

/// Converts a value of the host.
///
/// # Errors
/// As [`ret_to_dynamic`].
pub(crate) fn value_to_dynamic(state: &CallState, value: &Value) -> Result<Dynamic, ScriptError> {
    Ok(match value {
        Value::Nil => Dynamic::UNIT,
        Value::Bool(b) => (*b).into(),
        Value::Int(i) => (*i).into(),
        Value::Float(x) => (*x).into(),
        Value::Str(bytes) => bytes_to_dynamic(bytes),
        Value::Bytes(bytes) => Dynamic::from_blob(bytes.to_vec()),
        Value::Array(items) => {
            Dynamic::from_array(items.iter().map(|item| value_to_dynamic(state, item)).collect::<Result<_, _>>()?)
        }
        Value::Map(map) => {
            let entry = |(key, item): (&ByteString, &Value)| {
                Ok::<_, ScriptError>(((&*string::encode(key)).into(), value_to_dynamic(state, item)?))
            };
            Dynamic::from_map(map.iter().map(entry).collect::<Result<_, _>>()?)
        }
        Value::Function(function) => state.functions().give_back(state.runtime(), function)?,
        Value::Object(object) => object_to_dynamic(state, object),
    })
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
    Object(ObjectHandle),
}

impl<'a> HeldArg<'a> {
    /// Looks at an argument for a parameter of the export.
    ///
    /// # Errors
    /// As [`result_value`]; a value without counterpart is no error here but an argument that no export takes.
    pub(crate) fn of(
        value: &'a Dynamic,
        wanted: Option<&Param>,
        to_host: &mut ToHost<'_>,
    ) -> Result<HeldArg<'a>, ScriptError> {
        if let Some(held) = HeldArg::plain(value) {
            return Ok(held);
        }
        match foreign(value) {
            Some(name) => Ok(match ObjectHandle::of(value) {
                Some(handle) => HeldArg::Object(handle),
                None => HeldArg::Scalar(Arg::Foreign(name)),
            }),
            None => to_host.convert(value, wanted.map_or(Type::Any, |param| param.ty)).map(HeldArg::Owned),
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
            HeldArg::Object(handle) => Arg::Object(handle.object()),
        }
    }
}

/// Names the type of a value that has no counterpart; containers, texts, functions and scalars have one.
fn foreign(value: &Dynamic) -> Option<&'static str> {
    let convertible = value.is_array()
        || value.is_map()
        || value.is_blob()
        || value.is_char()
        || value.is_string()
        || value.is_fnptr()
        || value.is::<ErrorObject>();
    // A shared value that is being written to shows no type that can be read.
    (!convertible && !value.is_shared()).then(|| match value.type_name() {
        "core::ops::range::Range<i64>" | "core::ops::range::RangeInclusive<i64>" => "range",
        name => {
            let path = name.split('<').next().unwrap_or(name);
            path.rsplit("::").next().unwrap_or(path)
        }
    })
}

/// Whoever keeps the functions of the script for the host.
#[derive(Clone, Copy)]
pub(crate) struct Keeper<'a> {
    pub(crate) state: &'a CallState,
    /// The native call that a function is an argument of.
    pub(crate) call: Option<&'a NativeCallContext<'a>>,
}

/// One conversion from the script to the host.
pub(crate) struct ToHost<'a> {
    /// What is converted, for messages.
    subject: &'static str,
    keeper: Option<Keeper<'a>>,
    budget: ConversionBudget,
    depth: usize,
}

impl<'a> ToHost<'a> {
    pub(crate) fn new(subject: &'static str, keeper: Option<Keeper<'a>>) -> ToHost<'a> {
        ToHost { subject, keeper, budget: ConversionBudget::new(), depth: 0 }
    }

    /// Converts a value; where a text is wanted, a blob becomes one.
    fn convert(&mut self, value: &Dynamic, wanted: Type) -> Result<Value, ScriptError> {
        let wanted = if let Type::Option(inner) = wanted { *inner } else { wanted };
        Ok(if value.is_unit() {
            Value::Nil
        } else if let Ok(b) = value.as_bool() {
            Value::Bool(b)
        } else if let Ok(i) = value.as_int() {
            Value::Int(i)
        } else if let Ok(x) = value.as_float() {
            Value::Float(x)
        } else if let Ok(c) = value.as_char() {
            Value::Str(self.copied(&string::decode(c.encode_utf8(&mut [0; 4])))?)
        } else if let Some(text) = value.read_lock::<ImmutableString>() {
            Value::Str(self.copied(&string::decode(&text))?)
        } else if let Some(blob) = value.read_lock::<Blob>() {
            let bytes = self.copied(&blob)?;
            if matches!(wanted, Type::Str | Type::Callback) { Value::Str(bytes) } else { Value::Bytes(bytes) }
        } else if let Some(items) = value.read_lock::<Array>() {
            let wanted = if let Type::Array(element) = wanted { *element } else { Type::Any };
            self.enter()?;
            let mut list = Vec::new();
            for item in items.iter() {
                self.budget.element()?;
                list.push(self.convert(item, wanted)?);
            }
            self.leave();
            Value::Array(list)
        } else if let Some(entries) = value.read_lock::<Map>() {
            let wanted = if let Type::Map(element) = wanted { *element } else { Type::Any };
            self.enter()?;
            let mut map = KemiMap::new();
            for (key, item) in entries.iter() {
                self.budget.element()?;
                let key = self.copied(&string::decode(key))?;
                map.insert(key, self.convert(item, wanted)?);
            }
            self.leave();
            Value::Map(map)
        } else if let Some(error) = value.read_lock::<ErrorObject>() {
            Value::Str(self.copied(&string::decode(error.text()))?)
        } else if let (Some(pointer), Some(keeper)) = (value.read_lock::<FnPtr>(), self.keeper) {
            let Keeper { state, call } = keeper;
            Value::Function(state.functions().keep(state.runtime(), state.program(), &pointer, call)?)
        } else if let Some(handle) = ObjectHandle::of(value) {
            Value::Object(handle.object().clone())
        } else {
            return Err(self.refuse(value));
        })
    }

    fn enter(&mut self) -> Result<(), ScriptError> {
        self.depth += 1;
        self.budget.enter()
    }

    fn leave(&mut self) {
        self.depth -= 1;
        self.budget.leave();
    }

    fn copied(&mut self, bytes: &[u8]) -> Result<ByteString, ScriptError> {
        self.budget.bytes(bytes.len())?;
        Ok(bytes.into())
    }

    #[cold]
    fn refuse(&self, value: &Dynamic) -> ScriptError {
        let name = if value.is_fnptr() { "function" } else { foreign(value).unwrap_or("value that is in use") };
        let verb = if self.depth == 0 { "is" } else { "holds" };
        let name = with_article(name);
        refuse(format!("{} {verb} {name}, which has no counterpart outside the script", self.subject))
    }
}

fn with_article(name: &str) -> String {
    let article = if name.starts_with(['a', 'e', 'i', 'o', 'A', 'E', 'I', 'O']) { "an" } else { "a" };
    format!("{article} {name}")
}

#[cold]
fn refuse(message: String) -> ScriptError {
    ScriptError::new(ErrorCode::ValueNotConvertible, message)
}
