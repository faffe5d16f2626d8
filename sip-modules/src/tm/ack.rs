//! ACK: which INVITE it belongs to (RFC 3261 §13.2.2.4, §17.1.1.3, §17.2.3).
//!
//! The ACK for a final reply of 300 and more has the INVITE's branch and ends at the next hop. The one for a 2xx is a
//! transaction of its own, with a branch of its own, and goes to whoever gave the 2xx. It is found by the dialog instead:
//! Call-ID, CSeq number and From tag are the INVITE's, the To tag is the reply's.

use crate::message::Message;
use crate::proxy::{Cx, Shared};
use crate::tm::{Call, invite_key};
use crate::transaction::{Handle, Kind, ServerState};

/// Of how many 2xx to one INVITE, from as many callees behind other proxies, the ACKs are known.
const MAX_ACCEPTED: usize = 64;

/// What an ACK acknowledges.
pub(super) enum Acknowledged {
    /// A reply that ends at this proxy: one of 300 and more, or a 2xx that it gave itself.
    Ours(Handle<Call>),
    /// The 2xx of a callee.
    Callee,
}

/// Returns what the ACK being routed acknowledges; `None` if that is not known, or no longer.
pub(super) fn acknowledged(cx: &Cx) -> Option<Acknowledged> {
    let message = &cx.msg.message;
    if let Some(handle) = invite_key(message).and_then(|key| cx.shared.transactions.find(&key)) {
        // Some phones give the ACK for a 2xx the branch of the INVITE.
        let relayed = {
            let machine = &handle.lock().machine;
            machine.server_state() == ServerState::Accepted && !machine.awaits_ack_of_2xx()
        };
        return Some(if relayed { Acknowledged::Callee } else { Acknowledged::Ours(handle) });
    }
    let handle = cx.shared.transactions.find_accepted(dialog(&cx.shared, message)?)?;
    let (known, ours) = {
        let call = handle.lock();
        (call.accepted_tags.contains(&to_tag(&cx.shared, message)?), call.machine.awaits_ack_of_2xx())
    };
    match (known, ours) {
        (false, _) => None,
        (true, true) => Some(Acknowledged::Ours(handle)),
        (true, false) => Some(Acknowledged::Callee),
    }
}

/// Has the ACK of a 2xx found, by the request and the To tag of the reply.
pub(super) fn expect(shared: &Shared, handle: &Handle<Call>, call: &mut Call, message: &Message, to_tag: &[u8]) {
    if call.machine.kind() != Kind::Invite || call.machine.is_finished() {
        return;
    }
    let Some(dialog) = dialog(shared, message) else { return };
    let tag = shared.quick_hash(to_tag);
    if !call.accepted_tags.contains(&tag) && call.accepted_tags.len() < MAX_ACCEPTED {
        call.accepted_tags.push(tag);
    }
    shared.transactions.set_accepted(handle, dialog);
}

/// Hashes what the INVITE, its replies and the ACK for a 2xx have in common.
fn dialog(shared: &Shared, message: &Message) -> Option<u64> {
    let from_tag = message.from_tag();
    Some(shared.quick_hash((message.call_id()?, message.cseq()?.number, from_tag)).max(1))
}

fn to_tag(shared: &Shared, message: &Message) -> Option<u64> {
    Some(shared.quick_hash(message.to_tag()?))
}
