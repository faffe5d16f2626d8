//! What comes of an INVITE that the caller cancels, and what the proxy's own CANCELs say (RFC 3261 §9, RFC 3326).

mod common;

use std::sync::atomic::{AtomicI64, Ordering};

use common::{CALLEE, CALLER, Proxy, has, hop_request, line, reply, request, word};
use kemi_core::Value;
use sip_modules::modules::tm;
use sip_modules::proxy::{ExtraBranch, ProxySettings};
use sip_modules::transaction::Actions;

const SECOND: &str = "127.0.0.7:5070";

/// What `t_relay` said of an INVITE that was cancelled before.
static RELAYED: AtomicI64 = AtomicI64::new(0);

fn relaying() -> Proxy {
    Proxy::new(|cx, script, _| {
        tm::t_relay(cx, script);
        Ok(Value::Nil)
    })
}

/// Rings at two callees.
fn forking(settings: ProxySettings) -> Proxy {
    Proxy::with(
        settings,
        |cx, script, _| {
            let ruri = format!("sip:bob@{SECOND}").into_bytes();
            cx.msg.branches.push(ExtraBranch { ruri, ..ExtraBranch::default() });
            tm::t_relay(cx, script);
            Ok(Value::Nil)
        },
        &[],
    )
}

fn cancel(more: &str) -> String {
    hop_request("CANCEL", &request("INVITE", ""), None, more)
}

#[test]
fn an_invite_that_is_cancelled_before_its_route_is_over_is_answered_487_and_goes_nowhere() {
    // The route has a transaction, gets the CANCEL meanwhile, as by another worker, and then relays or not.
    for relays in [true, false] {
        let mut proxy = if relays {
            Proxy::new(|cx, script, _| {
                if cx.msg.method() == b"INVITE" {
                    tm::t_newtran(cx, script);
                    let handle = cx.msg.transaction.clone().expect("it is new");
                    handle.lock().machine.cancel(0, &mut Actions::default());
                    RELAYED.store(tm::t_relay(cx, script), Ordering::Relaxed);
                }
                Ok(Value::Nil)
            })
        } else {
            Proxy::new(|cx, script, _| {
                tm::t_newtran(cx, script);
                let handle = cx.msg.transaction.clone().expect("it is new");
                handle.lock().machine.cancel(0, &mut Actions::default());
                Ok(Value::Nil)
            })
        };
        proxy.receive(CALLER, &request("INVITE", ""));
        assert_eq!(proxy.words(CALLER).last().map(String::as_str), Some("487"), "relays: {relays}");
        assert!(proxy.taken(CALLEE).is_empty());
    }
    assert_eq!(RELAYED.load(Ordering::Relaxed), -1);
}

#[test]
fn the_answer_to_a_cancel_says_whether_anything_was_left_to_cancel_and_has_the_to_tag_of_the_proxys_replies() {
    let mut proxy = Proxy::new(|cx, script, _| {
        if cx.msg.method() == b"INVITE" {
            tm::t_newtran(cx, script);
            tm::t_reply(cx, 180, b"Ringing");
        }
        tm::t_relay(cx, script);
        Ok(Value::Nil)
    });
    let sent = proxy.call("INVITE");
    let ringing = proxy.taken(CALLER).into_iter().find(|reply| word(reply) == "180").unwrap();
    proxy.receive(CALLER, &cancel(""));
    let answer = proxy.taken(CALLER).pop().unwrap();
    assert!(answer.starts_with("SIP/2.0 200 canceling\r\n"), "{answer}");
    assert_eq!(line(&answer, "To"), line(&ringing, "To"));

    proxy.receive(CALLEE, &reply(&sent, "487 Request Terminated"));
    proxy.taken(CALLER);
    proxy.receive(CALLER, &cancel(""));
    let answer = proxy.taken(CALLER).pop().unwrap();
    assert!(answer.starts_with("SIP/2.0 200 ok -- no more pending branches\r\n"), "{answer}");
}

#[test]
fn a_caller_that_has_cancelled_hears_of_no_ringing() {
    let mut proxy = relaying();
    let sent = proxy.call("INVITE");
    proxy.receive(CALLER, &cancel(""));
    proxy.taken(CALLER);
    proxy.receive(CALLEE, &reply(&sent, "180 Ringing"));
    assert_eq!(proxy.words(CALLEE), ["CANCEL"]);
    proxy.receive(CALLEE, &reply(&sent, "183 Session Progress"));
    proxy.receive(CALLEE, &reply(&sent, "487 Request Terminated"));
    assert_eq!(proxy.words(CALLER), ["487"]);
}

#[test]
fn the_callees_are_told_why_they_are_cancelled() {
    let silent = ProxySettings { local_cancel_reason: false, e2e_cancel_reason: false, ..ProxySettings::default() };
    let own = "Reason: SIP;cause=200;text=\"Call completed elsewhere\"";
    for (rule, settings, status, expected) in [
        ("another one has answered", ProxySettings::default(), "200 OK", Some(own)),
        ("another one has refused for all", ProxySettings::default(), "603 Decline", Some("Reason: SIP;cause=603")),
        ("it is switched off", silent.clone(), "200 OK", None),
    ] {
        let mut proxy = forking(settings);
        let sent = proxy.call("INVITE");
        let second = proxy.taken(SECOND).pop().unwrap();
        proxy.receive(SECOND, &reply(&second, "180 Ringing"));
        proxy.receive(CALLEE, &reply(&sent, status));
        let cancel = proxy.taken(SECOND).into_iter().find(|message| word(message) == "CANCEL").expect(rule);
        assert_eq!(has(&cancel, "Reason").then(|| line(&cancel, "Reason")), expected, "{rule}");
    }

    let lines = "Reason: Q.850;cause=16\r\nreason: SIP;cause=600;text=\"Busy Everywhere\"\r\n";
    for (settings, copied) in [(ProxySettings::default(), true), (silent, false)] {
        let mut proxy = forking(settings);
        let sent = proxy.call("INVITE");
        proxy.receive(CALLEE, &reply(&sent, "180 Ringing"));
        proxy.receive(CALLER, &cancel(lines));
        let got = proxy.taken(CALLEE).pop().unwrap();
        assert_eq!(word(&got), "CANCEL");
        assert_eq!(got.contains(lines), copied, "{got}");
    }
}

#[test]
fn a_request_other_than_invite_is_told_no_provisional_reply_and_no_time_out() {
    fn answers(proxy: &mut Proxy, status: Option<&str>) -> Vec<String> {
        let sent = proxy.call("MESSAGE");
        if let Some(status) = status {
            proxy.receive(CALLEE, &reply(&sent, status));
        }
        proxy.words(CALLER)
    }
    // RFC 4320 §4.1 and §4.2.
    assert!(answers(&mut relaying(), Some("180 Ringing")).is_empty());
    assert!(answers(&mut relaying(), Some("408 Request Timeout")).is_empty());
    assert_eq!(answers(&mut relaying(), Some("480 Gone")), ["480"]);

    let mut settings = ProxySettings::default();
    settings.transaction.timers.fr = 50;
    let mut proxy = Proxy::with(
        settings,
        |cx, script, _| {
            tm::t_relay(cx, script);
            Ok(Value::Nil)
        },
        &[],
    );
    assert!(answers(&mut proxy, None).is_empty());
    proxy.pass(std::time::Duration::from_millis(150));
    proxy.taken(CALLEE);
    proxy.receive(CALLER, &request("MESSAGE", ""));
    assert!(proxy.taken(CALLER).is_empty() && proxy.taken(CALLEE).is_empty(), "a retransmission is absorbed");
}
