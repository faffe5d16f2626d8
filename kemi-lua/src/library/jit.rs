//! LuaJIT's compiler: off wherever a limit needs the script to be interrupted, since compiled loops call no hook.

use std::ffi::c_int;
use std::ptr;

use kemi_core::Limits;
use kemi_core::telemetry::log_guarded;

use crate::call::CallState;
use crate::ffi::{self, LuaThread};
use crate::frames;

const MODE_ENGINE: c_int = 0;
const MODE_ON: c_int = 0x0100;
const MODE_FLUSH: c_int = 0x0200;

unsafe extern "C-unwind" {
    fn luaJIT_setmode(l: LuaThread, index: c_int, mode: c_int) -> c_int;
}

/// Sets it for the script's top level.
///
/// # Safety
/// Nothing runs in the state.
pub(crate) unsafe fn set_for_loading(call: &CallState, l: LuaThread) {
    let Limits { max_instructions, max_load_time_ms, .. } = *call.runtime().registry().limits();
    // SAFETY: as the caller's.
    unsafe { set(call, l, max_instructions == 0 && max_load_time_ms == 0) };
}

/// Sets it for callbacks.
///
/// # Safety
/// Nothing runs in the state.
pub(crate) unsafe fn set_for_calls(call: &CallState, l: LuaThread) {
    let Limits { max_instructions, max_time_ms, .. } = *call.runtime().registry().limits();
    // SAFETY: as the caller's.
    unsafe { set(call, l, max_instructions == 0 && max_time_ms == 0) };
}

/// Switches it, and forgets what was compiled if it goes off.
///
/// # Safety
/// Nothing runs in the state.
unsafe fn set(call: &CallState, l: LuaThread, on: bool) {
    call.threads().set_compiled(on);
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

/// Replaces `jit.on`, `jit.off` and `jit.flush`, so that a script does not switch on what its limits need off.
///
/// # Safety
/// The call is protected; the library is open.
pub(crate) unsafe fn guard_switch(l: LuaThread, call: &CallState) {
    // SAFETY: as the caller's.
    unsafe {
        ffi::lua_getglobal(l, c"jit".as_ptr());
        ffi::push_context(l, call);
        ffi::lua_getfield(l, -2, c"on".as_ptr());
        ffi::lua_pushcclosure(l, switch_on, 2);
        ffi::lua_setfield(l, -2, c"on".as_ptr());
        for name in [c"off", c"flush"] {
            ffi::push_context(l, call);
            ffi::lua_getfield(l, -2, name.as_ptr());
            ffi::lua_pushcclosure(l, switch_off, 2);
            ffi::lua_setfield(l, -2, name.as_ptr());
        }
        ffi::lua_settop(l, -2);
    }
}

/// `jit.on`.
unsafe extern "C-unwind" fn switch_on(l: LuaThread) -> c_int {
    // SAFETY: made by `guard_switch` with the call state and the original; this frame owns nothing.
    unsafe {
        let call = CallState::of(l);
        if !call.threads().is_compiled() {
            warn(call, l);
            return 0;
        }
        ffi::call_upvalue(l, 2, 0);
    }
    0
}

/// `jit.off` and `jit.flush`: undisturbed by interrupts, since they change the dispatch table.
unsafe extern "C-unwind" fn switch_off(l: LuaThread) -> c_int {
    // SAFETY: made by `guard_switch` with the call state and the original; this frame owns nothing.
    unsafe {
        let call = CallState::of(l);
        ffi::luaL_checkstack(l, 1, ptr::null());
        ffi::lua_pushvalue(l, ffi::lua_upvalueindex(2));
        ffi::lua_insert(l, 1);
        let mut status = ffi::LUA_OK;
        call.threads().uninterrupted(|| status = ffi::lua_pcall(l, ffi::lua_gettop(l) - 1, 0, 0));
        if status != ffi::LUA_OK {
            ffi::lua_error(l);
        }
    }
    0
}

fn warn(call: &CallState, l: LuaThread) {
    let place = frames::place_text(l);
    log_guarded(|| {
        tracing::warn!(
            target: "script",
            engine = call.runtime().engine(),
            "{place}: jit.on has no effect while the script's time or instructions are limited"
        );
    });
}
