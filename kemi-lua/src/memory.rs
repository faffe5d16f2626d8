//! The limits on memory and depth: an allocator around the state's own that counts.
//!
//! What goes over the limit by little is granted, and the script is looked at before its next instruction: there a full
//! collection may still save it, and there the line is known. What goes over it by more is refused, which is Lua's
//! own error; if the script catches that one, the look ends it all the same.
//!
//! How deep functions have called each other nothing tells for free. But a stack grows by doubling, so whenever a block has
//! grown that may be one, the script is looked at as well, and then its depth is. Left to itself Lua goes 200,000 calls deep,
//! which takes a tenth of a second, and as long again for each time that a hook is set on so many.

use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::ptr;

use crate::ffi;
use kemi_core::{Limit, Place};

use crate::interpreter::{Core, protected};
use crate::terminate;
use crate::value::State;

/// The largest block that may go over the limit at first.
const SMALL: usize = 64 << 10;

/// How large a stack of Lua's can become, with some room: a million slots and what errors need.
const LARGEST_STACK: usize = 1_001_000 * 16;

/// How far all that is granted before the next look may go over the limit.
const SLACK: usize = LARGEST_STACK + SMALL;

/// What there is more for errors and closers when a call ends because of memory.
const RESERVE: usize = 64 << 10;

/// The least that a call of a Lua function takes of a stack: the function and two registers.
const SMALLEST_FRAME: usize = 3 * 16;

/// How many times `max_depth` calls may be deep: they take none of the thread's stack.
const DEEPER: usize = 64;

/// What one state holds.
pub(crate) struct Memory {
    limit: usize,
    used: Cell<usize>,
    /// Whether something was granted over the limit since the last look.
    over: Cell<bool>,
    /// What was refused since the last look, if no collection has made room for it.
    refused: Cell<Option<Refused>>,
    place: Cell<Option<Place>>,
    /// How many calls deep a script may be; the largest number for no limit.
    depth: usize,
    /// How large its stack is at least when it is deeper.
    deep: usize,
    /// Whether a block that may be a stack has grown beyond that since the last look.
    grown: Cell<bool>,
    /// Whether the host itself is at work, to which nothing is refused.
    hosts: Cell<bool>,
    state_own: Cell<Option<(ffi::lua_Alloc, *mut c_void)>>,
}

#[derive(Clone, Copy, PartialEq)]
struct Refused {
    block: *mut c_void,
    size: usize,
}

impl Memory {
    /// Takes the limits; 0 for none.
    pub(crate) fn new(bytes: u64, depth: u32) -> Memory {
        // LuaJIT looks at no hook in compiled code, and its stack is small.
        let limited = depth != 0 && !cfg!(luajit);
        let depth = if limited { (depth as usize).saturating_mul(DEEPER) } else { usize::MAX };
        Memory {
            limit: if bytes == 0 { usize::MAX } else { usize::try_from(bytes).unwrap_or(usize::MAX) },
            depth,
            deep: depth.saturating_mul(SMALLEST_FRAME),
            grown: Cell::new(false),
            used: Cell::new(0),
            over: Cell::new(false),
            refused: Cell::new(None),
            place: Cell::new(None),
            hosts: Cell::new(false),
            state_own: Cell::new(None),
        }
    }

    /// Decides about a block that goes over the limit.
    #[cold]
    fn grants(&self, core: &Core, block: *mut c_void, size: usize, after: usize) -> bool {
        if self.hosts.get() {
            return true;
        }
        // A stack that is being moved cannot be read, so a block that may be one is granted: the look knows the place.
        let may_be_stack = !block.is_null() && size <= LARGEST_STACK;
        let reserve = if core.runtime.exhausted() == Some(Limit::Memory) { RESERVE } else { 0 };
        let granted = (may_be_stack || size <= SMALL) && after <= self.limit.saturating_add(SLACK + reserve);
        if granted {
            if self.over.replace(true) {
                return true;
            }
        } else {
            self.refused.set(Some(Refused { block, size }));
            if !may_be_stack && core.frames_are_readable() {
                self.place.set(core.running_place());
            }
        }
        terminate::alarm(core);
        granted
    }

    /// Counts bytes that a value of the state holds elsewhere, which are there already: at most the call ends.
    pub(crate) fn charge(&self, core: &Core, size: usize) {
        if self.state_own.get().is_none() {
            return;
        }
        let after = self.used.get().saturating_add(size);
        self.used.set(after);
        if after > self.limit && !self.hosts.get() && !self.over.replace(true) {
            terminate::alarm(core);
        }
    }

    /// Counts them no more.
    pub(crate) fn discharge(&self, size: usize) {
        if self.state_own.get().is_some() {
            self.used.set(self.used.get().saturating_sub(size));
        }
    }

    /// Runs what the host does between two callbacks; the next one is not looked at for it.
    pub(crate) fn for_host<R>(&self, run: impl FnOnce() -> R) -> R {
        self.hosts.set(true);
        let result = run();
        self.hosts.set(false);
        result
    }

    pub(crate) fn is_to_be_looked_at(&self) -> bool {
        self.over.get() || self.refused.get().is_some()
    }

    fn forget(&self) {
        self.over.set(false);
        self.refused.set(None);
        self.place.set(None);
    }
}

/// Puts the counting allocator around the state's own, if there is a limit.
///
/// The state's own goes on to do the work: LuaJIT's values have room for certain addresses only, which its own
/// allocator looks for.
///
/// # Safety
/// The core is pinned and is this state's; nothing runs in it.
pub(crate) unsafe fn install(core: &Core, l: State) {
    let memory = &core.memory;
    if memory.limit == usize::MAX && memory.deep == usize::MAX {
        return;
    }
    // SAFETY: none of these calls raises; the core outlives the allocator, which `remove` takes away.
    unsafe {
        memory.used.set(held(l));
        let mut data = ptr::null_mut();
        let own = ffi::lua_getallocf(l, &raw mut data);
        memory.state_own.set(Some((own, data)));
        ffi::lua_setallocf(l, allocate, ptr::from_ref(core).cast_mut().cast());
    }
}

/// Gives the state its own allocator back; it must be closed with that, since LuaJIT's frees its arena only then.
///
/// # Safety
/// The state is about to be closed.
pub(crate) unsafe fn remove(core: &Core, l: State) {
    if let Some((own, data)) = core.memory.state_own.get() {
        // SAFETY: all blocks were made by this allocator.
        unsafe { ffi::lua_setallocf(l, own, data) };
    }
}

/// # Safety
/// The state is alive.
unsafe fn held(l: State) -> usize {
    #[cfg(not(luajit))]
    // SAFETY: it only reads counters.
    let (kilobytes, bytes) = unsafe { (ffi::lua_gc(l, ffi::LUA_GCCOUNT), ffi::lua_gc(l, ffi::LUA_GCCOUNTB)) };
    #[cfg(luajit)]
    // SAFETY: it only reads counters.
    let (kilobytes, bytes) = unsafe { (ffi::lua_gc(l, ffi::LUA_GCCOUNT, 0), ffi::lua_gc(l, ffi::LUA_GCCOUNTB, 0)) };
    usize::try_from(kilobytes).unwrap_or(0) * 1024 + usize::try_from(bytes).unwrap_or(0)
}

/// The allocator. It may not raise, and nothing in it may call into the state but to set a hook or to read frames.
unsafe extern "C" fn allocate(core: *mut c_void, block: *mut c_void, old: usize, size: usize) -> *mut c_void {
    // SAFETY: set with the core, which outlives the allocator.
    let core = unsafe { &*core.cast_const().cast::<Core>() };
    let memory = &core.memory;
    // For a new block it is what the block is for.
    let old = if block.is_null() { 0 } else { old };
    let after = memory.used.get().saturating_sub(old).saturating_add(size);
    if size > old && after > memory.limit && !memory.grants(core, block, size, after) {
        return ptr::null_mut();
    }
    let Some((own, data)) = memory.state_own.get() else { return ptr::null_mut() };
    // SAFETY: the state's own allocator with what Lua passes.
    let result = unsafe { own(data, block, old, size) };
    if size > old && size >= memory.deep && !block.is_null() && !memory.hosts.get() {
        memory.grown.set(true);
        terminate::alarm(core);
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

/// Looks whether the script holds too much, and notes it in the runtime.
///
/// # Safety
/// The call is protected.
pub(crate) unsafe fn look(core: &Core, l: State) {
    let memory = &core.memory;
    if !memory.is_to_be_looked_at() {
        return;
    }
    let refused = memory.refused.get().is_some();
    if !refused {
        // SAFETY: as the caller's.
        unsafe { collect(l) };
    }
    if refused || memory.used.get() > memory.limit {
        core.runtime.exhaust(Limit::Memory, memory.place.take().or_else(|| core.current_place()));
    }
    memory.forget();
}

/// Returns whether functions have called each other deeper than they may, if that may be since the last look.
///
/// # Safety
/// The state is alive.
pub(crate) unsafe fn is_too_deep(core: &Core, l: State) -> bool {
    if !core.memory.grown.take() {
        return false;
    }
    let Ok(most) = c_int::try_from(core.memory.depth) else { return false };
    // SAFETY: the record is only written to; all its fields may be zero.
    unsafe {
        let mut record: ffi::lua_Debug = std::mem::MaybeUninit::zeroed().assume_init();
        ffi::lua_getstack(l, most, &raw mut record) != 0
    }
}

/// Notes in the runtime what was refused, when it came out of the script as an error.
pub(crate) fn note_refused(core: &Core, place: Option<Place>) {
    if core.memory.refused.get().is_some() {
        core.runtime.exhaust(Limit::Memory, core.memory.place.take().or(place));
        core.memory.forget();
    }
}

/// Ends a top-level call: gives back what it has left behind, if that was too much.
pub(crate) fn settle(core: &Core, l: State) {
    let memory = &core.memory;
    if !(memory.is_to_be_looked_at() || core.runtime.exhausted().is_some()) {
        return;
    }
    if memory.over.get() || core.runtime.exhausted() == Some(Limit::Memory) {
        // SAFETY: protected; the closure owns nothing. What a finalizer raises does not matter any more.
        let _ = protected(l, |l| unsafe { collect(l) });
    }
    memory.forget();
}

/// # Safety
/// The call is protected: finalizers run.
unsafe fn collect(l: State) {
    // SAFETY: as the caller's.
    unsafe {
        #[cfg(not(luajit))]
        ffi::lua_gc(l, ffi::LUA_GCCOLLECT);
        #[cfg(luajit)]
        ffi::lua_gc(l, ffi::LUA_GCCOLLECT, 0);
    }
}
