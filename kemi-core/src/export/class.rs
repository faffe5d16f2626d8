//! Classes, as `#[kemi_export]` on an `impl` block describes them, and the conversions of their objects.

use super::call::{Call, bad_argument};
use super::convert::sealed::Sealed;
use super::convert::{FromArg, IntoRet, IntoValue, Mismatch, OwnedResult};
use super::def::ExportDef;
use super::typed_call::IntoArg;
use crate::abi::{RawObject, RawRet, Ret, arg_of};
use crate::error::{NativeError, ScriptError};
use crate::value::{Arg, Class, Handle, Object, ObjectClass, Type, Value};

/// All classes linked into this program, in no stable order.
#[linkme::distributed_slice]
pub static CLASSES: [&'static Class];

/// The part that an export plays in a class.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct ClassMember {
    /// The class.
    pub class: &'static Class,
    /// The part.
    pub role: Role,
}

/// The way in which scripts use a member of a class.
///
/// All but [`Static`](Self::Static) take the object as their first parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// A function of the class itself, such as one that makes an object.
    Static,
    /// A function of an object.
    Method,
    /// Reads the property of this name.
    Getter(&'static str),
    /// Sets the property of this name.
    Setter(&'static str),
    /// Is behind an operator of the language.
    Operator(Operator),
}

/// An operator that a class has in the languages that know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Operator {
    /// `object(…)`.
    Call,
    /// `object[key]`, where the key is no name of a member.
    Index,
    /// `object[key] = value`.
    SetIndex,
    /// `#object`, `len(object)`, `object.length`.
    Length,
    /// `object == other`.
    Equal,
    /// The text of the object, for `tostring`, `str`, `String` and messages.
    Text,
}

impl<'a> Call<'a> {
    /// Calls a method on the object that is the first argument, which it only looks at.
    #[doc(hidden)]
    pub fn on_object<T: ObjectClass>(
        &self,
        method: impl FnOnce(&T) -> Result<Ret, Box<NativeError>>,
    ) -> Result<Ret, Box<NativeError>> {
        self.receiver::<T>()?.with(|object| method(object).map(RawRet::kept))?
    }

    /// Calls a method on the object that is the first argument, which it may change.
    #[doc(hidden)]
    pub fn on_object_mut<T: ObjectClass>(
        &self,
        method: impl FnOnce(&mut T) -> Result<Ret, Box<NativeError>>,
    ) -> Result<Ret, Box<NativeError>> {
        self.receiver::<T>()?.with_mut(|object| method(object).map(RawRet::kept))?
    }

    fn receiver<T: ObjectClass>(&self) -> Result<&'a Object, Box<NativeError>> {
        match self.args.first().map(|arg| arg.scalar()) {
            Some(Arg::Object(object)) if object.is::<T>() => Ok(object),
            _ => Err(self.unfit(0, Type::Object(T::CLASS))),
        }
    }
}

/// Calls a method by its typed entry on an object that it only looks at.
///
/// # Errors
/// An object of another class, one that is gone or in use, and those of the method.
#[doc(hidden)]
#[inline]
pub fn on_raw_object<T: ObjectClass, R: RawRet>(
    export: &'static ExportDef,
    raw: RawObject,
    method: impl FnOnce(&T) -> Result<R, Box<NativeError>>,
) -> Result<R, Box<NativeError>> {
    of_class::<T>(export, &raw)?.with(|object| method(object).map(R::kept))?
}

/// Calls a method by its typed entry on an object that it may change.
///
/// # Errors
/// As [`on_raw_object`].
#[doc(hidden)]
#[inline]
pub fn on_raw_object_mut<T: ObjectClass, R: RawRet>(
    export: &'static ExportDef,
    raw: RawObject,
    method: impl FnOnce(&mut T) -> Result<R, Box<NativeError>>,
) -> Result<R, Box<NativeError>> {
    of_class::<T>(export, &raw)?.with_mut(|object| method(object).map(R::kept))?
}

#[inline]
fn of_class<'o, T: ObjectClass>(
    export: &'static ExportDef,
    raw: &'o RawObject,
) -> Result<&'o Object, Box<NativeError>> {
    let object = raw.object();
    if object.is::<T>() { Ok(object) } else { Err(other_class::<T>(export, object)) }
}

#[cold]
fn other_class<T: ObjectClass>(export: &'static ExportDef, object: &Object) -> Box<NativeError> {
    bad_argument(export, 0, Mismatch::of(Type::Object(T::CLASS), &Arg::Object(object)))
}

impl<'a, T: ObjectClass> FromArg<'a> for Handle<T> {
    const TYPE: Type = Type::Object(T::CLASS);
    type Raw = Ret;

    fn from_arg(arg: &Arg<'a>) -> Result<Handle<T>, Mismatch> {
        match arg.scalar() {
            Arg::Object(object) => object.clone().downcast().ok_or_else(|| Mismatch::of(Self::TYPE, arg)),
            _ => Err(Mismatch::of(Self::TYPE, arg)),
        }
    }

    fn from_raw(raw: &'a Ret) -> Result<Handle<T>, Mismatch> {
        Self::from_arg(&arg_of(raw))
    }
}

impl<T: ObjectClass> IntoValue for Handle<T> {
    const ELEMENT: Type = Type::Object(T::CLASS);

    fn into_value(self) -> Result<Value, Box<NativeError>> {
        Ok(Value::Object(self.into_object()))
    }
}

impl<T: ObjectClass> OwnedResult for Handle<T> {}

impl<T> Sealed for Handle<T> {}

impl<T: ObjectClass> IntoRet for Handle<T> {
    const RETURNS: Type = Type::Object(T::CLASS);
    type Raw = Ret;

    fn into_raw(self) -> Result<Ret, Box<NativeError>> {
        Ok(Ret::Value(Value::Object(self.into_object())))
    }
}

impl<'a, T: ObjectClass> IntoArg for &'a Handle<T> {
    type Held = &'a Object;

    #[inline]
    fn hold(self) -> Result<&'a Object, ScriptError> {
        Ok(self.as_object())
    }

    #[inline]
    fn arg<'h>(held: &'h &'a Object) -> Arg<'h> {
        Arg::Object(held)
    }
}
