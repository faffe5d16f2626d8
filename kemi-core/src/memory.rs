//! How much memory a thread holds: an allocator that counts, and the limit of the call that runs.
//!
//! For interpreters that live on Rust's own allocator and cannot count by themselves.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ptr;

use crate::interrupt;
use crate::watch::Watch;

/// By how much more the thread may grow until a call that has used up its memory is stopped again, in bytes.
const AGAIN: i64 = 1 << 20;

/// An allocator that counts for each thread what it holds, so that [`Limits::max_memory`](crate::Limits::max_memory) can
/// hold for engines that cannot count by themselves.
///
/// The host installs it, around the allocator that it would use otherwise; it costs about a nanosecond an allocation.
///
/// ```
/// use kemi_core::CountingAllocator;
///
/// #[global_allocator]
/// static ALLOCATOR: CountingAllocator = CountingAllocator::system();
///
/// let before = kemi_core::held_bytes();
/// let text = String::from("counted");
/// assert_eq!(kemi_core::held_bytes() - before, 7);
/// # drop(text);
/// ```
#[derive(Debug, Default)]
pub struct CountingAllocator<A = System>(A);

impl CountingAllocator {
    /// Counts what is allocated by the system's allocator.
    #[must_use]
    pub const fn system() -> CountingAllocator {
        CountingAllocator(System)
    }
}

impl<A> CountingAllocator<A> {
    /// Counts what another allocator allocates.
    pub const fn new(inner: A) -> CountingAllocator<A> {
        CountingAllocator(inner)
    }
}

// SAFETY: all is passed on to an allocator unchanged, and what is done besides neither allocates nor unwinds.
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

/// What one thread holds and may hold. Without a destructor it can be used as long as the thread allocates.
struct Thread {
    /// What the thread has allocated and not freed; less than nothing if it frees what others have allocated.
    held: Cell<i64>,
    /// What it may hold before the call that runs is stopped.
    ceiling: Cell<i64>,
    /// That call's; null while the memory of none is limited.
    watch: Cell<*const Watch>,
}

thread_local! {
    static THREAD: Thread =
        const { Thread { held: Cell::new(0), ceiling: Cell::new(i64::MAX), watch: Cell::new(ptr::null()) } };
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
    // SAFETY: `limit` was given a watch that lives until `restore`.
    if let Some(watch) = unsafe { thread.watch.get().as_ref() } {
        watch.exceed_memory();
        interrupt::wake();
    }
}

/// Returns how many bytes the calling thread has allocated and not freed, net of what it has freed for others; always 0
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

/// What was limited before; see [`limit`].
#[derive(Clone, Copy)]
pub(crate) struct Former {
    /// What the thread held when the new limit began.
    held: i64,
    ceiling: i64,
    watch: *const Watch,
}

/// Lets the thread hold so many bytes more from now on, until [`restore`].
///
/// # Safety
/// The watch lives until then, and what began later ends earlier.
pub(crate) unsafe fn limit(watch: *const Watch, bytes: u64) -> Former {
    let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
    THREAD.with(|thread| Former {
        held: thread.held.get(),
        ceiling: thread.ceiling.replace(thread.held.get().saturating_add(bytes)),
        watch: thread.watch.replace(watch),
    })
}

/// Puts back what was limited before; returns how many bytes more the thread holds than then.
pub(crate) fn restore(former: Former) -> i64 {
    THREAD.with(|thread| {
        thread.watch.set(former.watch);
        thread.ceiling.set(former.ceiling);
        thread.held.get().saturating_sub(former.held)
    })
}

/// Runs something without a limit; what it leaves behind counts afterwards.
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

/// Returns how many bytes the thread may hold more.
pub(crate) fn room() -> u64 {
    THREAD.with(|thread| u64::try_from(thread.ceiling.get().saturating_sub(thread.held.get())).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limit;
    use crate::registry::Registry;

    #[test]
    fn what_goes_over_the_limit_is_told_to_the_innermost_call() {
        let registry = Registry::<()>::builder().build().unwrap();
        let watch = |name| Watch::new(name, registry.data().clone());
        let (outer, inner) = (watch("outer"), watch("inner"));
        outer.begin(0);
        inner.begin(0);
        let told = || [&outer, &inner].map(|watch| watch.reason() == Limit::Memory);
        let block = 0u8;
        // SAFETY: both live until the end, and `inner` ends first.
        let (none, former) = unsafe { (limit(&raw const *outer, 1000), limit(&raw const *inner, 100)) };
        assert_eq!(room(), 100);
        count(&block, 100, 0);
        count(ptr::null(), 1000, 0);
        assert_eq!(told(), [false, false]);
        without_limit(|| count(&block, 10, 0));
        count(&block, 0, 5);
        assert_eq!(told(), [false, false], "only what grows is stopped");
        count(&block, 1, 0);
        assert_eq!((told(), room()), ([false, true], AGAIN as u64));
        assert_eq!(restore(former), 106);
        assert_eq!(room(), 894);
        count(&block, 900, 0);
        assert_eq!(told(), [true, true]);
        assert_eq!(restore(none), 1006);
        count(&block, 0, 1006);
        assert_eq!(held_bytes(), 0);
    }
}
