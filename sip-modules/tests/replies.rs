//! Which replies of a callee belong to the request that it was sent, and are passed on to the caller.

mod common;

use std::net::SocketAddr;

use kemi_core::Value;
use sip_modules::modules::tm;
use sip_modules::proxy::{Harness, ProxySettings};

const CALLER: &str = "127.0.0.9:5090";
const CALLEE: &str = "127.0.0.8:5070";

/// A proxy whose route relays everything.
fn relaying() -> Harness {
    let (proxy, _program) = common::proxy(ProxySettings::default(), |cx, script, _| {
        tm::t_relay(cx, script);
        Ok(Value::Nil)
    });
    proxy
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// What goes to an address.
fn sent_to(proxy: &mut Harness, to: &str) -> Vec<String> {
    let mut sent = Vec::new();
    proxy.sent(|bytes, dest| sent.extend((dest == address(to)).then(|| String::from_utf8_lossy(bytes).into_owned())));
    sent
}

/// Sends a request through the proxy; returns it as the callee gets it.
fn send(proxy: &mut Harness, method: &str) -> String {
    let request = format!(
        "{method} sip:bob@{CALLEE} SIP/2.0\r\n\
         Via: SIP/2.0/UDP {CALLER};branch=z9hG4bKreplies{method}\r\n\
         Max-Forwards: 70\r\n\
         From: <sip:alice@example.net>;tag=from\r\n\
         To: <sip:bob@{CALLEE}>\r\n\
         Call-ID: replies-{method}\r\n\
         CSeq: 1 {method}\r\n\
         Contact: <sip:alice@{CALLER}>\r\n\
         Content-Length: 0\r\n\r\n"
    );
    proxy.receive(request.as_bytes(), address(CALLER));
    sent_to(proxy, CALLEE).pop().expect("it is relayed")
}

/// The callee's reply, with so many Via lines and the method of its CSeq.
fn reply(request: &str, status: &str, vias: usize, method: &str) -> String {
    let vias = request.lines().filter(|line| line.starts_with("Via:")).take(vias);
    let others = request.lines().filter(|line| ["From:", "To:", "Call-ID:"].iter().any(|name| line.starts_with(name)));
    let lines: Vec<&str> = vias.chain(others).collect();
    format!("SIP/2.0 {status}\r\n{}\r\nCSeq: 1 {method}\r\nContent-Length: 0\r\n\r\n", lines.join("\r\n"))
}

#[test]
fn a_reply_is_passed_on_if_its_branch_and_method_are_those_of_what_was_sent_and_a_via_is_left() {
    for (sent, status, vias, method, passed_on) in [
        ("INVITE", "486 Busy Here", 2, "INVITE", true),
        ("INVITE", "180 Ringing", 2, "INVITE", true),
        ("INVITE", "200 OK", 2, "MESSAGE", false),
        ("INVITE", "486 Busy Here", 2, "OPTIONS", false),
        ("INVITE", "486 Busy Here", 1, "INVITE", false),
        ("INVITE", "180 Ringing", 1, "INVITE", false),
        ("MESSAGE", "200 OK", 2, "MESSAGE", true),
        ("MESSAGE", "200 OK", 2, "INVITE", false),
        ("MESSAGE", "200 OK", 2, "OPTIONS", false),
        ("MESSAGE", "200 OK", 1, "MESSAGE", false),
    ] {
        let mut proxy = relaying();
        let request = send(&mut proxy, sent);
        sent_to(&mut proxy, CALLER);
        proxy.receive(reply(&request, status, vias, method).as_bytes(), address(CALLEE));
        let got = sent_to(&mut proxy, CALLER);
        assert_eq!(!got.is_empty(), passed_on, "{sent}: {status} to {method} with {vias} Via: {got:?}");

        // What was no answer has ended nothing.
        if !passed_on {
            proxy.receive(reply(&request, "403 Forbidden", 2, sent).as_bytes(), address(CALLEE));
            let got = sent_to(&mut proxy, CALLER);
            assert!(got.iter().any(|reply| reply.starts_with("SIP/2.0 403 ")), "{sent}: {status} to {method}: {got:?}");
        }
    }
}
