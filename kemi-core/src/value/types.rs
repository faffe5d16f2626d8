//! The types of parameters and results, as the registry knows and dumps them.

use std::fmt;

use serde::ser::{Serialize, Serializer};

use super::object::Class;

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
    /// Bytes in the language's own type for them; a parameter takes a string as well.
    Blob,
    /// The name of a function of the script; the empty string stands for none.
    Callback,
    /// A function of the script.
    Function,
    /// An object of a class.
    Object(&'static Class),
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
    /// A map with known keys.
    Struct(&'static StructType),
    /// One of several variants.
    Enum(&'static EnumType),
}

/// The description of a type that is a map with known keys in scripts.
///
/// `#[derive(kemi::Value)]` makes it of a struct.
#[derive(Debug, serde::Serialize)]
pub struct StructType {
    /// The name of the type.
    pub name: &'static str,
    /// The doc comment.
    pub doc: &'static str,
    /// The fields.
    pub fields: &'static [Field],
}

/// One key of a [`StructType`].
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct Field {
    /// The key in scripts.
    pub name: &'static str,
    /// The doc comment.
    pub doc: &'static str,
    /// The type; a function, since a type may contain itself.
    #[serde(rename = "type", serialize_with = "called")]
    pub ty: fn() -> Type,
    /// Whether the key may be missing.
    pub optional: bool,
}

/// The description of a type that is one of several variants.
///
/// `#[derive(kemi::Value)]` makes it of an enum. A variant without fields is a string in scripts, one with fields a map of one
/// entry, as serde has it by default.
#[derive(Debug, serde::Serialize)]
pub struct EnumType {
    /// The name of the type.
    pub name: &'static str,
    /// The doc comment.
    pub doc: &'static str,
    /// The variants.
    pub variants: &'static [Variant],
}

/// One variant of an [`EnumType`].
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct Variant {
    /// The name in scripts.
    pub name: &'static str,
    /// The doc comment.
    pub doc: &'static str,
    /// The type of what it carries, if it carries anything; a function, since a type may contain itself.
    #[serde(rename = "type", serialize_with = "called_if_any", skip_serializing_if = "Option::is_none")]
    pub ty: Option<fn() -> Type>,
}

fn called<S: Serializer>(ty: &fn() -> Type, serializer: S) -> Result<S::Ok, S::Error> {
    ty().serialize(serializer)
}

fn called_if_any<S: Serializer>(ty: &Option<fn() -> Type>, serializer: S) -> Result<S::Ok, S::Error> {
    ty.map(|ty| ty()).serialize(serializer)
}

impl PartialEq for StructType {
    /// Compares the identity of the description.
    fn eq(&self, other: &StructType) -> bool {
        std::ptr::eq(self, other)
    }
}

impl PartialEq for EnumType {
    /// Compares the identity of the description.
    fn eq(&self, other: &EnumType) -> bool {
        std::ptr::eq(self, other)
    }
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
            Type::Blob => f.write_str("blob"),
            Type::Function => f.write_str("function"),
            Type::Object(class) => f.write_str(class.name),
            Type::Struct(of) => f.write_str(of.name),
            Type::Enum(of) => f.write_str(of.name),
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
