//! The transaction layer at work: what `KSR.tm` does with the machine, the table and the sockets.
//!
//! A request comes in by [`check`], [`create`] or [`relay`], and leaves the request route by [`finish`]. A reply comes in
//! by [`on_reply`], the passing of time by [`on_timers`]. Whatever the machine asks for then is carried out in one place,
//! `perform`, which also runs the failure route. No lock is held while a script runs.

mod ack;
mod branch;
mod call;
mod failure;
mod key;
mod loops;
mod memory;
mod perform;
mod reply;
mod request;
mod turn;

pub(crate) use branch::fail_refused;
pub use call::{BranchInfo, Call};
pub use key::{invite_key, progress_key, server_key};
pub(crate) use loops::has_been_here;
pub(crate) use memory::Memory;
#[cfg(test)]
pub(crate) use reply::NoCaller;
pub use reply::{on_reply, reply};
pub use request::{Checked, Created, cancel, check, create, finish, on_timers, relay};
