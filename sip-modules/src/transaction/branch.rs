//! The client side: one transaction with a callee (RFC 3261 §17.1, RFC 6026 §7.2) and its CANCEL (§9.1).

use std::net::SocketAddr;

use super::{
    action::{Action, Actions, Bytes},
    machine::Kind,
    timers::{Retransmit, Timers},
};

/// What a new branch sends, and where.
#[derive(Clone, Debug)]
pub struct BranchRequest {
    /// The whole request, with our Via on top; empty after [`Transaction::release`](super::Transaction::release).
    pub bytes: Bytes,
    /// Where it goes.
    pub dest: SocketAddr,
    /// Its Request-URI; kept for the owner, not looked at.
    pub ruri: Bytes,
    /// Whether the transport delivers by itself, so that nothing is retransmitted.
    pub reliable: bool,
}

/// Where the transaction with a callee stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BranchState {
    /// The request was sent and nothing came back (`Trying` for a request other than INVITE).
    Calling,
    /// A provisional reply came.
    Proceeding,
    /// A final reply came; its retransmissions are absorbed.
    Completed,
    /// The INVITE was answered with a 2xx; its retransmissions pass (RFC 6026).
    Accepted,
    /// It counts as failed while its CANCEL is under way: Timer C has ended it, or another branch's 6xx; a late 2xx still
    /// passes.
    Canceling,
    /// Over. A callee whose branch ended by a timer may still be heard.
    Terminated,
}

/// How a branch ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The final status that counts for the selection.
    pub status: u16,
    /// The reply as the caller would see it, absent when the status was made here (timeout, failed send) and after
    /// [`Transaction::release`](super::Transaction::release).
    pub reply: Option<Bytes>,
}

/// One destination of the request.
#[derive(Debug)]
pub struct Branch {
    kind: Kind,
    index: usize,
    request: BranchRequest,
    state: BranchState,
    /// Timer A or E.
    retransmit: Option<Retransmit>,
    /// Timer B, C, D, F, K or M, whichever the state runs; after a CANCEL the wait for its effect.
    expire: Option<u64>,
    last_provisional: Option<u16>,
    outcome: Option<Outcome>,
    /// A final reply came from the callee, as opposed to one made here.
    answered: bool,
    timed_out: bool,
    /// The request was never on the wire.
    unsent: bool,
    cancel: Cancel,
    ack: Option<Bytes>,
    pub(super) counted: bool,
}

/// The CANCEL of a branch, a transaction of its own.
#[derive(Debug)]
enum Cancel {
    None,
    /// To be sent when the first provisional reply arrives (RFC 3261 §9.1).
    Wanted,
    /// The owner is building it.
    Needed,
    /// Sent, with its Timer E and F.
    Sent {
        bytes: Bytes,
        retransmit: Option<Retransmit>,
        expire: u64,
    },
    /// Answered, given up, or overtaken by the final reply.
    Done,
}

/// What an input to a branch means for the whole transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    Nothing,
    Provisional,
    Success,
    Failure,
}

impl Branch {
    /// The request, its destination and Request-URI.
    pub fn request(&self) -> &BranchRequest {
        &self.request
    }

    /// The state.
    pub fn state(&self) -> BranchState {
        self.state
    }

    /// The final status and reply, once there is one.
    pub fn outcome(&self) -> Option<&Outcome> {
        self.outcome.as_ref()
    }

    /// The last provisional status from the callee.
    pub fn last_provisional(&self) -> Option<u16> {
        self.last_provisional
    }

    /// Whether the callee has sent any reply (`t_branch_replied`).
    pub fn replied(&self) -> bool {
        self.last_provisional.is_some() || self.answered
    }

    /// Whether Timer B, C or F ran out (`t_branch_timeout`).
    pub fn timed_out(&self) -> bool {
        self.timed_out
    }

    /// Whether the request was handed to the network.
    pub fn sent(&self) -> bool {
        !self.unsent
    }

    /// Whether the branch takes part in the selection of the best reply.
    pub fn counted(&self) -> bool {
        self.counted
    }

    /// Whether no final status is known yet.
    pub fn pending(&self) -> bool {
        matches!(self.state, BranchState::Calling | BranchState::Proceeding)
    }

    pub(super) fn start(
        kind: Kind,
        index: usize,
        request: BranchRequest,
        timers: &Timers,
        now: u64,
        actions: &mut Actions,
    ) -> Self {
        let retransmit = (!request.reliable).then(|| Retransmit::start(now, timers.t1));
        let branch = Self {
            kind,
            index,
            request,
            state: BranchState::Calling,
            retransmit,
            expire: Some(now.saturating_add(timers.fr)),
            last_provisional: None,
            outcome: None,
            answered: false,
            timed_out: false,
            unsent: false,
            cancel: Cancel::None,
            ack: None,
            counted: true,
        };
        branch.send_request(actions);
        branch
    }

    /// Takes a reply of the callee; the caller has checked that `status` is one of SIP's.
    pub(super) fn reply(
        &mut self,
        status: u16,
        reply: Option<Bytes>,
        timers: &Timers,
        now: u64,
        actions: &mut Actions,
    ) -> Event {
        match status {
            ..200 => self.provisional(status, timers, now, actions),
            200..300 => self.success(status, reply, timers, now),
            _ => self.failure(status, reply, timers, now, actions),
        }
    }

    /// Ends a pending branch with a status made here; no effect on one that is over.
    pub(super) fn fail(&mut self, status: u16) -> Event {
        if !self.pending() {
            return Event::Nothing;
        }
        self.outcome = Some(Outcome { status, reply: None });
        self.terminate();
        Event::Failure
    }

    /// Ends a pending INVITE that is being cancelled, without the callee's answer: one that is gone gives none.
    pub(super) fn give_up(&mut self, status: u16) {
        if self.pending() && self.kind == Kind::Invite {
            self.outcome = Some(Outcome { status, reply: None });
            self.state = BranchState::Canceling;
            self.retransmit = None;
        }
    }

    /// Ends a pending branch whose request the network has not taken: as a 503 (RFC 3261 §16.9).
    pub(super) fn send_failed(&mut self) -> Event {
        self.unsent |= self.pending();
        self.fail(503)
    }

    /// Cancels a pending INVITE: now if a provisional reply came, else when the first one does.
    pub(super) fn want_cancel(&mut self, timers: &Timers, now: u64, actions: &mut Actions) {
        if self.kind != Kind::Invite || !matches!(self.cancel, Cancel::None) {
            return;
        }
        match self.state {
            BranchState::Calling => self.cancel = Cancel::Wanted,
            BranchState::Proceeding => self.need_cancel(timers, now, actions),
            _ => {}
        }
    }

    /// Takes the CANCEL that was asked for and sends it, unless a final reply has overtaken it.
    pub(super) fn set_cancel(&mut self, bytes: Bytes, timers: &Timers, now: u64, actions: &mut Actions) {
        if !matches!(self.cancel, Cancel::Needed) {
            return;
        }
        self.cancel = Cancel::Sent {
            bytes,
            retransmit: (!self.request.reliable).then(|| Retransmit::start(now, timers.t1)),
            expire: now.saturating_add(timers.timeout()),
        };
        self.send_cancel(actions);
    }

    pub(super) fn cancel_reply(&mut self, status: u16, timers: &Timers) {
        if let Cancel::Sent { retransmit, .. } = &mut self.cancel {
            if status >= 200 {
                self.cancel = Cancel::Done;
            } else if let Some(retransmit) = retransmit {
                retransmit.interval = timers.t2;
            }
        }
    }

    /// Keeps the ACK for repeated final replies and sends it.
    pub(super) fn set_ack(&mut self, bytes: Bytes, actions: &mut Actions) {
        self.ack = Some(bytes);
        self.send_ack(actions);
    }

    /// Takes the passing of time; whether the branch is pending afterwards tells all there is to know.
    pub(super) fn timer(&mut self, timers: &Timers, now: u64, actions: &mut Actions) {
        self.cancel_timer(timers, now, actions);
        if self.expire.is_some_and(|at| at <= now) {
            self.expired(timers, now, actions);
        } else if let Some(retransmit) = self.retransmit.as_mut().filter(|r| r.at <= now) {
            let cap = match self.kind {
                Kind::Invite => u64::MAX,
                Kind::NonInvite => timers.t2,
            };
            retransmit.again(now, cap);
            self.send_request(actions);
        }
    }

    pub(super) fn next_deadline(&self) -> Option<u64> {
        let retransmit = self.retransmit.map(|r| r.at);
        let cancel = match &self.cancel {
            Cancel::Sent { retransmit, expire, .. } => [Some(*expire), retransmit.map(|r| r.at)],
            _ => [None, None],
        };
        let own = self.expire.into_iter().chain(retransmit);
        own.chain(cancel.into_iter().flatten()).min()
    }

    /// Whether neither the request nor its CANCEL has a timer left.
    pub(super) fn done(&self) -> bool {
        self.state == BranchState::Terminated && !matches!(self.cancel, Cancel::Sent { .. })
    }

    /// Whether nothing can ask for the request or the reply again: the callee has answered, its CANCEL is out of the
    /// way, and the ACK that it may need again is there.
    pub(super) fn settled(&self) -> bool {
        self.answered
            && matches!(self.cancel, Cancel::None | Cancel::Done)
            && (self.kind == Kind::NonInvite || self.state != BranchState::Completed || self.ack.is_some())
    }

    /// Forgets the bytes of request and reply.
    pub(super) fn release(&mut self) {
        self.request.bytes = Bytes::default();
        self.request.ruri = Bytes::default();
        if let Some(outcome) = &mut self.outcome {
            outcome.reply = None;
        }
    }

    /// How many bytes it holds on the heap.
    pub(super) fn memory(&self) -> usize {
        let reply = self.outcome.as_ref().and_then(|outcome| outcome.reply.as_ref());
        let cancel = match &self.cancel {
            Cancel::Sent { bytes, .. } => Some(bytes),
            _ => None,
        };
        let messages = [Some(&self.request.bytes), Some(&self.request.ruri), reply, cancel, self.ack.as_ref()];
        messages.into_iter().flatten().map(|bytes| bytes.len()).sum()
    }

    fn provisional(&mut self, status: u16, timers: &Timers, now: u64, actions: &mut Actions) -> Event {
        if !self.pending() {
            // A callee that was given up for dead rings after all: nobody waits for it any more.
            if self.kind == Kind::Invite && !self.answered && matches!(self.cancel, Cancel::None | Cancel::Wanted) {
                self.cancel = Cancel::Needed;
                actions.push(Action::NeedCancel { branch: self.index });
            }
            return Event::Nothing;
        }
        let first = self.state == BranchState::Calling;
        self.state = BranchState::Proceeding;
        self.last_provisional = Some(status);
        match self.kind {
            Kind::NonInvite => {
                if let Some(retransmit) = &mut self.retransmit {
                    retransmit.interval = timers.t2;
                }
            }
            Kind::Invite => {
                self.retransmit = None;
                match self.cancel {
                    Cancel::Wanted => self.need_cancel(timers, now, actions),
                    // RFC 3261 §16.7 step 2: 101 to 199 restart Timer C, a repeated 100 does not.
                    Cancel::None if first || status > 100 => {
                        self.expire = Some(now.saturating_add(timers.fr_inv));
                    }
                    _ => {}
                }
            }
        }
        if status > 100 { Event::Provisional } else { Event::Nothing }
    }

    fn success(&mut self, status: u16, reply: Option<Bytes>, timers: &Timers, now: u64) -> Event {
        match self.kind {
            Kind::Invite if self.state == BranchState::Accepted => Event::Success,
            Kind::Invite if !self.answered => {
                self.settle(status, reply);
                self.state = BranchState::Accepted;
                self.expire = Some(now.saturating_add(timers.timeout()));
                Event::Success
            }
            Kind::NonInvite if self.pending() => {
                self.settle(status, reply);
                self.complete(timers.t4, now);
                Event::Success
            }
            _ => Event::Nothing,
        }
    }

    fn failure(
        &mut self,
        status: u16,
        reply: Option<Bytes>,
        timers: &Timers,
        now: u64,
        actions: &mut Actions,
    ) -> Event {
        let pending = self.pending();
        if self.kind == Kind::NonInvite {
            if pending {
                self.settle(status, reply);
                self.complete(timers.t4, now);
                return Event::Failure;
            }
            return Event::Nothing;
        }
        if self.answered {
            if self.ack.is_some() {
                self.send_ack(actions);
            } else if self.state == BranchState::Completed {
                actions.push(Action::NeedAck { branch: self.index });
            }
            return Event::Nothing;
        }
        actions.push(Action::NeedAck { branch: self.index });
        if pending {
            self.settle(status, reply);
        } else {
            // Too late to count, but the callee repeats it until it is acknowledged.
            self.answered = true;
            self.cancel = Cancel::Done;
        }
        self.complete(timers.timeout(), now);
        if pending { Event::Failure } else { Event::Nothing }
    }

    fn expired(&mut self, timers: &Timers, now: u64, actions: &mut Actions) {
        match (self.state, &self.cancel) {
            (BranchState::Proceeding, Cancel::None) if self.kind == Kind::Invite => {
                self.timed_out = true;
                self.need_cancel(timers, now, actions);
                self.give_up(408);
            }
            (BranchState::Calling | BranchState::Proceeding, cancel) => {
                let timeout = self.timed_out || matches!(cancel, Cancel::None);
                self.timed_out = timeout;
                self.fail(if timeout { 408 } else { 487 });
            }
            _ => self.terminate(),
        }
    }

    fn cancel_timer(&mut self, timers: &Timers, now: u64, actions: &mut Actions) {
        let Cancel::Sent { retransmit, expire, .. } = &mut self.cancel else {
            return;
        };
        if *expire <= now {
            self.cancel = Cancel::Done;
        } else if let Some(retransmit) = retransmit.as_mut().filter(|r| r.at <= now) {
            retransmit.again(now, timers.t2);
            self.send_cancel(actions);
        }
    }

    fn need_cancel(&mut self, timers: &Timers, now: u64, actions: &mut Actions) {
        self.cancel = Cancel::Needed;
        // RFC 3261 §9.1: 64·T1 after the CANCEL the INVITE counts as cancelled, with or without a 487.
        self.expire = Some(now.saturating_add(timers.timeout()));
        actions.push(Action::NeedCancel { branch: self.index });
    }

    fn settle(&mut self, status: u16, reply: Option<Bytes>) {
        self.outcome = Some(Outcome { status, reply });
        self.answered = true;
        self.retransmit = None;
        self.cancel = Cancel::Done;
    }

    /// Timer D or K: none at all on a reliable transport.
    fn complete(&mut self, linger: u64, now: u64) {
        if self.request.reliable {
            self.terminate();
        } else {
            self.state = BranchState::Completed;
            self.expire = Some(now.saturating_add(linger));
        }
    }

    fn terminate(&mut self) {
        self.state = BranchState::Terminated;
        self.retransmit = None;
        self.expire = None;
    }

    fn send_request(&self, actions: &mut Actions) {
        actions.push(Action::SendRequest {
            branch: self.index,
            bytes: self.request.bytes.clone(),
            dest: self.request.dest,
        });
    }

    fn send_cancel(&self, actions: &mut Actions) {
        if let Cancel::Sent { bytes, .. } = &self.cancel {
            actions.push(Action::SendCancel { branch: self.index, bytes: bytes.clone(), dest: self.request.dest });
        }
    }

    fn send_ack(&self, actions: &mut Actions) {
        if let Some(bytes) = &self.ack {
            actions.push(Action::SendAck { branch: self.index, bytes: bytes.clone(), dest: self.request.dest });
        }
    }
}
