//! Where a URI leads on the network.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::message::{Scheme, Uri};

/// The port of a `sip:` URI that gives none (RFC 3261 §19.1.2).
const DEFAULT_PORT: u16 = 5060;

/// Why a URI does not lead anywhere this proxy can send to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DestinationError {
    /// It is not a SIP URI.
    #[error("{0} is not a sip: URI")]
    NotSip(String),
    /// Its host is a name; this proxy does not resolve names yet.
    #[error("host {0} is a name, and this proxy sends to addresses only")]
    Name(String),
    /// It asks for another transport than UDP.
    #[error("transport {0} is not available, only udp")]
    Transport(String),
    /// It is no address of one other host: the unspecified one, a broadcast or a multicast address.
    #[error("{0} is no address of one other host")]
    Nobody(SocketAddr),
    /// None of the proxy's sockets has the address's family.
    #[error("no listening socket to reach {0}")]
    NoSocket(SocketAddr),
}

/// Returns the address that a SIP URI leads to; `maddr` overrides the host.
///
/// # Errors
/// Says what about the URI this proxy cannot follow.
pub fn destination(uri: &[u8]) -> Result<SocketAddr, DestinationError> {
    let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
    let parsed = Uri::parse(uri).ok_or_else(|| DestinationError::NotSip(text(uri)))?;
    if !parsed.is_sip() {
        return Err(DestinationError::NotSip(text(uri)));
    }
    if let Some(transport) = parsed.transport()
        && !transport.eq_ignore_ascii_case(b"udp")
    {
        return Err(DestinationError::Transport(text(transport)));
    }
    if parsed.scheme == Scheme::Sips {
        return Err(DestinationError::Transport("tls (sips)".to_owned()));
    }
    let maddr = parsed.param(b"maddr").and_then(|param| param.value);
    let host = maddr.unwrap_or(parsed.host);
    let ip = address(host).ok_or_else(|| DestinationError::Name(text(host)))?;
    // Port 0 is none, as in Kamailio.
    let dest = SocketAddr::new(ip, parsed.port.filter(|port| *port != 0).unwrap_or(DEFAULT_PORT));
    if is_one_host(ip) { Ok(dest) } else { Err(DestinationError::Nobody(dest)) }
}

/// Whether an address can be one other host's: the unspecified one is this host, a message to a broadcast or multicast
/// address would be answered by many.
pub(crate) fn is_one_host(ip: IpAddr) -> bool {
    let v4 = |ip: Ipv4Addr| ip.octets()[0] != 0 && !ip.is_broadcast() && !ip.is_multicast();
    match ip {
        IpAddr::V4(ip) => v4(ip),
        IpAddr::V6(ip) => !ip.is_unspecified() && !ip.is_multicast() && ip.to_ipv4_mapped().is_none_or(v4),
    }
}

fn address(host: &[u8]) -> Option<IpAddr> {
    let bare = host.strip_prefix(b"[").and_then(|h| h.strip_suffix(b"]")).unwrap_or(host);
    std::str::from_utf8(bare).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_leads_to_its_address_or_says_why_not() {
        let to = |uri: &str| destination(uri.as_bytes());
        assert_eq!(to("sip:a@127.0.0.1").unwrap(), "127.0.0.1:5060".parse().unwrap());
        assert_eq!(to("sip:a@[::1]:9;transport=UDP").unwrap(), "[::1]:9".parse().unwrap());
        assert_eq!(to("sip:a@h.test;maddr=127.0.0.2").unwrap(), "127.0.0.2:5060".parse().unwrap());
        assert_eq!(to("sip:a@127.0.0.1:0").unwrap(), "127.0.0.1:5060".parse().unwrap());
        for nobody in [
            "0.0.0.0",
            "0.1.2.3",
            "255.255.255.255",
            "224.0.1.75",
            "239.255.255.250",
            "[::]",
            "[ff02::1]",
            "[::ffff:0.0.0.0]",
            "h.test;maddr=224.0.1.75",
        ] {
            assert!(matches!(to(&format!("sip:a@{nobody}")), Err(DestinationError::Nobody(_))), "{nobody}");
        }
        assert!(matches!(to("sip:a@h.test"), Err(DestinationError::Name(_))));
        assert!(matches!(to("sip:a@127.0.0.1;transport=tcp"), Err(DestinationError::Transport(_))));
        assert!(matches!(to("sips:a@127.0.0.1"), Err(DestinationError::Transport(_))));
        assert!(matches!(to("tel:+1"), Err(DestinationError::NotSip(_))));
        assert!(matches!(to("nonsense"), Err(DestinationError::NotSip(_))));
    }
}
