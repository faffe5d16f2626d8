//! The engine as hosts choose it by name.

use std::rc::Rc;

use kemi_core::{Coercions, Engine, Interpreter, Reference, Runtime, ScriptError, Source, announce_engine};

use crate::interpreter::{Core, Owner};
use crate::references;
use crate::source::utf8;

/// The one value that is announced.
pub(crate) static ENGINE: JavaScript = JavaScript;

announce_engine!(&ENGINE);

/// The JavaScript engine; hosts find it as `js`.
#[derive(Clone, Copy, Debug, Default)]
pub struct JavaScript;

impl Engine for JavaScript {
    fn name(&self) -> &'static str {
        "js"
    }

    fn aliases(&self) -> &'static [&'static str] {
        &["jsdt", "javascript", "app_jsdt", "app_js"]
    }

    fn language(&self) -> String {
        "JavaScript (Boa 0.22)".to_owned()
    }

    fn references(&self, source: &Source, root: &str) -> Result<Vec<Reference>, ScriptError> {
        let (name, bytes) = (source.name(), source.read()?);
        Ok(references::read(utf8(&bytes, &name)?, &name, root)?.references)
    }

    fn reserved(&self, name: &str, role: kemi_core::NameRole) -> Option<&'static str> {
        crate::reserved::meaning(name, role)
    }

    fn coercions(&self) -> Coercions {
        Coercions {
            text_to_integer: true,
            number_to_text: true,
            nil_to_empty: true,
            bool_to_integer: true,
            float_to_integer: true,
        }
    }

    fn load(&self, runtime: Rc<Runtime>, sources: &[Source]) -> Result<Box<dyn Interpreter>, ScriptError> {
        let core = Core::new(runtime, sources)?;
        core.run(sources)?;
        Ok(Box::new(Owner(core)))
    }
}
