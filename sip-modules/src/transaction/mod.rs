//! The transaction layer of a stateful proxy (RFC 3261 §16 and §17, RFC 6026), without I/O and without a clock.
//!
//! [`Transaction`] is one request on its way: the transaction with the caller, up to [`MAX_BRANCHES`] transactions with
//! callees, and the response context that selects what the caller gets to see. [`ServerKey`] and [`BranchToken`] find
//! it again for a message, [`TransactionTable`] keeps it, [`TimerQueue`] wakes it.
//!
//! A worker drives it so:
//!
//! 1. Request: build the [`ServerKey`]; `table.find` gives a [`Handle`] for a retransmission, an ACK
//!    ([`ServerKey::of_invite`]) or a CANCEL (the same): call `request_retransmission`, `ack` or `cancel` under
//!    `handle.lock()`. Otherwise `table.insert`; `Inserted::Existing` means that another worker was faster.
//! 2. Run the request route without the lock. `t_relay` asks `next_branch`, writes the message with
//!    `BranchToken::new(handle.id(), index)` in its Via, and calls `add_branch`. After the route: `routed`.
//! 3. Reply: `BranchToken::decode` on the top Via's branch, `table.find_branch`, reply route, then `reply` (or
//!    `cancel_reply` when its CSeq says CANCEL).
//! 4. After every input carry out the [`Actions`] in order, then `queue.schedule(&handle, deadline)` with
//!    [`Transaction::next_deadline`]. On [`Action::Finished`]: `table.remove`.
//! 5. Each turn of the loop: `queue.advance(now, …)` with `timer`, and sleep no longer than `queue.next_wakeup()`.
//!
//! # Examples
//!
//! A call to one destination, seen by the machine:
//!
//! ```
//! use sip_modules::transaction::{Action, Actions, BranchRequest, Config, Kind, Transaction};
//!
//! let mut actions = Actions::default();
//! let mut transaction = Transaction::new(Kind::Invite, false, Config::default());
//! let request = BranchRequest {
//!     bytes: b"INVITE sip:bob@192.0.2.4 SIP/2.0\r\n..."[..].into(),
//!     dest: "192.0.2.4:5060".parse()?,
//!     ruri: b"sip:bob@192.0.2.4"[..].into(),
//!     reliable: false,
//! };
//! let branch = transaction.add_branch(request, 0, &mut actions)?;
//! transaction.routed(0, &mut actions);
//! assert!(matches!(actions.pop(), Some(Action::SendRequest { branch: 0, .. })));
//!
//! // Nothing is heard for T1, so the request is sent again.
//! assert_eq!(transaction.next_deadline(), Some(500));
//! transaction.timer(500, &mut actions);
//! assert!(matches!(actions.pop(), Some(Action::SendRequest { branch: 0, .. })));
//!
//! // The callee answers, and the caller hears of it.
//! let bytes = b"SIP/2.0 200 OK\r\n..."[..].into();
//! transaction.reply(branch, 200, bytes, 600, &mut actions)?;
//! assert!(matches!(actions.pop(), Some(Action::SendReply { status: 200, .. })));
//!
//! // Retransmissions of the 200 pass for 64·T1.
//! transaction.timer(600 + 32_000, &mut actions);
//! assert_eq!(actions.pop(), Some(Action::Finished));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod action;
mod branch;
mod error;
mod key;
mod machine;
mod selection;
mod server;
mod table;
mod timer;
mod timers;
mod token;

pub(crate) use self::token::hex_digits;
pub use self::{
    action::{Action, Actions, Bytes, Choice},
    branch::{Branch, BranchRequest, BranchState, Outcome},
    error::TransactionError,
    key::{KeyParts, ServerKey},
    machine::{FailureOutcome, Kind, MAX_BRANCHES, Transaction},
    server::ServerState,
    table::{Handle, Inserted, Stats, TransactionTable},
    timer::TimerQueue,
    timers::{Config, FailureReplyMode, Timers},
    token::{BranchToken, MAGIC_COOKIE, TransactionId},
};

#[cfg(test)]
mod tests;
