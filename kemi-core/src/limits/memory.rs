//! The memory of a thread: an allocator that counts it, and the limit of the running call.
//!
//! For interpreters that live on Rust's own allocator and cannot count by themselves.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::marker::PhantomData;
use std::ptr;
use std::sync::Arc;

use super::interrupt;
use super::watch::Watch;

/// The bytes by which the thread may grow until a call that has used up its memory is interrupted again.
const AGAIN: i64 = 1 << 20;

/// An allocator that counts the bytes each thread holds.
///
/// It makes [`Limits::max_memory`](crate::Limits::max_memory) hold for engines that cannot count by themselves.
///
/// The host installs it, around the allocator that it would use otherwise; it costs about a nanosecond an allocation.
///
/// ```
/// use kemi_core::CountingAllocator;
///
/// #[global_allocator]
/// static ALLOCATOR: CountingAllocator = CountingAllocator::system();
///
/// let before = kemi_core::limits::held_bytes();
/// let text = String::from("counted");
/// assert_eq!(kemi_core::limits::held_bytes() - before, 7);
/// # drop(text);
/// ```
#[derive(Debug, Default)]
pub struct CountingAllocator<A = System>(A);

impl CountingAllocator {
    /// Wraps the system's allocator.
    #[must_use]
    pub const fn system() -> CountingAllocator {
        CountingAllocator(System)
    }
}

impl<A> CountingAllocator<A> {
    /// Wraps another allocator.
    pub const fn new(inner: A) -> CountingAllocator<A> {
        CountingAllocator(inner)
    }
}

// SAFETY: all calls go to an allocator unchanged, and the counting neither allocates nor unwinds.
unsafe impl<A: GlobalAlloc> GlobalAlloc for CountingAllocator<A> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller's.
        let block = unsafe { self.0.alloc(layout) };
        count(block, layout.size(), 0);
        block
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller's.
        let block = unsafe { self.0.alloc_zeroed(layout) };
        count(block, layout.size(), 0);
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as the caller's.
        unsafe { self.0.dealloc(block, layout) };
        count(block, 0, layout.size());
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as the caller's.
        let block = unsafe { self.0.realloc(block, layout, size) };
        count(block, size, layout.size());
        block
    }
}

/// The bytes that one thread holds and may hold. It has no destructor, so it works as long as the thread allocates.
struct Thread {
    /// The bytes allocated and not freed; negative if the thread frees blocks of other threads.
    held: Cell<i64>,
    /// The bytes that it may hold before the running call ends.
    ceiling: Cell<i64>,
    /// That call's watch, as an owned `Arc`; null while no call's memory is limited.
    watch: Cell<*const Watch>,
    /// The bytes that calls have freed beyond those of their own interpreters: interpreters that share a garbage collector
    /// free each other's garbage.
    freed: Cell<i64>,
}

thread_local! {
    static THREAD: Thread = const {
        Thread {
            held: Cell::new(0),
            ceiling: Cell::new(i64::MAX),
            watch: Cell::new(ptr::null()),
            freed: Cell::new(0),
        }
    };
}

#[inline]
fn count(block: *const u8, more: usize, less: usize) {
    if block.is_null() {
        return;
    }
    THREAD.with(|thread| {
        // No block is larger than `isize::MAX`.
        let held = thread.held.get().wrapping_add(more as i64).wrapping_sub(less as i64);
        thread.held.set(held);
        if held > thread.ceiling.get() && more > less {
            exceeded(thread, held);
        }
    });
}

#[cold]
fn exceeded(thread: &Thread, held: i64) {
    thread.ceiling.set(held.saturating_add(AGAIN));
    // SAFETY: the thread owns the watch in its cell, and takes it out of the cell before it gives it up.
    if let Some(watch) = unsafe { thread.watch.get().as_ref() } {
        watch.exceed_memory();
        interrupt::wake();
    }
}

/// Returns the bytes that the calling thread has allocated and not freed, less those it has freed for others; always 0
/// if the program does not use [`CountingAllocator`].
#[must_use]
#[inline]
pub fn held_bytes() -> i64 {
    THREAD.with(|thread| thread.held.get())
}

/// Returns whether the program's allocator counts.
pub(crate) fn is_counted() -> bool {
    let before = held_bytes();
    let block = std::hint::black_box(Box::new(0u64));
    let counted = held_bytes() != before;
    drop(block);
    counted
}

/// The limit of a call; its drop restores the former limit.
///
/// The thread owns the current watch, and this value the former one. So a forgotten value leaves its limit on, and a drop in
/// the wrong order loses a limit, but neither leaves a dangling pointer.
#[must_use]
struct Limited {
    ceiling: i64,
    former: Option<Arc<Watch>>,
    /// It belongs to the thread.
    not_send: PhantomData<*const ()>,
}

/// Lets the calling thread hold so many bytes more from now on.
fn limit(watch: Arc<Watch>, bytes: u64) -> Limited {
    let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
    let watch = Arc::into_raw(watch);
    THREAD.with(|thread| Limited {
        ceiling: thread.ceiling.replace(thread.held.get().saturating_add(bytes)),
        former: owned(thread.watch.replace(watch)),
        not_send: PhantomData,
    })
}

/// Takes over the watch from a thread's cell.
fn owned(watch: *const Watch) -> Option<Arc<Watch>> {
    // SAFETY: the pointer in a thread's cell came out of `Arc::into_raw`, and the caller has just replaced it there.
    (!watch.is_null()).then(|| unsafe { Arc::from_raw(watch) })
}

impl Drop for Limited {
    fn drop(&mut self) {
        let former = self.former.take().map_or(ptr::null(), Arc::into_raw);
        let own = THREAD.with(|thread| {
            thread.ceiling.set(self.ceiling);
            thread.watch.replace(former)
        });
        drop(owned(own));
    }
}

/// One interpreter's share of its thread's memory, and the limit of the call that runs in it.
///
/// The allocator does not know the owner of a block. The interpreter's share is the thread's growth while the script ran,
/// without its growth on the [host's side](Self::side).
pub(crate) struct Account {
    counts: Cell<bool>,
    /// The thread's bytes before there was an interpreter.
    before: i64,
    /// The thread's growth for the interpreter before counting began.
    uncounted: Cell<i64>,
    /// The interpreter's bytes at the last change of sides.
    heap: Cell<i64>,
    /// The interpreter's bytes when it was loaded.
    loaded: Cell<Option<i64>>,
    /// The thread's bytes at the last change of sides.
    mark: Cell<i64>,
    /// Whether the script's side runs now.
    scripts: Cell<bool>,
    limited: Cell<bool>,
    limit: Cell<Option<Limited>>,
}

impl Account {
    /// Creates the account of an interpreter before it is made.
    pub(crate) fn new() -> Account {
        Account {
            counts: Cell::new(false),
            before: held_bytes(),
            uncounted: Cell::new(0),
            heap: Cell::new(0),
            loaded: Cell::new(None),
            mark: Cell::new(0),
            scripts: Cell::new(false),
            limited: Cell::new(false),
            limit: Cell::new(None),
        }
    }

    /// Counts from now on, if the program's allocator counts; returns whether it does.
    pub(crate) fn open(&self) -> bool {
        self.counts.set(is_counted());
        self.uncounted.set(held_bytes().saturating_sub(self.before));
        self.counts.get()
    }

    #[inline]
    pub(crate) fn counts(&self) -> bool {
        self.counts.get()
    }

    /// Begins a call, in which the thread may grow by `most` less the interpreter's bytes.
    pub(crate) fn begin(&self, watch: &Arc<Watch>, most: u64) {
        // The former limit comes back before the next one replaces it.
        drop(self.limit.take());
        self.settle(most);
        let held = u64::try_from(self.heap.get()).unwrap_or(0);
        self.limit.set(Some(limit(watch.clone(), most.saturating_sub(held))));
        self.limited.set(true);
        self.switch(true);
    }

    /// Ends the call, if there is one.
    #[inline]
    pub(crate) fn end(&self) {
        if self.limited.get() {
            self.close();
        }
    }

    #[cold]
    fn close(&self) {
        self.limited.set(false);
        self.switch(false);
        drop(self.limit.take());
        let Some(least) = self.loaded.get() else { return self.loaded.set(Some(self.heap.get())) };
        // A script seldom frees what it was loaded with, so these were blocks of another interpreter.
        if self.heap.get() < least {
            THREAD.with(|thread| thread.freed.set(thread.freed.get().saturating_add(least - self.heap.get())));
            self.heap.set(least);
        }
    }

    /// Corrects the interpreter's share if little room is left: takes off bytes that other interpreters have freed, and those
    /// beyond the thread's whole growth.
    ///
    /// So blocks that an engine counts as the script's by mistake, and that the host frees, end no script for good.
    fn settle(&self, most: u64) {
        let (heap, least) = (self.heap.get(), self.loaded.get().unwrap_or(0));
        if u64::try_from(heap).unwrap_or(0) > most / 2 {
            THREAD.with(|thread| {
                let freed = thread.freed.get().min(heap.saturating_sub(least)).max(0);
                thread.freed.set(thread.freed.get() - freed);
                let grown = thread.held.get().saturating_sub(self.before);
                self.heap.set((heap - freed).min(grown.max(least)));
            });
        }
    }

    /// Returns the bytes by which the thread may grow, if a call is limited.
    pub(crate) fn room(&self) -> Option<u64> {
        let room = |thread: &Thread| u64::try_from(thread.ceiling.get().saturating_sub(thread.held.get())).unwrap_or(0);
        self.limited.get().then(|| THREAD.with(room))
    }

    /// Sets the side that runs until the result is dropped; growth on the script's side is the interpreter's.
    #[inline]
    pub(crate) fn side(&self, scripts: bool) -> Side<'_> {
        Side(self.counts.get().then(|| (self, self.switch(scripts))))
    }

    fn switch(&self, scripts: bool) -> bool {
        let held = held_bytes();
        if self.scripts.get() {
            let grown = held.saturating_sub(self.mark.get());
            self.heap.set(self.heap.get().saturating_add(grown));
        }
        self.mark.set(held);
        self.scripts.replace(scripts)
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.end();
        // The interpreter is gone. It has freed its own blocks, which leaves no more room to another one.
        let own = self.heap.get().saturating_add(self.uncounted.get()).max(0);
        THREAD.with(|thread| thread.freed.set(thread.freed.get().saturating_sub(own).max(0)));
    }
}

/// A guard for the side that runs; see [`Account::side`].
#[must_use]
pub(crate) struct Side<'a>(Option<(&'a Account, bool)>);

impl Drop for Side<'_> {
    #[inline]
    fn drop(&mut self) {
        if let Some((account, scripts)) = self.0 {
            account.switch(scripts);
        }
    }
}

/// Runs a closure without a limit; blocks that it leaves behind count afterwards.
pub(crate) fn without_limit<R>(run: impl FnOnce() -> R) -> R {
    struct Back(i64);
    impl Drop for Back {
        fn drop(&mut self) {
            THREAD.with(|thread| thread.ceiling.set(self.0));
        }
    }
    let _back = Back(THREAD.with(|thread| thread.ceiling.replace(i64::MAX)));
    run()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limit;
    use crate::registry::Registry;

    fn watch(name: &str) -> Arc<Watch> {
        let registry = Registry::<()>::builder().root("app").build().unwrap();
        let watch = Watch::new(name, registry.data().clone());
        watch.begin(0);
        watch
    }

    fn room() -> i64 {
        THREAD.with(|thread| thread.ceiling.get().saturating_sub(thread.held.get()))
    }

    /// Allocates so much, or frees it where it is negative.
    fn grow(bytes: i64) {
        let size = usize::try_from(bytes.unsigned_abs()).unwrap();
        count(&0u8, if bytes > 0 { size } else { 0 }, if bytes < 0 { size } else { 0 });
    }

    fn exceeded(watch: &Watch) -> bool {
        watch.expired() && watch.reason() == Limit::Memory
    }

    fn counting() -> Account {
        let account = Account::new();
        account.counts.set(true);
        account
    }

    #[test]
    fn what_goes_over_the_limit_is_told_to_the_innermost_call() {
        let (outer, inner) = (watch("outer"), watch("inner"));
        let told = || [&outer, &inner].map(|watch| watch.reason() == Limit::Memory);
        let (none, former) = (limit(outer.clone(), 1000), limit(inner.clone(), 100));
        assert_eq!(room(), 100);
        grow(100);
        count(ptr::null(), 1000, 0);
        assert_eq!(told(), [false, false]);
        without_limit(|| grow(10));
        grow(-5);
        assert_eq!(told(), [false, false], "only what grows is stopped");
        grow(1);
        assert_eq!((told(), room()), ([false, true], AGAIN));
        drop(former);
        assert_eq!(room(), 894);
        grow(900);
        assert_eq!(told(), [true, true]);
        drop(none);
        grow(-1006);
        assert_eq!(held_bytes(), 0);
    }

    #[test]
    fn a_limit_that_is_forgotten_or_ends_too_early_refers_to_nothing_that_is_gone() {
        let (outer, inner) = (watch("outer"), watch("inner"));
        let weak = [&outer, &inner].map(Arc::downgrade);
        let (first, second) = (limit(outer, 1000), limit(inner, 100));
        drop(first);
        assert!(weak[1].upgrade().is_none(), "the thread had it");
        grow(200);
        drop(second);
        assert!(weak[0].upgrade().is_some(), "the thread has it, out of order");
        grow(2000);
        let last = watch("last");
        let kept = Arc::downgrade(&last);
        std::mem::forget(limit(last, 10));
        grow(1 << 30);
        assert!(kept.upgrade().is_some_and(|watch| exceeded(&watch)));
    }

    #[test]
    fn what_the_host_frees_does_not_count_and_what_the_script_leaks_does() {
        const LIMIT: u64 = 1000;
        let (account, watch) = (counting(), watch("test"));
        account.begin(&watch, LIMIT);
        grow(50);
        account.end();
        for _ in 0..100 {
            account.begin(&watch, LIMIT);
            assert_eq!(account.room(), Some(950));
            grow(100);
            {
                let _host = account.side(false);
                grow(300);
                let _nested = account.side(true);
                grow(20);
                grow(-20);
            }
            grow(-100);
            account.end();
            grow(-300);
        }
        for _ in 0..19 {
            account.begin(&watch, LIMIT);
            grow(50);
            account.end();
        }
        assert!(!exceeded(&watch));
        account.begin(&watch, LIMIT);
        assert_eq!(account.room(), Some(0));
        grow(1);
        assert!(exceeded(&watch));
    }

    #[test]
    fn what_another_interpreter_has_collected_is_taken_off_when_room_is_short() {
        const LIMIT: u64 = 1000;
        let (first, second, watch) = (counting(), counting(), watch("test"));
        let call = |account: &Account, bytes| {
            account.begin(&watch, LIMIT);
            grow(bytes);
            account.end();
        };
        call(&first, 100);
        call(&second, 100);
        call(&first, 700);
        call(&second, -700);
        first.begin(&watch, LIMIT);
        assert_eq!(first.room(), Some(900));
        first.end();
        second.begin(&watch, LIMIT);
        assert_eq!(second.room(), Some(900), "its own is not taken off");
    }

    #[test]
    fn an_interpreter_that_goes_frees_nothing_of_the_others() {
        let (account, watch) = (counting(), watch("test"));
        account.uncounted.set(50);
        for bytes in [100, -150] {
            account.begin(&watch, 1000);
            grow(bytes);
            account.end();
        }
        drop(account);
        assert_eq!(THREAD.with(|thread| thread.freed.get()), 0);
    }

    #[test]
    fn an_interpreter_never_holds_more_than_its_thread_has_grown_by() {
        let (account, watch) = (counting(), watch("test"));
        for _ in 0..100 {
            account.begin(&watch, 1000);
            grow(100);
            account.end();
            grow(-100);
        }
        account.begin(&watch, 1000);
        assert!(!exceeded(&watch));
        assert!(account.room() >= Some(500));
        grow(2000);
        assert!(exceeded(&watch));
    }
}
