//! The engine: how a script is loaded.

use std::rc::Rc;

use kemi_core::{Coercions, Engine, ErrorCode, Interpreter, Reference, Runtime, ScriptError, Source};
use pyo3::prelude::*;

use crate::attach::{attach, initialize, keep_thread_state};
use crate::error;
use crate::interpreter::Loaded;
use crate::prelude::Prelude;
use crate::string;
use crate::terminate::Guard;

/// Python, by the CPython that the program is linked with.
///
/// ```no_run
/// use kemi_core::{Instance, Registry, Source};
///
/// let registry = Registry::<u32>::builder().build()?;
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
        &["app_python3", "app_python3s", "python3"]
    }

    fn language(&self) -> String {
        let version = Python::version_str();
        format!("Python {}", version.split_whitespace().next().unwrap_or(version))
    }

    fn references(&self, source: &Source, root: &str) -> Result<Vec<Reference>, ScriptError> {
        initialize();
        Python::attach(|py| {
            let _guard = Guard::own(py);
            let text = string::from_source(py, source)?;
            let found = Prelude::get(py)
                .and_then(|prelude| prelude.call(py, "references", (text, source.name(), root)))
                .and_then(|found| found.extract::<Vec<(Vec<String>, u32, bool, Vec<(usize, String)>)>>());
            let found = found.map_err(|raised| error::explain(py, &raised))?;
            let reference = |(path, line, called, texts)| Reference { path, line, called, texts };
            Ok(found.into_iter().map(reference).collect())
        })
    }

    fn reserved(&self, name: &str, role: kemi_core::NameRole) -> Option<&'static str> {
        crate::reserved::meaning(name, role)
    }

    fn coercions(&self) -> Coercions {
        Coercions { bool_to_integer: true, ..Coercions::default() }
    }

    fn load(&self, runtime: Rc<Runtime>, sources: &[Source]) -> Result<Box<dyn Interpreter>, ScriptError> {
        initialize();
        attach(&runtime.clone(), |py| {
            keep_thread_state(py);
            let loaded = Loaded::new(py, runtime, sources).map_err(|raised| {
                let cause = error::explain(py, &raised);
                ScriptError::new(ErrorCode::Runtime, format!("cannot create an interpreter: {}", cause.message))
            })?;
            loaded.start(py, sources)?;
            Ok(Box::new(loaded) as Box<dyn Interpreter>)
        })
    }
}

kemi_core::announce_engine!(&PythonEngine);
