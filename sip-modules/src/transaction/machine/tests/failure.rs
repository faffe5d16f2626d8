//! The failure route, during which no lock is held.

use super::*;

/// Two ringing branches have failed with 486 and 480, and the failure route runs.
fn deciding(mode: FailureReplyMode) -> Rig {
    let config = Config { timers: Timers::default(), failure_reply_mode: mode };
    let mut rig = Rig::with(Kind::Invite, false, config);
    rig.add().unwrap();
    rig.add().unwrap();
    rig.tx.set_failure_armed(true);
    rig.routed();
    rig.reply(0, 486);
    rig.take();
    rig.reply(1, 480);
    assert_eq!(rig.take(), ["failure 480@1", "ack 1"]);
    rig
}

#[test]
fn an_unarmed_handler_is_not_run() {
    let mut rig = Rig::relayed(Kind::Invite, 1);
    rig.reply(0, 486);
    assert_eq!(rig.take()[0], "choose 486@0");
}

#[test]
fn the_handler_is_disarmed_when_its_turn_comes() {
    let rig = deciding(FailureReplyMode::KeepAll);
    assert!(!rig.tx.is_failure_armed());
}

#[test]
fn it_also_runs_after_a_timeout_and_after_a_cancel() {
    let mut rig = Rig::relayed(Kind::Invite, 1);
    rig.tx.set_failure_armed(true);
    rig.pass(FR);
    assert_eq!(rig.take().last().unwrap(), "failure 408@0");

    let mut rig = Rig::relayed(Kind::Invite, 1);
    rig.tx.set_failure_armed(true);
    rig.reply(0, 180);
    rig.cancel();
    rig.take();
    rig.reply(0, 487);
    assert_eq!(rig.take(), ["failure 487@0", "ack 0"]);
    assert_eq!(rig.add(), Err(TransactionError::Canceled));
}

#[test]
fn without_a_decision_the_best_reply_goes_to_the_caller() {
    let mut rig = deciding(FailureReplyMode::KeepAll);
    rig.failure_done(FailureOutcome::Default);
    assert_eq!(rig.take(), ["choose 480@1", "reply 480"]);
}

#[test]
fn arming_the_handler_again_without_new_branches_does_not_run_it_again() {
    let mut rig = deciding(FailureReplyMode::KeepAll);
    rig.tx.set_failure_armed(true);
    rig.failure_done(FailureOutcome::NewBranches);
    assert_eq!(rig.take(), ["choose 480@1", "reply 480"]);
}

#[test]
fn its_own_reply_is_sent_instead() {
    let mut rig = deciding(FailureReplyMode::KeepAll);
    rig.failure_done(FailureOutcome::Reply { status: 404, bytes: b"404"[..].into() });
    assert_eq!(rig.take(), ["reply 404"]);
}

#[test]
fn a_reply_sent_inside_the_route_settles_it_as_well() {
    let mut rig = deciding(FailureReplyMode::KeepAll);
    rig.local(404).unwrap();
    rig.failure_done(FailureOutcome::Default);
    assert_eq!(rig.take(), ["reply 404"]);
}

#[test]
fn a_provisional_reply_is_no_decision() {
    let mut rig = deciding(FailureReplyMode::KeepAll);
    let outcome = FailureOutcome::Reply { status: 181, bytes: b"181"[..].into() };
    let refused = rig.tx.failure_done(outcome, rig.now, &mut rig.actions);
    assert_eq!(refused, Err(TransactionError::NotFinal(181)));
    rig.failure_done(FailureOutcome::Default);
    assert_eq!(rig.take(), ["choose 480@1", "reply 480"]);
}

#[test]
fn a_decision_that_nobody_asked_for_is_an_error() {
    let mut rig = Rig::relayed(Kind::Invite, 1);
    let refused = rig.tx.failure_done(FailureOutcome::Default, rig.now, &mut rig.actions);
    assert_eq!(refused, Err(TransactionError::NotDeciding));
}

#[test]
fn new_branches_are_waited_for_and_an_armed_handler_runs_again() {
    let mut rig = deciding(FailureReplyMode::KeepAll);
    rig.tx.set_failure_armed(true);
    assert_eq!(rig.add(), Ok(2));
    rig.failure_done(FailureOutcome::NewBranches);
    assert_eq!(rig.take(), ["send 2"]);
    rig.reply(2, 487);
    assert_eq!(rig.take(), ["failure 480@1", "ack 2"]);
    rig.failure_done(FailureOutcome::Default);
    assert_eq!(rig.take(), ["choose 480@1", "reply 480"]);
}

#[test]
fn mode_3_drops_the_replies_of_earlier_branches() {
    let mut rig = deciding(FailureReplyMode::DropEarlier);
    rig.add().unwrap();
    rig.failure_done(FailureOutcome::NewBranches);
    rig.take();
    rig.reply(2, 487);
    assert_eq!(rig.take(), ["choose 487@2", "ack 2", "reply 487"]);
    let counted: Vec<_> = rig.tx.branches().iter().map(|b| b.counted()).collect();
    assert_eq!(counted, [false, false, true]);
}

#[test]
fn mode_3_keeps_the_replies_when_no_branch_was_added() {
    let mut rig = deciding(FailureReplyMode::DropEarlier);
    rig.failure_done(FailureOutcome::Default);
    assert_eq!(rig.take(), ["choose 480@1", "reply 480"]);
}

#[test]
fn an_armed_handler_does_not_run_again_for_branches_that_were_not_sent() {
    for (mode, expected) in [
        (FailureReplyMode::KeepAll, ["choose 480@1", "reply 480"]),
        (FailureReplyMode::DropEarlier, ["choose 503@2", "reply 500"]),
    ] {
        let mut rig = deciding(mode);
        rig.tx.set_failure_armed(true);
        rig.add().unwrap();
        rig.tx.branch_send_failed(2, rig.now, &mut rig.actions).unwrap();
        rig.take();
        rig.failure_done(FailureOutcome::NewBranches);
        assert_eq!(rig.take(), expected, "{mode:?}");
    }
    // One that was sent is reason enough.
    let mut rig = deciding(FailureReplyMode::DropEarlier);
    rig.tx.set_failure_armed(true);
    rig.add().unwrap();
    rig.add().unwrap();
    rig.tx.branch_send_failed(2, rig.now, &mut rig.actions).unwrap();
    rig.take();
    rig.failure_done(FailureOutcome::NewBranches);
    rig.reply(3, 404);
    assert_eq!(rig.take(), ["failure 404@3", "ack 3"]);
}

#[test]
fn branches_that_the_route_added_before_it_died_are_waited_for() {
    let mut rig = deciding(FailureReplyMode::KeepAll);
    rig.add().unwrap();
    rig.take();
    rig.failure_done(FailureOutcome::Default);
    assert!(rig.take().is_empty());
    rig.reply(2, 200);
    assert_eq!(rig.take(), ["reply 200"]);
}

#[test]
fn a_new_branch_that_fails_while_the_route_runs_is_judged_after_it() {
    let mut rig = deciding(FailureReplyMode::DropEarlier);
    rig.add().unwrap();
    rig.reply(2, 404);
    assert_eq!(rig.take(), ["send 2", "ack 2"]);
    rig.failure_done(FailureOutcome::NewBranches);
    assert_eq!(rig.take(), ["choose 404@2", "reply 404"]);
}

#[test]
fn a_new_branch_that_succeeds_while_the_route_runs_wins() {
    let mut rig = deciding(FailureReplyMode::KeepAll);
    rig.add().unwrap();
    rig.add().unwrap();
    rig.take();
    rig.reply(2, 200);
    assert_eq!(rig.take(), ["reply 200"]);
    rig.failure_done(FailureOutcome::NewBranches);
    rig.reply(3, 180);
    assert_eq!(rig.take(), ["cancel 3"]);
}

#[test]
fn a_cancel_while_the_route_runs_cancels_its_new_branches_and_forbids_more() {
    let mut rig = deciding(FailureReplyMode::DropEarlier);
    rig.add().unwrap();
    rig.reply(2, 180);
    rig.take();
    rig.cancel();
    assert_eq!(rig.take(), ["cancel 2"]);
    assert_eq!(rig.add(), Err(TransactionError::Canceled));
    rig.failure_done(FailureOutcome::NewBranches);
    rig.reply(2, 487);
    assert_eq!(rig.take(), ["choose 487@2", "ack 2", "reply 487"]);
}

#[test]
fn retransmissions_while_the_route_runs_are_answered_as_always() {
    let mut rig = deciding(FailureReplyMode::KeepAll);
    rig.reply(0, 486);
    assert_eq!(rig.take(), ["ack 0"]);
    rig.request_again();
    assert!(rig.take().is_empty());
}

#[test]
fn time_that_passes_while_the_route_runs_does_not_decide() {
    let mut rig = deciding(FailureReplyMode::KeepAll);
    rig.pass(10 * TIMEOUT);
    assert!(rig.take().is_empty());
    rig.failure_done(FailureOutcome::Default);
    assert_eq!(rig.take(), ["choose 480@1", "reply 480"]);
}

#[test]
fn after_a_6xx_the_failure_route_does_not_wait_for_the_others_and_a_2xx_of_theirs_still_wins() {
    let mut rig = Rig::relayed(Kind::Invite, 3);
    rig.tx.set_failure_armed(true);
    rig.reply(0, 180);
    rig.take();
    rig.reply(1, 603);
    assert_eq!(rig.take(), ["failure 603@1", "ack 1", "cancel 0"]);
    rig.add().unwrap();
    rig.failure_done(FailureOutcome::NewBranches);
    rig.reply(2, 180);
    assert_eq!(rig.take(), ["send 3", "cancel 2"], "it is cancelled when it rings");
    rig.reply(0, 200);
    assert_eq!(rig.take(), ["reply 200"]);
}
