//! `load` and the compiler behind it, which gets text in pieces, so that a text which takes long to compile ends with the
//! budget.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr;

use super::args::check_machine_stack;
use super::budget;
use crate::call::CallState;
use crate::ffi::{self, LuaThread};

/// The number of bytes compiled between two checks of the budget.
const PIECE: usize = 1024;

/// A text that is being compiled.
struct Pieces<'a> {
    call: &'a CallState,
    rest: &'a [u8],
}

/// Compiles a text and pushes the chunk or the error; returns the status.
///
/// # Safety
/// The stack has room; the calling frame owns nothing if the state may raise, which it does only when a call ends.
pub(crate) unsafe fn compile(l: LuaThread, call: &CallState, text: &[u8], name: &CStr) -> c_int {
    let mut pieces = Pieces { call, rest: text };
    let data = (&raw mut pieces).cast();
    // SAFETY: as the caller's; the pieces outlive the call.
    unsafe {
        #[cfg(not(luajit))]
        return ffi::lua_load(l, next_piece, data, name.as_ptr(), c"t".as_ptr());
        #[cfg(luajit)]
        return ffi::lua_loadx(l, next_piece, data, name.as_ptr(), c"t".as_ptr());
    }
}

/// Gives the compiler the next piece; raises when the call is to end, which the compiler passes on.
unsafe extern "C-unwind" fn next_piece(l: LuaThread, data: *mut c_void, length: *mut usize) -> *const c_char {
    // SAFETY: `compile` passes its pieces, which outlive the call; this frame owns nothing.
    unsafe {
        let pieces = &mut *data.cast::<Pieces<'_>>();
        budget::check(l, pieces.call);
        if pieces.rest.is_empty() {
            *length = 0;
            return ptr::null();
        }
        let (piece, rest) = pieces.rest.split_at(pieces.rest.len().min(PIECE));
        pieces.rest = rest;
        *length = piece.len();
        piece.as_ptr().cast()
    }
}

/// `load` and `loadstring`, for text only: binary chunks can crash the interpreter.
///
/// # Safety
/// Called by Lua; the upvalues are the call state and the original.
pub(crate) unsafe extern "C-unwind" fn load(l: LuaThread) -> c_int {
    const ENVIRONMENT: c_int = 4;
    // SAFETY: as this function's contract; this frame owns nothing.
    unsafe {
        let call = CallState::of(l);
        check_machine_stack(l, call);
        let given = ffi::lua_gettop(l);
        ffi::luaL_checkstack(l, 4, ptr::null());
        if given < ENVIRONMENT - 1 {
            ffi::lua_settop(l, ENVIRONMENT - 1);
        }
        let mut length = 0;
        let text = ffi::lua_tolstring(l, 1, &raw mut length);
        if text.is_null() {
            ffi::luaL_checktype(l, 1, ffi::LUA_TFUNCTION);
            ffi::lua_pushstring(l, c"t".as_ptr());
            ffi::lua_replace(l, 3);
            let results = ffi::call_upvalue(l, 2, ffi::LUA_MULTRET);
            budget::check(l, call);
            return results;
        }
        let name = CStr::from_ptr(ffi::luaL_optlstring(l, 2, text, ptr::null_mut()));
        let text = std::slice::from_raw_parts(text.cast(), length);
        let status = compile(l, call, text, name);
        // What has ended it may be what the compiler gives as its error.
        budget::check(l, call);
        if status != ffi::LUA_OK {
            ffi::lua_pushnil(l);
            ffi::lua_insert(l, -2);
            return 2;
        }
        if given >= ENVIRONMENT {
            ffi::lua_pushvalue(l, ENVIRONMENT);
            #[cfg(not(luajit))]
            if ffi::lua_setupvalue(l, -2, 1).is_null() {
                ffi::lua_settop(l, -2);
            }
            #[cfg(luajit)]
            ffi::lua_setfenv(l, -2);
        }
    }
    1
}
