//! The threads: each loads the script, makes the calls of its queue and takes up new versions in between.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use super::error::StartError;
use super::queue::{Next, Queue};
use crate::engine::while_waiting;
use crate::error::{ErrorCode, ScriptError};
use crate::export::panic_text;
use crate::program::Worker;
use crate::telemetry::{discard, log_guarded};

/// What a thread keeps for its jobs.
pub(super) trait Seat: 'static {
    /// Takes up a new version of the script, if there is one.
    fn refresh(&mut self);
}

impl<C: 'static> Seat for Worker<C> {
    fn refresh(&mut self) {
        Worker::refresh(self);
    }
}

/// Threads that were started and load their script.
pub(super) struct Starting<S> {
    queue: Arc<Queue<S>>,
    ready: Vec<Receiver<Result<(), ScriptError>>>,
}

impl<S: Seat> Starting<S> {
    pub(super) fn new(queue: &Arc<Queue<S>>) -> Starting<S> {
        Starting { queue: queue.clone(), ready: Vec::new() }
    }

    /// Starts one more thread; `open` makes its seat there.
    pub(super) fn thread(
        &mut self,
        name: String,
        open: impl FnOnce() -> Result<S, ScriptError> + Send + 'static,
    ) -> Result<(), StartError> {
        let (tell, ready) = sync_channel(1);
        let queue = self.queue.clone();
        queue.thread_starts();
        let gone = Gone(queue.clone());
        thread::Builder::new().name(name).spawn(move || run(&gone, open, &tell))?;
        self.ready.push(ready);
        Ok(())
    }

    /// Waits until all threads have loaded the script.
    pub(super) fn finish(self) -> Result<(), StartError> {
        let ended = || ScriptError::new(ErrorCode::NativePanic, "a thread ended while it was starting");
        let loaded = |ready: &Receiver<_>| ready.recv().unwrap_or_else(|_| Err(ended()));
        // Waits for each of them, so that none still loads when an error is returned.
        let results: Vec<Result<(), ScriptError>> = while_waiting(|| self.ready.iter().map(loaded).collect());
        results.into_iter().collect::<Result<(), _>>().map_err(StartError::Script)
    }
}

/// Notes the end of a thread when it is dropped.
struct Gone<S>(Arc<Queue<S>>);

impl<S> Drop for Gone<S> {
    fn drop(&mut self) {
        self.0.thread_ended();
    }
}

fn run<S: Seat>(
    gone: &Gone<S>,
    open: impl FnOnce() -> Result<S, ScriptError>,
    ready: &SyncSender<Result<(), ScriptError>>,
) {
    let queue = &gone.0;
    queue.serve_here();
    let opened = caught("while the script was loaded", open).and_then(|opened| opened);
    let mut seat = match opened {
        Ok(seat) => seat,
        Err(error) => {
            let _ = ready.send(Err(error));
            return;
        }
    };
    let _ = ready.send(Ok(()));
    let mut seen = 0;
    loop {
        guarded("while a new version was loaded", || seat.refresh());
        match queue.next(&mut seen) {
            Next::Job(id, job) => {
                guarded("in a call", || job.run(&mut seat));
                queue.done(id);
            }
            Next::Refresh => {}
            Next::End => break,
        }
    }
    guarded("at the end of a thread", || drop(seat));
}

/// Runs a closure and turns its panic into an error.
pub(super) fn caught<R>(when: &str, run: impl FnOnce() -> R) -> Result<R, ScriptError> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|payload| {
        let message = format!("a panic {when}: {}", panic_text(&*payload));
        discard(payload);
        ScriptError::new(ErrorCode::NativePanic, message).with_hint("this is a bug in the host, not in the script")
    })
}

/// Runs a closure whose panic concerns nobody but the log.
pub(super) fn guarded(when: &str, run: impl FnOnce()) {
    if let Err(error) = caught(when, run) {
        log_guarded(|| tracing::error!(target: "kemi", "{error}"));
    }
}
