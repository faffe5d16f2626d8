//! Errors: from a native function into the script, and out of the script to the host.

use std::ffi::{CStr, c_char, c_int};
use std::mem::MaybeUninit;

use crate::ffi;
use kemi_core::{ConversionBudget, ErrorCode, Frame, Place, ScriptError, Value};

use crate::error_object::{self, ErrorObject};
use crate::interpreter::Core;
use crate::terminate;
use crate::value::{self, State};

/// The source of the chunk that prunes the libraries, with the mark of a name that is no file.
pub(crate) const OWN_CHUNK: &str = "=(kemi)";

/// The most frames of a traceback.
const MAX_FRAMES: usize = 40;

/// The most characters of a value that a script raised, in the message for it.
const MAX_SHOWN: usize = 200;

/// Raises an error in the script, as a value whose text begins with the place.
///
/// # Safety
/// The call is protected, and no frame of ours on the way owns anything.
pub(crate) unsafe fn raise(l: State, core: &Core, error: ScriptError) -> ! {
    let text = error_object::text_of(l, &error);
    // SAFETY: a native function has free slots; the object is passed on.
    unsafe {
        error_object::push(l, core, ErrorObject::new(text, error, false));
        ffi::lua_error(l)
    }
}

/// Returns the place of what has called the C function that runs, as Lua begins its errors with it.
pub(crate) fn caller(l: State) -> Option<String> {
    let Activation(record) = Activation::at(l, 1)?;
    (record.currentline > 0).then(|| format!("{}:{}: ", text(record.short_src.as_ptr()), record.currentline))
}

/// The host's message handler: notes the frames while they are still there.
///
/// # Safety
/// Called by Lua with the error; the upvalue is the core.
pub(crate) unsafe extern "C-unwind" fn handler(l: State) -> c_int {
    // SAFETY: as this function's contract; `note_frames` raises nothing.
    unsafe {
        let core = terminate::core(l);
        ffi::lua_settop(l, 1);
        if !terminate::is_sentinel(l, 1, core) {
            note_frames(core, l);
        }
    }
    1
}

fn note_frames(core: &Core, l: State) {
    // The handler itself is level 0.
    let mut frames: Vec<Frame> = (1..)
        .map_while(|level| Activation::at(l, level))
        .filter_map(|activation| activation.frame(core, l))
        .take(MAX_FRAMES + 1)
        .collect();
    if frames.len() > MAX_FRAMES {
        frames.truncate(MAX_FRAMES);
        frames.push(Frame { function: "(further frames left out)".to_owned(), place: None });
    }
    *core.caught.borrow_mut() = frames;
}

/// Returns the place of the innermost Lua function that runs on a state.
pub(crate) fn place(l: State) -> Option<Place> {
    (0..).map_while(|level| Activation::at(l, level)).find_map(|activation| activation.place())
}

/// Returns where the function that a reference leads to is defined.
pub(crate) fn definition(l: State, reference: c_int) -> Option<Place> {
    // SAFETY: all fields are numbers, characters and pointers, for which zero is valid.
    let mut record: ffi::lua_Debug = unsafe { MaybeUninit::zeroed().assume_init() };
    // SAFETY: the slot is made sure of, and the reference is to a function, which the second call takes off the stack.
    unsafe {
        if ffi::lua_checkstack(l, 1) == 0 {
            return None;
        }
        ffi::lua_rawgeti(l, ffi::LUA_REGISTRYINDEX, reference.into());
        ffi::lua_getinfo(l, c">S".as_ptr(), &raw mut record);
    }
    let line = u32::try_from(record.linedefined).ok().filter(|&line| line > 0)?;
    Some(Place { file: Activation(record).file(), line })
}

/// One level of a state's call stack.
struct Activation(ffi::lua_Debug);

impl Activation {
    fn at(l: State, level: c_int) -> Option<Activation> {
        // SAFETY: all fields are numbers, characters and pointers, for which zero is valid.
        let mut record: ffi::lua_Debug = unsafe { MaybeUninit::zeroed().assume_init() };
        // SAFETY: neither call raises; the second one gets the record that the first one has filled.
        unsafe {
            if ffi::lua_getstack(l, level, &raw mut record) == 0 {
                return None;
            }
            ffi::lua_getinfo(l, c"nSl".as_ptr(), &raw mut record);
        }
        Some(Activation(record))
    }

    /// Tells whether it runs the chunk that prunes the libraries.
    fn is_ours(&self) -> bool {
        text(self.0.source) == OWN_CHUNK
    }

    fn place(&self) -> Option<Place> {
        if self.is_ours() {
            return None;
        }
        let line = u32::try_from(self.0.currentline).ok().filter(|&line| line > 0)?;
        Some(Place { file: self.file(), line })
    }

    fn file(&self) -> String {
        let source = text(self.0.source);
        match source.strip_prefix('@').or_else(|| source.strip_prefix('=')) {
            Some(file) => file.to_owned(),
            None => text(self.0.short_src.as_ptr()),
        }
    }

    /// Describes the function; `None` for one of ours.
    fn frame(mut self, core: &Core, l: State) -> Option<Frame> {
        if self.is_ours() {
            return None;
        }
        let (name, what) = (text(self.0.name), text(self.0.what));
        let function = match (what.as_str(), name.as_str()) {
            ("main", _) => "the main chunk".to_owned(),
            ("C", "") => return None,
            ("C", name) => format!("native function '{name}'"),
            (_, "") => match self.callback(core, l) {
                Some(name) => format!("function '{name}'"),
                None => format!("function at line {}", self.0.linedefined),
            },
            (_, name) => format!("function '{name}'"),
        };
        Some(Frame { function, place: self.place() })
    }

    fn callback(&mut self, core: &Core, l: State) -> Option<String> {
        // SAFETY: the record is of a level that is still there; the slot is made sure of; nothing raises.
        unsafe {
            if ffi::lua_checkstack(l, 1) == 0 {
                return None;
            }
            ffi::lua_getinfo(l, c"f".as_ptr(), &raw mut self.0);
            let pointer = ffi::lua_topointer(l, -1).addr();
            ffi::lua_settop(l, -2);
            core.callback_at(pointer)
        }
    }
}

fn text(pointer: *const c_char) -> String {
    if pointer.is_null() {
        return String::new();
    }
    // SAFETY: Lua's debug records hold strings that end in NUL and live as long as their functions.
    unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned()
}

/// Makes the error for what came out of a protected call.
///
/// # Safety
/// The index holds the error.
pub(crate) unsafe fn failure(core: &Core, l: State, index: c_int, status: c_int, frames: Vec<Frame>) -> ScriptError {
    // SAFETY: as the caller's; the object is not used after this.
    let object = unsafe { error_object::get(l, index) }.map(|object| (object.wrapped, object.error.clone()));
    // SAFETY: as the caller's.
    let (text, is_text) = unsafe { describe(core, l, index) };
    let mut error = match object {
        Some((false, error)) => error,
        Some((true, cause)) => {
            let files = frames.iter().filter_map(|frame| frame.place.as_ref()).map(|place| place.file.as_str());
            let (place, message) =
                split_place(&text, files).map_or((None, &*text), |(place, message)| (Some(place), message));
            let mut error = ScriptError::new(ErrorCode::Runtime, message);
            error.place = place;
            error.cause = Some(Box::new(cause));
            error
        }
        None => {
            let files = frames.iter().filter_map(|frame| frame.place.as_ref()).map(|place| place.file.as_str());
            let (place, message) = match is_text.then(|| split_place(&text, files)).flatten() {
                Some((place, message)) => (Some(place), message),
                None => (None, text.as_str()),
            };
            let mut error = classify(core, message, status);
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

/// Writes to the log that a finalizer has failed, with the error at the top of the stack.
#[cfg(not(luajit))]
pub(crate) fn log_finalizer(core: &Core, l: State) {
    // SAFETY: the error is at the top.
    let (text, _) = unsafe { describe(core, l, ffi::lua_gettop(l)) };
    kemi_core::log_guarded(
        || tracing::warn!(target: "script", engine = core.runtime.engine(), "error in __gc: {text}"),
    );
}

/// Writes to the log that a limit has ended a finalizer.
#[cfg(not(luajit))]
pub(crate) fn log_ended_finalizer(core: &Core, count: usize) {
    kemi_core::log_guarded(|| {
        tracing::warn!(
            target: "script",
            engine = core.runtime.engine(),
            "a finalizer (__gc) has exceeded a limit; {count} others that waited were left out"
        );
    });
}

/// Writes to the log that finalizers were left out when the script was ended.
#[cfg(not(luajit))]
pub(crate) fn log_left_finalizers(core: &Core, count: usize) {
    kemi_core::log_guarded(|| {
        tracing::warn!(
            target: "script",
            engine = core.runtime.engine(),
            "the finalizers (__gc) of a script that was ended took too long, or ended it; {count} were left out"
        );
    });
}

fn classify(core: &Core, message: &str, status: c_int) -> ScriptError {
    if status == ffi::LUA_ERRERR || message.contains("stack overflow") {
        return ScriptError::new(ErrorCode::StackOverflow, message)
            .with_hint("the script calls itself without end, or nests too many calls");
    }
    if concerns_unknown(message, &core.unknown.borrow())
        && let Some(error) = core.runtime.explain_missing()
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
pub(crate) fn split_place(text: &str, files: impl Iterator<Item = impl AsRef<str>>) -> Option<(Place, &str)> {
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
                return Some((Place { file: file.to_owned(), line }, message.trim_start()));
            }
        }
    }
    None
}

/// Makes the error for a source that does not compile.
///
/// # Safety
/// The top of the stack holds the error.
pub(crate) unsafe fn syntax(core: &Core, l: State, name: &str) -> ScriptError {
    // SAFETY: as the caller's.
    let (text, _) = unsafe { describe(core, l, ffi::lua_gettop(l)) };
    match split_place(&text, std::iter::once(name)) {
        Some((place, message)) => ScriptError::new(ErrorCode::Syntax, message).at(place.file, place.line),
        None => ScriptError::new(ErrorCode::Syntax, format!("{name}: {text}")),
    }
}

/// Describes what was raised, and tells whether it was text.
///
/// # Safety
/// The index holds the error and is not relative to the top.
unsafe fn describe(core: &Core, l: State, index: c_int) -> (String, bool) {
    // SAFETY: the index is valid; a string is not converted.
    unsafe {
        if ffi::lua_type(l, index) == ffi::LUA_TSTRING {
            return (String::from_utf8_lossy(value::string(l, index)).into_owned(), true);
        }
        if let Some(object) = error_object::get(l, index) {
            return (String::from_utf8_lossy(&object.text).into_owned(), true);
        }
        if let Some(text) = own_text(core, l, index) {
            return (text, true);
        }
        let shown = match value::read(l, index, None, &mut ConversionBudget::new()) {
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
unsafe fn own_text(core: &Core, l: State, index: c_int) -> Option<String> {
    // SAFETY: the room is made sure of; looking for the metamethod is protected, and so is calling it.
    unsafe {
        let top = ffi::lua_gettop(l);
        if ffi::lua_checkstack(l, ffi::LUA_MINSTACK) == 0 || ffi::lua_getmetatable(l, index) == 0 {
            return None;
        }
        ffi::lua_settop(l, top);
        ffi::lua_rawgeti(l, ffi::LUA_REGISTRYINDEX, core.refs.get().tostring.into());
        ffi::lua_pushvalue(l, index);
        let worked = ffi::lua_pcall(l, 1, 1, 0) == ffi::LUA_OK && ffi::lua_type(l, -1) == ffi::LUA_TSTRING;
        let text = worked.then(|| String::from_utf8_lossy(value::string(l, top + 1)).into_owned());
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
        let place = |line| Place { file: "/etc/a:b.lua".to_owned(), line };
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
