//! The stack that scripts run on: one of each thread's own, and large, since Rhai works down nested values by recursion.
//!
//! To free, copy or measure an array of arrays of arrays, Rhai goes down level by level, and so it does for a closure that
//! has captured a closure that has captured another one. A thread's own stack of 2 MiB ends the process at some ten thousand
//! levels. This one is as large as address space is cheap; only what is used takes memory.

#[cfg(unix)]
pub(crate) use unix::run;

#[cfg(not(unix))]
pub(crate) use plain::run;

#[cfg(unix)]
mod unix {
    use std::any::Any;
    use std::cell::Cell;
    use std::ffi::c_void;
    use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
    use std::ptr;

    /// How large the stack is where the system gives so much address space; else half of it, and so on.
    const WANTED: usize = if cfg!(target_pointer_width = "64") { 4 << 30 } else { 64 << 20 };

    /// The least that is worth it.
    const LEAST: usize = 8 << 20;

    /// What lies below and must not be touched. A function with a larger frame touches each page.
    const GUARD: usize = 64 << 10;

    /// How far down the words lie that tell whether a call went deep; what is above keeps its memory.
    const DEEP: usize = 1 << 20;

    /// How many such words there are: a recursion leaves few of them as they were.
    const MARKS: usize = 16;

    const MARK: usize = 0x5AFE_57AC;

    thread_local! {
        /// The lowest and the highest address of the stack; nothing while there is none.
        static BOUNDS: Cell<(usize, usize)> = const { Cell::new((0, 0)) };
        static STACK: Option<Stack> = Stack::new();
    }

    /// Runs something on the thread's stack for scripts, if the system has given one.
    #[inline]
    pub(crate) fn run<R>(run: impl FnOnce() -> R) -> R {
        let (low, high) = BOUNDS.get();
        if (low..high).contains(&here()) {
            return run();
        }
        let mut run = Some(run);
        let result = STACK.try_with(|stack| Some(stack.as_ref()?.run(run.take()?)));
        match (result, run) {
            (Ok(Some(result)), _) => result,
            (_, Some(run)) => run(),
            (_, None) => unreachable!("what has run has given its result"),
        }
    }

    fn here() -> usize {
        let mark = 0u8;
        (&raw const mark).addr()
    }

    /// Address space for a stack.
    struct Stack {
        base: *mut u8,
        size: usize,
    }

    impl Stack {
        fn new() -> Option<Stack> {
            let sizes = std::iter::successors(Some(WANTED), |size| Some(size / 2));
            let stack = sizes.take_while(|size| *size >= LEAST).find_map(Stack::of)?;
            stack.mark();
            BOUNDS.set((stack.base.addr(), stack.base.addr() + stack.size));
            Some(stack)
        }

        fn of(size: usize) -> Option<Stack> {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
            // SAFETY: a new mapping at an address of the system's choice.
            let base = unsafe { libc::mmap(ptr::null_mut(), size, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
            if base == libc::MAP_FAILED {
                return None;
            }
            // SAFETY: the pages are those of the new mapping. Huge ones would take 2 MiB for the first byte.
            unsafe {
                #[cfg(target_os = "linux")]
                libc::madvise(base, size, libc::MADV_NOHUGEPAGE);
                libc::mprotect(base, GUARD, libc::PROT_NONE);
            }
            Some(Stack { base: base.cast(), size })
        }

        fn run<R>(&self, run: impl FnOnce() -> R) -> R {
            let (start, size) = (self.base.wrapping_add(GUARD), self.size - GUARD);
            let run = AssertUnwindSafe(run);
            // SAFETY: the memory is a stack that nobody else is on: the caller has asked where it is itself, and a thread
            // uses its own one only. Its ends lie on page borders. Nothing unwinds out of the closure.
            let result: Result<R, Box<dyn Any + Send>> = unsafe { psm::on_stack(start, size, || catch_unwind(run)) };
            if self.went_deep() {
                self.trim();
            }
            result.unwrap_or_else(|payload| resume_unwind(payload))
        }

        fn marks(&self) -> *mut [usize; MARKS] {
            self.base.wrapping_add(self.size - DEEP).cast()
        }

        fn mark(&self) {
            // SAFETY: the words are the stack's own, aligned, and nobody is on it.
            unsafe { self.marks().write_volatile([MARK; MARKS]) };
        }

        fn went_deep(&self) -> bool {
            // SAFETY: as in `mark`; whatever a function has left there is a number.
            unsafe { self.marks().read_volatile() != [MARK; MARKS] }
        }

        /// Gives the memory back that a deep recursion has taken.
        #[cold]
        fn trim(&self) {
            let start = self.base.wrapping_add(GUARD);
            // SAFETY: the pages are the stack's own, and nobody is on it.
            unsafe { libc::madvise(start.cast::<c_void>(), self.size - GUARD, libc::MADV_DONTNEED) };
            self.mark();
        }
    }

    impl Drop for Stack {
        fn drop(&mut self) {
            BOUNDS.set((0, 0));
            // SAFETY: the mapping is this value's own, and nobody is on it: a thread ends on the stack it began on.
            unsafe { libc::munmap(self.base.cast(), self.size) };
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        fn down(levels: usize) -> usize {
            let frame = std::hint::black_box([levels; 16]);
            if levels == 0 { frame[0] } else { down(levels - 1) + usize::from(std::hint::black_box(&frame)[7] == 0) }
        }

        #[test]
        fn there_is_room_for_a_deep_recursion_and_it_is_given_back() {
            let deep = std::thread::spawn(|| {
                assert_eq!(run(|| down(100_000)), 0);
                assert_eq!(run(|| run(|| down(100_000))), 0);
                STACK.with(|stack| stack.as_ref().is_none_or(|stack| !stack.went_deep()))
            });
            assert!(deep.join().unwrap());
        }

        #[test]
        fn a_panic_comes_out_as_it_was() {
            let payload = catch_unwind(|| run(|| resume_unwind(Box::new("on purpose")))).unwrap_err();
            assert_eq!(payload.downcast_ref::<&str>(), Some(&"on purpose"));
            assert_eq!(run(|| 5), 5);
        }
    }
}

#[cfg(not(unix))]
mod plain {
    /// Runs something: this system has no large stack to run it on.
    #[inline]
    pub(crate) fn run<R>(run: impl FnOnce() -> R) -> R {
        run()
    }
}
