//! What all handles of one pool or actor share: the script, the queue and the way to their end.

use std::sync::Arc;
use std::time::Duration;

use super::elsewhere::elsewhere;
use super::error::Unfinished;
use super::queue::Queue;
use super::status::PoolStatus;
use crate::engine::while_waiting;
use crate::error::ScriptError;
use crate::program::{Program, Reloaded};

/// The program and the queue before its threads; they end when it is dropped and the queue is empty.
pub(super) struct Shared<C: 'static, S: 'static> {
    pub(super) program: Arc<Program<C>>,
    pub(super) queue: Arc<Queue<S>>,
}

impl<C: 'static, S: 'static> Shared<C, S> {
    pub(super) fn new(program: Arc<Program<C>>, name: String, bound: usize) -> Shared<C, S> {
        Shared { program, queue: Arc::new(Queue::new(name, bound)) }
    }

    pub(super) async fn reload(&self, patience: Duration) -> Result<Reloaded, ScriptError> {
        let program = self.program.clone();
        elsewhere("kemi reload", move || program.reload(patience)).await
    }

    pub(super) async fn drain(&self, patience: Duration) -> Result<(), Unfinished> {
        let queue = self.queue.clone();
        queue.close();
        elsewhere("kemi drain", move || queue.wait_idle(patience)).await
    }

    pub(super) fn drain_blocking(&self, patience: Duration) -> Result<(), Unfinished> {
        self.queue.close();
        while_waiting(|| self.queue.wait_idle(patience))
    }

    pub(super) async fn shutdown(&self, patience: Duration) -> Result<(), Unfinished> {
        let queue = self.queue.clone();
        queue.abort();
        elsewhere("kemi shutdown", move || queue.wait_ended(patience)).await
    }

    pub(super) fn shutdown_blocking(&self, patience: Duration) -> Result<(), Unfinished> {
        self.queue.abort();
        while_waiting(|| self.queue.wait_ended(patience))
    }

    pub(super) fn status(&self) -> PoolStatus {
        PoolStatus::new(&self.queue, self.program.status())
    }
}

impl<C: 'static, S: 'static> Drop for Shared<C, S> {
    fn drop(&mut self) {
        self.queue.close();
    }
}
