//! One call on its way through a queue: its work, its turn on a thread, its answer.

use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::error::CallError;
use super::queue::Queue;
use super::serve::guarded;
use crate::limits::Watch;

/// The seat of a thread with the job's turn on it, or the reason why the job never gets there.
pub(super) type Start<'a, S> = Result<(&'a mut S, &'a Turn), CallError>;

type Work<S> = Box<dyn for<'a> FnOnce(Start<'a, S>) + Send>;

/// A piece of work for a thread with the seat `S`. It is done exactly once: there, or with the reason why not.
pub(super) struct Job<S> {
    work: Option<Work<S>>,
    turn: Arc<Turn>,
}

impl<S> Job<S> {
    /// Creates a job, and where its result arrives. `work` does not panic.
    pub(super) fn new<R: Send + 'static>(
        work: impl for<'a> FnOnce(Start<'a, S>) -> R + Send + 'static,
    ) -> (Job<S>, oneshot::Receiver<R>) {
        let (reply, answer) = oneshot::channel();
        let work: Work<S> = Box::new(move |start| {
            // Whoever waited may have gone; the result goes here then.
            let _ = reply.send(work(start));
        });
        (Job { work: Some(work), turn: Arc::default() }, answer)
    }

    pub(super) fn turn(&self) -> &Arc<Turn> {
        &self.turn
    }

    pub(super) fn run(mut self, seat: &mut S) {
        if let Some(work) = self.work.take() {
            work(Ok((seat, &self.turn)));
        }
    }

    pub(super) fn refuse(mut self, error: CallError) {
        self.refuse_once(error);
    }

    fn refuse_once(&mut self, error: CallError) {
        if let Some(work) = self.work.take() {
            // It may wake a task of the host, or drop what is the host's.
            guarded("when a call was refused", || work(Err(error)));
        }
    }
}

impl<S> Drop for Job<S> {
    fn drop(&mut self) {
        self.refuse_once(CallError::Closed);
    }
}

/// The time of a job on its thread, in which others may end it.
#[derive(Default)]
pub(super) struct Turn(Mutex<State>);

#[derive(Default)]
enum State {
    #[default]
    Ahead,
    /// It calls the script: who watches, and the number of the call.
    Calling(Arc<Watch>, u64),
    /// The script's call is over.
    Over,
    /// It is not to begin.
    Cancelled,
}

impl Turn {
    /// Makes the call of the script that others may end; `None` if it was cancelled before.
    ///
    /// `run` makes one top-level call of the watched instance, on its thread.
    pub(super) fn calling<R>(&self, watch: &Arc<Watch>, run: impl FnOnce() -> R) -> Option<R> {
        /// Ends the turn even if the engine panics.
        struct Over<'a>(&'a Turn);
        impl Drop for Over<'_> {
            fn drop(&mut self) {
                let calling = mem::replace(&mut *self.0.state(), State::Over);
                drop(calling);
            }
        }
        {
            let mut state = self.state();
            if matches!(*state, State::Cancelled) {
                return None;
            }
            *state = State::Calling(watch.clone(), watch.next_call());
        }
        let _over = Over(self);
        Some(run())
    }

    /// Keeps the call from beginning, or ends it if it runs.
    pub(super) fn cancel(&self) {
        let mut state = self.state();
        match &*state {
            // Under the lock, so that it is this call and not the next one of the thread.
            State::Calling(watch, number) => watch.cancel(*number),
            State::Ahead => *state = State::Cancelled,
            State::Over | State::Cancelled => {}
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call that somebody waits for. Who stops waiting takes it out of the queue, or ends it if it runs.
pub(super) struct Ticket<S, R> {
    withdraw: Withdraw<S>,
    answer: oneshot::Receiver<R>,
}

impl<S, R: Send + 'static> Ticket<S, R> {
    /// Puts a job into a queue; one that is refused has its answer at once.
    pub(super) fn new(
        queue: &Arc<Queue<S>>,
        wait: bool,
        work: impl for<'a> FnOnce(Start<'a, S>) -> R + Send + 'static,
    ) -> Ticket<S, R> {
        let (job, answer) = Job::new(work);
        let turn = job.turn().clone();
        let id = if queue.is_own_thread() {
            job.refuse(CallError::OwnThread);
            None
        } else {
            queue.put(job, wait, None)
        };
        Ticket { withdraw: Withdraw { queue: queue.clone(), id, turn }, answer }
    }

    pub(super) async fn answer(self) -> R {
        let Ticket { mut withdraw, answer } = self;
        let result = answer.await;
        withdraw.id = None;
        arrived(result)
    }

    pub(super) fn answer_blocking(self) -> R {
        let Ticket { mut withdraw, answer } = self;
        let result = answer.recv();
        withdraw.id = None;
        arrived(result)
    }
}

fn arrived<R>(answer: Result<R, oneshot::RecvError>) -> R {
    answer.unwrap_or_else(|_| unreachable!("a job is done once, if need be when it is dropped, and does not panic"))
}

struct Withdraw<S> {
    queue: Arc<Queue<S>>,
    /// The job's number while somebody waits for it.
    id: Option<u64>,
    turn: Arc<Turn>,
}

impl<S> Drop for Withdraw<S> {
    fn drop(&mut self) {
        let Some(id) = self.id else { return };
        match self.queue.withdraw(id) {
            Some(job) => drop(job),
            None => self.turn.cancel(),
        }
    }
}
