//! The Record-Route that the proxy adds.

use crate::message::{Params, Span};
use crate::modules::rr::is_request;
use crate::proxy::{Cx, MessageState, Shared};

/// Adds the Record-Route, with addresses of the script's choice if there are any.
pub(super) fn add(cx: &mut Cx, function: &str, preset: &[&[u8]], params: &[u8]) -> i64 {
    if !is_request(cx, function) {
        return -1;
    }
    if cx.msg.record_route.added {
        tracing::warn!(target: "script", "{function}: a Record-Route was added to this request already");
        return -1;
    }
    if let Some(bad) = preset.iter().find(|text| text.is_empty() || !fits_uri(text)) {
        let bad = bad.escape_ascii();
        tracing::error!(target: "script", "{function}: '{bad}' is no address; pass host:port;parameters");
        return -1;
    }
    if !params.is_empty() && !are_params(function, params) {
        return -1;
    }
    let record_route = &mut cx.msg.record_route;
    record_route.preset = preset.iter().map(|text| text.to_vec()).collect();
    record_route.params.extend_from_slice(params);
    record_route.added = true;
    write(&cx.shared, &mut cx.msg);
    1
}

/// Adds parameters to the Record-Route that is there, or to the one that will be.
pub(super) fn add_param(cx: &mut Cx, function: &str, params: &[u8]) -> i64 {
    if !is_request(cx, function) || !are_params(function, params) {
        return -1;
    }
    cx.msg.record_route.params.extend_from_slice(params);
    if cx.msg.record_route.added {
        write(&cx.shared, &mut cx.msg);
    }
    1
}

/// Takes the Record-Route back; parameters that were asked for stay for the next one.
pub(super) fn remove(cx: &mut Cx) {
    if std::mem::take(&mut cx.msg.record_route.added) {
        let place = place(&cx.msg);
        cx.msg.edits.replace(place, b"");
    }
}

/// Writes the Record-Route again now that the socket is known by which the request leaves.
///
/// Call it for each branch before it is written. Without a Record-Route of ours it does nothing.
pub fn complete(cx: &mut Cx, socket: usize) {
    let msg = &mut cx.msg;
    msg.send_socket = Some(socket);
    if msg.record_route.added && msg.record_route.outbound != outbound(msg) {
        write(&cx.shared, msg);
    }
}

/// Whether the request goes against the direction of the one that started its dialog.
pub(super) fn is_upstream(msg: &MessageState) -> bool {
    let Some(own) = &msg.own_route else { return false };
    let from = msg.message.from_tag();
    match (Params::new(own).value(b"ftag"), from) {
        (Some(starter), Some(from)) => starter != from,
        _ => false,
    }
}

/// The socket by which the request leaves, as far as it is known and another one than it came in by.
fn outbound(msg: &MessageState) -> Option<usize> {
    msg.send_socket.filter(|socket| *socket != msg.socket)
}

/// Writes the headers, in the place of what was written before.
fn write(shared: &Shared, msg: &mut MessageState) {
    let name = |socket: usize| shared.identity.listeners().get(socket).map_or("", |listener| &listener.name).as_bytes();
    let mut text = Vec::with_capacity(128);
    let outbound = outbound(msg);
    match outbound {
        _ if !msg.record_route.preset.is_empty() => {
            for address in &msg.record_route.preset {
                write_one(shared, msg, address, b"", &mut text);
            }
        }
        // The one on top is nearer to the callee.
        Some(outbound) => {
            write_one(shared, msg, name(outbound), b";r2=on", &mut text);
            write_one(shared, msg, name(msg.socket), b";r2=on", &mut text);
        }
        None => write_one(shared, msg, name(msg.socket), b"", &mut text),
    }
    let place = place(msg);
    msg.edits.replace(place, &text);
    msg.record_route.outbound = outbound;
}

fn write_one(shared: &Shared, msg: &MessageState, address: &[u8], pair: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"Record-Route: <sip:");
    out.extend_from_slice(address);
    out.extend_from_slice(pair);
    out.extend_from_slice(if shared.settings.full_lr { b";lr=on" } else { b";lr" });
    if shared.settings.append_fromtag
        && let Some(tag) = starters_tag(msg)
    {
        out.extend_from_slice(b";ftag=");
        out.extend_from_slice(tag);
    }
    out.extend_from_slice(&msg.record_route.params);
    out.extend_from_slice(b">\r\n");
}

/// The tag of whoever started the dialog, if it can be written into a URI.
fn starters_tag(msg: &MessageState) -> Option<&[u8]> {
    let party = if is_upstream(msg) { msg.message.to() } else { msg.message.from() };
    party.and_then(|party| party.tag()).filter(|tag| fits_uri(tag) && !tag.contains(&b';') && !tag.contains(&b'?'))
}

/// Before all header lines; a replacement there is found again, and text inserted there stays.
fn place(msg: &MessageState) -> Span {
    Span::at(msg.message.headers_start())
}

fn are_params(function: &str, text: &[u8]) -> bool {
    let good = text.first() == Some(&b';') && fits_uri(text);
    if !good {
        let text = text.escape_ascii();
        tracing::error!(target: "script", "{function}: '{text}' is no list of parameters; pass ';name=value'");
    }
    good
}

/// Whether the text may stand within the angle brackets of a Record-Route.
fn fits_uri(text: &[u8]) -> bool {
    text.iter().all(|byte| *byte > b' ' && *byte != 0x7f && !b"<>\",".contains(byte))
}
