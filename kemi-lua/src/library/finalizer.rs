//! Finalizers: `__gc` of a script's tables, run as ordinary calls that a limit can end.
//!
//! Lua runs finalizers with hooks off, so nothing would end an endless one. Therefore no table of a script is ever marked
//! for finalization in Lua's own way: `setmetatable` gives the table a guard instead, a userdata that nothing else refers
//! to, whose finalizer is ours and only puts the table in a queue. The script's `__gc` is called from there before the
//! next instruction, on a thread of its own, where hooks work. What is left when the state is closed runs in one more
//! call; then Lua closes the state without running anything of the script.

use std::cell::{Cell, RefCell};
use std::ffi::c_int;

use crate::ffi;

use crate::bind::push_function;
use crate::interpreter::{Core, protected};
use crate::value::State;
use crate::{error, terminate};

/// What one state knows of its finalizers.
#[derive(Debug)]
pub(crate) struct Finalizers {
    refs: Cell<Refs>,
    /// How many guards there have been.
    count: Cell<u64>,
    /// How many tables wait in the queue.
    waiting: Cell<usize>,
    /// Whether one runs.
    running: Cell<bool>,
    /// Whether nothing of the script is to run: not yet, while the state is set up, or not any more.
    closed: Cell<bool>,
    /// The numbers of the guards that are left when the state is closed.
    left: RefCell<Vec<u64>>,
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
    /// [`run_first`].
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
    /// How many there are.
    pub(super) const COUNT: c_int = 2;
}

impl Finalizers {
    pub(crate) fn new() -> Finalizers {
        let none = ffi::LUA_NOREF;
        Finalizers {
            refs: Cell::new(Refs { guards: none, metatable: none, queue: none, thread: none, run_first: none }),
            count: Cell::new(0),
            waiting: Cell::new(0),
            running: Cell::new(false),
            closed: Cell::new(true),
            left: RefCell::new(Vec::new()),
        }
    }

    /// Lets the script have finalizers, once the state is set up.
    pub(crate) fn open(&self) {
        self.closed.set(false);
    }

    /// Tells whether finalizers wait to be run, and may be.
    #[inline]
    pub(crate) fn wait(&self) -> bool {
        self.waiting.get() != 0 && !self.running.get()
    }
}

/// Replaces `setmetatable`.
///
/// # Safety
/// Protected; the libraries are open.
pub(crate) unsafe fn set_up(l: State, core: &Core) {
    // SAFETY: as the caller's; this frame owns nothing.
    unsafe {
        ffi::lua_createtable(l, 0, 0);
        ffi::lua_createtable(l, 0, 1);
        ffi::lua_pushstring(l, c"k".as_ptr());
        ffi::lua_setfield(l, -2, c"__mode".as_ptr());
        ffi::lua_setmetatable(l, -2);
        let guards = ffi::luaL_ref(l, ffi::LUA_REGISTRYINDEX);

        ffi::lua_createtable(l, 0, 1);
        push_function(l, enqueue, core);
        ffi::lua_setfield(l, -2, c"__gc".as_ptr());
        let metatable = ffi::luaL_ref(l, ffi::LUA_REGISTRYINDEX);

        ffi::lua_createtable(l, 2, 0);
        for end in [FIRST, LAST] {
            ffi::lua_pushboolean(l, 0);
            ffi::lua_rawseti(l, -2, end);
        }
        let queue = ffi::luaL_ref(l, ffi::LUA_REGISTRYINDEX);

        let thread = ffi::lua_newthread(l);
        terminate::rest(core, thread);
        let thread = ffi::luaL_ref(l, ffi::LUA_REGISTRYINDEX);
        push_function(l, run_first, core);
        let run_first = ffi::luaL_ref(l, ffi::LUA_REGISTRYINDEX);
        core.finalizers.refs.set(Refs { guards, metatable, queue, thread, run_first });

        push_function(l, setmetatable, core);
        ffi::lua_setglobal(l, c"setmetatable".as_ptr());
    }
}

/// Where the queue has its ends.
const FIRST: ffi::lua_Integer = 1;
const LAST: ffi::lua_Integer = 2;

/// `setmetatable`: as Lua's own, but a table with `__gc` gets a guard.
///
/// # Safety
/// Called by Lua; the upvalue is the core.
unsafe extern "C-unwind" fn setmetatable(l: State) -> c_int {
    unsafe extern "C-unwind" {
        fn luaL_typeerror(l: State, index: c_int, expected: *const std::ffi::c_char) -> c_int;
    }
    const TABLE: c_int = 1;
    const METATABLE: c_int = 2;
    const KEY: c_int = 3;
    const FINALIZER: c_int = 4;
    // SAFETY: as this function's contract; this frame owns nothing.
    unsafe {
        let kind = ffi::lua_type(l, METATABLE);
        ffi::luaL_checktype(l, TABLE, ffi::LUA_TTABLE);
        if kind != ffi::LUA_TNIL && kind != ffi::LUA_TTABLE {
            luaL_typeerror(l, METATABLE, c"nil or table".as_ptr());
        }
        if ffi::luaL_getmetafield(l, TABLE, c"__metatable".as_ptr()) != ffi::LUA_TNIL {
            ffi::luaL_error(l, c"cannot change a protected metatable".as_ptr());
        }
        ffi::lua_settop(l, METATABLE);
        if kind == ffi::LUA_TNIL {
            ffi::lua_setmetatable(l, TABLE);
            return 1;
        }
        ffi::lua_pushstring(l, c"__gc".as_ptr());
        ffi::lua_pushvalue(l, KEY);
        ffi::lua_rawget(l, METATABLE);
        if ffi::lua_type(l, FINALIZER) == ffi::LUA_TNIL {
            ffi::lua_settop(l, METATABLE);
            ffi::lua_setmetatable(l, TABLE);
            return 1;
        }
        guard(l, terminate::core(l), TABLE);
        // Lua is not to see it. Nothing until it is back allocates, collects garbage or raises, and no key is new.
        ffi::lua_pushvalue(l, KEY);
        ffi::lua_pushnil(l);
        ffi::lua_rawset(l, METATABLE);
        ffi::lua_pushvalue(l, METATABLE);
        ffi::lua_setmetatable(l, TABLE);
        ffi::lua_rawset(l, METATABLE);
        ffi::lua_settop(l, TABLE);
    }
    1
}

/// Makes the guard of a table, if it has none.
///
/// # Safety
/// The call is protected, and the calling frame owns nothing.
unsafe fn guard(l: State, core: &Core, table: c_int) {
    let refs = core.finalizers.refs.get();
    // SAFETY: as the caller's; the block has room for the number.
    unsafe {
        let top = ffi::lua_gettop(l);
        ffi::lua_rawgeti(l, ffi::LUA_REGISTRYINDEX, refs.guards.into());
        ffi::lua_pushvalue(l, table);
        ffi::lua_rawget(l, top + 1);
        if ffi::lua_type(l, -1) == ffi::LUA_TNIL {
            let number = core.finalizers.count.get() + 1;
            core.finalizers.count.set(number);
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

/// The finalizer of guards: puts the guard, and with it the table, at the end of the queue. It allocates nothing.
unsafe extern "C-unwind" fn enqueue(l: State) -> c_int {
    // SAFETY: called by Lua with a guard; the upvalue is the core, which outlives the state.
    unsafe {
        let core = terminate::core(l);
        let finalizers = &core.finalizers;
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
            terminate::alarm(core);
        }
    }
    0
}

/// Runs what waits in the queue, until the call is to end.
///
/// # Safety
/// The state runs; the calling frame owns nothing.
pub(crate) unsafe fn run(core: &Core, l: State) {
    let finalizers = &core.finalizers;
    if !finalizers.wait() {
        return;
    }
    finalizers.running.set(true);
    while finalizers.waiting.get() != 0 && core.runtime.ending().is_none() {
        let before = finalizers.waiting.get();
        // SAFETY: as the caller's; the slots are made sure of.
        let status = unsafe {
            if ffi::lua_checkstack(l, 4) == 0 {
                break;
            }
            ffi::lua_rawgeti(l, ffi::LUA_REGISTRYINDEX, finalizers.refs.get().run_first.into());
            let status = ffi::lua_pcall(l, 0, 0, 0);
            if status != ffi::LUA_OK {
                ffi::lua_settop(l, -2);
            }
            status
        };
        if core.runtime.exhausted().is_some() {
            // Those that wait are likely to be of the same kind: they are not to cost the next calls their time as well.
            let left = finalizers.waiting.get();
            // SAFETY: the state runs; the slots are made sure of, and nothing here allocates or raises.
            unsafe { clear_queue(core, l) };
            error::log_ended_finalizer(core, left);
            break;
        }
        // Without memory or stack it cannot even begin: later.
        if status != ffi::LUA_OK && finalizers.waiting.get() >= before {
            break;
        }
    }
    finalizers.running.set(false);
}

/// Forgets what waits.
///
/// # Safety
/// The state runs, with two free slots.
unsafe fn clear_queue(core: &Core, l: State) {
    // SAFETY: as the caller's.
    unsafe {
        ffi::lua_rawgeti(l, ffi::LUA_REGISTRYINDEX, core.finalizers.refs.get().queue.into());
        for end in [FIRST, LAST] {
            ffi::lua_pushboolean(l, 0);
            ffi::lua_rawseti(l, -2, end);
        }
        ffi::lua_settop(l, -2);
    }
    core.finalizers.waiting.set(0);
}

/// Takes the first guard off the queue and runs the finalizer of its table.
unsafe extern "C-unwind" fn run_first(l: State) -> c_int {
    // SAFETY: called by `run`; the upvalue is the core. This frame owns nothing.
    unsafe {
        let core = terminate::core(l);
        let finalizers = &core.finalizers;
        ffi::lua_settop(l, 0);
        ffi::lua_rawgeti(l, ffi::LUA_REGISTRYINDEX, finalizers.refs.get().queue.into());
        ffi::lua_rawgeti(l, 1, FIRST);
        if ffi::lua_getiuservalue(l, 2, value::NEXT) == ffi::LUA_TUSERDATA {
            ffi::lua_rawseti(l, 1, FIRST);
            ffi::lua_pushnil(l);
            ffi::lua_setiuservalue(l, 2, value::NEXT);
            finalizers.waiting.set(finalizers.waiting.get().saturating_sub(1));
        } else {
            clear_queue(core, l);
        }
        ffi::lua_settop(l, 2);
        finalize(core, l, 2);
    }
    0
}

/// Runs the finalizer of a guard's table.
///
/// # Safety
/// Called in a C function with the guard at the index; the frame owns nothing.
unsafe fn finalize(core: &Core, l: State, guard: c_int) {
    let refs = core.finalizers.refs.get();
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
            push_function(thread, call, core);
            ffi::lua_pushvalue(l, table);
            ffi::lua_xmove(l, thread, 1);
            ffi::lua_xmove(l, thread, 1);
            ffi::lua_insert(thread, 2);
            terminate::set_parent(thread, l);
            core.running.set(thread.cast());
            let mut results = 0;
            let status = ffi::lua_resume(thread, l, 2, &raw mut results);
            core.running.set(l.cast());
            if status != ffi::LUA_OK {
                // It could not begin, since C functions nest too deeply already.
                error::log_finalizer(core, thread);
                renew_thread(l, core);
            }
        }
        ffi::lua_settop(l, top);
    }
}

/// # Safety
/// As [`finalize`].
unsafe fn renew_thread(l: State, core: &Core) {
    // SAFETY: as the caller's.
    unsafe {
        let thread = ffi::lua_newthread(l);
        terminate::rest(core, thread);
        ffi::lua_rawseti(l, ffi::LUA_REGISTRYINDEX, core.finalizers.refs.get().thread.into());
    }
}

/// Calls a finalizer with its table, on the thread that is for them.
unsafe extern "C-unwind" fn call(l: State) -> c_int {
    // SAFETY: called by `finalize` with the finalizer and the table; the upvalue is the core. This frame owns nothing.
    unsafe {
        let core = terminate::core(l);
        let status = ffi::lua_pcall(l, 1, 0, 0);
        if status != ffi::LUA_OK && !terminate::is_sentinel(l, -1, core) {
            error::log_finalizer(core, l);
        }
    }
    0
}

/// Runs the finalizers of all tables that are left, those marked last first, as Lua does when it closes a state.
///
/// # Safety
/// Called by Lua; the upvalue is the core.
unsafe extern "C-unwind" fn run_all(l: State) -> c_int {
    // SAFETY: as this function's contract; this frame owns nothing.
    unsafe {
        let core = terminate::core(l);
        run(core, l);
        core.finalizers.running.set(true);
        ffi::lua_settop(l, 0);
        ffi::lua_rawgeti(l, ffi::LUA_REGISTRYINDEX, core.finalizers.refs.get().guards.into());
        ffi::lua_createtable(l, 0, 0);
        ffi::lua_pushnil(l);
        while ffi::lua_next(l, 1) != 0 {
            let number = ffi::lua_touserdata(l, -1).cast::<Number>().read();
            core.finalizers.left.borrow_mut().push(number);
            ffi::lua_rawseti(l, 2, number.cast_signed());
        }
        core.finalizers.left.borrow_mut().sort_unstable();
        while core.runtime.ending().is_none() && !core.runtime.poll(core) {
            let Some(number) = core.finalizers.left.borrow_mut().pop() else { break };
            ffi::lua_rawgeti(l, 2, number.cast_signed());
            finalize(core, l, 3);
            ffi::lua_settop(l, 2);
        }
    }
    0
}

/// Runs all finalizers, as the last call of a state; from then on nothing of the script runs any more.
pub(crate) fn close(core: &Core, l: State) {
    let finalizers = &core.finalizers;
    if finalizers.closed.get() {
        return;
    }
    // SAFETY: protected; the closure owns nothing.
    let any = protected(l, |l| unsafe {
        ffi::lua_rawgeti(l, ffi::LUA_REGISTRYINDEX, finalizers.refs.get().guards.into());
        ffi::lua_pushnil(l);
        if ffi::lua_next(l, -2) == 0 && finalizers.waiting.get() == 0 {
            ffi::luaL_error(l, c"none".as_ptr());
        }
    });
    if any == ffi::LUA_OK {
        let ended = core.run_function(l, run_all);
        let left = finalizers.left.take().len() + finalizers.waiting.get();
        if left != 0 || ended.is_err() {
            error::log_left_finalizers(core, left);
        }
    }
    finalizers.closed.set(true);
}
