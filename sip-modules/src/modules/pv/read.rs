//! The values of pseudo-variables.

use std::net::SocketAddr;

use kemi_core::Value;
use kemi_core::abi::Out;

use super::address::{push_int, push_ip, push_socket, push_uri};
use super::credentials;
use super::name::{Index, Part, Party, Pv, Whose};
use crate::message::{HeaderName, Message, NameAddr, Scheme, Uri};
use crate::modules::core;
use crate::proxy::{Cx, MessageState, Route};

/// Returns the value, borrowed from the message where it stands there.
///
/// Headers are those of the message as received; R-URI and destination are the current ones.
pub(super) fn read<'c>(cx: &'c mut Cx, pv: Pv<'_>) -> Out<'c> {
    let Cx { shared, msg, vars, scratch, .. } = cx;
    let msg: &'c MessageState = msg;
    let message: &'c Message = &msg.message;
    let socket = |index: Option<usize>| {
        let listener = index.and_then(|index| shared.identity.listeners().get(index));
        listener.map(|listener| listener.addr)
    };
    match pv {
        Pv::Null => Out::Nil,
        Pv::Method => filled(core::method(msg)),
        Pv::Version => filled(message.version()),
        Pv::Status => message.status().map_or(Out::Nil, |status| Out::Int(status.into())),
        Pv::Reason => optional(message.reason()),
        Pv::Uri(whose, part) => match whole_uri(msg, whose) {
            Some(uri) => uri_part(uri, part, scratch),
            None => Out::Nil,
        },
        Pv::DisplayName(party) => address(message, party).map_or(Out::Nil, |address| filled(address.display)),
        Pv::Tag(party) => optional(address(message, party).and_then(|address| address.tag())),
        Pv::CallId => optional(message.call_id()),
        Pv::CSeqNumber => optional(cseq_number(message)),
        Pv::Contact => optional(message.value(HeaderName::Contact)),
        Pv::ContentType => optional(message.content_type()),
        Pv::ContentLength => message.content_length().map_or(Out::Nil, |length| Out::Int(length.into())),
        Pv::UserAgent => optional(message.user_agent()),
        Pv::AuthUsername => optional(credentials::attribute(msg, b"username")),
        Pv::AuthUser => optional(credentials::user(msg)),
        Pv::AuthRealm => optional(credentials::attribute(msg, b"realm")),
        Pv::SourceIp => written(scratch, |out| push_ip(out, msg.source.ip())),
        Pv::SourcePort => Out::Int(msg.source.port().into()),
        Pv::SourceUri => written(scratch, |out| push_uri(out, msg.source)),
        Pv::SourceUriTransport => written(scratch, |out| push_full_uri(out, msg.source)),
        Pv::SourceSocket => written(scratch, |out| push_socket(out, msg.source)),
        Pv::ReceivedIp => written_if(scratch, socket(Some(msg.socket)), |out, addr| push_ip(out, addr.ip())),
        Pv::ReceivedPort => socket(Some(msg.socket)).map_or(Out::Nil, |addr| Out::Int(addr.port().into())),
        Pv::ReceivedUri => written_if(scratch, socket(Some(msg.socket)), push_uri),
        Pv::ReceivedUriTransport => written_if(scratch, socket(Some(msg.socket)), push_full_uri),
        Pv::SendSocket => written_if(scratch, socket(msg.send_socket), push_socket),
        Pv::Transport => Out::Bytes(b"udp"),
        Pv::TransportId => Out::Int(1),
        Pv::Buffer => filled(message.bytes()),
        Pv::Length => length(message.bytes()),
        Pv::Type => Out::Int(if message.is_request() { 1 } else { 2 }),
        Pv::Body => filled(message.body()),
        Pv::BodySize => length(message.body()),
        Pv::Header(name, Index::At(position)) => optional(header(message, name, position)),
        Pv::Header(name, Index::All) => {
            let values = message.headers(name).map(|header| message.text(header.value));
            joined(scratch, values, |out, value| out.extend_from_slice(value))
        }
        Pv::Var(name) => vars.get(name).map_or(Out::Int(0), stored),
        Pv::Avp(name, Index::At(position)) => msg.avps.get(name, position).map_or(Out::Nil, stored),
        Pv::Avp(name, Index::All) => joined(scratch, msg.avps.values(name), push_stored),
        Pv::BranchIndex => Out::Int(branch_index(msg)),
        Pv::ReplyCode => Out::Int(reply_code(msg)),
        Pv::Time => Out::Int(i64::try_from(shared.unix_now()).unwrap_or(i64::MAX)),
        Pv::ProcessId => Out::Int(std::process::id().into()),
    }
}

/// Returns the value of the header line at a position; negative ones count from the last, which is -1.
pub(crate) fn header<'m>(message: &'m Message, name: &[u8], position: i64) -> Option<&'m [u8]> {
    let nth = usize::try_from(position.unsigned_abs()).ok()?;
    let nth = match position {
        0.. => nth,
        _ => message.headers(name).count().checked_sub(nth)?,
    };
    message.headers(name).nth(nth).map(|header| message.text(header.value))
}

/// Returns the address in From or To.
pub(super) fn address(message: &Message, party: Party) -> Option<NameAddr<'_>> {
    match party {
        Party::From => message.from(),
        Party::To => message.to(),
    }
}

/// Returns a URI as it stands; `None` when it is missing or empty.
pub(super) fn whole_uri(msg: &MessageState, whose: Whose) -> Option<&[u8]> {
    let uri = match whose {
        Whose::Request => msg.ruri(),
        Whose::Original => msg.message.ruri()?,
        Whose::Destination => msg.dst_uri.as_deref()?,
        Whose::NextHop => msg.dst_uri.as_deref().unwrap_or_else(|| msg.ruri()),
        Whose::Party(party) => address(&msg.message, party)?.addr,
    };
    Some(uri).filter(|uri| !uri.is_empty())
}

fn uri_part<'c>(uri: &'c [u8], part: Part, scratch: &'c mut Vec<u8>) -> Out<'c> {
    if part == Part::Whole {
        return Out::Bytes(uri);
    }
    let Some(uri) = Uri::parse(uri) else { return Out::Nil };
    match part {
        Part::Whole => Out::Bytes(uri.raw),
        Part::User => optional(uri.user),
        Part::Host => filled(uri.host),
        Part::Port => match uri.port {
            Some(port) => written(scratch, |out| push_int(out, port.into())),
            None if is_tls(&uri) => Out::Bytes(b"5061"),
            None => Out::Bytes(b"5060"),
        },
        Part::Transport => Out::Bytes(uri.transport().unwrap_or(b"UDP")),
    }
}

fn is_tls(uri: &Uri<'_>) -> bool {
    uri.scheme == Scheme::Sips || uri.transport().is_some_and(|transport| transport.eq_ignore_ascii_case(b"tls"))
}

/// The number as written: `CSeq: 0009 INVITE` gives `0009`.
fn cseq_number(message: &Message) -> Option<&[u8]> {
    message.cseq()?;
    message.value(HeaderName::CSeq)?.split(|b| b.is_ascii_whitespace()).next()
}

fn branch_index(msg: &MessageState) -> i64 {
    let index = match msg.route {
        Route::Request => Some(msg.branches.len()),
        Route::Failure => {
            let sent = msg.transaction.as_ref().map_or(0, |handle| handle.lock().machine.branches().len());
            Some(sent + msg.branches.len())
        }
        Route::Branch | Route::OnReply => msg.branch_index,
        Route::Reply => None,
    };
    index.and_then(|index| i64::try_from(index).ok()).unwrap_or(-1)
}

/// The status that matters where the script is: of the reply, of the winning branch, or the last one sent upstream.
fn reply_code(msg: &MessageState) -> i64 {
    let status = match msg.route {
        Route::Failure => msg.failure_status,
        _ => msg.message.status().or_else(|| msg.transaction.as_ref()?.lock().machine.last_status()),
    };
    status.map_or(0, i64::from)
}

fn push_full_uri(out: &mut Vec<u8>, addr: SocketAddr) {
    push_uri(out, addr);
    out.extend_from_slice(b";transport=udp");
}

fn push_stored(out: &mut Vec<u8>, value: &Value) {
    match stored(value) {
        Out::Int(number) => push_int(out, number),
        Out::Bytes(bytes) => out.extend_from_slice(bytes),
        _ => {}
    }
}

fn stored(value: &Value) -> Out<'_> {
    match value {
        Value::Int(number) => Out::Int(*number),
        Value::Str(text) => Out::Bytes(text),
        // Nothing else is ever stored.
        _ => Out::Nil,
    }
}

fn optional(bytes: Option<&[u8]>) -> Out<'_> {
    bytes.map_or(Out::Nil, Out::Bytes)
}

/// Empty counts as missing.
fn filled(bytes: &[u8]) -> Out<'_> {
    if bytes.is_empty() { Out::Nil } else { Out::Bytes(bytes) }
}

fn length(bytes: &[u8]) -> Out<'static> {
    Out::Int(i64::try_from(bytes.len()).unwrap_or(i64::MAX))
}

fn written(scratch: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) -> Out<'_> {
    scratch.clear();
    write(scratch);
    Out::Bytes(scratch)
}

fn written_if<T>(scratch: &mut Vec<u8>, value: Option<T>, write: impl FnOnce(&mut Vec<u8>, T)) -> Out<'_> {
    match value {
        Some(value) => written(scratch, |out| write(out, value)),
        None => Out::Nil,
    }
}

fn joined<T>(
    scratch: &mut Vec<u8>,
    values: impl Iterator<Item = T>,
    mut write: impl FnMut(&mut Vec<u8>, T),
) -> Out<'_> {
    scratch.clear();
    let mut any = false;
    for value in values {
        if std::mem::replace(&mut any, true) {
            scratch.push(b',');
        }
        write(scratch, value);
    }
    if any { Out::Bytes(scratch) } else { Out::Nil }
}
