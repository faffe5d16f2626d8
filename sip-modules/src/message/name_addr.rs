//! The address form of From, To, Contact, Route and their like.

use crate::message::find::find;
use crate::message::lexical::{find_unquoted, trim};
use crate::message::uri::split_at_byte;
use crate::message::{Param, Params, Uri};

/// `"Display" <uri>;params`, or a bare URI whose parameters then belong to the header (RFC 3261 20.10).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NameAddr<'a> {
    /// The whole value.
    pub raw: &'a [u8],
    /// The display name as written, quotes included; empty when there is none.
    pub display: &'a [u8],
    /// The URI as written, without the angle brackets.
    pub addr: &'a [u8],
    /// The header's parameters.
    pub params: Params<'a>,
}

impl<'a> NameAddr<'a> {
    /// Takes a value apart; `None` when it has no address or an angle bracket stays open.
    pub fn parse(raw: &'a [u8]) -> Option<NameAddr<'a>> {
        let raw = trim(raw);
        let (display, addr, params) = match find_unquoted(raw, b'<') {
            Some(open) => {
                let (display, rest) = split_at_byte(raw, open);
                let (addr, params) = split_at_byte(rest, find(b'>', rest)?);
                (trim(display), trim(addr), params)
            }
            None => {
                let (addr, params) = raw.split_at(find(b';', raw).unwrap_or(raw.len()));
                (&b""[..], trim(addr), params)
            }
        };
        (!addr.is_empty()).then_some(NameAddr { raw, display, addr, params: Params::new(trim(params)) })
    }

    /// The URI taken apart; `None` when it is unreadable.
    pub fn uri(&self) -> Option<Uri<'a>> {
        Uri::parse(self.addr)
    }

    /// The value of the `tag` parameter; `None` when it is absent or empty.
    pub fn tag(&self) -> Option<&'a [u8]> {
        self.params.value(b"tag").filter(|tag| !tag.is_empty())
    }

    /// The header's first parameter of that name.
    pub fn param(&self, name: &[u8]) -> Option<Param<'a>> {
        self.params.get(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bracketed_form() {
        let from = NameAddr::parse(br#" "A. \"<Bell>\", x" <sip:a@b;lr> ;tag=1;x"#).unwrap();
        assert_eq!(from.display, br#""A. \"<Bell>\", x""#);
        assert_eq!(from.addr, b"sip:a@b;lr");
        assert_eq!(from.tag(), Some(&b"1"[..]));
        assert!(from.param(b"lr").is_none());
        assert!(from.uri().unwrap().is_lr());
        let bare = NameAddr::parse(b"Alice Smith <sip:a@b>").unwrap();
        assert_eq!((bare.display, bare.tag()), (&b"Alice Smith"[..], None));
        assert_eq!(NameAddr::parse(b"<sip:a>").unwrap().display, b"");
    }

    #[test]
    fn without_brackets_the_parameters_are_the_headers() {
        let to = NameAddr::parse(b"sip:a@b;tag=9").unwrap();
        assert_eq!((to.addr, to.tag()), (&b"sip:a@b"[..], Some(&b"9"[..])));
        assert!(to.uri().unwrap().params.is_empty());
    }

    #[test]
    fn folds_are_white_space() {
        let to = NameAddr::parse(b"\"x\"\r\n <sip:a@b>\r\n ;\r\n tag = 7").unwrap();
        assert_eq!((to.display, to.tag()), (&b"\"x\""[..], Some(&b"7"[..])));
    }

    #[test]
    fn unreadable_values_are_none_and_an_empty_tag_is_no_tag() {
        for text in ["", "  ", "<sip:a", "<>", "\"x\" <>", ";tag=1"] {
            assert_eq!(NameAddr::parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(NameAddr::parse(b"<sip:a>;tag=").unwrap().tag(), None);
        assert_eq!(NameAddr::parse(b"<sip:a>;tag").unwrap().tag(), None);
    }
}
