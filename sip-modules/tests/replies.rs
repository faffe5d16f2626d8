//! Which replies of a callee belong to the request that it was sent, and are passed on to the caller.

mod common;

use std::sync::Mutex;

use common::{CALLEE, CALLER, Proxy, reply, reply_with};
use kemi_core::Value;
use sip_modules::modules::tm;
use sip_modules::proxy::ProxySettings;

/// The replies that the core's reply route has seen, and what `t_check_trans` said of them.
static CHECKED: Mutex<Vec<(u16, i64)>> = Mutex::new(Vec::new());

#[test]
fn the_cores_reply_route_can_ask_whether_a_reply_answers_what_was_sent() {
    let mut proxy = Proxy::with(
        ProxySettings::default(),
        |cx, script, _| {
            tm::t_relay(cx, script);
            Ok(Value::Nil)
        },
        &[("ksr_reply_route", |cx, script, _| {
            let checked = tm::t_check_trans(cx, script);
            CHECKED.lock().unwrap().push((cx.msg.message.status().unwrap_or_default(), checked));
            Ok(Value::Nil)
        })],
    );
    let sent = proxy.call("INVITE");
    proxy.taken(CALLER);
    proxy.receive(CALLEE, &reply(&sent, "183 Stray").replace("branch=z9hG4bK-", "branch=z9hG4bK-f"));
    proxy.receive(CALLEE, &reply(&sent, "180 Ringing"));
    assert_eq!(proxy.words(CALLER), ["180"]);
    assert_eq!(*CHECKED.lock().unwrap(), [(183, -1), (180, 1)]);
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
        let mut proxy = Proxy::new(|cx, script, _| {
            tm::t_relay(cx, script);
            Ok(Value::Nil)
        });
        let request = proxy.call(sent);
        proxy.taken(CALLER);
        proxy.receive(CALLEE, &reply_with(&request, status, vias, Some(method)));
        let got = proxy.taken(CALLER);
        assert_eq!(!got.is_empty(), passed_on, "{sent}: {status} to {method} with {vias} Via: {got:?}");

        // What was no answer has ended nothing.
        if !passed_on {
            proxy.receive(CALLEE, &reply_with(&request, "403 Forbidden", 2, None));
            assert_eq!(proxy.words(CALLER), ["403"], "{sent}: {status} to {method}");
        }
    }
}
