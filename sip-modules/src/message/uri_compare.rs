//! Equality of URIs after RFC 3261 19.1.4 and RFC 3966 4.

use crate::message::find::find;
use crate::message::uri::{ipv6, split_at_byte};
use crate::message::{Param, Params, Scheme, Uri};

impl Uri<'_> {
    /// Whether two URIs are equivalent (RFC 3261 19.1.4).
    ///
    /// A left-out port differs from 5060, a left-out `transport` from `udp`. Two `tel` URIs are compared by RFC 3966 4.
    /// URIs of other schemes are compared as bytes.
    pub fn equivalent(&self, other: &Uri<'_>) -> bool {
        match (self.scheme, other.scheme) {
            (Scheme::Sip, Scheme::Sip) | (Scheme::Sips, Scheme::Sips) => {
                same_option(self.user, other.user)
                    && same_option(self.password, other.password)
                    && same_host(self.host, other.host)
                    && self.port == other.port
                    && sip_params_agree(self.params, other.params)
                    && sip_params_agree(other.params, self.params)
                    && same_headers(self.headers, other.headers)
            }
            (Scheme::Tel, Scheme::Tel) => {
                same_number(self.user, other.user)
                    && covers(self.params, other.params)
                    && covers(other.params, self.params)
            }
            (Scheme::Other(one), Scheme::Other(two)) => {
                one.eq_ignore_ascii_case(two) && self.raw.get(one.len()..) == other.raw.get(two.len()..)
            }
            _ => false,
        }
    }
}

/// IPv6 addresses are compared as addresses (RFC 5954 4.2), names without regard to case.
fn same_host(one: &[u8], two: &[u8]) -> bool {
    one.eq_ignore_ascii_case(two) || ipv6(one).is_some_and(|address| ipv6(two) == Some(address))
}

/// Parameters that must match even when only one of the URIs has them.
const STRICT: [&[u8]; 5] = [b"transport", b"user", b"ttl", b"method", b"maddr"];

/// Every parameter of `one` has its equal in `two`, or is absent there and not one of the strict ones.
fn sip_params_agree(one: Params<'_>, two: Params<'_>) -> bool {
    one.iter().all(|param| {
        let mut named = with_name(two, param.name).peekable();
        match named.peek() {
            Some(_) => named.any(|found| same_value(param, found)),
            None => !STRICT.iter().any(|name| param.name.eq_ignore_ascii_case(name)),
        }
    })
}

/// Every parameter of `one` has its equal in `two`.
fn covers(one: Params<'_>, two: Params<'_>) -> bool {
    one.iter().all(|param| with_name(two, param.name).any(|found| same_value(param, found)))
}

/// All parameters of that name: nothing stops a peer from repeating one.
fn with_name<'a>(params: Params<'a>, name: &'a [u8]) -> impl Iterator<Item = Param<'a>> {
    params.iter().filter(move |param| same_ignoring_case(param.name, name))
}

fn same_value(one: Param<'_>, two: Param<'_>) -> bool {
    match (one.value, two.value) {
        (Some(one), Some(two)) => same_ignoring_case(one, two),
        (None, None) => true,
        _ => false,
    }
}

/// Headers are equal as sets; an absent header part is an empty one.
fn same_headers(one: Option<&[u8]>, two: Option<&[u8]>) -> bool {
    let (one, two) = (one.unwrap_or_default(), two.unwrap_or_default());
    headers_within(one, two) && headers_within(two, one)
}

fn headers_within(one: &[u8], two: &[u8]) -> bool {
    let fields = |text| <[u8]>::split(text, |b| *b == b'&').filter(|field: &&[u8]| !field.is_empty());
    let parts = |field| split_at_byte(field, find(b'=', field).unwrap_or(field.len()));
    fields(one).all(|field| {
        let (name, value) = parts(field);
        fields(two).any(|other| {
            let (other_name, other_value) = parts(other);
            same_ignoring_case(name, other_name) && same(value, other_value)
        })
    })
}

/// Numbers are compared without visual separators and without regard to case (hex digits).
fn same_number(one: Option<&[u8]>, two: Option<&[u8]>) -> bool {
    let digits = |text: Option<&'_ [u8]>| {
        text.unwrap_or_default()
            .iter()
            .filter(|b| !b"-.()".contains(b))
            .map(u8::to_ascii_lowercase)
            .collect::<Vec<u8>>()
    };
    digits(one) == digits(two)
}

fn same_option(one: Option<&[u8]>, two: Option<&[u8]>) -> bool {
    match (one, two) {
        (Some(one), Some(two)) => same(one, two),
        (None, None) => true,
        _ => false,
    }
}

fn same(one: &[u8], two: &[u8]) -> bool {
    Decoded { rest: one }.eq(Decoded { rest: two })
}

fn same_ignoring_case(one: &[u8], two: &[u8]) -> bool {
    let lower = |(byte, reserved): (u8, bool)| (byte.to_ascii_lowercase(), reserved);
    Decoded { rest: one }.map(lower).eq(Decoded { rest: two }.map(lower))
}

/// Characters with `%HH` decoded; the flag tells an escaped reserved character from a bare one, which differ.
pub(super) struct Decoded<'a> {
    pub(super) rest: &'a [u8],
}

impl Iterator for Decoded<'_> {
    type Item = (u8, bool);

    fn next(&mut self) -> Option<(u8, bool)> {
        if let [b'%', high, low, rest @ ..] = self.rest
            && let (Some(high), Some(low)) = (hex(*high), hex(*low))
        {
            self.rest = rest;
            let byte = high * 16 + low;
            return Some((byte, b";/?:@&=+$,".contains(&byte)));
        }
        let (byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some((*byte, false))
    }
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|n| u8::try_from(n).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn equivalent(one: &str, two: &str) -> bool {
        let one = Uri::parse(one.as_bytes()).unwrap();
        let two = Uri::parse(two.as_bytes()).unwrap();
        let there = one.equivalent(&two);
        assert_eq!(there, two.equivalent(&one), "not symmetric");
        there
    }

    #[test]
    fn equivalent_uris() {
        for (one, two) in [
            ("sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtLanTa.CoM;Transport=tcp"),
            ("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"),
            ("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;newparam=5"),
            ("sip:b.com;method=REGISTER?to=sip:j%40b.com", "sip:b.com;method=REGISTER?to=sip:j%40b.com"),
            ("sip:a@b?subject=p&priority=u", "SIP:a@B?priority=u&Subject=p"),
            ("tel:+1-201-555-0123", "tel:+12015550123"),
            ("sip:a;x=1;x=2", "sip:a;x=1;x=2"),
            ("urn:service:sos", "URN:service:sos"),
            ("sip:a@[2001:db8::1]", "sip:a@[2001:DB8:0:0::1]"),
        ] {
            assert!(equivalent(one, two), "{one} {two}");
        }
    }

    #[test]
    fn different_uris() {
        for (one, two) in [
            ("SIP:ALICE@b;transport=udp", "sip:alice@b;transport=UDP"),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp"),
            ("sip:bob@b:6000;transport=tcp", "sip:bob@b"),
            ("sip:carol@b", "sip:carol@b?Subject=next"),
            ("sip:bob@phone21.b", "sip:bob@192.0.2.4"),
            ("sip:carol@b;security=on", "sip:carol@b;security=off"),
            ("sip:a@b", "sips:a@b"),
            ("sip:a%3Bb@c", "sip:a;b@c"),
            ("sip:a@b", "sip:b"),
            ("tel:+1;phone-context=a", "tel:+1"),
            ("urn:a", "urn:b"),
            ("sip:a@[::1]", "sip:a@[::2]"),
            ("sip:a@[::ffff:192.0.2.1]", "sip:a@192.0.2.1"),
        ] {
            assert!(!equivalent(one, two), "{one} {two}");
        }
    }
}
