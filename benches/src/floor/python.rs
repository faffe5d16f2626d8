//! Python: `METH_FASTCALL` functions against CPython's own interface, and `#[pyfunction]`.

use std::ffi::{CString, c_int};
use std::ptr;

use pyo3::ffi::{self, Py_ssize_t, PyObject};
use pyo3::prelude::*;
use pyo3::types::{PyAnyMethods, PyModule};

use crate::floor::Way;
use crate::natives::{self, Counter, counter, with_counter};
use crate::scripts::{self, HostCall};
use crate::{Language, Subject};

/// A module with the bench script, in the interpreter that the process has.
#[derive(Debug)]
pub struct Python {
    way: Way,
    script: Py<PyModule>,
    callbacks: [Py<PyAny>; 3],
    counter: Counter,
}

impl Python {
    /// Loads the bench script.
    ///
    /// # Panics
    /// If it does not load.
    #[must_use]
    pub fn new(way: Way) -> Python {
        pyo3::Python::initialize();
        pyo3::Python::attach(|py| load(py, way)).expect("the bench script")
    }

    fn call_raw(&self, py: pyo3::Python<'_>, callback: HostCall, times: u64) {
        let [empty, ints, text] = &self.callbacks;
        for turn in 0..times {
            // SAFETY: the thread is attached; every new reference is given back.
            unsafe {
                let result = match callback {
                    HostCall::Empty => ffi::PyObject_CallNoArgs(empty.as_ptr()),
                    HostCall::TwoInts => {
                        let args = [ffi::PyLong_FromLongLong(turn as i64), ffi::PyLong_FromLongLong(8)];
                        let result = ffi::PyObject_Vectorcall(ints.as_ptr(), args.as_ptr(), 2, ptr::null_mut());
                        args.into_iter().for_each(|arg| ffi::Py_DECREF(arg));
                        result
                    }
                    HostCall::OneString => {
                        let bytes = b"sip:alice@example.org";
                        let arg = ffi::PyUnicode_DecodeUTF8(bytes.as_ptr().cast(), bytes.len() as _, ptr::null());
                        let result = ffi::PyObject_Vectorcall(text.as_ptr(), &raw const arg, 1, ptr::null_mut());
                        ffi::Py_DECREF(arg);
                        result
                    }
                };
                assert!(!result.is_null(), "the callback failed: {}", PyErr::fetch(py));
                ffi::Py_DECREF(result);
            }
        }
    }

    fn call_pyo3(&self, py: pyo3::Python<'_>, callback: HostCall, times: u64) {
        let [empty, ints, text] = &self.callbacks;
        for turn in 0..times {
            match callback {
                HostCall::Empty => empty.bind(py).call0(),
                HostCall::TwoInts => ints.bind(py).call1((turn, 8)),
                HostCall::OneString => text.bind(py).call1(("sip:alice@example.org",)),
            }
            .expect("the callback");
        }
    }
}

fn load(py: pyo3::Python<'_>, way: Way) -> PyResult<Python> {
    let bench = match way {
        Way::Floor => by_hand(py)?,
        Way::Idiomatic => by_pyo3(py)?,
    };
    let code = CString::new(scripts::text(Language::Python, "bench"))?;
    let script = PyModule::new(py, "bench_script")?;
    script.setattr("bench", bench)?;
    py.run(&code, Some(&script.dict()), None)?;
    let [a, b, c] = HostCall::ALL.map(|call| script.getattr(call.name()).map(Bound::unbind));
    Ok(Python { way, script: script.unbind(), callbacks: [a?, b?, c?], counter: Counter::default() })
}

impl Subject for Python {
    fn repeat(&mut self, name: &str, turns: u64) {
        let Python { script, counter, .. } = self;
        let run = || pyo3::Python::attach(|py| script.bind(py).call_method1(name, (turns,)).map(|_| ()));
        with_counter(counter, run).expect("the loop");
    }

    fn call(&mut self, callback: HostCall, times: u64) {
        pyo3::Python::attach(|py| match self.way {
            Way::Floor => self.call_raw(py, callback, times),
            Way::Idiomatic => self.call_pyo3(py, callback, times),
        });
    }
}

mod usual {
    //! What the documentation of PyO3 suggests.

    use pyo3::pyfunction;

    use crate::natives::{self, counter};

    #[pyfunction]
    pub(super) fn none() -> i64 {
        natives::none(counter!())
    }

    #[pyfunction]
    pub(super) fn flag(number: i64) -> bool {
        natives::flag(counter!(), number)
    }

    #[pyfunction]
    pub(super) fn add(a: i64, b: i64) -> i64 {
        natives::add(counter!(), a, b)
    }

    #[pyfunction]
    pub(super) fn length(text: &str) -> i64 {
        natives::length(counter!(), text)
    }

    #[pyfunction]
    pub(super) fn get(name: &str) -> &'static str {
        natives::get(counter!(), name)
    }

    #[pyfunction]
    pub(super) fn reply(text: &str, code: i64) -> i64 {
        natives::reply(counter!(), text, code)
    }

    #[pyfunction]
    pub(super) fn set(name: &str, value: &str) -> i64 {
        natives::set(counter!(), name, value)
    }

    #[pyfunction]
    pub(super) fn mixed(name: &str, a: i64, b: bool, value: &str, c: i64) -> i64 {
        natives::mixed(counter!(), name, a, b, value, c)
    }
}

fn by_pyo3(py: pyo3::Python<'_>) -> PyResult<Bound<'_, PyModule>> {
    let bench = PyModule::new(py, "bench")?;
    bench.add_function(wrap_pyfunction!(usual::none, &bench)?)?;
    bench.add_function(wrap_pyfunction!(usual::flag, &bench)?)?;
    bench.add_function(wrap_pyfunction!(usual::add, &bench)?)?;
    bench.add_function(wrap_pyfunction!(usual::length, &bench)?)?;
    bench.add_function(wrap_pyfunction!(usual::get, &bench)?)?;
    bench.add_function(wrap_pyfunction!(usual::reply, &bench)?)?;
    bench.add_function(wrap_pyfunction!(usual::set, &bench)?)?;
    bench.add_function(wrap_pyfunction!(usual::mixed, &bench)?)?;
    Ok(bench)
}

fn by_hand(py: pyo3::Python<'_>) -> PyResult<Bound<'_, PyModule>> {
    let bench = PyModule::new(py, "bench")?;
    let functions: [(&'static std::ffi::CStr, ffi::PyCFunctionFast); 8] = [
        (c"none", none),
        (c"flag", flag),
        (c"add", add),
        (c"length", length),
        (c"get", get),
        (c"reply", reply),
        (c"set", set),
        (c"mixed", mixed),
    ];
    for (name, function) in functions {
        // The definition must live as long as the function: for ever.
        let method = Box::leak(Box::new(ffi::PyMethodDef {
            ml_name: name.as_ptr(),
            ml_meth: ffi::PyMethodDefPointer { PyCFunctionFast: function },
            ml_flags: ffi::METH_FASTCALL,
            ml_doc: c"".as_ptr(),
        }));
        // SAFETY: the thread is attached; the result is a new reference or null.
        let object = unsafe {
            let object = ffi::PyCFunction_NewEx(method, ptr::null_mut(), ptr::null_mut());
            Bound::from_owned_ptr_or_err(py, object)?
        };
        bench.setattr(name.to_str().unwrap_or_default(), object)?;
    }
    Ok(bench)
}

type Read<T> = Option<T>;

unsafe fn integer(object: *mut PyObject) -> Read<i64> {
    // SAFETY: the argument is alive.
    unsafe {
        if ffi::PyLong_CheckExact(object) == 0 {
            return None;
        }
        let mut overflow: c_int = 0;
        let number = ffi::PyLong_AsLongLongAndOverflow(object, &raw mut overflow);
        (overflow == 0).then_some(number)
    }
}

unsafe fn boolean(object: *mut PyObject) -> Read<bool> {
    // SAFETY: the two are static.
    let (yes, no) = unsafe { (ffi::Py_True(), ffi::Py_False()) };
    (object == yes || object == no).then_some(object == yes)
}

unsafe fn text<'a>(object: *mut PyObject) -> Read<&'a str> {
    // SAFETY: the argument is alive during the call, and text never changes.
    unsafe {
        if ffi::PyUnicode_CheckExact(object) == 0 {
            return None;
        }
        let mut length: Py_ssize_t = 0;
        let pointer = ffi::PyUnicode_AsUTF8AndSize(object, &raw mut length);
        if pointer.is_null() {
            return None;
        }
        // What CPython has encoded is UTF-8.
        Some(std::str::from_utf8_unchecked(std::slice::from_raw_parts(pointer.cast(), length as usize)))
    }
}

#[cold]
fn bad() -> *mut PyObject {
    // SAFETY: the thread is attached.
    unsafe {
        if ffi::PyErr_Occurred().is_null() {
            ffi::PyErr_SetString(ffi::PyExc_TypeError, c"bad arguments".as_ptr());
        }
    }
    ptr::null_mut()
}

unsafe fn give_int(number: i64) -> *mut PyObject {
    // SAFETY: the thread is attached.
    unsafe { ffi::PyLong_FromLongLong(number) }
}

unsafe fn give_bool(value: bool) -> *mut PyObject {
    // SAFETY: the thread is attached.
    unsafe { ffi::PyBool_FromLong(value.into()) }
}

unsafe fn give_text(text: &str) -> *mut PyObject {
    // SAFETY: the thread is attached.
    unsafe { ffi::PyUnicode_FromStringAndSize(text.as_ptr().cast(), text.len() as Py_ssize_t) }
}

macro_rules! functions {
    ($($name:ident $count:literal ($($arg:ident: $read:ident),*) $give:ident;)*) => {$(
        unsafe extern "C" fn $name(_: *mut PyObject, args: *mut *mut PyObject, count: Py_ssize_t) -> *mut PyObject {
            // SAFETY: Python calls, inside `with_counter`, with this many arguments.
            unsafe {
                if count != $count {
                    return bad();
                }
                #[allow(unused_variables, unused_mut)]
                let mut next = args;
                $(
                    let Some($arg) = $read(*next) else { return bad() };
                    #[allow(unused_assignments)]
                    { next = next.add(1); }
                )*
                $give(natives::$name(counter!() $(, $arg)*))
            }
        }
    )*};
}
functions! {
    none 0 () give_int;
    flag 1 (a: integer) give_bool;
    add 2 (a: integer, b: integer) give_int;
    length 1 (a: text) give_int;
    get 1 (a: text) give_text;
    reply 2 (a: text, b: integer) give_int;
    set 2 (a: text, b: text) give_int;
    mixed 5 (a: text, b: integer, c: boolean, d: text, e: integer) give_int;
}
