//! The root object: the tree of modules that scripts see, and what stands behind each function in it.

use std::cell::Cell;
use std::ffi::CString;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use kemi_core::engine::Runtime;
use kemi_core::export::{ExportDef, Typed};
use kemi_core::registry::{Export, Module, RegistryData};
use kemi_core::{ScriptError, Value};
use pyo3::exceptions::PyAttributeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyCFunction, PyDict, PyModule, PyTuple};

use crate::current::{CallView, HeldView};
use crate::objects::Objects;
use crate::prelude::Prelude;
use crate::{error, string, value};

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
    /// How Python calls the function object where no argument is named.
    positional: OnceLock<ffi::vectorcallfunc>,
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

    /// Returns how Python calls the function object where no argument is named.
    #[inline]
    pub(crate) fn positional(&self) -> Option<ffi::vectorcallfunc> {
        self.positional.get().copied()
    }

    /// Words the function as its definition does.
    pub(crate) fn signature(&self) -> String {
        signature(&self.registry, self.export.def())
    }

    /// Returns the function's name as scripts write it.
    pub(crate) fn script_name(&self) -> String {
        self.registry.script_name(self.export.def())
    }
}

/// How Python calls exports.
pub(crate) struct Entries {
    /// Chooses the C function for the typed entry of an export, or for its generic one.
    pub(crate) positional: fn(Option<&Typed>) -> ffi::PyCFunctionFast,
    /// The C function for calls that may name arguments.
    pub(crate) named: ffi::vectorcallfunc,
}

/// Builds the root object of one instance.
///
/// # Errors
/// What Python raised.
pub(crate) fn root_object<'py>(
    py: Python<'py>,
    runtime: &Runtime,
    objects: &Objects,
) -> PyResult<Bound<'py, PyModule>> {
    let prelude = Prelude::get(py)?;
    let registry = runtime.registry();
    let root = bind_module(py, runtime, objects, registry.module())?;
    root.setattr("__dir__", prelude.call(py, "directory", (&root,))?)?;
    root.setattr("Error", prelude.item(py, "Error")?)?;
    let explain = not_enabled(py, registry)?;
    for path in registry.disabled_modules() {
        bind_disabled(py, &root, path, &explain)?;
    }
    Ok(root)
}

/// Makes the object of a module, with all within it.
fn bind_module<'py>(
    py: Python<'py>,
    runtime: &Runtime,
    objects: &Objects,
    module: &Module,
) -> PyResult<Bound<'py, PyModule>> {
    let registry = runtime.registry();
    let path = below(registry.root(), module.path());
    let object = PyModule::new(py, &path)?;
    for child in module.modules() {
        object.setattr(child.name(), bind_module(py, runtime, objects, child)?)?;
    }
    for constant in module.constants() {
        let name = constant.def().name;
        object.setattr(name, bind_constant(py, runtime, objects, &below(&path, name), constant.value())?)?;
    }
    let exports = registry.exports().get(module.exports()).unwrap_or(&[]);
    // Properties and operators are reached through an object only.
    for export in exports.iter().filter(|export| export.def().is_function()) {
        object.setattr(export.def().name, function(py, registry, objects.instance(), export, objects.entries())?)?;
    }
    Ok(object)
}

/// Makes the object of a constant that nobody can change: a map is a module of its own.
fn bind_constant<'py>(
    py: Python<'py>,
    runtime: &Runtime,
    objects: &Objects,
    path: &str,
    value: &Value,
) -> PyResult<Bound<'py, PyAny>> {
    match value {
        Value::Map(map) => {
            let object = PyModule::new(py, path)?;
            for (key, value) in map {
                let value = bind_constant(py, runtime, objects, &below(path, &key.to_string()), value)?;
                object.dict().set_item(string::from_bytes(py, key)?, value)?;
            }
            Ok(object.into_any())
        }
        Value::Array(items) => {
            let items = items.iter().map(|item| bind_constant(py, runtime, objects, path, item));
            PyTuple::new(py, items.collect::<PyResult<Vec<_>>>()?).map(Bound::into_any)
        }
        Value::Object(object) => objects.give(py, runtime, object),
        scalar => value::from_scalar(py, &scalar.into()),
    }
}

/// Puts a stand-in where a module would be that is not enabled, or the outermost one around it that is not there.
fn bind_disabled(
    py: Python<'_>,
    root: &Bound<'_, PyModule>,
    path: &str,
    explain: &Bound<'_, PyCFunction>,
) -> PyResult<()> {
    let prelude = Prelude::get(py)?;
    let mut module = root.clone();
    for name in path.split('.') {
        match module.dict().get_item(name)? {
            None => {
                module.setattr(name, prelude.call(py, "Disabled", (path, explain))?)?;
                return module.setattr("__dir__", prelude.call(py, "directory", (&module,))?);
            }
            Some(found) => match found.cast_into::<PyModule>() {
                Ok(found) => module = found,
                // The stand-in of one that this is in.
                Err(_) => break,
            },
        }
    }
    Ok(())
}

/// Returns the path of a name below another one.
pub(crate) fn below(path: &str, name: &str) -> String {
    if name.is_empty() { path.to_owned() } else { format!("{path}.{name}") }
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
    let path = path.strip_prefix(registry.root())?.strip_prefix('.')?;
    let mut of_tree = root.clone();
    for name in path.split('.') {
        of_tree = of_tree.dict().get_item(name).ok()??.cast_into::<PyModule>().ok()?;
    }
    of_tree.is(&object).then(|| registry.explain_unknown(path, Some(&name)))
}

/// Words an export as its definition does.
fn signature(registry: &RegistryData, def: &ExportDef) -> String {
    let params: Vec<String> = def.params.iter().map(|p| format!("{}: {}", p.name, p.ty)).collect();
    format!("{}({}) -> {}", registry.script_name(def), params.join(", "), def.returns)
}

/// Makes the function object of an export.
///
/// # Errors
/// What Python raised.
pub(crate) fn function<'py>(
    py: Python<'py>,
    registry: &Arc<RegistryData>,
    instance: &Arc<InstanceRef>,
    export: &Export,
    entries: &Entries,
) -> PyResult<Bound<'py, PyAny>> {
    let def = export.def();
    // A deprecated export warns, which the generic path does.
    let typed = export.typed().filter(|_| def.deprecated.is_none());
    let name = CString::new(def.name)?;
    let doc = CString::new(format!("{}\n\n{}", signature(registry, def), def.doc.trim()))?;
    let method = ffi::PyMethodDef {
        ml_name: name.as_ptr(),
        ml_meth: ffi::PyMethodDefPointer { PyCFunctionFast: (entries.positional)(typed.as_ref()) },
        ml_flags: ffi::METH_FASTCALL,
        ml_doc: doc.as_ptr(),
    };
    let (registry, instance) = (registry.clone(), instance.clone());
    let positional = OnceLock::new();
    let bound =
        BoundExport { instance, registry, export: export.clone(), typed, positional, _name: name, _doc: doc, method };
    let bound = Bound::new(py, bound)?;
    let method = (&raw const bound.get().method).cast_mut();
    // SAFETY: the function object gets the definition inside the export, which does not move, and keeps the export, its
    // `self`, until it has no more use for the definition. The result is a new reference or null.
    let function =
        unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyCFunction_NewEx(method, bound.as_ptr(), ptr::null_mut()))? };
    // Python's byte code calls the function of the definition past this where no argument is named. With a flag for names
    // in the definition, each call would have to look for them.
    let object = function.as_ptr().cast::<ffi::PyCFunctionObject>();
    // SAFETY: the object is of that type and known here only. It is called through this field by others than the byte code,
    // and `named` does for positional arguments what was in it.
    unsafe {
        if let Some(positional) = (*object).vectorcall {
            let _ = bound.get().positional.set(positional);
            (*object).vectorcall = Some(entries.named);
        }
    }
    Ok(function)
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
