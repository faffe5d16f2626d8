//! Whether a proxy is well.

use serde::Serialize;

use crate::proxy::worker_pool::{WorkerPool, WorkerSlot};
use crate::proxy::{Phase, Shared};

/// Whether a proxy is well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Health {
    /// Whether every worker works; what is not healthy should be started anew.
    pub healthy: bool,
    /// Whether it takes new requests.
    pub ready: bool,
    /// What it is at.
    pub phase: Phase,
    /// Its workers.
    pub workers: Vec<WorkerHealth>,
}

/// How a worker is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WorkerHealth {
    /// Its name: worker and listener, from 0.
    pub name: String,
    /// Whether it works.
    pub state: WorkerState,
    /// The milliseconds that it is at the same turn; 0 while it waits.
    pub busy_ms: u64,
}

/// Whether a worker works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum WorkerState {
    /// It waits for messages or works on some.
    Working,
    /// It is at the same turn for too long.
    Stuck,
    /// Its thread is over.
    Ended,
}

impl Shared {
    /// Returns whether the proxy is well.
    #[must_use]
    pub fn health(&self) -> Health {
        let phase = self.lifecycle.phase();
        let workers = self.pool.health(self.now(), self.settings.stuck_ms);
        let healthy = phase == Phase::Stopping || workers.iter().all(|worker| worker.state == WorkerState::Working);
        Health { healthy, ready: phase == Phase::Running, phase, workers }
    }
}

impl WorkerPool {
    /// Returns what each worker is at; one that is at the same turn for longer than `patience` milliseconds is stuck.
    fn health(&self, now: u64, patience: u64) -> Vec<WorkerHealth> {
        self.slots().iter().map(|slot| slot.health(now, patience)).collect()
    }
}

impl WorkerSlot {
    fn health(&self, now: u64, patience: u64) -> WorkerHealth {
        let busy_ms = self.busy_since().map_or(0, |since| now.saturating_sub(since));
        let state = if self.has_ended() {
            WorkerState::Ended
        } else if busy_ms > patience {
            WorkerState::Stuck
        } else {
            WorkerState::Working
        };
        WorkerHealth { name: self.name.clone(), state, busy_ms }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::worker_pool::testing::pool;

    #[test]
    fn a_worker_is_stuck_once_its_turn_takes_longer_than_the_patience() {
        let pool = pool(1);
        let worker = &pool.slots()[0];
        let state = |now| pool.health(now, 100).pop().map(|worker| worker.state);
        assert_eq!(state(1000), Some(WorkerState::Working), "it waits");
        worker.begin_turn(1000);
        assert_eq!((state(1100), state(1101)), (Some(WorkerState::Working), Some(WorkerState::Stuck)));
        worker.end_turn();
        assert_eq!(state(9000), Some(WorkerState::Working));
        worker.end();
        assert_eq!(state(9000), Some(WorkerState::Ended));
    }
}
