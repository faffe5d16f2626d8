//! One proxy transaction: the caller's side, the branches, and the response context between them.

use super::{
    action::{Action, Actions, Bytes, Choice},
    branch::{Branch, BranchRequest, Event},
    error::TransactionError,
    selection,
    server::{Server, ServerState},
    timers::{Config, FailureReplyMode},
};

/// How many branches a transaction has at most, as in Kamailio.
pub const MAX_BRANCHES: usize = 12;

/// Which of the two kinds of transaction RFC 3261 knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An INVITE, with its ACK and CANCEL.
    Invite,
    /// Any other request but ACK and CANCEL.
    NonInvite,
}

/// How a failure route ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FailureOutcome {
    /// It called for new branches and they were added.
    NewBranches,
    /// It wants this final reply sent.
    Reply {
        /// Its status code.
        status: u16,
        /// The whole message.
        bytes: Bytes,
    },
    /// It did neither: the best reply goes to the caller.
    Default,
}

/// A stateful proxy's transaction for one request (RFC 3261 §16 and §17, RFC 6026).
///
/// It performs no I/O and reads no clock: every input carries the time in milliseconds of any steady clock, and what
/// is to be done comes out as [`Action`]s, to be carried out in order.
///
/// It begins while the request route runs. Final replies of 300 and more are held back until
/// [`routed`](Self::routed) says that all branches of the route have been added; provisional replies and 2xx pass at
/// once. The lock around it may be given back at any point between two calls.
#[derive(Debug)]
pub struct Transaction {
    kind: Kind,
    config: Config,
    server: Server,
    branches: Vec<Branch>,
    phase: Phase,
    canceled: bool,
    failure_armed: bool,
    finished: bool,
}

/// Where the search for the final reply stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The request route still adds branches.
    Routing,
    /// Waiting for the branches.
    Collecting,
    /// A failure route runs; branches from this index on are its own.
    Deciding { first_new: usize },
    /// The owner builds the final reply.
    Replying,
    /// A final reply was sent, or none ever will be.
    Answered,
}

impl Transaction {
    /// Begins the transaction for a request that just came in; `reliable` is the caller's transport.
    pub fn new(kind: Kind, reliable: bool, config: Config) -> Self {
        Self {
            kind,
            config,
            server: Server::new(kind, reliable),
            branches: Vec::new(),
            phase: Phase::Routing,
            canceled: false,
            failure_armed: false,
            finished: false,
        }
    }

    /// INVITE or another request.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Where the transaction with the caller stands.
    pub fn server_state(&self) -> ServerState {
        self.server.state()
    }

    /// Whether the INVITE was answered with a 2xx that this proxy made, so that its ACK ends here.
    pub fn awaits_ack_of_2xx(&self) -> bool {
        self.server.awaits_ack_of_2xx()
    }

    /// The status last sent to the caller (`t_get_status_code` before a choice was made).
    pub fn last_status(&self) -> Option<u16> {
        self.server.last_status()
    }

    /// All branches, by index.
    pub fn branches(&self) -> &[Branch] {
        &self.branches
    }

    /// Whether the caller has cancelled (`t_is_canceled`).
    pub fn is_canceled(&self) -> bool {
        self.canceled
    }

    /// Whether a final reply was sent, or the transaction was dropped without one.
    pub fn is_answered(&self) -> bool {
        self.phase == Phase::Answered
    }

    /// Whether [`Action::Finished`] has been given; every further input is ignored or refused.
    pub fn is_finished(&self) -> bool {
        self.finished
    }

    /// Whether a failure handler is armed.
    pub fn is_failure_armed(&self) -> bool {
        self.failure_armed
    }

    /// Arms or disarms the failure handler; it is disarmed again when its turn comes.
    pub fn set_failure_armed(&mut self, armed: bool) {
        self.failure_armed = armed;
    }

    /// Changes `fr` and `fr_inv` for branches added, and provisional replies received, from now on.
    pub fn set_fr(&mut self, fr_inv: Option<u64>, fr: Option<u64>) {
        let timers = &mut self.config.timers;
        timers.fr_inv = fr_inv.unwrap_or(timers.fr_inv);
        timers.fr = fr.unwrap_or(timers.fr);
    }

    /// Takes a retransmission of the caller's request: the last reply is repeated or nothing happens.
    pub fn request_retransmission(&mut self, actions: &mut Actions) {
        self.server.retransmission(actions);
    }

    /// Takes the caller's ACK: for a final reply of 300 or more, or for a 2xx this proxy gave itself.
    ///
    /// The ACK for a callee's 2xx is none of the transaction's business and is forwarded like a request.
    pub fn ack(&mut self, now: u64, actions: &mut Actions) {
        self.server.ack(&self.config.timers, now);
        self.finish_if_over(actions);
    }

    /// Takes the caller's CANCEL (whose own 200 the owner sends).
    ///
    /// Branches with a provisional reply are cancelled now, those without any when the first one comes, those with a
    /// final reply never. A request other than INVITE and one already answered are left alone (RFC 3261 §9.2).
    pub fn cancel(&mut self, now: u64, actions: &mut Actions) {
        if self.kind == Kind::Invite && self.phase != Phase::Answered && !self.canceled {
            self.canceled = true;
            self.cancel_pending(now, actions);
        }
    }

    /// The index the next branch will have, needed for the branch parameter of its Via.
    ///
    /// # Errors
    ///
    /// Says why no branch can be added: see [`add_branch`](Self::add_branch).
    pub fn next_branch(&self) -> Result<usize, TransactionError> {
        if matches!(self.phase, Phase::Answered | Phase::Replying) {
            Err(TransactionError::Answered)
        } else if self.canceled {
            Err(TransactionError::Canceled)
        } else if self.branches.len() >= MAX_BRANCHES {
            Err(TransactionError::TooManyBranches)
        } else {
            Ok(self.branches.len())
        }
    }

    /// Adds a branch and sends its request; gives its index.
    ///
    /// # Errors
    ///
    /// [`TransactionError::Answered`], [`TransactionError::Canceled`] or [`TransactionError::TooManyBranches`].
    pub fn add_branch(
        &mut self,
        request: BranchRequest,
        now: u64,
        actions: &mut Actions,
    ) -> Result<usize, TransactionError> {
        let index = self.next_branch()?;
        let timers = &self.config.timers;
        self.branches.push(Branch::start(self.kind, index, request, timers, now, actions));
        Ok(index)
    }

    /// Says that the request route is over and has added all its branches.
    ///
    /// A transaction without any branch and any final reply is dropped, as the script wanted.
    pub fn routed(&mut self, now: u64, actions: &mut Actions) {
        if self.phase == Phase::Routing {
            self.phase = Phase::Collecting;
            self.evaluate(now, actions);
        }
        self.finish_if_over(actions);
    }

    /// Ends a branch whose request could not be sent, as if the callee had answered 503 (RFC 3261 §16.9).
    ///
    /// # Errors
    ///
    /// [`TransactionError::NoSuchBranch`].
    pub fn branch_send_failed(
        &mut self,
        branch: usize,
        now: u64,
        actions: &mut Actions,
    ) -> Result<(), TransactionError> {
        let event = self.branch_mut(branch)?.send_failed();
        self.branch_event(branch, event, 503, None, now, actions);
        Ok(())
    }

    /// Ends a branch with a status made here; one that has a final status already keeps it.
    ///
    /// # Errors
    ///
    /// [`TransactionError::NoSuchBranch`], or [`TransactionError::Status`] for one outside 300 to 699.
    pub fn branch_failed(
        &mut self,
        branch: usize,
        status: u16,
        now: u64,
        actions: &mut Actions,
    ) -> Result<(), TransactionError> {
        if !(300..700).contains(&status) {
            return Err(TransactionError::Status(status));
        }
        let event = self.branch_mut(branch)?.fail(status);
        self.branch_event(branch, event, status, None, now, actions);
        Ok(())
    }

    /// Takes a callee's reply, with the bytes that would go to the caller (our own Via already removed).
    ///
    /// # Errors
    ///
    /// [`TransactionError::NoSuchBranch`], or [`TransactionError::Status`] for one outside 100 to 699.
    pub fn reply(
        &mut self,
        branch: usize,
        status: u16,
        bytes: Bytes,
        now: u64,
        actions: &mut Actions,
    ) -> Result<(), TransactionError> {
        if !(100..700).contains(&status) {
            return Err(TransactionError::Status(status));
        }
        self.take_reply(branch, status, Some(bytes), now, actions)
    }

    /// Takes a callee's provisional reply that a script has dropped: its timers run, nobody sees it.
    ///
    /// # Errors
    ///
    /// [`TransactionError::NoSuchBranch`], or [`TransactionError::Status`] for one outside 100 to 199: a final reply
    /// cannot be dropped.
    pub fn dropped_provisional(
        &mut self,
        branch: usize,
        status: u16,
        now: u64,
        actions: &mut Actions,
    ) -> Result<(), TransactionError> {
        if !(100..200).contains(&status) {
            return Err(TransactionError::Status(status));
        }
        self.take_reply(branch, status, None, now, actions)
    }

    /// Takes the CANCEL that [`Action::NeedCancel`] asked for; it is not sent if a final reply has come meanwhile.
    ///
    /// # Errors
    ///
    /// [`TransactionError::NoSuchBranch`].
    pub fn set_cancel(
        &mut self,
        branch: usize,
        bytes: Bytes,
        now: u64,
        actions: &mut Actions,
    ) -> Result<(), TransactionError> {
        let timers = self.config.timers;
        let finished = self.finished;
        let branch = self.branch_mut(branch)?;
        if !finished {
            branch.set_cancel(bytes, &timers, now, actions);
        }
        Ok(())
    }

    /// Takes a callee's reply to our CANCEL, which stops its retransmission.
    ///
    /// # Errors
    ///
    /// [`TransactionError::NoSuchBranch`].
    pub fn cancel_reply(&mut self, branch: usize, status: u16, actions: &mut Actions) -> Result<(), TransactionError> {
        let timers = self.config.timers;
        self.branch_mut(branch)?.cancel_reply(status, &timers);
        self.finish_if_over(actions);
        Ok(())
    }

    /// Takes the ACK that [`Action::NeedAck`] asked for and sends it, now and for every repeated final reply.
    ///
    /// # Errors
    ///
    /// [`TransactionError::NoSuchBranch`].
    pub fn set_ack(&mut self, branch: usize, bytes: Bytes, actions: &mut Actions) -> Result<(), TransactionError> {
        self.branch_mut(branch)?.set_ack(bytes, actions);
        Ok(())
    }

    /// Sends a reply made by this proxy: a script's, an error, or the one [`Action::ForwardFinal`] asked for.
    ///
    /// A final reply settles the transaction; branches still pending are cancelled.
    ///
    /// # Errors
    ///
    /// [`TransactionError::Answered`] when a final reply was sent before, which happens to anybody who gives back the
    /// lock between deciding and replying; [`TransactionError::Status`] for a status outside 100 to 699.
    pub fn local_reply(
        &mut self,
        status: u16,
        bytes: Bytes,
        now: u64,
        actions: &mut Actions,
    ) -> Result<(), TransactionError> {
        if !(100..700).contains(&status) {
            return Err(TransactionError::Status(status));
        }
        if self.phase == Phase::Answered {
            return Err(TransactionError::Answered);
        }
        if status < 200 {
            self.server.provisional(status, bytes, actions);
        } else {
            self.answer(status, bytes, true, now, actions);
            self.finish_if_over(actions);
        }
        Ok(())
    }

    /// Says how the failure route that [`Action::FailureRoute`] asked for has ended.
    ///
    /// Whether there are new branches is seen from the branches themselves, so a route that added some and then died
    /// with an error may be reported as [`FailureOutcome::Default`]. Without any that was sent the handler is not run
    /// again, even if the route armed it: it has been told already. When a 2xx has overtaken the decision nothing happens.
    ///
    /// # Errors
    ///
    /// [`TransactionError::NotDeciding`] when no failure route was asked for, [`TransactionError::NotFinal`] when
    /// the reply given is provisional: the transaction goes on waiting.
    pub fn failure_done(
        &mut self,
        outcome: FailureOutcome,
        now: u64,
        actions: &mut Actions,
    ) -> Result<(), TransactionError> {
        let first_new = match self.phase {
            Phase::Deciding { first_new } => first_new,
            Phase::Answered => return Ok(()),
            _ => return Err(TransactionError::NotDeciding),
        };
        if let FailureOutcome::Reply { status, bytes } = outcome {
            if !(200..700).contains(&status) {
                return Err(TransactionError::NotFinal(status));
            }
            return self.local_reply(status, bytes, now, actions);
        }
        let new = &self.branches[first_new..];
        if !new.iter().any(Branch::sent) {
            self.failure_armed = false;
        }
        if !new.is_empty() && self.config.failure_reply_mode == FailureReplyMode::DropEarlier {
            for branch in self.branches.iter_mut().take(first_new) {
                branch.counted = false;
            }
        }
        self.phase = Phase::Collecting;
        self.evaluate(now, actions);
        Ok(())
    }

    /// Takes the passing of time: everything due at `now` happens, once, however late the call.
    pub fn timer(&mut self, now: u64, actions: &mut Actions) {
        let timers = self.config.timers;
        self.server.timer(&timers, now, actions);
        for branch in &mut self.branches {
            branch.timer(&timers, now, actions);
        }
        self.evaluate(now, actions);
        self.finish_if_over(actions);
    }

    /// When [`timer`](Self::timer) must be called next; `None` while only the owner or a peer can move things.
    pub fn next_deadline(&self) -> Option<u64> {
        if self.finished {
            return None;
        }
        let branches = self.branches.iter().filter_map(Branch::next_deadline);
        branches.chain(self.server.next_deadline()).min()
    }

    /// Forgets the messages that nothing can ask for any more; whether the owner may forget the request, too.
    ///
    /// A transaction stays for half a minute after its final reply, only to absorb retransmissions; what it holds
    /// meanwhile is most of a busy proxy's memory.
    pub fn release(&mut self) -> bool {
        let over = self.phase == Phase::Answered && self.branches.iter().all(Branch::settled);
        if over {
            self.branches.iter_mut().for_each(Branch::release);
            self.server.release();
        }
        over
    }

    /// How many bytes it holds on the heap.
    pub fn memory(&self) -> usize {
        let branches = self.branches.iter().map(Branch::memory).sum::<usize>();
        self.branches.capacity() * size_of::<Branch>() + branches + self.server.memory()
    }

    fn branch_mut(&mut self, branch: usize) -> Result<&mut Branch, TransactionError> {
        self.branches.get_mut(branch).ok_or(TransactionError::NoSuchBranch(branch))
    }

    fn take_reply(
        &mut self,
        branch: usize,
        status: u16,
        bytes: Option<Bytes>,
        now: u64,
        actions: &mut Actions,
    ) -> Result<(), TransactionError> {
        let timers = self.config.timers;
        let finished = self.finished;
        let target = self.branch_mut(branch)?;
        if finished {
            return Ok(());
        }
        let event = target.reply(status, bytes.clone(), &timers, now, actions);
        self.branch_event(branch, event, status, bytes, now, actions);
        Ok(())
    }

    fn branch_event(
        &mut self,
        branch: usize,
        event: Event,
        status: u16,
        bytes: Option<Bytes>,
        now: u64,
        actions: &mut Actions,
    ) {
        match (event, bytes) {
            // The server side drops it once it has sent a final reply. A caller that has cancelled is not interested, and
            // one of another request is told no more than 100 (RFC 4320 §4.1).
            (Event::Provisional, Some(bytes)) if self.kind == Kind::Invite && !self.canceled => {
                self.server.provisional(status, bytes, actions);
            }
            (Event::Success, Some(bytes)) if self.phase != Phase::Answered => {
                self.answer(status, bytes, false, now, actions);
            }
            // RFC 3261 §16.7 step 5: every 2xx of an INVITE passes, also after the final reply.
            (Event::Success, Some(bytes)) if self.kind == Kind::Invite => {
                actions.push(Action::SendReply { status, bytes });
            }
            (Event::Failure, _) => {
                let settled = self.branches.get(branch).and_then(Branch::outcome);
                if settled.is_some_and(|outcome| outcome.status >= 600) {
                    self.cancel_pending(now, actions);
                    // The caller hears nothing before the failure route is over, so a 2xx that crosses the CANCELs can still win.
                    if self.failure_armed {
                        self.branches.iter_mut().for_each(|branch| branch.give_up(487));
                    }
                }
                self.evaluate(now, actions);
            }
            _ => {}
        }
        self.finish_if_over(actions);
    }

    /// Sends the final reply that settles the transaction.
    fn answer(&mut self, status: u16, bytes: Bytes, local: bool, now: u64, actions: &mut Actions) {
        self.phase = Phase::Answered;
        let timers = &self.config.timers;
        self.server.finish(status, bytes, local, timers, now, actions);
        self.cancel_pending(now, actions);
    }

    fn cancel_pending(&mut self, now: u64, actions: &mut Actions) {
        for branch in &mut self.branches {
            branch.want_cancel(&self.config.timers, now, actions);
        }
    }

    /// Moves on when every branch has its final status.
    fn evaluate(&mut self, now: u64, actions: &mut Actions) {
        if self.phase != Phase::Collecting || self.branches.iter().any(Branch::pending) {
            return;
        }
        match self.best() {
            Some(choice) if self.failure_armed => {
                self.failure_armed = false;
                self.phase = Phase::Deciding { first_new: self.branches.len() };
                actions.push(Action::FailureRoute(choice));
            }
            // A 408 would come when the caller has given up as well; it knows only that nobody has answered (RFC 4320 §4.2).
            Some(choice) if self.kind == Kind::NonInvite && choice.status == 408 => {
                self.phase = Phase::Answered;
                self.server.stay_silent(&self.config.timers, now);
            }
            Some(choice) => {
                self.phase = Phase::Replying;
                actions.push(Action::ForwardFinal(choice));
            }
            None => {
                self.phase = Phase::Answered;
                self.server.terminate();
            }
        }
    }

    fn best(&self) -> Option<Choice> {
        let counted = self.branches.iter().enumerate().filter(|(_, b)| b.counted);
        selection::best(counted.filter_map(|(i, b)| Some((i, b.outcome()?.status))))
    }

    fn finish_if_over(&mut self, actions: &mut Actions) {
        if !self.finished
            && self.phase == Phase::Answered
            && self.server.state() == ServerState::Terminated
            && self.branches.iter().all(Branch::done)
        {
            self.finished = true;
            actions.push(Action::Finished);
        }
    }
}

#[cfg(test)]
mod tests;
