//! The functions of the script that the host keeps.
//!
//! They lie in a table of Lua's registry, by the slots that the runtime gives out. So they live as long as the state at most,
//! and the host's handles, which are numbers, keep nothing of it alive.

use std::cell::Cell;
use std::ffi::c_int;

use kemi_core::{ErrorCode, Function, ScriptError};

use crate::call::CallState;
use crate::ffi::{self, LuaThread};
use crate::frames;

/// The kept functions of one state.
pub(crate) struct Functions(Cell<Refs>);

/// References in Lua's registry.
#[derive(Clone, Copy)]
struct Refs {
    /// The table of functions.
    table: c_int,
    /// The function [`store`].
    store: c_int,
}

impl Functions {
    /// Makes a record of a fresh state.
    pub(crate) fn new() -> Functions {
        Functions(Cell::new(Refs { table: ffi::LUA_NOREF, store: ffi::LUA_NOREF }))
    }

    /// Makes the table.
    ///
    /// # Safety
    /// The call is protected.
    pub(crate) unsafe fn set_up(&self, l: LuaThread) {
        // SAFETY: as the caller's; this frame only borrows.
        unsafe {
            ffi::lua_createtable(l, 0, 0);
            ffi::lua_pushvalue(l, -1);
            let table = ffi::luaL_ref(l, ffi::LUA_REGISTRYINDEX);
            ffi::lua_pushcclosure(l, store, 1);
            let store = ffi::luaL_ref(l, ffi::LUA_REGISTRYINDEX);
            self.0.set(Refs { table, store });
        }
    }

    /// Keeps the function at an index for the host. Raises nothing.
    ///
    /// # Errors
    /// [`ErrorCode::ValueNotConvertible`] if there is no memory for it, [`ErrorCode::StackOverflow`] if there is no stack.
    ///
    /// # Safety
    /// The index holds a function and is not relative to the top.
    pub(crate) unsafe fn keep(&self, call: &CallState, l: LuaThread, index: c_int) -> Result<Function, ScriptError> {
        let (slot, function) = call.runtime().keep_function()?;
        // SAFETY: as the caller's; the slots are made sure of, and only the protected call allocates.
        let status = unsafe {
            let top = ffi::lua_gettop(l);
            if ffi::lua_checkstack(l, 3) == 0 {
                return Err(no_room(ffi::LUA_ERRERR));
            }
            ffi::lua_rawgeti(l, ffi::LUA_REGISTRYINDEX, self.0.get().store.into());
            ffi::lua_pushvalue(l, index);
            ffi::lua_pushinteger(l, key(slot));
            let status = ffi::lua_pcall(l, 2, 0, 0);
            ffi::lua_settop(l, top);
            status
        };
        if status == ffi::LUA_OK {
            return Ok(function);
        }
        call.memory().report_refused(frames::place(l));
        Err(no_room(status))
    }

    /// Pushes the function of a slot. Neither raises nor allocates.
    ///
    /// # Safety
    /// Two slots of the stack are free.
    pub(crate) unsafe fn push(&self, l: LuaThread, slot: u32) {
        // SAFETY: as the caller's.
        unsafe {
            ffi::lua_rawgeti(l, ffi::LUA_REGISTRYINDEX, self.0.get().table.into());
            ffi::lua_rawgeti(l, -1, key(slot));
            ffi::lua_remove(l, -2);
        }
    }

    /// Forgets the functions of slots. Runs nothing of the script: what they have held is garbage from now on.
    pub(crate) fn release(&self, l: LuaThread, slots: &[u32]) {
        // SAFETY: the slots of the stack are made sure of. A key that is there can be set to nil without memory.
        unsafe {
            if ffi::lua_checkstack(l, 3) == 0 {
                return;
            }
            ffi::lua_rawgeti(l, ffi::LUA_REGISTRYINDEX, self.0.get().table.into());
            for &slot in slots {
                ffi::lua_rawgeti(l, -1, key(slot));
                let is_there = ffi::lua_type(l, -1) != ffi::LUA_TNIL;
                ffi::lua_settop(l, -2);
                if is_there {
                    ffi::lua_pushnil(l);
                    ffi::lua_rawseti(l, -2, key(slot));
                }
            }
            ffi::lua_settop(l, -2);
        }
    }
}

/// Returns the key of a slot, so that the table is a list.
fn key(slot: u32) -> ffi::lua_Integer {
    ffi::lua_Integer::from(slot) + 1
}

#[cold]
fn no_room(status: c_int) -> ScriptError {
    let code = if status == ffi::LUA_ERRMEM { ErrorCode::ValueNotConvertible } else { ErrorCode::StackOverflow };
    ScriptError::new(code, "no room in Lua to keep a function for the host")
}

/// Stores a function in the table, which is the upvalue, under a key.
unsafe extern "C-unwind" fn store(l: LuaThread) -> c_int {
    // SAFETY: called by `keep` with a function and a number; this frame owns nothing.
    unsafe {
        let key = ffi::lua_tointeger(l, 2);
        ffi::lua_settop(l, 1);
        ffi::lua_rawseti(l, ffi::lua_upvalueindex(1), key);
    }
    0
}
