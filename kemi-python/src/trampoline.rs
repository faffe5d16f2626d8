//! The C functions that Python calls: one for each shape of signature, and one for all others.

use std::ffi::c_int;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

use kemi_core::abi::{Kind, RawArg, RawBytes, RawObject, RawOut, RawRet, Ret, Shape};
use kemi_core::export::{Param, Typed};
use kemi_core::{Arg, ErrorCode, NativeError, ScriptError};
use pyo3::ffi::{self, Py_ssize_t, PyObject};
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};

use crate::bind::{BoundExport, Entries};
use crate::current::{self, CallView};
use crate::error;
use crate::objects;
use crate::terminate;
use crate::{string, value};

/// How Python calls exports.
pub(crate) const ENTRIES: Entries = Entries { positional: entry, named };

/// Returns the C function for the typed entry of an export, or the one for every signature.
fn entry(typed: Option<&Typed>) -> ffi::PyCFunctionFast {
    typed.map_or(generic, |typed| of_shape(typed.shape()))
}

/// Returns the entry that reads the arguments of a shape straight from Python's stack.
fn of_shape(shape: Shape) -> ffi::PyCFunctionFast {
    macro_rules! entry {
        ($entry:ident ($($ty:ty),*) $result:ty) => {
            if shape == Shape::of(&[$(<$ty as RawArg>::KIND),*], <$result as RawRet>::KIND) {
                return $entry::<$($ty,)* $result>;
            }
        };
    }
    macro_rules! lists {
        ($($entry:ident $types:tt;)*) => {$(
            entry!($entry $types ());
            entry!($entry $types bool);
            entry!($entry $types i64);
            entry!($entry $types f64);
            entry!($entry $types RawOut);
            entry!($entry $types Ret);
        )*};
    }
    lists! {
        typed0 ();
        typed1 (i64);
        typed1 (RawBytes);
        typed1 (bool);
        typed1 (f64);
        typed2 (i64, i64);
        typed2 (RawBytes, i64);
        typed2 (RawBytes, RawBytes);
        typed2 (i64, RawBytes);
        typed3 (RawBytes, RawBytes, RawBytes);
        typed3 (RawBytes, RawBytes, i64);
        typed1 (RawObject);
        typed2 (RawObject, i64);
        typed2 (RawObject, RawBytes);
    }
    listed
}

/// A call on its way.
struct Call<'a, 'py> {
    py: Python<'py>,
    args: *const *mut PyObject,
    count: Py_ssize_t,
    bound: &'a BoundExport,
    view: &'a CallView,
}

impl Call<'_, '_> {
    /// Returns the arguments.
    #[inline]
    fn args(&self) -> &[*mut PyObject] {
        match usize::try_from(self.count) {
            // SAFETY: Python passes this many arguments.
            Ok(count) if count > 0 => unsafe { std::slice::from_raw_parts(self.args, count) },
            _ => &[],
        }
    }

    /// Calls by the typed entry.
    #[inline(always)]
    fn typed<R: IntoObject>(&self, call: impl FnOnce(*mut ()) -> Result<R, Box<NativeError>>) -> *mut PyObject {
        // SAFETY: the function was bound for an export of this runtime's registry. Only the script calls it, and whoever runs
        // the script from within a native function has taken the context out of its slot. `call` is the typed entry.
        match unsafe { self.view.runtime().typed(self.bound.export(), || self.view.interpreter().place(), call) } {
            Ok(result) => result.into_object(self),
            Err(fault) => self.settle(fault),
        }
    }

    #[cold]
    #[inline(never)]
    fn generic(&self) -> *mut PyObject {
        let borrow = |&object: &*mut PyObject| {
            // SAFETY: Python holds a reference to each argument during the call.
            unsafe { Borrowed::from_ptr(self.py, object) }
        };
        let run = |args: &[Arg<'_>]| self.view.runtime().invoke(self.bound.export(), args, self.view.interpreter());
        let params = self.bound.export().def().params;
        let result = match self.args() {
            // The commonest counts need no list on the heap.
            [] => value::with_args(self.view, params, &[], run),
            [a] => value::with_args(self.view, params, &[borrow(a)], run),
            [a, b] => value::with_args(self.view, params, &[borrow(a), borrow(b)], run),
            [a, b, c] => value::with_args(self.view, params, &[borrow(a), borrow(b), borrow(c)], run),
            many => value::with_args(self.view, params, &many.iter().map(borrow).collect::<Vec<_>>(), run),
        };
        match result {
            Ok(Ok(ret)) => ret.into_object(self),
            Ok(Err(fault)) => self.raise(*fault),
            Err(error) => self.settle(error.into()),
        }
    }

    #[cold]
    fn settle(&self, fault: Box<NativeError>) -> *mut PyObject {
        match self.view.runtime().finish_error(self.bound.export(), fault, self.view.interpreter()) {
            Ok(ret) => ret.into_object(self),
            Err(fault) => self.raise(*fault),
        }
    }

    /// Raises that a result has no object in Python.
    #[cold]
    fn refuse(&self, raised: PyErr) -> *mut PyObject {
        // Such as a function of a script that is gone.
        if let Some(error) = error::carried(self.py, raised.value(self.py).as_any()) {
            return self.settle(error.into());
        }
        raised.restore(self.py);
        ptr::null_mut()
    }

    #[cold]
    fn raise(&self, fault: NativeError) -> *mut PyObject {
        match fault {
            NativeError::Exit | NativeError::Drop => terminate::raise(self.py),
            NativeError::Error(error) => error::raise(self.py, error),
        }
        ptr::null_mut()
    }
}

/// Runs a call; `fast` returns `None` if the arguments are not exactly of its shape.
///
/// # Safety
/// Python calls, with the `self` of one of our function objects and `count` arguments.
#[inline(always)]
unsafe fn enter(
    this: *mut PyObject,
    args: *mut *mut PyObject,
    count: Py_ssize_t,
    fast: impl FnOnce(&Call<'_, '_>) -> Option<*mut PyObject>,
) -> *mut PyObject {
    // A panic must not reach Python's frames. The native function's own are caught further in.
    let result = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: Python calls functions on attached threads.
        let py = unsafe { Python::assume_attached() };
        // SAFETY: the function object, alive during the call, was made with a bound export and keeps it.
        let bound = unsafe { Borrowed::from_ptr(py, this).cast_unchecked::<BoundExport>() };
        let bound = bound.get();
        let held;
        // SAFETY: the function runs within the call.
        let view = match unsafe { current::innermost() } {
            Some(view) if bound.instance().leads_to(view) => view,
            _ => match bound.instance().follow() {
                Ok(other) => {
                    held = other;
                    &*held
                }
                Err(reason) => return unusable(py, bound, reason),
            },
        };
        if view.interrupt().memory_was_refused() {
            view.end_for_memory(|| error::place(py));
        }
        let call = Call { py, args, count, bound, view };
        fast(&call).unwrap_or_else(|| call.generic())
    }));
    result.unwrap_or_else(|_| failed())
}

/// Calls a function object with arguments of which some may be named.
unsafe extern "C" fn named(
    callable: *mut PyObject,
    args: *const *mut PyObject,
    count: usize,
    names: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: Python calls functions on attached threads, this one with one of our function objects, whose `self` is a
    // bound export, alive during the call.
    let (py, this, bound) = unsafe {
        let py = Python::assume_attached();
        let this = ffi::PyCFunction_GetSelf(callable);
        (py, this, Borrowed::from_ptr(py, this).cast_unchecked::<BoundExport>())
    };
    // It is set together with this function.
    let Some(positional) = bound.get().positional() else { return failed() };
    if names.is_null() {
        // SAFETY: the arguments of this call, for the function that was there before this one.
        return unsafe { positional(callable, args, count, names) };
    }
    // SAFETY: Python passes so many arguments, then one for each of a tuple of names.
    let arranged = catch_unwind(AssertUnwindSafe(|| unsafe {
        let names = Borrowed::from_ptr(py, names).cast_unchecked::<PyTuple>();
        let count = usize::try_from(ffi::PyVectorcall_NARGS(count)).unwrap_or(0);
        let all = if args.is_null() { &[] } else { std::slice::from_raw_parts(args, count + names.len()) };
        let (given, values) = all.split_at_checked(count).unwrap_or_default();
        let names = names.iter().map(|name| text(&name)).zip(values.iter().copied());
        arrange(bound.get().export().def().params, given, names)
    }));
    match arranged {
        // SAFETY: as above; the caller has references to all arguments.
        Ok(Ok(args)) => unsafe { positional(callable, args.as_ptr(), args.len(), ptr::null_mut()) },
        Ok(Err(what)) => {
            let refuse = |call: &Call<'_, '_>| {
                let message = format!("{what}; it is {}", bound.get().signature());
                Some(call.settle(ScriptError::new(ErrorCode::ArgumentCount, message).into()))
            };
            // SAFETY: Python calls.
            unsafe { enter(this, ptr::null_mut(), 0, refuse) }
        }
        Err(_) => failed(),
    }
}

fn text(name: &Bound<'_, PyAny>) -> String {
    name.cast::<PyString>().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Puts named arguments where their parameters are; `None` stands for optional ones that are not given.
///
/// # Errors
/// What is wrong with them.
fn arrange(
    params: &[Param],
    given: &[*mut PyObject],
    named: impl Iterator<Item = (String, *mut PyObject)>,
) -> Result<Vec<*mut PyObject>, String> {
    let with_names = params.iter().take_while(|param| !param.variadic);
    let mut places: Vec<Option<*mut PyObject>> = given.iter().copied().map(Some).collect();
    places.resize(places.len().max(with_names.clone().count()), None);
    for (name, value) in named {
        let Some(index) = with_names.clone().position(|param| param.name == name) else {
            return Err(format!("takes no argument named '{name}'"));
        };
        match places.get_mut(index) {
            Some(place @ None) => *place = Some(value),
            _ => return Err(format!("got the argument '{name}' twice")),
        }
    }
    let last = places.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
    let needed = params.iter().rposition(|param| !param.optional && !param.variadic).map_or(0, |last| last + 1);
    places.truncate(last.max(needed));
    // SAFETY: `None` is an immortal object of an initialised Python.
    let none = unsafe { ffi::Py_None() };
    let place = |(i, place): (usize, Option<*mut PyObject>)| match (place, params.get(i)) {
        (None, Some(param)) if !param.optional => Err(format!("needs the argument '{}'", param.name)),
        (place, _) => Ok(place.unwrap_or(none)),
    };
    places.into_iter().enumerate().map(place).collect()
}

/// Raises the reason why a function cannot reach its instance.
#[cold]
fn unusable(py: Python<'_>, bound: &BoundExport, reason: &str) -> *mut PyObject {
    let name = bound.script_name();
    error::raise_plain(py, &format!("{name}: {reason}"));
    ptr::null_mut()
}

/// Raises that the engine has panicked.
#[cold]
fn failed() -> *mut PyObject {
    let text = c"the Python engine failed in a native call; this is a bug in the host, not in the script";
    // SAFETY: the thread is attached; both are static.
    unsafe { ffi::PyErr_SetString(ffi::PyExc_RuntimeError, text.as_ptr()) };
    ptr::null_mut()
}

unsafe extern "C" fn generic(this: *mut PyObject, args: *mut *mut PyObject, count: Py_ssize_t) -> *mut PyObject {
    // SAFETY: Python calls.
    unsafe { enter(this, args, count, |_| None) }
}

/// Calls by the typed entry, whatever the shape.
unsafe extern "C" fn listed(this: *mut PyObject, args: *mut *mut PyObject, count: Py_ssize_t) -> *mut PyObject {
    let fast = |call: &Call<'_, '_>| {
        let mut list = [Arg::Nil; Shape::MAX_PARAMS];
        let typed = call.bound.typed()?;
        let objects = call.args();
        let mut kinds = typed.shape().params();
        let args = list.get_mut(..objects.len())?;
        if kinds.len() != objects.len() {
            return None;
        }
        for (&object, slot) in objects.iter().zip(&mut *args) {
            // SAFETY: the arguments are alive during the call.
            *slot = unsafe { exact(kinds.next()?, object) }?;
        }
        // SAFETY: the context is the export's own.
        Some(call.typed(|context| unsafe { typed.call(context, args) }))
    };
    // SAFETY: Python calls.
    unsafe { enter(this, args, count, fast) }
}

/// Reads an argument that is exactly of a kind.
///
/// # Safety
/// As [`FromObject::from_object`].
#[inline]
unsafe fn exact<'a>(kind: Kind, object: *mut PyObject) -> Option<Arg<'a>> {
    // SAFETY: as the caller's.
    unsafe {
        match kind {
            Kind::Bool => bool::from_object(object).map(Arg::Bool),
            Kind::Int => i64::from_object(object).map(Arg::Int),
            Kind::Float => f64::from_object(object).map(Arg::Float),
            Kind::Bytes => string::exact(object).map(Arg::Str),
            Kind::Object => objects::borrow(object).map(Arg::Object),
            Kind::Nil | Kind::Any => None,
        }
    }
}

macro_rules! typed_entries {
    ($($entry:ident $call:ident $count:literal ($($arg:ident: $ty:ident @ $at:literal),*);)*) => {$(
        unsafe extern "C" fn $entry<$($ty: FromObject,)* R: IntoObject>(
            this: *mut PyObject,
            args: *mut *mut PyObject,
            count: Py_ssize_t,
        ) -> *mut PyObject {
            let fast = |call: &Call<'_, '_>| {
                if call.count != $count {
                    return None;
                }
                // SAFETY: there are so many arguments, which are alive during the call.
                $(let $arg = unsafe { $ty::from_object(*call.args.add($at)) }?;)*
                let typed = call.bound.typed()?;
                // SAFETY: `of_shape` chose this entry for the shape of these types; the context is the export's own.
                Some(call.typed(|context| unsafe { typed.$call::<$($ty,)* R>(context $(, $arg)*) }))
            };
            // SAFETY: Python calls.
            unsafe { enter(this, args, count, fast) }
        }
    )*};
}
typed_entries! {
    typed0 call0 0 ();
    typed1 call1 1 (a: A @ 0);
    typed2 call2 2 (a: A @ 0, b: B @ 1);
    typed3 call3 3 (a: A @ 0, b: B @ 1, c: C @ 2);
}

/// Reads an argument of exactly one type, without conversion.
trait FromObject: RawArg + Sized {
    /// # Safety
    /// The object is alive and stays so as long as the result is used; the thread is attached.
    unsafe fn from_object(object: *mut PyObject) -> Option<Self>;
}

impl FromObject for i64 {
    unsafe fn from_object(object: *mut PyObject) -> Option<i64> {
        // SAFETY: see the trait. A bool is of a subclass, so it is not taken.
        unsafe {
            if ffi::PyLong_CheckExact(object) == 0 {
                return None;
            }
            let mut overflow: c_int = 0;
            let number = ffi::PyLong_AsLongLongAndOverflow(object, &raw mut overflow);
            (overflow == 0).then_some(number)
        }
    }
}

impl FromObject for bool {
    unsafe fn from_object(object: *mut PyObject) -> Option<bool> {
        // SAFETY: the two are immortal objects of an initialised Python.
        let (yes, no) = unsafe { (ffi::Py_True(), ffi::Py_False()) };
        (object == yes || object == no).then_some(object == yes)
    }
}

impl FromObject for f64 {
    unsafe fn from_object(object: *mut PyObject) -> Option<f64> {
        // SAFETY: see the trait.
        unsafe { (ffi::PyFloat_CheckExact(object) != 0).then(|| ffi::PyFloat_AsDouble(object)) }
    }
}

impl FromObject for RawBytes {
    unsafe fn from_object(object: *mut PyObject) -> Option<RawBytes> {
        // SAFETY: see the trait; `str` and `bytes` never change, and what Python gives of a `str` is UTF-8.
        unsafe {
            if ffi::PyUnicode_CheckExact(object) != 0 {
                let text = string::utf8(object)?;
                return Some(RawBytes::text(text.as_ptr(), text.len()));
            }
            string::exact(object).map(|bytes| RawBytes::new(bytes.as_ptr(), bytes.len()))
        }
    }
}

impl FromObject for RawObject {
    unsafe fn from_object(object: *mut PyObject) -> Option<RawObject> {
        // SAFETY: see the trait; what reads arguments runs within the innermost call.
        unsafe { objects::borrow(object).map(|object| RawObject::new(object)) }
    }
}

/// Makes the Python object of a result; null with an exception if that fails.
trait IntoObject: RawRet + Sized {
    fn into_object(self, call: &Call<'_, '_>) -> *mut PyObject;
}

impl IntoObject for () {
    fn into_object(self, call: &Call<'_, '_>) -> *mut PyObject {
        call.py.None().into_ptr()
    }
}

impl IntoObject for bool {
    fn into_object(self, _call: &Call<'_, '_>) -> *mut PyObject {
        // SAFETY: the thread is attached.
        unsafe { ffi::PyBool_FromLong(self.into()) }
    }
}

impl IntoObject for i64 {
    fn into_object(self, _call: &Call<'_, '_>) -> *mut PyObject {
        // SAFETY: the thread is attached.
        unsafe { ffi::PyLong_FromLongLong(self) }
    }
}

impl IntoObject for f64 {
    fn into_object(self, _call: &Call<'_, '_>) -> *mut PyObject {
        // SAFETY: the thread is attached.
        unsafe { ffi::PyFloat_FromDouble(self) }
    }
}

impl IntoObject for RawOut {
    fn into_object(self, call: &Call<'_, '_>) -> *mut PyObject {
        Ret::Bytes(self).into_object(call)
    }
}

impl IntoObject for Ret {
    fn into_object(self, call: &Call<'_, '_>) -> *mut PyObject {
        let other = match self {
            Ret::Nil => return ().into_object(call),
            Ret::Bool(b) => return b.into_object(call),
            Ret::Int(i) => return i.into_object(call),
            other => other,
        };
        match value::from_ret(call.py, call.view, other) {
            Ok(object) => object.into_ptr(),
            Err(error) => call.refuse(error),
        }
    }
}
