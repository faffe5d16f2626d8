//! Which ACKs end at the proxy, and which go on to the callee (RFC 3261 §13.2.2.4, §17.1.1.3).

mod common;

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use common::{CALLEE, CALLER, Proxy, hop_request, reply, request};
use kemi_core::Value;
use sip_modules::modules::{sl, tm};
use sip_modules::proxy::ProxySettings;
use sip_modules::transaction::{Config, Timers};

/// What `t_check_trans` said of the last ACK.
static CHECKED: AtomicI64 = AtomicI64::new(0);

/// Timers that repeat after 20 ms.
fn quick() -> ProxySettings {
    let timers = Timers { t1: 20, ..Timers::default() };
    ProxySettings { transaction: Config { timers, ..Config::default() }, ..ProxySettings::default() }
}

/// The ACK of a 2xx: with a branch of its own.
fn ack_of_2xx(invite: &str, reply: &str) -> String {
    hop_request("ACK", invite, Some(reply), "").replace("branch=z9hG4bK", "branch=z9hG4bKack")
}

#[test]
fn the_ack_of_a_refusal_ends_at_the_proxy_that_has_passed_it_on_also_if_the_route_only_relays() {
    let mut proxy = Proxy::with(
        quick(),
        |cx, script, _| {
            tm::t_relay(cx, script);
            Ok(Value::Nil)
        },
        &[],
    );
    let sent = proxy.call("INVITE");
    proxy.receive(CALLEE, &reply(&sent, "488 Not Acceptable Here"));
    assert_eq!(proxy.words(CALLEE), ["ACK"], "the proxy's own");
    let refusal = proxy.taken(CALLER).pop().unwrap();
    let route = "Route: <sip:127.0.0.1:5060;lr>\r\n";
    proxy.receive(CALLER, &hop_request("ACK", &request("INVITE", route), Some(&refusal), route));
    proxy.pass(Duration::from_millis(100));
    assert!(proxy.taken(CALLEE).is_empty(), "no stray ACK");
    assert!(proxy.taken(CALLER).is_empty(), "the refusal is not repeated");
}

#[test]
fn the_ack_of_the_proxys_own_2xx_ends_its_repetition_and_goes_nowhere() {
    let mut proxy = Proxy::with(
        quick(),
        |cx, script, _| {
            if cx.msg.method() == b"ACK" {
                CHECKED.store(tm::t_check_trans(cx, script), Ordering::Relaxed);
            } else {
                tm::t_newtran(cx, script);
                sl::send_reply(cx, 200, b"OK");
            }
            Ok(Value::Nil)
        },
        &[],
    );
    let invite = request("INVITE", "");
    proxy.receive(CALLER, &invite);
    proxy.pass(Duration::from_millis(50));
    let answers = proxy.taken(CALLER);
    assert!(answers.len() > 1, "it is repeated");

    let ack = ack_of_2xx(&invite, &answers[0]);
    let cseq = ack.replace("CSeq: 1 ", "CSeq: 2 ");
    for foreign in [
        ack.replace(";tag=from", ";tag=other"),
        ack.replace("To: <sip:bob@127.0.0.8:5070>;tag=", "To: <sip:bob@127.0.0.8:5070>;tag=x"),
        cseq,
    ] {
        proxy.receive(CALLER, &foreign);
        assert_eq!(CHECKED.load(Ordering::Relaxed), -1, "{foreign}");
    }
    proxy.receive(CALLER, &ack);
    assert_eq!(CHECKED.load(Ordering::Relaxed), 0);
    proxy.taken(CALLER);
    proxy.pass(Duration::from_millis(100));
    assert!(proxy.taken(CALLER).is_empty(), "it is repeated no more");
}

#[test]
fn the_ack_of_a_callees_2xx_belongs_to_the_call_and_is_passed_on() {
    let mut proxy = Proxy::new(|cx, script, _| {
        if cx.msg.method() != b"ACK" || tm::t_check_trans(cx, script) > 0 {
            tm::t_relay(cx, script);
        }
        Ok(Value::Nil)
    });
    let sent = proxy.call("INVITE");
    proxy.receive(CALLEE, &reply(&sent, "200 OK"));
    let ok = proxy.taken(CALLER).pop().unwrap();
    let invite = request("INVITE", "");
    for (rule, ack, passed_on) in [
        ("a branch of its own", ack_of_2xx(&invite, &ok), true),
        ("the INVITE's branch", hop_request("ACK", &invite, Some(&ok), ""), true),
        ("of another dialog", ack_of_2xx(&invite, &ok).replace(";tag=callee", ";tag=other"), false),
    ] {
        proxy.receive(CALLER, &ack);
        assert_eq!(proxy.words(CALLEE) == ["ACK"], passed_on, "{rule}");
    }
}
