//! The root object of a state: nested plain tables with a function for each export.

use std::ffi::c_int;
use std::rc::Rc;
use std::{ptr, slice};

use kemi_core::engine::Runtime;
use kemi_core::export::Typed;
use kemi_core::registry::{Export, Module};

use crate::call::CallState;
use crate::error::Diagnostics;
use crate::ffi::{self, LuaThread};
use crate::{string, value};

/// An export as its function object knows it: the upvalue of the closure points to it. It lives as long as the Lua state.
pub(crate) struct BoundExport {
    typed: Option<Typed>,
    runtime: *const Runtime,
    export: *const Export,
    call: *const CallState,
}

impl BoundExport {
    fn new(call: &CallState, export: &Export) -> BoundExport {
        // A deprecated export warns, which the generic path does.
        let typed = if export.def().deprecated.is_some() { None } else { export.typed() };
        let runtime = Rc::as_ptr(call.runtime());
        BoundExport { typed, runtime, export: ptr::from_ref(export), call: ptr::from_ref(call) }
    }

    /// Returns the record of the running closure.
    ///
    /// # Safety
    /// The running function is an export's closure.
    #[inline]
    pub(crate) unsafe fn of<'a>(l: LuaThread) -> &'a BoundExport {
        // SAFETY: the upvalue was made from a record that outlives the state.
        unsafe { ffi::context(l) }
    }

    /// Returns the typed entry, unless every call has to take the generic path.
    #[inline]
    pub(crate) fn typed(&self) -> Option<&Typed> {
        self.typed.as_ref()
    }

    /// Returns the state of the running call.
    #[inline]
    pub(crate) fn call(&self) -> &CallState {
        // SAFETY: the call state lives as long as the Lua state, and does not move.
        unsafe { &*self.call }
    }

    /// Returns the runtime.
    #[inline]
    pub(crate) fn runtime(&self) -> &Runtime {
        // SAFETY: the call state holds it.
        unsafe { &*self.runtime }
    }

    /// Returns the export.
    #[inline]
    pub(crate) fn export(&self) -> &Export {
        // SAFETY: the runtime owns the registry, whose table of exports does not change.
        unsafe { &*self.export }
    }
}

/// The records that the root object of one state points to.
pub(crate) struct RootObject {
    /// By the indices of the exports.
    exports: Box<[BoundExport]>,
    /// One for each module, outer ones first.
    fallbacks: Box<[Fallback]>,
}

/// A module as the fallback for its unknown names knows it.
struct Fallback {
    runtime: *const Runtime,
    diagnostics: *const Diagnostics,
    module: *const Module,
}

impl RootObject {
    /// Makes the records for all exports of the registry.
    ///
    /// # Safety
    /// The call state and the diagnostics do not move, and outlive the Lua state.
    pub(crate) unsafe fn new(call: &CallState, diagnostics: &Diagnostics) -> RootObject {
        let registry = call.runtime().registry();
        let mut fallbacks = Vec::new();
        registry.module().walk(&mut |module| {
            let (runtime, diagnostics) = (Rc::as_ptr(call.runtime()), ptr::from_ref(diagnostics));
            fallbacks.push(Fallback { runtime, diagnostics, module: ptr::from_ref(module) });
        });
        RootObject {
            exports: registry.exports().iter().map(|export| BoundExport::new(call, export)).collect(),
            fallbacks: fallbacks.into(),
        }
    }

    /// Builds the root object as a global. A hit costs what any table costs. `function_of` chooses the C function of an
    /// export.
    ///
    /// # Safety
    /// The call is protected; `self` does not move, and outlives the Lua state. The registry's constants have been
    /// [checked](value::check).
    pub(crate) unsafe fn bind(
        &self,
        l: LuaThread,
        call: &CallState,
        function_of: impl Fn(&BoundExport) -> ffi::lua_CFunction,
    ) {
        let registry = call.runtime().registry();
        // SAFETY: as the caller's; this frame only borrows.
        unsafe {
            ffi::lua_pushglobaltable(l);
            string::push(l, registry.root().as_bytes());
            self.push_module(l, call, registry.module(), &mut self.fallbacks.iter(), &function_of);
            ffi::lua_rawset(l, -3);
            ffi::lua_settop(l, -2);
            if !registry.classes().is_empty() {
                call.objects().set_up(l, call, |export| match self.exports.get(export.index() as usize) {
                    Some(bound) => ffi::push_function(l, function_of(bound), bound),
                    None => ffi::lua_pushnil(l),
                });
            }
        }
    }

    /// Pushes the table of a module: its constants, its functions and the modules within it.
    ///
    /// # Safety
    /// As [`bind`](Self::bind).
    unsafe fn push_module(
        &self,
        l: LuaThread,
        call: &CallState,
        module: &Module,
        fallbacks: &mut slice::Iter<'_, Fallback>,
        function_of: &impl Fn(&BoundExport) -> ffi::lua_CFunction,
    ) {
        // SAFETY: as the caller's; this frame only borrows.
        unsafe {
            ffi::luaL_checkstack(l, 8, ptr::null());
            ffi::lua_createtable(l, 0, 16);
            set_fallback(l, fallbacks.next());
            for constant in module.constants() {
                string::push(l, constant.def().name.as_bytes());
                value::push(l, call, constant.value());
                ffi::lua_rawset(l, -3);
            }
            let exports = self.exports.get(module.exports()).unwrap_or(&[]);
            for bound in exports.iter().filter(|bound| bound.export().def().is_function()) {
                string::push(l, bound.export().def().name.as_bytes());
                ffi::push_function(l, function_of(bound), bound);
                ffi::lua_rawset(l, -3);
            }
            for inner in module.modules() {
                string::push(l, inner.name().as_bytes());
                self.push_module(l, call, inner, fallbacks, function_of);
                ffi::lua_rawset(l, -3);
            }
        }
    }
}

/// The key of a light userdata in the metatables of the root's tables, which scripts cannot get at.
const FALLBACK: ffi::lua_Integer = 1;

/// Sets the metatable that sees lookups which miss, on the table at the top.
///
/// # Safety
/// The call is protected.
unsafe fn set_fallback(l: LuaThread, fallback: Option<&Fallback>) {
    let Some(fallback) = fallback else { return };
    // SAFETY: as the caller's.
    unsafe {
        ffi::lua_createtable(l, 1, 2);
        ffi::push_context(l, fallback);
        ffi::lua_rawseti(l, -2, FALLBACK);
        string::push(l, b"__index");
        ffi::push_function(l, unknown, fallback);
        ffi::lua_rawset(l, -3);
        // `setmetatable` refuses to change it.
        string::push(l, b"__metatable");
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
pub(crate) unsafe fn is_of_root(l: LuaThread, index: c_int) -> bool {
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

/// The fallback: notes the name and gives nil.
unsafe extern "C-unwind" fn unknown(l: LuaThread) -> c_int {
    // SAFETY: made by `set_fallback` with a record that outlives the state; nothing here raises.
    unsafe {
        let fallback = ffi::context::<Fallback>(l);
        if ffi::lua_type(l, 2) == ffi::LUA_TSTRING {
            fallback.note(string::read_lossy(l, 2));
        }
        ffi::lua_pushnil(l);
    }
    1
}

impl Fallback {
    /// Notes an unknown name.
    ///
    /// # Safety
    /// The state is alive.
    unsafe fn note(&self, name: String) {
        // SAFETY: all three outlive the Lua state.
        let (runtime, diagnostics, module) = unsafe { (&*self.runtime, &*self.diagnostics, &*self.module) };
        match module.path() {
            "" => runtime.note_unknown(&name, None),
            path => runtime.note_unknown(path, Some(&name)),
        }
        diagnostics.note_unknown(name);
    }
}
