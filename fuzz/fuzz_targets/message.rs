//! Any bytes: parsing, all views, all edits of a proxy and all writers neither panic nor contradict each other.
#![no_main]

use std::net::SocketAddr;

use libfuzzer_sys::fuzz_target;
use sip_modules::message::{
    Edits, Fault, HeaderName, Message, ParseError, ReplyParts, Span, Uri, Via, ViaSource, split_list, unfold, unquote,
    write_ack, write_cancel, write_reply,
};

/// What the reused message held before: everything that the next one must not show.
const BEFORE: &[u8] = b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKold\r\nl: 3\r\n\r\nold";

fuzz_target!(|bytes: &[u8]| {
    let mut reused = Message::parse(BEFORE).expect("a message");
    let again = reused.parse_into(bytes);
    let parsed = Message::parse(bytes);
    match (again, parsed) {
        (Err(one), Err(other)) => assert_eq!(one, other),
        (Ok(()), Ok(message)) => {
            assert_eq!(reused, message, "a reused message keeps nothing");
            unedited_is_identical(bytes, &message);
            line_ends(&message);
            look(&message);
            forward(&message);
            remove(&message);
            answer(&message);
        }
        (again, parsed) => panic!("{again:?} is not {parsed:?}"),
    }
});

/// What nobody edits leaves as it came in, and is the same message again.
fn unedited_is_identical(bytes: &[u8], message: &Message) {
    let mut out = Vec::new();
    Edits::new().serialise(message, &mut out);
    let start = bytes.iter().take_while(|b| matches!(b, b'\r' | b'\n')).count();
    let received = &bytes[start..];
    if received.starts_with(&out) {
        assert_eq!(Message::parse(&out).as_ref(), Ok(message));
        return;
    }
    // The empty line behind the headers was missing.
    assert!(message.fault().is_some());
    assert!(out.strip_suffix(b"\r\n").is_some_and(|whole| received.starts_with(whole)));
}

/// A CR without its LF is told of, whatever else is wrong.
fn line_ends(message: &Message) {
    let head = &message.bytes()[..message.body_span().start as usize];
    let lone = head.iter().enumerate().any(|(at, byte)| *byte == b'\r' && head.get(at + 1) != Some(&b'\n'));
    assert_eq!(message.fault() == Some(Fault::LineEnd), lone);
}

fn look(message: &Message) {
    for header in message.header_lines() {
        assert!(header.line.contains(header.value) && header.line.contains(header.name_span));
        assert!(message.header(message.text(header.name_span)).is_some());
        look_at_text(message.text(header.value));
        for item in message.items(header.name) {
            assert_eq!(message.text(item.span), item.raw);
        }
    }
    for item in [message.routes(), message.record_routes(), message.contacts()].into_iter().flatten() {
        let _ = (item.is_star(), item.name_addr().map(|address| (address.tag(), address.uri().map(|uri| uri.is_lr()))));
    }
    let _ =
        (message.from(), message.to(), message.call_id(), message.cseq(), message.max_forwards(), message.expires());
    let _ = (message.request_uri(), message.content_length(), message.content_type(), message.has_to_tag());
}

fn look_at_text(text: &[u8]) {
    let _ = (unfold(text), unquote(text));
    if let Some(uri) = Uri::parse(text) {
        assert!(uri.equivalent(&uri), "{uri:?}");
        let _ = (uri.is_lr(), uri.transport(), uri.host_ip());
    }
    for via in split_list(text).filter_map(Via::parse) {
        let _ = (via.branch(), via.received_ip(), via.rport(), via.maddr(), via.host_ip());
    }
}

fn source() -> ViaSource {
    let addr: SocketAddr = ([127, 0, 0, 1], 5060).into();
    ViaSource { addr, force_rport: true }
}

/// What a proxy does to a request gives a message that can be read again, with what was put in and nothing lost.
fn forward(message: &Message) {
    let mut edits = Edits::new();
    let _ = edits.stamp_top_via(message, source());
    let _ = edits.decrement_max_forwards(message, 70);
    let _ = edits.set_ruri(message, b"sip:other@127.0.0.1");
    edits.remove_top_route(message);
    edits.insert_record_route(message, b"<sip:127.0.0.1;lr>").expect("one line");
    edits.append_headers(message, b"X-Fuzz: 1\r\n").expect("a header line");
    edits.prepend_via(message, b"SIP/2.0/UDP 127.0.0.1;branch=z9hG4bKfuzz").expect("one Via");
    let mut out = Vec::new();
    edits.serialise(message, &mut out);
    let Some(sent) = read_again(&out) else { return };
    assert_eq!(sent.top_via().and_then(|via| via.branch()), Some(&b"z9hG4bKfuzz"[..]));
    assert_eq!(sent.vias().count(), message.vias().count() + 1);
    assert_eq!(sent.routes().count(), message.routes().count().saturating_sub(1));
    assert_eq!(sent.body(), message.body());

    edits.set_body(b"other");
    out.clear();
    edits.serialise(message, &mut out);
    let Some(sent) = read_again(&out) else { return };
    assert_eq!((sent.body(), sent.content_length()), (&b"other"[..], Some(5)));
}

/// Every second element of each list is removed, and exactly those are gone; a change in the body mends its length.
fn remove(message: &Message) {
    let mut out = Vec::new();
    for name in [HeaderName::Via, HeaderName::Route, HeaderName::Contact, HeaderName::RecordRoute] {
        let items: Vec<_> = message.items(name).collect();
        let mut edits = Edits::new();
        items.iter().step_by(2).for_each(|item| edits.delete_item(message, item));
        out.clear();
        edits.serialise(message, &mut out);
        let after = Message::parse(&out).expect("less of a message is a message");
        let found: Vec<_> = after.items(name).map(|item| item.raw).collect();
        let kept: Vec<_> = items.iter().skip(1).step_by(2).map(|item| item.raw).collect();
        assert_eq!(found, kept);
    }
    let Span { start, end } = message.body_span();
    let mut edits = Edits::new();
    edits.delete(Span { start, end: start + (end - start) / 2 });
    edits.insert(end, b"more");
    out.clear();
    edits.serialise(message, &mut out);
    if let Some(after) = read_again(&out) {
        assert_eq!(after.bytes().len(), out.len(), "Content-Length is too small");
    }
}

fn answer(message: &Message) {
    let mut out = Vec::new();
    let parts = ReplyParts { to_tag: Some(b"tag"), source: Some(source()), ..ReplyParts::new(404) };
    if write_reply(message, &parts, &mut out).is_ok()
        && let Some(reply) = read_again(&out)
    {
        assert_eq!(reply.status(), Some(404));
        assert_eq!(reply.header_lines().iter().filter(|h| h.name == HeaderName::ContentLength).count(), 1);
        assert_eq!(reply.vias().count(), message.vias().count());
        assert_eq!(reply.cseq(), message.cseq());
        out.clear();
        if write_ack(message, &reply, &mut out).is_ok()
            && let Some(ack) = read_again(&out)
        {
            assert_eq!(ack.vias().count(), 1);
            assert_eq!(ack.routes().count(), message.routes().count());
        }
    }
    out.clear();
    if write_cancel(message, b"", &mut out).is_ok()
        && let Some(cancel) = read_again(&out)
    {
        assert_eq!(cancel.cseq().map(|cseq| cseq.number), message.cseq().map(|cseq| cseq.number));
    }
}

/// Reads what was written. It may have grown beyond the limits of a message, but nothing else may be wrong with it.
fn read_again(bytes: &[u8]) -> Option<Message> {
    match Message::parse(bytes) {
        Ok(message) => Some(message),
        Err(ParseError::TooLarge { .. } | ParseError::TooManyHeaders { .. }) => None,
        Err(error) => panic!("what was written cannot be read: {error}\n{}", bytes.escape_ascii()),
    }
}
