//! Carries out what a transaction asks for.

use std::borrow::Cow;
use std::sync::Arc;

use crate::message::{Edits, HeaderName, Message, ReplyParts, write_ack, write_cancel, write_reply};
use crate::proxy::{Caller, Cx, ReplyError};
use crate::tm::turn::{self, Asked, Job};
use crate::tm::{Call, branch, failure};
use crate::transaction::{Action, Actions, BranchToken, Bytes, Choice, Handle};

/// Carries out the actions in order and sees to it that the transaction is looked at again in time.
///
/// `received` is the reply being handled, which an ACK is made from.
pub(super) fn perform(
    cx: &mut Cx,
    handle: &Handle<Call>,
    mut actions: Actions,
    caller: &dyn Caller,
    received: Option<&Message>,
) {
    let mut failed = None;
    let mut turn = None;
    loop {
        let Some(action) = actions.pop() else {
            // Nothing that is ready waits for the script.
            let Some(choice) = failed.take() else { break };
            match turn::ask(cx.worker, handle, || Job::Failure(choice)) {
                Asked::Begun(begun) => turn = Some(begun),
                Asked::Mine => {}
                Asked::Waits => continue,
            }
            failure::run(cx, handle, choice, caller, &mut actions);
            continue;
        };
        match action {
            Action::SendReply { status, bytes } => {
                let (socket, dest) = {
                    let call = handle.lock();
                    (call.reply_socket, call.reply_to)
                };
                if queue(cx, socket, &bytes, dest) {
                    cx.statistics.reply_sent(status);
                }
            }
            Action::SendRequest { branch, bytes, dest } => {
                let socket = handle.lock().socket(branch);
                let token = BranchToken::new(handle.id(), branch);
                if let Err(error) = cx.out.queue_request(socket, &bytes, dest, token) {
                    tracing::warn!(reason = %error, "a request was not sent");
                    let now = cx.shared.now();
                    log(handle.lock().machine.branch_send_failed(branch, now, &mut actions));
                }
            }
            Action::SendCancel { branch, bytes, dest } | Action::SendAck { branch, bytes, dest } => {
                let socket = handle.lock().socket(branch);
                queue(cx, socket, &bytes, dest);
            }
            Action::NeedCancel { branch } => {
                let mut call = handle.lock();
                if let Some(bytes) = cancel_of(cx, &call, branch) {
                    let now = cx.shared.now();
                    log(call.machine.set_cancel(branch, bytes, now, &mut actions));
                }
            }
            Action::NeedAck { branch } => {
                let mut call = handle.lock();
                if let Some(bytes) = ack_of(&call, branch, received) {
                    log(call.machine.set_ack(branch, bytes, &mut actions));
                }
            }
            Action::FailureRoute(choice) => failed = Some(choice),
            Action::ForwardFinal(choice) => {
                let mut call = handle.lock();
                if let Some(bytes) = final_reply(cx, &call, choice) {
                    let now = cx.shared.now();
                    log(call.machine.local_reply(choice.mapped_status, bytes, now, &mut actions));
                }
            }
            Action::Finished => {
                cx.shared.transactions.remove(handle);
            }
        }
    }
    // Empty now, but with its memory.
    cx.actions = actions;
    let deadline = {
        let mut call = handle.lock();
        call.release();
        call.count_memory(handle.memory());
        call.machine.next_deadline()
    };
    if let Some(deadline) = deadline {
        cx.timers.schedule(handle, deadline);
    }
    if let Some(turn) = turn {
        turn::end(cx, turn, caller);
    }
}

/// Runs the failure route that had to wait for its turn.
pub(super) fn run_failure_route(cx: &mut Cx, handle: &Handle<Call>, choice: Choice, caller: &dyn Caller) {
    let mut actions = std::mem::take(&mut cx.actions);
    failure::run(cx, handle, choice, caller, &mut actions);
    perform(cx, handle, actions, caller, None);
}

fn queue(cx: &mut Cx, socket: usize, bytes: &[u8], dest: std::net::SocketAddr) -> bool {
    match cx.out.queue(socket, bytes, dest) {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!(reason = %error, "a message was not sent");
            false
        }
    }
}

/// The machine refuses inputs that came too late; that is worth a line only when looking for a fault.
fn log<E: std::fmt::Display>(result: Result<(), E>) {
    if let Err(error) = result {
        tracing::debug!("{error}");
    }
}

fn cancel_of(cx: &Cx, call: &Call, branch: usize) -> Option<Bytes> {
    let mut bytes = Vec::new();
    match write_cancel(&call.sent(branch)?, &cancel_reason(cx, call), &mut bytes) {
        Ok(()) => Some(bytes.into()),
        Err(error) => {
            tracing::error!("no CANCEL for branch {branch}: {error}");
            None
        }
    }
}

/// Why a branch is cancelled, as a header line: phones show a missed call if they are not told (RFC 3326).
fn cancel_reason<'a>(cx: &Cx, call: &'a Call) -> Cow<'a, [u8]> {
    let machine = &call.machine;
    if machine.is_canceled() {
        return Cow::Borrowed(&call.cancel_reason);
    }
    let given = machine.last_status().filter(|_| machine.is_answered());
    let refused = machine.branches().iter().filter_map(|branch| branch.outcome()).map(|outcome| outcome.status).max();
    match given.or(refused.filter(|status| *status >= 600)) {
        _ if !cx.shared.settings.local_cancel_reason => Cow::Borrowed(b""),
        Some(status @ 200..300) => {
            Cow::Owned(format!("Reason: SIP;cause={status};text=\"Call completed elsewhere\"\r\n").into_bytes())
        }
        Some(status) => Cow::Owned(format!("Reason: SIP;cause={status}\r\n").into_bytes()),
        None => Cow::Borrowed(b""),
    }
}

fn ack_of(call: &Call, branch: usize, received: Option<&Message>) -> Option<Bytes> {
    let mut bytes = Vec::new();
    match write_ack(&call.sent(branch)?, received?, &mut bytes) {
        Ok(()) => Some(bytes.into()),
        Err(error) => {
            tracing::warn!("no ACK for the final reply of branch {branch}: {error}");
            None
        }
    }
}

/// The final reply for the caller: the chosen branch's own, or one made here.
fn final_reply(cx: &Cx, call: &Call, choice: Choice) -> Option<Bytes> {
    let outcome = call.machine.branches().get(choice.branch)?.outcome()?;
    match &outcome.reply {
        Some(bytes) if choice.status == choice.mapped_status => Some(match choice.status {
            401 | 407 => with_challenges(call, choice, bytes),
            _ => bytes.clone(),
        }),
        // Refused after `t_relay` had returned; else it answers by itself.
        _ if !call.machine.branches().get(choice.branch)?.sent() => {
            let (code, reason) = branch::UNSENDABLE;
            own_reply(cx, call, code, Some(reason.as_bytes()))
        }
        // A 503 says that the caller should leave this proxy alone for a while, which is not meant (RFC 3261 §16.7 step 6).
        _ if choice.status == 503 => own_reply(cx, call, choice.mapped_status, Some(b"Service Unavailable")),
        _ => own_reply(cx, call, choice.mapped_status, None),
    }
}

/// By how much a reply of our own is longer than its request at most, usually: what is more costs an allocation.
const MORE_IN_REPLY: usize = 128;

/// Writes a reply to the transaction's request.
pub(super) fn own_reply(cx: &Cx, call: &Call, code: u16, reason: Option<&[u8]>) -> Option<Bytes> {
    let length = call.request.as_ref().map_or(0, |request| request.message.bytes().len());
    let mut bytes = Vec::with_capacity(length + MORE_IN_REPLY);
    match write_own_reply(cx, call, code, reason, &[], &mut bytes) {
        Ok(()) => Some(bytes.into()),
        Err(error) => {
            tracing::error!("no reply {code}: {error}");
            None
        }
    }
}

/// Writes a reply to the transaction's request with more header lines.
pub(super) fn write_own_reply(
    cx: &Cx,
    call: &Call,
    code: u16,
    reason: Option<&[u8]>,
    extra_headers: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), ReplyError> {
    let request = call.request.as_ref().ok_or(ReplyError::Answered)?;
    let tag = (code > 100).then(|| cx.shared.stateful_tag(&request.message));
    let parts = ReplyParts {
        reason,
        to_tag: tag.as_deref().map(str::as_bytes),
        source: Some(crate::message::ViaSource { addr: request.source, force_rport: request.force_rport }),
        server: cx.shared.settings.server.as_deref().map(str::as_bytes),
        extra_headers,
        ..ReplyParts::new(code)
    };
    Ok(write_reply(&request.message, &parts, out)?)
}

/// Adds the other branches' challenges to a 401 or 407 (RFC 3261 §16.7 step 7).
fn with_challenges(call: &Call, choice: Choice, bytes: &Bytes) -> Bytes {
    let Ok(reply) = Message::parse(bytes) else { return bytes.clone() };
    let mut edits = Edits::new();
    let branches = call.machine.branches().iter().enumerate();
    for (_, branch) in branches.filter(|(i, branch)| *i != choice.branch && branch.counted()) {
        let Some(outcome) = branch.outcome().filter(|outcome| matches!(outcome.status, 401 | 407)) else { continue };
        let Some(other) = outcome.reply.as_ref().and_then(|bytes| Message::parse(bytes).ok()) else { continue };
        for name in [HeaderName::WwwAuthenticate, HeaderName::ProxyAuthenticate] {
            for header in other.all_known(name) {
                log(edits.append_headers(&reply, other.text(header.line)));
            }
        }
    }
    if edits.is_empty() {
        return bytes.clone();
    }
    let mut out = Vec::new();
    edits.serialise(&reply, &mut out);
    Arc::from(out)
}
