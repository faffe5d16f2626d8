//! Any bytes: parsing, all views, all edits of a proxy and all writers neither panic nor contradict each other.
#![no_main]

use std::net::SocketAddr;

use libfuzzer_sys::fuzz_target;
use sip_modules::message::{Edits, HeaderName, Message, ReplyParts, ViaSource, write_ack, write_cancel, write_reply};

fuzz_target!(|bytes: &[u8]| {
    let Ok(message) = Message::parse(bytes) else { return };

    // What nobody edits leaves as it came in.
    let mut out = Vec::new();
    Edits::new().serialise(&message, &mut out);
    assert_eq!(out, message.bytes());

    for item in message.vias() {
        let _ = item.via().map(|via| (via.branch(), via.received_ip(), via.rport(), via.maddr(), via.host_ip()));
    }
    for item in [message.routes(), message.record_routes(), message.contacts()].into_iter().flatten() {
        let _ = (item.is_star(), item.name_addr().map(|address| (address.tag(), address.uri().map(|uri| uri.is_lr()))));
    }
    let _ = (message.from(), message.to(), message.call_id(), message.cseq(), message.max_forwards(), message.expires());
    let _ = (message.request_uri(), message.content_length(), message.content_type(), message.has_to_tag());

    // What a proxy does to a request must give a message that can be read again.
    let addr: SocketAddr = ([127, 0, 0, 1], 5060).into();
    let mut edits = Edits::new();
    let stamped = edits.stamp_top_via(&message, ViaSource { addr, force_rport: true }).is_ok();
    let _ = edits.decrement_max_forwards(&message, 70);
    let _ = edits.set_ruri(&message, b"sip:other@127.0.0.1");
    edits.remove_top_route(&message);
    let _ = edits.insert_record_route(&message, b"<sip:127.0.0.1;lr>");
    let _ = edits.append_headers(&message, b"X-Fuzz: 1\r\n");
    let prepended = edits.prepend_via(&message, b"SIP/2.0/UDP 127.0.0.1;branch=z9hG4bKfuzz").is_ok();
    out.clear();
    edits.serialise(&message, &mut out);
    if stamped && prepended {
        if let Ok(again) = Message::parse(&out) {
            assert_eq!(again.top_via().and_then(|via| via.branch()), Some(&b"z9hG4bKfuzz"[..]));
        }
    }

    out.clear();
    let parts = ReplyParts {
        to_tag: Some(b"tag"),
        source: Some(ViaSource { addr, force_rport: false }),
        ..ReplyParts::new(404)
    };
    if write_reply(&message, &parts, &mut out).is_ok() {
        let reply = Message::parse(&out).expect("a reply that was written can be read");
        assert_eq!(reply.status(), Some(404));
        assert_eq!(reply.header_lines().iter().filter(|h| h.name == HeaderName::ContentLength).count(), 1);
    }
    out.clear();
    let _ = write_cancel(&message, &mut out);
    out.clear();
    let _ = write_ack(&message, &message, &mut out);
});
