//! Values both ways between Python and the host.

use std::borrow::Cow;
use std::collections::btree_map::Entry;
use std::ffi::c_int;
use std::iter;

use kemi_core::abi::Ret;
use kemi_core::export::Param;
use kemi_core::value::{ConversionBudget, MAX_VALUE_DEPTH, Type};
use kemi_core::{Arg, ByteString, ErrorCode, Map, ScriptError, Value};
use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{
    PyBool, PyByteArray, PyBytes, PyDict, PyFloat, PyInt, PyList, PyMemoryView, PyString, PyTuple, PyType,
};

use crate::current::CallView;
use crate::functions::{is_function, not_kept};
use crate::objects::{self, HostObject};
use crate::{error, string};

/// An argument of a native call, with what it was copied to.
enum HeldArg<'a, 'py> {
    /// A scalar, or a string borrowed from Python.
    Arg(Arg<'a>),
    /// A string with bytes that are not UTF-8.
    Bytes(Bound<'py, PyBytes>),
    /// A list, a dictionary, bytes, a function or an object of the host.
    Value(Value),
    /// The name of what has no counterpart.
    Foreign(Cow<'static, str>),
}

impl HeldArg<'_, '_> {
    fn arg(&self) -> Arg<'_> {
        match self {
            HeldArg::Arg(arg) => *arg,
            HeldArg::Bytes(bytes) => Arg::Str(bytes.as_bytes()),
            HeldArg::Value(value) => value.into(),
            HeldArg::Foreign(name) => Arg::Foreign(name),
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
    view: &CallView,
    params: &[Param],
    objects: &[Borrowed<'_, '_, PyAny>],
    run: impl FnOnce(&[Arg<'_>]) -> R,
) -> Result<R, ScriptError> {
    let mut conversion = Conversion::new(view);
    // What a variadic tail takes is not known.
    let wanted = params.iter().map(|param| if param.variadic { Type::Any } else { param.ty });
    let mut objects_of_types = objects.iter().zip(wanted.chain(iter::repeat(Type::Any))).enumerate();
    if objects.len() > FEW {
        let held =
            objects_of_types.map(|(i, (o, ty))| conversion.numbered(i, *o, ty)).collect::<Result<Vec<_>, _>>()?;
        return Ok(run(&held.iter().map(HeldArg::arg).collect::<Vec<_>>()));
    }
    let mut held = [const { HeldArg::Arg(Arg::Nil) }; FEW];
    for (slot, (i, (object, ty))) in held.iter_mut().zip(&mut objects_of_types) {
        *slot = conversion.numbered(i, *object, ty)?;
    }
    let mut args = [Arg::Nil; FEW];
    for (slot, held) in args.iter_mut().zip(&held) {
        *slot = held.arg();
    }
    Ok(run(args.get(..objects.len()).unwrap_or(&args)))
}

/// Copies the result of a function of the script.
///
/// # Errors
/// [`ErrorCode::ValueNotConvertible`] with what has no counterpart or is too much.
pub(crate) fn to_result(view: &CallView, object: &Bound<'_, PyAny>) -> Result<Value, ScriptError> {
    let unfit = |mut error: ScriptError| {
        error.message = format!("the result: {}", error.message);
        error
    };
    let mut conversion = Conversion::new(view);
    match conversion.held(object.as_borrowed(), Type::Any).map_err(unfit)? {
        HeldArg::Foreign(name) => {
            Err(not_convertible(format!("the result is {}, which {NOWHERE_ELSE}", article(&name))))
        }
        held => conversion.owned(held).map_err(unfit),
    }
}

/// What is said of a value that cannot cross.
const NOWHERE_ELSE: &str = "has no counterpart outside the script";

/// One conversion from Python: all arguments of a call, or one result.
struct Conversion<'v> {
    view: &'v CallView,
    budget: ConversionBudget,
}

impl Conversion<'_> {
    fn new(view: &CallView) -> Conversion<'_> {
        Conversion { view, budget: ConversionBudget::new() }
    }

    fn numbered<'a, 'py>(
        &mut self,
        index: usize,
        object: Borrowed<'a, 'py, PyAny>,
        wanted: Type,
    ) -> Result<HeldArg<'a, 'py>, ScriptError> {
        self.held(object, wanted).map_err(|mut error| {
            error.message = format!("argument {}: {}", index + 1, error.message);
            error
        })
    }

    /// Copies an element of a list or dictionary.
    fn element(&mut self, object: &Bound<'_, PyAny>, wanted: Type) -> Result<Value, ScriptError> {
        match self.held(object.as_borrowed(), wanted)? {
            HeldArg::Foreign(name) => Err(not_convertible(format!("{} {NOWHERE_ELSE}", article(&name)))),
            held => self.owned(held),
        }
    }

    fn owned(&mut self, held: HeldArg<'_, '_>) -> Result<Value, ScriptError> {
        let arg = match held {
            HeldArg::Value(value) => return Ok(value),
            ref held => held.arg(),
        };
        if let Arg::Str(text) = arg {
            self.budget.bytes(text.len())?;
        }
        arg.to_value().ok_or_else(|| not_convertible(format!("{} {NOWHERE_ELSE}", article(arg.type_name()))))
    }

    /// Converts an object for a parameter of a type.
    fn held<'a, 'py>(
        &mut self,
        object: Borrowed<'a, 'py, PyAny>,
        wanted: Type,
    ) -> Result<HeldArg<'a, 'py>, ScriptError> {
        Ok(HeldArg::Arg(if object.is_none() {
            Arg::Nil
        } else if let Ok(truth) = object.cast::<PyBool>() {
            Arg::Bool(truth.is_true())
        } else if object.is_instance_of::<PyInt>() {
            match integer(object) {
                Some(number) => Arg::Int(number),
                None => return Ok(HeldArg::Foreign("integer out of range".into())),
            }
        } else if let Ok(float) = object.cast::<PyFloat>() {
            Arg::Float(float.value())
        } else if object.is_instance_of::<PyString>() {
            return Ok(text(object));
        } else if object.is_instance_of::<PyBytes>() {
            match bytes(object) {
                Some(bytes) if takes_text(wanted) => Arg::Str(bytes),
                Some(bytes) => {
                    self.budget.bytes(bytes.len())?;
                    return Ok(HeldArg::Value(Value::Bytes(bytes.into())));
                }
                None => return Ok(HeldArg::Foreign("bytes".into())),
            }
        } else if let Ok(array) = object.cast::<PyByteArray>() {
            self.budget.bytes(array.len())?;
            return Ok(HeldArg::Value(text_or_bytes(array.to_vec().into(), wanted)));
        } else if let Ok(view) = object.cast::<PyMemoryView>() {
            return self.memory(&view, wanted);
        } else if let Ok(list) = object.cast::<PyList>() {
            return self.array(list.iter(), wanted);
        } else if let Ok(tuple) = object.cast::<PyTuple>() {
            return self.array(tuple.iter(), wanted);
        } else if let Ok(dict) = object.cast::<PyDict>() {
            self.budget.enter()?;
            let map = self.map(&dict, element_of(wanted))?;
            self.budget.leave();
            return Ok(HeldArg::Value(Value::Map(map)));
        } else if is_function(object) {
            let function = self.view.functions().keep(self.view.runtime(), object)?;
            return Ok(HeldArg::Value(Value::Function(function)));
        } else if let Ok(object) = object.cast::<HostObject>() {
            return Ok(object_of_host(object));
        } else {
            return Ok(HeldArg::Foreign(foreign(object)));
        }))
    }

    /// Copies what a `memoryview` shows, in the order of its elements.
    fn memory<'a, 'py>(
        &mut self,
        view: &Bound<'_, PyMemoryView>,
        wanted: Type,
    ) -> Result<HeldArg<'a, 'py>, ScriptError> {
        let released = || HeldArg::Foreign("released memoryview".into());
        // It has no subclasses, so no Python code runs for these two.
        let Ok(size) = view.getattr("nbytes").and_then(|size| size.extract::<usize>()) else { return Ok(released()) };
        self.budget.bytes(size)?;
        let Ok(copied) = view.call_method0("tobytes") else { return Ok(released()) };
        Ok(match bytes(copied.as_borrowed()) {
            Some(bytes) => HeldArg::Value(text_or_bytes(bytes.into(), wanted)),
            None => released(),
        })
    }

    fn array<'a, 'py>(
        &mut self,
        items: impl Iterator<Item = Bound<'py, PyAny>>,
        wanted: Type,
    ) -> Result<HeldArg<'a, 'py>, ScriptError> {
        self.budget.enter()?;
        let wanted = element_of(wanted);
        let item = |item: Bound<'_, PyAny>| {
            self.budget.element()?;
            self.element(&item, wanted)
        };
        let items = items.map(item).collect::<Result<Vec<_>, _>>()?;
        self.budget.leave();
        Ok(HeldArg::Value(Value::Array(items)))
    }

    fn map(&mut self, dict: &Bound<'_, PyDict>, wanted: Type) -> Result<Map, ScriptError> {
        let mut map = Map::new();
        for (key, item) in dict.iter() {
            self.budget.element()?;
            let key: ByteString = match self.element(&key, Type::Bytes)? {
                Value::Str(key) => key,
                other => {
                    let kind = article(other.type_name());
                    return Err(not_convertible(format!("a dictionary has {kind} as a key; only strings can be")));
                }
            };
            let item = self.element(&item, wanted)?;
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
}

fn object_of_host<'a>(object: Borrowed<'a, '_, HostObject>) -> HeldArg<'a, 'static> {
    // SAFETY: borrowed for 'a; all conversions are within a call.
    if let Some(object) = unsafe { objects::borrow(object.as_ptr()) } {
        return HeldArg::Arg(Arg::Object(object));
    }
    match object.get().object() {
        Some(object) => HeldArg::Value(Value::Object(object)),
        None => HeldArg::Foreign(format!("{} of a script that was unloaded", object.get().class().name).into()),
    }
}

/// Returns whether bytes are the text that a parameter takes.
fn takes_text(wanted: Type) -> bool {
    match wanted {
        Type::Str | Type::Bytes | Type::Blob | Type::Callback => true,
        Type::Option(wanted) => takes_text(*wanted),
        _ => false,
    }
}

/// Returns the type of the elements of a list or dictionary that a parameter takes.
fn element_of(wanted: Type) -> Type {
    match wanted {
        Type::Array(element) | Type::Map(element) => *element,
        Type::Option(wanted) => element_of(*wanted),
        _ => Type::Any,
    }
}

fn text_or_bytes(bytes: ByteString, wanted: Type) -> Value {
    if takes_text(wanted) { Value::Str(bytes) } else { Value::Bytes(bytes) }
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
        None => HeldArg::Foreign("string with surrogates that stand for no byte".into()),
    }
}

fn bytes<'a>(object: Borrowed<'a, '_, PyAny>) -> Option<&'a [u8]> {
    // SAFETY: a `bytes`, borrowed for 'a.
    unsafe { string::bytes(object.as_ptr()) }
}

/// Names what has no counterpart: by its class, unless it is one.
fn foreign(object: Borrowed<'_, '_, PyAny>) -> Cow<'static, str> {
    if object.is_instance_of::<PyType>() {
        return "class".into();
    }
    object.get_type().name().map_or("object".into(), |name| name.to_string_lossy().into_owned().into())
}

fn article(name: &str) -> String {
    let article = if name.starts_with(['a', 'e', 'i', 'o', 'A', 'E', 'I', 'O']) { "an" } else { "a" };
    format!("{article} {name}")
}

fn not_convertible(message: String) -> ScriptError {
    ScriptError::new(ErrorCode::ValueNotConvertible, message)
}

/// Makes the Python object of an argument.
pub(crate) fn from_arg<'py>(py: Python<'py>, view: &CallView, arg: &Arg<'_>) -> PyResult<Bound<'py, PyAny>> {
    match *arg {
        Arg::Value(value) => from_value(py, view, value, 0),
        Arg::Object(object) => view.objects().give(py, view.runtime(), object),
        ref scalar => from_scalar(py, scalar),
    }
}

/// Makes the Python object of an argument that has no parts.
pub(crate) fn from_scalar<'py>(py: Python<'py>, arg: &Arg<'_>) -> PyResult<Bound<'py, PyAny>> {
    match *arg {
        Arg::Nil => Ok(py.None().into_bound(py)),
        Arg::Bool(b) => Ok(PyBool::new(py, b).to_owned().into_any()),
        Arg::Int(i) => i.into_pyobject(py).map(Bound::into_any).map_err(Into::into),
        Arg::Float(x) => Ok(PyFloat::new(py, x).into_any()),
        Arg::Str(s) => string::from_bytes(py, s),
        Arg::Value(Value::Bytes(bytes)) => Ok(PyBytes::new(py, bytes).into_any()),
        _ => Err(PyRuntimeError::new_err(format!("{} has no counterpart in Python", article(arg.type_name())))),
    }
}

/// Makes the Python object of a value.
pub(crate) fn from_value<'py>(
    py: Python<'py>,
    view: &CallView,
    value: &Value,
    depth: usize,
) -> PyResult<Bound<'py, PyAny>> {
    if depth > MAX_VALUE_DEPTH {
        return Err(PyRuntimeError::new_err(format!("a value is nested deeper than {MAX_VALUE_DEPTH}")));
    }
    match value {
        Value::Array(items) => {
            let list = PyList::empty(py);
            for item in items {
                list.append(from_value(py, view, item, depth + 1)?)?;
            }
            Ok(list.into_any())
        }
        Value::Map(map) => {
            let dict = PyDict::new(py);
            for (key, item) in map {
                dict.set_item(string::from_bytes(py, key)?, from_value(py, view, item, depth + 1)?)?;
            }
            Ok(dict.into_any())
        }
        Value::Function(function) => {
            let slot = view.runtime().function_slot(function).map_err(|error| error::native(py, error))?;
            view.functions().get(py, slot).ok_or_else(|| error::native(py, not_kept()))
        }
        Value::Object(object) => view.objects().give(py, view.runtime(), object),
        scalar => from_scalar(py, &scalar.into()),
    }
}

/// Makes the Python object of a native function's result.
///
/// Call it at once: bytes still belong to the context.
pub(crate) fn from_ret<'py>(py: Python<'py>, view: &CallView, ret: Ret) -> PyResult<Bound<'py, PyAny>> {
    match ret {
        Ret::Nil => from_scalar(py, &Arg::Nil),
        Ret::Bool(b) => from_scalar(py, &Arg::Bool(b)),
        Ret::Int(i) => from_scalar(py, &Arg::Int(i)),
        Ret::Float(x) => from_scalar(py, &Arg::Float(x)),
        // SAFETY: the call that gave the bytes has just returned; nothing has used the context since.
        Ret::Bytes(bytes) => string::from_bytes(py, unsafe { bytes.bytes() }),
        Ret::Value(value) => from_value(py, view, &value, 0),
        Ret::Tuple(items) => {
            let items = items.iter().map(|item| from_value(py, view, item, 1)).collect::<PyResult<Vec<_>>>()?;
            PyTuple::new(py, items).map(Bound::into_any)
        }
    }
}
