//! `KSR.tm`: stateful relaying (Kamailio's module `tm`).

use crate::dialect::NO_CALLBACK;
use kemi_core::{CallbackId, CallbackName, RouteId, Script, ScriptError};
use kemi_macros::kemi_export;

use crate::modules::mistaken;
use crate::modules::sl::status_code;
use crate::proxy::{Cx, Route};
use crate::tm::{self, Checked, Created};

/// Looks for the message's transaction and deals with retransmissions.
///
/// Returns 1 if the transaction exists and the message goes on being routed (a CANCEL, the ACK for a callee's 2xx, a reply
/// to what was sent, any message in a branch, reply or failure route), 0 if nothing is left to do (a retransmission, whose
/// last reply was repeated, or an ACK that ended here), -1 if there is none.
#[kemi_export(module = "tm")]
pub fn t_check_trans(cx: &mut Cx, script: &Script<'_>) -> i64 {
    match tm::check(cx, script) {
        Checked::Found => 1,
        Checked::Absorbed => 0,
        Checked::New => -1,
    }
}

/// Makes the transaction for the request, so that replies to it are stateful.
///
/// Returns 1 if it is new (and for an ACK, which has none), 0 for a retransmission, -10 if the script has made it
/// already, -1 if the request lacks what a transaction needs, or if the transactions hold all that they may: then a 503
/// goes out when the route is over, unless the script answers itself.
#[kemi_export(module = "tm", callbacks(request_route))]
pub fn t_newtran(cx: &mut Cx, script: &Script<'_>) -> i64 {
    if cx.msg.method() == b"ACK" {
        return 1;
    }
    match tm::create(cx, script) {
        Created::New => 1,
        Created::Retransmission => 0,
        Created::Already => -10,
        Created::Unusable | Created::NoRoom => -1,
    }
}

/// Relays the request to its R-URI or destination URI and to all further branches, statefully.
///
/// Runs the branch route for each branch before it returns. Returns 1 when at least one branch was sent, a negative
/// number when none was, or when there is no room for the transaction; the error reply then goes out when the route is
/// over, unless the script answers itself. An ACK is forwarded without a transaction. A CANCEL cancels its INVITE's branches and is answered.
#[kemi_export(module = "tm", callbacks(request_route, failure_route), cost = 50)]
pub fn t_relay(cx: &mut Cx, script: &Script<'_>) -> i64 {
    tm::relay(cx, script)
}

/// Sends a reply through the transaction. Returns 1, or -1 if there is none or it was answered already, and for a code
/// outside of 100 to 699.
#[kemi_export(module = "tm", cost = 10)]
pub fn t_reply(cx: &mut Cx, code: i64, reason: &[u8]) -> i64 {
    let Some(code) = status_code("t_reply", code) else { return -1 };
    match tm::reply(cx, code, reason) {
        Ok(()) => {
            // The script may go on for long.
            cx.out.release();
            1
        }
        Err(error) => {
            tracing::warn!(target: "script", "t_reply {code}: {error}");
            -1
        }
    }
}

/// Sets the callback that runs for each branch of the next `t_relay` before it is sent. Returns 1.
#[kemi_export(module = "tm")]
pub fn t_on_branch(cx: &mut Cx, script: &Script<'_>, name: CallbackName<'_>) -> Result<i64, ScriptError> {
    cx.msg.armed.branch = callback(script, cx.shared.routes.branch, name)?;
    store(cx);
    Ok(1)
}

/// Sets the callback that runs for each reply of the transaction. Returns 1.
#[kemi_export(module = "tm")]
pub fn t_on_reply(cx: &mut Cx, script: &Script<'_>, name: CallbackName<'_>) -> Result<i64, ScriptError> {
    cx.msg.armed.reply = callback(script, cx.shared.routes.onreply, name)?;
    store(cx);
    Ok(1)
}

/// Sets the callback that runs when all branches have failed. Returns 1.
#[kemi_export(module = "tm")]
pub fn t_on_failure(cx: &mut Cx, script: &Script<'_>, name: CallbackName<'_>) -> Result<i64, ScriptError> {
    cx.msg.armed.failure = callback(script, cx.shared.routes.failure, name)?;
    store(cx);
    Ok(1)
}

/// Finds the callback of that name, if it is one.
fn callback(script: &Script<'_>, route: RouteId, name: CallbackName<'_>) -> Result<Option<CallbackId>, ScriptError> {
    let name = name.get().filter(|name| *name != NO_CALLBACK);
    name.map(|name| script.callback(route, name)).transpose()
}

/// Takes the callbacks over into a transaction that exists already.
fn store(cx: &Cx) {
    if let Some(handle) = &cx.msg.transaction {
        let mut call = handle.lock();
        call.armed = cx.msg.armed;
        // In a failure route the machine asks when the route is over.
        if cx.msg.route != Route::Failure {
            call.machine.set_failure_armed(cx.msg.armed.failure.is_some());
        }
    }
}

/// Tells whether a callback is set. `target` is `"branch_route"`, `"onreply_route"` or `"failure_route"`; only the first
/// letter counts. Returns 1 or -1.
#[kemi_export(module = "tm")]
pub fn t_is_set(cx: &Cx, target: &str) -> Result<i64, String> {
    let set = match target.bytes().next() {
        Some(b'b') => cx.msg.armed.branch.is_some(),
        Some(b'o') => cx.msg.armed.reply.is_some(),
        Some(b'f') => cx.msg.armed.failure.is_some(),
        _ => {
            let why = format!("unknown target '{target}': branch_route, onreply_route or failure_route");
            return mistaken(cx, "t_is_set", -1, why);
        }
    };
    Ok(if set { 1 } else { -1 })
}

/// Tells whether the caller has cancelled the transaction. Returns 1 or -1.
#[kemi_export(module = "tm")]
pub fn t_is_canceled(cx: &Cx) -> i64 {
    truth(cx.msg.transaction.as_ref().is_some_and(|handle| handle.lock().machine.is_canceled()))
}

/// Returns the index of the branch being worked on, or -1 outside branch and reply routes.
#[kemi_export(module = "tm")]
pub fn t_get_branch_index(cx: &Cx) -> i64 {
    cx.msg.branch_index.and_then(|index| i64::try_from(index).ok()).unwrap_or(-1)
}

/// Returns the status that the transaction stands at: in a failure route the one that failed, in a reply route the
/// reply's, else the last one sent to the caller; -1 without a transaction.
#[kemi_export(module = "tm")]
pub fn t_get_status_code(cx: &Cx) -> i64 {
    let handle = match (&cx.msg.transaction, cx.msg.route) {
        (Some(_), Route::Failure) => return cx.msg.failure_status.map_or(-1, i64::from),
        (Some(_), Route::OnReply) => return cx.msg.message.status().map_or(-1, i64::from),
        (Some(handle), _) => handle,
        (None, _) => return -1,
    };
    handle.lock().machine.last_status().map_or(-1, i64::from)
}

/// Tells whether any branch has timed out. Returns 1 or -1.
#[kemi_export(module = "tm", callbacks(failure_route))]
pub fn t_any_timeout(cx: &Cx) -> i64 {
    let timed_out = |handle: &crate::transaction::Handle<tm::Call>| {
        handle.lock().machine.branches().iter().any(crate::transaction::Branch::timed_out)
    };
    truth(cx.msg.transaction.as_ref().is_some_and(timed_out))
}

/// Tells whether any branch has had a reply from its callee. Returns 1 or -1.
#[kemi_export(module = "tm", callbacks(failure_route))]
pub fn t_any_replied(cx: &Cx) -> i64 {
    let replied = |handle: &crate::transaction::Handle<tm::Call>| {
        handle.lock().machine.branches().iter().any(crate::transaction::Branch::replied)
    };
    truth(cx.msg.transaction.as_ref().is_some_and(replied))
}

/// Sets how long the transaction waits: for a final reply after ringing, and for any reply, in milliseconds; 0 leaves a
/// value as it is. Before the transaction exists it holds for the one to be made. Returns 1, or -1 for a negative number and
/// for one that exceeds 32 bits.
#[kemi_export(module = "tm")]
pub fn t_set_fr(cx: &mut Cx, fr_inv: i64, fr: i64) -> i64 {
    let (Ok(fr_inv), Ok(fr)) = (u32::try_from(fr_inv), u32::try_from(fr)) else {
        tracing::warn!(target: "script", "t_set_fr {fr_inv} {fr}: no times in milliseconds");
        return -1;
    };
    let some = |ms: u32| (ms > 0).then_some(u64::from(ms));
    cx.msg.fr = (some(fr_inv).or(cx.msg.fr.0), some(fr).or(cx.msg.fr.1));
    if let Some(handle) = &cx.msg.transaction {
        handle.lock().machine.set_fr(some(fr_inv), some(fr));
    }
    1
}

fn truth(is: bool) -> i64 {
    if is { 1 } else { -1 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::sl::wire::{Wire, request};
    use crate::tm::NoCaller;

    #[test]
    fn a_code_or_a_time_out_of_range_is_minus_one_and_changes_nothing() {
        let mut wire = Wire::new(&request("MESSAGE", "sip:example.org", ""));
        assert_eq!(tm::create(&mut wire.cx, &NoCaller), Created::New);
        for code in [-200, 0, 99, 700, 65_536 + 200, i64::MIN, i64::MAX] {
            assert_eq!(t_reply(&mut wire.cx, code, b"OK"), -1, "{code}");
        }
        assert_eq!(wire.sent(), None);
        assert_eq!(t_set_fr(&mut wire.cx, 30_000, 5_000), 1);
        for (fr_inv, fr) in [(-1, 0), (0, -1), (1 << 32, 7), (7, 1 << 32), (i64::MIN, i64::MAX)] {
            assert_eq!(t_set_fr(&mut wire.cx, fr_inv, fr), -1, "{fr_inv} {fr}");
        }
        assert_eq!(wire.cx.msg.fr, (Some(30_000), Some(5_000)));
        assert_eq!(t_reply(&mut wire.cx, 200, b"OK"), 1);
        assert_eq!(wire.status().as_deref(), Some("200 OK"));
    }
}
