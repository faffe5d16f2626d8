//! The objects of the host that a script holds: how they are let go.

use std::fmt;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::runtime::Runtime;
use crate::telemetry::discard;
use crate::value::Object;

/// How many objects that the script has let go wait within one call.
const MOST_WAITING: usize = 256;

/// What the scripts of one interpreter have let go.
#[derive(Default)]
pub(super) struct LetGo {
    objects: Mutex<Vec<Object>>,
    any: AtomicBool,
    /// Whether the runtime is gone, so that nobody looks here any more.
    closed: AtomicBool,
}

/// What was let go after its own runtime had gone, for the next one that begins or ends.
static LEFT_OVER: LetGo =
    LetGo { objects: Mutex::new(Vec::new()), any: AtomicBool::new(false), closed: AtomicBool::new(false) };

/// A handle of an object of the host, held by a script.
///
/// An engine puts it into the value that stands for the object. The language's garbage collection drops it, wherever that
/// runs: that only puts the object down. The host's part of its end runs later, between two calls of the host or while the
/// script is given another object.
pub struct HeldObject {
    /// `None` only while it is dropped.
    object: Option<Object>,
    let_go: Arc<LetGo>,
}

impl Deref for HeldObject {
    type Target = Object;
    #[inline]
    fn deref(&self) -> &Object {
        match &self.object {
            Some(object) => object,
            None => unreachable!("the object is taken out by drop alone"),
        }
    }
}

impl Drop for HeldObject {
    fn drop(&mut self) {
        if let Some(object) = self.object.take() {
            let place = if self.let_go.closed.load(Ordering::Acquire) { &LEFT_OVER } else { &*self.let_go };
            place.push(object);
        }
    }
}

impl fmt::Debug for HeldObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.object.fmt(f)
    }
}

impl LetGo {
    #[inline]
    pub(super) fn any(&self) -> bool {
        self.any.load(Ordering::Relaxed)
    }

    /// Drops what scripts have let go.
    #[cold]
    pub(super) fn drop_all(&self) {
        self.any.store(false, Ordering::Relaxed);
        let objects = std::mem::take(&mut *self.objects.lock().unwrap_or_else(PoisonError::into_inner));
        for object in objects {
            // The host's own `Drop` may panic, which is none of the script's business.
            if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(object))) {
                discard(payload);
            }
        }
    }

    /// Drops what is left when the runtime goes, and notes that it is gone.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.drop_all();
        LetGo::drop_left_over();
    }

    /// Drops what scripts of runtimes that are gone have let go.
    pub(super) fn drop_left_over() {
        if LEFT_OVER.any() {
            LEFT_OVER.drop_all();
        }
    }

    fn push(&self, object: Object) {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner).push(object);
        self.any.store(true, Ordering::Release);
    }

    fn has_many(&self) -> bool {
        self.any() && self.objects.lock().unwrap_or_else(PoisonError::into_inner).len() >= MOST_WAITING
    }
}

impl Runtime {
    /// Wraps an object of the host for the value that stands for it in a script.
    #[must_use]
    pub fn hold(&self, object: Object) -> HeldObject {
        if self.let_go.has_many() {
            let _around = self.without_context();
            self.let_go.drop_all();
            LetGo::drop_left_over();
        }
        HeldObject { object: Some(object), let_go: self.let_go.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::{Class, Handle, ObjectClass};

    struct Counted(Arc<Mutex<u32>>);

    impl ObjectClass for Counted {
        const CLASS: &'static Class = &Class {
            name: "Counted",
            module: "",
            path: "Counted",
            doc: "",
            ty: std::any::TypeId::of::<Counted>(),
            file: file!(),
            line: line!(),
        };
    }

    impl Drop for Counted {
        fn drop(&mut self) {
            *self.0.lock().unwrap() += 1;
        }
    }

    #[test]
    fn what_is_let_go_is_dropped_later_also_without_its_runtime() {
        let (dropped, let_go) = (Arc::default(), Arc::new(LetGo::default()));
        let held = |let_go: &Arc<LetGo>| HeldObject {
            object: Some(Handle::new(Counted(Arc::clone(&dropped))).into_object()),
            let_go: let_go.clone(),
        };
        let (first, second, third) = (held(&let_go), held(&let_go), held(&let_go));
        drop(first);
        assert_eq!(*dropped.lock().unwrap(), 0);
        let_go.drop_all();
        assert_eq!(*dropped.lock().unwrap(), 1);
        drop(second);
        let_go.close();
        assert_eq!(*dropped.lock().unwrap(), 2);
        drop(let_go);
        drop(third);
        assert_eq!(*dropped.lock().unwrap(), 2, "a finalizer runs nothing of the host");
        LetGo::drop_left_over();
        assert_eq!(*dropped.lock().unwrap(), 3);
    }
}
