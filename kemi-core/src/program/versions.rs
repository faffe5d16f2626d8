//! The script that all workers of a host run, and its replacement while they work.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant, SystemTime};

use super::instance::Instance;
use super::references::check_references;
use super::status::{ProgramStatus, Reloaded, WorkerStatus};
use super::worker::Worker;
use crate::engine::{Engine, Source, time_of, while_waiting};
use crate::error::{ErrorCode, ScriptError};
use crate::limits::Watch;
use crate::registry::Registry;
use crate::telemetry::{discard, log_guarded};

/// The script of a host, in versions.
///
/// Interpreters stay on their threads, so a script is loaded once per worker. A program gives all workers the same text:
/// [`reload`](Self::reload) reads the files again, loads them into an interpreter aside and checks them. If all is well it
/// publishes the new version, which each worker takes up between two calls. Otherwise nothing changes.
///
/// Script globals do not survive a reload; keep lasting state on the host's side. Each worker reads the modules that a script
/// imports when it loads the script.
pub struct Program<C: 'static> {
    engine: Arc<dyn Engine>,
    registry: Registry<C>,
    files: Vec<Source>,
    /// Makes the context on which a version is tried; without it the top level has none.
    trial: Option<Trial<C>>,
    version: AtomicU64,
    state: Mutex<State>,
    /// Notified of every change of the state.
    changed: Condvar,
}

/// A function that wakes a worker, so that an idle one takes up a new version.
///
/// It is called on a thread of its own, and not again before it has returned: it may wait for room in a queue.
pub type Wake = Box<dyn Fn() + Send + Sync>;

/// A function that makes a context for trying a version.
type Trial<C> = Box<dyn Fn() -> C + Send + Sync>;

struct State {
    sources: Arc<[Source]>,
    since: SystemTime,
    next_worker: u64,
    workers: BTreeMap<u64, WorkerEntry>,
    /// Whether a reload is under way; there is one at a time.
    reloading: bool,
}

struct WorkerEntry {
    status: WorkerStatus,
    wake: Option<Arc<Waker>>,
    watch: Arc<Watch>,
    /// The thread that calls the script.
    thread: ThreadId,
}

struct Waker {
    wake: Wake,
    /// [`AWAKE`], [`WAKING`] or [`AGAIN`].
    state: AtomicU8,
}

/// No call of the wake function is under way.
const AWAKE: u8 = 0;
/// A call of the wake function is under way.
const WAKING: u8 = 1;
/// One is under way, and may have done its part before there was a further version.
const AGAIN: u8 = 2;

impl<C: 'static> Program<C> {
    /// Reads and checks a script.
    ///
    /// # Errors
    /// A file that cannot be read; the errors of [`Instance::load`]; a function that the script names and an enabled module
    /// does not have; a callback that it names and does not define.
    pub fn open(
        engine: Arc<dyn Engine>,
        registry: &Registry<C>,
        files: &[Source],
    ) -> Result<Arc<Program<C>>, ScriptError> {
        Self::open_on(engine, registry, files, None)
    }

    /// Reads and checks a script whose top level needs the host's context, as one does that registers functions there.
    ///
    /// `trial` makes a context on which each version is tried before it is taken up; what the script does to it is thrown away.
    /// Workers then load the script with their own context: [`worker_with`](Self::worker_with),
    /// [`Worker::refresh_with`].
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_with(
        engine: Arc<dyn Engine>,
        registry: &Registry<C>,
        files: &[Source],
        trial: impl Fn() -> C + Send + Sync + 'static,
    ) -> Result<Arc<Program<C>>, ScriptError> {
        Self::open_on(engine, registry, files, Some(Box::new(trial)))
    }

    fn open_on(
        engine: Arc<dyn Engine>,
        registry: &Registry<C>,
        files: &[Source],
        trial: Option<Trial<C>>,
    ) -> Result<Arc<Program<C>>, ScriptError> {
        let sources = check(&*engine, registry, files, trial.as_ref())?;
        Ok(Arc::new(Program {
            trial,
            engine,
            registry: registry.clone(),
            files: files.to_vec(),
            version: AtomicU64::new(1),
            state: Mutex::new(State {
                sources,
                since: SystemTime::now(),
                next_worker: 0,
                workers: BTreeMap::new(),
                reloading: false,
            }),
            changed: Condvar::new(),
        }))
    }

    /// Loads the script for a worker, on the worker's own thread.
    ///
    /// # Errors
    /// The errors of [`Instance::load`].
    pub fn worker(self: &Arc<Self>, name: &str, wake: Option<Wake>) -> Result<Worker<C>, ScriptError> {
        self.worker_on(name, wake, None)
    }

    /// Loads the script for a worker, on the worker's own thread, and lends its top level the worker's context.
    ///
    /// # Errors
    /// As [`worker`](Self::worker).
    pub fn worker_with(
        self: &Arc<Self>,
        name: &str,
        wake: Option<Wake>,
        context: &mut C,
    ) -> Result<Worker<C>, ScriptError> {
        self.worker_on(name, wake, Some(context))
    }

    fn worker_on(
        self: &Arc<Self>,
        name: &str,
        wake: Option<Wake>,
        context: Option<&mut C>,
    ) -> Result<Worker<C>, ScriptError> {
        let (version, sources) = self.published();
        let instance = self.load(&sources, context)?;
        let mut state = self.state();
        let id = state.next_worker;
        state.next_worker += 1;
        let status = WorkerStatus { name: name.to_owned(), version, error: None, doing: None };
        let watch = instance.watch().clone();
        let wake = wake.map(|wake| Arc::new(Waker { wake, state: AtomicU8::new(AWAKE) }));
        state.workers.insert(id, WorkerEntry { status, wake, watch, thread: thread::current().id() });
        drop(state);
        Ok(Worker::new(self.clone(), id, instance, version))
    }

    /// Reloads the script from its files, and waits until all workers run the new version.
    ///
    /// A worker takes up the new version between two calls. One that is busy for longer than `patience` does so later, and is
    /// reported with the version it runs; so is one of the calling thread.
    ///
    /// # Errors
    /// The errors of [`open`](Self::open); the old version then runs on everywhere. [`ErrorCode::ReloadUnderWay`] if another
    /// reload does not end within `patience`.
    pub fn reload(&self, patience: Duration) -> Result<Reloaded, ScriptError> {
        let start = Instant::now();
        let _one_at_a_time = self.begin_reload(patience)?;
        let checked = check(&*self.engine, &self.registry, &self.files, self.trial.as_ref());
        self.registry.state().aggregator().reloaded(checked.is_ok());
        let sources = checked?;
        let old = self.version.load(Ordering::Acquire);
        let new = old + 1;
        let mut state = self.state();
        state.sources = sources;
        state.since = SystemTime::now();
        self.version.store(new, Ordering::Release);
        let wakers: Vec<Arc<Waker>> = state.workers.values().filter_map(|entry| entry.wake.clone()).collect();
        drop(state);
        wakers.iter().for_each(wake);
        // Workers may need the interpreter's lock that the calling thread has.
        while_waiting(|| self.await_workers(new, patience));
        let took_ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
        Ok(Reloaded { old, new, took_ms, workers: self.statuses() })
    }

    /// Waits until another reload has ended.
    fn begin_reload(&self, patience: Duration) -> Result<Reloading<'_, C>, ScriptError> {
        let others = |state: &mut State| state.reloading;
        let wait = || self.changed.wait_timeout_while(self.state(), patience, others);
        let (mut state, _) = while_waiting(wait).unwrap_or_else(PoisonError::into_inner);
        if state.reloading {
            let message = format!("another reload is under way and has not ended within {} ms", patience.as_millis());
            return Err(ScriptError::new(ErrorCode::ReloadUnderWay, message));
        }
        state.reloading = true;
        Ok(Reloading(self))
    }

    /// Waits until all workers but those of the calling thread run a version, or have reported why they cannot.
    fn await_workers(&self, version: u64, patience: Duration) {
        let here = thread::current().id();
        let behind = |worker: &WorkerEntry| {
            worker.status.version < version && worker.status.error.is_none() && worker.thread != here
        };
        let waiting = |state: &mut State| state.workers.values().any(behind);
        drop(self.changed.wait_timeout_while(self.state(), patience, waiting).unwrap_or_else(PoisonError::into_inner));
    }

    /// Reads the workers' activity, outside of the lock.
    fn statuses(&self) -> Vec<WorkerStatus> {
        let entries = |worker: &WorkerEntry| (worker.status.clone(), worker.watch.clone());
        let all: Vec<_> = self.state().workers.values().map(entries).collect();
        all.into_iter().map(|(status, watch)| WorkerStatus { doing: watch.doing(), ..status }).collect()
    }

    /// Returns the status of the program and its workers.
    #[must_use]
    pub fn status(&self) -> ProgramStatus {
        let state = self.state();
        let (version, since) = (self.version.load(Ordering::Acquire), state.since);
        drop(state);
        ProgramStatus {
            engine: self.engine.name().to_owned(),
            files: self.files.iter().map(Source::name).collect(),
            version,
            since: since.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_secs()),
            workers: self.statuses(),
        }
    }

    /// Returns the engine.
    #[must_use]
    pub fn engine(&self) -> &dyn Engine {
        &*self.engine
    }

    /// Returns the files as they were given.
    #[must_use]
    pub fn files(&self) -> &[Source] {
        &self.files
    }

    /// Returns the sources of the published version, each file with the bytes that it held when it was read.
    ///
    /// For what shows a script's lines beside an error: the files themselves may have been edited since, also in a way that a
    /// reload has refused.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use kemi_core::{NativeEngine, Program, Registry};
    /// # let registry = Registry::<()>::builder().root("app").build()?;
    /// let program = Program::open(Arc::new(NativeEngine::<()>::new("rust")), &registry, &[])?;
    /// assert!(program.sources().is_empty()); // this engine has no scripts
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn sources(&self) -> Arc<[Source]> {
        self.state().sources.clone()
    }

    /// Returns the number of the published version.
    pub(super) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Returns the published version with its text.
    pub(super) fn published(&self) -> (u64, Arc<[Source]>) {
        let state = self.state();
        (self.version(), state.sources.clone())
    }

    /// Loads a version on the calling thread.
    pub(super) fn load(&self, sources: &[Source], context: Option<&mut C>) -> Result<Instance<C>, ScriptError> {
        match context {
            Some(context) => Instance::load_with(&*self.engine, &self.registry, sources, context),
            None => Instance::load(&*self.engine, &self.registry, sources),
        }
    }

    /// Notes that a worker runs a version on the calling thread, or its error.
    pub(super) fn taken_up(&self, worker: u64, taken: Result<(u64, Arc<Watch>), String>) {
        let mut state = self.state();
        if let Some(entry) = state.workers.get_mut(&worker) {
            match taken {
                Ok((version, watch)) => {
                    entry.status.version = version;
                    entry.status.error = None;
                    entry.watch = watch;
                    entry.thread = thread::current().id();
                }
                Err(error) => entry.status.error = Some(error),
            }
        }
        drop(state);
        self.changed.notify_all();
    }

    /// Notes that a worker has gone.
    pub(super) fn leave(&self, worker: u64) {
        self.state().workers.remove(&worker);
        self.changed.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A reload that is under way, until it is dropped.
struct Reloading<'a, C: 'static>(&'a Program<C>);

impl<C: 'static> Drop for Reloading<'_, C> {
    fn drop(&mut self) {
        self.0.state().reloading = false;
        self.0.changed.notify_all();
    }
}

/// Wakes a worker without waiting for it.
fn wake(waker: &Arc<Waker>) {
    let again = |state| Some(if state == AWAKE { WAKING } else { AGAIN });
    if waker.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, again) != Ok(AWAKE) {
        return;
    }
    let woken = waker.clone();
    let started = thread::Builder::new().name("kemi wake".to_owned()).spawn(move || {
        loop {
            if let Err(payload) = catch_unwind(AssertUnwindSafe(|| (woken.wake)())) {
                discard(payload);
            }
            if woken.state.compare_exchange(WAKING, AWAKE, Ordering::AcqRel, Ordering::Acquire).is_ok() {
                return;
            }
            woken.state.store(WAKING, Ordering::Release);
        }
    });
    if let Err(error) = started {
        waker.state.store(AWAKE, Ordering::Release);
        log_guarded(|| {
            tracing::error!(target: "kemi", "no thread to wake a worker, it goes on with the old version for now: {error}");
        });
    }
}

/// Reads the files, loads them aside and checks them.
fn check<C: 'static>(
    engine: &dyn Engine,
    registry: &Registry<C>,
    files: &[Source],
    trial: Option<&Trial<C>>,
) -> Result<Arc<[Source]>, ScriptError> {
    let stamp = |mut error: ScriptError| {
        error.engine = engine.name();
        error
    };
    let time = time_of(registry.limits().max_load_time_ms);
    let sources: Arc<[Source]> =
        files.iter().map(|file| file.snapshot_within(time)).collect::<Result<_, _>>().map_err(stamp)?;
    let mut context = trial.map(|trial| trial());
    let instance = match &mut context {
        Some(context) => Instance::load_with(engine, registry, &sources, context)?,
        None => Instance::load(engine, registry, &sources)?,
    };
    for source in &*sources {
        let references = instance.while_loading(|| engine.references(source, registry.root()));
        let mut found = check_references(registry, &source.name(), &references.map_err(stamp)?);
        for warning in &found.warnings {
            log_guarded(|| tracing::warn!(target: "kemi", "{warning}"));
        }
        let unfit = found.callbacks.iter().filter_map(|named| instance.unfit(named, &source.name()));
        let unfit = unfit.collect::<Vec<_>>();
        found.errors.extend(unfit);
        found.into_result().map_err(stamp)?;
    }
    Ok(sources)
}

impl<C: 'static> fmt::Debug for Program<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program").field("engine", &self.engine).field("version", &self.version).finish_non_exhaustive()
    }
}
