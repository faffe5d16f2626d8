//! Errors: of a native function into the script, and of the script to the host.

use std::cell::RefCell;
use std::ffi::{CStr, c_int};
use std::sync::Arc;

use kemi_core::engine::Runtime;
use kemi_core::error::Frame;
use kemi_core::{ErrorCode, Location, ScriptError, Value};

use crate::call::CallState;
use crate::error_object::{self, ErrorObject};
use crate::ffi::{self, LuaThread};
use crate::value::Reader;
use crate::{frames, string};

/// The most characters of a value that a script raised, in the message for it.
const MAX_SHOWN: usize = 200;

/// The key of Lua's own `tostring` in its registry.
static TOSTRING: u8 = 0;

/// Notes of one state that explain the error to come.
#[derive(Default)]
pub(crate) struct Diagnostics {
    /// The frames of the last error that reached the host's message handler.
    frames: RefCell<Vec<Frame>>,
    /// The callbacks of the host that were called: the pointer to the Lua function, and the name.
    callbacks: RefCell<Vec<(usize, Arc<str>)>>,
    /// The last part of the last unknown name that was looked up.
    unknown: RefCell<String>,
}

impl Diagnostics {
    /// Notes the name of the callback that a Lua function is.
    pub(crate) fn note_callback(&self, pointer: usize, name: Arc<str>) {
        self.callbacks.borrow_mut().push((pointer, name));
    }

    /// Notes the last part of an unknown name.
    pub(crate) fn note_unknown(&self, name: String) {
        *self.unknown.borrow_mut() = name;
    }

    /// Returns the place of the innermost frame of the last error.
    pub(crate) fn place(&self) -> Option<Location> {
        self.frames.borrow().iter().find_map(|frame| frame.place.clone())
    }

    /// Takes the frames of the last error.
    pub(crate) fn take_frames(&self) -> Vec<Frame> {
        self.frames.take()
    }

    /// Notes the frames of a thread while they are still there.
    pub(crate) fn note_frames(&self, l: LuaThread) {
        *self.frames.borrow_mut() = frames::traceback(l, |pointer| self.callback_at(pointer));
    }

    fn callback_at(&self, pointer: usize) -> Option<String> {
        let callbacks = self.callbacks.try_borrow().ok()?;
        callbacks.iter().find(|(known, _)| *known == pointer).map(|(_, name)| name.to_string())
    }
}

/// Keeps what the host's errors need of the libraries.
///
/// # Safety
/// The call is protected; the libraries are open.
pub(crate) unsafe fn set_up(l: LuaThread) {
    // SAFETY: as the caller's.
    unsafe {
        ffi::lua_getglobal(l, c"tostring".as_ptr());
        ffi::lua_rawsetp(l, ffi::LUA_REGISTRYINDEX, (&raw const TOSTRING).cast());
    }
}

/// Raises an error in the script, as an error object whose text begins with the place.
///
/// # Safety
/// The call is protected, and no frame of ours on the way owns anything.
pub(crate) unsafe fn raise(l: LuaThread, call: &CallState, error: ScriptError) -> ! {
    let text = text_of(l, &error);
    // SAFETY: a native function has free slots; the object is passed on.
    unsafe {
        error_object::push(l, call, ErrorObject::new(text, error));
        ffi::lua_error(l)
    }
}

/// Raises text as an error, with the place of the caller.
///
/// # Safety
/// As [`raise`]; called in a C function.
pub(crate) unsafe fn raise_text(l: LuaThread, call: &CallState, text: String) -> ! {
    let text = [frames::caller(l).unwrap_or_default(), text].concat();
    // SAFETY: as the caller's; the text is passed on.
    unsafe {
        ffi::luaL_checkstack(l, 1, std::ptr::null());
        string::push_owned(l, call, text.into_bytes());
        ffi::lua_error(l)
    }
}

/// Makes the text of an error in the way of Lua, with the place of the caller before it.
fn text_of(l: LuaThread, error: &ScriptError) -> Vec<u8> {
    let message = match &error.export {
        Some(export) => format!("{export}: {}", error.message),
        None => error.message.clone(),
    };
    match frames::caller(l) {
        Some(place) => format!("{place}{message}").into_bytes(),
        None => message.into_bytes(),
    }
}

/// Makes the error for what came out of a protected call.
///
/// # Safety
/// The index holds the error.
pub(crate) unsafe fn failure(
    runtime: &Runtime,
    diagnostics: &Diagnostics,
    l: LuaThread,
    index: c_int,
    status: c_int,
) -> ScriptError {
    let frames = diagnostics.take_frames();
    let files = || frames.iter().filter_map(|frame| frame.place.as_ref()).map(|place| place.file.as_str());
    // SAFETY: as the caller's; the object is not used after this.
    let object = unsafe { error_object::get(l, index) }.map(|object| (object.is_wrapped(), object.error().clone()));
    // SAFETY: as the caller's.
    let (text, is_text) = unsafe { describe(l, index) };
    let mut error = match object {
        Some((false, error)) => error,
        Some((true, cause)) => {
            let (place, message) =
                split_place(&text, files()).map_or((None, &*text), |(place, message)| (Some(place), message));
            let mut error = ScriptError::new(ErrorCode::Runtime, message);
            error.place = place;
            error.cause = Some(Box::new(cause));
            error
        }
        None => {
            let (place, message) = match is_text.then(|| split_place(&text, files())).flatten() {
                Some((place, message)) => (Some(place), message),
                None => (None, text.as_str()),
            };
            let mut error = classify(runtime, &diagnostics.unknown.borrow(), message, status);
            error.place = place;
            error
        }
    };
    if error.place.is_none() {
        error.place = frames.iter().find_map(|frame| frame.place.clone());
    }
    if error.traceback.is_empty() {
        error.traceback = frames;
    }
    error
}

fn classify(runtime: &Runtime, unknown: &str, message: &str, status: c_int) -> ScriptError {
    if status == ffi::LUA_ERRERR || message.contains("stack overflow") {
        return ScriptError::new(ErrorCode::StackOverflow, message)
            .with_hint("the script calls itself without end, or nests too many calls");
    }
    if concerns_unknown(message, unknown)
        && let Some(error) = runtime.explain_missing()
    {
        return error;
    }
    ScriptError::new(ErrorCode::Runtime, message)
}

/// Tells whether a message says that the value of the last unknown name was used, and not some other nil.
///
/// Lua 5.4 says `attempt to call a nil value (field 'x')`, LuaJIT `attempt to call field 'x' (a nil value)`.
fn concerns_unknown(message: &str, unknown: &str) -> bool {
    let Some(rest) = message.strip_prefix("attempt to call ").or_else(|| message.strip_prefix("attempt to index "))
    else {
        return false;
    };
    if unknown.is_empty() || !rest.contains("a nil value") {
        return false;
    }
    let mut quoted = rest.split('\'');
    let kind = quoted.next().unwrap_or_default().trim_end().rsplit([' ', '(']).next().unwrap_or_default();
    match quoted.next() {
        // A question mark stands for a computed key.
        Some(name) => name == unknown || name == "?" || matches!(kind, "local" | "upvalue"),
        None => true,
    }
}

/// Splits `file:line: message`, for one of the files.
pub(crate) fn split_place(text: &str, files: impl Iterator<Item = impl AsRef<str>>) -> Option<(Location, &str)> {
    let mut tried = Vec::new();
    for file in files {
        let file = file.as_ref();
        if tried.iter().any(|seen| seen == file) {
            continue;
        }
        tried.push(file.to_owned());
        for (at, _) in text.match_indices(':') {
            let (head, tail) = text.split_at(at);
            // Lua shortens long names from the left.
            let named = head == file || head.strip_prefix("...").is_some_and(|end| file.ends_with(end));
            let Some((line, message)) = tail.get(1..).and_then(|tail| tail.split_once(':')).filter(|_| named) else {
                continue;
            };
            if let Ok(line) = line.parse() {
                return Some((Location { file: file.to_owned(), line }, message.trim_start()));
            }
        }
    }
    None
}

/// Makes the error for a source that does not compile.
///
/// # Safety
/// The top of the stack holds the error.
pub(crate) unsafe fn syntax(l: LuaThread, name: &str) -> ScriptError {
    // SAFETY: as the caller's.
    let (text, _) = unsafe { describe(l, ffi::lua_gettop(l)) };
    match split_place(&text, std::iter::once(name)) {
        Some((place, message)) => ScriptError::new(ErrorCode::Syntax, message).at(place.file, place.line),
        None => ScriptError::new(ErrorCode::Syntax, format!("{name}: {text}")),
    }
}

/// Describes what was raised, and tells whether it was text.
///
/// # Safety
/// The index holds the error and is not relative to the top.
pub(crate) unsafe fn describe(l: LuaThread, index: c_int) -> (String, bool) {
    // SAFETY: the index is valid; a string is not converted.
    unsafe {
        if ffi::lua_type(l, index) == ffi::LUA_TSTRING {
            return (string::read_lossy(l, index), true);
        }
        if let Some(object) = error_object::get(l, index) {
            return (String::from_utf8_lossy(object.text()).into_owned(), true);
        }
        if let Some(text) = own_text(l, index) {
            return (text, true);
        }
        let shown = match Reader::describing().read(l, index, None) {
            Ok(value @ (Value::Array(_) | Value::Map(_))) => format!("a table: {value}"),
            Ok(value) => value.to_string(),
            Err(_) => {
                format!("a {}", CStr::from_ptr(ffi::lua_typename(l, ffi::lua_type(l, index))).to_string_lossy())
            }
        };
        let cut: String = shown.chars().take(MAX_SHOWN).collect();
        let dots = if cut.len() < shown.len() { "…" } else { "" };
        (format!("the script raised {cut}{dots}"), false)
    }
}

/// Returns what the metamethod `__tostring` of a value gives, if it has one that works.
///
/// # Safety
/// As [`describe`].
unsafe fn own_text(l: LuaThread, index: c_int) -> Option<String> {
    // SAFETY: the room is made sure of; looking for the metamethod is protected, and so is calling it.
    unsafe {
        let top = ffi::lua_gettop(l);
        if ffi::lua_checkstack(l, ffi::LUA_MINSTACK) == 0 || ffi::lua_getmetatable(l, index) == 0 {
            return None;
        }
        ffi::lua_settop(l, top);
        ffi::lua_rawgetp(l, ffi::LUA_REGISTRYINDEX, (&raw const TOSTRING).cast());
        ffi::lua_pushvalue(l, index);
        let worked = ffi::lua_pcall(l, 1, 1, 0) == ffi::LUA_OK && ffi::lua_type(l, -1) == ffi::LUA_TSTRING;
        let text = worked.then(|| string::read_lossy(l, top + 1));
        ffi::lua_settop(l, top);
        // Without the metamethod it is the address, which tells nothing.
        text.filter(|text| !text.contains(": 0x"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_is_taken_off_the_message() {
        let place = |line| Location { file: "/etc/a:b.lua".to_owned(), line };
        let files = || ["other.lua", "/etc/a:b.lua"].into_iter();
        assert_eq!(split_place("/etc/a:b.lua:12: x: 3: y", files()), Some((place(12), "x: 3: y")));
        assert_eq!(split_place(".../a:b.lua:7: x", files()), Some((place(7), "x")));
        assert_eq!(split_place("elsewhere.lua:7: x", files()), None);
        assert_eq!(split_place("no place", files()), None);
    }

    #[test]
    fn only_errors_about_the_unknown_name_are_explained() {
        for own in [
            "attempt to call a nil value (field 'gte')",
            "attempt to call field 'gte' (a nil value)",
            "attempt to index a nil value (local 'm')",
            "attempt to index local 'm' (a nil value)",
            "attempt to call a nil value",
        ] {
            assert!(concerns_unknown(own, "gte"), "{own}");
        }
        for other in [
            "attempt to call a nil value (global 'gte2')",
            "attempt to call global 'gte2' (a nil value)",
            "attempt to call a table value (field 'gte')",
            "attempt to add a nil value (field 'gte')",
        ] {
            assert!(!concerns_unknown(other, "gte"), "{other}");
        }
    }
}
