//! What happens in calls every day beside the good case, on the wire and in every script language: a refused re-INVITE, a fork that one
//! takes, a callee that cannot be sent to, a call that the script answers.

mod support;

use std::time::Duration;

use support::{Phone, Proxy, Received};

/// Longer than a reply waits that is repeated because its ACK was not seen.
const QUIET: Duration = Duration::from_millis(1200);

/// What a phone gets until nothing comes any more.
fn rest(phone: &Phone) -> Vec<Received> {
    std::iter::from_fn(|| phone.receive_within(QUIET)).collect()
}

fn the_ack_of_a_refused_reinvite_ends_at_the_proxy(engine: &str) {
    let proxy = Proxy::basic(engine);
    let (alice, bob) = (Phone::new(&proxy), Phone::new(&proxy));
    bob.register("bob");
    let call = alice.invite(&format!("sip:bob@{}", proxy.address));
    let invite = bob.request("INVITE");
    bob.answer(&invite, 200, "OK");
    let ok = alice.reply(200);
    alice.send(&call.ack(&alice, &ok));
    bob.request("ACK");

    alice.send(&call.reinvite(&alice, &ok));
    let again = bob.request("INVITE");
    bob.answer(&again, 488, "Not Acceptable Here");
    bob.request("ACK");
    let refusal = alice.reply(488);
    alice.send(&call.ack_refused_reinvite(&alice, &ok));
    assert!(rest(&alice).is_empty(), "the {:?} is not repeated", refusal.status());
    assert!(rest(&bob).is_empty(), "no second ACK");
}

fn who_did_not_take_the_call_is_told_that_another_one_has(engine: &str) {
    let proxy = Proxy::basic(engine);
    let (alice, desk, mobile) = (Phone::new(&proxy), Phone::new(&proxy), Phone::new(&proxy));
    desk.register("bob");
    mobile.register("bob");
    alice.invite(&format!("sip:bob@{}", proxy.address));
    let (at_desk, at_mobile) = (desk.request("INVITE"), mobile.request("INVITE"));
    mobile.answer(&at_mobile, 180, "Ringing");
    alice.reply(180);
    desk.answer(&at_desk, 200, "OK");
    alice.reply(200);
    let cancel = mobile.request("CANCEL");
    assert_eq!(cancel.header("Reason"), "SIP;cause=200;text=\"Call completed elsewhere\"");
}

fn a_callee_that_nothing_can_be_sent_to_fails_at_once_and_the_next_has_its_turn(engine: &str, script: &str) {
    let proxy = Proxy::with_script(engine, script);
    let (caller, next) = (Phone::new(&proxy), Phone::new(&proxy));
    let id = support::unique();
    caller.send(&format!(
        "INVITE sip:bob@{proxy} SIP/2.0\n\
         Via: SIP/2.0/UDP {me};branch=z9hG4bKev{id};rport\n\
         Max-Forwards: 70\n\
         From: <sip:caller@{me}>;tag=f{id}\n\
         To: <sip:bob@{proxy}>\n\
         Call-ID: everyday-{id}\n\
         CSeq: 1 INVITE\n\
         Contact: <sip:caller@{me}>\n\
         X-Next: {next}\n\
         Content-Length: 0\n\n",
        proxy = proxy.address,
        next = next.address,
        me = caller.address
    ));
    let invite = next.request("INVITE");
    assert_eq!(invite.uri(), format!("sip:next@{}", next.address));
    next.answer(&invite, 200, "OK");
    caller.reply(200);
}

fn the_ack_of_the_scripts_own_answer_ends_its_repetition(engine: &str, script: &str) {
    let proxy = Proxy::with_script(engine, script);
    let caller = Phone::new(&proxy);
    let call = caller.invite(&format!("sip:answer@{}", proxy.address));
    let ok = caller.reply(200);
    caller.send(&call.ack_to(&caller, &ok, &format!("sip:answer@{}", proxy.address)));
    let after = rest(&caller);
    assert!(after.len() <= 1, "one may have been on its way: {after:?}");
}

macro_rules! in_each_language {
    ($($language:ident $ending:literal;)*) => {$(
        mod $language {
            #[test]
            fn refused_reinvite() {
                super::the_ack_of_a_refused_reinvite_ends_at_the_proxy(stringify!($language));
            }

            #[test]
            fn fork() {
                super::who_did_not_take_the_call_is_told_that_another_one_has(stringify!($language));
            }

            #[test]
            fn unsendable() {
                let script = concat!("everyday.", $ending);
                super::a_callee_that_nothing_can_be_sent_to_fails_at_once_and_the_next_has_its_turn(stringify!($language), script);
            }

            #[test]
            fn own_answer() {
                let script = concat!("everyday.", $ending);
                super::the_ack_of_the_scripts_own_answer_ends_its_repetition(stringify!($language), script);
            }
        }
    )*};
}

in_each_language! {
    lua "lua";
    python "py";
    js "js";
    rhai "rhai";
}
