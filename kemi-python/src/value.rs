//! Values both ways between Python and the host.

use std::collections::btree_map::Entry;
use std::ffi::c_int;

use kemi_core::abi::Ret;
use kemi_core::value::{ConversionBudget, MAX_VALUE_DEPTH};
use kemi_core::{Arg, ByteString, ErrorCode, Map, ScriptError, Value};
use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{
    PyBool, PyByteArray, PyBytes, PyCFunction, PyDict, PyFloat, PyFunction, PyInt, PyList, PyModule, PySet, PyString,
    PyTuple, PyType,
};

use crate::string;

/// An argument of a native call, with what it was copied to.
enum HeldArg<'a, 'py> {
    /// A scalar, or a string borrowed from Python.
    Arg(Arg<'a>),
    /// A string with bytes that are not UTF-8.
    Bytes(Bound<'py, PyBytes>),
    /// A list or dictionary.
    Value(Value),
}

impl HeldArg<'_, '_> {
    fn arg(&self) -> Arg<'_> {
        match self {
            HeldArg::Arg(arg) => *arg,
            HeldArg::Bytes(bytes) => Arg::Str(bytes.as_bytes()),
            HeldArg::Value(value) => value.into(),
        }
    }
}

/// The number of arguments that are converted without a heap allocation.
const FEW: usize = 8;

/// Converts the arguments of a native call and passes them on.
///
/// # Errors
/// [`ErrorCode::ValueNotConvertible`] for a list or dictionary without a counterpart.
pub(crate) fn with_args<R>(
    objects: &[Borrowed<'_, '_, PyAny>],
    run: impl FnOnce(&[Arg<'_>]) -> R,
) -> Result<R, ScriptError> {
    let mut budget = ConversionBudget::new();
    if objects.len() > FEW {
        let held =
            objects.iter().enumerate().map(|(i, o)| numbered(i, *o, &mut budget)).collect::<Result<Vec<_>, _>>()?;
        return Ok(run(&held.iter().map(HeldArg::arg).collect::<Vec<_>>()));
    }
    let mut held = [const { HeldArg::Arg(Arg::Nil) }; FEW];
    for (i, (slot, object)) in held.iter_mut().zip(objects).enumerate() {
        *slot = numbered(i, *object, &mut budget)?;
    }
    let mut args = [Arg::Nil; FEW];
    for (slot, held) in args.iter_mut().zip(&held) {
        *slot = held.arg();
    }
    Ok(run(args.get(..objects.len()).unwrap_or(&args)))
}

fn numbered<'a, 'py>(
    index: usize,
    object: Borrowed<'a, 'py, PyAny>,
    budget: &mut ConversionBudget,
) -> Result<HeldArg<'a, 'py>, ScriptError> {
    to_arg(object, budget).map_err(|mut error| {
        error.message = format!("argument {}: {}", index + 1, error.message);
        error
    })
}

/// Copies a Python value.
///
/// # Errors
/// [`ErrorCode::ValueNotConvertible`] with what has no counterpart or is too much.
pub(crate) fn to_value(object: &Bound<'_, PyAny>, budget: &mut ConversionBudget) -> Result<Value, ScriptError> {
    match to_arg(object.as_borrowed(), budget)? {
        HeldArg::Arg(arg) => {
            if let Arg::Str(text) = arg {
                budget.bytes(text.len())?;
            }
            arg.to_value().ok_or_else(|| not_convertible(format!("{} has no counterpart", article(arg.type_name()))))
        }
        HeldArg::Bytes(bytes) => {
            budget.bytes(bytes.as_bytes().len())?;
            Ok(bytes.as_bytes().into())
        }
        HeldArg::Value(value) => Ok(value),
    }
}

fn to_arg<'a, 'py>(
    object: Borrowed<'a, 'py, PyAny>,
    budget: &mut ConversionBudget,
) -> Result<HeldArg<'a, 'py>, ScriptError> {
    Ok(HeldArg::Arg(if object.is_none() {
        Arg::Nil
    } else if let Ok(truth) = object.cast::<PyBool>() {
        Arg::Bool(truth.is_true())
    } else if object.is_instance_of::<PyInt>() {
        integer(object).map_or(Arg::Foreign("integer out of range"), Arg::Int)
    } else if let Ok(float) = object.cast::<PyFloat>() {
        Arg::Float(float.value())
    } else if object.is_instance_of::<PyString>() {
        return Ok(text(object));
    } else if object.is_instance_of::<PyBytes>() {
        bytes(object).map_or(Arg::Foreign("bytes"), Arg::Str)
    } else if let Ok(array) = object.cast::<PyByteArray>() {
        budget.bytes(array.len())?;
        return Ok(HeldArg::Value(array.to_vec().as_slice().into()));
    } else if let Ok(list) = object.cast::<PyList>() {
        return array(list.iter(), budget);
    } else if let Ok(tuple) = object.cast::<PyTuple>() {
        return array(tuple.iter(), budget);
    } else if let Ok(dict) = object.cast::<PyDict>() {
        budget.enter()?;
        let map = map(&dict, budget)?;
        budget.leave();
        return Ok(HeldArg::Value(Value::Map(map)));
    } else {
        Arg::Foreign(foreign(object))
    }))
}

fn array<'a, 'py>(
    items: impl Iterator<Item = Bound<'py, PyAny>>,
    budget: &mut ConversionBudget,
) -> Result<HeldArg<'a, 'py>, ScriptError> {
    budget.enter()?;
    let item = |item: Bound<'_, PyAny>| {
        budget.element()?;
        to_value(&item, budget)
    };
    let items = items.map(item).collect::<Result<Vec<_>, _>>()?;
    budget.leave();
    Ok(HeldArg::Value(Value::Array(items)))
}

fn map(dict: &Bound<'_, PyDict>, budget: &mut ConversionBudget) -> Result<Map, ScriptError> {
    let mut map = Map::new();
    for (key, item) in dict.iter() {
        budget.element()?;
        let key: ByteString = match to_value(&key, budget)? {
            Value::Str(key) => key,
            other => {
                let message = format!("a dictionary has {} as a key; only strings can be", article(other.type_name()));
                return Err(not_convertible(message));
            }
        };
        let item = to_value(&item, budget)?;
        match map.entry(key) {
            Entry::Vacant(entry) => drop(entry.insert(item)),
            // As `str` and as `bytes`.
            Entry::Occupied(entry) => {
                return Err(not_convertible(format!(
                    "a dictionary has the key {:?} both as str and as bytes",
                    entry.key()
                )));
            }
        }
    }
    Ok(map)
}

/// Returns an integer, if it fits.
fn integer(object: Borrowed<'_, '_, PyAny>) -> Option<i64> {
    let mut overflow: c_int = 0;
    // SAFETY: the object is an `int` or of a subclass; no Python code runs for these.
    let number = unsafe { ffi::PyLong_AsLongLongAndOverflow(object.as_ptr(), &raw mut overflow) };
    (overflow == 0).then_some(number)
}

fn text<'a, 'py>(object: Borrowed<'a, 'py, PyAny>) -> HeldArg<'a, 'py> {
    // SAFETY: a `str`, borrowed for 'a.
    if let Some(text) = unsafe { string::utf8(object.as_ptr()) } {
        return HeldArg::Arg(Arg::Str(text));
    }
    // SAFETY: as above.
    match unsafe { string::unescape(object) } {
        Some(bytes) => HeldArg::Bytes(bytes),
        None => HeldArg::Arg(Arg::Foreign("string with surrogates that stand for no byte")),
    }
}

fn bytes<'a>(object: Borrowed<'a, '_, PyAny>) -> Option<&'a [u8]> {
    // SAFETY: a `bytes`, borrowed for 'a.
    unsafe { string::bytes(object.as_ptr()) }
}

fn foreign(object: Borrowed<'_, '_, PyAny>) -> &'static str {
    if object.is_instance_of::<PyFunction>() || object.is_instance_of::<PyCFunction>() {
        "function"
    } else if object.is_instance_of::<PyType>() {
        "class"
    } else if object.is_instance_of::<PyModule>() {
        "module"
    } else if object.is_instance_of::<PySet>() {
        "set"
    } else {
        "object"
    }
}

fn article(name: &str) -> String {
    let article = if name.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    format!("{article} {name}")
}

fn not_convertible(message: String) -> ScriptError {
    ScriptError::new(ErrorCode::ValueNotConvertible, message)
}

/// Makes the Python object of an argument.
pub(crate) fn from_arg<'py>(py: Python<'py>, arg: &Arg<'_>) -> PyResult<Bound<'py, PyAny>> {
    match *arg {
        Arg::Nil => Ok(py.None().into_bound(py)),
        Arg::Bool(b) => Ok(PyBool::new(py, b).to_owned().into_any()),
        Arg::Int(i) => i.into_pyobject(py).map(Bound::into_any).map_err(Into::into),
        Arg::Float(x) => Ok(PyFloat::new(py, x).into_any()),
        Arg::Str(s) => string::from_bytes(py, s),
        Arg::Value(value) => from_value(py, value, 0),
        _ => Err(PyRuntimeError::new_err(format!("{} has no counterpart in Python", article(arg.type_name())))),
    }
}

/// Makes the Python object of a value.
pub(crate) fn from_value<'py>(py: Python<'py>, value: &Value, depth: usize) -> PyResult<Bound<'py, PyAny>> {
    if depth > MAX_VALUE_DEPTH {
        return Err(PyRuntimeError::new_err(format!("a value is nested deeper than {MAX_VALUE_DEPTH}")));
    }
    match value {
        Value::Array(items) => {
            let list = PyList::empty(py);
            for item in items {
                list.append(from_value(py, item, depth + 1)?)?;
            }
            Ok(list.into_any())
        }
        Value::Map(map) => {
            let dict = PyDict::new(py);
            for (key, item) in map {
                dict.set_item(string::from_bytes(py, key)?, from_value(py, item, depth + 1)?)?;
            }
            Ok(dict.into_any())
        }
        Value::Bytes(bytes) => Ok(PyBytes::new(py, bytes).into_any()),
        Value::Function(_) => Err(PyRuntimeError::new_err("a function cannot go back to Python")),
        scalar => from_arg(py, &scalar.into()),
    }
}

/// Makes the Python object of a native function's result.
///
/// Call it at once: bytes still belong to the context.
pub(crate) fn from_ret(py: Python<'_>, ret: Ret) -> PyResult<Bound<'_, PyAny>> {
    match ret {
        Ret::Nil => from_arg(py, &Arg::Nil),
        Ret::Bool(b) => from_arg(py, &Arg::Bool(b)),
        Ret::Int(i) => from_arg(py, &Arg::Int(i)),
        Ret::Float(x) => from_arg(py, &Arg::Float(x)),
        // SAFETY: the call that gave the bytes has just returned; nothing has used the context since.
        Ret::Bytes(bytes) => string::from_bytes(py, unsafe { bytes.bytes() }),
        Ret::Value(value) => from_value(py, &value, 0),
        Ret::Tuple(items) => {
            let items = items.iter().map(|item| from_value(py, item, 1)).collect::<PyResult<Vec<_>>>()?;
            PyTuple::new(py, items).map(Bound::into_any)
        }
    }
}
