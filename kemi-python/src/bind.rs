//! The root object: the tree of modules that scripts see, and what stands behind each function in it.

use std::cell::Cell;
use std::ffi::CString;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use kemi_core::ScriptError;
use kemi_core::export::Typed;
use kemi_core::registry::{Export, RegistryData};
use pyo3::exceptions::PyAttributeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyCFunction, PyDict, PyModule, PyTuple};

use crate::current::{CallView, HeldView};
use crate::error;
use crate::prelude::Prelude;

/// The link from function objects to their instance, for as long as that is there.
pub(crate) struct InstanceRef {
    thread: u64,
    target: AtomicPtr<CallView>,
}

impl InstanceRef {
    pub(crate) fn new() -> Arc<InstanceRef> {
        Arc::new(InstanceRef { thread: thread(), target: AtomicPtr::new(ptr::null_mut()) })
    }

    /// Connects the function objects with an instance of the thread that has created the link.
    ///
    /// # Safety
    /// The caller disconnects them before the view goes.
    pub(crate) unsafe fn connect(&self, view: &CallView) {
        self.target.store(ptr::from_ref(view).cast_mut(), Ordering::Relaxed);
    }

    /// Makes the functions fail from now on.
    pub(crate) fn disconnect(&self) {
        self.target.store(ptr::null_mut(), Ordering::Relaxed);
    }

    /// Returns whether it leads to an instance that is in use on the calling thread.
    #[inline]
    pub(crate) fn leads_to(&self, view: *const CallView) -> bool {
        self.target.load(Ordering::Relaxed).cast_const() == view
    }

    /// Returns the instance.
    ///
    /// # Errors
    /// Why it cannot be used, for the script.
    #[cold]
    #[inline(never)]
    pub(crate) fn follow(&self) -> Result<HeldView, &'static str> {
        if self.thread != thread() {
            return Err("called from a thread that the script started; call it from the callback's own thread");
        }
        let target = self.target.load(Ordering::Relaxed);
        if target.is_null() {
            return Err("called after its script was unloaded");
        }
        // SAFETY: the view was set on this thread, and `disconnect` comes before it goes.
        Ok(unsafe { &*target }.hold())
    }
}

/// Returns a number for the calling thread that no other thread of the process ever has.
fn thread() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    thread_local!(static NUMBER: Cell<u64> = const { Cell::new(0) });
    if NUMBER.get() == 0 {
        NUMBER.set(NEXT.fetch_add(1, Ordering::Relaxed));
    }
    NUMBER.get()
}

/// The `self` of a function object: its export, and the link to its instance.
///
/// It owns the definition that the function object points to, and Python frees it after the function.
#[pyclass(frozen, name = "Export", module = "kemi")]
pub(crate) struct BoundExport {
    instance: Arc<InstanceRef>,
    registry: Arc<RegistryData>,
    export: Export,
    typed: Option<Typed>,
    _name: CString,
    _doc: CString,
    method: ffi::PyMethodDef,
}

// SAFETY: the pointers in `method` lead to static functions and to its own strings, which never change.
unsafe impl Send for BoundExport {}
// SAFETY: as above; nothing in it changes but the target of the link, which is atomic.
unsafe impl Sync for BoundExport {}

impl BoundExport {
    #[inline]
    pub(crate) fn instance(&self) -> &InstanceRef {
        &self.instance
    }

    #[inline]
    pub(crate) fn export(&self) -> &Export {
        &self.export
    }

    /// Returns the typed entry, if calls go by one.
    #[inline]
    pub(crate) fn typed(&self) -> Option<&Typed> {
        self.typed.as_ref()
    }

    /// Returns the function's name as scripts write it.
    pub(crate) fn script_name(&self) -> String {
        self.registry.script_name(self.export.def())
    }
}

/// Chooses the C function for the typed entry of an export, or for its generic one.
pub(crate) type Entries = fn(Option<&Typed>) -> ffi::PyCFunctionFast;

/// Builds the root object of one instance.
///
/// # Errors
/// What Python raised.
pub(crate) fn root_object<'py>(
    py: Python<'py>,
    registry: &Arc<RegistryData>,
    instance: &Arc<InstanceRef>,
    entries: Entries,
) -> PyResult<Bound<'py, PyModule>> {
    let prelude = Prelude::get(py)?;
    let root = PyModule::new(py, registry.root())?;
    root.setattr("__dir__", prelude.call(py, "directory", (&root,))?)?;
    root.setattr("Error", prelude.item(py, "Error")?)?;
    // The root's own functions come first: their module's name is empty.
    for (name, exports) in registry.modules() {
        let module = if name.is_empty() {
            root.clone()
        } else {
            let module = PyModule::new(py, &format!("{}.{name}", registry.root()))?;
            root.setattr(name, &module)?;
            module
        };
        for export in exports {
            module.setattr(export.def().name, function(py, registry, instance, export, entries)?)?;
        }
    }
    let explain = not_enabled(py, registry)?;
    for name in registry.disabled_modules() {
        root.setattr(name, prelude.call(py, "Disabled", (name, &explain))?)?;
    }
    Ok(root)
}

/// Explains why a module of the tree does not have an attribute; `None` if it was another object that was asked.
pub(crate) fn explain_unknown(
    registry: &RegistryData,
    root: &Bound<'_, PyModule>,
    raised: &PyErr,
) -> Option<ScriptError> {
    let py = root.py();
    if !raised.is_instance_of::<PyAttributeError>(py) {
        return None;
    }
    let object = raised.value(py).getattr("obj").ok()?.cast_into::<PyModule>().ok()?;
    let name: String = raised.value(py).getattr("name").ok()?.extract().ok()?;
    if object.is(root) {
        return Some(registry.explain_unknown(&name, None));
    }
    let path: String = object.name().ok()?.extract().ok()?;
    let module = path.rsplit('.').next()?;
    let of_tree = root.dict().get_item(module).ok()??.is(&object);
    of_tree.then(|| registry.explain_unknown(module, Some(&name)))
}

fn function<'py>(
    py: Python<'py>,
    registry: &Arc<RegistryData>,
    instance: &Arc<InstanceRef>,
    export: &Export,
    entries: Entries,
) -> PyResult<Bound<'py, PyAny>> {
    let def = export.def();
    // A deprecated export warns, which the generic path does.
    let typed = export.typed().filter(|_| def.deprecated.is_none());
    let params: Vec<String> = def.params.iter().map(|p| format!("{}: {}", p.name, p.ty)).collect();
    let doc = format!("{}({}) -> {}\n\n{}", registry.script_name(def), params.join(", "), def.returns, def.doc.trim());
    let name = CString::new(def.name)?;
    let doc = CString::new(doc)?;
    let method = ffi::PyMethodDef {
        ml_name: name.as_ptr(),
        ml_meth: ffi::PyMethodDefPointer { PyCFunctionFast: entries(typed.as_ref()) },
        ml_flags: ffi::METH_FASTCALL,
        ml_doc: doc.as_ptr(),
    };
    let (registry, instance) = (registry.clone(), instance.clone());
    let bound = BoundExport { instance, registry, export: export.clone(), typed, _name: name, _doc: doc, method };
    let bound = Bound::new(py, bound)?;
    let method = (&raw const bound.get().method).cast_mut();
    // SAFETY: the function object gets the definition inside the export, which does not move, and keeps the export, its
    // `self`, until it has no more use for the definition. The result is a new reference or null.
    unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyCFunction_NewEx(method, bound.as_ptr(), ptr::null_mut())) }
}

/// Makes the function that turns the name of a module that is not enabled into the exception to raise.
fn not_enabled<'py>(py: Python<'py>, registry: &Arc<RegistryData>) -> PyResult<Bound<'py, PyCFunction>> {
    let registry = registry.clone();
    PyCFunction::new_closure(
        py,
        Some(c"not_enabled"),
        None,
        move |args: &Bound<'_, PyTuple>, _named: Option<&Bound<'_, PyDict>>| -> PyResult<Py<PyAny>> {
            let (module,): (String,) = args.extract()?;
            let error = registry.explain_unknown(&module, None);
            let text = match &error.hint {
                Some(hint) => format!("{}; {hint}", error.message),
                None => error.message.clone(),
            };
            error::exception(args.py(), "NotEnabled", &text, error).map(Bound::unbind)
        },
    )
}
