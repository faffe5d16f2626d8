//! Typed calls of the host: a callback that is looked up once, a function that the script has passed.

use std::fmt;
use std::marker::PhantomData;

use super::instance::Instance;
use crate::callback::{CallbackId, Outcome, RouteId};
use crate::error::{ErrorCode, ScriptError};
use crate::export::{CallArgs, FromOutcome};
use crate::value::{Arg, Function};

/// A callback of one loaded script, looked up once, with the types of its arguments and its result.
///
/// [`Instance::bind`] makes it. It borrows the instance, so a worker cannot take up a new version of the script while it is
/// there.
///
/// ```no_run
/// # use kemi_core::{CallbackId, Instance, ScriptError};
/// # struct Host;
/// # fn run(instance: &Instance<Host>, on_order: CallbackId, host: &mut Host) -> Result<(), ScriptError> {
/// let price = instance.bind::<(&str, i64), f64>(on_order)?;
/// let total = price.call(host, ("tea", 2))? + price.call(host, ("cake", 1))?;
/// # let _ = total;
/// # Ok(())
/// # }
/// ```
pub struct Bound<'i, C: 'static, A, R> {
    instance: &'i Instance<C>,
    callback: CallbackId,
    types: PhantomData<fn(A) -> R>,
}

/// The types of a callback's arguments, as a tuple; each borrowed one may live as long as a call.
///
/// Implemented for tuples of [`ArgType`].
pub trait ArgTypes {
    /// The arguments of one call.
    type Args<'a>: CallArgs;
}

/// The type of one argument of a [`Bound`] callback.
///
/// Implemented for every type that a host can pass ([`IntoArg`](crate::export::IntoArg)).
pub trait ArgType {
    /// The argument of one call.
    type Arg<'a>: crate::export::IntoArg;
}

macro_rules! owned_types {
    ($([$($gen:tt)*] $ty:ty;)*) => {$(
        impl<$($gen)*> ArgType for $ty {
            type Arg<'a> = $ty;
        }
    )*};
}

owned_types! {
    [] (); [] bool; [] i8; [] i16; [] i32; [] i64; [] isize; [] u8; [] u16; [] u32; [] u64; [] usize; [] f32; [] f64;
    [] String; [] crate::ByteString; [] crate::Value;
    [T: crate::export::IntoValue] Vec<T>;
    [K: crate::export::MapKey, T: crate::export::IntoValue] std::collections::BTreeMap<K, T>;
    [T: crate::export::OwnedResult] T;
}

impl ArgType for &str {
    type Arg<'a> = &'a str;
}

impl ArgType for &[u8] {
    type Arg<'a> = &'a [u8];
}

impl ArgType for &crate::Value {
    type Arg<'a> = &'a crate::Value;
}

impl<T: crate::value::ObjectClass> ArgType for &crate::Handle<T> {
    type Arg<'a> = &'a crate::Handle<T>;
}

impl<T: ArgType> ArgType for Option<T> {
    type Arg<'a> = Option<T::Arg<'a>>;
}

macro_rules! arg_types {
    ($($($name:ident)*;)*) => {$(
        impl<$($name: ArgType),*> ArgTypes for ($($name,)*) {
            type Args<'a> = ($($name::Arg<'a>,)*);
        }
    )*};
}

arg_types! {
    ;
    A;
    A B;
    A B C;
    A B C D;
    A B C D E;
    A B C D E F;
    A B C D E F G;
    A B C D E F G H;
}

impl<C: 'static, A: ArgTypes, R: FromOutcome> Bound<'_, C, A, R> {
    /// Calls the callback.
    ///
    /// # Errors
    /// Those of [`Instance::call`]; [`ErrorCode::BadResult`] if the result is not of the type.
    #[inline]
    pub fn call(&self, context: &mut C, args: A::Args<'_>) -> Result<R, ScriptError> {
        self.instance.call_as(self.callback, context, args)
    }

    /// Returns the callback's id.
    #[must_use]
    pub fn id(&self) -> CallbackId {
        self.callback
    }
}

impl<C: 'static, A, R> fmt::Debug for Bound<'_, C, A, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bound").field("callback", &self.callback).finish_non_exhaustive()
    }
}

impl<C: 'static> Instance<C> {
    /// Looks a callback up once, to be called with a tuple of arguments and a typed result.
    ///
    /// # Errors
    /// [`ErrorCode::ForeignId`] for a callback of another registry; [`ErrorCode::MissingCallback`] if the script does not define
    /// it; [`ErrorCode::ArgumentCount`] if it is declared with another number of parameters, or the script's function takes
    /// another number.
    pub fn bind<A: ArgTypes, R: FromOutcome>(&self, callback: CallbackId) -> Result<Bound<'_, C, A, R>, ScriptError> {
        let count = <A::Args<'static> as CallArgs>::COUNT;
        self.check_bound(callback, count)?;
        Ok(Bound { instance: self, callback, types: PhantomData })
    }

    /// Looks up a function of the script by its name, whether the host has declared it or not.
    ///
    /// It is called outside of all routes, so it may use only what is allowed everywhere.
    ///
    /// ```no_run
    /// # use kemi_core::{Instance, ScriptError};
    /// # struct Host;
    /// # fn run(instance: &Instance<Host>, host: &mut Host) -> Result<(), ScriptError> {
    /// let greeting: String = instance.function::<(&str,), String>("greet")?.call(host, ("Ada",))?;
    /// # let _ = greeting;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`bind`](Self::bind).
    pub fn function<A: ArgTypes, R: FromOutcome>(&self, name: &str) -> Result<Bound<'_, C, A, R>, ScriptError> {
        let callback = self.named(name)?;
        self.bind(callback)
    }

    /// Calls a callback with a tuple of arguments, or a list, and converts its result.
    ///
    /// # Errors
    /// Those of [`call`](Self::call); [`ErrorCode::BadResult`] if the result is not of the type.
    #[inline]
    pub fn call_as<R: FromOutcome>(
        &self,
        callback: CallbackId,
        context: &mut C,
        args: impl CallArgs,
    ) -> Result<R, ScriptError> {
        let outcome = args.with(|args| self.call(callback, context, args))?;
        R::from_outcome(outcome).map_err(|mismatch| self.bad_result(callback, &mismatch))
    }
}

impl Function {
    /// Calls the function with a tuple of arguments, or a list, and converts its result.
    ///
    /// It may use what is allowed outside of all routes; [`call_in`](Self::call_in) names a route.
    ///
    /// # Errors
    /// [`ErrorCode::FunctionGone`] if the script that has passed it was reloaded or has ended; [`ErrorCode::ForeignId`] if it
    /// belongs to another instance; the error that the script raised; [`ErrorCode::BadResult`] if the result is not of the type.
    pub fn call<C: 'static, R: FromOutcome>(
        &self,
        instance: &Instance<C>,
        context: &mut C,
        args: impl CallArgs,
    ) -> Result<R, ScriptError> {
        self.run(instance, None, context, args)
    }

    /// Calls the function as a callback of a route.
    ///
    /// # Errors
    /// As [`call`](Self::call); [`ErrorCode::ForeignId`] for a route of another registry.
    pub fn call_in<C: 'static, R: FromOutcome>(
        &self,
        instance: &Instance<C>,
        route: RouteId,
        context: &mut C,
        args: impl CallArgs,
    ) -> Result<R, ScriptError> {
        self.run(instance, Some(route), context, args)
    }

    fn run<C: 'static, R: FromOutcome>(
        &self,
        instance: &Instance<C>,
        route: Option<RouteId>,
        context: &mut C,
        args: impl CallArgs,
    ) -> Result<R, ScriptError> {
        let call = |args: &[Arg<'_>]| instance.call_function(self, route, context, args);
        let outcome: Outcome = args.with(call)?;
        R::from_outcome(outcome).map_err(|mismatch| instance.bad_function_result(&mismatch))
    }
}

/// Builds the error for a result of the wrong type.
pub(super) fn bad_result(mismatch: &crate::export::Mismatch, first: usize) -> ScriptError {
    ScriptError::new(ErrorCode::BadResult, format!("result: {}", mismatch.describe(first)))
}
