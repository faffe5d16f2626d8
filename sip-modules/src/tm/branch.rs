//! Branches: one copy of the request for each destination.

use std::borrow::Cow;
use std::sync::Arc;

use kemi_core::Outcome;

use crate::message::{Edits, Uri, ViaSource, WriteError};
use crate::proxy::{Caller, Cx, DestinationError, ExtraBranch, Route, destination};
use crate::tm::loops::{self, Breadth};
use crate::tm::perform::perform;
use crate::tm::request::call_id;
use crate::tm::{BranchInfo, Call};
use crate::transaction::{Branch, BranchRequest, BranchToken, Bytes, Handle, MAGIC_COOKIE, TransactionError};
use crate::transport::SendError;

/// The status and reason of the error reply for a request that could not be relayed.
pub(super) type RelayFailure = (u16, &'static str);

const UNRESOLVABLE: RelayFailure = (478, "Unresolvable destination (478/TM)");
pub(super) const UNSENDABLE: RelayFailure = (477, "Unfortunately error on sending to next hop occurred (477/TM)");
pub(super) const CANCELED: RelayFailure = (487, "Request Terminated");
const NO_TRANSPORT: RelayFailure = (500, "I'm terribly sorry, server error occurred (7/TM)");
const TOO_BROAD: RelayFailure = (440, "Max-Breadth Exceeded");
const NO_BRANCH: RelayFailure = (500, "Server Internal Error");

/// Why one branch was not made.
#[derive(Debug, thiserror::Error)]
enum BranchError {
    #[error(transparent)]
    Destination(#[from] DestinationError),
    #[error("the request cannot be written: {0}")]
    Write(#[from] WriteError),
    #[error(transparent)]
    Send(#[from] SendError),
    #[error(transparent)]
    Transaction(#[from] TransactionError),
}

/// What all branches of one `t_relay` have in common.
struct Common {
    breadth: Breadth,
    path: Option<u32>,
}

/// Makes a branch for the R-URI and for every further destination, running the branch route for each.
///
/// # Errors
/// When not a single one was made: what to answer then.
pub(super) fn add_all(cx: &mut Cx, handle: &Handle<Call>, caller: &dyn Caller) -> Result<(), RelayFailure> {
    let first = ExtraBranch {
        ruri: cx.msg.ruri().to_vec(),
        dst_uri: cx.msg.dst_uri.clone(),
        path: cx.msg.path.clone(),
        flags: cx.msg.branch_flags,
        send_socket: cx.msg.send_socket,
    };
    let more = std::mem::take(&mut cx.msg.branches);
    let targets = 1 + more.len();
    let common = Common { breadth: Breadth::of(&cx.msg.message, targets), path: loops::path(cx) };
    if common.breadth.copies < targets {
        tracing::warn!(call_id = %call_id(cx), targets, copies = common.breadth.copies, "a request may not be forked so often: Max-Breadth");
    }
    // What each target starts from; the last one's is put back, without a copy.
    let mut before = Some(cx.msg.branch_state());
    let mut made = 0;
    let mut failure = if common.breadth.copies == 0 { TOO_BROAD } else { NO_BRANCH };
    for (number, target) in std::iter::once(first).chain(more).take(common.breadth.copies).enumerate() {
        let result = add_one(cx, handle, target, &common, caller);
        let state = if number + 1 == common.breadth.copies { before.take() } else { before.clone() };
        if let Some(state) = state {
            cx.msg.restore_after_branch(state);
        }
        match result {
            Ok(true) => made += 1,
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(call_id = %call_id(cx), reason = %error, "a branch was not sent");
                failure = match error {
                    BranchError::Destination(DestinationError::NoSocket(_) | DestinationError::Nobody(_)) => UNSENDABLE,
                    BranchError::Destination(DestinationError::Transport(_)) => NO_TRANSPORT,
                    BranchError::Destination(_) => UNRESOLVABLE,
                    BranchError::Transaction(TransactionError::Canceled) => CANCELED,
                    BranchError::Write(_) | BranchError::Send(_) | BranchError::Transaction(_) => NO_BRANCH,
                };
            }
        }
    }
    let refused = send(cx, handle, caller);
    match made - refused.min(made) {
        0 if refused > 0 => Err(UNSENDABLE),
        0 => Err(failure),
        _ => Ok(()),
    }
}

/// Sends what is queued; returns how many requests of the transaction the system has refused, whose branches are over.
fn send(cx: &mut Cx, handle: &Handle<Call>, caller: &dyn Caller) -> usize {
    cx.out.release_requests();
    let refused = cx.out.take_refused(handle.id());
    if refused.is_empty() { 0 } else { fail(cx, handle, refused, caller) }
}

/// Fails the branches whose request was refused after `t_relay` had returned: the host had been reached before.
pub(crate) fn fail_refused(cx: &mut Cx, caller: &dyn Caller) {
    while let Some(token) = cx.out.next_refused() {
        let Some(handle) = cx.shared.transactions.find_branch(&token) else { continue };
        fail(cx, &handle, vec![token.branch], caller);
    }
}

/// Fails branches that were not sent; returns how many of them had not failed before.
fn fail(cx: &mut Cx, handle: &Handle<Call>, refused: Vec<usize>, caller: &dyn Caller) -> usize {
    let mut actions = std::mem::take(&mut cx.actions);
    let mut failed = 0;
    {
        let now = cx.shared.now();
        let mut call = handle.lock();
        for branch in refused {
            let pending = call.machine.branches().get(branch).is_some_and(Branch::pending);
            failed += usize::from(pending && call.machine.branch_send_failed(branch, now, &mut actions).is_ok());
        }
    }
    perform(cx, handle, actions, caller, None);
    failed
}

/// Makes one branch; `false` if the branch route dropped it.
fn add_one(
    cx: &mut Cx,
    handle: &Handle<Call>,
    target: ExtraBranch,
    common: &Common,
    caller: &dyn Caller,
) -> Result<bool, BranchError> {
    let (index, callback) = {
        let call = handle.lock();
        (call.machine.next_branch()?, call.armed.branch)
    };
    if cx.msg.ruri() != target.ruri {
        cx.msg.new_ruri = Some(target.ruri);
    }
    cx.msg.dst_uri = target.dst_uri;
    cx.msg.path = target.path;
    cx.msg.branch_flags = target.flags;
    cx.msg.send_socket = target.send_socket;
    cx.msg.route = Route::Branch;
    cx.msg.branch_index = Some(index);
    cx.msg.drop = false;
    if let Some(callback) = callback {
        match cx.call_script(caller, callback) {
            Ok(Outcome::Drop) => return Ok(false),
            Ok(_) if cx.msg.drop => return Ok(false),
            Ok(_) => {}
            // The branch goes out as it is: a mistake in an optional callback must not cost the call.
            Err(error) => cx.report(&error),
        }
    }

    let next_hop = cx.msg.dst_uri.as_deref().unwrap_or_else(|| cx.msg.ruri());
    let dest = destination(next_hop)?;
    let preferred = cx.msg.send_socket.unwrap_or(cx.msg.socket);
    let socket = cx.shared.identity.socket_for(dest, preferred).ok_or(DestinationError::NoSocket(dest))?;
    // Only now is it known whether the request leaves by another socket than it came in by.
    crate::modules::rr::complete(cx, socket);
    let token = BranchToken { path: common.path, ..BranchToken::new(handle.id(), index) }.encode();
    // The branch's own; what the others start from is put back later.
    let mut edits = std::mem::take(&mut cx.msg.edits);
    common.breadth.write(&cx.msg.message, &mut edits)?;
    write(cx, edits, socket, &token)?;

    let request = BranchRequest {
        bytes: Bytes::from(cx.buffer.as_slice()),
        dest,
        ruri: Bytes::from(cx.msg.ruri()),
        reliable: false,
    };
    let info = BranchInfo { socket, flags: cx.msg.branch_flags };
    let mut actions = std::mem::take(&mut cx.actions);
    {
        let mut call = handle.lock();
        let now = cx.shared.now();
        // The callback may have set flags that belong to the whole request.
        call.flags = cx.msg.flags;
        call.machine.add_branch(request, now, &mut actions)?;
        call.branches.push(info);
    }
    perform(cx, handle, actions, caller, None);
    Ok(true)
}

/// Forwards the ACK for a 2xx: without a transaction, since none will ever answer it (RFC 3261 §16.11).
pub(super) fn relay_ack(cx: &mut Cx) -> i64 {
    match forward_ack(cx) {
        Ok(()) => 1,
        Err(error) => {
            tracing::warn!(call_id = %call_id(cx), reason = %error, "the ACK was not sent");
            -1
        }
    }
}

fn forward_ack(cx: &mut Cx) -> Result<(), BranchError> {
    let next_hop = cx.msg.dst_uri.as_deref().unwrap_or_else(|| cx.msg.ruri());
    let dest = destination(next_hop)?;
    let preferred = cx.msg.send_socket.unwrap_or(cx.msg.socket);
    let socket = cx.shared.identity.socket_for(dest, preferred).ok_or(DestinationError::NoSocket(dest))?;
    let message = Arc::clone(&cx.msg.message);
    // The same for every retransmission of the ACK, and no token of a transaction.
    let via = message.top_via().map(|via| via.raw);
    let hash = cx.shared.hash((message.call_id(), via, message.to_tag()));
    let mut branch = MAGIC_COOKIE.to_vec();
    branch.extend_from_slice(format!("-ack-{hash:016x}").as_bytes());
    write(cx, cx.msg.edits.clone(), socket, &branch)?;
    cx.out.queue(socket, &cx.buffer, dest)?;
    cx.out.release();
    Ok(())
}

/// Writes the request as it leaves, with our Via, into the context's buffer.
fn write(cx: &mut Cx, mut edits: Edits, socket: usize, branch: &[u8]) -> Result<(), WriteError> {
    let message = Arc::clone(&cx.msg.message);
    if let Some(fault) = message.fault() {
        return Err(WriteError::Unfit(fault));
    }
    // A URI that was received leaves as it came, one of our choice as a Request-URI (RFC 3261 16.6 step 2).
    if let Some(ruri) = &cx.msg.new_ruri {
        let uri = Uri::parse(ruri);
        edits.set_ruri(&message, &uri.map_or(Cow::Borrowed(ruri.as_slice()), |uri| uri.as_request_uri()))?;
    }
    edits.stamp_top_via(&message, ViaSource { addr: cx.msg.source, force_rport: cx.msg.force_rport })?;
    if let Some(path) = &cx.msg.path {
        let line = [b"Route: ", path.as_slice(), b"\r\n"].concat();
        if !edits.insert_headers_before(&message, b"Route", &line)? {
            edits.insert_headers(&message, &line)?;
        }
    }
    let name = cx.shared.identity.listeners().get(socket).map_or("", |listener| listener.name.as_str());
    edits.insert_via(&message, &[b"Via: SIP/2.0/UDP ", name.as_bytes(), b";branch=", branch, b"\r\n"]);
    cx.buffer.clear();
    edits.serialise(&message, &mut cx.buffer);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::sl::wire::{Wire, request};
    use crate::proxy::MessageState;
    use crate::tm::{self, NoCaller};

    /// An address of loopback that the system sends nothing to.
    const REFUSED: &str = "sip:bob@127.255.255.255:5070";

    fn relayed(method: &str, branches: &[&str]) -> (Wire, i64) {
        let mut wire = Wire::new(&request(method, "sip:bob@example.org", ""));
        wire.cx.msg.new_ruri = Some(branches[0].into());
        for uri in &branches[1..] {
            wire.cx.msg.branches.push(ExtraBranch { ruri: (*uri).into(), ..ExtraBranch::default() });
        }
        let result = tm::relay(&mut wire.cx, &NoCaller);
        (wire, result)
    }

    #[test]
    fn a_request_that_the_system_refuses_to_send_is_answered_477_at_once() {
        for method in ["INVITE", "MESSAGE", "BYE", "REGISTER"] {
            for targets in [&[REFUSED][..], &[REFUSED, REFUSED], &["sip:bob@0.0.0.0"], &["sip:bob@255.255.255.255:9"]] {
                let (mut wire, result) = relayed(method, targets);
                assert_eq!(result, -1, "{method} {targets:?}");
                tm::finish(&mut wire.cx, &NoCaller, false);
                let answers: Vec<_> =
                    std::iter::from_fn(|| wire.status()).filter(|answer| !answer.starts_with("100")).collect();
                assert_eq!(
                    answers,
                    ["477 Unfortunately error on sending to next hop occurred (477/TM)"],
                    "{method} {targets:?}"
                );
            }
        }
    }

    #[test]
    fn a_branch_that_cannot_be_sent_has_failed_beside_the_others() {
        let peer = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let there = format!("sip:bob@{}", peer.local_addr().unwrap());
        for targets in [[REFUSED, &there], [&there, REFUSED]] {
            let (wire, result) = relayed("INVITE", &targets);
            assert_eq!(result, 1);
            let handle = wire.cx.msg.transaction.clone().unwrap();
            let call = handle.lock();
            for (branch, target) in call.machine.branches().iter().zip(targets) {
                let outcome = branch.outcome().map(|outcome| outcome.status);
                assert_eq!((branch.sent(), outcome), if target == REFUSED { (false, Some(503)) } else { (true, None) });
            }
        }
    }

    #[test]
    fn after_a_target_that_cannot_be_sent_to_the_route_may_take_the_next_one() {
        let peer = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let (mut wire, result) = relayed("INVITE", &[REFUSED]);
        assert_eq!(result, -1);
        wire.cx.msg.new_ruri = Some(format!("sip:bob@{}", peer.local_addr().unwrap()).into_bytes());
        assert_eq!(tm::relay(&mut wire.cx, &NoCaller), 1);
        tm::finish(&mut wire.cx, &NoCaller, false);
        let answers: Vec<_> = std::iter::from_fn(|| wire.status()).collect();
        assert_eq!(answers, ["100 trying -- your call is important to us"], "one for both");
        let mut buffer = [0; 2048];
        let length = peer.recv(&mut buffer).unwrap();
        assert!(buffer[..length].starts_with(b"INVITE "));
        wire.cx.msg = MessageState::default();
    }
}
