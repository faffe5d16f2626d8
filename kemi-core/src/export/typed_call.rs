//! Typed calls of a script: a tuple of arguments in, a Rust type out.

use std::collections::BTreeMap;

use super::convert::{FromArg, IntoValue, MapKey, Mismatch, OwnedResult};
use crate::callback::Outcome;
use crate::error::{ErrorCode, NativeError, ScriptError};
use crate::value::{Arg, ByteString, Value};

/// A type that a host can pass to a callback.
///
/// Implemented for `bool`, integers, floats, `&str`, `String`, `&[u8]`, [`ByteString`], [`Value`], `Option<T>`, `Vec<T>`,
/// `BTreeMap<K, T>` with text keys, [`Arg`] and every [`OwnedResult`], such as types with `#[derive(kemi::Value)]`. Scalars and
/// borrowed text cost nothing; everything else becomes a [`Value`] first.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be passed to a callback",
    label = "not a type that a script can receive",
    note = "pass bool, an integer, a float, &str, String, &[u8], ByteString, Value, Option<T>, Vec<T>, BTreeMap<String, T> or \
            a type with `#[derive(kemi::Value)]`"
)]
pub trait IntoArg {
    /// The form in which the argument is kept during the call.
    type Held;

    /// Converts into the form that is kept.
    ///
    /// # Errors
    /// A value without a counterpart in scripts, such as a `u64` beyond `i64::MAX`.
    fn hold(self) -> Result<Self::Held, ScriptError>;

    /// Borrows the argument.
    fn arg(held: &Self::Held) -> Arg<'_>;
}

macro_rules! plain_args {
    ($($ty:ty)*) => {$(
        impl IntoArg for $ty {
            type Held = $ty;

            #[inline]
            fn hold(self) -> Result<$ty, ScriptError> {
                Ok(self)
            }

            #[inline]
            fn arg(held: &$ty) -> Arg<'_> {
                Arg::from(*held)
            }
        }
    )*};
}

plain_args! { () bool i8 i16 i32 i64 u16 u32 f32 f64 }

macro_rules! wide_args {
    ($($ty:ty)*) => {$(
        impl IntoArg for $ty {
            type Held = i64;

            #[inline]
            fn hold(self) -> Result<i64, ScriptError> {
                i64::try_from(self).map_err(|_| {
                    ScriptError::new(ErrorCode::ValueNotConvertible, format!("{self} does not fit 64 signed bits"))
                })
            }

            #[inline]
            fn arg(held: &i64) -> Arg<'_> {
                Arg::Int(*held)
            }
        }
    )*};
}

wide_args! { u8 u64 usize isize }

macro_rules! text_args {
    ($([$($gen:tt)*] $ty:ty, |$held:ident| $bytes:expr;)*) => {$(
        impl<$($gen)*> IntoArg for $ty {
            type Held = $ty;

            #[inline]
            fn hold(self) -> Result<$ty, ScriptError> {
                Ok(self)
            }

            #[inline]
            fn arg<'h>($held: &'h $ty) -> Arg<'h> {
                Arg::Str($bytes)
            }
        }
    )*};
}

text_args! {
    ['s] &'s str, |held| held.as_bytes();
    ['s] &'s [u8], |held| held;
    ['s] &'s String, |held| held.as_bytes();
    ['s] &'s ByteString, |held| held;
    [] String, |held| held.as_bytes();
    [] ByteString, |held| held;
}

impl<'s> IntoArg for Arg<'s> {
    type Held = Arg<'s>;

    #[inline]
    fn hold(self) -> Result<Arg<'s>, ScriptError> {
        Ok(self)
    }

    #[inline]
    fn arg<'h>(held: &'h Arg<'s>) -> Arg<'h> {
        *held
    }
}

impl<'s> IntoArg for &'s Value {
    type Held = &'s Value;

    #[inline]
    fn hold(self) -> Result<&'s Value, ScriptError> {
        Ok(self)
    }

    #[inline]
    fn arg<'h>(held: &'h &'s Value) -> Arg<'h> {
        (*held).into()
    }
}

impl<T: IntoArg> IntoArg for Option<T> {
    type Held = Option<T::Held>;

    #[inline]
    fn hold(self) -> Result<Self::Held, ScriptError> {
        self.map(T::hold).transpose()
    }

    #[inline]
    fn arg(held: &Self::Held) -> Arg<'_> {
        held.as_ref().map_or(Arg::Nil, T::arg)
    }
}

macro_rules! value_args {
    ($([$($gen:tt)*] $ty:ty;)*) => {$(
        impl<$($gen)*> IntoArg for $ty {
            type Held = Value;

            fn hold(self) -> Result<Value, ScriptError> {
                self.into_value().map_err(|error| unpassable(*error))
            }

            #[inline]
            fn arg(held: &Value) -> Arg<'_> {
                held.into()
            }
        }
    )*};
}

value_args! {
    [] Value;
    [T: IntoValue] Vec<T>;
    [K: MapKey, T: IntoValue] BTreeMap<K, T>;
    [T: OwnedResult] T;
}

#[cold]
fn unpassable(error: NativeError) -> ScriptError {
    match error {
        NativeError::Error(error) => error,
        NativeError::Exit | NativeError::Drop => {
            ScriptError::new(ErrorCode::ValueNotConvertible, "an argument's conversion asked for the end of a callback")
        }
    }
}

/// The arguments of a callback: a tuple of [`IntoArg`] types, or a list.
pub trait CallArgs {
    /// The number of arguments, if it is known from the type.
    const COUNT: Option<usize>;

    /// Runs a closure with the arguments.
    ///
    /// # Errors
    /// Those of [`IntoArg::hold`], and the closure's.
    fn with<R>(self, run: impl FnOnce(&[Arg<'_>]) -> Result<R, ScriptError>) -> Result<R, ScriptError>;
}

macro_rules! call_args {
    ($($count:literal $($name:ident)*;)*) => {$(
        impl<$($name: IntoArg),*> CallArgs for ($($name,)*) {
            const COUNT: Option<usize> = Some($count);

            #[inline]
            #[allow(non_snake_case)]
            fn with<R>(self, run: impl FnOnce(&[Arg<'_>]) -> Result<R, ScriptError>) -> Result<R, ScriptError> {
                let ($($name,)*) = self;
                $(let $name = $name.hold()?;)*
                // The names of the parameters stand for their types here.
                run(&[$(call_args!(@arg $name)),*])
            }
        }
    )*};
    (@arg $name:ident) => { <$name as IntoArg>::arg(&$name) };
}

call_args! {
    0;
    1 A;
    2 A B;
    3 A B D;
    4 A B D E;
    5 A B D E F;
    6 A B D E F G;
    7 A B D E F G H;
    8 A B D E F G H I;
}

impl CallArgs for &[Arg<'_>] {
    const COUNT: Option<usize> = None;

    #[inline]
    fn with<R>(self, run: impl FnOnce(&[Arg<'_>]) -> Result<R, ScriptError>) -> Result<R, ScriptError> {
        run(self)
    }
}

impl CallArgs for &[Value] {
    const COUNT: Option<usize> = None;

    fn with<R>(self, run: impl FnOnce(&[Arg<'_>]) -> Result<R, ScriptError>) -> Result<R, ScriptError> {
        let args: Vec<Arg<'_>> = self.iter().map(Arg::from).collect();
        run(&args)
    }
}

impl CallArgs for Vec<Value> {
    const COUNT: Option<usize> = None;

    fn with<R>(self, run: impl FnOnce(&[Arg<'_>]) -> Result<R, ScriptError>) -> Result<R, ScriptError> {
        self.as_slice().with(run)
    }
}

/// A type that a host takes as the result of a callback.
///
/// Implemented for every owned type that a parameter may have ([`FromArg`]), for `()`, which takes any result, and for
/// [`Outcome`], which tells an exit and a drop from a value. For all others a callback that has ended by an exit or a drop has
/// returned nil.
pub trait FromOutcome: Sized {
    /// Converts the outcome.
    ///
    /// # Errors
    /// The mismatch of the type and the result.
    fn from_outcome(outcome: Outcome) -> Result<Self, Mismatch>;
}

impl<T: for<'a> FromArg<'a>> FromOutcome for T {
    #[inline]
    fn from_outcome(outcome: Outcome) -> Result<T, Mismatch> {
        match outcome {
            Outcome::Value(value) => T::from_arg(&Arg::from(&value)),
            Outcome::Exit => {
                T::from_arg(&Arg::Nil).map_err(|m| Mismatch::new(m.expected, "an exit instead of a result"))
            }
            Outcome::Drop => {
                T::from_arg(&Arg::Nil).map_err(|m| Mismatch::new(m.expected, "a drop instead of a result"))
            }
        }
    }
}

impl FromOutcome for () {
    #[inline]
    fn from_outcome(_: Outcome) -> Result<(), Mismatch> {
        Ok(())
    }
}

impl FromOutcome for Outcome {
    #[inline]
    fn from_outcome(outcome: Outcome) -> Result<Outcome, Mismatch> {
        Ok(outcome)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(args: impl CallArgs) -> Result<String, ScriptError> {
        args.with(|args| Ok(format!("{args:?}")))
    }

    #[test]
    fn a_tuple_becomes_arguments_in_order() {
        let owned = Value::Array(vec![Value::Int(1)]);
        let args = (1_u16, true, 2.5, "a", String::from("b"), None::<i64>, &owned, vec![Some("x"), None]);
        let expected = "[Int(1), Bool(true), Float(2.5), Str([97]), Str([98]), Nil, Value(Array([Int(1)])), \
                        Value(Array([Str(\"x\"), Nil]))]";
        assert_eq!(shown(args).unwrap(), expected);
        assert_eq!(shown(()).unwrap(), "[]");
        assert_eq!(shown((u64::MAX,)).unwrap_err().code, ErrorCode::ValueNotConvertible);
    }

    #[test]
    fn an_exit_is_nil_to_who_takes_nil_and_a_mismatch_to_all_others() {
        assert_eq!(Option::<i64>::from_outcome(Outcome::Exit), Ok(None));
        assert_eq!(i64::from_outcome(Outcome::Drop).unwrap_err().got, "a drop instead of a result");
        assert_eq!(<()>::from_outcome(Outcome::Value(Value::Int(1))), Ok(()));
        assert_eq!(Outcome::from_outcome(Outcome::Drop), Ok(Outcome::Drop));
        let list = Value::Array(vec![Value::Int(1), Value::from("x")]);
        let mismatch = Vec::<i64>::from_outcome(Outcome::Value(list)).unwrap_err();
        assert_eq!(mismatch.describe(1), "[2]: expected int, got string \"x\"");
    }
}
