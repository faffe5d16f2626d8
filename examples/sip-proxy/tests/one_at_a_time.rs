//! The scripts of one transaction run one after the other, whichever workers its replies come to, on the wire and in every script
//! language.

#[macro_use]
mod support;

use support::Phone;
use support::route::{JS, LUA, Language, PYTHON, RHAI};

for_each_language! {
    what_the_scripts_of_two_replies_set_is_kept
    a_failure_route_runs_once_although_a_slow_reply_route_began_before_it
    a_2xx_that_waits_for_a_slow_reply_route_is_passed_on
}

/// Rings at two callees, with a reply route that is slow for a 183; the failure route goes on to a third one.
const FORK: &str = r#"
    function ksr_request_route()
        if KSR.tm.t_check_trans() == 0 then
            return
        end
        KSR.pv.sets("$avp(slow)", "no")
        KSR.pv.sets("$avp(quick)", "no")
        KSR.tm.t_on_reply("ksr_reply")
        KSR.tm.t_on_failure("ksr_failed")
        KSR.corex.append_branch_uri(KSR.hdr.get("X-Second"))
        KSR.tm.t_relay()
    end
    function ksr_reply()
        if KSR.kx.get_status() == 183 then
            KSR.info("slow begins\n")
            wait(500)
            KSR.pv.sets("$avp(slow)", "yes")
            KSR.info("slow ends\n")
        end
        if KSR.kx.get_status() == 180 then
            KSR.pv.sets("$avp(quick)", "yes")
        end
    end
    function ksr_failed()
        KSR.info("failed: slow " .. KSR.pv.getw("$avp(slow)") .. ", quick " .. KSR.pv.getw("$avp(quick)") .. "\n")
        KSR.seturi(KSR.hdr.get("X-Third"))
        KSR.tm.t_relay()
    end
"#;

/// Has the reply route of a 183 run on one worker, sends `meanwhile` of both callees, and returns the log of the failure routes once
/// the third callee has been busy, too.
fn failures(language: &Language, meanwhile: &[(usize, u16)]) -> Vec<String> {
    let proxy = language.start(FORK, &[]);
    let (caller, third) = (Phone::new(&proxy), Phone::new(&proxy));
    let callees = [Phone::new(&proxy), Phone::new(&proxy)];
    let lines = format!("X-Second: sip:second@{}\nX-Third: sip:third@{}\n", callees[1].address, third.address);
    caller.invite_with(&format!("sip:first@{}", callees[0].address), &lines);
    let invites = [callees[0].request("INVITE"), callees[1].request("INVITE")];

    callees[0].answer(&invites[0], 183, "Session Progress");
    proxy.expect_log("slow begins");
    for &(callee, status) in meanwhile {
        callees[callee].answer(&invites[callee], status, "Meanwhile");
    }
    for (callee, invite) in callees.iter().zip(&invites) {
        if !meanwhile.iter().any(|(_, status)| *status >= 300) {
            proxy.expect_log("slow ends");
            callee.answer(invite, 486, "Busy Here");
        }
        callee.request("ACK");
    }
    let invite = third.request("INVITE");
    proxy.expect_log("slow ends");
    third.answer(&invite, 486, "Busy Here");
    third.request("ACK");
    caller.reply(486);
    proxy.expect_log("failed: ");
    let log = proxy.log();
    let failures = log.lines().filter_map(|line| line.split_once("failed: "));
    failures.map(|(_, set)| set.to_owned()).collect()
}

fn what_the_scripts_of_two_replies_set_is_kept(language: &Language) {
    assert_eq!(failures(language, &[(1, 180)]), ["slow yes, quick yes"]);
}

fn a_failure_route_runs_once_although_a_slow_reply_route_began_before_it(language: &Language) {
    assert_eq!(failures(language, &[(0, 486), (1, 486)]), ["slow yes, quick no"]);
}

fn a_2xx_that_waits_for_a_slow_reply_route_is_passed_on(language: &Language) {
    let proxy = language.start(FORK, &[]);
    let (caller, callee, second) = (Phone::new(&proxy), Phone::new(&proxy), Phone::new(&proxy));
    let lines = format!("X-Second: sip:second@{}\nX-Third: sip:third@{}\n", second.address, second.address);
    caller.invite_with(&format!("sip:first@{}", callee.address), &lines);
    let (invite, at_second) = (callee.request("INVITE"), second.request("INVITE"));
    second.answer(&at_second, 180, "Ringing");
    caller.reply(180);
    callee.answer(&invite, 183, "Session Progress");
    proxy.expect_log("slow begins");
    callee.answer(&invite, 200, "OK");
    caller.reply(183);
    caller.reply(200);
    let cancel = second.request("CANCEL");
    second.answer(&cancel, 200, "OK");
    second.answer(&at_second, 487, "Request Terminated");
    second.request("ACK");
    assert!(!proxy.log().contains("failed: "), "{}", proxy.log());
}
