//! Calls through the proxy, with its basic script in every language and in Rust.

mod support;

use std::time::Duration;

use support::{Phone, Proxy};

for_each_engine! {
    a_call_is_relayed_from_invite_to_bye
    a_registered_user_is_called
    a_cancelled_call_ends_on_both_sides
    a_busy_callee_runs_the_failure_route
    lost_messages_are_sent_again
    a_call_forks_to_two_contacts
    requests_that_end_at_the_proxy_are_answered
}

fn a_call_is_relayed_from_invite_to_bye(engine: &str) {
    let proxy = Proxy::basic(engine);
    let (caller, callee) = (Phone::new(&proxy), Phone::new(&proxy));
    let call = caller.invite(&format!("sip:callee@{}", callee.address));
    caller.reply(100);

    let invite = callee.request("INVITE");
    assert_eq!(invite.uri(), format!("sip:callee@{}", callee.address));
    assert_eq!(invite.headers("Via").len(), 2, "{}", invite.text);
    assert_eq!(invite.header("Max-Forwards"), "69");
    assert!(invite.header("Record-Route").starts_with(&format!("<sip:{}", proxy.address)), "{}", invite.text);
    callee.answer(&invite, 180, "Ringing");
    let ringing = caller.reply(180);
    assert_eq!(ringing.headers("Via").len(), 1, "{}", ringing.text);
    callee.answer(&invite, 200, "OK");
    let ok = caller.reply(200);

    caller.send(&call.ack(&caller, &ok));
    let ack = callee.request("ACK");
    assert!(ack.headers("Route").is_empty(), "the proxy's own Route is consumed:\n{}", ack.text);

    caller.send(&call.bye(&caller, &ok));
    let bye = callee.request("BYE");
    callee.answer(&bye, 200, "OK");
    caller.reply(200);
}

fn a_registered_user_is_called(engine: &str) {
    let proxy = Proxy::basic(engine);
    let (caller, callee) = (Phone::new(&proxy), Phone::new(&proxy));
    let saved = callee.register("alice");
    assert!(saved.header("Contact").contains("expires=600"), "{}", saved.text);

    let call = caller.invite(&format!("sip:alice@{}", proxy.address));
    let invite = callee.request("INVITE");
    assert_eq!(invite.uri(), format!("sip:alice@{}", callee.address));
    callee.answer(&invite, 200, "OK");
    let ok = caller.reply(200);
    caller.send(&call.ack(&caller, &ok));
    callee.request("ACK");

    caller.invite(&format!("sip:nobody@{}", proxy.address));
    caller.reply(404);
}

fn a_cancelled_call_ends_on_both_sides(engine: &str) {
    let proxy = Proxy::basic(engine);
    let (caller, callee) = (Phone::new(&proxy), Phone::new(&proxy));
    let call = caller.invite(&format!("sip:callee@{}", callee.address));
    let invite = callee.request("INVITE");
    callee.answer(&invite, 180, "Ringing");
    caller.reply(180);

    caller.send(&call.cancel(&caller));
    let canceled = caller.reply(200);
    assert!(canceled.header("CSeq").contains("CANCEL"), "{}", canceled.text);
    let cancel = callee.request("CANCEL");
    assert_eq!(cancel.header("Via"), invite.header("Via"), "the CANCEL is of the INVITE's branch");
    callee.answer(&cancel, 200, "OK");
    callee.answer(&invite, 487, "Request Terminated");
    callee.request("ACK");
    let terminated = caller.reply(487);
    caller.send(&call.ack_failure(&caller, &terminated));
    assert!(caller.receive_within(Duration::from_millis(700)).is_none(), "the ACK stops the retransmission");
}

fn a_busy_callee_runs_the_failure_route(engine: &str) {
    let proxy = Proxy::basic(engine);
    let (caller, callee) = (Phone::new(&proxy), Phone::new(&proxy));
    let call = caller.invite(&format!("sip:callee@{}", callee.address));
    let invite = callee.request("INVITE");
    callee.answer(&invite, 486, "Busy Here");
    callee.request("ACK");
    let busy = caller.reply(486);
    caller.send(&call.ack_failure(&caller, &busy));
    proxy.expect_log("failed with 486");
}

fn lost_messages_are_sent_again(engine: &str) {
    let proxy = Proxy::basic(engine);
    let (caller, callee) = (Phone::new(&proxy), Phone::new(&proxy));
    let call = caller.invite(&format!("sip:callee@{}", callee.address));

    // The callee loses the first INVITE; the proxy sends it again by itself.
    let lost = callee.request("INVITE");
    let invite = callee.request("INVITE");
    assert_eq!(lost.text, invite.text);

    // The caller loses the 100 and sends the INVITE again: it gets the 100 again, and the callee nothing.
    caller.reply(100);
    caller.send(&call.invite(&caller));
    caller.reply(100);

    // The caller loses a final reply; the proxy sends it again until the ACK comes.
    callee.answer(&invite, 486, "Busy Here");
    callee.request("ACK");
    caller.reply(486);
    let again = caller.reply(486);
    caller.send(&call.ack_failure(&caller, &again));

    // The callee has lost the ACK and answers again: it gets the ACK again.
    callee.answer(&invite, 486, "Busy Here");
    callee.request("ACK");
}

fn a_call_forks_to_two_contacts(engine: &str) {
    let proxy = Proxy::basic(engine);
    let (caller, first, second) = (Phone::new(&proxy), Phone::new(&proxy), Phone::new(&proxy));
    first.register("bob");
    second.register("bob");

    let call = caller.invite(&format!("sip:bob@{}", proxy.address));
    let at_first = first.request("INVITE");
    let at_second = second.request("INVITE");
    assert_ne!(at_first.header("Via"), at_second.header("Via"), "each branch has its own branch parameter");
    first.answer(&at_first, 180, "Ringing");
    second.answer(&at_second, 180, "Ringing");
    caller.reply(180);
    caller.reply(180);

    // The second one picks up; the first one stops ringing.
    second.answer(&at_second, 200, "OK");
    let ok = caller.reply(200);
    let cancel = first.request("CANCEL");
    first.answer(&cancel, 200, "OK");
    first.answer(&at_first, 487, "Request Terminated");
    first.request("ACK");
    caller.send(&call.ack(&caller, &ok));
    second.request("ACK");
    assert!(caller.receive_within(Duration::from_millis(300)).is_none(), "the 487 stays with the proxy");
}

fn requests_that_end_at_the_proxy_are_answered(engine: &str) {
    let proxy = Proxy::basic(engine);
    let phone = Phone::new(&proxy);
    let options = |uri: &str, hops: u32, agent: &str| {
        let id = support::unique();
        phone.send(&format!(
            "OPTIONS {uri} SIP/2.0\n\
             Via: SIP/2.0/UDP {me};branch=z9hG4bKopt{id}\n\
             Max-Forwards: {hops}\n\
             From: <sip:me@{me}>;tag=o{id}\n\
             To: <{uri}>\n\
             Call-ID: opt-{id}\n\
             CSeq: 1 OPTIONS\n\
             User-Agent: {agent}\n\
             Content-Length: 0\n\n",
            me = phone.address
        ));
    };
    let own = format!("sip:{}", proxy.address);
    options(&own, 70, "test");
    let keepalive = phone.reply(200);
    assert!(keepalive.text.starts_with("SIP/2.0 200 Keepalive\r\n"), "{}", keepalive.text);
    assert!(keepalive.header("To").contains(";tag="), "{}", keepalive.text);

    options(&own, 0, "test");
    phone.reply(483);

    options("sip:someone@127.0.0.1;transport=tcp", 70, "test");
    phone.reply(500);

    options(&own, 70, "friendly-scanner");
    assert!(phone.receive_within(Duration::from_millis(300)).is_none(), "a scanner hears nothing");
}
