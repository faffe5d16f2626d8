//! The values that cross between a script and the host.

use std::collections::BTreeMap;
use std::fmt;

use crate::error::{ErrorCode, ScriptError};

/// How deep arrays and maps may nest when they cross between script and host.
///
/// A script can build a table that contains itself; the conversion ends with an error at this depth instead of
/// running out of stack.
pub const MAX_VALUE_DEPTH: usize = 64;

/// How many elements of arrays and maps may cross at once.
pub const MAX_VALUE_ELEMENTS: usize = 1_000_000;

/// How many bytes of text may cross at once within arrays and maps.
pub const MAX_VALUE_BYTES: usize = 64 << 20;

/// What may still cross from a script to the host: all arguments of one call share a budget, each result has its own.
///
/// A structure that is reached on several ways is copied each time, so it counts each time: a few shared lists could
/// otherwise stand for more memory than there is.
///
/// ```
/// use kemi_core::ConversionBudget;
///
/// let mut budget = ConversionBudget::new();
/// budget.enter()?; // a list
/// budget.element()?; // its first element
/// budget.bytes(5)?; // which is a text
/// budget.leave();
/// # Ok::<(), kemi_core::ScriptError>(())
/// ```
#[derive(Clone, Debug)]
pub struct ConversionBudget {
    depth: usize,
    elements: usize,
    bytes: usize,
}

impl ConversionBudget {
    /// Creates a whole budget.
    #[must_use]
    pub const fn new() -> ConversionBudget {
        ConversionBudget { depth: MAX_VALUE_DEPTH, elements: MAX_VALUE_ELEMENTS, bytes: MAX_VALUE_BYTES }
    }

    /// Goes into an array or map.
    ///
    /// # Errors
    /// [`ErrorCode::ValueNotConvertible`] beyond [`MAX_VALUE_DEPTH`].
    pub fn enter(&mut self) -> Result<(), ScriptError> {
        self.depth = self.depth.checked_sub(1).ok_or_else(|| {
            too_much(format!("a value nested deeper than {MAX_VALUE_DEPTH} levels cannot cross; it may contain itself"))
        })?;
        Ok(())
    }

    /// Comes out of it again.
    pub fn leave(&mut self) {
        self.depth += 1;
    }

    /// Takes an element of an array or map.
    ///
    /// # Errors
    /// [`ErrorCode::ValueNotConvertible`] beyond [`MAX_VALUE_ELEMENTS`].
    pub fn element(&mut self) -> Result<(), ScriptError> {
        self.elements = self.elements.checked_sub(1).ok_or_else(|| {
            too_much(format!(
                "a value of more than {MAX_VALUE_ELEMENTS} elements cannot cross; what is shared counts each time"
            ))
        })?;
        Ok(())
    }

    /// Takes the bytes of a text that is copied.
    ///
    /// # Errors
    /// [`ErrorCode::ValueNotConvertible`] beyond [`MAX_VALUE_BYTES`].
    pub fn bytes(&mut self, count: usize) -> Result<(), ScriptError> {
        self.bytes = self
            .bytes
            .checked_sub(count)
            .ok_or_else(|| too_much(format!("a value with more than {MAX_VALUE_BYTES} bytes of text cannot cross")))?;
        Ok(())
    }
}

impl Default for ConversionBudget {
    fn default() -> ConversionBudget {
        ConversionBudget::new()
    }
}

#[cold]
fn too_much(message: String) -> ScriptError {
    ScriptError::new(ErrorCode::ValueNotConvertible, message)
}

/// A map from byte-string keys to values, ordered by key.
pub type Map = BTreeMap<ByteString, Value>;

/// A value of any script language, owned.
///
/// Strings are byte strings: what a script calls a string may hold any bytes. How each language shows them is in
/// the table of its engine crate.
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

/// An owned byte string: text as the wire has it, valid UTF-8 or not.
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

/// One argument of a native call, borrowed from the interpreter where it allows.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Arg<'a> {
    /// `nil`, or an argument that was not given.
    Nil,
    /// A truth value.
    Bool(bool),
    /// A 64-bit signed integer.
    Int(i64),
    /// A double.
    Float(f64),
    /// The bytes of a string.
    Str(&'a [u8]),
    /// An array or map (or any other value), converted by the engine.
    Value(&'a Value),
    /// Something that no export can take, such as a function; the text names its type.
    Foreign(&'static str),
}

impl<'a> Arg<'a> {
    /// Names the type in the words of error messages.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match self {
            Arg::Nil => "nil",
            Arg::Bool(_) => "boolean",
            Arg::Int(_) => "integer",
            Arg::Float(_) => "float",
            Arg::Str(_) => "string",
            Arg::Value(value) => value.type_name(),
            Arg::Foreign(name) => name,
        }
    }

    /// Copies the argument into an owned value; `None` for a foreign one.
    #[must_use]
    pub fn to_value(&self) -> Option<Value> {
        Some(match *self {
            Arg::Nil => Value::Nil,
            Arg::Bool(b) => Value::Bool(b),
            Arg::Int(i) => Value::Int(i),
            Arg::Float(x) => Value::Float(x),
            Arg::Str(s) => Value::Str(s.into()),
            Arg::Value(value) => value.clone(),
            Arg::Foreign(_) => return None,
        })
    }

    /// Looks through [`Arg::Value`] at a scalar inside.
    #[must_use]
    pub(crate) fn scalar(self) -> Arg<'a> {
        match self {
            Arg::Value(value) => value.into(),
            other => other,
        }
    }
}

impl<'a> From<&'a Value> for Arg<'a> {
    fn from(value: &'a Value) -> Arg<'a> {
        match value {
            Value::Nil => Arg::Nil,
            Value::Bool(b) => Arg::Bool(*b),
            Value::Int(i) => Arg::Int(*i),
            Value::Float(x) => Arg::Float(*x),
            Value::Str(s) => Arg::Str(s),
            Value::Array(_) | Value::Map(_) => Arg::Value(value),
        }
    }
}

impl<'a> From<&'a str> for Arg<'a> {
    fn from(text: &'a str) -> Arg<'a> {
        Arg::Str(text.as_bytes())
    }
}

impl From<i64> for Arg<'_> {
    fn from(number: i64) -> Self {
        Arg::Int(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_ends_at_its_depth_elements_and_bytes_with_one_code() {
        let mut budget = ConversionBudget::new();
        for _ in 0..MAX_VALUE_DEPTH {
            budget.enter().unwrap();
        }
        assert_eq!(budget.enter().unwrap_err().code, ErrorCode::ValueNotConvertible);
        budget.leave();
        budget.enter().unwrap();
        for _ in 0..MAX_VALUE_ELEMENTS {
            budget.element().unwrap();
        }
        assert_eq!(budget.element().unwrap_err().code, ErrorCode::ValueNotConvertible);
        budget.bytes(MAX_VALUE_BYTES - 1).unwrap();
        assert_eq!(budget.bytes(2).unwrap_err().code, ErrorCode::ValueNotConvertible);
        budget.bytes(1).unwrap();
    }
}
