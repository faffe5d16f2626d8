//! The edits every proxy makes (RFC 3261 16.6 and 16.7), each with its own rule.

use crate::message::lexical::{check_line, push_number};
use crate::message::via::is_single_via;
use crate::message::{Edits, HeaderName, Message, Span, ViaSource, WriteError};

/// What [`Edits::decrement_max_forwards`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaxForwards {
    /// It was there; this is the new number.
    Decremented(u32),
    /// It was missing and is added with this number.
    Inserted(u32),
    /// It is zero: answer 483 instead of forwarding. Nothing was edited.
    Exhausted,
}

impl Edits {
    /// Puts another Request-URI in the place of the request's; the last one counts.
    ///
    /// # Errors
    /// When the message is a reply, or the URI is empty or has white space or control characters in it.
    pub fn set_ruri(&mut self, message: &Message, uri: &[u8]) -> Result<(), WriteError> {
        let what = "the Request-URI";
        let span = message.ruri_span().ok_or(WriteError::NotARequest { what: "setting the Request-URI" })?;
        check_line(what, uri)?;
        if uri.is_empty() || uri.iter().any(|b| *b <= b' ' || *b == 0x7f) {
            let why = "is empty or has white space or a control character in it";
            return Err(WriteError::Value { what, why });
        }
        self.replace(span, uri);
        Ok(())
    }

    /// Adds our own Via, such as `SIP/2.0/UDP host;branch=z9hG4bK…`, before all others.
    ///
    /// # Errors
    /// When the text is not one readable Via element.
    pub fn prepend_via(&mut self, message: &Message, via: &[u8]) -> Result<(), WriteError> {
        check_line("the Via", via)?;
        if !is_single_via(via) {
            let why = "is not of the form SIP/2.0/TRANSPORT host:port;params";
            return Err(WriteError::Value { what: "the Via", why });
        }
        self.insert_via(message, &[b"Via: ", via, b"\r\n"]);
        Ok(())
    }

    /// Adds a Via line that is known to be one, in parts, before all others.
    pub(crate) fn insert_via(&mut self, message: &Message, line: &[&[u8]]) {
        let at = message.known(HeaderName::Via).map_or(message.headers_start(), |header| header.line.start);
        self.insert_parts(at, line);
    }

    /// Writes into the topmost Via where the request came from (RFC 3261 18.2.1, RFC 3581 4).
    ///
    /// `received` is added when sent-by is another address or a name; `rport` is filled when the sender put it there or
    /// it is forced, and brings `received` along. What the sender claimed in either is replaced. Calling it again, say
    /// with `force_rport`, replaces what it did before.
    ///
    /// # Errors
    /// When there is no readable Via.
    pub fn stamp_top_via(&mut self, message: &Message, source: ViaSource) -> Result<(), WriteError> {
        let missing = WriteError::MissingHeader { header: "Via" };
        let via = message.top_via().ok_or_else(|| missing.clone())?;
        let span = message.span_of(via.raw).ok_or(missing)?;
        self.replace_with(span, |out| via.write_stamped(source, out));
        Ok(())
    }

    /// Removes the topmost Via element that is still there, as for a reply on its way upstream.
    ///
    /// Returns `false` when none is left.
    pub fn remove_top_via(&mut self, message: &Message) -> bool {
        self.remove_first(message, HeaderName::Via)
    }

    /// Removes the topmost Route element that is still there; `false` when none is left.
    pub fn remove_top_route(&mut self, message: &Message) -> bool {
        self.remove_first(message, HeaderName::Route)
    }

    /// Lowers Max-Forwards by one, or adds it with the `initial` number when it is missing.
    ///
    /// The number lowered is the received one, so calling it again changes nothing.
    ///
    /// # Errors
    /// When the value is not a number.
    pub fn decrement_max_forwards(&mut self, message: &Message, initial: u32) -> Result<MaxForwards, WriteError> {
        let Some(header) = message.known(HeaderName::MaxForwards) else {
            let end = Span::at(message.headers_end());
            self.replace_with(end, |out| {
                out.extend_from_slice(b"Max-Forwards: ");
                push_number(out, u64::from(initial));
                out.extend_from_slice(b"\r\n");
            });
            return Ok(MaxForwards::Inserted(initial));
        };
        let Some(number) = message.max_forwards() else {
            return Err(WriteError::Value { what: "the received Max-Forwards", why: "is not a number" });
        };
        let Some(lowered) = number.checked_sub(1) else {
            return Ok(MaxForwards::Exhausted);
        };
        self.replace_with(header.value, |out| push_number(out, u64::from(lowered)));
        Ok(MaxForwards::Decremented(lowered))
    }

    /// Adds a Record-Route, such as `<sip:host;lr>`, before all headers; of two the one added first is the topmost.
    ///
    /// # Errors
    /// When the text is empty or not a single line.
    pub fn insert_record_route(&mut self, message: &Message, value: &[u8]) -> Result<(), WriteError> {
        let what = "the Record-Route";
        check_line(what, value)?;
        if value.is_empty() {
            return Err(WriteError::Value { what, why: "is empty" });
        }
        self.insert_parts(message.headers_start(), &[b"Record-Route: ", value, b"\r\n"]);
        Ok(())
    }

    fn remove_first(&mut self, message: &Message, name: HeaderName) -> bool {
        let first = message.items(name).find(|item| !self.is_deleted(item.span));
        match first {
            Some(item) => self.delete_item(message, &item),
            None => return false,
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "INVITE sip:b@h SIP/2.0\r\nTo: <sip:b@h>\r\nVia: SIP/2.0/UDP a;rport, SIP/2.0/UDP b\r\nMax-Forwards: 1\r\nRoute: <sip:1>, <sip:2>\r\nRoute: <sip:3>\r\n\r\n";

    fn message() -> Message {
        Message::parse(TEXT.as_bytes()).unwrap()
    }

    fn written(edits: &Edits, message: &Message) -> String {
        let mut out = Vec::new();
        edits.serialise(message, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_request_uri() {
        let m = message();
        let mut e = Edits::new();
        e.set_ruri(&m, b"sip:first@x").unwrap();
        e.set_ruri(&m, b"sip:c@d;lr").unwrap();
        assert_eq!(written(&e, &m), TEXT.replacen("sip:b@h", "sip:c@d;lr", 1));
        for bad in [&b""[..], b"sip:a b", b"sip:a\r\nX: y", b"sip:a\x7f"] {
            assert!(e.set_ruri(&m, bad).is_err());
        }
        let reply = Message::parse(b"SIP/2.0 200 OK\r\n\r\n").unwrap();
        let error = e.set_ruri(&reply, b"sip:a").unwrap_err();
        assert!(matches!(error, WriteError::NotARequest { .. }));
    }

    #[test]
    fn our_via_comes_before_the_others() {
        let m = message();
        let mut e = Edits::new();
        e.prepend_via(&m, b"SIP/2.0/UDP me;branch=z9hG4bK1").unwrap();
        let expected = TEXT.replace("Via:", "Via: SIP/2.0/UDP me;branch=z9hG4bK1\r\nVia:");
        assert_eq!(written(&e, &m), expected);
        for bad in [&b"me"[..], b"SIP/2.0/UDP me\r\nX: y", b"SIP/2.0/UDP a, SIP/2.0/UDP b"] {
            assert!(e.prepend_via(&m, bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_top_via_says_where_the_request_came_from_and_can_still_be_removed() {
        let m = message();
        let mut e = Edits::new();
        for force_rport in [false, true] {
            let addr = "10.1.1.1:7".parse().unwrap();
            e.stamp_top_via(&m, ViaSource { addr, force_rport }).unwrap();
        }
        let expected = TEXT.replace("a;rport,", "a;rport=7;received=10.1.1.1,");
        assert_eq!(written(&e, &m), expected);
        assert!(e.remove_top_via(&m));
        assert_eq!(written(&e, &m), TEXT.replace("SIP/2.0/UDP a;rport, ", ""));
    }

    #[test]
    fn what_a_stamp_leaves_out_brings_no_further_via_forth() {
        let text = b"OPTIONS sip:h SIP/2.0\r\nVia: SIP/2.0/UDP a;rport=<;ttl=1,SIP/2.0/UDP b>\r\n\r\n";
        let m = Message::parse(text).unwrap();
        let mut e = Edits::new();
        e.stamp_top_via(&m, ViaSource { addr: "10.1.1.1:7".parse().unwrap(), force_rport: true }).unwrap();
        let sent = Message::parse(written(&e, &m).as_bytes()).unwrap();
        let vias: Vec<_> = sent.vias().map(|item| item.raw).collect();
        assert_eq!(vias, [&b"SIP/2.0/UDP a;rport=7;received=10.1.1.1;ttl=1"[..], b"SIP/2.0/UDP b>"]);
        assert_eq!(vias.len(), m.vias().count());
    }

    #[test]
    fn vias_and_routes_are_removed_from_the_top() {
        let m = message();
        let mut e = Edits::new();
        assert!(e.remove_top_via(&m) && e.remove_top_via(&m));
        assert!(!e.remove_top_via(&m));
        assert!(!written(&e, &m).contains("Via"));
        assert!(e.remove_top_route(&m));
        assert!(written(&e, &m).contains("Route: <sip:2>\r\nRoute: <sip:3>\r\n"));
        assert!(e.remove_top_route(&m));
        assert!(written(&e, &m).contains("Max-Forwards: 1\r\nRoute: <sip:3>\r\n"));
        assert!(e.remove_top_route(&m) && !e.remove_top_route(&m));
        assert!(!written(&e, &m).contains("Route"));
    }

    #[test]
    fn max_forwards_goes_down_is_added_or_runs_out() {
        let m = message();
        let mut e = Edits::new();
        for _ in 0..2 {
            assert_eq!(e.decrement_max_forwards(&m, 70), Ok(MaxForwards::Decremented(0)));
        }
        assert_eq!(written(&e, &m), TEXT.replace("Forwards: 1", "Forwards: 0"));

        let without = Message::parse(b"BYE sip:b SIP/2.0\r\nTo: x\r\n\r\n").unwrap();
        let mut e = Edits::new();
        for _ in 0..2 {
            assert_eq!(e.decrement_max_forwards(&without, 70), Ok(MaxForwards::Inserted(70)));
        }
        assert!(written(&e, &without).ends_with("To: x\r\nMax-Forwards: 70\r\n\r\n"));

        let zero = Message::parse(b"BYE sip:b SIP/2.0\r\nMax-Forwards: 0\r\n\r\n").unwrap();
        let mut e = Edits::new();
        assert_eq!(e.decrement_max_forwards(&zero, 70), Ok(MaxForwards::Exhausted));
        let bad = Message::parse(b"BYE sip:b SIP/2.0\r\nMax-Forwards: x\r\n\r\n").unwrap();
        assert!(e.decrement_max_forwards(&bad, 70).is_err());
        assert!(e.is_empty());
    }

    #[test]
    fn record_route_comes_first() {
        let m = message();
        let mut e = Edits::new();
        e.insert_record_route(&m, b"<sip:out;lr>").unwrap();
        e.insert_record_route(&m, b"<sip:in;lr>").unwrap();
        let expected = TEXT.replacen("To:", "Record-Route: <sip:out;lr>\r\nRecord-Route: <sip:in;lr>\r\nTo:", 1);
        assert_eq!(written(&e, &m), expected);
        assert!(e.insert_record_route(&m, b"").is_err());
        assert!(e.insert_record_route(&m, b"<sip:a>\r\n\r\n").is_err());
    }
}
