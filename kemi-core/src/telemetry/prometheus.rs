//! The metrics for the crate `prometheus-client`.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;
use prometheus_client::registry::Unit;

use super::histogram::Durations;
use super::metrics::Metrics;

/// Exports the metrics of a registry to the crate `prometheus-client`.
///
/// ```
/// # use kemi_core::Registry;
/// let registry = Registry::<()>::builder().root("app").build()?;
/// let mut prometheus = prometheus_client::registry::Registry::default();
/// prometheus.register_collector(Box::new(registry.data().metrics_collector()));
/// let mut text = String::new();
/// prometheus_client::encoding::text::encode(&mut text, &prometheus)?;
/// assert!(text.contains("# TYPE kemi_callback_calls counter"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct MetricsCollector {
    read: Box<dyn Fn() -> Metrics + Send + Sync>,
}

impl MetricsCollector {
    /// Creates a collector that asks for the metrics whenever Prometheus does.
    pub(crate) fn new(read: impl Fn() -> Metrics + Send + Sync + 'static) -> MetricsCollector {
        MetricsCollector { read: Box::new(read) }
    }
}

impl fmt::Debug for MetricsCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetricsCollector").finish_non_exhaustive()
    }
}

type Labels<'a> = [(&'a str, &'a str)];

impl Collector for MetricsCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let metrics = (self.read)();

        let mut calls = counter(&mut encoder, "kemi_native_calls", "Calls of native functions by scripts")?;
        for (export, entry) in &metrics.exports {
            count(&mut calls, &[("export", export)], entry.calls)?;
        }
        let mut errors = counter(&mut encoder, "kemi_native_errors", "Calls of native functions that failed")?;
        for (export, entry) in &metrics.exports {
            for (code, &n) in &entry.errors {
                count(&mut errors, &[("export", export), ("code", code)], n)?;
            }
        }
        let help = "Duration of native functions, of a sample of their calls";
        let mut durations = histogram(&mut encoder, "kemi_native_duration", help)?;
        for (export, entry) in &metrics.exports {
            if let Some(taken) = &entry.durations {
                record(&mut durations, &[("export", export)], taken)?;
            }
        }

        let mut calls = counter(&mut encoder, "kemi_callback_calls", "Calls of script functions by the host")?;
        for callback in &metrics.callbacks {
            let endings = [
                ("value", callback.value),
                ("exit", callback.exit),
                ("drop", callback.drop),
                ("error", callback.error),
            ];
            for (outcome, n) in endings {
                let labels = [("callback", callback.name.as_str()), ("route", &callback.route), ("outcome", outcome)];
                count(&mut calls, &labels, n)?;
            }
        }
        let mut errors = counter(&mut encoder, "kemi_callback_errors", "Calls of script functions that failed")?;
        for callback in &metrics.callbacks {
            for (code, &n) in &callback.errors {
                let labels = [("callback", callback.name.as_str()), ("route", &callback.route), ("code", code)];
                count(&mut errors, &labels, n)?;
            }
        }
        let help = "Duration of script functions, nested ones included";
        let mut durations = histogram(&mut encoder, "kemi_callback_duration", help)?;
        for callback in &metrics.callbacks {
            let labels = [("callback", callback.name.as_str()), ("route", &callback.route)];
            record(&mut durations, &labels, &callback.durations)?;
        }

        let mut reloads = counter(&mut encoder, "kemi_reloads", "Reloads of the script")?;
        count(&mut reloads, &[("result", "published")], metrics.reloads)?;
        count(&mut reloads, &[("result", "refused")], metrics.reloads_failed)
    }
}

fn counter<'s>(
    encoder: &'s mut DescriptorEncoder<'_>,
    name: &'s str,
    help: &str,
) -> Result<MetricEncoder<'s>, fmt::Error> {
    encoder.encode_descriptor(name, help, None, MetricType::Counter)
}

fn histogram<'s>(
    encoder: &'s mut DescriptorEncoder<'_>,
    name: &'s str,
    help: &str,
) -> Result<MetricEncoder<'s>, fmt::Error> {
    encoder.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Histogram)
}

fn count(family: &mut MetricEncoder<'_>, labels: &Labels<'_>, n: u64) -> fmt::Result {
    let exemplar: Option<&Exemplar<[(&str, &str); 0], u64>> = None;
    family.encode_family(&labels)?.encode_counter(&n, exemplar)
}

fn record(family: &mut MetricEncoder<'_>, labels: &Labels<'_>, taken: &Durations) -> fmt::Result {
    let bound = |bound: std::time::Duration| match bound {
        std::time::Duration::MAX => f64::MAX,
        bound => bound.as_secs_f64(),
    };
    let buckets: Vec<(f64, u64)> = taken.buckets().map(|(upper, n)| (bound(upper), n)).collect();
    let seconds = std::time::Duration::from_nanos(taken.nanoseconds).as_secs_f64();
    family.encode_family(&labels)?.encode_histogram::<[(&str, &str); 0]>(seconds, taken.count(), &buckets, None)
}
