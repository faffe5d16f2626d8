//! From an address of record to where it can be reached.

use std::sync::Arc;

use crate::location::Contact;
use crate::message::{NameAddr, split_list};
use crate::modules::corex::MAX_EXTRA_BRANCHES;
use crate::modules::registrar::aor::address_of_record;
use crate::modules::registrar::save::method_bit;
use crate::proxy::{Cx, ExtraBranch, Identity};

/// Makes the contacts of the R-URI, or of another URI, the destinations of the request.
pub(super) fn lookup(cx: &mut Cx, table: &str, uri: Option<&[u8]>) -> i64 {
    if cx.msg.message.is_reply() {
        tracing::warn!(target: "script", "lookup: this is a reply; call it for requests only");
        return -3;
    }
    let settings = &cx.shared.settings.registrar;
    let uri = uri.unwrap_or_else(|| cx.msg.ruri());
    let aor = match address_of_record(uri, settings) {
        Ok(aor) => aor,
        Err(error) => {
            tracing::debug!("lookup '{}': {error}", uri.escape_ascii());
            return -3;
        }
    };
    let mut found = Vec::new();
    if cx.shared.location.lookup(table, &aor, cx.shared.registrar_now(), &mut found) == 0 {
        return -1;
    }
    if settings.method_filtering && !cx.msg.message.has_to_tag() {
        let bit = method_bit(cx.msg.method());
        found.retain(|contact| contact.methods() & bit != 0);
    }
    let identity = &cx.shared.identity;
    let msg = &mut cx.msg;
    let Some((best, others)) = found.split_first() else { return -2 };
    let best = branch(best, identity);
    msg.new_ruri = Some(best.ruri);
    msg.dst_uri = best.dst_uri;
    msg.path = best.path;
    msg.send_socket = best.send_socket.or(msg.send_socket);
    msg.branch_flags |= best.flags;
    if settings.append_branches {
        let room = MAX_EXTRA_BRANCHES.saturating_sub(msg.branches.len());
        if others.len() > room {
            tracing::info!(
                "lookup: {} contacts are left out, a request has at most 12 destinations",
                others.len() - room
            );
        }
        msg.branches.extend(others.iter().take(room).map(|contact| branch(contact, identity)));
    }
    1
}

/// Whether a URI's address of record has a contact: 1 or -1.
pub(super) fn is_registered(cx: &Cx, table: &str, uri: &[u8]) -> i64 {
    let aor = address_of_record(uri, &cx.shared.settings.registrar);
    let found = aor.is_ok_and(|aor| cx.shared.location.is_registered(table, &aor, cx.shared.registrar_now()));
    if found { 1 } else { -1 }
}

/// The destination that a contact stands for: the first proxy of its Path, else where its REGISTER came from, else its URI.
fn branch(contact: &Arc<Contact>, identity: &Identity) -> ExtraBranch {
    let first = contact.path().and_then(|path| split_list(path).next()).and_then(NameAddr::parse);
    let socket = contact.socket();
    ExtraBranch {
        ruri: contact.uri().to_vec(),
        dst_uri: first.map(|proxy| proxy.addr).or_else(|| contact.received()).map(<[u8]>::to_vec),
        path: contact.path().map(<[u8]>::to_vec),
        flags: contact.flags(),
        send_socket: identity.listeners().iter().position(|listener| Some(listener.addr) == socket),
    }
}
