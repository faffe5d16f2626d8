//! Promise jobs, and rejections that nobody handles.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::Ordering;

use boa_engine::builtins::promise::{OperationType, Promise, PromiseState};
use boa_engine::context::HostHooks;
use boa_engine::job::SimpleJobExecutor;
use boa_engine::object::JsObject;
use boa_engine::object::builtins::JsPromise;
use boa_engine::{Context, JsError};

use crate::core::Core;
use crate::fault;

/// The job queue of one interpreter.
#[derive(Default)]
pub(crate) struct Jobs {
    executor: Rc<SimpleJobExecutor>,
    rejected: RefCell<Vec<JsObject>>,
}

impl Jobs {
    pub(crate) fn executor(&self) -> Rc<SimpleJobExecutor> {
        self.executor.clone()
    }

    /// Runs the queue until it is empty; drops it if the callback has been ended, before or by a job.
    pub(crate) fn run(&self, core: &Core, context: &mut Context) {
        if core.runtime().ending().is_some() {
            // With the token set the executor drops its jobs instead of running them.
            self.executor.get_cancellation_token().store(true, Ordering::Relaxed);
        }
        if let Err(error) = context.run_jobs()
            && core.runtime().ending().is_none()
        {
            log("a promise job failed", core, error, context);
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
