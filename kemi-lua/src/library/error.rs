//! The metamethods of error objects, by which scripts use them like text, and `debug.traceback`.

use std::ffi::{CStr, c_int};
use std::ptr;
use std::slice;

use crate::call::CallState;
use crate::error_object::{self, ErrorObject};
use crate::ffi::{self, LuaThread};
use crate::string;

/// Makes the metatable of error objects.
///
/// # Safety
/// The call is protected; the libraries are open.
pub(crate) unsafe fn set_up(l: LuaThread, call: &CallState) {
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
        super::set_functions(l, call, &functions);
        ffi::push_context(l, call);
        ffi::lua_getglobal(l, c"string".as_ptr());
        ffi::lua_pushcclosure(l, index, 2);
        ffi::lua_setfield(l, -2, c"__index".as_ptr());
        ffi::lua_pushstring(l, c"error".as_ptr());
        ffi::lua_setfield(l, -2, c"__name".as_ptr());
        ffi::lua_pushboolean(l, 0);
        ffi::lua_setfield(l, -2, c"__metatable".as_ptr());
        error_object::set_metatable(l);
    }
}

/// `__gc`.
unsafe extern "C-unwind" fn drop_object(l: LuaThread) -> c_int {
    // SAFETY: called by Lua with an error object, of which nothing is borrowed; the upvalue is the call state.
    unsafe {
        let call = CallState::of(l);
        if error_object::get(l, 1).is_some() {
            error_object::drop_content(l, 1, call);
        }
    }
    0
}

/// `__tostring`.
unsafe extern "C-unwind" fn tostring(l: LuaThread) -> c_int {
    // SAFETY: called by Lua; this frame owns nothing.
    unsafe {
        match error_object::get(l, 1) {
            Some(object) => string::push(l, object.text()),
            None => ffi::lua_pushnil(l),
        }
    }
    1
}

/// `__len`.
unsafe extern "C-unwind" fn length(l: LuaThread) -> c_int {
    // SAFETY: called by Lua; this frame owns nothing.
    unsafe {
        let length = error_object::get(l, 1).map_or(0, |object| object.text().len());
        ffi::lua_pushinteger(l, i64::try_from(length).unwrap_or(i64::MAX));
    }
    1
}

/// Reads an operand as text: an error object, a string or a number.
///
/// # Safety
/// Called in a C function; the index is that of an argument, and the result is used while it is there.
unsafe fn operand<'a>(l: LuaThread, index: c_int) -> Option<&'a [u8]> {
    // SAFETY: as the caller's.
    unsafe {
        if let Some(object) = error_object::get(l, index) {
            return Some(object.text());
        }
        let mut length = 0;
        let text = ffi::lua_tolstring(l, index, &raw mut length);
        (!text.is_null()).then(|| slice::from_raw_parts(text.cast(), length))
    }
}

/// `..`: an error object that has the words of both, and is caused by what the first one that is an error is caused by.
unsafe extern "C-unwind" fn concat(l: LuaThread) -> c_int {
    // SAFETY: called by Lua with two operands; this frame owns nothing when it raises.
    unsafe {
        let call = CallState::of(l);
        for index in [1, 2] {
            if operand(l, index).is_none() {
                return ffi::luaL_error(l, c"attempt to concatenate a %s value".as_ptr(), ffi::luaL_typename(l, index));
            }
        }
        if let Some(object) = joined(l) {
            error_object::push(l, call, object);
        } else {
            ffi::lua_pushnil(l);
        }
    }
    1
}

/// Makes the concatenation of two operands.
///
/// # Safety
/// As [`operand`], of arguments 1 and 2.
unsafe fn joined(l: LuaThread) -> Option<Box<ErrorObject>> {
    // SAFETY: as the caller's.
    unsafe {
        let of = error_object::get(l, 1).or_else(|| error_object::get(l, 2))?;
        let text = [operand(l, 1)?, operand(l, 2)?].concat();
        Some(of.wrap(text))
    }
}

/// `__eq`.
unsafe extern "C-unwind" fn equal(l: LuaThread) -> c_int {
    // SAFETY: as the other function's.
    unsafe { compare(l, |a, b| a == b) }
}

/// `__lt`.
unsafe extern "C-unwind" fn less(l: LuaThread) -> c_int {
    // SAFETY: as the other function's.
    unsafe { compare(l, |a, b| a < b) }
}

/// `__le`.
unsafe extern "C-unwind" fn less_or_equal(l: LuaThread) -> c_int {
    // SAFETY: as the other function's.
    unsafe { compare(l, |a, b| a <= b) }
}

/// Compares the texts of two operands.
///
/// # Safety
/// Called by Lua with two operands.
unsafe fn compare(l: LuaThread, with: fn(&[u8], &[u8]) -> bool) -> c_int {
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
unsafe extern "C-unwind" fn index(l: LuaThread) -> c_int {
    // SAFETY: called by Lua with an error object and a key; the upvalues are the call state and the table `string`.
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
unsafe extern "C-unwind" fn method(l: LuaThread) -> c_int {
    // SAFETY: made by `index` with a function; this frame owns nothing.
    unsafe {
        ffi::luaL_checkstack(l, 4, ptr::null());
        if ffi::lua_gettop(l) > 0 {
            error_object::to_text(l, 1);
        }
        ffi::call_upvalue(l, 1, ffi::LUA_MULTRET)
    }
}

/// `debug.traceback`: of an error object it makes one that has the traceback in its text.
///
/// # Safety
/// Called by Lua; the upvalues are the call state and the original.
pub(crate) unsafe extern "C-unwind" fn traceback(l: LuaThread) -> c_int {
    // SAFETY: as this function's contract; this frame owns nothing when it raises.
    unsafe {
        let call = CallState::of(l);
        let of_other = ffi::lua_type(l, 1) == ffi::LUA_TTHREAD;
        let message = if of_other { 2 } else { 1 };
        let thread = if of_other { ffi::lua_tothread(l, 1) } else { l };
        let object = error_object::get(l, message);
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
            Some(object) => string::push(l, object.text()),
            None => ffi::lua_pushvalue(l, message),
        }
        ffi::luaL_traceback(l, thread, ffi::lua_tolstring(l, slot, ptr::null_mut()), level);
        if let Some(object) = with_traceback(l, message) {
            error_object::push(l, call, object);
        }
    }
    1
}

/// Makes the error object with a traceback.
///
/// # Safety
/// As [`operand`], with the traceback at the top.
unsafe fn with_traceback(l: LuaThread, message: c_int) -> Option<Box<ErrorObject>> {
    // SAFETY: as the caller's.
    unsafe {
        let of = error_object::get(l, message)?;
        Some(of.wrap(string::read(l, -1).to_vec()))
    }
}

/// Wraps the function at index 1 so that it takes error objects for text.
///
/// # Safety
/// Called by Lua with a function.
pub(crate) unsafe extern "C-unwind" fn make_with_text(l: LuaThread) -> c_int {
    // SAFETY: as this function's contract; this frame owns nothing.
    unsafe {
        ffi::lua_settop(l, 1);
        ffi::lua_pushcclosure(l, with_text, 1);
    }
    1
}

/// Calls the wrapped function with texts in the place of error objects.
unsafe extern "C-unwind" fn with_text(l: LuaThread) -> c_int {
    // SAFETY: made by `make_with_text` with a function; this frame owns nothing.
    unsafe {
        ffi::luaL_checkstack(l, 8, ptr::null());
        for index in 1..=ffi::lua_gettop(l) {
            error_object::to_text(l, index);
        }
        ffi::call_upvalue(l, 1, ffi::LUA_MULTRET)
    }
}
