//! The script that all workers of a host run, and how it is replaced while they work.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use serde::Serialize;

use crate::engine::Engine;
use crate::error::ScriptError;
use crate::instance::Instance;
use crate::lexis::check_references;
use crate::registry::Registry;
use crate::source::Source;
use crate::watch::Watch;

/// The script of a host, in versions.
///
/// Interpreters stay on their threads, so a script is loaded once per worker. A program gives all workers the same
/// text: [`reload`](Self::reload) reads the files again, loads them into an interpreter aside, checks them, and only if
/// all is well publishes the new version, which each worker takes up between two calls. If anything is wrong
/// nothing changes.
///
/// Script globals do not survive a reload; what must is kept on the host's side. Modules that a script imports are
/// read by each worker when it loads.
pub struct Program<C: 'static> {
    engine: Arc<dyn Engine>,
    registry: Registry<C>,
    files: Vec<Source>,
    version: AtomicU64,
    state: Mutex<State>,
    changed: Condvar,
    /// One reload at a time.
    reloading: Mutex<()>,
}

/// What a worker calls to be woken, so that an idle one takes a new version up.
pub type Wake = Box<dyn Fn() + Send + Sync>;

struct State {
    sources: Arc<[Source]>,
    since: SystemTime,
    next_worker: u64,
    workers: BTreeMap<u64, WorkerEntry>,
}

struct WorkerEntry {
    status: WorkerStatus,
    wake: Option<Wake>,
    watch: Arc<Watch>,
}

/// What one worker runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WorkerStatus {
    /// The worker's name.
    pub name: String,
    /// The version it runs.
    pub version: u64,
    /// Why it could not take the newest version up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The callback that it is in just now, and the native function if it is in one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub doing: Option<String>,
}

/// What a program runs at the moment.
#[derive(Clone, Debug, Serialize)]
pub struct ProgramStatus {
    /// The engine's name.
    pub engine: String,
    /// The script's files.
    pub files: Vec<String>,
    /// The version that is published, from 1.
    pub version: u64,
    /// Since when, in seconds since 1970.
    pub since: u64,
    /// The workers.
    pub workers: Vec<WorkerStatus>,
}

/// What a reload did.
#[derive(Clone, Debug, Serialize)]
pub struct Reloaded {
    /// The version before.
    pub old: u64,
    /// The version now.
    pub new: u64,
    /// Milliseconds from the call until the last worker had taken the version up, or until the caller's patience ended.
    pub took_ms: u64,
    /// The workers, with the version each runs.
    pub workers: Vec<WorkerStatus>,
}

impl<C: 'static> Program<C> {
    /// Reads and checks a script.
    ///
    /// # Errors
    /// A file that cannot be read, or what [`Instance::load`] reports, or a function that the script names and an
    /// enabled module does not have, or a callback that it names and does not define.
    pub fn open(
        engine: Arc<dyn Engine>,
        registry: &Registry<C>,
        files: &[Source],
    ) -> Result<Arc<Program<C>>, ScriptError> {
        let sources = check(&*engine, registry, files)?;
        Ok(Arc::new(Program {
            engine,
            registry: registry.clone(),
            files: files.to_vec(),
            version: AtomicU64::new(1),
            state: Mutex::new(State { sources, since: SystemTime::now(), next_worker: 0, workers: BTreeMap::new() }),
            changed: Condvar::new(),
            reloading: Mutex::new(()),
        }))
    }

    /// Loads the script for a worker, on the worker's own thread.
    ///
    /// # Errors
    /// What [`Instance::load`] reports.
    pub fn worker(self: &Arc<Self>, name: &str, wake: Option<Wake>) -> Result<Worker<C>, ScriptError> {
        let (version, sources) = self.published();
        let instance = Instance::load(&*self.engine, &self.registry, &sources)?;
        let mut state = self.state();
        let id = state.next_worker;
        state.next_worker += 1;
        let status = WorkerStatus { name: name.to_owned(), version, error: None, doing: None };
        let watch = instance.runtime().watch().clone();
        state.workers.insert(id, WorkerEntry { status, wake, watch });
        drop(state);
        Ok(Worker { program: self.clone(), id, instance, seen: version })
    }

    /// Replaces the script by what its files hold now, and waits until all workers run it.
    ///
    /// A worker takes the new version up between two calls; one that is busy for longer than `patience` does so later,
    /// and is reported with the version it runs.
    ///
    /// # Errors
    /// Everything [`open`](Self::open) reports; the old version then runs on everywhere.
    pub fn reload(&self, patience: Duration) -> Result<Reloaded, ScriptError> {
        let _one_at_a_time = self.reloading.lock().unwrap_or_else(PoisonError::into_inner);
        let start = Instant::now();
        let checked = check(&*self.engine, &self.registry, &self.files);
        self.registry.hub().reloaded(checked.is_ok());
        let sources = checked?;
        let old = self.version.load(Ordering::Acquire);
        let new = old + 1;
        let mut state = self.state();
        state.sources = sources;
        state.since = SystemTime::now();
        self.version.store(new, Ordering::Release);
        for entry in state.workers.values() {
            if let Some(wake) = &entry.wake {
                wake();
            }
        }
        let waiting =
            |state: &mut State| state.workers.values().any(|w| w.status.version < new && w.status.error.is_none());
        let (state, _) =
            self.changed.wait_timeout_while(state, patience, waiting).unwrap_or_else(PoisonError::into_inner);
        let took_ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
        Ok(Reloaded { old, new, took_ms, workers: statuses(&state) })
    }

    /// Returns what runs at the moment.
    #[must_use]
    pub fn status(&self) -> ProgramStatus {
        let state = self.state();
        ProgramStatus {
            engine: self.engine.name().to_owned(),
            files: self.files.iter().map(Source::name).collect(),
            version: self.version.load(Ordering::Acquire),
            since: state.since.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_secs()),
            workers: statuses(&state),
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

    fn published(&self) -> (u64, Arc<[Source]>) {
        let state = self.state();
        (self.version.load(Ordering::Acquire), state.sources.clone())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn statuses(state: &State) -> Vec<WorkerStatus> {
    let status = |worker: &WorkerEntry| WorkerStatus { doing: worker.watch.doing(), ..worker.status.clone() };
    state.workers.values().map(status).collect()
}

/// Reads the files, loads them aside and checks them.
fn check<C: 'static>(
    engine: &dyn Engine,
    registry: &Registry<C>,
    files: &[Source],
) -> Result<Arc<[Source]>, ScriptError> {
    let stamp = |mut error: ScriptError| {
        error.engine = engine.name();
        error
    };
    let sources: Arc<[Source]> = files.iter().map(Source::snapshot).collect::<Result<_, _>>().map_err(stamp)?;
    let instance = Instance::load(engine, registry, &sources)?;
    if let Some(lexis) = engine.lexis() {
        for source in &*sources {
            let mut found = check_references(registry, &lexis, &source.name(), &source.read().map_err(stamp)?);
            for warning in &found.warnings {
                tracing::warn!(target: "kemi", "{warning}");
            }
            let missing = found.callbacks.iter().filter_map(|mention| instance.missing(mention, &source.name()));
            found.errors.extend(missing.collect::<Vec<_>>());
            found.into_result().map_err(stamp)?;
        }
    }
    Ok(sources)
}

impl<C: 'static> fmt::Debug for Program<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program").field("engine", &self.engine).field("version", &self.version).finish_non_exhaustive()
    }
}

/// One worker's copy of a [`Program`].
pub struct Worker<C: 'static> {
    program: Arc<Program<C>>,
    id: u64,
    instance: Instance<C>,
    /// The newest version it has tried to take up.
    seen: u64,
}

impl<C: 'static> Worker<C> {
    /// Takes a new version up, if there is one; call it between two calls of the script.
    ///
    /// Returns whether the script was replaced. If the new version cannot be loaded here although it was checked, the
    /// old one goes on, and the reason is logged and part of the status.
    pub fn refresh(&mut self) -> bool {
        if self.program.version.load(Ordering::Acquire) == self.seen {
            return false;
        }
        let (version, sources) = self.program.published();
        self.seen = version;
        let loaded = Instance::load(&*self.program.engine, &self.program.registry, &sources);
        let mut state = self.program.state();
        let (replaced, error) = match loaded {
            Ok(instance) => {
                self.instance = instance;
                (true, None)
            }
            Err(error) => (false, Some(error)),
        };
        if let Some(entry) = state.workers.get_mut(&self.id) {
            if replaced {
                entry.status.version = version;
                entry.watch = self.instance.runtime().watch().clone();
            }
            entry.status.error = error.as_ref().map(ToString::to_string);
        }
        drop(state);
        self.program.changed.notify_all();
        if let Some(error) = error {
            tracing::error!(target: "kemi", version, "the new version cannot be loaded, the old one goes on: {error:#}");
        }
        replaced
    }

    /// Returns the script to call.
    #[must_use]
    pub fn instance(&self) -> &Instance<C> {
        &self.instance
    }
}

impl<C: 'static> Drop for Worker<C> {
    fn drop(&mut self) {
        self.program.state().workers.remove(&self.id);
        self.program.changed.notify_all();
    }
}

impl<C: 'static> fmt::Debug for Worker<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").field("id", &self.id).field("version", &self.seen).finish_non_exhaustive()
    }
}
