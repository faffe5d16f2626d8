//! "Is it for me": hosts against the proxy's sockets and aliases.

use kemi_macros::kemi_export;

use crate::message::Uri;
use crate::proxy::Cx;

/// Tests whether a URI, or a bare host or address, is the proxy's own.
///
/// A port or transport counts only where the URI gives it.
#[kemi_export(module = "")]
pub fn is_myself(cx: &Cx, uri: &[u8]) -> bool {
    match Uri::parse(uri).filter(Uri::is_sip) {
        Some(uri) => is_my_uri(cx, &uri),
        None => cx.shared.identity.is_me(uri, None),
    }
}

/// Tests whether the current R-URI is the proxy's own.
#[kemi_export(module = "")]
pub fn is_myself_ruri(cx: &Cx) -> bool {
    is_my_text(cx, cx.msg.ruri())
}

/// Tests whether the destination URI is set and the proxy's own.
#[kemi_export(module = "")]
pub fn is_myself_duri(cx: &Cx) -> bool {
    cx.msg.dst_uri.as_deref().is_some_and(|uri| is_my_text(cx, uri))
}

/// Tests whether the next hop, the destination URI or else the R-URI, is the proxy's own.
#[kemi_export(module = "")]
pub fn is_myself_nhuri(cx: &Cx) -> bool {
    is_my_text(cx, cx.msg.dst_uri.as_deref().unwrap_or_else(|| cx.msg.ruri()))
}

/// Tests whether the URI in From is the proxy's own.
#[kemi_export(module = "")]
pub fn is_myself_furi(cx: &Cx) -> bool {
    cx.msg.message.from().is_some_and(|from| is_my_text(cx, from.addr))
}

/// Tests whether the URI in To is the proxy's own.
#[kemi_export(module = "")]
pub fn is_myself_turi(cx: &Cx) -> bool {
    cx.msg.message.to().is_some_and(|to| is_my_text(cx, to.addr))
}

/// Tests whether the message came from one of the proxy's own addresses and ports.
#[kemi_export(module = "")]
pub fn is_myself_suri(cx: &Cx) -> bool {
    cx.shared.identity.listeners().iter().any(|listener| listener.addr == cx.msg.source)
}

/// Tests whether the message came from one of the proxy's own addresses, whatever the port.
#[kemi_export(module = "")]
pub fn is_myself_srcip(cx: &Cx) -> bool {
    cx.shared.identity.listeners().iter().any(|listener| listener.addr.ip() == cx.msg.source.ip())
}

fn is_my_text(cx: &Cx, uri: &[u8]) -> bool {
    Uri::parse(uri).is_some_and(|uri| uri.is_sip() && is_my_uri(cx, &uri))
}

fn is_my_uri(cx: &Cx, uri: &Uri<'_>) -> bool {
    // An alias stands for all transports, a socket for its own.
    if uri.transport().is_some_and(|transport| !transport.eq_ignore_ascii_case(b"udp"))
        && let Some(ip) = uri.host_ip()
        && cx.shared.identity.listeners().iter().any(|listener| listener.addr.ip() == ip)
    {
        return false;
    }
    cx.shared.identity.is_my_uri(uri)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::testing::{INVITE, RINGING, cx};

    #[test]
    fn uris_and_bare_hosts() {
        let cx = cx(INVITE);
        for (uri, expected) in [
            ("127.0.0.1", true),
            ("example.org", true),
            ("EXAMPLE.org", true),
            ("127.0.0.2", false),
            ("", false),
            ("sip:a@127.0.0.1", true),
            ("sip:127.0.0.1:5060", true),
            ("sip:127.0.0.1:5061", false),
            ("sip:127.0.0.1;transport=UDP", true),
            ("sip:127.0.0.1;transport=tcp", false),
            ("sip:example.org;transport=tcp", true),
            ("sips:example.org", true),
            ("sip:", false),
            ("tel:+1", false),
        ] {
            assert_eq!(is_myself(&cx, uri.as_bytes()), expected, "{uri}");
        }
    }

    #[test]
    fn the_uris_of_the_message() {
        let mut cx = cx(INVITE);
        assert!(is_myself_ruri(&cx) && is_myself_nhuri(&cx) && is_myself_turi(&cx));
        assert!(!is_myself_duri(&cx) && !is_myself_furi(&cx));
        cx.msg.dst_uri = Some(b"sip:127.0.0.2".to_vec());
        assert!(!is_myself_duri(&cx) && !is_myself_nhuri(&cx) && is_myself_ruri(&cx));
        cx.msg.dst_uri = Some(b"sip:127.0.0.1".to_vec());
        cx.msg.new_ruri = Some(b"sip:x@other.test".to_vec());
        assert!(is_myself_duri(&cx) && is_myself_nhuri(&cx) && !is_myself_ruri(&cx));
    }

    #[test]
    fn a_reply_has_no_r_uri() {
        let cx = cx(RINGING);
        assert!(!is_myself_ruri(&cx) && !is_myself_nhuri(&cx) && is_myself_turi(&cx));
    }

    #[test]
    fn the_source() {
        let mut cx = cx(INVITE);
        for (source, ip, both) in
            [("127.0.0.9:5060", false, false), ("127.0.0.1:9", true, false), ("127.0.0.1:5060", true, true)]
        {
            cx.msg.source = source.parse().unwrap();
            assert_eq!((is_myself_srcip(&cx), is_myself_suri(&cx)), (ip, both), "{source}");
        }
    }
}
