//! The state of one call: what it saves of its thread and puts back.

use std::cell::Cell;
use std::ptr;

use pyo3::prelude::*;

use crate::current::{self, CallView};
use crate::library::cleanup;
use crate::memory::AccountScope;
use crate::prelude::{GcPause, Prelude};
use crate::terminate::{self, Tracing};

thread_local! {
    /// Whether a call was terminated since the outermost one began.
    static TERMINATED: Cell<bool> = const { Cell::new(false) };
}

/// Surrounds a call into a script, or the engine's own work in Python: the end of what is inside does not end what is
/// outside.
pub(crate) struct CallFrame<'a, 'py> {
    py: Python<'py>,
    view: Option<&'a CallView>,
    /// The former innermost call.
    outer: *const CallView,
    /// Whether exceptions for the outer call, and for this one, were held back before.
    held_back: (bool, bool),
    outermost: bool,
    tracing: Tracing,
    /// The exception that was set before.
    pending: Option<PyErr>,
    /// Set where no limit holds.
    no_collections: Option<GcPause<'py>>,
    memory: Option<AccountScope<'a>>,
}

impl<'a, 'py> CallFrame<'a, 'py> {
    /// Begins a call of an instance, for which its limits hold.
    pub(crate) fn of_script(py: Python<'py>, view: &'a CallView) -> CallFrame<'a, 'py> {
        CallFrame::begin(py, Some(view))
    }

    /// Begins work of the engine's own, which no limit ends.
    pub(crate) fn of_engine(py: Python<'py>) -> CallFrame<'a, 'py> {
        CallFrame::begin(py, None)
    }

    // Inlined, since the two callers need different halves of it.
    #[inline(always)]
    fn begin(py: Python<'py>, view: Option<&'a CallView>) -> CallFrame<'a, 'py> {
        let pending = if PyErr::occurred(py) { PyErr::take(py) } else { None };
        let own = view.map_or(ptr::null(), ptr::from_ref);
        let same = ptr::eq(current::pointer(), own);
        let mut held_back = (false, false);
        if !same {
            held_back.0 = current::with_innermost(|outer| {
                let held_back = outer.interrupt().hold_back(true);
                if outer.interrupt().exception_was_set() {
                    terminate::drain_exception(py);
                }
                held_back
            })
            .unwrap_or(false);
        }
        // SAFETY: the frame borrows the view, and sets the former one when it is dropped.
        let outer = unsafe { current::replace(own) };
        let outermost = view.is_some_and(|view| view.interrupt().begin_call());
        if let Some(view) = view {
            held_back.1 = view.interrupt().hold_back(false);
        }
        let limits = view.map(|view| view.runtime().registry().limits());
        let max_memory = limits.map_or(0, |limits| limits.max_memory);
        let mut is_nearly_full = false;
        let memory = match view {
            Some(view) if outermost => {
                let room = view.held_memory().room(max_memory);
                is_nearly_full = view.held_memory().is_more_than(room);
                Some(AccountScope::of(view.held_memory(), room, view.interrupt()))
            }
            _ if same => None,
            Some(view) => Some(AccountScope::within(view.held_memory(), max_memory, view.interrupt())),
            None => Some(AccountScope::unlimited()),
        };
        let counts = limits.is_some_and(|limits| limits.max_instructions != 0);
        let tracing = terminate::set_tracing(py, if counts { Tracing::Instructions } else { Tracing::Off });
        current::set_depth(current::depth() + 1);
        if let Some(view) = view
            && is_nearly_full
        {
            // Whatever comes of it, the call begins.
            let collect = || drop(Prelude::get(py).and_then(|prelude| prelude.call(py, "collect", ())));
            view.held_memory().collect_garbage(max_memory, collect);
        }
        let no_collections = view.is_none().then(|| GcPause::begin(py));
        CallFrame { py, view, outer, held_back, outermost, tracing, pending, no_collections, memory }
    }
}

impl Drop for CallFrame<'_, '_> {
    fn drop(&mut self) {
        current::set_depth(current::depth() - 1);
        self.memory.take();
        self.no_collections.take();
        let on_its_way = match self.view {
            Some(view) => {
                view.interrupt().hold_back(self.held_back.1);
                self.outermost && view.interrupt().end_call()
            }
            None => false,
        };
        if on_its_way {
            terminate::drain_exception(self.py);
        }
        if terminate::is_terminating() {
            TERMINATED.set(true);
        }
        terminate::set_tracing(self.py, self.tracing);
        if current::depth() == 0 && TERMINATED.replace(false) {
            cleanup::after_termination(self.py);
        }
        // SAFETY: what was innermost before this frame outlives it.
        let own = unsafe { current::replace(self.outer) };
        if !ptr::eq(self.outer, own) {
            current::with_innermost(|outer| outer.interrupt().hold_back(self.held_back.0));
        }
        if let Some(pending) = self.pending.take() {
            pending.restore(self.py);
        }
    }
}
