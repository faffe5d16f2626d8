//! The status of a pool or an actor, for operators.

use serde::Serialize;

use super::queue::{Lengths, Queue};
use crate::program::ProgramStatus;

/// The status of a [`Pool`](super::Pool) or an [`Actor`](super::Actor).
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct PoolStatus {
    /// The name, with which those of its threads begin.
    pub name: String,
    /// The calls that are queued, of at most [`bound`](Self::bound).
    pub queued: usize,
    /// The most calls that may be queued.
    pub bound: usize,
    /// The calls that wait for room in the queue.
    pub waiting: usize,
    /// The calls that run: the busy threads.
    pub running: usize,
    /// The threads.
    pub threads: usize,
    /// Whether no more calls are taken.
    pub closed: bool,
    /// The script with its version and workers; what each of them is doing stands there.
    pub program: ProgramStatus,
}

impl PoolStatus {
    pub(super) fn new<S>(queue: &Queue<S>, program: ProgramStatus) -> PoolStatus {
        let Lengths { queued, waiting, running, threads, closed } = queue.lengths();
        let (name, bound) = (queue.name().to_owned(), queue.bound());
        PoolStatus { name, queued, bound, waiting, running, threads, closed, program }
    }
}
