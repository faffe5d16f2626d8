//! Replies: those that come in from a callee, and those the script gives by itself.

use std::sync::Arc;

use kemi_core::Outcome;

use crate::proxy::{Caller, Cx, DropReason, ReplyError, Route};
use crate::tm::perform::{perform, write_own_reply};
use crate::transaction::{BranchToken, Bytes};

/// Sends a reply through the request's transaction (`t_reply`, `sl.send_reply`).
///
/// # Errors
/// When there is no transaction, it was answered already, or code and reason make no valid reply.
pub fn reply(cx: &mut Cx, code: u16, reason: &[u8]) -> Result<(), ReplyError> {
    let Some(handle) = cx.msg.transaction.clone() else {
        return Err(ReplyError::NotAnswerable("a message without a transaction"));
    };
    let mut actions = std::mem::take(&mut cx.actions);
    {
        let mut call = handle.lock();
        let mut bytes = Vec::new();
        write_own_reply(cx, &call, code, Some(reason), &cx.msg.reply_headers, &mut bytes)?;
        let now = cx.shared.now();
        call.machine.local_reply(code, bytes.into(), now, &mut actions).map_err(|_| ReplyError::Answered)?;
    }
    // A reply of the script's own never leads into a failure route, so nobody needs to be called.
    perform(cx, &handle, actions, &NoCaller, None);
    Ok(())
}

/// Stands for the script where no callback can come up.
pub(crate) struct NoCaller;

impl Caller for NoCaller {
    fn call(
        &self,
        _callback: kemi_core::CallbackId,
        _cx: &mut Cx,
        _args: &[kemi_core::Arg<'_>],
    ) -> Result<Outcome, kemi_core::ScriptError> {
        Ok(Outcome::Exit)
    }
}

/// Takes a reply from a callee: reply route, machine, and on to the caller.
///
/// A reply that belongs to no transaction of this proxy, by branch and method (RFC 3261 §17.1.3), is dropped: it is never
/// sent to an address that only the reply itself names. So is one with no Via but ours. While the transactions hold all that they may, a provisional reply is not passed on, since it would have to
/// be kept, and a final one is dropped if it is larger than what goes with it: it comes again.
pub fn on_reply(cx: &mut Cx, caller: &dyn Caller) {
    let message = Arc::clone(&cx.msg.message);
    let (Some(status), Some(via)) = (message.status(), message.top_via()) else { return };
    let token = via.branch().and_then(BranchToken::decode);
    let Some((token, handle)) =
        token.and_then(|token| cx.shared.transactions.find_branch(&token).map(|handle| (token, handle)))
    else {
        cx.statistics.dropped(DropReason::StrayReply);
        tracing::debug!(status, source = %cx.msg.source, "a reply to nothing that was sent; dropped");
        return;
    };
    let branch = token.branch;
    let method = message.cseq().map(|cseq| cseq.method);
    let to_cancel = method.is_some_and(|method| method.as_bytes() == b"CANCEL");
    if !to_cancel && !method.is_some_and(|method| handle.lock().is_method(branch, method.as_bytes())) {
        cx.statistics.dropped(DropReason::StrayReply);
        tracing::debug!(status, source = %cx.msg.source, "a reply to another method than what was sent; dropped");
        return;
    }
    // Without our own Via there is none to send it by (RFC 3261 §16.7, step 3).
    if !to_cancel && status > 100 && message.vias().nth(1).is_none() {
        cx.statistics.dropped(DropReason::StrayReply);
        tracing::debug!(status, source = %cx.msg.source, "a reply that names no caller in a second Via; dropped");
        return;
    }
    let no_room = !to_cancel && !cx.shared.transaction_memory.has_room(true);
    if no_room && status >= 200 && !handle.lock().can_replace(message.bytes().len()) {
        cx.statistics.dropped(DropReason::NoRoom);
        tracing::debug!(status, source = %cx.msg.source, "a reply for whose size there is no room; dropped");
        return;
    }
    let mut actions = std::mem::take(&mut cx.actions);
    if to_cancel {
        if let Err(error) = handle.lock().machine.cancel_reply(branch, status, &mut actions) {
            tracing::debug!("{error}");
        }
        perform(cx, &handle, actions, caller, None);
        return;
    }

    let dropped = run_reply_route(cx, &handle, branch, caller) || no_room;
    let now = cx.shared.now();
    let result = if dropped && status < 200 {
        handle.lock().machine.dropped_provisional(branch, status, now, &mut actions)
    } else {
        let bytes = if status == 100 { Bytes::from([]) } else { upstream(cx) };
        handle.lock().machine.reply(branch, status, bytes, now, &mut actions)
    };
    if let Err(error) = result {
        tracing::debug!("{error}");
    }
    perform(cx, &handle, actions, caller, Some(&message));
    // The next message may be long in coming.
    cx.msg.transaction = None;
}

/// Runs the reply route that `t_on_reply` has set; returns whether it dropped the reply.
fn run_reply_route(
    cx: &mut Cx,
    handle: &crate::transaction::Handle<crate::tm::Call>,
    branch: usize,
    caller: &dyn Caller,
) -> bool {
    let callback = {
        let call = handle.lock();
        cx.msg.flags = call.flags;
        cx.msg.avps.clone_from(&call.avps);
        cx.msg.armed = call.armed;
        cx.msg.branch_flags = call.branches.get(branch).map_or(0, |info| info.flags);
        call.armed.reply
    };
    cx.msg.route = Route::OnReply;
    cx.msg.transaction = Some(handle.clone());
    cx.msg.branch_index = Some(branch);
    let Some(callback) = callback else { return false };
    let outcome = caller.call(callback, cx, &[]);
    if let Err(error) = &outcome {
        cx.report(error);
    }
    let mut call = handle.lock();
    call.flags = cx.msg.flags;
    call.avps = std::mem::take(&mut cx.msg.avps);
    call.armed = cx.msg.armed;
    call.machine.set_failure_armed(cx.msg.armed.failure.is_some());
    let branch_flags = cx.msg.branch_flags;
    if let Some(info) = call.branches.get_mut(branch) {
        info.flags = branch_flags;
    }
    matches!(outcome, Ok(Outcome::Drop)) || cx.msg.drop
}

/// The reply as the caller shall see it: without our Via, with the script's edits.
fn upstream(cx: &mut Cx) -> Bytes {
    cx.msg.edits.remove_top_via(&cx.msg.message);
    cx.buffer.clear();
    cx.msg.edits.serialise(&cx.msg.message, &mut cx.buffer);
    Bytes::from(cx.buffer.as_slice())
}
