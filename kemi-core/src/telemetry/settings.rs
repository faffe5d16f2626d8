//! What is measured of calls, and from when on they count as slow.

use serde::{Deserialize, Serialize};

/// What a host gets to know about the calls of its scripts; give it to
/// [`RegistryBuilder::insight`](crate::RegistryBuilder::insight).
///
/// Everything is on by default and costs a native call some nanoseconds.
///
/// ```
/// let insight: kemi_core::Insight = serde_json::from_str(r#"{"slow_callback_ms": 20}"#)?;
/// assert_eq!(insight.slow_callback_ms, 20);
/// assert!(insight.metrics);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Insight {
    /// Whether calls are counted and timed, for [`RegistryData::metrics`](crate::RegistryData::metrics). All are counted.
    /// Of an interpreter's callbacks the first in each 5 ms is timed, and all that a native function calls; of the calls of
    /// a native function one in [`sample`](Self::sample).
    pub metrics: bool,
    /// Of how many calls of one native function one is timed, rounded up to a power of two; 64 by default, 1 times each.
    pub sample: u32,
    /// Milliseconds from which on a native call is logged, with the script's file and line; 100 by default, 0 for never.
    ///
    /// It is looked at with a clock that steps some milliseconds at a time.
    pub slow_native_ms: u64,
    /// Milliseconds from which on a callback is logged, nested callbacks included; 200 by default, 0 for never.
    ///
    /// From 25 on it is looked at with the same clock; below, every callback is timed.
    pub slow_callback_ms: u64,
}

impl Insight {
    /// Nothing is counted, timed or logged.
    pub const NONE: Insight = Insight { metrics: false, sample: 64, slow_native_ms: 0, slow_callback_ms: 0 };
}

impl Default for Insight {
    fn default() -> Insight {
        Insight { metrics: true, sample: 64, slow_native_ms: 100, slow_callback_ms: 200 }
    }
}
