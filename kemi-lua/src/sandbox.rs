//! The list of what is taken out of Lua's library or wrapped when a state is made, so that a script cannot end or change the
//! process.

use std::ffi::{CStr, c_int};

use crate::call::CallState;
use crate::ffi::{self, LuaThread};
use crate::library::{base, confined, coroutine, debug, error, io, load, os, string, table};
use crate::{import, string as text};

/// The rest of the list, in Lua. It gets: the script folders for `package.path`, `traceback`, `guard` (wraps a C function so
/// that an exit passes it), `wrap`, `guard_handler`, `os_exit`, `getinfo`, `load_text`, `close`, `buffer_methods` (on LuaJIT),
/// `with_text`, `read`, `raise_broken`.
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
    local text, reason = read(name, true)
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

/// Applies the list to a fresh state.
///
/// # Safety
/// The call is protected; the libraries are open.
pub(crate) unsafe fn apply(l: LuaThread, call: &CallState, path: &[u8]) {
    // SAFETY: as the caller's; this frame owns nothing.
    unsafe {
        let first = ffi::lua_gettop(l);
        #[cfg(luajit)]
        {
            // Opened once and then taken away: else a literal such as `1LL` opens it for the script.
            ffi::lua_pushcfunction(l, ffi::luaopen_ffi);
            ffi::lua_call(l, 0, 0);
        }
        replace_slow(l, call);
        if confined::allows_io(call.runtime().registry().profile()) {
            io::replace(l, call);
            hide_metatable_of_files(l);
        }
        text::push(l, path);
        push_around(l, call, c"debug", c"traceback", error::traceback);
        ffi::push_function(l, make_guard, call);
        // 5.4's `wrap` is made anew, of `resume`.
        let original = if cfg!(luajit) { c"wrap" } else { c"resume" };
        push_around(l, call, c"coroutine", original, coroutine::wrap);
        ffi::push_function(l, base::guard_handler, call);
        ffi::push_function(l, os::exit, call);
        push_around(l, call, c"debug", c"getinfo", debug::getinfo);
        push_around(l, call, c"_G", c"load", load::load);
        #[cfg(not(luajit))]
        {
            push_around(l, call, c"coroutine", c"close", coroutine::close);
            ffi::lua_pushnil(l);
        }
        #[cfg(luajit)]
        {
            ffi::lua_pushnil(l);
            ffi::push_function(l, methods, call);
        }
        ffi::push_function(l, error::make_with_text, call);
        ffi::push_function(l, import::read, call);
        ffi::push_function(l, import::raise_broken, call);
        ffi::run_chunk(l, CHUNK, first);
        #[cfg(luajit)]
        crate::library::jit::guard_switch(l, call);
        confined::apply(l, call, path);
    }
}

/// Replaces the library functions that may run for long by those that check the budget.
///
/// # Safety
/// The call is protected; the libraries are open.
unsafe fn replace_slow(l: LuaThread, call: &CallState) {
    // SAFETY: as the caller's.
    unsafe {
        ffi::lua_getglobal(l, c"string".as_ptr());
        string::replace(l, call);
        ffi::lua_getglobal(l, c"table".as_ptr());
        table::replace(l, call);
        ffi::lua_settop(l, -3);
    }
}

/// Gives scripts a copy of the metatable of files: what they set as its `__gc` has no effect.
///
/// # Safety
/// The call is protected; the library is open.
unsafe fn hide_metatable_of_files(l: LuaThread) {
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

/// Pushes a function with the call state and the original in a library as its upvalues.
///
/// # Safety
/// The call is protected; the library is open.
unsafe fn push_around(l: LuaThread, call: &CallState, library: &CStr, name: &CStr, function: ffi::lua_CFunction) {
    // SAFETY: as the caller's.
    unsafe {
        ffi::push_context(l, call);
        ffi::lua_getglobal(l, library.as_ptr());
        ffi::lua_getfield(l, -1, name.as_ptr());
        ffi::lua_remove(l, -2);
        ffi::lua_pushcclosure(l, function, 2);
    }
}

/// Wraps the function at index 1 in [`coroutine::guarded`].
unsafe extern "C-unwind" fn make_guard(l: LuaThread) -> c_int {
    // SAFETY: called by the chunk with a function; the upvalue is the call state, and this frame owns nothing.
    unsafe {
        ffi::lua_settop(l, 1);
        ffi::push_context(l, CallState::of(l));
        ffi::lua_insert(l, 1);
        ffi::lua_pushcclosure(l, coroutine::guarded, 2);
    }
    1
}

/// Gives the table of an object's methods, whatever its metatable says about that.
#[cfg(luajit)]
unsafe extern "C-unwind" fn methods(l: LuaThread) -> c_int {
    // SAFETY: called by the chunk with an object that has a metatable; this frame owns nothing.
    unsafe {
        ffi::lua_getmetatable(l, 1);
        ffi::lua_getfield(l, -1, c"__index".as_ptr());
    }
    1
}
