//! The parts of Rhai's own library that are taken out and replaced in each interpreter.

use std::rc::Rc;

use kemi_core::engine::Runtime;
use kemi_core::limits::Facility;
use rhai::Engine;

use crate::console;
use crate::library::{clock, compare, json, replace, sleep, sort};

/// Replaces what writes to the standard output, hides the end of a script, outlasts its time or outgrows its memory.
pub(crate) fn install(engine: &mut Engine, runtime: &Rc<Runtime>) {
    console::install(engine);
    compare::install(engine, runtime);
    json::install(engine, runtime);
    replace::install(engine);
    sort::install(engine);
    if runtime.registry().profile().allows(Facility::Clock) {
        sleep::install(engine, runtime);
    } else {
        clock::install(engine, runtime);
    }
}
