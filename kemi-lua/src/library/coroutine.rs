//! The library `coroutine`, so that a coroutine knows who resumes it and cannot swallow an exit.

use std::ffi::c_int;
use std::ptr;

use super::args::check_machine_stack;
use crate::call::CallState;
use crate::ffi::{self, LuaThread};
#[cfg(not(luajit))]
use crate::frames;
#[cfg(not(luajit))]
use crate::terminate::is_termination;
use crate::terminate::terminate_if_ending;
#[cfg(not(luajit))]
use crate::threads;

/// Makes the table of [unclosable](UNCLOSABLE) coroutines, and notes that nobody resumes the main thread.
///
/// # Safety
/// The call is protected; `l` is the main thread.
#[cfg(not(luajit))]
pub(crate) unsafe fn set_up(l: LuaThread) {
    // SAFETY: as the caller's.
    unsafe {
        threads::set_parent(l, ptr::null_mut());
        ffi::lua_createtable(l, 0, 0);
        ffi::lua_createtable(l, 0, 1);
        ffi::lua_pushstring(l, c"k".as_ptr());
        ffi::lua_setfield(l, -2, c"__mode".as_ptr());
        ffi::lua_setmetatable(l, -2);
        ffi::lua_rawsetp(l, ffi::LUA_REGISTRYINDEX, (&raw const UNCLOSABLE).cast());
    }
}

/// Calls the second upvalue with all arguments, with a limit on the machine stack; ends the callback again if an exit
/// came out of that as an ordinary result.
///
/// `coroutine.resume`, `coroutine.close` and `load` with a function catch errors in C. Their caller may be a coroutine,
/// or code that LuaJIT has compiled and that calls no hook.
///
/// # Safety
/// Called by Lua; the upvalues are the call state and a function.
pub(crate) unsafe extern "C-unwind" fn guarded(l: LuaThread) -> c_int {
    // SAFETY: as this function's contract; this frame owns nothing.
    unsafe {
        let call = CallState::of(l);
        check_machine_stack(l, call);
        #[cfg(not(luajit))]
        let thread = ffi::lua_tothread(l, 1);
        let count = ffi::lua_gettop(l);
        ffi::luaL_checkstack(l, 1, ptr::null());
        ffi::lua_pushvalue(l, ffi::lua_upvalueindex(2));
        ffi::lua_insert(l, 1);
        #[cfg(not(luajit))]
        resume(l, call, count, thread);
        #[cfg(luajit)]
        ffi::lua_call(l, count, ffi::LUA_MULTRET);
        terminate_if_ending(l, call);
        ffi::lua_gettop(l)
    }
}

/// Calls the function below the arguments, which resumes or closes a coroutine, if `thread` is one: notes who resumes
/// it and that it runs.
///
/// # Safety
/// As for `lua_call`; this frame owns nothing.
#[cfg(not(luajit))]
unsafe fn resume(l: LuaThread, call: &CallState, count: c_int, thread: LuaThread) {
    // SAFETY: as the caller's.
    unsafe {
        if thread.is_null() || is_active(thread) {
            // An active coroutine cannot be resumed, and has its parent already.
            ffi::lua_call(l, count, ffi::LUA_MULTRET);
            return;
        }
        call.threads().resume(thread, l);
        // Even an error must pass here, so that nobody takes a coroutine for the running one that may be freed.
        let status = ffi::lua_pcall(l, count, ffi::LUA_MULTRET, 0);
        call.threads().resumed(l);
        if call.threads().take_hookless(thread) && has_died(thread) {
            mark_unclosable(l, thread);
        }
        if status != ffi::LUA_OK {
            ffi::lua_error(l);
        }
    }
}

/// Tells whether a coroutine runs, or waits for one that it has resumed.
///
/// # Safety
/// The state is alive.
#[cfg(not(luajit))]
unsafe fn is_active(thread: LuaThread) -> bool {
    // SAFETY: as the caller's.
    unsafe { ffi::lua_status(thread) == ffi::LUA_OK && frames::has_level(thread, 0) }
}

/// `coroutine.wrap`, made of the guarded `coroutine.resume`, so that the coroutine knows who resumes it.
///
/// # Safety
/// Called by Lua; the upvalues are the call state and the original `coroutine.resume`.
#[cfg(not(luajit))]
pub(crate) unsafe extern "C-unwind" fn wrap(l: LuaThread) -> c_int {
    // SAFETY: as this function's contract; this frame owns nothing.
    unsafe {
        ffi::luaL_checktype(l, 1, ffi::LUA_TFUNCTION);
        ffi::lua_pushvalue(l, ffi::lua_upvalueindex(1));
        ffi::lua_pushvalue(l, ffi::lua_upvalueindex(2));
        let thread = ffi::lua_newthread(l);
        ffi::lua_pushvalue(l, 1);
        ffi::lua_xmove(l, thread, 1);
        ffi::lua_pushcclosure(l, resume_wrapped, 3);
    }
    1
}

/// The function that `coroutine.wrap` gives.
#[cfg(not(luajit))]
unsafe extern "C-unwind" fn resume_wrapped(l: LuaThread) -> c_int {
    // SAFETY: made by `wrap` with the call state, the original `resume` and the coroutine; this frame owns nothing.
    unsafe {
        let call = CallState::of(l);
        check_machine_stack(l, call);
        let count = ffi::lua_gettop(l);
        ffi::luaL_checkstack(l, 2, ptr::null());
        ffi::lua_pushvalue(l, ffi::lua_upvalueindex(2));
        ffi::lua_insert(l, 1);
        ffi::lua_pushvalue(l, ffi::lua_upvalueindex(3));
        ffi::lua_insert(l, 2);
        let thread = ffi::lua_tothread(l, ffi::lua_upvalueindex(3));
        resume(l, call, count + 1, thread);
        terminate_if_ending(l, call);
        if ffi::lua_toboolean(l, 1) == 0 {
            if has_died(thread) && !is_unclosable(l, thread) {
                // It has died of an error: what it has open is closed, which may give another error.
                ffi::lua_settop(l, 0);
                ffi::lua_pushcfunction(l, close_wrapped);
                ffi::lua_pushvalue(l, ffi::lua_upvalueindex(3));
                resume(l, call, 1, thread);
                terminate_if_ending(l, call);
            }
            ffi::lua_error(l);
        }
        ffi::lua_gettop(l) - 1
    }
}

/// Tells whether a coroutine has died of an error.
///
/// # Safety
/// The state is alive.
#[cfg(not(luajit))]
unsafe fn has_died(thread: LuaThread) -> bool {
    // SAFETY: as the caller's.
    !matches!(unsafe { ffi::lua_status(thread) }, ffi::LUA_OK | ffi::LUA_YIELD)
}

/// The key of the table of coroutines that died of an error which a hook has raised. Lua leaves their hooks off for ever,
/// so nothing could end what they have still to close; it stays open.
#[cfg(not(luajit))]
static UNCLOSABLE: u8 = 0;

/// Notes that a coroutine is not to be closed.
///
/// # Safety
/// Called in a C function whose frame owns nothing.
#[cfg(not(luajit))]
unsafe fn mark_unclosable(l: LuaThread, thread: LuaThread) {
    // SAFETY: as the caller's; the slots are made sure of.
    unsafe {
        ffi::luaL_checkstack(l, 4, ptr::null());
        ffi::lua_rawgetp(l, ffi::LUA_REGISTRYINDEX, (&raw const UNCLOSABLE).cast());
        ffi::lua_pushthread(thread);
        ffi::lua_xmove(thread, l, 1);
        ffi::lua_pushboolean(l, 1);
        ffi::lua_rawset(l, -3);
        ffi::lua_settop(l, -2);
    }
}

/// Tells whether a coroutine is not to be closed.
///
/// # Safety
/// Called in a C function whose frame owns nothing.
#[cfg(not(luajit))]
unsafe fn is_unclosable(l: LuaThread, thread: LuaThread) -> bool {
    // SAFETY: as the caller's; the slots are made sure of.
    unsafe {
        ffi::luaL_checkstack(l, 3, ptr::null());
        ffi::lua_rawgetp(l, ffi::LUA_REGISTRYINDEX, (&raw const UNCLOSABLE).cast());
        ffi::lua_pushthread(thread);
        ffi::lua_xmove(thread, l, 1);
        let unclosable = ffi::lua_rawget(l, -2) != ffi::LUA_TNIL;
        ffi::lua_settop(l, -3);
        unclosable
    }
}

/// `coroutine.close`: the guarded original, but for coroutines that are [unclosable](UNCLOSABLE).
///
/// # Safety
/// Called by Lua; the upvalues are the call state and the original.
#[cfg(not(luajit))]
pub(crate) unsafe extern "C-unwind" fn close(l: LuaThread) -> c_int {
    // SAFETY: as this function's contract; this frame owns nothing.
    unsafe {
        let thread = ffi::lua_tothread(l, 1);
        if !thread.is_null() && has_died(thread) && is_unclosable(l, thread) {
            ffi::lua_pushboolean(l, 0);
            ffi::lua_pushstring(l, c"the coroutine was ended".as_ptr());
            return 2;
        }
        let results = guarded(l);
        if results == 2 && is_termination(l, -1) {
            ffi::lua_settop(l, -2);
            ffi::lua_pushstring(l, c"the coroutine was ended".as_ptr());
        }
        results
    }
}

/// Closes the coroutine at index 1 and gives its error.
#[cfg(not(luajit))]
unsafe extern "C-unwind" fn close_wrapped(l: LuaThread) -> c_int {
    // SAFETY: called by `resume_wrapped` with a coroutine that has died; this frame owns nothing.
    unsafe {
        let thread = ffi::lua_tothread(l, 1);
        ffi::lua_closethread(thread, l);
        ffi::lua_xmove(thread, l, 1);
    }
    1
}

/// `coroutine.wrap`: wraps what the original gives, with a limit on the machine stack.
///
/// # Safety
/// Called by Lua; the upvalues are the call state and the original.
#[cfg(luajit)]
pub(crate) unsafe extern "C-unwind" fn wrap(l: LuaThread) -> c_int {
    // SAFETY: as this function's contract; this frame owns nothing.
    unsafe {
        let count = ffi::lua_gettop(l);
        ffi::luaL_checkstack(l, 3, ptr::null());
        ffi::push_context(l, CallState::of(l));
        ffi::lua_insert(l, 1);
        ffi::lua_pushvalue(l, ffi::lua_upvalueindex(2));
        ffi::lua_insert(l, 2);
        ffi::lua_call(l, count, 1);
        ffi::lua_pushcclosure(l, resume_wrapped, 2);
    }
    1
}

/// The function that `coroutine.wrap` gives.
#[cfg(luajit)]
unsafe extern "C-unwind" fn resume_wrapped(l: LuaThread) -> c_int {
    // SAFETY: made by `wrap` with the call state and the original closure; this frame owns nothing.
    unsafe {
        check_machine_stack(l, CallState::of(l));
        let count = ffi::lua_gettop(l);
        ffi::luaL_checkstack(l, 1, ptr::null());
        ffi::lua_pushvalue(l, ffi::lua_upvalueindex(2));
        ffi::lua_insert(l, 1);
        ffi::lua_call(l, count, ffi::LUA_MULTRET);
        ffi::lua_gettop(l)
    }
}
