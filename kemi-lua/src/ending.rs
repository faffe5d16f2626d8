//! Exit and drop: an error that nothing in a script can catch.
//!
//! The error is a light userdata, and a hook on every instruction raises it again wherever a script has caught it,
//! until the callback has come back to the host. Nothing is paid for this before a script ends a callback.

use std::ffi::c_int;

use kemi_core::Control;
use mlua::ffi;

use crate::interpreter::Core;
use crate::values::State;

/// The key of the [`Core`] in Lua's registry, for hooks.
static CORE: u8 = 0;

/// Registers the core for hooks.
///
/// # Safety
/// The call is protected; the core outlives the state.
pub(crate) unsafe fn register(l: State, core: &Core) {
    // SAFETY: as the caller's.
    unsafe {
        ffi::lua_pushlightuserdata(l, sentinel(core));
        ffi::lua_rawsetp(l, ffi::LUA_REGISTRYINDEX, (&raw const CORE).cast());
        #[cfg(not(feature = "luajit"))]
        set_parent(l, std::ptr::null_mut());
    }
}

fn sentinel(core: &Core) -> *mut std::ffi::c_void {
    std::ptr::from_ref(core).cast_mut().cast()
}

/// Tells whether a value is the error that ends a callback.
///
/// # Safety
/// The index is valid.
pub(crate) unsafe fn is_sentinel(l: State, index: c_int, core: &Core) -> bool {
    // SAFETY: neither call raises.
    unsafe { ffi::lua_type(l, index) == ffi::LUA_TLIGHTUSERDATA && ffi::lua_touserdata(l, index) == sentinel(core) }
}

/// Ends the running callback: sets the hook and raises.
///
/// # Safety
/// The call is protected, the runtime is ending, and no frame of ours on the way owns anything.
pub(crate) unsafe fn end(l: State, core: &Core) -> ! {
    arm(core, l);
    // SAFETY: as the caller's; a native function has a free slot.
    unsafe {
        ffi::lua_pushlightuserdata(l, sentinel(core));
        ffi::lua_error(l)
    }
}

/// Sets the hook on the running coroutine and on all that wait for it, up to where the callback began.
#[cfg_attr(feature = "luajit", expect(unused_mut, reason = "the loop has one round there"))]
fn arm(core: &Core, l: State) {
    core.armed.set(true);
    let mut thread = l;
    loop {
        // SAFETY: the thread runs or waits in `resume`, so it is alive.
        unsafe { ffi::lua_sethook(thread, Some(raise_again), ffi::LUA_MASKCOUNT, 1) };
        // On LuaJIT all coroutines share one hook.
        if cfg!(feature = "luajit") || thread == core.base.get() {
            return;
        }
        #[cfg(not(feature = "luajit"))]
        {
            thread = parent(thread);
        }
        if thread.is_null() {
            return;
        }
    }
}

/// Removes the hook at the border of the callback. Other coroutines that had it have died of the error.
pub(crate) fn disarm(core: &Core, l: State) {
    if core.armed.replace(false) {
        // SAFETY: it is the state that the callback ran on.
        unsafe { ffi::lua_sethook(l, None, 0, 0) };
    }
}

unsafe extern "C-unwind" fn raise_again(l: State, _activation: *mut ffi::lua_Debug) {
    // SAFETY: hooks have free slots; the core was registered when the state was made and outlives it.
    unsafe {
        ffi::lua_rawgetp(l, ffi::LUA_REGISTRYINDEX, (&raw const CORE).cast());
        let core = ffi::lua_touserdata(l, -1).cast_const().cast::<Core>();
        if (*core).runtime.ending().is_none() {
            // A coroutine that died of an earlier exit, entered again to close its variables.
            ffi::lua_sethook(l, None, 0, 0);
            ffi::lua_settop(l, -2);
            return;
        }
        ffi::lua_error(l)
    }
}

/// Remembers who resumes a coroutine. Valid while the coroutine runs: it is set before each time.
///
/// # Safety
/// The state is alive.
#[cfg(not(feature = "luajit"))]
unsafe fn set_parent(l: State, parent: State) {
    // SAFETY: the extra space is a pointer's size before the state, and nothing else uses it.
    unsafe { ffi::lua_getextraspace(l).cast::<State>().write(parent) };
}

#[cfg(not(feature = "luajit"))]
fn parent(l: State) -> State {
    // SAFETY: written when the state was resumed, or copied from the main one's null.
    unsafe { ffi::lua_getextraspace(l).cast::<State>().read() }
}

/// Returns the core in the first upvalue.
///
/// # Safety
/// The running function is a closure made with the core as its first upvalue.
pub(crate) unsafe fn core<'a>(l: State) -> &'a Core {
    // SAFETY: as the caller's; the core outlives the state.
    unsafe { &*ffi::lua_touserdata(l, ffi::lua_upvalueindex(1)).cast_const().cast::<Core>() }
}

/// Calls the second upvalue with all arguments, with a limit on the machine stack; ends the callback again if an exit
/// came out of that as an ordinary result.
///
/// `coroutine.resume`, `coroutine.close` and `load` with a function catch errors in C. Their caller may be a coroutine,
/// or code that LuaJIT has compiled and that looks at no hook.
///
/// # Safety
/// Called by Lua; the upvalues are the core and a function.
pub(crate) unsafe extern "C-unwind" fn guarded(l: State) -> c_int {
    // SAFETY: as this function's contract; this frame owns nothing.
    unsafe {
        let core = core(l);
        if core.stack_is_full() {
            ffi::luaL_error(l, c"C stack overflow".as_ptr());
        }
        #[cfg(not(feature = "luajit"))]
        if ffi::lua_type(l, 1) == ffi::LUA_TTHREAD {
            set_parent(ffi::lua_tothread(l, 1), l);
        }
        let count = ffi::lua_gettop(l);
        ffi::luaL_checkstack(l, 1, std::ptr::null());
        ffi::lua_pushvalue(l, ffi::lua_upvalueindex(2));
        ffi::lua_insert(l, 1);
        ffi::lua_call(l, count, ffi::LUA_MULTRET);
        if core.runtime.ending().is_some() {
            end(l, core);
        }
        ffi::lua_gettop(l)
    }
}

/// `coroutine.wrap`: wraps what the original gives, so that the coroutine knows who resumes it.
///
/// # Safety
/// Called by Lua; the upvalues are the core and the original.
pub(crate) unsafe extern "C-unwind" fn wrap(l: State) -> c_int {
    // SAFETY: as this function's contract; this frame owns nothing.
    unsafe {
        let count = ffi::lua_gettop(l);
        ffi::luaL_checkstack(l, 4, std::ptr::null());
        ffi::lua_pushlightuserdata(l, sentinel(core(l)));
        ffi::lua_insert(l, 1);
        ffi::lua_pushvalue(l, ffi::lua_upvalueindex(2));
        ffi::lua_insert(l, 2);
        ffi::lua_call(l, count, 1);
        // The original's closure holds the coroutine; LuaJIT hides it, and does not need it.
        if ffi::lua_getupvalue(l, 2, 1).is_null() {
            ffi::lua_pushnil(l);
        }
        ffi::lua_pushcclosure(l, resume_wrapped, 3);
    }
    1
}

unsafe extern "C-unwind" fn resume_wrapped(l: State) -> c_int {
    // SAFETY: made by `wrap` with the core, the original closure and the coroutine; this frame owns nothing.
    unsafe {
        #[cfg(not(feature = "luajit"))]
        if ffi::lua_type(l, ffi::lua_upvalueindex(3)) == ffi::LUA_TTHREAD {
            set_parent(ffi::lua_tothread(l, ffi::lua_upvalueindex(3)), l);
        }
        if core(l).stack_is_full() {
            ffi::luaL_error(l, c"C stack overflow".as_ptr());
        }
        let count = ffi::lua_gettop(l);
        ffi::luaL_checkstack(l, 1, std::ptr::null());
        ffi::lua_pushvalue(l, ffi::lua_upvalueindex(2));
        ffi::lua_insert(l, 1);
        ffi::lua_call(l, count, ffi::LUA_MULTRET);
        ffi::lua_gettop(l)
    }
}

/// Makes a message handler that an exit passes by, from the one at index 1.
///
/// # Safety
/// Called by Lua; the upvalue is the core.
pub(crate) unsafe extern "C-unwind" fn guard_handler(l: State) -> c_int {
    // SAFETY: as this function's contract; this frame owns nothing.
    unsafe {
        ffi::lua_settop(l, 1);
        if ffi::lua_type(l, 1) == ffi::LUA_TNIL {
            return 1;
        }
        ffi::lua_pushlightuserdata(l, sentinel(core(l)));
        ffi::lua_insert(l, 1);
        ffi::lua_pushcclosure(l, handle, 2);
    }
    1
}

unsafe extern "C-unwind" fn handle(l: State) -> c_int {
    // SAFETY: made by `guard_handler` with the core and the script's handler; this frame owns nothing.
    unsafe {
        ffi::lua_settop(l, 1);
        if is_sentinel(l, 1, core(l)) {
            return 1;
        }
        ffi::lua_pushvalue(l, ffi::lua_upvalueindex(2));
        ffi::lua_insert(l, 1);
        ffi::lua_call(l, 1, 1);
    }
    1
}

/// `os.exit`: a script's wish to end; the host's process is not its own.
///
/// # Safety
/// Called by Lua; the upvalue is the core.
pub(crate) unsafe extern "C-unwind" fn os_exit(l: State) -> c_int {
    // SAFETY: as this function's contract; `warn_exit` owns nothing any more when `end` raises.
    unsafe {
        let core = core(l);
        warn_exit(core, l);
        core.runtime.end(Control::Exit);
        end(l, core)
    }
}

fn warn_exit(core: &Core, l: State) {
    let place = crate::errors::place(l).map_or_else(|| "unknown place".to_owned(), |place| place.to_string());
    crate::libraries::quietly(|| {
        tracing::warn!(
            target: "script",
            engine = core.runtime.engine(),
            "{place}: os.exit ends the callback, not the process; use {}.x.exit()",
            core.runtime.registry().root()
        );
    });
}
