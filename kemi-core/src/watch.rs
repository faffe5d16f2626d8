//! The watchdog: one thread that looks at all running calls, ends what takes too long and says where it is stuck.
//!
//! A call only leaves its number; all clocks are the watchdog's. So a call costs no look at a clock, and gets what it may
//! take from when the watchdog has first seen it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
#[cfg(unix)]
use std::thread::ThreadId;
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use crate::callback::CallbackId;
use crate::limits::Limit;
use crate::log::{discard, log_guarded};
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

/// How many lines wait at most for whoever reads the log.
const MAX_LINES: usize = 64;

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
    /// Whether the clock stands, since the thread waits for what the script cannot help.
    stopped: AtomicBool,
    /// When the watchdog has looked last.
    looked: AtomicU64,
    /// When to interrupt again: an interrupt takes the thread's own time, so it must not come faster than the thread
    /// gets on.
    again: AtomicU64,
    interrupt: Mutex<Option<Interrupt>>,
    dog: &'static Watchdog,
    /// Whose it is: only that one is there in a process that it has forked.
    #[cfg(unix)]
    thread: ThreadId,
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
            stopped: AtomicBool::new(false),
            looked: AtomicU64::new(0),
            again: AtomicU64::new(0),
            interrupt: Mutex::new(None),
            dog: watchdog(),
            #[cfg(unix)]
            thread: thread.id(),
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
        let former = std::mem::replace(&mut *lock(&self.interrupt), interrupt);
        // What an engine has put there runs under no lock.
        drop(former);
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

    /// Lets the clock stand, or go again, while something runs on the call's thread, in steps of the watchdog's looks.
    pub(crate) fn while_stopped<R>(&self, stopped: bool, run: impl FnOnce() -> R) -> R {
        struct Back<'a>(&'a AtomicBool, bool);
        impl Drop for Back<'_> {
            fn drop(&mut self) {
                self.0.store(self.1, Ordering::Relaxed);
            }
        }
        let _back = Back(&self.stopped, self.stopped.load(Ordering::Relaxed));
        self.stopped.store(stopped, Ordering::Relaxed);
        run()
    }

    /// Starts the watchdog again if there is none any more, as in a process that was forked in the middle of a call.
    pub(crate) fn revive(&self) {
        if self.dog.asleep.load(Ordering::SeqCst) {
            self.dog.wake();
        }
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

    /// Looks at the call that runs.
    fn look(&self, now: u64) -> Look {
        let call = self.call.load(Ordering::Acquire);
        if call == 0 {
            return Look::Idle;
        }
        let passed = now.saturating_sub(self.looked.swap(now, Ordering::Relaxed));
        if self.seen.load(Ordering::Relaxed) != call {
            self.since.store(now, Ordering::Relaxed);
            self.reported.store(0, Ordering::Relaxed);
            self.again.store(0, Ordering::Relaxed);
            self.seen.store(call, Ordering::Release);
        } else if self.stopped.load(Ordering::Relaxed) {
            self.since.fetch_add(passed, Ordering::Relaxed);
        }
        self.look_at_native(now);
        let deadline = match self.limit_ms.load(Ordering::Relaxed) {
            0 => u64::MAX,
            limit => self.since.load(Ordering::Relaxed).saturating_add(limit),
        };
        // A call that has used up its memory is interrupted as well: what stops it may have come at a bad moment.
        if now < deadline && self.over.load(Ordering::Relaxed) != call {
            return Look::InTime;
        }
        // Under the lock, so that a runtime that goes away waits for a running interrupt and stops further ones.
        let interrupt = lock(&self.interrupt);
        if self.call.load(Ordering::Acquire) != call {
            return Look::InTime;
        }
        self.expire(call);
        let late = now.saturating_sub(deadline);
        if now >= self.again.load(Ordering::Relaxed) {
            self.again.store(now + late.min(LONGEST_PAUSE_MS), Ordering::Relaxed);
            if let Some(interrupt) = &*interrupt
                && let Err(payload) = catch_unwind(AssertUnwindSafe(interrupt))
            {
                discard(payload);
            }
        }
        drop(interrupt);
        if self.is_to_be_reported(late) { Look::Stuck { late } } else { Look::Late }
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

    /// Returns whether it is time to say that the call is stuck: first after a while and then now and again.
    fn is_to_be_reported(&self, late: u64) -> bool {
        let due = match self.reported.load(Ordering::Relaxed) {
            0 => REPORT_AFTER_MS,
            reported => reported + REPORT_EVERY_MS,
        };
        if late >= due {
            self.reported.store(late, Ordering::Relaxed);
        }
        late >= due
    }

    /// Says that the call is stuck; `None` if it has just ended.
    fn report(&self, late: u64) -> Option<String> {
        let (name, doing) = (&self.name, self.doing()?);
        Some(format!("stuck: {name} is {late} ms over its time in {doing}; nothing can end it before that returns"))
    }
}

/// What a look at a runtime has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    /// No call runs.
    Idle,
    /// One runs and may.
    InTime,
    /// One runs and may not.
    Late,
    /// That goes on for so long that it is to be reported.
    Stuck {
        /// By how many milliseconds.
        late: u64,
    },
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").field("name", &self.name).finish_non_exhaustive()
    }
}

/// One thread for all runtimes of the process.
struct Watchdog {
    start: Instant,
    /// Whether a call that begins has to wake the thread up, or to start it.
    asleep: AtomicBool,
    /// The thread; none before the first call, and in a process that was forked.
    thread: Mutex<Option<Thread>>,
    watches: Mutex<Vec<Weak<Watch>>>,
    /// Held while the thread looks; who forks waits for the end of that.
    round: Mutex<()>,
    /// Whether it was said that there is no thread.
    told: AtomicBool,
}

impl Watchdog {
    /// Wakes it up for a call that begins, and sets the clock that has stood still.
    #[cold]
    fn wake(&'static self) {
        COARSE.fetch_max(milliseconds(self.start.elapsed()), Ordering::Relaxed);
        let mut thread = lock(&self.thread);
        if let Some(thread) = &*thread {
            return thread.unpark();
        }
        self.asleep.store(false, Ordering::SeqCst);
        match thread::Builder::new().name("kemi watchdog".to_owned()).spawn(|| self.patrol()) {
            Ok(handle) => *thread = Some(handle.thread().clone()),
            Err(error) => {
                // Without it only the other limits hold; better than not running at all. The next call tries again.
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

    fn patrol(&self) {
        let mut idle = 0;
        let mut log = Lines::default();
        let mut watches = Vec::new();
        loop {
            let busy = self.look_at_all(&mut watches, &mut log);
            idle = if busy { 0 } else { idle + 1 };
            if idle < LINGER {
                thread::park_timeout(INTERVAL);
                continue;
            }
            self.asleep.store(true, Ordering::SeqCst);
            // A call that began in between has not seen the flag; one more look finds it within an interval.
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

    /// Looks at all runtimes; returns whether a call runs in one of them.
    ///
    /// Only copies the list under its lock, so that no interrupt and no log line keeps a script from being loaded. It
    /// ends soon whatever the log does.
    fn look_at_all(&self, watches: &mut Vec<Arc<Watch>>, log: &mut Lines) -> bool {
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
            let look = watch.look(now);
            busy |= look != Look::Idle;
            if let Look::Stuck { late } = look
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

/// What the watchdog has to say, written by a thread of its own: whoever reads the log may keep that waiting.
#[derive(Default)]
struct Lines {
    log: Option<SyncSender<Line>>,
    left_out: u64,
}

struct Line {
    text: String,
    /// How many lines before this one found no room.
    left_out: u64,
}

impl Lines {
    /// Writes a line soon, or never if too many wait already.
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Makes the watchdog look after a runtime.
pub(crate) fn watch(watch: &Arc<Watch>) {
    lock(&watch.dog.watches).push(Arc::downgrade(watch));
}

static WATCHDOG: OnceLock<Watchdog> = OnceLock::new();

fn watchdog() -> &'static Watchdog {
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

/// What a fork of the process needs: the child has a thread less than it believes, and locks that nobody will give back.
///
/// So who forks waits until the watchdog has looked, and takes its locks; the child starts a new one with its next call.
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
            // Want of memory. A process that does not fork needs nothing of it.
            super::log_guarded(|| tracing::warn!(target: "kemi", "after a fork there will be no time limits"));
        }
    }

    extern "C" fn before() {
        let Some(dog) = WATCHDOG.get() else { return };
        let _ = HELD.try_with(|held| {
            if let Ok(mut held) = held.try_borrow_mut() {
                let round = lock(&dog.round);
                *held = Some(Held { watches: lock(&dog.watches), thread: lock(&dog.thread), _round: round });
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
        crate::interrupt::forked();
        let Some(mut held) = take() else { return };
        let Some(dog) = WATCHDOG.get() else { return };
        // Runtimes of threads that are gone stand in their calls for ever.
        let this = thread::current().id();
        held.watches.retain(|watch| watch.upgrade().is_some_and(|watch| watch.thread == this));
        for watch in held.watches.iter().filter_map(Weak::upgrade) {
            // The call that has forked goes on here as well; its next native call looks closer.
            watch.gate.store(0, Ordering::Relaxed);
        }
        *held.thread = None;
        dog.asleep.store(true, Ordering::SeqCst);
    }
}

/// Which limit was exceeded; an interrupt may ask for it at any moment.
#[derive(Default)]
pub(crate) struct LimitCell(AtomicU8);

impl LimitCell {
    #[inline]
    pub(crate) fn get(&self) -> Option<Limit> {
        match self.0.load(Ordering::Relaxed) {
            0 => None,
            1 => Some(Limit::Instructions),
            2 => Some(Limit::Time),
            _ => Some(Limit::Memory),
        }
    }

    #[inline]
    pub(crate) fn set(&self, limit: Option<Limit>) {
        let code = match limit {
            None => 0,
            Some(Limit::Instructions) => 1,
            Some(Limit::Time) => 2,
            Some(Limit::Memory) => 3,
        };
        self.0.store(code, Ordering::Relaxed);
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
        assert_eq!([watch.look(100), watch.look(109)], [Look::InTime; 2]);
        assert_eq!((watch.expired(), watch.gate()), (false, 1));
        assert_eq!(watch.look(110), Look::Late);
        assert_eq!((watch.expired(), watch.gate(), watch.reason()), (true, 0, Limit::Time));
        watch.open(1);
        assert_eq!(watch.gate(), 0, "a callback in the call opens nothing");
        watch.end();
        assert_eq!((watch.look(111), watch.expired()), (Look::Idle, false));

        watch.begin(10);
        watch.open(1);
        assert_eq!(watch.look(130), Look::InTime);
        assert_eq!((watch.expired(), watch.gate()), (false, 1), "its own time begins here");
    }

    #[test]
    fn a_call_without_a_limit_may_take_forever() {
        let watch = idle();
        watch.begin(0);
        assert_eq!([watch.look(0), watch.look(u64::MAX - 1)], [Look::InTime; 2]);
        assert!(!watch.expired());
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

    #[test]
    fn while_the_clock_stands_no_time_counts_but_memory_does() {
        let watch = idle();
        watch.begin(10);
        assert_eq!(watch.look(100), Look::InTime);
        watch.while_stopped(true, || {
            assert_eq!([watch.look(105), watch.look(5000)], [Look::InTime; 2]);
            watch.while_stopped(true, || assert_eq!(watch.look(6000), Look::InTime));
            assert_eq!(watch.look(7000), Look::InTime, "the outer one goes on");
        });
        assert_eq!([watch.look(7009), watch.look(7010)], [Look::InTime, Look::Late]);
        assert_eq!(watch.reason(), Limit::Time);
        watch.end();

        watch.begin(10);
        watch.while_stopped(true, || {
            assert_eq!(watch.look(8000), Look::InTime);
            watch.exceed_memory();
            assert_eq!((watch.look(8001), watch.reason()), (Look::Late, Limit::Memory));
        });
        assert_eq!((watch.expired(), watch.reason()), (true, Limit::Memory));
    }

    #[test]
    fn a_call_that_goes_on_is_reported_now_and_again() {
        let watch = idle();
        watch.begin(10);
        assert_eq!(watch.look(0), Look::InTime);
        let reported = (10..=12_000).filter(|now| matches!(watch.look(*now), Look::Stuck { .. }));
        assert_eq!(reported.collect::<Vec<_>>(), [1010, 6010, 11_010]);
        assert!(watch.report(5).is_some_and(|text| text.contains("5 ms over its time in the script's top level")));
        watch.end();
        assert_eq!(watch.report(5), None);
    }

    #[test]
    fn an_interrupt_that_panics_leaves_the_watchdog_alone() {
        let watch = idle();
        watch.set_interrupt(Some(Box::new(|| panic!("an engine's mistake"))));
        watch.begin(10);
        assert_eq!([watch.look(0), watch.look(10), watch.look(11)], [Look::InTime, Look::Late, Look::Late]);
    }

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

    #[test]
    fn what_a_runtime_leaves_behind_runs_outside_of_its_lock() {
        struct Sets(Weak<Watch>);
        impl Drop for Sets {
            fn drop(&mut self) {
                if let Some(watch) = self.0.upgrade() {
                    watch.set_interrupt(None);
                }
            }
        }
        let watch = idle();
        let sets = Sets(Arc::downgrade(&watch));
        watch.set_interrupt(Some(Box::new(move || drop(sets.0.upgrade()))));
        watch.set_interrupt(None);
    }

    #[test]
    fn each_limit_comes_back_out_of_its_cell() {
        let cell = LimitCell::default();
        assert_eq!(cell.get(), None);
        for limit in [Limit::Instructions, Limit::Time, Limit::Memory] {
            cell.set(Some(limit));
            assert_eq!(cell.get(), Some(limit));
        }
        cell.set(None);
        assert_eq!(cell.get(), None);
    }
}
