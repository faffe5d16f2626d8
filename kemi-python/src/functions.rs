//! Functions of the script that the host keeps.

use std::cell::RefCell;

use kemi_core::engine::Runtime;
use kemi_core::{ErrorCode, Function, ScriptError};
use pyo3::prelude::*;
use pyo3::types::{PyCFunction, PyFunction, PyType};

use crate::objects::HostObject;
use crate::prelude::Prelude;

/// The functions by slot. The runtime decides which slot is whose.
///
/// It is a part of the instance's state, which no object of Python owns, so a function that refers to everything keeps nothing
/// alive once the instance is dropped.
#[derive(Default)]
pub(crate) struct KeptFunctions(RefCell<Vec<Option<Py<PyAny>>>>);

impl KeptFunctions {
    /// Keeps a function for the host.
    ///
    /// # Errors
    /// As [`Runtime::keep_function`].
    pub(crate) fn keep(&self, runtime: &Runtime, function: Borrowed<'_, '_, PyAny>) -> Result<Function, ScriptError> {
        let (slot, kept) = runtime.keep_function()?;
        let index = index(slot);
        let handle = function.to_owned().unbind();
        let mut handles = self.0.borrow_mut();
        if handles.len() <= index {
            handles.resize_with(index + 1, || None);
        }
        let former = handles.get_mut(index).and_then(|place| place.replace(handle));
        // A free slot has none. If it had, its finalizer would have to find the table free.
        drop(handles);
        drop(former);
        Ok(kept)
    }

    /// Returns the function of a slot.
    pub(crate) fn get<'py>(&self, py: Python<'py>, slot: u32) -> Option<Bound<'py, PyAny>> {
        self.0.borrow().get(index(slot))?.as_ref().map(|function| function.bind(py).clone())
    }

    /// Takes the functions of slots out, to be dropped where finalizers may run.
    pub(crate) fn take(&self, slots: &[u32]) -> Vec<Py<PyAny>> {
        let mut handles = self.0.borrow_mut();
        slots.iter().filter_map(|&slot| handles.get_mut(index(slot))?.take()).collect()
    }

    /// Takes all functions out, to be dropped where finalizers may run.
    pub(crate) fn take_all(&self) -> Vec<Option<Py<PyAny>>> {
        self.0.take()
    }
}

fn index(slot: u32) -> usize {
    usize::try_from(slot).unwrap_or(usize::MAX)
}

/// Returns whether an object is a function to the host: whatever can be called, but no class, no module that is not
/// enabled and no object of the host.
pub(crate) fn is_function(object: Borrowed<'_, '_, PyAny>) -> bool {
    if object.is_instance_of::<PyFunction>() || object.is_instance_of::<PyCFunction>() {
        return true;
    }
    let is_callable = object.is_callable() && !object.is_instance_of::<PyType>() && !is_disabled(object);
    is_callable && !object.is_instance_of::<HostObject>()
}

/// Returns whether an object stands for a module that is not enabled.
fn is_disabled(object: Borrowed<'_, '_, PyAny>) -> bool {
    let class = Prelude::get(object.py()).and_then(|prelude| prelude.item(object.py(), "Disabled"));
    class.is_ok_and(|class| object.get_type().is(&class))
}

/// The error for a slot without a function.
#[cold]
pub(crate) fn not_kept() -> ScriptError {
    ScriptError::new(ErrorCode::FunctionGone, "the function is kept no longer")
}
