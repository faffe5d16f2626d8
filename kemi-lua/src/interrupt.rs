//! The hook that checks the limits, and how the watchdog's signal sets it.
//!
//! The hook is set for one call by the watchdog, by the allocator, and by [`terminate`](crate::terminate); it is set all the
//! time only where instructions are counted.

use std::ffi::c_int;
use std::ptr;

use kemi_core::engine::Runtime;
use kemi_core::limits::interrupt::{self, Running};
use kemi_core::{ErrorCode, Limits, ScriptError};

use crate::call::CallState;
use crate::ffi::{self, LuaThread};
#[cfg(not(luajit))]
use crate::library::finalizer::Finalizers;
use crate::terminate::terminate;

/// The number of instructions from one count to the next, when they are limited.
const STEP: u64 = 100;

/// The number of instructions from one check of the clock to the next where nothing interrupts a thread.
const UNINTERRUPTED_STEP: u64 = 10_000;

/// The key of the [`HookContext`] in Lua's registry.
static CONTEXT: u8 = 0;

/// The records that the hook works on. It lives as long as the Lua state.
pub(crate) struct HookContext {
    call: *const CallState,
    #[cfg(not(luajit))]
    finalizers: *const Finalizers,
}

impl HookContext {
    /// Makes the context of one state's hook.
    ///
    /// # Safety
    /// The records do not move, and outlive the Lua state.
    pub(crate) unsafe fn new(call: &CallState, #[cfg(not(luajit))] finalizers: &Finalizers) -> HookContext {
        HookContext {
            call: ptr::from_ref(call),
            #[cfg(not(luajit))]
            finalizers: ptr::from_ref(finalizers),
        }
    }

    /// Makes the context known to the hook.
    ///
    /// # Safety
    /// The call is protected; `self` does not move, and outlives the Lua state.
    pub(crate) unsafe fn register(&self, l: LuaThread) {
        // SAFETY: as the caller's.
        unsafe {
            ffi::push_context(l, self);
            ffi::lua_rawsetp(l, ffi::LUA_REGISTRYINDEX, (&raw const CONTEXT).cast());
        }
    }
}

/// Returns the number of instructions between two calls of the hook while no call is to end; 0 for no hook.
pub(crate) fn idle_step(limits: &Limits) -> c_int {
    let step = match limits.max_instructions {
        0 if interrupt::INTERRUPTS_THREADS || !has_time_limit(limits) => 0,
        0 => UNINTERRUPTED_STEP,
        limit => limit.min(STEP),
    };
    c_int::try_from(step).unwrap_or(c_int::MAX)
}

/// Lets the watchdog interrupt this thread, if a script's time is limited.
///
/// # Errors
/// [`ErrorCode::Runtime`] if there can be no handler for the signal.
pub(crate) fn set_up(runtime: &Runtime) -> Result<(), ScriptError> {
    if has_time_limit(runtime.registry().limits()) {
        let interrupt = interrupt::for_this_thread().map_err(|error| {
            let message = format!("cannot limit the script's time: no handler for the signal SIGURG: {error}");
            ScriptError::new(ErrorCode::Runtime, message)
        })?;
        runtime.on_interrupt(Some(interrupt));
    }
    Ok(())
}

fn has_time_limit(limits: &Limits) -> bool {
    limits.max_time_ms != 0 || limits.max_load_time_ms != 0
}

/// Describes which thread of a state runs, for interrupts.
pub(crate) fn running(main: LuaThread) -> Running {
    // SAFETY: the function sets a hook, which allocates nothing and raises nothing. A running thread is alive: only this
    // thread of the system could free it, and a coroutine stands there only while it is being resumed, which keeps it on
    // the resumer's stack, with no way out (not even by an error) that does not put the resumer back first.
    unsafe { Running::new(set_hook_by_signal, main.cast()) }
}

/// Has the hook called before the next instruction of the running thread, or before its next call if it is in a C function
/// that calls others.
///
/// # Safety
/// The Lua thread is alive, and the calling thread of the system is the one that runs it; it may be in the middle of
/// anything.
unsafe fn set_hook_by_signal(l: *mut ()) {
    // SAFETY: as the caller's. This is the thread that runs the state, so nothing here is a data race; Lua and LuaJIT
    // document that it may be called asynchronously: Lua's own `lua.c` does it on SIGINT. An assignment that it comes
    // between and that is lost for that reason does not matter, since the watchdog sends its signal again and again, and
    // neither does a hook that is set too much, since it removes itself.
    unsafe { ffi::lua_sethook(l.cast(), Some(hook), ffi::LUA_MASKCOUNT | ffi::LUA_MASKCALL, 1) };
}

/// The hook: ends the call if it is to end; else resets itself, and runs the finalizers that wait.
pub(crate) unsafe extern "C-unwind" fn hook(l: LuaThread, activation: *mut ffi::lua_Debug) {
    // SAFETY: hooks have free slots; the context was registered when the state was made and outlives it. This frame owns
    // nothing when it raises.
    unsafe {
        ffi::lua_rawgetp(l, ffi::LUA_REGISTRYINDEX, (&raw const CONTEXT).cast());
        let context = &*ffi::lua_touserdata(l, -1).cast_const().cast::<HookContext>();
        ffi::lua_settop(l, -2);
        let call = &*context.call;
        let threads = call.threads();
        #[cfg(not(luajit))]
        threads.hook_runs(l);
        let counted =
            (*activation).event == ffi::LUA_HOOKCOUNT && call.runtime().registry().limits().max_instructions != 0;
        if is_to_end(call, l, counted) {
            #[cfg(not(luajit))]
            threads.hook_raises(l);
            terminate(l, call);
        }
        threads.reset_hook(l);
        if call.memory().is_too_deep(l) {
            #[cfg(not(luajit))]
            {
                // Where a script goes on after it, hooks are on again.
                threads.hook_raises(l);
                threads.request_check_on(l);
            }
            // As Lua itself says it, much later.
            ffi::luaL_error(l, c"stack overflow".as_ptr());
        }
        #[cfg(not(luajit))]
        if (*context.finalizers).are_pending() {
            (*context.finalizers).run_pending(l);
            if call.is_ending() {
                threads.hook_raises(l);
                terminate(l, call);
            }
        }
    }
}

/// Checks the limits; tells whether the call is to end.
///
/// # Safety
/// The call is protected.
unsafe fn is_to_end(call: &CallState, l: LuaThread, counted: bool) -> bool {
    call.threads().with_current(l, || {
        if !call.is_ending() {
            // SAFETY: as the caller's.
            unsafe {
                if counted {
                    let count = u64::try_from(ffi::lua_gethookcount(l)).unwrap_or(1);
                    call.runtime().use_instructions(count, call.interpreter());
                }
                call.memory().check(l);
            }
        }
        call.runtime().poll(call.interpreter())
    })
}
