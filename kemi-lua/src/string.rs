//! Text and bytes between the Lua stack and the host.

use std::ffi::c_int;
use std::path::PathBuf;
use std::slice;

use kemi_core::abi::RawOut;

use crate::call::{CallState, RootedBuffer};
use crate::ffi::{self, LuaThread};

/// Reads a string; what is none is empty.
///
/// # Safety
/// The index holds a string, which stays on the stack as long as the result is used.
pub(crate) unsafe fn read<'a>(l: LuaThread, index: c_int) -> &'a [u8] {
    let mut length = 0;
    // SAFETY: a string is not converted, so nothing raises; the caller keeps it alive.
    unsafe {
        let pointer = ffi::lua_tolstring(l, index, &raw mut length);
        if pointer.is_null() { &[] } else { slice::from_raw_parts(pointer.cast(), length) }
    }
}

/// Copies a string off the stack; what is not UTF-8 is replaced.
///
/// # Safety
/// The index holds a string.
pub(crate) unsafe fn read_lossy(l: LuaThread, index: c_int) -> String {
    // SAFETY: as the caller's.
    String::from_utf8_lossy(unsafe { read(l, index) }).into_owned()
}

/// Pushes bytes as a string. May raise when memory runs out.
///
/// # Safety
/// One slot is free, the call is protected, and nothing with a destructor is alive in the frames up to there.
#[inline]
pub(crate) unsafe fn push(l: LuaThread, bytes: &[u8]) {
    // SAFETY: as the caller's.
    unsafe { ffi::lua_pushlstring(l, bytes.as_ptr().cast(), bytes.len()) };
}

/// Pushes bytes that the caller passes on. May raise when memory runs out.
///
/// # Safety
/// As [`push`].
pub(crate) unsafe fn push_owned(l: LuaThread, call: &CallState, bytes: Vec<u8>) {
    let (pointer, length) = (bytes.as_ptr(), bytes.len());
    call.roots().root(RootedBuffer::Bytes(bytes));
    // SAFETY: as the caller's; the bytes are rooted and their buffer does not move.
    unsafe { ffi::lua_pushlstring(l, pointer.cast(), length) };
    call.roots().unroot();
}

/// Pushes bytes that the context owns, before anything can change the context.
///
/// # Safety
/// As [`push`]; the bytes are valid now.
#[inline]
pub(crate) unsafe fn push_out(l: LuaThread, call: &CallState, out: RawOut) {
    // SAFETY: the call that gave the bytes was the last use of the context.
    let bytes = unsafe { out.bytes() };
    if cfg!(luajit) {
        // LuaJIT collects garbage before it copies, and a finalizer may call a native function.
        let mut copy = call.roots().scratch();
        copy.extend_from_slice(bytes);
        // SAFETY: as the caller's.
        unsafe { push_owned(l, call, copy) };
    } else {
        // SAFETY: as the caller's; Lua copies first and collects garbage then.
        unsafe { push(l, bytes) };
    }
}

/// Takes the bytes of a script for a path; `None` if the system has no such paths.
#[cfg(unix)]
pub(crate) fn path(bytes: &[u8]) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStrExt;
    Some(std::ffi::OsStr::from_bytes(bytes).into())
}

/// Takes the bytes of a script for a path; `None` if the system has no such paths.
#[cfg(not(unix))]
pub(crate) fn path(bytes: &[u8]) -> Option<PathBuf> {
    std::str::from_utf8(bytes).ok().map(PathBuf::from)
}
