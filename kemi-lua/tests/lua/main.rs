//! The Lua engine, one file for each concept.

mod calls;
mod confined;
mod errors;
#[cfg(not(luajit))]
mod finalizers;
mod functions;
mod host;
mod interrupts;
mod io;
mod library;
mod limits;
mod memory;
mod modules;
mod names;
mod policies;
mod robustness;
mod root;
mod scripts;
mod terminate;
mod values;
