//! Comma-separated header values, over all header lines of a name, each element with its place.

use crate::message::lexical::{find_comma, find_unquoted, trim};
use crate::message::{Header, HeaderName, Message, NameAddr, Span, Via};

/// One element of a list header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListItem<'a> {
    /// The element without white space around it, never empty.
    pub raw: &'a [u8],
    /// Where the element is in the message; [`Edits::delete_item`](crate::message::Edits::delete_item) removes it alone.
    pub span: Span,
    /// Index of its header line in [`Message::header_lines`].
    pub header: usize,
}

/// Iterator over the elements of all header lines of one name.
#[derive(Clone, Debug)]
pub struct ListItems<'a> {
    message: &'a Message,
    /// The header lines to look at.
    lines: &'a [Header],
    name: HeaderName,
    /// Index of the next header line to look at.
    next: usize,
    /// What is left of the current line's value.
    rest: &'a [u8],
}

impl<'a> ListItem<'a> {
    /// The element as an address.
    pub fn name_addr(&self) -> Option<NameAddr<'a>> {
        NameAddr::parse(self.raw)
    }

    /// The element as a Via.
    pub fn via(&self) -> Option<Via<'a>> {
        Via::parse(self.raw)
    }

    /// Whether it is the `*` of `Contact: *`.
    pub fn is_star(&self) -> bool {
        self.raw == b"*"
    }
}

impl<'a> ListItems<'a> {
    pub(super) fn new(message: &'a Message, name: HeaderName) -> ListItems<'a> {
        ListItems { message, lines: message.lines_with(name), name, next: 0, rest: b"" }
    }
}

impl<'a> Iterator for ListItems<'a> {
    type Item = ListItem<'a>;

    fn next(&mut self) -> Option<ListItem<'a>> {
        loop {
            // A Via has no addresses: an angle there is a letter like any other.
            let comma = if self.name == HeaderName::Via { |text: &_| find_unquoted(text, b',') } else { find_comma };
            if let Some(raw) = next_element(&mut self.rest, comma) {
                return Some(ListItem { raw, span: self.message.span_of(raw)?, header: self.next.checked_sub(1)? });
            }
            let header = self.lines.get(self.next)?;
            self.next += 1;
            if header.name == self.name {
                self.rest = self.message.text(header.value);
            }
        }
    }
}

/// The elements of one value, without white space around them; empty ones are left out. Commas in `<…>` do not separate: for
/// a Via use [`Message::vias`].
pub fn split_list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = value;
    std::iter::from_fn(move || next_element(&mut rest, find_comma))
}

fn next_element<'a>(rest: &mut &'a [u8], comma: fn(&[u8]) -> Option<usize>) -> Option<&'a [u8]> {
    loop {
        // Empty elements cost next to nothing, however many they are.
        while let [b',' | b' ' | b'\t' | b'\r' | b'\n', after @ ..] = *rest {
            *rest = after;
        }
        if rest.is_empty() {
            return None;
        }
        let (element, after) = rest.split_at(comma(rest).unwrap_or(rest.len()));
        *rest = after.get(1..).unwrap_or_default();
        let element = trim(element);
        if !element.is_empty() {
            return Some(element);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_across_lines_know_their_place() {
        let message = Message::parse(
            b"SIP/2.0 200 OK\r\nv: SIP/2.0/UDP a;x=\"1,2\" , SIP/2.0/UDP b\r\nTo: x\r\nVia:\r\nVIA: ,\r\n SIP/2.0/UDP c,\r\n\r\n",
        )
        .unwrap();
        let items: Vec<_> = message.vias().collect();
        let hosts: Vec<_> = items.iter().map(|item| item.via().unwrap().host).collect();
        assert_eq!(hosts, [b"a", b"b", b"c"]);
        assert_eq!(items.iter().map(|item| item.header).collect::<Vec<_>>(), [0, 0, 3]);
        for item in &items {
            assert_eq!(message.text(item.span), item.raw);
        }
    }

    #[test]
    fn commas_in_quotes_and_angles_do_not_split() {
        let items: Vec<_> = split_list(br#""a, \", b" <sip:x,y@h;m=1>;q=0.5, <sip:z>,, *"#).collect();
        assert_eq!(items, [&br#""a, \", b" <sip:x,y@h;m=1>;q=0.5"#[..], b"<sip:z>", b"*"]);
    }

    #[test]
    fn angles_in_a_via_are_letters() {
        // What is left out of the first element when it is stamped must not bring forth another one.
        let message =
            Message::parse(b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP a;rport=<;x=\"1,2\",SIP/2.0/UDP b>\r\n\r\n").unwrap();
        let items: Vec<_> = message.vias().map(|item| item.raw).collect();
        assert_eq!(items, [&b"SIP/2.0/UDP a;rport=<;x=\"1,2\""[..], b"SIP/2.0/UDP b>"]);
    }

    #[test]
    fn the_star_contact() {
        let message = Message::parse(b"REGISTER sip:h SIP/2.0\r\nm: *\r\n\r\n").unwrap();
        let items: Vec<_> = message.contacts().collect();
        assert!(matches!(items[..], [item] if item.is_star()));
    }
}
