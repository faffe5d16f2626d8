//! The errors of calls through a queue.

use crate::error::ScriptError;

/// The reason why a call through a queue has no result.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The queue has no room, and the caller did not want to wait for it.
    #[error("the queue is full")]
    Full,
    /// The threads take no more calls, since they are drained or shut down.
    #[error("no more calls are taken")]
    Closed,
    /// The calling thread is itself one that would have to make the call, and would wait for itself.
    #[error("a script's own thread cannot wait for a call that is to run on it")]
    OwnThread,
    /// The script's error, or [`Cancelled`](crate::ErrorCode::Cancelled) if the call was ended by a shutdown.
    #[error(transparent)]
    Script(#[from] ScriptError),
}

/// The reason why the threads of a pool or an actor did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The script cannot be loaded on its thread.
    #[error(transparent)]
    Script(#[from] ScriptError),
    /// The system gives no thread.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] std::io::Error),
}

/// What had not ended when the caller's patience did; it goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{queued} calls are queued, {running} are running, {threads} threads have not ended")]
#[non_exhaustive]
pub struct Unfinished {
    /// The calls that have not begun.
    pub queued: usize,
    /// The calls that run.
    pub running: usize,
    /// The threads.
    pub threads: usize,
}
