//! Whatever comes in whatever order, the promises hold.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Input {
    Add(bool),
    Routed,
    Reply(usize, u16),
    SendFailed(usize),
    CancelReply(usize, u16),
    RequestAgain,
    Ack,
    Cancel,
    Local(u16),
    Arm,
    FailureDone(FailureOutcome),
    Pass(u64),
    /// Time passes without anybody calling the timer.
    Sleep(u64),
}

fn status() -> impl Strategy<Value = u16> {
    prop_oneof![Just(100), Just(180), Just(183), Just(200), Just(202), 300..700u16]
}

fn input() -> impl Strategy<Value = Input> {
    let branch = || 0..4usize;
    prop_oneof![
        3 => any::<bool>().prop_map(Input::Add),
        2 => Just(Input::Routed),
        8 => (branch(), status()).prop_map(|(b, s)| Input::Reply(b, s)),
        1 => branch().prop_map(Input::SendFailed),
        1 => (branch(), status()).prop_map(|(b, s)| Input::CancelReply(b, s)),
        1 => Just(Input::RequestAgain),
        1 => Just(Input::Ack),
        1 => Just(Input::Cancel),
        1 => status().prop_map(Input::Local),
        2 => Just(Input::Arm),
        1 => Just(Input::FailureDone(FailureOutcome::Default)),
        1 => Just(Input::FailureDone(FailureOutcome::NewBranches)),
        1 => status().prop_map(|status| Input::FailureDone(FailureOutcome::Reply {
            status,
            bytes: status.to_string().into_bytes().into(),
        })),
        4 => (0..40_000u64).prop_map(Input::Pass),
        1 => (0..200_000u64).prop_map(Input::Sleep),
    ]
}

impl Rig {
    /// Applies an input; one that is refused must change nothing that anybody can see.
    fn apply(&mut self, input: Input) {
        let known = |branch: usize, rig: &Rig| branch < rig.tx.branches().len();
        match input {
            Input::Add(reliable) => {
                let _ = self.add_over(reliable);
            }
            Input::Routed => self.routed(),
            Input::Reply(branch, status) if known(branch, self) => self.reply(branch, status),
            Input::CancelReply(branch, status) if known(branch, self) => {
                self.cancel_reply(branch, status);
            }
            Input::SendFailed(branch) if known(branch, self) => {
                self.tx.branch_send_failed(branch, self.now, &mut self.actions).unwrap();
                self.work();
            }
            Input::Reply(..) | Input::CancelReply(..) | Input::SendFailed(_) => {}
            Input::RequestAgain => self.request_again(),
            Input::Ack => self.ack(),
            Input::Cancel => self.cancel(),
            Input::Local(status) => {
                if self.local(status).is_err() {
                    assert!(self.tx.is_answered());
                }
            }
            Input::Arm => self.tx.set_failure_armed(true),
            Input::FailureDone(outcome) => {
                let result = self.tx.failure_done(outcome, self.now, &mut self.actions);
                if result.is_err() {
                    assert!(self.actions.is_empty());
                }
                self.work();
            }
            Input::Pass(millis) => self.pass(millis),
            Input::Sleep(millis) => {
                self.now += millis;
                self.tx.timer(self.now, &mut self.actions);
                self.work();
            }
        }
    }

    /// Lets everybody do their duty until the end.
    fn conclude(&mut self) {
        self.routed();
        for _ in 0..1_000 {
            if self.tx.is_finished() {
                return;
            }
            let _ = self.tx.failure_done(FailureOutcome::Default, self.now, &mut self.actions);
            self.work();
            if !self.answers {
                // The reply that was asked for, if any, comes at last.
                let chosen = self.log.iter().rfind(|word| word.starts_with("choose"));
                if chosen.is_some() && !self.tx.is_answered() {
                    let _ = self.local(480);
                }
            }
            if let Some(at) = self.tx.next_deadline() {
                self.pass(at - self.now);
            }
        }
        panic!("does not end: {:?}", self.tx);
    }

    /// The final statuses the caller saw, without repetitions of the same.
    fn finals(&self) -> Vec<u16> {
        let words = self.log.iter().filter_map(|w| w.strip_prefix("reply "));
        let mut finals: Vec<u16> = words.map(|s| s.parse().unwrap()).collect();
        finals.retain(|&status| status >= 200);
        finals.dedup();
        finals
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 1_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn no_sequence_panics_sends_two_finals_or_lives_for_ever(
        invite: bool,
        reliable: bool,
        drop_earlier: bool,
        answers: bool,
        builds: bool,
        inputs in prop::collection::vec(input(), 0..60),
    ) {
        let kind = if invite { Kind::Invite } else { Kind::NonInvite };
        let mut config = Config::default();
        if drop_earlier {
            config.failure_reply_mode = FailureReplyMode::DropEarlier;
        }
        let mut rig = Rig::with(kind, reliable, config);
        (rig.answers, rig.builds) = (answers, builds);
        for input in inputs {
            rig.apply(input);
        }
        rig.conclude();

        let mut failures: Vec<_> = rig.finals().into_iter().filter(|&s| s >= 300).collect();
        failures.dedup();
        prop_assert!(failures.len() <= 1, "two failures for the caller: {:?}", rig.log);
        let finals = rig.finals();
        if finals.first().is_some_and(|&first| first < 300) {
            prop_assert!(failures.is_empty(), "a failure after a success: {:?}", rig.log);
        }
        if kind == Kind::NonInvite {
            prop_assert!(finals.len() <= 1, "two finals of a non-INVITE: {:?}", rig.log);
        }
        prop_assert_eq!(rig.log.iter().filter(|w| *w == "finished").count(), 1);
        prop_assert_eq!(rig.tx.next_deadline(), None);
    }
}
