//! The state of one call, saved and restored as a whole.

use std::ptr;

use super::runtime::Runtime;
use crate::callback::CallbackId;
use crate::error::NativeExit;
use crate::limits::SavedWatch;
use crate::registry::IDLE_ROUTE;

/// The reason why an interpreter runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Calls of the host, and the time between them.
    Calling,
    /// The script's top level.
    Loading,
    /// The host looks something up.
    LookingUp,
    /// The end of the interpreter.
    Closing,
}

/// The state of one call of a script.
#[derive(Clone, Copy)]
pub(super) struct CallState {
    /// The context slot: the host's context, or null while it is lent to a native function or there is none.
    pub(super) context: *mut (),
    /// A bit for each route whose exports may be called. The watch shows this mask or an empty one.
    pub(super) route_mask: u64,
    /// The pending exit or drop of the running callback.
    pub(super) exit: Option<NativeExit>,
    pub(super) callback: Option<CallbackId>,
    /// How many callbacks are nested; 0 between two calls of the host.
    pub(super) depth: u32,
    pub(super) phase: Phase,
}

impl CallState {
    /// The state between two calls of the host.
    pub(super) fn idle(phase: Phase) -> CallState {
        CallState { context: ptr::null_mut(), route_mask: IDLE_ROUTE, exit: None, callback: None, depth: 0, phase }
    }
}

/// Restores the state of the outer call when a callback ends, even by a panic of the engine.
pub(super) struct RestoreCall<'a> {
    pub(super) runtime: &'a Runtime,
    pub(super) call: CallState,
    pub(super) watch: SavedWatch,
}

impl Drop for RestoreCall<'_> {
    #[inline]
    fn drop(&mut self) {
        let runtime = self.runtime;
        runtime.call.set(self.call);
        runtime.watch.leave(self.watch);
        if self.call.depth == 0 {
            runtime.watch.end();
            runtime.forget_memory();
        } else if runtime.budget.limit_hit.get().is_some() {
            runtime.request_exit(NativeExit::Exit);
        }
        runtime.show_route_mask();
    }
}
