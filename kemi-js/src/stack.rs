//! The stack that scripts run on: one for each thread, large, with a zone that tells when most of it is used.
//!
//! An interpreter that works down nested things by recursion soon fills a thread's own stack of 2 MiB, which ends the
//! process. This one is as large as address space is cheap; only what is used takes memory. Below most of it lies a zone of
//! no access. An access to it raises a signal, whose handler opens the zone and calls the [`OverflowHandler`], which ends the
//! script on what is left of the stack.

#[cfg(unix)]
pub(crate) use unix::{has_overflowed, on_large, prepare, remaining, run, with_overflow_handler};

#[cfg(not(unix))]
pub(crate) use plain::{has_overflowed, on_large, prepare, remaining, run, with_overflow_handler};

/// A function that is called when a script has used up its stack, to end it on what is left.
#[cfg_attr(not(unix), expect(dead_code, reason = "nothing tells that the stack is used up"))]
pub(crate) struct OverflowHandler {
    call: unsafe fn(*mut ()),
    data: *mut (),
}

impl OverflowHandler {
    /// Makes a handler that calls a function with some data.
    ///
    /// # Safety
    /// While [`with_overflow_handler`] runs something with it, the function may be called in a signal handler, between any
    /// two instructions of that thread: it neither allocates nor locks nor unwinds, and its data can be used until then.
    pub(crate) const unsafe fn new(call: unsafe fn(*mut ()), data: *mut ()) -> OverflowHandler {
        OverflowHandler { call, data }
    }
}

#[cfg(unix)]
mod unix {
    use std::any::Any;
    use std::cell::Cell;
    use std::ffi::{c_int, c_void};
    use std::mem::MaybeUninit;
    use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
    use std::ptr;
    use std::sync::OnceLock;

    use super::OverflowHandler;

    /// How large the stack is where the system gives so much address space; else half of it, and so on.
    const WANTED: usize = if cfg!(target_pointer_width = "64") { 1 << 30 } else { 64 << 20 };

    /// The least size that is worth it.
    const LEAST: usize = 8 << 20;

    /// The size of the zones of no access, below all and between the two parts. A function with a larger frame touches each page.
    const ZONE: usize = 64 << 10;

    /// How much of the stack a script may use; the rest is for code that cannot be stopped at once.
    const SCRIPTS: usize = 64 << 20;

    /// The bounds of a thread's stack, for its signal handler: no destructor, nothing to initialise.
    #[derive(Clone, Copy)]
    struct Bounds {
        /// The lowest address that may be used after the zone was opened.
        low: usize,
        zone: usize,
        high: usize,
        /// Set if the zone can be opened.
        opens: bool,
    }

    impl Bounds {
        const NONE: Bounds = Bounds { low: 0, zone: 0, high: 0, opens: false };

        fn has(&self, address: usize) -> bool {
            (self.low..self.high).contains(&address)
        }
    }

    thread_local! {
        static BOUNDS: Cell<Bounds> = const { Cell::new(Bounds::NONE) };
        /// The handler that stops the script that runs; null while none does.
        static HANDLER: Cell<*const OverflowHandler> = const { Cell::new(ptr::null()) };
        static OPENED: Cell<bool> = const { Cell::new(false) };
        static STACK: Option<Stack> = Stack::of_thread();
    }

    /// Address space for a stack.
    struct Stack {
        base: *mut u8,
        size: usize,
        /// Set if the thread's bounds are this one's.
        is_threads: bool,
        /// A stack for signal handlers, if the thread had none.
        handlers: Option<*mut u8>,
    }

    const HANDLERS: usize = 64 << 10;

    impl Stack {
        fn of_thread() -> Option<Stack> {
            let handled = install();
            let mut size = WANTED;
            while size >= LEAST {
                if let Some(mut stack) = Stack::new(size) {
                    stack.is_threads = true;
                    let zone = stack.base as usize + size - SCRIPTS.min(size / 2);
                    if handled {
                        // SAFETY: the pages are the stack's own, which nobody uses yet.
                        unsafe { libc::mprotect(zone as *mut c_void, ZONE, libc::PROT_NONE) };
                        stack.handlers = handlers();
                    }
                    let (low, high) = (stack.base as usize + ZONE, stack.base as usize + size);
                    BOUNDS.set(Bounds { low, zone, high, opens: handled });
                    return Some(stack);
                }
                size /= 2;
            }
            None
        }

        fn new(size: usize) -> Option<Stack> {
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
                libc::mprotect(base, ZONE, libc::PROT_NONE);
            }
            Some(Stack { base: base.cast(), size, is_threads: false, handlers: None })
        }

        /// Runs something on this stack.
        fn run<R>(&self, run: impl FnOnce() -> R) -> R {
            let (start, size) = (self.base.wrapping_add(ZONE), self.size - ZONE);
            let run = AssertUnwindSafe(run);
            // SAFETY: the memory is a stack that nobody else is on: `run` below asks before, and `on_large` makes a new
            // one. Nothing unwinds out of the closure.
            let result: Result<R, Box<dyn Any + Send>> = unsafe { psm::on_stack(start, size, || catch_unwind(run)) };
            result.unwrap_or_else(|payload| resume_unwind(payload))
        }
    }

    impl Drop for Stack {
        fn drop(&mut self) {
            if self.is_threads {
                BOUNDS.set(Bounds::NONE);
            }
            // SAFETY: both are mappings of this value's own; nobody is on this stack, since the thread that drops the value is
            // on its own one, and the handlers' stack is given up first.
            unsafe {
                if let Some(handlers) = self.handlers {
                    let mut none: libc::stack_t = MaybeUninit::zeroed().assume_init();
                    none.ss_flags = libc::SS_DISABLE;
                    none.ss_size = HANDLERS;
                    libc::sigaltstack(&raw const none, ptr::null_mut());
                    libc::munmap(handlers.cast(), HANDLERS);
                }
                libc::munmap(self.base.cast(), self.size);
            }
        }
    }

    /// Gives the thread a stack for signal handlers, unless it has one, as all that Rust starts have.
    fn handlers() -> Option<*mut u8> {
        // SAFETY: all fields are integers and pointers, for which zero is valid; the new stack is a mapping of its own.
        unsafe {
            let mut present: libc::stack_t = MaybeUninit::zeroed().assume_init();
            if libc::sigaltstack(ptr::null(), &raw mut present) != 0 || present.ss_flags & libc::SS_DISABLE == 0 {
                return None;
            }
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            let base = libc::mmap(ptr::null_mut(), HANDLERS, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0);
            if base == libc::MAP_FAILED {
                return None;
            }
            let mut own: libc::stack_t = MaybeUninit::zeroed().assume_init();
            own.ss_sp = base;
            own.ss_size = HANDLERS;
            libc::sigaltstack(&raw const own, ptr::null_mut());
            Some(base.cast())
        }
    }

    /// Makes the thread's stack. Thread-locals that are first used later are dropped earlier.
    pub(crate) fn prepare() {
        STACK.with(|_| ());
    }

    fn here() -> usize {
        let mark = 0u8;
        std::hint::black_box(&raw const mark) as usize
    }

    /// Runs something on the thread's stack for scripts.
    #[inline]
    pub(crate) fn run<R>(run: impl FnOnce() -> R) -> R {
        if BOUNDS.get().has(here()) {
            return run();
        }
        let mut run = Some(run);
        let result = STACK.try_with(|stack| {
            let stack = stack.as_ref()?;
            let result = stack.run(run.take()?);
            if OPENED.get() {
                close_zone();
            }
            Some(result)
        });
        match (result, run) {
            (Ok(Some(result)), _) => result,
            (_, Some(run)) => run(),
            (_, None) => unreachable!("what has run has given its result"),
        }
    }

    /// Runs something on a stack of at least so many bytes, made for it unless the present one will do; `None` if the
    /// system gives none.
    pub(crate) fn on_large<R>(bytes: usize, run: impl FnOnce() -> R) -> Option<R> {
        if remaining().is_some_and(|left| left >= bytes) {
            return Some(run());
        }
        let size = bytes.checked_add(2 * ZONE)?.checked_next_multiple_of(ZONE)?;
        let stack = Stack::new(size)?;
        // `remaining` is asked meanwhile.
        struct ResetBounds(Bounds);
        impl Drop for ResetBounds {
            fn drop(&mut self) {
                BOUNDS.set(self.0);
            }
        }
        let low = stack.base as usize + ZONE;
        let _reset =
            ResetBounds(BOUNDS.replace(Bounds { low, zone: low - ZONE, high: low - ZONE + size, opens: false }));
        Some(stack.run(run))
    }

    /// Returns how many bytes of the present stack can be used; `None` on a stack that is not one of these.
    pub(crate) fn remaining() -> Option<usize> {
        let (bounds, here) = (BOUNDS.get(), here());
        bounds.has(here).then(|| here.saturating_sub(bounds.zone + ZONE))
    }

    /// Returns whether the script that runs has used up the stack.
    pub(crate) fn has_overflowed() -> bool {
        OPENED.get()
    }

    /// Runs something during which the handler is called when the stack is used up.
    #[inline]
    pub(crate) fn with_overflow_handler<R>(handler: &OverflowHandler, run: impl FnOnce() -> R) -> R {
        struct ResetHandler(*const OverflowHandler);
        impl Drop for ResetHandler {
            fn drop(&mut self) {
                HANDLER.set(self.0);
            }
        }
        let _reset = ResetHandler(HANDLER.replace(handler));
        run()
    }

    #[cold]
    fn close_zone() {
        let bounds = BOUNDS.get();
        OPENED.set(false);
        // SAFETY: the pages are the stack's own, and nobody is on it: the caller has just left it.
        unsafe {
            libc::madvise(bounds.low as *mut c_void, bounds.high - bounds.low, libc::MADV_DONTNEED);
            libc::mprotect(bounds.zone as *mut c_void, ZONE, libc::PROT_NONE);
        }
    }

    /// The former handlers of the signals; set before the handler that reads it is installed.
    static FORMER: OnceLock<[libc::sigaction; SIGNALS.len()]> = OnceLock::new();

    /// The signals that the system sends for an access that is not allowed.
    const SIGNALS: [c_int; 2] = [libc::SIGSEGV, libc::SIGBUS];

    /// Installs the handler, once in the process.
    fn install() -> bool {
        static INSTALLED: OnceLock<bool> = OnceLock::new();
        *INSTALLED.get_or_init(|| {
            // SAFETY: all fields are integers and pointers, for which zero is valid; the calls get records that live on.
            unsafe {
                let mut former: [libc::sigaction; SIGNALS.len()] = MaybeUninit::zeroed().assume_init();
                for (signal, former) in SIGNALS.iter().zip(&mut former) {
                    if libc::sigaction(*signal, ptr::null(), former) != 0 {
                        return false;
                    }
                }
                FORMER.get_or_init(|| former);
                let mut action: libc::sigaction = MaybeUninit::zeroed().assume_init();
                let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) = handle;
                action.sa_sigaction = handler as usize;
                action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
                libc::sigemptyset(&raw mut action.sa_mask);
                SIGNALS.iter().all(|signal| libc::sigaction(*signal, &raw const action, ptr::null_mut()) == 0)
            }
        })
    }

    extern "C" fn handle(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
        let bounds = BOUNDS.get();
        // SAFETY: the system gives a record.
        let address = unsafe { (*info).si_addr() } as usize;
        if bounds.opens && !OPENED.get() && (bounds.zone..bounds.zone + ZONE).contains(&address) {
            // SAFETY: the pages are those of this thread's stack.
            let opened =
                unsafe { libc::mprotect(bounds.zone as *mut c_void, ZONE, libc::PROT_READ | libc::PROT_WRITE) == 0 };
            if opened {
                OPENED.set(true);
                // SAFETY: `with_overflow_handler` borrows it until the former one is put back; `OverflowHandler::new` says
                // what its function may be called for.
                unsafe {
                    if let Some(handler) = HANDLER.get().as_ref() {
                        (handler.call)(handler.data);
                    }
                }
                return;
            }
        }
        let former = FORMER.get().zip(SIGNALS.iter().position(|known| *known == signal));
        let former = former.and_then(|(former, at)| former.get(at));
        let handler = former.map_or(libc::SIG_DFL, |former| former.sa_sigaction);
        // SAFETY: the system gave this address as that of a handler, of the kind that the flag tells. Without one, the access
        // is made again, and the system ends the process as it would have.
        unsafe {
            if handler == libc::SIG_DFL || handler == libc::SIG_IGN {
                libc::signal(signal, libc::SIG_DFL);
            } else if former.is_some_and(|former| former.sa_flags & libc::SA_SIGINFO != 0) {
                let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) = std::mem::transmute(handler);
                handler(signal, info, context);
            } else {
                let handler: extern "C" fn(c_int) = std::mem::transmute(handler);
                handler(signal);
            }
        }
    }
}

/// For systems without the signals and the mappings: scripts run on the thread's own stack.
#[cfg(not(unix))]
mod plain {
    use super::OverflowHandler;

    pub(crate) fn prepare() {}

    pub(crate) fn run<R>(run: impl FnOnce() -> R) -> R {
        run()
    }

    pub(crate) fn on_large<R>(_: usize, run: impl FnOnce() -> R) -> Option<R> {
        Some(run())
    }

    pub(crate) fn remaining() -> Option<usize> {
        None
    }

    pub(crate) fn has_overflowed() -> bool {
        false
    }

    pub(crate) fn with_overflow_handler<R>(_: &OverflowHandler, run: impl FnOnce() -> R) -> R {
        run()
    }
}
