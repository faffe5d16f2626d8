//! Arguments as a call passes them: borrowed values.

use super::object::Object;
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
    /// An object of the host.
    Object(&'a Object),
    /// Bytes that are no text, an array, a map, a function (or any other value), converted by the engine.
    Value(&'a Value),
    /// Something that no export can take, such as a coroutine; the text names its type.
    Foreign(&'a str),
}

impl<'a> Arg<'a> {
    /// Names the type in the words of error messages.
    #[must_use]
    pub fn type_name(&self) -> &'a str {
        match *self {
            Arg::Nil => "nil",
            Arg::Bool(_) => "boolean",
            Arg::Int(_) => "integer",
            Arg::Float(_) => "float",
            Arg::Str(_) => "string",
            Arg::Object(object) => object.class().name,
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
            Arg::Object(object) => Value::Object(object.clone()),
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
            Value::Object(object) => Arg::Object(object),
            Value::Bytes(_) | Value::Array(_) | Value::Map(_) | Value::Function(_) => Arg::Value(value),
        }
    }
}

macro_rules! arg_from {
    ($($from:ty => |$v:ident| $into:expr;)*) => {$(
        impl From<$from> for Arg<'_> {
            fn from($v: $from) -> Self {
                $into
            }
        }
    )*};
}

arg_from! {
    () => |_v| Arg::Nil;
    bool => |v| Arg::Bool(v);
    i64 => |v| Arg::Int(v);
    i32 => |v| Arg::Int(v.into());
    i16 => |v| Arg::Int(v.into());
    i8 => |v| Arg::Int(v.into());
    u32 => |v| Arg::Int(v.into());
    u16 => |v| Arg::Int(v.into());
    f64 => |v| Arg::Float(v);
    f32 => |v| Arg::Float(v.into());
}

impl<'a> From<&'a str> for Arg<'a> {
    fn from(text: &'a str) -> Arg<'a> {
        Arg::Str(text.as_bytes())
    }
}

impl<'a> From<&'a String> for Arg<'a> {
    fn from(text: &'a String) -> Arg<'a> {
        Arg::Str(text.as_bytes())
    }
}

impl<'a> From<&'a [u8]> for Arg<'a> {
    fn from(bytes: &'a [u8]) -> Arg<'a> {
        Arg::Str(bytes)
    }
}

impl<'a, T: Into<Arg<'a>>> From<Option<T>> for Arg<'a> {
    fn from(value: Option<T>) -> Arg<'a> {
        value.map_or(Arg::Nil, Into::into)
    }
}
