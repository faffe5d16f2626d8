//! The budget, as library functions that may run for long check it.

use crate::call::CallState;
use crate::ffi::LuaThread;
use crate::terminate::terminate;

/// The number of instructions that [`STRIDE`] steps of a library function count for.
const COUNTS_FOR: u64 = 1024;

/// The number of steps between two checks.
const STRIDE: u32 = 4096;

/// Tells whether the call is to end, [`STRIDE`] steps of a library function later.
pub(crate) fn is_over(call: &CallState, l: LuaThread) -> bool {
    let (runtime, interpreter) = (call.runtime(), call.interpreter());
    call.threads().with_current(l, || {
        if runtime.registry().limits().max_instructions != 0 {
            runtime.use_instructions(COUNTS_FOR, interpreter);
        }
        runtime.poll(interpreter)
    })
}

/// Raises if the call is to end.
///
/// # Safety
/// As for [`terminate`], but that the runtime need not be ending.
pub(crate) unsafe fn check(l: LuaThread, call: &CallState) {
    if is_over(call, l) {
        // SAFETY: as the caller's; the runtime is ending.
        unsafe { terminate(l, call) };
    }
}

/// The steps of a loop in a library function.
#[derive(Debug, Default)]
pub(crate) struct Steps(u32);

impl Steps {
    /// Takes one step; raises if the call is to end.
    ///
    /// # Safety
    /// As for [`check`].
    #[inline]
    pub(crate) unsafe fn take(&mut self, l: LuaThread, call: &CallState) {
        self.0 += 1;
        if self.0 == STRIDE {
            self.0 = 0;
            // SAFETY: as the caller's.
            unsafe { check(l, call) };
        }
    }
}
