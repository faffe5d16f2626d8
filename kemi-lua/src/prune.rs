//! The parts of Lua's libraries that are replaced or taken away, so that a script cannot end or change the process.

use mlua::ffi;

use crate::ending;
use crate::interpreter::Core;
use crate::libraries::{push_function, run_own};
use crate::values::{State, push_bytes};

/// Replaces and removes. It gets: the script folders for `package.path`, `guard` (wraps a C function so that an exit
/// passes it), `wrap`, `guard_handler`, `os_exit`.
const CHUNK: &std::ffi::CStr = cr##"
local path, guard, wrap, guard_handler, os_exit = ...

package.path = path .. package.path
package.cpath = ""
package.loadlib = nil
local searchers = package.searchers or package.loaders
searchers[4], searchers[3] = nil, nil

os.exit = os_exit
os.setlocale = nil

local full = debug
debug = { traceback = full.traceback, getinfo = full.getinfo }
package.loaded.debug = debug

coroutine.resume = guard(coroutine.resume)
coroutine.wrap = wrap
if coroutine.close then coroutine.close = guard(coroutine.close) end

local globals, xpcall = _G, xpcall
function globals.xpcall(f, handler, ...)
    return xpcall(f, guard_handler(handler), ...)
end

-- Binary chunks can crash the interpreter: text only.
local load_, loadfile_, select = guard(load), loadfile, select
local function load_text(chunk, name, mode, ...)
    if select("#", ...) > 0 then return load_(chunk, name, "t", (...)) end
    return load_(chunk, name, "t")
end
load = load_text
if loadstring then loadstring = load_text end
function loadfile(name, mode, ...)
    if select("#", ...) > 0 then return loadfile_(name, "t", (...)) end
    return loadfile_(name, "t")
end

if jit then
    -- All that call back from C: nothing else limits the machine stack they take.
    string.gsub, string.format = guard(string.gsub), guard(string.format)
    table.sort, table.foreach, table.foreachi = guard(table.sort), guard(table.foreach), guard(table.foreachi)
    dofile, require = guard(dofile), guard(require)
    jit.attach, jit.opt, jit.util = nil, nil, nil
    package.loaded.ffi = nil
    for _, name in ipairs { "jit.opt", "jit.util", "jit.profile" } do
        package.loaded[name], package.preload[name] = nil, nil
    end
    package.preload.ffi = nil
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
        #[cfg(feature = "luajit")]
        {
            // Opened once and then taken away: else a literal such as `1LL` opens it for the script.
            ffi::lua_pushcfunction(l, ffi::luaopen_ffi);
            ffi::lua_call(l, 0, 0);
        }
        push_bytes(l, path);
        push_function(l, make_guard, core);

        ffi::lua_pushlightuserdata(l, std::ptr::from_ref(core).cast_mut().cast());
        ffi::lua_getglobal(l, c"coroutine".as_ptr());
        // 5.4's `wrap` is made anew, of `resume`.
        let original = if cfg!(feature = "luajit") { c"wrap" } else { c"resume" };
        ffi::lua_getfield(l, -1, original.as_ptr());
        ffi::lua_remove(l, -2);
        ffi::lua_pushcclosure(l, ending::wrap, 2);

        push_function(l, ending::guard_handler, core);
        push_function(l, ending::os_exit, core);
        run_own(l, CHUNK, base, 0);
        #[cfg(feature = "luajit")]
        crate::compiler::guard_switch(l, core);
    }
}

/// Wraps the function at index 1 in [`ending::guarded`].
unsafe extern "C-unwind" fn make_guard(l: State) -> std::ffi::c_int {
    // SAFETY: made with the core as its upvalue; this frame owns nothing.
    unsafe {
        ffi::lua_settop(l, 1);
        ffi::lua_pushlightuserdata(l, std::ptr::from_ref(ending::core(l)).cast_mut().cast());
        ffi::lua_insert(l, 1);
        ffi::lua_pushcclosure(l, ending::guarded, 2);
    }
    1
}
