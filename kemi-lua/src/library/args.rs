//! The arguments of replaced functions.

use std::ffi::c_int;
use std::slice;

use crate::call::CallState;
use crate::error_object;
use crate::ffi::{self, LuaThread};

/// Reads a text argument as Lua's own functions do; an error object stands for its text.
///
/// # Safety
/// Called in a C function, whose argument stays on the stack as long as the result is used; no frame of ours on the way
/// owns anything.
pub(super) unsafe fn text<'a>(l: LuaThread, index: c_int) -> &'a [u8] {
    let mut length = 0;
    // SAFETY: as the caller's.
    unsafe {
        accept_error_object(l, index);
        let pointer = ffi::luaL_checklstring(l, index, &raw mut length);
        slice::from_raw_parts(pointer.cast(), length)
    }
}

/// Replaces an error object among the arguments by its text.
///
/// # Safety
/// Called in a C function; no frame of ours on the way owns anything.
pub(super) unsafe fn accept_error_object(l: LuaThread, index: c_int) {
    // SAFETY: as the caller's.
    unsafe {
        if ffi::lua_type(l, index) == ffi::LUA_TUSERDATA {
            error_object::to_text(l, index);
        }
    }
}

/// Tells whether an argument is there and not nil.
///
/// # Safety
/// Called in a C function.
pub(super) unsafe fn is_given(l: LuaThread, index: c_int) -> bool {
    // SAFETY: it does not raise.
    unsafe { ffi::lua_type(l, index) > ffi::LUA_TNIL }
}

/// Raises the error for an argument of a wrong type.
///
/// # Safety
/// Called in a C function; no frame of ours on the way owns anything.
#[cfg(not(luajit))]
pub(super) unsafe fn type_error(l: LuaThread, index: c_int, expected: &'static std::ffi::CStr) -> ! {
    unsafe extern "C-unwind" {
        fn luaL_typeerror(l: LuaThread, index: c_int, expected: *const std::ffi::c_char) -> c_int;
    }
    // SAFETY: as the caller's; the text is static.
    unsafe {
        luaL_typeerror(l, index, expected.as_ptr());
        ffi::never(l)
    }
}

/// Raises if nested C functions have used up their share of the machine stack: for functions that call back.
///
/// # Safety
/// Called in a C function; no frame of ours on the way owns anything.
pub(super) unsafe fn check_machine_stack(l: LuaThread, call: &CallState) {
    if call.stack_is_full() {
        // SAFETY: as the caller's.
        unsafe { ffi::luaL_error(l, c"C stack overflow".as_ptr()) };
    }
}
