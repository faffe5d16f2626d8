//! What the proxy is called: its sockets and aliases, against which "is it for me" is decided.

use std::net::{IpAddr, SocketAddr};

use crate::message::{Scheme, Uri};

/// A socket the proxy listens on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// The bound address, with the port the system gave.
    pub addr: SocketAddr,
    /// The address as it appears in Via and Record-Route: `host:port`.
    pub name: String,
}

impl Listener {
    /// Describes a bound UDP socket.
    #[must_use]
    pub fn new(addr: SocketAddr) -> Listener {
        // The scope of a link-local address means something on this machine only (RFC 4007 11).
        let name = SocketAddr::new(addr.ip(), addr.port()).to_string();
        Listener { addr, name }
    }
}

/// The names under which the proxy is addressed.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    listeners: Vec<Listener>,
    aliases: Vec<(String, Option<u16>)>,
}

impl Identity {
    /// Takes the sockets and the aliases (host in lower case, and a port if only that one counts).
    #[must_use]
    pub fn new(listeners: Vec<Listener>, aliases: Vec<(String, Option<u16>)>) -> Identity {
        let aliases = aliases.into_iter().map(|(host, port)| (host.to_ascii_lowercase(), port)).collect();
        Identity { listeners, aliases }
    }

    /// Returns the sockets; their positions are what [`MessageState::socket`](crate::proxy::MessageState) means.
    #[must_use]
    pub fn listeners(&self) -> &[Listener] {
        &self.listeners
    }

    /// Returns whether a host is ours; a port, if given, must match too.
    ///
    /// The host may be an address (IPv6 with or without brackets) or a name.
    #[must_use]
    pub fn is_me(&self, host: &[u8], port: Option<u16>) -> bool {
        let Ok(host) = std::str::from_utf8(host) else { return false };
        let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        if let Ok(ip) = bare.parse::<IpAddr>()
            && self.listeners.iter().any(|l| l.addr.ip() == ip && port.is_none_or(|p| p == l.addr.port()))
        {
            return true;
        }
        self.aliases.iter().any(|(alias, alias_port)| {
            alias.eq_ignore_ascii_case(bare) && (port.is_none() || alias_port.is_none() || *alias_port == port)
        })
    }

    /// Returns whether a URI's host is ours, and its port if it names one.
    #[must_use]
    pub fn is_my_uri(&self, uri: &Uri<'_>) -> bool {
        self.is_me(uri.host, uri.port)
    }

    /// Returns whether a Route is ours: its host, and its port, which is 5060 or 5061 where it names none (RFC 3261
    /// §19.1.2).
    ///
    /// A GRUU never is: it names somebody's phone (RFC 5627).
    #[must_use]
    pub fn is_my_route(&self, uri: &Uri<'_>) -> bool {
        let secure = || uri.scheme == Scheme::Sips || uri.transport().is_some_and(|t| t.eq_ignore_ascii_case(b"tls"));
        let port = uri.port.unwrap_or_else(|| if secure() { 5061 } else { 5060 });
        uri.is_sip() && !uri.params.contains(b"gr") && self.is_me(uri.host, Some(port))
    }

    /// Returns the socket to reach an address from: the preferred one if it has the same family, else the first.
    #[must_use]
    pub fn socket_for(&self, dest: SocketAddr, preferred: usize) -> Option<usize> {
        let fits = |listener: &Listener| listener.addr.is_ipv4() == dest.is_ipv4();
        if self.listeners.get(preferred).is_some_and(fits) {
            return Some(preferred);
        }
        self.listeners.iter().position(fits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> Identity {
        let listeners = ["127.0.0.1:5080", "[::1]:5080"].map(|a| Listener::new(a.parse().unwrap()));
        Identity::new(listeners.into(), vec![("Example.org".into(), None), ("p.test".into(), Some(5070))])
    }

    #[test]
    fn a_scope_is_no_part_of_the_name() {
        for (address, name) in [("[fe80::1%2]:5060", "[fe80::1]:5060"), ("127.0.0.1:5060", "127.0.0.1:5060")] {
            assert_eq!(Listener::new(address.parse().unwrap()).name, name);
        }
    }

    #[test]
    fn hosts_are_mine_by_address_or_alias_and_port() {
        let me = identity();
        for (host, port, expected) in [
            ("127.0.0.1", None, true),
            ("127.0.0.1", Some(5080), true),
            ("127.0.0.1", Some(5081), false),
            ("[::1]", Some(5080), true),
            ("::1", None, true),
            ("example.ORG", Some(9), true),
            ("p.test", Some(5070), true),
            ("p.test", Some(5060), false),
            ("p.test", None, true),
            ("127.0.0.2", None, false),
            ("other.org", None, false),
        ] {
            assert_eq!(me.is_me(host.as_bytes(), port), expected, "{host} {port:?}");
        }
    }

    #[test]
    fn a_route_without_a_port_is_that_of_the_default_one() {
        let listeners = ["127.0.0.1:5060", "127.0.0.2:5080", "127.0.0.3:5061"];
        let listeners = listeners.map(|address| Listener::new(address.parse().unwrap()));
        let me = Identity::new(listeners.into(), vec![("example.org".into(), None), ("p.test".into(), Some(5070))]);
        for (uri, any_port, route) in [
            ("sip:127.0.0.1", true, true),
            ("sip:127.0.0.1:5060", true, true),
            ("sip:127.0.0.1:5080", false, false),
            ("sip:anybody@127.0.0.1;transport=tcp", true, true),
            ("sips:127.0.0.1", true, false),
            ("sip:127.0.0.1;transport=TLS", true, false),
            ("sip:127.0.0.2", true, false),
            ("sip:127.0.0.2:5080", true, true),
            ("sips:127.0.0.3", true, true),
            ("sip:127.0.0.3;transport=tls", true, true),
            ("sip:127.0.0.3", true, false),
            ("sip:example.org", true, true),
            ("sip:example.org:9", true, true),
            ("sip:p.test", true, false),
            ("sip:p.test:5070", true, true),
            ("sip:127.0.0.1;gr=urn:uuid:1", true, false),
            ("sip:127.0.0.1;gr", true, false),
        ] {
            let uri = Uri::parse(uri.as_bytes()).unwrap();
            assert_eq!((me.is_my_uri(&uri), me.is_my_route(&uri)), (any_port, route), "{uri:?}");
        }
    }

    #[test]
    fn a_socket_of_the_destinations_family_is_chosen() {
        let me = identity();
        assert_eq!(me.socket_for("127.0.0.9:5060".parse().unwrap(), 1), Some(0));
        assert_eq!(me.socket_for("[::9]:5060".parse().unwrap(), 1), Some(1));
        assert_eq!(Identity::default().socket_for("[::9]:5060".parse().unwrap(), 0), None);
    }
}
