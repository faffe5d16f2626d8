//! How long what `t_on_branch` and its kin set holds, and what a failure route waits for.

mod common;

use std::sync::Mutex;
use std::time::Duration;

use common::{CALLEE, CALLER, Proxy, reply};
use kemi_core::{CallbackName, Script, Value};
use sip_modules::modules::tm;
use sip_modules::proxy::{Cx, ProxySettings};
use sip_modules::transaction::{Config, Timers};

/// Where calls go that the callee does not take.
const VOICEMAIL: &str = "127.0.0.7:5070";

fn to_voicemail(cx: &mut Cx, script: &Script<'_>) {
    cx.msg.new_ruri = Some(format!("sip:vm@{VOICEMAIL}").into_bytes());
    tm::t_relay(cx, script);
}

/// Rings at the callee, then goes to the voice mail.
fn with_voicemail(timers: Timers) -> Proxy {
    Proxy::with(
        ProxySettings { transaction: Config { timers, ..Config::default() }, ..ProxySettings::default() },
        |cx, script, _| {
            tm::t_on_failure(cx, script, CallbackName::new("ksr_voicemail"))?;
            tm::t_relay(cx, script);
            Ok(Value::Nil)
        },
        &[("ksr_voicemail", |cx, script, _| {
            to_voicemail(cx, script);
            Ok(Value::Nil)
        })],
    )
}

#[test]
fn a_failure_route_does_not_wait_for_a_callee_that_rings_and_is_gone() {
    let mut proxy = with_voicemail(Timers { fr_inv: 50, ..Timers::default() });
    let sent = proxy.call("INVITE");
    proxy.receive(CALLEE, &reply(&sent, "180 Ringing"));
    proxy.pass(Duration::from_millis(150));
    assert_eq!(proxy.words(CALLEE), ["CANCEL"]);
    let second = proxy.taken(VOICEMAIL).pop().expect("the failure route has run");
    proxy.receive(VOICEMAIL, &reply(&second, "200 OK"));
    assert_eq!(proxy.words(CALLER), ["100", "180", "200"]);
}

#[test]
fn the_ack_of_a_refusal_leaves_before_the_failure_route_runs() {
    let mut proxy = with_voicemail(Timers::default());
    let sent = proxy.call("INVITE");
    proxy.receive(CALLEE, &reply(&sent, "486 Busy Here"));
    let order = proxy.order();
    let at = |word: &str| order.iter().rposition(|sent| sent == word);
    assert!(at("ACK") < at("INVITE"), "{order:?}");
}

/// The R-URIs that the branch route has seen.
static MARKED: Mutex<Vec<String>> = Mutex::new(Vec::new());

#[test]
fn a_branch_route_is_set_for_one_relay() {
    let mut proxy = Proxy::with(
        ProxySettings::default(),
        |cx, script, _| {
            tm::t_on_branch(cx, script, CallbackName::new("ksr_mark"))?;
            tm::t_on_failure(cx, script, CallbackName::new("ksr_voicemail"))?;
            tm::t_relay(cx, script);
            Ok(Value::Nil)
        },
        &[
            ("ksr_mark", |cx, _, _| {
                MARKED.lock().unwrap().push(String::from_utf8_lossy(cx.msg.ruri()).into_owned());
                Ok(Value::Nil)
            }),
            ("ksr_voicemail", |cx, script, _| {
                to_voicemail(cx, script);
                Ok(Value::Nil)
            }),
        ],
    );
    let sent = proxy.call("INVITE");
    proxy.receive(CALLEE, &reply(&sent, "486 Busy Here"));
    assert_eq!(proxy.words(VOICEMAIL), ["INVITE"]);
    assert_eq!(*MARKED.lock().unwrap(), [format!("sip:bob@{CALLEE}")]);
}
