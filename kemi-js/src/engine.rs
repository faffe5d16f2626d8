//! The engine as hosts choose it by name.

use std::rc::Rc;

use kemi_core::engine::{Confinement, Interpreter, Reference, Runtime};
use kemi_core::registry::NameRole;
use kemi_core::value::CompatCoercions;
use kemi_core::{Engine, ScriptError, Source, announce_engine};

use crate::interpreter::JsInterpreter;
use crate::source::utf8;
use crate::{bind, console, import, references, reserved, sandbox, trampoline};

/// The one value that is announced.
pub(crate) static ENGINE: JsEngine = JsEngine;

announce_engine!(&ENGINE);

/// The JavaScript engine; hosts find it as `js`.
#[derive(Clone, Copy, Debug, Default)]
pub struct JsEngine;

impl Engine for JsEngine {
    fn name(&self) -> &'static str {
        "js"
    }

    fn aliases(&self) -> &'static [&'static str] {
        &["javascript"]
    }

    fn language(&self) -> String {
        "JavaScript (Boa 0.22)".to_owned()
    }

    fn confinement(&self) -> Confinement {
        Confinement::Kept
    }

    fn references(&self, source: &Source, root: &str) -> Result<Vec<Reference>, ScriptError> {
        let (name, bytes) = (source.name(), source.read()?);
        Ok(references::read(utf8(&bytes, &name)?, &name, root)?.references)
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
        let interpreter = JsInterpreter::new(runtime, |state, context| {
            bind::root(state, trampoline::function, context)?;
            console::install(state, context)?;
            import::install(state, context)?;
            sandbox::install(state, context)
        })?;
        interpreter.run(sources)?;
        Ok(Box::new(interpreter))
    }
}
