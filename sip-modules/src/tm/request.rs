//! Requests: finding and making their transaction, relaying them, and what is left to do when their route is over.

use std::sync::Arc;

use crate::message::Message;
use crate::proxy::{
    Caller, Cx, MessageState, OnError, Route, UNAVAILABLE, reply_destination, send_error, send_stateless_with_tag,
};
use crate::tm::ack::{Acknowledged, acknowledged};
use crate::tm::perform::{own_reply, perform};
use crate::tm::turn::Turns;
use crate::tm::{Call, branch, invite_key, reply, server_key};
use crate::transaction::{Branch, Handle, Inserted, Kind, TimerQueue, Transaction};

/// For how many milliseconds due timers are looked at before the sockets have their turn.
const TIMERS_AT_A_TIME: u64 = 20;

/// What [`check`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checked {
    /// A transaction for the message, which goes on being routed.
    Found,
    /// A retransmission, or an ACK that ends here: dealt with, nothing left to route.
    Absorbed,
    /// No transaction.
    New,
}

/// What [`create`] came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Created {
    /// The transaction is new.
    New,
    /// Another worker has made it meanwhile; the message is a retransmission and was dealt with.
    Retransmission,
    /// This route has made one already.
    Already,
    /// The message lacks what a transaction is found by.
    Unusable,
    /// The transactions hold all that they may. The request is answered 503 when its route is over, unless the script
    /// answers it itself.
    NoRoom,
}

/// Looks for the transaction of the message being routed and deals with retransmissions (`t_check_trans`).
pub fn check(cx: &mut Cx, caller: &dyn Caller) -> Checked {
    let message = &cx.msg.message;
    let found = match (cx.msg.route, cx.msg.method()) {
        (Route::Request, b"ACK") => {
            return match acknowledged(cx) {
                Some(Acknowledged::Ours(handle)) => {
                    let mut actions = std::mem::take(&mut cx.actions);
                    handle.lock().machine.ack(cx.shared.now(), &mut actions);
                    perform(cx, &handle, actions, caller, None);
                    Checked::Absorbed
                }
                Some(Acknowledged::Callee) => Checked::Found,
                None => Checked::New,
            };
        }
        (Route::Request, b"CANCEL") => {
            invite_key(message).is_some_and(|key| cx.shared.transactions.find(&key).is_some())
        }
        (Route::Request, _) => {
            let Some(key) = server_key(message) else { return Checked::New };
            let Some(handle) = cx.shared.transactions.find(&key) else {
                // `create` comes next.
                cx.msg.server_key = Some(key);
                return Checked::New;
            };
            repeat_reply(cx, &handle, caller);
            return Checked::Absorbed;
        }
        (Route::Reply, _) => reply::sent_for(cx).is_some(),
        _ => cx.msg.transaction.is_some(),
    };
    if found { Checked::Found } else { Checked::New }
}

/// Answers a retransmission with the last reply, if there is one that is to be repeated.
fn repeat_reply(cx: &mut Cx, handle: &Handle<Call>, caller: &dyn Caller) {
    cx.statistics.retransmission_received();
    let mut actions = std::mem::take(&mut cx.actions);
    handle.lock().machine.request_retransmission(&mut actions);
    perform(cx, handle, actions, caller, None);
}

/// Makes the transaction of the request being routed (`t_newtran`).
pub fn create(cx: &mut Cx, caller: &dyn Caller) -> Created {
    if cx.msg.transaction.is_some() {
        return Created::Already;
    }
    let key = cx.msg.server_key.take().or_else(|| server_key(&cx.msg.message));
    let Some(key) = key else { return Created::Unusable };
    if !cx.shared.transaction_memory.has_room(cx.msg.is_within_dialog()) && cx.shared.transactions.find(&key).is_none()
    {
        cx.shared.transaction_memory.report(cx.shared.now());
        cx.statistics.transaction_refused();
        cx.msg.delayed_error = Some(UNAVAILABLE);
        return Created::NoRoom;
    }
    let kind = if cx.msg.method() == b"INVITE" { Kind::Invite } else { Kind::NonInvite };
    let shared = Arc::clone(&cx.shared);
    let msg = &cx.msg;
    let (fr_inv, fr) = msg.fr;
    let mut machine = Transaction::new(kind, false, shared.settings.transaction);
    machine.set_fr(fr_inv, fr);
    let inserted = shared.transactions.insert(key, |_| Call {
        machine,
        request: kept(msg),
        armed: msg.armed,
        flags: msg.flags,
        avps: msg.avps.clone(),
        reply_to: reply_destination(&msg.message, msg.source, msg.force_rport),
        reply_socket: msg.socket,
        branches: Vec::new(),
        accepted_tags: Vec::new(),
        turns: Turns::default(),
        cancel_reason: Vec::new(),
        memory: shared.transaction_memory.share(),
    });
    match inserted {
        Inserted::New(handle) => {
            cx.msg.transaction = Some(handle);
            Created::New
        }
        Inserted::Existing(handle) => {
            repeat_reply(cx, &handle, caller);
            Created::Retransmission
        }
    }
}

/// Relays the request being routed, statefully (`t_relay`).
///
/// Returns the number that scripts see: positive when it was relayed, negative when not; the error reply then follows
/// when the route is over, unless the script answers by itself.
pub fn relay(cx: &mut Cx, caller: &dyn Caller) -> i64 {
    match cx.msg.route {
        Route::Request => match cx.msg.method() {
            b"ACK" => match check(cx, caller) {
                Checked::Absorbed => 1,
                Checked::Found | Checked::New => branch::relay_ack(cx),
            },
            b"CANCEL" => {
                if cancel(cx, caller) {
                    1
                } else {
                    relay_new(cx, caller)
                }
            }
            _ => relay_new(cx, caller),
        },
        Route::Failure => match cx.msg.transaction.clone() {
            Some(handle) => add_branches(cx, &handle, caller).map_or(-1, |()| 1),
            None => -1,
        },
        route => {
            tracing::error!(target: "script", "t_relay does nothing in a {route:?} route");
            -1
        }
    }
}

fn relay_new(cx: &mut Cx, caller: &dyn Caller) -> i64 {
    match create(cx, caller) {
        Created::New => {}
        Created::Already => renew(cx),
        Created::Retransmission => return 1,
        Created::NoRoom => return -1,
        Created::Unusable => {
            cx.msg.delayed_error = Some((400, "Bad Request"));
            return -1;
        }
    }
    let Some(handle) = cx.msg.transaction.clone() else { return -1 };
    let mut actions = std::mem::take(&mut cx.actions);
    {
        let mut call = handle.lock();
        call.machine.set_failure_armed(cx.msg.armed.failure.is_some());
        // A second `t_relay` in the same route says it no more.
        if cx.msg.method() == b"INVITE" && call.machine.last_status().is_none() {
            let now = cx.shared.now();
            if let Some(bytes) = own_reply(cx, &call, 100, Some(b"trying -- your call is important to us"))
                && let Err(error) = call.machine.local_reply(100, bytes, now, &mut actions)
            {
                tracing::debug!("{error}");
            }
        }
    }
    if actions.is_empty() {
        cx.actions = actions;
    } else {
        perform(cx, &handle, actions, caller, None);
    }
    match add_branches(cx, &handle, caller) {
        Ok(()) => 1,
        Err(error) => {
            cx.msg.delayed_error = Some(error);
            -1
        }
    }
}

/// Adds all branches. The branch route is set for one `t_relay`: the next one has none unless it is set again.
fn add_branches(cx: &mut Cx, handle: &Handle<Call>, caller: &dyn Caller) -> Result<(), branch::RelayFailure> {
    let result = branch::add_all(cx, handle, caller);
    cx.msg.armed.branch = None;
    handle.lock().armed.branch = None;
    result
}

/// What a failure route goes back to, without the handle: a transaction must not keep itself alive.
fn kept(msg: &MessageState) -> Option<Box<MessageState>> {
    Some(Box::new(MessageState { transaction: None, branches: Vec::new(), ..msg.clone() }))
}

/// Brings a transaction that was made earlier in this route up to what the message is now.
fn renew(cx: &Cx) {
    let Some(handle) = &cx.msg.transaction else { return };
    let mut call = handle.lock();
    call.armed = cx.msg.armed;
    call.flags = cx.msg.flags;
    call.avps.clone_from(&cx.msg.avps);
    call.reply_to = reply_destination(&cx.msg.message, cx.msg.source, cx.msg.force_rport);
    call.request = kept(&cx.msg);
}

/// Cancels the INVITE that the CANCEL being routed names and answers the CANCEL.
///
/// The answer has the To tag of the proxy's own replies to the INVITE (RFC 3261 §9.2). Returns `false` if there is no such
/// INVITE.
pub fn cancel(cx: &mut Cx, caller: &dyn Caller) -> bool {
    let Some(handle) = invite_key(&cx.msg.message).and_then(|key| cx.shared.transactions.find(&key)) else {
        return false;
    };
    let mut actions = std::mem::take(&mut cx.actions);
    let reason: &[u8] = {
        let mut call = handle.lock();
        let now = cx.shared.now();
        if cx.shared.settings.e2e_cancel_reason && !call.machine.is_canceled() {
            call.cancel_reason = reason_lines(&cx.msg.message);
        }
        call.machine.cancel(now, &mut actions);
        if call.machine.is_answered() { b"ok -- no more pending branches" } else { b"canceling" }
    };
    let tag = cx.shared.stateful_tag(&cx.msg.message);
    if let Err(error) = send_stateless_with_tag(cx, 200, reason, &tag) {
        tracing::warn!(reason = %error, "a CANCEL stays without an answer");
    }
    perform(cx, &handle, actions, caller, None);
    true
}

/// The Reason lines of a CANCEL (RFC 3326).
fn reason_lines(cancel: &Message) -> Vec<u8> {
    cancel.headers(b"Reason").flat_map(|header| cancel.text(header.line)).copied().collect()
}

/// Does what is left when the request route is over: the error reply of a failed relay, the end of a transaction that
/// nobody used, the begin of the wait for replies.
///
/// `failed` says that the script died of an error; a request that has neither been relayed nor answered then gets a 500,
/// unless the configuration wants silence.
pub fn finish(cx: &mut Cx, caller: &dyn Caller, failed: bool) {
    if let Some(key) = cx.msg.in_progress.take() {
        crate::proxy::leave_progress(&cx.shared, key);
    }
    if failed && cx.msg.delayed_error.is_none() && cx.shared.settings.on_error == OnError::Reply {
        cx.msg.delayed_error = Some((500, "Server Internal Error"));
    }
    let error = cx.msg.delayed_error.take();
    let Some(handle) = cx.msg.transaction.take() else {
        if let Some(error) = error
            && !cx.msg.final_reply
            && cx.msg.method() != b"ACK"
            && let Err(error) = send_error(cx, error)
        {
            tracing::warn!("no error reply: {error}");
        }
        return;
    };
    let mut actions = std::mem::take(&mut cx.actions);
    {
        let mut call = handle.lock();
        let now = cx.shared.now();
        let relayed = call.machine.branches().iter().any(Branch::sent);
        let unused = !relayed && !call.machine.is_answered() && !cx.msg.final_reply;
        // Whatever the route has decided, the caller does not want it any more (RFC 3261 §9.2).
        let error = if call.machine.is_canceled() { Some(branch::CANCELED) } else { error };
        if let Some((code, reason)) = error.filter(|_| unused)
            && let Some(bytes) = own_reply(cx, &call, code, Some(reason.as_bytes()))
            && let Err(error) = call.machine.local_reply(code, bytes, now, &mut actions)
        {
            tracing::debug!("{error}");
        }
        call.machine.routed(now, &mut actions);
    }
    perform(cx, &handle, actions, caller, None);
}

/// Takes the passing of time for the transactions of a queue: the worker's own, or the one of a worker that is stuck.
pub fn on_timers(cx: &mut Cx, timers: &TimerQueue<Call>, caller: &dyn Caller) {
    let now = cx.shared.now();
    let mut due: Vec<Handle<Call>> = Vec::new();
    timers.advance(now, &mut |handle| due.push(handle));
    let mut due = due.into_iter();
    while let Some(handle) = due.next() {
        let mut actions = std::mem::take(&mut cx.actions);
        handle.lock().machine.timer(now, &mut actions);
        cx.statistics.retransmissions_sent(actions.iter().filter(|action| action.is_send()).count());
        perform(cx, &handle, actions, caller, None);
        // Failure routes may take their time; what has come in meanwhile is not to wait for all of them.
        if cx.shared.now() >= now + TIMERS_AT_A_TIME {
            due.by_ref().for_each(|handle| {
                timers.schedule(&handle, now);
            });
        }
    }
}

pub(super) fn call_id(cx: &Cx) -> String {
    cx.msg.message.call_id().unwrap_or_default().escape_ascii().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::sl::sl_reply_error;
    use crate::modules::testing::{INVITE, cx_with, receive};
    use crate::proxy::ProxySettings;
    use crate::tm::{NoCaller, reply};

    #[test]
    fn without_room_what_is_new_is_refused_and_what_is_known_found() {
        let settings = ProxySettings { transaction_memory: 1, ..ProxySettings::default() };
        let mut cx = cx_with(INVITE, settings, std::collections::BTreeMap::new());
        assert_eq!(create(&mut cx, &NoCaller), Created::New);
        reply(&mut cx, 180, b"Ringing").unwrap();
        assert!(cx.shared.transaction_memory.held() > 1);

        receive(&mut cx, &INVITE.replace("branch=z9hG4bK1", "branch=z9hG4bK2"));
        assert_eq!(create(&mut cx, &NoCaller), Created::NoRoom);
        assert_eq!(relay(&mut cx, &NoCaller), -1);
        assert_eq!(sl_reply_error(&mut cx), -3, "the 503 is still to come");
        receive(&mut cx, INVITE);
        assert_eq!(create(&mut cx, &NoCaller), Created::Retransmission);
        assert_eq!(cx.shared.transactions.stats().current, 1);
    }
}
