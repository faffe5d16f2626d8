//! Writes script errors to the log without a flood.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::error::{ErrorCode, Place, ScriptError, Trace};

/// How long an error of one place stays quiet after it was written.
const QUIET: Duration = Duration::from_secs(1);

/// How many places are told apart; beyond that the quiet ones are forgotten.
const MAX_PLACES: usize = 1024;

/// Writes script errors to the log: each distinct place once a second, with the number of those left out.
///
/// A broken script fails on every message; one line a second says as much as ten thousand.
#[derive(Debug, Default)]
pub struct ErrorLog {
    seen: Mutex<HashMap<Key, Seen>>,
}

type Key = (ErrorCode, Option<Place>, Option<String>);

#[derive(Debug)]
struct Seen {
    written: Instant,
    left_out: u64,
}

impl ErrorLog {
    /// Creates a log that has seen nothing.
    #[must_use]
    pub fn new() -> ErrorLog {
        ErrorLog::default()
    }

    /// Writes an error with its traceback, unless the same place wrote one less than a second ago.
    ///
    /// `about` names what was being worked on, such as a message's Call-ID.
    pub fn report(&self, error: &ScriptError, about: impl fmt::Display) {
        if let Some(left_out) = self.admit(error, Instant::now()) {
            let trace = Trace(&error.traceback);
            match left_out {
                0 => tracing::error!(target: "script", "{error} ({about}){trace}"),
                n => tracing::error!(target: "script", "{error} ({about}; {n} more since the last line){trace}"),
            }
        }
    }

    /// Returns how many were left out before this one, or `None` if this one is left out.
    fn admit(&self, error: &ScriptError, now: Instant) -> Option<u64> {
        let key = (error.code, error.place.clone(), error.callback.clone());
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = seen.get_mut(&key) {
            if now.duration_since(entry.written) < QUIET {
                entry.left_out += 1;
                return None;
            }
            entry.written = now;
            return Some(std::mem::take(&mut entry.left_out));
        }
        if seen.len() >= MAX_PLACES {
            seen.retain(|_, entry| now.duration_since(entry.written) < QUIET);
            if seen.len() >= MAX_PLACES {
                seen.clear();
            }
        }
        seen.insert(key, Seen { written: now, left_out: 0 });
        Some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_place_is_written_once_a_second_with_the_number_left_out() {
        let log = ErrorLog::new();
        let error = |line| ScriptError::new(ErrorCode::Runtime, "boom").at("a", line);
        let start = Instant::now();
        assert_eq!(log.admit(&error(1), start), Some(0));
        assert_eq!(log.admit(&error(1), start + QUIET / 2), None);
        assert_eq!(log.admit(&error(1), start + QUIET / 2), None);
        assert_eq!(log.admit(&error(2), start + QUIET / 2), Some(0));
        assert_eq!(log.admit(&error(1), start + QUIET), Some(2));
        assert_eq!(log.admit(&error(1), start + QUIET * 2), Some(0));
    }

    #[test]
    fn its_memory_is_bounded() {
        let log = ErrorLog::new();
        for line in 0..5000 {
            log.admit(&ScriptError::new(ErrorCode::Runtime, "boom").at("a", line), Instant::now());
        }
        assert!(log.seen.lock().unwrap().len() <= MAX_PLACES);
    }
}
