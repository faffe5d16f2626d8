//! The forced end of a call: by an exit, a drop or a limit.
//!
//! It is an error that nothing in a script can catch: a light userdata, and a hook on every instruction that raises it
//! again wherever a script has caught it, until the callback has come back to the host. It costs nothing before a call is
//! to end.

use std::ffi::{c_int, c_void};

use crate::call::CallState;
use crate::ffi::{self, LuaThread};

/// The error that ends a call is the address of this. Scripts cannot make such a value.
static TERMINATION: u8 = 0;

fn termination() -> *mut c_void {
    (&raw const TERMINATION).cast_mut().cast()
}

/// Ends the running callback: sets the hook and raises.
///
/// # Safety
/// The call is protected, the runtime is ending, and no frame of ours on the way owns anything.
pub(crate) unsafe fn terminate(l: LuaThread, call: &CallState) -> ! {
    call.threads().arm(l);
    // SAFETY: as the caller's; a native function has a free slot.
    unsafe {
        ffi::lua_pushlightuserdata(l, termination());
        ffi::lua_error(l)
    }
}

/// Ends the running callback if it is to end.
///
/// # Safety
/// As [`terminate`], but that the runtime need not be ending.
pub(crate) unsafe fn terminate_if_ending(l: LuaThread, call: &CallState) {
    if call.is_ending() {
        // SAFETY: as the caller's.
        unsafe { terminate(l, call) };
    }
}

/// Tells whether a value is the error that ends a callback.
///
/// # Safety
/// The index is valid.
pub(crate) unsafe fn is_termination(l: LuaThread, index: c_int) -> bool {
    // SAFETY: neither call raises.
    unsafe { ffi::lua_type(l, index) == ffi::LUA_TLIGHTUSERDATA && ffi::lua_touserdata(l, index) == termination() }
}
