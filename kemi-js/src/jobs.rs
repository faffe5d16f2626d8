//! Promise jobs, and rejections that nobody handles.

use std::cell::{Cell, RefCell};
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::atomic::Ordering;

use boa_engine::builtins::promise::{OperationType, Promise, PromiseState};
use boa_engine::context::{DefaultHooks, HostHooks};
use boa_engine::job::{Job, JobCallback, JobExecutor, SimpleJobExecutor};
use boa_engine::object::JsObject;
use boa_engine::object::builtins::JsPromise;
use boa_engine::{Context, JsError, JsResult, JsValue};

use crate::core::Core;
use crate::fault;
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
    jobs: Rc<SimpleJobExecutor>,
    filled: Cell<bool>,
}

impl JobExecutor for Queue {
    fn enqueue_job(self: Rc<Self>, job: Job, context: &mut Context) {
        self.filled.set(true);
        self.jobs.clone().enqueue_job(job, context);
    }

    fn run_jobs(self: Rc<Self>, context: &mut Context) -> JsResult<()> {
        if self.filled.get() {
            self.jobs.clone().run_jobs(context)?;
            self.filled.set(false);
        }
        Ok(())
    }
}

impl Jobs {
    pub(crate) fn queue(&self) -> Rc<Queue> {
        self.queue.clone()
    }

    /// Tells whose queue this is.
    pub(crate) fn serve(&self, core: &Core) {
        self.core.set(Some(NonNull::from(core)));
    }

    /// Runs the queue until it is empty; drops it if the callback has been ended, before or by a job.
    pub(crate) fn run(&self, core: &Core, context: &mut Context) {
        if core.runtime().ending().is_some() && self.queue.filled.get() {
            // With the token set the executor drops its jobs instead of running them.
            self.queue.jobs.get_cancellation_token().store(true, Ordering::Relaxed);
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
    }
}

impl HostHooks for Jobs {
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
    let error = fault::script_error(core, error, context);
    tracing::error!(target: "script", "{what}: {error:#}");
}
