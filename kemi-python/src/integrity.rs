//! The root object, looked at after a callback and put back.

use std::cell::Cell;

use kemi_core::telemetry::log_guarded;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyModule, PyString};

use crate::call::CallFrame;
use crate::import::Namespace;
use crate::prelude::Prelude;

/// The root object of an instance as it was bound.
pub(crate) struct RootCheck {
    name: Py<PyString>,
    root: Py<PyModule>,
    globals: Py<PyDict>,
    /// Whether a callback had replaced it.
    replaced: Cell<bool>,
}

impl RootCheck {
    pub(crate) fn new(
        name: &Bound<'_, PyString>,
        root: &Bound<'_, PyModule>,
        globals: &Bound<'_, PyDict>,
    ) -> RootCheck {
        RootCheck {
            name: name.clone().unbind(),
            root: root.clone().unbind(),
            globals: globals.clone().unbind(),
            replaced: Cell::new(false),
        }
    }

    pub(crate) fn root<'py>(&self, py: Python<'py>) -> &Bound<'py, PyModule> {
        self.root.bind(py)
    }

    /// Puts the root object back into the global scope if the script has replaced it.
    pub(crate) fn restore_global(&self, py: Python<'_>) {
        let (name, root) = (self.name.bind(py), self.root.bind(py));
        let globals = self.globals.bind(py);
        if globals.get_item(name).is_ok_and(|found| found.is_none_or(|found| !found.is(root))) {
            // It fails only for lack of memory; the next call tries again.
            self.replaced.set(globals.set_item(name, root).is_ok());
        }
    }

    /// Returns whether the root object was put back since this was asked last.
    pub(crate) fn take_replaced(&self) -> bool {
        self.replaced.take()
    }

    /// Returns whether the root object was put back and nobody has asked since.
    pub(crate) fn was_replaced(&self) -> bool {
        self.replaced.get()
    }

    /// Compares all that was bound with what there is, and puts it back; returns the names of what was replaced below the
    /// root object.
    pub(crate) fn restore_tree(&self, py: Python<'_>, namespace: &Namespace, engine: &'static str) -> Vec<String> {
        let _frame = CallFrame::of_engine(py);
        self.restore_global(py);
        let replaced = Prelude::get(py)
            .and_then(|prelude| prelude.call(py, "restore_tree", (namespace.object(py),)))
            .and_then(|names| names.extract());
        replaced.unwrap_or_else(|error| {
            log_guarded(|| tracing::warn!(target: "kemi", engine, "comparing the root object: {error}"));
            Vec::new()
        })
    }
}
