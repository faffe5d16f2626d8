//! Objects of the host as Lua has them: userdata with a metatable for each class.
//!
//! A userdata holds a handle. Its finalizer puts the handle down; what the object's end does is the host's, and happens
//! between two calls.

use std::cell::OnceCell;
use std::ffi::{CStr, c_int};
use std::ptr;

use kemi_core::engine::{HeldObject, Runtime};
use kemi_core::export::{Operator, Role};
use kemi_core::registry::Export;
use kemi_core::value::Class;
use kemi_core::{ErrorCode, Object, ScriptError};

use crate::call::CallState;
use crate::ffi::{self, LuaThread};
use crate::{error, string};

/// The content of a userdata; empty only until it has been filled, and again after its finalizer.
type Block = Option<HeldObject>;

/// The classes of one state.
pub(crate) struct Objects(OnceCell<Box<[ClassRecord]>>);

/// A class as its metatable knows it. It does not move, and outlives the state.
struct ClassRecord {
    call: *const CallState,
    /// `None` for all classes that the registry does not have.
    class: Option<&'static Class>,
}

/// The key of the metatable's light userdata that points to its record. Scripts cannot get at the metatable.
const RECORD: ffi::lua_Integer = 1;

impl Objects {
    /// Makes a record of a fresh state.
    pub(crate) fn new() -> Objects {
        Objects(OnceCell::new())
    }

    /// Makes the metatables. `push_export` pushes the function of an export.
    ///
    /// # Safety
    /// The call is protected; the call state does not move, and outlives the Lua state.
    pub(crate) unsafe fn set_up(&self, l: LuaThread, call: &CallState, push_export: impl Fn(&Export)) {
        let registry = call.runtime().registry();
        let known = registry.classes().iter().map(|class| Some(class.class()));
        let records = self.0.get_or_init(|| {
            known.chain([None]).map(|class| ClassRecord { call: ptr::from_ref(call), class }).collect()
        });
        for record in records {
            // SAFETY: as the caller's; this frame only borrows.
            unsafe {
                ffi::luaL_checkstack(l, 10, ptr::null());
                record.push_metatable(l, call, &push_export);
                ffi::lua_rawsetp(l, ffi::LUA_REGISTRYINDEX, ptr::from_ref(record).cast());
            }
        }
    }

    /// Pushes an object. May raise when memory runs out.
    ///
    /// # Safety
    /// The call is protected, with a few free slots, and no frame of ours on the way owns anything.
    pub(crate) unsafe fn push(&self, l: LuaThread, call: &CallState, object: &Object) {
        let record = self.0.get().and_then(|records| {
            let index = call.runtime().registry().class_index(object.class());
            records.get(index.unwrap_or(records.len() - 1))
        });
        let Some(record) = record else {
            // SAFETY: as the caller's.
            return unsafe { ffi::lua_pushnil(l) };
        };
        // SAFETY: as the caller's; the block has room for what is written. It is filled when its finalizer may first run.
        unsafe {
            let block = ffi::lua_newuserdata(l, size_of::<Block>()).cast::<Block>();
            block.write(None);
            ffi::lua_rawgetp(l, ffi::LUA_REGISTRYINDEX, ptr::from_ref(record).cast());
            ffi::lua_setmetatable(l, -2);
            *block = Some(call.runtime().hold(object.clone()));
        }
    }
}

/// Checks that an object can go into the script.
///
/// # Errors
/// [`ErrorCode::UnknownFunction`] if no class is enabled, so that objects have no metatables.
pub(crate) fn check(runtime: &Runtime, object: &Object) -> Result<(), ScriptError> {
    let registry = runtime.registry();
    if registry.classes().is_empty() { Err(registry.explain_unknown(object.class().path, None)) } else { Ok(()) }
}

/// Returns the object at an index, if it is one. It neither raises nor allocates.
///
/// # Safety
/// The index is valid and not relative to the top; the result is used only while the value is there.
pub(crate) unsafe fn get<'a>(l: LuaThread, index: c_int) -> Option<&'a Object> {
    // SAFETY: as the caller's; only a userdata with a metatable of ours is read, which has a block.
    unsafe {
        record_of(l, index)?;
        let block = ffi::lua_touserdata(l, index).cast_const().cast::<Block>();
        (*block).as_deref()
    }
}

/// Returns the class record of the userdata at an index, if it is an object.
///
/// # Safety
/// As [`get`].
unsafe fn record_of<'a>(l: LuaThread, index: c_int) -> Option<&'a ClassRecord> {
    // SAFETY: as the caller's; scripts can neither make a light userdata nor get at a metatable that has one.
    unsafe {
        if ffi::lua_type(l, index) != ffi::LUA_TUSERDATA || ffi::lua_checkstack(l, 2) == 0 {
            return None;
        }
        if ffi::lua_getmetatable(l, index) == 0 {
            return None;
        }
        ffi::lua_rawgeti(l, -1, RECORD);
        let is_ours = ffi::lua_type(l, -1) == ffi::LUA_TLIGHTUSERDATA;
        let record = ffi::lua_touserdata(l, -1).cast_const().cast::<ClassRecord>();
        ffi::lua_settop(l, -3);
        if is_ours { record.as_ref() } else { None }
    }
}

impl ClassRecord {
    /// Pushes a new metatable.
    ///
    /// # Safety
    /// As [`Objects::set_up`], with some free slots.
    unsafe fn push_metatable(&self, l: LuaThread, call: &CallState, push_export: &impl Fn(&Export)) {
        let registry = call.runtime().registry();
        let operator = |operator| self.class.and_then(|class| registry.operator(class, operator));
        let has_text_keys = |operator| self.class.is_some_and(|class| registry.has_text_keys(class, operator));
        let is_getter = |role: Role| matches!(role, Role::Getter(_));
        let has_getters = self.class.is_some_and(|class| registry.members(class).any(|(_, role)| is_getter(role)));
        // SAFETY: as the caller's; this frame only borrows.
        unsafe {
            ffi::lua_createtable(l, 1, 10);
            ffi::push_context(l, self);
            ffi::lua_rawseti(l, -2, RECORD);
            string::push(l, self.class.map_or("object of the host", |class| class.name).as_bytes());
            ffi::lua_setfield(l, -2, c"__name".as_ptr());
            ffi::lua_pushboolean(l, 0);
            ffi::lua_setfield(l, -2, c"__metatable".as_ptr());
            self.set(l, c"__gc", let_go, None, push_export);
            self.set(l, c"__eq", equal, operator(Operator::Equal), push_export);
            self.set(l, c"__tostring", to_text, operator(Operator::Text), push_export);
            if let Some(export) = operator(Operator::Length) {
                self.set(l, c"__len", first_argument, Some(export), push_export);
            }
            if let Some(export) = operator(Operator::Call) {
                push_export(export);
                ffi::lua_setfield(l, -2, c"__call".as_ptr());
            }

            self.push_members(l, call, |role, export| (role == Role::Method).then(|| export.def().name), push_export);
            if has_getters || operator(Operator::Index).is_some() {
                ffi::push_context(l, self);
                ffi::lua_insert(l, -2);
                let name = |role, _: &Export| if let Role::Getter(name) = role { Some(name) } else { None };
                self.push_members(l, call, name, push_export);
                push_or_nil(l, operator(Operator::Index), push_export);
                ffi::lua_pushboolean(l, has_text_keys(Operator::Index).into());
                ffi::lua_pushcclosure(l, index, 5);
            } else {
                // A hit costs what any table costs.
                ffi::lua_createtable(l, 0, 2);
                self.set(l, c"__index", unknown, None, push_export);
                ffi::lua_setmetatable(l, -2);
            }
            ffi::lua_setfield(l, -2, c"__index".as_ptr());

            ffi::push_context(l, self);
            let name = |role, _: &Export| if let Role::Setter(name) = role { Some(name) } else { None };
            self.push_members(l, call, name, push_export);
            push_or_nil(l, operator(Operator::SetIndex), push_export);
            ffi::lua_pushboolean(l, has_text_keys(Operator::SetIndex).into());
            ffi::lua_pushcclosure(l, set_index, 4);
            ffi::lua_setfield(l, -2, c"__newindex".as_ptr());
        }
    }

    /// Sets a field of the table at the top to a function with the record and the function of an export as its upvalues.
    ///
    /// # Safety
    /// As [`push_metatable`](Self::push_metatable).
    unsafe fn set(
        &self,
        l: LuaThread,
        field: &CStr,
        function: ffi::lua_CFunction,
        export: Option<&Export>,
        push_export: &impl Fn(&Export),
    ) {
        // SAFETY: as the caller's.
        unsafe {
            ffi::push_context(l, self);
            push_or_nil(l, export, push_export);
            ffi::lua_pushcclosure(l, function, 2);
            ffi::lua_setfield(l, -2, field.as_ptr());
        }
    }

    /// Pushes a table of those members for which `name` gives a name.
    ///
    /// # Safety
    /// As [`push_metatable`](Self::push_metatable).
    unsafe fn push_members(
        &self,
        l: LuaThread,
        call: &CallState,
        name: impl Fn(Role, &Export) -> Option<&'static str>,
        push_export: &impl Fn(&Export),
    ) {
        // SAFETY: as the caller's.
        unsafe {
            ffi::lua_createtable(l, 0, 4);
            let Some(class) = self.class else { return };
            for (export, role) in call.runtime().registry().members(class) {
                if let Some(name) = name(role, export) {
                    string::push(l, name.as_bytes());
                    push_export(export);
                    ffi::lua_rawset(l, -3);
                }
            }
        }
    }

    /// Returns the call state.
    fn call(&self) -> &CallState {
        // SAFETY: it outlives the Lua state, in which alone the record is used.
        unsafe { &*self.call }
    }

    /// Explains why there is no member of a name, or why it cannot be assigned to.
    ///
    /// # Safety
    /// Called in a C function with the object and the key as its first arguments.
    #[cold]
    unsafe fn explain(&self, l: LuaThread, assigned: bool) -> ScriptError {
        let registry = self.call().runtime().registry();
        // SAFETY: as the caller's.
        let (name, class) = unsafe {
            let name = match ffi::lua_type(l, 2) {
                ffi::LUA_TSTRING => string::read_lossy(l, 2),
                _ => format!("[{}]", std::ffi::CStr::from_ptr(ffi::luaL_typename(l, 2)).to_string_lossy()),
            };
            // Of a class that the registry does not have only the object knows which one.
            (name, self.class.or_else(|| get(l, 1).map(Object::class)))
        };
        match class {
            Some(class) if assigned => registry.explain_assignment(class, &name),
            Some(class) => registry.explain_member(class, &name),
            None => ScriptError::new(ErrorCode::UnknownFunction, format!("there is no '{name}'")),
        }
    }
}

/// Pushes the function of an export, or nil.
///
/// # Safety
/// As [`Objects::set_up`], with a free slot.
unsafe fn push_or_nil(l: LuaThread, export: Option<&Export>, push_export: &impl Fn(&Export)) {
    match export {
        Some(export) => push_export(export),
        // SAFETY: as the caller's.
        None => unsafe { ffi::lua_pushnil(l) },
    }
}

/// Tells whether the key at index 2, which is no member, is for the operator at an upvalue. The next upvalue says whether that takes
/// text.
///
/// # Safety
/// Called in a C function with these upvalues.
unsafe fn is_for_operator(l: LuaThread, upvalue: c_int) -> bool {
    // SAFETY: as the caller's; nothing raises.
    unsafe {
        let is_there = ffi::lua_type(l, ffi::lua_upvalueindex(upvalue)) != ffi::LUA_TNIL;
        let takes_text = ffi::lua_toboolean(l, ffi::lua_upvalueindex(upvalue + 1)) != 0;
        is_there && (takes_text || ffi::lua_type(l, 2) != ffi::LUA_TSTRING)
    }
}

/// Calls the function at an upvalue with the arguments that are on the stack.
///
/// # Safety
/// Called in a C function; its frame owns nothing.
unsafe fn call_with_all(l: LuaThread, upvalue: c_int, results: c_int) {
    // SAFETY: as the caller's; a C function has free slots.
    unsafe {
        ffi::lua_pushvalue(l, ffi::lua_upvalueindex(upvalue));
        ffi::lua_insert(l, 1);
        ffi::lua_call(l, ffi::lua_gettop(l) - 1, results);
    }
}

/// `__gc`.
unsafe extern "C-unwind" fn let_go(l: LuaThread) -> c_int {
    // SAFETY: called by Lua with an object, of which nothing is borrowed.
    unsafe {
        if record_of(l, 1).is_some() {
            // That puts the handle down, and runs nothing of the host.
            drop((*ffi::lua_touserdata(l, 1).cast::<Block>()).take());
        }
    }
    0
}

/// `__index` of a class that has properties: a method, a property, what the operator gives, or an error.
unsafe extern "C-unwind" fn index(l: LuaThread) -> c_int {
    const METHODS: c_int = 2;
    const GETTERS: c_int = 3;
    const OPERATOR: c_int = 4;
    // SAFETY: called by Lua with an object and a key; this frame owns nothing when it raises.
    unsafe {
        let record = ffi::context::<ClassRecord>(l);
        if ffi::lua_type(l, 2) == ffi::LUA_TSTRING {
            ffi::lua_pushvalue(l, 2);
            ffi::lua_rawget(l, ffi::lua_upvalueindex(METHODS));
            if ffi::lua_type(l, -1) != ffi::LUA_TNIL {
                return 1;
            }
            ffi::lua_settop(l, 2);
            ffi::lua_pushvalue(l, 2);
            ffi::lua_rawget(l, ffi::lua_upvalueindex(GETTERS));
            if ffi::lua_type(l, -1) != ffi::LUA_TNIL {
                ffi::lua_pushvalue(l, 1);
                ffi::lua_call(l, 1, 1);
                return 1;
            }
            ffi::lua_settop(l, 2);
        }
        if !is_for_operator(l, OPERATOR) {
            let error = record.explain(l, false);
            error::raise(l, record.call(), error);
        }
        call_with_all(l, OPERATOR, 1);
    }
    1
}

/// `__index` of the methods of a class without properties: an error.
unsafe extern "C-unwind" fn unknown(l: LuaThread) -> c_int {
    // SAFETY: called by Lua with the methods and a key; this frame owns nothing when it raises.
    unsafe {
        let record = ffi::context::<ClassRecord>(l);
        let error = record.explain(l, false);
        error::raise(l, record.call(), error);
    }
}

/// `__newindex`: a property, the operator, or an error.
unsafe extern "C-unwind" fn set_index(l: LuaThread) -> c_int {
    const SETTERS: c_int = 2;
    const OPERATOR: c_int = 3;
    // SAFETY: called by Lua with an object, a key and a value; this frame owns nothing when it raises.
    unsafe {
        let record = ffi::context::<ClassRecord>(l);
        if ffi::lua_type(l, 2) == ffi::LUA_TSTRING {
            ffi::lua_pushvalue(l, 2);
            ffi::lua_rawget(l, ffi::lua_upvalueindex(SETTERS));
            if ffi::lua_type(l, -1) != ffi::LUA_TNIL {
                ffi::lua_pushvalue(l, 1);
                ffi::lua_pushvalue(l, 3);
                ffi::lua_call(l, 2, 0);
                return 0;
            }
            ffi::lua_settop(l, 3);
        }
        if !is_for_operator(l, OPERATOR) {
            let error = record.explain(l, true);
            error::raise(l, record.call(), error);
        }
        call_with_all(l, OPERATOR, 0);
    }
    0
}

/// `__eq`: two handles of one object are equal; of others the operator decides, if they are of one class.
unsafe extern "C-unwind" fn equal(l: LuaThread) -> c_int {
    const OPERATOR: c_int = 2;
    // SAFETY: called by Lua with two operands; this frame owns nothing when it raises.
    unsafe {
        let (same, one_class) = match (get(l, 1), get(l, 2)) {
            (Some(a), Some(b)) => (a == b, a.class() == b.class()),
            _ => (false, false),
        };
        if same || !one_class || ffi::lua_type(l, ffi::lua_upvalueindex(OPERATOR)) == ffi::LUA_TNIL {
            ffi::lua_pushboolean(l, same.into());
        } else {
            ffi::lua_settop(l, 2);
            call_with_all(l, OPERATOR, 1);
        }
    }
    1
}

/// `__tostring`: the operator's text, or the class and a number.
unsafe extern "C-unwind" fn to_text(l: LuaThread) -> c_int {
    const OPERATOR: c_int = 2;
    // SAFETY: called by Lua with an object; this frame owns nothing when it raises.
    unsafe {
        if ffi::lua_type(l, ffi::lua_upvalueindex(OPERATOR)) != ffi::LUA_TNIL {
            return first_argument(l);
        }
        let record = ffi::context::<ClassRecord>(l);
        match get(l, 1) {
            Some(object) => {
                let text = format!("{}: 0x{:x}", object.class().name, object.address());
                string::push_owned(l, record.call(), text.into_bytes());
            }
            None => string::push(l, b"object"),
        }
    }
    1
}

/// Calls the operator with the first argument alone: Lua passes the operand of `#` twice.
unsafe extern "C-unwind" fn first_argument(l: LuaThread) -> c_int {
    const OPERATOR: c_int = 2;
    // SAFETY: called by Lua with an object; this frame owns nothing.
    unsafe {
        ffi::lua_settop(l, 1);
        call_with_all(l, OPERATOR, 1);
    }
    1
}
