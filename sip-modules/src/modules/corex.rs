//! `KSR.corex`: what belongs near the core (Kamailio's module `corex`).

use std::net::{IpAddr, SocketAddr};

use kemi_macros::kemi_export;

use crate::message::Uri;
use crate::proxy::{Cx, ExtraBranch};

/// How many destinations a request may have besides its R-URI, as in Kamailio.
pub(crate) const MAX_EXTRA_BRANCHES: usize = 11;

/// Tells whether the R-URI has a user. Returns 1 or -1.
#[kemi_export(module = "corex")]
pub fn has_ruri_user(cx: &Cx) -> i64 {
    if Uri::parse(cx.msg.ruri()).is_some_and(|uri| uri.user.is_some()) { 1 } else { -1 }
}

/// Tells whether there is a User-Agent header that is not empty. Returns 1 or -1.
#[kemi_export(module = "corex")]
pub fn has_user_agent(cx: &Cx) -> i64 {
    if cx.msg.message.user_agent().is_some_and(|value| !value.is_empty()) { 1 } else { -1 }
}

/// Adds a destination to which the request is sent besides its R-URI.
///
/// The new branch has the branch flags and the socket that are set at the time. Returns 1, or -1 if this is a reply, the
/// URI cannot be read, or there are 11 already.
#[kemi_export(module = "corex")]
pub fn append_branch_uri(cx: &mut Cx, uri: &[u8]) -> i64 {
    let msg = &mut cx.msg;
    let problem = if msg.message.is_reply() {
        "this is a reply; call it for requests only"
    } else if Uri::parse(uri).is_none() || uri.iter().any(|byte| *byte <= b' ' || *byte == 0x7f) {
        "this is no URI"
    } else if msg.branches.len() >= MAX_EXTRA_BRANCHES {
        "the request has 12 destinations already"
    } else {
        msg.branches.push(ExtraBranch {
            ruri: uri.to_vec(),
            flags: msg.branch_flags,
            send_socket: msg.send_socket,
            ..ExtraBranch::default()
        });
        return 1;
    };
    tracing::warn!(target: "script", "append_branch_uri '{}': {problem}", uri.escape_ascii());
    -1
}

/// Sets the socket that the request leaves by: `udp:127.0.0.1:5060`, with or without the protocol.
///
/// Returns 1, or -1 if the proxy does not listen there.
#[kemi_export(module = "corex")]
pub fn set_send_socket(cx: &mut Cx, socket: &str) -> i64 {
    match find_socket(cx, socket) {
        Some(index) => {
            cx.msg.send_socket = Some(index);
            1
        }
        None => {
            let known: Vec<_> = cx.shared.identity.listeners().iter().map(|listener| listener.name.as_str()).collect();
            let known = known.join(", ");
            tracing::error!(target: "script", "set_send_socket: no socket '{socket}'; the proxy listens on {known}");
            -1
        }
    }
}

/// Finds a socket of the proxy by its name, with or without the protocol.
pub(super) fn find_socket(cx: &Cx, socket: &str) -> Option<usize> {
    let address = match socket.split_once(':') {
        Some((protocol, rest)) if protocol.eq_ignore_ascii_case("udp") => rest,
        _ => socket,
    };
    let addr = address.parse::<SocketAddr>().ok().or_else(|| {
        let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
        Some(SocketAddr::new(bare.parse::<IpAddr>().ok()?, 5060))
    })?;
    cx.shared.identity.listeners().iter().position(|listener| listener.addr == addr)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::sl::wire::{Wire, reply, request};

    #[test]
    fn the_user_is_that_of_the_current_uri() {
        for (uri, changed, code) in [
            ("sip:bob@example.org", None, 1),
            ("sip:example.org", None, -1),
            ("sip:@example.org", None, -1),
            ("tel:+123", None, 1),
            ("sip:bob@example.org", Some("sip:example.org"), -1),
            ("sip:example.org", Some("sip:bob@example.org"), 1),
            ("nonsense", None, -1),
        ] {
            let mut wire = Wire::new(&request("OPTIONS", uri, ""));
            wire.cx.msg.new_ruri = changed.map(|uri| uri.as_bytes().to_vec());
            assert_eq!(has_ruri_user(&wire.cx), code, "{uri} {changed:?}");
        }
        assert_eq!(has_ruri_user(&Wire::new(&reply("200 OK", "INVITE", "")).cx), -1);
    }

    #[test]
    fn a_user_agent_must_say_something() {
        for (header, code) in [("User-Agent: sipp\r\n", 1), ("User-Agent:\r\n", -1), ("", -1)] {
            assert_eq!(has_user_agent(&Wire::new(&request("OPTIONS", "sip:h", header)).cx), code, "{header}");
        }
    }

    #[test]
    fn a_branch_takes_over_flags_and_socket() {
        let mut wire = Wire::new(&request("INVITE", "sip:bob@example.org", ""));
        wire.cx.msg.branch_flags = 1 << 6;
        assert_eq!(set_send_socket(&mut wire.cx, "udp:127.0.0.2:5070"), 1);
        assert_eq!(append_branch_uri(&mut wire.cx, b"sip:b@10.0.0.1"), 1);
        let expected = ExtraBranch {
            ruri: b"sip:b@10.0.0.1".to_vec(),
            flags: 1 << 6,
            send_socket: Some(1),
            ..ExtraBranch::default()
        };
        assert_eq!(wire.cx.msg.branches, [expected]);
        for bad in [&b"nonsense"[..], b"", b"sip:a b@h", b"sip:a@h\r\nX: 1"] {
            assert_eq!(append_branch_uri(&mut wire.cx, bad), -1, "{bad:?}");
        }
        assert_eq!(wire.cx.msg.branches.len(), 1);
        assert_eq!(append_branch_uri(&mut Wire::new(&reply("200 OK", "INVITE", "")).cx, b"sip:a@h"), -1);
    }

    #[test]
    fn a_request_has_at_most_twelve_destinations() {
        let mut wire = Wire::new(&request("INVITE", "sip:bob@example.org", ""));
        for _ in 0..MAX_EXTRA_BRANCHES {
            assert_eq!(append_branch_uri(&mut wire.cx, b"sip:b@10.0.0.1"), 1);
        }
        assert_eq!(append_branch_uri(&mut wire.cx, b"sip:b@10.0.0.1"), -1);
        assert_eq!(wire.cx.msg.branches.len(), MAX_EXTRA_BRANCHES);
    }

    #[test]
    fn only_sockets_of_the_proxy_can_be_chosen() {
        for (text, socket) in [
            ("udp:127.0.0.2:5070", Some(1)),
            ("127.0.0.2:5070", Some(1)),
            ("UDP:127.0.0.1", Some(0)),
            ("127.0.0.1", Some(0)),
            ("127.0.0.2", None),
            ("tcp:127.0.0.1:5060", None),
            ("127.0.0.3:5060", None),
            ("", None),
        ] {
            let mut wire = Wire::new(&request("INVITE", "sip:bob@example.org", ""));
            assert_eq!(set_send_socket(&mut wire.cx, text), if socket.is_some() { 1 } else { -1 }, "{text}");
            assert_eq!(wire.cx.msg.send_socket, socket, "{text}");
        }
    }
}
