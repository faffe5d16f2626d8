//! From a call in the script to a native function: a trampoline per signature shape, and a generic one for the rest.
//!
//! The trampoline is chosen when the function is bound. A typed one reads the arguments in place and falls back to
//! the generic one when their number or types are not exactly right, so that every error and every leniency is
//! decided in one place.

use boa_engine::{Context, JsResult, JsValue, NativeFunction};
use kemi_core::abi::{Kind, RawArg, RawBytes, RawOut, RawRet, Ret, Shape};
use kemi_core::engine::Interpreter;
use kemi_core::registry::Export;
use kemi_core::value::ConversionBudget;
use kemi_core::{Arg, ErrorCode, NativeError, ScriptError, Value};

use crate::bind::BoundExport;
use crate::interpreter::State;
use crate::objects;
use crate::string::Text;
use crate::terminate::raise;
use crate::value::{self, ConvertError, HeldArg, Unfit};

/// Makes the native function of an export, by the shape of the export where there is one.
pub(crate) fn function(bound: BoundExport) -> NativeFunction {
    // SAFETY: function objects are made while the state that they are made for is alive.
    let export = unsafe { bound.export() };
    // A deprecated export warns, which the generic path does.
    let shape = export.typed().filter(|_| export.def().deprecated.is_none()).map(|typed| typed.shape());
    let Some(shape) = shape else { return native(bound, generic) };
    by_shape(bound, shape).unwrap_or_else(|| native(bound, dynamic))
}

fn native(
    bound: BoundExport,
    call: impl Fn(BoundExport, &[JsValue], &mut Context) -> JsResult<JsValue> + Copy + 'static,
) -> NativeFunction {
    NativeFunction::from_copy_closure(move |_this, args, context| call(bound, args, context))
}

/// Makes the native function of a member of a class, which is called on an object.
pub(crate) fn method(bound: BoundExport) -> NativeFunction {
    NativeFunction::from_copy_closure(move |this, args, context| call_on(bound, this, args, context))
}

/// Makes the native function of a member of a class that takes the object alone, whatever it is passed.
pub(crate) fn method_without_arguments(bound: BoundExport) -> NativeFunction {
    NativeFunction::from_copy_closure(move |this, _, context| call_on(bound, this, &[], context))
}

/// Calls a member of a class on an object, which is the first argument.
pub(crate) fn call_on(
    bound: BoundExport,
    this: &JsValue,
    args: &[JsValue],
    context: &mut Context,
) -> JsResult<JsValue> {
    let Some(object) = objects::behind_value(this) else { return without_object(bound, this, context) };
    let mut held = Vec::with_capacity(args.len() + 1);
    held.push(HeldArg::Value(Value::Object(object)));
    generic_after(bound, held, args, context)
}

/// Refuses a call of a member on what is no object of the host.
#[cold]
fn without_object(bound: BoundExport, this: &JsValue, context: &mut Context) -> JsResult<JsValue> {
    // SAFETY: the state's own context is running this.
    let (state, export) = unsafe { (bound.state(), bound.export()) };
    let (class, name) = (export.def().member.map_or("object", |member| member.class.name), export.def().name);
    let got = this.js_type_of().to_std_string_lossy();
    let error = ScriptError::new(ErrorCode::BadArgument, format!("argument 1 'self': expected {class}, got {got}"))
        .with_hint(format!("'{name}' was taken off its object: write `object.{name}(…)`"));
    refuse(state, export, error.into(), context)
}

fn generic(bound: BoundExport, args: &[JsValue], context: &mut Context) -> JsResult<JsValue> {
    generic_after(bound, Vec::with_capacity(args.len()), args, context)
}

/// Calls by the generic entry, with the arguments behind those that are there.
#[inline(always)]
fn generic_after(
    bound: BoundExport,
    mut held: Vec<HeldArg>,
    args: &[JsValue],
    context: &mut Context,
) -> JsResult<JsValue> {
    // SAFETY: the state's own context is running this.
    let (state, export) = unsafe { (bound.state(), bound.export()) };
    let mut budget = ConversionBudget::new();
    for arg in args {
        match HeldArg::new(arg, state.kept(), &mut budget, context) {
            Ok(arg) => held.push(arg),
            Err(ConvertError::Thrown(error)) => return Err(error),
            Err(ConvertError::Unfit(unfit)) => {
                let error = unfit.of(&format!("argument {}", held.len() + 1));
                return refuse(state, export, error.into(), context);
            }
        }
    }
    let args: Vec<Arg<'_>> = held.iter().map(HeldArg::arg).collect();
    call_with(state, export, &args, context)
}

/// Calls by the generic entry.
#[inline(always)]
pub(crate) fn call_with(state: &State, export: &Export, args: &[Arg<'_>], context: &mut Context) -> JsResult<JsValue> {
    let result =
        state.lend_context(context, || state.runtime().host_side(|| state.runtime().invoke(export, args, state)));
    match result {
        // The bytes may be those of an argument, so they are copied while the arguments are there.
        Ok(ret) => give(state, export, ret, context),
        Err(fault) => Err(raise(state.diagnostics(), *fault, context)),
    }
}

/// Gives a result to the script.
fn give(state: &State, export: &Export, ret: Ret, context: &mut Context) -> JsResult<JsValue> {
    value::from_ret(ret, state, context, |error, context| not_given(state, export, error, context))
}

/// Raises what has kept a result from the script.
#[cold]
fn not_given(state: &State, export: &Export, error: ConvertError, context: &mut Context) -> JsResult<JsValue> {
    let error = match error {
        ConvertError::Thrown(error) => return Err(error),
        ConvertError::Unfit(Unfit::Other(error)) => error,
        ConvertError::Unfit(unfit) => unfit.of("the result"),
    };
    refuse(state, export, error.into(), context)
}

/// Raises an error of a native call that the function itself knows nothing of.
#[cold]
fn refuse(state: &State, export: &Export, fault: Box<NativeError>, context: &mut Context) -> JsResult<JsValue> {
    match state.lend_context(context, || state.runtime().finish_error(export, fault, state)) {
        Ok(ret) => value::from_ret(ret, state, context, |_, _| Ok(JsValue::null())),
        Err(fault) => Err(raise(state.diagnostics(), *fault, context)),
    }
}

/// A parameter that a typed trampoline reads.
trait FromArg {
    type Raw: RawArg;
    type Held;
    /// Takes the argument if it is exactly of this type.
    fn take(value: &JsValue) -> Option<Self::Held>;
    /// # Safety
    /// The result is used only as long as `held` lives.
    unsafe fn raw(held: &Self::Held) -> Self::Raw;
}

macro_rules! scalar_from_arg {
    ($($ty:ty, $take:expr;)*) => {$(
        impl FromArg for $ty {
            type Raw = $ty;
            type Held = $ty;
            fn take(value: &JsValue) -> Option<$ty> {
                $take(value)
            }
            unsafe fn raw(held: &$ty) -> $ty {
                *held
            }
        }
    )*};
}
scalar_from_arg! {
    bool, JsValue::as_boolean;
    i64, value::integer;
    f64, JsValue::as_number;
}

impl FromArg for RawBytes {
    type Raw = RawBytes;
    type Held = Text;

    fn take(value: &JsValue) -> Option<Text> {
        value.as_string().map(Text::new)
    }

    unsafe fn raw(held: &Text) -> RawBytes {
        let bytes = held.bytes();
        // SAFETY: the bytes belong to `held`, which the caller keeps; strings of the script never change.
        unsafe {
            match held.is_ascii() {
                true => RawBytes::text(bytes.as_ptr(), bytes.len()),
                false => RawBytes::new(bytes.as_ptr(), bytes.len()),
            }
        }
    }
}

/// Calls a typed entry and gives its result to the script.
#[inline(always)]
fn call<R: RawRet>(
    state: &State,
    export: &Export,
    context: &mut Context,
    typed: impl FnOnce(*mut ()) -> Result<R, Box<NativeError>>,
) -> JsResult<JsValue> {
    // SAFETY: the function object was made for an export of this runtime's registry. Only the script calls it, and whoever
    // runs the script from within a native function has taken the context out of its slot. `typed` is the typed entry.
    let native = || match unsafe { state.runtime().typed(export, || state.place(), typed) } {
        Ok(raw) => Ok(raw.into_ret()),
        Err(fault) => state.runtime().finish_error(export, fault, state),
    };
    let result = state.lend_context(context, || state.runtime().host_side(native));
    match result {
        // Whatever else the entry returns, it is a scalar or borrowed text.
        Ok(ret) if R::KIND != Kind::Any => Ok(value::from_plain(ret)),
        Ok(ret) => give(state, export, ret, context),
        Err(fault) => Err(raise(state.diagnostics(), *fault, context)),
    }
}

/// An argument of a signature without a trampoline of its own.
enum DynArg {
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Text),
}

impl DynArg {
    /// Takes the argument if it is exactly of a kind.
    fn take(kind: Kind, value: &JsValue) -> Option<DynArg> {
        match kind {
            Kind::Bool => bool::take(value).map(DynArg::Bool),
            Kind::Int => i64::take(value).map(DynArg::Int),
            Kind::Float => f64::take(value).map(DynArg::Float),
            Kind::Bytes => RawBytes::take(value).map(DynArg::Text),
            Kind::Nil | Kind::Any | Kind::Object => None,
        }
    }

    fn arg(&self) -> Arg<'_> {
        match self {
            DynArg::Bool(b) => Arg::Bool(*b),
            DynArg::Int(i) => Arg::Int(*i),
            DynArg::Float(x) => Arg::Float(*x),
            DynArg::Text(text) => Arg::Str(text.bytes()),
        }
    }
}

/// Calls by the typed entry, whatever the shape.
fn dynamic(bound: BoundExport, args: &[JsValue], context: &mut Context) -> JsResult<JsValue> {
    // SAFETY: the state's own context is running this.
    let (state, export) = unsafe { (bound.state(), bound.export()) };
    let Some(typed) = &export.typed() else { return generic(bound, args, context) };
    let kinds = typed.shape().params();
    let count = args.len();
    if kinds.len() != count {
        return generic(bound, args, context);
    }
    let mut held = [const { None }; Shape::MAX_PARAMS];
    for ((kind, value), slot) in kinds.zip(args).zip(&mut held) {
        *slot = DynArg::take(kind, value);
        if slot.is_none() {
            return generic(bound, args, context);
        }
    }
    let list = held.each_ref().map(|held| held.as_ref().map_or(Arg::Nil, DynArg::arg));
    let list = list.get(..count).unwrap_or_default();
    // SAFETY: `host` is the context that the runtime lends for this call, and what the arguments borrow from lives until
    // the end.
    call(state, export, context, |host| unsafe { typed.call(host, list) })
}

macro_rules! trampolines {
    ($($name:ident $call:ident ($($ty:ident $held:ident),*);)*) => {$(
        fn $name<$($ty: FromArg,)* R: RawRet>(bound: BoundExport, args: &[JsValue], context: &mut Context) -> JsResult<JsValue> {
            // SAFETY: the state's own context is running this.
            let (state, export) = unsafe { (bound.state(), bound.export()) };
            let (Some(typed), [$($held),*]) = (&export.typed(), args) else {
                return generic(bound, args, context);
            };
            $(let Some($held) = $ty::take($held) else {
                return generic(bound, args, context);
            };)*
            call(state, export, context, |host| {
                // SAFETY: this trampoline was chosen by the export's shape, `host` is the context that the runtime
                // lends for this call, and what the arguments borrow from lives until the end.
                unsafe { typed.$call::<$($ty::Raw,)* R>(host $(, $ty::raw(&$held))*) }
            })
        }
    )*};
}
trampolines! {
    typed0 call0 ();
    typed1 call1 (A a);
    typed2 call2 (A a, B b);
    typed3 call3 (A a, B b, D d);
    typed4 call4 (A a, B b, D d, E e);
}

/// Finds the trampoline of a shape: each list of parameters below, with each kind of result.
fn by_shape(bound: BoundExport, shape: Shape) -> Option<NativeFunction> {
    macro_rules! table {
        ($($typed:ident ($($ty:ty),*);)*) => {$(
            table!(@result $typed ($($ty),*) () bool i64 f64 RawOut Ret);
        )*};
        (@result $typed:ident $types:tt $($result:ty)*) => {$(
            { table!(@one $typed $types $result); }
        )*};
        (@one $typed:ident ($($ty:ty),*) $result:ty) => {
            const SHAPE: Shape = Shape::of(&[$(<$ty as RawArg>::KIND),*], <$result as RawRet>::KIND);
            if shape == SHAPE {
                return Some(native(bound, |bound, args, context| $typed::<$($ty,)* $result>(bound, args, context)));
            }
        };
    }
    type Bytes = RawBytes;
    table! {
        typed0 ();
        typed1 (i64);
        typed1 (bool);
        typed1 (f64);
        typed1 (Bytes);
        typed2 (i64, i64);
        typed2 (Bytes, i64);
        typed2 (i64, Bytes);
        typed2 (Bytes, Bytes);
        typed3 (Bytes, Bytes, Bytes);
        typed3 (Bytes, Bytes, i64);
        typed3 (Bytes, i64, i64);
        typed4 (Bytes, Bytes, Bytes, Bytes);
    }
    None
}
