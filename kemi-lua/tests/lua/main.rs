//! The Lua engine, one file for each concept.

mod endings;
mod errors;
mod files;
#[cfg(not(luajit))]
mod finalizers;
mod host;
mod libraries;
mod limits;
mod nesting;
mod policies;
mod robustness;
mod root;
mod unknown_names;
mod values;
mod waiting;
