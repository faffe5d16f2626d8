//! How a script's own files are read: modules, and what `loadfile` and `dofile` load.
//!
//! Only regular files are read, and in time: whoever opens a FIFO that nobody writes to waits for ever.

use std::ffi::c_int;
use std::path::PathBuf;

use crate::ffi;
use kemi_core::{ErrorCode, ScriptError};

use crate::bind::without_first_comment;
use crate::error_object::{self, ErrorObject};
use crate::interpreter::{Core, Kept};
use crate::value::{self, State};
use crate::{error, terminate};

/// Reads the file whose path is the argument: gives its text, or nil, a reason, and whether there is no such file.
///
/// # Safety
/// Called by Lua; the upvalue is the core.
pub(crate) unsafe extern "C-unwind" fn read(l: State) -> c_int {
    // SAFETY: as this function's contract; what is pushed is kept by the core meanwhile.
    unsafe {
        let core = terminate::core(l);
        if ffi::lua_type(l, 1) != ffi::LUA_TSTRING {
            // The standard input of a server is not for its scripts.
            ffi::luaL_checklstring(l, 1, std::ptr::null_mut());
        }
        let found = read_file(core, value::string(l, 1));
        match found {
            Ok(text) => {
                let (pointer, length) = keep(core, text);
                ffi::lua_pushlstring(l, pointer.cast(), length);
                core.release();
                1
            }
            Err((reason, missing)) => {
                ffi::lua_pushnil(l);
                let (pointer, length) = keep(core, reason.into_bytes());
                ffi::lua_pushlstring(l, pointer.cast(), length);
                core.release();
                ffi::lua_pushboolean(l, missing.into());
                3
            }
        }
    }
}

fn keep(core: &Core, bytes: Vec<u8>) -> (*const u8, usize) {
    let kept = (bytes.as_ptr(), bytes.len());
    core.keep(Kept::Bytes(bytes));
    kept
}

fn read_file(core: &Core, path: &[u8]) -> Result<Vec<u8>, (String, bool)> {
    let path = path_of(path).ok_or_else(|| ("the path is not text".to_owned(), true))?;
    match core.runtime.read_file(&path) {
        Ok(mut text) => {
            let skipped = text.len() - without_first_comment(&text).len();
            text.drain(..skipped);
            Ok(text)
        }
        Err(error) => {
            // Words for people only.
            let missing = error.message.ends_with("(os error 2)");
            Err((error.message.clone(), missing))
        }
    }
}

/// Raises text as an error, with the place of the caller.
///
/// # Safety
/// As for [`terminate::end`]; called in a C function.
pub(crate) unsafe fn raise_text(l: State, core: &Core, text: String) -> ! {
    let text = [error::caller(l).unwrap_or_default(), text].concat();
    let (pointer, length) = keep(core, text.into_bytes());
    // SAFETY: as the caller's; the text stays where it is until it is released.
    unsafe {
        ffi::luaL_checkstack(l, 1, std::ptr::null());
        ffi::lua_pushlstring(l, pointer.cast(), length);
        core.release();
        ffi::lua_error(l)
    }
}

#[cfg(unix)]
pub(crate) fn path_of(bytes: &[u8]) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStrExt;
    Some(std::ffi::OsStr::from_bytes(bytes).into())
}

#[cfg(not(unix))]
pub(crate) fn path_of(bytes: &[u8]) -> Option<PathBuf> {
    std::str::from_utf8(bytes).ok().map(PathBuf::from)
}

/// Raises the syntax error of a module: its name, its file and what the compiler says are the arguments. It has the
/// module's place, not that of the call.
///
/// # Safety
/// Called by Lua; the upvalue is the core.
pub(crate) unsafe extern "C-unwind" fn raise_broken(l: State) -> c_int {
    // SAFETY: as this function's contract; the object is passed on.
    unsafe {
        let core = terminate::core(l);
        ffi::luaL_checkstack(l, 4, std::ptr::null());
        error_object::push(l, core, broken(l));
        ffi::lua_error(l)
    }
}

/// # Safety
/// Called with three strings on the stack.
unsafe fn broken(l: State) -> Box<ErrorObject> {
    // SAFETY: as the caller's.
    let [name, file, reason] = unsafe { [1, 2, 3].map(|index| String::from_utf8_lossy(value::string(l, index))) };
    let text = format!("error loading module '{name}' from file '{file}':\n\t{reason}");
    let error = match error::split_place(&reason, std::iter::once(&*file)) {
        Some((place, message)) => ScriptError::new(ErrorCode::Syntax, message).at(place.file, place.line),
        None => ScriptError::new(ErrorCode::Syntax, text.clone()),
    };
    ErrorObject::new(text.into_bytes(), error, false)
}
