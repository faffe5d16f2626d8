//! What the headers of a message say, decoded when somebody asks.

use crate::message::lexical::number;
use crate::message::{FirstLine, Header, HeaderName, ListItems, Message, Uri, unfold};

impl Message {
    /// The first header line of a name, compact or long, in any case.
    pub fn header(&self, name: &[u8]) -> Option<&Header> {
        self.headers(name).next()
    }

    /// All header lines of a name, compact or long, in any case.
    pub fn headers<'m, 'n>(&'m self, name: &'n [u8]) -> impl Iterator<Item = &'m Header> + use<'m, 'n> {
        let known = HeaderName::from_bytes(name);
        self.lines_with(known).iter().filter(move |header| {
            header.name == known
                && (known != HeaderName::Other || self.text(header.name_span).eq_ignore_ascii_case(name))
        })
    }

    /// The first header line of a known name.
    pub fn known(&self, name: HeaderName) -> Option<&Header> {
        self.all_known(name).next()
    }

    /// All header lines of a known name.
    pub fn all_known(&self, name: HeaderName) -> impl Iterator<Item = &Header> + use<'_> {
        self.lines_with(name).iter().filter(move |header| header.name == name)
    }

    /// All header lines if that name is among them, else none.
    pub(super) fn lines_with(&self, name: HeaderName) -> &[Header] {
        if self.names().contains(name) { self.header_lines() } else { &[] }
    }

    /// The value of the first header line of a known name, folds included.
    pub fn value(&self, name: HeaderName) -> Option<&[u8]> {
        self.known(name).map(|header| self.text(header.value))
    }

    /// The value of a header line as one line.
    pub fn unfolded(&self, header: &Header) -> std::borrow::Cow<'_, [u8]> {
        unfold(self.text(header.value))
    }

    /// The elements of all header lines of a list header.
    pub fn items(&self, name: HeaderName) -> ListItems<'_> {
        ListItems::new(self, name)
    }

    /// The Via elements, topmost first.
    pub fn vias(&self) -> ListItems<'_> {
        self.items(HeaderName::Via)
    }

    /// The Route elements, next hop first.
    pub fn routes(&self) -> ListItems<'_> {
        self.items(HeaderName::Route)
    }

    /// The Record-Route elements, topmost first.
    pub fn record_routes(&self) -> ListItems<'_> {
        self.items(HeaderName::RecordRoute)
    }

    /// The Contact elements, among them a `*` ([`ListItem::is_star`](crate::message::ListItem::is_star)).
    pub fn contacts(&self) -> ListItems<'_> {
        self.items(HeaderName::Contact)
    }

    /// A request's Request-URI taken apart.
    pub fn request_uri(&self) -> Option<Uri<'_>> {
        match self.first_line() {
            FirstLine::Request { uri, .. } => Uri::parse(self.text(uri)),
            FirstLine::Reply { .. } => None,
        }
    }

    /// Whether the To header has a tag: the request belongs to a dialog.
    pub fn has_to_tag(&self) -> bool {
        self.to_tag().is_some()
    }

    /// The Call-ID, `None` when it is missing or empty.
    pub fn call_id(&self) -> Option<&[u8]> {
        self.value(HeaderName::CallId).filter(|value| !value.is_empty())
    }

    /// The Max-Forwards number, `None` when it is missing or no number.
    pub fn max_forwards(&self) -> Option<u32> {
        number(self.value(HeaderName::MaxForwards)?)
    }

    /// The Expires number in seconds, `None` when it is missing or no number.
    pub fn expires(&self) -> Option<u32> {
        number(self.value(HeaderName::Expires)?)
    }

    /// The Content-Length as declared; the body is that long unless the message has a [`fault`](Message::fault).
    pub fn content_length(&self) -> Option<u32> {
        number(self.value(HeaderName::ContentLength)?)
    }

    /// The Content-Type value.
    pub fn content_type(&self) -> Option<&[u8]> {
        self.value(HeaderName::ContentType)
    }

    /// The User-Agent value.
    pub fn user_agent(&self) -> Option<&[u8]> {
        self.value(HeaderName::UserAgent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Method;

    const INVITE: &[u8] = b"INVITE sip:bob@h;x SIP/2.0\r\n\
        v: SIP/2.0/UDP pc;branch=z9hG4bK1\r\n\
        f: \"A\" <sip:alice@h>;tag=7\r\n\
        TO: <sip:bob@h>\r\n\
        i: abc@h\r\n\
        CSEQ: 12 INVITE\r\n\
        max-forwards: 70\r\n\
        Expires: 60\r\n\
        User-Agent: x\r\n y\r\n\
        c: application/sdp\r\n\
        X-One: 1\r\n\
        Route: <sip:p1;lr>, <sip:p2;lr>\r\n\
        x-one: 2\r\n\
        Record-Route: <sip:r>\r\n\
        l: 0\r\n\r\n";

    #[test]
    fn typed_accessors() {
        let m = Message::parse(INVITE).unwrap();
        assert_eq!(m.request_uri().unwrap().user, Some(&b"bob"[..]));
        assert_eq!(m.top_via().unwrap().branch(), Some(&b"z9hG4bK1"[..]));
        assert_eq!(m.from().unwrap().tag(), Some(&b"7"[..]));
        assert_eq!(m.to().unwrap().addr, b"sip:bob@h");
        assert!(!m.has_to_tag());
        assert_eq!(m.call_id(), Some(&b"abc@h"[..]));
        assert_eq!(m.cseq().unwrap().number, 12);
        assert_eq!(m.cseq().unwrap().method, Method::Invite);
        assert_eq!(m.max_forwards(), Some(70));
        assert_eq!(m.expires(), Some(60));
        assert_eq!(m.content_length(), Some(0));
        assert_eq!(m.content_type(), Some(&b"application/sdp"[..]));
        assert_eq!(m.routes().count(), 2);
        assert_eq!(m.record_routes().count(), 1);
        assert_eq!(m.contacts().count(), 0);
        let agent = m.known(HeaderName::UserAgent).unwrap();
        assert_eq!(m.user_agent(), Some(&b"x\r\n y"[..]));
        assert_eq!(m.unfolded(agent).as_ref(), b"x y");
    }

    #[test]
    fn headers_by_any_name() {
        let m = Message::parse(INVITE).unwrap();
        let values: Vec<_> = m.headers(b"X-ONE").map(|h| m.text(h.value)).collect();
        assert_eq!(values, [b"1", b"2"]);
        for name in [&b"Call-ID"[..], b"i", b"I", b"call-id"] {
            assert_eq!(m.text(m.header(name).unwrap().value), b"abc@h");
        }
        assert!(m.header(b"X-Two").is_none());
    }

    #[test]
    fn an_empty_message_answers_everything_with_none() {
        let m = Message::new();
        assert!(m.from().is_none() && m.cseq().is_none() && m.request_uri().is_none());
        assert!(m.top_via().is_none() && m.call_id().is_none());
    }
}
