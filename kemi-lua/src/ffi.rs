//! The C interface of the Lua that is built.

#[cfg(luajit)]
pub(crate) use kemi_luajit_sys::*;
#[cfg(not(luajit))]
pub(crate) use mlua::ffi::*;
