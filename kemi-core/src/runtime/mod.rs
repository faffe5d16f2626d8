//! What stands between an interpreter and the native functions: the context slot, the gates, the ways a call ends.

mod callback;
mod host;
mod native;
mod script;

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::fmt;
use std::ptr;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use self::host::{Closed, time_of};
pub use self::native::caught;
pub use self::script::Script;
pub(crate) use self::script::{missing_callback, replaced};
use crate::callback::{CallbackId, RouteId, Stamp};
use crate::engine::Interpreter;
use crate::error::{Control, Place, ScriptError};
use crate::error_log::ErrorLog;
use crate::limits::Limit;
use crate::memory;
use crate::metrics::Recorder;
use crate::policy::Coercions;
use crate::registry::{IDLE_GATE, RegistryData};
use crate::value::Value;
use crate::watch::{Interrupt, LimitCell, Watch, watch};

/// How deep callbacks may nest: script, native function, script, and so on.
pub const MAX_NESTED_CALLBACKS: u32 = 16;

/// From which threshold on the watchdog's steps are short enough to see what takes longer.
const COARSE_ENOUGH_MS: u64 = 25;

/// How a callback ended, if not with an error.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// It returned.
    Value(Value),
    /// It asked to end here.
    Exit,
    /// It asked to end here and to drop what it was called for.
    Drop,
}

/// What an interpreter is run for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Calls of the host, and what is between them.
    Calling,
    /// The script's top level.
    Loading,
    /// The host looks something up.
    LookingUp,
    /// The end of the interpreter.
    Closing,
}

/// The state that one interpreter shares with the native functions it calls.
///
/// An engine keeps it in an `Rc`, passes every native call through [`typed`](Self::typed) or
/// [`invoke`](Self::invoke), and turns the [`Fault`](crate::Fault) it gets back into what its language calls an error.
pub struct Runtime {
    registry: Arc<RegistryData>,
    /// The registry's, at hand.
    stamp: Stamp,
    engine: &'static str,
    coercions: Coercions,
    phase: Cell<Phase>,
    context: Cell<*mut ()>,
    /// A bit for each route whose exports may be called; what [`Watch`] shows is this or nothing.
    gate: Cell<u64>,
    /// Whether each native call is to be looked at closely: instructions are limited, or spans wanted.
    attentive: Cell<bool>,
    ending: Cell<Option<Control>>,
    callback: Cell<Option<CallbackId>>,
    depth: Cell<u32>,
    generic_calls: Cell<u64>,
    /// Whether a call has left something in one of the fields that the next one must not find.
    left: Cell<bool>,
    unknown: RefCell<Option<(String, Option<String>)>>,
    warned: RefCell<HashSet<u32>>,
    gates: RefCell<Vec<u64>>,
    /// The callbacks that the script has chosen by name, so that each is looked up once.
    chosen: RefCell<Vec<(RouteId, Box<str>, CallbackId)>>,
    watch: Arc<Watch>,
    spent: Cell<u64>,
    exhausted: LimitCell,
    exhausted_at: RefCell<Option<Place>>,
    memory: memory::Account,
    recorder: Option<Recorder>,
    /// From how many milliseconds on a native call is slow.
    slow_native_ms: u64,
    /// From which duration on a callback is slow.
    slow_callback: Duration,
    /// Whether each callback is timed, since the watchdog's clock is too coarse for that.
    times_all: bool,
    /// When by the watchdog's clock a callback was timed last.
    timed_at: Cell<u64>,
    /// Whether somebody wants to see spans of native calls.
    spans: Cell<bool>,
    /// What was replaced by callbacks that ended well.
    replaced: ErrorLog,
}

impl Runtime {
    pub(crate) fn new(registry: Arc<RegistryData>, engine: &'static str, coercions: Coercions) -> Runtime {
        let clock = Watch::new(engine, registry.clone());
        watch(&clock);
        let insight = registry.insight();
        let or_never = |milliseconds| if milliseconds == 0 { u64::MAX } else { milliseconds };
        Runtime {
            recorder: insight.metrics.then(|| registry.hub().recorder(insight.sample)),
            slow_native_ms: or_never(insight.slow_native_ms),
            slow_callback: Duration::from_millis(or_never(insight.slow_callback_ms)),
            times_all: (1..COARSE_ENOUGH_MS).contains(&insight.slow_callback_ms),
            timed_at: Cell::new(0),
            spans: Cell::new(false),
            attentive: Cell::new(registry.limits().max_instructions != 0),
            watch: clock,
            spent: Cell::new(0),
            exhausted: LimitCell::default(),
            exhausted_at: RefCell::new(None),
            memory: memory::Account::new(),
            replaced: ErrorLog::new(),
            stamp: registry.stamp(),
            phase: Cell::new(Phase::Calling),
            registry,
            engine,
            coercions,
            context: Cell::new(ptr::null_mut()),
            gate: Cell::new(IDLE_GATE),
            ending: Cell::new(None),
            callback: Cell::new(None),
            depth: Cell::new(0),
            generic_calls: Cell::new(0),
            left: Cell::new(false),
            unknown: RefCell::new(None),
            warned: RefCell::new(HashSet::new()),
            gates: RefCell::new(Vec::new()),
            chosen: RefCell::default(),
        }
    }

    /// Returns the registry the scripts see.
    #[must_use]
    pub fn registry(&self) -> &Arc<RegistryData> {
        &self.registry
    }

    /// Returns the engine's name.
    #[must_use]
    pub fn engine(&self) -> &'static str {
        self.engine
    }

    /// Returns how many calls took the typed and the generic path; nothing is counted if
    /// [`Insight::metrics`](crate::Insight::metrics) is off.
    #[must_use]
    pub fn calls(&self) -> (u64, u64) {
        let generic = self.generic_calls.get();
        let all = self.recorder.as_ref().map_or(generic, Recorder::calls);
        (all - generic, generic)
    }

    /// Returns whether the running callback is to end: by an exit, a drop, or not at all.
    ///
    /// While it is set every native call ends with the same fault again, so a script that catches what an engine
    /// raised gets no further.
    #[must_use]
    #[inline]
    pub fn ending(&self) -> Option<Control> {
        self.ending.get()
    }

    /// Makes the running callback end; for engines whose language has an exit of its own.
    pub fn end(&self, control: Control) {
        // A drop asked for first stands: the exit that follows it is how the script stops.
        if self.ending.get() != Some(Control::Drop) {
            self.ending.set(Some(control));
        }
        self.gate.set(0);
        self.show_gate();
    }

    /// Shows native calls which routes are open, or that they have to look closer.
    #[inline]
    fn show_gate(&self) {
        let closely = self.attentive.get() || self.spans.get();
        self.watch.open(if closely { 0 } else { self.gate.get() });
    }

    /// Sets what wakes the interpreter up when a call's time is over.
    ///
    /// It is called on the watchdog's thread and must make the interpreter call [`poll`](Self::poll) soon on its own
    /// thread. It may come late, when the call is over already, and again and again while the call goes on. It is never
    /// called once the runtime is gone, or after `None` was set.
    pub fn on_interrupt(&self, interrupt: Option<Interrupt>) {
        self.watch.set_interrupt(interrupt);
    }

    /// Ends the running top-level call if its time is over; returns whether the running callback is to end.
    ///
    /// Cheap enough for every loop turn. Interpreters call it wherever they can look around.
    #[inline]
    pub fn poll(&self, interpreter: &dyn Interpreter) -> bool {
        if self.watch.expired() && self.exhausted.get().is_none() {
            self.exhaust(self.watch.reason(), interpreter.place());
        }
        self.ending.get().is_some()
    }

    /// Returns the limit that has ended the running top-level call, or is about to: what the watchdog or the allocator
    /// have found counts before [`poll`](Self::poll) has seen it.
    ///
    /// An [interrupt](crate::interrupt) may ask for it, from the middle of anything on the call's own thread.
    #[must_use]
    #[inline]
    pub fn over(&self) -> Option<Limit> {
        if self.watch.expired() {
            self.exhausted.get().or_else(|| Some(self.watch.reason()))
        } else {
            self.exhausted.get()
        }
    }

    /// Makes [`Limits::max_memory`](crate::Limits::max_memory) hold for what is allocated on this thread by Rust's own
    /// allocator, for engines that live on it: the script's top level from now on, then each top-level call, may make the
    /// thread hold so many bytes more, less what the interpreter holds already. Native functions count as well while the
    /// call runs, but what they leave behind is not the interpreter's.
    ///
    /// The allocator does not know whose a block is, so such an engine tells by [`host_side`](Self::host_side).
    ///
    /// Once the limit is exceeded, [`poll`](Self::poll) and all native calls end the call, and the interpreter is
    /// [woken](crate::interrupt::Running). Returns `false` if nothing is counted, since the program does not use
    /// [`CountingAllocator`](crate::CountingAllocator).
    pub fn count_memory(&self) -> bool {
        if self.registry.limits().max_memory == 0 {
            return true;
        }
        if !self.memory.open() {
            return false;
        }
        if self.registry.limits().max_load_time_ms == 0 {
            self.watch.begin(0);
        }
        self.limit_memory();
        true
    }

    /// Runs the host's part of a call: by how much the thread's memory changes inside is not the interpreter's.
    ///
    /// For engines that [count memory](Self::count_memory); for others it only runs the closure. Such an engine wraps
    ///
    /// - each call of a native function, and the place where what it has returned is dropped after its conversion;
    /// - the conversion of a callback's result to a [`Value`].
    ///
    /// An error that a callback ends with needs nothing: the runtime copies it. What a script allocates in a callback
    /// that a native function calls is the interpreter's again.
    #[inline]
    pub fn host_side<R>(&self, run: impl FnOnce() -> R) -> R {
        let _side = self.memory.side(false);
        run()
    }

    /// Returns how many bytes the running top-level call may still allocate in one step, if they are limited: for an
    /// engine to ask before a step whose size it knows. While nothing counts, it is the whole limit.
    #[must_use]
    pub fn memory_room(&self) -> Option<u64> {
        match self.registry.limits().max_memory {
            0 => None,
            most => Some(self.memory.room().unwrap_or(most)),
        }
    }

    /// Runs something that takes memory for a moment to free some of the interpreter's, such as a collection of garbage:
    /// it ends no call.
    pub fn while_freeing<R>(&self, run: impl FnOnce() -> R) -> R {
        let _side = self.memory.side(true);
        memory::without_limit(run)
    }

    /// Lets the clock of the running top-level call stand while something runs, in steps of some milliseconds: for an
    /// engine that waits for what the script cannot help, such as its language's lock.
    ///
    /// A call that is over its time or memory stays so. Calls that the running one is nested in by way of another
    /// instance have clocks of their own, which go on.
    pub fn while_clock_stops<R>(&self, run: impl FnOnce() -> R) -> R {
        self.watch.while_stopped(true, run)
    }

    /// Lets the clock go on while something runs that stands within what [stops it](Self::while_clock_stops).
    ///
    /// For engines whose lock is taken again by the end of a scope: the scope stops the clock, and what runs in it counts.
    pub fn while_clock_goes<R>(&self, run: impl FnOnce() -> R) -> R {
        self.watch.while_stopped(false, run)
    }

    fn limit_memory(&self) {
        self.memory.begin(&self.watch, self.registry.limits().max_memory);
    }

    #[inline]
    fn forget_memory(&self) {
        self.memory.end();
    }

    /// Takes instructions off the budget; returns whether the running callback is to end.
    #[inline]
    pub fn spend(&self, instructions: u64, interpreter: &dyn Interpreter) -> bool {
        let spent = self.spent.get().saturating_add(instructions);
        self.spent.set(spent);
        let limit = self.registry.limits().max_instructions;
        if limit != 0 && spent > limit && self.exhausted.get().is_none() {
            self.exhaust(Limit::Instructions, interpreter.place());
        }
        self.ending.get().is_some()
    }

    /// Notes that the running top-level call has exceeded a limit: it ends like by an exit that nothing can catch, and
    /// so do the callbacks it is nested in.
    ///
    /// Only the first limit counts; a later call adds the place if the first one did not know it.
    #[cold]
    pub fn exhaust(&self, limit: Limit, place: Option<Place>) {
        if self.exhausted.get().is_none() {
            self.exhausted.set(Some(limit));
        }
        self.left.set(true);
        let mut exhausted_at = self.exhausted_at.borrow_mut();
        if exhausted_at.is_none() {
            *exhausted_at = place;
        }
        drop(exhausted_at);
        self.end(Control::Exit);
    }

    /// Returns which limit the running top-level call has exceeded.
    #[must_use]
    pub fn exhausted(&self) -> Option<Limit> {
        self.exhausted.get()
    }

    /// Builds the error for the exceeded limit, if there is one.
    fn limit_error(&self) -> Option<ScriptError> {
        let limit = self.exhausted.get()?;
        let loading = self.phase.get() == Phase::Loading;
        let message = format!("the script {}", limit.message(self.registry.limits(), loading));
        let mut error = ScriptError::new(limit.code(), message);
        error.place = self.exhausted_at.borrow().clone();
        Some(error)
    }

    /// Notes that a script looked up a name that does not exist; see [`explain_missing`](Self::explain_missing).
    pub fn note_unknown(&self, module: &str, function: Option<&str>) {
        *self.unknown.borrow_mut() = Some((module.to_owned(), function.map(str::to_owned)));
        self.left.set(true);
    }

    /// Explains the last unknown name, for an error that says that something nil was called or indexed.
    ///
    /// Returns `None` if the script has looked up no unknown name since the callback began.
    #[must_use]
    pub fn explain_missing(&self) -> Option<ScriptError> {
        let (module, function) = self.unknown.borrow_mut().take()?;
        Some(self.registry.explain_unknown(&module, function.as_deref()))
    }

    /// Begins a top-level call: what the one before has used and left is forgotten.
    #[inline]
    fn start_budget(&self, time_ms: u64) {
        self.spent.set(0);
        if self.left.replace(false) {
            self.forget();
        }
        self.watch.begin(time_ms);
        if self.memory.counts() {
            self.limit_memory();
        }
    }

    #[cold]
    fn forget(&self) {
        self.exhausted.set(None);
        self.exhausted_at.take();
        self.unknown.take();
    }

    /// Returns what other threads can see of the calls.
    pub(crate) fn watch(&self) -> &Arc<Watch> {
        &self.watch
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        self.forget_memory();
        // Waits for an interrupt that is running; what it refers to may go with the interpreter.
        self.watch.set_interrupt(None);
    }
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime")
            .field("engine", &self.engine)
            .field("callback", &self.callback.get())
            .field("depth", &self.depth.get())
            .finish_non_exhaustive()
    }
}
