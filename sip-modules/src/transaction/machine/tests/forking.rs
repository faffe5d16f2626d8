//! The response context: RFC 3261 §16.7.

use super::*;

#[test]
fn a_100_is_never_forwarded() {
    for kind in [Kind::Invite, Kind::NonInvite] {
        let mut rig = Rig::relayed(kind, 1);
        rig.reply(0, 100);
        assert!(rig.take().is_empty());
    }
}

#[test]
fn other_provisional_replies_of_every_branch_pass_at_once() {
    let mut rig = Rig::relayed(Kind::Invite, 2);
    rig.reply(0, 180);
    rig.reply(1, 183);
    rig.reply(0, 180);
    assert_eq!(rig.take(), ["reply 180", "reply 183", "reply 180"]);
}

#[test]
fn provisional_replies_after_the_final_one_are_dropped() {
    let mut rig = Rig::relayed(Kind::Invite, 2);
    rig.reply(0, 200);
    rig.take();
    rig.reply(1, 180);
    assert_eq!(rig.take(), ["cancel 1"]);
}

#[test]
fn final_replies_wait_until_every_branch_has_one() {
    let mut rig = Rig::relayed(Kind::Invite, 3);
    rig.reply(0, 486);
    rig.reply(2, 480);
    assert_eq!(rig.take(), ["ack 0", "ack 2"]);
    rig.reply(1, 500);
    assert_eq!(rig.take(), ["choose 480@2", "ack 1", "reply 480"]);
}

#[test]
fn of_486_and_480_the_480_wins() {
    for (first, second) in [(486, 480), (480, 486)] {
        let mut rig = Rig::relayed(Kind::Invite, 2);
        rig.reply(0, first);
        rig.reply(1, second);
        assert_eq!(rig.take().last().unwrap(), "reply 480");
    }
}

#[test]
fn a_lone_503_leaves_as_500() {
    let mut rig = Rig::relayed(Kind::Invite, 1);
    rig.reply(0, 503);
    assert_eq!(rig.take(), ["choose 503@0", "ack 0", "reply 500"]);
    assert_eq!(rig.tx.last_status(), Some(500));
}

#[test]
fn the_chosen_reply_is_kept_for_the_owner() {
    let mut rig = Rig::relayed(Kind::Invite, 1);
    rig.answers = false;
    rig.reply(0, 486);
    let outcome = rig.tx.branches()[0].outcome().unwrap();
    assert_eq!(outcome.reply.as_deref(), Some(&b"486 from 0"[..]));
}

#[test]
fn a_2xx_passes_at_once_and_cancels_the_others() {
    let mut rig = Rig::relayed(Kind::Invite, 4);
    rig.reply(0, 180);
    rig.reply(1, 486);
    rig.reply(2, 180);
    rig.take();
    rig.reply(2, 200);
    assert_eq!(rig.take(), ["reply 200", "cancel 0"]);
    rig.reply(3, 180);
    assert_eq!(rig.take(), ["cancel 3"], "as soon as it answers");
    rig.reply(0, 487);
    rig.reply(3, 487);
    assert_eq!(rig.take(), ["ack 0", "ack 3"]);
}

#[test]
fn a_2xx_passes_even_while_the_route_still_adds_branches() {
    let mut rig = Rig::new(Kind::Invite);
    rig.add().unwrap();
    rig.reply(0, 200);
    assert_eq!(rig.take(), ["send 0", "reply 200"]);
    assert_eq!(rig.add(), Err(TransactionError::Answered));
}

#[test]
fn a_failure_is_held_back_while_the_route_still_adds_branches() {
    let mut rig = Rig::new(Kind::Invite);
    rig.add().unwrap();
    rig.reply(0, 404);
    rig.add().unwrap();
    rig.routed();
    assert_eq!(rig.take(), ["send 0", "ack 0", "send 1"]);
    rig.reply(1, 404);
    assert_eq!(rig.take(), ["choose 404@0", "ack 1", "reply 404"]);
}

#[test]
fn failures_of_all_branches_before_the_end_of_the_route_are_answered_at_its_end() {
    let mut rig = Rig::new(Kind::Invite);
    rig.add().unwrap();
    rig.reply(0, 404);
    rig.take();
    rig.routed();
    assert_eq!(rig.take(), ["choose 404@0", "reply 404"]);
}

#[test]
fn a_second_2xx_of_an_invite_from_another_branch_passes_too() {
    let mut rig = Rig::relayed(Kind::Invite, 2);
    rig.reply(0, 200);
    rig.reply(1, 200);
    assert_eq!(rig.take(), ["reply 200", "reply 200"]);
    rig.reply(1, 200);
    assert_eq!(rig.take(), ["reply 200"], "and its retransmission");
}

#[test]
fn a_second_2xx_of_another_request_is_dropped() {
    let mut rig = Rig::relayed(Kind::NonInvite, 2);
    rig.reply(0, 200);
    rig.reply(1, 200);
    assert_eq!(rig.take(), ["reply 200"]);
}

#[test]
fn a_6xx_cancels_the_others_and_waits_for_them() {
    let mut rig = Rig::relayed(Kind::Invite, 3);
    rig.reply(0, 180);
    rig.reply(1, 180);
    rig.take();
    rig.reply(2, 603);
    assert_eq!(rig.take(), ["ack 2", "cancel 0", "cancel 1"]);
    rig.reply(0, 487);
    assert_eq!(rig.take(), ["ack 0"]);
    rig.reply(1, 487);
    assert_eq!(rig.take(), ["choose 603@2", "ack 1", "reply 603"]);
}

#[test]
fn a_2xx_after_a_6xx_still_wins() {
    let mut rig = Rig::relayed(Kind::Invite, 2);
    rig.reply(0, 180);
    rig.reply(1, 603);
    rig.take();
    rig.reply(0, 200);
    assert_eq!(rig.take(), ["reply 200"]);
}

#[test]
fn a_6xx_of_another_request_waits_without_a_cancel() {
    let mut rig = Rig::relayed(Kind::NonInvite, 2);
    rig.reply(0, 603);
    assert!(rig.take().is_empty());
    rig.reply(1, 404);
    assert_eq!(rig.take(), ["choose 603@0", "reply 603"]);
}

#[test]
fn a_2xx_after_the_final_failure_passes_and_leaves_the_wait_for_the_ack_alone() {
    let mut rig = Rig::relayed(Kind::Invite, 2);
    rig.pass(FR);
    assert_eq!(rig.take().last().unwrap(), "reply 408");
    rig.reply(1, 200);
    assert_eq!(rig.take(), ["reply 200"]);
    assert_eq!(rig.tx.server_state(), ServerState::Completed);
    rig.pass(T1);
    assert_eq!(rig.take(), ["reply 408"], "Timer G repeats what the ACK is for");
}

#[test]
fn a_2xx_between_the_choice_and_the_reply_wins() {
    let mut rig = Rig::relayed(Kind::Invite, 1);
    rig.answers = false;
    rig.pass(FR);
    assert_eq!(rig.take().last().unwrap(), "choose 408@0");
    assert_eq!(rig.add(), Err(TransactionError::Answered));
    rig.reply(0, 200);
    assert_eq!(rig.take(), ["reply 200"]);
    assert_eq!(rig.local(408), Err(TransactionError::Answered));
}

#[test]
fn a_final_reply_of_the_script_cancels_the_branches() {
    let mut rig = Rig::relayed(Kind::Invite, 2);
    rig.reply(0, 180);
    rig.take();
    rig.local(480).unwrap();
    assert_eq!(rig.take(), ["reply 480", "cancel 0"]);
    rig.reply(0, 487);
    assert_eq!(rig.take(), ["ack 0"]);
}

#[test]
fn twelve_branches_are_the_most() {
    let mut rig = Rig::new(Kind::Invite);
    for index in 0..12 {
        assert_eq!(rig.add(), Ok(index));
    }
    assert_eq!(rig.add(), Err(TransactionError::TooManyBranches));
    assert_eq!(rig.tx.next_branch(), Err(TransactionError::TooManyBranches));
    assert_eq!(rig.tx.branches().len(), 12);
}

#[test]
fn the_transaction_ends_when_the_last_side_does() {
    let mut rig = Rig::relayed(Kind::Invite, 2);
    rig.reply(0, 180);
    rig.reply(1, 200);
    rig.pass(TIMEOUT - 1);
    rig.reply(0, 487);
    rig.take();
    rig.pass(1);
    assert_eq!(rig.tx.server_state(), ServerState::Terminated);
    assert!(!rig.tx.is_finished(), "Timer D of branch 0 still runs");
    rig.pass(TIMEOUT);
    assert_eq!(rig.take(), ["finished"]);
    assert_eq!(rig.tx.next_deadline(), None);
}
