//! The memory that an instance may hold: Python's large blocks and the arenas of its small ones are counted per thread.
//!
//! Python takes small objects from arenas, so hooks of the arenas and of the raw blocks see all of them and cost small
//! objects nothing.

use std::cell::Cell;
use std::ffi::c_void;
use std::mem::ManuallyDrop;
use std::ptr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};

use kemi_core::telemetry::log_guarded;
use pyo3::ffi::{self, PyMemAllocatorDomain, PyMemAllocatorEx, PyObjectArenaAllocator};
use pyo3::prelude::*;

use crate::interrupt::Interrupt;

/// Blocks of up to this size are still given for a while when the limit is reached, so that ending the call, which
/// takes some too, does not fail.
const MAX_GRACE_BLOCK: usize = 1 << 20;

struct Account {
    used: Cell<i64>,
    limit: Cell<i64>,
    /// From an `Arc` of the instance whose call runs; null where there is no limit.
    interrupt: Cell<*const Interrupt>,
}

thread_local! {
    static ACCOUNT: Account =
        const { Account { used: Cell::new(0), limit: Cell::new(i64::MAX), interrupt: Cell::new(ptr::null()) } };
}

/// The bytes freed by others than the instances that they were counted for.
///
/// Garbage is collected by whichever thread comes to it, and arenas are given back by whoever frees the last block.
static FREED_ELSEWHERE: AtomicI64 = AtomicI64::new(0);

/// The number of bytes freed outside of all calls from which on a thread reports them.
const REPORTED_FROM: i64 = 1 << 20;

/// The memory that an instance holds, as far as its calls and its loading have made its thread hold more.
#[derive(Default)]
pub(crate) struct HeldMemory {
    held: Cell<i64>,
    /// The value when the instance was loaded: it seldom falls below.
    loaded: Cell<i64>,
    /// The value after garbage was collected last.
    collected: Cell<i64>,
}

impl HeldMemory {
    /// Notes that the script is loaded.
    pub(crate) fn is_loaded(&self) {
        self.loaded.set(self.held.get());
    }

    /// Returns how much more it may hold; 0 for `limit` is no limit.
    #[inline]
    pub(crate) fn room(&self, limit: u64) -> i64 {
        if limit == 0 {
            return i64::MAX;
        }
        i64::try_from(limit).unwrap_or(i64::MAX).saturating_sub(self.held.get()).max(0)
    }

    /// Returns whether more is held than there is [`room`](Self::room) for: garbage may have to be collected.
    #[inline]
    pub(crate) fn is_more_than(&self, room: i64) -> bool {
        room < self.held.get()
    }

    /// Takes off what others have freed, and runs `collect` if garbage may be among the rest.
    ///
    /// For the beginning of an outermost call.
    #[cold]
    pub(crate) fn collect_garbage(&self, limit: u64, collect: impl FnOnce()) {
        let spare = self.held.get().saturating_sub(self.loaded.get()).max(0);
        let mut taken = 0;
        let _ = FREED_ELSEWHERE.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |freed| {
            taken = freed.min(spare).max(0);
            Some(freed - taken)
        });
        self.held.set(self.held.get() - taken);
        ACCOUNT.with(|account| account.limit.set(self.room(limit)));
        // Not again before it has grown by a part of what it may hold.
        let step = i64::try_from(limit / 16).unwrap_or(i64::MAX);
        self.collected.set(self.collected.get().min(self.held.get()));
        if self.is_more_than(self.room(limit)) && self.held.get() >= self.collected.get().saturating_add(step) {
            collect();
            let freed = ACCOUNT.with(|account| account.used.get());
            self.collected.set(self.held.get().saturating_add(freed));
        }
    }

    /// Ends an outermost call, by which the thread has grown.
    #[inline]
    fn grow(&self, by: i64) {
        if by != 0 {
            self.change(by);
        }
    }

    #[cold]
    fn change(&self, by: i64) {
        let held = self.held.get().saturating_add(by);
        let least = self.loaded.get().min(self.held.get());
        if held < least {
            FREED_ELSEWHERE.fetch_add(least - held, Ordering::Relaxed);
        }
        self.held.set(held.max(least));
    }
}

/// Surrounds a call into a script with an account of its own.
pub(crate) struct AccountScope<'a> {
    /// The owner of the account; without one, its sum counts for the outer call.
    held_memory: Option<&'a HeldMemory>,
    used: i64,
    limit: i64,
    interrupt: *const Interrupt,
}

impl<'a> AccountScope<'a> {
    /// Begins an outermost call of an instance, with so much [`room`](HeldMemory::room).
    ///
    /// The caller keeps the `Arc` until the result is dropped.
    #[inline]
    pub(crate) fn of(held_memory: &'a HeldMemory, room: i64, interrupt: &Arc<Interrupt>) -> AccountScope<'a> {
        let mut scope = AccountScope::begin(Some(held_memory), room, Arc::as_ptr(interrupt));
        if scope.used < 0 && scope.interrupt.is_null() {
            FREED_ELSEWHERE.fetch_add(scope.used.saturating_neg(), Ordering::Relaxed);
            scope.used = 0;
        }
        scope
    }

    /// Begins a call within another of the same instance that something else stands between.
    pub(crate) fn within(held_memory: &'a HeldMemory, limit: u64, interrupt: &Arc<Interrupt>) -> AccountScope<'a> {
        AccountScope::begin(None, held_memory.room(limit), Arc::as_ptr(interrupt))
    }

    /// Begins something that has no limit.
    pub(crate) fn unlimited() -> AccountScope<'a> {
        AccountScope::begin(None, i64::MAX, ptr::null())
    }

    #[inline]
    fn begin(held_memory: Option<&'a HeldMemory>, limit: i64, interrupt: *const Interrupt) -> AccountScope<'a> {
        ACCOUNT.with(|account| AccountScope {
            held_memory,
            used: account.used.replace(0),
            limit: account.limit.replace(limit),
            interrupt: account.interrupt.replace(interrupt),
        })
    }
}

impl Drop for AccountScope<'_> {
    #[inline]
    fn drop(&mut self) {
        ACCOUNT.with(|account| {
            let used = account.used.get();
            account.used.set(match self.held_memory {
                Some(held_memory) => {
                    held_memory.grow(used);
                    self.used
                }
                None => self.used.saturating_add(used),
            });
            account.limit.set(self.limit);
            account.interrupt.set(self.interrupt);
        });
    }
}

/// Lifts the limit for the rest of the call: it is being ended, and that must not fail for want of memory.
pub(crate) fn lift_limit() {
    ACCOUNT.with(|account| account.limit.set(i64::MAX));
}

/// Returns whether a block may grow by so much.
#[inline]
fn allow(growth: usize) -> bool {
    ACCOUNT.with(|account| {
        let wanted = account.used.get().saturating_add(i64::try_from(growth).unwrap_or(i64::MAX));
        wanted <= account.limit.get() || over_limit(account, growth, wanted)
    })
}

#[cold]
fn over_limit(account: &Account, growth: usize, wanted: i64) -> bool {
    let interrupt = account.interrupt.get();
    if interrupt.is_null() {
        return true;
    }
    // SAFETY: the pointer comes from an `Arc` that is kept while it is set, see `AccountScope::begin`; this one borrows it.
    let interrupt = ManuallyDrop::new(unsafe { Arc::from_raw(interrupt) });
    interrupt.refuse_memory();
    let limit = account.limit.get();
    growth <= MAX_GRACE_BLOCK && wanted <= limit.saturating_add(limit / 8).saturating_add(1 << 20)
}

fn count(change: i64) {
    ACCOUNT.with(|account| {
        let used = account.used.get().saturating_add(change);
        if used < -REPORTED_FROM && account.interrupt.get().is_null() {
            FREED_ELSEWHERE.fetch_add(used.saturating_neg(), Ordering::Relaxed);
            return account.used.set(0);
        }
        account.used.set(used);
    });
}

/// Python's own allocators, which the hooks pass on to.
struct Originals {
    raw: PyMemAllocatorEx,
    arena: PyObjectArenaAllocator,
}

// SAFETY: the functions may be called by any thread, with the pointer that belongs to them.
unsafe impl Send for Originals {}
// SAFETY: as above; nothing in it changes.
unsafe impl Sync for Originals {}

static ORIGINALS: OnceLock<Originals> = OnceLock::new();

/// Sets the hooks, once per process; where that is not possible says so in the log.
pub(crate) fn install(py: Python<'_>) {
    static INSTALLED: OnceLock<()> = OnceLock::new();
    INSTALLED.get_or_init(|| match unsupported(py) {
        None => set(),
        Some(why) => {
            log_guarded(|| {
                tracing::warn!(target: "kemi", engine = "python", "max_memory has no effect on Python scripts: {why}");
            });
        }
    });
}

/// Returns the reason why the sizes of blocks are unknown, if they are.
fn unsupported(py: Python<'_>) -> Option<&'static str> {
    let sys = py.import("sys").ok()?;
    let free_threaded = sys.getattr("abiflags").is_ok_and(|flags| flags.contains("t").unwrap_or(false));
    if !cfg!(target_os = "linux") || free_threaded {
        return Some("this platform or build of Python is not supported");
    }
    let debug = sys.hasattr("gettotalrefcount").unwrap_or(false);
    let flags = sys.getattr("flags").ok()?;
    let dev = flags.getattr("dev_mode").and_then(|dev| dev.is_truthy()).unwrap_or(false);
    let ignored = flags.getattr("ignore_environment").and_then(|flag| flag.is_truthy()).unwrap_or(false);
    let chosen = std::env::var_os("PYTHONMALLOC").filter(|name| !ignored && !name.is_empty() && name != "pymalloc");
    // These put an allocator of their own between the blocks and Python.
    (debug || dev || chosen.is_some()).then_some("PYTHONMALLOC, development mode or a debug build is in use")
}

fn set() {
    let mut raw = PyMemAllocatorEx { ctx: ptr::null_mut(), malloc: None, calloc: None, realloc: None, free: None };
    let mut arena = PyObjectArenaAllocator { ctx: ptr::null_mut(), alloc: None, free: None };
    // SAFETY: the thread is attached; both are filled in.
    unsafe {
        ffi::PyMem_GetAllocator(PyMemAllocatorDomain::PYMEM_DOMAIN_RAW, &raw mut raw);
        ffi::PyObject_GetArenaAllocator(&raw mut arena);
    }
    if ORIGINALS.set(Originals { raw, arena }).is_err() {
        return;
    }
    let mut raw = PyMemAllocatorEx {
        ctx: ptr::null_mut(),
        malloc: Some(raw_malloc),
        calloc: Some(raw_calloc),
        realloc: Some(raw_realloc),
        free: Some(raw_free),
    };
    let mut arena = PyObjectArenaAllocator { ctx: ptr::null_mut(), alloc: Some(arena_alloc), free: Some(arena_free) };
    // SAFETY: the thread is attached. The hooks take and give the same blocks as the originals, whose own context they
    // pass, so it does not matter which of the two a thread finds that allocates meanwhile.
    unsafe {
        ffi::PyMem_SetAllocator(PyMemAllocatorDomain::PYMEM_DOMAIN_RAW, &raw mut raw);
        ffi::PyObject_SetArenaAllocator(&raw mut arena);
    }
}

/// Returns how large a block of the raw domain is; 0 for null.
#[cfg(target_os = "linux")]
fn size_of(block: *mut c_void) -> usize {
    unsafe extern "C" {
        fn malloc_usable_size(block: *mut c_void) -> usize;
    }
    // SAFETY: the raw domain takes its blocks from `malloc`, see `unsupported`; null is allowed.
    unsafe { malloc_usable_size(block) }
}

#[cfg(not(target_os = "linux"))]
fn size_of(_block: *mut c_void) -> usize {
    0
}

fn signed(size: usize) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

extern "C" fn raw_malloc(_: *mut c_void, size: usize) -> *mut c_void {
    let Some((raw, malloc)) = ORIGINALS.get().and_then(|o| Some((&o.raw, o.raw.malloc?))) else {
        return ptr::null_mut();
    };
    if !allow(size) {
        return ptr::null_mut();
    }
    let block = malloc(raw.ctx, size);
    count(signed(size_of(block)));
    block
}

extern "C" fn raw_calloc(_: *mut c_void, count_of: usize, size: usize) -> *mut c_void {
    let Some((raw, calloc)) = ORIGINALS.get().and_then(|o| Some((&o.raw, o.raw.calloc?))) else {
        return ptr::null_mut();
    };
    if !allow(count_of.saturating_mul(size)) {
        return ptr::null_mut();
    }
    let block = calloc(raw.ctx, count_of, size);
    count(signed(size_of(block)));
    block
}

extern "C" fn raw_realloc(_: *mut c_void, block: *mut c_void, size: usize) -> *mut c_void {
    let Some((raw, realloc)) = ORIGINALS.get().and_then(|o| Some((&o.raw, o.raw.realloc?))) else {
        return ptr::null_mut();
    };
    let before = size_of(block);
    if size > before && !allow(size - before) {
        return ptr::null_mut();
    }
    let moved = realloc(raw.ctx, block, size);
    if !moved.is_null() {
        count(signed(size_of(moved)).saturating_sub(signed(before)));
    }
    moved
}

extern "C" fn raw_free(_: *mut c_void, block: *mut c_void) {
    if let Some((raw, free)) = ORIGINALS.get().and_then(|o| Some((&o.raw, o.raw.free?))) {
        count(signed(size_of(block)).saturating_neg());
        free(raw.ctx, block);
    }
}

extern "C" fn arena_alloc(_: *mut c_void, size: usize) -> *mut c_void {
    let Some((arena, alloc)) = ORIGINALS.get().and_then(|o| Some((&o.arena, o.arena.alloc?))) else {
        return ptr::null_mut();
    };
    if !allow(size) {
        return ptr::null_mut();
    }
    let block = alloc(arena.ctx, size);
    if !block.is_null() {
        count(signed(size));
    }
    block
}

extern "C" fn arena_free(_: *mut c_void, block: *mut c_void, size: usize) {
    if let Some((arena, free)) = ORIGINALS.get().and_then(|o| Some((&o.arena, o.arena.free?))) {
        count(signed(size).saturating_neg());
        free(arena.ctx, block, size);
    }
}
