//! What comes of a call that its caller or the proxy cancels, on the wire and in every script language (RFC 3261 §9, RFC 3326).

#[macro_use]
mod support;

use std::time::Duration;

use support::route::{JS, LUA, Language, PYTHON, RHAI};
use support::{Call, Phone, Proxy, Received};

for_each_language! {
    an_invite_that_is_cancelled_while_its_route_runs_is_answered_487
    an_invite_that_is_cancelled_while_its_failure_route_runs_goes_nowhere
    callees_are_told_why_they_are_cancelled
    the_answer_to_a_cancel_is_the_proxys_and_no_ringing_follows_it
}

/// Ends in the way that the header X-Way says, after some time; without one, rings at two callees.
const ROUTE: &str = r#"
    function ksr_request_route()
        if KSR.is_CANCEL() or KSR.is_ACK() then
            if KSR.tm.t_check_trans() > 0 then
                KSR.tm.t_relay()
            end
            return
        end
        if KSR.tm.t_check_trans() == 0 then
            return
        end
        local way = KSR.pv.getw("$hdr(X-Way)")
        KSR.tm.t_newtran()
        if way == "<null>" then
            KSR.tm.t_reply(180, "Trying both")
            KSR.corex.append_branch_uri(KSR.hdr.get("X-Second"))
            KSR.tm.t_relay()
            return
        end
        KSR.info("route of " .. way .. "\n")
        wait(600)
        if way == "failure" then
            KSR.tm.t_on_failure("ksr_failed")
            KSR.tm.t_relay()
        end
        if way == "relay" then
            if KSR.tm.t_relay() < 0 then
                KSR.sl.sl_reply_error()
            end
        end
        if way == "answer" and KSR.tm.t_is_canceled() < 0 then
            KSR.tm.t_reply(200, "OK")
        end
        KSR.info("end of " .. way .. "\n")
    end
    function ksr_failed()
        KSR.info("failure begins\n")
        wait(600)
        KSR.seturi(KSR.hdr.get("X-Second"))
        KSR.info("failure ends with " .. text(KSR.tm.t_relay()) .. "\n")
    end
"#;

fn an_invite_that_is_cancelled_while_its_route_runs_is_answered_487(language: &Language) {
    let proxy = language.start(ROUTE, &[]);
    for way in ["relay", "answer", "nothing"] {
        let (caller, callee) = (Phone::new(&proxy), Phone::new(&proxy));
        let call = caller.invite_with(&format!("sip:callee@{}", callee.address), &format!("X-Way: {way}\n"));
        proxy.expect_log(&format!("route of {way}"));
        caller.send(&call.cancel(&caller));
        let mut answers =
            [caller.receive_final(), caller.receive_final()].map(|reply| (reply.header("CSeq"), reply.status()));
        answers.sort();
        let expected = [("1 CANCEL", 200), ("1 INVITE", 487)].map(|(cseq, status)| (cseq.to_owned(), Some(status)));
        assert_eq!(answers, expected, "{way}");
        proxy.expect_log(&format!("end of {way}"));
        assert!(callee.receive_within(Duration::from_millis(100)).is_none(), "{way}: the callee has been called");
    }
}

fn an_invite_that_is_cancelled_while_its_failure_route_runs_goes_nowhere(language: &Language) {
    let proxy = language.start(ROUTE, &[]);
    let (caller, callee, second) = (Phone::new(&proxy), Phone::new(&proxy), Phone::new(&proxy));
    let lines = format!("X-Way: failure\nX-Second: sip:second@{}\n", second.address);
    let call = caller.invite_with(&format!("sip:callee@{}", callee.address), &lines);
    let invite = callee.request("INVITE");
    callee.answer(&invite, 486, "Busy Here");
    callee.request("ACK");
    proxy.expect_log("failure begins");
    caller.send(&call.cancel(&caller));
    let mut answers =
        [caller.receive_final(), caller.receive_final()].map(|reply| (reply.header("CSeq"), reply.status()));
    answers.sort();
    // There was nothing left to cancel.
    let expected = [("1 CANCEL", 200), ("1 INVITE", 486)].map(|(cseq, status)| (cseq.to_owned(), Some(status)));
    assert_eq!(answers, expected);
    proxy.expect_log("failure ends with -1");
    assert!(second.receive_within(Duration::from_millis(100)).is_none(), "the next callee has been called");
}

/// A call that rings at two callees.
struct Fork {
    caller: Phone,
    call: Call,
    /// The 180 that the script has given.
    own: Received,
    callees: [(Phone, Received); 2],
}

impl Fork {
    fn begin(proxy: &Proxy) -> Fork {
        let (caller, first, second) = (Phone::new(proxy), Phone::new(proxy), Phone::new(proxy));
        let lines = format!("X-Second: sip:second@{}\n", second.address);
        let call = caller.invite_with(&format!("sip:first@{}", first.address), &lines);
        let own = caller.reply(180);
        let callees = [first, second].map(|callee| {
            let invite = callee.request("INVITE");
            callee.answer(&invite, 180, "Ringing");
            (callee, invite)
        });
        callees.iter().for_each(|_| drop(caller.reply(180)));
        Fork { caller, call, own, callees }
    }
}

fn callees_are_told_why_they_are_cancelled(language: &Language) {
    const ELSEWHERE: &str = "SIP;cause=200;text=\"Call completed elsewhere\"";
    let own = ["Q.850;cause=16", "SIP;cause=600;text=\"Busy Everywhere\""];
    for (setting, rows) in [
        ("CANCEL_REASON=1", [(Some(200), vec![ELSEWHERE]), (Some(603), vec!["SIP;cause=603"]), (None, own.to_vec())]),
        ("CANCEL_REASON=0", [(Some(200), vec![]), (Some(603), vec![]), (None, vec![])]),
    ] {
        let proxy = language.start(ROUTE, &["-A", setting]);
        for (answer, reasons) in rows {
            let Fork { caller, call, callees: [first, second], .. } = Fork::begin(&proxy);
            match answer {
                Some(status) => second.0.answer(&second.1, status, "Answer"),
                None => {
                    caller.send(&call.cancel_with(&caller, &own.map(|reason| format!("Reason: {reason}\n")).concat()))
                }
            }
            let cancel = first.0.request("CANCEL");
            assert_eq!(cancel.headers("Reason"), reasons, "{setting}, {answer:?}");
        }
    }
}

fn the_answer_to_a_cancel_is_the_proxys_and_no_ringing_follows_it(language: &Language) {
    let proxy = language.start(ROUTE, &[]);
    let Fork { caller, call, own, callees } = Fork::begin(&proxy);
    for again in [false, true] {
        caller.send(&call.cancel(&caller));
        let answer = caller.reply(200);
        assert_eq!(answer.header("CSeq"), "1 CANCEL");
        assert_eq!(answer.again, again, "{}", answer.text);
        assert_eq!(answer.header("To"), own.header("To"));
    }
    for (callee, invite) in &callees {
        let cancel = callee.request("CANCEL");
        callee.answer(invite, 183, "Late");
        callee.answer(&cancel, 200, "OK");
        callee.answer(invite, 487, "Request Terminated");
        callee.request("ACK");
    }
    let end = caller.receive();
    assert_eq!(end.status(), Some(487), "{}", end.text);
    caller.send(&call.ack_failure(&caller, &end));
    caller.send(&call.cancel(&caller));
    assert!(caller.reply(200).text.starts_with("SIP/2.0 200 ok -- no more pending branches\r\n"));
}
