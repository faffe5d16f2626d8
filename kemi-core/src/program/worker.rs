//! One worker's copy of a program.

use std::fmt;
use std::mem;
use std::sync::Arc;

use super::instance::Instance;
use super::versions::Program;
use crate::telemetry::log_guarded;

/// One worker's copy of a [`Program`].
pub struct Worker<C: 'static> {
    program: Arc<Program<C>>,
    id: u64,
    instance: Instance<C>,
    /// The newest version it has tried to take up.
    seen: u64,
}

impl<C: 'static> Worker<C> {
    pub(super) fn new(program: Arc<Program<C>>, id: u64, instance: Instance<C>, version: u64) -> Worker<C> {
        Worker { program, id, instance, seen: version }
    }

    /// Takes up a new version, if there is one; returns whether the script was replaced.
    ///
    /// Call it between two calls of the script. If the new version cannot be loaded here although it was checked, or does not take
    /// the state of the old one ([`Callbacks::carry`](crate::Callbacks::carry)), the old one stays, and the reason is logged and part of
    /// the status.
    pub fn refresh(&mut self) -> bool {
        self.refresh_on(None)
    }

    /// Takes up a new version as [`refresh`](Self::refresh) does, and lends its top level the worker's context.
    ///
    /// Functions of the old version that the context still has are gone then ([`Function::is_gone`](crate::Function::is_gone)):
    /// let a required callback or the context itself forget them. So are those that a new version has registered which is not taken
    /// up after all.
    pub fn refresh_with(&mut self, context: &mut C) -> bool {
        self.refresh_on(Some(context))
    }

    fn refresh_on(&mut self, mut context: Option<&mut C>) -> bool {
        if self.program.version() == self.seen {
            return false;
        }
        let (version, sources) = self.program.published();
        self.seen = version;
        let loaded = self.program.load(&sources, context.as_deref_mut());
        let loaded = loaded.and_then(|new| new.take_over(&self.instance, context).map(|()| new));
        let failed = loaded.as_ref().err().map(ToString::to_string);
        let old = loaded.map(|instance| mem::replace(&mut self.instance, instance));
        self.program.taken_up(self.id, failed.map_or_else(|| Ok((version, self.instance.watch().clone())), Err));
        match old {
            // The script's finalizers run only here, when nobody waits for this worker any more.
            Ok(old) => {
                drop(old);
                true
            }
            Err(error) => {
                log_guarded(|| {
                    tracing::error!(
                        target: "kemi",
                        version,
                        "the new version cannot be taken up, the old one goes on: {error:#}"
                    );
                });
                false
            }
        }
    }

    /// Returns the script to call.
    #[must_use]
    pub fn instance(&self) -> &Instance<C> {
        &self.instance
    }
}

impl<C: 'static> Drop for Worker<C> {
    fn drop(&mut self) {
        self.program.leave(self.id);
    }
}

impl<C: 'static> fmt::Debug for Worker<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").field("id", &self.id).field("version", &self.seen).finish_non_exhaustive()
    }
}
