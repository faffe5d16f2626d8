//! Any datagrams from three peers, one after the other: the whole proxy between the sockets, routed like the basic script.
//!
//! The input is cut at `%%%` and the digit behind it, which chooses the peer; `$V` stands for the Via lines of the request that the
//! proxy has sent last, so that replies find what they answer, and `$T` for the To line of the reply that it has sent last.
#![no_main]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use kemi_core::{CallbackName, NativeEngine, Program, Registry, Script, Value};
use libfuzzer_sys::fuzz_target;
use sip_modules::message::{Fault, Message};
use sip_modules::modules::{core, corex, maxfwd, registrar, rr, sanity, siputils, sl, tm, tmx};
use sip_modules::proxy::{Cx, Harness, ProxySettings, RouteNames, Routes, Setup};

/// How many messages one input makes the proxy send at most: forks are bounded, not free.
const MAX_SENT: usize = 20_000;

fuzz_target!(|input: &[u8]| {
    let mut proxy = proxy();
    let peers: [SocketAddr; 3] = [([127, 0, 0, 9], 5090).into(), ([127, 0, 0, 8], 5070).into(), ([127, 0, 0, 1], 5060).into()];
    let (mut vias, mut to) = (Vec::new(), Vec::new());
    let mut sent = 0;
    for part in split(input) {
        let (peer, datagram) = match part.split_first() {
            Some((digit @ b'0'..=b'2', rest)) => (usize::from(digit - b'0'), rest),
            _ => (0, part),
        };
        let datagram = replace(&replace(datagram, b"$V", &vias), b"$T", &to);
        proxy.receive(&datagram, peers[peer]);
        proxy.end_turn();
        proxy.sent(|bytes, dest| {
            sent += 1;
            // Whatever comes in, what goes out is a message, and to an address that it can be sent to.
            let message = Message::parse(bytes).expect("a message");
            // A refusal repeats the CSeq that it refuses.
            let fault = message.fault().filter(|fault| message.is_request() || *fault != Fault::CSeq);
            assert_eq!(fault, None, "{}", bytes.escape_ascii());
            assert!(!dest.ip().is_unspecified() && !dest.ip().is_multicast(), "{dest}");
            let lines = |name: &[u8]| -> Vec<u8> {
                message.headers(name).flat_map(|header| message.text(header.line)).copied().collect()
            };
            if message.is_request() { vias = lines(b"Via") } else { to = lines(b"To") }
        });
        assert!(sent < MAX_SENT, "an avalanche");
    }
});

fn split(input: &[u8]) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    let mut rest = input;
    while let Some(at) = rest.windows(3).position(|window| window == b"%%%") {
        parts.push(&rest[..at]);
        rest = &rest[at + 3..];
    }
    parts.push(rest);
    parts.truncate(16);
    parts
}

fn replace(text: &[u8], name: &[u8], value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.windows(name.len()).position(|window| window == name) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(value);
        rest = &rest[at + name.len()..];
    }
    out.extend_from_slice(rest);
    out
}

/// What does not change from input to input.
struct Fixed {
    registry: Registry<Cx>,
    routes: Routes,
    program: Arc<Program<Cx>>,
}

thread_local! {
    static FIXED: Fixed = fixed();
}

/// A proxy that knows nothing yet.
fn proxy() -> Harness {
    FIXED.with(|fixed| {
        let setup = Setup {
            listen: vec![([127, 0, 0, 1], 5060).into(), ([127, 0, 0, 2], 5070).into()],
            workers: 1,
            receive_buffer: None,
            aliases: vec![("example.org".to_owned(), None)],
            settings: ProxySettings::default(),
            registry: fixed.registry.clone(),
            routes: fixed.routes,
            defines: BTreeMap::new(),
        };
        Harness::new(setup, &fixed.program).expect("a proxy")
    })
}

fn fixed() -> Fixed {
    let (callbacks, routes) = Routes::declare(&RouteNames::default());
    let registry = Registry::builder().root("KSR").callbacks(callbacks).build().expect("a registry");
    let engine = NativeEngine::new("rust")
        .callback("ksr_request_route", |cx, script, _| {
            request_route(cx, script);
            Ok(Value::Nil)
        })
        .callback("ksr_reply_route", |cx, script, _| {
            let _ = (sanity::sanity_check(cx, 17_604, 6), tm::t_check_trans(cx, script));
            Ok(Value::Nil)
        })
        .callback("mark", |cx, _, _| {
            cx.msg.flags ^= 1;
            let _ = sip_modules::modules::hdr::append(cx, b"X-Mark: 1\r\n");
            Ok(Value::Nil)
        })
        .callback("elsewhere", |cx, script, _| {
            core::seturi(cx, b"sip:mail@127.0.0.8:5070");
            tm::t_relay(cx, script);
            Ok(Value::Nil)
        });
    let program = Program::open(Arc::new(engine), &registry, &[]).expect("a program");
    Fixed { registry, routes, program }
}

fn request_route(cx: &mut Cx, script: &Script<'_>) {
    core::force_rport(cx);
    if maxfwd::process_maxfwd(cx, 10) < 0 {
        sl::sl_send_reply(cx, 483, b"Too Many Hops");
        return;
    }
    // Half of the messages go on unchecked: a script may not check.
    if cx.msg.message.bytes().len() % 2 == 0 && sanity::sanity_check(cx, 17_895, 7) < 0 {
        return;
    }
    if cx.msg.method() == b"CANCEL" {
        if tm::t_check_trans(cx, script) > 0 {
            tm::t_relay(cx, script);
        }
        return;
    }
    if tmx::t_precheck_trans(cx) > 0 || tm::t_check_trans(cx, script) == 0 {
        return;
    }
    for (set, name) in [
        (tm::t_on_branch as fn(&mut Cx, &Script<'_>, CallbackName<'_>) -> _, "mark"),
        (tm::t_on_reply, "mark"),
        (tm::t_on_failure, "elsewhere"),
    ] {
        set(cx, script, CallbackName::new(name)).expect("a callback");
    }
    if siputils::has_totag(cx) > 0 && rr::loose_route(cx) > 0 {
        tm::t_relay(cx, script);
        return;
    }
    rr::record_route(cx);
    match cx.msg.method() {
        b"REGISTER" => drop(registrar::save(cx, "location", 0)),
        b"PUBLISH" => {
            tm::t_newtran(cx, script);
            sl::send_reply(cx, 200, b"OK");
        }
        _ => {
            if corex::has_ruri_user(cx) > 0 && core::myself::is_myself_ruri(cx) {
                registrar::lookup(cx, "location");
            }
            if tm::t_relay(cx, script) < 0 {
                sl::sl_reply_error(cx);
            }
        }
    }
}
