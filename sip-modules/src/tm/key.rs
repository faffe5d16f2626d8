//! By what a message finds its transaction.

use crate::message::Message;
use crate::proxy::Shared;
use crate::transaction::{KeyParts, ServerKey};

/// Returns the key of a request's own transaction; `None` if it lacks what a key needs or must not be passed on.
#[must_use]
pub fn server_key(message: &Message) -> Option<ServerKey> {
    Some(ServerKey::new(&parts(message)?))
}

/// Returns the key of the INVITE that an ACK or CANCEL belongs to.
#[must_use]
pub fn invite_key(message: &Message) -> Option<ServerKey> {
    Some(ServerKey::of_invite(&parts(message)?))
}

/// Returns what identifies a request while its route runs (`t_precheck_trans`).
#[must_use]
pub fn progress_key(shared: &Shared, message: &Message) -> Option<u64> {
    let parts = parts(message)?;
    Some(shared.quick_hash((parts.method, parts.branch, parts.sent_by_host, parts.call_id, parts.cseq, parts.from_tag)))
}

fn parts(message: &Message) -> Option<KeyParts<'_>> {
    if message.fault().is_some() {
        return None;
    }
    let via = message.top_via()?;
    let cseq = message.cseq()?;
    Some(KeyParts {
        method: message.method()?.as_bytes(),
        branch: message.top_branch(),
        sent_by_host: via.host,
        sent_by_port: via.port,
        call_id: message.call_id()?,
        cseq: cseq.number,
        from_tag: message.from_tag(),
        ruri: message.ruri()?,
        via: via.raw,
    })
}
