//! Objects of the host as Python has them: each is of a Python class that stands for its class, and holds a place in the table of
//! handles of its instance.

use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kemi_core::engine::{HeldObject, Runtime};
use kemi_core::export::{Operator, Role};
use kemi_core::registry::{Export, RegistryData};
use kemi_core::value::{Class, Type};
use kemi_core::{ErrorCode, Object, ScriptError};
use pyo3::basic::CompareOp;
use pyo3::exceptions::{PyAttributeError, PyTypeError};
use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyDict, PyString, PyTuple, PyType};

use crate::bind::{self, Entries, InstanceRef};
use crate::current;
use crate::error;
use crate::prelude::GcPause;

/// The objects of the host that the script of one instance holds, and the classes that it knows them by.
///
/// It is a part of the instance's state, which no object of Python owns: what is left in Python when the instance is unloaded holds
/// nothing of the host's any more, however long Python's garbage collector leaves it.
pub(crate) struct Objects {
    instance: Arc<InstanceRef>,
    entries: &'static Entries,
    handles: Arc<Handles>,
    /// The classes of which an object has come to the script.
    classes: RefCell<Vec<BoundClass>>,
}

/// A class of the host as a class of Python.
pub(crate) struct BoundClass {
    class: Py<PyType>,
    link: Arc<ClassLink>,
}

impl Objects {
    pub(crate) fn new(instance: Arc<InstanceRef>, entries: &'static Entries) -> Objects {
        Objects { instance, entries, handles: Arc::default(), classes: RefCell::default() }
    }

    pub(crate) fn instance(&self) -> &Arc<InstanceRef> {
        &self.instance
    }

    pub(crate) fn entries(&self) -> &'static Entries {
        self.entries
    }

    /// Makes the Python object of an object of the host.
    ///
    /// It may run the host's part of the end of others; see [`Runtime::hold`].
    ///
    /// # Errors
    /// What Python raised, such as being out of memory.
    pub(crate) fn give<'py>(&self, py: Python<'py>, runtime: &Runtime, object: &Object) -> PyResult<Bound<'py, PyAny>> {
        let (class, link) = self.class(py, runtime.registry(), object.class())?;
        let (place, held) = self.handles.put(runtime.hold(object.clone()));
        NEXT.set(Some(HostObject { link, place, held: AtomicPtr::new(held) }));
        let made = class.call0();
        // It is still there only if Python had no memory for it.
        drop(NEXT.take());
        made
    }

    /// Takes the classes out, to be dropped where what refers to them may run code of the script.
    pub(crate) fn take_classes(&self) -> Vec<BoundClass> {
        self.classes.take()
    }

    /// Returns the Python class of a class, which is made once.
    fn class<'py>(
        &self,
        py: Python<'py>,
        registry: &Arc<RegistryData>,
        class: &'static Class,
    ) -> PyResult<(Bound<'py, PyType>, Arc<ClassLink>)> {
        if let Some(known) = self.classes.borrow().iter().find(|known| known.link.class == class) {
            return Ok((known.class.bind(py).clone(), known.link.clone()));
        }
        self.bind(py, registry, class)
    }

    #[cold]
    fn bind<'py>(
        &self,
        py: Python<'py>,
        registry: &Arc<RegistryData>,
        class: &'static Class,
    ) -> PyResult<(Bound<'py, PyType>, Arc<ClassLink>)> {
        // No code of the script runs meanwhile, which could be given an object of this class.
        let _no_collections = GcPause::begin(py);
        let scope = PyDict::new(py);
        // Without any, and so without room for attributes of the script's.
        scope.set_item("__slots__", PyTuple::empty(py))?;
        scope.set_item("__module__", bind::below(registry.root(), class.module))?;
        scope.set_item("__doc__", class.doc)?;
        let mut setters = Vec::new();
        let mut equal = None;
        for (export, role) in registry.members(class) {
            let function = || bind::function(py, registry, &self.instance, export, self.entries);
            match role {
                Role::Static => {}
                Role::Method => scope.set_item(export.def().name, method(&function()?)?)?,
                Role::Getter(name) => {
                    scope.set_item(name, Property { getter: function()?.unbind() }.into_pyobject(py)?)?
                }
                Role::Setter(name) => setters.push((name, function()?.unbind())),
                Role::Operator(Operator::Equal) => {
                    equal = Some(Equal::new(export, function()?.unbind()));
                    scope.set_item("__hash__", py.None())?;
                }
                Role::Operator(operator) => bind_operator(&scope, operator, &function)?,
            }
        }
        let made = py.get_type::<PyType>().call1((class.name, (base(py)?,), scope))?;
        let made = made.cast_into::<PyType>().map_err(PyErr::from)?;
        freeze(&made, true);
        let (registry, instance, handles) = (registry.clone(), self.instance.clone(), self.handles.clone());
        let link = Arc::new(ClassLink { class, registry, instance, handles, setters, equal });
        self.classes.borrow_mut().push(BoundClass { class: made.clone().unbind(), link: link.clone() });
        Ok((made, link))
    }
}

impl Drop for Objects {
    fn drop(&mut self) {
        self.handles.clear();
    }
}

/// Adds what stands behind an operator to the scope of a class.
fn bind_operator<'py>(
    scope: &Bound<'py, PyDict>,
    operator: Operator,
    function: &dyn Fn() -> PyResult<Bound<'py, PyAny>>,
) -> PyResult<()> {
    let name = match operator {
        Operator::Call => "__call__",
        Operator::Index => {
            // Python would call the function with 0, 1, 2 and so on.
            scope.set_item("__iter__", scope.py().None())?;
            scope.set_item("__contains__", scope.py().None())?;
            "__getitem__"
        }
        Operator::SetIndex => "__setitem__",
        Operator::Length => "__len__",
        Operator::Text => "__str__",
        _ => return Ok(()),
    };
    scope.set_item(name, method(&function()?)?)
}

/// Wraps a function object so that it is bound to the object through which it is read; Python's own built-in functions are not.
fn method<'py>(function: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    unsafe extern "C" {
        /// Of Python's `classobject.h`.
        fn PyInstanceMethod_New(function: *mut PyObject) -> *mut PyObject;
    }
    // SAFETY: the thread is attached; it takes its own reference, and the result is a new one or null with an exception.
    unsafe { Bound::from_owned_ptr_or_err(function.py(), PyInstanceMethod_New(function.as_ptr())) }
}

/// Returns the class that all classes of objects derive from.
fn base(py: Python<'_>) -> PyResult<Bound<'_, PyType>> {
    static FROZEN: PyOnceLock<()> = PyOnceLock::new();
    let base = py.get_type::<HostObject>();
    FROZEN.get_or_init(py, || {
        freeze(&base, false);
        freeze(&py.get_type::<Property>(), true);
    });
    Ok(base)
}

/// Keeps scripts from changing a class, and from deriving others if it is final. Before Python 3.10 classes can be changed.
fn freeze(class: &Bound<'_, PyType>, is_final: bool) {
    #[cfg(all(Py_3_10, not(Py_GIL_DISABLED)))]
    // SAFETY: the thread is attached, the class is alive, and no script has it yet. The flags only forbid what they name.
    unsafe {
        let class = class.as_type_ptr();
        (*class).tp_flags |= ffi::Py_TPFLAGS_IMMUTABLETYPE;
        if is_final {
            (*class).tp_flags &= !ffi::Py_TPFLAGS_BASETYPE;
        }
        ffi::PyType_Modified(class);
    }
    #[cfg(not(all(Py_3_10, not(Py_GIL_DISABLED))))]
    let _ = (class, is_final);
}

/// What an object knows of its class.
struct ClassLink {
    class: &'static Class,
    registry: Arc<RegistryData>,
    instance: Arc<InstanceRef>,
    handles: Arc<Handles>,
    setters: Vec<(&'static str, Py<PyAny>)>,
    equal: Option<Equal>,
}

/// The function behind `==`.
struct Equal {
    function: Py<PyAny>,
    /// The class of its parameter, if it takes objects only.
    takes: Option<&'static Class>,
}

impl Equal {
    fn new(export: &Export, function: Py<PyAny>) -> Equal {
        let takes = match export.def().params.last().map(|param| param.ty) {
            Some(Type::Object(class)) => Some(class),
            _ => None,
        };
        Equal { function, takes }
    }

    fn takes(&self, other: Option<&HostObject>) -> bool {
        self.takes.is_none_or(|class| other.is_some_and(|other| other.class() == class))
    }
}

/// Borrows the object of the host behind an object of Python; `None` unless it is one of the instance whose call is innermost on this
/// thread.
///
/// # Safety
/// The object stays alive as long as the result is used, which is not after that call; the thread is attached.
#[inline]
pub(crate) unsafe fn borrow<'a>(object: *mut PyObject) -> Option<&'a Object> {
    // SAFETY: as the caller's.
    let object = unsafe { Borrowed::from_ptr(Python::assume_attached(), object) };
    let object = object.cast::<HostObject>().ok()?;
    let object = object.get();
    let innermost = current::pointer();
    if innermost.is_null() || !object.link.instance.leads_to(innermost) {
        return None;
    }
    // SAFETY: the handle is in the table until the object goes, which the caller keeps, or the instance's state, which stays
    // until the innermost call is over. It is behind an `Arc`, so nothing but these two ends or moves it.
    Some(unsafe { &*object.held.load(Ordering::Relaxed) })
}

thread_local! {
    /// The object that is being made: the constructor takes it, and a call of it by a script finds nothing.
    static NEXT: Cell<Option<HostObject>> = const { Cell::new(None) };
}

/// An object of the host, in Python.
#[pyclass(frozen, subclass, name = "Object", module = "kemi")]
pub(crate) struct HostObject {
    link: Arc<ClassLink>,
    /// The place of its handle.
    place: usize,
    /// The handle itself, which does not move and is there until the object or the instance goes.
    held: AtomicPtr<HeldObject>,
}

impl HostObject {
    pub(crate) fn class(&self) -> &'static Class {
        self.link.class
    }

    /// Returns the object; `None` if its script was unloaded.
    pub(crate) fn object(&self) -> Option<Object> {
        self.link.handles.get(self.place)
    }

    fn is_same(&self, other: &HostObject) -> bool {
        self.object().is_some_and(|object| other.object() == Some(object))
    }
}

impl Drop for HostObject {
    fn drop(&mut self) {
        self.link.handles.remove(self.place);
    }
}

#[pymethods]
impl HostObject {
    #[new]
    #[pyo3(signature = (*_args, **_named))]
    fn new(_args: &Bound<'_, PyTuple>, _named: Option<&Bound<'_, PyDict>>) -> PyResult<HostObject> {
        NEXT.take().ok_or_else(|| PyTypeError::new_err("objects of the host are made by its functions only"))
    }

    fn __getattr__(&self, py: Python<'_>, name: &Bound<'_, PyString>) -> PyResult<Py<PyAny>> {
        let name = name.to_string_lossy();
        // What Python itself asks for.
        if name.starts_with("__") && name.ends_with("__") {
            let text = format!("'{}' object has no attribute '{name}'", self.class().name);
            return Err(PyAttributeError::new_err(text));
        }
        Err(member_error(py, self.link.registry.explain_member(self.class(), &name)))
    }

    fn __setattr__(slf: &Bound<'_, Self>, name: &Bound<'_, PyString>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        let link = &slf.get().link;
        let name = name.to_string_lossy();
        match link.setters.iter().find(|(known, _)| *known == name) {
            Some((_, setter)) => setter.call1(slf.py(), (slf, value)).map(drop),
            None => Err(member_error(slf.py(), link.registry.explain_assignment(link.class, &name))),
        }
    }

    fn __delattr__(&self, py: Python<'_>, name: &Bound<'_, PyString>) -> PyResult<()> {
        let name = name.to_string_lossy();
        let mut error = self.link.registry.explain_assignment(self.class(), &name);
        if error.code == ErrorCode::ReadOnly {
            error.message = format!("'{name}' of a {} cannot be deleted", self.class().name);
        }
        Err(member_error(py, error))
    }

    /// The host's text, unless the object is gone.
    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let this = slf.get();
        let name = this.class().name;
        let Some(object) = this.object() else { return Ok(format!("<{name} of a script that was unloaded>")) };
        let has_text = this.link.registry.operator(this.class(), Operator::Text).is_some();
        if has_text && !object.is_gone() {
            return slf.str().map(|text| text.to_string_lossy().into_owned());
        }
        Ok(format!("<{object:?}>"))
    }

    fn __richcmp__(slf: &Bound<'_, Self>, other: &Bound<'_, PyAny>, operation: CompareOp) -> PyResult<Py<PyAny>> {
        let py = slf.py();
        let negated = match operation {
            CompareOp::Eq => false,
            CompareOp::Ne => true,
            _ => return Ok(py.NotImplemented()),
        };
        let of_host = other.cast::<HostObject>().ok();
        let equal = match (&slf.get().link.equal, of_host) {
            (Some(equal), of_host) if equal.takes(of_host.map(Bound::get)) => {
                equal.function.bind(py).call1((slf, other))?.is_truthy()?
            }
            (None, Some(of_host)) => slf.is(other) || slf.get().is_same(of_host.get()),
            _ => return Ok(py.NotImplemented()),
        };
        Ok(PyBool::new(py, equal != negated).to_owned().into_any().unbind())
    }

    fn __hash__(&self) -> usize {
        self.object().map_or(0, |object| object.address())
    }

    /// Refuses `copy` and `pickle`.
    fn __reduce_ex__(&self, _protocol: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        let name = self.class().name;
        Err(PyTypeError::new_err(format!("a {name} is an object of the host, which cannot be copied or pickled")))
    }
}

/// A property of a class.
#[pyclass(frozen, name = "Property", module = "kemi")]
struct Property {
    getter: Py<PyAny>,
}

#[pymethods]
impl Property {
    fn __get__<'py>(
        slf: &Bound<'py, Self>,
        object: Option<&Bound<'py, PyAny>>,
        _class: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        match object {
            Some(object) => slf.get().getter.bind(slf.py()).call1((object,)),
            None => Ok(slf.clone().into_any()),
        }
    }
}

/// Makes the exception for a member that an object does not have.
#[cold]
fn member_error(py: Python<'_>, mut error: ScriptError) -> PyErr {
    let text = match &error.hint {
        Some(hint) => format!("{}; {hint}", error.message),
        None => error.message.clone(),
    };
    error.place = error::place(py);
    error::exception(py, "MemberError", &text, error).map_or_else(|failed| failed, PyErr::from_value)
}

/// The handles of an instance by place.
///
/// The thread is attached wherever it is used, so no fork finds it locked.
#[derive(Default)]
struct Handles(Mutex<Places>);

#[derive(Default)]
struct Places {
    held: Vec<Option<Arc<HeldObject>>>,
    free: Vec<usize>,
}

impl Handles {
    fn places(&self) -> MutexGuard<'_, Places> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, held: HeldObject) -> (usize, *mut HeldObject) {
        let held = Arc::new(held);
        let pointer = Arc::as_ptr(&held).cast_mut();
        let places = &mut *self.places();
        if let Some(place) = places.free.pop()
            && let Some(slot) = places.held.get_mut(place)
        {
            *slot = Some(held);
            return (place, pointer);
        }
        places.held.push(Some(held));
        (places.held.len() - 1, pointer)
    }

    fn get(&self, place: usize) -> Option<Object> {
        Some(Object::clone(self.places().held.get(place)?.as_deref()?))
    }

    fn remove(&self, place: usize) {
        let places = &mut *self.places();
        if places.held.get_mut(place).and_then(Option::take).is_some() {
            places.free.push(place);
        }
    }

    fn clear(&self) {
        *self.places() = Places::default();
    }
}
