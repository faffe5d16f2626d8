//! LuaJIT's compiler: off wherever a limit needs the script to be interrupted, since compiled loops look at no hook.

use std::ffi::c_int;

use crate::ffi;
use kemi_core::{Limits, log_guarded};

use crate::interpreter::Core;
use crate::terminate;
use crate::value::State;

const MODE_ENGINE: c_int = 0;
const MODE_ON: c_int = 0x0100;
const MODE_FLUSH: c_int = 0x0200;

unsafe extern "C-unwind" {
    fn luaJIT_setmode(l: State, index: c_int, mode: c_int) -> c_int;
}

/// Sets it for the script's top level.
///
/// # Safety
/// Nothing runs in the state.
pub(crate) unsafe fn set_for_loading(core: &Core, l: State) {
    let Limits { max_instructions, max_load_time_ms, .. } = *core.runtime.registry().limits();
    // SAFETY: as the caller's.
    unsafe { set(core, l, max_instructions == 0 && max_load_time_ms == 0) };
}

/// Sets it for callbacks.
///
/// # Safety
/// Nothing runs in the state.
pub(crate) unsafe fn set_for_calls(core: &Core, l: State) {
    let Limits { max_instructions, max_time_ms, .. } = *core.runtime.registry().limits();
    // SAFETY: as the caller's.
    unsafe { set(core, l, max_instructions == 0 && max_time_ms == 0) };
}

/// # Safety
/// Nothing runs in the state.
unsafe fn set(core: &Core, l: State, on: bool) {
    core.compiles.set(on);
    // SAFETY: as the caller's; it raises only in finalizers, and flushing runs none.
    unsafe {
        if on {
            luaJIT_setmode(l, 0, MODE_ENGINE | MODE_ON);
        } else {
            luaJIT_setmode(l, 0, MODE_ENGINE | MODE_FLUSH);
            luaJIT_setmode(l, 0, MODE_ENGINE);
        }
    }
}

/// Replaces `jit.on`, so that a script does not switch on what its limits need off.
///
/// # Safety
/// Protected; the library is open.
pub(crate) unsafe fn guard_switch(l: State, core: &Core) {
    // SAFETY: as the caller's.
    unsafe {
        ffi::lua_getglobal(l, c"jit".as_ptr());
        ffi::lua_pushlightuserdata(l, std::ptr::from_ref(core).cast_mut().cast());
        ffi::lua_getfield(l, -2, c"on".as_ptr());
        ffi::lua_pushcclosure(l, switch_on, 2);
        ffi::lua_setfield(l, -2, c"on".as_ptr());
        for name in [c"off", c"flush"] {
            ffi::lua_pushlightuserdata(l, std::ptr::from_ref(core).cast_mut().cast());
            ffi::lua_getfield(l, -2, name.as_ptr());
            ffi::lua_pushcclosure(l, switch_off, 2);
            ffi::lua_setfield(l, -2, name.as_ptr());
        }
        ffi::lua_settop(l, -2);
    }
}

unsafe extern "C-unwind" fn switch_on(l: State) -> c_int {
    // SAFETY: made by `guard_switch` with the core and the original; this frame owns nothing.
    unsafe {
        let core = terminate::core(l);
        if !core.compiles.get() {
            warn(core, l);
            return 0;
        }
        ffi::luaL_checkstack(l, 1, std::ptr::null());
        ffi::lua_pushvalue(l, ffi::lua_upvalueindex(2));
        ffi::lua_insert(l, 1);
        ffi::lua_call(l, ffi::lua_gettop(l) - 1, 0);
    }
    0
}

/// `jit.off` and `jit.flush`: undisturbed by interrupts, since they change the dispatch table.
unsafe extern "C-unwind" fn switch_off(l: State) -> c_int {
    // SAFETY: made by `guard_switch` with the core and the original; this frame owns nothing.
    unsafe {
        let core = terminate::core(l);
        ffi::luaL_checkstack(l, 1, std::ptr::null());
        ffi::lua_pushvalue(l, ffi::lua_upvalueindex(2));
        ffi::lua_insert(l, 1);
        let mut status = ffi::LUA_OK;
        terminate::undisturbed(core, || status = ffi::lua_pcall(l, ffi::lua_gettop(l) - 1, 0, 0));
        if status != ffi::LUA_OK {
            ffi::lua_error(l);
        }
    }
    0
}

fn warn(core: &Core, l: State) {
    let place = crate::error::place(l).map_or_else(|| "unknown place".to_owned(), |place| place.to_string());
    log_guarded(|| {
        tracing::warn!(
            target: "script",
            engine = core.runtime.engine(),
            "{place}: jit.on has no effect while the script's time or instructions are limited"
        );
    });
}
