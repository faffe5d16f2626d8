//! The state that one runtime shares with the watchdog.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering, fence};
use std::sync::{Arc, Mutex};
use std::thread;
#[cfg(unix)]
use std::thread::ThreadId;

use super::interrupt::Interrupt;
use super::settings::Limit;
use super::watchdog::{Watchdog, lock, watchdog};
use crate::callback::CallbackId;
use crate::telemetry::discard;

/// The longest wait of the watchdog until it interrupts the same call again.
const LONGEST_PAUSE_MS: u64 = 1_000;

/// The lateness at which a call is reported first; the clock ends nearly all calls long before.
const REPORT_AFTER_MS: u64 = 1_000;

/// The interval of further reports while the call goes on.
const REPORT_EVERY_MS: u64 = 5_000;

/// The bit that the watchdog sets in [`Watch::native`] when it sees the call.
const SEEN: u32 = 1 << 31;

/// The watchdog's clock in milliseconds as it was last read: some milliseconds late while calls are running.
pub(super) static COARSE: AtomicU64 = AtomicU64::new(0);

/// Reads the clock that steps some milliseconds at a time, at the cost of a load.
#[inline]
pub(crate) fn coarse_ms() -> u64 {
    COARSE.load(Ordering::Relaxed)
}

/// The watchdog's finding about a runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Check {
    /// No call runs.
    Idle,
    /// A call runs, within its limits.
    InTime,
    /// A call runs beyond its limits.
    Late,
    /// A call runs so long beyond its limits that the watchdog reports it.
    Stuck {
        /// The milliseconds beyond its limit.
        late: u64,
    },
}

/// The state that one runtime shares with the watchdog.
///
/// The runtime's thread writes without read-modify-write operations where it can, since they cost as much as a whole call. A
/// write of the watchdog at the same moment may be lost; the watchdog repeats it at its next check.
pub(crate) struct Watch {
    /// A bit for each route whose exports may be called just now, as in an [`Export`](crate::registry::Export). 0 sends each
    /// native call to the slow path, such as when the call is over its time.
    route_mask: AtomicU64,
    /// The index of the export that runs, plus 1, perhaps with [`SEEN`].
    native: AtomicU32,
    /// The index of the callback that runs, plus 1.
    callback: AtomicU32,
    /// The number of the top-level call that runs; 0 while none does.
    pub(super) call: AtomicU64,
    /// The number of the last one.
    last: AtomicU64,
    /// The milliseconds that it may take; 0 for no limit.
    limit_ms: AtomicU64,
    /// The number of the call that has taken too long or too much memory.
    over: AtomicU64,
    /// The number of the call that has taken too much memory.
    memory: AtomicU64,
    /// The number of the call that the host wants to end; see [`cancel`](Watch::cancel).
    cancelled: AtomicU64,
    /// The number of the call that the watchdog has seen to be cancelled, and when it saw that first.
    cancel_seen: [AtomicU64; 2],
    /// The number of the call that the watchdog has seen last.
    seen: AtomicU64,
    /// The time when it saw that call first.
    since: AtomicU64,
    /// The time when it saw the marked native call first.
    native_since: AtomicU64,
    reported: AtomicU64,
    /// Whether the clock stands, while the thread waits for something that is not the script's fault.
    stopped: AtomicBool,
    /// The time of the watchdog's last check.
    looked: AtomicU64,
    /// The time of the next interrupt. Interrupts take the thread's own time, so they must leave it enough to get on.
    again: AtomicU64,
    interrupt: Mutex<Option<Interrupt>>,
    pub(super) watchdog: &'static Watchdog,
    /// The runtime's thread: the only one in a process that it has forked.
    #[cfg(unix)]
    pub(super) thread: ThreadId,
    name: String,
    names: Arc<dyn CallNames>,
}

/// The names of exports and callbacks in scripts, for messages.
pub(crate) trait CallNames: Send + Sync {
    /// Returns the name of the callback with an index.
    fn callback_at(&self, index: usize) -> Option<Arc<str>>;

    /// Returns the name in scripts of the export with an index.
    fn export_at(&self, index: usize) -> Option<String>;
}

/// The state of a thread before a callback: the outer callback and the native function that calls the new one.
#[derive(Clone, Copy)]
pub(crate) struct SavedWatch {
    callback: u32,
    native: u32,
    native_since: u64,
}

impl Watch {
    /// Creates the watch of the calling thread's runtime; [`start_watching`](super::start_watching) gives it to the watchdog.
    pub(crate) fn new(engine: &str, names: Arc<dyn CallNames>) -> Arc<Watch> {
        let thread = thread::current();
        Arc::new(Watch {
            route_mask: AtomicU64::new(0),
            native: AtomicU32::new(0),
            callback: AtomicU32::new(0),
            call: AtomicU64::new(0),
            last: AtomicU64::new(0),
            limit_ms: AtomicU64::new(0),
            over: AtomicU64::new(u64::MAX),
            memory: AtomicU64::new(u64::MAX),
            cancelled: AtomicU64::new(0),
            cancel_seen: Default::default(),
            seen: AtomicU64::new(0),
            since: AtomicU64::new(0),
            native_since: AtomicU64::new(0),
            reported: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
            looked: AtomicU64::new(0),
            again: AtomicU64::new(0),
            interrupt: Mutex::new(None),
            watchdog: watchdog(),
            #[cfg(unix)]
            thread: thread.id(),
            name: format!("{engine} on thread '{}'", thread.name().unwrap_or("unnamed")),
            names,
        })
    }

    /// Returns the routes whose exports may be called on the fast path.
    #[inline]
    pub(crate) fn route_mask(&self) -> u64 {
        self.route_mask.load(Ordering::Relaxed)
    }

    /// Sets the route mask, unless the call is over.
    #[inline]
    pub(crate) fn open(&self, routes: u64) {
        self.route_mask.store(if self.expired() { 0 } else { routes }, Ordering::Relaxed);
    }

    /// Notes that a native function begins.
    #[inline]
    pub(crate) fn enter_native(&self, export: u32) {
        self.native.store(export + 1, Ordering::Relaxed);
    }

    /// Notes that the native function has ended; returns whether the watchdog has seen it, so that it may have been slow.
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

    /// Returns the milliseconds for which the watchdog has seen the native call that has just ended.
    pub(crate) fn native_took_ms(&self) -> u64 {
        coarse_ms().saturating_sub(self.native_since.load(Ordering::Acquire))
    }

    /// Notes that a callback begins; the result is for [`leave`](Self::leave).
    #[inline]
    pub(crate) fn enter(&self, callback: CallbackId) -> SavedWatch {
        let before = SavedWatch {
            callback: self.callback.load(Ordering::Relaxed),
            native: self.native.load(Ordering::Relaxed),
            native_since: self.native_since.load(Ordering::Relaxed),
        };
        self.native.store(0, Ordering::Relaxed);
        self.callback.store((callback.index() as u32).saturating_add(1), Ordering::Relaxed);
        before
    }

    /// Notes that the host uses the interpreter without a callback, perhaps from within a native function; the result is for
    /// [`leave`](Self::leave).
    pub(crate) fn set_aside(&self) -> SavedWatch {
        let before = SavedWatch {
            callback: self.callback.load(Ordering::Relaxed),
            native: self.native.load(Ordering::Relaxed),
            native_since: self.native_since.load(Ordering::Relaxed),
        };
        self.native.store(0, Ordering::Relaxed);
        before
    }

    /// Notes that it has ended.
    #[inline]
    pub(crate) fn leave(&self, before: SavedWatch) {
        self.callback.store(before.callback, Ordering::Relaxed);
        self.native_since.store(before.native_since, Ordering::Relaxed);
        self.native.store(before.native, Ordering::Relaxed);
    }

    /// Describes what runs at the moment, for messages; `None` between two calls.
    ///
    /// Other threads read it without a lock, so the callback and the native function may be of different moments. In a stuck
    /// call they are of the same.
    pub(crate) fn doing(&self) -> Option<String> {
        let callback = match self.callback.load(Ordering::Relaxed).checked_sub(1) {
            Some(index) => self.names.callback_at(index as usize),
            None if self.call.load(Ordering::Relaxed) == 0 => return None,
            None => None,
        };
        let native = (self.native.load(Ordering::Relaxed) & !SEEN).checked_sub(1);
        let native = native.and_then(|index| self.names.export_at(index as usize));
        let caller = callback.map_or_else(|| "the script's top level".to_owned(), |name| format!("'{name}'"));
        Some(match native {
            Some(export) => format!("{export}, called by {caller}"),
            None => format!("{caller}, in the interpreter or a library of the language"),
        })
    }

    pub(crate) fn set_interrupt(&self, interrupt: Option<Interrupt>) {
        let former = std::mem::replace(&mut *lock(&self.interrupt), interrupt);
        // The engine's code runs under no lock.
        drop(former);
    }

    /// Starts the clock of a call; 0 for no limit.
    #[inline]
    pub(crate) fn begin(&self, limit_ms: u64) {
        let call = self.last.load(Ordering::Relaxed) + 1;
        self.last.store(call, Ordering::Relaxed);
        self.limit_ms.store(limit_ms, Ordering::Relaxed);
        self.call.store(call, Ordering::Release);
        if self.watchdog.asleep.load(Ordering::SeqCst) {
            self.watchdog.wake();
        }
    }

    /// Stops the clock.
    #[inline]
    pub(crate) fn end(&self) {
        self.call.store(0, Ordering::Release);
    }

    /// Stops the clock, or lets it go again, while a closure runs on the call's thread, in steps of the watchdog's checks.
    pub(crate) fn while_stopped<R>(&self, stopped: bool, run: impl FnOnce() -> R) -> R {
        struct ResetOnDrop<'a>(&'a AtomicBool, bool);
        impl Drop for ResetOnDrop<'_> {
            fn drop(&mut self) {
                self.0.store(self.1, Ordering::Relaxed);
            }
        }
        let _reset = ResetOnDrop(&self.stopped, self.stopped.load(Ordering::Relaxed));
        self.stopped.store(stopped, Ordering::Relaxed);
        run()
    }

    /// Starts the watchdog again if it is gone, as in a process that was forked in the middle of a call.
    pub(crate) fn revive(&self) {
        if self.watchdog.asleep.load(Ordering::SeqCst) {
            self.watchdog.wake();
        }
    }

    /// Returns the milliseconds for which the watchdog has seen the last call, if at all: somewhat less than it took.
    #[inline]
    pub(crate) fn last_took_ms(&self) -> Option<u64> {
        let seen = self.seen.load(Ordering::Acquire) == self.last.load(Ordering::Relaxed);
        seen.then(|| coarse_ms().saturating_sub(self.since.load(Ordering::Relaxed)))
    }

    #[inline]
    pub(crate) fn expired(&self) -> bool {
        self.over.load(Ordering::Relaxed) == self.call.load(Ordering::Relaxed)
    }

    /// Notes, on the call's own thread, that the call has used up its memory: it is over, as with its time.
    pub(crate) fn exceed_memory(&self) {
        let call = self.call.load(Ordering::Relaxed);
        if call != 0 {
            self.memory.store(call, Ordering::Relaxed);
            self.expire(call);
        }
    }

    /// Returns the number of the next top-level call, for [`cancel`](Self::cancel); on the runtime's thread, between two calls.
    #[cfg(feature = "pool")]
    pub(crate) fn next_call(&self) -> u64 {
        // A call that was refused before it began may have left its number behind.
        self.cancelled.store(0, Ordering::Relaxed);
        self.last.load(Ordering::Relaxed) + 1
    }

    /// Ends a call at the watchdog's next check, on any thread.
    #[cfg(feature = "pool")]
    pub(crate) fn cancel(&self, call: u64) {
        self.cancelled.store(call, Ordering::Relaxed);
    }

    fn expire(&self, call: u64) {
        // With the fence in `reason`, who sees it also sees why.
        self.over.store(call, Ordering::Release);
        self.close();
    }

    /// Makes the next native call take the slow path.
    pub(super) fn close(&self) {
        self.route_mask.store(0, Ordering::Relaxed);
    }

    /// Returns why the call has expired.
    pub(crate) fn reason(&self) -> Limit {
        fence(Ordering::Acquire);
        let call = self.call.load(Ordering::Relaxed);
        if self.cancelled.load(Ordering::Relaxed) == call {
            Limit::Cancelled
        } else if self.memory.load(Ordering::Relaxed) == call {
            Limit::Memory
        } else {
            Limit::Time
        }
    }

    /// Checks the call that runs.
    pub(super) fn check(&self, now: u64) -> Check {
        let call = self.call.load(Ordering::Acquire);
        if call == 0 {
            return Check::Idle;
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
        self.mark_native(now);
        let mut deadline = match self.limit_ms.load(Ordering::Relaxed) {
            0 => u64::MAX,
            limit => self.since.load(Ordering::Relaxed).saturating_add(limit),
        };
        if self.cancelled.load(Ordering::Relaxed) == call {
            let [seen, since] = &self.cancel_seen;
            if seen.swap(call, Ordering::Relaxed) != call {
                since.store(now, Ordering::Relaxed);
            }
            deadline = deadline.min(since.load(Ordering::Relaxed));
        }
        // A call that has used up its memory is interrupted as well: its first interrupt may have come at a bad moment.
        if now < deadline && self.over.load(Ordering::Relaxed) != call {
            return Check::InTime;
        }
        // Under the lock, so that a runtime that goes away waits for a running interrupt and stops further ones.
        let interrupt = lock(&self.interrupt);
        if self.call.load(Ordering::Acquire) != call {
            return Check::InTime;
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
        if self.is_to_be_reported(late) { Check::Stuck { late } } else { Check::Late }
    }

    /// Marks the native call that runs, if it is new.
    fn mark_native(&self, now: u64) {
        let native = self.native.load(Ordering::Relaxed);
        if native != 0 && native & SEEN == 0 {
            self.native_since.store(now, Ordering::Relaxed);
            // If it fails, another one runs now, which the next check marks.
            let _ = self.native.compare_exchange(native, native | SEEN, Ordering::Release, Ordering::Relaxed);
        }
    }

    /// Returns whether to report the call as stuck: after a while, then again at intervals.
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

    /// Describes the stuck call; `None` if it has just ended.
    pub(super) fn report(&self, late: u64) -> Option<String> {
        let (name, doing) = (&self.name, self.doing()?);
        Some(format!("stuck: {name} is {late} ms over its time in {doing}; nothing can end it before that returns"))
    }
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The exceeded limit; an interrupt may read it at any moment.
#[derive(Default)]
pub(crate) struct LimitCell(AtomicU8);

impl LimitCell {
    #[inline]
    pub(crate) fn get(&self) -> Option<Limit> {
        match self.0.load(Ordering::Relaxed) {
            0 => None,
            1 => Some(Limit::Instructions),
            2 => Some(Limit::Time),
            3 => Some(Limit::Memory),
            4 => Some(Limit::Waiting),
            _ => Some(Limit::Cancelled),
        }
    }

    #[inline]
    pub(crate) fn set(&self, limit: Option<Limit>) {
        let code = match limit {
            None => 0,
            Some(Limit::Instructions) => 1,
            Some(Limit::Time) => 2,
            Some(Limit::Memory) => 3,
            Some(Limit::Waiting) => 4,
            Some(Limit::Cancelled) => 5,
        };
        self.0.store(code, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Weak;

    use super::*;

    /// The names of a registry without exports and callbacks.
    struct Nameless;

    impl CallNames for Nameless {
        fn callback_at(&self, _index: usize) -> Option<Arc<str>> {
            None
        }

        fn export_at(&self, _index: usize) -> Option<String> {
            None
        }
    }

    fn idle() -> Arc<Watch> {
        Watch::new("test", Arc::new(Nameless))
    }

    #[test]
    fn time_counts_from_the_first_look_and_ends_only_the_call_that_was_seen() {
        let watch = idle();
        watch.begin(10);
        watch.open(1);
        assert_eq!([watch.check(100), watch.check(109)], [Check::InTime; 2]);
        assert_eq!((watch.expired(), watch.route_mask()), (false, 1));
        assert_eq!(watch.check(110), Check::Late);
        assert_eq!((watch.expired(), watch.route_mask(), watch.reason()), (true, 0, Limit::Time));
        watch.open(1);
        assert_eq!(watch.route_mask(), 0, "a callback in the call opens nothing");
        watch.end();
        assert_eq!((watch.check(111), watch.expired()), (Check::Idle, false));

        watch.begin(10);
        watch.open(1);
        assert_eq!(watch.check(130), Check::InTime);
        assert_eq!((watch.expired(), watch.route_mask()), (false, 1), "its own time begins here");
    }

    #[test]
    fn a_call_without_a_limit_may_take_forever() {
        let watch = idle();
        watch.begin(0);
        assert_eq!([watch.check(0), watch.check(u64::MAX - 1)], [Check::InTime; 2]);
        assert!(!watch.expired());
    }

    #[test]
    fn only_a_native_call_that_was_seen_has_taken_long() {
        let watch = idle();
        watch.begin(0);
        watch.enter_native(7);
        assert!(!watch.leave_native());
        watch.enter_native(7);
        watch.check(100);
        let around = watch.enter(CallbackId::for_test(0));
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
        assert_eq!(watch.check(100), Check::InTime);
        watch.while_stopped(true, || {
            assert_eq!([watch.check(105), watch.check(5000)], [Check::InTime; 2]);
            watch.while_stopped(true, || assert_eq!(watch.check(6000), Check::InTime));
            assert_eq!(watch.check(7000), Check::InTime, "the outer one goes on");
        });
        assert_eq!([watch.check(7009), watch.check(7010)], [Check::InTime, Check::Late]);
        assert_eq!(watch.reason(), Limit::Time);
        watch.end();

        watch.begin(10);
        watch.while_stopped(true, || {
            assert_eq!(watch.check(8000), Check::InTime);
            watch.exceed_memory();
            assert_eq!((watch.check(8001), watch.reason()), (Check::Late, Limit::Memory));
        });
        assert_eq!((watch.expired(), watch.reason()), (true, Limit::Memory));
    }

    #[cfg(feature = "pool")]
    #[test]
    fn a_call_that_was_cancelled_ends_at_the_next_look_and_no_other_does() {
        let watch = idle();
        let number = watch.next_call();
        watch.begin(0);
        watch.open(1);
        assert_eq!(watch.check(100), Check::InTime);
        watch.cancel(number);
        assert_eq!(watch.while_stopped(true, || watch.check(105)), Check::Late);
        assert_eq!((watch.expired(), watch.route_mask(), watch.reason()), (true, 0, Limit::Cancelled));
        assert!(matches!(watch.check(1105), Check::Stuck { late: 1000 }), "it counts from the first look");
        watch.end();

        // Whoever cancels may come too late.
        watch.begin(10);
        watch.cancel(number);
        assert_eq!(watch.check(2000), Check::InTime);
        watch.end();
        watch.cancel(watch.last.load(Ordering::Relaxed) + 1);
        assert_eq!(watch.next_call(), 3);
        watch.begin(10);
        assert_eq!(watch.check(3000), Check::InTime, "it was meant for one that was refused");
    }

    #[test]
    fn a_call_that_goes_on_is_reported_now_and_again() {
        let watch = idle();
        watch.begin(10);
        assert_eq!(watch.check(0), Check::InTime);
        let reported = (10..=12_000).filter(|now| matches!(watch.check(*now), Check::Stuck { .. }));
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
        assert_eq!([watch.check(0), watch.check(10), watch.check(11)], [Check::InTime, Check::Late, Check::Late]);
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
        for limit in [Limit::Instructions, Limit::Time, Limit::Memory, Limit::Waiting, Limit::Cancelled] {
            cell.set(Some(limit));
            assert_eq!(cell.get(), Some(limit));
        }
        cell.set(None);
        assert_eq!(cell.get(), None);
    }
}
