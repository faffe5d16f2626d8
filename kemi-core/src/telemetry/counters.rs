//! The counters of each interpreter, and their sum over all interpreters.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use super::histogram::{Durations, Histogram, add_alone};
use crate::callback::CallbackId;

/// The way a callback ended, as an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Value,
    Exit,
    Drop,
    Error,
}

/// The counters of one callback in one interpreter, which only its thread writes.
#[derive(Debug, Default)]
pub(crate) struct CallbackCounters {
    endings: [AtomicU64; 4],
    durations: Histogram,
}

/// The counters of one interpreter, which only its thread writes.
#[derive(Debug)]
pub(crate) struct Counters {
    calls: Arc<[AtomicU64]>,
    callbacks: Mutex<BTreeMap<CallbackId, Arc<CallbackCounters>>>,
}

/// The counters of one interpreter, with caches for its own thread.
#[derive(Debug)]
pub(crate) struct Recorder {
    /// The same as in `counters`, cached for each native call.
    calls: Arc<[AtomicU64]>,
    counters: Arc<Counters>,
    aggregator: Arc<Aggregator>,
    mask: u64,
    /// The callbacks' counters by index.
    cache: RefCell<Vec<Option<Arc<CallbackCounters>>>>,
}

impl Recorder {
    /// Counts a call of an export; returns whether to time it.
    #[inline]
    pub(crate) fn count(&self, export: u32) -> bool {
        let Some(calls) = self.calls.get(export as usize) else { return false };
        // One writer, so no locked addition.
        let before = calls.load(Ordering::Relaxed);
        calls.store(before.wrapping_add(1), Ordering::Relaxed);
        before & self.mask == 0
    }

    #[cold]
    pub(crate) fn native_took(&self, export: u32, duration: Duration) {
        if let Some(cell) = self.aggregator.durations.get(export as usize) {
            cell.get_or_init(Box::default).record(duration);
        }
    }

    /// Returns the number of counted calls of exports.
    pub(crate) fn calls(&self) -> u64 {
        self.calls.iter().map(|calls| calls.load(Ordering::Relaxed)).sum()
    }

    /// Counts the end of a callback.
    pub(crate) fn callback_ended(&self, callback: CallbackId, ending: Ending) {
        self.with_callback(callback, |counters| {
            if let Some(count) = counters.endings.get(ending as usize) {
                add_alone(count, 1);
            }
        });
    }

    /// Notes the duration of a timed callback.
    pub(crate) fn callback_took(&self, callback: CallbackId, duration: Duration) {
        self.with_callback(callback, |counters| counters.durations.record_alone(duration));
    }

    #[inline]
    fn with_callback(&self, callback: CallbackId, write: impl FnOnce(&CallbackCounters)) {
        if let Some(Some(counters)) = self.cache.borrow().get(callback.index()) {
            return write(counters);
        }
        write(&self.new_callback(callback));
    }

    #[cold]
    fn new_callback(&self, callback: CallbackId) -> Arc<CallbackCounters> {
        let mut callbacks = self.counters.callbacks.lock().unwrap_or_else(PoisonError::into_inner);
        let counters = callbacks.entry(callback).or_default().clone();
        let mut cache = self.cache.borrow_mut();
        if cache.len() <= callback.index() {
            cache.resize(callback.index() + 1, None);
        }
        if let Some(slot) = cache.get_mut(callback.index()) {
            *slot = Some(counters.clone());
        }
        counters
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.aggregator.retire(&self.counters);
    }
}

/// The counters of all interpreters of a registry.
#[derive(Debug)]
pub(crate) struct Aggregator {
    /// By export; shared, since only some of the calls are timed.
    durations: Box<[OnceLock<Box<Histogram>>]>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    live: Vec<Arc<Counters>>,
    /// The counts of interpreters that are gone.
    retired: Totals,
    export_errors: BTreeMap<(u32, &'static str), u64>,
    callback_errors: BTreeMap<(CallbackId, &'static str), u64>,
    reloads: [u64; 2],
}

/// All counters at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Totals {
    pub(crate) calls: Vec<u64>,
    pub(crate) callbacks: BTreeMap<CallbackId, CallbackTotals>,
    pub(crate) export_errors: BTreeMap<(u32, &'static str), u64>,
    pub(crate) callback_errors: BTreeMap<(CallbackId, &'static str), u64>,
    /// Failed and successful ones.
    pub(crate) reloads: [u64; 2],
}

/// The counts of one callback.
#[derive(Clone, Debug, Default)]
pub(crate) struct CallbackTotals {
    pub(crate) endings: [u64; 4],
    pub(crate) durations: Durations,
}

impl Aggregator {
    pub(crate) fn new(exports: usize) -> Arc<Aggregator> {
        let durations = (0..exports).map(|_| OnceLock::new()).collect();
        Arc::new(Aggregator { durations, state: Mutex::default() })
    }

    /// Creates the recorder of an interpreter, which times one in `sample` native calls.
    pub(crate) fn recorder(self: &Arc<Aggregator>, sample: u32) -> Recorder {
        let calls: Arc<[AtomicU64]> = (0..self.durations.len()).map(|_| AtomicU64::new(0)).collect();
        let counters = Arc::new(Counters { calls: calls.clone(), callbacks: Mutex::default() });
        self.state().live.push(counters.clone());
        let mask = u64::from(sample.max(1)).next_power_of_two() - 1;
        Recorder { calls, counters, aggregator: self.clone(), mask, cache: RefCell::default() }
    }

    pub(crate) fn export_failed(&self, export: u32, code: &'static str) {
        *self.state().export_errors.entry((export, code)).or_default() += 1;
    }

    pub(crate) fn callback_failed(&self, callback: CallbackId, code: &'static str) {
        *self.state().callback_errors.entry((callback, code)).or_default() += 1;
    }

    pub(crate) fn reloaded(&self, well: bool) {
        if let Some(count) = self.state().reloads.get_mut(usize::from(well)) {
            *count += 1;
        }
    }

    /// Sums up the counters of all interpreters, including those that are gone.
    pub(crate) fn totals(&self) -> Totals {
        let state = self.state();
        let mut totals = state.retired.clone();
        for counters in &state.live {
            totals.add(counters);
        }
        totals.export_errors.clone_from(&state.export_errors);
        totals.callback_errors.clone_from(&state.callback_errors);
        totals.reloads = state.reloads;
        totals
    }

    /// Returns the durations of the timed calls of an export; `None` if none was timed yet.
    pub(crate) fn durations(&self, export: u32) -> Option<Durations> {
        self.durations.get(export as usize)?.get().map(|histogram| histogram.read())
    }

    fn retire(&self, counters: &Arc<Counters>) {
        let mut state = self.state();
        state.live.retain(|live| !Arc::ptr_eq(live, counters));
        state.retired.add(counters);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Totals {
    fn add(&mut self, counters: &Counters) {
        self.calls.resize(counters.calls.len(), 0);
        for (sum, calls) in self.calls.iter_mut().zip(&*counters.calls) {
            *sum = sum.wrapping_add(calls.load(Ordering::Relaxed));
        }
        for (&callback, counters) in &*counters.callbacks.lock().unwrap_or_else(PoisonError::into_inner) {
            let totals = self.callbacks.entry(callback).or_default();
            for (sum, count) in totals.endings.iter_mut().zip(&counters.endings) {
                *sum += count.load(Ordering::Relaxed);
            }
            totals.durations.add(&counters.durations.read());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_call_in_so_many_is_timed_from_the_first_on() {
        let recorder = Aggregator::new(1).recorder(3);
        let timed: Vec<bool> = (0..6).map(|_| recorder.count(0)).collect();
        assert_eq!(timed, [true, false, false, false, true, false], "rounded up to four");
    }

    #[test]
    fn counts_of_all_interpreters_are_summed_and_outlive_them() {
        let aggregator = Aggregator::new(2);
        let callback = crate::Callbacks::new().required("route", "name", &[]);
        let (first, second) = (aggregator.recorder(1), aggregator.recorder(1));
        for recorder in [&first, &first, &second] {
            recorder.count(1);
            recorder.callback_ended(callback, Ending::Exit);
            recorder.callback_took(callback, Duration::from_micros(1));
        }
        let check = || {
            let totals = aggregator.totals();
            assert_eq!(totals.calls, [0, 3]);
            let counted = totals.callbacks.get(&callback).unwrap();
            assert_eq!((counted.endings, counted.durations.count()), ([0, 3, 0, 0], 3));
        };
        check();
        drop(first);
        check();
        drop(second);
        check();
        assert!(aggregator.state().live.is_empty());
    }
}
