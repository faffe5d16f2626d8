//! `debug.getinfo`.

use std::ffi::c_int;
use std::ptr;

use crate::ffi::{self, LuaThread};

/// `debug.getinfo`, which gives no C function but one that it got: on the stack may be those that are replaced here.
///
/// # Safety
/// Called by Lua; the upvalues are the call state and the original.
pub(crate) unsafe extern "C-unwind" fn getinfo(l: LuaThread) -> c_int {
    // SAFETY: as this function's contract; this frame owns nothing.
    unsafe {
        let subject = if ffi::lua_type(l, 1) == ffi::LUA_TTHREAD { 2 } else { 1 };
        let given = ffi::lua_type(l, subject) == ffi::LUA_TFUNCTION;
        if !given {
            let level = ffi::luaL_checkinteger(l, subject);
            if level >= 0 && (subject == 1 || ffi::lua_tothread(l, 1) == l) {
                // The original stands on the stack as well.
                ffi::lua_pushinteger(l, level.saturating_add(1));
                ffi::lua_replace(l, subject);
            }
        }
        ffi::luaL_optlstring(l, subject + 1, ptr::null(), ptr::null_mut());
        ffi::luaL_checkstack(l, 2, ptr::null());
        ffi::call_upvalue(l, 2, 1);
        if !given && ffi::lua_type(l, -1) == ffi::LUA_TTABLE {
            ffi::lua_pushstring(l, c"func".as_ptr());
            ffi::lua_rawget(l, -2);
            if ffi::lua_iscfunction(l, -1) != 0 {
                ffi::lua_pushstring(l, c"func".as_ptr());
                ffi::lua_pushnil(l);
                ffi::lua_rawset(l, -4);
            }
            ffi::lua_settop(l, -2);
        }
    }
    1
}
