//! What waits for the system: commands and files that are none. Commands are waited for with an eye on the budget; what
//! cannot be waited for in that way is not opened.

use std::ffi::c_int;
use std::fs::{File, Metadata};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use kemi_core::Limit;

use crate::bind::{push_function, run_own};
use crate::ffi;
use crate::interpreter::Core;
use crate::terminate;
use crate::value::{self, State};
use crate::{import, library::budget};

/// How long the pauses are between two looks at a command; they grow from the first to the last.
const PAUSES: [Duration; 2] = [Duration::from_micros(500), Duration::from_millis(10)];

/// The most that a command may write, if the script's memory is not limited.
const MOST_OUTPUT: u64 = 1 << 30;

/// Replaces what waits in `os` and `io`. It gets `run` (a command with two files or nil), `can_open`, `wait_writable`.
///
/// A command that `io.popen` starts runs to its end: what it writes is there to be read then, what it is to read is written
/// before it begins, when the file is closed.
const CHUNK: &std::ffi::CStr = cr##"
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
/// Protected; the libraries are open, and the metatable of files is still theirs.
pub(crate) unsafe fn replace(l: State, core: &Core) {
    // SAFETY: as the caller's; this frame owns nothing.
    unsafe {
        let base = ffi::lua_gettop(l);
        push_function(l, run, core);
        push_function(l, can_open, core);
        push_function(l, wait_writable, core);
        ffi::luaL_getmetatable(l, c"FILE*".as_ptr());
        ffi::lua_getfield(l, -1, c"__index".as_ptr());
        ffi::lua_remove(l, -2);
        run_own(l, CHUNK, base, 0);
    }
}

/// Why there is no status of a command.
enum Failure {
    /// The call is to end.
    Over,
    /// It could not be started, or was ended because of what it wrote.
    Text(String),
}

/// Runs the command that is the argument, with the files at 2 and 3 as its standard input and output if they are there.
unsafe extern "C-unwind" fn run(l: State) -> c_int {
    // SAFETY: called by the chunk above; the upvalue is the core. This frame owns nothing when it raises.
    unsafe {
        let core = terminate::core(l);
        ffi::luaL_checklstring(l, 1, std::ptr::null_mut());
        let files = [file_of(l, 2), file_of(l, 3)];
        match status_of(core, l, value::string(l, 1), files) {
            Ok((exited, code)) => {
                let how = if exited { c"exit" } else { c"signal" };
                ffi::lua_pushstring(l, how.as_ptr());
                ffi::lua_pushinteger(l, code.into());
                2
            }
            Err(Failure::Over) => terminate::end(l, core),
            Err(Failure::Text(text)) => import::raise_text(l, core, text),
        }
    }
}

fn status_of(
    core: &Core,
    l: State,
    command: &[u8],
    [input, output]: [Option<File>; 2],
) -> Result<(bool, i32), Failure> {
    let failed = |error: std::io::Error| Failure::Text(format!("the command cannot be started: {error}"));
    let watched = output.as_ref().and_then(|file| file.try_clone().ok());
    let stdio = |file: Option<File>| file.map_or_else(Stdio::inherit, Stdio::from);
    let mut shell = shell(command);
    let mut child = shell.stdin(stdio(input)).stdout(stdio(output)).spawn().map_err(failed)?;
    let most = match core.runtime.registry().limits().max_memory {
        0 => MOST_OUTPUT,
        limit => limit,
    };
    let [mut pause, longest] = PAUSES;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(split(status)),
            Ok(None) => {}
            Err(error) => return Err(failed(error)),
        }
        if budget::is_over(core, l) {
            end(child);
            return Err(Failure::Over);
        }
        if watched.as_ref().and_then(|file| file.metadata().ok()).is_some_and(|data| data.len() > most) {
            end(child);
            core.runtime.exhaust(Limit::Memory, core.current_place());
            return Err(Failure::Over);
        }
        thread::sleep(pause);
        pause = (pause * 2).min(longest);
    }
}

/// Ends a command and all that it has started, and leaves waiting for that to a thread.
fn end(mut child: Child) {
    #[cfg(unix)]
    if let Ok(group) = libc::pid_t::try_from(child.id()) {
        // SAFETY: no demands; the group is the child's own, which has not been waited for yet.
        unsafe { libc::kill(-group, libc::SIGKILL) };
    }
    // It may be gone already.
    let _ = child.kill();
    let waiter = thread::Builder::new().name("kemi reaper".to_owned());
    // Without a thread the system reaps it when the process ends.
    let _ = waiter.spawn(move || child.wait());
}

#[cfg(unix)]
fn shell(command: &[u8]) -> Command {
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::process::CommandExt;
    let mut shell = Command::new("/bin/sh");
    shell.arg("-c").arg(std::ffi::OsStr::from_bytes(command)).process_group(0);
    shell
}

#[cfg(not(unix))]
fn shell(command: &[u8]) -> Command {
    let mut shell = Command::new("cmd");
    shell.arg("/C").arg(String::from_utf8_lossy(command).into_owned());
    shell
}

/// Tells whether a command has exited by itself, and its code or signal.
fn split(status: ExitStatus) -> (bool, i32) {
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        return (false, signal);
    }
    (true, status.code().unwrap_or(-1))
}

/// Returns another handle to an open file of Lua's.
///
/// # Safety
/// The value at the index is a file that is not closed, or none.
#[cfg(unix)]
unsafe fn file_of(l: State, index: c_int) -> Option<File> {
    use std::os::fd::BorrowedFd;
    // SAFETY: as the caller's; the descriptor is open during this call.
    unsafe {
        let descriptor = descriptor(l, index)?;
        BorrowedFd::borrow_raw(descriptor).try_clone_to_owned().ok().map(File::from)
    }
}

#[cfg(not(unix))]
unsafe fn file_of(_l: State, _index: c_int) -> Option<File> {
    None
}

/// # Safety
/// The value at the index is a file that is not closed, or none.
#[cfg(unix)]
unsafe fn descriptor(l: State, index: c_int) -> Option<c_int> {
    // SAFETY: the first thing in both languages' file objects is the pointer to the C file, null when it is closed.
    unsafe {
        if ffi::lua_type(l, index) != ffi::LUA_TUSERDATA {
            return None;
        }
        let stream = *ffi::lua_touserdata(l, index).cast_const().cast::<*mut libc::FILE>();
        (!stream.is_null()).then(|| libc::fileno(stream))
    }
}

/// Tells whether the path that is the argument can be opened without waiting: what is not there can.
unsafe extern "C-unwind" fn can_open(l: State) -> c_int {
    // SAFETY: called by the chunk above with a string; this frame owns nothing when it returns.
    unsafe {
        let can = import::path_of(value::string(l, 1)).is_none_or(|path| can_open_path(&path));
        ffi::lua_pushboolean(l, can.into());
    }
    1
}

fn can_open_path(path: &Path) -> bool {
    std::fs::metadata(path).map_or(true, |data| never_waits(path, &data))
}

#[cfg(unix)]
fn never_waits(path: &Path, data: &Metadata) -> bool {
    use std::os::unix::fs::FileTypeExt;
    let kind = data.file_type();
    if kind.is_char_device() {
        // Terminals wait for somebody to type; these do not.
        return ["/dev/null", "/dev/zero", "/dev/full", "/dev/urandom"].iter().any(|known| path == Path::new(known));
    }
    !(kind.is_fifo() || kind.is_socket())
}

#[cfg(not(unix))]
fn never_waits(_path: &Path, _data: &Metadata) -> bool {
    true
}

/// Waits until the file that is the argument takes some text; tells whether it is one that may have to be waited for.
unsafe extern "C-unwind" fn wait_writable(l: State) -> c_int {
    // SAFETY: called by the chunk above with a file that is open; the upvalue is the core, and this frame owns nothing.
    unsafe {
        #[cfg(unix)]
        let waits = match descriptor(l, 1) {
            Some(descriptor) => wait_for(terminate::core(l), l, descriptor),
            None => false,
        };
        #[cfg(not(unix))]
        let waits = false;
        ffi::lua_pushboolean(l, waits.into());
    }
    1
}

/// # Safety
/// As for [`terminate::end`].
#[cfg(unix)]
unsafe fn wait_for(core: &Core, l: State, descriptor: c_int) -> bool {
    // SAFETY: both records are written to by the calls; nothing here is owned when it raises.
    unsafe {
        let mut status: libc::stat = std::mem::MaybeUninit::zeroed().assume_init();
        if libc::fstat(descriptor, &raw mut status) != 0
            || !matches!(status.st_mode & libc::S_IFMT, libc::S_IFIFO | libc::S_IFSOCK | libc::S_IFCHR)
        {
            return false;
        }
        loop {
            let mut wanted = libc::pollfd { fd: descriptor, events: libc::POLLOUT, revents: 0 };
            // Errors are for the write to tell.
            if libc::poll(&raw mut wanted, 1, 10) > 0 {
                return true;
            }
            budget::look(l, core);
        }
    }
}
