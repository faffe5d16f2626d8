//! Nothing that is ready waits for a slow script, and no failure route for a dead callee, on the wire and in every script language.

#[macro_use]
mod support;

use std::time::{Duration, Instant};

use support::route::{JS, LUA, Language, PYTHON, RHAI};
use support::{Phone, Proxy};

for_each_language! {
    the_100_leaves_before_the_slow_scripts_of_what_came_with_its_request
    the_ack_of_a_refusal_leaves_before_a_slow_failure_route
    a_failure_route_does_not_wait_for_a_callee_that_rang_and_is_dead
}

/// Takes its time behind each INVITE, and before the next callee if the first one has failed.
const SLOW: &str = r#"
    function ksr_request_route()
        if KSR.is_OPTIONS() then
            KSR.info("busy\n")
            wait(500)
            KSR.sl.sl_send_reply(200, "OK")
            return
        end
        if KSR.tm.t_check_trans() == 0 then
            return
        end
        KSR.tm.t_on_failure("ksr_failed")
        KSR.tm.t_relay()
        if KSR.is_INVITE() then
            wait(250)
        end
    end
    function ksr_failed()
        KSR.info("failed by " .. text(KSR.tm.t_get_status_code()) .. " " .. text(KSR.tm.t_any_timeout()) .. "\n")
        wait(700)
        KSR.seturi(KSR.hdr.get("X-Next"))
        KSR.tm.t_relay()
    end
"#;

fn the_100_leaves_before_the_slow_scripts_of_what_came_with_its_request(language: &Language) {
    let proxy = language.listen(SLOW, &["-l", "udp:127.0.0.1:0", "--workers", "1"]);
    let (caller, callee, other) = (Phone::new(&proxy), Phone::new(&proxy), Phone::new(&proxy));
    // While its one worker is busy, all of them come; then it has them at once.
    other.options("somebody");
    proxy.expect_log("busy");
    for _ in 0..6 {
        caller.invite(&format!("sip:callee@{}", callee.address));
    }
    let tried: Vec<Instant> = (0..6)
        .map(|_| {
            caller.reply(100);
            Instant::now()
        })
        .collect();
    // The last one comes after the scripts of the five before it, which take 1250 ms.
    let time = tried[5].duration_since(tried[0]);
    assert!(time > Duration::from_millis(500), "all came within {time:?}");
    other.reply(200);
}

/// A call that goes on to `next` when the callee fails.
fn call_with_next(proxy: &Proxy, callee: &Phone, next: &Phone) -> Phone {
    let caller = Phone::new(proxy);
    caller.invite_with(&format!("sip:callee@{}", callee.address), &format!("X-Next: sip:next@{}\n", next.address));
    caller
}

fn the_ack_of_a_refusal_leaves_before_a_slow_failure_route(language: &Language) {
    let proxy = language.start(SLOW, &[]);
    let (callee, next) = (Phone::new(&proxy), Phone::new(&proxy));
    let caller = call_with_next(&proxy, &callee, &next);
    let invite = callee.request("INVITE");
    callee.answer(&invite, 486, "Busy Here");
    callee.request("ACK");
    assert!(next.receive_within(Duration::from_millis(100)).is_none(), "the ACK has waited for the failure route");
    let invite = next.request("INVITE");
    proxy.expect_log("failed by 486 -1");
    next.answer(&invite, 200, "OK");
    caller.reply(200);
}

fn a_failure_route_does_not_wait_for_a_callee_that_rang_and_is_dead(language: &Language) {
    let proxy = language.start(SLOW, &["-A", "FR_INV_TIMER=700"]);
    let (callee, next) = (Phone::new(&proxy), Phone::new(&proxy));
    let caller = call_with_next(&proxy, &callee, &next);
    let invite = callee.request("INVITE");
    callee.answer(&invite, 180, "Ringing");
    caller.reply(180);
    // It answers nothing any more, the CANCEL neither, which is repeated for 32 s.
    callee.request("CANCEL");
    let at_next = next.request("INVITE");
    proxy.expect_log("failed by 408 1");
    next.answer(&at_next, 180, "Ringing");
    caller.reply(180);
    // It was not dead after all: the 2xx of anybody counts.
    callee.answer(&invite, 200, "OK");
    assert!(caller.reply(200).header("Contact").contains(&callee.address.to_string()));
    next.request("CANCEL");
}
