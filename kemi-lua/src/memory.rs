//! The limits on memory and depth: an allocator around the state's own that counts.
//!
//! A block that goes over the limit by little is granted, and the script is checked before its next instruction: there a
//! full collection may still save it, and there the line is known. A block that goes over it by more is refused, which is
//! Lua's own error; if the script catches that one, the check ends it all the same.
//!
//! Lua does not tell for free how deep functions have called each other. But a stack grows by doubling, so the script is
//! checked as well whenever a block has grown that may be a stack. Left to itself Lua goes 200,000 calls deep, which takes
//! a tenth of a second, and as long again for each hook that is set on so many.

use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::ptr;
use std::rc::Rc;

use kemi_core::Location;
use kemi_core::engine::Runtime;
use kemi_core::limits::Limit;

use crate::ffi::{self, LuaThread};
use crate::frames;
use crate::threads::Threads;

/// The largest block that may go over the limit at first.
const SMALL: usize = 64 << 10;

/// The largest size of a Lua stack, with some room: a million slots and what errors need.
const LARGEST_STACK: usize = 1_001_000 * 16;

/// The most that all blocks granted before the next check may go over the limit.
const SLACK: usize = LARGEST_STACK + SMALL;

/// The room for errors and closers when a call ends because of memory.
const RESERVE: usize = 64 << 10;

/// The least that a call of a Lua function takes of a stack: the function and two registers.
const SMALLEST_FRAME: usize = 3 * 16;

/// The factor by which calls may be deeper than `max_depth`: they take none of the thread's stack.
const DEEPER: usize = 64;

/// The memory of one state: what it uses, and what it may use.
pub(crate) struct Memory {
    runtime: Rc<Runtime>,
    /// The threads of the state; null until the allocator is installed.
    threads: Cell<*const Threads>,
    limit: usize,
    used: Cell<usize>,
    /// Whether something was granted over the limit since the last check.
    over: Cell<bool>,
    /// The block refused since the last check, if no collection has made room for it.
    refused: Cell<Option<Refused>>,
    place: Cell<Option<Location>>,
    /// The most calls that a script may be deep; the largest number for no limit.
    depth: usize,
    /// The least size of the stack of a script that is deeper.
    deep: usize,
    /// Whether a block that may be a stack has grown beyond that since the last check.
    grown: Cell<bool>,
    /// Whether the host itself is at work, to which nothing is refused.
    unlimited: Cell<bool>,
    state_own: Cell<Option<(ffi::lua_Alloc, *mut c_void)>>,
}

#[derive(Clone, Copy, PartialEq)]
struct Refused {
    block: *mut c_void,
    size: usize,
}

impl Memory {
    /// Takes the limits of the runtime.
    pub(crate) fn new(runtime: Rc<Runtime>) -> Memory {
        let limits = *runtime.registry().limits();
        let (bytes, depth) = (limits.max_memory, limits.max_depth);
        // LuaJIT calls no hook in compiled code, and its stack is small.
        let limited = depth != 0 && !cfg!(luajit);
        let depth = if limited { (depth as usize).saturating_mul(DEEPER) } else { usize::MAX };
        Memory {
            runtime,
            threads: Cell::new(ptr::null()),
            limit: if bytes == 0 { usize::MAX } else { usize::try_from(bytes).unwrap_or(usize::MAX) },
            depth,
            deep: depth.saturating_mul(SMALLEST_FRAME),
            grown: Cell::new(false),
            used: Cell::new(0),
            over: Cell::new(false),
            refused: Cell::new(None),
            place: Cell::new(None),
            unlimited: Cell::new(false),
            state_own: Cell::new(None),
        }
    }

    /// Puts the counting allocator around the state's own, if there is a limit.
    ///
    /// The state's own goes on to do the work: LuaJIT's values have room for certain addresses only, which its own
    /// allocator looks for.
    ///
    /// # Safety
    /// Neither `self` nor the threads, which are this state's, move before [`remove`](Self::remove); nothing runs in the
    /// state.
    pub(crate) unsafe fn install(&self, threads: &Threads, l: LuaThread) {
        self.threads.set(threads);
        if self.limit == usize::MAX && self.deep == usize::MAX {
            return;
        }
        // SAFETY: none of these calls raises; the memory outlives the allocator, which `remove` takes away.
        unsafe {
            self.used.set(held(l));
            let mut data = ptr::null_mut();
            let own = ffi::lua_getallocf(l, &raw mut data);
            self.state_own.set(Some((own, data)));
            ffi::lua_setallocf(l, allocate, ptr::from_ref(self).cast_mut().cast());
        }
    }

    /// Gives the state its own allocator back; it must be closed with that, since LuaJIT's frees its arena only then.
    ///
    /// # Safety
    /// The state is about to be closed.
    pub(crate) unsafe fn remove(&self, l: LuaThread) {
        if let Some((own, data)) = self.state_own.get() {
            // SAFETY: all blocks were made by this allocator.
            unsafe { ffi::lua_setallocf(l, own, data) };
        }
    }

    fn threads(&self) -> Option<&Threads> {
        // SAFETY: null, or the threads that `install` got, which outlive the allocator.
        unsafe { self.threads.get().as_ref() }
    }

    fn request_check(&self) {
        if let Some(threads) = self.threads() {
            threads.request_check();
        }
    }

    /// Decides about a block that goes over the limit.
    #[cold]
    fn grants(&self, block: *mut c_void, size: usize, after: usize) -> bool {
        if self.unlimited.get() {
            return true;
        }
        // A stack that is being moved cannot be read, so a block that may be one is granted: the check knows the place.
        let may_be_stack = !block.is_null() && size <= LARGEST_STACK;
        let reserve = if self.runtime.limit_hit() == Some(Limit::Memory) { RESERVE } else { 0 };
        let granted = (may_be_stack || size <= SMALL) && after <= self.limit.saturating_add(SLACK + reserve);
        if granted {
            if self.over.replace(true) {
                return true;
            }
        } else {
            self.refused.set(Some(Refused { block, size }));
            if !may_be_stack && let Some(l) = self.readable_thread() {
                self.place.set(frames::place(l));
            }
        }
        self.request_check();
        granted
    }

    /// Returns the thread that runs, if its frames can be read wherever it allocates; compiled code keeps none.
    fn readable_thread(&self) -> Option<LuaThread> {
        let threads = self.threads()?;
        #[cfg(luajit)]
        if threads.is_compiled() {
            return None;
        }
        Some(threads.running())
    }

    /// Counts bytes that a value of the state holds elsewhere, which are there already: at most the call ends.
    pub(crate) fn charge(&self, size: usize) {
        if self.state_own.get().is_none() {
            return;
        }
        let after = self.used.get().saturating_add(size);
        self.used.set(after);
        if after > self.limit && !self.unlimited.get() && !self.over.replace(true) {
            self.request_check();
        }
    }

    /// Takes back what [`charge`](Self::charge) has counted.
    pub(crate) fn discharge(&self, size: usize) {
        if self.state_own.get().is_some() {
            self.used.set(self.used.get().saturating_sub(size));
        }
    }

    /// Runs what the host does between two callbacks; the next one is not checked for it.
    pub(crate) fn unlimited<R>(&self, run: impl FnOnce() -> R) -> R {
        self.unlimited.set(true);
        let result = run();
        self.unlimited.set(false);
        result
    }

    /// Tells whether something went over the limit since the last check.
    #[inline]
    pub(crate) fn needs_check(&self) -> bool {
        self.over.get() || self.refused.get().is_some()
    }

    /// Checks whether the script holds too much, and tells the runtime.
    ///
    /// # Safety
    /// The call is protected.
    pub(crate) unsafe fn check(&self, l: LuaThread) {
        if !self.needs_check() {
            return;
        }
        let refused = self.refused.get().is_some();
        if !refused {
            // SAFETY: as the caller's.
            unsafe { collect_garbage(l) };
        }
        if refused || self.used.get() > self.limit {
            let current = || frames::place(self.threads()?.current());
            self.runtime.hit_limit(Limit::Memory, self.place.take().or_else(current));
        }
        self.reset();
    }

    /// Returns whether functions have called each other deeper than they may, if that may be since the last check.
    ///
    /// # Safety
    /// The thread is alive.
    pub(crate) unsafe fn is_too_deep(&self, l: LuaThread) -> bool {
        if !self.grown.take() {
            return false;
        }
        let Ok(most) = c_int::try_from(self.depth) else { return false };
        // SAFETY: as the caller's.
        unsafe { frames::has_level(l, most) }
    }

    /// Tells the runtime of a refused block when it came out of the script as an error.
    pub(crate) fn report_refused(&self, place: Option<Location>) {
        if self.refused.get().is_some() {
            self.runtime.hit_limit(Limit::Memory, self.place.take().or(place));
            self.reset();
        }
    }

    /// Ends a top-level call: collects its garbage if it has used too much.
    #[inline]
    pub(crate) fn end_call(&self, l: LuaThread) {
        if !(self.needs_check() || self.runtime.limit_hit().is_some()) {
            return;
        }
        if self.over.get() || self.runtime.limit_hit() == Some(Limit::Memory) {
            // SAFETY: protected; the closure owns nothing. What a finalizer raises does not matter any more.
            let _ = ffi::protected(l, |l| unsafe { collect_garbage(l) });
        }
        self.reset();
    }

    fn reset(&self) {
        self.over.set(false);
        self.refused.set(None);
        self.place.set(None);
    }
}

/// Returns how many bytes a state uses.
///
/// # Safety
/// The state is alive.
unsafe fn held(l: LuaThread) -> usize {
    #[cfg(not(luajit))]
    // SAFETY: it only reads counters.
    let (kilobytes, bytes) = unsafe { (ffi::lua_gc(l, ffi::LUA_GCCOUNT), ffi::lua_gc(l, ffi::LUA_GCCOUNTB)) };
    #[cfg(luajit)]
    // SAFETY: it only reads counters.
    let (kilobytes, bytes) = unsafe { (ffi::lua_gc(l, ffi::LUA_GCCOUNT, 0), ffi::lua_gc(l, ffi::LUA_GCCOUNTB, 0)) };
    usize::try_from(kilobytes).unwrap_or(0) * 1024 + usize::try_from(bytes).unwrap_or(0)
}

/// The allocator. It may not raise, and nothing in it may call into the state but to set a hook or to read frames.
unsafe extern "C" fn allocate(memory: *mut c_void, block: *mut c_void, old: usize, size: usize) -> *mut c_void {
    // SAFETY: set with the memory, which outlives the allocator.
    let memory = unsafe { &*memory.cast_const().cast::<Memory>() };
    // For a new block it is what the block is for.
    let old = if block.is_null() { 0 } else { old };
    let after = memory.used.get().saturating_sub(old).saturating_add(size);
    if size > old && after > memory.limit && !memory.grants(block, size, after) {
        return ptr::null_mut();
    }
    let Some((own, data)) = memory.state_own.get() else { return ptr::null_mut() };
    // SAFETY: the state's own allocator with what Lua passes.
    let result = unsafe { own(data, block, old, size) };
    if size > old && size >= memory.deep && !block.is_null() && !memory.unlimited.get() {
        memory.grown.set(true);
        memory.request_check();
    }
    if size == 0 || !result.is_null() {
        memory.used.set(after);
        if size > old && memory.refused.get() == Some(Refused { block, size }) {
            // Lua has collected its garbage and tried again.
            memory.refused.set(None);
        }
    }
    result
}

/// Runs a full collection.
///
/// # Safety
/// The call is protected: finalizers run.
unsafe fn collect_garbage(l: LuaThread) {
    // SAFETY: as the caller's.
    unsafe {
        #[cfg(not(luajit))]
        ffi::lua_gc(l, ffi::LUA_GCCOLLECT);
        #[cfg(luajit)]
        ffi::lua_gc(l, ffi::LUA_GCCOLLECT, 0);
    }
}
