//! What all instances of the process share: the engine's own Python code.

use pyo3::call::PyCallArgs;
use pyo3::exceptions::PySystemExit;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyCFunction, PyDict, PyTuple, PyType};

use crate::terminate;

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
            scope.set_item("Ended", ended(py)?)?;
            hush(py)?;
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

/// Makes the class of what is set on a thread whose script has exceeded a limit.
///
/// Python makes the exception itself only where something may catch it, on the script's thread and before any more of
/// the script runs; that is native, and ends the call.
fn ended(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    let strike = PyCFunction::new_closure(
        py,
        Some(c"__init__"),
        None,
        |args: &Bound<'_, PyTuple>, _named: Option<&Bound<'_, PyDict>>| {
            terminate::strike(args.py());
            // Python insists on None; the unit type would become an empty tuple.
            args.py().None()
        },
    )?;
    let scope = PyDict::new(py);
    scope.set_item("__init__", strike)?;
    scope.set_item("__module__", "kemi")?;
    py.get_type::<PyType>().call1(("Ended", (py.get_type::<PySystemExit>(),), scope))
}

/// Keeps Python from reporting the generators and destructors that an exit cuts short.
///
/// The hook is native: one in Python would be cut short as well.
fn hush(py: Python<'_>) -> PyResult<()> {
    let sys = py.import("sys")?;
    let original = sys.getattr("unraisablehook")?.unbind();
    let hook = PyCFunction::new_closure(
        py,
        Some(c"unraisablehook"),
        None,
        move |args: &Bound<'_, PyTuple>, _named: Option<&Bound<'_, PyDict>>| -> PyResult<()> {
            if !terminate::armed() {
                original.bind(args.py()).call1(args.clone())?;
            }
            Ok(())
        },
    )?;
    sys.setattr("unraisablehook", hook)
}
