//! From a call in the script to a native function: a trampoline per signature shape, and a generic one for the rest.
//!
//! The trampoline is chosen when the function is bound. A typed one reads the arguments in place and falls back to
//! the generic one when their number or types are not exactly right, so that every error and every leniency is
//! decided in one place.

use boa_engine::error::{EngineError, RuntimeLimitError};
use boa_engine::{Context, JsError, JsNativeError, JsResult, JsValue, NativeFunction};
use kemi_core::{
    Arg, ConversionBudget, Export, Fault, Interpreter, Kind, RawArg, RawBytes, RawOut, RawRet, Ret, Shape,
};

use crate::error;
use crate::interpreter::Core;
use crate::string::Text;
use crate::value::{self, Held, Trouble};

/// What a native function object knows: its export and the interpreter it belongs to.
#[derive(Clone, Copy)]
pub(crate) struct Bound {
    core: *const Core,
    export: *const Export,
}

impl Bound {
    /// Binds an export of the core's own registry.
    ///
    /// # Safety
    /// `export` belongs to the registry of `core`, and the function object made from this is given to no context
    /// but the core's own.
    pub(crate) unsafe fn new(core: &Core, export: &Export) -> Bound {
        Bound { core, export }
    }

    /// Makes the native function, by the shape of the export where there is one.
    pub(crate) fn function(self) -> NativeFunction {
        // SAFETY: function objects are made while the core that they are made for is alive.
        let def = unsafe { self.export() }.def();
        let shape = if def.deprecated.is_none() { def.typed.map(|typed| typed.shape()) } else { None };
        let Some(shape) = shape else { return self.native(generic) };
        by_shape(self, shape).unwrap_or_else(|| self.native(listed))
    }

    fn native(
        self,
        call: impl Fn(Bound, &[JsValue], &mut Context) -> JsResult<JsValue> + Copy + 'static,
    ) -> NativeFunction {
        NativeFunction::from_copy_closure(move |_this, args, context| call(self, args, context))
    }

    /// # Safety
    /// The core is alive: so it is while its context runs, which it owns.
    unsafe fn core<'a>(self) -> &'a Core {
        // SAFETY: made from a reference; the caller vouches for the life time.
        unsafe { &*self.core }
    }

    /// # Safety
    /// The core is alive, and so is its registry, which holds the export at a fixed address.
    unsafe fn export<'a>(self) -> &'a Export {
        // SAFETY: made from a reference; the caller vouches for the life time.
        unsafe { &*self.export }
    }
}

/// The error that a native function returns to end the callback: Boa unwinds everything for it, `finally` included.
///
/// [`Runtime::ending`](kemi_core::Runtime::ending) tells it from a limit that was really reached.
pub(crate) fn ending() -> JsError {
    JsError::from(EngineError::RuntimeLimit(RuntimeLimitError::LoopIteration))
}

/// Turns a fault into what the script sees of it.
pub(crate) fn raise(core: &Core, fault: Fault, context: &mut Context) -> JsError {
    match fault {
        Fault::Exit | Fault::Drop => ending(),
        Fault::Error(error) => {
            let native = JsNativeError::error().with_message(error::text_of(&error));
            error::carrying(core, native, error, context)
        }
    }
}

fn generic(bound: Bound, args: &[JsValue], context: &mut Context) -> JsResult<JsValue> {
    // SAFETY: the core's own context is running this.
    let (core, export) = unsafe { (bound.core(), bound.export()) };
    let mut budget = ConversionBudget::new();
    let held: Result<Vec<Held>, Trouble> = args.iter().map(|arg| Held::new(arg, &mut budget, context)).collect();
    let result = match held {
        Ok(held) => {
            let args: Vec<Arg<'_>> = held.iter().map(Held::arg).collect();
            match core.during(context, || core.runtime().host_side(|| core.runtime().invoke(export, &args, core))) {
                // The bytes may be those of an argument, so they are copied while the arguments are there.
                Ok(ret) => return value::from_ret(ret, core.runtime(), context),
                Err(fault) => Err(fault),
            }
        }
        Err(Trouble::Thrown(error)) => return Err(error),
        Err(Trouble::Error(error)) => core.during(context, || core.runtime().settle(export, error.into(), core)),
    };
    match result {
        Ok(ret) => value::from_ret(ret, core.runtime(), context),
        Err(fault) => Err(raise(core, *fault, context)),
    }
}

/// A parameter that a typed trampoline reads.
trait Take {
    type Raw: RawArg;
    type Held;
    /// Takes the argument if it is exactly of this type.
    fn take(value: &JsValue) -> Option<Self::Held>;
    /// # Safety
    /// The result is used only as long as `held` lives.
    unsafe fn raw(held: &Self::Held) -> Self::Raw;
}

macro_rules! take_scalar {
    ($($ty:ty, $take:expr;)*) => {$(
        impl Take for $ty {
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
take_scalar! {
    bool, JsValue::as_boolean;
    i64, value::integer;
    f64, JsValue::as_number;
}

impl Take for RawBytes {
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
    core: &Core,
    export: &Export,
    context: &mut Context,
    typed: impl FnOnce(*mut ()) -> Result<R, Box<Fault>>,
) -> JsResult<JsValue> {
    // SAFETY: the function object was made for an export of this runtime's registry. Only the script calls it, and whoever
    // runs the script from within a native function has taken the context out of its slot. `typed` is the typed entry.
    let native = || match unsafe { core.runtime().typed(export, || core.place(), typed) } {
        Ok(raw) => Ok(raw.into_ret()),
        Err(fault) => core.runtime().settle(export, fault, core),
    };
    let result = core.during(context, || core.runtime().host_side(native));
    match result {
        Ok(ret) => value::from_ret(ret, core.runtime(), context),
        Err(fault) => Err(raise(core, *fault, context)),
    }
}

/// An argument of a signature without a trampoline of its own.
enum Listed {
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Text),
}

impl Listed {
    /// Takes the argument if it is exactly of a kind.
    fn take(kind: Kind, value: &JsValue) -> Option<Listed> {
        match kind {
            Kind::Bool => bool::take(value).map(Listed::Bool),
            Kind::Int => i64::take(value).map(Listed::Int),
            Kind::Float => f64::take(value).map(Listed::Float),
            Kind::Bytes => RawBytes::take(value).map(Listed::Text),
            Kind::Nil | Kind::Any => None,
        }
    }

    fn arg(&self) -> Arg<'_> {
        match self {
            Listed::Bool(b) => Arg::Bool(*b),
            Listed::Int(i) => Arg::Int(*i),
            Listed::Float(x) => Arg::Float(*x),
            Listed::Text(text) => Arg::Str(text.bytes()),
        }
    }
}

/// Calls by the typed entry, whatever the shape.
fn listed(bound: Bound, args: &[JsValue], context: &mut Context) -> JsResult<JsValue> {
    // SAFETY: the core's own context is running this.
    let (core, export) = unsafe { (bound.core(), bound.export()) };
    let Some(typed) = &export.def().typed else { return generic(bound, args, context) };
    let kinds = typed.shape().params();
    let count = args.len();
    if kinds.len() != count {
        return generic(bound, args, context);
    }
    let mut held = [const { None }; Shape::MAX_PARAMS];
    for ((kind, value), slot) in kinds.zip(args).zip(&mut held) {
        *slot = Listed::take(kind, value);
        if slot.is_none() {
            return generic(bound, args, context);
        }
    }
    let list = held.each_ref().map(|held| held.as_ref().map_or(Arg::Nil, Listed::arg));
    let list = list.get(..count).unwrap_or_default();
    // SAFETY: `host` is the context that the runtime lends for this call, and what the arguments borrow from lives until
    // the end.
    call(core, export, context, |host| unsafe { typed.call(host, list) })
}

macro_rules! trampolines {
    ($($name:ident $call:ident ($($ty:ident $held:ident),*);)*) => {$(
        fn $name<$($ty: Take,)* R: RawRet>(bound: Bound, args: &[JsValue], context: &mut Context) -> JsResult<JsValue> {
            // SAFETY: the core's own context is running this.
            let (core, export) = unsafe { (bound.core(), bound.export()) };
            let (Some(typed), [$($held),*]) = (&export.def().typed, args) else {
                return generic(bound, args, context);
            };
            $(let Some($held) = $ty::take($held) else {
                return generic(bound, args, context);
            };)*
            call(core, export, context, |host| {
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
fn by_shape(bound: Bound, shape: Shape) -> Option<NativeFunction> {
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
                return Some(bound.native(|bound, args, context| $typed::<$($ty,)* $result>(bound, args, context)));
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
