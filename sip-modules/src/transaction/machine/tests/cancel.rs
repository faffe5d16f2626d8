//! The caller's CANCEL: RFC 3261 §9 and §16.10.

use super::*;

#[test]
fn a_branch_with_a_provisional_reply_is_cancelled_at_once() {
    let mut rig = Rig::relayed(Kind::Invite, 1);
    rig.reply(0, 180);
    rig.take();
    rig.cancel();
    assert!(rig.tx.is_canceled());
    assert_eq!(rig.take(), ["cancel 0"]);
    rig.reply(0, 487);
    assert_eq!(rig.take(), ["choose 487@0", "ack 0", "reply 487"]);
}

#[test]
fn a_branch_without_any_reply_is_cancelled_when_the_first_one_comes() {
    let mut rig = Rig::relayed(Kind::Invite, 1);
    rig.cancel();
    assert!(rig.take().is_empty());
    rig.pass(T1);
    assert_eq!(rig.take(), ["send 0"], "it is still being called");
    rig.reply(0, 100);
    assert_eq!(rig.take(), ["cancel 0"]);
}

#[test]
fn a_branch_with_a_final_reply_is_never_cancelled() {
    let mut rig = Rig::relayed(Kind::Invite, 2);
    rig.reply(0, 486);
    rig.reply(1, 180);
    rig.take();
    rig.cancel();
    assert_eq!(rig.take(), ["cancel 1"]);
}

#[test]
fn a_silent_branch_that_is_to_be_cancelled_ends_with_487() {
    let mut rig = Rig::relayed(Kind::Invite, 1);
    rig.cancel();
    rig.pass(FR);
    assert_eq!(rig.take().last().unwrap(), "reply 487");
    assert!(!rig.tx.branches()[0].timed_out());
}

#[test]
fn without_an_answer_to_the_cancel_the_branch_ends_with_487_after_64_t1() {
    let mut rig = Rig::relayed(Kind::Invite, 1);
    rig.reply(0, 180);
    rig.cancel();
    rig.pass(TIMEOUT - 1);
    assert!(!rig.take().contains(&"reply 487".to_owned()));
    rig.pass(1);
    assert_eq!(rig.take(), ["choose 487@0", "reply 487"]);
}

#[test]
fn ringing_after_the_cancel_does_not_prolong_the_wait() {
    let mut rig = Rig::relayed(Kind::Invite, 1);
    rig.reply(0, 180);
    rig.cancel();
    rig.pass(TIMEOUT - 1);
    rig.reply(0, 180);
    rig.take();
    rig.pass(1);
    assert_eq!(rig.take(), ["choose 487@0", "reply 487"]);
}

#[test]
fn a_cancel_is_repeated_by_timer_e_until_it_is_answered() {
    let mut rig = Rig::relayed(Kind::Invite, 1);
    rig.reply(0, 180);
    rig.cancel();
    assert_eq!(rig.times("cancel 0", 8_000), [500, 1_500, 3_500, 7_500]);
    rig.cancel_reply(0, 200);
    assert!(rig.times("cancel 0", TIMEOUT).is_empty());
}

#[test]
fn a_provisional_reply_to_the_cancel_slows_its_repetition_to_t2() {
    let mut rig = Rig::relayed(Kind::Invite, 1);
    rig.reply(0, 180);
    rig.cancel();
    rig.cancel_reply(0, 100);
    assert_eq!(rig.times("cancel 0", 9_000), [T1, T1 + T2, T1 + 2 * T2]);
}

#[test]
fn a_cancel_over_a_reliable_transport_is_sent_once() {
    let mut rig = Rig::new(Kind::Invite);
    rig.add_over(true).unwrap();
    rig.routed();
    rig.reply(0, 180);
    rig.cancel();
    assert!(rig.times("cancel 0", TIMEOUT).is_empty());
}

#[test]
fn a_final_reply_stops_the_repeated_cancel() {
    let mut rig = Rig::relayed(Kind::Invite, 1);
    rig.reply(0, 180);
    rig.cancel();
    rig.reply(0, 487);
    assert!(rig.times("cancel 0", TIMEOUT).is_empty());
}

#[test]
fn a_200_that_crosses_the_cancel_goes_to_the_caller() {
    let mut rig = Rig::relayed(Kind::Invite, 1);
    rig.reply(0, 180);
    rig.cancel();
    rig.take();
    rig.reply(0, 200);
    assert_eq!(rig.take(), ["reply 200"]);
    rig.cancel_reply(0, 481);
    assert_eq!(rig.tx.server_state(), ServerState::Accepted);
}

#[test]
fn a_cancel_built_too_late_is_not_sent() {
    let mut rig = Rig::relayed(Kind::Invite, 1);
    rig.builds = false;
    rig.reply(0, 180);
    rig.take();
    rig.cancel();
    assert_eq!(rig.take(), ["need cancel 0"]);
    rig.reply(0, 200);
    rig.take();
    rig.tx.set_cancel(0, b"CANCEL"[..].into(), rig.now, &mut rig.actions).unwrap();
    rig.work();
    assert!(rig.take().is_empty());
}

#[test]
fn a_cancel_built_after_the_end_is_not_sent() {
    let mut rig = Rig::relayed(Kind::Invite, 1);
    rig.builds = false;
    rig.pass(FR);
    rig.reply(0, 180);
    assert_eq!(rig.take().last().unwrap(), "need cancel 0");
    rig.ack();
    rig.pass(T4);
    assert_eq!(rig.take(), ["finished"]);
    rig.tx.set_cancel(0, b"CANCEL"[..].into(), rig.now, &mut rig.actions).unwrap();
    assert!(rig.actions.is_empty());
}

#[test]
fn a_cancel_after_the_final_reply_has_no_effect() {
    let mut rig = Rig::relayed(Kind::Invite, 1);
    rig.reply(0, 200);
    rig.take();
    rig.cancel();
    assert!(!rig.tx.is_canceled());
    assert!(rig.take().is_empty());
}

#[test]
fn a_request_other_than_invite_is_not_cancelled() {
    let mut rig = Rig::relayed(Kind::NonInvite, 1);
    rig.reply(0, 180);
    rig.take();
    rig.cancel();
    assert!(!rig.tx.is_canceled());
    assert!(rig.take().is_empty());
}

#[test]
fn a_second_cancel_changes_nothing() {
    let mut rig = Rig::relayed(Kind::Invite, 1);
    rig.reply(0, 180);
    rig.cancel();
    rig.take();
    rig.cancel();
    assert!(rig.take().is_empty());
}

#[test]
fn after_a_cancel_no_branch_can_be_added() {
    let mut rig = Rig::new(Kind::Invite);
    rig.cancel();
    assert_eq!(rig.add(), Err(TransactionError::Canceled));
    rig.local(487).unwrap();
    rig.routed();
    assert_eq!(rig.take(), ["reply 487"]);
}
