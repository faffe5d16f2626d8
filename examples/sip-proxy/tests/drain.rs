//! The end: what is in progress is finished, what is new is refused, and the process ends by itself.

mod support;

use std::time::{Duration, Instant};

use support::{Call, Phone, Proxy, Received};

/// A call that rings at its callee, through a proxy with its built-in Lua script.
struct Ringing {
    proxy: Proxy,
    caller: Phone,
    callee: Phone,
    call: Call,
    invite: Received,
}

fn ringing(args: &[&str]) -> Ringing {
    let proxy = Proxy::start(&[&["--http", "0"], args].concat());
    proxy.expect_page("/ready", 200);
    let (caller, callee) = (Phone::new(&proxy), Phone::new(&proxy));
    let call = caller.invite(&format!("sip:callee@{}", callee.address));
    caller.reply(100);
    let invite = callee.request("INVITE");
    callee.answer(&invite, 180, "Ringing");
    caller.reply(180);
    Ringing { proxy, caller, callee, call, invite }
}

/// Sends SIGTERM and waits until the drain has begun.
fn terminate(proxy: &Proxy) {
    proxy.signal("TERM");
    proxy.expect_log("draining for at most");
    proxy.expect_page("/ready", 503);
    proxy.expect_page("/health", 200);
}

fn expect_refusal(phone: &Phone) -> Received {
    let refused = phone.reply(503);
    assert_eq!(refused.header("Retry-After"), "10", "{}", refused.text);
    refused
}

#[test]
fn a_call_in_progress_is_finished_and_new_ones_are_refused() {
    let Ringing { mut proxy, caller, callee, call, invite } = ringing(&[]);
    terminate(&proxy);
    assert!(proxy.log().contains("1 transactions, 1 of them without a final reply"), "{}", proxy.log());

    let other = Phone::new(&proxy);
    let second = other.invite(&format!("sip:callee@{}", callee.address));
    let refused = expect_refusal(&other);
    other.send(&second.ack_failure(&other, &refused));
    other.options("x");
    expect_refusal(&other);

    // The INVITE again is a retransmission, not a new one.
    caller.send(&call.invite(&caller));
    caller.reply(180);

    callee.answer(&invite, 200, "OK");
    let ok = caller.reply(200);
    caller.send(&call.ack(&caller, &ok));
    callee.request("ACK");
    caller.send(&call.bye(&caller, &ok));
    let bye = callee.request("BYE");
    callee.answer(&bye, 200, "OK");
    caller.reply(200);
    assert!(proxy.wait(), "it ends by itself:\n{}", proxy.log());
    assert!(proxy.log().contains("every request has its final reply"), "{}", proxy.log());
}

#[test]
fn a_call_in_progress_can_be_cancelled() {
    let Ringing { mut proxy, caller, callee, call, invite } = ringing(&[]);
    terminate(&proxy);
    caller.send(&call.cancel(&caller));
    caller.reply(200);
    let cancel = callee.request("CANCEL");
    callee.answer(&cancel, 200, "OK");
    callee.answer(&invite, 487, "Request Terminated");
    callee.request("ACK");
    let terminated = caller.reply(487);
    caller.send(&call.ack_failure(&caller, &terminated));
    assert!(proxy.wait(), "it ends by itself:\n{}", proxy.log());
}

#[test]
fn a_second_sigterm_ends_at_once_and_so_does_sigint() {
    for signal in ["TERM", "INT"] {
        let Ringing { mut proxy, .. } = ringing(&[]);
        terminate(&proxy);
        proxy.signal(signal);
        assert!(proxy.wait(), "{}", proxy.log());
        let log = proxy.log();
        assert!(log.contains("told to end while draining: 1 requests stay without a final reply"), "{log}");
    }
}

#[test]
fn sigint_drains_nothing() {
    let Ringing { mut proxy, .. } = ringing(&[]);
    proxy.signal("INT");
    assert!(proxy.wait(), "{}", proxy.log());
    assert!(!proxy.log().contains("draining"), "{}", proxy.log());
}

#[test]
fn the_drain_ends_at_its_limit() {
    let config = format!("{}/tests/scripts/drain.cfg", env!("CARGO_MANIFEST_DIR"));
    let Ringing { mut proxy, .. } = ringing(&["-f", &config, "--cfgengine", "rust"]);
    let begun = Instant::now();
    terminate(&proxy);
    assert!(proxy.wait(), "{}", proxy.log());
    assert!(begun.elapsed() >= Duration::from_secs(1), "{:?}", begun.elapsed());
    assert!(proxy.log().contains("the limit: 1 requests stay without a final reply"), "{}", proxy.log());
}

#[test]
fn without_a_limit_sigterm_ends_at_once() {
    let config = format!("{}/tests/scripts/drain.cfg", env!("CARGO_MANIFEST_DIR"));
    let Ringing { mut proxy, .. } = ringing(&["-f", &config, "--cfgengine", "rust", "-A", "AT_ONCE"]);
    proxy.signal("TERM");
    assert!(proxy.wait(), "{}", proxy.log());
    assert!(!proxy.log().contains("draining"), "{}", proxy.log());
}

#[test]
fn an_idle_proxy_ends_at_once() {
    let mut proxy = Proxy::start(&[]);
    proxy.signal("TERM");
    assert!(proxy.wait(), "{}", proxy.log());
    assert!(proxy.log().contains("0 transactions, 0 of them"), "{}", proxy.log());
}
