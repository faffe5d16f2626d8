//! LuaJIT 2.1, built from its vendored source, and as much of its C interface as `kemi-lua` uses.
//!
//! `mlua-sys` offers Lua 5.4 *or* LuaJIT: a build in which one crate asks for the one and another for the other does not
//! compile. Features only add, so `kemi-lua` takes Lua 5.4 from there and LuaJIT from here. Names and meanings are those of
//! LuaJIT's `lua.h` and `lauxlib.h`; what only later versions of Lua have is named and behaves as there.
//!
//! # Safety
//! The rules are those of LuaJIT's manual, for all functions: the state is alive, and no other thread of the system is in it; an
//! index holds a value, unless the function is to tell that; there is a free slot for what is pushed; a C string ends in NUL.
//! What can run out of memory, call a metamethod or say that an argument is wrong raises: it is called in a protected call,
//! and no frame of Rust between there and here owns anything, since an error skips destructors.
#![allow(non_camel_case_types, non_snake_case, reason = "the names are those of the C interface")]

use std::ffi::{c_char, c_double, c_int, c_void};
use std::marker::{PhantomData, PhantomPinned};

/// As a number of results: all of them.
pub const LUA_MULTRET: c_int = -1;
/// The pseudo-index of the registry.
pub const LUA_REGISTRYINDEX: c_int = -10000;
/// The pseudo-index of the table of globals.
pub const LUA_GLOBALSINDEX: c_int = -10002;
/// How many free slots a C function has at least.
pub const LUA_MINSTACK: c_int = 20;
/// A reference that refers to nothing.
pub const LUA_NOREF: c_int = -2;

/// The status of what went well.
pub const LUA_OK: c_int = 0;
/// The status of a coroutine that has yielded.
pub const LUA_YIELD: c_int = 1;
/// The status for a lack of memory.
pub const LUA_ERRMEM: c_int = 4;
/// The status for an error in the message handler.
pub const LUA_ERRERR: c_int = 5;

/// The type of an index that holds no value.
pub const LUA_TNONE: c_int = -1;
/// The type of nil.
pub const LUA_TNIL: c_int = 0;
/// The type of booleans.
pub const LUA_TBOOLEAN: c_int = 1;
/// The type of plain pointers.
pub const LUA_TLIGHTUSERDATA: c_int = 2;
/// The type of numbers.
pub const LUA_TNUMBER: c_int = 3;
/// The type of strings.
pub const LUA_TSTRING: c_int = 4;
/// The type of tables.
pub const LUA_TTABLE: c_int = 5;
/// The type of functions.
pub const LUA_TFUNCTION: c_int = 6;
/// The type of full userdata.
pub const LUA_TUSERDATA: c_int = 7;
/// The type of coroutines.
pub const LUA_TTHREAD: c_int = 8;

/// For [`lua_gc`]: a full collection.
pub const LUA_GCCOLLECT: c_int = 2;
/// For [`lua_gc`]: the memory in use, in kilobytes.
pub const LUA_GCCOUNT: c_int = 3;
/// For [`lua_gc`]: the remainder of the memory in use, in bytes.
pub const LUA_GCCOUNTB: c_int = 4;

/// The event of a hook that counts instructions.
pub const LUA_HOOKCOUNT: c_int = 3;
/// Has a hook called for calls.
pub const LUA_MASKCALL: c_int = 1;
/// Has a hook called after a number of instructions.
pub const LUA_MASKCOUNT: c_int = 1 << 3;

/// A state, or a coroutine of one.
#[repr(C)]
#[derive(Debug)]
pub struct lua_State {
    _data: [u8; 0],
    _marker: PhantomData<(*mut u8, PhantomPinned)>,
}

/// A number of Lua's.
pub type lua_Number = c_double;
/// As Lua 5.4 has it; LuaJIT's own is as wide as a pointer.
pub type lua_Integer = i64;
/// A C function that Lua calls; it returns the number of results.
pub type lua_CFunction = unsafe extern "C-unwind" fn(L: *mut lua_State) -> c_int;
/// Gives the compiler the next piece of a chunk; null at its end.
pub type lua_Reader =
    unsafe extern "C-unwind" fn(L: *mut lua_State, data: *mut c_void, size: *mut usize) -> *const c_char;
/// An allocator: it frees, allocates and resizes blocks. It neither raises nor unwinds.
pub type lua_Alloc =
    unsafe extern "C" fn(data: *mut c_void, block: *mut c_void, old: usize, size: usize) -> *mut c_void;
/// A function that is called at events of the interpreter.
pub type lua_Hook = unsafe extern "C-unwind" fn(L: *mut lua_State, ar: *mut lua_Debug);

const LUA_IDSIZE: usize = 60;

/// What [`lua_getinfo`] tells of a function or an activation.
#[repr(C)]
#[derive(Debug)]
pub struct lua_Debug {
    /// The event that the hook is called for.
    pub event: c_int,
    /// The name of the function; null if there is none.
    pub name: *const c_char,
    /// What the name is one of: a global, a local, a field.
    pub namewhat: *const c_char,
    /// `Lua`, `C` or `main`.
    pub what: *const c_char,
    /// The name of the chunk.
    pub source: *const c_char,
    /// The line that runs; -1 if it is not known.
    pub currentline: c_int,
    /// The number of upvalues.
    pub nups: c_int,
    /// The line where the definition begins.
    pub linedefined: c_int,
    /// The line where the definition ends.
    pub lastlinedefined: c_int,
    /// The name of the chunk for people, which ends in NUL.
    pub short_src: [c_char; LUA_IDSIZE],
    i_ci: c_int,
}

/// As `luaconf.h` computes it.
const LUAL_BUFFERSIZE: usize = if libc::BUFSIZ > 16384 { 8192 } else { libc::BUFSIZ as usize };

/// A string under construction. It must not move between [`luaL_buffinit`] and [`luaL_pushresult`].
#[repr(C)]
#[derive(Debug)]
pub struct luaL_Buffer {
    p: *mut c_char,
    lvl: c_int,
    L: *mut lua_State,
    buffer: [c_char; LUAL_BUFFERSIZE],
}

#[allow(clashing_extern_declarations)]
unsafe extern "C-unwind" {
    /// Closes a state and frees all that it has.
    pub fn lua_close(L: *mut lua_State);
    /// Pushes a new coroutine and returns it.
    pub fn lua_newthread(L: *mut lua_State) -> *mut lua_State;
    /// Returns the index of the top value, which is the number of values.
    pub fn lua_gettop(L: *mut lua_State) -> c_int;
    /// Sets the top; removes values, or fills up with nil.
    pub fn lua_settop(L: *mut lua_State, index: c_int);
    /// Pushes a copy of a value.
    pub fn lua_pushvalue(L: *mut lua_State, index: c_int);
    /// Removes a value, and shifts down what is above.
    pub fn lua_remove(L: *mut lua_State, index: c_int);
    /// Moves the top value to an index, and shifts up what is above.
    pub fn lua_insert(L: *mut lua_State, index: c_int);
    /// Moves the top value to an index, over what is there.
    pub fn lua_replace(L: *mut lua_State, index: c_int);
    /// Makes room for more values; returns 0 if there can be none.
    pub fn lua_checkstack(L: *mut lua_State, size: c_int) -> c_int;
    /// Moves values from one coroutine to another of the same state.
    pub fn lua_xmove(from: *mut lua_State, to: *mut lua_State, count: c_int);
    /// Tells whether a value is a string or a number.
    pub fn lua_isstring(L: *mut lua_State, index: c_int) -> c_int;
    /// Tells whether a value is a C function.
    pub fn lua_iscfunction(L: *mut lua_State, index: c_int) -> c_int;
    /// Returns the type of a value.
    pub fn lua_type(L: *mut lua_State, index: c_int) -> c_int;
    /// Returns the name of a type.
    pub fn lua_typename(L: *mut lua_State, kind: c_int) -> *const c_char;
    /// Tells whether two values are equal, without metamethods.
    pub fn lua_rawequal(L: *mut lua_State, a: c_int, b: c_int) -> c_int;
    /// Tells whether one value is less than another, as `<` does.
    pub fn lua_lessthan(L: *mut lua_State, a: c_int, b: c_int) -> c_int;
    /// Returns a value as a number; 0 if it is none.
    pub fn lua_tonumber(L: *mut lua_State, index: c_int) -> lua_Number;
    /// Tells whether a value is neither nil nor false.
    pub fn lua_toboolean(L: *mut lua_State, index: c_int) -> c_int;
    /// Returns a value as a string; null if it is none. A number becomes a string where it is.
    pub fn lua_tolstring(L: *mut lua_State, index: c_int, length: *mut usize) -> *const c_char;
    /// Returns the length of a string, a table or a userdata, without metamethods.
    pub fn lua_objlen(L: *mut lua_State, index: c_int) -> usize;
    /// Returns the block of a userdata, or a plain pointer; else null.
    pub fn lua_touserdata(L: *mut lua_State, index: c_int) -> *mut c_void;
    /// Returns a coroutine; null if it is none.
    pub fn lua_tothread(L: *mut lua_State, index: c_int) -> *mut lua_State;
    /// Returns an address that tells a value from others.
    pub fn lua_topointer(L: *mut lua_State, index: c_int) -> *const c_void;
    /// Pushes nil.
    pub fn lua_pushnil(L: *mut lua_State);
    /// Pushes a number.
    pub fn lua_pushnumber(L: *mut lua_State, n: lua_Number);
    /// Pushes a copy of bytes as a string.
    pub fn lua_pushlstring(L: *mut lua_State, text: *const c_char, length: usize);
    /// Pushes a copy of a C string.
    pub fn lua_pushstring(L: *mut lua_State, text: *const c_char);
    /// Pushes a C function with the values at the top as its upvalues, which are taken off.
    pub fn lua_pushcclosure(L: *mut lua_State, function: lua_CFunction, upvalues: c_int);
    /// Pushes a boolean.
    pub fn lua_pushboolean(L: *mut lua_State, b: c_int);
    /// Pushes a plain pointer.
    pub fn lua_pushlightuserdata(L: *mut lua_State, pointer: *mut c_void);
    /// Pushes the thread itself; returns 1 if it is the main one.
    pub fn lua_pushthread(L: *mut lua_State) -> c_int;
    /// Replaces the key at the top by the element of a table, as `t[k]` does.
    pub fn lua_gettable(L: *mut lua_State, index: c_int);
    /// Pushes a field of a table, as `t.k` does.
    pub fn lua_getfield(L: *mut lua_State, index: c_int, key: *const c_char);
    /// Replaces the key at the top by the element of a table, without metamethods.
    pub fn lua_rawget(L: *mut lua_State, index: c_int);
    /// Pushes a new table with room for so many elements.
    pub fn lua_createtable(L: *mut lua_State, items: c_int, keys: c_int);
    /// Pushes a new userdata and returns its block.
    pub fn lua_newuserdata(L: *mut lua_State, size: usize) -> *mut c_void;
    /// Pushes the metatable of a value; returns 0 and pushes nothing if it has none.
    pub fn lua_getmetatable(L: *mut lua_State, index: c_int) -> c_int;
    /// Sets a field of a table to the value at the top, as `t.k = v` does.
    pub fn lua_setfield(L: *mut lua_State, index: c_int, key: *const c_char);
    /// Sets an element of a table to the value at the top, with the key below it, without metamethods.
    pub fn lua_rawset(L: *mut lua_State, index: c_int);
    /// Makes the table at the top, or nil, the metatable of a value.
    pub fn lua_setmetatable(L: *mut lua_State, index: c_int) -> c_int;
    /// Makes the table at the top the environment of a function.
    pub fn lua_setfenv(L: *mut lua_State, index: c_int) -> c_int;
    /// Calls the function below the arguments.
    pub fn lua_call(L: *mut lua_State, args: c_int, results: c_int);
    /// Calls the function below the arguments; returns the status, and pushes the error if there is one.
    pub fn lua_pcall(L: *mut lua_State, args: c_int, results: c_int, handler: c_int) -> c_int;
    /// Calls a C function with a plain pointer as its argument; returns the status.
    pub fn lua_cpcall(L: *mut lua_State, function: lua_CFunction, data: *mut c_void) -> c_int;
    /// Compiles a chunk that a reader gives; pushes the function or the error, and returns the status.
    pub fn lua_loadx(
        L: *mut lua_State,
        reader: lua_Reader,
        data: *mut c_void,
        name: *const c_char,
        mode: *const c_char,
    ) -> c_int;
    /// Returns the status of a coroutine.
    pub fn lua_status(L: *mut lua_State) -> c_int;
    /// Controls the garbage collector.
    pub fn lua_gc(L: *mut lua_State, what: c_int, data: c_int) -> c_int;
    /// Replaces the key at the top by the next key and its element; returns 0 and pushes nothing at the end.
    pub fn lua_next(L: *mut lua_State, index: c_int) -> c_int;
    /// Replaces values at the top by their concatenation.
    pub fn lua_concat(L: *mut lua_State, count: c_int);
    /// Returns the allocator of a state, and the allocator's data.
    pub fn lua_getallocf(L: *mut lua_State, data: *mut *mut c_void) -> lua_Alloc;
    /// Replaces the allocator of a state.
    pub fn lua_setallocf(L: *mut lua_State, alloc: lua_Alloc, data: *mut c_void);
    /// Fills a record with the activation at a level; returns 0 if there is none.
    pub fn lua_getstack(L: *mut lua_State, level: c_int, ar: *mut lua_Debug) -> c_int;
    /// Fills a record with what is asked for.
    pub fn lua_getinfo(L: *mut lua_State, what: *const c_char, ar: *mut lua_Debug) -> c_int;
    /// Sets the hook; it may be called at any instant, from a signal handler too.
    pub fn lua_sethook(L: *mut lua_State, hook: Option<lua_Hook>, mask: c_int, count: c_int) -> c_int;
    /// Returns after how many instructions the hook is called.
    pub fn lua_gethookcount(L: *mut lua_State) -> c_int;

    /// Creates a state; null if there is no memory.
    pub fn luaL_newstate() -> *mut lua_State;
    /// Opens all libraries.
    pub fn luaL_openlibs(L: *mut lua_State);
    /// Opens the library `ffi`, as a C function.
    pub fn luaopen_ffi(L: *mut lua_State) -> c_int;
    /// Returns a text argument; raises if it is none.
    pub fn luaL_checklstring(L: *mut lua_State, arg: c_int, length: *mut usize) -> *const c_char;
    /// Returns a text argument, or the default if there is none.
    pub fn luaL_optlstring(L: *mut lua_State, arg: c_int, default: *const c_char, length: *mut usize) -> *const c_char;
    /// Makes room for more values; raises if there can be none.
    pub fn luaL_checkstack(L: *mut lua_State, size: c_int, message: *const c_char);
    /// Raises if an argument is not of a type.
    pub fn luaL_checktype(L: *mut lua_State, arg: c_int, kind: c_int);
    /// Raises an error about an argument.
    pub fn luaL_argerror(L: *mut lua_State, arg: c_int, message: *const c_char) -> c_int;
    /// Raises a message with the place of the caller.
    pub fn luaL_error(L: *mut lua_State, format: *const c_char, ...) -> c_int;
    /// Takes the value at the top into a table and returns a reference to it.
    pub fn luaL_ref(L: *mut lua_State, table: c_int) -> c_int;
    /// Gives a reference back.
    pub fn luaL_unref(L: *mut lua_State, table: c_int, reference: c_int);
    /// Compiles a text; pushes the function or the error, and returns the status.
    pub fn luaL_loadbufferx(
        L: *mut lua_State,
        text: *const c_char,
        length: usize,
        name: *const c_char,
        mode: *const c_char,
    ) -> c_int;
    /// Pushes the traceback of a coroutine, with a message before it.
    pub fn luaL_traceback(L: *mut lua_State, of: *mut lua_State, message: *const c_char, level: c_int);
    /// Begins a string.
    pub fn luaL_buffinit(L: *mut lua_State, buffer: *mut luaL_Buffer);
    /// Adds bytes to a string.
    pub fn luaL_addlstring(buffer: *mut luaL_Buffer, text: *const c_char, length: usize);
    /// Adds the text at the top to a string, and takes it off.
    pub fn luaL_addvalue(buffer: *mut luaL_Buffer);
    /// Ends a string and pushes it.
    pub fn luaL_pushresult(buffer: *mut luaL_Buffer);
    /// Calls a metamethod of a value and pushes its result; returns 0 and pushes nothing if there is none.
    pub fn luaL_callmeta(L: *mut lua_State, index: c_int, event: *const c_char) -> c_int;
    #[link_name = "luaL_getmetafield"]
    fn getmetafield(L: *mut lua_State, index: c_int, event: *const c_char) -> c_int;

    #[link_name = "lua_error"]
    fn raise(L: *mut lua_State) -> c_int;
    #[link_name = "lua_rawgeti"]
    fn rawgeti(L: *mut lua_State, index: c_int, n: c_int);
    #[link_name = "lua_rawseti"]
    fn rawseti(L: *mut lua_State, index: c_int, n: c_int);
    #[link_name = "lua_tointeger"]
    fn tointeger(L: *mut lua_State, index: c_int) -> isize;
    #[link_name = "lua_pushinteger"]
    fn pushinteger(L: *mut lua_State, n: isize);
    #[link_name = "luaL_checkinteger"]
    fn checkinteger(L: *mut lua_State, arg: c_int) -> isize;
    #[link_name = "luaL_optinteger"]
    fn optinteger(L: *mut lua_State, arg: c_int, default: isize) -> isize;
    fn lua_pushfstring(L: *mut lua_State, format: *const c_char, ...) -> *const c_char;
}

/// Returns the pseudo-index of an upvalue of the running function.
#[must_use]
pub const fn lua_upvalueindex(index: c_int) -> c_int {
    LUA_GLOBALSINDEX - index
}

/// Raises the value at the top as an error.
///
/// # Safety
/// As [for all functions](crate#safety); it always raises.
pub unsafe fn lua_error(L: *mut lua_State) -> ! {
    // SAFETY: as the caller's.
    unsafe { raise(L) };
    // It does not return.
    std::process::abort()
}

/// Pushes a C function without upvalues.
///
/// # Safety
/// As [for all functions](crate#safety).
pub unsafe fn lua_pushcfunction(L: *mut lua_State, function: lua_CFunction) {
    // SAFETY: as the caller's.
    unsafe { lua_pushcclosure(L, function, 0) };
}

/// Pushes the table of globals.
///
/// # Safety
/// As [for all functions](crate#safety).
pub unsafe fn lua_pushglobaltable(L: *mut lua_State) {
    // SAFETY: as the caller's.
    unsafe { lua_pushvalue(L, LUA_GLOBALSINDEX) };
}

/// Pushes a global.
///
/// # Safety
/// As [for all functions](crate#safety).
pub unsafe fn lua_getglobal(L: *mut lua_State, name: *const c_char) {
    // SAFETY: as the caller's.
    unsafe { lua_getfield(L, LUA_GLOBALSINDEX, name) };
}

/// Sets a global to the value at the top.
///
/// # Safety
/// As [for all functions](crate#safety).
pub unsafe fn lua_setglobal(L: *mut lua_State, name: *const c_char) {
    // SAFETY: as the caller's.
    unsafe { lua_setfield(L, LUA_GLOBALSINDEX, name) };
}

/// Pushes the metatable that the registry has under a name.
///
/// # Safety
/// As [for all functions](crate#safety).
pub unsafe fn luaL_getmetatable(L: *mut lua_State, name: *const c_char) {
    // SAFETY: as the caller's.
    unsafe { lua_getfield(L, LUA_REGISTRYINDEX, name) };
}

/// Returns the name of the type of a value.
///
/// # Safety
/// As [for all functions](crate#safety).
pub unsafe fn luaL_typename(L: *mut lua_State, index: c_int) -> *const c_char {
    // SAFETY: as the caller's.
    unsafe { lua_typename(L, lua_type(L, index)) }
}

/// Returns the length of a string, a table or a userdata, without metamethods.
///
/// # Safety
/// As [for all functions](crate#safety).
pub unsafe fn lua_rawlen(L: *mut lua_State, index: c_int) -> usize {
    // SAFETY: as the caller's.
    unsafe { lua_objlen(L, index) }
}

/// Pushes an integer as a number.
///
/// # Safety
/// As [for all functions](crate#safety).
#[inline]
pub unsafe fn lua_pushinteger(L: *mut lua_State, n: lua_Integer) {
    // SAFETY: as the caller's.
    unsafe {
        match isize::try_from(n) {
            Ok(n) => pushinteger(L, n),
            Err(_) => lua_pushnumber(L, n as lua_Number),
        }
    }
}

/// Returns a value as an integer; 0 if it is no number.
///
/// # Safety
/// As [for all functions](crate#safety).
#[inline]
pub unsafe fn lua_tointeger(L: *mut lua_State, index: c_int) -> lua_Integer {
    // SAFETY: as the caller's.
    unsafe { tointeger(L, index) as lua_Integer }
}

/// Returns an argument as an integer; raises if it is no number.
///
/// # Safety
/// As [for all functions](crate#safety).
pub unsafe fn luaL_checkinteger(L: *mut lua_State, arg: c_int) -> lua_Integer {
    // SAFETY: as the caller's.
    unsafe { checkinteger(L, arg) as lua_Integer }
}

/// Returns an argument as an integer, or the default if there is none.
///
/// # Safety
/// As [for all functions](crate#safety).
pub unsafe fn luaL_optinteger(L: *mut lua_State, arg: c_int, default: lua_Integer) -> lua_Integer {
    // SAFETY: as the caller's.
    unsafe { optinteger(L, arg, isize::try_from(default).unwrap_or(isize::MAX)) as lua_Integer }
}

/// Pushes an element of a table, without metamethods. A number beyond a C integer is a key like others.
///
/// # Safety
/// As [for all functions](crate#safety).
#[inline]
pub unsafe fn lua_rawgeti(L: *mut lua_State, index: c_int, n: lua_Integer) {
    // SAFETY: as the caller's.
    unsafe {
        if let Ok(n) = c_int::try_from(n) {
            rawgeti(L, index, n);
        } else {
            let table = absolute(L, index);
            lua_pushinteger(L, n);
            lua_rawget(L, table);
        }
    }
}

/// Sets an element of a table to the value at the top, without metamethods. A number beyond a C integer is a key like others.
///
/// # Safety
/// As [for all functions](crate#safety), with a free slot.
#[inline]
pub unsafe fn lua_rawseti(L: *mut lua_State, index: c_int, n: lua_Integer) {
    // SAFETY: as the caller's.
    unsafe {
        if let Ok(n) = c_int::try_from(n) {
            rawseti(L, index, n);
        } else {
            let table = absolute(L, index);
            lua_pushinteger(L, n);
            lua_insert(L, -2);
            lua_rawset(L, table);
        }
    }
}

/// Pushes the element of a table that has a pointer as its key, without metamethods.
///
/// # Safety
/// As [for all functions](crate#safety).
pub unsafe fn lua_rawgetp(L: *mut lua_State, index: c_int, key: *const c_void) {
    // SAFETY: as the caller's.
    unsafe {
        let table = absolute(L, index);
        lua_pushlightuserdata(L, key.cast_mut());
        lua_rawget(L, table);
    }
}

/// Sets the element of a table that has a pointer as its key to the value at the top, without metamethods.
///
/// # Safety
/// As [for all functions](crate#safety), with a free slot.
pub unsafe fn lua_rawsetp(L: *mut lua_State, index: c_int, key: *const c_void) {
    // SAFETY: as the caller's.
    unsafe {
        let table = absolute(L, index);
        lua_pushlightuserdata(L, key.cast_mut());
        lua_insert(L, -2);
        lua_rawset(L, table);
    }
}

/// Returns an index that pushing does not change.
///
/// # Safety
/// As [for all functions](crate#safety).
unsafe fn absolute(L: *mut lua_State, index: c_int) -> c_int {
    // SAFETY: as the caller's.
    if index > 0 || index <= LUA_REGISTRYINDEX { index } else { unsafe { lua_gettop(L) + index + 1 } }
}

/// Pushes a field of a value's metatable and returns its type; pushes nothing for nil.
///
/// # Safety
/// As [for all functions](crate#safety).
pub unsafe fn luaL_getmetafield(L: *mut lua_State, index: c_int, event: *const c_char) -> c_int {
    // SAFETY: as the caller's.
    unsafe { if getmetafield(L, index, event) != 0 { lua_type(L, -1) } else { LUA_TNIL } }
}

/// Pushes a value as text, as `tostring` does.
///
/// # Safety
/// As [for all functions](crate#safety); it may raise, and needs a few free slots.
pub unsafe fn luaL_tolstring(L: *mut lua_State, index: c_int, length: *mut usize) -> *const c_char {
    // SAFETY: as the caller's.
    unsafe {
        let index = absolute(L, index);
        if luaL_callmeta(L, index, c"__tostring".as_ptr()) != 0 {
            if lua_isstring(L, -1) == 0 {
                luaL_error(L, c"'__tostring' must return a string".as_ptr());
            }
            return lua_tolstring(L, -1, length);
        }
        match lua_type(L, index) {
            LUA_TNIL => lua_pushstring(L, c"nil".as_ptr()),
            LUA_TSTRING | LUA_TNUMBER => lua_pushvalue(L, index),
            LUA_TBOOLEAN => {
                let text = if lua_toboolean(L, index) != 0 { c"true" } else { c"false" };
                lua_pushstring(L, text.as_ptr());
            }
            kind => {
                lua_pushfstring(L, c"%s: %p".as_ptr(), lua_typename(L, kind), lua_topointer(L, index));
            }
        }
        lua_tolstring(L, -1, length)
    }
}
