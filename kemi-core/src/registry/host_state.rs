//! The changing state of a registry: counters, and names that scripts give at run time.

use std::sync::Arc;

use crate::callback::{CallbackId, CallbackNames, Callbacks};
use crate::error::Location;
use crate::telemetry::{Aggregator, Throttle};

/// A slow call: a callback, or the export that it called at a place.
pub(crate) type SlowCall = (Option<CallbackId>, Option<(u32, Option<Location>)>);

/// The changing part of one host, shared by all its interpreters.
#[derive(Debug)]
pub(crate) struct HostState {
    names: CallbackNames,
    aggregator: Arc<Aggregator>,
    slow_calls: Throttle<SlowCall>,
}

impl HostState {
    pub(super) fn new(callbacks: &Callbacks, exports: usize) -> HostState {
        HostState {
            names: CallbackNames::new(callbacks),
            aggregator: Aggregator::new(exports),
            slow_calls: Throttle::default(),
        }
    }

    /// Returns the names of callbacks, declared or given at run time.
    pub(crate) fn names(&self) -> &CallbackNames {
        &self.names
    }

    /// Returns the counters of all interpreters.
    pub(crate) fn aggregator(&self) -> &Arc<Aggregator> {
        &self.aggregator
    }

    /// Returns the throttle for log lines about slow calls.
    pub(crate) fn slow_calls(&self) -> &Throttle<SlowCall> {
        &self.slow_calls
    }
}
