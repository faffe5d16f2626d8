//! Functions of Python's own library that are replaced, since they do something in C without an end and without looking at
//! anything, by ones that look whether the call is over its time.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

pub(crate) mod cleanup;
mod containers;
mod iterators;

/// Puts the functions in place, once per process.
///
/// # Errors
/// What Python raised.
pub(crate) fn install(py: Python<'_>) -> PyResult<()> {
    static INSTALLED: PyOnceLock<()> = PyOnceLock::new();
    let install = || {
        iterators::install(py)?;
        containers::install(py);
        Ok(())
    };
    INSTALLED.get_or_try_init(py, install).copied()
}
