//! `xpcall`, whose handler an exit passes by.

use std::ffi::c_int;

use crate::call::CallState;
use crate::ffi::{self, LuaThread};
use crate::terminate::is_termination;

/// Makes a message handler that an exit passes by, from the one at index 1.
///
/// # Safety
/// Called by Lua; the upvalue is the call state.
pub(crate) unsafe extern "C-unwind" fn guard_handler(l: LuaThread) -> c_int {
    // SAFETY: as this function's contract; this frame owns nothing.
    unsafe {
        ffi::lua_settop(l, 1);
        if ffi::lua_type(l, 1) == ffi::LUA_TNIL {
            return 1;
        }
        ffi::push_context(l, CallState::of(l));
        ffi::lua_insert(l, 1);
        ffi::lua_pushcclosure(l, handle, 2);
    }
    1
}

/// The message handler: calls the script's with what is not an exit.
unsafe extern "C-unwind" fn handle(l: LuaThread) -> c_int {
    // SAFETY: made by `guard_handler` with the call state and the script's handler; this frame owns nothing.
    unsafe {
        ffi::lua_settop(l, 1);
        if is_termination(l, 1) {
            return 1;
        }
        // A hook has raised it, and hooks are off until somebody catches it.
        #[cfg(not(luajit))]
        if CallState::of(l).threads().is_hookless(l) && ffi::lua_iscfunction(l, ffi::lua_upvalueindex(2)) == 0 {
            return 1;
        }
        ffi::lua_pushvalue(l, ffi::lua_upvalueindex(2));
        ffi::lua_insert(l, 1);
        ffi::lua_call(l, 1, 1);
    }
    1
}
