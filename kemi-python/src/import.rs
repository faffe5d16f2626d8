//! The namespace of an instance: its global scope, its builtins, and the modules that its scripts import.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use kemi_core::Source;
use kemi_core::engine::Runtime;
use kemi_core::limits::Imports;
use kemi_core::telemetry::log_guarded;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyModule};

use crate::call::CallFrame;
use crate::console;
use crate::prelude::Prelude;

/// The `Namespace` of `import.py`.
pub(crate) struct Namespace {
    object: Py<PyAny>,
    globals: Py<PyDict>,
    engine: &'static str,
}

impl Namespace {
    /// Creates a namespace with the root object in it, whose modules come from the folders of the sources or the one that the profile names.
    ///
    /// # Errors
    /// What Python raised.
    pub(crate) fn new(
        py: Python<'_>,
        root_name: &str,
        root: &Bound<'_, PyModule>,
        sources: &[Source],
        runtime: &Runtime,
    ) -> PyResult<Namespace> {
        static SERIAL: AtomicU64 = AtomicU64::new(1);
        let engine = runtime.engine();
        // Nothing can keep a script from its own folder.
        let folders = match runtime.registry().profile().where_from() {
            Imports::Nothing => Source::folders(sources),
            _ => runtime.modules().folders().to_vec(),
        };
        let folders: Vec<String> = folders.iter().map(|folder| folder.display().to_string()).collect();
        let stem = sources.first().map_or_else(|| "script".to_owned(), |source| stem(&source.name()));
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let log = console::log_function(py, engine)?;
        let object = Prelude::get(py)?.call(py, "Namespace", (serial, root_name, root, stem, folders, log))?;
        let globals = object.getattr("globals")?.cast_into::<PyDict>().map_err(PyErr::from)?.unbind();
        Ok(Namespace { object: object.unbind(), globals, engine })
    }

    pub(crate) fn object<'py>(&self, py: Python<'py>) -> &Bound<'py, PyAny> {
        self.object.bind(py)
    }

    /// Returns the global scope that the sources share.
    #[inline]
    pub(crate) fn globals<'py>(&self, py: Python<'py>) -> &Bound<'py, PyDict> {
        self.globals.bind(py)
    }

    /// Runs the top level of a source.
    ///
    /// # Errors
    /// What the script raised.
    pub(crate) fn run<'py>(&self, py: Python<'py>, name: &str, text: Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        self.object(py).call_method1("run", (stem(name), name, text))
    }

    /// Empties the instance's modules, so that what they hold is freed now and not by a later collection.
    ///
    /// All is done in native code: once the time is over no line of Python runs any more, which is what makes the
    /// finalizers of everything that is left end at once.
    pub(crate) fn empty(&self, py: Python<'_>) {
        let scopes = {
            let _frame = CallFrame::of_engine(py);
            self.object(py).call_method0("retire").and_then(|scopes| scopes.extract::<Vec<Bound<'_, PyDict>>>())
        };
        let scopes = scopes.unwrap_or_else(|error| {
            log_guarded(|| tracing::warn!(target: "kemi", engine = self.engine, "unloading a script: {error}"));
            Vec::new()
        });
        for scope in scopes {
            for name in scope.keys().iter().rev() {
                if name.extract::<&str>().is_ok_and(|name| name != "__builtins__") {
                    // It fails for want of memory only, and then for all that follows.
                    let _ = scope.set_item(name, py.None());
                }
            }
            scope.clear();
        }
        // What is left in cycles would be collected in another script's call, and have that one's time.
        let finalizes = self.object(py).getattr("finalizes").and_then(|flag| flag.is_truthy());
        if finalizes.unwrap_or(false) {
            let _ = Prelude::get(py).and_then(|prelude| prelude.call(py, "collect", ()));
        }
    }
}

/// Returns the name under which a source's scope is known to its own modules.
fn stem(name: &str) -> String {
    let stem = Path::new(name).file_stem().map(|stem| stem.to_string_lossy().replace('.', "_"));
    stem.filter(|stem| !stem.is_empty()).unwrap_or_else(|| "script".to_owned())
}
