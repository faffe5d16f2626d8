//! The watchdog: one thread that checks all running calls.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use super::watch::{COARSE, Check, Watch};
use crate::telemetry::log_guarded;

/// The interval of the watchdog's checks while calls are running.
const INTERVAL: Duration = Duration::from_millis(5);

/// The number of intervals without any call after which it sleeps until the next call.
const IDLE_TICKS: u32 = 200;

/// The most lines that wait for a reader of the log.
const MAX_LINES: usize = 64;

/// One thread for all runtimes of the process.
pub(super) struct Watchdog {
    start: Instant,
    /// Whether a call that begins has to wake the thread up, or to start it.
    pub(super) asleep: AtomicBool,
    /// The thread; none before the first call, and in a process that was forked.
    thread: Mutex<Option<Thread>>,
    watches: Mutex<Vec<Weak<Watch>>>,
    /// Held during a check; a fork waits for its end.
    round: Mutex<()>,
    /// Whether the log has said that there is no thread.
    told: AtomicBool,
}

impl Watchdog {
    /// Wakes the thread up for a call that begins, and sets the clock, which has stood still.
    #[cold]
    pub(super) fn wake(&'static self) {
        COARSE.fetch_max(milliseconds(self.start.elapsed()), Ordering::Relaxed);
        let mut thread = lock(&self.thread);
        if let Some(thread) = &*thread {
            return thread.unpark();
        }
        self.asleep.store(false, Ordering::SeqCst);
        match thread::Builder::new().name("kemi watchdog".to_owned()).spawn(|| self.run()) {
            Ok(handle) => *thread = Some(handle.thread().clone()),
            Err(error) => {
                // Without it only the other limits hold, which is better than no calls at all. The next call tries again.
                self.asleep.store(true, Ordering::SeqCst);
                drop(thread);
                if !self.told.swap(true, Ordering::Relaxed) {
                    log_guarded(|| {
                        tracing::error!(target: "kemi", "no watchdog thread, time limits do not work: {error}");
                    });
                }
            }
        }
    }

    fn run(&self) {
        let mut idle = 0;
        let mut log = Lines::default();
        let mut watches = Vec::new();
        loop {
            let busy = self.check_all(&mut watches, &mut log);
            idle = if busy { 0 } else { idle + 1 };
            if idle < IDLE_TICKS {
                thread::park_timeout(INTERVAL);
                continue;
            }
            self.asleep.store(true, Ordering::SeqCst);
            // A call that began in between has not seen the flag; one more check finds it within an interval.
            thread::park_timeout(INTERVAL);
            let calls = |watch: &Weak<Watch>| watch.upgrade().is_some_and(|w| w.call.load(Ordering::Acquire) != 0);
            let running = lock(&self.watches).iter().any(calls);
            if !running {
                thread::park_timeout(Duration::from_secs(60));
            }
            self.asleep.store(false, Ordering::SeqCst);
            idle = 0;
        }
    }

    /// Checks all runtimes; returns whether a call runs in one of them.
    ///
    /// It only copies the list under its lock, so no interrupt and no log line delays a load. It ends soon whatever the log
    /// does.
    fn check_all(&self, watches: &mut Vec<Arc<Watch>>, log: &mut Lines) -> bool {
        let round = lock(&self.round);
        let now = milliseconds(self.start.elapsed());
        COARSE.store(now, Ordering::Relaxed);
        lock(&self.watches).retain(|watch| {
            let watch = watch.upgrade();
            let lives = watch.is_some();
            watches.extend(watch);
            lives
        });
        let mut busy = false;
        for watch in &*watches {
            let found = watch.check(now);
            busy |= found != Check::Idle;
            if let Check::Stuck { late } = found
                && let Some(text) = watch.report(late)
            {
                log.write(text);
            }
        }
        drop(round);
        watches.clear();
        busy
    }
}

/// The watchdog's log lines, written by a thread of its own, since a reader of the log may keep the writer waiting.
#[derive(Default)]
struct Lines {
    log: Option<SyncSender<Line>>,
    left_out: u64,
}

struct Line {
    text: String,
    /// The number of lines before this one that found no room.
    left_out: u64,
}

impl Lines {
    /// Hands a line to the writer, or drops it if too many wait already.
    fn write(&mut self, text: String) {
        if self.log.is_none() {
            let (log, lines) = sync_channel(MAX_LINES);
            let started = thread::Builder::new().name("kemi log".to_owned()).spawn(move || write_all(&lines));
            self.log = started.is_ok().then_some(log);
        }
        let line = Line { text, left_out: self.left_out };
        let sent = self.log.as_ref().is_some_and(|log| log.try_send(line).is_ok());
        self.left_out = if sent { 0 } else { self.left_out + 1 };
    }
}

fn write_all(lines: &Receiver<Line>) {
    for Line { text, left_out } in lines {
        log_guarded(|| tracing::error!(target: "kemi", left_out, "{text}"));
    }
}

/// Gives a runtime to the watchdog.
pub(crate) fn start_watching(watch: &Arc<Watch>) {
    lock(&watch.watchdog.watches).push(Arc::downgrade(watch));
}

static WATCHDOG: OnceLock<Watchdog> = OnceLock::new();

pub(super) fn watchdog() -> &'static Watchdog {
    WATCHDOG.get_or_init(|| {
        #[cfg(unix)]
        fork::prepare();
        Watchdog {
            start: Instant::now(),
            asleep: AtomicBool::new(true),
            thread: Mutex::default(),
            watches: Mutex::default(),
            round: Mutex::default(),
            told: AtomicBool::new(false),
        }
    })
}

/// Handlers for a fork: the child lacks the watchdog's thread, and locks that it held would stay taken.
///
/// So a fork waits until the watchdog has checked, and takes its locks. The child starts a new watchdog with its next call.
#[cfg(unix)]
mod fork {
    use std::cell::RefCell;
    use std::sync::atomic::Ordering;
    use std::sync::{MutexGuard, Weak};
    use std::thread::{self, Thread};

    use super::{WATCHDOG, Watch, lock};

    /// The locks that are held over a fork.
    struct Held {
        thread: MutexGuard<'static, Option<Thread>>,
        watches: MutexGuard<'static, Vec<Weak<Watch>>>,
        _round: MutexGuard<'static, ()>,
    }

    thread_local! {
        static HELD: RefCell<Option<Held>> = const { RefCell::new(None) };
    }

    pub(super) fn prepare() {
        // SAFETY: the three are functions without captures, which stay where they are. None of them unwinds: they lock,
        // and change what only they and the watchdog use.
        let status = unsafe { libc::pthread_atfork(Some(before), Some(in_parent), Some(in_child)) };
        if status != 0 {
            // There is no memory. A process that does not fork needs no handlers.
            super::log_guarded(|| tracing::warn!(target: "kemi", "after a fork there will be no time limits"));
        }
    }

    extern "C" fn before() {
        let Some(watchdog) = WATCHDOG.get() else { return };
        let _ = HELD.try_with(|held| {
            if let Ok(mut held) = held.try_borrow_mut() {
                let round = lock(&watchdog.round);
                *held = Some(Held { watches: lock(&watchdog.watches), thread: lock(&watchdog.thread), _round: round });
            }
        });
    }

    fn take() -> Option<Held> {
        HELD.try_with(|held| held.try_borrow_mut().ok()?.take()).ok().flatten()
    }

    extern "C" fn in_parent() {
        drop(take());
    }

    extern "C" fn in_child() {
        super::super::interrupt::forked();
        let Some(mut held) = take() else { return };
        let Some(watchdog) = WATCHDOG.get() else { return };
        // Runtimes of threads that are gone stay in their calls for ever.
        let this = thread::current().id();
        held.watches.retain(|watch| watch.upgrade().is_some_and(|watch| watch.thread == this));
        for watch in held.watches.iter().filter_map(Weak::upgrade) {
            // The call that has forked goes on here as well; its next native call takes the slow path.
            watch.close();
        }
        *held.thread = None;
        watchdog.asleep.store(true, Ordering::SeqCst);
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_nobody_reads_are_left_out_and_counted() {
        let (log, lines) = sync_channel(2);
        let mut writer = Lines { log: Some(log), left_out: 0 };
        for line in 0..5 {
            writer.write(line.to_string());
        }
        assert_eq!(writer.left_out, 3);
        let next = |lines: &Receiver<Line>| lines.try_recv().map(|line| (line.text, line.left_out)).unwrap();
        assert_eq!([next(&lines), next(&lines)], [("0".into(), 0), ("1".into(), 0)]);
        writer.write("5".into());
        assert_eq!((next(&lines), writer.left_out), (("5".into(), 3), 0));
    }
}
