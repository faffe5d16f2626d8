//! The list of what is refused or replaced in Python when an instance is made.
//!
//! `sandbox.py` refuses the functions that would harm the server. It is a part of the engine's own Python code, and so in
//! place once that has run.

use kemi_core::Limits;
use pyo3::prelude::*;

use crate::prelude::Prelude;
use crate::{interrupt, library, memory, signal, terminate};

/// Puts in place what every script needs, once per process.
///
/// # Errors
/// What Python raised.
pub(crate) fn install(py: Python<'_>) -> PyResult<()> {
    Prelude::get(py)?;
    terminate::install_unraisable_hook(py)
}

/// Puts in place what makes limits hold, as far as it is not yet.
///
/// # Errors
/// What Python raised.
pub(crate) fn install_limits(py: Python<'_>, limits: &Limits) -> PyResult<()> {
    if limits.max_time_ms != 0 || limits.max_load_time_ms != 0 || limits.max_memory != 0 {
        interrupt::start(terminate::exception_class(py)?);
        signal::prepare(py, terminate::raise_if_due);
        library::install(py)?;
    }
    if limits.max_memory != 0 {
        memory::install(py);
    }
    Ok(())
}
