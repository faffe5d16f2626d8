//! Exit, drop and limits: an error that nothing in a script can catch, and the hook that raises it.
//!
//! The error is a light userdata, and a hook on every instruction raises it again wherever a script has caught it,
//! until the callback has come back to the host. Nothing is paid for this before a callback is to end. The same hook
//! looks at the limits when the watchdog or the allocator has set it; only counting instructions has it set always.

use std::ffi::c_int;

use crate::ffi;
use kemi_core::Control;
use kemi_core::interrupt::{self, Running};

use crate::interpreter::Core;
#[cfg(not(luajit))]
use crate::library::finalizer;
use crate::memory;
use crate::value::State;

/// How many instructions pass from one count to the next, when they are limited.
const STEP: u64 = 100;

/// How many instructions pass from one look at the clock to the next where nothing interrupts a thread.
const UNINTERRUPTED_STEP: u64 = 10_000;

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
        #[cfg(not(luajit))]
        {
            set_parent(l, std::ptr::null_mut());
            ffi::lua_createtable(l, 0, 0);
            ffi::lua_createtable(l, 0, 1);
            ffi::lua_pushstring(l, c"k".as_ptr());
            ffi::lua_setfield(l, -2, c"__mode".as_ptr());
            ffi::lua_setmetatable(l, -2);
            ffi::lua_rawsetp(l, ffi::LUA_REGISTRYINDEX, (&raw const DOOMED).cast());
        }
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
fn arm(core: &Core, l: State) {
    core.armed.set(true);
    watch_all(core, l);
}

/// Has the running script looked at before its next instruction, because of its memory. The allocator calls it, so it
/// touches nothing but the hooks.
pub(crate) fn alarm(core: &Core) {
    watch_all(core, core.running.get().cast());
}

#[cfg_attr(luajit, expect(unused_mut, reason = "the loop has one round there"))]
fn watch_all(core: &Core, l: State) {
    let mut thread = l;
    loop {
        // SAFETY: the thread runs or waits in `resume`, so it is alive.
        unsafe { set_hook(core, thread, Some(look), ffi::LUA_MASKCOUNT, 1) };
        // On LuaJIT all coroutines share one hook.
        if cfg!(luajit) || thread == core.base.get() {
            return;
        }
        #[cfg(not(luajit))]
        {
            thread = parent(thread);
        }
        if thread.is_null() {
            return;
        }
    }
}

/// Sets the hook of a state, and keeps interrupts from doing so in the middle of that: on LuaJIT they would leave its
/// dispatch table in a state that later ones do not mend.
///
/// # Safety
/// The state is alive.
unsafe fn set_hook(core: &Core, l: State, hook: Option<Hook>, mask: c_int, count: c_int) {
    undisturbed(core, || {
        // SAFETY: as the caller's.
        unsafe { ffi::lua_sethook(l, hook, mask, count) };
    });
}

type Hook = unsafe extern "C-unwind" fn(State, *mut ffi::lua_Debug);

/// Runs something that an interrupt must not come between. One that comes meanwhile is lost; the watchdog sends more.
pub(crate) fn undisturbed(core: &Core, run: impl FnOnce()) {
    let running = core.running.get();
    core.running.set(std::ptr::null_mut());
    run();
    core.running.set(running);
}

/// Describes which of a core's states runs, for interrupts.
pub(crate) fn running(main: State) -> Running {
    // SAFETY: the function sets a hook, which allocates nothing and raises nothing. A running state is alive: only this
    // thread could free it, and a coroutine stands there only while it is being resumed, which keeps it on the resumer's
    // stack, with no way out (not even by an error) that does not put the resumer back first.
    unsafe { Running::new(set_interrupt_hook, main.cast()) }
}

/// Has the running state looked at: before its next instruction, or before its next call if it is in a C function that
/// calls others.
///
/// # Safety
/// It is a state that is alive, and the calling thread is the one that runs it; it may be in the middle of anything.
unsafe fn set_interrupt_hook(l: *mut ()) {
    // SAFETY: as the caller's. This is the thread that runs the state, so nothing here is a data race; Lua and LuaJIT
    // document that it may be called asynchronously: Lua's own `lua.c` does it on SIGINT. An assignment that it comes
    // between and that is lost for that reason does not matter, since the watchdog sends its signal again and again, and
    // neither does a hook that is set too much, since it removes itself.
    unsafe { ffi::lua_sethook(l.cast(), Some(look), ffi::LUA_MASKCOUNT | ffi::LUA_MASKCALL, 1) };
}

/// Removes the hook at the border of the callback. Other coroutines that had it have died of the error.
pub(crate) fn disarm(core: &Core, l: State) {
    if core.armed.replace(false) {
        #[cfg(not(luajit))]
        core.hooks_are_on(l);
        // SAFETY: it is the state that the callback ran on.
        unsafe { rest(core, l) };
    }
}

/// Sets the hook to what it is while nothing is to end: none, or the one that counts. Coroutines inherit it.
///
/// # Safety
/// The state is alive.
pub(crate) unsafe fn rest(core: &Core, l: State) {
    let limits = core.runtime.registry().limits();
    let step = match limits.max_instructions {
        0 if interrupt::INTERRUPTS_THREADS || (limits.max_time_ms == 0 && limits.max_load_time_ms == 0) => None,
        0 => Some(UNINTERRUPTED_STEP),
        limit => Some(limit.min(STEP)),
    };
    // SAFETY: as the caller's.
    unsafe {
        match step.map(|step| c_int::try_from(step).unwrap_or(c_int::MAX)) {
            None => set_hook(core, l, None, 0, 0),
            Some(step) => set_hook(core, l, Some(look), ffi::LUA_MASKCOUNT, step),
        }
    }
}

/// The hook: ends the callback if it is to end, by now or since longer; else sets itself back.
unsafe extern "C-unwind" fn look(l: State, activation: *mut ffi::lua_Debug) {
    // SAFETY: hooks have free slots; the core was registered when the state was made and outlives it. This frame owns
    // nothing when it raises.
    unsafe {
        ffi::lua_rawgetp(l, ffi::LUA_REGISTRYINDEX, (&raw const CORE).cast());
        let core = ffi::lua_touserdata(l, -1).cast_const().cast::<Core>();
        ffi::lua_settop(l, -2);
        let core = &*core;
        #[cfg(not(luajit))]
        core.hooks_are_on(l);
        let counted =
            (*activation).event == ffi::LUA_HOOKCOUNT && core.runtime.registry().limits().max_instructions != 0;
        if is_to_end(core, l, counted) {
            #[cfg(not(luajit))]
            core.hookless.set(l);
            end(l, core);
        }
        rest(core, l);
        if memory::is_too_deep(core, l) {
            #[cfg(not(luajit))]
            {
                // Where a script goes on after it, hooks are on again.
                core.hookless.set(l);
                set_hook(core, l, Some(look), ffi::LUA_MASKCOUNT, 1);
            }
            // As Lua itself says it, much later.
            ffi::luaL_error(l, c"stack overflow".as_ptr());
        }
        #[cfg(not(luajit))]
        if core.finalizers.wait() {
            finalizer::run(core, l);
            if core.runtime.ending().is_some() {
                core.hookless.set(l);
                end(l, core);
            }
        }
    }
}

/// # Safety
/// The call is protected.
unsafe fn is_to_end(core: &Core, l: State, counted: bool) -> bool {
    let outer = core.current.replace(l);
    if core.runtime.ending().is_none() {
        // SAFETY: as the caller's.
        unsafe {
            if counted {
                core.runtime.spend(u64::try_from(ffi::lua_gethookcount(l)).unwrap_or(1), core);
            }
            memory::look(core, l);
        }
    }
    let ends = core.runtime.poll(core);
    core.current.set(outer);
    ends
}

/// Remembers who resumes a coroutine. Valid while the coroutine runs: it is set before each time.
///
/// # Safety
/// The state is alive.
#[cfg(not(luajit))]
pub(crate) unsafe fn set_parent(l: State, parent: State) {
    // SAFETY: the extra space is a pointer's size before the state, and nothing else uses it.
    unsafe { ffi::lua_getextraspace(l).cast::<State>().write(parent) };
}

#[cfg(not(luajit))]
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
        #[cfg(not(luajit))]
        let thread = ffi::lua_tothread(l, 1);
        let count = ffi::lua_gettop(l);
        ffi::luaL_checkstack(l, 1, std::ptr::null());
        ffi::lua_pushvalue(l, ffi::lua_upvalueindex(2));
        ffi::lua_insert(l, 1);
        #[cfg(not(luajit))]
        call_running(l, core, count, thread);
        #[cfg(luajit)]
        ffi::lua_call(l, count, ffi::LUA_MULTRET);
        if core.runtime.ending().is_some() {
            end(l, core);
        }
        ffi::lua_gettop(l)
    }
}

/// Calls the function below the arguments, which resumes or closes a coroutine, if `thread` is one: notes who resumes
/// it and that it runs.
///
/// # Safety
/// As for `lua_call`; this frame owns nothing.
#[cfg(not(luajit))]
unsafe fn call_running(l: State, core: &Core, count: c_int, thread: State) {
    // SAFETY: as the caller's.
    unsafe {
        if thread.is_null() || is_active(thread) {
            // An active coroutine cannot be resumed, and has its parent already.
            ffi::lua_call(l, count, ffi::LUA_MULTRET);
            return;
        }
        set_parent(thread, l);
        core.running.set(thread.cast());
        // Even an error must pass here, so that nobody takes a coroutine for the running one that may be freed.
        let status = ffi::lua_pcall(l, count, ffi::LUA_MULTRET, 0);
        core.running.set(l.cast());
        if core.hookless.get() == thread {
            core.hookless.set(std::ptr::null_mut());
            if has_died(thread) {
                doom(l, thread);
            }
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
unsafe fn is_active(thread: State) -> bool {
    // SAFETY: the record is only written to; all its fields may be zero.
    unsafe {
        let mut record: ffi::lua_Debug = std::mem::MaybeUninit::zeroed().assume_init();
        ffi::lua_status(thread) == ffi::LUA_OK && ffi::lua_getstack(thread, 0, &raw mut record) != 0
    }
}

/// `coroutine.wrap`, made of the guarded `coroutine.resume`, so that the coroutine knows who resumes it.
///
/// # Safety
/// Called by Lua; the upvalues are the core and the original `coroutine.resume`.
#[cfg(not(luajit))]
pub(crate) unsafe extern "C-unwind" fn wrap(l: State) -> c_int {
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

#[cfg(not(luajit))]
unsafe extern "C-unwind" fn resume_wrapped(l: State) -> c_int {
    // SAFETY: made by `wrap` with the core, the original `resume` and the coroutine; this frame owns nothing.
    unsafe {
        let core = core(l);
        if core.stack_is_full() {
            ffi::luaL_error(l, c"C stack overflow".as_ptr());
        }
        let count = ffi::lua_gettop(l);
        ffi::luaL_checkstack(l, 2, std::ptr::null());
        ffi::lua_pushvalue(l, ffi::lua_upvalueindex(2));
        ffi::lua_insert(l, 1);
        ffi::lua_pushvalue(l, ffi::lua_upvalueindex(3));
        ffi::lua_insert(l, 2);
        let thread = ffi::lua_tothread(l, ffi::lua_upvalueindex(3));
        call_running(l, core, count + 1, thread);
        if core.runtime.ending().is_some() {
            end(l, core);
        }
        if ffi::lua_toboolean(l, 1) == 0 {
            if has_died(thread) && !is_doomed(l, thread) {
                // It has died of an error: what it has open is closed, which may give another error.
                ffi::lua_settop(l, 0);
                ffi::lua_pushcfunction(l, close_wrapped);
                ffi::lua_pushvalue(l, ffi::lua_upvalueindex(3));
                call_running(l, core, 1, thread);
                if core.runtime.ending().is_some() {
                    end(l, core);
                }
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
unsafe fn has_died(thread: State) -> bool {
    // SAFETY: as the caller's.
    !matches!(unsafe { ffi::lua_status(thread) }, ffi::LUA_OK | ffi::LUA_YIELD)
}

/// The key of the table of coroutines that died of an error which a hook has raised. Lua leaves their hooks off for ever,
/// so nothing could end what they have still to close; it stays open.
#[cfg(not(luajit))]
static DOOMED: u8 = 0;

/// # Safety
/// Called in a C function whose frame owns nothing.
#[cfg(not(luajit))]
unsafe fn doom(l: State, thread: State) {
    // SAFETY: as the caller's; the slots are made sure of.
    unsafe {
        ffi::luaL_checkstack(l, 4, std::ptr::null());
        ffi::lua_rawgetp(l, ffi::LUA_REGISTRYINDEX, (&raw const DOOMED).cast());
        ffi::lua_pushthread(thread);
        ffi::lua_xmove(thread, l, 1);
        ffi::lua_pushboolean(l, 1);
        ffi::lua_rawset(l, -3);
        ffi::lua_settop(l, -2);
    }
}

/// # Safety
/// Called in a C function whose frame owns nothing.
#[cfg(not(luajit))]
unsafe fn is_doomed(l: State, thread: State) -> bool {
    // SAFETY: as the caller's; the slots are made sure of.
    unsafe {
        ffi::luaL_checkstack(l, 3, std::ptr::null());
        ffi::lua_rawgetp(l, ffi::LUA_REGISTRYINDEX, (&raw const DOOMED).cast());
        ffi::lua_pushthread(thread);
        ffi::lua_xmove(thread, l, 1);
        let doomed = ffi::lua_rawget(l, -2) != ffi::LUA_TNIL;
        ffi::lua_settop(l, -3);
        doomed
    }
}

/// `coroutine.close`: the guarded original, but for coroutines that are [doomed](DOOMED).
///
/// # Safety
/// Called by Lua; the upvalues are the core and the original.
#[cfg(not(luajit))]
pub(crate) unsafe extern "C-unwind" fn close(l: State) -> c_int {
    // SAFETY: as this function's contract; this frame owns nothing.
    unsafe {
        let thread = ffi::lua_tothread(l, 1);
        if !thread.is_null() && has_died(thread) && is_doomed(l, thread) {
            ffi::lua_pushboolean(l, 0);
            ffi::lua_pushstring(l, c"the coroutine was ended".as_ptr());
            return 2;
        }
        let results = guarded(l);
        if results == 2 && is_sentinel(l, -1, core(l)) {
            ffi::lua_settop(l, -2);
            ffi::lua_pushstring(l, c"the coroutine was ended".as_ptr());
        }
        results
    }
}

/// Closes the coroutine at index 1 and gives its error.
#[cfg(not(luajit))]
unsafe extern "C-unwind" fn close_wrapped(l: State) -> c_int {
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
/// Called by Lua; the upvalues are the core and the original.
#[cfg(luajit)]
pub(crate) unsafe extern "C-unwind" fn wrap(l: State) -> c_int {
    // SAFETY: as this function's contract; this frame owns nothing.
    unsafe {
        let count = ffi::lua_gettop(l);
        ffi::luaL_checkstack(l, 3, std::ptr::null());
        ffi::lua_pushlightuserdata(l, sentinel(core(l)));
        ffi::lua_insert(l, 1);
        ffi::lua_pushvalue(l, ffi::lua_upvalueindex(2));
        ffi::lua_insert(l, 2);
        ffi::lua_call(l, count, 1);
        ffi::lua_pushcclosure(l, resume_wrapped, 2);
    }
    1
}

#[cfg(luajit)]
unsafe extern "C-unwind" fn resume_wrapped(l: State) -> c_int {
    // SAFETY: made by `wrap` with the core and the original closure; this frame owns nothing.
    unsafe {
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
        let core = core(l);
        if is_sentinel(l, 1, core) {
            return 1;
        }
        // A hook has raised it, and hooks are off until somebody catches it.
        #[cfg(not(luajit))]
        if core.hookless.get() == l && ffi::lua_iscfunction(l, ffi::lua_upvalueindex(2)) == 0 {
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
    let place = crate::error::place(l).map_or_else(|| "unknown place".to_owned(), |place| place.to_string());
    kemi_core::log_guarded(|| {
        tracing::warn!(
            target: "script",
            engine = core.runtime.engine(),
            "{place}: os.exit ends the callback, not the process; use {}.x.exit()",
            core.runtime.registry().root()
        );
    });
}
