//! The parts of `os` and `io` that wait for the system: commands, and files that are not regular.
//!
//! Commands are waited for with a check of the budget; what cannot be waited for in that way is not opened.

use std::ffi::CStr;

use super::{file, process};
use crate::call::CallState;
use crate::ffi::{self, LuaThread};

/// Replaces what waits in `os` and `io`. It gets `run` (a command with two files or nil), `can_open`, `wait_writable`, and
/// the methods of files.
///
/// A command that `io.popen` starts runs to its end: what it writes is there to be read then, what it is to read is written
/// before it begins, when the file is closed.
const CHUNK: &CStr = cr##"
local run, can_open, wait_writable, methods = ...
local io, os, type, error, select, tostring, setmetatable = io, os, type, error, select, tostring, setmetatable
local sub, format = string.sub, string.format
local tmpfile, open, lines, input, output, io_type = io.tmpfile, io.open, io.lines, io.input, io.output, io.type
local close, write, seek, flush = methods.close, methods.write, methods.seek, methods.flush

local function result(how, code)
    if jit then return how == "exit" and code * 256 or code end
    if how == "exit" and code == 0 then return true, how, code end
    return nil, how, code
end

function os.execute(command)
    if command == nil then return jit and 1 or true end
    return result(run(command))
end

local ended, pending = setmetatable({}, { __mode = "k" }), setmetatable({}, { __mode = "k" })
function io.popen(command, mode)
    mode = mode or "r"
    if mode ~= "r" and mode ~= "w" then error("bad argument #2 to 'popen' (invalid mode)", 2) end
    local file, reason, code = tmpfile()
    if not file then return nil, reason, code end
    if mode == "r" then
        ended[file] = { run(command, nil, file) }
        seek(file, "set")
    else
        pending[file] = command
    end
    return file
end

function methods.close(file)
    local how, command
    if file ~= nil then how, command = ended[file], pending[file] end
    if command and io_type(file) == "file" then
        flush(file)
        seek(file, "set")
        how = { run(command, file) }
    end
    if not how then return close(file) end
    ended[file], pending[file] = nil, nil
    close(file)
    if jit then return true end
    return result(how[1], how[2])
end
local close_file = methods.close
function io.close(file)
    return close_file(file or output())
end

-- What is no regular file is not waited for.
local function refuse(name)
    return name .. ": whoever opens or reads that may wait for ever", 22
end
function io.open(name, ...)
    if type(name) == "string" and not can_open(name) then return nil, refuse(name) end
    return open(name, ...)
end
for name, original in pairs { lines = lines, input = input, output = output } do
    io[name] = function(file, ...)
        if type(file) == "string" and not can_open(file) then error(refuse(file), 2) end
        if file == nil and select("#", ...) == 0 then return original() end
        return original(file, ...)
    end
end

-- The standard input of a server is not for its scripts.
local nothing = open("/dev/null")
if nothing then
    io.stdin = nothing
    input(nothing)
end

function methods.write(file, ...)
    if io_type(file) ~= "file" or not wait_writable(file) then return write(file, ...) end
    for i = 1, select("#", ...) do
        local text = (select(i, ...))
        if type(text) ~= "string" then return write(file, select(i, ...)) end
        for at = 1, #text, 4096 do
            wait_writable(file)
            local ok, reason, code = write(file, sub(text, at, at + 4095))
            if not ok then return ok, reason, code end
            flush(file)
        end
    end
    return file
end
local write_file = methods.write
function io.write(...)
    return write_file(output(), ...)
end
"##;

/// Replaces what waits.
///
/// # Safety
/// The call is protected; the libraries are open, and the metatable of files is still theirs.
pub(crate) unsafe fn replace(l: LuaThread, call: &CallState) {
    // SAFETY: as the caller's; this frame owns nothing.
    unsafe {
        let base = ffi::lua_gettop(l);
        ffi::push_function(l, process::run, call);
        ffi::push_function(l, file::can_open, call);
        ffi::push_function(l, file::wait_writable, call);
        ffi::luaL_getmetatable(l, c"FILE*".as_ptr());
        ffi::lua_getfield(l, -1, c"__index".as_ptr());
        ffi::lua_remove(l, -2);
        ffi::run_chunk(l, CHUNK, base);
    }
}
