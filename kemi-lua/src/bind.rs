//! What a fresh state is filled with: Lua's libraries, the registry's exports, the way out to the log.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr;
use std::slice;

use crate::ffi;
use kemi_core::{ErrorCode, ScriptError, Source, log_guarded};

use crate::interpreter::{Core, Refs, enter_with, protected};
#[cfg(not(luajit))]
use crate::library::finalizer;
use crate::trampoline::Bound;
use crate::value::{self, State, push_bytes};
use crate::{error, error_object, integrity, library::load, memory, sandbox, terminate};

/// What the fallback for unknown names points to.
pub(crate) struct Missing {
    core: *const Core,
    /// `None` for the root.
    module: Option<&'static str>,
}

/// Fills a fresh state.
///
/// # Errors
/// [`ErrorCode::Runtime`] when memory runs out.
pub(crate) fn set_up(core: &Core, l: State, sources: &[Source]) -> Result<(), ScriptError> {
    let registry = core.runtime.registry();
    let bounds: Box<[Bound]> = registry.exports().iter().map(|export| Bound::new(core, export)).collect();
    let missing: Box<[Missing]> = std::iter::once(None)
        .chain(registry.modules().map(|(name, _)| Some(name)))
        .map(|module| Missing { core: ptr::from_ref(core), module })
        .collect();
    let bounds = core.bounds.get_or_init(|| bounds);
    let missing = core.missing.get_or_init(|| missing);
    let path = search_path(sources);

    let status = protected(l, |l| {
        // SAFETY: protected; the closure only borrows.
        unsafe {
            ffi::luaL_openlibs(l);
            terminate::register(l, core);
            make_refs(l, core);
            error_object::set_up(l, core);
            sandbox::prune(l, core, &path);
            #[cfg(not(luajit))]
            finalizer::set_up(l, core);
            set_function(l, b"print", print, core);
            root(l, core, bounds, missing);
            integrity::remember(l, core);
        }
    });
    if status != ffi::LUA_OK {
        return Err(ScriptError::new(ErrorCode::Runtime, "cannot set up a Lua state: out of memory"));
    }
    #[cfg(not(luajit))]
    // SAFETY: the core outlives the state.
    unsafe {
        ffi::lua_setwarnf(l, Some(warn), ptr::from_ref(core).cast_mut().cast());
    }
    Ok(())
}

/// Compiles a source and leaves the chunk on the stack.
///
/// # Errors
/// [`ErrorCode::Syntax`].
pub(crate) fn compile(core: &Core, l: State, text: &[u8], name: &str) -> Result<(), ScriptError> {
    let chunk: Vec<u8> = [b"@", name.as_bytes(), b"\0"].concat();
    // SAFETY: loading is protected by Lua itself; the name ends in NUL, and both outlive the call.
    unsafe {
        if ffi::lua_checkstack(l, ffi::LUA_MINSTACK) == 0 {
            return Err(ScriptError::new(ErrorCode::StackOverflow, "too many script files"));
        }
        let name_of_chunk = CStr::from_bytes_until_nul(&chunk).unwrap_or_default();
        let status = load::compile(l, core, without_first_comment(text), name_of_chunk);
        if status == ffi::LUA_OK {
            return Ok(());
        }
        memory::note_refused(core, None);
        Err(error::syntax(core, l, name))
    }
}

/// Skips what Lua skips in files: a byte order mark, and a first line that begins with `#`, but not its end.
pub(crate) fn without_first_comment(text: &[u8]) -> &[u8] {
    let text = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text);
    if !text.starts_with(b"#") {
        return text;
    }
    let end = text.iter().position(|&byte| byte == b'\n').unwrap_or(text.len());
    text.get(end..).unwrap_or_default()
}

/// Builds what goes before the default `package.path`.
fn search_path(sources: &[Source]) -> Vec<u8> {
    let mut folders = Vec::new();
    for folder in sources.iter().filter_map(Source::folder) {
        if !folders.contains(&folder) {
            folders.push(folder);
        }
    }
    let mut path = Vec::new();
    for folder in &folders {
        let folder = folder.as_os_str().as_encoded_bytes();
        for template in [&b"/?.lua;"[..], b"/?/init.lua;"] {
            path.extend_from_slice(folder);
            path.extend_from_slice(template);
        }
    }
    path
}

/// # Safety
/// Protected.
unsafe fn make_refs(l: State, core: &Core) {
    // SAFETY: as the caller's.
    unsafe {
        push_function(l, error::handler, core);
        let handler = ffi::luaL_ref(l, ffi::LUA_REGISTRYINDEX);
        ffi::lua_pushcfunction(l, enter_with);
        let enter = ffi::luaL_ref(l, ffi::LUA_REGISTRYINDEX);
        ffi::lua_getglobal(l, c"tostring".as_ptr());
        let tostring = ffi::luaL_ref(l, ffi::LUA_REGISTRYINDEX);
        core.refs.set(Refs { handler, enter, tostring });
    }
}

/// Pushes a closure with the core as its upvalue.
///
/// # Safety
/// Protected.
pub(crate) unsafe fn push_function(l: State, function: ffi::lua_CFunction, core: &Core) {
    // SAFETY: as the caller's.
    unsafe {
        ffi::lua_pushlightuserdata(l, ptr::from_ref(core).cast_mut().cast());
        ffi::lua_pushcclosure(l, function, 1);
    }
}

/// Sets a global function.
///
/// # Safety
/// Protected.
unsafe fn set_function(l: State, name: &[u8], function: ffi::lua_CFunction, core: &Core) {
    // SAFETY: as the caller's.
    unsafe {
        ffi::lua_pushglobaltable(l);
        push_bytes(l, name);
        push_function(l, function, core);
        ffi::lua_rawset(l, -3);
        ffi::lua_settop(l, -2);
    }
}

/// Builds the root object: nested plain tables, so that a hit costs what any table costs.
///
/// # Safety
/// Protected.
unsafe fn root(l: State, core: &Core, bounds: &[Bound], missing: &[Missing]) {
    let registry = core.runtime.registry();
    let mut fallbacks = missing.iter();
    // SAFETY: as the caller's; this frame only borrows.
    unsafe {
        ffi::lua_pushglobaltable(l);
        push_bytes(l, registry.root().as_bytes());
        ffi::lua_createtable(l, 0, 32);
        set_fallback(l, fallbacks.next());
        for ((module, exports), fallback) in registry.modules().zip(fallbacks) {
            if !module.is_empty() {
                push_bytes(l, module.as_bytes());
                ffi::lua_createtable(l, 0, 16);
                set_fallback(l, Some(fallback));
            }
            for export in exports {
                let Some(bound) = usize::try_from(export.index()).ok().and_then(|index| bounds.get(index)) else {
                    continue;
                };
                push_bytes(l, export.def().name.as_bytes());
                ffi::lua_pushlightuserdata(l, ptr::from_ref(bound).cast_mut().cast());
                ffi::lua_pushcclosure(l, bound.function(), 1);
                ffi::lua_rawset(l, -3);
            }
            if !module.is_empty() {
                ffi::lua_rawset(l, -3);
            }
        }
        ffi::lua_rawset(l, -3);
        ffi::lua_settop(l, -2);
    }
}

/// Sets the metatable that sees lookups which miss, on the table at the top.
///
/// # Safety
/// Protected.
unsafe fn set_fallback(l: State, missing: Option<&Missing>) {
    let Some(missing) = missing else { return };
    // SAFETY: as the caller's.
    unsafe {
        ffi::lua_createtable(l, 1, 2);
        ffi::lua_pushlightuserdata(l, ptr::from_ref(missing).cast_mut().cast());
        ffi::lua_rawseti(l, -2, FALLBACK);
        push_bytes(l, b"__index");
        ffi::lua_pushlightuserdata(l, ptr::from_ref(missing).cast_mut().cast());
        ffi::lua_pushcclosure(l, unknown, 1);
        ffi::lua_rawset(l, -3);
        // `setmetatable` refuses to change it.
        push_bytes(l, b"__metatable");
        ffi::lua_pushboolean(l, 0);
        ffi::lua_rawset(l, -3);
        ffi::lua_setmetatable(l, -2);
    }
}

/// Tells whether a value is a table of the root object, as it is when a function of one was called with `:`. It neither
/// raises nor allocates.
///
/// # Safety
/// The index is valid and not relative to the top.
pub(crate) unsafe fn is_of_root(l: State, index: c_int) -> bool {
    // SAFETY: as the caller's; the slots are made sure of.
    unsafe {
        if ffi::lua_checkstack(l, 2) == 0 || ffi::lua_getmetatable(l, index) == 0 {
            return false;
        }
        ffi::lua_rawgeti(l, -1, FALLBACK);
        let is = ffi::lua_type(l, -1) == ffi::LUA_TLIGHTUSERDATA;
        ffi::lua_settop(l, -3);
        is
    }
}

/// The key of a light userdata in the metatables of the root's tables, which scripts cannot get at.
const FALLBACK: ffi::lua_Integer = 1;

/// The fallback: notes the name and gives nil.
unsafe extern "C-unwind" fn unknown(l: State) -> c_int {
    // SAFETY: made by `set_fallback` with a record that outlives the state; nothing here raises.
    unsafe {
        let missing = &*ffi::lua_touserdata(l, ffi::lua_upvalueindex(1)).cast_const().cast::<Missing>();
        if ffi::lua_type(l, 2) == ffi::LUA_TSTRING {
            note(&*missing.core, missing.module, value::string(l, 2));
        }
        ffi::lua_pushnil(l);
    }
    1
}

fn note(core: &Core, module: Option<&str>, name: &[u8]) {
    let name = String::from_utf8_lossy(name);
    match module {
        Some(module) => core.runtime.note_unknown(module, Some(&name)),
        None => core.runtime.note_unknown(&name, None),
    }
    *core.unknown.borrow_mut() = name.into_owned();
}

/// `print`: a line of the log.
unsafe extern "C-unwind" fn print(l: State) -> c_int {
    // SAFETY: made with the core as its upvalue; this frame owns nothing, and `log` raises nothing.
    unsafe {
        let core = terminate::core(l);
        let count = ffi::lua_gettop(l);
        if core.stack_is_full() {
            ffi::luaL_error(l, c"C stack overflow".as_ptr());
        }
        ffi::luaL_checkstack(l, count.saturating_mul(2).saturating_add(2), ptr::null());
        for index in 1..=count {
            if index > 1 {
                push_bytes(l, b"\t");
            }
            ffi::luaL_tolstring(l, index, ptr::null_mut());
        }
        ffi::lua_concat(l, ffi::lua_gettop(l) - count);
        log(core, l, value::string(l, -1));
    }
    0
}

fn log(core: &Core, l: State, text: &[u8]) {
    log_guarded(|| {
        if !tracing::enabled!(target: "script", tracing::Level::INFO) {
            return;
        }
        let (engine, text) = (core.runtime.engine(), String::from_utf8_lossy(text));
        match error::place(l) {
            Some(place) => tracing::info!(target: "script", engine, "{place}: {text}"),
            None => tracing::info!(target: "script", engine, "{text}"),
        }
    });
}

/// `warn`: a line of the log, which Lua gives in pieces.
#[cfg_attr(luajit, expect(dead_code, reason = "LuaJIT has no warnings"))]
unsafe extern "C-unwind" fn warn(core: *mut c_void, piece: *const c_char, more: c_int) {
    // SAFETY: set with the core, which outlives the state; Lua passes a string that ends in NUL.
    let (core, piece) = unsafe { (&*core.cast_const().cast::<Core>(), CStr::from_ptr(piece)) };
    core.warning.borrow_mut().extend_from_slice(piece.to_bytes());
    if more == 0 {
        let text = core.warning.take();
        // Words that begin with @ control the interpreter's own warning system, which this one replaces.
        if !text.starts_with(b"@") {
            let engine = core.runtime.engine();
            log_guarded(|| tracing::warn!(target: "script", engine, "{}", String::from_utf8_lossy(&text)));
        }
    }
}

/// Runs a chunk of our own with the values above `base` as its arguments.
///
/// # Safety
/// Protected.
pub(crate) unsafe fn run_own(l: State, chunk: &CStr, base: c_int, results: c_int) {
    let text = chunk.to_bytes();
    // SAFETY: as the caller's; the text is static.
    unsafe {
        let text: &[u8] = slice::from_raw_parts(text.as_ptr(), text.len());
        if ffi::luaL_loadbufferx(l, text.as_ptr().cast(), text.len(), c"=(kemi)".as_ptr(), c"t".as_ptr()) != ffi::LUA_OK
        {
            ffi::lua_error(l);
        }
        ffi::lua_insert(l, base + 1);
        ffi::lua_call(l, ffi::lua_gettop(l) - base - 1, results);
    }
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
