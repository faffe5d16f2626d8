//! Files that a script has opened, or is about to.

use std::ffi::c_int;
use std::fs::{File, Metadata};
use std::path::Path;

#[cfg(unix)]
use super::budget;
#[cfg(unix)]
use crate::call::CallState;
use crate::ffi::{self, LuaThread};
use crate::string;

/// Returns another handle to an open file of Lua's.
///
/// # Safety
/// The value at the index is a file that is not closed, or none.
#[cfg(unix)]
pub(super) unsafe fn handle(l: LuaThread, index: c_int) -> Option<File> {
    use std::os::fd::BorrowedFd;
    // SAFETY: as the caller's; the descriptor is open during this call.
    unsafe {
        let descriptor = descriptor(l, index)?;
        BorrowedFd::borrow_raw(descriptor).try_clone_to_owned().ok().map(File::from)
    }
}

/// Returns another handle to an open file of Lua's, where the system has such handles.
///
/// # Safety
/// No demands.
#[cfg(not(unix))]
pub(super) unsafe fn handle(_l: LuaThread, _index: c_int) -> Option<File> {
    None
}

/// Returns the descriptor of an open file of Lua's.
///
/// # Safety
/// The value at the index is a file that is not closed, or none.
#[cfg(unix)]
unsafe fn descriptor(l: LuaThread, index: c_int) -> Option<c_int> {
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
///
/// # Safety
/// Called by the chunk of `io` with a string.
pub(super) unsafe extern "C-unwind" fn can_open(l: LuaThread) -> c_int {
    // SAFETY: as this function's contract; this frame owns nothing when it returns.
    unsafe {
        let can = string::path(string::read(l, 1)).is_none_or(|path| can_open_path(&path));
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
///
/// # Safety
/// Called by the chunk of `io` with a file that is open; the upvalue is the call state.
pub(super) unsafe extern "C-unwind" fn wait_writable(l: LuaThread) -> c_int {
    // SAFETY: as this function's contract; this frame owns nothing.
    unsafe {
        #[cfg(unix)]
        let waits = match descriptor(l, 1) {
            Some(descriptor) => wait_for(CallState::of(l), l, descriptor),
            None => false,
        };
        #[cfg(not(unix))]
        let waits = false;
        ffi::lua_pushboolean(l, waits.into());
    }
    1
}

/// Waits for a descriptor that may have to be waited for; raises if the call is to end.
///
/// # Safety
/// As for [`budget::check`].
#[cfg(unix)]
unsafe fn wait_for(call: &CallState, l: LuaThread, descriptor: c_int) -> bool {
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
            budget::check(l, call);
        }
    }
}
