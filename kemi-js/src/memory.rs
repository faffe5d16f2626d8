//! The interpreters of a thread, which share one heap of garbage-collected objects.
//!
//! Boa keeps the objects of all its contexts on a thread in one thread-local heap. A collection goes through all of them,
//! so it must not come with each call or end of an interpreter; and when the thread ends, what refers to the heap has to go
//! before it does.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::{Rc, Weak};

use kemi_core::{Runtime, held_bytes};

use crate::interpreter::Core;
use crate::stack;

/// By how much the thread may grow between two collections outside of calls, at least.
const STEP: i64 = 16 << 20;

thread_local! {
    static HEAP: Heap = Heap::new();
}

/// What is to be known of all interpreters of a thread.
struct Heap {
    cores: RefCell<HashMap<*const Core, Weak<Core>>>,
    /// How many interpreters have ended since the last collection.
    ended: Cell<usize>,
    /// What the thread held after the last collection.
    held: Cell<i64>,
    /// Whether a script has run since then.
    has_run: Cell<bool>,
}

impl Heap {
    fn new() -> Heap {
        stack::prepare();
        // Thread-locals go in the order opposite to that of their first use. Boa's heap is used now, so it goes after this.
        boa_gc::force_collect();
        Heap {
            cores: RefCell::default(),
            ended: Cell::new(0),
            held: Cell::new(held_bytes()),
            has_run: Cell::new(false),
        }
    }

    fn collect(&self, runtime: &Runtime) {
        runtime.while_freeing(|| stack::run(boa_gc::force_collect));
        self.ended.set(0);
        self.held.set(held_bytes());
        self.has_run.set(false);
    }
}

impl Drop for Heap {
    fn drop(&mut self) {
        // An instance in another thread-local may go after Boa's heap.
        let cores = self.cores.take();
        for core in cores.values().filter_map(Weak::upgrade) {
            core.close();
        }
    }
}

/// Notes an interpreter of this thread; `false` if the thread is about to end and takes no more.
pub(crate) fn enter(core: &Rc<Core>) -> bool {
    HEAP.try_with(|heap| heap.cores.borrow_mut().insert(Rc::as_ptr(core), Rc::downgrade(core))).is_ok()
}

/// Tells whether the thread can have interpreters. Boa's heap is there from then on.
pub(crate) fn is_there() -> bool {
    HEAP.try_with(|_| ()).is_ok()
}

/// Forgets an interpreter whose objects are garbage from now on.
///
/// They are collected when as many interpreters have ended as are left, or when the thread has grown by half.
pub(crate) fn leave(core: *const Core, runtime: &Runtime) {
    let _ = HEAP.try_with(|heap| {
        let left = {
            let mut cores = heap.cores.borrow_mut();
            cores.remove(&core);
            cores.len()
        };
        heap.ended.set(heap.ended.get() + 1);
        if heap.ended.get() >= left || has_grown(heap) {
            heap.collect(runtime);
        }
    });
}

/// Collects garbage now.
pub(crate) fn collect(runtime: &Runtime) {
    let _ = HEAP.try_with(|heap| heap.collect(runtime));
}

/// Collects garbage if the thread has grown enough since the last time to pay for it.
pub(crate) fn collect_if_grown(runtime: &Runtime) {
    let _ = HEAP.try_with(|heap| {
        if has_grown(heap) {
            heap.collect(runtime);
        }
    });
}

/// Collects garbage if a script has run since the last time, which may have let go of something.
pub(crate) fn collect_again(runtime: &Runtime) {
    let _ = HEAP.try_with(|heap| {
        if heap.has_run.get() {
            heap.collect(runtime);
        }
    });
}

/// Notes that a script runs.
#[inline]
pub(crate) fn run_script() {
    let _ = HEAP.try_with(|heap| heap.has_run.set(true));
}

fn has_grown(heap: &Heap) -> bool {
    held_bytes().saturating_sub(heap.held.get()) > STEP.max(heap.held.get() / 2)
}
