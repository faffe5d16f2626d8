//! Iterators of the library that go on for ever: whoever consumes them in C, such as `sum`, `any`, `in` or `deque`, would
//! never come back.

use std::ffi::CStr;
use std::ptr;
use std::sync::OnceLock;

use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;
use pyo3::types::PyType;

use crate::terminate;

/// The types, as expressions. Iterators over other iterators need not be here, nor those over a
/// container, which is no longer than the memory allows.
const TYPES: [&CStr; 10] = [
    c"__import__('itertools').count",
    c"__import__('itertools').cycle",
    c"__import__('itertools').repeat",
    c"__import__('itertools').product",
    c"__import__('itertools').permutations",
    c"__import__('itertools').combinations",
    c"__import__('itertools').combinations_with_replacement",
    c"type(iter(range(0)))",
    c"type(iter(range(1 << 70)))",
    c"type(iter(int, 1))",
];

static ORIGINALS: [OnceLock<ffi::iternextfunc>; TYPES.len()] = [const { OnceLock::new() }; TYPES.len()];

unsafe extern "C" fn next<const N: usize>(iterator: *mut PyObject) -> *mut PyObject {
    if terminate::raise_if_late() {
        return ptr::null_mut();
    }
    match ORIGINALS.get(N).and_then(OnceLock::get) {
        // SAFETY: Python calls, with an iterator of the type that the function was taken from.
        Some(original) => unsafe { original(iterator) },
        None => ptr::null_mut(),
    }
}

/// Replaces the functions of all these types.
///
/// # Errors
/// What Python raised.
pub(super) fn install(py: Python<'_>) -> PyResult<()> {
    macro_rules! replace {
        ($($n:literal)*) => {$( replace(py, $n, next::<$n>)?; )*};
    }
    replace!(0 1 2 3 4 5 6 7 8 9);
    Ok(())
}

fn replace(py: Python<'_>, index: usize, by: ffi::iternextfunc) -> PyResult<()> {
    let (Some(expression), Some(slot)) = (TYPES.get(index), ORIGINALS.get(index)) else { return Ok(()) };
    let class = py.eval(expression, None, None)?.cast_into::<PyType>().map_err(PyErr::from)?;
    let class = class.as_type_ptr();
    // SAFETY: a type of Python's own, which is never freed. The thread is attached, so nobody reads the slot meanwhile, and
    // both functions may be called for its iterators.
    unsafe {
        if let Some(original) = (*class).tp_iternext
            && slot.set(original).is_ok()
        {
            (*class).tp_iternext = Some(by);
        }
    }
    Ok(())
}
