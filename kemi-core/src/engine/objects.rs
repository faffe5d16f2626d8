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
}

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
            self.let_go.objects.lock().unwrap_or_else(PoisonError::into_inner).push(object);
            self.let_go.any.store(true, Ordering::Release);
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
        }
        HeldObject { object: Some(object), let_go: self.let_go.clone() }
    }
}
