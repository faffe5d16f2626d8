//! Which ACKs end at the proxy and which go on, on the wire and in every script language (RFC 3261 §13.2.2.4, §17.1.1.3).

#[macro_use]
mod support;

use std::time::Duration;

use support::Phone;
use support::route::{JS, LUA, Language, PYTHON, RHAI};

for_each_language! {
    the_ack_of_a_refusal_ends_at_the_proxy
    the_ack_of_the_scripts_own_2xx_ends_its_repetition
    the_ack_of_a_callees_2xx_and_the_replies_to_what_was_sent_are_known
}

/// Has the proxy repeat a reply after 100, 200, 400 ms and so on.
const QUICK: [&str; 2] = ["-A", "RETR_TIMER=100"];

/// Longer than the next repetition of a reply takes to come.
const QUIET: Duration = Duration::from_millis(1200);

/// Goes the way that the header X-Way says.
const WAYS: &str = r#"
    function ksr_request_route()
        local way = KSR.pv.getw("$hdr(X-Way)")
        if way == "check" and KSR.tm.t_check_trans() == 0 then
            return
        end
        if way ~= "relay" then
            if KSR.is_INVITE() then
                KSR.rr.record_route()
            end
            KSR.rr.loose_route()
        end
        KSR.tm.t_relay()
    end
"#;

fn the_ack_of_a_refusal_ends_at_the_proxy(language: &Language) {
    let proxy = language.start(WAYS, &QUICK);
    let mut calls = Vec::new();
    for (way, status) in
        [("loose", 407), ("loose", 488), ("check", 488), ("check", 603), ("relay", 488), ("relay", 603)]
    {
        let (caller, callee) = (Phone::new(&proxy), Phone::new(&proxy));
        let call = caller.invite_with(&format!("sip:callee@{}", callee.address), &format!("X-Way: {way}\n"));
        let mut invite = callee.request("INVITE");
        let mut ok = None;
        if way != "relay" {
            callee.answer(&invite, 200, "OK");
            let reply = caller.reply(200);
            caller.send(&call.ack(&caller, &reply));
            callee.request("ACK");
            caller.send(&call.reinvite(&caller, &reply));
            invite = callee.request("INVITE");
            assert_ne!(invite.header("CSeq"), "1 INVITE", "{way}");
            ok = Some(reply);
        }
        callee.answer(&invite, status, "No");
        callee.request("ACK");
        let refusal = caller.reply(status);
        caller.send(&match &ok {
            Some(ok) => call.ack_refused_reinvite(&caller, ok),
            None => {
                let route = format!("Route: <sip:{};lr>\nMax-Forwards", proxy.address);
                call.ack_failure(&caller, &refusal).replacen("Max-Forwards", &route, 1)
            }
        });
        calls.push((way, status, caller, callee));
    }
    // Without its ACK a refusal would be repeated at least three times meanwhile; once or twice it may have been on a busy machine
    // before its ACK came.
    std::thread::sleep(QUIET);
    for (way, status, caller, callee) in calls {
        let repeated = caller.rest(Duration::from_millis(1));
        assert!(repeated.len() <= 2, "{way}, {status}: {repeated:?}");
        let strays = callee.rest(Duration::from_millis(1));
        assert!(strays.is_empty(), "{way}, {status}: {strays:?}");
    }
}

fn the_ack_of_the_scripts_own_2xx_ends_its_repetition(language: &Language) {
    let route = r#"
        function ksr_request_route()
            if KSR.is_ACK() then
                KSR.info("the ACK is " .. text(KSR.tm.t_check_trans()) .. "\n")
                return
            end
            KSR.tm.t_newtran()
            KSR.tm.t_reply(200, "OK")
        end
    "#;
    let proxy = language.start(route, &QUICK);
    let caller = Phone::new(&proxy);
    let uri = format!("sip:service@{}", proxy.address);
    let call = caller.invite(&uri);
    let ok = caller.reply(200);
    assert!(caller.receive().again, "it is repeated");

    let ack = call.ack_to(&caller, &ok, &uri);
    caller.send(&ack.replace(";tag=f", ";tag=another"));
    proxy.expect_log("the ACK is -1");
    caller.reply(200);

    caller.send(&ack);
    proxy.expect_log("the ACK is 0");
    caller.rest(Duration::from_millis(50));
    let repeated = caller.rest(QUIET);
    assert!(repeated.is_empty(), "{repeated:?}");
}

fn the_ack_of_a_callees_2xx_and_the_replies_to_what_was_sent_are_known(language: &Language) {
    let route = r#"
        function ksr_request_route()
            if KSR.is_ACK() then
                local code = KSR.tm.t_check_trans()
                KSR.info("the ACK is " .. text(code) .. "\n")
                if code > 0 then
                    KSR.tm.t_relay()
                end
                return
            end
            KSR.corex.append_branch_uri(KSR.hdr.get("X-Second"))
            KSR.tm.t_relay()
        end
        function ksr_reply_route()
            local code = KSR.tm.t_check_trans()
            KSR.info("the " .. text(KSR.kx.get_status()) .. " is " .. text(code) .. "\n")
            if code < 0 then
                KSR.x.drop()
            end
        end
    "#;
    let proxy = language.start(route, &[]);
    let (caller, callee, second) = (Phone::new(&proxy), Phone::new(&proxy), Phone::new(&proxy));
    // Without a recorded route: the proxy is where the caller sends everything.
    let lines = format!("X-Second: sip:second@{}\n", second.address);
    let call = caller.invite_with(&format!("sip:callee@{}", callee.address), &lines);
    let (invite, at_second) = (callee.request("INVITE"), second.request("INVITE"));
    for (status, own, code) in [(183, false, -1), (180, true, 1), (202, false, -1), (200, true, 1)] {
        let reply = callee.answer_to(&invite, status, "Reply");
        callee.send(&if own { reply } else { reply.replacen("branch=z9hG4bK", "branch=z9hG4bKx", 1) });
        proxy.expect_log(&format!("the {status} is {code}"));
    }
    let seen = [100, 180, 200].map(|status| (caller.receive(), status));
    for (received, status) in &seen {
        assert_eq!(received.status(), Some(*status), "{}", received.text);
    }
    // The other one picks up in the same moment, and the first one's 200 comes again.
    second.answer(&at_second, 200, "OK");
    let other = caller.reply(200);
    callee.answer(&invite, 200, "Reply");
    assert!(caller.reply(200).again);

    let ok = &seen[2].0;
    for (reply, phone, branch) in [(ok, &callee, "1"), (&other, &second, "2"), (ok, &callee, "1")] {
        let before = proxy.log().len();
        caller.send(&call.ack(&caller, reply).replacen("z9hG4bKack", &format!("z9hG4bKack{branch}"), 1));
        proxy.expect_log_after(before, "the ACK is 1");
        assert_eq!(phone.request("ACK").header("To"), reply.header("To"));
    }
    let before = proxy.log().len();
    caller.send(&call.ack(&caller, ok).replace(";tag=t", ";tag=x").replacen("z9hG4bKack", "z9hG4bKack3", 1));
    proxy.expect_log_after(before, "the ACK is -1");
    for phone in [&callee, &second] {
        let strays = phone.rest(Duration::from_millis(50));
        assert!(strays.iter().all(|stray| !stray.text.starts_with("ACK ")), "{strays:?}");
    }
}
