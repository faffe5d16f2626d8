//! A failure route that tries a second callee, in every script language.

mod support;

use support::{Phone, Proxy};

fn a_busy_callees_call_goes_to_the_next(engine: &str, script: &str) {
    let proxy = Proxy::with_script(engine, script);
    let (caller, busy, next) = (Phone::new(&proxy), Phone::new(&proxy), Phone::new(&proxy));
    let id = support::unique();
    caller.send(&format!(
        "INVITE sip:busy@{busy} SIP/2.0\n\
         Via: SIP/2.0/UDP {me};branch=z9hG4bKfo{id};rport\n\
         Max-Forwards: 70\n\
         From: <sip:caller@{me}>;tag=f{id}\n\
         To: <sip:busy@{busy}>\n\
         Call-ID: failover-{id}\n\
         CSeq: 1 INVITE\n\
         Contact: <sip:caller@{me}>\n\
         X-Next: {next}\n\
         Content-Length: 0\n\n",
        busy = busy.address,
        next = next.address,
        me = caller.address
    ));
    let first = busy.request("INVITE");
    busy.answer(&first, 486, "Busy Here");
    busy.request("ACK");
    let second = next.request("INVITE");
    assert_eq!(second.uri(), format!("sip:next@{}", next.address));
    next.answer(&second, 200, "OK");
    caller.reply(200);
}

#[test]
fn lua() {
    a_busy_callees_call_goes_to_the_next("lua", "failover.lua");
}

#[test]
fn rhai() {
    a_busy_callees_call_goes_to_the_next("rhai", "failover.rhai");
}

#[test]
fn python() {
    a_busy_callees_call_goes_to_the_next("python", "failover.py");
}

#[test]
fn js() {
    a_busy_callees_call_goes_to_the_next("js", "failover.js");
}
