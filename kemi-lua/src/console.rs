//! `print` and `warn`: lines of the log.

use std::ffi::c_int;
use std::ptr;

use kemi_core::telemetry::log_guarded;

use crate::call::CallState;
use crate::ffi::{self, LuaThread};
use crate::{frames, string};

/// Replaces `print`.
///
/// # Safety
/// The call is protected; the libraries are open.
pub(crate) unsafe fn replace_print(l: LuaThread, call: &CallState) {
    // SAFETY: as the caller's.
    unsafe {
        ffi::push_function(l, print, call);
        ffi::lua_setglobal(l, c"print".as_ptr());
    }
}

/// `print`.
///
/// # Safety
/// Called by Lua; the upvalue is the call state.
unsafe extern "C-unwind" fn print(l: LuaThread) -> c_int {
    // SAFETY: as this function's contract; this frame owns nothing, and `log` raises nothing.
    unsafe {
        let call = CallState::of(l);
        let count = ffi::lua_gettop(l);
        if call.stack_is_full() {
            ffi::luaL_error(l, c"C stack overflow".as_ptr());
        }
        ffi::luaL_checkstack(l, count.saturating_mul(2).saturating_add(2), ptr::null());
        for index in 1..=count {
            if index > 1 {
                string::push(l, b"\t");
            }
            ffi::luaL_tolstring(l, index, ptr::null_mut());
        }
        ffi::lua_concat(l, ffi::lua_gettop(l) - count);
        log(call, l, string::read(l, -1));
    }
    0
}

fn log(call: &CallState, l: LuaThread, text: &[u8]) {
    log_guarded(|| {
        if !tracing::enabled!(target: "script", tracing::Level::INFO) {
            return;
        }
        let (engine, text) = (call.runtime().engine(), String::from_utf8_lossy(text));
        match frames::place(l) {
            Some(place) => tracing::info!(target: "script", engine, "{place}: {text}"),
            None => tracing::info!(target: "script", engine, "{text}"),
        }
    });
}

#[cfg(not(luajit))]
pub(crate) use warnings::Warnings;

/// LuaJIT has no warnings.
#[cfg(not(luajit))]
mod warnings {
    use std::cell::RefCell;
    use std::ffi::{CStr, c_char, c_int, c_void};
    use std::ptr;
    use std::rc::Rc;

    use kemi_core::engine::Runtime;
    use kemi_core::telemetry::log_guarded;

    use crate::ffi::{self, LuaThread};

    /// The warnings of one state. Lua gives them in pieces.
    pub(crate) struct Warnings {
        runtime: Rc<Runtime>,
        /// The beginning of a warning whose end is to come.
        pending: RefCell<Vec<u8>>,
    }

    impl Warnings {
        /// Makes a record without warnings.
        pub(crate) fn new(runtime: Rc<Runtime>) -> Warnings {
            Warnings { runtime, pending: RefCell::default() }
        }

        /// Sends the warnings of a state to the log.
        ///
        /// # Safety
        /// `self` does not move, and outlives the state.
        pub(crate) unsafe fn install(&self, l: LuaThread) {
            // SAFETY: as the caller's.
            unsafe { ffi::lua_setwarnf(l, Some(warn), ptr::from_ref(self).cast_mut().cast()) };
        }
    }

    /// `warn`, as Lua calls it for each piece of a warning.
    unsafe extern "C-unwind" fn warn(warnings: *mut c_void, piece: *const c_char, more: c_int) {
        // SAFETY: set with the warnings, which outlive the state; Lua passes a string that ends in NUL.
        let (warnings, piece) = unsafe { (&*warnings.cast_const().cast::<Warnings>(), CStr::from_ptr(piece)) };
        warnings.pending.borrow_mut().extend_from_slice(piece.to_bytes());
        if more == 0 {
            let text = warnings.pending.take();
            // Words that begin with @ control the interpreter's own warning system, which this one replaces.
            if !text.starts_with(b"@") {
                let engine = warnings.runtime.engine();
                log_guarded(|| tracing::warn!(target: "script", engine, "{}", String::from_utf8_lossy(&text)));
            }
        }
    }
}
