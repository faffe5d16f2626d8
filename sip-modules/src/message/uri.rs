//! SIP, SIPS and tel URIs as borrowed views.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv6Addr};

use crate::message::find::{find, find_either};
use crate::message::lexical::{number, trim};
use crate::message::{Param, Params};

/// A URI taken apart, every part as it was written; nothing is unescaped.
///
/// Two URIs are compared by the rules of RFC 3261 19.1.4 with [`Uri::equivalent`]; `==` compares the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Uri<'a> {
    /// The whole URI without white space around it.
    pub raw: &'a [u8],
    /// The scheme.
    pub scheme: Scheme<'a>,
    /// The user part, `None` when absent or empty; the number of a `tel` URI.
    pub user: Option<&'a [u8]>,
    /// The password behind the user.
    pub password: Option<&'a [u8]>,
    /// The host with the brackets of an IPv6 address; empty unless the scheme is `sip` or `sips`.
    pub host: &'a [u8],
    /// The port, `None` when it is left out.
    pub port: Option<u16>,
    /// The URI's own parameters.
    pub params: Params<'a>,
    /// What follows the question mark.
    pub headers: Option<&'a [u8]>,
}

/// The scheme of a URI, which knows no letter case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Scheme<'a> {
    /// `sip`.
    Sip,
    /// `sips`.
    Sips,
    /// `tel`, RFC 3966.
    Tel,
    /// Any other, as written; only [`Uri::raw`] is filled then.
    Other(&'a [u8]),
}

impl<'a> Uri<'a> {
    /// Takes a URI apart; `None` when it has no scheme, or no readable host or port where the scheme needs a host.
    pub fn parse(raw: &'a [u8]) -> Option<Uri<'a>> {
        let raw = trim(raw);
        let (scheme, rest) = split_at_byte(raw, find(b':', raw)?);
        let empty = Uri {
            raw,
            scheme: Scheme::parse(scheme)?,
            user: None,
            password: None,
            host: b"",
            port: None,
            params: Params::default(),
            headers: None,
        };
        match empty.scheme {
            Scheme::Sip | Scheme::Sips => empty.with_sip_parts(rest),
            Scheme::Tel => {
                let (user, params) = rest.split_at(find(b';', rest).unwrap_or(rest.len()));
                (!user.is_empty()).then_some(Uri { user: Some(user), params: Params::new(params), ..empty })
            }
            Scheme::Other(_) => Some(empty),
        }
    }

    /// Whether the scheme is `sip` or `sips`.
    pub fn is_sip(&self) -> bool {
        matches!(self.scheme, Scheme::Sip | Scheme::Sips)
    }

    /// The first parameter of that name.
    pub fn param(&self, name: &[u8]) -> Option<Param<'a>> {
        self.params.get(name)
    }

    /// Whether it has the `lr` parameter of a loose router, in whatever form (`lr`, `lr=on`).
    pub fn is_lr(&self) -> bool {
        self.params.contains(b"lr")
    }

    /// The value of the `transport` parameter; compare it without regard to case.
    pub fn transport(&self) -> Option<&'a [u8]> {
        self.params.value(b"transport")
    }

    /// The text as a Request-URI: without headers and the `method` parameter, which may not stand there (RFC 3261 19.1.1
    /// and 16.6 step 2).
    pub fn as_request_uri(&self) -> Cow<'a, [u8]> {
        let tail = self.params.raw().len() + self.headers.map_or(0, |headers| headers.len() + 1);
        if !self.is_sip() || self.headers.is_none() && !self.params.contains(b"method") {
            return Cow::Borrowed(self.raw);
        }
        let mut text = Vec::with_capacity(self.raw.len());
        text.extend_from_slice(self.raw.get(..self.raw.len().saturating_sub(tail)).unwrap_or_default());
        for param in self.params.iter().filter(|param| !param.name.eq_ignore_ascii_case(b"method")) {
            text.extend_from_slice(param.raw);
        }
        Cow::Owned(text)
    }

    /// The host as an address, `None` when it is a name.
    pub fn host_ip(&self) -> Option<IpAddr> {
        host_ip(self.host)
    }

    fn with_sip_parts(self, rest: &'a [u8]) -> Option<Uri<'a>> {
        // The user part may contain `;`, `?` and more (RFC 3261 25.1 user-unreserved); nothing behind it may contain a
        // bare `@`. So the first `@` comes before any other separator counts.
        let (userinfo, rest) = match find(b'@', rest) {
            Some(at) => split_at_byte(rest, at),
            None => (&b""[..], rest),
        };
        let (user, password) = match find(b':', userinfo) {
            Some(colon) => {
                let (user, password) = split_at_byte(userinfo, colon);
                (user, Some(password))
            }
            None => (userinfo, None),
        };
        let (hostport, tail) = rest.split_at(find_either(b';', b'?', rest).unwrap_or(rest.len()));
        let (params, headers) = match find(b'?', tail) {
            Some(mark) => {
                let (params, headers) = split_at_byte(tail, mark);
                (params, Some(headers))
            }
            None => (tail, None),
        };
        let (host, port) = host_port(hostport)?;
        Some(Uri {
            user: Some(user).filter(|user| !user.is_empty()),
            password,
            host,
            port,
            params: Params::new(params),
            headers,
            ..self
        })
    }
}

impl<'a> Scheme<'a> {
    /// The scheme of that name, `None` when it cannot be one.
    fn parse(name: &'a [u8]) -> Option<Scheme<'a>> {
        if name.eq_ignore_ascii_case(b"sip") {
            return Some(Scheme::Sip);
        }
        if name.eq_ignore_ascii_case(b"sips") {
            return Some(Scheme::Sips);
        }
        if name.eq_ignore_ascii_case(b"tel") {
            return Some(Scheme::Tel);
        }
        let letter_first = name.first().is_some_and(u8::is_ascii_alphabetic);
        let rest_fits = name.iter().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(b));
        (letter_first && rest_fits).then_some(Scheme::Other(name))
    }
}

/// A host, brackets kept, and the port behind it; white space around the colon is allowed, as a Via may have it.
pub(super) fn host_port(text: &[u8]) -> Option<(&[u8], Option<u16>)> {
    let text = trim(text);
    let bracketed = text.first() == Some(&b'[');
    let end = match bracketed {
        true => find(b']', text)? + 1,
        false => find(b':', text).unwrap_or(text.len()),
    };
    let (host, port) = text.split_at(end);
    let host = trim(host);
    let class = if bracketed { IN_BRACKETS } else { IN_NAME };
    let fits = |b: &u8| HOST_BYTES.get(usize::from(*b)).is_some_and(|classes| classes & class != 0);
    if host.is_empty() || !host.iter().all(fits) {
        return None;
    }
    let port = match trim(port).split_first() {
        None => None,
        Some((b':', digits)) => match trim(digits) {
            b"" => None,
            digits => Some(u16::try_from(number(digits)?).ok()?),
        },
        Some(_) => return None,
    };
    Some((host, port))
}

/// May stand in a host name: leniently all but white space, control characters and separators.
const IN_NAME: u8 = 1;

/// May stand in an IPv6 reference, its brackets included.
const IN_BRACKETS: u8 = 2;

/// The classes of each byte; hosts are checked often enough that a table shows in a profile.
const HOST_BYTES: [u8; 256] = host_bytes();

const fn host_bytes() -> [u8; 256] {
    let mut classes = [0; 256];
    let mut index = 0;
    while index < 256 {
        let byte = index as u8;
        let separator =
            matches!(byte, b'<' | b'>' | b'"' | b'@' | b';' | b',' | b'?' | b'/' | b'\\' | b'[' | b']' | b'(' | b')');
        if byte > b' ' && byte != 0x7f && !separator {
            classes[index] |= IN_NAME;
        }
        if byte.is_ascii_hexdigit() || matches!(byte, b'[' | b']' | b':' | b'.' | b'%') {
            classes[index] |= IN_BRACKETS;
        }
        index += 1;
    }
    classes
}

/// The address a host text stands for, brackets or not.
pub(super) fn host_ip(host: &[u8]) -> Option<IpAddr> {
    let bare = host.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]")).unwrap_or(host);
    std::str::from_utf8(bare).ok()?.parse().ok()
}

/// The address in the brackets of an IPv6 reference.
pub(super) fn ipv6(host: &[u8]) -> Option<Ipv6Addr> {
    let bare = host.strip_prefix(b"[")?.strip_suffix(b"]")?;
    std::str::from_utf8(bare).ok()?.parse().ok()
}

/// The text before and behind the byte at `at`.
pub(super) fn split_at_byte(text: &[u8], at: usize) -> (&[u8], &[u8]) {
    (text.get(..at).unwrap_or_default(), text.get(at + 1..).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_uri_has_neither_headers_nor_a_method() {
        for (uri, expected) in [
            ("sip:bob@h", "sip:bob@h"),
            ("sip:bob@h;method=INVITE;line=7?Subject=hi", "sip:bob@h;line=7"),
            ("sip:bob@h;line=7;METHOD=X", "sip:bob@h;line=7"),
            ("sips:h:5061?a=b&c=d", "sips:h:5061"),
            ("sip:bob@h?", "sip:bob@h"),
            ("sip:a;method=x?y@h;lr", "sip:a;method=x?y@h;lr"),
            ("sip:a;method=x?y@h;method=INVITE;lr", "sip:a;method=x?y@h;lr"),
            ("tel:+1;method=x", "tel:+1;method=x"),
            ("urn:service:sos?x", "urn:service:sos?x"),
        ] {
            let uri = Uri::parse(uri.as_bytes()).unwrap();
            assert_eq!(uri.as_request_uri().escape_ascii().to_string(), expected);
        }
    }

    #[test]
    fn a_full_uri_comes_apart() {
        let uri = Uri::parse(b"sip:alice:pw@example.org:5070;transport=TCP;lr?Subject=hi&x=y").unwrap();
        assert_eq!(uri.scheme, Scheme::Sip);
        assert_eq!(uri.user, Some(&b"alice"[..]));
        assert_eq!(uri.password, Some(&b"pw"[..]));
        assert_eq!(uri.host, b"example.org");
        assert_eq!(uri.port, Some(5070));
        assert_eq!(uri.transport(), Some(&b"TCP"[..]));
        assert!(uri.is_lr());
        assert_eq!(uri.headers, Some(&b"Subject=hi&x=y"[..]));
        assert_eq!(uri.params.raw(), b";transport=TCP;lr");
    }

    #[test]
    fn separators_in_the_user_part_belong_to_it() {
        let uri = Uri::parse(b"sip:user;par=u%40example.net?a@example.com").unwrap();
        assert_eq!(uri.user, Some(&b"user;par=u%40example.net?a"[..]));
        assert_eq!(uri.host, b"example.com");
        assert!(uri.params.is_empty());
    }

    #[test]
    fn ipv6_hosts_keep_their_brackets() {
        let uri = Uri::parse(b"SIPS:[2001:db8::1]:5061;x").unwrap();
        assert_eq!((uri.host, uri.port), (&b"[2001:db8::1]"[..], Some(5061)));
        assert_eq!(uri.host_ip(), Some("2001:db8::1".parse().unwrap()));
        assert_eq!(uri.scheme, Scheme::Sips);
        assert_eq!(Uri::parse(b"sip:10.0.0.1").unwrap().host_ip(), Some("10.0.0.1".parse().unwrap()));
        assert_eq!(Uri::parse(b"sip:h").unwrap().host_ip(), None);
    }

    #[test]
    fn other_schemes() {
        let tel = Uri::parse(b"tel:+1-201-555-0123;phone-context=example.com").unwrap();
        assert_eq!(tel.user, Some(&b"+1-201-555-0123"[..]));
        assert!(tel.param(b"Phone-Context").is_some());
        let urn = Uri::parse(b"urn:service:sos").unwrap();
        assert_eq!(urn.scheme, Scheme::Other(b"urn"));
        assert!(!urn.is_sip());
    }

    #[test]
    fn unreadable_uris_are_none() {
        for text in [
            "",
            ":",
            "sip",
            "sip:",
            "sip:@",
            "sip:a@",
            "sip:a@b@c",
            "sip:h:x",
            "sip:h:65536",
            "sip:[::1",
            "sip:[::1]x",
            "sip:a b@c d",
            "1sip:h",
            "sip:<h>",
            "tel:",
        ] {
            assert_eq!(Uri::parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(Uri::parse(b"sip:h:").unwrap().port, None);
        assert_eq!(Uri::parse(b"sip:@h").unwrap().user, None);
    }
}
