//! Errors of native functions as values of Lua.
//!
//! An error object is a userdata that only native functions make, so the host gets back the very error that a function
//! returned. What a script puts before or behind its text is another such value, which has the script's words and
//! remembers the error. The one is told from the other by what the value is, never by its text.

use std::ffi::c_int;

use kemi_core::ScriptError;
use kemi_core::telemetry::log_guarded;

use crate::call::{CallState, RootedBuffer};
use crate::ffi::{self, LuaThread};
use crate::string;

/// The key of the metatable of error objects in Lua's registry.
static METATABLE: u8 = 0;

/// The content of an error object.
#[derive(Debug)]
pub(crate) struct ErrorObject {
    /// The error as text.
    text: Vec<u8>,
    /// The native function's error.
    error: ScriptError,
    /// Whether the text is more than the error's: words of the script.
    wrapped: bool,
    /// The number of bytes it counts for, beside its block in the state.
    size: usize,
}

/// The block of the userdata; empty only until it has been filled, and again after its finalizer.
type Block = Option<Box<ErrorObject>>;

impl ErrorObject {
    /// Makes an error object for an error of a native function.
    pub(crate) fn new(text: Vec<u8>, error: ScriptError) -> Box<ErrorObject> {
        let frames = error.traceback.iter().map(|frame| frame.function.len() + 64).sum::<usize>();
        let size = size_of::<ErrorObject>() + text.len() + error.message.len() + frames + 256;
        Box::new(ErrorObject { text, error, wrapped: false, size })
    }

    /// Makes an error object with the script's words around the text of this one.
    pub(crate) fn wrap(&self, text: Vec<u8>) -> Box<ErrorObject> {
        let mut object = ErrorObject::new(text, self.error.clone());
        object.wrapped = true;
        object
    }

    /// Returns the error as text.
    pub(crate) fn text(&self) -> &[u8] {
        &self.text
    }

    /// Returns the native function's error.
    pub(crate) fn error(&self) -> &ScriptError {
        &self.error
    }

    /// Tells whether the text has words of the script.
    pub(crate) fn is_wrapped(&self) -> bool {
        self.wrapped
    }
}

/// Makes the table at the top the metatable of error objects, and takes it off.
///
/// # Safety
/// The call is protected.
pub(crate) unsafe fn set_metatable(l: LuaThread) {
    // SAFETY: as the caller's.
    unsafe { ffi::lua_rawsetp(l, ffi::LUA_REGISTRYINDEX, (&raw const METATABLE).cast()) };
}

/// Returns the error object at an index, if it is one. It neither raises nor allocates.
///
/// # Safety
/// The index is valid and not relative to the top, or an upvalue's; the result is used only while the value is there.
pub(crate) unsafe fn get<'a>(l: LuaThread, index: c_int) -> Option<&'a ErrorObject> {
    // SAFETY: as the caller's; only a userdata with our metatable is read, which has a block.
    unsafe {
        if ffi::lua_type(l, index) != ffi::LUA_TUSERDATA || ffi::lua_checkstack(l, 3) == 0 {
            return None;
        }
        if ffi::lua_getmetatable(l, index) == 0 {
            return None;
        }
        ffi::lua_rawgetp(l, ffi::LUA_REGISTRYINDEX, (&raw const METATABLE).cast());
        let ours = ffi::lua_rawequal(l, -1, -2) != 0;
        ffi::lua_settop(l, -3);
        if !ours {
            return None;
        }
        (*ffi::lua_touserdata(l, index).cast_const().cast::<Block>()).as_deref()
    }
}

/// Pushes an error object. May raise when memory runs out.
///
/// # Safety
/// The call is protected, with a few free slots, and no frame of ours on the way owns anything.
pub(crate) unsafe fn push(l: LuaThread, call: &CallState, object: Box<ErrorObject>) {
    let size = object.size;
    call.roots().root(RootedBuffer::Object(object));
    // SAFETY: as the caller's; the block has the size and the alignment of a pointer. It is filled when its finalizer may
    // first run.
    unsafe {
        let block = ffi::lua_newuserdata(l, size_of::<Block>()).cast::<Block>();
        block.write(None);
        ffi::lua_rawgetp(l, ffi::LUA_REGISTRYINDEX, (&raw const METATABLE).cast());
        ffi::lua_setmetatable(l, -2);
        *block = call.roots().unroot_object();
    }
    call.memory().charge(size);
}

/// Replaces an error object at an index by its text; returns whether it was one.
///
/// # Safety
/// As [`push`]; the index is valid and not relative to the top.
pub(crate) unsafe fn to_text(l: LuaThread, index: c_int) -> bool {
    // SAFETY: as the caller's; the object stays where it is until its text was copied.
    unsafe {
        let Some(object) = get(l, index) else { return false };
        string::push(l, &object.text);
        ffi::lua_replace(l, index);
    }
    true
}

/// Drops the content of the error object at an index. What a host's error does when it is dropped is the host's.
///
/// # Safety
/// The value at the index is an error object, of which nothing is borrowed.
pub(crate) unsafe fn drop_content(l: LuaThread, index: c_int, call: &CallState) {
    // SAFETY: as the caller's.
    let object = unsafe { (*ffi::lua_touserdata(l, index).cast::<Block>()).take() };
    call.memory().discharge(object.as_ref().map_or(0, |object| object.size));
    log_guarded(|| drop(object));
}
