//! Files of a script: its sources, its modules, and what `loadfile` and `dofile` load.
//!
//! Only regular files are read, and in time: whoever opens a FIFO that nobody writes to waits for ever.

use std::ffi::{CStr, c_int};

use kemi_core::engine::Runtime;
use kemi_core::{ErrorCode, ScriptError};

use crate::call::CallState;
use crate::error_object::{self, ErrorObject};
use crate::ffi::{self, LuaThread};
use crate::library::load;
use crate::{error, string};

/// Compiles a source and leaves the chunk on the stack.
///
/// # Errors
/// [`ErrorCode::Syntax`].
pub(crate) fn compile(call: &CallState, l: LuaThread, text: &[u8], name: &str) -> Result<(), ScriptError> {
    let chunk: Vec<u8> = [b"@", name.as_bytes(), b"\0"].concat();
    // SAFETY: loading is protected by Lua itself; the name ends in NUL, and both outlive the call.
    unsafe {
        if ffi::lua_checkstack(l, ffi::LUA_MINSTACK) == 0 {
            return Err(ScriptError::new(ErrorCode::StackOverflow, "too many script files"));
        }
        let name_of_chunk = CStr::from_bytes_until_nul(&chunk).unwrap_or_default();
        let status = load::compile(l, call, without_first_comment(text), name_of_chunk);
        if status == ffi::LUA_OK {
            return Ok(());
        }
        call.memory().report_refused(None);
        Err(error::syntax(l, name))
    }
}

/// Skips what Lua skips in files: a byte order mark, and a first line that begins with `#`, but not its end.
fn without_first_comment(text: &[u8]) -> &[u8] {
    let text = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text);
    if !text.starts_with(b"#") {
        return text;
    }
    let end = text.iter().position(|&byte| byte == b'\n').unwrap_or(text.len());
    text.get(end..).unwrap_or_default()
}

/// Returns what goes before the default `package.path`.
pub(crate) fn search_path(runtime: &Runtime) -> Vec<u8> {
    let mut path = Vec::new();
    for folder in runtime.modules().folders() {
        let folder = folder.as_os_str().as_encoded_bytes();
        for template in [&b"/?.lua;"[..], b"/?/init.lua;"] {
            path.extend_from_slice(folder);
            path.extend_from_slice(template);
        }
    }
    path
}

/// Reads the file whose path is the first argument: gives its text, or nil, a reason, and whether there is no such file.
///
/// If the second argument is true, it raises what the profile refuses instead.
///
/// # Safety
/// Called by Lua; the upvalue is the call state.
pub(crate) unsafe extern "C-unwind" fn read(l: LuaThread) -> c_int {
    // SAFETY: as this function's contract; what is pushed is passed on.
    unsafe {
        let call = CallState::of(l);
        if ffi::lua_type(l, 1) != ffi::LUA_TSTRING {
            // The standard input of a server is not for its scripts.
            ffi::luaL_checklstring(l, 1, std::ptr::null_mut());
        }
        match read_file(call, string::read(l, 1)) {
            Ok(text) => {
                string::push_owned(l, call, text);
                1
            }
            Err(error) if error.code == ErrorCode::NotPermitted && ffi::lua_toboolean(l, 2) != 0 => {
                error::raise(l, call, error)
            }
            Err(error) => {
                // Words for people only.
                let missing = error.message.ends_with("(os error 2)");
                ffi::lua_pushnil(l);
                string::push_owned(l, call, error.message.clone().into_bytes());
                ffi::lua_pushboolean(l, missing.into());
                3
            }
        }
    }
}

fn read_file(call: &CallState, path: &[u8]) -> Result<Vec<u8>, ScriptError> {
    let path = string::path(path)
        .ok_or_else(|| ScriptError::new(ErrorCode::Unreadable, "the path is not text (os error 2)"))?;
    let mut text = call.runtime().read_module(&path)?;
    let skipped = text.len() - without_first_comment(&text).len();
    text.drain(..skipped);
    Ok(text)
}

/// Raises the syntax error of a module: its name, its file and what the compiler says are the arguments. It has the
/// module's place, not that of the call.
///
/// # Safety
/// Called by Lua; the upvalue is the call state.
pub(crate) unsafe extern "C-unwind" fn raise_broken(l: LuaThread) -> c_int {
    // SAFETY: as this function's contract; the object is passed on.
    unsafe {
        let call = CallState::of(l);
        ffi::luaL_checkstack(l, 4, std::ptr::null());
        error_object::push(l, call, broken(l));
        ffi::lua_error(l)
    }
}

/// Makes the error of a module that does not compile.
///
/// # Safety
/// Called with three strings on the stack.
unsafe fn broken(l: LuaThread) -> Box<ErrorObject> {
    // SAFETY: as the caller's.
    let [name, file, reason] = unsafe { [1, 2, 3].map(|index| string::read_lossy(l, index)) };
    let text = format!("error loading module '{name}' from file '{file}':\n\t{reason}");
    let error = match error::split_place(&reason, std::iter::once(&file)) {
        Some((place, message)) => ScriptError::new(ErrorCode::Syntax, message).at(place.file, place.line),
        None => ScriptError::new(ErrorCode::Syntax, text.clone()),
    };
    ErrorObject::new(text.into_bytes(), error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_first_line_for_the_shell_is_skipped_and_lines_still_count() {
        assert_eq!(without_first_comment(b"#!/usr/bin/lua\nx = 1"), b"\nx = 1");
        assert_eq!(without_first_comment(b"\xEF\xBB\xBFx = 1"), b"x = 1");
        assert_eq!(without_first_comment(b"# only"), b"");
        assert_eq!(without_first_comment(b"x = #t"), b"x = #t");
    }
}
