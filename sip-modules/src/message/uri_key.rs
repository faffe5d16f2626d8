//! URIs in one spelling, so that equal ones have equal bytes.

use std::io::Write as _;
use std::net::Ipv6Addr;

use crate::message::find::find;
use crate::message::lexical::{push_number, trim};
use crate::message::uri::{ipv6, split_at_byte};
use crate::message::uri_compare::Decoded;
use crate::message::{Params, Scheme, Uri};

impl Uri<'_> {
    /// Appends the URI in the one spelling that all URIs share which mean the same and have the same parameters.
    ///
    /// URIs with the same key are [`equivalent`](Self::equivalent). Equivalent ones have the same key, unless one of them
    /// has a parameter that the other lacks: RFC 3261 19.1.4 overlooks such a one, but then `sip:a@h` equals both
    /// `sip:a@h;x=1` and `sip:a@h;x=2`, which differ, and no key can say that. A URI with quotes in it is its own key.
    pub fn push_key(&self, out: &mut Vec<u8>) {
        if find(b'"', self.raw).is_some() {
            out.extend_from_slice(self.raw);
            return;
        }
        out.reserve(self.raw.len());
        match self.scheme {
            Scheme::Sip => out.extend_from_slice(b"sip:"),
            Scheme::Sips => out.extend_from_slice(b"sips:"),
            Scheme::Tel => {
                out.extend_from_slice(b"tel:");
                let number = self.user.unwrap_or_default().iter();
                out.extend(number.filter(|byte| !b"-.()".contains(byte)).map(u8::to_ascii_lowercase));
                return push_params(self.params, out);
            }
            Scheme::Other(name) => {
                out.extend(name.iter().map(u8::to_ascii_lowercase));
                out.extend_from_slice(self.raw.get(name.len()..).unwrap_or_default());
                return;
            }
        }
        push_decoded(self.user.unwrap_or_default(), u8::clone, out);
        if let Some(password) = self.password {
            out.push(b':');
            push_decoded(password, u8::clone, out);
        }
        if self.user.is_some() || self.password.is_some() {
            out.push(b'@');
        }
        push_host(self.host, out);
        if let Some(port) = self.port {
            out.push(b':');
            push_number(out, port.into());
        }
        push_params(self.params, out);
        push_headers(self.headers.unwrap_or_default(), out);
    }
}

/// An IPv6 address in its shortest form (RFC 5954 4.2), anything else in lower case.
fn push_host(host: &[u8], out: &mut Vec<u8>) {
    match ipv6(host) {
        Some(address) => push_ipv6(address, out),
        None => out.extend(host.iter().map(u8::to_ascii_lowercase)),
    }
}

fn push_ipv6(address: Ipv6Addr, out: &mut Vec<u8>) {
    // Writing to a vector does not fail.
    let _ = write!(out, "[{address}]");
}

/// Names and values know no letter case and stand in any order.
fn push_params(params: Params<'_>, out: &mut Vec<u8>) {
    let mut parts = Parts::with_capacity(params.raw().len());
    let has_blanks = params.raw().iter().any(|byte| *byte <= b' ');
    let trim = |text| if has_blanks { trim(text) } else { text };
    // There are no quotes, so each semicolon separates.
    for param in params.raw().split(|byte| *byte == b';') {
        let param = trim(param);
        if param.is_empty() {
            continue;
        }
        parts.add(|text| match param.iter().position(|byte| *byte == b'=') {
            Some(equals) => {
                let (name, value) = split_at_byte(param, equals);
                push_decoded(trim(name), u8::to_ascii_lowercase, text);
                text.push(b'=');
                push_decoded(trim(value), u8::to_ascii_lowercase, text);
            }
            None => push_decoded(param, u8::to_ascii_lowercase, text),
        });
    }
    parts.write(b";", b";", out);
}

/// Names know no letter case, values do; the order does not count.
fn push_headers(headers: &[u8], out: &mut Vec<u8>) {
    let mut parts = Parts::with_capacity(headers.len());
    for field in headers.split(|byte| *byte == b'&').filter(|field| !field.is_empty()) {
        let (name, value) = split_at_byte(field, find(b'=', field).unwrap_or(field.len()));
        parts.add(|text| {
            push_decoded(name, u8::to_ascii_lowercase, text);
            text.push(b'=');
            push_decoded(value, u8::clone, text);
        });
    }
    parts.write(b"?", b"&", out);
}

/// The first bytes of a part, which decide most comparisons, and where it begins and ends.
type Place = (u64, u32, u32);

/// Texts one after the other, to be sorted.
struct Parts {
    text: Vec<u8>,
    places: Vec<Place>,
}

impl Parts {
    /// Room for the parts of a text of that length.
    fn with_capacity(length: usize) -> Parts {
        let parts = if length > 0 { length / 8 + 1 } else { 0 };
        Parts { text: Vec::with_capacity(length), places: Vec::with_capacity(parts) }
    }

    fn add(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.text.len();
        write(&mut self.text);
        let part = self.text.get(start..).unwrap_or_default();
        let head = match part.first_chunk() {
            Some(head) => u64::from_be_bytes(*head),
            None => part.iter().fold(0, |head, byte| head << 8 | u64::from(*byte)) << (8 * (8 - part.len())).min(63),
        };
        // A URI is part of a message, so it is shorter than 4 GiB, escapes included.
        self.places.push((head, start as u32, self.text.len() as u32));
    }

    fn write(self, first: &[u8], further: &[u8], out: &mut Vec<u8>) {
        let Parts { text, mut places } = self;
        let part = |&(_, start, end): &Place| text.get(start as usize..end as usize).unwrap_or_default();
        // No part has a NUL in it, so parts with equal heads differ behind these if at all.
        let tail = |place: &Place| part(place).get(8..).unwrap_or_default();
        places.sort_unstable_by(|one, other| one.0.cmp(&other.0).then_with(|| tail(one).cmp(tail(other))));
        places.dedup_by(|one, other| one.0 == other.0 && tail(one) == tail(other));
        let mut separator = first;
        for place in &places {
            out.extend_from_slice(separator);
            out.extend_from_slice(part(place));
            separator = further;
        }
    }
}

/// Appends text without the escapes that change nothing.
fn push_decoded(text: &[u8], case: impl Fn(&u8) -> u8, out: &mut Vec<u8>) {
    // What would end the part, or be taken for an escape, stays escaped.
    let is_special = |byte: u8| byte <= b' ' || matches!(byte, b'%' | b'"' | 0x7f);
    if !text.iter().any(|byte| is_special(*byte)) {
        out.extend(text.iter().map(case));
        return;
    }
    for (byte, reserved) in (Decoded { rest: text }) {
        let byte = case(&byte);
        if reserved || is_special(byte) {
            let digit = |value: u8| char::from_digit(u32::from(value), 16).map_or(b'0', |digit| digit as u8);
            out.extend_from_slice(&[b'%', digit(byte >> 4), digit(byte & 15)]);
        } else {
            out.push(byte);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(text: &str) -> String {
        let mut out = Vec::new();
        Uri::parse(text.as_bytes()).unwrap().push_key(&mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn an_ordinary_uri_is_its_own_key() {
        for text in [
            "sip:alice@192.0.2.4:5062",
            "sips:h",
            "sip:a:b@h;lr;transport=tcp;x=",
            "sip:a@[2001:db8::1]:5070?a=1&b=2",
            "tel:+12015550123;phone-context=a",
            "urn:service:sos",
            "sip:a;b@c",
            "sip:a%3bb%25@c",
        ] {
            assert_eq!(key(text), text);
        }
    }

    #[test]
    fn what_means_the_same_has_one_key() {
        for (one, two) in [
            ("sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtLanTa.CoM;Transport=tcp"),
            ("sip:a@b?subject=p&priority=u", "SIP:a@B?priority=u&Subject=p"),
            ("sip:a@h;x=1;y;z=%32", "sip:a@h;Y;z=2;X=1;x=1"),
            ("sip:a@[2001:db8::1]:5070", "sip:a@[2001:DB8:0:0::1]:5070"),
            ("sip:a@[::ffff:192.0.2.1]", "sip:a@[::FFFF:c000:201]"),
            ("sip:a@h?", "sip:a@h"),
            ("sip:a@h:", "sip:a@h"),
            ("tel:+1-201-555-0123", "tel:+12015550123"),
            ("urn:service:sos", "URN:service:sos"),
        ] {
            assert_eq!(key(one), key(two), "{one} {two}");
        }
    }

    #[test]
    fn what_differs_has_another_key() {
        for (one, two) in [
            ("SIP:ALICE@b", "sip:alice@b"),
            ("sip:a@h", "sip:a@h:5060"),
            ("sip:a@h", "sips:a@h"),
            ("sip:a@h", "sip:a@h;line=2"),
            ("sip:a@h;x", "sip:a@h;x="),
            ("sip:a@h", "sip:a:@h"),
            ("sip:a%3Bb@c", "sip:a;b@c"),
            ("sip:a%2540@h", "sip:a%40@h"),
            ("sip:a@h;x=%20", "sip:a@h;x="),
            ("sip:a@[::1]", "sip:a@[::2]"),
            ("sip:a@h?x=A", "sip:a@h?x=a"),
            ("sip:a@192.0.2.1", "sip:a@192.0.2.01"),
        ] {
            assert_ne!(key(one), key(two), "{one} {two}");
        }
    }

    /// A URI from few pieces, so that equivalent ones come up often.
    fn uri() -> impl Strategy<Value = String> {
        let user = proptest::sample::select(vec![
            "", "a@", "A@", "%61@", "a%40@", "a%2540@", "a:p@", "a;x@", "a%3bx@", "%20@",
        ]);
        let host = proptest::sample::select(vec!["h", "H", "[::1]", "[0:0::1]", "[::0001]", "[::2]", "10.0.0.1"]);
        let port = proptest::sample::select(vec!["", ":5060", ":05060", ":9"]);
        let param = proptest::sample::select(vec![
            ";x=1",
            ";X=1",
            ";x=%31",
            ";x=2",
            ";x",
            ";x=",
            ";y",
            ";Y",
            ";transport=udp",
            ";Transport=UDP",
            ";ttl=1",
            ";",
            ";x=%20",
        ]);
        let header = proptest::sample::select(vec!["", "?", "?a=1", "?A=1", "?a=1&b=2", "?b=2&a=%31", "?a=X", "?a=x"]);
        let scheme = proptest::sample::select(vec!["sip:", "SIP:", "sips:"]);
        (scheme, user, host, port, proptest::collection::vec(param, 0..4), header).prop_map(
            |(scheme, user, host, port, params, header)| [scheme, user, host, port, &params.concat(), header].concat(),
        )
    }

    fn names(uri: &Uri<'_>) -> std::collections::BTreeSet<Vec<u8>> {
        uri.params.iter().map(|param| param.name.to_ascii_lowercase()).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn keys_are_equal_where_uris_with_the_same_parameters_are_equivalent(one in uri(), two in uri()) {
            let (first, second) = (Uri::parse(one.as_bytes()).unwrap(), Uri::parse(two.as_bytes()).unwrap());
            let same = key(&one) == key(&two);
            if same {
                prop_assert!(first.equivalent(&second), "{one} {two}");
            }
            if names(&first) == names(&second) {
                prop_assert_eq!(same, first.equivalent(&second), "{} {}", one, two);
            }
        }

        #[test]
        fn a_key_is_a_uri_and_its_own_key(one in uri()) {
            let key_of_it = key(&one);
            prop_assert_eq!(key(&key_of_it), key_of_it.clone());
            let (first, second) = (Uri::parse(one.as_bytes()).unwrap(), Uri::parse(key_of_it.as_bytes()).unwrap());
            prop_assert!(first.equivalent(&second), "{} {}", one, key_of_it);
        }

        #[test]
        fn any_bytes_are_taken(text in proptest::collection::vec(any::<u8>(), 0..60)) {
            let text = [b"sip:", text.as_slice()].concat();
            if let Some(uri) = Uri::parse(&text) {
                let mut out = Vec::new();
                uri.push_key(&mut out);
                prop_assert!(out.len() <= 3 * text.len() + 40);
            }
        }
    }
}
