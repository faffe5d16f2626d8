//! Functions of Python's own library that are replaced, since they do something in C without an end and without looking at
//! anything, by ones that look whether the call is over its time.

use std::panic::catch_unwind;

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use crate::{signal, terminate};

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

/// Returns whether the call on this thread is over its time, and has raised its end then.
#[inline(always)]
fn must_end() -> bool {
    signal::is_any_call_late() && raise_if_due()
}

#[cold]
fn raise_if_due() -> bool {
    // A panic must not reach Python's frames.
    catch_unwind(|| {
        // SAFETY: Python calls on attached threads.
        let py = unsafe { Python::assume_attached() };
        match terminate::raise_if_due(py) {
            Ok(()) => false,
            Err(error) => {
                error.restore(py);
                true
            }
        }
    })
    .unwrap_or(false)
}
