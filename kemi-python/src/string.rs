//! Text and bytes both ways between Python and the host.

use kemi_core::{ScriptError, Source};
use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

/// Borrows the UTF-8 form of a `str`; `None` if it has surrogates.
///
/// # Safety
/// The object is a `str` that stays alive as long as the result is used; the thread is attached.
#[inline]
pub(crate) unsafe fn utf8<'a>(object: *mut PyObject) -> Option<&'a [u8]> {
    let mut length = 0;
    // SAFETY: the caller vouches for the type; the form is kept inside the object.
    let pointer = unsafe { ffi::PyUnicode_AsUTF8AndSize(object, &raw mut length) };
    if pointer.is_null() {
        // SAFETY: the thread is attached.
        unsafe { ffi::PyErr_Clear() };
        return None;
    }
    // SAFETY: Python gave pointer and length of a buffer that lives as long as the object.
    Some(unsafe { std::slice::from_raw_parts(pointer.cast(), usize::try_from(length).unwrap_or(0)) })
}

/// Borrows the bytes of a `bytes`.
///
/// # Safety
/// The object is a `bytes`, or of a subclass, that stays alive as long as the result is used.
#[inline]
pub(crate) unsafe fn bytes<'a>(object: *mut PyObject) -> Option<&'a [u8]> {
    // SAFETY: the caller vouches for the type; a `bytes` never changes.
    unsafe {
        let length = usize::try_from(ffi::PyBytes_Size(object)).ok()?;
        Some(std::slice::from_raw_parts(ffi::PyBytes_AsString(object).cast(), length))
    }
}

/// Borrows the bytes of what is exactly a `str` or a `bytes`; `None` for others and for surrogates.
///
/// # Safety
/// The object stays alive as long as the result is used; the thread is attached.
#[inline]
pub(crate) unsafe fn exact<'a>(object: *mut PyObject) -> Option<&'a [u8]> {
    // SAFETY: as the caller's, and the types are looked at.
    unsafe {
        if ffi::PyUnicode_CheckExact(object) != 0 {
            return utf8(object);
        }
        if ffi::PyBytes_CheckExact(object) == 0 { None } else { bytes(object) }
    }
}

/// Encodes a `str` with surrogates that stand for bytes; `None` if one stands for none.
///
/// # Safety
/// The object is a `str`.
pub(crate) unsafe fn unescape<'py>(object: Borrowed<'_, 'py, PyAny>) -> Option<Bound<'py, PyBytes>> {
    // SAFETY: the object is a `str`; the names are C strings; the result is a new reference or null with an exception.
    let encoded = unsafe {
        let encoded = ffi::PyUnicode_AsEncodedString(object.as_ptr(), c"utf-8".as_ptr(), c"surrogateescape".as_ptr());
        Bound::from_owned_ptr_or_err(object.py(), encoded)
    };
    encoded.ok().and_then(|bytes| bytes.cast_into::<PyBytes>().ok())
}

/// Makes a `str` of bytes; those that are not UTF-8 become surrogates.
pub(crate) fn from_bytes<'py>(py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    let length = ffi::Py_ssize_t::try_from(bytes.len()).unwrap_or(ffi::Py_ssize_t::MAX);
    // SAFETY: pointer and length of a slice (which is never longer than `isize::MAX`); the result is a new reference
    // or null with an exception.
    unsafe {
        let text = ffi::PyUnicode_DecodeUTF8(bytes.as_ptr().cast(), length, c"surrogateescape".as_ptr());
        Bound::from_owned_ptr_or_err(py, text)
    }
}

/// Returns a source as Python compiles it: only a file can say in its first lines how it is encoded.
///
/// # Errors
/// A file that cannot be read.
pub(crate) fn from_source<'py>(py: Python<'py>, source: &Source) -> Result<Bound<'py, PyAny>, ScriptError> {
    Ok(match source {
        Source::Text { text, .. } => PyString::new(py, text).into_any(),
        Source::File(_) | Source::Snapshot { .. } => PyBytes::new(py, &source.read()?).into_any(),
    })
}
