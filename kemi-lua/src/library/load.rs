//! Compiling of text in pieces, so that a text which takes long to compile ends with the budget.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr;

use crate::ffi;

use crate::interpreter::Core;
use crate::value::State;
use crate::{library::budget, terminate};

/// How many bytes are compiled between two looks at the budget.
const PIECE: usize = 1024;

/// A text that is being compiled.
struct Pieces<'a> {
    core: &'a Core,
    rest: &'a [u8],
}

/// Compiles a text and pushes the chunk or the error; returns the status.
///
/// # Safety
/// The stack has room; the calling frame owns nothing if the state may raise, which it does only when a call ends.
pub(crate) unsafe fn compile(l: State, core: &Core, text: &[u8], name: &CStr) -> c_int {
    let mut pieces = Pieces { core, rest: text };
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
unsafe extern "C-unwind" fn next_piece(l: State, data: *mut c_void, length: *mut usize) -> *const c_char {
    // SAFETY: `compile` passes its pieces, which outlive the call; this frame owns nothing.
    unsafe {
        let pieces = &mut *data.cast::<Pieces<'_>>();
        budget::look(l, pieces.core);
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
/// Called by Lua; the upvalues are the core and the original.
pub(crate) unsafe extern "C-unwind" fn load(l: State) -> c_int {
    const ENVIRONMENT: c_int = 4;
    // SAFETY: as this function's contract; this frame owns nothing.
    unsafe {
        let core = terminate::core(l);
        if core.stack_is_full() {
            ffi::luaL_error(l, c"C stack overflow".as_ptr());
        }
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
            ffi::lua_pushvalue(l, ffi::lua_upvalueindex(2));
            ffi::lua_insert(l, 1);
            ffi::lua_call(l, ffi::lua_gettop(l) - 1, ffi::LUA_MULTRET);
            budget::look(l, core);
            return ffi::lua_gettop(l);
        }
        let name = CStr::from_ptr(ffi::luaL_optlstring(l, 2, text, ptr::null_mut()));
        let text = std::slice::from_raw_parts(text.cast(), length);
        let status = compile(l, core, text, name);
        // What has ended it may be what the compiler gives as its error.
        budget::look(l, core);
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
