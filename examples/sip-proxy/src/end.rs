//! The end of the process in any case: what does not end by itself in time is left as it is.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::Builder;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::low_level::exit;
use sip_modules::proxy::{Phase, Shared};

use crate::log::Log;
use crate::signals::Kept;

/// How often to look whether the end has begun for another reason than a signal, and whether signals still come.
const POLL: Duration = Duration::from_millis(200);

/// The exit code of a process that had to leave something as it was.
const LEFT_BEHIND: i32 = 1;

/// What ends the process when its time is over, whatever its other threads do: a worker may be in a call that nothing
/// interrupts, and is neither waited for nor asked then.
pub(crate) struct End {
    /// When its time is over, once the end has begun.
    at: Mutex<Option<Instant>>,
    changed: Condvar,
}

impl End {
    /// Starts the thread that waits for the end, and takes care that the signals that begin it come as they do now. Once the
    /// workers were told to end, by whomever, they have `patience` to do so.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(crate) fn start(shared: &Arc<Shared>, log: &Log, patience: Duration) -> io::Result<Arc<End>> {
        let end = Arc::new(End { at: Mutex::new(None), changed: Condvar::new() });
        let (waiting, shared, log) = (end.clone(), shared.clone(), log.clone());
        let signals = [Kept::new(SIGINT)?, Kept::new(SIGTERM)?];
        Builder::new().name("end".to_owned()).spawn(move || {
            waiting.wait(|| {
                signals.iter().for_each(Kept::keep);
                (shared.lifecycle.phase() == Phase::Stopping).then_some(patience)
            });
            // However the log is: the process ends.
            let _ = catch_unwind(AssertUnwindSafe(|| tell(&shared)));
            log.flush();
            exit(LEFT_BEHIND);
        })?;
        Ok(end)
    }

    /// Gives the process so much time to end by itself, unless it has less already.
    pub(crate) fn within(&self, time: Duration) {
        let Some(end) = Instant::now().checked_add(time) else { return };
        let mut at = self.at.lock().unwrap_or_else(PoisonError::into_inner);
        *at = Some(at.map_or(end, |at| at.min(end)));
        drop(at);
        self.changed.notify_all();
    }

    /// Waits until the time is over; `stopping`, which is asked every now and then, gives the patience once the end has begun.
    fn wait(&self, stopping: impl Fn() -> Option<Duration>) {
        let mut begun = false;
        let mut at = self.at.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let (Some(patience), false) = (stopping(), begun) {
                begun = true;
                let end = Instant::now() + patience;
                *at = Some(at.map_or(end, |at| at.min(end)));
            }
            let left = at.map(|at| at.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return;
            }
            let time = left.map_or(POLL, |left| left.min(POLL));
            at = self.changed.wait_timeout(at, time).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// Logs whom the process does not wait for.
fn tell(shared: &Shared) {
    let workers = shared.health().workers.into_iter().filter(|worker| worker.busy_ms > 0);
    let busy: Vec<_> = workers.map(|worker| format!("worker {} for {} ms", worker.name, worker.busy_ms)).collect();
    let at_what = if busy.is_empty() { "no worker is".to_owned() } else { busy.join(", ") };
    tracing::error!("not everything ends in time, so the process ends without; busy with one batch: {at_what}");
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    fn end() -> End {
        End { at: Mutex::new(None), changed: Condvar::new() }
    }

    #[test]
    fn the_shortest_time_counts() {
        let end = end();
        end.within(Duration::from_secs(3600));
        end.within(Duration::ZERO);
        end.within(Duration::from_secs(3600));
        end.wait(|| None);
    }

    #[test]
    fn an_end_that_no_signal_has_begun_has_its_time_too() {
        let stopping = AtomicBool::new(false);
        let end = end();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| end.wait(|| stopping.load(Ordering::Relaxed).then_some(Duration::ZERO)));
            stopping.store(true, Ordering::Relaxed);
            waiting.join().expect("it ends");
        });
    }
}
