//! Changes of the R-URI and of the destination, which take effect at once.

use super::address::push_int;
use crate::message::{Scheme, Uri};
use crate::proxy::MessageState;

/// A change of the R-URI.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Change<'a> {
    /// Another URI.
    Uri(&'a [u8]),
    /// Another user, or none. An `@` ends a user and a `:` begins its password (RFC 3261 25.1): as part of a user they come
    /// escaped, and as they are they are refused, since a value from a message could name another host by them.
    User(Option<&'a [u8]>),
    /// Another host, perhaps with a port; what it does not name stays. A `tel` URI becomes the SIP URI of that number
    /// (RFC 3261 §19.1.6).
    Host(&'a [u8]),
    /// Another port, or none.
    Port(Option<u16>),
}

/// Changes the R-URI of the request being routed.
///
/// # Errors
/// Says why not; nothing is changed then.
pub(crate) fn change_ruri(msg: &mut MessageState, change: Change<'_>) -> Result<(), &'static str> {
    if msg.message.is_reply() {
        return Err("a reply has no R-URI");
    }
    let new = match change {
        Change::Uri(uri) => {
            check(uri)?;
            uri.to_vec()
        }
        part => {
            let old = Uri::parse(msg.ruri()).ok_or("the R-URI cannot be read")?;
            match (old.scheme, part) {
                (Scheme::Sip | Scheme::Sips, _) => rebuild(&old, part)?,
                (Scheme::Tel, Change::Host(host)) => sip_uri_of_number(&old, host)?,
                _ => return Err("the R-URI is no sip: URI that can be changed"),
            }
        }
    };
    msg.new_ruri = Some(new);
    Ok(())
}

/// Sets where the request goes instead of to its R-URI.
///
/// # Errors
/// Says why not; nothing is changed then.
pub(crate) fn set_destination(msg: &mut MessageState, uri: &[u8]) -> Result<(), &'static str> {
    check(uri)?;
    msg.dst_uri = Some(uri.to_vec());
    Ok(())
}

/// Refuses what would not stay inside of a request line.
fn check(uri: &[u8]) -> Result<(), &'static str> {
    match uri {
        [] => Err("the URI is empty"),
        _ if uri.iter().any(|b| *b <= b' ' || *b == 0x7f) => {
            Err("the URI has white space or a control character in it")
        }
        _ => Ok(()),
    }
}

/// Splits `host` or `host:port`.
fn host_and_port(text: &[u8]) -> Result<(&[u8], Option<u16>), &'static str> {
    const WRONG: &str = "the host is neither a name nor an address";
    let (host, port) = match memchr::memrchr(b':', text) {
        // A colon within brackets is an IPv6 address's own.
        Some(at) if !text.ends_with(b"]") => text.split_at(at),
        _ => return Ok((text, None)),
    };
    let port = std::str::from_utf8(port.get(1..).unwrap_or_default()).ok().and_then(|port| port.parse().ok());
    port.filter(|port| *port != 0).map(|port| (host, Some(port))).ok_or(WRONG)
}

/// Makes the SIP URI of a telephone number at a host; the parameters of the `tel` URI become part of the user.
fn sip_uri_of_number(number: &Uri<'_>, host: &[u8]) -> Result<Vec<u8>, &'static str> {
    let (name, port) = host_and_port(host)?;
    let subscriber = number.raw.splitn(2, |b| *b == b':').nth(1).unwrap_or_default();
    let new = [b"sip:", subscriber, b"@", host, b";user=phone"].concat();
    check(&new)?;
    match Uri::parse(&new) {
        Some(read) if (read.user, read.host, read.port) == (Some(subscriber), name, port) && !name.is_empty() => {
            Ok(new)
        }
        _ => Err("the host is neither a name nor an address"),
    }
}

fn rebuild(old: &Uri<'_>, change: Change<'_>) -> Result<Vec<u8>, &'static str> {
    let user = match change {
        Change::User(user) => user.filter(|user| !user.is_empty()),
        _ => old.user,
    };
    let (host, port) = match change {
        Change::Host(text) => {
            let (host, port) = host_and_port(text)?;
            (host, port.or(old.port))
        }
        Change::Port(port) => (old.host, port),
        _ => (old.host, old.port),
    };
    let scheme = old.raw.split_inclusive(|b| *b == b':').next().unwrap_or_default();
    let mut new = Vec::with_capacity(old.raw.len() + user.map_or(0, <[u8]>::len) + host.len() + 8);
    new.extend_from_slice(scheme);
    if let Some(user) = user {
        new.extend_from_slice(user);
        if let Some(password) = old.password {
            new.push(b':');
            new.extend_from_slice(password);
        }
        new.push(b'@');
    }
    new.extend_from_slice(host);
    if let Some(port) = port {
        new.push(b':');
        push_int(&mut new, port.into());
    }
    new.extend_from_slice(old.params.raw());
    if let Some(headers) = old.headers {
        new.push(b'?');
        new.extend_from_slice(headers);
    }
    // What the new part is made of shows when it is read back.
    check(&new)?;
    match Uri::parse(&new) {
        Some(read) if read.user != user => Err("the user has characters in it that a user part cannot have"),
        Some(read) if read.host != host || read.port != port => Err("the host is neither a name nor an address"),
        Some(_) if user.is_some_and(|user| user.iter().any(|b| matches!(b, b'<' | b'>' | b'"'))) => {
            Err("the user has characters in it that a user part cannot have")
        }
        Some(_) => Ok(new),
        None => Err("the result would be no SIP URI"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::testing::{INVITE, RINGING, cx};

    #[test]
    fn one_part_changes_and_the_others_stay() {
        for (change, expected) in [
            (Change::Uri(b"sip:x@y"), "sip:x@y"),
            (Change::User(Some(b"carol")), "sip:carol:pw@example.org:5070;transport=udp?x=y"),
            (Change::User(Some(b"a;b?c")), "sip:a;b?c:pw@example.org:5070;transport=udp?x=y"),
            (Change::User(Some(b"a%40b%3Ac")), "sip:a%40b%3Ac:pw@example.org:5070;transport=udp?x=y"),
            (Change::User(None), "sip:example.org:5070;transport=udp?x=y"),
            (Change::User(Some(b"")), "sip:example.org:5070;transport=udp?x=y"),
            (Change::Host(b"[::1]"), "sip:bob:pw@[::1]:5070;transport=udp?x=y"),
            (Change::Host(b"10.1.2.3:5080"), "sip:bob:pw@10.1.2.3:5080;transport=udp?x=y"),
            (Change::Host(b"[::1]:5080"), "sip:bob:pw@[::1]:5080;transport=udp?x=y"),
            (Change::Port(Some(9)), "sip:bob:pw@example.org:9;transport=udp?x=y"),
            (Change::Port(None), "sip:bob:pw@example.org;transport=udp?x=y"),
        ] {
            let mut cx = cx(INVITE);
            change_ruri(&mut cx.msg, change).unwrap();
            assert_eq!(cx.msg.ruri(), expected.as_bytes(), "{change:?}");
        }
    }

    #[test]
    fn nothing_breaks_out_of_its_place() {
        for change in [
            Change::Uri(b""),
            Change::Uri(b"sip:a b"),
            Change::Uri(b"sip:a\r\nX: y"),
            Change::User(Some(b"a@evil.test")),
            Change::User(Some(b"a b")),
            Change::User(Some(b"a:b")),
            Change::User(Some(b"a>")),
            Change::Host(b""),
            Change::Host(b"a b"),
            Change::Host(b"evil.test:"),
            Change::Host(b"evil.test:0"),
            Change::Host(b"evil.test:70000"),
            Change::Host(b"evil.test:1:2"),
            Change::Host(b":1"),
            Change::Host(b"h;lr"),
            Change::Host(b"u@h"),
            Change::Host(b"h?x"),
        ] {
            let mut cx = cx(INVITE);
            assert!(change_ruri(&mut cx.msg, change).is_err(), "{change:?}");
            assert_eq!(cx.msg.new_ruri, None, "{change:?}");
        }
    }

    #[test]
    fn a_number_at_a_host_is_a_sip_uri() {
        for (number, host, expected) in [
            ("tel:+49-30-123456", "gw.example", Some("sip:+49-30-123456@gw.example;user=phone")),
            ("tel:7042;phone-context=a.b", "[::1]:5070", Some("sip:7042;phone-context=a.b@[::1]:5070;user=phone")),
            ("tel:1", "", None),
            ("tel:1", "h;lr", None),
            ("tel:1", "u@h", None),
            ("tel:1", "h?x", None),
            ("tel:1", "h:0", None),
            ("urn:service:sos", "h", None),
        ] {
            let mut cx = cx(&INVITE.replace("sip:bob:pw@example.org:5070;transport=udp?x=y", number));
            let changed = change_ruri(&mut cx.msg, Change::Host(host.as_bytes())).ok().map(|()| cx.msg.ruri().to_vec());
            assert_eq!(changed.as_deref(), expected.map(str::as_bytes), "{number} {host}");
        }
    }

    #[test]
    fn only_requests_have_an_r_uri_and_only_sip_ones_have_parts() {
        assert!(change_ruri(&mut cx(RINGING).msg, Change::Uri(b"sip:a")).is_err());
        let mut cx = cx(&INVITE.replace("sip:bob:pw@example.org:5070;transport=udp?x=y", "tel:+1"));
        assert!(change_ruri(&mut cx.msg, Change::User(Some(b"x"))).is_err());
        assert!(change_ruri(&mut cx.msg, Change::Uri(b"sip:x@y")).is_ok());
    }

    #[test]
    fn the_destination_is_a_single_word() {
        let mut cx = cx(INVITE);
        assert!(set_destination(&mut cx.msg, b"").is_err());
        assert!(set_destination(&mut cx.msg, b"sip:a\n").is_err());
        assert_eq!(cx.msg.dst_uri, None);
        assert!(set_destination(&mut cx.msg, b"sip:127.0.0.1").is_ok());
        assert_eq!(cx.msg.dst_uri.as_deref(), Some(&b"sip:127.0.0.1"[..]));
    }
}
