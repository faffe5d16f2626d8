//! LuaJIT 2.1, built from its vendored source, and as much of its C interface as `kemi-lua` uses.
//!
//! `mlua-sys` offers Lua 5.4 *or* LuaJIT: a build in which one crate asks for the one and another for the other does not
//! compile. Features only add, so `kemi-lua` takes Lua 5.4 from there and LuaJIT from here. Names and meanings are those of
//! LuaJIT's `lua.h` and `lauxlib.h`; what only later versions of Lua have is named and behaves as there.
#![allow(non_camel_case_types, non_snake_case, missing_docs, clippy::missing_safety_doc)]

use std::ffi::{c_char, c_double, c_int, c_void};
use std::marker::{PhantomData, PhantomPinned};

pub const LUA_MULTRET: c_int = -1;
pub const LUA_REGISTRYINDEX: c_int = -10000;
pub const LUA_GLOBALSINDEX: c_int = -10002;
pub const LUA_MINSTACK: c_int = 20;
pub const LUA_NOREF: c_int = -2;

pub const LUA_OK: c_int = 0;
pub const LUA_YIELD: c_int = 1;
pub const LUA_ERRMEM: c_int = 4;
pub const LUA_ERRERR: c_int = 5;

pub const LUA_TNONE: c_int = -1;
pub const LUA_TNIL: c_int = 0;
pub const LUA_TBOOLEAN: c_int = 1;
pub const LUA_TLIGHTUSERDATA: c_int = 2;
pub const LUA_TNUMBER: c_int = 3;
pub const LUA_TSTRING: c_int = 4;
pub const LUA_TTABLE: c_int = 5;
pub const LUA_TFUNCTION: c_int = 6;
pub const LUA_TUSERDATA: c_int = 7;
pub const LUA_TTHREAD: c_int = 8;

pub const LUA_GCCOLLECT: c_int = 2;
pub const LUA_GCCOUNT: c_int = 3;
pub const LUA_GCCOUNTB: c_int = 4;

pub const LUA_HOOKCOUNT: c_int = 3;
pub const LUA_MASKCALL: c_int = 1;
pub const LUA_MASKCOUNT: c_int = 1 << 3;

/// A state, or a coroutine of one.
#[repr(C)]
#[derive(Debug)]
pub struct lua_State {
    _data: [u8; 0],
    _marker: PhantomData<(*mut u8, PhantomPinned)>,
}

pub type lua_Number = c_double;
/// As Lua 5.4 has it; LuaJIT's own is as wide as a pointer.
pub type lua_Integer = i64;
pub type lua_CFunction = unsafe extern "C-unwind" fn(L: *mut lua_State) -> c_int;
pub type lua_Reader =
    unsafe extern "C-unwind" fn(L: *mut lua_State, data: *mut c_void, size: *mut usize) -> *const c_char;
pub type lua_Alloc =
    unsafe extern "C" fn(data: *mut c_void, block: *mut c_void, old: usize, size: usize) -> *mut c_void;
pub type lua_Hook = unsafe extern "C-unwind" fn(L: *mut lua_State, ar: *mut lua_Debug);

const LUA_IDSIZE: usize = 60;

#[repr(C)]
#[derive(Debug)]
pub struct lua_Debug {
    pub event: c_int,
    pub name: *const c_char,
    pub namewhat: *const c_char,
    pub what: *const c_char,
    pub source: *const c_char,
    pub currentline: c_int,
    pub nups: c_int,
    pub linedefined: c_int,
    pub lastlinedefined: c_int,
    pub short_src: [c_char; LUA_IDSIZE],
    i_ci: c_int,
}

/// As `luaconf.h` computes it.
const LUAL_BUFFERSIZE: usize = if libc::BUFSIZ > 16384 { 8192 } else { libc::BUFSIZ as usize };

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
    pub fn lua_close(L: *mut lua_State);
    pub fn lua_newthread(L: *mut lua_State) -> *mut lua_State;
    pub fn lua_gettop(L: *mut lua_State) -> c_int;
    pub fn lua_settop(L: *mut lua_State, index: c_int);
    pub fn lua_pushvalue(L: *mut lua_State, index: c_int);
    pub fn lua_remove(L: *mut lua_State, index: c_int);
    pub fn lua_insert(L: *mut lua_State, index: c_int);
    pub fn lua_replace(L: *mut lua_State, index: c_int);
    pub fn lua_checkstack(L: *mut lua_State, size: c_int) -> c_int;
    pub fn lua_xmove(from: *mut lua_State, to: *mut lua_State, count: c_int);
    pub fn lua_isstring(L: *mut lua_State, index: c_int) -> c_int;
    pub fn lua_iscfunction(L: *mut lua_State, index: c_int) -> c_int;
    pub fn lua_type(L: *mut lua_State, index: c_int) -> c_int;
    pub fn lua_typename(L: *mut lua_State, kind: c_int) -> *const c_char;
    pub fn lua_rawequal(L: *mut lua_State, a: c_int, b: c_int) -> c_int;
    pub fn lua_lessthan(L: *mut lua_State, a: c_int, b: c_int) -> c_int;
    pub fn lua_tonumber(L: *mut lua_State, index: c_int) -> lua_Number;
    pub fn lua_toboolean(L: *mut lua_State, index: c_int) -> c_int;
    pub fn lua_tolstring(L: *mut lua_State, index: c_int, length: *mut usize) -> *const c_char;
    pub fn lua_objlen(L: *mut lua_State, index: c_int) -> usize;
    pub fn lua_touserdata(L: *mut lua_State, index: c_int) -> *mut c_void;
    pub fn lua_tothread(L: *mut lua_State, index: c_int) -> *mut lua_State;
    pub fn lua_topointer(L: *mut lua_State, index: c_int) -> *const c_void;
    pub fn lua_pushnil(L: *mut lua_State);
    pub fn lua_pushnumber(L: *mut lua_State, n: lua_Number);
    pub fn lua_pushlstring(L: *mut lua_State, text: *const c_char, length: usize);
    pub fn lua_pushstring(L: *mut lua_State, text: *const c_char);
    pub fn lua_pushcclosure(L: *mut lua_State, function: lua_CFunction, upvalues: c_int);
    pub fn lua_pushboolean(L: *mut lua_State, b: c_int);
    pub fn lua_pushlightuserdata(L: *mut lua_State, pointer: *mut c_void);
    pub fn lua_pushthread(L: *mut lua_State) -> c_int;
    pub fn lua_gettable(L: *mut lua_State, index: c_int);
    pub fn lua_getfield(L: *mut lua_State, index: c_int, key: *const c_char);
    pub fn lua_rawget(L: *mut lua_State, index: c_int);
    pub fn lua_createtable(L: *mut lua_State, items: c_int, keys: c_int);
    pub fn lua_newuserdata(L: *mut lua_State, size: usize) -> *mut c_void;
    pub fn lua_getmetatable(L: *mut lua_State, index: c_int) -> c_int;
    pub fn lua_setfield(L: *mut lua_State, index: c_int, key: *const c_char);
    pub fn lua_rawset(L: *mut lua_State, index: c_int);
    pub fn lua_setmetatable(L: *mut lua_State, index: c_int) -> c_int;
    pub fn lua_setfenv(L: *mut lua_State, index: c_int) -> c_int;
    pub fn lua_call(L: *mut lua_State, args: c_int, results: c_int);
    pub fn lua_pcall(L: *mut lua_State, args: c_int, results: c_int, handler: c_int) -> c_int;
    pub fn lua_cpcall(L: *mut lua_State, function: lua_CFunction, data: *mut c_void) -> c_int;
    pub fn lua_loadx(
        L: *mut lua_State,
        reader: lua_Reader,
        data: *mut c_void,
        name: *const c_char,
        mode: *const c_char,
    ) -> c_int;
    pub fn lua_status(L: *mut lua_State) -> c_int;
    pub fn lua_gc(L: *mut lua_State, what: c_int, data: c_int) -> c_int;
    pub fn lua_next(L: *mut lua_State, index: c_int) -> c_int;
    pub fn lua_concat(L: *mut lua_State, count: c_int);
    pub fn lua_getallocf(L: *mut lua_State, data: *mut *mut c_void) -> lua_Alloc;
    pub fn lua_setallocf(L: *mut lua_State, alloc: lua_Alloc, data: *mut c_void);
    pub fn lua_getstack(L: *mut lua_State, level: c_int, ar: *mut lua_Debug) -> c_int;
    pub fn lua_getinfo(L: *mut lua_State, what: *const c_char, ar: *mut lua_Debug) -> c_int;
    pub fn lua_sethook(L: *mut lua_State, hook: Option<lua_Hook>, mask: c_int, count: c_int) -> c_int;
    pub fn lua_gethookcount(L: *mut lua_State) -> c_int;

    pub fn luaL_newstate() -> *mut lua_State;
    pub fn luaL_openlibs(L: *mut lua_State);
    pub fn luaopen_ffi(L: *mut lua_State) -> c_int;
    pub fn luaL_checklstring(L: *mut lua_State, arg: c_int, length: *mut usize) -> *const c_char;
    pub fn luaL_optlstring(L: *mut lua_State, arg: c_int, default: *const c_char, length: *mut usize) -> *const c_char;
    pub fn luaL_checkstack(L: *mut lua_State, size: c_int, message: *const c_char);
    pub fn luaL_checktype(L: *mut lua_State, arg: c_int, kind: c_int);
    pub fn luaL_argerror(L: *mut lua_State, arg: c_int, message: *const c_char) -> c_int;
    pub fn luaL_error(L: *mut lua_State, format: *const c_char, ...) -> c_int;
    pub fn luaL_ref(L: *mut lua_State, table: c_int) -> c_int;
    pub fn luaL_unref(L: *mut lua_State, table: c_int, reference: c_int);
    pub fn luaL_loadbufferx(
        L: *mut lua_State,
        text: *const c_char,
        length: usize,
        name: *const c_char,
        mode: *const c_char,
    ) -> c_int;
    pub fn luaL_traceback(L: *mut lua_State, of: *mut lua_State, message: *const c_char, level: c_int);
    pub fn luaL_buffinit(L: *mut lua_State, buffer: *mut luaL_Buffer);
    pub fn luaL_addlstring(buffer: *mut luaL_Buffer, text: *const c_char, length: usize);
    pub fn luaL_addvalue(buffer: *mut luaL_Buffer);
    pub fn luaL_pushresult(buffer: *mut luaL_Buffer);
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

pub const fn lua_upvalueindex(index: c_int) -> c_int {
    LUA_GLOBALSINDEX - index
}

pub unsafe fn lua_error(L: *mut lua_State) -> ! {
    unsafe { raise(L) };
    // It does not return.
    std::process::abort()
}

pub unsafe fn lua_pushcfunction(L: *mut lua_State, function: lua_CFunction) {
    unsafe { lua_pushcclosure(L, function, 0) };
}

pub unsafe fn lua_pushglobaltable(L: *mut lua_State) {
    unsafe { lua_pushvalue(L, LUA_GLOBALSINDEX) };
}

pub unsafe fn lua_getglobal(L: *mut lua_State, name: *const c_char) {
    unsafe { lua_getfield(L, LUA_GLOBALSINDEX, name) };
}

pub unsafe fn lua_setglobal(L: *mut lua_State, name: *const c_char) {
    unsafe { lua_setfield(L, LUA_GLOBALSINDEX, name) };
}

pub unsafe fn luaL_getmetatable(L: *mut lua_State, name: *const c_char) {
    unsafe { lua_getfield(L, LUA_REGISTRYINDEX, name) };
}

pub unsafe fn luaL_typename(L: *mut lua_State, index: c_int) -> *const c_char {
    unsafe { lua_typename(L, lua_type(L, index)) }
}

pub unsafe fn lua_rawlen(L: *mut lua_State, index: c_int) -> usize {
    unsafe { lua_objlen(L, index) }
}

#[inline]
pub unsafe fn lua_pushinteger(L: *mut lua_State, n: lua_Integer) {
    unsafe {
        match isize::try_from(n) {
            Ok(n) => pushinteger(L, n),
            Err(_) => lua_pushnumber(L, n as lua_Number),
        }
    }
}

#[inline]
pub unsafe fn lua_tointeger(L: *mut lua_State, index: c_int) -> lua_Integer {
    unsafe { tointeger(L, index) as lua_Integer }
}

pub unsafe fn luaL_checkinteger(L: *mut lua_State, arg: c_int) -> lua_Integer {
    unsafe { checkinteger(L, arg) as lua_Integer }
}

pub unsafe fn luaL_optinteger(L: *mut lua_State, arg: c_int, default: lua_Integer) -> lua_Integer {
    unsafe { optinteger(L, arg, isize::try_from(default).unwrap_or(isize::MAX)) as lua_Integer }
}

/// Needs a free slot; a large number is a key like others.
#[inline]
pub unsafe fn lua_rawgeti(L: *mut lua_State, index: c_int, n: lua_Integer) {
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

/// Needs a free slot; a large number is a key like others.
#[inline]
pub unsafe fn lua_rawseti(L: *mut lua_State, index: c_int, n: lua_Integer) {
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

/// Needs a free slot.
pub unsafe fn lua_rawgetp(L: *mut lua_State, index: c_int, key: *const c_void) {
    unsafe {
        let table = absolute(L, index);
        lua_pushlightuserdata(L, key.cast_mut());
        lua_rawget(L, table);
    }
}

/// Needs a free slot.
pub unsafe fn lua_rawsetp(L: *mut lua_State, index: c_int, key: *const c_void) {
    unsafe {
        let table = absolute(L, index);
        lua_pushlightuserdata(L, key.cast_mut());
        lua_insert(L, -2);
        lua_rawset(L, table);
    }
}

unsafe fn absolute(L: *mut lua_State, index: c_int) -> c_int {
    if index > 0 || index <= LUA_REGISTRYINDEX { index } else { unsafe { lua_gettop(L) + index + 1 } }
}

/// Pushes a field of a value's metatable and returns its type; pushes nothing for nil.
pub unsafe fn luaL_getmetafield(L: *mut lua_State, index: c_int, event: *const c_char) -> c_int {
    unsafe { if getmetafield(L, index, event) != 0 { lua_type(L, -1) } else { LUA_TNIL } }
}

/// Pushes a value as text, as `tostring` does.
pub unsafe fn luaL_tolstring(L: *mut lua_State, index: c_int, length: *mut usize) -> *const c_char {
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
