//! One interpreter with a context and a mailbox.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::error::{CallError, StartError, Unfinished};
use super::job::{Job, Start, Ticket};
#[cfg(feature = "prometheus")]
use super::metrics::PoolCollector;
use super::pool::{calling, cancelled};
use super::queue::Queue;
use super::serve::{Seat, Starting, caught};
use super::shared::Shared;
use super::status::PoolStatus;
use crate::callback::{CallbackId, Outcome};
use crate::engine::while_waiting;
use crate::error::ScriptError;
use crate::export::{CallArgs, FromOutcome};
use crate::program::{Instance, Program, Reloaded, Worker};
use crate::telemetry::ErrorLog;

/// One interpreter on a thread of its own, with a context that lives there, behind a mailbox.
///
/// It is a handle: clone it and send it. The context is made on the thread and stays there, so it need not be `Send`; the
/// script's top level may use it already, in each version.
/// Messages are handled one after the other, in the order in which they came: [`call`](Self::call) waits for the
/// callback's result, [`send`](Self::send) only for a place in the mailbox, [`with`](Self::with) runs a closure on the
/// context.
///
/// The mailbox is bounded. Who finds it full waits in order, or is refused by [`try_send`](Self::try_send). Dropping the
/// future of a call cancels it as in a [`Pool`](super::Pool); a message that was sent is handled in any case. When the last
/// handle is dropped, what is in the mailbox is handled and the thread ends; [`drain`](Self::drain) and
/// [`shutdown`](Self::shutdown) wait for it.
///
/// ```
/// use std::cell::Cell;
/// use std::rc::Rc;
/// use std::sync::Arc;
///
/// use kemi_core::threads::Actor;
/// use kemi_core::{Callbacks, NativeEngine, Program, Registry, Value};
///
/// type Count = Rc<Cell<u32>>; // it could not leave its thread
///
/// let mut callbacks = Callbacks::new();
/// let tick = callbacks.required("tick", "on_tick", &[]);
/// let registry = Registry::<Count>::builder().root("app").callbacks(callbacks).build()?;
/// let engine = NativeEngine::new("rust").callback("on_tick", |count: &mut Count, _script, _args| {
///     count.set(count.get() + 1);
///     Ok(Value::Nil)
/// });
/// let program = Program::open(Arc::new(engine), &registry, &[])?;
/// let actor = Actor::builder(program).mailbox(100).name("clock").build(Count::default)?;
///
/// actor.send_blocking(tick, ())?;
/// actor.call_blocking(tick, ())?;
/// assert_eq!(actor.with_blocking(|count, _instance| count.get())?, 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Actor<C: 'static> {
    shared: Arc<Shared<C, Resident<C>>>,
}

/// What lives on the actor's thread.
struct Resident<C: 'static> {
    worker: Worker<C>,
    context: C,
    /// The errors of messages that nobody waits for.
    errors: ErrorLog,
}

impl<C: 'static> Seat for Resident<C> {
    fn refresh(&mut self) {
        self.worker.refresh_with(&mut self.context);
    }
}

/// The settings of an [`Actor`], and its start.
#[derive(Debug)]
pub struct ActorBuilder<C: 'static> {
    program: Arc<Program<C>>,
    mailbox: usize,
    name: String,
}

impl<C: 'static> ActorBuilder<C> {
    /// Sets the most messages in the mailbox, at least one; 1024 by default.
    #[must_use]
    pub fn mailbox(mut self, bound: usize) -> ActorBuilder<C> {
        self.mailbox = bound.max(1);
        self
    }

    /// Sets the name, for the thread, status and metrics; `"kemi"` by default.
    #[must_use]
    pub fn name(mut self, name: &str) -> ActorBuilder<C> {
        name.clone_into(&mut self.name);
        self
    }

    /// Starts the thread, makes the context there, and waits until the script is loaded.
    ///
    /// # Errors
    /// The error of loading the script, or a panic of `context`; a thread that the system does not give.
    pub fn build(self, context: impl FnOnce() -> C + Send + 'static) -> Result<Actor<C>, StartError> {
        let shared = Shared::new(self.program, self.name, self.mailbox);
        let mut starting = Starting::new(&shared.queue);
        let (program, queue) = (shared.program.clone(), shared.queue.clone());
        starting.thread(shared.queue.name().to_owned(), move || {
            let wake = queue.clone();
            let mut context = context();
            let worker = program.worker_with(queue.name(), Some(Box::new(move || wake.poke())), &mut context)?;
            Ok(Resident { worker, context, errors: ErrorLog::new() })
        })?;
        starting.finish()?;
        Ok(Actor { shared: Arc::new(shared) })
    }
}

impl<C: 'static> Actor<C> {
    /// Begins an actor for a program, which may have other workers as well.
    #[must_use]
    pub fn builder(program: Arc<Program<C>>) -> ActorBuilder<C> {
        ActorBuilder { program, mailbox: 1024, name: "kemi".to_owned() }
    }

    /// Calls a callback of the script and waits for its outcome.
    ///
    /// # Errors
    /// [`CallError::Closed`] after a [`drain`](Self::drain) or [`shutdown`](Self::shutdown); [`CallError::OwnThread`] on the
    /// actor's own thread; else the errors of [`Instance::call`](crate::Instance::call), and
    /// [`ErrorCode::NativePanic`](crate::ErrorCode::NativePanic) for a panic of the engine.
    pub async fn call(&self, callback: CallbackId, args: impl CallArgs + Send + 'static) -> Result<Outcome, CallError> {
        self.call_as(callback, args).await
    }

    /// Calls a callback like [`call`](Self::call) and takes its result as a type.
    ///
    /// # Errors
    /// Those of [`call`](Self::call); [`ErrorCode::BadResult`](crate::ErrorCode::BadResult) if the result is of another type.
    pub async fn call_as<R: FromOutcome + Send + 'static>(
        &self,
        callback: CallbackId,
        args: impl CallArgs + Send + 'static,
    ) -> Result<R, CallError> {
        self.calls(true, calling(callback, args)).answer().await
    }

    /// Calls like [`call`](Self::call), if there is room in the mailbox.
    ///
    /// # Errors
    /// [`CallError::Full`] at once if there is none; else those of [`call`](Self::call).
    pub async fn try_call(
        &self,
        callback: CallbackId,
        args: impl CallArgs + Send + 'static,
    ) -> Result<Outcome, CallError> {
        self.calls(false, calling(callback, args)).answer().await
    }

    /// Calls like [`call`](Self::call) and blocks the calling thread meanwhile.
    ///
    /// # Errors
    /// Those of [`call`](Self::call).
    pub fn call_blocking(
        &self,
        callback: CallbackId,
        args: impl CallArgs + Send + 'static,
    ) -> Result<Outcome, CallError> {
        self.call_as_blocking(callback, args)
    }

    /// Calls like [`call_as`](Self::call_as) and blocks the calling thread meanwhile.
    ///
    /// # Errors
    /// Those of [`call_as`](Self::call_as).
    pub fn call_as_blocking<R: FromOutcome + Send + 'static>(
        &self,
        callback: CallbackId,
        args: impl CallArgs + Send + 'static,
    ) -> Result<R, CallError> {
        while_waiting(|| self.calls(true, calling(callback, args)).answer_blocking())
    }

    fn calls<R: Send + 'static>(
        &self,
        wait: bool,
        call: impl FnOnce(&Instance<C>, &mut C) -> Result<R, ScriptError> + Send + 'static,
    ) -> Ticket<Resident<C>, Result<R, CallError>> {
        Ticket::new(&self.shared.queue, wait, move |start: Start<'_, Resident<C>>| {
            let (Resident { worker, context, .. }, turn) = start?;
            let instance = worker.instance();
            let call = || caught("of the engine", || call(instance, context)).and_then(|result| result);
            turn.calling(instance.watch(), call).unwrap_or_else(|| Err(cancelled())).map_err(CallError::Script)
        })
    }

    /// Sends a message to a callback of the script; returns when it has its place in the mailbox.
    ///
    /// Nobody gets its result. Its error is logged, each place of the script once a second. Once sent it is handled, unless
    /// the actor is [shut down](Self::shutdown).
    ///
    /// # Errors
    /// [`CallError::Closed`] after a [`drain`](Self::drain) or [`shutdown`](Self::shutdown); [`CallError::Full`] on the actor's
    /// own thread, which cannot wait for room.
    pub async fn send(&self, callback: CallbackId, args: impl CallArgs + Send + 'static) -> Result<(), CallError> {
        let (accepted, mut unsent) = self.put(true, callback, args)?;
        let accepted = accepted.await;
        unsent.id = None;
        accepted.map_err(|_| CallError::Closed)
    }

    /// Sends like [`send`](Self::send), if there is room in the mailbox.
    ///
    /// # Errors
    /// [`CallError::Full`] if there is none; [`CallError::Closed`] as in [`send`](Self::send).
    pub fn try_send(&self, callback: CallbackId, args: impl CallArgs + Send + 'static) -> Result<(), CallError> {
        let (_, mut unsent) = self.put(false, callback, args)?;
        unsent.id = None;
        Ok(())
    }

    /// Sends like [`send`](Self::send) and blocks the calling thread while there is no room.
    ///
    /// # Errors
    /// Those of [`send`](Self::send).
    pub fn send_blocking(&self, callback: CallbackId, args: impl CallArgs + Send + 'static) -> Result<(), CallError> {
        let (accepted, mut unsent) = self.put(true, callback, args)?;
        let accepted = while_waiting(|| accepted.recv());
        unsent.id = None;
        accepted.map_err(|_| CallError::Closed)
    }

    /// Puts a message into the mailbox, or into the line for it.
    fn put(
        &self,
        wait: bool,
        callback: CallbackId,
        args: impl CallArgs + Send + 'static,
    ) -> Result<(oneshot::Receiver<()>, Unsent<'_, C>), CallError> {
        let queue = &self.shared.queue;
        let call = calling::<C, Outcome>(callback, args);
        let (job, refused) = Job::new(move |start: Start<'_, Resident<C>>| {
            let (Resident { worker, context, errors }, turn) = match start {
                Ok(start) => start,
                Err(error) => return Some(error),
            };
            let instance = worker.instance();
            let call = || caught("of the engine", || call(instance, context)).and_then(|result| result);
            if let Some(Err(error)) = turn.calling(instance.watch(), call) {
                errors.report(&error, "nobody waits for it");
            }
            None
        });
        let (accept, accepted) = oneshot::channel();
        match queue.put(job, wait && !queue.is_own_thread(), Some(accept)) {
            Some(id) => Ok((accepted, Unsent { queue, id: Some(id) })),
            None => Err(refused.recv().ok().flatten().unwrap_or(CallError::Closed)),
        }
    }

    /// Runs a closure on the actor's context and its script, in turn with the messages.
    ///
    /// To look at the state, or to do more than one call without another message in between. It is not cancelled once it
    /// runs.
    ///
    /// # Errors
    /// [`CallError::Closed`] and [`CallError::OwnThread`] as in [`call`](Self::call);
    /// [`ErrorCode::NativePanic`](crate::ErrorCode::NativePanic) if it panics.
    pub async fn with<R: Send + 'static>(
        &self,
        run: impl FnOnce(&mut C, &Instance<C>) -> R + Send + 'static,
    ) -> Result<R, CallError> {
        self.looks(run).answer().await
    }

    /// Runs a closure like [`with`](Self::with) and blocks the calling thread meanwhile.
    ///
    /// # Errors
    /// Those of [`with`](Self::with).
    pub fn with_blocking<R: Send + 'static>(
        &self,
        run: impl FnOnce(&mut C, &Instance<C>) -> R + Send + 'static,
    ) -> Result<R, CallError> {
        while_waiting(|| self.looks(run).answer_blocking())
    }

    fn looks<R: Send + 'static>(
        &self,
        run: impl FnOnce(&mut C, &Instance<C>) -> R + Send + 'static,
    ) -> Ticket<Resident<C>, Result<R, CallError>> {
        Ticket::new(&self.shared.queue, true, move |start: Start<'_, Resident<C>>| {
            let (Resident { worker, context, .. }, _) = start?;
            caught("on the actor's context", || run(context, worker.instance())).map_err(CallError::Script)
        })
    }

    /// Reloads the script as [`Program::reload`] does, on a thread of its own. The context stays.
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

    /// Takes no more messages, and waits until those that came before are handled. The thread then ends.
    ///
    /// # Errors
    /// What is not done within `patience`; it goes on.
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

    /// Takes no more messages, drops those that have not begun, ends the one that runs, and waits for the end of the thread.
    ///
    /// A native function that waits is not interrupted; the thread ends after it.
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

    /// Returns the status of the mailbox, the thread and the script.
    #[must_use]
    pub fn status(&self) -> PoolStatus {
        self.shared.status()
    }

    /// Returns a collector of the mailbox's length for a registry of the crate `prometheus-client`.
    ///
    /// Needs the feature `prometheus`.
    #[cfg(feature = "prometheus")]
    #[must_use]
    pub fn metrics_collector(&self) -> PoolCollector {
        PoolCollector::new(&self.shared.queue)
    }
}

impl<C: 'static> Clone for Actor<C> {
    fn clone(&self) -> Self {
        Actor { shared: self.shared.clone() }
    }
}

impl<C: 'static> fmt::Debug for Actor<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Actor").field("name", &self.shared.queue.name()).finish_non_exhaustive()
    }
}

/// A message on its way into the mailbox; dropped before it is there, it is taken back.
struct Unsent<'a, C: 'static> {
    queue: &'a Queue<Resident<C>>,
    id: Option<u64>,
}

impl<C: 'static> Drop for Unsent<'_, C> {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            drop(self.queue.withdraw(id));
        }
    }
}
