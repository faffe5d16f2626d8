//! One element of a Via header.

use std::net::{IpAddr, SocketAddr};

use crate::message::find::find;
use crate::message::lexical::{find_unquoted, is_lws, is_token, number, push_number, trim};
use crate::message::uri::{host_ip, host_port, split_at_byte};
use crate::message::{Param, Params};

/// `SIP/2.0/UDP host:port;branch=…` taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Via<'a> {
    /// The whole element.
    pub raw: &'a [u8],
    /// The protocol name, `SIP`.
    pub protocol: &'a [u8],
    /// The protocol version, `2.0`.
    pub version: &'a [u8],
    /// The transport as written, such as `UDP`.
    pub transport: &'a [u8],
    /// The host of sent-by with the brackets of an IPv6 address.
    pub host: &'a [u8],
    /// The port of sent-by, `None` when it is left out.
    pub port: Option<u16>,
    /// The parameters.
    pub params: Params<'a>,
}

/// Where a request came from, for what a server writes into the topmost Via.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ViaSource {
    /// The source address and port of the request.
    pub addr: SocketAddr,
    /// Fill `rport` even when the sender did not ask for it (`force_rport()`).
    pub force_rport: bool,
}

impl<'a> Via<'a> {
    /// Takes an element apart; `None` when protocol, transport or sent-by are missing or unreadable.
    pub fn parse(raw: &'a [u8]) -> Option<Via<'a>> {
        let raw = trim(raw);
        let (protocol, rest) = split_at_byte(raw, find(b'/', raw)?);
        let (version, rest) = split_at_byte(rest, find(b'/', rest)?);
        let rest = trim(rest);
        let end = rest.iter().position(|b| is_lws(*b))?;
        let (transport, rest) = rest.split_at(end);
        let (sent_by, params) = rest.split_at(find(b';', rest).unwrap_or(rest.len()));
        let (host, port) = host_port(sent_by)?;
        let (protocol, version) = (trim(protocol), trim(version));
        [protocol, version, transport].into_iter().all(is_token).then_some(Via {
            raw,
            protocol,
            version,
            transport,
            host,
            port,
            params: Params::new(params),
        })
    }

    /// Whether the protocol is SIP/2.0, or SIP of the other version that the request line names, and no parameter is empty
    /// (RFC 3261 25.1).
    pub(super) fn is_sound(&self, version: &[u8]) -> bool {
        let known = self.version == b"2.0" || self.version == version;
        self.protocol.eq_ignore_ascii_case(b"SIP") && known && !self.params.has_empty()
    }

    /// The first parameter of that name.
    pub fn param(&self, name: &[u8]) -> Option<Param<'a>> {
        self.params.get(name)
    }

    /// The `branch` parameter, `None` when it is absent or empty.
    pub fn branch(&self) -> Option<&'a [u8]> {
        self.params.value(b"branch").filter(|branch| !branch.is_empty())
    }

    /// The `received` parameter as written.
    pub fn received(&self) -> Option<&'a [u8]> {
        self.params.value(b"received")
    }

    /// The `received` parameter as an address, brackets or not (RFC 5118 4.5).
    pub fn received_ip(&self) -> Option<IpAddr> {
        host_ip(self.received()?)
    }

    /// Whether there is an `rport` parameter, filled or not (RFC 3581).
    pub fn has_rport(&self) -> bool {
        self.params.contains(b"rport")
    }

    /// The port in the `rport` parameter.
    pub fn rport(&self) -> Option<u16> {
        u16::try_from(number(self.params.value(b"rport")?)?).ok()
    }

    /// The `maddr` parameter.
    pub fn maddr(&self) -> Option<&'a [u8]> {
        self.params.value(b"maddr")
    }

    /// The host of sent-by as an address, `None` when it is a name.
    pub fn host_ip(&self) -> Option<IpAddr> {
        host_ip(self.host)
    }

    /// Appends this element as a server that got it from `source` has to write it (RFC 3261 18.2.1, RFC 3581 4).
    ///
    /// What the sender claimed itself in `received` and `rport` is not kept: replies go where the request came from.
    pub(super) fn write_stamped(&self, source: ViaSource, out: &mut Vec<u8>) {
        let ip = source.addr.ip().to_canonical();
        let fill_rport = source.force_rport || self.has_rport();
        let (head, _) = self.raw.split_at(self.raw.len() - self.params.raw().len());
        // White space, folds too, is written only before something: at the end of a line it would be a line of blanks.
        let (head, mut space) = split_space(head);
        out.extend_from_slice(head);
        // Before the sender's parameters, so that an open quote among these cannot swallow ours.
        if fill_rport {
            out.extend_from_slice(std::mem::take(&mut space));
            out.extend_from_slice(b";rport=");
            push_number(out, u64::from(source.addr.port()));
        }
        if fill_rport || self.host_ip().map(|ip| ip.to_canonical()) != Some(ip) {
            out.extend_from_slice(std::mem::take(&mut space));
            out.extend_from_slice(b";received=");
            push_ip(ip, out);
        }
        for param in self.params {
            let ours = param.name.eq_ignore_ascii_case(b"received") || param.name.eq_ignore_ascii_case(b"rport");
            if !ours {
                let (param, behind) = split_space(param.raw);
                out.extend_from_slice(space);
                out.extend_from_slice(param);
                space = behind;
            }
        }
    }
}

/// The text without the white space that it ends with, and that.
fn split_space(text: &[u8]) -> (&[u8], &[u8]) {
    text.split_at(text.iter().rposition(|b| !is_lws(*b)).map_or(0, |last| last + 1))
}

/// Without brackets: RFC 3261's `via-received` has none.
fn push_ip(ip: IpAddr, out: &mut Vec<u8>) {
    use std::io::Write as _;
    match ip {
        IpAddr::V4(ip) => {
            for (i, octet) in ip.octets().into_iter().enumerate() {
                if i > 0 {
                    out.push(b'.');
                }
                push_number(out, octet.into());
            }
        }
        // Writing to a vector cannot fail.
        IpAddr::V6(ip) => drop(write!(out, "{ip}")),
    }
}

/// Whether the text can be one Via element written by us: one line, readable, and no second element hides in it.
pub(super) fn is_single_via(text: &[u8]) -> bool {
    Via::parse(text).is_some()
        && find_unquoted(text, b',').is_none()
        && !text.iter().any(|b| matches!(b, b'\r' | b'\n' | 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamped(via: &str, source: &str, force: bool) -> String {
        let mut out = Vec::new();
        Via::parse(via.as_bytes())
            .unwrap()
            .write_stamped(ViaSource { addr: source.parse().unwrap(), force_rport: force }, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_spaced_out_via_comes_apart() {
        let via =
            Via::parse(b"SIP  / 2.0\r\n / UDP\t 192.0.2.2 : 5061 ; branch = z9hG4bKx;rport; received=\"x\"").unwrap();
        assert_eq!((via.protocol, via.version, via.transport), (&b"SIP"[..], &b"2.0"[..], &b"UDP"[..]));
        assert_eq!((via.host, via.port), (&b"192.0.2.2"[..], Some(5061)));
        assert_eq!(via.branch(), Some(&b"z9hG4bKx"[..]));
        assert!(via.has_rport());
        assert_eq!(via.rport(), None);
        assert_eq!(via.maddr(), None);
    }

    #[test]
    fn ipv6_sent_by_and_received() {
        let via = Via::parse(b"SIP/2.0/TLS [2001:db8::9]:5061;received=[2001:db8::1];rport=99;maddr=h").unwrap();
        assert_eq!((via.host, via.port), (&b"[2001:db8::9]"[..], Some(5061)));
        assert_eq!(via.received_ip(), Some("2001:db8::1".parse().unwrap()));
        assert_eq!(via.rport(), Some(99));
        assert_eq!(via.maddr(), Some(&b"h"[..]));
    }

    #[test]
    fn unreadable_elements_are_none() {
        for text in [
            "",
            "SIP/2.0/UDP",
            "SIP/2.0/UDP ",
            "SIP/2.0 h",
            "SIP/2.0/ h",
            "/2.0/UDP h",
            "SIP/2.0/UDP h:x",
            "SIP/2.0/UDP ;branch=1",
            "SIP/2.0/UDP h h2",
        ] {
            assert_eq!(Via::parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn received_is_added_when_sent_by_is_not_the_source() {
        assert_eq!(stamped("SIP/2.0/UDP h;branch=1", "1.2.3.4:9", false), "SIP/2.0/UDP h;received=1.2.3.4;branch=1");
        assert_eq!(stamped("SIP/2.0/UDP 1.2.3.4;branch=1", "1.2.3.4:9", false), "SIP/2.0/UDP 1.2.3.4;branch=1");
        assert_eq!(stamped("SIP/2.0/UDP 1.2.3.4", "[::ffff:1.2.3.4]:9", false), "SIP/2.0/UDP 1.2.3.4");
        assert_eq!(stamped("SIP/2.0/UDP [::2]", "[::1]:9", false), "SIP/2.0/UDP [::2];received=::1");
    }

    #[test]
    fn rport_is_filled_when_present_or_forced_and_then_received_too() {
        assert_eq!(
            stamped("SIP/2.0/UDP 1.2.3.4 ;rport;branch=1", "1.2.3.4:9", false),
            "SIP/2.0/UDP 1.2.3.4 ;rport=9;received=1.2.3.4;branch=1"
        );
        assert_eq!(
            stamped("SIP/2.0/UDP 1.2.3.4;branch=1", "1.2.3.4:9", true),
            "SIP/2.0/UDP 1.2.3.4;rport=9;received=1.2.3.4;branch=1"
        );
    }

    #[test]
    fn a_fold_before_what_goes_goes_with_it() {
        for (via, expected) in [
            ("SIP/2.0/UDP 1.2.3.4;branch=1\r\n ;rport", "SIP/2.0/UDP 1.2.3.4;rport=9;received=1.2.3.4;branch=1"),
            ("SIP/2.0/UDP 1.2.3.4;branch=1\r\n ;received=6.6.6.6", "SIP/2.0/UDP 1.2.3.4;branch=1"),
            ("SIP/2.0/UDP 1.2.3.4\r\n ;received=6.6.6.6", "SIP/2.0/UDP 1.2.3.4"),
            ("SIP/2.0/UDP 1.2.3.4\r\n ;received=x\r\n\t;a;b", "SIP/2.0/UDP 1.2.3.4\r\n ;a;b"),
            ("SIP/2.0/UDP h\r\n ;a\r\n ;received=x\r\n\t;b", "SIP/2.0/UDP h\r\n ;received=1.2.3.4;a\r\n ;b"),
            ("SIP/2.0/UDP 1.2.3.4\r\n ;rport\r\n ;a", "SIP/2.0/UDP 1.2.3.4\r\n ;rport=9;received=1.2.3.4;a"),
        ] {
            assert_eq!(stamped(via, "1.2.3.4:9", false), expected, "{via:?}");
        }
    }

    #[test]
    fn what_the_sender_claims_is_replaced() {
        assert_eq!(
            stamped("SIP/2.0/UDP 1.2.3.4;received=6.6.6.6;rport=1;x;rport=2", "1.2.3.4:9", false),
            "SIP/2.0/UDP 1.2.3.4;rport=9;received=1.2.3.4;x"
        );
    }
}
