//! What a profile does not allow: it is taken out, and whoever asks for it by name gets a function that refuses.

use std::ffi::{CStr, c_int};
use std::ptr;

use kemi_core::ScriptError;
use kemi_core::limits::{Facility, Imports, Needs, Profile};

use crate::call::CallState;
use crate::error;
use crate::ffi::{self, LuaThread};
use crate::string;

const CLOCK: Needs = Needs::Facility(Facility::Clock);
const FILES: Needs = Needs::Facility(Facility::Files);
const PROCESSES: Needs = Needs::Facility(Facility::Processes);
const ENVIRONMENT: Needs = Needs::Facility(Facility::Environment);

/// Everything that needs leave, by library: what it needs, and the names.
const LIST: &[(&CStr, Needs, &[&CStr])] = &[
    (
        c"io",
        FILES,
        &[c"close", c"flush", c"input", c"lines", c"open", c"output", c"read", c"tmpfile", c"type", c"write"],
    ),
    (c"io", FILES, &[c"stdin", c"stdout", c"stderr"]),
    (c"io", PROCESSES, &[c"popen"]),
    (c"os", FILES, &[c"remove", c"rename", c"tmpname"]),
    (c"os", PROCESSES, &[c"execute"]),
    (c"os", ENVIRONMENT, &[c"getenv"]),
    (c"os", CLOCK, &[c"clock"]),
    (c"os", Needs::Open, &[c"exit"]),
    (c"debug", Needs::Open, &[c"getinfo"]),
    (c"string", Needs::Open, &[c"dump"]),
    (c"package", Needs::Imports, &[c"searchpath"]),
    (c"_G", Needs::Imports, &[c"loadfile", c"dofile"]),
];

/// The libraries in [`LIST`] that are not the globals.
const LIBRARIES: [&CStr; 5] = [c"io", c"os", c"debug", c"string", c"package"];

/// The functions that read the clock if an argument is missing: which one.
const CLOCK_WITHOUT: [(&CStr, c_int); 2] = [(c"time", 1), (c"date", 2)];

/// Returns whether a profile allows what needs this.
pub(crate) fn allows(profile: &Profile, needs: Needs) -> bool {
    profile.is_open()
        || match needs {
            Needs::Facility(facility) => profile.allows(facility),
            Needs::Imports => !matches!(profile.where_from(), Imports::Nothing),
            _ => false,
        }
}

/// Returns whether the profile allows something of the library `io`.
pub(crate) fn allows_io(profile: &Profile) -> bool {
    allows(profile, FILES) || allows(profile, PROCESSES)
}

/// Takes out what the profile does not allow. `path` is the whole `package.path` then.
///
/// # Safety
/// The call is protected; the libraries are as the sandbox has left them.
pub(crate) unsafe fn apply(l: LuaThread, call: &CallState, path: &[u8]) {
    let profile = call.runtime().registry().profile();
    if profile.is_open() {
        return;
    }
    // SAFETY: as the caller's; this frame owns nothing, and leaves the stack as it was.
    unsafe {
        let top = ffi::lua_gettop(l);
        if !allows_io(profile) {
            // A fresh one, so that nothing of the library can be reached.
            ffi::lua_createtable(l, 0, 0);
            ffi::lua_getglobal(l, c"package".as_ptr());
            ffi::lua_getfield(l, -1, c"loaded".as_ptr());
            ffi::lua_pushvalue(l, top + 1);
            ffi::lua_setfield(l, -2, c"io".as_ptr());
            ffi::lua_settop(l, top + 1);
            ffi::lua_setglobal(l, c"io".as_ptr());
        }
        for &(library, needs, names) in LIST.iter().filter(|(_, needs, _)| !allows(profile, *needs)) {
            ffi::lua_getglobal(l, library.as_ptr());
            for name in names {
                if library == c"_G" {
                    push_refusal(l, call, name, needs);
                } else {
                    ffi::lua_pushnil(l);
                }
                ffi::lua_setfield(l, -2, name.as_ptr());
            }
            ffi::lua_settop(l, top);
        }
        for library in LIBRARIES {
            ffi::lua_getglobal(l, library.as_ptr());
            ffi::lua_createtable(l, 0, 2);
            ffi::push_context(l, call);
            ffi::lua_pushlightuserdata(l, library.as_ptr().cast_mut().cast());
            ffi::lua_pushcclosure(l, look_up, 2);
            ffi::lua_setfield(l, -2, c"__index".as_ptr());
            ffi::lua_pushboolean(l, 0);
            ffi::lua_setfield(l, -2, c"__metatable".as_ptr());
            ffi::lua_setmetatable(l, -2);
            ffi::lua_settop(l, top);
        }
        if !allows(profile, CLOCK) {
            hide_clock(l, call);
        }
        ffi::lua_getglobal(l, c"package".as_ptr());
        string::push(l, path.strip_suffix(b";").unwrap_or(path));
        ffi::lua_setfield(l, -2, c"path".as_ptr());
        if !allows(profile, Needs::Imports) {
            let searchers = if cfg!(luajit) { c"loaders" } else { c"searchers" };
            ffi::lua_getfield(l, -1, searchers.as_ptr());
            push_refusal(l, call, c"require", Needs::Imports);
            ffi::lua_rawseti(l, -2, 2);
        }
        ffi::lua_settop(l, top);
    }
}

/// Leaves of the functions that read the clock what they do with a given time.
///
/// # Safety
/// As [`apply`].
unsafe fn hide_clock(l: LuaThread, call: &CallState) {
    // SAFETY: as the caller's; this frame owns nothing, and leaves the stack as it was.
    unsafe {
        let top = ffi::lua_gettop(l);
        ffi::lua_getglobal(l, c"os".as_ptr());
        for (name, argument) in CLOCK_WITHOUT {
            ffi::push_context(l, call);
            ffi::lua_getfield(l, top + 1, name.as_ptr());
            ffi::lua_pushlightuserdata(l, name.as_ptr().cast_mut().cast());
            ffi::lua_pushinteger(l, argument.into());
            ffi::lua_pushcclosure(l, with_given_time, 4);
            ffi::lua_setfield(l, top + 1, name.as_ptr());
        }
        // Without an argument it is the time that seeds, and what it returns tells.
        ffi::lua_getglobal(l, c"math".as_ptr());
        ffi::push_context(l, call);
        ffi::lua_getfield(l, -2, c"randomseed".as_ptr());
        ffi::lua_pushcclosure(l, silent, 2);
        ffi::lua_setfield(l, -2, c"randomseed".as_ptr());
        ffi::lua_settop(l, top);
    }
}

/// Pushes a function that refuses.
///
/// # Safety
/// The call is protected, with five free slots.
unsafe fn push_refusal(l: LuaThread, call: &CallState, name: &'static CStr, needs: Needs) {
    // SAFETY: as the caller's; the name is never freed.
    unsafe {
        ffi::push_context(l, call);
        ffi::lua_pushstring(l, name.as_ptr());
        ffi::lua_pushinteger(l, needs_number(needs));
        ffi::lua_pushcclosure(l, refuse, 3);
    }
}

/// `__index` of a library: gives a function that refuses for what is taken out of it, and nil for anything else.
unsafe extern "C-unwind" fn look_up(l: LuaThread) -> c_int {
    // SAFETY: made by `apply` with the call state and the name of the library, which is never freed.
    unsafe {
        let call = CallState::of(l);
        let library = CStr::from_ptr(ffi::lua_touserdata(l, ffi::lua_upvalueindex(2)).cast_const().cast());
        let is_text = ffi::lua_type(l, 2) == ffi::LUA_TSTRING;
        match is_text.then(|| string::read(l, 2)).and_then(|name| missing(call, library, name)) {
            Some((name, needs)) => {
                ffi::luaL_checkstack(l, 6, ptr::null());
                ffi::push_context(l, call);
                for part in [library, c".", name] {
                    ffi::lua_pushstring(l, part.as_ptr());
                }
                ffi::lua_concat(l, 3);
                ffi::lua_pushinteger(l, needs_number(needs));
                ffi::lua_pushcclosure(l, refuse, 3);
            }
            None => ffi::lua_pushnil(l),
        }
    }
    1
}

/// Finds a name that is taken out of a library.
fn missing(call: &CallState, library: &CStr, name: &[u8]) -> Option<(&'static CStr, Needs)> {
    let profile = call.runtime().registry().profile();
    let out = LIST.iter().filter(|(of, needs, _)| *of == library && !allows(profile, *needs));
    out.flat_map(|&(_, needs, names)| names.iter().map(move |&name| (name, needs)))
        .find(|(known, _)| known.to_bytes() == name)
}

/// Raises the refusal of what the second upvalue names and the third one says the needs of.
unsafe extern "C-unwind" fn refuse(l: LuaThread) -> c_int {
    // SAFETY: made with the call state, a string and a number; this frame owns nothing when it raises.
    unsafe {
        let call = CallState::of(l);
        error::raise(l, call, refusal(l, call))
    }
}

/// Makes the error of [`refuse`].
///
/// # Safety
/// As for [`refuse`].
unsafe fn refusal(l: LuaThread, call: &CallState) -> ScriptError {
    // SAFETY: as the caller's.
    let (what, number) =
        unsafe { (string::read_lossy(l, ffi::lua_upvalueindex(2)), ffi::lua_tointeger(l, ffi::lua_upvalueindex(3))) };
    call.runtime().registry().profile().refuse(&what, needs_of(number))
}

/// Calls the original, which is the second upvalue, if the argument that the fourth one numbers is there.
unsafe extern "C-unwind" fn with_given_time(l: LuaThread) -> c_int {
    // SAFETY: made by `hide_clock` with the call state, the original, its name, which is never freed, and a number; this frame owns
    // nothing when it raises.
    unsafe {
        let call = CallState::of(l);
        let argument = c_int::try_from(ffi::lua_tointeger(l, ffi::lua_upvalueindex(4))).unwrap_or(1);
        // An index beyond the top is none, which counts as missing.
        if ffi::lua_type(l, argument) <= ffi::LUA_TNIL {
            error::raise(l, call, without_time(l, call))
        }
        ffi::call_upvalue(l, 2, ffi::LUA_MULTRET)
    }
}

/// Makes the error of [`with_given_time`].
///
/// # Safety
/// As for [`with_given_time`].
unsafe fn without_time(l: LuaThread, call: &CallState) -> ScriptError {
    // SAFETY: as the caller's.
    let name = unsafe { CStr::from_ptr(ffi::lua_touserdata(l, ffi::lua_upvalueindex(3)).cast_const().cast()) };
    let what = format!("os.{} without a time", name.to_string_lossy());
    call.runtime().registry().profile().refuse(&what, CLOCK)
}

/// Calls the original, which is the second upvalue, and returns nothing.
unsafe extern "C-unwind" fn silent(l: LuaThread) -> c_int {
    // SAFETY: made by `hide_clock` with the original; this frame owns nothing.
    unsafe { ffi::call_upvalue(l, 2, 0) };
    0
}

/// Everything that something may need, by the numbers that upvalues have.
const NEEDS: [Needs; 6] = [CLOCK, FILES, PROCESSES, ENVIRONMENT, Needs::Imports, Needs::Open];

fn needs_number(needs: Needs) -> ffi::lua_Integer {
    NEEDS.iter().position(|known| *known == needs).map_or(0, |at| at as ffi::lua_Integer)
}

fn needs_of(number: ffi::lua_Integer) -> Needs {
    usize::try_from(number).ok().and_then(|at| NEEDS.get(at).copied()).unwrap_or(Needs::Open)
}
