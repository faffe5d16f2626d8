//! The values that cross between a script and the host.

use std::collections::BTreeMap;
use std::fmt;

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
    /// A byte string.
    Str(ByteString),
    /// A list.
    Array(Vec<Value>),
    /// A dictionary with string keys.
    Map(Map),
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
            Value::Array(_) => "array",
            Value::Map(_) => "map",
        }
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
    u32 => |v| Value::Int(v.into());
    u16 => |v| Value::Int(v.into());
    f64 => |v| Value::Float(v);
    &str => |v| Value::Str(v.into());
    String => |v| Value::Str(v.into());
    &[u8] => |v| Value::Str(v.into());
    ByteString => |v| Value::Str(v);
    Vec<Value> => |v| Value::Array(v);
    Map => |v| Value::Map(v);
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
