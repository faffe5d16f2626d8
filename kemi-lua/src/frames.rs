//! The call stacks of Lua: places, frames, definitions.

use std::ffi::{CStr, c_char, c_int};

use kemi_core::Location;
use kemi_core::error::Frame;

use crate::ffi::{self, LuaThread};

/// The most frames of a traceback.
const MAX_FRAMES: usize = 40;

/// Returns the place of the innermost Lua function that runs on a thread.
pub(crate) fn place(l: LuaThread) -> Option<Location> {
    (0..).map_while(|level| Activation::at(l, level)).find_map(|activation| activation.place())
}

/// Returns the place of the innermost Lua function for a line of the log.
pub(crate) fn place_text(l: LuaThread) -> String {
    place(l).map_or_else(|| "unknown place".to_owned(), |place| place.to_string())
}

/// Returns the place of the caller of the running C function, as Lua begins its errors with it.
pub(crate) fn caller(l: LuaThread) -> Option<String> {
    let Activation(record) = Activation::at(l, 1)?;
    (record.currentline > 0).then(|| format!("{}:{}: ", text(record.short_src.as_ptr()), record.currentline))
}

/// Returns the frames below the running C function. A function without a name is looked up by its pointer.
pub(crate) fn traceback(l: LuaThread, name_of: impl Fn(usize) -> Option<String>) -> Vec<Frame> {
    let mut frames: Vec<Frame> = (1..)
        .map_while(|level| Activation::at(l, level))
        .filter_map(|activation| activation.frame(l, &name_of))
        .take(MAX_FRAMES + 1)
        .collect();
    if frames.len() > MAX_FRAMES {
        frames.truncate(MAX_FRAMES);
        frames.push(Frame { function: "(further frames left out)".to_owned(), place: None });
    }
    frames
}

/// Returns where a function is defined. `push` pushes it, with one more slot at most, and does not raise.
pub(crate) fn definition(l: LuaThread, push: impl FnOnce()) -> Option<Location> {
    let mut record = ffi::debug_record();
    // SAFETY: the slots are made sure of. The last call takes the function off the stack.
    unsafe {
        if ffi::lua_checkstack(l, 2) == 0 {
            return None;
        }
        push();
        if ffi::lua_type(l, -1) != ffi::LUA_TFUNCTION {
            ffi::lua_settop(l, -2);
            return None;
        }
        ffi::lua_getinfo(l, c">S".as_ptr(), &raw mut record);
    }
    let line = u32::try_from(record.linedefined).ok().filter(|&line| line > 0)?;
    Some(Location { file: Activation(record).file(), line })
}

/// Tells whether a thread's stack has a level.
///
/// # Safety
/// The thread is alive.
pub(crate) unsafe fn has_level(l: LuaThread, level: c_int) -> bool {
    let mut record = ffi::debug_record();
    // SAFETY: as the caller's; the record is only written to.
    unsafe { ffi::lua_getstack(l, level, &raw mut record) != 0 }
}

/// One level of a thread's call stack.
struct Activation(ffi::lua_Debug);

impl Activation {
    fn at(l: LuaThread, level: c_int) -> Option<Activation> {
        let mut record = ffi::debug_record();
        // SAFETY: neither call raises; the second one gets the record that the first one has filled.
        unsafe {
            if ffi::lua_getstack(l, level, &raw mut record) == 0 {
                return None;
            }
            ffi::lua_getinfo(l, c"nSl".as_ptr(), &raw mut record);
        }
        Some(Activation(record))
    }

    /// Tells whether the function is of one of the engine's own chunks.
    fn is_own(&self) -> bool {
        text(self.0.source).as_bytes() == ffi::OWN_CHUNK.to_bytes()
    }

    fn place(&self) -> Option<Location> {
        if self.is_own() {
            return None;
        }
        let line = u32::try_from(self.0.currentline).ok().filter(|&line| line > 0)?;
        Some(Location { file: self.file(), line })
    }

    fn file(&self) -> String {
        let source = text(self.0.source);
        match source.strip_prefix('@').or_else(|| source.strip_prefix('=')) {
            Some(file) => file.to_owned(),
            None => text(self.0.short_src.as_ptr()),
        }
    }

    /// Describes the function; `None` for one of the engine's own.
    fn frame(mut self, l: LuaThread, name_of: impl Fn(usize) -> Option<String>) -> Option<Frame> {
        if self.is_own() {
            return None;
        }
        let (name, what) = (text(self.0.name), text(self.0.what));
        let function = match (what.as_str(), name.as_str()) {
            ("main", _) => "the main chunk".to_owned(),
            ("C", "") => return None,
            ("C", name) => format!("native function '{name}'"),
            (_, "") => match self.pointer(l).and_then(name_of) {
                Some(name) => format!("function '{name}'"),
                None => format!("function at line {}", self.0.linedefined),
            },
            (_, name) => format!("function '{name}'"),
        };
        Some(Frame { function, place: self.place() })
    }

    fn pointer(&mut self, l: LuaThread) -> Option<usize> {
        // SAFETY: the record is of a level that is still there; the slot is made sure of; nothing raises.
        unsafe {
            if ffi::lua_checkstack(l, 1) == 0 {
                return None;
            }
            ffi::lua_getinfo(l, c"f".as_ptr(), &raw mut self.0);
            let pointer = ffi::lua_topointer(l, -1).addr();
            ffi::lua_settop(l, -2);
            Some(pointer)
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
