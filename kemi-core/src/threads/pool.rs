//! A pool of interpreters behind one queue.

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::error::{CallError, StartError, Unfinished};
use super::job::{Start, Ticket};
#[cfg(feature = "prometheus")]
use super::metrics::PoolCollector;
use super::serve::{Starting, caught};
use super::shared::Shared;
use super::status::PoolStatus;
use crate::callback::{CallbackId, Outcome};
use crate::engine::while_waiting;
use crate::error::{ErrorCode, ScriptError};
use crate::export::{CallArgs, FromOutcome};
use crate::program::{Instance, Program, Reloaded, Worker};

/// A pool of threads, each with an interpreter of its own, behind one bounded queue.
///
/// It is a handle: clone it and send it wherever calls come from. A call brings its context along and gets it back, on
/// whichever thread is free first. It is awaited in any runtime or none ([`call`](Self::call)), or waited for on a plain thread
/// ([`call_blocking`](Self::call_blocking)).
///
/// Calls are made in the order in which they came. When the queue is full, `call` waits for room in that order, too,
/// and [`try_call`](Self::try_call) fails at once. Whoever drops the future of a call cancels it: a call that has not
/// begun never begins, and one that runs is ended as by a limit, with [`ErrorCode::Cancelled`]. A native function that
/// waits is not interrupted, and where no time limit is set ([`Limits::max_time_ms`](crate::Limits::max_time_ms) is 0) some engines
/// end a script only when it next calls one.
///
/// The script is loaded without a context: an actor lends its own to the top level, a pool has none then.
///
/// When the last handle is dropped, what is queued is done and the threads end; nobody waits for that.
/// [`drain`](Self::drain) and [`shutdown`](Self::shutdown) do.
///
/// ```
/// use std::sync::Arc;
///
/// use kemi_core::threads::Pool;
/// use kemi_core::{Callbacks, NativeEngine, Outcome, Program, Registry, Value};
///
/// let mut callbacks = Callbacks::new();
/// let visit = callbacks.required("visit", "on_visit", &[]);
/// let registry = Registry::<u32>::builder().root("app").callbacks(callbacks).build()?;
/// let engine = NativeEngine::new("rust").callback("on_visit", |visits: &mut u32, _script, _args| {
///     *visits += 1;
///     Ok(Value::Nil)
/// });
/// let program = Program::open(Arc::new(engine), &registry, &[])?;
/// let pool = Pool::builder(program).threads(2).queue(100).name("visits").build()?;
///
/// let (visits, outcome) = pool.call_blocking(visit, 41, ());
/// assert_eq!((visits, outcome?), (42, Outcome::Value(Value::Nil)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Pool<C: Send + 'static> {
    shared: Arc<Shared<C, Worker<C>>>,
}

/// The settings of a [`Pool`], and its start.
#[derive(Debug)]
pub struct PoolBuilder<C: Send + 'static> {
    program: Arc<Program<C>>,
    threads: usize,
    queue: usize,
    name: String,
}

impl<C: Send + 'static> PoolBuilder<C> {
    /// Sets the number of threads, at least one; as many as the machine has processors by default.
    #[must_use]
    pub fn threads(mut self, threads: usize) -> PoolBuilder<C> {
        self.threads = threads.max(1);
        self
    }

    /// Sets the most calls that are queued, at least one; 1024 by default. Those that run do not count.
    #[must_use]
    pub fn queue(mut self, bound: usize) -> PoolBuilder<C> {
        self.queue = bound.max(1);
        self
    }

    /// Sets the name, for threads, status and metrics; `"kemi"` by default.
    #[must_use]
    pub fn name(mut self, name: &str) -> PoolBuilder<C> {
        name.clone_into(&mut self.name);
        self
    }

    /// Starts the threads and waits until each has loaded the script.
    ///
    /// # Errors
    /// The error of a thread that cannot load the script, such as one that runs too long there; a thread that the system
    /// does not give. The other threads end.
    pub fn build(self) -> Result<Pool<C>, StartError> {
        // If something fails, its drop ends the threads that are there.
        let shared = Shared::new(self.program, self.name, self.queue);
        let mut starting = Starting::new(&shared.queue);
        let mut started = Ok(());
        for number in 0..self.threads {
            let name = format!("{}-{number}", shared.queue.name());
            let (program, queue) = (shared.program.clone(), shared.queue.clone());
            let worker = name.clone();
            started = starting.thread(name, move || program.worker(&worker, Some(Box::new(move || queue.poke()))));
            if started.is_err() {
                break;
            }
        }
        starting.finish()?;
        started?;
        Ok(Pool { shared: Arc::new(shared) })
    }
}

impl<C: Send + 'static> Pool<C> {
    /// Begins a pool for a program.
    #[must_use]
    pub fn builder(program: Arc<Program<C>>) -> PoolBuilder<C> {
        let threads = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        PoolBuilder { program, threads, queue: 1024, name: "kemi".to_owned() }
    }

    /// Calls a callback of the script on a free thread; the context comes back with the outcome.
    ///
    /// It waits for room in the queue, then for the result. Dropping the future cancels the call, and drops the context.
    ///
    /// # Errors
    /// [`CallError::Closed`] after a [`drain`](Self::drain) or [`shutdown`](Self::shutdown); [`CallError::OwnThread`] if a native
    /// function of the pool asks for a further call of it; else the errors of [`Instance::call`](crate::Instance::call), and
    /// [`ErrorCode::NativePanic`] for a panic of the engine.
    pub async fn call(
        &self,
        callback: CallbackId,
        context: C,
        args: impl CallArgs + Send + 'static,
    ) -> (C, Result<Outcome, CallError>) {
        self.call_as(callback, context, args).await
    }

    /// Calls a callback like [`call`](Self::call) and takes its result as a type.
    ///
    /// ```no_run
    /// # use kemi_core::threads::{CallError, Pool};
    /// # use kemi_core::CallbackId;
    /// # struct Order;
    /// # async fn price(pool: Pool<Order>, on_order: CallbackId, order: Order) -> Result<f64, CallError> {
    /// let (order, price) = pool.call_as::<f64>(on_order, order, ("tea", 2)).await;
    /// # let _ = order;
    /// # price
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of [`call`](Self::call); [`ErrorCode::BadResult`] if the result is of another type.
    pub async fn call_as<R: FromOutcome + Send + 'static>(
        &self,
        callback: CallbackId,
        context: C,
        args: impl CallArgs + Send + 'static,
    ) -> (C, Result<R, CallError>) {
        self.ticket(true, context, calling(callback, args)).answer().await
    }

    /// Calls like [`call`](Self::call), if there is room in the queue.
    ///
    /// # Errors
    /// [`CallError::Full`] at once if there is none; else those of [`call`](Self::call).
    pub async fn try_call(
        &self,
        callback: CallbackId,
        context: C,
        args: impl CallArgs + Send + 'static,
    ) -> (C, Result<Outcome, CallError>) {
        self.ticket(false, context, calling(callback, args)).answer().await
    }

    /// Calls like [`call`](Self::call) and blocks the calling thread meanwhile.
    ///
    /// For threads without a runtime. In a runtime it keeps a thread of it from other tasks. A native function that calls
    /// another pool by it lets its interpreter's lock go.
    ///
    /// # Errors
    /// Those of [`call`](Self::call).
    pub fn call_blocking(
        &self,
        callback: CallbackId,
        context: C,
        args: impl CallArgs + Send + 'static,
    ) -> (C, Result<Outcome, CallError>) {
        self.call_as_blocking(callback, context, args)
    }

    /// Calls like [`call_as`](Self::call_as) and blocks the calling thread meanwhile.
    ///
    /// # Errors
    /// Those of [`call_as`](Self::call_as).
    pub fn call_as_blocking<R: FromOutcome + Send + 'static>(
        &self,
        callback: CallbackId,
        context: C,
        args: impl CallArgs + Send + 'static,
    ) -> (C, Result<R, CallError>) {
        while_waiting(|| self.ticket(true, context, calling(callback, args)).answer_blocking())
    }

    /// Puts a call into the queue.
    fn ticket<R: Send + 'static>(
        &self,
        wait: bool,
        mut context: C,
        call: impl FnOnce(&Instance<C>, &mut C) -> Result<R, ScriptError> + Send + 'static,
    ) -> Ticket<Worker<C>, (C, Result<R, CallError>)> {
        Ticket::new(&self.shared.queue, wait, move |start: Start<'_, Worker<C>>| {
            let result = start.and_then(|(worker, turn)| {
                let instance = worker.instance();
                let call = || caught("of the engine", || call(instance, &mut context)).and_then(|result| result);
                let called = turn.calling(instance.watch(), call);
                called.unwrap_or_else(|| Err(cancelled())).map_err(CallError::Script)
            });
            (context, result)
        })
    }

    /// Reloads the script as [`Program::reload`] does, on a thread of its own.
    ///
    /// Idle threads take up the new version at once, so it waits only for calls that run, and for these no longer than
    /// `patience`. It goes on if the future is dropped.
    ///
    /// # Errors
    /// Those of [`Program::reload`]; the old version runs on then.
    pub async fn reload(&self, patience: Duration) -> Result<Reloaded, ScriptError> {
        self.shared.reload(patience).await
    }

    /// Reloads like [`reload`](Self::reload) and blocks the calling thread meanwhile.
    ///
    /// # Errors
    /// Those of [`Program::reload`].
    pub fn reload_blocking(&self, patience: Duration) -> Result<Reloaded, ScriptError> {
        self.shared.program.reload(patience)
    }

    /// Takes no more calls, and waits until those that came before are done.
    ///
    /// The threads then end. What is not done within `patience` goes on; [`shutdown`](Self::shutdown) ends it.
    ///
    /// # Errors
    /// What is not done yet.
    pub async fn drain(&self, patience: Duration) -> Result<(), Unfinished> {
        self.shared.drain(patience).await
    }

    /// Drains like [`drain`](Self::drain) and blocks the calling thread meanwhile.
    ///
    /// # Errors
    /// What is not done yet.
    pub fn drain_blocking(&self, patience: Duration) -> Result<(), Unfinished> {
        self.shared.drain_blocking(patience)
    }

    /// Takes no more calls, refuses those that have not begun, ends those that run, and waits for the end of the threads.
    ///
    /// Refused ones fail with [`CallError::Closed`], ended ones with [`ErrorCode::Cancelled`]. A native function that
    /// waits is not interrupted; its thread ends after it.
    ///
    /// # Errors
    /// What has not ended within `patience`; it ends later.
    pub async fn shutdown(&self, patience: Duration) -> Result<(), Unfinished> {
        self.shared.shutdown(patience).await
    }

    /// Shuts down like [`shutdown`](Self::shutdown) and blocks the calling thread meanwhile.
    ///
    /// # Errors
    /// What has not ended within `patience`; it ends later.
    pub fn shutdown_blocking(&self, patience: Duration) -> Result<(), Unfinished> {
        self.shared.shutdown_blocking(patience)
    }

    /// Returns the status of the queue, the threads and the script.
    #[must_use]
    pub fn status(&self) -> PoolStatus {
        self.shared.status()
    }

    /// Returns the program that the threads run.
    #[must_use]
    pub fn program(&self) -> &Arc<Program<C>> {
        &self.shared.program
    }

    /// Returns a collector of the queue's length, the calls that wait for it and the busy threads, for a registry of the
    /// crate `prometheus-client`.
    ///
    /// Needs the feature `prometheus`. Calls and their durations come from
    /// [`RegistryData::metrics_collector`](crate::registry::RegistryData::metrics_collector).
    #[cfg(feature = "prometheus")]
    #[must_use]
    pub fn metrics_collector(&self) -> PoolCollector {
        PoolCollector::new(&self.shared.queue)
    }
}

impl<C: Send + 'static> Clone for Pool<C> {
    fn clone(&self) -> Self {
        Pool { shared: self.shared.clone() }
    }
}

impl<C: Send + 'static> fmt::Debug for Pool<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("name", &self.shared.queue.name()).finish_non_exhaustive()
    }
}

/// Makes a call of a callback out of its parts.
pub(super) fn calling<C: 'static, R: FromOutcome>(
    callback: CallbackId,
    args: impl CallArgs + Send + 'static,
) -> impl FnOnce(&Instance<C>, &mut C) -> Result<R, ScriptError> + Send + 'static {
    move |instance, context| instance.call_as(callback, context, args)
}

/// Makes the error of a call that was cancelled before it began.
pub(super) fn cancelled() -> ScriptError {
    ScriptError::new(ErrorCode::Cancelled, "the call was cancelled before it began")
}
