//! The values that cross between a script and the host.

use std::collections::BTreeMap;
use std::fmt;

use super::function::Function;
use super::object::Object;

/// A map from byte-string keys to values, ordered by key.
pub type Map = BTreeMap<ByteString, Value>;

/// A value of any script language, owned.
///
/// Strings are byte strings: a script's string may hold any bytes. The documentation of each engine's crate has the
/// table of its language's conversions.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Value {
    /// `nil`, `None`, `null`, `undefined`, `()`.
    #[default]
    Nil,
    /// A truth value.
    Bool(bool),
    /// A 64-bit signed integer.
    Int(i64),
    /// A double.
    Float(f64),
    /// A byte string, which every language has as its text.
    Str(ByteString),
    /// Bytes that are no text: `bytes` in Python, a `Uint8Array` in JavaScript, a blob in Rhai, a string in Lua.
    Bytes(ByteString),
    /// A list.
    Array(Vec<Value>),
    /// A dictionary with string keys.
    Map(Map),
    /// A function of the script.
    Function(Function),
    /// An object of the host.
    Object(Object),
}

impl Value {
    /// Names the type in the words of error messages.
    ///
    /// ```
    /// assert_eq!(kemi_core::Value::Int(1).type_name(), "integer");
    /// ```
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::Nil => "nil",
            Value::Bool(_) => "boolean",
            Value::Int(_) => "integer",
            Value::Float(_) => "float",
            Value::Str(_) => "string",
            Value::Bytes(_) => "bytes",
            Value::Array(_) => "array",
            Value::Map(_) => "map",
            Value::Function(_) => "function",
            Value::Object(object) => object.class().name,
        }
    }

    /// Returns whether the value is nil.
    #[must_use]
    pub fn is_nil(&self) -> bool {
        matches!(self, Value::Nil)
    }

    /// Returns the truth value, if it is one.
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        if let Value::Bool(b) = self { Some(*b) } else { None }
    }

    /// Returns the integer, if it is one.
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        if let Value::Int(i) = self { Some(*i) } else { None }
    }

    /// Returns the float, or the integer as a float.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "as a parameter of type `f64` takes it")]
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Value::Float(x) => Some(*x),
            Value::Int(i) => Some(*i as f64),
            _ => None,
        }
    }

    /// Returns the text, if it is a string of valid UTF-8.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        if let Value::Str(text) = self { std::str::from_utf8(text).ok() } else { None }
    }

    /// Returns the bytes of a string or of bytes.
    #[must_use]
    pub fn as_bytes(&self) -> Option<&[u8]> {
        if let Value::Str(bytes) | Value::Bytes(bytes) = self { Some(bytes) } else { None }
    }

    /// Returns the elements of a list.
    #[must_use]
    pub fn as_array(&self) -> Option<&[Value]> {
        if let Value::Array(items) = self { Some(items) } else { None }
    }

    /// Returns the map, if it is one.
    #[must_use]
    pub fn as_map(&self) -> Option<&Map> {
        if let Value::Map(map) = self { Some(map) } else { None }
    }

    /// Returns the function, if it is one.
    #[must_use]
    pub fn as_function(&self) -> Option<&Function> {
        if let Value::Function(function) = self { Some(function) } else { None }
    }

    /// Returns the object, if it is one.
    #[must_use]
    pub fn as_object(&self) -> Option<&Object> {
        if let Value::Object(object) = self { Some(object) } else { None }
    }

    /// Returns whether the value is a function or has one in it.
    #[must_use]
    pub(crate) fn has_function(&self) -> bool {
        match self {
            Value::Function(_) => true,
            Value::Array(items) => items.iter().any(Value::has_function),
            Value::Map(map) => map.values().any(Value::has_function),
            _ => false,
        }
    }

    /// Returns the value under a key of a map.
    ///
    /// ```
    /// use kemi_core::{Map, Value};
    ///
    /// let reply = Value::Map(Map::from([("status".into(), 200.into())]));
    /// assert_eq!(reply.get("status").and_then(Value::as_i64), Some(200));
    /// ```
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.as_map()?.get(key.as_bytes())
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Nil => f.write_str("nil"),
            Value::Bool(b) => write!(f, "{b}"),
            Value::Int(i) => write!(f, "{i}"),
            Value::Float(x) => write!(f, "{x:?}"),
            Value::Str(s) => write!(f, "{s:?}"),
            Value::Bytes(bytes) => write!(f, "b{bytes:?}"),
            Value::Function(function) => write!(f, "{function:?}"),
            Value::Object(object) => write!(f, "{object:?}"),
            Value::Array(items) => {
                f.write_str("[")?;
                for (i, item) in items.iter().enumerate() {
                    write!(f, "{}{item}", if i == 0 { "" } else { ", " })?;
                }
                f.write_str("]")
            }
            Value::Map(map) => {
                f.write_str("{")?;
                for (i, (key, item)) in map.iter().enumerate() {
                    write!(f, "{}{key:?}: {item}", if i == 0 { "" } else { ", " })?;
                }
                f.write_str("}")
            }
        }
    }
}

macro_rules! value_from {
    ($($from:ty => |$v:ident| $into:expr;)*) => {$(
        impl From<$from> for Value {
            fn from($v: $from) -> Value {
                $into
            }
        }
    )*};
}

value_from! {
    () => |_v| Value::Nil;
    bool => |v| Value::Bool(v);
    i64 => |v| Value::Int(v);
    i32 => |v| Value::Int(v.into());
    i16 => |v| Value::Int(v.into());
    i8 => |v| Value::Int(v.into());
    u32 => |v| Value::Int(v.into());
    u16 => |v| Value::Int(v.into());
    f32 => |v| Value::Float(v.into());
    f64 => |v| Value::Float(v);
    &str => |v| Value::Str(v.into());
    String => |v| Value::Str(v.into());
    &[u8] => |v| Value::Str(v.into());
    ByteString => |v| Value::Str(v);
    Vec<Value> => |v| Value::Array(v);
    Map => |v| Value::Map(v);
    Function => |v| Value::Function(v);
    Object => |v| Value::Object(v);
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Value {
        value.map_or(Value::Nil, Into::into)
    }
}

/// An owned byte string: text that may not be valid UTF-8.
///
/// As a parameter or result of an export it stands for a script string; `Vec<u8>` would be a list of integers.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteString(Vec<u8>);

impl ByteString {
    /// Returns the bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Unwraps into the vector of bytes.
    #[must_use]
    pub fn into_vec(self) -> Vec<u8> {
        self.0
    }
}

impl std::ops::Deref for ByteString {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl std::borrow::Borrow<[u8]> for ByteString {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for ByteString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

impl fmt::Display for ByteString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl From<Vec<u8>> for ByteString {
    fn from(bytes: Vec<u8>) -> ByteString {
        ByteString(bytes)
    }
}

impl From<&[u8]> for ByteString {
    fn from(bytes: &[u8]) -> ByteString {
        ByteString(bytes.to_vec())
    }
}

impl From<&str> for ByteString {
    fn from(text: &str) -> ByteString {
        ByteString(text.as_bytes().to_vec())
    }
}

impl From<String> for ByteString {
    fn from(text: String) -> ByteString {
        ByteString(text.into_bytes())
    }
}
