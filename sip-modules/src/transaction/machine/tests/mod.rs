//! The state machine under a clock that the test holds.
//!
//! Every test drives a [`Rig`] and reads what happened as words: `send 0` is branch 0's request on the wire, `cancel 0`
//! and `ack 0` its CANCEL and ACK, `reply 180` goes to the caller, `choose 486@1` asks the owner for the final reply,
//! `failure 486@1` runs the failure route.

use std::net::SocketAddr;

use super::super::{
    Action, Actions, BranchRequest, BranchState, Config, FailureOutcome, FailureReplyMode, Kind, ServerState, Timers,
    Transaction, TransactionError,
};

mod cancel;
mod client;
mod failure;
mod forking;
mod property;
mod server;

const T1: u64 = 500;
const T2: u64 = 4_000;
const T4: u64 = 5_000;
const TIMEOUT: u64 = 64 * T1;
const FR: u64 = 30_000;
const FR_INV: u64 = 120_000;

/// A transaction, its clock, and an owner that builds what is asked for at once.
struct Rig {
    tx: Transaction,
    now: u64,
    actions: Actions,
    log: Vec<String>,
    /// Whether the owner builds the final reply as soon as it is chosen.
    answers: bool,
    /// Whether the owner builds CANCEL and ACK as soon as they are needed.
    builds: bool,
}

impl Rig {
    fn new(kind: Kind) -> Self {
        Self::with(kind, false, Config::default())
    }

    fn with(kind: Kind, reliable: bool, config: Config) -> Self {
        Self {
            tx: Transaction::new(kind, reliable, config),
            now: 1_000_000,
            actions: Actions::default(),
            log: Vec::new(),
            answers: true,
            builds: true,
        }
    }

    /// A transaction whose route has added `count` branches; the requests sent are not in the log.
    fn relayed(kind: Kind, count: usize) -> Self {
        let mut rig = Self::new(kind);
        for _ in 0..count {
            rig.add().unwrap();
        }
        rig.routed();
        rig.take();
        rig
    }

    fn add(&mut self) -> Result<usize, TransactionError> {
        self.add_over(false)
    }

    fn add_over(&mut self, reliable: bool) -> Result<usize, TransactionError> {
        let index = self.tx.branches().len();
        let request = BranchRequest {
            bytes: format!("request {index}").into_bytes().into(),
            dest: dest(index),
            ruri: b"sip:bob@192.0.2.4"[..].into(),
            reliable,
        };
        let result = self.tx.add_branch(request, self.now, &mut self.actions);
        self.work();
        result
    }

    fn routed(&mut self) {
        self.tx.routed(self.now, &mut self.actions);
        self.work();
    }

    fn reply(&mut self, branch: usize, status: u16) {
        let bytes = format!("{status} from {branch}").into_bytes().into();
        self.tx.reply(branch, status, bytes, self.now, &mut self.actions).unwrap();
        self.work();
    }

    fn local(&mut self, status: u16) -> Result<(), TransactionError> {
        let bytes = format!("{status} local").into_bytes().into();
        let result = self.tx.local_reply(status, bytes, self.now, &mut self.actions);
        self.work();
        result
    }

    fn request_again(&mut self) {
        self.tx.request_retransmission(&mut self.actions);
        self.work();
    }

    fn ack(&mut self) {
        self.tx.ack(self.now, &mut self.actions);
        self.work();
    }

    fn cancel(&mut self) {
        self.tx.cancel(self.now, &mut self.actions);
        self.work();
    }

    fn cancel_reply(&mut self, branch: usize, status: u16) {
        self.tx.cancel_reply(branch, status, &mut self.actions).unwrap();
        self.work();
    }

    fn failure_done(&mut self, outcome: FailureOutcome) {
        self.tx.failure_done(outcome, self.now, &mut self.actions).unwrap();
        self.work();
    }

    /// Lets `millis` pass, with a timer call at every deadline; the log gets the time of each that did something.
    fn pass(&mut self, millis: u64) {
        let end = self.now + millis;
        while let Some(at) = self.tx.next_deadline().filter(|&at| at <= end) {
            assert!(at >= self.now, "a deadline lies in the past");
            self.now = at;
            self.tx.timer(self.now, &mut self.actions);
            self.work();
            assert!(self.tx.next_deadline().is_none_or(|next| next > at), "time stands still");
        }
        self.now = end;
    }

    /// The times, from now, at which `word` happens during `millis`.
    fn times(&mut self, word: &str, millis: u64) -> Vec<u64> {
        let (start, end) = (self.now, self.now + millis);
        let mut times = Vec::new();
        self.take();
        while self.now < end {
            let next = self.tx.next_deadline().map_or(end, |at| at.min(end));
            self.pass(next - self.now);
            if self.take().iter().any(|w| w == word) {
                times.push(self.now - start);
            }
        }
        times
    }

    fn take(&mut self) -> Vec<String> {
        std::mem::take(&mut self.log)
    }

    /// Carries out the actions as an owner would, and forgets what may be forgotten.
    fn work(&mut self) {
        while let Some(action) = self.actions.pop() {
            self.carry_out(action);
        }
        self.tx.release();
    }

    /// Whatever is to be made from a branch's request, that is still there.
    fn assert_kept(&self, branch: usize) {
        let kept = &self.tx.branches()[branch].request().bytes;
        assert_eq!(**kept, *format!("request {branch}").as_bytes());
    }

    fn carry_out(&mut self, action: Action) {
        assert!(
            !self.log.iter().any(|word| word == "finished") || matches!(action, Action::SendAck { .. }),
            "{action:?} after the end"
        );
        let word = match action {
            Action::SendReply { status, bytes } => {
                assert!(bytes.starts_with(status.to_string().as_bytes()));
                format!("reply {status}")
            }
            Action::SendRequest { branch, bytes, dest: to } => {
                assert_eq!(&*bytes, format!("request {branch}").as_bytes());
                assert_eq!(to, dest(branch));
                format!("send {branch}")
            }
            Action::SendCancel { branch, bytes, dest: to } => {
                assert_eq!((&*bytes, to), (&b"CANCEL"[..], dest(branch)));
                format!("cancel {branch}")
            }
            Action::SendAck { branch, bytes, dest: to } => {
                assert_eq!((&*bytes, to), (&b"ACK"[..], dest(branch)));
                format!("ack {branch}")
            }
            Action::NeedCancel { branch } if self.builds => {
                self.assert_kept(branch);
                let bytes = b"CANCEL"[..].into();
                self.tx.set_cancel(branch, bytes, self.now, &mut self.actions).unwrap();
                return;
            }
            Action::NeedAck { branch } if self.builds => {
                self.assert_kept(branch);
                let bytes = b"ACK"[..].into();
                self.tx.set_ack(branch, bytes, &mut self.actions).unwrap();
                return;
            }
            Action::NeedCancel { branch } => format!("need cancel {branch}"),
            Action::NeedAck { branch } => format!("need ack {branch}"),
            Action::FailureRoute(choice) => format!("failure {}@{}", choice.status, choice.branch),
            Action::ForwardFinal(choice) => {
                self.assert_kept(choice.branch);
                self.log.push(format!("choose {}@{}", choice.status, choice.branch));
                if self.answers {
                    self.local(choice.mapped_status).unwrap();
                }
                return;
            }
            Action::Finished => "finished".to_owned(),
        };
        self.log.push(word);
    }
}

fn dest(branch: usize) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 4], 5060 + branch as u16))
}
