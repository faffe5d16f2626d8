//! Large stacks for scripts; for authors of engines whose interpreters recurse.
//!
//! Such an interpreter works down nested values, source text or calls by recursion, and a thread's own stack of 2 MiB is soon
//! full, which ends the process. A [`GuardedStack`] is as large as address space is cheap; only what is used takes memory.

#[cfg(not(unix))]
mod plain;
#[cfg(unix)]
mod unix;

use std::cell::{Cell, OnceCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, LocalKey};

#[cfg(not(unix))]
use plain::{Area, Mapping, SignalStack, handler_is_installed};
#[cfg(unix)]
use unix::{Area, Mapping, SignalStack, handler_is_installed};

/// The least size of a stack.
const LEAST: usize = 8 << 20;

/// The bytes of no access below a stack, and those of an overflow zone. A function with a larger frame touches each page.
const GUARD: usize = 64 << 10;

thread_local! {
    /// The thread's stacks with an overflow zone, for its signal handler: no destructor, nothing to initialise.
    static ZONES: Cell<*const GuardedStack> = const { Cell::new(ptr::null()) };
}

/// A large stack of one thread, made on its first use and unmapped when the thread ends.
///
/// It lives in a thread-local and is used by the thread-local's key, so it never moves:
///
/// ```
/// use kemi_core::limits::stack::GuardedStack;
///
/// thread_local! {
///     static STACK: GuardedStack = const { GuardedStack::new(1 << 30) };
/// }
/// let sum = GuardedStack::on_stack(&STACK, || (1..=4).sum::<i32>());
/// assert_eq!(sum, 10);
/// ```
///
/// Where the system does not give so much address space, the stack is half as large, and so on. Where it gives none, and
/// everywhere but on Unix, closures run on the stack they are called on.
///
/// A stack with an [overflow zone](Self::with_overflow_zone) tells when a script has come to the zone, and leaves the rest
/// for the script's end. One without such a zone ends at a guard, where the process ends.
#[derive(Debug)]
pub struct GuardedStack {
    size: usize,
    zone: Option<Zone>,
    own: OnceCell<Option<OwnStack>>,
    /// The bounds of the thread's own stack, or of the one that the innermost closure got instead.
    bounds: Cell<Bounds>,
    /// Whether the bounds are those of the thread's own stack, and nobody is on it.
    is_free: Cell<bool>,
    /// Whether the zone within the bounds has been opened. The signal handler sets it.
    opened: AtomicBool,
    /// The thread's next stack with a zone.
    next: Cell<*const GuardedStack>,
}

#[derive(Clone, Copy, Debug)]
struct Zone {
    usable: usize,
    #[cfg_attr(not(unix), allow(dead_code))]
    on_overflow: fn(),
}

/// The thread's own stack.
#[derive(Debug)]
struct OwnStack {
    _mapping: Mapping,
    /// Given to the thread if it had none.
    _signal_stack: Option<SignalStack>,
}

impl GuardedStack {
    /// Describes a stack of so many bytes, of 8 MiB at least.
    ///
    /// The memory that a deep recursion has used is given back after it.
    #[must_use]
    pub const fn new(size: usize) -> GuardedStack {
        GuardedStack::described(size, None)
    }

    /// Describes a stack of so many bytes, of which scripts may use the upper `usable` ones, half of them at most.
    ///
    /// The first access below makes a signal handler open the rest and call `on_overflow`, which is to end the script. From
    /// then on [`has_overflowed`](Self::has_overflowed) says so, until the outermost closure has left the stack.
    ///
    /// The handler of SIGSEGV and SIGBUS is installed once in the process. It passes other faults to the handlers before it.
    /// It needs a stack of its own, which a thread that Rust started gives up before the destructors of its thread-locals run:
    /// an overflow in these ends the process.
    ///
    /// # Safety
    /// `on_overflow` is async-signal-safe: it neither allocates, locks nor panics. It is called on the stack's thread, in the
    /// middle of anything.
    #[must_use]
    pub const unsafe fn with_overflow_zone(size: usize, usable: usize, on_overflow: fn()) -> GuardedStack {
        GuardedStack::described(size, Some(Zone { usable, on_overflow }))
    }

    const fn described(size: usize, zone: Option<Zone>) -> GuardedStack {
        GuardedStack {
            size,
            zone,
            own: OnceCell::new(),
            bounds: Cell::new(Bounds::NONE),
            is_free: Cell::new(false),
            opened: AtomicBool::new(false),
            next: Cell::new(ptr::null()),
        }
    }

    /// Makes the thread's stack now. Thread-locals are dropped in the order opposite to that of their first use, so one
    /// that is first used later may use the stack in its destructor.
    ///
    /// # Panics
    /// The thread ends, and the thread-local is gone.
    pub fn prepare(key: &'static LocalKey<GuardedStack>) {
        key.with(|stack| {
            stack.own();
        });
    }

    /// Runs a closure on the stack, or on the present one if that is the stack already or there is no such stack.
    ///
    /// While the stack is in use and the caller is on another one, the closure gets a new stack of the same kind.
    #[inline]
    pub fn on_stack<R>(key: &'static LocalKey<GuardedStack>, run: impl FnOnce() -> R) -> R {
        GuardedStack::catch_on_stack(key, run).unwrap_or_else(|payload| resume_unwind(payload))
    }

    /// Runs a closure like [`on_stack`](Self::on_stack), and returns the payload of its panic.
    ///
    /// # Errors
    /// The payload of the panic.
    #[inline]
    pub fn catch_on_stack<R>(key: &'static LocalKey<GuardedStack>, run: impl FnOnce() -> R) -> thread::Result<R> {
        let mut run = Some(run);
        let result = key.try_with(|stack| Some(stack.enter(run.take()?)));
        match (result, run) {
            (Ok(Some(result)), _) => result,
            (_, Some(run)) => catch_unwind(AssertUnwindSafe(run)),
            (_, None) => unreachable!("what has run has given its result"),
        }
    }

    /// Runs a closure with at least so many bytes of stack, on a new stack unless the present one will do; `None` if the
    /// system gives none.
    pub fn with_room<R>(key: &'static LocalKey<GuardedStack>, bytes: usize, run: impl FnOnce() -> R) -> Option<R> {
        if cfg!(not(unix)) {
            return Some(run());
        }
        key.try_with(|stack| stack.enter_with_room(bytes, run)).ok().flatten()
    }

    /// Returns how many bytes are left above the overflow zone or the guard; `None` on a stack that is not one of the key's.
    #[must_use]
    #[inline]
    pub fn remaining(key: &'static LocalKey<GuardedStack>) -> Option<usize> {
        key.try_with(GuardedStack::bytes_left).ok().flatten()
    }

    /// Returns whether the script that runs has come to the overflow zone.
    #[must_use]
    pub fn has_overflowed(key: &'static LocalKey<GuardedStack>) -> bool {
        key.try_with(|stack| stack.opened.load(Ordering::Relaxed)).unwrap_or(false)
    }

    /// Closes the overflow zone again, if the caller has come back above it: the next overflow is told like the first.
    ///
    /// For where a script that had come to the zone has ended, and code around it on the same stack goes on.
    #[inline]
    pub fn rearm(key: &'static LocalKey<GuardedStack>) {
        // On a thread that is about to end there is nothing to close.
        let _ = key.try_with(|stack| {
            if stack.opened.load(Ordering::Relaxed) {
                stack.close_zone_below();
            }
        });
    }

    #[inline]
    fn enter<R>(&self, run: impl FnOnce() -> R) -> thread::Result<R> {
        if self.bounds.get().contain(here()) {
            return catch_unwind(AssertUnwindSafe(run));
        }
        if !self.is_free.replace(false) && !self.make_first() {
            return self.enter_another(run);
        }
        // SAFETY: nobody is on the stack, since it was free, and it is not before it is left.
        let result = unsafe { self.bounds.get().area().run(run) };
        self.is_free.set(true);
        if self.zone.is_some() {
            if self.opened.load(Ordering::Relaxed) {
                self.close_zone();
            }
        } else {
            let area = self.bounds.get().area();
            // SAFETY: nobody is on the stack, which has just been left.
            unsafe {
                if area.went_deep() {
                    area.trim();
                }
            }
        }
        result
    }

    /// Makes the thread's own stack, for the caller to enter; returns `false` if it has been made, or cannot be.
    #[cold]
    #[inline(never)]
    fn make_first(&self) -> bool {
        self.own.get().is_none() && self.own().is_some() && self.is_free.replace(false)
    }

    /// Runs a closure while the thread's own stack is not free: on a new one of the same kind, if there can be any.
    #[cold]
    #[inline(never)]
    fn enter_another<R>(&self, run: impl FnOnce() -> R) -> thread::Result<R> {
        let own = self.own.get().and_then(Option::as_ref);
        let Some((mapping, bounds)) = own.and_then(|_| self.map()) else { return catch_unwind(AssertUnwindSafe(run)) };
        let former = self.replace_bounds(bounds);
        let opened = self.opened.swap(false, Ordering::Relaxed);
        // SAFETY: the mapping is new.
        let result = unsafe { mapping.area().run(run) };
        self.opened.store(opened, Ordering::Relaxed);
        drop(former);
        result
    }

    fn enter_with_room<R>(&self, bytes: usize, run: impl FnOnce() -> R) -> Option<R> {
        if self.bytes_left().is_some_and(|left| left >= bytes) {
            return Some(run());
        }
        // Sets the bounds, so before they are another stack's.
        self.own();
        let mapping = Mapping::new(bytes.checked_add(2 * GUARD)?)?;
        let former = self.replace_bounds(Bounds::of(&mapping));
        // SAFETY: the mapping is new.
        let result = unsafe { mapping.area().run(run) };
        drop(former);
        Some(result.unwrap_or_else(|payload| resume_unwind(payload)))
    }

    fn replace_bounds(&self, bounds: Bounds) -> FormerBounds<'_> {
        FormerBounds { stack: self, bounds: self.bounds.replace(bounds), is_free: self.is_free.replace(false) }
    }

    #[inline]
    fn bytes_left(&self) -> Option<usize> {
        let (bounds, here) = (self.bounds.get(), here());
        bounds.contain(here).then(|| here.saturating_sub(bounds.zone + GUARD))
    }

    fn own(&self) -> Option<&OwnStack> {
        self.own.get_or_init(|| self.make()).as_ref()
    }

    #[cold]
    fn make(&self) -> Option<OwnStack> {
        let (mapping, bounds) = self.map()?;
        self.bounds.set(bounds);
        self.is_free.set(true);
        if self.zone.is_none() {
            // SAFETY: nobody is on the new stack.
            unsafe { mapping.area().mark() };
        }
        let signal_stack = if bounds.opens {
            // It stays where it is and leaves the list before it goes.
            self.next.set(ZONES.replace(self));
            SignalStack::install()
        } else {
            None
        };
        Some(OwnStack { _mapping: mapping, _signal_stack: signal_stack })
    }

    /// Maps a stack of this kind, smaller if need be.
    fn map(&self) -> Option<(Mapping, Bounds)> {
        let sizes = std::iter::successors(Some(self.size), |size| Some(size / 2));
        let mapping = sizes.take_while(|size| *size >= LEAST).find_map(Mapping::new)?;
        let mut bounds = Bounds::of(&mapping);
        if let Some(zone) = self.zone {
            let usable = zone.usable.min((bounds.high - bounds.low.addr()) / 2);
            bounds.zone = bounds.high - usable.next_multiple_of(GUARD);
            // SAFETY: nobody is on the new stack.
            bounds.opens = handler_is_installed() && unsafe { mapping.area().close(bounds.zone) };
        }
        Some((mapping, bounds))
    }

    #[cold]
    fn close_zone(&self) {
        self.opened.store(false, Ordering::Relaxed);
        let bounds = self.bounds.get();
        // SAFETY: nobody is on the stack: the caller has just left it.
        unsafe {
            bounds.area().discard();
            bounds.area().close(bounds.zone);
        }
    }

    #[cold]
    fn close_zone_below(&self) {
        /// More than the functions called here take, and a signal handler on this stack.
        const SLACK: usize = 256 << 10;
        let (bounds, here) = (self.bounds.get(), here());
        if !bounds.opens || !bounds.contain(here) || here < bounds.zone + GUARD + SLACK {
            return;
        }
        // SAFETY: all frames of the stack are above `here`, less the slack, and so above the zone.
        if unsafe { bounds.area().close(bounds.zone) } {
            self.opened.store(false, Ordering::Relaxed);
        }
    }

    /// Opens the zone if the address lies in it, and says so. Async-signal-safe.
    #[cfg(unix)]
    fn open_zone(&self, address: usize) -> bool {
        let (bounds, Some(zone)) = (self.bounds.get(), self.zone) else { return false };
        let is_zone = bounds.opens && (bounds.zone..bounds.zone + GUARD).contains(&address);
        if !is_zone || self.opened.load(Ordering::Relaxed) || !unix::open(bounds.zone) {
            return false;
        }
        self.opened.store(true, Ordering::Relaxed);
        (zone.on_overflow)();
        true
    }
}

impl Drop for GuardedStack {
    fn drop(&mut self) {
        let gone = ptr::from_ref(self);
        let mut link = ZONES.get();
        if link == gone {
            ZONES.set(self.next.get());
            return;
        }
        // SAFETY: what is in the list is alive, since each of them leaves it here.
        while let Some(stack) = unsafe { link.as_ref() } {
            link = stack.next.get();
            if link == gone {
                stack.next.set(self.next.get());
                return;
            }
        }
    }
}

/// The addresses of a stack.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    /// The lowest one that may be used once the zone is open.
    low: *mut u8,
    /// Where the zone begins, or else the guard.
    zone: usize,
    high: usize,
    /// Whether the zone can be opened.
    opens: bool,
}

impl Bounds {
    const NONE: Bounds = Bounds { low: ptr::null_mut(), zone: 0, high: 0, opens: false };

    /// Returns those of a stack without a zone.
    fn of(mapping: &Mapping) -> Bounds {
        let (low, size) = (mapping.area().start(), mapping.area().size());
        Bounds { low, zone: low.addr() - GUARD, high: low.addr() + size, opens: false }
    }

    #[inline]
    fn area(&self) -> Area {
        Area::new(self.low, self.high - self.low.addr())
    }

    #[inline]
    fn contain(&self, address: usize) -> bool {
        (self.low.addr()..self.high).contains(&address)
    }
}

/// Puts the bounds back.
struct FormerBounds<'a> {
    stack: &'a GuardedStack,
    bounds: Bounds,
    is_free: bool,
}

impl Drop for FormerBounds<'_> {
    fn drop(&mut self) {
        self.stack.bounds.set(self.bounds);
        self.stack.is_free.set(self.is_free);
    }
}

/// Returns an address on the stack that the thread is on.
#[inline]
fn here() -> usize {
    let local = 0u8;
    (&raw const local).addr()
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    thread_local! {
        static PLAIN: GuardedStack = const { GuardedStack::new(1 << 30) };
        static ZONED: GuardedStack = const { zoned() };
        static OVERFLOWS: Cell<u32> = const { Cell::new(0) };
    }

    const fn zoned() -> GuardedStack {
        // SAFETY: the function counts in a thread-local that needs neither initialisation nor destructor.
        unsafe { GuardedStack::with_overflow_zone(1 << 30, 16 << 20, overflow) }
    }

    fn overflow() {
        OVERFLOWS.set(OVERFLOWS.get() + 1);
    }

    fn down(levels: usize) -> usize {
        let frame = std::hint::black_box([levels; 16]);
        if levels == 0 { frame[0] } else { down(levels - 1) + usize::from(std::hint::black_box(&frame)[7] == 0) }
    }

    /// Goes down until the overflow is told.
    fn down_to_the_zone() -> usize {
        let frame = std::hint::black_box([1usize; 16]);
        if GuardedStack::has_overflowed(&ZONED) { 0 } else { down_to_the_zone() + std::hint::black_box(&frame)[7] }
    }

    #[test]
    fn there_is_room_for_a_deep_recursion_and_it_is_given_back() {
        let given_back = thread::spawn(|| {
            assert_eq!(GuardedStack::on_stack(&PLAIN, || down(100_000)), 0);
            assert_eq!(GuardedStack::on_stack(&PLAIN, || GuardedStack::on_stack(&PLAIN, || down(100_000))), 0);
            // SAFETY: nobody is on the stack.
            PLAIN.with(|stack| unsafe { !stack.bounds.get().area().went_deep() })
        });
        assert!(given_back.join().unwrap());
    }

    #[test]
    fn a_second_overflow_is_told_if_the_zone_was_closed_in_between() {
        thread::spawn(|| {
            GuardedStack::on_stack(&ZONED, || {
                for told in 1..=3 {
                    assert!(down_to_the_zone() > 1_000);
                    assert_eq!(OVERFLOWS.get(), told);
                    GuardedStack::rearm(&ZONED);
                    assert!(!GuardedStack::has_overflowed(&ZONED));
                }
            });
        })
        .join()
        .unwrap();
    }

    #[test]
    fn a_panic_comes_out_as_it_was() {
        let run = || GuardedStack::on_stack(&PLAIN, || resume_unwind(Box::new("on purpose")));
        let payload = catch_unwind(run).unwrap_err();
        assert_eq!(payload.downcast_ref::<&str>(), Some(&"on purpose"));
        assert_eq!(GuardedStack::on_stack(&PLAIN, || 5), 5);
    }

    #[test]
    fn an_overflow_is_told_each_time_and_leaves_room_for_the_end() {
        thread::spawn(|| {
            for time in 1..=3 {
                assert!(!GuardedStack::has_overflowed(&ZONED));
                let levels = GuardedStack::on_stack(&ZONED, || {
                    let levels = down_to_the_zone();
                    // The zone stays open until the stack is left, and what lies below is there.
                    assert_eq!(down(400_000), 0);
                    assert!(GuardedStack::has_overflowed(&ZONED));
                    levels
                });
                assert!(levels > 1000);
                assert_eq!(OVERFLOWS.get(), time);
            }
        })
        .join()
        .unwrap();
    }

    #[test]
    fn a_stack_in_use_is_not_entered_from_another_one() {
        fn alternate(levels: u32) -> u32 {
            let frame = std::hint::black_box([levels; 64]);
            let deeper = || if levels == 0 { 0 } else { alternate(levels - 1) };
            let deeper = if levels.is_multiple_of(2) {
                GuardedStack::on_stack(&PLAIN, || 1 + deeper())
            } else {
                GuardedStack::on_stack(&ZONED, || 1 + deeper())
            };
            assert_eq!(std::hint::black_box(&frame), &[levels; 64]);
            deeper
        }
        thread::spawn(|| {
            assert_eq!(alternate(9), 10);
            let inside = || GuardedStack::on_stack(&PLAIN, || GuardedStack::on_stack(&ZONED, down_to_the_zone));
            let levels = GuardedStack::on_stack(&ZONED, || {
                let levels = inside();
                assert!(!GuardedStack::has_overflowed(&ZONED), "that was another stack's");
                levels
            });
            assert!(levels > 1000);
            assert_eq!(OVERFLOWS.get(), 1);
        })
        .join()
        .unwrap();
    }

    #[test]
    fn room_is_made_unless_it_is_there() {
        thread::spawn(|| {
            assert_eq!(GuardedStack::remaining(&ZONED), None);
            let left = || GuardedStack::remaining(&ZONED).unwrap();
            let there = GuardedStack::on_stack(&ZONED, left);
            assert!((15 << 20..16 << 20).contains(&there), "{there}");
            GuardedStack::on_stack(&ZONED, || {
                assert!(GuardedStack::with_room(&ZONED, 1 << 20, left).unwrap() <= there);
                assert!(GuardedStack::with_room(&ZONED, 64 << 20, left).unwrap() >= 64 << 20);
                assert_eq!(GuardedStack::with_room(&ZONED, usize::MAX, left), None);
                assert!(left() <= there);
            });
            let again = || GuardedStack::on_stack(&PLAIN, || down(10_000));
            assert_eq!(GuardedStack::with_room(&PLAIN, 64 << 20, again), Some(0));
            assert_eq!(GuardedStack::on_stack(&PLAIN, || down(100_000)), 0);
        })
        .join()
        .unwrap();
    }

    #[test]
    fn stacks_that_end_leave_the_others_of_the_thread_in_place() {
        thread_local! {
            static OTHER: GuardedStack = const { zoned() };
        }
        struct Late;
        impl Drop for Late {
            fn drop(&mut self) {
                // The one used first goes last, the other one is gone.
                assert_eq!(ZONES.get(), ZONED.with(ptr::from_ref));
                assert!(GuardedStack::on_stack(&ZONED, || GuardedStack::remaining(&ZONED).is_some()));
                assert_eq!(GuardedStack::on_stack(&OTHER, || 5), 5);
                assert_eq!(GuardedStack::remaining(&OTHER), None);
            }
        }
        thread_local! {
            static LATE: Late = const { Late };
        }
        thread::spawn(|| {
            GuardedStack::prepare(&ZONED);
            LATE.with(|_| ());
            GuardedStack::prepare(&OTHER);
        })
        .join()
        .unwrap();
    }
}
