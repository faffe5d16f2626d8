//! The engine: it creates interpreters.

use std::rc::Rc;

use kemi_core::engine::{Confinement, Interpreter, Reference, Runtime};
use kemi_core::registry::NameRole;
use kemi_core::value::CompatCoercions;
use kemi_core::{Engine, ScriptError, Source};

use crate::interpreter::LuaInterpreter;
use crate::{references, reserved};

/// The engine for scripts in Lua.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LuaEngine;

kemi_core::announce_engine!(&LuaEngine);

impl Engine for LuaEngine {
    fn name(&self) -> &'static str {
        "lua"
    }

    fn aliases(&self) -> &'static [&'static str] {
        &["luajit"]
    }

    fn language(&self) -> String {
        if cfg!(luajit) { "LuaJIT 2.1".to_owned() } else { "Lua 5.4".to_owned() }
    }

    fn first_index(&self) -> usize {
        1
    }

    fn confinement(&self) -> Confinement {
        Confinement::Kept
    }

    fn references(&self, source: &Source, root: &str) -> Result<Vec<Reference>, ScriptError> {
        let text = source.read()?;
        Ok(references::references(&String::from_utf8_lossy(&text), root))
    }

    fn reserved(&self, name: &str, role: NameRole) -> Option<&'static str> {
        reserved::meaning(name, role)
    }

    fn coercions(&self) -> CompatCoercions {
        CompatCoercions {
            text_to_integer: true,
            number_to_text: true,
            nil_to_empty: true,
            bool_to_integer: false,
            float_to_integer: true,
        }
    }

    fn load(&self, runtime: Rc<Runtime>, sources: &[Source]) -> Result<Box<dyn Interpreter>, ScriptError> {
        let interpreter = LuaInterpreter::new(runtime)?;
        interpreter.run(sources)?;
        Ok(Box::new(interpreter))
    }
}
