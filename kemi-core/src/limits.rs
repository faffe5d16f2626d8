//! How much a script may use: the limits, and the watchdog that ends what runs too long.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::callback::CallbackId;
use crate::error::ErrorCode;
use crate::registry::RegistryData;

/// What one top-level call of a callback may use, nested callbacks included.
///
/// The names are the same for every engine; what an engine cannot limit, or only approximately, its crate says in
/// its documentation. 0 means no limit.
///
/// ```
/// let limits: kemi_core::Limits = serde_json::from_str(r#"{"max_time_ms": 250}"#)?;
/// assert_eq!(limits.max_time_ms, 250);
/// assert_eq!(limits.max_depth, kemi_core::Limits::default().max_depth);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Instructions of the interpreter, in its own unit, plus the declared cost of native calls. Off by default, since
    /// some interpreters only count at a price.
    pub max_instructions: u64,
    /// Milliseconds of wall clock; 1000 by default.
    pub max_time_ms: u64,
    /// Bytes that one interpreter may hold; 256 MiB by default.
    pub max_memory: u64,
    /// How deep script functions may call each other; 200 by default. Interpreters whose calls do not use the thread's
    /// stack may allow more.
    pub max_depth: u32,
    /// Milliseconds that a script's top level may take when it is loaded; 10,000 by default.
    pub max_load_time_ms: u64,
}

impl Limits {
    /// No limit at all.
    pub const NONE: Limits =
        Limits { max_instructions: 0, max_time_ms: 0, max_memory: 0, max_depth: 0, max_load_time_ms: 0 };
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            max_instructions: 0,
            max_time_ms: 1000,
            max_memory: 256 << 20,
            max_depth: 200,
            max_load_time_ms: 10_000,
        }
    }
}

/// Which limit a call has exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Limit {
    /// [`Limits::max_instructions`].
    Instructions,
    /// [`Limits::max_time_ms`], or [`Limits::max_load_time_ms`] while loading.
    Time,
    /// [`Limits::max_memory`].
    Memory,
    /// [`Limits::max_depth`].
    Depth,
}

impl Limit {
    pub(crate) fn code(self) -> ErrorCode {
        match self {
            Limit::Instructions => ErrorCode::InstructionLimit,
            Limit::Time => ErrorCode::TimeLimit,
            Limit::Memory => ErrorCode::MemoryLimit,
            Limit::Depth => ErrorCode::DepthLimit,
        }
    }

    pub(crate) fn message(self, limits: &Limits, loading: bool) -> String {
        match self {
            Limit::Instructions => {
                format!("used more than {} instructions (max_instructions)", limits.max_instructions)
            }
            Limit::Time if loading => {
                format!("took longer to load than {} ms (max_load_time_ms)", limits.max_load_time_ms)
            }
            Limit::Time => format!("ran longer than {} ms (max_time_ms)", limits.max_time_ms),
            Limit::Memory => format!("used more than {} bytes of memory (max_memory)", limits.max_memory),
            Limit::Depth => format!("called functions deeper than {} levels (max_depth)", limits.max_depth),
        }
    }
}

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

/// The watchdog's clock in milliseconds as somebody last read it: some milliseconds late while calls are running.
static COARSE: AtomicU64 = AtomicU64::new(0);

/// Reads the clock that steps some milliseconds at a time; costs no more than a load.
#[inline]
pub(crate) fn coarse_ms() -> u64 {
    COARSE.load(Ordering::Relaxed)
}

/// What one runtime shares with the watchdog.
pub(crate) struct Watch {
    /// When the running call's time is over, in milliseconds of the watchdog's clock; 0 while no call runs.
    deadline: AtomicU64,
    /// The deadline that has passed: it tells a late mark from one for the call that runs now. The call itself sees it
    /// at the next native call or interrupt.
    expired: AtomicU64,
    /// Whether the call has expired because of its memory, whatever its deadline.
    memory: AtomicBool,
    /// The index of the callback that runs, plus 1; for the report of a stuck call, as is the next.
    callback: AtomicU32,
    /// The index of the export that runs, plus 1.
    pub(crate) native: AtomicU32,
    reported: AtomicU64,
    /// When to interrupt again: an interrupt takes the thread's own time, so it must not come faster than the thread
    /// gets on.
    again: AtomicU64,
    interrupt: Mutex<Option<Interrupt>>,
    name: String,
    registry: Arc<RegistryData>,
}

/// Where a thread was before a callback began: the callback around it and the native function that calls it.
#[derive(Clone, Copy)]
pub(crate) struct Standing {
    callback: u32,
    native: u32,
}

impl Watch {
    pub(crate) fn new(engine: &str, registry: Arc<RegistryData>) -> Arc<Watch> {
        let thread = thread::current();
        Arc::new(Watch {
            deadline: AtomicU64::new(0),
            expired: AtomicU64::new(0),
            memory: AtomicBool::new(false),
            callback: AtomicU32::new(0),
            native: AtomicU32::new(0),
            reported: AtomicU64::new(0),
            again: AtomicU64::new(0),
            interrupt: Mutex::new(None),
            name: format!("{engine} on thread '{}'", thread.name().unwrap_or("unnamed")),
            registry,
        })
    }

    /// Notes that a callback begins; the result is for [`leave`](Self::leave).
    pub(crate) fn enter(&self, callback: CallbackId) -> Standing {
        let before =
            Standing { callback: self.callback.load(Ordering::Relaxed), native: self.native.load(Ordering::Relaxed) };
        self.native.store(0, Ordering::Relaxed);
        self.callback.store(callback.0.saturating_add(1), Ordering::Relaxed);
        before
    }

    /// Notes that it has ended.
    pub(crate) fn leave(&self, before: Standing) {
        self.callback.store(before.callback, Ordering::Relaxed);
        self.native.store(before.native, Ordering::Relaxed);
    }

    /// Says what runs at the moment, for people; `None` between two calls.
    ///
    /// Read from another thread without a lock, so the callback and the native function may be of different moments; in
    /// a call that is stuck they are not.
    pub(crate) fn doing(&self) -> Option<String> {
        let callback = match self.callback.load(Ordering::Relaxed).checked_sub(1) {
            Some(index) => self.registry.callback_name(CallbackId(index)),
            None if self.deadline.load(Ordering::Relaxed) == 0 => return None,
            None => None,
        };
        let native = self.native.load(Ordering::Relaxed).checked_sub(1);
        let native = native.and_then(|index| self.registry.exports().get(index as usize));
        let caller = callback.map_or_else(|| "the script's top level".to_owned(), |name| format!("'{name}'"));
        Some(match native {
            Some(export) => format!("{}, called by {caller}", self.registry.script_name(export.def)),
            None => format!("{caller}, in the interpreter or a library of the language"),
        })
    }

    pub(crate) fn set_interrupt(&self, interrupt: Option<Interrupt>) {
        *self.interrupt.lock().unwrap_or_else(PoisonError::into_inner) = interrupt;
    }

    /// Starts the clock of a call; 0 for one that may take forever.
    pub(crate) fn begin(self: &Arc<Watch>, limit_ms: u64, now: Instant) {
        let dog = watchdog();
        let now = milliseconds(now.saturating_duration_since(dog.start));
        if COARSE.load(Ordering::Relaxed) < now {
            COARSE.store(now, Ordering::Relaxed);
        }
        self.reported.store(0, Ordering::Relaxed);
        self.again.store(0, Ordering::Relaxed);
        self.memory.store(false, Ordering::Relaxed);
        self.expired.store(0, Ordering::Relaxed);
        let limit_ms = if limit_ms == 0 { u64::MAX } else { limit_ms };
        self.deadline.store(now.saturating_add(limit_ms).max(1), Ordering::Release);
        if dog.asleep.load(Ordering::SeqCst) {
            dog.thread.unpark();
        }
    }

    /// Stops the clock.
    pub(crate) fn end(&self) {
        self.deadline.store(0, Ordering::Release);
    }

    #[inline]
    pub(crate) fn expired(&self) -> bool {
        let deadline = self.deadline.load(Ordering::Relaxed);
        deadline != 0 && self.expired.load(Ordering::Relaxed) == deadline
    }

    /// Notes, on the thread of the call, that it has used up its memory: it is over as if its time were.
    pub(crate) fn exceed_memory(&self) {
        self.memory.store(true, Ordering::Relaxed);
        self.expired.store(self.deadline.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Returns why the call has expired.
    pub(crate) fn reason(&self) -> Limit {
        if self.memory.load(Ordering::Relaxed) { Limit::Memory } else { Limit::Time }
    }

    /// Looks at the call that runs; returns whether there is one.
    fn look(&self, now: u64) -> bool {
        let deadline = self.deadline.load(Ordering::Acquire);
        if deadline == 0 {
            return false;
        }
        // A call that has used up its memory is interrupted as well: what stops it may have come at a bad moment.
        if now < deadline && !self.expired() {
            return true;
        }
        // Under the lock, so that a runtime that goes away waits for a running interrupt and stops further ones.
        let interrupt = self.interrupt.lock().unwrap_or_else(PoisonError::into_inner);
        if self.deadline.load(Ordering::Acquire) != deadline {
            return true;
        }
        self.expired.store(deadline, Ordering::Relaxed);
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

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Makes the watchdog look after a runtime.
pub(crate) fn watch(watch: &Arc<Watch>) {
    watchdog().watches.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(watch));
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
            .any(|watch| watch.upgrade().is_some_and(|watch| watch.deadline.load(Ordering::Acquire) != 0));
        if !running {
            thread::park_timeout(Duration::from_secs(60));
        }
        asleep.store(false, Ordering::SeqCst);
        idle = 0;
    }
}
