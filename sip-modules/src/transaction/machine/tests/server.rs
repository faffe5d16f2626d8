//! The caller's side: RFC 3261 §17.2, RFC 6026 §7.1.

use super::*;

#[test]
fn an_invite_starts_in_proceeding_and_another_request_in_trying() {
    assert_eq!(Rig::new(Kind::Invite).tx.server_state(), ServerState::Proceeding);
    assert_eq!(Rig::new(Kind::NonInvite).tx.server_state(), ServerState::Trying);
}

#[test]
fn a_retransmission_before_any_reply_is_absorbed() {
    for kind in [Kind::Invite, Kind::NonInvite] {
        let mut rig = Rig::relayed(kind, 1);
        rig.request_again();
        assert!(rig.take().is_empty());
    }
}

#[test]
fn a_retransmission_in_proceeding_repeats_the_last_provisional_reply() {
    for kind in [Kind::Invite, Kind::NonInvite] {
        let mut rig = Rig::new(kind);
        rig.local(100).unwrap();
        rig.add().unwrap();
        rig.routed();
        rig.take();
        rig.request_again();
        assert_eq!(rig.take(), ["reply 100"]);
        rig.reply(0, 180);
        rig.take();
        rig.request_again();
        // RFC 4320 §4.1: another request is told no more than 100.
        assert_eq!(rig.take(), [if kind == Kind::Invite { "reply 180" } else { "reply 100" }]);
        assert_eq!(rig.tx.server_state(), ServerState::Proceeding);
    }
}

#[test]
fn a_retransmission_in_completed_repeats_the_final_reply() {
    for kind in [Kind::Invite, Kind::NonInvite] {
        let mut rig = Rig::relayed(kind, 1);
        rig.reply(0, 404);
        rig.take();
        rig.request_again();
        assert_eq!(rig.take(), ["reply 404"]);
        assert_eq!(rig.tx.server_state(), ServerState::Completed);
    }
}

#[test]
fn a_retransmission_in_confirmed_is_absorbed() {
    let mut rig = Rig::relayed(Kind::Invite, 1);
    rig.reply(0, 404);
    rig.ack();
    rig.take();
    rig.request_again();
    assert!(rig.take().is_empty());
    assert_eq!(rig.tx.server_state(), ServerState::Confirmed);
}

#[test]
fn a_retransmission_in_accepted_is_absorbed() {
    let mut rig = Rig::relayed(Kind::Invite, 1);
    rig.reply(0, 200);
    rig.take();
    rig.request_again();
    assert!(rig.take().is_empty());
    assert_eq!(rig.tx.server_state(), ServerState::Accepted);
}

#[test]
fn timer_g_repeats_the_final_reply_doubling_up_to_t2_until_timer_h() {
    let mut rig = Rig::relayed(Kind::Invite, 1);
    rig.reply(0, 404);
    let expected = [500, 1_500, 3_500, 7_500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500];
    assert_eq!(rig.times("reply 404", TIMEOUT), expected);
    assert_eq!(rig.tx.server_state(), ServerState::Terminated);
}

#[test]
fn an_ack_stops_timer_g_and_timer_i_absorbs_further_ones() {
    let mut rig = Rig::relayed(Kind::Invite, 1);
    rig.reply(0, 404);
    rig.ack();
    rig.take();
    rig.ack();
    rig.pass(T4 - 1);
    assert_eq!(rig.tx.server_state(), ServerState::Confirmed);
    rig.pass(1);
    assert_eq!(rig.tx.server_state(), ServerState::Terminated);
    assert!(rig.take().is_empty());
}

#[test]
fn an_ack_before_any_final_reply_changes_nothing() {
    let mut rig = Rig::relayed(Kind::Invite, 1);
    rig.reply(0, 180);
    rig.take();
    rig.ack();
    assert_eq!(rig.tx.server_state(), ServerState::Proceeding);
    assert!(rig.take().is_empty());
}

#[test]
fn on_a_reliable_transport_nothing_is_repeated_and_timer_i_is_zero() {
    let mut rig = Rig::with(Kind::Invite, true, Config::default());
    rig.local(404).unwrap();
    assert!(rig.times("reply 404", TIMEOUT - 1).is_empty());
    rig.ack();
    assert_eq!(rig.take(), ["finished"]);
}

#[test]
fn on_a_reliable_transport_timer_h_still_ends_the_wait_for_the_ack() {
    let mut rig = Rig::with(Kind::Invite, true, Config::default());
    rig.local(404).unwrap();
    rig.take();
    rig.pass(TIMEOUT);
    assert_eq!(rig.take(), ["finished"]);
}

#[test]
fn timer_j_ends_a_request_other_than_invite() {
    let mut rig = Rig::new(Kind::NonInvite);
    rig.local(200).unwrap();
    rig.take();
    rig.pass(TIMEOUT - 1);
    rig.request_again();
    assert_eq!(rig.take(), ["reply 200"]);
    rig.pass(1);
    assert_eq!(rig.take(), ["finished"]);
}

#[test]
fn timer_j_is_zero_on_a_reliable_transport() {
    let mut rig = Rig::with(Kind::NonInvite, true, Config::default());
    rig.local(200).unwrap();
    assert_eq!(rig.take(), ["reply 200", "finished"]);
}

#[test]
fn timer_l_ends_an_accepted_invite() {
    let mut rig = Rig::relayed(Kind::Invite, 1);
    rig.reply(0, 200);
    rig.take();
    rig.pass(TIMEOUT - 1);
    assert_eq!(rig.tx.server_state(), ServerState::Accepted);
    rig.pass(1);
    assert_eq!(rig.take(), ["finished"]);
}

#[test]
fn a_2xx_of_the_callee_is_not_repeated_by_the_proxy() {
    let mut rig = Rig::relayed(Kind::Invite, 1);
    rig.reply(0, 200);
    assert!(rig.times("reply 200", TIMEOUT).is_empty());
}

#[test]
fn a_2xx_made_here_is_repeated_until_its_ack() {
    let mut rig = Rig::new(Kind::Invite);
    rig.local(200).unwrap();
    assert_eq!(rig.times("reply 200", 4_000), [500, 1_500, 3_500]);
    rig.request_again();
    assert_eq!(rig.take(), ["reply 200"]);
    rig.ack();
    assert!(rig.times("reply 200", TIMEOUT).is_empty());
    assert!(rig.tx.is_finished());
}

#[test]
fn after_a_final_reply_no_other_one_is_accepted() {
    let mut rig = Rig::new(Kind::Invite);
    rig.local(480).unwrap();
    rig.take();
    assert_eq!(rig.local(500), Err(TransactionError::Answered));
    assert_eq!(rig.local(180), Err(TransactionError::Answered));
    assert_eq!(rig.add(), Err(TransactionError::Answered));
    assert!(rig.take().is_empty());
}

#[test]
fn a_status_that_sip_does_not_have_is_refused() {
    let mut rig = Rig::new(Kind::Invite);
    for status in [0, 99, 700, u16::MAX] {
        assert_eq!(rig.local(status), Err(TransactionError::Status(status)));
    }
    assert!(rig.take().is_empty());
}

#[test]
fn a_route_that_neither_relays_nor_replies_drops_the_request() {
    let mut rig = Rig::new(Kind::Invite);
    rig.routed();
    assert_eq!(rig.take(), ["finished"]);
    rig.request_again();
    rig.pass(TIMEOUT);
    assert!(rig.take().is_empty());
}

#[test]
fn a_late_clock_causes_one_retransmission_and_no_burst() {
    let mut rig = Rig::relayed(Kind::Invite, 1);
    rig.reply(0, 404);
    rig.take();
    rig.now += 20_000;
    rig.tx.timer(rig.now, &mut rig.actions);
    rig.work();
    assert_eq!(rig.take(), ["reply 404"]);
}

#[test]
fn a_request_other_than_invite_that_nobody_answers_is_not_answered_and_its_retransmissions_are_absorbed() {
    for failure_route in [false, true] {
        let mut rig = Rig::relayed(Kind::NonInvite, 1);
        rig.tx.set_failure_armed(failure_route);
        rig.pass(FR);
        if failure_route {
            assert_eq!(rig.take().last().map(String::as_str), Some("failure 408@0"));
            rig.failure_done(FailureOutcome::Default);
        }
        rig.take();
        rig.request_again();
        assert!(rig.take().is_empty() && rig.tx.is_answered());
        assert!(rig.local(408).is_err(), "it is too late");
        rig.pass(TIMEOUT);
        assert_eq!(rig.take(), ["finished"]);
    }
}
