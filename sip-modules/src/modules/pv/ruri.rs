//! Changes of the R-URI and of the destination, which take effect at once.

use super::address::push_int;
use crate::message::Uri;
use crate::proxy::MessageState;

/// A change of the R-URI.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Change<'a> {
    /// Another URI.
    Uri(&'a [u8]),
    /// Another user, or none.
    User(Option<&'a [u8]>),
    /// Another host; port and parameters stay.
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
            let old =
                Uri::parse(msg.ruri()).filter(Uri::is_sip).ok_or("the R-URI is no sip: URI that can be changed")?;
            rebuild(&old, part)?
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

fn rebuild(old: &Uri<'_>, change: Change<'_>) -> Result<Vec<u8>, &'static str> {
    let user = match change {
        Change::User(user) => user.filter(|user| !user.is_empty()),
        _ => old.user,
    };
    let host = match change {
        Change::Host(host) => host,
        _ => old.host,
    };
    let port = match change {
        Change::Port(port) => port,
        _ => old.port,
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
            (Change::User(None), "sip:example.org:5070;transport=udp?x=y"),
            (Change::User(Some(b"")), "sip:example.org:5070;transport=udp?x=y"),
            (Change::Host(b"[::1]"), "sip:bob:pw@[::1]:5070;transport=udp?x=y"),
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
            Change::Host(b"evil.test:1"),
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
