//! The types of parameters and results, as the registry knows and dumps them.

use std::fmt;

use serde::ser::{Serialize, Serializer};

/// The type of a parameter or result.
///
/// Shown and serialised as a short text: `int`, `int(0..65535)`, `string`, `[string]`, `{int}`, `bool?`.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Type {
    /// No value.
    Nil,
    /// A truth value.
    Bool,
    /// An integer within the bounds, both included.
    Int {
        /// The least allowed value.
        min: i64,
        /// The greatest allowed value.
        max: i64,
    },
    /// A double; an integer is taken too.
    Float,
    /// A string that must be valid UTF-8.
    Str,
    /// A string of any bytes.
    Bytes,
    /// The name of a function of the script; the empty string stands for none.
    Callback,
    /// Any value.
    Any,
    /// A list of one element type.
    Array(&'static Type),
    /// A map from strings to one element type.
    Map(&'static Type),
    /// The type or nil.
    Option(&'static Type),
    /// Several results.
    Tuple(&'static [Type]),
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Type::Nil => f.write_str("nil"),
            Type::Bool => f.write_str("bool"),
            Type::Int { min: i64::MIN, max: i64::MAX } => f.write_str("int"),
            Type::Int { min, max } => write!(f, "int({min}..{max})"),
            Type::Float => f.write_str("float"),
            Type::Str => f.write_str("string"),
            Type::Bytes => f.write_str("bytes"),
            Type::Callback => f.write_str("callback name"),
            Type::Any => f.write_str("any"),
            Type::Array(element) => write!(f, "[{element}]"),
            Type::Map(element) => write!(f, "{{{element}}}"),
            Type::Option(inner) => write!(f, "{inner}?"),
            Type::Tuple(items) => {
                f.write_str("(")?;
                for (i, item) in items.iter().enumerate() {
                    write!(f, "{}{item}", if i == 0 { "" } else { ", " })?;
                }
                f.write_str(")")
            }
        }
    }
}

impl Serialize for Type {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
