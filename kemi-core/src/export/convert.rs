//! Conversions between script values and Rust types.

use std::collections::BTreeMap;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::abi::{Out, RawArg, RawBytes, RawOut, RawRet, Ret};
use crate::error::{ErrorCode, IntoNativeError, NativeError, ScriptError};
use crate::value::{Arg, ByteString, Function, Map, SerdeError, Type, Value};

/// The mismatch of a value and the type that was wanted, with the way to it from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// The type that was wanted; empty if the value does not fit for another reason.
    pub expected: String,
    /// The type or value that was given, or the reason.
    pub got: String,
    /// The way to the value within the whole, innermost step first.
    path: Vec<Step>,
}

/// One step of the way to a value.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    /// An element of a list, counted from 0.
    Index(usize),
    /// The value under a key.
    Key(String),
}

impl Mismatch {
    /// Describes a value of the wrong type.
    #[must_use]
    pub fn of(expected: Type, arg: &Arg<'_>) -> Mismatch {
        let got = match arg.scalar() {
            Arg::Int(i) => format!("integer {i}"),
            Arg::Float(x) => format!("float {x:?}"),
            Arg::Str(s) if s.len() <= 40 => format!("string \"{}\"", s.escape_ascii()),
            Arg::Str(s) => format!("string of {} bytes", s.len()),
            other => other.type_name().to_owned(),
        };
        Mismatch::new(expected.to_string(), got)
    }

    /// Describes a mismatch in words.
    #[must_use]
    pub fn new(expected: impl Into<String>, got: impl Into<String>) -> Mismatch {
        Mismatch { expected: expected.into(), got: got.into(), path: Vec::new() }
    }

    /// Describes a value that does not fit for a reason that names no type.
    #[must_use]
    pub fn because(reason: impl Into<String>) -> Mismatch {
        Mismatch::new("", reason)
    }

    /// Says that the value is an element of a list, counted from 0.
    #[must_use]
    pub fn in_element(mut self, index: usize) -> Mismatch {
        self.path.push(Step::Index(index));
        self
    }

    /// Says that the value stands under a key.
    #[must_use]
    pub fn in_key(mut self, key: impl Into<String>) -> Mismatch {
        self.path.push(Step::Key(key.into()));
        self
    }

    /// Returns the way to the value from outside, such as `items[2].price`; empty for the whole.
    ///
    /// `first` is the index of a list's first element in the language of the script.
    #[must_use]
    pub fn path(&self, first: usize) -> String {
        let mut path = String::new();
        for step in self.path.iter().rev() {
            match step {
                Step::Index(index) => path.push_str(&format!("[{}]", index + first)),
                Step::Key(key) if is_plain(key) => {
                    path.push_str(if path.is_empty() { "" } else { "." });
                    path.push_str(key);
                }
                Step::Key(key) => path.push_str(&format!("[{key:?}]")),
            }
        }
        path
    }

    /// Describes the mismatch in a sentence: `items[2].price: expected float, got string "free"`.
    #[must_use]
    pub fn describe(&self, first: usize) -> String {
        let path = self.path(first);
        let colon = if path.is_empty() { "" } else { ": " };
        if self.expected.is_empty() {
            return format!("{path}{colon}{}", self.got);
        }
        format!("{path}{colon}expected {}, got {}", self.expected, self.got)
    }
}

/// Returns whether a key can stand in a path without quotes.
fn is_plain(key: &str) -> bool {
    !key.is_empty() && key.chars().all(|c| c == '_' || c.is_alphanumeric())
}

/// A type that a parameter of an export may have.
///
/// Implemented for `bool`, all integers up to 64 bits (range-checked), `f32`, `f64`, `&str` (valid UTF-8), `&[u8]`,
/// [`ByteString`], [`Blob`], `String`, [`CallbackName`], [`Function`], [`Value`], `Vec<T>`, `BTreeMap<K, T>` with text keys,
/// `Option<T>` (for trailing optional parameters; nil counts as not given) and [`Rest`], and by `#[derive(kemi::Value)]` for types
/// of the host. A callback's result is converted by it, too.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a parameter of an exported function",
    label = "not a type that a script can pass",
    note = "take bool, an integer, f64, &str, &[u8], String, ByteString, Blob, Function, Value, Vec<T>, BTreeMap<String, T>, \
            Option<T>, a trailing Rest<'_> or a type with `#[derive(kemi::Value)]`; the host's context is `&mut C` and \
            comes first"
)]
pub trait FromArg<'a>: Sized {
    /// The type in the registry.
    const TYPE: Type;
    /// Whether the argument may be left out.
    const OPTIONAL: bool = false;
    /// The form in which a typed trampoline passes it.
    type Raw: RawArg;

    /// Converts an argument, without any leniency.
    ///
    /// # Errors
    /// The mismatch, with the expected and the given type.
    fn from_arg(arg: &Arg<'a>) -> Result<Self, Mismatch>;

    /// Converts the argument of a typed trampoline.
    ///
    /// # Errors
    /// As [`from_arg`](Self::from_arg).
    fn from_raw(raw: &'a Self::Raw) -> Result<Self, Mismatch>;
}

/// A type that an export may return.
///
/// Implemented for `()`, `bool`, integers, floats, `&str`, `&[u8]` (borrowed from the context: the fastest way to
/// return text), `String`, [`ByteString`], [`Value`], `Option<T>`, `Vec<T>`, `BTreeMap<K, T>`, [`Blob`], [`Function`], [`Serde`], tuples
/// (several results), [`Out`], `Result<T, E>` of these and types with `#[derive(kemi::Value)]`. Sealed: bytes that a result borrows must live in the context.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the result of an exported function",
    label = "not a type that a script can receive",
    note = "return nothing, bool, an integer, f64, &str, &[u8], String, ByteString, Blob, Value, Option<T>, Vec<T>, \
            BTreeMap<String, T>, a tuple of these, a type with `#[derive(kemi::Value)]`, or Result<T, E> where E is an \
            error type, text or NativeExit"
)]
pub trait IntoRet: Sized + sealed::Sealed {
    /// The type in the registry.
    const RETURNS: Type;
    /// The form in which a typed trampoline receives it.
    type Raw: RawRet;

    /// Converts the result.
    ///
    /// # Errors
    /// The native error to raise in the script.
    fn into_raw(self) -> Result<Self::Raw, Box<NativeError>>;
}

/// A type that can stand inside a list, map, tuple or option result.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot go to a script",
    label = "not a type that a script can receive",
    note = "derive it: `#[derive(kemi::Value)]`, or wrap a type of serde: `Serde<T>`"
)]
pub trait IntoValue {
    /// The type in the registry.
    const ELEMENT: Type;
    /// Converts into an owned value.
    ///
    /// # Errors
    /// [`ErrorCode::NativeError`] when the value has no counterpart, such as a `u64` beyond `i64::MAX`.
    fn into_value(self) -> Result<Value, Box<NativeError>>;
}

/// A type of the host's own that an export returns, and a callback is given, as an owned value.
///
/// `#[derive(kemi::Value)]` implements it; for a type with an [`IntoValue`] written by hand,
/// [`owned_result!`](crate::owned_result) does.
pub trait OwnedResult: IntoValue {}

/// Lets exports return a type that implements [`IntoValue`](crate::export::IntoValue), and callbacks take it.
///
/// ```
/// use kemi_core::export::IntoValue;
/// use kemi_core::{NativeError, Value};
///
/// struct Cents(i64);
///
/// impl IntoValue for Cents {
///     const ELEMENT: kemi_core::value::Type = kemi_core::value::Type::Float;
///     fn into_value(self) -> Result<Value, Box<NativeError>> {
///         Ok(Value::Float(self.0 as f64 / 100.0))
///     }
/// }
/// kemi_core::owned_result!(Cents);
/// ```
#[macro_export]
macro_rules! owned_result {
    ($ty:ty) => {
        impl $crate::export::OwnedResult for $ty {}
        impl $crate::__private::Sealed for $ty {}
        impl $crate::export::IntoRet for $ty {
            const RETURNS: $crate::value::Type = <$ty as $crate::export::IntoValue>::ELEMENT;
            type Raw = $crate::abi::Ret;
            fn into_raw(self) -> ::core::result::Result<$crate::abi::Ret, ::std::boxed::Box<$crate::NativeError>> {
                $crate::export::IntoValue::into_value(self).map($crate::abi::Ret::Value)
            }
        }
    };
}

/// The variadic tail of an export: all remaining arguments. It is always the last parameter.
#[derive(Clone, Copy, Debug)]
pub struct Rest<'a>(pub &'a [Arg<'a>]);

impl<'a> std::ops::Deref for Rest<'a> {
    type Target = [Arg<'a>];
    fn deref(&self) -> &[Arg<'a>] {
        self.0
    }
}

fn expected_int(min: i64, max: i64) -> Type {
    Type::Int { min, max }
}

macro_rules! integers {
    ($($int:ty, $min:expr, $max:expr;)*) => {$(
        impl<'a> FromArg<'a> for $int {
            const TYPE: Type = Type::Int { min: $min, max: $max };
            type Raw = i64;

            fn from_arg(arg: &Arg<'a>) -> Result<Self, Mismatch> {
                match arg.scalar() {
                    Arg::Int(i) => Self::from_raw(&i),
                    _ => Err(Mismatch::of(Self::TYPE, arg)),
                }
            }

            #[inline]
            fn from_raw(raw: &i64) -> Result<Self, Mismatch> {
                <$int>::try_from(*raw).map_err(|_| Mismatch::of(expected_int($min, $max), &Arg::Int(*raw)))
            }
        }

        impl IntoRet for $int {
            const RETURNS: Type = Type::Int { min: $min, max: $max };
            type Raw = i64;

            #[inline]
            fn into_raw(self) -> Result<i64, Box<NativeError>> {
                i64::try_from(self).map_err(|_| {
                    ScriptError::new(ErrorCode::NativeError, format!("result {self} does not fit 64 signed bits")).into()
                })
            }
        }

        impl IntoValue for $int {
            const ELEMENT: Type = <$int as IntoRet>::RETURNS;
            fn into_value(self) -> Result<Value, Box<NativeError>> {
                self.into_raw().map(Value::Int)
            }
        }
    )*};
}

integers! {
    i8, i8::MIN as i64, i8::MAX as i64;
    i16, i16::MIN as i64, i16::MAX as i64;
    i32, i32::MIN as i64, i32::MAX as i64;
    i64, i64::MIN, i64::MAX;
    isize, i64::MIN, i64::MAX;
    u16, 0, u16::MAX as i64;
    u32, 0, u32::MAX as i64;
    u64, 0, i64::MAX;
    usize, 0, i64::MAX;
    u8, 0, u8::MAX as i64;
}

impl<'a> FromArg<'a> for bool {
    const TYPE: Type = Type::Bool;
    type Raw = bool;

    fn from_arg(arg: &Arg<'a>) -> Result<Self, Mismatch> {
        match arg.scalar() {
            Arg::Bool(b) => Ok(b),
            _ => Err(Mismatch::of(Type::Bool, arg)),
        }
    }

    #[inline]
    fn from_raw(raw: &bool) -> Result<Self, Mismatch> {
        Ok(*raw)
    }
}

macro_rules! floats {
    ($($float:ty)*) => {$(
        impl<'a> FromArg<'a> for $float {
            const TYPE: Type = Type::Float;
            type Raw = f64;

            fn from_arg(arg: &Arg<'a>) -> Result<Self, Mismatch> {
                match arg.scalar() {
                    Arg::Float(x) => Ok(x as $float),
                    Arg::Int(i) => Ok(i as $float),
                    _ => Err(Mismatch::of(Type::Float, arg)),
                }
            }

            #[inline]
            fn from_raw(raw: &f64) -> Result<Self, Mismatch> {
                Ok(*raw as $float)
            }
        }
    )*};
}

floats! { f32 f64 }

impl<'a> FromArg<'a> for &'a [u8] {
    const TYPE: Type = Type::Bytes;
    type Raw = RawBytes;

    fn from_arg(arg: &Arg<'a>) -> Result<Self, Mismatch> {
        match *arg {
            Arg::Str(s) => Ok(s),
            Arg::Value(Value::Str(s) | Value::Bytes(s)) => Ok(s),
            _ => Err(Mismatch::of(Type::Bytes, arg)),
        }
    }

    #[inline]
    fn from_raw(raw: &'a RawBytes) -> Result<Self, Mismatch> {
        Ok(raw.bytes())
    }
}

#[inline]
fn utf8(bytes: &[u8]) -> Result<&str, Mismatch> {
    // Most arguments are short names, for which this is faster than the decoder.
    if bytes.len() <= SHORT && bytes.iter().fold(0, |all, byte| all | byte) < 0x80 {
        // SAFETY: ASCII is UTF-8.
        return Ok(unsafe { std::str::from_utf8_unchecked(bytes) });
    }
    checked_utf8(bytes)
}

/// The length up to which a string is checked byte by byte.
const SHORT: usize = 16;

fn checked_utf8(bytes: &[u8]) -> Result<&str, Mismatch> {
    std::str::from_utf8(bytes).map_err(|error| {
        let got = format!("a string of {} bytes, invalid at byte {}", bytes.len(), error.valid_up_to());
        Mismatch::new("a string of valid UTF-8", got)
    })
}

impl<'a> FromArg<'a> for &'a str {
    const TYPE: Type = Type::Str;
    type Raw = RawBytes;

    fn from_arg(arg: &Arg<'a>) -> Result<Self, Mismatch> {
        match *arg {
            Arg::Str(s) => utf8(s),
            Arg::Value(Value::Str(s)) => utf8(s),
            _ => Err(Mismatch::of(Type::Str, arg)),
        }
    }

    #[inline]
    fn from_raw(raw: &'a RawBytes) -> Result<Self, Mismatch> {
        raw.known_text().map_or_else(|| utf8(raw.bytes()), Ok)
    }
}

/// The name of a function of the script, for a later call.
///
/// For such a parameter, instead of `&str`, names that a script spells out are checked when the script is loaded. Computed
/// names are checked by [`Script::callback`](crate::Script::callback).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallbackName<'a>(&'a str);

impl<'a> CallbackName<'a> {
    /// Wraps a name.
    #[must_use]
    pub fn new(name: &'a str) -> CallbackName<'a> {
        CallbackName(name)
    }

    /// Returns the name; `None` for the empty one, which stands for no callback.
    #[must_use]
    pub fn get(self) -> Option<&'a str> {
        (!self.0.is_empty()).then_some(self.0)
    }
}

impl<'a> FromArg<'a> for CallbackName<'a> {
    const TYPE: Type = Type::Callback;
    type Raw = RawBytes;

    fn from_arg(arg: &Arg<'a>) -> Result<Self, Mismatch> {
        match arg.scalar() {
            Arg::Str(_) => <&str>::from_arg(arg).map(CallbackName),
            _ => Err(Mismatch::of(Type::Callback, arg)),
        }
    }

    fn from_raw(raw: &'a RawBytes) -> Result<Self, Mismatch> {
        <&str>::from_raw(raw).map(CallbackName)
    }
}

impl<'a> FromArg<'a> for String {
    const TYPE: Type = Type::Str;
    type Raw = RawBytes;

    fn from_arg(arg: &Arg<'a>) -> Result<Self, Mismatch> {
        <&str>::from_arg(arg).map(str::to_owned)
    }

    #[inline]
    fn from_raw(raw: &'a RawBytes) -> Result<Self, Mismatch> {
        <&str>::from_raw(raw).map(str::to_owned)
    }
}

impl<'a> FromArg<'a> for ByteString {
    const TYPE: Type = Type::Bytes;
    type Raw = RawBytes;

    fn from_arg(arg: &Arg<'a>) -> Result<Self, Mismatch> {
        <&[u8]>::from_arg(arg).map(ByteString::from)
    }

    #[inline]
    fn from_raw(raw: &'a RawBytes) -> Result<Self, Mismatch> {
        Ok(raw.bytes().into())
    }
}

/// Parameters that only the generic path can pass.
macro_rules! generic_only {
    () => {
        type Raw = Ret;

        #[inline]
        fn from_raw(raw: &'a Ret) -> Result<Self, Mismatch> {
            Self::from_arg(&raw.as_arg())
        }
    };
}

impl<'a> FromArg<'a> for Value {
    const TYPE: Type = Type::Any;
    generic_only!();

    fn from_arg(arg: &Arg<'a>) -> Result<Self, Mismatch> {
        arg.to_value().ok_or_else(|| Mismatch::of(Type::Any, arg))
    }
}

impl<'a, T: FromArg<'a>> FromArg<'a> for Vec<T> {
    const TYPE: Type = Type::Array(&T::TYPE);
    generic_only!();

    fn from_arg(arg: &Arg<'a>) -> Result<Self, Mismatch> {
        match arg {
            Arg::Value(Value::Array(items)) => items
                .iter()
                .enumerate()
                .map(|(i, item)| T::from_arg(&item.into()).map_err(|mismatch| mismatch.in_element(i)))
                .collect(),
            _ => Err(Mismatch::of(Self::TYPE, arg)),
        }
    }
}

/// A type that a key of a map may have: text, or text of any bytes.
pub trait MapKey: Ord + Sized {
    /// Converts the key of a script's map.
    ///
    /// # Errors
    /// A key that is not valid UTF-8 where that is needed.
    fn from_key(key: &ByteString) -> Result<Self, Mismatch>;

    /// Converts into the key of a script's map.
    fn into_key(self) -> ByteString;
}

impl MapKey for ByteString {
    fn from_key(key: &ByteString) -> Result<ByteString, Mismatch> {
        Ok(key.clone())
    }

    fn into_key(self) -> ByteString {
        self
    }
}

impl MapKey for String {
    fn from_key(key: &ByteString) -> Result<String, Mismatch> {
        utf8(key).map(str::to_owned)
    }

    fn into_key(self) -> ByteString {
        self.into()
    }
}

impl<'a, K: MapKey, T: FromArg<'a>> FromArg<'a> for BTreeMap<K, T> {
    const TYPE: Type = Type::Map(&T::TYPE);
    generic_only!();

    fn from_arg(arg: &Arg<'a>) -> Result<Self, Mismatch> {
        match arg {
            Arg::Value(Value::Map(map)) => map
                .iter()
                .map(|(key, item)| {
                    let within = |mismatch: Mismatch| mismatch.in_key(key.to_string());
                    Ok((K::from_key(key).map_err(within)?, T::from_arg(&item.into()).map_err(within)?))
                })
                .collect(),
            // An empty table or object may be meant as either.
            Arg::Value(Value::Array(items)) if items.is_empty() => Ok(BTreeMap::new()),
            _ => Err(Mismatch::of(Self::TYPE, arg)),
        }
    }
}

/// Bytes in the language's own type for them: `bytes` in Python, a `Uint8Array` in JavaScript, a blob in Rhai, a string in Lua.
///
/// As a parameter it takes a string as well. `&[u8]` and [`ByteString`] are text of any bytes instead.
///
/// ```
/// use kemi_core::export::Blob;
///
/// let digest = Blob(vec![0xff, 0x00]);
/// assert_eq!(digest.0.len(), 2);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Blob(pub Vec<u8>);

impl<'a> FromArg<'a> for Blob {
    const TYPE: Type = Type::Blob;
    generic_only!();

    fn from_arg(arg: &Arg<'a>) -> Result<Self, Mismatch> {
        match <&[u8]>::from_arg(arg) {
            Ok(bytes) => Ok(Blob(bytes.to_vec())),
            Err(_) => Err(Mismatch::of(Type::Blob, arg)),
        }
    }
}

impl IntoValue for Blob {
    const ELEMENT: Type = Type::Blob;
    fn into_value(self) -> Result<Value, Box<NativeError>> {
        Ok(Value::Bytes(self.0.into()))
    }
}

impl OwnedResult for Blob {}

/// Any type that serde can read or write, as a parameter or result.
///
/// In scripts it is what serde makes of it: a struct is a map, a variant without fields a string. The dump knows it as `any`;
/// `#[derive(kemi::Value)]` describes a type there as well.
///
/// ```
/// use kemi_core::export::{FromArg, Serde};
/// use kemi_core::{Arg, Map, Value};
///
/// #[derive(serde::Deserialize)]
/// struct Options {
///     retries: u8,
/// }
///
/// let given = Value::Map(Map::from([("retries".into(), 3.into())]));
/// let Serde(options) = Serde::<Options>::from_arg(&Arg::from(&given)).map_err(|mismatch| mismatch.describe(0))?;
/// assert_eq!(options.retries, 3);
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Serde<T>(pub T);

impl<'a, T: DeserializeOwned> FromArg<'a> for Serde<T> {
    const TYPE: Type = Type::Any;
    generic_only!();

    fn from_arg(arg: &Arg<'a>) -> Result<Self, Mismatch> {
        let read = |value: &Value| serde_path_to_error::deserialize(value).map(Serde).map_err(with_path);
        match arg {
            Arg::Value(value) => read(value),
            other => read(&other.to_value().ok_or_else(|| Mismatch::of(Type::Any, arg))?),
        }
    }
}

/// Takes the way to the value from an error of serde.
fn with_path(error: serde_path_to_error::Error<SerdeError>) -> Mismatch {
    use serde_path_to_error::Segment;

    let path = error.path().clone();
    let SerdeError { expected, got } = error.into_inner();
    let outwards = path.iter().collect::<Vec<_>>().into_iter().rev();
    outwards.fold(Mismatch::new(expected, got), |mismatch, segment| match segment {
        Segment::Seq { index } => mismatch.in_element(*index),
        Segment::Map { key } => mismatch.in_key(key),
        Segment::Enum { variant } => mismatch.in_key(variant),
        Segment::Unknown => mismatch,
    })
}

impl<T: Serialize> IntoValue for Serde<T> {
    const ELEMENT: Type = Type::Any;
    fn into_value(self) -> Result<Value, Box<NativeError>> {
        Value::from_serde(&self.0).map_err(|error| ScriptError::native(Box::new(error)).into())
    }
}

impl<T: Serialize> OwnedResult for Serde<T> {}

impl<'a> FromArg<'a> for Function {
    const TYPE: Type = Type::Function;
    generic_only!();

    fn from_arg(arg: &Arg<'a>) -> Result<Self, Mismatch> {
        match arg {
            Arg::Value(Value::Function(function)) => Ok(function.clone()),
            _ => Err(Mismatch::of(Type::Function, arg)),
        }
    }
}

impl IntoValue for Function {
    const ELEMENT: Type = Type::Function;
    fn into_value(self) -> Result<Value, Box<NativeError>> {
        Ok(Value::Function(self))
    }
}

impl OwnedResult for Function {}

impl<'a, T: FromArg<'a>> FromArg<'a> for Option<T> {
    const TYPE: Type = Type::Option(&T::TYPE);
    const OPTIONAL: bool = true;
    generic_only!();

    fn from_arg(arg: &Arg<'a>) -> Result<Self, Mismatch> {
        match arg {
            Arg::Nil | Arg::Value(Value::Nil) => Ok(None),
            other => T::from_arg(other).map(Some),
        }
    }
}

impl IntoRet for () {
    const RETURNS: Type = Type::Nil;
    type Raw = ();
    #[inline]
    fn into_raw(self) -> Result<(), Box<NativeError>> {
        Ok(())
    }
}

impl IntoRet for bool {
    const RETURNS: Type = Type::Bool;
    type Raw = bool;
    #[inline]
    fn into_raw(self) -> Result<bool, Box<NativeError>> {
        Ok(self)
    }
}

macro_rules! float_results {
    ($($float:ty)*) => {$(
        impl IntoRet for $float {
            const RETURNS: Type = Type::Float;
            type Raw = f64;
            #[inline]
            fn into_raw(self) -> Result<f64, Box<NativeError>> {
                Ok(self.into())
            }
        }
    )*};
}

float_results! { f32 f64 }

impl IntoRet for &[u8] {
    const RETURNS: Type = Type::Bytes;
    type Raw = RawOut;
    #[inline]
    fn into_raw(self) -> Result<RawOut, Box<NativeError>> {
        Ok(RawOut::new(self))
    }
}

impl IntoRet for &str {
    const RETURNS: Type = Type::Str;
    type Raw = RawOut;
    #[inline]
    fn into_raw(self) -> Result<RawOut, Box<NativeError>> {
        Ok(RawOut::new(self.as_bytes()))
    }
}

/// Results that travel as an owned value.
macro_rules! owned_results {
    ($([$($gen:tt)*] $ty:ty, $type:expr;)*) => {$(
        impl<$($gen)*> IntoRet for $ty {
            const RETURNS: Type = $type;
            type Raw = Ret;
            #[inline]
            fn into_raw(self) -> Result<Ret, Box<NativeError>> {
                self.into_value().map(Ret::Value)
            }
        }
    )*};
}

owned_results! {
    [] String, Type::Str;
    [] ByteString, Type::Bytes;
    [] Value, Type::Any;
    [T: IntoValue] Vec<T>, Type::Array(&T::ELEMENT);
    [K: MapKey, T: IntoValue] BTreeMap<K, T>, Type::Map(&T::ELEMENT);
    [] Blob, Type::Blob;
    [] Function, Type::Function;
    [T: Serialize] Serde<T>, Type::Any;
}

impl<T: IntoRet> IntoRet for Option<T> {
    const RETURNS: Type = Type::Option(&T::RETURNS);
    type Raw = Ret;
    #[inline]
    fn into_raw(self) -> Result<Ret, Box<NativeError>> {
        match self {
            Some(inner) => Ok(inner.into_raw()?.into_ret()),
            None => Ok(Ret::Nil),
        }
    }
}

impl<T: IntoRet, E: IntoNativeError> IntoRet for Result<T, E> {
    const RETURNS: Type = T::RETURNS;
    type Raw = T::Raw;
    #[inline]
    fn into_raw(self) -> Result<T::Raw, Box<NativeError>> {
        match self {
            Ok(value) => value.into_raw(),
            Err(error) => Err(error.into_native_error()),
        }
    }
}

impl IntoRet for Out<'_> {
    const RETURNS: Type = Type::Any;
    type Raw = Ret;
    #[inline]
    fn into_raw(self) -> Result<Ret, Box<NativeError>> {
        Ok(match self {
            Out::Nil => Ret::Nil,
            Out::Bool(b) => Ret::Bool(b),
            Out::Int(i) => Ret::Int(i),
            Out::Float(x) => Ret::Float(x),
            Out::Bytes(bytes) => Ret::Bytes(RawOut::new(bytes)),
            Out::Value(value) => Ret::Value(value),
        })
    }
}

macro_rules! tuples {
    ($($($name:ident)+;)*) => {$(
        impl<$($name: IntoValue),+> IntoRet for ($($name,)+) {
            const RETURNS: Type = Type::Tuple(&[$($name::ELEMENT),+]);
            type Raw = Ret;
            #[inline]
            fn into_raw(self) -> Result<Ret, Box<NativeError>> {
                #[allow(non_snake_case)]
                let ($($name,)+) = self;
                Ok(Ret::Tuple(vec![$($name.into_value()?),+]))
            }
        }
    )*};
}

tuples! {
    A B;
    A B C;
    A B C D;
    A B C D E;
    A B C D E F;
}

macro_rules! into_values {
    ($($ty:ty, $type:expr, |$v:ident| $value:expr;)*) => {$(
        impl IntoValue for $ty {
            const ELEMENT: Type = $type;
            fn into_value(self) -> Result<Value, Box<NativeError>> {
                let $v = self;
                Ok($value)
            }
        }
    )*};
}

into_values! {
    bool, Type::Bool, |v| Value::Bool(v);
    f32, Type::Float, |v| Value::Float(v.into());
    f64, Type::Float, |v| Value::Float(v);
    &str, Type::Str, |v| v.into();
    &[u8], Type::Bytes, |v| v.into();
    String, Type::Str, |v| v.into();
    ByteString, Type::Bytes, |v| Value::Str(v);
    Value, Type::Any, |v| v;
}

impl<T: IntoValue> IntoValue for Option<T> {
    const ELEMENT: Type = Type::Option(&T::ELEMENT);
    fn into_value(self) -> Result<Value, Box<NativeError>> {
        self.map_or(Ok(Value::Nil), IntoValue::into_value)
    }
}

impl<T: IntoValue> IntoValue for Vec<T> {
    const ELEMENT: Type = Type::Array(&T::ELEMENT);
    fn into_value(self) -> Result<Value, Box<NativeError>> {
        self.into_iter().map(IntoValue::into_value).collect::<Result<_, _>>().map(Value::Array)
    }
}

impl<K: MapKey, T: IntoValue> IntoValue for BTreeMap<K, T> {
    const ELEMENT: Type = Type::Map(&T::ELEMENT);
    fn into_value(self) -> Result<Value, Box<NativeError>> {
        self.into_iter()
            .map(|(key, item)| Ok((key.into_key(), item.into_value()?)))
            .collect::<Result<Map, _>>()
            .map(Value::Map)
    }
}

pub(crate) mod sealed {
    use super::{BTreeMap, Blob, ByteString, Function, Out, Serde, Value};

    /// Marks the types of this crate's own implementations of [`IntoRet`](super::IntoRet).
    pub trait Sealed {}

    macro_rules! sealed {
        ($([$($gen:tt)*] $ty:ty;)*) => {$(impl<$($gen)*> Sealed for $ty {})*};
    }
    sealed! {
        [] i8; [] i16; [] i32; [] i64; [] isize; [] u8; [] u16; [] u32; [] u64; [] usize;
        [] (); [] bool; [] f32; [] f64; [] &str; [] &[u8]; [] String; [] ByteString; [] Value; [] Out<'_>;
        [T] Vec<T>; [K, T] BTreeMap<K, T>; [T] Option<T>; [] Blob; [] Function; [T] Serde<T>; [T, E] Result<T, E>;
        [A, B] (A, B); [A, B, C] (A, B, C); [A, B, C, D] (A, B, C, D); [A, B, C, D, E] (A, B, C, D, E);
        [A, B, C, D, E, F] (A, B, C, D, E, F);
    }
}
