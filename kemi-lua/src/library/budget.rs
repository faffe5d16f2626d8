//! How library functions that may run for long look at the budget.

use crate::interpreter::Core;
use crate::terminate;
use crate::value::State;

/// How many instructions [`STRIDE`] steps of a library function count for.
const COUNTS_FOR: u64 = 1024;

/// How many steps are taken between two looks.
const STRIDE: u32 = 4096;

/// Tells whether the call is to end, [`STRIDE`] steps of a library function later.
pub(crate) fn is_over(core: &Core, l: State) -> bool {
    let outer = core.current.replace(l);
    if core.runtime.registry().limits().max_instructions != 0 {
        core.runtime.spend(COUNTS_FOR, core);
    }
    let over = core.runtime.poll(core);
    core.current.set(outer);
    over
}

/// Counts the steps of a loop in a library function.
#[derive(Debug, Default)]
pub(crate) struct Steps(u32);

impl Steps {
    /// Takes one step; raises if the call is to end.
    ///
    /// # Safety
    /// As for [`terminate::end`].
    #[inline]
    pub(crate) unsafe fn take(&mut self, l: State, core: &Core) {
        self.0 += 1;
        if self.0 == STRIDE {
            self.0 = 0;
            // SAFETY: as the caller's.
            unsafe { look(l, core) };
        }
    }
}

/// Raises if the call is to end.
///
/// # Safety
/// As for [`terminate::end`].
pub(crate) unsafe fn look(l: State, core: &Core) {
    if is_over(core, l) {
        // SAFETY: as the caller's; the runtime is ending.
        unsafe { terminate::end(l, core) };
    }
}
