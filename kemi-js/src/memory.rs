//! The heap that the interpreters of a thread share, and when its garbage is collected.
//!
//! Boa keeps the objects of all its contexts on a thread in one thread-local heap. A collection goes through all of them,
//! so it must not come with each call or end of an interpreter; and when the thread ends, what refers to the heap has to go
//! before it does.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::sync::atomic::{AtomicBool, Ordering};

use kemi_core::engine::Runtime;
use kemi_core::limits::{Limit, held_bytes};
use kemi_core::telemetry::log_guarded;

use crate::stack;

/// The least growth of the thread between two collections outside of calls.
const STEP: i64 = 16 << 20;

/// How many times garbage is collected while the limit of memory is allocated.
const COLLECTIONS: u64 = 4;

thread_local! {
    static HEAP: Heap = Heap::new();
}

/// An interpreter that refers to the thread's heap.
pub(crate) trait HeapUser {
    /// Drops everything that lives in the heap, once nothing runs in it any more.
    fn close(&self);
}

/// The state of a thread's heap.
struct Heap {
    users: RefCell<HashMap<*const (), Weak<dyn HeapUser>>>,
    /// How many interpreters have ended since the last collection.
    ended: Cell<usize>,
    /// The bytes that the thread held after the last collection.
    held: Cell<i64>,
    /// Set if a script has run since then.
    has_run: Cell<bool>,
}

impl Heap {
    fn new() -> Heap {
        stack::prepare();
        // Thread-locals go in the order opposite to that of their first use. Boa's heap is used now, so it goes after this.
        boa_gc::force_collect();
        Heap {
            users: RefCell::default(),
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

    fn has_grown(&self) -> bool {
        held_bytes().saturating_sub(self.held.get()) > STEP.max(self.held.get() / 2)
    }
}

impl Drop for Heap {
    fn drop(&mut self) {
        // An instance in another thread-local may go after Boa's heap.
        let users = self.users.take();
        for user in users.values().filter_map(Weak::upgrade) {
            user.close();
        }
    }
}

/// Returns whether the thread can have interpreters: not when it is about to end. Boa's heap is there from then on.
pub(crate) fn is_available() -> bool {
    HEAP.try_with(|_| ()).is_ok()
}

/// Notes an interpreter of this thread, unless the thread is about to end.
pub(crate) fn register<T: HeapUser + 'static>(user: &Rc<T>) {
    let weak: Weak<dyn HeapUser> = Rc::<T>::downgrade(user);
    let _ = HEAP.try_with(|heap| heap.users.borrow_mut().insert(Rc::as_ptr(user).cast(), weak));
}

/// Forgets an interpreter whose objects are garbage from now on.
///
/// They are collected when as many interpreters have ended as still live, or when the thread has grown by half.
pub(crate) fn unregister<T: HeapUser>(user: &T, runtime: &Runtime) {
    let _ = HEAP.try_with(|heap| {
        let alive = {
            let mut users = heap.users.borrow_mut();
            users.remove(&std::ptr::from_ref(user).cast());
            users.len()
        };
        heap.ended.set(heap.ended.get() + 1);
        if heap.ended.get() >= alive || heap.has_grown() {
            heap.collect(runtime);
        }
    });
}

/// Collects garbage, while a script may run.
pub(crate) fn collect(runtime: &Runtime) {
    let _ = HEAP.try_with(|heap| heap.collect(runtime));
}

/// Collects the garbage that a top-level call has left behind, if that is worth it. Nothing of it is on the stack now.
pub(crate) fn collect_garbage(runtime: &Runtime) {
    let is_full = matches!(runtime.limit_hit(), Some(Limit::Memory));
    let _ = HEAP.try_with(|heap| {
        if is_full || heap.has_grown() {
            heap.collect(runtime);
        }
    });
}

/// When garbage is collected during the calls of one interpreter.
///
/// Boa does so by what its objects take themselves, whatever strings and elements they hold.
pub(crate) struct Collector {
    /// The bytes that the thread holds when the next collection is due.
    due_at: Cell<i64>,
}

impl Collector {
    /// Makes one that never collects.
    pub(crate) fn new() -> Collector {
        Collector { due_at: Cell::new(i64::MAX) }
    }

    /// Makes the limit on memory hold, or warns that it does not.
    pub(crate) fn arm(&self, runtime: &Runtime) {
        if runtime.count_memory() {
            self.plan(runtime);
        } else {
            warn_uncounted();
        }
    }

    /// Collects garbage if much has been allocated since the last time.
    #[inline]
    pub(crate) fn collect_if_due(&self, runtime: &Runtime) {
        if held_bytes() > self.due_at.get() {
            self.collect(runtime);
        }
    }

    /// Collects garbage before a top-level call that has little room left, if a script has run since the last time.
    pub(crate) fn prepare_call(&self, runtime: &Runtime) {
        let Some(room) = runtime.memory_room() else { return };
        let _ = HEAP.try_with(|heap| {
            if room < step(runtime) && heap.has_run.get() {
                heap.collect(runtime);
            }
            heap.has_run.set(true);
        });
        self.plan(runtime);
    }

    #[cold]
    fn collect(&self, runtime: &Runtime) {
        collect(runtime);
        self.plan(runtime);
    }

    /// Plans the next collection: when the call has allocated a step from now on.
    fn plan(&self, runtime: &Runtime) {
        let step = i64::try_from(step(runtime)).unwrap_or(i64::MAX);
        self.due_at.set(held_bytes().saturating_add(step));
    }
}

/// Returns how many bytes may be allocated between two collections of garbage.
fn step(runtime: &Runtime) -> u64 {
    match runtime.registry().limits().max_memory {
        0 => u64::MAX,
        most => most / COLLECTIONS,
    }
}

/// Warns once that a limit does not hold.
fn warn_uncounted() {
    static WARNED: AtomicBool = AtomicBool::new(false);
    if !WARNED.swap(true, Ordering::Relaxed) {
        log_guarded(|| {
            tracing::warn!(
                target: "kemi",
                "max_memory holds only for single steps in JavaScript: the program has not installed kemi_core::CountingAllocator \
                 as its #[global_allocator]"
            )
        });
    }
}
