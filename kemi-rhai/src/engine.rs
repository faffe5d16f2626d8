//! The engine that hosts choose by name.

use std::rc::Rc;

use kemi_core::engine::{Confinement, Interpreter, Reference, Runtime};
use kemi_core::registry::NameRole;
use kemi_core::value::CompatCoercions;
use kemi_core::{ScriptError, Source};

use crate::interpreter::RhaiInterpreter;
use crate::references;
use crate::reserved;
use crate::stack::on_stack;

/// The Rhai engine.
///
/// Each load makes an interpreter of its own; nothing is shared between two of them.
#[derive(Clone, Copy, Debug, Default)]
pub struct RhaiEngine;

kemi_core::announce_engine!(&RhaiEngine);

/// Links the engine into a program that calls it, so that hosts find it by the name `rhai`.
pub fn link() {}

impl kemi_core::Engine for RhaiEngine {
    fn name(&self) -> &'static str {
        "rhai"
    }

    fn language(&self) -> String {
        "Rhai 1".to_owned()
    }

    fn confinement(&self) -> Confinement {
        Confinement::Kept
    }

    fn references(&self, source: &Source, root: &str) -> Result<Vec<Reference>, ScriptError> {
        references::references(&source.name(), &source.read()?, root)
    }

    fn reserved(&self, name: &str, role: NameRole) -> Option<&'static str> {
        reserved::meaning(name, role)
    }

    fn coercions(&self) -> CompatCoercions {
        CompatCoercions {
            text_to_integer: true,
            number_to_text: true,
            nil_to_empty: true,
            bool_to_integer: true,
            float_to_integer: true,
        }
    }

    fn load(&self, runtime: Rc<Runtime>, sources: &[Source]) -> Result<Box<dyn Interpreter>, ScriptError> {
        references::begin_load(&runtime);
        on_stack(|| Ok(Box::new(RhaiInterpreter::load(runtime, sources)?) as Box<dyn Interpreter>))
    }
}
