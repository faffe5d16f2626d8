//! The watchdog: one thread that looks at all running calls, ends what takes too long and says where it is stuck.
//!
//! A call only leaves its number; all clocks are the watchdog's. So a call costs no look at a clock, and gets what it may
//! take from when the watchdog has first seen it.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use crate::callback::CallbackId;
use crate::limits::Limit;
use crate::registry::RegistryData;

/// What the watchdog calls, on its own thread, when a call's time is over.
pub type Interrupt = Box<dyn Fn() + Send + Sync>;

/// How often the watchdog looks while calls are running.
const INTERVAL: Duration = Duration::from_millis(5);

/// How many intervals without any call it goes on looking before it sleeps until the next one.
const LINGER: u32 = 200;

/// How long it waits at most until it interrupts the same call again.
const LONGEST_PAUSE_MS: u64 = 1_000;

/// How late a call is when it is reported first: the clock ends all others long before.
const REPORT_AFTER_MS: u64 = 1_000;

/// How often it is reported again while it goes on.
const REPORT_EVERY_MS: u64 = 5_000;

/// The bit that the watchdog sets in [`Watch::native`] when it sees the call.
const SEEN: u32 = 1 << 31;

/// The watchdog's clock in milliseconds as somebody last read it: some milliseconds late while calls are running.
static COARSE: AtomicU64 = AtomicU64::new(0);

/// Reads the clock that steps some milliseconds at a time; costs no more than a load.
#[inline]
pub(crate) fn coarse_ms() -> u64 {
    COARSE.load(Ordering::Relaxed)
}

/// What one runtime shares with the watchdog.
///
/// Its thread writes without read-modify-write operations where it can, since they cost as much as a whole call: what the
/// watchdog writes at the same moment may be lost, and is written again at its next look.
pub(crate) struct Watch {
    /// A bit for each route whose exports may be called just now, as [`Export`](crate::Export) has them. It is 0 if a
    /// native call must look closer: when the call is over its time, for one.
    gate: AtomicU64,
    /// The index of the export that runs, plus 1, perhaps with [`SEEN`].
    native: AtomicU32,
    /// The index of the callback that runs, plus 1.
    callback: AtomicU32,
    /// The number of the top-level call that runs; 0 while none does.
    call: AtomicU64,
    /// The number of the last one.
    last: AtomicU64,
    /// How long it may take in milliseconds; 0 for any time.
    limit_ms: AtomicU64,
    /// The number of the call that has taken too long or too much memory.
    over: AtomicU64,
    /// The number of the call that has taken too much memory.
    memory: AtomicU64,
    /// The number of the call that the watchdog has seen last.
    seen: AtomicU64,
    /// When it saw that first.
    since: AtomicU64,
    /// When it saw the native call first that has the mark.
    native_since: AtomicU64,
    reported: AtomicU64,
    /// When to interrupt again: an interrupt takes the thread's own time, so it must not come faster than the thread
    /// gets on.
    again: AtomicU64,
    interrupt: Mutex<Option<Interrupt>>,
    dog: &'static Watchdog,
    name: String,
    registry: Arc<RegistryData>,
}

/// Where a thread was before a callback began: the callback around it and the native function that calls it.
#[derive(Clone, Copy)]
pub(crate) struct Standing {
    callback: u32,
    native: u32,
    native_since: u64,
}

impl Watch {
    /// Creates the watch of the calling thread's runtime; [`watch`] makes the watchdog look at it.
    pub(crate) fn new(engine: &str, registry: Arc<RegistryData>) -> Arc<Watch> {
        let thread = thread::current();
        Arc::new(Watch {
            gate: AtomicU64::new(0),
            native: AtomicU32::new(0),
            callback: AtomicU32::new(0),
            call: AtomicU64::new(0),
            last: AtomicU64::new(0),
            limit_ms: AtomicU64::new(0),
            over: AtomicU64::new(u64::MAX),
            memory: AtomicU64::new(u64::MAX),
            seen: AtomicU64::new(0),
            since: AtomicU64::new(0),
            native_since: AtomicU64::new(0),
            reported: AtomicU64::new(0),
            again: AtomicU64::new(0),
            interrupt: Mutex::new(None),
            dog: watchdog(),
            name: format!("{engine} on thread '{}'", thread.name().unwrap_or("unnamed")),
            registry,
        })
    }

    /// Returns the routes whose exports may be called without a closer look.
    #[inline]
    pub(crate) fn gate(&self) -> u64 {
        self.gate.load(Ordering::Relaxed)
    }

    /// Opens the gate for some routes, unless the call is over.
    #[inline]
    pub(crate) fn open(&self, routes: u64) {
        self.gate.store(if self.expired() { 0 } else { routes }, Ordering::Relaxed);
    }

    /// Notes that a native function begins.
    #[inline]
    pub(crate) fn enter_native(&self, export: u32) {
        self.native.store(export + 1, Ordering::Relaxed);
    }

    /// Notes that it has ended; returns whether the watchdog has seen it, so that it may have taken long.
    #[inline]
    pub(crate) fn leave_native(&self) -> bool {
        let native = self.native.load(Ordering::Relaxed);
        self.native.store(0, Ordering::Relaxed);
        native & SEEN != 0
    }

    /// Returns whether a native function runs that no callback is nested in.
    pub(crate) fn in_native(&self) -> bool {
        self.native.load(Ordering::Relaxed) != 0
    }

    /// Returns for how many milliseconds the watchdog has seen the native call that has just ended.
    pub(crate) fn native_took_ms(&self) -> u64 {
        coarse_ms().saturating_sub(self.native_since.load(Ordering::Acquire))
    }

    /// Notes that a callback begins; the result is for [`leave`](Self::leave).
    #[inline]
    pub(crate) fn enter(&self, callback: CallbackId) -> Standing {
        let before = Standing {
            callback: self.callback.load(Ordering::Relaxed),
            native: self.native.load(Ordering::Relaxed),
            native_since: self.native_since.load(Ordering::Relaxed),
        };
        self.native.store(0, Ordering::Relaxed);
        self.callback.store((callback.index() as u32).saturating_add(1), Ordering::Relaxed);
        before
    }

    /// Notes that the host looks into the interpreter, perhaps from within a native function; the result is for
    /// [`leave`](Self::leave).
    pub(crate) fn set_aside(&self) -> Standing {
        let before = Standing {
            callback: self.callback.load(Ordering::Relaxed),
            native: self.native.load(Ordering::Relaxed),
            native_since: self.native_since.load(Ordering::Relaxed),
        };
        self.native.store(0, Ordering::Relaxed);
        before
    }

    /// Notes that it has ended.
    #[inline]
    pub(crate) fn leave(&self, before: Standing) {
        self.callback.store(before.callback, Ordering::Relaxed);
        self.native_since.store(before.native_since, Ordering::Relaxed);
        self.native.store(before.native, Ordering::Relaxed);
    }

    /// Says what runs at the moment, for people; `None` between two calls.
    ///
    /// Read from another thread without a lock, so the callback and the native function may be of different moments; in
    /// a call that is stuck they are not.
    pub(crate) fn doing(&self) -> Option<String> {
        let callback = match self.callback.load(Ordering::Relaxed).checked_sub(1) {
            Some(index) => self.registry.callback_name(self.registry.names().at(index as usize)),
            None if self.call.load(Ordering::Relaxed) == 0 => return None,
            None => None,
        };
        let native = (self.native.load(Ordering::Relaxed) & !SEEN).checked_sub(1);
        let native = native.and_then(|index| self.registry.exports().get(index as usize));
        let caller = callback.map_or_else(|| "the script's top level".to_owned(), |name| format!("'{name}'"));
        Some(match native {
            Some(export) => format!("{}, called by {caller}", self.registry.script_name(export.def())),
            None => format!("{caller}, in the interpreter or a library of the language"),
        })
    }

    pub(crate) fn set_interrupt(&self, interrupt: Option<Interrupt>) {
        *self.interrupt.lock().unwrap_or_else(PoisonError::into_inner) = interrupt;
    }

    /// Starts the clock of a call; 0 for one that may take forever.
    #[inline]
    pub(crate) fn begin(&self, limit_ms: u64) {
        let call = self.last.load(Ordering::Relaxed) + 1;
        self.last.store(call, Ordering::Relaxed);
        self.limit_ms.store(limit_ms, Ordering::Relaxed);
        self.call.store(call, Ordering::Release);
        if self.dog.asleep.load(Ordering::SeqCst) {
            self.dog.wake();
        }
    }

    /// Stops the clock.
    #[inline]
    pub(crate) fn end(&self) {
        self.call.store(0, Ordering::Release);
    }

    /// Returns for how many milliseconds the watchdog has seen the last call, if it has: some less than it took.
    #[inline]
    pub(crate) fn last_took_ms(&self) -> Option<u64> {
        let seen = self.seen.load(Ordering::Acquire) == self.last.load(Ordering::Relaxed);
        seen.then(|| coarse_ms().saturating_sub(self.since.load(Ordering::Relaxed)))
    }

    #[inline]
    pub(crate) fn expired(&self) -> bool {
        self.over.load(Ordering::Relaxed) == self.call.load(Ordering::Relaxed)
    }

    /// Notes, on the thread of the call, that it has used up its memory: it is over as if its time were.
    pub(crate) fn exceed_memory(&self) {
        let call = self.call.load(Ordering::Relaxed);
        if call != 0 {
            self.memory.store(call, Ordering::Relaxed);
            self.expire(call);
        }
    }

    fn expire(&self, call: u64) {
        self.over.store(call, Ordering::Relaxed);
        self.gate.store(0, Ordering::Relaxed);
    }

    /// Returns why the call has expired.
    pub(crate) fn reason(&self) -> Limit {
        let memory = self.memory.load(Ordering::Relaxed) == self.call.load(Ordering::Relaxed);
        if memory { Limit::Memory } else { Limit::Time }
    }

    /// Looks at the call that runs; returns whether there is one.
    fn look(&self, now: u64) -> bool {
        let call = self.call.load(Ordering::Acquire);
        if call == 0 {
            return false;
        }
        if self.seen.load(Ordering::Relaxed) != call {
            self.since.store(now, Ordering::Relaxed);
            self.reported.store(0, Ordering::Relaxed);
            self.again.store(0, Ordering::Relaxed);
            self.seen.store(call, Ordering::Release);
        }
        self.look_at_native(now);
        let deadline = match self.limit_ms.load(Ordering::Relaxed) {
            0 => u64::MAX,
            limit => self.since.load(Ordering::Relaxed).saturating_add(limit),
        };
        // A call that has used up its memory is interrupted as well: what stops it may have come at a bad moment.
        if now < deadline && self.over.load(Ordering::Relaxed) != call {
            return true;
        }
        // Under the lock, so that a runtime that goes away waits for a running interrupt and stops further ones.
        let interrupt = self.interrupt.lock().unwrap_or_else(PoisonError::into_inner);
        if self.call.load(Ordering::Acquire) != call {
            return true;
        }
        self.expire(call);
        let late = now.saturating_sub(deadline);
        if now >= self.again.load(Ordering::Relaxed) {
            self.again.store(now + late.min(LONGEST_PAUSE_MS), Ordering::Relaxed);
            if let Some(interrupt) = &*interrupt {
                interrupt();
            }
        }
        drop(interrupt);
        self.report(late);
        true
    }

    /// Marks the native call that runs, if it is new.
    fn look_at_native(&self, now: u64) {
        let native = self.native.load(Ordering::Relaxed);
        if native != 0 && native & SEEN == 0 {
            self.native_since.store(now, Ordering::Relaxed);
            // If it fails, another one runs by now, which is marked at the next look.
            let _ = self.native.compare_exchange(native, native | SEEN, Ordering::Release, Ordering::Relaxed);
        }
    }

    /// Writes that the call is stuck, first after a while and then now and again.
    fn report(&self, late: u64) {
        let due = match self.reported.load(Ordering::Relaxed) {
            0 => REPORT_AFTER_MS,
            reported => reported + REPORT_EVERY_MS,
        };
        if late < due {
            return;
        }
        let Some(doing) = self.doing() else { return };
        self.reported.store(late, Ordering::Relaxed);
        tracing::error!(
            target: "kemi",
            "stuck: {} is {late} ms over its time in {doing}; nothing can end it before that returns",
            self.name
        );
    }
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").field("name", &self.name).finish_non_exhaustive()
    }
}

/// One thread for all runtimes of the process.
struct Watchdog {
    thread: Thread,
    asleep: Arc<AtomicBool>,
    start: Instant,
    watches: Arc<Mutex<Vec<Weak<Watch>>>>,
}

impl Watchdog {
    /// Wakes it up for a call that begins, and sets the clock that has stood still.
    #[cold]
    fn wake(&self) {
        COARSE.fetch_max(milliseconds(self.start.elapsed()), Ordering::Relaxed);
        self.thread.unpark();
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Makes the watchdog look after a runtime.
pub(crate) fn watch(watch: &Arc<Watch>) {
    watch.dog.watches.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(watch));
}

fn watchdog() -> &'static Watchdog {
    static WATCHDOG: OnceLock<Watchdog> = OnceLock::new();
    WATCHDOG.get_or_init(|| {
        let asleep = Arc::new(AtomicBool::new(false));
        let watches = Arc::new(Mutex::new(Vec::new()));
        let start = Instant::now();
        let work = {
            let (asleep, watches) = (asleep.clone(), watches.clone());
            move || patrol(start, &asleep, &watches)
        };
        match thread::Builder::new().name("kemi watchdog".to_owned()).spawn(work) {
            Ok(handle) => Watchdog { thread: handle.thread().clone(), asleep, start, watches },
            Err(error) => {
                // Without it only the other limits hold; better than not running at all.
                tracing::error!(target: "kemi", "no watchdog thread, time limits do not work: {error}");
                Watchdog { thread: thread::current(), asleep, start, watches }
            }
        }
    })
}

fn patrol(start: Instant, asleep: &AtomicBool, watches: &Mutex<Vec<Weak<Watch>>>) {
    let mut idle = 0;
    loop {
        let now = milliseconds(start.elapsed());
        COARSE.store(now, Ordering::Relaxed);
        let mut busy = false;
        watches.lock().unwrap_or_else(PoisonError::into_inner).retain(|watch| match watch.upgrade() {
            Some(watch) => {
                busy |= watch.look(now);
                true
            }
            None => false,
        });
        idle = if busy { 0 } else { idle + 1 };
        if idle < LINGER {
            thread::park_timeout(INTERVAL);
            continue;
        }
        asleep.store(true, Ordering::SeqCst);
        // A call that began in between has not seen the flag; one more look finds it within an interval.
        thread::park_timeout(INTERVAL);
        let running = watches
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .any(|watch| watch.upgrade().is_some_and(|watch| watch.call.load(Ordering::Acquire) != 0));
        if !running {
            thread::park_timeout(Duration::from_secs(60));
        }
        asleep.store(false, Ordering::SeqCst);
        idle = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Registry;

    fn idle() -> Arc<Watch> {
        let registry = Registry::<()>::builder().build().unwrap();
        Watch::new("test", registry.data().clone())
    }

    #[test]
    fn time_counts_from_the_first_look_and_ends_only_the_call_that_was_seen() {
        let watch = idle();
        watch.begin(10);
        watch.open(1);
        assert!(watch.look(100) && watch.look(109));
        assert_eq!((watch.expired(), watch.gate()), (false, 1));
        assert!(watch.look(110));
        assert_eq!((watch.expired(), watch.gate(), watch.reason()), (true, 0, Limit::Time));
        watch.open(1);
        assert_eq!(watch.gate(), 0, "a callback in the call opens nothing");
        watch.end();
        assert!(!watch.look(111) && !watch.expired());

        watch.begin(10);
        watch.open(1);
        assert!(watch.look(130));
        assert_eq!((watch.expired(), watch.gate()), (false, 1), "its own time begins here");
    }

    #[test]
    fn a_call_without_a_limit_may_take_forever() {
        let watch = idle();
        watch.begin(0);
        assert!(watch.look(0) && watch.look(u64::MAX - 1) && !watch.expired());
    }

    #[test]
    fn only_a_native_call_that_was_seen_has_taken_long() {
        let watch = idle();
        watch.begin(0);
        watch.enter_native(7);
        assert!(!watch.leave_native());
        watch.enter_native(7);
        watch.look(100);
        let around = watch.enter(watch.registry.names().at(0));
        watch.enter_native(8);
        assert!(!watch.leave_native(), "the callback's own was not");
        watch.leave(around);
        assert!(watch.leave_native());
        assert_eq!(watch.native_since.load(Ordering::Relaxed), 100);
    }
}
