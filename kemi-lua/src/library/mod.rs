//! Functions of Lua's library that are replaced, one file for each library.

pub(crate) mod budget;
#[cfg(not(luajit))]
pub(crate) mod finalizer;
pub(crate) mod io;
#[cfg(luajit)]
pub(crate) mod jit;
pub(crate) mod load;
mod pattern;
pub(crate) mod string;
pub(crate) mod table;
