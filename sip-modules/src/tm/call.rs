//! What the table keeps for one transaction.

use std::net::SocketAddr;

use crate::message::Message;
use crate::modules::pv::Avps;
use crate::proxy::{Armed, MessageState};
use crate::tm::memory::Share;
use crate::tm::turn::Turns;
use crate::transaction::{Kind, Transaction};

/// One transaction with everything that is needed to go on with it on any worker.
#[derive(Debug)]
pub struct Call {
    /// The state machine.
    pub machine: Transaction,
    /// The request as it was when it was last relayed, to go back to in a failure route and to answer; `None` once
    /// neither can happen any more.
    pub request: Option<Box<MessageState>>,
    /// The callbacks.
    pub armed: Armed,
    /// The message flags.
    pub flags: u32,
    /// The AVPs.
    pub(crate) avps: Avps,
    /// Where replies go.
    pub reply_to: SocketAddr,
    /// The listener they leave by.
    pub reply_socket: usize,
    /// Per branch what the machine does not keep.
    pub branches: Vec<BranchInfo>,
    /// The hashes of the To tags of the 2xx that went to the caller of an INVITE, whose ACKs are to be known again.
    pub(super) accepted_tags: Vec<u64>,
    /// Who runs a script for it, and what waits for that.
    pub(super) turns: Turns,
    /// The Reason lines of the caller's CANCEL.
    pub(super) cancel_reason: Vec<u8>,
    /// What it holds of the memory that all transactions may hold.
    pub(super) memory: Share,
}

/// What the machine does not keep of a branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BranchInfo {
    /// The listener it leaves by.
    pub socket: usize,
    /// The branch flags.
    pub flags: u32,
}

impl Call {
    /// Forgets what nothing can ask for any more.
    pub(super) fn release(&mut self) {
        if self.request.is_some() && self.machine.release() {
            self.request = None;
        }
    }

    /// Counts what it holds, with the `fixed` bytes that it takes in the table.
    pub(super) fn count_memory(&mut self, fixed: usize) {
        let request = self.request.as_ref().map_or(0, |request| size_of::<MessageState>() + request.memory());
        let branches = self.branches.capacity() * size_of::<BranchInfo>() + self.accepted_tags.capacity() * 8;
        let waiting = self.turns.memory();
        self.memory.set(fixed + request + self.machine.memory() + self.avps.memory() + branches + waiting);
    }

    /// Returns whether a final reply of so many bytes on each branch takes no more than what is held already.
    pub(super) fn can_replace(&self, bytes: usize) -> bool {
        (bytes * self.branches.len()) as u64 <= self.memory.bytes()
    }

    /// Returns whether a branch was sent a request of this method; of one whose request is kept no more, whether it can be.
    pub(super) fn is_method(&self, branch: usize, method: &[u8]) -> bool {
        if (self.machine.kind() == Kind::Invite) != (method == b"INVITE") {
            return false;
        }
        let sent = self.machine.branches().get(branch).map_or(&[][..], |branch| &branch.request().bytes);
        sent.is_empty() || sent.strip_prefix(method).is_some_and(|rest| rest.starts_with(b" "))
    }

    /// Reads a branch's request back, as its CANCEL and ACK need it.
    ///
    /// Returns `None` for a branch that does not exist: what was sent was written here and can be read.
    pub(super) fn sent(&self, branch: usize) -> Option<Message> {
        Message::parse(&self.machine.branches().get(branch)?.request().bytes).ok()
    }

    /// Returns the listener of a branch.
    pub(super) fn socket(&self, branch: usize) -> usize {
        self.branches.get(branch).map_or(self.reply_socket, |info| info.socket)
    }
}
