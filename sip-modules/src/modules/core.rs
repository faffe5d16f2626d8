//! The functions of `KSR` itself: logging, flags, the R-URI, tests of method, transport and identity.
//!
//! Every transport here is UDP; what only streams have is accepted and does nothing, as Kamailio does for UDP.

pub mod flags;
pub mod log;
pub mod method;
pub mod myself;

use kemi_macros::kemi_export;

pub(crate) use self::method::method;
use crate::modules::pv::{Change, change_ruri, set_destination};
use crate::proxy::Cx;

/// Marks what the route works on to be dropped; the script goes on.
///
/// A reply route then forwards no reply, a branch route sends no branch. In the request route it changes nothing.
#[kemi_export(module = "")]
pub fn set_drop(cx: &mut Cx) {
    cx.msg.drop = true;
}

/// Replaces the R-URI; false when it cannot stand in a request line.
#[kemi_export(module = "")]
pub fn seturi(cx: &mut Cx, uri: &[u8]) -> bool {
    let result = change_ruri(&mut cx.msg, Change::Uri(uri));
    done("seturi", uri, result)
}

/// Replaces the user part of the R-URI, or removes it if the user is empty; false when that gives no SIP URI, and for an `@`
/// or `:` that is not escaped (`%40`, `%3A`).
#[kemi_export(module = "")]
pub fn setuser(cx: &mut Cx, user: &[u8]) -> bool {
    let result = change_ruri(&mut cx.msg, Change::User(Some(user)));
    done("setuser", user, result)
}

/// Replaces the host of the R-URI, whose port and parameters stay; false when that gives no SIP URI.
#[kemi_export(module = "")]
pub fn sethost(cx: &mut Cx, host: &[u8]) -> bool {
    let result = change_ruri(&mut cx.msg, Change::Host(host));
    done("sethost", host, result)
}

/// Sets the URI the request is sent to instead of its R-URI; false when it is empty or has white space in it.
#[kemi_export(module = "")]
pub fn setdsturi(cx: &mut Cx, uri: &[u8]) -> bool {
    let result = set_destination(&mut cx.msg, uri);
    done("setdsturi", uri, result)
}

/// Forgets the destination URI; returns true.
#[kemi_export(module = "")]
pub fn resetdsturi(cx: &mut Cx) -> bool {
    cx.msg.dst_uri = None;
    true
}

/// Tests whether a destination URI is set.
#[kemi_export(module = "")]
pub fn isdsturiset(cx: &Cx) -> bool {
    cx.msg.dst_uri.as_ref().is_some_and(|uri| !uri.is_empty())
}

/// Sends replies to the address and port the request came from, and says so in its Via; returns true.
#[kemi_export(module = "")]
pub fn force_rport(cx: &mut Cx) -> bool {
    cx.msg.force_rport = true;
    true
}

/// Asks not to open a connection for the reply, which UDP never does; returns true.
#[kemi_export(module = "", context = Cx)]
pub fn set_reply_no_connect() -> bool {
    true
}

/// Asks to close the connection after the reply, which UDP does not have; returns true.
#[kemi_export(module = "", context = Cx)]
pub fn set_reply_close() -> bool {
    true
}

/// Asks not to open a connection for the request, which UDP never does; returns true.
#[kemi_export(module = "", context = Cx)]
pub fn set_forward_no_connect() -> bool {
    true
}

/// Asks to close the connection after the request, which UDP does not have; returns true.
#[kemi_export(module = "", context = Cx)]
pub fn set_forward_close() -> bool {
    true
}

macro_rules! transports {
    ($($(#[$doc:meta])* $name:literal $function:ident $is:literal;)*) => {$(
        $(#[$doc])*
        #[kemi_export(module = "", name = $name, context = Cx)]
        pub fn $function() -> bool {
            $is
        }
    )*};
}
transports! {
    /// Tests whether the message came by UDP: always, since this proxy has no other transport.
    "is_UDP" is_udp true;
    /// Tests whether the message came by TCP: never, since this proxy has no other transport than UDP.
    "is_TCP" is_tcp false;
    /// Tests whether the message came by TCP, encrypted or not: never, since this proxy has no other transport than UDP.
    "is_TCPX" is_tcpx false;
    /// Tests whether the message came by TLS: never, since this proxy has no other transport than UDP.
    "is_TLS" is_tls false;
    /// Tests whether the message came by WebSocket: never, since this proxy has no other transport than UDP.
    "is_WS" is_ws false;
    /// Tests whether the message came by encrypted WebSocket: never, since this proxy has no other transport than UDP.
    "is_WSS" is_wss false;
    /// Tests whether the message came by WebSocket of either kind: never, since this proxy has no other transport than
    /// UDP.
    "is_WSX" is_wsx false;
    /// Tests whether the message came by SCTP: never, since this proxy has no other transport than UDP.
    "is_SCTP" is_sctp false;
}

/// Tests whether the message came by one of the transports that the letters stand for: `u` UDP, `t` TCP, `e` TLS,
/// `s` SCTP, `w` WS, `v` WSS.
#[kemi_export(module = "", context = Cx)]
pub fn is_proto(letters: &[u8]) -> bool {
    letters.iter().any(|letter| matches!(letter, b'u' | b'U'))
}

/// Tests whether the message came by IPv4.
#[kemi_export(module = "", name = "is_IPv4")]
pub fn is_ipv4(cx: &Cx) -> bool {
    cx.msg.source.is_ipv4()
}

/// Tests whether the message came by IPv6.
#[kemi_export(module = "", name = "is_IPv6")]
pub fn is_ipv6(cx: &Cx) -> bool {
    cx.msg.source.is_ipv6()
}

/// Tests whether the message came from this port.
#[kemi_export(module = "")]
pub fn is_src_port(cx: &Cx, port: i64) -> bool {
    i64::from(cx.msg.source.port()) == port
}

/// Tests whether the message came in on this port.
#[kemi_export(module = "")]
pub fn is_dst_port(cx: &Cx, port: i64) -> bool {
    let listener = cx.shared.identity.listeners().get(cx.msg.socket);
    listener.is_some_and(|listener| i64::from(listener.addr.port()) == port)
}

/// Logs why a change was refused; returns whether it was made.
fn done(function: &str, value: &[u8], result: Result<(), &'static str>) -> bool {
    match result {
        Ok(()) => true,
        Err(why) => {
            tracing::warn!(target: "script", "KSR.{function}(\"{}\"): {why}", value.escape_ascii());
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use kemi_core::Registry;
    use kemi_core::value::Type;

    use super::*;
    use crate::modules::testing::{INVITE, RINGING, cx};
    use crate::proxy::{RouteNames, Routes};

    #[test]
    fn the_r_uri_and_the_destination_change_at_once() {
        let mut cx = cx(INVITE);
        assert!(setuser(&mut cx, b"carol") && sethost(&mut cx, b"127.0.0.5"));
        assert_eq!(cx.msg.ruri(), b"sip:carol:pw@127.0.0.5:5070;transport=udp?x=y");
        assert!(seturi(&mut cx, b"sip:x@y") && !seturi(&mut cx, b"sip:x\r\nEvil: 1"));
        assert_eq!(cx.msg.ruri(), b"sip:x@y");
        assert!(!setuser(&mut cx, b"a@b") && !sethost(&mut cx, b""));
        assert_eq!(cx.msg.ruri(), b"sip:x@y");

        assert!(!isdsturiset(&cx));
        assert!(setdsturi(&mut cx, b"sip:127.0.0.1") && isdsturiset(&cx));
        assert!(!setdsturi(&mut cx, b"") && isdsturiset(&cx));
        assert!(resetdsturi(&mut cx) && !isdsturiset(&cx));
    }

    #[test]
    fn a_reply_has_no_r_uri_to_change() {
        let mut cx = cx(RINGING);
        assert!(!seturi(&mut cx, b"sip:x@y") && !setuser(&mut cx, b"x") && !sethost(&mut cx, b"y"));
    }

    /// Scripts see whether a function returns 1 and -1 or true and false: `if -1` is taken in every language.
    #[test]
    fn the_kinds_of_results_are_kamailios() {
        let (callbacks, _) = Routes::declare(&RouteNames::default());
        let builder = Registry::<Cx>::builder()
            .root(crate::dialect::ROOT)
            .module("")
            .module("pv")
            .module("hdr")
            .module("kx")
            .callbacks(callbacks);
        let registry = builder.build().unwrap();
        let integers = "get_debug get_send_sock_port get_srcport get_rcvport get_rcvadvport get_protoid get_bodylen \
            get_msglen get_msgtype get_timestamp get_status get_defn get_envn geti getl append append_hf append_after \
            insert insert_before remove rmappend rminsert is_present append_to_reply";
        let nothing = "dbg info notice warn err crit log set_drop exit drop";
        let texts = ["get", "gets_status"];
        let booleans =
            ["pv.seti", "pv.setl", "pv.sets", "pv.unset", "pv.is_null", "hdr.match_content", "kx.ifdef", "kx.ifndef"];
        let counts: Vec<_> = registry.modules().map(|(module, exports)| (module, exports.len())).collect();
        assert_eq!(counts, [("", 74), ("hdr", 17), ("kx", 66), ("pv", 12), ("x", 2)]);
        for export in registry.exports() {
            let (module, name) = (export.def().module, export.def().name);
            let returns = match export.def().returns {
                Type::Option(inner) => *inner,
                other => other,
            };
            let full = format!("{module}.{name}");
            let expected = match name {
                _ if nothing.split(' ').any(|known| known == name) => matches!(returns, Type::Nil),
                _ if integers.split_whitespace().any(|known| known == name) => matches!(returns, Type::Int { .. }),
                _ if module.is_empty() || booleans.contains(&&*full) => returns == Type::Bool,
                _ if module == "pv" => returns == Type::Any,
                _ => texts.iter().any(|text| name.starts_with(text)) && returns == Type::Bytes,
            };
            assert!(expected, "{full} returns {returns}");
        }
    }

    #[test]
    fn marks_stay_with_the_message() {
        let mut cx = cx(INVITE);
        assert!(!cx.msg.drop && !cx.msg.force_rport);
        set_drop(&mut cx);
        assert!(force_rport(&mut cx) && cx.msg.drop && cx.msg.force_rport);
    }

    #[test]
    fn transport_and_ports_are_those_of_the_message() {
        let mut cx = cx(INVITE);
        assert!(is_proto(b"tU") && !is_proto(b"estvw") && !is_proto(b""));
        assert!(is_ipv4(&cx) && !is_ipv6(&cx));
        assert!(is_src_port(&cx, 5090) && !is_src_port(&cx, 5060) && !is_src_port(&cx, 5090 + 65536));
        assert!(is_dst_port(&cx, 5060) && !is_dst_port(&cx, 5090));
        cx.msg.source = "[::1]:1".parse().unwrap();
        cx.msg.socket = 9;
        assert!(!is_ipv4(&cx) && is_ipv6(&cx) && !is_dst_port(&cx, 5060));
    }
}
