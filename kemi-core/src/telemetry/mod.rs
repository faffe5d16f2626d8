//! Counting, timing and logging of calls.

mod counters;
mod error_log;
mod histogram;
mod log;
mod metrics;
#[cfg(feature = "prometheus")]
mod prometheus;
mod settings;
mod throttle;

pub(crate) use self::counters::{Aggregator, Ending, Recorder};
pub use self::error_log::ErrorLog;
pub use self::histogram::Durations;
pub use self::log::log_guarded;
pub(crate) use self::log::{discard, span_guarded};
pub use self::metrics::{CallbackMetrics, ExportMetrics, Metrics};
#[cfg(feature = "prometheus")]
pub use self::prometheus::MetricsCollector;
pub use self::settings::TelemetryConfig;
pub(crate) use self::throttle::Throttle;
