//! The counts of calls, as a host reads them.

use std::collections::BTreeMap;

use serde::Serialize;

use super::histogram::Durations;

/// The calls of a host's scripts, in both directions, since the registry was built.
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

/// The counts of one export's calls.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ExportMetrics {
    /// All calls.
    pub calls: u64,
    /// Those that failed, by error code.
    pub errors: BTreeMap<&'static str, u64>,
    /// The durations of the timed calls; see [`TelemetryConfig::sample`](crate::TelemetryConfig::sample).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub durations: Option<Durations>,
}

/// The counts of one callback's calls.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CallbackMetrics {
    /// The function's name in the script.
    pub name: String,
    /// The route it was called for.
    pub route: String,
    /// The calls that returned.
    pub value: u64,
    /// The calls that ended by an exit.
    pub exit: u64,
    /// The calls that ended by a drop.
    pub drop: u64,
    /// The calls that ended with an error.
    pub error: u64,
    /// Those errors by code.
    pub errors: BTreeMap<&'static str, u64>,
    /// The durations of the timed calls.
    pub durations: Durations,
}
