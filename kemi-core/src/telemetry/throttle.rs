//! A throttle that admits each subject once a second.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The time for which an admitted subject is left out.
const QUIET: Duration = Duration::from_secs(1);

/// The most subjects that are told apart; beyond that the quiet ones are forgotten.
const MAX_SUBJECTS: usize = 1024;

/// Admits each subject once a second, and counts the rest.
#[derive(Debug)]
pub(crate) struct Throttle<K> {
    seen: Mutex<HashMap<K, Seen>>,
}

#[derive(Debug)]
struct Seen {
    written: Instant,
    left_out: u64,
}

impl<K> Default for Throttle<K> {
    fn default() -> Self {
        Throttle { seen: Mutex::default() }
    }
}

impl<K: Eq + Hash> Throttle<K> {
    /// Returns the number left out before this one, or `None` if this one is left out.
    pub(crate) fn admit(&self, subject: K, now: Instant) -> Option<u64> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = seen.get_mut(&subject) {
            if now.duration_since(entry.written) < QUIET {
                entry.left_out += 1;
                return None;
            }
            entry.written = now;
            return Some(std::mem::take(&mut entry.left_out));
        }
        if seen.len() >= MAX_SUBJECTS {
            seen.retain(|_, entry| now.duration_since(entry.written) < QUIET);
            if seen.len() >= MAX_SUBJECTS {
                seen.clear();
            }
        }
        seen.insert(subject, Seen { written: now, left_out: 0 });
        Some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_subject_is_let_through_once_a_second_with_the_number_left_out() {
        let throttle = Throttle::default();
        let start = Instant::now();
        assert_eq!(throttle.admit(1, start), Some(0));
        assert_eq!(throttle.admit(1, start + QUIET / 2), None);
        assert_eq!(throttle.admit(1, start + QUIET / 2), None);
        assert_eq!(throttle.admit(2, start + QUIET / 2), Some(0));
        assert_eq!(throttle.admit(1, start + QUIET), Some(2));
        assert_eq!(throttle.admit(1, start + QUIET * 2), Some(0));
    }

    #[test]
    fn its_memory_is_bounded() {
        let throttle = Throttle::default();
        for subject in 0..5000 {
            throttle.admit(subject, Instant::now());
        }
        assert!(throttle.seen.lock().unwrap().len() <= MAX_SUBJECTS);
    }
}
