//! The counters of a registry with the names of its exports and callbacks.

use std::collections::BTreeMap;
#[cfg(feature = "prometheus")]
use std::sync::Arc;

use super::table::RegistryData;
#[cfg(feature = "prometheus")]
use crate::telemetry::MetricsCollector;
use crate::telemetry::{CallbackMetrics, ExportMetrics, Metrics};

impl RegistryData {
    /// Returns the counts so far; empty if [`TelemetryConfig::metrics`](crate::TelemetryConfig::metrics) is off.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        let totals = self.state().aggregator().totals();
        let mut metrics =
            Metrics { reloads_failed: totals.reloads[0], reloads: totals.reloads[1], ..Metrics::default() };
        for (export, &calls) in self.exports().iter().zip(&totals.calls) {
            if calls > 0 {
                let durations = self.state().aggregator().durations(export.index());
                let entry = ExportMetrics { calls, errors: BTreeMap::new(), durations };
                metrics.exports.insert(self.script_name(export.def()), entry);
            }
        }
        for (&(index, code), &count) in &totals.export_errors {
            let Some(export) = self.exports().get(index as usize) else { continue };
            metrics.exports.entry(self.script_name(export.def())).or_default().errors.insert(code, count);
        }
        for (&id, callback) in &totals.callbacks {
            let Some((route, name)) = self.state().names().get(id) else { continue };
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

    /// Returns a collector of the [`metrics`](Self::metrics) for a registry of the crate `prometheus-client`.
    ///
    /// Needs the feature `prometheus`.
    #[cfg(feature = "prometheus")]
    #[must_use]
    pub fn metrics_collector(self: &Arc<Self>) -> MetricsCollector {
        let registry = self.clone();
        MetricsCollector::new(move || registry.metrics())
    }
}
