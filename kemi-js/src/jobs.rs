//! Promise jobs, and rejections that nobody handles.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::pin;
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::task::{self, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use boa_engine::builtins::promise::{OperationType, Promise, PromiseState};
use boa_engine::context::{DefaultHooks, HostHooks};
use boa_engine::job::{Job, JobCallback, JobExecutor, SimpleJobExecutor};
use boa_engine::object::JsObject;
use boa_engine::object::builtins::JsPromise;
use boa_engine::realm::Realm;
use boa_engine::{Context, JsError, JsNativeError, JsResult, JsString, JsValue};

use kemi_core::log_guarded;

use crate::error;
use crate::interpreter::Core;
use crate::nesting::{self, Goal, Stop};
use crate::trampoline::ending;

/// The job queue of one interpreter.
#[derive(Default)]
pub(crate) struct Jobs {
    queue: Rc<Queue>,
    rejected: RefCell<Vec<JsObject>>,
    core: Cell<Option<NonNull<Core>>>,
}

/// Boa's own queue, and whether there may be something in it: to look at an empty one takes as long as a short callback.
#[derive(Default)]
pub(crate) struct Queue {
    jobs: RefCell<Rc<SimpleJobExecutor>>,
    filled: Cell<bool>,
    /// Whether a job has come since this was looked at last.
    fresh: Cell<bool>,
    /// When the next job that waits for a time is due, at the earliest.
    due: Cell<Option<Instant>>,
    /// Tells when to give up.
    core: Cell<Option<NonNull<Core>>>,
}

impl JobExecutor for Queue {
    fn enqueue_job(self: Rc<Self>, job: Job, context: &mut Context) {
        self.filled.set(true);
        self.fresh.set(true);
        let after = match &job {
            Job::TimeoutJob(job) => Some(job.timeout()),
            Job::IntervalJob(job) => Some(job.interval()),
            _ => None,
        };
        if let Some(due) = after.and_then(|after| Instant::now().checked_add(Duration::from(after))) {
            self.due.set(Some(self.due.get().map_or(due, |other| other.max(due))));
        }
        let jobs = self.jobs.borrow().clone();
        jobs.enqueue_job(job, context);
    }

    fn run_jobs(self: Rc<Self>, context: &mut Context) -> JsResult<()> {
        if self.filled.get() {
            self.drain(context)?;
            self.filled.set(false);
        }
        Ok(())
    }
}

impl Queue {
    /// Runs the jobs in turn, and what they leave behind, until there are no more, nothing is left that they could wait
    /// for, or the call is over.
    fn drain(&self, context: &mut Context) -> JsResult<()> {
        /// How long to sleep where only a time is waited for.
        const NAP: Duration = Duration::from_millis(1);
        // SAFETY: the core owns the context that runs this, so it is alive.
        let core = self.core.get().map(|core| unsafe { core.as_ref() });
        let jobs = self.jobs.borrow().clone();
        let context = RefCell::new(context);
        let mut turns = pin!(jobs.clone().run_jobs_async(&context));
        let mut task = task::Context::from_waker(Waker::noop());
        let mut idle = false;
        loop {
            self.fresh.set(false);
            // One turn each: Boa's executor yields after it.
            if let Poll::Ready(result) = turns.as_mut().poll(&mut task) {
                self.due.set(None);
                return result;
            }
            let over = core.is_some_and(|core| core.runtime().poll(core));
            // What became ready in one turn may settle a promise in the next.
            let waits = idle && !self.fresh.get();
            idle = !self.fresh.get();
            let due = self.due.get().and_then(|due| due.checked_duration_since(Instant::now()));
            match due {
                _ if over => jobs.get_cancellation_token().store(true, Ordering::Relaxed),
                Some(left) if waits => thread::sleep(left.min(NAP)),
                // Nobody is left who could settle what is waited for.
                None if waits => jobs.get_cancellation_token().store(true, Ordering::Relaxed),
                _ => {}
            }
        }
    }
}

impl Jobs {
    pub(crate) fn queue(&self) -> Rc<Queue> {
        self.queue.clone()
    }

    /// Tells whose queue this is.
    pub(crate) fn serve(&self, core: &Core) {
        self.core.set(Some(NonNull::from(core)));
        self.queue.core.set(Some(NonNull::from(core)));
    }

    /// Runs the queue until it is empty; drops it if the callback has been ended, before or by a job.
    pub(crate) fn run(&self, core: &Core, context: &mut Context) {
        if core.runtime().ending().is_some() && self.queue.filled.get() {
            // With the token set the executor drops its jobs instead of running them.
            self.queue.jobs.borrow().get_cancellation_token().store(true, Ordering::Relaxed);
        }
        if let Err(error) = context.run_jobs() {
            core.note_limit(&error, context);
            if core.runtime().ending().is_none() {
                log("a promise job failed", core, error, context);
            }
        }
        for promise in self.rejected.take() {
            if core.runtime().ending().is_none()
                && let Ok(promise) = JsPromise::from_object(promise)
                && let PromiseState::Rejected(reason) = promise.state()
            {
                log("nobody handles the rejection of a promise", core, JsError::from_opaque(reason), context);
            }
        }
    }

    /// Forgets a rejection that is reported in another way.
    pub(crate) fn handled(&self, promise: &JsObject) {
        self.rejected.borrow_mut().retain(|rejected| !JsObject::equals(rejected, promise));
    }

    /// Lets go of all objects.
    pub(crate) fn clear(&self) {
        self.rejected.take();
        self.queue.jobs.take();
    }
}

impl HostHooks for Jobs {
    fn ensure_can_compile_strings(
        &self,
        _: Realm,
        parameters: &[JsString],
        body: &JsString,
        _: bool,
        _: &mut Context,
    ) -> JsResult<()> {
        // SAFETY: the core owns the context that calls this, so it is alive.
        let Some(core) = self.core.get().map(|core| unsafe { core.as_ref() }) else { return Ok(()) };
        let eval = parameters.is_empty();
        let texts = parameters.iter().map(|text| (text, &[Goal::Parameters][..]));
        // A function's body is told from a script's only by its parameters, which may be none.
        let goals = if eval { &[Goal::Script, Goal::FunctionBody][..] } else { &[Goal::FunctionBody][..] };
        for (text, goals) in texts.chain([(body, goals)]) {
            if nesting::is_harmless(text.len()) {
                continue;
            }
            let text = text.to_std_string_lossy();
            for &goal in goals {
                nesting::check(&text, goal, nesting::depth_here(), Some(core.runtime())).map_err(
                    |stop| match stop {
                        Stop::Deep(_) => JsNativeError::syntax().with_message("the source nests too deep").into(),
                        Stop::Over => ending(),
                    },
                )?;
            }
        }
        Ok(())
    }

    fn max_buffer_size(&self, context: &mut Context) -> u64 {
        // SAFETY: the core owns the context that calls this, so it is alive.
        let core = self.core.get().map(|core| unsafe { core.as_ref() });
        let own = DefaultHooks.max_buffer_size(context);
        match core.map_or(0, |core| core.runtime().registry().limits().max_memory) {
            0 => own,
            most => own.min(most),
        }
    }

    fn call_job_callback(
        &self,
        job: &JobCallback,
        this: &JsValue,
        args: &[JsValue],
        context: &mut Context,
    ) -> JsResult<JsValue> {
        // SAFETY: the core owns the context that calls this, so it is alive.
        let Some(core) = self.core.get().map(|core| unsafe { core.as_ref() }) else {
            return job.callback().call(this, args, context);
        };
        if core.runtime().poll(core) {
            return Err(ending());
        }
        let result = job.callback().call(this, args, context);
        // An async function that a limit has ended ends without an error.
        let over = core.runtime().poll(core);
        if let Err(error) = &result {
            core.note_limit(error, context);
        }
        if over { Err(ending()) } else { result }
    }

    fn promise_rejection_tracker(&self, promise: &JsObject<Promise>, operation: OperationType, _: &mut Context) {
        let promise = promise.clone().upcast();
        match operation {
            OperationType::Reject => self.rejected.borrow_mut().push(promise),
            OperationType::Handle => self.handled(&promise),
        }
    }
}

fn log(what: &str, core: &Core, error: JsError, context: &mut Context) {
    let error = error::script_error(core, error, context);
    log_guarded(|| tracing::error!(target: "script", "{what}: {error:#}"));
}
