//! What a transaction asks its owner to do.

use std::{collections::VecDeque, net::SocketAddr, sync::Arc};

/// The bytes of a whole message, shared between the transaction and whoever sends them.
pub type Bytes = Arc<[u8]>;

/// One thing to do, complete in itself, so that it can be done after the lock is given back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send a reply to the caller.
    SendReply {
        /// Its status code.
        status: u16,
        /// The whole message.
        bytes: Bytes,
    },
    /// Send or retransmit a branch's request.
    SendRequest {
        /// Index of the branch.
        branch: usize,
        /// The whole message.
        bytes: Bytes,
        /// Where it goes.
        dest: SocketAddr,
    },
    /// Send or retransmit a branch's CANCEL.
    SendCancel {
        /// Index of the branch.
        branch: usize,
        /// The whole message.
        bytes: Bytes,
        /// Where it goes.
        dest: SocketAddr,
    },
    /// Send or repeat the ACK for a branch's final reply of 300 or more.
    SendAck {
        /// Index of the branch.
        branch: usize,
        /// The whole message.
        bytes: Bytes,
        /// Where it goes.
        dest: SocketAddr,
    },
    /// Build the CANCEL for a branch and hand it to [`Transaction::set_cancel`](super::Transaction::set_cancel).
    NeedCancel {
        /// Index of the branch.
        branch: usize,
    },
    /// Build the ACK for the final reply just given and hand it to [`Transaction::set_ack`](super::Transaction::set_ack).
    NeedAck {
        /// Index of the branch.
        branch: usize,
    },
    /// Run the armed failure handler, without a lock, then call
    /// [`Transaction::failure_done`](super::Transaction::failure_done).
    FailureRoute(Choice),
    /// Build the final reply for the caller from the chosen branch's and hand it, under the mapped status, to
    /// [`Transaction::local_reply`](super::Transaction::local_reply).
    ForwardFinal(Choice),
    /// Nothing will happen any more: remove the transaction from the table.
    ///
    /// It comes once. Only an ACK that was asked for before may still follow.
    Finished,
}

impl Action {
    /// Whether it sends a message.
    pub(crate) fn is_send(&self) -> bool {
        matches!(
            self,
            Action::SendReply { .. } | Action::SendRequest { .. } | Action::SendCancel { .. } | Action::SendAck { .. }
        )
    }
}

/// The final reply that RFC 3261 §16.7 step 6 selects among the branches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Index of the branch whose reply was chosen.
    pub branch: usize,
    /// The status of that branch.
    pub status: u16,
    /// The status the caller is to see: a 503 concerns only this proxy and leaves it as 500.
    pub mapped_status: u16,
}

/// The actions still to be done, in order; one list is reused from input to input.
///
/// What an action makes the transaction add comes after what was there before, so one loop carries out everything:
///
/// ```
/// # use sip_modules::transaction::{Action, Actions, TransactionError, Transaction};
/// # fn build_ack(_: usize) -> std::sync::Arc<[u8]> { b"ACK"[..].into() }
/// # fn send(_: &[u8], _: std::net::SocketAddr) {}
/// fn carry_out(transaction: &mut Transaction, actions: &mut Actions) -> Result<(), TransactionError> {
///     while let Some(action) = actions.pop() {
///         match action {
///             Action::NeedAck { branch } => transaction.set_ack(branch, build_ack(branch), actions)?,
///             Action::SendAck { bytes, dest, .. } => send(&bytes, dest),
///             _ => { /* and so on */ }
///         }
///     }
///     Ok(())
/// }
/// ```
#[derive(Debug, Default)]
pub struct Actions {
    list: VecDeque<Action>,
}

impl Actions {
    /// Takes the next action out; the memory is kept.
    pub fn pop(&mut self) -> Option<Action> {
        self.list.pop_front()
    }

    /// The actions in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Action> {
        self.list.iter()
    }

    /// How many actions wait.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether nothing is to be done.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(super) fn push(&mut self, action: Action) {
        self.list.push_back(action);
    }
}
