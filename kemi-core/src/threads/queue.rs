//! A bounded queue before some threads, first come, first served.
//!
//! Those who wait for room wait in a line of their own with all they bring, so a place that becomes free goes to the first of
//! them without waking anybody. No function of the host runs under the lock: jobs are refused and dropped, and tasks woken, outside.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ptr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::error::{CallError, Unfinished};
use super::job::{Job, Turn};

thread_local! {
    /// The queue that the thread serves.
    static SERVED: Cell<*const ()> = const { Cell::new(ptr::null()) };
}

pub(super) struct Queue<S> {
    name: String,
    bound: usize,
    lines: Mutex<Lines<S>>,
    /// Notified of what a thread may have to do.
    work: Condvar,
    /// Notified of what has ended.
    ended: Condvar,
}

struct Lines<S> {
    /// At most `bound` jobs by number.
    queued: BTreeMap<u64, Job<S>>,
    /// The jobs that wait for room; none while there is some.
    waiting: BTreeMap<u64, (Job<S>, Option<Accepted>)>,
    running: BTreeMap<u64, Arc<Turn>>,
    next: u64,
    closed: bool,
    /// How often all threads were asked to look for a new version.
    pokes: u64,
    threads: usize,
}

/// Whom to tell that a job has a place in the queue.
pub(super) type Accepted = oneshot::Sender<()>;

/// What a thread is to do next.
pub(super) enum Next<S> {
    Job(u64, Job<S>),
    /// Look for a new version.
    Refresh,
    End,
}

/// The lengths of the lines at one moment.
#[derive(Clone, Copy)]
pub(super) struct Lengths {
    pub(super) queued: usize,
    pub(super) waiting: usize,
    pub(super) running: usize,
    pub(super) threads: usize,
    pub(super) closed: bool,
}

impl<S> Queue<S> {
    pub(super) fn new(name: String, bound: usize) -> Queue<S> {
        Queue {
            name,
            bound: bound.max(1),
            lines: Mutex::new(Lines {
                queued: BTreeMap::new(),
                waiting: BTreeMap::new(),
                running: BTreeMap::new(),
                next: 0,
                closed: false,
                pokes: 0,
                threads: 0,
            }),
            work: Condvar::new(),
            ended: Condvar::new(),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn bound(&self) -> usize {
        self.bound
    }

    /// Puts a job into the queue, or into the line for it; returns its number, or `None` if it was refused.
    pub(super) fn put(&self, job: Job<S>, wait: bool, accepted: Option<Accepted>) -> Option<u64> {
        let mut lines = self.lines();
        let id = lines.next;
        let (error, accepted) = if lines.closed {
            (CallError::Closed, accepted)
        } else if lines.queued.len() < self.bound {
            lines.next += 1;
            lines.queued.insert(id, job);
            drop(lines);
            self.work.notify_one();
            tell(accepted);
            return Some(id);
        } else if wait {
            lines.next += 1;
            lines.waiting.insert(id, (job, accepted));
            return Some(id);
        } else {
            (CallError::Full, accepted)
        };
        drop(lines);
        job.refuse(error);
        drop(accepted);
        None
    }

    /// Takes a job out again; `None` if its turn has come.
    pub(super) fn withdraw(&self, id: u64) -> Option<Job<S>> {
        let mut lines = self.lines();
        if let Some((job, accepted)) = lines.waiting.remove(&id) {
            drop(lines);
            drop(accepted);
            return Some(job);
        }
        let job = lines.queued.remove(&id)?;
        let accepted = lines.advance(self.bound);
        drop(lines);
        self.ended.notify_all();
        tell(accepted);
        Some(job)
    }

    /// Waits for something to do. `seen` is the thread's own memory of how often it was asked to refresh.
    pub(super) fn next(&self, seen: &mut u64) -> Next<S> {
        let mut lines = self.lines();
        loop {
            if *seen != lines.pokes {
                *seen = lines.pokes;
                return Next::Refresh;
            }
            if let Some((id, job)) = lines.queued.pop_first() {
                lines.running.insert(id, job.turn().clone());
                let accepted = lines.advance(self.bound);
                drop(lines);
                tell(accepted);
                return Next::Job(id, job);
            }
            if lines.closed {
                return Next::End;
            }
            lines = self.work.wait(lines).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Notes that a job is done.
    pub(super) fn done(&self, id: u64) {
        let turn = self.lines().running.remove(&id);
        self.ended.notify_all();
        drop(turn);
    }

    /// Asks all threads to look for a new version.
    pub(super) fn poke(&self) {
        self.lines().pokes += 1;
        self.work.notify_all();
    }

    /// Takes no more jobs. The threads end when those that are there are done.
    pub(super) fn close(&self) {
        self.lines().closed = true;
        self.work.notify_all();
    }

    /// Takes no more jobs, refuses those that have not begun and ends those that run.
    pub(super) fn abort(&self) {
        let mut lines = self.lines();
        lines.closed = true;
        let queued = std::mem::take(&mut lines.queued);
        let waiting = std::mem::take(&mut lines.waiting);
        let running: Vec<Arc<Turn>> = lines.running.values().cloned().collect();
        drop(lines);
        self.work.notify_all();
        self.ended.notify_all();
        running.iter().for_each(|turn| turn.cancel());
        drop(queued);
        drop(waiting);
    }

    /// Waits until all jobs are done, that of the calling thread left out.
    pub(super) fn wait_idle(&self, patience: Duration) -> Result<(), Unfinished> {
        let own = usize::from(self.is_own_thread());
        self.wait_while(patience, |lines| !lines.queued.is_empty() || lines.running.len() > own)
    }

    /// Waits until all threads have ended, the calling one left out.
    pub(super) fn wait_ended(&self, patience: Duration) -> Result<(), Unfinished> {
        let own = usize::from(self.is_own_thread());
        self.wait_while(patience, |lines| lines.threads > own)
    }

    fn wait_while(&self, patience: Duration, goes_on: impl Fn(&Lines<S>) -> bool) -> Result<(), Unfinished> {
        let waited = self.ended.wait_timeout_while(self.lines(), patience, |lines| goes_on(lines));
        let (lines, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if !goes_on(&lines) {
            return Ok(());
        }
        let Lengths { queued, waiting, running, threads, .. } = lines.lengths();
        Err(Unfinished { queued: queued + waiting, running, threads })
    }

    pub(super) fn lengths(&self) -> Lengths {
        self.lines().lengths()
    }

    /// Notes that a thread is about to start.
    pub(super) fn thread_starts(&self) {
        self.lines().threads += 1;
    }

    /// Notes that a thread has ended, or did not start.
    pub(super) fn thread_ended(&self) {
        self.lines().threads -= 1;
        self.ended.notify_all();
    }

    /// Notes that the calling thread serves this queue.
    pub(super) fn serve_here(&self) {
        SERVED.set(ptr::from_ref(self).cast());
    }

    /// Returns whether the calling thread serves this queue.
    pub(super) fn is_own_thread(&self) -> bool {
        SERVED.try_with(Cell::get).is_ok_and(|served| ptr::eq(served, ptr::from_ref(self).cast()))
    }

    fn lines(&self) -> MutexGuard<'_, Lines<S>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S> Lines<S> {
    /// Gives a place that has become free to the first who waits for one; returns whom to tell.
    fn advance(&mut self, bound: usize) -> Option<Accepted> {
        if self.queued.len() >= bound {
            return None;
        }
        let (id, (job, accepted)) = self.waiting.pop_first()?;
        self.queued.insert(id, job);
        accepted
    }

    fn lengths(&self) -> Lengths {
        Lengths {
            queued: self.queued.len(),
            waiting: self.waiting.len(),
            running: self.running.len(),
            threads: self.threads,
            closed: self.closed,
        }
    }
}

fn tell(accepted: Option<Accepted>) {
    if let Some(accepted) = accepted {
        // Whoever waited may have gone. It may wake a task of the host.
        super::serve::guarded("when a message had its place", || drop(accepted.send(())));
    }
}
