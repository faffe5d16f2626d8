//! The state that an interpreter shares with its native functions.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::budget::Budget;
use super::call_state::{CallState, Phase};
use super::contract::{Engine, Interpreter};
use super::diagnostics::Diagnostics;
use super::functions::Functions;
use super::modules::ModuleFolders;
use super::objects::LetGo;
use crate::callback::{CallbackId, RouteId, Stamp};
use crate::error::{Location, NativeExit, ScriptError};
use crate::limits::{Interrupt, Limit, Watch, start_watching, without_limit};
use crate::registry::RegistryData;
use crate::telemetry::Recorder;
use crate::value::CompatCoercions;

/// How deep callbacks may nest: script, native function, script, and so on.
pub const MAX_NESTED_CALLBACKS: u32 = 16;

/// The state that one interpreter shares with the native functions it calls.
///
/// An engine keeps it in an `Rc`, passes every native call through [`typed`](Self::typed) or [`invoke`](Self::invoke), and
/// turns the [`NativeError`](crate::NativeError) that it gets back into an error of its language.
pub struct Runtime {
    registry: Arc<RegistryData>,
    /// The registry's stamp, cached.
    pub(super) stamp: Stamp,
    pub(super) engine: &'static str,
    pub(super) coercions: CompatCoercions,
    first_index: usize,
    /// The call that runs.
    pub(super) call: Cell<CallState>,
    /// The running top-level call's use of its limits.
    pub(super) budget: Budget,
    /// Whether a call has left state that the next one must not find: a limit hit, an unknown name.
    pub(super) dirty: Cell<bool>,
    /// The counters and thresholds for calls.
    pub(super) diagnostics: Diagnostics,
    pub(super) watch: Arc<Watch>,
    /// The route masks of the callbacks by index; 0 for one that is not computed yet.
    pub(super) route_masks: RefCell<Vec<u64>>,
    /// Where the script's modules come from.
    modules: ModuleFolders,
    /// The functions of the script that the host keeps.
    pub(super) functions: Functions,
    /// The objects that the script has let go.
    pub(super) let_go: Arc<LetGo>,
    /// A cache of the callbacks that the script has named at run time.
    pub(super) named_callbacks: RefCell<Vec<(RouteId, Box<str>, CallbackId)>>,
}

impl Runtime {
    pub(crate) fn new(registry: Arc<RegistryData>, language: &dyn Engine, modules: ModuleFolders) -> Runtime {
        let engine = language.name();
        let watch = Watch::new(engine, registry.clone());
        start_watching(&watch);
        LetGo::drop_left_over();
        Runtime {
            stamp: registry.stamp(),
            engine,
            coercions: language.coercions(),
            first_index: language.first_index(),
            modules,
            functions: Functions::default(),
            let_go: Arc::default(),
            call: Cell::new(CallState::idle(Phase::Calling)),
            budget: Budget::new(),
            dirty: Cell::new(false),
            diagnostics: Diagnostics::new(&registry),
            watch,
            route_masks: RefCell::default(),
            named_callbacks: RefCell::default(),
            registry,
        }
    }

    /// Returns the registry the scripts see.
    #[must_use]
    pub fn registry(&self) -> &Arc<RegistryData> {
        &self.registry
    }

    /// Returns where the script's modules come from.
    #[must_use]
    pub fn modules(&self) -> &ModuleFolders {
        &self.modules
    }

    /// Returns the engine's name.
    #[must_use]
    pub fn engine(&self) -> &'static str {
        self.engine
    }

    /// Returns the index of a list's first element in the language.
    #[must_use]
    pub fn first_index(&self) -> usize {
        self.first_index
    }

    /// Returns how many calls took the typed and the generic path; nothing is counted if
    /// [`TelemetryConfig::metrics`](crate::TelemetryConfig::metrics) is off.
    #[must_use]
    pub fn calls(&self) -> (u64, u64) {
        let generic = self.diagnostics.generic_calls.get();
        let all = self.diagnostics.recorder.as_ref().map_or(generic, Recorder::calls);
        (all - generic, generic)
    }

    /// Returns the pending end of the running callback: an exit, a drop, or `None`.
    ///
    /// While it is set every native call ends with the same [`NativeError`](crate::NativeError) again, so a script that
    /// catches the engine's error gets no further.
    #[must_use]
    #[inline]
    pub fn pending_exit(&self) -> Option<NativeExit> {
        self.call.get().exit
    }

    /// Requests the end of the running callback; for engines whose language has an exit of its own.
    pub fn request_exit(&self, control: NativeExit) {
        // A drop asked for first stands: the exit that follows it is how the script stops.
        if self.call.get().exit != Some(NativeExit::Drop) {
            self.change_call(|call| call.exit = Some(control));
        }
        self.change_call(|call| call.route_mask = 0);
        self.show_route_mask();
    }

    /// Publishes the route mask for native calls; an empty one sends them to the slow path.
    #[inline]
    pub(super) fn show_route_mask(&self) {
        let slow = self.diagnostics.slow_path.get() || self.diagnostics.spans.get();
        self.watch.open(if slow { 0 } else { self.call.get().route_mask });
    }

    #[inline]
    pub(super) fn change_call(&self, change: impl FnOnce(&mut CallState)) {
        let mut call = self.call.get();
        change(&mut call);
        self.call.set(call);
    }

    /// Sets the interrupt that wakes the interpreter up when a call's time is over.
    ///
    /// It is called on the watchdog's thread and must make the interpreter call [`poll`](Self::poll) soon on its own
    /// thread. It may come late, when the call is over already, and again and again while the call goes on. It is never
    /// called once the runtime is gone, or after `None` was set.
    pub fn on_interrupt(&self, interrupt: Option<Interrupt>) {
        self.watch.set_interrupt(interrupt);
    }

    /// Ends the running top-level call if its time is over; returns whether the running callback must end.
    ///
    /// Cheap enough for every loop turn. Interpreters call it wherever they can.
    #[inline]
    pub fn poll(&self, interpreter: &dyn Interpreter) -> bool {
        if self.watch.expired() && self.budget.limit_hit.get().is_none() {
            self.hit_limit(self.watch.reason(), interpreter.place());
        }
        self.call.get().exit.is_some()
    }

    /// Returns the limit that has ended the running top-level call, or is about to end it.
    ///
    /// A finding of the watchdog or the allocator counts before [`poll`](Self::poll) has seen it.
    ///
    /// An [interrupt](crate::limits::interrupt) may ask for it, from the middle of anything on the call's own thread.
    #[must_use]
    #[inline]
    pub fn pending_limit(&self) -> Option<Limit> {
        if self.watch.expired() {
            self.budget.limit_hit.get().or_else(|| Some(self.watch.reason()))
        } else {
            self.budget.limit_hit.get()
        }
    }

    /// Applies [`Limits::max_memory`](crate::Limits::max_memory) to this thread's use of Rust's own allocator, for engines
    /// that live on it.
    ///
    /// The script's top level from now on, then each top-level call, may make the thread hold so many bytes more, less
    /// those that the interpreter holds already. Native functions count as well while the call runs; blocks that they leave
    /// behind are not the interpreter's. The allocator does not know the owner of a block, so such an engine declares the
    /// host's part of a call by [`host_side`](Self::host_side).
    ///
    /// Once the limit is exceeded, [`poll`](Self::poll) and all native calls end the call, and the interpreter is
    /// [woken](crate::limits::interrupt::Running). Returns `false` if nothing is counted, since the program does not use
    /// [`CountingAllocator`](crate::CountingAllocator).
    pub fn count_memory(&self) -> bool {
        if self.registry.limits().max_memory == 0 {
            return true;
        }
        if !self.budget.memory.open() {
            return false;
        }
        if self.registry.limits().max_load_time_ms == 0 {
            self.watch.begin(0);
        }
        self.limit_memory();
        true
    }

    /// Runs the host's part of a call; memory that it allocates or frees is not the interpreter's.
    ///
    /// For engines that [count memory](Self::count_memory); for others it only runs the closure. Such an engine wraps
    ///
    /// - each call of a native function, and the drop of its result after the conversion;
    /// - the conversion of a callback's result to a [`Value`](crate::Value).
    ///
    /// The runtime itself copies the error that a callback ends with. Memory that a script allocates in a callback from a
    /// native function is the interpreter's again.
    #[inline]
    pub fn host_side<R>(&self, run: impl FnOnce() -> R) -> R {
        let _side = self.budget.memory.side(false);
        run()
    }

    /// Returns the bytes that the running top-level call may still allocate in one step, if memory is limited.
    ///
    /// Engines ask before a step whose size they know. While nothing counts, it is the whole limit.
    #[must_use]
    pub fn memory_room(&self) -> Option<u64> {
        match self.registry.limits().max_memory {
            0 => None,
            most => Some(self.budget.memory.room().unwrap_or(most)),
        }
    }

    /// Runs a step that frees the interpreter's memory but needs some for a moment, such as a garbage collection.
    ///
    /// The memory that it needs ends no call.
    pub fn while_freeing<R>(&self, run: impl FnOnce() -> R) -> R {
        let _side = self.budget.memory.side(true);
        without_limit(run)
    }

    /// Stops the clock of the running top-level call while a closure runs, in steps of some milliseconds.
    ///
    /// For waits that are not the script's fault, such as for the language's lock.
    ///
    /// A call that is over its time or memory stays so. Outer calls of another instance have clocks of their own, which go
    /// on.
    pub fn while_clock_stops<R>(&self, run: impl FnOnce() -> R) -> R {
        self.watch.while_stopped(true, run)
    }

    /// Lets the clock go on while a closure runs within one that [stops it](Self::while_clock_stops).
    ///
    /// For engines whose scope takes the lock again at its end: the scope stops the clock, and code within it counts.
    pub fn while_clock_goes<R>(&self, run: impl FnOnce() -> R) -> R {
        self.watch.while_stopped(false, run)
    }

    pub(super) fn limit_memory(&self) {
        self.budget.memory.begin(&self.watch, self.registry.limits().max_memory);
    }

    #[inline]
    pub(super) fn forget_memory(&self) {
        self.budget.memory.end();
    }

    /// Takes instructions off the budget; returns whether the running callback must end.
    #[inline]
    pub fn use_instructions(&self, instructions: u64, interpreter: &dyn Interpreter) -> bool {
        let used = self.budget.instructions_used.get().saturating_add(instructions);
        self.budget.instructions_used.set(used);
        let limit = self.registry.limits().max_instructions;
        if limit != 0 && used > limit && self.budget.limit_hit.get().is_none() {
            self.hit_limit(Limit::Instructions, interpreter.place());
        }
        self.call.get().exit.is_some()
    }

    /// Notes that the running top-level call has exceeded a limit.
    ///
    /// All its callbacks end as by an exit, which nothing can catch. Only the first limit counts; a later call adds the
    /// place if the first one did not know it.
    #[cold]
    pub fn hit_limit(&self, limit: Limit, place: Option<Location>) {
        if self.budget.limit_hit.get().is_none() {
            self.budget.limit_hit.set(Some(limit));
        }
        self.dirty.set(true);
        self.budget.note_place(|| place);
        self.request_exit(NativeExit::Exit);
    }

    /// Returns the limit that the running top-level call has exceeded.
    #[must_use]
    pub fn limit_hit(&self) -> Option<Limit> {
        self.budget.limit_hit.get()
    }

    /// Builds the error for the exceeded limit, if there is one.
    pub(super) fn limit_error(&self) -> Option<ScriptError> {
        let limit = self.budget.limit_hit.get()?;
        let loading = self.call.get().phase == Phase::Loading;
        let message = format!("the script {}", limit.message(self.registry.limits(), loading));
        let mut error = ScriptError::new(limit.code(), message);
        error.place = self.budget.limit_hit_at.borrow().clone();
        Some(error)
    }

    /// Notes that a script looked up a name that does not exist; see [`explain_missing`](Self::explain_missing).
    pub fn note_unknown(&self, module: &str, function: Option<&str>) {
        *self.diagnostics.unknown.borrow_mut() = Some((module.to_owned(), function.map(str::to_owned)));
        self.dirty.set(true);
    }

    /// Explains the last unknown name, for an error about a call or an index of nil.
    ///
    /// Returns `None` if the script has looked up no unknown name since the callback began.
    #[must_use]
    pub fn explain_missing(&self) -> Option<ScriptError> {
        let (module, function) = self.diagnostics.unknown.borrow_mut().take()?;
        Some(self.registry.explain_unknown(&module, function.as_deref()))
    }

    /// Begins a top-level call with an unused budget, without the last call's state.
    #[inline]
    pub(super) fn start_budget(&self, time_ms: u64) {
        self.budget.instructions_used.set(0);
        if self.dirty.replace(false) {
            self.forget();
        }
        self.watch.begin(time_ms);
        if self.budget.memory.counts() {
            self.limit_memory();
        }
    }

    #[cold]
    pub(super) fn forget(&self) {
        self.budget.waited.set(Duration::ZERO);
        self.budget.limit_hit.set(None);
        self.budget.limit_hit_at.take();
        self.diagnostics.unknown.take();
    }

    /// Returns the state of the calls that other threads can see.
    pub(crate) fn watch(&self) -> &Arc<Watch> {
        &self.watch
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        self.functions.close();
        self.let_go.close();
        self.forget_memory();
        // Waits for an interrupt that is running; what it refers to may go with the interpreter.
        self.watch.set_interrupt(None);
    }
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime")
            .field("engine", &self.engine)
            .field("callback", &self.call.get().callback)
            .field("depth", &self.call.get().depth)
            .finish_non_exhaustive()
    }
}
