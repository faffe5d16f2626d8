//! Errors of native functions as values of Lua: the host gets back the very error that a function returned, and a script
//! can use it like the text that it stands for.
//!
//! It is a userdata that only native functions make. What a script puts before or behind its text is another such value,
//! which has the script's words and remembers the error. Whether it is the one or the other is told by what the value is,
//! never by its text.

use std::ffi::{CStr, c_int};
use std::ptr;
use std::slice;

use crate::ffi;
use kemi_core::{ScriptError, log_guarded};

use crate::bind::push_function;
use crate::interpreter::{Core, Kept};
use crate::terminate;
use crate::value::{self, State};

/// The key of the metatable of error objects in Lua's registry.
static METATABLE: u8 = 0;

/// What an error object holds.
#[derive(Debug)]
pub(crate) struct ErrorObject {
    /// What it is as text.
    pub(crate) text: Vec<u8>,
    /// The native function's error.
    pub(crate) error: ScriptError,
    /// Whether the text is more than the error's: words of the script.
    pub(crate) wrapped: bool,
    /// How many bytes it counts for, beside its block in the state.
    size: usize,
}

/// What the userdata consists of; empty only until it has been filled.
type Block = Option<Box<ErrorObject>>;

impl ErrorObject {
    pub(crate) fn new(text: Vec<u8>, error: ScriptError, wrapped: bool) -> Box<ErrorObject> {
        let frames = error.traceback.iter().map(|frame| frame.function.len() + 64).sum::<usize>();
        let size = size_of::<ErrorObject>() + text.len() + error.message.len() + frames + 256;
        Box::new(ErrorObject { text, error, wrapped, size })
    }
}

/// Makes the metatable.
///
/// # Safety
/// Protected; the libraries are open.
pub(crate) unsafe fn set_up(l: State, core: &Core) {
    let functions: [(&CStr, ffi::lua_CFunction); 7] = [
        (c"__gc", drop_object),
        (c"__tostring", tostring),
        (c"__concat", concat),
        (c"__eq", equal),
        (c"__lt", less),
        (c"__le", less_or_equal),
        (c"__len", length),
    ];
    // SAFETY: as the caller's.
    unsafe {
        ffi::lua_createtable(l, 0, 12);
        for (name, function) in functions {
            push_function(l, function, core);
            ffi::lua_setfield(l, -2, name.as_ptr());
        }
        ffi::lua_pushlightuserdata(l, ptr::from_ref(core).cast_mut().cast());
        ffi::lua_getglobal(l, c"string".as_ptr());
        ffi::lua_pushcclosure(l, index, 2);
        ffi::lua_setfield(l, -2, c"__index".as_ptr());
        ffi::lua_pushstring(l, c"error".as_ptr());
        ffi::lua_setfield(l, -2, c"__name".as_ptr());
        ffi::lua_pushboolean(l, 0);
        ffi::lua_setfield(l, -2, c"__metatable".as_ptr());
        ffi::lua_rawsetp(l, ffi::LUA_REGISTRYINDEX, (&raw const METATABLE).cast());
    }
}

/// Returns the error object at an index, if it is one. It neither raises nor allocates.
///
/// # Safety
/// The index is valid and not relative to the top, or an upvalue's; the result is used only while the value is there.
pub(crate) unsafe fn get<'a>(l: State, index: c_int) -> Option<&'a ErrorObject> {
    // SAFETY: as the caller's; only a userdata with our metatable is read, which has a block.
    unsafe {
        if ffi::lua_type(l, index) != ffi::LUA_TUSERDATA || ffi::lua_checkstack(l, 3) == 0 {
            return None;
        }
        if ffi::lua_getmetatable(l, index) == 0 {
            return None;
        }
        ffi::lua_rawgetp(l, ffi::LUA_REGISTRYINDEX, (&raw const METATABLE).cast());
        let ours = ffi::lua_rawequal(l, -1, -2) != 0;
        ffi::lua_settop(l, -3);
        if !ours {
            return None;
        }
        (*ffi::lua_touserdata(l, index).cast_const().cast::<Block>()).as_deref()
    }
}

/// Pushes an error object. May raise when memory runs out.
///
/// # Safety
/// The call is protected, with a few free slots, and no frame of ours on the way owns anything.
pub(crate) unsafe fn push(l: State, core: &Core, object: Box<ErrorObject>) {
    let size = object.size;
    core.keep(Kept::Error(object));
    // SAFETY: as the caller's; the block has the size and the alignment of a pointer. It is filled when its finalizer may
    // first run.
    unsafe {
        let block = ffi::lua_newuserdata(l, size_of::<Block>()).cast::<Block>();
        block.write(None);
        ffi::lua_rawgetp(l, ffi::LUA_REGISTRYINDEX, (&raw const METATABLE).cast());
        ffi::lua_setmetatable(l, -2);
        *block = core.take_kept_error();
    }
    core.memory.charge(core, size);
}

/// Replaces an error object at an index by its text, as far as it is one; returns whether there is text then.
///
/// # Safety
/// As [`push`]; the index is valid and not relative to the top.
pub(crate) unsafe fn to_text(l: State, index: c_int) -> bool {
    // SAFETY: as the caller's; the object stays where it is until its text was copied.
    unsafe {
        let Some(object) = get(l, index) else { return false };
        value::push_bytes(l, &object.text);
        ffi::lua_replace(l, index);
    }
    true
}

/// The finalizer. What a host's error does when it is dropped is the host's.
unsafe extern "C-unwind" fn drop_object(l: State) -> c_int {
    // SAFETY: called by Lua with an error object, whose block is taken only once; the upvalue is the core.
    unsafe {
        let core = terminate::core(l);
        if get(l, 1).is_some() {
            let object = (*ffi::lua_touserdata(l, 1).cast::<Block>()).take();
            discard(core, object);
        }
    }
    0
}

fn discard(core: &Core, object: Block) {
    let size = object.as_ref().map_or(0, |object| object.size);
    core.memory.discharge(size);
    log_guarded(|| drop(object));
}

unsafe extern "C-unwind" fn tostring(l: State) -> c_int {
    // SAFETY: called by Lua; this frame owns nothing.
    unsafe {
        match get(l, 1) {
            Some(object) => value::push_bytes(l, &object.text),
            None => ffi::lua_pushnil(l),
        }
    }
    1
}

unsafe extern "C-unwind" fn length(l: State) -> c_int {
    // SAFETY: called by Lua; this frame owns nothing.
    unsafe {
        let length = get(l, 1).map_or(0, |object| object.text.len());
        ffi::lua_pushinteger(l, i64::try_from(length).unwrap_or(i64::MAX));
    }
    1
}

/// Reads an operand as text: an error object, a string or a number.
///
/// # Safety
/// Called in a C function; the index is that of an argument, and the result is used while it is there.
unsafe fn operand<'a>(l: State, index: c_int) -> Option<&'a [u8]> {
    // SAFETY: as the caller's.
    unsafe {
        if let Some(object) = get(l, index) {
            return Some(&object.text);
        }
        let mut length = 0;
        let text = ffi::lua_tolstring(l, index, &raw mut length);
        (!text.is_null()).then(|| slice::from_raw_parts(text.cast(), length))
    }
}

/// `..`: an error object that has the words of both, and is caused by what the first one that is an error is caused by.
unsafe extern "C-unwind" fn concat(l: State) -> c_int {
    // SAFETY: called by Lua with two operands; this frame owns nothing when it raises.
    unsafe {
        let core = terminate::core(l);
        for index in [1, 2] {
            if operand(l, index).is_none() {
                return ffi::luaL_error(l, c"attempt to concatenate a %s value".as_ptr(), ffi::luaL_typename(l, index));
            }
        }
        if let Some(object) = joined(l) {
            push(l, core, object);
        } else {
            ffi::lua_pushnil(l);
        }
    }
    1
}

/// # Safety
/// As [`operand`], of arguments 1 and 2.
unsafe fn joined(l: State) -> Block {
    // SAFETY: as the caller's.
    unsafe {
        let of = get(l, 1).or_else(|| get(l, 2))?;
        let text = [operand(l, 1)?, operand(l, 2)?].concat();
        Some(ErrorObject::new(text, of.error.clone(), true))
    }
}

unsafe extern "C-unwind" fn equal(l: State) -> c_int {
    // SAFETY: as the other function's.
    unsafe { compare(l, |a, b| a == b) }
}

unsafe extern "C-unwind" fn less(l: State) -> c_int {
    // SAFETY: as the other function's.
    unsafe { compare(l, |a, b| a < b) }
}

unsafe extern "C-unwind" fn less_or_equal(l: State) -> c_int {
    // SAFETY: as the other function's.
    unsafe { compare(l, |a, b| a <= b) }
}

/// Compares the texts of two operands.
///
/// # Safety
/// Called by Lua with two operands.
unsafe fn compare(l: State, with: fn(&[u8], &[u8]) -> bool) -> c_int {
    // SAFETY: as the caller's; this frame owns nothing.
    unsafe {
        let result = match (operand(l, 1), operand(l, 2)) {
            (Some(a), Some(b)) => with(a, b),
            _ => false,
        };
        ffi::lua_pushboolean(l, result.into());
    }
    1
}

/// `e.name`: the function of that name in `string`, made to take the text.
unsafe extern "C-unwind" fn index(l: State) -> c_int {
    // SAFETY: called by Lua with an error object and a key; the upvalues are the core and the table `string`.
    unsafe {
        ffi::lua_settop(l, 2);
        ffi::lua_gettable(l, ffi::lua_upvalueindex(2));
        if ffi::lua_type(l, -1) == ffi::LUA_TFUNCTION {
            ffi::lua_pushcclosure(l, method, 1);
        }
    }
    1
}

/// Calls a function of `string` with the text of the error object that is its first argument.
unsafe extern "C-unwind" fn method(l: State) -> c_int {
    // SAFETY: made by `index` with a function; this frame owns nothing.
    unsafe {
        ffi::luaL_checkstack(l, 4, ptr::null());
        if ffi::lua_gettop(l) > 0 {
            to_text(l, 1);
        }
        ffi::lua_pushvalue(l, ffi::lua_upvalueindex(1));
        ffi::lua_insert(l, 1);
        ffi::lua_call(l, ffi::lua_gettop(l) - 1, ffi::LUA_MULTRET);
        ffi::lua_gettop(l)
    }
}

/// `debug.traceback`: of an error object it makes one that has the traceback in its text.
///
/// # Safety
/// Called by Lua; the upvalues are the core and the original.
pub(crate) unsafe extern "C-unwind" fn traceback(l: State) -> c_int {
    // SAFETY: as this function's contract; this frame owns nothing when it raises.
    unsafe {
        let core = terminate::core(l);
        let of_other = ffi::lua_type(l, 1) == ffi::LUA_TTHREAD;
        let message = if of_other { 2 } else { 1 };
        let thread = if of_other { ffi::lua_tothread(l, 1) } else { l };
        let object = get(l, message);
        if ffi::lua_type(l, message) > ffi::LUA_TNIL && ffi::lua_isstring(l, message) == 0 && object.is_none() {
            ffi::lua_pushvalue(l, message);
            return 1;
        }
        let default = if thread == l { 1 } else { 0 };
        let level = c_int::try_from(ffi::luaL_optinteger(l, message + 1, default)).unwrap_or(c_int::MAX);
        ffi::lua_settop(l, message + 1);
        ffi::luaL_checkstack(l, 8, ptr::null());
        let slot = ffi::lua_gettop(l) + 1;
        match object {
            Some(object) => value::push_bytes(l, &object.text),
            None => ffi::lua_pushvalue(l, message),
        }
        ffi::luaL_traceback(l, thread, ffi::lua_tolstring(l, slot, ptr::null_mut()), level);
        if let Some(object) = with_traceback(l, message) {
            push(l, core, object);
        }
    }
    1
}

/// # Safety
/// As [`operand`], with the traceback at the top.
unsafe fn with_traceback(l: State, message: c_int) -> Block {
    // SAFETY: as the caller's.
    unsafe {
        let of = get(l, message)?;
        Some(ErrorObject::new(value::string(l, -1).to_vec(), of.error.clone(), true))
    }
}

/// Makes the text for an error in the way of Lua, with the place of the caller before it.
pub(crate) fn text_of(l: State, error: &ScriptError) -> Vec<u8> {
    let message = match &error.export {
        Some(export) => format!("{export}: {}", error.message),
        None => error.message.clone(),
    };
    match crate::error::caller(l) {
        Some(place) => format!("{place}{message}").into_bytes(),
        None => message.into_bytes(),
    }
}
