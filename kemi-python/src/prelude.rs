//! The engine's own Python code, one for the process: its scope, and how it runs.

use pyo3::call::PyCallArgs;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyDict;

/// The file name of the engine's own Python code in tracebacks.
pub(crate) const FILE: &str = "<kemi>";

/// The parts, each after what it uses while it is run.
const TEXT: &str = concat!(
    include_str!("prelude.py"),
    include_str!("error.py"),
    include_str!("bind.py"),
    include_str!("interpreter.py"),
    include_str!("console.py"),
    include_str!("terminate.py"),
    include_str!("integrity.py"),
    include_str!("references.py"),
    include_str!("sandbox.py"),
    include_str!("import.py"),
);

/// The global scope of the engine's own Python code.
pub(crate) struct Prelude(Py<PyDict>);

impl Prelude {
    pub(crate) fn get(py: Python<'_>) -> PyResult<&'static Prelude> {
        static PRELUDE: PyOnceLock<Prelude> = PyOnceLock::new();
        PRELUDE.get_or_try_init(py, || {
            let scope = PyDict::new(py);
            let builtins = py.import("builtins")?;
            scope.set_item("__builtins__", &builtins)?;
            scope.set_item("__name__", "kemi")?;
            let code = builtins.call_method1("compile", (TEXT, FILE, "exec"))?;
            builtins.call_method1("exec", (code, &scope))?;
            Ok(Prelude(scope.unbind()))
        })
    }

    /// Returns a class or function.
    pub(crate) fn item<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
        self.0.bind(py).as_any().get_item(name)
    }

    /// Calls a class or function.
    pub(crate) fn call<'py>(
        &self,
        py: Python<'py>,
        name: &str,
        args: impl PyCallArgs<'py>,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.item(py, name)?.call1(args)
    }
}

/// Turns Python's garbage collector off until it is dropped, for the engine's own code: a collection runs finalizers of any
/// script, which have a clock in calls only.
pub(crate) struct GcPause<'py> {
    _py: Python<'py>,
    before: bool,
}

impl<'py> GcPause<'py> {
    pub(crate) fn begin(py: Python<'py>) -> GcPause<'py> {
        #[cfg(Py_3_10)]
        // SAFETY: the thread is attached.
        let before = unsafe { ffi::PyGC_Disable() } != 0;
        #[cfg(not(Py_3_10))]
        let before = false;
        GcPause { _py: py, before }
    }
}

impl Drop for GcPause<'_> {
    fn drop(&mut self) {
        #[cfg(Py_3_10)]
        if self.before {
            // SAFETY: the thread is attached.
            unsafe { ffi::PyGC_Enable() };
        }
    }
}
