//! Stacks as mappings of address space, and the signal handler that opens their overflow zones.

use std::any::Any;
use std::ffi::{c_int, c_void};
use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::OnceLock;

use super::{GUARD, ZONES};

/// The depth of the marks that tell whether a call went deep; memory above them is kept.
const DEEP: usize = 1 << 20;

/// How many words are marks: a recursion leaves few of them as they were.
const MARKS: usize = 16;

const MARK: usize = 0x5AFE_57AC;

/// The memory of a stack.
#[derive(Clone, Copy, Debug)]
pub(super) struct Area {
    start: *mut u8,
    size: usize,
}

impl Area {
    #[inline]
    pub(super) fn new(start: *mut u8, size: usize) -> Area {
        Area { start, size }
    }

    pub(super) fn start(self) -> *mut u8 {
        self.start
    }

    pub(super) fn size(self) -> usize {
        self.size
    }

    /// Runs a closure on the stack.
    ///
    /// # Safety
    /// It is mapped until then, and nobody is on it.
    #[inline]
    pub(super) unsafe fn run<R>(self, run: impl FnOnce() -> R) -> Result<R, Box<dyn Any + Send>> {
        let run = AssertUnwindSafe(run);
        #[cfg(kemi_asan)]
        let fibers = asan::Fibers::leave_for(self);
        let on_stack = || {
            #[cfg(kemi_asan)]
            let _fibers = fibers.arrive();
            catch_unwind(run)
        };
        // SAFETY: the memory is a stack which nobody is on. Its ends lie on page borders. Nothing unwinds out of the closure.
        let result = unsafe { psm::on_stack(self.start, self.size, on_stack) };
        #[cfg(kemi_asan)]
        asan::returned(&fibers);
        result
    }

    #[inline]
    fn marks(self) -> *mut [usize; MARKS] {
        self.start.wrapping_add(self.size - DEEP).cast()
    }

    /// Marks the place that a deep recursion writes over.
    ///
    /// # Safety
    /// Nobody is on the stack.
    pub(super) unsafe fn mark(self) {
        // SAFETY: the words are the stack's own, aligned, and nobody is on it.
        unsafe { self.marks().write([MARK; MARKS]) };
    }

    /// Returns whether the marks have been written over.
    ///
    /// # Safety
    /// It is mapped, and nobody is on it.
    #[inline]
    pub(super) unsafe fn went_deep(self) -> bool {
        // SAFETY: as in `mark`; whatever a function has left there is a number.
        let marks = unsafe { self.marks().read() };
        marks.iter().fold(0, |changed, mark| changed | (mark ^ MARK)) != 0
    }

    /// Gives the memory back that a deep recursion has taken.
    ///
    /// # Safety
    /// Nobody is on the stack.
    #[cold]
    pub(super) unsafe fn trim(self) {
        // SAFETY: as the caller's.
        unsafe {
            self.discard();
            self.mark();
        }
    }

    /// Gives the memory back.
    ///
    /// # Safety
    /// Nobody is on the stack.
    pub(super) unsafe fn discard(self) {
        // SAFETY: the pages are the stack's own; what they hold is of no use to anybody.
        unsafe { libc::madvise(self.start.cast::<c_void>(), self.size, libc::MADV_DONTNEED) };
    }

    /// Refuses access to the zone at an address of the stack.
    ///
    /// # Safety
    /// Nobody is on the stack.
    pub(super) unsafe fn close(self, zone: usize) -> bool {
        let zone = self.start.wrapping_add(zone - self.start.addr());
        // SAFETY: the pages are the stack's own, which nobody uses.
        unsafe { libc::mprotect(zone.cast(), GUARD, libc::PROT_NONE) == 0 }
    }
}

/// What AddressSanitizer has to know of a change of stacks: else it takes what a panic has left on this one for a fault.
///
/// `.ci/sanitize` switches it on, since a stable compiler does not tell whether it sanitizes.
#[cfg(kemi_asan)]
mod asan {
    use std::cell::Cell;
    use std::ffi::c_void;
    use std::ptr;

    use super::Area;

    unsafe extern "C" {
        fn __sanitizer_start_switch_fiber(fake_stack: *mut *mut c_void, bottom: *const c_void, size: usize);
        fn __sanitizer_finish_switch_fiber(
            fake_stack: *mut c_void,
            former_bottom: *mut *const c_void,
            former_size: *mut usize,
        );
    }

    /// The stack that was left, for the way back.
    pub(super) struct Fibers {
        fake_stack: Cell<*mut c_void>,
        bottom: Cell<*const c_void>,
        size: Cell<usize>,
    }

    impl Fibers {
        /// Says that the thread goes over to a stack.
        pub(super) fn leave_for(area: Area) -> Fibers {
            let fibers = Fibers { fake_stack: Cell::default(), bottom: Cell::new(ptr::null()), size: Cell::new(0) };
            // SAFETY: the stack is mapped; the place for the fake stack is the cell's.
            unsafe { __sanitizer_start_switch_fiber(fibers.fake_stack.as_ptr(), area.start.cast(), area.size) };
            fibers
        }

        /// Says that the thread is there; the result's drop says that it goes back.
        pub(super) fn arrive(&self) -> Back<'_> {
            // SAFETY: a new fake stack begins here; the places are the cells'.
            unsafe { __sanitizer_finish_switch_fiber(ptr::null_mut(), self.bottom.as_ptr(), self.size.as_ptr()) };
            Back(self)
        }
    }

    pub(super) struct Back<'a>(&'a Fibers);

    impl Drop for Back<'_> {
        fn drop(&mut self) {
            // SAFETY: the stack that was left is still there; without a place for it, the fake stack of this one ends.
            unsafe { __sanitizer_start_switch_fiber(ptr::null_mut(), self.0.bottom.get(), self.0.size.get()) };
        }
    }

    /// Says that the thread is back.
    pub(super) fn returned(fibers: &Fibers) {
        // SAFETY: it is the fake stack that `leave_for` was given for the stack that the thread is on again.
        unsafe { __sanitizer_finish_switch_fiber(fibers.fake_stack.get(), ptr::null_mut(), ptr::null_mut()) };
    }
}

/// Address space for a stack, with a guard below.
#[derive(Debug)]
pub(super) struct Mapping {
    base: *mut u8,
    size: usize,
}

impl Mapping {
    pub(super) fn new(size: usize) -> Option<Mapping> {
        let size = size.checked_next_multiple_of(GUARD)?;
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
        Some(Mapping { base: base.cast(), size })
    }

    pub(super) fn area(&self) -> Area {
        Area::new(self.base.wrapping_add(GUARD), self.size - GUARD)
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's own, and nobody is on it: a thread ends on the stack it began on, and
        // whoever made it for a closure drops it after the closure.
        unsafe { libc::munmap(self.base.cast(), self.size) };
    }
}

/// Allows access to a zone of the thread's stack. Async-signal-safe.
pub(super) fn open(zone: usize) -> bool {
    let zone = ptr::without_provenance_mut::<c_void>(zone);
    // SAFETY: the pages are a zone of a stack, which is made to be read and written.
    unsafe { libc::mprotect(zone, GUARD, libc::PROT_READ | libc::PROT_WRITE) == 0 }
}

/// A stack for signal handlers of a thread that had none; those that Rust starts have one.
#[derive(Debug)]
pub(super) struct SignalStack {
    base: *mut c_void,
}

impl SignalStack {
    const SIZE: usize = 64 << 10;

    /// Gives the thread one, unless it has one.
    pub(super) fn install() -> Option<SignalStack> {
        if SignalStack::present()?.ss_flags & libc::SS_DISABLE == 0 {
            return None;
        }
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping at an address of the system's choice.
        let base = unsafe { libc::mmap(ptr::null_mut(), SignalStack::SIZE, access, flags, -1, 0) };
        if base == libc::MAP_FAILED {
            return None;
        }
        let stack = SignalStack { base };
        stack.set(0);
        Some(stack)
    }

    fn present() -> Option<libc::stack_t> {
        // SAFETY: all fields are integers and pointers, for which zero is valid; the call only fills them.
        unsafe {
            let mut present: libc::stack_t = MaybeUninit::zeroed().assume_init();
            (libc::sigaltstack(ptr::null(), &raw mut present) == 0).then_some(present)
        }
    }

    fn set(&self, flags: c_int) {
        // SAFETY: as in `present`; the stack is a mapping of its own, which lives until it is given up.
        unsafe {
            let mut own: libc::stack_t = MaybeUninit::zeroed().assume_init();
            own.ss_sp = self.base;
            own.ss_size = SignalStack::SIZE;
            own.ss_flags = flags;
            libc::sigaltstack(&raw const own, ptr::null_mut());
        }
    }
}

impl Drop for SignalStack {
    fn drop(&mut self) {
        if SignalStack::present().is_some_and(|present| present.ss_sp == self.base) {
            self.set(libc::SS_DISABLE);
        }
        // SAFETY: the mapping is this value's own, and no handler is on it: this is the thread that they would run on.
        unsafe { libc::munmap(self.base, SignalStack::SIZE) };
    }
}

/// The signals for an access that is not allowed.
const SIGNALS: [c_int; 2] = [libc::SIGSEGV, libc::SIGBUS];

type Handler = extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void);

/// The former handlers of the signals; set before the handler that reads them is installed.
static FORMER: OnceLock<[libc::sigaction; SIGNALS.len()]> = OnceLock::new();

/// Installs the handler, once in the process; returns whether there is one.
pub(super) fn handler_is_installed() -> bool {
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
            let handler: Handler = handle;
            action.sa_sigaction = handler as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
            libc::sigemptyset(&raw mut action.sa_mask);
            SIGNALS.iter().all(|signal| libc::sigaction(*signal, &raw const action, ptr::null_mut()) == 0)
        }
    })
}

extern "C" fn handle(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the system gives a record.
    let address = unsafe { (*info).si_addr() }.addr();
    let mut link = ZONES.get();
    // SAFETY: what is in the list is alive, and this is its thread.
    while let Some(stack) = unsafe { link.as_ref() } {
        if stack.open_zone(address) {
            return;
        }
        link = stack.next.get();
    }
    pass_on(signal, info, context);
}

/// Gives a fault to the handler that was there before.
fn pass_on(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    let former = FORMER.get().zip(SIGNALS.iter().position(|known| *known == signal));
    let former = former.and_then(|(former, at)| former.get(at));
    let handler = former.map_or(libc::SIG_DFL, |former| former.sa_sigaction);
    // SAFETY: the system gave this address as that of a handler, of the kind that the flag tells. Without one, the access
    // is made again, and the system ends the process as it would have.
    unsafe {
        if handler == libc::SIG_DFL || handler == libc::SIG_IGN {
            libc::signal(signal, libc::SIG_DFL);
        } else if former.is_some_and(|former| former.sa_flags & libc::SA_SIGINFO != 0) {
            let handler: Handler = std::mem::transmute(handler);
            handler(signal, info, context);
        } else {
            let handler: extern "C" fn(c_int) = std::mem::transmute(handler);
            handler(signal);
        }
    }
}
