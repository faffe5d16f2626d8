//! The addresses in `listen=` and on the command line.

use std::fmt;

use crate::config::parser::NO_WILDCARD;

/// A local address as written: `udp:host:port`, `host:port`, `udp:host` or `host`.
///
/// The host is a name, an IPv4 address or an IPv6 address in brackets; here it stands without the
/// brackets and is not resolved. What is left out is `None`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Address {
    /// The transport, if one is named.
    pub protocol: Option<Protocol>,
    /// Name or literal address, without brackets.
    pub host: String,
    /// The port, if one is named.
    pub port: Option<u16>,
}

impl Address {
    /// Reads an address.
    ///
    /// # Errors
    ///
    /// Says what is wrong with the text; the caller knows where it stands.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (protocol, rest) = match text.split_once(':') {
            Some((first, rest)) if !rest.is_empty() => match Protocol::parse(first) {
                Some(protocol) => (Some(protocol), rest),
                None if first.eq_ignore_ascii_case("sctp") => {
                    return Err("the transport 'sctp' is not supported: use udp, tcp or tls".to_owned());
                }
                None => (None, text),
            },
            _ => (None, text),
        };
        let (host, port) = match rest.strip_prefix('[') {
            Some(inner) => bracketed(inner)?,
            None => match rest.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (rest, None),
            },
        };
        if host.is_empty() {
            return Err(format!("address '{text}' has no host"));
        }
        if host == "*" {
            return Err(NO_WILDCARD.to_owned());
        }
        if !rest.starts_with('[') && !host.bytes().all(is_host_byte) {
            return Err(format!("'{host}' in the address '{text}' is not a host name or address"));
        }
        let port = port.map(|port| parse_port(port, text)).transpose()?;
        Ok(Self { protocol, host: host.to_owned(), port })
    }
}

/// The form [`Address::parse`] reads.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(protocol) = self.protocol {
            write!(f, "{protocol}:")?;
        }
        if self.host.contains(':') {
            write!(f, "[{}]", self.host)?;
        } else {
            f.write_str(&self.host)?;
        }
        match self.port {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}

/// A transport that can be listened on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// TLS over TCP.
    Tls,
    /// UDP.
    Udp,
}

impl Protocol {
    /// The transport of that name, in any case.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Tcp, Self::Tls, Self::Udp].into_iter().find(|protocol| protocol.name().eq_ignore_ascii_case(name))
    }

    /// The name in a configuration, in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Udp => "udp",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Splits what follows `[` into the IPv6 address and the text of the port.
fn bracketed(inner: &str) -> Result<(&str, Option<&str>), String> {
    let Some((host, after)) = inner.split_once(']') else {
        return Err(format!("the address '[{inner}' lacks its closing bracket"));
    };
    if host.parse::<std::net::Ipv6Addr>().is_err() {
        return Err(format!("'{host}' in brackets is not an IPv6 address"));
    }
    match after.strip_prefix(':') {
        Some(port) => Ok((host, Some(port))),
        None if after.is_empty() => Ok((host, None)),
        None => Err(format!("expected ':' and a port after '[{host}]', found '{after}'")),
    }
}

fn parse_port(text: &str, whole: &str) -> Result<u16, String> {
    if text.contains(':') {
        return Err(format!(
            "address '{whole}' has too many colons: expected protocol:host:port, where protocol is udp, \
             tcp or tls and an IPv6 host stands in brackets"
        ));
    }
    // `u16::from_str` takes a leading plus sign, which is no port.
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(format!("'{text}' in the address '{whole}' is not a port number"));
    }
    text.parse().map_err(|_| format!("port {text} in the address '{whole}' is not in 0..65535"))
}

fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(protocol: Option<Protocol>, host: &str, port: Option<u16>) -> Address {
        Address { protocol, host: host.to_owned(), port }
    }

    #[test]
    fn every_form_is_read_and_written_back() {
        for (text, expected) in [
            ("udp:127.0.0.1:5060", address(Some(Protocol::Udp), "127.0.0.1", Some(5060))),
            ("127.0.0.1:5060", address(None, "127.0.0.1", Some(5060))),
            ("sip.example.com", address(None, "sip.example.com", None)),
            ("tls:my-host", address(Some(Protocol::Tls), "my-host", None)),
            ("tcp:[::1]:5061", address(Some(Protocol::Tcp), "::1", Some(5061))),
            ("[2001:db8::1]", address(None, "2001:db8::1", None)),
            ("udp", address(None, "udp", None)),
        ] {
            assert_eq!(Address::parse(text), Ok(expected.clone()), "{text}");
            assert_eq!(expected.to_string(), text);
        }
        assert_eq!(Address::parse("UDP:h"), Address::parse("udp:h"));
    }

    #[test]
    fn mistakes_are_named() {
        for (text, part) in [
            ("", "no host"),
            (":5060", "no host"),
            ("udp:h:99999", "not in 0..65535"),
            ("udp:h:x", "not a port number"),
            ("udp:h:+1", "not a port number"),
            ("udp:h:", "not a port number"),
            ("foo:h:1", "too many colons"),
            ("sctp:h:1", "not supported"),
            ("[::1", "closing bracket"),
            ("[zz]:1", "not an IPv6"),
            ("[::1]x", "expected ':'"),
            ("a b", "not a host name"),
        ] {
            let error = Address::parse(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
