//! What the proxy is called: its sockets and aliases, against which "is it for me" is decided.

use std::net::{IpAddr, SocketAddr};

use crate::message::Uri;

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
        Listener { addr, name: addr.to_string() }
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

    /// Returns whether a URI's host and port are ours; a port that is left out is 5060 or 5061 by the scheme.
    #[must_use]
    pub fn is_my_uri(&self, uri: &Uri<'_>) -> bool {
        // A URI without a port names the default one only where the host is an address we listen on; an alias
        // without a port stands for all of them.
        match uri.port {
            Some(port) => self.is_me(uri.host, Some(port)),
            None => self.is_me(uri.host, Some(5060)) || self.is_me(uri.host, None),
        }
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
    fn a_socket_of_the_destinations_family_is_chosen() {
        let me = identity();
        assert_eq!(me.socket_for("127.0.0.9:5060".parse().unwrap(), 1), Some(0));
        assert_eq!(me.socket_for("[::9]:5060".parse().unwrap(), 1), Some(1));
        assert_eq!(Identity::default().socket_for("[::9]:5060".parse().unwrap(), 0), None);
    }
}
