//! The root object looked at after a callback, and put back where a script has replaced something of it.
//!
//! The root is made of plain tables, which any script may write to: a guard would cost each call of a native function.
//! So it is compared afterwards: the global itself after each callback, what is below only after one that failed.

use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::ptr;

use kemi_core::registry::RegistryData;

use crate::call::{CallState, pinned};
use crate::ffi::{self, LuaThread};
use crate::string;

/// The root object of one state as it was bound.
pub(crate) struct Integrity(Cell<BoundRoot>);

/// References in Lua's registry.
#[derive(Clone, Copy)]
struct BoundRoot {
    /// The root's name.
    name: c_int,
    root: c_int,
    /// A list: the path of a module or of a constant that is a table, the table and a copy of that, by turns.
    tree: c_int,
    address: *const c_void,
}

impl Integrity {
    /// Makes a record of nothing.
    pub(crate) fn new() -> Integrity {
        let none = ffi::LUA_NOREF;
        Integrity(Cell::new(BoundRoot { name: none, root: none, tree: none, address: ptr::null() }))
    }

    /// Remembers the root as it is now.
    ///
    /// # Safety
    /// The call is protected.
    pub(crate) unsafe fn remember(&self, l: LuaThread, registry: &RegistryData) {
        // SAFETY: as the caller's; this frame only borrows. A C function has twenty free slots.
        unsafe {
            string::push(l, registry.root().as_bytes());
            let name = ffi::luaL_ref(l, ffi::LUA_REGISTRYINDEX);
            ffi::lua_rawgeti(l, ffi::LUA_REGISTRYINDEX, name.into());
            ffi::lua_pushglobaltable(l);
            ffi::lua_insert(l, -2);
            ffi::lua_rawget(l, -2);
            ffi::lua_remove(l, -2);
            let root = ffi::lua_gettop(l);
            let address = ffi::lua_topointer(l, root);
            ffi::lua_createtable(l, 0, 0);
            let tree = root + 1;

            string::push(l, registry.root().as_bytes());
            ffi::lua_pushvalue(l, root);
            append(l, tree);
            let tree = ffi::luaL_ref(l, ffi::LUA_REGISTRYINDEX);
            let root = ffi::luaL_ref(l, ffi::LUA_REGISTRYINDEX);
            self.0.set(BoundRoot { name, root, tree, address });
        }
    }

    /// Pushes the name of the root.
    ///
    /// # Safety
    /// One slot is free; the root was [remembered](Self::remember).
    pub(crate) unsafe fn push_name(&self, l: LuaThread) {
        // SAFETY: as the caller's.
        unsafe { ffi::lua_rawgeti(l, ffi::LUA_REGISTRYINDEX, self.0.get().name.into()) };
    }

    /// Puts back what is not as it was bound, and returns its names. Without `thorough` it looks at the global only.
    pub(crate) fn restore(&self, call: &CallState, l: LuaThread, thorough: bool) -> Vec<String> {
        let bound = self.is_bound(l);
        if bound && !thorough {
            return Vec::new();
        }
        call.memory().unlimited(|| self.put_back(call.runtime().registry(), l, bound, thorough))
    }

    /// Returns whether the global is the root as it was bound. The thread is the main one, between two callbacks.
    fn is_bound(&self, l: LuaThread) -> bool {
        // SAFETY: the pinned values are there, with free slots above; nothing here raises: no memory is asked for, no
        // metamethod is called.
        unsafe {
            ffi::lua_pushvalue(l, pinned::ROOT_NAME);
            ffi::lua_rawget(l, pinned::GLOBALS);
            let found = ffi::lua_topointer(l, -1);
            ffi::lua_settop(l, -2);
            found == self.0.get().address
        }
    }

    #[cold]
    fn put_back(&self, registry: &RegistryData, l: LuaThread, root_is_bound: bool, thorough: bool) -> Vec<String> {
        let bound = self.0.get();
        let mut replaced = Vec::new();
        if !root_is_bound {
            // SAFETY: protected; the closure owns nothing. It fails only for lack of memory; the next call tries again.
            let status = ffi::protected(l, |l| unsafe {
                ffi::lua_pushglobaltable(l);
                ffi::lua_rawgeti(l, ffi::LUA_REGISTRYINDEX, bound.name.into());
                ffi::lua_rawgeti(l, ffi::LUA_REGISTRYINDEX, bound.root.into());
                ffi::lua_rawset(l, -3);
            });
            if status == ffi::LUA_OK {
                replaced.push(registry.root().to_owned());
            }
        }
        if thorough {
            let names = &mut replaced;
            // SAFETY: protected. What an error of Lua may skip in the closure is at most a name that is being made.
            let _ = ffi::protected(l, |l| unsafe { restore_tree(l, bound.tree, names) });
        }
        replaced
    }
}

/// Appends the path and the table at the top to a list, with a copy of the table; then the tables in it.
///
/// # Safety
/// The call is protected, and the table is as it was bound: its keys are no tables, and no table is in itself.
unsafe fn append(l: LuaThread, list: c_int) {
    // SAFETY: as the caller's; the room is made sure of. The copy does not change while it is walked through.
    unsafe {
        ffi::luaL_checkstack(l, 8, ptr::null());
        let table = ffi::lua_gettop(l);
        let (path, copy) = (table - 1, table + 1);
        ffi::lua_createtable(l, 0, 16);
        ffi::lua_pushnil(l);
        while ffi::lua_next(l, table) != 0 {
            ffi::lua_pushvalue(l, -2);
            ffi::lua_insert(l, -2);
            ffi::lua_rawset(l, copy);
        }
        let length = ffi::lua_rawlen(l, list) as ffi::lua_Integer;
        for (index, offset) in [(path, 1), (table, 2), (copy, 3)] {
            ffi::lua_pushvalue(l, index);
            ffi::lua_rawseti(l, list, length + offset);
        }
        ffi::lua_pushnil(l);
        while ffi::lua_next(l, copy) != 0 {
            let (key, value) = (copy + 1, copy + 2);
            if ffi::lua_type(l, value) == ffi::LUA_TTABLE {
                ffi::lua_pushvalue(l, path);
                string::push(l, b".");
                // Converted, a number would be another key.
                ffi::lua_pushvalue(l, key);
                ffi::lua_concat(l, 3);
                ffi::lua_pushvalue(l, value);
                append(l, list);
            }
            ffi::lua_settop(l, key);
        }
        ffi::lua_settop(l, path - 1);
    }
}

/// Puts back what is below the root, and adds its names.
///
/// # Safety
/// The call is protected; `tree` refers to the list of [`BoundRoot`].
unsafe fn restore_tree(l: LuaThread, tree: c_int, replaced: &mut Vec<String>) {
    // SAFETY: as the caller's; a C function has twenty free slots. The copies are ours alone, so their keys are
    // strings and numbers, and nobody changes them while they are walked through.
    unsafe {
        ffi::lua_settop(l, 0);
        ffi::lua_rawgeti(l, ffi::LUA_REGISTRYINDEX, tree.into());
        let length = ffi::lua_rawlen(l, 1) as ffi::lua_Integer;
        let mut at = 1;
        while at < length {
            for offset in 0..3 {
                ffi::lua_rawgeti(l, 1, at + offset);
            }
            let (path, table, copy) = (2, 3, 4);
            ffi::lua_pushnil(l);
            while ffi::lua_next(l, copy) != 0 {
                let (key, bound) = (5, 6);
                ffi::lua_pushvalue(l, key);
                ffi::lua_rawget(l, table);
                if ffi::lua_rawequal(l, bound, -1) == 0 {
                    ffi::lua_pushvalue(l, key);
                    ffi::lua_pushvalue(l, bound);
                    ffi::lua_rawset(l, table);
                    // Reading a number as text would make it another key.
                    ffi::lua_settop(l, key);
                    ffi::lua_pushvalue(l, key);
                    let [path, member] = [path, key + 1].map(|index| String::from_utf8_lossy(string::read(l, index)));
                    replaced.push(format!("{path}.{member}"));
                }
                ffi::lua_settop(l, key);
            }
            ffi::lua_settop(l, 1);
            at += 3;
        }
    }
}
