//! Functions of a script as the host keeps them.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// A function of a script, kept by the host to be called later.
///
/// An export takes it as a parameter, alone or within a [`Value`](crate::Value). It may be cloned, sent to other threads
/// and dropped anywhere; the script's own function is let go with the last clone. It is called by its interpreter:
/// [`Function::call`], or [`Script::call_function`](crate::Script::call_function) from a native function.
///
/// It does not keep the interpreter alive. After a reload, and after the end of the [`Instance`](crate::Instance), a call is an
/// error of code [`ErrorCode::FunctionGone`](crate::ErrorCode::FunctionGone).
#[derive(Clone)]
pub struct Function(Arc<KeptFunction>);

/// One slot of an interpreter's table of kept functions, until it is dropped.
struct KeptFunction {
    slot: u32,
    table: Arc<FunctionTable>,
}

/// The part of an interpreter's table of functions that other threads see.
#[derive(Default)]
pub(crate) struct FunctionTable {
    /// The slots whose functions nobody has any more.
    dropped: Mutex<Vec<u32>>,
    any_dropped: AtomicBool,
    /// Whether the interpreter is gone.
    closed: AtomicBool,
}

impl Function {
    pub(crate) fn new(slot: u32, table: &Arc<FunctionTable>) -> Function {
        Function(Arc::new(KeptFunction { slot, table: table.clone() }))
    }

    /// Returns the slot, if the function is of this table.
    pub(crate) fn slot_of(&self, table: &Arc<FunctionTable>) -> Option<u32> {
        Arc::ptr_eq(&self.0.table, table).then_some(self.0.slot)
    }

    /// Returns whether the interpreter of the function is gone, so that no call can reach it any more.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.0.table.closed.load(Ordering::Acquire)
    }
}

impl PartialEq for Function {
    /// Compares the identity: a function and its clones are equal.
    fn eq(&self, other: &Function) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "function {}", self.0.slot)
    }
}

impl Drop for KeptFunction {
    fn drop(&mut self) {
        if !self.table.closed.load(Ordering::Acquire) {
            self.table.dropped.lock().unwrap_or_else(PoisonError::into_inner).push(self.slot);
            self.table.any_dropped.store(true, Ordering::Release);
        }
    }
}

impl FunctionTable {
    /// Returns whether there are slots to free.
    #[inline]
    pub(crate) fn any_dropped(&self) -> bool {
        self.any_dropped.load(Ordering::Relaxed)
    }

    /// Takes the slots to free.
    pub(crate) fn take_dropped(&self) -> Vec<u32> {
        self.any_dropped.store(false, Ordering::Relaxed);
        std::mem::take(&mut *self.dropped.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Notes that the interpreter is gone.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_clone_frees_the_slot_and_after_the_end_nothing_does() {
        let table = Arc::new(FunctionTable::default());
        let (first, second) = (Function::new(1, &table), Function::new(2, &table));
        let clone = first.clone();
        assert_eq!((first == clone, first == second), (true, false));
        drop(first);
        assert!(!table.any_dropped());
        std::thread::spawn(move || drop(clone)).join().unwrap();
        assert_eq!((table.any_dropped(), table.take_dropped(), table.any_dropped()), (true, vec![1], false));
        assert_eq!((second.slot_of(&table), second.slot_of(&Arc::default())), (Some(2), None));
        table.close();
        assert!(second.is_gone());
        drop(second);
        assert!(table.take_dropped().is_empty());
    }
}
