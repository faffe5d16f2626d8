//! `setmetatable`, which hides `__gc` from Lua.

use std::ffi::c_int;

use super::args;
use super::finalizer::Finalizers;
use crate::ffi::{self, LuaThread};

/// Replaces `setmetatable`.
///
/// # Safety
/// The call is protected; the finalizers are set up, do not move, and outlive the state.
pub(crate) unsafe fn replace(l: LuaThread, finalizers: &Finalizers) {
    // SAFETY: as the caller's.
    unsafe {
        ffi::push_function(l, setmetatable, finalizers);
        ffi::lua_setglobal(l, c"setmetatable".as_ptr());
    }
}

/// `setmetatable`: as Lua's own, but a table with `__gc` gets a guard.
///
/// # Safety
/// Called by Lua; the upvalue is the finalizers.
unsafe extern "C-unwind" fn setmetatable(l: LuaThread) -> c_int {
    const TABLE: c_int = 1;
    const METATABLE: c_int = 2;
    const KEY: c_int = 3;
    const FINALIZER: c_int = 4;
    // SAFETY: as this function's contract; this frame owns nothing.
    unsafe {
        let kind = ffi::lua_type(l, METATABLE);
        ffi::luaL_checktype(l, TABLE, ffi::LUA_TTABLE);
        if kind != ffi::LUA_TNIL && kind != ffi::LUA_TTABLE {
            args::type_error(l, METATABLE, c"nil or table");
        }
        if ffi::luaL_getmetafield(l, TABLE, c"__metatable".as_ptr()) != ffi::LUA_TNIL {
            ffi::luaL_error(l, c"cannot change a protected metatable".as_ptr());
        }
        ffi::lua_settop(l, METATABLE);
        if kind == ffi::LUA_TNIL {
            ffi::lua_setmetatable(l, TABLE);
            return 1;
        }
        ffi::lua_pushstring(l, c"__gc".as_ptr());
        ffi::lua_pushvalue(l, KEY);
        ffi::lua_rawget(l, METATABLE);
        if ffi::lua_type(l, FINALIZER) == ffi::LUA_TNIL {
            ffi::lua_settop(l, METATABLE);
            ffi::lua_setmetatable(l, TABLE);
            return 1;
        }
        Finalizers::of(l).guard(l, TABLE);
        // Lua is not to see it. Nothing until it is back allocates, collects garbage or raises, and no key is new.
        ffi::lua_pushvalue(l, KEY);
        ffi::lua_pushnil(l);
        ffi::lua_rawset(l, METATABLE);
        ffi::lua_pushvalue(l, METATABLE);
        ffi::lua_setmetatable(l, TABLE);
        ffi::lua_rawset(l, METATABLE);
        ffi::lua_settop(l, TABLE);
    }
    1
}
