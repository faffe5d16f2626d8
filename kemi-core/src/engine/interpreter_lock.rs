//! Native functions that wait, and the interpreter's lock that they release meanwhile.

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;

thread_local! {
    /// The lock that the script on this thread runs under; none while it is released.
    static LOCK: Cell<Option<Rc<dyn InterpreterLock>>> = const { Cell::new(None) };
}

/// Runs a closure that waits: for a lock, the network, another thread.
///
/// A native function wraps its waits in this, so that scripts on other threads get on: it releases the lock that all
/// interpreters of a language share. Without such a lock, and outside of any script, it only runs the closure. The closure
/// may call back into the script.
///
/// The wait counts as the script's time, like everything that a native function does, unless the export was declared
/// `blocking`; such a one needs no call of this.
///
/// ```
/// use std::time::Duration;
///
/// /// What a native function might do.
/// fn pause(milliseconds: u64) {
///     kemi_core::while_waiting(|| std::thread::sleep(Duration::from_millis(milliseconds)));
/// }
/// # pause(1);
/// ```
pub fn while_waiting<R>(run: impl FnOnce() -> R) -> R {
    let Some(lock) = LOCK.try_with(Cell::take).ok().flatten() else { return run() };
    let back = Held { former: Some(lock.clone()), not_send: PhantomData };
    let (mut run, mut result) = (Some(run), None);
    lock.released(&mut || {
        if let Some(run) = run.take() {
            // The lock comes back in any case, so the engine need not mind panics.
            result = Some(catch_unwind(AssertUnwindSafe(run)));
        }
    });
    drop(back);
    match (result, run) {
        (Some(Ok(result)), _) => result,
        (Some(Err(payload)), _) => resume_unwind(payload),
        // The lock was not to be released.
        (None, Some(run)) => run(),
        (None, None) => unreachable!("what was taken has run"),
    }
}

/// The lock that the interpreters of a language share, for engines that have one.
pub trait InterpreterLock {
    /// Releases the lock, runs the closure, and takes the lock again.
    ///
    /// It is called on the thread that has [entered](enter), and not again before the closure is over unless that has
    /// entered anew. The closure does not unwind. An engine lets the script's clock
    /// [stand](crate::engine::Runtime::while_clock_stops) while it waits for the lock afterwards.
    ///
    /// A [`Held`] that was forgotten can make it be called although the thread has left the interpreter. An engine for
    /// which that is a danger asks first whether the thread has the lock, and runs nothing if not.
    fn released(&self, run: &mut dyn FnMut());
}

/// Notes that the calling thread runs a script under a lock, until the result is dropped; for engines.
///
/// [`while_waiting`] releases the innermost one.
#[inline]
pub fn enter(lock: Rc<dyn InterpreterLock>) -> Held {
    // On a thread that is about to end nothing is released.
    let former = LOCK.try_with(|held| held.replace(Some(lock))).ok().flatten();
    Held { former, not_send: PhantomData }
}

/// A guard that restores the thread's former lock when it is dropped; see [`enter`].
#[must_use]
pub struct Held {
    former: Option<Rc<dyn InterpreterLock>>,
    /// It belongs to the thread.
    not_send: PhantomData<*const ()>,
}

impl Drop for Held {
    #[inline]
    fn drop(&mut self) {
        let former = self.former.take();
        // Dropped outside of the cell, since the drop may run other code.
        let own = LOCK.try_with(|held| held.replace(former));
        drop(own);
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts how often it was released and taken again.
    #[derive(Default)]
    struct Counted {
        released: Cell<u32>,
        taken: Cell<u32>,
        refuses: bool,
    }

    impl InterpreterLock for Counted {
        fn released(&self, run: &mut dyn FnMut()) {
            if self.refuses {
                return;
            }
            self.released.set(self.released.get() + 1);
            run();
            self.taken.set(self.taken.get() + 1);
        }
    }

    impl Counted {
        fn seen(&self) -> (u32, u32) {
            (self.released.get(), self.taken.get())
        }
    }

    #[test]
    fn a_lock_is_released_once_while_something_waits_and_again_in_a_callback() {
        let lock = Rc::new(Counted::default());
        assert_eq!(while_waiting(|| 1), 1, "outside of any script");
        let held = enter(lock.clone());
        let result = while_waiting(|| {
            assert_eq!(lock.seen(), (1, 0));
            assert_eq!(while_waiting(|| 2), 2);
            assert_eq!(lock.seen(), (1, 0), "it is released already");
            let nested = enter(lock.clone());
            while_waiting(|| assert_eq!(lock.seen(), (2, 0)));
            drop(nested);
            assert_eq!(lock.seen(), (2, 1));
            3
        });
        assert_eq!((result, lock.seen()), (3, (2, 2)));
        drop(held);
        while_waiting(|| assert_eq!(lock.seen(), (2, 2), "the script is left"));
        assert_eq!(Rc::strong_count(&lock), 1);
    }

    #[test]
    fn a_panic_while_something_waits_takes_the_lock_again() {
        let lock = Rc::new(Counted::default());
        let _held = enter(lock.clone());
        let result = catch_unwind(|| while_waiting(|| panic!("a native function")));
        assert!(result.is_err());
        while_waiting(|| assert_eq!(lock.seen(), (2, 1)));
    }

    #[test]
    fn what_waits_runs_even_if_the_lock_is_not_released() {
        let _held = enter(Rc::new(Counted { refuses: true, ..Counted::default() }));
        assert_eq!(while_waiting(|| 5), 5);
    }

    #[test]
    fn something_may_wait_when_its_thread_is_about_to_end() {
        struct Waits;
        impl Drop for Waits {
            fn drop(&mut self) {
                while_waiting(|| ());
                drop(enter(Rc::new(Counted::default())));
            }
        }
        thread_local!(static WAITS: Waits = const { Waits });
        let ended = std::thread::spawn(|| {
            WAITS.with(|_| ());
            drop(enter(Rc::new(Counted::default())));
        });
        assert!(ended.join().is_ok());
    }
}
