//! The parts of Lua's libraries that are replaced or taken away, so that a script cannot end or change the process.

use std::ffi::{CStr, c_int};

use crate::ffi;

use crate::bind::{push_function, run_own};
use crate::interpreter::Core;
use crate::value::{State, push_bytes};
use crate::{error_object, import, library::io, library::load, library::string, library::table, terminate};

/// Replaces and removes. It gets: the script folders for `package.path`, `traceback`,
/// `guard` (wraps a C function so that an exit
/// passes it), `wrap`, `guard_handler`, `os_exit`, `getinfo`, `load`,
/// `close`.
const CHUNK: &CStr = cr##"
local path, traceback, guard, wrap, guard_handler, os_exit, getinfo, load_text, close, buffer_methods, with_text, read, raise_broken = ...

package.path = path .. package.path
package.cpath = ""
package.loadlib = nil
local searchers = package.searchers or package.loaders
searchers[4], searchers[3] = nil, nil

os.exit = os_exit
if warn then warn = with_text(warn) end
os.setlocale = nil

local full = debug
debug = { traceback = traceback, getinfo = getinfo }
package.loaded.debug = debug

coroutine.resume = guard(coroutine.resume)
coroutine.wrap = wrap
coroutine.close = close

local globals, xpcall = _G, xpcall
function globals.xpcall(f, handler, ...)
    return xpcall(f, guard_handler(handler), ...)
end

-- Binary chunks can crash the interpreter: text only.
load = load_text
if loadstring then loadstring = load_text end

-- Files: regular ones only, and read in time.
local select, error, gsub, gmatch, concat = select, error, string.gsub, string.gmatch, table.concat
local function load_file(name, mode, ...)
    local text, reason = read(name)
    if not text then return nil, reason end
    if select("#", ...) > 0 then return load_text(text, "@" .. name, "t", (...)) end
    return load_text(text, "@" .. name, "t")
end
loadfile = load_file
function dofile(name)
    local chunk, reason = load_file(name)
    if not chunk then error(reason, 0) end
    return chunk()
end

local between = package.searchers and "\n\t" or ""
local before = package.searchers and "" or "\n\t"
local function search(name, path, separator, replacement)
    separator, replacement = separator or ".", replacement or "/"
    if separator ~= "" then
        name = gsub(name, (gsub(separator, "%p", "%%%0")), (gsub(replacement, "%%", "%%%%")))
    end
    local tried = {}
    for template in gmatch(path, "[^;]+") do
        local file = gsub(template, "%?", (gsub(name, "%%", "%%%%")))
        local text, reason, missing = read(file)
        if text then return file, text end
        tried[#tried + 1] = before .. (missing and "no file '" .. file .. "'" or reason)
    end
    return nil, concat(tried, between)
end
function package.searchpath(...)
    local file, reason = search(...)
    if file then return file end
    return nil, reason
end
local package = package
searchers[2] = function(name)
    if type(package.path) ~= "string" then error("'package.path' must be a string", 0) end
    local file, text = search(name, package.path)
    if not file then return text end
    local chunk, reason = load_text(text, "@" .. file, "t")
    if not chunk then raise_broken(name, file, reason) end
    return chunk, file
end

if jit then
    -- All that call back from C: nothing else limits the machine stack they take.
    string.format = guard(string.format)
    table.foreach, table.foreachi = guard(table.foreach), guard(table.foreachi)
    require = guard(require)
    jit.attach, jit.opt, jit.util = nil, nil, nil
    package.loaded.ffi = nil
    -- What gives the address of memory.
    local has_buffer, buffer = pcall(require, "string.buffer")
    if has_buffer then
        local methods = buffer_methods(buffer.new())
        methods.ref, methods.reserve, methods.commit = nil, nil, nil
    end
    for _, name in ipairs { "jit.opt", "jit.util", "jit.profile" } do
        package.loaded[name], package.preload[name] = nil, nil
    end
    package.preload.ffi = nil
    -- Its `__gc` would run with hooks off.
    newproxy = nil
end
"##;

/// Prunes the libraries of a fresh state.
///
/// # Safety
/// Protected; the libraries are open.
pub(crate) unsafe fn prune(l: State, core: &Core, path: &[u8]) {
    // SAFETY: as the caller's; this frame owns nothing.
    unsafe {
        let base = ffi::lua_gettop(l);
        #[cfg(luajit)]
        {
            // Opened once and then taken away: else a literal such as `1LL` opens it for the script.
            ffi::lua_pushcfunction(l, ffi::luaopen_ffi);
            ffi::lua_call(l, 0, 0);
        }
        replace_slow(l, core);
        io::replace(l, core);
        hide_metatable_of_files(l);
        push_bytes(l, path);
        push_around(l, core, c"debug", c"traceback", error_object::traceback);
        push_function(l, make_guard, core);

        ffi::lua_pushlightuserdata(l, std::ptr::from_ref(core).cast_mut().cast());
        ffi::lua_getglobal(l, c"coroutine".as_ptr());
        // 5.4's `wrap` is made anew, of `resume`.
        let original = if cfg!(luajit) { c"wrap" } else { c"resume" };
        ffi::lua_getfield(l, -1, original.as_ptr());
        ffi::lua_remove(l, -2);
        ffi::lua_pushcclosure(l, terminate::wrap, 2);

        push_function(l, terminate::guard_handler, core);
        push_function(l, terminate::os_exit, core);
        push_around(l, core, c"debug", c"getinfo", getinfo);
        push_around(l, core, c"_G", c"load", load::load);
        #[cfg(not(luajit))]
        push_around(l, core, c"coroutine", c"close", terminate::close);
        #[cfg(luajit)]
        {
            ffi::lua_pushnil(l);
            push_function(l, methods, core);
        }
        #[cfg(not(luajit))]
        ffi::lua_pushnil(l);
        push_function(l, make_with_text, core);
        push_function(l, import::read, core);
        push_function(l, import::raise_broken, core);
        run_own(l, CHUNK, base, 0);
        #[cfg(luajit)]
        crate::library::jit::guard_switch(l, core);
    }
}

/// Gives scripts a copy of the metatable of files: what they set as its `__gc` has no effect.
///
/// # Safety
/// Protected; the library is open.
unsafe fn hide_metatable_of_files(l: State) {
    // SAFETY: as the caller's.
    unsafe {
        let top = ffi::lua_gettop(l);
        ffi::luaL_getmetatable(l, c"FILE*".as_ptr());
        if ffi::lua_type(l, -1) == ffi::LUA_TTABLE {
            ffi::lua_createtable(l, 0, 4);
            ffi::lua_pushnil(l);
            while ffi::lua_next(l, top + 1) != 0 {
                ffi::lua_pushvalue(l, -2);
                ffi::lua_insert(l, -2);
                ffi::lua_rawset(l, top + 2);
            }
            ffi::lua_setfield(l, top + 1, c"__metatable".as_ptr());
        }
        ffi::lua_settop(l, top);
    }
}

/// Replaces the library functions that may run for long by those that look at the budget.
///
/// # Safety
/// Protected; the libraries are open.
unsafe fn replace_slow(l: State, core: &Core) {
    // SAFETY: as the caller's.
    unsafe {
        ffi::lua_getglobal(l, c"string".as_ptr());
        string::replace(l, core);
        ffi::lua_getglobal(l, c"table".as_ptr());
        table::replace(l, core);
        ffi::lua_settop(l, -3);
    }
}

/// Pushes a function with the core and the original in a library as its upvalues.
///
/// # Safety
/// Protected; the library is open.
unsafe fn push_around(l: State, core: &Core, library: &CStr, name: &CStr, function: ffi::lua_CFunction) {
    // SAFETY: as the caller's.
    unsafe {
        ffi::lua_pushlightuserdata(l, std::ptr::from_ref(core).cast_mut().cast());
        ffi::lua_getglobal(l, library.as_ptr());
        ffi::lua_getfield(l, -1, name.as_ptr());
        ffi::lua_remove(l, -2);
        ffi::lua_pushcclosure(l, function, 2);
    }
}

/// `debug.getinfo`, which gives no C function but one that it got: on the stack may be those that are replaced here.
///
/// # Safety
/// Called by Lua; the upvalues are the core and the original.
unsafe extern "C-unwind" fn getinfo(l: State) -> c_int {
    // SAFETY: as this function's contract; this frame owns nothing.
    unsafe {
        let subject = if ffi::lua_type(l, 1) == ffi::LUA_TTHREAD { 2 } else { 1 };
        let given = ffi::lua_type(l, subject) == ffi::LUA_TFUNCTION;
        if !given {
            let level = ffi::luaL_checkinteger(l, subject);
            if level >= 0 && (subject == 1 || ffi::lua_tothread(l, 1) == l) {
                // The original stands on the stack as well.
                ffi::lua_pushinteger(l, level.saturating_add(1));
                ffi::lua_replace(l, subject);
            }
        }
        ffi::luaL_optlstring(l, subject + 1, std::ptr::null(), std::ptr::null_mut());
        let count = ffi::lua_gettop(l);
        ffi::luaL_checkstack(l, 2, std::ptr::null());
        ffi::lua_pushvalue(l, ffi::lua_upvalueindex(2));
        ffi::lua_insert(l, 1);
        ffi::lua_call(l, count, 1);
        if !given && ffi::lua_type(l, -1) == ffi::LUA_TTABLE {
            ffi::lua_pushstring(l, c"func".as_ptr());
            ffi::lua_rawget(l, -2);
            if ffi::lua_iscfunction(l, -1) != 0 {
                ffi::lua_pushstring(l, c"func".as_ptr());
                ffi::lua_pushnil(l);
                ffi::lua_rawset(l, -4);
            }
            ffi::lua_settop(l, -2);
        }
    }
    1
}

/// Gives the table of an object's methods, whatever its metatable says about that.
#[cfg(luajit)]
unsafe extern "C-unwind" fn methods(l: State) -> c_int {
    // SAFETY: called by the chunk above with an object that has a metatable; this frame owns nothing.
    unsafe {
        ffi::lua_getmetatable(l, 1);
        ffi::lua_getfield(l, -1, c"__index".as_ptr());
    }
    1
}

/// Wraps the function at index 1 so that it takes error objects for text.
unsafe extern "C-unwind" fn make_with_text(l: State) -> c_int {
    // SAFETY: as the other function's.
    unsafe {
        ffi::lua_settop(l, 1);
        ffi::lua_pushcclosure(l, with_text, 1);
    }
    1
}

unsafe extern "C-unwind" fn with_text(l: State) -> c_int {
    // SAFETY: made by `make_with_text` with a function; this frame owns nothing.
    unsafe {
        ffi::luaL_checkstack(l, 8, std::ptr::null());
        for index in 1..=ffi::lua_gettop(l) {
            error_object::to_text(l, index);
        }
        ffi::lua_pushvalue(l, ffi::lua_upvalueindex(1));
        ffi::lua_insert(l, 1);
        ffi::lua_call(l, ffi::lua_gettop(l) - 1, ffi::LUA_MULTRET);
        ffi::lua_gettop(l)
    }
}

/// Wraps the function at index 1 in [`terminate::guarded`].
unsafe extern "C-unwind" fn make_guard(l: State) -> c_int {
    // SAFETY: made with the core as its upvalue; this frame owns nothing.
    unsafe {
        ffi::lua_settop(l, 1);
        ffi::lua_pushlightuserdata(l, std::ptr::from_ref(terminate::core(l)).cast_mut().cast());
        ffi::lua_insert(l, 1);
        ffi::lua_pushcclosure(l, terminate::guarded, 2);
    }
    1
}
