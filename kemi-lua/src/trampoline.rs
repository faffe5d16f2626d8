//! The C functions behind the exports: one for each common shape of a signature, and a generic one.

use std::ffi::c_int;
use std::ptr;

use kemi_core::abi::{Kind, RawArg, RawBytes, RawObject, RawOut, RawRet, Ret, Shape};
use kemi_core::export::Role;
use kemi_core::registry::Export;
use kemi_core::value::Type;
use kemi_core::{Arg, ErrorCode, NativeError, ScriptError, Value};

use crate::bind::{self, BoundExport};
use crate::call::{CallState, RootedBuffer};
use crate::ffi::{self, LuaThread};
use crate::value::Reader;
use crate::{error, frames, objects, string, terminate, value};

/// Chooses the C function for an export.
pub(crate) fn function_of(bound: &BoundExport) -> ffi::lua_CFunction {
    bound.typed().map_or(generic, |typed| by_shape(typed.shape()).unwrap_or(listed))
}

/// A parameter that is read straight from the stack.
trait FromStack: RawArg {
    /// Reads it if the type matches exactly.
    ///
    /// # Safety
    /// The index is valid; the result is used only while the argument is on the stack.
    unsafe fn read(l: LuaThread, index: c_int) -> Option<Self>
    where
        Self: Sized;
}

impl FromStack for i64 {
    #[inline]
    unsafe fn read(l: LuaThread, index: c_int) -> Option<i64> {
        // SAFETY: as the caller's.
        unsafe { value::integer(l, index) }
    }
}

impl FromStack for bool {
    #[inline]
    unsafe fn read(l: LuaThread, index: c_int) -> Option<bool> {
        // SAFETY: neither call raises.
        unsafe { (ffi::lua_type(l, index) == ffi::LUA_TBOOLEAN).then(|| ffi::lua_toboolean(l, index) != 0) }
    }
}

impl FromStack for RawBytes {
    #[inline]
    unsafe fn read(l: LuaThread, index: c_int) -> Option<RawBytes> {
        // SAFETY: a string is not converted, and stays on the stack during the call.
        unsafe {
            if ffi::lua_type(l, index) != ffi::LUA_TSTRING {
                return None;
            }
            let mut length = 0;
            let pointer = ffi::lua_tolstring(l, index, &raw mut length);
            Some(RawBytes::new(pointer.cast(), length))
        }
    }
}

impl FromStack for RawObject {
    #[inline]
    unsafe fn read(l: LuaThread, index: c_int) -> Option<RawObject> {
        // SAFETY: the userdata stays on the stack during the call, and keeps its block where it is.
        unsafe { objects::get(l, index).map(|object| RawObject::new(object)) }
    }
}

/// A result that is pushed straight onto the stack.
trait ToStack: RawRet {
    /// Pushes it and returns the number of values.
    ///
    /// # Safety
    /// Called as the last thing of a C function that owns nothing but this.
    unsafe fn push(self, l: LuaThread, bound: &BoundExport) -> c_int;
}

macro_rules! to_stack {
    ($($ty:ty, |$l:ident, $bound:ident, $v:ident| $push:expr;)*) => {$(
        impl ToStack for $ty {
            #[inline]
            unsafe fn push(self, $l: LuaThread, $bound: &BoundExport) -> c_int {
                let $v = self;
                // SAFETY: a C function has free slots; as the caller's.
                unsafe { $push };
                1
            }
        }
    )*};
}
to_stack! {
    (), |l, _bound, _v| ffi::lua_pushnil(l);
    bool, |l, _bound, v| ffi::lua_pushboolean(l, v.into());
    i64, |l, _bound, v| ffi::lua_pushinteger(l, v);
    f64, |l, _bound, v| ffi::lua_pushnumber(l, v);
    RawOut, |l, bound, v| string::push_out(l, bound.call(), v);
}

impl ToStack for Ret {
    #[inline]
    unsafe fn push(self, l: LuaThread, bound: &BoundExport) -> c_int {
        // SAFETY: as the caller's; owned results are rooted while they are pushed.
        unsafe {
            match self {
                Ret::Nil => ffi::lua_pushnil(l),
                Ret::Bool(b) => ffi::lua_pushboolean(l, b.into()),
                Ret::Int(i) => ffi::lua_pushinteger(l, i),
                Ret::Float(x) => ffi::lua_pushnumber(l, x),
                Ret::Bytes(out) => string::push_out(l, bound.call(), out),
                Ret::Value(value) => return push_value(l, bound, value),
                Ret::Tuple(items) => return push_tuple(l, bound, items),
            }
        }
        1
    }
}

/// Pushes an owned value.
///
/// # Safety
/// As [`ToStack::push`].
unsafe fn push_value(l: LuaThread, bound: &BoundExport, value: Value) -> c_int {
    let call = bound.call();
    // SAFETY: as the caller's. What is rooted stays where it is on the heap until it is unrooted.
    unsafe {
        match value {
            Value::Str(text) | Value::Bytes(text) => {
                let (pointer, length) = (text.as_ptr(), text.len());
                call.roots().root(RootedBuffer::Text(text));
                ffi::lua_pushlstring(l, pointer.cast(), length);
                call.roots().unroot();
            }
            tree @ (Value::Array(_) | Value::Map(_) | Value::Function(_) | Value::Object(_)) => {
                if let Err(error) = value::check(bound.runtime(), &tree) {
                    drop(tree);
                    return settled(l, bound, error.into());
                }
                let tree = Box::new(tree);
                let pointer = ptr::from_ref(&*tree);
                call.roots().root(RootedBuffer::Tree(tree));
                value::push(l, call, &*pointer);
                call.roots().unroot();
            }
            Value::Nil => ffi::lua_pushnil(l),
            Value::Bool(b) => ffi::lua_pushboolean(l, b.into()),
            Value::Int(i) => ffi::lua_pushinteger(l, i),
            Value::Float(x) => ffi::lua_pushnumber(l, x),
        }
    }
    1
}

/// Pushes several results.
///
/// # Safety
/// As [`ToStack::push`].
unsafe fn push_tuple(l: LuaThread, bound: &BoundExport, items: Vec<Value>) -> c_int {
    let call = bound.call();
    // SAFETY: as the caller's. What is rooted stays where it is on the heap until it is unrooted.
    unsafe {
        if let Err(error) = items.iter().try_for_each(|item| value::check(bound.runtime(), item)) {
            drop(items);
            return settled(l, bound, error.into());
        }
        let items_at = ptr::from_ref(items.as_slice());
        let count = c_int::try_from(items.len()).unwrap_or(c_int::MAX);
        call.roots().root(RootedBuffer::Tuple(items));
        ffi::luaL_checkstack(l, count, ptr::null());
        for item in &*items_at {
            value::push(l, call, item);
        }
        call.roots().unroot();
        count
    }
}

macro_rules! trampolines {
    ($($name:ident $call:ident $count:literal ($($arg:ident: $ty:ident @ $at:literal),*);)*) => {$(
        unsafe extern "C-unwind" fn $name<$($ty: FromStack,)* R: ToStack>(l: LuaThread) -> c_int {
            // SAFETY: Lua calls an export's closure, chosen by the shape of these types and made for an export of this
            // runtime's registry. The arguments stay on the stack during the call; only the native function runs inside
            // `typed`; then this frame owns only what it passes on. Whoever runs the script from within a native function
            // has taken the context out of its slot.
            #[allow(irrefutable_let_patterns, clippy::let_unit_value, clippy::unit_arg)]
            unsafe {
                let bound = BoundExport::of(l);
                if ffi::lua_gettop(l) == $count
                    && let ($(Some($arg),)*) = ($($ty::read(l, $at),)*)
                    && let Some(typed) = bound.typed()
                {
                    let native = |context| typed.$call::<$($ty,)* R>(context $(, $arg)*);
                    return match bound.runtime().typed(bound.export(), move || frames::place(l), native) {
                        Ok(result) => result.push(l, bound),
                        Err(fault) => settled(l, bound, fault),
                    };
                }
                generic(l)
            }
        }
    )*};
}
trampolines! {
    shape0 call0 0 ();
    shape1 call1 1 (a: A @ 1);
    shape2 call2 2 (a: A @ 1, b: B @ 2);
    shape3 call3 3 (a: A @ 1, b: B @ 2, c: D @ 3);
}

/// Returns the trampoline for a shape, if it has one of its own.
fn by_shape(shape: Shape) -> Option<ffi::lua_CFunction> {
    macro_rules! row {
        ($name:ident [$($ty:ty),*] $result:ty) => {
            if shape == Shape::of(&[$(<$ty as RawArg>::KIND),*], <$result as RawRet>::KIND) {
                return Some($name::<$($ty,)* $result>);
            }
        };
    }
    macro_rules! rows {
        ($($name:ident $args:tt)*) => {$(
            row!($name $args ());
            row!($name $args bool);
            row!($name $args i64);
            row!($name $args f64);
            row!($name $args RawOut);
            row!($name $args Ret);
        )*};
    }
    rows! {
        shape0 []
        shape1 [i64]
        shape1 [RawBytes]
        shape1 [bool]
        shape2 [i64, i64]
        shape2 [RawBytes, i64]
        shape2 [RawBytes, RawBytes]
        shape2 [i64, RawBytes]
        shape3 [RawBytes, RawBytes, RawBytes]
        shape3 [RawBytes, RawBytes, i64]
        shape1 [RawObject]
        shape2 [RawObject, i64]
        shape2 [RawObject, RawBytes]
    }
    None
}

/// Finishes a native error of the typed path: returns or raises the runtime's result.
///
/// # Safety
/// As [`ToStack::push`].
#[cold]
unsafe fn settled(l: LuaThread, bound: &BoundExport, fault: Box<NativeError>) -> c_int {
    let call = bound.call();
    let settled =
        call.threads().with_current(l, || bound.runtime().finish_error(bound.export(), fault, call.interpreter()));
    // SAFETY: as the caller's.
    unsafe {
        match settled {
            Ok(result) => result.push(l, bound),
            Err(fault) => raise(l, call, fault),
        }
    }
}

/// Calls an export by its typed entry, whatever the shape.
unsafe extern "C-unwind" fn listed(l: LuaThread) -> c_int {
    // SAFETY: Lua calls an export's closure, made for an export of this runtime's registry. The arguments stay on the stack
    // during the call; then this frame owns only what it passes on. Whoever runs the script from within a native function
    // has taken the context out of its slot.
    unsafe {
        let bound = BoundExport::of(l);
        let mut list = [Arg::Nil; Shape::MAX_PARAMS];
        let count = usize::try_from(ffi::lua_gettop(l)).unwrap_or(usize::MAX);
        if let Some(typed) = bound.typed()
            && let Some(args) = list.get_mut(..count)
            && exact(l, typed.shape(), args)
        {
            return match bound.runtime().typed(bound.export(), || frames::place(l), |context| typed.call(context, args))
            {
                Ok(result) => result.push(l, bound),
                Err(fault) => settled(l, bound, fault),
            };
        }
        generic(l)
    }
}

/// Reads all arguments, if they are exactly what the shape says.
///
/// # Safety
/// Called in an export's closure; the arguments are used only while they are on the stack.
#[inline]
unsafe fn exact<'a>(l: LuaThread, shape: Shape, args: &mut [Arg<'a>]) -> bool {
    let mut kinds = shape.params();
    if kinds.len() != args.len() {
        return false;
    }
    let mut index = 0;
    for slot in args {
        index += 1;
        // SAFETY: as the caller's; a string is not converted.
        let arg = unsafe {
            match kinds.next() {
                Some(Kind::Int) => i64::read(l, index).map(Arg::Int),
                Some(Kind::Bool) => bool::read(l, index).map(Arg::Bool),
                Some(Kind::Float) => value::float(l, index).map(Arg::Float),
                Some(Kind::Bytes) if ffi::lua_type(l, index) == ffi::LUA_TSTRING => {
                    Some(Arg::Str(string::read(l, index)))
                }
                Some(Kind::Object) => objects::get(l, index).map(Arg::Object),
                _ => None,
            }
        };
        match arg {
            Some(arg) => *slot = arg,
            None => return false,
        }
    }
    true
}

/// Calls any export.
unsafe extern "C-unwind" fn generic(l: LuaThread) -> c_int {
    // SAFETY: Lua calls an export's closure; `invoke` gives back all it owns but the result, which is passed on.
    unsafe {
        let bound = BoundExport::of(l);
        match invoke(l, bound) {
            Ok(result) => result.push(l, bound),
            Err(mut fault) => {
                hint_at_whole_float(l, bound, &mut fault);
                hint_at_colon(l, bound, &mut fault);
                raise(l, bound.call(), fault)
            }
        }
    }
}

/// Calls the export by its generic entry.
///
/// # Safety
/// Called in an export's closure, with its arguments on the stack.
unsafe fn invoke(l: LuaThread, bound: &BoundExport) -> Result<Ret, Box<NativeError>> {
    let call = bound.call();
    // SAFETY: as the caller's.
    call.threads().with_current(l, || unsafe { with_arguments(l, bound) })
}

/// Converts the arguments and calls the export.
///
/// # Safety
/// As [`invoke`].
unsafe fn with_arguments(l: LuaThread, bound: &BoundExport) -> Result<Ret, Box<NativeError>> {
    const FEW: usize = 8;
    let (call, export) = (bound.call(), bound.export());
    let (runtime, interpreter) = (bound.runtime(), call.interpreter());
    // SAFETY: nothing here raises: types are looked at first, and tables are read without metamethods.
    unsafe {
        let count = ffi::lua_gettop(l);
        let mut wholes: Vec<Value> = Vec::new();
        let mut reader = Reader::new(call);
        for (index, position) in (1..=count).zip(0..) {
            if matches!(ffi::lua_type(l, index), ffi::LUA_TTABLE | ffi::LUA_TFUNCTION) {
                if index == 1 && bind::is_of_root(l, index) {
                    return runtime.finish_error(export, called_as_method(bound), interpreter);
                }
                match reader.whole(l, index, wanted(export, position)) {
                    Ok(value) => wholes.push(value),
                    Err(unfit) => {
                        let error = unfit.of(&format!("argument {index}"));
                        return runtime.finish_error(export, error.into(), interpreter);
                    }
                }
            }
        }
        let mut few = [Arg::Nil; FEW];
        let mut many = Vec::new();
        let length = usize::try_from(count).unwrap_or(0);
        let args = match few.get_mut(..length) {
            Some(args) => args,
            None => {
                many.resize(length, Arg::Nil);
                many.as_mut_slice()
            }
        };
        let mut wholes = wholes.iter();
        for ((index, slot), position) in (1..).zip(args.iter_mut()).zip(0..) {
            *slot = match value::scalar(l, index, wanted(export, position)) {
                Some(arg) => arg,
                None => wholes.next().map_or(Arg::Nil, Arg::Value),
            };
        }
        runtime.invoke(export, args, interpreter)
    }
}

#[cold]
fn called_as_method(bound: &BoundExport) -> Box<NativeError> {
    let name = bound.runtime().registry().script_name(bound.export().def());
    ScriptError::new(ErrorCode::BadArgument, format!("called with ':'; write {name}(…)")).into()
}

/// Says what to write where a whole float was given for an integer, as `10 / 2` is one.
///
/// # Safety
/// As [`invoke`].
#[cold]
unsafe fn hint_at_whole_float(l: LuaThread, bound: &BoundExport, fault: &mut NativeError) {
    let NativeError::Error(error) = fault else { return };
    let Some(index) = error.argument.as_ref().filter(|_| error.hint.is_none()).map(|argument| argument.position) else {
        return;
    };
    let wants_integer = index
        .checked_sub(1)
        .and_then(|position| wanted(bound.export(), position))
        .is_some_and(|ty| matches!(value::inner(ty), Type::Int { .. }));
    // SAFETY: as the caller's; neither call raises.
    let is_whole = c_int::try_from(index)
        .is_ok_and(|index| unsafe { value::float(l, index).is_some_and(|x| value::exact(x).is_some()) });
    if wants_integer && is_whole {
        error.hint = Some("in Lua a / b is a float; a // b or math.tointeger(x) is an integer".to_owned());
    }
}

/// Says how to call a method where the object is missing, as it is when a dot was written for the colon.
///
/// # Safety
/// As [`invoke`].
#[cold]
unsafe fn hint_at_colon(l: LuaThread, bound: &BoundExport, fault: &mut NativeError) {
    let NativeError::Error(error) = fault else { return };
    let def = bound.export().def();
    let Some(member) = def.member.filter(|member| member.role == Role::Method && error.hint.is_none()) else { return };
    let is_of_call = matches!(error.code, ErrorCode::BadArgument | ErrorCode::ArgumentCount);
    // SAFETY: as the caller's; it does not raise.
    if is_of_call && unsafe { objects::get(l, 1) }.is_none_or(|object| object.class() != member.class) {
        error.hint = Some(format!("a function of an object is called with a colon: object:{}(…)", def.name));
    }
}

fn wanted(export: &Export, position: usize) -> Option<Type> {
    export.def().params.get(position).map(|param| param.ty)
}

/// Raises a native error in the script.
///
/// # Safety
/// As [`ToStack::push`].
#[cold]
unsafe fn raise(l: LuaThread, call: &CallState, fault: Box<NativeError>) -> ! {
    match unboxed(fault) {
        // SAFETY: as the caller's; nothing is owned here.
        NativeError::Exit | NativeError::Drop => unsafe { terminate::terminate(l, call) },
        // SAFETY: as the caller's; the error is passed on.
        NativeError::Error(error) => unsafe { error::raise(l, call, error) },
    }
}

/// Frees the box before anything is raised.
#[expect(clippy::boxed_local, reason = "freeing the box is the purpose")]
fn unboxed(fault: Box<NativeError>) -> NativeError {
    *fault
}
