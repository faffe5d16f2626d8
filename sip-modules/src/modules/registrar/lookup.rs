//! From an address of record to where it can be reached.

use std::sync::Arc;

use crate::location::{Contact, same_instance};
use crate::message::Uri;
use crate::modules::corex::MAX_EXTRA_BRANCHES;
use crate::modules::registrar::aor::address_of_record;
use crate::modules::registrar::contact::method_bit;
use crate::modules::registrar::gruu::Gruu;
use crate::modules::registrar::path::next_hop;
use crate::proxy::{Cx, ExtraBranch, Identity};

/// Makes the contacts of the R-URI, or of another URI, the destinations of the request.
pub(super) fn lookup(cx: &mut Cx, table: &str, uri: Option<&[u8]>) -> i64 {
    if cx.msg.message.is_reply() {
        tracing::warn!(target: "script", "lookup: this is a reply; call it for requests only");
        return -3;
    }
    let settings = &cx.shared.settings.registrar;
    let uri = uri.unwrap_or_else(|| cx.msg.ruri());
    let (mut found, is_gruu) = match find(cx, table, uri) {
        Ok(found) => found,
        Err(code) => return code,
    };
    if found.is_empty() {
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
    // A GRUU is of one phone.
    if settings.append_branches && !is_gruu {
        let room = MAX_EXTRA_BRANCHES.saturating_sub(msg.branches.len());
        if others.len() > room {
            tracing::info!(
                left_out = others.len() - room,
                "lookup: contacts are left out, a request has at most 12 destinations"
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

/// The contacts that a URI stands for, and whether it is a GRUU; -3 if it cannot be read.
fn find(cx: &Cx, table: &str, uri: &[u8]) -> Result<(Vec<Arc<Contact>>, bool), i64> {
    let shared = &cx.shared;
    let now = shared.registrar_now();
    let gruu = Uri::parse(uri).filter(|_| shared.settings.registrar.gruu).and_then(|uri| Gruu::read(&uri, shared));
    match gruu {
        Some(Gruu::Temporary { address, id }) => {
            return Ok((shared.location.find(table, address, id, now).into_iter().collect(), true));
        }
        Some(Gruu::Foreign) => return Err(-3),
        Some(Gruu::Public(_)) | None => {}
    }
    let aor = address_of_record(uri, &shared.settings.registrar).map_err(|error| {
        tracing::debug!("lookup '{}': {error}", uri.escape_ascii());
        -3
    })?;
    let mut found = Vec::new();
    shared.location.lookup(table, &aor, now, &mut found);
    if let Some(Gruu::Public(instance)) = gruu {
        found.retain(|contact| contact.instance().is_some_and(|other| same_instance(other, instance)));
    }
    Ok((found, gruu.is_some()))
}

/// The destination that a contact stands for: the first proxy of its Path, else where its REGISTER came from, else its URI.
fn branch(contact: &Arc<Contact>, identity: &Identity) -> ExtraBranch {
    let (proxy, path) = contact.path().and_then(|path| next_hop(path, identity)).unzip();
    let socket = contact.socket();
    ExtraBranch {
        ruri: contact.uri().to_vec(),
        dst_uri: proxy.or_else(|| contact.received()).map(<[u8]>::to_vec),
        path,
        flags: contact.flags(),
        send_socket: identity.listeners().iter().position(|listener| Some(listener.addr) == socket),
    }
}
