//! Arguments as a call passes them: borrowed values.

use super::owned::Value;

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
