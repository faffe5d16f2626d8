//! The measurements of calls, and the thresholds of slow ones.

use serde::{Deserialize, Serialize};

/// The measurements of a host's script calls, for
/// [`RegistryBuilder::telemetry`](crate::registry::RegistryBuilder::telemetry).
///
/// Everything is on by default and costs a native call some nanoseconds.
///
/// ```
/// let telemetry: kemi_core::TelemetryConfig = serde_json::from_str(r#"{"slow_callback_ms": 20}"#)?;
/// assert_eq!(telemetry.slow_callback_ms, 20);
/// assert!(telemetry.metrics);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TelemetryConfig {
    /// Whether calls are counted and timed, for [`RegistryData::metrics`](crate::registry::RegistryData::metrics).
    ///
    /// All calls are counted. The first callback of an interpreter in each 5 ms is timed, every nested callback, and one in
    /// [`sample`](Self::sample) calls of a native function.
    pub metrics: bool,
    /// The calls of one native function per timed one, rounded up to a power of two; 64 by default, 1 times each.
    pub sample: u32,
    /// Milliseconds from which on a native call is logged, with the script's file and line; 100 by default, 0 for never.
    ///
    /// The clock for this steps some milliseconds at a time.
    pub slow_native_ms: u64,
    /// Milliseconds from which on a callback is logged, nested callbacks included; 200 by default, 0 for never.
    ///
    /// From 25 on the same clock is used; below, every callback is timed.
    pub slow_callback_ms: u64,
}

impl TelemetryConfig {
    /// Nothing is counted, timed or logged.
    pub const NONE: TelemetryConfig =
        TelemetryConfig { metrics: false, sample: 64, slow_native_ms: 0, slow_callback_ms: 0 };
}

impl Default for TelemetryConfig {
    fn default() -> TelemetryConfig {
        TelemetryConfig { metrics: true, sample: 64, slow_native_ms: 100, slow_callback_ms: 200 }
    }
}
