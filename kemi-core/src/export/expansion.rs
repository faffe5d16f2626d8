//! Functions and traits for the expansions of `#[kemi_export]`. Not for use by hand.
//!
//! An attribute sees names, not types. Where it matters which type a name stands for, the expansion asks these traits, so
//! that an alias works and a host's own type may have any name.

use std::collections::BTreeMap;
use std::error::Error;
use std::marker::PhantomData;

use super::call::Call;
use super::convert::{FromArg, Mismatch, Rest};
use super::def::Param;
use super::script::Script;
use crate::abi::{RawArg, Ret};
use crate::error::{NativeError, ScriptError};
use crate::value::{Arg, ByteString, Type, Value};

/// A parameter of an exported function: one argument, or all that are left.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a parameter of an exported function",
    label = "not a type that a script can pass",
    note = "take bool, an integer, f64, &str, &[u8], String, ByteString, Blob, Function, Value, Vec<T>, BTreeMap<String, T>, \
            Option<T>, a trailing Rest<'_> or a type with `#[derive(kemi::Value)]`; the host's context is `&mut C` and \
            comes first"
)]
pub trait Parameter<'a>: Sized {
    /// The type in the registry.
    const TYPE: Type;
    /// Whether it may be left out.
    const OPTIONAL: bool;
    /// Whether it takes all arguments that are left.
    const VARIADIC: bool;
    /// The form in which a typed trampoline passes it.
    type Raw: RawArg;

    /// Takes the parameter from a generic call.
    ///
    /// # Errors
    /// The mismatch, with the expected and the given type.
    fn take(call: &Call<'a>, index: usize) -> Result<Self, Box<NativeError>>;

    /// Converts the argument of a typed trampoline.
    ///
    /// # Errors
    /// As [`take`](Self::take).
    fn from_raw(raw: &'a Self::Raw) -> Result<Self, Mismatch>;
}

impl<'a, T: FromArg<'a>> Parameter<'a> for T {
    const TYPE: Type = T::TYPE;
    const OPTIONAL: bool = T::OPTIONAL;
    const VARIADIC: bool = false;
    type Raw = T::Raw;

    #[inline]
    fn take(call: &Call<'a>, index: usize) -> Result<Self, Box<NativeError>> {
        call.arg(index)
    }

    #[inline]
    fn from_raw(raw: &'a T::Raw) -> Result<Self, Mismatch> {
        T::from_raw(raw)
    }
}

impl<'a> Parameter<'a> for Rest<'a> {
    const TYPE: Type = Type::Any;
    const OPTIONAL: bool = true;
    const VARIADIC: bool = true;
    type Raw = Ret;

    #[inline]
    fn take(call: &Call<'a>, index: usize) -> Result<Self, Box<NativeError>> {
        Ok(call.rest(index))
    }

    /// Its raw form has no shape, so nothing calls this.
    fn from_raw(_raw: &'a Ret) -> Result<Self, Mismatch> {
        Ok(Rest(&[]))
    }
}

/// Stops the compilation if a parameter is at a wrong position.
///
/// # Panics
/// If it takes all arguments and is not the last, or is optional before one that must be given.
pub const fn check_order(params: &[Param], index: usize) {
    assert!(
        !params[index].variadic || index + 1 == params.len(),
        "`Rest` takes all remaining arguments and must be the last parameter"
    );
    let mut later = index + 1;
    while later < params.len() {
        assert!(
            !params[index].optional || params[later].optional || params[later].variadic,
            "an optional parameter cannot come before one that must be given"
        );
        later += 1;
    }
}

/// The running script, by any name that an exported function takes it under.
#[diagnostic::on_unimplemented(
    message = "`{Self}` stands where the running script is expected",
    label = "neither KEMI's `Script<'_>` nor the host's context",
    note = "the host's context is a type without lifetimes; one that is called `Script` must be named by its path, as in \
            `&mut crate::Script`"
)]
pub trait RunningScript<'a> {
    /// Returns the script that calls.
    fn of(script: &'a Script<'a>) -> &'a Self;
}

impl<'a> RunningScript<'a> for Script<'a> {
    #[inline]
    fn of(script: &'a Script<'a>) -> &'a Script<'a> {
        script
    }
}

/// Asks whether a type can be the host's context: the constants of a type that cannot hide those of [`AnyContext`].
#[derive(Debug)]
pub struct ContextProbe<T: ?Sized>(PhantomData<T>);

/// The answers for all types that [`ContextProbe`] does not know.
pub trait AnyContext {
    /// The mistake in `&T` as the context.
    const SHARED: Option<&'static str> = None;
    /// The mistake in `&mut T` as the context.
    const UNIQUE: Option<&'static str> = None;
}

impl<T: ?Sized> AnyContext for ContextProbe<T> {}

macro_rules! no_context {
    ($([$($gen:tt)*] $ty:ty, $shared:expr, $unique:expr;)*) => {$(
        #[doc(hidden)]
        impl<$($gen)*> ContextProbe<$ty> {
            pub const SHARED: Option<&'static str> = $shared;
            pub const UNIQUE: Option<&'static str> = $unique;
        }
    )*};
}

const SCRIPT: Option<&str> = Some("take the running script as `&Script<'_>`, with its lifetime, after the context");

const REST: Option<&str> = Some("take the remaining arguments as `Rest<'_>`, by value");

// What can be a context by itself, but behind `&` is nearly always meant as an argument.
no_context! {
    ['a] Script<'a>, SCRIPT, SCRIPT;
    ['a] Rest<'a>, REST, REST;
    ['a] Arg<'a>, REST, REST;
    [] String, Some("take `&str` instead of `&String`"), None;
    [] ByteString, Some("take `&[u8]` instead of `&ByteString`"), None;
    [] Value, Some("take `Value` instead of `&Value`"), None;
    [T] Vec<T>, Some("take a list as `Vec<T>`; only `&str` and `&[u8]` can be borrowed from a script"), None;
    [K, V] BTreeMap<K, V>, Some("take a map as `BTreeMap<ByteString, T>`, by value"), None;
}

/// Stops the compilation if a type cannot be the host's context.
///
/// # Panics
/// If the type cannot be the context.
pub const fn check_context(wrong: Option<&'static str>) {
    if let Some(wrong) = wrong {
        panic!("{}", wrong);
    }
}

/// Chooses the conversion of a result, which keeps an error if it can; see [`KeepsError`].
#[derive(Debug)]
pub struct ResultProbe<R>(PhantomData<fn() -> R>);

/// Asks about the type of a value.
#[inline]
pub fn result<R>(_: &R) -> ResultProbe<R> {
    ResultProbe(PhantomData)
}

/// The conversion found first, for a `Result` whose error can be a [`source`](Error::source).
pub trait KeepsError {
    /// Returns the conversion that keeps the error.
    #[inline]
    fn way(&self) -> Keeping {
        Keeping
    }
}

impl<T, E: Into<Box<dyn Error + Send + Sync>>> KeepsError for ResultProbe<Result<T, E>> {}

/// The conversion found otherwise.
pub trait TakesText {
    /// Returns the conversion of all other results.
    #[inline]
    fn way(&self) -> Plain {
        Plain
    }
}

impl<R> TakesText for &ResultProbe<R> {}

/// Converts an error into one that has it as its source.
#[derive(Debug)]
pub struct Keeping;

impl Keeping {
    /// Converts the error, if it is one.
    #[inline]
    pub fn keep<T, E: Into<Box<dyn Error + Send + Sync>>>(self, result: Result<T, E>) -> Result<T, Box<NativeError>> {
        result.map_err(|error| ScriptError::native(error.into()).into())
    }
}

/// Leaves the error to [`IntoNativeError`](crate::error::IntoNativeError).
#[derive(Debug)]
pub struct Plain;

impl Plain {
    /// Returns the result as it is.
    #[inline]
    pub fn keep<R>(self, result: R) -> R {
        result
    }
}
