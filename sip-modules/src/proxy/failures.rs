//! Requests whose script has failed lately.

use std::sync::atomic::{AtomicU64, Ordering};

/// How many are known at the same time; a further one takes the place of one of them.
const SLOTS: usize = 4096;

/// The requests whose script has failed before it answered them or made a transaction.
///
/// A sender repeats a request until it is answered. If each copy ran the script again, one that fails late, such as by its
/// time limit, would take more and more of the workers' time, the later they answer.
#[derive(Debug)]
pub(crate) struct Failures {
    slots: Box<[Slot]>,
    /// When the last one is forgotten, in milliseconds of the proxy's clock; 0 before the first one.
    last: AtomicU64,
}

/// Two workers that write one at the same time may leave what is neither's; then a request is not known, which does no harm.
#[derive(Debug, Default)]
struct Slot {
    request: AtomicU64,
    until: AtomicU64,
}

impl Default for Failures {
    fn default() -> Failures {
        Failures { slots: (0..SLOTS).map(|_| Slot::default()).collect(), last: AtomicU64::new(0) }
    }
}

impl Failures {
    /// Returns whether there may be any: cheap enough for every request.
    pub(crate) fn any(&self) -> bool {
        self.last.load(Ordering::Relaxed) != 0
    }

    /// Notes a request, by a hash that its retransmissions share, until a time of the proxy's clock.
    pub(crate) fn note(&self, request: u64, until: u64) {
        let Some(slot) = self.slot(request) else { return };
        slot.until.store(0, Ordering::Relaxed);
        slot.request.store(request, Ordering::Release);
        slot.until.store(until, Ordering::Release);
        self.last.fetch_max(until, Ordering::Relaxed);
    }

    /// Returns whether a request is known; `now` is the proxy's clock.
    pub(crate) fn knows(&self, request: u64, now: u64) -> bool {
        if self.last.load(Ordering::Relaxed) <= now {
            return false;
        }
        let until = |slot: &Slot| slot.until.load(Ordering::Acquire);
        self.slot(request).is_some_and(|slot| slot.request.load(Ordering::Acquire) == request && until(slot) > now)
    }

    fn slot(&self, request: u64) -> Option<&Slot> {
        self.slots.get(request as usize % SLOTS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_known_until_its_time_or_until_another_one_takes_its_place() {
        let failures = Failures::default();
        assert!(!failures.any() && !failures.knows(0, 0));
        failures.note(7, 100);
        assert!(failures.any() && failures.knows(7, 99) && !failures.knows(7, 100));
        assert!(!failures.knows(7 + SLOTS as u64, 99));
        failures.note(7 + SLOTS as u64, 200);
        assert!(failures.knows(7 + SLOTS as u64, 150) && !failures.knows(7, 99));
    }
}
