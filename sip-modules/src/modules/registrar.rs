//! `KSR.registrar`: who is reachable where (Kamailio's module `registrar`).

mod aor;
mod contact;
mod gruu;
mod lookup;
mod path;
mod reply;
mod save;

use kemi_macros::kemi_export;

use crate::proxy::Cx;

/// Applies a REGISTER to the address of record of its To header, and answers it.
///
/// The bits of `flags`: 2 sends no reply, 4 lets the first contact that is bound take the place of all others; the rest
/// changes nothing, as 1 (keep it in memory only), 8 (no random expiry) and 16 ask for what is the case anyway. Returns
/// 1 if a contact was added or the request is a retransmission, 2 if contacts were updated, 3 if they were removed, 4 if
/// the request only asked for them, -1 for an error, -2 if there would be too many contacts. An error is answered too.
#[kemi_export(module = "registrar", cost = 20)]
pub fn save(cx: &mut Cx, table: &str, flags: i64) -> i64 {
    save::save(cx, table, flags, None)
}

/// Applies a REGISTER as `save` does, to the address of record of another URI than that of To.
///
/// Returns what `save` returns.
#[kemi_export(module = "registrar", cost = 20)]
pub fn save_uri(cx: &mut Cx, table: &str, flags: i64, uri: &[u8]) -> i64 {
    save::save(cx, table, flags, Some(uri))
}

/// Sends the request to the contacts of the address of record in its R-URI.
///
/// The best contact becomes the R-URI, with its destination, socket and branch flags; the others become further branches.
/// A GRUU leads to the one phone that it was made for. Returns 1, -1 if there is no contact, -2 if none of them takes this
/// method, -3 if the R-URI cannot be read.
#[kemi_export(module = "registrar", cost = 10)]
pub fn lookup(cx: &mut Cx, table: &str) -> i64 {
    lookup::lookup(cx, table, None)
}

/// Sends the request to the contacts of the address of record in a URI, as `lookup` does.
///
/// Returns what `lookup` returns.
#[kemi_export(module = "registrar", cost = 10)]
pub fn lookup_uri(cx: &mut Cx, table: &str, uri: &[u8]) -> i64 {
    lookup::lookup(cx, table, Some(uri))
}

/// Tells whether the address of record in the R-URI, of a reply in To, has a contact. Returns 1 or -1.
#[kemi_export(module = "registrar")]
pub fn registered(cx: &Cx, table: &str) -> i64 {
    let message = &cx.msg.message;
    let uri = if message.is_request() { Some(cx.msg.ruri()) } else { message.to().map(|to| to.addr) };
    uri.map_or(-1, |uri| lookup::is_registered(cx, table, uri))
}

/// Tells whether the address of record in a URI has a contact. Returns 1 or -1.
#[kemi_export(module = "registrar")]
pub fn registered_uri(cx: &Cx, table: &str, uri: &[u8]) -> i64 {
    lookup::is_registered(cx, table, uri)
}

/// Removes all contacts of the address of record in a URI.
///
/// Returns 1, -1 if the URI cannot be read, -3 if there was no contact.
#[kemi_export(module = "registrar")]
pub fn unregister(cx: &mut Cx, table: &str, uri: &[u8]) -> i64 {
    match aor::address_of_record(uri, &cx.shared.settings.registrar) {
        Ok(aor) if cx.shared.location.remove(table, &aor) > 0 => 1,
        Ok(_) => -3,
        Err(error) => {
            tracing::warn!(target: "script", uri = %uri.escape_ascii(), %error, "unregister: the URI cannot be read");
            -1
        }
    }
}

#[cfg(test)]
mod tests;
