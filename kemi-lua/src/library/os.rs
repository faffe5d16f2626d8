//! `os.exit`.

use std::ffi::c_int;

use kemi_core::NativeExit;
use kemi_core::telemetry::log_guarded;

use crate::call::CallState;
use crate::ffi::LuaThread;
use crate::frames;
use crate::terminate::terminate;

/// `os.exit`: a script's wish to end; the host's process is not its own.
///
/// # Safety
/// Called by Lua; the upvalue is the call state.
pub(crate) unsafe extern "C-unwind" fn exit(l: LuaThread) -> c_int {
    // SAFETY: as this function's contract; `warn_exit` owns nothing any more when `terminate` raises.
    unsafe {
        let call = CallState::of(l);
        warn_exit(call, l);
        call.runtime().request_exit(NativeExit::Exit);
        terminate(l, call)
    }
}

fn warn_exit(call: &CallState, l: LuaThread) {
    let place = frames::place_text(l);
    log_guarded(|| {
        tracing::warn!(
            target: "script",
            engine = call.runtime().engine(),
            "{place}: os.exit ends the callback, not the process; use {}.x.exit()",
            call.runtime().registry().root()
        );
    });
}
