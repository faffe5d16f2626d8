//! The failure route: the request comes back to the script after all its branches have failed.

use crate::proxy::{Caller, Cx, MessageState, Route};
use crate::tm::Call;
use crate::transaction::{Actions, Choice, FailureOutcome, Handle};

/// Runs the armed failure callback with the request as its message, then tells the machine how it ended.
pub(super) fn run(cx: &mut Cx, handle: &Handle<Call>, choice: Choice, caller: &dyn Caller, actions: &mut Actions) {
    let (callback, state) = {
        let mut call = handle.lock();
        // It is there as long as there is no final reply.
        let Some(request) = &call.request else { return };
        let mut state = MessageState::clone(request);
        // It is armed once: the route may arm it again.
        let callback = call.armed.failure.take();
        state.flags = call.flags;
        state.avps.clone_from(&call.avps);
        state.armed = call.armed;
        (callback, state)
    };
    let outside = std::mem::replace(&mut cx.msg, state);
    cx.msg.route = Route::Failure;
    cx.msg.transaction = Some(handle.clone());
    cx.msg.failure_status = Some(choice.status);
    if let Some(callback) = callback
        && let Err(error) = cx.call_script(caller, callback)
    {
        // The machine sends the best reply, as if the route had done nothing.
        cx.report(&error);
    }
    let inside = std::mem::replace(&mut cx.msg, outside);
    let mut call = handle.lock();
    call.flags = inside.flags;
    call.avps = inside.avps;
    call.armed = inside.armed;
    call.machine.set_failure_armed(inside.armed.failure.is_some());
    let now = cx.shared.now();
    if let Err(error) = call.machine.failure_done(FailureOutcome::Default, now, actions) {
        tracing::debug!("{error}");
    }
}
