//! What the transactions say that they hold is what they hold, so that the limit on it is one.

mod common;

use std::fmt::Write;
use std::net::SocketAddr;

use kemi_core::engine::NativeCallback;
use kemi_core::limits::held_bytes;
use kemi_core::{CountingAllocator, Value};
use sip_modules::modules::{rr, tm};
use sip_modules::proxy::{Cx, Harness, Metrics, ProxySettings};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator::system();

/// Enough for the tables' growth to show no steps.
const CALLS: u32 = 1_000;

const CALLER: &str = "127.0.0.9:5090";

/// What a callee answers: status lines, each with more header lines.
type Replies<'a> = &'a [(&'a str, &'a str)];

fn relaying() -> (Harness, Metrics) {
    let settings = ProxySettings { transaction_memory: 0, ..ProxySettings::default() };
    let route: NativeCallback<Cx> = |cx, script, _| {
        rr::record_route(cx);
        tm::t_relay(cx, script);
        Ok(Value::Nil)
    };
    let common::Proxy { harness, program, .. } = common::Proxy::with(settings, route, &[]);
    let metrics = Metrics::new(harness.shared().clone(), program);
    (harness, metrics)
}

/// An INVITE of its own transaction; `cookie` is how its branch begins.
fn invite(number: u32, cookie: &str, headers: &str, body: &str) -> String {
    format!(
        "INVITE sip:bob@127.0.0.8:5070 SIP/2.0\r\n\
         Via: SIP/2.0/UDP {CALLER};branch={cookie}memory{number}\r\n\
         Max-Forwards: 70\r\n\
         From: \"Alice\" <sip:alice@example.net>;tag=from{number}\r\n\
         To: <sip:bob@127.0.0.8:5070>\r\n\
         Call-ID: memory-{number}@example.net\r\n\
         CSeq: 1 INVITE\r\n\
         Contact: <sip:alice@{CALLER}>\r\n\
         {headers}\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// A callee's reply to what it has got.
fn reply(request: &str, status: &str, more: &str) -> String {
    let copied = ["Via:", "Record-Route:", "From:", "To:", "Call-ID:", "CSeq:"];
    let lines = request.lines().filter(|line| copied.iter().any(|name| line.starts_with(name)));
    let mut text = format!("SIP/2.0 {status}\r\n");
    for line in lines {
        let tag = if line.starts_with("To:") { ";tag=callee" } else { "" };
        write!(text, "{line}{tag}\r\n").expect("a String takes it");
    }
    text + more + "Content-Length: 0\r\n\r\n"
}

/// Begins calls and answers each with `replies`; returns the bytes of one by the allocator and by the metrics.
fn measure(cookie: &str, headers: &str, body: &str, replies: Replies<'_>) -> (i64, i64) {
    let (mut proxy, metrics) = relaying();
    let addresses: [SocketAddr; 2] = [CALLER, "127.0.0.8:5070"].map(|address| address.parse().unwrap());
    let mut call = |number| {
        proxy.receive(invite(number, cookie, headers, body).as_bytes(), addresses[0]);
        let mut sent = Vec::new();
        proxy.sent(|bytes, dest| {
            sent.extend((dest == addresses[1]).then(|| String::from_utf8_lossy(bytes).into_owned()))
        });
        let [request] = sent.as_slice() else { panic!("{sent:?}") };
        for (status, more) in replies {
            proxy.receive(reply(request, status, more).as_bytes(), addresses[1]);
            proxy.sent(|_, _| ());
        }
    };
    (0..CALLS).for_each(&mut call);
    let counted = || i64::try_from(metrics.snapshot().transactions_bytes).expect("a machine's memory");
    let (before, counted_before) = (held_bytes(), counted());
    (CALLS..2 * CALLS).for_each(&mut call);
    let calls = i64::from(CALLS);
    ((held_bytes() - before) / calls, (counted() - counted_before) / calls)
}

#[test]
fn what_transactions_say_that_they_hold_is_what_they_hold() {
    let (cookie, session) = ("z9hG4bK", "v=0\r\n".repeat(40));
    let many_headers: String = (0..400).map(|i| format!("X-{i}: y\r\n")).collect();
    let long_header = format!("X-Long: {}\r\n", "y".repeat(20_000));
    let (ringing, ok, busy) = ("180 Ringing", "200 OK", "486 Busy Here");
    let rows: [(&str, &str, &str, &str, Replies<'_>); 8] = [
        ("an INVITE without a reply", cookie, "", &session, &[]),
        ("one that rings", cookie, "", &session, &[(ringing, "")]),
        ("one that rings at length", cookie, "", &session, &[(ringing, &long_header)]),
        ("one that was answered", cookie, "", &session, &[(ringing, ""), (ok, &long_header)]),
        ("one that was refused", cookie, "", &session, &[(busy, "")]),
        ("one of many headers", cookie, &many_headers, "", &[]),
        ("a large one", cookie, "", &"x".repeat(60_000), &[]),
        ("one of the RFC before", "old", "", &session, &[]),
    ];
    let mut wrong = Vec::new();
    for (what, cookie, headers, body, replies) in rows {
        let (held, counted) = measure(cookie, headers, body, replies);
        println!("{what}: {held} bytes, counted {counted}");
        if counted * 10 < held * 9 || counted * 10 > held * 13 {
            wrong.push(format!("{what}: {held} bytes, counted {counted}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
