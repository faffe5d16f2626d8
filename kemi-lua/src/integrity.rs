//! The root object as it was bound, and how it is put back when a script has replaced something of it.
//!
//! The root is made of plain tables, which any script may write to: a guard would cost each call of a native function.
//! So it is compared afterwards: the global itself after each callback, what is below only after one that failed.

use std::ffi::{c_int, c_void};
use std::ptr;

use crate::ffi;

use crate::interpreter::{Core, pinned, protected};
use crate::value::{self, State};

/// What was bound, in Lua's registry.
#[derive(Clone, Copy)]
pub(crate) struct BoundRoot {
    /// The root's name.
    pub(crate) name: c_int,
    root: c_int,
    /// A list: the name of a module, its table and a copy of that, by turns. The root comes first, under its own name.
    tree: c_int,
    address: *const c_void,
}

impl Default for BoundRoot {
    fn default() -> BoundRoot {
        BoundRoot { name: ffi::LUA_NOREF, root: ffi::LUA_NOREF, tree: ffi::LUA_NOREF, address: ptr::null() }
    }
}

/// Remembers the root as it is now.
///
/// # Safety
/// Protected.
pub(crate) unsafe fn remember(l: State, core: &Core) {
    let registry = core.runtime.registry();
    // SAFETY: as the caller's; this frame only borrows. A C function has twenty free slots.
    unsafe {
        value::push_bytes(l, registry.root().as_bytes());
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

        value::push_bytes(l, registry.root().as_bytes());
        ffi::lua_pushvalue(l, root);
        append(l, tree);
        for (module, _) in registry.modules().filter(|(module, _)| !module.is_empty()) {
            value::push_bytes(l, module.as_bytes());
            ffi::lua_pushvalue(l, -1);
            ffi::lua_rawget(l, root);
            append(l, tree);
        }
        let tree = ffi::luaL_ref(l, ffi::LUA_REGISTRYINDEX);
        let root = ffi::luaL_ref(l, ffi::LUA_REGISTRYINDEX);
        core.bound_root.set(BoundRoot { name, root, tree, address });
    }
}

/// Appends the name and the table at the top to a list, with a copy of the table.
///
/// # Safety
/// Protected, with six free slots.
unsafe fn append(l: State, list: c_int) {
    // SAFETY: as the caller's.
    unsafe {
        let table = ffi::lua_gettop(l);
        ffi::lua_createtable(l, 0, 16);
        ffi::lua_pushnil(l);
        while ffi::lua_next(l, table) != 0 {
            ffi::lua_pushvalue(l, -2);
            ffi::lua_insert(l, -2);
            ffi::lua_rawset(l, table + 1);
        }
        let length = ffi::lua_rawlen(l, list) as ffi::lua_Integer;
        for offset in [3, 2, 1] {
            ffi::lua_rawseti(l, list, length + offset);
        }
    }
}

/// Puts back what is not as it was bound, and returns its names.
pub(crate) fn repair(core: &Core, l: State, thorough: bool) -> Vec<String> {
    let bound = root_is_bound(core, l);
    if bound && !thorough {
        return Vec::new();
    }
    core.memory.for_host(|| put_back(core, l, bound, thorough))
}

#[cold]
fn put_back(core: &Core, l: State, root_is_bound: bool, thorough: bool) -> Vec<String> {
    let mut replaced = Vec::new();
    if !root_is_bound {
        let bound = core.bound_root.get();
        // SAFETY: protected; the closure owns nothing. It fails only for lack of memory; the next call tries again.
        let status = protected(l, |l| unsafe {
            ffi::lua_pushglobaltable(l);
            ffi::lua_rawgeti(l, ffi::LUA_REGISTRYINDEX, bound.name.into());
            ffi::lua_rawgeti(l, ffi::LUA_REGISTRYINDEX, bound.root.into());
            ffi::lua_rawset(l, -3);
        });
        if status == ffi::LUA_OK {
            replaced.push(core.runtime.registry().root().to_owned());
        }
    }
    if thorough {
        let names = &mut replaced;
        // SAFETY: protected. What an error of Lua may skip in the closure is at most a name that is being made.
        let _ = protected(l, |l| unsafe { repair_tree(core, l, names) });
    }
    replaced
}

/// Returns whether the global is the root as it was bound. The state is the main one, between two callbacks.
fn root_is_bound(core: &Core, l: State) -> bool {
    // SAFETY: the pinned values are there, with free slots above; nothing here raises: no memory is asked for, no
    // metamethod is called.
    unsafe {
        ffi::lua_pushvalue(l, pinned::ROOT_NAME);
        ffi::lua_rawget(l, pinned::GLOBALS);
        let found = ffi::lua_topointer(l, -1);
        ffi::lua_settop(l, -2);
        found == core.bound_root.get().address
    }
}

/// # Safety
/// Protected.
unsafe fn repair_tree(core: &Core, l: State, replaced: &mut Vec<String>) {
    let root = core.runtime.registry().root();
    // SAFETY: as the caller's; a C function has twenty free slots. The copies are ours alone, so their keys are
    // strings, and nobody changes them while they are walked through.
    unsafe {
        ffi::lua_settop(l, 0);
        ffi::lua_rawgeti(l, ffi::LUA_REGISTRYINDEX, core.bound_root.get().tree.into());
        let length = ffi::lua_rawlen(l, 1) as ffi::lua_Integer;
        let mut at = 1;
        while at < length {
            for offset in 0..3 {
                ffi::lua_rawgeti(l, 1, at + offset);
            }
            let (name, table, copy) = (2, 3, 4);
            ffi::lua_pushnil(l);
            while ffi::lua_next(l, copy) != 0 {
                let (key, bound) = (5, 6);
                ffi::lua_pushvalue(l, key);
                ffi::lua_rawget(l, table);
                if ffi::lua_rawequal(l, bound, -1) == 0 {
                    ffi::lua_pushvalue(l, key);
                    ffi::lua_pushvalue(l, bound);
                    ffi::lua_rawset(l, table);
                    let member = String::from_utf8_lossy(value::string(l, key));
                    replaced.push(match at {
                        1 => format!("{root}.{member}"),
                        _ => format!("{root}.{}.{member}", String::from_utf8_lossy(value::string(l, name))),
                    });
                }
                ffi::lua_settop(l, key);
            }
            ffi::lua_settop(l, 1);
            at += 3;
        }
    }
}
