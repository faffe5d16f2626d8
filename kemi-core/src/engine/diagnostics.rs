//! The counts, times and log lines that a runtime makes of calls.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::time::Duration;

use crate::limits::coarse_ms;
use crate::registry::RegistryData;
use crate::telemetry::{ErrorLog, Recorder};

/// The least threshold that the watchdog's steps are short enough for.
const COARSE_ENOUGH_MS: u64 = 25;

/// The counters and thresholds of one runtime.
pub(super) struct Diagnostics {
    pub(super) recorder: Option<Recorder>,
    pub(super) generic_calls: Cell<u64>,
    /// The unknown name that a script looked up last: a module, and a function in it.
    pub(super) unknown: RefCell<Option<(String, Option<String>)>>,
    /// The deprecated exports that the script was warned of.
    pub(super) deprecated_warned: RefCell<HashSet<u32>>,
    /// The milliseconds from which on a native call is slow.
    pub(super) slow_native_ms: u64,
    /// The duration from which on a callback is slow.
    pub(super) slow_callback: Duration,
    /// Whether each callback is timed, since the watchdog's clock is too coarse for that.
    pub(super) times_all: bool,
    /// The watchdog's time when a callback was timed last.
    pub(super) timed_at: Cell<u64>,
    /// Whether a subscriber wants spans of native calls.
    pub(super) spans: Cell<bool>,
    /// Whether each native call takes the slow path, since instructions are limited.
    pub(super) slow_path: Cell<bool>,
    /// The log of replaced parts of the root object, for callbacks that ended well.
    pub(super) replaced: ErrorLog,
}

impl Diagnostics {
    pub(super) fn new(registry: &RegistryData) -> Diagnostics {
        let telemetry = registry.telemetry();
        let or_never = |milliseconds| if milliseconds == 0 { u64::MAX } else { milliseconds };
        Diagnostics {
            recorder: telemetry.metrics.then(|| registry.state().aggregator().recorder(telemetry.sample)),
            generic_calls: Cell::new(0),
            unknown: RefCell::new(None),
            deprecated_warned: RefCell::default(),
            slow_native_ms: or_never(telemetry.slow_native_ms),
            slow_callback: Duration::from_millis(or_never(telemetry.slow_callback_ms)),
            times_all: (1..COARSE_ENOUGH_MS).contains(&telemetry.slow_callback_ms),
            timed_at: Cell::new(0),
            spans: Cell::new(false),
            slow_path: Cell::new(registry.limits().max_instructions != 0),
            replaced: ErrorLog::new(),
        }
    }

    /// Returns whether to time the callback that begins: the first one after each step of the watchdog's clock.
    #[inline]
    pub(super) fn is_to_be_timed(&self) -> bool {
        self.times_all || (self.recorder.is_some() && self.timed_at.replace(coarse_ms()) != coarse_ms())
    }
}
