//! Counters and durations of calls, for people and for Prometheus.

mod export;
mod histogram;
mod meter;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

pub use self::export::MetricsCollector;
pub use self::histogram::Durations;
pub(crate) use self::meter::{Ending, Hub, Recorder};
use crate::registry::RegistryData;

/// What the scripts of a host have called and been called for, since the registry was built.
///
/// Reloads do not reset it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Metrics {
    /// The exports that have been called, by name in scripts.
    pub exports: BTreeMap<String, ExportMetrics>,
    /// The callbacks that have been called.
    pub callbacks: Vec<CallbackMetrics>,
    /// Reloads that were refused.
    pub reloads_failed: u64,
    /// Reloads that were published.
    pub reloads: u64,
}

/// What the calls of one export came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ExportMetrics {
    /// All calls.
    pub calls: u64,
    /// Those that failed, by error code.
    pub errors: BTreeMap<&'static str, u64>,
    /// How long those took that were timed; see [`Insight::sample`](crate::Insight::sample).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub durations: Option<Durations>,
}

/// What the calls of one callback came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CallbackMetrics {
    /// The function's name in the script.
    pub name: String,
    /// The route it was called for.
    pub route: String,
    /// How many calls returned.
    pub value: u64,
    /// How many ended by an exit.
    pub exit: u64,
    /// How many ended by a drop.
    pub drop: u64,
    /// How many ended with an error.
    pub error: u64,
    /// Those errors by code.
    pub errors: BTreeMap<&'static str, u64>,
    /// How long the calls took.
    pub durations: Durations,
}

impl RegistryData {
    /// Returns what has been counted so far; nothing if [`Insight::metrics`](crate::Insight::metrics) is off.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        let totals = self.hub().totals();
        let mut metrics =
            Metrics { reloads_failed: totals.reloads[0], reloads: totals.reloads[1], ..Metrics::default() };
        for (export, &calls) in self.exports().iter().zip(&totals.calls) {
            if calls > 0 {
                let durations = self.hub().durations(export.index());
                let entry = ExportMetrics { calls, errors: BTreeMap::new(), durations };
                metrics.exports.insert(self.script_name(export.def()), entry);
            }
        }
        for (&(index, code), &count) in &totals.export_errors {
            let Some(export) = self.exports().get(index as usize) else { continue };
            metrics.exports.entry(self.script_name(export.def())).or_default().errors.insert(code, count);
        }
        for (&id, callback) in &totals.callbacks {
            let Some((route, name)) = self.names().get(id) else { continue };
            let [value, exit, drop, error] = callback.endings;
            let errors = totals.callback_errors.iter().filter(|((of, _), _)| *of == id);
            metrics.callbacks.push(CallbackMetrics {
                name: name.to_string(),
                route: self.route_name(route).to_owned(),
                value,
                exit,
                drop,
                error,
                errors: errors.map(|(&(_, code), &count)| (code, count)).collect(),
                durations: callback.durations.clone(),
            });
        }
        metrics
    }

    /// Returns what gives [`metrics`](Self::metrics) to a registry of the crate `prometheus-client`.
    #[must_use]
    pub fn metrics_collector(self: &Arc<Self>) -> MetricsCollector {
        MetricsCollector::new(self.clone())
    }
}
