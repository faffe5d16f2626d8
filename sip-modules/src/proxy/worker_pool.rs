//! The workers as they see each other: who is stuck, and what the others need to do its work.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use kemi_core::Program;

use crate::proxy::Cx;
use crate::tm::Call;
use crate::transaction::TimerQueue;
use crate::transport::{UdpSocket, Waker};

/// How many milliseconds a worker may be busy with one batch before the others do its work.
const STUCK_AFTER: u64 = 200;

/// How often to [look](StallMonitor::look) at the workers.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How many milliseconds pass at least before the log says again of one worker that it is stuck.
const REPORT_EVERY: u64 = 10_000;

/// All workers of a proxy; each notes when a turn of it begins and ends, all else is seen from that.
#[derive(Debug, Default)]
pub struct WorkerPool {
    slots: Box<[Arc<WorkerSlot>]>,
}

impl WorkerPool {
    pub(super) fn new(slots: Vec<WorkerSlot>) -> Arc<WorkerPool> {
        Arc::new(WorkerPool { slots: slots.into_iter().map(Arc::new).collect() })
    }

    /// Returns the names of the workers that are stuck: busy with one batch for more than 200 ms.
    ///
    /// The other workers serve their sockets and timers meanwhile.
    pub fn stuck(&self) -> impl Iterator<Item = &str> {
        self.slots.iter().filter(|slot| slot.is_stuck()).map(|slot| slot.name.as_str())
    }

    pub(super) fn slots(&self) -> &[Arc<WorkerSlot>] {
        &self.slots
    }

    /// Returns the place of each worker.
    pub(super) fn places(self: &Arc<Self>) -> Vec<OwnSlot> {
        self.slots.iter().map(|me| OwnSlot { pool: self.clone(), me: me.clone() }).collect()
    }

    /// Returns whether a worker is still at a turn that began before `time`.
    pub(super) fn any_busy_since_before(&self, time: u64) -> bool {
        self.slots.iter().any(|slot| slot.busy_since().is_some_and(|since| since < time))
    }

    fn besides(&self, one: &Arc<WorkerSlot>) -> impl Iterator<Item = &Arc<WorkerSlot>> {
        self.slots.iter().filter(move |slot| !Arc::ptr_eq(slot, one))
    }

    /// Has the others do a worker's work.
    fn replace(&self, stuck: &Arc<WorkerSlot>) {
        stuck.stuck.store(true, Ordering::Release);
        for other in self.besides(stuck) {
            other.waker.wake();
        }
    }
}

/// One worker's place in its pool.
#[derive(Clone, Debug)]
pub(crate) struct OwnSlot {
    pool: Arc<WorkerPool>,
    pub(super) me: Arc<WorkerSlot>,
}

impl OwnSlot {
    /// Returns the other workers that are stuck.
    pub(super) fn stuck_others(&self) -> impl Iterator<Item = &Arc<WorkerSlot>> {
        self.pool.besides(&self.me).filter(|slot| slot.is_stuck())
    }

    /// Notes what the worker begins to work on; does not if another worker is stuck in just that, and returns `false`.
    ///
    /// `message` is what a message and its retransmissions have in common.
    pub(super) fn begin_message(&self, message: u64) -> bool {
        if self.stuck_others().any(|other| other.heartbeat.message.load(Ordering::Relaxed) == message) {
            return false;
        }
        self.me.heartbeat.message.store(message, Ordering::Relaxed);
        true
    }
}

/// One worker: what it works with, and how it gets on.
#[derive(Debug)]
pub(super) struct WorkerSlot {
    /// Its number and its listener's: `0.0`.
    pub(super) name: String,
    /// What it sends by: a socket for each listener.
    pub(super) sockets: Arc<[Arc<UdpSocket>]>,
    pub(super) listener: usize,
    /// What it receives from: the listener's.
    pub(super) socket: Arc<UdpSocket>,
    pub(super) timers: Arc<TimerQueue<Call>>,
    pub(super) waker: Waker,
    /// Whether the others do its work.
    stuck: AtomicBool,
    /// Whether its thread is over.
    ended: AtomicBool,
    heartbeat: Heartbeat,
}

/// What a worker writes all the time: apart from what the others read all the time.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Heartbeat {
    /// When the turn began that the worker is at, in milliseconds of the proxy's clock plus 1; 0 while it waits.
    busy_since: AtomicU64,
    /// What the message that it works on has in common with its retransmissions alone; 0 for none.
    message: AtomicU64,
}

impl WorkerSlot {
    /// Creates a worker that receives from one of the sockets; `None` if there is no such socket.
    pub(super) fn new(
        name: String,
        sockets: &Arc<[Arc<UdpSocket>]>,
        listener: usize,
        waker: Waker,
    ) -> Option<WorkerSlot> {
        Some(WorkerSlot {
            name,
            sockets: sockets.clone(),
            listener,
            socket: sockets.get(listener)?.clone(),
            timers: Arc::new(TimerQueue::new(0)),
            waker,
            stuck: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            heartbeat: Heartbeat::default(),
        })
    }

    /// Notes that the worker begins to work on a batch; `now` is the proxy's clock. For its own thread alone, as the next
    /// three.
    pub(super) fn begin_turn(&self, now: u64) {
        self.heartbeat.busy_since.store(now.saturating_add(1), Ordering::Relaxed);
    }

    /// Notes that the worker is done, and takes its work back from the others.
    pub(super) fn end_turn(&self) {
        self.heartbeat.busy_since.store(0, Ordering::Release);
        if self.is_stuck() {
            self.stuck.store(false, Ordering::Release);
        }
    }

    /// Notes that its thread is over.
    pub(super) fn end(&self) {
        self.ended.store(true, Ordering::Release);
    }

    /// Notes that it works on no message.
    pub(super) fn end_messages(&self) {
        self.heartbeat.message.store(0, Ordering::Relaxed);
    }

    /// Returns when the turn began that the worker is at.
    pub(super) fn busy_since(&self) -> Option<u64> {
        self.heartbeat.busy_since.load(Ordering::Acquire).checked_sub(1)
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    fn is_stuck(&self) -> bool {
        self.stuck.load(Ordering::Acquire)
    }
}

/// Finds out which workers are stuck.
pub(super) struct StallMonitor<'a> {
    pool: &'a WorkerPool,
    program: &'a Program<Cx>,
    seen: Vec<Seen>,
}

/// What the last look at a worker has shown.
#[derive(Clone, Copy, Default)]
struct Seen {
    /// When the turn began that it was at.
    since: Option<u64>,
    /// Whether it was at it for too long.
    stuck: bool,
    /// When the log last said so.
    reported: Option<u64>,
}

impl<'a> StallMonitor<'a> {
    pub(super) fn new(pool: &'a WorkerPool, program: &'a Program<Cx>) -> StallMonitor<'a> {
        StallMonitor { pool, program, seen: vec![Seen::default(); pool.slots.len()] }
    }

    /// Looks at each worker once; `now` is the proxy's clock.
    pub(super) fn look(&mut self, now: u64) {
        for (slot, seen) in self.pool.slots.iter().zip(&mut self.seen) {
            let since = slot.busy_since();
            if since != seen.since {
                seen.turn_is_over(slot, now);
                seen.since = since;
            }
            if !seen.stuck && since.is_some_and(|since| now.saturating_sub(since) >= STUCK_AFTER) {
                seen.stuck = true;
                self.pool.replace(slot);
                seen.report(self.pool, self.program, slot, now);
            }
        }
    }
}

impl Seen {
    fn turn_is_over(&mut self, slot: &WorkerSlot, now: u64) {
        let Some(since) = self.since.filter(|_| self.stuck) else { return };
        self.stuck = false;
        // It has taken its work back itself, unless it was done just before it was found to be stuck.
        slot.stuck.store(false, Ordering::Release);
        if self.reported.is_some_and(|at| at >= since) {
            tracing::info!("worker {} is back after {} ms", slot.name, now.saturating_sub(since));
        }
    }

    fn report(&mut self, pool: &WorkerPool, program: &Program<Cx>, slot: &WorkerSlot, now: u64) {
        if self.reported.is_some_and(|at| now.saturating_sub(at) < REPORT_EVERY) {
            return;
        }
        self.reported = Some(now);
        let doing = program.status().workers.into_iter().find(|worker| worker.name == slot.name);
        let doing = doing.and_then(|worker| worker.doing).unwrap_or_else(|| "outside of callbacks".to_owned());
        let rest = match pool.slots.len() {
            1 => "what comes in waits, since there is no other worker (`children`)",
            _ => "the others serve its socket and its timers meanwhile",
        };
        let busy = now.saturating_sub(self.since.unwrap_or(now));
        tracing::warn!("worker {} is stuck: busy with one batch for {busy} ms, in {doing}; {rest}", slot.name);
    }
}

#[cfg(test)]
pub(super) mod testing {
    use super::*;

    pub(in crate::proxy) fn pool(size: usize) -> Arc<WorkerPool> {
        let slot = |number| {
            let socket = Arc::new(UdpSocket::bind("127.0.0.1:0".parse().unwrap(), false, None).unwrap());
            WorkerSlot::new(format!("{number}.0"), &Arc::from([socket]), 0, Waker::new().unwrap()).unwrap()
        };
        WorkerPool::new((0..size).map(slot).collect())
    }
}

#[cfg(test)]
mod tests {
    use kemi_core::{NativeEngine, Registry};

    use super::testing::pool;
    use super::*;

    fn program() -> Arc<Program<Cx>> {
        let registry = Registry::<Cx>::builder().root(crate::dialect::ROOT).build().unwrap();
        Program::open(Arc::new(NativeEngine::<Cx>::new("rust")), &registry, &[]).unwrap()
    }

    #[test]
    fn a_worker_is_stuck_only_while_one_turn_goes_on() {
        let (pool, program) = (pool(2), program());
        let mut monitor = StallMonitor::new(&pool, &program);
        let stuck = || pool.stuck().collect::<Vec<_>>();
        let places = pool.places();
        let one = &pool.slots()[0];

        monitor.look(10_000);
        assert!(stuck().is_empty(), "workers that wait are not stuck");
        one.begin_turn(10_000);
        monitor.look(10_000 + STUCK_AFTER - 1);
        assert!(stuck().is_empty(), "not for long enough");
        assert!(pool.any_busy_since_before(10_001) && !pool.any_busy_since_before(10_000));
        monitor.look(10_000 + STUCK_AFTER);
        assert_eq!(stuck(), ["0.0"]);
        let others: Vec<_> = places.iter().map(|place| place.stuck_others().count()).collect();
        assert_eq!(others, [0, 1], "nobody replaces itself");
        one.end_turn();
        assert!(stuck().is_empty(), "it takes its work back at once");
        assert!(!pool.any_busy_since_before(u64::MAX));

        one.begin_turn(20_000);
        monitor.look(20_100);
        one.end_turn();
        one.begin_turn(20_150);
        monitor.look(20_000 + STUCK_AFTER);
        assert!(stuck().is_empty(), "it is busy, but gets on");
    }

    #[test]
    fn a_worker_that_was_done_just_before_it_was_found_stuck_is_so_until_the_next_look_only() {
        let (pool, program) = (pool(2), program());
        let mut monitor = StallMonitor::new(&pool, &program);
        let one = &pool.slots()[0];
        one.begin_turn(0);
        monitor.look(STUCK_AFTER);
        one.end_turn();
        pool.replace(one);
        monitor.look(STUCK_AFTER + 1);
        assert_eq!(pool.stuck().count(), 0);
    }

    #[test]
    fn the_others_are_woken_for_a_stuck_worker() {
        let (pool, program) = (pool(3), program());
        let mut monitor = StallMonitor::new(&pool, &program);
        pool.slots()[1].begin_turn(0);
        monitor.look(STUCK_AFTER);
        let woken = |slot: &Arc<WorkerSlot>| {
            let mut batch = crate::transport::RecvBatch::new();
            slot.socket.recv_batch(&mut batch, Some(Duration::ZERO), Some(&slot.waker)).unwrap().woken
        };
        assert_eq!(pool.slots().iter().map(woken).collect::<Vec<_>>(), [true, false, true]);
    }

    #[test]
    fn a_message_that_a_worker_is_stuck_in_is_not_begun_by_another_one() {
        let pool = pool(2);
        let [one, two] = pool.places().try_into().unwrap();
        assert!(one.begin_message(7) && two.begin_message(7), "nobody is stuck");
        assert!(one.begin_message(8));
        pool.replace(&one.me);
        assert!(two.begin_message(7) && !two.begin_message(8));
        assert!(one.begin_message(8), "it may go on itself");
        one.me.end_messages();
        assert!(two.begin_message(8));
    }
}
