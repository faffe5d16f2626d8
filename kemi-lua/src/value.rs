//! Values between the Lua stack and the host.

use std::ffi::c_int;
use std::ptr;

use kemi_core::engine::Runtime;
use kemi_core::value::{ConversionBudget, MAX_VALUE_DEPTH, Type};
use kemi_core::{Arg, ByteString, ErrorCode, Function, Map, ScriptError, Value};

use crate::call::CallState;
use crate::ffi::{self, LuaThread};
use crate::string;
use crate::{error_object, objects};

/// The type of LuaJIT's boxed 64-bit numbers and the like.
const LUA_TCDATA: c_int = 10;

/// Reads an argument that is neither a table nor a function; these give `None`.
///
/// # Safety
/// The index is valid and stays on the stack as long as the result is used.
pub(crate) unsafe fn scalar<'a>(l: LuaThread, index: c_int, wanted: Option<Type>) -> Option<Arg<'a>> {
    // SAFETY: none of these calls raises or converts: the type is looked at first.
    unsafe {
        Some(match ffi::lua_type(l, index) {
            ffi::LUA_TNIL | ffi::LUA_TNONE => Arg::Nil,
            ffi::LUA_TBOOLEAN => Arg::Bool(ffi::lua_toboolean(l, index) != 0),
            ffi::LUA_TNUMBER => number(l, index, wanted),
            ffi::LUA_TSTRING => Arg::Str(string::read(l, index)),
            ffi::LUA_TTABLE | ffi::LUA_TFUNCTION => return None,
            other => match error_object::get(l, index) {
                Some(object) => Arg::Str(object.text()),
                None => match objects::get(l, index) {
                    Some(object) => Arg::Object(object),
                    None => Arg::Foreign(foreign(other)),
                },
            },
        })
    }
}

fn foreign(kind: c_int) -> &'static str {
    match kind {
        ffi::LUA_TTHREAD => "coroutine",
        LUA_TCDATA => "cdata",
        _ => "userdata",
    }
}

/// Reads an integer as a typed entry takes it, if there is one.
///
/// # Safety
/// The index is valid.
#[inline]
pub(crate) unsafe fn integer(l: LuaThread, index: c_int) -> Option<i64> {
    // SAFETY: neither call raises.
    unsafe {
        #[cfg(luajit)]
        return if ffi::lua_type(l, index) == ffi::LUA_TNUMBER { exact(ffi::lua_tonumber(l, index)) } else { None };
        #[cfg(not(luajit))]
        return (ffi::lua_isinteger(l, index) != 0).then(|| ffi::lua_tointeger(l, index));
    }
}

/// Reads a float; an integer is none.
///
/// # Safety
/// The index is valid.
pub(crate) unsafe fn float(l: LuaThread, index: c_int) -> Option<f64> {
    // SAFETY: neither call raises.
    unsafe {
        let float = ffi::lua_type(l, index) == ffi::LUA_TNUMBER && (cfg!(luajit) || integer(l, index).is_none());
        float.then(|| ffi::lua_tonumber(l, index))
    }
}

/// Reads a number as what it is wanted for.
///
/// # Safety
/// The index holds a number.
unsafe fn number<'a>(l: LuaThread, index: c_int, wanted: Option<Type>) -> Arg<'a> {
    // SAFETY: neither call raises.
    unsafe {
        if !cfg!(luajit) {
            return match integer(l, index) {
                Some(i) => Arg::Int(i),
                None => Arg::Float(ffi::lua_tonumber(l, index)),
            };
        }
        let n = ffi::lua_tonumber(l, index);
        match (wanted.map(inner), exact(n)) {
            (Some(Type::Int { .. }), Some(i)) => Arg::Int(i),
            (Some(Type::Float), _) | (_, None) => Arg::Float(n),
            // Zero as an integer would lose its sign.
            (_, Some(0)) if n.is_sign_negative() => Arg::Float(n),
            (_, Some(i)) => Arg::Int(i),
        }
    }
}

/// Returns the type of what may be left out.
pub(crate) fn inner(ty: Type) -> Type {
    match ty {
        Type::Option(inner) => *inner,
        other => other,
    }
}

/// Returns the integer that a float is.
#[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, clippy::float_cmp)]
pub(crate) fn exact(n: f64) -> Option<i64> {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    let i = n as i64;
    ((-LIMIT..LIMIT).contains(&n) && i as f64 == n).then_some(i)
}

/// The reason why a value does not cross.
#[derive(Debug)]
pub(crate) enum Unfit {
    /// It is of a kind that has no counterpart.
    Kind(&'static str),
    /// Something in it is.
    PartKind(&'static str),
    /// Another reason.
    Other(ScriptError),
}

impl From<ScriptError> for Unfit {
    fn from(error: ScriptError) -> Unfit {
        Unfit::Other(error)
    }
}

impl Unfit {
    /// Makes the error, of which value it is in the message.
    #[cold]
    pub(crate) fn of(self, subject: &str) -> ScriptError {
        let foreign =
            |verb, kind| refuse(format!("{subject} {verb} a {kind}, which has no counterpart outside the script"));
        match self {
            Unfit::Kind(kind) => foreign("is", kind),
            Unfit::PartKind(kind) => foreign("holds", kind),
            Unfit::Other(mut error) => {
                error.message = format!("{subject}: {}", error.message);
                error
            }
        }
    }

    /// Says it of the value around.
    fn in_part(self) -> Unfit {
        match self {
            Unfit::Kind(kind) => Unfit::PartKind(kind),
            other => other,
        }
    }
}

/// One conversion of values off the stack: of the arguments of a call, or of a result.
pub(crate) struct Reader<'a> {
    /// Where functions are kept for the host.
    call: Option<&'a CallState>,
    budget: ConversionBudget,
}

impl<'a> Reader<'a> {
    /// Begins a conversion for the host.
    pub(crate) fn new(call: &'a CallState) -> Reader<'a> {
        Reader { call: Some(call), budget: ConversionBudget::new() }
    }

    /// Begins the conversion of a value that is only described, so that its functions are not kept.
    pub(crate) fn describing() -> Reader<'static> {
        Reader { call: None, budget: ConversionBudget::new() }
    }

    /// Copies a value of any type off the stack, without raising anything in Lua.
    ///
    /// # Errors
    /// The reason why it does not cross.
    ///
    /// # Safety
    /// The index is valid and not relative to the top.
    #[inline]
    pub(crate) unsafe fn read(&mut self, l: LuaThread, index: c_int, wanted: Option<Type>) -> Result<Value, Unfit> {
        // What most callbacks return.
        // SAFETY: it does not raise.
        if unsafe { ffi::lua_type(l, index) } == ffi::LUA_TNIL {
            return Ok(Value::Nil);
        }
        // SAFETY: as the caller's.
        unsafe { self.convert(l, index, wanted) }
    }

    /// Converts a value that is not nil.
    ///
    /// # Safety
    /// As [`read`](Self::read).
    unsafe fn convert(&mut self, l: LuaThread, index: c_int, wanted: Option<Type>) -> Result<Value, Unfit> {
        // SAFETY: as the caller's.
        match unsafe { scalar(l, index, wanted) } {
            Some(Arg::Foreign(kind)) => Err(Unfit::Kind(kind)),
            Some(Arg::Str(text)) => {
                self.budget.bytes(text.len())?;
                Ok(Value::Str(text.into()))
            }
            Some(arg) => Ok(arg.to_value().unwrap_or_default()),
            // SAFETY: as the caller's; it is a table or a function.
            None => unsafe { self.whole(l, index, wanted) },
        }
    }

    /// Converts a value that is no scalar: a table or a function.
    ///
    /// # Safety
    /// As [`read`](Self::read); the value is one of these.
    pub(crate) unsafe fn whole(&mut self, l: LuaThread, index: c_int, wanted: Option<Type>) -> Result<Value, Unfit> {
        // SAFETY: as the caller's.
        unsafe {
            if ffi::lua_type(l, index) == ffi::LUA_TFUNCTION {
                let call = self.call.ok_or(Unfit::Kind("function"))?;
                return Ok(Value::Function(call.functions().keep(call, l, index)?));
            }
            self.budget.enter()?;
            let value = self.table(l, index, wanted.map(inner));
            self.budget.leave();
            value.map_err(Unfit::in_part)
        }
    }

    /// Converts a table: to an array if its keys are those of a list.
    ///
    /// # Safety
    /// As [`read`](Self::read); the value is a table.
    unsafe fn table(&mut self, l: LuaThread, index: c_int, wanted: Option<Type>) -> Result<Value, Unfit> {
        // SAFETY: three slots are made sure of; a key that `lua_next` gave is valid for it again, and is not converted.
        unsafe {
            if ffi::lua_checkstack(l, 3) == 0 {
                return Err(refuse("no room on Lua's stack".to_owned()).into());
            }
            let top = ffi::lua_gettop(l);
            let (mut count, mut greatest, mut list) = (0, 0, true);
            ffi::lua_pushnil(l);
            while ffi::lua_next(l, index) != 0 {
                count += 1;
                let element = self.budget.element();
                match integer(l, -2) {
                    Some(key) if key >= 1 => greatest = i64::max(greatest, key),
                    _ => list = false,
                }
                ffi::lua_settop(l, if element.is_ok() { top + 1 } else { top });
                element?;
            }
            let value = match wanted {
                Some(Type::Map(_)) if count == 0 => Ok(Value::Map(Map::new())),
                // What a host's list has as nil is missing in the table.
                Some(Type::Array(_)) if list && greatest <= 2 * count + HOLES => self.array(l, index, greatest),
                _ if list && greatest == count => self.array(l, index, count),
                _ => self.map(l, index).map(Value::Map),
            };
            ffi::lua_settop(l, top);
            value
        }
    }

    /// Converts the elements of a list.
    ///
    /// # Safety
    /// As [`table`](Self::table), with the room it made sure of. May leave values on the stack when it fails.
    unsafe fn array(&mut self, l: LuaThread, index: c_int, length: i64) -> Result<Value, Unfit> {
        // SAFETY: as in `table`.
        unsafe {
            let top = ffi::lua_gettop(l);
            let item = |i| {
                ffi::lua_rawgeti(l, index, i);
                let item = self.convert(l, top + 1, None);
                ffi::lua_settop(l, top);
                item
            };
            (1..=length).map(item).collect::<Result<Vec<Value>, _>>().map(Value::Array)
        }
    }

    /// Converts the entries of a table.
    ///
    /// # Safety
    /// As [`table`](Self::table), with the room it made sure of. May leave values on the stack when it fails.
    unsafe fn map(&mut self, l: LuaThread, index: c_int) -> Result<Map, Unfit> {
        let mut map = Map::new();
        // SAFETY: as in `table`.
        unsafe {
            let top = ffi::lua_gettop(l);
            ffi::lua_pushnil(l);
            while ffi::lua_next(l, index) != 0 {
                let key = match ffi::lua_type(l, top + 1) {
                    ffi::LUA_TSTRING => {
                        let key = string::read(l, top + 1);
                        self.budget.bytes(key.len())?;
                        ByteString::from(key)
                    }
                    kind => match integer(l, top + 1) {
                        Some(i) => ByteString::from(i.to_string()),
                        None => return Err(refuse(format!("a table has a key that is a {}", key_kind(kind))).into()),
                    },
                };
                let item = self.convert(l, top + 2, None)?;
                if let Some(key) = map.insert(key.clone(), item).map(|_| key) {
                    let message = format!("a table has the key {key:?} both as text and as an integer");
                    return Err(refuse(message).into());
                }
                ffi::lua_settop(l, top + 1);
            }
        }
        Ok(map)
    }
}

/// The number of elements of a list that may be missing, beside as many as there are.
const HOLES: i64 = 16;

fn key_kind(kind: c_int) -> &'static str {
    match kind {
        ffi::LUA_TBOOLEAN => "boolean",
        ffi::LUA_TNUMBER => "float",
        ffi::LUA_TTABLE => "table",
        ffi::LUA_TFUNCTION => "function",
        other => foreign(other),
    }
}

fn refuse(message: String) -> ScriptError {
    ScriptError::new(ErrorCode::ValueNotConvertible, message)
}

/// Checks that a value of the host can go into the script: it nests no deeper than may cross, and its functions are the
/// script's own.
///
/// # Errors
/// [`ErrorCode::ValueNotConvertible`]; [`ErrorCode::FunctionGone`] or [`ErrorCode::ForeignId`].
pub(crate) fn check(runtime: &Runtime, value: &Value) -> Result<(), ScriptError> {
    fn within(runtime: &Runtime, value: &Value, depth: usize) -> Result<(), ScriptError> {
        let depth = || depth.checked_sub(1).ok_or_else(too_deep);
        match value {
            Value::Array(items) => {
                let depth = depth()?;
                items.iter().try_for_each(|item| within(runtime, item, depth))
            }
            Value::Map(map) => {
                let depth = depth()?;
                map.values().try_for_each(|item| within(runtime, item, depth))
            }
            Value::Function(function) => runtime.function_slot(function).map(|_slot| ()),
            Value::Object(object) => objects::check(runtime, object),
            _ => Ok(()),
        }
    }
    within(runtime, value, MAX_VALUE_DEPTH)
}

#[cold]
fn too_deep() -> ScriptError {
    refuse(format!("the value nests deeper than {MAX_VALUE_DEPTH}"))
}

/// Pushes a value that [`check`] has let through. May raise when memory runs out.
///
/// # Safety
/// As [`string::push`], and the value is not owned by a frame that an error would skip.
pub(crate) unsafe fn push(l: LuaThread, call: &CallState, value: &Value) {
    // SAFETY: as the caller's; the room is made sure of before it is used.
    unsafe {
        ffi::luaL_checkstack(l, 4, ptr::null());
        match value {
            Value::Nil => ffi::lua_pushnil(l),
            Value::Bool(b) => ffi::lua_pushboolean(l, (*b).into()),
            Value::Int(i) => ffi::lua_pushinteger(l, *i),
            Value::Float(x) => ffi::lua_pushnumber(l, *x),
            Value::Str(text) | Value::Bytes(text) => string::push(l, text),
            Value::Function(function) => push_function(l, call, function),
            Value::Object(object) => call.objects().push(l, call, object),
            Value::Array(items) => {
                ffi::lua_createtable(l, size(items.len()), 0);
                for (item, i) in items.iter().zip(1..) {
                    push(l, call, item);
                    ffi::lua_rawseti(l, -2, i);
                }
            }
            Value::Map(map) => {
                ffi::lua_createtable(l, 0, size(map.len()));
                for (key, item) in map {
                    string::push(l, key);
                    push(l, call, item);
                    ffi::lua_rawset(l, -3);
                }
            }
        }
    }
}

/// Pushes a function of the script that the host has kept. Neither raises nor allocates.
///
/// # Safety
/// Two slots are free; the function is one that [`check`] has let through.
unsafe fn push_function(l: LuaThread, call: &CallState, function: &Function) {
    let slot = call.runtime().function_slot(function);
    // SAFETY: as the caller's.
    unsafe {
        match slot {
            Ok(slot) => call.functions().push(l, slot),
            Err(_) => ffi::lua_pushnil(l),
        }
    }
}

fn size(length: usize) -> c_int {
    // Only a hint of the size to come.
    c_int::try_from(length).unwrap_or(c_int::MAX).min(1 << 20)
}

/// Pushes an argument of a callback, which [`check_passable`] has let through.
///
/// # Safety
/// As [`push`].
pub(crate) unsafe fn push_arg(l: LuaThread, call: &CallState, arg: &Arg<'_>) {
    // SAFETY: as the caller's.
    unsafe {
        match *arg {
            Arg::Bool(b) => ffi::lua_pushboolean(l, b.into()),
            Arg::Int(i) => ffi::lua_pushinteger(l, i),
            Arg::Float(x) => ffi::lua_pushnumber(l, x),
            Arg::Str(bytes) => string::push(l, bytes),
            Arg::Object(object) => call.objects().push(l, call, object),
            Arg::Value(value) => push(l, call, value),
            _ => ffi::lua_pushnil(l),
        }
    }
}

/// Checks that an argument of a callback has a counterpart in Lua.
///
/// # Errors
/// As [`check`].
pub(crate) fn check_passable(runtime: &Runtime, arg: &Arg<'_>) -> Result<(), ScriptError> {
    match arg {
        Arg::Nil | Arg::Bool(_) | Arg::Int(_) | Arg::Float(_) | Arg::Str(_) => Ok(()),
        Arg::Object(object) => objects::check(runtime, object),
        Arg::Value(value) => check(runtime, value),
        other => Err(refuse(format!("a {} cannot be passed to a Lua function", other.type_name()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_doubles_in_range_are_integers() {
        assert_eq!(exact(-3.0), Some(-3));
        assert_eq!(exact(9_007_199_254_740_994.0), Some(9_007_199_254_740_994));
        assert_eq!(exact(-9_223_372_036_854_775_808.0), Some(i64::MIN));
        for odd in [0.5, f64::NAN, f64::INFINITY, 9_223_372_036_854_775_808.0, -1e300] {
            assert_eq!(exact(odd), None, "{odd}");
        }
    }
}
