//! What Python's library does in C without an end and without looking at anything.
//!
//! Iterators that go on for ever: whoever consumes them in C, such as `sum`, `any`, `in` or `deque`, would never come back.
//! Comparing and hashing containers that contain each other many times over: each is visited once for every way to it.
//! Their functions are replaced by ones that look whether the call is over its time.

use std::ffi::{CStr, c_int};
use std::panic::catch_unwind;
use std::ptr;
use std::sync::OnceLock;

use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use crate::{signal, terminate};

/// Where the types are found, as expressions. Iterators over other iterators need not be here, nor those over a
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
    if signal::is_anybody_late() && is_over() {
        return ptr::null_mut();
    }
    match ORIGINALS.get(N).and_then(OnceLock::get) {
        // SAFETY: Python calls, with an iterator of the type that the function was taken from.
        Some(original) => unsafe { original(iterator) },
        None => ptr::null_mut(),
    }
}

/// The types whose comparison is replaced.
fn compared() -> [*mut ffi::PyTypeObject; 3] {
    [&raw mut ffi::PyList_Type, &raw mut ffi::PyTuple_Type, &raw mut ffi::PyDict_Type]
}

static COMPARISONS: [OnceLock<ffi::richcmpfunc>; 3] = [const { OnceLock::new() }; 3];

unsafe extern "C" fn compare<const N: usize>(a: *mut PyObject, b: *mut PyObject, operation: c_int) -> *mut PyObject {
    if signal::is_anybody_late() && is_over() {
        return ptr::null_mut();
    }
    match COMPARISONS.get(N).and_then(OnceLock::get) {
        // SAFETY: Python calls, with objects that the original would have got.
        Some(original) => unsafe { original(a, b, operation) },
        None => ptr::null_mut(),
    }
}

static HASH: OnceLock<ffi::hashfunc> = OnceLock::new();

unsafe extern "C" fn hash(object: *mut PyObject) -> ffi::Py_hash_t {
    if signal::is_anybody_late() && is_over() {
        return -1;
    }
    // SAFETY: Python calls, with a tuple.
    HASH.get().map_or(-1, |original| unsafe { original(object) })
}

/// Raises the end of the call that runs on this thread, if it is over its time.
#[cold]
fn is_over() -> bool {
    // A panic must not reach Python's frames.
    catch_unwind(|| {
        // SAFETY: Python calls on attached threads.
        let py = unsafe { Python::assume_attached() };
        match terminate::interrupted(py) {
            Ok(()) => false,
            Err(error) => {
                error.restore(py);
                true
            }
        }
    })
    .unwrap_or(false)
}

/// Puts the functions in place, once per process.
///
/// # Errors
/// What Python raised.
pub(crate) fn install(py: Python<'_>) -> PyResult<()> {
    static INSTALLED: PyOnceLock<()> = PyOnceLock::new();
    INSTALLED
        .get_or_try_init(py, || {
            macro_rules! replace {
                ($($n:literal)*) => {$( replace(py, $n, next::<$n>)?; )*};
            }
            replace!(0 1 2 3 4 5 6 7 8 9);
            replace_comparisons(py);
            Ok(())
        })
        .copied()
}

fn replace(py: Python<'_>, index: usize, by: ffi::iternextfunc) -> PyResult<()> {
    let (Some(expression), Some(slot)) = (TYPES.get(index), ORIGINALS.get(index)) else { return Ok(()) };
    let class = py.eval(expression, None, None)?.cast_into::<pyo3::types::PyType>().map_err(PyErr::from)?;
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

fn replace_comparisons(_py: Python<'_>) {
    let by: [ffi::richcmpfunc; 3] = [compare::<0>, compare::<1>, compare::<2>];
    // SAFETY: types of Python's own, which are never freed. The thread is attached, so nobody reads the slots meanwhile, and
    // the functions may be called for their objects.
    unsafe {
        for ((class, slot), by) in compared().into_iter().zip(&COMPARISONS).zip(by) {
            if let Some(original) = (*class).tp_richcompare
                && slot.set(original).is_ok()
            {
                (*class).tp_richcompare = Some(by);
            }
        }
        let tuple = &raw mut ffi::PyTuple_Type;
        if let Some(original) = (*tuple).tp_hash
            && HASH.set(original).is_ok()
        {
            (*tuple).tp_hash = Some(hash);
        }
    }
}
