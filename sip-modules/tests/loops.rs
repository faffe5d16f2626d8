//! Requests that come back to the proxy (RFC 3261 §16.3, RFC 5393).

mod common;

use common::{CALLER, Proxy, request, word};
use kemi_core::Value;
use kemi_core::engine::NativeCallback;
use sip_modules::modules::tm;
use sip_modules::proxy::{Cx, ExtraBranch};

const PROXY: &str = "127.0.0.1:5060";

/// Sends the proxy what it sends to itself until nothing comes any more, and counts the INVITEs.
fn rounds(route: NativeCallback<Cx>) -> (usize, Vec<String>) {
    let mut proxy = Proxy::new(route);
    proxy.receive(CALLER, &request("INVITE", "").replace("127.0.0.8:5070", PROXY));
    let mut invites = 0;
    loop {
        let sent = proxy.taken(PROXY);
        if sent.is_empty() {
            return (invites, proxy.words(CALLER));
        }
        for message in sent {
            invites += usize::from(word(&message) == "INVITE");
            assert!(invites < 5_000, "it does not end");
            proxy.receive(PROXY, &message);
        }
    }
}

#[test]
fn a_request_that_comes_back_as_it_was_is_refused() {
    let (invites, answers) = rounds(|cx, script, _| {
        tm::t_relay(cx, script);
        Ok(Value::Nil)
    });
    assert_eq!((invites, answers), (2, vec!["100".to_owned(), "482".to_owned()]));
}

#[test]
fn one_that_comes_back_changed_is_not() {
    let (invites, answers) = rounds(|cx, script, _| {
        let next = match cx.msg.ruri() {
            b"sip:bob@127.0.0.1:5060" => "sip:bob;round=2@127.0.0.1:5060",
            b"sip:bob;round=2@127.0.0.1:5060" => "sip:bob;round=3@127.0.0.1:5060",
            _ => "sip:bob@127.0.0.8:5070",
        };
        cx.msg.new_ruri = Some(next.into());
        tm::t_relay(cx, script);
        Ok(Value::Nil)
    });
    assert_eq!((invites, answers), (2, vec!["100".to_owned()]));
}

#[test]
fn contacts_that_lead_back_to_the_proxy_make_no_avalanche() {
    let two: NativeCallback<Cx> = |cx, script, _| {
        cx.msg.new_ruri = Some(b"sip:bob@127.0.0.1:5060;x=1".to_vec());
        cx.msg.branches.push(ExtraBranch { ruri: b"sip:bob@127.0.0.1:5060;x=2".to_vec(), ..ExtraBranch::default() });
        tm::t_relay(cx, script);
        Ok(Value::Nil)
    };
    let (invites, answers) = rounds(two);
    assert_eq!(answers.last().map(String::as_str), Some("482"));
    assert!(invites < 20, "{invites}");

    // Each round makes URIs of its own, so that no request comes back as it was: only their number at a time is limited.
    let twelve: NativeCallback<Cx> = |cx, script, _| {
        let ruri = String::from_utf8_lossy(cx.msg.ruri()).into_owned();
        let next = |number: usize| format!("{};x{}={number}", ruri, ruri.len()).into_bytes();
        let more = (1..12).map(|number| ExtraBranch { ruri: next(number), ..ExtraBranch::default() });
        cx.msg.branches.extend(more);
        cx.msg.new_ruri = Some(next(0));
        let hops = cx.msg.message.max_forwards().unwrap_or_default();
        if hops > 50 {
            let message = cx.msg.message.clone();
            cx.msg.edits.decrement_max_forwards(&message, 70)?;
            tm::t_relay(cx, script);
        }
        Ok(Value::Nil)
    };
    let (invites, _) = rounds(twelve);
    assert!((60..=60 * 21).contains(&invites), "{invites}");
}
