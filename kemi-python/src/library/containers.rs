//! Comparing and hashing containers that contain each other many times over: each is visited once for every way to it.

use std::ffi::c_int;
use std::ptr;
use std::sync::OnceLock;

use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;

use crate::terminate;

/// The types whose comparison is replaced.
fn compared() -> [*mut ffi::PyTypeObject; 3] {
    [&raw mut ffi::PyList_Type, &raw mut ffi::PyTuple_Type, &raw mut ffi::PyDict_Type]
}

static COMPARISONS: [OnceLock<ffi::richcmpfunc>; 3] = [const { OnceLock::new() }; 3];

unsafe extern "C" fn compare<const N: usize>(a: *mut PyObject, b: *mut PyObject, operation: c_int) -> *mut PyObject {
    if terminate::raise_if_late() {
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
    if terminate::raise_if_late() {
        return -1;
    }
    // SAFETY: Python calls, with a tuple.
    HASH.get().map_or(-1, |original| unsafe { original(object) })
}

/// Replaces the functions of these types.
pub(super) fn install(_py: Python<'_>) {
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
