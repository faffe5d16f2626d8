//! The messages that a proxy writes itself: replies, ACK for a non-2xx final reply, CANCEL.

use crate::message::lexical::{Refused, check_line, is_token, push_header_lines_without, push_number};
use crate::message::{FirstLine, Header, HeaderName, Message, ViaSource, WriteError, default_reason};

/// What a reply is made of besides what it copies from the request.
#[derive(Clone, Copy, Debug)]
pub struct ReplyParts<'a> {
    /// The status code, 100 to 699.
    pub code: u16,
    /// The reason phrase; `None` takes [`default_reason`].
    pub reason: Option<&'a [u8]>,
    /// The tag for a To header that has none; never used in a 100.
    pub to_tag: Option<&'a [u8]>,
    /// Where the request came from, for `received` and `rport` in the topmost Via; `None` copies it as it is.
    pub source: Option<ViaSource>,
    /// The `Server` header's value.
    pub server: Option<&'a [u8]>,
    /// More header lines; a missing last CRLF is added. `Content-Length` is refused here, the body decides it.
    pub extra_headers: &'a [u8],
    /// The body.
    pub body: Option<ReplyBody<'a>>,
}

/// A body and what it is.
#[derive(Clone, Copy, Debug)]
pub struct ReplyBody<'a> {
    /// The `Content-Type` value.
    pub content_type: &'a [u8],
    /// The bytes.
    pub bytes: &'a [u8],
}

impl ReplyParts<'_> {
    /// A plain reply with that code.
    pub fn new(code: u16) -> ReplyParts<'static> {
        ReplyParts { code, reason: None, to_tag: None, source: None, server: None, extra_headers: b"", body: None }
    }
}

/// Appends a reply to `request` (RFC 3261 8.2.6): all Via, From, To, Call-ID and CSeq are copied, in a 100 Timestamp too, and
/// from 180 to 299 all Record-Route.
///
/// # Errors
/// When the request lacks one of these headers or is none, when the code is out of range, when a text has a line break
/// in it or the extra headers are not header lines. Nothing is appended then.
pub fn write_reply(request: &Message, parts: &ReplyParts<'_>, out: &mut Vec<u8>) -> Result<(), WriteError> {
    let mark = out.len();
    let result = push_reply(request, parts, out);
    if result.is_err() {
        out.truncate(mark);
    }
    result
}

/// Appends the ACK for a non-2xx final reply (RFC 3261 17.1.1.3).
///
/// `sent` is the INVITE as it was sent to the peer that answered.
///
/// # Errors
/// When `sent` is no request or one of the messages lacks a header that the ACK needs. Nothing is appended then.
pub fn write_ack(sent: &Message, reply: &Message, out: &mut Vec<u8>) -> Result<(), WriteError> {
    push_hop_request(sent, b"ACK", reply, b"", out)
}

/// Appends the CANCEL for a request that was sent (RFC 3261 9.1).
///
/// `extra_headers` are more header lines, such as the `Reason` of RFC 3326; a missing last CRLF is added.
///
/// # Errors
/// When `sent` is no request or lacks a header that the CANCEL needs, or the extra headers are not header lines. Nothing
/// is appended then.
pub fn write_cancel(sent: &Message, extra_headers: &[u8], out: &mut Vec<u8>) -> Result<(), WriteError> {
    let mark = out.len();
    let result = push_hop_request(sent, b"CANCEL", sent, extra_headers, out);
    if result.is_err() {
        out.truncate(mark);
    }
    result
}

fn push_reply(request: &Message, parts: &ReplyParts<'_>, out: &mut Vec<u8>) -> Result<(), WriteError> {
    if request.is_reply() {
        return Err(WriteError::NotARequest { what: "a reply" });
    }
    if !(100..=699).contains(&parts.code) {
        return Err(WriteError::StatusCode { code: parts.code });
    }
    if parts.to_tag.is_some_and(|tag| !is_token(tag)) {
        return Err(WriteError::Value { what: "the To tag", why: "is not a token" });
    }
    let reason = parts.reason.unwrap_or(default_reason(parts.code).as_bytes());
    check_line("the reason phrase", reason)?;
    needed(request, HeaderName::Via, "Via")?;
    let from = needed(request, HeaderName::From, "From")?;
    let to = needed(request, HeaderName::To, "To")?;
    let call_id = needed(request, HeaderName::CallId, "Call-ID")?;
    let cseq = needed(request, HeaderName::CSeq, "CSeq")?;

    out.extend_from_slice(b"SIP/2.0 ");
    push_number(out, u64::from(parts.code));
    out.push(b' ');
    out.extend_from_slice(reason);
    out.extend_from_slice(b"\r\n");
    push_vias(request, parts.source, out);
    // Whoever gets the reply learns from them the way of the dialog (RFC 3261 12.1.1).
    if (180..300).contains(&parts.code) && request.names().contains(HeaderName::RecordRoute) {
        for header in request.all_known(HeaderName::RecordRoute) {
            push_copy(request, header, out);
        }
    }
    push_copy(request, from, out);
    push_head(request, to, out);
    if let Some(tag) = parts.to_tag
        && parts.code != 100
        && !request.to().is_some_and(|to| to.params.contains(b"tag"))
    {
        out.extend_from_slice(b";tag=");
        out.extend_from_slice(tag);
    }
    out.extend_from_slice(b"\r\n");
    push_copy(request, call_id, out);
    push_copy(request, cseq, out);
    if parts.code == 100
        && let Some(timestamp) = request.known(HeaderName::Timestamp)
    {
        push_copy(request, timestamp, out);
    }
    if let Some(server) = parts.server {
        check_line("the Server header", server)?;
        push_line(b"Server: ", server, out);
    }
    if !parts.extra_headers.is_empty() {
        push_header_lines_without(Some(CONTENT_LENGTH), parts.extra_headers, out)?;
    }
    let mut bytes: &[u8] = b"";
    if let Some(body) = parts.body {
        check_line("the Content-Type header", body.content_type)?;
        push_line(b"Content-Type: ", body.content_type, out);
        bytes = body.bytes;
    }
    out.extend_from_slice(b"Content-Length: ");
    push_number(out, bytes.len() as u64);
    out.extend_from_slice(b"\r\n\r\n");
    out.extend_from_slice(bytes);
    Ok(())
}

/// A second one beside ours would make the message unreadable for its receiver.
const CONTENT_LENGTH: Refused =
    Refused { name: HeaderName::ContentLength, why: "Content-Length is written from the body" };

/// A request that goes to the same next hop as `sent` and belongs to its transaction: ACK or CANCEL.
fn push_hop_request(
    sent: &Message,
    method: &'static [u8],
    to_from: &Message,
    extra_headers: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), WriteError> {
    let FirstLine::Request { uri, .. } = sent.first_line() else {
        return Err(WriteError::NotARequest { what: "an ACK or CANCEL" });
    };
    let via = sent.vias().next().ok_or(WriteError::MissingHeader { header: "Via" })?;
    let from = needed(sent, HeaderName::From, "From")?;
    let to = needed(to_from, HeaderName::To, "To")?;
    let call_id = needed(sent, HeaderName::CallId, "Call-ID")?;
    let cseq = sent.cseq().ok_or(WriteError::MissingHeader { header: "CSeq" })?;

    out.extend_from_slice(method);
    out.push(b' ');
    out.extend_from_slice(sent.text(uri));
    out.extend_from_slice(b" SIP/2.0\r\n");
    push_line(b"Via: ", via.raw, out);
    for route in sent.all_known(HeaderName::Route) {
        push_copy(sent, route, out);
    }
    out.extend_from_slice(b"Max-Forwards: ");
    push_number(out, u64::from(sent.max_forwards().unwrap_or(70)));
    out.extend_from_slice(b"\r\n");
    push_copy(sent, from, out);
    push_copy(to_from, to, out);
    push_copy(sent, call_id, out);
    out.extend_from_slice(b"CSeq: ");
    push_number(out, u64::from(cseq.number));
    out.push(b' ');
    out.extend_from_slice(method);
    out.extend_from_slice(b"\r\n");
    if !extra_headers.is_empty() {
        push_header_lines_without(Some(CONTENT_LENGTH), extra_headers, out)?;
    }
    out.extend_from_slice(b"Content-Length: 0\r\n\r\n");
    Ok(())
}

fn needed<'m>(message: &'m Message, name: HeaderName, header: &'static str) -> Result<&'m Header, WriteError> {
    message.known(name).ok_or(WriteError::MissingHeader { header })
}

/// All Via lines, the topmost element with where the request came from.
fn push_vias(request: &Message, source: Option<ViaSource>, out: &mut Vec<u8>) {
    let top = source.and_then(|source| {
        let via = request.top_via()?;
        Some((source, via, request.span_of(via.raw)?))
    });
    for header in request.all_known(HeaderName::Via) {
        match top {
            Some((source, via, span)) if header.line.contains(span) => {
                let before = header.line.start..span.start;
                let after = span.end..header.value.end;
                out.extend_from_slice(part(request, before));
                via.write_stamped(source, out);
                out.extend_from_slice(part(request, after));
                out.extend_from_slice(b"\r\n");
            }
            _ => push_copy(request, header, out),
        }
    }
}

fn part(message: &Message, range: std::ops::Range<u32>) -> &[u8] {
    message.text(crate::message::Span { start: range.start, end: range.end })
}

/// A header line from its name to the end of its value; folds stay, the line end is ours.
fn push_copy(message: &Message, header: &Header, out: &mut Vec<u8>) {
    push_head(message, header, out);
    out.extend_from_slice(b"\r\n");
}

fn push_head(message: &Message, header: &Header, out: &mut Vec<u8>) {
    out.extend_from_slice(part(message, header.line.start..header.value.end));
}

fn push_line(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name);
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    const INVITE: &[u8] = b"INVITE sip:bob@10.0.0.2;x SIP/2.0\n\
        Max-Forwards: 069\n\
        v: SIP/2.0/UDP me;branch=z9hG4bK9;rport, SIP/2.0/UDP pc;branch=z9hG4bK1\n\
        Route: <sip:p1;lr>\n\
        Record-Route: <sip:me;lr>\n\
        Via: SIP/2.0/UDP far\n\
        Route: <sip:p2;lr>\n\
        f: <sip:a@h>;tag=7\n\
        To: <sip:bob@h>\n\
        i: abc@h\n\
        CSeq:\n 12 INVITE\n\
        Timestamp: 54\n\
        Subject: not copied\n\
        l: 4\n\nbody";

    fn text(write: impl FnOnce(&mut Vec<u8>) -> Result<(), WriteError>) -> String {
        let mut out = Vec::new();
        write(&mut out).unwrap();
        Message::parse(&out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_final_reply() {
        let invite = Message::parse(INVITE).unwrap();
        let parts = ReplyParts {
            to_tag: Some(b"mine"),
            source: Some(ViaSource { addr: "10.0.0.9:5070".parse().unwrap(), force_rport: false }),
            server: Some(b"kemi"),
            extra_headers: b"Warning: 399 h \"x\"",
            body: Some(ReplyBody { content_type: b"text/plain", bytes: b"sorry" }),
            ..ReplyParts::new(404)
        };
        assert_eq!(
            text(|out| write_reply(&invite, &parts, out)),
            "SIP/2.0 404 Not Found\r\n\
             v: SIP/2.0/UDP me;rport=5070;received=10.0.0.9;branch=z9hG4bK9, SIP/2.0/UDP pc;branch=z9hG4bK1\r\n\
             Via: SIP/2.0/UDP far\r\n\
             f: <sip:a@h>;tag=7\r\n\
             To: <sip:bob@h>;tag=mine\r\n\
             i: abc@h\r\n\
             CSeq:\n 12 INVITE\r\n\
             Server: kemi\r\n\
             Warning: 399 h \"x\"\r\n\
             Content-Type: text/plain\r\n\
             Content-Length: 5\r\n\r\nsorry"
        );
    }

    #[test]
    fn the_record_routes_are_copied_from_180_to_299() {
        let subscribe = Message::parse(
            b"SUBSCRIBE sip:b SIP/2.0\r\nVia: SIP/2.0/UDP a\r\nRecord-Route: <sip:p1;lr>,\r\n <sip:p2;lr>\r\n\
            From: x\r\nTo: y\r\nrecord-route: <sip:p3;lr>\r\nCall-ID: 1\r\nCSeq: 1 SUBSCRIBE\r\n\r\n",
        )
        .unwrap();
        let lines = "\r\nRecord-Route: <sip:p1;lr>,\r\n <sip:p2;lr>\r\nrecord-route: <sip:p3;lr>\r\nFrom: x\r\n";
        for (code, copied) in
            [(100, false), (179, false), (180, true), (200, true), (299, true), (300, false), (486, false)]
        {
            let reply = text(|out| write_reply(&subscribe, &ReplyParts::new(code), out));
            assert_eq!(reply.contains(lines), copied, "{reply}");
            assert_eq!(reply.contains("ecord-"), copied, "{reply}");
        }
    }

    #[test]
    fn a_100_has_no_tag_and_copies_the_timestamp() {
        let invite = Message::parse(INVITE).unwrap();
        let parts = ReplyParts {
            to_tag: Some(b"mine"),
            reason: Some(b"trying -- your call is important to us"),
            ..ReplyParts::new(100)
        };
        let reply = text(|out| write_reply(&invite, &parts, out));
        assert!(reply.starts_with(
            "SIP/2.0 100 trying -- your call is important to us\r\nv: SIP/2.0/UDP me;branch=z9hG4bK9;rport,"
        ));
        assert!(reply.contains("To: <sip:bob@h>\r\n") && reply.contains("Timestamp: 54\r\n"));
        assert!(reply.ends_with("Content-Length: 0\r\n\r\n"));
    }

    #[test]
    fn a_tag_that_is_there_stays() {
        let bye = Message::parse(
            b"BYE sip:b SIP/2.0\r\nVia: SIP/2.0/UDP a\r\nFrom: x\r\nTo: <sip:b>;tag=old\r\nCall-ID: 1\r\nCSeq: 1 BYE\r\n\r\n",
        )
        .unwrap();
        let parts = ReplyParts { to_tag: Some(b"new"), ..ReplyParts::new(200) };
        let reply = text(|out| write_reply(&bye, &parts, out));
        assert!(reply.contains("To: <sip:b>;tag=old\r\n"));
    }

    #[test]
    fn nothing_can_be_injected_and_a_refusal_appends_nothing() {
        let invite = Message::parse(INVITE).unwrap();
        let plain = ReplyParts::new(400);
        let body = |content_type| Some(ReplyBody { content_type, bytes: b"" });
        for parts in [
            ReplyParts { reason: Some(b"x\r\nInjected: y"), ..plain },
            ReplyParts { reason: Some(b"x\ry"), ..plain },
            ReplyParts { server: Some(b"x\nInjected: y"), ..plain },
            ReplyParts { to_tag: Some(b"x\r\n"), ..plain },
            ReplyParts { to_tag: Some(b""), ..plain },
            ReplyParts { extra_headers: b"A: b\r\nL : 7", ..plain },
            ReplyParts { extra_headers: b"A: b\r\n\r\nInjected", ..plain },
            ReplyParts { body: body(b"x\r\nInjected: y"), ..plain },
            ReplyParts::new(99),
            ReplyParts::new(700),
        ] {
            let mut out = b"kept".to_vec();
            assert!(write_reply(&invite, &parts, &mut out).is_err(), "{parts:?}");
            assert_eq!(out, b"kept");
        }
    }

    #[test]
    fn missing_headers_are_named() {
        let bare = Message::parse(b"BYE sip:b SIP/2.0\r\nVia: SIP/2.0/UDP a\r\nFrom: x\r\n\r\n").unwrap();
        let mut out = Vec::new();
        let error = write_reply(&bare, &ReplyParts::new(200), &mut out).unwrap_err();
        assert_eq!(error, WriteError::MissingHeader { header: "To" });
        assert!(write_cancel(&bare, b"", &mut out).is_err());
        let reply = Message::parse(b"SIP/2.0 200 OK\r\n\r\n").unwrap();
        assert!(write_reply(&reply, &ReplyParts::new(200), &mut out).is_err());
        assert!(write_ack(&reply, &reply, &mut out).is_err());
        assert!(out.is_empty());
    }

    #[test]
    fn the_ack_takes_the_to_of_the_reply_and_the_rest_of_the_request() {
        let invite = Message::parse(INVITE).unwrap();
        let reply = Message::parse(b"SIP/2.0 486 Busy\r\nt: <sip:bob@h>;tag=theirs\r\n\r\n").unwrap();
        assert_eq!(
            text(|out| write_ack(&invite, &reply, out)),
            "ACK sip:bob@10.0.0.2;x SIP/2.0\r\n\
             Via: SIP/2.0/UDP me;branch=z9hG4bK9;rport\r\n\
             Route: <sip:p1;lr>\r\n\
             Route: <sip:p2;lr>\r\n\
             Max-Forwards: 69\r\n\
             f: <sip:a@h>;tag=7\r\n\
             t: <sip:bob@h>;tag=theirs\r\n\
             i: abc@h\r\n\
             CSeq: 12 ACK\r\n\
             Content-Length: 0\r\n\r\n"
        );
    }

    fn text_of_cancel(invite: &str) -> String {
        text(|out| write_cancel(&Message::parse(invite.as_bytes()).unwrap(), b"", out))
    }

    #[test]
    fn the_cancel_looks_like_its_request() {
        let invite = Message::parse(INVITE).unwrap();
        let cancel = text(|out| write_cancel(&invite, b"", out));
        assert!(
            cancel.starts_with(
                "CANCEL sip:bob@10.0.0.2;x SIP/2.0\r\nVia: SIP/2.0/UDP me;branch=z9hG4bK9;rport\r\nRoute:"
            )
        );
        assert!(cancel.contains("\r\nTo: <sip:bob@h>\r\n") && cancel.contains("CSeq: 12 CANCEL\r\n"));
        assert!(cancel.contains("\r\nMax-Forwards: 69\r\n"));
        for line in ["", "Max-Forwards: many\n"] {
            let text = String::from_utf8_lossy(INVITE).replace("Max-Forwards: 069\n", line);
            let cancel = text_of_cancel(&text);
            assert_eq!(cancel.matches("\r\nMax-Forwards: 70\r\n").count(), 1, "{cancel}");
        }
    }

    #[test]
    fn a_cancel_may_say_why() {
        let invite = Message::parse(INVITE).unwrap();
        let reason = b"Reason: SIP;cause=200;text=\"Call completed elsewhere\"";
        let cancel = text(|out| write_cancel(&invite, reason, out));
        assert!(cancel.ends_with(
            "CSeq: 12 CANCEL\r\nReason: SIP;cause=200;text=\"Call completed elsewhere\"\r\nContent-Length: 0\r\n\r\n"
        ));
        for bad in [&b"no header"[..], b"A: b\r\n\r\nInjected", b"A: b\r\nl: 7"] {
            let mut out = b"kept".to_vec();
            assert!(write_cancel(&invite, bad, &mut out).is_err());
            assert_eq!(out, b"kept");
        }
    }
}
