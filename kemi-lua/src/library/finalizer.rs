//! Finalizers: `__gc` of a script's tables, run as ordinary calls that a limit can end.
//!
//! Lua runs finalizers with hooks off, so nothing would end an endless one. Therefore no table of a script is ever marked
//! for finalization in Lua's own way: [`setmetatable`](super::metatable) gives the table a guard instead, a userdata that nothing else refers
//! to, whose finalizer is ours and only puts the table in a queue. The script's `__gc` is called from there before the
//! next instruction, on a thread of its own, where hooks work. The rest runs in one more call when the state is
//! closed; then Lua closes the state without running anything of the script.

use std::cell::{Cell, RefCell};
use std::ffi::c_int;
use std::ptr;

use kemi_core::ScriptError;
use kemi_core::telemetry::log_guarded;

use crate::call::CallState;
use crate::error;
use crate::ffi::{self, LuaThread};
use crate::terminate::is_termination;

/// The finalizers of one state.
#[derive(Debug)]
pub(crate) struct Finalizers {
    /// The call state; null until [`set_up`](Self::set_up).
    call: Cell<*const CallState>,
    refs: Cell<Refs>,
    /// The number of guards made so far.
    count: Cell<u64>,
    /// The number of tables in the queue.
    waiting: Cell<usize>,
    /// Whether one runs.
    running: Cell<bool>,
    /// Whether nothing of the script is to run: not yet, while the state is set up, or not any more.
    closed: Cell<bool>,
    /// The numbers of the guards whose tables are in use when the state is closed.
    remaining: RefCell<Vec<u64>>,
}

/// References in Lua's registry.
#[derive(Clone, Copy, Debug)]
struct Refs {
    /// The guard of each table, as long as the table is in use: the keys are weak.
    guards: c_int,
    /// The metatable of guards.
    metatable: c_int,
    /// The queue: its first guard and its last one. Each guard refers to the next.
    queue: c_int,
    /// The thread that finalizers run on.
    thread: c_int,
    /// The function [`run_first`].
    run_first: c_int,
}

/// The number of a guard, from 1 on in the order in which they were made.
type Number = u64;

/// The user values of a guard.
mod value {
    use std::ffi::c_int;

    /// The table.
    pub(super) const TABLE: c_int = 1;
    /// The next guard in the queue.
    pub(super) const NEXT: c_int = 2;
    /// The number of user values.
    pub(super) const COUNT: c_int = 2;
}

impl Finalizers {
    /// Makes a record of a fresh state, whose script may not have finalizers yet.
    pub(crate) fn new() -> Finalizers {
        let none = ffi::LUA_NOREF;
        Finalizers {
            call: Cell::new(ptr::null()),
            refs: Cell::new(Refs { guards: none, metatable: none, queue: none, thread: none, run_first: none }),
            count: Cell::new(0),
            waiting: Cell::new(0),
            running: Cell::new(false),
            closed: Cell::new(true),
            remaining: RefCell::new(Vec::new()),
        }
    }

    /// Makes what the finalizers of a fresh state need.
    ///
    /// # Safety
    /// The call is protected; the libraries are open. Neither `self` nor the call state moves, and both outlive the state.
    pub(crate) unsafe fn set_up(&self, l: LuaThread, call: &CallState) {
        self.call.set(call);
        // SAFETY: as the caller's; this frame owns nothing.
        unsafe {
            ffi::lua_createtable(l, 0, 0);
            ffi::lua_createtable(l, 0, 1);
            ffi::lua_pushstring(l, c"k".as_ptr());
            ffi::lua_setfield(l, -2, c"__mode".as_ptr());
            ffi::lua_setmetatable(l, -2);
            let guards = ffi::luaL_ref(l, ffi::LUA_REGISTRYINDEX);

            ffi::lua_createtable(l, 0, 1);
            ffi::push_function(l, enqueue, self);
            ffi::lua_setfield(l, -2, c"__gc".as_ptr());
            let metatable = ffi::luaL_ref(l, ffi::LUA_REGISTRYINDEX);

            ffi::lua_createtable(l, 2, 0);
            for end in [FIRST, LAST] {
                ffi::lua_pushboolean(l, 0);
                ffi::lua_rawseti(l, -2, end);
            }
            let queue = ffi::luaL_ref(l, ffi::LUA_REGISTRYINDEX);

            let thread = ffi::lua_newthread(l);
            call.threads().reset_hook(thread);
            let thread = ffi::luaL_ref(l, ffi::LUA_REGISTRYINDEX);
            ffi::push_function(l, run_first, self);
            let run_first = ffi::luaL_ref(l, ffi::LUA_REGISTRYINDEX);
            self.refs.set(Refs { guards, metatable, queue, thread, run_first });
        }
    }

    /// Lets the script have finalizers, once the state is set up.
    pub(crate) fn open(&self) {
        self.closed.set(false);
    }

    /// Tells whether finalizers wait to be run, and may be.
    #[inline]
    pub(crate) fn are_pending(&self) -> bool {
        self.waiting.get() != 0 && !self.running.get()
    }

    /// Runs what waits in the queue, until the call is to end.
    ///
    /// # Safety
    /// The state runs; the calling frame owns nothing.
    pub(crate) unsafe fn run_pending(&self, l: LuaThread) {
        if !self.are_pending() {
            return;
        }
        let call = self.call();
        self.running.set(true);
        while self.waiting.get() != 0 && !call.is_ending() {
            let before = self.waiting.get();
            // SAFETY: as the caller's; the slots are made sure of.
            let status = unsafe {
                if ffi::lua_checkstack(l, 4) == 0 {
                    break;
                }
                ffi::lua_rawgeti(l, ffi::LUA_REGISTRYINDEX, self.refs.get().run_first.into());
                let status = ffi::lua_pcall(l, 0, 0, 0);
                if status != ffi::LUA_OK {
                    ffi::lua_settop(l, -2);
                }
                status
            };
            if call.runtime().limit_hit().is_some() {
                // Those that wait are likely to be of the same kind: they are not to cost the next calls their time as well.
                let waiting = self.waiting.get();
                // SAFETY: the state runs; the slots are made sure of, and nothing here allocates or raises.
                unsafe { self.clear_queue(l) };
                self.warn_cleared(waiting);
                break;
            }
            // Without memory or stack it cannot even begin: later.
            if status != ffi::LUA_OK && self.waiting.get() >= before {
                break;
            }
        }
        self.running.set(false);
    }

    /// Runs all finalizers, as the last call of a state; from then on nothing of the script runs any more. `call_host` calls
    /// a C function with this record as its upvalue, as a call of the host.
    pub(crate) fn close(
        &self,
        l: LuaThread,
        call_host: impl FnOnce(ffi::lua_CFunction, &Finalizers) -> Result<(), ScriptError>,
    ) {
        if self.closed.get() {
            return;
        }
        // SAFETY: protected; the closure owns nothing.
        let any = ffi::protected(l, |l| unsafe {
            ffi::lua_rawgeti(l, ffi::LUA_REGISTRYINDEX, self.refs.get().guards.into());
            ffi::lua_pushnil(l);
            if ffi::lua_next(l, -2) == 0 && self.waiting.get() == 0 {
                ffi::luaL_error(l, c"none".as_ptr());
            }
        });
        if any == ffi::LUA_OK {
            let ended = call_host(run_all, self);
            let count = self.remaining.take().len() + self.waiting.get();
            if count != 0 || ended.is_err() {
                self.warn_closed(count);
            }
        }
        self.closed.set(true);
    }

    /// Returns the record of the running function.
    ///
    /// # Safety
    /// The running function has the record as its upvalue.
    pub(super) unsafe fn of<'a>(l: LuaThread) -> &'a Finalizers {
        // SAFETY: as the caller's; the record outlives the state.
        unsafe { ffi::context(l) }
    }

    /// Returns the call state.
    fn call(&self) -> &CallState {
        // SAFETY: `set_up` got it before there were finalizers; it does not move, and outlives the Lua state.
        unsafe { &*self.call.get() }
    }

    /// Makes the guard of a table, if it has none.
    ///
    /// # Safety
    /// The call is protected, and the calling frame owns nothing.
    pub(super) unsafe fn guard(&self, l: LuaThread, table: c_int) {
        let refs = self.refs.get();
        // SAFETY: as the caller's; the block has room for the number.
        unsafe {
            let top = ffi::lua_gettop(l);
            ffi::lua_rawgeti(l, ffi::LUA_REGISTRYINDEX, refs.guards.into());
            ffi::lua_pushvalue(l, table);
            ffi::lua_rawget(l, top + 1);
            if ffi::lua_type(l, -1) == ffi::LUA_TNIL {
                let number = self.count.get() + 1;
                self.count.set(number);
                ffi::lua_pushvalue(l, table);
                let block = ffi::lua_newuserdatauv(l, size_of::<Number>(), value::COUNT);
                block.cast::<Number>().write(number);
                ffi::lua_pushvalue(l, table);
                ffi::lua_setiuservalue(l, -2, value::TABLE);
                ffi::lua_rawgeti(l, ffi::LUA_REGISTRYINDEX, refs.metatable.into());
                ffi::lua_setmetatable(l, -2);
                ffi::lua_rawset(l, top + 1);
            }
            ffi::lua_settop(l, top);
        }
    }

    /// Forgets what waits.
    ///
    /// # Safety
    /// The state runs, with two free slots.
    unsafe fn clear_queue(&self, l: LuaThread) {
        // SAFETY: as the caller's.
        unsafe {
            ffi::lua_rawgeti(l, ffi::LUA_REGISTRYINDEX, self.refs.get().queue.into());
            for end in [FIRST, LAST] {
                ffi::lua_pushboolean(l, 0);
                ffi::lua_rawseti(l, -2, end);
            }
            ffi::lua_settop(l, -2);
        }
        self.waiting.set(0);
    }

    /// Runs the finalizer of a guard's table.
    ///
    /// # Safety
    /// Called in a C function with the guard at the index; the frame owns nothing.
    unsafe fn finalize(&self, l: LuaThread, guard: c_int) {
        let refs = self.refs.get();
        // SAFETY: as the caller's. The thread is kept in the registry, and nothing runs on it.
        unsafe {
            let top = ffi::lua_gettop(l);
            ffi::lua_getiuservalue(l, guard, value::TABLE);
            let table = top + 1;
            // Whoever gives the table a metatable anew marks it anew.
            ffi::lua_rawgeti(l, ffi::LUA_REGISTRYINDEX, refs.guards.into());
            ffi::lua_pushvalue(l, table);
            ffi::lua_pushnil(l);
            ffi::lua_rawset(l, -3);
            let called = ffi::lua_getmetatable(l, table) != 0 && {
                ffi::lua_pushstring(l, c"__gc".as_ptr());
                ffi::lua_rawget(l, -2) != ffi::LUA_TNIL
            };
            if called {
                ffi::lua_rawgeti(l, ffi::LUA_REGISTRYINDEX, refs.thread.into());
                let thread = ffi::lua_tothread(l, -1);
                ffi::lua_settop(l, -2);
                ffi::lua_settop(thread, 0);
                ffi::push_function(thread, run_one, self);
                ffi::lua_pushvalue(l, table);
                ffi::lua_xmove(l, thread, 1);
                ffi::lua_xmove(l, thread, 1);
                ffi::lua_insert(thread, 2);
                let threads = self.call().threads();
                threads.resume(thread, l);
                let mut results = 0;
                let status = ffi::lua_resume(thread, l, 2, &raw mut results);
                threads.resumed(l);
                if status != ffi::LUA_OK {
                    // It could not begin, since C functions nest too deeply already.
                    self.warn_failed(thread);
                    self.renew_thread(l);
                }
            }
            ffi::lua_settop(l, top);
        }
    }

    /// Replaces the thread that finalizers run on.
    ///
    /// # Safety
    /// As [`finalize`](Self::finalize).
    unsafe fn renew_thread(&self, l: LuaThread) {
        // SAFETY: as the caller's.
        unsafe {
            let thread = ffi::lua_newthread(l);
            self.call().threads().reset_hook(thread);
            ffi::lua_rawseti(l, ffi::LUA_REGISTRYINDEX, self.refs.get().thread.into());
        }
    }

    /// Writes to the log that a finalizer has failed, with the error at the top of the stack.
    fn warn_failed(&self, l: LuaThread) {
        // SAFETY: the error is at the top.
        let (text, _) = unsafe { error::describe(l, ffi::lua_gettop(l)) };
        let engine = self.call().runtime().engine();
        log_guarded(|| tracing::warn!(target: "script", engine, "error in __gc: {text}"));
    }

    /// Writes to the log that a limit has ended a finalizer.
    fn warn_cleared(&self, count: usize) {
        let engine = self.call().runtime().engine();
        log_guarded(|| {
            tracing::warn!(
                target: "script",
                engine,
                "a finalizer (__gc) has exceeded a limit; {count} others that waited were left out"
            );
        });
    }

    /// Writes to the log that finalizers were left out when the script was ended.
    fn warn_closed(&self, count: usize) {
        let engine = self.call().runtime().engine();
        log_guarded(|| {
            tracing::warn!(
                target: "script",
                engine,
                "the finalizers (__gc) of a script that was ended took too long, or ended it; {count} were left out"
            );
        });
    }
}

/// Where the queue has its ends.
const FIRST: ffi::lua_Integer = 1;
const LAST: ffi::lua_Integer = 2;

/// The finalizer of guards: puts the guard, and with it the table, at the end of the queue. It allocates nothing.
unsafe extern "C-unwind" fn enqueue(l: LuaThread) -> c_int {
    // SAFETY: called by Lua with a guard; the upvalue is the record.
    unsafe {
        let finalizers = Finalizers::of(l);
        if finalizers.closed.get() {
            return 0;
        }
        ffi::lua_settop(l, 1);
        ffi::lua_rawgeti(l, ffi::LUA_REGISTRYINDEX, finalizers.refs.get().queue.into());
        ffi::lua_rawgeti(l, 2, LAST);
        ffi::lua_pushvalue(l, 1);
        if ffi::lua_type(l, 3) == ffi::LUA_TUSERDATA {
            ffi::lua_setiuservalue(l, 3, value::NEXT);
        } else {
            ffi::lua_rawseti(l, 2, FIRST);
        }
        ffi::lua_pushvalue(l, 1);
        ffi::lua_rawseti(l, 2, LAST);
        finalizers.waiting.set(finalizers.waiting.get() + 1);
        if !finalizers.running.get() {
            finalizers.call().threads().request_check();
        }
    }
    0
}

/// Takes the first guard off the queue and runs the finalizer of its table.
unsafe extern "C-unwind" fn run_first(l: LuaThread) -> c_int {
    // SAFETY: called by `run_pending`; the upvalue is the record. This frame owns nothing.
    unsafe {
        let finalizers = Finalizers::of(l);
        ffi::lua_settop(l, 0);
        ffi::lua_rawgeti(l, ffi::LUA_REGISTRYINDEX, finalizers.refs.get().queue.into());
        ffi::lua_rawgeti(l, 1, FIRST);
        if ffi::lua_getiuservalue(l, 2, value::NEXT) == ffi::LUA_TUSERDATA {
            ffi::lua_rawseti(l, 1, FIRST);
            ffi::lua_pushnil(l);
            ffi::lua_setiuservalue(l, 2, value::NEXT);
            finalizers.waiting.set(finalizers.waiting.get().saturating_sub(1));
        } else {
            finalizers.clear_queue(l);
        }
        ffi::lua_settop(l, 2);
        finalizers.finalize(l, 2);
    }
    0
}

/// Calls a finalizer with its table, on the thread that is for them.
unsafe extern "C-unwind" fn run_one(l: LuaThread) -> c_int {
    // SAFETY: called by `finalize` with the finalizer and the table; the upvalue is the record. This frame owns nothing.
    unsafe {
        let status = ffi::lua_pcall(l, 1, 0, 0);
        if status != ffi::LUA_OK && !is_termination(l, -1) {
            Finalizers::of(l).warn_failed(l);
        }
    }
    0
}

/// Runs the finalizers of all tables in use, those marked last first, as Lua does when it closes a state.
///
/// # Safety
/// Called by Lua; the upvalue is the record.
unsafe extern "C-unwind" fn run_all(l: LuaThread) -> c_int {
    // SAFETY: as this function's contract; this frame owns nothing.
    unsafe {
        let finalizers = Finalizers::of(l);
        let call = finalizers.call();
        finalizers.run_pending(l);
        finalizers.running.set(true);
        ffi::lua_settop(l, 0);
        ffi::lua_rawgeti(l, ffi::LUA_REGISTRYINDEX, finalizers.refs.get().guards.into());
        ffi::lua_createtable(l, 0, 0);
        ffi::lua_pushnil(l);
        while ffi::lua_next(l, 1) != 0 {
            let number = ffi::lua_touserdata(l, -1).cast::<Number>().read();
            finalizers.remaining.borrow_mut().push(number);
            ffi::lua_rawseti(l, 2, number.cast_signed());
        }
        finalizers.remaining.borrow_mut().sort_unstable();
        while !call.is_ending() && !call.runtime().poll(call.interpreter()) {
            let Some(number) = finalizers.remaining.borrow_mut().pop() else { break };
            ffi::lua_rawgeti(l, 2, number.cast_signed());
            finalizers.finalize(l, 3);
            ffi::lua_settop(l, 2);
        }
    }
    0
}
