//! The engine: how a script is loaded.

use std::rc::Rc;

use kemi_core::engine::{Confinement, Interpreter, Reference, Runtime};
use kemi_core::value::CompatCoercions;
use kemi_core::{Engine, ErrorCode, ScriptError, Source};
use pyo3::prelude::*;

use crate::attach::{attach, initialize, keep_thread_state};
use crate::interpreter::PythonInterpreter;
use crate::references::references;
use crate::{error, reserved};

/// Python, by the CPython that the program is linked with.
///
/// ```no_run
/// use kemi_core::{Instance, Registry, Source};
///
/// let registry = Registry::<u32>::builder().root("app").build()?;
/// let source = Source::text("hello.py", "def hello():\n    return 'hello'\n");
/// let instance = Instance::load(&kemi_python::PythonEngine, &registry, &[source])?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct PythonEngine;

impl Engine for PythonEngine {
    fn name(&self) -> &'static str {
        "python"
    }

    fn aliases(&self) -> &'static [&'static str] {
        &["python3"]
    }

    fn language(&self) -> String {
        let version = Python::version_str();
        format!("Python {}", version.split_whitespace().next().unwrap_or(version))
    }

    fn confinement(&self) -> Confinement {
        Confinement::Impossible("every object of Python leads to its whole library")
    }

    fn references(&self, source: &Source, root: &str) -> Result<Vec<Reference>, ScriptError> {
        initialize();
        Python::attach(|py| references(py, source, root))
    }

    fn reserved(&self, name: &str, role: kemi_core::registry::NameRole) -> Option<&'static str> {
        reserved::meaning(name, role)
    }

    fn coercions(&self) -> CompatCoercions {
        CompatCoercions { bool_to_integer: true, ..CompatCoercions::default() }
    }

    fn load(&self, runtime: Rc<Runtime>, sources: &[Source]) -> Result<Box<dyn Interpreter>, ScriptError> {
        initialize();
        attach(&runtime.clone(), |py| {
            keep_thread_state(py);
            let loaded = PythonInterpreter::new(py, runtime, sources).map_err(|raised| {
                let cause = error::explain(py, &raised);
                ScriptError::new(ErrorCode::Runtime, format!("cannot create an interpreter: {}", cause.message))
            })?;
            loaded.start(py, sources)?;
            Ok(Box::new(loaded) as Box<dyn Interpreter>)
        })
    }
}

kemi_core::announce_engine!(&PythonEngine);
