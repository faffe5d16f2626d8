//! The server side: the transaction with the caller (RFC 3261 §17.2, RFC 6026 §7.1).

use super::{
    action::{Action, Actions, Bytes},
    machine::Kind,
    timers::{Retransmit, Timers},
};

/// Where the transaction with the caller stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerState {
    /// A request other than INVITE without any reply yet.
    Trying,
    /// Only provisional replies so far; an INVITE starts here.
    Proceeding,
    /// A final reply was sent: an INVITE waits for its ACK, another request absorbs retransmissions.
    Completed,
    /// The ACK has come; further ones are absorbed.
    Confirmed,
    /// An INVITE was answered with a 2xx, whose retransmissions still pass (RFC 6026).
    Accepted,
    /// Over.
    Terminated,
}

#[derive(Debug)]
pub(super) struct Server {
    kind: Kind,
    reliable: bool,
    state: ServerState,
    /// What a retransmitted request is answered with.
    last: Option<(u16, Bytes)>,
    /// Timer G; also the 2xx this proxy gave itself, which no callee retransmits.
    retransmit: Option<Retransmit>,
    /// Timer H, I, J or L, whichever the state runs.
    expire: Option<u64>,
    /// Whether no callee made the final reply.
    local: bool,
}

impl Server {
    pub(super) fn new(kind: Kind, reliable: bool) -> Self {
        Self {
            kind,
            reliable,
            state: match kind {
                Kind::Invite => ServerState::Proceeding,
                Kind::NonInvite => ServerState::Trying,
            },
            last: None,
            retransmit: None,
            expire: None,
            local: false,
        }
    }

    pub(super) fn state(&self) -> ServerState {
        self.state
    }

    pub(super) fn last_status(&self) -> Option<u16> {
        self.last.as_ref().map(|(status, _)| *status)
    }

    /// Whether an INVITE was answered here with a 2xx, whose ACK ends its repetition.
    pub(super) fn awaits_ack_of_2xx(&self) -> bool {
        self.state == ServerState::Accepted && self.local
    }

    pub(super) fn retransmission(&self, actions: &mut Actions) {
        match self.state {
            ServerState::Trying | ServerState::Confirmed | ServerState::Terminated => {}
            ServerState::Proceeding | ServerState::Completed => self.resend(actions),
            // The callee repeats its own 2xx; only one given by this proxy must be repeated here.
            ServerState::Accepted if self.retransmit.is_some() => self.resend(actions),
            ServerState::Accepted => {}
        }
    }

    pub(super) fn provisional(&mut self, status: u16, bytes: Bytes, actions: &mut Actions) {
        if matches!(self.state, ServerState::Trying | ServerState::Proceeding) {
            self.state = ServerState::Proceeding;
            self.last = Some((status, bytes));
            self.resend(actions);
        }
    }

    /// Sends the one final reply that decides the state; `local` says that no callee made it.
    pub(super) fn finish(
        &mut self,
        status: u16,
        bytes: Bytes,
        local: bool,
        timers: &Timers,
        now: u64,
        actions: &mut Actions,
    ) {
        self.last = Some((status, bytes));
        self.local = local;
        self.resend(actions);
        let timeout = now.saturating_add(timers.timeout());
        match self.kind {
            Kind::Invite if status < 300 => {
                self.state = ServerState::Accepted;
                self.expire = Some(timeout);
                // RFC 3261 §13.3.1.4 repeats a 2xx until its ACK on reliable transports too.
                self.retransmit = local.then(|| Retransmit::start(now, timers.t1));
            }
            Kind::Invite => {
                self.state = ServerState::Completed;
                self.expire = Some(timeout);
                self.retransmit = (!self.reliable).then(|| Retransmit::start(now, timers.t1));
            }
            Kind::NonInvite if self.reliable => self.terminate(),
            Kind::NonInvite => {
                self.state = ServerState::Completed;
                self.expire = Some(timeout);
            }
        }
    }

    /// Ends without a final reply, and absorbs retransmissions as after one.
    pub(super) fn stay_silent(&mut self, timers: &Timers, now: u64) {
        self.last = None;
        self.state = ServerState::Completed;
        self.expire = Some(now.saturating_add(timers.timeout()));
    }

    pub(super) fn ack(&mut self, timers: &Timers, now: u64) {
        match (self.kind, self.state) {
            (Kind::Invite, ServerState::Completed) if self.reliable => self.terminate(),
            (Kind::Invite, ServerState::Completed) => {
                self.state = ServerState::Confirmed;
                self.retransmit = None;
                self.expire = Some(now.saturating_add(timers.t4));
            }
            (_, ServerState::Accepted) => self.retransmit = None,
            _ => {}
        }
    }

    pub(super) fn timer(&mut self, timers: &Timers, now: u64, actions: &mut Actions) {
        if self.expire.is_some_and(|at| at <= now) {
            self.terminate();
        } else if let Some(retransmit) = self.retransmit.as_mut().filter(|r| r.at <= now) {
            retransmit.again(now, timers.t2);
            self.resend(actions);
        }
    }

    pub(super) fn next_deadline(&self) -> Option<u64> {
        let retransmit = self.retransmit.map(|r| r.at);
        self.expire.into_iter().chain(retransmit).min()
    }

    pub(super) fn terminate(&mut self) {
        self.state = ServerState::Terminated;
        self.retransmit = None;
        self.expire = None;
    }

    /// Forgets the last reply if it will not be sent again.
    pub(super) fn release(&mut self) {
        if self.state == ServerState::Accepted
            && self.retransmit.is_none()
            && let Some((_, bytes)) = &mut self.last
        {
            *bytes = Bytes::default();
        }
    }

    /// How many bytes it holds on the heap.
    pub(super) fn memory(&self) -> usize {
        self.last.as_ref().map_or(0, |(_, bytes)| bytes.len())
    }

    fn resend(&self, actions: &mut Actions) {
        if let Some((status, bytes)) = &self.last {
            actions.push(Action::SendReply { status: *status, bytes: bytes.clone() });
        }
    }
}
