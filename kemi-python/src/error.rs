//! Errors both ways: errors of native functions as exceptions, exceptions as errors for the host.

use std::ffi::c_ulong;

use kemi_core::error::Frame;
use kemi_core::{ErrorCode, Location, ScriptError};
use pyo3::exceptions::{PyRecursionError, PyRuntimeError, PySyntaxError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PyString};

use crate::prelude::{FILE, Prelude};

/// The attribute of an exception that carries the native error.
const CARRIED: &str = "_kemi_error";
const CARRIED_NAME: &std::ffi::CStr = c"kemi.error";

/// The number of an exception's causes that are looked at.
const MAX_CAUSES: usize = 32;

/// The most frames of a traceback that are kept.
const MAX_FRAMES: usize = 64;

/// The key that the builtins of scripts have and Python's own have not.
const MARK: &str = "__kemi__";

/// Raises a native function's error.
pub(crate) fn raise(py: Python<'_>, error: ScriptError) {
    native(py, error).restore(py);
}

/// Makes the exception of a native function's error.
pub(crate) fn native(py: Python<'_>, error: ScriptError) -> PyErr {
    let text = match &error.export {
        Some(export) => format!("{export}: {}", error.message),
        None => error.message.clone(),
    };
    exception(py, "Error", &text, error).map_or_else(|failed| failed, PyErr::from_value)
}

/// Raises an error that has only a text.
pub(crate) fn raise_plain(py: Python<'_>, text: &str) {
    match Prelude::get(py).and_then(|prelude| prelude.call(py, "Error", (text,))) {
        Ok(exception) => PyErr::from_value(exception).restore(py),
        Err(_) => PyRuntimeError::new_err(text.to_owned()).restore(py),
    }
}

/// Makes an exception that carries a native error.
///
/// The error travels inside the exception, so that a script may catch one, run into others and raise the first again.
pub(crate) fn exception<'py>(
    py: Python<'py>,
    class: &str,
    text: &str,
    error: ScriptError,
) -> PyResult<Bound<'py, PyAny>> {
    let exception = Prelude::get(py)?.call(py, class, (text,))?;
    exception.setattr(CARRIED, PyCapsule::new_with_value(py, error, CARRIED_NAME)?)?;
    Ok(exception)
}

/// Turns an uncaught exception into the error for the host.
pub(crate) fn explain(py: Python<'_>, raised: &PyErr) -> ScriptError {
    let value = raised.value(py).as_any();
    let error = carried(py, value).unwrap_or_else(|| {
        if raised.is_instance_of::<PySyntaxError>(py) {
            return syntax(value);
        }
        let overflow = raised.is_instance_of::<PyRecursionError>(py);
        let code = if overflow { ErrorCode::StackOverflow } else { ErrorCode::Runtime };
        let mut error = ScriptError::new(code, describe(value));
        error.cause = wrapped(py, value).map(Box::new);
        error
    });
    traced(py, error, raised)
}

/// Adds to an error where the exception that it stands for came through.
pub(crate) fn traced(py: Python<'_>, mut error: ScriptError, raised: &PyErr) -> ScriptError {
    let trace = Trace::of(py, raised);
    if error.place.is_none() {
        error.place = trace.place;
    }
    error.traceback.extend(trace.frames);
    error
}

/// Finds the native error that the script has made another exception of, by `raise ... from ...`.
fn wrapped(py: Python<'_>, value: &Bound<'_, PyAny>) -> Option<ScriptError> {
    let mut cause = value.getattr("__cause__").ok()?;
    for _ in 0..MAX_CAUSES {
        if cause.is_none() {
            return None;
        }
        if let Some(error) = carried(py, &cause) {
            return Some(error);
        }
        cause = cause.getattr("__cause__").ok()?;
    }
    None
}

/// Returns the native error that an exception carries.
pub(crate) fn carried(py: Python<'_>, value: &Bound<'_, PyAny>) -> Option<ScriptError> {
    let class = Prelude::get(py).and_then(|prelude| prelude.item(py, "Error")).ok()?;
    if !value.is_instance(&class).ok()? {
        return None;
    }
    let capsule = value.getattr(CARRIED).ok()?.cast_into::<PyCapsule>().ok()?;
    let error = capsule.pointer_checked(Some(CARRIED_NAME)).ok()?.cast::<ScriptError>();
    // SAFETY: a capsule of this name holds an error, see `exception`, and is alive.
    Some(unsafe { error.as_ref() }.clone())
}

fn syntax(value: &Bound<'_, PyAny>) -> ScriptError {
    let text = |name: &str| value.getattr(name).ok().filter(|v| !v.is_none()).and_then(|v| v.str().ok());
    let message = text("msg").map_or_else(|| describe(value), |text| lossy(&text));
    let error = ScriptError::new(ErrorCode::Syntax, message);
    let line = value.getattr("lineno").ok().and_then(|line| line.extract::<u32>().ok());
    match text("filename") {
        // Text given to `eval` has no file; where it was given is of more use.
        Some(file) if lossy(&file) != "<string>" => error.at(lossy(&file), line.unwrap_or(1).max(1)),
        _ => error,
    }
}

/// Describes an exception the way Python does, whatever it is.
fn describe(value: &Bound<'_, PyAny>) -> String {
    let class = value.get_type().name().map_or_else(|_| "exception".to_owned(), |name| lossy(&name));
    match value.str() {
        Ok(text) if text.is_empty().unwrap_or(true) => class,
        Ok(text) => format!("{class}: {}", lossy(&text)),
        Err(_) => format!("{class} (its text cannot be had: __str__ failed)"),
    }
}

fn lossy(text: &Bound<'_, PyString>) -> String {
    text.to_string_lossy().into_owned()
}

/// The frames that an exception came through.
#[derive(Default)]
struct Trace {
    frames: Vec<Frame>,
    place: Option<Location>,
}

impl Trace {
    fn of(py: Python<'_>, raised: &PyErr) -> Trace {
        let mut frames: Vec<(Frame, bool)> = Vec::new();
        let mut next = raised.traceback(py).map(Bound::into_any);
        while let Some(entry) = next.take() {
            let line = entry.getattr("tb_lineno").and_then(|line| line.extract()).unwrap_or(0);
            if let Ok(object) = entry.getattr("tb_frame") {
                frames.extend(frame(&object, line).map(|frame| (frame, of_script(&object))));
            }
            next = entry.getattr("tb_next").ok().filter(|next| !next.is_none());
        }
        frames.reverse();
        let of_script = || frames.iter().filter(|(_, script)| *script).filter_map(|(frame, _)| frame.place.clone());
        let place = of_script().find(|place| !place.file.starts_with('<')).or_else(|| of_script().next());
        let mut frames: Vec<Frame> = frames.into_iter().map(|(frame, _)| frame).collect();
        if frames.len() > MAX_FRAMES {
            let (kept, left_out) = (MAX_FRAMES / 2, frames.len() - MAX_FRAMES);
            let note = Frame { function: format!("... {left_out} more frames ..."), place: None };
            frames.splice(kept..kept + left_out, [note]);
        }
        Trace { frames, place }
    }
}

/// Describes a frame, unless it is the engine's or the import machinery's own.
fn frame(object: &Bound<'_, PyAny>, line: u32) -> Option<Frame> {
    let code = object.getattr("f_code").ok()?;
    let file = file_of(&code)?;
    if file == FILE || file.starts_with("<frozen ") {
        return None;
    }
    // Since Python 3.11 there is the name with its class.
    let name = code.getattr("co_qualname").or_else(|_| code.getattr("co_name")).ok()?;
    let function = name.cast::<PyString>().ok().map(|text| lossy(text))?;
    Some(Frame { function, place: (line > 0).then_some(Location { file, line }) })
}

fn file_of(code: &Bound<'_, PyAny>) -> Option<String> {
    code.getattr("co_filename").ok()?.cast::<PyString>().ok().map(|text| lossy(text))
}

/// Returns whether a frame is of a script or its modules, and not of Python's library.
pub(crate) fn of_script(frame: &Bound<'_, PyAny>) -> bool {
    frame.getattr("f_builtins").and_then(|builtins| builtins.contains(MARK)).unwrap_or(false)
}

/// Returns the line that the script on this thread is at.
pub(crate) fn place(py: Python<'_>) -> Option<Location> {
    // SAFETY: the thread is attached; the result is a borrowed frame or null.
    innermost(unsafe { Bound::from_borrowed_ptr_or_opt(py, ffi::PyEval_GetFrame().cast()) })
}

/// Returns the line that the script on another thread is at.
pub(crate) fn place_on(py: Python<'_>, thread: c_ulong) -> Option<Location> {
    let frames = py.import("sys").and_then(|sys| sys.call_method0("_current_frames")).ok()?;
    innermost(frames.get_item(thread).ok())
}

/// Returns where an exception came through a script last.
pub(crate) fn place_of(py: Python<'_>, raised: &PyErr) -> Option<Location> {
    Trace::of(py, raised).place
}

/// Finds the innermost frame of a script from a frame on outwards.
fn innermost(mut next: Option<Bound<'_, PyAny>>) -> Option<Location> {
    let mut second_best = None;
    while let Some(object) = next {
        if of_script(&object) {
            let file = object.getattr("f_code").ok().and_then(|code| file_of(&code))?;
            let line = object.getattr("f_lineno").ok()?.extract().unwrap_or(1);
            let place = Location { file, line };
            if !place.file.starts_with('<') {
                return Some(place);
            }
            second_best = second_best.or(Some(place));
        }
        next = object.getattr("f_back").ok().filter(|back| !back.is_none());
    }
    second_best
}
