//! The typed path: one trampoline for each shape of signature, found by Rhai itself through the argument types.

use std::any::TypeId;
use std::rc::Rc;

use kemi_core::{Arg, Fault, Kind, RawBytes, RawOut, Ret, Runtime, Shape, Typed};
use rhai::{Dynamic, DynamicReadLock, ImmutableString, NativeCallContext};

use crate::bind::{Binding, NativeFn};
use crate::string;
use crate::value::{Held, bytes_to_dynamic, ret_to_dynamic};

/// Returns the trampoline for an export with the argument types it is for.
pub(crate) fn trampoline(binding: &Rc<Binding>, typed: Typed) -> (Vec<TypeId>, Rc<NativeFn>) {
    macro_rules! shapes {
        ($([$($kind:ident)*] $call:ident;)*) => {
            $(shapes! { @results [$($kind)*] $call; Nil (), Bool bool, Int i64, Float f64, Bytes RawOut, Any Ret })*
        };
        (@results $kinds:tt $call:ident; $($result:ident $ret:ty),*) => {
            $(shapes! { @one $kinds $call $result $ret })*
        };
        (@one [$($kind:ident)*] $call:ident $result:ident $ret:ty) => {
            if typed.shape() == Shape::of(&[$(Kind::$kind),*], Kind::$result) {
                return shape!(binding, typed, $call [$($kind)*] $ret);
            }
        };
    }
    macro_rules! shape {
        ($binding:ident, $typed:ident, $call:ident [] $ret:ty) => {
            (Vec::new(), $binding.native(move |binding, call, _args| {
                // SAFETY: the shape is the one of this result without parameters, and the context is the export's.
                let result = binding.typed(call, |context| unsafe { $typed.$call::<$ret>(context) });
                binding.finish(call, result)
            }))
        };
        ($binding:ident, $typed:ident, $call:ident [$($kind:ident)+] $ret:ty) => {
            (
                vec![$(<marker::$kind as Parameter>::type_id()),+],
                $binding.native(move |binding, call, args| {
                    let mut rest = args.iter();
                    let held = ($(rest.next().and_then(|arg| marker::$kind::hold(arg)),)+);
                    match numbered!(held; $($kind)+) {
                        Some(raw) => {
                            // SAFETY: the shape is the one of these parameters and result, and the context is the
                            // export's.
                            let result = binding.typed(call, |context| unsafe {
                                spread!($typed $call $ret; context, raw; $($kind)+)
                            });
                            binding.finish(call, result)
                        }
                        None => binding.generic(call, args),
                    }
                }),
            )
        };
    }
    /// Borrows each held argument, if all are there.
    macro_rules! numbered {
        ($held:ident; $a:ident) => {
            match &$held {
                (Some(a),) => Some((marker::$a::raw(a),)),
                _ => None,
            }
        };
        ($held:ident; $a:ident $b:ident) => {
            match &$held {
                (Some(a), Some(b)) => Some((marker::$a::raw(a), marker::$b::raw(b))),
                _ => None,
            }
        };
        ($held:ident; $a:ident $b:ident $c:ident) => {
            match &$held {
                (Some(a), Some(b), Some(c)) => Some((marker::$a::raw(a), marker::$b::raw(b), marker::$c::raw(c))),
                _ => None,
            }
        };
    }
    macro_rules! spread {
        ($typed:ident $call:ident $ret:ty; $context:ident, $raw:ident; $a:ident) => {
            $typed.$call::<_, $ret>($context, $raw.0)
        };
        ($typed:ident $call:ident $ret:ty; $context:ident, $raw:ident; $a:ident $b:ident) => {
            $typed.$call::<_, _, $ret>($context, $raw.0, $raw.1)
        };
        ($typed:ident $call:ident $ret:ty; $context:ident, $raw:ident; $a:ident $b:ident $c:ident) => {
            $typed.$call::<_, _, _, $ret>($context, $raw.0, $raw.1, $raw.2)
        };
    }
    shapes! {
        [] call0;
        [Int] call1;
        [Bytes] call1;
        [Bool] call1;
        [Int Int] call2;
        [Bytes Int] call2;
        [Int Bytes] call2;
        [Bytes Bytes] call2;
        [Bytes Bytes Int] call3;
        [Bytes Bytes Bytes] call3;
    }
    listed(binding, typed)
}

/// The trampoline of the other shapes: the arguments go through a list.
fn listed(binding: &Rc<Binding>, typed: Typed) -> (Vec<TypeId>, Rc<NativeFn>) {
    let type_of = |kind| match kind {
        Kind::Bool => TypeId::of::<bool>(),
        Kind::Int => TypeId::of::<i64>(),
        Kind::Float => TypeId::of::<f64>(),
        Kind::Bytes => TypeId::of::<ImmutableString>(),
        Kind::Nil | Kind::Any => TypeId::of::<Dynamic>(),
    };
    let call = move |binding: &Binding, call: &NativeCallContext<'_>, args: &[&mut Dynamic]| {
        let mut held: [Option<Held<'_>>; Shape::MAX_PARAMS] = [const { None }; Shape::MAX_PARAMS];
        for (slot, arg) in held.iter_mut().zip(args) {
            *slot = Held::plain(arg);
        }
        let mut list = [Arg::Nil; Shape::MAX_PARAMS];
        for (slot, held) in list.iter_mut().zip(&held) {
            *slot = held.as_ref().map_or(Arg::Nil, Held::arg);
        }
        let fits = |(kind, arg): (Kind, &Arg<'_>)| {
            matches!(
                (kind, arg),
                (Kind::Bool, Arg::Bool(_))
                    | (Kind::Int, Arg::Int(_))
                    | (Kind::Float, Arg::Float(_))
                    | (Kind::Bytes, Arg::Str(_))
            )
        };
        match list.get(..args.len()) {
            Some(list) if typed.shape().params().len() == list.len() && typed.shape().params().zip(list).all(fits) => {
                // SAFETY: the context is the export's; what the list borrows is held until the end.
                let result = binding.typed(call, |context| unsafe { typed.call(context, list) });
                binding.finish(call, result)
            }
            _ => binding.generic(call, args),
        }
    };
    (typed.shape().params().map(type_of).collect(), binding.native(call))
}

/// A result of a typed entry.
pub(crate) trait Returned {
    /// Converts it into a value of the script.
    fn into_dynamic(self, runtime: &Runtime) -> Dynamic;
}

macro_rules! returned {
    ($($ty:ty, |$v:ident, $runtime:ident| $value:expr;)*) => {$(
        impl Returned for $ty {
            #[inline]
            fn into_dynamic(self, $runtime: &Runtime) -> Dynamic {
                let $v = self;
                $value
            }
        }
    )*};
}
returned! {
    (), |_v, _runtime| Dynamic::UNIT;
    bool, |v, _runtime| v.into();
    i64, |v, _runtime| v.into();
    f64, |v, _runtime| v.into();
    // SAFETY: `Binding::finish` converts right after the native function returned, before the context is used again.
    RawOut, |v, _runtime| bytes_to_dynamic(unsafe { v.bytes() });
    Ret, |v, runtime| ret_to_dynamic(runtime, v);
}

/// The result of a typed call before it is settled.
pub(crate) type TypedResult<R> = Result<R, Box<Fault>>;

/// A kind of parameter: the Rhai type that Rhai finds the trampoline by, and how to read it.
trait Parameter {
    type Held<'a>;
    type Raw;
    fn type_id() -> TypeId;
    /// Looks at an argument; `None` when it must take the generic path.
    fn hold(value: &Dynamic) -> Option<Self::Held<'_>>;
    /// Passes it; what is held outlives the call.
    fn raw(held: &Self::Held<'_>) -> Self::Raw;
}

mod marker {
    pub(super) struct Bool;
    pub(super) struct Bytes;
    pub(super) struct Int;
}

impl Parameter for marker::Bool {
    type Held<'a> = bool;
    type Raw = bool;
    fn type_id() -> TypeId {
        TypeId::of::<bool>()
    }
    fn hold(value: &Dynamic) -> Option<bool> {
        value.as_bool().ok()
    }
    fn raw(held: &bool) -> bool {
        *held
    }
}

impl Parameter for marker::Int {
    type Held<'a> = i64;
    type Raw = i64;
    fn type_id() -> TypeId {
        TypeId::of::<i64>()
    }
    fn hold(value: &Dynamic) -> Option<i64> {
        value.as_int().ok()
    }
    fn raw(held: &i64) -> i64 {
        *held
    }
}

impl Parameter for marker::Bytes {
    type Held<'a> = DynamicReadLock<'a, ImmutableString>;
    type Raw = RawBytes;
    fn type_id() -> TypeId {
        TypeId::of::<ImmutableString>()
    }
    fn hold(value: &Dynamic) -> Option<Self::Held<'_>> {
        value.read_lock::<ImmutableString>().filter(|text| !string::may_hold_escapes(text))
    }
    fn raw(held: &Self::Held<'_>) -> RawBytes {
        // SAFETY: the trampoline keeps the lock until the call is over, and a string under it does not change.
        unsafe { RawBytes::text(held.as_ptr(), held.len()) }
    }
}
