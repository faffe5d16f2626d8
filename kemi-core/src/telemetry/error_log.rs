//! Writes script errors to the log without a flood.

use std::fmt;
use std::time::Instant;

use super::log::log_guarded;
use super::throttle::Throttle;
use crate::error::{ErrorCode, Location, ScriptError, Trace};

/// Writes script errors to the log: each distinct place once a second, with the number of those left out.
///
/// A broken script fails on every message; one line a second says as much as ten thousand.
#[derive(Debug, Default)]
pub struct ErrorLog {
    throttle: Throttle<(ErrorCode, Option<Location>, Option<String>)>,
}

impl ErrorLog {
    /// Creates a log that has seen nothing.
    #[must_use]
    pub fn new() -> ErrorLog {
        ErrorLog::default()
    }

    /// Writes an error with its traceback, unless the same place wrote one less than a second ago.
    ///
    /// `about` names the work in progress, such as a message's Call-ID.
    pub fn report(&self, error: &ScriptError, about: impl fmt::Display) {
        let subject = (error.code, error.place.clone(), error.callback.clone());
        if let Some(left_out) = self.throttle.admit(subject, Instant::now()) {
            let trace = Trace(&error.traceback);
            log_guarded(|| match left_out {
                0 => tracing::error!(target: "script", "{error} ({about}){trace}"),
                n => tracing::error!(target: "script", "{error} ({about}; {n} more since the last line){trace}"),
            });
        }
    }
}
