//! Functions of Lua's library that are replaced, one file for each library.
//!
//! [`sandbox`](crate::sandbox) has the list.

use std::ffi::CStr;

use crate::call::CallState;
use crate::ffi::{self, LuaThread};

mod args;
pub(crate) mod base;
mod budget;
pub(crate) mod confined;
pub(crate) mod coroutine;
pub(crate) mod debug;
pub(crate) mod error;
mod file;
#[cfg(not(luajit))]
pub(crate) mod finalizer;
pub(crate) mod io;
#[cfg(luajit)]
pub(crate) mod jit;
pub(crate) mod load;
#[cfg(not(luajit))]
pub(crate) mod metatable;
pub(crate) mod os;
mod pattern;
mod process;
pub(crate) mod string;
pub(crate) mod table;

/// Sets functions in the table at the top of the stack.
///
/// # Safety
/// The call is protected.
unsafe fn set_functions(l: LuaThread, call: &CallState, functions: &[(&CStr, ffi::lua_CFunction)]) {
    for &(name, function) in functions {
        // SAFETY: as the caller's; the table is at the top.
        unsafe {
            ffi::push_function(l, function, call);
            ffi::lua_setfield(l, -2, name.as_ptr());
        }
    }
}
