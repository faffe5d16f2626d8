//! The C interface of the Lua that is built, and the steps that its callers share.

use std::ffi::{CStr, c_int};
use std::mem::MaybeUninit;
use std::ptr;

#[cfg(luajit)]
pub(crate) use kemi_luajit_sys::*;
#[cfg(not(luajit))]
pub(crate) use mlua::ffi::*;

/// A thread of a Lua state: its main thread or a coroutine.
pub(crate) type LuaThread = *mut lua_State;

/// The name of the engine's own chunks, with the mark of a name that is no file.
pub(crate) const OWN_CHUNK: &CStr = c"=(kemi)";

/// Runs a closure in which Lua may raise; returns the status, with nothing left on the stack.
///
/// An error of Lua skips the closure's frame, so the closure must not own anything.
pub(crate) fn protected<F: FnMut(LuaThread)>(l: LuaThread, mut run: F) -> c_int {
    unsafe extern "C-unwind" fn trampoline<F: FnMut(LuaThread)>(l: LuaThread) -> c_int {
        // SAFETY: the only argument points to the closure, which its owner keeps during the call.
        unsafe { (*lua_touserdata(l, 1).cast::<F>())(l) };
        0
    }
    let closure = (&raw mut run).cast();
    // SAFETY: the room is made sure of; the closure outlives the call. On Lua 5.4 pushing a C function without
    // upvalues does not allocate; `lua_cpcall` does it inside the protection.
    unsafe {
        let top = lua_gettop(l);
        if lua_checkstack(l, LUA_MINSTACK) == 0 {
            return LUA_ERRMEM;
        }
        #[cfg(not(luajit))]
        let status = {
            lua_pushcfunction(l, trampoline::<F>);
            lua_pushlightuserdata(l, closure);
            lua_pcall(l, 1, 0, 0)
        };
        #[cfg(luajit)]
        let status = lua_cpcall(l, trampoline::<F>, closure);
        lua_settop(l, top);
        status
    }
}

/// Pushes a pointer to what a C function works on, as an upvalue of the function to come.
///
/// # Safety
/// One slot is free; the context outlives the function.
pub(crate) unsafe fn push_context<T>(l: LuaThread, context: &T) {
    // SAFETY: as the caller's.
    unsafe { lua_pushlightuserdata(l, ptr::from_ref(context).cast_mut().cast()) };
}

/// Pushes a C function with a pointer to its context as its upvalue.
///
/// # Safety
/// The call is protected, with two free slots; the context outlives the function.
pub(crate) unsafe fn push_function<T>(l: LuaThread, function: lua_CFunction, context: &T) {
    // SAFETY: as the caller's.
    unsafe {
        push_context(l, context);
        lua_pushcclosure(l, function, 1);
    }
}

/// Returns the context of the running function.
///
/// # Safety
/// The running function has a pointer to a `T` as its first upvalue, and the `T` outlives the result.
#[inline]
pub(crate) unsafe fn context<'a, T>(l: LuaThread) -> &'a T {
    // SAFETY: as the caller's.
    unsafe { &*lua_touserdata(l, lua_upvalueindex(1)).cast_const().cast::<T>() }
}

/// Calls an upvalue of the running function with all its arguments; returns the number of results.
///
/// # Safety
/// As for `lua_call`; the calling frame owns nothing.
pub(crate) unsafe fn call_upvalue(l: LuaThread, upvalue: c_int, results: c_int) -> c_int {
    // SAFETY: as the caller's; the slot is made sure of.
    unsafe {
        let count = lua_gettop(l);
        luaL_checkstack(l, 1, ptr::null());
        lua_pushvalue(l, lua_upvalueindex(upvalue));
        lua_insert(l, 1);
        lua_call(l, count, results);
        lua_gettop(l)
    }
}

/// Runs one of the engine's own chunks with the values above `base` as its arguments.
///
/// # Safety
/// The call is protected.
pub(crate) unsafe fn run_chunk(l: LuaThread, chunk: &'static CStr, base: c_int) {
    let text = chunk.to_bytes();
    // SAFETY: as the caller's.
    unsafe {
        let (text, length) = (text.as_ptr().cast(), text.len());
        if luaL_loadbufferx(l, text, length, OWN_CHUNK.as_ptr(), c"t".as_ptr()) != LUA_OK {
            lua_error(l);
        }
        lua_insert(l, base + 1);
        lua_call(l, lua_gettop(l) - base - 1, 0);
    }
}

/// Tells the compiler that the call before has raised.
///
/// # Safety
/// As for `lua_error`.
pub(crate) unsafe fn never(l: LuaThread) -> ! {
    // SAFETY: as the caller's.
    unsafe { lua_error(l) }
}

/// Returns an empty debug record, for Lua to fill.
pub(crate) fn debug_record() -> lua_Debug {
    // SAFETY: all fields are numbers, characters and pointers, for which zero is valid.
    unsafe { MaybeUninit::zeroed().assume_init() }
}
