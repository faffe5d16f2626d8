//! Script → native: the functions that Rhai calls.
//!
//! Each export has a trampoline for its shape of signature, which Rhai itself finds through the argument types, and one
//! that takes arguments of any number and types.

use std::any::TypeId;
use std::rc::Rc;

use kemi_core::abi::{Kind, RawBytes, RawOut, Ret, Shape};
use kemi_core::engine::Interpreter;
use kemi_core::export::Typed;
use kemi_core::{Arg, NativeError, ScriptError};
use rhai::{Dynamic, DynamicReadLock, ImmutableString, NativeCallContext};

use crate::bind::{BoundExport, Called, FunctionObject, NativeFn};
use crate::call::CallView;
use crate::error::raise;
use crate::objects::ObjectHandle;
use crate::string;
use crate::value::{HeldArg, Keeper, ToHost, bytes_to_dynamic, most_arguments, ret_to_dynamic};

/// Makes the function objects of an export.
pub(crate) fn function_objects(bound: &Rc<BoundExport>) -> Vec<FunctionObject> {
    let def = bound.export().def();
    let generic = native(bound, call_generic);
    let mut objects: Vec<FunctionObject> = (0..=most_arguments(bound.export()))
        .map(|arity| FunctionObject { types: vec![TypeId::of::<Dynamic>(); arity], function: generic.clone() })
        .collect();
    // A deprecated function is warned of on the generic path.
    if let Some(typed) = bound.export().typed().filter(|_| def.deprecated.is_none()) {
        objects.push(typed_object(bound, typed));
    }
    objects
}

/// Makes a native function of a trampoline.
fn native(
    bound: &Rc<BoundExport>,
    trampoline: impl Fn(&BoundExport, &NativeCallContext<'_>, &[&mut Dynamic]) -> Called + 'static,
) -> Rc<NativeFn> {
    let bound = bound.clone();
    Rc::new(move |call: Option<NativeCallContext<'_>>, args: &mut [&mut Dynamic]| match call {
        Some(call) => trampoline(&bound, &call, args),
        // Rhai passes a context to each function registered with one.
        None => Err("a native function was called without its context".into()),
    })
}

/// Calls the export with arguments of any number and types.
fn call_generic(bound: &BoundExport, call: &NativeCallContext<'_>, args: &[&mut Dynamic]) -> Called {
    let view = CallView::of_call(bound.state(), call);
    let runtime = bound.runtime();
    let result = runtime.host_side(|| {
        let mut to_host = ToHost::new("the argument", Some(Keeper { state: bound.state(), call: Some(call) }));
        let mut params = bound.export().def().params.iter();
        let held = args.iter().map(|arg| HeldArg::of(arg, params.next(), &mut to_host));
        let held: Vec<HeldArg<'_>> = match held.collect() {
            Ok(held) => held,
            Err(error) => return runtime.finish_error(bound.export(), error.into(), &view),
        };
        let args: Vec<Arg<'_>> = held.iter().map(HeldArg::arg).collect();
        runtime.invoke(bound.export(), &args, &view)
    });
    returned(bound, call, result)
}

/// Calls the export's typed entry.
#[inline]
fn call_typed<R>(
    bound: &BoundExport,
    call: &NativeCallContext<'_>,
    run: impl FnOnce(*mut ()) -> TypedResult<R>,
) -> TypedResult<R> {
    let runtime = bound.runtime();
    let place = || CallView::of_call(bound.state(), call).place();
    runtime.host_side(|| {
        // SAFETY: `bound` was made for an export of this runtime's registry. Only the script calls it, and whoever runs the
        // script from within a native function has taken the context out of its slot. `run` is the typed entry.
        unsafe { runtime.typed(bound.export(), place, run) }
    })
}

/// Turns the outcome of a typed call into a value of the script or what ends the call.
#[inline]
fn finish_typed<R: Returned>(bound: &BoundExport, call: &NativeCallContext<'_>, result: TypedResult<R>) -> Called {
    match result {
        Ok(value) => value.into_dynamic(bound, call),
        Err(fault) => settle(bound, call, fault),
    }
}

#[cold]
fn settle(bound: &BoundExport, call: &NativeCallContext<'_>, fault: Box<NativeError>) -> Called {
    let view = CallView::of_call(bound.state(), call);
    returned(bound, call, bound.runtime().finish_error(bound.export(), fault, &view))
}

fn returned(bound: &BoundExport, call: &NativeCallContext<'_>, result: Result<Ret, Box<NativeError>>) -> Called {
    match result {
        Ok(ret) => ret_to_dynamic(bound.state(), ret).or_else(|error| unconvertible(bound, call, error)),
        Err(fault) => Err(raise(bound.runtime(), *fault, call.call_position())),
    }
}

/// Raises the error of a result that has no counterpart in the script: a function of another one.
#[cold]
fn unconvertible(bound: &BoundExport, call: &NativeCallContext<'_>, error: ScriptError) -> Called {
    let view = CallView::of_call(bound.state(), call);
    match bound.runtime().finish_error(bound.export(), error.into(), &view) {
        // Only a bad argument becomes a result, and a result is none.
        Ok(_) => Ok(Dynamic::UNIT),
        Err(fault) => Err(raise(bound.runtime(), *fault, call.call_position())),
    }
}

/// Makes the function object for an export's typed entry.
fn typed_object(bound: &Rc<BoundExport>, typed: Typed) -> FunctionObject {
    macro_rules! shapes {
        ($([$($kind:ident)*] $call:ident;)*) => {
            $(shapes! { @results [$($kind)*] $call; Nil (), Bool bool, Int i64, Float f64, Bytes RawOut, Any Ret })*
        };
        (@results $kinds:tt $call:ident; $($result:ident $ret:ty),*) => {
            $(shapes! { @one $kinds $call $result $ret })*
        };
        (@one [$($kind:ident)*] $call:ident $result:ident $ret:ty) => {
            if typed.shape() == Shape::of(&[$(Kind::$kind),*], Kind::$result) {
                return shape!(bound, typed, $call [$($kind)*] $ret);
            }
        };
    }
    macro_rules! shape {
        ($bound:ident, $typed:ident, $call:ident [] $ret:ty) => {
            FunctionObject {
                types: Vec::new(),
                function: native($bound, move |bound, call, _args| {
                    // SAFETY: the shape is the one of this result without parameters, and the context is the export's.
                    let result = call_typed(bound, call, |context| unsafe { $typed.$call::<$ret>(context) });
                    finish_typed(bound, call, result)
                }),
            }
        };
        ($bound:ident, $typed:ident, $call:ident [$($kind:ident)+] $ret:ty) => {
            FunctionObject {
                types: vec![$(<marker::$kind as Parameter>::type_id()),+],
                function: native($bound, move |bound, call, args| {
                    let mut rest = args.iter();
                    let held = ($(rest.next().and_then(|arg| marker::$kind::hold(arg)),)+);
                    match numbered!(held; $($kind)+) {
                        Some(raw) => {
                            // SAFETY: the shape is the one of these parameters and result, and the context is the
                            // export's.
                            let result = call_typed(bound, call, |context| unsafe {
                                spread!($typed $call $ret; context, raw; $($kind)+)
                            });
                            finish_typed(bound, call, result)
                        }
                        None => call_generic(bound, call, args),
                    }
                }),
            }
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
    listed_object(bound, typed)
}

/// Makes the function object for the other shapes: the arguments go through a list.
fn listed_object(bound: &Rc<BoundExport>, typed: Typed) -> FunctionObject {
    let type_of = |kind| match kind {
        Kind::Bool => TypeId::of::<bool>(),
        Kind::Int => TypeId::of::<i64>(),
        Kind::Float => TypeId::of::<f64>(),
        Kind::Bytes => TypeId::of::<ImmutableString>(),
        Kind::Object => TypeId::of::<ObjectHandle>(),
        Kind::Nil | Kind::Any => TypeId::of::<Dynamic>(),
    };
    FunctionObject {
        types: typed.shape().params().map(type_of).collect(),
        function: native(bound, move |bound, call, args| call_listed(bound, typed, call, args)),
    }
}

/// Calls an export with arguments of any number and types, by its typed entry if they fit.
#[inline]
pub(crate) fn call_export(bound: &BoundExport, call: &NativeCallContext<'_>, args: &[&mut Dynamic]) -> Called {
    // A deprecated function is warned of on the generic path.
    match bound.export().typed().filter(|_| bound.export().def().deprecated.is_none()) {
        Some(typed) => call_listed(bound, typed, call, args),
        None => call_generic(bound, call, args),
    }
}

/// Calls the typed entry with a list of arguments; the generic one if they do not fit.
#[inline(always)]
fn call_listed(bound: &BoundExport, typed: Typed, call: &NativeCallContext<'_>, args: &[&mut Dynamic]) -> Called {
    let mut held: [Option<HeldArg<'_>>; Shape::MAX_PARAMS] = [const { None }; Shape::MAX_PARAMS];
    for (slot, arg) in held.iter_mut().zip(args) {
        *slot = HeldArg::plain(arg).or_else(|| ObjectHandle::of(arg).map(HeldArg::Object));
    }
    let mut list = [Arg::Nil; Shape::MAX_PARAMS];
    for (slot, held) in list.iter_mut().zip(&held) {
        *slot = held.as_ref().map_or(Arg::Nil, HeldArg::arg);
    }
    let fits = |(kind, arg): (Kind, &Arg<'_>)| {
        matches!(
            (kind, arg),
            (Kind::Bool, Arg::Bool(_))
                | (Kind::Int, Arg::Int(_))
                | (Kind::Float, Arg::Float(_))
                | (Kind::Bytes, Arg::Str(_))
                | (Kind::Object, Arg::Object(_))
        )
    };
    match list.get(..args.len()) {
        Some(list) if typed.shape().params().len() == list.len() && typed.shape().params().zip(list).all(fits) => {
            // SAFETY: the context is the export's; what the list borrows is held until the end.
            let result = call_typed(bound, call, |context| unsafe { typed.call(context, list) });
            finish_typed(bound, call, result)
        }
        _ => call_generic(bound, call, args),
    }
}

/// A result of a typed entry.
trait Returned {
    /// Converts it into a value of the script, or raises an error there.
    fn into_dynamic(self, bound: &BoundExport, call: &NativeCallContext<'_>) -> Called;
}

macro_rules! returned {
    ($($ty:ty, |$v:ident| $value:expr;)*) => {$(
        impl Returned for $ty {
            #[inline]
            fn into_dynamic(self, _bound: &BoundExport, _call: &NativeCallContext<'_>) -> Called {
                let $v = self;
                Ok($value)
            }
        }
    )*};
}
returned! {
    (), |_v| Dynamic::UNIT;
    bool, |v| v.into();
    i64, |v| v.into();
    f64, |v| v.into();
    // SAFETY: `finish_typed` converts right after the native function returned, before the context is used again.
    RawOut, |v| bytes_to_dynamic(unsafe { v.bytes() });
}

impl Returned for Ret {
    #[inline]
    fn into_dynamic(self, bound: &BoundExport, call: &NativeCallContext<'_>) -> Called {
        ret_to_dynamic(bound.state(), self).or_else(|error| unconvertible(bound, call, error))
    }
}

/// The result of a typed call before it is settled.
type TypedResult<R> = Result<R, Box<NativeError>>;

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
