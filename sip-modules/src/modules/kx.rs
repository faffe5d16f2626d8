//! `KSR.kx`: attributes of the message by functions of their own, cheaper than by pseudo-variable.
//!
//! `getw_…` and `gete_…` give `<null>` and an empty string where `get_…` gives nil.

use kemi_core::ByteString;
use kemi_macros::kemi_export;

use crate::message::{NameAddr, Uri};
use crate::modules::core;
use crate::modules::pv::{self, MISSING};
use crate::proxy::{Cx, Listener, unix_now};

macro_rules! getters {
    ($($(#[$doc:meta])* $value:ident: $get:ident $(, $getw:ident, $gete:ident)?;)*) => {$(
        $(#[$doc])*
        #[kemi_export(module = "kx")]
        pub fn $get(cx: &Cx) -> Option<&[u8]> {
            $value(cx)
        }

        $(
            /// Returns what the function `get_…` of that name returns, `<null>` in the place of nil.
            #[kemi_export(module = "kx")]
            pub fn $getw(cx: &Cx) -> &[u8] {
                $value(cx).unwrap_or(MISSING)
            }

            /// Returns what the function `get_…` of that name returns, an empty string in the place of nil.
            #[kemi_export(module = "kx")]
            pub fn $gete(cx: &Cx) -> &[u8] {
                $value(cx).unwrap_or_default()
            }
        )?
    )*};
}
getters! {
    /// Returns the current R-URI, nil for a reply.
    ruri: get_ruri;
    /// Returns the user of the current R-URI, nil when it has none.
    ruri_user: get_ruser, getw_ruser, gete_ruser;
    /// Returns the host of the current R-URI, nil when it has none.
    ruri_host: get_rhost, getw_rhost, gete_rhost;
    /// Returns the R-URI as received, nil for a reply.
    original_uri: get_ouri;
    /// Returns the URI in From, nil when it cannot be read.
    from_uri: get_furi;
    /// Returns the user of the URI in From, nil when it has none.
    from_user: get_fuser, getw_fuser, gete_fuser;
    /// Returns the host of the URI in From, nil when it has none.
    from_host: get_fhost, getw_fhost, gete_fhost;
    /// Returns the URI in To, nil when it cannot be read.
    to_uri: get_turi;
    /// Returns the user of the URI in To, nil when it has none.
    to_user: get_tuser, getw_tuser, gete_tuser;
    /// Returns the host of the URI in To, nil when it has none.
    to_host: get_thost, getw_thost, gete_thost;
    /// Returns the destination URI, nil when none is set.
    destination_uri: get_duri, getw_duri, gete_duri;
    /// Returns the URI of the first Contact, nil when there is none.
    contact_uri: get_cturi, getw_cturi, gete_cturi;
    /// Returns the next hop: the destination URI, or else the R-URI; nil for a reply.
    next_hop_uri: get_nhuri;
    /// Returns the User-Agent, nil when there is none.
    user_agent: get_ua, getw_ua, gete_ua;
    /// Returns the user of the digest credentials, without the realm behind an `@`; nil when there are none.
    auth_user: get_au, getw_au, gete_au;
    /// Returns the body, nil when there is none.
    body: get_body, getw_body, gete_body;
    /// Returns the method, of a reply the one in its CSeq; nil when that cannot be read.
    method: get_method;
    /// Returns the Call-ID, nil when there is none.
    call_id: get_callid;
    /// Returns the message as received.
    buffer: get_msgbuf;
    /// Returns the transport the message came by: `udp`.
    transport: get_proto;
}

/// Returns the status of a reply, -1 for a request.
#[kemi_export(module = "kx")]
pub fn get_status(cx: &Cx) -> i64 {
    cx.msg.message.status().map_or(-1, i64::from)
}

/// Returns the status of a reply as a string, nil for a request.
#[kemi_export(module = "kx")]
pub fn gets_status(cx: &mut Cx) -> Option<&[u8]> {
    let status = cx.msg.message.status()?;
    Some(written(cx, |out| pv::push_int(out, status.into())))
}

/// Returns the address the message came from.
#[kemi_export(module = "kx")]
pub fn get_srcip(cx: &mut Cx) -> &[u8] {
    let ip = cx.msg.source.ip();
    written(cx, |out| pv::push_ip(out, ip))
}

/// Returns the port the message came from.
#[kemi_export(module = "kx")]
pub fn get_srcport(cx: &Cx) -> i64 {
    cx.msg.source.port().into()
}

/// Returns where the message came from as a URI: `sip:address:port`.
#[kemi_export(module = "kx")]
pub fn get_srcuri(cx: &mut Cx) -> &[u8] {
    let source = cx.msg.source;
    written(cx, |out| pv::push_uri(out, source))
}

/// Returns where the message came from as a socket: `udp:address:port`.
#[kemi_export(module = "kx")]
pub fn get_srcaddr_sock(cx: &mut Cx) -> &[u8] {
    let source = cx.msg.source;
    written(cx, |out| pv::push_socket(out, source))
}

/// Returns the address the message came in on.
#[kemi_export(module = "kx")]
pub fn get_rcvip(cx: &mut Cx) -> Option<&[u8]> {
    let ip = received(cx)?.addr.ip();
    Some(written(cx, |out| pv::push_ip(out, ip)))
}

/// Returns the port the message came in on.
#[kemi_export(module = "kx")]
pub fn get_rcvport(cx: &Cx) -> Option<i64> {
    Some(received(cx)?.addr.port().into())
}

/// Returns the socket the message came in on: `udp:address:port`.
#[kemi_export(module = "kx")]
pub fn get_rcvaddr_sock(cx: &mut Cx) -> Option<&[u8]> {
    let addr = received(cx)?.addr;
    Some(written(cx, |out| pv::push_socket(out, addr)))
}

/// Returns the address that the socket the message came in on calls itself in Via and Record-Route.
#[kemi_export(module = "kx")]
pub fn get_rcvadvip(cx: &Cx) -> Option<&[u8]> {
    Some(advertised(received(cx)?).0.as_bytes())
}

/// Returns the port that the socket the message came in on calls itself in Via and Record-Route.
#[kemi_export(module = "kx")]
pub fn get_rcvadvport(cx: &Cx) -> Option<i64> {
    Some(advertised(received(cx)?).1.into())
}

/// Returns the socket chosen for the message to leave by, `udp:address:port`; nil when none is chosen.
#[kemi_export(module = "kx")]
pub fn get_send_sock(cx: &mut Cx) -> Option<&[u8]> {
    let addr = cx.shared.identity.listeners().get(cx.msg.send_socket?)?.addr;
    Some(written(cx, |out| pv::push_socket(out, addr)))
}

/// Returns the port of the socket chosen for the message to leave by, 0 when none is chosen.
#[kemi_export(module = "kx")]
pub fn get_send_sock_port(cx: &Cx) -> i64 {
    let listener = cx.msg.send_socket.and_then(|socket| cx.shared.identity.listeners().get(socket));
    listener.map_or(0, |listener| listener.addr.port().into())
}

/// Returns Kamailio's number of the transport the message came by: 1 for UDP.
#[kemi_export(module = "kx", context = Cx)]
pub fn get_protoid() -> i64 {
    1
}

/// Returns the length of the body in bytes, 0 when there is none.
#[kemi_export(module = "kx")]
pub fn get_bodylen(cx: &Cx) -> usize {
    cx.msg.message.body().len()
}

/// Returns the length of the message in bytes.
#[kemi_export(module = "kx")]
pub fn get_msglen(cx: &Cx) -> usize {
    cx.msg.message.bytes().len()
}

/// Returns 1 for a request and 2 for a reply.
#[kemi_export(module = "kx")]
pub fn get_msgtype(cx: &Cx) -> i64 {
    if cx.msg.message.is_request() { 1 } else { 2 }
}

/// Returns the seconds since 1970.
#[kemi_export(module = "kx", context = Cx)]
pub fn get_timestamp() -> u64 {
    unix_now()
}

/// Returns the value of a definition of the configuration (`#!define`, `-A`), nil when it is not defined.
#[kemi_export(module = "kx")]
pub fn get_def<'c>(cx: &'c Cx, name: &[u8]) -> Option<&'c [u8]> {
    definition(cx, name).map(str::as_bytes)
}

/// Returns the value of a definition of the configuration as a number; 0 when it is not defined or no number.
#[kemi_export(module = "kx")]
pub fn get_defn(cx: &Cx, name: &[u8]) -> i64 {
    definition(cx, name).and_then(number).unwrap_or(0)
}

/// Tests whether a name is defined in the configuration (`#!define`, `-A`).
#[kemi_export(module = "kx")]
pub fn ifdef(cx: &Cx, name: &[u8]) -> bool {
    definition(cx, name).is_some()
}

/// Tests whether a name is not defined in the configuration.
#[kemi_export(module = "kx")]
pub fn ifndef(cx: &Cx, name: &[u8]) -> bool {
    definition(cx, name).is_none()
}

/// Returns the value of an environment variable of the proxy, nil when it is not set.
#[kemi_export(module = "kx", context = Cx)]
pub fn get_env(name: &[u8]) -> Option<ByteString> {
    Some(environment(name)?.into_encoded_bytes().into())
}

/// Returns the value of an environment variable of the proxy as a number; 0 when it is not set or no number.
#[kemi_export(module = "kx", context = Cx)]
pub fn get_envn(name: &[u8]) -> i64 {
    environment(name).and_then(|value| number(value.to_str()?)).unwrap_or(0)
}

fn ruri(cx: &Cx) -> Option<&[u8]> {
    filled(cx.msg.ruri())
}

fn ruri_user(cx: &Cx) -> Option<&[u8]> {
    user(ruri(cx)?)
}

fn ruri_host(cx: &Cx) -> Option<&[u8]> {
    host(ruri(cx)?)
}

fn original_uri(cx: &Cx) -> Option<&[u8]> {
    cx.msg.message.ruri()
}

fn from(cx: &Cx) -> Option<NameAddr<'_>> {
    cx.msg.message.from()
}

fn from_uri(cx: &Cx) -> Option<&[u8]> {
    Some(from(cx)?.addr)
}

fn from_user(cx: &Cx) -> Option<&[u8]> {
    user(from_uri(cx)?)
}

fn from_host(cx: &Cx) -> Option<&[u8]> {
    host(from_uri(cx)?)
}

fn to_uri(cx: &Cx) -> Option<&[u8]> {
    Some(cx.msg.message.to()?.addr)
}

fn to_user(cx: &Cx) -> Option<&[u8]> {
    user(to_uri(cx)?)
}

fn to_host(cx: &Cx) -> Option<&[u8]> {
    host(to_uri(cx)?)
}

fn destination_uri(cx: &Cx) -> Option<&[u8]> {
    cx.msg.dst_uri.as_deref().and_then(filled)
}

fn contact_uri(cx: &Cx) -> Option<&[u8]> {
    let first = cx.msg.message.contacts().next().filter(|contact| !contact.is_star())?;
    Some(first.name_addr()?.addr)
}

fn next_hop_uri(cx: &Cx) -> Option<&[u8]> {
    destination_uri(cx).or_else(|| ruri(cx))
}

fn user_agent(cx: &Cx) -> Option<&[u8]> {
    cx.msg.message.user_agent()
}

fn auth_user(cx: &Cx) -> Option<&[u8]> {
    pv::credentials_user(&cx.msg)
}

fn body(cx: &Cx) -> Option<&[u8]> {
    filled(cx.msg.message.body())
}

fn method(cx: &Cx) -> Option<&[u8]> {
    filled(core::method(&cx.msg))
}

fn call_id(cx: &Cx) -> Option<&[u8]> {
    cx.msg.message.call_id()
}

fn buffer(cx: &Cx) -> Option<&[u8]> {
    filled(cx.msg.message.bytes())
}

fn transport(_cx: &Cx) -> Option<&[u8]> {
    Some(b"udp")
}

fn user(uri: &[u8]) -> Option<&[u8]> {
    Uri::parse(uri)?.user
}

fn host(uri: &[u8]) -> Option<&[u8]> {
    filled(Uri::parse(uri)?.host)
}

fn filled(bytes: &[u8]) -> Option<&[u8]> {
    Some(bytes).filter(|bytes| !bytes.is_empty())
}

fn received(cx: &Cx) -> Option<&Listener> {
    cx.shared.identity.listeners().get(cx.msg.socket)
}

/// Takes the name apart that a listener has in messages.
fn advertised(listener: &Listener) -> (&str, u16) {
    let (host, port) = listener.name.rsplit_once(':').unwrap_or((&listener.name, ""));
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    (host, port.parse().unwrap_or(listener.addr.port()))
}

fn definition<'c>(cx: &'c Cx, name: &[u8]) -> Option<&'c str> {
    cx.shared.defines.get(std::str::from_utf8(name).ok()?).map(String::as_str)
}

fn environment(name: &[u8]) -> Option<std::ffi::OsString> {
    // An `=` or NUL is in no variable's name, and would make the lookup panic on some systems.
    let name = std::str::from_utf8(name).ok().filter(|name| !name.is_empty() && !name.contains(['=', '\0']))?;
    std::env::var_os(name)
}

fn number(text: &str) -> Option<i64> {
    text.trim().parse().ok()
}

fn written(cx: &mut Cx, write: impl FnOnce(&mut Vec<u8>)) -> &[u8] {
    cx.scratch.clear();
    write(&mut cx.scratch);
    &cx.scratch
}

#[cfg(test)]
mod tests;
