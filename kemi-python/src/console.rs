//! The output of scripts, as lines of the host's log.

use kemi_core::telemetry::log_guarded;
use pyo3::prelude::*;
use pyo3::types::{PyCFunction, PyDict, PyString, PyTuple};

use crate::error;

/// Makes the function behind `print`.
///
/// # Errors
/// What Python raised.
pub(crate) fn log_function<'py>(py: Python<'py>, engine: &'static str) -> PyResult<Bound<'py, PyCFunction>> {
    PyCFunction::new_closure(
        py,
        Some(c"log"),
        None,
        move |args: &Bound<'_, PyTuple>, _named: Option<&Bound<'_, PyDict>>| -> PyResult<()> {
            let text = args.get_item(0)?;
            let text = text.cast::<PyString>().map_err(PyErr::from)?.to_string_lossy().into_owned();
            let text = text.strip_suffix('\n').unwrap_or(&text);
            let place = error::place(args.py());
            log_guarded(|| match place {
                Some(place) => tracing::info!(target: "script", engine, %place, "{text}"),
                None => tracing::info!(target: "script", engine, "{text}"),
            });
            Ok(())
        },
    )
}
