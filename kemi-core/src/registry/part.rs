//! Parts of a host's context that it lends to the functions of a library.

use std::fmt;
use std::sync::Arc;

use crate::export::ContextType;

/// A part of the host's context, which exports of a library take as their own context.
#[derive(Clone)]
pub(super) struct Part {
    ty: ContextType,
    lend: Arc<dyn Fn(*mut ()) -> *mut () + Send + Sync>,
}

impl Part {
    /// Describes the part `P` of `C`.
    pub(super) fn new<C: 'static, P: 'static>(
        lend: impl for<'c> Fn(&'c mut C) -> &'c mut P + Send + Sync + 'static,
    ) -> Part {
        let lend = move |context: *mut ()| {
            // SAFETY: `lend` says that the pointer is to a `C` that nothing else uses.
            let context = unsafe { &mut *context.cast::<C>() };
            std::ptr::from_mut(lend(context)).cast::<()>()
        };
        Part { ty: ContextType::of::<P>(), lend: Arc::new(lend) }
    }

    /// Returns the type of the part.
    pub(super) fn ty(&self) -> ContextType {
        self.ty
    }

    /// Returns the part of a context.
    ///
    /// # Safety
    /// `context` points to a live value of the type that the part was described for, which nothing else uses while the result is
    /// in use.
    pub(super) unsafe fn lend(&self, context: *mut ()) -> *mut () {
        (self.lend)(context)
    }
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Part").field(&self.ty).finish()
    }
}
