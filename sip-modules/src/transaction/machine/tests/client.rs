//! The callee's side: RFC 3261 §17.1, RFC 6026 §7.2, and the operator's timers.

use super::*;

fn state(rig: &Rig) -> BranchState {
    rig.tx.branches()[0].state()
}

/// The branch's last status as the selection sees it.
fn outcome(rig: &Rig) -> Option<u16> {
    rig.tx.branches()[0].outcome().map(|o| o.status)
}

#[test]
fn a_new_branch_sends_its_request() {
    let mut rig = Rig::new(Kind::Invite);
    assert_eq!(rig.tx.next_branch(), Ok(0));
    assert_eq!(rig.add(), Ok(0));
    assert_eq!(rig.take(), ["send 0"]);
    assert_eq!(state(&rig), BranchState::Calling);
}

#[test]
fn timer_a_repeats_an_invite_doubling_without_a_cap() {
    let mut rig = Rig::relayed(Kind::Invite, 1);
    let expected = [500, 1_500, 3_500, 7_500, 15_500];
    assert_eq!(rig.times("send 0", FR), expected);
}

#[test]
fn timer_e_repeats_another_request_doubling_up_to_t2() {
    let mut rig = Rig::relayed(Kind::NonInvite, 1);
    let expected = [500, 1_500, 3_500, 7_500, 11_500, 15_500, 19_500, 23_500, 27_500];
    assert_eq!(rig.times("send 0", FR), expected);
}

#[test]
fn timer_e_is_t2_after_a_provisional_reply() {
    let mut rig = Rig::relayed(Kind::NonInvite, 1);
    rig.reply(0, 100);
    assert_eq!(rig.times("send 0", 13_000), [T1, T1 + T2, T1 + 2 * T2, T1 + 3 * T2]);
}

#[test]
fn a_provisional_reply_stops_timer_a() {
    let mut rig = Rig::relayed(Kind::Invite, 1);
    rig.reply(0, 100);
    assert!(rig.times("send 0", FR).is_empty());
    assert_eq!(state(&rig), BranchState::Proceeding);
}

#[test]
fn on_a_reliable_transport_no_request_is_repeated() {
    for kind in [Kind::Invite, Kind::NonInvite] {
        let mut rig = Rig::new(kind);
        rig.add_over(true).unwrap();
        rig.routed();
        assert!(rig.times("send 0", FR).is_empty());
        assert_eq!(outcome(&rig), Some(408));
    }
}

#[test]
fn timer_b_and_f_make_a_local_408_after_fr() {
    for kind in [Kind::Invite, Kind::NonInvite] {
        let mut rig = Rig::relayed(kind, 1);
        rig.pass(FR - 1);
        assert_eq!(outcome(&rig), None);
        rig.take();
        rig.pass(1);
        // RFC 4320 §4.2: the caller of another request than INVITE hears nothing.
        let told = rig.take();
        assert_eq!(told, if kind == Kind::Invite { &["choose 408@0", "reply 408"][..] } else { &[] });
        let branch = &rig.tx.branches()[0];
        assert!(branch.timed_out() && !branch.replied());
        assert!(branch.outcome().unwrap().reply.is_none());
    }
}

#[test]
fn timer_f_goes_on_after_a_provisional_reply() {
    let mut rig = Rig::relayed(Kind::NonInvite, 1);
    rig.reply(0, 100);
    rig.pass(FR);
    assert_eq!(outcome(&rig), Some(408));
}

#[test]
fn timer_c_makes_a_408_at_once_and_cancels_the_branch() {
    let mut rig = Rig::relayed(Kind::Invite, 1);
    rig.reply(0, 180);
    rig.take();
    rig.pass(FR_INV - 1);
    assert!(rig.take().is_empty());
    rig.pass(1);
    assert_eq!(rig.take(), ["choose 408@0", "cancel 0", "reply 408"]);
    assert!(rig.tx.branches()[0].timed_out());
    rig.cancel_reply(0, 200);
    rig.reply(0, 180);
    assert!(rig.take().is_empty(), "nobody waits for the callee any more");
    rig.reply(0, 487);
    rig.reply(0, 487);
    assert_eq!(rig.take(), ["ack 0", "ack 0"], "but it is acknowledged");
}

#[test]
fn after_timer_c_a_callee_that_is_gone_holds_up_nothing_but_the_end() {
    let mut rig = Rig::relayed(Kind::Invite, 1);
    rig.tx.set_failure_armed(true);
    rig.reply(0, 180);
    rig.take();
    rig.pass(FR_INV);
    assert_eq!(rig.take(), ["failure 408@0", "cancel 0"]);
    rig.add().unwrap();
    rig.failure_done(FailureOutcome::NewBranches);
    rig.reply(1, 486);
    assert_eq!(rig.take(), ["send 1", "choose 408@0", "ack 1", "reply 408"]);
    rig.ack();
    rig.pass(TIMEOUT + T4);
    assert_eq!(rig.take().last().map(String::as_str), Some("finished"));
}

#[test]
fn a_200_that_crosses_the_cancel_of_timer_c_passes() {
    let mut rig = Rig::relayed(Kind::Invite, 1);
    rig.reply(0, 180);
    rig.pass(FR_INV);
    rig.take();
    rig.reply(0, 200);
    assert_eq!(rig.take(), ["reply 200"]);

    let mut rig = Rig::relayed(Kind::Invite, 1);
    rig.tx.set_failure_armed(true);
    rig.reply(0, 180);
    rig.pass(FR_INV);
    rig.take();
    rig.add().unwrap();
    rig.failure_done(FailureOutcome::NewBranches);
    rig.reply(1, 180);
    rig.take();
    rig.reply(0, 200);
    assert_eq!(rig.take(), ["reply 200", "cancel 1"], "the next target is cancelled");
}

#[test]
fn provisional_replies_but_100_restart_timer_c() {
    let mut rig = Rig::relayed(Kind::Invite, 1);
    rig.reply(0, 100);
    rig.pass(100_000);
    rig.reply(0, 183);
    rig.pass(FR_INV - 10_000);
    rig.reply(0, 100);
    rig.take();
    rig.pass(10_000 - 1);
    assert!(rig.take().is_empty());
    rig.pass(1);
    assert_eq!(rig.take(), ["choose 408@0", "cancel 0", "reply 408"]);
}

#[test]
fn a_dropped_provisional_reply_runs_the_timers_unseen() {
    let mut rig = Rig::relayed(Kind::Invite, 1);
    rig.tx.dropped_provisional(0, 180, rig.now, &mut rig.actions).unwrap();
    rig.work();
    assert!(rig.times("send 0", FR_INV - 1).is_empty());
    rig.pass(1);
    assert_eq!(rig.take(), ["choose 408@0", "cancel 0", "reply 408"]);
    for status in [200, 404] {
        let refused = rig.tx.dropped_provisional(0, status, rig.now, &mut rig.actions);
        assert_eq!(refused, Err(TransactionError::Status(status)));
    }
}

#[test]
fn a_final_reply_of_300_or_more_is_acknowledged_each_time_until_timer_d() {
    let mut rig = Rig::relayed(Kind::Invite, 1);
    rig.reply(0, 486);
    assert_eq!(rig.take(), ["choose 486@0", "ack 0", "reply 486"]);
    rig.ack();
    rig.pass(TIMEOUT - 1);
    rig.reply(0, 486);
    assert_eq!(rig.take(), ["ack 0"]);
    assert_eq!(state(&rig), BranchState::Completed);
    rig.pass(1);
    assert_eq!(rig.take(), ["finished"]);
}

#[test]
fn an_ack_not_built_in_time_is_asked_for_again() {
    let mut rig = Rig::relayed(Kind::Invite, 1);
    rig.builds = false;
    rig.reply(0, 486);
    rig.take();
    rig.reply(0, 486);
    assert_eq!(rig.take(), ["need ack 0"]);
}

#[test]
fn timer_d_is_zero_on_a_reliable_transport() {
    let mut rig = Rig::new(Kind::Invite);
    rig.add_over(true).unwrap();
    rig.routed();
    rig.take();
    rig.reply(0, 486);
    assert_eq!(state(&rig), BranchState::Terminated);
    assert_eq!(rig.take(), ["choose 486@0", "ack 0", "reply 486"]);
}

#[test]
fn timer_k_absorbs_repeated_final_replies_of_another_request() {
    let mut rig = Rig::relayed(Kind::NonInvite, 1);
    rig.reply(0, 404);
    assert_eq!(rig.take(), ["choose 404@0", "reply 404"]);
    rig.reply(0, 404);
    rig.reply(0, 200);
    assert!(rig.take().is_empty());
    rig.pass(T4 - 1);
    assert_eq!(state(&rig), BranchState::Completed);
    rig.pass(1);
    assert_eq!(state(&rig), BranchState::Terminated);
}

#[test]
fn a_repeated_2xx_passes_until_timer_m() {
    let mut rig = Rig::relayed(Kind::Invite, 1);
    rig.reply(0, 200);
    rig.take();
    rig.pass(TIMEOUT - 1);
    rig.reply(0, 200);
    assert_eq!(rig.take(), ["reply 200"]);
    rig.pass(1);
    rig.reply(0, 200);
    assert_eq!(rig.take(), ["finished"]);
}

#[test]
fn after_a_2xx_other_replies_of_the_branch_are_dropped() {
    let mut rig = Rig::relayed(Kind::Invite, 1);
    rig.reply(0, 200);
    rig.take();
    rig.reply(0, 180);
    rig.reply(0, 486);
    assert!(rig.take().is_empty());
}

#[test]
fn after_a_final_reply_a_2xx_of_the_same_branch_is_dropped() {
    let mut rig = Rig::relayed(Kind::Invite, 1);
    rig.reply(0, 486);
    rig.take();
    rig.reply(0, 200);
    rig.reply(0, 180);
    assert!(rig.take().is_empty());
}

#[test]
fn a_2xx_after_the_local_408_of_an_invite_still_passes() {
    let mut rig = Rig::relayed(Kind::Invite, 1);
    rig.pass(FR);
    rig.take();
    rig.reply(0, 200);
    assert_eq!(rig.take(), ["reply 200"]);
}

#[test]
fn a_2xx_after_the_local_408_of_another_request_is_dropped() {
    let mut rig = Rig::relayed(Kind::NonInvite, 1);
    rig.pass(FR);
    rig.take();
    rig.reply(0, 200);
    assert!(rig.take().is_empty());
}

#[test]
fn a_late_final_reply_after_the_local_408_is_only_acknowledged() {
    let mut rig = Rig::relayed(Kind::Invite, 1);
    rig.pass(FR);
    rig.take();
    rig.reply(0, 486);
    rig.reply(0, 486);
    assert_eq!(rig.take(), ["ack 0", "ack 0"]);
    assert_eq!(outcome(&rig), Some(408));
}

#[test]
fn a_callee_that_rings_after_it_was_given_up_is_cancelled() {
    let mut rig = Rig::relayed(Kind::Invite, 1);
    rig.pass(FR);
    rig.take();
    rig.reply(0, 180);
    rig.reply(0, 180);
    assert_eq!(rig.take(), ["cancel 0"]);
    rig.reply(0, 487);
    assert_eq!(rig.take(), ["ack 0"]);
}

#[test]
fn a_failed_send_counts_as_503_and_leaves_as_500() {
    let mut rig = Rig::relayed(Kind::Invite, 1);
    rig.tx.branch_send_failed(0, rig.now, &mut rig.actions).unwrap();
    rig.work();
    assert_eq!(rig.take(), ["choose 503@0", "reply 500"]);
    assert!(rig.times("send 0", FR).is_empty());
}

#[test]
fn a_branch_can_be_ended_with_another_status_but_not_with_a_success() {
    let mut rig = Rig::relayed(Kind::Invite, 1);
    for status in [100, 200, 700] {
        let refused = rig.tx.branch_failed(0, status, rig.now, &mut rig.actions);
        assert_eq!(refused, Err(TransactionError::Status(status)));
    }
    rig.tx.branch_failed(0, 478, rig.now, &mut rig.actions).unwrap();
    rig.work();
    assert_eq!(rig.take(), ["choose 478@0", "reply 478"]);
}

#[test]
fn fr_and_fr_inv_can_be_changed_for_one_transaction() {
    let mut rig = Rig::new(Kind::Invite);
    rig.tx.set_fr(Some(7_000), Some(3_000));
    rig.add().unwrap();
    rig.add().unwrap();
    rig.routed();
    rig.reply(1, 180);
    rig.pass(3_000);
    assert_eq!(outcome(&rig), Some(408));
    rig.take();
    rig.pass(4_000);
    assert_eq!(rig.take(), ["choose 408@0", "cancel 1", "reply 408"]);
}

#[test]
fn a_branch_that_does_not_exist_is_an_error() {
    let mut rig = Rig::relayed(Kind::Invite, 1);
    let missing = Err(TransactionError::NoSuchBranch(1));
    let bytes = || b""[..].into();
    let (tx, now, actions) = (&mut rig.tx, rig.now, &mut rig.actions);
    assert_eq!(tx.reply(1, 200, bytes(), now, actions), missing);
    assert_eq!(tx.set_cancel(1, bytes(), now, actions), missing);
    assert_eq!(tx.set_ack(1, bytes(), actions), missing);
    assert_eq!(tx.cancel_reply(1, 200, actions), missing);
    assert_eq!(tx.branch_send_failed(1, now, actions), missing);
    assert!(actions.is_empty());
}

#[test]
fn what_nothing_can_ask_for_any_more_is_forgotten() {
    let empty = |rig: &Rig| rig.tx.branches()[0].request().bytes.is_empty();
    for (kind, status) in [(Kind::Invite, 200), (Kind::NonInvite, 200), (Kind::NonInvite, 404)] {
        let mut rig = Rig::relayed(kind, 1);
        rig.reply(0, 180);
        assert!(!empty(&rig), "it may have to be sent again, cancelled, or taken up by a failure route");
        rig.reply(0, status);
        assert!(empty(&rig), "{kind:?} {status}");
    }

    // The ACK for a failure is made from the request.
    let mut rig = Rig::relayed(Kind::Invite, 1);
    rig.builds = false;
    rig.reply(0, 486);
    assert!(!empty(&rig));
    rig.tx.set_ack(0, b"ACK"[..].into(), &mut rig.actions).unwrap();
    rig.work();
    assert!(empty(&rig));
}
