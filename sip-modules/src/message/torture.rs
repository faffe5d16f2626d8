//! Properties over arbitrary and mutated messages: nothing panics, nothing is lost.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::message::{
    CSeq, Edits, HeaderName, Message, NameAddr, ReplyParts, Span, Uri, Via, ViaSource, split_list, unfold, unquote,
    write_ack, write_cancel, write_reply,
};

const SEEDS: [&[u8]; 3] = [
    b"INVITE sip:vivekg@chair-dnrc.example.com;unknownparam SIP/2.0\r\n\
    TO :\r\n sip:vivekg@chair-dnrc.example.com ;   tag    = 1918181833n\r\n\
    from   : \"J Rosenberg \\\\\\\"\"       <sip:jdrosen@example.com>\r\n  ;\r\n  tag = 98asjd8\r\n\
    MaX-fOrWaRdS: 0068\r\n\
    Call-ID: x.0ha0isndaksdj@192.0.2.1\r\n\
    cseq: 0009\r\n  INVITE\r\n\
    Via  : SIP  /   2.0\r\n /UDP\r\n    192.0.2.2;branch=390skdjuw, SIP/2.0/TLS [2001:db8::1]:5061 ;rport\r\n\
    s :\r\n\
    NewFangledHeader:   newfangled value\r\n continued newfangled value\r\n\
    Route:\r\n <sip:services.example.com;lr;unknown=\"a,b\">, <sip:p2>\r\n\
    v:  SIP  / 2.0  / TCP     spindle.example.com   ;branch  =   z9hG4bK9ikj8\r\n\
    m:\"Quoted, \\\"string\\\"\" <sip:jdrosen@example.com>;newparam =  \"a;b\"; q = 0.33, tel:+1;x\r\n\
    l: 3\r\n\r\nv=0",
    b"SIP/2.0 180 \xd0\xb7\xd0\xb2\xd0\xbe\nVia: SIP/2.0/UDP h;maddr=[::1];received=\nVia:,,\nRecord-Route:<sip:a;lr>,<sip:b;lr>\nt:<sip:a\ni:\nCSeq:1\n\n",
    b"REGISTER sips:h:5061;transport=tls?a=b&c SIP/2.0\r\nContact: *\r\nExpires: 0\r\nTo: \"unclosed <sip:a>\r\nFrom: <tel:+1>;tag\r\nVia: x\r\nCSeq: 1 REGISTER\r\nCall-ID: c\r\nMax-Forwards: 9\r\n\r\n",
];

#[derive(Clone, Debug)]
enum Mutation {
    Set(Index, u8),
    Insert(Index, u8),
    Remove(Index),
    Truncate(Index),
}

/// Bytes that mean something to the parser come up more often than others.
fn byte() -> impl Strategy<Value = u8> {
    prop_oneof![
        3 => prop::sample::select(b"\r\n \t,;:<>\"\\@[]?=%/*0\0".to_vec()),
        1 => any::<u8>(),
    ]
}

fn mutation() -> impl Strategy<Value = Mutation> {
    prop_oneof![
        4 => (any::<Index>(), byte()).prop_map(|(at, b)| Mutation::Set(at, b)),
        4 => (any::<Index>(), byte()).prop_map(|(at, b)| Mutation::Insert(at, b)),
        4 => any::<Index>().prop_map(Mutation::Remove),
        1 => any::<Index>().prop_map(Mutation::Truncate),
    ]
}

fn mutated() -> impl Strategy<Value = Vec<u8>> {
    (prop::sample::select(SEEDS.to_vec()), vec(mutation(), 0..8)).prop_map(|(seed, mutations)| {
        let mut bytes = seed.to_vec();
        for mutation in mutations {
            match mutation {
                Mutation::Set(at, b) if !bytes.is_empty() => {
                    let at = at.index(bytes.len());
                    bytes[at] = b;
                }
                Mutation::Insert(at, b) => bytes.insert(at.index(bytes.len() + 1), b),
                Mutation::Remove(at) if !bytes.is_empty() => {
                    bytes.remove(at.index(bytes.len()));
                }
                Mutation::Truncate(at) => bytes.truncate(at.index(bytes.len() + 1)),
                Mutation::Set(..) | Mutation::Remove(..) => {}
            }
        }
        bytes
    })
}

/// Looks at everything there is to see.
fn look(message: &Message) {
    for header in message.header_lines() {
        let value = message.text(header.value);
        assert!(header.line.contains(header.value) && header.line.contains(header.name_span));
        assert!(message.header(message.text(header.name_span)).is_some());
        look_at_text(value);
        for item in message.items(header.name) {
            assert_eq!(message.text(item.span), item.raw);
            assert!(message.header_lines()[item.header].value.contains(item.span));
        }
    }
    let _ = (message.from(), message.to(), message.has_to_tag());
    let _ = (message.call_id(), message.cseq());
    assert_eq!(message.top_branch(), message.top_via().and_then(|via| via.branch()));
    assert!(message.further_vias().eq(message.vias().skip(1)));
    let _ = (message.max_forwards(), message.expires());
    if let Some(uri) = message.ruri() {
        look_at_text(uri);
    }
}

fn look_at_text(text: &[u8]) {
    let _ = (unfold(text), unquote(text), CSeq::parse(text));
    if let Some(uri) = Uri::parse(text) {
        assert!(uri.equivalent(&uri), "{uri:?}");
        let _ = (uri.is_lr(), uri.transport(), uri.host_ip());
    }
    for item in split_list(text) {
        if let Some(addr) = NameAddr::parse(item) {
            let _ = (addr.tag(), addr.uri().map(|uri| uri.equivalent(&uri)));
            addr.params.iter().for_each(|param| drop(param.unquoted()));
        }
        if let Some(via) = Via::parse(item) {
            let _ = (via.branch(), via.received_ip(), via.rport(), via.host_ip());
        }
    }
}

fn source() -> ViaSource {
    ViaSource { addr: ([192, 0, 2, 7], 5062).into(), force_rport: true }
}

fn start_of_message(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|b| matches!(b, b'\r' | b'\n')).count()
}

#[test]
fn the_seeds_are_messages() {
    for seed in SEEDS {
        look(&Message::parse(seed).unwrap());
    }
    let wild = Message::parse(SEEDS[0]).unwrap();
    assert_eq!(wild.to().unwrap().tag(), Some(&b"1918181833n"[..]));
    assert_eq!(wild.from().unwrap().tag(), Some(&b"98asjd8"[..]));
    assert_eq!(wild.max_forwards(), Some(68));
    assert_eq!(wild.vias().filter_map(|item| item.via()).count(), 3);
    assert_eq!(wild.routes().count(), 2);
    assert_eq!(wild.contacts().count(), 2);
}

/// White space as it may stand around separators, folds among it.
fn space() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["", "", " ", "\r\n ", " \r\n\t", "\n  "])
}

/// Elements with white space around their commas.
fn list(element: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    vec((space(), element, space()), 1..4).prop_map(|parts| {
        let parts: Vec<_> = parts.into_iter().map(|(before, text, behind)| format!("{before}{text}{behind}")).collect();
        parts.join(",")
    })
}

fn folded_via() -> impl Strategy<Value = String> {
    let param = prop::sample::select(vec!["rport", "rport=1", "received=9.9.9.9", "branch=z9hG4bK1", "x=\";,\"", "y"]);
    let host = prop::sample::select(vec!["192.0.2.7", "192.0.2.7:5062", "host"]);
    (host, vec((space(), param, space()), 0..4)).prop_map(|(host, params)| {
        let params = params.into_iter().map(|(before, param, between)| format!("{before};{between}{param}"));
        format!("SIP/2.0/UDP {host}{}", params.collect::<String>())
    })
}

fn folded_message() -> impl Strategy<Value = String> {
    let address = || {
        prop::sample::select(vec!["<sip:a>", "<sip:b,c;lr>;x", "\"A, B\" <sip:d>", "<sip:e;lr>"])
            .prop_map(str::to_owned)
    };
    (list(folded_via()), list(folded_via()), list(address()), list(address()), list(address()), space(), space())
        .prop_map(|(via, more, route, record, contact, before, behind)| {
            format!(
                "INVITE sip:x SIP/2.0\r\nX-First:{before}1\r\nVia:{via}\r\nX-Folded: a\r\n b\r\nv:{more}\r\n\
                 From:{before}<sip:a>;tag=1{behind}\r\nRoute:{route}\r\nTo:{before}<sip:b>{behind}\r\n\
                 Record-Route:{record}\r\nMax-Forwards:{before}7{behind}\r\nm:{contact}\r\nCall-ID: c\r\n\
                 CSeq:{before}1 INVITE{behind}\r\nX-Last:{before}2\r\nl:{before}4{behind}\r\n\r\nbody"
            )
        })
}

/// The lines of the headers that are white space alone: those that others may take for the end of the headers.
fn blank_lines(bytes: &[u8]) -> usize {
    let message = Message::parse(bytes).unwrap();
    let headers = &bytes[..message.headers_end() as usize];
    let blank = |line: &&[u8]| line.iter().all(|b| matches!(b, b' ' | b'\t' | b'\r'));
    headers.strip_suffix(b"\n").unwrap().split(|b| *b == b'\n').filter(blank).count()
}

/// The header lines whose name begins with X, and the body.
fn others(message: &Message) -> Vec<&[u8]> {
    let ours = |header: &&crate::message::Header| message.text(header.name_span).starts_with(b"X");
    message.header_lines().iter().filter(ours).map(|header| message.text(header.line)).chain([message.body()]).collect()
}

proptest! {
    #[test]
    fn no_edit_of_folded_lines_leaves_a_line_of_blanks(
        text in folded_message(),
        stamp in prop::option::of(any::<bool>()),
        picks in vec((0usize..4, any::<Index>()), 0..8),
        forwards in any::<bool>(),
        body in any::<bool>(),
    ) {
        let message = Message::parse(text.as_bytes()).unwrap();
        let before = blank_lines(text.as_bytes());
        let mut edits = Edits::new();
        if let Some(force_rport) = stamp {
            edits.stamp_top_via(&message, ViaSource { force_rport, ..source() }).unwrap();
        }
        for (list, pick) in picks {
            let name = [HeaderName::Via, HeaderName::Route, HeaderName::RecordRoute, HeaderName::Contact][list];
            let items: Vec<_> = message.items(name).collect();
            edits.delete_item(&message, &items[pick.index(items.len())]);
        }
        if forwards {
            edits.decrement_max_forwards(&message, 70).unwrap();
        }
        if body {
            edits.set_body(b"body");
        }
        let mut out = Vec::new();
        edits.serialise(&message, &mut out);
        prop_assert!(blank_lines(&out) <= before, "{}", out.escape_ascii());
        let sent = Message::parse(&out).unwrap();
        prop_assert_eq!(others(&sent), others(&message));

        let parts = ReplyParts { source: Some(source()), to_tag: Some(b"t"), ..ReplyParts::new(200) };
        out.clear();
        write_reply(&message, &parts, &mut out).unwrap();
        prop_assert!(blank_lines(&out) <= before, "{}", out.escape_ascii());
        out.clear();
        write_cancel(&message, b"", &mut out).unwrap();
        prop_assert!(blank_lines(&out) <= before, "{}", out.escape_ascii());
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in vec(byte(), 0..300)) {
        look_at_text(&bytes);
        if let Ok(message) = Message::parse(&bytes) {
            look(&message);
        }
    }

    #[test]
    fn what_is_not_edited_leaves_as_it_came(bytes in mutated()) {
        if let Ok(message) = Message::parse(&bytes) {
            look(&message);
            let mut out = Vec::new();
            Edits::new().serialise(&message, &mut out);
            let received = &bytes[start_of_message(&bytes)..];
            let again = Message::parse(&out).unwrap();
            if received.starts_with(&out) {
                prop_assert_eq!(again, message);
            } else {
                // The empty line behind the headers was missing.
                let whole = out.strip_suffix(b"\r\n").unwrap();
                prop_assert!(received.starts_with(whole) && whole.ends_with(b"\n"));
                prop_assert!(message.fault().is_some());
                prop_assert_eq!(again.header_lines(), message.header_lines());
            }
        }
    }

    #[test]
    fn a_forwarded_message_is_a_message(bytes in mutated()) {
        let Ok(message) = Message::parse(&bytes) else { return Ok(()) };
        let mut edits = Edits::new();
        let _ = edits.set_ruri(&message, b"sip:new@example.org");
        edits.prepend_via(&message, b"SIP/2.0/UDP proxy;branch=z9hG4bKp").unwrap();
        let _ = edits.stamp_top_via(&message, source());
        let _ = edits.decrement_max_forwards(&message, 70);
        edits.remove_top_route(&message);
        edits.insert_record_route(&message, b"<sip:proxy;lr>").unwrap();
        edits.append_headers(&message, b"X-Last: 1").unwrap();
        let mut out = Vec::new();
        edits.serialise(&message, &mut out);
        let sent = Message::parse(&out).unwrap();
        prop_assert_eq!(sent.top_via().unwrap().host, b"proxy");
        prop_assert_eq!(sent.vias().count(), message.vias().count() + 1);
        prop_assert_eq!(sent.routes().count(), message.routes().count().saturating_sub(1));
        prop_assert_eq!(sent.body(), message.body());
        edits.set_body(b"other");
        out.clear();
        edits.serialise(&message, &mut out);
        let sent = Message::parse(&out).unwrap();
        prop_assert_eq!(sent.body(), b"other");
        prop_assert_eq!(sent.content_length(), Some(5));
        // The edits undone: our own Via removed and the rest is there.
        let mut back = Edits::new();
        prop_assert!(back.remove_top_via(&sent));
        out.clear();
        back.serialise(&sent, &mut out);
        prop_assert_eq!(Message::parse(&out).unwrap().vias().count(), message.vias().count());
    }

    #[test]
    fn what_we_write_is_a_message(bytes in mutated()) {
        let Ok(message) = Message::parse(&bytes) else { return Ok(()) };
        let mut out = Vec::new();
        let parts = ReplyParts { source: Some(source()), to_tag: Some(b"t"), ..ReplyParts::new(500) };
        if write_reply(&message, &parts, &mut out).is_ok() {
            let reply = Message::parse(&out).unwrap();
            prop_assert_eq!(reply.vias().count(), message.vias().count());
            prop_assert_eq!(reply.cseq(), message.cseq());
            if let Some(via) = reply.top_via() {
                prop_assert_eq!(via.received_ip(), Some(source().addr.ip()));
                prop_assert_eq!(via.rport(), Some(5062));
            }
            out.clear();
            if write_ack(&message, &reply, &mut out).is_ok() {
                let ack = Message::parse(&out).unwrap();
                prop_assert_eq!(ack.vias().count(), 1);
                prop_assert_eq!(ack.routes().count(), message.routes().count());
            }
        }
        out.clear();
        if write_cancel(&message, b"", &mut out).is_ok() {
            prop_assert_eq!(Message::parse(&out).unwrap().cseq().unwrap().number, message.cseq().unwrap().number);
        }
    }

    #[test]
    fn any_elements_can_be_deleted_in_any_order(
        bytes in mutated(),
        picks in vec(any::<Index>(), 0..6),
    ) {
        let Ok(message) = Message::parse(&bytes) else { return Ok(()) };
        for name in [HeaderName::Via, HeaderName::Route, HeaderName::Contact, HeaderName::RecordRoute] {
            let items: Vec<_> = message.items(name).collect();
            let mut left = vec![true; items.len()];
            let mut edits = Edits::new();
            for pick in picks.iter().filter(|_| !items.is_empty()) {
                let pick = pick.index(items.len());
                edits.delete_item(&message, &items[pick]);
                left[pick] = false;
            }
            let mut out = Vec::new();
            edits.serialise(&message, &mut out);
            let after = Message::parse(&out).unwrap();
            let found: Vec<_> = after.items(name).map(|item| item.raw).collect();
            let expected: Vec<_> =
                items.iter().zip(&left).filter(|(_, left)| **left).map(|(item, _)| item.raw).collect();
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn edits_at_any_offsets_never_panic_and_keep_the_length_right(
        bytes in mutated(),
        ops in vec((0u32..700, 0u32..700, vec(byte(), 0..4), 0..3), 0..12),
    ) {
        let Ok(message) = Message::parse(&bytes) else { return Ok(()) };
        let body = message.body_span();
        let mut anywhere = Edits::new();
        let mut in_body = Edits::new();
        for (start, end, text, kind) in &ops {
            let (start, end) = (*start, *end);
            let apply = |edits: &mut Edits, start: u32, end: u32| match kind {
                0 => edits.insert(start, text),
                1 => edits.delete(Span { start, end }),
                _ => edits.replace(Span { start, end }, text),
            };
            apply(&mut anywhere, start, end);
            let inside = |offset: u32| body.start + offset % (body.end - body.start + 1);
            let (start, end) = (inside(start), inside(end));
            apply(&mut in_body, start.min(end), start.max(end));
        }
        let mut out = Vec::new();
        anywhere.serialise(&message, &mut out);
        out.clear();
        in_body.serialise(&message, &mut out);
        let after = Message::parse(&out).unwrap();
        prop_assert_eq!(after.bytes().len(), out.len(), "Content-Length is short");
    }
}
