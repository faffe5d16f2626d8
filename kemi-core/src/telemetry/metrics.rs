//! What is counted of calls, as a host reads it.

use std::collections::BTreeMap;

use serde::Serialize;

use super::histogram::Durations;

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
    /// How long those took that were timed; see [`TelemetryConfig::sample`](crate::TelemetryConfig::sample).
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
