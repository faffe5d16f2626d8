//! Results in their general form.

use super::raw::RawOut;
use crate::value::{Arg, Value};

/// The result of a native call.
///
/// [`Ret::Bytes`] borrows from the context: it is valid until the context is used again.
#[derive(Debug)]
pub enum Ret {
    /// Nothing.
    Nil,
    /// A truth value.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A double.
    Float(f64),
    /// Bytes borrowed from the context or of static life.
    Bytes(RawOut),
    /// An owned value.
    Value(Value),
    /// Several results: multiple values in Lua, a tuple in Python, an array elsewhere.
    Tuple(Vec<Value>),
}

/// Looks at a result as an argument; used by expansions, whose parameters no typed entry passes in this form.
#[doc(hidden)]
#[must_use]
pub fn arg_of(ret: &Ret) -> Arg<'_> {
    ret.as_arg()
}

impl Ret {
    /// Copies what borrows from an object into an owned value.
    pub(super) fn copied(self) -> Ret {
        match self {
            // SAFETY: a function of an object has just returned them, and the object is still in use.
            Ret::Bytes(bytes) => Ret::Value(Value::from(unsafe { bytes.bytes() })),
            other => other,
        }
    }

    pub(crate) fn as_arg(&self) -> Arg<'_> {
        match self {
            Ret::Bool(b) => Arg::Bool(*b),
            Ret::Int(i) => Arg::Int(*i),
            Ret::Float(x) => Arg::Float(*x),
            Ret::Value(value) => value.into(),
            // No trampoline passes these as a parameter.
            Ret::Nil | Ret::Bytes(_) | Ret::Tuple(_) => Arg::Nil,
        }
    }
}

/// A result whose type is decided at run time, borrowed from the context where it can be.
#[derive(Clone, Debug)]
pub enum Out<'c> {
    /// Nothing.
    Nil,
    /// A truth value.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A double.
    Float(f64),
    /// Bytes of the context, of an argument or of static life.
    Bytes(&'c [u8]),
    /// An owned value.
    Value(Value),
}
