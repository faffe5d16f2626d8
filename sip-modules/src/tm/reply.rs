//! Replies: those that come in from a callee, and those the script gives by itself.

use std::sync::Arc;

use kemi_core::Outcome;

use crate::proxy::{Caller, Cx, DropReason, ReplyError, Route};
use crate::tm::perform::{perform, write_own_reply};
use crate::tm::turn::{self, Asked, Job};
use crate::tm::{Call, ack};
use crate::transaction::{BranchToken, Bytes, Handle};

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
        if (200..300).contains(&code)
            && let Some(request) = call.request.as_ref().map(|request| Arc::clone(&request.message))
        {
            let own = cx.shared.stateful_tag(&request);
            let tag = request.to_tag().unwrap_or(own.as_bytes());
            ack::expect(&cx.shared, &handle, &mut call, &request, tag);
        }
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

/// What a reply answers.
pub(super) struct Sent {
    pub(super) handle: Handle<Call>,
    pub(super) branch: usize,
    /// Whether it answers the branch's CANCEL.
    pub(super) cancel: bool,
}

/// Returns what was sent that the reply being routed answers, by branch and method (RFC 3261 §17.1.3).
pub(super) fn sent_for(cx: &Cx) -> Option<Sent> {
    let message = &cx.msg.message;
    let token = BranchToken::decode(message.top_branch()?)?;
    let handle = cx.shared.transactions.find_branch(&token)?;
    let method = message.cseq()?.method;
    let cancel = method.as_bytes() == b"CANCEL";
    let fits = cancel || handle.lock().is_method(token.branch, method.as_bytes());
    fits.then_some(Sent { handle, branch: token.branch, cancel })
}

/// Takes a reply from a callee: reply route, machine, and on to the caller.
///
/// A reply that belongs to no transaction of this proxy, by branch and method (RFC 3261 §17.1.3), is dropped: it is never
/// sent to an address that only the reply itself names. So is one with no Via but ours. While the transactions hold all
/// that they may, a provisional reply is not passed on, since it would have to be kept, and a final one is dropped if it is
/// larger than what goes with it: it comes again.
pub fn on_reply(cx: &mut Cx, caller: &dyn Caller) {
    let message = Arc::clone(&cx.msg.message);
    let Some(status) = message.status() else { return };
    let Some(Sent { handle, branch, cancel: to_cancel }) = sent_for(cx) else {
        cx.statistics.dropped(DropReason::StrayReply);
        tracing::debug!(status, source = %cx.msg.source, "a reply to nothing that was sent; dropped");
        return;
    };
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
    if to_cancel {
        let mut actions = std::mem::take(&mut cx.actions);
        if let Err(error) = handle.lock().machine.cancel_reply(branch, status, &mut actions) {
            tracing::debug!("{error}");
        }
        perform(cx, &handle, actions, caller, None);
        return;
    }
    if handle.lock().armed.reply.is_none() {
        return answer(cx, &handle, branch, caller);
    }
    match turn::ask(cx.worker, &handle, || Job::Reply(Box::new(std::mem::take(&mut cx.msg)), branch)) {
        Asked::Begun(turn) => {
            answer(cx, &handle, branch, caller);
            turn::end(cx, turn, caller);
        }
        Asked::Mine => answer(cx, &handle, branch, caller),
        Asked::Waits => {}
    }
}

/// Takes the reply to a branch's request when its turn has come.
pub(super) fn answer(cx: &mut Cx, handle: &Handle<Call>, branch: usize, caller: &dyn Caller) {
    let message = Arc::clone(&cx.msg.message);
    let Some(status) = message.status() else { return };
    // A provisional reply would have to be kept.
    let no_room = !cx.shared.transaction_memory.has_room(true);
    let dropped = run_reply_route(cx, handle, branch, caller) || no_room;
    let mut actions = std::mem::take(&mut cx.actions);
    let now = cx.shared.now();
    let result = if dropped && status < 200 {
        handle.lock().machine.dropped_provisional(branch, status, now, &mut actions)
    } else {
        let bytes = if status == 100 { Bytes::from([]) } else { upstream(cx) };
        let mut call = handle.lock();
        let result = call.machine.reply(branch, status, bytes, now, &mut actions);
        if (200..300).contains(&status)
            && let Some(tag) = message.to_tag()
        {
            ack::expect(&cx.shared, handle, &mut call, &message, tag);
        }
        result
    };
    if let Err(error) = result {
        tracing::debug!("{error}");
    }
    perform(cx, handle, actions, caller, Some(&message));
    // The next message may be long in coming.
    cx.msg.transaction = None;
}

/// Runs the reply route that `t_on_reply` has set; returns whether it dropped the reply.
fn run_reply_route(cx: &mut Cx, handle: &Handle<Call>, branch: usize, caller: &dyn Caller) -> bool {
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
    let outcome = cx.call_script(caller, callback);
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
