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

use kemi_core::engine::{Interpreter, Runtime};
use kemi_core::telemetry::log_guarded;

use crate::error::Diagnostics;
use crate::nesting::{self, Goal, Stop};
use crate::terminate::{note_limit, terminated};

/// The promise jobs of one interpreter.
pub(crate) struct Jobs {
    queue: Rc<Queue>,
    rejected: RefCell<Vec<JsObject>>,
    diagnostics: Rc<Diagnostics>,
}

/// Boa's own queue, and a flag that tells whether it may hold jobs: to look at an empty one takes as long as a short callback.
pub(crate) struct Queue {
    runtime: Rc<Runtime>,
    /// The interpreter whose queue this is, which owns the context.
    interpreter: Cell<Option<NonNull<dyn Interpreter>>>,
    jobs: RefCell<Rc<SimpleJobExecutor>>,
    filled: Cell<bool>,
    /// Set when a job comes, until the next turn.
    fresh: Cell<bool>,
    /// When the next job that waits for a time is due, at the earliest.
    due: Cell<Option<Instant>>,
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
    /// Ends the call if its time is over; returns whether it is to end. Only the interpreter's context may run this.
    fn is_over(&self) -> bool {
        // SAFETY: the interpreter owns the context that runs this, so it is alive.
        let interpreter = self.interpreter.get().map(|interpreter| unsafe { interpreter.as_ref() });
        interpreter.is_some_and(|interpreter| self.runtime.poll(interpreter))
    }

    /// Runs the jobs in turn, and the jobs that these make, until there are no more, none can become ready any more, or
    /// the call is over.
    fn drain(&self, context: &mut Context) -> JsResult<()> {
        /// How long to sleep where only a time is waited for.
        const SLEEP: Duration = Duration::from_millis(1);
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
            let over = self.is_over();
            // What became ready in one turn may settle a promise in the next.
            let waits = idle && !self.fresh.get();
            idle = !self.fresh.get();
            let due = self.due.get().and_then(|due| due.checked_duration_since(Instant::now()));
            match due {
                _ if over => jobs.get_cancellation_token().store(true, Ordering::Relaxed),
                Some(remaining) if waits => thread::sleep(remaining.min(SLEEP)),
                // Nobody is left who could settle what is waited for.
                None if waits => jobs.get_cancellation_token().store(true, Ordering::Relaxed),
                _ => {}
            }
        }
    }
}

impl Jobs {
    pub(crate) fn new(runtime: Rc<Runtime>, diagnostics: Rc<Diagnostics>) -> Jobs {
        let queue = Queue {
            runtime,
            interpreter: Cell::default(),
            jobs: RefCell::default(),
            filled: Cell::default(),
            fresh: Cell::default(),
            due: Cell::default(),
        };
        Jobs { queue: Rc::new(queue), rejected: RefCell::default(), diagnostics }
    }

    pub(crate) fn queue(&self) -> Rc<Queue> {
        self.queue.clone()
    }

    fn runtime(&self) -> &Runtime {
        &self.queue.runtime
    }

    /// Sets the interpreter whose jobs these are. It outlives the context that runs them.
    pub(crate) fn set_interpreter(&self, interpreter: &(dyn Interpreter + 'static)) {
        self.queue.interpreter.set(Some(NonNull::from(interpreter)));
    }

    /// Runs the queue until it is empty; drops it if the callback has been ended, before or by a job.
    pub(crate) fn run(&self, context: &mut Context) {
        let is_ending = || self.runtime().pending_exit().is_some();
        if is_ending() && self.queue.filled.get() {
            // With the token set the executor drops its jobs instead of running them.
            self.queue.jobs.borrow().get_cancellation_token().store(true, Ordering::Relaxed);
        }
        if let Err(error) = context.run_jobs() {
            note_limit(self.runtime(), &self.diagnostics, &error, context);
            if !is_ending() {
                self.log("a promise job failed", error, context);
            }
        }
        for promise in self.rejected.take() {
            if !is_ending()
                && let Ok(promise) = JsPromise::from_object(promise)
                && let PromiseState::Rejected(reason) = promise.state()
            {
                self.log("nobody handles the rejection of a promise", JsError::from_opaque(reason), context);
            }
        }
    }

    fn log(&self, what: &str, error: JsError, context: &mut Context) {
        let error = self.diagnostics.script_error(error, context);
        log_guarded(|| tracing::error!(target: "script", "{what}: {error:#}"));
    }

    /// Forgets a rejection that is reported in another way.
    pub(crate) fn handled(&self, promise: &JsObject) {
        self.rejected.borrow_mut().retain(|rejected| !JsObject::equals(rejected, promise));
    }

    /// Drops all objects.
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
        let eval = parameters.is_empty();
        let texts = parameters.iter().map(|text| (text, &[Goal::Parameters][..]));
        // A function's body is told from a script's only by its parameters, which may be none.
        let goals = if eval { &[Goal::Script, Goal::FunctionBody][..] } else { &[Goal::FunctionBody][..] };
        for (text, goals) in texts.chain([(body, goals)]) {
            if nesting::fits_on_present_stack(text.len()) {
                continue;
            }
            let text = text.to_std_string_lossy();
            for &goal in goals {
                nesting::check(&text, goal, nesting::depth_here(), Some(self.runtime())).map_err(
                    |stop| match stop {
                        Stop::Deep(_) => JsNativeError::syntax().with_message("the source nests too deep").into(),
                        Stop::Over => terminated(),
                    },
                )?;
            }
        }
        Ok(())
    }

    fn max_buffer_size(&self, context: &mut Context) -> u64 {
        let own = DefaultHooks.max_buffer_size(context);
        match self.runtime().registry().limits().max_memory {
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
        if self.queue.is_over() {
            return Err(terminated());
        }
        let result = job.callback().call(this, args, context);
        // An async function that a limit has ended ends without an error.
        let over = self.queue.is_over();
        if let Err(error) = &result {
            note_limit(self.runtime(), &self.diagnostics, error, context);
        }
        if over { Err(terminated()) } else { result }
    }

    fn promise_rejection_tracker(&self, promise: &JsObject<Promise>, operation: OperationType, _: &mut Context) {
        let promise = promise.clone().upcast();
        match operation {
            OperationType::Reject => self.rejected.borrow_mut().push(promise),
            OperationType::Handle => self.handled(&promise),
        }
    }
}
